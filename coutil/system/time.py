"""Time, and waits for a time."""

from __future__ import annotations

import math
import time as _time
from typing import Any, Literal

from .._coroutines.outcomes import Resumed
from .._coroutines.switching import Waiting, suspend
from .._host import interruptible
from .._interpreter import Time
from .._kernel.hub import this_hub
from .._kernel.operation import operation
from .._libuv import lib
from .._libuv.arguments import choice, flag, number
from .._libuv.clock import FOREVER

__all__ = ["nanosecs", "suspend", "time"]

_EVER = 2**32  # seconds, 136 years: a wait of this length, or a longer one, never ends by itself
_ZERO: Any = 0  # as in `suspend`
_A_YEAR = 2.0**25  # seconds; a longer sleep of the whole thread is split


def time(mode: Literal["cached", "updated", "epoch"] = "cached") -> float:
    """Return a time in seconds.

    mode: "cached": the loop's time, which changes only between turns; "updated": the same, refreshed first. Their
    origin is arbitrary. "epoch": the time since 1970.
    Raises TypeError, ValueError. Source: uv_hrtime, clock_gettime.
    """
    if mode not in ("cached", "updated"):
        choice("mode", mode, ("cached", "updated", "epoch"))
        return _time.time()
    clock = this_hub().clock
    return (clock.now() if mode == "cached" else clock.update()) / 1e9


def nanosecs() -> int:
    """Return a monotonic time in nanoseconds, of arbitrary origin. Source: uv_hrtime."""
    return int(lib.uv_hrtime())


def _suspend(seconds: float | None = 0, blocking: bool = False) -> Any:
    """Suspend in all cases that `suspend` does not handle itself; see there."""
    try:  # in place of `waits`, whose call would take more of the stack
        nanoseconds = 0 if seconds is _ZERO and blocking is False else _checked(seconds, blocking)
        if blocking:
            if nanoseconds > 0:
                _block(nanoseconds / 1e9 if nanoseconds < FOREVER else math.inf)
        elif nanoseconds <= 0:
            operation().wait_turn()
        else:
            operation().sleep(nanoseconds)
    except Resumed as resumed:
        return resumed.value
    return True


Waiting.operation = staticmethod(operation)
Waiting.suspend = staticmethod(_suspend)


@interruptible
def _block(seconds: float) -> None:
    until = lib.uv_hrtime() / 1e9 + seconds
    while (left := until - lib.uv_hrtime() / 1e9) > 0:
        Time.sleep(min(left, _A_YEAR))


def _checked(seconds: float | None, blocking: bool) -> int:
    """Return `seconds` in nanoseconds, rounded up."""
    flag(blocking=blocking)
    if seconds is None:
        return 0
    if number("seconds", seconds, "a number or None") >= _EVER:
        return FOREVER
    return math.ceil(seconds * 1e9) if seconds > 0 else 0
