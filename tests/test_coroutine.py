"""Coroutines as Lua has them: the one that resumes one gets the control back when it waits, yields or ends."""

from __future__ import annotations

import traceback
from functools import partial

import pytest
from greenlet import greenlet

from coutil import coroutine, spawn, system
from coutil.coroutine import create, isyieldable, running, wrap, yield_
from coutil.errors import DeadCoroutine, NotYieldable, RunningCoroutine

# How values travel, in both directions: none, one, several.
PASSED = [((), None), ((1,), 1), ((None,), None), (((),), ()), ((1, 2), (1, 2)), ((None, None), (None, None))]


def ends(value=None):
    return value


def echo(*first):
    """Yield what the last resume brought, for ever."""
    value = first
    while True:
        value = yield_(value)


# -- C-1: create, resume, yield_


def test_created_not_started():
    """C-1: a new coroutine has not run; the first resume brings the function's arguments."""
    seen = []
    made = create(lambda *values: seen.append(values))
    assert seen == []
    assert made.status == "suspended"
    assert made.resume(1, "two", None) is None
    assert seen == [(1, "two", None)]
    assert made.status == "dead"


@pytest.mark.parametrize(("values", "received"), PASSED)
def test_resume_brings_values(values, received):
    """C-1: no value becomes None, one itself, several a tuple."""
    got = []
    made = create(lambda: got.append(yield_()))
    made.resume()
    made.resume(*values)
    assert got == [received]
    assert made.status == "dead"


@pytest.mark.parametrize(("values", "received"), PASSED)
def test_yield_brings_values(values, received):
    """C-1: the same mapping on the way to the resumer."""
    made = create(lambda: yield_(*values))
    assert made.resume() == received
    assert made.status == "suspended"
    assert made.resume("end") == "end"


@pytest.mark.parametrize("result", [None, 0, (), (1, 2), [3], ValueError("a value like any other")])
def test_result_is_returned_as_it_is(result):
    """C-1: at its end a coroutine's result comes back untouched, also an exception that was not raised."""
    made = create(ends)
    assert made.resume(result) is result
    assert made.status == "dead"


def test_resume_and_yield_alternate():
    """C-1: each resume is answered by the next yield."""
    made = create(echo)
    assert made.resume(0) == (0,)
    assert [made.resume(n) for n in range(5)] == [0, 1, 2, 3, 4]
    assert made.resume(1, 2) == (1, 2)
    assert made.close() is True


def test_waiting_calls_yield_nothing(clock):
    """C-1: the resumer of a coroutine that waits for the system gets None."""
    seen = []
    made = create(lambda: seen.append(system.suspend(1)))
    assert made.resume() is None
    assert (seen, made.status) == ([], "suspended")
    assert system.run() is False
    assert (seen, made.status) == ([True], "dead")


def test_exception_goes_to_the_resumer():
    """C-1: what escapes is raised by resume(), with the traceback of the coroutine, and ends it."""

    def fails():
        yield_()
        raise LookupError("here")

    made = create(fails)
    made.resume()
    with pytest.raises(LookupError, match="here") as caught:
        made.resume()
    assert caught.traceback[-1].name == "fails"
    assert made.status == "dead"
    with pytest.raises(DeadCoroutine):
        made.resume()


def test_traceback_of_the_resumer():
    """Between the resumer's line and those of the coroutine there is nothing."""

    def inner(first=0):
        yield_()
        1 / first

    waiting, begun, thrown = create(inner), create(inner), create(inner)
    for made in (waiting, thrown):
        made.resume()
    calls = {
        ("inner",): waiting.resume,
        (): lambda: create(inner).resume(1, 2),
        ("inner", "yield_"): lambda: thrown.throw(LookupError),
    }
    for names, call in calls.items():
        try:
            call()
        except (ArithmeticError, LookupError, TypeError) as error:
            found = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
            assert [name for name in found[1:] if name != "<lambda>"][: len(names)] == [*names]
            assert len(names) or found[-1] == "<lambda>"
        else:
            pytest.fail("nothing was raised")
    assert begun.close()


def test_exception_of_the_second_resumer_only():
    """C-1: an exception goes to exactly one place; who resumes next is told that the coroutine has ended."""
    inner = create(lambda: {}[0])

    def outer():
        with pytest.raises(KeyError):
            inner.resume()
        return inner.status

    assert create(outer).resume() == "dead"
    with pytest.raises(DeadCoroutine, match="<lambda>"):
        inner.resume()
    assert isyieldable() is False


@pytest.mark.parametrize("bad", [None, 1, "name", [], create])
def test_create_wants_something_to_call(bad):
    """C-1: argument errors of create() and wrap() are raised at once."""
    for make in (create, wrap):
        if callable(bad):
            with pytest.raises(TypeError, match=r"name .*3"):
                make(bad, name=3)
        else:
            with pytest.raises(TypeError, match="function "):
                make(bad)


def test_name():
    """A name is given, or the function's, or made up; it stays when the coroutine has ended."""
    given, own, none = create(ends, name="worker"), create(ends), create(type("Callable", (), {"__call__": ends})())
    assert (given.name, own.name) == ("worker", "ends")
    assert none.name.startswith("coroutine-")
    for made, name in ((given, "worker"), (own, "ends")):
        assert repr(made) == f"<Coroutine {name} suspended>"
        made.resume()
        assert made.name == name
        assert repr(made) == f"<Coroutine {name} dead>"


def test_repr_tells_what_it_waits_for(clock):
    """A parked coroutine says what it waits on, a yielded one does not."""
    made = create(lambda: (yield_(), system.suspend(1), repr(running())), name="me")
    made.resume()
    assert repr(made) == "<Coroutine me suspended>"
    made.resume()
    assert repr(made) == "<Coroutine me suspended on suspend>"
    assert made.resume()[2] == "<Coroutine me running>"


def test_wrap():
    """wrap() returns a callable that resumes one coroutine, and raises as resume() does."""
    count = wrap(lambda first: (yield_(first + 1), yield_("second"))[1], name="counter")
    assert count(1) == 2
    assert count() == "second"
    assert count("last") == "last"
    with pytest.raises(DeadCoroutine, match="counter"):
        count()


# -- C-2: the resumer


def test_control_returns_to_the_latest_resumer(clock):
    """C-2: the main program, another coroutine and the loop resume one coroutine in turn; each gets it back."""
    log = []

    def wanders():
        log.append("for main")
        yield_("to main")
        log.append("for other")
        yield_("to other")
        log.append("for main again")
        system.suspend(1)
        log.append("for the loop")

    made = create(wanders)
    assert made.resume() == "to main"
    assert create(made.resume).resume() == "to other"
    assert made.resume() is None
    log.append("main goes on")
    assert system.run() is False
    assert log == ["for main", "for other", "for main again", "main goes on", "for the loop"]


def test_outcome_goes_to_the_latest_resumer():
    """C-2: the creator and earlier resumers learn nothing of the end of a coroutine."""
    made = create(lambda: yield_("yielded") + 1)
    got = []
    create(lambda: got.append(made.resume())).resume()
    create(lambda: got.append(made.resume(41))).resume()
    assert got == ["yielded", 42]
    assert made.status == "dead"


def test_chain_of_resumers():
    """C-2: a yield goes up one link of a chain, never further."""
    log = []

    def link(depth):
        if depth:
            below = create(link)
            log.append((depth, below.resume(depth - 1)))
            yield_(depth)
            log.append((depth, below.resume()))
            return depth
        yield_(0)
        return 0

    top = create(link)
    assert top.resume(3) == 3
    assert log == [(1, 0), (2, 1), (3, 2)]
    assert top.resume() == 3
    assert log[3:] == [(1, 0), (2, 1), (3, 2)]


# -- C-3: who cannot be resumed


def test_running_cannot_be_resumed():
    """C-3: neither itself, nor the coroutine that resumed it, nor the main program; all go on undisturbed."""
    main = running()
    refused = []

    def refuse(target):
        with pytest.raises(RunningCoroutine, match="not suspended") as caught:
            target.resume()
        assert isinstance(caught.value, RuntimeError)
        refused.append(target.status)

    def inner():
        for target in (running(), outer, main):
            refuse(target)
        return "inner ends"

    outer = create(lambda: create(inner).resume())
    assert outer.resume() == "inner ends"
    assert refused == ["running", "normal", "normal"]


def test_dead_cannot_be_resumed():
    """C-3: nor thrown into; the message names the coroutine."""
    made = create(ends, name="late")
    made.resume(1)
    for misuse in (made.resume, lambda: made.resume(1), lambda: made.throw(ValueError)):
        with pytest.raises(DeadCoroutine, match="<Coroutine late dead>: it has ended") as caught:
            misuse()
        assert isinstance(caught.value, RuntimeError)
    assert made.status == "dead"


# -- C-4: status


def test_status(clock):
    """C-4: suspended until it starts and whenever it waits, running, normal while it waits for one it resumed, dead."""
    log = []

    def inner():
        log.append((outer.status, running().status))
        yield_()

    def outer_body():
        log.append(outer.status)
        create(inner).resume()
        log.append(outer.status)
        system.suspend(1)

    outer = create(outer_body)
    log.append(outer.status)
    outer.resume()
    log.append(outer.status)
    system.run()
    log.append(outer.status)
    assert log == ["suspended", "running", ("normal", "running"), "running", "suspended", "dead"]


def test_caller_of_run_is_normal(go):
    """C-4: while the loop resumes others, the coroutine that called run() is normal, and so is the main program."""
    main = running()
    seen = []

    def runs():
        seen.append(system.run())
        return runner.status

    def other():
        system.suspend()
        seen.append((runner.status, main.status))
        with pytest.raises(RunningCoroutine):
            runner.resume()

    runner = create(runs)
    go(other)
    assert runner.resume() == "running"
    assert seen == [("normal", "normal"), False]


def test_waiting_main_program_is_suspended(go):
    """C-4: the main program has a coroutine, too: it is suspended while it waits, and may be resumed."""
    main = running()
    seen = []
    go(lambda: (system.suspend(), seen.append((main.status, repr(main)))))
    assert system.suspend(0.001) is True
    assert seen == [("suspended", "<Coroutine main suspended on suspend>")]
    assert (main.status, main.name) == ("running", "main")


# -- C-5: isyieldable and running


def test_isyieldable(go, escaped):
    """C-5: true in coroutines; false in the main program, in a greenlet that is not ours, and in the hub."""
    seen = []

    def fails():
        seen.append(isyieldable())
        system.suspend()
        raise LookupError

    system.set_excepthook(lambda made, error: seen.append((made.status, isyieldable())))
    go(fails)
    assert isyieldable() is False
    greenlet(lambda: seen.append(isyieldable())).switch()
    system.run()
    assert seen == [True, False, ("dead", False)]


def test_yield_outside_coroutines():
    """C-5: the main program and foreign greenlets have no one to yield to."""
    seen = []

    def try_it():
        with pytest.raises(NotYieldable, match="needs a coroutine") as caught:
            yield_(1)
        seen.append(isinstance(caught.value, RuntimeError))

    try_it()
    greenlet(try_it).switch()
    assert seen == [True, True]
    assert running().status == "running"


def test_running():
    """running() is the coroutine of the caller; the main program and foreign greenlets have one each."""
    made = create(running, name="me")
    assert made.resume() is made
    assert running() is running()
    foreign = greenlet(lambda: (running(), running()))
    first, second = foreign.switch()
    assert first is second is not running()
    assert first.name == f"greenlet-{id(foreign):x}"


def test_hub_cannot_wait(go):
    """C-5: the excepthook runs in the hub, where running(), yield_() and suspend() are refused."""
    refused = []

    def hook(made, error):
        for call in (running, yield_, system.suspend, lambda: system.suspend(1)):
            with pytest.raises(NotYieldable):
                call()
            refused.append(made.name)

    def fails():
        system.suspend()
        raise LookupError

    system.set_excepthook(hook)
    go(fails)
    assert system.run() is False
    assert refused == [f"{test_hub_cannot_wait.__name__}.<locals>.fails"] * 4


def test_excepthook_in_the_spawner():
    """For what fails before its first wait the hook runs in the one that started it, who may wait; the others go on."""
    log = []

    def hook(made, error):
        log.append((made.name, running() is main, system.suspend(0.001)))

    def fails():
        raise LookupError

    main = running()
    before = system.get_excepthook()
    system.set_excepthook(hook)
    spawn.call(fails, name="child")
    system.set_excepthook(before)
    assert log == [("child", True, True)]


# -- C-6: throw and close


@pytest.mark.parametrize("error", [ValueError, ValueError("thrown")], ids=["class", "instance"])
def test_throw(error):
    """C-6: the pending call raises; who catches it may go on and yield."""

    def catches():
        try:
            yield_("first")
        except ValueError as caught:
            return yield_(("caught", str(caught)))

    made = create(catches)
    made.resume()
    assert made.throw(error) == ("caught", "thrown" if error is not ValueError else "")
    assert made.status == "suspended"
    assert made.resume("end") == "end"


def test_throw_without_a_handler():
    """C-6: the error comes back to the thrower as it is; `finally` blocks have run."""
    log = []

    def tidies():
        try:
            yield_()
        finally:
            log.append("tidy")

    made, error = create(tidies), KeyError("mine")
    made.resume()
    with pytest.raises(KeyError) as caught:
        made.throw(error)
    assert caught.value is error
    assert log == ["tidy"]
    assert made.status == "dead"


def test_throw_cancels_the_wait(clock, hub):
    """C-6: like an explicit resume, it takes the coroutine out of its wait for good."""
    log = []

    def waits():
        for _ in range(2):
            try:
                log.append(system.suspend(5))
            except LookupError:
                log.append("thrown")
        yield_()

    made = create(waits)
    made.resume()
    assert made.throw(LookupError) is None
    assert hub.in_flight() == 1  # the second wait
    assert system.run() is False
    assert log == ["thrown", True]
    assert made.status == "suspended"


@pytest.mark.parametrize("bad", [None, 3, "error", object, int, (ValueError,)])
def test_throw_wants_an_exception(bad):
    """C-6: anything else is a TypeError for the caller and nothing for the coroutine."""
    made = create(echo)
    made.resume()
    with pytest.raises(TypeError, match="error "):
        made.throw(bad)
    assert made.status == "suspended"
    assert made.resume("still here") == "still here"
    assert made.close()


def test_close():
    """C-6: GreenletExit is raised in it, `finally` blocks run, nothing reaches the closer; closing twice is fine."""
    log = []

    def tidies():
        try:
            yield_()
        except BaseException as exit_:
            log.append(type(exit_).__name__)
            raise

    made = create(tidies)
    made.resume()
    assert made.close() is True
    assert log == ["GreenletExit"]
    assert made.status == "dead"
    assert made.close() is True


def test_close_of_one_whose_clean_up_waits(clock):
    """C-6: close() is False then, and the coroutine ends later."""
    log = []

    def slow():
        try:
            yield_()
        finally:
            system.suspend(1)
            log.append("tidy")

    made = create(slow)
    made.resume()
    assert made.close() is False
    assert made.status == "suspended"
    assert system.run() is False
    assert (log, made.status) == (["tidy"], "dead")


def test_close_of_one_that_fails():
    """C-6: what else escapes while it is closed reaches the closer."""

    def fails():
        try:
            yield_()
        finally:
            raise OSError("clean-up failed")

    made = create(fails)
    made.resume()
    with pytest.raises(OSError, match="clean-up failed"):
        made.close()
    assert made.status == "dead"
    assert made.close() is True


# -- C-7: resume returns at once


@pytest.mark.parametrize("wait", [system.suspend, partial(system.suspend, 1000), yield_])
def test_resume_of_one_that_waits_returns_at_once(hub, wait):
    """C-7: the resumer goes on as soon as the coroutine waits, before the loop has run at all."""
    log = []

    def waits():
        log.append("before")
        wait()
        log.append("after")

    made = create(waits)
    turns = hub._turns
    made.resume()
    assert log == ["before"]
    made.resume()
    assert log == ["before", "after"]
    assert hub._turns == turns
    assert system.run() is False


# -- greenlets that are not ours


def test_foreign_greenlet_may_wait(clock):
    """A raw greenlet drives the loop while it waits, as the main program does, and ends where greenlet says."""
    log = []

    def foreign():
        log.append(system.suspend(2))
        log.append(clock.time)
        return "to its parent"

    begin = clock.time
    assert greenlet(foreign).switch() == "to its parent"
    assert log == [True, begin + 2_000_000_000]
    assert isyieldable() is False


def test_foreign_greenlet_resumed_by_a_coroutine(clock, go):
    """Its coroutine object is like any other: an explicit resume ends the wait and brings the values."""
    log = []

    def foreign():
        handles.append(running())
        log.append(system.suspend(1000))
        log.append(system.suspend())

    handles = []
    go(lambda: (system.suspend(1), log.append(handles[0].status), handles[0].resume("a", "b")))
    greenlet(foreign).switch()
    assert log == ["suspended", ("a", "b"), True]
    assert (handles[0].status, handles[0].close()) == ("dead", True)
    assert system.run() is False


def test_two_foreign_greenlets_wait_at_once(clock, go):
    """Each drives the loop in its turn, is woken by its own timer, and ends at its own parent."""
    log = []

    def foreign(name, seconds):
        log.append(f"{name} waits")
        system.suspend(seconds)
        return f"{name} ends"

    go(lambda: (system.suspend(), log.append(greenlet(foreign).switch("second", 1))))
    assert greenlet(foreign).switch("first", 3) == "first ends"
    assert log == ["first waits", "second waits", "second ends"]
    assert system.run() is False


@pytest.mark.parametrize("fails", [False, True])
def test_foreign_greenlet_outlives_its_coroutine(go, fails):
    """One that was made in a coroutine that has ended goes on to the main program, and disturbs none."""

    def foreign():
        if fails:
            raise LookupError
        return "to main"

    made = []
    go(lambda: made.append(greenlet(foreign)))
    if fails:
        with pytest.raises(LookupError):
            made.pop().switch()
    else:
        assert made.pop().switch() == "to main"
    assert [create(ends).resume(n) for n in range(3)] == [0, 1, 2]
    assert isyieldable() is False


# -- the main program


def test_main_resumed_while_it_waits(clock, go):
    """A coroutine may resume the main program explicitly: its wait returns the values, and is over."""
    main, log = running(), []

    def resumes():
        system.suspend(1)
        log.append(main.resume("hello"))
        log.append("goes on")

    made = go(resumes)
    assert system.suspend(1000) == "hello"
    assert (log, made.status) == ([], "normal")
    begin = clock.time
    assert system.suspend(5) is True
    assert (log, made.status) == ([None, "goes on"], "dead")
    assert clock.time == begin + 5_000_000_000


def test_main_thrown_into_while_it_waits(clock, go):
    """throw() into the waiting main program raises there; the thrower goes on when that waits again."""
    main, log = running(), []
    go(lambda: (system.suspend(1), log.append(main.throw(LookupError("from below")))))
    with pytest.raises(LookupError, match="from below"):
        system.suspend(1000)
    assert log == []
    assert system.suspend() is True
    assert log == [None]
    assert system.run() is False


def test_run_after_main_was_resumed(clock, go):
    """run() lets the coroutine that has resumed the main program go on first: that one waits for us to wait."""
    main, log = running(), []
    made = go(lambda: (system.suspend(1), main.resume("hello"), log.append("goes on"), system.suspend(1)))
    assert system.suspend(1000) == "hello"
    assert (log, made.status) == ([], "normal")
    assert system.run() is False
    assert (log, made.status) == (["goes on"], "dead")


def test_interrupt_after_main_was_resumed(clock, go):
    """What belongs to the main program reaches it also when its wait is a second one, below the coroutine."""
    main, log = running(), []

    def resumes():
        system.suspend(1)
        main.resume()
        log.append("goes on")
        raise KeyboardInterrupt

    go(resumes)
    assert system.suspend(1000) is None
    with pytest.raises(KeyboardInterrupt):
        system.suspend(1000)
    assert log == ["goes on"]
    assert system.run() is False


def test_public_functions_are_those_of_lua():
    """create, running, yield_, isyieldable and wrap; resume, throw, close, status and name are the coroutine's."""
    made = coroutine.create(coroutine.running)
    assert isinstance(made, coroutine.Coroutine)
    assert all(hasattr(made, name) for name in ("resume", "throw", "close", "status", "name"))
    assert made.resume() is made
