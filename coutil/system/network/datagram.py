"""UDP: datagram sockets.

C receives several datagrams at once when many are queued. They come as one block of heads, each followed by its data.
The waiter gets the first one; the others are kept in the handle's stash, where the next receive finds them: as a list
in reverse order; or as a whole block if the waiter had left.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Literal, overload

from ..._coroutines import AttributeHint, Resumed, waits
from ..._interpreter import get_ident
from ..._kernel import add_address_to_error, spend_budget
from ..._libuv import NULL, lib
from ..._libuv.arguments import check_bool, check_choice, check_int
from ..._libuv.buffers import Bytes, readable, writable
from ..._libuv.sockaddr import encode_literal
from .address import Address, Domain
from .base import OpenSpec, check_size
from .socket import IPSocket

__all__ = ["DatagramSocket"]

_EAGAIN = lib.UV_EAGAIN
_ZERO: Any = 0  # small integers are single objects, but equal to False and 0.0
_try_send, _receive_start = lib.co_udp_try_send, lib.co_udp_receive_start
DEFAULT_READ_SIZE = 65536  # bytes, the default of receive(): more than a datagram can have
_HEADS = {"ipv4": Struct("=IHHI4s12x"), "ipv6": Struct("=IHHI16s")}  # size, cut, and the sender's port, scope and bytes
_HEAD: int = lib.CO_DATAGRAM_HEAD
_SWITCHES = {
    "broadcast": (lib.co_udp_broadcast, "uv_udp_set_broadcast"),
    "mcastloop": (lib.co_udp_mcast_loop, "uv_udp_set_multicast_loop"),
}
_DISTANCES = {
    "ttl": (lib.co_udp_ttl, "uv_udp_set_ttl"),
    "mcastttl": (lib.co_udp_mcast_ttl, "uv_udp_set_multicast_ttl"),
}
_OPTIONS = (*_SWITCHES, *_DISTANCES, "mcastiface", "mcastjoin", "mcastleave")
Destination = tuple[Any, int, int]  # an address in the form that C takes: its bytes, port and scope
_PEER: Destination = (NULL, 0, 0)
Datagram = tuple[bytes, bool, int, int, bytes]  # data, whether they were truncated, the sender's port, scope and bytes


class DatagramSocket(IPSocket):
    """A UDP socket, connected to a peer or not.

    One coroutine at a time may wait for a datagram; any number may send.
    """

    __slots__ = ("_connected", "_unpack")
    _kind = "datagram"
    _family = "uv_udp"
    _getname = lib.co_udp_name

    if not TYPE_CHECKING:
        recv = AttributeHint("receive()")
        recvfrom = AttributeHint("receive()")
        recv_into = AttributeHint("receive_into()")
        sendto = AttributeHint("send(data, address)")
        setsockopt = AttributeHint("setoption()")
        settimeout = AttributeHint("with coutil.scopes.timeout(seconds)")

    def __init__(self, domain: Domain, opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        self._unpack = _HEADS[domain].unpack_from
        super().__init__(domain, *(opening or _new(domain)))
        self._connected = opening is not None and self._name("peer") is not None

    def bind(self, address: Address, *, reuse: bool = False) -> bool:
        """Bind to a local address of the socket's family; return True.

        reuse: share the address with other sockets that set this option, as several receivers of a multicast group do.
        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound
        already). Source: uv_udp_bind.
        """
        check_bool(reuse=reuse)
        packed = self._packed(address)
        with add_address_to_error(address, "uv_udp_bind"):
            self._call(lib.co_udp_bind, "uv_udp_bind", packed, reuse)
        self._handle.remember_addresses()
        return True

    def connect(self, address: Address | None = None) -> bool:
        """Send to, and receive from, this peer only; None: any peer again. Returns True; does not suspend.

        Disconnecting also drops a local port, or address, that the system had chosen because `bind` named none.
        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EISCONN (disconnect first), ENOTCONN (not
        connected), ENETUNREACH, … Source: uv_udp_connect.
        """
        packed = NULL if address is None else self._packed(address)
        with add_address_to_error(address, "uv_udp_connect", self._handle):
            self._call(lib.co_udp_connect, "uv_udp_connect", packed)
        self._handle.remember_addresses()
        self._connected = address is not None
        return True

    # -- receiving --------------------------------------------------------------------------------------------------

    def receive(self, size: int = DEFAULT_READ_SIZE) -> tuple[bytes, Address]:
        """Wait for a datagram; return its first `size` (> 0) bytes, and the address of its sender.

        The rest of a longer datagram is lost. An explicit resume ends the wait, and its value is returned; no datagram
        is lost. Suspends, unless one was received together with an earlier one: up to 15 more are taken from the system
        at once.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ECONNREFUSED
        (the connected peer has refused an earlier datagram), … Source: recvmmsg(2), uv_udp_recv_start.
        """
        if size.__class__ is not int or size <= 0:
            size = check_size(size)
        handle = self._handle
        if handle.pending_data is None:
            try:
                handle.wait(1, _receive_start, "uv_udp_recv_start")
            except Resumed as resumed:
                value: tuple[bytes, Address] = resumed.value  # whatever the resumer has passed
                return value
        data, _, port, scope, binary = self._next()
        return (data if len(data) <= size else data[:size]), Address(self._domain, binary, port, scope)

    @waits
    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> tuple[int, Address, bool]:
        """Wait for a datagram, write it into buffer[start:stop]; return the bytes written, the sender, and whether the
        datagram was truncated.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized during the call.
        Suspends and raises as `receive`; also raises ValueError for an empty slice.
        """
        view = writable(buffer, start, stop)
        try:
            handle = self._handle
            if handle.pending_data is None:
                handle.wait(1, _receive_start, "uv_udp_recv_start")
            data, cut, port, scope, binary = self._next()
            size = min(len(data), len(view))
            view[:size] = data[:size]
            return size, Address(self._domain, binary, port, scope), bool(cut) or size < len(data)
        finally:
            view.release()

    def _next(self) -> Datagram:
        """Return the next datagram that has been received."""
        handle = self._handle
        stash = handle.pending_data
        block: Any
        if stash is None:
            block, offset, result = handle.receive_buffer, handle.offset, handle.result
        elif stash.__class__ is list and get_ident() == handle.thread and not handle.hub.forked:
            datagram: Datagram = stash.pop()
            if not stash:
                handle.pending_data = None
            return datagram
        else:
            block, offset = handle.pop_pending(), 0
            result = block if block.__class__ is int else len(block)
        if result < 0:
            raise handle.call_error(result, "uv_udp_recv_start")
        size, cut, port, scope, binary = self._unpack(block, offset)
        begin = offset + _HEAD
        behind = begin + size
        if behind < offset + result:
            self._store(block, behind, offset + result)
        return block[begin:behind], cut, port, scope, binary

    def _store(self, block: Any, offset: int, end: int) -> None:
        """Keep the datagrams in block[offset:end] for the next receives."""
        datagrams: list[Datagram] = []
        while offset < end:
            size, cut, port, scope, binary = self._unpack(block, offset)
            begin = offset + _HEAD
            offset = begin + size
            datagrams.append((block[begin:offset], cut, port, scope, binary))
        datagrams.reverse()
        handle = self._handle
        handle.pending_data = datagrams
        if handle.closed:  # a signal handler has closed it in between
            handle.pending_data = None

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: Bytes, address: Address | None = None, start: int = 0, stop: int | None = None) -> bool:
        """Send data[start:stop], which may be empty, as one datagram; return True when the system has taken it.

        address: the destination; ignored if the socket is connected.
        data: bytes or any contiguous buffer; it must not change during the call. If an explicit resume ends the wait,
        the datagram is sent in the background. Suspends unless the system takes it at once.
        Raises TypeError (no address), ValueError (wrong family), `Closed`, `ForeignThread`, `NotYieldable`, or
        `UVError`: EMSGSIZE, EACCES (a broadcast without the option), ECONNREFUSED (the connected peer has refused an
        earlier datagram), ECANCELED (the socket was closed during the wait), … Source: uv_udp_try_send, uv_udp_send.
        """
        handle = self._handle
        if self._connected:
            binary, port, scope = _PEER
        elif address.__class__ is Address and address._type == self._domain:
            binary, port, scope = address._binary, address._port, address._scope
        else:
            binary, port, scope = self._destination(address)
        if data.__class__ is not bytes or stop is not None or start is not _ZERO:
            return self._send_view(*readable(data, start, stop), (binary, port, scope))
        sent = _try_send(handle.pointer, handle.slot, data, len(data), binary, port, scope)
        if sent >= 0:
            hub = handle.hub
            hub.coop_budget -= 1
            if hub.coop_budget > 0:
                return True
        return self._send_remaining(*readable(data, 0, None), (binary, port, scope), sent)

    def _destination(self, address: Address | None) -> Destination:
        """Return the destination for an argument that is not an `Address` itself. Raises TypeError, ValueError."""
        if not isinstance(address, Address):
            if address is None:
                raise TypeError(f"address is needed: {self!r} is not connected")
            raise TypeError(f"address must be an Address, not {address!r}")
        if address._type != self._domain:
            raise ValueError(f"address has the wrong domain: {address!r} for a socket of {self._domain}")
        return address._binary, address._port, address.scope

    def _send_view(self, view: memoryview, address: Any, to: Destination) -> bool:
        """Send a view, whose bytes begin at `address`."""
        handle = self._handle
        return self._send_remaining(view, address, to, _try_send(handle.pointer, handle.slot, address, len(view), *to))

    @waits
    def _send_remaining(self, view: memoryview, address: Any, to: Destination, sent: int) -> bool:
        """Queue a view if the system did not take it at once."""
        handle = self._handle
        if sent >= 0:
            spend_budget(handle.hub)
            return True
        peer = None if to[0] is NULL else Address(self._domain, *to)
        with add_address_to_error(peer, "uv_udp_send", handle):
            if sent != _EAGAIN:
                raise handle.call_error(sent, "uv_udp_send")
            what = "send" if peer is None else f"send to {peer}"
            self._request(what, lib.co_udp_send, "uv_udp_send", address, len(view), *to, keepalive=view)
        return True

    # -- options ----------------------------------------------------------------------------------------------------

    @overload
    def setoption(self, name: Literal["broadcast", "mcastloop"], value: bool) -> bool: ...
    @overload
    def setoption(self, name: Literal["ttl", "mcastttl"], value: int) -> bool: ...
    @overload
    def setoption(self, name: Literal["mcastiface"], value: str | None) -> bool: ...
    @overload
    def setoption(
        self, name: Literal["mcastjoin", "mcastleave"], value: str, iface: str | None = None, source: str | None = None
    ) -> bool: ...

    def setoption(self, name: str, value: Any, iface: str | None = None, source: str | None = None) -> bool:
        """Set an option; return True.

        "broadcast": True allows sending to broadcast addresses. "ttl": the number of hops (1 to 255) that datagrams may
        travel; "mcastttl": the same for those to multicast groups (default: 1). "mcastloop": whether this machine
        receives the datagrams that it sends to multicast groups (default: True). "mcastiface": the address of the
        interface through which those are sent, an IPv6 one with its zone ("fe80::1%eth0"); None: the system's choice.
        "mcastjoin", "mcastleave": begin or end to receive datagrams to the group `value`, through the interface with
        the address `iface` (None: the system's choice), from the address `source` only (None: from all).
        Addresses are literals. IPv6 calls the number of hops the hop limit.
        Raises TypeError, ValueError, `Closed`, or `UVError`: EINVAL (not a literal address), ENOPROTOOPT (an IPv6 group
        on an IPv4 socket), EADDRNOTAVAIL (not joined), ENODEV (no such interface), EADDRINUSE (joined already), …
        Source: uv_udp_set_broadcast, _ttl, _multicast_ttl, _multicast_loop, _multicast_interface, _membership and
        _source_membership.
        """
        if check_choice("name", name, _OPTIONS) in ("mcastjoin", "mcastleave"):
            self._set_membership(name == "mcastjoin", value, iface, source)
            return True
        if iface is not None or source is not None:
            raise TypeError(f"{name!r} takes neither iface nor source")
        if name == "mcastiface":
            interface = NULL if value is None else encode_literal("value", value)
            self._call(lib.co_udp_mcast_interface, "uv_udp_set_multicast_interface", interface)
        elif name in _SWITCHES:
            check_bool(**{f"value of {name}": value})
            self._call(*_SWITCHES[name], value)
        else:
            self._call(*_DISTANCES[name], check_int(f"value of {name}", value, 1, 255))
        return True

    def _set_membership(self, join: bool, group: str, iface: str | None, source: str | None) -> None:
        syscall = "uv_udp_set_membership" if source is None else "uv_udp_set_source_membership"
        interface = NULL if iface is None else encode_literal("iface", iface)
        sender = NULL if source is None else encode_literal("source", source)
        self._call(lib.co_udp_membership, syscall, join, encode_literal("value", group), interface, sender)


def _new(domain: Domain) -> OpenSpec:
    ipv6 = domain == "ipv6"
    return lambda loop, slot, generation: lib.co_udp_new(loop, slot, generation, ipv6), "uv_udp_init", None
