"""Time, and waiting for it."""

from __future__ import annotations

import math
import time as _time
from typing import Any, Literal

from greenlet import getcurrent

from .._coroutines.coroutine import running
from .._coroutines.switching import Outside, take_turns
from .._host import interruptible
from .._kernel.hub import this_hub
from .._kernel.operation import operation
from .._libuv import lib

__all__ = ["nanosecs", "suspend", "time"]

_LONGEST = 2**62  # nanoseconds, 146 years; what is longer waits that long
_ZERO: Any = 0  # small integers are single objects: the common call is told by identity


def time(mode: Literal["cached", "updated", "epoch"] = "cached") -> float:
    """Return a time in seconds.

    mode: "cached": the loop's time, which changes only between turns; "updated": the same, refreshed first; their
    origin is arbitrary. "epoch": the time of day since 1970.
    Raises TypeError, ValueError. Source: uv_hrtime, clock_gettime.
    """
    if not isinstance(mode, str):
        raise TypeError(f"mode must be a string, not {mode!r}")
    if mode == "epoch":
        return _time.time()
    if mode not in ("cached", "updated"):
        raise ValueError(f'mode must be "cached", "updated" or "epoch", not {mode!r}')
    clock = this_hub().clock
    return (clock.now() if mode == "cached" else clock.update()) / 1e9


def nanosecs() -> int:
    """Return a monotonic time in nanoseconds, of arbitrary origin. Source: uv_hrtime."""
    return int(lib.uv_hrtime())


def suspend(seconds: float | None = 0, blocking: bool = False) -> Any:
    """Wait until `seconds` have passed; return True, or what an explicit resume brings.

    seconds: None, 0 or less: only let others run that are ready. Counted from the loop's cached time; never ends early.
    blocking: stop the whole thread instead of the calling coroutine; then nobody else runs.
    Suspends unless blocking. Raises TypeError, ValueError (NaN, or more than 64 bits of milliseconds; 32 if blocking),
    `NotYieldable`. Source: uv_timer_start.
    """
    if seconds is _ZERO and blocking is False:
        me: Any = getcurrent()
        try:
            own = me.coroutine.operation
        except AttributeError:
            own = None
        return take_turns(operation() if own is None else own)
    nanoseconds = _checked(seconds, blocking)
    if blocking:
        if nanoseconds > 0:
            _block(nanoseconds / 1e9)
        return True
    own = operation()
    if nanoseconds <= 0:
        return take_turns(own)
    if running().gate.__class__ is Outside:
        own.hub.clock.update()  # the loop may not have run for long
    return own.sleep(nanoseconds)


@interruptible
def _block(seconds: float) -> None:
    _time.sleep(seconds)


def _checked(seconds: float | None, blocking: bool) -> int:
    """Return `seconds` in nanoseconds, rounded up."""
    if not isinstance(blocking, bool):
        raise TypeError(f"blocking must be a bool, not {blocking!r}")
    if seconds is None:
        return 0
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"seconds must be a number or None, not {seconds!r}")
    if seconds != seconds:  # noqa: PLR0124  # NaN
        raise ValueError("seconds must not be NaN")
    if seconds * 1000 >= 2 ** (32 if blocking else 64):
        raise ValueError(f"seconds is out of range: {seconds!r}")
    return min(math.ceil(seconds * 1e9), _LONGEST) if seconds > 0 else 0
