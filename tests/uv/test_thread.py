"""Threads of libuv: they run Python, and end with all that they made."""

import gc
import os
import subprocess
import sys
import threading
import time
import weakref

import pytest

from coutil import _lifecycle, spawn, system, uv
from coutil._libuv import threads
from coutil.uv import thread as module
from tests.helpers.script import QUIET

PATIENCE = 20


@pytest.fixture(autouse=True)
def no_thread_left():
    """Every thread that a test starts has ended when it is over."""
    yield
    until = time.monotonic() + PATIENCE
    while module._running and time.monotonic() < until:
        time.sleep(0.001)
    assert module._running == {}


@pytest.fixture
def failures(monkeypatch):
    """What `threading.excepthook` was given."""
    found = []
    monkeypatch.setattr(threading, "excepthook", found.append)
    return found


def python(script):
    """Run a script in a process of its own."""
    command = [sys.executable, *QUIET, "-c", f"import os, sys, time\nfrom coutil import system, uv\n{script}"]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=PATIENCE)


def test_a_thread_runs_a_function():
    """In another thread, with the arguments; join waits for its end."""
    seen = []
    thread = uv.Thread(lambda *arguments: seen.append((threading.get_ident(), arguments)), 1, "two", stack_size=1 << 20)
    assert thread.join() is True
    assert seen[0][1] == (1, "two")
    assert seen[0][0] != threading.get_ident()
    assert repr(thread) == "<Thread joined>"


def test_flat_functions():
    """The same with libuv's names."""
    gate = uv.new_sem()
    thread = uv.new_thread(uv.sem_wait, gate, stack_size=1 << 18)
    assert repr(thread) == "<Thread joinable running>"
    uv.sem_post(gate)
    assert uv.thread_join(thread) is True
    with pytest.raises(uv.UVError, match=r"EINVAL.*uv_thread_join"):
        uv.thread_join(thread)
    with pytest.raises(TypeError, match="the first argument "):
        uv.thread_join(gate)


def test_many_threads_at_once():
    """Each runs once; joining them takes no more than they do."""
    lock, seen = uv.Mutex(), []

    def work(number):
        with lock:
            seen.append(number)

    threads = [uv.Thread(work, number) for number in range(50)]
    assert all(thread.join() for thread in threads)
    assert sorted(seen) == list(range(50))


def test_arguments():
    """What cannot be called, or is no size, starts nothing."""
    before = threading.active_count()
    with pytest.raises(TypeError, match=r"function .*None"):
        uv.Thread(None)
    for size in (-1, 2**41):
        with pytest.raises(ValueError, match=rf"stack_size .*{size}"):
            uv.Thread(print, stack_size=size)
    with pytest.raises(ValueError, match=r"stack_size .*1"):
        uv.Thread(print, stack_size=1)
    with pytest.raises(TypeError, match="stack_size "):
        uv.Thread(print, stack_size="big")
    assert threading.active_count() == before


def test_a_thread_that_the_system_does_not_start(monkeypatch):
    """The error is raised, and nothing of the thread is kept."""

    class Exhausted:
        co_thread_start = staticmethod(lambda *_: uv.errno.EAGAIN)

    class Thing:
        def __call__(self):
            raise AssertionError

    monkeypatch.setattr(threads, "lib", Exhausted)
    thing = Thing()
    kept = weakref.ref(thing)
    with pytest.raises(BlockingIOError, match="uv_thread_create_ex"):
        uv.Thread(thing)
    del thing
    gc.collect()
    assert kept() is None
    assert threads._starting == module._running == {}


def test_identity():
    """A thread is equal to itself only; `thread_self` tells which one runs, for others than ours too."""
    seen = []
    thread = uv.Thread(lambda: seen.append((uv.thread_self(), uv.thread_self())))
    thread.join()
    assert seen[0][0] is seen[0][1] is thread
    me = uv.thread_self()
    assert me == uv.thread_self()
    assert hash(me) == hash(uv.thread_self())
    assert uv.thread_equal(me, uv.thread_self()) is True
    assert uv.thread_equal(me, thread) is False
    assert me != thread
    assert me != 1
    assert repr(me) == "<Thread not ours>"
    with pytest.raises(TypeError, match=r"a Thread .*1"):
        uv.thread_equal(me, 1)


def test_a_thread_that_is_not_ours():
    """It cannot be joined or detached."""
    for operation in (uv.thread_self().join, uv.thread_self().detach):
        with pytest.raises(uv.UVError, match="EINVAL"):
            operation()


def test_a_thread_that_joins_itself():
    """It would wait for ever."""
    seen = []

    def work():
        with pytest.raises(uv.Deadlock, match="its own end"):
            uv.thread_self().join()
        seen.append(True)

    uv.Thread(work).join()
    assert seen == [True]


def test_two_that_join_the_same_thread():
    """One of them has joined it, the other is told so."""
    gate, results = uv.Sem(), []
    thread = uv.Thread(gate.wait)

    def join():
        try:
            results.append(thread.join())
        except uv.UVError as error:
            results.append(error.name)

    joiners = [uv.Thread(join) for _ in range(2)]
    gate.post()
    assert all(joiner.join() for joiner in joiners)
    assert sorted(results, key=str) == ["EINVAL", True]


def test_joining_in_the_pool_of_the_standard_library_while_a_loop_goes_on(loop):
    """A blocking join belongs into another thread; its end is told to the loop by an async handle."""
    gate, fired = uv.Sem(), []
    thread = uv.Thread(gate.wait)
    with uv.Async(loop) as waker, uv.Timer(loop) as timer:
        waker.onasync = uv.close_soon
        timer.ontimeout = lambda timer: (fired.append(timer), gate.post())
        timer.start(1)
        helper = uv.Thread(lambda: (thread.join(), waker.send()))
        loop.run()
        helper.join()
    assert fired == [timer]
    loop.run()


def test_an_exception_that_escapes(failures):
    """It goes to `threading.excepthook`, once; SystemExit only ends the thread."""
    uv.Thread(lambda: 1 / 0).join()
    uv.Thread(sys.exit, 3).join()
    assert [args.exc_type for args in failures] == [ZeroDivisionError]
    assert isinstance(failures[0].exc_value, ZeroDivisionError)
    assert failures[0].exc_traceback is not None
    del failures[:]


def test_loops_and_coroutines_of_a_thread_end_with_it():
    """As in threads of Python: the thread's loop is closed, what waits there is ended."""
    before, seen = set(_lifecycle._hubs), []

    def work():
        def waits():
            try:
                system.suspend(1000)
            finally:
                seen.append("ended")

        spawn.call(waits)
        system.suspend(0.001)
        with uv.Loop() as loop, uv.Timer(loop) as timer:
            timer.ontimeout = lambda timer: seen.append("timer")
            timer.start(1)
            loop.run()

    uv.Thread(work).join()
    assert seen == ["timer", "ended"]
    assert set(_lifecycle._hubs) == before


def test_what_a_thread_was_given_is_let_go():
    """Function and arguments live until the function has returned, no matter which one keeps the thread."""

    class Thing:
        pass

    thing, gate = Thing(), uv.Sem()
    gone = weakref.ref(thing)
    thread = uv.Thread(lambda thing: gate.wait(), thing)
    del thing
    gc.collect()
    assert gone() is not None
    gate.post()
    thread.join()
    assert gone() is None


def test_a_thread_without_references():
    """It runs to its end; the memory of threads that were never joined does not pile up."""
    seen = []
    for number in range(200):
        uv.Thread(seen.append, number)
    until = time.monotonic() + PATIENCE
    while len(seen) < 200 and time.monotonic() < until:
        time.sleep(0.001)
    assert sorted(seen) == list(range(200))
    while len(module._unjoined) > 1 and time.monotonic() < until:  # some may drop themselves only now
        uv.Thread(seen.clear).join()  # a new one joins those who did
    assert len(module._unjoined) <= 1


def test_a_thread_that_is_collected_by_another():
    """The collector joins it."""
    thread = uv.Thread(int)
    while id(thread) in module._running:
        time.sleep(0.001)
    gone = weakref.ref(thread)
    del thread
    assert gone() is None
    assert module._running == {}


def test_detach():
    """The system forgets it when it ends; libuv before 1.50 cannot do it."""
    gate = uv.Sem()
    thread = uv.Thread(gate.wait)
    if not uv.has("thread_detach"):
        for operation in (thread.detach, lambda: uv.thread_detach(thread)):
            with pytest.raises(uv.UVError, match=r"ENOSYS.*uv_thread_detach"):
                operation()
        gate.post()
        assert thread.join() is True
        return
    uv.thread_detach(thread)
    for operation in (thread.join, thread.detach, thread.get_priority):
        with pytest.raises(uv.UVError, match="EINVAL"):
            operation()
    assert repr(thread) == "<Thread detached>"
    ended = thread._done
    gate.post()
    assert ended.acquire(timeout=PATIENCE)


def told(name, call, older):
    """Return what a call tells, or None if libuv is too old for it; then it has said so."""
    if uv.has(name):
        return call()
    with pytest.raises(uv.UVError, match=f"ENOSYS.*uv_{older}"):
        call()
    return None


def test_affinity():
    """The processors that a thread may run on, in sets; and the one that it runs on."""
    allowed = os.sched_getaffinity(0)
    me = uv.thread_self()
    assert told("thread_getaffinity", me.get_affinity, "cpumask_size") in (None, allowed)
    assert told("thread_getaffinity", lambda: uv.thread_getaffinity(me), "cpumask_size") in (None, allowed)
    assert told("thread_setaffinity", lambda: me.set_affinity(allowed), "cpumask_size") in (None, allowed)
    assert told("thread_setaffinity", lambda: uv.thread_setaffinity(me, {min(allowed)}), "cpumask_size") in (
        None,
        allowed,
    )
    told("thread_setaffinity", lambda: me.set_affinity(allowed), "cpumask_size")
    assert os.sched_getaffinity(0) == allowed
    assert told("thread_getcpu", uv.thread_getcpu, "thread_getcpu") in (None, *range(os.cpu_count()))


def test_affinity_of_another_thread():
    """It may be set from outside while the thread runs, and not afterwards."""
    gate, allowed = uv.Sem(), os.sched_getaffinity(0)
    thread = uv.Thread(gate.wait)
    one = {max(allowed)}
    assert told("thread_setaffinity", lambda: thread.set_affinity(one), "cpumask_size") in (None, allowed)
    assert told("thread_getaffinity", thread.get_affinity, "cpumask_size") in (None, one)
    gate.post()
    thread.join()
    for operation in (thread.get_affinity, lambda: thread.set_affinity(one), thread.get_priority, lambda: thread.name):
        with pytest.raises(uv.UVError, match="EINVAL"):
            operation()
    assert os.sched_getaffinity(0) == allowed


def test_processors_are_checked():
    """Numbers that no processor can have."""
    me = uv.thread_self()
    for wrong in ([-1], [2**31]):
        with pytest.raises(ValueError, match="a processor "):
            me.set_affinity(wrong)
    with pytest.raises(TypeError, match=r"a processor .*'0'"):
        me.set_affinity(["0"])
    with pytest.raises(uv.UVError, match="EINVAL" if uv.has("cpumask_size") else "ENOSYS"):
        me.set_affinity([10**6])


def test_priority():
    """Five steps; which of them a thread may take is the system's affair."""
    me = uv.thread_self()
    found = told("thread_getpriority", me.get_priority, "thread_getpriority")
    assert told("thread_getpriority", lambda: uv.thread_getpriority(me), "thread_getpriority") == found
    assert found is None or isinstance(found, int)
    told("thread_setpriority", lambda: me.set_priority(0), "thread_setpriority")
    told("thread_setpriority", lambda: uv.thread_setpriority(me, 0), "thread_setpriority")
    for wrong in (-3, 3):
        with pytest.raises(ValueError, match="priority "):
            me.set_priority(wrong)
    with pytest.raises(TypeError, match="priority "):
        me.set_priority("high")


def test_names():
    """A thread names itself, others read it; 15 bytes of it."""
    ready, gate = uv.Sem(), uv.Sem()

    def work():
        if uv.has("thread_setname"):
            uv.thread_setname("a name that is long")
        ready.post()
        gate.wait()

    thread = uv.Thread(work)
    ready.wait()
    assert told("thread_getname", lambda: thread.name, "thread_getname") in (None, "a name that is long"[:15])
    assert told("thread_getname", lambda: uv.thread_getname(thread), "thread_getname") in (None, "a name that is ")
    gate.post()
    thread.join()
    with pytest.raises(ValueError, match="name "):
        uv.thread_setname("a\0b")
    with pytest.raises(TypeError, match=r"name .*b'a'"):
        uv.thread_setname(b"a")
    if not uv.has("thread_setname"):
        with pytest.raises(uv.UVError, match=r"ENOSYS.*uv_thread_setname"):
            uv.thread_setname("name")


def test_the_interpreter_waits_for_threads_at_its_end():
    """As for Python's own; their output is complete."""
    ended = python("uv.Thread(lambda: (time.sleep(0.1), print('later')))\nprint('main program')")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "main program\nlater\n"


def test_interrupting_a_join():
    """Ctrl-C reaches the main program while it waits for a thread."""
    ended = python(
        "import signal\n"
        "gate = uv.Sem()\n"
        "thread = uv.Thread(gate.wait)\n"
        "system.run('ready')\n"
        "uv.Thread(lambda: (time.sleep(0.1), os.kill(os.getpid(), signal.SIGINT)))\n"
        "try:\n    thread.join()\n"
        "except KeyboardInterrupt:\n    print('interrupted')\n"
        "gate.post()\n"
        "print(thread.join())\n"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "interrupted\nTrue\n"


def test_threads_of_the_parent_do_not_exist_after_fork():
    """Joining one raises in the child; the child's own threads work, and it ends without waiting for others."""
    ended = python(
        "gate = uv.Sem()\n"
        "thread = uv.Thread(gate.wait)\n"
        "if os.fork() == 0:\n"
        "    try:\n        thread.join()\n"
        "    except uv.Forked as error:\n        print(error, flush=True)\n"
        "    print(uv.Thread(int).join(), uv.thread_self() == uv.thread_self(), flush=True)\n"
        "    del thread\n"
        "    sys.exit()\n"
        "print(os.waitstatus_to_exitcode(os.wait()[1]), flush=True)\n"
        "gate.post()\n"
        "print(thread.join())\n"
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "the thread belongs to the parent process\nTrue True\n0\nTrue\n"
