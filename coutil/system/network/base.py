"""The base of the objects that own a handle of the loop: sockets, pipes, terminals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._closeable import Closeable
from ..._coroutines import NonCopyable, public_names
from ..._kernel import Hub, KernelHandle, handle_call, handle_request
from ..._libuv import lib
from ..._libuv.arguments import check_any_int

__all__ = ["HandleObject", "OpenFunction", "OpenSpec", "check_size"]

OpenFunction = Callable[[Any, int, int], int]  # called with loop, slot and generation; returns libuv's code
# The second: the C function that errors name; the hub, None: the caller's
OpenSpec = tuple[OpenFunction, str, Hub | None]


class HandleObject(Closeable, NonCopyable):
    """An object that owns a handle, and closes it."""

    __slots__ = ("__weakref__", "_handle")

    def __init__(self, title: str, open_: OpenFunction, syscall: str, hub: Hub | None = None) -> None:
        """Open the handle, which reports call `title`. hub: None: the caller's. Raises `UVError` naming `syscall`."""
        self._handle = KernelHandle(title, hub)
        self._handle.open(open_, syscall)

    def __del__(self) -> None:
        """Close the handle when the last reference is gone; safe in any thread."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.finalize()

    def __dir__(self) -> list[str]:
        """Return the documented names."""
        return public_names(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the loop has ended."""
        return self._handle.closed

    def close(self) -> bool:
        """Close it and return True; closing twice is no error. Does not suspend.

        A coroutine that waits in `receive` or `accept` is resumed first, with `Closed` (`wakeup_exception`); pending
        `send`, `connect` and `shutdown` calls raise `OperationCancelled` later. Raises `ForeignThread`, `Forked`.
        Source: uv_close.
        """
        self._handle.close()
        return True

    def fileno(self) -> int:
        """Return the descriptor, which this object still owns. Raises `Closed`. Source: uv_fileno."""
        return self._call(lib.co_fileno, "uv_fileno")

    def _call(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function on the handle; return its code. Raises `UVError` or `Closed` if it is an error."""
        return handle_call(self._handle, function, syscall, *arguments)

    def _request(self, what: str, function: Any, syscall: str, *arguments: Any, **options: Any) -> None:
        """Run a request on the handle to its end; return True. Suspends."""
        handle_request(self._handle, what, function, syscall, *arguments, **options)


def check_size(size: object) -> int:
    """Return `size` if it is a number of bytes to ask for. Raises TypeError, or ValueError unless it is positive."""
    count = int(check_any_int("size", size))
    if count <= 0:
        raise ValueError(f"size must be positive, not {size}")
    return count
