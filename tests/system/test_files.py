"""Open files: reading, writing, and what else can be done with them, waiting for the thread pool and blocking."""

import gc
import os
import stat
import sys
import warnings
from array import array
from contextlib import contextmanager

import pytest

from coutil import errors, spawn, system
from coutil.system.files import file as file_module
from coutil.system.files.file import COPY_BELOW, FIRST_READ, File
from coutil.system.files.info import ALL, PERMISSIONS, STAT
from tests.helpers.ids import shown
from tests.helpers.pool import wait_until_it_reads
from tests.helpers.script import output_of, run_script

both_modes = pytest.mark.parametrize("blocking", [False, True], ids=["awaited", "blocking"])
TEXT = b"".join(b"%07d\n" % number for number in range(30))  # 240 bytes: no two places look alike


@pytest.fixture
def path(tmp_path):
    """A file with TEXT in it."""
    made = tmp_path / "file"
    made.write_bytes(TEXT)
    return made


@contextmanager
def pipe():
    """Yield both ends of a pipe as files."""
    reader, writer = os.pipe()
    with File(reader, "'reader'", True, False) as near, File(writer, "'writer'", False, True) as far:
        yield near, far


# -- opening


@both_modes
def test_open_what_is_missing(blocking, tmp_path):
    """FIL-17: ENOENT, with the name."""
    with pytest.raises(FileNotFoundError, match="missing") as caught:
        system.openfile(tmp_path / "missing", blocking=blocking)
    assert (caught.value.errno, caught.value.syscall) == (2, "uv_fs_open")
    assert caught.value.filename == tmp_path / "missing"


FLAGS = ["read", "write", "append", "truncate", "sync", "create", "exclusive", "cloexec", "blocking"]


@pytest.mark.parametrize("name", FLAGS)
def test_bad_flags(name, path):
    """FIL-18: flags are bools, and none but ours exist; nothing happens before that is known."""
    more = {} if name in ("create", "truncate") else {"truncate": True}
    for wrong in (1, "yes", *([None] if name != "read" else [])):
        with pytest.raises(TypeError, match=f"{name} "):
            system.openfile(path, **more, **{name: wrong}, perm=0o600)
    for unknown in ("mode", "binary", name.upper(), "x"):
        with pytest.raises(TypeError, match="unexpected keyword"):
            system.openfile(path, **{unknown: True})
    with pytest.raises(TypeError, match="positional"):
        system.openfile(path, "w")
    with pytest.raises(ValueError, match="neither read nor written"):
        system.openfile(path, read=False)
    assert path.read_bytes() == TEXT


@both_modes
@pytest.mark.parametrize("perm", [None, "nonsense", 1.5, -7, object()], ids=shown)
def test_permissions_are_for_new_files(perm, blocking, path):
    """FIL-19, FIL-20: garbage is ignored unless a file is to be created; then it is refused, and nothing is made."""
    with system.openfile(path, perm=perm, blocking=blocking) as file:
        assert file.read(7, blocking=blocking) == b"0000000"
    for flags in ({"create": True}, {"exclusive": True}):
        with pytest.raises((TypeError, ValueError), match="perm"):
            system.openfile(path.with_name("new"), write=True, perm=perm, **flags, blocking=blocking)
    assert not path.with_name("new").exists()


@both_modes
def test_new_files(blocking, tmp_path):
    """FIL-20: permissions are those of the new name, not of the descriptor; `exclusive` makes a new one or fails."""
    path = tmp_path / "new"
    with system.openfile(path, read=True, write=True, create=True, perm=0o400, blocking=blocking) as file:
        assert file.write(b"written", blocking=blocking) == 7
        assert file.read(offset=0, blocking=blocking) == b"written"
    assert stat.S_IMODE(path.stat().st_mode) == 0o400
    with pytest.raises(FileExistsError):
        system.openfile(path, write=True, exclusive=True, perm=0o600, blocking=blocking)
    assert path.read_bytes() == b"written"
    system.openfile(tmp_path / "other", exclusive=True, perm="rwR", blocking=blocking).close(blocking=blocking)
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o640


ACCESS = [
    ({}, "r"),
    ({"read": True}, "r"),
    ({"write": True}, "w"),
    ({"append": True}, "w"),
    ({"truncate": True}, "w"),
    ({"sync": True}, "w"),
    ({"read": True, "write": True}, "rw"),
    ({"read": True, "append": True}, "rw"),
]


@both_modes
@pytest.mark.parametrize(("flags", "access"), ACCESS, ids=shown)
def test_access(flags, access, blocking, path):
    """FIL-21, FIL-23: reading is the default; append, truncate and sync imply writing; the rest is EBADF."""
    with system.openfile(path, **flags, blocking=blocking) as file:
        assert f" {access} fd={file.fileno()}>" in repr(file)
        buffer = bytearray(b"untouched")
        if "r" in access:
            assert file.read_into(buffer, offset=0, blocking=blocking) == 9
        else:
            for read in (lambda: file.read_into(buffer, blocking=blocking), lambda: file.read(blocking=blocking)):
                with pytest.raises(errors.UVError, match="EBADF") as caught:
                    read()
                assert not isinstance(caught.value, errors.Closed)
            assert buffer == b"untouched"
        if "w" in access:
            assert file.write(b"data", blocking=blocking) == 4
        else:
            with pytest.raises(errors.UVError, match="EBADF"):
                file.write(b"data", blocking=blocking)
    size = 4 if "truncate" in flags else len(TEXT) + 4 if "append" in flags else len(TEXT)
    assert path.stat().st_size == size


@both_modes
def test_children_inherit_what_they_shall(blocking, path):
    """B12: a descriptor is closed in child processes unless `cloexec` is false."""
    with system.openfile(path, blocking=blocking) as file:
        assert os.get_inheritable(file.fileno()) is False
    with system.openfile(path, cloexec=False, blocking=blocking) as file:
        assert os.get_inheritable(file.fileno()) is True


@both_modes
def test_no_descriptor_left(blocking, path):
    """EMFILE is raised like any other error, and the next attempt may succeed."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    opened = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (40, hard))
        with pytest.raises(errors.UVError, match="EMFILE"):
            opened.extend(system.openfile(path, blocking=blocking) for _ in range(50))
        opened.pop().close()
        opened.append(system.openfile(path, blocking=blocking))
        assert opened[-1].read(7, blocking=blocking) == b"0000000"
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in opened:
            file.close(blocking=True)


# -- reading


@both_modes
def test_read_into(blocking, path):
    """FIL-22: at an offset, which leaves the position alone; then from the position; only the slice is written to."""
    with system.openfile(path, blocking=blocking) as file:
        buffer = bytearray(b"." * 20)
        assert file.read_into(buffer, blocking=blocking) == 20
        assert buffer == TEXT[:20]
        assert file.read_into(buffer, 10, 20, offset=62, blocking=blocking) == 10
        assert buffer == TEXT[:10] + TEXT[62:72]
        assert file.read_into(buffer, 0, 12, blocking=blocking) == 12
        assert buffer == TEXT[20:32] + TEXT[64:72]
        assert file.read_into(buffer, 12, offset=10, blocking=blocking) == 8
        assert buffer == TEXT[20:32] + TEXT[10:18]


@both_modes
def test_the_end(blocking, path):
    """FIL-22: at the end and beyond it: 0, or nothing, again and again."""
    with system.openfile(path, blocking=blocking) as file:
        assert file.read(blocking=blocking) == TEXT
        for offset in (None, len(TEXT), 10**12):
            assert file.read_into(bytearray(b"xx"), offset=offset, blocking=blocking) == 0
            assert file.read(10, offset=offset, blocking=blocking) == b""
            assert file.read(offset=offset, blocking=blocking) == b""
        assert file.read_into(bytearray(20), offset=len(TEXT) - 3, blocking=blocking) == 3


@both_modes
@pytest.mark.parametrize("size", [0, 1, 2, COPY_BELOW - 1, COPY_BELOW, COPY_BELOW + 1, 200, 240, 241, 10**6, 2**62])
def test_read(size, blocking, path):
    """At most as many bytes as asked for; always bytes of their own, which no other read changes."""
    with system.openfile(path, blocking=blocking) as file:
        first = file.read(size, blocking=blocking)
        assert type(first) is bytes
        assert first == TEXT[:size]
        assert file.read(size, offset=5, blocking=blocking) == TEXT[5:][:size]
        assert file.read(size, blocking=blocking) == TEXT[size : 2 * size]
        assert (first, b"0", bytes(1)) == (TEXT[:size], TEXT[:1], b"\0")


@both_modes
@pytest.mark.parametrize("extra", [0, 1, FIRST_READ, 3 * FIRST_READ + 7])
def test_read_all(extra, blocking, tmp_path, monkeypatch):
    """Without a size: to the end, also of what grows, or is said to have no size; from the position or an offset."""
    file_run = file_module.run_call

    def run_and_grow(call, blocking):
        file_run(call, blocking)
        if call.name == "fstat":
            with open(path, "ab") as more:
                more.write(bytes(extra))

    path = tmp_path / "file"
    data = os.urandom(100_000)
    path.write_bytes(data)
    with system.openfile(path, blocking=blocking) as file:
        assert file.read(10, blocking=blocking) == data[:10]
        assert file.read(offset=50_000, blocking=blocking) == data[50_000:]
        assert file.read(blocking=blocking) == data[10:]
        with open(path, "ab") as more:
            more.write(bytes(extra))
        assert file.read(blocking=blocking) == bytes(extra)
        assert file.read(-7, offset=1, blocking=blocking) == data[1:] + bytes(extra)
        monkeypatch.setattr(file_module, "run_call", run_and_grow)
        assert file.read(offset=1, blocking=blocking) == data[1:] + bytes(2 * extra)
        assert file.read(blocking=blocking) == bytes(2 * extra)
    with system.openfile("/proc/self/status", blocking=blocking) as file:
        assert b"\nPid:\t%d\n" % os.getpid() in file.read(blocking=blocking)


@both_modes
def test_read_a_pipe(blocking):
    """What has no positions can be read to its end as well."""
    with pipe() as (near, far):
        assert far.write(TEXT, blocking=blocking) == len(TEXT)
        assert near.read(8, blocking=blocking) == TEXT[:8]
        far.close()
        assert near.read(blocking=blocking) == TEXT[8:]
        with pytest.raises(errors.UVError, match="ESPIPE"):
            near.read(1, offset=0, blocking=blocking)


def test_reading_suspends_only_the_reader():
    """Others run while a read waits, more of them than the pool has threads finish in the end."""
    log = []
    with pipe() as (near, far):
        reader = spawn.call(lambda: log.append(near.read(5)))
        system.suspend(0.01)
        assert (reader.status, log) == ("suspended", [])
        far.write(b"hello")
        system.run()
    assert log == [b"hello"]


def test_big_reads_are_not_copied(tmp_path):
    """Reading 64 MiB takes that much memory, not twice as much."""
    path = tmp_path / "big"
    with open(path, "wb") as big:
        big.truncate(1 << 26)
    script = f"""
        from coutil import system
        def peak():
            with open("/proc/self/status") as status:
                return int(status.read().split("VmHWM:")[1].split()[0])
        with system.openfile({str(path)!r}) as file:
            before = peak()
            data = file.read()
            print(len(data), (peak() - before) // 1024)
    """
    done = run_script(script)
    assert done.stderr == ""
    size, grown = map(int, done.stdout.split())
    assert size == 1 << 26
    assert 50 < grown < 90


@both_modes
@pytest.mark.parametrize("method", ["read", "read_into", "write"])
def test_bad_arguments(method, blocking, path):
    """Positions are integers from 0 on, sizes integers, data bytes-like; the position of the file is as before."""
    with system.openfile(path, read=True, write=True, blocking=blocking) as file:
        call = getattr(file, method)
        good = {"read": 3, "read_into": bytearray(3), "write": b"abc"}[method]
        for wrong in ("1", 1.0, True, b"1"):
            with pytest.raises(TypeError, match="offset "):
                call(good, offset=wrong, blocking=blocking)
        for wrong in (-1, 2**63):
            with pytest.raises(ValueError, match="offset "):
                call(good, offset=wrong, blocking=blocking)
        for wrong in ("text", None, 1.5, [1]):
            with pytest.raises(TypeError):
                call(wrong, blocking=blocking)
        if method != "read":
            for wrong in (1.1, "2", True):
                with pytest.raises(TypeError, match="start "):
                    call(good, wrong, blocking=blocking)
        with pytest.raises(TypeError, match="blocking "):
            call(good, blocking=1)
        assert file.read(blocking=blocking) == TEXT


def test_bad_buffers(path):
    """What libuv would write to must be writable, contiguous, and not empty."""
    with system.openfile(path) as file:
        for wrong in (b"constant", memoryview(b"constant")):
            with pytest.raises(TypeError, match="writable"):
                file.read_into(wrong)
        with pytest.raises(TypeError, match="contiguous"):
            file.read_into(memoryview(bytearray(8))[::2])
        with pytest.raises(ValueError, match="empty"):
            file.read_into(bytearray(8), 4, 4)
        numbers = array("I", [0, 0])
        assert file.read_into(numbers) == 8
        assert numbers.tobytes() == TEXT[:8]


def test_buffer_is_held_meanwhile(path):
    """FIL-40: a buffer cannot be resized before libuv is done with it, also not after an explicit resume."""
    buffer, log = bytearray(8), []
    with pipe() as (near, far):
        reader = spawn.call(lambda: log.append(near.read_into(buffer)))
        wait_until_it_reads(near.fileno())
        with pytest.raises(BufferError):
            buffer.clear()
        reader.resume("enough")
        assert log == ["enough"]
        with pytest.raises(BufferError):
            buffer.clear()
        far.write(b"too late")
        system.run()
        assert buffer == b"too late"
        buffer.clear()


# -- writing


@both_modes
def test_write(blocking, tmp_path):
    """FIL-24: at the position, or at an offset that leaves it alone; whole values and slices."""
    path = tmp_path / "file"
    with system.openfile(path, write=True, create=True, perm=0o600, blocking=blocking) as file:
        assert file.write(b"Hello, World!", blocking=blocking) == 13
        assert file.write(b"Good Bye World! Once more", 5, 15, offset=20, blocking=blocking) == 10
        assert file.write(memoryview(b" Well. "), blocking=blocking) == 7
        assert file.write(bytearray(b" Gone."), offset=30, blocking=blocking) == 6
        assert file.write(b"", blocking=blocking) == 0
    assert path.read_bytes() == b"Hello, World! Well. Bye World! Gone."


@both_modes
def test_append(blocking, path):
    """Every write goes to the end, wherever it is said to go."""
    with system.openfile(path, append=True, read=True, blocking=blocking) as file:
        assert file.write(b"one", blocking=blocking) == 3
        assert file.write(b"two", offset=0, blocking=blocking) == 3
        assert file.read(offset=0, blocking=blocking) == TEXT + b"onetwo"


@both_modes
def test_write_from(blocking, path, tmp_path):
    """FIL-25: pieces of another file, one after another at our position; short at its end."""
    with (
        system.openfile(path) as source,
        system.openfile(tmp_path / "new", write=True, read=True, create=True, perm=0o600) as target,
    ):
        assert target.write_from(source, 0, 10) == 10
        assert target.write_from(source, 62, 10, blocking=blocking) == 10
        assert target.read(offset=0) == TEXT[:10] + TEXT[62:72]
        assert target.write_from(source, len(TEXT) - 3, 100, blocking=blocking) == 3
        assert target.write_from(source, len(TEXT), 100, blocking=blocking) == 0
        assert target.write_from(source, 10**12, 100, blocking=blocking) == 0
        assert target.read(offset=20) == TEXT[-3:]
        assert source.read() == TEXT


@both_modes
def test_write_from_what_is_wrong(blocking, path):
    """FIL-25: an empty range is a ValueError; access counts on both sides."""
    with (
        system.openfile(path) as source,
        system.openfile(path.with_name("x"), create=True, append=True, perm=384) as to,
    ):
        for count in (0, -1):
            with pytest.raises(ValueError, match="count "):
                to.write_from(source, 0, count, blocking=blocking)
        with pytest.raises(ValueError, match="offset "):
            to.write_from(source, -1, 1, blocking=blocking)
        with pytest.raises(TypeError, match="source "):
            to.write_from(source.fileno(), 0, 1, blocking=blocking)
        with pytest.raises(errors.UVError, match=r"EBADF|EINVAL"):
            source.write_from(source, 0, 1, blocking=blocking)
        assert to.write_from(source, 8, 8, blocking=blocking) == 8
        to.close()
        with pytest.raises(errors.Closed):
            to.write_from(source, 0, 1, blocking=blocking)
    assert path.with_name("x").read_bytes() == TEXT[8:16]


def test_write_from_copies_much(tmp_path):
    """A file of 5 MiB is copied by one call."""
    data = os.urandom(1 << 20) * 5
    (tmp_path / "from").write_bytes(data)
    with (
        system.openfile(tmp_path / "from") as source,
        system.openfile(tmp_path / "to", write=True, create=True, perm=0o600) as target,
    ):
        assert target.write_from(source, 0, 10 << 20) == len(data)
    assert (tmp_path / "to").read_bytes() == data


@both_modes
def test_resize(blocking, path):
    """FIL-26, FIL-27: shorter, longer with zeros, and not without the right to write."""
    with system.openfile(path, blocking=blocking) as file, pytest.raises(errors.UVError, match="EINVAL"):
        file.resize(10, blocking=blocking)
    with system.openfile(path, truncate=True, blocking=blocking) as file:
        for _ in range(100):
            assert file.write(b"0123456789", blocking=blocking) == 10
        assert file.flush(blocking=blocking) is True
        assert file.resize(256, blocking=blocking) is True
        assert path.read_bytes() == (b"0123456789" * 26)[:256]
        assert file.resize(300, blocking=blocking) is True
        assert file.info("size", blocking=blocking) == 300
        assert path.read_bytes()[256:] == bytes(44)
        for wrong, kind in ((-1, ValueError), (2**63, ValueError), ("1", TypeError), (True, TypeError)):
            with pytest.raises(kind, match="size"):
                file.resize(wrong, blocking=blocking)


@both_modes
def test_flush(blocking, path):
    """FIL-28: with all attributes or the data only."""
    with system.openfile(path, truncate=True, blocking=blocking) as file:
        for number, more in enumerate(({}, {"data_only": True}, {"data_only": False}, {"data_only": True})):
            assert file.write(b"%d" % number, blocking=blocking) == 1
            assert file.flush(**more, blocking=blocking) is True
        assert path.read_bytes() == b"0123"
        with pytest.raises(TypeError, match="data_only "):
            file.flush(data_only=1, blocking=blocking)
    with pipe() as (_, far), pytest.raises(errors.UVError, match="EINVAL"):
        far.flush(blocking=blocking)


# -- closing

AFTER_CLOSE = {
    "fileno": lambda file, **_: file.fileno(),
    "read": lambda file, **more: file.read(1, **more),
    "read all": lambda file, **more: file.read(**more),
    "read_into": lambda file, **more: file.read_into(bytearray(1), **more),
    "write": lambda file, **more: file.write(b"x", **more),
    "resize": lambda file, **more: file.resize(0, **more),
    "flush": lambda file, **more: file.flush(**more),
    "touch": lambda file, **more: file.touch(**more),
    "own": lambda file, **more: file.own(-1, -1, **more),
    "grant": lambda file, **more: file.grant(0, **more),
    "info": lambda file, **more: file.info("size", **more),
    "buffered": lambda file, **_: file.buffered(),
    "text": lambda file, **_: file.text(),
    "lines": lambda file, **_: file.lines(),
}


@both_modes
@pytest.mark.parametrize("name", AFTER_CLOSE)
def test_closed_files(name, blocking, path):
    """FIL-29: closing twice is no error; everything else is `Closed`, which is an EBADF and a ValueError."""
    file = system.openfile(path, read=True, write=True)
    assert file.closed is False
    assert file.close(blocking=blocking) is True
    assert file.close(blocking=blocking) is True
    assert (file.closed, repr(file)) == (True, f"<File {path!r} closed>")
    with pytest.raises(errors.Closed) as caught:
        AFTER_CLOSE[name](file, blocking=blocking)
    assert isinstance(caught.value, ValueError)
    assert (caught.value.errno, str(path) in str(caught.value)) == (9, True)
    assert path.read_bytes() == TEXT


def test_buffers_of_a_closed_file_leave_no_word(path):
    """Python closes an io object that is half made, and says what fails then: since 3.13, before it with -X dev."""
    script = f"""
        import gc
        from coutil import errors, system
        file = system.openfile({str(path)!r})
        file.close()
        for make in (file.buffered, file.text, file.lines):
            try:
                make()
            except errors.Closed as error:
                print(error.errno)
        gc.collect()
        """
    assert output_of(script, "-X", "dev") == ["9"] * 3


@pytest.mark.parametrize("wrong", [{"encoding": "none"}, {"errors": 3}, {"newline": "x"}])
def test_text_that_is_refused(path, wrong):
    """The file stays open: there is nothing that could have taken it over."""
    with system.openfile(path) as file:
        with pytest.raises((LookupError, TypeError, ValueError)):
            file.text(**wrong)
        gc.collect()
        assert file.text().read() == TEXT.decode()


def test_close_waits(path):
    """FIL-29: others run while a close waits for the pool; the file counts as closed at once."""
    file, log = system.openfile(path), []
    closing = spawn.call(lambda: log.append(file.close()))
    assert (closing.status, file.closed, log) == ("suspended", True, [])
    system.run()
    assert log == [True]


def test_end_of_a_block(path):
    """A `with` block closes the file, whatever ends it."""
    with system.openfile(path) as file:
        number = file.fileno()
    second = system.openfile(path)
    with pytest.raises(KeyError), second:
        raise KeyError(second.fileno() == number)
    assert file.closed
    assert second.closed


def test_forgotten_files_are_closed(path, monkeypatch):
    """A file without references is closed at once; with -X dev it is told."""
    file = system.openfile(path)
    number = file.fileno()
    os.fstat(number)
    del file
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(number)
    script = f"""
        from coutil import system
        system.openfile({str(path)!r})
        print("on")
    """
    done = run_script(script, "-X", "dev")
    assert done.stdout == "on\n"
    assert "ResourceWarning: unclosed file" in done.stderr
    assert run_script(script).stderr == ""


# -- information

TYPE_OF = dict.fromkeys(PERMISSIONS, bool) | dict.fromkeys(("atime", "mtime", "ctime", "birthtime"), float)
TYPE_OF |= dict.fromkeys(("type", "fstype", "realpath"), str)


def unchanging(names):
    return sorted(name for name in names if name not in ("fsfree", "fsavailable", "fsinodesfree"))


@both_modes
@pytest.mark.parametrize("name", sorted(ALL))
def test_each_information(name, blocking, path):
    """FIL-31, FIL-33: alone it is a bare value of the right type; thrice, a tuple of equal ones."""
    value = system.fileinfo(path, name, blocking=blocking)
    assert type(value) is TYPE_OF.get(name, int if name != "target" else type(None))
    three = system.fileinfo(path, name, name, name, blocking=blocking)
    assert len(three) == 3
    assert three[0] == three[1] == three[2]
    if name in unchanging(ALL):
        assert three[0] == value
    if name in STAT:
        with system.openfile(path) as file:
            assert file.info(name, blocking=blocking) == value
            assert file.info(name, name, blocking=blocking) == (value, value)


def test_all_information(path):
    """FIL-32, FIL-33: all at once, in the order asked for; awaited and blocking values are equal."""
    names = unchanging(ALL)
    found = system.fileinfo(path, *names)
    assert len(found) == len(names)
    assert found == system.fileinfo(path, *names, blocking=True)
    assert system.fileinfo(path, *reversed(names)) == found[::-1]
    with system.openfile(path) as file:
        assert file.info(*sorted(STAT)) == file.info(*sorted(STAT), blocking=True)
        assert file.info(*sorted(STAT)) == system.fileinfo(path, *sorted(STAT))
        assert file.info() == file.info(blocking=True) == system.fileinfo(path) == system.fileinfo(path, blocking=True)


@both_modes
def test_information_is_right(blocking, path):
    """FIL-32: compared with what Python finds out."""
    ours, theirs, whole = system.fileinfo(path, blocking=blocking), path.stat(), os.statvfs(path)
    assert (ours.type, ours.mode, ours.uid, ours.gid) == ("file", theirs.st_mode, theirs.st_uid, theirs.st_gid)
    assert (ours.inode, ours.device, ours.rdev, ours.links) == (theirs.st_ino, theirs.st_dev, theirs.st_rdev, 1)
    assert (ours.size, ours.blocks, ours.blocksize) == (len(TEXT), theirs.st_blocks, theirs.st_blksize)
    assert (ours.atime, ours.mtime, ours.ctime) == pytest.approx((theirs.st_atime, theirs.st_mtime, theirs.st_ctime))
    path.chmod(0o4751)
    bits = system.fileinfo(path, *PERMISSIONS, blocking=blocking)
    assert "".join(str(int(bit)) for bit in bits) == "100111101001"
    names = ("fsblocks", "fsinodes", "fsblocksize")
    assert system.fileinfo(path, *names, blocking=blocking) == (whole.f_blocks, whole.f_files, whole.f_bsize)


@both_modes
@pytest.mark.parametrize(
    ("where", "kind"), [("/", "directory"), ("/dev/null", "character"), ("/proc/self/exe", "link"), ("fifo", "pipe")]
)
def test_types(where, kind, blocking, tmp_path):
    """FIL-31: what a file is, without following links."""
    if where == "fifo":
        os.mkfifo(tmp_path / where)
    path = tmp_path / where
    assert system.fileinfo(path, "type", follow=False, blocking=blocking) == kind
    assert system.fileinfo(path, follow=False, blocking=blocking).type == kind
    assert system.fileinfo("/proc", "fstype", blocking=blocking) == "proc"


def test_bad_information(path):
    """FIL-30: unknown names, each of them; and `follow` is a bool. Nothing is asked of the system before."""
    with system.openfile(path) as file:
        for wrong in (*map(chr, range(256)), "st_size", "~size", "size,mode"):
            for ask in (lambda *names: system.fileinfo(path, *names), file.info):
                with pytest.raises(ValueError, match="is not one of the names"):
                    ask("size", wrong)
        for wrong in (None, 3, b"size", ("size",)):
            with pytest.raises(TypeError, match="names "):
                system.fileinfo(path, wrong)
        with pytest.raises(ValueError, match="'realpath' is not one of the names"):
            file.info("realpath")
        with pytest.raises(TypeError, match="follow "):
            system.fileinfo(path, "size", follow=1)


# -- together


def test_many_coroutines_share_a_file(tmp_path):
    """Each call is a request of its own: blocks written by fifty coroutines are all there."""
    with system.openfile(tmp_path / "file", read=True, write=True, create=True, perm=0o600) as file:
        for number in range(50):
            spawn.call(lambda number=number: file.write(b"%03d\n" % number, offset=4 * number))
        system.run()
        assert file.read(offset=0) == b"".join(b"%03d\n" % number for number in range(50))


def test_names_and_reprs(path):
    """A waiting coroutine says what it waits for; a file says what it is."""
    with pipe() as (near, far):
        reader = spawn.call(near.read, 1)
        assert "read file 'reader'" in repr(reader)
        far.write(b"x")
        system.run()
    opener = spawn.call(lambda: system.openfile(path).close())
    assert f"open {path!r}" in repr(opener)
    system.run()


def test_no_cycles(path):
    """What is done leaves nothing for the garbage collector."""
    gc.collect()
    gc.disable()
    try:
        with system.openfile(path) as file:
            file.read()
            with pytest.raises(errors.UVError):
                file.write(b"x")
        del file
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert gc.collect() < 50
    finally:
        gc.enable()
    assert sys.flags.dev_mode is False
