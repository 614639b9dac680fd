"""Calls that wait for the operating system, in blocking style.

Every one that waits suspends only the calling coroutine. Called from the main program they run the loop on demand
until that one wait is over, and raise `errors.Deadlock` if nothing could end it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, overload

from .._libuv import error, lib
from .environment import PackedEnv, getdir, getenv, getpriority, packenv, setdir, setenv, setpriority, unpackenv
from .files.file import File, openfile
from .files.folder import Folder, listdir
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
from .files.request import filebits
from .information import CPU, CPUInfo, Interface, NetInfo, ProcInfo, cpuinfo, netinfo, procinfo
from .network.address import Address, Domain, address
from .network.connect import connect
from .network.datagram import DatagramSocket
from .network.names import Addresses, findaddr, nameaddr
from .network.socket import Socket
from .network.stream import PassiveSocket, StreamSocket
from .processes.execute import execute
from .processes.process import Process, start
from .processes.spec import ExecSpec
from .random import random
from .report import report
from .run import excepthook, halt, isrunning, run
from .signals import awaitsig, emitsig
from .time import nanosecs, suspend, time

__all__ = [
    "CPU",
    "Address",
    "Addresses",
    "CPUInfo",
    "DatagramSocket",
    "ExecSpec",
    "File",
    "FileInfo",
    "Folder",
    "Interface",
    "NetInfo",
    "PackedEnv",
    "PassiveSocket",
    "ProcInfo",
    "Process",
    "Socket",
    "StreamSocket",
    "address",
    "awaitsig",
    "connect",
    "copyfile",
    "cpuinfo",
    "emitsig",
    "excepthook",
    "execute",
    "filebits",
    "fileinfo",
    "findaddr",
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
    "setdir",
    "setenv",
    "setpriority",
    "socket",
    "start",
    "suspend",
    "time",
    "touchfile",
    "unpackenv",
]


@overload
def socket(type: Literal["stream"], domain: Domain) -> StreamSocket: ...
@overload
def socket(type: Literal["passive"], domain: Domain) -> PassiveSocket: ...
@overload
def socket(type: Literal["datagram"], domain: Domain) -> DatagramSocket: ...


def socket(type: Literal["stream", "passive", "datagram"], domain: Domain) -> Socket:
    """Return a new socket.

    type: "stream" connects, sends and receives; "passive" listens and accepts; "datagram" sends and receives single
    messages. domain: "ipv4" or "ipv6".
    Raises TypeError, ValueError, or `UVError`: EMFILE, EAFNOSUPPORT, EAI_SOCKTYPE ("datagram" of domain "local" or
    "share"). Source: uv_tcp_init_ex, uv_udp_init_ex.
    """
    for name, value in (("type", type), ("domain", domain)):
        if not isinstance(value, str):
            raise TypeError(f"{name} must be a string, not {value!r}")
    if type not in _SOCKETS:
        raise ValueError(f'type must be "stream", "passive" or "datagram", not {type!r}')
    if type == "datagram" and domain in ("local", "share"):
        raise error(lib.UV_EAI_SOCKTYPE, "uv_udp_init")
    if domain not in ("ipv4", "ipv6"):
        raise ValueError(f'domain must be "ipv4" or "ipv6", not {domain!r}')
    return _SOCKETS[type](domain)


_SOCKETS: dict[str, Callable[[Domain], Socket]] = {
    "stream": StreamSocket,
    "passive": PassiveSocket,
    "datagram": DatagramSocket,
}
