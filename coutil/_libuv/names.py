"""Look-ups of names: their arguments and results in C.

Rule: C gets ASCII without NUL, of legal length; libuv's conversion of host names is never used.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from . import NULL, lib
from .arguments import string, whole
from .out import out, take_memory
from .sockaddr import Plain, pack

__all__ = ["Found", "Lookup", "Naming", "checked_host", "checked_service"]

_found = Struct("=iiiiI16s")  # co_found
_LONGEST_HOST, _LONGEST_LABEL = 253, 63  # RFC 1035
_LONGEST_SERVICE = 31


class Found(NamedTuple):
    """An address that a look-up has found."""

    family: int
    socktype: int
    protocol: int
    port: int
    scope: int
    binary: bytes  # 4 or 16 bytes

    def plain(self) -> Plain:
        """Return the address with its port and scope."""
        return Plain(self.binary, self.port, self.scope)


class Lookup:
    """From names to addresses: one call of uv_getaddrinfo."""

    __slots__ = ("_hints", "host", "out", "service")
    syscall = "uv_getaddrinfo"

    def __init__(
        self, host: bytes | None, service: bytes | None, family: int, socktype: int, protocol: int, flags: int
    ) -> None:
        """Prepare a call. Host and service are checked already; the other arguments are those of getaddrinfo(3)."""
        self.host, self.service = host, service
        self._hints = (family, socktype, protocol, flags)
        self.out = out()

    def __str__(self) -> str:
        """The subject of the look-up, for reports."""
        if self.host is not None:
            return f"addresses of {self.host.decode()}"
        return f"addresses for service {self.service.decode() if self.service else None}"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Queue it for the thread pool; return libuv's code."""
        names = (self.host or NULL, self.service or NULL)
        code: int = lib.co_getaddrinfo(loop, slot, generation, *names, *self._hints, self.out)
        return code

    def block(self) -> int:
        """Run it now, in the calling thread; return libuv's code."""
        code: int = lib.co_getaddrinfo_block(self.host or NULL, self.service or NULL, *self._hints, self.out)
        return code

    def found(self) -> tuple[list[Found], str]:
        """Return the addresses, and the canonical name of the host if the flags ask for it."""
        count = self.out.number
        data = take_memory(self.out)
        entries = []
        for family, kind, protocol, port, scope, binary in _found.iter_unpack(data[: count * _found.size]):
            address = binary if family == lib.CO_INET6 else binary[:4]
            entries.append(Found(family, kind, protocol, port, scope, address))
        return entries, data[count * _found.size :].decode("utf-8", "surrogateescape")


class Naming:
    """From an address to names: one call of uv_getnameinfo."""

    __slots__ = ("_flags", "_packed", "out")
    syscall = "uv_getnameinfo"

    def __init__(self, address: Plain, flags: int) -> None:
        """Prepare a call. The flags are those of getnameinfo(3)."""
        self._packed, self._flags = pack(address), flags
        self.out = out()

    def __str__(self) -> str:
        """The subject of the look-up, for reports."""
        return "names of an address"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Queue it for the thread pool; return libuv's code."""
        code: int = lib.co_getnameinfo(loop, slot, generation, self._packed, self._flags, self.out)
        return code

    def block(self) -> int:
        """Run it now, in the calling thread; return libuv's code."""
        code: int = lib.co_getnameinfo_block(self._packed, self._flags, self.out)
        return code

    def names(self) -> tuple[str, str]:
        """Return the names of the host and the service."""
        host, service, _ = take_memory(self.out).decode("utf-8", "surrogateescape").split("\0")
        return host, service


# -- names for C ------------------------------------------------------------------------------------------------------


def checked_host(name: object) -> bytes:
    """Return a host name in ASCII. Raises TypeError, ValueError."""
    if isinstance(name, bytes):
        name = name.decode()  # UnicodeDecodeError is a ValueError
    name = string("name", name, "a string, bytes or None")
    if "\0" in name:
        raise ValueError(f"name has a null character: {name!r:.80}")
    if not name:
        raise ValueError("name is empty")
    # The length is checked before the name is encoded, which takes long for long names.
    if len(name) > _LONGEST_HOST + name.endswith("."):
        raise ValueError(f"name is too long ({len(name)} characters): {name!r:.80}")
    data = name.encode("ascii" if name.isascii() else "idna")  # UnicodeError is a ValueError
    *labels, last = data.split(b".")
    too_long = any(len(label) > _LONGEST_LABEL for label in (*labels, last))
    if too_long or len(data) > _LONGEST_HOST + data.endswith(b"."):
        raise ValueError(f"name, or a part of it, is too long: {name!r:.80}")
    if not all(labels):
        raise ValueError(f"name has an empty part: {name!r:.80}")
    return data


def checked_service(service: object, name: str = "service") -> bytes:
    """Return a service in ASCII; a port as its digits. Raises TypeError, ValueError, which name the argument `name`."""
    if not isinstance(service, str):
        return b"%d" % whole(name, service, 0, 65535, "a string, an int or None")
    if not 0 < len(service) <= _LONGEST_SERVICE or not service.isascii() or "\0" in service:
        raise ValueError(f"{name} must be 1 to {_LONGEST_SERVICE} ASCII characters without NUL, not {service!r:.80}")
    try:
        number = int(service)
    except ValueError:
        return service.encode()
    if not (service.isdigit() and number <= 65535):  # the system would use a part of it
        raise ValueError(f"{name} is out of range (0 to 65535): {service!r}")
    return service.encode()
