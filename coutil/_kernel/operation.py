"""The operation of a coroutine: a request that libuv works on, or a handle that exists for one wait.

A coroutine has one operation, made at its first use. The states are those of `states.OPERATION`:

- A *request* that is cancelled stays libuv's until its callback; what it used (`pins`) is kept, and what it brings is
  disposed of. The next wait of the same coroutine waits for that (transitions 4 and 7), but not for long: what libuv
  cannot cancel (a send whose peer does not read, the opening of a FIFO) may last for ever. After two turns of the loop
  it is detached: it keeps its slot and its `pins`, and the operation is free. So many may be detached at a time, per
  coroutine (`DETACHED`); one that goes on cutting its calls waits for the next one's end.
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
    checked,
)
from .._coroutines.switching import park, wake
from .._libuv import error, lib
from ..errors import Closed, Forked
from .deliveries import LUCK
from .entries import NOBODY, Entry, Slotted, Wake
from .hub import Hub, this_hub

__all__ = ["Failed", "Operation", "Start", "begun", "let_poll", "lucky", "operation", "operation_in"]

DETACHED = 16  # cancelled requests that a coroutine leaves behind, at most, before it waits for one

Start = Callable[[int, int], int]  # (slot, generation) -> libuv's code
Failed = Callable[[int, str], Exception]  # (code, syscall) -> what to raise


@checked(OPERATION)
class Operation(Slotted, Entry):
    """What one coroutine waits for from libuv. Made by `operation`."""

    __slots__ = ["coroutine", "detached", "generation", "hub", "pins", "result", "slot", "stale", "state", "waiting"]

    def __init__(self, coroutine: Coroutine, hub: Hub) -> None:
        """The operation is Freed."""
        self.coroutine = coroutine
        self.hub = hub
        self.state: State = FREED
        self.slot = self.generation = 0  # slot 0: we wait, or did last, for what has a slot of its own
        self.result = 0
        self.pins: Any = None  # what libuv may read until the callback
        self.stale = 0  # our first entries in the ready queue that are void
        self.waiting = False  # the coroutine waits for a cancelled request to be released
        self.detached = 0  # cancelled requests that it does not wait for

    # -- the ready queue --------------------------------------------------------------------------------------------

    def wait_turn(self) -> None:
        """Let everything else that is ready run, by way of the hub."""
        if self.coroutine.cancelled is not None:
            self.coroutine.cancelled._refuse_start(self.coroutine, "suspend")
        if self.state is not FREED:
            self.released("suspend")
        if self.hub.attention:
            self.hub.check()
        try:
            self.hub.ready.append(self)
            self.state = AWAIT_HANDLE  # 2
            park(self.coroutine, "suspend")
        except BaseException:
            self.leave_queue()
            raise

    def wait_queued(self) -> Any:
        """End `suspend`, whose entry is in the ready queue, by way of the hub. The caller leaves the queue on an error.

        Returns True, or the value of an explicit resume.
        """
        try:
            park(self.coroutine, "suspend")
        except Resumed as resumed:
            self.leave_queue()
            return resumed.value
        return True

    def fire(self) -> bool:
        """Resume the coroutine, from the ready queue, unless it has left that queue."""
        hub = self.hub
        if self.stale:
            self.stale -= 1
            hub.void -= 1
            return False
        coroutine = self.coroutine
        coroutine.resumer = coroutine.gate  # from here on nothing looks for signals: see deliveries.py
        hub.entering = coroutine
        del hub.ready[0]
        hub.luck = LUCK
        self.state = RELEASED  # 6, 9, 8
        wake(coroutine)
        return True

    def claim(self) -> Coroutine | None:
        """Return the coroutine, which the caller enters in place of `fire`. None: that has to be called."""
        if self.stale:
            return None
        coroutine, hub = self.coroutine, self.hub  # from here on as in fire()
        coroutine.resumer = coroutine.gate
        hub.entering = coroutine
        del hub.ready[0]
        hub.luck = LUCK
        self.state = RELEASED  # 6, 9, 8
        return coroutine

    def leave_queue(self) -> None:
        """Take back the entry in the ready queue, if there is one still: it stays where it is and is skipped.

        A signal handler may have raised just after it had come there. May be repeated.
        """
        if self.state is AWAIT_HANDLE:
            self.stale += 1
            self.hub.void += 1
            self.state = CLOSE_HANDLE  # 5; in place of `_close`: this has to work at the recursion limit
            self.state = FREED  # 8
        elif self.hub.ready.count(self) > self.stale:
            self.stale += 1
            self.hub.void += 1

    def _close(self) -> None:
        """Release a handle. It can be taken back at once, so the way through Close-handle is short."""
        self.state = CLOSE_HANDLE  # 5, 9
        self.state = FREED  # 8

    # -- timers -----------------------------------------------------------------------------------------------------

    def sleep(self, nanoseconds: int) -> None:
        """Wait until `nanoseconds` have passed from now on. Suspends."""
        if self.state is not FREED and (self.state is not ARMED or not self.slot):
            self.released("suspend")
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
        """Start it, in a function of its own: where the recursion limit lets it start, it can be stopped as well."""
        self._take()
        try:
            self.hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            self._forget_timer()
            self.hub.check()
            raise

    def _stop_timer(self) -> None:
        """End the wait, unless the timer has ended it. May be repeated."""
        if self.state is AWAIT_HANDLE:
            self.generation = -1  # a record on its way is stale
            self.state = CLOSE_HANDLE  # 5; as in leave_queue()
            self.state = FREED  # 8
        self._forget_timer()

    def _forget_timer(self) -> None:
        hub, slot = self.hub, self.slot
        if slot and hub.loop.pointer and hub.owners[slot] is self:
            hub.clock.stop(slot)
            hub.owners[slot] = NOBODY
            hub.free += (slot,)

    # -- requests ---------------------------------------------------------------------------------------------------

    def request(
        self, start: Start, what: object, syscall: str, pins: Any = None, failed: Failed = error, partly: bool = False
    ) -> None:
        """Run a request to its end. Suspends.

        start: called with slot and generation, returns libuv's code. what: its `str` is for reports. syscall: for
        errors. pins: kept alive until libuv's callback, also if the wait is cancelled.
        failed: makes the exception for the code of `start`. partly: the call has taken effect in part already; else
        nothing begins if the wait would be cut at once.
        Raises `UVError` if the request does not start, or fails.
        """
        if self.state is not FREED:
            self.released(what)
        if self.coroutine.cancelled is not None and not partly:
            self.coroutine.cancelled._refuse_start(self.coroutine, what)
        self._take()
        self.pins = pins  # before libuv may use it, whatever a signal handler raises
        self.state = AWAIT_REQUEST  # 1
        try:
            code = start(self.slot, self.generation)
            if code < 0:
                self._take_back()
        except BaseException:
            self._take_back()
            raise
        if code < 0:
            self.hub.check()
            raise failed(code, syscall)
        try:
            park(self.coroutine, what)
        except BaseException:
            self._abandon()
            raise
        if self.result < 0:
            raise error(self.result, syscall)

    def _take_back(self) -> None:
        """Undo a start that failed, or that a signal handler has cut short; libuv may have begun by then.

        May be repeated.
        """
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
        if self.state is CLOSE_REQUEST:
            if lib.co_under_way(self.hub.loop.pointer, self.slot, self.generation) > 0:
                lib.co_cancel(self.hub.loop.pointer, self.slot, self.generation)
            else:  # from here on nothing looks for signals
                hub = self.hub
                hub.owners[self.slot] = NOBODY
                hub.free += (self.slot,)
                self.state = FREED  # 7
                self.pins = None

    def _abandon(self) -> None:
        """Leave a request to libuv, until its callback."""
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
            lib.co_cancel(self.hub.loop.pointer, self.slot, self.generation)

    def released(self, what: object) -> None:
        """Free the operation, waiting for libuv to give a cancelled request back."""
        if self.state is ARMED:
            self._close()  # 9
        elif self.state is AWAIT_HANDLE:  # a second signal handler has raised before the wait was undone
            self.leave_queue() if self.hub.ready.count(self) > self.stale else self._stop_timer()
        elif self.state is AWAIT_REQUEST:
            self._take_back()
        if self.state is FREED:
            return
        purpose = f"{what}, after the cancelled call before it"
        self.waiting = True
        try:
            if self.detached < DETACHED:
                self.hub.ready.append(_Grace(self, purpose))
            park(self.coroutine, purpose)
        finally:
            self.waiting = False
        if self.state is CLOSE_REQUEST:
            self.detach()

    def detach(self) -> None:
        """Leave a cancelled request to libuv, with its slot and all that it uses, and be free."""
        left = _Detached(self)  # from here on nothing looks for signals
        self.detached += 1
        self.hub.owners[self.slot] = left
        self.slot = 0
        self.pins = None
        self.state = FREED  # 7

    # -- what the hub calls -----------------------------------------------------------------------------------------

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine, if it waits."""
        waits = self.waiting or self.state is AWAIT_HANDLE or self.state is AWAIT_REQUEST
        return self.coroutine if waits else None

    def lost(self) -> None:
        """Forget libuv: the loop is gone. A coroutine that waits is not resumed."""
        self.generation = -1  # `pins` stay until the hub forgets us: closing the loop still calls back
        self.stale = 0
        if self.state is AWAIT_REQUEST:
            self.state = CLOSE_REQUEST  # 4
        elif self.state is AWAIT_HANDLE:
            self.state = CLOSE_HANDLE  # 5
        if self.state is not FREED:
            self.state = FREED  # 7, 8

    def _take(self) -> None:
        hub = self.hub
        if self.slot < hub.size and hub.owners[self.slot] is self:  # as in released(): its slot was not given back
            self._forget_timer()
        self.slot = hub.take(self)
        self.generation = hub.generation

    def deliver(self, generation: int, result: int, where: int) -> bool:
        """Take the record of our timer or request."""
        if generation != self.generation:
            return False
        state, hub, coroutine = self.state, self.hub, self.coroutine  # from here on as in fire()
        waits = state is AWAIT_HANDLE or state is AWAIT_REQUEST or self.waiting
        if waits:
            coroutine.resumer = coroutine.gate
            hub.entering = coroutine
        del hub.records[0]
        hub.owners[self.slot] = NOBODY
        hub.free += (self.slot,)
        self.result = result
        if state is AWAIT_HANDLE:
            self.state = ARMED  # 6
        else:
            self.state = FREED  # 3, 7
            self.pins = None
        if waits:
            wake(coroutine)
            if self.state is ARMED:
                self._close()  # 9
        return True


class _Detached(Slotted):
    """A cancelled request whose coroutine goes on; libuv is not done with it."""

    __slots__ = ("generation", "of", "pins", "slot")

    def __init__(self, of: Operation) -> None:
        self.of, self.slot, self.generation, self.pins = of, of.slot, of.generation, of.pins

    def deliver(self, generation: int, result: int, where: int) -> bool:
        """Libuv is done with it."""
        if generation != self.generation:
            return False
        hub = self.of.hub  # from here on nothing looks for signals
        del hub.records[0]
        hub.owners[self.slot] = NOBODY
        hub.free += (self.slot,)
        self.of.detached -= 1
        self.pins = None
        return True

    def lost(self) -> None:
        """The loop is gone. `pins` stay until the hub forgets us: closing the loop still calls back."""
        self.generation = -1


class _Grace(Wake):
    """In the ready queue: ends the wait for a cancelled request after libuv was polled, if that has not ended it."""

    __slots__ = ("until",)

    def __init__(self, of: Operation, what: object) -> None:
        super().__init__(of.coroutine, what)
        self.until = of.hub.turns + 2  # the next turn's entries may come before any poll

    def fire(self) -> bool:
        """Resume the coroutine, or stand at the end again."""
        hub = self.waiter.home.hub
        if self.waiter.waiting_on is self.what and hub is not None and hub.turns < self.until:
            hub.ready.append(self)
            return False
        return super().fire()


def operation() -> Operation:
    """Return the operation of the running coroutine. Raises `NotYieldable` or `Forked`."""
    me: Any = getcurrent()
    try:
        found: Operation | None = me.coroutine.operation
    except AttributeError:
        found = running().operation
    return found or _new_operation(running())


def operation_in(hub: Hub) -> Operation:
    """Return an operation of `hub` for the running coroutine, which may be one of another loop of the thread.

    Raises `NotYieldable`, `ForeignThread`, `Forked`, `Closed`.
    """
    coroutine = running()
    if coroutine.home is hub.home:
        return operation()
    hub.check()
    return Operation(hub.guest(coroutine), hub)


def begun(hub: Hub | None = None) -> Operation:
    """Return an operation for a call that has taken effect in part already, and cannot wait for its turn.

    A cancelled request that it still belongs to is detached. hub: see `operation_in`; None: the coroutine's. Raises as
    that.
    """
    own = operation_in(hub) if hub is not None else operation()
    if own.state is CLOSE_REQUEST:
        own.detach()
    return own


def _new_operation(coroutine: Coroutine) -> Operation:
    if coroutine.gate.__class__ is Runner and coroutine.gate is not coroutine.home.gate:
        if coroutine.home.forked:
            raise Forked(f"{coroutine!r} was started before the fork: it belongs to the parent process")
        raise Closed(f"{coroutine!r} belongs to an event loop that is closed")
    coroutine.operation = made = Operation(coroutine, this_hub())
    return made


def lucky(hub: Hub) -> None:
    """Count a call that finished at once. Suspends, until libuv was polled, when the budget is used up.

    What cannot wait (the hub, a coroutine that is being collected) goes on.
    """
    hub.luck -= 1
    if hub.luck > 0:
        return
    me = getcurrent()
    if me.__class__ is Runner and getattr(me, "coroutine", None) is None:
        return
    hub.luck = LUCK  # it may be another loop's, which does not turn
    let_poll()


def let_poll() -> None:
    """Let libuv be polled, and everything that is ready run, before the running coroutine goes on."""
    own = operation()
    if not own.hub.attention:
        own.hub.left = 0  # the others run in the next turn
    own.wait_turn()
