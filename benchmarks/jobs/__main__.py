"""One job of one contender, in a process of its own.

`python -m benchmarks.jobs CONTENDER JOB PART SOURCE TARGET` prints its figures as JSON in the last line, `null` if the
contender has no such thing. PART: of the job that is done, at most 1. SOURCE and TARGET: files, of which jobs that
copy fill the second one.
"""

import filecmp
import json
import os
import sys
from functools import partial
from importlib import import_module
from types import ModuleType

from benchmarks import jobs
from benchmarks.jobs import Figures, Job

WARM = 0.02  # of the operations are done before, so that threads have started and everything is imported


def timed(contender: ModuleType, job: Job, *arguments: object) -> Figures:
    """Measure what the contender implements, in one coroutine or in several."""
    function = getattr(contender, job.name)
    figures: Figures
    if job.coroutines == 1:
        figures = contender.timed(function, *arguments)
    else:
        figures = contender.timed(contender.at_once, job.coroutines, function, *arguments)
    return figures


def repeated(contender: ModuleType, job: Job, part: float) -> Figures:
    """Do something often; return what each took."""
    share = max(1, round(job.count * part / job.coroutines))
    timed(contender, job, max(1, round(share * WARM)))
    wall, cpu = timed(contender, job, share)
    return Figures(wall / share / job.coroutines, cpu / share / job.coroutines)


def copied(contender: ModuleType, job: Job, source: str, target: str) -> Figures:
    """Copy a file twice, and measure the second time: the memory that the first one filled is freed just before, since
    fresh memory can cost a virtual machine more than everything else.
    """
    measure = partial(timed, contender, job, source, target)
    measure()
    os.truncate(target, 0)
    figures = measure()
    jobs.check(filecmp.cmp(source, target, shallow=False))
    return figures


def main(contender: str, name: str, part: str, source: str, target: str) -> None:
    """Import the contender, and print what the job took it."""
    module, job = import_module(f"benchmarks.jobs.{contender}_"), jobs.JOBS[name]
    able = hasattr(module, job.name) and (job.coroutines == 1 or hasattr(module, "at_once"))
    if not able:
        figures = None
    elif job.copies:
        figures = copied(module, job, source, target)
    else:
        figures = repeated(module, job, float(part))
    print(json.dumps(figures and figures._asdict()))


if __name__ == "__main__":
    main(*sys.argv[1:])
