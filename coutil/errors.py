"""Every exception class of coutil.

Rule 1: this file imports only `_uv_errors` of ours, so that every layer can raise the errors that it documents.
Rule 2: an error of libuv is a `UVError`, and also the class that a Python programmer would catch:
`ConnectionRefusedError`, `FileNotFoundError`, `TimeoutError`, `socket.gaierror`, … Its class is named after libuv's
error and is available here, too: `except errors.ENOENT`.
Rule 3: misuse that Python itself reports by `TypeError`, `ValueError` or `AttributeError` has no class here.
"""

from __future__ import annotations

import errno as _errno
from typing import TYPE_CHECKING, Any

from . import _uv_errors
from ._uv_errors import *  # noqa: F403  # a hundred classes
from ._uv_errors import CoutilError, UVError

__all__ = [
    "AlreadyRunning",
    "BusyError",
    "Cancelled",
    "Closed",
    "DeadCoroutine",
    "Deadlock",
    "ForeignThread",
    "Forked",
    "NotRunning",
    "NotYieldable",
    "RunningCoroutine",
    "TaskCancelled",
    "Timeout",
    "TransferError",
]
__all__ += _uv_errors.__all__


class Closed(UVError, ValueError):
    """The object was closed before the call, or while the call waited for it (`interrupted` is true then)."""

    name = "EBADF"
    errno: int

    def __init__(self, message: str, interrupted: bool = False) -> None:
        """`message` names the object."""
        super().__init__(_errno.EBADF, message)
        self.code = -_errno.EBADF
        self.interrupted = interrupted

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the arguments for a copy."""
        return type(self), (self.strerror, self.interrupted)

    def __str__(self) -> str:
        """Return the message alone: no call of libuv failed."""
        return str(self.strerror)


class BusyError(CoutilError, RuntimeError):
    """Another coroutine already waits for the same object; the message names it."""


class NotYieldable(CoutilError, RuntimeError):
    """The caller cannot wait: it is the hub itself (a hook, `excepthook`), or a coroutine that is being collected."""


class NotRunning(CoutilError, RuntimeError):
    """`system.halt()` was called while no `system.run()` is in progress."""


class AlreadyRunning(CoutilError, RuntimeError):
    """`system.run()` was called by a coroutine that the loop itself resumed."""


class RunningCoroutine(CoutilError, RuntimeError):
    """The coroutine cannot be resumed: it runs, or it waits for a coroutine that it has resumed."""


class DeadCoroutine(CoutilError, RuntimeError):
    """The coroutine cannot be resumed: it has ended."""


class Deadlock(CoutilError, RuntimeError):
    """Nothing can wake the caller; the message lists every coroutine that waits, with the reason.

    Other threads that run Python code, signal handlers in Python and calls in the thread pool may wake it: while there
    are any, the caller waits.
    """


class ForeignThread(CoutilError, RuntimeError):
    """The object or coroutine belongs to another OS thread."""


class Forked(CoutilError, RuntimeError):
    """The object was made before `os.fork()`; it belongs to the parent process."""


class Timeout(CoutilError, TimeoutError):
    """A block has ended because its time is up. `scope`: that block; None if it was not one of `coutil.scopes`.

    Waits inside the block raise `Cancelled`; the end of the block raises this, and so does a call with a `timeout`. The
    message names the time, the place of the block or call, and the reason of the coroutine's wait.
    """

    def __init__(self, message: str = "timed out", scope: object = None) -> None:
        """`message` names the time, the place, and the reason of the wait."""
        super().__init__(message)
        self.scope = scope

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the arguments for a copy, without the block: another process has none."""
        return type(self), self.args


class Cancelled(BaseException):
    """The wait was cancelled: a block around it was cancelled, or its time is up. `scope`: that block.

    Not an `Exception`, so code that handles errors lets it pass: only the end of that block catches it, and ends it or
    raises `Timeout`. Raised outside of its block, or by other code (`scope` is None), it belongs to no block: it
    escapes from a coroutine or a child like any other exception.
    """

    def __init__(self, message: str = "cancelled", scope: object = None) -> None:
        """`message` names the block."""
        super().__init__(message)
        self.scope = scope

    def __reduce__(self) -> tuple[Any, ...]:
        """Return the arguments for a copy, without the scope: another process has none."""
        return type(self), self.args


class TaskCancelled(CoutilError):
    """There is no result: the child of a scope was cancelled before it could return one. See the exception's cause."""


class TransferError(CoutilError, TypeError):
    """A value cannot be passed to another OS thread."""


if not TYPE_CHECKING:  # for type checkers, only the classes that are written out exist

    def __getattr__(name: str) -> type[UVError]:
        """Return the class of a system error without a name in libuv: `except errors.EKEYEXPIRED`."""
        if name not in _errno.errorcode.values():
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _uv_errors.error_class(name)
