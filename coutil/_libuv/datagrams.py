"""Datagrams in the form in which C receives them, and sends several of them at once."""

from __future__ import annotations

from struct import Struct
from typing import Any

from . import ffi, lib
from .sockaddr import Name, to_name

__all__ = ["datagrams", "try_send_many"]

_head = Struct("=IHHI16s")  # size, whether it was cut, and the sender's port, scope and bytes
_HEAD: int = lib.CO_DATAGRAM_HEAD


def datagrams(block: Any, offset: int, end: int, ipv6: bool) -> list[tuple[bytes, Name, bool]]:
    """Return the datagrams in block[offset:end]: data, the sender's address, and whether the data were truncated.

    ipv6: whether the socket is one of IPv6; otherwise it is one of IPv4.
    """
    received = []
    while offset < end:
        size, cut, port, scope, binary = _head.unpack_from(block, offset)
        begin = offset + _HEAD
        offset = begin + size
        received.append((block[begin:offset], to_name(binary if ipv6 else binary[:4], port, scope), bool(cut)))
    return received


def try_send_many(loop: Any, slot: int, messages: list[tuple[memoryview, Any, Any]]) -> int:
    """Send datagrams without waiting; return libuv's code: the number of those that were sent, or an error.

    messages: for each one a view, the address of its bytes, and the destination as a C structure; NULL: the peer.
    """
    count = len(messages)
    data, sizes = ffi.new("char *[]", count), ffi.new("size_t[]", count)
    addresses = ffi.new("co_address[]", count)
    for number, (view, address, destination) in enumerate(messages):
        data[number], sizes[number] = address, len(view)
        if destination:
            addresses[number] = destination[0]
    code: int = lib.co_raw_udp_try_send_many(loop, slot, count, ffi.cast("char const **", data), sizes, addresses)
    return code
