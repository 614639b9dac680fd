"""Tools for tests of programs that use coutil: a clock that stands still.

    with manual_clock() as clock:
        spawn.call(program)
        clock.advance(30)
        system.run("ready")

It is the clock of `system.suspend`, of `system.time` (not "epoch") and of deadlines. The timers and the time of a loop
of `coutil.uv` (`uv.Timer`, `Loop.now`) and everything outside coutil use the system's clock.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

from ._coroutines import AWAIT_HANDLE
from ._kernel import Callback, Hub, Operation, current_hub
from ._kernel import ignore_threads as _ignore_threads
from ._libuv.clock import FOREVER, Clock
from .scopes.deadline_timer import DeadlineTimer

__all__ = ["ManualClock", "ignore_threads", "manual_clock"]


def ignore_threads() -> None:
    """Ignore the other OS threads that run Python code now when the hub looks for a deadlock.

    Each of them could wake a coroutine, so a program with threads waits instead of raising `errors.Deadlock`. Threads
    of a test runner (pytest-xdist) wake none, and would hide each deadlock from the tests: a `conftest.py` calls this
    before the first test. Threads that begin later are not ignored. A further call replaces the set of threads.
    """
    _ignore_threads()


@contextmanager
def manual_clock() -> Iterator[ManualClock]:
    """Give the hub of the calling thread a clock that stands still, for the duration of a block.

    It moves by `advance`, and jumps to the next timer when nothing but time can wake a coroutine. It begins at the time
    of the previous clock, which is restored at the end of the block, and may be a manual one, too.
    Raises RuntimeError if a timer is already waiting, including a deadline around the block; and at the end, unless an
    exception leaves the block, if a timer still waits for this clock: it would never fire.
    """
    hub = current_hub()
    if waiting := sum(map(_waits_for_time, hub.handlers)):
        raise RuntimeError(f"{_timers(waiting)} already waiting: a clock can only be replaced while no timer waits")
    previous, timers = hub.clock, _ManualTimers(hub)
    hub.clock = timers
    try:
        yield ManualClock(timers)
    finally:
        hub.clock = previous
    if waiting := len(timers.heap) + len(timers.endless):
        raise RuntimeError(f"{_timers(waiting)} still waiting for this manual clock, which will not advance again")


def _waits_for_time(owner: object) -> bool:
    return isinstance(owner, DeadlineTimer) or (isinstance(owner, Operation) and owner.state is AWAIT_HANDLE)


def _timers(count: int) -> str:
    return f"{count} timer{'s are' if count > 1 else ' is'}"


class ManualClock:
    """A clock that stands still until `advance` is called, or until nothing but time can wake a coroutine."""

    __slots__ = ("__weakref__", "_timers")

    def __init__(self, timers: _ManualTimers) -> None:
        """Make the public half of `timers`: see `manual_clock`."""
        self._timers = timers

    def __repr__(self) -> str:
        """Return the time."""
        return f"<ManualClock {self.time / 1e9:.9g} s>"

    @property
    def time(self) -> int:
        """The time in nanoseconds (`system.time()` has the same in seconds)."""
        return self._timers.time

    def advance(self, seconds: float | None = None) -> bool:
        """Advance the clock by `seconds`, or, if that is None, to the next timer that keeps the loop alive.

        Timers that are due then fire in the hub's next turn, in the order of their times. Returns whether any are.
        Raises TypeError, or ValueError (negative, NaN, infinite).
        """
        return self._timers.advance(seconds)


class _ManualTimers(Clock):
    """The clock that the hub uses in place of its own: the time, and the timers that wait for it."""

    __slots__ = ("endless", "heap", "hub", "idle", "time")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub.loop)
        self.hub = hub
        self.time = hub.clock.now()
        self.heap: list[tuple[int, int, int]] = []  # due, generation (increasing), slot
        self.idle: set[int] = set()  # slots of timers that do not keep the loop alive
        self.endless: set[int] = set()  # slots of timers that never fire

    def now(self) -> int:
        """Return the time in nanoseconds."""
        return self.time

    def update(self) -> int:
        """Return the time, which only `advance` changes."""
        return self.time

    def start(self, slot: int, generation: int, nanoseconds: int) -> None:
        """See `Clock`. A timer that never fires is not in the heap: it does not keep the loop alive."""
        if nanoseconds >= FOREVER:
            self.endless.add(slot)
        else:
            heappush(self.heap, (self.time + nanoseconds, generation, slot))

    def stop(self, slot: int) -> None:
        """See `Clock`."""
        self.heap = sorted(entry for entry in self.heap if entry[2] != slot)
        self.idle.discard(slot)
        self.endless.discard(slot)

    def hold(self, slot: int, hold: bool) -> None:
        """See `Clock`."""
        if slot not in self.endless:
            (self.idle.discard if hold else self.idle.add)(slot)

    def pending(self) -> int:
        """Return the number of timers that keep the loop alive."""
        return len(self.heap) - len(self.idle)

    def advance(self, seconds: float | None = None) -> bool:
        """See `ManualClock.advance`; the hub calls it when nothing but time can wake a coroutine."""
        if seconds is None:
            seconds = max(self.heap[0][0] - self.time, 0) / 1e9 if self.pending() else 0
        self.time += round(_check_seconds(seconds) * 1e9)
        fired = False
        while self.heap and self.heap[0][0] <= self.time:
            _, generation, slot = heappop(self.heap)
            self.idle.discard(slot)
            # Like a record of libuv
            self.hub.enqueue(Callback(self.hub.complete_now, slot, generation, 0))
            fired = True
        return fired


def _check_seconds(seconds: float) -> float:
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds must be a number or None, not {seconds!r}")
    if not 0 <= seconds < math.inf:
        raise ValueError(f"seconds must be a finite number, 0 or more, not {seconds!r}")
    return seconds
