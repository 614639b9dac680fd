"""Random programs of coroutines, for state machines of hypothesis: workers that follow plans, and of what resumes them.

Rule 1: what is drawn never depends on what happened: every rule does something sensible in every state.
Rule 2: the model refers to coroutines weakly, so that forgotten ones are really forgotten.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable
from typing import Any
from weakref import ref

import pytest
from greenlet import getcurrent
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from coutil import coroutine, errors, spawn, system
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import Arrow, Coroutine, Hub, current_context, observers
from tests.helpers.state_traces import Reached

SLOTS = 3  # coroutines at a time that the rules can speak of
NOTHING: Any = object()


class Wait:
    """One call that waits: what it is, and what it returned or raised."""

    def __init__(self, kind: str, amount: int = 0) -> None:
        self.kind = kind
        self.amount = amount  # whatever the machine needs
        self.outcomes: list[object] = []
        self.begun = True  # False if it was cancelled before its turn came
        self.port = 0  # of the stream that is used
        self.model: Any = None  # of the object that is used
        self.instant: Any = None  # what the call brings without a suspension


class Worker:
    """A coroutine that does what `plan` says, and writes down what each wait brought.

    A step of the plan is "yield", "finish", "raise", a `Wait`, or something to call.
    """

    def __init__(self, machine: CoroutineMachine) -> None:
        self.machine = machine
        self.plan: deque[Any] = deque()
        self.waits: list[Wait] = []
        self.current: Wait | None = None
        self.given: object = NOTHING  # what an explicit resume brings
        self.running = False
        self.ended = False
        self.explicitly = True  # whom the coroutine was resumed by: not by the hub
        self.boom: Trouble | None = None  # what it ended with
        self.resumer = 0  # id of the greenlet that resumed it last, if that was not the hub
        self.stream: Any = None  # for the machine's use
        self.who: Callable[[], Coroutine | None] = lambda: None

    def body(self) -> None:
        self.running = True
        try:
            self._follow_plan()
        finally:
            self.ended = True
            self.running = False

    def _follow_plan(self) -> None:
        while True:
            step = self.plan.popleft() if self.plan else "yield"
            if step == "finish":
                return
            if step == "raise":
                self.boom = Trouble("end")
                if not self.explicitly:
                    self.machine.expected_escapes.append(self.boom)
                raise self.boom
            if callable(step):
                step()
            else:
                self._wait(Wait("yield") if step == "yield" else step)

    def _wait(self, wait: Wait) -> None:
        """Wait once; check that it returns once, with the values of the one resume that ended it."""
        call = coroutine.yield_ if wait.kind == "yield" else self.machine.prepare(self, wait)
        if call is None:
            return
        self.waits.append(wait)
        self.current = wait
        self.running = False
        try:
            result = call()
        except (Trouble, errors.CoutilError) as error:
            result = error.with_traceback(None)  # which refers to us
        assert not self.running, "the coroutine runs twice"
        assert self.current is wait, "the wait returned twice"
        self.running, self.current = True, None
        del call  # it may be the last that refers to what was waited for
        self.machine.returned(self, wait)
        given, self.given = self.given, NOTHING
        wait.outcomes.append(result)
        if given is NOTHING:
            if not self.machine.judge(self, wait, result):
                self.explicitly, self.resumer = False, 0
        else:
            self.explicitly = given is not errors.Closed  # the one that closes gets no exception
            if given is errors.Closed:
                assert isinstance(result, errors.Closed)
            else:
                assert result is given or (not isinstance(given, Exception) and result == given)


class CoroutineMachine(RuleBasedStateMachine):
    """A few slots for workers; subclasses know what they wait for."""

    table: tuple[Arrow, ...] = ()  # whose transitions are followed

    def __init__(self, hub: Hub, escaped: list[Any]) -> None:
        super().__init__()
        gc.freeze()  # spare the collector what hypothesis remembers; `explore` undoes it
        self.hub, self.escaped = hub, escaped
        self.slots: list[tuple[Worker, Coroutine] | None] = [None] * SLOTS
        self.workers: list[Worker] = []
        self.states: dict[int, str] = {}  # of all owners that the table is for, by id
        self.expected_escapes: list[Trouble] = []
        self.live = current_context().alive_count()
        observers.append(self._saw)

    # -- for subclasses ---------------------------------------------------------------------------------------------

    def prepare(self, worker: Worker, wait: Wait) -> Callable[[], Any] | None:
        """Return the call that waits, or None if it cannot be made now."""
        raise NotImplementedError

    def returned(self, worker: Worker, wait: Wait) -> None:
        """Take notice that a wait is over."""

    def judge(self, worker: Worker, wait: Wait, result: object) -> bool:
        """Check the result of a wait that no one cancelled; return whether it came at once, without a suspension."""
        raise NotImplementedError

    def saw(self, owner: Any, arrow: Arrow) -> None:
        """Take notice of a transition."""

    def _saw(self, owner: Any, arrow: Arrow) -> None:
        if arrow in self.table:
            assert self.states.get(id(owner), "Freed") in ("Freed", arrow.source.name)  # ids are used again
            self.states[id(owner)] = arrow.target.name
            self.saw(owner, arrow)

    # -- what rules use ---------------------------------------------------------------------------------------------

    def get(self, slot: int) -> tuple[Worker, Coroutine]:
        """Return the coroutine of a slot: a new one, which yields, if there is none or if it has ended."""
        found = self.slots[slot]
        if found is None or found[0].ended:
            worker = Worker(self)
            made = coroutine.create(worker.body)
            worker.who = ref(made)
            worker.resumer = id(getcurrent())
            self.workers.append(worker)
            found = self.slots[slot] = worker, made
            made.resume()
        return found

    def resume(self, slot: int, values: list[Any], error: Trouble | None = None) -> None:
        """Resume explicitly: the wait returns exactly this, and before this returns."""
        worker, who = self.get(slot)
        if who.status != "suspended":
            with pytest.raises((errors.RunningCoroutine, errors.DeadCoroutine)):
                who.resume(*values)
            return
        wait = worker.current
        assert wait is not None
        wait.begun = not (who.operation and who.operation._waiting_for_free)
        worker.resumer = id(getcurrent())
        worker.given = expected = error or (values[0] if len(values) == 1 else tuple(values) or None)
        escaped: object = None
        try:
            who.throw(error) if error is not None else who.resume(*values)
        except Trouble as boom:
            escaped = boom.with_traceback(None)
        assert wait.outcomes == [expected]
        assert worker.given is NOTHING
        assert escaped is (worker.boom if worker.explicitly else None)

    def follow(self, slot: int, *steps: Any) -> None:
        """Have the coroutine of a slot do `steps`: now if it yields, else when its present wait is over."""
        worker, who = self.get(slot)
        worker.plan.extend(steps)
        if worker.current is not None and worker.current.kind == "yield" and who.status == "suspended":
            self.resume(slot, ["go"])

    def drop(self, slot: int) -> None:
        """Forget a coroutine: it ends if it yields; what the hub will wake goes on.

        It ends later if a cancelled request of its, or a void entry in the ready queue, is still there, and perhaps if
        a coroutine is still suspended that another one has resumed: that one's greenlet is in the middle of a switch.
        """
        worker, who = self.get(slot)
        held = bool(who.operation and (who.operation.cancelled_entries or who.operation.state.name != "Freed"))
        for other in self.workers:
            if other is not worker and not other.ended and other.current is not None:
                held |= other.resumer not in (0, id(getcurrent())) or other.current.kind == "ready"
        self.slots[slot] = None
        del who
        gc.collect()
        assert worker.current is not None
        assert worker.ended is (worker.current.kind == "yield") or held
        assert not worker.ended or worker.who() is None

    def loop(self, count: int) -> bool:
        """Run the loop in mode "loop", in which coroutines hand over to each other, for a few turns."""

        def halter() -> None:
            for _ in range(count):
                system.suspend()
            system.halt()

        spawn.call(lambda: system.suspend(0) and halter())
        return system.run("loop")

    # -- properties -------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_unexpected_escaped(self) -> None:
        found = [error.with_traceback(None) if isinstance(error, Trouble) else error for _, error in self.escaped]
        self.escaped[:] = [(None, error) for error in found]
        unexpected = [error for error in found if error not in self.expected_escapes]
        if unexpected:
            raise unexpected[0]
        assert found == self.expected_escapes

    def drain(self) -> None:
        """Let everything come to its end; subclasses do what they have to before and after."""

    def close(self) -> None:
        """Close whatever is open."""

    def teardown(self) -> None:
        try:
            self.drain()
            self.nothing_unexpected_escaped()
            waits = [wait for worker in self.workers for wait in worker.waits if wait.kind != "yield"]
            assert all(len(wait.outcomes) == 1 for wait in waits)
        finally:
            observers.remove(self._saw)
            for worker in self.workers:
                worker.plan.clear()
            self.close()
            self.slots.clear()
            gc.collect()
            while system.run("step"):
                pass
            self.escaped.clear()
        assert self.hub.in_flight() == 0
        for _ in range(len(self.workers)):  # one may have been held by another
            if current_context().alive_count() > self.live:
                gc.collect()
        assert current_context().alive_count() == self.live


def explore(make: Callable[[], CoroutineMachine], table: tuple[Arrow, ...], examples: int, steps: int = 40) -> None:
    """Run a machine. Up to 1000 examples are the same each time; more are other ones each time."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=examples <= 1000,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    with Reached(table) as reached:
        try:
            run_state_machine_as_test(make, settings=chosen)
        finally:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
    assert reached.missing() == set(), "some transitions were never walked"
