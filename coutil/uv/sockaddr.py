"""Conversion of addresses between text and bytes, and names of network interfaces."""

from __future__ import annotations

from socket import AF_INET, AF_INET6

from .._libuv import info, sockaddr
from .._libuv.arguments import check_int
from .._libuv.files import encoded

__all__ = ["if_indextoiid", "if_indextoname", "inet_ntop", "inet_pton", "ip4_addr", "ip6_addr", "ip_name"]

_FAMILIES = {"inet": AF_INET, "inet6": AF_INET6}
_SIZES: dict[int, int] = {AF_INET: 4, AF_INET6: 16}


def _text(name: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a string, not {value!r}")
    return encoded(value, name)


def _bytes(name: str, value: bytes) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, not {value!r}")
    return bytes(value)


def _family(family: str | int) -> int:
    if isinstance(family, str):
        if family not in _FAMILIES:
            raise ValueError(f'family must be "inet", "inet6" or a number, not {family!r}')
        return _FAMILIES[family]
    return check_int("family", family, 0, 65535)


def ip4_addr(ip: str, port: int) -> bytes:
    """Return a `struct sockaddr_in`. ip: "127.0.0.1". port: 0 to 65535.

    Raises TypeError, ValueError, `UVError`: EINVAL. Source: uv_ip4_addr.
    """
    return sockaddr.parse(False, _text("ip", ip), check_int("port", port, 0, 65535))


def ip6_addr(ip: str, port: int) -> bytes:
    """Return a `struct sockaddr_in6`. ip: "::1", "fe80::1%eth0"; see `ip4_addr`. Source: uv_ip6_addr."""
    return sockaddr.parse(True, _text("ip", ip), check_int("port", port, 0, 65535))


def ip_name(address: bytes) -> str:
    """Return the address, without the port, of a `struct sockaddr_in` or `sockaddr_in6`.

    Raises TypeError, `UVError`: EINVAL (too short), EAFNOSUPPORT. Source: uv_ip_name.
    """
    return sockaddr.name(_bytes("address", address))


def inet_ntop(family: str | int, data: bytes) -> str:
    """Return an address as text. family: "inet", "inet6", or a number. data: 4 or 16 bytes.

    Raises TypeError, ValueError, `UVError`: EAFNOSUPPORT. Source: uv_inet_ntop.
    """
    number, data = _family(family), _bytes("data", data)
    if len(data) != _SIZES.get(number, len(data)):
        raise ValueError(f"data must have {_SIZES[number]} bytes, not {len(data)}")
    return sockaddr.to_text(number, data)


def inet_pton(family: str | int, text: str) -> bytes:
    """Return the 4 or 16 bytes of an address. family: see `inet_ntop`. text: "127.0.0.1", "::1".

    Raises TypeError, ValueError, `UVError`: EINVAL, EAFNOSUPPORT. Source: uv_inet_pton.
    """
    number = _family(family)
    return sockaddr.to_binary(number, _text("text", text))[: _SIZES.get(number, 0)]


def if_indextoname(index: int) -> str:
    """Return the name of a network interface by its number. Raises TypeError, ValueError, `UVError`: ENXIO.

    Source: uv_if_indextoname.
    """
    return info.interface_name(check_int("index", index, 0, 2**32 - 1))


def if_indextoiid(index: int) -> str:
    """Return the zone of an interface, as in a scoped IPv6 address behind the %; see `if_indextoname`.

    Source: uv_if_indextoiid.
    """
    return info.interface_id(check_int("index", index, 0, 2**32 - 1))
