"""Scopes: children end with the block, and their errors arrive at its end."""

# ruff: noqa: PT012  # what blocks raise at their end is the matter here

from __future__ import annotations

import re
import traceback
from functools import partial

import pytest
from greenlet import GreenletExit

from coutil import coroutine, errors, event, spawn, system
from coutil.scopes import scope, timeout
from tests.helpers.children import fail, sleeper, wait_for
from tests.helpers.coroutines import Trouble

FATAL = [KeyboardInterrupt, SystemExit]


# -- the common case


def test_the_block_ends_after_its_children(clock):
    """Children run concurrently; the block is left when all of them have ended, and results are there."""
    log = []
    begun = system.time()
    with scope() as s:
        tasks = [s.spawn(sleeper, log, seconds, seconds) for seconds in (3, 1, 2)]
        log.append("body")
        assert [task.done for task in tasks] == [False] * 3
    assert log == ["body", 1, 2, 3]
    assert [task.result() for task in tasks] == [3, 1, 2]
    assert system.time() - begun == pytest.approx(3)
    assert all(task.done and task.coroutine.status == "dead" for task in tasks)


def test_children_start_at_once():
    """`spawn` runs a child up to its first wait; one that never waits has ended when `spawn` returns."""
    log = []
    with scope() as s:
        assert s.spawn(lambda: log.append("ran")).done
        waiting = s.spawn(wait_for, "e")
        assert (log, waiting.done, event.pending("e")) == (["ran"], False, True)
        event.emitall("e", 5)
        assert waiting.result() == ("e", 5)


def test_an_empty_scope_does_not_wait():
    """Without children, or if all have ended, no other one runs before the block is left."""
    log = []
    spawn.call(lambda: (system.suspend(), log.append("other")))
    with scope() as s:
        s.spawn(len, "abc")
    assert log == []
    system.run("ready")
    assert log == ["other"]


def test_arguments_name_and_context():
    """`spawn` passes positional arguments; the name is the function's unless given."""
    with scope() as s:
        assert s.spawn(divmod, 7, 3).result() == (2, 1)
        assert s.spawn(wait_for, "e").coroutine.name == "wait_for"
        assert s.spawn(wait_for, "e", name="Otto").coroutine.name == "Otto"
        assert s.spawn(partial(wait_for, "e")).coroutine.name == "partial"
        event.emitall("e")


@pytest.mark.parametrize("host", ["main", "coroutine"])
def test_any_host(host, clock):
    """The main program and coroutines can be hosts."""
    log = []

    def program():
        with scope() as s:
            s.spawn(sleeper, log, 1, "child")
        log.append("left")

    if host == "main":
        program()
    else:
        spawn.call(program)
        assert log == []
        system.run()
    assert log == ["child", "left"]
    assert clock._timers.pending() == 0


def test_a_thousand_children(clock):
    """A scope with many children, cancelled: each is told once, in the order of their start."""
    log = []

    def child(number):
        try:
            system.suspend(number + 1)
        finally:
            log.append(number)

    with scope() as s:
        for number in range(1000):
            s.spawn(child, number)
        system.suspend(10)
        assert log == list(range(10))
        s.cancel()
        assert log == list(range(1000))
    assert clock._timers.pending() == 0


def test_children_spawn_siblings(clock):
    """A child may spawn into its own scope, also while the host waits for the end."""
    log = []

    def child(depth):
        system.suspend(1)
        log.append(depth)
        if depth < 3:
            s.spawn(child, depth + 1)

    with scope() as s:
        s.spawn(child, 0)
    assert log == [0, 1, 2, 3]
    assert "left" in repr(s)


def test_scopes_nest_through_children(clock):
    """A child has a scope of its own; the outer one ends after all of them."""
    log = []

    def parent(name, offset):
        with scope() as inner:
            for number in (1, 2):
                inner.spawn(sleeper, log, number + offset, f"{name}{number}")
        log.append(name)

    with scope() as outer:
        outer.spawn(parent, "a", 0)
        outer.spawn(parent, "b", 0.5)
    assert log == ["a1", "b1", "a2", "a", "b2", "b"]
    assert outer.cancelled is False


# -- failures


@pytest.mark.parametrize("seconds", [None, 0, 1])
def test_the_first_error_cancels_the_others(seconds, clock):
    """An error in a child, at once or later, ends the siblings and the body; then it is raised, in a group of one."""
    log, error = [], ValueError("mine")
    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        other = s.spawn(sleeper, log)
        failed = s.spawn(fail, error, seconds)
        sleeper(log)
    assert caught.value.exceptions == (error,)
    assert caught.value.__context__ is None
    assert log == ["Cancelled", "Cancelled"]
    assert (repr(other), repr(failed)) == ("<Task sleeper cancelled>", "<Task fail failed>")
    assert s.cancelled is True
    assert s.expired is False
    assert clock._timers.pending() == 0


def test_an_error_of_the_body_cancels_the_children():
    """The body fails: the children are cancelled and waited for; the error is in a group, as that of a child is."""
    log = []
    error = Trouble("body")
    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        s.spawn(sleeper, log)
        raise error
    assert caught.value.exceptions == (error,)
    assert (caught.value.__context__, error.__context__) == (None, None)
    assert log == ["Cancelled"]


def test_several_errors_are_a_group(clock):
    """Errors of clean-ups join the first one in an exception group, in the order in which they came."""

    def child(number):
        try:
            system.suspend(number)
        finally:
            raise Trouble(number)

    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        for number in (2, 1, 3):
            s.spawn(child, number)
    assert [error.args for error in caught.value.exceptions] == [(1,), (2,), (3,)]
    assert re.fullmatch(r"failed in the scope at .*test_task_scope.py:\d+ \(3 sub-exceptions\)", str(caught.value))
    assert caught.value.__context__ is None


def test_body_and_child_fail():
    """The body's error is the first of the group."""

    def child():
        try:
            event.await_("never")
        finally:
            raise Trouble("child")

    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        s.spawn(child)
        raise ValueError("body")
    assert [type(error) for error in caught.value.exceptions] == [ValueError, Trouble]


def test_an_error_seen_twice_is_raised_once():
    """The body asks for the result of a failed child, and so does a sibling: the group has the error once."""
    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        failed = s.spawn(fail, Trouble("once"), 0)
        s.spawn(failed.result)
        failed.result()
    assert [error.args for error in caught.value.exceptions] == [("once",)]

    def clean_up():
        try:
            event.await_("never")
        finally:
            raise ValueError("another one")

    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        s.spawn(clean_up)
        failed = s.spawn(fail, Trouble("once"), 0)
        s.spawn(failed.result)
        with pytest.raises(errors.Cancelled):
            event.await_("never")
        failed.result()
    assert sorted(str(error) for error in caught.value.exceptions) == ["another one", "once"]


@pytest.mark.parametrize("kind", FATAL)
@pytest.mark.parametrize("seconds", [None, 1])
def test_leaving_the_program_from_a_child(kind, seconds, clock, escaped):
    """KeyboardInterrupt and SystemExit of a child end the scope like any error, and are raised as themselves."""
    log = []
    with pytest.raises(kind) as caught, scope() as s:
        s.spawn(sleeper, log)
        s.spawn(fail, kind("stop"), seconds)
        system.suspend(5)
    assert caught.value.args == ("stop",)
    assert caught.value.__cause__ is None
    assert (log, escaped) == (["Cancelled"], [])


@pytest.mark.parametrize("kind", FATAL)
def test_leaving_the_program_goes_first(kind, clock):
    """Beside other errors, the one that leaves the program is raised, with a group of the others as its cause."""

    def child(number):
        try:
            system.suspend(9)
        finally:
            raise Trouble(number)

    with pytest.raises(kind) as caught, scope() as s:
        for number in (1, 2)[: 1 if kind is SystemExit else 2]:
            s.spawn(child, number)
        s.spawn(fail, kind(), 1)
    cause = caught.value.__cause__
    assert isinstance(cause, ExceptionGroup)
    assert [error.args for error in cause.exceptions] == [(1,), (2,)][: 1 if kind is SystemExit else 2]


def test_a_child_that_exits_quietly(clock):
    """GreenletExit ends a child without failing the scope; there is no result."""
    log = []
    with scope() as s:
        gone = s.spawn(fail, GreenletExit(), 1)
        closed = s.spawn(sleeper, log)
        closed.coroutine.close()
        s.spawn(sleeper, log, 2)
    assert log == ["GreenletExit", "slept"]
    assert s.cancelled is False
    for task in (gone, closed):
        assert "cancelled" in repr(task)
        with pytest.raises(errors.TaskCancelled):
            task.result()


def test_errors_while_being_cancelled(clock):
    """What clean-ups raise is not lost, even if the scope was cancelled on purpose."""

    def child():
        try:
            system.suspend(1)
        finally:
            {}["missing"]

    with pytest.RaisesGroup(KeyError) as caught, scope() as s:
        s.spawn(child)
        s.cancel()
    assert isinstance(caught.value.exceptions[0].__context__, errors.Cancelled)
    assert s.cancelled is True
    assert clock._timers.pending() == 0


def test_context_of_an_error():
    """What a child's error was raised in the context of is kept, though the body is being cancelled."""

    def child():
        system.suspend()
        try:
            raise KeyError("first")
        except KeyError:
            raise Trouble("second")  # noqa: B904  # the implicit context is what is tested

    with pytest.RaisesGroup(Trouble) as caught, scope() as s:
        s.spawn(child)
        event.await_("never")
    (error,) = caught.value.exceptions
    assert isinstance(error.__context__, KeyError)
    assert error.__cause__ is None


def test_tracebacks_show_the_users_lines():
    """The group's traceback is that of the block, its error's the one of the child, without our frames around it."""

    def child():
        system.suspend()
        raise Trouble

    with pytest.RaisesGroup(Trouble) as caught, scope() as s:
        s.spawn(child)
    assert caught.traceback[0].name == "test_tracebacks_show_the_users_lines"
    assert [frame.name for frame in traceback.extract_tb(caught.value.exceptions[0].__traceback__)] == ["child"]


# -- use in a wrong way


def test_a_scope_is_entered_once():
    """Twice is a RuntimeError: inside itself, and afterwards."""
    with scope() as s:
        with pytest.raises(RuntimeError, match="was entered before"):
            s.__enter__()
        system.suspend()
    with pytest.raises(RuntimeError, match="was entered before"):
        s.__enter__()
    assert coroutine.running().scope is None


def test_spawn_needs_an_open_scope():
    """Before the block, after it, and by a child that has outlived it."""
    s = scope()
    with pytest.raises(RuntimeError, match="not open"):
        s.spawn(len, "")
    with s:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        s.spawn(len, "")
    with pytest.RaisesGroup(pytest.RaisesExc(TypeError, match="callable")), scope() as s:
        s.spawn(5)


def test_wrong_arguments():
    """A deadline is a number and a shield a bool."""
    with pytest.raises(TypeError, match="shield "):
        scope(shield=1)
    with pytest.raises(TypeError, match="deadline "):
        scope(deadline="1")
    with pytest.raises(ValueError, match="NaN"):
        scope(deadline=float("nan"))
    with scope(deadline=float("inf")) as s:
        assert s.deadline is None


def test_left_out_of_order():
    """RuntimeError tells it; the blocks that are left go on to work."""
    outer, inner = scope(), scope()
    outer.__enter__()
    inner.__enter__()
    outer.cancel()
    with pytest.raises(RuntimeError, match="left before a block inside it"):
        outer.__exit__(None, None, None)
    system.suspend()
    assert inner.__exit__(None, None, None) is True
    assert coroutine.running().scope is None
    system.suspend()
    with pytest.raises(RuntimeError, match="not open"):
        inner.__exit__(None, None, None)


def test_left_by_another_coroutine(go, escaped):
    """RuntimeError for the coroutine that left it; the one inside is cut, and there is no block to end that."""
    log = []

    def program():
        s.__enter__()
        s.spawn(sleeper, log)
        sleeper(log)

    s = scope()
    host = go(program)
    with pytest.raises(RuntimeError, match="by another coroutine"):
        s.__exit__(None, None, None)
    assert log == ["Cancelled", "Cancelled"]
    assert (host.status, host.scope, coroutine.running().scope) == ("dead", None, None)
    assert [(one, error.scope) for one, error in escaped] == [(host, s)]
    escaped.clear()


def test_reprs():
    """They tell the state and the number of children."""
    s = scope()
    assert repr(s) == "<Scope open children=0>"
    with s:
        task = s.spawn(wait_for, "e")
        assert repr(s) == "<Scope open children=1>"
        assert repr(task) == "<Task wait_for running>"
        assert (str(s), str(task), f"{task}") == (repr(s), repr(task), repr(task))
        s.cancel()
        assert repr(s) == "<Scope cancelled children=0>"
    with scope() as s:
        done = s.spawn(len, "")
    assert (repr(s), repr(done)) == ("<Scope left children=0>", "<Task len done>")


# -- groups


def test_one_failure_is_a_group_as_two_are():
    """The same handler does for any number of failures, at once or later, of children or the body."""

    def visit(path):
        return open(path)

    def all_of(paths, body=None):
        handled = []
        try:
            with scope() as s:
                for path in paths:
                    s.spawn(visit, path)
                if body is not None:
                    visit(body)
        except* OSError as group:
            handled += [error.filename for error in group.exceptions]
        return handled

    assert all_of(["/none"]) == ["/none"]
    assert all_of(["/none", "/never started"]) == ["/none"]
    assert all_of([], "/none") == ["/none"]


def test_nothing_is_started_in_a_scope_that_has_failed():
    """The first failure refuses all further children: spawn raises Cancelled, which only the scope handles."""
    started = []
    with pytest.RaisesGroup(Trouble) as caught, scope() as s:
        s.spawn(fail, Trouble())
        try:
            s.spawn(started.append, 1)
        except Exception:  # noqa: BLE001  # that it is none is the matter
            started.append("handled as an error")
        started.append("went on")
    assert started == []
    assert len(caught.value.exceptions) == 1


def test_spawn_from_outside_into_a_cancelled_scope(go, escaped):
    """A coroutine outside of the scope gets Cancelled, too; no block of its own takes it."""
    scopes = []

    def host():
        with scope() as s:
            scopes.append(s)
            with timeout(None, shield=True):
                event.await_("the end")

    def stranger():
        with timeout(5):
            scopes[0].spawn(len, "")

    one = go(host)
    scopes[0].cancel()
    other = spawn.call(stranger)
    assert [(who, error.scope) for who, error in escaped] == [(other, scopes[0])]
    escaped.clear()
    event.emitall("the end")
    assert one.status == "dead"


class Fatal(BaseException):
    """Neither an error nor a reason to leave the program."""


def test_other_base_exceptions_are_in_the_group():
    """A BaseExceptionGroup, then."""
    with pytest.raises(BaseExceptionGroup) as caught, scope() as s:
        s.spawn(fail, Fatal())
    assert not isinstance(caught.value, ExceptionGroup)
    assert [type(error) for error in caught.value.exceptions] == [Fatal]


def test_groups_nest():
    """A scope inside a scope: the inner group is one failure of the outer one."""
    with pytest.RaisesGroup(pytest.RaisesGroup(Trouble)), scope() as s:
        with scope() as inner:
            inner.spawn(fail, Trouble())
        s.spawn(len, "never")


def test_greenlet_exit_of_the_body_passes():
    """It ends the coroutine, quietly, as long as nothing else has failed; then that is raised."""
    with pytest.raises(GreenletExit), scope() as s:
        s.spawn(wait_for, "never")
        raise GreenletExit

    def clean_up():
        try:
            event.await_("never")
        finally:
            raise Trouble

    with pytest.RaisesGroup(Trouble), scope() as s:
        s.spawn(clean_up)
        raise GreenletExit
