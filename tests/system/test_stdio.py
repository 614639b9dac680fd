"""The standard streams. Programs of their own, with all kinds of descriptors under 0, 1 and 2."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from textwrap import dedent

import pytest

from coutil import system
from tests.helpers.pseudoterminal import on_screen
from tests.helpers.script import ROOT

COPY = """
from coutil import system
while data := system.stdin.receive():
    system.stdout.send(data.upper())
"""


def started(script, **streams):
    """Start a script with the given standard streams."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", dedent(script)], cwd=ROOT, env=environment, **streams)


def run(script, data=None, **streams):
    """Run a script over pipes; return its output, errors, and exit code."""
    streams = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    with started(script, **streams) as process:
        out, err = process.communicate(data, timeout=20)
    return out, (err or b"").decode(), process.returncode


def test_pipes():
    """STD-2: input and output over pipes that the parent made: 13 bytes in, 15 out, then the end."""
    script = """
        from coutil import system
        data = system.stdin.receive()
        system.stdout.send(b"<" + data + b">")
        assert system.stdin.receive() == b""
        system.stderr.send(repr([type(one).__name__ for one in (system.stdin, system.stdout, system.stderr)]).encode())
    """
    assert run(script, b"hello, world\n") == (b"<hello, world\n>", str(["LocalStreamSocket"] * 3), 0)


def test_much_through_pipes():
    """STD-2: megabytes through a filter, whose output is taken slowly."""
    data = bytes(range(97, 123)) * 100_000
    out, err, code = run(COPY, data)
    assert (out == data.upper(), err, code) == (True, "", 0)


def test_files(tmp_path):
    """STD-1: input from a file and output to one: 13 bytes in, with the calls of a pipe; the position is shared."""
    (tmp_path / "in").write_bytes(b"hello, world\n" * 2)
    with (tmp_path / "in").open("rb") as source, (tmp_path / "out").open("wb") as target:
        script = """
            from coutil import system
            data = system.stdin.receive(13)
            buffer = bytearray(20)
            count = system.stdin.receive_into(buffer, 1)
            assert (count, system.stdin.receive(), system.stdin.receive()) == (13, b"", b"")
            system.stdout.send(data)
            system.stdout.send(memoryview(buffer), 1, 1 + count)
            assert type(system.stdin) is type(system.stdout) is system.StandardFile
            assert system.stderr.send(b"") is True
        """
        assert run(script, stdin=source, stdout=target) == (None, "", 0)
        target.write(b"after")
    assert (tmp_path / "out").read_bytes() == b"hello, world\n" * 2 + b"after"


def test_null_device():
    """STD-1: /dev/null is empty, and takes everything."""
    script = """
        from coutil import system
        assert system.stdin.receive() == b""
        assert system.stdout.send(bytes(1 << 20)) is True
        system.stderr.send(repr(system.stdin).encode())
    """
    out, err, code = run(script, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    assert (out, code) == (None, 0)
    assert err.startswith("<File standard input r")


def test_two_processes_share_a_pipe():
    """The mode of a pipe is not changed for the others that have it: neither while we run nor afterwards."""
    read_end, write_end = os.pipe()
    script = """
        import os
        from coutil import system
        system.stdin.receive()
        assert os.get_blocking(0) and os.get_blocking(1)
        assert not os.get_blocking(system.stdin.fileno()) and not os.get_blocking(system.stdout.fileno())
        system.stdout.send(b"x")
        system.stdin.receive()
    """
    with started(script, stdin=subprocess.PIPE, stdout=write_end) as process:
        process.stdin.write(b"go")
        process.stdin.flush()
        assert os.read(read_end, 9) == b"x"
        assert os.get_blocking(write_end) is True
        assert os.get_blocking(process.stdin.fileno()) is True
        process.stdin.close()
        assert process.wait(20) == 0
    os.close(read_end)
    os.close(write_end)


def test_terminal_is_not_changed_for_others():
    """The descriptors that were inherited block as before; ours are others, which programs we execute do not get."""
    script = """
        ours = [one.fileno() for one in (system.stdin, system.stdout, system.stderr)]
        say("blocking", *(os.get_blocking(number) for number in (0, 1, 2)))
        say("ours", *(os.get_blocking(number) or os.get_inheritable(number) or number < 3 for number in ours))
        say("same", system.stdin is system.stdin, system.stdin is not system.stdout)
    """
    with on_screen(script) as screen:
        assert screen.until(b"blocking True True True\r\n") == b""
        assert screen.until(b"ours False False False\r\n") == b""
        assert screen.until(b"same True True\r\n") == b""
    assert screen.process.returncode == 0


def test_unix_socket():
    """A Unix socket is a share stream, which receives streams, too; it blocks for others as it did before."""
    ours, theirs = socket.socketpair()
    script = """
        import os
        from coutil import system
        data, stream = system.stdin.receive_stream()
        stream.send(data + b" through " + type(system.stdin).__name__.encode())
        system.stdin.send(b"done")
        assert system.stdin.receive() == b"end"
        assert os.get_blocking(0)
    """
    inner, outer = socket.socketpair()
    with ours, theirs, inner, outer:
        with started(script, stdin=theirs.fileno()) as process:
            socket.send_fds(ours, [b"data"], [inner.fileno()])
            outer.settimeout(20)
            assert outer.recv(99) == b"data through ShareStreamSocket"
            assert ours.recv(99) == b"done"
            ours.send(b"end")
            assert process.wait(20) == 0
        assert os.get_blocking(theirs.fileno()) is True


@pytest.mark.parametrize("listens", [False, True], ids=["stream", "listener"])
def test_tcp_socket(listens):
    """An IP socket is a stream, or a listener that accepts after `listen`: what inetd and its like hand over."""
    script = """
        from coutil import system
        stream = system.stdin
        if type(stream).__name__ == "PassiveSocket":
            stream.listen(3)
            stream = stream.accept()
        stream.send(repr((type(system.stdin).__name__, stream.getaddress("peer").literal)).encode())
        stream.shutdown()
    """
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.settimeout(20)
        with ExitStack() as stack:
            inherited = server if listens else stack.enter_context(server.accept()[0])
            process = stack.enter_context(started(script, stdin=inherited.fileno()))
            inherited.close()
            kind = "PassiveSocket" if listens else "StreamSocket"
            assert client.recv(99) == repr((kind, "127.0.0.1")).encode()
            assert client.recv(99) == b""
            assert process.wait(20) == 0


def test_datagram_sockets():
    """STD-1: a UDP socket as a standard stream is a datagram socket, connected or not."""
    script = """
        import os
        from coutil import system
        data, sender = system.stdin.receive()
        system.stdin.send(data.upper(), sender)
        system.stdout.send(type(system.stdout).__name__.encode())
        assert not os.get_blocking(0) and not os.get_blocking(1)
    """
    ours, theirs, connected = (socket.socket(type=socket.SOCK_DGRAM) for _ in range(3))
    with ours, theirs, connected:
        ours.settimeout(20)
        ours.bind(("127.0.0.1", 0))
        theirs.bind(("127.0.0.1", 0))
        connected.connect(ours.getsockname())
        with started(script, stdin=theirs.fileno(), stdout=connected.fileno()) as process:
            ours.sendto(b"first", theirs.getsockname())
            assert process.wait(20) == 0
        assert ours.recvfrom(99) == (b"FIRST", theirs.getsockname())
        assert ours.recvfrom(99) == (b"DatagramSocket", connected.getsockname())
        assert os.get_blocking(theirs.fileno())  # it did not while the program ran
        assert os.get_blocking(connected.fileno())


def test_closed_and_unsupported_descriptors():
    """What is closed, or a Unix datagram socket: None, with one warning that says which; the others work."""
    script = """
        import os, socket, warnings
        from coutil import system
        system.run("ready")  # the loop's descriptors are there before one of ours is free
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram:
            os.dup2(datagram.fileno(), 2)
        holder = os.dup(0), os.dup(0)
        os.close(0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = system.stdin, system.stderr, system.stdin, system.stderr
        os.dup2(holder[0], 0)
        system.stdout.send(repr((found, [(str(one.message), one.category.__name__) for one in caught])).encode())
    """
    text = "is closed, or of a kind that cannot be waited for"
    warned = [(f"{name} {text}", "RuntimeWarning") for name in ("stdin", "stderr")]
    assert run(script) == (repr(((None,) * 4, warned)).encode(), "", 0)


def test_each_thread_has_its_own():
    """Threads get objects of their own, which end with them; the descriptor stays."""
    script = """
        import gc, os, threading
        from coutil import system
        before = len(os.listdir("/proc/self/fd"))
        mine = system.stdout
        def work():
            assert system.stdout is not mine and system.stdout is system.stdout
            system.stdout.send(b"thread ")
        for _ in range(3):
            thread = threading.Thread(target=work)
            thread.start()
            thread.join()
        gc.collect()
        mine.send(b"main ")
        mine.close()
        system.suspend(0.001)
        print(len(os.listdir("/proc/self/fd")) - before < 12, flush=True)
    """
    assert run(script) == (b"thread thread thread main True\n", "", 0)


def test_child_of_a_fork_has_its_own():
    """In the child of a fork the streams are made anew."""
    script = """
        import os
        from coutil import system
        mine = system.stdout
        mine.send(b"parent ")
        pid = os.fork()
        if pid == 0:
            assert system.stdout is not mine
            system.stdout.send(b"child ")
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        mine.send(b"parent")
    """
    assert run(script) == (b"parent child parent", "", 0)


def test_reader_of_our_output_goes():
    """B11: our output has no reader any more: EPIPE, not SIGPIPE, also where that is not ignored."""
    script = """
        import signal, sys
        from coutil import system
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        system.stdin.receive()
        for size in (1, 1 << 20):
            try:
                system.stdout.send(bytes(size))
            except BrokenPipeError as error:
                system.stderr.send(error.name.encode())
    """
    with started(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        process.stdin.write(b"go")
        process.stdin.close()
        assert process.stderr.read() == b"EPIPE" * 2
        assert process.wait(20) == 0


def test_closed_stream_leaves_other_pipes_alone():
    """B11: a closed stream is closed for good, though its number is used again at once; 0, 1 and 2 stay open."""
    script = """
        import os
        from coutil import system
        from coutil.errors import Closed
        writers = []
        out = system.stdout
        number = out.fileno()
        assert out.close() is True
        system.suspend(0.001)
        ends = os.pipe()
        while number not in ends:
            ends += os.pipe()
        for call in (lambda: out.send(b"astray"), lambda: out.send(bytes(1 << 20)), out.fileno, out.shutdown):
            try:
                call()
            except Closed:
                writers.append("Closed")
        assert system.stdout is out
        os.write(1, repr(writers).encode())
    """
    assert run(script) == (repr(["Closed"] * 4).encode(), "", 0)


def test_reading_does_not_keep_the_loop():
    """Streams without a waiter do not keep `run` from returning."""
    script = """
        from coutil import system
        system.stdin, system.stdout, system.stderr
        assert system.run() is False
        system.stdout.send(b"ended")
    """
    assert run(script)[:2] == (b"ended", "")


def test_names():
    """The module has the three names, and no others that it was not given."""
    with pytest.raises(AttributeError, match=r"module 'coutil\.system' has no attribute 'stdwhat'"):
        system.stdwhat  # noqa: B018  # it raises
    assert not {"stdin", "stdout", "stderr"} & set(system.__all__), "importing all names opens nothing"
