"""`Barrier`."""

from __future__ import annotations

from threading import BrokenBarrierError

from .waiters import (
    Primitive,
    Waiter,
    WaitQueue,
    abandon_wait,
    check_integer,
    grant_all,
    wait_uninterrupted,
    wait_with_timeout,
)


class _BarrierWaiter(Waiter):
    """A call of `wait`; `granted` becomes false if the barrier is broken."""

    __slots__ = ()


class Barrier(Primitive):
    """A place where coroutines wait for each other: all go on as soon as `parties` of them (int, > 0) have come.

    Then it serves the next round. If one of them gives up, it is broken: nobody can pass until `reset`. As a context
    manager it waits at the beginning of the block. Raises TypeError, ValueError.
    """

    __slots__ = ("_broken", "_parties", "_waiters")

    def __init__(self, parties: int) -> None:
        check_integer("parties", parties, 1)
        super().__init__()
        self._parties = parties
        self._broken = False
        self._waiters = WaitQueue()

    def wait(self, *, timeout: float | None = None) -> int:
        """Wait until all parties have come.

        Returns how many had come before the caller in this round (int): one gets 0, the last one does not suspend. An
        explicit resume does not end the wait. Raises `threading.BrokenBarrierError` if the barrier is broken, or is
        broken or reset meanwhile; `Timeout`, or whatever is thrown, and that breaks it; `ForeignThread`.
        """
        self._check_thread()
        if self._broken:
            raise BrokenBarrierError(f"{self!r} is broken")
        waiter = _BarrierWaiter(self)
        index = len(self._waiters)
        if index == self._parties - 1:
            grant_all(self, True)
            return index
        try:
            self._waiters[waiter] = None
            wait_with_timeout(timeout, wait_uninterrupted, waiter)
        except BaseException:
            try:
                self._cancel_wait(waiter)
            except BaseException:  # of a second signal handler
                self._cancel_wait(waiter)
                raise
            raise
        if not waiter.granted:
            raise BrokenBarrierError(f"{self!r} was broken or reset")
        return index

    def reset(self) -> None:
        """Make the barrier as new; those who wait get `threading.BrokenBarrierError`. Raises `ForeignThread`."""
        self._check_thread()
        self._broken = False
        grant_all(self, False)

    def abort(self) -> None:
        """Break the barrier; those who wait get `threading.BrokenBarrierError`. Raises `ForeignThread`."""
        self._check_thread()
        self._broken = True
        grant_all(self, False)

    @property
    def parties(self) -> int:
        """How many have to come."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """How many have come."""
        return len(self._waiters)

    @property
    def broken(self) -> bool:
        """Whether nobody can pass."""
        return self._broken

    def __enter__(self) -> int:
        """As `wait`."""
        return self.wait()

    def __exit__(self, *_: object) -> None:
        """Nothing."""

    def __repr__(self) -> str:
        """How many have come, of how many."""
        return self._format_repr(f"{len(self._waiters)}/{self._parties}{' broken' * self._broken}", WaitQueue())

    def _cancel_wait(self, waiter: Waiter) -> None:
        """End a wait that was cut: the barrier is broken. May be repeated."""
        abandon_wait(waiter)
        if waiter in self._waiters:
            self.abort()
