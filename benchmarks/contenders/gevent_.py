"""gevent: its greenlets, and for the explicit resume the raw ones, since its own have none."""

from collections.abc import Iterator
from contextlib import contextmanager

import gevent  # type: ignore[import-untyped]  # has no type information
from gevent.event import Event  # type: ignore[import-untyped]  # has no type information
from gevent.lock import BoundedSemaphore  # type: ignore[import-untyped]  # has no type information
from gevent.queue import Queue  # type: ignore[import-untyped]  # has no type information
from greenlet import getcurrent, greenlet

from benchmarks import suite

metered = suite.metered


def suspend_often(count: int) -> None:
    """Be the greenlet that suspends."""
    sleep = gevent.sleep
    for _ in range(count):
        sleep(0)


def yield_often(count: int) -> None:
    """Be the greenlet that is switched to."""
    parent = getcurrent().parent
    assert parent
    for _ in range(count):
        parent.switch()


def nothing() -> None:
    """Be the greenlet that ends at once."""


@suite.SUSPEND
def suspend(count: int) -> None:
    """Suspend alone."""
    gevent.spawn(suspend_often, count).join()


def in_turn(coroutines: int, count: int) -> None:
    """Let several suspend in turn, `count` times in all."""
    gevent.joinall([gevent.spawn(suspend_often, count // coroutines) for _ in range(coroutines)])


@suite.PAIR
def pair(count: int) -> None:
    """Suspend in turn with one other."""
    in_turn(2, count)


@suite.TURNS
def turns(count: int) -> None:
    """Suspend in turn with many others."""
    in_turn(suite.MANY, count)


@suite.SPAWN
def spawn_to_end(count: int) -> None:
    """Start greenlets, each of which ends before the next."""
    for _ in range(count):
        gevent.spawn(nothing).join()


@suite.RESUME
def resume(count: int) -> None:
    """Switch to one greenlet again and again."""
    yielding = greenlet(yield_often)
    yielding.switch(count)
    for _ in range(count):
        yielding.switch()


def wait_often(event: Event, count: int) -> None:
    """Be the greenlet that waits for an event."""
    for _ in range(count):
        event.wait()
        event.clear()


def get_often(items: Queue, count: int) -> None:
    """Be the greenlet that waits for items."""
    for _ in range(count):
        items.get()


@contextmanager
def crowd() -> Iterator[None]:
    """Let many greenlets wait, each for another event."""
    others = [gevent.spawn(Event().wait) for _ in range(suite.MANY)]
    gevent.sleep(0)
    yield
    gevent.killall(others)


@suite.EMIT
def emit(count: int) -> None:
    """Set an event for one greenlet."""
    event = Event()
    waiter = gevent.spawn(wait_often, event, count)
    gevent.sleep(0)
    for _ in range(count):
        event.set()
        gevent.sleep(0)
    waiter.join()


@suite.EMIT_CROWD
def emit_crowd(count: int) -> None:
    """Set an event for one of many greenlets."""
    with crowd():
        emit(count)


@suite.QUEUED
def emit_queued(count: int) -> None:
    """Put items into an unbounded queue for one greenlet: faster than through a queue of size 1."""
    items = Queue()
    waiter = gevent.spawn(get_often, items, count)
    gevent.sleep(0)
    for _ in range(count):
        items.put(None)
        gevent.sleep(0)
    waiter.join()


@suite.QUEUED_CROWD
def emit_queued_crowd(count: int) -> None:
    """Put items into an unbounded queue for one of many greenlets."""
    with crowd():
        emit_queued(count)


def lock_often(lock: BoundedSemaphore, count: int) -> None:
    """Be one of those who want the same lock."""
    for _ in range(count):
        lock.acquire()
        gevent.sleep(0)
        lock.release()
        gevent.sleep(0)


@suite.MUTEX
def lock(count: int) -> None:
    """Hand a lock over, from one greenlet to the next: the fastest that excludes others, an RLock rests on it."""
    shared = BoundedSemaphore()
    gevent.joinall([gevent.spawn(lock_often, shared, count // suite.FEW) for _ in range(suite.FEW)])


def pass_on(source: Queue, target: Queue, count: int) -> None:
    """Be one end of two queues."""
    for _ in range(count):
        target.put(source.get())


@suite.QUEUE
def queue(count: int) -> None:
    """Pass an item to and fro between two greenlets."""
    there, back = Queue(1), Queue(1)
    ends = [gevent.spawn(pass_on, *queues, count // 2) for queues in ((there, back), (back, there))]
    there.put("ball")
    gevent.joinall(ends)


@suite.SCOPE
def scope(count: int) -> None:
    """Start many greenlets at a time, wait until all have ended, and raise what one of them raised."""
    for _ in range(count // suite.MANY):
        gevent.joinall([gevent.spawn(nothing) for _ in range(suite.MANY)], raise_error=True)


@suite.SCOPE_SUSPEND
def scope_suspend(count: int) -> None:
    """Do the same with greenlets that suspend."""
    for _ in range(count // suite.MANY):
        gevent.joinall([gevent.spawn(gevent.sleep, 0) for _ in range(suite.MANY)], raise_error=True)


@suite.TIMERS
def timers(count: int) -> None:
    """Let many greenlets sleep for a short time."""
    gevent.joinall([gevent.spawn(gevent.sleep, delay) for delay in suite.delays(count)])


@suite.PARKED
def parked(count: int) -> object:
    """Leave many greenlets asleep."""
    kept = [gevent.spawn(gevent.sleep, suite.FOREVER) for _ in range(count)]
    gevent.sleep(suite.SETTLE)
    return kept
