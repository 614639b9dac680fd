"""Rows of the kill matrix: streams, pipes to children, and listeners of all kinds."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from coutil import errors, spawn, system
from coutil.testing import ManualClock
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, as_plain, connected, pairs, receive_exactly, with_plain_peer
from tests.matrix.row import NOTHING, Row, row, row_for

CONNECTED = ("ipv4", "local", "share", "pipe", "sharepipe", "shared", "shared ipv4")


@row_for(*CONNECTED)
def stream_receive(domain: str, clock: ManualClock) -> Iterator[Row]:
    with with_plain_peer(domain) as (stream, peer):

        def check(got: Any, begun: bool) -> None:
            peer.send(b", and more")
            found = b"" if got is NOTHING else got
            assert found + receive_exactly(stream, 14 - len(found)) == b"data, and more"

        yield Row(stream.receive, lambda: peer.send(b"data"), check)


@row_for(*CONNECTED)
def stream_receive_into(domain: str, clock: ManualClock) -> Iterator[Row]:
    with with_plain_peer(domain) as (stream, peer):
        buffer = bytearray(64)

        def check(got: Any, begun: bool) -> None:
            peer.send(b", and more")
            found = b"" if got is NOTHING else bytes(buffer[:got])
            assert found + receive_exactly(stream, 14 - len(found)) == b"data, and more"
            buffer.append(0)  # no one but the test holds it

        yield Row(lambda: stream.receive_into(buffer), lambda: peer.send(b"data"), check)


@row_for("ipv4", "sharepipe")
def stream_readline(domain: str, clock: ManualClock) -> Iterator[Row]:
    """Of text, whose line comes in pieces."""
    with with_plain_peer(domain) as (stream, peer), stream.text() as text:
        peer.send(b"the beg")

        def check(got: Any, begun: bool) -> None:
            peer.send(b"more\n")
            assert got in (NOTHING, "the beginning\n")
            if got is NOTHING:
                assert text.readline() == "the beginning\n"
            assert text.readline() == "more\n"

        def readline() -> Any:
            """Turn the error, which says that the wait was ended, into what ended it."""
            try:
                return text.readline()
            except errors.OperationCancelled:
                return True

        yield Row(readline, lambda: peer.send(b"inning\n"), check)


@row_for(*CONNECTED)
def stream_send(domain: str, clock: ManualClock) -> Iterator[Row]:
    """What has begun goes on in the background, so that the peer never reads half of it."""
    with pairs(domain) as (near, far):
        taken, sends, readers = bytearray(), [], []

        def send() -> Any:
            sends.append(BIG)
            return near.send(BIG)

        def read() -> None:
            while len(taken) < len(BIG):
                taken.extend(far.receive())

        def ready() -> None:
            """Take what the kernel has; a coroutine goes on with it."""
            with as_plain(far) as plain, suppress(BlockingIOError):
                while sends:
                    taken.extend(plain.recv(1 << 20))
            if sends:
                readers.append(spawn.call(read))

        def check(got: Any, begun: bool) -> None:
            while readers and readers[0].status != "dead":
                system.run("step")
            near.send(b"end")
            expected = b"".join((*sends, b"end"))
            taken.extend(receive_exactly(far, len(expected) - len(taken)))
            assert taken == expected

        yield Row(send, ready, check)


@row_for("ipv4", "local", "share")
def stream_connect(domain: str, clock: ManualClock) -> Iterator[Row]:
    with listening(domain) as server, system.socket("stream", domain) as stream:

        def check(got: Any, begun: bool) -> None:
            if not begun:
                assert stream.connect(server.getaddress()) is True
            server.accept().close()
            with connected(server) as next_one, server.accept() as far:
                assert next_one.getaddress() == far.getaddress("peer")

        yield Row(lambda: stream.connect(server.getaddress()), check=check)


@row_for("ipv4", "local", "share")
def passive_accept(domain: str, clock: ManualClock) -> Iterator[Row]:
    with listening(domain) as server, system.socket("stream", domain) as client:

        def check(got: Any, begun: bool) -> None:
            with server.accept() if got is NOTHING else got as far:
                assert client.getaddress() == far.getaddress("peer")
            with connected(server) as next_one, server.accept() as far:
                assert next_one.getaddress() == far.getaddress("peer")

        yield Row(server.accept, lambda: client.connect(server.getaddress()), check)


@row_for(*CONNECTED)
def stream_shutdown(domain: str, clock: ManualClock) -> Iterator[Row]:
    with pairs(domain) as (near, far):

        def check(got: Any, begun: bool) -> None:
            if not begun:
                near.send(b"still open")
                assert far.receive() == b"still open"
                near.shutdown()
            assert far.receive() == b""
            far.send(b"the other way")
            assert near.receive() == b"the other way"

        yield Row(near.shutdown, check=check)


@row
def child_input_shutdown(clock: ManualClock) -> Iterator[Row]:
    """Of a true pipe: the child gets everything, and the end, whatever becomes of the wait."""
    with system.start("sh", "-c", "wc -c", stdin="w", stdout="r") as child:
        child.kill("pause")
        sender = spawn.call(child.stdin.send, BIG)
        assert sender.status == "suspended"

        def check(got: Any, begun: bool) -> None:
            if not begun:
                spawn.call(child.stdin.shutdown)
            assert receive_exactly(child.stdout, 99).split() == [b"%d" % len(BIG)]
            assert child.wait() == ("exit", 0)
            assert sender.status == "dead"

        yield Row(child.stdin.shutdown, lambda: child.kill("continue"), check)


# -- what travels on share sockets


@row_for("share", "sharepipe", "shared")
def stream_receive_stream(domain: str, clock: ManualClock) -> Iterator[Row]:
    """The data and the stream come once, though perhaps apart."""
    outer, inner = socket.socketpair()
    with with_plain_peer(domain) as (stream, peer), outer, inner:
        data, arrived = bytearray(), []

        def take(got: tuple[bytes, Any]) -> None:
            data.extend(got[0])
            arrived.extend([got[1]] * (got[1] is not None))

        def check(got: Any, begun: bool) -> None:
            peer.send(b", and more")
            if got is not NOTHING:
                take(got)
            while len(data) < 14:
                take(stream.receive_stream())
            assert data == b"data, and more"
            assert len(arrived) == 1
            with arrived[0] as found:
                found.send(b"alive")
                assert outer.recv(5) == b"alive"

        yield Row(stream.receive_stream, lambda: socket.send_fds(peer, [b"data"], [inner.fileno()]), check)


@row_for("share", "sharepipe", "shared")
def stream_send_stream(domain: str, clock: ManualClock) -> Iterator[Row]:
    """What has begun goes on in the background, with the stream."""
    with pairs(domain) as (near, far), pairs("ipv4") as (outer, inner):

        def send() -> Any:
            return near.send(b"data", stream=inner)

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, True)
            if not begun:
                assert send() is True
            assert near.send(b", and more") is True
            data, arrived = far.receive_stream()
            assert data + receive_exactly(far, 14 - len(data)) == b"data, and more"
            with arrived:
                assert arrived.send(b"alive") is True
                assert outer.receive() == b"alive"
            near.shutdown()
            assert far.receive_stream() == (b"", None)

        yield Row(send, check=check)


# -- a name and a port


@row
def connect(clock: ManualClock) -> Iterator[Row]:
    """Of an attempt that was given up the listener sees at most the end."""
    with listening("ipv4") as server:
        port = server.getaddress().port

        def far_end(near: Any) -> Any:
            """Accept until the other end of `near` comes."""
            while True:
                far = server.accept()
                if far.getaddress("peer") == near.getaddress():
                    return far
                with far:
                    assert far.receive() == b""

        def check(got: Any, begun: bool) -> None:
            for near in (
                [system.connect("localhost", port)] if got is NOTHING else [got, system.connect("localhost", port)]
            ):
                with near, far_end(near) as far:
                    near.send(b"data")
                    assert far.receive() == b"data"

        yield Row(lambda: system.connect("localhost", port), check=check)
