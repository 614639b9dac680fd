"""UDP over loopback: bound and connected sockets, peers that are plain Python sockets, and a system that is busy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from coutil import system
from coutil._libuv import lib
from coutil.system import DatagramSocket
from coutil.system.network import datagram
from tests.helpers.servers import LITERAL, loopback
from tests.helpers.tcp import as_plain

LARGEST = {"ipv4": 65507, "ipv6": 65527}  # bytes of the largest datagram


def bound(domain: str) -> DatagramSocket:
    """Return a socket that is bound to a free port of the loopback."""
    made = system.socket("datagram", domain)
    made.bind(loopback(domain))
    return made


@contextmanager
def sockets(domain: str, count: int = 2) -> Iterator[list[DatagramSocket]]:
    """Yield sockets that are bound; close them at the end."""
    made = [bound(domain) for _ in range(count)]
    try:
        yield made
    finally:
        for each in made:
            each.close()


@contextmanager
def connected_sockets(domain: str) -> Iterator[list[DatagramSocket]]:
    """Yield two sockets, each connected to the other; close them at the end."""
    with sockets(domain) as (near, far):
        near.connect(far.getaddress())
        far.connect(near.getaddress())
        yield [near, far]


@contextmanager
def plain_peer(domain: str) -> Iterator[socket.socket]:
    """Yield a non-blocking Python socket that is bound; close it at the end."""
    family = socket.AF_INET6 if domain == "ipv6" else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as peer:
        peer.bind((LITERAL[domain], 0))
        peer.setblocking(False)
        yield peer


def drained(peer: socket.socket) -> list[bytes]:
    """Return all datagrams that wait at a non-blocking Python socket."""
    found = []
    try:
        while True:
            found.append(peer.recv(1 << 16))
    except BlockingIOError:
        return found


def left_in_the_system(ours: DatagramSocket) -> list[bytes]:
    """Return, and take, the datagrams that coutil has not taken from the system."""
    with as_plain(ours) as plain:
        return drained(plain)


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The system takes no datagram at once: every send has to suspend. On loopback it always takes them."""
    monkeypatch.setattr(datagram, "_try_send", lambda *_: lib.UV_EAGAIN)
