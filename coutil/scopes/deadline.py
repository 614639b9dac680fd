"""Blocks that end in time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal, TypeVar

from .._kernel.hub import this_hub
from .block import Block, checked_time, is_of

_Kind = TypeVar("_Kind", bound="Deadline")


class Deadline(Block):
    """A block that ends in time: `timeout`, `timeout_at`, `move_on_after`.

    `expired` (bool): whether the time was up before the block was left.
    """

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """End the block. If its waits were cut, and no other error leaves it, that becomes `Timeout`."""
        try:
            self._leave()
        except BaseException:
            self._surely_leave()
            raise
        if self._refused if raised is None else is_of(raised, self):
            raise self._timeout() from raised
        return False

    def _becomes_timeout(self) -> bool:
        return True

    def __repr__(self) -> str:
        """State and time."""
        return f"<Deadline {self._state()} at={self.deadline}>"


class _MoveOn(Deadline):
    """What `move_on_after` makes. A type checker learns that the block may end before its last line."""

    def __exit__(  # type: ignore[override]  # it is a Deadline in every other respect
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block. If its waits were cut, and no other error leaves it, that is all."""
        try:
            self._leave()
        except BaseException:
            self._surely_leave()
            raise
        return self._refused if raised is None else is_of(raised, self)

    def _becomes_timeout(self) -> bool:
        return False


def timeout(seconds: float | None, *, shield: bool = False) -> Deadline:
    """Return a context manager for a block that raises `errors.Timeout` at its end if it lasts longer than `seconds`.

    Once they have passed, every wait inside the block raises `errors.Cancelled`, which `except Exception` lets pass.
    Code that swallows it cannot prevent the `Timeout`; another error that leaves the block is raised in its place. A
    block that does not wait any more when the time is up ends as if it had been in time.
    seconds: None and `math.inf` are no limit; with 0 or less the first wait raises. Costs one timer. shield: no
    cancellation from outside enters the block: for clean-up that has to wait. Raises TypeError, ValueError (NaN).
    """
    return _from_now(Deadline, seconds, shield, sys._getframe().f_back)


def limit(timeout: float | None) -> Deadline:
    """Return what `timeout` does, for the argument `timeout` of a call. Raises TypeError, ValueError (NaN)."""
    return _from_now(Deadline, timeout, False, sys._getframe().f_back, "timeout")


def in_time(timeout: float, function: Callable[[Any], Any], argument: Any) -> Any:
    """Return function(argument), within a `limit`; a signal handler that raises cannot keep the block from its end."""
    block = limit(timeout)
    try:
        with block:
            return function(argument)
    except BaseException:
        try:
            block._surely_leave()
        except BaseException:  # of a second signal handler
            block._surely_leave()
            raise
        raise


def timeout_at(deadline: float | None, *, shield: bool = False) -> Deadline:
    """Return what `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline("timeout_at", checked_time("deadline", deadline), shield, sys._getframe().f_back)


def move_on_after(seconds: float | None, *, shield: bool = False) -> _MoveOn:
    """Return what `timeout` does, but the time being up only ends the block; `.expired` tells.

    Raises TypeError, ValueError (NaN).
    """
    return _from_now(_MoveOn, seconds, shield, sys._getframe().f_back)


def _from_now(
    kind: type[_Kind], value: float | None, shield: bool, maker: FrameType | None, argument: str = "seconds"
) -> _Kind:
    name = "move_on_after" if kind is _MoveOn else "timeout"
    seconds = checked_time(argument, value)
    if seconds is None:
        return kind(name, None, shield, maker)
    made = kind(name, this_hub().clock.update() / 1e9 + seconds, shield, maker)
    made._seconds = seconds
    return made
