"""Socket addresses between Python's plain values and C's structures."""

from __future__ import annotations

from typing import Any, NamedTuple

from . import ffi, lib

__all__ = ["Plain", "pack", "room", "unpack"]


class Plain(NamedTuple):
    """An IP address in plain values: `binary` has 4 or 16 bytes, in network order."""

    binary: bytes
    port: int
    scope: int


def room() -> Any:
    """Return an empty structure for C to fill."""
    return ffi.new("co_address *")


def pack(address: Plain) -> Any:
    """Return the C structure for `address`."""
    packed = room()
    lib.co_address_set(packed, len(address.binary) == 16, address.binary, address.port, address.scope)
    return packed


def unpack(packed: Any) -> Plain | None:
    """Return the plain values of a C structure, None for a family that is not IP."""
    binary, port, scope = ffi.new("char[16]"), ffi.new("int *"), ffi.new("uint32_t *")
    version = lib.co_address_get(packed, binary, port, scope)
    return Plain(ffi.buffer(binary, 4 if version == 4 else 16)[:], port[0], scope[0]) if version else None
