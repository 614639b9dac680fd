"""Time, and waits for a time."""

from __future__ import annotations

import math
import time as _time
from typing import Any, Literal

from .._coroutines import Resumed, SuspendBackend, suspend
from .._interpreter import Time
from .._kernel import current_hub, current_operation
from .._libuv import lib
from .._libuv.arguments import check_bool, check_choice, check_number
from .._libuv.clock import FOREVER
from .._lifecycle import interruptible

__all__ = ["nanosecs", "suspend", "time"]

_FOREVER = 2**32  # seconds, 136 years: a wait of this length, or a longer one, never ends by itself
_ZERO: Any = 0  # as in `suspend`
_A_YEAR = 2.0**25  # seconds; a longer sleep of the whole thread is split


def time(mode: Literal["cached", "updated", "epoch"] = "cached") -> float:
    """Return a time in seconds.

    mode: "cached": the loop's time, which changes only between turns; "updated": the same, refreshed first. Their
    origin is arbitrary. "epoch": the time since 1970.
    Raises TypeError, ValueError. Source: uv_hrtime, clock_gettime.
    """
    if mode not in ("cached", "updated"):
        check_choice("mode", mode, ("cached", "updated", "epoch"))
        return _time.time()
    clock = current_hub().clock
    return (clock.now() if mode == "cached" else clock.update()) / 1e9


def nanosecs() -> int:
    """Return a monotonic time in nanoseconds, of arbitrary origin. Source: uv_hrtime."""
    return int(lib.uv_hrtime())


def _suspend(seconds: float | None = 0, blocking: bool = False) -> Any:
    """Suspend in all cases that `suspend` does not handle itself; see there."""
    try:  # in place of `waits`, whose call would take more of the stack
        nanoseconds = 0 if seconds is _ZERO and blocking is False else _check_seconds(seconds, blocking)
        if blocking:
            if nanoseconds > 0:
                _block(nanoseconds / 1e9 if nanoseconds < FOREVER else math.inf)
        elif nanoseconds <= 0:
            current_operation().reschedule_via_hub()
        else:
            current_operation().sleep(nanoseconds)
    except Resumed as resumed:
        return resumed.value
    return True


SuspendBackend.operation = staticmethod(current_operation)
SuspendBackend.suspend = staticmethod(_suspend)


@interruptible
def _block(seconds: float) -> None:
    until = lib.uv_hrtime() / 1e9 + seconds
    while (left := until - lib.uv_hrtime() / 1e9) > 0:
        Time.sleep(min(left, _A_YEAR))


def _check_seconds(seconds: float | None, blocking: bool) -> int:
    """Return `seconds` in nanoseconds, rounded up."""
    check_bool(blocking=blocking)
    if seconds is None:
        return 0
    if check_number("seconds", seconds, "a number or None") >= _FOREVER:
        return FOREVER
    return math.ceil(seconds * 1e9) if seconds > 0 else 0
