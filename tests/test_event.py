"""event: wait for any value, and emit it. Cases EVT-1 to EVT-28, and what they rest on."""

from __future__ import annotations

import gc
import math
import re
import signal
import threading
from weakref import ref

import pytest
from greenlet import greenlet

from coutil import errors, event, spawn, system
from coutil.coroutine import create, running, yield_
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.script import output_of, run_script
from tests.helpers.values import PROBES, Equal, cancel, each_probe, each_way_out, is_collected, recorder, same

emissions = pytest.mark.parametrize("emit", [event.emitall, event.emitone], ids=["emitall", "emitone"])
waits = pytest.mark.parametrize("wait", [event.await_, event.awaitany, event.awaitall], ids=["await_", "any", "all"])


def waiters(log, wait, sets):
    """Start a coroutine for each set of events; each appends its number to `log` when its wait has ended."""

    def body(number, events):
        wait(*events)
        log.append(number)

    for number, events in enumerate(sets):
        start(body, number, events)


# -- what an event is


def test_nothing_is_known_of_a_fresh_value():
    """EVT-1, EVT-3: asking for an object, or emitting it in vain, does not keep it."""
    thing = Referent()
    watched = ref(thing)
    assert event.pending(thing) is False
    assert event.emitall(thing) is False
    assert event.emitone(thing, thing) is False
    del thing
    assert is_collected(watched)


@each_probe
def test_emission_of_what_has_no_waiter(probe):
    """EVT-3: it returns False, whatever the value."""
    assert event.emitall(probe) is False
    assert event.emitone(probe, 1, 2) is False
    assert event.pending(probe) is False


def test_none_is_no_event():
    """EVT-2, EVT-3: no one can wait for None; asking for it and emitting it is harmless."""
    assert event.pending(None) is False
    assert event.emitall(None) is False
    assert event.emitone(None, "x") is False
    with pytest.raises(ValueError, match="None is no event"):
        event.await_(None)


@each_probe
def test_pending(probe):
    """EVT-2, EVT-7: an event is pending from the wait to the emission, and not in the code that was resumed."""
    log = []

    def body():
        log.append(event.pending(probe))
        log.append(event.await_(probe))
        log.append(event.pending(probe))
        log.append(event.emitall(probe))

    start(body)
    assert log == [False]
    assert event.pending(probe) is True
    assert event.emitall(probe) is True
    assert log[1] is probe
    assert log[2:] == [False, False]
    assert event.pending(probe) is False


def test_every_probe_is_an_event_of_its_own():
    """False and 0, True and 1, "" and b"", [] and () are different events (T-06)."""
    log = []
    for probe in PROBES:
        recorder(log, event.await_, probe)
    for number, probe in enumerate(PROBES):
        assert event.emitall(probe) is True
        assert len(log) == number + 1
        assert log[-1] is probe


@pytest.mark.parametrize(
    ("waited", "emitted"),
    [
        (1, 1.0),
        (0.0, -0.0),
        (2, signal.SIGINT),
        (10**30, int("1" + "0" * 30)),
        ("ab", "".join("ab")),
        (b"ab", bytes(bytearray(b"ab"))),
        ("name", type("Text", (str,), {"__eq__": lambda *_: False, "__hash__": None})("name")),
    ],
    ids=repr,
)
@pytest.mark.parametrize("turned", [False, True])
def test_numbers_and_strings_are_compared_by_value(waited, emitted, turned):
    """1 and 1.0 are one event; the wait returns the object that was emitted."""
    if turned:
        waited, emitted = emitted, waited
    log = []
    recorder(log, event.await_, waited)
    recorder(log, event.awaitany, "other", waited)
    assert event.pending(emitted)
    assert event.emitall(emitted) is True
    assert [one is emitted for one in log] == [True, True]


@pytest.mark.parametrize("make", [list, Equal, lambda: tuple("ab"), lambda: complex(5), lambda: "".join])
def test_everything_else_is_compared_by_identity(make):
    """Equal values are different events, unless they are numbers or strings; they need not be hashable."""
    one, other = make(), make()
    assert one == other
    log = []
    recorder(log, event.await_, one)
    assert event.pending(other) is False
    assert event.emitall(other) is False
    assert event.emitall(one) is True
    assert log[0] is one


@pytest.mark.parametrize("nan", [math.nan, -math.nan, type("Float", (float,), {})("nan")])
def test_nan_is_no_event(nan):
    """NaN does not equal itself, so that no one could emit it: every call says so."""
    calls = [event.await_, event.awaitall, event.awaitany, event.emitall, event.emitone, event.pending]
    for call in calls:
        with pytest.raises(ValueError, match="NaN"):
            call(nan)
    with pytest.raises(ValueError, match="NaN"):
        event.awaitany("x", nan)
    assert not event.pending("x")


# -- await_


@each_probe
def test_emitall_resumes_everybody(probe):
    """EVT-4: all have run when it returns; then no one is left."""
    log = []
    for _ in range(3):
        recorder(log, event.await_, probe)
    assert event.emitall(probe) is True
    assert [one is probe for one in log] == [True, True, True]
    assert event.emitall(probe) is False


@each_probe
def test_emitone_resumes_the_first(probe):
    """EVT-5: each emission wakes the one who has waited longest."""
    log = []
    waiters(log, event.await_, [(probe,)] * 3)
    for count in (1, 2, 3):
        assert event.emitone(probe) is True
        assert log == list(range(count))
        assert event.pending(probe) is (count < 3)
    assert event.emitone(probe) is False


@waits
def test_no_event_to_wait_for(wait):
    """EVT-6, EVT-18, EVT-22: only awaitall accepts that nothing is left to wait for."""
    if wait is event.awaitall:
        assert event.awaitall() is True
        assert event.awaitall(None, None) is True
    else:
        arguments = [(None,)] if wait is event.await_ else [(), (None,), (None, None)]
        for given in arguments:
            with pytest.raises(ValueError, match="None"):
                start(wait, *given)
            with pytest.raises(ValueError, match="None"):
                wait(*given)
    assert event.emitall(None) is False


@waits
def test_main_program_waits(wait, clock):
    """EVT-6, EVT-12, EVT-22: the main program waits like everybody else, while the loop runs."""
    log = []

    def emitter():
        system.suspend(1)
        log.append("emit")
        log.append(event.emitall("e"))

    spawn.call(emitter)
    assert wait("e") == (True if wait is event.awaitall else "e")
    assert log == ["emit"]  # we run in the middle of its emission
    assert not event.pending("e")
    system.suspend(0)
    assert log == ["emit", True]


@waits
def test_main_program_waits_in_vain(wait):
    """EVT-6, EVT-12, EVT-22: a wait that nothing can end raises Deadlock, and leaves no trace."""
    other = spawn.call(event.await_, "another", name="helper")
    with pytest.raises(errors.Deadlock) as caught:
        wait("e")
    assert re.search(r"^  main    +[\d.]+ m?s  event 'e'  ", str(caught.value), re.MULTILINE)
    assert re.search(r"^  helper  +[\d.]+ m?s  event 'another'$", str(caught.value), re.MULTILINE)
    assert not event.pending("e")
    assert event.emitall("e") is False
    other.close()


def test_main_program_waits_again_and_again(clock):
    """Resumed in the middle of an emission, it may wait for anything, run the loop, or end in a deadlock."""
    log = []

    def emitter():
        for number in range(3):
            system.suspend(1)
            event.emitall("e", number)
            log.append(number)

    spawn.call(emitter)
    assert event.await_("e") == ("e", 0)
    assert (event.await_("e"), log) == (("e", 1), [0])
    assert system.suspend(0.5) is True
    assert log == [0, 1]
    assert event.await_("e") == ("e", 2)
    with pytest.raises(errors.Deadlock, match="event 'e'"):
        event.await_("e")
    assert log == [0, 1, 2]


def test_main_program_runs_the_loop_after_it_was_resumed(clock):
    """system.run() first lets the coroutine go on that has resumed the main program, then works as ever."""
    log = []

    def emitter():
        system.suspend(1)
        event.emitall("e")
        log.append("emitted")
        system.suspend(1)
        log.append("end")

    spawn.call(emitter)
    event.await_("e")
    assert log == []
    assert system.run("ready") is True
    assert log == ["emitted"]
    assert system.run() is False
    assert log == ["emitted", "end"]


def test_main_program_waits_where_no_loop_can_be_made():
    """Without a free descriptor the wait raises what the loop did, each time, and leaves no trace; later it works."""
    lines = output_of("""
        import os, resource
        from coutil import errors, event, spawn, system
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 2, hard))
        for _ in range(2):
            try:
                event.await_("x")
            except MemoryError as error:
                print(error, event.pending("x"))
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        spawn.call(lambda: (system.suspend(), event.emitall("x")))
        print(event.await_("x"))
    """)
    assert lines == ["no memory or no descriptor for an event loop False"] * 2 + ["x"]


def test_hub_cannot_wait(hub):
    """What runs in the hub itself gets NotYieldable from each call, and leaves no trace; it may emit."""
    log = []

    def in_the_hub():
        for wait in (event.await_, event.awaitany, event.awaitall):
            with pytest.raises(errors.NotYieldable):
                wait("e")
        with pytest.raises(errors.NotYieldable):
            event.awaitall()
        log.append(event.pending("e"))
        log.append(event.emitall("f", 1))

    recorder(log, event.await_, "f")
    hub.call_threadsafe(in_the_hub)
    system.run("step")
    assert log == [False, ("f", 1), True]


@each_probe
@emissions
def test_arguments_of_an_emission(probe, emit):
    """EVT-8: they follow the event, identical, in a tuple; a single None counts."""
    log = []
    for _ in range(3):
        recorder(log, event.await_, probe)
    expected = [probe, object(), None, probe]
    while event.pending(probe):
        assert emit(*expected) is True
    assert [same(one, *expected) for one in log] == [True, True, True]
    recorder(log, event.await_, probe)
    emit(probe, None)
    assert same(log[3], probe, None)


@pytest.mark.parametrize(
    ("values", "result"), [((), None), ((None,), None), (("x",), "x"), (((),), ()), (("x", 1, 2, 3), ("x", 1, 2, 3))]
)
@waits
def test_explicit_resume(wait, values, result):
    """EVT-9, EVT-15, EVT-24: it ends the wait, which returns what it brings; the emission comes too late."""
    log = []

    def body():
        log.append(wait("x"))
        log.append(yield_())

    waiting = start(body)
    waiting.resume(*values)
    assert log == [result]
    assert event.pending("x") is False
    assert event.emitall("x") is False
    waiting.resume("again")
    assert log == [result, "again"]


def test_emission_cannot_be_forged():
    """A tuple like the one that an emission makes is just a value: awaitall does not take it for an emission."""
    log = []
    for wait in (event.await_, event.awaitall, event.awaitany):
        recorder(log, wait, "x").resume(("x",))
    assert log == [("x",)] * 3


@each_way_out
@waits
def test_cancelled_wait_leaves_no_trace(wait, how):
    """Resumed, thrown at, or closed: the coroutine is in no list any more, and can wait again."""
    log = []
    thing = Referent()

    def body(thing):
        try:
            log.append(wait(thing))
        except Trouble:
            log.append("trouble")
        del thing
        log.append(wait("again"))

    waiting = start(body, thing)
    cancel(waiting, how)
    assert log == {"resume": ["given"], "throw": ["trouble"], "close": []}[how]
    assert not event.pending(thing)
    assert event.emitall(thing, "late") is False
    assert event.emitall("again") is (how != "close")
    watched = ref(thing)
    del thing
    waiting.close()
    assert is_collected(watched)


@each_way_out
def test_cancelled_wait_among_others(how):
    """One of several waiters leaves: the others stay, in their order."""
    log = []

    def body(number):
        try:
            event.await_("x")
        except Trouble:
            return
        log.append(number)

    made = [start(body, number) for number in range(5)]
    for number in (0, 3):
        cancel(made[number], how)
    log.clear()
    assert event.emitone("x") is True
    assert log == [1]
    assert event.emitall("x") is True
    assert log == [1, 2, 4]
    assert not event.pending("x")


def test_last_of_several_waiters_leaves():
    """Nothing is pending when all have left one by one, in any order."""
    made = [recorder([], event.await_, "x") for _ in range(4)]
    for one in (made[1], made[3], made[0], made[2]):
        assert event.pending("x")
        one.resume()
    assert not event.pending("x")


def test_values_of_the_first_resume_and_yield_are_separate():
    """A wait yields nothing to the resumer."""
    waiting = create(event.await_)
    assert waiting.resume("x") is None
    assert event.emitall("x") is True
    assert waiting.status == "dead"


def test_order():
    """EVT-10: waiters run in the order in which they began to wait."""
    log = []
    waiters(log, event.await_, [("x",)] * 16)
    event.emitall("x")
    assert log == list(range(16))


def test_nested_emissions():
    """EVT-11: an emission made by a waiter meets those who wait by then, not those who are about to be resumed."""
    log = []

    def first():
        log.append(event.await_("e"))
        log.append(event.emitall("e", "nobody"))
        log.append(event.await_("e"))

    def second():
        log.append(event.await_("e"))
        log.append(event.emitall("e", "t3"))

    start(first)
    start(second)
    assert event.emitall("e", "t1") is True
    assert log == [("e", "t1"), False, ("e", "t1"), ("e", "t3"), True]
    assert event.emitall("e") is False


def test_wait_again_in_an_endless_emission():
    """A waiter again during an emission is not resumed by it a second time (T-09)."""
    log = []
    for _ in range(3):
        recorder(log, event.await_, "x", times=2)
    event.emitall("x", 1)
    assert log == [("x", 1)] * 3
    event.emitall("x", 2)
    assert log == [("x", 1)] * 3 + [("x", 2)] * 3


# -- awaitall


def test_awaitall_waits_for_each():
    """EVT-14: it returns True after the last one, whatever the arguments of the emissions."""
    log = []
    recorder(log, event.awaitall, *PROBES)
    for probe in PROBES:
        assert log == []
        assert event.pending(probe) is True
        assert event.emitall(probe, "ignored") is True
        assert event.emitall(probe) is False
    assert log == [True]
    assert not any(map(event.pending, PROBES))


@pytest.mark.parametrize("emitted", [0, 1, len(PROBES) - 1])
@each_way_out
def test_awaitall_cancelled(emitted, how):
    """EVT-15, EVT-16: before any emission, or after all but one, a cancelled wait leaves all lists."""
    log = []

    def body():
        try:
            log.append(event.awaitall(*PROBES))
        except Trouble:
            log.append("given")

    waiting = start(body)
    for probe in PROBES[:emitted]:
        assert event.emitone(probe)
    cancel(waiting, how)
    assert log == ([] if how == "close" else ["given"])
    assert not any(map(event.pending, PROBES))
    assert not any(map(event.emitall, PROBES))


def test_awaitall_with_repetitions():
    """EVT-17: awaitall(1, 2, 3, 2, 3) needs 1, 2 and 3, each once; so does 1.0."""
    log = []
    recorder(log, event.awaitall, 1, 2, 3, 2, 3, 1.0)
    assert event.emitall(2) is True
    assert event.emitall(2) is False
    assert event.emitall(1) is True
    assert log == []
    assert event.emitall(3) is True
    assert log == [True]


@pytest.mark.parametrize("given", [(None, 1, 2), (1, None, 2), (1, 2, None), (None, 1, None, 2, None), (1, 2)])
@pytest.mark.parametrize("wait", [event.awaitall, event.awaitany])
def test_none_is_ignored(wait, given):
    """EVT-18, EVT-25: wherever None stands among the events."""
    log = []
    recorder(log, wait, *given)
    assert event.pending(1)
    assert event.pending(2)
    assert event.emitall(1) is True
    assert event.emitall(2) is (wait is event.awaitall)
    assert log == [True if wait is event.awaitall else 1]


def test_awaitall_with_different_sets():
    """EVT-19: two coroutines wait for sets that overlap."""
    done = {"a": 0, "b": 0}

    def body(name, *sets):
        for events in sets:
            done[name] += 1
            event.awaitall(*events)
        done[name] += 1

    start(body, "a", ("e1", "e2", "e3"), ("e1",))
    start(body, "b", (), ("e2",), ("e1", "e3"))
    found = [(done["a"], done["b"] - 1)]
    for one in ("e1", "e2", "e3", "e1"):
        assert event.emitall(one) is True
        assert event.emitall(one) is False
        found.append((done["a"], done["b"] - 1))
    assert found == [(1, 1), (1, 1), (1, 2), (2, 2), (3, 3)]


def test_awaitall_order():
    """EVT-20: those who miss the same event last are resumed in the order in which they began to wait."""
    log = []
    waiters(log, event.awaitall, [("x1", "x2", "x3")[: 1 + i % 3] for i in range(16)])
    assert event.emitall("x3") is True
    assert event.emitall("x2") is True
    assert log == []
    assert event.emitall("x1") is True
    assert log == list(range(16))


def test_nested_awaitall():
    """EVT-21: emissions by waiters, which complete each other's waits in part."""
    log = []

    def emit(name, *events):
        log.append((name, [event.emitall(one) for one in events]))

    def first():
        for _ in range(3):
            event.awaitall("e1", "e2", "e3")
            emit("A", "e1", "e2", "e3")

    def second():
        event.awaitall("e1")
        emit("B", "e1", "e2", "e3", "e1", "e3")
        event.awaitall("e2", "e3")
        emit("B", "e1", "e2")
        event.awaitall("e3")
        emit("B", "e1", "e2", "e3")

    start(first)
    start(second)
    found = []
    for one in ("e1", "e2", "e3"):
        assert event.emitall(one) is True
        found.append(len(log))
    assert found == [2, 4, 6]
    assert log == [
        ("A", [False, False, False]),
        ("B", [False, True, True, True, True]),
        ("A", [False, False, True]),
        ("B", [True, True]),
        ("A", [False, False, False]),
        ("B", [False, False, False]),
    ]
    assert [event.emitall(one) for one in ("e1", "e2", "e3")] == [False, False, False]


# -- awaitany


@each_probe
def test_awaitany(probe):
    """EVT-23: one of many events is enough; then none of them is pending."""
    log = []
    recorder(log, event.awaitany, *PROBES)
    assert all(map(event.pending, PROBES))
    assert event.emitall(probe) is True
    assert log[0] is probe
    assert not any(map(event.pending, PROBES))


def test_awaitany_leaves_before_the_coroutine_goes_on():
    """EVT-23: the code that was resumed finds the other events free already."""
    log = []

    def body():
        event.awaitany("x", "y", "z")
        log.extend(map(event.pending, "xyz"))

    start(body)
    recorder(log, event.await_, "z")
    event.emitall("y")
    assert log == [False, False, True]  # the other one waits for "z"
    assert event.emitone("z") is True


def test_awaitany_with_repetitions():
    """EVT-25: the same event several times is like once."""
    log = []
    recorder(log, event.awaitany, "x", None, "y", "x")
    assert event.emitone("x", 1) is True
    assert event.emitone("x", 2) is False
    assert event.emitone("y") is False
    assert log == [("x", 1)]


def test_awaitany_with_different_sets():
    """EVT-26: an emission ends the waits of everybody who has the event in his set."""
    log = []

    def body(name, *sets):
        for events in sets:
            found = event.awaitany(*events)
            log.append((name, found))

    start(body, "A", *[("e0", "e1", "e2", "e3")] * 3)
    start(body, "B", ("e1",), ("e2", "e3"), ("e0", "e1", "e2"))
    assert event.emitall("e1", 1, None) is True
    assert event.emitall("e2") is True
    assert event.emitall("e3", 3) is True
    assert event.emitall("e3") is False
    assert log == [("A", ("e1", 1, None)), ("B", ("e1", 1, None)), ("A", "e2"), ("B", "e2"), ("A", ("e3", 3))]
    assert event.emitall("e0") is True  # B


def test_awaitany_order():
    """EVT-27: waiters run in the order in which they began to wait."""
    log = []
    waiters(log, event.awaitany, [("x1", "x2", "x3")[: 1 + i % 3] for i in range(16)])
    for one, expected in (("x3", [2, 5, 8, 11, 14]), ("x2", [1, 4, 7, 10, 13]), ("x1", [0, 3, 6, 9, 12, 15])):
        assert event.emitall(one) is True
        assert log == expected
        log.clear()
    assert [event.emitall(one) for one in ("x1", "x2", "x3")] == [False, False, False]


def test_nested_awaitany():
    """EVT-28: a waiter wakes another one who is in a detached list; that one is not woken again by the old emission."""
    log, steps = [], {"A": [], "B": []}

    def step(name):
        steps[name].append(sum(map(len, steps.values())) + 1)

    def wait():
        event.awaitany("e1", "e2", "e3")

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
    assert event.emitall("e1") is True
    assert (steps, log) == ({"A": [3], "B": [1, 2]}, [False, True, True])
    assert event.emitall("e1") is True
    assert steps == {"A": [3, 6], "B": [1, 2, 4, 5]}
    assert log == [False, True, True, False, True]
    assert [event.emitall(one) for one in ("e1", "e2", "e3")] == [False, False, False]


# -- an emission goes on, whatever its waiters do


@each_way_out
@emissions
def test_waiter_of_a_detached_list_is_cancelled(how, emit):
    """A waiter ends the wait of the next one: the emission skips that one, and goes on with the rest (E-3, E-6)."""
    log, made = [], []

    def body(number):
        try:
            log.append((number, event.await_("x")))
        except Trouble:
            log.append((number, "trouble"))
        if number == 0:
            cancel(made[1], how)

    made += [start(body, number) for number in range(3)]
    while event.pending("x"):
        assert emit("x") is True
    assert log[0] == (0, "x")
    assert log[1:-1] == {"resume": [(1, "given")], "throw": [(1, "trouble")], "close": []}[how]
    assert log[-1] == (2, "x")


def test_last_waiter_of_a_detached_list_waits_elsewhere():
    """Cancelled by another waiter, and waiting for the same event again, it is not resumed by the old emission."""
    log, made = [], []

    def canceller():
        event.await_("x")
        made[0].resume("early")

    start(canceller)
    made.append(recorder(log, event.await_, "x", times=2))
    assert event.emitall("x", 1) is True
    assert log == ["early"]
    assert event.emitall("x", 2) is True
    assert log == ["early", ("x", 2)]


@emissions
def test_exception_of_a_waiter(emit, escaped):
    """What escapes from a waiter goes to the excepthook; the emission goes on, and returns as ever (T-10)."""
    log, made = [], []

    def body(number):
        event.await_("x")
        log.append(number)
        if number in (0, 2):
            raise [Trouble, GeneratorExit][number // 2](number)

    made += [start(body, number) for number in range(4)]
    while event.pending("x"):
        assert emit("x") is True
    assert log == [0, 1, 2, 3]
    assert [one for one, _ in escaped] == [made[0], made[2]]
    assert [type(error) for _, error in escaped] == [Trouble, GeneratorExit]
    escaped.clear()


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_interrupt_of_a_waiter(leave, escaped):
    """KeyboardInterrupt and SystemExit reach the emitter when all waiters were resumed; a second one the excepthook."""
    log, made = [], []

    def body(number):
        event.await_("x")
        log.append(number)
        if number in (1, 2):
            raise leave(number)

    made += [start(body, number) for number in range(4)]
    with pytest.raises(leave) as caught:
        event.emitall("x")
    assert caught.value.args == (1,)
    assert log == [0, 1, 2, 3]
    assert [(one, error.args) for one, error in escaped] == [(made[2], (2,))]
    escaped.clear()
    assert not event.pending("x")


def test_interrupt_of_the_only_waiter():
    """It passes through emitone, too, and through the coroutines that emitted."""

    def body():
        event.await_("x")
        raise KeyboardInterrupt

    def emitter():
        event.await_("y")
        event.emitone("x")

    start(body)
    waiting = start(emitter)
    with pytest.raises(KeyboardInterrupt):
        event.emitall("y")
    assert waiting.status == "dead"
    assert not event.pending("x")


@emissions
def test_thousands_of_nested_emissions(emit):
    """T-59: a chain in which each waiter emits the event of the next one may be long."""
    log = []

    def body(number):
        event.await_(number)
        log.append(number)
        emit(number + 1)

    made = [start(body, number) for number in range(2000)]
    assert emit(0) is True
    assert log == list(range(2000))
    assert {one.status for one in made} == {"dead"}


def test_thousands_of_waiters():
    """Leaving a long list takes no longer than leaving a short one, so does emitone."""
    log = []
    made = [recorder(log, event.await_, "x") for _ in range(5000)]
    for one in reversed(made[1000:]):
        one.resume(1)
    assert log == [1] * 4000
    log.clear()
    while event.emitone("x"):
        pass
    assert log == ["x"] * 1000


# -- who may emit, and from where


def test_emission_by_the_hub(hub, escaped):
    """A call from another thread may emit; the waiter may resume a coroutine that fails then: that is reported."""
    log = []

    def waiter():
        log.append(event.await_("x"))
        system.suspend()  # enters `failing` directly
        log.append("end")
        raise Trouble("waiter")

    def failing():
        while not log:
            system.suspend()
        raise Trouble("other")

    made = [start(failing), start(waiter)]
    hub.call_threadsafe(event.emitall, "x")
    assert system.run() is False
    assert log == ["x", "end"]
    assert [one for one, _ in escaped] == made
    assert [error.args for _, error in escaped] == [("other",), ("waiter",)]
    escaped.clear()


def test_greenlets_of_others_may_wait():
    """A greenlet that is not ours waits like the main program; what resumed it goes on when it waits again."""
    log = []

    def body():
        log.append(event.await_("x"))
        system.suspend()
        log.append("end")

    outside = greenlet(body)
    spawn.call(lambda: (system.suspend(), event.emitall("x", 1)))
    outside.switch()
    assert log == [("x", 1), "end"]
    assert outside.dead
    assert system.run() is False


def test_threads_have_their_own_events():
    """Rule 4: an emission in another OS thread with coroutines meets none, and a wait there is not seen here."""
    log = []
    found = []

    def in_a_thread():
        running()
        found.append(event.emitall("x"))
        recorder(found, event.await_, "x")
        found.append(event.pending("x"))
        found.append(event.emitall("x", "there"))

    recorder(log, event.await_, "x")
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [False, True, ("x", "there"), True]
    assert log == []
    assert event.emitall("x", "here") is True
    assert log == [("x", "here")]


# -- reports and lifetimes


def test_reports():
    """What a coroutine waits for is shown in its repr, shortened."""
    made = [
        start(event.await_, "x"),
        start(event.awaitany, "x", 1, b"y"),
        start(event.awaitall, "x", "y"),
        start(event.await_, ["unhashable"]),
        start(event.await_, "long" * 100),
    ]
    assert [repr(one).partition("suspended on ")[2] for one in made[:4]] == [
        "event 'x'>",
        "any of the events 'x', 1, b'y'>",
        "all of the events 'x', 'y'>",
        "event ['unhashable']>",
    ]
    assert len(repr(made[4])) < 150
    event.emitone("x")
    event.emitall("x")
    assert "suspended on event 'y'>" in repr(made[2])
    for one in made:
        one.close()
        assert "suspended" not in repr(one)


def test_report_of_an_event_without_a_repr():
    """A value whose repr fails does not spoil the message of a deadlock."""

    class Broken:
        def __repr__(self):
            raise Trouble

    with pytest.raises(errors.Deadlock, match=r"main  [\d.]+ m?s  event <Broken instance at"):
        event.await_(Broken())


@pytest.mark.parametrize("count", [1, 2, 3])
@waits
def test_waiters_are_collected_with_their_thread(wait, count):
    """EVT-13: no one can emit these events any more when the thread has ended; waiters end, and run `finally`."""
    log, watched = [], []

    def body(events):
        events = [*events]
        try:
            wait(*[events.pop() for _ in range(1 if wait is event.await_ else count)])
        finally:
            log.append("finally")

    def in_a_thread():
        things = [Referent() for _ in range(count)]
        watched.extend(map(ref, things))
        watched.append(ref(start(body, things)))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert all(map(is_collected, watched))
    assert log == ["finally"]


@pytest.mark.parametrize("then", [yield_, system.suspend, lambda: None], ids=["yields", "suspends", "ends"])
@waits
def test_values_are_collected_without_a_waiter(wait, then):
    """EVT-13: a coroutine that has waited for a value does not keep it, nor does anything else."""
    log = []

    def body(holder):
        wait(holder[0], *([holder[1]] if wait is not event.await_ else []))
        log.append("woken")
        then()

    things = [Referent(), Referent()]
    watched = [*map(ref, things)]
    waiting = start(body, things)
    for thing in things:
        event.emitall(thing, "value")
    del thing, things[:]
    assert log == ["woken"]
    assert all(map(is_collected, watched))
    waiting.close()


def test_a_forgotten_waiter_goes_on():
    """EVT-13: a waiter and its event are kept as long as the event may be emitted, though no other one knows them."""
    log = []
    thing = Referent()
    watched = ref(thing)
    recorder(log, event.await_, thing)
    del thing
    gc.collect()
    assert watched() is not None
    assert event.emitall(watched()) is True
    assert len(log) == 1
    log.clear()
    assert is_collected(watched)


def test_waiter_that_is_the_event():
    """A coroutine may wait for itself, and is collected afterwards."""
    log = []

    def body():
        log.append(event.await_(running()) is running())

    waiting = start(body)
    watched = ref(waiting)
    assert event.emitall(waiting) is True
    del waiting
    assert log == [True]
    assert is_collected(watched)


def test_exhausted_waits_in_the_end_of_a_coroutine():
    """A coroutine that is closed may wait in its `finally` block, and be resumed from there."""
    log = []

    def body():
        try:
            event.await_("x")
        finally:
            log.append(event.await_("y"))

    waiting = start(body)
    assert waiting.close() is False
    assert (event.pending("x"), event.pending("y")) == (False, True)
    assert event.emitall("y") is True
    assert (log, waiting.status) == (["y"], "dead")


# -- without libuv


WITHOUT_LIBUV = """
    import sys
    sys.modules["coutil._libuv"] = None  # it cannot be loaded
    from coutil import coroutine, errors, event, mutex, promise, queued

    log = []
    def body():
        mutex.lock("m")
        log.append(event.awaitany("x", "y"))
        log.append(queued.await_("q"))
        log.append(mutex.unlock("m"))
        fulfill("result")

    result, fulfill = promise.create()
    queued.emitall("q", 1)
    coroutine.create(body).resume()
    other = coroutine.create(lambda: (mutex.lock("m"), log.append(result())))
    other.resume()
    event.emitall("y", 2)
    print(log, result(), other.status)
    mutex.lock("n")
    for wait in (lambda: event.await_("e"), lambda: queued.awaitall("e"), lambda: mutex.lock("m"), promise.create()[0]):
        try:
            wait()
        except errors.Deadlock as error:
            print(error)
    print(event.pending("e"))
    names = ("coutil._libuv.", "coutil._kernel.hub", "coutil.system")
    print([name for name in sys.modules if name.startswith(names)])
    print("_cffi_backend" in sys.modules)
"""


def test_without_libuv():
    """Events, queues, mutexes and promises need neither libuv nor the hub; the main program deadlocks at once."""
    first, *deadlocks, pending, loaded, cffi = output_of(WITHOUT_LIBUV)
    assert first == "[('y', 2), ('q', 1), True, 'result'] result dead"
    assert deadlocks == ["nothing can wake the caller: no event loop is in use"] * 4
    assert (pending, loaded, cffi) == ("False", "[]", "False")


def test_exit_while_coroutines_wait():
    """A program may end while coroutines wait for events; nothing is printed, and no one is resumed."""
    done = run_script("""
        from coutil import event, mutex, promise, queued, spawn
        class Thing: pass
        things = [Thing() for _ in range(3)]
        def body(wait, *arguments):
            wait(*arguments)
            print("resumed")
        mutex.lock(things[0])
        spawn.call(body, event.await_, things[1])
        spawn.call(body, event.awaitany, *things)
        spawn.call(body, queued.awaitall, *things)
        spawn.call(body, mutex.lock, things[0])
        spawn.call(body, promise.create()[0])
        queued.emitall(Thing)
        print("end")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
