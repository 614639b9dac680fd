"""gevent: its file objects on threads, its thread pool for what else would block, its own subprocess."""

import os
import shutil
from collections.abc import Callable
from typing import Any

import gevent  # type: ignore[import-untyped]  # has no type information
from gevent import subprocess
from gevent.fileobject import FileObjectThread  # type: ignore[import-untyped]  # has no type information

from benchmarks import jobs


def at_once(number: int, function: Callable[..., object], *arguments: Any) -> None:
    """Let several greenlets do the same."""
    gevent.joinall([gevent.spawn(function, *arguments) for _ in range(number)], raise_error=True)


def timed(function: Callable[..., object], *arguments: Any) -> jobs.Figures:
    """Measure it in a greenlet, while the main program waits."""
    return jobs.timed(at_once, 1, function, *arguments)


def read_write(source: str, target: str) -> None:
    """Copy through our memory."""
    with FileObjectThread(source, "rb", buffering=0) as reader, FileObjectThread(target, "wb", buffering=0) as writer:
        while data := reader.read(jobs.PIECE):
            jobs.check(writer.write(data) == len(data))


def copy(source: str, target: str) -> None:
    """Copy in a thread."""
    gevent.get_hub().threadpool.apply(shutil.copyfile, (source, target))


def execute(count: int) -> None:
    """Run a program to its end, again and again."""
    for _ in range(count):
        jobs.check(subprocess.run([jobs.PROGRAM]).returncode == 0)


def fileinfo(count: int) -> None:
    """Ask about a file, again and again."""
    path, apply = jobs.about(), gevent.get_hub().threadpool.apply
    for _ in range(count):
        jobs.check(apply(os.stat, (path,)).st_size > 0)
