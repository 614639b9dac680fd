"""Rows of the kill matrix: events, promises, mutexes, coroutines, scopes, and what the standard library has, too."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from coutil import coroutine, event, mutex, promise, queued, spawn, sync, system
from coutil.scopes import scope
from coutil.testing import ManualClock
from tests.matrix.row import NOTHING, Row, row

# -- rows: events, promises, mutexes, coroutines


def _emitted(name: Any, module: Any, taken: bool) -> None:
    """Check that an event has no waiters, that a stored emission is there exactly if no one took it, and both work."""
    assert not event.pending(name)
    assert queued.isqueued(name) is (module is queued and not taken)
    if not queued.isqueued(name):
        spawn.call(lambda: (system.suspend(), module.emitall(name)))
    assert module.await_(name) == name
    assert not queued.isqueued(name)


def _event_row(module: Any) -> Iterator[Row]:
    yield Row(
        lambda: module.await_("e"),
        lambda: module.emitall("e"),
        lambda got, begun: _emitted("e", module, got is not NOTHING),
    )


def _any_row(module: Any) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "e")
        _emitted("e", module, got is not NOTHING)
        assert not event.pending("f")
        assert not queued.isqueued("f")

    yield Row(lambda: module.awaitany("f", "e"), lambda: module.emitall("e"), check)


def _all_row(module: Any) -> Iterator[Row]:
    """Emissions that a cancelled `awaitall` has taken stay taken."""

    def check(got: Any, begun: bool) -> None:
        assert not event.pending("e")
        assert not event.pending("f")
        for name in ("e", "f"):
            if queued.isqueued(name):
                queued.await_(name)
        spawn.call(lambda: (system.suspend(), module.emitall("e"), module.emitall("f")))
        assert module.awaitall("e", "f") is True

    yield Row(lambda: module.awaitall("e", "f"), lambda: (module.emitall("e"), module.emitall("f")), check)


@row
def event_await(clock: ManualClock) -> Iterator[Row]:
    yield from _event_row(event)


@row
def event_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _any_row(event)


@row
def event_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _all_row(event)


@row
def queued_await(clock: ManualClock) -> Iterator[Row]:
    yield from _event_row(queued)


@row
def queued_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _any_row(queued)


@row
def queued_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _all_row(queued)


def _promise_row(wait: Callable[[Any], Any], result: Any = None) -> Iterator[Row]:
    made, fulfill = promise.create()

    def check(got: Any, begun: bool) -> None:
        assert not event.pending(made)
        assert got is NOTHING or got == result or got is made
        assert made(True) is True
        assert made() == 7

    yield Row(lambda: wait(made), lambda: fulfill(7), check)


@row
def promise_call(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(lambda made: made(), 7)


@row
def promise_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(promise.awaitall, True)


@row
def promise_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(promise.awaitany)


@row
def mutex_lock(clock: ManualClock) -> Iterator[Row]:
    mutex.lock("m")

    def check(got: Any, begun: bool) -> None:
        assert not mutex.islocked("m")
        assert not event.pending("m")
        mutex.lock("m")
        assert mutex.unlock("m") is False

    yield Row(lambda: mutex.lock("m"), lambda: mutex.unlock("m"), check, lambda: mutex.unlock("m"), insists=True)


@row
def coroutine_yield(clock: ManualClock) -> Iterator[Row]:
    found = []

    def wait() -> Any:
        found.append(coroutine.running())
        return coroutine.yield_()

    def resume() -> None:
        if found and found[0].status == "suspended" and not event.pending("linger"):
            found[0].resume("value")

    yield Row(wait, resume, lambda got, begun: found.clear())


# -- rows: scopes


@row
def task_result(clock: ManualClock) -> Iterator[Row]:
    with scope() as s:
        task = s.spawn(event.await_, "e")

        def check(got: Any, begun: bool) -> None:
            assert task._waiters == {}
            assert got in (NOTHING, "e")
            assert task.result() == "e"

        yield Row(task.result, lambda: event.emitall("e"), check, insists=True)


@row
def scope_end(clock: ManualClock) -> Iterator[Row]:
    tasks = []

    def wait() -> None:
        with scope() as s:
            tasks.append(s.spawn(event.await_, "e"))

    def check(got: Any, begun: bool) -> None:
        assert not event.pending("e")
        assert all(task.done for task in tasks)
        assert len(tasks) == begun or not begun

    yield Row(wait, lambda: event.emitall("e"), check, insists=True)


# -- rows: what every Python programmer expects


@row
def queue_get(clock: ManualClock) -> Iterator[Row]:
    items: sync.Queue = sync.Queue(2)

    def check(got: Any, begun: bool) -> None:
        items.put(2)
        found = [] if got is NOTHING else [got]
        while not items.empty():
            found.append(items.get())
        assert found == [1, 2]
        assert "getting" not in repr(items)

    yield Row(items.get, lambda: items.put(1), check)


@row
def queue_put(clock: ManualClock) -> Iterator[Row]:
    items: sync.Queue = sync.Queue(1)
    items.put(0)
    taken = []

    def check(got: Any, begun: bool) -> None:
        while not items.empty():
            taken.append(items.get())
        assert taken == ([0] if got is NOTHING else [0, 1])
        items.put(2)
        assert items.get() == 2
        assert "putting" not in repr(items)

    yield Row(lambda: items.put(1), lambda: taken.append(items.get()), check)


@row
def semaphore_acquire(clock: ManualClock) -> Iterator[Row]:
    yield from permits_of(sync.Semaphore(1))


@row
def boundedsemaphore_acquire(clock: ManualClock) -> Iterator[Row]:
    yield from permits_of(sync.BoundedSemaphore(1))


def permits_of(permits: sync.Semaphore) -> Iterator[Row]:
    permits.acquire()

    def check(got: Any, begun: bool) -> None:
        assert permits.acquire(blocking=False)
        assert not permits.acquire(blocking=False)
        permits.release()

    yield Row(permits.acquire, permits.release, check, permits.release, insists=True)


@row
def lock_acquire(clock: ManualClock) -> Iterator[Row]:
    lock = sync.Lock()
    lock.acquire()

    def check(got: Any, begun: bool) -> None:
        assert not lock.locked()
        with lock:
            assert lock.locked()

    yield Row(lock.acquire, lock.release, check, lock.release, insists=True)


@row
def condition_wait(clock: ManualClock) -> Iterator[Row]:
    condition = sync.Condition()

    def wait() -> Any:
        with condition:
            return condition.wait()

    def tell() -> None:
        with condition:
            condition.notify()

    def check(got: Any, begun: bool) -> None:
        with condition:
            spawn.call(lambda: (system.suspend(), tell()))
            assert condition.wait() is True

    yield Row(wait, tell, check)


@row
def barrier_wait(clock: ManualClock) -> Iterator[Row]:
    barrier = sync.Barrier(2)

    def arrive() -> None:
        if barrier.n_waiting:
            barrier.wait()

    def check(got: Any, begun: bool) -> None:
        if barrier.broken:
            barrier.reset()
        assert barrier.n_waiting == 0
        spawn.call(barrier.wait)
        assert barrier.wait() in (0, 1)

    yield Row(barrier.wait, arrive, check, insists=True)
