"""Blocks that end in time."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal, TypeVar

from .._kernel import current_hub
from .cancel_scope import CancelScope, belongs_to, check_time

_Kind = TypeVar("_Kind", bound="Deadline")


class Deadline(CancelScope):
    """A block that ends in time: `timeout`, `timeout_at`, `move_on_after`.

    `expired` (bool): whether the time was up before the block was left.
    """

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """End the block. If its waits were cut, and no other error leaves it, that becomes `Timeout`."""
        try:
            self._exit()
        except BaseException:
            self._ensure_exit()
            raise
        if self._was_raised if raised is None else belongs_to(raised, self):
            raise self._timeout_error() from raised
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
            self._exit()
        except BaseException:
            self._ensure_exit()
            raise
        return self._was_raised if raised is None else belongs_to(raised, self)

    def _becomes_timeout(self) -> bool:
        return False


def timeout(seconds: float | None, *, shield: bool = False) -> Deadline:
    """Return a context manager for a block that raises `errors.Timeout` at its end if it lasts longer than `seconds`.

    Once they have passed, every wait inside the block raises `errors.Cancelled`, which `except Exception` lets pass.
    Code that swallows it cannot prevent the `Timeout`; another error that leaves the block is raised in its place. A
    block that does not wait any more when the time is up ends as if it had been in time.
    seconds: None and `math.inf` are no limit; with 0 or less the first wait raises. Costs one timer. shield: no
    cancellation from outside enters the scope: for clean-up that has to wait. Raises TypeError, ValueError (NaN).
    """
    return _from_now(Deadline, seconds, shield, sys._getframe().f_back)


def call_timeout(timeout: float | None) -> Deadline:
    """Return what `timeout` does, for the argument `timeout` of a call. Raises TypeError, ValueError (NaN)."""
    return _from_now(Deadline, timeout, False, sys._getframe().f_back, "timeout")


def call_with_timeout(timeout: float, function: Callable[[Any], Any], argument: Any) -> Any:
    """Return function(argument), within a `call_timeout`; a signal handler that raises cannot keep the block from its
    end.
    """
    scope = call_timeout(timeout)
    try:
        with scope:
            return function(argument)
    except BaseException:
        try:
            scope._ensure_exit()
        except BaseException:  # of a second signal handler
            scope._ensure_exit()
            raise
        raise


def timeout_at(deadline: float | None, *, shield: bool = False) -> Deadline:
    """Return what `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline("timeout_at", check_time("deadline", deadline), shield, sys._getframe().f_back)


def move_on_after(seconds: float | None, *, shield: bool = False) -> _MoveOn:
    """Return what `timeout` does, but the time being up only ends the block; `.expired` tells.

    Raises TypeError, ValueError (NaN).
    """
    return _from_now(_MoveOn, seconds, shield, sys._getframe().f_back)


def _from_now(
    kind: type[_Kind], value: float | None, shield: bool, caller: FrameType | None, argument: str = "seconds"
) -> _Kind:
    name = "move_on_after" if kind is _MoveOn else "timeout"
    seconds = check_time(argument, value)
    if seconds is None:
        return kind(name, None, shield, caller)
    made = kind(name, current_hub().clock.update() / 1e9 + seconds, shield, caller)
    made._seconds = seconds
    return made
