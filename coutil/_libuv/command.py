"""C structures that describe a program: the part that both ways to start one share, and the form of uv_spawn."""

from __future__ import annotations

from collections.abc import Sequence
from os import X_OK, access, fsdecode
from os.path import isdir
from typing import Any, NamedTuple

from . import CData, ffi, lib

__all__ = ["RAW_IGNORE", "RawSpawnOptions", "RawStdioSpec", "failing_path", "fill", "pack"]


class RawStdioSpec(NamedTuple):
    """One descriptor of the child: libuv's flags, and the descriptor to inherit or the slot to connect."""

    flags: int
    fd: int = -1
    slot: int = 0


RAW_IGNORE = RawStdioSpec(lib.UV_IGNORE)


class RawSpawnOptions(NamedTuple):
    """A program in plain values, checked: no string has a NUL."""

    arguments: Sequence[bytes]  # the first is the file
    environment: Sequence[bytes] | None
    directory: bytes | None
    stdio: Sequence[RawStdioSpec]
    flags: int
    user: int
    group: int


def _strings(values: Sequence[bytes], keep: list[Any]) -> CData:
    """Return a C array of the strings, ended by NULL."""
    strings = [ffi.new("char[]", value) for value in values]
    array = ffi.new("char *[]", [*strings, ffi.NULL])
    keep += [*strings, array]
    return array


def fill(packed: Any, program: Any) -> list[Any]:
    """Set arguments, environment and directory of a C structure; return the objects to keep while C uses it."""
    keep: list[Any] = [packed]
    packed.arguments = _strings(program.arguments, keep)
    packed.file = packed.arguments[0]
    if program.environment is not None:
        packed.environment = _strings(program.environment, keep)
    if program.directory is not None:
        keep.append(directory := ffi.new("char[]", program.directory))
        packed.directory = directory
    return keep


def pack(command: RawSpawnOptions) -> tuple[Any, list[Any]]:
    """Return the C structure for a program, and the objects to keep while C uses it."""
    packed = ffi.new("co_command *")
    keep = fill(packed, command)
    keep.append(stdio := ffi.new("co_container[]", list(command.stdio)))
    packed.stdio = stdio
    packed.stdio_count = len(command.stdio)
    packed.flags, packed.user, packed.group = command.flags, command.user, command.group
    return packed, keep


def failing_path(program: Any) -> str:
    """Return the path that made a start fail: the directory, if it cannot be entered, else the program.

    The code of the system does not say which of the two it is about.
    """
    directory = program.directory
    if directory is not None and not (isdir(directory) and access(directory, X_OK)):
        return fsdecode(directory)
    return fsdecode(program.arguments[0])
