"""coutil: files in libuv's thread pool, processes by its own `execute`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks import jobs
from coutil import scopes, system


def at_once(number: int, function: Callable[..., object], *arguments: Any) -> None:
    """Let several coroutines do the same."""
    with scopes.scope() as children:
        for _ in range(number):
            children.spawn(function, *arguments)


def timed(function: Callable[..., object], *arguments: Any) -> jobs.Figures:
    """Measure it in a coroutine, while the main program waits."""
    return jobs.timed(at_once, 1, function, *arguments)


@contextmanager
def opened(source: str, target: str) -> Iterator[tuple[system.File, system.File]]:
    """Open both files during the block."""
    with (
        system.openfile(source) as reader,
        system.openfile(target, write=True, create=True, truncate=True, perm="rwR") as writer,
    ):
        yield reader, writer


def read_write(source: str, target: str) -> None:
    """Copy through our memory."""
    with opened(source, target) as (reader, writer):
        while data := reader.read(jobs.PIECE):
            jobs.check(writer.write(data) == len(data))


def copy(source: str, target: str) -> None:
    """Copy in the kernel."""
    with opened(source, target) as (reader, writer):
        size = reader.info("size")
        jobs.check(writer.write_from(reader, 0, size) == size)


def execute(count: int) -> None:
    """Run a program to its end, again and again."""
    for _ in range(count):
        jobs.check(system.execute(jobs.PROGRAM) == ("exit", 0))


def fileinfo(count: int) -> None:
    """Ask about a file, again and again."""
    path = jobs.about()
    for _ in range(count):
        jobs.check(system.fileinfo(path).size > 0)
