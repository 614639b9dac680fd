"""sync.Condition: who waits gets the lock back whatever happens, and no notification is lost."""

from __future__ import annotations

import threading
from weakref import ref

import pytest

from coutil import errors, scopes, spawn, system
from coutil.coroutine import running, yield_
from coutil.sync import Condition, Lock
from tests.helpers.coroutines import Trouble, start
from tests.helpers.values import cancel, each_way_out, is_collected, run_until_quiet


def waiter(log, condition, name, **options):
    """A body that waits once, and says what came of it and whether it owns the lock."""
    with condition:
        try:
            result = condition.wait(**options)
        except (Trouble, errors.Timeout) as error:
            result = type(error).__name__
        log.append((name, result, condition.owner is running()))


def keep(lock):
    """Start a coroutine that owns the lock until it is resumed."""

    def keeper():
        with lock:
            yield_()

    return start(keeper)


def unused(condition):
    """Whether no one owns the lock, or waits for anything."""
    return not condition.locked() and "waiting" not in f"{condition} {condition._lock}"


def test_a_notified_coroutine_has_the_lock():
    """It runs when the notifier releases, and before that neither has run."""
    condition, log = Condition(), []
    start(waiter, log, condition, "a")
    run_until_quiet()
    assert condition.locked() is False
    with condition:
        assert condition.notify() is None
        assert log == []
    run_until_quiet()
    assert log == [("a", True, True)]
    assert unused(condition)


def test_notify_is_fair():
    """B31: those who have waited longest are notified, and get the lock in the same order."""
    condition, log = Condition(), []
    for name in "abcde":
        start(waiter, log, condition, name)
    with condition:
        condition.notify()
        condition.notify(2)
        condition.notify(0)
    run_until_quiet()
    assert [name for name, _, _ in log] == ["a", "b", "c"]
    with condition:
        condition.notify_all()
        condition.notify_all()
    run_until_quiet()
    assert [name for name, _, _ in log] == ["a", "b", "c", "d", "e"]
    assert all(owned for _, _, owned in log)
    with condition:
        condition.notify(10)
    run_until_quiet()
    assert unused(condition)


def test_a_notification_without_a_waiter_is_lost():
    """As everywhere; that is what the predicate is for."""
    condition, log = Condition(), []
    with condition:
        condition.notify()
        condition.notify_all()
    waiting = start(waiter, log, condition, "late")
    assert (log, waiting.status) == ([], "suspended")
    waiting.close()
    assert log == []
    assert unused(condition)


def test_notified_all_but_changed_before_they_run():
    """B30: what was true at the notification need not be when the waiter runs: each one looks again."""
    condition, items, log = Condition(), [], []

    def consumer():
        with condition:
            condition.wait_for(lambda: items)
            log.append(items.pop())

    made = [start(consumer) for _ in range(100)]
    for number in range(50):
        with condition:
            items.append(number)
            condition.notify_all()
        run_until_quiet()
    assert log == list(range(50))
    with condition:
        items.append("taken away")
        condition.notify_all()
        items.clear()
    run_until_quiet()
    assert log == list(range(50))
    for one in made:
        one.close()
    run_until_quiet()
    assert unused(condition)


def test_who_gets_the_lock_in_between_may_notify_at_once():
    """The next owner runs while wait releases the lock, before the caller is suspended: it is notified all the same."""
    condition, log = Condition(), []

    def notifier():
        with condition:
            condition.notify()
            log.append("notified")

    with condition:
        start(notifier)
        start(waiter, log, condition, "third")
        run_until_quiet()
        assert log == []
        assert condition.wait() is True
        assert log == ["notified"]
        assert condition.owner is running()
        condition.notify()
    run_until_quiet()
    assert log == ["notified", ("third", True, True)]
    assert unused(condition)


def test_wait_for():
    """It returns what the predicate returned; it does not wait if that is true already."""
    condition, state, log = Condition(), [], []

    def body():
        with condition:
            log.append(condition.wait_for(lambda: state[0] if state else None))
            log.append(condition.wait_for(lambda: "at once"))

    waiting = start(body)
    for change in ([], [0], ["done"]):
        with condition:
            state[:] = change
            condition.notify()
    run_until_quiet()
    assert log == ["done", "at once"]
    assert waiting.status == "dead"
    assert unused(condition)


def test_conditions_share_a_lock():
    """A bounded buffer in the way of the textbook."""
    lock, items, log = Lock(), [], []
    filled, emptied = Condition(lock), Condition(lock)

    def producer():
        for number in range(10):
            with lock:
                emptied.wait_for(lambda: len(items) < 2)
                items.append(number)
                filled.notify()

    def consumer():
        for _ in range(5):
            with filled:
                filled.wait_for(lambda: items)
                log.append(items.pop(0))
                emptied.notify()

    for body in (consumer, producer, consumer):
        start(body)
    run_until_quiet()
    assert log == list(range(10))
    assert unused(filled)
    assert unused(emptied)


def test_the_main_program_waits(clock):
    """The loop runs until it is notified and has the lock again."""
    condition = Condition()

    def notifier():
        system.suspend(1)
        with condition:
            condition.notify()
            system.suspend(1)

    before = clock.time
    spawn.call(notifier)
    with condition:
        assert condition.wait() is True
        assert condition.owner is running()
    run_until_quiet()
    assert clock.time - before == 2e9
    assert unused(condition)


@pytest.mark.parametrize("phase", ["unnotified", "notified"])
def test_deadlock_in_the_main_program(phase):
    """It is told, and cannot have the lock back if another one keeps that for ever; the block ends all the same."""
    condition, log = Condition(), []

    def keeper():
        with condition:
            if phase == "notified":
                condition.notify()
            yield_()
            log.append("freed")

    def wait():
        with condition:
            kept.append(start(keeper))
            condition.wait()

    kept = []
    with pytest.raises(errors.Deadlock, match=r"main .* lock <Lock locked, 1 waiting at \S+> acquire +held by"):
        wait()
    assert repr(condition).startswith("<Condition at")
    assert condition.owner is kept[0]
    kept[0].resume()
    assert log == ["freed"]
    assert unused(condition)


# -- the end of waits -------------------------------------------------------------------------------------------------


@each_way_out
def test_cancelled_before_a_notification(how):
    """The one that is cancelled has the lock all the same; the next one is notified in its place."""
    condition, log = Condition(), []
    waiting = start(waiter, log, condition, "cancelled")
    start(waiter, log, condition, "next")
    cancel(waiting, how)
    run_until_quiet()
    assert (
        log
        == {
            "resume": [("cancelled", "given", True)],
            "throw": [("cancelled", "Trouble", True)],
            "close": [],
        }[how]
    )
    log.clear()
    with condition:
        condition.notify()
    run_until_quiet()
    assert log == [("next", True, True)]
    assert unused(condition)


@each_way_out
def test_cancelled_before_a_notification_while_the_lock_is_taken(how):
    """It leaves as soon as it has the lock, in its turn; to cancel it again changes nothing."""
    condition, log = Condition(), []
    waiting = start(waiter, log, condition, "cancelled")
    keeping = keep(condition)
    late = keep(condition)
    cancel(waiting, how)
    run_until_quiet()
    assert (log, waiting.status) == ([], "suspended")
    assert str(waiting.waiting_on).startswith("lock <Lock locked, 2 waiting at test_condition.py:")
    assert waiting.waiting_on.owner is keeping
    waiting.resume("again")
    keeping.resume()
    run_until_quiet()
    assert (log, condition.owner) == ([], late)
    late.resume()
    outcome = {"resume": "given", "throw": "Trouble"}.get(how)
    run_until_quiet()
    assert log == ([("cancelled", outcome, True)] if outcome else [])
    assert waiting.status == "dead"
    assert unused(condition)


@pytest.mark.parametrize("how", ["throw", "close"])
def test_a_notification_of_who_is_cancelled_goes_on(how):
    """B32: it was notified, and is cancelled before it has the lock: the next one gets the notification."""
    condition, log = Condition(), []
    waiting = start(waiter, log, condition, "cancelled")
    start(waiter, log, condition, "next")
    with condition:
        condition.notify()
        cancel(waiting, how)
        run_until_quiet()
        assert (log, waiting.status) == ([], "suspended")
    run_until_quiet()
    assert log == [("cancelled", "Trouble", True)] * (how == "throw") + [("next", True, True)]
    assert unused(condition)


def test_an_explicit_resume_after_a_notification():
    """It neither ends the wait for the lock nor takes the notification away."""
    condition, log = Condition(), []
    waiting = start(waiter, log, condition, "a")
    with condition:
        condition.notify()
        waiting.resume("given")
        run_until_quiet()
        assert (log, waiting.status) == ([], "suspended")
    run_until_quiet()
    assert log == [("a", True, True)]
    assert unused(condition)


def test_an_explicit_resume_looks_once_more():
    """wait_for returns only when the predicate is true."""
    condition, calls, log = Condition(), [], []

    def body():
        with condition:
            log.append(condition.wait_for(lambda: calls.append(None) or len(calls) == 3))

    waiting = start(body)
    waiting.resume("x")
    assert (len(calls), log) == (2, [])
    waiting.resume("x")
    assert (len(calls), log) == (3, [True])
    assert unused(condition)


def test_cancelled_again_and_again():
    """The last error is raised when it has the lock again."""
    condition, log = Condition(), []

    def body():
        with condition:
            try:
                condition.wait()
            except Trouble as error:
                log.append((str(error), condition.owner is running()))

    waiting = start(body)
    keeping = keep(condition)
    for number in range(5):
        waiting.throw(Trouble(number))
    run_until_quiet()
    assert (log, waiting.status) == ([], "suspended")
    keeping.resume()
    run_until_quiet()
    assert log == [("4", True)]
    assert unused(condition)


def test_closing_waits_for_the_lock():
    """close() tells that the coroutine has not ended yet."""
    condition, log = Condition(), []
    waiting = start(waiter, log, condition, "closed")
    keeping = keep(condition)
    run_until_quiet()
    assert waiting.close() is False
    assert waiting.close() is False
    keeping.resume()
    run_until_quiet()
    assert (log, waiting.status) == ([], "dead")
    assert unused(condition)


def test_an_interrupt_of_the_next_owner():
    """Who waits has the lock again when it is raised out of wait."""
    condition = Condition()

    def next_owner():
        with condition:
            raise KeyboardInterrupt

    def body():
        with condition:
            start(next_owner)
            with pytest.raises(KeyboardInterrupt):
                condition.wait()
            return condition.owner is running()

    assert body() is True
    assert unused(condition)


def test_timeouts(clock):
    """Timeout is raised by the owner of the lock; a notification in time counts, however late the lock comes."""
    condition, log = Condition(), []
    spawn.call(lambda: waiter(log, condition, "late", timeout=1))
    system.suspend(2)
    run_until_quiet()
    assert log == [("late", "Timeout", True)]
    log.clear()
    spawn.call(lambda: waiter(log, condition, "in time", timeout=5))
    with condition:
        condition.notify()
        system.suspend(10)
        run_until_quiet()
        assert log == []
    run_until_quiet()
    assert log == [("in time", True, True)]
    assert unused(condition)


def test_timeouts_while_the_lock_is_taken(clock):
    """The time being up, it waits for the lock, and raises then."""
    condition, log = Condition(), []
    spawn.call(lambda: waiter(log, condition, "a", timeout=1))
    with condition:
        system.suspend(5)
        run_until_quiet()
        assert log == []
        condition.notify()
    run_until_quiet()
    assert log == [("a", "Timeout", True)]
    assert unused(condition)


@pytest.mark.parametrize("notified", [False, True])
def test_the_time_around_is_up_while_it_waits_for_the_lock(clock, notified):
    """B32, B36: a cancelled block makes every wait fail, but not that for the lock; a notified one returns."""
    condition, log = Condition(), []

    def body():
        with condition:
            try:
                with scopes.timeout(1) as outer:
                    log.append(condition.wait())
                    log.append(condition.owner is running())
                    system.suspend()
            except errors.Timeout as error:
                log.append((error.scope is outer, condition.owner is running(), clock.time - before))

    before = clock.time
    spawn.call(body)
    start(waiter, log, condition, "next")
    with condition:
        if notified:
            condition.notify()
        system.suspend(5)
        run_until_quiet()
        assert log == []
    run_until_quiet()
    assert log == [True, True] * notified + [(True, True, 5e9)]
    with condition:
        condition.notify()
    run_until_quiet()
    assert log[-1] == ("next", True, True)
    assert unused(condition)


def test_a_wait_in_a_cancelled_block(clock):
    """It fails at once, after it has released the lock and got it again."""
    condition, log = Condition(), []

    def other():
        with condition:
            log.append("other")
            system.suspend(1)

    def body():
        with condition:
            start(other)
            with scopes.move_on_after(0) as block:
                condition.wait()
            log.append((block.expired, condition.owner is running()))

    spawn.call(body)
    run_until_quiet()
    assert log == ["other"]
    assert system.run() is False
    assert log == ["other", (True, True)]
    assert unused(condition)


def test_wait_for_has_one_deadline(clock):
    """The time counts from the call, not from the last look."""
    condition, log, before = Condition(), [], clock.time

    def body():
        with condition:
            with pytest.raises(errors.Timeout):
                condition.wait_for(lambda: log.append(clock.time - before), timeout=5)
            assert condition.owner is running()

    waiting = spawn.call(body)
    for _ in range(3):
        system.suspend(2)
        if waiting.status == "suspended":
            with condition:
                condition.notify()
    assert log == [0, 2e9, 4e9]
    assert waiting.status == "dead"
    assert unused(condition)


# -- misuse -----------------------------------------------------------------------------------------------------------


def test_only_the_owner_of_the_lock():
    """Everything else is a mistake, and changes nothing."""
    condition = Condition()
    calls = [
        condition.wait,
        lambda: condition.wait_for(bool),
        condition.notify,
        condition.notify_all,
        condition.release,
    ]
    for call in calls:
        with pytest.raises(RuntimeError, match="does not own <Lock free"):
            call()
    keeping = keep(condition)
    for call in calls:
        with pytest.raises(RuntimeError, match="does not own <Lock held by"):
            call()
    keeping.resume()
    assert unused(condition)


def test_arguments():
    """The lock is one of ours; as many as are notified is a number."""
    for other in (threading.Lock(), 1, "lock"):
        with pytest.raises(TypeError, match="lock "):
            Condition(other)
    condition = Condition()
    with condition:
        with pytest.raises(ValueError, match=r"\bn "):
            condition.notify(-1)
        with pytest.raises(TypeError, match=r"\bn "):
            condition.notify(1.0)
    assert unused(condition)


def test_acquire_and_release():
    """Those are the lock's."""
    lock = Lock()
    condition = Condition(lock)
    assert condition.acquire() is True
    assert (lock.locked(), condition.locked(), condition.owner) == (True, True, running())
    keeping = start(lambda: condition.acquire(blocking=False))
    assert keeping.status == "dead"
    condition.release()
    assert lock.locked() is False
    with condition as taken:
        assert taken is condition
        assert lock.owner is running()
    assert unused(condition)


def test_another_thread():
    """B33: it gets an error; nothing happens to the condition."""
    condition, log = Condition(), []

    def in_a_thread():
        for call in (condition.wait, condition.notify, condition.notify_all, condition.acquire, condition.release):
            try:
                call()
            except errors.ForeignThread as error:
                log.append(type(error))

    with condition:
        thread = threading.Thread(target=in_a_thread)
        thread.start()
        thread.join()
    assert log == [errors.ForeignThread] * 5
    assert unused(condition)


@pytest.mark.parametrize("notified", [False, True])
def test_those_who_wait_are_collected_with_their_thread(notified):
    """They end without the lock if they cannot have it any more; `finally` blocks run."""
    log, watched = [], []

    def body(condition):
        try:
            with condition:
                condition.wait()
        finally:
            log.append("finally")

    def in_a_thread():
        condition = Condition()
        watched.extend([ref(start(body, condition)), ref(condition)])
        if notified:
            condition.acquire()
            condition.notify()

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    run_until_quiet()
    assert all(map(is_collected, watched))
    assert log == ["finally"]


def test_representations():
    """Who waits, and where it was made."""
    condition = Condition()
    assert repr(condition).startswith("<Condition at test_condition.py:")
    waiting = start(waiter, [], condition, "a")
    assert repr(condition).startswith("<Condition, 1 waiting at test_condition.py:")
    assert str(waiting.waiting_on) == f"condition {condition!r} wait"
    assert waiting.waiting_on.owner is None
    waiting.close()
    assert unused(condition)
