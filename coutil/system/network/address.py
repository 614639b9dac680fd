"""IP addresses with a port. The text forms are those of inet_pton and inet_ntop; libuv does not convert them."""

from __future__ import annotations

import errno
import socket
from typing import Literal

from ..._libuv.arguments import check_bool, check_choice, check_int, check_str
from ...errors import EINVAL

__all__ = ["Address", "Domain", "address"]

Domain = Literal["ipv4", "ipv6"]
_FAMILY = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}
_SIZE = {"ipv4": 4, "ipv6": 16}


class Address:
    """An IPv4 or IPv6 address and a port. Mutable, hence not hashable; equal if family, bytes and port are."""

    __slots__ = ("__weakref__", "_binary", "_port", "_scope", "_type")
    __hash__ = None  # type: ignore[assignment]  # mutable

    def __init__(self, type_: Domain, binary: bytes, port: int, scope: int = 0) -> None:
        """Take values that are checked already. Use `address()` instead."""
        self._type, self._binary, self._port, self._scope = type_, binary, port, scope

    @property
    def type(self) -> Domain:
        """ "ipv4" or "ipv6"."""
        return self._type

    @property
    def literal(self) -> str:
        """The address as text ("127.0.0.1"). Assigning text that is not a literal address raises `UVError` (EINVAL)."""
        return socket.inet_ntop(_FAMILY[self._type], self._binary)

    @literal.setter
    def literal(self, text: str) -> None:
        self._binary = _from_literal(self._type, text, "literal")

    @property
    def binary(self) -> bytes:
        """The address as 4 or 16 bytes in network order. Assigning another length raises ValueError."""
        return self._binary

    @binary.setter
    def binary(self, data: bytes) -> None:
        self._binary = _from_binary(self._type, data)

    @property
    def port(self) -> int:
        """The port, 0 to 65535. Assigning anything else raises TypeError or ValueError."""
        return self._port

    @port.setter
    def port(self, number: int) -> None:
        self._port = _check_port(number)

    @property
    def scope(self) -> int:
        """The number of the interface of a link-local IPv6 address, otherwise 0; comparisons ignore it.

        Assigning anything but 0 to 2**32 - 1 raises TypeError or ValueError.
        """
        return self._scope

    @scope.setter
    def scope(self, number: int) -> None:
        self._scope = check_int("scope", number, 0, 2**32 - 1)

    def __str__(self) -> str:
        """The URI form: "127.0.0.1:80" or "[::1]:80"."""
        return f"[{self.literal}]:{self._port}" if self._type == "ipv6" else f"{self.literal}:{self._port}"

    def __repr__(self) -> str:
        """Family and URI form."""
        return f"<Address {self._type} {self}>"

    def __eq__(self, other: object) -> bool:
        """Compare family, bytes and port."""
        if not isinstance(other, Address):
            return NotImplemented
        return (self._type, self._binary, self._port) == (other._type, other._binary, other._port)


def address(type: Domain, data: str | bytes | None = None, port: int | None = None, *, binary: bool = False) -> Address:
    """Return an address.

    type: "ipv4" or "ipv6". data: None: all bits are zero; without `port`: the URI form ("127.0.0.1:80", "[::1]:80");
    with `port`: a literal address ("127.0.0.1"), or 4 or 16 bytes if `binary`. port: 0 to 65535.
    Raises TypeError for wrong types, ValueError for a bad type, form, port or length, `UVError` (EINVAL) for text that
    is not an address of that family.
    Source: RFC 3986 (URI form), POSIX inet_pton.
    """
    check_choice("type", type, _FAMILY)
    check_bool(binary=binary)
    if data is None:
        return Address(type, bytes(_SIZE[type]), 0 if port is None else _check_port(port))
    if port is None:
        if binary:
            raise ValueError("binary data needs a port")
        return _from_uri(type, data)
    number = _check_port(port)
    packed = _from_binary(type, data) if binary else _from_literal(type, data)
    return Address(type, packed, number)


def _from_uri(type_: Domain, data: str | bytes) -> Address:
    host, colon, port = check_str("data", data).rpartition(":")
    if not colon or not port:
        raise ValueError(f"data needs a port: {data!r}")
    if not (port.isascii() and port.isdigit() and len(port) <= 5):
        raise ValueError(f"data has an invalid port: {data!r}")
    if type_ == "ipv6":
        if not (host.startswith("[") and host.endswith("]")):
            raise ValueError(f"data must look like [::1]:80, not {data!r}")
        host = host[1:-1]
    return Address(type_, _from_literal(type_, host), _check_port(int(port)))


def _from_literal(type_: Domain, text: str | bytes, name: str = "data") -> bytes:
    literal = check_str(name, text)
    try:
        return socket.inet_pton(_FAMILY[type_], literal)
    except (OSError, ValueError):
        raise _invalid(f"{text!r} is not an {type_} address") from None


def _from_binary(type_: Domain, data: str | bytes) -> bytes:
    if not isinstance(data, bytes | bytearray | memoryview):
        raise TypeError(f"binary data must be bytes, not {data!r}")
    packed = bytes(data)
    if len(packed) != _SIZE[type_]:
        raise ValueError(f"binary data of {type_} must have {_SIZE[type_]} bytes, not {len(packed)}")
    return packed


def _check_port(number: int) -> int:
    return check_int("port", number, 0, 65535)


def _invalid(message: str) -> OSError:
    error = EINVAL(errno.EINVAL, message)
    error.code = -errno.EINVAL
    return error
