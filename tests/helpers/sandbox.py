"""System calls that fail in this process and all its children, as in a sandbox or on an older kernel."""

from __future__ import annotations

import ctypes
import errno
import os
import struct

import pytest

PIDFD_OPEN = 434  # the same on all machines

_NO_NEW_PRIVILEGES, _SECCOMP, _FILTER = 38, 22, 2
_LOAD, _EQUAL, _RETURN = 0x20, 0x15, 0x06
_ERROR, _ALLOW = 0x00050000, 0x7FFF0000


def forbid(number: int, code: int = errno.ENOSYS) -> bool:
    """Let a system call fail with `code` from now on; return whether the system can do that."""
    steps = [(_LOAD, 0, 0, 0), (_EQUAL, 0, 1, number), (_RETURN, 0, 0, _ERROR | code), (_RETURN, 0, 0, _ALLOW)]
    code_of_filter = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *step) for step in steps))
    program = ctypes.create_string_buffer(struct.pack("HP", len(steps), ctypes.addressof(code_of_filter)))
    prctl = ctypes.CDLL(None).prctl
    if prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        return False
    return not prctl(_SECCOMP, _FILTER, ctypes.c_void_p(ctypes.addressof(program)), 0, 0)


def _pidfds() -> bool:
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


needs_pidfds = pytest.mark.skipif(not _pidfds(), reason="the system has no pidfds, so libuv starts the programs")
