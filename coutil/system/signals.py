"""Signals by name: waiting for them and sending them."""

from __future__ import annotations

from typing import Any, TypeVar

from .._coroutines import ARMED, FREED, waits
from .._kernel import NULL_HANDLER, Operation, current_operation
from .._libuv import check, error, lib
from .._libuv.arguments import check_int
from .._libuv.signal_names import awaitable_number, signal_number
from .watchers import SharedWait, release_operation

__all__ = ["SignalWatcher", "awaitsig", "check_pid", "emitsig"]

Name = TypeVar("Name", bound=str | int)


@waits
def awaitsig(signal: Name) -> Name:
    """Wait until the process gets `signal`; return `signal`, or the value of an explicit resume. Suspends.

    signal: "interrupt", "terminate", "hangup", "quit", "userdef1", "userdef2", "child", "winresize", "continue",
    "stop", "brokenpipe", "stdinoff", "stdoutoff", "urgentsock", "clocktime", "cputime", "cputotal", "cpulimit",
    "filelimit", "polling", "abort", "trap" or "sysargerr"; or a name or number of Python's `signal` module: "SIGTERM",
    `signal.SIGTERM`, 15. All coroutines that wait for it, in all OS threads, get it.
    While a coroutine waits, the signal has no other effect: no handler of Python runs, and "interrupt" raises no
    KeyboardInterrupt. This lasts until the coroutine waits for something else, or ends: a coroutine that calls this in
    a loop, and waits for nothing else in between, misses no signal (several that arrive together count as one). After
    that the previous disposition holds again. It may be the system's default, which ends the process for most signals:
    set a handler that does nothing if the process must go on.
    Raises TypeError, ValueError (an unknown name, or "kill" or "pause", of which no process is notified),
    `NotYieldable`, or `UVError`: EINVAL (the system has no such signal). Source: uv_signal_start.
    """
    number = awaitable_number("signal", signal)
    what = f"signal {signal if isinstance(signal, str) else number}"
    current = current_operation()
    watcher: Any = current.hub.current_handler
    if watcher.__class__ is not SignalWatcher or not watcher.is_rearm(current, number):
        current.wait_until_free(what)
        watcher = SignalWatcher(current, number)
    try:
        watcher.begin(current)
        watcher.wait(current, what)
    except BaseException:
        if current.state is FREED:
            watcher.no_waiters()
        raise
    return signal


class SignalWatcher(SharedWait):
    """A signal that one coroutine waits for. It stays armed until that coroutine waits for something else, or ends."""

    __slots__ = ("number", "owner")

    def __init__(self, operation: Operation, number: int) -> None:
        """Make a watcher for `operation`; `begin` starts it."""
        super().__init__(operation.hub)
        self.number = number
        self.owner: Operation | None = None

    def begin(self, operation: Operation) -> None:
        """Begin to watch, unless it has started.

        Raises `UVError`; the caller undoes it by `no_waiters` after any exception.
        """
        if self.owner is not None:
            return
        hub = self.hub
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation
        self.owner = operation
        code = lib.co_signal_start(hub.loop.pointer, self.slot, self.generation, self.number)
        if code < 0:
            self.no_waiters()
            hub.check()
            raise error(code, "uv_signal_start")

    def is_rearm(self, operation: Operation, number: int) -> bool:
        """Return whether this watcher has just armed `operation`, which is to wait for the same signal."""
        return self.owner is operation and self.number == number and operation.state is ARMED

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Resume the coroutine; return whether it has taken the record.

        `after_completion` checks whether it waits again.
        """
        if generation != self.generation:
            return False
        self.hub.current_handler = self
        if not self.operations:
            return False
        self.wake_one(record=True)
        return True

    def after_completion(self) -> None:
        """Stop, unless the coroutine, which was resumed and no longer runs, waits for the signal again."""
        if not self.operations and self.owner is not None:
            release_operation(self.owner)
            self.no_waiters()

    def no_waiters(self) -> None:
        """Stop watching, and give the slot back."""
        if self.owner is not None:
            self.generation = -1
            lib.co_signal_stop(self.hub.loop.pointer, self.slot)
            if self.owner is not None:  # a signal handler may have run this method in between
                self.owner = None
                self.hub.handlers[self.slot] = NULL_HANDLER
                self.hub.free_slots += (self.slot,)

    def loop_closed(self) -> None:
        """Free the operation: the loop has ended, and with it the watcher in C."""
        super().loop_closed()
        if self.owner is not None:
            release_operation(self.owner)
            self.owner = None


def emitsig(pid: int, signal: str | int) -> bool:
    """Send `signal` to the process `pid`; return True.

    signal: a word, name or number as in `awaitsig`, "kill" (SIGKILL) or "pause" (SIGSTOP), which no process can handle,
    or 0, which only checks whether a signal could be sent.
    pid: 0: all processes of the caller's group; less than 0: those of the group -pid; -1: all processes.
    Raises TypeError, ValueError (unknown name, out of range), or `UVError`: ESRCH, EPERM, EINVAL. Source: uv_kill.
    """
    number = signal_number("signal", signal)
    check_pid(pid)
    check(lib.uv_kill(pid, number), "uv_kill")
    return True


def check_pid(pid: object) -> int:
    """Return `pid` if it can be the number of a process. Raises TypeError, ValueError."""
    return check_int("pid", pid, -(2**31), 2**31 - 1)
