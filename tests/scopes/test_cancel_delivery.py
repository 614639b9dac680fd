"""A cut is no error: `Cancelled` passes code that handles errors, and becomes one where its block is left."""

# ruff: noqa: PT012, BLE001, SIM105, PLW0108  # what blocks raise at their end, and code that swallows everything, are the matter

from __future__ import annotations

import signal
import sys
from functools import partial

import pytest
from greenlet import getcurrent

from coutil import coroutine, errors, event, mutex, promise, queued, spawn, sync, system, uv
from coutil.scopes import cancel_scope, move_on_after, scope, timeout, timeout_at
from tests.helpers.children import sleeper
from tests.helpers.coroutines import Trouble
from tests.helpers.tcp import pairs

# -- code that handles errors


def test_a_retry_loop_is_left_after_one_attempt(clock):
    """Code that tries again after each error does not see the cut."""
    tries = 0
    begun = system.time()
    with move_on_after(0.1) as limit:
        while True:
            tries += 1
            try:
                system.suspend(1)
            except OSError:
                continue
    assert (tries, limit.expired) == (1, True)
    assert system.time() - begun == pytest.approx(0.1)


def test_a_retry_loop_with_a_deadline_of_its_own(clock):
    """Six attempts of 0.05 s, each of which is an error; the outer cut is none."""
    seen = []

    def flaky():
        with timeout(0.05):
            system.suspend(1)

    with move_on_after(0.28) as limit:
        while True:
            try:
                flaky()
            except TimeoutError as error:
                seen.append(error.scope)
    assert (len(seen), limit.expired) == (5, True)
    assert limit not in seen


@pytest.mark.parametrize("make", [timeout, move_on_after])
def test_an_inner_handler_does_not_see_an_outer_deadline(make, clock):
    """Neither `except TimeoutError` nor an inner block takes it for its own."""
    seen = []
    with pytest.raises(errors.Timeout) as caught, timeout(0.1) as outer:
        try:
            with make(5) as inner:
                system.suspend(10)
        except Exception as error:
            seen.append(error)
        pytest.fail("the outer block goes on")
    assert seen == []
    assert (caught.value.scope, inner.expired) == (outer, False)


def test_no_exception():
    """It is a BaseException, and has a message; Timeout is an error."""
    assert errors.Cancelled.__bases__ == (BaseException,)
    assert issubclass(errors.Timeout, TimeoutError)
    assert (str(errors.Cancelled()), errors.Cancelled().scope) == ("cancelled", None)


# -- code that swallows everything


def test_swallowed_by_the_block(clock):
    """The block ends as it must, although its code goes on to the end as if nothing had been."""
    for make in (timeout, lambda seconds: timeout_at(system.time() + seconds)):
        with pytest.raises(errors.Timeout) as caught, make(1) as limit:
            try:
                system.suspend(5)
            except BaseException:
                pass
        assert (caught.value.scope, caught.value.__cause__) == (limit, None)
    with pytest.raises(errors.Timeout), scope(deadline=system.time() + 1):
        try:
            system.suspend(5)
        except BaseException:
            pass
    with move_on_after(1) as quiet:
        try:
            system.suspend(5)
        except BaseException:
            pass
    assert quiet.expired is True


def test_swallowed_inside_an_inner_block(clock):
    """Neither block is deceived: the inner one is left, and the next wait is cut."""
    log = []
    with pytest.raises(errors.Timeout) as caught, timeout(1) as outer:
        with timeout(5):
            try:
                system.suspend(9)
            except BaseException as error:
                log.append(type(error))
        log.append("after the inner block")
        system.suspend()
        log.append("never")
    assert log == [errors.Cancelled, "after the inner block"]
    assert caught.value.scope is outer


def test_swallowed_by_a_child(clock):
    """A child that swallows it has a result; the scope ends as the deadline around it says."""
    with move_on_after(1) as limit, scope() as s:

        def child():
            try:
                system.suspend(5)
            except BaseException:
                return "nevertheless"

        task = s.spawn(child)
    assert limit.expired is True
    assert task.result() == "nevertheless"


def test_another_error_goes_first(clock):
    """What the clean-up raises leaves the block in place of the Timeout."""
    for make in (timeout, move_on_after):
        with pytest.raises(Trouble) as caught, make(1) as limit:
            try:
                system.suspend(5)
            finally:
                raise Trouble
        assert limit.expired is True
        assert isinstance(caught.value.__context__, errors.Cancelled)


def test_a_block_that_does_not_wait_any_more(clock):
    """The time is up while the coroutine works: nothing was cut, so there is nothing to tell."""
    with timeout(1) as limit:
        timer = limit._timer
        limit._on_timer()
        timer.stop()
    assert limit.expired is True
    with timeout(0):
        pass


# -- 64 refusals in a row

WAITS = {
    "suspend": system.suspend,
    "timer": partial(system.suspend, 5),
    "event": partial(event.await_, "never"),
    "events": partial(event.awaitany, "never", "nor this"),
    "queued": partial(queued.await_, "never"),
    "promise": promise.create()[0],
    "mutex": partial(mutex.lock, "m"),
    "lock": lambda: LOCKS[0].acquire(),
    "queue": lambda: sync.Queue(0).get(),
    "request": lambda: system.fileinfo("/"),
    "stream": lambda: STREAMS[0].receive(),
    "yield": coroutine.yield_,
    "execute": lambda: system.execute("true"),
    "run": system.run,
    "result": lambda: TASKS[0].result(),
}
LOCKS, STREAMS, TASKS = [], [], []


def hold(lock):
    """Own a lock and a mutex until the end of the test."""
    mutex.lock("m")
    with lock:
        event.await_("the end")
    mutex.unlock("m")


@pytest.fixture
def things(hub):
    """A lock and a mutex that are held, a stream that brings nothing, and a child that does not end."""
    lock = sync.Lock()
    with scope() as s, pairs("ipv4") as (near, _):
        LOCKS[:], STREAMS[:], TASKS[:] = [lock], [near], [s.spawn(hold, lock)]
        yield
        event.emitall("the end")
    for found in (LOCKS, STREAMS, TASKS):
        found.clear()


@pytest.mark.parametrize(("who", "name"), [(who, name) for who in ("main", "coroutine") for name in WAITS])
def test_a_loop_that_swallows_everything_lets_others_run(who, name, things):
    """Each 64th wait lets the loop turn: timers, and other coroutines, have their turn."""
    if (who, name) in {("main", "yield"), ("coroutine", "run")}:
        pytest.skip("no wait of theirs")
    ticks, tries, wait = [], 0, WAITS[name]

    def ticker():
        while True:
            system.suspend(0)
            ticks.append(tries)

    def stubborn():
        nonlocal tries
        with move_on_after(0) as limit:
            while len(ticks) < 5:
                tries += 1
                try:
                    wait()
                except errors.Cancelled as error:
                    assert error.scope is limit  # noqa: PT017  # it is swallowed
                else:
                    pytest.fail("a wait in a block that is over has returned")

    other = spawn.call(ticker)
    if who == "main":
        stubborn()
    else:
        one = spawn.call(stubborn)
        while one.status != "dead" and tries < 100_000:
            system.run("ready")
        assert one.status == "dead"
    other.close()
    assert ticks == sorted(ticks)
    assert cancel_scope.MAX_REFUSALS <= tries <= 2 * (len(ticks) + 1) * cancel_scope.MAX_REFUSALS
    assert coroutine.running().parked_at >= 0 or who == "main"


def test_new_blocks_do_not_count_anew(clock):
    """A loop around blocks that are over at once lets others run, too."""
    log, tries = [], 0
    spawn.call(lambda: (system.suspend(), log.append("ran")))
    while not log and tries < 1000:
        tries += 1
        with move_on_after(0):
            event.await_("never")
    assert tries == cancel_scope.MAX_REFUSALS


def test_what_comes_meanwhile_is_not_lost(clock):
    """The 64th wait has begun: what comes before it is cut, it has got, like any other wait."""
    log = []

    def stubborn():
        with move_on_after(0):
            while True:
                try:
                    log.append(queue.get())
                except errors.Cancelled:
                    if log:
                        raise

    queue = sync.Queue(0)
    spawn.call(stubborn)
    queue.put("item")
    system.run("ready")
    assert log == ["item"]
    assert len(queue) == 0


def test_in_another_loop():
    """Waits in another loop of the thread are counted as well, and cut by that loop's hub."""
    with uv.Loop() as loop:
        timer, tries, ticks = uv.Timer(loop), 0, []
        timer.ontimeout = lambda _: ticks.append(tries)
        timer.start(0, 1)
        idle = uv.Async(loop)
        with move_on_after(0):
            while not ticks and tries < 1_000_000:
                tries += 1
                try:
                    loop.fs.stat("/")
                except BaseException:
                    continue
        assert ticks
        timer.close()
        idle.close()
        loop.run()


def test_a_thousand_children_that_wait_twice(clock):
    """Refusals are counted for each coroutine: who clean up once are not held up by the others."""
    log = []

    def child():
        try:
            system.suspend(9)
        finally:
            with pytest.raises(errors.Cancelled):
                system.suspend()
            log.append("ended")

    with scope() as s:
        for _ in range(1000):
            s.spawn(child)
        s.cancel()
        assert len(log) == 1000


# -- outside of its block


def orphan():
    """Return what has cut a wait of a block that is left by now."""
    with move_on_after(0), pytest.raises(errors.Cancelled) as caught:
        system.suspend()
    return caught.value


@pytest.mark.parametrize("make", [errors.Cancelled, orphan])
def test_raised_by_hand(make, clock, escaped):
    """It is for no block: it passes through all, and escapes from a coroutine like any other exception."""
    log, error = [], make()

    def program(begin):
        begin()
        with timeout(1), move_on_after(1):
            raise error

    spawn.call(program, lambda: None)
    spawn.call(program, system.suspend)
    assert system.run() is False
    assert [type(one) for _, one in escaped] == [errors.Cancelled] * 2
    escaped.clear()
    with pytest.raises(errors.Cancelled):
        coroutine.create(program).resume(lambda: None)
    for fails in ((lambda s: s.spawn(program, lambda: None)), (lambda s: program(lambda: None))):
        with pytest.raises(BaseExceptionGroup) as caught, scope() as s:
            s.spawn(sleeper, log)
            fails(s)
            system.suspend()
        assert caught.value.exceptions == (error,)
    assert log == ["Cancelled"] * 2


def test_an_error_that_is_thrown_is_not_touched(clock):
    """`throw` into a wait of a block that is not over, and into one that is: the user's own error arrives."""
    log = []

    def program():
        try:
            with timeout(1):
                system.suspend(5)
        except Trouble as error:
            log.append(error)

    error = Trouble()
    spawn.call(program).throw(error)
    assert log == [error]

    def shielded():
        with move_on_after(0), timeout(None, shield=True):
            event.await_("never")

    with pytest.raises(Trouble):
        spawn.call(shielded).throw(error)


# -- about to wait

REGISTERING = {
    "suspend": partial(system.suspend, 60),
    "event": partial(event.await_, "never"),
    "lock": lambda: LOCKS[0].acquire(),
    "stream": lambda: STREAMS[0].receive(),
    "result": lambda: TASKS[0].result(),
}


@pytest.mark.parametrize("wait", REGISTERING.values(), ids=REGISTERING)
@pytest.mark.parametrize("who", ["main", "coroutine"])
def test_cancelled_by_a_signal_handler_at_any_step_of_a_wait(who, wait, things):
    """Wherever the handler runs between the call and the suspension: the wait is cut, it does not last for ever."""
    log = []

    def program(at):
        count, me = 0, getcurrent()

        def handler(frame, what, argument):
            nonlocal count
            if not str(frame.f_globals.get("__name__")).startswith("coutil."):
                return None
            count += getcurrent() is me
            if count == at and getcurrent() is me:
                sys.settrace(None)
                limit.cancel()
            frame.f_trace_opcodes = True
            return handler

        with timeout(5), move_on_after(0.05) as limit:
            sys.settrace(handler)
            try:
                wait()
            finally:
                sys.settrace(None)
        log.append(limit.expired)

    at = 0
    while log[-1:] != [True]:  # the loop waited before it came to that step
        at += 1
        if who == "main":
            program(at)
        else:
            one = spawn.call(program, at)
            while one.status != "dead":
                system.run("step")
    assert len(log) > 20


def test_cancelled_by_a_real_signal(hub):
    """SIGALRM's handler cancels: the main program and a coroutine that wait then leave the block."""
    log = []

    def handler(*_):
        for limit in limits:
            limit.cancel()

    def other():
        with limits[0]:
            sleeper(log)

    limits = [move_on_after(60), move_on_after(60)]
    before = signal.signal(signal.SIGALRM, handler)
    try:
        spawn.call(other)
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        with limits[1]:
            sleeper(log)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert log == ["Cancelled", "Cancelled"]


def test_choice_of_delivery(monkeypatch):
    """One that waits gets the error at once; one that runs, joins or is shielded gets it in another way."""
    chosen = {}
    deliver = cancel_scope._deliver

    def recorded(one):
        chosen[one.name] = cancel_scope.choose_delivery(one).name
        deliver(one)

    def shielded():
        with timeout(None, shield=True):
            system.suspend(0.001)

    def canceller():
        system.suspend()
        block.cancel()

    monkeypatch.setattr(cancel_scope, "_deliver", recorded)
    with scope() as block:
        block.spawn(system.suspend, 100, name="waiting")
        block.spawn(shielded, name="shielded")
        block.spawn(canceller, name="running")
    host = chosen.pop(coroutine.running().name)
    assert host == "AFTER_CHILDREN"
    assert chosen == {"waiting": "NOW", "shielded": "NEXT_WAIT", "running": "FROM_HUB"}
