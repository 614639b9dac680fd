"""Socket addresses between Python's plain values and C's structures."""

from __future__ import annotations

import socket
from typing import Any, NamedTuple

from . import check, ffi, lib
from .arguments import string, whole

__all__ = [
    "Name",
    "Plain",
    "literal",
    "name",
    "named",
    "numeric",
    "pack",
    "parse",
    "room",
    "to_binary",
    "to_text",
    "told",
    "unpack",
]


Name = tuple[str, int] | tuple[str, int, int, int]


class Plain(NamedTuple):
    """An IP address in plain values: `binary` has 4 or 16 bytes, in network order."""

    binary: bytes
    port: int
    scope: int


def room() -> Any:
    """Return an empty structure, which C fills."""
    return ffi.new("co_address *")


def pack(address: Plain) -> Any:
    """Return the C structure for `address`."""
    packed = room()
    lib.co_address_set(packed, len(address.binary) == 16, address.binary, address.port, address.scope)
    return packed


def unpack(packed: Any) -> Plain | None:
    """Return the plain values of a C structure; None for a family that is not IP."""
    binary, port, scope = ffi.new("char[16]"), ffi.new("int *"), ffi.new("uint32_t *")
    version = lib.co_address_get(packed, binary, port, scope)
    return Plain(ffi.buffer(binary, 4 if version == 4 else 16)[:], port[0], scope[0]) if version else None


# -- structures in bytes ----------------------------------------------------------------------------------------------

_LONGEST = 128  # characters of an address


def parse(ipv6: bool, text: bytes, port: int) -> bytes:
    """Return the C structure, in bytes, of an address in text form and a port. Raises `UVError`."""
    packed = room()
    size = check(lib.co_address_parse(packed, ipv6, text, port), "uv_ip6_addr" if ipv6 else "uv_ip4_addr")
    return bytes(ffi.buffer(packed)[:size])


def name(structure: bytes) -> str:
    """Return the text form of the address in a C structure, which consists of bytes. Raises `UVError`."""
    text = ffi.new("char[]", _LONGEST)
    check(lib.co_address_text(structure, len(structure), text, _LONGEST), "uv_ip_name")
    return str(ffi.string(text).decode())


def to_text(family: int, binary: bytes) -> str:
    """Return the text form of an address; `binary` has the number of bytes that C reads for this family.

    Raises `UVError`.
    """
    text = ffi.new("char[]", _LONGEST)
    check(lib.uv_inet_ntop(family, binary, text, _LONGEST), "uv_inet_ntop")
    return str(ffi.string(text).decode())


def to_binary(family: int, text: bytes) -> bytes:
    """Return the bytes of an address, padded with zeros to 16. Raises `UVError`."""
    binary = ffi.new("char[16]")
    check(lib.uv_inet_pton(family, text, binary), "uv_inet_pton")
    return bytes(ffi.buffer(binary))


# -- the form of Python's own sockets: (host, port), where the host is a literal -------------------------------------


def numeric(host: str, port: int) -> Plain:
    """Return the plain values of a literal address of either family, and a port.

    host: an IPv6 address may have a zone ("fe80::1%eth0").
    Raises TypeError, or ValueError: `host` is not a literal address, or `port` is out of range.
    """
    string("host", host)
    whole("port", port, 0, 65535)
    text, percent, zone = host.partition("%")
    try:
        if ":" in host:
            return Plain(socket.inet_pton(socket.AF_INET6, text), port, _zone(zone) if percent else 0)
        return Plain(socket.inet_pton(socket.AF_INET, host), port, 0)
    except (OSError, ValueError):
        raise ValueError(f"host must be a numeric address, not {host!r}") from None


def _zone(name: str) -> int:
    return int(name) if name.isascii() and name.isdigit() else socket.if_nametoindex(name)


def told(packed: Any) -> Name | None:
    """Return the name (see `named`) of the address in a C structure; None for a family that is not IP."""
    plain = unpack(packed)
    return None if plain is None else named(plain.binary, plain.port, plain.scope)


def named(binary: bytes, port: int, scope: int) -> Name:
    """Return (host, port), or (host, port, flow, scope) for IPv6, as Python's own sockets do."""
    if len(binary) == 4:
        return socket.inet_ntop(socket.AF_INET, binary), port
    return socket.inet_ntop(socket.AF_INET6, binary), port, 0, scope


def literal(name: str, text: object) -> bytes:
    """Return text that libuv will parse as an address, and refuse if it is not ASCII. Raises TypeError, ValueError."""
    literal = string(name, text)
    if "\0" in literal:
        raise ValueError(f"{name} has a null character: {text!r}")
    return literal.encode("ascii", "replace")
