"""What the sockets have in common."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any, Literal

from ..._kernel.handle import Handle
from ..._kernel.operation import Operation, operation
from ..._libuv import lib
from ..._libuv.sockaddr import Plain, pack, room, unpack
from .address import Address, Domain

__all__ = ["Opener", "Socket", "checked_size"]

Opener = Callable[[Any, int, int], int]  # called with loop, slot and generation; returns libuv's code


class Socket:
    """What all IP sockets have in common. Made by `system.socket`."""

    __slots__ = ("__weakref__", "_domain", "_handle")
    _kind = "socket"
    _family = "uv_tcp"  # what libuv's functions begin with
    _getname: Any = lib.co_name  # called with loop, slot, whether it is the peer's name, and where to write it

    def __init__(self, domain: Domain, open_: Opener, syscall: str) -> None:
        """Open a socket. Raises `UVError` naming `syscall`."""
        self._domain: Domain = domain
        self._handle = Handle(f"{self._kind} {domain}", open_, syscall)

    def __del__(self) -> None:
        """Close the socket that nobody refers to any more; safe in any thread."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.abandon()

    def __enter__(self) -> Any:
        """Return the socket; it is closed at the end of the block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Close the socket."""
        self.close()

    def __repr__(self) -> str:
        """Kind, addresses, and who waits."""
        handle = self._handle
        if handle.closed:
            return f"<{type(self).__name__} {self._domain} closed>"
        names = "".join(f" {name}" for name in (self._name("self"), self._name("peer")) if isinstance(name, Address))
        waiting = f" awaited by {handle.waiter.name}" if handle.waiter is not None else ""
        return f"<{type(self).__name__} {self._domain}{names}{waiting}>"

    def close(self) -> bool:
        """Close the socket and return True; closing twice is no error. Does not suspend.

        A coroutine that waits in `receive` or `accept` is resumed first, with `Closed` (`interrupted`); pending `send`,
        `connect` and `shutdown` calls raise `Cancelled` later. Raises `ForeignThread`. Source: uv_close.
        """
        self._handle.close()
        return True

    def getdomain(self) -> Domain:
        """Return "ipv4" or "ipv6"."""
        return self._domain

    def fileno(self) -> int:
        """Return the descriptor, which stays ours. Raises `Closed`. Source: uv_fileno."""
        return self._call(lib.co_fileno, "uv_fileno")

    def bind(self, address: Address) -> bool:
        """Bind to a local address of the socket's family; return True.

        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EADDRNOTAVAIL, EINVAL (bound already);
        EADDRINUSE may come as late as `listen` or `connect`. Source: uv_tcp_bind.
        """
        packed = self._packed(address)
        self._call(lib.co_bind, "uv_tcp_bind", packed)
        return True

    def getaddress(self, site: Literal["self", "peer"] | None = "self", into: Address | None = None) -> Address:
        """Return the local address, or the peer's; written into `into` if that is given.

        Raises TypeError, ValueError (bad site, `into` of the other family), `Closed`, or `UVError`: ENOTCONN.
        Source: uv_tcp_getsockname, uv_udp_getsockname, uv_tcp_getpeername, uv_udp_getpeername.
        """
        site = "self" if site is None else site
        if not isinstance(site, str):
            raise TypeError(f"site must be a string, not {site!r}")
        if site not in ("self", "peer"):
            raise ValueError(f'site must be "self" or "peer", not {site!r}')
        if into is not None:
            self._packed(into, "into")
        found = self._name(site)
        if not isinstance(found, Address):
            name = "getpeername" if site == "peer" else "getsockname"
            raise self._handle.failed(found, f"{self._family}_{name}")
        if into is None:
            return found
        into.binary, into.port, into.scope = found.binary, found.port, found.scope
        return into

    def _name(self, site: str) -> Address | int:
        """Return an address, or libuv's code."""
        handle, packed = self._handle, room()
        code: int = self._getname(handle.pointer, handle.slot, site == "peer", packed)
        plain = unpack(packed) if code >= 0 else None
        return Address(self._domain, *plain) if plain is not None else code

    def _packed(self, address: Address, name: str = "address") -> Any:
        if not isinstance(address, Address):
            raise TypeError(f"{name} must be an Address, not {address!r}")
        if address.type != self._domain:
            raise ValueError(f"{name} has the wrong domain: {address!r} for a socket of {self._domain}")
        return pack(Plain(address.binary, address.port, address.scope))

    def _call(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call C on our handle; raise what its code means."""
        handle = self._handle
        code: int = function(handle.pointer, handle.slot, *arguments)
        if code < 0:
            raise handle.failed(code, syscall)
        return code

    def _request(self, start: Any, what: str, syscall: str, pins: Any, own: Operation | None = None) -> bool:
        handle = self._handle
        if handle.closed:
            raise handle.unusable()
        partly, own = own is not None, own or operation()
        if own.hub is not handle.hub:
            raise handle.failed(lib.CO_FOREIGN, syscall)
        done: bool = own.request(start, f"{handle.title} {what}", syscall, pins, handle.failed, partly)
        return done


def checked_size(size: object) -> int:
    """Return `size` if it is a number of bytes to ask for. Raises TypeError, or ValueError unless it is positive."""
    if isinstance(size, bool) or not isinstance(size, int):
        raise TypeError(f"size must be an int, not {size!r}")
    if size <= 0:
        raise ValueError(f"size must be positive, not {size}")
    return int(size)
