"""How coroutines wait here: each call is a turn, which is its own event and stands in a line of a primitive.

Rule 1: to serve a turn resumes no coroutine. It puts the turn into the ready queue of the hub, which resumes the waiter
unless the wait has ended in another way by then. So the calls that serve others run no other code, and work anywhere.

Rule 2: a signal handler may raise where a function begins, after a call, and where a loop goes round. So a turn leaves
its line, is given what it waits for, and enters the ready queue without any of these in between; the call that puts it
there is the last step. What raises has therefore had its whole effect, or none. `grant_first` is the pattern; where
more than a turn is moved, it is written out. What undoes a wait can be repeated, and is, if a second handler raises in
there.
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
from .._kernel import COOP_BUDGET, ReadyItem
from ..event import Wait, deregister, registry
from ..scopes.deadline import call_with_timeout


class Waiter(Wait, ReadyItem):
    """A call that waits at a primitive. It is its own event, and stands in a line of the primitive.

    `granted`: None as long as it waits; whether it has succeeded, once that is decided. A turn does not refer to its
    coroutine, not even in the ready queue: the registry alone does, and forgets it when the thread ends.
    """

    __slots__ = ("context", "granted", "primitive")
    verb = "wait"
    owner: Coroutine | None = None  # who must act first, if anybody in particular

    def __init__(self, primitive: Primitive) -> None:
        self.primitive = primitive
        self.granted: bool | None = None
        self.context: Any = None  # the waiter's, once it is registered

    @property
    def keys(self) -> tuple[Waiter]:  # an attribute would make a cycle
        """What the wait is registered under."""
        return (self,)

    def run(self) -> bool:
        """Resume the waiter, from the ready queue, unless its wait has ended in another way."""
        waiter = self.claim_runnable()
        if waiter is None:
            return False
        resume(waiter)
        return True

    def claim_runnable(self) -> Coroutine | None:
        """Take itself out and return the waiter, which the caller enters. None: its wait has ended in another way."""
        waits = self.primitive._waits
        try:
            waiter = waits[self][1]
        except KeyError:
            return None
        if waiter.resumer is not None:
            return None
        hub = waiter.context.hub
        del waits[self]  # from here on nothing looks for signals: see _kernel/dispatcher.py
        waiter.waiting_on = None
        waiter.resumer = waiter.hub_greenlet
        waiter._greenlet.coroutine = waiter
        if (operation := waiter.operation) is not None:
            operation.coroutine = waiter
        hub.switching_to = waiter
        del hub.ready[0]
        hub.coop_budget = COOP_BUDGET
        return waiter  # type: ignore[no-any-return]  # it is one

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that waits."""
        entry = self.primitive._waits.get(self)
        return entry[1] if entry is not None else None

    def __str__(self) -> str:
        return f"{type(self.primitive).__name__.lower()} {self.primitive._label()} {self.verb}"


WaitQueue = OrderedDict[Any, None]  # who waits, first come first


def wait(waiter: Waiter) -> None:
    """Suspend the running coroutine until `waiter` is done. Raises `Resumed` after an explicit resume."""
    try:
        park_registered(waiter, waiter.primitive._waits, running)
    except BaseException:
        abandon_wait(waiter)
        raise


def abandon_wait(waiter: Waiter) -> None:
    """End the wait of the running coroutine for `waiter`, if it has started, and was not ended. May be repeated."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None and coroutine.waiting_on is waiter:
        deregister()


def wait_uninterrupted(waiter: Waiter) -> None:
    """Wait until the turn is done, whatever an explicit resume brings."""
    while waiter.granted is None:
        try:
            wait(waiter)
        except Resumed:
            continue


def wait_with_timeout(timeout: float | None, wait: Callable[[Waiter], object], waiter: Waiter) -> None:
    """Call wait(turn), in time."""
    wait(waiter) if timeout is None else call_with_timeout(timeout, wait, waiter)


def cancel_wait(queue: WaitQueue, waiter: Waiter, undo: Callable[[], object]) -> None:
    """End a wait that was cut: leave the line, or give back by `undo` what was got. May be repeated if it raises."""
    abandon_wait(waiter)
    if waiter in queue:
        del queue[waiter]
    elif waiter.granted:
        undo()


def grant_first(queue: WaitQueue, granted: bool = True) -> Any:
    """Have the hub resume the waiter that came first into a line, and take it out; return it, None if there is none.

    granted: what its wait ends with. See Rule 2.
    """
    for waiter in queue:  # noqa: B007  # unlike calls, this does not look for signals
        break
    else:
        return None
    del queue[waiter]
    waiter.granted = granted
    if (context := waiter.context) is not None:  # else the waiter has not suspended yet and will look
        hub = context.hub
        ready = context.pending_ready if hub is None else hub.ready
        ready += (waiter,)  # and not a call
        if hub is not None and hub.polling:
            hub.interrupt_poll()
    return waiter


def grant_all(primitive: Any, granted: bool) -> None:
    """Serve all that wait in the line of a primitive, which gets an empty one. What raises has served all, or none."""
    if len(primitive._waiters) < 2:
        grant_first(primitive._waiters, granted)
        return
    leaving, fresh = _GrantAll(granted), WaitQueue()
    current_context().enqueue(RemainingSteps(leaving))
    leaving.queue, primitive._waiters = primitive._waiters, fresh
    leaving()


class _GrantAll:
    """Those who are served together. May be called again."""

    __slots__ = ("granted", "queue")

    def __init__(self, granted: bool) -> None:
        self.granted = granted
        self.queue = WaitQueue()

    def __call__(self) -> None:
        """Serve those who are left."""
        while grant_first(self.queue, self.granted) is not None:
            pass


class RemainingSteps(ReadyItem):
    """In the ready queue: what is left of several steps if a signal handler raises between them."""

    __slots__ = ("steps",)

    def __init__(self, steps: Callable[[], object]) -> None:
        """steps: does what is left to do, perhaps nothing; may be called again."""
        self.steps = steps

    def run(self) -> bool:
        """Do them."""
        self.steps()
        return False


class Primitive:
    """Whatever coroutines wait at here."""

    __slots__ = ("__weakref__", "_created_at", "_thread", "_waits")

    def __init__(self) -> None:
        self._waits = registry.waits
        self._thread = get_ident()
        self._created_at = caller_location(sys._getframe())

    def _check_thread(self) -> None:
        if self._thread != get_ident():
            raise foreign_thread_error(f"{self!r}", self._thread)

    def _format_repr(self, state: str, queue: Collection[Any], doing: str = "waiting") -> str:
        """Return a repr."""
        waiting = f", {len(queue)} {doing}" if queue else ""
        return f"<{f'{type(self).__name__} {state}'.rstrip()}{waiting} at {self._created_at.rpartition('/')[2]}>"

    def _label(self) -> str:
        """Return what reports show; they name the owner themselves."""
        return repr(self)


def check_integer(name: str, value: Any, least: int) -> None:
    """Raise TypeError unless `value` is an integer, ValueError if it is too small."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
