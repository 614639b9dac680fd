"""uvloop: the functions of asyncio, on its event loop."""

from collections.abc import Awaitable, Callable

import uvloop

import benchmarks.contenders.asyncio_  # noqa: F401  # implements the benchmarks
from benchmarks import suite


def metered(meter: suite.Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Run `function` in an event loop of uvloop; return what the meter gained."""
    return uvloop.run(suite.awaited(meter, function, count))
