"""Start a function in a new coroutine. Each call runs it up to its first wait and returns the coroutine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, NoReturn, TypeVarTuple

from ._coroutines import ASYNC, Coroutine, check_function, is_python, running

__all__ = ["call", "catch", "trap"]

Arguments = TypeVarTuple("Arguments")


def call(function: Callable[[*Arguments], object], *arguments: *Arguments, name: str | None = None) -> Coroutine:
    """Run function(*arguments) in a new coroutine; an exception that escapes goes to the excepthook.

    name: shown in reprs and reports. Returns the coroutine, which may already have ended. Raises TypeError, also if
    the arguments do not fit the function, and for an `async` function, whose result would not be run: in coutil every
    function may wait.
    """
    if function.__class__ is not FunctionType or function.__code__.co_flags & ASYNC or name is not None:
        check_function(function, name)  # a plain function without a name needs no check
    coroutine = Coroutine(function, arguments, name, 2)
    try:
        coroutine._launch()
    except TypeError as error:  # the function was not entered
        if is_python(function):
            error.__traceback__ = None  # the caller's line becomes the last one
            raise
        coroutine.context.report(coroutine, error)
    return coroutine


def catch(handler: Any = None, function: Any = None, *arguments: Any) -> Coroutine:
    """Run function(*arguments) in a new coroutine; call handler(exception) if it raises, inside the `except` block.

    Returns the coroutine. Exceptions of `function` never reach the caller or later resumers; those of `handler` go to
    the excepthook. Nothing is raised here, not even for arguments that cannot be called.
    """
    return _start(_catch, handler, function, arguments)


def trap(handler: Any = None, function: Any = None, *arguments: Any) -> Coroutine:
    """Run function(*arguments) in a new coroutine; then call handler(True, result) or handler(False, exception).

    A tuple becomes several arguments, None none. Returns the coroutine. Exceptions of `function` never reach the caller
    or later resumers; those of `handler` go to the excepthook in the second case, to the resumer in the first.
    """
    return _start(_trap, handler, function, arguments)


def _start(body: Callable[..., Any], handler: object, function: object, arguments: tuple[Any, ...]) -> Coroutine:
    coroutine = Coroutine(body, (handler, function, arguments), getattr(function, "__qualname__", None), 3)
    coroutine._launch()
    return coroutine


def _catch(handler: Any, function: Any, arguments: tuple[Any, ...]) -> object:
    try:
        check_function(function)
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  # the handler's from here on
        return _handle(handler, error)


def _trap(handler: Any, function: Any, arguments: tuple[Any, ...]) -> object:
    try:
        check_function(function)
        result = function(*arguments)
    except Exception as error:  # noqa: BLE001  # the handler's from here on
        return _handle(handler, False, error)
    return handler(True, *(result if isinstance(result, tuple) else () if result is None else (result,)))


def _handle(handler: Any, *outcome: Any) -> object:
    try:
        return handler(*outcome)
    except Exception as error:  # noqa: BLE001  # reported
        me = running()
        me.context.report(me, error)
        return None


class _Spawn(ModuleType):
    """The class of this module: calling the module raises an error that names the function to call."""

    def __call__(self, *_: object, **__: object) -> NoReturn:
        """Raise TypeError."""
        raise TypeError("spawn is a module and cannot be called: write spawn.call(function, ...)")


sys.modules[__name__].__class__ = _Spawn
