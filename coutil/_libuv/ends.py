"""The addresses of both ends of a socket, for messages: kept as C gave them, and made text when they are shown."""

from __future__ import annotations

import socket
from os import fsdecode
from typing import Any

from . import ffi, lib

__all__ = ["UNKNOWN", "Ends", "ends", "peer_known", "shown", "texts"]

Ends = bytes  # see ends.c
UNKNOWN: Ends = bytes(4)  # neither end
_PATH, _IPV4, _IPV6 = 1, 4, 6
_FAMILIES = {_IPV4: socket.AF_INET, _IPV6: socket.AF_INET6}


def ends(pointer: Any, slot: int) -> Ends:
    """Return both ends of the socket under a slot; UNKNOWN for what has none, or belongs to another thread."""
    into = ffi.new("char[]", lib.CO_ENDS)
    size = lib.co_ends(pointer, slot, into)
    return bytes(ffi.buffer(into, size)) if size > 0 else UNKNOWN


def peer_known(found: Ends) -> bool:
    """Return whether the address of the peer is among `found`."""
    return found[found[1] + 2] > 0


def texts(found: Ends) -> tuple[str | None, str | None]:
    """Return the addresses of our own end and of the peer's as text: "127.0.0.1:80", "[::1]:80", a path, or None."""
    own, peer = _parts(found)
    return _text(own), _text(peer)


def shown(found: Ends) -> str:
    """Return the ends as messages show them: "127.0.0.1:5000 -> 127.0.0.1:80"; "" if neither is known."""
    own, peer = (repr(_text(end)) if end[0] == _PATH else _text(end) or "" for end in _parts(found))
    return f"{own} -> {peer}".lstrip() if peer else own


def _parts(found: Ends) -> tuple[bytes, bytes]:
    peer = found[1] + 2
    return found[:peer], found[peer:]


def _text(end: bytes) -> str | None:
    kind, data = end[0], end[2:]
    if kind in _FAMILIES:
        host, port = socket.inet_ntop(_FAMILIES[kind], data[2:]), int.from_bytes(data[:2])
        return f"[{host}]:{port}" if kind == _IPV6 else f"{host}:{port}"
    return fsdecode(data) if kind else None
