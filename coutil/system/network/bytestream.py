"""The base classes of all streams and listeners: bytes in and out, and incoming connections."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..._coroutines import AttributeHint, Resumed, waits
from ..._kernel import (
    DEFAULT_READ_SIZE,
    MAX_READ,
    KernelHandle,
    add_address_to_error,
    pop_pending_data,
    spend_budget,
    wait_for_connection,
    write_remaining,
)
from ..._libuv import lib
from ..._libuv.buffers import Bytes, readable, writable
from ..files.buffered import LineIterator
from ..files.call import check_int
from ..files.file import File
from . import buffered
from .base import HandleObject, OpenSpec, check_size
from .sendfile import send_file

__all__ = ["ByteStream", "Listener", "accept_spec"]

_ZERO: Any = 0  # small integers are single objects, but equal to False and 0.0
_EOF = lib.UV_EOF
_try_write, _read_start = lib.co_try_write, lib.co_read_start


class ByteStream(HandleObject):
    """A stream of bytes in both directions.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ()

    if not TYPE_CHECKING:
        recv = AttributeHint("receive()")
        read = AttributeHint("receive()")
        recv_into = AttributeHint("receive_into()")
        readinto = AttributeHint("receive_into()")
        sendall = AttributeHint("send()")
        write = AttributeHint("send()")
        sendfile = AttributeHint("send_file()")
        readline = AttributeHint("lines() or buffered()")
        makefile = AttributeHint("buffered() or text()")
        settimeout = AttributeHint("with coutil.scopes.timeout(seconds)")

    def receive(self, size: int = DEFAULT_READ_SIZE) -> bytes:
        """Wait for data and return them: at least 1 and at most `size` (> 0) bytes; b"" at the end of the stream.

        An explicit resume ends the wait, and its value is returned; no data are lost. Suspends.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ENOTCONN,
        ECONNRESET, … Source: uv_read_start.
        """
        if size.__class__ is not int or not 0 < size <= MAX_READ:
            size = min(check_size(size), MAX_READ)
        handle = self._handle
        if handle.pending_data is not None:
            return self._pop_pending(size)
        try:
            handle.wait(size, _read_start)
        except Resumed as resumed:
            value: bytes = resumed.value  # whatever the resumer has passed
            return value
        count = handle.result
        if 0 < count <= size:
            offset = handle.offset
            return handle.receive_buffer[offset : offset + count]
        return self._read_edge_case(count, size)

    @waits
    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> int:
        """Wait for data, write them into buffer[start:stop]; return the number of bytes, 0 at the end of the stream.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized during the call.
        Suspends and raises as `receive`; also raises ValueError for an empty slice.
        """
        view = writable(buffer, start, stop)
        try:
            data = self._receive_chunk(min(len(view), MAX_READ))
            view[: len(data)] = data
            return len(data)
        finally:
            view.release()

    def _receive_chunk(self, size: int) -> bytes:
        """Wait for data; return at most `size` bytes."""
        handle = self._handle
        if handle.pending_data is not None:
            return self._pop_pending(size)
        handle.wait(size, _read_start)
        return self._read_result(size)

    def _read_result(self, size: int) -> bytes:
        """Return the data that ended the last wait."""
        handle = self._handle
        count, offset = handle.result, handle.offset
        if 0 < count <= size:
            return handle.receive_buffer[offset : offset + count]
        return self._read_edge_case(count, size)

    def _read_edge_case(self, count: int, size: int) -> bytes:
        """Handle the end of the stream, and a chunk of more than `size` bytes.

        Such a chunk was read for a coroutine that asked for more and has left in this turn; the rest is kept.
        """
        handle = self._handle
        if count <= 0:
            return self._end_of_stream(count)
        handle.pending_data = handle.receive_buffer[handle.offset : handle.offset + count]
        return self._pop_pending(size)

    def _pop_pending(self, size: int) -> bytes:
        """Return at most `size` bytes of the data that came while no coroutine waited."""
        data = pop_pending_data(self._handle, size)
        return self._end_of_stream(data) if data.__class__ is int else data

    def _end_of_stream(self, code: int) -> bytes:
        if code == _EOF:
            return b""
        raise self._handle.call_error(code, "uv_read")

    def send(self, data: Bytes, start: int = 0, stop: int | None = None) -> bool:
        """Send data[start:stop]; return True when the system has taken all of it.

        data: bytes or any contiguous buffer; it must not change during the call. Suspends unless the system takes
        everything at once. When a wait is ended from outside (by a deadline, `throw`, an explicit resume), the rest of
        the data is sent in the background, before the data of later calls; only `close` ends that. The buffer must not
        change until then. A coroutine may leave 16 such calls behind; after one more, its next wait first waits for
        that call.
        Raises TypeError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, ECANCELED (the
        stream was closed during the wait). Source: send(2), uv_write.
        """
        handle = self._handle
        if data.__class__ is not bytes or stop is not None or start is not _ZERO:
            return self._send_view(*readable(data, start, stop))
        size = len(data)
        sent = _try_write(handle.pointer, handle.slot, data, size)
        if sent == size:
            hub = handle.hub
            hub.coop_budget -= 1
            if hub.coop_budget > 0:
                return True
        return self._send_remaining(*readable(data, 0, None), sent)

    def _send_view(self, view: memoryview, address: Any) -> bool:
        """Send a view, whose bytes begin at `address`."""
        handle = self._handle
        return self._send_remaining(view, address, _try_write(handle.pointer, handle.slot, address, len(view)))

    @waits
    def _send_remaining(self, view: memoryview, address: Any, sent: int) -> bool:
        """Wait until all of a view is sent, of which the system has taken `sent` bytes."""
        handle = self._handle
        if sent == len(view):
            spend_budget(handle.hub)
        else:
            write_remaining(handle, "send", view, address, sent)
        return True

    @waits
    def send_file(self, file: File, offset: int = 0, count: int | None = None) -> int:
        """Send `count` bytes of an open file from `offset` on, or all up to its end; return the number that was sent.

        The system sends them without copying them through this process. The file's position stays. The file is sent in
        pieces: data that other coroutines send at the same time get in between. Suspends.
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, EBADF
        (not open for reading), … Source: uv_fs_sendfile.
        """
        return send_file(self, file, offset, count)

    @waits
    def shutdown(self) -> bool:
        """End the sending side after all data that were sent before; the peer reads the end of the stream. Suspends.

        Returns True. Raises `Closed`, or `UVError`: ENOTCONN. Source: uv_shutdown.
        """
        self._request("shutdown", lib.co_shutdown, "uv_shutdown")
        return True

    # -- through buffers -----------------------------------------------------------------------------------------------

    def buffered(self, size: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedIOBase:
        """Return a buffered binary file object of Python over this stream. Closing it closes the stream.

        size: bytes (> 0) that it asks for at once, and that it keeps before it sends; `flush` sends all. It reads and
        writes; `read(count)` waits for all of `count`, up to the end, and `readline(limit)` for a line. A wait
        inside it that is ended from outside (a timeout, or an explicit resume, which makes it raise
        `OperationCancelled`) loses nothing: the next call returns the data that were received, and the next `flush`
        sends the data that libuv has not started to send. One coroutine may read while another one writes; a second
        reader gets `BusyError`. `receive` does not return data that the buffer has received. If the buffer is collected
        without `close`, the stream stays open, and the data that were not flushed are sent as far as the system takes
        them at once.
        Raises TypeError, ValueError. Its methods raise as `receive` and `send` do.
        """
        return buffered.binary(self, check_int("size", size, 1, MAX_READ))

    def text(self, encoding: str = "utf-8", errors: str | None = None, newline: str | None = None) -> io.TextIOWrapper:
        """Return a text file object of Python over this stream; the arguments are those of `open`. See `buffered`.

        Iterating yields lines. It has no positions, and its encoding cannot be changed.
        Raises TypeError, ValueError, LookupError (no such encoding).
        """
        return buffered.text(self, encoding, errors, newline)

    def lines(self) -> Iterator[bytes]:
        """Return an iterator over the received lines, as bytes with their ends. It suspends when it has to receive.

        An explicit resume ends the wait, and its value is returned in place of a line; no part of a line is lost.
        """
        return LineIterator(self._receive_chunk)


class Listener(HandleObject):
    """The base of sockets that accept connections."""

    __slots__ = ()
    _listening: bool  # a slot of each subclass
    _bound: Any  # a slot of `Socket`, the other base of each subclass

    def listen(self, backlog: int) -> bool:
        """Begin to listen, with up to `backlog` (1 to 2**31 - 1) connections in the system's queue; return True.

        A socket that is not bound gets a free port. Nothing is accepted before `accept`: connections wait in the
        system's queue, which other processes that listen on the same socket share.
        Raises TypeError, ValueError (out of range, listening already), `Closed`, or `UVError`: EADDRINUSE, which names
        the address. Source: listen(2).
        """
        check_int("backlog", backlog, 1, 2**31 - 1)
        if self._handle.closed:
            raise self._handle.use_error()
        if self._listening:
            raise ValueError(f"{self!r} is already listening")
        with add_address_to_error(self._bound, "listen"):
            self._call(lib.co_listen, "listen", backlog)
        self._handle.remember_addresses()
        self._listening = True  # type: ignore[misc]  # a slot of the subclass
        return True

    def _accept(self) -> None:
        """Wait until C holds a connection for this listener."""
        handle = self._handle
        if not self._listening and not handle.closed:
            raise ValueError(f"{self!r} is not listening")
        wait_for_connection(handle, "accept")


def accept_spec(listener: KernelHandle, share: bool = False) -> OpenSpec:
    """Return the opening of a stream for the connection that C holds for `listener`.

    share: open a share stream of a Unix socket.
    """
    source = listener.slot
    return lambda loop, slot, generation: lib.co_accept(loop, source, slot, generation, share), "accept", listener.hub
