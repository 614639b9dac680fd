"""What may wake a hub from outside of its loop: other threads, the thread pool, and signal handlers in Python.

A hub in which nothing is alive asks here before it raises `Deadlock`. If something may wake it, it waits for that, and
asks again after a while: threads end without a word.

Rule 1: a thread that runs Python code may do anything, so it counts. It does not if all that it does is to wait for
something that cannot happen: in a hub which asks here as well, or for the end of such a thread.
Rule 2: only threads that have a frame count. Those of the thread pool, of faulthandler and of C libraries have none;
the pool's calls of Python functions are known even before they begin.
Rule 3: a thread that has just been started has no frame before it runs, and it may wait long for a processor. So the
hub gives up only after it has let go of the GIL for a moment, if no thread is new by then and each has run.
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
    """How a hub waits for what is outside of its loop."""

    __slots__ = ("asked_in_turn", "hub", "last_wait_ms", "os_threads", "wait_ms")

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.wait_ms = 0  # of the next step; 0: none
        # How many the last such step did, and in which turn that was decided
        self.last_wait_ms = self.asked_in_turn = 0
        self.os_threads: dict[str, bool] = {}  # the OS threads that there were at the last look; see _lifecycle.tasks

    def step_finished(self, happened: bool) -> None:
        """Note that the step is over, and whether anything has happened in it."""
        self.wait_ms = 0
        if happened:
            self.last_wait_ms = 0

    def prepare_wait(self) -> bool:
        """Have the next step wait for what may wake the hub, in which nothing is alive; return False if nothing may.

        Before it gives up it waits for a moment, and asks once more. See rule 3.
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
        """Return whether an OS thread may be about to run Python code: it is new since the last look or has not run."""
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
        """Return the lines that tell what might have woken the hub, and why other threads cannot."""
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
    """Return the other threads that may wake a hub, and those that cannot, its own among these."""
    frames = sys._current_frames()
    try:
        waiting = {
            hub.context.thread,
            *(one.context.thread for one in _lifecycle.all_hubs() if one._wakers.is_idle_wait()),
        }
        others = {
            ident: frame
            for ident, frame in frames.items()
            if ident not in waiting and ignored.get(ident) is not outermost_frame(frame)
        }
        while more := [ident for ident, frame in others.items() if _joins_one_of(frame, waiting)]:
            waiting.update(more)
            for ident in more:
                del others[ident]
        return set(others), waiting & {hub.context.thread, *frames}
    finally:
        frames.clear()  # our own is among them


def outermost_frame(frame: FrameType) -> FrameType:
    """Return the frame that a thread began with: idents are used again, by threads that begin with another one."""
    while frame.f_back is not None:
        frame = frame.f_back
    return frame


def _joins_one_of(frame: FrameType | None, threads: set[int]) -> bool:
    """Return whether a thread waits for the end of one of `threads`, or of all of them as the process ends."""
    threading: Any = sys.modules.get("threading")
    join = getattr(getattr(threading, "Thread", None), "join", None)
    ends = getattr(threading, "_shutdown", None)
    joins = {getattr(join, "__code__", None), *_lifecycle.join_codes}
    ends_all = {getattr(ends, "__code__", None), *_lifecycle.join_all_codes}
    for _ in range(2):  # the functions themselves, or what they wait in
        if frame is None:
            break
        if frame.f_code in ends_all:
            return True
        if frame.f_code in joins:
            names = frame.f_locals
            return names.get("timeout") is None and getattr(names.get("self"), "ident", None) in threads
        frame = frame.f_back
    return False
