"""A hundred thousand coroutines sleep for random times, in one OS thread.

    python examples/sleepers.py --coroutines 100000 --seconds 10

Prints the number of those that woke up, the delay of the last one, and the memory that a coroutine costs.
"""

import argparse
import random
import resource
from time import perf_counter

from coutil import spawn, system


def sleeper(seconds, late):
    """Sleep once, and record by how many seconds the sleep was too long."""
    due = system.time("updated") + seconds
    system.suspend(seconds)
    late.append(system.time("updated") - due)


def main():
    """Start all, wait for all, report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--coroutines", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10, help="none sleeps longer (default: 10)")
    options = parser.parse_args()

    late, memory, start = [], peak_memory(), perf_counter()
    for number in range(options.coroutines):
        spawn.call(sleeper, random.uniform(0, options.seconds), late)
        if number % 1000 == 0:
            system.suspend(0.001)  # let the sleepers run that are due already
    print(f"{options.coroutines:,} coroutines started in {perf_counter() - start:.2f} s")
    system.run()
    print(f"{len(late):,} woke up within {perf_counter() - start:.2f} s")
    print(f"the last one was {1e3 * late[-1]:.1f} ms late, the latest {1e3 * max(late):.1f} ms")
    print(f"{(peak_memory() - memory) / options.coroutines:.1f} KiB of memory each")


def peak_memory():
    """Return the largest resident size of this process so far (KiB on Linux)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


if __name__ == "__main__":
    main()
