"""Finalizers and callbacks that the garbage collector runs switch to no coroutine: the hub does that later."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from weakref import ref

import pytest

from coutil import _switch_guard, coroutine, errors, event, spawn, sync, system
from tests.helpers.script import output_of
from tests.helpers.tcp import with_plain_peer
from tests.helpers.values import run_until_quiet

# What a coroutine waits for, and what the finalizer calls. When the coroutine goes on, it frees a part of the garbage.
KINDS = {
    "event.emitone": ("event.await_('e')", "event.emitone('e')"),
    "event.emitall": ("event.await_('e')", "event.emitall('e')"),
    "queued.emitone": ("queued.await_('e')", "queued.emitone('e')"),
    "queued.emitall": ("queued.await_('e')", "queued.emitall('e')"),
    "fulfill": ("result()", "fulfill(1)"),
    "mutex.unlock": ("mutex.lock('m')", "mutex.unlock('m')"),
    "Semaphore.release": ("permits.acquire()", "permits.release()"),
    "Queue.put_nowait": ("items.get()", "items.put_nowait(1)"),
    "Queue.close": ("raising(errors.Closed, items.get)", "items.close()"),
    "Lock.release": ("lock.acquire()", "lock.release()"),
    "resume": ("coroutine.yield_()", "started.resume()"),
    "throw": ("raising(KeyError, coroutine.yield_)", "started.throw(KeyError)"),
    "close": ("raising(GreenletExit, coroutine.yield_)", "started.close()"),
    "spawn.call": ("None", "spawn.call(clean)"),
    "Scope.cancel": ("cut(scopes.scope())", "blocks[0].cancel()"),
    "Deadline.cancel": ("cut(scopes.move_on_after(100))", "blocks[0].cancel()"),
    "listener.close": ("raising(errors.Closed, listener.accept)", "listener.close()"),
}

PROGRAM = """
    import gc, os, sys
    from greenlet import GreenletExit
    from coutil import coroutine, errors, event, mutex, promise, queued, scopes, spawn, sync, system

    garbage, blocks, log = [], [], []
    permits, items, lock = sync.Semaphore(0), sync.Queue(0), sync.Lock()
    result, fulfill = promise.create()
    mutex.lock("m")
    lock.acquire()
    listener = system.socket("passive", "ipv4")
    listener.bind(system.address("ipv4", "127.0.0.1:0"))
    listener.listen(1)

    def raising(kind, wait):
        try:
            wait()
        except kind:
            pass

    def cut(block):
        blocks.append(block)
        with block:
            try:
                system.suspend(100)
            finally:
                clean()

    def clean():
        log.append("clean")
        while garbage:
            one = garbage.pop()
            one.me = one.parts = None
            del one

    def user():
        try:
            {wait}
        finally:
            clean()

    class Lease:
        def __init__(self):
            self.me, self.parts = self, [{{}}]

        def __del__(self):
            garbage.append(self)
            {call}
            log.append("finalizer ends")

    gc.disable()
    started = spawn.call(user)
    log.clear()
    Lease()
    gc.collect()
    print(*log)
    for _ in range(3):
        system.suspend()
    print(log.count("clean") >= 1)
    sys.stdout.flush()
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("wait", "call"), KINDS.values(), ids=KINDS)
def test_nothing_switches_in_the_collector(wait, call):
    """The coroutine goes on when the collector has ended, and may free what the collector has found."""
    assert output_of(PROGRAM.format(wait=wait, call=call)) == ["finalizer ends", "True"]


def test_nothing_switches_in_a_weakref_callback():
    """The collector calls it, too."""
    log = []

    class Thing:
        pass

    thing = Thing()
    thing.me = thing
    waiting = spawn.call(lambda: (event.await_("e"), log.append("woken")))
    watched = ref(thing, lambda _: (log.append(event.emitall("e")), log.append("callback ends")))
    del thing
    gc.collect()
    assert log == [True, "callback ends"]
    run_until_quiet()
    assert log[2:] == ["woken"]
    assert waiting.status == "dead"
    assert watched() is None


class Garbage:
    """Calls something when the collector finds it."""

    def __init__(self, call):
        self.me, self.call = self, call

    def __del__(self):
        self.call()


def in_the_collector(call):
    """Have a finalizer that the collector runs make a call; return what it returned or raised."""
    found = []

    def caught():
        try:
            found.append(call())
        except errors.NotYieldable as error:
            found.append(error)

    Garbage(caught)
    gc.collect()
    return found[0]


@pytest.mark.parametrize("place", ["main", "coroutine"])
def test_waits_are_refused(place):
    """To wait would switch: the call raises, and nothing is left behind."""
    items = sync.Queue(1)
    with with_plain_peer("ipv4") as (stream, _):
        calls = [system.suspend, lambda: system.suspend(1), items.get, lambda: event.await_("e"), stream.receive]
        calls += [lambda: system.run("step"), lambda: system.fileinfo(os.curdir), lambda: system.awaitsig("child")]
        if place == "coroutine":
            calls.append(coroutine.yield_)
        log = []

        def body():
            log.extend(in_the_collector(call) for call in calls)

        body() if place == "main" else spawn.call(body)
        assert [type(one) for one in log] == [errors.NotYieldable] * len(calls)
        assert system.suspend() is True


def test_a_forgotten_coroutine_is_ended_by_the_hub():
    """Its `finally` blocks would run on the stack of the collector."""
    log = []

    def body():
        try:
            coroutine.yield_()
        finally:
            log.append("finally")

    holder = [coroutine.create(body)]
    holder[0].resume()
    holder.append(holder)
    del holder
    gc.collect()
    assert log == []
    run_until_quiet()
    assert log == ["finally"]


def test_a_forgotten_coroutine_outside_of_the_collector_ends_at_once():
    """The last reference goes by an ordinary call, which may switch."""
    log = []

    def body():
        try:
            coroutine.yield_()
        finally:
            log.append("finally")

    one = coroutine.create(body)
    one.resume()
    del one
    assert log == ["finally"]


def test_without_a_hub_the_call_waits_for_one():
    """Coroutines that need no libuv are woken as soon as the main program waits."""
    lines = output_of(
        """
        import gc
        from coutil import event, spawn

        class Garbage:
            def __init__(self):
                self.me = self

            def __del__(self):
                print(event.emitall("e"))

        def waiter():
            event.await_("e")
            print("woken")
            event.emitall("f")

        spawn.call(waiter)
        Garbage()
        gc.collect()
        print("collected")
        event.await_("f")
        """
    )
    assert lines == ["True", "collected", "woken"]


def test_the_collector_is_recognised():
    """Only while it runs, only in its thread, and whatever a signal handler raises meanwhile."""
    assert not _switch_guard.in_collector()
    assert in_the_collector(_switch_guard.in_collector) is True
    seen = []

    def in_another_thread():
        thread = threading.Thread(target=lambda: seen.append(_switch_guard.in_collector()))
        thread.start()
        thread.join()

    in_the_collector(in_another_thread)
    assert seen == [False]
    assert not _switch_guard.collector.runs


def test_the_end_of_a_forgotten_loop():
    """Its idle greenlets are not entered by the collector."""
    lines = output_of(
        """
        import gc, warnings
        from coutil import event, system, uv

        warnings.simplefilter("ignore")
        holder = [uv.new_loop()]
        holder.append(holder)
        timer = uv.Timer(holder[0])
        timer.ontimer = lambda handle: system.suspend(0.001)
        timer.start(1)
        holder[0].run()
        timer.close()
        holder[0].run()
        del holder, timer
        gc.collect()
        print(system.suspend(0.001))
        """
    )
    assert lines == ["True"]


def run(script, *flags):
    """Run a script in a process of its own; return its lines, and what it wrote to standard error."""
    done = subprocess.run(
        [sys.executable, *flags, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    return done.stdout.splitlines(), done.stderr


def test_what_is_forgotten_is_closed_before_the_warning():
    """Where warnings are errors the interpreter reports them; nothing stays open."""
    lines, errors_ = run(
        """
        import gc, os, sys
        from coutil import system

        def forget():
            listener = system.socket("passive", "ipv4")
            listener.bind(system.address("ipv4", "127.0.0.1:0"))
            file = system.openfile(os.devnull)
            text = system.openfile(os.devnull).text()

        forget()
        system.suspend(0.01)
        before = len(os.listdir("/proc/self/fd"))
        forget()
        gc.collect()
        system.suspend(0.01)
        print(len(os.listdir("/proc/self/fd")) - before)
        """,
        "-X",
        "dev",
        "-W",
        "error",
    )
    assert lines == ["0"]
    assert errors_.count("ResourceWarning: unclosed") == 6, errors_


def test_warnings_name_the_line_of_the_program():
    """A filter that shows a warning once for each place shows one for each line that forgets something."""
    _, errors_ = run(
        """
        from coutil import system

        def first():
            system.socket("stream", "ipv4")

        def second():
            system.socket("stream", "ipv4")

        for _ in range(2):
            first()
            second()
        """,
        "-X",
        "dev",
    )
    places = [line.split(":")[1] for line in errors_.splitlines() if "unclosed" in line]
    assert places == ["5", "8"], errors_


def test_an_interrupt_in_a_finalizer_at_the_end_is_not_printed():
    """The interpreter would print it, with lines of ours, and drop it."""
    _, errors_ = run(
        """
        import _thread, atexit, os, signal, sys

        class Trip:
            __getitem__ = _thread.interrupt_main  # a subscription: the interpreter does not look for signals after it

        trip = Trip()

        def late():
            def profile(frame, event, _):
                if event == "call" and frame.f_code.co_name == "__del__":
                    sys.setprofile(None)
                    trip[signal.SIGINT]
            file = held.pop()
            sys.setprofile(profile)
            del file
            print("end", file=sys.stderr)

        atexit.register(late)
        from coutil import system
        held = [system.openfile(os.devnull)]
        """,
    )
    assert errors_ == "end\n"
