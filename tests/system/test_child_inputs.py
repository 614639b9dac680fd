"""The input of a child: a true pipe if we only write to it, whose end we close by `shutdown`."""

from __future__ import annotations

import os
import shutil

import pytest

from coutil import errors, scopes, spawn, system
from tests.helpers.sandbox import PIDFD_OPEN
from tests.helpers.tcp import receive_all
from tests.system.test_children import in_sandbox, needs_sandbox

ROOM = 65536  # bytes that a new pipe of Linux holds
KINDS = {"w": "fifo", "rw": "socket", "ws": "socket", "rws": "socket"}


def names(call, *arguments):
    """Return the name of the error that a call raises."""
    with pytest.raises(errors.UVError) as caught:
        call(*arguments)
    return caught.value.name


# -- as the child sees it


@pytest.mark.parametrize("letters", KINDS)
def test_kinds_of_pipes(letters):
    """Data in one direction go through a pipe; in both, and beside sockets, through a pair of sockets."""
    with system.start("stat", "-L", "-c", "%F", "/dev/stdin", stdin=letters, stdout="r") as child:
        assert receive_all(child.stdout).decode().strip() == KINDS[letters]


@pytest.mark.parametrize("letters", ["r", "w", "rw"])
def test_kinds_of_pipes_for_both_outputs(letters):
    """The same where the error output goes where the output goes, whatever the direction."""
    script = "test -p /dev/fd/1 && test -p /dev/fd/2 && exit 1; test -S /dev/fd/1 && test -S /dev/fd/2 && exit 2"
    with system.start("sh", "-c", script, stdout=letters, stderr="stdout") as child:
        assert child.wait() == ("exit", 2 if letters == "rw" else 1)


def test_input_that_is_opened_again():
    """A program opens /dev/stdin by its name, as many do that take file names only."""
    with system.start("cat", "/dev/stdin", stdin="w", stdout="r") as child:
        child.stdin.send(b"words")
        child.stdin.shutdown()
        assert receive_all(child.stdout) == b"words"
        assert child.wait() == ("exit", 0)


@pytest.mark.skipif(not shutil.which("bash"), reason="there is no bash here")
def test_shell_that_looks_for_a_remote_login(tmp_path):
    """Bash takes a socket as its input for a remote login, and then reads other files when it starts."""
    (tmp_path / ".bashrc").write_text("echo rc\n")
    (tmp_path / "env").write_text("echo env\n")
    environment = {"HOME": str(tmp_path), "BASH_ENV": str(tmp_path / "env"), "PATH": os.environ["PATH"]}
    with system.start("bash", "-c", "echo body", environment=environment, stdin="w", stdout="r") as child:
        assert receive_all(child.stdout).split() == [b"env", b"body"]


@needs_sandbox
def test_where_libuv_starts_the_programs():
    """The same on systems without pidfds, where libuv would make sockets of all pipes."""
    lines = in_sandbox(
        f"forbid({PIDFD_OPEN})",
        """
    for _ in range(2):
        try:
            system.start("no such program", stdin="w", stdout="r")
        except FileNotFoundError:
            print("none")
    with system.start("sh", "-c", "cat /dev/stdin; echo more > /dev/stdout", stdin="w", stdout="r") as child:
        child.stdin.send(b"words ")
        child.stdin.shutdown()
        print(b"".join(iter(child.stdout.receive, b"")), child.wait())
    """,
    )
    assert lines == ["none", "none", "b'words more\\n' ('exit', 0)"]


# -- shutdown


def test_shutdown_ends_the_input():
    """The child reads all that was sent, then the end; our descriptor is closed, its number is free, as is the word."""
    before = len(os.listdir("/proc/self/fd"))
    with system.start("sh", "-c", "sleep 0.05; wc -c", stdin="w", stdout="r") as child:
        number = child.stdin.fileno()
        spawn.call(lambda: child.stdin.send(bytes(1 << 20)))
        assert child.stdin.shutdown() is True
        assert not os.path.exists(f"/proc/self/fd/{number}")
        assert receive_all(child.stdout).split() == [b"%d" % (1 << 20)]
        assert child.wait() == ("exit", 0)
        assert names(child.stdin.fileno) == "EBADF"
        assert names(child.stdin.shutdown) == "ENOTCONN"
        assert names(child.stdin.receive) == "ENOTCONN"
        assert names(child.stdin.send, b"x") == "EPIPE"
        assert names(child.stdin.send, bytes(1 << 20)) == "EPIPE"
    system.run("ready")
    assert len(os.listdir("/proc/self/fd")) == before


def test_shutdown_of_a_full_pipe():
    """Nothing is left to be sent, so it does not wait for a child that reads later."""
    with system.start("sh", "-c", "read go <&3; wc -c", stdin="w", stdout="r") as child:
        with scopes.timeout(5):
            child.stdin.send(bytes(ROOM))
            assert child.stdin.shutdown() is True
        assert receive_all(child.stdout).split() == [b"%d" % ROOM]


@pytest.mark.parametrize("how", ["resume", "throw", "close", "timeout"])
def test_shutdown_that_is_given_up(how):
    """It goes on in the background: the child gets everything, and the end."""
    with system.start("sh", "-c", "read line; cat | wc -c", stdin="w", stdout="r") as child:
        spawn.call(lambda: child.stdin.send(b"x" * ROOM + b"\n" + bytes(1000)))
        if how == "timeout":
            with pytest.raises(errors.Timeout), scopes.timeout(0):
                child.stdin.shutdown()
            child.stdin.shutdown()
        else:
            made = spawn.catch(lambda error: None, child.stdin.shutdown)
            {"resume": made.resume, "throw": lambda: made.throw(LookupError), "close": made.close}[how]()
        assert receive_all(child.stdout).split() == [b"1000"]


def test_closed_under_shutdown():
    """Who shuts down is told; what was not sent by then is not, and the child reads the end."""
    log = []

    def shuts():
        try:
            child.stdin.shutdown()
        except OSError as error:
            log.append(error.name)

    with system.start("sh", "-c", "sleep 0.05; wc -c", stdin="w", stdout="r") as child:
        sender = spawn.catch(lambda error: log.append(error.name), child.stdin.send, bytes(1 << 20))
        spawn.call(shuts)
        child.stdin.close()
        while len(log) < 2:
            system.suspend()
        assert (log, sender.status) == (["ECANCELED"] * 2, "dead")
        assert 0 < int(receive_all(child.stdout)) < 1 << 20


def test_child_that_ends_under_shutdown():
    """Sending fails as there is no reader any more; after that the end of the input is easy."""
    log = []
    with system.start("sh", "-c", "sleep 0.02", stdin="w") as child:
        spawn.catch(lambda error: log.append(error.name), child.stdin.send, bytes(1 << 20))
        assert child.stdin.shutdown() is True
        assert log == ["EPIPE"]


def test_number_that_another_gets_after_shutdown():
    """Once the input has ended its number is not ours: what has it next keeps it, whatever is done to the pipe."""
    with system.start("cat", stdin="w", stdout="r") as child:
        number = child.stdin.fileno()
        child.stdin.send(b"x")
        child.stdin.shutdown()
        reader, writer = os.pipe()
        assert number in (reader, writer)
        child.stdin.close()
        system.run("ready")
        os.write(writer, b"words")
        assert os.read(reader, 9) == b"words"
        os.close(reader)
        os.close(writer)


def test_another_process_has_the_pipe_too():
    """Our end is ours no more after `shutdown`, also where a fork keeps the pipe open: nothing is polled for it."""
    with system.start("cat", stdin="w", stdout="r") as child:
        spawn.call(lambda: child.stdin.send(bytes(2 * ROOM)))
        reader, writer = os.pipe()
        if not (pid := os.fork()):
            os.close(writer)
            os.read(reader, 1)
            os._exit(0)
        os.close(reader)
        received = 0
        while received < 2 * ROOM:
            received += len(child.stdout.receive())
        assert child.stdin.shutdown() is True
        os.close(writer)
        assert os.waitpid(pid, 0)[1] == 0
        assert child.stdout.receive() == b""
