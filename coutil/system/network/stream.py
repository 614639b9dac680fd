"""TCP: streams and passive (listening) sockets."""

from __future__ import annotations

from typing import Any, Literal

from ..._kernel.handle import Handle
from ..._kernel.switching import SIGNED
from ..._libuv import lib
from ..._libuv.sockaddr import Plain, pack, room, unpack
from .address import Address, Domain
from .bytestream import ByteStream, Listener
from .handled import Opening, Socket, checked_site

__all__ = ["IPSocket", "PassiveSocket", "StreamSocket"]

LONGEST = 32767  # seconds of silence that Linux can wait for before it probes a peer


class IPSocket(Socket):
    """What all IP sockets have in common."""

    __slots__ = ()

    def getdomain(self) -> Domain:
        """Return "ipv4" or "ipv6"."""
        domain: Domain = self._domain
        return domain

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
        Source: uv_tcp_getsockname, uv_tcp_getpeername.
        """
        end = checked_site(site)
        if into is not None:
            self._packed(into, "into")
        found = self._found(end)
        if not isinstance(found, Address):
            raise self._handle.failed(found, "uv_tcp_getpeername" if end == "peer" else "uv_tcp_getsockname")
        if into is None:
            return found
        into.binary, into.port, into.scope = found.binary, found.port, found.scope
        return into

    def _name(self, site: str) -> Address | None:
        found = self._found(site)
        return found if isinstance(found, Address) else None

    def _found(self, site: str) -> Address | int:
        """Return an address, or libuv's code."""
        handle, packed = self._handle, room()
        code: int = lib.co_name(handle.pointer, handle.slot, site == "peer", packed)
        plain = unpack(packed) if code >= 0 else None
        return Address(self._domain, *plain) if plain is not None else code

    def _packed(self, address: Address, name: str = "address") -> Any:
        if not isinstance(address, Address):
            raise TypeError(f"{name} must be an Address, not {address!r}")
        if address.type != self._domain:
            raise ValueError(f"{name} has the wrong domain: {address!r} for a socket of {self._domain}")
        return pack(Plain(address.binary, address.port, address.scope))


class StreamSocket(IPSocket, ByteStream):
    """One end of a TCP connection.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ()
    _kind = "stream"

    def __init__(self, domain: Domain, opening: Opening | None = None) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        super().__init__(domain, opening or _new(domain))

    def connect(self, address: Address) -> bool:
        """Connect to `address`; return True. Suspends.

        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: ECONNREFUSED, ETIMEDOUT, EISCONN, EALREADY,
        ECANCELED (closed meanwhile), … After an explicit resume the attempt goes on in the background.
        Source: uv_tcp_connect.
        """
        packed = self._packed(address)
        handle = self._handle

        def start(slot: int, generation: int) -> int:
            code: int = lib.co_connect(handle.pointer, handle.slot, slot, generation, packed)
            return code

        return self._request(start, "connect", "uv_tcp_connect", packed)

    def setoption(self, name: Literal["keepalive", "nodelay"], value: float | bool | None) -> bool:
        """Set an option; return True.

        "keepalive": seconds of silence (int, 1 to 32767) before the peer is probed; False or None switches it off.
        "nodelay": True sends small packets at once.
        Raises TypeError, ValueError, `Closed`, or `UVError`. Source: uv_tcp_keepalive, uv_tcp_nodelay.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        if name == "nodelay":
            if not isinstance(value, bool):
                raise TypeError(f"value of nodelay must be a bool, not {value!r}")
            self._call(lib.co_nodelay, "uv_tcp_nodelay", value)
        elif name == "keepalive":
            seconds = _checked_keepalive(value)
            self._call(lib.co_keepalive, "uv_tcp_keepalive", seconds > 0, seconds)
        else:
            raise ValueError(f'name must be "keepalive" or "nodelay", not {name!r}')
        return True


class PassiveSocket(IPSocket, Listener):
    """A socket that listens for connections."""

    __slots__ = ("_listening",)
    _kind = "passive"

    def __init__(self, domain: Domain, opening: Opening | None = None) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        self._listening = False
        super().__init__(domain, opening or _new(domain))

    def accept(self) -> StreamSocket:
        """Wait for a connection and return it. Suspends unless one is there already.

        While the process is out of descriptors or memory, accept goes on waiting; libuv drops what it cannot hold.
        Raises `Closed`, ValueError (not listening), `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`.
        Source: uv_accept.
        """
        woken = self._accept()
        if woken is not SIGNED:
            return woken  # type: ignore[no-any-return]  # what an explicit resume brought
        return StreamSocket(self._domain, _accepted(self._handle))


def _new(domain: Domain) -> Opening:
    ipv6 = domain == "ipv6"
    return lambda loop, slot, generation: lib.co_tcp_new(loop, slot, generation, ipv6), "uv_tcp_init"


def _accepted(listener: Handle) -> Opening:
    """Take the connection that `listener` holds."""
    at = listener.slot
    return lambda loop, slot, generation: lib.co_accept(loop, at, slot, generation), "uv_accept"


def _checked_keepalive(value: object) -> int:
    if value is None or value is False:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"value of keepalive must be seconds (int), False or None, not {value!r}")
    if not 0 < value <= LONGEST:
        raise ValueError(f"value of keepalive must be 1 to {LONGEST} seconds, not {value}")
    return value
