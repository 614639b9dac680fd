"""A signal handler that comes at a moment of our choice: between any two steps of the package's own code."""

from __future__ import annotations

import signal
import sys
from _thread import interrupt_main
from collections.abc import Callable
from types import FrameType
from typing import Any

MOMENTS = 5000  # more than any program here has


class Handler:
    """Has a signal handler do something at one moment: when so many functions were called, or calls of C have ended."""

    def __init__(self, action: Callable[[], object], moment: int) -> None:
        self.action = action
        self.left = moment
        self.came = False

    def profile(self, frame: FrameType, event: str, _: Any) -> None:
        """Count the moments."""
        module = frame.f_globals.get("__name__", "")
        if event in ("call", "c_return") and module.startswith("coutil.") and module != "coutil._coroutines.states":
            self.left -= 1
            if self.left == 0:
                interrupt_main(signal.SIGUSR1)

    def handle(self, *_: object) -> None:
        """Do it."""
        sys.setprofile(None)
        self.came = True
        self.action()

    def during(self, program: Callable[[], object]) -> bool:
        """Run the program; return whether the moment has come."""
        before = signal.signal(signal.SIGUSR1, self.handle)
        sys.setprofile(self.profile)
        try:
            program()
        finally:
            sys.setprofile(None)
            signal.signal(signal.SIGUSR1, before)
        return self.came


def at_every_moment(
    make: Callable[[], tuple[Callable[[], object], Callable[[], object], Callable[[int], object]]],
) -> int:
    """Run programs, each with a handler at the next moment; return how many moments there were.

    make: returns a program, what the handler does, and what checks the outcome, which gets the number of the moment.
    """
    for moment in range(1, MOMENTS):
        program, action, check = make()
        came = Handler(action, moment).during(program)
        if not came:
            action()  # after the last one
        check(moment)
        if not came:
            return moment - 1
    raise AssertionError("the program has too many moments")
