"""Random programs of coroutines over real operations, compared with a model after every step.

Rule 1: what is drawn never depends on what happened: every rule does something sensible in every state.
Rule 2: the model refers to coroutines weakly, so that forgotten ones are really forgotten.
"""

from __future__ import annotations

import gc
import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from weakref import ref

import hypothesis.strategies as st
import pytest
from greenlet import getcurrent
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from coutil import coroutine, errors, spawn, system
from coutil._kernel.clock import ManualClock
from coutil._kernel.coroutine import Coroutine, home
from coutil._kernel.hub import Hub
from coutil._kernel.operation import Operation
from coutil._kernel.states import OPERATION, Arrow, observers
from tests.helpers.transitions import Reached, Walked, needs_debug

pytestmark = needs_debug

PAYLOAD = bytes(1 << 19)  # more than the kernel takes at once
SLOTS = 3  # coroutines at a time that the rules can speak of
NOTHING: Any = object()
REQUESTS = {"connect", "send", "shutdown"}


class Boom(Exception):
    """What rules throw, and what coroutines end with."""


class Wait:
    """One call that waits: its kind, and what it returned or raised."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.outcomes: list[object] = []
        self.begun = True  # False if it was cancelled before its turn came
        self.stream: Any = None  # that is used
        self.port = 0  # of it


class Worker:
    """A coroutine that does what `plan` says, and writes down what each wait brought."""

    def __init__(self, machine: OperationMachine) -> None:
        self.machine = machine
        self.plan: deque[Any] = deque()
        self.waits: list[Wait] = []
        self.current: Wait | None = None
        self.given: object = NOTHING  # what an explicit resume brings
        self.running = False
        self.ended = self.collected = False
        self.explicitly = True  # whom the coroutine was resumed by: not by the hub
        self.boom: Boom | None = None  # what it ended with
        self.stream: system.StreamSocket | None = None  # connected, and not shut down
        self.resumer = 0  # id of the greenlet that resumed it last, if that was not the hub
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
                self.boom = Boom("end")
                if not self.explicitly:
                    self.machine.expected_escapes.append(self.boom)
                raise self.boom
            if isinstance(step, tuple):
                self.machine.resume(*step)
            else:
                self._wait(step)

    def _wait(self, kind: str) -> None:
        """Wait once; check that it returns once, with the values of the one resume that ended it."""
        call = self._call(kind)
        wait = self.current
        assert wait is not None
        arrows = self.machine.arrows
        self.running = False
        try:
            result = call()
        except (Boom, errors.UVError) as error:
            result = error.with_traceback(None)  # which refers to us
        assert not self.running, "the coroutine runs twice"
        assert self.current is wait, "the wait returned twice"
        self.running, self.current = True, None
        given, self.given = self.given, NOTHING
        self.explicitly = given is not NOTHING
        wait.outcomes.append(result)
        if self.explicitly:
            assert result is given or (not isinstance(given, Boom) and result == given)
            return
        self.resumer = 0
        assert result is True
        lucky = kind == "ready" and self.machine.arrows == arrows
        self.machine.implicit += not lucky
        if wait.kind == "connect":
            self.stream = wait.stream

    def _call(self, kind: str) -> Callable[[], Any]:
        """Return the call that waits; what needs a connection connects if there is none."""
        if kind in ("send", "shutdown") and self.stream is None:
            kind = "connect"
        wait = self.current = Wait(kind)
        self.waits.append(wait)
        if kind == "yield":
            return coroutine.yield_
        if kind == "ready":
            return system.suspend
        if kind.startswith("timer"):
            seconds = int(kind[-1]) * (1 if self.machine.manual else 0.0005)
            return lambda: system.suspend(seconds)
        if kind == "connect":
            wait.stream = stream = self.machine.new_stream()
            return lambda: stream.connect(self.machine.address)
        wait.stream = stream = self.stream
        wait.port = stream.getaddress().port
        if kind == "send":
            return lambda: stream.send(PAYLOAD)
        self.stream = None
        return stream.shutdown


class OperationMachine(RuleBasedStateMachine):
    """Rules over a few coroutines that wait, are resumed, end, and are forgotten."""

    def __init__(self, hub: Hub, escaped: list[Any], manual: ManualClock | None) -> None:
        super().__init__()
        gc.freeze()  # spare the collector what hypothesis remembers; `explore` undoes it
        self.hub, self.escaped, self.manual = hub, escaped, manual
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.listener.setblocking(False)
        self.address = system.address("ipv4", "127.0.0.1", self.listener.getsockname()[1])
        self.slots: list[tuple[Worker, Coroutine] | None] = [None] * SLOTS
        self.workers: list[Worker] = []
        self.streams: list[system.StreamSocket] = []
        self.peers: dict[int, socket.socket] = {}  # by the port of our end
        self.taken: dict[int, int] = {}  # bytes that the peer has read
        self.ends: set[int] = set()  # ports whose peer has read the end
        self.implicit = self.arrows = self.woken = 0
        self.states: dict[int, Any] = {}  # of operations, by id
        self.expected_escapes: list[Boom] = []
        self.live = home().live()
        self.requests = self._requests()
        observers.append(self._saw)

    def _saw(self, owner: Any, arrow: Arrow) -> None:
        if not isinstance(owner, Operation):
            return
        assert arrow in OPERATION
        assert self.states.get(id(owner), arrow.source) is arrow.source
        self.states[id(owner)] = arrow.target
        if any(worker.who() is owner.coroutine for worker in self.workers):
            self.arrows += 1
            self.woken += arrow.number in (3, 6)

    # -- what rules use ---------------------------------------------------------------------------------------------

    def _requests(self) -> int:
        counts = self.hub.loop.counts()
        return counts["requests_created"] - counts["requests_freed"]

    def _sleeping(self) -> int:
        """Return how many coroutines wait for a timer that runs."""
        waits = [one for one in self.workers if not one.ended and one.current and one.current.kind[:5] == "timer"]
        return sum(one.who().operation.state.name == "Await-handle" for one in waits)

    def new_stream(self) -> system.StreamSocket:
        stream = system.socket("stream", "ipv4")
        self.streams.append(stream)
        with socket.fromfd(stream.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return stream

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

    def resume(self, slot: int, values: list[Any], error: Boom | None = None) -> None:
        """Resume explicitly: the wait returns exactly this, and before this returns."""
        worker, who = self.get(slot)
        if who.status != "suspended":
            with pytest.raises((errors.RunningCoroutine, errors.DeadCoroutine)):
                who.resume(*values)
            return
        wait = worker.current
        assert wait is not None
        wait.begun = not (who.operation and who.operation.waiting)
        worker.resumer = id(getcurrent())
        worker.given = expected = error or (values[0] if len(values) == 1 else tuple(values) or None)
        escaped: object = None
        try:
            who.throw(error) if error is not None else who.resume(*values)
        except Boom as boom:
            escaped = boom.with_traceback(None)
        assert wait.outcomes == [expected]
        assert worker.given is NOTHING
        assert escaped is (worker.boom if worker.explicitly else None)

    def follow(self, slot: int, steps: list[Any]) -> None:
        """Have the coroutine of a slot do `steps`: now if it yields, else when its present wait is over."""
        worker, _ = self.get(slot)
        worker.plan.extend(steps)
        if worker.current is not None and worker.current.kind == "yield":
            self.resume(slot, ["go"])

    def take_from_peers(self) -> None:
        with suppress(BlockingIOError):
            while True:
                peer, name = self.listener.accept()
                peer.setblocking(False)
                self.peers[name[1]] = peer
                self.taken[name[1]] = 0
        for port, peer in self.peers.items():
            with suppress(BlockingIOError):
                while data := peer.recv(1 << 20):
                    self.taken[port] += len(data)
                self.ends.add(port)

    def run(self, mode: Any) -> None:
        """Run the loop: something is left exactly if an operation is not free."""
        answer = system.run(mode)
        assert answer is any(state.name != "Freed" for state in self.states.values())

    # -- rules ------------------------------------------------------------------------------------------------------

    slots_ = st.integers(0, SLOTS - 1)
    values_ = st.lists(st.none() | st.booleans() | st.integers(0, 9), max_size=3)
    kinds_ = st.sampled_from(["ready", "timer 1", "timer 2", "connect", "send", "send", "shutdown"])
    ends_ = st.sampled_from(["yield", "yield", "finish", "raise"])

    @rule(slot=slots_, kind=kinds_, then=st.lists(kinds_, max_size=2))
    def start(self, slot: int, kind: str, then: list[str]) -> None:
        self.follow(slot, [kind, *then])

    @rule(slot=slots_, kind=kinds_, end=ends_)
    def start_and_end(self, slot: int, kind: str, end: str) -> None:
        self.follow(slot, [kind, end])

    @rule(slot=slots_, values=values_)
    def explicit(self, slot: int, values: list[Any]) -> None:
        self.resume(slot, values)

    @rule(slot=slots_)
    def throw(self, slot: int) -> None:
        self.resume(slot, [], Boom())

    @rule(slot=slots_, kind=kinds_, other=slots_, values=values_)
    def explicit_from_inside(self, slot: int, kind: str, other: int, values: list[Any]) -> None:
        """As soon as one coroutine's wait is over it resumes another one, or itself."""
        self.follow(slot, [kind, (other, values)])

    @rule(slot=slots_, kind=kinds_, other=slots_)
    def throw_from_inside(self, slot: int, kind: str, other: int) -> None:
        self.follow(slot, [kind, (other, [], Boom())])

    @rule(slot=slots_)
    def drop_and_collect(self, slot: int) -> None:
        """Forget a coroutine: it ends if it yields; what the hub will wake goes on.

        It ends later if a cancelled request of its, or a void entry in the ready queue, is still there, and if it has
        resumed somebody who is still suspended (it, or who had its greenlet before).
        """
        worker, who = self.get(slot)
        held = bool(who.operation and (who.operation.stale or who.operation.state.name != "Freed"))
        for other in self.workers:
            if other is not worker and not other.ended:
                held |= other.resumer == id(who._greenlet) or (
                    other.current is not None and other.current.kind == "ready"
                )
        self.slots[slot] = None
        del who
        gc.collect()
        assert worker.current is not None
        assert worker.ended is (worker.current.kind == "yield") or held
        assert not worker.ended or worker.who() is None

    @rule()
    def turn(self) -> None:
        self.run("ready")

    @rule()
    def turns(self) -> None:
        """Turn until nothing more comes by itself."""
        for _ in range(3):
            self.run("ready")

    @rule()
    def step(self) -> None:
        """A step waits for an event; one is made if none is sure to come."""
        if self.manual is not None or not self._sleeping():
            spawn.call(system.suspend)
        self.run("step")

    @rule(count=st.integers(1, 4))
    def loop(self, count: int) -> None:
        """In mode "loop" coroutines hand over to each other."""

        def halter() -> None:
            for _ in range(count):
                system.suspend()
            system.halt()

        spawn.call(lambda: system.suspend(0) and halter())
        self.run("loop")

    @rule()
    def fire_sends(self) -> None:
        self.take_from_peers()

    @rule()
    def fire_timers(self) -> None:
        if self.manual is not None:
            self.manual.advance(1)

    # -- properties -------------------------------------------------------------------------------------------------

    @invariant()
    def nothing_unexpected_escaped(self) -> None:
        errors_ = [error.with_traceback(None) if isinstance(error, Boom) else error for _, error in self.escaped]
        self.escaped[:] = [(None, error) for error in errors_]
        unexpected = [error for error in errors_ if error not in self.expected_escapes]
        if unexpected:
            raise unexpected[0]
        assert errors_ == self.expected_escapes

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for worker in self.workers:
            who = worker.who()
            operation = who.operation if who is not None else None
            kind = worker.current.kind if worker.current is not None and not worker.ended else ""
            if operation is None:
                assert kind in ("", "yield")
            elif operation.waiting or kind in ("", "yield"):
                assert operation.state.name in (["Close-request"] if operation.waiting else ["Close-request", "Freed"])
            else:
                assert operation.state.name == ("Await-request" if kind in REQUESTS else "Await-handle")

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        """Slots in flight and requests in C are those of the operations; each wake-up of the hub ended one wait."""
        states = [state.name for state in self.states.values()]
        requests = states.count("Await-request") + states.count("Close-request")
        assert self._requests() - self.requests == requests
        assert self.hub.in_flight() == len(self.streams) + requests + self._sleeping()
        assert self.woken == self.implicit

    def teardown(self) -> None:
        try:
            self._drain()
            self._judge()
        finally:
            observers.remove(self._saw)
            for worker in self.workers:
                worker.plan.clear()
            for each in (self.listener, *self.peers.values(), *self.streams):
                each.close()
            self.slots.clear()
            gc.collect()
            while system.run("step"):
                pass
            self.escaped.clear()
        assert self.hub.in_flight() == 0
        assert home().live() == self.live

    def _drain(self) -> None:
        """Let everything come to its end; what the coroutines still plan to do is done, too."""
        for _ in range(2000):
            self.take_from_peers()
            if self.manual is not None:
                self.manual.advance(1)
            spawn.call(system.suspend)
            if not system.run("step"):
                return
        raise AssertionError(f"it does not end: {self.states}")

    def _judge(self) -> None:
        self.take_from_peers()
        self.nothing_unexpected_escaped()
        assert {state.name for state in self.states.values()} <= {"Freed"}
        waits = [wait for worker in self.workers for wait in worker.waits if wait.kind != "yield"]
        assert all(len(wait.outcomes) == 1 for wait in waits)
        begun = [wait for wait in waits if wait.begun]
        assert len(self.peers) == sum(wait.kind == "connect" for wait in begun)
        for port, taken in self.taken.items():
            kinds = [wait.kind for wait in begun if wait.port == port]
            assert taken == kinds.count("send") * len(PAYLOAD)
            assert (port in self.ends) is ("shutdown" in kinds)


def explore(make: Callable[[], RuleBasedStateMachine], examples: int, steps: int, random: bool) -> None:
    """Run a machine; the short runs of every day are the same each time."""
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        deadline=None,
        database=None,
        derandomize=not random,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    with Reached(OPERATION) as reached:
        try:
            run_state_machine_as_test(make, settings=chosen)
        finally:
            gc.unfreeze()
            gc.collect()
            gc.freeze()
    assert reached.missing() == set(), "some transitions were never walked"


def test_random_programs(hub: Hub, escaped: list[Any], clock: ManualClock) -> None:
    """Whatever is started, resumed and forgotten in whatever order: each wait returns once, nothing is left."""
    explore(lambda: OperationMachine(hub, escaped, clock), 200, 40, random=False)


def test_random_programs_in_real_time(hub: Hub, escaped: list[Any]) -> None:
    """The same with libuv's timers."""
    explore(lambda: OperationMachine(hub, escaped, None), 100, 40, random=False)


@pytest.mark.fuzz
@pytest.mark.parametrize("manual", [True, False], ids=["manual clock", "real time"])
def test_many_random_programs(hub: Hub, escaped: list[Any], request: pytest.FixtureRequest, manual: bool) -> None:
    """The same with many more programs, other ones each time."""
    clock = request.getfixturevalue("clock") if manual else None
    explore(lambda: OperationMachine(hub, escaped, clock), 3000, 60, random=True)


def test_each_numbered_transition(hub: Hub, clock: ManualClock) -> None:
    """One program that walks the transitions 1 to 10 of an operation, in an order that can be read off the table."""
    listener = socket.create_server(("127.0.0.1", 0))
    address = system.address("ipv4", "127.0.0.1", listener.getsockname()[1])
    streams = [system.socket("stream", "ipv4") for _ in range(3)]
    log: list[object] = []

    def program() -> None:
        log.append(system.suspend(1))  # 2 6
        log.append(system.suspend(1))  # 10 6
        log.append(streams[0].connect(address))  # 9 8 1 3
        spawn.call(meddle)
        log.append(system.suspend(1000))  # 2 5 8
        log.append(streams[1].connect(address))  # 1 4
        log.append(streams[2].connect(address))  # 7 1 3

    def meddle() -> None:
        listener.accept()[0].close()
        log.append(streams[0].receive())
        who.resume("a")
        who.resume("b")

    with Walked() as walked, Reached(OPERATION) as reached:
        who = coroutine.create(program)
        who.resume()
        assert system.run() is False
        assert walked.by(who.operation) == "2 6 10 6 9 8 1 3 2 5 8 1 4 7 1 3"
    assert log == [True, True, True, b"", "a", "b", True]
    assert reached.missing() == set()
    assert (who.status, who.operation.state.name) == ("dead", "Freed")
    for each in (listener, *streams):
        each.close()
