"""Values of all sorts, and coroutines that wait for them step by step: for events, mutexes and promises."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from weakref import ref

import pytest
from greenlet import getcurrent

from coutil import system
from coutil.coroutine import Coroutine, create
from tests.helpers.coroutines import Trouble, start
from tests.helpers.kernel import current_hub

# Each is an event of its own: also False and 0, True and 1, and what cannot be hashed.
PROBES: list[Any] = [
    *(False, True, 1, 0, -1, 0.0123, "", "3.12", "\0", b"", {}, [], (), 1j),
    *(sys, lambda: None, print, getcurrent(), create(print), sys.stdout, object, float),
]
each_probe = pytest.mark.parametrize("probe", PROBES, ids=lambda probe: f"{type(probe).__name__} {probe!r:.12}")


class Equal:
    """Equal to everything, and nothing that a dictionary would take."""

    __hash__ = None  # type: ignore[assignment]  # not hashable, on purpose

    def __eq__(self, other: object) -> bool:
        return True


def same(found: Any, *expected: Any) -> bool:
    """Return whether `found` is a tuple of just these values, identical ones."""
    return type(found) is tuple and len(found) == len(expected) and all(map(lambda a, b: a is b, found, expected))


def is_collected(thing: ref[Any]) -> bool:
    """Return whether what `thing` refers to has been collected."""
    gc.collect()
    return thing() is None


def run_until_quiet() -> None:
    """Let the hub resume everything that is ready, until nothing is."""
    hub = current_hub()
    while len(hub.ready) > hub._cancelled_ready:
        system.run("ready")


def recorder(log: list[Any], wait: Callable[..., Any], *arguments: Any, times: int = 1) -> Coroutine:
    """Start a coroutine that calls wait(*arguments) some times and appends what it returns to `log`."""

    def body() -> None:
        for _ in range(times):
            result = wait(*arguments)
            log.append(result)

    return start(body)


def cancel(coroutine: Coroutine, how: str) -> None:
    """End the wait of a coroutine: by "resume", "throw" (the coroutine may catch `Trouble`) or "close"."""
    if how == "resume":
        coroutine.resume("given")
    elif how == "throw":
        coroutine.throw(Trouble("thrown"))
    else:
        coroutine.close()


each_way_out = pytest.mark.parametrize("how", ["resume", "throw", "close"])


@contextmanager
def without_collector() -> Iterator[None]:
    """Within the block only reference counts release anything."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
