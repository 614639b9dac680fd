"""Pipes to children through which sockets travel: the letter "s". The children are programs of their own."""

from __future__ import annotations

import os
import socket
import sys
from textwrap import dedent

import pytest

from coutil import spawn, system
from coutil.system import DatagramSocket, ExecSpec, Pipe, SharePipe, ShareStreamSocket, StreamSocket
from tests.helpers.sandbox import PIDFD_OPEN
from tests.helpers.script import ROOT
from tests.helpers.servers import listening, local_path, loopback
from tests.helpers.tcp import as_plain, connected, pair, receive_all, receive_exactly
from tests.helpers.udp import bound
from tests.system.test_children import in_sandbox, needs_sandbox
from tests.system.test_execute import children


def program(script, *arguments, **streams):
    """Return the spec of a child that runs a script with coutil."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return ExecSpec(sys.executable, ["-c", dedent(script), *arguments], environment, **streams)


def test_stream_for_a_child():
    """EXE-13, PIP-4: the parent accepts a client and hands it to the child, which talks to it."""
    script = """
        from coutil import system
        data, stream = system.stdin.receive_stream(6)
        with stream:
            stream.send(b"child of " + data)
        assert system.stdin.receive_stream() == (b"", None)
    """
    with listening("local") as server, connected(server) as client:
        with system.start(program(script, stdin="ws")) as child, server.accept() as stream:
            assert (type(child.stdin), isinstance(child.stdin, Pipe)) == (SharePipe, True)
            assert child.stdin.send(b"parent", stream=stream) is True
            stream.close()
            child.stdin.shutdown()
            assert receive_all(client) == b"child of parent"
        assert child.wait() == ("exit", 0)


def test_listener_from_a_child():
    """EXE-13: what a child sends comes along with its data: a listener, which accepts here, and outlives the child."""
    script = """
        from coutil import system
        with system.socket("passive", "ipv4") as server:
            server.bind(system.address("ipv4", "127.0.0.1", 0))
            server.listen(1)
            system.stdout.send(b"server", stream=server)
    """
    with system.start(program(script, stdout="rs")) as child:
        data, server = child.stdout.receive_stream(6)
        assert (data, child.wait()) == (b"server", ("exit", 0))
        with server:
            server.listen(1)
            with connected(server) as client, server.accept() as stream:
                assert client.send(b"alive") is True
                assert stream.receive() == b"alive"
        assert child.stdout.receive_stream() == (b"", None)


def test_both_ways_with_execute():
    """EXE-13: "rws" goes in both directions; a child sends back what it got, TCP and UDP, as long as execute waits."""
    script = """
        from coutil import system
        while True:
            data, taken = system.stdin.receive_stream()
            if taken is None:
                break
            with taken:
                system.stdin.send(data.upper(), stream=taken)
        raise SystemExit(7)
    """
    spec, log = program(script, stdin="rws"), []
    spawn.call(lambda: log.append(system.execute(spec)))
    near, far = pair("ipv4")
    with near, far, bound("ipv4") as datagrams, spec.stdin as link:
        for given in (near, datagrams):
            assert link.send(b"data", stream=given) is True
            data, back = link.receive_stream()
            with back:
                assert (data, type(back)) == (b"DATA", type(given))
                assert back.getaddress() == given.getaddress()
                assert back.fileno() != given.fileno()
        link.shutdown()
        assert system.run() is False
    assert log == [("exit", 7)]
    assert {type(near), type(datagrams)} == {StreamSocket, DatagramSocket}


def test_from_child_to_child():
    """EXE-13: a stream goes on from one child to the next, and none of those between holds it any more."""
    script = """
        import sys
        from coutil import system
        data, stream = system.stdin.receive_stream()
        if data == b"end":
            stream.send(b"arrived")
        else:
            system.stdout.send(data, stream=stream)
    """
    near, far = pair("local")
    with far, system.start(program(script, stdin="ws", stdout="rs")) as first:
        first.stdin.send(b"on", stream=near)
        near.close()
        data, passed = first.stdout.receive_stream()
        assert (data, first.wait()) == (b"on", ("exit", 0))
        with system.start(program(script, stdin="ws")) as last:
            last.stdin.send(b"end", stream=passed)
            passed.close()
            assert receive_all(far) == b"arrived"
        assert last.wait() == ("exit", 0)


def test_a_child_without_coutil():
    """EXE-13: the other end is an ordinary Unix socket, and descriptors come as everywhere (SCM_RIGHTS)."""
    script = """
        import socket
        link = socket.socket(fileno=0)
        data, (fd,), _, _ = socket.recv_fds(link, 9, 9)
        with socket.socket(fileno=fd) as client:
            client.sendall(b"to the client")
            socket.send_fds(link, [b"back"], [fd])
    """
    near, far = pair("ipv4")
    with near, far, system.start(sys.executable, "-S", "-c", dedent(script), stdin="rws") as child:
        child.stdin.send(b"data", stream=near)
        near.close()
        assert receive_exactly(far, 13) == b"to the client"
        data, back = child.stdin.receive_stream()
        with back:
            assert (data, child.wait()) == (b"back", ("exit", 0))
            back.send(b"and more")
            assert receive_exactly(far, 8) == b"and more"


def test_a_child_that_takes_nothing():
    """EXE-13: streams that wait in the pipe when the child ends are closed with it."""
    near, far = pair("ipv4")
    with far, system.start("sleep", "100", stdin="ws") as child:
        child.stdin.send(b"data", stream=near)
        near.close()
        with as_plain(far) as plain:
            plain.setblocking(False)
            with pytest.raises(BlockingIOError):
                plain.recv(1)
        child.kill("kill")
        assert child.wait() == ("kill", 9)
        assert far.receive() == b""


def test_streams_that_the_parent_does_not_take():
    """EXE-13: plain receive keeps what came along for receive_stream; closing the pipe closes it."""
    path = local_path()
    script = """
        import sys
        from coutil import system
        with system.socket("stream", "local") as client:
            client.connect(sys.argv[1])
            for _ in range(2):
                system.stdout.send(b"x", stream=client)
    """
    with system.socket("passive", "local") as server:
        server.bind(path)
        server.listen(1)
        child = system.start(program(script, path, stdout="rs"))
        with server.accept() as stream:
            assert child.wait() == ("exit", 0)
            assert receive_exactly(child.stdout, 2) == b"xx"
            data, taken = child.stdout.receive_stream()
            assert (data, taken.getdomain()) == (b"", "local")
            taken.close()
            child.close()
            assert stream.receive() == b"", "the other one is closed, too"


def test_one_way():
    """EXE-13: the letters still say which way; a pipe without "s" takes no streams along."""
    near, far = pair("local")
    with near, far, system.start("cat", stdin="sw", stdout="sr", stderr="r") as child:
        with pytest.raises(OSError, match="ENOTCONN"):
            child.stdin.receive_stream()
        with pytest.raises(BrokenPipeError):
            child.stdout.send(b"x", stream=near)
        with pytest.raises(BrokenPipeError):
            child.stdout.send(b"x")
        with pytest.raises(TypeError, match="stream"):
            child.stderr.send(b"x", stream=near)
        assert not hasattr(child.stderr, "receive_stream")
        assert [repr(one) for one in (child.stdin, child.stderr)] == ["<SharePipe stdin>", "<Pipe stderr>"]
        child.stdin.send(b"words")
        assert child.stdout.receive_stream() == (b"words", None)
    for letters in ("s", "ss", "rwx", "S"):
        with pytest.raises(ValueError, match='consist of "r", "w"'):
            system.start("true", stdout=letters)
    assert children() == []


def test_the_child_has_share_streams():
    """STD-2: in the child each of the three is a share stream, whatever letters stand beside "s"."""
    script = """
        import sys
        from coutil import system
        found = [type(one).__name__ for one in (system.stdin, system.stdout, system.stderr)]
        system.stderr.send(" ".join(found).encode())
    """
    with system.start(program(script, stdin="ws", stdout="rws", stderr="rs")) as child:
        child.stdin.close()
        assert receive_all(child.stderr).split() == [ShareStreamSocket.__name__.encode()] * 3
        assert child.wait() == ("exit", 0)


@needs_sandbox
def test_without_pidfds():
    """EXE-13: the same on systems where libuv starts the programs."""
    lines = in_sandbox(
        f"forbid({PIDFD_OPEN})",
        """
    near, far = (system.socket(kind, "local") for kind in ("stream", "passive"))
    far.bind("\\0coutil-" + str(os.getpid()))
    far.listen(1)
    near.connect(far.getaddress())
    with system.start("cat", stdin="ws", stdout="rs") as child:
        child.stdin.send(b"words", stream=near)
        print(child.stdout.receive_stream())
        for call in (lambda: child.stdin.receive(), lambda: child.stdout.send(b"x", stream=near)):
            try:
                call()
            except errors.UVError as error:
                print(error.name)
    """,
    )
    assert lines == ["(b'words', None)", "ENOTCONN", "EPIPE"]


def test_datagram_socket_for_a_child():
    """T-55: a UDP socket, too, travels to a child, which answers in its place."""
    script = """
        from coutil import system
        _, datagrams = system.stdin.receive_stream()
        with datagrams:
            data, sender = datagrams.receive()
            datagrams.send(data.upper(), sender)
    """
    with bound("ipv4") as ours, bound("ipv4") as peer, system.start(program(script, stdin="ws")) as child:
        child.stdin.send(b"x", stream=ours)
        address = ours.getaddress()
        ours.close()
        peer.send(b"question", address)
        assert peer.receive() == (b"QUESTION", address)
        assert child.wait() == ("exit", 0)
        assert address != loopback("ipv4")


def test_what_children_send_is_not_inherited():
    """B12: neither our end of a pipe nor what came through it reaches the next child."""
    script = "import socket; socket.send_fds(socket.socket(fileno=1), [b'x'], [2])"
    near, far = socket.socketpair()
    with near, far, system.start(sys.executable, "-S", "-c", script, stdout="rs", stderr=near) as child:
        data, taken = child.stdout.receive_stream()
        with taken:
            assert (data, taken.getdomain()) == (b"x", "local")
            assert os.get_inheritable(taken.fileno()) is False
            assert os.get_inheritable(child.stdout.fileno()) is False
