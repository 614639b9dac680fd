"""The specification of a child: checks, and conversion to the form that C takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from ..._libuv.arguments import check_any_int, check_int
from ..._libuv.files import Path, encoded
from ..._libuv.spawning import IGNORE, SAME, SpawnOptions, StdioSpec, inherit, pipe
from ..environment import PackedEnv, packed_lines
from .pipe import Pipe, SharePipe

__all__ = ["ExecSpec", "HasFileno", "StandardStream", "is_pipe", "opened", "program_of"]

STREAMS = ("stdin", "stdout", "stderr")
_SAME = "stdout"  # a value of `stderr`: the same stream as the standard output
_HIGHEST = 2**32 - 2  # user and group; the number above means "no change"


class HasFileno(Protocol):
    """An object that has a descriptor: a file, a socket, …"""

    def fileno(self) -> int:
        """Return the descriptor."""


StandardStream = HasFileno | str | bool | None


@dataclass(slots=True, weakref_slot=True)
class ExecSpec:
    """A program to start, with all its properties: the arguments of `start`, with the same names.

    execfile: the argument `command` of `start`. arguments: a sequence of strings, bytes or paths, without the name of
    the program. environment: a mapping or a `PackedEnv`; None: that of this process. runpath: the directory to start
    in; None: the current one. stdin, stdout, stderr: None, False, an object with fileno(), or "r", "w", "rw", each with
    or without "s"; `stderr` also "stdout". detached: whether it starts a new session. user, group: numbers; None: those
    of this process.
    pid: the number of the process. The start of the program sets it; where `stdin`, `stdout` or `stderr` ask for a
    pipe, it sets them to the parent's end. `start` and `execute` check the values.
    """

    execfile: Path
    arguments: Sequence[Path] = ()
    environment: Mapping[str, str] | PackedEnv | None = None
    runpath: Path | None = None
    stdin: StandardStream = None
    stdout: StandardStream = None
    stderr: StandardStream = None
    detached: bool | None = None
    user: int | None = None
    group: int | None = None
    pid: int | None = None

    def _streams(self) -> tuple[StandardStream, StandardStream, StandardStream]:
        """Return the three standard streams."""
        return self.stdin, self.stdout, self.stderr


def program_of(spec: ExecSpec) -> SpawnOptions:
    """Return the program in plain values; its pipes are not open yet. Raises TypeError, ValueError."""
    if isinstance(spec.arguments, str | bytes) or not isinstance(spec.arguments, Sequence):
        raise TypeError(f"arguments must be a sequence of strings, not {spec.arguments!r}")
    command = encoded(spec.execfile, "command")
    if not command:
        raise ValueError("command must not be empty")
    if not isinstance(spec.detached, bool | None):
        raise TypeError(f"detached must be a bool or None, not {spec.detached!r}")
    streams = spec._streams()
    stdio = [_stdio(number, value) for number, value in enumerate(streams)]
    return SpawnOptions(
        arguments=[command, *(encoded(argument, "argument") for argument in spec.arguments)],
        environment=None if spec.environment is None else packed_lines(spec.environment),
        directory=None if spec.runpath is None else encoded(spec.runpath, "runpath"),
        stdio=stdio,
        detached=bool(spec.detached),
        user=_identity("user", spec.user),
        group=_identity("group", spec.group),
    )


def is_pipe(stream: Any) -> bool:
    """Return whether the value for a standard stream asks for a pipe."""
    return isinstance(stream, str) and stream != _SAME


def _identity(name: str, value: Any) -> int | None:
    return None if value is None else check_int(name, value, 0, _HIGHEST, "a number or None")


def _stdio(number: int, value: Any) -> StdioSpec:
    name = STREAMS[number]
    if value is None:
        return inherit(number)
    if value is False:
        return IGNORE
    if isinstance(value, str):
        if (name, value) == ("stderr", _SAME):
            return SAME
        if not set(value) <= set("rws") or not set(value) & set("rw"):
            also = ', or "stdout"' * (name == "stderr")
            raise ValueError(f'{name} must consist of "r", "w" and an additional "s"{also}, not {value!r}')
        return pipe(0, "w" in value, "r" in value)
    fileno = getattr(value, "fileno", None)
    if not callable(fileno):
        raise TypeError(f'{name} must be None, False, a string of "r", "w", "s", or have fileno(), not {value!r}')
    fd = check_any_int(f"the result of fileno() of {name}", fileno())
    if not 0 <= fd < 2**31:
        raise ValueError(f"{name} has no descriptor: {fd}")
    return inherit(fd, given=True)


@contextmanager
def opened(program: SpawnOptions, streams: Sequence[Any]) -> Iterator[tuple[SpawnOptions, list[Pipe | None]]]:
    """Open the pipes that `streams` ask for; close them again if the block fails. Raises OSError."""
    pipes: list[Pipe | None] = [None, None, None]
    stdio = list(program.stdio)
    try:
        for number, value in enumerate(streams):
            if is_pipe(value):
                kind = SharePipe if "s" in value else Pipe
                pipe = pipes[number] = kind(STREAMS[number])
                stdio[number] = stdio[number]._replace(slot=pipe._handle.slot)
        yield program._replace(stdio=stdio), pipes
    except BaseException:
        for opened_pipe in pipes:
            if opened_pipe is not None:
                opened_pipe.close()
        raise
