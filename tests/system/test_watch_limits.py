"""Limits of inotify, which belong to a user: the error names the one that was met."""

from __future__ import annotations

import errno

import pytest

from tests.helpers.script import output_of

PRELUDE = """
import ctypes, os, resource
from coutil import system, uv
uid, NEWUSER = os.getuid(), 0x10000000
if ctypes.CDLL(None).unshare(NEWUSER):
    raise SystemExit(print("no user namespaces here"))
open("/proc/self/uid_map", "w").write(f"0 {uid} 1")
def limit(what, number):
    open(f"/proc/sys/user/max_inotify_{what}", "w").write(str(number))
def attempt(call):
    try:
        call()
    except OSError as error:
        print(error.errno, error)
def event():
    with uv.new_fs_event() as handle:
        handle.start("/usr")
def events():
    with uv.new_fs_event() as one, uv.new_fs_event() as other:
        one.start("/usr")
        other.start("/etc")
calls = [lambda: system.watch("/usr"), lambda: system.watch(b"/usr"), lambda: system.awaitpath("/usr"), event]
"""


def errors(text):
    lines = output_of(PRELUDE + text)
    if lines == ["no user namespaces here"]:
        pytest.skip(lines[0])
    return lines


def test_instances():
    """Not even one can be had; the process has descriptors enough."""
    lines = errors("limit('instances', 0)\nfor call in calls: attempt(call)")
    assert len(lines) == 4
    for line in lines:
        assert line.startswith(f"{errno.EMFILE} ")
        assert "fs.inotify.max_user_instances" in line
        assert "/usr" in line


def test_watches():
    """Paths are what is counted, not bytes on a disk."""
    lines = errors("limit('watches', 0)\nfor call in calls: attempt(call)\nlimit('watches', 1); attempt(events)")
    assert len(lines) == 5
    for line in lines:
        assert line.startswith(f"{errno.ENOSPC} ")
        assert "fs.inotify.max_user_watches" in line


def test_watches_below():
    """A tree is watched folder by folder."""
    (line,) = errors("limit('watches', 3); attempt(lambda: system.watch('/usr', recursive=True))")
    assert line.startswith(f"{errno.ENOSPC} ")
    assert "fs.inotify.max_user_watches" in line


def test_descriptors():
    """The same code, but the limit of the process."""
    lines = errors(
        "system.suspend(); soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir('/proc/self/fd')) - 1, hard))\n"
        "attempt(calls[2])\n"
    )
    assert len(lines) == 1
    assert lines[0].startswith(f"{errno.EMFILE} ")
    assert "inotify.max" not in lines[0]
