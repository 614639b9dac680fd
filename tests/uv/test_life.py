"""The life of handles and loops: forgotten, collected, destroyed while they live, used afterwards, in any order."""

import gc
import os
import random
import threading
import time
import warnings
from contextlib import contextmanager
from weakref import ref

import pytest

from coutil import errors, event, spawn, system, uv
from coutil.uv.handle import HandleCore
from tests.helpers.handles import KINDS, SIGNAL
from tests.helpers.kernel import current_context
from tests.helpers.script import output_of

each_kind = pytest.mark.parametrize("kind", KINDS, ids=[kind.name for kind in KINDS])


def misuse(one):
    """Call whatever a handle has; return the names of the exceptions."""
    calls = {
        "start": [(), (1,), (SIGNAL,), (SIGNAL, 2), ("r",)],
        "stop": [()],
        "again": [()],
        "send": [()],
        "kill": [()],
        "wait": [()] if one.closing else [],
        "ref": [()],
        "unref": [()],
        "fileno": [()],
        "send_buffer_size": [()],
        "close_soon": [()],
    }
    found = set()
    for name, forms in calls.items():
        for arguments in forms if hasattr(one, name) else ():
            try:
                getattr(one, name)(*arguments)
            except Exception as error:  # noqa: BLE001  # its name is the result
                found.add(type(error).__name__)
    for name in ("active", "closing", "closed", "has_ref", "type"):
        getattr(one, name)
    repr(one)
    return found


def end(kind, loop, handles):
    """Close everything of a test."""
    for one in handles:
        one.close_soon()
    loop.run("nowait")
    getattr(kind, "close_ends", lambda handles: None)(handles)


@contextmanager
def eager_collector():
    """Collect garbage as often as Python can."""
    before = gc.get_threshold()
    gc.set_threshold(1)
    try:
        yield
    finally:
        gc.set_threshold(*before)


# -- handles


@each_kind
def test_forgotten_handles_live_on(kind, loop):
    """A handle that only its loop knows has its handler called; closed, it is freed."""
    log = []
    one = kind.make(loop)
    kind.start(one)
    setattr(one, kind.handler, lambda handle, *rest: (log.append(handle.type), handle.close_soon()))
    kind.trigger([one])
    known, ends = ref(one), getattr(one, "ends", ())
    del one
    gc.collect()
    assert [found.type for found in loop.walk()] == [kind.name]
    until = time.monotonic() + 5
    while not log and time.monotonic() < until:
        loop.run("nowait")
    loop.run("nowait")
    gc.collect()
    assert log == [kind.name]
    assert known() is None
    for end in ends:
        os.close(end)


@each_kind
def test_attributes_stay_with_the_handle(kind, loop):
    """What users hang on a handle is there in its handler, no matter which one has forgotten it meanwhile."""
    log = []
    one = kind.make(loop)
    one.mine = {"number": 7}
    kind.start(one)
    setattr(one, kind.handler, lambda handle, *rest: (log.append(handle.mine["number"]), handle.close_soon()))
    kind.trigger([one])
    ends = getattr(one, "ends", ())
    del one
    until = time.monotonic() + 5
    while not log and time.monotonic() < until:
        gc.collect()
        loop.run("nowait")
    assert log == [7]
    for end in ends:
        os.close(end)


@each_kind
def test_every_call_in_every_state(kind, loop):
    """B15, B16: whatever is called on a handle, be it new, started, closing or closed: no crash, and it is closed."""
    allowed = {"TypeError", "ValueError", "UVError", "EINVAL", "EBADF", "ENOTSUP", "ESRCH", "ENOTSOCK"}
    made = [kind.make(loop) for _ in range(3)]
    assert misuse(made[0]) <= allowed
    kind.start(made[1])
    kind.start(made[2])
    kind.trigger(made[1:])
    assert misuse(made[1]) <= allowed
    for _ in range(3):
        loop.run("nowait")
    assert misuse(made[2]) <= allowed
    for one in made:
        told = misuse(one)
        assert told <= {"Closed", "TypeError", "ValueError"}
        assert "Closed" in told
    loop.run("nowait")
    assert all(one.closed for one in made)
    for one in made:
        assert "Closed" in misuse(one)
    end(kind, loop, made)


@each_kind
def test_handler_that_closes_all_and_raises(kind, loop):
    """B17: a handler that closes itself and its peers, and then raises, is reported once; nothing else is called."""
    log, told = [], []
    loop.onerror = lambda error, handle: told.append((str(error), handle))
    made = [kind.make(loop) for _ in range(3)]

    def handler(handle, *rest):
        log.append(handle)
        for one in made:
            one.close_soon()
        raise LookupError("mine")

    for one in made:
        setattr(one, kind.handler, handler)
        kind.start(one)
    kind.trigger(made)
    until = time.monotonic() + 5
    while not log and time.monotonic() < until:
        loop.run("nowait")
    loop.run("nowait")
    assert len(log) == 1
    assert told == [("mine", log[0])]
    assert all(one.closed for one in made)
    end(kind, loop, made)


@each_kind
def test_wrong_thread(kind, loop):
    """Another thread can do nothing with a handle but `send`, nor make one in the loop; the handle is not disturbed."""
    one, told = kind.make(loop), []
    kind.start(one)
    was = one.active
    calls = [one.close, one.close_soon, one.ref, one.unref, lambda: kind.start(one) or one.ref(), one.fileno]
    calls += [getattr(one, name) for name in ("stop", "kill", "wait") if hasattr(one, name)]
    calls += [lambda: kind.make(loop)]

    def use():
        for call in calls:
            try:
                call()
            except errors.ForeignThread as error:
                told.append(str(error))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert len(told) == len(calls)
    assert all("belongs to thread MainThread, and was used in thread" in text for text in told)
    assert one.active is was
    end(kind, loop, [one])


def test_closed_while_many_wait(loop):
    """A handle is closed while three coroutines wait in it, in different ways: each is told."""
    log = []
    process, watcher = uv.Process(loop, "sleep", ["1000"]), uv.Signal(loop)
    watcher.start(SIGNAL)
    timers = [uv.Timer(loop) for _ in range(4)]

    def told(wait):
        try:
            log.append(wait())
        except errors.Closed as error:
            log.append(type(error).__name__)

    for timer, wait in zip(timers, (process.wait, process.wait, process.close, watcher.wait), strict=True):
        timer.ontimeout = lambda one, wait=wait: told(wait)
        timer.start(0)
    loop.run("nowait")
    loop.run("nowait")
    process.kill()
    for one in (process, watcher, *timers):
        one.close_soon()
    loop.run()
    assert sorted(map(str, log)) == ["Closed", "Closed", "Closed", "True"]


# -- loops


def test_a_thousand_loops_with_live_handles():
    """B19: loops destroyed while handles of each kind live; every object raises afterwards, and nothing stays."""
    destroy_often(60)


@pytest.mark.soak
def test_a_thousand_loops_for_long():
    """B19: a thousand of them."""
    destroy_often(1000)


def destroy_often(times):
    """Make and destroy loops; descriptors and coroutines must be the same at the end."""
    before, live = len(os.listdir("/proc/self/fd")), current_context().alive_count()
    for number in range(times):
        loop = uv.Loop()
        made = [kind.make(loop) for kind in KINDS if kind.name != "process" or number % 20 == 0]
        for kind in KINDS:
            for one in made:
                if one.type == kind.name:
                    kind.start(one)
        if number % 3:
            loop.run("nowait")
        loop.close(force=True)
        assert all(one.closed for one in made)
        assert all("Closed" in misuse(one) for one in made)
        assert [one.close() for one in made] == [True] * len(made)
        for kind in KINDS:
            getattr(kind, "close_ends", lambda handles: None)([one for one in made if one.type == kind.name])
    with uv.Loop() as last:
        assert uv.Process(last, "true").close() is True  # takes what children of ended loops have left
    assert (len(os.listdir("/proc/self/fd")), current_context().alive_count()) == (before, live)


def test_forgotten_loop_with_waiting_coroutines():
    """A loop that everybody has forgotten, with coroutines suspended in it, stays until its thread ends; not longer."""
    known, log = [], []

    def serve():
        loop = uv.Loop()
        timer = uv.Timer(loop)

        def ontimeout(timer):
            try:
                event.await_("never")
            finally:
                log.append("ended")

        timer.ontimeout = lambda one: (spawn.call(system.suspend, 1000), ontimeout(one))
        timer.start(0)
        loop.run("nowait")
        loop.run("nowait")
        known.extend((ref(loop), ref(timer)))
        del loop, timer
        gc.collect()
        log.append(known[0]() is None)

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    gc.collect()
    assert log[0] is False
    assert [one() for one in known] == [None, None]


def test_loop_dropped_in_another_thread():
    """Another thread may drop the last reference to a loop: that closes nothing there; its own thread does it."""
    boxes, dropped, told = [], threading.Event(), []

    def serve():
        boxes.append([uv.Loop()])
        hub = boxes[0][0]._hub
        dropped.wait()
        told.append(bool(hub.loop.pointer))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        thread = threading.Thread(target=serve)
        thread.start()
        while not boxes:
            time.sleep(0.001)
        boxes[0].clear()
        gc.collect()
        dropped.set()
        thread.join()
        gc.collect()
    assert told == [True]


def test_confused_loops_of_two_threads(loop):
    """A loop of one thread used in another, and the handles of both mixed up, raise; both go on."""
    told, log = [], []

    def serve():
        with uv.Loop() as mine, uv.Timer(mine) as timer:
            uses = (
                loop.run,
                loop.close,
                loop.walk,
                loop.stop,
                loop.now,
                lambda: uv.Timer(loop),
                lambda: foreign.start(1),
            )
            for use in uses:
                try:
                    use()
                except errors.ForeignThread:
                    told.append("foreign")
            timer.ontimeout = log.append
            timer.start(1)
            mine.run()

    with uv.Timer(loop) as foreign:
        foreign.ontimeout = log.append
        thread = threading.Thread(target=serve)
        thread.start()
        thread.join()
        foreign.start(1)
        loop.run()
    assert told == ["foreign"] * 7
    assert len(log) == 2


# -- the collector


def test_storm(loop):
    """B23: with a collection at nearly every allocation, handlers that wait, raise, and drop cycles come out right."""
    log = []
    loop.onerror = lambda error, handle: log.append(str(error))

    class Noisy:
        def __init__(self):
            self.cycle = self

        def __del__(self):
            spawn.call(event.emitall, "noise")  # runs coroutines in the midst of whatever was going on
            log.append("deleted")

    def ontimeout(timer):
        Noisy()
        system.suspend(0)
        timer.count += 1
        if timer.count == 3:
            timer.close()
            raise LookupError("third")

    with eager_collector():
        for _ in range(5):
            timer = uv.Timer(loop)
            timer.count, timer.ontimeout = 0, ontimeout
            timer.start(0, 1)
        del timer
        loop.run()
    gc.collect()
    assert (log.count("third"), log.count("deleted")) == (5, 15)
    assert loop.walk() == []


def test_finalizers_that_use_the_loop(loop):
    """B23: what is finalized in the midst of a turn may start, stop, send and close."""
    log = []
    victims = [uv.Timer(loop) for _ in range(20)]
    wakeup = uv.Async(loop)
    wakeup.onasync = lambda one: log.append("woken")

    class Closer:
        def __init__(self, victim):
            self.victim, self.cycle = victim, self

        def __del__(self):
            self.victim.start(0)
            self.victim.close_soon()
            wakeup.send()

    def ontimeout(timer):
        log.append(timer)

    for victim in victims:
        victim.ontimeout = ontimeout
        Closer(victim)
    driving = uv.Timer(loop)
    driving.ontimeout = lambda one: gc.collect()
    driving.start(0)
    with eager_collector():
        while not log:
            loop.run("once")
    assert set(log) == {"woken"}
    assert all(victim.closing for victim in victims)
    driving.close()
    wakeup.close()


@pytest.mark.parametrize("seed", range(4))
def test_anything_in_any_order(loop, seed):
    """B15: handles of all kinds made, started, stopped, triggered, closed and forgotten at random, by handlers, too."""
    wander(loop, random.Random(seed), 150)


@pytest.mark.fuzz
@pytest.mark.parametrize("seed", range(100, 120))
def test_anything_for_long(loop, seed):
    """B15: the same, longer."""
    wander(loop, random.Random(seed), 20_000)


def wander(loop, dice, steps):
    """Do things at random; an error that is not documented, a crash, or a handler of a closed handle fails."""
    kinds = [kind for kind in KINDS if kind.name not in ("process", "poll")]
    live = []

    def handler(handle, *rest):
        assert not handle.closing
        if dice.random() < 0.3:
            step()
        if dice.random() < 0.2:
            system.suspend(0)
        if dice.random() < 0.2:
            handle.close_soon()

    def step():
        what = dice.randrange(8)
        if what < 2 or not live:
            kind = dice.choice(kinds)
            one = kind.make(loop)
            setattr(one, kind.handler, handler)
            live.append((kind, one))
            return
        kind, one = live[at] if (at := dice.randrange(len(live))) < len(live) else live[0]
        try:
            if what == 2:
                kind.start(one)
            elif what == 3:
                kind.stop(one)
            elif what == 4:
                kind.trigger([one])
            elif what == 5:
                dice.choice([one.close_soon, one.ref, one.unref])()
            elif what == 6:
                live.pop(at)
                gc.collect(0)
            else:
                loop.walk()
        except errors.Closed:
            assert one.closing

    with uv.Signal(loop) as shield:  # so that a signal that no one watches is no end
        shield.start(SIGNAL)
        for _ in range(steps):
            step()
            if dice.random() < 0.3:
                loop.run("nowait")
        for one in loop.walk():
            one.close_soon()
        loop.run()
    assert [one for one in loop.walk() if one is not shield] == []


# -- time


def test_timer_does_not_count_what_came_before(loop):
    """What happens outside of the loop between start and run counts: the timer is not late by it."""
    log = []
    with uv.Timer(loop) as timer, uv.Timer(loop) as later:
        timer.ontimeout = later.ontimeout = lambda one: log.append((one, time.monotonic()))
        loop.update_time()
        begin = time.monotonic()
        timer.start(60)
        time.sleep(0.05)
        loop.update_time()
        later.start(40)
        loop.run()
    assert [one for one, _ in log] == [timer, later]
    assert log[0][1] - begin >= 0.058


def test_once_returns_although_another_timer_is_far(loop):
    """One turn that finds a timer due returns after its handler, and does not sleep until the next one."""
    log = []
    with uv.Timer(loop) as due, uv.Timer(loop) as far:
        due.ontimeout = far.ontimeout = log.append
        due.start(1)
        far.start(5000)
        time.sleep(0.002)
        begin = time.monotonic()
        loop.run("once")
        assert log == [due]
        assert time.monotonic() - begin < 1


def test_memory_of_many_rounds():
    """Handles and loops that come and go take no memory with them (soak tests look closer)."""
    assert output_of("""
        import gc, resource
        from coutil import uv

        def rounds(count):
            for _ in range(count):
                loop = uv.Loop()
                made = [uv.Timer(loop), uv.Signal(loop), uv.Async(loop), uv.Check(loop)]
                made[0].ontimeout = lambda timer: None
                made[0].start(0)
                made[1].start("SIGUSR1")
                loop.run("nowait")
                loop.close(force=True)
            gc.collect()
            return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

        rounds(100)
        before = rounds(50)
        print(rounds(300) - before < 1500)  # KiB
    """) == ["True"]


def test_a_signal_handler_that_raises_in_the_close_callback(monkeypatch):
    """The hub repeats the callback: the handle is closed, and its slot free."""
    real = HandleCore.loop_closed

    def interrupted(self):
        monkeypatch.setattr(HandleCore, "loop_closed", real)
        raise KeyboardInterrupt

    timer = uv.new_timer()
    monkeypatch.setattr(HandleCore, "loop_closed", interrupted)
    timer.close_soon()
    with pytest.raises(KeyboardInterrupt):
        system.suspend(0.01)
    system.suspend(0)
    assert timer.closed
