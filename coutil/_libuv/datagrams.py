"""Datagrams as C hands them over, and takes several of them."""

from __future__ import annotations

from struct import Struct
from typing import Any

from . import ffi, lib
from .sockaddr import Name, named

__all__ = ["datagrams", "try_send_many"]

_head = Struct("=IHHI16s")  # size, whether it was cut, and the sender's port, scope and bytes
_HEAD: int = lib.CO_DATAGRAM_HEAD


def datagrams(block: Any, at: int, end: int, ipv6: bool) -> list[tuple[bytes, Name, bool]]:
    """Return what a block of a socket of IPv4 or IPv6 has: data, the sender's address, and whether it was cut."""
    found = []
    while at < end:
        size, cut, port, scope, binary = _head.unpack_from(block, at)
        begin = at + _HEAD
        at = begin + size
        found.append((block[begin:at], named(binary if ipv6 else binary[:4], port, scope), bool(cut)))
    return found


def try_send_many(loop: Any, slot: int, messages: list[tuple[memoryview, Any, Any]]) -> int:
    """Send views, whose bytes begin where the second says, to a C structure or (NULL) the peer; return libuv's code."""
    count = len(messages)
    data, sizes = ffi.new("char *[]", count), ffi.new("size_t[]", count)
    addresses = ffi.new("co_address[]", count)
    for number, (view, at, to) in enumerate(messages):
        data[number], sizes[number] = at, len(view)
        if to:
            addresses[number] = to[0]
    code: int = lib.co_raw_udp_try_send_many(loop, slot, count, ffi.cast("char const **", data), sizes, addresses)
    return code
