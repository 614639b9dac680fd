"""Signal handles: who gets a signal, how often, and what holds for it before and afterwards."""

import os
import signal
import threading
import time

import pytest

from coutil import coroutine, errors, spawn, system, uv
from tests.helpers.script import output_of

USR1, USR2 = signal.SIGUSR1, signal.SIGUSR2


def raise_(number=USR1):
    """Send this process a signal; it has been caught when this returns."""
    os.kill(os.getpid(), number)


def collect(handle, log):
    handle.onsignal = lambda one, number: log.append(number)
    return handle


def settle(loop):
    """Have the loop deliver what has come."""
    for _ in range(2):
        loop.run("nowait")


@pytest.fixture(autouse=True)
def dispositions():
    """After each test, the signals used here are as before: Python's own handler is called."""
    called = []
    before = [(number, signal.signal(number, lambda number, frame: called.append(number))) for number in (USR1, USR2)]
    yield called
    called.clear()
    raise_(USR1)
    raise_(USR2)
    assert called == [USR1, USR2], "a signal does not reach the handler that Python has for it"
    for number, handler in before:
        signal.signal(number, handler)


def test_handler_is_called_until_stop(loop, dispositions):
    """Each signal calls the handler with its number, until the handle is stopped; then Python's is called again."""
    log = []
    with collect(uv.new_signal(loop), log) as handle:
        assert handle.type == "signal"
        assert not handle.active
        uv.signal_start(handle, USR1)
        assert handle.active
        assert handle.has_ref
        for _ in range(3):
            raise_()
            loop.run("once")
        assert (log, dispositions) == ([USR1] * 3, [])
        uv.signal_stop(handle)
        handle.stop()
        assert not handle.active
        raise_()
        settle(loop)
        assert (log, dispositions) == ([USR1] * 3, [USR1])


@pytest.mark.parametrize("name", ["SIGUSR1", "sigusr1", USR1, int(USR1)])
def test_names_and_numbers(loop, name):
    """A signal is named as the system does, in any case, or given by number."""
    log = []
    with collect(uv.Signal(loop), log) as handle:
        handle.start(name)
        raise_()
        settle(loop)
        assert log == [USR1]
        assert type(log[0]) is int


@pytest.mark.parametrize(
    ("signum", "error", "text"),
    [
        ("SIGNOTHING", ValueError, "invalid signum: 'SIGNOTHING'; accepted are"),
        ("USR1", ValueError, "invalid signum"),
        (-1, ValueError, "out of range .*: -1"),
        (256, ValueError, "out of range"),
        (2**70, ValueError, "out of range"),
        (1.0, TypeError, "signum must be a string or an int, not 1.0"),
        (None, TypeError, "signum must be"),
        (True, TypeError, "signum must be"),
    ],
)
def test_refused_signals(loop, signum, error, text):
    """The message names the argument and its value; the handle stays as it was."""
    with uv.Signal(loop) as handle:
        handle.start(USR1)
        for call in (handle.start, handle.start_oneshot):
            with pytest.raises(error, match=text):
                call(signum)
        assert handle.active


@pytest.mark.parametrize("signum", [0, "SIGKILL", "SIGSTOP", 32, 255])
def test_signals_that_no_one_can_watch(loop, signum):
    """EINVAL says that the system refuses; nothing is watched then."""
    with uv.Signal(loop) as handle:
        for call in (handle.start, handle.start_oneshot):
            with pytest.raises(errors.UVError) as info:
                call(signum)
            assert info.value.name == "EINVAL"
            assert info.value.syscall.startswith("uv_signal_start")
        assert not handle.active
        handle.stop()


def test_one_shot_stops_by_itself(loop, dispositions):
    """Libuv's signal (one_shot): it is called once; the loop ends, and Python's handler is back at once."""
    log = []
    with collect(uv.Signal(loop), log) as handle:
        uv.signal_start_oneshot(handle, USR1)
        raise_()
        assert loop.run() is False
        assert log == [USR1]
        assert not handle.active
        raise_()
        settle(loop)
        assert (log, dispositions) == ([USR1], [USR1])


def test_one_shot_and_others(loop, dispositions):
    """Libuv's signal (mixed): one-shot handles and others of one signal do not disturb each other."""
    log = []
    handles = [uv.Signal(loop) for _ in range(4)]
    for number, handle in enumerate(handles):
        handle.onsignal = lambda one, signum, number=number: log.append(number)
        (handle.start_oneshot if number % 2 else handle.start)(USR1)
    for _ in range(2):
        raise_()
        settle(loop)
    assert sorted(log) == [0, 0, 1, 2, 2, 3]
    assert [handle.active for handle in handles] == [True, False, True, False]
    for handle in handles:
        handle.stop()
    raise_()
    assert dispositions == [USR1]
    for handle in handles:
        handle.close_soon()


def test_a_handle_changes_its_mind(loop):
    """Started again it is one-shot or not as was said last, and watches only the signal that was named last."""
    log = []
    with collect(uv.Signal(loop), log) as handle:
        handle.start_oneshot(USR1)
        handle.start(USR1)
        for _ in range(2):
            raise_()
            settle(loop)
        assert log == [USR1, USR1]
        assert handle.active
        handle.start_oneshot(USR1)
        raise_()
        settle(loop)
        assert len(log) == 3
        assert not handle.active
        handle.start(USR1)
        handle.start(USR2)
        raise_(USR2)
        settle(loop)
        assert log[3:] == [USR2]


def test_stop_drops_what_is_under_way(loop):
    """A signal that was caught, but told to no one yet, is dropped by stop, be it in libuv's hands or in ours."""
    log = []
    with uv.Signal(loop) as first, uv.Signal(loop) as second:
        for one, other in ((first, second), (second, first)):
            one.onsignal = lambda one, number, other=other: (log.append(number), other.stop())
            one.start(USR1)
        raise_()
        settle(loop)
        assert log == [USR1]
        assert first.active != second.active
        first.start(USR2)
        raise_(USR2)
        first.stop()
        settle(loop)
        assert log == [USR1]


def test_signals_of_one_turn_are_one(loop):
    """A signal is not counted: what came since the last turn is one call."""
    log = []
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)
        for _ in range(100):
            raise_()
        settle(loop)
        assert log == [USR1]
        raise_()
        settle(loop)
        assert log == [USR1] * 2


def test_unreferenced_handle_lets_the_loop_end(loop):
    """Luv's test-signal: an active handle keeps the loop alive unless it is unreferenced; it is told all the same."""
    log = []
    with collect(uv.Signal(loop), log) as handle, uv.Timer(loop) as timer:
        handle.start(USR1)
        assert loop.alive
        handle.unref()
        assert handle.active
        assert not handle.has_ref
        assert not loop.alive
        assert loop.run() is False
        timer.ontimeout = lambda one: raise_()
        timer.start(0)
        loop.run()
        settle(loop)
        assert log == [USR1]
        handle.ref()
        assert loop.alive


@pytest.mark.parametrize("where", ["handle", "one-shot"])
def test_close_with_a_pending_signal(where, loop, dispositions):
    """B21, libuv's signal-pending-on-close: a handle closed after its signal was caught is closed for all that."""
    log = []
    handle = collect(uv.Signal(loop), log)
    (handle.start if where == "handle" else handle.start_oneshot)(USR1)
    raise_()
    assert handle.close() is True
    assert handle.closed
    assert loop.run() is False
    assert log == []
    raise_()
    assert dispositions == [USR1]


def test_close_of_a_loop_with_signals(dispositions):
    """Libuv's signal_close_loop_alive: a loop that is closed by force, with a signal pending, leaves nothing behind."""
    for _ in range(20):
        loop = uv.Loop()
        handles = [uv.Signal(loop) for _ in range(3)]
        for handle in handles:
            handle.start(USR1)
        raise_()
        loop.close(force=True)
        assert all(handle.closed for handle in handles)
    assert dispositions == []
    raise_()
    assert dispositions == [USR1]


def test_other_loops_of_the_thread_and_the_system_module(loop, dispositions):
    """Everybody who watches gets the signal; Python's handler comes back after the very last one."""
    log = []
    with uv.Loop() as second, collect(uv.Signal(second), log) as there, collect(uv.Signal(loop), log) as here:
        here.start(USR1)
        there.start(USR1)
        spawn.call(lambda: log.append(system.awaitsig("userdef1")))
        raise_()
        settle(loop)
        assert log == [USR1]
        settle(second)
        system.run("step")
        assert log == [USR1, USR1, "userdef1"]
        here.stop()
        raise_()
        assert dispositions == []
        settle(second)
        there.stop()
        raise_()
        assert dispositions == [USR1]
        assert len(log) == 4


def test_a_handler_that_is_set_meanwhile(loop):
    """A handler that is set while a handle is started takes the signal, and stays when the handle stops."""
    log, mine = [], []
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)
        before = signal.signal(USR1, lambda number, frame: mine.append(number))
        raise_()
        settle(loop)
        assert (log, mine) == ([], [USR1])
        handle.stop()
        raise_()
        assert (log, mine) == ([], [USR1] * 2)
        handle.start(USR1)
        raise_()
        settle(loop)
        assert (log, len(mine)) == ([USR1], 2)
    settle(loop)
    signal.signal(USR1, before)


def test_ignored_stays_ignored(loop):
    """What was ignored before is ignored again."""
    before = signal.signal(USR1, signal.SIG_IGN)
    log = []
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)
        raise_()
        settle(loop)
        handle.stop()
        raise_()  # would end the process
        settle(loop)
    assert log == [USR1]
    assert signal.getsignal(USR1) is signal.SIG_IGN
    signal.signal(USR1, before)


def test_several_loops_in_several_threads():
    """Libuv's signal-multiple-loops: each loop of each thread gets every signal; starts and stops do not disturb it."""
    ready, done, counts = threading.Barrier(4), threading.Event(), []

    def serve():
        with uv.Loop() as loop, uv.Signal(loop) as handle, uv.Timer(loop) as timer, uv.Signal(loop) as other:
            log = []

            def ontimeout(timer):
                other.start_oneshot(USR2)
                other.stop()
                if done.is_set():
                    loop.stop()

            collect(handle, log).start(USR1)
            timer.ontimeout = ontimeout
            timer.start(1, 1)
            ready.wait()
            loop.run()
            counts.append(len(log))

    threads = [threading.Thread(target=serve) for _ in range(3)]
    for thread in threads:
        thread.start()
    ready.wait()
    for _ in range(20):
        raise_()
        time.sleep(0.002)
    done.set()
    for thread in threads:
        thread.join()
    assert [1 <= count <= 20 for count in counts] == [True] * 3, counts


def test_waiting_in_place_of_a_handler(loop):
    """`wait` returns the number; while a coroutine waits, the handler is not called."""
    log = []
    with collect(uv.Signal(loop), log) as handle, uv.Timer(loop) as timer:
        timer.ontimeout = lambda one: raise_()
        handle.start(USR1)
        timer.start(1)
        assert handle.wait() == USR1
        assert log == []
        timer.start(1)
        loop.run("once")
        settle(loop)
        assert log == [USR1]


def test_iteration_ends_with_the_handle(loop):
    """Iterating gets each signal, also one that came while the loop body ran, until the handle is stopped."""
    log = []
    with uv.Signal(loop) as handle, uv.Timer(loop) as timer:

        def ontimeout(timer):
            raise_()
            if len(log) >= 3:
                handle.stop()

        timer.ontimeout = ontimeout
        handle.start(USR1)
        timer.start(1, 2)
        for number in handle:
            log.append(number)
            loop.run("once") if log == [USR1] else None  # a signal meanwhile
        assert log == [USR1] * 3
        assert not handle.active
        assert list(handle) == []
        timer.stop()
        handle.start_oneshot(USR1)
        raise_()
        assert list(handle) == [USR1]


def test_one_signal_is_kept_for_the_next_wait(loop):
    """Without a handler, what comes when there is no waiter is there for the next one who does; stop drops it."""
    with uv.Signal(loop) as handle:
        handle.start(USR1)
        for _ in range(3):
            raise_()
            settle(loop)
        assert handle.wait() == USR1
        raise_()
        settle(loop)
        handle.stop()
        with pytest.raises(errors.UVError) as info:
            handle.wait()
        assert info.value.name == "EINVAL"


def test_two_who_wait_and_one_who_stops(loop):
    """Only one coroutine waits; it is told when the handle is stopped, or closed, meanwhile."""
    log = []

    def wait(handle):
        try:
            log.append(handle.wait())
        except OSError as error:
            log.append(type(error).__name__)

    with uv.Signal(loop) as handle, uv.Timer(loop) as timer:
        timer.ontimeout = lambda one: wait(handle)
        handle.start(USR1)
        timer.start(0)
        loop.run("once")
        with pytest.raises(errors.BusyError, match="signal "):
            handle.wait()
        handle.stop()
        handle.start(USR1)  # at once: who waits need not know
        settle(loop)
        raise_()
        settle(loop)
        assert log == [USR1]
        for end, told in ((handle.stop, "OperationCancelled"), (handle.close_soon, "Closed")):
            timer.start(0)
            handle.start(USR1)
            loop.run("once")
            end()
            settle(loop)
            assert log.pop() == told
    with pytest.raises(errors.Closed, match="signal "):
        handle.wait()
    with pytest.raises(errors.Closed):
        next(handle)


def test_explicit_resume_of_who_waits(loop):
    """A coroutine that is resumed by others gets what they give; the signal is kept."""
    log, waiters = [], []
    with uv.Signal(loop) as handle, uv.Timer(loop) as timer:

        def ontimeout(timer):
            waiters.append(coroutine.running())
            log.append(handle.wait())

        timer.ontimeout = ontimeout
        handle.start(USR1)
        timer.start(0)
        loop.run("once")
        waiters[0].resume("mine")
        assert log == ["mine"]
        raise_()
        assert handle.wait() == USR1


def test_interrupt_while_watched():
    """SIGINT raises no KeyboardInterrupt while a handle watches it, and does so again afterwards."""
    assert output_of("""
        import os, signal
        from coutil import uv

        loop = uv.Loop()
        log = []
        with uv.Signal(loop) as handle:
            handle.onsignal = lambda one, number: (log.append(number), one.stop())
            handle.start("SIGINT")
            os.kill(os.getpid(), signal.SIGINT)
            loop.run()
        print(log)
        timer = uv.Timer(loop)
        timer.ontimeout = lambda one: os.kill(os.getpid(), signal.SIGINT)
        timer.start(1)
        try:
            loop.run()
            print("went on")
        except KeyboardInterrupt:
            print("interrupted")
        timer.close()
        loop.close(force=True)
    """) == ["[2]", "interrupted"]


def test_flood(loop):
    """B60: far more signals than libuv's pipe holds, while the loop is blocked: the last one is delivered."""
    log, handles = [], [uv.Signal(loop) for _ in range(20)]
    for handle in handles:
        collect(handle, log).start(USR1)
    for _ in range(5000):
        raise_()
    settle(loop)
    assert log == [USR1] * 20
    raise_()
    settle(loop)
    assert log == [USR1] * 40
    for handle in handles:
        handle.close()


@pytest.mark.soak
def test_flood_of_a_million(loop):
    """B60: a million signals to a loop that does not turn."""
    log = []
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)
        for _ in range(10**6):
            raise_()
        settle(loop)
        assert log == [USR1]


def test_after_close(loop):
    """Every call raises Closed; a handle of another thread is not touched."""
    handle = uv.Signal(loop)
    handle.close()
    for call in (lambda: handle.start(USR1), lambda: handle.start_oneshot(USR1), handle.stop):
        with pytest.raises(errors.Closed, match="signal "):
            call()
    assert not handle.active
    assert not handle.has_ref


def test_wrong_thread(loop):
    """Another thread can neither start nor wait."""
    told = []
    with uv.Signal(loop) as handle:
        handle.start(USR1)

        def use():
            for call in (lambda: handle.start(USR2), handle.stop, handle.wait, lambda: next(handle)):
                try:
                    call()
                except errors.ForeignThread as error:
                    told.append(str(error))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert len(told) == 4
        assert "belongs to thread MainThread, and was used in thread" in told[0]
        assert handle.active
