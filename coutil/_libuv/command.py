"""What C has to know of a program, however it is started; and what uv_spawn has to, for coutil.uv."""

from __future__ import annotations

from collections.abc import Sequence
from os import X_OK, access, fsdecode
from os.path import isdir
from typing import Any, NamedTuple

from . import ffi, lib

__all__ = ["IGNORED", "Command", "Container", "culprit", "fill", "pack"]


class Container(NamedTuple):
    """How one descriptor of the child comes to be: libuv's flags, and what to inherit or to connect."""

    flags: int
    fd: int = -1
    slot: int = 0


IGNORED = Container(lib.UV_IGNORE)


class Command(NamedTuple):
    """A program in plain values, checked: no string has a NUL."""

    arguments: Sequence[bytes]  # the first is the file
    environment: Sequence[bytes] | None
    directory: bytes | None
    stdio: Sequence[Container]
    flags: int
    user: int
    group: int


def _strings(values: Sequence[bytes], keep: list[Any]) -> Any:
    """Return a C array of the strings, ended by NULL."""
    strings = [ffi.new("char[]", value) for value in values]
    array = ffi.new("char *[]", [*strings, ffi.NULL])
    keep += [*strings, array]
    return array


def fill(packed: Any, program: Any) -> list[Any]:
    """Set arguments, environment and directory of a C structure; return what must be kept while C uses it."""
    keep: list[Any] = [packed]
    packed.arguments = _strings(program.arguments, keep)
    packed.file = packed.arguments[0]
    if program.environment is not None:
        packed.environment = _strings(program.environment, keep)
    if program.directory is not None:
        keep.append(directory := ffi.new("char[]", program.directory))
        packed.directory = directory
    return keep


def pack(command: Command) -> tuple[Any, list[Any]]:
    """Return the C structure for a program, and what must be kept while C uses it."""
    packed = ffi.new("co_command *")
    keep = fill(packed, command)
    keep.append(stdio := ffi.new("co_container[]", list(command.stdio)))
    packed.stdio = stdio
    packed.stdio_count = len(command.stdio)
    packed.flags, packed.user, packed.group = command.flags, command.user, command.group
    return packed, keep


def culprit(program: Any) -> str:
    """Return why a program could not be started: the directory, if that cannot be entered, else the program.

    The system's code does not tell which of the two it is about.
    """
    directory = program.directory
    if directory is not None and not (isdir(directory) and access(directory, X_OK)):
        return fsdecode(directory)
    return fsdecode(program.arguments[0])
