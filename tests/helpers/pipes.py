"""Pipes to children, whose other end is held by the test: it was taken from a child, which has ended."""

from __future__ import annotations

import ctypes
import io
import os
import socket
import sys
from typing import Any

from coutil import system

_PIDFD_GETFD = 438  # the same on all machines
_HAND_BACK = "import socket, sys; socket.send_fds(socket.socket(fileno=1), [b'x'], [0])"
LETTERS = {"pipe": "rw", "sharepipe": "rws"}


class InputEnd(io.FileIO):
    """The child's end of its input, a true pipe, with what the ends of sockets can do besides."""

    def setblocking(self, blocks: bool) -> None:
        """Have reads wait, or not."""
        os.set_blocking(self.fileno(), blocks)


def child_end(kind: str) -> tuple[system.Pipe, socket.socket]:
    """Return our end of a "pipe" or "sharepipe", and the child's as a Python socket. Waits."""
    ours, fd = _ends(LETTERS[kind])
    return ours, socket.socket(fileno=fd)


def input_end() -> tuple[system.Pipe, InputEnd]:
    """Return our end of a true pipe to a child, and the child's. Waits."""
    ours, fd = _ends("w")
    return ours, InputEnd(fd)


def _ends(letters: str) -> tuple[system.Pipe, int]:
    child = system.start("sleep", "100", stdin=letters)
    fd = _taken(child.pid)
    child.kill("kill")
    child.wait()
    ours: Any = child.stdin
    if fd >= 0:
        return ours, fd
    ours.close()
    return _handed_back(letters)


def _taken(pid: int) -> int:
    """Return a duplicate of another process's standard input, or -1."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        return -1
    fd: int = ctypes.CDLL(None).syscall(_PIDFD_GETFD, pidfd, 0, 0)
    os.close(pidfd)
    return fd


def _handed_back(letters: str) -> tuple[system.Pipe, int]:
    """The same where descriptors of others cannot be taken: the child sends its own."""
    near, far = socket.socketpair()
    with near, far:
        child = system.start(sys.executable, "-S", "-c", _HAND_BACK, stdin=letters, stdout=near)
        assert child.wait() == ("exit", 0)
        _, (fd,), _, _ = socket.recv_fds(far, 1, 1)
    return child.stdin, fd
