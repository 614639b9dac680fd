"""Coroutines of a loop of coutil.uv. One of another loop drives the loop when it waits, and holds up its starter."""

from __future__ import annotations

from collections.abc import Callable

from coutil import coroutine, uv
from coutil.coroutine import Coroutine


def begin(loop: uv.Loop, function: Callable[..., object], *arguments: object) -> Coroutine:
    """Start a coroutine of `loop`, and return it when it waits, or has ended."""
    started: list[Coroutine] = []

    def call() -> None:
        started.append(coroutine.running())
        function(*arguments)

    loop.call_threadsafe(call)
    while not started:
        loop.run("nowait")
    return started[0]
