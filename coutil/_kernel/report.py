"""Who waits for what: the text of a deadlock, for people."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import FrameType

from .coroutine import Coroutine, Home

__all__ = ["deadlock", "suspended"]


def suspended(where: Home) -> list[Coroutine]:
    """Return the coroutines of a thread that have started and are suspended now.

    They are found through the garbage collector, so that running ones pay nothing for it. It does not show what is
    older than a `gc.freeze()`; the main program must not be missing then.
    """
    found = dict.fromkeys([where.main, *(thing for thing in gc.get_objects() if isinstance(thing, Coroutine))])
    return [one for one in found if one.home is where and one.frame is not None and one.resumer is None]


def deadlock(where: Home) -> str:
    """Return the message of `errors.Deadlock`: a line for each coroutine that waits."""
    waiting = suspended(where)
    plural = "s that wait" if len(waiting) != 1 else " that waits"
    return "\n".join([f"nothing can wake the {len(waiting)} coroutine{plural}", *_lines(waiting)])


def _lines(waiting: list[Coroutine]) -> Iterator[str]:
    width = max((len(one.name) for one in waiting), default=0)
    for one in waiting:
        yield f"  {one.name:{width}}  {one.waiting_on or 'yield'}  {_place(one.frame)}"


def _place(frame: FrameType | None) -> str:
    """Return the line of the user's code that waits: the innermost one outside coutil."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("coutil."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}" if frame is not None else ""
