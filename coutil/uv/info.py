"""Information about the machine. No function here suspends."""

from __future__ import annotations

import time
from socket import AF_INET, AF_INET6, inet_ntop
from typing import Any, Literal, NamedTuple

from .._libuv import check, info, lib
from .functions import has

__all__ = [
    "CPUInfo",
    "IfAddr",
    "Uname",
    "available_parallelism",
    "clock_gettime",
    "cpu_info",
    "cpumask_size",
    "get_available_memory",
    "get_constrained_memory",
    "get_free_memory",
    "get_total_memory",
    "gettimeofday",
    "hrtime",
    "interface_addresses",
    "loadavg",
    "os_gethostname",
    "os_uname",
    "uptime",
]


class Uname(NamedTuple):
    """Names of the system and the machine; see uname(2)."""

    sysname: str
    release: str
    version: str
    machine: str


class CPUInfo(NamedTuple):
    """A processor: model, clock in MHz, and milliseconds spent in each mode since the system started."""

    model: str
    speed: int
    user: int
    nice: int
    sys: int
    irq: int
    idle: int


class IfAddr(NamedTuple):
    """An address of a network interface.

    internal: a loopback interface. family: "inet" or "inet6". prefix: length of the network part in bits.
    """

    name: str
    internal: bool
    mac: str
    family: str
    ip: str
    netmask: str
    prefix: int


# -- machine ----------------------------------------------------------------------------------------------------------


def os_gethostname() -> str:
    """Return the name of this machine. Raises `UVError`. Source: uv_os_gethostname."""
    return info.hostname()


def os_uname() -> Uname:
    """Return the names of system and machine. Raises `UVError`. Source: uv_os_uname."""
    machine, sysname, release, version = info.uname()
    return Uname(sysname, release, version, machine)


def uptime() -> float:
    """Return the time in seconds since the system started. Raises `UVError`. Source: uv_uptime."""
    return info.uptime()


def loadavg() -> tuple[float, float, float]:
    """Return the load averages of 1, 5 and 15 minutes; zeros on systems without them. Source: uv_loadavg."""
    averages: Any = info.load()
    return (*averages,)


def available_parallelism() -> int:
    """Return the number of threads that can run at the same time, at least 1. Source: uv_available_parallelism."""
    return int(lib.uv_available_parallelism())


def cpumask_size() -> int:
    """Return the size of a CPU mask, in processors. Raises `UVError`: ENOSYS (libuv is older than 1.45), ENOTSUP.

    Source: uv_cpumask_size.
    """
    return check(lib.co_cpumask_size(), "uv_cpumask_size")


def cpu_info() -> list[CPUInfo]:
    """Return the processors. Blocks for a moment: libuv reads files. Raises `UVError`. Source: uv_cpu_info."""
    return [CPUInfo._make(cpu) for cpu in info.cpus()]


def interface_addresses() -> list[IfAddr]:
    """Return the addresses of the network interfaces that are up. Raises `UVError`. Source: uv_interface_addresses."""
    return [_address(interface) for interface in info.interfaces()]


def _address(interface: info.Interface) -> IfAddr:
    number, family = (AF_INET6, "inet6") if len(interface.mask) == 16 else (AF_INET, "inet")
    prefix = int.from_bytes(interface.mask).bit_count()
    ip, netmask = inet_ntop(number, interface.address.binary), inet_ntop(number, interface.mask)
    return IfAddr(interface.name, interface.internal, interface.mac.hex(":"), family, ip, netmask, prefix)


# -- memory -----------------------------------------------------------------------------------------------------------


def get_free_memory() -> int:
    """Return the free memory of the machine in bytes. Source: uv_get_free_memory."""
    return info.memory()[1]


def get_total_memory() -> int:
    """Return the memory of the machine in bytes. Source: uv_get_total_memory."""
    return info.memory()[0]


def get_constrained_memory() -> int:
    """Return the memory limit of the process in bytes; 0 or 2**64 - 1: no limit. Source: uv_get_constrained_memory."""
    return info.memory()[2]


def get_available_memory() -> int:
    """Return the memory that is still available to the process, in bytes.

    With a libuv older than 1.45: the free memory, but at most the limit. Source: uv_get_available_memory.
    """
    if has("get_available_memory"):
        return info.available_memory()
    _, free, limit = info.memory()
    return min(free, limit or free)


# -- time -------------------------------------------------------------------------------------------------------------


def hrtime() -> int:
    """Return the monotonic time in nanoseconds, from an arbitrary origin. Source: uv_hrtime."""
    return int(lib.uv_hrtime())


def gettimeofday() -> tuple[int, int]:
    """Return seconds and microseconds since 1970. Raises `UVError`. Source: uv_gettimeofday."""
    return info.time_of_day()


def clock_gettime(clock: Literal["monotonic", "realtime"]) -> tuple[int, int]:
    """Return seconds and nanoseconds of a clock. Raises TypeError, ValueError, `UVError`. Source: uv_clock_gettime."""
    if not isinstance(clock, str):
        raise TypeError(f"clock must be a string, not {clock!r}")
    if clock not in ("monotonic", "realtime"):
        raise ValueError(f'clock must be "monotonic" or "realtime", not {clock!r}')
    if has("clock_gettime"):
        return info.clock(clock == "realtime")
    number = time.CLOCK_REALTIME if clock == "realtime" else time.CLOCK_MONOTONIC
    return divmod(time.clock_gettime_ns(number), 1_000_000_000)
