"""For tests of programs that use coutil: a clock that stands still.

with manual_clock() as clock:
spawn.call(program)
clock.advance(30)
system.run("ready")
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from heapq import heappop, heappush

from ._kernel.entries import Entry
from ._kernel.hub import LUCK, Hub, this_hub
from ._libuv.clock import Clock

__all__ = ["ManualClock", "manual_clock"]


@contextmanager
def manual_clock() -> Iterator[ManualClock]:
    """Give the hub of the calling thread a clock that stands still, for the duration of a block without timers before.

    It moves by `advance`, and jumps to the next timer when nothing but time can bring anything.
    """
    hub = this_hub()
    hub.clock = made = ManualClock(hub)
    try:
        yield made
    finally:
        hub.clock = Clock(hub.loop)


class ManualClock(Clock):
    """A clock that stands still until `advance` is called, or until nothing but time can bring anything."""

    __slots__ = ("heap", "hub", "idle", "time")

    def __init__(self, hub: Hub) -> None:
        """Use `manual_clock`."""
        super().__init__(hub.loop)
        self.hub = hub
        self.time = hub.loop.now()
        self.heap: list[tuple[int, int, int]] = []  # due, generation (increasing), slot
        self.idle: set[int] = set()  # slots of those that do not keep the loop alive

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
        self.idle.discard(slot)

    def hold(self, slot: int, hold: bool) -> None:
        """As in `Clock`."""
        (self.idle.discard if hold else self.idle.add)(slot)

    def pending(self) -> int:
        """Return how many timers keep the loop alive."""
        return len(self.heap) - len(self.idle)

    def advance(self, seconds: float | None = None) -> bool:
        """Let `seconds` (>= 0) pass, or the time up to the next timer; what is due fires in the hub's next turn."""
        if seconds is None:
            seconds = max(self.heap[0][0] - self.time, 0) / 1e9 if self.pending() else 0
        self.time += round(seconds * 1e9)
        fired = False
        while self.heap and self.heap[0][0] <= self.time:
            _, generation, slot = heappop(self.heap)
            self.idle.discard(slot)
            self.hub.ready.append(_Due(self.hub, slot, generation))
            fired = True
        return fired


class _Due(Entry):
    """A timer of the manual clock that has fired. Who waits for it is the owner's matter, and so is the end."""

    __slots__ = ("generation", "hub", "slot")

    def __init__(self, hub: Hub, slot: int, generation: int) -> None:
        self.hub, self.slot, self.generation = hub, slot, generation

    def fire(self) -> None:
        """Deliver the record that libuv would have written."""
        self.hub.luck = LUCK
        self.hub.owners[self.slot].deliver(self.generation, 0, 0)
