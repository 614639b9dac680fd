"""`Condition`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any, Self

from .._coroutines import Coroutine, Resumed, is_yieldable
from ..scopes.deadline import call_timeout
from .locks import Lock
from .waiters import (
    Primitive,
    Waiter,
    WaitQueue,
    abandon_wait,
    check_integer,
    grant_all,
    grant_first,
    wait,
    wait_with_timeout,
)


class _ConditionWaiter(Waiter):
    """A call of `wait`; it is done as soon as it is notified, and has to get the lock then."""

    __slots__ = ()


class Condition(Primitive):
    """A lock whose owners can wait until another owner tells them that something has changed.

    lock: the `Lock` to use, which several conditions may share; by default a new one. Raises TypeError. As a context
    manager it is the lock.
    """

    __slots__ = ("_lock", "_waiters")

    def __init__(self, lock: Lock | None = None) -> None:
        if lock is not None and not isinstance(lock, Lock):
            raise TypeError(f"lock must be a Lock or None, not {lock!r}")
        super().__init__()
        self._lock = Lock() if lock is None else lock
        self._waiters = WaitQueue()

    def acquire(self, blocking: bool = True, *, timeout: float | None = None) -> bool:
        """As `Lock.acquire`."""
        return self._lock.acquire(blocking, timeout=timeout)

    def release(self) -> None:
        """As `Lock.release`."""
        self._lock.release()

    def locked(self) -> bool:
        """As `Lock.locked`."""
        return self._lock.locked()

    @property
    def owner(self) -> Coroutine | None:
        """As `Lock.owner`."""
        return self._lock.owner

    def wait(self, *, timeout: float | None = None) -> Any:
        """Release the lock, wait until somebody notifies the condition, and acquire the lock again.

        Returns True; or what an explicit resume brings, if that came first. Suspends. Raises RuntimeError (the caller
        does not own the lock), `Timeout` (not notified in time), `ForeignThread`, and whatever is thrown. The caller
        owns the lock again then, however long that takes; it does not only if something is raised in the main program
        while it waits for the lock (`Deadlock`, KeyboardInterrupt). A notification of somebody who does not return it
        goes to the next one.
        """
        self._lock._check_owned()
        waiter, brought = _ConditionWaiter(self), None
        self._waiters[waiter] = None  # from here to the release nothing looks for signals
        try:
            self._lock._release()
            try:
                wait_with_timeout(timeout, _until_notified, waiter)
            except Resumed as resumed:
                brought = resumed.value
            self._waiters.pop(waiter, None)
            self._lock._reacquire()
        except BaseException:
            try:
                self._cancel_wait(waiter)
            except BaseException:  # of a second signal handler, or what was thrown while it waited for the lock
                if is_yieldable():
                    self._cancel_wait(waiter)
                raise
            raise
        return True if waiter.granted else brought

    def wait_for(self, predicate: Callable[[], Any], *, timeout: float | None = None) -> Any:
        """Wait until predicate() is true; it is called by the owner of the lock, at first and after each notification.

        Returns what it returned then. Explicit resumes only make it look once more. Everything else is as in `wait`;
        `timeout` is for all of it.
        """
        self._lock._check_owned()
        with nullcontext() if timeout is None else call_timeout(timeout):
            while not (result := predicate()):
                self.wait()
        return result

    def notify(self, n: int = 1) -> None:
        """End the waits of up to `n` coroutines (int, >= 0) that have waited longest; they line up for the lock.

        Never suspends. Raises RuntimeError (the caller does not own the lock), TypeError, ValueError, `ForeignThread`.
        """
        self._lock._check_owned()
        check_integer("n", n, 0)
        self._notify(n)

    def notify_all(self) -> None:
        """As `notify`, for everybody who waits."""
        self._lock._check_owned()
        grant_all(self, True)

    def __enter__(self) -> Self:
        """Acquire the lock; return the condition."""
        self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        """As that of `Lock`."""
        self._lock.__exit__(*error)

    def __repr__(self) -> str:
        """How many wait."""
        return self._format_repr("", self._waiters)

    def _notify(self, n: int) -> None:
        queue = self._waiters
        try:
            while n > 0 and grant_first(queue) is not None:
                n -= 1
        except BaseException:  # of a signal handler
            while n > 0 and grant_first(queue) is not None:
                n -= 1
            raise

    def _cancel_wait(self, waiter: Waiter) -> None:
        """End a wait that was cut: own the lock again, and pass a notification on. May be repeated until it returns."""
        abandon_wait(waiter)
        self._waiters.pop(waiter, None)
        self._lock._reacquire()
        if waiter.granted:
            grant_first(self._waiters)
            waiter.granted = False


def _until_notified(waiter: Waiter) -> None:
    """Wait once, unless whoever got the lock has notified already; nobody else is resumed by an explicit resume."""
    if not waiter.granted:
        wait(waiter)
