"""What single operations cost: ours against its peers, each figure from a fresh process.

    python -m benchmarks micro --rounds 5 --benchmarks suspend,spawn --contenders coutil,gevent

Every round measures each contender once, beginning with another one each time. The table shows medians, and in
parentheses how many times our cost that is: more than 1 says that ours is better. suite.py defines the benchmarks, the
folder `contenders` implements them.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks import common, idle, suite
from benchmarks.common import Trials

LIMIT = 120.0  # seconds that one figure may take

Results = Mapping[str, Trials[float | None]]


def measure(benchmark: suite.Benchmark, contender: str) -> float | None:
    """Return one figure; None if the contender has no such thing. Raises Failed."""
    if benchmark is suite.IDLE:
        return idle.figure(contender, benchmark)
    core, _ = common.cores()
    command = [sys.executable, "-m", "benchmarks.worker", contender, benchmark.name]
    figure: float | None = json.loads(common.run(command, core, LIMIT))
    return figure


def middle(trials: Trials[float | None] | None) -> float | None:
    """Return the median of the figures; None if there is none."""
    figures = [sample for sample in trials.samples if sample is not None] if trials else []
    return median(figures) if figures else None


def cell(trials: Trials[float | None], ours: float | None) -> str:
    """Return a figure and its ratio to ours."""
    if not trials.samples:
        return "failed"
    figure = middle(trials)
    times = common.ratio(figure, ours)
    return common.number(figure) + (f" ({times:.2f})" if times else "")


def row(benchmark: suite.Benchmark, results: Results) -> list[str]:
    """Return one line of the table."""
    ours = middle(results.get(common.OURS))
    cells = [cell(trials, None if name == common.OURS else ours) for name, trials in results.items()]
    return [benchmark.title, benchmark.unit, *cells]


def report(results: Mapping[suite.Benchmark, Results], names: Sequence[str], rounds: int) -> str:
    """Return the table, and below it what failed."""
    lines = [row(each, trials) for each, trials in results.items()]
    failed = [line for each, trials in results.items() for line in common.complaints(each.title, trials, rounds)]
    return "\n".join([f"\nmedian of {rounds} rounds\n", common.table(("benchmark", "unit", *names), lines), *failed])


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("benchmarks micro", description="Compare what single operations cost.")
    parser.add_argument("--rounds", type=int, default=5)
    for option, known in (("benchmarks", suite.BENCHMARKS), ("contenders", suite.CONTENDERS)):
        parser.add_argument(
            f"--{option}", type=common.words, action="append", metavar="NAME,...", help=", ".join(known)
        )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure each benchmark, print the table, and return 1 if anything failed."""
    options = parsed(arguments)
    benchmarks = [suite.BENCHMARKS[name] for name in common.chosen(options.benchmarks, suite.BENCHMARKS)]
    names = common.chosen(options.contenders, suite.CONTENDERS)
    known = common.print_versions()
    names = common.installed({name: name for name in names})
    results = {each: common.compare(each.title, names, options.rounds, partial(measure, each)) for each in benchmarks}
    print(report(results, names, options.rounds))
    figures = {each.name: {name: asdict(trial) for name, trial in trials.items()} for each, trials in results.items()}
    common.write_json(options.json, {"versions": known, "benchmarks": figures})
    return int(any(trial.failures for trials in results.values() for trial in trials.values()))
