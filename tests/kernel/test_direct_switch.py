"""The order of results where coroutines may switch to each other directly, and fairness: completions and turns.

A coroutine that was woken by a completion, and waits again, may switch to the one that the next completion wakes; one
that suspends without a reason may switch to the first one of the ready queue. These tests pin the order of what
programs observe, not the switches: a scheduler that always goes through the hub passes them, too.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from greenlet import GreenletExit, greenlet

from coutil import coroutine, errors, event, scopes, spawn, sync, system, uv
from coutil._kernel import hub as hub_module
from coutil.sync.queue import QUEUE_BUDGET
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import (
    CLOCK_CHECK_EVERY,
    COOP_BUDGET,
    Coroutine,
    Hooks,
    Hub,
    current_context,
    spend_budget,
)
from tests.helpers.script import output_of
from tests.helpers.servers import listening
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import with_plain_peers

Log = list[Any]
COUNTS = pytest.mark.parametrize("count", [1, 2, 5, 40])


# -- helpers ----------------------------------------------------------------------------------------------------------


def turn() -> None:
    """From the main program: let libuv poll once, and everybody run whom that wakes."""
    system.suspend()  # to the beginning of a turn
    system.suspend()  # to the beginning of the next


class Reader:
    """A coroutine that receives until the end of its stream, and does something each time, if it was told to."""

    def __init__(self, name: str, stream: system.StreamSocket, log: Log) -> None:
        self.name, self.stream, self.log = name, stream, log
        self.then: Callable[[], object] | None = None  # called once, after the next data
        self.who = spawn.call(self.body, name=name)

    def body(self) -> None:
        while data := self.receive():
            self.log.append((self.name, data))
            then, self.then = self.then, None
            if then is not None:
                then()

    def receive_once(self) -> Any:
        """Receive; return the data, or the class of the error."""
        try:
            return self.stream.receive()
        except (Trouble, errors.Closed, errors.Cancelled) as ended:
            return type(ended)

    def receive(self) -> Any:
        """Receive; what a wait is ended by is written down, and the next one begins."""
        while True:
            found = self.receive_once()
            if isinstance(found, bytes):
                return found
            self.log.append((self.name, found))
            if found is errors.Closed:
                return b""


class Readers:
    """Readers a, b, c, … whose data come in one turn, in this order."""

    def __init__(self, pairs: list[tuple[system.StreamSocket, Any]]) -> None:
        self.log: Log = []
        self.peers = [peer for _, peer in pairs]
        self.acting: Any = None  # who does something of its own
        names = [chr(ord("a") + number) for number in range(len(pairs))]
        self.all = [Reader(name, stream, self.log) for name, (stream, _) in zip(names, pairs, strict=True)]
        turn()  # now all are known to the system's poll

    def __getitem__(self, number: int) -> Reader:
        return self.all[number]

    def send(self, data: bytes) -> None:
        """Send to all that can still be reached; none is woken yet."""
        for reader, peer in zip(self.all, self.peers, strict=True):
            if not reader.stream._handle.closed:
                peer.send(data)

    def round(self, data: bytes) -> Log:
        """Send, let everybody run, and return what happened."""
        self.log.clear()
        self.send(data)
        turn()
        return list(self.log)

    def names(self) -> list[str]:
        return [reader.name for reader in self.all]


@contextmanager
def several(count: int) -> Iterator[Readers]:
    """Yield readers; end them and close their streams at the end."""
    with with_plain_peers(count) as pairs:
        made = Readers(pairs)
        yield made
        for reader in made.all:
            reader.stream.close()
            if reader.who.status == "suspended":
                reader.who.close()


@pytest.fixture
def readers() -> Iterator[Readers]:
    """Three readers."""
    with several(3) as made:
        yield made


# -- records of the same turn -----------------------------------------------------------------------------------------


@COUNTS
def test_first_in_first_out(count: int) -> None:
    """Streams with data in the same turn are served in the order of arrival, each once."""
    with several(count) as readers:
        everybody = readers.names()
        for data in (b"1", b"2", b"3"):
            assert readers.round(data) == [(name, data) for name in everybody]
        assert {reader.who.status for reader in readers.all} == {"suspended"}
        assert {reader.who.resumer for reader in readers.all} == {None}


@needs_debug
def test_transitions(readers: Readers) -> None:
    """The objects walk the table: callback, wait again, in any order of entries."""
    with Walked() as walked:
        for data in (b"1", b"2", b"3"):
            assert len(readers.round(data)) == 3
        for reader in readers.all:
            assert walked.by(reader.stream._handle) == "6 9 6 9 6 9"
        readers[0].then = readers[0].stream.close
        readers[2].then = lambda: system.suspend(0.0001)
        readers.round(b"4")
        system.suspend(0.001)
        turn()
    assert walked.by(readers[0].stream._handle) == "6 9 6 9 6 9 6 8 3"
    assert walked.by(readers[1].stream._handle) == "6 9 6 9 6 9 6 9"
    assert walked.by(readers[2].stream._handle) == "6 9 6 9 6 9 6 7 2"


@pytest.mark.parametrize("mode", ["step", "ready"])
def test_one_turn_serves_all_in_order(mode: Any, readers: Readers) -> None:
    """`run("step")` and `run("ready")` serve all that arrived before, in the order of arrival."""
    readers.log.clear()
    readers.send(b"x")
    system.run(mode)
    assert readers.log == [(name, b"x") for name in "abc"]


def test_data_and_end_of_stream_in_one_step() -> None:
    """Both come at once if the other direction has ended before: the second `receive` returns without a suspension."""
    with with_plain_peers(1) as [(stream, peer)]:
        log: Log = []

        def receiver() -> None:
            stream.shutdown()
            log.extend((stream.receive(), stream.receive(), stream.receive()))

        one = spawn.call(receiver, name="receiver")
        turn()
        assert peer.recv(10) == b""
        assert log == []
        peer.send(b"last")
        peer.close()
        turn()
        turn()
        assert log == [b"last", b"", b""]
        assert one.status == "dead"


def test_the_rest_of_the_stream_in_one_step(readers: Readers) -> None:
    """Data and the end of one stream, before the data of another: the first serves itself, then enters the other."""
    first = readers[0].stream
    first.shutdown()
    turn()
    assert readers.peers[0].recv(10) == b""
    readers.log.clear()
    readers.send(b"x")
    readers.peers[0].close()
    turn()
    turn()
    assert readers.log == [("a", b"x"), ("b", b"x"), ("c", b"x")]
    assert [reader.who.status for reader in readers.all] == ["dead", "suspended", "suspended"]
    assert first.receive() == b""


# -- records that wake none, or another one ---------------------------------------------------------------------------


def test_stale_record_of_an_interrupted_wait(readers: Readers) -> None:
    """An exception thrown into a waiter ends the wait; the data are kept for the next one, and the turn goes on."""
    second = readers[1]
    readers[0].then = lambda: second.who.throw(Trouble)
    assert readers.round(b"1") == [("a", b"1"), ("b", Trouble), ("b", b"1"), ("c", b"1")]
    assert readers.round(b"2") == [(name, b"2") for name in "abc"]
    assert second.who.status == "suspended"


def test_stale_record_of_one_that_left(readers: Readers) -> None:
    """Who was resumed, and waits for something else, is not woken; its data are there when it comes back."""
    second = readers[1]

    def leave() -> None:
        second.then = lambda: readers.log.append(coroutine.yield_())
        second.who.resume(b"told")

    readers[0].then = leave
    assert readers.round(b"1") == [("a", b"1"), ("b", b"told"), ("c", b"1")]
    assert second.stream._handle.pending_data == b"1"
    second.who.resume("back")
    assert readers.log[3:] == ["back", ("b", b"1")]
    assert readers.round(b"2") == [(name, b"2") for name in "abc"]


def test_record_of_a_closed_stream(readers: Readers) -> None:
    """Who closes the next one's stream: that is told at once, its record wakes none, and the turn goes on."""
    readers[0].then = readers[1].stream.close
    assert readers.round(b"1") == [("a", b"1"), ("b", errors.Closed), ("c", b"1")]
    assert readers[1].who.status == "dead"
    assert readers.round(b"2") == [("a", b"2"), ("c", b"2")]


@contextmanager
def arranged(hub: Hub, owners: list[Any]) -> Iterator[None]:
    """Have the records of the turn in the block be delivered in the order of `owners`, by a timer that comes first."""
    done = []

    def conduct() -> None:
        system.suspend(0.0001)
        left = list(hub.completions)
        assert {id(hub.handlers[record[0]]) for record in left} == {id(owner) for owner in owners}
        hub.completions.clear()
        hub.completions.extend(sorted(left, key=lambda record: owners.index(hub.handlers[record[0]])))
        done.append(True)

    system.time("updated")
    one = spawn.call(conduct)
    yield
    assert (done, one.status) == ([True], "dead")


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_listener_in_between(place: int, hub: Hub, readers: Readers) -> None:
    """A connection among data: the one that accepts is entered as everybody else."""
    with listening("ipv4") as server:
        port = server.getaddress().port

        def acceptor() -> None:
            while True:
                server.accept().close()
                readers.log.append("accepted")

        one = spawn.call(acceptor, name="acceptor")
        socket.create_connection(("127.0.0.1", port)).close()
        turn()
        assert readers.log == ["accepted"]
        owners: Log = [reader.stream._handle for reader in readers.all]
        owners.insert(place, server._handle)
        expected: Log = [(name, b"1") for name in "abc"]
        expected.insert(place, "accepted")
        with arranged(hub, owners), socket.create_connection(("127.0.0.1", port)):
            system.suspend(0.003, blocking=True)  # timers are as exact as libuv's: to a millisecond
            assert readers.round(b"1") == expected
        assert one.status == "suspended"
        one.close()


@pytest.mark.parametrize("place", [0, 1, 2, 3])
def test_timer_in_between(place: int, hub: Hub, readers: Readers) -> None:
    """A timer among data: its coroutine is woken at its place; none is forgotten, none comes twice."""
    owners: Log = [reader.stream._handle for reader in readers.all]
    with arranged(hub, owners):
        sleeper = spawn.call(lambda: readers.log.append(system.suspend(0.0002)), name="sleeper")
        owners.insert(place, sleeper.operation)
        system.suspend(0.003, blocking=True)  # timers are as exact as libuv's: to a millisecond
        found = readers.round(b"1")
    expected: Log = [(name, b"1") for name in "abc"]
    expected.insert(place, True)
    assert found == expected
    assert sleeper.status == "dead"
    assert readers.round(b"2") == [(name, b"2") for name in "abc"]


# -- what a woken coroutine does next ---------------------------------------------------------------------------------


def waits_for_a_turn(readers: Readers) -> None:
    system.suspend()


def waits_for_time(readers: Readers) -> None:
    system.suspend(0.0001)


def raises(readers: Readers) -> None:
    raise SystemError("raised")


def ends(readers: Readers) -> None:
    raise GreenletExit


def closes_its_own(readers: Readers) -> None:
    readers.acting.stream.close()


def resumes_the_last(readers: Readers) -> None:
    readers[2].who.resume(b"told")


def runs_another(readers: Readers) -> None:
    """Runs a whole coroutine in the meantime, which begins to wait."""
    later = spawn.call(lambda: system.suspend(0.0001))
    assert later.status == "suspended"


@pytest.mark.parametrize(
    ("what", "status", "more"),
    [
        (waits_for_a_turn, "suspended", []),
        (waits_for_time, "suspended", []),
        (raises, "dead", []),
        (ends, "dead", []),
        (closes_its_own, "dead", [errors.Closed]),
        (resumes_the_last, "suspended", [b"told"]),
        (runs_another, "suspended", []),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_what_comes_next(
    what: Callable[[Readers], None], status: str, more: Log, place: int, readers: Readers, escaped: Log
) -> None:
    """Whatever a coroutine does after its data, also when it was entered by another: the others get theirs, once."""
    readers.acting = actor = readers[place]
    actor.then = lambda: what(readers)
    found = readers.round(b"1")
    assert [one for one in found if one[1] == b"1"] == [(name, b"1") for name in "abc"]
    assert [ended for _, ended in found if ended != b"1"] == more
    system.suspend(0.001)
    assert actor.who.status == status
    served = [(reader.name, b"2") for reader in readers.all if reader is not actor or status == "suspended"]
    assert readers.round(b"2") == served
    assert [type(error) for _, error in escaped] == ([SystemError] if what is raises else [])
    assert [who for who, _ in escaped] == ([actor.who] if what is raises else [])
    escaped.clear()


@pytest.mark.parametrize("place", [0, 1])
def test_in_a_cancelled_block(place: int, readers: Readers) -> None:
    """Who cancels the block it is in gets the error at its next wait, and takes no one's record with it."""
    actor = readers[place]

    def cancelled() -> None:
        with scopes.move_on_after(60) as block:
            block.cancel()
            for _ in range(2):
                assert actor.receive_once() is errors.Cancelled
        readers.log.append(("left", block.cancelled))

    actor.then = cancelled
    found = readers.round(b"1")
    assert [one for one in found if one != ("left", True)] == [(name, b"1") for name in "abc"]
    assert found.index(("left", True)) == place + 1
    assert actor.stream._handle.waiter is actor.who
    assert readers.round(b"2") == [(name, b"2") for name in "abc"]


@pytest.mark.parametrize("place", [0, 1])
def test_cancelling_the_next_one(place: int, readers: Readers) -> None:
    """Who cancels the block of the next one, whose record has come already: its data are kept for its next wait."""
    actor, victim = readers[place], readers[place + 1]
    blocks: Log = []

    def guarded() -> None:
        with scopes.move_on_after(60) as block:
            blocks.append(block)
            readers.log.append((victim.name, victim.receive_once()))

    victim.then = guarded
    assert readers.round(b"1") == [(name, b"1") for name in "abc"]
    assert len(blocks) == 1
    actor.then = blocks[0].cancel
    expected: Log = [(name, b"2") for name in "abc"]
    expected.insert(place + 1, (victim.name, errors.Cancelled))
    assert readers.round(b"2") == expected
    assert readers.round(b"3") == [(name, b"3") for name in "abc"]


def test_a_coroutine_that_another_resumed(readers: Readers) -> None:
    """Who was resumed by a woken one, and waits for what that was woken by, goes back to it; the turn goes on."""
    first, log = readers[0], readers.log

    def helper() -> None:
        coroutine.yield_()
        log.append(("helper", first.stream.receive()))
        log.append(("helper", coroutine.yield_()))

    helping = spawn.call(helper)

    def resume() -> None:
        assert helping.resume() is None
        with pytest.raises(errors.BusyError):
            first.stream.receive()
        first.then = None
        log.append(coroutine.yield_())

    first.then = resume
    assert readers.round(b"1") == [(name, b"1") for name in "abc"]
    assert first.stream._handle.waiter is helping
    assert readers.round(b"2") == [("helper", b"2"), ("b", b"2"), ("c", b"2")]
    helping.resume("end")
    first.who.resume("back")
    assert log[3:] == [("helper", "end"), "back"]
    assert readers.round(b"3") == [(name, b"3") for name in "abc"]


def test_hooks_installed_in_the_middle(readers: Readers) -> None:
    """A tool that a woken coroutine installs gets all events from the next turn on, in pairs."""
    events: Log = []

    class Recorder(Hooks):
        def resumed(self, who: Coroutine) -> None:
            events.append(f"+{who.name}")

        def parked(self, who: Coroutine) -> None:
            events.append(f"-{who.name}")

        def turn(self, count: int) -> None:
            events.append("turn")

    readers[0].then = lambda: setattr(current_context(), "hooks", Recorder())
    try:
        assert readers.round(b"1") == [(name, b"1") for name in "abc"]
        assert "turn" in events
        events.clear()
        assert readers.round(b"2") == [(name, b"2") for name in "abc"]
    finally:
        current_context().hooks = None
    assert [name for name in events if name[1:] in ("a", "b", "c")] == ["+a", "-a", "+b", "-b", "+c", "-c"]
    assert readers.round(b"3") == [(name, b"3") for name in "abc"]


# -- turns ------------------------------------------------------------------------------------------------------------


def spinner(log: Log, name: str, times: int) -> Coroutine:
    """Start a coroutine that lets others run some times, and writes down what each wait brought."""

    def body() -> None:
        for number in range(times):
            log.append((name, number))
            found = system.suspend()
            if found is not True:
                log.append((name, found))

    return spawn.call(body, name=name)


def test_coroutines_take_turns(hub: Hub) -> None:
    """Each runs once per turn, in the order of the first turn."""
    log: Log = []
    for name in "abc":
        spinner(log, name, 3)
    assert system.run() is False
    assert log == [(name, 0) for name in "abc"] + [(name, number) for number in (1, 2) for name in "abc"]
    assert hub.ready == type(hub.ready)()


@needs_debug
def test_transitions_of_turns() -> None:
    """The operations walk the table: 2 6 9 8 for each turn, in any order of entries; 2 5 8 for one that left."""
    log: Log = []
    ones = [spinner(log, name, 3) for name in "abc"]
    owners = [one.operation for one in ones]
    with Walked() as walked:
        assert system.run() is False
        assert [walked.by(owner) for owner in owners] == ["6 9 8 2 6 9 8 2 6 9 8"] * 3
        one = spawn.call(system.suspend)
        owner = one.operation
        one.resume()
        assert walked.by(owner) == "2 5 8"
    assert system.run() is False


@pytest.mark.parametrize("who", [0, 1, 2])
def test_entries_that_left_the_queue(who: int, hub: Hub) -> None:
    """Who is resumed before its turn loses that turn, not its next one; the others keep theirs."""
    log: Log = []
    ones = [spinner(log, name, 4) for name in "abc"]
    ones[who].resume("early")
    assert log == [("a", 0), ("b", 0), ("c", 0), ("abc"[who], "early"), ("abc"[who], 1)]
    assert hub._cancelled_ready == 1
    log.clear()
    assert system.run() is False
    others = [name for name in "abc" if name != "abc"[who]]
    assert [one for one in log if one[0] in others] == [(name, number) for number in (1, 2, 3) for name in others]
    assert [number for name, number in log if name == "abc"[who]] == [2, 3]
    assert hub._cancelled_ready == 0
    assert {one.status for one in ones} == {"dead"}


def test_a_turn_taken_away_by_one_that_was_entered() -> None:
    """Who was entered directly may resume, throw into, and close those after it: none of them gets that turn."""
    log: Log = []

    def meddler() -> None:
        system.suspend()
        ones[0].resume("early")
        with pytest.raises(Trouble):
            ones[1].throw(Trouble)
        assert ones[2].close() is True
        log.append("done")

    first = spinner(log, "first", 2)
    meddling = spawn.call(meddler, name="meddler")
    ones = [spinner(log, name, 3) for name in "abcd"]
    log.clear()
    assert system.run() is False
    assert log == [("first", 1), ("a", "early"), ("a", 1), "done", ("d", 1), ("a", 2), ("d", 2)]
    assert {one.status for one in (first, meddling, *ones)} == {"dead"}


def test_cancelled_coroutines_take_no_turn() -> None:
    """In a cancelled block `suspend` raises at once, every time; the others go on in their order."""
    log: Log = []

    def cancelled() -> None:
        with scopes.move_on_after(60) as block:
            system.suspend()
            block.cancel()
            for _ in range(3):
                with pytest.raises(errors.Cancelled):
                    system.suspend()
        log.append(("cancelled", block.cancelled))
        log.append(("cancelled", system.suspend()))

    spinner(log, "a", 3)
    one = spawn.call(cancelled, name="cancelled")
    spinner(log, "b", 3)
    log.clear()
    assert system.run() is False
    assert log == [("a", 1), ("cancelled", True), ("b", 1), ("a", 2), ("cancelled", True), ("b", 2)]
    assert one.status == "dead"


def test_cancelled_while_it_waits_for_its_turn() -> None:
    """The error comes at once, and the entry in the queue is void."""
    log: Log = []

    def waiting() -> None:
        with scopes.move_on_after(60) as block:
            blocks.append(block)
            log.append(system.suspend())
        log.append("left")

    blocks: Log = []
    one = spawn.call(waiting)
    spinner(log, "a", 2)
    blocks[0].cancel()
    assert (log, one.status) == ([("a", 0), "left"], "dead")
    assert system.run() is False
    assert log == [("a", 0), "left", ("a", 1)]


def test_main_program_takes_turns(hub: Hub) -> None:
    """It is one among the coroutines: each once, in the order of their first turns."""
    log: Log = []
    for name in "ab":
        spinner(log, name, 4)
    for number in range(4):
        log.append(("main", number))
        assert system.suspend() is True
        if number == 0:
            spinner(log, "c", 3)
    expected: Log = [("a", 0), ("b", 0), ("main", 0), ("a", 1), ("b", 1), ("c", 0)]
    expected += [("main", 1), ("a", 2), ("b", 2), ("c", 1), ("main", 2), ("a", 3), ("b", 3), ("c", 2), ("main", 3)]
    assert log == expected
    assert system.run() is False


def test_greenlets_that_are_not_ours_take_turns() -> None:
    """A greenlet of another owner that was entered directly still drives the hub: a deadlock is its own."""
    log: Log = []

    def theirs() -> None:
        spinner(log, "a", 3)
        for _ in range(4):
            assert system.suspend() is True
        with pytest.raises(errors.Deadlock):
            event.await_(log)
        log.append("told")

    greenlet(theirs).switch()
    assert log == [("a", 0), ("a", 1), ("a", 2), "told"]
    assert system.run() is False
    assert current_context().foreign_waiters == []


# -- fairness ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "times"), [(1, 2000), (2, 2000), (7, 2000), (300, 200)])
def test_polls_among_turns(count: int, times: int, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """B65: when time is up, and all have run that were ready, libuv is polled, however many coroutines spin."""
    monkeypatch.setattr(hub_module, "POLL_INTERVAL_NS", 0)
    log: Log = []
    for number in range(count):
        spinner(log, f"{number}", times)
    before = hub._turns
    assert system.run() is False
    assert len(log) == times * count
    assert hub._turns - before >= times * count // (count + 2 * CLOCK_CHECK_EVERY)


@pytest.mark.parametrize("spinning", [False, True], ids=["alone", "beside a spinner"])
def test_polls_among_calls_that_finish_at_once(spinning: bool, hub: Hub) -> None:
    """B65: a coroutine whose calls never have to wait lets libuv be polled, after COOP_BUDGET of them at most."""
    log: Log = []

    def sender() -> None:
        system.suspend(0.0001)  # woken by the hub
        before = hub._turns
        for _ in range(2000):
            spend_budget(hub)
        log.append(hub._turns - before)

    one = spawn.call(sender)
    if spinning:
        spawn.call(lambda: [system.suspend() for _ in iter(lambda: one.status == "dead", True)])
    assert system.run() is False
    assert log[0] >= 2000 // COOP_BUDGET - 1


def test_calls_that_finish_at_once_in_the_hub(hub: Hub) -> None:
    """What cannot wait need not, although its budget is used up."""
    log: Log = []
    hub.call_threadsafe(lambda: log.extend(spend_budget(hub) for _ in range(2 * COOP_BUDGET)))
    turn()
    assert log == [None] * (2 * COOP_BUDGET)


@pytest.mark.parametrize("limit", [0, 10**12])
def test_all_that_is_ready_runs_before_the_next_poll(limit: int, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """B65: however long the delivery of data has taken, who was ready then waits for no second poll."""
    monkeypatch.setattr(hub_module, "POLL_INTERVAL_NS", limit)
    count, log, waited = 100, [], []

    def spin() -> None:
        for _ in range(20):
            before = hub._turns
            system.suspend()
            waited.append(hub._turns - before)

    spinners = [spawn.call(spin) for _ in range(count)]
    with several(1) as readers:
        readers[0].then = lambda: log.append(system.suspend())
        readers.peers[0].send(b"x")
        while any(one.status != "dead" for one in spinners):
            system.run("step")
    assert max(waited) <= 2
    assert len(waited) == 20 * count


@pytest.mark.parametrize("halted", [False, True])
def test_children_that_suspend_are_no_members_of_the_turn(halted: bool, hub: Hub) -> None:
    """SYS-2: who was ready when a turn began runs in it, also if others come meanwhile, and if it is the last one."""
    turns: Log = []

    def parent() -> None:
        system.suspend()
        turns.append(hub._turns)
        spawn.call(system.suspend)

    def halter() -> None:
        system.suspend()
        if halted:
            system.halt()

    for number in range(60):
        spawn.call(parent)
        if number == 25:
            spawn.call(halter)
    system.run()
    assert len(turns) == 60
    assert len(set(turns)) == 1
    assert system.run() is False


@pytest.mark.parametrize("mode", ["ready", "step"])
def test_a_used_up_budget_takes_no_turn_from_others(mode: Any, hub: Hub) -> None:
    """When the budget of a coroutine is used up in a turn that another one asked for, the others have theirs."""
    log: Log = []

    def busy() -> None:
        system.suspend()
        log.append("begins")
        for _ in range(COOP_BUDGET + 10):
            spend_budget(hub)
        log.append("goes on")

    def other(name: str) -> None:
        system.suspend()
        log.append(name)

    spawn.call(busy)
    for name in "abc":
        spawn.call(other, name)
    assert system.run(mode) is True
    assert log == ["begins", "a", "b", "c"]
    assert system.run() is False
    assert log[-1] == "goes on"


def test_budget_with_a_loop_that_does_not_turn(hub: Hub) -> None:
    """A coroutine of another loop gives way after COOP_BUDGET calls each time, not at every call."""
    with uv.Loop() as other:
        turns: Log = []

        def busy() -> None:
            before = other._hub._turns
            for _ in range(20 * COOP_BUDGET):
                spend_budget(hub)
            turns.append(other._hub._turns - before)

        other.call_threadsafe(lambda: spawn.call(busy))
        other.run("nowait")
        other.run()
    assert 15 <= turns[0] <= 25


def test_queues_let_libuv_poll(hub: Hub) -> None:
    """B65: the one that plays with queues for long lets libuv be polled before as many others do so, too."""
    pairs, log = 100, []
    stop = False

    def back(source: sync.Queue[int], target: sync.Queue[int]) -> None:
        for item in source:
            target.put(item)

    def pair() -> None:
        there, here = sync.Queue[int](1), sync.Queue[int](1)
        spawn.call(back, there, here)
        with there:
            while not stop:
                log.append(hub._turns)
                there.put(1)
                here.get()

    for _ in range(pairs):
        spawn.call(pair)
    system.suspend(0.001)
    log.clear()
    system.suspend(0.02)
    stop = True
    system.run()
    assert max(Counter(log).values()) <= 1.1 * QUEUE_BUDGET


@pytest.mark.parametrize("end", ["returns", "raises"])
def test_resumed_by_a_function_in_the_hub(end: str, hub: Hub) -> None:
    """Who resumes gets back what the coroutine did until it suspended, although others are ready in the hub."""
    log: Log = []
    system.set_excepthook(lambda _, error: log.append(repr(error)))

    def resumed() -> str:
        coroutine.yield_()
        system.suspend()
        if end == "raises":
            raise Trouble("later")
        return "later"

    one = coroutine.create(resumed)
    one.resume()
    for _ in range(3):
        spawn.call(system.suspend)
    hub.call_threadsafe(lambda: log.append(one.resume()))
    system.run()
    assert log == ([None] if end == "returns" else [None, "Trouble('later')"])
    assert one.status == "dead"


def test_hooks_see_every_switch(hub: Hub) -> None:
    """Hooks see each coroutine leave before the next one comes, also after something out of the ordinary."""
    log: Log = []

    class Recorder(Hooks):
        def resumed(self, coroutine: Coroutine) -> None:
            log.append(("+", coroutine.name))

        def parked(self, coroutine: Coroutine) -> None:
            log.append(("-", coroutine.name))

    def body() -> None:
        for _ in range(4):
            system.suspend()
            with hub.external_source():
                pass

    for name in "abc":
        spawn.call(body, name=name)
    current_context().hooks = Recorder()
    system.run()
    current_context().hooks = None
    assert len(log) == 3 * 4 * 2
    for resumed, parked in zip(log[::2], log[1::2], strict=True):
        assert (resumed[0], parked[0]) == ("+", "-")
        assert resumed[1] == parked[1]


@pytest.mark.parametrize("threads", [0, 1])
def test_other_threads_get_a_chance(threads: int) -> None:
    """A loop that never blocks sleeps now and then, if there are other threads: else they might not get the GIL."""
    lines = output_of(
        f"""
        import threading, time
        from coutil import system
        from coutil._interpreter import Time
        from coutil._kernel.hub import GIL_RELEASE_INTERVAL_NS

        sleep, slept = Time.sleep, []
        Time.sleep = staticmethod(lambda seconds: (slept.append(seconds), sleep(seconds)))
        over = threading.Event()
        if {threads}:
            threading.Thread(target=over.wait).start()
        began = time.monotonic_ns()
        while time.monotonic_ns() < began + 20 * GIL_RELEASE_INTERVAL_NS:
            system.suspend()
        print(len(slept))
        for _ in range(5):
            system.suspend(0.01)  # a turn that waits needs no sleep
        print(len(slept))
        over.set()
        """
    )
    assert 0 < int(lines[0]) <= 20 if threads else lines[0] == "0"
    assert int(lines[1]) <= int(lines[0]) + threads  # the turn that was under way


@pytest.mark.parametrize("count", [1, 2, 7])
@pytest.mark.parametrize("limit", [0, 10**12])
def test_data_are_served_among_turns(count: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """B65: coroutines that suspend in a loop do not keep data, connections or timers from others."""
    monkeypatch.setattr(hub_module, "POLL_INTERVAL_NS", limit)
    spins = 0
    served: Log = []
    with several(1) as readers, listening("ipv4") as server:
        peer = readers.peers[0]
        peer.setblocking(False)
        port = server.getaddress().port

        def spin() -> None:
            nonlocal spins
            while len(served) < 3:
                system.suspend()
                spins += 1
                assert spins < 100_000

        def serve(wait: Callable[[], object]) -> None:
            wait()
            served.append(spins)

        readers[0].then = lambda: served.append(spins)
        spawn.call(serve, lambda: server.accept().close())
        spawn.call(serve, lambda: system.suspend(0.0001))
        turn()
        spawn.call(peer.send, b"x")
        client = socket.create_connection(("127.0.0.1", port))
        system.suspend(0.003, blocking=True)  # timers are as exact as libuv's: to a millisecond
        for _ in range(count):
            spawn.call(spin)
        system.run("step")
        while len(served) < 3:
            system.suspend()
        client.close()
    assert len(served) == 3
    assert max(served) <= 2 * COOP_BUDGET
