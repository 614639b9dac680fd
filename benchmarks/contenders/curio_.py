"""curio: its tasks, each group of them in a TaskGroup.

It has no TIMERS: an assertion of its kernel looks through all that is ready whenever it resumes a task, which would
take minutes with so many.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import curio  # type: ignore[import-untyped]  # has no type information

from benchmarks import suite


def metered(meter: suite.Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Run `function` in curio's kernel; return what the meter gained."""
    gain: float = curio.run(suite.awaited, meter, function, count)
    return gain


async def nothing() -> None:
    """Be the task that ends at once."""


@suite.SUSPEND
async def suspend(count: int) -> None:
    """Suspend alone."""
    sleep = curio.sleep
    for _ in range(count):
        await sleep(0)


async def in_turn(coroutines: int, count: int) -> None:
    """Let several suspend in turn, `count` times in all."""
    async with curio.TaskGroup() as group:
        for _ in range(coroutines):
            await group.spawn(suspend, count // coroutines)


@suite.PAIR
async def pair(count: int) -> None:
    """Suspend in turn with one other."""
    await in_turn(2, count)


@suite.TURNS
async def turns(count: int) -> None:
    """Suspend in turn with many others."""
    await in_turn(suite.MANY, count)


@suite.SPAWN
async def spawn_to_end(count: int) -> None:
    """Start tasks, each of which ends before the next."""
    for _ in range(count):
        task = await curio.spawn(nothing)
        await task.join()


async def wait_often(event: curio.Event, count: int) -> None:
    """Be the task that waits for an event."""
    for _ in range(count):
        await event.wait()
        event.clear()


async def get_often(items: curio.Queue, count: int) -> None:
    """Be the task that waits for items."""
    for _ in range(count):
        await items.get()


@asynccontextmanager
async def crowd() -> AsyncIterator[None]:
    """Let many tasks wait, each for another event."""
    async with curio.TaskGroup(wait=None) as group:  # which cancels them in the end
        for _ in range(suite.MANY):
            await group.spawn(curio.Event().wait)
        await curio.sleep(0)
        yield


@suite.EMIT
async def emit(count: int) -> None:
    """Set an event for one task."""
    event = curio.Event()
    waiter = await curio.spawn(wait_often, event, count)
    await curio.sleep(0)
    for _ in range(count):
        await event.set()
        await curio.sleep(0)
    await waiter.join()


@suite.EMIT_CROWD
async def emit_crowd(count: int) -> None:
    """Set an event for one of many tasks."""
    async with crowd():
        await emit(count)


@suite.QUEUED
async def emit_queued(count: int) -> None:
    """Put items into an unbounded queue for one task."""
    items = curio.Queue()
    waiter = await curio.spawn(get_often, items, count)
    await curio.sleep(0)
    for _ in range(count):
        await items.put(None)
        await curio.sleep(0)
    await waiter.join()


@suite.QUEUED_CROWD
async def emit_queued_crowd(count: int) -> None:
    """Put items into an unbounded queue for one of many tasks."""
    async with crowd():
        await emit_queued(count)


async def lock_often(lock: curio.Lock, count: int) -> None:
    """Be one of those who want the same lock."""
    for _ in range(count):
        await lock.acquire()
        await curio.sleep(0)
        await lock.release()
        await curio.sleep(0)


@suite.MUTEX
async def lock(count: int) -> None:
    """Hand a lock over, from one task to the next."""
    shared = curio.Lock()
    async with curio.TaskGroup() as group:
        for _ in range(suite.FEW):
            await group.spawn(lock_often, shared, count // suite.FEW)


async def pass_on(source: curio.Queue, target: curio.Queue, count: int) -> None:
    """Be one end of two queues."""
    for _ in range(count):
        await target.put(await source.get())


@suite.QUEUE
async def queue(count: int) -> None:
    """Pass an item to and fro between two tasks."""
    there, back = curio.Queue(1), curio.Queue(1)
    await there.put("ball")
    async with curio.TaskGroup() as group:
        await group.spawn(pass_on, there, back, count // 2)
        await group.spawn(pass_on, back, there, count // 2)


@suite.SCOPE
async def scope(count: int) -> None:
    """Start many tasks at a time, and wait until all have ended."""
    for _ in range(count // suite.MANY):
        async with curio.TaskGroup() as group:
            for _ in range(suite.MANY):
                await group.spawn(nothing)


@suite.SCOPE_SUSPEND
async def scope_suspend(count: int) -> None:
    """Do the same with tasks that suspend."""
    for _ in range(count // suite.MANY):
        async with curio.TaskGroup() as group:
            for _ in range(suite.MANY):
                await group.spawn(curio.sleep, 0)


@suite.PARKED
async def parked(count: int) -> object:
    """Leave many tasks asleep."""
    kept = [await curio.spawn(curio.sleep, suite.FOREVER) for _ in range(count)]
    await curio.sleep(suite.SETTLE)
    return kept
