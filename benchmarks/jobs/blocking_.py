"""The plain calls of Python, one after the other: they stop the whole thread."""

import os
import shutil
import subprocess

from benchmarks import jobs
from benchmarks.jobs import timed  # noqa: F401  # entered by __main__.py


def read_write(source: str, target: str) -> None:
    """Copy through our memory."""
    with open(source, "rb", buffering=0) as reader, open(target, "wb", buffering=0) as writer:
        while data := reader.read(jobs.PIECE):
            jobs.check(writer.write(data) == len(data))


copy = shutil.copyfile


def execute(count: int) -> None:
    """Run a program to its end, again and again."""
    for _ in range(count):
        jobs.check(subprocess.run([jobs.PROGRAM], check=False).returncode == 0)


def fileinfo(count: int) -> None:
    """Ask about a file, again and again."""
    path = jobs.about()
    for _ in range(count):
        jobs.check(os.stat(path).st_size > 0)
