"""A child gets from us what it was given and what a shell would leave it: signals, descriptors and their flags."""

from __future__ import annotations

import fcntl
import os
import pty
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from textwrap import dedent

import pytest

from coutil import spawn, system
from tests.helpers.inheritable import LISTING, descriptors_of, inheritable
from tests.helpers.sandbox import PIDFD_OPEN, needs_pidfds
from tests.helpers.script import ROOT, output_of
from tests.helpers.tcp import receive_all
from tests.system.test_children import in_sandbox, needs_sandbox

CLOSE_RANGE, GETDENTS64 = 436, {"x86_64": 217, "aarch64": 61}.get(os.uname().machine)
users = pytest.mark.parametrize(
    "user", [None, pytest.param(65534, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root may change"))]
)


def masks(**options):
    """Return the signals that a child ignores, catches and blocks, as sets of numbers.

    Those that glibc keeps for itself, 32 and 33, are left out. No program can set them, and its posix_spawn(3), which
    `make` uses, leaves them ignored in every process below.
    """
    with system.start("cat", "/proc/self/status", stdout="r", **options) as child:
        lines = dict(line.split(":") for line in receive_all(child.stdout).decode().splitlines())
    values = [int(lines[name], 16) for name in ("SigIgn", "SigCgt", "SigBlk")]
    return [{number for number in signal.valid_signals() if value >> (number - 1) & 1} for value in values]


@contextmanager
def disposition(number, handler):
    """Set what is done about a signal, for a while."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


# -- signals


@needs_pidfds
@users
def test_ignored_signals(user):
    """What a program ignores, its children ignore, as below nohup; not what Python ignores, nor what has a handler."""
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN
    with (
        disposition(signal.SIGHUP, signal.SIG_IGN),
        disposition(signal.SIGRTMIN + 3, signal.SIG_IGN),
        disposition(signal.SIGUSR1, lambda *_: None),
    ):
        assert masks(user=user) == [{signal.SIGHUP, signal.SIGRTMIN + 3}, set(), set()]
    assert masks(user=user) == [set(), set(), set()]


@needs_pidfds
def test_ignored_signal_that_a_coroutine_waits_for():
    """To wait for an ignored signal takes the order back for us alone."""
    with disposition(signal.SIGHUP, signal.SIG_IGN):
        log = []
        spawn.call(lambda: log.append(system.awaitsig("hangup")))
        assert masks()[:2] == [{signal.SIGHUP}, set()]
        os.kill(os.getpid(), signal.SIGHUP)
        assert system.run() is False
        assert log == ["hangup"]


@needs_pidfds
@users
def test_blocked_signals(user):
    """The signals that the calling thread blocks are blocked in the program, as with `subprocess`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR2, signal.SIGINT})
    try:
        assert masks(user=user)[2] == {signal.SIGUSR2, signal.SIGINT}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert masks(user=user)[2] == set()


@needs_pidfds
def test_what_is_blocked_while_we_write():
    """Where SIGPIPE would kill us it is blocked while data wait to be written. That is our own affair."""
    lines = output_of(
        """
        import signal
        from coutil import spawn, system
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        child = system.start("sleep", "100", stdin="w")
        spawn.catch(lambda error: None, child.stdin.send, bytes(1_000_000))
        print(signal.SIGPIPE in signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        with system.start("grep", "SigBlk", "/proc/self/status", stdout="r") as other:
            print(int(other.stdout.receive().split()[1], 16))
        child.kill(9)
        child.wait()
        """
    )
    assert lines == ["True", "0"]


def test_nohup():
    """A whole program below nohup: its grandchild survives the hang-up, too."""
    script = (
        "from coutil import system; p = system.start('sh', '-c', 'kill -HUP $$; echo lives', stdout='r');"
        "print(p.stdout.receive(), p.wait())"
    )
    command = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert done.stdout.strip() == "b'lives\\n' ('exit', 0)"


# -- descriptors


@users
def test_inheritable_descriptors_of_ours(user):
    """What a C library has left inheritable is closed in the program; here it stays as it is."""
    with inheritable() as ours:
        assert descriptors_of(lambda file: system.start("sh", "-c", LISTING, stdout=file, user=user).wait()) == []
        assert all(map(os.get_inheritable, ours))


@pytest.mark.slow
@needs_sandbox
@pytest.mark.parametrize("starts", ["pidfd", "libuv"])
@pytest.mark.parametrize("lists", [True, False], ids=["listed", "tried one by one"])
def test_inheritable_descriptors_on_older_systems(starts, lists):
    """The same without close_range(2), and where not even /proc can be read."""
    if not lists and GETDENTS64 is None:
        pytest.skip("the number of the system call is not known here")
    sandbox = f"forbid({CLOSE_RANGE})" + f"; forbid({PIDFD_OPEN})" * (starts == "libuv")
    forbidden = "" if lists else f"forbid({GETDENTS64})"
    lines = in_sandbox(
        sandbox,
        f"""
    low = os.open("/dev/null", os.O_RDONLY)
    high = os.dup2(low, 300)
    os.set_inheritable(low, True)
    {forbidden}
    script = f"test -e /proc/self/fd/{{low}} || test -e /proc/self/fd/{{high}}"
    print(system.execute("sh", "-c", script), os.get_inheritable(low), os.get_inheritable(high))
    """,
    )
    assert lines == ["('exit', 1) True True"]


# -- flags that are shared with the child


def flags_of(fd):
    return fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_NONBLOCK


PRINT_FLAGS = "import fcntl, os, sys; os.write(2, str(fcntl.fcntl({}, fcntl.F_GETFL) & os.O_NONBLOCK).encode())"


def flags_in_child(number, **streams):
    """Return what a child finds in the flags of a descriptor."""
    script = PRINT_FLAGS.format(number)
    with system.start(sys.executable, "-S", "-c", script, stderr="r", **streams) as child:
        return int(receive_all(child.stderr))


def test_pipes_of_ours_that_children_use():
    """A pipe between two children blocks for the second, and still does not for us, who have its end, too."""
    with system.start("sleep", "100", stdout="r", stdin="w") as first:
        assert flags_in_child(0, stdin=first.stdout) == flags_in_child(1, stdout=first.stdin) == 0
        for stream in (first.stdin, first.stdout):
            assert flags_of(stream.fileno())
        sender = spawn.catch(lambda error: None, first.stdin.send, bytes(1_000_000))
        assert sender.status == "suspended"  # the thread would stand still if our end did block
        first.kill(9)


def test_pipeline():
    """Two programs joined by a pipe of ours, which we close."""
    first = system.start("sh", "-c", "echo words", stdout="r")
    with system.start("cat", stdin=first.stdout, stdout="r") as second:
        first.close()
        assert receive_all(second.stdout) == b"words\n"
    assert first.wait() == ("exit", 0)


def test_terminals_that_children_use():
    """The side of a pseudo-terminal that can be opened again has two modes then."""
    master, slave = pty.openpty()
    with open(master, "rb", buffering=0), open(slave, "rb", buffering=0) as terminal:
        os.set_blocking(slave, False)
        assert flags_in_child(0, stdin=terminal) == 0
        assert flags_of(slave)


def test_socket_that_is_handed_over():
    """Its mode is shared: as it is the program's from then on it blocks; if there is no program, it stays as it was."""
    near, far = socket.socketpair()
    with near, far:
        near.setblocking(False)
        with pytest.raises(FileNotFoundError):
            system.start("no such program", stdin=near)
        assert flags_of(near)
        assert flags_in_child(0, stdin=near) == 0
        assert not flags_of(near)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["socket", "pipe"])
@pytest.mark.parametrize("starts", ["pidfd", "libuv", "uv"])
def test_standard_streams_that_children_inherit(kind, starts):
    """Whatever another one uses our standard output for, a start does not change its mode."""
    near, far = socket.socketpair()
    with near, far:
        script = f"""
            import os, sys
            sys.path.insert(0, os.getcwd())
            from tests.helpers.sandbox import PIDFD_OPEN, forbid
            from coutil import system, uv
            if {starts == "libuv"}:
                forbid(PIDFD_OPEN)
            os.set_blocking(1, False)
            if {starts == "uv"}:
                assert uv.Process(uv.default_loop(), "true", stdio=[0, 1, 2]).close()
                try:
                    uv.Process(uv.default_loop(), "no such program", stdio=[0, 1, 2])
                except FileNotFoundError:
                    pass
            else:
                assert system.execute("true") == ("exit", 0)
            print(os.get_blocking(1), file=sys.stderr)
        """
        out = near.fileno() if kind == "socket" else subprocess.PIPE
        command = [sys.executable, "-c", dedent(script)]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, cwd=ROOT, timeout=20, check=False)
        assert done.stderr.split() == [b"False"]
