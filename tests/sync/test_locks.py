"""sync.Lock and sync.Semaphore: permits go to who has waited longest, and none is lost or doubled."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from contextlib import nullcontext
from weakref import ref

import pytest

from coutil import errors, scopes, spawn, system
from coutil.coroutine import create, running, yield_
from coutil.sync import BoundedSemaphore, Lock, Semaphore
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.values import cancel, each_way_out, is_collected, run_until_quiet

each_kind = pytest.mark.parametrize("make", [Lock, Semaphore, BoundedSemaphore])


def critical(log, permits, name):
    """A body that has a permit for a moment."""
    with permits:
        log.append(name)


def free(permits):
    """Whether no one has a permit, and there is no waiter."""
    if permits.locked():
        return False
    texts = {Lock: "<Lock free at", Semaphore: "<Semaphore 1 at", BoundedSemaphore: "<BoundedSemaphore 1/1 at"}
    return repr(permits).startswith(texts[type(permits)])


# -- both -------------------------------------------------------------------------------------------------------------


@each_kind
def test_acquire_and_release(make):
    """Without anybody else nothing waits."""
    permits = make()
    assert free(permits)
    assert permits.acquire() is True
    assert permits.locked() is True
    assert permits.release() is None
    with permits as taken:
        assert taken is permits
        assert permits.locked()
    assert free(permits)


@each_kind
def test_acquire_without_blocking(make):
    """It takes what is free, and says so."""
    permits, log = make(), []
    assert permits.acquire(blocking=False) is True
    start(lambda: log.append(permits.acquire(False)))
    assert log == [False]
    permits.release()
    assert free(permits)


@each_kind
def test_release_resumes_the_next(make):
    """He has a permit before he runs, and has run when release returns."""
    permits, log = make(), []
    permits.acquire()
    waiting = start(critical, log, permits, "waiter")
    run_until_quiet()
    assert (log, waiting.status) == ([], "suspended")
    permits.release()
    run_until_quiet()
    assert (log, waiting.status) == (["waiter"], "dead")
    assert free(permits)


@each_kind
def test_a_permit_that_was_given_cannot_be_taken(make):
    """It goes to who has waited longest, not to the one that comes first."""
    permits, log = make(), []
    permits.acquire()

    def keeper():
        permits.acquire()
        yield_()
        permits.release()

    keeping = start(keeper)
    start(critical, log, permits, "next")
    permits.release()
    start(critical, log, permits, "late")
    run_until_quiet()
    assert permits.acquire(blocking=False) is False
    assert log == []
    keeping.resume()
    run_until_quiet()
    assert log == ["next", "late"]
    assert free(permits)


@each_kind
def test_fair_shares(make):
    """B31: two greedy coroutines and a modest one get a permit equally often."""
    permits, counts, over = make(), Counter(), []

    def body(name, pause):
        while not over:
            with permits:
                counts[name] += 1
                system.suspend()
                system.suspend()
            if pause:
                system.suspend()

    for name, pause in (("greedy", False), ("greedier", False), ("modest", True)):
        spawn.call(body, name, pause)
    for _ in range(600):
        system.suspend()
    over.append(True)
    run_until_quiet()
    assert system.run() is False
    assert sum(counts.values()) > 100
    assert max(counts.values()) - min(counts.values()) <= max(counts.values()) / 10
    assert free(permits)


@each_kind
def test_the_main_program_waits(make, clock):
    """The loop runs until its turn comes; who cannot give the permit back is shown in the deadlock."""
    permits, log = make(), []

    def owner():
        with permits:
            system.suspend(1)
            log.append("slept")

    spawn.call(owner)
    with permits:
        assert log == ["slept"]
        waiting = start(critical, log, permits, "after")
        run_until_quiet()
        assert str(waiting.waiting_on) == f"{make.__name__.lower()} {permits._label()} acquire"
    run_until_quiet()
    assert log == ["slept", "after"]
    start(lambda: (permits.acquire(), yield_(), permits.release()))
    with pytest.raises(errors.Deadlock, match=rf"main .* {make.__name__.lower()} <{make.__name__} .*, 1 waiting at"):
        permits.acquire()
    run_until_quiet()
    assert repr(permits).count("waiting") == 0


@each_kind
def test_explicit_resume_does_not_acquire(make):
    """T-45: the coroutine waits on, at its place in the line."""
    permits, log = make(), []
    permits.acquire()
    made = [start(critical, log, permits, number) for number in range(3)]
    made[0].resume("let me in")
    made[0].resume()
    run_until_quiet()
    assert (log, made[0].status) == ([], "suspended")
    permits.release()
    run_until_quiet()
    assert log == [0, 1, 2]
    assert free(permits)


@pytest.mark.parametrize("how", ["throw", "close"])
@pytest.mark.parametrize("place", [0, 1, 2])
@each_kind
def test_a_cancelled_acquire_leaves_no_trace(make, place, how):
    """B36: wherever in the line it is, the others are not held up, and no permit is lost."""
    permits, log = make(), []
    permits.acquire()
    made = [create(critical) for _ in range(3)]
    for number, one in enumerate(made):
        one.resume(log, permits, number)
    if how == "throw":
        with pytest.raises(Trouble):
            cancel(made[place], how)
    else:
        cancel(made[place], how)
    run_until_quiet()
    assert (log, made[place].status) == ([], "dead")
    permits.release()
    run_until_quiet()
    assert log == [number for number in range(3) if number != place]
    assert free(permits)


@each_kind
def test_timeouts(make, clock):
    """Timeout is raised when the time is up; no permit is taken later."""
    permits = make()
    start(lambda: (permits.acquire(), system.suspend(5), permits.release()))
    with pytest.raises(errors.Timeout):
        permits.acquire(timeout=3)
    with pytest.raises(errors.Timeout):
        permits.acquire(timeout=0)
    assert "waiting" not in repr(permits)
    assert permits.acquire(timeout=3) is True
    permits.release()
    assert permits.acquire(timeout=0) is True
    permits.release()
    assert free(permits)


@each_kind
def test_an_explicit_resume_does_not_prolong_the_time(make, clock):
    """The time counts from the call."""
    permits, log = make(), []
    before = clock.time
    permits.acquire()

    def body():
        with pytest.raises(errors.Timeout):
            permits.acquire(timeout=3)
        log.append(clock.time - before)

    waiting = start(body)
    for _ in range(2):
        system.suspend(1)
        waiting.resume()
    system.suspend(2)
    assert log == [3e9]
    permits.release()
    assert free(permits)


@each_kind
def test_timeouts_in_one_turn(make, clock):
    """B36: deadlines of several waiters, and of blocks around them, pass in the same turn: the outer ones are told."""
    permits, log = make(), []

    def body(name):
        try:
            with scopes.timeout(1) as outer:
                try:
                    permits.acquire(timeout=1)
                except errors.Timeout as error:
                    log.append((name, error.scope is outer))
                    system.suspend()
        except errors.Timeout as error:
            log.append((name, error.scope is outer))

    with permits:
        for name in "ab":
            spawn.call(body, name)
        system.suspend(2)
    assert log == [("a", True), ("b", True)]
    assert free(permits)


@each_kind
def test_the_interrupt_of_the_next_one(make):
    """KeyboardInterrupt reaches the main program; the permit goes to the next one all the same."""
    permits, log = make(), []
    permits.acquire()

    def body():
        with permits:
            raise KeyboardInterrupt

    start(body)
    start(critical, log, permits, "third")
    permits.release()
    with pytest.raises(KeyboardInterrupt):
        run_until_quiet()
    run_until_quiet()
    assert log == ["third"]
    assert free(permits)


@each_kind
def test_the_error_of_the_next_one(make, escaped):
    """It goes to the excepthook."""
    permits = make()
    permits.acquire()

    def body():
        with permits:
            raise Trouble

    waiting = start(body)
    permits.release()
    run_until_quiet()
    assert [(one, type(error)) for one, error in escaped] == [(waiting, Trouble)]
    escaped.clear()
    run_until_quiet()
    assert free(permits)


@each_kind
def test_thousands_in_line(make):
    """M-3: each release resumes the next one, within each other."""
    permits, log = make(), []
    permits.acquire()
    made = [start(critical, log, permits, number) for number in range(2000)]
    permits.release()
    run_until_quiet()
    assert log == list(range(2000))
    assert {one.status for one in made} == {"dead"}
    assert free(permits)


@each_kind
def test_another_thread(make):
    """B33: it gets an error; nothing happens to the permits."""
    permits, log = make(), []
    permits.acquire()

    def in_a_thread():
        for call in (permits.acquire, permits.release, permits.__enter__, lambda: permits.acquire(False)):
            try:
                call()
            except errors.ForeignThread as error:
                log.append(str(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    run_until_quiet()
    assert [text.partition(" belongs to thread ")[0] for text in log] == [repr(permits)] * 4
    permits.release()
    run_until_quiet()
    assert free(permits)


def test_another_thread_and_a_lost_lock():
    """B33: the owner has ended and is forgotten; a thread without coroutines is not taken for it."""
    lock, log = Lock(), []
    spawn.call(lock.acquire)
    waiter = spawn.call(lambda: log.append(lock.acquire()))

    def in_a_thread():
        try:
            lock.release()
        except errors.ForeignThread as error:
            log.append(type(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert log == [errors.ForeignThread]
    assert repr(lock).startswith("<Lock lost, 1 waiting")
    waiter.close()


@each_kind
def test_those_who_wait_are_collected_with_their_thread(make):
    """No one is kept by a line, or by what he holds, when the thread has ended; `finally` blocks run."""
    log, watched = [], []

    def body(mine, other):
        with mine:
            try:
                other.acquire()
            finally:
                log.append("finally")

    def in_a_thread():
        mine, other = make(), make()
        other.acquire()
        watched.extend(map(ref, (start(body, mine, other), start(body, make(), other), mine, other)))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    run_until_quiet()
    assert all(map(is_collected, watched))
    assert log == ["finally"] * 2


# -- locks ------------------------------------------------------------------------------------------------------------


def test_the_owner():
    """The lock knows who owns it, also for reports."""
    lock, log = Lock(), []
    run_until_quiet()
    assert lock.owner is None
    with lock:
        assert lock.owner is running()
        assert repr(lock).startswith("<Lock held by main at test_locks.py:")
        waiting = start(lambda: (lock.acquire(), log.append(lock.owner), lock.release()))
        run_until_quiet()
        assert waiting.waiting_on.owner is running()
        assert repr(lock).startswith("<Lock held by main, 1 waiting at test_locks.py:")
    run_until_quiet()
    assert log == [waiting]
    assert lock.owner is None


def test_misuse_of_a_lock():
    """Nested acquire would wait for ever; only the owner releases."""
    lock = Lock()
    with pytest.raises(RuntimeError, match="does not own <Lock free"):
        lock.release()
    with lock:
        for nested in (lock.acquire, lambda: lock.acquire(blocking=False), lambda: lock.acquire(timeout=1)):
            with pytest.raises(RuntimeError, match="main owns <Lock held by main"):
                nested()
        with pytest.raises(RuntimeError, match="does not own <Lock held by main"):
            start(lock.release)
    run_until_quiet()
    assert free(lock)


def test_the_hub_owns_no_lock(hub):
    """It is no coroutine."""
    lock, log = Lock(), []

    def in_the_hub():
        for call, error in ((lock.acquire, errors.NotYieldable), (lock.release, RuntimeError)):
            with pytest.raises(error):
                call()
            log.append(lock.locked())

    hub.call_threadsafe(in_the_hub)
    system.run("step")
    run_until_quiet()
    assert log == [False, False]


def test_a_block_whose_lock_was_released_inside():
    """That is a mistake; but it does not hide the exception that leaves the block."""
    lock = Lock()

    def body(error):
        with lock:
            lock.release()
            if error:
                raise error

    with pytest.raises(RuntimeError, match="does not own"):
        body(None)
    with pytest.raises(Trouble):
        body(Trouble())
    run_until_quiet()
    assert free(lock)


def test_an_owner_that_has_ended():
    """Its lock stays locked; that it is lost is what a deadlock shows."""
    lock = Lock()
    owner = start(lock.acquire)
    run_until_quiet()
    assert repr(lock).startswith("<Lock held by Lock.acquire at")
    with pytest.raises(errors.Deadlock, match=r"main .* lock <Lock locked, .*held by Lock\.acquire, which has ended"):
        lock.acquire()
    del owner
    gc.collect()
    run_until_quiet()
    assert (lock.locked(), lock.owner) == (True, None)
    with pytest.raises(errors.Deadlock, match=r"main .* lock <Lock lost"):
        lock.acquire()


def test_a_forgotten_owner_frees_its_lock():
    """It is collected while it yields in the block; the next one gets the lock."""
    lock, log = Lock(), []

    def body():
        with lock:
            yield_()

    owner = start(body)
    waiting = start(critical, log, lock, "next")
    run_until_quiet()
    assert (log, waiting.status) == ([], "suspended")
    watched = ref(owner)
    del owner
    run_until_quiet()
    assert is_collected(watched)
    assert log == ["next"]
    assert free(lock)


def test_a_deadlock_of_two_locks(clock):
    """Each has what the other one waits for: the cycle is shown."""
    a, b = Lock(), Lock()

    def body(first, second):
        with first:
            system.suspend(1)
            with second:
                pass

    made = [spawn.call(body, a, b, name="one"), spawn.call(body, b, a, name="two")]
    with pytest.raises(errors.Deadlock, match=r"cycle: (one -> two -> one|two -> one -> two)"):
        a.acquire()
    for one in made:
        one.close()
    assert free(a)
    assert free(b)


# -- semaphores -------------------------------------------------------------------------------------------------------


def test_a_number_of_permits():
    """As many coroutines as there are permits go on at a time."""
    permits, inside, most = Semaphore(3), [], []

    def body(number):
        with permits:
            inside.append(number)
            most.append(len(inside))
            for _ in range(number % 3):
                system.suspend()
            inside.remove(number)

    for number in range(20):
        spawn.call(body, number)
    assert permits.value == 0
    assert system.run() is False
    assert (max(most), inside, len(most)) == (3, [], 20)
    assert permits.value == 3


def test_release_of_several():
    """They go to those who wait, in order; the rest is kept."""
    permits, log = Semaphore(5), []
    for _ in range(5):
        permits.acquire()
    for number in range(3):
        start(lambda number: (permits.acquire(), log.append((number, permits.value))), number)
    permits.release(2)
    run_until_quiet()
    assert log == [(0, 0), (1, 0)]
    permits.release(3)
    run_until_quiet()
    assert log == [(0, 0), (1, 0), (2, 2)]
    assert permits.value == 2


@pytest.mark.parametrize("how", ["throw", "close"])
def test_killed_between_permit_and_run(how):
    """B32: the first of two who were given permits kills the second before that one has run: the permit comes back."""
    permits, log, made = Semaphore(2), [], []

    def first():
        with permits:
            with pytest.raises(Trouble) if how == "throw" else nullcontext():
                cancel(made[1], how)
            log.append("first")

    permits.acquire()
    permits.acquire()
    made += [start(first), start(critical, log, permits, "second"), start(critical, log, permits, "third")]
    permits.release(2)
    run_until_quiet()
    assert log == ["first", "third"]
    assert permits.value == 2
    assert {one.status for one in made} == {"dead"}


def test_resumed_between_permit_and_run():
    """Who was given a permit goes on with it, no matter which one resumes it."""
    permits, log, made = Semaphore(2), [], []

    def first():
        with permits:
            made[1].resume("early")
            log.append("first")

    permits.acquire()
    permits.acquire()
    made += [start(first), start(critical, log, permits, "second")]
    permits.release(2)
    run_until_quiet()
    assert log == ["second", "first"]
    assert permits.value == 2


def test_several_interrupts():
    """All who were given permits are resumed. Each interrupt is raised in the main program."""
    permits, log = Semaphore(3), []

    def body(error):
        with permits:
            log.append(error)
            raise error

    for _ in range(3):
        permits.acquire()
    for error in (KeyboardInterrupt, SystemExit):
        start(body, error)
    start(critical, log, permits, "third")
    found = []
    before = system.get_excepthook()
    system.set_excepthook(lambda _, error: found.append(type(error)))
    permits.release(3)
    for error in (KeyboardInterrupt, SystemExit):
        with pytest.raises(error):
            system.run("ready")
    run_until_quiet()
    system.set_excepthook(before)
    assert log == [KeyboardInterrupt, SystemExit, "third"]
    assert found == []
    assert permits.value == 3


def test_permits_of_a_bounded_semaphore():
    """Releasing more than were acquired is a mistake."""
    permits = BoundedSemaphore(2)
    with pytest.raises(ValueError, match=r"<BoundedSemaphore 2/2 at .* was released more often"):
        permits.release()
    permits.acquire()
    with pytest.raises(ValueError, match="released"):
        permits.release(2)
    assert permits.value == 1
    permits.release()
    run_until_quiet()
    assert permits.value == 2
    assert isinstance(permits, Semaphore)


def test_a_semaphore_counts_freely():
    """As `threading.Semaphore`: more permits than at first can be released."""
    counter, log = Semaphore(0), []
    start(critical, log, counter, "event")
    counter.release()
    run_until_quiet()
    assert log == ["event"]
    counter.release(10)
    run_until_quiet()
    assert counter.value == 11
    assert repr(counter).startswith("<Semaphore 11 at test_locks.py:")


def test_a_bounded_semaphore_without_permits():
    """What could not be acquired cannot be released."""
    permits = BoundedSemaphore(0)
    waiting = start(permits.acquire)
    with pytest.raises(ValueError, match="released"):
        permits.release()
    assert waiting.status == "suspended"
    waiting.close()
    assert permits.locked()


def test_a_bounded_semaphore_of_another_thread():
    """The thread is looked at before the number."""
    permits, failures = BoundedSemaphore(1), []

    def other():
        try:
            permits.release()
        except errors.ForeignThread as error:
            failures.append(error)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert len(failures) == 1
    assert permits.value == 1


@pytest.mark.parametrize("make", [Semaphore, BoundedSemaphore])
@pytest.mark.parametrize(("value", "error"), [(-1, ValueError), (1.5, TypeError), ("1", TypeError), (True, TypeError)])
def test_numbers_of_permits(make, value, error):
    """They are integers that make sense."""
    permits = make(1)
    with pytest.raises(error, match="value"):
        make(value)
    with pytest.raises(error, match=r"\bn "):
        permits.release(value)
    with pytest.raises(ValueError, match=r"\bn "):
        permits.release(0)
    assert free(permits)


def test_anybody_can_release(hub):
    """Permits have no owner: the hub gives one to who waits."""
    permits, log = Semaphore(1), []
    permits.acquire()
    start(critical, log, permits, "waiter")
    hub.call_threadsafe(permits.release)
    system.run("step")
    run_until_quiet()
    assert log == ["waiter"]
    assert free(permits)


@each_way_out
@each_kind
def test_nothing_is_kept(make, how):
    """Neither the permits nor who waited are kept by anything when the wait is over."""
    things = [Referent()]
    watched = [ref(things[0])]

    def body(permits, thing):
        try:
            permits.acquire()
        except Trouble:
            return
        permits.release()

    permits = make()
    permits.acquire()
    waiting = start(body, permits, things.pop())
    watched.append(ref(waiting))
    cancel(waiting, how)
    permits.release()
    watched.append(ref(permits))
    del waiting, permits
    run_until_quiet()
    assert all(map(is_collected, watched))
