"""The file system: a method for each of libuv's functions. The thread pool does them; without a loop the caller does.

Rule: no resource leaks when a caller gives its call up. A descriptor or folder that the call opens is closed, a buffer
is kept until libuv no longer uses it, and a call that closes something is completed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from .._libuv import lib
from .._libuv.arguments import check_bool, check_int
from .._libuv.buffers import Bytes, readable, writable
from .._libuv.files import DirStream, FsCall, Path, same_type_as
from .._libuv.stat import Stat, stat_of
from .dir import Dir, Entry, FSJob, Value, entries_of
from .request import NoWait, RequestMaker, block, nowait

__all__ = ["FS", "StatFS"]

_INT = 2**31 - 1
_LONG = 2**63 - 1
_NO_OWNER = 2**32 - 1
_ACCESS = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
_DENIED = ("EACCES", "ENOENT", "EROFS")
_FLAGS = {
    letters: bits | exclusive | synchronous
    for mode, bits in (
        ("r", os.O_RDONLY),
        ("r+", os.O_RDWR),
        ("w", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        ("w+", os.O_RDWR | os.O_CREAT | os.O_TRUNC),
        ("a", os.O_WRONLY | os.O_CREAT | os.O_APPEND),
        ("a+", os.O_RDWR | os.O_CREAT | os.O_APPEND),
    )
    for letter, exclusive, synchronous in (
        ("", 0, 0),
        *([("s", 0, os.O_SYNC)] if mode[0] in "ra" else []),
        *([("x", os.O_EXCL, 0)] if mode[0] in "wa" else []),
    )
    for letters in (mode[0] + letter + mode[1:], letter + mode)
}

Time = float | str | None  # seconds since 1970, "now", or None: unchanged
Moment = tuple[int, float]  # the same for C: CO_GIVEN, CO_NOW or 0, and the seconds


class StatFS(NamedTuple):
    """Properties of a file system: the fields of uv_statfs_t. Sizes are in blocks."""

    type: int
    bsize: int  # bytes in a block
    frsize: int | None  # bytes in a fragment; None: libuv is older than 1.52
    blocks: int
    bfree: int
    bavail: int  # free for unprivileged users
    files: int
    ffree: int


# -- arguments --------------------------------------------------------------------------------------------------------


def _fd(fd: int, name: str = "fd") -> int:
    return check_int(name, fd, 0, _INT)


def _mode(mode: int) -> int:
    return check_int("mode", mode, 0, 0o7777)


def _opening(flags: str | int) -> int:
    if not isinstance(flags, str):
        return check_int("flags", flags, 0, _INT)
    if flags not in _FLAGS:
        raise ValueError(f"flags must be an int or one of {', '.join(sorted(_FLAGS))}, not {flags!r}")
    return _FLAGS[flags]


def _accessing(mode: str | int) -> int:
    if not isinstance(mode, str):
        return check_int("mode", mode, 0, 7)
    for letter in mode:
        if letter not in _ACCESS:
            raise ValueError(f"mode must be made of r, w and x, not {mode!r}")
    return sum(_ACCESS[letter] for letter in set(mode))


def _moment(name: str, value: Time) -> Moment:
    if value is None:
        return 0, 0.0
    if isinstance(value, str):
        if value != "now":
            raise ValueError(f'{name} must be a time, None or "now", not {value!r}')
        return lib.CO_NOW, 0.0
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f'{name} must be a number, None or "now", not {value!r}')
    if not math.isfinite(value) or abs(value) >= 2**63:
        raise ValueError(f"{name} must be a time in seconds since 1970, not {value!r}")
    return lib.CO_GIVEN, float(value)


def _plain(kind: str, *paths: Path, **fields: Any) -> FSJob[bool]:
    """Return a call without a result."""
    return FSJob(FsCall(kind, *paths, **fields), lambda _: True)


def _timing(kind: str, *paths: Path, atime: Time, mtime: Time, fd: int = -1) -> FSJob[bool]:
    """Return a call that sets times."""
    (first, atime), (second, mtime) = _moment("atime", atime), _moment("mtime", mtime)
    return _plain(kind, *paths, fd=fd, atime=atime, mtime=mtime, flags=first | second << 2)


def _owning(kind: str, uid: int, gid: int, *paths: Path, fd: int = -1) -> FSJob[bool]:
    check_int("uid", uid, -1, _NO_OWNER)
    check_int("gid", gid, -1, _NO_OWNER)
    return _plain(kind, *paths, fd=fd, uid=uid, gid=gid)


# -- results ----------------------------------------------------------------------------------------------------------


def _number(call: FsCall) -> int:
    return call.code


def _allowed(call: FsCall) -> bool:
    return call.code >= 0


def _stat(call: FsCall) -> Stat:
    return stat_of(call.stat)


def _text(call: FsCall) -> Any:
    return same_type_as(call.paths[0], call.text())


def _created(call: FsCall) -> tuple[int, Any]:
    path = _text(call)
    return call.take_descriptor(), path


def _statfs(call: FsCall) -> StatFS:
    fields = call.statfs
    space = (fields.f_blocks, fields.f_bfree, fields.f_bavail, fields.f_files, fields.f_ffree)
    return StatFS(fields.f_type, fields.f_bsize, call.fragment, *space)


class FS:
    """The file system as a loop uses it: `loop.fs`. Paths are str, bytes or os.PathLike, descriptors ints.

    Every method suspends the calling coroutine until the thread pool has done the call; the methods of an `FS` without
    a loop block the thread. A method returns the result that its docstring names (else True), or the value of an
    explicit resume. It raises TypeError, ValueError, `UVError` (with `filename`), and, as it suspends, `Closed`,
    `ForeignThread`, `Forked`, `NotYieldable`. Each has a counterpart `…_nowait`, which returns a `Request`.
    """

    __slots__ = ("__weakref__", "_loop")

    def __init__(self, loop: RequestMaker | None) -> None:
        """loop: the loop that the requests belong to; None: calls block the thread. Raises TypeError."""
        if loop is not None and not isinstance(loop, RequestMaker):
            raise TypeError(f"loop must be a Loop or None, not {loop!r}")
        self._loop = loop

    def __repr__(self) -> str:
        """Its loop."""
        return f"<FS of {self._loop!r}>" if self._loop is not None else "<FS without a loop>"

    def _do(self, job: FSJob[Value]) -> Value:
        value: Value = block(job) if self._loop is None else self._loop._do(job)
        return value

    def _nowait(self) -> Any:
        if self._loop is None:
            raise ValueError("an FS without a loop has no requests in the background")
        return NoWait(self._loop)

    # -- descriptors --------------------------------------------------------------------------------------------------

    def open(self, path: Path, flags: str | int = "r", mode: int = 0o666) -> int:
        """Open a file; return the descriptor.

        flags: "r", "r+", "w", "w+", "a", "a+", optionally with "x" (must not exist) or "s" (synchronous): "wx", "rs+";
        or a combination of os.O_RDONLY, os.O_CREAT, …. mode: permissions of a new file.
        `UVError`: ENOENT, EACCES, EEXIST, EISDIR, EMFILE, …. Source: uv_fs_open.
        """
        return self._do(FSJob(FsCall("open", path, flags=_opening(flags), mode=_mode(mode)), FsCall.take_descriptor))

    def close(self, fd: int) -> bool:
        """Close a descriptor. It is closed even if the caller gives the call up.

        `UVError`: EBADF, EIO, EBUSY (a handle of the loop polls it: close that). Source: uv_fs_close.
        """
        return self._do(_plain("close", fd=_fd(fd)))

    def read(self, fd: int, size: int, offset: int = -1) -> bytes:
        """Read up to `size` bytes; b"" at the end of the file.

        offset: the place in the file; -1: its current position, which moves. `UVError`: EBADF, EISDIR, EINVAL.
        Source: uv_fs_read.
        """
        data = bytearray(check_int("size", size, 0, _LONG))
        offset = check_int("offset", offset, -1, _LONG)
        call = FsCall("read", fd=_fd(fd), buffer=memoryview(data), offset=offset)
        return self._do(FSJob(call, lambda call: bytes(data if call.code == size else data[: call.code])))

    def readinto(self, fd: int, buffer: Any, offset: int = -1) -> int:
        """Read into a writable buffer, or into those of a list in turn; return the number of bytes. See `read`.

        One call reads at most 0x7ffff000 bytes (2 GiB less a page). A buffer cannot be resized until libuv has finished
        with it. Source: uv_fs_read.
        """
        offset = check_int("offset", offset, -1, _LONG)
        many = isinstance(buffer, list | tuple)
        views = [writable(item, None, None) for item in buffer] if many else writable(buffer, None, None)
        if not views:
            raise ValueError("buffer is empty")
        return self._do(FSJob(FsCall("read", fd=_fd(fd), buffer=views, offset=offset), _number))

    def write(self, fd: int, data: Bytes | Sequence[Bytes], offset: int = -1) -> int:
        """Write bytes, or the items of a list in turn; return how many bytes were written, perhaps fewer than given.

        One call writes at most 0x7ffff000 bytes (2 GiB less a page). offset: see `read`.
        `UVError`: EBADF, ENOSPC, EFBIG, EPIPE, …. Source: uv_fs_write.
        """
        offset = check_int("offset", offset, -1, _LONG)
        many = isinstance(data, list | tuple)
        views: Any = (
            [readable(item, None, None)[0] for item in data or (b"",)] if many else readable(data, None, None)[0]
        )
        return self._do(FSJob(FsCall("write", fd=_fd(fd), buffer=views, offset=offset), _number))

    def sendfile(self, out_fd: int, in_fd: int, offset: int, size: int) -> int:
        """Copy up to `size` bytes from `offset` of one file to the position of the other; return how many.

        Fewer are copied if the file ends, or if `out_fd` is non-blocking and full. A call that is cancelled or given up
        stops. `UVError`: EBADF, EINVAL, ESPIPE, EAGAIN (`out_fd` is non-blocking and full before the first byte).
        Source: uv_fs_sendfile, copy_file_range(2), sendfile(2).
        """
        offset, size = check_int("offset", offset, 0, _LONG), check_int("size", size, 0, _LONG)
        source = _fd(in_fd, "in_fd")
        call = FsCall("sendfile", fd=_fd(out_fd, "out_fd"), source=source, offset=offset, size=size)
        return self._do(FSJob(call, _number))

    def fstat(self, fd: int) -> Stat:
        """Return the `Stat` of an open file. Source: uv_fs_fstat."""
        return self._do(FSJob(FsCall("fstat", fd=_fd(fd)), _stat))

    def fsync(self, fd: int) -> bool:
        """Have the system write a file to its disk. `UVError`: EBADF, EINVAL, EIO. Source: uv_fs_fsync."""
        return self._do(_plain("fsync", fd=_fd(fd)))

    def fdatasync(self, fd: int) -> bool:
        """As `fsync`, but only the data and the metadata that reading needs. Source: uv_fs_fdatasync."""
        return self._do(_plain("fdatasync", fd=_fd(fd)))

    def ftruncate(self, fd: int, size: int) -> bool:
        """Make a file `size` bytes long. `UVError`: EBADF, EINVAL, EFBIG. Source: uv_fs_ftruncate."""
        return self._do(_plain("ftruncate", fd=_fd(fd), offset=check_int("size", size, 0, _LONG)))

    def fchmod(self, fd: int, mode: int) -> bool:
        """Set permissions. Source: uv_fs_fchmod."""
        return self._do(_plain("fchmod", fd=_fd(fd), mode=_mode(mode)))

    def fchown(self, fd: int, uid: int, gid: int) -> bool:
        """Set user and group; -1: unchanged. `UVError`: EPERM. Source: uv_fs_fchown."""
        return self._do(_owning("fchown", uid, gid, fd=_fd(fd)))

    def futime(self, fd: int, atime: Time, mtime: Time) -> bool:
        """Set the times of an open file; see `utime`. Source: uv_fs_futime, futimens(3)."""
        return self._do(_timing("futime", fd=_fd(fd), atime=atime, mtime=mtime))

    # -- paths --------------------------------------------------------------------------------------------------------

    def stat(self, path: Path) -> Stat:
        """Return the `Stat` of a file. `UVError`: ENOENT, EACCES, ELOOP, ENOTDIR. Source: uv_fs_stat."""
        return self._do(FSJob(FsCall("stat", path), _stat))

    def lstat(self, path: Path) -> Stat:
        """As `stat`, but of a symbolic link itself. Source: uv_fs_lstat."""
        return self._do(FSJob(FsCall("lstat", path), _stat))

    def statfs(self, path: Path) -> StatFS:
        """Return the `StatFS` of the file system that holds a file. Source: uv_fs_statfs."""
        return self._do(FSJob(FsCall("statfs", path), _statfs))

    def access(self, path: Path, mode: str | int = "") -> bool:
        """Return whether the caller may read, write and execute a file, according to `mode`.

        mode: "r", "w", "x" in any combination, or os.R_OK | …; "": whether the file exists. Returns False for EACCES,
        ENOENT, EROFS; raises other `UVError`: ELOOP, ENOTDIR. Source: uv_fs_access.
        """
        return self._do(FSJob(FsCall("access", path, mode=_accessing(mode)), _allowed, _DENIED))

    def chmod(self, path: Path, mode: int) -> bool:
        """Set permissions. `UVError`: ENOENT, EPERM. Source: uv_fs_chmod."""
        return self._do(_plain("chmod", path, mode=_mode(mode)))

    def chown(self, path: Path, uid: int, gid: int) -> bool:
        """Set user and group; -1: unchanged. `UVError`: EPERM. Source: uv_fs_chown."""
        return self._do(_owning("chown", uid, gid, path))

    def lchown(self, path: Path, uid: int, gid: int) -> bool:
        """As `chown`, but of a symbolic link itself. Source: uv_fs_lchown."""
        return self._do(_owning("lchown", uid, gid, path))

    def utime(self, path: Path, atime: Time, mtime: Time) -> bool:
        """Set the times of the last access and modification.

        atime, mtime: seconds since 1970, negative before that; "now"; or None: unchanged. `UVError`: ENOENT, EPERM.
        Source: uv_fs_utime, utimensat(2).
        """
        return self._do(_timing("utime", path, atime=atime, mtime=mtime))

    def lutime(self, path: Path, atime: Time, mtime: Time) -> bool:
        """As `utime`, but of a symbolic link itself. Source: uv_fs_lutime, utimensat(2)."""
        return self._do(_timing("lutime", path, atime=atime, mtime=mtime))

    def unlink(self, path: Path) -> bool:
        """Delete a file. `UVError`: ENOENT, EISDIR or EPERM (a folder). Source: uv_fs_unlink."""
        return self._do(_plain("unlink", path))

    def rename(self, path: Path, new_path: Path) -> bool:
        """Give a file another name. `UVError`: ENOENT, EXDEV, …, with `filename2`. Source: uv_fs_rename."""
        return self._do(_plain("rename", path, new_path))

    def copyfile(
        self,
        path: Path,
        new_path: Path,
        *,
        excl: bool = False,
        ficlone: bool = False,
        ficlone_force: bool = False,
    ) -> bool:
        """Copy a file with its permissions. A copy that fails, or is cancelled or given up, is deleted.

        It is copied to its end, whatever size the system reports. Copying a file to itself does nothing.
        excl: the copy must not exist yet. ficlone: share the data until one of the files changes, if the file system
        can; ficlone_force: fail if it cannot. `UVError`: EEXIST, ENOENT, ENOSYS, ENOTSUP, …. Source: uv_fs_copyfile.
        """
        check_bool(excl=excl, ficlone=ficlone, ficlone_force=ficlone_force)
        bits = lib.UV_FS_COPYFILE_EXCL * excl | lib.UV_FS_COPYFILE_FICLONE * ficlone
        bits |= lib.UV_FS_COPYFILE_FICLONE_FORCE * ficlone_force
        return self._do(_plain("copyfile", path, new_path, flags=bits))

    def link(self, path: Path, new_path: Path) -> bool:
        """Give a file an additional name (a hard link). `UVError`: EXDEV, EEXIST, EPERM. Source: uv_fs_link."""
        return self._do(_plain("link", path, new_path))

    def symlink(self, target: Path, path: Path, *, dir: bool = False, junction: bool = False) -> bool:
        """Make a symbolic link at `path` to `target`; only Windows uses `dir` and `junction`.

        `UVError`: EEXIST, ENOENT. Source: uv_fs_symlink.
        """
        check_bool(dir=dir, junction=junction)
        bits = lib.UV_FS_SYMLINK_DIR * dir | lib.UV_FS_SYMLINK_JUNCTION * junction
        return self._do(_plain("symlink", target, path, flags=bits))

    def readlink(self, path: Path) -> Any:
        """Return the target of a symbolic link: bytes if `path` is. `UVError`: EINVAL (it is no link).

        Source: uv_fs_readlink.
        """
        return self._do(FSJob(FsCall("readlink", path), _text))

    def realpath(self, path: Path) -> Any:
        """Return the absolute path without symbolic links: bytes if `path` is. `UVError`: ENOENT, ELOOP.

        Source: uv_fs_realpath.
        """
        return self._do(FSJob(FsCall("realpath", path), _text))

    # -- folders ------------------------------------------------------------------------------------------------------

    def mkdir(self, path: Path, mode: int = 0o777) -> bool:
        """Make a folder. `UVError`: EEXIST, ENOENT. Source: uv_fs_mkdir."""
        return self._do(_plain("mkdir", path, mode=_mode(mode)))

    def rmdir(self, path: Path) -> bool:
        """Delete an empty folder. `UVError`: ENOTEMPTY or EEXIST, ENOENT, ENOTDIR. Source: uv_fs_rmdir."""
        return self._do(_plain("rmdir", path))

    def mkdtemp(self, template: Path) -> Any:
        """Make a folder of a new name; return its path: bytes if `template` is.

        template: a path that ends in XXXXXX, which is replaced. `UVError`: EINVAL (it does not). Source: uv_fs_mkdtemp.
        """
        return self._do(FSJob(FsCall("mkdtemp", template), _text))

    def mkstemp(self, template: Path) -> tuple[int, Any]:
        """Make and open a file of a new name; return descriptor and path. See `mkdtemp`. Source: uv_fs_mkstemp."""
        return self._do(FSJob(FsCall("mkstemp", template), _created))

    def scandir(self, path: Path) -> list[Entry]:
        """Return all entries of a folder, sorted by name, as pairs of name and type; "." and ".." are left out.

        type: "file", "directory", "link", "fifo", "socket", "char", "block", or "unknown" (not all file systems know).
        Names are bytes if `path` is. `UVError`: ENOENT, ENOTDIR, EACCES. Source: uv_fs_scandir, uv_fs_scandir_next.
        """
        return self._do(FSJob(FsCall("scandir", path), lambda call: entries_of(path, call.entries())))

    def opendir(self, path: Path, entries: int = 64) -> Dir:
        """Open a folder; return a `Dir`. entries: how many it reads at once, at most 256.

        `UVError`: ENOENT, ENOTDIR, EACCES, EMFILE. Source: uv_fs_opendir.
        """
        folder = DirStream(min(check_int("entries", entries, 1), _INT))
        call = FsCall("opendir", path, dir_stream=folder)
        return self._do(FSJob(call, lambda _: Dir(FS(self._loop), path, folder)))

    # -- without waiting ----------------------------------------------------------------------------------------------

    access_nowait = nowait(access)
    chmod_nowait = nowait(chmod)
    chown_nowait = nowait(chown)
    close_nowait = nowait(close)
    copyfile_nowait = nowait(copyfile)
    fchmod_nowait = nowait(fchmod)
    fchown_nowait = nowait(fchown)
    fdatasync_nowait = nowait(fdatasync)
    fstat_nowait = nowait(fstat)
    fsync_nowait = nowait(fsync)
    ftruncate_nowait = nowait(ftruncate)
    futime_nowait = nowait(futime)
    lchown_nowait = nowait(lchown)
    link_nowait = nowait(link)
    lstat_nowait = nowait(lstat)
    lutime_nowait = nowait(lutime)
    mkdir_nowait = nowait(mkdir)
    mkdtemp_nowait = nowait(mkdtemp)
    mkstemp_nowait = nowait(mkstemp)
    open_nowait = nowait(open)
    opendir_nowait = nowait(opendir)
    read_nowait = nowait(read)
    readinto_nowait = nowait(readinto)
    readlink_nowait = nowait(readlink)
    realpath_nowait = nowait(realpath)
    rename_nowait = nowait(rename)
    rmdir_nowait = nowait(rmdir)
    scandir_nowait = nowait(scandir)
    sendfile_nowait = nowait(sendfile)
    stat_nowait = nowait(stat)
    statfs_nowait = nowait(statfs)
    symlink_nowait = nowait(symlink)
    unlink_nowait = nowait(unlink)
    utime_nowait = nowait(utime)
    write_nowait = nowait(write)
