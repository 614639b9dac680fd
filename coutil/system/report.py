"""The report on demand: the coroutines that wait, what they wait for, its holders, and the code that runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from .. import _diagnostics, _lifecycle
from .._coroutines import Coroutine
from .._libuv.arguments import check_bool

__all__ = ["report"]


class Writable(Protocol):
    """A file that text can be written to."""

    def write(self, text: str, /) -> object:
        """Write `text`."""


def report(file: Writable | None = None, *, stacks: bool = False) -> None:
    """Write a report on the coroutines of all OS threads of the process.

    file: has a method write(text); None: standard error. stacks: show the whole stack of each waiting coroutine, the
    innermost line first, in place of the one line of code where it waits.

    For each coroutine that waits the report has its name, the duration, the object that it waits on (a socket with its
    addresses), the holder of that object, and its line of code; the path of the file is relative if it lies below the
    current directory. Then follow each cycle of coroutines that wait for each other, the state of the coroutines that
    do not wait, and the stack of the running code, innermost first. A thread that never waited is not shown. Durations
    are measured by the loop's turns, so they may be slightly too long.

    May be called anywhere, also in the loop's hooks, in other OS threads, and in signal handlers. Never suspends, and
    takes no lock; the text is written by one call. To get a report by Ctrl-backslash, or `kill -QUIT`:

        signal.signal(signal.SIGQUIT, lambda *_: system.report())

    Raises TypeError, and the errors of `file.write`. Errors of standard error (it is closed, broken or full) are
    dropped, because a signal handler would raise them in the middle of the main program.
    """
    if file is not None and not callable(getattr(file, "write", None)):
        raise TypeError(f"file must have a method write(), not {file!r}")
    check_bool(stacks=stacks)
    text = _diagnostics.full_report(Coroutine, [hub.context for hub in tuple(_lifecycle._hubs)], stacks)
    if file is not None:
        file.write(text)
    elif sys.stderr is not None:
        with suppress(Exception):
            sys.stderr.write(text)
