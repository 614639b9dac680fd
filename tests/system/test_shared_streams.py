"""Stream sockets whose open file description others use, too, and expect to block: standard streams, and a child's."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import contextmanager
from textwrap import dedent

import pytest

from coutil import errors, scopes, spawn, system, uv
from tests.helpers.script import ROOT, output_of
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, as_plain, both_domains, connected, pair, pairs, receive_all, receive_exactly, shared

kinds = pytest.mark.parametrize("kind", ["unix", "tcp"])


def sockets(kind):
    """Return two Python sockets that are connected."""
    if kind == "unix":
        return socket.socketpair()
    with socket.create_server(("127.0.0.1", 0)) as server:
        one = socket.create_connection(server.getsockname())
        return one, server.accept()[0]


@contextmanager
def program(script, kind, stream="stdout"):
    """Run a script whose standard stream is a socket; yield the process, and the other end."""
    near, far = sockets(kind)
    near.settimeout(20)
    with near:
        with far:
            streams = {stream: far.fileno(), "stderr": subprocess.PIPE}
            command = [sys.executable, "-c", dedent(script)]
            process = subprocess.Popen(command, cwd=ROOT, text=True, **streams)
        with process:
            yield process, near


def received(near):
    """Return everything up to the end."""
    found = bytearray()
    while data := near.recv(1 << 20):
        found += data
    return bytes(found)


# -- standard streams


@kinds
def test_print_and_send_by_turns(kind):
    """Nothing is lost of what either of them says, though both have more than the socket takes at once."""
    script = """
        import sys
        from coutil import spawn, system
        for _ in range(3):
            spawn.call(system.stdout.send, b"a" * 1_000_000)
            system.stdout.send(b"b" * 1_000_000)
            print("c" * 1_000_000, end="", flush=True)
        system.stdout.shutdown()
    """
    with program(script, kind) as (process, near):
        assert process.stderr.readable()
        assert received(near) == (b"a" * 1_000_000 + b"b" * 1_000_000 + b"c" * 1_000_000) * 3
        assert process.communicate()[1] == ""


@kinds
def test_a_slow_reader_stops_one_coroutine_only(kind):
    """While the socket is full others go on, whether or not a program was started meanwhile."""
    script = """
        import sys
        from coutil import scopes, spawn, system
        system.stdout.send(b"begin")
        assert system.execute("true") == ("exit", 0)
        with scopes.move_on_after(0.05):
            while True:
                system.stdout.send(bytes(100_000))
        sys.stderr.write("alive")
        sys.stderr.flush()
        sys.stdin.read()
    """
    with program(script, kind) as (process, near):
        assert process.stderr.read(5) == "alive"
        process.kill()
        assert received(near).startswith(b"begin")


def test_children_that_share_our_output():
    """One that was started before we used it, and one afterwards, write more than fits, and miss nothing."""
    script = """
        import sys
        from coutil import system
        writes = "import sys; sys.stdin.read(1); sys.stdout.write('x' * 1_000_000)"
        first = system.start(sys.executable, "-c", writes, stdin="w")
        system.stdout.send(b"ours")
        first.stdin.send(b"1")
        assert first.wait() == ("exit", 0)
        second = system.start(sys.executable, "-c", writes, stdin="w")
        second.stdin.send(b"1")
        assert second.wait() == ("exit", 0)
    """
    with program(script, "unix") as (process, near):
        found = received(near)
        assert process.communicate()[1] == ""
        assert (len(found), found[:4]) == (2_000_004, b"ours")


def test_program_that_replaces_itself():
    """What is run by execv, and who has the socket when we are killed, find it as it was."""
    script = """
        import os, sys
        from coutil import system
        system.stdout.send(b"ours ")
        os.execv(sys.executable, [sys.executable, "-c", "import os; print(os.get_blocking(1))"])
    """
    near, far = socket.socketpair()
    near.settimeout(20)
    with near, far:
        subprocess.run([sys.executable, "-c", dedent(script)], stdout=far.fileno(), cwd=ROOT, check=True, timeout=20)
        assert near.recv(10, socket.MSG_WAITALL) == b"ours True\n"
    killed = "import os; from coutil import system; system.stdout.send(b'x'); os.kill(os.getpid(), 9)"
    near, far = socket.socketpair()
    with near, far:
        done = subprocess.run([sys.executable, "-c", killed], stdout=far.fileno(), cwd=ROOT, check=False, timeout=20)
        assert done.returncode == -signal.SIGKILL
        assert os.get_blocking(far.fileno())


def test_one_socket_as_input_and_output():
    """As below inetd: what comes is received, what is sent goes out, at the same time."""
    script = """
        from coutil import spawn, system
        def echo():
            while data := system.stdin.receive():
                system.stdout.send(data)
        echo()
        system.stdout.shutdown()
    """
    near, far = sockets("tcp")
    with near:
        with far:
            command = [sys.executable, "-c", dedent(script)]
            process = subprocess.Popen(command, stdin=far.fileno(), stdout=far.fileno(), cwd=ROOT)
        with process:
            sender = threading.Thread(target=lambda: (near.sendall(BIG), near.shutdown(socket.SHUT_WR)))
            sender.start()
            assert received(near) == BIG
            sender.join()


def test_no_descriptor_is_left():
    """The first use of a standard stream fails, and leaves its mode as it was; a later one succeeds."""
    script = """
        import os, resource, sys
        from coutil import system
        system.suspend(0)
        free = os.dup(0)
        os.close(free)
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free + 1, hard))
        try:
            system.stdout.send(b"never")
        except OSError as error:
            sys.stderr.write(f"{error.name} {os.get_blocking(1)} ")
        system.suspend(0.001)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        system.stdout.send(b"now")
    """
    with program(script, "unix") as (process, near):
        assert received(near) == b"now"
        assert process.communicate()[1] == "EMFILE True "


# -- inside


@pytest.fixture(params=["shared", "shared ipv4"])
def ends(request):
    """A stream that shares its description, and its peer."""
    with pairs(request.param) as both:
        yield both


def test_sends_follow_one_another(ends):
    """What two coroutines send at once arrives one behind the other; shutdown comes last."""
    near, far = ends
    log = []
    spawn.call(lambda: log.append(near.send(BIG)))
    spawn.call(lambda: log.append(near.send(b"b" * 3_000_000)))
    spawn.call(lambda: log.append(near.shutdown()))
    assert log == []
    assert receive_all(far) == BIG + b"b" * 3_000_000
    system.suspend()
    assert log == [True] * 3
    with pytest.raises(errors.UVError) as ended:
        near.send(b"x")
    assert ended.value.name == "EPIPE"


def test_closed_under_those_who_send(ends):
    """Each is told; the peer has the beginning, then the end."""
    near, far = ends
    log = []
    for call in (lambda: near.send(BIG), lambda: near.send(b"b"), near.shutdown):
        spawn.catch(lambda error: log.append(error.name), call)
    near.close()
    while len(log) < 3:
        system.suspend()
    assert log == ["ECANCELED"] * 3
    found = receive_all(far)
    assert 0 < len(found) < len(BIG)
    assert BIG.startswith(found)


def test_the_peer_leaves(ends):
    """The sender is told, and the one that sends behind it."""
    near, far = ends
    log = []
    for data in (BIG, b"b"):
        spawn.catch(lambda error: log.append(error.name), near.send, data)
    far.close()
    while len(log) < 2:
        system.suspend()
    assert log[0] in ("EPIPE", "ECONNRESET")
    assert log[1] in ("EPIPE", "ECONNRESET")


def test_a_stream_that_travels_behind_other_data(ends):
    """A descriptor goes with the first byte of its own data, however full the socket is."""
    near, far = ends
    if near.getdomain() != "share":
        pytest.skip("only Unix sockets carry descriptors")
    with pairs("ipv4") as (outer, inner):
        spawn.call(near.send, BIG)
        spawn.call(lambda: near.send(b"data", stream=inner))
        size, came = 0, None
        while size < len(BIG) + 4:
            data, stream = far.receive_stream()
            size += len(data)
            came = came or stream
        with came:
            came.send(b"alive")
            assert outer.receive() == b"alive"


def test_files(ends, tmp_path):
    """`send_file` does not have a thread of the pool wait for the peer: after four of them nothing else would go on."""
    near, far = ends
    (tmp_path / "file").write_bytes(BIG)
    with system.openfile(tmp_path / "file") as file:
        log = []
        for _ in range(6):
            spawn.catch(lambda error: log.append(error.name), near.send_file, file)
        with scopes.timeout(10):
            assert receive_exactly(far, 1_000_000) == BIG[:1_000_000]
            assert system.fileinfo(tmp_path / "file").size == len(BIG)
        near.close()
        while len(log) < 6:
            system.suspend()


def test_two_who_read_the_same_socket():
    """Another process takes the data between the poll's word and our read: we wait again, and stop no one."""
    near, far = pair("shared ipv4")
    with near, far, as_plain(near) as rival, scopes.timeout(60):
        taken, over = [], []

        def steal():
            while not over:
                try:
                    taken.append(len(rival.recv(100, socket.MSG_DONTWAIT)))
                except BlockingIOError:
                    continue

        def reads():
            while data := near.receive(100):
                taken.append(len(data))

        thread = threading.Thread(target=steal)
        thread.start()
        reader = spawn.call(reads)
        for _ in range(3000):
            far.send(b"x")
            system.suspend()
        while sum(taken) < 3000:
            system.suspend(0.001)
        over.append(True)
        thread.join()
        assert sum(taken) == 3000
        reader.close()


# -- what is given to a child


@both_domains
def test_stream_that_a_child_was_given(domain):
    """It blocks for the child, and still stops one coroutine only when we go on using it."""
    with pairs(domain) as (near, far):
        script = "import os; print(os.get_blocking(0))"
        with system.start(sys.executable, "-c", script, stdin=near, stdout="r") as child:
            assert receive_all(child.stdout) == b"True\n"
        log = []
        spawn.call(lambda: log.append(near.send(BIG)))
        assert log == []
        assert receive_exactly(far, len(BIG)) == BIG
        far.send(b"back")
        assert near.receive() == b"back"
        assert system.execute("sh", "-c", "printf words", stdout=near) == ("exit", 0)
        assert far.receive() == b"words"


def test_stream_that_a_child_is_given_while_data_wait():
    """What libuv has still to write must not block; when that is done, the stream does, for the child."""
    with pairs("local") as (near, far):
        log = []
        spawn.call(lambda: log.append(near.send(BIG)))
        child = system.start("sleep", "100", stdout=near)
        spawn.call(lambda: log.append(near.send(b"more")))
        assert not os.get_blocking(near.fileno())
        assert receive_exactly(far, len(BIG) + 4) == BIG + b"more"
        while len(log) < 2:
            system.suspend()
        assert os.get_blocking(near.fileno())
        spawn.call(lambda: log.append(near.send(BIG)))
        assert log == [True, True]
        assert receive_exactly(far, len(BIG)) == BIG
        child.kill("kill")
        child.wait()


def test_listener_that_a_child_was_given():
    """It blocks for the child; to accept here what the child has taken stops no other one."""
    with listening("ipv4") as server:
        child = system.start("sleep", "100", stdin=server)
        assert os.get_blocking(server.fileno())
        with connected(server), server.accept(), connected(server), as_plain(server) as rival:
            system.suspend(0.01)  # the loop learns that there is a connection
            rival.accept()[0].close()  # as the child would
            accepted = []
            spawn.call(lambda: accepted.append(server.accept()))
            assert system.suspend(0.001) is True
            assert accepted == []
            with connected(server):
                while not accepted:
                    system.suspend()
                accepted[0].close()
        child.kill("kill")
        child.wait()


@pytest.mark.parametrize("kind", ["pipe", "tcp"])
def test_uv_handle_that_a_child_was_given(kind):
    """The same for streams of coutil.uv, with data and with handles, in push style as well."""
    with uv.Loop() as loop:
        make = (lambda: uv.Pipe(loop, ipc=True)) if kind == "pipe" else (lambda: uv.TCP(loop))
        near, far = make(), make()
        for handle, end in zip((near, far), sockets("unix" if kind == "pipe" else "tcp"), strict=True):
            handle.open(end.detach())
        with near, far:
            child = uv.Process(loop, "sh", ["-c", "echo child"], stdio=[None, near])
            assert child.wait() == (0, 0)
            child.close()
            assert far.read() == b"child\n"
            assert os.get_blocking(near.fileno())
            request = near.write_nowait(BIG)
            assert near.write_queue_size > 0
            assert near.try_write(b"x") == 0
            size = 0
            while size < len(BIG):
                size += len(far.read())
            loop.run("nowait")
            assert request.done
            if kind == "pipe":
                assert near.try_write2(b"y", far) == 1
                assert far.read() == b"y"
                far.accept_pending().close()
                near.write2(b"z", far)
                assert far.read() == b"z"
            log = []
            near.onread = lambda one, error, data: (log.append(data), len(log) == 3 and one.read_stop())
            near.read_start()
            for _ in range(3):
                far.write(b"back")
                loop.run("nowait")
            assert b"".join(log) == b"back" * 3
            near.shutdown()


def test_shared_stream_in_the_child_of_a_fork():
    """A loop that is taken over by a forked child sends what it had to send."""
    lines = output_of(
        """
        import os, socket
        from coutil import uv
        from coutil._libuv import lib
        near, far = socket.socketpair()
        loop = uv.Loop()
        pipe = uv.Pipe(loop)
        pipe.open(near.detach())
        pipe._call(lib.co_stream_share, "fcntl")
        pipe.write_nowait(bytes(1_000_000))
        if not (pid := os.fork()):
            loop.fork()
            loop.run()
            os._exit(0)
        size = 0
        while size < 1_000_000 and (data := far.recv(1 << 20)):
            size += len(data)
        print(size, os.waitpid(pid, 0)[1])
        """
    )
    assert lines == ["1000000 0"]


def test_what_cannot_be_shared():
    """A listener needs the mode in which it does not block: EINVAL, and nothing happens."""
    with listening("ipv4") as server, pytest.raises(errors.UVError) as refused:
        shared(server)
    assert refused.value.name == "EINVAL"


def test_descriptor_that_is_closed_behind_our_back(ends):
    """When another stream has got the number, those who send and receive are told; our duplicate goes as well."""
    near, _ = ends
    log = []
    before = len(os.listdir("/proc/self/fd"))
    for call in (lambda: near.send(BIG), near.receive):
        spawn.catch(lambda error: log.append(error.name), call)
    assert log == []
    os.close(near.fileno())
    with pairs("local") as (one, other):  # or the listener that they come from
        while len(log) < 2:
            system.suspend()
        assert log == ["EBADF"] * 2
        near.close()
        one.send(b"theirs")
        assert other.receive() == b"theirs"
    system.run("ready")
    assert len(os.listdir("/proc/self/fd")) == before - 2
