"""Asymmetric coroutines, as in Lua: control returns to the resumer of a coroutine when the coroutine waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ._coroutines import Coroutine, check_function, is_yieldable
from ._coroutines import running as _running
from ._coroutines import yield_ as _yield
from .errors import NotYieldable

__all__ = ["Coroutine", "create", "isyieldable", "running", "wrap", "yield_"]


def create(function: Callable[..., Any], *, name: str | None = None) -> Coroutine:
    """Return a coroutine that will call `function` with the values of its first resume.

    name: shown in reprs and reports; the function's name by default. The caller's `contextvars` context is copied now.
    Raises TypeError, also for an `async` function. Lua: coroutine.create.
    """
    check_function(function, name)
    return Coroutine(function, name=name)


def running() -> Coroutine:
    """Return the coroutine of the caller; the main program has one, too. Raises `NotYieldable` in the hub."""
    return _running()


def isyieldable() -> bool:
    """Return whether the caller runs in a coroutine, so that it may call `yield_`."""
    return is_yieldable()


def yield_(*values: Any) -> Any:
    """Suspend the calling coroutine and pass `values` to its resumer. Returns the values of the next resume.

    No value becomes None, one itself, several a tuple, in both directions. Raises `NotYieldable` outside a coroutine.
    While it is suspended here it keeps alive the coroutine that resumed it last: close() a chain that is not used
    further.
    Lua: coroutine.yield.
    """
    if not is_yieldable():
        raise NotYieldable("yield_() needs a coroutine; the main program and the hub are not coroutines")
    return _yield(values[0] if len(values) == 1 else values or None)


def wrap(function: Callable[..., Any], *, name: str | None = None) -> Callable[..., Any]:
    """Return a callable that resumes a new coroutine of `function` each time it is called.

    Raises TypeError; the callable raises as `Coroutine.resume` does. Lua: coroutine.wrap.
    """
    return create(function, name=name).resume
