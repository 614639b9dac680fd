"""Cancelling scopes: by hand, by their deadline, from outside; and shields against it."""

# ruff: noqa: PT012  # what blocks raise at their end is the matter here

from __future__ import annotations

import threading
from functools import partial

import pytest

from coutil import coroutine, errors, event, spawn, system
from coutil.scopes import move_on_after, scope, timeout
from tests.helpers.children import sleeper, wait_for
from tests.helpers.coroutines import Trouble

# -- cancel


def test_cancel_raises_nothing(clock):
    """`cancel` ends the waits of the children and of the body, and the block ends quietly."""
    log = []
    with scope() as s:
        task = s.spawn(sleeper, log)
        s.cancel()
        assert (log, task.done) == (["Cancelled"], True)
        log.append("goes on")
        system.suspend()
        log.append("never")
    assert log == ["Cancelled", "goes on"]
    assert (s.cancelled, s.expired) == (True, False)
    s.cancel()
    assert clock._timers.pending() == 0


def test_cancel_without_a_wait():
    """Who never waits is not disturbed: the code after `cancel` runs to the end of the block."""
    log = []
    with scope() as s:
        task = s.spawn(len, "abc")
        s.cancel()
        log.append(task.result())
    log.append("after")
    assert log == [3, "after"]
    system.suspend()


def test_cancel_by_a_child(clock):
    """A child cancels its own scope: siblings and host at once, itself at its next wait."""
    log = []

    def child():
        system.suspend(1)
        s.cancel()
        log.append("still here")
        sleeper(log)

    with scope() as s:
        s.spawn(sleeper, log)
        s.spawn(child)
        sleeper(log)
    assert log == ["Cancelled", "Cancelled", "still here", "Cancelled"]
    assert s.cancelled is True


def test_cancel_from_outside(clock):
    """Any coroutine of the thread may cancel; the host leaves as soon as the children have ended."""
    log = []

    def host():
        with scope() as s:
            scopes.append(s)
            s.spawn(sleeper, log)
        log.append("left")
        sleeper(log, 1)

    scopes = []
    spawn.call(host)
    system.run("ready")
    scopes[0].cancel()
    system.run()
    assert log == ["Cancelled", "left", "slept"]


def test_cancel_before_entering():
    """Then the first wait inside raises, and no child is started."""
    log = []
    s = scope()
    s.cancel()
    with s:
        with pytest.raises(errors.Cancelled) as caught:
            s.spawn(sleeper, log)
        sleeper(log)
    assert caught.value.scope is s
    assert log == ["Cancelled"]
    assert coroutine.running().cancelled_scope is None


def test_other_threads_cannot_touch_it():
    """cancel, spawn and a waiting result() raise ForeignThread in another OS thread; the result itself is free."""
    found = []

    def elsewhere():
        for use in (s.cancel, partial(s.spawn, len, "abc"), waiting.result):
            try:
                use()
            except errors.ForeignThread as error:
                found.append(type(error))
        found.append(ended.result())

    with scope() as s:
        ended = s.spawn(len, "abc")
        waiting = s.spawn(wait_for, "e")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)
        event.emitall("e")
    assert found == [errors.ForeignThread] * 3 + [3]
    assert s.cancelled is False
    assert waiting.result() == "e"


def test_cancel_by_way_of_another_thread(hub):
    """Another thread may ask the hub to cancel."""
    with hub.external_source(), scope() as s:
        thread = threading.Thread(target=hub.call_threadsafe, args=(s.cancel,))
        thread.start()
        s.spawn(wait_for, "e")
    thread.join(10)
    assert s.cancelled is True
    assert event.pending("e") is False


def test_clean_up_that_waits_is_cut_again(clock):
    """Level-triggered: every wait raises until the block is left, also in `finally`; then none does."""
    log = []

    def child():
        try:
            sleeper(log)
        finally:
            try:
                sleeper(log)
            finally:
                with pytest.raises(errors.Cancelled):
                    coroutine.yield_()
                with pytest.raises(errors.Cancelled):
                    event.await_("never")

    with scope() as s:
        s.spawn(child)
        s.cancel()
    assert log == ["Cancelled"] * 2
    sleeper(log, 1)
    assert log[2:] == ["slept"]


def test_shielded_clean_up(clock):
    """Under a shield clean-up can wait; the cancellation goes on after it."""
    log = []

    def child():
        try:
            sleeper(log)
        finally:
            with scope(shield=True):
                sleeper(log, 1, "cleaned up")
            sleeper(log)

    with scope() as s:
        s.spawn(child)
        system.suspend(1)
        s.cancel()
    assert log == ["Cancelled", "cleaned up", "Cancelled"]
    assert clock._timers.pending() == 0


def test_shielded_clean_up_keeps_the_error(clock):
    """Leaving the shield is no wait: the error on its way is not replaced by the cancellation."""

    def child():
        try:
            raise Trouble("mine")
        finally:
            with scope(shield=True):
                system.suspend(1)

    with pytest.RaisesGroup(pytest.RaisesExc(Trouble, match="mine")), scope() as s:
        s.cancel()
        child()
    with pytest.raises(Trouble, match="mine"), move_on_after(0) as deadline:
        child()
    assert deadline.expired is True


def test_a_shield_has_its_own_cancel_and_deadline(clock):
    """A shield keeps out what comes from outside, not what is its own."""
    log = []
    with scope() as outer:
        outer.cancel()
        with scope(shield=True) as inner:
            inner.spawn(sleeper, log, 1, "child")
            sleeper(log, 2, "body")
            inner.cancel()
            sleeper(log)
        assert log == ["child", "body", "Cancelled"]
        with pytest.raises(errors.Timeout), scope(shield=True, deadline=system.time() + 1):
            sleeper(log)
        with move_on_after(1) as inside, scope(shield=True):
            system.suspend(3)
        assert inside.expired is True
    assert clock._timers.pending() == 0


def test_children_of_a_shielded_scope_are_shielded(clock):
    """So are those of scopes within; those outside are not."""
    log = []

    def child():
        with scope(shield=True) as inner:
            inner.spawn(nested)
        sleeper(log, 1, "never")

    def nested():
        with scope() as innermost:
            innermost.spawn(sleeper, log, 1, "shielded")

    with scope() as s:
        s.spawn(child)
        s.cancel()
        assert log == []
    assert log == ["shielded", "Cancelled"]


# -- deadlines of scopes


def test_scope_with_a_deadline(clock):
    """When it has passed the children are cancelled, and Timeout is raised at the end of the block."""
    log = []
    with pytest.raises(errors.Timeout) as caught, scope(deadline=system.time() + 1) as s:
        s.spawn(sleeper, log)
        sleeper(log)
    assert log == ["Cancelled", "Cancelled"]
    assert (caught.value.scope, s.expired, s.cancelled) == (s, True, True)
    assert isinstance(caught.value, TimeoutError)
    assert clock._timers.pending() == 0


def test_scope_in_time(clock):
    """A deadline that has not passed leaves no timer behind."""
    log = []
    with scope(deadline=system.time() + 2) as s:
        s.spawn(sleeper, log, 1)
        assert clock._timers.pending() == 2
    assert (log, s.expired, clock._timers.pending()) == (["slept"], False, 0)


def test_errors_go_before_the_deadline(clock):
    """If something failed, that is raised although the time is up."""

    def child():
        try:
            system.suspend(5)
        finally:
            raise Trouble

    with pytest.RaisesGroup(Trouble), scope(deadline=system.time() + 1) as s:
        s.spawn(child)
    assert s.expired is True
    assert clock._timers.pending() == 0


def test_deadlines_around_scopes_and_scopes_around_deadlines(clock):
    """A timeout around a scope is raised by it; one in a child is the child's own error."""
    log = []
    with move_on_after(1) as outer, scope() as s:
        task = s.spawn(sleeper, log)
    assert (outer.expired, s.expired, log) == (True, False, ["Cancelled"])
    with pytest.raises(errors.TaskCancelled) as caught:
        task.result()
    assert caught.value.__cause__.scope is outer

    def child():
        with timeout(1):
            system.suspend(3)

    with pytest.RaisesGroup(errors.Timeout), scope() as s:
        task = s.spawn(child, name="child")
    assert repr(task) == "<Task child failed>"
    with pytest.raises(errors.Timeout):
        task.result()


def test_a_deadline_outside_of_two_scopes(clock):
    """All within are cut by it; a child that swallows that cannot hide it, and only the deadline raises Timeout."""
    log = []

    def middle():
        with scope() as inner:
            inner.spawn(stubborn)

    def stubborn():
        with pytest.raises(errors.Cancelled):
            system.suspend(5)
        with move_on_after(1) as own:
            sleeper(log)
        log.append(own.expired)

    with pytest.raises(errors.Timeout) as caught, timeout(1) as outer, scope() as s:
        s.spawn(middle)
    assert caught.value.scope is outer
    assert log == ["Cancelled"]  # which own does not swallow
    assert outer.expired is True


def test_both_deadlines_in_one_turn(clock):
    """B36: of a scope and a timeout around it that are due together, each tells its own."""
    with pytest.raises(errors.Timeout) as caught, timeout(1) as outer, scope(deadline=system.time() + 1) as s:
        system.suspend(3)
    assert caught.value.scope is outer
    with move_on_after(2) as outer:
        with pytest.raises((errors.Timeout, errors.Cancelled)) as caught, scope(deadline=system.time() + 1) as s:
            s.spawn(system.suspend, 5)
            clock.advance(2)
        assert caught.value.scope is (s if isinstance(caught.value, errors.Timeout) else outer)
    assert clock._timers.pending() == 0
