"""mutex: any value as a lock that one coroutine at a time owns. Cases MTX-1 to MTX-9."""

from __future__ import annotations

import gc
import io
import math
import re
import threading
from contextlib import suppress
from weakref import ref

import pytest

from coutil import errors, event, mutex, scopes, spawn, system
from coutil.coroutine import create, yield_
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.values import Equal, cancel, each_probe, each_way_out, is_collected


def critical(log, name, lock="m"):
    """A body that owns the mutex for a moment."""
    mutex.lock(lock)
    log.append((name, mutex.ownlock(lock)))
    return mutex.unlock(lock)


@pytest.mark.parametrize("make", [Referent, Equal, list, object, lambda: "a" * 3])
def test_a_mutex_is_kept_only_while_locked(make):
    """MTX-1: unlocking meets none, and the value can be collected."""
    thing = make()
    assert mutex.islocked(thing) is mutex.ownlock(thing) is False
    mutex.lock(thing)
    assert mutex.islocked(thing) is mutex.ownlock(thing) is True
    assert mutex.unlock(thing) is False
    assert mutex.islocked(thing) is mutex.ownlock(thing) is False
    if type(thing).__weakrefoffset__:
        watched = ref(thing)
        del thing
        assert is_collected(watched)


def test_a_locked_mutex_is_kept():
    """MTX-1: an owner that everybody has forgotten still owns it; who asks finds it locked."""
    thing = Referent()
    watched = ref(thing)
    start(lambda thing: (mutex.lock(thing), yield_(), mutex.unlock(thing)), thing)
    gc.collect()
    assert mutex.islocked(thing)
    owner = mutex._registry.owners[thing]
    assert owner.status == "suspended"
    owner.resume()
    del thing, owner
    assert is_collected(watched)


@pytest.mark.parametrize("call", [mutex.lock, mutex.unlock])
def test_none_and_nan_are_no_mutexes(call):
    """MTX-2: they cannot be locked, and are never locked."""
    with pytest.raises(ValueError, match="None"):
        call(None)
    with pytest.raises(ValueError, match="NaN"):
        call(math.nan)
    assert mutex.islocked(None) is False
    assert mutex.ownlock(None) is False


@each_probe
def test_unlock_resumes_the_next(probe):
    """MTX-3: the main program locks, a coroutine waits, and has run when unlock returns."""
    log = []

    def body():
        mutex.lock(probe)
        log.append(mutex.ownlock(probe))
        log.append(mutex.unlock(probe))

    mutex.lock(probe)
    start(body)
    assert log == []
    assert event.pending(probe) is True
    assert mutex.unlock(probe) is True
    assert log == [True, False]
    assert mutex.islocked(probe) is mutex.ownlock(probe) is False


def test_numbers_are_mutexes_by_value():
    """1 and 1.0 are one mutex, True is another one."""
    mutex.lock(1)
    assert mutex.ownlock(1.0) is True
    assert mutex.islocked(True) is False
    with pytest.raises(RuntimeError, match="nested lock"):
        mutex.lock(1.0)
    assert mutex.unlock(1.0) is False
    assert mutex.islocked(1) is False


def test_main_program_waits(clock):
    """MTX-3: it waits while a coroutine owns the mutex, and the loop runs meanwhile."""
    log = []

    def owner():
        mutex.lock("m")
        system.suspend(1)
        log.append(mutex.unlock("m"))

    spawn.call(owner)
    assert mutex.ownlock("m") is False
    mutex.lock("m")
    assert (mutex.ownlock("m"), log) == (True, [])
    assert system.run() is False
    assert log == [True]
    assert mutex.unlock("m") is False


def test_main_program_waits_in_vain():
    """The deadlock names the owner; the mutex stays locked, and the main program waits no more."""
    owner = spawn.call(lambda: (mutex.lock("m"), yield_(), mutex.unlock("m")), name="Olga")
    other = spawn.call(critical, [], "other", name="Otto")
    with pytest.raises(errors.Deadlock) as caught:
        mutex.lock("m")
    assert re.search(r"^  main  +[\d.]+ m?s  mutex 'm'  held by Olga  ", str(caught.value), re.MULTILINE)
    assert re.search(r"^  Otto  +[\d.]+ m?s  mutex 'm'  held by Olga  ", str(caught.value), re.MULTILINE)
    assert mutex.ownlock("m") is False
    owner.resume()
    assert other.status == "dead"
    assert mutex.islocked("m") is False


def test_reports():
    """What a waiter shows follows the owner: its name, or that it has ended."""

    def told():
        text = io.StringIO()
        system.report(text)
        return text.getvalue()

    mutex.lock("m")
    waiting = start(lambda: (mutex.lock("m"), mutex.unlock("m")))
    assert "suspended on mutex 'm'>" in repr(waiting)
    assert "mutex 'm'  held by main  " in told()
    plain = start(event.await_, "m")
    plain.close()
    mutex.unlock("m")
    forgetful = create(mutex.lock, name="forgetful")
    forgetful.resume("m")
    waiting = start(critical, [], "x")
    assert "mutex 'm'  held by forgetful, which has ended  " in told()
    waiting.close()
    assert told().startswith("no coroutine waits\n")
    mutex._registry.owners.clear()


def test_first_come_first_served():
    """MTX-4: waiters enter in order; unlock says whether there was a waiter."""
    log = []
    mutex.lock("m")

    def body(number):
        log.append((number, critical([], number)))

    for number in range(10):
        start(body, number)
    assert log == []
    assert mutex.unlock("m") is True
    # each unlock resumes the next one before it returns
    assert log == [(9, False)] + [(number, True) for number in reversed(range(9))]
    assert mutex.islocked("m") is False


def test_waiters_that_keep_the_mutex_for_a_while(clock):
    """MTX-4: one at a time, in order, whatever each of them waits for meanwhile."""
    log = []

    def body(number):
        mutex.lock("m")
        log.append(("in", number))
        system.suspend(10 - number)
        log.append(("out", number))
        mutex.unlock("m")

    for number in range(5):
        start(body, number)
    assert log == [("in", 0)]
    assert system.run() is False
    assert log == [(what, number) for number in range(5) for what in ("in", "out")]


def test_unlock_by_another(hub):
    """MTX-5: only the owner can unlock; the message says who that is."""
    with pytest.raises(RuntimeError, match="lock not owned: mutex 'm' is free"):
        mutex.unlock("m")
    with pytest.raises(RuntimeError, match="lock not owned"):
        start(mutex.unlock, "m")
    mutex.lock("m")
    with pytest.raises(RuntimeError, match="lock not owned: mutex 'm' is held by main"):
        start(mutex.unlock, "m")
    seen = []
    hub.call_threadsafe(lambda: seen.append(mutex.ownlock("m")))
    system.run("step")
    assert seen == [False]
    assert mutex.ownlock("m") is True
    assert mutex.unlock("m") is False


def test_nested_lock():
    """MTX-6: the one that owns a mutex cannot lock it again; nothing changes by trying."""

    def body():
        for _ in range(2):
            mutex.lock("m")
            with pytest.raises(RuntimeError, match=r"nested lock: .* already owns mutex 'm'"):
                mutex.lock("m")
            assert mutex.ownlock("m")
            mutex.unlock("m")

    body()
    assert start(body).status == "dead"
    assert mutex.islocked("m") is event.pending("m") is False


def test_hub_cannot_lock(hub):
    """It cannot wait; the mutex stays free."""
    seen = []

    def in_the_hub():
        with pytest.raises(errors.NotYieldable):
            mutex.lock("m")
        with pytest.raises(RuntimeError, match="lock not owned"):
            mutex.unlock("m")
        seen.append(mutex.islocked("m"))

    hub.call_threadsafe(in_the_hub)
    system.run("step")
    assert seen == [False]


def test_emission_by_another():
    """MTX-7: it wakes the waiters, but none gets in, and they keep their order."""
    log = []
    mutex.lock("m")
    for number in range(5):
        start(critical, log, number)
    assert event.emitall("m", "fake") is True
    assert event.emitall("m") is True
    assert log == []
    assert mutex.unlock("m") is True
    assert log == [(number, True) for number in range(5)]


def test_event_waiter_that_locks():
    """MTX-8: the waiter for the mutex as an event is resumed by unlock, and may lock at once."""
    log = []

    def body():
        log.append(event.await_("m"))
        critical(log, "waiter")

    mutex.lock("m")
    start(body)
    assert mutex.unlock("m") is True
    assert log == ["m", ("waiter", True)]


def test_event_waiter_takes_the_wake_up():
    """MTX-9: unlock resumes one only: if that one does not lock, the next emission lets the waiter in."""
    log = []
    mutex.lock("m")
    start(lambda: log.append(event.await_("m")))
    start(critical, log, "waiter")
    assert mutex.unlock("m") is True
    assert log == ["m"]
    assert mutex.islocked("m") is False
    assert event.emitone("m") is True
    assert log == ["m", ("waiter", True)]


def test_the_first_to_find_the_mutex_free_takes_it():
    """M-2: a coroutine may come before one that was woken in vain; that one waits again, and gets in later."""
    log = []
    mutex.lock("m")
    start(lambda: event.await_("m"))
    start(critical, log, "waiter")
    mutex.unlock("m")
    mutex.lock("m")
    assert event.emitone("m") is True
    assert log == []
    assert mutex.unlock("m") is True
    assert log == [("waiter", True)]


def test_explicit_resume_does_not_end_a_lock():
    """T-45: the coroutine waits on, now at the end of the queue."""
    log = []
    mutex.lock("m")
    made = [start(critical, log, number) for number in range(3)]
    made[0].resume("let me in")
    made[0].resume()
    assert (log, made[0].status) == ([], "suspended")
    assert mutex.unlock("m") is True
    assert log == [(1, True), (2, True), (0, True)]


@each_way_out
def test_cancelled_lock_leaves_no_trace(how):
    """Only throw and close end the wait: the coroutine does not get the mutex later, and the others are not held up."""
    log = []

    def body():
        try:
            critical(log, "cancelled")
        except Trouble:
            log.append("trouble")

    mutex.lock("m")
    waiting = start(body)
    start(critical, log, "next")
    cancel(waiting, how)
    assert log == (["trouble"] if how == "throw" else [])
    log.clear()
    assert mutex.unlock("m") is True
    assert log == [("next", True)] + [("cancelled", True)] * (how == "resume")
    assert event.pending("m") is mutex.islocked("m") is False


@pytest.mark.parametrize("how", ["throw", "close"])
def test_last_waiter_is_cancelled(how, escaped):
    """With no one left to wait, unlock returns False."""
    mutex.lock("m")
    waiting = spawn.catch(lambda error: None, critical, [], "x")
    cancel(waiting, how)
    assert event.pending("m") is False
    assert mutex.unlock("m") is False
    assert escaped == []


def test_exception_of_the_next_owner(escaped):
    """What escapes from the coroutine that unlock resumed goes to the excepthook; the mutex stays its own (T-10)."""
    mutex.lock("m")

    def body():
        mutex.lock("m")
        raise Trouble

    waiting = start(body)
    assert mutex.unlock("m") is True
    assert [(one, type(error)) for one, error in escaped] == [(waiting, Trouble)]
    escaped.clear()
    assert mutex.islocked("m") is True
    assert mutex.ownlock("m") is False
    mutex._registry.owners.clear()


def test_interrupt_of_the_next_owner():
    """KeyboardInterrupt reaches the one that unlocks, who does not own the mutex any more then."""
    mutex.lock("m")

    def body():
        mutex.lock("m")
        mutex.unlock("m")
        raise KeyboardInterrupt

    start(body)
    with pytest.raises(KeyboardInterrupt):
        mutex.unlock("m")
    assert mutex.islocked("m") is False


def test_thousands_of_nested_unlocks():
    """M-3, T-59: each unlock resumes the next waiter, which unlocks, and so on."""
    log = []
    mutex.lock("m")
    made = [start(critical, log, number) for number in range(2000)]
    assert mutex.unlock("m") is True
    assert log == [(number, True) for number in range(2000)]
    assert {one.status for one in made} == {"dead"}


def test_threads_have_their_own_mutexes():
    """A mutex that is locked in one OS thread is free in another; it goes when its thread ends."""
    found = []
    things = [Referent()]
    watched = ref(things[0])

    def in_a_thread():
        found.append(mutex.islocked("m"))
        mutex.lock("m")
        mutex.lock(things.pop())

    mutex.lock("m")
    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert found == [False]
    assert is_collected(watched)
    assert mutex.unlock("m") is False


# -- held -------------------------------------------------------------------------------------------------------------


def test_a_block_holds_a_mutex():
    """The caller owns it inside; afterwards the coroutine that has waited longest has run."""
    log = []
    with mutex.held("m"):
        assert mutex.ownlock("m")
        start(critical, log, "waiter")
        assert log == []
    assert log == [("waiter", True)]
    assert not mutex.islocked("m")


def test_a_block_waits_for_its_turn():
    """At its beginning, if another coroutine owns the mutex."""
    log = []

    def body():
        with mutex.held("m"):
            log.append(mutex.ownlock("m"))

    mutex.lock("m")
    start(body)
    assert log == []
    mutex.unlock("m")
    assert log == [True]
    assert not mutex.islocked("m")


def test_an_exception_leaves_a_block():
    """It is raised as it is, and the mutex is free, whether or not the block had lost it."""
    with pytest.raises(Trouble), mutex.held("m"):
        raise Trouble
    assert not mutex.islocked("m")

    def lose():
        mutex.unlock("m")
        raise Trouble

    with pytest.raises(Trouble), mutex.held("m"):
        lose()


def test_a_block_that_has_lost_its_mutex():
    """At its end that is an error, as in unlock."""
    with pytest.raises(RuntimeError, match="lock not owned: mutex 'm' is free"), mutex.held("m"):
        mutex.unlock("m")


@pytest.mark.parametrize(("value", "error"), [(None, ValueError), (math.nan, ValueError)])
def test_a_block_of_no_mutex(value, error):
    """It does not begin."""
    with pytest.raises(error), mutex.held(value):
        pytest.fail("the block has begun")


def test_a_block_in_a_block_of_the_same_mutex():
    """The inner one is refused, the outer one keeps the mutex."""
    with mutex.held("m"):
        with pytest.raises(RuntimeError, match="nested lock"), mutex.held("m"):
            pytest.fail("the block has begun")
        assert mutex.ownlock("m")
    assert repr(mutex.held("m")) == "<mutex.held('m')>"


@pytest.mark.parametrize("how", ["throw", "close"])
def test_a_block_that_ends_while_it_waits(how):
    """Its waiter leaves the queue: the next one gets the mutex."""
    log = []

    def body():
        with suppress(Trouble), mutex.held("m"):
            log.append("never")

    with mutex.held("m"):
        waiter = start(body)
        start(critical, log, "next")
        cancel(waiter, how)
    assert log == [("next", True)]
    assert not mutex.islocked("m")


def test_a_time_limit_inside_a_block():
    """The cut leaves the block, which frees the mutex."""
    with pytest.raises(errors.Timeout), scopes.timeout(0.001), mutex.held("m"):
        system.suspend(10)
    assert not mutex.islocked("m")


def test_a_time_limit_before_a_block():
    """A mutex that does not get free in time is left to the others."""
    log = []
    holder = start(lambda: (mutex.lock("m"), yield_(), mutex.unlock("m")))
    with pytest.raises(errors.Timeout), scopes.timeout(0.001), mutex.held("m"):
        pytest.fail("the block has begun")
    start(critical, log, "next")
    holder.resume()
    assert log == [("next", True)]
