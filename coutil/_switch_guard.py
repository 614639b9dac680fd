"""Recognition of code that runs between two steps of other code: finalizers in the collector, and signal handlers.

Such code must not switch to a coroutine: the hub resumes, starts or wakes it later (`LoopContextBase.call_soon`).

The collector keeps the heads of its lists in a C frame. A switch moves that frame off the stack. When an object of such
a list is freed then, it writes to the address of the head, where the frames of another greenlet lie: the process
crashes. A signal handler runs between two steps of a coroutine that no other coroutine may run between.

Rule 1: the functions that the collector calls here contain no Python code. A signal handler would run in it, and the
collector drops the exceptions of a handler there. So the callbacks are calls of `getattr`, whose properties are in C.
Rule 2: hot paths test only `collector.runs`, or `needs_check`, which is empty unless there is a reason to look further.
Rule 3: a finalizer that runs because the last reference was dropped is an ordinary call of the code that dropped it. It
is recognised only while `handler_codes` is not empty: looking at the stack costs as much as half an emission.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterable
from functools import partial
from operator import methodcaller
from types import CodeType, FrameType
from typing import Any

from ._interpreter import local

__all__ = ["collector", "handler_codes", "in_collector", "needs_check", "set_signal_handlers", "switch_forbidden"]


class _CollectorState:
    """Whether the collector runs, in any thread."""

    __slots__ = ("runs",)
    start = property(methodcaller("__setattr__", "runs", True))
    stop = property(methodcaller("__setattr__", "runs", False))
    runs: bool


class _NeedsCheck(set[str]):
    """Holds one element while the collector runs, in any thread, and another one while `handler_codes` is not empty."""

    start = property(methodcaller("add", "collector"))
    stop = property(methodcaller("discard", "collector"))


class _ThreadState(local):
    """Whether the collector runs in the calling thread."""

    running = False
    start = property(methodcaller("__setattr__", "running", True))
    stop = property(methodcaller("__setattr__", "running", False))


collector = _CollectorState()
collector.runs = False
needs_check = _NeedsCheck()
handler_codes: set[CodeType] = set()  # of the program's signal handlers in Python
_thread_state = _ThreadState()
# Called with "start" or "stop"
gc.callbacks += [partial(getattr, each) for each in (collector, needs_check, _thread_state)]


def in_collector() -> bool:
    """Return whether the collector has called the caller, in this thread."""
    return collector.runs and _thread_state.running


def switch_forbidden() -> bool:
    """Return whether the caller must not switch, because the collector or a signal handler called it.

    Test `needs_check` first where time matters.
    """
    return in_collector() or (bool(handler_codes) and _in_handler())


def _in_handler() -> bool:
    """Return whether a frame of a signal handler, or of a finalizer, is on the stack."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        code = frame.f_code
        if code in handler_codes or code.co_name == "__del__":
            return True
        frame = frame.f_back
    return False


def set_signal_handlers(functions: Iterable[Any]) -> None:
    """Set the signal handlers whose code is recognised."""
    codes = {code for function in functions if (code := _code_of(function)) is not None}
    if codes != handler_codes:
        needs_check.add("handlers")
        handler_codes.update(codes)
        handler_codes.intersection_update(codes)
        if not handler_codes:
            needs_check.discard("handlers")


def _code_of(function: Any) -> CodeType | None:
    """Return the code that a call of `function` runs first; None if that is not Python code."""
    while isinstance(function, partial):
        function = function.func
    function = getattr(function, "__func__", function)
    if callable(function) and not hasattr(function, "__code__"):
        function = type(function).__call__
    code = getattr(function, "__code__", None)
    return code if isinstance(code, CodeType) else None
