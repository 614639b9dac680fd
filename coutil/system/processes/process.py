"""A child process: its number, its standard streams, its end."""

from __future__ import annotations

import errno
import os
from contextlib import suppress
from signal import SIGKILL
from typing import Any

from ..._closeable import Closeable
from ..._coroutines import NonCopyable, foreign_thread_error, waits
from ..._kernel import NULL_HANDLER, Hub, Operation, ReadyItem, current_hub, current_operation
from ..._libuv import error, lib
from ..._libuv.command import failing_path
from ..._libuv.files import Path
from ..._libuv.signal_names import signal_number, signal_word
from ..._libuv.spawning import SpawnOptions, pack
from ...errors import ECHILD, Closed, Forked
from ...scopes.deadline import call_timeout
from ..watchers import SharedWait, release_operation
from .pipe import Pipe
from .spec import ExecSpec, StandardStream, opened, program_of

__all__ = ["Process", "spec_of", "start"]


class _ExitWatcher(SharedWait, ReadyItem):
    """The end of a child. The hub keeps it until then, so the child is reaped even if its `Process` is collected."""

    __slots__ = ("number", "packed", "pid", "status", "title")

    def __init__(self, hub: Hub) -> None:
        """There is no child yet."""
        super().__init__(hub)
        self.status: int | None = None  # None: it runs; negative: other code has reaped it, the status is unknown
        self.number = 0  # of the signal that ended it
        self.packed: Any = None  # while it is started: what C fills with its number

    def start(self, program: SpawnOptions) -> None:
        """Start the child. Raises `UVError`."""
        hub = self.hub
        packed, keep = pack(program)
        self.packed = packed
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation
        try:
            code = lib.co_spawn(hub.loop.pointer, self.slot, self.generation, packed)
        except BaseException:  # raised by a signal handler; a child that has started by then is reaped when it ends
            if not packed.pid:
                hub.free_slot(self.slot)
            raise
        if code < 0:
            hub.free_slot(self.slot)
            hub.check()
            raise error(code, "uv_spawn", failing_path(program))
        keep.clear()
        self.pid = int(packed.pid)
        self.title = f"process {self.pid} ({os.fsdecode(program.arguments[0])})"

    def undo(self) -> None:
        """Kill a child that no caller will know, as a signal handler has raised. The hub reaps it. May be repeated."""
        if self.packed is not None and self.packed.pid and self.status is None:
            lib.co_kill(self.hub.loop.pointer, self.slot, SIGKILL)

    def __str__(self) -> str:
        """The event that a coroutine waits for."""
        return f"end of {self.title}"

    def check(self) -> None:
        """Raise `Forked`, `Closed` or `ForeignThread` if the child cannot be waited for here."""
        if self.hub.forked:
            raise Forked(f"{self.title} was started before the fork: it is a child of the parent process")
        if not self.hub.loop.pointer:
            raise Closed(f"{self.title} cannot be waited for: its event loop has ended")
        if current_operation().hub is not self.hub:
            raise foreign_thread_error(self.title, self.hub.context.thread)

    def wait(self, operation: Operation, what: object) -> None:
        """Wait for the end."""
        try:
            self.hub.loop.demand[self.slot] = 1
            super().wait(operation, what)
        except BaseException:
            self.no_waiters()
            raise

    def no_waiters(self) -> None:
        """Let the loop end: no coroutine waits for this child."""
        if not self.operations:
            self.hub.loop.demand[self.slot] = -1

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Store the status and resume the waiters; or give the slot back, when libuv has closed the handle."""
        if generation != self.generation:
            return False
        if result == lib.CO_CLOSED:
            self.generation = -1
            self.hub.handlers[self.slot] = NULL_HANDLER
            self.hub.free_slots += (self.slot,)
            return False
        self.hub.loop.demand[self.slot] = -1
        self.number, self.status = offset, result
        try:
            del self.hub.completions[0]
            self.run()
        except BaseException:  # raised by a signal handler: the other waiters are resumed in the next turn
            self.hub.ready.append(self)
            raise
        return True

    def run(self) -> None:
        """Resume all waiters."""
        while self.operations:
            release_operation(self.wake_one())

    def exit_result(self) -> tuple[str, int]:
        """Return how the child has ended."""
        status = self.status
        assert status is not None
        if status < 0:
            raise ECHILD(errno.ECHILD, f"other code has taken the status of {self.title}")
        return (signal_word(self.number), self.number) if self.number else ("exit", status)


class Process(Closeable, NonCopyable):
    """A program that was started by `start`, and may have ended since.

    When this object is collected the program goes on, and is reaped when it ends. As a context manager it closes its
    pipes at the end of the block and waits for the program's end; if the block fails, it kills the program (SIGKILL),
    and does not wait.
    """

    __slots__ = ("__weakref__", "_exit", "_pipes")

    def __init__(self, spec: ExecSpec) -> None:
        """Start the program. Raises as `start` does; if a signal handler raises, there is no program left."""
        self._exit = exit_ = _ExitWatcher(current_hub())
        try:
            with opened(program_of(spec), spec._streams()) as (complete, pipes):
                exit_.start(complete)
            self._pipes = pipes
            spec.pid = self.pid
            spec.stdin, spec.stdout, spec.stderr = (
                pipe or given for pipe, given in zip(pipes, spec._streams(), strict=True)
            )
            exit_.packed = None
        except BaseException:
            try:
                exit_.undo()
            except BaseException:  # of a second signal handler
                exit_.undo()
                raise
            raise

    @property
    def pid(self) -> int:
        """The number of the process; after its end another process may have it."""
        return self._exit.pid

    @property
    def stdin(self) -> Pipe | None:
        """The parent's end of the pipe to the standard input, a `SharePipe` if `start` got an "s"; None: no pipe."""
        return self._pipes[0]

    @property
    def stdout(self) -> Pipe | None:
        """The parent's end of the pipe from the standard output; None if that is not a pipe."""
        return self._pipes[1]

    @property
    def stderr(self) -> Pipe | None:
        """The parent's end of the pipe from the standard error; None if that is not a pipe, or is `stdout`."""
        return self._pipes[2]

    @waits
    def wait(self, *, timeout: float | None = None) -> tuple[str, int]:
        """Wait until the program ends; return how it ended. Suspends unless it has ended.

        Returns ("exit", status), or the name and the number of the signal that killed it: ("kill", 9); a signal
        without a name is called "signal". An explicit resume ends the wait, and its value is returned. Any number of
        coroutines may wait.
        timeout: seconds to wait at most. Raises TypeError, ValueError, `Timeout`, `ForeignThread`, `Forked`, `Closed`
        (the event loop has ended), `NotYieldable`, or `UVError`: ECHILD (other code has waited for the process, or
        SIGCHLD is ignored).
        """
        if timeout is not None:
            with call_timeout(timeout):
                return self.wait()
        exit_ = self._exit
        if exit_.status is None:
            exit_.check()
            current = current_operation()
            current.wait_until_free(str(exit_))
        if exit_.status is None:
            exit_.wait(current, exit_)
        return exit_.exit_result()

    def kill(self, signal: str | int = "terminate") -> bool:
        """Send a signal, by word, name or number as `emitsig` takes them; return True.

        Raises TypeError, ValueError, `ForeignThread`, `Forked`, or `UVError`: ESRCH (it has ended), EPERM, EINVAL.
        Source: uv_process_kill.
        """
        number = signal_number("signal", signal)
        exit_ = self._exit
        if exit_.status is None:
            exit_.check()
            code = lib.co_kill(exit_.hub.loop.pointer, exit_.slot, number)
        else:
            code = lib.UV_ESRCH
        if code < 0:
            raise error(code, "uv_process_kill")
        return True

    @property
    def closed(self) -> bool:
        """Whether all the parent's ends of the pipes are closed; also true if there are no pipes."""
        return all(pipe is None or pipe.closed for pipe in self._pipes)

    def close(self) -> bool:
        """Close the parent's ends of the pipes and return True. The program goes on. Raises `ForeignThread`."""
        for pipe in self._pipes:
            if pipe is not None:
                pipe.close()
        return True

    def __exit__(self, kind: object, raised: object, traceback: object) -> None:
        """Close the pipes, and wait; or kill: see the class. In the child of a fork do nothing."""
        with suppress(Forked):
            if raised is not None:
                with suppress(ProcessLookupError, Closed):
                    self.kill("kill")
            self.close()
            if raised is None:
                self.wait()

    def __repr__(self) -> str:
        """Number, program and state."""
        exit_ = self._exit
        state = "runs" if exit_.status is None else f"ended: {exit_.number or exit_.status}"
        return f"<Process {exit_.title.removeprefix('process ')} {state}>"


def spec_of(command: Path | ExecSpec, arguments: tuple[Path, ...], options: dict[str, Any]) -> ExecSpec:
    """Return `command` if it is an `ExecSpec`, else one that is made of all the arguments. Raises TypeError."""
    if not isinstance(command, ExecSpec):
        return ExecSpec(command, arguments, **options)
    if arguments or any(value is not None for value in options.values()):
        raise TypeError("an ExecSpec is complete: neither arguments nor options may follow it")
    return command


def start(  # noqa: PLR0913  # one keyword for each property of a program
    command: Path | ExecSpec,
    *arguments: Path,
    environment: Any = None,
    runpath: Path | None = None,
    stdin: StandardStream = None,
    stdout: StandardStream = None,
    stderr: StandardStream = None,
    detached: bool | None = None,
    user: int | None = None,
    group: int | None = None,
) -> Process:
    """Start a program and return its `Process`. Does not suspend; the thread stops until the program has been loaded.

    command, arguments: strings, bytes or paths; they are not passed through a shell. A command without "/" is searched
    in PATH (of `environment`, if that is given). command: may also be an `ExecSpec`, in place of all other arguments.
    If a signal handler raises during the call, the program is killed: it runs only if its `Process` is returned.
    environment: a mapping or a `PackedEnv`; the program has these variables only. None: those of this process.
    runpath: the directory to start in. detached: start a new session. user, group: the numbers to change to.
    stdin, stdout, stderr: None: the stream of this process. False: the null device. An object with fileno(): a file, or
    a socket, which is set to blocking mode, as programs expect (streams of this OS thread can still be used; those of
    other libraries would block their thread). A string: a new pipe; its other end is an attribute of the process. "r":
    the caller receives from it; "w": sends to it; "rw": both; an additional "s" makes it a `SharePipe`, which also
    passes sockets. stderr="stdout": the error output goes to the same file or pipe as the output.
    "r" and "w" make true pipes: `shutdown` of the program's input closes the caller's end, which then has no
    descriptor. "rw" and "s" make pairs of sockets: a program cannot open them again as /dev/stdin, and bash treats one
    as a remote login.
    The program inherits no other descriptors; `coutil.uv.spawn` can pass more. It ignores the signals that this process
    ignores, except SIGPIPE and SIGXFSZ, and blocks those that the calling OS thread blocks, as with `subprocess`.
    (Where libuv starts the programs, it ignores and blocks none: before Linux 5.4, in sandboxes without pidfds, and on
    other systems.)
    Raises TypeError, ValueError (a NUL, a bad name of a variable, …), or `UVError`: ENOENT (no such program, or no
    `runpath`), EACCES, E2BIG, EPERM, EMFILE, … Source: uv_spawn.
    """
    options = {"environment": environment, "runpath": runpath, "stdin": stdin, "stdout": stdout, "stderr": stderr}
    options |= {"detached": detached, "user": user, "group": group}
    return Process(spec_of(command, arguments, options))
