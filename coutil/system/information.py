"""Information about this process, the processors and the network interfaces. Nothing here waits.

Rule: each named tuple has its fields in the order of the letters that select them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeVar, overload

from .._closeable import Closeable
from .._libuv import info
from .._libuv.arguments import check_any_int, check_choice, check_int, check_str
from ..errors import Closed, UVError
from .network.address import Address, Domain

__all__ = ["CPU", "CPUInfo", "Interface", "NetInfo", "ProcInfo", "cpuinfo", "netinfo", "procinfo"]

Row = TypeVar("Row", bound=tuple[Any, ...])


def _check_letters(which: object, letters: str) -> str:
    """Return `which`, a string of `letters`. Raises TypeError, ValueError."""
    selection = check_str("which", which)
    for letter in selection:
        if letter not in letters:
            raise ValueError(f"which must consist of {letters!r}, not {letter!r}")
    return selection


# -- the process ------------------------------------------------------------------------------------------------------


class ProcInfo(NamedTuple):
    """The result of `procinfo()`. Values that the system does not provide are None. Sizes: bytes; times: seconds."""

    executable: str | None
    hostname: str | None
    tmpdir: str | None
    machine: str | None
    kernel: str | None
    release: str | None
    version: str | None
    shell: str | None
    home: str | None
    user: str | None
    uid: int
    gid: int
    max_resident: int | None
    stack: int | None
    data: int | None
    shared: int | None
    messages_received: int | None
    messages_sent: int | None
    blocks_read: int | None
    blocks_written: int | None
    minor_faults: int | None
    major_faults: int | None
    signals: int | None
    swaps: int | None
    voluntary_switches: int | None
    involuntary_switches: int | None
    pid: int
    parent: int
    memory: int
    memory_free: int
    memory_limit: int
    resident: int | None
    cpu_user: float | None
    cpu_system: float | None
    load1: float
    load5: float
    load15: float
    uptime: float | None


# The letters that `procinfo` takes, by the types of their values.
Text = Literal["e", "n", "T", "h", "k", "v", "V", "$", "H", "U"]
Count = Literal[
    "u", "g", "#", "^", "i", "o", "p", "P", "S", "w", "x", "X", "<", ">", "r", "R", "=", "d", "m", "b", "f", "M"
]
Seconds = Literal["c", "s", "t", "1", "l", "L"]
_PROCESS = "enThkvV$HUugR=dm<>iopPSwxX#^bfMrcs1lLt"
_KIB = {"R": "ru_maxrss", "=": "ru_isrss", "d": "ru_idrss", "m": "ru_ixrss"}
_COUNTED = {
    "<": "ru_msgrcv",
    ">": "ru_msgsnd",
    "i": "ru_inblock",
    "o": "ru_oublock",
    "p": "ru_minflt",
    "P": "ru_majflt",
    "S": "ru_nsignals",
    "w": "ru_nswap",
    "x": "ru_nvcsw",
    "X": "ru_nivcsw",
}


def _usage() -> dict[str, int | float]:
    usage = info.usage()
    values: dict[str, int | float] = {letter: int(getattr(usage, name)) * 1024 for letter, name in _KIB.items()}
    values |= {letter: int(getattr(usage, name)) for letter, name in _COUNTED.items()}
    for letter, spent in (("c", usage.ru_utime), ("s", usage.ru_stime)):
        values[letter] = (spent.tv_sec * 1_000_000 + spent.tv_usec) / 1e6
    return values


def _memory() -> dict[str, int]:
    total, free, limit = info.memory()
    return {"b": total, "f": free, "M": limit}


# Each system call, and the letters whose values it returns.
_CALLS: tuple[tuple[str, Callable[[], Mapping[str, Any]]], ...] = (
    ("e", lambda: {"e": info.exepath()}),
    ("n", lambda: {"n": info.hostname()}),
    ("T", lambda: {"T": info.tmpdir()}),
    ("hkvV", lambda: dict(zip("hkvV", info.uname(), strict=True))),
    ("$HU", lambda: dict(zip("$HU", info.passwd(), strict=True))),
    ("ug#^", lambda: {"u": os.geteuid(), "g": os.getegid(), "#": os.getpid(), "^": os.getppid()}),
    ("R=dm<>iopPSwxXcs", _usage),
    ("bfM", _memory),
    ("r", lambda: {"r": info.resident()}),
    ("1lL", lambda: dict(zip("1lL", info.load(), strict=True))),
    ("t", lambda: {"t": info.uptime()}),
)


@overload
def procinfo(which: None = None) -> ProcInfo: ...
@overload
def procinfo(which: Text) -> str: ...
@overload
def procinfo(which: Count) -> int: ...
@overload
def procinfo(which: Seconds) -> float: ...
@overload
def procinfo(which: str) -> Any: ...


def procinfo(which: str | None = None) -> Any:
    """Return information about this process and the system that it runs on.

    which: None: all of it, as a `ProcInfo`, in which None stands for a value that the system does not provide. A
    letter: that value; several: a tuple. Each system call is made once.

    Strings: "e" path of the executable, "n" name of the machine, "T" folder for temporary files, "h" hardware, "k"
    kernel, "v" its release, "V" its version; "$" shell, "H" home and "U" name of the user.
    Numbers: "u" and "g" effective user and group; "#" process, "^" its parent; "i" and "o" blocks read and written, "p"
    and "P" page faults without and with I/O, "S" signals, "w" swaps, "x" and "X" voluntary and involuntary switches,
    "<" and ">" messages received and sent.
    Bytes: "r" resident now, "R" at most so far, "=" stack, "d" data, "m" shared; of the machine: "b" all memory, "f"
    free memory, "M" the limit set for it (0: none, or not known).
    Seconds (float): "c" and "s" processor time in user mode and in the kernel, "t" since the machine started.
    Load averages (float): "1", "l" and "L" of 1, 5 and 15 minutes.

    Raises TypeError, ValueError, or `UVError`. Source: uv_exepath, uv_os_gethostname, uv_os_tmpdir, uv_os_uname,
    uv_os_get_passwd, uv_getrusage, uv_get_total_memory, uv_resident_set_memory, uv_loadavg, uv_uptime, …
    """
    letters = _PROCESS if which is None else _check_letters(which, _PROCESS)
    values: dict[str, Any] = {}
    for known, call in _CALLS:
        if any(letter in known for letter in letters):
            try:
                values |= call()
            except UVError:
                if which is not None:
                    raise
    if which is None:
        return ProcInfo._make(map(values.get, _PROCESS))
    return values[which] if len(which) == 1 else tuple(values[letter] for letter in which)


# -- lists ------------------------------------------------------------------------------------------------------------


class Information(Closeable, Sequence[Row]):
    """A sequence of named tuples, a snapshot: the base of the results of `cpuinfo` and `netinfo`.

    If letters were given, its items are tuples of the position (from 1) and the values that the letters select.
    """

    __slots__ = ("__weakref__", "_rows", "_which")
    _letters = ""  # one for each field of the named tuples, in their order

    def __init__(self, rows: Sequence[Row], which: str | None) -> None:
        """Take the named tuples. which: the letters that select values; None: the named tuples themselves."""
        self._rows: Sequence[Row] | None = rows
        self._which = which

    def get(self, which: str, position: int) -> Any:
        """Return the values that the letters `which` select from the entry at a position (from 1).

        One letter selects a value, several select a tuple. Returns None if there is no such entry. Raises TypeError,
        ValueError, `Closed`.
        """
        rows, letters = self._open(), _check_letters(which, self._letters)
        if not 1 <= check_any_int("position", position) <= len(rows):
            return None
        values = self._select(rows[position - 1], letters)
        return values[0] if len(letters) == 1 else values

    def _select(self, row: Row, which: str) -> tuple[Any, ...]:
        return tuple(row[self._letters.index(letter)] for letter in which)

    def _open(self) -> Sequence[Row]:
        if self._rows is None:
            raise Closed(f"the {type(self).__name__} is closed")
        return self._rows

    def _item(self, index: int, row: Row) -> Any:
        return row if self._which is None else (index + 1, *self._select(row, self._which))

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> list[Row]: ...
    def __getitem__(self, index: int | slice) -> Row | list[Row]:
        """Return an entry, counted from 0, or a list of several. Raises IndexError, `Closed`."""
        rows = self._open()
        if isinstance(index, slice):
            return [self._item(number, rows[number]) for number in range(len(rows))[index]]
        number = range(len(rows))[index]
        row: Row = self._item(number, rows[number])  # a tuple of the selected values, if letters were given
        return row

    def __iter__(self) -> Iterator[Any]:
        """Yield the entries."""
        for index, row in enumerate(self._open()):
            yield self._item(index, row)

    def __len__(self) -> int:
        """Return the number of entries."""
        return len(self._open())

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._rows is None

    def close(self) -> bool:
        """Forget the entries; return True. Closing twice is no error."""
        self._rows = None
        return True

    def __repr__(self) -> str:
        """The number of entries, or that it is closed."""
        return f"<{type(self).__name__} {'closed' if self._rows is None else f'of {len(self._rows)}'}>"


# -- processors -------------------------------------------------------------------------------------------------------


class CPU(NamedTuple):
    """A processor: model, clock in MHz, and the milliseconds spent in each mode since the system started."""

    model: str
    mhz: int
    user: int
    nice: int
    system: int
    irq: int
    idle: int


class CPUInfo(Information[CPU]):
    """The processors: the result of `cpuinfo`."""

    __slots__ = ()
    _letters = "mcunsdi"


def cpuinfo(which: str | None = None) -> CPUInfo:
    """Return a list of the processors of this machine.

    which: None: its entries are `CPU`, named tuples. Letters: tuples of the position (from 1) and the values that they
    select: "m" model, "c" clock (MHz); milliseconds spent on "u" user code, "n" user code of low priority, "s" the
    kernel, "d" device interrupts, "i" idling.
    Raises TypeError, ValueError, or `UVError`. Source: uv_cpu_info.
    """
    if which is not None:
        _check_letters(which, CPUInfo._letters)
    return CPUInfo([CPU._make(values) for values in info.cpus()], which)


# -- network interfaces -----------------------------------------------------------------------------------------------


class Interface(NamedTuple):
    """An address of a network interface; an interface with several addresses has several entries.

    internal: whether it leads only to this machine (loopback). prefix: the number of bits of the address that identify
    the network. mac, mac_binary: hardware address, as text ("00:00:00:00:00:00") and as 6 bytes.
    """

    name: str
    internal: bool
    domain: Domain
    prefix: int
    mask: bytes
    address: str
    binary: bytes
    mac: str
    mac_binary: bytes


class NetInfo(Information[Interface]):
    """The addresses of network interfaces: the result of `netinfo`."""

    __slots__ = ()
    _letters = "nidlmtbTB"


@overload
def netinfo(option: Literal["all"] = "all", which: str | None = None) -> NetInfo: ...
@overload
def netinfo(option: Literal["name", "id"], which: int) -> str: ...


def netinfo(option: str = "all", which: str | int | None = None) -> NetInfo | str:
    """Return information about network interfaces.

    option: "all": a list of the addresses of those that are up. "name": the name of the interface with the number
    `which` (1 and up, as the system counts). "id": the zone that names the interface after the % of an IPv6 address.
    which: for "all": None: the entries are `Interface`, named tuples. Letters: tuples of the position (from 1) and the
    values that they select: "n" name, "i" whether internal, "d" domain ("ipv4", "ipv6"), "l" bits of the network, "m"
    mask (bytes), "t" address as text, "b" as bytes, "T" hardware address as text, "B" as bytes.
    Raises TypeError, ValueError, or `UVError`: ENXIO (there is no such interface).
    Source: uv_interface_addresses, uv_if_indextoname, uv_if_indextoiid.
    """
    if check_choice("option", option, ("all", "name", "id")) == "all":
        letters = None if which is None else _check_letters(which, NetInfo._letters)
        return NetInfo([_interface(entry) for entry in info.interfaces()], letters)
    index = check_int("which", which, 1, 2**32 - 1, "the number of an interface (int)")
    return info.interface_name(index) if option == "name" else info.interface_id(index)


def _interface(entry: info.Interface) -> Interface:
    binary, mac = entry.address.binary, entry.mac
    domain: Domain = "ipv6" if len(binary) == 16 else "ipv4"
    literal = Address(domain, binary, 0).literal
    prefix = int.from_bytes(entry.mask).bit_count()
    return Interface(entry.name, entry.internal, domain, prefix, entry.mask, literal, binary, mac.hex(":"), mac)
