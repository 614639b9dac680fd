"""Random programs of coroutines over real operations, compared with a model after every step."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import invariant, rule

from coutil import coroutine, spawn, system
from coutil.testing import ManualClock
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import OPERATION, Arrow, Hub
from tests.helpers.machine import SLOTS, CoroutineMachine, Wait, Worker, explore
from tests.helpers.state_traces import Reached, Walked, needs_debug

pytestmark = needs_debug

PAYLOAD = bytes(1 << 19)  # more than the kernel takes at once
REQUESTS = {"connect", "send", "shutdown"}

slots = st.integers(0, SLOTS - 1)
brought = st.lists(st.none() | st.booleans() | st.integers(0, 9), max_size=3)
kinds = st.sampled_from(["ready", "timer 1", "timer 2", "connect", "send", "send", "shutdown"])
endings = st.sampled_from(["yield", "yield", "finish", "raise"])


class OperationMachine(CoroutineMachine):
    """Coroutines that sleep, connect, send and shut down; are resumed, end, and are forgotten."""

    table = OPERATION

    def __init__(self, hub: Hub, escaped: list[Any], manual: ManualClock | None) -> None:
        super().__init__(hub, escaped)
        self.manual = manual
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.listener.setblocking(False)
        self.address = system.address("ipv4", "127.0.0.1", self.listener.getsockname()[1])
        self.streams: list[system.StreamSocket] = []
        self.peers: dict[int, socket.socket] = {}  # by the port of our end
        self.taken: dict[int, int] = {}  # bytes that the peer has read
        self.ends: set[int] = set()  # ports whose peer has read the end
        self.implicit = self.walked = self.woken = 0
        self.arrows_before = 0
        self.requests = self._requests()

    def saw(self, owner: Any, arrow: Arrow) -> None:
        if any(worker.who() is owner.coroutine for worker in self.workers):
            self.walked += 1
            self.woken += arrow.number in (3, 6)

    # -- what the workers wait for ----------------------------------------------------------------------------------

    def prepare(self, worker: Worker, wait: Wait) -> Callable[[], Any]:
        """What needs a connection connects if there is none."""
        self.arrows_before = self.walked
        if wait.kind == "ready":
            return system.suspend
        if wait.kind.startswith("timer"):
            seconds = int(wait.kind[-1]) * (1 if self.manual else 0.0005)
            return lambda: system.suspend(seconds)
        if wait.kind == "connect" or worker.stream is None:
            wait.kind = "connect"
            stream = self._new_stream()
            wait.amount = len(self.streams) - 1  # where it is
            return lambda: stream.connect(self.address)
        stream = worker.stream
        wait.port = stream.getaddress().port
        if wait.kind == "send":
            return lambda: stream.send(PAYLOAD)
        worker.stream = None
        return stream.shutdown

    def judge(self, worker: Worker, wait: Wait, result: object) -> bool:
        assert result is True
        lucky = wait.kind == "ready" and self.walked == self.arrows_before
        self.implicit += not lucky
        if wait.kind == "connect":
            worker.stream = self.streams[wait.amount]
        return lucky

    def _new_stream(self) -> system.StreamSocket:
        stream = system.socket("stream", "ipv4")
        self.streams.append(stream)
        with socket.fromfd(stream.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
            same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)
        return stream

    def _requests(self) -> int:
        counts = self.hub.loop.counts()
        return counts["requests_created"] - counts["requests_freed"]

    def _sleeping(self) -> int:
        """Return how many coroutines wait for a timer that runs."""
        waits = [one for one in self.workers if not one.ended and one.current and one.current.kind[:5] == "timer"]
        return sum(one.who().operation.state.name == "Await-handle" for one in waits)

    def _detached(self) -> int:
        """Return how many cancelled requests libuv has that their coroutines do not wait for."""
        return sum(type(one).__name__ == "_DetachedRequest" for one in self.hub.handlers)

    def _run(self, mode: Any) -> None:
        """Run the loop: something is left exactly if an operation is not free, or has left a request to libuv."""
        answer = self.loop(2) if mode == "loop" else system.run(mode)
        assert answer is (any(state != "Freed" for state in self.states.values()) or self._detached() > 0)

    # -- rules ------------------------------------------------------------------------------------------------------

    @rule(slot=slots, kind=kinds, then=st.lists(kinds, max_size=2))
    def start(self, slot: int, kind: str, then: list[str]) -> None:
        self.follow(slot, Wait(kind), *map(Wait, then))

    @rule(slot=slots, kind=kinds, end=endings)
    def start_and_end(self, slot: int, kind: str, end: str) -> None:
        self.follow(slot, Wait(kind), end)

    @rule(slot=slots, values=brought)
    def explicit(self, slot: int, values: list[Any]) -> None:
        self.resume(slot, values)

    @rule(slot=slots)
    def throw(self, slot: int) -> None:
        self.resume(slot, [], Trouble())

    @rule(slot=slots, kind=kinds, other=slots, values=brought)
    def explicit_from_inside(self, slot: int, kind: str, other: int, values: list[Any]) -> None:
        """As soon as one coroutine's wait is over it resumes another one, or itself."""
        self.follow(slot, Wait(kind), lambda: self.resume(other, values))

    @rule(slot=slots, kind=kinds, other=slots)
    def throw_from_inside(self, slot: int, kind: str, other: int) -> None:
        self.follow(slot, Wait(kind), lambda: self.resume(other, [], Trouble()))

    @rule(slot=slots)
    def drop_and_collect(self, slot: int) -> None:
        self.drop(slot)

    @rule()
    def turn(self) -> None:
        self._run("ready")

    @rule()
    def turns(self) -> None:
        """Turn until nothing more comes by itself."""
        for _ in range(3):
            self._run("ready")

    @rule()
    def step(self) -> None:
        """A step waits for an event; one is made if none is sure to come."""
        if self.manual is not None or not self._sleeping():
            spawn.call(system.suspend)
        self._run("step")

    @rule()
    def hand_over(self) -> None:
        self._run("loop")

    @rule()
    def fire_sends(self) -> None:
        """The peers read what has come so far."""
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

    @rule()
    def fire_timers(self) -> None:
        if self.manual is not None:
            self.manual.advance(1)

    # -- properties -------------------------------------------------------------------------------------------------

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for worker in self.workers:
            who = worker.who()
            operation = who.operation if who is not None else None
            kind = worker.current.kind if worker.current is not None and not worker.ended else ""
            if operation is None:
                assert kind in ("", "yield")
            elif operation._waiting_for_free or kind in ("", "yield"):
                assert operation.state.name in (
                    ["Close-request"] if operation._waiting_for_free else ["Close-request", "Freed"]
                )
            else:
                assert operation.state.name == ("Await-request" if kind in REQUESTS else "Await-handle")

    @invariant()
    def nothing_is_counted_twice(self) -> None:
        """Slots in flight and requests in C are those of the operations; each wake-up of the hub ended one wait."""
        states = list(self.states.values())
        requests = states.count("Await-request") + states.count("Close-request") + self._detached()
        assert self._requests() - self.requests == requests
        assert self.hub.in_flight() == len(self.streams) + requests + self._sleeping()
        assert self.woken == self.implicit

    def drain(self) -> None:
        """What coroutines still plan to do is done, too. Then: what was begun has happened, in full, and no more."""
        for _ in range(2000):
            self.fire_sends()
            self.fire_timers()
            spawn.call(system.suspend)
            if not system.run("step"):
                break
        assert set(self.states.values()) <= {"Freed"}
        self.fire_sends()
        begun = [wait for worker in self.workers for wait in worker.waits if wait.begun]
        assert len(self.peers) == sum(wait.kind == "connect" for wait in begun)
        for port, taken in self.taken.items():
            done = [wait.kind for wait in begun if wait.port == port]
            assert taken == done.count("send") * len(PAYLOAD)
            assert (port in self.ends) is ("shutdown" in done)

    def close(self) -> None:
        for each in (self.listener, *self.peers.values(), *self.streams):
            each.close()


@pytest.mark.slow
def test_random_programs(hub: Hub, escaped: list[Any], clock: ManualClock) -> None:
    """Whatever is started, resumed and forgotten in whatever order: each wait returns once, nothing is left."""
    explore(lambda: OperationMachine(hub, escaped, clock), OPERATION, 120)


def test_random_programs_in_real_time(hub: Hub, escaped: list[Any]) -> None:
    """The same with libuv's timers."""
    explore(lambda: OperationMachine(hub, escaped, None), OPERATION, 60)


@pytest.mark.fuzz
@pytest.mark.parametrize("manual", [True, False], ids=["manual clock", "real time"])
def test_many_random_programs(hub: Hub, escaped: list[Any], request: pytest.FixtureRequest, manual: bool) -> None:
    """The same with many more programs, other ones each time."""
    clock = request.getfixturevalue("clock") if manual else None
    explore(lambda: OperationMachine(hub, escaped, clock), OPERATION, 3000)


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
