"""`system.procinfo`, `system.cpuinfo` and `system.netinfo`."""

import os
import platform
import pwd
import resource
import socket
import sys
import tempfile
import time
from collections.abc import Sequence
from itertools import chain

import pytest

from coutil import errors, system
from coutil._libuv import info

STRINGS, INTEGERS, FLOATS = "enThkvV$HU", "ugR=dm<>iopPSwxX#^bfMr", "cs1lLt"
LETTERS = STRINGS + INTEGERS + FLOATS
STATIC = "enThkvV$HUug#^bM"
TYPES = {**dict.fromkeys(STRINGS, str), **dict.fromkeys(INTEGERS, int), **dict.fromkeys(FLOATS, float)}
EVERY_BYTE = [chr(number) for number in range(256)]

# -- the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "letters"),
    [
        (system.procinfo, LETTERS),
        (system.cpuinfo, "mcunsdi"),
        (lambda which: system.netinfo("all", which), "nidlmtbTB"),
        (lambda which: system.cpuinfo().get(which, 1), "mcunsdi"),
    ],
    ids=["procinfo", "cpuinfo", "netinfo", "get"],
)
def test_other_letters_are_refused(call, letters):
    """INF-1, INF-4, INF-5: every other character is a ValueError that names it, alone and beside good ones."""
    for char in set(EVERY_BYTE) - set(letters):
        for which in (char, letters + char, char + letters):
            with pytest.raises(ValueError, match="which ") as caught:
                call(which)
            assert repr(char) in str(caught.value)
    for wrong in (7, b"m", ["m"], True):
        with pytest.raises(TypeError, match="which "):
            call(wrong)


@pytest.mark.parametrize("letter", LETTERS)
def test_each_alone_and_three_times(letter):
    """INF-2: one letter brings a value of its type, three a tuple of three, equal ones."""
    value = system.procinfo(letter)
    assert type(value) is TYPES[letter]
    first, second, third = system.procinfo(letter * 3)
    assert first == second == third  # one call of the system
    assert type(third) is TYPES[letter]
    if letter in STATIC:
        assert value == first


def test_all_at_once():
    """INF-3: as many values as letters, in their order; none for no letter."""
    found = system.procinfo(LETTERS)
    assert [type(value) for value in found] == [TYPES[letter] for letter in LETTERS]
    assert system.procinfo(LETTERS[::-1])[::-1][:12] == found[:12]
    assert system.procinfo("") == ()


def test_named_tuple():
    """Without letters everything has a name, and the same value."""
    found = system.procinfo()
    assert isinstance(found, system.ProcInfo)
    assert len(found) == len(LETTERS)
    assert (found.executable, found.hostname, found.tmpdir) == system.procinfo("enT")
    assert (found.machine, found.kernel, found.release, found.version) == system.procinfo("hkvV")
    assert (found.shell, found.home, found.user, found.uid, found.gid) == system.procinfo("$HUug")
    assert (found.pid, found.parent, found.memory, found.memory_limit) == system.procinfo("#^bM")
    assert [type(value) for value in found] == [TYPES[letter] for letter in found_letters()]


def found_letters():
    """Return the letters in the order of the fields, which is that of the error message."""
    with pytest.raises(ValueError, match="consist") as caught:
        system.procinfo("?")
    letters = str(caught.value).split("'")[1]
    assert sorted(letters) == sorted(LETTERS)
    return letters


def test_values():
    """INF-2: what other sources say, too."""
    assert os.path.samefile(system.procinfo("e"), os.path.realpath(sys.executable))
    assert system.procinfo("nT") == (socket.gethostname(), tempfile.gettempdir())
    assert system.procinfo("hkvV") == (platform.machine(), platform.system(), platform.release(), platform.version())
    user = pwd.getpwuid(os.geteuid())
    assert system.procinfo("$HUug") == (user.pw_shell, user.pw_dir, user.pw_name, os.geteuid(), os.getegid())
    assert system.procinfo("#^") == (os.getpid(), os.getppid())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert system.procinfo("b") == pytest.approx(pages, rel=0.1)
    assert 0 < system.procinfo("f") <= system.procinfo("b")


def test_usage():
    """INF-2: what getrusage(2) says, in bytes and seconds; it only grows."""
    before, found, after = (
        resource.getrusage(resource.RUSAGE_SELF),
        system.procinfo(),
        resource.getrusage(resource.RUSAGE_SELF),
    )
    for ours, theirs in {
        "minor_faults": "minflt",
        "major_faults": "majflt",
        "blocks_read": "inblock",
        "blocks_written": "oublock",
        "voluntary_switches": "nvcsw",
        "involuntary_switches": "nivcsw",
        "swaps": "nswap",
        "signals": "nsignals",
        "messages_sent": "msgsnd",
        "messages_received": "msgrcv",
    }.items():
        assert getattr(before, f"ru_{theirs}") <= getattr(found, ours) <= getattr(after, f"ru_{theirs}"), ours
    for ours, theirs in (("cpu_user", "ru_utime"), ("cpu_system", "ru_stime")):
        low, value, high = (
            round(1e6 * seconds) for seconds in (getattr(before, theirs), getattr(found, ours), getattr(after, theirs))
        )
        assert low <= value <= high, ours
    assert before.ru_maxrss * 1024 <= found.max_resident <= after.ru_maxrss * 1024
    assert 1 << 20 < found.resident < 1 << 34


def test_times_and_loads():
    """INF-2: seconds since the start of the system, and the three load averages."""
    assert system.procinfo("t") == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=30)
    assert system.procinfo("1lL") == pytest.approx(os.getloadavg(), abs=0.5)
    assert all(load >= 0 for load in system.procinfo("1lL"))


def test_what_the_system_cannot_tell(monkeypatch):
    """A user without an entry: an error if that is what was asked for, else None among the rest."""

    def missing():
        raise errors.ENOENT(2, "no such file or directory")

    monkeypatch.setattr(info, "passwd", missing)
    for which in ("$", "H", "U", "eU"):
        with pytest.raises(FileNotFoundError):
            system.procinfo(which)
    found = system.procinfo()
    assert found.shell is found.home is found.user is None
    assert found.uid == os.geteuid()
    assert system.procinfo("u") == found.uid


def test_each_source_is_asked_once(monkeypatch):
    """INF-3: and those that are not needed not at all."""
    asked = []

    def counted(name, function):
        def call():
            asked.append(name)
            return function()

        return call

    names = ["exepath", "hostname", "tmpdir", "uname", "passwd", "usage", "memory", "resident", "load", "uptime"]
    for name in names:
        monkeypatch.setattr(info, name, counted(name, getattr(info, name)))
    system.procinfo(LETTERS * 2)
    assert sorted(asked) == sorted(names)
    asked.clear()
    assert len(system.procinfo("hUbkb")) == 5
    assert sorted(asked) == ["memory", "passwd", "uname"]


# -- processors --------------------------------------------------------------------------------------------------------

CPU_FIELDS = {"m": "model", "c": "mhz", "u": "user", "n": "nice", "s": "system", "d": "irq", "i": "idle"}


def test_processors():
    """INF-4: as many as there are; a named tuple for each."""
    with system.cpuinfo() as found:
        rows = list(found)
        assert len(found) == len(rows) == os.cpu_count() > 0
        assert repr(found) == f"<CPUInfo of {len(rows)}>"
    for row in rows:
        assert row._fields == tuple(CPU_FIELDS.values())
        assert [type(value) for value in row] == [str, *[int] * 6]
        assert row.model
        assert row.idle > 0
        assert min(row[1:]) >= 0


def test_selected_columns_of_processors():
    """INF-4: tuples of the position and what the letters select: one, three times the same, all, none."""
    rows = list(system.cpuinfo())
    for letter, field in CPU_FIELDS.items():
        single, triple = list(system.cpuinfo(letter)), list(system.cpuinfo(letter * 3))
        assert [position for position, _ in single] == list(range(1, len(rows) + 1))
        assert all(a == b == c for _, a, b, c in triple)
        kind = type(getattr(rows[0], field))
        assert all(type(value) is kind for _, value in single)
    assert [row[1:3] for row in system.cpuinfo("mcunsdi")] == [row[:2] for row in rows]
    assert [len(row) for row in system.cpuinfo("mcunsdi")] == [8] * len(rows)
    assert list(system.cpuinfo("")) == [(position,) for position in range(1, len(rows) + 1)]


def test_times_of_processors():
    """INF-4: what /proc/stat says, in milliseconds."""
    tick = 1000 // os.sysconf("SC_CLK_TCK")

    def stat():
        with open("/proc/stat", encoding="ascii") as lines:
            rows = [line.split()[1:] for line in lines if line.startswith("cpu") and line[3].isdigit()]
        return [[int(row[at]) * tick for at in (0, 1, 2, 5, 3)] for row in rows]

    before, found, after = stat(), [row[1:] for row in system.cpuinfo("unsdi")], stat()
    assert len(before) == len(found) == len(after)
    for low, value, high in zip(*map(chain.from_iterable, (before, found, after)), strict=True):
        assert low - 10 * tick <= value <= high + 10 * tick  # the kernel's idle times may step back a little


def test_get_of_processors():
    """INF-4, INF-6: one entry by its position; there is nothing before the first or after the last."""
    found = system.cpuinfo("m")
    rows = dict(found)
    for position, model in rows.items():
        assert found.get("m", position) == model
        assert found.get("mm", position) == (model, model)
        assert found.get("", position) == ()
        assert found.get("cudnis", position) == tuple(found.get(letter, position) for letter in "cudnis")
    for position in (0, -1, len(found) + 1, 1 << 70):
        assert found.get("m", position) is None
    for wrong in ("1", 1.0, None, True):
        with pytest.raises(TypeError, match="position "):
            found.get("m", wrong)


@pytest.mark.parametrize("call", [system.cpuinfo, system.netinfo])
def test_lists_are_sequences(call):
    """Items are counted from 0, unlike the positions; slices are lists."""
    found = call()
    rows = list(found)
    assert isinstance(found, Sequence)
    assert (found[0], found[-1], found[:]) == (rows[0], rows[-1], rows)
    assert (list(reversed(found)), found[::-1]) == (rows[::-1], rows[::-1])
    assert rows[-1] in found
    assert found.index(rows[-1]) == rows.index(rows[-1])
    for wrong in (len(rows), -len(rows) - 1):
        with pytest.raises(IndexError):
            found[wrong]


def test_a_sequence_of_letters():
    """Its items have the position first, which counts from 1."""
    found = system.cpuinfo("m")
    assert found[0] == (1, system.cpuinfo()[0].model)
    assert found[-1] == (len(found), system.cpuinfo()[-1].model)
    assert found[-1:] == [found[-1]]


@pytest.mark.parametrize("call", [system.cpuinfo, system.netinfo])
def test_closed_lists(call):
    """INF-4, INF-8: every use is `Closed`; closing twice is fine."""
    with call() as found:
        assert found.closed is False
        assert found.close() is found.close() is True
        assert found.closed is True
        for use in (
            lambda: len(found),
            lambda: list(found),
            lambda: found[0],
            lambda: found.get("n", 1),
            lambda: found.get("n", 99),
        ):
            with pytest.raises(errors.Closed, match="closed"):
                use()
        assert repr(found) == f"<{type(found).__name__} closed>"
    assert list(call()) != []


# -- network interfaces ------------------------------------------------------------------------------------------------

NET_FIELDS = {
    "n": "name",
    "i": "internal",
    "d": "domain",
    "l": "prefix",
    "m": "mask",
    "t": "address",
    "b": "binary",
    "T": "mac",
    "B": "mac_binary",
}


@pytest.mark.parametrize("option", ["name", "id"])
def test_names_of_interfaces(option):
    """INF-5: by the number that the system gave them; others are errors."""
    for number, name in socket.if_nameindex():
        assert system.netinfo(option, number) == name
    with pytest.raises(TypeError, match="which "):
        system.netinfo(option)
    for wrong in ("1", 1.0, True):
        with pytest.raises(TypeError, match="which "):
            system.netinfo(option, wrong)
    for wrong in (0, -1, 1 << 32, 1 << 70):
        with pytest.raises(ValueError, match="which "):
            system.netinfo(option, wrong)
    with pytest.raises(errors.UVError) as caught:
        system.netinfo(option, (1 << 32) - 1)
    assert (caught.value.name, caught.value.syscall[:10]) == ("ENXIO", "uv_if_inde")


def test_wrong_options():
    """INF-5: a ValueError, or a TypeError for what is no string."""
    for wrong in ("", "names", "ALL", "all\0"):
        with pytest.raises(ValueError, match="option "):
            system.netinfo(wrong, 1)
    for wrong in (None, 1, b"all", True):
        with pytest.raises(TypeError, match="option "):
            system.netinfo(wrong)


def test_interfaces():
    """INF-7: each entry has values of the right type, and literal and binary forms of the same addresses."""
    with system.netinfo() as found:
        rows = list(found)
        assert len(found) == len(rows) > 0
    for row in rows:
        assert row._fields == tuple(NET_FIELDS.values())
        assert [type(value) for value in row] == [str, bool, str, int, bytes, str, bytes, str, bytes]
        assert row.domain in ("ipv4", "ipv6")
        size = len(row.binary)
        assert size == len(row.mask) == {"ipv4": 4, "ipv6": 16}[row.domain]
        assert 0 <= row.prefix <= 8 * size
        assert int.from_bytes(row.mask) == ((1 << row.prefix) - 1) << (8 * size - row.prefix)
        from_text = system.address(row.domain, row.address, 7)
        assert from_text == system.address(row.domain, row.binary, 7, binary=True)
        assert len(row.mac_binary) == 6
        assert bytes.fromhex(row.mac.replace(":", "")) == row.mac_binary


def test_loopback_interface():
    """INF-7: the one that every machine has."""
    lo = next(row for row in system.netinfo() if row.address == "127.0.0.1")
    assert (lo.internal, lo.domain, lo.prefix, lo.mask) == (True, "ipv4", 8, b"\xff\0\0\0")
    assert (lo.mac, lo.mac_binary) == ("00:00:00:00:00:00", bytes(6))
    assert lo.name in [name for _, name in socket.if_nameindex()]
    assert all(row.internal for row in system.netinfo("all") if row.name == lo.name)


def test_selected_columns_of_interfaces():
    """INF-6, INF-7: tuples of the position and what the letters select; nothing at positions that do not exist."""
    rows = list(system.netinfo())
    found = system.netinfo("all", "".join(NET_FIELDS))
    assert list(found) == [(position, *row) for position, row in enumerate(rows, 1)]
    assert list(system.netinfo("all", "")) == [(position,) for position in range(1, len(rows) + 1)]
    for letter, field in NET_FIELDS.items():
        values = [getattr(row, field) for row in rows]
        assert [value for _, value in system.netinfo("all", letter)] == values
        assert [found.get(letter, position) for position in range(1, len(rows) + 1)] == values
        assert found.get(letter * 3, 1) == (values[0],) * 3
        assert found.get(letter, 0) is found.get(letter, len(rows) + 1) is None
