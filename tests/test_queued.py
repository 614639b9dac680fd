"""queued: events whose emissions are stored while there is no waiter. Cases QUE-1 to QUE-18."""

from __future__ import annotations

import math
import threading
from weakref import ref

import pytest

from coutil import errors, event, queued, spawn, system
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.values import PROBES, Equal, cancel, each_probe, each_way_out, is_collected, recorder, same

emissions = pytest.mark.parametrize("emit", [queued.emitall, queued.emitone], ids=["emitall", "emitone"])
waits = pytest.mark.parametrize("wait", [queued.await_, queued.awaitany, queued.awaitall], ids=["await_", "any", "all"])


def result(wait, one):
    """What a wait for one event returns for an emission without arguments."""
    return True if wait is queued.awaitall else one


@pytest.fixture(autouse=True)
def stores_are_emptied():
    """Take what a test has left stored for the probes, and for short names."""
    yield
    for one in (*PROBES, "x", "y", "z", "e0", "e1", "e2", "e3", "e"):
        while queued.isqueued(one):
            queued.await_(one)


# -- storing and taking


def test_nothing_is_known_of_a_fresh_value():
    """QUE-1: neither asking for an object, nor storing an emission of it, keeps it alive."""
    for emit in (None, queued.emitall, queued.emitone):
        thing = Referent()
        watched = ref(thing)
        assert queued.pending(thing) is False
        assert queued.isqueued(thing) is False
        if emit:
            assert emit(thing, "value") is False
            assert queued.isqueued(thing) is True
        del thing
        assert is_collected(watched)


def test_stored_emissions_go_with_their_event():
    """QUE-1: what was emitted with a value that is collected is released; a new value has nothing stored."""
    kept = Referent()
    watched = ref(kept)
    for _ in range(100):
        thing = Referent()
        assert queued.isqueued(thing) is False
        queued.emitall(thing, kept)
        del thing
    del kept
    assert is_collected(watched)


@pytest.mark.parametrize("make", [Equal, set, lambda: type("Class", (), {})], ids=["equal", "set", "class"])
def test_values_that_compare_in_their_own_way_are_not_kept(make):
    """QUE-1: they are events by identity, stored or not, also if they cannot be hashed."""
    one, other = make(), make()
    watched = ref(one)
    queued.emitall(one, 1)
    assert queued.isqueued(other) is False
    assert queued.isqueued(one) is True
    del one
    assert is_collected(watched)
    assert queued.isqueued(other) is False


def test_value_is_collected_in_another_thread():
    """The finalizer of an event may run in any thread; what was stored goes all the same."""
    holder = [Referent()]
    kept = Referent()
    watched = ref(kept)
    queued.emitall(holder[0], kept)
    del kept
    thread = threading.Thread(target=holder.clear)
    thread.start()
    thread.join()
    assert is_collected(watched)


@each_probe
@emissions
def test_emission_is_stored(probe, emit):
    """QUE-2, QUE-3, QUE-4: it is queued until a wait takes it at once; the next wait suspends."""
    assert queued.isqueued(probe) is False
    assert emit(probe) is False
    assert (queued.isqueued(probe), queued.pending(probe)) == (True, False)
    log = []
    recorder(log, queued.await_, probe, times=2)
    assert len(log) == 1
    assert log[0] is probe
    assert (queued.isqueued(probe), queued.pending(probe)) == (False, True)
    assert emit(probe) is True
    assert (queued.isqueued(probe), queued.pending(probe)) == (False, False)
    assert log[1] is probe


@waits
def test_main_program_takes_what_is_stored(wait, hub):
    """QUE-4: where something is stored, any caller gets it without waiting; awaitall alone insists on a coroutine."""
    log = []
    queued.emitall("x")
    assert wait("x") == result(wait, "x")
    queued.emitall("x")

    def in_the_hub():
        if wait is queued.awaitall:
            with pytest.raises(errors.NotYieldable):
                wait("x")
            queued.await_("x")
        else:
            log.append(wait("x"))

    hub.call_threadsafe(in_the_hub)
    system.run("step")
    assert log == ([] if wait is queued.awaitall else ["x"])
    assert queued.isqueued("x") is False


def test_none_is_no_event():
    """QUE-3: None is never stored, and no one can wait for it."""
    assert queued.emitall(None) is False
    assert queued.emitone(None, 1) is False
    assert queued.isqueued(None) is False
    assert queued.pending(None) is False
    with pytest.raises(ValueError, match="None"):
        queued.await_(None)


def test_nan_is_no_event():
    """NaN is refused by each call, and nothing else that is stored is taken."""
    queued.emitall("x")
    calls = [queued.await_, queued.awaitall, queued.awaitany, queued.emitall, queued.emitone, queued.isqueued]
    for call in calls:
        with pytest.raises(ValueError, match="NaN"):
            call(math.nan)
    for call in (queued.awaitall, queued.awaitany):
        with pytest.raises(ValueError, match="NaN"):
            call("x", math.nan)
    assert queued.isqueued("x") is True


@emissions
def test_one_stored_emission_serves_one_wait(emit):
    """QUE-5: of four waiters the first takes it, the others are served by the next emissions."""
    log = []
    emit("x", "stored")
    for _ in range(4):
        recorder(log, queued.await_, "x")
    assert log == [("x", "stored")]
    served = 0
    while queued.pending("x"):
        assert emit("x", "new") is True
        served += 1
    assert served == (1 if emit is queued.emitall else 3)
    assert log == [("x", "stored")] + [("x", "new")] * 3
    assert queued.isqueued("x") is False


def test_order_of_emitone():
    """QUE-5: suspended waiters are served first come, first served."""
    log = []
    for number in range(3):
        start(lambda number: (queued.await_("x"), log.append(number)), number)
    for count in (1, 2, 3):
        assert queued.emitone("x") is True
        assert log == list(range(count))


@waits
def test_main_program_waits(wait, clock):
    """QUE-6: it waits like everybody else if nothing is stored, and gets Deadlock if nothing can come."""

    def emitter():
        system.suspend(1)
        queued.emitall("x")

    spawn.call(emitter)
    assert wait("x") == result(wait, "x")
    assert system.run() is False
    with pytest.raises(errors.Deadlock, match="event 'x'"):
        wait("x")
    assert queued.pending("x") is False


def test_awaitall_of_the_hub_takes_nothing(hub):
    """QUE-6 (T-54): a call that cannot wait leaves what is stored where it is."""
    queued.emitall("x", 1)

    def in_the_hub():
        with pytest.raises(errors.NotYieldable):
            queued.awaitall("x", "y")

    hub.call_threadsafe(in_the_hub)
    system.run("step")
    assert queued.isqueued("x") is True
    assert queued.await_("x") == ("x", 1)


def test_no_event_to_wait_for():
    """QUE-6: awaitany needs an event, awaitall does not."""
    for given in ((), (None,), (None, None)):
        with pytest.raises(ValueError, match="None"):
            queued.awaitany(*given)
        assert queued.awaitall(*given) is True
    assert queued.isqueued(None) is False


@waits
@pytest.mark.parametrize(("values", "expected"), [((), None), (("x",), "x"), (("x", 1, 2, 3), ("x", 1, 2, 3))])
def test_explicit_resume(wait, values, expected):
    """QUE-7: it ends the wait with its values; the next emission is stored, not lost."""
    log = []
    recorder(log, wait, "x").resume(*values)
    assert log == [expected]
    assert queued.pending("x") is False
    assert queued.emitall("x") is False
    assert queued.isqueued("x") is True


@waits
@each_way_out
def test_cancelled_wait_leaves_no_trace(wait, how):
    """Resumed, thrown at, or closed: the coroutine waits no more, and does not take what is stored later."""
    log = []

    def body():
        try:
            log.append(wait("x"))
        except Trouble:
            log.append("given")

    cancel(start(body), how)
    assert log == ([] if how == "close" else ["given"])
    assert queued.pending("x") is False
    assert queued.emitone("x", 5) is False
    assert queued.await_("x") == ("x", 5)


@each_probe
@emissions
def test_arguments_are_not_mixed(probe, emit):
    """QUE-8: stored emissions come out in order, each with its own arguments; so do those that wake a waiter."""
    extra = object()
    for arguments in ((extra,), (extra, probe), (extra, probe, None)):
        assert emit(probe, *arguments) is False
    log = []
    recorder(log, queued.await_, probe, times=6)
    for arguments in ((extra,), (extra, probe), (extra, probe, None)):
        assert emit(probe, *arguments) is True
    for found in (log[:3], log[3:]):
        assert same(found[0], probe, extra)
        assert same(found[1], probe, extra, probe)
        assert same(found[2], probe, extra, probe, None)
    assert queued.isqueued(probe) is False


def test_strings_of_other_classes_are_stored_by_value():
    """The emission of such a string outlives that object, and is found under the plain string."""
    name = type("Name", (str,), {})("x")
    watched = ref(name)
    queued.emitall(name, "stored")
    assert queued.isqueued("x") is True
    del name
    assert is_collected(watched)
    assert queued.await_("x") == ("x", "stored")
    assert queued.isqueued("x") is False


def test_emitted_number_is_returned():
    """1 and 1.0 are one event: each wait returns the number that was emitted, stored or not."""
    queued.emitall(1.0)
    queued.emitall(1, "one")
    queued.emitall(True)
    found = [queued.await_(1), queued.await_(1.0)]
    assert found == [1.0, (1, "one")]
    assert type(found[0]) is float
    assert type(found[1][0]) is int
    assert queued.isqueued(1) is False
    assert queued.await_(True) is True


def test_order():
    """QUE-9: suspended waiters run in the order in which they began to wait, in all three kinds of wait."""
    sets = [("x", "y", "z")[: 1 + i % 3] for i in range(16)]
    log = []
    for number in range(16):
        start(lambda number: (queued.await_("e"), log.append(number)), number)
        start(lambda number: (queued.awaitall(*sets[number]), log.append(("all", number))), number)
    assert queued.emitall("e") is True
    assert log == list(range(16))
    log.clear()
    assert [queued.emitall(one) for one in ("z", "y", "x")] == [True, True, True]
    assert log == [("all", number) for number in range(16)]
    log.clear()
    for number in range(16):
        start(lambda number: (queued.awaitany(*sets[number]), log.append(number)), number)
    assert [queued.emitall(one) for one in ("z", "y", "x")] == [True, True, True]
    assert log == [2, 5, 8, 11, 14, 1, 4, 7, 10, 13, 0, 3, 6, 9, 12, 15]


def test_nested_emissions():
    """QUE-10: what a waiter emits while no other one can be woken is stored, and taken by its own next wait."""
    log = []

    def first():
        log.append(("A", queued.await_("e")))
        log.append(queued.emitall("e", "t2"))
        log.append(("A", queued.await_("e")))
        log.append(("A", queued.await_("e")))

    def second():
        log.append(("B", queued.await_("e")))
        log.append(queued.emitall("e", "t3"))

    start(first)
    start(second)
    assert queued.emitall("e", "t1") is True
    assert log == [
        *(("A", ("e", "t1")), False, ("A", ("e", "t2"))),
        *(("B", ("e", "t1")), ("A", ("e", "t3")), True),
    ]
    assert not queued.isqueued("e")


# -- awaitall


def test_awaitall_takes_what_is_stored():
    """QUE-11: with an emission of each event stored it returns at once; the next one waits for all."""
    log = []
    for probe in PROBES:
        queued.emitone(probe)
    recorder(log, queued.awaitall, *PROBES, times=2)
    assert log == [True]
    assert not any(map(queued.isqueued, PROBES))
    for probe in PROBES:
        assert log == [True]
        assert queued.emitall(probe) is True
    assert log == [True, True]


def test_awaitall_with_some_stored():
    """QUE-12: it takes them, and waits for the others; what was taken is gone when the wait is cancelled."""
    log = []
    for probe in PROBES:
        queued.emitall(probe)
    waiting = recorder(log, queued.awaitall, "extra", *PROBES)
    assert not any(map(queued.pending, PROBES))
    assert not any(map(queued.isqueued, PROBES))
    assert queued.pending("extra") is True
    waiting.resume("given")
    assert log == ["given"]
    assert queued.pending("extra") is False


def test_awaitall_with_repetitions():
    """QUE-13: one stored emission of each event is enough, however often the event is named."""
    log = []
    for name in ("t1", "t1", "t2", "t2", "t3"):
        queued.emitall(name)
    recorder(log, queued.awaitall, "t1", "t2", "t3", "t1", "t2", times=3)
    assert log == [True]
    assert [queued.pending(name) for name in ("t1", "t2", "t3")] == [False, False, True]
    assert queued.emitall("t3") is True
    assert log == [True, True]
    assert [queued.pending(name) for name in ("t1", "t2", "t3")] == [True, True, True]
    assert [queued.emitall(name) for name in ("t3", "t2", "t1")] == [True, True, True]
    assert log == [True, True, True]


@pytest.mark.parametrize("given", [(None, "x", "y"), ("x", None, "y"), ("x", "y", None), (None, "x", None, "y", None)])
def test_none_is_ignored(given):
    """QUE-14: wherever None stands among the events, stored or not."""
    log = []
    queued.emitall("x", 1)
    recorder(log, queued.awaitall, *given)
    assert (queued.pending("x"), queued.pending("y")) == (False, True)
    assert queued.emitall("y") is True
    queued.emitall("y", 2)
    recorder(log, queued.awaitany, *given)
    assert log == [True, ("y", 2)]


def test_awaitall_with_different_sets():
    """QUE-15: an event that is stored often enough is never missed."""
    done = {"a": 0, "b": 0}

    def body(name, *sets):
        for events in sets:
            queued.awaitall(*events)
            done[name] += 1

    for _ in range(4):
        queued.emitall("e0")
    start(body, "a", ("e0", "e1", "e2", "e3"), ("e0", "e1"))
    start(body, "b", ("e0",), ("e0", "e2"), ("e1", "e3"))
    found = [(done["a"], done["b"])]
    for one in ("e1", "e2", "e3", "e1"):
        assert queued.emitall(one) is True
        found.append((done["a"], done["b"]))
    assert found == [(0, 1), (0, 1), (0, 2), (1, 2), (2, 3)]


def test_nested_awaitall():
    """QUE-16: emissions by waiters, as in EVT-21; an event that is stored in each set changes nothing."""
    log = []

    def emit(name, *events):
        log.append((name, [event.emitall(one) for one in events]))

    def wait(*events):
        queued.emitall("e0")
        queued.awaitall("e0", *events)

    def first():
        for _ in range(3):
            wait("e1", "e2", "e3")
            emit("A", "e1", "e2", "e3")

    def second():
        wait("e1")
        emit("B", "e1", "e2", "e3", "e1", "e3")
        wait("e2", "e3")
        emit("B", "e1", "e2")
        wait("e3")
        emit("B", "e1", "e2", "e3")

    start(first)
    start(second)
    assert [queued.emitall(one) for one in ("e1", "e2", "e3")] == [True, True, True]
    assert log == [
        ("A", [False, False, False]),
        ("B", [False, True, True, True, True]),
        ("A", [False, False, True]),
        ("B", [True, True]),
        ("A", [False, False, False]),
        ("B", [False, False, False]),
    ]
    assert not any(map(queued.isqueued, ("e0", "e1", "e2", "e3")))


# -- awaitany


@each_probe
def test_awaitany_prefers_what_is_stored(probe):
    """QUE-17: the first of two calls takes it at once, the second waits for any event."""
    log = []
    queued.emitall(probe, "stored")
    recorder(log, queued.awaitany, *PROBES, times=2)
    assert same(log[0], probe, "stored")
    assert all(map(queued.pending, PROBES))
    assert queued.emitall(probe) is True
    assert log[1] is probe
    assert not any(map(queued.pending, PROBES))
    assert not queued.isqueued(probe)


def test_awaitany_takes_from_left_to_right():
    """QUE-17: of several stored events the one that is named first, one emission each time."""
    queued.emitall("x", 1)
    queued.emitall("y", 2)
    queued.emitall("y", 3)
    assert queued.awaitany("z", "y", "x") == ("y", 2)
    assert queued.awaitany("x", "y") == ("x", 1)
    assert queued.awaitany("x", "y", None) == ("y", 3)
    assert not queued.isqueued("y")


def test_nested_awaitany():
    """QUE-18: as EVT-28, with emissions that are stored in place of being lost."""
    log, steps = [], {"A": [], "B": []}

    def step(name):
        steps[name].append(sum(map(len, steps.values())) + 1)

    def wait():
        queued.awaitany("e1", "e2", "e3")

    def first():
        wait()
        log.extend(map(event.emitall, ("e1", "e2", "e1")))
        step("A")
        wait()
        log.append(event.emitall("e1"))
        step("A")

    def second():
        for _ in range(2):
            wait()
            step("B")
        wait()
        log.append(event.emitall("e1"))
        step("B")
        wait()
        step("B")

    start(first)
    start(second)
    assert queued.emitall("e1") is True
    assert (steps, log) == ({"A": [3], "B": [1, 2]}, [False, True, True])
    assert queued.emitall("e1") is True
    assert steps == {"A": [3, 6], "B": [1, 2, 4, 5]}
    assert [queued.emitall(one) for one in ("e1", "e2", "e3")] == [False, False, False]


# -- with others


def test_plain_waiters_and_stored_emissions():
    """Both modules have the same waiters; only queued knows what is stored."""
    log = []
    queued.emitall("x", "stored")
    recorder(log, event.await_, "x")
    assert queued.pending("x") is event.pending("x") is True
    assert queued.emitone("x", "new") is True
    assert log == [("x", "new")]
    assert queued.await_("x") == ("x", "stored")


def test_exception_of_a_waiter_is_no_reason_to_store(escaped):
    """The emission met a waiter: it is not stored although the waiter failed."""

    def body():
        queued.await_("x")
        raise Trouble

    start(body)
    assert queued.emitall("x") is True
    assert queued.isqueued("x") is False
    assert [type(error) for _, error in escaped] == [Trouble]
    escaped.clear()


def test_threads_have_their_own_stores():
    """What is stored in one OS thread is not found by another, and goes when the thread ends."""
    found = []
    kept = Referent()
    watched = ref(kept)

    def in_a_thread(kept):
        found.append(queued.isqueued("x"))
        found.append(queued.emitall("x", kept))
        found.append(queued.isqueued("x"))

    queued.emitall("x", "here")
    thread = threading.Thread(target=in_a_thread, args=[kept])
    del kept
    thread.start()
    thread.join()
    assert found == [False, False, True]
    assert is_collected(watched)
    assert queued.await_("x") == ("x", "here")
