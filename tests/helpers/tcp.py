"""TCP over loopback, and Unix sockets: addresses, listeners, connected pairs, and peers that are Python sockets."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from coutil import system
from coutil._libuv import lib
from coutil.system import PassiveSocket, Socket, StreamSocket
from coutil.system.network.fd_passing import socket_from_fd
from tests.helpers.pipes import LETTERS, child_end
from tests.helpers.servers import LITERAL, listening, loopback

SHARED = {"shared ipv4": "ipv4", "shared": "share"}  # streams whose open file description blocks for the sake of others
OTHER = {"ipv4": "ipv6", "ipv6": "ipv4"}
GIVEN = (object(), True, None, 3)  # values that no call of ours returns by itself
BIG = bytes(range(256)) * 65536  # 16 MiB: more than the kernel takes while there is no reader


def _ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not _ipv6(), reason="this machine has no ipv6 loopback")
_v6 = pytest.param("ipv6", marks=needs_ipv6)
both_domains = pytest.mark.parametrize("domain", ["ipv4", _v6])
all_domains = pytest.mark.parametrize("domain", ["ipv4", _v6, "local", "share"])


def connected(server: PassiveSocket) -> StreamSocket:
    """Return a stream connected to `server`, which need not accept yet. Waits."""
    client = system.socket("stream", server.getdomain())
    client.connect(server.getaddress())
    return client


def pair(domain: str) -> tuple[StreamSocket, StreamSocket]:
    """Return both ends of a connection; of a pipe to a child, the child's as a socket of ours. Waits."""
    if domain in LETTERS:
        near, peer = child_end(domain)
        return near, socket_from_fd(peer.detach(), share=True)
    if domain in SHARED:
        near, far = pair(SHARED[domain])
        return shared(near), far
    with listening(domain) as server:
        near = connected(server)
        return near, server.accept()


def shared(stream: StreamSocket) -> StreamSocket:
    """Have a stream share its open file description with others, as the standard streams do; return it."""
    stream._call(lib.co_stream_share, "fcntl")
    assert os.get_blocking(stream.fileno())
    return stream


@contextmanager
def pairs(domain: str, count: int = 1) -> Iterator[list[StreamSocket]]:
    """Yield [near, far] of one connection, [near, far, near, far] of two, …; close them at the end."""
    ends = [end for _ in range(count) for end in pair(domain)]
    try:
        yield ends
    finally:
        for end in ends:
            end.close()


def plain_client(address: Any) -> socket.socket:
    """Return a Python socket that is connected to an address of ours."""
    if not isinstance(address, str):
        return socket.create_connection((address.literal, address.port))
    peer = socket.socket(socket.AF_UNIX)
    peer.connect(address)
    return peer


@contextmanager
def with_plain_peer(domain: str) -> Iterator[tuple[StreamSocket, socket.socket]]:
    """Yield a stream of ours and its peer, a non-blocking Python socket; close both at the end."""
    if domain in LETTERS:
        stream, peer = child_end(domain)
        peer.setblocking(False)
        with stream, peer:
            yield stream, peer
        return
    with listening(SHARED.get(domain, domain)) as server:
        peer = plain_client(server.getaddress())
        peer.setblocking(False)
        with peer, server.accept() as stream:
            yield shared(stream) if domain in SHARED else stream, peer


@contextmanager
def with_plain_peers(count: int) -> Iterator[list[tuple[StreamSocket, socket.socket]]]:
    """Yield streams of ours, each with its peer, a Python socket; close them all at the end."""
    with socket.create_server((LITERAL["ipv4"], 0)) as server, ExitStack() as later:
        address = loopback("ipv4", server.getsockname()[1])
        found = []
        for _ in range(count):
            stream = later.enter_context(system.socket("stream", "ipv4"))
            stream.connect(address)
            found.append((stream, later.enter_context(server.accept()[0])))
        yield found


@contextmanager
def as_plain(ours: Socket) -> Iterator[socket.socket]:
    """Yield a Python socket for the descriptor of ours, to set or ask options."""
    with socket.socket(fileno=os.dup(ours.fileno())) as plain:
        yield plain


def reset(peer: socket.socket) -> None:
    """Close a Python socket so that the other side gets RST in place of FIN."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def fill(peer: socket.socket, piece: bytes = bytes(65536)) -> int:
    """Send on a non-blocking Python socket until the kernel takes no more; return how many bytes it took."""
    sent = 0
    with suppress(BlockingIOError):
        while True:
            sent += peer.send(piece)
    return sent


def receive_exactly(stream: StreamSocket, size: int) -> bytes:
    """Receive `size` bytes, fewer only if the stream ends before. Waits."""
    found = bytearray()
    while len(found) < size and (data := stream.receive(min(size - len(found), 1 << 20))):
        found += data
    return bytes(found)


def receive_all(stream: StreamSocket) -> bytes:
    """Receive up to the end of the stream. Waits."""
    return receive_exactly(stream, 1 << 62)


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
