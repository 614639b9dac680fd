"""The base of the objects that own a handle of the loop: sockets, pipes, terminals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..._closeable import Closeable
from ..._coroutines.attributes import documented
from ..._coroutines.books import Unique
from ..._kernel.handle import Handle
from ..._kernel.hub import Hub
from ..._kernel.requests import call, request
from ..._libuv import lib
from ..._libuv.arguments import integer

__all__ = ["Handled", "Opener", "Opening", "checked_size"]

Opener = Callable[[Any, int, int], int]  # called with loop, slot and generation; returns libuv's code
Opening = tuple[Opener, str, Hub | None]  # the second: the C function that errors name; the hub, None: the caller's


class Handled(Closeable, Unique):
    """An object that owns a handle, and closes it."""

    __slots__ = ("__weakref__", "_handle")

    def __init__(self, title: str, open_: Opener, syscall: str, hub: Hub | None = None) -> None:
        """Open the handle, which reports call `title`. hub: None: the caller's. Raises `UVError` naming `syscall`."""
        self._handle = Handle(title, hub)
        self._handle.open(open_, syscall)

    def __del__(self) -> None:
        """Close the handle when the last reference is gone; safe in any thread."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.abandon()

    def __dir__(self) -> list[str]:
        """Return the documented names."""
        return documented(self)

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the loop has ended."""
        return self._handle.closed

    def close(self) -> bool:
        """Close it and return True; closing twice is no error. Does not suspend.

        A coroutine that waits in `receive` or `accept` is resumed first, with `Closed` (`interrupted`); pending `send`,
        `connect` and `shutdown` calls raise `OperationCancelled` later. Raises `ForeignThread`, `Forked`.
        Source: uv_close.
        """
        self._handle.close()
        return True

    def fileno(self) -> int:
        """Return the descriptor, which this object still owns. Raises `Closed`. Source: uv_fileno."""
        return self._call(lib.co_fileno, "uv_fileno")

    def _call(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function on the handle; return its code. Raises `UVError` or `Closed` if it is an error."""
        return call(self._handle, function, syscall, *arguments)

    def _request(self, what: str, function: Any, syscall: str, *arguments: Any, **options: Any) -> None:
        """Run a request on the handle to its end; return True. Suspends."""
        request(self._handle, what, function, syscall, *arguments, **options)


def checked_size(size: object) -> int:
    """Return `size` if it is a number of bytes to ask for. Raises TypeError, or ValueError unless it is positive."""
    count = int(integer("size", size))
    if count <= 0:
        raise ValueError(f"size must be positive, not {size}")
    return count
