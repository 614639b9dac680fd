"""Values that a switch brings back in place of the hub's wake-up: exceptions, and what explicit resumes pass.

Rule: the value of an explicit resume never comes back in band. A wait raises `Resumed`, and the public call, which is
decorated by `waits` or catches it itself, returns the value: whatever it is, True included.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

Function = TypeVar("Function", bound=Callable[..., Any])


class PendingException:
    """An exception on its way into a coroutine, where it is raised.

    It is passed like any other value. greenlet's own `throw` would take the traceback off; and it refers to the
    exception, so to all that the frames of its traceback refer to, until control comes back: perhaps never.
    """

    __slots__ = ("_error",)

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self._error: BaseException | type[BaseException] | None = error

    def pop(self) -> BaseException | type[BaseException]:
        """Return it, and forget it."""
        error, self._error = self._error, None
        assert error is not None
        return error

    @property
    def is_popped(self) -> bool:
        """Whether it was raised, or is about to be."""
        return self._error is None


class Resumed(BaseException):
    """An explicit resume, on its way from the wait that it ended to the public call, which returns its `value`.

    It is private: no code of a user runs between a wait and the public call. Undo blocks see it as any exception.
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
    """Return what a wait raises that ended otherwise than by a signed wake-up: what was thrown, or `Resumed`."""
    if brought.__class__ is PendingException:
        error: BaseException | type[BaseException] = brought.pop()
        return error
    return Resumed(brought)


def unwrap(brought: Any) -> Any:
    """Return what an explicit resume has brought; raise what was thrown."""
    if brought.__class__ is PendingException:
        raise brought.pop()
    return brought
