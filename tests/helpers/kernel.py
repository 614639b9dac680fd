"""The private parts of the kernel that tests use: tests import them from here, and not from the kernel's files.

test_architecture.py holds them to that, except for tests of a file that replace what is in it.
"""

from __future__ import annotations

from coutil._coroutines.attributes import AttributeHint
from coutil._coroutines.coroutine import Coroutine, current_context, running
from coutil._coroutines.hooks import Hooks
from coutil._coroutines.outcomes import Resumed, waits
from coutil._coroutines.runner import MAX_IDLE_RUNNERS
from coutil._coroutines.states import DEBUG, OBJECT, OPERATION, Arrow, State, arrow, audited, observers, table
from coutil._coroutines.switching import park as raw_park
from coutil._coroutines.switching import park_unowned
from coutil._kernel import wakers
from coutil._kernel.completion import Completion
from coutil._kernel.handle import KernelHandle
from coutil._kernel.hub import CLOCK_CHECK_EVERY, COOP_BUDGET, Hub, current_hub
from coutil._kernel.operation import MAX_DETACHED, Operation, current_operation, spend_budget
from coutil._kernel.slots import NULL_HANDLER, SLOT_GROWTH
from coutil._kernel.turn_end import Decision, TurnEnd, decide

__all__ = [
    "CLOCK_CHECK_EVERY",
    "COOP_BUDGET",
    "DEBUG",
    "MAX_DETACHED",
    "MAX_IDLE_RUNNERS",
    "NULL_HANDLER",
    "OBJECT",
    "OPERATION",
    "SLOT_GROWTH",
    "Arrow",
    "AttributeHint",
    "Completion",
    "Coroutine",
    "Decision",
    "Hooks",
    "Hub",
    "KernelHandle",
    "Operation",
    "Resumed",
    "State",
    "TurnEnd",
    "arrow",
    "audited",
    "current_context",
    "current_hub",
    "current_operation",
    "decide",
    "observers",
    "park",
    "park_unowned",
    "raw_park",
    "running",
    "spend_budget",
    "table",
    "waits",
    "wakers",
]


@waits
def park(coroutine: Coroutine, what: object) -> None:
    """Suspend the running coroutine until the hub wakes it, or return the value of an explicit resume."""
    raw_park(coroutine, what)
