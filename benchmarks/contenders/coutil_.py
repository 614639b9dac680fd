"""coutil: the hub runs when the main program asks for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from benchmarks import suite
from coutil import coroutine, event, mutex, queued, scopes, spawn, sync, system, uv

metered = suite.metered


def suspend_often(count: int) -> None:
    """Be the coroutine that suspends."""
    suspend = system.suspend
    for _ in range(count):
        suspend()


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


def wait_often(module: ModuleType, count: int) -> None:
    """Be the coroutine that waits for an event, which may be any value."""
    for _ in range(count):
        module.await_("event")


def emit_often(module: ModuleType, count: int) -> None:
    """Resume one coroutine by an event again and again: it waits anew before the emission returns."""
    waiter = spawn.call(wait_often, module, count)
    for _ in range(count):
        module.emitone("event")
    assert waiter.status == "dead"


@contextmanager
def crowd() -> Iterator[None]:
    """Let many coroutines wait, each for another event."""
    others = [spawn.call(event.await_, number) for number in range(suite.MANY)]
    yield
    for each in others:
        each.close()


@suite.EMIT
def emit(count: int) -> None:
    """Emit an event to one coroutine."""
    emit_often(event, count)


@suite.EMIT_CROWD
def emit_crowd(count: int) -> None:
    """Emit an event to one of many coroutines."""
    with crowd():
        emit_often(event, count)


@suite.QUEUED
def emit_queued(count: int) -> None:
    """Emit an event that is not lost to one coroutine."""
    emit_often(queued, count)


@suite.QUEUED_CROWD
def emit_queued_crowd(count: int) -> None:
    """Emit an event that is not lost to one of many coroutines."""
    with crowd():
        emit_often(queued, count)


def lock_often(count: int) -> None:
    """Be one of those who want the same lock, which may be any value."""
    for _ in range(count):
        mutex.lock("lock")
        system.suspend()
        mutex.unlock("lock")
        system.suspend()


@suite.MUTEX
def lock(count: int) -> None:
    """Hand a lock over, from one coroutine to the next."""
    for _ in range(suite.FEW):
        spawn.call(lock_often, count // suite.FEW)
    system.run()


def pass_on(source: sync.Queue, target: sync.Queue, count: int) -> None:
    """Be one end of two queues."""
    for _ in range(count):
        target.put(source.get())


@suite.QUEUE
def queue(count: int) -> None:
    """Pass an item to and fro between two coroutines."""
    there, back = sync.Queue(1), sync.Queue(1)
    for queues in ((there, back), (back, there)):
        spawn.call(pass_on, *queues, count // 2)
    there.put("ball")
    system.run()


@suite.SCOPE
def scope(count: int) -> None:
    """Start many coroutines at a time, and wait until all have ended."""
    for _ in range(count // suite.MANY):
        with scopes.scope() as children:
            for _ in range(suite.MANY):
                children.spawn(nothing)


@suite.SCOPE_SUSPEND
def scope_suspend(count: int) -> None:
    """Do the same with coroutines that suspend."""
    for _ in range(count // suite.MANY):
        with scopes.scope() as children:
            for _ in range(suite.MANY):
                children.spawn(system.suspend)


@suite.TIMERS
def timers(count: int) -> None:
    """Let many coroutines sleep for a short time."""
    for delay in suite.delays(count):
        spawn.call(system.suspend, delay)
    system.run()


@contextmanager
def handler_timers() -> Iterator[list[uv.Timer]]:
    """Make timers with a handler that does nothing."""
    with uv.Loop() as loop:
        made = [uv.Timer(loop) for _ in range(suite.MANY)]
        for timer in made:
            timer.ontimeout = lambda timer: None
        yield made


@suite.HANDLER
def handler(count: int) -> None:
    """Start timers, and have the handlers called when all of them are due."""
    with handler_timers() as made:
        for _ in range(count // suite.MANY):
            for timer in made:
                timer.start(1)
            made[0].loop.run()


@suite.HANDLER_STOP
def handler_stop(count: int) -> None:
    """Start timers and stop them."""
    with handler_timers() as made:
        for _ in range(count // suite.MANY):
            for timer in made:
                timer.start(1000)
            for timer in made:
                timer.stop()


@suite.PARKED
def parked(count: int) -> object:
    """Leave many coroutines asleep."""
    kept = [spawn.call(system.suspend, suite.FOREVER) for _ in range(count)]
    system.suspend(suite.SETTLE)
    return kept
