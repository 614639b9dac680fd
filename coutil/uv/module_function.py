"""Flat functions: methods under libuv's names, with the object as the first argument.

The method is the only definition; `timer_start = module_function(Timer.start)` gives it a second name.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

__all__ = ["module_function"]

Function = TypeVar("Function", bound=Callable[..., Any])


def module_function(method: Function) -> Function:
    """Return the function that calls a method, or reads a property, of its first argument.

    A method that the class of the argument overrides is called. The function raises TypeError for an argument of
    another class.
    """
    function: Any = method
    read = isinstance(function, property)  # for mypy a property is its function
    if read:
        function = function.fget
    owner, _, name = function.__qualname__.rpartition(".")

    @wraps(function)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        kind = type(self)
        if not any(base.__name__ == owner and base.__module__ == function.__module__ for base in kind.__mro__):
            raise TypeError(f"the first argument must be a {owner}, not {self!r}")
        attribute = getattr(self, name)
        return attribute if read else attribute(*arguments, **named)

    call.__name__ = call.__qualname__ = name
    return cast("Function", call)
