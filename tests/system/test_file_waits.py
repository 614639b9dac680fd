"""Files that may have to be waited for: pipes with a name, and devices. No thread of the pool waits for them."""

import os
import resource
import threading
import tty
from contextlib import ExitStack, contextmanager, suppress

import pytest

from coutil import errors, spawn, system
from coutil.scopes import timeout
from coutil.system.files.file import File
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import current_hub
from tests.helpers.pool import POOL
from tests.helpers.script import run_script
from tests.helpers.values import cancel, each_way_out

MANY = 5 * POOL


@pytest.fixture
def path(tmp_path):
    """The path of a pipe."""
    os.mkfifo(tmp_path / "pipe")
    return tmp_path / "pipe"


@pytest.fixture
def writer(path):
    """A descriptor to write to the pipe, and to read from it, which never waits."""
    number = os.open(path, os.O_RDWR | os.O_NONBLOCK)
    yield number
    os.close(number)


@contextmanager
def opened(path, count):
    """Yield the pipe as `count` files."""
    files = [system.openfile(path) for _ in range(count)]
    try:
        yield files
    finally:
        for file in files:
            file.close()


def fill(writer):
    """Write until nothing fits in any more; return how many bytes."""
    written = 0
    for size in (4096, 1):
        try:
            while True:
                written += os.write(writer, bytes(size))
        except BlockingIOError:
            pass
    return written


# -- reading


def test_readers_leave_the_pool_alone(path, writer):
    """More coroutines than the pool has threads read from one pipe: files are used meanwhile, each byte comes once."""
    log = []
    with opened(path, MANY) as files:
        readers = [spawn.call(lambda file=file: log.append(file.read(1))) for file in files]
        assert system.fileinfo(path, "type") == "pipe"
        for letter in range(MANY):
            os.write(writer, bytes([letter]))
        while len(log) < MANY:
            system.run("step")
    assert sorted(log) == [bytes([letter]) for letter in range(MANY)]
    assert {reader.status for reader in readers} == {"dead"}


def test_readers_that_find_nothing_wait_on(path, writer):
    """Everybody is woken by one byte: who comes too late goes on waiting, with no thread of the pool."""
    log = []
    with opened(path, MANY) as files:
        readers = [spawn.call(lambda file=file: log.append(file.read(1))) for file in files]
        for count in range(1, 4):
            os.write(writer, b"x")
            while len(log) < count:
                system.run("step")
        assert log == [b"x"] * 3
        assert system.fileinfo(path, "type") == "pipe"
        for reader in readers:
            reader.close()
        system.run("ready")
        assert current_hub().in_flight() == 0


@each_way_out
def test_read_that_is_given_up(path, writer, how):
    """What comes afterwards is there for the next one; nothing is left of the wait after a turn."""
    log = []

    def read():
        try:
            log.append(file.read(4))
        except Trouble:
            log.append("trouble")

    with system.openfile(path) as file:
        before = len(os.listdir("/proc/self/fd"))
        reader = spawn.call(read)
        assert str(reader.waiting_on) == f"read file {str(file).split()[1]}"
        cancel(reader, how)
        assert log == {"resume": ["given"], "throw": ["trouble"], "close": []}[how]
        assert len(os.listdir("/proc/self/fd")) == before
        system.run("ready")
        assert current_hub().in_flight() == 0
        os.write(writer, b"data")
        assert file.read(4) == b"data"


def test_error_that_is_thrown(path, writer, escaped):
    """One that looks like a failure of the system goes to the caller, and does not make it read."""
    with system.openfile(path) as file:
        reader = spawn.call(file.read, 4)
        with pytest.raises(errors.OperationCancelled):
            reader.throw(errors.OperationCancelled(-125, "uv_read"))
        assert reader.status == "dead"
        os.write(writer, b"data")
        assert file.read(4) == b"data"
    assert escaped == []


def test_deadline(path, writer):
    """A timeout ends the wait; the file is usable after it, and the same coroutine reads on at once."""
    with system.openfile(path) as file:
        with pytest.raises(errors.Timeout), timeout(0.01):
            file.read(1)
        os.write(writer, b"xyz")
        assert file.read(2) == b"xy"
        assert file.read_into(bytearray(9)) == 1


def test_lines_and_text(path, writer):
    """What stands on a file waits in the same way."""
    log = []
    with system.openfile(path) as file, system.openfile(path).text() as text:
        lines = file.lines()
        reader = spawn.call(lambda: log.extend([next(lines), next(lines)]))
        os.write(writer, b"one\ntwo\n")
        while reader.status != "dead":
            system.run("step")
        reader = spawn.call(lambda: log.append(text.readline()))
        os.write(writer, b"three\n")
        while reader.status != "dead":
            system.run("step")
    assert log == [b"one\n", b"two\n", "three\n"]


def test_writer_goes(path):
    """`read` without size returns all that came before the writer has closed; afterwards there is the end at once."""
    log = []
    reading = spawn.call(lambda: log.append(system.openfile(path)))
    number = os.open(path, os.O_WRONLY)
    while reading.status != "dead":
        system.run("step")
    (file,) = log
    with file:
        reader = spawn.call(lambda: log.append(file.read()))
        for _ in range(3):
            os.write(number, b"abc")
            system.suspend(0.001)
        assert reader.status == "suspended"
        os.close(number)
        while reader.status != "dead":
            system.run("step")
        assert log[1:] == [b"abcabcabc"]
        assert [file.read(), file.read(1)] == [b"", b""]


# -- writing


def test_writers_leave_the_pool_alone(path, writer):
    """The same with writers to a pipe that is full: they go on when it is read."""
    size, log = fill(writer), []
    files = [system.openfile(path, read=True, write=True) for _ in range(MANY)]
    writers = [spawn.call(lambda file=file: log.append(file.write(b"x"))) for file in files]
    assert system.fileinfo(path, "type") == "pipe"
    writers[0].close()
    system.run("ready")
    assert (len(log), current_hub().in_flight()) == (0, MANY - 1)
    while size:
        size -= len(os.read(writer, size))
    while len(log) < MANY - 1:
        system.run("step")
    assert (log, os.read(writer, 100)) == ([1] * (MANY - 1), b"x" * (MANY - 1))
    for file in files:
        file.close()


@pytest.mark.parametrize("kind", ["pipe", "terminal"])
def test_writers_that_write_much(path, kind):
    """A write takes as much as there is room for: no thread of the pool waits, and a deadline leaves none behind."""
    if kind == "pipe":
        reader = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        name, others = path, ()
    else:
        other, own = os.openpty()
        tty.setraw(own)
        reader, name, others = other, os.ttyname(own), (own,)
    much, sent = bytes(range(256)) * 2000, []

    def write(file):
        at = 0
        while at < len(much):
            at += file.write(much, at)
            sent.append(at)

    with ExitStack() as later:
        for number in (reader, *others):
            later.callback(os.close, number)
        file = later.enter_context(system.openfile(name, read=False, write=True))
        with pytest.raises(errors.Timeout), timeout(0.05):
            write(file)
        assert sent[-1] < len(much)
        for _ in range(MANY):
            assert system.fileinfo(path).type == "pipe"
        os.set_blocking(reader, False)
        found = bytearray()
        while len(found) < sent[-1]:
            with suppress(BlockingIOError):
                found += os.read(reader, 65536)
        assert found == much[: sent[-1]]


def test_reader_goes(path):
    """A writer that waits when the last reader goes is told."""
    log = []
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def write(file):
        try:
            while True:
                log.append(file.write(bytes(4096)))
        except BrokenPipeError as error:
            log.append(error.name)

    with system.openfile(path, write=True) as file:
        writing = spawn.call(write, file)
        while sum(log) < 1 << 16:
            system.run("step")
        system.suspend(0.001)
        assert writing.status == "suspended"
        os.close(reader)
        while writing.status != "dead":
            system.run("step")
    assert log == [4096] * 16 + ["EPIPE"]


# -- where it cannot be waited for, and the end


def test_no_descriptor_left(path, writer):
    """Without a descriptor to wait with, a thread of the pool waits."""
    log = []
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with system.openfile(path) as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            reader = spawn.call(lambda: log.append(file.read(4)))
            system.run("ready")
            assert reader.status == "suspended"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        os.write(writer, b"data")
        while reader.status != "dead":
            system.run("step")
    assert log == [b"data"]


def test_what_cannot_be_polled(tmp_path):
    """A file that claims to have to be waited for, and cannot be, is read by the pool."""
    (tmp_path / "file").write_bytes(b"data")
    with File(os.open(tmp_path / "file", os.O_RDONLY), "'file'", True, False, waits=True) as file:
        assert file.read(4) == b"data"
        assert file.read(4) == b""
        assert file.read(2, offset=1) == b"at"


def test_blocking_read(path, writer):
    """`blocking` stops the thread until something comes, as ever."""
    with system.openfile(path) as file:
        timer = threading.Timer(0.02, os.write, (writer, b"data"))
        timer.start()
        assert file.read(4, blocking=True) == b"data"
        timer.join()


def test_two_threads(path, writer):
    """Each thread waits in its own loop."""
    log = []
    with system.openfile(path) as file:
        threads = [threading.Thread(target=lambda: log.append(file.read(1))) for _ in range(2)]
        for thread in threads:
            thread.start()
        os.write(writer, b"ab")
        for thread in threads:
            thread.join(10)
    assert sorted(log) == [b"a", b"b"]


def test_loop_that_ends_under_readers(path, writer):
    """Coroutines that still read when their thread ends leave nothing behind, nor does a process that ends."""
    with opened(path, 3) as files:
        before = len(os.listdir("/proc/self/fd"))
        thread = threading.Thread(target=lambda: [spawn.call(file.read, 1) for file in files])
        thread.start()
        thread.join(10)
        assert len(os.listdir("/proc/self/fd")) == before
    done = run_script(
        f"""
        import os, sys
        from coutil import spawn, system
        file = system.openfile({str(path)!r})
        spawn.call(file.read, 1)
        system.suspend(0.001)
        sys.exit(6)
        """
    )
    assert (done.returncode, done.stdout, done.stderr) == (6, "", "")
