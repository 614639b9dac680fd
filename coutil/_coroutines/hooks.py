"""What tools may observe. With no hooks installed each place costs one comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .coroutine import Coroutine

__all__ = ["Hooks"]


class Hooks:
    """Base of tools that watch one thread: subclass it and assign an instance to `home().hooks`.

    The methods run between switches; they cannot wait, and what they raise goes to the excepthook.
    """

    def resumed(self, coroutine: Coroutine) -> None:
        """`coroutine` is about to run."""

    def parked(self, coroutine: Coroutine) -> None:
        """`coroutine` has suspended or ended."""

    def turn(self, count: int) -> None:
        """The hub begins its turn number `count`."""
