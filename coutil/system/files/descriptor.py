"""Descriptors that calls in the thread pool use, and that are closed only when no call uses them.

The system may give the number of a closed descriptor to another file at once: a call that is still in the pool would
read from, or write to, that file.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

from ..._libuv.files import FsCall
from ...errors import Closed

__all__ = ["Descriptor", "is_seekable"]


class Descriptor:
    """The owner of an open descriptor. Safe in any thread: it relies on the operations of lists being atomic."""

    __slots__ = ("_calls", "_name", "_numbers", "closed")

    def __init__(self, source: int | FsCall, name: str) -> None:
        """Take over a number, or the descriptor that a call has opened. name: its name in reports and errors."""
        self._numbers: list[int] = []  # empty as soon as a call to close it has taken the number
        self._calls: list[Any] = []  # the structs of the calls that use it
        self._name = name
        self.closed = False
        if isinstance(source, int):
            self._numbers += (source,)
        else:
            source.yield_descriptor(self._numbers)

    def __str__(self) -> str:
        """The name."""
        return self._name

    def number(self) -> int:
        """Return the number. Raises `Closed`."""
        held = self._numbers[:]
        if self.closed or not held:
            raise Closed(f"{self._name} is closed")
        return held[0]

    def begin(self, call: Any) -> None:
        """Keep the descriptor open during a call. Raises `Closed`."""
        self._calls += (call,)  # and not a call: a signal handler that raised in it would leave the descriptor open
        if self.closed:
            self.end(call)
            raise Closed(f"{self._name} is closed")

    def end(self, call: Any) -> None:
        """End the use by a call; close the descriptor if `close` was requested and no other call uses it."""
        self._calls.remove(call)
        if self.closed:
            self.close_when_unused()

    def detach(self, call: FsCall) -> bool:
        """Refuse new calls; return whether `call`, which is to close the descriptor, owns it now.

        If calls use it, the last of them closes it. A signal handler that raises in between leaves the descriptor with
        this object or with the call.
        """
        self.closed = True
        if any(used.busy for used in self._calls):
            return False
        call.adopt_descriptor(self._numbers)
        return call.owns_descriptor

    def close_when_unused(self) -> None:
        """Close it, now or when the last call that uses it is over. Errors are dropped."""
        if self._numbers:
            call = FsCall("close")
            self.detach(call)
            call.close_descriptor()

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Close it when the last reference is gone; at the end of the process the system does so."""
        if not ending() and hasattr(self, "closed"):  # without `closed` a signal handler has raised in `__init__`
            self.close_when_unused()


def is_seekable(number: int) -> bool:
    """Return whether a descriptor has a position; those of pipes and terminals have none."""
    try:
        os.lseek(number, 0, os.SEEK_CUR)
    except OSError:
        return False
    return True
