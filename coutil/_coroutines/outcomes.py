"""Values that a switch brings back in place of the hub's wake-up: exceptions, and values of explicit resumes.

Rule: a wait of the kernel never returns the value of an explicit resume. It raises `Resumed`; the public call, which is
decorated by `waits` or catches `Resumed` itself, returns the value. So no value, True included, is mistaken for the
hub's wake-up.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class PendingException:
    """An exception on its way into a coroutine, where it is raised.

    It is passed like any other value. greenlet's own `throw` would drop the traceback. It would also keep the
    exception, with the frames of its traceback, until control comes back: perhaps never.
    """

    __slots__ = ("_error",)

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self._error: BaseException | type[BaseException] | None = error

    def pop(self) -> BaseException | type[BaseException]:
        """Return the exception, and drop the reference to it."""
        error, self._error = self._error, None
        assert error is not None
        return error

    @property
    def is_popped(self) -> bool:
        """Whether `pop` was called: the exception was raised, or is about to be."""
        return self._error is None


class Resumed(BaseException):
    """An explicit resume, on its way from the wait that it ended to the public call, which returns its `value`.

    It is private: no code of a user runs between a wait and the public call. Undo blocks treat it as any exception.
    """

    def __init__(self, value: Any) -> None:
        self.value = value


def waits(function: Function) -> Function:
    """Decorate a public call that waits: it returns the value of an explicit resume, which ends the wait."""

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        try:
            return function(*arguments, **named)
        except Resumed as resumed:
            return resumed.value

    return cast("Function", call)


def wakeup_exception(brought: Any) -> BaseException | type[BaseException]:
    """Return the exception of a wait that did not end by the hub's wake-up: the thrown one, or `Resumed`."""
    if brought.__class__ is PendingException:
        error: BaseException | type[BaseException] = brought.pop()
        return error
    return Resumed(brought)


def unwrap(brought: Any) -> Any:
    """Return the value of an explicit resume; raise a thrown exception."""
    if brought.__class__ is PendingException:
        raise brought.pop()
    return brought
