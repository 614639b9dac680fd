"""Streams: the base of TCP, pipe and TTY handles.

Rule 1: data go to the coroutine that waits in `read`, else to `onread` if `read_start` was called. Data that arrive
without either are kept, at most one chunk; reading stops until the chunk is taken.
Rule 2: data that arrived before `read_stop` and were not delivered go to the next reader, or to the handler after the
next `read_start`.
Rule 3: a write first tries, and suspends for the data that the system does not take. The data of several writes are
sent in the order of the calls.
"""

from __future__ import annotations

from typing import Any

from .._coroutines import waits
from .._kernel import (
    DEFAULT_READ_SIZE,
    MAX_READ,
    Callback,
    handle_request,
    pop_pending_data,
    spend_budget,
    wait_for_connection,
    write_remaining,
    write_starter,
)
from .._libuv import error, lib
from .._libuv.arguments import check_int
from .._libuv.buffers import Bytes, readable, writable
from .._libuv.handles import read_number
from .handle import Handle, HandleCore
from .loop import HandlerCall
from .module_function import module_function
from .request import Job, Request, begin

__all__ = ["Data", "Stream", "join_data"]

_EAGAIN, _EOF = lib.UV_EAGAIN, lib.UV_EOF
_try_write = lib.co_try_write

Data = Bytes | list[Bytes] | tuple[Bytes, ...]


class _StreamCore(HandleCore):
    """The kernel's half of a stream, with a shorter path for its most frequent event."""

    __slots__ = ()

    def claim_callback(self, generation: int, result: int, offset: int) -> Any:
        """Take a record as the base class does, with a direct path for data to an assigned `onread`."""
        public: Any = self.owner
        if result > 0 and self.waiter is None and public is not None and public._reading:
            handler = public.__dict__.get("onread")
            if handler is not None:
                return public, handler, (public, None, self.receive_buffer[offset : offset + result])
        return super().claim_callback(generation, result, offset)


class Stream(Handle):
    """Base of the streams. Handlers: `onread(stream, err, data)`, `onconnection(server, err)`.

    onread: `data` is None and `err` an exception if reading failed; both are None at the end of the stream. Either ends
    the reading. While a handler waits, the next chunk is read all the same: stop reading first, or use `read`.
    onconnection: a connection is ready for `accept`; or `err` is an exception: the process lacks a resource.
    """

    _core_class = _StreamCore
    _reading = False  # read_start was called, and neither read_stop, close nor the end has come
    _listening = False

    # -- events -------------------------------------------------------------------------------------------------------

    @property
    def onread(self) -> Any:
        """The handler for data. If it is assigned after `read_start`, it gets the data since then."""
        return self.__dict__.get("onread")

    @onread.setter
    def onread(self, handler: Any) -> None:
        self.__dict__["onread"] = handler
        if self._reading and self._core.pending_data is not None:
            self._flush_later()

    @property
    def onconnection(self) -> Any:
        """The handler for connections. It is also called for one that is pending when it is assigned."""
        return self.__dict__.get("onconnection")

    @onconnection.setter
    def onconnection(self, handler: Any) -> None:
        self.__dict__["onconnection"] = handler
        if not self._listening or self._core.closed:
            return
        if self._stream_flags() & lib.CO_PENDING:
            self._flush_later()
        else:
            self._call(lib.co_listener_push, "uv_listen", True)

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        if self._listening:
            return self._connection_event(result)
        if not self._reading or self._has_no_handler():
            self._store(result, offset)
            return None
        return self._read_event(self._core.receive_buffer[offset : offset + result] if result > 0 else result)

    def _connection_event(self, result: int) -> HandlerCall | None:
        """Accept a connection for the handler; return its call. None: no connection, or no handler."""
        core = self._core
        if self.__dict__.get("onconnection") is None and self.onconnection is None:
            lib.co_listener_push(core.pointer, core.slot, False)
            return None
        code = result if result < 0 else lib.co_listener_take(core.pointer, core.slot)
        if code in (0, lib.UV_EAGAIN):  # the handler was called for it already; or another process has taken it
            return None
        return self._handler_call("onconnection", None if code > 0 else error(code, "uv_accept"))

    def _has_no_handler(self) -> bool:
        return self.__dict__.get("onread") is None and self.onread is None

    def _read_event(self, what: Any) -> HandlerCall | None:
        """Return the call of `onread` with data, or with libuv's code for the end."""
        if what.__class__ is bytes:
            return self._handler_call("onread", None, what)
        self._reading = False
        return self._handler_call("onread", None if what == _EOF else error(what, "uv_read"), None)

    def _store(self, result: int, offset: int) -> None:
        """Keep data or a code that has no receiver now, and stop reading."""
        core = self._core
        data = core.receive_buffer[offset : offset + result] if result > 0 else result
        if core.pending_data is None:
            core.pending_data = data
        elif core.pending_data.__class__ is bytes and data.__class__ is bytes:
            core.pending_data += data  # of the same turn
        # else it is the end, which the next read reports again
        if self._reading:
            lib.co_raw_read_stop(core.pointer, core.slot)

    def _resume_reading(self) -> None:
        """Read on for the handler, if the kept data have been taken."""
        core = self._core
        if self._reading and core.pending_data is None:
            code = lib.co_raw_read_start(core.pointer, core.slot, True)
            if code < 0:
                core.pending_data = code
                self._flush_later()

    def _flush_later(self) -> None:
        self._core.check_usable()
        self._core.hub.enqueue(Callback(self._flush))

    def _flush(self) -> None:
        """Call the handler, from the hub, for the event that arrived before it was assigned."""
        core = self._core
        if core.closed:
            return
        if self._listening:
            call = self._handler_call("onconnection", None) if self._stream_flags() & lib.CO_PENDING else None
        elif core.pending_data is None or not self._reading or core.waiter is not None or self._has_no_handler():
            return
        else:
            call, core.pending_data = self._read_event(core.pending_data), None
            self._resume_reading()
        if call is not None:
            self.loop._start_worker(*call)

    def close_soon(self) -> None:
        """See `Handle.close_soon`."""
        super().close_soon()
        self._reading = False

    # -- reading ------------------------------------------------------------------------------------------------------

    def read_start(self) -> None:
        """Have `onread` called with the data that arrive.

        Raises `Closed`, `ForeignThread`, `Forked`, `UVError`: EALREADY (started), ENOTCONN (not connected or not
        readable). Source: uv_read_start.
        """
        core = self._core
        core.check_usable()
        if self._reading:
            raise error(lib.UV_EALREADY, "uv_read_start")
        if core.pending_data is None:
            self._call(lib.co_raw_read_start, "uv_read_start", True)
            self._reading = True
        else:
            self._reading = True
            self._flush_later()

    def read_stop(self) -> None:
        """Stop calling `onread`; a second call is no error. Raises `Closed`, `ForeignThread`, `Forked`.

        Source: uv_read_stop.
        """
        self._core.check_usable()
        self._reading = False
        self._call(lib.co_raw_read_stop, "uv_read_stop")

    def _read(self, size: int) -> bytes:
        """Return what there is, or comes. Suspends."""
        core = self._core
        if core.pending_data is not None:
            return self._pop_pending(size)
        self._wait(size, lib.co_raw_read_once, "uv_read_start")
        count, offset = core.result, core.offset
        if 0 < count <= size:
            return core.receive_buffer[offset : offset + count]
        if count > 0:  # it came for the handler, in the same turn
            self._store(count, offset)
            return self._pop_pending(size)
        return self._end_of_stream(count)

    def _undo_wait(self) -> None:
        """Stop reading after a wait that was undone, unless a handler or another waiter reads."""
        core = self._core
        if not self._reading and not core.closed and core.waiter is None:
            lib.co_raw_read_stop(core.pointer, core.slot)

    def _pop_pending(self, size: int) -> bytes:
        core = self._core
        data: bytes | int = pop_pending_data(core, size)
        if isinstance(data, int):
            return self._end_of_stream(data)
        if core.pending_data is None:
            self._resume_reading()
        return data

    def _end_of_stream(self, code: int) -> bytes:
        self._reading = False
        if code == _EOF:
            return b""
        raise self._core.call_error(code, "uv_read")

    @waits
    def read(self, n: int = DEFAULT_READ_SIZE) -> bytes:
        """Wait for data and return at least 1 and at most `n` (> 0) bytes; b"" at the end of the stream. Suspends.

        One coroutine at a time may read. It gets the data in place of `onread`. An explicit resume ends the wait; its
        value is returned.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ENOTCONN,
        ECONNRESET, … Source: uv_read_start.
        """
        return self._read(min(check_int("n", n, 1), MAX_READ))

    @waits
    def read_into(self, buffer: Any) -> int:
        """Wait for data and write them into a buffer; return their number, 0 at the end of the stream. Suspends.

        buffer: writable, contiguous, not empty; it cannot be resized during the call. Raises as `read`.
        Source: uv_read_start.
        """
        with writable(buffer, 0, None) as view:
            data = self._read(min(len(view), MAX_READ))
            view[: len(data)] = data
            return len(data)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: Data) -> bool:
        """Write all of `data`; return True when the system has taken them. Suspends unless it does so at once.

        data: bytes, a contiguous buffer, or a list of them; they must not change before the data are written. After an
        explicit resume, whose value is returned, the rest is written in the background.
        Raises TypeError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, EBADF (not open),
        ECANCELED (the stream was closed). Source: uv_write, uv_try_write.
        """
        core = self._core
        if data.__class__ is bytes:
            sent = _try_write(core.pointer, core.slot, data, len(data))
            if sent == len(data):
                hub = core.hub
                hub.coop_budget -= 1
                if hub.coop_budget > 0:
                    return True
            return self._write_remaining(*readable(data, 0, None), sent)
        view, at = readable(join_data(data), 0, None)
        return self._write_remaining(view, at, _try_write(core.pointer, core.slot, at, len(view)))

    @waits
    def _write_remaining(self, view: memoryview, at: Any, sent: int) -> bool:
        if sent == len(view):
            spend_budget(self._core.hub)
        else:
            write_remaining(self._core, "write", view, at, sent)
        return True

    def write_nowait(self, data: Data) -> Request:
        """Start to write `data`; return a `Request` that ends when the system has taken them. Never suspends.

        `data` must not change before that. Raises as `write`. Source: uv_write.
        """
        core = self._core
        view, at = readable(join_data(data), 0, None)
        sent = _try_write(core.pointer, core.slot, at, len(view))
        return begin(core.hub, _Write(core, view, None if sent == len(view) else write_starter(core, view, at, sent)))

    def try_write(self, data: Data) -> int:
        """Write the data that the system takes at once; return the number of bytes: 0 also if other writes are queued.

        Raises TypeError, `Closed`, `ForeignThread`, `UVError`: EPIPE, ECONNRESET, EBADF. Source: uv_try_write.
        """
        core = self._core
        view, at = readable(join_data(data), 0, None)
        sent: int = _try_write(core.pointer, core.slot, at, len(view))
        if sent < 0 and sent != _EAGAIN:
            raise core.call_error(sent, "uv_try_write")
        return max(sent, 0)

    @waits
    def shutdown(self) -> bool:
        """End the writing side after all data written before; return True. The peer reads the end. Suspends.

        Raises `Closed`, `UVError`: ENOTCONN (not writable, or shut down already), ECANCELED (the stream was closed).
        Source: uv_shutdown.
        """
        self._request(lib.co_shutdown, "uv_shutdown")
        return True

    def _request(
        self, function: Any, syscall: str, *arguments: Any, keepalive: Any = None, make_error: Any = None
    ) -> None:
        """Run a request on the handle to its end."""
        what = syscall.rpartition("_")[2]
        handle_request(self._core, what, function, syscall, *arguments, keepalive=keepalive, make_error=make_error)

    # -- properties ---------------------------------------------------------------------------------------------------

    def _stream_flags(self) -> int:
        return self._call(lib.co_stream_state, "uv_stream")

    @property
    def readable(self) -> bool:
        """Whether the stream can be read. Source: uv_is_readable."""
        return not self._core.closed and bool(self._stream_flags() & lib.CO_READABLE)

    @property
    def writable(self) -> bool:
        """Whether the stream can be written. Source: uv_is_writable."""
        return not self._core.closed and bool(self._stream_flags() & lib.CO_WRITABLE)

    @property
    def write_queue_size(self) -> int:
        """The number of bytes queued for writing. Source: uv_stream_get_write_queue_size."""
        core = self._core
        core.check_usable()
        return read_number(lib.co_stream_queue, "uv_stream_get_write_queue_size", core.pointer, core.slot)

    def set_blocking(self, on: bool) -> None:
        """Make the descriptor blocking, or non-blocking, for all users of its open file description.

        Writes of this handle never block the thread: they suspend, also on a blocking descriptor.
        Raises `Closed`, `UVError`: EBADF, EBUSY (writes are in progress). Source: uv_stream_set_blocking.
        """
        self._call(lib.co_stream_blocking, "uv_stream_set_blocking", bool(on))

    # -- connections --------------------------------------------------------------------------------------------------

    def listen(self, backlog: int = 128) -> None:
        """Listen: `onconnection` is called, or `accept` returns, for each connection.

        backlog: length of the system's queue. Raises TypeError, ValueError, `Closed`, `UVError`: EADDRINUSE (also that
        of `bind`), EINVAL (not bound, connected, or a terminal), ENOTSUP. Source: uv_listen.
        """
        self._call(lib.co_listen, "uv_listen", check_int("backlog", backlog, 0, 2**31 - 1))
        self._core.remember_addresses()
        self._listening = True

    @waits
    def accept(self, client: Handle | None = None) -> Handle:
        """Accept a connection; return the stream. Suspends without `client`.

        client: a stream of the same type and loop that is not open yet gets the pending connection, and is returned.
        None: wait for a connection, in place of `onconnection`, and return a new stream or the value of an explicit
        resume. Raises TypeError, ValueError (client of another loop), `Closed`, `BusyError`, `NotYieldable`, `UVError`:
        EAGAIN (no connection is pending), EBUSY (client is open), EBADF (it is no stream), EINVAL (a stream of another
        type; without client: not listening). Source: uv_accept.
        """
        core = self._core
        if client is not None:
            self._same_loop("client", client)
            self._call(lib.co_raw_accept, "uv_accept", client._core.slot)
            client._core.remember_addresses()
            return client
        core.check_usable()
        if not self._listening:
            raise error(lib.UV_EINVAL, "uv_accept")
        wait_for_connection(core, "uv_accept")
        return self._accepted(self._new())

    def _new(self) -> Handle:
        """Return a handle for `accept`."""
        raise NotImplementedError

    def _accepted(self, client: Handle) -> Handle:
        try:
            self.accept(client)
        except BaseException:
            client.close_soon()
            raise
        return client

    def _same_loop(self, name: str, other: Handle) -> None:
        """Raise unless `other` is an open handle of the same loop."""
        if not isinstance(other, Handle):
            raise TypeError(f"{name} must be a handle, not {other!r}")
        if other.loop is not self.loop:
            raise ValueError(f"{name} belongs to another loop: {other!r}")
        other._core.check_usable()


class _Write(Job):
    """The job of `write_nowait`: the part that libuv writes."""

    type, pooled, syscall = "write", False, "uv_write"

    def __init__(self, core: HandleCore, view: memoryview, start: Any) -> None:
        """start: called with slot and generation; None: the system has taken everything."""
        self.core, self.begin, self.completed_inline = core, start, start is None
        self.view: memoryview | None = view

    def __str__(self) -> str:
        """The stream and the call, for reports."""
        return f"{self.core.title} write"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """See `Job`."""
        code: int = self.begin(slot, generation)
        return code

    def release_buffers(self) -> None:
        """See `Job`."""
        self.view = self.begin = None

    def value(self, code: int) -> bool:
        """Return True. Raises the error for a negative code."""
        if code < 0:
            raise self.core.error_of(code, self.syscall)
        return True


def join_data(data: Any) -> Any:
    """Return data in one piece."""
    if not isinstance(data, list | tuple):
        return data
    try:
        return data[0] if len(data) == 1 else b"".join(data)
    except TypeError:
        raise TypeError(f"data must be a bytes-like object, or a list of them, not {data!r:.200}") from None


listen = module_function(Stream.listen)
accept = module_function(Stream.accept)
read_start = module_function(Stream.read_start)
read_stop = module_function(Stream.read_stop)
write = module_function(Stream.write)
try_write = module_function(Stream.try_write)
shutdown = module_function(Stream.shutdown)
is_readable = module_function(Stream.readable)
is_writable = module_function(Stream.writable)
stream_get_write_queue_size = module_function(Stream.write_queue_size)
stream_set_blocking = module_function(Stream.set_blocking)
