"""UDP: datagram sockets.

C receives several datagrams at once if the system has them. Those that were not taken yet are kept here, up to a limit;
beyond it they are dropped, as the system drops datagrams when its buffer is full.
"""

from __future__ import annotations

from collections import deque
from typing import Any

from .._coroutines import waits
from .._kernel import handle_request, spend_budget
from .._libuv import NULL, lib
from .._libuv.arguments import check_bool, check_int
from .._libuv.buffers import Bytes, readable
from .._libuv.datagrams import datagrams, try_send_many
from .._libuv.sockaddr import Name, encode_literal, name_of_struct, new_sockaddr, pack, parse_numeric
from .descriptor import transfer_descriptor
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function
from .pipe import Pipe

__all__ = ["UDP", "new_udp"]

MAX_PENDING = 256  # limit of the datagrams that are kept for `recv`
_FAMILIES = {None: lib.AF_UNSPEC, "inet": lib.AF_INET, "inet6": lib.AF_INET6}
_EAGAIN: int = lib.UV_EAGAIN
_try_send = lib.co_raw_udp_try_send
_FLAGS = [frozenset(), frozenset({"partial"}), frozenset({"mmsg_chunk"}), frozenset({"partial", "mmsg_chunk"})]
Datagram = tuple[bytes, tuple[Any, ...], frozenset[str]]
Message = Bytes | list[Bytes]


class UDP(Handle):
    """A UDP socket. Handler: `onrecv(udp, err, data, addr, flags)`.

    data: bytes. addr: the sender's, (host, port), for IPv6 (host, port, flow, scope). flags: a frozenset, of "partial"
    (the datagram was truncated) and "mmsg_chunk" (received by a call that may return several). With an error, `data`
    and `addr` are None: ECONNREFUSED (the connected peer has no socket at the address), …
    Without a handler, a coroutine may wait with `recv`. Hosts are literals; those of IPv6 may have a zone.
    """

    _kind = "udp"
    onrecv: Any = None

    def __init__(self, loop: Loop | None = None, family: str | None = None, mmsgs: int = 1) -> None:
        """Make a handle of `loop`; see `Timer`.

        family: "inet" or "inet6" makes the socket at once; None: the first call that needs one does. mmsgs: more than 1
        asks libuv to receive several datagrams with one call.
        Raises TypeError, ValueError, and `UVError`: EMFILE, EAFNOSUPPORT, … Source: uv_udp_init_ex.
        """
        if family is not None and not isinstance(family, str):
            raise TypeError(f'family must be "inet", "inet6" or None, not {family!r}')
        if family not in _FAMILIES:
            raise ValueError(f'family must be "inet", "inet6" or None, not {family!r}')
        several = check_int("mmsgs", mmsgs, 1) > 1
        flags = _FAMILIES[family] | (lib.UV_UDP_RECVMMSG if several else 0)
        self._flags = _FLAGS[2:] if several else _FLAGS
        self._ipv6: bool | None = None  # as soon as it is known
        self._receiving = False
        self._pending: deque[Datagram | int] = deque()  # a negative code is an error
        super().__init__(
            loop, lambda pointer, slot, number: lib.co_raw_udp_new(pointer, slot, number, flags), "uv_udp_init_ex"
        )

    # -- addresses ----------------------------------------------------------------------------------------------------

    def open(self, fd: Any) -> None:
        """Take ownership of a datagram socket: a descriptor, or an object with `fileno`; see `TCP.open`.

        Sets SO_REUSEADDR: other sockets may share its address. If this raises, the caller keeps the socket.
        Raises TypeError, ValueError, `Closed`, `UVError`: EBUSY (the handle has a socket), EEXIST (a handle owns or
        polls it), EBADF, ENOTSOCK, EINVAL (no datagram socket of IP). Source: uv_udp_open.
        """
        self._open(fd, "uv_udp_open", False, False, False)

    def open_ex(self, fd: Any, reuseaddr: bool = False, reuseport: bool = False) -> None:
        """Take ownership of a socket, as `open`, without changing its options, except for those given here.

        Source: uv_udp_open_ex, which libuv has since 1.52; here it is uv_udp_open and setsockopt(2).
        """
        check_bool(reuseaddr=reuseaddr, reuseport=reuseport)
        self._open(fd, "uv_udp_open_ex", True, reuseaddr, reuseport)

    def _open(self, fd: Any, syscall: str, *options: bool) -> None:
        number = check_int("fd", fd if isinstance(fd, int) or not hasattr(fd, "fileno") else fd.fileno(), 0, 2**31 - 1)
        transfer_descriptor(
            fd, number, syscall, lambda number: self._call(lib.co_raw_udp_open, syscall, number, *options)
        )

    def bind(
        self,
        host: str,
        port: int,
        ipv6only: bool = False,
        reuseaddr: bool = False,
        reuseport: bool = False,
        recverr: bool = False,
    ) -> None:
        """Bind to a local address. port: 0: any free one.

        ipv6only: receive no IPv4. reuseaddr: share the address; the socket bound last gets the datagrams. reuseport:
        share it; the system distributes them (Linux). recverr: receive all errors that other machines report (Linux).
        Raises TypeError, ValueError, `Closed`, `UVError`: EADDRINUSE, EADDRNOTAVAIL, EINVAL (bound already), ENOTSUP.
        Source: uv_udp_bind.
        """
        check_bool(ipv6only=ipv6only, reuseaddr=reuseaddr, reuseport=reuseport, recverr=recverr)
        flags = ipv6only and lib.UV_UDP_IPV6ONLY
        flags |= reuseaddr and lib.UV_UDP_REUSEADDR
        flags |= recverr and lib.UV_UDP_LINUX_RECVERR
        self._call(lib.co_raw_udp_bind, "uv_udp_bind", pack(parse_numeric(host, port)), int(flags), reuseport)
        self._core.remember_addresses()

    def connect(self, host: str, port: int) -> None:
        """Send to, and receive from, this peer only. Never suspends.

        Raises TypeError, ValueError, `Closed`, `UVError`: EISCONN (disconnect first), ENETUNREACH, …
        Source: uv_udp_connect.
        """
        self._call(lib.co_udp_connect, "uv_udp_connect", pack(parse_numeric(host, port)))
        self._core.remember_addresses()

    def disconnect(self) -> None:
        """Remove the peer. Raises `Closed`, `UVError` ENOTCONN. Source: uv_udp_connect."""
        self._call(lib.co_udp_connect, "uv_udp_connect", NULL)
        self._core.remember_addresses()

    def getsockname(self) -> Name:
        """Return the local address. Raises `Closed`, `UVError`: EBADF (no socket yet). Source: uv_udp_getsockname."""
        return self._name(False, "uv_udp_getsockname")

    def getpeername(self) -> Name:
        """Return the peer's address. Raises `Closed`, `UVError`: ENOTCONN, EBADF. Source: uv_udp_getpeername."""
        return self._name(True, "uv_udp_getpeername")

    def _name(self, peer: bool, syscall: str) -> Name:
        into = new_sockaddr()
        self._call(lib.co_udp_name, syscall, peer, into)
        name = name_of_struct(into)
        assert name is not None  # no sockets of other families are taken
        return name

    # -- options ------------------------------------------------------------------------------------------------------

    def set_membership(self, group: str, iface: str | None = None, join: bool = True) -> None:
        """Join or leave a multicast group, by the interface with the address `iface` (None: the system's choice).

        Binds the socket to any address unless it is bound. Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL
        (no literal), ENODEV, EADDRNOTAVAIL (not joined), EADDRINUSE (joined already), … Source: uv_udp_set_membership.
        """
        check_bool(join=join)
        interface = NULL if iface is None else encode_literal("iface", iface)
        self._call(
            lib.co_udp_membership, "uv_udp_set_membership", join, encode_literal("group", group), interface, NULL
        )

    def set_source_membership(self, group: str, iface: str | None, source: str, join: bool = True) -> None:
        """Join or leave a multicast group, for datagrams of the address `source` only; see `set_membership`.

        Source: uv_udp_set_source_membership.
        """
        check_bool(join=join)
        interface = NULL if iface is None else encode_literal("iface", iface)
        arguments = (join, encode_literal("group", group), interface, encode_literal("source", source))
        self._call(lib.co_udp_membership, "uv_udp_set_source_membership", *arguments)

    def multicast_loop(self, on: bool) -> None:
        """Have datagrams to groups received also on this machine, or not. Raises TypeError, `Closed`, `UVError`.

        Source: uv_udp_set_multicast_loop.
        """
        check_bool(on=on)
        self._call(lib.co_udp_mcast_loop, "uv_udp_set_multicast_loop", on)

    def multicast_ttl(self, ttl: int) -> None:
        """Set the maximum number of hops of datagrams to groups.

        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (more than 255), EBADF (no socket yet).
        Source: uv_udp_set_multicast_ttl.
        """
        self._call(lib.co_udp_mcast_ttl, "uv_udp_set_multicast_ttl", check_int("ttl", ttl, 0, 2**31 - 1))

    def multicast_interface(self, addr: str | None) -> None:
        """Set the interface, by its address, for datagrams to groups; None: the system's choice.

        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (no literal), EADDRNOTAVAIL, EBADF.
        Source: uv_udp_set_multicast_interface.
        """
        interface = NULL if addr is None else encode_literal("addr", addr)
        self._call(lib.co_udp_mcast_interface, "uv_udp_set_multicast_interface", interface)

    def broadcast(self, on: bool) -> None:
        """Allow sending to broadcast addresses, or not. Raises TypeError, `Closed`, `UVError` EBADF (no socket yet).

        Source: uv_udp_set_broadcast.
        """
        check_bool(on=on)
        self._call(lib.co_udp_broadcast, "uv_udp_set_broadcast", on)

    def ttl(self, ttl: int) -> None:
        """Set the maximum number of hops of datagrams.

        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (not 1 to 255), EBADF (no socket yet).
        Source: uv_udp_set_ttl.
        """
        self._call(lib.co_udp_ttl, "uv_udp_set_ttl", check_int("ttl", ttl, 0, 2**31 - 1))

    # -- sending ------------------------------------------------------------------------------------------------------

    @waits
    def send(self, data: Message, host: str | None = None, port: int | None = None) -> bool:
        """Send a datagram, to an address or to the connected peer; return True when the system has taken it.

        data: bytes-like, or a list of bytes-like objects, which are joined; it must not change before it is sent. An
        explicit resume, whose value is returned, ends the wait, not the sending. Suspends unless the system takes the
        datagram at once.
        Raises TypeError, ValueError, `Closed`, `NotYieldable`, `UVError`: EISCONN (an address, and a peer),
        EDESTADDRREQ (neither), EMSGSIZE, EACCES, ECONNREFUSED, ECANCELED (the handle was closed), …
        Source: uv_udp_try_send, uv_udp_send.
        """
        core = self._core
        to = _destination(host, port)
        view, at = _payload(data)
        sent = _try_send(core.pointer, core.slot, at, len(view), to)
        if sent >= 0:
            spend_budget(core.hub)
        elif sent != _EAGAIN:
            raise core.call_error(sent, "uv_udp_send")
        else:
            handle_request(core, "send", lib.co_raw_udp_send, "uv_udp_send", at, len(view), to, keepalive=view)
        return True

    def try_send(self, data: Message, host: str | None = None, port: int | None = None) -> int | None:
        """Send a datagram if the system takes it at once; return its size; None: it does not. See `send`.

        Source: uv_udp_try_send.
        """
        core = self._core
        to = _destination(host, port)
        view, at = _payload(data)
        sent: int = _try_send(core.pointer, core.slot, at, len(view), to)
        if sent < 0 and sent != _EAGAIN:
            raise core.call_error(sent, "uv_udp_try_send")
        return None if sent < 0 else sent

    def try_send_many(self, messages: Any) -> int:
        """Send as many datagrams as the system takes at once, in their order; return their number. Never suspends.

        messages: each is the data, or (data, host, port). An error of the first one is raised; an error of a later one
        is raised by the next call, which begins with it. Raises as `send`, and `UVError`: EBADF (neither bound nor
        connected). Source: sendmmsg(2), in place of uv_udp_try_send2 (since libuv 1.50), which loses datagrams.
        """
        core = self._core
        sent = try_send_many(core.pointer, core.slot, [_message(message) for message in messages])
        if sent < 0 and sent != _EAGAIN:
            raise core.call_error(sent, "uv_udp_try_send2")
        return max(sent, 0)

    @property
    def send_queue_size(self) -> int:
        """The number of bytes queued for sending. Source: uv_udp_get_send_queue_size."""
        return self._call(lib.co_raw_udp_queue, "uv_udp_get_send_queue_size", 1)

    @property
    def send_queue_count(self) -> int:
        """The number of datagrams queued for sending. Source: uv_udp_get_send_queue_count."""
        return self._call(lib.co_raw_udp_queue, "uv_udp_get_send_queue_count", 0)

    # -- receiving ----------------------------------------------------------------------------------------------------

    @property
    def using_recvmmsg(self) -> bool:
        """Whether libuv receives several datagrams with one call. Source: uv_udp_using_recvmmsg."""
        return bool(self._call(lib.co_raw_udp_using_recvmmsg, "uv_udp_using_recvmmsg"))

    def recv_start(self) -> None:
        """Have the handler called for each datagram. An unbound socket is bound to any IPv4 address.

        Raises `Closed`, `UVError`: EALREADY (started already), … Source: uv_udp_recv_start.
        """
        self._core.check_usable()
        self._call(lib.co_raw_udp_push, "uv_udp_recv_start", True)
        self._receiving = True
        if self._pending:
            self._core.redeliver_later(len(self._pending))

    def recv_stop(self) -> None:
        """Stop calling the handler; a second call is no error. Kept datagrams go to `recv`, or to the next start.

        Raises `Closed`. Source: uv_udp_recv_stop.
        """
        self._receiving = False
        self._call(lib.co_raw_udp_push, "uv_udp_recv_stop", False)

    @waits
    def recv(self) -> Datagram:
        """Wait for a datagram; return (data, addr, flags), as for the handler. `recv_start` is not needed.

        Suspends unless a datagram is kept already. An explicit resume ends the wait; its value is returned, and no
        datagram is lost. Raises `Closed`, `BusyError`, `NotYieldable`, or `UVError`: ECONNREFUSED, …
        Source: uv_udp_recv_start.
        """
        core = self._core
        core.check_usable()
        if core.waiter is not None:
            raise core.use_error()
        while not self._pending:
            self._wait(1, lib.co_udp_receive_start, "uv_udp_recv_start")
            self._take(core.result, core.offset)
        datagram = self._pending.popleft()
        if self._receiving and self._pending:
            core.redeliver_later(len(self._pending))
        if isinstance(datagram, int):
            raise core.call_error(datagram, "uv_udp_recv_start")
        return datagram

    def _undo_wait(self) -> None:
        """Stop receiving, unless another coroutine waits or the handler is started."""
        core = self._core
        lib.co_raw_udp_left(core.pointer, core.slot)

    def _take(self, result: int, offset: int) -> None:
        """Keep the content of a record: a block of datagrams, an error, or nothing."""
        if result > 0 and len(self._pending) < MAX_PENDING:
            core = self._core
            if self._ipv6 is None:
                self._ipv6 = lib.co_raw_udp_family(core.pointer, core.slot) == 6
            for data, address, cut in datagrams(core.receive_buffer, offset, offset + result, self._ipv6):
                self._pending.append((data, address, self._flags[cut]))
        elif result < 0:
            self._pending.append(result)

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        kept = self._pending
        self._take(result, offset)
        if not self._receiving or not kept:
            return None
        first: Any = kept[0]
        if first.__class__ is int:
            call = self._handler_call(
                "onrecv", self._core.call_error(first, "uv_udp_recv_start"), None, None, _FLAGS[0]
            )
        else:
            call = self._handler_call("onrecv", None, *first)
        if call is not None:
            kept.popleft()
            if result and kept:
                self._core.redeliver_now(len(kept))
        return call


def _destination(host: str | None, port: int | None) -> Any:
    """Return the packed address; NULL: the connected peer. Raises TypeError, ValueError."""
    if host is None:
        if port is not None:
            raise TypeError(f"port needs a host: {port!r}")
        return NULL
    return pack(parse_numeric(host, port))  # type: ignore[arg-type]  # checked by `parse_numeric`


def _payload(data: Message) -> tuple[memoryview, Any]:
    """Return a view of the data of a datagram, and its address in memory."""
    if isinstance(data, list):
        data = b"".join(readable(part, 0, None)[0] for part in data)
    return readable(data, 0, None)


def _message(message: Any) -> tuple[memoryview, Any, Any]:
    """Return view, memory address and packed destination of a message. Raises TypeError, ValueError."""
    if not isinstance(message, tuple):
        return (*_payload(message), NULL)
    if len(message) != 3:
        raise TypeError(f"a message must be its data, or (data, host, port), not {message!r}")
    return (*_payload(message[0]), pack(parse_numeric(*message[1:])))


Pipe._makers["udp"] = UDP


def new_udp(loop: Loop | None = None, family: str | None = None, mmsgs: int = 1) -> UDP:
    """Return a new `UDP`. Source: uv_udp_init, uv_udp_init_ex."""
    return UDP(loop, family, mmsgs)


udp_open = module_function(UDP.open)
udp_open_ex = module_function(UDP.open_ex)
udp_bind = module_function(UDP.bind)
udp_connect = module_function(UDP.connect)
udp_disconnect = module_function(UDP.disconnect)
udp_getsockname = module_function(UDP.getsockname)
udp_getpeername = module_function(UDP.getpeername)
udp_set_membership = module_function(UDP.set_membership)
udp_set_source_membership = module_function(UDP.set_source_membership)
udp_set_multicast_loop = module_function(UDP.multicast_loop)
udp_set_multicast_ttl = module_function(UDP.multicast_ttl)
udp_set_multicast_interface = module_function(UDP.multicast_interface)
udp_set_broadcast = module_function(UDP.broadcast)
udp_set_ttl = module_function(UDP.ttl)
udp_send = module_function(UDP.send)
udp_try_send = module_function(UDP.try_send)
udp_try_send2 = module_function(UDP.try_send_many)
udp_get_send_queue_size = module_function(UDP.send_queue_size)
udp_get_send_queue_count = module_function(UDP.send_queue_count)
udp_using_recvmmsg = module_function(UDP.using_recvmmsg)
udp_recv_start = module_function(UDP.recv_start)
udp_recv_stop = module_function(UDP.recv_stop)
udp_recv = module_function(UDP.recv)
