"""The timer behind the deadline of a block."""

from __future__ import annotations

from collections.abc import Callable

from .._kernel import NULL_HANDLER, CompletionHandler, Hub

__all__ = ["DeadlineTimer"]


class DeadlineTimer(CompletionHandler):
    """A timer of the hub that calls `on_expiry` at the deadline of a block."""

    __slots__ = ("generation", "hub", "on_expiry", "slot")

    def __init__(self, hub: Hub, expire: Callable[[], None]) -> None:
        self.hub, self.on_expiry = hub, expire
        self.slot = self.generation = -1

    def start(self, nanoseconds: int) -> None:
        """Start the timer. The caller already refers to it, so it can stop it if an exception ends the block."""
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
        """Set whether this timer keeps the loop alive."""
        if self.generation >= 0:
            self.hub.clock.hold(self.slot, hold)

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Call `on_expiry`: the deadline has passed."""
        if generation != self.generation:
            return False
        hub = self.hub  # no signal handler can run from here on: see dispatcher.py
        del hub.completions[0]
        hub.handlers[self.slot] = NULL_HANDLER
        hub.free_slots += (self.slot,)
        self.generation = -1
        try:
            self.on_expiry()
        except BaseException:  # raised by a signal handler before the block is marked as expired
            hub.context.call_soon(self.on_expiry)
            raise
        return True

    def stop(self) -> None:
        """Stop the timer and free its slot, unless it has fired. May be repeated."""
        if self.generation >= 0:
            hub = self.hub
            hub.clock.stop(self.slot)
            hub.handlers[self.slot] = NULL_HANDLER
            hub.free_slots += (self.slot,)
            self.generation = -1

    def loop_closed(self) -> None:
        """Mark the timer as stopped: the loop was closed."""
        self.generation = -1
