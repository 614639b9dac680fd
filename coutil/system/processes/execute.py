"""Running a program to its end in one call."""

from __future__ import annotations

from typing import Any

from ..._coroutines.outcomes import waits
from ..._kernel.operation import lucky, operation
from ..environment import Path
from .process import Process, spec_of
from .spec import ExecSpec, StandardStream, is_pipe, program_of

__all__ = ["execute"]


@waits
def execute(
    command: Path | ExecSpec,
    *arguments: Path,
    environment: Any = None,
    runpath: Path | None = None,
    stdin: StandardStream = None,
    stdout: StandardStream = None,
    stderr: StandardStream = None,
) -> tuple[str, int]:
    """Run a program and wait for its end; return how it ended, or what an explicit resume brings. Suspends.

    Everything is as in `start` and `Process.wait`. Pipes need an `ExecSpec`, which tells them, and the number of the
    process, to other coroutines while the caller waits. However the wait ends, the program runs on; `start` is for
    those who want to kill it.
    Returns ("exit", status), or the name and the number of a signal. Raises as `start` and `Process.wait` do.
    """
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    spec = spec_of(command, arguments, {"environment": environment, "runpath": runpath, **streams})
    if spec is not command and any(map(is_pipe, spec._streams())):
        raise ValueError("a pipe needs an ExecSpec, or start(): nobody could use it")
    program_of(spec)  # raises
    own = operation()
    own.released("execute")
    lucky(own.hub)  # programs that cannot be started leave pipes for the loop to close
    if own.coroutine.cancelled is not None:
        own.coroutine.cancelled._refuse_start(own.coroutine, "execute")
    return Process(spec).wait()
