"""Descriptors that calls in the thread pool use, and that are closed only when no call does.

A number that was closed may belong to somebody else a moment later: what is still in the pool then would read from, or
write to, a stranger's file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from ..._libuv.files import Call
from ...errors import Closed

__all__ = ["Descriptor", "has_position"]


class Descriptor:
    """An open descriptor of ours. Safe in any thread: it relies on the operations of lists being atomic."""

    __slots__ = ("_calls", "_held", "_name", "closed")

    def __init__(self, source: int | Call, name: str) -> None:
        """Take over a number, or the descriptor that a call has opened; `name` is what reports and errors call it."""
        self._held: list[int] = []  # empty as soon as somebody closes it
        self._calls: list[Any] = []  # the structs of the calls that use it
        self._name = name
        self.closed = False
        if isinstance(source, int):
            self._held += (source,)
        else:
            source.disown(self._held)

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

    def give_up(self, call: Call) -> bool:
        """Close for everybody; return whether `call`, which is to close, owns it now. Else the last that uses it will.

        A signal handler that raises in between leaves the descriptor with one of the two.
        """
        self.closed = True
        if any(used.busy for used in self._calls):
            return False
        call.own(self._held)
        return call.owns

    def close_unused(self) -> None:
        """Close it for everybody, now or when the last call that uses it is over."""
        if self._held:
            call = Call("close")
            self.give_up(call)
            call.drop()  # an error has nobody who could be told

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close what nobody refers to any more; at the end of the process, the system does."""
        if not ending() and hasattr(self, "closed"):  # else a signal handler has raised before it was made
            self.close_unused()


def has_position(number: int) -> bool:
    """Return whether a descriptor has a position; those of pipes and terminals have none."""
    try:
        os.lseek(number, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
