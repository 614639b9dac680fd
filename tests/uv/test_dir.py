"""Folders that are read bit by bit. After libuv's and luv's own tests."""

import gc
import os
from contextlib import suppress

import pytest

from coutil import errors, spawn, uv
from coutil._libuv import lib
from tests.uv.pool import busy_pool


@pytest.fixture
def folder(tmp_path):
    """The path of a folder with 100 files."""
    for number in range(100):
        (tmp_path / f"{number:02}").touch()
    return tmp_path


def names(entries):
    """The names of entries, sorted."""
    return sorted(name for name, _ in entries)


@pytest.mark.parametrize("entries", [1, 50, 100, 256, 10_000])
@pytest.mark.parametrize("blocking", [False, True])
def test_reads(loop, folder, entries, blocking):
    """fs_readdir_non_empty_dir: so many at once, until there are no more; then again and again []."""
    opened = uv.fs_opendir(None if blocking else loop, folder, entries)
    found = []
    while some := uv.fs_readdir(opened):
        assert len(some) <= entries
        found += some
    assert names(found) == [f"{number:02}" for number in range(100)]
    assert {kind for _, kind in found} == {"file"}
    assert opened.read() == []
    assert uv.fs_closedir(opened) is True


def test_empty_folder(loop, tmp_path):
    """fs_readdir_empty_dir."""
    with loop.fs.opendir(tmp_path) as opened:
        assert repr(opened) == f"<Dir {tmp_path!r} open>"
        assert opened.read() == list(opened) == []
    assert repr(opened) == f"<Dir {tmp_path!r} closed>"


def test_what_is_no_folder(loop, folder):
    """fs_readdir_non_existing_dir, fs_readdir_file."""
    with pytest.raises(FileNotFoundError):
        loop.fs.opendir(folder / "none")
    with pytest.raises(NotADirectoryError):
        loop.fs.opendir(folder / "00")
    for wrong, kind in ((0, ValueError), (-1, ValueError), ("1", TypeError), (True, TypeError)):
        with pytest.raises(kind, match="entries"):
            loop.fs.opendir(folder, wrong)


def test_iteration_and_reads(loop, folder):
    """Entries come once, whichever way; names are bytes if the path is."""
    with loop.fs.opendir(os.fsencode(folder), 10) as opened:
        first = next(opened)
        rest = opened.read()
        assert len(rest) == 9
        assert names([first, *rest, *opened]) == [b"%02d" % number for number in range(100)]
        with pytest.raises(StopIteration):
            next(opened)


def test_thousand_folders(loop, tmp_path):
    """They are closed when they are forgotten, also with entries left; no descriptor stays."""
    (tmp_path / "file").touch()
    for number in range(1000):
        opened = loop.fs.opendir(tmp_path, 1)
        if number % 3 == 0:
            opened.read()
        if number % 7 == 0:
            assert opened.close() is opened.close() is True
    del opened
    gc.collect()
    assert not [one for one in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{one}") == str(tmp_path)]


def test_closed(loop, tmp_path):
    """Every use of a closed folder is Closed; closing twice is fine."""
    opened = loop.fs.opendir(tmp_path)
    opened.close()
    assert opened.close() is True
    for use in (opened.read, lambda: next(opened)):
        with pytest.raises(errors.Closed):
            use()


def test_one_at_a_time(loop, folder):
    """While a coroutine waits in a read, others, and close, are BusyError."""
    opened, log = loop.fs.opendir(folder, 60), []

    def handler():
        reader = spawn.call(lambda: log.append(len(opened.read())))
        for use in (opened.read, opened.close, lambda: next(opened)):
            with pytest.raises(errors.BusyError, match="is being read"):
                use()
        assert reader.status == "suspended"

    loop.call_threadsafe(handler)
    loop.run()
    while not log:
        loop.run("once")
    assert log == [60]
    assert len(opened.read()) == 40
    opened.close()


def test_read_that_is_given_up(loop, folder):
    """No entry is lost; until libuv is done another read is BusyError, and a close closes when it is."""
    for close in (False, True):
        opened = loop.fs.opendir(folder, 60)

        def handler(opened=opened, close=close):
            reader = spawn.call(opened.read)
            reader.close()
            if close:
                assert opened.close() is True
            else:
                with pytest.raises(errors.BusyError):
                    opened.read()

        loop.call_threadsafe(handler)
        loop.run("once")
        loop.run()
        if not close:
            assert len(opened.read()) + len(opened.read()) == 100
            opened.close()
    loop.run()


def test_close_that_is_given_up(loop, folder):
    """The folder is closed even so."""
    opened = loop.fs.opendir(folder)
    with busy_pool(loop):
        closing = []
        loop.call_threadsafe(lambda: closing.append(spawn.call(opened.close)))
        loop.run("nowait")
        assert closing[0].status == "suspended"
        closing[0].close()
        with pytest.raises(errors.Closed):
            opened.read()
    loop.run()
    assert loop._hub.in_flight() == 0


def test_loop_that_ends(loop, folder):
    """A loop that is closed while folders are open, read or being closed leaves none open, nor closes one twice."""
    ending = uv.Loop()
    folders = [ending.fs.opendir(folder) for _ in range(4)]
    folders[3].read()
    with busy_pool(loop):
        for one in (folders[0].read, folders[1].close, folders[3].close):
            spawn_in(ending, one)
        ending.run("nowait")
        ending.close(force=True)
    with pytest.raises(errors.Closed):
        folders[2].read()
    del folders, one
    gc.collect()
    assert not [one for one in os.listdir("/proc/self/fd") if os.path.realpath(f"/proc/self/fd/{one}") == str(folder)]


def spawn_in(loop, function):
    """Have a coroutine of the loop call a function that may be cancelled."""

    def body():
        with suppress(uv.UVError, errors.Closed):
            function()

    loop.call_threadsafe(spawn.call, body)


def test_size_of_the_folder_in_c():
    """What C reads at once has room for a handful of the longest names."""
    assert lib.CO_PACKED > 10 * 4096
