"""What tools may observe. With no hooks installed each place costs one comparison."""

from __future__ import annotations

from .coroutine import Coroutine

__all__ = ["Hooks"]


class Hooks:
    """Base of tools that watch an event loop. Override the methods that you need; see `coutil.hooks` for the rules."""

    def resumed(self, coroutine: Coroutine) -> None:
        """Called before `coroutine` runs: when the hub, or another coroutine, resumes it.

        coroutine: the one that is about to run, "suspended" no longer; the main program, and greenlets that are not of
        coutil, are `Coroutine` objects, too. The first call for a coroutine is its start. Calls of those that a
        coroutine resumes come between its own two.
        """

    def parked(self, coroutine: Coroutine) -> None:
        """Called after `coroutine` has given control back: it waits, has yielded, or has ended (status "dead").

        Its `waiting_on`, if it waits, says on what, as `str`. It comes back to the one that has resumed it.
        """

    def turn(self, count: int) -> None:
        """Called when the hub begins a turn of the loop, before it looks for what is ready. count: its number."""
