"""fs.sendfile: how much it moves, to what, and how it is stopped."""

from __future__ import annotations

import os
import time
from functools import partial

import pytest

from coutil import errors, uv
from coutil.scopes import move_on_after
from tests.helpers.pool import POOL

DATA = bytes(range(256)) * 2000


@pytest.fixture(params=["method", "flat", "blocking"])
def sendfile(request, loop):
    """The function, in each of the ways that it can be called."""
    return (
        loop.fs.sendfile
        if request.param == "method"
        else partial(uv.fs_sendfile, loop if request.param == "flat" else None)
    )


@pytest.fixture
def source(tmp_path):
    """A descriptor to read DATA from."""
    (tmp_path / "source").write_bytes(DATA)
    fd = os.open(tmp_path / "source", os.O_RDONLY)
    yield fd
    os.close(fd)


@pytest.fixture
def ends():
    """A pipe."""
    made = os.pipe()
    yield made
    for end in made:
        os.close(end)


def fill(writer):
    """Write until nothing fits in; return how much."""
    os.set_blocking(writer, False)
    written = 0
    while True:
        try:
            written += os.write(writer, b"full" * 1024)
        except BlockingIOError:
            return written


@pytest.mark.parametrize("flags", [0, os.O_APPEND])
def test_to_a_file(sendfile, source, flags, tmp_path):
    """As much as there is from the offset on; positions are those of the target."""
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT | flags)
    assert sendfile(target, source, 5, 3) == 3
    assert sendfile(target, source, 0, 2**62) == len(DATA)
    assert sendfile(target, source, len(DATA) - 1, 2) == 1
    assert (
        sendfile(target, source, len(DATA), 2)
        == sendfile(target, source, 2**62, 2)
        == sendfile(target, source, 0, 0)
        == 0
    )
    os.close(target)
    assert (tmp_path / "target").read_bytes() == DATA[5:8] + DATA + DATA[-1:]
    assert os.lseek(source, 0, os.SEEK_CUR) == 0


def test_from_a_device(sendfile, tmp_path):
    """What has no end gives as much as is asked for; what has no contents, nothing."""
    target = os.open(tmp_path / "target", os.O_RDWR | os.O_CREAT)
    for path, count in (("/dev/zero", 200_000), ("/dev/null", 0), ("/proc/self/stat", None)):
        device = os.open(path, os.O_RDONLY)
        moved = sendfile(target, device, 0, 200_000)
        assert moved == count or (count is None and moved > 10)
        os.close(device)
    os.close(target)


def test_what_cannot_be(sendfile, source, ends, tmp_path):
    """Each error is told."""
    for pair, name in (
        ((source, source), "EBADF"),
        ((1000, source), "EBADF"),
        ((source, 1000), "EBADF"),
        ((ends[1], ends[0]), "ESPIPE"),
    ):
        with pytest.raises(errors.UVError) as caught:
            sendfile(*pair, 0, 10)
        assert (caught.value.name, caught.value.syscall) == (name, "uv_fs_sendfile")


def test_to_a_full_pipe(sendfile, source, ends):
    """Without waiting: what fits in, then EAGAIN."""
    reader, writer = ends
    room = fill(writer)
    with pytest.raises(errors.UVError) as caught:
        sendfile(writer, source, 0, len(DATA))
    assert caught.value.name == "EAGAIN"
    os.read(reader, room)
    moved = sendfile(writer, source, 1, len(DATA))
    assert 0 < moved <= room
    assert os.read(reader, room) == DATA[1 : 1 + moved]


@pytest.mark.parametrize("kind", ["pipe", "socket"])
def test_to_a_slow_reader(kind, loop, source):
    """A target that blocks is waited for, until all is moved."""
    pair = uv.pipe() if kind == "pipe" else uv.socketpair()
    reader, writer = pair
    for end in pair:
        os.set_blocking(end, True)
    request = loop.fs.sendfile_nowait(writer, source, 3, len(DATA))
    got = bytearray()
    while len(got) < len(DATA) - 3:
        got.extend(loop.fs.read(reader, 5000))
    assert request.result() == len(DATA) - 3
    assert got == DATA[3:]
    for end in pair:
        os.close(end)


def test_stopped(loop, source, ends):
    """Targets that have no room keep the pool no longer than they are wanted."""
    reader, writer = ends
    room = fill(writer)
    os.set_blocking(writer, True)
    requests = [loop.fs.sendfile_nowait(writer, source, 0, 10) for _ in range(2 * POOL)]
    with move_on_after(0.05):
        loop.fs.stat("/")
    for request in requests:
        request.cancel()
    assert loop.fs.stat("/")
    for request in requests:
        with pytest.raises(errors.UVError) as caught:
            request.result()
        assert caught.value.name == "ECANCELED"
    os.read(reader, room)
    os.set_blocking(reader, False)
    time.sleep(0.06)  # as long as one that has not stopped would wait
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)
