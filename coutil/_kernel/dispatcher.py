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
from .._coroutines.switching import InterruptedSwitch
from .slots import NULL_HANDLER, CompletionHandler, ReadyItem, SlotTable

__all__ = ["COOP_BUDGET", "CompletionRecord", "Dispatcher"]

CompletionRecord = tuple[int, int, int, int]  # slot, generation, result, where
COOP_BUDGET = 64  # calls that may finish at once, per resumption, before the coroutine lets others run


class Dispatcher(SlotTable):
    """What a turn has still to do, and how that is done: the part of a hub that coroutines use on its behalf."""

    __slots__ = [
        "_cancelled_ready",
        "_failed_switches",
        "_ready_consumer",
        "_slow_path",
        "completions",
        "coop_budget",
        "current_handler",
        "greenlet",
        "ready",
        "run_caller",
        "switching_to",
    ]

    def __init__(self, first: CompletionHandler, greenlet: Any, ready: deque[ReadyItem]) -> None:
        """`greenlet` is the hub's; `ready` its queue."""
        super().__init__(first)
        self.greenlet = greenlet
        self.ready = ready
        self._ready_consumer = map(type(ready).popleft, repeat(ready))  # takes out its entries; see suspend
        self._cancelled_ready = 0  # entries of it whose coroutines have left
        # What libuv has reported and this turn has still to deliver
        self.completions: deque[CompletionRecord] = deque()
        self.switching_to: Coroutine | None = None  # was taken out, and is about to be entered; or was
        self._failed_switches: tuple[Coroutine, ...] = ()  # see recover
        self.current_handler: CompletionHandler = NULL_HANDLER  # of the last completion
        self.run_caller: Coroutine | None = None
        self._slow_path = False  # something of all that is out of the ordinary; see Hub._end_turn
        self.coop_budget = COOP_BUDGET

    def _recover(self) -> None:
        """Have those entered in the next turn who were about to be when a signal handler raised.

        While the hub runs, none that it has entered still has its gate for a resumer, but for the caller of `loop`.
        May be repeated.
        """
        one = self.switching_to
        if one is not None and one.resumer is one.hub_greenlet and one is not self.run_caller:
            self._requeue_switch(one, self.current_handler)
        self.switching_to = None
        while self._failed_switches:
            self._requeue_switch(self._failed_switches[0], NULL_HANDLER)
        self.current_handler.after_completion()

    def _requeue_switch(self, one: Coroutine, armed: CompletionHandler) -> None:
        """Have the hub enter one of those next. What raises has done all of it, or nothing."""
        overdue = InterruptedSwitch(one, armed)
        one.resumer = overdue  # from here to the last step nothing looks for signals
        if one is self.switching_to:
            self.switching_to, self.current_handler = None, NULL_HANDLER
        else:
            self._failed_switches = self._failed_switches[1:]
        self.ready.appendleft(overdue)  # type: ignore[arg-type]  # as in main()

    def _remove_ready(self, entry: ReadyItem) -> None:
        """Take out an entry that has not done so itself."""
        ready = self.ready
        if ready and ready[0] is entry:
            del ready[0]
        elif entry in ready:  # another one is the first by now; or else a fork has cleared the queue
            ready.remove(entry)

    def _dispatch(self) -> None:
        """Deliver the records of the last step. Each stays in `records` until it has had its effect: see rule 1."""
        handlers, records = self.handlers, self.completions
        while records:
            record = records[0]
            slot, generation, result, offset = record
            self.coop_budget = COOP_BUDGET
            if not handlers[slot].complete(generation, result, offset) and records and records[0] is record:
                del records[0]
            self.switching_to = None
            self.current_handler.after_completion()

    def complete_now(self, slot: int, generation: int, result: int, times: int = 1) -> None:
        """Deliver something like `times` records of libuv, before any other; from the ready queue."""
        self.completions.extendleft(repeat((slot, generation, result, 0), times))
        self._dispatch()

    def _has_completion_for(self, owner: CompletionHandler) -> bool:
        """Return whether there is a record for `owner` that this turn has still to deliver."""
        return any(self.handlers[slot] is owner for slot, *_ in self.completions)

    def _next_runnable(self, coroutine: Coroutine) -> Coroutine | None:
        """Take the next record if all that it does is to wake a coroutine; return whom, to be entered by
        `switch_directly`.

        `coroutine` is the running one, which was woken by a record itself and waits for the next of the same kind: the
        way through the hub would cost a second switch. None: it has to go that way.
        """
        records = self.completions
        if (
            coroutine.resumer is not self.greenlet
            or self._slow_path
            or coroutine.cancelled_scope is not None
            or not records
        ):
            return None
        slot, generation, result, offset = records[0]
        self.coop_budget = COOP_BUDGET
        return self.handlers[slot].claim_waiter(generation, result, offset)

    def next_handler_call(self, coroutine: Coroutine) -> Any:
        """Take the next record if it is for a handler, and return what its owner's `call` says; see `_next_runnable`.

        `coroutine` is the running one, which was started to call handlers: it calls this one, too.
        """
        records = self.completions
        if coroutine.resumer is not self.greenlet or not records:
            return None
        slot, generation, result, offset = records[0]
        self.coop_budget = COOP_BUDGET
        call = self.handlers[slot].claim_callback(generation, result, offset)
        if call is not None:
            del records[0]
        return call
