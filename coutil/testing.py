"""For tests of programs that use coutil: a clock that stands still.

    with manual_clock() as clock:
        spawn.call(program)
        clock.advance(30)
        system.run("ready")

It is the time of what waits in coutil: `system.suspend`, `system.time` (not "epoch"), deadlines. Of `coutil.uv`, the
timers and the time of a loop (`uv.Timer`, `Loop.now`) stay with the system's clock, and so does everything outside.
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
    """Have `errors.Deadlock` raised although the other OS threads that run Python code now go on.

    Any of them could wake a coroutine, so a program with threads waits. Those of a test runner (pytest-xdist) do not,
    and would hide each deadlock from the tests; a `conftest.py` calls this before the first one. Threads that begin
    later count. A further call looks anew.
    """
    _ignore_threads()


@contextmanager
def manual_clock() -> Iterator[ManualClock]:
    """Give the hub of the calling thread a clock that stands still, for the duration of a block.

    It moves by `advance`, and jumps to the next timer when nothing but time can bring anything. It begins at the time
    of the clock before it, which is back at the end of the block; that may be a manual one, too.
    Raises RuntimeError if somebody waits for time already, also by a deadline around the block; and at the end, unless
    an exception leaves the block, if somebody waits for the time of this clock still: nothing would ever wake them.
    """
    hub = current_hub()
    if waiting := sum(map(_waits_for_time, hub.handlers)):
        raise RuntimeError(f"{_timers(waiting)} already: a clock can only be replaced while nobody waits for it")
    before, made = hub.clock, _ManualTimers(hub)
    hub.clock = made
    try:
        yield ManualClock(made)
    finally:
        hub.clock = before
    if waiting := len(made.heap) + len(made.endless):
        raise RuntimeError(f"{_timers(waiting)} of a manual clock still, which nobody will turn any more")


def _waits_for_time(owner: object) -> bool:
    return isinstance(owner, DeadlineTimer) or (isinstance(owner, Operation) and owner.state is AWAIT_HANDLE)


def _timers(count: int) -> str:
    return f"{count} timer{'s wait' if count > 1 else ' waits'} for the time"


class ManualClock:
    """A clock that stands still until `advance` is called, or until nothing but time can bring anything."""

    __slots__ = ("__weakref__", "_timers")

    def __init__(self, timers: _ManualTimers) -> None:
        """Use `manual_clock`."""
        self._timers = timers

    def __repr__(self) -> str:
        """The time."""
        return f"<ManualClock {self.time / 1e9:.9g} s>"

    @property
    def time(self) -> int:
        """The time in nanoseconds (`system.time()` has the same in seconds)."""
        return self._timers.time

    def advance(self, seconds: float | None = None) -> bool:
        """Let `seconds` pass, or, if that is None, the time up to the next timer that keeps the loop alive.

        What is due then fires in the hub's next turn, in the order of its time. Returns whether anything is.
        Raises TypeError, or ValueError (negative, NaN, infinite).
        """
        return self._timers.advance(seconds)


class _ManualTimers(Clock):
    """A manual clock as the hub sees it: the time, and the timers that wait for it."""

    __slots__ = ("endless", "heap", "hub", "idle", "time")

    def __init__(self, hub: Hub) -> None:
        super().__init__(hub.loop)
        self.hub = hub
        self.time = hub.clock.now()
        self.heap: list[tuple[int, int, int]] = []  # due, generation (increasing), slot
        self.idle: set[int] = set()  # slots of those that do not keep the loop alive
        self.endless: set[int] = set()  # slots of those that never fire

    def now(self) -> int:
        """Return the time in nanoseconds."""
        return self.time

    def update(self) -> int:
        """Return the time: it does not pass by itself."""
        return self.time

    def start(self, slot: int, generation: int, nanoseconds: int) -> None:
        """As in `Clock`. No time is far enough for a timer that never fires: it does not keep the loop alive."""
        if nanoseconds >= FOREVER:
            self.endless.add(slot)
        else:
            heappush(self.heap, (self.time + nanoseconds, generation, slot))

    def stop(self, slot: int) -> None:
        """As in `Clock`."""
        self.heap = sorted(entry for entry in self.heap if entry[2] != slot)
        self.idle.discard(slot)
        self.endless.discard(slot)

    def hold(self, slot: int, hold: bool) -> None:
        """As in `Clock`."""
        if slot not in self.endless:
            (self.idle.discard if hold else self.idle.add)(slot)

    def pending(self) -> int:
        """Return how many timers keep the loop alive."""
        return len(self.heap) - len(self.idle)

    def advance(self, seconds: float | None = None) -> bool:
        """As `ManualClock.advance`; the hub calls it when nothing but time can bring anything."""
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
