"""promise: results that will exist some day. Cases PRM-1 to PRM-9."""

from __future__ import annotations

from weakref import ref

import pytest

from coutil import errors, event, promise, spawn, system
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.values import PROBES, cancel, each_probe, each_way_out, is_collected, recorder

shapes = pytest.mark.parametrize(
    ("values", "result"),
    [((), None), ((None,), None), (("x",), "x"), (((),), ()), (([1, 2],), [1, 2]), (("x", None), ("x", None))],
    ids=repr,
)


@pytest.mark.parametrize("fulfilled", [False, True])
def test_promises_are_collected(fulfilled):
    """PRM-1: pending or fulfilled, and with its results, when no one knows it any more."""
    made, fulfill = promise.create()
    value = Referent()
    watched = [ref(made), ref(value)]
    if fulfilled:
        fulfill(value)
        assert made() is value
    assert made(True) is fulfilled
    del made, value, fulfill
    assert watched[0]() is watched[1]() is None  # at once: there is no cycle


def test_promise_is_collected_after_waits():
    """PRM-1: those who have waited do not keep it."""
    made, fulfill = promise.create()
    log = []
    for _ in range(2):
        recorder(log, made)
    recorder(log, promise.awaitall, made)
    fulfill(1)
    assert log == [1, 1, True]
    watched = ref(made)
    del made, fulfill
    assert is_collected(watched)


@shapes
def test_results(values, result):
    """PRM-2: no result becomes None, one itself, several a tuple, for those who waited and those who come later."""
    made, fulfill = promise.create()
    log = []
    recorder(log, made)
    assert made(True) is False
    assert fulfill(*values) is True
    assert made(True) is True
    assert log == [result]
    assert made() == result
    recorder(log, made)
    assert log == [result, result]


@each_probe
def test_result_of_any_kind(probe):
    """PRM-3: results are kept as they are, also false ones."""
    made, fulfill = promise.create()
    assert fulfill(probe, probe, probe) is True
    assert [one is probe for one in made()] == [True, True, True]
    assert made(True) is True
    single, fulfill = promise.create()
    fulfill(probe)
    assert single() is probe


def test_results_are_replaced():
    """PRM-4 (T-44): only the first fulfillment counts, but the newest results are seen."""
    made, fulfill = promise.create()
    log = []
    recorder(log, made)
    assert [fulfill(1), fulfill(2, 3), fulfill()] == [True, False, False]
    assert log == [1]
    assert made() is None
    assert made(True) is True
    assert fulfill("newest") is False
    assert made() == "newest"


def test_fulfill_resumes_who_waits():
    """PRM-5: the waiter has run when fulfill returns, and found the promise fulfilled."""
    made, fulfill = promise.create()
    log = []

    def body():
        log.append(made(True))
        log.append(made())
        log.append(made(True))

    start(body)
    assert log == [False]
    assert "pending" in repr(made)
    assert fulfill("result") is True
    assert log == [False, "result", True]
    assert "fulfilled" in repr(made)


@shapes
def test_fake_fulfillment(values, result):
    """PRM-6 (T-44): an emission of the promise ends the waits with its arguments, and fulfills nothing."""
    made, fulfill = promise.create()
    log = []

    def body():
        for _ in range(2):
            log.append(made())
            log.append(made(True))
        log.append(made())

    start(body)
    for _ in range(2):
        assert event.emitall(made, *values) is True
    assert log == [result, False, result, False]
    assert fulfill("real") is True
    assert log[4:] == ["real"]


@shapes
def test_explicit_resume(values, result):
    """PRM-7: it ends the wait with its values; the promise stays pending."""
    made, fulfill = promise.create()
    log = []
    recorder(log, made).resume(*values)
    assert log == [result]
    assert made(True) is False
    assert event.pending(made) is False
    assert fulfill() is True


def test_promise_as_an_event():
    """PRM-8: the waiter for the promise as an event gets it with the results."""
    made, fulfill = promise.create()
    log = []
    recorder(log, event.await_, made)
    recorder(log, event.awaitany, "x", made)
    fulfill(1, None)
    assert log == [(made, 1, None), (made, 1, None)]
    assert event.pending("x") is False


def test_event_after_the_fulfillment():
    """PRM-9: a fulfilled promise is emitted no more, except by another one."""
    made, fulfill = promise.create()
    fulfill(1)
    log = []
    recorder(log, event.await_, made)
    assert log == []
    assert fulfill(2) is False
    assert log == []
    assert event.emitall(made) is True
    assert log == [made]


@each_way_out
@pytest.mark.parametrize("wait", [promise.Promise.__call__, promise.awaitall, promise.awaitany])
def test_cancelled_wait_leaves_no_trace(wait, how):
    """Resumed, thrown at, or closed: there is no waiter left, and the promise can be fulfilled and collected."""
    made, fulfill = promise.create()
    log = []

    def body(made):
        try:
            log.append(wait(made))
        except Trouble:
            log.append("given")

    waiting = start(body, made)
    cancel(waiting, how)
    assert log == ([] if how == "close" else ["given"])
    assert event.pending(made) is False
    assert fulfill("late") is True
    assert len(log) == (how != "close")
    watched = ref(made)
    del made, fulfill
    assert is_collected(watched)


def test_main_program_waits(clock):
    """It gets the results when they are there; nothing can bring them: Deadlock, which shows the promise."""
    made, fulfill = promise.create()

    def body():
        system.suspend(1)
        fulfill("result")

    spawn.call(body)
    assert made() == "result"
    assert made() == "result"
    assert system.run() is False
    other, _ = promise.create()
    for wait in (other, lambda: promise.awaitall(other, made), lambda: promise.awaitany(other)):
        with pytest.raises(errors.Deadlock, match=r"<Promise at tests/test_promise.py:\d+ pending>"):
            wait()
    assert event.pending(other) is False


def test_hub_may_ask_but_not_wait(hub):
    """Results that are there can be had anywhere."""
    ready, fulfill = promise.create()
    fulfill(1)
    log = []

    def in_the_hub():
        log.append(ready())
        with pytest.raises(errors.NotYieldable):
            promise.create()[0]()

    hub.call_threadsafe(in_the_hub)
    system.run("step")
    assert log == [1]


def test_exception_of_a_waiter(escaped):
    """What escapes from one waiter goes to the excepthook, the others get the result (T-10)."""
    made, fulfill = promise.create()
    log = []

    def body():
        raise Trouble(made())

    start(body)
    recorder(log, made)
    assert fulfill(5) is True
    assert log == [5]
    assert [error.args for _, error in escaped] == [(5,)]
    escaped.clear()


def test_interrupt_of_a_waiter():
    """KeyboardInterrupt reaches the one that fulfills, after everybody got the result: it will not be emitted again."""
    made, fulfill = promise.create()
    log = []

    def body():
        made()
        raise KeyboardInterrupt

    start(body)
    recorder(log, made)
    with pytest.raises(KeyboardInterrupt):
        fulfill(5)
    assert log == [5]
    assert made(True) is True


def test_thousands_of_promises_in_a_chain():
    """T-59: each result fulfills the next promise."""
    links = [promise.create() for _ in range(2001)]

    def body(number):
        links[number + 1][1](links[number][0]() + 1)

    for number in range(2000):
        start(body, number)
    assert links[0][1](0) is True
    assert links[2000][0]() == 2000


# -- several promises


def several(*fulfilled):
    """Return five promises and their functions; those with these numbers are fulfilled by their number."""
    made = [promise.create() for _ in range(5)]
    for number in fulfilled:
        made[number][1](number)
    return [one for one, _ in made], [function for _, function in made]


def test_awaitall():
    """It waits for those that are pending, each once, and returns True."""
    promises, fulfill = several(1, 3)
    log = []
    recorder(log, promise.awaitall, *promises, None, promises[0])
    for number in (4, 0):
        fulfill[number](number)
        assert log == []
    fulfill[2](2)
    assert log == [True]
    assert promise.awaitall(*promises) is True
    assert promise.awaitall() is promise.awaitall(None) is True


def test_awaitany():
    """It returns the first promise that is fulfilled already, else the one that is fulfilled first; no results."""
    promises, fulfill = several()
    log = []
    recorder(log, promise.awaitany, *promises, None)
    fulfill[2]("a", "b")
    assert log == [promises[2]]
    assert not any(map(event.pending, promises))
    fulfill[1]()
    assert promise.awaitany(*promises) is promises[1]
    assert promise.awaitany(None, promises[0], promises[2]) is promises[2]


@pytest.mark.parametrize("given", [(), (None,), (None, None)])
def test_awaitany_of_nothing(given):
    """There must be a promise to wait for."""
    with pytest.raises(ValueError, match="at least one promise"):
        promise.awaitany(*given)
    with pytest.raises(ValueError, match="at least one promise"):
        start(promise.awaitany, *given)


def test_explicit_resume_of_awaitany():
    """Values that look like an emission's are just values."""
    promises, _ = several()
    log = []
    recorder(log, promise.awaitany, *promises).resume(promises[0], "value")
    recorder(log, promise.awaitall, *promises).resume(False)
    assert log == [(promises[0], "value"), False]
    assert not any(map(event.pending, promises))


def test_onlypending_and_pickready():
    """They sort promises out, in order, without waiting."""
    promises, _ = several(1, 3)
    assert promise.onlypending(*promises, None) == (promises[0], promises[2], promises[4])
    assert promise.pickready(None, *promises) is promises[1]
    assert promise.pickready(promises[0]) is promise.pickready() is None
    assert promise.onlypending(promises[1]) == promise.onlypending() == ()


@pytest.mark.parametrize("call", [promise.awaitall, promise.awaitany, promise.onlypending, promise.pickready])
def test_something_else_than_promises(call):
    """TypeError, before anything is waited for."""
    made, _ = promise.create()
    for wrong in ("x", 0, lambda: None, promise.create(), *PROBES[:2]):
        with pytest.raises(TypeError, match="a promise "):
            call(made, wrong)
    assert event.pending(made) is False
