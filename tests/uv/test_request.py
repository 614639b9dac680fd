"""Requests that are not waited for: what they tell, cancelling, waiting, forgetting."""

import gc
import os
import threading

import pytest

from coutil import errors, spawn, uv
from coutil.scopes import timeout
from tests.uv.pool import busy_pool

BEGIN = {
    "fs": lambda loop: loop.fs.stat_nowait("/"),
    "getaddrinfo": lambda loop: loop.getaddrinfo_nowait("127.0.0.1", 80),
    "getnameinfo": lambda loop: loop.getnameinfo_nowait(("127.0.0.1", 80)),
    "random": lambda loop: loop.random_nowait(8),
    "work": lambda loop: loop.queue_work_nowait(os.getpid),
}
kinds = pytest.mark.parametrize("kind", BEGIN)


@kinds
def test_life(loop, kind):
    """In progress, and then done; the result is the same each time, without waiting."""
    request = BEGIN[kind](loop)
    assert isinstance(request, uv.Request)
    assert request.type == uv.req_get_type(request) == kind
    assert not request.done
    assert "in progress" in repr(request)
    assert loop.alive
    assert loop.run() is False
    assert request.done
    assert "done" in repr(request)
    assert request.result() is request.result()
    with pytest.raises(TypeError, match="must be a Request"):
        uv.cancel(loop)


@kinds
def test_cancel(loop, kind):
    """threadpool_cancel_*: what the pool has not begun ends with ECANCELED, which is told each time."""
    with busy_pool(loop):
        request = BEGIN[kind](loop)
        assert uv.cancel(request) is None
    for _ in range(2):
        with pytest.raises(errors.OperationCancelled) as caught:
            request.result()
        assert caught.value.name in ("ECANCELED", "EAI_CANCELED")
    with pytest.raises(uv.UVError) as caught:
        request.cancel()
    assert (caught.value.name, caught.value.syscall) == ("EBUSY", "uv_cancel")


def test_cancel_when_busy(loop):
    """threadpool_cancel_when_busy: what runs cannot be cancelled, and ends as if that had not been tried."""
    begun, end = threading.Event(), threading.Event()

    def job():
        begun.set()
        return end.wait(10)

    request = loop.queue_work_nowait(job)
    begun.wait(10)
    for _ in range(2):
        with pytest.raises(uv.UVError) as caught:
            request.cancel()
        assert caught.value.name == "EBUSY"
    end.set()
    assert request.result() is True


def test_cancel_of_what_closes(loop):
    """A descriptor is closed in any case: EBUSY."""
    reader, writer = os.pipe()
    with busy_pool(loop):
        request = loop.fs.close_nowait(writer)
        with pytest.raises(uv.UVError) as caught:
            request.cancel()
        assert caught.value.name == "EBUSY"
    assert request.result() is True
    assert os.read(reader, 1) == b""
    os.close(reader)


def test_cancel_of_many(loop):
    """Each of a hundred ends once: cancelled, or as if that had not been tried."""
    requests = [BEGIN[kind](loop) for kind in BEGIN for _ in range(20)]
    cancelled = 0
    for request in requests:
        try:
            request.cancel()
            cancelled += 1
        except uv.UVError as error:
            assert error.name == "EBUSY"  # noqa: PT017  # or it works
    loop.run()
    outcomes = [outcome(request) for request in requests]
    assert outcomes.count("cancelled") == cancelled
    assert all(request.done for request in requests)


def outcome(request):
    """What became of it."""
    try:
        request.result()
    except errors.OperationCancelled:
        return "cancelled"
    return "well"


def test_many_wait_for_one(loop):
    """All get the result; one that is cut, or resumed explicitly, leaves the request alone."""
    log, end = [], threading.Event()
    request = loop.queue_work_nowait(end.wait, 10)

    def cut():
        with pytest.raises(errors.Timeout), timeout(0.001):
            request.result()
        log.append("cut")
        end.set()

    def handler():
        for _ in range(3):
            spawn.call(lambda: log.append(request.result()))
        spawn.call(lambda: log.append(request.result())).resume("resumed")
        spawn.call(cut)

    loop.call_threadsafe(handler)
    loop.run("nowait")
    loop.run()
    assert log == ["resumed", "cut", True, True, True]


def test_errors_are_the_same_for_all(loop):
    """Every call of result() raises; the arguments are looked at when it begins."""
    request = loop.fs.open_nowait("/none/such")
    for _ in range(2):
        with pytest.raises(FileNotFoundError, match="/none/such"):
            request.result()
    for begin in (loop.fs.open_nowait, loop.getaddrinfo_nowait, loop.queue_work_nowait, loop.random_nowait):
        with pytest.raises(TypeError):
            begin(None if begin != loop.getaddrinfo_nowait else 5)
    assert loop.alive is False


def test_forgotten_results_are_released(loop, tmp_path):
    """A descriptor or folder that no one took is closed; so are those of calls that were given up."""
    target = str(tmp_path / "file")
    with open(target, "w"):
        pass

    def handler():
        for call in (
            lambda: loop.fs.open(target),
            lambda: loop.fs.mkstemp(target + "XXXXXX"),
            lambda: loop.fs.opendir(tmp_path),
        ):
            for _ in range(5):
                spawn.call(call).close()

    for _ in range(5):
        loop.fs.open_nowait(target)
        loop.fs.opendir_nowait(tmp_path)
        loop.fs.mkstemp_nowait(target + "XXXXXX")
    loop.call_threadsafe(handler)
    loop.run("nowait")
    loop.run()
    gc.collect()
    ours = [os.path.realpath(f"/proc/self/fd/{one}") for one in os.listdir("/proc/self/fd")]
    assert not [one for one in ours if one.startswith(str(tmp_path))]
    taken = loop.fs.open_nowait(target).result()
    assert os.fstat(taken).st_size == 0
    os.close(taken)


def test_buffers_stay(loop):
    """A buffer of a call that was given up cannot be resized until libuv is done; data are still what was given."""
    reader, writer = os.pipe()
    buffer, log = bytearray(10), []

    def handler():
        waiting = spawn.call(loop.fs.readinto, reader, buffer)
        waiting.close()
        try:
            buffer.extend(b"x")
        except BufferError:
            log.append("held")

    with busy_pool(loop):
        pass
    loop.call_threadsafe(handler)
    loop.run("nowait")
    os.write(writer, b"hello")
    loop.run()
    buffer.extend(b"x")
    assert log == ["held"]
    for number in (reader, writer):
        os.close(number)


def test_after_the_loop(tmp_path):
    """A request of a loop that was closed is done: cancelled, or closed with it."""
    loop = uv.Loop()
    done = loop.random_nowait(3)
    loop.run()
    with busy_pool(loop) as release:
        waiting = loop.fs.stat_nowait(tmp_path)
        release()
        loop.close(force=True)
    assert len(done.result()) == 3
    with pytest.raises(errors.Closed):
        done.cancel()
    assert outcome(waiting) in ("cancelled", "well")
    with pytest.raises(errors.Closed):
        loop.random_nowait(3)


def test_other_threads(loop):
    """Only the loop's thread may wait or cancel; what is done may be read by all."""
    caught = []
    request, done = loop.random_nowait(4), loop.random_nowait(4)
    done.result()

    def elsewhere():
        for call in (request.result, request.cancel):
            try:
                call()
            except errors.ForeignThread as error:
                caught.append(error)
        caught.append(done.result())

    with busy_pool(loop):
        request = loop.random_nowait(4)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
    assert len(caught) == 3
    assert caught[2] == done.result()
    assert len(request.result()) == 4


def test_buffers_are_free_when_it_is_done(loop, tmp_path):
    """What was read into, or written, can be resized as soon as the request is done, even if it is referred to."""
    fd = loop.fs.open(tmp_path / "file", "w+")
    data, into = bytearray(b"hello"), bytearray(9)
    writing, reading = loop.fs.write_nowait(fd, [data], 0), loop.fs.readinto_nowait(fd, into, 0)
    for buffer in (data, into):
        with pytest.raises(BufferError):
            buffer.extend(b"!")
    loop.run()
    for buffer in (data, into):
        buffer.extend(b"!")
    assert writing.result() == 5
    assert reading.result() in (0, 5)
    assert repr(writing) == "<Request write done>"
    loop.fs.close(fd)


def test_state_of_one_that_failed(loop):
    """A repr tells how it ended, whether anybody has asked or not."""
    request = loop.fs.stat_nowait("/none")
    assert repr(request) == "<Request stat '/none' in progress>"
    loop.run()
    assert repr(request) == "<Request stat '/none' failed: ENOENT>"
    with pytest.raises(FileNotFoundError):
        request.result()
