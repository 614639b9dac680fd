"""Look-ups of names: their arguments and results in C.

Rule: C gets ASCII without NUL, of legal length; libuv's conversion of host names is never used.
"""

from __future__ import annotations

from struct import Struct
from typing import Any, NamedTuple

from . import NULL, lib
from .arguments import check_int, check_str
from .result import new_result, take_result_memory
from .sockaddr import IPAddress, pack

__all__ = ["AddrInfo", "GetAddrInfo", "GetNameInfo", "check_host", "check_service"]

_addrinfo = Struct("=iiiiI16s")  # co_found
_MAX_HOST, _MAX_LABEL = 253, 63  # RFC 1035
_MAX_SERVICE = 31


class AddrInfo(NamedTuple):
    """An address that a look-up has found."""

    family: int
    socktype: int
    protocol: int
    port: int
    scope: int
    binary: bytes  # 4 or 16 bytes

    def plain(self) -> IPAddress:
        """Return the address with its port and scope."""
        return IPAddress(self.binary, self.port, self.scope)


class GetAddrInfo:
    """From names to addresses: one call of uv_getaddrinfo."""

    __slots__ = ("_hints", "host", "result", "service")
    syscall = "uv_getaddrinfo"

    def __init__(
        self, host: bytes | None, service: bytes | None, family: int, socktype: int, protocol: int, flags: int
    ) -> None:
        """Prepare a call. Host and service are checked already; the other arguments are those of getaddrinfo(3)."""
        self.host, self.service = host, service
        self._hints = (family, socktype, protocol, flags)
        self.result = new_result()

    def __str__(self) -> str:
        """The subject of the look-up, for reports."""
        if self.host is not None:
            return f"addresses of {self.host.decode()}"
        return f"addresses for service {self.service.decode() if self.service else None}"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Queue it for the thread pool; return libuv's code."""
        names = (self.host or NULL, self.service or NULL)
        code: int = lib.co_getaddrinfo(loop, slot, generation, *names, *self._hints, self.result)
        return code

    def block(self) -> int:
        """Run it now, in the calling thread; return libuv's code."""
        code: int = lib.co_getaddrinfo_block(self.host or NULL, self.service or NULL, *self._hints, self.result)
        return code

    def addresses(self) -> tuple[list[AddrInfo], str]:
        """Return the addresses, and the canonical name of the host if the flags ask for it."""
        count = self.result.number
        data = take_result_memory(self.result)
        entries = []
        for family, kind, protocol, port, scope, binary in _addrinfo.iter_unpack(data[: count * _addrinfo.size]):
            address = binary if family == lib.CO_INET6 else binary[:4]
            entries.append(AddrInfo(family, kind, protocol, port, scope, address))
        return entries, data[count * _addrinfo.size :].decode("utf-8", "surrogateescape")


class GetNameInfo:
    """From an address to names: one call of uv_getnameinfo."""

    __slots__ = ("_flags", "_packed", "result")
    syscall = "uv_getnameinfo"

    def __init__(self, address: IPAddress, flags: int) -> None:
        """Prepare a call. The flags are those of getnameinfo(3)."""
        self._packed, self._flags = pack(address), flags
        self.result = new_result()

    def __str__(self) -> str:
        """The subject of the look-up, for reports."""
        return "names of an address"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Queue it for the thread pool; return libuv's code."""
        code: int = lib.co_getnameinfo(loop, slot, generation, self._packed, self._flags, self.result)
        return code

    def block(self) -> int:
        """Run it now, in the calling thread; return libuv's code."""
        code: int = lib.co_getnameinfo_block(self._packed, self._flags, self.result)
        return code

    def names(self) -> tuple[str, str]:
        """Return the names of the host and the service."""
        host, service, _ = take_result_memory(self.result).decode("utf-8", "surrogateescape").split("\0")
        return host, service


# -- names for C ------------------------------------------------------------------------------------------------------


def check_host(name: object) -> bytes:
    """Return a host name in ASCII. Raises TypeError, ValueError."""
    if isinstance(name, bytes):
        name = name.decode()  # UnicodeDecodeError is a ValueError
    name = check_str("name", name, "a string, bytes or None")
    if "\0" in name:
        raise ValueError(f"name has a null character: {name!r:.80}")
    if not name:
        raise ValueError("name is empty")
    # The length is checked before the name is encoded, which takes long for long names.
    if len(name) > _MAX_HOST + name.endswith("."):
        raise ValueError(f"name is too long ({len(name)} characters): {name!r:.80}")
    data = name.encode("ascii" if name.isascii() else "idna")  # UnicodeError is a ValueError
    *labels, last = data.split(b".")
    too_long = any(len(label) > _MAX_LABEL for label in (*labels, last))
    if too_long or len(data) > _MAX_HOST + data.endswith(b"."):
        raise ValueError(f"name, or a part of it, is too long: {name!r:.80}")
    if not all(labels):
        raise ValueError(f"name has an empty part: {name!r:.80}")
    return data


def check_service(service: object, name: str = "service") -> bytes:
    """Return a service in ASCII; a port as its digits. Raises TypeError, ValueError, which name the argument `name`."""
    if not isinstance(service, str):
        return b"%d" % check_int(name, service, 0, 65535, "a string, an int or None")
    if not 0 < len(service) <= _MAX_SERVICE or not service.isascii() or "\0" in service:
        raise ValueError(f"{name} must be 1 to {_MAX_SERVICE} ASCII characters without NUL, not {service!r:.80}")
    try:
        number = int(service)
    except ValueError:
        return service.encode()
    if not (service.isdigit() and number <= 65535):  # the system would use a part of it
        raise ValueError(f"{name} is out of range (0 to 65535): {service!r}")
    return service.encode()
