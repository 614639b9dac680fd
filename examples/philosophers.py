"""Five philosophers, five forks, and the report of a deadlock.

    python examples/philosophers.py --ordered

Each philosopher takes the fork on the left, then the one on the right, and all starve: coutil notices that nothing can
happen, and reports the waiters, what they wait for, who holds it, and the cycle. With --ordered each philosopher takes
the fork with the lower number first; then there can be no cycle, and all of them eat.
"""

import argparse

from coutil import errors, event, mutex, spawn, system

NAMES = ["Aristotle", "Hypatia", "Kant", "Plato", "Spinoza"]


def dine(name, first, second):
    """Take two forks, one after the other, and eat."""
    with mutex.held(first):
        system.suspend(0.01)  # time to think, in which the others take theirs
        with mutex.held(second):
            print(f"{name} eats with {first} and {second}")
    event.emitall(name)


def main():
    """Let all of them dine; print the report if they cannot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--ordered", action="store_true", help="the fork with the lower number first")
    ordered = parser.parse_args().ordered
    for seat, name in enumerate(NAMES):
        forks = [f"fork {seat}", f"fork {(seat + 1) % len(NAMES)}"]
        spawn.call(dine, name, *(sorted(forks) if ordered else forks), name=name)
    try:
        event.awaitall(*NAMES)
        print("everybody has eaten")
    except errors.Deadlock as deadlock:
        print(f"coutil.errors.Deadlock: {deadlock}")


if __name__ == "__main__":
    main()
