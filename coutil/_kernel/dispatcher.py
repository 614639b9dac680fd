"""The deliveries of a hub: completion records of libuv, and entries of its ready queue.

Rule 1: a delivery leaves its queue after its effect, unless it enters a coroutine: so an exception that a signal
handler raises in the hub loses no delivery.

Where CPython looks for signals. Python's signal handlers run in the main thread, between two instructions, and may
raise there. Not between any two: the interpreter looks when a function of Python begins, after a call of a function of
C, and at the backward jump of a loop. It does not look when a function of Python returns, between assignments, at
attribute access by slots, at `del queue[0]` or `list += (item,)`, nor in a `for` over an iterator in C that takes one
item and breaks. (The comments say "from here on nothing looks for signals".) Two kinds of deliveries follow from that:

- A delivery that enters a coroutine must be done exactly once. It is taken out of its queue before the switch, by a
  sequence of the steps above: set the `resumer` (from then on no other code can resume the coroutine), set
  `switching_to`, take the entry out, set the states, switch. The next look is the beginning of `wake` or of the
  coroutine's code. If a handler raises before the coroutine has been entered, `switching_to` still names it and its
  `resumer` is still the hub: `_recover` puts an `InterruptedSwitch` at the head of the ready queue.
- Any other delivery is made so that it may be made twice, and is taken out afterwards.

So appending is written `queue += (item,)` and counting is written with iterators wherever a call of `append` or of a
method in Python would open a window.

Direct switch. A coroutine that suspends would switch to the hub, and the hub to the next coroutine: two switches, and
each copies a part of the C stack. If the hub's next step is known, and is nothing but to enter a coroutine, the
suspending coroutine claims that delivery on behalf of the hub (`_next_runnable`, `claim_waiter`, `claim_runnable`) and
enters the target itself, with the hub as the target's `resumer`, as if the hub had entered it. It is correct only while
the hub would have done exactly that: the hub resumed the suspending coroutine, no function in the hub waits for it
(`_nested_resumes`), no hook is installed, nothing else needs the hub at the end of the turn (all of these set
`_slow_path`), and no block refuses the wait. Coroutines in the ready queue must also let libuv be polled from time to
time: see `_may_skip_poll`. A switch that fails at the recursion limit is left to the hub in `_failed_switches`. A
coroutine that ends goes back to the hub, which may have entered another one: `last_finished` names it.

Counting by iterators. A direct switch costs less than two calls of Python, so it cannot afford to read the clock or to
decrement an attribute. `Hub._clock_countdown` is an iterator over `CLOCK_CHECK_EVERY - 1` items: `for _ in countdown:
break` takes one in C. Only the empty one calls `_may_skip_poll`, which looks at the time, subtracts the switches from
`_turn_budget` and makes a new iterator. `update_flags` replaces it by an empty one, so that the next switch asks again;
`__length_hint__` of the old one says how many were not used. `_ready_consumer` (a `map` of `popleft`) is the same for
taking the first entry out of the ready queue without a call.
"""

from __future__ import annotations

from collections import deque
from itertools import repeat
from typing import Any

from .._coroutines.coroutine import Coroutine
from .._coroutines.switching import InterruptedSwitch
from .slots import NULL_HANDLER, CompletionHandler, ReadyItem, SlotTable

__all__ = ["COOP_BUDGET", "CompletionRecord", "Dispatcher"]

CompletionRecord = tuple[int, int, int, int]  # slot, generation, result, offset
COOP_BUDGET = 64  # calls that may finish at once, per resumption, before the coroutine lets others run


class Dispatcher(SlotTable):
    """The deliveries that a turn has still to make: the part of a hub that coroutines use on its behalf."""

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
        """`first` has slot 0; `greenlet` is the hub's, `ready` its queue."""
        super().__init__(first)
        self.greenlet = greenlet
        self.ready = ready
        self._ready_consumer = map(type(ready).popleft, repeat(ready))  # `next` takes an entry out: see above
        self._cancelled_ready = 0  # entries of it that are void: their waits have ended
        # Records of libuv that this turn has still to deliver
        self.completions: deque[CompletionRecord] = deque()
        self.switching_to: Coroutine | None = None  # about to be entered, or entered last
        self._failed_switches: tuple[Coroutine, ...] = ()  # see _recover
        self.current_handler: CompletionHandler = NULL_HANDLER  # of the last completion
        self.run_caller: Coroutine | None = None
        self._slow_path = False  # the hub must see the end of this turn: see Hub.update_flags
        self.coop_budget = COOP_BUDGET

    def _recover(self) -> None:
        """Queue the coroutines again that were about to be entered when a signal handler raised. May be repeated.

        A coroutine that the hub has entered, and that has come back, no longer has the hub as its `resumer`; the caller
        of `run` is the exception.
        """
        target = self.switching_to
        if target is not None and target.resumer is target.hub_greenlet and target is not self.run_caller:
            self._requeue_switch(target, self.current_handler)
        self.switching_to = None
        while self._failed_switches:
            self._requeue_switch(self._failed_switches[0], NULL_HANDLER)
        self.current_handler.after_completion()

    def _requeue_switch(self, target: Coroutine, handler: CompletionHandler) -> None:
        """Have the hub enter such a coroutine next. If this raises, it has done either everything or nothing."""
        overdue: Any = InterruptedSwitch(target, handler)
        target.resumer = overdue  # from here to the last step nothing looks for signals
        if target is self.switching_to:
            self.switching_to, self.current_handler = None, NULL_HANDLER
        else:
            self._failed_switches = self._failed_switches[1:]
        self.ready.appendleft(overdue)

    def _remove_ready(self, entry: ReadyItem) -> None:
        """Take an entry out that has not taken itself out."""
        ready = self.ready
        if ready and ready[0] is entry:
            del ready[0]
        elif entry in ready:  # another entry is the first by now; if it is not there, a fork has cleared the queue
            ready.remove(entry)

    def _dispatch(self) -> None:
        """Deliver the records of the last poll. Each stays in `completions` until it has had its effect: see rule 1."""
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
        """Deliver `times` records that did not come from libuv, before all others; called from the ready queue."""
        self.completions.extendleft(repeat((slot, generation, result, 0), times))
        self._dispatch()

    def _has_completion_for(self, owner: CompletionHandler) -> bool:
        """Return whether there is a record for `owner` that this turn has still to deliver."""
        return any(self.handlers[slot] is owner for slot, *_ in self.completions)

    def _next_runnable(self, coroutine: Coroutine) -> Coroutine | None:
        """Claim the next record if it only wakes a coroutine; return that, which `switch_directly` enters.

        coroutine: the running one, which was itself woken by a record. Returns None if it has to go by the hub.
        """
        records = self.completions
        if coroutine.resumer is not self.greenlet or self._slow_path:
            return None
        if coroutine.cancelled_scope is not None or not records:
            return None
        slot, generation, result, offset = records[0]
        self.coop_budget = COOP_BUDGET
        return self.handlers[slot].claim_waiter(generation, result, offset)

    def next_handler_call(self, coroutine: Coroutine) -> Any:
        """Take the next record if it only calls a handler; return the call, from the owner's `claim_callback`, or None.

        coroutine: the running one, which was started to call handlers, and makes this call, too.
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
