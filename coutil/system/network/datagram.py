"""UDP: datagram sockets.

C takes several datagrams at once when many are waiting. They come as one block of heads, each followed by its data.
Those behind the one that somebody waited for are kept in the handle's stash, where the next receive finds them: as a
list, the next one last; or as a whole block if the waiter had left.
"""

from __future__ import annotations

from struct import Struct
from typing import TYPE_CHECKING, Any, Literal, overload

from ..._coroutines.attributes import Elsewhere
from ..._coroutines.outcomes import Resumed, waits
from ..._interpreter import get_ident
from ..._kernel.operation import lucky
from ..._kernel.requests import naming
from ..._libuv import NULL, lib
from ..._libuv.buffers import Bytes, readable, writable
from ..._libuv.sockaddr import literal
from .address import Address, Domain
from .handled import Opening, checked_size
from .socket import IPSocket

__all__ = ["DatagramSocket"]

_EAGAIN = lib.UV_EAGAIN
_ZERO: Any = 0  # small integers are single objects, but equal to False and 0.0
_try_send, _receive_start = lib.co_udp_try_send, lib.co_udp_receive_start
SIZE = 65536  # bytes that receive() takes at most unless told otherwise: more than a datagram has
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
Destination = tuple[Any, int, int]  # an address as C wants it: its bytes, port and scope
_PEER: Destination = (NULL, 0, 0)
Datagram = tuple[bytes, bool, int, int, bytes]  # data, whether the system has cut them, the sender's port, scope, bytes


class DatagramSocket(IPSocket):
    """A UDP socket, connected to a peer or not.

    One coroutine at a time may wait for a datagram; any number may send.
    """

    __slots__ = ("_connected", "_unpack")
    _kind = "datagram"
    _family = "uv_udp"
    _getname = lib.co_udp_name

    if not TYPE_CHECKING:
        recv = Elsewhere("receive()")
        recvfrom = Elsewhere("receive()")
        recv_into = Elsewhere("receive_into()")
        sendto = Elsewhere("send(data, address)")
        setsockopt = Elsewhere("setoption()")
        settimeout = Elsewhere("with coutil.scopes.timeout(seconds)")

    def __init__(self, domain: Domain, opening: Opening | None = None) -> None:
        """Open a socket, or take one that exists. Raises `UVError`."""
        self._unpack = _HEADS[domain].unpack_from
        super().__init__(domain, *(opening or _new(domain)))
        self._connected = opening is not None and self._name("peer") is not None

    def bind(self, address: Address, *, reuse: bool = False) -> bool:
        """Bind to a local address of the socket's family; return True.

        reuse: share the address with other sockets that want it, too, as several receivers of one multicast group do.
        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound
        already). Source: uv_udp_bind.
        """
        if not isinstance(reuse, bool):
            raise TypeError(f"reuse must be a bool, not {reuse!r}")
        packed = self._packed(address)
        with naming(address, "uv_udp_bind"):
            self._call(lib.co_udp_bind, "uv_udp_bind", packed, reuse)
        self._handle.remember()
        return True

    def connect(self, address: Address | None = None) -> bool:
        """Send to, and receive from, this peer only; None: any peer again. Returns True; does not suspend.

        With the peer goes a local port, or address, that the system had chosen because `bind` named none.
        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: EISCONN (disconnect first), ENOTCONN (not
        connected), ENETUNREACH, … Source: uv_udp_connect.
        """
        packed = NULL if address is None else self._packed(address)
        with naming(address, "uv_udp_connect", self._handle):
            self._call(lib.co_udp_connect, "uv_udp_connect", packed)
        self._handle.remember()
        self._connected = address is not None
        return True

    # -- receiving --------------------------------------------------------------------------------------------------

    def receive(self, size: int = SIZE) -> tuple[bytes, Address]:
        """Wait for a datagram; return it and the address of its sender. What is longer than `size` (> 0) is cut off.

        An explicit resume ends the wait and is returned in place of the datagram, which is not lost. Suspends, unless
        there is one that came along with an earlier one: up to 15 are taken from the system ahead of their time.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: ECONNREFUSED
        (nobody received what was sent to the connected peer), … Source: recvmmsg(2), uv_udp_recv_start.
        """
        if size.__class__ is not int or size <= 0:
            size = checked_size(size)
        handle = self._handle
        if handle.stash is None:
            try:
                handle.wait(1, _receive_start, "uv_udp_recv_start")
            except Resumed as resumed:
                return resumed.value  # type: ignore[no-any-return]  # what an explicit resume brought
        data, _, port, scope, binary = self._next()
        return (data if len(data) <= size else data[:size]), Address(self._domain, binary, port, scope)

    @waits
    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> tuple[int, Address, bool]:
        """Wait for a datagram and write it into buffer[start:stop]; return its size there, its sender, and whether it
        was cut to fit.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized meanwhile.
        Suspends and raises as `receive`; an empty slice is a ValueError.
        """
        view = writable(buffer, start, stop)
        try:
            handle = self._handle
            if handle.stash is None:
                handle.wait(1, _receive_start, "uv_udp_recv_start")
            data, cut, port, scope, binary = self._next()
            size = min(len(data), len(view))
            view[:size] = data[:size]
            return size, Address(self._domain, binary, port, scope), bool(cut) or size < len(data)
        finally:
            view.release()

    def _next(self) -> Datagram:
        """Return the next datagram that is here."""
        handle = self._handle
        stash = handle.stash
        if stash is None:
            block, at, result = handle.arena, handle.where, handle.result
        elif stash.__class__ is list and get_ident() == handle.thread and not handle.hub.forked:
            found: Datagram = stash.pop()
            if not stash:
                handle.stash = None
            return found
        else:
            block, at = handle.take_stash(), 0
            result = block if block.__class__ is int else len(block)
        if result < 0:
            raise handle.failed(result, "uv_udp_recv_start")
        size, cut, port, scope, binary = self._unpack(block, at)
        begin = at + _HEAD
        behind = begin + size
        if behind < at + result:
            self._keep(block, behind, at + result)
        return block[begin:behind], cut, port, scope, binary

    def _keep(self, block: Any, at: int, end: int) -> None:
        """Keep what is behind a datagram for the next receives."""
        found: list[Datagram] = []
        while at < end:
            size, cut, port, scope, binary = self._unpack(block, at)
            begin = at + _HEAD
            at = begin + size
            found.append((block[begin:at], cut, port, scope, binary))
        found.reverse()
        handle = self._handle
        handle.stash = found
        if handle.closed:  # by a signal handler
            handle.stash = None

    # -- sending ----------------------------------------------------------------------------------------------------

    def send(self, data: Bytes, address: Address | None = None, start: int = 0, stop: int | None = None) -> bool:
        """Send data[start:stop], which may be empty, as one datagram; return True when the system has taken it.

        address: where to; not needed, and not looked at, if the socket is connected.
        data: bytes or any contiguous buffer; it must not change meanwhile. After an explicit resume it is sent in the
        background. Suspends unless the system takes it at once.
        Raises TypeError (no address), ValueError (wrong family), `Closed`, `ForeignThread`, `NotYieldable`, or
        `UVError`: EMSGSIZE, EACCES (a broadcast without the option), ECONNREFUSED (nobody received what was sent to the
        connected peer before), ECANCELED (closed meanwhile), … Source: uv_udp_try_send, uv_udp_send.
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
            hub.luck -= 1
            if hub.luck > 0:
                return True
        return self._send_rest(*readable(data, 0, None), (binary, port, scope), sent)

    def _destination(self, address: Address | None) -> Destination:
        """Return where to send, in the rarer cases."""
        if not isinstance(address, Address):
            if address is None:
                raise TypeError(f"address is needed: {self!r} is not connected")
            raise TypeError(f"address must be an Address, not {address!r}")
        if address._type != self._domain:
            raise ValueError(f"address has the wrong domain: {address!r} for a socket of {self._domain}")
        return address._binary, address._port, address.scope

    def _send_view(self, view: memoryview, at: Any, to: Destination) -> bool:
        """Send a view, whose bytes begin at the address `at`."""
        handle = self._handle
        return self._send_rest(view, at, to, _try_send(handle.pointer, handle.slot, at, len(view), *to))

    @waits
    def _send_rest(self, view: memoryview, at: Any, to: Destination, sent: int) -> bool:
        """Queue a view if the system did not take it at once."""
        handle = self._handle
        if sent >= 0:
            lucky(handle.hub)
            return True
        peer = None if to[0] is NULL else Address(self._domain, *to)
        with naming(peer, "uv_udp_send", handle):
            if sent != _EAGAIN:
                raise handle.failed(sent, "uv_udp_send")
            what = "send" if peer is None else f"send to {peer}"
            self._request(what, lib.co_udp_send, "uv_udp_send", at, len(view), *to, pins=view)
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

        "broadcast": True allows to send to broadcast addresses. "ttl": how many hops (1 to 255) datagrams may go,
        "mcastttl": how many those to multicast groups may go (1 unless it is set). "mcastloop": whether those are
        received on this machine, too (True unless it is set). "mcastiface": the address of the interface by which those
        leave, an IPv6 one with its zone ("fe80::1%eth0"); None leaves the choice to the system.
        "mcastjoin", "mcastleave": begin or end to receive what is sent to the group `value`, by the interface with the
        address `iface` (None: the system's choice), from the address `source` only (None: from everybody).
        Addresses are literals; hops, here, are called limit in IPv6.
        Raises TypeError, ValueError, `Closed`, or `UVError`: EINVAL (no literal), ENOPROTOOPT (an IPv6 group on an IPv4
        socket), EADDRNOTAVAIL (not joined), ENODEV (no such interface), EADDRINUSE (joined already), …
        Source: uv_udp_set_broadcast, _ttl, _multicast_ttl, _multicast_loop, _multicast_interface, _membership and
        _source_membership.
        """
        if not isinstance(name, str):
            raise TypeError(f"name must be a string, not {name!r}")
        if name in ("mcastjoin", "mcastleave"):
            self._set_membership(name == "mcastjoin", value, iface, source)
            return True
        if iface is not None or source is not None:
            raise TypeError(f"{name!r} takes neither iface nor source")
        if name == "mcastiface":
            interface = NULL if value is None else literal("value", value)
            self._call(lib.co_udp_mcast_interface, "uv_udp_set_multicast_interface", interface)
        elif name in _SWITCHES:
            if not isinstance(value, bool):
                raise TypeError(f"value of {name} must be a bool, not {value!r}")
            self._call(*_SWITCHES[name], value)
        elif name in _DISTANCES:
            self._call(*_DISTANCES[name], _checked_distance(name, value))
        else:
            known = ", ".join((*_SWITCHES, *_DISTANCES, "mcastiface", "mcastjoin", "mcastleave"))
            raise ValueError(f"name must be one of {known}, not {name!r}")
        return True

    def _set_membership(self, join: bool, group: str, iface: str | None, source: str | None) -> None:
        syscall = "uv_udp_set_membership" if source is None else "uv_udp_set_source_membership"
        where = NULL if iface is None else literal("iface", iface)
        whose = NULL if source is None else literal("source", source)
        self._call(lib.co_udp_membership, syscall, join, literal("value", group), where, whose)


def _new(domain: Domain) -> Opening:
    ipv6 = domain == "ipv6"
    return lambda loop, slot, generation: lib.co_udp_new(loop, slot, generation, ipv6), "uv_udp_init", None


def _checked_distance(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"value of {name} must be an int, not {value!r}")
    if not 0 < value < 256:
        raise ValueError(f"value of {name} must be 1 to 255, not {value}")
    return int(value)
