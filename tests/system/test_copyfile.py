"""Copies: what is copied whole, when copying ends, and how it is stopped."""

from __future__ import annotations

import os
import signal
import stat
import threading
import time
from functools import partial
from pathlib import Path

import pytest

from coutil import errors, system, uv
from coutil.scopes import move_on_after
from tests.helpers.pool import POOL
from tests.helpers.script import output_of, run_script

DATA = bytes(range(256)) * 2000


WAYS = {
    "system": system.copyfile,
    "system blocking": partial(system.copyfile, blocking=True),
    "uv": lambda *paths: uv.default_loop().fs.copyfile(*paths),  # noqa: PLW0108  # each test has a loop of its own
    "uv blocking": partial(uv.fs_copyfile, None),
    "request": lambda *paths: uv.default_loop().fs.copyfile_nowait(*paths).result(),
}


@pytest.fixture(params=WAYS)
def copy(request):
    """A function that copies a file."""
    return WAYS[request.param]


class Source:
    """A pipe with a name, whose end comes when it is told."""

    def __init__(self, path):
        os.mkfifo(path)
        self.path, self.writer = path, os.open(path, os.O_RDWR)

    def write(self, data):
        os.write(self.writer, data)

    def end(self):
        if self.writer >= 0:
            os.close(self.writer)
        self.writer = -1


@pytest.fixture
def pipe(tmp_path):
    """A pipe to copy from."""
    made = Source(tmp_path / "pipe")
    yield made
    made.end()


def wait_for(condition):
    """Let others run until something holds."""
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        system.suspend(0.001)


def size(path):
    return path.stat().st_size if path.exists() else -1


# -- what is copied ---------------------------------------------------------------------------------------------------

UNKNOWN = [
    path
    for path in ("/proc/filesystems", "/proc/cpuinfo", "/proc/sys/kernel/ostype", "/sys/class/net/lo/mtu")
    if os.path.exists(path)
]


@pytest.mark.parametrize("source", UNKNOWN)
def test_size_that_is_not_true(copy, source, tmp_path):
    """The system does not know the sizes of its own files: 0, or a page."""
    expected = Path(source).read_bytes()
    assert expected
    assert copy(source, tmp_path / "copy") is True
    assert (tmp_path / "copy").read_bytes() == expected


@pytest.mark.parametrize("count", [0, 1, 65536, 65537, (8 << 20) - 1, 8 << 20, (8 << 20) + 1])
def test_sizes(copy, count, tmp_path):
    """About the sizes of pieces."""
    data = (DATA * (1 + count // len(DATA)))[:count]
    (tmp_path / "file").write_bytes(data)
    assert copy(tmp_path / "file", tmp_path / "copy") is True
    assert (tmp_path / "copy").read_bytes() == data


def test_pipe(copy, pipe, tmp_path):
    """All that comes, to the end; the system cannot move it by itself."""
    feeder = threading.Thread(target=lambda: (pipe.write(DATA), pipe.end()))
    feeder.start()
    assert copy(pipe.path, tmp_path / "copy") is True
    feeder.join()
    assert (tmp_path / "copy").read_bytes() == DATA


def test_source_that_is_cut(copy, tmp_path):
    """A file that becomes shorter meanwhile ends where it ends now."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 30)
    cutter = threading.Timer(0.01, os.truncate, (path, 4096))
    cutter.start()
    assert copy(path, tmp_path / "copy") is True
    cutter.join()
    assert 0 < size(tmp_path / "copy") <= 1 << 30
    (tmp_path / "copy").unlink()


@pytest.mark.parametrize("mode", [0o400, 0o640, 0o755, 0o4711])
def test_permissions(copy, mode, tmp_path):
    """Those of the file, whatever the umask and the ones before."""
    path, old = tmp_path / "file", tmp_path / "old"
    for one in (path, old):
        one.write_bytes(b"old data")
    path.chmod(mode)
    old.chmod(0o666)
    before = os.umask(0o077)
    try:
        copy(path, tmp_path / "copy")
        copy(path, old)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(one.stat().st_mode) & 0o777 for one in (tmp_path / "copy", old)] == [mode & 0o777] * 2


def test_shorter_than_before(copy, tmp_path):
    """Nothing is left of what was there."""
    (tmp_path / "file").write_bytes(b"short")
    (tmp_path / "copy").write_bytes(DATA)
    assert copy(tmp_path / "file", tmp_path / "copy") is True
    assert (tmp_path / "copy").read_bytes() == b"short"


def test_same_file(copy, tmp_path):
    """It is a copy of itself already, under all of its names; nothing is lost."""
    path, link, hard = tmp_path / "file", tmp_path / "link", tmp_path / "hard"
    path.write_bytes(DATA)
    link.symlink_to(path)
    hard.hardlink_to(path)
    for one in (path, link, hard):
        assert copy(path, one) is copy(one, path) is True
    assert path.read_bytes() == DATA


def test_by_links(copy, tmp_path):
    """Both paths may be links: files are copied, not links."""
    for name in ("file", "copy"):
        (tmp_path / f"{name}-link").symlink_to(tmp_path / name)
    (tmp_path / "file").write_bytes(DATA)
    assert copy(tmp_path / "file-link", tmp_path / "copy-link") is True
    assert (tmp_path / "copy").read_bytes() == DATA
    assert (tmp_path / "copy-link").is_symlink()


# -- what is not a file -----------------------------------------------------------------------------------------------


def test_folder(copy, tmp_path):
    """A folder is no file, and nothing is made."""
    with pytest.raises(IsADirectoryError):
        copy(tmp_path, tmp_path / "copy")
    assert os.listdir(tmp_path) == []


def test_devices(copy, tmp_path):
    """Devices are written to; they are not emptied, get no other permissions, and are not removed."""
    (tmp_path / "file").write_bytes(DATA)
    before = [os.stat(path) for path in ("/dev/null", "/dev/full")]
    assert copy(tmp_path / "file", "/dev/null") is True
    with pytest.raises(errors.UVError) as caught:
        copy(tmp_path / "file", "/dev/full")
    assert caught.value.name == "ENOSPC"
    after = [os.stat(path) for path in ("/dev/null", "/dev/full")]
    assert [(one.st_mode, one.st_rdev) for one in before] == [(one.st_mode, one.st_rdev) for one in after]
    assert copy("/dev/null", tmp_path / "copy") is True
    assert size(tmp_path / "copy") == 0


def test_pipe_without_a_reader(copy, pipe, tmp_path):
    """It is not waited for."""
    pipe.end()
    (tmp_path / "file").write_bytes(DATA)
    with pytest.raises(errors.UVError) as caught:
        copy(tmp_path / "file", pipe.path)
    assert caught.value.name == "ENXIO"
    assert stat.S_ISFIFO(pipe.path.stat().st_mode)


def test_to_a_pipe(copy, pipe, tmp_path):
    """More than it holds, at its reader's pace."""
    (tmp_path / "file").write_bytes(DATA)
    got = bytearray()

    def read():
        while len(got) < len(DATA):
            got.extend(os.read(pipe.writer, 5000))

    taker = threading.Thread(target=read)
    taker.start()
    assert copy(tmp_path / "file", pipe.path) is True
    taker.join()
    assert got == DATA


# -- copies that fail -------------------------------------------------------------------------------------------------

LIMITED = """
import os, resource
from coutil import errors, system, uv
open("file", "wb").write(bytes(1 << 20))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for call in (system.copyfile, uv.default_loop().fs.copyfile, lambda *paths: uv.fs_copyfile(None, *paths)):
    for old in (False, True):
        if old:
            open("copy", "wb").write(b"old")
        try:
            call("file", "copy")
        except OSError as error:
            print(error.name, os.listdir("."))
"""


def test_what_fails_is_removed(tmp_path):
    """No part of a copy stays, as libuv does it."""
    lines = output_of(f"import os; os.chdir({str(tmp_path)!r})\n{LIMITED}")
    assert lines == ["EFBIG ['file']"] * 6


def test_what_has_another_name_stays(pipe, tmp_path):
    """The file is removed that was made, not one that bears its name by now."""
    pipe.write(b"begin")
    request = uv.default_loop().fs.copyfile_nowait(pipe.path, tmp_path / "copy")
    wait_for(lambda: size(tmp_path / "copy") == 5)
    (tmp_path / "copy").rename(tmp_path / "moved")
    (tmp_path / "copy").write_text("of another")
    request.cancel()
    with pytest.raises(errors.UVError):
        request.result()
    assert (tmp_path / "copy").read_text() == "of another"


def test_relative_path_and_another_folder(pipe, tmp_path, monkeypatch):
    """What is removed is where it was made."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "copy").write_text("of another")
    monkeypatch.chdir(tmp_path)
    pipe.write(b"begin")
    request = uv.default_loop().fs.copyfile_nowait(pipe.path, "copy")
    wait_for(lambda: size(tmp_path / "copy") == 5)
    system.setdir(str(tmp_path / "elsewhere"))
    request.cancel()
    with pytest.raises(errors.UVError):
        request.result()
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "pipe"]
    assert Path("copy").read_text() == "of another"


# -- copies that are stopped ------------------------------------------------------------------------------------------


def test_deadline(pipe, tmp_path):
    """The wait ends, the copying too, and what there was of the copy is gone."""
    pipe.write(DATA[:1000])
    with move_on_after(0.05) as limit:
        system.copyfile(pipe.path, tmp_path / "copy")
    assert limit.expired
    wait_for(lambda: not (tmp_path / "copy").exists())


def test_all_threads_of_the_pool(pipe, tmp_path):
    """Copies that may last for ever keep the pool no longer than they are wanted."""
    with move_on_after(0.05):
        requests = [
            uv.default_loop().fs.copyfile_nowait(pipe.path, tmp_path / str(number)) for number in range(2 * POOL)
        ]
        wait_for(lambda: False)
    for request in requests:
        request.cancel()
    assert system.fileinfo(pipe.path, "type") == "pipe"
    for request in requests:
        with pytest.raises(errors.UVError) as caught:
            request.result()
        assert caught.value.name == "ECANCELED"
    assert os.listdir(tmp_path) == ["pipe"]


def test_request_that_is_cancelled(pipe, tmp_path):
    """Cancelling works as long as the copy goes on; afterwards it is EBUSY, and the copy stays."""
    fs = uv.default_loop().fs
    request = fs.copyfile_nowait(pipe.path, tmp_path / "copy")
    wait_for(lambda: size(tmp_path / "copy") == 0)
    request.cancel()
    with pytest.raises(errors.UVError) as caught:
        request.result()
    assert (caught.value.name, size(tmp_path / "copy")) == ("ECANCELED", -1)
    pipe.write(b"data")
    request = fs.copyfile_nowait(pipe.path, tmp_path / "copy")
    wait_for(lambda: size(tmp_path / "copy") == 4)
    pipe.end()
    assert request.result() is True
    with pytest.raises(errors.UVError) as caught:
        request.cancel()
    assert (caught.value.name, size(tmp_path / "copy")) == ("EBUSY", 4)


@pytest.mark.parametrize("way", ["system blocking", "uv blocking"])
def test_interrupt(way, pipe, tmp_path):
    """Ctrl-C ends a copy that stops the thread, too."""

    def interrupt():
        while not (tmp_path / "copy").exists():
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGINT)

    interrupter = threading.Thread(target=interrupt)
    interrupter.start()
    with pytest.raises(KeyboardInterrupt):
        WAYS[way](pipe.path, tmp_path / "copy")
    interrupter.join()
    assert not (tmp_path / "copy").exists()


def test_loop_that_is_closed(pipe, tmp_path):
    """Closing a loop stops its copies."""
    loop = uv.Loop()
    request = loop.fs.copyfile_nowait(pipe.path, tmp_path / "copy")
    while not (tmp_path / "copy").exists():
        loop.run("nowait")
    loop.close(force=True)
    with pytest.raises(OSError, match=r"ECANCELED|was closed"):
        request.result()
    wait_for(lambda: not (tmp_path / "copy").exists())


EXIT = """
import os, sys, threading
from coutil import coroutine, spawn, system, uv
def begin(call):
    call()
    while not os.path.exists(copy):
        system.suspend(0.001)
"""
STARTS = {
    "coroutine": "kept = spawn.call(system.copyfile, path, copy); begin(lambda: None)",
    "request": "kept = []; begin(lambda: kept.append(uv.default_loop().fs.copyfile_nowait(path, copy)))",
    "thread": "threading.Thread(target=system.copyfile, args=(path, copy), daemon=True).start(); begin(lambda: None)",
}


@pytest.mark.slow
@pytest.mark.parametrize("start", STARTS)
def test_end_of_the_process(start, pipe, tmp_path):
    """It does not wait for a copy that may last for ever; and no part of that stays."""
    arguments = [str(pipe.path), str(tmp_path / "copy")]
    done = run_script(f"path, copy = {arguments}\n{EXIT}\n{STARTS[start]}\nsys.exit(7)")
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert os.listdir(tmp_path) == ["pipe"]


def test_child_of_a_fork(tmp_path):
    """A child that ends, or goes on with the loop, leaves its parent's copy alone."""
    assert output_of(f"""
import os
from coutil import errors, system, uv
os.chdir({str(tmp_path)!r})
os.mkfifo("pipe")
writer = os.open("pipe", os.O_RDWR)
loop = uv.default_loop()
request = loop.fs.copyfile_nowait("pipe", "copy")
os.write(writer, b"first, ")
while not os.path.exists("copy") or not os.path.getsize("copy"):
    system.suspend(0.001)
for again in (False, True):
    child = os.fork()
    if not child:
        if again:
            loop.fork()
            try:
                request.result()
            except errors.UVError as error:
                assert error.name == "ECANCELED"
        del request
        os._exit(os.path.exists("copy"))
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
os.write(writer, b"second")
while os.path.getsize("copy") < 13:
    system.suspend(0.001)
os.close(writer)
print(request.result(), open("copy").read())
""") == ["1", "1", "True first, second"]
