"""Python functions that libuv's thread pool calls."""

from __future__ import annotations

from itertools import count
from typing import Any
from weakref import WeakValueDictionary

from . import ffi

__all__ = ["pending", "register_job"]

_numbers = count(1)
_jobs: WeakValueDictionary[int, Any] = WeakValueDictionary()


def register_job(job: Any) -> int:
    """Return the number by which C has `job.run()` called, which must not raise. The waiter keeps the job alive."""
    number = next(_numbers)
    _jobs[number] = job
    return number


def pending() -> bool:
    """Return whether there are jobs that have not started."""
    return bool(_jobs)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi has no types
def co_work_call(token: int) -> None:
    """Run a job, unless it was dropped; called by C, in a thread of the pool."""
    job = _jobs.pop(token, None)
    if job is not None:
        job.run()
