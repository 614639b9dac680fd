"""Keep libuv's thread pool busy with functions that wait."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from coutil import uv

POOL = int(os.environ.get("UV_THREADPOOL_SIZE", "4"))


@contextmanager
def busy_pool(loop: uv.Loop) -> Iterator[Callable[[], None]]:
    """Every thread of the pool waits while the block runs, or until what it yields is called."""
    begun, end = threading.Semaphore(0), threading.Event()

    def wait() -> None:
        begun.release()
        assert end.wait(20)

    requests = [loop.queue_work_nowait(wait) for _ in range(POOL)]
    for _ in requests:
        assert begun.acquire(timeout=20)
    try:
        yield end.set
    finally:
        end.set()
        if loop._hub.loop.pointer:
            for request in requests:
                request.result()
