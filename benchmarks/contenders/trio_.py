"""trio: its tasks, each group of them in a nursery."""

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

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
    checkpoint = trio.lowlevel.checkpoint
    for _ in range(count):
        await checkpoint()


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


async def wait_often(lot: trio.lowlevel.ParkingLot, count: int) -> None:
    """Be the task that waits for an event: an Event is good for one time only, and costs more."""
    for _ in range(count):
        await lot.park()


async def get_often(items: trio.MemoryReceiveChannel[None], count: int) -> None:
    """Be the task that waits for items."""
    for _ in range(count):
        await items.receive()


@asynccontextmanager
async def crowd() -> AsyncIterator[None]:
    """Let many tasks wait, each for another event."""
    async with trio.open_nursery() as nursery:
        for _ in range(suite.MANY):
            nursery.start_soon(trio.lowlevel.ParkingLot().park)
        await trio.lowlevel.checkpoint()
        yield
        nursery.cancel_scope.cancel()


@suite.EMIT
async def emit(count: int) -> None:
    """Emit to one task; trio runs what is ready in any order, so look whether it waits already."""
    lot = trio.lowlevel.ParkingLot()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait_often, lot, count)
        for _ in range(count):
            while not lot.unpark():
                await trio.lowlevel.checkpoint()


@suite.EMIT_CROWD
async def emit_crowd(count: int) -> None:
    """Emit to one of many tasks."""
    async with crowd():
        await emit(count)


@suite.QUEUED
async def emit_queued(count: int) -> None:
    """Send items through an unbounded channel to one task; send() gives way by itself."""
    sender, receiver = trio.open_memory_channel[None](math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(get_often, receiver, count)
        for _ in range(count):
            await sender.send(None)


@suite.QUEUED_CROWD
async def emit_queued_crowd(count: int) -> None:
    """Send items through an unbounded channel to one of many tasks."""
    async with crowd():
        await emit_queued(count)


async def lock_often(lock: trio.Lock, count: int) -> None:
    """Be one of those who want the same lock; acquire() gives way by itself."""
    for _ in range(count):
        await lock.acquire()
        await trio.lowlevel.checkpoint()
        lock.release()
        await trio.lowlevel.checkpoint()


@suite.MUTEX
async def lock(count: int) -> None:
    """Hand a lock over, from one task to the next."""
    shared = trio.Lock()
    async with trio.open_nursery() as nursery:
        for _ in range(suite.FEW):
            nursery.start_soon(lock_often, shared, count // suite.FEW)


async def pass_on(source: trio.MemoryReceiveChannel[str], target: trio.MemorySendChannel[str], count: int) -> None:
    """Be one end of two channels."""
    for _ in range(count):
        await target.send(await source.receive())


@suite.QUEUE
async def queue(count: int) -> None:
    """Pass an item to and fro between two tasks."""
    to_there, there = trio.open_memory_channel[str](1)
    to_back, back = trio.open_memory_channel[str](1)
    to_there.send_nowait("ball")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, there, to_back, count // 2)
        nursery.start_soon(pass_on, back, to_there, count // 2)


@suite.SCOPE
async def scope(count: int) -> None:
    """Start many tasks at a time, and wait until all have ended."""
    for _ in range(count // suite.MANY):
        async with trio.open_nursery() as nursery:
            for _ in range(suite.MANY):
                nursery.start_soon(nothing)


@suite.SCOPE_SUSPEND
async def scope_suspend(count: int) -> None:
    """Do the same with tasks that suspend."""
    for _ in range(count // suite.MANY):
        async with trio.open_nursery() as nursery:
            for _ in range(suite.MANY):
                nursery.start_soon(trio.lowlevel.checkpoint)


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
