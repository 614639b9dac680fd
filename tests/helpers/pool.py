"""Keep libuv's thread pool busy, so that what is started stands in line."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from coutil import spawn, system
from coutil.system.files.file import File

READ = ("0", "63")  # the number of the system call on x86-64, and on most others
POOL = int(os.environ.get("UV_THREADPOOL_SIZE", "4"))


@contextmanager
def full_pool() -> Iterator[None]:
    """Every thread of the pool reads from an empty pipe while the block runs."""
    ends = [os.pipe() for _ in range(POOL)]
    files = [File(reader, f"'reader {reader}'", True, False) for reader, _ in ends]
    readers = [spawn.call(file.read, 1) for file in files]
    system.run("ready")
    try:
        yield
    finally:
        for _, writer in ends:
            os.write(writer, b"x")
        while any(reader.status != "dead" for reader in readers):
            system.run("step")
        for file, (_, writer) in zip(files, ends, strict=True):
            os.close(writer)
            file.close(blocking=True)


def wait_until_it_reads(descriptor: int) -> None:
    """Wait until a thread of the pool is in read(2) on a descriptor: from then on libuv cannot cancel the call."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        for task in os.listdir("/proc/self/task"):
            with suppress(FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                call = Path(f"/proc/self/task/{task}/syscall").read_text().split()
                if call[0] in READ and int(call[1], 16) == descriptor:
                    return
        time.sleep(0.001)
    raise AssertionError(f"nobody reads from descriptor {descriptor}")
