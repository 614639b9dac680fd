"""Base class of hooks: the events that tools may observe. Without hooks each place costs one comparison."""

from __future__ import annotations

from .coroutine import Coroutine

__all__ = ["Hooks"]


class Hooks:
    """Base class of tools that watch an event loop. Override the methods needed; see `coutil.hooks` for the rules."""

    def resumed(self, coroutine: Coroutine) -> None:
        """Called before `coroutine` runs: when the hub, or another coroutine, resumes it.

        coroutine: the one that is about to run, no longer "suspended"; the main program and foreign greenlets are
        `Coroutine` objects, too. The first call for a coroutine is its start. When a coroutine resumes others, their
        calls come between its own `resumed` and `parked`.
        """

    def parked(self, coroutine: Coroutine) -> None:
        """Called after `coroutine` has given control back to its resumer: it waits, has yielded, or has ended.

        coroutine: its `status` is "dead" if it has ended. If it waits, the `str` of its `waiting_on` names the reason.
        """

    def turn(self, count: int) -> None:
        """Called when the hub begins a turn of the loop, before it runs the ready queue. count: the turn's number."""
