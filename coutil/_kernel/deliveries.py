"""What a hub delivers: records of libuv, and entries of its ready queue.

Rule 1: both stay where they are until they have had their effect: an exception that a signal handler raises in the hub
loses none. Whatever enters a coroutine takes itself out before, by steps between which the interpreter does not look
for signals. It looks when a function begins, after a call of C and where a loop goes round; not when a function of
Python returns. Everything else is taken out afterwards, and may be done twice.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import Any

from .._coroutines.coroutine import Coroutine
from .._coroutines.switching import Overdue
from .entries import NOBODY, Entry, SlotTable, Slotted

__all__ = ["LUCK", "Deliveries", "Record"]

Record = tuple[int, int, int, int]  # slot, generation, result, where
LUCK = 64  # calls that may finish at once, per resumption, before the coroutine lets others run


class Deliveries(SlotTable):
    """What a turn has still to do, and how that is done: the part of a hub that coroutines use on its behalf."""

    __slots__ = [
        "armed",
        "attention",
        "caller",
        "entering",
        "greenlet",
        "luck",
        "ready",
        "records",
        "stranded",
        "taking",
        "void",
    ]

    def __init__(self, first: Slotted, greenlet: Any, ready: deque[Entry]) -> None:
        """`greenlet` is the hub's; `ready` its queue."""
        super().__init__(first)
        self.greenlet = greenlet
        self.ready = ready
        self.taking = map(type(ready).popleft, repeat(ready))  # takes out its entries; see suspend
        self.void = 0  # entries of it whose coroutines have left
        self.records: deque[Record] = deque()  # what libuv has told and this turn has still to deliver
        self.entering: Coroutine | None = None  # was taken out, and is about to be entered; or was
        self.stranded: tuple[Coroutine, ...] = ()  # see recover
        self.armed: Slotted = NOBODY  # whom the last record was for
        self.caller: Coroutine | None = None  # who is inside run()
        self.attention = False  # something of all that is out of the ordinary; see Hub._attend
        self.luck = LUCK

    def recover(self) -> None:
        """Have those entered in the next turn who were about to be when a signal handler raised.

        While the hub runs, none that it has entered still has its gate for a resumer, but for the caller of `run`.
        May be repeated.
        """
        one = self.entering
        if one is not None and one.resumer is one.gate and one is not self.caller:
            self._overdue(one, self.armed)
        self.entering = None
        while self.stranded:
            self._overdue(self.stranded[0], NOBODY)
        self.armed.disarm()

    def _overdue(self, one: Coroutine, armed: Slotted) -> None:
        """Have the hub enter one of those next. What raises has done all of it, or nothing."""
        overdue = Overdue(one, armed)
        one.resumer = overdue  # from here to the last step nothing looks for signals
        if one is self.entering:
            self.entering, self.armed = None, NOBODY
        else:
            self.stranded = self.stranded[1:]
        self.ready.appendleft(overdue)  # type: ignore[arg-type]  # as in body()

    def _fired(self, entry: Entry) -> None:
        """Take out an entry that has not done so itself."""
        ready = self.ready
        if ready and ready[0] is entry:
            del ready[0]
        elif entry in ready:  # another one is the first by now; or else a fork has cleared the queue
            ready.remove(entry)

    def _drain(self) -> None:
        """Deliver the records of the last step. Each stays in `records` until it has had its effect: see rule 1."""
        owners, records = self.owners, self.records
        while records:
            record = records[0]
            slot, generation, result, where = record
            self.luck = LUCK
            if not owners[slot].deliver(generation, result, where) and records and records[0] is record:
                del records[0]
            self.entering = None
            self.armed.disarm()

    def deliver(self, slot: int, generation: int, result: int) -> None:
        """Deliver something like a record of libuv, before any other; from the ready queue."""
        self.records.appendleft((slot, generation, result, 0))
        self._drain()

    def on_its_way(self, owner: Slotted) -> bool:
        """Return whether there is a record for `owner` that this turn has still to deliver."""
        return any(self.owners[slot] is owner for slot, *_ in self.records)

    def heir(self, coroutine: Coroutine) -> Coroutine | None:
        """Take the next record if all that it does is to wake a coroutine; return whom, to be entered by `hand_over`.

        `coroutine` is the running one, which was woken by a record itself and waits for the next of the same kind: the
        way through the hub would cost a second switch. None: it has to go that way.
        """
        records = self.records
        if coroutine.resumer is not self.greenlet or self.attention or coroutine.cancelled is not None or not records:
            return None
        slot, generation, result, where = records[0]
        self.luck = LUCK
        return self.owners[slot].arm(generation, result, where)

    def next_call(self, coroutine: Coroutine) -> Any:
        """Take the next record if it is for a handler, and return what its owner's `call` says; see `heir`.

        `coroutine` is the running one, which was started to call handlers: it calls this one, too.
        """
        records = self.records
        if coroutine.resumer is not self.greenlet or not records:
            return None
        slot, generation, result, where = records[0]
        self.luck = LUCK
        call = self.owners[slot].call(generation, result, where)
        if call is not None:
            del records[0]
        return call
