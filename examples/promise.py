"""Promises: three coroutines wait for results, each in another way; the main program supplies them in any order.

    python examples/promise.py --order dgabcef

A promise comes with the function that fulfills it. The caller of that function need not know the waiters, if any.
"""

import argparse

from coutil import promise, spawn

OPERATIONS = "abcdefg"
pending = {}  # for each operation in progress, the function that fulfills its promise


def begin(operation):
    """Begin an operation; return the promise of its result."""
    result, pending[operation] = promise.create()
    return result


def complete(operation):
    """Supply the result; the coroutines that wait for it continue before this returns."""
    print("complete", operation)
    pending.pop(operation)(f"result of {operation}")


def one(result):
    """Wait for a result, unless it is there already."""
    print("one:", "ready" if result(True) else "pending")
    print("one:", result())


def first(*results):
    """Wait for the first of several results, unless one is there already."""
    ready = promise.pickready(*results)
    print("first:", "ready" if ready else "pending")
    print("first:", (ready or promise.awaitany(*results))())


def every(*results):
    """Wait for several results, then print them in the order of the arguments."""
    print("every:", len(promise.onlypending(*results)), "pending")
    promise.awaitall(*results)
    print("every:", ", ".join(result() for result in results))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--order", default="dgabcef", help="the order in which they are completed (%(default)s)")
    order = list(parser.parse_args().order)
    if sorted(order) != list(OPERATIONS):
        parser.error(f"the order must contain each of {OPERATIONS} once")
    a, b, c, d, e, f, g = map(begin, OPERATIONS)
    complete(order.pop(0))
    for function, *results in ((one, a), (first, b, c, d), (every, e, f, g)):
        spawn.call(function, *results)
    while pending:
        complete(order.pop(0))
