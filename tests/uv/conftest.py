"""Fixtures for coutil.uv. Rule: a test closes the handles that it makes; `loop` checks it."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator

import pytest

from coutil import _lifecycle, uv

PATIENCE = 10  # seconds that the thread pool may need for calls that were given up


@pytest.fixture(autouse=True)
def leaves_no_loop() -> Iterator[None]:
    """Loops made = loops closed."""
    before = set(_lifecycle._hubs)
    yield
    gc.collect()
    assert set(_lifecycle._hubs) == before, "loops were left open"


@pytest.fixture
def loop() -> Iterator[uv.Loop]:
    """A loop of its own; when the test is over it has no handle and no request any more, and as many were freed."""
    made = uv.Loop()
    yield made
    hub = made._hub
    until = time.monotonic() + PATIENCE
    while True:
        for _ in range(3):
            made.run("nowait")
            gc.collect()
        if not hub.in_flight() or time.monotonic() > until:
            break
    left, counts, live = made.walk(), hub.loop.counts(), hub.context.alive_count()
    flying = hub.in_flight()
    made.close(force=True)
    assert left == [], "handles were left open"
    assert flying == 0, "requests are in flight"
    assert counts["handles_created"] == counts["handles_closed"] == counts["handles_freed"], counts
    assert counts["requests_created"] == counts["requests_freed"], counts
    assert live == 0, "coroutines of the loop are still suspended"
