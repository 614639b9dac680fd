"""TCP: connections and listeners."""

from __future__ import annotations

import socket
from typing import Any

from .._coroutines import waits
from .._kernel import add_address_to_error
from .._libuv import error, lib
from .._libuv.arguments import check_int
from .._libuv.buffers import integers
from .._libuv.sockaddr import Name, name_of_struct, new_sockaddr, pack, parse_numeric
from .descriptor import descriptor, transfer_descriptor
from .loop import Loop
from .module_function import module_function
from .stream import Stream

__all__ = ["NONBLOCK_PIPE", "TCP", "new_tcp", "pair_flags", "socketpair"]

NONBLOCK_PIPE: int = lib.UV_NONBLOCK_PIPE  # flag of `pipe` and `socketpair`
_FAMILIES = {None: socket.AF_UNSPEC, "inet": socket.AF_INET, "inet6": socket.AF_INET6}
_TYPES = {"stream": socket.SOCK_STREAM, "dgram": socket.SOCK_DGRAM}


class TCP(Stream):
    """A TCP connection or listener. Handlers: those of `Stream`.

    `bind` or `connect` makes the socket, unless a family was given. Addresses are numeric; `Loop.getaddrinfo` looks up
    names.
    """

    _kind = "tcp"

    def __init__(self, loop: Loop | None = None, family: str | None = None) -> None:
        """Make a TCP handle of `loop`; see `Timer`. family: "inet", "inet6" or None.

        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `UVError`: EMFILE. Source: uv_tcp_init,
        uv_tcp_init_ex.
        """
        if family is not None and not isinstance(family, str):
            raise TypeError(f"family must be a string or None, not {family!r}")
        if family not in _FAMILIES:
            raise ValueError(f'family must be "inet", "inet6" or None, not {family!r}')
        number = int(_FAMILIES[family])
        super().__init__(loop, lambda pointer, slot, gen: lib.co_raw_tcp_new(pointer, slot, gen, number), "uv_tcp_init")

    def open(self, sock: Any) -> None:
        """Take ownership of a socket. sock: a descriptor, or an object with `fileno`.

        The socket becomes non-blocking for all processes that share its open file description. Nothing else may use or
        close the descriptor. A socket object is detached. Another object that closes its descriptor is closed, and the
        handle gets a duplicate. If this raises, the caller keeps the socket.
        Raises TypeError, ValueError, `Closed`, `UVError`: EBADF, EEXIST (a handle owns or polls it), EBUSY (this
        handle is open), EINVAL, ENOTSOCK. Source: uv_tcp_open.
        """

        def take(number: int) -> None:
            self._call(lib.co_raw_open, "uv_tcp_open", number)

        transfer_descriptor(sock, descriptor(sock), "uv_tcp_open", take)

    def nodelay(self, on: bool = True) -> None:
        """Set TCP_NODELAY: send small packets at once, or not. Raises `Closed`, `UVError`. Source: uv_tcp_nodelay."""
        self._call(lib.co_nodelay, "uv_tcp_nodelay", bool(on))

    def keepalive(self, on: bool, idle: int = 60, interval: int | None = None, count: int | None = None) -> None:
        """Probe a silent peer, or not.

        idle: seconds of silence before the first probe. interval: seconds between probes. count: unanswered probes
        before the connection fails. None: libuv's choice. A handle without a socket keeps them for its future socket.
        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (on Linux: more than 32,767 seconds or 127 probes, or
        an `idle` of 0). Source: uv_tcp_keepalive, uv_tcp_keepalive_ex.
        """
        check_int("idle", idle, 0, 2**31 - 1)
        if interval is None and count is None:
            self._call(lib.co_keepalive, "uv_tcp_keepalive", bool(on), idle)
            return
        seconds = check_int("interval", 75 if interval is None else interval, 1, 2**31 - 1)
        probes = check_int("count", 9 if count is None else count, 1, 2**31 - 1)
        self._call(lib.co_keepalive_ex, "uv_tcp_keepalive_ex", bool(on), idle, seconds, probes)

    def simultaneous_accepts(self, on: bool) -> None:
        """Let Windows accept several connections at once, or not. Source: uv_tcp_simultaneous_accepts."""
        self._call(lib.co_simultaneous_accepts, "uv_tcp_simultaneous_accepts", bool(on))

    def bind(self, host: str, port: int, ipv6only: bool = False, reuseport: bool = False) -> None:
        """Bind to a numeric address.

        ipv6only: no IPv4 connections. reuseport: several listeners may share the address; the system distributes
        connections.
        Raises TypeError, ValueError, `Closed`, `UVError`: EADDRNOTAVAIL, EACCES, EINVAL (bound already, or ipv6only for
        IPv4). EADDRINUSE comes from `listen` or `connect`. Source: uv_tcp_bind.
        """
        flags = lib.UV_TCP_IPV6ONLY if ipv6only else 0
        self._call(lib.co_raw_bind, "uv_tcp_bind", pack(parse_numeric(host, port)), flags, bool(reuseport))

    @waits
    def connect(self, host: str, port: int) -> bool:
        """Connect to a numeric address; return True. Suspends.

        After an explicit resume, whose value is returned, the attempt goes on in the background.
        Raises TypeError, ValueError, `Closed`, `UVError`: ECONNREFUSED, ETIMEDOUT, ENETUNREACH, EALREADY, EISCONN,
        EADDRINUSE (of `bind`), ECANCELED (the handle was closed), … Source: uv_tcp_connect.
        """
        packed = pack(parse_numeric(host, port))
        with add_address_to_error(
            f"[{host}]:{port}" if ":" in host else f"{host}:{port}", "uv_tcp_connect", self._core
        ):
            self._request(lib.co_connect, "uv_tcp_connect", packed)
        self._core.remember_addresses()
        return True

    def getsockname(self) -> Name:
        """Return the local address: (host, port), for IPv6 (host, port, flow information, scope).

        Raises `Closed`, `UVError`: EBADF (no socket yet). Source: uv_tcp_getsockname.
        """
        return self._name(False, "uv_tcp_getsockname")

    def getpeername(self) -> Name:
        """Return the peer's address; see `getsockname`. Also raises `UVError`: ENOTCONN. Source: uv_tcp_getpeername."""
        return self._name(True, "uv_tcp_getpeername")

    def _name(self, peer: bool, syscall: str) -> Name:
        into = new_sockaddr()
        self._call(lib.co_name, syscall, peer, into)
        name = name_of_struct(into)
        if name is None:
            raise error(lib.UV_EINVAL, syscall)
        return name

    def close_reset(self) -> bool:
        """Close the handle and reset the connection; return True. Suspends, as `close`.

        Raises `Closed`, `UVError`: EINVAL (a shutdown is in progress), EBADF (no socket). The handle remains open then.
        Source: uv_tcp_close_reset.
        """
        self._call(lib.co_reset, "uv_tcp_close_reset")
        return self.close()

    def _new(self) -> TCP:
        return TCP(self.loop)


def new_tcp(loop: Loop | None = None, family: str | None = None) -> TCP:
    """Return a new `TCP`. Source: uv_tcp_init, uv_tcp_init_ex."""
    return TCP(loop, family)


def socketpair(type: str | int = "stream", protocol: int = 0, flags0: int = 0, flags1: int = 0) -> tuple[int, int]:
    """Return the descriptors of two sockets that are connected to each other. The caller owns them.

    type: "stream", "dgram" or a number of `socket`. flags0, flags1: `NONBLOCK_PIPE`, or 0, for each end.
    Raises TypeError, ValueError, `UVError`: EMFILE, EPROTONOSUPPORT, … Source: uv_socketpair.
    """
    if isinstance(type, str):
        if type not in _TYPES:
            raise ValueError(f'type must be "stream", "dgram" or a number, not {type!r}')
        type = int(_TYPES[type])
    check_int("type", type, 0, 2**31 - 1)
    check_int("protocol", protocol, 0, 2**31 - 1)
    ends = integers(2)
    code = lib.co_socketpair(type, protocol, ends, pair_flags("flags0", flags0), pair_flags("flags1", flags1))
    if code < 0:
        raise error(code, "uv_socketpair")
    return ends[0], ends[1]


def pair_flags(name: str, flags: int) -> int:
    """Return the flags of one end. Raises TypeError, ValueError."""
    if check_int(name, flags) & ~NONBLOCK_PIPE:
        raise ValueError(f"{name} must be 0 or NONBLOCK_PIPE, not {flags}")
    return flags


tcp_open = module_function(TCP.open)
tcp_nodelay = module_function(TCP.nodelay)
tcp_keepalive = module_function(TCP.keepalive)
tcp_keepalive_ex = module_function(TCP.keepalive)
tcp_simultaneous_accepts = module_function(TCP.simultaneous_accepts)
tcp_bind = module_function(TCP.bind)
tcp_connect = module_function(TCP.connect)
tcp_getsockname = module_function(TCP.getsockname)
tcp_getpeername = module_function(TCP.getpeername)
tcp_close_reset = module_function(TCP.close_reset)
