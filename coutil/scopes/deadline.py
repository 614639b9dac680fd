"""Blocks that end in time."""

from __future__ import annotations

import sys
from types import FrameType, TracebackType

from .._kernel.hub import this_hub
from .block import Block, checked_time, is_of


class Deadline(Block):
    """A block that ends in time: `timeout`, `timeout_at`, `move_on_after`.

    `expired` (bool): whether the time was up before the block was left.
    """

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block. If its waits were cut, and no other error leaves it, that becomes `Timeout`, or nothing."""
        self._leave()
        cut = self._refused if raised is None else is_of(raised, self)
        if not cut:
            return False
        if self._becomes_timeout():
            raise self._timeout() from raised
        return True

    def _becomes_timeout(self) -> bool:
        return self._name != "move_on_after"

    def __repr__(self) -> str:
        """State and time."""
        return f"<Deadline {self._state()} at={self.deadline}>"


def timeout(seconds: float | None, *, shield: bool = False) -> Deadline:
    """Return a context manager for a block that raises `errors.Timeout` at its end if it lasts longer than `seconds`.

    Once they have passed, every wait inside the block raises `errors.Cancelled`, which `except Exception` lets pass.
    Code that swallows it cannot prevent the `Timeout`; another error that leaves the block is raised in its place. A
    block that does not wait any more when the time is up ends as if it had been in time.
    seconds: None and `math.inf` are no limit; with 0 or less the first wait raises. Costs one timer. shield: no
    cancellation from outside enters the block: for clean-up that has to wait. Raises TypeError, ValueError (NaN).
    """
    return _from_now("timeout", seconds, shield, sys._getframe().f_back)


def limit(timeout: float | None) -> Deadline:
    """Return what `timeout` does, for the argument `timeout` of a call. Raises TypeError, ValueError (NaN)."""
    return _from_now("timeout", timeout, False, sys._getframe().f_back, "timeout")


def timeout_at(deadline: float | None, *, shield: bool = False) -> Deadline:
    """Return what `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline("timeout_at", checked_time("deadline", deadline), shield, sys._getframe().f_back)


def move_on_after(seconds: float | None, *, shield: bool = False) -> Deadline:
    """Return what `timeout` does, but the time being up only ends the block; `.expired` tells.

    Raises TypeError, ValueError (NaN).
    """
    return _from_now("move_on_after", seconds, shield, sys._getframe().f_back)


def _from_now(
    name: str, value: float | None, shield: bool, maker: FrameType | None, argument: str = "seconds"
) -> Deadline:
    seconds = checked_time(argument, value)
    if seconds is None:
        return Deadline(name, None, shield, maker)
    made = Deadline(name, this_hub().clock.update() / 1e9 + seconds, shield, maker)
    made._seconds = seconds
    return made
