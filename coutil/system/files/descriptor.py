"""Descriptors that calls in the thread pool use, and that are closed only when no call does.

A number that was closed may belong to somebody else a moment later: what is still in the pool then would read from, or
write to, a stranger's file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ...errors import Closed

__all__ = ["Descriptor", "has_position"]


class Descriptor:
    """An open descriptor of ours. Safe in any thread: it relies on the operations of lists being atomic."""

    __slots__ = ("_calls", "_held", "_name", "closed")

    def __init__(self, number: int, name: str) -> None:
        """Take `number` over; `name` is what reports and errors call it."""
        self._held = [number]  # empty as soon as somebody closes it
        self._calls: list[Any] = []  # the structs of the calls that use it
        self._name = name
        self.closed = False

    def __str__(self) -> str:
        """The name."""
        return self._name

    def number(self) -> int:
        """Return the number. Raises `Closed`."""
        held = self._held[:]
        if self.closed or not held:
            raise Closed(f"{self._name} is closed")
        return held[0]

    def begin(self, call: Any) -> None:
        """Keep the descriptor open during a call. Raises `Closed`."""
        self._calls.append(call)
        if self.closed:
            self.end(call)
            raise Closed(f"{self._name} is closed")

    def end(self, call: Any) -> None:
        """Let the descriptor go; if it was closed meanwhile, and nobody else uses it, it is now."""
        self._calls.remove(call)
        if self.closed:
            self.close_unused()

    def give_up(self) -> int | None:
        """Close for everybody; return the number, to be closed by the caller. None: the last call that uses it will."""
        self.closed = True
        if any(call.busy for call in self._calls):
            return None
        try:
            return self._held.pop()
        except IndexError:
            return None

    def close_unused(self) -> None:
        """Close it for everybody, now or when the last call that uses it is over."""
        number = self.give_up()
        if number is not None:
            with suppress(OSError):  # nobody is left who could be told
                os.close(number)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close what nobody refers to any more; at the end of the process, the system does."""
        if not ending():
            self.close_unused()


def has_position(number: int) -> bool:
    """Return whether a descriptor has a position; those of pipes and terminals have none."""
    try:
        os.lseek(number, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
