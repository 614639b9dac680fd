"""TCP: streams and passive (listening) sockets."""

from __future__ import annotations

from typing import Any, Literal

from ..._kernel.handle import Handle
from ..._kernel.operation import begun, lucky
from ..._kernel.switching import SIGNED
from ..._libuv import lib
from ..._libuv.buffers import Bytes, readable, writable
from ..files.file import File
from .address import Address, Domain
from .sending import send_file
from .socket import Opener, Socket, checked_size

__all__ = ["PassiveSocket", "StreamSocket"]

_EAGAIN, _EOF = lib.UV_EAGAIN, lib.UV_EOF
_try_write, _read_start = lib.co_try_write, lib.co_read_start
SIZE = 65536  # bytes that receive() takes at most unless told otherwise
LONGEST = 32767  # seconds of silence that Linux can wait for before it probes a peer
LARGEST: int = lib.CO_ARENA // 2  # bytes that one receive may ask for; more is cut to it
_SHORTAGE = {lib.UV_EMFILE, lib.UV_ENFILE, lib.UV_ENOBUFS, lib.UV_ENOMEM}
_PASSING = {lib.UV_EPROTO, lib.UV_EPERM}  # the fault of one connection, which is gone


class StreamSocket(Socket):
    """One end of a TCP connection.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ()
    _kind = "stream"

    def __init__(self, domain: Domain, listener: Handle | None = None) -> None:
        """Open a socket, or take the connection that `listener` holds. Raises `UVError`."""
        if listener is None:
            super().__init__(domain, _opener(domain), "uv_tcp_init")
        else:
            at = listener.slot
            super().__init__(domain, lambda loop, slot, gen: lib.co_accept(loop, at, slot, gen), "uv_accept")

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
        woken = handle.wait(size, _read_start)
        if woken is not SIGNED:
            return woken  # type: ignore[no-any-return]  # what an explicit resume brought
        count = handle.result
        if 0 < count <= size:
            where = handle.where
            return handle.arena[where : where + count]  # type: ignore[no-any-return]
        return self._unusual(count, size)

    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> int:
        """Wait for data and write them into buffer[start:stop]; return how many bytes, 0 at the end of the stream.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized meanwhile.
        Suspends and raises as `receive`; an empty slice is a ValueError.
        """
        view = writable(buffer, start, stop)
        try:
            size = min(len(view), LARGEST)
            handle = self._handle
            if handle.stash is not None:
                data = self._take_stash(size)
            else:
                woken = handle.wait(size, _read_start)
                if woken is not SIGNED:
                    return woken  # type: ignore[no-any-return]  # what an explicit resume brought
                count, where = handle.result, handle.where
                data = handle.arena[where : where + count] if 0 < count <= size else self._unusual(count, size)
            view[: len(data)] = data
            return len(data)
        finally:
            view.release()

    def _unusual(self, count: int, size: int) -> bytes:
        """Tell the end, or return `size` bytes of the more that came for a coroutine which has left in this turn."""
        handle = self._handle
        if count <= 0:
            return self._ended(count)
        handle.stash = handle.arena[handle.where : handle.where + count]
        return self._take_stash(size)

    def _take_stash(self, size: int) -> bytes:
        """Return what came while nobody waited."""
        handle = self._handle
        stash = handle.take_stash()
        if stash.__class__ is int:
            return self._ended(stash)
        if len(stash) > size:
            handle.stash = stash[size:]
        return stash[:size]  # type: ignore[no-any-return]

    def _ended(self, code: int) -> bytes:
        if code == _EOF:
            return b""
        raise self._handle.failed(code, "uv_read")

    def send(self, data: Bytes, start: int = 0, stop: int | None = None) -> bool:
        """Send data[start:stop]; return True when the system has taken all of it.

        data: bytes or any contiguous buffer; it must not change meanwhile. What an explicit resume leaves unsent is
        sent in the background. Suspends unless the system takes everything at once.
        Raises TypeError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, ECANCELED (closed
        meanwhile). Source: send(2), uv_write.
        """
        handle = self._handle
        if data.__class__ is not bytes or stop is not None or start != 0:
            return self._send_view(*readable(data, start, stop))
        size = len(data)
        sent = _try_write(handle.pointer, handle.slot, data, size)
        if sent == size:
            hub = handle.hub
            hub.luck -= 1
            return True if hub.luck > 0 else lucky(hub)
        return self._send_rest(*readable(data, 0, None), sent)

    def _send_view(self, view: memoryview, at: Any) -> bool:
        """Send a view, whose bytes begin at the address `at`."""
        handle = self._handle
        sent = _try_write(handle.pointer, handle.slot, at, len(view))
        return lucky(handle.hub) if sent == len(view) else self._send_rest(view, at, sent)

    def _send_rest(self, view: memoryview, at: Any, sent: int) -> bool:
        """Queue what the system did not take at once."""
        handle = self._handle
        if sent < 0:
            if sent != _EAGAIN:
                raise handle.failed(sent, "uv_write")
            sent = 0

        def start(slot: int, generation: int) -> int:
            left = len(view) - sent
            code: int = lib.co_write(handle.pointer, handle.slot, slot, generation, at + sent, left)
            return code

        return self._request(start, "send", "uv_write", view, begun() if sent else None)

    def send_file(self, file: File, offset: int = 0, count: int | None = None) -> int:
        """Send `count` bytes of an open file from `offset` on, or all to its end; return how many there were.

        The system sends them without their coming through this process. The file's position stays. It goes piece by
        piece: what other coroutines send meanwhile gets in between. Suspends.
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `NotYieldable`, or `UVError`: EPIPE, ECONNRESET, EBADF
        (not open for reading), … Source: uv_fs_sendfile.
        """
        return send_file(self, file, offset, count)  # type: ignore[no-any-return]  # what an explicit resume brought

    def connect(self, address: Address) -> bool:
        """Connect to `address`; return True. Suspends.

        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: ECONNREFUSED, ETIMEDOUT, EISCONN, EALREADY,
        ECANCELED (closed meanwhile), … After an explicit resume the attempt goes on in the background.
        Source: uv_tcp_connect.
        """
        packed = self._packed(address)
        handle = self._handle

        def start(slot: int, generation: int) -> int:
            code: int = lib.co_connect(handle.pointer, handle.slot, slot, generation, packed)
            return code

        return self._request(start, "connect", "uv_tcp_connect", packed)

    def shutdown(self) -> bool:
        """End the sending side, after everything sent before; the peer reads the end of the stream. Suspends.

        Returns True. Raises `Closed`, or `UVError`: ENOTCONN. Source: uv_shutdown.
        """
        handle = self._handle

        def start(slot: int, generation: int) -> int:
            code: int = lib.co_shutdown(handle.pointer, handle.slot, slot, generation)
            return code

        return self._request(start, "shutdown", "uv_shutdown", None)

    def setoption(self, name: Literal["keepalive", "nodelay"], value: float | bool | None) -> bool:
        """Set an option; return True.

        "keepalive": seconds of silence (int, 1 to 32767) before the peer is probed; False or None switches it off.
        "nodelay": True sends small packets at once.
        Raises TypeError, ValueError, `Closed`, or `UVError`. Source: uv_tcp_keepalive, uv_tcp_nodelay.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        if name == "nodelay":
            if not isinstance(value, bool):
                raise TypeError(f"value of nodelay must be a bool, not {value!r}")
            self._call(lib.co_nodelay, "uv_tcp_nodelay", value)
        elif name == "keepalive":
            seconds = _checked_keepalive(value)
            self._call(lib.co_keepalive, "uv_tcp_keepalive", seconds > 0, seconds)
        else:
            raise ValueError(f'name must be "keepalive" or "nodelay", not {name!r}')
        return True


class PassiveSocket(Socket):
    """A socket that listens for connections."""

    __slots__ = ("_listening",)
    _kind = "passive"

    def __init__(self, domain: Domain) -> None:
        """Open a socket. Raises `UVError`."""
        self._listening = False
        super().__init__(domain, _opener(domain), "uv_tcp_init")

    def listen(self, backlog: int) -> bool:
        """Begin to listen, with up to `backlog` (1 to 2**31 - 1) connections kept by the system; return True.

        A socket that is not bound gets a free port. Raises TypeError, ValueError (out of range, listening already),
        `Closed`, or `UVError`: EADDRINUSE. Source: uv_listen.
        """
        if isinstance(backlog, bool) or not isinstance(backlog, int):
            raise TypeError(f"backlog must be an int, not {backlog!r}")
        if not 0 < backlog < 2**31:
            raise ValueError(f"backlog is out of range (1 to 2**31 - 1): {backlog}")
        if self._handle.closed:
            raise self._handle.unusable()
        if self._listening:
            raise ValueError(f"{self!r} is already listening")
        self._call(lib.co_listen, "uv_listen", backlog)
        self._listening = True
        return True

    def accept(self) -> StreamSocket:
        """Wait for a connection and return it. Suspends unless one is there already.

        While the process is out of descriptors or memory, accept goes on waiting; libuv drops what it cannot hold.
        Raises `Closed`, ValueError (not listening), `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`.
        Source: uv_accept.
        """
        handle = self._handle
        if not self._listening and not handle.closed:
            raise ValueError(f"{self!r} is not listening")
        while True:
            if handle.stash is None:
                woken = handle.wait(1, _never_started)
                if woken is not SIGNED:
                    return woken  # type: ignore[no-any-return]  # what an explicit resume brought
                code = handle.result
            else:
                code = handle.take_stash()
            if code == 0:
                return StreamSocket(self._domain, handle)
            if code not in _SHORTAGE and code not in _PASSING:
                raise handle.failed(code, "uv_accept")


def _opener(domain: Domain) -> Opener:
    ipv6 = domain == "ipv6"
    return lambda loop, slot, generation: lib.co_tcp_new(loop, slot, generation, ipv6)


def _never_started(loop: Any, slot: int) -> int:
    """A listener is armed by `listen`, for ever."""
    return 0


def _checked_keepalive(value: object) -> int:
    if value is None or value is False:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"value of keepalive must be seconds (int), False or None, not {value!r}")
    if not 0 < value <= LONGEST:
        raise ValueError(f"value of keepalive must be 1 to {LONGEST} seconds, not {value}")
    return value
