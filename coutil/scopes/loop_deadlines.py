"""Deadlines of a coroutine whose own loop does not turn as usual: it waits in another loop, or runs its own.

A deadline is a timer of the hub of its coroutine. While the coroutine waits in another loop of the thread, that hub
does not run, so a second timer in the other loop stands in for the earliest deadline (`ForeignDeadline`). While the
coroutine runs its own loop, the timers work, but must not keep `run()` from returning (`SuspendedDeadlines`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from .deadline_timer import DeadlineTimer

if TYPE_CHECKING:
    from .._coroutines import Coroutine
    from .._kernel import Hub
    from .cancel_scope import CancelScope

__all__ = ["ForeignDeadline", "SuspendedDeadlines"]


class ForeignDeadline:
    """The earliest deadline of the blocks around a coroutine, while that coroutine waits in another loop."""

    def __init__(self, scope: CancelScope, host: Coroutine, guest: Coroutine) -> None:
        """scope: the innermost block around `host`, in whose place `guest` waits."""
        self._scope = scope
        self._timer: DeadlineTimer | None = None
        scope._foreign_owner = guest
        try:
            self._start(scope, host.context.hub, guest.context.hub)
        except BaseException:
            self.stop()
            raise

    def _start(self, scope: CancelScope, own_hub: Hub | None, hub: Hub) -> None:
        first = min(_pending_deadlines(scope), key=lambda block: block._deadline or 0, default=None)
        if first is not None and first._deadline is not None and own_hub is not None:  # None: its loop was closed
            left = round(first._deadline * 1e9) - own_hub.clock.update()
            self._timer = DeadlineTimer(hub, first._on_deadline)
            self._timer.start(max(left, 0))

    def set_keepalive(self, hold: bool) -> None:
        """Set whether this deadline keeps the loop alive."""
        if self._timer is not None:
            self._timer.set_keepalive(hold)

    def stop(self) -> None:
        """End the watch: the wait is over."""
        self._scope._foreign_owner = None
        if self._timer is not None:
            self._timer.stop()


class SuspendedDeadlines:
    """Deadlines of a coroutine that is running its own loop: they interrupt `run()`, but do not keep the loop alive."""

    def __init__(self, scope: CancelScope) -> None:
        """scope: the innermost block around the coroutine."""
        self._timers: list[DeadlineTimer] = []
        block: CancelScope | None = scope
        while block is not None:
            if block._timer is not None:
                block._timer.set_keepalive(False)
                self._timers.append(block._timer)
            block = block._outer

    def stop(self) -> None:
        """Let the deadlines keep the loop alive again: `run()` has returned."""
        for timer in self._timers:
            timer.set_keepalive(True)


def _pending_deadlines(scope: CancelScope | None) -> Iterator[CancelScope]:
    """Yield the blocks, from this one outwards, whose deadline has not passed and can cancel a wait."""
    while scope is not None:
        if scope._deadline is not None and not scope.cancelled:
            yield scope
        scope = None if scope._shield else scope._outer
