"""The addresses of both ends of a socket, for messages: kept as C returns them, and converted to text when shown."""

from __future__ import annotations

import socket
from os import fsdecode
from typing import Any

from . import ffi, lib

__all__ = ["UNKNOWN", "Endpoints", "endpoint_texts", "endpoints_of", "format_endpoints", "has_peer"]

Endpoints = bytes  # see c/ends.c
UNKNOWN: Endpoints = bytes(4)  # neither end
_PATH, _IPV4, _IPV6 = 1, 4, 6
_FAMILIES = {_IPV4: socket.AF_INET, _IPV6: socket.AF_INET6}


def endpoints_of(pointer: Any, slot: int) -> Endpoints:
    """Return both ends of the socket in a slot; UNKNOWN if it has none, or belongs to another thread."""
    memory = ffi.new("char[]", lib.CO_ENDS)
    size = lib.co_ends(pointer, slot, memory)
    return bytes(ffi.buffer(memory, size)) if size > 0 else UNKNOWN


def has_peer(addresses: Endpoints) -> bool:
    """Return whether the address of the peer is one of `addresses`."""
    return addresses[addresses[1] + 2] > 0


def endpoint_texts(addresses: Endpoints) -> tuple[str | None, str | None]:
    """Return the local address and the peer's as text: "127.0.0.1:80", "[::1]:80", a path, or None."""
    local, peer = _split(addresses)
    return _text(local), _text(peer)


def format_endpoints(addresses: Endpoints) -> str:
    """Return the ends as messages show them: "127.0.0.1:5000 -> 127.0.0.1:80"; "" if neither is known."""
    local, peer = (repr(_text(end)) if end[0] == _PATH else _text(end) or "" for end in _split(addresses))
    return f"{local} -> {peer}".lstrip() if peer else local


def _split(addresses: Endpoints) -> tuple[bytes, bytes]:
    peer = addresses[1] + 2
    return addresses[:peer], addresses[peer:]


def _text(end: bytes) -> str | None:
    kind, data = end[0], end[2:]
    if kind in _FAMILIES:
        host, port = socket.inet_ntop(_FAMILIES[kind], data[2:]), int.from_bytes(data[:2])
        return f"[{host}]:{port}" if kind == _IPV6 else f"{host}:{port}"
    return fsdecode(data) if kind else None
