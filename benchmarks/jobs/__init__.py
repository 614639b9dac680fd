"""What system.py measures: jobs for the operating system, done by each contender in its own way.

Each module here is a contender. A job is a function of that name there (one that has no such thing leaves it out), and
`at_once(number, function, *arguments)` lets several coroutines do it; `timed` enters the event loop and measures. A
process does one job once, see `__main__.py`. A new job is one definition here, and one function in each module.
"""

import gc
import os
import resource
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from time import perf_counter, process_time
from typing import Any, NamedTuple

CONTENDERS = {  # name: the module that must be installed
    "coutil": "coutil",
    "gevent": "gevent",
    "asyncio": "asyncio",
    "uvloop": "uvloop",
    "trio": "trio",
    "blocking": "os",  # the plain calls, which stop the whole thread
}
GIBI, PIECE = 1 << 30, 1 << 20  # bytes: what is copied, and at once
PROGRAM = "true"  # ends at once


class Figures(NamedTuple):
    """What a job took, in seconds: time, and CPU of the process, its threads and the programs that it ran."""

    wall: float
    cpu: float


@dataclass(frozen=True)
class Job:
    """`count` operations of the function `name`, in `unit`s each; `coroutines` do it at once, each its share."""

    title: str
    name: str
    count: int = 1
    coroutines: int = 1
    unit: str = "µs"
    scale: float = 1e6
    copies: bool = False  # one file to another; the others get how often


JOBS = {
    "read-write": Job("copy of 1 GiB, read and written by 1 MiB", "read_write", unit="ms", scale=1e3, copies=True),
    "copy": Job("copy of 1 GiB by the system", "copy", unit="ms", scale=1e3, copies=True),
    "execute": Job(f'execute("{PROGRAM}")', "execute", 1000),
    "execute-crowd": Job(f'execute("{PROGRAM}"), 8 at once', "execute", 1000, 8),
    "fileinfo": Job("fileinfo", "fileinfo", 10_000),
    "fileinfo-crowd": Job("fileinfo, 32 at once", "fileinfo", 10_000, 32),
}


def consumed() -> float:
    """Return the CPU time of this process and of those that it waited for."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return process_time() + children.ru_utime + children.ru_stime


def timed(function: Callable[..., Any], *arguments: Any) -> Figures:
    """Return what a call takes. Blocking contenders use this one."""
    gc.collect()
    wall, cpu = perf_counter(), consumed()
    function(*arguments)
    return Figures(perf_counter() - wall, consumed() - cpu)


async def awaited(function: Callable[..., Awaitable[object]], *arguments: Any) -> Figures:
    """Do what `timed` does, inside an event loop, whose own life is not measured."""
    gc.collect()
    wall, cpu = perf_counter(), consumed()
    await function(*arguments)
    return Figures(perf_counter() - wall, consumed() - cpu)


def check(done: bool) -> None:
    """Raise RuntimeError unless an operation did what it shall."""
    if not done:
        raise RuntimeError("an operation did not do what it was measured for")


def about() -> str:
    """Return the path of a file to ask about."""
    return os.path.abspath(__file__)
