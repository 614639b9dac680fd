"""Files and processes: ours against its peers and against the plain calls, each figure from a fresh process.

    python -m benchmarks system --rounds 5 --jobs copy,fileinfo --contenders coutil,gevent,blocking
    python -m benchmarks system --part 0.01

Every round measures each contender once, beginning with another one each time; a contender, its threads and the
programs that it runs share one core. The tables show medians; in their ratios, more than 1 says that ours is better.
CPU counts all threads, and the programs, too. The folder `jobs` defines the jobs and implements them.
"""

import argparse
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory, gettempdir

from benchmarks import common, jobs
from benchmarks.common import Trials
from benchmarks.jobs import Job

Sample = Mapping[str, float] | None

LIMIT = 300.0  # seconds that one figure may take
MEMORY = "/dev/shm"  # a folder whose files are in memory: a disk would add more noise than there is to see
PARTS = 64  # the source is written in so many pieces


def write_source(path: Path, size: int) -> None:
    """Write something to copy, and have it on the disk before anything is measured."""
    piece = os.urandom(max(1, size // PARTS))
    with path.open("wb") as file:
        while file.tell() < size:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())


def measure(name: str, part: float, folder: Path, contender: str) -> Sample:
    """Return the figures; None if the contender has no such thing. Raises Failed."""
    core, _ = common.cores()
    settings = (contender, name, str(part), str(folder / "source"), str(folder / "target"))
    figures: Sample = json.loads(common.run([sys.executable, "-m", "benchmarks.jobs", *settings], core, LIMIT))
    return figures


def middle(trials: Trials[Sample] | None, figure: str) -> float | None:
    """Return the median of a figure; None if there is none."""
    figures = [sample[figure] for sample in trials.samples if sample] if trials else []
    return median(figures) if figures else None


def row(name: str, job: Job, trials: Trials[Sample], ours: Trials[Sample] | None) -> list[str]:
    """Return one line of a table."""
    if not trials.samples:
        return [name, "failed", "-", "-", "-"]
    found = [middle(trials, figure) for figure in ("wall", "cpu")]
    ratios = [common.ratio(middle(trials, figure), middle(ours, figure)) for figure in ("wall", "cpu")]
    return [name, *(common.number(value and value * job.scale, 1) for value in found), *map(common.number, ratios)]


def report(job: Job, results: Mapping[str, Trials[Sample]], rounds: int) -> str:
    """Return the table of one job, and below it what failed."""
    known = {name: trials for name, trials in results.items() if trials.failures or any(trials.samples)}
    rows = [row(name, job, trials, results.get(common.OURS)) for name, trials in known.items()]
    head = ("contender", job.unit, f"CPU {job.unit}", "ratio", "ratio CPU")
    title = f"\n{job.title}, median of {rounds} rounds\n"
    return "\n".join([title, common.table(head, rows), *common.complaints(job.title, results, rounds)])


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("benchmarks system", description="Compare work with files and processes.")
    parser.add_argument("--rounds", type=int, default=5)
    for option, known in (("jobs", jobs.JOBS), ("contenders", jobs.CONTENDERS)):
        parser.add_argument(
            f"--{option}", type=common.words, action="append", metavar="NAME,...", help=", ".join(known)
        )
    parser.add_argument("--part", type=float, default=1.0, metavar="P", help="do only this part of each job")
    folder = MEMORY if os.path.isdir(MEMORY) else gettempdir()
    parser.add_argument("--folder", default=folder, help=f"where files are copied; {folder} unless given")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure each job, print its table, and return 1 if anything failed."""
    options = parsed(arguments)
    chosen = common.chosen(options.jobs, jobs.JOBS)
    names = common.chosen(options.contenders, jobs.CONTENDERS)
    known = common.print_versions()
    names = common.installed({name: jobs.CONTENDERS[name] for name in names})
    if options.part != 1:
        print(f"only {options.part:g} of each job is done")
    record = {}
    with TemporaryDirectory(dir=options.folder) as folder:
        if any(jobs.JOBS[name].copies for name in chosen):
            write_source(Path(folder, "source"), round(jobs.GIBI * options.part))
        for name in chosen:
            job = jobs.JOBS[name]
            one = partial(measure, name, options.part, Path(folder))
            record[name] = common.compare(job.title, names, options.rounds, one)
            print(report(job, record[name], options.rounds), flush=True)
    figures = {name: {who: asdict(trials) for who, trials in results.items()} for name, results in record.items()}
    common.write_json(options.json, {"versions": known, "folder": options.folder, "jobs": figures})
    return int(any(trials.failures for results in record.values() for trials in results.values()))
