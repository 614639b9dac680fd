"""Blocks with a deadline: `timeout`, `timeout_at` and `move_on_after`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any, Literal, TypeVar

from .._kernel import current_hub
from .cancel_scope import CancelScope, belongs_to, check_time

_Kind = TypeVar("_Kind", bound="Deadline")


class Deadline(CancelScope):
    """A block with a deadline, made by `timeout`, `timeout_at` or `move_on_after`.

    `expired` (bool): whether the deadline passed before the block was left.
    """

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> Literal[False]:
        """End the block. Raise `Timeout` if its waits were cancelled, and no other error leaves it."""
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
        """State and deadline."""
        return f"<Deadline {self._state()} at={self.deadline}>"


class _MoveOn(Deadline):
    """A block made by `move_on_after`. Type checkers see from `-> bool` that it may end before its last line."""

    def __exit__(  # type: ignore[override]  # it is a Deadline in every other respect
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block. Swallow the cancellation of its waits, unless another error leaves it."""
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
    block that does not wait after the deadline ends as if it had been in time.
    seconds: None and `math.inf` are no limit; with 0 or less the first wait raises. Costs one timer. shield: no
    cancellation from outside enters the block: for clean-up that has to wait. Raises TypeError, ValueError (NaN).
    """
    return _from_now(Deadline, seconds, shield, sys._getframe().f_back)


def call_timeout(timeout: float | None) -> Deadline:
    """Return a `timeout` block for the argument `timeout` of a call. Raises TypeError, ValueError (NaN)."""
    return _from_now(Deadline, timeout, False, sys._getframe().f_back, "timeout")


def call_with_timeout(timeout: float, function: Callable[[Any], Any], argument: Any) -> Any:
    """Return function(argument), called in a `call_timeout` block, which also ends if a signal handler raises."""
    scope = call_timeout(timeout)
    try:
        with scope:
            return function(argument)
    except BaseException:
        try:
            scope._ensure_exit()
        except BaseException:  # raised by a second signal handler
            scope._ensure_exit()
            raise
        raise


def timeout_at(deadline: float | None, *, shield: bool = False) -> Deadline:
    """Return a block as `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline("timeout_at", check_time("deadline", deadline), shield, sys._getframe().f_back)


def move_on_after(seconds: float | None, *, shield: bool = False) -> _MoveOn:
    """Return a block as `timeout` does, which ends without an error when the time is up, and sets `expired`.

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
    block = kind(name, current_hub().clock.update() / 1e9 + seconds, shield, caller)
    block._seconds = seconds
    return block
