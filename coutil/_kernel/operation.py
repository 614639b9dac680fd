"""The operation of a coroutine: a request that libuv works on, or a handle that exists for one wait.

A coroutine has one operation, made at its first use. The states are those of `states.OPERATION`:

- A *request* that is cancelled stays libuv's until its callback; what it used (`keepalive`) is kept, and what it brings
is disposed of. The next wait of the same coroutine waits for that (transitions 4 and 7), but not for long: what libuv
cannot cancel (a send whose peer does not read, the opening of a FIFO) may last for ever. After two turns of the loop it
is detached: it keeps its slot and its `keepalive`, and the operation is free. So many may be detached at a time, per
coroutine (`MAX_DETACHED`); one that goes on cutting its calls waits for the next one's end.
- A *handle* here is an entry of the ready queue or a timer. Both can be taken back at once, so that Close-handle lasts
  no time (5 or 9, then 8). While its coroutine runs after the callback it is Armed, in case the same wait comes again.

Every wait returns once the hub has delivered `result`. Anything else that ends it is raised, `Resumed` for an explicit
resume, after the operation was cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from greenlet import getcurrent

from .._coroutines.coroutine import Coroutine, running
from .._coroutines.outcomes import Resumed
from .._coroutines.runner import Runner
from .._coroutines.states import (
    ARMED,
    AWAIT_HANDLE,
    AWAIT_REQUEST,
    CLOSE_HANDLE,
    CLOSE_REQUEST,
    FREED,
    OPERATION,
    RELEASED,
    State,
    audited,
)
from .._coroutines.switching import park, wake
from .._libuv import error, lib
from ..errors import Closed, Forked
from .dispatcher import COOP_BUDGET
from .hub import Hub, current_hub
from .slots import NULL_HANDLER, CompletionHandler, ReadyItem, Wakeup

__all__ = [
    "ErrorFactory",
    "Operation",
    "StartFunction",
    "checkpoint",
    "continuation_operation",
    "current_operation",
    "current_operation_in",
    "spend_budget",
]

MAX_DETACHED = 16  # cancelled requests that a coroutine leaves behind, at most, before it waits for one

StartFunction = Callable[[int, int], int]  # (slot, generation) -> libuv's code
ErrorFactory = Callable[[int, str], Exception]  # (code, syscall) -> what to raise


@audited(OPERATION)
class Operation(CompletionHandler, ReadyItem):
    """What one coroutine waits for from libuv. Made by `operation`."""

    __slots__ = [
        "_detached",
        "_waiting_for_free",
        "cancelled_entries",
        "coroutine",
        "generation",
        "hub",
        "keepalive",
        "result",
        "slot",
        "state",
    ]

    def __init__(self, coroutine: Coroutine, hub: Hub) -> None:
        """The operation is Freed."""
        self.coroutine = coroutine
        self.hub = hub
        self.state: State = FREED
        self.slot = self.generation = 0  # slot 0: we wait, or did last, for what has a slot of its own
        self.result = 0
        self.keepalive: Any = None  # what libuv may read until the callback
        self.cancelled_entries = 0  # our first entries in the ready queue that are void
        self._waiting_for_free = False  # the coroutine waits for a cancelled request to be released
        self._detached = 0  # cancelled requests that it does not wait for

    # -- the ready queue --------------------------------------------------------------------------------------------

    def reschedule_via_hub(self) -> None:
        """Let everything else that is ready run, by way of the hub."""
        if self.coroutine.cancelled_scope is not None:
            self.coroutine.cancelled_scope._refuse_start(self.coroutine, "suspend")
        if self.state is not FREED:
            self.wait_until_free("suspend")
        if self.hub._slow_path:
            self.hub.check()
        try:
            self.hub.ready += (self,)  # and not a call: the state says whether it is there
            self.state = AWAIT_HANDLE  # 2
            park(self.coroutine, "suspend")
        except BaseException:
            try:
                self._cancel_ready()
            except BaseException:  # of a signal handler
                self._cancel_ready()
                raise
            raise

    def _park_queued(self) -> Any:
        """End `suspend`, whose entry is in the ready queue, by way of the hub. The caller leaves the queue on an error.

        Returns True, or the value of an explicit resume.
        """
        try:
            park(self.coroutine, "suspend")
        except Resumed as resumed:
            self._cancel_ready()
            return resumed.value
        return True

    def run(self) -> bool:
        """Resume the coroutine, from the ready queue, unless it has left that queue."""
        hub = self.hub
        if self.cancelled_entries:
            self.cancelled_entries -= 1  # and not again if a signal handler raises: from here on as below
            hub._cancelled_ready -= 1
            del hub.ready[0]
            return True
        coroutine = self.coroutine
        coroutine.resumer = coroutine.hub_greenlet  # from here on nothing looks for signals: see dispatcher.py
        hub.switching_to = coroutine
        del hub.ready[0]
        hub.coop_budget = COOP_BUDGET
        self.state = RELEASED  # 6, 9, 8
        wake(coroutine)
        return True

    def claim_runnable(self) -> Coroutine | None:
        """Return the coroutine, which the caller enters in place of `run`. None: that has to be called."""
        if self.cancelled_entries:
            return None
        coroutine, hub = self.coroutine, self.hub  # from here on as in run()
        coroutine.resumer = coroutine.hub_greenlet
        hub.switching_to = coroutine
        del hub.ready[0]
        hub.coop_budget = COOP_BUDGET
        self.state = RELEASED  # 6, 9, 8
        return coroutine

    def _cancel_ready(self) -> None:
        """Take back the entry in the ready queue, if there is one still: it stays where it is and is skipped.

        A signal handler may have raised just after it had come there. May be repeated.
        """
        if self.state is AWAIT_HANDLE:
            self.cancelled_entries += 1
            self.hub._cancelled_ready += 1
            self.state = CLOSE_HANDLE  # 5; in place of `_release_handle`: this has to work at the recursion limit
            self.state = FREED  # 8
        elif self.hub.ready.count(self) > self.cancelled_entries:
            self.cancelled_entries += 1
            self.hub._cancelled_ready += 1

    def _release_handle(self) -> None:
        """Release a handle. It can be taken back at once, so the way through Close-handle is short."""
        self.state = CLOSE_HANDLE  # 5, 9
        self.state = FREED  # 8

    # -- timers -----------------------------------------------------------------------------------------------------

    def sleep(self, nanoseconds: int) -> None:
        """Wait until `nanoseconds` have passed from now on. Suspends."""
        if self.state is not FREED and (self.state is not ARMED or not self.slot):
            self.wait_until_free("suspend")
        self._start_timer(nanoseconds)
        self.state = AWAIT_HANDLE  # 2, 10
        try:
            park(self.coroutine, "suspend")
        except BaseException:
            try:
                self._stop_timer()
            finally:
                self._stop_timer()  # what a signal handler has interrupted
            raise

    def _start_timer(self, nanoseconds: int) -> None:
        """Start it, in a function of its operation: where the recursion limit lets it start, it
        can be stopped as well.
        """
        self._allocate_slot()
        try:
            self.hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            self._free_timer()
            self.hub.check()
            raise

    def _stop_timer(self) -> None:
        """End the wait, unless the timer has ended it. May be repeated."""
        if self.state is AWAIT_HANDLE:
            self.generation = -1  # a record on its way is stale
            self.state = CLOSE_HANDLE  # 5; as in _cancel_ready()
            self.state = FREED  # 8
        self._free_timer()

    def _free_timer(self) -> None:
        hub, slot = self.hub, self.slot
        if slot and hub.loop.pointer and hub.handlers[slot] is self:
            hub.clock.stop(slot)
            hub.handlers[slot] = NULL_HANDLER
            hub.free_slots += (slot,)

    # -- requests ---------------------------------------------------------------------------------------------------

    def request(
        self,
        start: StartFunction,
        what: object,
        syscall: str,
        keepalive: Any = None,
        make_error: ErrorFactory = error,
        already_started: bool = False,
    ) -> None:
        """Run a request to its end. Suspends.

        start: called with slot and generation, returns libuv's code. what: its `str` is for reports. syscall: for
        errors. keepalive: kept alive until libuv's callback, also if the wait is cancelled.
        make_error: makes the exception for the code of `start`. already_started: the call has taken effect in part
        already; else nothing begins if the wait would be cut at once.
        Raises `UVError` if the request does not start, or fails.
        """
        if self.state is not FREED:
            self.wait_until_free(what)
        if self.coroutine.cancelled_scope is not None and not already_started:
            self.coroutine.cancelled_scope._refuse_start(self.coroutine, what)
        self._allocate_slot()
        self.keepalive = keepalive  # before libuv may use it, whatever a signal handler raises
        self.state = AWAIT_REQUEST  # 1
        try:
            code = start(self.slot, self.generation)
            if code < 0:
                self._undo_start()
        except BaseException:
            self._undo_start()
            raise
        if code < 0:
            self.hub.check()
            raise make_error(code, syscall)
        try:
            park(self.coroutine, what)
        except BaseException:
            try:
                self._detach()
            except BaseException:  # of a signal handler
                self._detach()
                raise
            raise
        if self.result < 0:
            raise error(self.result, syscall)

    def _undo_start(self) -> None:
        """Undo a start that failed, or that a signal handler has cut short; libuv may have started by then.

        May be repeated.
        """
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
        if self.state is CLOSE_REQUEST:
            if lib.co_under_way(self.hub.loop.pointer, self.slot, self.generation) > 0:
                lib.co_cancel(self.hub.loop.pointer, self.slot, self.generation)
            else:  # from here on nothing looks for signals
                hub = self.hub
                hub.handlers[self.slot] = NULL_HANDLER
                hub.free_slots += (self.slot,)
                self.state = FREED  # 7
                self.keepalive = None

    def _detach(self) -> None:
        """Leave a request to libuv, until its callback."""
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
            lib.co_cancel(self.hub.loop.pointer, self.slot, self.generation)

    def wait_until_free(self, what: object) -> None:
        """Free the operation, waiting for libuv to give a cancelled request back."""
        if self.state is ARMED:
            self._release_handle()  # 9
        elif self.state is AWAIT_HANDLE:  # a second signal handler has raised before the wait was undone
            self._cancel_ready() if self.hub.ready.count(self) > self.cancelled_entries else self._stop_timer()
        elif self.state is AWAIT_REQUEST:
            self._undo_start()
        if self.state is FREED:
            return
        purpose = f"{what}, after the cancelled call before it"
        self._waiting_for_free = True
        grace = None
        try:
            if self._detached < MAX_DETACHED:
                grace = _GracePeriod(self, purpose)
                self.hub.ready += (grace,)  # and not a call: it is in the queue if the name is bound
            park(self.coroutine, purpose)
        finally:
            self._waiting_for_free = False
            if grace is not None and grace.queued:
                grace.queued = False  # as _cancel_ready()
                self.hub._cancelled_ready += 1
        if self.state is CLOSE_REQUEST:
            self._abandon()

    def _abandon(self) -> None:
        """Leave a cancelled request to libuv, with its slot and all that it uses, and be free."""
        left = _DetachedRequest(self)  # from here on nothing looks for signals
        self._detached += 1
        self.hub.handlers[self.slot] = left
        self.slot = 0
        self.keepalive = None
        self.state = FREED  # 7

    # -- what the hub calls -----------------------------------------------------------------------------------------

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine, if it waits."""
        waits = self._waiting_for_free or self.state is AWAIT_HANDLE or self.state is AWAIT_REQUEST
        return self.coroutine if waits else None

    def loop_closed(self) -> None:
        """Forget libuv: the loop is gone. A coroutine that waits is not resumed."""
        self.generation = -1  # `keepalive` stay until the hub forgets us: closing the loop still calls back
        self.cancelled_entries = 0
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
        elif self.state is AWAIT_HANDLE:
            self.state = CLOSE_HANDLE  # 5
        if self.state is not FREED:
            self.state = FREED  # 7, 8

    def _allocate_slot(self) -> None:
        hub = self.hub
        # As in wait_until_free(): its slot was not given back
        if self.slot < hub._size and hub.handlers[self.slot] is self:
            self._free_timer()
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Take the record of our timer or request."""
        if generation != self.generation:
            return False
        state, hub, coroutine = self.state, self.hub, self.coroutine  # from here on as in run()
        waits = state is AWAIT_HANDLE or state is AWAIT_REQUEST or self._waiting_for_free
        if waits:
            coroutine.resumer = coroutine.hub_greenlet
            hub.switching_to = coroutine
        del hub.completions[0]
        hub.handlers[self.slot] = NULL_HANDLER
        hub.free_slots += (self.slot,)
        self.result = result
        if state is AWAIT_HANDLE:
            self.state = ARMED  # 6
        else:
            self.state = FREED  # 3, 7
            self.keepalive = None
        if waits:
            wake(coroutine)
            if self.state is ARMED:
                self._release_handle()  # 9
        return True


class _DetachedRequest(CompletionHandler):
    """A cancelled request whose coroutine goes on; libuv is not done with it."""

    __slots__ = ("generation", "keepalive", "operation", "slot")

    def __init__(self, operation: Operation) -> None:
        self.operation, self.slot, self.generation, self.keepalive = (
            operation,
            operation.slot,
            operation.generation,
            operation.keepalive,
        )

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Libuv is done with it."""
        if generation != self.generation:
            return False
        hub = self.operation.hub  # from here on nothing looks for signals
        del hub.completions[0]
        hub.handlers[self.slot] = NULL_HANDLER
        hub.free_slots += (self.slot,)
        self.operation._detached -= 1
        self.keepalive = None
        return True

    def loop_closed(self) -> None:
        """The loop is gone. `keepalive` stay until the hub forgets us: closing the loop still calls back."""
        self.generation = -1


class _GracePeriod(Wakeup):
    """In the ready queue: ends the wait for a cancelled request after libuv was polled, if that has not ended it."""

    __slots__ = ("last_turn", "operation", "queued")

    def __init__(self, operation: Operation, what: object) -> None:
        super().__init__(operation.coroutine, what)
        self.operation = operation
        self.last_turn = operation.hub._turns + 2  # the next turn's entries may come before any poll
        self.queued: bool | None = True  # False: and void; None: not any longer

    def run(self) -> bool:
        """Resume the coroutine, or stand at the end again."""
        hub = self.waiter.context.hub
        if self.waiter.waiting_on is self.what and hub is not None and hub._turns < self.last_turn:
            hub.ready.append(self)
            return False
        if self.queued is False:
            self.operation.hub._cancelled_ready -= 1
        self.queued = None
        return super().run()


def current_operation() -> Operation:
    """Return the operation of the running coroutine. Raises `NotYieldable` or `Forked`."""
    me: Any = getcurrent()
    try:
        found: Operation | None = me.coroutine.operation
    except AttributeError:
        found = running().operation
    return found or _new_operation(running())


def current_operation_in(hub: Hub) -> Operation:
    """Return an operation of `hub` for the running coroutine, which may be one of another loop of the thread.

    Raises `NotYieldable`, `ForeignThread`, `Forked`, `Closed`.
    """
    coroutine = running()
    if coroutine.context is hub.context:
        return current_operation()
    hub.check()
    return Operation(hub.adopt_foreign(coroutine), hub)


def continuation_operation(hub: Hub | None = None) -> Operation:
    """Return an operation for a call that has taken effect in part already, and cannot wait for its turn.

    A cancelled request that it still belongs to is detached. hub: see `current_operation_in`; None: the coroutine's.
    Raises as that.
    """
    operation = current_operation_in(hub) if hub is not None else current_operation()
    if operation.state is CLOSE_REQUEST:
        operation._abandon()
    return operation


def _new_operation(coroutine: Coroutine) -> Operation:
    if coroutine.hub_greenlet.__class__ is Runner and coroutine.hub_greenlet is not coroutine.context.hub_greenlet:
        if coroutine.context.forked:
            raise Forked(f"{coroutine!r} was started before the fork: it belongs to the parent process")
        raise Closed(f"{coroutine!r} belongs to an event loop that is closed")
    coroutine.operation = made = Operation(coroutine, current_hub())
    return made


def spend_budget(hub: Hub) -> None:
    """Count a call that finished at once. Suspends, until libuv was polled, when the budget is used up.

    What cannot wait (the hub, a coroutine that is being collected) goes on.
    """
    hub.coop_budget -= 1
    if hub.coop_budget > 0:
        return
    me = getcurrent()
    if me.__class__ is Runner and getattr(me, "coroutine", None) is None:
        return
    hub.coop_budget = COOP_BUDGET  # it may be another loop's, which does not turn
    checkpoint()


def checkpoint() -> None:
    """Let libuv be polled, and everything that is ready run, before the running coroutine goes on."""
    operation = current_operation()
    if not operation.hub._slow_path:
        operation.hub._turn_budget = 0  # the others run in the next turn
    operation.reschedule_via_hub()
