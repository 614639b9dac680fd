"""Small parts of which tests of coroutines are made: an error, an object to watch, a start."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coutil.coroutine import Coroutine, create

__all__ = ["Referent", "Trouble", "start"]


class Referent:
    """An object that weak references can refer to."""


class Trouble(Exception):
    """The error that test coroutines raise, and that tests throw. Unlike builtin ones it can be referred to weakly."""


def start(function: Callable[..., Any], *arguments: Any) -> Coroutine:
    """Run a function in a new coroutine up to its first wait; return the coroutine."""
    coroutine = create(function)
    coroutine.resume(*arguments)
    return coroutine
