"""Timers: handlers, restarting, stale expiries, arguments. Milliseconds are the loop's own: they are few here."""

import pytest

from coutil import errors, event, uv


def collect(timer, log):
    timer.ontimeout = lambda one: log.append(one.loop.now())
    return timer


def test_one_shot(loop):
    """It fires once, not before its time, and the loop ends then."""
    log, begin = [], loop.now()
    with collect(uv.Timer(loop), log) as timer:
        timer.start(3)
        assert timer.active
        assert timer.due_in >= 3
        assert loop.run() is False
        assert len(log) == 1
        assert log[0] - begin >= 3
        assert not timer.active
        assert timer.due_in == 0


@pytest.mark.parametrize("again", [False, True])
def test_times_count_from_the_call(loop, again):
    """What was computed before is no part of them, and the loop's time stays as it is."""
    ends = []
    with uv.Timer(loop) as timer:
        timer.ontimeout = lambda one: (ends.append(uv.hrtime()), one.stop())
        timer.start(1000, 3)
        cached, until = loop.now(), uv.hrtime() + 10_000_000
        while uv.hrtime() < until:
            pass
        begin = uv.hrtime()
        timer.again() if again else timer.start(3)
        assert loop.now() == cached
        loop.run()
        assert ends[0] - begin >= 3_000_000


def test_readme_in_method_and_flat_form(loop):
    """The handler may close its timer, and goes on when libuv has done so."""
    log = []

    class Mine(uv.Timer):
        def ontimeout(self):
            log.append("timeout")
            assert uv.close(self) is True
            log.append(self.closed)

    def ontimeout(timer):
        log.append("flat")
        uv.close(timer)
        log.append(timer.closed)

    Mine(loop).start(1)
    timer = uv.new_timer(loop)
    timer.ontimeout = ontimeout
    uv.timer_start(timer, 2, 0)
    uv.run(loop)
    assert sorted(log, key=str) == [True, True, "flat", "timeout"]
    assert loop.walk() == []


def test_interval_and_again(loop):
    """An interval goes on until it is stopped; `again` begins it anew, and `repeat` may be changed."""
    log = []
    with collect(uv.Timer(loop), log) as timer:
        with pytest.raises(errors.UVError) as info:
            timer.again()
        assert info.value.name == "EINVAL"
        timer.start(1, 2)
        assert timer.repeat == 2 == uv.timer_get_repeat(timer)
        while len(log) < 3:
            loop.run("once")
        timer.repeat = 4
        timer.again()
        assert timer.due_in >= 4
        uv.timer_set_repeat(timer, 0)  # counts from the next expiry on
        timer.again()  # nothing to begin anew
        assert timer.active
        assert loop.run() is False
        assert len(log) == 4


def test_expiry_under_way_is_dropped(loop):
    """A timer that the handler of another one stops, or starts anew, does not fire for the old time."""
    log = []
    first, second, third = uv.Timer(loop), collect(uv.Timer(loop), log), collect(uv.Timer(loop), log)

    def ontimeout(timer):
        second.stop()
        third.start(60_000)

    first.ontimeout = ontimeout
    for timer in (first, second, third):
        timer.start(0)
    loop.run("once")
    loop.run("nowait")
    assert log == []
    assert not second.active
    assert third.active
    for timer in (first, second, third):
        timer.close()


def test_same_time_fires_in_the_order_of_starts(loop):
    """Timers that are due at the same time fire first started, first served."""
    log = []
    timers = [uv.Timer(loop) for _ in range(5)]
    for number, timer in enumerate(timers):
        timer.ontimeout = lambda one, number=number: log.append(number)
    for timer in timers:
        timer.start(1)
    loop.run()
    assert log == [0, 1, 2, 3, 4]
    for timer in timers:
        timer.close_soon()


def test_handler_that_waits_does_not_hold_up_others(loop):
    """Each handler is a coroutine: what one waits for, another may bring."""
    log = []
    waiting, emitting = uv.Timer(loop), uv.Timer(loop)

    def ontimeout(timer):
        log.append("waits")
        log.append(event.await_("go"))
        timer.close()

    def emit(timer):
        log.append("emits")
        event.emitall("go")
        timer.close()

    waiting.ontimeout, emitting.ontimeout = ontimeout, emit
    waiting.start(0)
    emitting.start(0)
    loop.run()
    assert log == ["waits", "emits", "go"]


@pytest.mark.parametrize("value", [-1, 2**64, 2**70])
def test_times_out_of_range(loop, value):
    """Nothing changes, and the message names the argument and the value."""
    with uv.Timer(loop) as timer:
        for call in (
            lambda: timer.start(value),
            lambda: timer.start(1, value),
            lambda: uv.timer_set_repeat(timer, value),
        ):
            with pytest.raises(ValueError, match=f"(timeout|repeat).*{value}"):
                call()
        assert not timer.active
        assert timer.repeat == 0
        timer.start(2**64 - 1, 2**64 - 1)
        assert timer.due_in > 2**63
        assert timer.repeat == 2**64 - 1


@pytest.mark.parametrize("value", [1.0, "1", None, True])
def test_times_of_other_types(loop, value):
    """A float is no number of milliseconds."""
    with uv.Timer(loop) as timer:
        with pytest.raises(TypeError, match="timeout "):
            timer.start(value)
        with pytest.raises(TypeError, match="repeat "):
            timer.repeat = value


def test_closed_timer(loop):
    """Every call raises Closed; closing again is no error."""
    timer = uv.Timer(loop)
    timer.close()
    assert timer.closed
    assert timer.closing
    assert not timer.active
    assert not timer.has_ref
    assert timer.close() is True
    timer.close_soon()
    for call in (
        timer.stop,
        timer.again,
        lambda: timer.start(1),
        lambda: timer.due_in,
        lambda: timer.repeat,
        timer.ref,
    ):
        with pytest.raises(errors.Closed, match="timer "):
            call()


def test_wrong_first_argument(loop):
    """A flat function says what it needs."""
    with uv.Idle(loop) as idle:
        with pytest.raises(TypeError, match=r"first argument .*<Idle"):
            uv.timer_start(idle, 1)
        with pytest.raises(TypeError, match=r"first argument .*7"):
            uv.close(7)
    with pytest.raises(TypeError, match=r"loop .*3"):
        uv.Timer(3)


def test_calls_while_it_closes(loop):
    """They raise Closed, and it is closed all the same."""
    timer = uv.Timer(loop)
    timer.start(1)
    timer.close_soon()
    for call in (timer.stop, timer.again, lambda: timer.start(1)):
        with pytest.raises(errors.Closed, match="timer "):
            call()
    assert timer.close() is True
    assert timer.closed


def test_once_does_not_wait_behind_a_timer_that_is_due(loop):
    """A turn that had a timer to tell of does not wait for the next one (libuv 1.44 would)."""
    log = []
    due, far = collect(uv.Timer(loop), log), uv.Timer(loop)
    far.start(60_000)
    due.start(0)
    loop.run("once")
    assert len(log) == 1
    for timer in (due, far):
        timer.close()


def test_time_that_passes_between_turns_counts(loop):
    """A timer runs while the program does something else: what is due by then fires in a turn that does not wait."""
    log = []
    with collect(uv.Timer(loop), log) as timer:
        timer.start(20)
        uv.sleep_blocking(25)
        loop.run("nowait")
        assert len(log) == 1
