"""Sockets that are passed between processes, and the share sockets that pass them."""

from __future__ import annotations

import os
from typing import Any

from ..._coroutines import waits
from ..._kernel import DEFAULT_READ_SIZE, MAX_READ, Hub
from ..._libuv import lib
from ..._libuv.buffers import Bytes, readable
from .address import Domain
from .base import OpenSpec, check_size
from .bytestream import ByteStream, Listener, accept_spec
from .datagram import DatagramSocket
from .local import LocalDomain, LocalPassiveSocket, LocalStreamSocket
from .stream import PassiveSocket, StreamSocket

__all__ = ["FdPassing", "PassableSocket", "SharePassiveSocket", "ShareStreamSocket", "socket_from_fd"]

_read_start = lib.co_read_start
_STREAMS: dict[int, Domain] = {lib.CO_FD_IPV4: "ipv4", lib.CO_FD_IPV6: "ipv6"}
_DATAGRAMS: dict[int, Domain] = {lib.CO_FD_UDP4: "ipv4", lib.CO_FD_UDP6: "ipv6"}
_MAX_PENDING_FDS = 64  # descriptors that were received with data, and that `receive_stream` has not returned


class FdPassing(ByteStream):
    """A stream that passes streams, listeners and datagram sockets to another process, together with data.

    It passes a descriptor of the socket: the sender still has its own, and may close it. Data that the passed stream
    has received and not returned stay with the sender; a datagram goes to the process that receives it first.
    """

    __slots__ = ()

    def receive(self, size: int = DEFAULT_READ_SIZE) -> bytes:
        """Receive data as `StreamSocket.receive`. Sockets that come with them are kept for `receive_stream`.

        At most 64 are kept; older ones are closed.
        """
        data = super().receive(size)
        self._close_excess()
        return data

    def _receive_chunk(self, size: int) -> bytes:
        data = super()._receive_chunk(size)
        self._close_excess()
        return data

    @waits
    def receive_stream(self, size: int = DEFAULT_READ_SIZE) -> tuple[bytes, PassableSocket | None]:
        """Wait for data; return them, and the stream, listener or datagram socket that came with them, or None.

        Sockets that came earlier are returned first, with b""; (b"", None) is the end of the stream. A listener begins
        to accept with `listen`. A descriptor of another kind (a file, a datagram socket that is not UDP) is closed. An
        explicit resume ends the wait, and its value is returned. Suspends and raises as `StreamSocket.receive`.
        Source: uv_read_start, uv_accept.
        """
        size, handle = min(check_size(size), MAX_READ), self._handle
        if handle.pending_data.__class__ is bytes:
            return self._pop_pending(size), self._next_socket()
        taken = self._next_socket()
        if taken is not None:
            return b"", taken
        if handle.pending_data is not None:
            return self._pop_pending(size), None
        handle.wait(size, _read_start)
        return self._read_result(size), self._next_socket()

    def _next_socket(self) -> PassableSocket | None:
        """Return the next socket that was received; close descriptors of other kinds."""
        handle = self._handle
        while (fd := lib.co_share_take(handle.pointer, handle.slot, 1)) >= 0:
            taken = socket_from_fd(fd, hub=handle.hub)
            if taken is not None:
                return taken
        return None

    def _close_excess(self) -> None:
        """Close the oldest descriptors above the limit."""
        handle = self._handle
        while (fd := lib.co_share_take(handle.pointer, handle.slot, _MAX_PENDING_FDS + 1)) >= 0:
            os.close(fd)

    @waits
    def send(self, data: Bytes, start: int = 0, stop: int | None = None, stream: PassableSocket | None = None) -> bool:
        """Send data[start:stop], with the first byte also `stream`: a stream, listener or datagram socket; return True.

        The receiver gets another descriptor of the same socket; the sender may close its own as soon as the wait has
        started. From then on closing it does not remove the path that the socket is bound to.
        Call `listen` before a passive socket is passed: until then the system cannot distinguish it from a stream.
        Without `stream` this is `StreamSocket.send`. With `stream` it always suspends, and also raises TypeError (not a
        socket), ValueError (no data; it does not listen), `Closed` or `ForeignThread` for the `stream`, and `UVError`:
        EBADF (it was never bound or connected), EMFILE. Source: uv_write2.
        """
        if stream is None:
            return super().send(data, start, stop)
        if not isinstance(stream, PassableSocket):
            raise TypeError(f"stream must be a stream, passive or datagram socket, not {stream!r}")
        view, address = readable(data, start, stop)
        if not len(view):
            raise ValueError("data[start:stop] is empty: a stream is passed with at least one byte")
        handle, passed = self._handle, stream._handle
        if passed.closed:
            raise passed.use_error()
        if passed.hub is not handle.hub:
            raise passed.call_error(lib.CO_FOREIGN, "uv_write2")
        if isinstance(stream, Listener) and not lib.co_kind_of(stream.fileno()) & lib.CO_FD_LISTENS:
            raise ValueError(f"{stream!r} is not listening: it would arrive as a stream")
        self._request("send", lib.co_share_send, "uv_write2", address, len(view), passed.slot, keepalive=view)
        return True


class ShareStreamSocket(FdPassing, LocalStreamSocket):
    """One end of a connection that passes sockets. See `FdPassing`."""

    __slots__ = ()

    def __init__(self, domain: LocalDomain = "share", opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        super().__init__(domain, opening)


class SharePassiveSocket(LocalPassiveSocket):
    """A socket that listens for connections that pass sockets."""

    __slots__ = ()

    def __init__(self, domain: LocalDomain = "share", opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        super().__init__(domain, opening)

    @waits
    def accept(self) -> ShareStreamSocket:
        """Wait for a connection and return it. As `LocalPassiveSocket.accept`."""
        self._accept()
        return ShareStreamSocket("share", accept_spec(self._handle, share=True))


PassableSocket = StreamSocket | PassiveSocket | DatagramSocket | LocalStreamSocket | LocalPassiveSocket


def socket_from_fd(fd: int, share: bool = False, hub: Hub | None = None) -> PassableSocket | None:
    """Return a socket, or a pipe, that owns the descriptor from now on.

    Returns None for a descriptor of another kind, and closes it. share: make a share stream of a Unix socket. hub: the
    hub to which it will belong; None: the caller's.
    Raises `UVError`; then the descriptor is closed, too.
    """
    flags = lib.co_kind_of(fd)
    kind = flags & ~lib.CO_FD_LISTENS
    passive = kind != flags
    shares = share and flags == lib.CO_FD_LOCAL

    def open_(loop: Any, slot: int, generation: int) -> int:
        code: int = lib.co_adopt(loop, slot, generation, fd, flags, shares)
        return code

    # The class follows from the kind of the socket, and from whether it listens; each class owns the descriptor.
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
