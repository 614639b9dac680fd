"""The timer of a block."""

from __future__ import annotations

from collections.abc import Callable

from .._kernel.entries import NOBODY, Slotted
from .._kernel.hub import Hub

__all__ = ["Alarm"]


class Alarm(Slotted):
    """A timer of the hub, for a block's deadline."""

    __slots__ = ("expire", "generation", "hub", "slot")

    def __init__(self, hub: Hub, expire: Callable[[], None]) -> None:
        self.hub, self.expire = hub, expire
        self.slot = self.generation = -1

    def start(self, nanoseconds: int) -> None:
        """Start the timer; whoever calls has noted us before, and stops it if an exception ends the block."""
        hub = self.hub
        self.slot = hub.take(self)
        self.generation = hub.generation
        try:
            hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            self.stop()
            hub.check()
            raise

    def hold(self, hold: bool) -> None:
        """Set whether the loop is alive for this timer's sake."""
        if self.generation >= 0:
            self.hub.clock.hold(self.slot, hold)

    def deliver(self, generation: int, result: int, where: int) -> bool:
        """The time has come."""
        if generation != self.generation:
            return False
        hub = self.hub  # from here on nothing looks for signals: see deliveries.py
        del hub.records[0]
        hub.owners[self.slot] = NOBODY
        hub.free += (self.slot,)
        self.generation = -1
        try:
            self.expire()
        except BaseException:  # raised by a signal handler, before the block knows that its time is up
            hub.home.call_soon(self.expire)
            raise
        return True

    def stop(self) -> None:
        """Forget the timer, unless it has fired. May be repeated."""
        if self.generation >= 0:
            hub = self.hub
            hub.clock.stop(self.slot)
            hub.owners[self.slot] = NOBODY
            hub.free += (self.slot,)
            self.generation = -1

    def lost(self) -> None:
        """The loop is gone."""
        self.generation = -1
