"""C structures that describe a program for `coutil.system`; and the current directory and priority of a process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from . import ffi, lib
from .command import fill

__all__ = ["IGNORE", "SAME", "SpawnOptions", "StdioSpec", "current_directory", "inherit", "pack", "pipe", "priority"]


_MAX_PATH = 1 << 20  # bytes; no path of the system is longer


class StdioSpec(NamedTuple):
    """One standard stream of the child."""

    kind: int
    fd: int = -1
    slot: int = 0


IGNORE = StdioSpec(lib.CO_IGNORE)
SAME = StdioSpec(lib.CO_SAME)  # for the standard error: the same as the standard output


class SpawnOptions(NamedTuple):
    """A program in plain values, checked: no string has a NUL."""

    arguments: Sequence[bytes]  # the first is the file
    environment: Sequence[bytes] | None
    directory: bytes | None
    stdio: Sequence[StdioSpec]
    detached: bool
    user: int | None
    group: int | None


def inherit(fd: int, *, given: bool = False) -> StdioSpec:
    """Return a stream for which the child gets a copy of a descriptor.

    given: the caller has named the descriptor, so C prepares it for use by a program: it will block.
    """
    return StdioSpec(lib.CO_HAND_OVER if given else lib.CO_INHERIT, fd)


def pipe(slot: int, reads: bool, writes: bool) -> StdioSpec:
    """Return a stream that connects the child to the pipe in `slot`; `reads`, `writes`: what the child does with it."""
    return StdioSpec(lib.CO_CHILD_READS * reads | lib.CO_CHILD_WRITES * writes, slot=slot)


def pack(program: SpawnOptions) -> tuple[Any, list[Any]]:
    """Return the C structure for a program, and the objects to keep while C uses it."""
    packed = ffi.new("co_program *")
    keep = fill(packed, program)
    for target, stream in zip(packed.stdio, program.stdio, strict=True):
        target.kind, target.fd, target.slot = stream
    packed.flags = lib.UV_PROCESS_DETACHED * program.detached
    if program.user is not None:
        packed.flags |= lib.UV_PROCESS_SETUID
        packed.user = program.user
    if program.group is not None:
        packed.flags |= lib.UV_PROCESS_SETGID
        packed.group = program.group
    return packed, keep


def priority(pid: int) -> tuple[int, int]:
    """Return libuv's code and the priority of a process."""
    value = ffi.new("int *")
    return lib.uv_os_getpriority(pid, value), value[0]


def current_directory() -> bytes | int:
    """Return the path of the current directory, or libuv's code."""
    capacity = 4096
    while True:
        buffer, size = ffi.new("char[]", capacity), ffi.new("size_t *", capacity)
        code: int = lib.uv_cwd(buffer, size)
        if code not in (lib.UV_ENOBUFS, lib.UV_ERANGE) or capacity > _MAX_PATH:
            return bytes(ffi.buffer(buffer, size[0])) if code >= 0 else code
        capacity *= 4
