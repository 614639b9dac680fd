"""`Barrier`: a meeting point for a fixed number of coroutines."""

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
    """One call of `wait`; `granted` becomes False if the barrier is broken."""

    __slots__ = ()


class Barrier(Primitive):
    """A meeting point: each coroutine waits until `parties` of them (int, > 0) have arrived; then all go on.

    After that the next round begins. If a waiter gives up, the barrier is broken: no coroutine passes until `reset`. As
    a context manager it waits at the beginning of the block. Raises TypeError, ValueError.
    """

    __slots__ = ("_broken", "_parties", "_waiters")

    def __init__(self, parties: int) -> None:
        check_integer("parties", parties, 1)
        super().__init__()
        self._parties = parties
        self._broken = False
        self._waiters = WaitQueue()

    def wait(self, *, timeout: float | None = None) -> int:
        """Wait until all parties have arrived.

        Returns the number of coroutines that arrived before the caller in this round (int): the first one gets 0; the
        last one does not suspend. An explicit resume does not end the wait. Raises `threading.BrokenBarrierError` if
        the barrier is broken, or is broken or reset during the wait; `Timeout`, or any exception that is thrown into
        the waiter, which breaks the barrier; `ForeignThread`.
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
            except BaseException:  # raised by a second signal handler
                self._cancel_wait(waiter)
                raise
            raise
        if not waiter.granted:
            raise BrokenBarrierError(f"{self!r} was broken or reset")
        return index

    def reset(self) -> None:
        """Mend the barrier and empty it; its waiters get `threading.BrokenBarrierError`. Raises `ForeignThread`."""
        self._check_thread()
        self._broken = False
        grant_all(self, False)

    def abort(self) -> None:
        """Break the barrier; its waiters get `threading.BrokenBarrierError`. Raises `ForeignThread`."""
        self._check_thread()
        self._broken = True
        grant_all(self, False)

    @property
    def parties(self) -> int:
        """The number of coroutines that a round needs."""
        return self._parties

    @property
    def n_waiting(self) -> int:
        """The number of coroutines that wait in this round."""
        return len(self._waiters)

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken: `wait` raises until `reset`."""
        return self._broken

    def __enter__(self) -> int:
        """Wait, as `wait` does; return the index."""
        return self.wait()

    def __exit__(self, *_: object) -> None:
        """Do nothing."""

    def __repr__(self) -> str:
        """Name and `arrived/parties`."""
        return self._format_repr(f"{len(self._waiters)}/{self._parties}{' broken' * self._broken}", WaitQueue())

    def _cancel_wait(self, waiter: Waiter) -> None:
        """Undo a wait that was cancelled, which breaks the barrier. May be repeated."""
        abandon_wait(waiter)
        if waiter in self._waiters:
            self.abort()
