"""trio: its files and its threads, its own subprocesses."""

import os
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from benchmarks import jobs


def timed(function: Callable[..., Awaitable[object]], *arguments: Any) -> jobs.Figures:
    """Measure it in trio's loop."""
    return trio.run(jobs.awaited, function, *arguments)


async def at_once(number: int, function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """Let several tasks do the same."""
    async with trio.open_nursery() as nursery:
        for _ in range(number):
            nursery.start_soon(function, *arguments)


async def read_write(source: str, target: str) -> None:
    """Copy through our memory."""
    async with (
        await trio.open_file(source, "rb", buffering=0) as reader,
        await trio.open_file(target, "wb", buffering=0) as writer,
    ):
        while data := await reader.read(jobs.PIECE):
            jobs.check(await writer.write(data) == len(data))


async def copy(source: str, target: str) -> None:
    """Copy in a thread."""
    await trio.to_thread.run_sync(shutil.copyfile, source, target)


async def execute(count: int) -> None:
    """Run a program to its end, again and again."""
    for _ in range(count):
        jobs.check((await trio.run_process([jobs.PROGRAM])).returncode == 0)


async def fileinfo(count: int) -> None:
    """Ask about a file, again and again."""
    path = jobs.about()
    for _ in range(count):
        jobs.check((await trio.to_thread.run_sync(os.stat, path)).st_size > 0)
