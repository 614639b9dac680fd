"""What a hub has lists of: whom its records are for, and who stands in its ready queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._coroutines.coroutine import Coroutine
from .._coroutines.switching import wake
from .._libuv import lib

__all__ = ["NULL_HANDLER", "Callback", "CompletionHandler", "ReadyItem", "SlotTable", "ThreadsafeCalls", "Wakeup"]


class CompletionHandler:
    """Whom the records of a slot are for."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now

    def complete(self, generation: int, result: int, offset: int) -> bool | None:
        """Take a record, the first of the hub's; one of another generation is stale.

        Whatever enters a coroutine takes the record out of `completions` itself before, and returns True. Anything else
        is done again if a signal handler raises.
        """
        return None

    def claim_waiter(self, generation: int, result: int, offset: int) -> Coroutine | None:
        """Take a record out, if all that has to be done for it is to enter a coroutine; return whom."""
        return None

    def claim_callback(self, generation: int, result: int, offset: int) -> Any:
        """Take a record if all that has to be done for it is to call a handler; return what the caller has to do."""

    def after_completion(self) -> None:
        """Whoever was woken runs no more."""

    def loop_closed(self) -> None:
        """The loop is gone; touch nothing of it any more."""


class ReadyItem:
    """What stands in the ready queue."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now
    cancelled_entries = 1  # not 0: no coroutine enters the first one's directly

    def run(self) -> bool | None:
        """Do what it is for, as the first of the ready queue: see `CompletionHandler.complete`, and `ready` there.

        A coroutine that takes turns enters no coroutine directly as long as an entry is here whose `cancelled_entries`
        is not 0.
        """
        return None

    def claim_runnable(self) -> Coroutine | None:
        """Take itself out if it is to resume a coroutine; return that, which the caller enters. None: call `run`."""
        return None

    def loop_closed(self) -> None:
        """The loop is gone."""


NULL_HANDLER = CompletionHandler()
SLOT_GROWTH = 8  # slots that a table gets at once


class SlotTable:
    """The receivers of a loop's records, by slot.

    A slot is taken, and given back, by steps between which the interpreter does not look for signals: none is lost if a
    signal handler raises, and none is given out twice.
    """

    __slots__ = ["_size", "free_slots", "generation", "handlers"]

    def __init__(self, first: CompletionHandler) -> None:
        """`first` has slot 0 for ever."""
        self.handlers: list[CompletionHandler] = [first]
        self.free_slots: list[int] = []
        self._size = 1  # of `handlers`
        self.generation = 0

    def allocate_slot(self, owner: CompletionHandler) -> int:
        """Return a free slot that now belongs to `owner`, under a new `generation`."""
        while not self.free_slots:
            self._grow()
        self.generation = (self.generation + 1) & 0xFFFFFFFF
        slot = self.free_slots[-1]
        self.handlers[slot] = owner
        del self.free_slots[-1]
        return slot

    def _grow(self) -> None:
        size = self._size
        more = [*range(size + SLOT_GROWTH - 1, size - 1, -1)]
        if self._size == size:  # else a signal handler has come before us
            self.handlers += (NULL_HANDLER,) * SLOT_GROWTH
            self.free_slots += more
            self._size = size + SLOT_GROWTH

    def free_slot(self, slot: int) -> None:
        """Give a slot back."""
        self.handlers[slot] = NULL_HANDLER
        self.free_slots += (slot,)

    def clear_slots(self) -> None:
        """Let go of all slots but the first."""
        del self.handlers[1:], self.free_slots[:]
        self._size = 1

    def in_flight(self) -> int:
        """Return how many operations and objects are known to libuv or waited for."""
        return len(self.handlers) - len(self.free_slots) - 1


class Wakeup(ReadyItem):
    """Resume a coroutine, in its own hub, if it waits for `what` still."""

    __slots__ = ("waiter", "what")

    def __init__(self, waiter: Coroutine, what: object) -> None:
        self.waiter, self.what = waiter, what

    def run(self) -> bool:
        """Resume, signed."""
        waiter = self.waiter
        if waiter.resumer is not None or waiter.waiting_on is not self.what:
            return False
        hub = waiter.context.hub
        waiter.resumer = waiter.hub_greenlet
        hub.switching_to = waiter
        del hub.ready[0]
        waiter.waiting_on = None
        wake(waiter)
        return True


class Callback(ReadyItem):
    """Calls a function from the hub. It calls the function again if a signal handler raises in it."""

    __slots__ = ("arguments", "function")

    def __init__(self, function: Callable[..., object], *arguments: Any) -> None:
        """The function must not wait."""
        self.function, self.arguments = function, arguments

    def run(self) -> None:
        """Call the function."""
        self.function(*self.arguments)


class ThreadsafeCalls(CompletionHandler):
    """Owner of the wake-up slot: runs what other threads asked for."""

    __slots__ = ("hub",)

    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Run the calls that are there now; each failure is reported on its own."""
        hub = self.hub
        del hub.completions[0]
        try:
            for _ in range(len(hub._threadsafe_calls)):
                function, arguments = hub._threadsafe_calls[0]
                del hub._threadsafe_calls[0]
                try:
                    function(*arguments)
                except BaseException as error:  # noqa: BLE001  # reported
                    hub.context.report_or_raise(error)
        except BaseException:
            lib.co_wake(hub.loop.pointer)
            raise
        return True
