"""What synchronises threads. Misuse that libuv aborts the process for raises."""

import gc
import threading
import time
import weakref

import pytest

from coutil import uv
from tests.helpers.waiting import eventually


@pytest.fixture
def start():
    """Call a function in a thread; its end is waited for when the test is over, and no exception may escape."""
    threads, failures, before = [], [], threading.excepthook
    threading.excepthook = failures.append

    def begin(function, *arguments):
        threads.append(uv.Thread(function, *arguments))
        return threads[-1]

    yield begin
    for thread in threads:
        if repr(thread) != "<Thread joined>":
            thread.join()
    threading.excepthook = before
    assert failures == []


def elsewhere(function, *arguments):
    """Return what a function returns in another thread; raise what it raises."""
    results = []

    def call():
        try:
            results.append((function(*arguments), None))
        except Exception as error:  # noqa: BLE001  # raised below
            results.append((None, error))

    uv.Thread(call).join()
    value, error = results[0]
    if error is not None:
        raise error
    return value


# -- mutexes


def test_mutex():
    """One thread has it; others find it locked until it is free."""
    mutex = uv.Mutex()
    mutex.lock()
    assert repr(mutex) == "<Mutex locked by this thread>"
    assert elsewhere(repr, mutex) == "<Mutex locked by another thread>"
    assert elsewhere(mutex.trylock) is False
    mutex.unlock()
    assert repr(mutex) == "<Mutex free>"
    assert elsewhere(lambda: (mutex.trylock(), mutex.unlock())[0]) is True


def test_mutex_flat():
    """The same with libuv's names."""
    mutex = uv.new_mutex()
    uv.mutex_lock(mutex)
    assert elsewhere(uv.mutex_trylock, mutex) is False
    assert uv.mutex_trylock(mutex) is False
    uv.mutex_unlock(mutex)
    assert uv.mutex_trylock(mutex) is True
    uv.mutex_unlock(mutex)
    with pytest.raises(TypeError, match="the first argument "):
        uv.mutex_lock(uv.new_sem(1))


def test_a_mutex_keeps_threads_apart(start):
    """What is not atomic is, under a lock: no one sees it half done."""
    mutex, pair = uv.Mutex(), [0, 0]

    def work():
        for _ in range(200):
            with mutex:
                pair[0] += 1
                time.sleep(0)
                assert pair[1] == pair[0] - 1
                pair[1] += 1

    for thread in [start(work) for _ in range(4)]:
        thread.join()
    assert pair == [800, 800]


def test_a_mutex_is_handed_over(start):
    """A waiter for it gets it, with the GIL released meanwhile."""
    mutex, order = uv.Mutex(), []
    mutex.lock()

    def work():
        order.append("waits")
        mutex.lock()
        order.append("has it")
        mutex.unlock()

    thread = start(work)
    eventually(lambda: order == ["waits"])
    order.append("unlocks")
    mutex.unlock()
    thread.join()
    assert order == ["waits", "unlocks", "has it"]


def test_misuse_of_a_mutex():
    """Locking it twice would wait for ever; unlocking what is not ours would abort."""
    mutex = uv.Mutex()
    with pytest.raises(RuntimeError, match="not locked by this thread"):
        mutex.unlock()
    with mutex:
        with pytest.raises(uv.Deadlock, match="this thread has locked the mutex, which is not recursive"):
            mutex.lock()
        assert mutex.trylock() is False
        with pytest.raises(RuntimeError, match="not locked by this thread"):
            elsewhere(mutex.unlock)
    with pytest.raises(RuntimeError):
        mutex.unlock()
    with pytest.raises(TypeError, match=r"recursive .*1"):
        uv.Mutex(recursive=1)


def test_recursive_mutex():
    """Its owner may lock it again, and unlocks it as often."""
    for mutex in (uv.Mutex(recursive=True), uv.new_mutex(True)):
        mutex.lock()
        assert mutex.trylock() is True
        with mutex:
            assert elsewhere(mutex.trylock) is False
        mutex.unlock()
        assert elsewhere(mutex.trylock) is False
        mutex.unlock()
        assert elsewhere(lambda mutex=mutex: (mutex.trylock(), mutex.unlock())[0]) is True
        with pytest.raises(RuntimeError):
            mutex.unlock()


def test_locks_that_are_collected_while_they_are_locked():
    """Libuv would abort; they are let go as they are, also if their owner has ended."""
    for make, lock in (
        (uv.Mutex, uv.Mutex.lock),
        (lambda: uv.Mutex(recursive=True), uv.Mutex.lock),
        (uv.RWLock, uv.RWLock.rdlock),
        (uv.RWLock, uv.RWLock.wrlock),
    ):
        locked = make()
        lock(locked)
        del locked
        other = make()
        elsewhere(lock, other)
        assert "free" not in repr(other)
        del other
        gc.collect()
        lock(again := make())
        assert "free" not in repr(again)


# -- read-write locks


def test_readers_and_a_writer():
    """Many read, or one writes."""
    lock = uv.RWLock()
    assert repr(lock) == "<RWLock free>"
    lock.rdlock()
    lock.rdlock()  # a thread may read several times
    assert repr(lock) == "<RWLock 1 readers>"
    assert elsewhere(lambda: (lock.tryrdlock(), lock.rdunlock())[0]) is True
    assert elsewhere(lock.trywrlock) is False
    lock.rdunlock()
    assert elsewhere(lock.trywrlock) is False
    lock.rdunlock()
    lock.wrlock()
    assert repr(lock) == "<RWLock written>"
    assert (elsewhere(lock.tryrdlock), elsewhere(lock.trywrlock)) == (False, False)
    assert (lock.tryrdlock(), lock.trywrlock()) == (False, False)
    lock.wrunlock()
    assert elsewhere(lambda: (lock.trywrlock(), lock.wrunlock())[0]) is True


def test_rwlock_flat():
    """The same with libuv's names."""
    lock = uv.new_rwlock()
    uv.rwlock_rdlock(lock)
    assert elsewhere(uv.rwlock_trywrlock, lock) is False
    uv.rwlock_rdunlock(lock)
    uv.rwlock_wrlock(lock)
    assert elsewhere(uv.rwlock_tryrdlock, lock) is False
    uv.rwlock_wrunlock(lock)
    assert uv.rwlock_tryrdlock(lock) is True
    uv.rwlock_rdunlock(lock)
    assert uv.rwlock_trywrlock(lock) is True
    uv.rwlock_wrunlock(lock)


def test_misuse_of_a_read_write_lock():
    """Giving back what one does not have, and waiting for oneself."""
    lock = uv.RWLock()
    for operation, what in ((lock.rdunlock, "reading"), (lock.wrunlock, "writing")):
        with pytest.raises(RuntimeError, match=f"this thread has not locked it for {what}"):
            operation()
    lock.rdlock()
    with pytest.raises(uv.Deadlock):
        lock.wrlock()
    with pytest.raises(RuntimeError):
        elsewhere(lock.rdunlock)
    with pytest.raises(RuntimeError):
        lock.wrunlock()
    lock.rdunlock()
    lock.wrlock()
    for operation in (lock.rdlock, lock.wrlock):
        with pytest.raises(uv.Deadlock):
            operation()
    with pytest.raises(RuntimeError):
        elsewhere(lock.wrunlock)
    lock.wrunlock()


def test_a_writer_waits_for_readers(start):
    """And has it alone then."""
    lock, order = uv.RWLock(), []
    lock.rdlock()

    def write():
        order.append("waits")
        lock.wrlock()
        order.append("writes")
        lock.wrunlock()

    thread = start(write)
    eventually(lambda: order == ["waits"])
    order.append("ends reading")
    lock.rdunlock()
    thread.join()
    assert order == ["waits", "ends reading", "writes"]


# -- semaphores


def test_semaphore():
    """As many waits as there were posts, and the value at the beginning."""
    sem = uv.Sem(2)
    sem.wait()
    assert (sem.trywait(), sem.trywait()) == (True, False)
    sem.post()
    assert elsewhere(sem.trywait) is True
    assert sem.trywait() is False


def test_semaphore_flat(start):
    """The same with libuv's names; a wait ends with a post."""
    sem, order = uv.new_sem(0), []

    def work():
        order.append("waits")
        uv.sem_wait(sem)
        order.append("has it")

    thread = start(work)
    eventually(lambda: order == ["waits"])
    order.append("posts")
    uv.sem_post(sem)
    thread.join()
    assert order == ["waits", "posts", "has it"]
    assert uv.sem_trywait(sem) is False


def test_semaphores_do_not_overflow():
    """Libuv would abort."""
    sem = uv.Sem(2**31 - 1)
    with pytest.raises(uv.UVError, match=r"EOVERFLOW.*uv_sem_post"):
        sem.post()
    sem.wait()
    sem.post()
    with pytest.raises(uv.UVError) as raised:
        sem.post()
    assert raised.value.name == "EOVERFLOW"
    for wrong in (-1, 2**31):
        with pytest.raises(ValueError, match=rf"value .*{wrong}"):
            uv.Sem(wrong)
    with pytest.raises(TypeError, match="value "):
        uv.Sem(1.0)


# -- conditions


def waiting(cond, mutex, count, wait, start):
    """Start threads that wait for a condition; return what they append their results to."""
    here, results = [], []

    def work():
        with mutex:
            here.append(True)
            results.append(wait(cond, mutex))

    for _ in range(count):
        start(work)
    eventually(lambda: len(here) == count)
    with mutex:  # they have given it back: they wait
        assert results == []
    return results


@pytest.mark.parametrize("signal", [uv.Cond.signal, uv.cond_signal])
@pytest.mark.parametrize("wait", [uv.Cond.wait, uv.cond_wait])
def test_a_signal_wakes_one(start, signal, wait):
    """The mutex is unlocked meanwhile, and locked again for the one that goes on."""
    cond, mutex = uv.new_cond(), uv.Mutex()
    results = waiting(cond, mutex, 2, wait, start)
    signal(cond)
    eventually(lambda: results)
    signal(cond)
    eventually(lambda: len(results) == 2)
    with mutex:
        assert results == [True, True]


@pytest.mark.parametrize("broadcast", [uv.Cond.broadcast, uv.cond_broadcast])
def test_a_broadcast_wakes_all(start, broadcast):
    """One after another, since each gets the mutex."""
    cond, mutex = uv.Cond(), uv.Mutex()
    results = waiting(cond, mutex, 5, uv.Cond.wait, start)
    broadcast(cond)
    eventually(lambda: len(results) == 5)
    assert results == [True] * 5


def test_a_condition_with_a_time():
    """Nanoseconds; the mutex is ours again either way."""
    cond, mutex = uv.Cond(), uv.Mutex()
    with mutex:
        for wait in (
            lambda mutex, timeout: cond.wait(mutex, timeout=timeout),
            lambda mutex, timeout: uv.cond_timedwait(cond, mutex, timeout),
        ):
            begin = time.monotonic()
            assert wait(mutex, 5_000_000) is False
            assert time.monotonic() - begin >= 0.005
            assert wait(mutex, 0) is False
        assert elsewhere(mutex.trylock) is False


def test_a_signal_before_the_time_is_up(start):
    """A very long time is none too long."""
    cond, mutex = uv.Cond(), uv.Mutex()
    results = waiting(cond, mutex, 1, lambda cond, mutex: cond.wait(mutex, timeout=2**64 - 1), start)
    cond.signal()
    eventually(lambda: results)
    assert results == [True]


def test_misuse_of_a_condition():
    """The mutex must be locked, once, by the thread that waits."""
    cond, mutex, recursive = uv.Cond(), uv.Mutex(), uv.Mutex(recursive=True)
    with pytest.raises(RuntimeError, match="the mutex is not locked by this thread"):
        cond.wait(mutex)
    with mutex, pytest.raises(RuntimeError, match="the mutex is not locked by this thread"):
        elsewhere(cond.wait, mutex)
    with recursive, recursive, pytest.raises(uv.Deadlock, match="locked more than once"):
        cond.wait(recursive)
    with recursive:
        assert cond.wait(recursive, timeout=1) is False
    with pytest.raises(TypeError, match="mutex "):
        cond.wait(cond)
    with mutex:
        for wrong, error in ((-1, ValueError), (2**64, ValueError), (0.5, TypeError)):
            with pytest.raises(error, match="timeout"):
                cond.wait(mutex, timeout=wrong)
        with pytest.raises(TypeError, match=r"timeout .*None"):
            uv.cond_timedwait(cond, mutex, None)


# -- barriers


@pytest.mark.parametrize("wait", [uv.Barrier.wait, uv.barrier_wait])
def test_a_barrier(start, wait):
    """No one goes on before all are there; one of them is told so. It can be used again."""
    barrier, arrived, results = uv.new_barrier(3), [], []

    def work(number):
        for turn in range(2):
            arrived.append((turn, number))
            results.append((turn, wait(barrier), sum(at == turn for at, _ in arrived)))

    for thread in [start(work, number) for number in range(3)]:
        thread.join()
    assert [sum(told for at, told, _ in results if at == turn) for turn in range(2)] == [1, 1]
    assert all(count == 3 for _, _, count in results)
    assert len(results) == 6


def test_barriers_of_one_and_of_none():
    """One is always complete; for none there is no barrier."""
    assert uv.Barrier(1).wait() is True
    with pytest.raises(uv.UVError, match=r"EINVAL.*uv_barrier_init"):
        uv.Barrier(0)
    for wrong in (-1, 2**31):
        with pytest.raises(ValueError, match="count "):
            uv.Barrier(wrong)
    with pytest.raises(TypeError, match="count "):
        uv.Barrier("3")


# -- all of them


@pytest.mark.parametrize("kind", [uv.Mutex, uv.RWLock, uv.Sem, uv.Cond, lambda: uv.Barrier(2)])
def test_objects_that_were_never_made(kind):
    """One whose constructor never ran is let go in peace, as others are."""
    made = kind()
    never = type(made).__new__(type(made))
    gone = [weakref.ref(made), weakref.ref(never)]
    del made, never
    assert [one() for one in gone] == [None, None]
