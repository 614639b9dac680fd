"""Keep libuv's thread pool busy, so that what is started stands in line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from coutil import spawn, system
from coutil.system.files.file import File

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
