"""Look-ups of hosts and services in the thread pool, with the arguments and results of the `socket` module."""

from __future__ import annotations

import socket
from typing import Any

from .._libuv import error, lib
from .._libuv.arguments import check_int
from .._libuv.names import AddrInfo, GetAddrInfo, GetNameInfo, check_host, check_service
from .._libuv.sockaddr import IPAddress, parse_numeric, to_name
from .request import Job, NoWait, RequestMaker, nowait, on_loop

__all__ = ["Names", "getaddrinfo", "getnameinfo"]

_INT = 2**31 - 1
_FAMILIES = {int(one): one for one in socket.AddressFamily}
_TYPES = {int(one): one for one in socket.SocketKind}

Info = tuple[int, int, int, str, tuple[Any, ...]]  # family, type of socket, protocol, canonical name, address


class _Names(Job):
    """A look-up."""

    def __init__(self, call: Any, filename: str | None) -> None:
        super().__init__(call)
        self.filename = filename

    def value(self, code: int) -> Any:
        if code < 0:
            raise error(code, self.syscall, self.filename)
        return self.result()

    def result(self) -> Any:
        raise NotImplementedError


class _Addresses(_Names):
    type = "getaddrinfo"

    def result(self) -> list[Info]:
        infos, canonical = self.call.addresses()
        return [_info(info, canonical if not number else "") for number, info in enumerate(infos)]


class _NamesOf(_Names):
    type = "getnameinfo"

    def result(self) -> tuple[str, str]:
        names: tuple[str, str] = self.call.names()
        return names


def _info(info: AddrInfo, canonical: str) -> Info:
    family, kind = _FAMILIES.get(info.family, info.family), _TYPES.get(info.socktype, info.socktype)
    return family, kind, info.protocol, canonical, to_name(*info.plain())


class Names(RequestMaker):
    """The methods of a loop that look names up."""

    def _nowait(self) -> Any:
        return NoWait(self)

    def getaddrinfo(
        self,
        host: str | bytes | None,
        port: str | bytes | int | None = None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> list[Info]:
        """Look up the addresses of a host and a port, which may be the name of a service. Suspends.

        Arguments and result are those of `socket.getaddrinfo`: a list of (family, type of socket, protocol, canonical
        name, address). An explicit resume ends the wait; its value is returned. A look-up that the thread pool has
        started cannot be cancelled, but the caller can give it up.
        Raises TypeError, ValueError (a host or port with NUL, too long, or impossible to encode; a number out of
        range), `Closed`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: EAI_NONAME, EAI_AGAIN, EAI_SERVICE,
        EAI_FAMILY, …, which are also `socket.gaierror`; EINVAL (neither host nor port, or an empty host).
        Source: uv_getaddrinfo.
        """
        for what, number in (("family", family), ("type", type), ("proto", proto), ("flags", flags)):
            check_int(what, number, 0, _INT)
        service = None if port is None else check_service(_text(port), "port")
        if not host and isinstance(host, str | bytes):
            raise error(lib.UV_EINVAL, "uv_getaddrinfo", "")
        name = None if host is None else check_host(host)
        lookup = GetAddrInfo(name, service, int(family), int(type), int(proto), int(flags))
        infos: list[Info] = self._do(_Addresses(lookup, None if name is None else name.decode()))
        return infos

    def getnameinfo(self, address: tuple[Any, ...], flags: int = 0) -> tuple[str, str]:
        """Look up the names of an address.

        address: (host, port) or (host, port, flow, scope), where the host is a literal ("127.0.0.1", "fe80::1%eth0").
        flags: as for `socket.getnameinfo` (`socket.NI_NUMERICHOST`, …).
        Returns the names of host and service, or the value of an explicit resume. Suspends.
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: EAI_NONAME,
        EAI_AGAIN, EAI_FAMILY, …, which are also `socket.gaierror`. Source: uv_getnameinfo.
        """
        check_int("flags", flags, 0, _INT)
        names: tuple[str, str] = self._do(_NamesOf(GetNameInfo(_plain(address), int(flags)), None))
        return names

    getaddrinfo_nowait = nowait(getaddrinfo)
    getnameinfo_nowait = nowait(getnameinfo)


def _text(service: object) -> object:
    return service.decode("ascii") if isinstance(service, bytes) else service  # UnicodeDecodeError is a ValueError


def _plain(address: object) -> IPAddress:
    if not isinstance(address, tuple) or len(address) not in (2, 3, 4):
        raise TypeError(f"address must be a tuple (host, port) or (host, port, flow, scope), not {address!r}")
    plain = parse_numeric(address[0], address[1])
    for name, number in zip(("flow", "scope"), address[2:], strict=False):
        check_int(name, number, 0, 2**32 - 1)
    return plain._replace(scope=address[3]) if len(address) == 4 and address[3] else plain


getaddrinfo = on_loop(Names.getaddrinfo, blocking=True)
getnameinfo = on_loop(Names.getnameinfo, blocking=True)
