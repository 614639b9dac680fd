"""coutil: the hub runs when the main program asks for it."""

from benchmarks import suite
from coutil import coroutine, spawn, system

metered = suite.metered


def suspend_often(count: int) -> None:
    """Be the coroutine that suspends."""
    for _ in range(count):
        system.suspend()


def yield_often(count: int) -> None:
    """Be the coroutine that is resumed."""
    for _ in range(count):
        coroutine.yield_()


def nothing() -> None:
    """Be the coroutine that ends at once."""


@suite.SUSPEND
def suspend(count: int) -> None:
    """Suspend alone."""
    spawn.call(suspend_often, count)
    system.run()


def in_turn(coroutines: int, count: int) -> None:
    """Let several suspend in turn, `count` times in all."""
    for _ in range(coroutines):
        spawn.call(suspend_often, count // coroutines)
    system.run()


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
    """Start coroutines, each of which ends before the next."""
    for _ in range(count):
        spawn.call(nothing)


@suite.RESUME
def resume(count: int) -> None:
    """Resume one coroutine again and again."""
    yielding = coroutine.create(yield_often)
    yielding.resume(count)
    for _ in range(count):
        yielding.resume()


@suite.TIMERS
def timers(count: int) -> None:
    """Let many coroutines sleep for a short time."""
    for delay in suite.delays(count):
        spawn.call(system.suspend, delay)
    system.run()


@suite.PARKED
def parked(count: int) -> object:
    """Leave many coroutines asleep."""
    kept = [spawn.call(system.suspend, suite.FOREVER) for _ in range(count)]
    system.suspend(suite.SETTLE)
    return kept
