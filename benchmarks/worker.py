"""One figure of micro.py, in a process of its own.

`python -m benchmarks.worker CONTENDER BENCHMARK` prints it as JSON, in the last line. It is `null` if the contender has
no such thing.
"""

import json
import sys
from functools import partial
from importlib import import_module
from types import ModuleType

from benchmarks import suite


def figure(contender: ModuleType, benchmark: suite.Benchmark) -> float | None:
    """Measure what the contender implements; return units per operation."""
    if not benchmark.function:
        return None
    gain = partial(contender.metered, benchmark.meter, benchmark.function)
    count = benchmark.count or suite.calibrated(gain)
    unmeasured = gain(0) if benchmark.crowd else 0.0
    return float((gain(count) - unmeasured) * benchmark.scale / count)


def main(contender: str, name: str) -> None:
    """Import the contender, which implements benchmarks, and print one figure."""
    module = import_module(f"benchmarks.contenders.{contender}_")
    print(json.dumps(figure(module, suite.BENCHMARKS[name])))


if __name__ == "__main__":
    main(*sys.argv[1:])
