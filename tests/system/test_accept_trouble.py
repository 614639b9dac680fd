"""Listeners when the process is out of descriptors, or accept fails: servers stay alive and do not burn the machine.

The servers are processes of their own, because limits and injected errors (strace) concern a whole process.
"""

import json
import shutil
import socket
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager, suppress

import pytest

from tests.helpers.script import ROOT

SERVER = """
import json, os, resource, sys, time
from coutil import spawn, system

def status():
    links = [f"/proc/self/fd/{number}" for number in range(64)]
    spare = sum(os.path.islink(link) and os.readlink(link) in ("/", "/dev/null") for link in links)
    return {"cpu": time.process_time(), "errors": errors, "spare": spare}

def echo(stream):
    with stream:
        while data := stream.receive():
            if data == b"quit":
                sys.exit()
            stream.send(json.dumps(status()).encode() if data == b"status" else data)

errors = []
server = system.socket("passive", "ipv4")
server.bind(system.address("ipv4", "127.0.0.1", 0))
server.listen(300)
resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
print(server.getaddress().port, flush=True)
while True:
    try:
        spawn.call(echo, server.accept())
    except OSError as error:
        errors.append(error.name)
"""


class Client:
    """A client of the server; everything it does fails after some seconds."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def ask(self, text=b"hello"):
        """Return what the server answers, b"" if it has turned us away."""
        try:
            self.socket.sendall(text)
            return self.socket.recv(4096)
        except ConnectionError:
            return b""

    def status(self):
        return json.loads(self.ask(b"status"))


@contextmanager
def server(*prefix, limit=1024):
    """Run the server after the command `prefix`; yield its port, and check at the end that it has not complained."""
    command = [*prefix, sys.executable, "-c", SERVER, str(limit)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True) as process:
        try:
            port = int(process.stdout.readline())
            yield port
            with Client(port) as last, suppress(ConnectionError):
                last.socket.sendall(b"quit")
            assert process.communicate(timeout=10) == ("", "")
            assert process.returncode == 0
        finally:
            process.kill()


def strace(*options):
    """Return the command that runs another one with errors injected into its system calls."""
    return ["strace", "-f", "-qq", "-o", "/dev/null", *options]


def failing_accept(error, which):
    """Return such a command: the calls of accept4 that `which` tells fail by `error`; others cost no time."""
    return strace("--seccomp-bpf", "-e", "trace=accept4", "-e", f"inject=accept4:error={error}:when={which}")


def strace_works():
    if shutil.which("strace") is None:
        return False
    command = [*failing_accept("EPERM", "1..2"), sys.executable, "-c", "print('fine')"]
    with suppress(OSError, subprocess.TimeoutExpired):
        return subprocess.run(command, capture_output=True, timeout=20, check=False).stdout == b"fine\n"
    return False


needs_strace = pytest.mark.skipif(not strace_works(), reason="strace is missing, or may not trace here")


def test_out_of_descriptors():
    """B50: 200 clients meet a limit of 64: those inside are served on, and so are others when there is room again."""
    with server(limit=64) as port, Client(port) as old:
        assert old.ask() == b"hello"
        with ExitStack() as stack:
            crowd = [stack.enter_context(Client(port)) for _ in range(200)]
            served = [one.ask() for one in crowd]
            assert set(served) == {b"hello", b""}
            assert 20 < served.count(b"hello") < 64
            assert [one.ask() for one, text in zip(crowd, served, strict=True) if text] == [b"hello"] * sum(
                map(bool, served)
            )
            assert old.ask() == b"hello"
        with Client(port) as late:
            assert answered_within(1.1, port), "there is room again"
            assert late.ask() in (b"hello", b"")
        assert old.status()["errors"] == [], "the acceptor was never bothered"


def answered_within(seconds, port):
    """Whether a new client is served within some seconds; the first ones may still be turned away."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with Client(port) as late:
            if late.ask() == b"hello":
                return True
        time.sleep(0.02)
    return False


@needs_strace
def test_out_of_descriptors_without_the_spare_one():
    """B49: libuv's spare descriptor cannot be opened again: no core burns, and the server recovers with a new one."""
    opens = "open,openat"  # of the spare one: the first works, the next four do not
    prefix = strace(
        "-P", "/", "-P", "/dev/null", "-e", f"trace={opens}", "-e", f"inject={opens}:error=EMFILE:when=2..5"
    )
    with server(*prefix, limit=64) as port, Client(port) as old:
        assert old.ask() == b"hello"
        assert old.status()["spare"] == 1
        with ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(Client(port))
            wait_until(lambda: old.status()["spare"] == 0)
            stack.enter_context(Client(port))  # takes the number that the spare one had
            left = stack.enter_context(Client(port))  # nobody is there to turn it away
            left.socket.sendall(b"hello")
            before, begin = old.status(), time.monotonic()
            time.sleep(0.6)
            after, seconds = old.status(), time.monotonic() - begin
            assert (after["cpu"] - before["cpu"]) / seconds < 0.05
            assert after["errors"] == []
            left.socket.settimeout(0.01)
            with pytest.raises(TimeoutError):
                left.socket.recv(1)
        assert answered_within(1.1, port)
        wait_until(lambda: old.status()["spare"] == 1)


def wait_until(condition):
    """Wait for a condition that another process brings about; fail after some seconds."""
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


@needs_strace
@pytest.mark.parametrize("error", ["EAGAIN", "ECONNABORTED", "EPROTO", "EINTR", "ENOBUFS", "ENOMEM", "EPERM", "EMFILE"])
def test_failures_of_accept_pass(error):
    """B51: what is the fault of one connection, or of the moment, does not reach the acceptor; it goes on waiting."""
    with server(*failing_accept(error, "1..2")) as port, Client(port) as first, Client(port) as second:
        answers = {first.ask(), second.ask()}
        assert answers <= ({b"hello", b""} if error == "EMFILE" else {b"hello"}), "libuv turns clients away by EMFILE"
        assert answered_within(2, port)
        with Client(port) as late:
            assert late.status()["errors"] == []


@needs_strace
def test_other_failures_of_accept_are_raised():
    """B51: an error that says something about the listener is raised by accept; the next accept works."""
    with server(*failing_accept("EINVAL", "1")) as port:
        with Client(port) as first:
            assert first.ask() == b"hello"
            assert first.status()["errors"] == ["EINVAL"]
        assert answered_within(1, port)
