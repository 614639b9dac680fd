"""asyncio: its tasks."""

import asyncio
from collections.abc import Awaitable, Callable

from benchmarks import suite


def metered(meter: suite.Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Run `function` in an event loop; return what the meter gained."""
    return asyncio.run(suite.awaited(meter, function, count))


async def nothing() -> None:
    """Be the task that ends at once."""


@suite.SUSPEND
async def suspend(count: int) -> None:
    """Suspend alone."""
    for _ in range(count):
        await asyncio.sleep(0)


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


@suite.TIMERS
async def timers(count: int) -> None:
    """Let many tasks sleep for a short time."""
    await asyncio.gather(*[asyncio.sleep(delay) for delay in suite.delays(count)])


@suite.PARKED
async def parked(count: int) -> object:
    """Leave many tasks asleep."""
    kept = [asyncio.create_task(asyncio.sleep(suite.FOREVER)) for _ in range(count)]
    await asyncio.sleep(suite.SETTLE)
    return kept
