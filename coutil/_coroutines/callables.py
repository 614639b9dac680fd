"""Checks of the functions that coroutines are made of.

Rule: every call that takes such a function, or a name for the coroutine, checks it here before it makes anything.
"""

from __future__ import annotations

from functools import partial
from types import FunctionType, MethodType
from typing import Any

__all__ = ["ASYNC", "check_function", "is_python"]

ASYNC = 0x80 | 0x200  # CO_COROUTINE and CO_ASYNC_GENERATOR of inspect, which takes long to import


def is_python(function: Any) -> bool:
    """Return whether a call of `function` enters a frame of Python, unless its arguments are wrong."""
    plain = function.func if isinstance(function, partial) else function
    return isinstance(plain, FunctionType) or isinstance(getattr(plain, "__func__", None), FunctionType)


def check_function(function: Any, name: Any = None) -> None:
    """Check the function of a coroutine to be, and its name.

    Raises TypeError if the function cannot be called, if it (or the function of a `functools.partial`) is `async`, or
    if the name is neither a string nor None.
    """
    if not callable(function):
        raise TypeError(f"function must be callable, not {function!r}")
    plain = function.func if isinstance(function, partial) else function
    plain = plain.__func__ if isinstance(plain, MethodType) else plain
    if not isinstance(plain, FunctionType):
        plain = type(plain).__call__
    if isinstance(plain, FunctionType) and plain.__code__.co_flags & ASYNC:
        raise TypeError(f"{function!r} is async; coutil runs plain functions: use def, without await")
    if name is not None and not isinstance(name, str):
        raise TypeError(f"name must be a string or None, not {name!r}")
