"""Waits for what happens in other threads and processes, of which no event comes."""

from __future__ import annotations

import time
from collections.abc import Callable

__all__ = ["PATIENCE", "eventually"]

PATIENCE = 20.0  # seconds until a test gives up


def eventually(condition: Callable[[], object]) -> None:
    """Block the thread until condition() is true; fail after PATIENCE."""
    until = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.0005)
