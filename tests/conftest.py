"""Fixtures for all tests. Rule: a test leaves nothing behind; `leaves_nothing` checks it after each one."""

from __future__ import annotations

import gc
import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from coutil import event, mutex, queued, system
from coutil.testing import ManualClock, ignore_threads, manual_clock
from tests.helpers.kernel import NULL_HANDLER, Coroutine, Hub, current_context, current_hub

PATIENCE = 10  # seconds that the thread pool may need for calls that were given up
Escaped = list[tuple[Coroutine | None, BaseException]]


def pytest_configure() -> None:
    """Heed the signals that a shell has those ignore which it starts in the background: here, and in all children.

    pytest-xdist has threads that will never wake a coroutine.
    """
    ignore_threads()
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def pytest_collection_finish() -> None:
    """Spare the collector what exists before the first test: `leaves_nothing` calls it four times after each."""
    gc.collect()
    gc.freeze()


def registered() -> list[object]:
    """Return the events that a coroutine waits for, those with stored emissions, and the mutexes that are locked."""
    return [*event.registry.waits, *queued._registry.stored, *mutex._registry.owners]


def descriptors() -> dict[str, str]:
    """Return the open descriptors and what they refer to."""
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the descriptor of the listing itself
            continue
    return found


@pytest.fixture(scope="session", autouse=True)
def spare_descriptors() -> None:
    """Those that libuv opens together with a loop's first stream, and watch, and keeps: no test shall be blamed."""
    system.socket("stream", "ipv4").close()
    system.watch(os.curdir).close()
    system.run("ready")


@pytest.fixture(autouse=True)
def escaped() -> Iterator[Escaped]:
    """What reached the excepthook: (coroutine, exception). A test that expects some empties the list itself."""
    found: Escaped = []
    before = system.get_excepthook()
    system.set_excepthook(lambda coroutine, error: found.append((coroutine, error)))
    yield found
    system.set_excepthook(before)
    assert found == [], "exceptions escaped from coroutines"


@pytest.fixture(autouse=True)
def leaves_nothing(escaped: Escaped) -> Iterator[None]:
    """Handles and requests made = ended, same descriptors, no live coroutine, nothing in flight or registered."""
    hub = current_hub()
    before, live, waits = descriptors(), current_context().alive_count(), registered()
    yield
    gc.collect()
    until = time.monotonic() + PATIENCE
    while True:
        for _ in range(3):
            system.run("ready")
            gc.collect()
        if not hub.in_flight() or time.monotonic() > until:
            break
    counts = hub.loop.counts()
    assert hub.in_flight() == 0, f"in flight: {[one for one in hub.handlers if one is not NULL_HANDLER]}"
    assert hub._nested_resumes == 0, "the hub takes itself to be in the middle of a resume"
    assert counts["handles_created"] == counts["handles_closed"] == counts["handles_freed"], counts
    assert counts["requests_created"] == counts["requests_freed"], counts
    if current_context().alive_count() != live:  # a cycle that was frozen before it was forgotten may refer to a runner
        gc.unfreeze()
        gc.collect()
        system.run("ready")
    assert current_context().alive_count() == live, "coroutines are still suspended"
    assert registered() == waits, "events are waited for or stored, or mutexes are locked"
    assert descriptors() == before
    gc.freeze()  # what is left belongs to pytest; the next collections need not look at it


@pytest.fixture
def hub() -> Hub:
    """The hub of the main thread."""
    return current_hub()


@pytest.fixture
def clock() -> Iterator[ManualClock]:
    """A clock that jumps to the next timer when nothing else can happen, or by `clock.advance(seconds)`."""
    with manual_clock() as clock:
        yield clock


@pytest.fixture
def go() -> Callable[..., Coroutine]:
    """Create a coroutine, resume it once, and return it; an exception that escapes at once fails the test."""

    def start(function: Callable[..., object], *arguments: object) -> Coroutine:
        coroutine = Coroutine(function, arguments)
        coroutine.resume()
        return coroutine

    return start
