"""Handles of coutil.uv of every kind, and how to make an event of each: for tests that go for all of them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from typing import Any

from coutil import uv

SIGNAL = signal.SIGUSR2


class Kind:
    """One kind of handle. `handler` is the name of its attribute; handlers get the handle first."""

    name = handler = ""
    again = True  # whether it can be started after it was stopped

    def make(self, loop: uv.Loop) -> Any:
        """Return a new handle."""
        raise NotImplementedError

    def start(self, one: Any) -> None:
        """Let it have events."""

    def stop(self, one: Any) -> None:
        """Let it have no more events."""
        one.stop()

    def trigger(self, handles: Iterable[Any]) -> None:
        """Make an event for each of the handles in the next turn of their loop."""


class TimerKind(Kind):
    name, handler = "timer", "ontimeout"

    def make(self, loop):
        return uv.Timer(loop)

    def trigger(self, handles):
        for one in handles:
            one.start(0)


class PhaseKind(Kind):
    def __init__(self, name: str, make: Callable[[uv.Loop], Any]) -> None:
        self.name, self.handler, self._make = name, f"on{name}", make

    def make(self, loop):
        return self._make(loop)

    def start(self, one):
        one.start()


class AsyncKind(Kind):
    name, handler, again = "async", "onasync", False

    def make(self, loop):
        return uv.Async(loop)

    def stop(self, one):
        one.close_soon()

    def trigger(self, handles):
        for one in handles:
            one.send()


class SignalKind(Kind):
    name, handler = "signal", "onsignal"

    def make(self, loop):
        return uv.Signal(loop)

    def start(self, one):
        one.start(SIGNAL)

    def trigger(self, handles):
        os.kill(os.getpid(), SIGNAL)


class ProcessKind(Kind):
    name, handler, again = "process", "onexit", False

    def make(self, loop):
        return uv.Process(loop, "true")

    def stop(self, one):
        one.close_soon()

    def trigger(self, handles):
        for one in handles:  # have ended, but no one has taken their status
            until = time.monotonic() + 10
            while os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is None:
                assert time.monotonic() < until
                time.sleep(0.001)


KINDS: list[Kind] = [
    TimerKind(),
    PhaseKind("idle", uv.Idle),
    PhaseKind("prepare", uv.Prepare),
    PhaseKind("check", uv.Check),
    AsyncKind(),
    SignalKind(),
    ProcessKind(),
]


class PollKind(Kind):
    name, handler = "poll", "onpoll"

    def make(self, loop):
        ends = os.pipe()
        try:
            one = uv.Poll(loop, ends[0])
        except Exception:
            os.close(ends[0])
            os.close(ends[1])
            raise
        os.write(ends[1], b"x")
        one.ends = ends
        return one

    def start(self, one):
        one.start("r")

    def close_ends(self, handles):
        for one in handles:
            for end in one.ends:
                os.close(end)


KINDS.append(PollKind())
