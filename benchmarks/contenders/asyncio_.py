"""asyncio: its tasks."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from benchmarks import suite


def metered(meter: suite.Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Run `function` in an event loop; return what the meter gained."""
    return asyncio.run(suite.awaited(meter, function, count))


async def nothing() -> None:
    """Be the task that ends at once."""


@suite.SUSPEND
async def suspend(count: int) -> None:
    """Suspend alone."""
    sleep = asyncio.sleep
    for _ in range(count):
        await sleep(0)


async def in_turn(coroutines: int, count: int) -> None:
    """Let several suspend in turn, `count` times in all."""
    await asyncio.gather(*[suspend(count // coroutines) for _ in range(coroutines)])


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
        await asyncio.create_task(nothing())


async def wait_often(event: asyncio.Event, count: int) -> None:
    """Be the task that waits for an event."""
    for _ in range(count):
        await event.wait()
        event.clear()


async def get_often(items: asyncio.Queue[None], count: int) -> None:
    """Be the task that waits for items."""
    for _ in range(count):
        await items.get()


@asynccontextmanager
async def crowd() -> AsyncIterator[None]:
    """Let many tasks wait, each for another event."""
    others = [asyncio.create_task(asyncio.Event().wait()) for _ in range(suite.MANY)]
    await asyncio.sleep(0)
    yield
    for each in others:
        each.cancel()
    await asyncio.wait(others)


@suite.EMIT
async def emit(count: int) -> None:
    """Set an event for one task."""
    event = asyncio.Event()
    waiter = asyncio.create_task(wait_often(event, count))
    await asyncio.sleep(0)
    for _ in range(count):
        event.set()
        await asyncio.sleep(0)
    await waiter


@suite.EMIT_CROWD
async def emit_crowd(count: int) -> None:
    """Set an event for one of many tasks."""
    async with crowd():
        await emit(count)


@suite.QUEUED
async def emit_queued(count: int) -> None:
    """Put items into an unbounded queue for one task: faster than through a queue of size 1."""
    items: asyncio.Queue[None] = asyncio.Queue()
    waiter = asyncio.create_task(get_often(items, count))
    await asyncio.sleep(0)
    for _ in range(count):
        items.put_nowait(None)
        await asyncio.sleep(0)
    await waiter


@suite.QUEUED_CROWD
async def emit_queued_crowd(count: int) -> None:
    """Put items into an unbounded queue for one of many tasks."""
    async with crowd():
        await emit_queued(count)


async def lock_often(lock: asyncio.Lock, count: int) -> None:
    """Be one of those who want the same lock."""
    for _ in range(count):
        await lock.acquire()
        await asyncio.sleep(0)
        lock.release()
        await asyncio.sleep(0)


@suite.MUTEX
async def lock(count: int) -> None:
    """Hand a lock over, from one task to the next."""
    shared = asyncio.Lock()
    await asyncio.gather(*[lock_often(shared, count // suite.FEW) for _ in range(suite.FEW)])


async def pass_on(source: asyncio.Queue[str], target: asyncio.Queue[str], count: int) -> None:
    """Be one end of two queues."""
    for _ in range(count):
        await target.put(await source.get())


@suite.QUEUE
async def queue(count: int) -> None:
    """Pass an item to and fro between two tasks."""
    there: asyncio.Queue[str] = asyncio.Queue(1)
    back: asyncio.Queue[str] = asyncio.Queue(1)
    there.put_nowait("ball")
    await asyncio.gather(pass_on(there, back, count // 2), pass_on(back, there, count // 2))


@suite.SCOPE
async def scope(count: int) -> None:
    """Start many tasks at a time, and wait until all have ended."""
    for _ in range(count // suite.MANY):
        async with asyncio.TaskGroup() as group:
            for _ in range(suite.MANY):
                group.create_task(nothing())


@suite.SCOPE_SUSPEND
async def scope_suspend(count: int) -> None:
    """Do the same with tasks that suspend."""
    for _ in range(count // suite.MANY):
        async with asyncio.TaskGroup() as group:
            for _ in range(suite.MANY):
                group.create_task(asyncio.sleep(0))


@suite.TIMERS
async def timers(count: int) -> None:
    """Let many tasks sleep for a short time."""
    await asyncio.gather(*[asyncio.sleep(delay) for delay in suite.delays(count)])


@suite.HANDLER
async def handler(count: int) -> None:
    """Start timers, and have the handlers called when all of them are due."""
    loop = asyncio.get_running_loop()
    for _ in range(count // suite.MANY):
        for _ in range(suite.MANY - 1):
            loop.call_later(0.001, int)
        last = loop.create_future()
        loop.call_later(0.001, last.set_result, None)
        await last


@suite.HANDLER_STOP
async def handler_stop(count: int) -> None:
    """Start timers and stop them."""
    loop = asyncio.get_running_loop()
    for _ in range(count // suite.MANY):
        for timer in [loop.call_later(1, int) for _ in range(suite.MANY)]:
            timer.cancel()


@suite.PARKED
async def parked(count: int) -> object:
    """Leave many tasks asleep."""
    kept = [asyncio.create_task(asyncio.sleep(suite.FOREVER)) for _ in range(count)]
    await asyncio.sleep(suite.SETTLE)
    return kept
