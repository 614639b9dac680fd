"""Two ways to handle the end of a coroutine: `catch` calls a handler if it raises, `trap` calls one in any case.

    python examples/spawn.py

Four coroutines add up numbers, one at a time; a scheduler resumes them in turn until all have ended.
"""

import argparse
import traceback

from coutil import coroutine, spawn


def add(name, *numbers):
    """Add one number each time that the coroutine is resumed; return the sum."""
    print(f"{name}: started")
    total = 0
    for step, number in enumerate(numbers, 1):
        coroutine.yield_()
        total += number
        print(f"{name}: step {step}")
    print(f"{name}: ended")
    return total


def report(error):
    """Handle an exception that `catch` caught; `catch` calls this inside its `except` block."""
    print(f"caught: {error}")
    traceback.print_exc()


def outcome(ok, result):
    """Handle the end that `trap` caught: a result, or an exception."""
    print(f"trapped: the {'sum is' if ok else 'error is:'} {result}")


def round_robin(coroutines):
    """Resume each coroutine in turn until all have ended."""
    while coroutines := [each for each in coroutines if each.status != "dead"]:
        for each in coroutines:
            each.resume()


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    round_robin(
        [
            spawn.catch(report, add, "A", 1, 2, 3),
            spawn.catch(report, add, "B", 1, None, 3),
            spawn.trap(outcome, add, "C", 1, 2, 3),
            spawn.trap(outcome, add, "D", 1, None),
        ]
    )
