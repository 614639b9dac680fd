"""The timer of a block."""

from __future__ import annotations

from collections.abc import Callable

from .._kernel import NULL_HANDLER, CompletionHandler, Hub

__all__ = ["DeadlineTimer"]


class DeadlineTimer(CompletionHandler):
    """A timer of the hub, for a block's deadline."""

    __slots__ = ("generation", "hub", "on_expiry", "slot")

    def __init__(self, hub: Hub, expire: Callable[[], None]) -> None:
        self.hub, self.on_expiry = hub, expire
        self.slot = self.generation = -1

    def start(self, nanoseconds: int) -> None:
        """Start the timer; whoever calls has noted us before, and stops it if an exception ends the block."""
        hub = self.hub
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation
        try:
            hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            self.stop()
            hub.check()
            raise

    def set_keepalive(self, hold: bool) -> None:
        """Set whether the loop is alive for this timer's sake."""
        if self.generation >= 0:
            self.hub.clock.hold(self.slot, hold)

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """The time has come."""
        if generation != self.generation:
            return False
        hub = self.hub  # from here on nothing looks for signals: see dispatcher.py
        del hub.completions[0]
        hub.handlers[self.slot] = NULL_HANDLER
        hub.free_slots += (self.slot,)
        self.generation = -1
        try:
            self.on_expiry()
        except BaseException:  # raised by a signal handler, before the block knows that its time is up
            hub.context.call_soon(self.on_expiry)
            raise
        return True

    def stop(self) -> None:
        """Forget the timer, unless it has fired. May be repeated."""
        if self.generation >= 0:
            hub = self.hub
            hub.clock.stop(self.slot)
            hub.handlers[self.slot] = NULL_HANDLER
            hub.free_slots += (self.slot,)
            self.generation = -1

    def loop_closed(self) -> None:
        """The loop is gone."""
        self.generation = -1
