"""Coroutines over greenlets: how they run, suspend and end. Needs no libuv.

This file is the door. `event`, `mutex`, `promise`, `queued`, `spawn` and all layers above them import from here, and
not from the files of this folder:

- all layers: `Coroutine`, `running`, `is_yieldable`, `current_context`, `waits` and `Resumed`, the checks of functions,
  and the functions for errors and reports;
- primitives, which keep lists of waiters: the `park` and `wake` functions, `throw_and_report`, `PendingException`;
- objects with their own state (signals, standard streams, watches): the names of the states;
- `system` and `uv`, for their loops: `ForeignEntry`, `Runner`, `main_greenlet`, `suspend`.

The kernel is the other half of this folder, and imports its files.
"""

from .attributes import AttributeHint, public_names
from .books import (
    ExceptHook,
    NonCopyable,
    caller_location,
    calling_frame,
    foreign_thread_error,
    print_exception,
    warn_in_finalizer,
)
from .callables import ASYNC, check_function, is_python
from .coroutine import Coroutine, LoopContext, current_context, is_yieldable, running, thread_has_context
from .hooks import Hooks
from .outcomes import PendingException, Resumed, waits
from .runner import Runner, main_greenlet
from .states import ARMED, AWAIT_HANDLE, CLOSE_HANDLE, CLOSE_REQUEST, FREED, O_ARMED, O_READY
from .switching import (
    ForeignEntry,
    SuspendBackend,
    park,
    park_registered,
    park_unowned,
    suspend,
    throw_and_report,
    wake,
    wake_now,
    yield_,
)

__all__ = [
    "ARMED",
    "ASYNC",
    "AWAIT_HANDLE",
    "CLOSE_HANDLE",
    "CLOSE_REQUEST",
    "FREED",
    "O_ARMED",
    "O_READY",
    "AttributeHint",
    "Coroutine",
    "ExceptHook",
    "ForeignEntry",
    "Hooks",
    "LoopContext",
    "NonCopyable",
    "PendingException",
    "Resumed",
    "Runner",
    "SuspendBackend",
    "caller_location",
    "calling_frame",
    "check_function",
    "current_context",
    "foreign_thread_error",
    "is_python",
    "is_yieldable",
    "main_greenlet",
    "park",
    "park_registered",
    "park_unowned",
    "print_exception",
    "public_names",
    "running",
    "suspend",
    "thread_has_context",
    "throw_and_report",
    "waits",
    "wake",
    "wake_now",
    "warn_in_finalizer",
    "yield_",
]
