"""Changes of files, found by looking: handlers, stats, restarting and closing while the pool is looking."""

import os

import pytest

from coutil import errors, uv
from tests.helpers.sockets import failure

INTERVAL = 5  # milliseconds


@pytest.fixture
def poll(loop):
    """A handle of the loop."""
    with uv.FSPoll(loop) as made:
        yield made


def collect(poll, log, until=1):
    """Log each call of the handler, and stop after so many."""

    def onpoll(one, err, prev, curr):
        log.append((err, prev, curr))
        if len(log) >= until:
            one.stop()

    poll.onpoll = onpoll
    return poll


def after_a_look(loop, path, act):
    """Act when the pool has had time to look at a file once."""
    timer = uv.Timer(loop)
    timer.ontimeout = lambda _: (timer.close_soon(), act(path))
    timer.start(3 * INTERVAL)


def write(path):
    with open(path, "a") as file:
        file.write("x")


def test_change(loop, poll, tmp_path):
    """What stat(2) told before and after; times in seconds and nanoseconds."""
    log, path = [], tmp_path / "file"
    write(path)
    before = os.stat(path)
    uv.fs_poll_start(collect(poll, log), path, INTERVAL)
    assert poll.active
    assert poll.type == "fs_poll"
    times = [divmod(before.st_mtime_ns, 10**9)]

    def change(timer):  # again, until it is noticed: the pool may be late to look for the first time
        if log:
            timer.close_soon()
        else:
            write(path)
            times.append(divmod(os.stat(path).st_mtime_ns, 10**9))

    timer = uv.Timer(loop)
    timer.ontimeout = change
    timer.start(3 * INTERVAL, 3 * INTERVAL)
    assert loop.run() is False
    ((err, prev, curr),) = log
    assert err is None
    assert curr.size > prev.size
    assert isinstance(curr, uv.Stat)
    assert (prev.ino, prev.mode, prev.uid, prev.nlink, prev.dev) == (
        before.st_ino,
        before.st_mode,
        before.st_uid,
        before.st_nlink,
        before.st_dev,
    )
    assert [times[one.size - 1] for one in (prev, curr)] == [prev.mtim, curr.mtim]
    assert not poll.active


def test_missing_file(loop, poll, tmp_path):
    """ENOENT with the path, once; then what it is when it is made, and when it is gone again."""
    log, path = [], tmp_path / "file"
    acts = [write, os.remove, lambda _: poll.stop()]

    def onpoll(one, err, prev, curr):
        log.append((err, prev, curr))
        after_a_look(loop, path, acts[len(log) - 1])  # nothing is told meanwhile

    poll.onpoll = onpoll
    poll.start(path, INTERVAL)
    loop.run()
    (first, zero, zeros), (second, prev, made), (third, last, gone) = log
    for err in (first, third):
        assert isinstance(err, FileNotFoundError)
        assert (err.filename, err.syscall) == (path, "uv_fs_poll_start")
    assert second is None
    assert (zero.ino, zeros.ino, prev.ino, gone.ino) == (0, 0, 0, 0)
    assert (made.size, last.size) == (1, 1)
    assert made.mtim == last.mtim != (0, 0)


def test_path_and_starting_twice(loop, poll, tmp_path):
    """EINVAL before the start and after the stop; a second start changes nothing."""
    assert failure(lambda: poll.path).name == "EINVAL"
    poll.start(tmp_path, INTERVAL)
    poll.start(tmp_path / "other", INTERVAL)
    assert poll.path == str(tmp_path)
    uv.fs_poll_stop(poll)
    poll.stop()
    with pytest.raises(errors.UVError) as info:
        uv.fs_poll_getpath(poll)
    assert (info.value.name, info.value.syscall) == ("EINVAL", "uv_fs_poll_getpath")
    poll.start(os.fsencode(tmp_path), INTERVAL)
    assert poll.path == os.fsencode(tmp_path)


def test_arguments(poll, tmp_path):
    """Paths and intervals, before anything happens."""
    for interval, kind in (
        (-1, ValueError),
        (2**32, ValueError),
        (1.0, TypeError),
        (None, TypeError),
        (True, TypeError),
    ):
        with pytest.raises(kind, match="interval"):
            poll.start(tmp_path, interval)
    with pytest.raises(ValueError, match="path "):
        poll.start("a\0b", 1)
    with pytest.raises(TypeError, match="path "):
        poll.start(None, 1)
    assert not poll.active


def test_without_a_handler(loop, poll, tmp_path):
    """It looks, and nothing is reported."""
    poll.start(tmp_path / "nothing", INTERVAL)
    after_a_look(loop, None, lambda _: poll.stop())
    assert loop.run() is False
    assert not poll.active


def test_close_while_the_pool_is_looking(loop, tmp_path):
    """The handler is not called; the close waits for the pool."""
    log = []
    for _ in range(5):
        poll = collect(uv.new_fs_poll(loop), log)
        poll.start(tmp_path / "nothing", 1)
        poll.close()
        assert poll.closed
    assert log == []
    for call in (lambda: poll.start(tmp_path, 1), poll.stop, lambda: poll.path):
        with pytest.raises(errors.Closed, match="fs_poll "):
            call()


@pytest.mark.parametrize("between", [False, True])
def test_many_starts_and_stops(loop, tmp_path, between):
    """A stop leaves a look in the pool, and a start does not wait for it: no abort, and what is found is told once.

    libuv itself cannot do that. The close waits for all of them.
    """
    log = []
    poll = collect(uv.FSPoll(loop), log)
    poll.unref()
    for _ in range(10):
        poll.start(tmp_path / "nothing", 1)
        assert poll.active
        if between:
            loop.run("nowait")
        poll.stop()
    log.clear()
    poll.start(tmp_path / "nothing", 1)
    assert not poll.has_ref
    poll.ref()
    loop.run()
    assert [err.name for err, _, _ in log] == ["ENOENT"]
    poll.start(tmp_path / "nothing", 1)
    poll.close()
    assert loop.run() is False
    assert len(log) == 1


def test_stop_drops_what_is_under_way(loop, tmp_path):
    """A handler that stops another handle, whose change was found in the same turn: that one is not told."""
    log = []
    with uv.FSPoll(loop) as first, uv.FSPoll(loop) as second:
        for one, other in ((first, second), (second, first)):
            one.onpoll = lambda mine, err, prev, curr, other=other: (log.append(mine), other.stop(), mine.stop())
            one.start(tmp_path / "nothing", INTERVAL)
        loop.run()
        assert len(log) == 1
        assert not first.active
        assert not second.active


def test_unref(loop, poll, tmp_path):
    """An active handle keeps its loop alive unless it is not referenced."""
    poll.start(tmp_path, 60_000)
    assert loop.alive
    poll.unref()
    while loop.run("nowait"):
        pass  # the pool is looking still, which keeps it alive
    assert poll.active
    poll.ref()
    assert loop.alive
