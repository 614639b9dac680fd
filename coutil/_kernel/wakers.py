"""Sources that may wake a hub from outside of its loop: other threads, the thread pool, signal handlers in Python.

A hub in which nothing is alive asks here before it raises `Deadlock`. If a source may wake it, it waits, and asks again
after a while: the end of a thread is not reported.

Rule 1: a thread that runs Python code may do anything, so it counts. It does not count if it only waits for something
that cannot happen: in a hub which asks here, too, or for the end of such a thread.
Rule 2: only threads that have a frame of Python count. Threads of the thread pool, of faulthandler and of C libraries
have none; the pool's calls of Python functions are counted from their start on.
Rule 3: a thread that has just been started has no frame before it runs, and it may wait long for a processor. So the
hub gives up only after it has released the GIL for a moment, if no thread is new by then and each has run.
"""

from __future__ import annotations

import sys
from types import FrameType
from typing import Any

from .. import _lifecycle
from .._diagnostics import thread_name
from .._libuv import threads, work

__all__ = ["ExternalWakers", "ignore_threads", "ignored", "outermost_frame"]

Hub = Any

CONFIRM_WAIT_MS = 25  # milliseconds that a hub waits before it gives up; see rule 3
MIN_WAIT_MS, MAX_WAIT_MS = 10, 1000  # milliseconds before it asks again, twice as many each time

ignored: dict[int, FrameType] = {}  # threads that never wake a coroutine, by ident: their outermost frames


class ExternalWakers:
    """The waits of a hub for sources outside of its loop."""

    __slots__ = ("asked_in_turn", "hub", "last_wait_ms", "os_threads", "wait_ms")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.wait_ms = 0  # of the next step; 0: none
        # Milliseconds of the last such step, and the turn in which they were determined
        self.last_wait_ms = self.asked_in_turn = 0
        self.os_threads: dict[str, bool] = {}  # the OS threads at the last look; see _lifecycle.os_threads

    def step_finished(self, happened: bool) -> None:
        """Note that the step is over. happened: it has made a delivery."""
        self.wait_ms = 0
        if happened:
            self.last_wait_ms = 0

    def prepare_wait(self) -> bool:
        """Have the next step wait for a source that may wake the hub; return False if there is none.

        Before that it waits for a moment, and looks once more: see rule 3.
        """
        again, self.asked_in_turn = self.hub._turns - self.asked_in_turn <= 2, self.hub._turns
        waited = self.last_wait_ms if again else 0
        if may_be_woken(self.hub):
            self.last_wait_ms = min(max(2 * waited, MIN_WAIT_MS), MAX_WAIT_MS)
        else:
            self.last_wait_ms = CONFIRM_WAIT_MS if self._new_thread_may_run() or waited != CONFIRM_WAIT_MS else 0
        self.wait_ms = self.last_wait_ms
        return self.wait_ms > 0

    def _new_thread_may_run(self) -> bool:
        """Return whether an OS thread may be about to run Python code: it is new, or has not run."""
        before, self.os_threads = self.os_threads, _lifecycle.os_threads()
        return any(not has_run or number not in before for number, has_run in self.os_threads.items())

    def is_idle_wait(self) -> bool:
        """Return whether the hub is in such a step, and no other thread has called it."""
        return bool(
            self.wait_ms
            and self.hub.polling
            and not self.hub._threadsafe_calls
            and not self.hub.context.threadsafe_calls
        )

    def explain(self) -> list[str]:
        """Return the lines of a report that list the absent sources, and the threads that wait, too."""
        names = sorted(thread_name(ident) for ident in _threads(self.hub)[1] - {self.hub.context.thread})
        return [
            "no other thread runs, no signal has a handler in Python, the thread pool is idle: each of these could",
            *(f"  thread {name} waits, too" for name in names),
        ]


def may_be_woken(hub: Hub) -> bool:
    """Return whether anything outside of the loop of `hub`, in which nothing is alive, may end a wait."""
    if (
        hub._threadsafe_calls
        or hub.context.threadsafe_calls
        or work.pending()
        or threads.pending()
        or _lifecycle.has_signal_handlers()
    ):
        return True
    return bool(_threads(hub)[0])


def ignore_threads() -> None:
    """See `coutil.testing.ignore_threads`."""
    frames = sys._current_frames()
    del frames[_lifecycle.get_ident()]
    ignored.clear()
    ignored.update((ident, outermost_frame(frame)) for ident, frame in frames.items())


def _threads(hub: Hub) -> tuple[set[int], set[int]]:
    """Return the idents of the threads that may wake a hub, and of those that cannot, its own among these."""
    frames = sys._current_frames()
    try:
        # Threads whose hubs ask here, too
        waiting = {
            hub.context.thread,
            *(other.context.thread for other in _lifecycle.all_hubs() if other._wakers.is_idle_wait()),
        }
        others = {
            ident: frame
            for ident, frame in frames.items()
            if ident not in waiting and ignored.get(ident) is not outermost_frame(frame)
        }
        # Threads that wait for the end of such a thread, and so on
        while more := [ident for ident, frame in others.items() if _joins_one_of(frame, waiting)]:
            waiting.update(more)
            for ident in more:
                del others[ident]
        return set(others), waiting & {hub.context.thread, *frames}
    finally:
        frames.clear()  # the frame of this function is among them


def outermost_frame(frame: FrameType) -> FrameType:
    """Return the first frame of a thread: with the ident, which is used again, it identifies the thread."""
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def _joins_one_of(frame: FrameType | None, threads: set[int]) -> bool:
    """Return whether a thread waits for the end of one of `threads`, or, as the process ends, of all."""
    threading: Any = sys.modules.get("threading")
    join = getattr(getattr(threading, "Thread", None), "join", None)
    ends = getattr(threading, "_shutdown", None)
    joins = {getattr(join, "__code__", None), *_lifecycle.join_codes}
    ends_all = {getattr(ends, "__code__", None), *_lifecycle.join_all_codes}
    for _ in range(2):  # the innermost frame is that of the function, or of one that it calls
        if frame is None:
            break
        if frame.f_code in ends_all:
            return True
        if frame.f_code in joins:
            names = frame.f_locals
            return names.get("timeout") is None and getattr(names.get("self"), "ident", None) in threads
        frame = frame.f_back
    return False
