"""spawn.call, catch and trap: a function in a new coroutine, run up to its first wait."""

from __future__ import annotations

import gc
import sys
import traceback
from functools import partial
from weakref import ref

import pytest
from greenlet import getcurrent

from coutil import coroutine, spawn, system
from coutil.coroutine import create, isyieldable, running, yield_
from coutil.scopes import scope
from tests.helpers.coroutines import Referent, Trouble

# Values of all sorts, as arguments and results.
PROBES = [False, True, 1, 0, -1, 0.0123, "", "3.12", "\0", {}, sys, lambda: None, print, getcurrent(), sys.stdout]


def fail(*values):
    raise Trouble(*values)


def same(found, expected):
    """Return whether the values are identical, one by one."""
    return len(found) == len(expected) and all(one is other for one, other in zip(found, expected, strict=True))


def places(error):
    """Return the functions of a traceback, from the outermost to the innermost."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# -- call


class Method:
    """A function that is bound."""

    def call(self, first):
        """Take one argument."""


@pytest.mark.parametrize(
    "function",
    [lambda first: None, Method().call, partial(lambda first, second: None, 1)],
    ids=["plain", "bound", "partial"],
)
@pytest.mark.parametrize("arguments", [(), (1, 2)])
def test_arguments_that_do_not_fit(function, arguments, go, escaped):
    """It is the caller's mistake: raised there, with the caller's line last, no matter which one calls."""

    def caller(*_):
        spawn.call(function, *arguments)

    for call in (caller, lambda: go(caller), lambda: spawn.call(spawn.call, caller, 3)):
        error = None
        try:
            call()
        except TypeError as caught:
            error = caught
        else:
            error = escaped.pop()[1]
        assert "argument" in str(error)
        assert places(error)[-1] == "caller"
    assert escaped == []


def test_errors_that_only_look_like_it(escaped):
    """A TypeError of the function itself, or of one in C, is reported as any other."""

    def function():
        int("1", "2", "3")

    for each in (function, partial(len, 5)):
        made = spawn.call(each)
        who, error = escaped.pop()
        assert (who is made, type(error)) == (True, TypeError)


def test_traceback_of_what_fails_at_once(escaped):
    """It begins in the function, without the frames that started it."""
    spawn.call(fail)
    assert places(escaped.pop()[1]) == ["fail"]


def test_the_module_is_no_function():
    """The one that calls it is told the function."""
    with pytest.raises(TypeError, match=r"write spawn\.call\(function, \.\.\.\)") as caught:
        spawn(fail, name="x")
    assert places(caught.value)[0] == "test_the_module_is_no_function"


def test_call_runs_to_the_first_wait(clock):
    """spawn.call returns as soon as the function waits, with its coroutine."""
    log = []

    def body(*values):
        log.append(values)
        system.suspend(1)
        log.append("end")

    made = spawn.call(body, 1, "two")
    assert (log, made.status) == ([(1, "two")], "suspended")
    assert system.run() is False
    assert (log[1:], made.status) == (["end"], "dead")


@pytest.mark.parametrize("kind", ["function", "method", "partial", "generator", "object"])
def test_async_functions(kind):
    """They are refused before they are called, by all that start a function; who handles errors gets the reason."""

    class Holder:
        async def method(self):
            raise AssertionError("it was run")

        async def __call__(self):
            raise AssertionError("it was run")

    async def generator():
        yield

    method = Holder().method
    kinds = {"function": Holder.method, "method": method, "partial": partial(method), "generator": generator}
    wrong = kinds.get(kind, Holder())
    log = []
    with pytest.raises(TypeError, match="is async; coutil runs plain functions"):
        spawn.call(wrong)
    with scope() as children, pytest.raises(TypeError, match="is async"):
        children.spawn(wrong)
    for make in (coroutine.create, coroutine.wrap):
        with pytest.raises(TypeError, match="is async"):
            make(wrong)
    spawn.catch(log.append, wrong)
    spawn.trap(lambda good, error: log.append(error), wrong)
    assert [type(error) for error in log] == [TypeError, TypeError]
    assert spawn.call(partial(log.clear)).status == spawn.call(print).status == "dead"
    assert log == []


class Answers:
    """Has every attribute that anybody asks for, and can be called."""

    def __getattr__(self, name):
        return Answers()

    def __call__(self):
        return "called"


def test_what_only_looks_async():
    """What a function is, its attributes do not tell: only what it was made by, or its class."""

    async def other():
        raise AssertionError("it was run")

    def decorated():
        return "called"

    decorated.func = other
    for fine in (decorated, Answers(), partial(decorated)):
        assert coroutine.create(fine, name="fine").resume() == "called"
        assert spawn.call(fine, name="fine").status == "dead"


@pytest.mark.parametrize("bad", [5, b"x", [], True])
def test_name_is_a_string(bad):
    """Names are checked before anything is started, by all that take one."""
    with pytest.raises(TypeError, match="name "):
        spawn.call(print, name=bad)
    with scope() as children, pytest.raises(TypeError, match="name "):
        children.spawn(print, name=bad)


def test_call_of_one_that_ends_at_once():
    """The coroutine is dead then; a result has no one to go to."""
    made = spawn.call(lambda: "result")
    assert made.status == "dead"
    assert repr(made).endswith("<lambda> dead>")
    assert system.run() is False


def test_call_names_the_coroutine():
    """The name is the function's unless another one is given; it is not an argument."""
    names = []
    spawn.call(lambda: names.append(running().name), name="worker 7")
    made = spawn.call(isyieldable)
    assert names == ["worker 7"]
    assert made.name == "isyieldable"


@pytest.mark.parametrize("bad", [None, 1, "print", []])
def test_call_wants_something_to_call(bad):
    """Anything else is a TypeError for the caller, and no coroutine is made."""
    with pytest.raises(TypeError, match="function "):
        spawn.call(bad)
    with pytest.raises(TypeError, match="function "):
        spawn.call(bad, 1, name="x")
    assert system.run() is False


def test_call_reports_what_escapes_at_once(escaped):
    """An exception of the first run goes to the excepthook, not to the caller."""
    made = spawn.call(fail, "at once")
    assert made.status == "dead"
    assert [(who, str(error)) for who, error in escaped] == [(made, "at once")]
    escaped.clear()


def test_call_reports_what_escapes_later(escaped, clock):
    """So does one that comes after the loop has resumed the coroutine."""
    made = spawn.call(lambda: (system.suspend(1), fail("later")))
    assert escaped == []
    assert system.run() is False
    assert [(who, str(error)) for who, error in escaped] == [(made, "later")]
    escaped.clear()


def test_call_leaves_explicit_resumers_their_errors(escaped):
    """What escapes after an explicit resume is raised in the resumer alone."""
    made = spawn.call(lambda: (yield_(), fail("for the resumer")))
    with pytest.raises(Trouble, match="for the resumer"):
        made.resume()
    assert made.status == "dead"
    assert escaped == []


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_call_lets_the_program_be_left(leave):
    """KeyboardInterrupt and SystemExit are not reported: they reach the caller, and so the main program."""

    def body():
        raise leave

    with pytest.raises(leave):
        spawn.call(body)
    with pytest.raises(leave):
        spawn.call(lambda: spawn.call(body))
    assert isyieldable() is False


# -- SPW-1: what cannot be called


@pytest.mark.parametrize("start", [spawn.catch, spawn.trap])
@pytest.mark.parametrize("arguments", [(), (None,), (None, None)])
def test_nothing_to_call(start, arguments, escaped):
    """SPW-1: catch and trap return a dead coroutine and raise nothing; the excepthook gets the failure."""
    made = start(*arguments)
    assert made.status == "dead"
    assert [(who, type(error)) for who, error in escaped] == [(made, TypeError)]
    escaped.clear()


@pytest.mark.parametrize(("start", "outcome"), [(spawn.catch, ()), (spawn.trap, (False,))])
def test_handler_is_called_for_what_cannot_be_called(start, outcome):
    """SPW-1: a function that is none counts as one that raised TypeError."""
    got = []
    made = start(lambda *values: got.append(values), None, 1, 2)
    assert made.status == "dead"
    assert len(got) == 1
    assert got[0][:-1] == outcome
    assert isinstance(got[0][-1], TypeError)


def test_handler_that_cannot_be_called(escaped):
    """SPW-1: the function runs normally; catch never needs its handler, trap fails when it does."""
    got = []
    spawn.catch(None, got.append, "caught")
    assert (got, escaped) == (["caught"], [])
    made = spawn.trap(None, got.append, "trapped")
    assert got == ["caught", "trapped"]
    assert [(who, type(error)) for who, error in escaped] == [(made, TypeError)]
    escaped.clear()


# -- SPW-2: where they run


def test_coroutines_of_function_and_handler():
    """SPW-2: the function runs in a new coroutine, which is returned; the handler in the same one."""
    seen = []

    def body():
        seen.append(running())
        fail()

    here = running()
    caught = spawn.catch(lambda error: seen.append(running()), body)
    trapped = spawn.trap(lambda done, error: seen.append(running()), body)
    ended = spawn.trap(lambda done, who: seen.append((who, running())), running)
    assert seen == [caught, caught, trapped, trapped, (ended, ended)]
    assert here not in (caught, trapped, ended)
    assert caught.name.endswith("body")


def test_handler_runs_in_the_except_block():
    """SPW-2: the exception is being handled, with its traceback."""
    seen = []

    def handler(*outcome):
        seen.append(sys.exc_info()[1] is outcome[-1])
        seen.append(outcome[-1].__traceback__.tb_next.tb_frame.f_code.co_name)

    spawn.catch(handler, fail)
    spawn.trap(handler, fail)
    assert seen == [True, "fail", True, "fail"]
    assert sys.exc_info() == (None, None, None)


def test_handler_may_wait(clock):
    """SPW-2: it is ordinary code of the coroutine."""
    log = []
    made = spawn.catch(lambda error: log.append(system.suspend(1)), fail)
    assert (log, made.status) == ([], "suspended")
    assert system.run() is False
    assert (log, made.status) == ([True], "dead")


# -- SPW-3: collection


@pytest.mark.parametrize("start", [spawn.call, lambda *a: spawn.catch(None, *a), lambda *a: spawn.trap(bool, *a)])
def test_collectable(start):
    """SPW-3: coroutines that ended, and suspended ones without references, are released with their values."""
    watched = []

    def ends(thing):
        watched.extend([ref(thing), ref(running())])

    def waits(thing):
        ends(thing)
        yield_()

    gc.disable()
    try:
        start(ends, Referent())
        start(waits, Referent())
        assert [one() for one in watched] == [None] * 4
    finally:
        gc.enable()


# -- SPW-4, SPW-5: values


@pytest.mark.parametrize("count", [0, 1, len(PROBES)])
def test_arguments_pass_through(count):
    """SPW-4: whatever they are, and however many."""
    got = []
    for start in (spawn.call, lambda *a: spawn.catch(None, *a), lambda *a: spawn.trap(lambda *_: None, *a)):
        start(lambda *values: got.append(values), *PROBES[:count])
    assert len(got) == 3
    assert all(same(values, PROBES[:count]) for values in got)


@pytest.mark.parametrize("error", [Trouble(), Trouble("text"), Trouble(1, 2), OSError(2, "two"), StopIteration(3)])
def test_handler_gets_the_exception(error):
    """SPW-5: one argument for the handler of catch, two for that of trap."""

    def body():
        raise error

    got = []
    spawn.catch(lambda *values: got.append(values), body)
    spawn.trap(lambda *values: got.append(values), body)
    assert len(got) == 2
    assert same(got[0], (error,))
    assert same(got[1], (False, error))


def test_trap_hands_over_the_results():
    """SPW-5: None is no argument, a tuple several, anything else one."""
    got = []

    def handler(*values):
        got.append(values)

    for result in (None, (), (1, None), *PROBES):
        spawn.trap(handler, lambda value=result: value)
    assert got[:3] == [(True,), (True,), (True, 1, None)]
    assert len(got) == 3 + len(PROBES)
    assert all(same(values, (True, probe)) for values, probe in zip(got[3:], PROBES, strict=True))


def test_catch_returns_nothing_to_handle():
    """SPW-5: without an error the handler of catch is not called."""
    got = []
    made = spawn.catch(got.append, lambda: "result")
    assert (got, made.status) == ([], "dead")
    assert spawn.catch(got.append, lambda: Trouble("returned")).status == "dead"
    assert got == []


# -- SPW-6, SPW-7, SPW-8: later, and handlers that fail


@pytest.mark.parametrize(("start", "outcome"), [(spawn.catch, ()), (spawn.trap, (False,))])
def test_errors_after_a_yield(start, outcome):
    """SPW-6: they are caught when another one resumes; that resume succeeds and returns the handler's result."""
    got = []
    made = start(lambda *values: (got.append(values), "handled")[1], lambda: (yield_(), fail("later")))
    assert (got, made.status) == ([], "suspended")
    assert made.resume() == "handled"
    assert made.status == "dead"
    assert got[0][:-1] == outcome
    assert isinstance(got[0][-1], Trouble)


def test_handler_of_catch_that_fails(escaped):
    """SPW-7: the resumer gets nothing of it, the excepthook does; both errors are there."""
    made = spawn.catch(lambda error: fail("in the handler"), lambda: (yield_(), {}[0]))
    assert made.resume() is None
    assert made.status == "dead"
    assert [(who, str(error), type(error.__context__)) for who, error in escaped] == [
        (made, "in the handler", KeyError)
    ]
    escaped.clear()


def test_handler_of_trap_that_fails(escaped):
    """SPW-8: on the error path the excepthook gets it, on the success path the resumer."""

    def handler(done, *rest):
        fail(done)

    bad = spawn.trap(handler, lambda: (yield_(), {}[0]))
    assert bad.resume() is None
    assert [(who, str(error)) for who, error in escaped] == [(bad, "False")]
    escaped.clear()
    good = spawn.trap(handler, yield_)
    with pytest.raises(Trouble, match="True"):
        good.resume()
    assert (good.status, bad.status) == ("dead", "dead")


def test_handler_of_trap_that_fails_at_once(escaped):
    """SPW-8: no one resumed it yet: the caller of trap gets nothing, the excepthook does."""
    made = spawn.trap(fail, lambda: None)
    assert made.status == "dead"
    assert [(who, str(error)) for who, error in escaped] == [(made, "True")]
    escaped.clear()


@pytest.mark.parametrize("start", [spawn.catch, spawn.trap])
def test_closing_is_no_error(start):
    """Neither handler is told when the coroutine is closed, and KeyboardInterrupt passes by."""
    got = []
    made = start(lambda *values: got.append(values), yield_)
    assert made.close() is True
    made = start(lambda *values: got.append(values), yield_)
    with pytest.raises(KeyboardInterrupt):
        made.throw(KeyboardInterrupt)
    assert got == []


def test_started_from_a_coroutine():
    """SPW-2: it returns to the one that called it, also from inside another coroutine."""
    log = []

    def outer():
        spawn.call(lambda: (log.append("inner"), yield_()))
        log.append("outer")
        return log

    assert create(outer).resume() == ["inner", "outer"]
    assert isyieldable() is False
