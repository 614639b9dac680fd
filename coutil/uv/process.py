"""Child processes.

While a child of a process handle runs, libuv handles SIGCHLD, and no handler in Python runs for it. The previous
disposition is restored when the last one has ended. libuv takes the status of its own children only: those of
`os.fork`, `subprocess` and `coutil.system` are left to their waiters. A wait for all children (`os.wait()`) also takes
the status of libuv's.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Mapping
from typing import Any

from .._coroutines import waits
from .._kernel import Completion
from .._libuv import check, lib
from .._libuv.arguments import check_int
from .._libuv.command import RAW_IGNORE, RawSpawnOptions, RawStdioSpec, failing_path, pack
from .._libuv.files import encoded
from .._libuv.signal_names import signal_number
from ..errors import ECHILD, UVError
from .handle import Handle
from .loop import HandlerCall, Loop, current_loop
from .module_function import module_function

__all__ = ["Process", "disable_stdio_inheritance", "kill", "spawn"]

Text = str | bytes | os.PathLike[str] | os.PathLike[bytes]
Environment = Mapping[Any, Any] | Iterable[Text] | None

_OPTIONS = ("args", "env", "cwd", "stdio", "uid", "gid", "detached", "flags")
_LAST_ID = 2**32 - 2  # the one after it means "no change" to the system
_FLAGS = (
    lib.UV_PROCESS_DETACHED
    | lib.UV_PROCESS_WINDOWS_VERBATIM_ARGUMENTS
    | lib.UV_PROCESS_WINDOWS_HIDE
    | lib.UV_PROCESS_WINDOWS_HIDE_CONSOLE
    | lib.UV_PROCESS_WINDOWS_HIDE_GUI
)
_DIRECTIONS = {
    "r": lib.UV_READABLE_PIPE,
    "w": lib.UV_WRITABLE_PIPE,
    "rw": lib.UV_READABLE_PIPE | lib.UV_WRITABLE_PIPE,
}


class Process(Handle):
    """A child process. Handler: `onexit(process, status, signal)`, called when it has ended.

    status: the exit status; `-errno.ECHILD` if other code of the process has taken it, so that it is unknown. signal:
    the number of the signal that killed it, else 0. Coroutines may `wait`, with or without a handler. A child whose
    handle is closed, or forgotten together with its loop, goes on, and becomes no zombie.
    """

    _kind = "process"
    onexit: Any = None

    def __init__(  # noqa: PLR0913  # the options of libuv
        self,
        loop: Loop | None,
        file: Text,
        args: Iterable[Text] = (),
        *,
        env: Environment = None,
        cwd: Text | None = None,
        stdio: Iterable[Any] = (),
        uid: int | None = None,
        gid: int | None = None,
        detached: bool = False,
        flags: int = 0,
    ) -> None:
        """Start a program as a child of this process. The thread blocks until the program has been loaded.

        file: the program; a name without "/" is searched in PATH (of `env`, if that is given). args: the arguments,
        without the program's name. env: its variables, a mapping or strings "NAME=value"; None: those of this process.
        cwd: the directory to start in. uid, gid: numbers of the user and group to change to. detached: start a new
        session. flags: UV_PROCESS_ bits. stdio: the child's descriptors 0, 1, 2, …; None, or a missing item: the null
        device (from the fourth on: no descriptor). An int, a file, a socket, or a handle with a descriptor: a duplicate
        of it, which is blocking if it becomes 0, 1 or 2. A `Pipe` that is not open: a new pipe, connected to it. The
        child reads from descriptor 0, writes to 1 and 2, and does both with others; (pipe, "r"), (pipe, "w"), (pipe,
        "rw"): the child reads, writes, does both. A pipe in one direction is a true pipe, unlike libuv's: `shutdown`
        closes the end in this process. One in both directions, or a `Pipe` with `ipc`, is a pair of sockets. If the
        start fails, the pipes are unchanged. The child inherits no other descriptors; it ignores and blocks no signals.
        Raises TypeError, ValueError (NUL, out of range, a pipe that is open), `Closed`, `ForeignThread`, `Forked`,
        `UVError`: ENOENT (no such program, or directory), EACCES, E2BIG, EPERM, EBADF, EMFILE, … Source: uv_spawn.
        """
        # Check everything first, and encode it for C.
        arguments = [encoded(file, "file"), *_texts("args", args)]
        directory = None if cwd is None else encoded(cwd, "cwd")
        flags = _flags(flags, detached, uid, gid)
        loop = current_loop() if loop is None else loop
        command = RawSpawnOptions(
            arguments, _environment(env), directory, _stdio(loop, stdio), flags, uid or 0, gid or 0
        )
        packed, keep = pack(command)  # `keep` owns the memory of `packed`

        # The end of the child may be reported as soon as it has started.
        self._ended: tuple[int, int] | None = None

        def start(pointer: Any, slot: int, generation: int) -> int:
            self._end_completion = Completion(self.loop._hub)
            code: int = lib.co_raw_spawn(pointer, slot, generation, packed)
            return code

        # Start it: a handle that cannot be opened has no child either.
        try:
            super().__init__(loop, start, "uv_spawn")
        except UVError as failed:
            failed.filename = failing_path(command)
            raise
        finally:
            keep.clear()
        self._pid = int(packed.pid)
        self._core.title = f"process {self._pid} ({os.fsdecode(arguments[0])})"

    def __repr__(self) -> str:
        """Number and state."""
        pid = getattr(self, "_pid", None)
        return super().__repr__() if pid is None else f"{super().__repr__()[:-1]}, pid {pid}>"

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        self._ended = result, offset  # the record has the status, and the signal in place of an offset
        self._emit_exit()
        return self._handler_call("onexit", result, offset)

    def _emit_exit(self) -> None:
        """Wake the waiters, which look at the state again."""
        self._end_completion.wake_all()

    @property
    def active(self) -> bool:
        """Whether it still runs, as far as the loop knows. Source: uv_is_active."""
        return self._ended is None and super().active

    @property
    def pid(self) -> int:
        """The number of the process; after its end the system may use it again. Source: uv_process_get_pid."""
        return self._pid

    def kill(self, signum: int | str = "SIGTERM") -> None:
        """Send it a signal, by name, number or word (see `Signal.start`); 0 only checks whether that is possible.

        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `UVError`: ESRCH (it has ended), EPERM,
        EINVAL. Source: uv_process_kill.
        """
        self._call(lib.co_raw_process_kill, "uv_process_kill", signal_number("signum", signum))

    @waits
    def wait(self) -> tuple[int, int]:
        """Wait until it has ended; return (status, signal) or the value of an explicit resume. Suspends.

        Any number of coroutines may wait, also after the end. While a coroutine waits, the loop counts as alive.
        Raises `Closed` (the handle was closed before the end), `ForeignThread`, `Forked`, `NotYieldable`, `UVError`:
        ECHILD (other code of the process has taken the status).
        """
        self._await_end()
        if self._ended is None:
            raise self._core.use_error()
        if self._ended[0] < 0:
            raise ECHILD(errno.ECHILD, f"other code has taken the status of {self._core.title}")
        return self._ended

    def _await_end(self) -> None:
        """Wait until it has ended, or its handle is closed."""
        core = self._core
        what = f"end of {core.title}"
        while self._ended is None and not core.closed:
            core.check_usable()
            try:
                core.demand[core.slot] = 1
                self._end_completion.wait(what)
            finally:
                if self._end_completion.waiter is None and not core.closed:
                    core.demand[core.slot] = -1

    @waits
    def close(self, force: bool = False) -> bool:
        """Wait until the program has ended, then close the handle and wait for that; return True. Suspends.

        force: do not wait for the end of the program, which goes on. Its waiters get `Closed`. An explicit resume ends
        the wait; its value is returned. Raises `ForeignThread`, `Forked`, `NotYieldable`. Source: uv_close.
        """
        if not force:
            self._await_end()
        return super().close()

    def close_soon(self) -> None:
        """Close the handle without waiting; the program goes on. See `Handle.close_soon`."""
        super().close_soon()
        self._emit_exit()


def _texts(name: str, values: Iterable[Any]) -> list[bytes]:
    if isinstance(values, str | bytes):
        raise TypeError(f"{name} must be a sequence of strings, not {values!r}")
    return [encoded(value, f"{name}[{number}]") for number, value in enumerate(values)]


def _environment(env: Environment) -> list[bytes] | None:
    if env is None:
        return None
    if not isinstance(env, Mapping):
        variables = _texts("env", env)
    else:
        pairs = [(encoded(name, "a name in env"), encoded(value, f"env[{name!r}]")) for name, value in env.items()]
        for name, _ in pairs:
            if not name or b"=" in name:
                raise ValueError(f"env has a variable with a bad name: {name!r}")
        variables = [name + b"=" + value for name, value in pairs]
    for variable in variables:
        if variable.find(b"=") < 1:
            raise ValueError(f"env must consist of NAME=value, not {variable!r}")
    return variables


def _flags(flags: int, detached: bool, uid: int | None, gid: int | None) -> int:
    """Return all flags as libuv takes them. Raises TypeError, ValueError."""
    check_int("flags", flags)
    if flags & ~_FLAGS:
        raise ValueError(f"flags has unknown bits: {flags:#x}")
    flags |= lib.UV_PROCESS_DETACHED * bool(detached)
    if uid is not None:
        flags |= lib.UV_PROCESS_SETUID * bool(check_int("uid", uid, 0, _LAST_ID) >= 0)
    if gid is not None:
        flags |= lib.UV_PROCESS_SETGID * bool(check_int("gid", gid, 0, _LAST_ID) >= 0)
    return int(flags)


def _stdio(loop: Loop, stdio: Iterable[Any]) -> list[RawStdioSpec]:
    specs = [_stdio_spec(loop, f"stdio[{number}]", number, item) for number, item in enumerate(stdio)]
    slots = [item.slot for item in specs if item.flags & lib.UV_CREATE_PIPE]
    if len(slots) != len(set(slots)):
        raise ValueError("stdio has the same pipe twice")
    return specs


def _stdio_spec(loop: Loop, name: str, number: int, item: Any) -> RawStdioSpec:
    if item is None:
        return RAW_IGNORE
    if isinstance(item, tuple):
        if len(item) != 2 or not isinstance(item[0], Handle) or item[1] not in _DIRECTIONS:
            raise ValueError(f'{name} must be (pipe, "r"), (pipe, "w") or (pipe, "rw"), not {item!r}')
        return _stdio_pipe(loop, name, item[0], _DIRECTIONS[item[1]])
    if isinstance(item, Handle):
        fd = _descriptor(item)
        if fd is None:
            return _stdio_pipe(loop, name, item, _DIRECTIONS["r" if number == 0 else "w" if number < 3 else "rw"])
        return RawStdioSpec(lib.UV_INHERIT_FD, fd)
    if not isinstance(item, int) and callable(getattr(item, "fileno", None)):
        item = item.fileno()
    return RawStdioSpec(lib.UV_INHERIT_FD, check_int(name, item, 0, 2**31 - 1))


def _stdio_pipe(loop: Loop, name: str, pipe: Handle, direction: int) -> RawStdioSpec:
    """Return the container that creates a pipe. Raises ValueError."""
    if pipe._kind != "pipe" or pipe.loop is not loop:
        raise ValueError(f"{name} must be a pipe of {loop!r}, not {pipe!r}")
    if _descriptor(pipe) is not None:
        raise ValueError(f"{name} is open already: {pipe!r}")
    return RawStdioSpec(lib.UV_CREATE_PIPE | direction, slot=pipe._core.slot)


def _descriptor(handle: Handle) -> int | None:
    """Return the descriptor of a handle; None: it has none. Raises as `check_usable`."""
    handle._core.check_usable()
    try:
        return handle.fileno()
    except UVError as failed:
        if failed.name not in ("EBADF", "EINVAL"):
            raise
        return None


def spawn(loop: Loop | None, file: Text, options: Mapping[str, Any] | None = None) -> tuple[Process, int]:
    """Start a program; return its `Process` and the number of the process.

    options: arguments of `Process` by name: args, env, cwd, stdio, uid, gid, detached, flags. Raises as `Process`.
    Source: uv_spawn.
    """
    if options is not None and not isinstance(options, Mapping):
        raise TypeError(f"options must be a mapping or None, not {options!r}")
    given = dict(options or {})
    unknown = [name for name in given if name not in _OPTIONS]
    if unknown:
        raise TypeError(f"unknown options: {', '.join(map(repr, unknown))}; options are {', '.join(_OPTIONS)}")
    process = Process(loop, file, **given)
    return process, process.pid


def kill(pid: int, signum: int | str) -> None:
    """Send a signal to a process, by name, number or word (see `Signal.start`); 0 only checks whether that is possible.

    pid: 0: all processes of the caller's group; -1: all processes; less than -1: those of the group -pid.
    Raises TypeError, ValueError, `UVError`: ESRCH, EPERM, EINVAL. Source: uv_kill.
    """
    check(lib.uv_kill(check_int("pid", pid, -(2**31), 2**31 - 1), signal_number("signum", signum)), "uv_kill")


def disable_stdio_inheritance() -> None:
    """Keep programs that are started from now on from inheriting the descriptors that this process has inherited.

    It marks all open descriptors up to the first gap as close-on-exec; call it at the start of the program.
    Source: uv_disable_stdio_inheritance.
    """
    lib.uv_disable_stdio_inheritance()


process_kill = module_function(Process.kill)
process_get_pid = module_function(Process.pid)
