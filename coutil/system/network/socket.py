"""The base classes of all sockets, and of IP sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from ..._coroutines import AttributeHint
from ..._kernel import Hub, add_address_to_error
from ..._libuv import CData, lib
from ..._libuv.arguments import check_choice
from ..._libuv.endpoints import format_endpoints
from ..._libuv.sockaddr import IPAddress, new_sockaddr, pack, unpack
from .address import Address, Domain
from .base import HandleObject, OpenFunction

__all__ = ["IPSocket", "Socket", "check_site"]


class Socket(HandleObject):
    """The base of all sockets. Made by `system.socket`."""

    __slots__ = ("_bound", "_domain")
    _kind = "socket"
    _domain: Any

    if not TYPE_CHECKING:
        getsockname = AttributeHint("getaddress()")
        getpeername = AttributeHint('getaddress("peer")')

    def __init__(self, domain: str, open_: OpenFunction, syscall: str, hub: Hub | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError` naming `syscall`."""
        self._domain = domain
        self._bound: Any = None  # the argument of `bind`: some of its errors come later
        super().__init__(f"{self._kind} {domain}", open_, syscall, hub)

    def __repr__(self) -> str:
        """Kind, addresses of both ends (the last known ones after `close`), and state."""
        handle = self._handle
        words = [type(self).__name__, self._domain, format_endpoints(handle.addresses())]
        if handle.closed:
            words.append("closed")
        elif handle.waiter is not None:
            words.append(f"awaited by {handle.waiter.name}")
        return f"<{' '.join(filter(None, words))}>"

    def _name(self, site: str) -> object:
        """Return the local name or the peer's, None if there is none."""
        raise NotImplementedError


class IPSocket(Socket):
    """The base of all IP sockets."""

    __slots__ = ()
    _family = "uv_tcp"  # the prefix of libuv's functions
    _getname: Any = lib.co_name  # called with loop, slot, whether to return the peer's name, and memory for the name

    def getdomain(self) -> Domain:
        """Return "ipv4" or "ipv6"."""
        domain: Domain = self._domain
        return domain

    def bind(self, address: Address) -> bool:
        """Bind to a local address of the socket's family; return True.

        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EADDRNOTAVAIL, EINVAL (bound already);
        EADDRINUSE may come as late as `listen` or `connect`. Errors name the address. Source: uv_tcp_bind.
        """
        packed = self._packed(address)
        with add_address_to_error(address, "uv_tcp_bind"):
            self._call(lib.co_bind, "uv_tcp_bind", packed)
        self._bound = str(address)
        return True

    def getaddress(self, site: Literal["self", "peer"] | None = "self", into: Address | None = None) -> Address:
        """Return the local address, or the peer's; written into `into` if that is given.

        Raises TypeError, ValueError (bad site, `into` of the other family), `Closed`, or `UVError`: ENOTCONN.
        Source: uv_tcp_getsockname, uv_udp_getsockname, uv_tcp_getpeername, uv_udp_getpeername.
        """
        end = check_site(site)
        if into is not None:
            self._packed(into, "into")
        address = self._found(end)
        if not isinstance(address, Address):
            name = "getpeername" if end == "peer" else "getsockname"
            raise self._handle.call_error(address, f"{self._family}_{name}")
        if into is None:
            return address
        into.binary, into.port, into.scope = address.binary, address.port, address.scope
        return into

    def _name(self, site: str) -> Address | None:
        address = self._found(site)
        return address if isinstance(address, Address) else None

    def _found(self, site: str) -> Address | int:
        """Return an address, or libuv's code."""
        handle, packed = self._handle, new_sockaddr()
        code: int = self._getname(handle.pointer, handle.slot, site == "peer", packed)
        plain = unpack(packed) if code >= 0 else None
        return Address(self._domain, *plain) if plain is not None else code

    def _packed(self, address: Address, name: str = "address") -> CData:
        if not isinstance(address, Address):
            raise TypeError(f"{name} must be an Address, not {address!r}")
        if address.type != self._domain:
            raise ValueError(f"{name} has the wrong domain: {address!r} for a socket of {self._domain}")
        return pack(IPAddress(address.binary, address.port, address.scope))


def check_site(site: object) -> str:
    """Return the end of a connection whose address is requested: "self" or "peer". Raises TypeError, ValueError."""
    return "self" if site is None else check_choice("site", site, ("self", "peer"))
