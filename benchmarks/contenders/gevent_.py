"""gevent: its greenlets, and for the explicit resume the raw ones, since its own have none."""

import gevent  # type: ignore[import-untyped]  # has no type information
from greenlet import getcurrent, greenlet

from benchmarks import suite

metered = suite.metered


def suspend_often(count: int) -> None:
    """Be the greenlet that suspends."""
    for _ in range(count):
        gevent.sleep(0)


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
