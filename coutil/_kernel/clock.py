"""Where the hub's time comes from. Everything that is about time asks one of these two classes."""

from __future__ import annotations

from heapq import heappop, heappush
from typing import TYPE_CHECKING

from .._libuv import check, lib
from .._libuv.loop import Loop

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["Clock", "ManualClock"]


class Clock:
    """The system's monotonic clock, with libuv's timers."""

    __slots__ = ("loop",)

    def __init__(self, loop: Loop) -> None:
        """`loop` keeps the cached time."""
        self.loop = loop

    def now(self) -> int:
        """Return the cached time in nanoseconds; it changes only between turns and by `update`."""
        return self.loop.now()

    def update(self) -> int:
        """Refresh the cached time and return it."""
        lib.co_update(self.loop.pointer)
        return self.loop.now()

    def start(self, slot: int, generation: int, nanoseconds: int) -> None:
        """Record (slot, generation) when `nanoseconds` have passed since the cached time; never earlier."""
        check(lib.co_timer_start(self.loop.pointer, slot, generation, nanoseconds), "uv_timer_start")

    def stop(self, slot: int) -> None:
        """Forget the timer of `slot`, if it has not fired."""
        lib.co_timer_stop(self.loop.pointer, slot)

    def pending(self) -> int:
        """Return how many timers wait that libuv does not know of."""
        return 0

    def advance(self, seconds: float | None = None) -> bool:
        """Let time pass if it is ours; return whether that made anything ready."""
        return False


class ManualClock(Clock):
    """A clock that stands still until `advance` is called, or until nothing but time can bring anything."""

    __slots__ = ("heap", "hub", "time")

    def __init__(self, hub: Hub) -> None:
        """Use it by `hub.clock = ManualClock(hub)`, before any timer is started."""
        super().__init__(hub.loop)
        self.hub = hub
        self.time = hub.loop.now()
        self.heap: list[tuple[int, int, int]] = []  # due, generation (increasing), slot

    def now(self) -> int:
        """Return the time in nanoseconds."""
        return self.time

    def update(self) -> int:
        """Return the time: it does not pass by itself."""
        return self.time

    def start(self, slot: int, generation: int, nanoseconds: int) -> None:
        """As in `Clock`."""
        heappush(self.heap, (self.time + nanoseconds, generation, slot))

    def stop(self, slot: int) -> None:
        """As in `Clock`."""
        self.heap = sorted(entry for entry in self.heap if entry[2] != slot)

    def pending(self) -> int:
        """Return how many timers wait."""
        return len(self.heap)

    def advance(self, seconds: float | None = None) -> bool:
        """Let `seconds` (>= 0) pass, or the time up to the next timer; what is due fires in the hub's next turn."""
        if seconds is None:
            seconds = max(self.heap[0][0] - self.time, 0) / 1e9 if self.heap else 0
        self.time += round(seconds * 1e9)
        fired = False
        while self.heap and self.heap[0][0] <= self.time:
            _, generation, slot = heappop(self.heap)
            self.hub.ready.append(_Due(self.hub, slot, generation))
            fired = True
        return fired


class _Due:
    """An entry of the ready queue: a timer of the manual clock that has fired."""

    __slots__ = ("generation", "hub", "slot")
    stale = 1  # no coroutine enters it directly
    waiter = None  # that is the owner's

    def __init__(self, hub: Hub, slot: int, generation: int) -> None:
        self.hub, self.slot, self.generation = hub, slot, generation

    def fire(self) -> None:
        """Deliver the record that libuv would have written."""
        self.hub.owners[self.slot].deliver(self.generation, 0, 0)

    def lost(self) -> None:
        """The owner is told by itself."""
