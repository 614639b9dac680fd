"""Random programs of nested deadlines, scopes and children, compared with a model after every step.

The model knows which blocks are around each actor (a coroutine), and which of them are cancelled. From this it predicts
whose error ends each wait, and what each block ends with. An idle actor obeys orders; to be idle is a wait, too.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from greenlet import GreenletExit
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from coutil import coroutine, errors, event, mutex, scopes, spawn, system
from coutil.testing import ManualClock
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import Hub, current_context
from tests.helpers.tcp import pair

ACTORS = 6
DEPTH = 4
TURNS = 4 * ACTORS  # enough for everything to settle

actors = st.integers(0, ACTORS - 1)
seconds = st.sampled_from([0, 0, 0, 1, 2, 3, 6, 9, 9])
kinds = st.sampled_from(["timeout", "quiet", "scope", "scope", "limited scope", "shield"])
waits = st.sampled_from(["event", "sleep", "socket", "mutex"])


class Model:
    """What the model knows of a block."""

    def __init__(self, kind: str, outer: Model | None, real: Any) -> None:
        self.kind, self.outer, self.real = kind, outer, real
        self.is_scope = "scope" in kind or kind == "shield"
        self.cancelled = self.expired = False
        self.told = False  # whether a wait was cut by it
        self.failures: list[BaseException] = []
        self.members: list[Actor] = []

    def cancel(self) -> None:
        self.cancelled = True

    def fail(self, error: BaseException) -> None:
        """An error ends the scope: at its end each is raised once."""
        self.cancelled = True
        self.failures += [one for one in leaves(error) if one not in self.failures]


class Alone(Model):
    """The block around all that a child does that was cancelled alone."""

    def __init__(self, actor: Actor) -> None:
        super().__init__("alone", actor.base, None)
        self.cancelled = True
        self.actor = actor

    def __getattribute__(self, name: str) -> Any:
        return self.actor.task._own_scope if name == "real" else super().__getattribute__(name)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions that a group consists of."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


def reason(block: Model | None) -> Model | None:
    """Return the outermost cancelled block that no shield keeps out."""
    found = None
    while block is not None:
        if block.cancelled:
            found = block
        block = None if block.kind == "shield" else block.outer
    return found


class Actor:
    """A coroutine that obeys one order after the other."""

    def __init__(self, machine: ScopeMachine, base: Model | None) -> None:
        self.machine = machine
        self.base = self.block = base  # the block around all that it does, and the innermost one
        self.state = "new"
        self.order: tuple[Any, ...] | None = None
        self.deaf = False  # it swallows what cuts its waits, and leaves the block as if nothing had been
        self.task: Any = None
        self.coroutine: Any = None

    def run(self) -> None:
        self.coroutine = coroutine.running()
        try:
            self.obey()
        except Exception as error:
            self.machine.notice(error)
            if self.base is not None:
                self.base.fail(error)
            raise
        finally:
            self.state = "ended"

    def obey(self) -> None:
        """Do what is ordered until the block ends."""
        while True:
            try:
                self.wait("idle")
            except errors.Cancelled:
                if self.deaf:
                    return
                raise
            order, self.order = self.order or ("nothing",), None
            if order[0] == "leave":
                return
            if order[0] == "fail":
                raise Trouble("failed")
            if order[0] == "enter":
                self.enter(*order[1:])
            elif order[0] == "wait":
                self.wait(order[1])
            elif order[0] == "deaf":
                self.deaf = True
            elif order[0] == "spawn":
                self.spawn(order[1])

    def surround(self) -> None:
        """Put a block around all that the actor does, unless there is one."""
        inner, block = None, self.block
        while block is not self.base:
            assert block is not None
            inner, block = block, block.outer
        if inner is None:
            self.block = Alone(self)
        elif not isinstance(inner, Alone):
            inner.outer = Alone(self)

    def spawn(self, block: Model) -> None:
        """Spawn into a scope around the actor, which refuses if it is cancelled; a shield does not keep that out."""
        whose = reason(block)
        try:
            self.machine.spawn(block)
        except errors.Cancelled as error:
            assert whose is not None
            assert error.scope is whose.real  # noqa: PT017  # it goes on
            whose.told = True
            raise
        assert whose is None, "a scope that was cancelled has started a child"

    def enter(self, kind: str, limit: float, *nested: tuple[str, float]) -> None:
        """Obey inside a block, and blocks `nested` in it; then check what it ends with."""
        block = self.block = Model(kind, self.block, make(kind, limit))
        block.cancelled = block.expired = limit == 0 and kind in ("timeout", "quiet", "limited scope")
        raised: BaseException | None = None
        error: BaseException | None = None
        try:
            with block.real:
                try:
                    if nested:
                        self.enter(*nested[0], *nested[1:])
                    self.obey()
                except BaseException as caught:
                    raised = caught
                    self.machine.notice(caught)
                    if block.is_scope:
                        block.cancel()
                        if isinstance(caught, Exception):
                            block.fail(caught)
                    raise
                finally:
                    self.state = "joining"
        except BaseException as caught:  # noqa: BLE001  # judged, and raised again
            error = caught
        self.state = "running"
        assert all(member.state == "ended" for member in block.members), "children outlive the block"
        self.block = block.outer
        self.judge(block, raised, error)
        if error is not None and not (isinstance(error, errors.Timeout) and error.scope is block.real):
            raise error

    def judge(self, block: Model, raised: BaseException | None, error: BaseException | None) -> None:
        """Check the error that a block ended with."""
        own = isinstance(raised, errors.Cancelled) and raised.scope is block.real
        pending = reason(block.outer) if block.kind != "shield" else None
        assert block.real.expired is block.expired or not block.cancelled or block.kind == "quiet" or not own
        if not block.is_scope:
            swallowed = raised is None and block.told
            if (own or swallowed) and block.kind == "timeout":
                assert isinstance(error, errors.Timeout)
                assert (error.scope, error.__cause__) == (block.real, raised)
            else:
                assert error is (None if own else raised)
        elif block.failures:
            assert isinstance(error, ExceptionGroup)
            assert sorted(map(id, leaves(error))) == sorted(map(id, block.failures))
        elif isinstance(error, GreenletExit):
            assert self.machine.closing
        elif pending is not None:
            assert isinstance(error, errors.Cancelled)
            assert error.scope is pending.real
            pending.told = True
        elif block.real.expired:
            assert isinstance(error, errors.Timeout)
            assert error.scope is block.real
        else:
            assert error is (None if own else raised)

    def wait(self, kind: str) -> None:
        """Wait once. If that is cut, the next wait is cut by the same block; then go."""
        beforehand = reason(self.block)
        self.state = kind
        try:
            self.machine.wait(kind)
        except Trouble:
            assert beforehand is None
        except errors.Cancelled as error:
            self.check(error)
            with pytest.raises(errors.Cancelled) as again:
                system.suspend()
            self.check(again.value)
            assert again.value is not error  # noqa: PT017  # the first one goes on
            raise
        else:
            assert beforehand is None, "a wait inside a cancelled block has returned"
        finally:
            self.state = "running"

    def check(self, error: errors.Cancelled) -> None:
        whose = reason(self.block)
        assert whose is not None, "nothing was cancelled"
        assert error.scope is whose.real, "the error of another block"
        whose.told = True


def make(kind: str, limit: float) -> Any:
    """Return a real block."""
    if kind in ("timeout", "quiet"):
        return {"timeout": scopes.timeout, "quiet": scopes.move_on_after}[kind](limit)
    return scopes.scope(deadline=system.time() + limit if kind == "limited scope" else None, shield=kind == "shield")


class ScopeMachine(RuleBasedStateMachine):
    """Actors that enter blocks, spawn others, wait, fail; cancellations, resumes and throws; time that passes."""

    def __init__(self, hub: Hub, clock: ManualClock, escaped: list[Any]) -> None:
        super().__init__()
        gc.freeze()
        self.hub, self.clock, self.escaped = hub, clock, escaped
        self.live = current_context().alive_count()
        self.near, self.far = pair("ipv4")
        system.run("ready")  # the listener is closed now
        self.flight = hub.in_flight()
        self.sent = self.received = 0
        self.closing = False
        self.broken: list[BaseException] = []
        mutex.lock("m")
        self.actors: list[Actor] = []
        self.hosts = [self.start_host() for _ in range(2)]

    def start_host(self) -> Actor:
        """Start an actor that is in no one's scope."""
        actor = Actor(self, None)
        self.actors.append(actor)
        spawn.catch(lambda error: None, actor.run)
        return actor

    # -- what actors use --------------------------------------------------------------------------------------------

    def wait(self, kind: str) -> None:
        if kind == "idle":
            coroutine.yield_()
        elif kind == "event" or (kind == "socket" and self.near._handle.waiter is not None):
            event.await_("event")
        elif kind == "sleep":
            system.suspend(2.5)
        elif kind == "socket":
            self.received += self.near.receive(1) == b"x"
        elif kind == "mutex":
            mutex.lock("m")
            mutex.unlock("m")

    def spawn(self, block: Model) -> None:
        if len(self.living()) < ACTORS:
            child = Actor(self, block)
            self.actors.append(child)
            block.members.append(child)
            try:
                child.task = block.real.spawn(child.run)
            except errors.Cancelled:
                self.actors.remove(child)
                block.members.remove(child)
                raise

    def living(self) -> list[Actor]:
        self.actors = [actor for actor in self.actors if actor.state != "ended"]
        return self.actors

    def notice(self, error: BaseException) -> None:
        """Keep what shows that the model is wrong: scopes would only pass it on."""
        if any(
            not isinstance(one, Trouble | errors.Timeout | errors.Cancelled | GreenletExit) for one in leaves(error)
        ):
            self.broken.append(error)

    # -- what rules use ---------------------------------------------------------------------------------------------

    def get(self, index: int) -> Actor:
        living = self.living() or [self.start_host()]
        return living[index % len(living)]

    def idle(self, index: int) -> Actor:
        """Return an actor that is idle; a new one if there is none."""
        found = [actor for actor in self.living() if actor.state == "idle"] or [self.start_host()]
        return found[index % len(found)]

    def tell(self, actor: Actor, *order: Any) -> None:
        """Have an actor do something that is idle."""
        if actor.state == "idle":
            actor.order = order
            with suppress(Trouble, ExceptionGroup, errors.Timeout):
                actor.coroutine.resume()
        self.settle()

    def blocks(self, actor: Actor) -> list[Model]:
        found, block = [], actor.block
        while block is not None:
            found.append(block)
            block = block.outer
        return found

    def settle(self) -> None:
        for _ in range(TURNS):
            system.run("ready")

    # -- rules ------------------------------------------------------------------------------------------------------

    @rule(index=actors, nested=st.lists(st.tuples(kinds, seconds), min_size=1, max_size=DEPTH))
    def enter(self, index: int, nested: list[tuple[str, int]]) -> None:
        """Enter one block in the other, without a wait between."""
        actor = self.idle(index)
        if len(self.blocks(actor)) < 2 * DEPTH:
            self.tell(actor, "enter", *nested[0], *nested[1:])

    @rule(index=actors, level=st.integers(0, DEPTH), nested=st.none() | kinds, limit=seconds)
    def spawn_child(self, index: int, level: int, nested: str | None, limit: int) -> None:
        """Spawn into a scope around the actor, also one of its parent's; the child may enter a block of its own."""
        actor = self.idle(index)
        found = [block for block in self.blocks(actor) if block.is_scope]
        if found:
            before = len(self.living())
            self.tell(actor, "spawn", found[level % len(found)])
            if nested and len(self.living()) > before:
                self.tell(self.actors[-1], "enter", nested, limit)

    @rule(index=actors)
    def cancel_child(self, index: int) -> None:
        """Cancel one child alone."""
        actor = self.get(index)
        if actor.task is not None and not actor.task.done:
            actor.surround()
            actor.task.cancel()
        self.settle()

    @rule(index=actors)
    def become_deaf(self, index: int) -> None:
        self.tell(self.idle(index), "deaf")

    @rule(index=actors, kind=waits)
    def begin_wait(self, index: int, kind: str) -> None:
        self.tell(self.idle(index), "wait", kind)

    @rule(index=actors)
    def leave(self, index: int) -> None:
        self.tell(self.idle(index), "leave")

    @rule(index=actors)
    def fail(self, index: int) -> None:
        actor = self.idle(index)
        if actor.block is not None:
            self.tell(actor, "fail")

    @rule(index=actors, level=st.integers(0, DEPTH))
    def cancel(self, index: int, level: int) -> None:
        found = self.blocks(self.get(index))
        if found:
            block = found[level % len(found)]
            block.cancel()
            block.real.cancel()
        self.settle()

    @rule(limit=st.sampled_from([0.5, 1, 1]))
    def pass_time(self, limit: float) -> None:
        """Let time pass, from one timer to the next, as the loop would."""
        end = self.clock.time + round(limit * 1e9)
        while True:
            due = min([entry[0] for entry in self.clock._timers.heap] + [end])
            for actor in self.living():
                for block in self.blocks(actor):
                    alarm = block.real._timer
                    at = next((entry[0] for entry in self.clock._timers.heap if alarm and entry[2] == alarm.slot), None)
                    if at is not None and at <= due and not block.cancelled:
                        block.cancelled = block.expired = True
            self.clock.advance((due - self.clock.time) / 1e9)
            self.settle()
            if due >= end:
                return

    @rule()
    def emit(self) -> None:
        event.emitall("event")
        self.settle()

    @rule()
    def send(self) -> None:
        self.far.send(b"x")
        self.sent += 1
        self.settle()

    @rule()
    def free_mutex(self) -> None:
        mutex.unlock("m")
        mutex.lock("m")
        self.settle()

    @rule(index=actors)
    def resume(self, index: int) -> None:
        """An explicit resume ends any wait but the one for the children and for a mutex."""
        actor = self.get(index)
        with suppress(Trouble, ExceptionGroup, errors.Timeout):
            actor.coroutine.resume()
        self.settle()

    @rule(index=actors)
    def throw(self, index: int) -> None:
        """Actors forgive what is thrown into their waits; at the end of a scope it is raised."""
        actor = self.get(index)
        boom = Trouble("thrown")
        if actor.state == "joining":
            assert actor.block is not None
            actor.block.fail(boom)
        with suppress(Trouble, ExceptionGroup, errors.Timeout):
            actor.coroutine.throw(boom)
        self.settle()

    @rule(index=actors)
    def close(self, index: int) -> None:
        """End an actor, wherever it is."""
        self.closing = True
        actor = self.get(index)
        if actor.state == "joining":
            assert actor.block is not None
            actor.block.cancel()
        with suppress(Trouble, ExceptionGroup, errors.Timeout):
            actor.coroutine.close()
        self.settle()

    # -- properties -------------------------------------------------------------------------------------------------

    @invariant()
    def the_model_is_right(self) -> None:
        if self.broken:
            raise self.broken[0]

    @invariant()
    def without_a_waiter_in_a_cancelled_block(self) -> None:
        for actor in self.living():
            if actor.state == "joining":
                assert actor.block is not None
                assert any(member.state != "ended" for member in actor.block.members), "the block does not end"
            else:
                assert actor.state in ("idle", "event", "sleep", "socket", "mutex")
                assert reason(actor.block) is None
                assert actor.coroutine.cancelled_scope is None

    @invariant()
    def blocks_are_those_of_the_model(self) -> None:
        for actor in self.living():
            real = actor.coroutine.scope
            for block in self.blocks(actor):
                assert real is block.real
                assert real.cancelled is block.cancelled or actor.state == "joining"
                real = real._outer

    @invariant()
    def nothing_escaped_unseen(self) -> None:
        for _, error in self.escaped:
            assert all(isinstance(one, Trouble | errors.Timeout) for one in leaves(error)), error
        self.escaped.clear()

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        """Timers are those of open deadlines and of sleepers."""
        living = self.living()
        blocks = {id(block): block for actor in living for block in self.blocks(actor)}
        alarms = sum(block.real._timer is not None for block in blocks.values())
        sleepers = sum(actor.state == "sleep" for actor in living)
        assert self.clock._timers.pending() == alarms + sleepers
        assert self.received <= self.sent

    def teardown(self) -> None:
        try:
            self.end()
            self.the_model_is_right()
        finally:
            self.near.close()
            self.far.close()
            if mutex.ownlock("m"):
                mutex.unlock("m")
            self.hosts.clear()
            gc.collect()
            self.settle()
        assert (self.clock._timers.pending(), self.hub.in_flight()) == (0, self.flight - 2)
        assert current_context().alive_count() == self.live

    def end(self) -> None:
        """End all actors; then everything is as it was."""
        self.closing = True
        for _ in range(10):
            for actor in list(reversed(self.living())):
                if actor.state != "ended" and actor.coroutine.status == "suspended":
                    if actor.state == "joining" and actor.block is not None:
                        actor.block.cancel()
                    with suppress(Trouble, ExceptionGroup, errors.Timeout):
                        actor.coroutine.close()
            self.settle()
        assert self.living() == []
        self.nothing_escaped_unseen()
        assert (self.clock._timers.pending(), self.hub.in_flight()) == (0, self.flight)
        assert not event.pending("event")
        assert mutex.unlock("m") is False
        self.far.send(b"end")
        rest = b""
        while not rest.endswith(b"end"):
            rest += self.near.receive()
        assert len(rest) == self.sent - self.received + 3


def explore(hub: Hub, clock: ManualClock, escaped: list[Any], examples: int) -> None:
    chosen = settings(
        max_examples=examples,
        stateful_step_count=40,
        deadline=None,
        database=None,
        derandomize=examples <= 1000,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(lambda: ScopeMachine(hub, clock, escaped), settings=chosen)
    finally:
        gc.unfreeze()
        gc.collect()
        gc.freeze()


@pytest.mark.slow
def test_random_programs(hub: Hub, clock: ManualClock, escaped: list[Any]) -> None:
    """Cancellations by any coroutine in any order: each wait ends as the model says, and nothing is left."""
    explore(hub, clock, escaped, 100)
    assert hub.in_flight() == 0


@pytest.mark.fuzz
def test_many_random_programs(hub: Hub, clock: ManualClock, escaped: list[Any]) -> None:
    """The same with many more programs, other ones each time."""
    explore(hub, clock, escaped, 1500)
    assert hub.in_flight() == 0
