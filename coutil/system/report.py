"""The report on demand: who waits for what, who holds it, and what runs."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import Protocol

from .. import _host, _report
from .._coroutines.coroutine import Coroutine

__all__ = ["report"]


class Writable(Protocol):
    """What text can be written to."""

    def write(self, text: str, /) -> object:
        """Write `text`."""


def report(file: Writable | None = None, *, stacks: bool = False) -> None:
    """Write who waits in all OS threads of the process, and what runs, to `file` (standard error by default).

    For each coroutine that waits: its name, for how long, on what (with the addresses of a socket), who holds that, and
    its line of code, or all lines up to it, the innermost first, if `stacks`; the file's path is relative if it lies
    below the current directory. Then each cycle of coroutines that wait for each other,
    what the coroutines do that do not wait, and the code that runs, innermost first. A thread that never waited is not
    shown. Times are those of the loop's turns, so they may be a bit too long.

    May be called anywhere: also in the loop's hooks, in other OS threads, and in signal handlers. Never suspends, and
    takes no lock; the text is written by one call. To get a report by Ctrl-backslash, or `kill -QUIT`:

        signal.signal(signal.SIGQUIT, lambda *_: system.report())

    Raises TypeError, and what `file.write` raises. What standard error does not take, because it is closed, broken or
    full, is dropped: a signal handler would raise that in the middle of the main program.
    """
    if file is not None and not callable(getattr(file, "write", None)):
        raise TypeError(f"file must have a method write(), not {file!r}")
    if not isinstance(stacks, bool):
        raise TypeError(f"stacks must be a bool, not {stacks!r}")
    text = _report.everything(Coroutine, [hub.home for hub in tuple(_host._hubs)], stacks)
    if file is not None:
        file.write(text)
    elif sys.stderr is not None:
        with suppress(Exception):
            sys.stderr.write(text)
