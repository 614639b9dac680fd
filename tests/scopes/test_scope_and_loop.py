"""A deadline, or a scope that is cancelled, around a coroutine that runs a loop."""

from __future__ import annotations

import time

import pytest

from coutil import errors, event, spawn, system, uv
from coutil.scopes import move_on_after, scope, timeout
from coutil.testing import manual_clock
from tests.helpers.children import sleeper


@pytest.mark.parametrize("mode", ["loop", "step"])
def test_deadline_cuts_run(mode, clock):
    """`run` raises when the time is up; what it ran goes on with the next one."""
    log = []
    spawn.call(sleeper, log, 2)
    start = system.time()
    with pytest.raises(errors.Timeout), timeout(1):
        system.run(mode)
    assert (system.time() - start, log, system.isrunning()) == (1, [], False)
    assert system.run() is False
    assert (system.time() - start, log) == (2, ["slept"])


def test_run_does_not_wait_for_a_deadline(clock):
    """Deadlines around the caller are no reason to go on: `run` returns when nothing else is left."""
    log = []
    spawn.call(sleeper, log, 1)
    start = system.time()
    with timeout(50), move_on_after(5) as limit, timeout(None):
        assert system.run() is False
        assert (system.time() - start, log) == (1, ["slept"])
        assert system.run() is False
        assert system.time() - start == 1
        system.suspend(10)  # the deadline holds still
    assert (limit.expired, system.time() - start) == (True, 5)
    assert clock._timers.pending() == 0


def test_run_waits_for_deadlines_of_others(clock):
    """A coroutine that waits in a block with a deadline is waited for."""
    log = []

    def waiting():
        with move_on_after(3):
            event.await_("nobody")
        log.append("moved on")

    spawn.call(waiting)
    with timeout(5):
        assert system.run() is False
    assert log == ["moved on"]


def test_outer_deadline_and_inner_one_at_once(clock):
    """Both are over in the same turn: the outer one ends it all, once."""
    spawn.call(system.suspend, 2)
    with move_on_after(1) as outer:
        with move_on_after(1) as inner:
            system.run()
        system.suspend()
        pytest.fail("the outer block is over, too")
    assert (outer.expired, inner.expired) == (True, True)
    assert system.run() is False


def test_cancelled_scope_cuts_run(clock):
    """A coroutine cancels the scope whose host runs the loop."""
    log = []
    with scope() as s:
        s.spawn(sleeper, log)
        spawn.call(lambda: (system.suspend(1), s.cancel(), log.append("told"), system.suspend(), log.append("went on")))
        system.run()
        log.append("never")
    assert log == ["Cancelled", "told"]
    assert system.run() is False
    assert log[2:] == ["went on"]


@pytest.mark.parametrize("mode", ["loop", "step", "ready"])
def test_no_run_in_a_block_that_is_over(mode, clock):
    """As any other wait."""
    log = []
    spawn.call(sleeper, log, 0)
    with pytest.raises(errors.Timeout), timeout(0):
        system.run(mode)
    assert log == []
    system.run()


def test_halt_comes_first(clock):
    """`halt`, then the end of the time in the same turn: one of both, and nothing is left for later."""
    spawn.call(lambda: (system.suspend(1), system.halt()))
    with move_on_after(1):
        system.run()
    assert system.suspend() is True
    assert system.run() is False


def test_real_time():
    """The same with the system's clock: neither too long nor for nothing."""
    spawn.call(system.suspend, 0.01)
    start = time.monotonic()
    with timeout(60):
        assert system.run() is False
    assert time.monotonic() - start < 30
    one = spawn.call(system.suspend, 60)
    with move_on_after(0.01) as limit:
        system.run()
    assert limit.expired
    assert time.monotonic() - start < 30
    assert one.resume() is None
    assert one.status == "dead"
    with timeout(60):  # with the timer that kept nothing alive, perhaps
        system.suspend(0.001)
    spawn.call(system.suspend, 0.01)
    assert system.run("step") is False


@pytest.mark.parametrize("rest", [0.01, 60])
def test_loop_beside(rest):
    """Another loop of the thread: a deadline cuts `Loop.run`, and is no reason for it to go on."""
    start = time.monotonic()
    with uv.Loop() as loop:
        timer = uv.Timer(loop)
        timer.start(round(rest * 1000))
        with move_on_after(0.05 if rest > 1 else 60) as limit:
            loop.run()
        assert limit.expired is (rest > 1)
        assert time.monotonic() - start < 30
        timer.close()
        assert loop.run() is False


def test_a_loop_is_closed_in_a_block_that_is_over():
    """Closing it takes turns of the loop, which nothing cuts."""
    with move_on_after(0) as limit, uv.Loop() as loop:
        timer = uv.Timer(loop)
        system.suspend()
    assert (repr(loop), timer.closed, limit.expired) == ("<Loop closed>", True, True)


def test_cancelled_scope_cuts_a_loop_beside():
    """The scope's host runs another loop, whose handler cancels the scope."""
    with uv.Loop() as loop:
        timer = uv.Timer(loop)
        with scope() as s:
            timer.ontimeout = lambda _: s.cancel()
            timer.start(1, 60_000)
            loop.run()
            pytest.fail("the scope is cancelled")
        timer.close()
        assert loop.run() is False


def test_manual_clock_forgets_who_was_idle():
    """A timer that kept nothing alive and fired counts no more."""
    with manual_clock() as clock:
        with move_on_after(1):
            spawn.call(system.suspend, 2)
            system.run()
        assert clock._timers.pending() == 1
        system.run()
        assert clock._timers.pending() == 0
