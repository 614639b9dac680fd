"""Calls on files that are given up, and files that are closed, shared or inherited meanwhile.

No descriptor is lost, and no call ever uses a number that belongs to another one by then.
"""

import gc
import os
import signal
import threading
from contextlib import contextmanager, suppress

import pytest

from coutil import coroutine, errors, spawn, system, uv
from coutil.scopes import timeout
from coutil.system.files.file import File
from tests.helpers.kernel import current_hub
from tests.helpers.script import run_script

POOL = int(os.environ.get("UV_THREADPOOL_SIZE", "4"))


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "file"
    made.write_bytes(b"0123456789" * 100)
    return made


@contextmanager
def pipes(count=1):
    """Yield [reader, writer] pairs of pipes: the reader as a file, the writer as a descriptor."""
    ends = [os.pipe() for _ in range(count)]
    readers = [File(reader, f"'reader {reader}'", True, False) for reader, _ in ends]
    try:
        yield [(reader, writer) for reader, (_, writer) in zip(readers, ends, strict=True)]
    finally:
        for reader, (_, writer) in zip(readers, ends, strict=True):
            os.close(writer)
            reader.close(blocking=True)


@contextmanager
def full_pool():
    """Keep every thread of the pool busy while the block runs, so that what is started in it stands in line."""
    with pipes(POOL) as busy:
        readers = [spawn.call(reader.read, 1) for reader, _ in busy]
        system.run("ready")
        yield
        for _, writer in busy:
            os.write(writer, b"x")
        system.run()
        assert {one.status for one in readers} == {"dead"}


def end(worker, how):
    """End the wait of a coroutine."""
    if how == "resume":
        worker.resume("given")
    elif how == "throw":
        with suppress(KeyError):
            worker.throw(KeyError)
    else:
        assert worker.close() is True


each_end = pytest.mark.parametrize("how", ["resume", "throw", "close"])


# -- what brings a descriptor


@each_end
@pytest.mark.parametrize("when", ["in line", "at work", "done"])
def test_open_that_is_given_up(when, how, path):
    """FIL-40, B01: the file is closed again, in whatever state the request was; the fixture counts descriptors."""
    log = []

    def work():
        log.append(system.openfile(path))
        coroutine.yield_()

    if when == "in line":
        with full_pool():
            end(spawn.call(work), how)
    else:
        worker = spawn.call(work)
        if when == "done":
            _wait_until(lambda: _descriptors_of(path))
        end(worker, how)
    assert log == (["given"] if how == "resume" else [])
    system.run()
    assert log == (["given"] if how == "resume" else [])
    assert not _descriptors_of(path)


def _descriptors_of(path):
    found = []
    for number in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{number}") == str(path):
                found.append(int(number))
    return found


def _wait_until(done):
    """Wait for the pool, without turning the loop."""
    for _ in range(5000):
        if done():
            return
        system.suspend(0.001, blocking=True)
    pytest.fail("the thread pool did nothing")


@each_end
@pytest.mark.parametrize("want", [(), "path", "file", ("path", "file")], ids=str)
def test_temporary_file_that_is_given_up(want, how, tmp_path):
    """FIL-40: it is made, but not open."""
    log = []
    worker = spawn.call(lambda: log.append(system.maketemp(tmp_path / "t", want=want)))
    _wait_until(lambda: os.listdir(tmp_path))
    end(worker, how)
    system.run()
    (made,) = tmp_path.iterdir()
    assert (made.is_dir(), log) == (want == (), ["given"] if how == "resume" else [])
    assert not _descriptors_of(made)


@pytest.mark.parametrize("value", [True, 0, None, (1, 2), 3], ids=repr)
def test_values_of_explicit_resumes(value, path):
    """An explicit resume is never taken for a result, whatever it brings and whatever would have come."""
    log = []
    with system.openfile(path) as file, full_pool():
        calls = [
            lambda: system.openfile(path),
            lambda: file.read(3),
            file.read,
            lambda: file.read_into(bytearray(3)),
            lambda: file.write(b"x"),
            file.info,
            lambda: system.fileinfo(path, "target", "realpath", "fsid", "size"),
            lambda: system.maketemp(path),
            lambda: system.listdir(path.parent),
            file.flush,
            lambda: next(file.lines()),
        ]
        for call in calls:
            worker = spawn.call(lambda call=call: log.append(call()))
            worker.resume(*value) if isinstance(value, tuple) else worker.resume(value)
    assert log == [value] * len(calls)
    for made in path.parent.glob("file??????"):
        made.rmdir()


def test_deadline_of_an_open(path):
    """A timeout that ends `openfile` loses nothing, and the next attempt may succeed."""
    with full_pool(), pytest.raises(errors.Timeout), timeout(0.01):
        system.openfile(path)
    with system.openfile(path) as file:
        assert file.read(4) == b"0123"


# -- closing meanwhile


def test_close_while_a_call_stands_in_line(path, tmp_path):
    """B01, B11: a write that stands in line when its file is closed goes to that file, not to the number's heir."""
    other = tmp_path / "other"
    file = system.openfile(path, write=True)
    number = file.fileno()
    with full_pool():
        results = []
        spawn.call(lambda: results.append(file.write(b"X" * 10, offset=20)))
        assert file.close() is True
        assert file.closed
        with open(other, "wb+") as heir:
            assert heir.fileno() != number
            assert results == []
    assert results == [10]
    assert path.read_bytes()[18:32] == b"89XXXXXXXXXX01"
    assert other.read_bytes() == b""
    assert not _descriptors_of(path)


@each_end
def test_close_after_a_call_was_given_up(how, path, tmp_path):
    """B01: the same if the caller has left; the write is taken out of the line."""
    file, log = system.openfile(path, write=True), []
    number = file.fileno()

    def write():
        log.append(file.write(b"Y" * 10))
        log.append(file.close())

    with full_pool():
        worker = spawn.call(write)
        end(worker, how)
        assert file.close() is True
        with open(tmp_path / "other", "wb") as heir:
            assert heir.fileno() != number
        assert _descriptors_of(path) == [number]
    assert log == (["given", True] if how == "resume" else [])
    assert not _descriptors_of(path)
    assert path.read_bytes()[:12] == b"012345678901"


@each_end
def test_given_up_in_line(how, tmp_path):
    """A-3: what stands in line is taken out of it: it never happens, and no one has to wait for it."""
    with full_pool():
        workers = [spawn.call(system.makedir, tmp_path / str(number), 0o700) for number in range(20)]
        for worker in workers:
            end(worker, how)
        assert {one.status for one in workers} == {"dead"}
        again = spawn.call(lambda: system.suspend() and system.suspend())
        while again.status != "dead":
            system.run("ready")
        assert current_hub().in_flight() == POOL
    assert os.listdir(tmp_path) == []


def test_saved_exception_keeps_nothing_open(path):
    """The one that keeps the exception of a failed call can close the file nevertheless."""
    file = system.openfile(path)
    with pytest.raises(errors.UVError) as caught:
        file.write(b"x")
    assert caught.value.__traceback__ is not None
    assert file.close() is True
    assert not _descriptors_of(path)


def test_call_that_waits_for_its_turn_keeps_the_file(path):
    """A call behind a cancelled one of its coroutine counts as begun: it is done although the file is closed."""
    file, log = system.openfile(path), []

    def work():
        log.append(file.read(4))
        log.append(file.read(4, offset=0))

    with full_pool():
        worker = spawn.call(work)
        worker.resume("given")
        file.close()
    assert log == ["given", b"0123"]
    assert not _descriptors_of(path)


def test_end_of_a_block_by_an_exception_does_not_wait(path):
    """A coroutine that is told to end leaves its `with` blocks at once, although the pool is busy."""
    with full_pool():

        def work():
            with system.openfile(path, blocking=True) as file:
                file.read(1)

        worker = spawn.call(work)
        assert worker.close() is True
    assert not _descriptors_of(path)


def test_close_that_is_given_up(path):
    """The file is closed in the background."""
    file = system.openfile(path)
    with full_pool():
        closing = spawn.call(file.close)
        assert closing.close() is True
        assert file.closed
    assert not _descriptors_of(path)


def test_raw_close_under_a_call(path):
    """B05: another one closes the number behind our back: the calls after that tell EBADF, and nothing else happens."""
    with pipes() as [(reader, writer)]:
        log = []
        spawn.call(lambda: log.append(reader.read(2)))
        os.write(writer, b"ok")
        system.run()
    file = system.openfile(path)
    os.close(file.fileno())
    for call in (file.read, lambda: file.read(1), file.flush, file.info, lambda: file.read_into(bytearray(1))):
        with pytest.raises(errors.UVError, match="EBADF"):
            call()
    with pytest.raises(errors.UVError, match="EBADF"):
        file.close()
    assert file.closed
    assert log == [b"ok"]


def test_closed_twice_is_closed_once(path):
    """B04, B06: after `close`, neither a second one nor the finalizer touches the number: it is another file's."""
    file = system.openfile(path)
    number = file.fileno()
    file.close()
    with open(path, "rb") as heir:
        assert heir.fileno() == number
        file.close()
        file.close(blocking=True)
        del file
        gc.collect()
        assert heir.read(4) == b"0123"


def test_files_in_cycles(path):
    """A file in a cycle of garbage is closed by the collector."""
    holder = [system.openfile(path)]
    holder.append(holder)
    assert len(_descriptors_of(path)) == 1
    del holder
    gc.collect()
    assert not _descriptors_of(path)


def test_forgotten_while_a_call_is_in_the_pool(path):
    """A forgotten file is closed when the last call on it is over."""
    file, log = system.openfile(path), []
    with full_pool():
        reader = spawn.call(lambda file: log.append(file.read(4)), file)
        del file
        gc.collect()
        assert len(_descriptors_of(path)) == 1
        assert reader.status == "suspended"
    assert log == [b"0123"]
    assert not _descriptors_of(path)


# -- threads, fork, signals, the end


def test_other_threads_use_the_same_file(path):
    """A file belongs to no loop: each thread waits in its own, or blocks."""
    found = []

    def work(blocking):
        found.extend(file.read(10, offset=10 * at, blocking=blocking) for at in range(20))

    with system.openfile(path) as file:
        threads = [threading.Thread(target=work, args=(blocking,)) for blocking in (False, True)]
        for thread in threads:
            thread.start()
        work(False)
        for thread in threads:
            thread.join(10)
    assert found == [b"0123456789"] * 60


def test_closing_from_another_thread(path):
    """B03: a thread that closes a file under others gives none of them a stranger's number."""
    wrong = []

    def work(file):
        try:
            while True:
                if file.read(10, offset=0, blocking=True) != b"0123456789":
                    wrong.append("data")
        except errors.Closed:
            pass
        except OSError as error:
            wrong.append(error)

    for _ in range(20):
        file = system.openfile(path, blocking=True)
        threads = [threading.Thread(target=work, args=(file,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        file.close(blocking=True)
        numbers = [os.open("/dev/zero", os.O_RDONLY) for _ in range(4)]
        for thread in threads:
            thread.join(10)
        for number in numbers:
            os.close(number)
    assert wrong == []
    assert not _descriptors_of(path)


def test_child_uses_files(path):
    """B61: after a fork, also with a busy pool, the child reads the files it inherited, and opens others."""
    reader, writer = os.pipe()
    with system.openfile(path) as file, full_pool():
        child = os.fork()
        if not child:
            try:
                found = file.read(4, offset=0, blocking=True) + file.read(4, offset=4)
                with system.openfile(path) as again:
                    found += again.read(4)
                os.write(writer, found)
            finally:
                os._exit(0)
        assert os.read(reader, 100) == b"012345670123"
        assert os.waitpid(child, 0)[1] == 0
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("flat", [False, True])
def test_interrupted_while_blocking(flat, tmp_path):
    """A signal ends a call that stops the thread, before that begins anew."""
    os.mkfifo(tmp_path / "pipe")
    writer = os.open(tmp_path / "pipe", os.O_RDWR)
    system.suspend()  # there is a loop, and so a handler of ours
    with system.openfile(tmp_path / "pipe", blocking=True) as file:
        late = threading.Timer(10, os.write, (writer, b"late"))
        early = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
        for timer in (late, early):
            timer.start()
        with pytest.raises(KeyboardInterrupt):
            uv.fs_read(None, file.fileno(), 4) if flat else file.read(4, blocking=True)
        assert late.is_alive()
        late.cancel()
        early.join()
        os.write(writer, b"data")
        assert file.read(4) == b"data"
    os.close(writer)


def test_interrupted_while_waiting():
    """B59: Ctrl-C ends the wait for a file at once, although the pool's thread is still at it."""
    with pipes() as [(reader, writer)]:
        timer = threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGINT])
        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  # the signal may come before the thread's start is over
            timer.start()
            reader.read(10)
        timer.join()
        os.write(writer, b"late")
        system.run()


def test_process_ends_with_calls_at_work(path, tmp_path):
    """B20: the end of the interpreter waits for what the pool does, and nothing is said about it."""
    script = f"""
        import os
        from coutil import spawn, system
        for number in range(100):
            spawn.call(system.makedir, {str(tmp_path)!r} + f"/{{number}}", 0o700)
            spawn.call(lambda: system.openfile({str(path)!r}).read())
            spawn.call(lambda: system.listdir({str(tmp_path)!r}))
            abandoned = spawn.call(lambda: system.fileinfo({str(path)!r}, "realpath"))
            abandoned.resume()
        del abandoned
        print("end")
    """
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
    assert len(list(tmp_path.iterdir())) > 0


def test_process_ends_with_a_close_in_line(path):
    """A close that the end of the loop takes out of the line is done nevertheless."""
    script = f"""
        import os, threading
        from glob import glob
        from coutil import spawn, system
        from coutil.system.files.file import File
        ends = [os.pipe() for _ in range({POOL})]
        def work():
            for reader, _ in ends:
                spawn.call(File(reader, "reader", True, False).read, 1)
            files = [system.openfile({str(path)!r}, blocking=True) for _ in range(10)]
            for file in files:
                spawn.call(file.close)
            for one in ends:
                threading.Timer(0.05, os.write, (one[1], b"x")).start()
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        print({str(path)!r} in map(os.path.realpath, glob("/proc/self/fd/*")))
    """
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
