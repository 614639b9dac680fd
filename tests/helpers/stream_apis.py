"""One vocabulary for the streams of coutil.system and those of coutil.uv."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from coutil import spawn, system, uv
from tests.helpers.servers import local_path, loopback


class System:
    """Sockets of coutil.system."""

    def __init__(self, domain: str) -> None:
        """domain: "ipv4" or "local"."""
        self.domain, self.local = domain, domain == "local"

    def listener(self) -> Any:
        """Return what listens at a free address."""
        server = system.socket("passive", self.domain)
        server.bind(loopback(self.domain))
        server.listen(64)
        return server

    def stream(self) -> Any:
        """Return a stream that is not connected."""
        return system.socket("stream", self.domain)

    def connect(self, stream: Any, server: Any) -> object:
        """Connect a stream to a listener; suspends."""
        return stream.connect(server.getaddress())

    def place(self, server: Any) -> Any:
        """Return the address of a listener for the sockets of the standard library."""
        found = server.getaddress()
        return found if self.local else (found.literal, found.port)

    def read(self, stream: Any, *size: Any) -> Any:
        """Read; suspends."""
        return stream.receive(*size)

    def read_into(self, stream: Any, buffer: Any) -> int:
        """Read into a buffer; suspends."""
        return stream.receive_into(buffer)

    def write(self, stream: Any, data: Any) -> Any:
        """Write everything; may suspend."""
        return stream.send(data)

    def close(self, one: Any) -> None:
        """Close without waiting."""
        one.close()


class UV:
    """Streams of coutil.uv, in pull style."""

    def __init__(self, kind: str) -> None:
        """kind: "tcp" or "pipe"."""
        self.kind, self.local = kind, kind == "pipe"

    def listener(self) -> Any:
        """See System."""
        server = self.stream()
        server.bind(*([local_path()] if self.local else ["127.0.0.1", 0]))
        server.listen(64)
        return server

    def stream(self) -> Any:
        """See System."""
        return uv.Pipe() if self.local else uv.TCP()

    def connect(self, stream: Any, server: Any) -> object:
        """See System."""
        return stream.connect(*([server.getsockname()] if self.local else server.getsockname()))

    def place(self, server: Any) -> Any:
        """See System."""
        return server.getsockname()

    def read(self, stream: Any, *size: Any) -> Any:
        """See System."""
        return stream.read(*size)

    def read_into(self, stream: Any, buffer: Any) -> int:
        """See System."""
        return stream.read_into(buffer)

    def write(self, stream: Any, data: Any) -> Any:
        """See System."""
        return stream.write(data)

    def close(self, one: Any) -> None:
        """See System."""
        one.close_soon()


WORLDS = {
    "system-ipv4": System("ipv4"),
    "system-local": System("local"),
    "uv-tcp": UV("tcp"),
    "uv-pipe": UV("pipe"),
}


@contextmanager
def connected(world: Any) -> Iterator[tuple[Any, Any]]:
    """Yield both ends of a connection; they are closed at the end of the block."""
    with world.listener() as server, world.stream() as client:
        accepted: list[Any] = []
        spawn.call(lambda: accepted.append(server.accept()))
        assert world.connect(client, server) is True
        while not accepted:
            system.suspend(0)
        with accepted[0]:
            yield client, accepted[0]


@contextmanager
def with_python(world: Any) -> Iterator[tuple[Any, socket.socket]]:
    """Yield a stream and its peer, a socket of the standard library that does not wait; the block may close either."""
    peer = socket.socket(socket.AF_UNIX if world.local else socket.AF_INET)
    with world.listener() as server, peer:
        peer.connect(world.place(server))
        peer.setblocking(False)
        with server.accept() as stream:
            yield stream, peer


def read_all(world: Any, stream: Any, size: int) -> bytes:
    """Read until there are `size` bytes, or the end."""
    pieces: list[bytes] = []
    while size > 0 and (data := world.read(stream)):
        pieces.append(data)
        size -= len(data)
    return b"".join(pieces)
