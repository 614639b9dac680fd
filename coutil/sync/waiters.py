"""Waiters and their queues: the part that all primitives of this package share.

A call that has to wait makes a `Waiter`, which is its own event and stands in a queue of the primitive. Granting ends
the wait: the waiter leaves its queue, receives what it waits for, and enters the ready queue of the hub.

Rule 1: granting resumes no coroutine. The hub resumes the waiter later, unless the wait has ended in another way by
then. So calls that grant run no other code, and work anywhere.

Rule 2: granting is atomic for signal handlers. CPython runs a handler, which may raise, only where a function begins,
after a call, and where a loop goes round. So a waiter leaves its queue, is granted, and enters the ready queue without
any of these in between; the call that enters it is the last step. A call that raises has therefore had its whole
effect, or none. `grant_first` is the pattern; operations that move more than one waiter write it out. The steps that
undo a wait can be repeated, and are repeated if a second handler raises during them.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

from greenlet import getcurrent

from .._coroutines import (
    Coroutine,
    Resumed,
    caller_location,
    current_context,
    foreign_thread_error,
    park_registered,
    running,
)
from .._coroutines import wake as resume
from .._interpreter import get_ident
from .._kernel import COOP_BUDGET, Callback, ReadyItem
from ..event import Wait, deregister, registry
from ..scopes.deadline import call_with_timeout


class Waiter(Wait, ReadyItem):
    """One call that waits at a primitive. It is its own event, and stands in a queue of the primitive.

    `granted`: None as long as it waits; whether it has succeeded, once that is decided. A waiter does not refer to its
    coroutine, not even in the ready queue: only the registry does, and drops the reference when the thread ends.
    """

    __slots__ = ("context", "granted", "primitive")
    verb = "wait"
    owner: Coroutine | None = None  # the coroutine that must act first, if it is one alone

    def __init__(self, primitive: Primitive) -> None:
        self.primitive = primitive
        self.granted: bool | None = None
        self.context: Any = None  # that of the coroutine, once it is registered

    @property
    def keys(self) -> tuple[Waiter]:  # an attribute would make a cycle
        """The keys of the wait in the registry."""
        return (self,)

    def run(self) -> bool:
        """Resume the coroutine, from the ready queue, unless its wait has ended in another way."""
        waiter = self.claim_runnable()
        if waiter is None:
            return False
        resume(waiter)
        return True

    def claim_runnable(self) -> Coroutine | None:
        """Leave the ready queue; return the coroutine for the caller to switch to. None: its wait ended otherwise."""
        waits = self.primitive._waits
        try:
            waiter = waits[self][1]
        except KeyError:
            return None
        if waiter.resumer is not None:
            return None
        hub = waiter.context.hub
        del waits[self]  # no signal handler can run from here on: see _kernel/dispatcher.py
        waiter.waiting_on = None
        waiter.resumer = waiter.hub_greenlet
        waiter._greenlet.coroutine = waiter
        if (operation := waiter.operation) is not None:
            operation.coroutine = waiter
        hub.switching_to = waiter
        del hub.ready[0]
        hub.coop_budget = COOP_BUDGET
        return waiter  # type: ignore[no-any-return]  # a Coroutine

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that waits."""
        entry = self.primitive._waits.get(self)
        return entry[1] if entry is not None else None

    def __str__(self) -> str:
        return f"{type(self.primitive).__name__.lower()} {self.primitive._label()} {self.verb}"


WaitQueue = OrderedDict[Any, None]  # the waiters, longest wait first


def wait(waiter: Waiter) -> None:
    """Suspend the running coroutine until `waiter` is granted. Raises `Resumed` after an explicit resume."""
    try:
        park_registered(waiter, waiter.primitive._waits, running)
    except BaseException:
        abandon_wait(waiter)
        raise


def abandon_wait(waiter: Waiter) -> None:
    """Deregister the running coroutine, if it is still registered as waiting for `waiter`. May be repeated."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None and coroutine.waiting_on is waiter:
        deregister()


def wait_uninterrupted(waiter: Waiter) -> None:
    """Wait until `waiter` is granted; ignore explicit resumes."""
    while waiter.granted is None:
        try:
            wait(waiter)
        except Resumed:
            continue


def wait_with_timeout(timeout: float | None, wait: Callable[[Waiter], object], waiter: Waiter) -> None:
    """Call wait(waiter), for at most `timeout` seconds; None: without limit. Raises `Timeout`."""
    wait(waiter) if timeout is None else call_with_timeout(timeout, wait, waiter)


def cancel_wait(queue: WaitQueue, waiter: Waiter, undo: Callable[[], object]) -> None:
    """Undo a cancelled wait: leave the queue, or call `undo` if it was granted. May be repeated if it raises."""
    abandon_wait(waiter)
    if waiter in queue:
        del queue[waiter]
    elif waiter.granted:
        undo()


def grant_first(queue: WaitQueue, granted: bool = True) -> Any:
    """Take the longest waiter out of a queue, and have the hub resume it; return it, None if there is none.

    granted: the result of its wait. See Rule 2.
    """
    for waiter in queue:  # noqa: B007  # unlike a call, this runs no signal handler
        break
    else:
        return None
    del queue[waiter]
    waiter.granted = granted
    if (context := waiter.context) is not None:  # else the waiter has not suspended yet and will check
        hub = context.hub
        ready = context.pending_ready if hub is None else hub.ready
        ready += (waiter,)  # not a call, which could run a signal handler
        if hub is not None and hub.polling:
            hub.interrupt_poll()
    return waiter


def grant_all(primitive: Any, granted: bool) -> None:
    """Grant all waiters of a primitive, which gets an empty queue. If it raises, all are granted, or none."""
    if len(primitive._waiters) < 2:
        grant_first(primitive._waiters, granted)
        return
    leaving, fresh = _GrantAll(granted), WaitQueue()
    current_context().enqueue(Callback(leaving))
    leaving.queue, primitive._waiters = primitive._waiters, fresh
    leaving()


class _GrantAll:
    """The waiters that are granted together. May be called again."""

    __slots__ = ("granted", "queue")

    def __init__(self, granted: bool) -> None:
        self.granted = granted
        self.queue = WaitQueue()

    def __call__(self) -> None:
        """Grant those that are left."""
        while grant_first(self.queue, self.granted) is not None:
            pass


class Primitive:
    """Base class of the objects of this package; coroutines wait at them in queues."""

    __slots__ = ("__weakref__", "_created_at", "_thread", "_waits")

    def __init__(self) -> None:
        self._waits = registry.waits
        self._thread = get_ident()
        self._created_at = caller_location(sys._getframe())

    def _check_thread(self) -> None:
        if self._thread != get_ident():
            raise foreign_thread_error(f"{self!r}", self._thread)

    def _format_repr(self, state: str, queue: Collection[Any], doing: str = "waiting") -> str:
        """Return a repr: class, state, number of waiters and the line that made it."""
        waiting = f", {len(queue)} {doing}" if queue else ""
        return f"<{f'{type(self).__name__} {state}'.rstrip()}{waiting} at {self._created_at.rpartition('/')[2]}>"

    def _label(self) -> str:
        """Return the text for reports, without the owner, which they name themselves."""
        return repr(self)


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise TypeError unless `value` is an integer, ValueError if it is less than `least`."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
