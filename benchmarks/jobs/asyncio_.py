"""asyncio: its executor for files, its own subprocesses."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from typing import Any

from benchmarks import jobs


def timed(function: Callable[..., Awaitable[object]], *arguments: Any) -> jobs.Figures:
    """Measure it in an event loop."""
    return asyncio.run(jobs.awaited(function, *arguments))


async def at_once(number: int, function: Callable[..., Awaitable[object]], *arguments: Any) -> None:
    """Let several tasks do the same."""
    await asyncio.gather(*[function(*arguments) for _ in range(number)])


async def read_write(source: str, target: str) -> None:
    """Copy through our memory."""
    run = asyncio.get_running_loop().run_in_executor
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        while data := await run(None, reader.read, jobs.PIECE):
            jobs.check(await run(None, writer.write, data) == len(data))


async def copy(source: str, target: str) -> None:
    """Copy in a thread."""
    await asyncio.get_running_loop().run_in_executor(None, shutil.copyfile, source, target)


async def execute(count: int) -> None:
    """Run a program to its end, again and again."""
    for _ in range(count):
        child = await asyncio.create_subprocess_exec(jobs.PROGRAM)
        jobs.check(await child.wait() == 0)


async def fileinfo(count: int) -> None:
    """Ask about a file, again and again."""
    path, run = jobs.about(), asyncio.get_running_loop().run_in_executor
    for _ in range(count):
        jobs.check((await run(None, os.stat, path)).st_size > 0)
