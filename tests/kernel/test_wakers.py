"""What may wake a hub from outside of its loop: none of it is taken for a deadlock, and all else is."""

from __future__ import annotations

import _thread
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coutil import _lifecycle, coroutine, errors, event, promise, spawn, sync, system, uv
from coutil.testing import ManualClock, ignore_threads
from tests.helpers.kernel import Hub
from tests.helpers.script import output_of, run_script

NOTHING_ELSE = "no other thread runs, no signal has a handler in Python, the thread pool is idle: each of these could"


@pytest.fixture
def thread() -> Iterator[Callable[..., threading.Thread]]:
    """Start threads, which have to end with the test."""
    made: list[threading.Thread] = []

    def start(function: Callable[..., Any], *arguments: Any, daemon: bool = False) -> threading.Thread:
        made.append(threading.Thread(target=function, args=arguments, name="other", daemon=daemon))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.join()


def after(seconds: float, function: Callable[..., Any], *arguments: Any) -> None:
    time.sleep(seconds)
    function(*arguments)


# -- what counts


@pytest.mark.parametrize("daemon", [False, True])
def test_a_thread(thread, daemon):
    """It may do anything, as long as it runs."""
    made, fulfill = promise.create()
    thread(after, 0.05, fulfill, 7, daemon=daemon)
    assert made() == 7
    thread(after, 0.05, uv.default_loop().call_threadsafe, event.emitall, "x", daemon=daemon)
    assert event.await_("x") == "x"


def test_a_thread_while_no_loop_is_loaded():
    """A program that has imported nothing but promises gets a loop when its main program waits."""
    lines = output_of("""
        import sys, threading, time
        from coutil import promise
        made, fulfill = promise.create()
        print("coutil._libuv" in sys.modules)
        threading.Timer(0.05, fulfill, (7,)).start()
        print(made(), "coutil._libuv" in sys.modules)
    """)
    assert lines == ["False", "7 True"]


def test_a_thread_that_has_just_been_started():
    """It may not have begun."""
    for _ in range(100):
        made, fulfill = promise.create()
        _thread.start_new_thread(fulfill, (7,))
        assert made() == 7


def test_a_thread_that_waits_for_a_processor():
    """It has no frame before it runs. Here it comes last, on the only processor, until another process lifts it."""
    lines = output_of("""
        import _thread, os, subprocess, sys
        from coutil import promise, system
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        busy = [subprocess.Popen(["sh", "-c", "while kill -0 $PPID; do :; done"]) for _ in range(4)]
        system.suspend(0.1)
        made, fulfill = promise.create()
        os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
        _thread.start_new_thread(fulfill, (7,))
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        lift = '''if True:
            import os, signal, sys, time
            time.sleep(0.3)
            for task in os.listdir(f"/proc/{os.getppid()}/task"):
                os.sched_setscheduler(int(task), os.SCHED_OTHER, os.sched_param(0))
            for one in sys.argv[1:]:
                os.kill(int(one), signal.SIGKILL)
        '''
        busy.append(subprocess.Popen([sys.executable, "-S", "-c", lift, *(str(one.pid) for one in busy)]))
        try:
            print(made())
        finally:
            for one in busy:
                one.wait()
    """)
    assert lines == ["7"]


def test_threads_that_have_not_run(monkeypatch):
    """The hub gives up when each thread has run and none is new since the look before."""
    looks = [{"1": True}, {"1": True, "2": True}, {"1": True, "2": False}, {"1": True, "2": True}]
    left = iter(looks)
    monkeypatch.setattr(_lifecycle, "os_threads", lambda: next(left))
    with pytest.raises(errors.Deadlock):
        event.await_("x")
    assert list(left) == []


def test_a_thread_that_waits_in_a_loop_of_its_own(thread):
    """As long as something is alive there."""
    made, fulfill = promise.create()
    thread(lambda: (system.suspend(0.05), fulfill(7)))
    assert made() == 7


def test_a_signal_handler():
    """A function of Python's may do anything."""
    before = signal.signal(signal.SIGALRM, lambda *_: event.emitall("alarm"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert event.await_("alarm") == "alarm"
    finally:
        signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, signal.default_int_handler])
def test_other_handlers_wake_none(handler):
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        with pytest.raises(errors.Deadlock):
            event.await_("x")
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_the_thread_pool():
    """A function that another loop has put there."""
    made, fulfill = promise.create()
    with uv.Loop() as loop:
        request = loop.queue_work_nowait(after, 0.05, fulfill, 7)
        assert made() == 7
        loop.run()
        request.result()


def test_a_thread_of_ours():
    made, fulfill = promise.create()
    other = uv.Thread(after, 0.02, fulfill, 7)
    assert made() == 7
    other.join()


# -- what does not


def test_a_thread_that_ends(thread, hub: Hub):
    """The hub looks again now and then, and more and more seldom."""
    turns = hub._turns
    thread(time.sleep, 0.3)
    begin = time.monotonic()
    with pytest.raises(errors.Deadlock) as caught:
        event.await_("x")
    assert time.monotonic() - begin >= 0.3
    assert hub._turns - turns < 20
    assert str(caught.value).endswith(NOTHING_ELSE)


def test_a_thread_that_waits_for_us(thread):
    """Each would have to wake the other. One is told; it may let the other go on."""
    mine, fulfill_mine = promise.create()
    his, fulfill_his = promise.create()
    log: list[Any] = []

    def other() -> None:
        try:
            log.append(his())
            fulfill_mine("woken")
        except errors.Deadlock as error:
            log.append(str(error))
            fulfill_mine("after the deadlock")

    one = thread(other)
    try:
        got = mine()
    except errors.Deadlock as error:
        log.append(str(error))
        fulfill_his("told")
        one.join()
        got = log.pop()
    assert (got, log) in [
        ("after the deadlock", [f"{log[0].partition('no other')[0]}{NOTHING_ELSE}\n  thread MainThread waits, too"]),
        ("told", [f"{log[0].partition('no other')[0]}{NOTHING_ELSE}\n  thread other waits, too"]),
    ]


def test_threads_that_hand_over(thread):
    """A call that is on its way is seen: two threads that wake each other are never taken for a deadlock."""
    there, back = sync.Queue(0), sync.Queue(0)
    loops: list[uv.Loop] = []
    ready = threading.Event()
    queue: list[sync.Queue] = []

    def other() -> None:
        loops.append(uv.default_loop())
        queue.append(sync.Queue(0))
        ready.set()
        while (item := queue[0].get()) is not None:
            main.call_threadsafe(back.put_nowait, item)

    main = uv.default_loop()
    one = thread(other)
    ready.wait()
    for number in range(300):
        loops[0].call_threadsafe(queue[0].put_nowait, number)
        assert back.get() == number
    loops[0].call_threadsafe(queue[0].put_nowait, None)
    one.join()
    assert there.empty()


def test_who_waits_for_the_end_of_the_thread():
    """The main program is in `join`, so that it can wake no coroutine; and who joins it cannot, either."""
    found: list[str] = []

    def last() -> None:
        try:
            event.await_("x")
        except errors.Deadlock as error:
            found.append(str(error))

    def middle() -> None:
        one = threading.Thread(target=last, name="last")
        one.start()
        one.join()

    one = threading.Thread(target=middle, name="middle")
    one.start()
    one.join()
    assert found[0].endswith(f"{NOTHING_ELSE}\n  thread MainThread waits, too\n  thread middle waits, too")


def test_ignored_threads(thread):
    """A test runner's threads are there for the whole session; those that come later count."""
    over = threading.Event()
    thread(over.wait)
    ignore_threads()
    with pytest.raises(errors.Deadlock):
        event.await_("x")
    over.set()
    for _ in range(5):  # the system gives the idents of threads that have ended to new ones
        made, fulfill = promise.create()
        thread(after, 0.02, fulfill, 7)
        assert made() == 7
    with pytest.raises(errors.Deadlock):
        event.await_("x")


# -- what stays as it is


def test_run_ends(thread):
    """It waits for what its loop has to do, and for nothing else."""
    over = threading.Event()
    thread(over.wait)
    begin = time.monotonic()
    assert system.run() is False
    assert system.run("step") is False
    assert time.monotonic() - begin < 1
    over.set()


def test_the_clock_of_a_test(thread, clock: ManualClock):
    """Time passes when nothing else in the loop can, whatever other threads do."""
    over = threading.Event()
    thread(over.wait)
    begin = time.monotonic()
    assert system.suspend(1000) is True
    assert time.monotonic() - begin < 10
    over.set()


def test_interrupts_come_through():
    lines = output_of("""
        import os, signal, threading, time
        from coutil import event, system
        threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT)).start()
        threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
        begin = time.monotonic()
        try:
            event.await_("x")
        except KeyboardInterrupt:
            print(time.monotonic() - begin < 2)
    """)
    assert lines == ["True"]


def test_the_end_of_the_process():
    """It waits for threads, so that the main thread wakes none of them any more: they are told."""
    done = run_script("""
        import threading
        from coutil import event
        for _ in range(2):
            threading.Thread(target=event.await_, args=("x",)).start()
        print("over", flush=True)
    """)
    assert (done.returncode, done.stdout) == (0, "over\n")
    assert done.stderr.count("coutil.errors.Deadlock: nothing can wake the 1 coroutine that waits") == 2


@pytest.mark.slow
@pytest.mark.parametrize(
    "start", ["uv.Thread(event.await_, 'x')", "request = uv.default_loop().queue_work_nowait(event.await_, 'x')"]
)
def test_the_end_of_the_process_with_our_threads(start):
    """So are threads of coutil.uv, and functions in the thread pool."""
    done = run_script(f"""
        import time
        from coutil import event, system, uv
        {start}
        time.sleep(0.1)
        print("over", flush=True)
    """)
    assert (done.returncode, done.stdout) == (0, "over\n")


def test_who_joins_a_thread_of_ours():
    found: list[str] = []

    def body() -> None:
        try:
            event.await_("x")
        except errors.Deadlock as error:
            found.append(str(error))

    uv.Thread(body).join()
    assert found[0].endswith("\n  thread MainThread waits, too")


def test_the_end_of_the_process_with_daemon_threads():
    """They are not told, and not waited for."""
    done = run_script("""
        import threading, time
        from coutil import event
        for _ in range(2):
            threading.Thread(target=event.await_, args=("x",), daemon=True).start()
        time.sleep(0.1)
        print("over")
    """)
    assert (done.returncode, done.stdout, done.stderr) == (0, "over\n", "")


def test_coroutines_of_a_thread_that_ends():
    """Its hub does not wait for others."""
    log: list[str] = []

    def waits() -> None:
        try:
            coroutine.yield_()
        finally:
            log.append("ended")

    one = threading.Thread(target=lambda: spawn.call(lambda: (spawn.call(waits), system.suspend(100))))
    one.start()
    one.join(10)
    assert not one.is_alive()
