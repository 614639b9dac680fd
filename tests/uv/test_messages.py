"""Errors and reprs of handles show the addresses of both ends."""

import socket
import struct

import pytest

from coutil import errors, uv
from tests.helpers.servers import local_path


def connected(loop, server, client):
    """Return what accepts a connection of `client`, a handle of `loop` or a socket, at the free port of `server`."""
    server.bind("127.0.0.1", 0)
    server.listen()
    client.connect(*((server.getsockname(),) if isinstance(client, socket.socket) else server.getsockname()))
    return server.accept()


def named(name):
    """Return an address as messages show it."""
    return f"{name[0]}:{name[1]}"


def test_tcp(loop):
    """Of both ends, open and closed; EPIPE of a write, also of one without a waiter."""
    with uv.TCP(loop) as server, uv.TCP(loop) as client:
        assert repr(client) == "<TCP inactive>"
        far = connected(loop, server, client)
        own, peer = named(client.getsockname()), named(server.getsockname())
        assert repr(server) == f"<TCP active {peer}>"
        assert repr(client) == f"<TCP inactive {own} -> {peer}>"
        assert repr(far) == f"<TCP inactive {peer} -> {own}>"
        far.close()
        assert repr(far) == f"<TCP closed {peer} -> {own}>"
        with pytest.raises(errors.Closed, match=f"^tcp {peer} -> {own} is closed$"):
            far.read()
        client.try_write(b"x")
        with pytest.raises(ConnectionError) as caught:
            [client.write(bytes(1 << 20)) for _ in range(100)]
        assert (caught.value.filename, caught.value.filename2) == (own, peer)


def test_reset(loop):
    """The system has forgotten the peer."""
    with uv.TCP(loop) as server, socket.socket() as peer:
        far = connected(loop, server, peer)
        names = named(far.getsockname()), named(far.getpeername())
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        with far, pytest.raises(ConnectionResetError) as caught:
            far.read()
        assert (caught.value.filename, caught.value.filename2) == names


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_refused(loop, host):
    """The address that was connected to; after our own if there is one."""
    to = f"[{host}]:1" if ":" in host else f"{host}:1"
    with uv.TCP(loop) as client, pytest.raises(errors.UVError) as caught:
        client.connect(host, 1)
    assert (caught.value.filename, caught.value.filename2) == (to, None)
    if host == "127.0.0.1":
        with uv.TCP(loop) as client:
            client.bind(host, 0)
            own = named(client.getsockname())
            with pytest.raises(ConnectionRefusedError) as caught:
                client.connect(host, 1)
        assert (caught.value.filename, caught.value.filename2) == (own, to)


def test_udp(loop):
    """Bound, connected and disconnected."""
    with uv.UDP(loop) as one, uv.UDP(loop) as two:
        for made in (one, two):
            made.bind("127.0.0.1", 0)
        own, peer = named(one.getsockname()), named(two.getsockname())
        assert repr(one) == f"<UDP inactive {own}>"
        one.connect(*two.getsockname())
        assert repr(one) == f"<UDP inactive {own} -> {peer}>"
        one.disconnect()
        assert repr(one) == "<UDP inactive>", "with the peer goes the port that the system had chosen"


def test_pipe(loop):
    """Names of Unix sockets."""
    path = local_path()
    with uv.Pipe(loop) as server, uv.Pipe(loop) as client:
        server.bind(path)
        server.listen()
        client.connect(path)
        assert repr(client) == f"<Pipe inactive -> {path!r}>"
        with server.accept() as far:
            assert repr(far) == f"<Pipe inactive {path!r}>"
