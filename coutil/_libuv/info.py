"""Information about the system, in plain values. Memory that libuv allocates for it is copied and freed at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from os import fsdecode
from typing import Any, NamedTuple

from . import CData, check, ffi, lib
from .sockaddr import IPAddress, new_sockaddr, unpack

__all__ = [
    "Interface",
    "available_memory",
    "clock",
    "cpus",
    "environment",
    "exepath",
    "group_of",
    "homedir",
    "hostname",
    "interface_id",
    "interface_name",
    "interfaces",
    "load",
    "memory",
    "metrics",
    "passwd",
    "passwd_of",
    "resident",
    "thread_usage",
    "time_of_day",
    "title",
    "tmpdir",
    "uname",
    "uptime",
    "usage",
    "variable",
]

_MAX_STRING = 1 << 16  # characters of a path or name
_TIMES = ("user", "nice", "sys", "irq", "idle")


class Interface(NamedTuple):
    """An address of a network interface, and the interface's hardware address."""

    name: str
    internal: bool
    address: IPAddress
    mask: bytes
    mac: bytes


def _text(pointer: Any) -> str:
    return fsdecode(ffi.string(pointer)) if pointer else ""


def _read_string(function: Callable[..., int], syscall: str, *arguments: Any) -> str:
    """Return the string that libuv writes into a buffer, enlarged if libuv says that it is too small."""
    capacity = _MAX_STRING
    while True:
        buffer, size = ffi.new("char[]", capacity), ffi.new("size_t *", capacity)
        code = function(*arguments, buffer, size)
        if code != lib.UV_ENOBUFS or size[0] <= capacity:
            check(code, syscall)
            return _text(buffer)
        capacity = size[0] + 1  # some calls do not count the NUL


def exepath() -> str:
    """Return the path of the running program."""
    return _read_string(lib.uv_exepath, "uv_exepath")


def hostname() -> str:
    """Return the name of this machine."""
    return _read_string(lib.uv_os_gethostname, "uv_os_gethostname")


def homedir() -> str:
    """Return the home directory of the user."""
    return _read_string(lib.uv_os_homedir, "uv_os_homedir")


def tmpdir() -> str:
    """Return the folder for temporary files."""
    return _read_string(lib.uv_os_tmpdir, "uv_os_tmpdir")


def interface_name(index: int) -> str:
    """Return the name of the network interface with the number `index`."""
    return _read_string(lib.uv_if_indextoname, "uv_if_indextoname", index)


def interface_id(index: int) -> str:
    """Return the zone that a scoped IPv6 address has after its % for the network interface with the number `index`."""
    return _read_string(lib.uv_if_indextoiid, "uv_if_indextoiid", index)


def passwd() -> tuple[str, str, str]:
    """Return shell, home directory and name of the current user."""
    entry = ffi.new("uv_passwd_t *")
    check(lib.uv_os_get_passwd(entry), "uv_os_get_passwd")
    try:
        return _text(entry.shell), _text(entry.homedir), _text(entry.username)
    finally:
        lib.uv_os_free_passwd(entry)


def passwd_of(user: int | None) -> tuple[str, int, int, str, str]:
    """Return name, user and group number, shell and home directory of a user; None: the current one."""
    entry = ffi.new("uv_passwd_t *")
    if user is None:
        check(lib.uv_os_get_passwd(entry), "uv_os_get_passwd")
    else:
        check(lib.co_passwd_of(entry, user), "uv_os_get_passwd2")
    try:
        numbers = entry.uid & 0xFFFFFFFF, entry.gid & 0xFFFFFFFF
        return _text(entry.username), *numbers, _text(entry.shell), _text(entry.homedir)
    finally:
        lib.uv_os_free_passwd(entry)


def group_of(number: int) -> tuple[str, int, tuple[str, ...]]:
    """Return name, number and members of a group."""
    entry = ffi.new("co_group *")
    check(lib.co_group_of(entry, number), "uv_os_get_group")
    try:
        return _text(entry.groupname), entry.gid, tuple(map(_text, _until_null(entry.members)))
    finally:
        lib.co_group_release(entry)


def _until_null(strings: Any) -> Iterator[Any]:
    index = 0
    while strings and strings[index]:
        yield strings[index]
        index += 1


def variable(name: bytes) -> str | None:
    """Return the value of an environment variable; None if it does not exist."""
    try:
        return _read_string(lib.uv_os_getenv, "uv_os_getenv", name)
    except FileNotFoundError:
        return None


def environment() -> dict[str, str]:
    """Return all environment variables."""
    items, count = ffi.new("uv_env_item_t **"), ffi.new("int *")
    check(lib.uv_os_environ(items, count), "uv_os_environ")
    try:
        return {_text(items[0][index].name): _text(items[0][index].value) for index in range(count[0])}
    finally:
        lib.uv_os_free_environ(items[0], count[0])


def title(first: bytes) -> str:
    """Return the title of the process; it becomes `first` if it was not set before."""
    buffer = ffi.new("char[]", _MAX_STRING)
    if lib.uv_get_process_title(buffer, _MAX_STRING) == lib.UV_ENOBUFS:
        check(lib.co_title_room(first), "uv_setup_args")
        check(lib.uv_get_process_title(buffer, _MAX_STRING), "uv_get_process_title")
    return _text(buffer)


def clock(realtime: bool) -> tuple[int, int]:
    """Return seconds and nanoseconds of a clock of the system."""
    seconds, nanoseconds = ffi.new("int64_t *"), ffi.new("int32_t *")
    check(lib.co_clock(realtime, seconds, nanoseconds), "uv_clock_gettime")
    return seconds[0], nanoseconds[0]


def time_of_day() -> tuple[int, int]:
    """Return seconds and microseconds since 1970."""
    time = ffi.new("uv_timeval64_t *")
    check(lib.uv_gettimeofday(time), "uv_gettimeofday")
    return time.tv_sec, time.tv_usec


def available_memory() -> int:
    """Return the number of bytes of memory that the process may still allocate."""
    size = ffi.new("uint64_t *")
    check(lib.co_available_memory(size), "uv_get_available_memory")
    return int(size[0])


def metrics(loop: Any) -> tuple[int, int, int]:
    """Return the numbers of a loop's iterations, of its events, and of the events that had to wait for an iteration."""
    turns, events, waiting = (ffi.new("uint64_t *") for _ in range(3))
    check(lib.co_loop_metrics(loop, turns, events, waiting), "uv_metrics_info")
    return turns[0], events[0], waiting[0]


def uname() -> tuple[str, str, str, str]:
    """Return machine, kernel, release and version."""
    names = ffi.new("uv_utsname_t *")
    check(lib.uv_os_uname(names), "uv_os_uname")
    return _text(names.machine), _text(names.sysname), _text(names.release), _text(names.version)


def usage() -> CData:
    """Return a structure with the fields of getrusage(2)."""
    fields = ffi.new("uv_rusage_t *")
    check(lib.uv_getrusage(fields), "uv_getrusage")
    return fields


def thread_usage() -> CData:
    """Return the same structure for the calling thread."""
    fields = ffi.new("uv_rusage_t *")
    check(lib.co_getrusage_thread(fields), "uv_getrusage_thread")
    return fields


def resident() -> int:
    """Return the number of bytes of this process that are in memory."""
    size = ffi.new("size_t *")
    check(lib.uv_resident_set_memory(size), "uv_resident_set_memory")
    return int(size[0])


def memory() -> tuple[int, int, int]:
    """Return the machine's memory, the free memory, and the limit set for it (0: none), in bytes."""
    return lib.uv_get_total_memory(), lib.uv_get_free_memory(), lib.uv_get_constrained_memory()


def uptime() -> float:
    """Return the number of seconds since the system started."""
    seconds = ffi.new("double *")
    check(lib.uv_uptime(seconds), "uv_uptime")
    return float(seconds[0])


def load() -> tuple[float, ...]:
    """Return the load averages of 1, 5 and 15 minutes."""
    averages = ffi.new("double[3]")
    lib.uv_loadavg(averages)
    return tuple(averages)


def cpus() -> list[tuple[str | int, ...]]:
    """Return model, MHz, and user, nice, system, irq and idle milliseconds of each processor."""
    infos, count = ffi.new("uv_cpu_info_t **"), ffi.new("int *")
    check(lib.uv_cpu_info(infos, count), "uv_cpu_info")
    try:
        return [_cpu(infos[0] + index) for index in range(count[0])]
    finally:
        lib.uv_free_cpu_info(infos[0], count[0])


def _cpu(entry: Any) -> tuple[str | int, ...]:
    times = (int(getattr(entry.cpu_times, name)) for name in _TIMES)
    return _text(lib.co_cpu_model(entry)), entry.speed, *times


def interfaces() -> list[Interface]:
    """Return the addresses of all network interfaces that are up."""
    infos, count = ffi.new("uv_interface_address_t **"), ffi.new("int *")
    check(lib.uv_interface_addresses(infos, count), "uv_interface_addresses")
    try:
        entries = [_interface(infos[0][index]) for index in range(count[0])]
    finally:
        lib.uv_free_interface_addresses(infos[0], count[0])
    return [entry for entry in entries if entry is not None]


def _interface(entry: Any) -> Interface | None:
    packed, netmask = new_sockaddr(), new_sockaddr()
    lib.co_interface(ffi.addressof(entry), packed, netmask)
    address, mask = unpack(packed), unpack(netmask)
    if address is None or mask is None:
        return None
    mac = bytes(ffi.buffer(entry.phys_addr))
    return Interface(_text(entry.name), bool(entry.is_internal), address, mask.binary, mac)
