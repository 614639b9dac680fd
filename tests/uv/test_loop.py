"""Loops: modes of run, stop, liveness, walking, closing, several in a thread, and other threads."""

import io
import threading
import time

import pytest

from coutil import coroutine, errors, event, spawn, system, uv
from coutil.scopes import scope, timeout


def once(loop, function, timeout=0):
    """Have function() called by a timer that closes itself."""
    timer = uv.Timer(loop)

    def ontimeout(one):
        one.close_soon()
        function()

    timer.ontimeout = ontimeout
    timer.start(timeout)
    return timer


# -- run


def test_run_of_an_empty_loop(loop):
    """All modes return at once: nothing is alive."""
    for mode in ("default", "once", "nowait"):
        assert loop.run(mode) is False
    assert loop.alive is False
    assert loop.mode is None


def test_modes(loop):
    """ "nowait" does not wait, "once" waits for one thing, "default" for all."""
    log = []
    with uv.Timer(loop) as far:
        far.start(60_000)
        assert loop.run("nowait") is True
    loop.run()
    once(loop, lambda: log.append(loop.mode), 5)
    loop.run("once")
    assert log == ["once"]
    once(loop, lambda: log.append(loop.mode), 1)
    once(loop, lambda: log.append(uv.loop_mode(loop)), 2)
    assert uv.run(loop) is False
    assert log == ["once", "default", "default"]


@pytest.mark.parametrize(("mode", "kind"), [("loop", ValueError), ("", ValueError), (None, TypeError), (0, TypeError)])
def test_mode_that_does_not_exist(loop, mode, kind):
    """The message shows it."""
    with pytest.raises(kind, match="mode "):
        loop.run(mode)


def test_stop(loop):
    """Run returns after the turn, with what is left; it can go on later."""
    log = []
    once(loop, lambda: (log.append("first"), loop.stop()), 1)
    second = once(loop, lambda: log.append("second"), 60_000)
    assert loop.run() is True
    assert log == ["first"]
    second.start(0)
    assert loop.run() is False
    assert log == ["first", "second"]


def test_stop_before_run(loop):
    """The next run returns at once, and only that one."""
    log = []
    once(loop, lambda: log.append("fired"))
    uv.stop(loop)
    assert loop.backend_timeout() == 0
    assert loop.run() is True
    assert log == []
    assert loop.run() is False
    assert log == ["fired"]


def test_nested_run(loop):
    """A handler cannot run its own loop; it can run another."""
    raised, log = [], []

    def handler():
        with pytest.raises(errors.AlreadyRunning) as info:
            loop.run()
        raised.append(info.value)
        with uv.Loop() as other:
            once(other, lambda: log.append("other"))
            assert other.run() is False

    once(loop, handler)
    loop.run()
    assert len(raised) == 1
    assert isinstance(raised[0], RuntimeError)
    assert log == ["other"]


def test_time(loop):
    """Milliseconds, cached during a turn."""
    before = uv.now(loop)
    assert isinstance(before, int)
    assert before >= 0
    loop.update_time()
    uv.update_time(loop)
    assert loop.now() >= before


def test_backend(loop):
    """The descriptor may be polled by another one; the timeout is that of the next turn."""
    assert uv.backend_fd(loop) == loop.backend_fd() > 2
    assert uv.backend_timeout(loop) == 0  # nothing referenced is active
    with uv.Timer(loop) as timer:
        timer.start(60_000)
        loop.run("nowait")  # until the first turn libuv says 0
        assert 50_000 < loop.backend_timeout() <= 60_001, "of the call, rounded up"
        timer.unref()
        assert loop.backend_timeout() == 0
        with uv.Async(loop):
            timer.stop()
            loop.run("nowait")
            assert loop.backend_timeout() == -1


def test_alive(loop):
    """What is active and referenced keeps the loop alive, and so does what is closing."""
    timer = uv.Timer(loop)
    assert not loop.alive
    timer.start(1000)
    assert loop.alive
    assert uv.loop_alive(loop)
    uv.unref(timer)
    assert not loop.alive
    assert timer.active
    assert not uv.has_ref(timer)
    assert loop.run() is False
    uv.ref(timer)
    assert loop.alive
    assert timer.has_ref
    timer.close_soon()
    assert loop.alive
    assert timer.closing
    assert not timer.closed
    assert loop.run() is False
    assert timer.closed


def test_walk(loop):
    """Every handle that is not closed yet, also those that are closing; the function may close them."""
    timer, idle = uv.Timer(loop), uv.Idle(loop)
    timer.mine = "attribute"
    assert loop.walk() == [timer, idle]
    assert uv.walk(loop)[0].mine == "attribute"
    assert loop.walk(uv.close_soon) == [timer, idle]
    assert loop.walk() == [timer, idle]
    assert timer.closing
    loop.run()
    assert loop.walk() == []
    with pytest.raises(TypeError, match="function "):
        loop.walk(3)


def test_handles_in_print(loop):
    """Libuv's own list: flags, type."""
    out = io.StringIO()
    with uv.Timer(loop) as timer:
        uv.print_all_handles(loop, out)
        assert "timer" in out.getvalue()
        timer.start(1)
        active = io.StringIO()
        uv.print_active_handles(loop, active)
        assert 0 < active.getvalue().count("timer") < out.getvalue().count("timer") + 1


def test_configure(loop):
    """Idle time is counted if it was asked for; unknown options, and bad signals, are refused."""
    loop.configure("metrics_idle_time")
    assert uv.metrics_idle_time(loop) == 0
    before = uv.hrtime()
    while not loop.metrics_idle_time():  # on a busy machine a timer may be due before the loop gets to waiting for it
        once(loop, lambda: None, 3)
        loop.run()
    assert loop.metrics_idle_time() < uv.hrtime() - before
    with pytest.raises(ValueError, match=r"option "):
        uv.loop_configure(loop, "speed")
    with pytest.raises(TypeError, match="block_signal takes 1"):
        loop.configure("block_signal")
    with pytest.raises(errors.UVError) as info:
        loop.configure("block_signal", "SIGHUP")
    assert info.value.name == "EINVAL"
    loop.configure("block_signal", "SIGPROF")


# -- coroutines and loops


def test_handlers_wait_in_their_own_loop(loop):
    """What a handler calls from coutil.system waits in the handler's loop, too."""
    log = []
    once(loop, lambda: (log.append("sleeps"), system.suspend(0.002), log.append("slept")))
    assert loop.run() is False
    assert log == ["sleeps", "slept"]


WAITS = {
    "handle": lambda loop, listener: listener.accept(),
    "sleep": lambda loop, listener: loop.sleep(60_000),
    "pool": lambda loop, listener: loop.queue_work(time.sleep, 0.05),
}


@pytest.fixture
def listener(loop):
    """A handle at which nothing happens."""
    with uv.TCP(loop) as made:
        made.bind("127.0.0.1", 0)
        made.listen()
        yield made


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("seconds", [0.01, 0])
def test_deadline_of_a_wait_in_another_loop(loop, listener, wait, seconds):
    """A timeout of the main program, or of a coroutine of its loop, cuts what waits in a loop beside it."""

    def waits():
        with pytest.raises(errors.Timeout), timeout(seconds):
            WAITS[wait](loop, listener)
        log.append("cut")

    log = []
    waits()
    coroutine.create(waits).resume()
    assert log == ["cut", "cut"]


def shielded_sleep(loop, log):
    """Sleep for longer than there is time, behind a shield and without it."""
    with timeout(0.01):
        with scope(shield=True):
            log.append(loop.sleep(20))
        log.append(loop.sleep(60_000))


def test_nearest_deadline_of_a_wait_in_another_loop(loop, listener):
    """Of several blocks the first to be due counts, wherever it stands; none does that has a shield before it."""
    with pytest.raises(errors.Timeout) as told, timeout(0.01) as outer, timeout(60):
        listener.accept()
    assert told.value.scope is outer
    with timeout(60), pytest.raises(errors.Timeout) as told, timeout(0.01) as inner:
        listener.accept()
    assert told.value.scope is inner
    log = []
    with pytest.raises(errors.Timeout):
        shielded_sleep(loop, log)
    assert log == [True]
    with timeout(60) as unused:
        assert loop.sleep(1) is True
    assert not unused.expired


def test_scope_that_is_cancelled_during_a_wait_in_another_loop(loop, listener):
    """A handler of that loop can cancel it; the wait is cut at once."""
    with scope() as block:
        once(loop, block.cancel)
        listener.accept()
        pytest.fail("was not cut")
    assert block.cancelled
    assert loop.sleep(1) is True


def test_main_program_drives_the_loop_it_waits_for(loop):
    """Closing from the main program runs the loop as long as it takes; handlers that are due are called."""
    log, timer = [], uv.Timer(loop)
    once(loop, lambda: log.append("due"))
    assert uv.close(timer) is True
    assert timer.closed
    loop.run()
    assert log == ["due"]


def test_coroutine_of_another_loop_waits(loop, go):
    """A coroutine of the main program may close a handle, too; no one can resume it meanwhile."""
    log, timer = [], uv.Timer(loop)

    def body():
        log.append(timer.close())

    one = go(body)
    assert log == [True]
    assert one.status == "dead"


def test_explicit_resume_ends_the_wait_for_a_close(loop):
    """The waiter gets what the resume brings; the handle is closed all the same."""
    log, timer = [], uv.Timer(loop)

    def handler():
        waiter = coroutine.create(lambda: log.append(timer.close()))
        waiter.resume()
        assert waiter.status == "suspended"
        assert timer.closing
        waiter.resume("back")

    once(loop, handler)
    loop.run()
    assert log == ["back"]
    assert timer.closed


def test_several_wait_for_the_same_close(loop):
    """All of them return when libuv has closed it."""
    log, timer = [], uv.Timer(loop)

    def handler():
        for name in "abc":
            spawn.call(lambda name=name: log.append((name, timer.close(), timer.closed)))

    once(loop, handler)
    loop.run()
    assert log == [(name, True, True) for name in "abc"]


def test_events_cross_loops(loop):
    """A handler may wake a coroutine of the main program's loop."""
    log = []
    spawn.call(lambda: log.append(event.await_("news")))
    once(loop, lambda: event.emitall("news"))
    loop.run()
    assert log == ["news"]


def test_default_loop():
    """It is the one that coutil.system uses: both go on together."""
    log = []
    loop = uv.default_loop()
    assert loop is uv.default_loop() is uv.current_loop()
    once(loop, lambda: log.append("timer"), 1)
    system.suspend(0.005)
    assert log == ["timer"]


def test_current_loop(loop):
    """In a handler it is the handler's loop, and new handles belong to it unless they are told otherwise."""
    log = []

    def handler():
        log.append(uv.current_loop() is loop)
        with uv.Timer() as timer:
            log.append(timer.loop is loop)

    once(loop, handler)
    loop.run()
    assert log == [True, True]
    assert uv.current_loop() is not loop


# -- errors


def test_error_of_a_handler(loop):
    """It ends run and is raised there; the loop can go on. Other handlers of the turn were called."""
    log = []
    once(loop, lambda: 1 // 0)
    once(loop, lambda: log.append("called"))
    with pytest.raises(ZeroDivisionError):
        loop.run()
    assert log == ["called"]
    assert loop.run() is False


def test_onerror(loop):
    """It gets the exception and the handle, and run goes on; what it raises itself ends run."""
    log = []
    loop.onerror = lambda error, handle: log.append((type(error), handle))
    timer = once(loop, lambda: 1 // 0)
    assert loop.run() is False
    assert log == [(ZeroDivisionError, timer)]

    def broken(error, handle):
        raise LookupError from error

    loop.onerror = broken
    once(loop, lambda: 1 // 0)
    with pytest.raises(LookupError) as info:
        loop.run()
    assert isinstance(info.value.__cause__, ZeroDivisionError)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_leaving(loop, error):
    """KeyboardInterrupt and SystemExit leave run, past onerror; the loop can go on."""

    def handler():
        raise error

    loop.onerror = lambda *_: pytest.fail("not for this")
    once(loop, handler)
    with pytest.raises(error):
        loop.run()
    assert loop.run() is False


# -- closing


def test_close_with_an_open_handle(loop):
    """EBUSY; nothing is changed. Closed handles that libuv has not let go yet count, too."""
    timer = uv.Timer(loop)
    for state in (False, True):
        with pytest.raises(errors.UVError) as info:
            uv.loop_close(loop)
        assert info.value.name == "EBUSY"
        assert timer.closing is state
        timer.close_soon()
    loop.run()


def test_close_inside(loop):
    """A loop that runs cannot be closed, not by force either."""
    seen = []

    def handler():
        for force in (False, True):
            with pytest.raises(errors.UVError) as info:
                loop.close(force)
            seen.append(info.value.name)

    once(loop, handler)
    loop.run()
    assert seen == ["EBUSY", "EBUSY"]


def test_close_by_force():
    """Handles are closed, waiters told, and coroutines that wait for something else are ended."""
    log = []
    loop = uv.Loop()
    timer = uv.Timer(loop)

    def handler():
        try:
            event.await_("never")
        finally:
            log.append("ended")

    def sleeper():
        try:
            system.suspend(1000)
        finally:
            log.append("woken")

    waiting = once(loop, handler)
    sleeping = once(loop, sleeper)
    loop.run("once")
    uv.loop_close(loop, force=True)
    assert timer.closed
    assert waiting.closed
    assert sleeping.closed
    assert "woken" in log
    assert repr(loop) == "<Loop closed>"
    uv.loop_close(loop)
    event.emitall("never")


def test_calls_after_close():
    """Each raises Closed."""
    loop = uv.Loop()
    timer = uv.Timer(loop)
    loop.close(force=True)
    for call in (loop.run, loop.stop, loop.now, loop.walk, loop.backend_fd, lambda: loop.alive, loop.metrics_idle_time):
        with pytest.raises(errors.Closed, match="loop "):
            call()
    with pytest.raises(errors.Closed):
        uv.Timer(loop)
    with pytest.raises(errors.Closed):
        timer.start(1)
    assert timer.close() is True


def test_forgotten_loop():
    """A loop without references is closed, with a warning."""
    loop = uv.Loop()
    with pytest.warns(ResourceWarning, match="unclosed <Loop idle, 0 handles>"):
        del loop


# -- threads


def test_other_threads(loop):
    """They can do nothing with the loop but call_threadsafe; each has loops of its own."""
    found, main = [], threading.get_ident()
    timer = uv.Timer(loop)

    def body():
        for call in (loop.run, loop.stop, loop.now, timer.stop, timer.close, timer.close_soon, lambda: uv.Idle(loop)):
            try:
                call()
            except errors.ForeignThread:
                found.append("foreign")
        with uv.Loop() as own:
            once(own, lambda: found.append(threading.get_ident() != main))
            own.run()
        loop.call_threadsafe(lambda: (found.append(threading.get_ident() == main), waker.close_soon()))

    waker = uv.Async(loop)
    thread = threading.Thread(target=body)
    thread.start()
    loop.run()
    thread.join()
    timer.close()
    assert found == ["foreign"] * 7 + [True, True]


def test_call_threadsafe_runs_in_a_coroutine(loop):
    """The function may wait."""
    log = []
    loop.call_threadsafe(lambda: (system.suspend(0.001), log.append("waited")))
    loop.run("once")
    loop.run()
    assert log == ["waited"]
    with pytest.raises(TypeError, match=r"function .*3"):
        loop.call_threadsafe(3)
