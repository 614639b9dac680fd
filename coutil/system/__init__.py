"""Calls that wait for the operating system, in blocking style.

Every one that waits suspends only the calling coroutine. Called from the main program they run the loop on demand
until that one wait is over, and raise `errors.Deadlock` if nothing could end it.

`stdin`, `stdout` and `stderr` are attributes that are made at their first use, in each thread: a `Terminal`, a stream
or listener (a `ShareStreamSocket` on a Unix socket), or None.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from .information import CPU, CPUInfo, Interface, NetInfo, ProcInfo, cpuinfo, netinfo, procinfo
from .network.address import Address, Domain, address
from .network.connect import connect
from .network.handled import Socket
from .network.local import (
    LocalDomain,
    LocalPassiveSocket,
    LocalSocket,
    LocalStreamSocket,
    SharePassiveSocket,
    ShareStreamSocket,
)
from .network.names import Addresses, findaddr, nameaddr
from .network.stream import PassiveSocket, StreamSocket
from .random import random
from .report import report
from .run import excepthook, halt, isrunning, run
from .stdio import Standard, Terminal, standard
from .time import nanosecs, suspend, time

__all__ = [
    "CPU",
    "Address",
    "Addresses",
    "CPUInfo",
    "Interface",
    "LocalPassiveSocket",
    "LocalSocket",
    "LocalStreamSocket",
    "NetInfo",
    "PassiveSocket",
    "ProcInfo",
    "SharePassiveSocket",
    "ShareStreamSocket",
    "Socket",
    "StreamSocket",
    "Terminal",
    "address",
    "connect",
    "cpuinfo",
    "excepthook",
    "findaddr",
    "halt",
    "isrunning",
    "nameaddr",
    "nanosecs",
    "netinfo",
    "procinfo",
    "random",
    "report",
    "run",
    "socket",
    "suspend",
    "time",
]


_SOCKETS: dict[tuple[str, str], Callable[[Any], Socket]] = {
    ("stream", "ipv4"): StreamSocket,
    ("stream", "ipv6"): StreamSocket,
    ("stream", "local"): LocalStreamSocket,
    ("stream", "share"): ShareStreamSocket,
    ("passive", "ipv4"): PassiveSocket,
    ("passive", "ipv6"): PassiveSocket,
    ("passive", "local"): LocalPassiveSocket,
    ("passive", "share"): SharePassiveSocket,
}


@overload
def socket(type: Literal["stream"], domain: Domain) -> StreamSocket: ...
@overload
def socket(type: Literal["stream"], domain: Literal["local"]) -> LocalStreamSocket: ...
@overload
def socket(type: Literal["stream"], domain: Literal["share"]) -> ShareStreamSocket: ...
@overload
def socket(type: Literal["passive"], domain: Domain) -> PassiveSocket: ...
@overload
def socket(type: Literal["passive"], domain: Literal["local"]) -> LocalPassiveSocket: ...
@overload
def socket(type: Literal["passive"], domain: Literal["share"]) -> SharePassiveSocket: ...


def socket(type: Literal["stream", "passive"], domain: Domain | LocalDomain) -> Socket:
    """Return a new socket.

    type: "stream" connects, sends and receives; "passive" listens and accepts. domain: "ipv4" or "ipv6"; "local", a
    Unix socket; "share", one through which streams and listeners travel between processes.
    Raises TypeError, ValueError, or `UVError`: EMFILE, EAFNOSUPPORT. Source: uv_tcp_init_ex, uv_pipe_init.
    """
    for name, value in (("type", type), ("domain", domain)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {value!r}")
    for name, value, known in (("type", type, _TYPES), ("domain", domain, _DOMAINS)):
        if value not in known:
            raise ValueError(f"{name} must be {_listed(known)}, not {value!r}")
    return _SOCKETS[type, domain](domain)


_TYPES, _DOMAINS = ("stream", "passive"), ("ipv4", "ipv6", "local", "share")


def _listed(words: tuple[str, ...]) -> str:
    *first, last = (f'"{word}"' for word in words)
    return f"{', '.join(first)} or {last}"


if TYPE_CHECKING:
    stdin: Standard | None
    stdout: Standard | None
    stderr: Standard | None


def __getattr__(name: str) -> Any:
    """Make the standard streams when somebody asks for them."""
    if name in ("stdin", "stdout", "stderr"):
        return standard(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
