"""The private parts of the kernel that tests use, in one place."""

from __future__ import annotations

from coutil._coroutines.coroutine import Coroutine
from coutil._coroutines.outcomes import waits
from coutil._coroutines.switching import park as raw_park

__all__ = ["park", "raw_park", "waits"]


@waits
def park(coroutine: Coroutine, what: object) -> None:
    """Suspend the running coroutine until the hub wakes it, or return the value of an explicit resume."""
    raw_park(coroutine, what)
