"""The results of children."""

from __future__ import annotations

import threading

import pytest
from greenlet import GreenletExit

from coutil import errors, event, spawn, system
from coutil.scopes import move_on_after, scope, timeout
from tests.helpers.children import fail, sleeper, wait_for
from tests.helpers.coroutines import Trouble

# -- tasks


def test_result_for_several_waiters(clock):
    """Host, siblings and strangers may wait for the same result; each gets it."""
    log = []
    with scope() as s:
        task = s.spawn(sleeper, log, 1, "value")
        for _ in range(3):
            s.spawn(lambda: log.append(task.result()))
        stranger = spawn.call(lambda: log.append(task.result()))
        log.append(task.result())
    assert log == ["value"] * 6
    assert stranger.status == "dead"


def test_an_error_for_several_waiters(clock):
    """Each gets the same exception; its traceback does not grow from one to the next."""
    found, error = [], Trouble("same")

    def stranger():
        try:
            task.result()
        except Trouble as caught:
            lines, trace = 0, caught.__traceback__
            while trace is not None:
                lines, trace = lines + 1, trace.tb_next
            found.append((caught, lines))

    with pytest.RaisesGroup(Trouble), scope() as s:
        task = s.spawn(fail, error, 1)
        for _ in range(3):
            spawn.call(stranger)
    assert [caught for caught, _ in found] == [error] * 3
    assert len({lines for _, lines in found}) == 1
    stranger()
    assert found[3] == found[0]


def test_result_of_oneself():
    """A child that waits for its own result would wait for ever."""

    def child():
        system.suspend()
        with pytest.raises(RuntimeError, match="cannot wait for its own result"):
            tasks[0].result()

    with scope() as s:
        tasks = [s.spawn(child)]
    assert tasks[0].result() is None
    assert tasks[0]._unfinished is None


def test_explicit_resume_does_not_end_a_result(clock):
    """Neither `result` nor the end of a block; each wait goes on."""
    log = []

    def host():
        with scope() as s:
            task = s.spawn(sleeper, log, 1, "value")
            log.append(task.result())
            s.spawn(sleeper, log, 1, "second")
        log.append("left")

    who = spawn.call(host)
    for _ in range(3):
        who.resume("given")
    assert "result of sleeper" in repr(who)
    clock.advance(1)
    for _ in range(2):
        system.run("ready")
    assert log == ["value", "value"]
    who.resume("given")
    assert "end of 1 children" in repr(who)
    system.run()
    assert log[2:] == ["second", "left"]


def test_resumed_just_when_the_child_has_ended(clock):
    """The wake-up that is on its way then finds none, also if the waiter waits for something else by then."""
    log = []

    def waiter():
        log.append(task.result())
        log.append(event.await_("e"))

    with scope() as s:
        task = s.spawn(wait_for, "end")
        who = spawn.call(waiter)
        event.emitall("end")
        assert log == []
        who.resume("given")
        assert log == ["end"]
        system.suspend(1)
        assert log == ["end"]
        event.emitall("e")
    assert log == ["end", "e"]


def test_explicit_resume_of_a_child(clock):
    """It ends the child's wait, as everywhere."""
    with scope() as s:
        task = s.spawn(system.suspend, 100)
        task.coroutine.resume("given")
        assert task.result() == "given"
        assert clock._timers.pending() == 0
    assert s.cancelled is False


def test_the_waiter_is_cancelled_but_not_the_child(clock):
    """Who waits for a result in vain leaves no trace."""
    log = []
    with scope() as s:
        task = s.spawn(sleeper, log, 5, "value")
        with move_on_after(1) as limit:
            task.result()
        assert (limit.expired, task.done, log) == (True, False, [])
        other = spawn.call(task.result)
        other.close()
        assert task._waiters == {}
        assert task.result() == "value"


def test_results_of_cancelled_children(clock):
    """TaskCancelled, an ordinary error, whose cause tells what ended the child."""
    with scope() as s:
        task = s.spawn(system.suspend, 5)
        s.cancel()
        with pytest.raises(errors.TaskCancelled, match="was cancelled") as caught:
            task.result()
        assert isinstance(caught.value.__cause__, errors.Cancelled)
        assert caught.value.__cause__.scope is s
    assert not isinstance(caught.value, GreenletExit)


# -- cancelling one child


def test_cancel_of_one_child(clock):
    """That child alone is cut, at once; the scope and the others go on. There is no result."""
    log = []
    with scope() as s:
        one = s.spawn(sleeper, log)
        s.spawn(sleeper, log, 1, "other")
        one.cancel()
        assert log == ["Cancelled"]
        assert (repr(one), one.done, s.cancelled) == ("<Task sleeper cancelled>", True, False)
        sleeper(log, 2, "body")
    assert log == ["Cancelled", "other", "body"]
    with pytest.raises(errors.TaskCancelled, match="was cancelled") as caught:
        one.result()
    assert isinstance(caught.value.__cause__, errors.Cancelled)
    assert str(caught.value.__cause__) == "<Task sleeper running> was cancelled"
    one.cancel()
    assert clock._timers.pending() == 0


def test_who_waits_for_the_result_of_a_cancelled_child(clock):
    """They get TaskCancelled, an ordinary error: in the body of the scope it fails, unless it is handled."""
    log = []

    def waiter():
        try:
            task.result()
        except errors.TaskCancelled as error:
            log.append(error)

    with scope() as s:
        task = s.spawn(system.suspend, 9)
        spawn.call(waiter)
        s.spawn(waiter)
        task.cancel()
        system.suspend()
        assert len(log) == 2
    with pytest.RaisesGroup(errors.TaskCancelled), scope() as s:
        task = s.spawn(system.suspend, 9)
        s.spawn(task.cancel)
        task.result()


def test_cancelled_child_with_children_of_its_own(clock):
    """All that it has spawned is cut, too, before it is itself; a shield keeps that out."""
    log = []

    def child():
        try:
            with scope() as inner:
                inner.spawn(sleeper, log, 9, "inner")
                inner.spawn(shielded)
        finally:
            log.append("child")

    def shielded():
        with timeout(None, shield=True):
            sleeper(log, 1, "shielded")

    with scope() as s:
        task = s.spawn(child)
        task.cancel()
        assert (log, task.done) == (["Cancelled"], False)
    assert log == ["Cancelled", "shielded", "child"]
    assert repr(task).endswith("child cancelled>")
    assert clock._timers.pending() == 0


def test_a_cancelled_child_is_cut_again(clock):
    """By level: each wait of its clean-up raises, also in blocks of its own, and in those it enters later."""
    log = []

    def child():
        try:
            with move_on_after(5):
                sleeper(log)
        finally:
            for _ in range(2):
                with pytest.raises(errors.Cancelled), move_on_after(5):
                    sleeper(log)
            with pytest.raises(errors.Cancelled), scope():
                log.append("scope")

    with scope() as s:
        task = s.spawn(child)
        task.cancel()
        assert task.done
    assert log == ["Cancelled"] * 3 + ["scope"]
    assert clock._timers.pending() == 0


def test_a_child_that_returns_nevertheless(clock):
    """It has a result, and one that fails fails the scope."""

    def child(end):
        try:
            system.suspend(9)
        except errors.Cancelled:
            return end()

    with scope() as s:
        task = s.spawn(child, lambda: "nevertheless")
        task.cancel()
        assert task.result() == "nevertheless"
    with pytest.RaisesGroup(Trouble), scope() as s:
        s.spawn(child, lambda: fail(Trouble())).cancel()


def test_a_child_cancels_itself(clock):
    """Its next wait raises, not what it does until then."""
    log = []

    def child():
        system.suspend()
        tasks[0].cancel()
        log.append("goes on")
        sleeper(log)

    with scope() as s:
        tasks = [s.spawn(child)]
    assert log == ["goes on", "Cancelled"]
    assert repr(tasks[0]).endswith("child cancelled>")


def test_cancelled_alone_and_with_the_scope(clock):
    """Of both, the scope's cancellation is the outer one."""
    log = []

    def child():
        for _ in range(2):
            with pytest.raises(errors.Cancelled) as caught:
                event.await_("never")
            log.append(caught.value.scope)
            if len(log) == 1:
                s.cancel()

    with scope() as s:
        task = s.spawn(child)
        task.cancel()
    assert log == [task._own_scope, s]
    assert task.result() is None


def test_cancel_of_a_child_in_another_thread():
    """ForeignThread."""
    found = []

    def elsewhere():
        try:
            task.cancel()
        except errors.ForeignThread as error:
            found.append(error)

    with scope() as s:
        task = s.spawn(wait_for, "e")
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join(10)
        assert (len(found), task.done) == (1, False)
        event.emitall("e")


def test_children_of_a_scope(clock):
    """Those that have not ended, in the order of their start."""
    with scope() as s:
        assert s.children == ()
        tasks = [s.spawn(system.suspend, seconds) for seconds in (3, 1, 2)]
        assert s.children == tuple(tasks)
        system.suspend(1.5)
        assert s.children == (tasks[0], tasks[2])
        for task in s.children:
            task.cancel()
        assert len(s.children) == 0
    assert s.children == ()
