"""uvloop: the functions of asyncio, on its event loop."""

from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from benchmarks import jobs
from benchmarks.jobs.asyncio_ import at_once, copy, execute, fileinfo, read_write  # noqa: F401  # the jobs


def timed(function: Callable[..., Awaitable[object]], *arguments: Any) -> jobs.Figures:
    """Measure it in an event loop of uvloop."""
    return uvloop.run(jobs.awaited(function, *arguments))
