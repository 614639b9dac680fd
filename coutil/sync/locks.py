"""`Lock`, `Semaphore` and `BoundedSemaphore`.

A signal handler that runs in the middle of `acquire` may itself acquire or release. So an `acquire` that has to wait
joins the queue first, and checks again after that: a release in between either found the waiter in the queue, or left
the lock free, which the second check sees.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Self
from weakref import ref

from greenlet import getcurrent

from .._coroutines import Coroutine, Resumed, current_context, is_yieldable, running
from .._interpreter import get_ident
from .._kernel import Callback
from ..scopes import timeout
from .waiters import (
    Primitive,
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
    """One call of `acquire` that waits."""

    __slots__ = ()
    verb = "acquire"


class _LockWaiter(_AcquireWaiter):
    """One call of `Lock.acquire` that waits; `owner_ref` (weak) becomes the owner of the lock."""

    __slots__ = ("owner_ref",)
    primitive: Lock

    def __init__(self, primitive: Lock, owner_ref: ref[Coroutine]) -> None:
        super().__init__(primitive)
        self.owner_ref = owner_ref

    @property
    def owner(self) -> Coroutine | None:  # type: ignore[override]  # it is read only
        """The present owner of the lock."""
        return self.primitive.owner


class Lock(Primitive):
    """Mutual exclusion: one coroutine at a time owns the lock. As a context manager it is owned during the block.

    A coroutine that ends does not release its locks. One that is collected while it is suspended in a `with` block of
    the lock does: the block ends.
    """

    __slots__ = ("_owner", "_waiters")

    def __init__(self) -> None:
        super().__init__()
        self._waiters = WaitQueue()  # empty unless the lock is owned
        self._owner: ref[Coroutine] | None = None  # weak, so that an owner can be collected

    def acquire(self, blocking: bool = True, *, timeout: float | None = None) -> bool:
        """Make the running coroutine the owner of the lock, after all coroutines that queued before it.

        Returns True; False only if `blocking` is false and the lock is not free. Suspends if it is not free; an
        explicit resume does not end the wait. Raises RuntimeError (the caller owns it already), `Timeout`,
        `NotYieldable` and `ForeignThread`.
        """
        if self._thread != get_ident():
            self._check_thread()
        me = running()
        own_ref = ref(me)  # before the check: a signal handler may run in a call, and acquire the lock
        if self._owner is None:
            self._owner = own_ref
            return True
        if self._owner() is me:
            raise RuntimeError(f"{me.name} owns {self!r} already")
        waiter = _LockWaiter(self, own_ref)
        del me  # the registry alone keeps a coroutine that waits
        if not blocking:
            return False
        queue = self._waiters
        # Join the queue, then check again; no signal handler can run from here to the wait
        queue[waiter] = None
        if self._owner is None:
            del queue[waiter]  # type: ignore[unreachable]  # released while the waiter was made
            self._owner = own_ref
            return True
        try:
            wait_with_timeout(timeout, wait_uninterrupted, waiter)
        except BaseException:
            try:
                cancel_wait(queue, waiter, self._release)
            except BaseException:  # raised by a second signal handler
                cancel_wait(queue, waiter, self._release)
                raise
            raise
        return True

    def release(self) -> None:
        """Grant the lock, which the running coroutine must own, to the longest waiter.

        Never suspends, and switches to no coroutine: the hub resumes the waiter. Raises RuntimeError (the caller does
        not own the lock) and `ForeignThread`.
        """
        self._check_owned()
        self._release()

    def locked(self) -> bool:
        """Return whether the lock is owned."""
        return self._owner is not None

    @property
    def owner(self) -> Coroutine | None:
        """The coroutine that owns the lock; None if the lock is free, or its owner has been collected."""
        owner = self._owner
        return owner() if owner is not None else None

    def __enter__(self) -> Self:
        """Acquire it, as `acquire` does; return it."""
        self.acquire()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Release the lock. If an exception leaves the block, a lock that was lost is no further error."""
        if kind is None or self._owned():
            self.release()

    def __repr__(self) -> str:
        """Owner and number of waiters."""
        owner = self.owner
        return self._format_repr(f"held by {owner.name}", self._waiters) if owner else self._label()

    def _label(self) -> str:
        lost = self._owner is not None and self._owner() is None
        return self._format_repr("lost" if lost else "locked" if self._owner else "free", self._waiters)

    def _owned(self) -> bool:
        """Return whether the caller owns the lock. Without a coroutine it is the frame of an owner being collected."""
        me: Coroutine | None = getattr(getcurrent(), "coroutine", None)
        owned = self._owner is not None and self._owner() is me
        return owned and (me is not None or self._thread == get_ident())  # other threads may have no coroutine either

    def _check_owned(self) -> None:
        if not self._owned():
            self._check_thread()
            raise RuntimeError(f"the caller does not own {self!r}")

    def _release(self) -> None:
        waiter = grant_first(self._waiters)  # no signal handler can run after its first step
        self._owner = None if waiter is None else waiter.owner_ref

    def _reacquire(self) -> None:
        """Acquire the lock, unless the caller owns it. An exception that is thrown into the wait is raised after it.

        Three kinds of errors end the wait early: those raised in the main program, those raised because the coroutine
        is being collected, and those of a signal handler outside the wait itself.
        """
        me: Coroutine | None = getattr(getcurrent(), "coroutine", None)
        if me is None or self._owned():
            return
        own_ref = ref(me)  # as in acquire()
        waiter = _LockWaiter(self, own_ref)
        queue = self._waiters
        queue[waiter] = None
        if self._owner is None:
            del queue[waiter]
            self._owner = own_ref
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
    """Wait for a lock; return the last exception thrown into the wait. Raises at once in the main program."""
    thrown: BaseException | None = None
    while not waiter.granted:
        try:
            wait(waiter)
        except Resumed:  # an explicit resume does not end the wait
            continue
        except BaseException as error:
            if not is_yieldable():
                raise
            thrown = error
    return thrown


class Semaphore(Primitive):
    """A number of permits, without an upper limit. As a context manager it takes one during the block.

    value: the number of permits at the start (int). With `Semaphore(0)` other coroutines release the first permit, as
    with `threading.Semaphore`. Raises TypeError, ValueError (negative).
    """

    __slots__ = ("_value", "_waiters")

    def __init__(self, value: int = 1) -> None:
        check_integer("value", value, 0)
        super().__init__()
        self._waiters = WaitQueue()  # empty unless all permits are taken
        self._value = value

    def acquire(self, blocking: bool = True, *, timeout: float | None = None) -> bool:
        """Take a permit, after all coroutines that queued before the caller.

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
            del queue[waiter]  # type: ignore[unreachable]  # as in Lock.acquire()
            self._value -= 1
            return True
        try:
            wait_with_timeout(timeout, wait_uninterrupted, waiter)
        except BaseException:
            try:
                cancel_wait(queue, waiter, self._release)
            except BaseException:  # raised by a second signal handler
                cancel_wait(queue, waiter, self._release)
                raise
            raise
        return True

    def release(self, n: int = 1) -> None:
        """Grant `n` permits (int, > 0) to the longest waiters; keep those that are left.

        Any coroutine may release, not only one that has acquired. Never suspends, and switches to no coroutine: the hub
        resumes the waiters. Works anywhere. Raises TypeError, ValueError (`n`) and `ForeignThread`.
        """
        if self._thread != get_ident():
            self._check_thread()
        if n.__class__ is not int or n < 1:
            check_integer("n", n, 1)
        self._release(n)

    @property
    def value(self) -> int:
        """The number of permits that are left."""
        return self._value

    def locked(self) -> bool:
        """Return whether no permit is left."""
        return not self._value

    def __enter__(self) -> Self:
        """Acquire it, as `acquire` does; return it."""
        self.acquire()
        return self

    def __exit__(self, *_: object) -> None:
        """Release one permit."""
        self.release()

    def __repr__(self) -> str:
        """Number of permits left, and of waiters."""
        return self._format_repr(str(self._value), self._waiters)

    def _release(self, n: int = 1) -> None:
        if n > 1:
            self._release_several(n)
        elif grant_first(self._waiters) is None:  # no signal handler can run after its first step
            self._value += 1

    def _release_several(self, n: int) -> None:
        if self._waiters:
            current_context().enqueue(Callback(self._grant_waiters))
        self._value += n  # no signal handler can run between here and the entry in the ready queue
        self._grant_waiters()

    def _grant_waiters(self) -> None:
        """Grant the permits that are left to the waiters. May be repeated."""
        while self._value:
            if grant_first(self._waiters) is None:  # not a part of the condition: Python 3.13 goes back to the loop's
                return  # beginning behind that, where a signal handler can run, and only then to the next line
            self._value -= 1


class BoundedSemaphore(Semaphore):
    """A `Semaphore` with an upper limit: releasing more than was acquired raises, as in `threading.BoundedSemaphore`.

    value: the number of permits at the start (int), and their upper limit. Raises TypeError, ValueError (negative).
    """

    __slots__ = ("_limit",)

    def __init__(self, value: int = 1) -> None:
        super().__init__(value)
        self._limit = value

    def release(self, n: int = 1) -> None:
        """As `Semaphore.release`. Also raises ValueError if there would be more permits than at the start."""
        self._check_thread()
        check_integer("n", n, 1)
        if self._value + n > self._limit:
            raise ValueError(f"{self!r} was released more often than acquired")
        self._release(n)

    def __repr__(self) -> str:
        """Number of permits left, their limit, and the number of waiters."""
        return self._format_repr(f"{self._value}/{self._limit}", self._waiters)
