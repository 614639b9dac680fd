"""TCP: streams and passive (listening) sockets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from ..._coroutines import AttributeHint, waits
from ..._kernel import add_address_to_error
from ..._libuv import lib
from ..._libuv.arguments import check_bool, check_choice, check_int
from ...errors import UVError
from .address import Address, Domain
from .base import OpenSpec
from .bytestream import ByteStream, Listener, accept_spec
from .socket import IPSocket

__all__ = ["PassiveSocket", "StreamSocket"]

MAX_SECONDS = 32767  # seconds, the longest silence that Linux accepts before it probes a peer


class StreamSocket(IPSocket, ByteStream):
    """One end of a TCP connection.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ("_connect_unconfirmed",)
    _kind = "stream"

    if not TYPE_CHECKING:
        setsockopt = AttributeHint("setoption()")

    def __init__(self, domain: Domain, opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        self._connect_unconfirmed = False  # it may not be connected: `connect` is in progress, or has failed
        super().__init__(domain, *(opening or _new(domain)))
        if opening is not None:
            self._handle.remember_addresses()

    @waits
    def connect(self, address: Address) -> bool:
        """Connect to `address`; return True. Suspends.

        Raises TypeError, ValueError (wrong family), `Closed`, or `UVError`: ECONNREFUSED, ETIMEDOUT, EISCONN, EALREADY,
        ECANCELED (closed during the wait), …, which name the address. After an explicit resume, whose value is
        returned, the attempt goes on in the background. Source: uv_tcp_connect.
        """
        packed = self._packed(address)
        before, self._connect_unconfirmed = self._connect_unconfirmed, True
        try:
            with add_address_to_error(address, "uv_tcp_connect", self._handle if self._bound else None):
                self._request(f"connect to {address}", lib.co_connect, "uv_tcp_connect", packed)
        except UVError as error:
            self._connect_unconfirmed = before if error.name == "EISCONN" else True
            raise
        except BaseException:
            self._connect_unconfirmed = False  # the attempt goes on in the background, and its result is not reported
            raise
        self._connect_unconfirmed = False
        self._handle.remember_addresses()
        return True

    def _end_of_stream(self, code: int) -> bytes:
        """Return b"" at the end of a connection; raise ENOTCONN if there was none.

        After a refused connection Linux reports the end of the stream, too.
        """
        if code == lib.UV_EOF and self._connect_unconfirmed:
            self._connect_unconfirmed = self._name("peer") is None
            code = lib.UV_ENOTCONN if self._connect_unconfirmed else code
        return super()._end_of_stream(code)

    def setoption(self, name: Literal["keepalive", "nodelay"], value: float | bool | None) -> bool:
        """Set an option; return True.

        "keepalive": seconds of silence (int, 1 to 32767) before the peer is probed; False or None disables it.
        "nodelay": True sends small packets at once.
        Raises TypeError, ValueError, `Closed`, or `UVError`. Source: uv_tcp_keepalive, uv_tcp_nodelay.
        """
        if check_choice("name", name, ("keepalive", "nodelay")) == "nodelay":
            check_bool(**{"value of nodelay": value})
            self._call(lib.co_nodelay, "uv_tcp_nodelay", value)
        else:
            seconds = _check_keepalive(value)
            self._call(lib.co_keepalive, "uv_tcp_keepalive", seconds > 0, seconds)
        return True


class PassiveSocket(IPSocket, Listener):
    """A socket that listens for connections."""

    __slots__ = ("_listening",)
    _kind = "passive"

    def __init__(self, domain: Domain, opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        self._listening = False
        super().__init__(domain, *(opening or _new(domain)))

    @waits
    def accept(self) -> StreamSocket:
        """Wait for a connection and return it. Suspends unless one is there already.

        While the process is out of descriptors or memory, the caller waits, and connections wait in the system's
        queue; accepting is retried every 100 ms. An error of a single connection is ignored.
        Raises `Closed`, ValueError (not listening), `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: EINVAL
        (the socket was shut down), EBADF (its descriptor was closed by other code). Source: accept4(2).
        """
        self._accept()
        return StreamSocket(self._domain, accept_spec(self._handle))


def _new(domain: Domain) -> OpenSpec:
    ipv6 = domain == "ipv6"
    return lambda loop, slot, generation: lib.co_tcp_new(loop, slot, generation, ipv6), "uv_tcp_init", None


def _check_keepalive(value: object) -> int:
    if value is None or value is False:
        return 0
    return check_int("value of keepalive", value, 1, MAX_SECONDS, "seconds (int), False or None")
