"""Time, and waiting for it: in order, never early, and cancelled without a trace."""

from __future__ import annotations

import math
import signal
import sys
import time as stdlib
from decimal import Decimal
from fractions import Fraction
from functools import partial
from statistics import median

import pytest

from coutil import spawn, sync, system
from coutil.coroutine import create, running, yield_
from coutil.errors import Deadlock, NotYieldable
from tests.helpers.ids import shown
from tests.helpers.script import run_script
from tests.helpers.tcp import pair

SOON = [None, -1, 0]
DELAYS = [*SOON, 0.1]
FOR_EVER = [2**32, 2**63, 2**64, 10**400, math.inf, 1e308, 2**64 / 1000]
NO_NUMBERS = ["1", b"1", True, False, [], Decimal(1), Fraction(1, 2), 1j, object(), create]


@pytest.fixture(params=DELAYS, ids=lambda delay: f"suspend({delay})")
def delay(request, clock):
    """A time to wait, on a clock that jumps there."""
    return request.param


def busy(seconds):
    """Keep the thread for `seconds`, as a computation would."""
    end = stdlib.monotonic_ns() + seconds * 1e9
    while stdlib.monotonic_ns() < end:
        pass


def everywhere(check):
    """Run `check` in the main program and in a coroutine."""
    check()
    create(check).resume()


# -- TIM-1, TIM-2: reading clocks


def test_cached_and_updated_time():
    """TIM-1: the cached time stands still while we compute; updating it shows what has passed."""

    def check():
        begin = system.time("updated")
        busy(0.002)
        assert system.time() == system.time("cached") == begin
        later = system.time("updated")
        assert later - begin >= 0.002
        assert system.time() == later

    everywhere(check)


def test_epoch():
    """TIM-1: the time of day, within a second of what the interpreter says."""

    def check():
        found = system.time("epoch")
        assert abs(found - stdlib.time()) < 1
        assert system.time("epoch") >= found
        assert isinstance(found, float)

    everywhere(check)


@pytest.mark.parametrize("bad", [None, True, 1, b"cached"])
def test_time_mode_is_a_string(bad):
    """TIM-1: anything else is a TypeError."""
    with pytest.raises(TypeError, match="mode "):
        system.time(bad)
    assert system.time() > 0


@pytest.mark.parametrize("bad", ["", "now", "Cached"])
def test_time_mode_is_known(bad):
    """TIM-1: another word is a ValueError naming the three."""
    with pytest.raises(ValueError, match='mode must be "cached", "updated" or "epoch"'):
        system.time(bad)
    assert system.time() > 0


def test_nanosecs():
    """TIM-2: a monotonic count of nanoseconds, with a resolution far below a millisecond."""
    steps = []
    for _ in range(20):
        first = system.nanosecs()
        steps.append(system.nanosecs() - first)
    assert all(step >= 0 for step in steps)
    assert max(steps) > 0
    assert min(steps) < 1_000_000
    assert type(first) is int


def test_nanosecs_across_a_wait():
    """TIM-2: a wait of a millisecond takes that long, and not much longer."""

    def check():
        system.time("updated")
        first = system.nanosecs()
        assert system.suspend(1e-3) is True
        assert 1_000_000 <= system.nanosecs() - first < 1_000_000_000

    check()
    spawn.call(check)
    assert system.run() is False


# -- TIM-3, B64: arguments


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("bad", NO_NUMBERS, ids=shown)
def test_seconds_are_a_number(bad, blocking, hub):
    """TIM-3, B64: anything else, a bool included, is a TypeError, also outside coroutines; nothing is started."""

    def check():
        with pytest.raises(TypeError, match="seconds "):
            system.suspend(bad, blocking=blocking)
        assert hub.in_flight() == 0
        assert hub.alive() is False

    everywhere(check)


@pytest.mark.parametrize("bad", [None, 0, 1, "yes"])
def test_blocking_is_a_bool(bad):
    """TIM-3: a time in its place is a mistake worth an error."""
    for seconds in (None, 0, 0.0, 1):
        with pytest.raises(TypeError, match="blocking "):
            system.suspend(seconds, blocking=bad)
        with pytest.raises(TypeError, match="blocking "):
            system.suspend(seconds, bad)
    assert system.suspend(0, True) is True
    assert system.suspend(0, blocking=False) is True


@pytest.mark.parametrize("seconds", FOR_EVER, ids=shown)
def test_waiting_for_ever(seconds, hub):
    """TIM-3, B64: as much as can be said, and infinity, can be waited for; the loop is alive meanwhile."""
    log = []
    waiting = spawn.call(lambda: log.append(system.suspend(seconds)))
    for _ in range(2):
        assert system.run("ready") is True
        assert (log, waiting.status) == ([], "suspended")
    waiting.resume("enough")
    assert (log, hub.in_flight()) == (["enough"], 0)


@pytest.mark.parametrize("seconds", FOR_EVER, ids=shown)
def test_blocking_for_ever(seconds):
    """The whole thread sleeps until a signal handler raises."""

    def alarm(*_):
        raise LookupError

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        with pytest.raises(LookupError):  # noqa: PT012  # the signal may come before the call
            signal.setitimer(signal.ITIMER_REAL, 0.02)
            system.suspend(seconds, blocking=True)
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("seconds", FOR_EVER, ids=shown)
def test_for_ever_on_the_manual_clock(seconds, clock, hub):
    """No time that passes ends it, so that nothing can wake who waits."""
    with pytest.raises(Deadlock, match="nothing can wake"):
        system.suspend(seconds)
    log = []
    waiting = spawn.call(lambda: log.append(system.suspend(seconds)))
    assert clock.advance(10.0**12) is False
    assert system.run("ready") is False
    waiting.resume("enough")
    assert (log, hub.in_flight()) == (["enough"], 0)


@pytest.mark.parametrize("seconds", [math.inf, 2**63])
def test_other_waits_for_ever(seconds):
    """Whatever takes seconds takes these, and looks for NaN; the error names the argument."""
    with system.socket("passive", "ipv4") as server:
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(1)
        with system.connect("127.0.0.1", server.getaddress().port, timeout=seconds), server.accept():
            pass
    items, condition, barrier = sync.Queue(1), sync.Condition(), sync.Barrier(2)
    with condition:
        for call in (items.get, condition.wait, barrier.wait, partial(condition.wait_for, lambda: False)):
            with pytest.raises(ValueError, match=r"timeout "):
                call(timeout=math.nan)
    with pytest.raises(ValueError, match=r"timeout "):
        system.connect("localhost", 80, timeout=math.nan)
    waiting = spawn.call(lambda: items.get(timeout=seconds))
    assert system.run("ready") is (seconds != math.inf), "infinity needs no timer"
    assert waiting.status == "suspended"
    items.put_nowait("item")
    system.run()


def test_not_a_number(hub):
    """TIM-3, B64: NaN is neither soon nor late."""

    def check():
        for blocking in (False, True):
            with pytest.raises(ValueError, match="NaN"):
                system.suspend(math.nan, blocking=blocking)
        assert hub.in_flight() == 0

    everywhere(check)


@pytest.mark.parametrize("seconds", [None, 0, -1, 0.0, -0.0, -1e308, -math.inf, -(10**400)], ids=shown)
def test_no_time_at_all(seconds, clock):
    """TIM-3, B64: None, zero and less are as soon as possible; no time passes."""
    log = []
    begin = clock.time
    waiting = spawn.call(lambda: log.append(system.suspend(seconds)))
    assert (log, waiting.status) == ([], "suspended")
    assert system.run("ready") is False
    assert log == [True]
    assert clock.time == begin


@pytest.mark.parametrize("seconds", [None, 0, -1, -0.0, -math.inf])
def test_blocking_for_no_time(seconds):
    """TIM-3: returns at once, and no other one has run."""
    log = []
    spawn.call(lambda: (system.suspend(), log.append("other")))
    begin = system.nanosecs()
    assert system.suspend(seconds, blocking=True) is True
    assert system.nanosecs() - begin < 1_000_000_000
    assert log == []
    assert system.run() is False


def test_blocking():
    """TIM-3: the whole thread stops; no other one runs, although he was due."""
    log = []
    spawn.call(lambda: (system.suspend(0.001), log.append("other")))
    begin = system.nanosecs()
    assert system.suspend(0.02, blocking=True) is True
    assert system.nanosecs() - begin >= 20_000_000
    assert log == []
    assert system.run() is False
    assert log == ["other"]


def test_where_it_can_be_called(clock, escaped):
    """TIM-3: the main program waits, with the loop running; the hub itself cannot."""
    refused = []

    def hook(coroutine, error):
        for seconds in (0, None, 1):
            with pytest.raises(NotYieldable):
                system.suspend(seconds)
            refused.append(seconds)
        assert system.suspend(1e-9, blocking=True) is True

    system.set_excepthook(hook)
    spawn.call(lambda: (system.suspend(), 1 / 0))
    begin = clock.time
    assert system.suspend(3) is True
    assert clock.time == begin + 3_000_000_000
    assert refused == [0, None, 1]


# -- TIM-4: order


def test_fifo():
    """TIM-4: who suspended first goes on first; a coroutine that blocks the thread delays the others."""
    log = []

    def first():
        system.suspend(0)
        log.append("A")
        assert system.suspend(0.02, blocking=True) is True
        log.append("A ends")

    def second():
        begin = system.nanosecs()
        system.suspend(0)
        log.append("B")
        system.suspend(0)
        log.append("B ends")
        assert system.nanosecs() - begin > 20_000_000

    spawn.call(first)
    spawn.call(second)
    assert system.run() is False
    assert log == ["A", "A ends", "B", "B ends"]


def test_timers_in_order(clock):
    """O-2: earlier ones first, equal ones in the order of their start; each sees its own time."""
    log, begin = [], clock.time

    def sleeper(name, seconds):
        system.suspend(seconds)
        log.append((name, clock.time - begin))

    for name, seconds in (("a", 3), ("b", 1), ("c", 3), ("d", 2), ("e", 1)):
        spawn.call(sleeper, name, seconds)
    assert system.run() is False
    assert log == [("b", 10**9), ("e", 10**9), ("d", 2 * 10**9), ("a", 3 * 10**9), ("c", 3 * 10**9)]


def test_timers_in_order_on_the_real_clock():
    """O-2: the same on the system's clock; resolution and start order are libuv's."""
    log = []
    for number in (3, 1, 2):
        spawn.call(lambda number=number: (system.suspend(number / 100), log.append(number)))
    for name in "abc":
        spawn.call(lambda name=name: (system.suspend(0.005), log.append(name)))
    assert system.run() is False
    assert log == ["a", "b", "c", 1, 2, 3]


# -- TIM-5 … TIM-12: the ways to be woken


def test_returns_true(delay):
    """TIM-5: it yields nothing to the resumer and returns True; surplus values of the first resume do no harm."""
    log = []

    def body(*surplus):
        log.append((surplus, system.suspend(delay)))

    made = create(body)
    assert made.resume(1, 2, 3) is None
    assert log == []
    assert system.run() is False
    assert log == [((1, 2, 3), True)]


def test_plain_yield_afterwards(delay):
    """TIM-6: after the wait it may yield plainly; the loop resumes it never again."""
    log = []
    made = spawn.call(lambda: (log.append(system.suspend(delay)), yield_(), log.append("resumed")))
    for _ in range(2):
        assert system.run() is False
        assert (log, made.status) == ([True], "suspended")
    made.resume()
    assert log == [True, "resumed"]


def test_twice(delay):
    """TIM-7: the second wait begins when the first is over: one step each."""
    log = []
    made = spawn.call(lambda: [log.append(system.suspend(delay)) for _ in range(2)])
    assert system.run("step") is True
    assert (log, made.status) == ([True], "suspended")
    assert system.run("step") is False
    assert (log, made.status) == ([True, True], "dead")


@pytest.mark.parametrize("values", [(), (1,), (True, None, 3)])
def test_explicit_resume(delay, values, hub):
    """TIM-8: the wait returns the values given, before the loop has run, and the loop never resumes it."""
    log = []
    made = spawn.call(lambda: (log.append(system.suspend(delay)), yield_(), log.append("resumed")))
    assert made.resume(*values) is None
    assert log == [values if len(values) > 1 else values[0] if values else None]
    assert hub.in_flight() == 0
    for mode in ("step", "loop"):
        assert system.run(mode) is False
    assert (len(log), made.status) == (1, "suspended")
    assert made.close() is True


def test_explicit_resume_then_again(delay):
    """TIM-9: the same coroutine may wait anew at once, and that wait is ended by the loop, once."""
    log = []
    made = spawn.call(lambda: log.extend([system.suspend(delay), system.suspend(delay)]))
    made.resume()
    assert (log, made.status) == ([], "suspended")
    if delay == 0.1:
        assert system.run("ready") is True
        assert made.status == "suspended"
    assert system.run("step") is False
    assert log == [None, True]


def test_explicit_resume_from_the_loop(delay):
    """TIM-10: cancelled from outside, and again by a coroutine in the loop: each wait returns its own values."""
    log = []
    made = spawn.call(lambda: (log.append(system.suspend(delay)), log.append(system.suspend(1000)), yield_()))

    def other():
        system.suspend()
        made.resume(".", "..", "...")

    made.resume()
    spawn.call(other)
    assert system.run() is False
    assert (log, made.status) == ([None, (".", "..", "...")], "suspended")
    assert made.close() is True


def test_error_after_the_wait(delay, escaped):
    """TIM-11: it ends that coroutine only: run() goes on, and the excepthook is told."""
    log = []

    def fails():
        log.append(system.suspend(delay))
        raise LookupError("told")

    made = spawn.call(fails)
    spawn.call(lambda: (system.suspend(1), log.append("other")))
    assert system.run() is False
    assert (log, made.status) == ([True, "other"], "dead")
    assert [(who, error.args) for who, error in escaped] == [(made, ("told",))]
    escaped.clear()


def test_error_after_an_explicit_resume(delay, hub):
    """TIM-12: it belongs to the resumer; nothing is left in the loop."""

    def fails():
        system.suspend(delay)
        raise LookupError("for the resumer")

    made = spawn.call(fails)
    with pytest.raises(LookupError, match="for the resumer"):
        made.resume()
    assert (made.status, hub.in_flight()) == ("dead", 0)
    assert system.run() is False


# -- TIM-13: the end of the process

ENDS = """
    from coutil import spawn, sync, system
    from coutil.coroutine import running, yield_

    def waits():
        try:
            {wait}
        finally:
            held.append(1)

    held = []
    kept = spawn.call(waits)
    {then}
    print("ends", kept.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("then", ["pass", "system.run('ready')", "system.suspend(0.001)", "kept.__class__.kept = kept"])
@pytest.mark.parametrize("wait", ["system.suspend(1000)", "[system.suspend() for _ in iter(int, 1)]", "yield_()"])
def test_process_ends_with_a_suspended_coroutine(wait, then):
    """TIM-13: it ends at once, with its own exit code and nothing on standard error."""
    if then.startswith("kept."):
        then = "import builtins; builtins.kept = kept"  # alive to the very end
    done = run_script(ENDS.format(wait=wait, then=then), "-X", "dev")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "ends suspended\n"


@pytest.mark.parametrize("how", ["sys.exit(3)", "raise SystemExit(3)"])
def test_exit_code_of_a_coroutine(how):
    """TIM-13: a coroutine may end the program while another one and the main program wait."""
    done = run_script(f"""
        import sys
        from coutil import spawn, sync, system
        spawn.call(system.suspend, 1000)
        def leaves():
            system.suspend(0.001)
            {how}
        spawn.call(leaves)
        system.suspend(1000)
    """)
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")


# -- never early


@pytest.mark.parametrize("seconds", [1e-9, 1e-6, 0.0004, 0.001, 0.0015, 0.0101])
def test_never_early(seconds):
    """B64: measured with a finer clock, no wait is shorter than asked, twice in the same coroutine neither."""
    took = []

    def check():
        for _ in range(2):
            busy(0.001)
            begin = system.nanosecs()
            assert system.suspend(seconds) is True
            took.append(system.nanosecs() - begin)

    check()
    spawn.call(check)
    assert system.run() is False
    assert len(took) == 4
    assert min(took) >= seconds * 1e9


def test_counted_from_the_call():
    """T-43: a computation before the wait is no part of it; the cached time stays as it is."""

    def check():
        system.suspend()
        busy(0.03)
        cached, begin = system.time(), system.nanosecs()
        system.suspend(0.02)
        took.append(system.nanosecs() - begin)
        seen.append(system.time() >= cached + 0.02)

    took, seen = [], []
    spawn.call(check)
    assert system.run() is False
    assert (took[0] >= 20_000_000, seen) == (True, [True])


def test_starting_a_timer_keeps_the_cached_time(hub):
    """It changes between turns only."""
    before = system.time()
    busy(0.002)
    waiting = spawn.call(system.suspend, 5)
    assert system.time() == before
    waiting.resume()


def test_main_program_counts_from_the_call():
    """T-43: the loop may not have run for long when the main program waits: its cached time is not used."""
    system.suspend()
    busy(0.02)
    begin = system.nanosecs()
    system.suspend(0.01)
    assert system.nanosecs() - begin >= 10_000_000


def test_same_period_again():
    """T-13: a second wait of the same length is a new one, although the first was just over."""

    def check():
        system.suspend(0.01)
        busy(0.008)
        begin = system.nanosecs()
        system.suspend(0.01)
        took.append(system.nanosecs() - begin)

    took = []
    spawn.call(check)
    assert system.run() is False
    assert took[0] >= 10_000_000


def test_exact_on_the_manual_clock(clock, hub):
    """B64: no rounding to milliseconds is visible: waits end when they are due, to the nanosecond."""
    begin = clock.time
    for seconds, nanoseconds in ((1e-9, 1), (0.0004, 400_000), (1.5, 1_500_000_000), (3, 3_000_000_000)):
        before = clock.time
        assert system.suspend(seconds) is True
        assert clock.time - before == nanoseconds
    assert hub.clock is clock._timers
    assert clock.time - begin == 4_500_400_001


# -- B65: no one starves


def test_spinners_do_not_stop_the_clock():
    """B65: coroutines that only let each other run do not keep timers from firing."""
    log = []

    def spin():
        while not log:
            system.suspend()

    for _ in range(3):
        spawn.call(spin)
    spawn.call(lambda: (system.suspend(0.005), log.append("woken")))
    begin = system.nanosecs()
    assert system.run() is False
    assert log == ["woken"]
    assert system.nanosecs() - begin < 1_000_000_000


def test_lonely_spinner_lets_the_loop_run():
    """B65: suspend(0) may return at once when no other one is ready, but time goes on for the loop all the same."""
    log = []

    def spin():
        begin, count = system.time(), 0
        while system.time() < begin + 0.002 and count < 1_000_000:
            assert system.suspend(0) is True
            count += 1
        log.append((count < 1_000_000, running().status))

    spawn.call(spin)
    assert system.run() is False
    assert log == [(True, "running")]
    spin()
    assert log[1] == (True, "running")


def test_spinner_beside_an_echo():
    """B65: with a zero-delay repeater beside it, an echo over TCP takes less than 5 ms of the processor."""
    took, ended = [], []

    def spin():
        while not ended:
            system.suspend()

    def echo(stream):
        with stream:
            while data := stream.receive():
                stream.send(data)

    near, far = pair("ipv4")
    spawn.call(echo, far)
    for _ in range(2):
        spawn.call(spin)
    with near:
        for _ in range(20):
            begin = stdlib.process_time_ns()
            near.send(b"ping")
            assert near.receive() == b"ping"
            took.append(stdlib.process_time_ns() - begin)
    ended.append(True)
    assert system.run() is False
    assert median(took) < 5_000_000


def test_idle_loop_does_not_spin(hub):
    """B65: while only a timer is pending the loop sleeps in the system, it does not poll."""
    turns = hub._turns
    begin = stdlib.process_time_ns()
    assert system.suspend(0.05) is True
    assert hub._turns - turns < 10
    assert stdlib.process_time_ns() - begin < 40_000_000


def test_many_timers(clock, hub):
    """B64: thousands of waits at once; half of them cancelled; none fires early, late, or twice."""
    log, begin = [], clock.time

    def body(number):
        log.append((number, system.suspend(1 + number % 7), clock.time - begin))

    made = [spawn.call(body, number) for number in range(2000)]
    for one in made[::2]:
        one.resume("cancelled")
    assert log == [(number, "cancelled", 0) for number in range(0, 2000, 2)]
    log.clear()
    assert system.run() is False
    assert sorted(log) == [(n, True, (1 + n % 7) * 10**9) for n in range(1, 2000, 2)]
    assert [when for _, _, when in log] == sorted(when for _, _, when in log)
    assert hub.in_flight() == 0


def test_references_are_released(clock):
    """B16: a fired and a cancelled timer keep nothing of their coroutine."""
    value = object()
    before = sys.getrefcount(value)
    for explicit in (False, True):
        made = spawn.call(lambda kept: system.suspend(1), value)
        assert sys.getrefcount(value) > before
        if explicit:
            made.resume()
        assert system.run() is False
        assert sys.getrefcount(value) == before
