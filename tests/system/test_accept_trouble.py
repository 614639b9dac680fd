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
    return {"cpu": time.process_time(), "errors": errors}

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
            with suppress(ConnectionError), Client(port) as last:
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


PASSING = [
    *("EAGAIN", "ECONNABORTED", "EPROTO", "EINTR", "EPERM", "ENETDOWN", "EHOSTUNREACH"),
    *("ENOBUFS", "ENOMEM", "EMFILE", "ENFILE"),
]
needs_strace = pytest.mark.skipif(not strace_works(), reason="strace is missing, or may not trace here")


def test_out_of_descriptors():
    """B50: 200 clients meet a limit of 64: those inside are served on, the others when there is room again."""
    with server(limit=64) as port, Client(port) as old:
        assert old.ask() == b"hello"
        with ExitStack() as stack:
            crowd = [stack.enter_context(Client(port)) for _ in range(200)]
            inside, waiting = crowd[:20], crowd[20:]
            assert {one.ask() for one in inside} == {b"hello"}
            for one in waiting:
                one.socket.sendall(b"hello")
            assert uses_no_cpu(old)
            assert old.ask() == b"hello"
            for one in crowd:  # each makes room for another one
                if one in waiting:
                    assert one.socket.recv(4096) == b"hello", "none was turned away"
                one.socket.close()
        assert old.status()["errors"] == [], "the acceptor was never bothered"


def uses_no_cpu(client):
    """Whether the server does nothing for a while; a client that is served asks it."""
    before, begin = client.status(), time.monotonic()
    time.sleep(0.6)
    after, seconds = client.status(), time.monotonic() - begin
    return (after["cpu"] - before["cpu"]) / seconds < 0.05


def answered_within(seconds, port):
    """Whether a new client is served within some seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        with Client(port) as late:
            if late.ask() == b"hello":
                return True
        time.sleep(0.02)
    return False


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("error", PASSING)
def test_failures_of_accept_pass(error):
    """B51: what is the fault of one connection, or of the moment, does not reach the acceptor; it goes on waiting."""
    with server(*failing_accept(error, "1..2")) as port, Client(port) as first, Client(port) as second:
        assert {first.ask(), second.ask()} == {b"hello"}
        assert answered_within(2, port)
        with Client(port) as late:
            assert late.status()["errors"] == []


@pytest.mark.slow
@needs_strace
@pytest.mark.parametrize("error", [*PASSING, "EINVAL"])
def test_accept_that_fails_always_burns_no_core(error):
    """R22: the server rests between its attempts, whatever comes of them, and serves those that it has."""
    with server(*failing_accept(error, "2+"), limit=64) as port, Client(port) as old, Client(port) as late:
        assert old.ask() == b"hello"
        late.socket.sendall(b"hello")
        assert uses_no_cpu(old)
        assert old.ask() == b"hello"
        assert set(old.status()["errors"]) == ({"EINVAL"} if error == "EINVAL" else set())
        old.socket.sendall(b"quit")


@needs_strace
def test_other_failures_of_accept_are_raised():
    """B51: an error that says something about the listener is raised by accept; the next accept works."""
    with server(*failing_accept("EINVAL", "1")) as port:
        with Client(port) as first:
            assert first.ask() == b"hello"
            assert first.status()["errors"] == ["EINVAL"]
        assert answered_within(1, port)
