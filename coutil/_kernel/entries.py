"""What a hub has lists of: whom its records are for, and who stands in its ready queue."""

from __future__ import annotations

from typing import Any

from .._coroutines.coroutine import Coroutine
from .._coroutines.switching import wake
from .._libuv import lib

__all__ = ["NOBODY", "Calls", "Entry", "SlotTable", "Slotted", "Wake"]


class Slotted:
    """Whom the records of a slot are for."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now

    def deliver(self, generation: int, result: int, where: int) -> bool | None:
        """Take a record, the first of the hub's; one of another generation is stale.

        Whatever enters a coroutine takes the record out of `records` itself before, and returns True. Anything else is
        done again if a signal handler raises.
        """
        return None

    def arm(self, generation: int, result: int, where: int) -> Coroutine | None:
        """Take a record out, if all that has to be done for it is to enter a coroutine; return whom."""
        return None

    def call(self, generation: int, result: int, where: int) -> Any:
        """Take a record if all that has to be done for it is to call a handler; return what the caller has to do."""

    def disarm(self) -> None:
        """Whoever was woken runs no more."""

    def lost(self) -> None:
        """The loop is gone; touch nothing of it any more."""


class Entry:
    """What stands in the ready queue."""

    __slots__ = ()
    waiter: Any = None  # the coroutine that waits for it now
    stale = 1  # not 0: no coroutine enters the first one's directly

    def fire(self) -> bool | None:
        """Do what it is for, as the first of the ready queue: see `Slotted.deliver`, and `ready` there.

        A coroutine that takes turns enters no coroutine directly as long as an entry is here whose `stale` is not 0.
        """
        return None

    def claim(self) -> Coroutine | None:
        """Take itself out if it is to resume a coroutine; return that, which the caller enters. None: call `fire`."""
        return None

    def lost(self) -> None:
        """The loop is gone."""


NOBODY = Slotted()
GROWTH = 8  # slots that a table gets at once


class SlotTable:
    """The receivers of a loop's records, by slot.

    A slot is taken, and given back, by steps between which the interpreter does not look for signals: none is lost if a
    signal handler raises, and none is given out twice.
    """

    __slots__ = ["free", "generation", "owners", "size"]

    def __init__(self, first: Slotted) -> None:
        """`first` has slot 0 for ever."""
        self.owners: list[Slotted] = [first]
        self.free: list[int] = []
        self.size = 1  # of `owners`
        self.generation = 0

    def take(self, owner: Slotted) -> int:
        """Return a free slot that now belongs to `owner`, under a new `generation`."""
        while not self.free:
            self._grow()
        self.generation = (self.generation + 1) & 0xFFFFFFFF
        slot = self.free[-1]
        self.owners[slot] = owner
        del self.free[-1]
        return slot

    def _grow(self) -> None:
        size = self.size
        more = [*range(size + GROWTH - 1, size - 1, -1)]
        if self.size == size:  # else a signal handler has come before us
            self.owners += (NOBODY,) * GROWTH
            self.free += more
            self.size = size + GROWTH

    def drop(self, slot: int) -> None:
        """Give a slot back."""
        self.owners[slot] = NOBODY
        self.free += (slot,)

    def forget_all(self) -> None:
        """Let go of all slots but the first."""
        del self.owners[1:], self.free[:]
        self.size = 1

    def in_flight(self) -> int:
        """Return how many operations and objects are known to libuv or waited for."""
        return len(self.owners) - len(self.free) - 1


class Wake(Entry):
    """Resume a coroutine, in its own hub, if it waits for `what` still."""

    __slots__ = ("waiter", "what")

    def __init__(self, waiter: Coroutine, what: object) -> None:
        self.waiter, self.what = waiter, what

    def fire(self) -> bool:
        """Resume, signed."""
        waiter = self.waiter
        if waiter.resumer is not None or waiter.waiting_on is not self.what:
            return False
        hub = waiter.home.hub
        waiter.resumer = waiter.gate
        hub.entering = waiter
        del hub.ready[0]
        waiter.waiting_on = None
        wake(waiter)
        return True


class Calls(Slotted):
    """Owner of the wake-up slot: runs what other threads asked for."""

    __slots__ = ("hub",)

    def __init__(self, hub: Any) -> None:
        self.hub = hub

    def deliver(self, generation: int, result: int, where: int) -> bool:
        """Run the calls that are there now; each failure is reported on its own."""
        hub = self.hub
        del hub.records[0]
        try:
            for _ in range(len(hub.calls)):
                function, arguments = hub.calls[0]
                del hub.calls[0]
                try:
                    function(*arguments)
                except BaseException as error:  # noqa: BLE001  # reported
                    hub.home.told(error)
        except BaseException:
            lib.co_wake(hub.loop.pointer)
            raise
        return True
