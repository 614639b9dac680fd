"""The operation of a coroutine: a request that libuv works on, or a handle that exists for one wait.

A coroutine has one operation, made at its first use. The states are those of `states.OPERATION`:

- A *request* that is cancelled belongs to libuv until its callback; its `keepalive` is kept, and its result is disposed
  of. The next wait of the same coroutine waits for that (transitions 4 and 7), but not for long: a request that libuv
  cannot cancel (a send whose peer does not read, the opening of a FIFO) may last for ever. After two turns of the loop
  it is detached: it keeps its slot and its `keepalive`, and the operation is free. A coroutine may have `MAX_DETACHED`
  detached requests; if it cancels further ones, it waits for the end of one.
- A *handle* here is an entry of the ready queue or a timer. Both can be taken back at once, so Close-handle lasts no
  time (5 or 9, then 8). While its coroutine runs after the callback it is Armed, in case the same wait comes again.

Every wait has the contract of `switching.park`: it returns after the hub has stored `result`. Anything else that ends
it is raised, after the operation was cancelled.
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

MAX_DETACHED = 16  # detached requests that a coroutine may have

StartFunction = Callable[[int, int], int]  # (slot, generation) -> libuv's code
ErrorFactory = Callable[[int, str], Exception]  # (code, syscall) -> the exception to raise


@audited(OPERATION)
class Operation(CompletionHandler, ReadyItem):
    """The request, timer or entry of the ready queue that one coroutine waits for. Made by `current_operation`."""

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
        """Make an operation in the state Freed."""
        self.coroutine = coroutine
        self.hub = hub
        self.state: State = FREED
        self.slot = self.generation = 0  # slot 0: the last wait needed none
        self.result = 0
        self.keepalive: Any = None  # memory that libuv may use until the callback
        self.cancelled_entries = 0  # how many of its first entries in the ready queue are void
        self._waiting_for_free = False  # the coroutine waits for a cancelled request to be released
        self._detached = 0  # detached requests that are still under way

    # -- the ready queue --------------------------------------------------------------------------------------------

    def reschedule_via_hub(self) -> None:
        """Let everything else that is ready run, through the hub. Suspends. Raises as `switching.park`."""
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

    def _park_queued(self) -> object:
        """Suspend through the hub, for `suspend`, which has queued the operation, and cancels that on an error.

        Returns True, or the value of an explicit resume.
        """
        try:
            park(self.coroutine, "suspend")
        except Resumed as resumed:
            self._cancel_ready()
            return resumed.value
        return True

    def run(self) -> bool:
        """Resume the coroutine from the ready queue, unless this entry is void."""
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
        """Claim this entry, the first one; return its coroutine, which the caller enters. None: call `run`."""
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
        """Make the entry in the ready queue void, if there is one: it stays in its place and is skipped.

        A signal handler may have raised just after it was queued. May be repeated.
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
        """Release a handle, which can be taken back at once."""
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
                self._stop_timer()  # again, if a signal handler has interrupted it
            raise

    def _start_timer(self, nanoseconds: int) -> None:
        """Start the timer; at the same stack depth as `_stop_timer`, which therefore has room if this had."""
        self._allocate_slot()
        try:
            self.hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            self._free_timer()
            self.hub.check()
            raise

    def _stop_timer(self) -> None:
        """Stop the timer, unless it has fired. May be repeated."""
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

        start: called with slot and generation, returns libuv's code. what: the reason of the wait; reports show its
        `str`. syscall: named by errors. keepalive: referred to until libuv's callback, also if the wait is cancelled.
        make_error: makes the exception for the code of `start`. already_started: the call has already taken effect in
        part; otherwise the request is not started if a block refuses the wait.
        Raises `UVError` if the request does not start, or fails; else as `switching.park`.
        """
        # Before the start: the operation must be free, and the wait not refused
        if self.state is not FREED:
            self.wait_until_free(what)
        if self.coroutine.cancelled_scope is not None and not already_started:
            self.coroutine.cancelled_scope._refuse_start(self.coroutine, what)
        # Start; if that fails, or a signal handler raises, undo it
        self._allocate_slot()
        self.keepalive = keepalive  # before libuv may use it, also if a signal handler raises
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
        # Wait for the callback; libuv keeps a cancelled request until then
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
        """Undo a start that failed, or that a signal handler has interrupted; libuv may have started by then.

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
        """Cancel a request; it belongs to libuv until its callback."""
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
            lib.co_cancel(self.hub.loop.pointer, self.slot, self.generation)

    def wait_until_free(self, what: object, *, detach: bool = True) -> None:
        """Free the operation; wait for the callback of a cancelled request. Suspends in that case.

        detach: leave the request to libuv after the grace period; else wait for its callback, however long that takes.
        """
        # States that can be left at once
        if self.state is ARMED:
            self._release_handle()  # 9
        elif self.state is AWAIT_HANDLE:  # a second signal handler has raised before the wait was undone
            self._cancel_ready() if self.hub.ready.count(self) > self.cancelled_entries else self._stop_timer()
        elif self.state is AWAIT_REQUEST:
            self._undo_start()
        if self.state is FREED:
            return
        # A cancelled request: wait for its callback, or for the end of the grace period, and detach it then
        purpose = f"{what}, after the cancelled call before it"
        self._waiting_for_free = True
        grace = None
        try:
            if detach and self._detached < MAX_DETACHED:
                grace = _GracePeriod(self, purpose)
                self.hub.ready += (grace,)  # and not a call: it is in the queue if the name is bound
            park(self.coroutine, purpose)
        finally:
            self._waiting_for_free = False
            if grace is not None and grace.queued:
                grace.queued = False  # as _cancel_ready()
                self.hub._cancelled_ready += 1
        # It is still under way
        if self.state is CLOSE_REQUEST:
            self._abandon()

    def _abandon(self) -> None:
        """Separate a cancelled request, with its slot and its `keepalive`, from the operation, which is free then."""
        request = _DetachedRequest(self)  # from here on nothing looks for signals
        self._detached += 1
        self.hub.handlers[self.slot] = request
        self.slot = 0
        self.keepalive = None
        self.state = FREED  # 7

    # -- calls of the hub -------------------------------------------------------------------------------------------

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine while it waits, else None."""
        waits = self._waiting_for_free or self.state is AWAIT_HANDLE or self.state is AWAIT_REQUEST
        return self.coroutine if waits else None

    def loop_closed(self) -> None:
        """Become free: the loop is freed. A coroutine that waits is not resumed."""
        self.generation = -1  # `keepalive` stays until the hub drops its slots: closing the loop still calls back
        self.cancelled_entries = 0
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
        elif self.state is AWAIT_HANDLE:
            self.state = CLOSE_HANDLE  # 5
        if self.state is not FREED:
            self.state = FREED  # 7, 8

    def _allocate_slot(self) -> None:
        hub = self.hub
        # After a second exception of a signal handler, as in wait_until_free(), its slot is not free yet
        if self.slot < hub._size and hub.handlers[self.slot] is self:
            self._free_timer()
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Take the record of the timer or request, and resume the coroutine if it waits for it."""
        if generation != self.generation:
            return False
        # Claim: every step up to the switch is one between which nothing looks for signals
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
        # Enter the coroutine; unless it waits in the same way again, the handle is released
        if waits:
            wake(coroutine)
            if self.state is ARMED:
                self._release_handle()  # 9
        return True


class _DetachedRequest(CompletionHandler):
    """The owner of a slot whose cancelled request libuv still uses, while its operation is free."""

    __slots__ = ("generation", "keepalive", "operation", "slot")

    def __init__(self, operation: Operation) -> None:
        self.operation, self.slot = operation, operation.slot
        self.generation, self.keepalive = operation.generation, operation.keepalive

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Free the slot: libuv has called back."""
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
        """Ignore later records. `keepalive` stays until the hub drops its slots: closing the loop still calls back."""
        self.generation = -1


class _GracePeriod(Wakeup):
    """In the ready queue: ends the wait for a cancelled request once libuv was polled without a callback."""

    __slots__ = ("last_turn", "operation", "queued")

    def __init__(self, operation: Operation, what: object) -> None:
        super().__init__(operation.coroutine, what)
        self.operation = operation
        self.last_turn = operation.hub._turns + 2  # the next turn's entries may come before any poll
        self.queued: bool | None = True  # False: in the queue, but void; None: taken out

    def run(self) -> bool:
        """Resume the coroutine, or queue again at the end."""
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
        operation: Operation | None = me.coroutine.operation
    except AttributeError:
        operation = running().operation
    return operation or _new_operation(running())


def current_operation_in(hub: Hub) -> Operation:
    """Return an operation of `hub` for the running coroutine, which may belong to another loop of the thread.

    Raises `NotYieldable`, `ForeignThread`, `Forked`, `Closed`.
    """
    coroutine = running()
    if coroutine.context is hub.context:
        return current_operation()
    hub.check()
    return Operation(hub.adopt_foreign(coroutine), hub)


def continuation_operation(hub: Hub | None = None) -> Operation:
    """Return a free operation for a call that has already taken effect in part, and must start its request now.

    A cancelled request that still uses the operation is detached. hub: that of the operation; None: the coroutine's.
    Raises as `current_operation_in`.
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
    coroutine.operation = operation = Operation(coroutine, current_hub())
    return operation


def spend_budget(hub: Hub) -> None:
    """Count a call that finished at once. When the budget is used up, suspends until libuv was polled.

    Does not suspend in the hub and in a coroutine that is being collected.
    """
    hub.coop_budget -= 1
    if hub.coop_budget > 0:
        return
    me = getcurrent()
    if me.__class__ is Runner and getattr(me, "coroutine", None) is None:
        return
    hub.coop_budget = COOP_BUDGET  # also if it is the hub of another loop, which does not run
    checkpoint()


def checkpoint() -> None:
    """Let libuv be polled, and everything that is ready run, before the running coroutine goes on."""
    operation = current_operation()
    if not operation.hub._slow_path:
        operation.hub._turn_budget = 0  # the others run in the next turn
    operation.reschedule_via_hub()
