"""Run a program to its end in one call."""

from __future__ import annotations

from typing import Any

from ..._coroutines import waits
from ..._kernel import current_operation, spend_budget
from ..._libuv.files import Path
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
    """Run a program and wait for its end; return how it ended, or the value of an explicit resume. Suspends.

    The arguments are those of `start`. Pipes need an `ExecSpec`, from which other coroutines get them, and the number
    of the process, while the caller waits. If the wait is ended from outside, the program goes on; use `start` to be
    able to kill it.
    Returns ("exit", status), or the name and the number of a signal. Raises as `start` and `Process.wait` do.
    """
    streams = {"stdin": stdin, "stdout": stdout, "stderr": stderr}
    spec = spec_of(command, arguments, {"environment": environment, "runpath": runpath, **streams})
    if spec is not command and any(map(is_pipe, spec._streams())):
        raise ValueError("a pipe needs an ExecSpec, or start(): no coroutine could use it")
    program_of(spec)  # checks the values before anything suspends
    current = current_operation()
    current.wait_until_free("execute")
    spend_budget(current.hub)  # programs that cannot be started leave pipes for the loop to close
    if current.coroutine.cancelled_scope is not None:
        current.coroutine.cancelled_scope._refuse_start(current.coroutine, "execute")
    return Process(spec).wait()
