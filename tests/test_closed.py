"""`closed`: whether an object that can be closed is."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
import threading

import pytest

from coutil import sync, system, uv


def process():
    return system.start("cat", stdin="w", stdout="r")


MAKERS = {
    "stream": lambda: system.socket("stream", "ipv4"),
    "passive": lambda: system.socket("passive", "ipv6"),
    "datagram": lambda: system.socket("datagram", "ipv4"),
    "local stream": lambda: system.socket("stream", "local"),
    "local passive": lambda: system.socket("passive", "local"),
    "share stream": lambda: system.socket("stream", "share"),
    "share passive": lambda: system.socket("passive", "share"),
    "process": process,
    "folder": lambda: system.listdir(os.curdir),
    "watch": lambda: system.watch(os.curdir),
    "addresses": lambda: system.findaddr("127.0.0.1", 80),
    "processors": system.cpuinfo,
    "interfaces": system.netinfo,
    "file": lambda: system.openfile(__file__),
    "queue": lambda: sync.Queue(1),
    "uv handle": uv.Timer,
    "uv folder": lambda: uv.default_loop().fs.opendir(os.curdir),
    "uv library": lambda: uv.Lib("libc.so.6"),
    "uv loop": uv.Loop,
}


@pytest.mark.parametrize("name", MAKERS)
def test_closed(name):
    """False until `close` is called, then true; closing again changes nothing."""
    one = MAKERS[name]()
    assert one.closed is False
    one.close()
    assert one.closed is True
    one.close()
    assert one.closed is True


@pytest.mark.parametrize("name", [name for name in MAKERS if name != "uv handle"])  # which is `closing` then
def test_closed_by_a_block(name):
    """It is closed when the block is left."""
    with MAKERS[name]() as one:
        assert one.closed is False
    assert one.closed is True


def test_pipes_of_a_process():
    """A process is closed when all of its pipes are; one without pipes has nothing to close."""
    child = process()
    assert (child.closed, child.stdin.closed, child.stdout.closed) == (False, False, False)
    child.stdin.close()
    assert (child.closed, child.stdin.closed, child.stdout.closed) == (False, True, False)
    child.stdout.close()
    assert child.closed is True
    assert child.wait() == ("exit", 0)
    child = system.start("true")
    assert child.closed is True
    assert child.wait() == ("exit", 0)


def test_terminal():
    """The same for a standard stream that is a terminal."""
    script = (
        "from coutil import system\n"
        "with system.stdin as stream: print(type(stream).__name__, stream.closed)\n"
        "print(stream.closed)\n"
    )
    ours, theirs = pty.openpty()
    try:
        shown = subprocess.check_output([sys.executable, "-c", script], stdin=theirs, timeout=20)
    finally:
        os.close(ours)
        os.close(theirs)
    assert shown == b"Terminal False\nTrue\n"


def test_closed_by_their_end(tmp_path):
    """A folder and a watch close themselves when there is no more."""
    folder = system.listdir(tmp_path)
    assert list(folder) == []
    assert folder.closed is True
    there = tmp_path / "there"
    there.mkdir()
    watch = system.watch(there)
    there.rmdir()
    assert list(watch) != []
    assert watch.closed is True


def test_closed_by_the_end_of_the_loop():
    """What was open when its thread ended is closed."""
    made = []
    thread = threading.Thread(
        target=lambda: made.extend((system.socket("stream", "ipv4"), system.watch(os.curdir), uv.Loop()))
    )
    thread.start()
    thread.join()
    assert [one.closed for one in made] == [True, True, True]
