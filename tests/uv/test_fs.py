"""File system requests: by the loop's method, by the flat function, and without a loop. After libuv's own tests."""

import errno
import fcntl
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from functools import partial
from textwrap import dedent

import pytest

from coutil import errors, system, uv
from tests.helpers.script import ROOT as SCRIPTS
from tests.helpers.script import output_of

ROOT = os.geteuid() == 0


class Flat:
    """The flat functions, with their first argument."""

    def __init__(self, loop):
        self.loop = loop

    def __getattr__(self, name):
        return partial(getattr(uv, f"fs_{name}"), self.loop)


@pytest.fixture(params=["method", "flat", "blocking", "object"])
def fs(request, loop):
    """The file system in each of the ways that it can be called."""
    if request.param == "method":
        return loop.fs
    if request.param == "object":
        return uv.FS(None)
    return Flat(loop if request.param == "flat" else None)


@pytest.fixture
def path(tmp_path):
    """The path of a file that does not exist yet."""
    return str(tmp_path / "file")


@pytest.fixture
def opened(fs, path):
    """A new file, open to read and write."""
    fd = fs.open(path, "w+")
    yield fd
    os.close(fd)


def raises(name, syscall, *paths):
    """Expect libuv's error, the class that Python has for it, and the paths in the message."""
    number = getattr(errno, name, 0)
    builtin = type(OSError(number, "")) if number else OSError
    text = r".*" + r" -> ".join(repr(path).replace("\\", "\\\\") for path in paths)
    return pytest.raises((builtin, uv.UVError), match=rf"^{name}: .*\(uv_fs_{syscall}\)" + text)


def test_every_function_has_both_forms():
    """Each method has a flat function and a sister that does not wait; there are 34 functions, and `readinto`."""
    methods = [name for name in vars(uv.FS) if not name.startswith("_") and not name.endswith("_nowait")]
    assert len(methods) == 35
    for name in methods:
        assert getattr(uv, f"fs_{name}").__doc__ == getattr(uv.FS, name).__doc__
        assert getattr(uv.FS, f"{name}_nowait").__name__ == f"{name}_nowait"


# -- files: fs_file_* -------------------------------------------------------------------------------------------------


def test_missing_file(fs, path):
    """fs_file_noent, fs_stat_missing_path: errors are those of Python, and name call and path."""
    for name in ("open", "stat", "lstat", "unlink", "statfs", "realpath", "readlink", "scandir", "opendir"):
        with pytest.raises(FileNotFoundError) as caught:
            getattr(fs, name)(path)
        found = caught.value
        assert isinstance(found, uv.UVError)
        assert (found.name, found.errno, found.filename, found.syscall) == (
            "ENOENT",
            errno.ENOENT,
            path,
            f"uv_fs_{name}",
        )


def test_long_names_and_loops(fs, path):
    """fs_file_nametoolong, fs_file_loop."""
    with raises("ENAMETOOLONG", "open"):
        fs.open("/" + "a" * 70000)
    fs.symlink(path, path)
    with raises("ELOOP", "open", path):
        fs.open(path)
    with raises("ELOOP", "access", path):
        fs.access(path)


def test_life_of_a_file(fs, path):
    """fs_file_async, fs_file_sync: create, write, read, truncate, rename, delete."""
    fd = fs.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
    assert fs.write(fd, b"test-buffer\n") == 12
    assert fs.close(fd) is True
    fd = fs.open(path, os.O_RDWR)
    assert fs.read(fd, 64) == b"test-buffer\n"
    assert fs.read(fd, 64) == b""
    assert fs.ftruncate(fd, 7) is True
    assert fs.read(fd, 64, 0) == b"test-bu"
    fs.close(fd)
    assert fs.rename(path, path + "2") is True
    assert not fs.access(path)
    assert stat.S_IMODE(os.stat(path + "2").st_mode) == 0o600
    assert fs.unlink(path + "2") is True
    assert not os.path.exists(path + "2")


def test_nothing_to_write(fs, opened):
    """fs_file_write_null_buffer: no bytes, or no buffers, write nothing; so does reading none."""
    assert [fs.write(opened, data) for data in (b"", [], [b""], bytearray())] == [0] * 4
    assert fs.read(opened, 0) == b""
    assert fs.fstat(opened).size == 0


def test_rename_to_existing_file(fs, path):
    """fs_rename_to_existing_file; the paths of an error are both named."""
    for number in "ab":
        with open(path + number, "w") as file:
            file.write(number)
    assert fs.rename(path + "a", path + "b") is True
    with open(path + "b") as file:
        assert file.read() == "a"
    with raises("ENOENT", "rename", path + "a", path + "c") as caught:
        fs.rename(path + "a", path + "c")
    assert (caught.value.filename, caught.value.filename2) == (path + "a", path + "c")


def test_append(fs, path):
    """fs_file_open_append, fs_file_pos_append: writes go to the end, reads where they are told."""
    for _ in range(2):
        fd = fs.open(path, "a+")
        assert fs.write(fd, b"test-buffer") == 11
        fs.close(fd)
    fd = fs.open(path, "a+")
    fs.write(fd, b"!", 0)
    assert fs.read(fd, 100, 0) == b"test-buffer" * 2 + b"!"
    fs.close(fd)


def test_position(fs, opened):
    """fs_file_pos_after_op_with_offset, fs_file_pos_write: an offset leaves the position of the file alone."""
    assert fs.write(opened, b"ABCD", 0) == 4
    assert os.lseek(opened, 0, os.SEEK_CUR) == 0
    assert fs.read(opened, 2) == b"AB"
    assert fs.read(opened, 1, 3) == b"D"
    assert os.lseek(opened, 0, os.SEEK_CUR) == 2
    assert fs.write(opened, b"xyz") == 3
    assert os.lseek(opened, 0, os.SEEK_CUR) == 5
    assert fs.read(opened, 9, 0) == b"ABxyz"


def test_large_offsets(fs, opened):
    """io-64-safe: an offset of more than 32 bits."""
    assert fs.write(opened, b"end", 2**40) == 3
    assert fs.fstat(opened).size == 2**40 + 3
    assert fs.read(opened, 8, 2**40) == b"end"
    assert fs.read(opened, 8, 2**63 - 9) == b""


def test_buffers(fs, opened):
    """fs_read_bufs, fs_write_multiple_bufs: several buffers are one read, or one write."""
    assert fs.write(opened, [b"hello ", bytearray(b"wor"), memoryview(b"ld")], 3) == 11
    buffers = [bytearray(4), memoryview(bytearray(2)), bytearray(100)]
    assert fs.readinto(opened, buffers, 3) == 11
    assert [bytes(one)[:5] for one in buffers] == [b"hell", b"o ", b"world"]
    assert fs.readinto(opened, bytearray(5)) == 5
    with pytest.raises(TypeError, match="writable"):
        fs.readinto(opened, [bytearray(1), b"constant"])
    with pytest.raises(ValueError, match="empty"):
        fs.readinto(opened, [])


@pytest.mark.slow
@pytest.mark.parametrize("offset", [-1, 10])
def test_more_buffers_than_the_system_takes(fs, opened, offset):
    """fs_write_alotof_bufs, fs_write_alotof_bufs_with_offset: 54321 of them; reading stops at the system's limit."""
    data = b"test-buffer"
    assert fs.write(opened, [data] * 54321, offset) == 54321 * len(data)
    assert fs.fstat(opened).size == 54321 * len(data) + max(offset, 0)
    buffers = [bytearray(len(data)) for _ in range(54321)]
    limit = os.sysconf("SC_IOV_MAX")
    assert fs.readinto(opened, buffers, max(offset, 0)) == limit * len(data)
    assert bytes(buffers[limit - 1]) == data
    assert bytes(buffers[limit]) == bytes(len(data))


def test_end_of_file(fs, opened):
    """fs_read_file_eof: no bytes, again and again."""
    fs.write(opened, b"x")
    assert [fs.read(opened, 5, at) for at in (0, 1, 2, -1)] == [b"x", b"", b"", b""]
    assert fs.readinto(opened, bytearray(3)) == 0


def test_partial_reads_and_writes(fs):
    """fs_partial_read, fs_partial_write: what a pipe has, or takes."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    written = fs.write(writer, [b"x" * 100_000] * 3)
    assert 0 < written < 300_000
    with pytest.raises(BlockingIOError):
        fs.write(writer, b"x")
    got = 0
    while got < written:
        got += len(fs.read(reader, 300_000))
    assert got == written
    os.close(writer)
    assert fs.read(reader, 10) == b""
    os.close(reader)


def test_arguments(fs, path):
    """fs_null_req, fs_read_write_null_arguments, fs_invalid_mkdir_name: nothing reaches libuv that it would refuse."""
    for wrong in (None, 3, object()):
        with pytest.raises(TypeError, match="path "):
            fs.stat(wrong)
    for name in ("stat", "open", "mkdir", "scandir", "opendir", "mkstemp"):
        with pytest.raises(ValueError, match="null character"):
            getattr(fs, name)(path + "\0x")
    for name in ("rename", "link", "symlink", "copyfile"):
        with pytest.raises(ValueError, match="null character"):
            getattr(fs, name)(path, b"\0")
    for wrong in (-1, 2**31):
        with pytest.raises(ValueError, match=r"\bfd "):
            fs.read(wrong, 1)
    for wrong in (True, None, "1", 1.0):
        with pytest.raises(TypeError, match=r"\bfd "):
            fs.close(wrong)
    for call in (partial(fs.read, 0, -1), partial(fs.read, 0, 1, -2), partial(fs.ftruncate, 0, -1)):
        with pytest.raises(ValueError, match="out of range"):
            call()
    for call in (partial(fs.write, 1, "text"), partial(fs.write, 1, ["text"]), partial(fs.write, 1, 5)):
        with pytest.raises(TypeError, match="bytes-like"):
            call()
    with raises("ENOENT", "mkdir"):
        fs.mkdir("")
    with pytest.raises(TypeError, match="excl "):
        fs.copyfile(path, path, excl=1)


def test_names_that_are_long(fs, tmp_path):
    """B66: names are never cut: 255 bytes are a file, more an error; surrogates that are no bytes cannot be encoded."""
    name = str(tmp_path / ("n" * 255))
    fs.close(fs.open(name, "w"))
    assert [entry for entry, _ in fs.scandir(tmp_path)] == ["n" * 255]
    for size in (256, 4096, 65536):
        with raises("ENAMETOOLONG", "open"):
            fs.open(str(tmp_path / ("n" * size)), "w")
    with pytest.raises(ValueError, match="surrogates"):
        fs.open("\ud800")


def test_bad_descriptors(fs):
    """Every call on a descriptor that is not open is EBADF."""
    reader, writer = os.pipe()
    os.close(reader)
    os.close(writer)
    arguments = {
        "close": (), "fsync": (), "fdatasync": (), "fstat": (), "read": (1,), "write": (b"x",), "ftruncate": (1,),
        "fchmod": (0o600,), "fchown": (-1, -1), "futime": (1, 1), "readinto": (bytearray(1),),
    }  # fmt: skip  # a line for each says no more
    for name, values in arguments.items():
        with pytest.raises(uv.UVError) as caught:
            getattr(fs, name)(writer, *values)
        assert caught.value.name == "EBADF", name


# -- open flags: fs_open_flags, luv's letters -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letters", "bits"),
    [
        ("r", os.O_RDONLY),
        ("rs", os.O_RDONLY | os.O_SYNC),
        ("sr", os.O_RDONLY | os.O_SYNC),
        ("r+", os.O_RDWR),
        ("rs+", os.O_RDWR | os.O_SYNC),
        ("sr+", os.O_RDWR | os.O_SYNC),
        ("w", os.O_TRUNC | os.O_CREAT | os.O_WRONLY),
        ("wx", os.O_TRUNC | os.O_CREAT | os.O_WRONLY | os.O_EXCL),
        ("xw+", os.O_TRUNC | os.O_CREAT | os.O_RDWR | os.O_EXCL),
        ("a", os.O_APPEND | os.O_CREAT | os.O_WRONLY),
        ("ax+", os.O_APPEND | os.O_CREAT | os.O_RDWR | os.O_EXCL),
        ("as", os.O_APPEND | os.O_CREAT | os.O_WRONLY | os.O_SYNC),
    ],
)
def test_letters_of_flags(loop, tmp_path, letters, bits):
    """fs_open_flags: letters mean what luv's do; descriptors are not inherited."""
    path = tmp_path / "file"
    if "x" not in letters:
        path.write_bytes(b"old")
    fd = loop.fs.open(path, letters)
    lasting = os.O_ACCMODE | os.O_APPEND | os.O_SYNC
    assert fcntl.fcntl(fd, fcntl.F_GETFL) & lasting == bits & lasting
    assert not os.get_inheritable(fd)
    assert path.read_bytes() == (b"" if bits & os.O_TRUNC or "x" in letters else b"old")
    loop.fs.close(fd)
    if "x" in letters:
        with pytest.raises(FileExistsError):
            loop.fs.open(path, letters)


def test_flags_that_are_none(fs, path):
    """Unknown letters are listed; other types are refused."""
    for wrong in ("", "rw", "x", "r++", "wx+x"):
        with pytest.raises(ValueError, match=r"flags "):
            fs.open(path, wrong)
    for wrong in (None, True, 1.5):
        with pytest.raises(TypeError, match="flags "):
            fs.open(path, wrong)
    assert not os.path.exists(path)


# -- what is known about files ----------------------------------------------------------------------------------------


def test_stat(fs, opened, path):
    """fs_fstat, fs_fstat_st_dev, fs_stat_root: every field is what the standard library says."""
    fs.write(opened, b"test-buffer")
    for ours, theirs in (
        (fs.fstat(opened), os.stat(path)),
        (fs.stat(path), os.stat(path)),
        (fs.stat("/"), os.stat("/")),
    ):
        for name in ("dev", "mode", "nlink", "uid", "gid", "rdev", "ino", "size", "blksize", "blocks"):
            assert getattr(ours, name) == getattr(theirs, f"st_{name}"), name
        for name in "amc":
            seconds, nanoseconds = getattr(ours, f"{name}tim")
            assert seconds * 10**9 + nanoseconds == getattr(theirs, f"st_{name}time_ns")
        assert isinstance(ours, uv.Stat)


def test_stat_of_descriptors_of_all_kinds(fs):
    """fs_fstat_stdio: pipes and sockets, too."""
    reader, writer = os.pipe()
    left, right = socket.socketpair()
    with left, right:
        assert stat.S_ISFIFO(fs.fstat(reader).mode)
        assert stat.S_ISSOCK(fs.fstat(left.fileno()).mode)
    os.close(reader)
    os.close(writer)


def test_many_stats(loop, tmp_path):
    """fs_stat_batch_multiple: ten rounds of ten at once."""
    for _ in range(10):
        requests = [loop.fs.stat_nowait(tmp_path) for _ in range(10)]
        assert {request.result().ino for request in requests} == {os.stat(tmp_path).st_ino}
        assert all(request.done for request in requests)
    assert loop.alive is False


@pytest.mark.skipif(ROOT, reason="root may do everything")
def test_stat_without_permission(fs, tmp_path):
    """fs_stat_no_permission, fs_open_readonly_acl."""
    folder = tmp_path / "closed"
    folder.mkdir()
    (folder / "file").touch()
    folder.chmod(0)
    with pytest.raises(PermissionError):
        fs.stat(folder / "file")
    assert not fs.access(folder / "file")
    folder.chmod(0o700)


def test_statfs(fs, tmp_path):
    """fs_statfs: the numbers of the standard library; a fragment's size is not told before libuv 1.52."""
    found, known = fs.statfs(tmp_path), os.statvfs(tmp_path)
    assert isinstance(found, uv.StatFS)
    assert (found.bsize, found.blocks, found.files) == (known.f_bsize, known.f_blocks, known.f_files)
    assert found.bfree >= found.bavail >= 0
    assert found.ffree <= found.files or found.files == 0
    assert found.frsize in (None, known.f_frsize)


def test_access(fs, path):
    """fs_access: whether it may be; what is not there, or forbidden, is no error."""
    assert [fs.access(path), fs.access(path, "r"), fs.access(path, os.F_OK)] == [False] * 3
    fs.close(fs.open(path, "w", 0o600))
    assert [fs.access(path, mode) for mode in ("", "r", "w", "rw", os.R_OK | os.W_OK)] == [True] * 5
    assert fs.access(path, "x") is fs.access(path, "rwx") is False
    fs.chmod(path, 0o700)
    assert fs.access(path, "xwr") is True
    with raises("ENOTDIR", "access"):
        fs.access(path + "/below")
    for wrong, kind in (("q", ValueError), (8, ValueError), (None, TypeError)):
        with pytest.raises(kind, match="mode"):
            fs.access(path, wrong)


def test_chmod(fs, opened, path):
    """fs_chmod, fs_unlink_readonly, fs_unlink_archive_readonly."""
    for mode in (0o200, 0o400, 0o640, 0o4711):
        assert fs.chmod(path, mode) is True
        assert stat.S_IMODE(fs.stat(path).mode) == mode
        assert fs.fchmod(opened, mode ^ 0o40) is True
        assert stat.S_IMODE(fs.fstat(opened).mode) == mode ^ 0o40
    for wrong in (-1, 0o10000):
        with pytest.raises(ValueError, match="mode "):
            fs.chmod(path, wrong)
    fs.chmod(path, 0o400)
    assert fs.unlink(path) is True


def test_chown(fs, opened, path):
    """fs_chown: -1 leaves it as it is; of a link itself, too."""
    uid, gid = os.getuid(), os.getgid()
    fs.symlink("nowhere", path + "-link")
    assert fs.chown(path, uid, gid) is fs.chown(path, -1, -1) is True
    assert fs.fchown(opened, -1, gid) is fs.lchown(path + "-link", uid, gid) is True
    with raises("ENOENT", "chown"):
        fs.chown(path + "-link", -1, -1)
    for wrong in (-2, 2**32):
        with pytest.raises(ValueError, match=r"\buid "):
            fs.chown(path, wrong, 0)
        with pytest.raises(ValueError, match=r"\bgid "):
            fs.fchown(opened, 0, wrong)
    if not ROOT:
        with raises("EPERM", "chown"):
            fs.chown(path, 0, 0)


# -- times ------------------------------------------------------------------------------------------------------------


def times(path):
    """The times of access and modification in seconds, of a link itself."""
    found = os.lstat(path)
    return found.st_atime_ns / 1e9, found.st_mtime_ns / 1e9


@pytest.mark.parametrize("name", ["utime", "futime", "lutime"])
def test_utime(fs, opened, path, name):
    """fs_utime, fs_futime, fs_lutime: both times; None leaves one as it is, exactly, and "now" is now."""
    what = opened if name == "futime" else path
    if name == "lutime":
        fs.symlink(path, path + "-link")
        what, path, target = path + "-link", path + "-link", os.stat(path)
    call = getattr(fs, name)
    assert call(what, 400497753.25, 400497754) is True
    assert times(path) == (400497753.25, 400497754)
    before = os.lstat(path).st_mtime_ns
    assert call(what, 5, None) is True
    assert (times(path)[0], os.lstat(path).st_mtime_ns) == (5, before)
    begin = time.time() - 0.1
    assert call(what, None, "now") is True
    assert times(path)[0] == 5
    assert begin <= times(path)[1] <= time.time()
    assert call(what, "now", 7.5) is True
    assert (times(path)[0] >= begin, times(path)[1]) == (True, 7.5)
    assert call(what, None, None) is True
    assert times(path)[1] == 7.5
    if name == "lutime":
        assert os.stat(path).st_mtime_ns == target.st_mtime_ns


def test_utime_exactly_as_it_was(fs, path):
    """Omitting a time keeps its nanoseconds, which no float could."""
    fs.close(fs.open(path, "w"))
    os.utime(path, ns=(123456789_123456789, 987654321_987654321))
    fs.utime(path, None, 1)
    assert os.stat(path).st_atime_ns == 123456789_123456789
    os.utime(path, ns=(123456789_123456789, 987654321_987654321))
    fs.utime(path, "now", None)
    assert os.stat(path).st_mtime_ns == 987654321_987654321


@pytest.mark.parametrize("when", [-14220.25, -0.5, 0, 0.001, 1.000001, 2**31 + 0.5, 1234567890.75])
def test_utime_round(fs, path, when):
    """fs_utime_round: times before 1970 and after 2038, to the microsecond."""
    fs.close(fs.open(path, "w"))
    fs.utime(path, when, when)
    assert times(path) == (pytest.approx(when, abs=2e-6),) * 2
    fs.utime(path, when, None)
    assert times(path)[0] == pytest.approx(when, abs=2e-6)


def test_times_that_are_none(fs, path):
    """Nothing is set for what is no time; a missing file is told either way."""
    for wrong, kind in (
        ("soon", ValueError),
        (float("nan"), ValueError),
        (float("inf"), ValueError),
        (1e300, ValueError),
    ):
        with pytest.raises(kind, match="atime "):
            fs.utime(path, wrong, 0)
    for wrong in (True, b"now", [1]):
        with pytest.raises(TypeError, match="mtime "):
            fs.lutime(path, 0, wrong)
    for mtime in (0, None, "now"):
        with raises("ENOENT", "utime", path):
            fs.utime(path, 0, mtime)


# -- links, copies, new names -----------------------------------------------------------------------------------------


def test_links(fs, path):
    """fs_link, fs_readlink, fs_symlink, fs_symlink_dir, fs_symlink_junction."""
    fs.close(fs.open(path, "w"))
    assert fs.link(path, path + "-hard") is True
    assert os.stat(path).st_nlink == 2
    assert fs.symlink(path, path + "-soft") is fs.symlink("x", path + "-d", dir=True, junction=False) is True
    assert fs.readlink(path + "-soft") == path
    assert fs.readlink(os.fsencode(path + "-d")) == b"x"
    assert fs.lstat(path + "-soft").mode != fs.stat(path + "-soft").mode == fs.stat(path).mode
    with raises("EINVAL", "readlink", path):
        fs.readlink(path)
    with raises("EEXIST", "symlink", "target", path):
        fs.symlink("target", path)
    with raises("EEXIST", "link", path, path + "-hard"):
        fs.link(path, path + "-hard")


def test_realpath(fs, tmp_path):
    """fs_realpath."""
    (tmp_path / "link").symlink_to(tmp_path)
    assert fs.realpath(str(tmp_path / "link" / "." / "link")) == os.path.realpath(tmp_path)
    assert fs.realpath(os.fsencode(tmp_path / "link")) == os.fsencode(os.path.realpath(tmp_path))
    assert fs.realpath(".") == os.getcwd()


def test_copyfile(fs, path):
    """fs-copyfile: contents and permissions; exclusively; sharing where it can be."""
    with open(path, "wb") as file:
        file.write(b"contents" * 10_000)
    os.chmod(path, 0o640)
    assert fs.copyfile(path, path + "2") is fs.copyfile(path, path + "2", ficlone=True) is True
    assert fs.stat(path + "2").mode == fs.stat(path).mode
    with raises("EEXIST", "copyfile", path, path + "2"):
        fs.copyfile(path, path + "2", excl=True)
    with raises("ENOENT", "copyfile", path + "3", path + "4"):
        fs.copyfile(path + "3", path + "4")
    try:
        fs.copyfile(path, path + "5", ficlone_force=True)
    except uv.UVError as error:
        assert error.name in ("ENOSYS", "ENOTSUP", "EINVAL", "EXDEV", "ENOTTY", "EOPNOTSUPP")  # noqa: PT017  # may work
        assert not os.path.exists(path + "5")
    with open(path + "2", "rb") as file:
        assert file.read() == b"contents" * 10_000


def test_sendfile(fs, path):
    """fs_async_sendfile, fs_async_sendfile_nodata: from an offset to the other's position; 0 at the end."""
    with open(path, "wb") as file:
        file.write(b"begin\n" + bytes(65546) + b"end\n")
    source, target = fs.open(path), fs.open(path + "2", "w")
    assert fs.sendfile(target, source, 2, 65546) == 65546
    assert fs.sendfile(target, source, 65548, 131082) == 8
    assert fs.sendfile(target, source, 70000, 5) == 0
    assert os.lseek(source, 0, os.SEEK_CUR) == 0
    with open(path, "rb") as one, open(path + "2", "rb") as other:
        assert one.read()[2:] == other.read()
    with pytest.raises(ValueError, match="offset "):
        fs.sendfile(target, source, -1, 5)
    fs.close(source)
    fs.close(target)


def test_new_names(fs, tmp_path):
    """fs_mkdtemp, fs_mkstemp: a new name each time; the template must end in XXXXXX."""
    template = str(tmp_path / "test_XXXXXX")
    folders = {fs.mkdtemp(template), fs.mkdtemp(template)}
    assert len(folders) == 2
    assert all(os.path.isdir(one) and one.startswith(template[:-6]) and len(one) == len(template) for one in folders)
    fd, path = fs.mkstemp(os.fsencode(template))
    assert isinstance(path, bytes)
    assert os.stat(path).st_ino == fs.fstat(fd).ino
    assert fs.write(fd, b"x") == 1
    fs.close(fd)
    for call in (fs.mkdtemp, fs.mkstemp):
        with raises("EINVAL", call_name(call)):
            call(str(tmp_path / "testXXX"))


def call_name(call):
    """The name of a method or flat function."""
    return getattr(call, "__name__", None) or call.func.__name__


def test_synchronization(fs, opened):
    """Write to the disk; a pipe has nothing to write."""
    assert fs.fsync(opened) is fs.fdatasync(opened) is True
    reader, writer = os.pipe()
    for call in (fs.fsync, fs.fdatasync):
        with raises("EINVAL", call_name(call)):
            call(writer)
    os.close(reader)
    os.close(writer)


# -- folders: fs_async_dir, fs_scandir_*, fs_open_dir, fs_read_dir ----------------------------------------------------


def test_folders(fs, tmp_path):
    """fs_async_dir, fs_posix_delete: make, list, delete."""
    folder = tmp_path / "folder"
    assert fs.mkdir(folder, 0o700) is True
    assert stat.S_IMODE(os.stat(folder).st_mode) == 0o700
    for name in ("b", "a", "c"):
        fs.close(fs.open(folder / name, "w"))
    fs.mkdir(folder / "d")
    fs.symlink("a", folder / "e")
    os.mkfifo(folder / "f")
    found = fs.scandir(folder)
    assert found == [("a", "file"), ("b", "file"), ("c", "file"), ("d", "directory"), ("e", "link"), ("f", "fifo")]
    assert fs.scandir(os.fsencode(folder))[0] == (b"a", "file")
    for name in ("EEXIST", "ENOTEMPTY"):
        with pytest.raises(uv.UVError) as caught:
            (fs.mkdir if name == "EEXIST" else fs.rmdir)(folder)
        assert caught.value.name == name
    with raises("EISDIR", "unlink") if sys.platform == "linux" else pytest.raises(uv.UVError):
        fs.unlink(folder)
    for name, kind in found:
        (fs.rmdir if kind == "directory" else fs.unlink)(folder / name)
    assert fs.scandir(folder) == []
    assert fs.rmdir(folder) is True
    with raises("ENOENT", "rmdir"):
        fs.rmdir(folder)


def test_scandir_of_what_is_no_folder(fs, path):
    """fs_scandir_file, fs_scandir_non_existent_dir."""
    with raises("ENOENT", "scandir", path):
        fs.scandir(path)
    fs.close(fs.open(path, "w"))
    with raises("ENOTDIR", "scandir", path):
        fs.scandir(path)


def test_names_that_are_no_text(fs, tmp_path):
    """fs_wtf: bytes that are no UTF-8 come and go as they are."""
    name = b"\xff\xfe-\xc3("
    fs.close(fs.open(os.fsencode(tmp_path) + b"/" + name, "w"))
    assert fs.scandir(os.fsencode(tmp_path)) == [(name, "file")]
    ((text, _),) = fs.scandir(tmp_path)
    assert fs.stat(os.path.join(tmp_path, text)).size == 0


def test_large_folder(loop, tmp_path):
    """fs_scandir_early_exit: all names at once, more than any buffer of ours holds at first."""
    names = sorted(f"{number:04}-{'x' * 200}" for number in range(600))
    for name in names:
        (tmp_path / name).touch()
    assert loop.fs.scandir(tmp_path) == [(name, "file") for name in names]
    with loop.fs.opendir(tmp_path, 300) as folder:
        assert sorted(folder) == [(name, "file") for name in names]


def test_folder_as_a_file(fs, tmp_path):
    """fs_open_dir, fs_read_dir: a folder can be opened, but not read."""
    fd = fs.open(tmp_path)
    with raises("EISDIR", "read"):
        fs.read(fd, 10)
    fs.close(fd)
    with raises("EISDIR", "open", str(tmp_path)):
        fs.open(str(tmp_path), "w")


# -- of loops ---------------------------------------------------------------------------------------------------------


def test_first_argument(loop):
    """Only a loop, or None."""
    for wrong in (3, "loop", uv.Loop, loop.fs):
        with pytest.raises(TypeError, match="the first argument "):
            uv.fs_stat(wrong, "/")
        with pytest.raises(TypeError, match="loop "):
            uv.FS(wrong)
    assert "FS of <Loop" in repr(loop.fs)
    assert repr(uv.FS(None)) == "<FS without a loop>"
    with pytest.raises(ValueError, match="without a loop"):
        uv.FS(None).stat_nowait("/")


def test_other_loops_and_threads(loop):
    """A call waits in the loop that it is made of; other threads get ForeignThread, closed loops Closed."""
    caught = []
    with uv.Loop() as other:
        assert uv.fs_stat(other, "/").ino == loop.fs.stat("/").ino

    def elsewhere():
        for call in (partial(uv.fs_stat, loop, "/"), partial(loop.fs.stat_nowait, "/")):
            try:
                call()
            except errors.ForeignThread as error:
                caught.append(error)
        caught.append(uv.fs_stat(None, "/").ino)

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert caught[2:] == [os.stat("/").st_ino]
    assert all(isinstance(error, errors.ForeignThread) for error in caught[:2])
    for call in (other.fs.stat, other.fs.stat_nowait):
        with pytest.raises(errors.Closed):
            call("/")


def test_closing_what_the_loop_polls():
    """A descriptor that a handle of the loop has: libuv would abort the process sooner or later, so it is EBUSY."""
    with system.socket("passive", "ipv4") as server:
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(1)
        with pytest.raises(uv.UVError) as caught:
            uv.default_loop().fs.close(server.fileno())
        assert (caught.value.name, caught.value.syscall) == ("EBUSY", "uv_fs_close")
        with socket.create_connection(("127.0.0.1", server.getaddress().port)):
            server.accept().close()


def test_signals_during_a_read():
    """A signal that a thread of the pool gets while it reads does not end the call: it begins anew."""
    lines = output_of(
        """
        import os, signal, threading
        os.environ["UV_THREADPOOL_SIZE"] = "1"
        from coutil import spawn, uv
        from tests.helpers.pool import wait_until_it_reads
        loop, seen = uv.default_loop(), []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append("signal"))
        thread = loop.queue_work(threading.get_ident)
        reader, writer = os.pipe()
        def interrupt():
            wait_until_it_reads(reader)
            signal.pthread_kill(thread, signal.SIGUSR1)
            wait_until_it_reads(reader)
            os.write(writer, b"hello")
        def begin_to_read():
            return spawn.call(lambda: print(loop.fs.read(reader, 9)))
        for begin in (begin_to_read, lambda: loop.fs.read_nowait(reader, 9)):
            begun = begin()
            loop.run("nowait")
            interrupter = threading.Thread(target=interrupt)
            interrupter.start()
            loop.run()
            interrupter.join()
        print(begun.result(), set(seen) <= {"signal"})
        """
    )
    assert lines == ["b'hello'", "b'hello' True"]


def test_interrupt_without_a_loop():
    """Ctrl-C ends a read that stops the thread; other signals do not."""
    program = """
        import os, signal
        from coutil import uv
        reader, writer = os.pipe()
        signal.signal(signal.SIGALRM, lambda *_: print("alarm", flush=True))
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        try:
            uv.fs_read(None, reader, 1)
        except KeyboardInterrupt:
            print("interrupted")
        """
    command = [sys.executable, "-c", dedent(program)]
    with subprocess.Popen(command, cwd=SCRIPTS, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "alarm\n"
        time.sleep(0.02)  # until it reads again
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=20)
    assert (output, said) == ("interrupted\n", "")


# -- sizes ------------------------------------------------------------------------------------------------------------

MOST = 0x7FFFF000  # bytes that Linux moves with one call
PART = 1 << 22


@pytest.mark.parametrize("count", [511, 512, 600, 1500])
def test_write_more_than_2_gib(fs, count):
    """The number of bytes is told, as far as one call takes them: an int of C would not hold it."""
    part = memoryview(bytes(PART))
    fd = os.open("/dev/null", os.O_WRONLY)
    assert fs.write(fd, [part] * count) == min(count * PART, MOST)
    os.close(fd)


@pytest.mark.slow
def test_read_more_than_2_gib(tmp_path):
    """The same for reading: the last buffer is filled in part."""
    fd = uv.fs_open(None, tmp_path / "file", "w+")
    os.truncate(fd, 600 * PART)
    assert uv.fs_readinto(None, fd, [memoryview(bytearray(PART))] * 600) == MOST
    assert os.lseek(fd, 0, os.SEEK_CUR) == MOST
    os.close(fd)
