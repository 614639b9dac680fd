"""Socket addresses between Python's plain values and C's structures."""

from __future__ import annotations

import socket
from typing import NamedTuple

from . import CData, check, ffi, lib
from .arguments import check_int, check_str

__all__ = [
    "IPAddress",
    "Name",
    "encode_literal",
    "name",
    "name_of_struct",
    "new_sockaddr",
    "pack",
    "parse",
    "parse_numeric",
    "to_binary",
    "to_name",
    "to_text",
    "unpack",
]


Name = tuple[str, int] | tuple[str, int, int, int]


class IPAddress(NamedTuple):
    """An IP address in plain values: `binary` has 4 or 16 bytes, in network order."""

    binary: bytes
    port: int
    scope: int


def new_sockaddr() -> CData:
    """Return an empty structure, which C fills."""
    return ffi.new("co_address *")


def pack(address: IPAddress) -> CData:
    """Return the C structure for `address`."""
    packed = new_sockaddr()
    lib.co_address_set(packed, len(address.binary) == 16, address.binary, address.port, address.scope)
    return packed


def unpack(packed: CData) -> IPAddress | None:
    """Return the plain values of a C structure; None for a family that is not IP."""
    binary, port, scope = ffi.new("char[16]"), ffi.new("int *"), ffi.new("uint32_t *")
    version = lib.co_address_get(packed, binary, port, scope)
    return IPAddress(ffi.buffer(binary, 4 if version == 4 else 16)[:], port[0], scope[0]) if version else None


# -- structures in bytes ----------------------------------------------------------------------------------------------

_MAX_TEXT = 128  # characters of an address


def parse(ipv6: bool, text: bytes, port: int) -> bytes:
    """Return the C structure, in bytes, of an address in text form and a port. Raises `UVError`."""
    packed = new_sockaddr()
    size = check(lib.co_address_parse(packed, ipv6, text, port), "uv_ip6_addr" if ipv6 else "uv_ip4_addr")
    return bytes(ffi.buffer(packed)[:size])


def name(structure: bytes) -> str:
    """Return the text form of the address in a C structure, which consists of bytes. Raises `UVError`."""
    text = ffi.new("char[]", _MAX_TEXT)
    check(lib.co_address_text(structure, len(structure), text, _MAX_TEXT), "uv_ip_name")
    return str(ffi.string(text).decode())


def to_text(family: int, binary: bytes) -> str:
    """Return the text form of an address; `binary` has the number of bytes that C reads for this family.

    Raises `UVError`.
    """
    text = ffi.new("char[]", _MAX_TEXT)
    check(lib.uv_inet_ntop(family, binary, text, _MAX_TEXT), "uv_inet_ntop")
    return str(ffi.string(text).decode())


def to_binary(family: int, text: bytes) -> bytes:
    """Return the bytes of an address, padded with zeros to 16. Raises `UVError`."""
    binary = ffi.new("char[16]")
    check(lib.uv_inet_pton(family, text, binary), "uv_inet_pton")
    return bytes(ffi.buffer(binary))


# -- the form of Python's own sockets: (host, port), where the host is a literal -------------------------------------


def parse_numeric(host: str, port: int) -> IPAddress:
    """Return the plain values of a literal address of either family, and a port.

    host: an IPv6 address may have a zone ("fe80::1%eth0").
    Raises TypeError, or ValueError: `host` is not a literal address, or `port` is out of range.
    """
    check_str("host", host)
    check_int("port", port, 0, 65535)
    text, percent, zone = host.partition("%")
    try:
        if ":" in host:
            return IPAddress(socket.inet_pton(socket.AF_INET6, text), port, _zone(zone) if percent else 0)
        return IPAddress(socket.inet_pton(socket.AF_INET, host), port, 0)
    except (OSError, ValueError):
        raise ValueError(f"host must be a numeric address, not {host!r}") from None


def _zone(name: str) -> int:
    return int(name) if name.isascii() and name.isdigit() else socket.if_nametoindex(name)


def name_of_struct(packed: CData) -> Name | None:
    """Return the name (see `to_name`) of the address in a C structure; None for a family that is not IP."""
    plain = unpack(packed)
    return None if plain is None else to_name(plain.binary, plain.port, plain.scope)


def to_name(binary: bytes, port: int, scope: int) -> Name:
    """Return (host, port), or (host, port, flow, scope) for IPv6, as Python's own sockets do."""
    if len(binary) == 4:
        return socket.inet_ntop(socket.AF_INET, binary), port
    return socket.inet_ntop(socket.AF_INET6, binary), port, 0, scope


def encode_literal(name: str, text: object) -> bytes:
    """Return text that libuv will parse as an address, and refuse if it is not ASCII. Raises TypeError, ValueError."""
    literal = check_str(name, text)
    if "\0" in literal:
        raise ValueError(f"{name} has a null character: {text!r}")
    return literal.encode("ascii", "replace")
