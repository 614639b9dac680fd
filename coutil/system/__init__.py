"""Calls that wait for the operating system, in blocking style.

A call that waits suspends only the calling coroutine. In the main program it runs the loop on demand until this wait is
over, and raises `errors.Deadlock` if nothing, no thread and no signal either, can end the wait.

`stdin`, `stdout` and `stderr` are attributes. Each thread makes them at their first use: a `Terminal`, a stream or
listener (a `ShareStreamSocket` on a Unix socket), a `StandardFile`, or None.

`print`, child processes, and all other users of the same terminal, pipe or stream socket still use it in blocking mode.
A listener or datagram socket is in non-blocking mode from the first use on, until the program exits. A program that is
run by `os.execv`, or that has the socket when this process is killed, has to call `os.set_blocking`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, overload

from .._libuv import error, lib
from .._libuv.arguments import check_choice
from .environment import PackedEnv, getdir, getenv, getpriority, packenv, setdir, setenv, setpriority, unpackenv
from .files.call import filebits
from .files.directory import Folder, listdir
from .files.file import File, openfile
from .files.info import FileInfo, fileinfo
from .files.path import (
    copyfile,
    grantfile,
    linkfile,
    makedir,
    maketemp,
    movefile,
    ownfile,
    removefile,
    touchfile,
)
from .files.watch import Change, PolledChange, Watch, awaitpath, watch
from .information import CPU, CPUInfo, Interface, NetInfo, ProcInfo, cpuinfo, netinfo, procinfo
from .loop import get_excepthook, halt, isrunning, run, set_excepthook
from .network.address import Address, Domain, address
from .network.connect import connect
from .network.datagram import DatagramSocket
from .network.fd_passing import SharePassiveSocket, ShareStreamSocket
from .network.local import LocalDomain, LocalPassiveSocket, LocalSocket, LocalStreamSocket
from .network.names import Addresses, FoundAddress, findaddr, nameaddr
from .network.socket import Socket
from .network.stream import PassiveSocket, StreamSocket
from .processes.execute import execute
from .processes.pipe import Pipe, SharePipe
from .processes.process import Process, start
from .processes.spec import ExecSpec
from .random import random
from .report import report
from .signals import awaitsig, emitsig
from .stdio import Standard, StandardFile, Terminal, standard
from .time import nanosecs, suspend, time

__all__ = [
    "CPU",
    "Address",
    "Addresses",
    "CPUInfo",
    "Change",
    "DatagramSocket",
    "ExecSpec",
    "File",
    "FileInfo",
    "Folder",
    "FoundAddress",
    "Interface",
    "LocalPassiveSocket",
    "LocalSocket",
    "LocalStreamSocket",
    "NetInfo",
    "PackedEnv",
    "PassiveSocket",
    "Pipe",
    "PolledChange",
    "ProcInfo",
    "Process",
    "SharePassiveSocket",
    "SharePipe",
    "ShareStreamSocket",
    "Socket",
    "StandardFile",
    "StreamSocket",
    "Terminal",
    "Watch",
    "address",
    "awaitpath",
    "awaitsig",
    "connect",
    "copyfile",
    "cpuinfo",
    "emitsig",
    "execute",
    "filebits",
    "fileinfo",
    "findaddr",
    "get_excepthook",
    "getdir",
    "getenv",
    "getpriority",
    "grantfile",
    "halt",
    "isrunning",
    "linkfile",
    "listdir",
    "makedir",
    "maketemp",
    "movefile",
    "nameaddr",
    "nanosecs",
    "netinfo",
    "openfile",
    "ownfile",
    "packenv",
    "procinfo",
    "random",
    "removefile",
    "report",
    "run",
    "set_excepthook",
    "setdir",
    "setenv",
    "setpriority",
    "socket",
    "start",
    "suspend",
    "time",
    "touchfile",
    "unpackenv",
    "watch",
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
    ("datagram", "ipv4"): DatagramSocket,
    ("datagram", "ipv6"): DatagramSocket,
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
@overload
def socket(type: Literal["datagram"], domain: Domain) -> DatagramSocket: ...


def socket(type: Literal["stream", "passive", "datagram"], domain: Domain | LocalDomain) -> Socket:
    """Return a new socket.

    type: "stream" connects, sends and receives; "passive" listens and accepts; "datagram" sends and receives single
    messages. domain: "ipv4" or "ipv6"; "local", a Unix socket; "share", a Unix socket that passes sockets to other
    processes.
    Raises TypeError, ValueError, or `UVError`: EMFILE, EAFNOSUPPORT, EAI_SOCKTYPE ("datagram" of domain "local" or
    "share"). Source: uv_tcp_init_ex, uv_udp_init_ex, uv_pipe_init.
    """
    check_choice("type", type, _TYPES)
    check_choice("domain", domain, _DOMAINS)
    if (type, domain) not in _SOCKETS:
        raise error(lib.UV_EAI_SOCKTYPE, "uv_udp_init")
    return _SOCKETS[type, domain](domain)


_TYPES, _DOMAINS = ("stream", "passive", "datagram"), ("ipv4", "ipv6", "local", "share")


if TYPE_CHECKING:
    stdin: Standard | None
    stdout: Standard | None
    stderr: Standard | None
else:

    def __getattr__(name: str) -> Any:
        """Make the standard streams when they are first used."""
        if name in ("stdin", "stdout", "stderr"):
            return standard(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
