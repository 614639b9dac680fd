"""The results of children."""

from __future__ import annotations

import pytest
from greenlet import GreenletExit

from coutil import errors, event, spawn, system
from coutil.scopes import move_on_after, scope
from tests.helpers.children import fail, sleeper, wait_for
from tests.helpers.probes import Trouble

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
    assert tasks[0].owner is None


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
    """The wake-up that is on its way then finds nobody, also if the waiter waits for something else by then."""
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
        assert clock.pending() == 0
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
