"""The two halves of every stream and listener, whatever it is on: bytes in and out, and connections that come in."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..._coroutines.attributes import Elsewhere
from ..._coroutines.outcomes import Resumed, waits
from ..._kernel.handle import Handle
from ..._kernel.operation import lucky
from ..._kernel.requests import LARGEST, SIZE, connection, naming, take, write_rest
from ..._libuv import lib
from ..._libuv.buffers import Bytes, readable, writable
from ..files.buffered import Lines
from ..files.file import File
from ..files.request import whole
from . import buffered
from .handled import Handled, Opening, checked_size
from .sending import send_file

__all__ = ["ByteStream", "Listener", "accepted"]

_ZERO: Any = 0  # small integers are single objects, but equal to False and 0.0
_EOF = lib.UV_EOF
_try_write, _read_start = lib.co_try_write, lib.co_read_start


class ByteStream(Handled):
    """What bytes can be received from and sent to.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ()

    if not TYPE_CHECKING:
        recv = Elsewhere("receive()")
        read = Elsewhere("receive()")
        recv_into = Elsewhere("receive_into()")
        readinto = Elsewhere("receive_into()")
        sendall = Elsewhere("send()")
        write = Elsewhere("send()")
        sendfile = Elsewhere("send_file()")
        readline = Elsewhere("lines() or buffered()")
        makefile = Elsewhere("buffered() or text()")
        settimeout = Elsewhere("with coutil.scopes.timeout(seconds)")

    def receive(self, size: int = SIZE) -> bytes:
        """Wait for data and return them: at least 1 and at most `size` (> 0) bytes; b"" at the end of the stream.

        An explicit resume ends the wait and is returned in place of the data, none of which are lost. Suspends.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ENOTCONN,
        ECONNRESET, … Source: uv_read_start.
        """
        if size.__class__ is not int or not 0 < size <= LARGEST:
            size = min(checked_size(size), LARGEST)
        handle = self._handle
        if handle.stash is not None:
            return self._take_stash(size)
        try:
            handle.wait(size, _read_start)
        except Resumed as resumed:
            return resumed.value  # type: ignore[no-any-return]  # what an explicit resume brought
        count = handle.result
        if 0 < count <= size:
            where = handle.where
            return handle.arena[where : where + count]  # type: ignore[no-any-return]  # a slice of it is bytes
        return self._unusual(count, size)

    @waits
    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> int:
        """Wait for data and write them into buffer[start:stop]; return how many bytes, 0 at the end of the stream.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized meanwhile.
        Suspends and raises as `receive`; an empty slice is a ValueError.
        """
        view = writable(buffer, start, stop)
        try:
            data = self._piece(min(len(view), LARGEST))
            view[: len(data)] = data
            return len(data)
        finally:
            view.release()

    def _piece(self, size: int) -> bytes:
        """Wait for at most `size` bytes; return them."""
        handle = self._handle
        if handle.stash is not None:
            return self._take_stash(size)
        handle.wait(size, _read_start)
        return self._arrived(size)

    def _arrived(self, size: int) -> bytes:
        """Return what the wait that is over brought."""
        handle = self._handle
        count, where = handle.result, handle.where
        if 0 < count <= size:
            return handle.arena[where : where + count]  # type: ignore[no-any-return]  # a slice of it is bytes
        return self._unusual(count, size)

    def _unusual(self, count: int, size: int) -> bytes:
        """Tell the end, or return `size` bytes of the more that came for a coroutine which has left in this turn."""
        handle = self._handle
        if count <= 0:
            return self._ended(count)
        handle.stash = handle.arena[handle.where : handle.where + count]
        return self._take_stash(size)

    def _take_stash(self, size: int) -> bytes:
        """Return what came while nobody waited."""
        data = take(self._handle, size)
        return self._ended(data) if data.__class__ is int else data

    def _ended(self, code: int) -> bytes:
        if code == _EOF:
            return b""
        raise self._handle.failed(code, "uv_read")

    def send(self, data: Bytes, start: int = 0, stop: int | None = None) -> bool:
        """Send data[start:stop]; return True when the system has taken all of it.

        data: bytes or any contiguous buffer; it must not change meanwhile. Suspends unless the system takes everything
        at once. A call that is cut (by a deadline, `throw`, an explicit resume) has begun: the rest of the data is sent
        in the background, before what is sent later; only `close` ends that. The buffer must not change until then. A
        coroutine may leave 16 calls behind in this way; while they last, the next wait after one more waits for that.
        Raises TypeError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, ECANCELED (closed
        meanwhile). Source: send(2), uv_write.
        """
        handle = self._handle
        if data.__class__ is not bytes or stop is not None or start is not _ZERO:
            return self._send_view(*readable(data, start, stop))
        size = len(data)
        sent = _try_write(handle.pointer, handle.slot, data, size)
        if sent == size:
            hub = handle.hub
            hub.luck -= 1
            if hub.luck > 0:
                return True
        return self._send_rest(*readable(data, 0, None), sent)

    def _send_view(self, view: memoryview, at: Any) -> bool:
        """Send a view, whose bytes begin at the address `at`."""
        handle = self._handle
        return self._send_rest(view, at, _try_write(handle.pointer, handle.slot, at, len(view)))

    @waits
    def _send_rest(self, view: memoryview, at: Any, sent: int) -> bool:
        """Wait until all of a view is sent, of which the system has taken `sent` bytes."""
        handle = self._handle
        if sent == len(view):
            lucky(handle.hub)
        else:
            write_rest(handle, "send", view, at, sent)
        return True

    @waits
    def send_file(self, file: File, offset: int = 0, count: int | None = None) -> int:
        """Send `count` bytes of an open file from `offset` on, or all to its end; return how many there were.

        The system sends them without their coming through this process. The file's position stays. It goes piece by
        piece: what other coroutines send meanwhile gets in between. Suspends.
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, EBADF
        (not open for reading), … Source: uv_fs_sendfile.
        """
        return send_file(self, file, offset, count)

    @waits
    def shutdown(self) -> bool:
        """End the sending side, after everything sent before; the peer reads the end of the stream. Suspends.

        Returns True. Raises `Closed`, or `UVError`: ENOTCONN. Source: uv_shutdown.
        """
        self._request("shutdown", lib.co_shutdown, "uv_shutdown")
        return True

    # -- through buffers -----------------------------------------------------------------------------------------------

    def buffered(self, size: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedIOBase:
        """Return a buffered binary file object of Python over this stream, which it closes when it is closed.

        size: bytes (> 0) that it asks for at once, and that it keeps before it sends; `flush` sends all. It reads and
        writes; `read(count)` waits for all of `count`, up to the end, and `readline(limit)` for a line. A wait inside
        of it that is ended from outside (a timeout, or an explicit resume, which makes it raise `OperationCancelled`)
        loses nothing: what has come is there for the next call, and what has not begun to be sent for the next `flush`.
        One coroutine may read while another one writes; a second reader gets `BusyError`. What it has received and
        nobody has read is lost to `receive`. If it is forgotten, the stream stays open, and what was not flushed is
        sent as far as the system takes it at once.
        Raises TypeError, ValueError. Its methods raise as `receive` and `send` do.
        """
        return buffered.binary(self, whole("size", size, 1, LARGEST))

    def text(self, encoding: str = "utf-8", errors: str | None = None, newline: str | None = None) -> io.TextIOWrapper:
        """Return a text file object of Python over this stream; the arguments are those of `open`. See `buffered`.

        Iterating yields lines. It has neither positions nor, once it is made, another encoding.
        Raises TypeError, ValueError, LookupError (no such encoding).
        """
        return buffered.text(self, encoding, errors, newline)

    def lines(self) -> Iterator[bytes]:
        """Return an iterator over the lines that come, as bytes with their ends. It suspends when it has to receive.

        An explicit resume ends the wait and is returned in place of a line; no part of one is lost.
        """
        return Lines(self._piece)


class Listener(Handled):
    """What connections come in at."""

    __slots__ = ()
    _listening: bool  # a slot of the classes that we are part of
    _bound: Any  # that, too

    def listen(self, backlog: int) -> bool:
        """Begin to listen, with up to `backlog` (1 to 2**31 - 1) connections kept by the system; return True.

        A socket that is not bound gets a free port. Nothing is accepted before `accept`: connections wait in the
        system's queue, which other processes that listen on the same socket share.
        Raises TypeError, ValueError (out of range, listening already), `Closed`, or `UVError`: EADDRINUSE, which names
        the address. Source: listen(2).
        """
        if isinstance(backlog, bool) or not isinstance(backlog, int):
            raise TypeError(f"backlog must be an int, not {backlog!r}")
        if not 0 < backlog < 2**31:
            raise ValueError(f"backlog is out of range (1 to 2**31 - 1): {backlog}")
        if self._handle.closed:
            raise self._handle.unusable()
        if self._listening:
            raise ValueError(f"{self!r} is already listening")
        with naming(self._bound, "listen"):
            self._call(lib.co_listen, "listen", backlog)
        self._handle.remember()
        self._listening = True  # type: ignore[misc]  # a slot of the whole class
        return True

    def _accept(self) -> None:
        """Wait for a connection, until C holds one for us."""
        handle = self._handle
        if not self._listening and not handle.closed:
            raise ValueError(f"{self!r} is not listening")
        connection(handle, "accept")


def accepted(listener: Handle, share: bool = False) -> Opening:
    """Return what makes a stream of the connection that C holds for `listener`. share: of a Unix socket."""
    at = listener.slot
    return lambda loop, slot, generation: lib.co_accept(loop, at, slot, generation, share), "accept", listener.hub
