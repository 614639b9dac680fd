"""Blocks that end in time."""

from __future__ import annotations

from types import TracebackType

from .._kernel.hub import this_hub
from ..errors import Timeout
from .block import Block, checked_time, is_of


class Deadline(Block):
    """A block that ends in time: `timeout`, `timeout_at`, `move_on_after`.

    `expired` (bool): whether the time was up before the block was left.
    """

    def __init__(self, deadline: float | None, quiet: bool) -> None:
        """quiet: swallow its own expiry."""
        super().__init__(deadline)
        self._quiet = quiet

    def error(self) -> BaseException:
        """Return the `Timeout` that a wait raises."""
        return Timeout("the time is up" if self.expired else f"{self!r} was cancelled", self)

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block."""
        self._leave()
        return self._quiet and is_of(raised, self)

    def __repr__(self) -> str:
        """State and time."""
        return f"<Deadline {self._state()} at={self.deadline}>"


def timeout(seconds: float | None) -> Deadline:
    """Return a context manager in which every wait raises `errors.Timeout` once `seconds` have passed.

    seconds: None and `math.inf` are no limit, 0 or less is over at once: the first wait raises. Costs one timer.
    Raises TypeError, ValueError (NaN).
    """
    return Deadline(_from_now(seconds), quiet=False)


def limit(timeout: float | None) -> Deadline:
    """Return what `timeout` does, for the argument `timeout` of a call. Raises TypeError, ValueError (NaN)."""
    return Deadline(_from_now(timeout, "timeout"), quiet=False)


def timeout_at(deadline: float | None) -> Deadline:
    """Return what `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline(checked_time("deadline", deadline), quiet=False)


def move_on_after(seconds: float | None) -> Deadline:
    """Return what `timeout` does, but the time being up only ends the block; `.expired` tells.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline(_from_now(seconds), quiet=True)


def _from_now(value: float | None, name: str = "seconds") -> float | None:
    seconds = checked_time(name, value)
    return None if seconds is None else this_hub().clock.update() / 1e9 + seconds
