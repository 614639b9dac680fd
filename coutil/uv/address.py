"""Addresses of TCP and UDP: a numeric host and a port, as `socket` spells them."""

from __future__ import annotations

import socket
from typing import Any

from .._libuv.sockaddr import Plain, pack, unpack

__all__ = ["Name", "numeric", "told"]

Name = tuple[str, int] | tuple[str, int, int, int]


def numeric(host: object, port: object) -> Any:
    """Return the C structure of a numeric address; "fe80::1%eth0" names the interface of a link-local one.

    Raises TypeError, ValueError: no numeric address, no port, or no such interface.
    """
    if not isinstance(host, str):
        raise TypeError(f"host must be a string, not {host!r}")
    if isinstance(port, bool) or not isinstance(port, int):
        raise TypeError(f"port must be an int, not {port!r}")
    if not 0 <= port <= 65535:
        raise ValueError(f"port must be 0 to 65535, not {port}")
    bare, percent, zone = host.partition("%")
    family = socket.AF_INET6 if ":" in bare else socket.AF_INET
    try:
        binary = socket.inet_pton(family, bare)
        scope = int(zone) if zone.isascii() and zone.isdigit() else socket.if_nametoindex(zone) if percent else 0
    except (OSError, ValueError):
        raise ValueError(f"host must be a numeric address, not {host!r}") from None
    if percent and family == socket.AF_INET:
        raise ValueError(f"host must be a numeric address, not {host!r}")
    return pack(Plain(binary, port, scope))


def told(packed: Any) -> Name | None:
    """Return the host and port of a C structure, for IPv6 with flow information and scope; None for other families."""
    plain = unpack(packed)
    if plain is None:
        return None
    if len(plain.binary) == 4:
        return socket.inet_ntop(socket.AF_INET, plain.binary), plain.port
    return socket.inet_ntop(socket.AF_INET6, plain.binary), plain.port, 0, plain.scope
