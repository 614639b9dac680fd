"""The source of the hub's time. All code that needs the time asks `hub.clock`; tests replace it."""

from __future__ import annotations

from . import check, lib
from .loop import NativeLoop

__all__ = ["FOREVER", "Clock"]

FOREVER = 2**62  # nanoseconds, 146 years: a timer of this length, or a longer one, never fires


class Clock:
    """The system's monotonic clock, with libuv's timers."""

    __slots__ = ("loop",)

    def __init__(self, loop: NativeLoop) -> None:
        """Use the cached time of `loop`."""
        self.loop = loop

    def now(self) -> int:
        """Return the cached time in nanoseconds; it changes only between turns and by `update`."""
        return self.loop.now()

    def update(self) -> int:
        """Refresh the cached time and return it."""
        lib.co_update(self.loop.pointer)
        return self.loop.now()

    def start(self, slot: int, generation: int, nanoseconds: int) -> None:
        """Have a record for (slot, generation) made when `nanoseconds` have passed from now on, never earlier."""
        check(lib.co_timer_start(self.loop.pointer, slot, generation, nanoseconds), "uv_timer_start")

    def stop(self, slot: int) -> None:
        """Stop the timer of `slot`, if it has not fired."""
        lib.co_timer_stop(self.loop.pointer, slot)

    def hold(self, slot: int, hold: bool) -> None:
        """Set whether the timer of `slot`, if it has not fired, keeps the loop alive. By default it does."""
        lib.co_timer_hold(self.loop.pointer, slot, hold)

    def pending(self) -> int:
        """Return the number of timers that libuv does not know and that keep the loop alive."""
        return 0

    def advance(self, seconds: float | None = None) -> bool:
        """Let time pass if this clock controls it; return whether that made anything ready."""
        return False
