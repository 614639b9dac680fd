"""`Lock`, `Semaphore` and `BoundedSemaphore`."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Self
from weakref import ref

from greenlet import getcurrent

from .._coroutines import Coroutine, Resumed, current_context, is_yieldable, running
from .._interpreter import get_ident
from ..scopes import timeout
from .waiters import (
    Primitive,
    RemainingSteps,
    Waiter,
    WaitQueue,
    cancel_wait,
    check_integer,
    grant_first,
    wait,
    wait_uninterrupted,
    wait_with_timeout,
)


class _AcquireWaiter(Waiter):
    """A call of `acquire` that waits."""

    __slots__ = ()
    verb = "acquire"


class _LockWaiter(_AcquireWaiter):
    """The same for a lock; `who` (weak) becomes its owner."""

    __slots__ = ("owner_ref",)
    primitive: Lock

    def __init__(self, primitive: Lock, who: ref[Coroutine]) -> None:
        super().__init__(primitive)
        self.owner_ref = who

    @property
    def owner(self) -> Coroutine | None:  # type: ignore[override]  # nobody sets it
        """Who has the lock now."""
        return self.primitive.owner


class Lock(Primitive):
    """Mutual exclusion: one coroutine at a time owns the lock. As a context manager it is owned during the block.

    A coroutine that ends does not free its locks; one that is forgotten while it waits in a block of the lock does.
    """

    __slots__ = ("_owner", "_waiters")

    def __init__(self) -> None:
        super().__init__()
        self._waiters = WaitQueue()  # is empty unless the lock is owned
        self._owner: ref[Coroutine] | None = None  # weak, so that owners can be collected

    def acquire(self, blocking: bool = True, *, timeout: float | None = None) -> bool:
        """Make the running coroutine the owner of the lock, as soon as its turn has come.

        Returns True; False only if `blocking` is false and the lock is not free. Suspends if it is not free; an
        explicit resume does not end the wait. Raises RuntimeError (the caller owns it already), `Timeout`,
        `NotYieldable` and `ForeignThread`.
        """
        if self._thread != get_ident():
            self._check_thread()
        me = running()
        mine = ref(me)  # before the look: a signal handler may run in a call, and have others acquire the lock
        if self._owner is None:
            self._owner = mine
            return True
        if self._owner() is me:
            raise RuntimeError(f"{me.name} owns {self!r} already")
        waiter = _LockWaiter(self, mine)
        del me  # a coroutine that waits is kept by the registry alone
        if not blocking:
            return False
        queue = self._waiters
        queue[waiter] = None  # from here to the wait nothing looks for signals
        if self._owner is None:
            del queue[waiter]  # type: ignore[unreachable]  # it was released while the turn was made
            self._owner = mine
            return True
        try:
            wait_with_timeout(timeout, wait_uninterrupted, waiter)
        except BaseException:
            try:
                cancel_wait(queue, waiter, self._release)
            except BaseException:  # of a second signal handler
                cancel_wait(queue, waiter, self._release)
                raise
            raise
        return True

    def release(self) -> None:
        """Give the lock, which the running coroutine must own, to the waiter that came first.

        Never suspends, and runs no other coroutine: the hub resumes the waiter. Raises RuntimeError (the caller is not
        the owner) and `ForeignThread`.
        """
        self._check_owned()
        self._release()

    def locked(self) -> bool:
        """Return whether the lock is owned."""
        return self._owner is not None

    @property
    def owner(self) -> Coroutine | None:
        """The coroutine that owns the lock; None if it is free, or if its owner has ended and is forgotten."""
        owner = self._owner
        return owner() if owner is not None else None

    def __enter__(self) -> Self:
        """Acquire it, as `acquire` does; return it."""
        self.acquire()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """As `release`; but if an exception leaves the block, it is no error that the lock was lost."""
        if kind is None or self._owned():
            self.release()

    def __repr__(self) -> str:
        """Who owns it, and how many wait."""
        owner = self.owner
        return self._format_repr(f"held by {owner.name}", self._waiters) if owner else self._label()

    def _label(self) -> str:
        lost = self._owner is not None and self._owner() is None
        return self._format_repr("lost" if lost else "locked" if self._owner else "free", self._waiters)

    def _owned(self) -> bool:
        """Return whether the caller owns the lock; if the owner is being collected, there is no coroutine any more."""
        me: Coroutine | None = getattr(getcurrent(), "coroutine", None)
        mine = self._owner is not None and self._owner() is me
        return mine and (me is not None or self._thread == get_ident())  # a thread without coroutines has none, either

    def _check_owned(self) -> None:
        if not self._owned():
            self._check_thread()
            raise RuntimeError(f"the caller does not own {self!r}")

    def _release(self) -> None:
        waiter = grant_first(self._waiters)  # from its first step on nothing looks for signals
        self._owner = None if waiter is None else waiter.owner_ref

    def _reacquire(self) -> None:
        """Acquire the lock, unless it is owned, whatever is thrown meanwhile, and then raise that.

        Only what is raised in the main program, because the coroutine is being collected, or by a signal handler
        outside of the wait itself, ends the wait.
        """
        me: Coroutine | None = getattr(getcurrent(), "coroutine", None)
        if me is None or self._owned():
            return
        mine = ref(me)  # as in acquire()
        waiter = _LockWaiter(self, mine)
        queue = self._waiters
        queue[waiter] = None
        if self._owner is None:
            del queue[waiter]
            self._owner = mine
            return
        try:
            with nullcontext() if me.scope is None else timeout(None, shield=True):
                del me
                thrown = _wait_until_granted(waiter)
        except BaseException:
            if waiter in queue:
                del queue[waiter]
            raise
        if thrown is not None:
            try:
                raise thrown
            finally:
                del thrown  # the traceback refers to this frame


def _wait_until_granted(waiter: Waiter) -> BaseException | None:
    """Wait for a lock; return what was thrown meanwhile. What is raised in the main program is raised."""
    thrown: BaseException | None = None
    while not waiter.granted:
        try:
            wait(waiter)
        except Resumed:  # an explicit resume does not end it
            continue
        except BaseException as error:
            if not is_yieldable():
                raise
            thrown = error
    return thrown


class Semaphore(Primitive):
    """A number of permits, which counts freely. As a context manager it takes one during the block.

    value: the number of permits at first (int). `Semaphore(0)` counts something that others release, as
    `threading.Semaphore` does. Raises TypeError, ValueError (negative).
    """

    __slots__ = ("_value", "_waiters")

    def __init__(self, value: int = 1) -> None:
        check_integer("value", value, 0)
        super().__init__()
        self._waiters = WaitQueue()  # is empty unless all permits are taken
        self._value = value

    def acquire(self, blocking: bool = True, *, timeout: float | None = None) -> bool:
        """Take a permit, as soon as the caller's turn has come.

        Returns True; False only if `blocking` is false and there is none. Suspends if there is none; an explicit resume
        does not end the wait. Raises `Timeout` and `ForeignThread`.
        """
        if self._thread != get_ident():
            self._check_thread()
        if self._value:
            self._value -= 1
            return True
        if not blocking:
            return False
        waiter, queue = _AcquireWaiter(self), self._waiters
        queue[waiter] = None  # as in Lock.acquire()
        if self._value:
            del queue[waiter]  # type: ignore[unreachable]  # as there
            self._value -= 1
            return True
        try:
            wait_with_timeout(timeout, wait_uninterrupted, waiter)
        except BaseException:
            try:
                cancel_wait(queue, waiter, self._release)
            except BaseException:  # of a second signal handler
                cancel_wait(queue, waiter, self._release)
                raise
            raise
        return True

    def release(self, n: int = 1) -> None:
        """Give `n` permits (int, > 0) to the waiters that came first; keep those that are left.

        Any coroutine may do it, whichever has acquired them. Never suspends, and runs no other coroutine: the hub
        resumes the waiters. Works anywhere. Raises TypeError, ValueError (`n`) and `ForeignThread`.
        """
        if self._thread != get_ident():
            self._check_thread()
        if n.__class__ is not int or n < 1:
            check_integer("n", n, 1)
        self._release(n)

    @property
    def value(self) -> int:
        """How many permits are left."""
        return self._value

    def locked(self) -> bool:
        """Return whether no permit is left."""
        return not self._value

    def __enter__(self) -> Self:
        """Acquire it, as `acquire` does; return it."""
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """As `release`."""
        self.release()

    def __repr__(self) -> str:
        """How many permits are left, and how many wait."""
        return self._format_repr(str(self._value), self._waiters)

    def _release(self, n: int = 1) -> None:
        if n > 1:
            self._release_several(n)
        elif grant_first(self._waiters) is None:  # from its first step on nothing looks for signals
            self._value += 1

    def _release_several(self, n: int) -> None:
        if self._waiters:
            current_context().enqueue(RemainingSteps(self._grant_waiters))
        self._value += n  # since the hub knows of it nothing looks for signals
        self._grant_waiters()

    def _grant_waiters(self) -> None:
        """Give the permits that are left to those who wait. May be repeated."""
        while self._value and grant_first(self._waiters) is not None:
            self._value -= 1


class BoundedSemaphore(Semaphore):
    """A `Semaphore` of which no more permits can be released than were acquired, as `threading.BoundedSemaphore`.

    value: the number of permits at first (int), which is also the most. Raises TypeError, ValueError (negative).
    """

    __slots__ = ("_limit",)

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._limit = value

    def release(self, n: int = 1) -> None:
        """As `Semaphore.release`. Raises also ValueError: more permits than there were at first."""
        self._check_thread()
        check_integer("n", n, 1)
        if self._value + n > self._limit:
            raise ValueError(f"{self!r} was released more often than acquired")
        self._release(n)

    def __repr__(self) -> str:
        """How many permits are left, of how many, and how many wait."""
        return self._format_repr(f"{self._value}/{self._limit}", self._waiters)
