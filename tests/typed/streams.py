"""Sockets and files keep their types in with blocks, and calls check their arguments."""

from typing import assert_type

from coutil import system
from coutil.system import Address, DatagramSocket, FileInfo, PassiveSocket, StreamSocket


def connect() -> bytes:
    with system.connect("localhost", 80, timeout=5) as stream:
        assert_type(stream, StreamSocket)
        stream.recv(5)  # error: there is no such method
        stream.send("text")  # error: text is no bytes
        assert_type(stream.send(b"x"), bool)
        assert_type(stream.getaddress("peer"), Address)
        for line in stream.lines():
            assert_type(line, bytes)
        return stream.receive()


def serve() -> None:
    with system.socket("passive", "ipv4") as server:
        assert_type(server, PassiveSocket)
        with server.accept() as stream:
            assert_type(stream, StreamSocket)
        server.send(b"x")  # error: a listener cannot send
    with system.socket("datagram", "ipv6") as sender:
        assert_type(sender, DatagramSocket)
        assert_type(sender.receive(), tuple[bytes, Address])
    system.socket("tcp", "ipv4")  # error: no such kind


def files(path: str, name: str) -> None:
    assert_type(system.fileinfo(path), FileInfo)
    assert_type(system.fileinfo(path, "size"), int)
    assert_type(system.fileinfo(path, "mtime", follow=False), float)
    assert_type(system.fileinfo(path, "wgroup"), bool)
    assert_type(system.fileinfo(path, "type"), str)
    assert_type(system.fileinfo(path, "target"), str | None)
    assert_type(system.fileinfo(path, "fsfree"), int)
    _size, _device = system.fileinfo(path, "size", "device")
    system.fileinfo(path, name)
    system.fileinfo(path, "size", follow=1)  # error: no bool
    with system.openfile(path) as file:
        assert_type(file.read(10), bytes)
        assert_type(file.info(), FileInfo)
        assert_type(file.info("size"), int)


def watching(path: str, raw: bytes) -> None:
    with system.watch(path) as changes:
        for change in changes:
            assert_type(change.name, str | None)
            assert_type(change.events, frozenset[str])
    for other in system.watch(raw):
        assert_type(other.name, bytes | None)


def process() -> None:
    assert_type(system.procinfo().cpu_user, float | None)
    assert_type(system.procinfo("e"), str)
    assert_type(system.procinfo("R"), int)
    assert_type(system.procinfo("t"), float)
