"""What all sockets and other streams have in common: they hold a handle of the loop, and close it at their end."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from ..._kernel.handle import Handle
from ..._libuv import lib

__all__ = ["Handled", "Opening", "Socket", "checked_site"]

Opening = tuple[Callable[[Any, int, int], int], str]  # of a handle: called with loop, slot, generation; and its name


class Handled:
    """An object on a handle."""

    __slots__ = ("__weakref__", "_handle")

    def __init__(self, title: str, opening: Opening) -> None:
        """Open the handle; reports call it `title`. Raises `UVError`."""
        self._handle = Handle(title, *opening)

    def __del__(self) -> None:
        """Close the handle that nobody refers to any more; safe in any thread."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.abandon()

    def __enter__(self) -> Any:
        """Return the object itself; it is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> bool:
        """Close it and return True; closing twice is no error. Does not suspend.

        A coroutine that waits in `receive` or `accept` is resumed first, with `Closed` (`interrupted`); pending `send`,
        `connect` and `shutdown` calls raise `Cancelled` later. Raises `ForeignThread`. Source: uv_close.
        """
        self._handle.close()
        return True

    def fileno(self) -> int:
        """Return the descriptor, which stays ours. Raises `Closed`. Source: uv_fileno."""
        return self._call(lib.co_fileno, "uv_fileno")

    def _call(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call C on our handle; raise what its code means."""
        handle = self._handle
        code: int = function(handle.pointer, handle.slot, *arguments)
        if code < 0:
            raise handle.failed(code, syscall)
        return code


class Socket(Handled):
    """What all sockets have in common. Made by `system.socket`."""

    __slots__ = ("_domain",)
    _kind = "socket"
    _domain: Any

    def __init__(self, domain: str, opening: Opening) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        self._domain = domain
        super().__init__(f"{self._kind} {domain}", opening)

    def __repr__(self) -> str:
        """Kind, addresses, and who waits."""
        handle = self._handle
        if handle.closed:
            return f"<{type(self).__name__} {self._domain} closed>"
        found = (self._name("self"), self._name("peer"))
        names = "".join(f" {name!r}" if name.__class__ is str else f" {name}" for name in found if name)
        waiting = f" awaited by {handle.waiter.name}" if handle.waiter is not None else ""
        return f"<{type(self).__name__} {self._domain}{names}{waiting}>"

    def _name(self, site: str) -> object:
        """Return our own or the peer's name, None if there is none."""
        raise NotImplementedError


def checked_site(site: object) -> str:
    """Return which end of a connection an address is asked of: "self" or "peer"."""
    site = "self" if site is None else site
    if not isinstance(site, str):
        raise TypeError(f"site must be a string, not {site!r}")
    if site not in ("self", "peer"):
        raise ValueError(f'site must be "self" or "peer", not {site!r}')
    return site
