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

from .._coroutines.outcomes import waits
from .._kernel.entries import Entry
from .._kernel.operation import lucky
from .._kernel.requests import LARGEST, SIZE, connection, queued, request, take, write_rest
from .._libuv import error, lib
from .._libuv.arguments import whole
from .._libuv.buffers import Bytes, readable, writable
from .._libuv.handles import number
from .flat import flat
from .handle import Handle, Own
from .loop import Call
from .request import Job, Request, begin

__all__ = ["Data", "Stream", "joined"]

_EAGAIN, _EOF = lib.UV_EAGAIN, lib.UV_EOF
_try_write = lib.co_try_write

Data = Bytes | list[Bytes] | tuple[Bytes, ...]


class _Own(Own):
    """The kernel's half of a stream, with a shorter path for its most frequent event."""

    __slots__ = ()

    def call(self, generation: int, result: int, where: int) -> Any:
        """Take a record as the base class does, with a direct path for data to an assigned `onread`."""
        public: Any = self.public
        if result > 0 and self.waiter is None and public is not None and public._reading:
            handler = public.__dict__.get("onread")
            if handler is not None:
                return public, handler, (public, None, self.arena[where : where + result])
        return super().call(generation, result, where)


class Stream(Handle):
    """Base of the streams. Handlers: `onread(stream, err, data)`, `onconnection(server, err)`.

    onread: `data` is None and `err` an exception if reading failed; both are None at the end of the stream. Either ends
    the reading. While a handler waits, the next chunk is read all the same: stop reading first, or use `read`.
    onconnection: a connection is ready for `accept`; or `err` is an exception: the process lacks a resource.
    """

    _kernels = _Own
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
        if self._reading and self._own.stash is not None:
            self._flush_later()

    @property
    def onconnection(self) -> Any:
        """The handler for connections. It is also called for one that is pending when it is assigned."""
        return self.__dict__.get("onconnection")

    @onconnection.setter
    def onconnection(self, handler: Any) -> None:
        self.__dict__["onconnection"] = handler
        if not self._listening or self._own.closed:
            return
        if self._state() & lib.CO_PENDING:
            self._flush_later()
        else:
            self._c(lib.co_listener_push, "uv_listen", True)

    def _event(self, result: int, where: int) -> Call | None:
        if self._listening:
            return self._connected(result)
        if not self._reading or self._unhandled():
            self._keep(result, where)
            return None
        return self._told(self._own.arena[where : where + result] if result > 0 else result)

    def _connected(self, result: int) -> Call | None:
        """Accept a connection for the handler; return its call. None: no connection, or no handler."""
        own = self._own
        if self.__dict__.get("onconnection") is None and self.onconnection is None:
            lib.co_listener_push(own.pointer, own.slot, False)
            return None
        code = result if result < 0 else lib.co_listener_take(own.pointer, own.slot)
        if code in (0, lib.UV_EAGAIN):  # the handler was called for it already; or another process has taken it
            return None
        return self._call("onconnection", None if code > 0 else error(code, "uv_accept"))

    def _unhandled(self) -> bool:
        return self.__dict__.get("onread") is None and self.onread is None

    def _told(self, what: Any) -> Call | None:
        """Return the call of `onread` with data, or with libuv's code for the end."""
        if what.__class__ is bytes:
            return self._call("onread", None, what)
        self._reading = False
        return self._call("onread", None if what == _EOF else error(what, "uv_read"), None)

    def _keep(self, result: int, where: int) -> None:
        """Keep data or a code that has no receiver now, and stop reading."""
        own = self._own
        data = own.arena[where : where + result] if result > 0 else result
        if own.stash is None:
            own.stash = data
        elif own.stash.__class__ is bytes and data.__class__ is bytes:
            own.stash += data  # of the same turn
        # else it is the end, which the next read reports again
        if self._reading:
            lib.co_raw_read_stop(own.pointer, own.slot)

    def _drained(self) -> None:
        """Read on for the handler, if the kept data have been taken."""
        own = self._own
        if self._reading and own.stash is None:
            code = lib.co_raw_read_start(own.pointer, own.slot, True)
            if code < 0:
                own.stash = code
                self._flush_later()

    def _flush_later(self) -> None:
        self._own.usable()
        self._own.hub.ready.append(_Flush(self))

    def _flush(self) -> None:
        """Call the handler, from the hub, for the event that arrived before it was assigned."""
        own = self._own
        if own.closed:
            return
        if self._listening:
            call = self._call("onconnection", None) if self._state() & lib.CO_PENDING else None
        elif own.stash is None or not self._reading or own.waiter is not None or self._unhandled():
            return
        else:
            call, own.stash = self._told(own.stash), None
            self._drained()
        if call is not None:
            self.loop._begin(*call)

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
        own = self._own
        own.usable()
        if self._reading:
            raise error(lib.UV_EALREADY, "uv_read_start")
        if own.stash is None:
            self._c(lib.co_raw_read_start, "uv_read_start", True)
            self._reading = True
        else:
            self._reading = True
            self._flush_later()

    def read_stop(self) -> None:
        """Stop calling `onread`; a second call is no error. Raises `Closed`, `ForeignThread`, `Forked`.

        Source: uv_read_stop.
        """
        self._own.usable()
        self._reading = False
        self._c(lib.co_raw_read_stop, "uv_read_stop")

    def _read(self, size: int) -> bytes:
        """Return what there is, or comes. Suspends."""
        own = self._own
        if own.stash is not None:
            return self._take_stash(size)
        self._wait(size, lib.co_raw_read_once, "uv_read_start")
        count, where = own.result, own.where
        if 0 < count <= size:
            return own.arena[where : where + count]  # type: ignore[no-any-return]  # a slice of it is bytes
        if count > 0:  # it came for the handler, in the same turn
            self._keep(count, where)
            return self._take_stash(size)
        return self._ended(count)

    def _left(self) -> None:
        """Stop reading after a wait that was undone, unless a handler or another waiter reads."""
        own = self._own
        if not self._reading and not own.closed and own.waiter is None:
            lib.co_raw_read_stop(own.pointer, own.slot)

    def _take_stash(self, size: int) -> bytes:
        own = self._own
        data = take(own, size)
        if data.__class__ is int:
            return self._ended(data)
        if own.stash is None:
            self._drained()
        return data  # type: ignore[no-any-return]  # of bytes

    def _ended(self, code: int) -> bytes:
        self._reading = False
        if code == _EOF:
            return b""
        raise self._own.failed(code, "uv_read")

    @waits
    def read(self, n: int = SIZE) -> bytes:
        """Wait for data and return at least 1 and at most `n` (> 0) bytes; b"" at the end of the stream. Suspends.

        One coroutine at a time may read. It gets the data in place of `onread`. An explicit resume ends the wait; its
        value is returned.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ENOTCONN,
        ECONNRESET, … Source: uv_read_start.
        """
        return self._read(min(whole("n", n, 1), LARGEST))

    @waits
    def read_into(self, buffer: Any) -> int:
        """Wait for data and write them into a buffer; return their number, 0 at the end of the stream. Suspends.

        buffer: writable, contiguous, not empty; it cannot be resized during the call. Raises as `read`.
        Source: uv_read_start.
        """
        with writable(buffer, 0, None) as view:
            data = self._read(min(len(view), LARGEST))
            view[: len(data)] = data
            return len(data)

    # -- writing ------------------------------------------------------------------------------------------------------

    def write(self, data: Data) -> Any:
        """Write all of `data`; return True when the system has taken them. Suspends unless it does so at once.

        data: bytes, a contiguous buffer, or a list of them; they must not change before the data are written. After an
        explicit resume, whose value is returned, the rest is written in the background.
        Raises TypeError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, EBADF (not open),
        ECANCELED (the stream was closed). Source: uv_write, uv_try_write.
        """
        own = self._own
        if data.__class__ is bytes:
            sent = _try_write(own.pointer, own.slot, data, len(data))
            if sent == len(data):
                hub = own.hub
                hub.luck -= 1
                if hub.luck > 0:
                    return True
            return self._write_rest(*readable(data, 0, None), sent)
        view, at = readable(joined(data), 0, None)
        return self._write_rest(view, at, _try_write(own.pointer, own.slot, at, len(view)))

    @waits
    def _write_rest(self, view: memoryview, at: Any, sent: int) -> bool:
        if sent == len(view):
            lucky(self._own.hub)
        else:
            write_rest(self._own, "write", view, at, sent)
        return True

    def write_nowait(self, data: Data) -> Request:
        """Start to write `data`; return a `Request` that ends when the system has taken them. Never suspends.

        `data` must not change before that. Raises as `write`. Source: uv_write.
        """
        own = self._own
        view, at = readable(joined(data), 0, None)
        sent = _try_write(own.pointer, own.slot, at, len(view))
        return begin(own.hub, _Write(own, view, None if sent == len(view) else queued(own, view, at, sent)))

    def try_write(self, data: Data) -> int:
        """Write the data that the system takes at once; return the number of bytes: 0 also if other writes are queued.

        Raises TypeError, `Closed`, `ForeignThread`, `UVError`: EPIPE, ECONNRESET, EBADF. Source: uv_try_write.
        """
        own = self._own
        view, at = readable(joined(data), 0, None)
        sent: int = _try_write(own.pointer, own.slot, at, len(view))
        if sent < 0 and sent != _EAGAIN:
            raise own.failed(sent, "uv_try_write")
        return max(sent, 0)

    @waits
    def shutdown(self) -> Any:
        """End the writing side after all data written before; return True. The peer reads the end. Suspends.

        Raises `Closed`, `UVError`: ENOTCONN (not writable, or shut down already), ECANCELED (the stream was closed).
        Source: uv_shutdown.
        """
        self._request(lib.co_shutdown, "uv_shutdown")
        return True

    def _request(self, function: Any, syscall: str, *arguments: Any, pins: Any = None, failed: Any = None) -> None:
        """Run a request on the handle to its end."""
        what = syscall.rpartition("_")[2]
        request(self._own, what, function, syscall, *arguments, pins=pins, failed=failed)

    # -- properties ---------------------------------------------------------------------------------------------------

    def _state(self) -> int:
        return self._c(lib.co_stream_state, "uv_stream")

    @property
    def readable(self) -> bool:
        """Whether the stream can be read. Source: uv_is_readable."""
        return not self._own.closed and bool(self._state() & lib.CO_READABLE)

    @property
    def writable(self) -> bool:
        """Whether the stream can be written. Source: uv_is_writable."""
        return not self._own.closed and bool(self._state() & lib.CO_WRITABLE)

    @property
    def write_queue_size(self) -> int:
        """The number of bytes queued for writing. Source: uv_stream_get_write_queue_size."""
        own = self._own
        own.usable()
        return number(lib.co_stream_queue, "uv_stream_get_write_queue_size", own.pointer, own.slot)

    def set_blocking(self, on: bool) -> None:
        """Make the descriptor blocking, or non-blocking, for all users of its open file description.

        Writes of this handle never block the thread: they suspend, also on a blocking descriptor.
        Raises `Closed`, `UVError`: EBADF, EBUSY (writes are in progress). Source: uv_stream_set_blocking.
        """
        self._c(lib.co_stream_blocking, "uv_stream_set_blocking", bool(on))

    # -- connections --------------------------------------------------------------------------------------------------

    def listen(self, backlog: int = 128) -> None:
        """Listen: `onconnection` is called, or `accept` returns, for each connection.

        backlog: length of the system's queue. Raises TypeError, ValueError, `Closed`, `UVError`: EADDRINUSE (also that
        of `bind`), EINVAL (not bound, connected, or a terminal), ENOTSUP. Source: uv_listen.
        """
        self._c(lib.co_listen, "uv_listen", whole("backlog", backlog, 0, 2**31 - 1))
        self._own.remember()
        self._listening = True

    @waits
    def accept(self, client: Handle | None = None) -> Any:
        """Accept a connection; return the stream. Suspends without `client`.

        client: a stream of the same type and loop that is not open yet gets the pending connection, and is returned.
        None: wait for a connection, in place of `onconnection`, and return a new stream or the value of an explicit
        resume. Raises TypeError, ValueError (client of another loop), `Closed`, `BusyError`, `NotYieldable`, `UVError`:
        EAGAIN (no connection is pending), EBUSY (client is open), EBADF (it is no stream), EINVAL (a stream of another
        type; without client: not listening). Source: uv_accept.
        """
        own = self._own
        if client is not None:
            self._same_loop("client", client)
            self._c(lib.co_raw_accept, "uv_accept", client._own.slot)
            client._own.remember()
            return client
        own.usable()
        if not self._listening:
            raise error(lib.UV_EINVAL, "uv_accept")
        connection(own, "uv_accept")
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
        other._own.usable()


class _Write(Job):
    """The job of `write_nowait`: the part that libuv writes."""

    type, pooled, syscall = "write", False, "uv_write"

    def __init__(self, own: Own, view: memoryview, start: Any) -> None:
        """start: called with slot and generation; None: the system has taken everything."""
        self.own, self.begin, self.over = own, start, start is None
        self.view: memoryview | None = view

    def __str__(self) -> str:
        """The stream and the call, for reports."""
        return f"{self.own.title} write"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """See `Job`."""
        code: int = self.begin(slot, generation)
        return code

    def let_go(self) -> None:
        """See `Job`."""
        self.view = self.begin = None

    def value(self, code: int) -> bool:
        """Return True. Raises the error for a negative code."""
        if code < 0:
            raise self.own.failure(code, self.syscall)
        return True


class _Flush(Entry):
    """An entry of the ready queue: call the handler of a stream for an event from before it was assigned."""

    __slots__ = ("stream",)

    def __init__(self, stream: Stream) -> None:
        self.stream = stream

    def fire(self) -> None:
        """Call the handler, from the hub."""
        self.stream._flush()


def joined(data: Any) -> Any:
    """Return data in one piece."""
    if not isinstance(data, list | tuple):
        return data
    try:
        return data[0] if len(data) == 1 else b"".join(data)
    except TypeError:
        raise TypeError(f"data must be a bytes-like object, or a list of them, not {data!r:.200}") from None


listen = flat(Stream.listen)
accept = flat(Stream.accept)
read_start = flat(Stream.read_start)
read_stop = flat(Stream.read_stop)
write = flat(Stream.write)
try_write = flat(Stream.try_write)
shutdown = flat(Stream.shutdown)
is_readable = flat(Stream.readable)
is_writable = flat(Stream.writable)
stream_get_write_queue_size = flat(Stream.write_queue_size)
stream_set_blocking = flat(Stream.set_blocking)
