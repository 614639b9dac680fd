"""The life of handles: opened, started, stopped, closed and forgotten in every order, also by finalizers.

Nothing may be closed twice, used after its end, woken by another one's record, or left behind.
"""

from __future__ import annotations

import gc
import random
import re
import signal
import socket
import sys
import threading
import traceback
from _thread import interrupt_main
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import invariant, rule

from coutil import _libuv, coroutine, errors, spawn, system
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import OBJECT, OPERATION, Hooks, Hub, current_context
from tests.helpers.machine import SLOTS, CoroutineMachine, Wait, Worker, explore
from tests.helpers.script import output_of
from tests.helpers.sockets import METHODS, failure
from tests.helpers.state_traces import needs_debug
from tests.helpers.tcp import with_plain_peers

IN_THREADS = {"thread.cdef.h", "threads.py", "work.cdef.h", "work.py"}  # where Python is called by C
KINDS = ["ready", "timer", "stream", "passive"]

slots = st.integers(0, SLOTS - 1)
kinds = st.sampled_from(KINDS)


# -- every kind of handle in every order ------------------------------------------------------------------------------


class HandleMachine(CoroutineMachine):
    """As many handles of each kind as there are workers, plus one of each kind that all of them share."""

    table = OBJECT + OPERATION

    def __init__(self, hub: Hub, escaped: list[Any]) -> None:
        super().__init__(hub, escaped)
        self.before = hub.loop.counts()
        self.server = socket.create_server(("127.0.0.1", 0), backlog=1000)
        self.address = system.address("ipv4", "127.0.0.1", self.server.getsockname()[1])
        self.opened: dict[str, Any] = {}
        self.handles: list[Any] = []

    def prepare(self, worker: Worker, wait: Wait) -> Callable[[], Any] | None:
        if wait.kind == "ready":
            return system.suspend
        if wait.kind == "timer":
            return lambda: system.suspend(1000)
        shared = self.opened.get(wait.kind)
        if shared is None:
            return None
        wait.instant = shared._handle.closed or shared._handle.waiter is not None
        if not wait.instant:
            wait.model = shared._handle
            worker.stream = shared._handle
        return shared.receive if wait.kind == "stream" else shared.accept

    def returned(self, worker: Worker, wait: Wait) -> None:
        worker.stream = None

    def judge(self, worker: Worker, wait: Wait, result: object) -> bool:
        if wait.instant:
            assert isinstance(result, errors.Closed | errors.BusyError)
        else:
            assert wait.kind == "ready", "nothing else ends by itself here"
            assert result is True
        return bool(wait.instant)

    @rule(kind=st.sampled_from(["stream", "passive"]))
    def open(self, kind: str) -> None:
        """What was shared before is forgotten: it stays open while a coroutine waits for it."""
        made = system.socket(kind, "ipv4")
        self.handles.append(made._handle)
        self.opened[kind] = made
        if kind == "stream":
            made.connect(self.address)
        else:
            made.listen(3)

    @rule(slot=slots, kind=kinds)
    def start(self, slot: int, kind: str) -> None:
        self.follow(slot, Wait(kind))

    @rule(slot=slots, kind=kinds)
    def start_again(self, slot: int, kind: str) -> None:
        """Two waits for the same, one after the other."""
        self.follow(slot, Wait(kind), Wait(kind))

    @rule(slot=slots)
    def stop(self, slot: int) -> None:
        self.resume(slot, ["stop"])

    @rule(slot=slots)
    def stop_by_an_exception(self, slot: int) -> None:
        self.resume(slot, [], Trouble())

    @rule(kind=st.sampled_from(["stream", "passive"]), times=st.integers(1, 3))
    def close_shared(self, kind: str, times: int) -> None:
        shared = self.opened.get(kind)
        if shared is None:
            return
        for worker in self.workers:
            if worker.stream is shared._handle and not worker.ended:
                worker.given, worker.resumer = errors.Closed, -1
        for _ in range(times):
            assert shared.close() is True
        assert shared._handle.waiter is None

    @rule(kind=st.sampled_from(["stream", "passive"]))
    def forget(self, kind: str) -> None:
        self.opened.pop(kind, None)

    @rule(slot=slots)
    def drop_and_collect(self, slot: int) -> None:
        self.drop(slot)

    @rule()
    def turn(self) -> None:
        system.run("ready")
        self.counts_are_those_of_the_states(exactly=True)

    @invariant()
    def counts_are_those_of_the_states(self, exactly: bool = False) -> None:
        """Handles closed = those in Close or Freed; a timer that runs is one more that is open.

        In the middle of a turn C may have freed handles that the hub has not been told of.
        """
        counts = self.hub.loop.counts()
        states = [handle.state.name for handle in self.handles]
        timers = sum(
            not one.ended
            and one.current is not None
            and one.current.kind == "timer"
            and not one.who().operation._waiting_for_free
            for one in self.workers
        )
        made, closed, freed = (counts[name] - self.before[name] for name in list(counts)[:3])
        assert made - closed == len(states) - states.count("Close") - states.count("Freed") + timers
        told = len(states) - states.count("Freed") + timers
        assert made - freed == told if exactly else made - closed <= made - freed <= told

    def drain(self) -> None:
        self.opened.clear()
        for worker in self.workers:
            worker.plan.clear()
            who = worker.who()
            if who is not None and not worker.ended and worker.current is not None:
                worker.given = "end"
                who.resume("end")
        for _ in range(3):
            system.run("ready")
        assert {handle.state.name for handle in self.handles} <= {"Freed"}

    def close(self) -> None:
        for handle in self.handles:
            handle.close()
        self.server.close()


@pytest.mark.slow
@needs_debug
def test_random_lives(hub: Hub, escaped: list[Any]) -> None:
    """B15: handles are opened, started, stopped, closed and collected in any order: each is closed and freed once."""
    explore(lambda: HandleMachine(hub, escaped), (*OBJECT[:5],), 100)


@pytest.mark.fuzz
@needs_debug
def test_many_random_lives(hub: Hub, escaped: list[Any]) -> None:
    """B15: the same with many more programs, other ones each time."""
    explore(lambda: HandleMachine(hub, escaped), (*OBJECT[:5],), 5000)


# -- no switch inside libuv -------------------------------------------------------------------------------------------


def test_no_python_runs_inside_libuv() -> None:
    """B18: no loop has a way to call Python, so that no switch can happen while libuv's frames are on the C stack.

    What C may call runs in a thread that libuv has started for it, and no loop has a frame there.
    """
    folder = Path(_libuv.__file__).parent
    native = {path: path.read_text(encoding="ascii") for path in (folder / "c").iterdir()}
    ours = {path: path.read_text(encoding="utf-8") for path in folder.parent.rglob("*.py")}
    assert "int co_step(co_loop *" in native[folder / "c" / "step.h"]
    assert [path.name for path, text in native.items() if re.search(r"#include\s*[<\"]Python\.h", text)] == []
    assert {path.name for path, text in native.items() if 'extern "Python' in text} <= IN_THREADS
    assert {path.name for path, text in ours.items() if "def_extern" in text} <= IN_THREADS
    assert re.findall(r"\b(ffi\.callback|new_handle|from_handle)\b", "\n".join(ours.values())) == []


def test_coroutines_run_between_polls_only(hub: Hub) -> None:
    """B18: while coroutines run the hub is never inside its call to libuv."""
    seen: list[bool] = []

    class Watch(Hooks):
        def resumed(self, who: coroutine.Coroutine) -> None:
            seen.append(hub.polling)

        def parked(self, who: coroutine.Coroutine) -> None:
            seen.append(hub.polling)

    current_context().hooks = Watch()
    try:
        with with_plain_peers(3) as pairs:
            for stream, _ in pairs:
                spawn.call(stream.receive)
            for _, peer in pairs:
                peer.send(b"x")
            spawn.call(system.suspend, 0.001)
            spawn.call(system.suspend)
            assert system.run() is False
    finally:
        current_context().hooks = None
    assert len(seen) >= 20
    assert not any(seen)


@pytest.mark.parametrize("count", [2, 8, 9])
def test_timers_that_stop_the_next(count: int) -> None:
    """B18: of timers that are due in the same turn each stops the next one: every other one ends, in order."""
    log: list[object] = []
    sleepers: list[coroutine.Coroutine] = []

    def sleeper(number: int) -> None:
        outcome = system.suspend(0.002)
        log.append((number, outcome))
        if outcome is True and number + 1 < count:
            sleepers[number + 1].resume("stopped")

    sleepers += [coroutine.create(sleeper) for _ in range(count)]
    system.time("updated")
    for number, who in enumerate(sleepers):
        who.resume(number)
    assert system.run() is False
    assert log == [(number, "stopped" if number % 2 else True) for number in range(count)]
    assert {who.status for who in sleepers} == {"dead"}


def test_streams_that_close_another() -> None:
    """B18: of streams whose data came in the same turn each closes one that was not served yet: its record is void."""
    with with_plain_peers(8) as pairs:
        log: list[object] = []
        waiting = list(range(8))

        def receiver(number: int) -> None:
            try:
                log.append(pairs[number][0].receive())
            except errors.Closed as closed:
                log.append(("closed", closed.interrupted))
                return
            waiting.remove(number)
            if waiting:
                pairs[waiting.pop()][0].close()

        for number in range(8):
            spawn.call(receiver, number)
        for number, (_, peer) in enumerate(pairs):
            peer.send(b"%d" % number)
        assert system.run() is False
        assert log[1::2] == [("closed", True)] * 4
        assert all(isinstance(data, bytes) and len(data) == 1 for data in log[::2])
        assert len(set(log)) == 5


def test_a_record_does_not_reach_the_next_owner_of_its_slot(hub: Hub) -> None:
    """B18: a timer that takes the slot of another, which was due and stopped in this turn, does not get its record."""
    log: list[object] = []

    def first() -> None:
        system.suspend(0.002)
        slot = second_sleeper.operation.slot
        second_sleeper.resume("stopped")
        before = system.time()
        third = spawn.call(lambda: log.append((system.suspend(0.02), system.time() - before >= 0.02)))
        log.append(third.operation.slot == slot)

    def second() -> None:
        log.append(system.suspend(0.002))

    system.time("updated")
    spawn.call(first)
    second_sleeper = spawn.call(second)
    assert system.run() is False
    assert log == ["stopped", True, (True, True)]
    assert hub.in_flight() == 0


# -- after the loop ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_after_the_loop_has_ended(kind: Any) -> None:
    """B20: each method of a socket says that its loop has ended with its thread; `close` and `repr` work."""
    made: list[Any] = []

    def program() -> None:
        made.append(system.socket(kind, "ipv4"))
        if kind == "passive":
            made[0].listen(3)
        system.suspend()

    thread = threading.Thread(target=program)
    thread.start()
    thread.join(20)
    refused = {name: failure(call, made[0]) for name, call in METHODS[kind].items()}
    assert {name: type(error) for name, error in refused.items()} == dict.fromkeys(refused, errors.Closed)
    assert all(re.match(rf"{kind} ipv4( \S+:\d+)? is closed", str(error)) for error in refused.values())
    assert made[0].close() is True
    assert repr(made[0]).endswith("closed>")


def test_every_function_after_the_loop_was_closed() -> None:
    """B20: calls without an object make a new loop; a coroutine that has used the old one is refused, and can end."""
    program = """
        from coutil import coroutine, errors, spawn, system
        from coutil._kernel.hub import current_hub

        def refused(call, *arguments):
            try:
                return call(*arguments)
            except errors.CoutilError as error:
                return type(error).__name__

        def again():
            system.suspend()
            coroutine.yield_()
            return refused(system.suspend), refused(system.suspend, 1)

        old = spawn.call(again)
        sleeper = spawn.call(system.suspend, 1000)
        system.run("ready")
        current_hub().close()
        print(old.resume(), old.status, sleeper.resume("explicit"), sleeper.status)
        print(system.isrunning(), refused(system.halt), system.run(), system.suspend(), system.suspend(0.001))
        print(system.time() > 0, system.time("updated") > 0, callable(system.get_excepthook()))
        with system.socket("stream", "ipv4") as stream:
            print(refused(stream.receive))
    """
    assert output_of(program, "-X", "dev") == [
        "('Closed', 'Closed') dead explicit dead",
        "False NotRunning False True True",
        "True True True",
        "ENOTCONN",
    ]


# -- the collector at the worst moments -------------------------------------------------------------------------------


class Trap:
    """Garbage that does something when the collector comes, wherever that is."""

    def __init__(self, action: Callable[[], object]) -> None:
        self.action = action
        self.itself = self  # so that it is the collector who finds it

    def __del__(self) -> None:
        self.action()


@contextmanager
def eager_collector() -> Iterator[Callable[[int], None]]:
    """While the block runs, the collector comes whenever there are a few objects more; yields what sets how many."""
    before = gc.get_threshold()
    try:
        yield gc.set_threshold
    finally:
        gc.set_threshold(*before)


class Meddled:
    """Two coroutines that wait in turn, and finalizers that resume, throw into and close what they use."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.log: list[object] = []
        self.failures: list[BaseException] = []
        self.patients: list[coroutine.Coroutine] = []

    def careful(self, action: Callable[..., object], *arguments: object) -> None:
        """Do something in a finalizer, whose exception would only be printed."""
        try:
            action(*arguments)
            self.log.append("done")
        except (errors.RunningCoroutine, errors.DeadCoroutine):
            self.log.append("refused")
        except BaseException as error:  # noqa: BLE001  # for the test to look at
            self.failures.append(error)

    def set_trap(self, close: Callable[[], object], threshold: Callable[[int], None]) -> None:
        actions: list[Callable[[], object]] = [close]
        for who in self.patients:
            actions += [lambda who=who: who.resume("trap"), lambda who=who: who.throw(Trouble)]
        action = self.chance.choice(actions)
        Trap(lambda: self.careful(action))
        threshold(self.chance.randint(1, 12))

    def patient(self, stream: system.StreamSocket, threshold: Callable[[int], None]) -> None:
        """Its waits end in any way, but in none that is not documented."""
        for wait in (stream.receive, system.suspend, lambda: system.suspend(0.0001), stream.receive, coroutine.yield_):
            self.set_trap(stream.close, threshold)
            try:
                self.log.append(wait())
            except (Trouble, errors.Closed) as error:
                self.log.append(type(error))

    def round(self, threshold: Callable[[int], None]) -> None:
        with with_plain_peers(2) as pairs:
            self.patients = [spawn.call(self.patient, stream, threshold) for stream, _ in pairs]
            for _ in range(2):
                for stream, peer in pairs:
                    with suppress(ConnectionError):  # it may have been closed
                        peer.send(b"data")
                    self.set_trap(stream.close, threshold)
                system.run("ready")
            for who in self.patients:
                while who.status != "dead":
                    self.careful(who.resume, "end")
        system.run()


def _meddle(rounds: int, seed: int) -> None:
    meddled = Meddled(random.Random(seed))
    with eager_collector() as threshold:
        for _ in range(rounds):
            meddled.round(threshold)
    meddled.patients.clear()
    gc.collect()
    found = ["".join(traceback.format_exception(one)) for one in meddled.failures]
    assert found == []
    assert {"trap", "end", "done", Trouble, errors.Closed, b"data", True} <= set(meddled.log)
    assert meddled.log.count("end") < rounds * 8


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
def test_finalizers_that_switch(seed: int) -> None:
    """B23: finalizers resume, throw and close in the middle of everything: no wait is lost, nothing is left."""
    _meddle(800, seed)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(20))
def test_many_finalizers_that_switch(seed: int) -> None:
    """B23: the same for long."""
    _meddle(3000, seed)


# -- signal handlers at every moment ----------------------------------------------------------------------------------


class Patient:
    """A coroutine that waits in every way, for one stream among others; its waits end in documented ways only."""

    def __init__(self, stream: system.StreamSocket) -> None:
        self.stream = stream
        self.log: list[object] = []
        self.who = spawn.call(self.body)

    def body(self) -> None:
        stream = self.stream
        waits = [coroutine.yield_, stream.receive, stream.receive, system.suspend, lambda: system.suspend(0.0001)]
        for wait in (*waits, stream.receive, coroutine.yield_):
            try:
                self.log.append(wait())
            except (Trouble, errors.Closed) as ended:
                self.log.append(type(ended))

    def received(self) -> bytes:
        """Return all data, also what no one has received yet."""
        found = b"".join(one for one in self.log if isinstance(one, bytes))
        while len(found) < 2:
            found += self.stream.receive()
        return found


class Interrupted:
    """A program whose signal handler runs `action` on a patient at the moment number `moment` in our code.

    A moment is one at which the interpreter looks for signals: a function begins, or one written in C returns.
    """

    def __init__(self, action: Callable[[Patient], object], target: int, moment: int) -> None:
        self.action, self.target = action, target
        self.moment = self.left = moment
        self.done: list[str] = []

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Count moments; `states` is left out: without COUTIL_DEBUG it runs nothing."""
        module = frame.f_globals.get("__name__", "")
        if event not in ("call", "c_return") or not module.startswith("coutil.") or module.endswith("states"):
            return
        self.left -= 1
        if self.left == 0:
            interrupt_main(signal.SIGUSR1)

    def handle(self, *_: object) -> None:
        sys.setprofile(None)
        try:
            self.action(self.patients[self.target])
            self.done.append("done")
        except (errors.RunningCoroutine, errors.DeadCoroutine) as refused:
            self.done.append(type(refused).__name__)

    def run(self, hub: Hub) -> str | None:
        """Run the program; return what became of the action, None if it ended before its moment came."""
        with with_plain_peers(2) as pairs:
            self.patients = [Patient(stream) for stream, _ in pairs]
            before = signal.signal(signal.SIGUSR1, self.handle)
            sys.setprofile(self.profile)
            try:
                self.program([peer for _, peer in pairs])
            finally:
                sys.setprofile(None)
                signal.signal(signal.SIGUSR1, before)
            for patient in self.patients:
                while patient.who.status != "dead":
                    patient.who.resume("end")
                assert len(patient.log) == 7
                assert patient.stream._handle.closed or patient.received() == b"12"
        system.run("ready")
        assert hub.in_flight() == 0
        return self.done[0] if self.done else None

    def program(self, peers: list[socket.socket]) -> None:
        for patient in self.patients:
            if patient.who.status == "suspended":
                patient.who.resume("go")
        for data in (b"1", b"2"):
            for peer in peers:
                with suppress(ConnectionError):  # it may have been closed
                    peer.send(data)
            system.suspend()
            system.suspend()
        system.suspend(0.0002)
        self.patients[1].stream.close()


def _resume(patient: Patient) -> None:
    patient.who.resume("told")


def _throw(patient: Patient) -> None:
    patient.who.throw(Trouble)


def _close(patient: Patient) -> None:
    patient.stream.close()


@pytest.mark.slow
@pytest.mark.parametrize("target", [0, 1])
@pytest.mark.parametrize("action", [_resume, _throw, _close])
def test_signal_handlers_at_every_moment(action: Callable[[Patient], object], target: int, hub: Hub) -> None:
    """A signal handler may resume, throw and close at any moment: all waits end, once, and no data are lost."""
    outcomes = []
    while (outcome := Interrupted(action, target, len(outcomes) + 1).run(hub)) is not None:
        outcomes.append(outcome)
    assert len(outcomes) > 150
    assert outcomes.count("done") > 30
    assert "DeadCoroutine" not in outcomes
    assert ("RunningCoroutine" in outcomes) is (action is not _close)


# -- memory -----------------------------------------------------------------------------------------------------------


def _ends_of_stream(count: int) -> None:
    with with_plain_peers(1) as [(stream, peer)]:
        peer.close()
        assert {stream.receive() for _ in range(count)} == {b""}


def _timeouts(count: int) -> None:
    def sleeper() -> None:
        while True:
            try:
                system.suspend(1000)
            except errors.Timeout:
                continue

    who = spawn.call(sleeper)
    for _ in range(count):
        who.throw(errors.Timeout("late"))
    who.close()


def _errors(count: int) -> None:
    stream = system.socket("stream", "ipv4")
    try:
        for _ in range(count):
            failed = failure(stream.send, b"x")
            assert failed is not None
            assert failed.__context__ is None
    finally:
        stream.close()


def _closed(count: int) -> None:
    stream = system.socket("stream", "ipv4")
    stream.close()
    for _ in range(count):
        assert isinstance(failure(stream.receive), errors.Closed)


@pytest.mark.slow
@pytest.mark.parametrize("repeat", [_ends_of_stream, _timeouts, _errors, _closed])
def test_memory_is_flat(repeat: Callable[[int], None]) -> None:
    """B27: a hundred thousand ends of stream, timeouts and errors leave no memory behind."""
    repeat(1000)
    gc.collect()
    system.run()
    before = sys.getallocatedblocks()
    repeat(100_000)
    gc.collect()
    system.run()
    assert sys.getallocatedblocks() - before < 200
