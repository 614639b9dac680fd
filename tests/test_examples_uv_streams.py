"""The examples of coutil.uv run as they say, and end."""

import os
import re
import socket
import struct
from contextlib import ExitStack

from tests.helpers.examples import LIMIT, serving


def connection(port):
    """Connect with a socket of the standard library: what we test is not its own judge."""
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def test_echo_returns_what_it_was_sent():
    """Also to a client that sends much before it reads."""
    with serving("uv_echo.py") as port:
        payload = os.urandom(300_000)
        with connection(port) as stream:
            stream.sendall(payload[:1000])
            with stream.makefile("rb") as replies:
                assert replies.read(1000) == payload[:1000]
                stream.sendall(payload)
                stream.shutdown(socket.SHUT_WR)
                assert replies.read() == payload


def test_echo_stops_reading_from_who_does_not_read():
    """The client is stopped; another one is served; then the first gets everything."""
    with serving("uv_echo.py") as port, connection(port) as greedy, connection(port) as modest:
        greedy.settimeout(0.3)
        sent, piece = 0, bytes(1 << 16)
        try:
            while sent < 1 << 26:
                sent += greedy.send(piece)
        except TimeoutError:
            pass
        assert sent < 1 << 26
        modest.sendall(b"x")
        assert modest.recv(1) == b"x"
        greedy.settimeout(LIMIT)
        greedy.shutdown(socket.SHUT_WR)
        with greedy.makefile("rb") as replies:
            assert len(replies.read()) == sent


def test_echo_survives_a_reset_and_stops_with_connections_open():
    """A client that breaks its connection is the only one that is closed."""
    with socket.socket() as stream:
        with serving("uv_echo.py") as port:
            with connection(port) as broken:
                broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset
            stream.connect(("127.0.0.1", port))
            stream.sendall(b"still there?")
            assert stream.recv(100) == b"still there?"
        assert stream.recv(100) == b""


def test_cluster_serves_and_ends():
    """Connections are served by the workers; afterwards there is no listener."""
    with serving("uv_cluster.py", "--workers", "2") as port:
        with ExitStack() as stack:
            clients = [stack.enter_context(connection(port)) for _ in range(20)]
            said = [client.recv(100) + client.recv(100) for client in clients]
        assert all(re.fullmatch(rb"served by \d+\n", one) for one in said)
        workers = {int(one.split()[-1]) for one in said}
        assert 1 <= len(workers) <= 2
    for worker in workers:
        assert not os.path.exists(f"/proc/{worker}")
