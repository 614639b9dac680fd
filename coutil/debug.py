"""Tools that report the activity of coroutines. Each consists of hooks (`coutil.hooks`), and works during a block:

    with Blocked(0.1), Trace():
        grant_first()

Both watch the event loop of the thread that enters the block.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from os import getpid
from os.path import dirname
from typing import Self

from ._coroutines import Coroutine, current_context
from ._interpreter import Time, allocate_lock, get_ident, start_new_thread
from ._kernel import ignored, outermost_frame
from .hooks import Hooks, install, uninstall

__all__ = ["Blocked", "Trace"]

Write = Callable[[str], object]

_OURS = dirname(__file__)


def _show(text: str) -> None:
    """Print a report on standard error."""
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def _stack(thread: int) -> str:
    """Return the current stack of a thread, formatted as a traceback, without frames of coutil."""
    lines = traceback.extract_stack(sys._current_frames()[thread])
    return "".join(traceback.format_list([line for line in lines if not line.filename.startswith(_OURS)]))


class Trace(Hooks):
    """Writes a line whenever a coroutine starts, goes on, waits, yields or ends.

    write: called with each line, without a newline; by default the line is printed on standard error. It cannot wait;
    its exceptions go to the excepthook. The lines begin with the seconds since the block began.
    """

    def __init__(self, write: Write | None = None) -> None:
        self._write = write or _show
        self._begin = 0

    def __enter__(self) -> Self:
        """Begin to write. Raises ValueError (it is already in use)."""
        install(self)
        self._begin = Time.monotonic_ns()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop writing."""
        uninstall(self)

    def resumed(self, coroutine: Coroutine) -> None:
        """Write that the coroutine starts, or goes on."""
        self._line(coroutine, "goes on" if coroutine._start is None else "starts")

    def parked(self, coroutine: Coroutine) -> None:
        """Write whether the coroutine waits, yields or ends."""
        if coroutine.status == "dead":
            self._line(coroutine, "ends")
        else:
            what = coroutine.waiting_on
            self._line(coroutine, "yields" if what is None else f"waits for {what}")

    def _line(self, coroutine: Coroutine, text: str) -> None:
        self._write(f"{(Time.monotonic_ns() - self._begin) / 1e9:10.6f} {coroutine.name} {text}")


class Blocked(Hooks):
    """Reports coroutines that block the loop: that run for more than `limit` seconds (float, > 0) without a wait.

    write: called with each report: the name of the coroutine, the time, and its stack. By default the report is printed
    on standard error. A separate thread samples the loop, and calls `write`; exceptions of that go to the excepthook of
    the loop. Code in C that holds the GIL is reported afterwards, without its stack.
    Raises TypeError, ValueError.
    """

    def __init__(self, limit: float = 0.1, write: Write | None = None) -> None:
        if isinstance(limit, bool) or not isinstance(limit, int | float):
            raise TypeError(f"limit must be a number of seconds, not {limit!r}")
        if not limit > 0:  # nor NaN
            raise ValueError(f"limit must be more than 0 seconds, not {limit!r}")
        self._limit, self._write = limit, write or _show
        self._running: list[Coroutine] = []  # the innermost last
        self._since = self._reported = 0  # when the outermost one began to run; 0: none runs

    def __enter__(self) -> Self:
        """Begin to watch. Raises ValueError (it is already in use), RuntimeError (no thread can be started)."""
        install(self)
        self._context, self._process = current_context(), getpid()
        self._end, self._ended = allocate_lock(), allocate_lock()
        self._end.acquire()
        self._ended.acquire()
        try:
            start_new_thread(self._watch, (get_ident(),))
        except BaseException:
            uninstall(self)
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Stop watching; wait for the end of the thread."""
        uninstall(self)
        if getpid() == self._process:  # a child of a fork does not have the thread
            self._end.release()
            self._ended.acquire()

    def resumed(self, coroutine: Coroutine) -> None:
        """Begin to measure, unless another coroutine resumed this one."""
        self._running.append(coroutine)
        self._since = self._since or Time.monotonic_ns()

    def parked(self, coroutine: Coroutine) -> None:
        """End the measurement when control is back in the hub."""
        del self._running[-1:]
        if not self._running:
            since, self._since = self._since, 0
            self._look(coroutine, since, "")

    def turn(self, count: int) -> None:
        """End the measurement: the coroutine that runs the loop does not block it."""
        self._running.clear()
        self._since = 0

    def _look(self, coroutine: Coroutine, since: int, lines: str) -> None:
        """Report a coroutine that has run since `since`, if that is too long and not reported yet."""
        spent = (Time.monotonic_ns() - since) / 1e9
        if spent > self._limit and since not in (0, self._reported):
            self._reported = since
            self._write(f"{coroutine.name} has kept the loop busy for {spent:.3f} s\n{lines}".rstrip())

    def _watch(self, thread: int) -> None:
        """Sample the loop of a thread, in another thread."""
        ignored[get_ident()] = outermost_frame(sys._getframe())  # it wakes no coroutine: see errors.Deadlock
        while not self._end.acquire(timeout=min(self._limit / 2, 1)):
            try:
                since, running = self._since, self._running[-1:]
                lines = _stack(thread)
                if running and since == self._since:  # the lines are those of this stretch
                    self._look(running[0], since, lines)
            except BaseException as error:  # noqa: BLE001  # reported
                self._context.call_threadsafe(self._context.report, None, error)
        ignored.pop(get_ident(), None)
        self._ended.release()
