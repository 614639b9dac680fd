"""The clock that stands still, as users have it: what it refuses, how it nests, what it tells at the end."""

from __future__ import annotations

from textwrap import dedent

import pytest

from coutil import spawn, system, testing, uv
from coutil.coroutine import yield_
from coutil.errors import Cancelled
from coutil.scopes import move_on_after, timeout
from coutil.testing import manual_clock


def test_the_example():
    """That of the module's first lines runs, and the program's half minute passes."""
    lines = [line for line in testing.__doc__.splitlines(keepends=True) if line.startswith("    ")]
    log = []

    def program():
        log.append(system.suspend(30))

    exec(dedent("".join(lines)), {"manual_clock": manual_clock, "spawn": spawn, "system": system, "program": program})
    assert log == [True]


@pytest.mark.parametrize("manual", [False, True])
def test_there_is_a_waiter(manual, hub):
    """Another clock would never wake them: it is refused, and they are woken by the one they have."""
    with manual_clock() if manual else timeout(None):
        before = hub.clock
        sleepers = [spawn.call(system.suspend, 0.001) for _ in range(2)]
        with pytest.raises(RuntimeError, match="2 timers are already waiting"), manual_clock():
            pytest.fail("it began")
        assert hub.clock is before
        system.run()
        assert [one.status for one in sleepers] == ["dead", "dead"]
    with timeout(60), pytest.raises(RuntimeError, match="1 timer is already"), manual_clock():
        pytest.fail("a deadline waits, too")


def test_others_who_wait_do_no_harm():
    """Who waits for a turn, or for anything but time, may go on."""
    log = []
    spawn.call(lambda: log.append(system.suspend()))
    idle = spawn.call(yield_)
    with manual_clock() as clock:
        system.run("ready")
        assert (log, clock._timers.pending()) == ([True], 0)
    idle.close()


def test_nested(hub):
    """An inner clock goes on from the outer one, which is as it was afterwards."""
    real = hub.clock
    with manual_clock() as outer:
        outer.advance(1000)
        begin = outer.time
        with manual_clock() as inner:
            assert (hub.clock, inner.time) == (inner._timers, begin)
            inner.advance(5)
            assert outer.time == begin
        assert hub.clock is outer._timers
        spawn.call(system.suspend, 7)
        system.run()
        assert outer.time == begin + 7 * 10**9
    assert hub.clock is real


@pytest.mark.parametrize("error", [None, KeyError("worse")], ids=["fine", "worse"])
def test_a_waiter_is_left(error, hub):
    """It is told how many, unless there is something worse to tell; the other clock is back in any case."""
    before, sleepers = hub.clock, []

    def leave():
        with manual_clock():
            sleepers.extend(spawn.call(system.suspend, 5) for _ in range(3))
            if error is not None:
                raise error

    told = "worse" if error is not None else "3 timers are still waiting for this manual clock"
    with pytest.raises(type(error or RuntimeError()), match=told):
        leave()
    assert hub.clock is before
    for one in sleepers:
        one.close()


@pytest.mark.parametrize(
    ("seconds", "kind"),
    [(-5, ValueError), (float("nan"), ValueError), (float("inf"), ValueError), ("1", TypeError), (True, TypeError)],
)
def test_advance_by_what_is_no_time(seconds, kind, clock):
    before = clock.time
    with pytest.raises(kind, match="seconds "):
        clock.advance(seconds)
    assert clock.time == before


def test_advance_tells_whether_anything_is_due(clock):
    sleeper = spawn.call(system.suspend, 5)
    assert [clock.advance(4.9), clock.advance(), clock.advance(), clock.advance(0)] == [False, True, False, False]
    system.run("ready")
    assert sleeper.status == "dead"


def test_deadlines_follow_it_and_libuv_does_not(clock):
    """As the first lines of the module say."""
    loop = uv.default_loop()
    before = loop.now()
    with move_on_after(3600) as limit:
        clock.advance(3600)
        with pytest.raises(Cancelled):
            system.suspend(1)
    assert limit.expired is True
    assert loop.now() - before < 3_600_000
    assert clock.advance(1) is False


def test_time_of_a_manual_clock():
    """In nanoseconds, as far as it was advanced; only `advance` moves it."""
    with manual_clock() as clock:
        begin = clock.time
        assert clock.advance(1.5) is False
        assert clock.time - begin == 1_500_000_000
        assert repr(clock) == f"<ManualClock {clock.time / 1e9:.9g} s>"
        with pytest.raises(AttributeError):
            clock.time = 0
        assert [name for name in dir(clock) if not name.startswith("_")] == ["advance", "time"]
