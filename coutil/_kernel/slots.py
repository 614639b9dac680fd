"""Base classes for the slot table (completion handlers) and for the ready queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._coroutines.coroutine import Coroutine
from .._coroutines.switching import wake
from .._libuv import lib

__all__ = ["NULL_HANDLER", "Callback", "CompletionHandler", "ReadyItem", "SlotTable", "ThreadsafeCalls", "Wakeup"]


class CompletionHandler:
    """The owner of a slot, which receives the records of that slot."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now

    def complete(self, generation: int, result: int, offset: int) -> bool | None:
        """Handle the first record of the hub's `completions`; one of another generation is stale.

        Returns True if this has taken the record out itself, which it does before it enters a coroutine. Otherwise the
        hub takes it out afterwards; until then this may be called again, if a signal handler raises.
        """
        return None

    def claim_waiter(self, generation: int, result: int, offset: int) -> Coroutine | None:
        """Take the first record out if its only effect is to enter a coroutine; return that. None: call `complete`."""
        return None

    def claim_callback(self, generation: int, result: int, offset: int) -> object:
        """Handle the first record if its only effect is to call a handler; return the call. None: call `complete`."""

    def after_completion(self) -> None:
        """Note that the coroutine that was woken has suspended again, or has ended."""

    def loop_closed(self) -> None:
        """Note that the loop is freed: its memory must no longer be used."""


class ReadyItem:
    """An entry of the ready queue."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now
    cancelled_entries = 1  # not 0: no direct switch to it

    def run(self) -> bool | None:
        """Have its effect; it is the first entry of the ready queue. Returns as `CompletionHandler.complete` does.

        A coroutine that suspends does not switch directly if the `cancelled_entries` of the first entry is not 0.
        """
        return None

    def claim_runnable(self) -> Coroutine | None:
        """Take itself out if it resumes a coroutine; return that, which the caller enters. None: call `run`."""
        return None

    def loop_closed(self) -> None:
        """Note that the loop is freed."""


NULL_HANDLER = CompletionHandler()
SLOT_GROWTH = 8  # slots that a table gets at once


class SlotTable:
    """The handlers of a loop's records, by slot.

    A slot is allocated and freed by steps between which the interpreter does not look for signals (`dispatcher`): if a
    signal handler raises, none is lost and none is allocated twice.
    """

    __slots__ = ["_size", "free_slots", "generation", "handlers"]

    def __init__(self, first: CompletionHandler) -> None:
        """`first` owns slot 0, permanently."""
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
        if self._size == size:  # else a signal handler has grown it
            self.handlers += (NULL_HANDLER,) * SLOT_GROWTH
            self.free_slots += more
            self._size = size + SLOT_GROWTH

    def free_slot(self, slot: int) -> None:
        """Free a slot."""
        self.handlers[slot] = NULL_HANDLER
        self.free_slots += (slot,)

    def clear_slots(self) -> None:
        """Drop all slots but the first."""
        del self.handlers[1:], self.free_slots[:]
        self._size = 1

    def in_flight(self) -> int:
        """Return the number of operations and objects that libuv knows or coroutines wait for."""
        return len(self.handlers) - len(self.free_slots) - 1


class Wakeup(ReadyItem):
    """An entry that resumes a coroutine, in its own hub, if that still waits for `what`."""

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
    """Owner of the wake-up slot: makes the calls of other threads."""

    __slots__ = ("hub",)

    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def complete(self, generation: int, result: int, offset: int) -> bool:
        """Make the calls that are queued now; each exception is reported separately."""
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
