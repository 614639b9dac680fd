"""Sockets that travel between processes, and the share sockets through which they do."""

from __future__ import annotations

import os
from typing import Any

from ..._coroutines.outcomes import waits
from ..._kernel.hub import Hub
from ..._kernel.requests import LARGEST, SIZE
from ..._libuv import lib
from ..._libuv.buffers import Bytes, readable
from .address import Domain
from .bytestream import ByteStream, Listener, accepted
from .datagram import DatagramSocket
from .handled import Opening, checked_size
from .local import LocalDomain, LocalPassiveSocket, LocalStreamSocket
from .stream import PassiveSocket, StreamSocket

__all__ = ["SharePassiveSocket", "ShareStreamSocket", "Sharing", "Travelling", "adopted"]

_read_start = lib.co_read_start
_STREAMS: dict[int, Domain] = {lib.CO_FD_IPV4: "ipv4", lib.CO_FD_IPV6: "ipv6"}
_DATAGRAMS: dict[int, Domain] = {lib.CO_FD_UDP4: "ipv4", lib.CO_FD_UDP6: "ipv6"}
_WAITING = 64  # descriptors that came with data, and that nobody has asked for


class Sharing(ByteStream):
    """What streams, listeners and datagram sockets travel through, together with data, to another process.

    What travels is the descriptor: the sender has the socket still, and closes it or not. What a stream has received
    but not handed out stays where it is; a datagram goes to whoever of both takes it.
    """

    __slots__ = ()

    def receive(self, size: int = SIZE) -> bytes:
        """As `StreamSocket.receive`. What comes along waits for `receive_stream`: at most 64, older ones are closed."""
        data = super().receive(size)
        self._limit()
        return data

    def _piece(self, size: int) -> bytes:
        found = super()._piece(size)
        self._limit()
        return found

    @waits
    def receive_stream(self, size: int = SIZE) -> tuple[bytes, Travelling | None]:
        """Wait for data; return them, and the stream, listener or datagram socket that came along, or None.

        What came before is returned first, with b""; (b"", None) is the end of the stream. A listener begins to accept
        with `listen`. What comes along that is none of them (a file, a datagram socket that is not of UDP) is closed.
        An explicit resume ends the wait and is returned as it is. Suspends and raises as `StreamSocket.receive`.
        Source: uv_read_start, uv_accept.
        """
        size, handle = min(checked_size(size), LARGEST), self._handle
        if handle.stash.__class__ is bytes:
            return self._take_stash(size), self._taken()
        taken = self._taken()
        if taken is not None:
            return b"", taken
        if handle.stash is not None:
            return self._take_stash(size), None
        handle.wait(size, _read_start)
        return self._arrived(size), self._taken()

    def _taken(self) -> Travelling | None:
        """Return the next socket that has come; descriptors of other kinds are closed."""
        handle = self._handle
        while (fd := lib.co_share_take(handle.pointer, handle.slot, 1)) >= 0:
            taken = adopted(fd, hub=handle.hub)
            if taken is not None:
                return taken
        return None

    def _limit(self) -> None:
        """Close what came long ago."""
        handle = self._handle
        while (fd := lib.co_share_take(handle.pointer, handle.slot, _WAITING + 1)) >= 0:
            os.close(fd)

    @waits
    def send(self, data: Bytes, start: int = 0, stop: int | None = None, stream: Travelling | None = None) -> bool:
        """Send data[start:stop], and a `stream`, listener or datagram socket along with the first byte; return True.

        The receiver gets another descriptor of the same socket; ours may be closed as soon as we have begun to wait.
        The path that a socket is bound to is not removed any more when we close it.
        A passive socket travels after `listen`: before that, the system does not tell it from a stream.
        Without `stream` the same as `StreamSocket.send`. With one it always suspends, and raises also TypeError (not a
        socket), ValueError (no data; it does not listen), `Closed` or `ForeignThread` for the `stream`, and `UVError`:
        EBADF (it was never bound or connected), EMFILE. Source: uv_write2.
        """
        if stream is None:
            return super().send(data, start, stop)
        if not isinstance(stream, Travelling):
            raise TypeError(f"stream must be a stream, passive or datagram socket, not {stream!r}")
        view, at = readable(data, start, stop)
        if not len(view):
            raise ValueError("data[start:stop] is empty: a stream travels with one byte at least")
        handle, passed = self._handle, stream._handle
        if passed.closed:
            raise passed.unusable()
        if passed.hub is not handle.hub:
            raise passed.failed(lib.CO_FOREIGN, "uv_write2")
        if isinstance(stream, Listener) and not lib.co_kind_of(stream.fileno()) & lib.CO_FD_LISTENS:
            raise ValueError(f"{stream!r} is not listening: it would arrive as a stream")
        self._request("send", lib.co_share_send, "uv_write2", at, len(view), passed.slot, pins=view)
        return True


class ShareStreamSocket(Sharing, LocalStreamSocket):
    """One end of a connection through which sockets travel. See `Sharing`."""

    __slots__ = ()

    def __init__(self, domain: LocalDomain = "share", opening: Opening | None = None) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        super().__init__(domain, opening)


class SharePassiveSocket(LocalPassiveSocket):
    """A socket that listens for connections through which sockets travel."""

    __slots__ = ()

    def __init__(self, domain: LocalDomain = "share", opening: Opening | None = None) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        super().__init__(domain, opening)

    @waits
    def accept(self) -> ShareStreamSocket:
        """Wait for a connection and return it. As `LocalPassiveSocket.accept`."""
        self._accept()
        return ShareStreamSocket("share", accepted(self._handle, share=True))


Travelling = StreamSocket | PassiveSocket | DatagramSocket | LocalStreamSocket | LocalPassiveSocket


def adopted(fd: int, share: bool = False, hub: Hub | None = None) -> Travelling | None:
    """Return a socket, or a pipe, that owns the descriptor from now on; None for what is neither, which is closed.

    share: make a share stream of a Unix socket. hub: whose it is; None: the caller's.
    Raises `UVError`; the descriptor is closed then, too.
    """
    found = lib.co_kind_of(fd)
    kind, passive = found & ~lib.CO_FD_LISTENS, found != found & ~lib.CO_FD_LISTENS
    shares = share and found == lib.CO_FD_LOCAL

    def open_(loop: Any, slot: int, generation: int) -> int:
        code: int = lib.co_adopt(loop, slot, generation, fd, found, shares)
        return code

    if kind in _DATAGRAMS:
        return DatagramSocket(_DATAGRAMS[kind], (open_, "uv_udp_open", hub))
    if kind in _STREAMS:
        opening = open_, "uv_tcp_open", hub
        return PassiveSocket(_STREAMS[kind], opening) if passive else StreamSocket(_STREAMS[kind], opening)
    if kind in (lib.CO_FD_LOCAL, lib.CO_FD_FIFO):
        opening = open_, "uv_pipe_open", hub
        if passive:
            return SharePassiveSocket("share", opening) if share else LocalPassiveSocket("local", opening)
        return ShareStreamSocket("share", opening) if shares else LocalStreamSocket("local", opening)
    os.close(fd)
    return None
