"""trio: its tasks, each group of them in a nursery."""

from collections.abc import Awaitable, Callable

import trio

from benchmarks import suite


def metered(meter: suite.Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Run `function` in trio's loop; return what the meter gained."""
    return trio.run(suite.awaited, meter, function, count)


async def nothing() -> None:
    """Be the task that ends at once."""


@suite.SUSPEND
async def suspend(count: int) -> None:
    """Suspend alone."""
    for _ in range(count):
        await trio.lowlevel.checkpoint()


async def in_turn(coroutines: int, count: int) -> None:
    """Let several suspend in turn, `count` times in all."""
    async with trio.open_nursery() as nursery:
        for _ in range(coroutines):
            nursery.start_soon(suspend, count // coroutines)


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
        async with trio.open_nursery() as nursery:
            nursery.start_soon(nothing)


@suite.TIMERS
async def timers(count: int) -> None:
    """Let many tasks sleep for a short time."""
    async with trio.open_nursery() as nursery:
        for delay in suite.delays(count):
            nursery.start_soon(trio.sleep, delay)


@suite.PARKED
async def parked(count: int) -> None:
    """Leave many tasks asleep: as system tasks, since a nursery would wait for them."""
    for _ in range(count):
        trio.lowlevel.spawn_system_task(trio.sleep, suite.FOREVER)
    await trio.sleep(suite.SETTLE)
