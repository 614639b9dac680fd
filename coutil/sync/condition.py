"""`Condition`: a lock with a queue of coroutines that wait for a change."""

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
    """One call of `wait`; it is granted when it is notified, and acquires the lock after that."""

    __slots__ = ()


class Condition(Primitive):
    """A lock whose owner can wait until another owner notifies it of a change.

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
        """Release the lock, wait until another coroutine notifies the condition, and acquire the lock again.

        Returns True; or the value of an explicit resume that came first. Suspends. Raises RuntimeError (the caller does
        not own the lock), `Timeout` (not notified in time), `ForeignThread`, and any exception that is thrown into the
        waiter. However the wait ends, the caller then owns the lock again, however long that takes. The one exception
        is an error raised in the main program while it waits for the lock (`Deadlock`, KeyboardInterrupt). The
        notification of a waiter that raises is passed to the next waiter.
        """
        self._lock._check_owned()
        waiter, value = _ConditionWaiter(self), None
        self._waiters[waiter] = None  # no signal handler can run from here to the release
        try:
            self._lock._release()
            try:
                wait_with_timeout(timeout, _until_notified, waiter)
            except Resumed as resumed:
                value = resumed.value
            self._waiters.pop(waiter, None)
            self._lock._reacquire()
        except BaseException:
            try:
                self._cancel_wait(waiter)
            except BaseException:  # raised by a second signal handler, or thrown into the wait for the lock
                if is_yieldable():
                    self._cancel_wait(waiter)
                raise
            raise
        return True if waiter.granted else value

    def wait_for(self, predicate: Callable[[], Any], *, timeout: float | None = None) -> Any:
        """Wait until predicate() is true. The caller calls it first, and after each notification, owning the lock.

        Returns its last result. An explicit resume only makes the caller check once more. All else is as in `wait`;
        `timeout` covers the whole call.
        """
        self._lock._check_owned()
        with nullcontext() if timeout is None else call_timeout(timeout):
            while not (result := predicate()):
                self.wait()
        return result

    def notify(self, n: int = 1) -> None:
        """End the waits of the `n` longest waiters (int, >= 0) at most; they queue for the lock.

        Never suspends. Raises RuntimeError (the caller does not own the lock), TypeError, ValueError, `ForeignThread`.
        """
        self._lock._check_owned()
        check_integer("n", n, 0)
        self._notify(n)

    def notify_all(self) -> None:
        """As `notify`, for all waiters."""
        self._lock._check_owned()
        grant_all(self, True)

    def __enter__(self) -> Self:
        """Acquire the lock; return the condition."""
        self._lock.acquire()
        return self

    def __exit__(self, *error: object) -> None:
        """Release the lock, as `Lock` does at the end of its block."""
        self._lock.__exit__(*error)

    def __repr__(self) -> str:
        """Name and number of waiters."""
        return self._format_repr("", self._waiters)

    def _notify(self, n: int) -> None:
        queue = self._waiters
        try:
            while n > 0 and grant_first(queue) is not None:
                n -= 1
        except BaseException:  # raised by a signal handler
            while n > 0 and grant_first(queue) is not None:
                n -= 1
            raise

    def _cancel_wait(self, waiter: Waiter) -> None:
        """Undo a cancelled wait: own the lock again, and pass a notification on. May be repeated until it returns."""
        abandon_wait(waiter)
        self._waiters.pop(waiter, None)
        self._lock._reacquire()
        if waiter.granted:
            grant_first(self._waiters)
            waiter.granted = False


def _until_notified(waiter: Waiter) -> None:
    """Wait once, unless the new owner of the lock has notified already. An explicit resume ends this wait."""
    if not waiter.granted:
        wait(waiter)
