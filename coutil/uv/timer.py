"""Timers."""

from __future__ import annotations

from typing import Any

from .._libuv import lib
from .._libuv.arguments import check_int
from .._libuv.handles import timer_times
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["Timer", "new_timer"]

_start, _stop = lib.co_raw_timer_start, lib.co_raw_timer_stop


class Timer(Handle):
    """A timer. Handler: `ontimeout(timer)`.

    All times are whole milliseconds, from 0 to 2**64 - 1 (in effect for ever). They count from the call, not from the
    loop's cached time, and the wait is never shorter. An interval counts from expiry to expiry.
    """

    _kind = "timer"
    ontimeout: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a timer of `loop`; None: of the loop that the caller runs in.

        Raises TypeError, `Closed`, `ForeignThread`, `Forked`, MemoryError. Source: uv_timer_init.
        """
        super().__init__(loop, lib.co_raw_timer_new, "uv_timer_init")

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        handler = self.__dict__.get("ontimeout")
        return self._handler_call("ontimeout") if handler is None else (self, handler, (self,))

    def start(self, timeout: int, repeat: int = 0) -> None:
        """Have the handler called in `timeout` milliseconds, then every `repeat` milliseconds unless that is 0.

        A timer that is started already is restarted. Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`.
        Source: uv_timer_start.
        """
        if timeout.__class__ is not int or repeat.__class__ is not int or not 0 <= timeout | repeat < 2**64:
            check_int("timeout", timeout)
            check_int("repeat", repeat)
        self._start_or_stop(_start, "uv_timer_start", timeout, repeat)

    def stop(self) -> None:
        """Stop the timer, and drop an expiry that was not delivered yet. Raises `Closed`, `ForeignThread`, `Forked`.

        Source: uv_timer_stop.
        """
        self._start_or_stop(_stop, "uv_timer_stop")

    def again(self) -> None:
        """Restart the interval `repeat`; do nothing if that is 0.

        Raises `Closed`, `ForeignThread`, `Forked`, `UVError` EINVAL: never started. Source: uv_timer_again.
        """
        if self.repeat:
            self._start_or_stop(lib.co_raw_timer_again, "uv_timer_again")
        else:
            self._call(lib.co_raw_timer_again, "uv_timer_again", self._core.generation)

    @property
    def repeat(self) -> int:
        """The interval in milliseconds; 0: none. An assignment takes effect after the next expiry.

        Raises TypeError, ValueError, `Closed`, `ForeignThread`. Source: uv_timer_get_repeat, uv_timer_set_repeat.
        """
        return self._times()[1]

    @repeat.setter
    def repeat(self, milliseconds: int) -> None:
        check_int("repeat", milliseconds)
        self._call(lib.co_raw_timer_set_repeat, "uv_timer_set_repeat", milliseconds)

    @property
    def due_in(self) -> int:
        """Milliseconds until it expires, by the loop's cached time; 0: stopped. Source: uv_timer_get_due_in."""
        return self._times()[2]

    def _times(self) -> tuple[int, int, int]:
        core = self._core
        times = timer_times(core.pointer, core.slot)
        if times[0] < 0:
            raise core.call_error(times[0], "uv_timer_get_repeat")
        return times


def new_timer(loop: Loop | None = None) -> Timer:
    """Return a new `Timer`. Source: uv_timer_init."""
    return Timer(loop)


def timer_set_repeat(timer: Timer, repeat: int) -> None:
    """Set `Timer.repeat`. Raises as that. Source: uv_timer_set_repeat."""
    if not isinstance(timer, Timer):
        raise TypeError(f"the first argument must be a Timer, not {timer!r}")
    timer.repeat = repeat


timer_start = module_function(Timer.start)
timer_stop = module_function(Timer.stop)
timer_again = module_function(Timer.again)
timer_get_repeat = module_function(Timer.repeat)
timer_get_due_in = module_function(Timer.due_in)
