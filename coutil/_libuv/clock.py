"""Where the hub's time comes from. Whatever is about time asks `hub.clock`; tests put another in its place."""

from __future__ import annotations

from . import check, lib
from .loop import Loop

__all__ = ["FOREVER", "Clock"]

FOREVER = 2**62  # nanoseconds, 146 years: a timer of so many, or more, never fires


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
        """Record (slot, generation) when `nanoseconds` have passed from now on; never earlier."""
        check(lib.co_timer_start(self.loop.pointer, slot, generation, nanoseconds), "uv_timer_start")

    def stop(self, slot: int) -> None:
        """Forget the timer of `slot`, if it has not fired."""
        lib.co_timer_stop(self.loop.pointer, slot)

    def hold(self, slot: int, hold: bool) -> None:
        """Set whether the timer of `slot`, if it has not fired, keeps the loop alive; it does unless told otherwise."""
        lib.co_timer_hold(self.loop.pointer, slot, hold)

    def pending(self) -> int:
        """Return how many timers keep the loop alive that libuv does not know of."""
        return 0

    def advance(self, seconds: float | None = None) -> bool:
        """Let time pass if it is ours; return whether that made anything ready."""
        return False
