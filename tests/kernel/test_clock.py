"""Where the hub's time comes from: the system's clock, and one that tests turn by hand."""

from __future__ import annotations

import time

import pytest

from coutil import spawn, system
from coutil._libuv.clock import Clock
from coutil.coroutine import yield_
from coutil.errors import Deadlock
from coutil.testing import _ManualTimers

SECOND = 10**9


def sleeper(log, seconds, clock):
    """Start a coroutine that logs when it was woken, in nanoseconds since now."""
    begin = clock.time
    return spawn.call(lambda: (system.suspend(seconds), log.append(clock.time - begin)))


# -- the system's clock


def test_now_is_cached(hub):
    """now() stands still within a turn; update() lets it catch up with the monotonic clock."""
    clock = hub.clock
    assert type(clock) is Clock
    clock.update()
    begin = clock.now()
    end = time.monotonic_ns() + 2_000_000
    while time.monotonic_ns() < end:
        assert clock.now() == begin
    assert clock.update() - begin >= 2_000_000
    assert abs(clock.now() - time.monotonic_ns()) < SECOND


def test_now_goes_on_with_turns(hub):
    """Each turn refreshes it."""
    seen = []
    for _ in range(5):
        system.run("ready")
        seen.append(hub.clock.now())
        time.sleep(1e-4)
    assert seen == sorted(seen)
    assert len(set(seen)) == 5


def test_the_system_clock_is_not_ours_to_turn(hub):
    """It never advances by itself, and libuv knows all its timers."""
    made = spawn.call(system.suspend, 1000)
    assert hub.clock.pending() == 0
    assert hub.clock.advance() is False
    assert hub.clock.advance(2000) is False
    assert hub.alive() is True
    assert made.close() is True
    assert hub.alive() is False


def test_stop_of_a_timer_that_is_none(hub):
    """Stopping what has fired, or never was, is no error."""
    for slot in (0, 1, 12345, 2**31):
        hub.clock.stop(slot)
    assert hub.in_flight() == 0
    assert hub.loop.counts()["handles_created"] == hub.loop.counts()["handles_closed"]
    assert system.suspend(0.001) is True


# -- the manual clock


def test_it_stands_still(clock, hub):
    """No time passes by itself, however many turns there are."""
    begin, log = clock.time, []
    made = sleeper(log, 5, clock)
    for _ in range(3):
        assert system.run("ready") is True
        time.sleep(0.001)
    assert (clock.time, clock._timers.update(), log) == (begin, begin, [])
    assert (clock._timers.pending(), hub.alive()) == (1, True)
    assert made.close() is True
    assert (clock._timers.pending(), hub.alive()) == (0, False)


def test_it_jumps_when_nothing_else_can_happen(clock):
    """run() and waits of the main program go from timer to timer at once."""
    begin, log = clock.time, []
    for seconds in (3600, 1, 86400):
        sleeper(log, seconds, clock)
    began = time.monotonic()
    assert system.run() is False
    assert log == [SECOND, 3600 * SECOND, 86400 * SECOND]
    assert system.suspend(10) is True
    assert clock.time == begin + 86410 * SECOND
    assert time.monotonic() - began < 1


def test_it_does_not_jump_while_a_coroutine_is_ready(clock):
    """Coroutines that let each other run come first; then the next timer only."""
    begin, log = clock.time, []
    sleeper(log, 2, clock)
    sleeper(log, 1, clock)

    def spin():
        for _ in range(100):
            system.suspend()
            log.append(clock.time - begin)

    spawn.call(spin)
    assert system.run("step") is True
    assert log == [0]
    assert system.run() is False
    assert log == [0] * 100 + [SECOND, 2 * SECOND]


def test_advance(clock):
    """advance(seconds) makes everything ready that is due by then; it runs in the next turn, in order."""
    log = []
    for seconds in (3, 1, 2, 1):
        sleeper(log, seconds, clock)
    assert clock.advance(0.5) is False
    assert clock.advance(1.5) is True
    assert log == []
    assert system.run("ready") is True
    assert log == [2 * SECOND] * 3
    assert clock._timers.pending() == 1
    assert system.run() is False
    assert log[3:] == [3 * SECOND]


def test_advance_to_the_next_timer(clock):
    """Without an argument it goes exactly there; without a timer nowhere."""
    begin, log = clock.time, []
    assert clock.advance() is False
    assert clock.time == begin
    sleeper(log, 7, clock)
    assert clock.advance() is True
    assert clock.time == begin + 7 * SECOND
    assert system.run("ready") is False
    assert log == [7 * SECOND]


def test_overdue_timers(clock):
    """One that is started with time to spare, and met by a large jump, fires once, late."""
    log = []
    sleeper(log, 1, clock)
    clock.advance(100)
    assert clock.advance() is False
    assert system.run() is False
    assert log == [100 * SECOND]


def test_cancelled_after_it_fired(clock, hub):
    """A timer that was due, but whose turn has not come, can still be cancelled."""
    log = []
    made = spawn.call(lambda: (log.append(system.suspend(1)), log.append(system.suspend(1)), yield_()))
    assert clock.advance(1) is True
    made.resume("cancelled")
    assert log == ["cancelled"]
    assert system.run() is False
    assert log == ["cancelled", True]
    assert hub.in_flight() == 0
    assert made.close() is True


def test_stop_forgets_one_timer(clock):
    """Only the one of that slot."""
    log = []
    first, second = sleeper(log, 1, clock), sleeper(log, 2, clock)
    assert clock._timers.pending() == 2
    first.close()
    assert clock._timers.pending() == 1
    assert system.run() is False
    assert log == [2 * SECOND]
    assert second.status == "dead"


def test_deadlock_without_timers(clock):
    """Time alone is no hope: when no timer is left, a wait for nothing is one."""
    from tests.helpers.kernel import raw_park as park
    from tests.helpers.kernel import running

    log = []
    sleeper(log, 9, clock)
    with pytest.raises(Deadlock):
        park(running(), "nothing")
    assert log == [9 * SECOND]


def test_it_is_one_of_the_hub_alone(hub):
    """Replacing the clock takes effect at once, and back."""
    before = hub.clock
    hub.clock = manual = _ManualTimers(hub)
    assert system.time() == manual.now() / 1e9
    manual.advance(1000)
    assert system.time() == system.time("updated") == manual.now() / 1e9
    assert system.time() - before.now() / 1e9 > 999
    hub.clock = before
    assert system.time() == before.now() / 1e9
