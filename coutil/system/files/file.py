"""Open files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, overload

from ..._closeable import Closeable
from ..._coroutines.books import Unique, warn_in_finalizer
from ..._coroutines.outcomes import waits
from ..._kernel.operation import begun
from ..._libuv.buffers import Bytes, readable, writable
from ..._libuv.files import Call
from . import buffered
from .descriptor import Descriptor, has_position
from .info import STAT, FileInfo, Number, Permission, Time, fields, of_stat, requested
from .request import Path, bits, done, flag, identity, moment, run, whole
from .transfer import ToFile

__all__ = ["File", "openfile"]

LARGEST = 2**63 - 1
SHORT = 64  # bytes: reads of at most this size are copied; CPython shares bytes objects of length 1
PIECE = 2**30  # bytes that one call reads at most
CHUNK = 65536  # bytes to ask for where the number is not known
_DATA = ("read", "write")
_ACCESS = {(True, False): os.O_RDONLY, (False, True): os.O_WRONLY, (True, True): os.O_RDWR}


@waits
def openfile(  # noqa: PLR0913  # one keyword for each flag of open(2)
    path: Path,
    *,
    read: bool | None = None,
    write: bool = False,
    append: bool = False,
    truncate: bool = False,
    sync: bool = False,
    create: bool = False,
    exclusive: bool = False,
    cloexec: bool = True,
    perm: int | str | None = None,
    blocking: bool = False,
) -> File:
    """Open a file and return it.

    read: the default is True unless another argument implies writing. append: every write goes to the end. truncate:
    remove its contents first. sync: writes return when the data are on the disk. These three imply `write`.
    create: create it, with the permissions `perm` (see `grantfile`), if it does not exist; exclusive: it must not
    exist. cloexec: child processes do not inherit the descriptor.
    blocking: stop the whole thread instead of the calling coroutine. Suspends unless blocking.
    Raises TypeError (also for a missing `perm`), ValueError, `NotYieldable`, or `UVError`: ENOENT, EACCES, EEXIST,
    EISDIR, EMFILE, … After an explicit resume, whose value is returned, a file that is opened is closed again. Source:
    uv_fs_open.
    """
    flag(write=write, append=append, truncate=truncate, sync=sync, create=create, exclusive=exclusive, cloexec=cloexec)
    write = write or append or truncate or sync
    if read is None:
        read = not write
    flag(read=read)
    if not (read or write):
        raise ValueError("a file that is neither read nor written cannot be opened")
    create = create or exclusive
    if create and perm is None:
        raise TypeError("perm is needed to create a file")
    chosen = (append, os.O_APPEND), (truncate, os.O_TRUNC), (sync, os.O_SYNC), (create, os.O_CREAT)
    flags = _ACCESS[read, write] | (os.O_EXCL if exclusive else 0) | sum(value for wanted, value in chosen if wanted)
    call = Call("open", path, flags=flags, mode=bits(perm) if create and perm is not None else 0)
    run(call, blocking)
    file = File(call, repr(path), read, write)
    file._waits = not has_position(file.fileno())
    if not cloexec:
        os.set_inheritable(file.fileno(), True)
    return file


class File(Closeable, Unique):
    """An open file. Made by `openfile` and `maketemp`; closed at the end of a `with` block, or when it is collected.

    It belongs to no event loop: any thread may use it, and a child process its copy. Many coroutines may use it at the
    same time; they share its position. A call after `close` raises `Closed`; a call that has begun before goes on.

    All methods except `fileno`, `buffered`, `text` and `lines` suspend, unless `blocking` is true: then they stop the
    whole thread. They raise TypeError, ValueError, `Closed`, `NotYieldable`, and `UVError` with the errors of the
    system. An explicit resume ends the wait, and its value is returned; the call may still take effect.

    On Linux a call on a pipe or device that may have to wait for data waits outside the thread pool. If another process
    takes the data first, a thread of the pool may still have to wait. Opening a pipe occupies a thread of the pool
    until its other end is opened.
    """

    __slots__ = ("__weakref__", "_descriptor", "_read", "_waits", "_write")

    def __init__(self, number: int | Call, name: str, read: bool, write: bool, waits: bool = False) -> None:
        """Take over the descriptor `number`, or that of a call, which was opened for reading, writing, or both.

        waits: a call may have to wait until it is ready, as for a pipe.
        """
        self._descriptor = Descriptor(number, f"file {name}")
        self._read, self._write, self._waits = read, write, waits

    def __del__(self) -> None:
        """Close the file when the last reference is gone."""
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is None or descriptor.closed:
            return
        descriptor.closed = True
        if sys.flags.dev_mode:
            warn_in_finalizer(f"unclosed {descriptor}", self)

    def __exit__(self, kind: object, *_: object) -> None:
        """Close the file; an exception that leaves the block does not wait for the thread pool."""
        self.close(blocking=kind is not None)

    def __repr__(self) -> str:
        """Name, access, and descriptor."""
        access = "r" * self._read + "w" * self._write
        state = "closed" if self._descriptor.closed else f"{access} fd={self._descriptor.number()}"
        return f"<File {str(self._descriptor)[5:]} {state}>"

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._descriptor.closed

    def fileno(self) -> int:
        """Return the descriptor, which this object still owns. Raises `Closed`. Never suspends."""
        return self._descriptor.number()

    def close(self, *, blocking: bool = False) -> bool:
        """Close the file; return True. Closing twice is no error.

        Calls in progress go on: the descriptor is closed when the last of them is over. Also raises `UVError`: EIO, …;
        the file is closed then, too. Source: uv_fs_close.
        """
        flag(blocking=blocking)
        operation = None if blocking or self._descriptor.closed else begun()  # not behind a cancelled call
        call = Call("close")
        if not self._descriptor.give_up(call):
            return True
        try:
            return done(call, blocking, operation)
        finally:
            call.drop()  # unless it has begun

    # -- data ----------------------------------------------------------------------------------------------------------

    @waits
    def read(self, size: int = -1, *, offset: int | None = None, blocking: bool = False) -> bytes:
        """Return at most `size` bytes, or all up to the end if it is negative; b"" at the end.

        offset: the position to read at; None: use, and move, the position of the file.
        Raises `UVError`: EBADF (not open for reading), EISDIR, … Source: uv_fs_read.
        """
        whole("size", size, -LARGEST, LARGEST)
        at = _offset(offset)
        if size < 0:
            return self._read_all(at, blocking)
        return self._read_once(size, at, blocking)

    def _read_once(self, size: int, at: int, blocking: bool) -> bytes:
        """Have libuv write into the bytes object that is returned: data are copied only if fewer bytes were read."""
        size = min(size, PIECE)
        data = bytes(size) if size > SHORT else bytearray(size)
        call = self._call("read", buffer=memoryview(data), offset=at)
        run(call, blocking)
        return data if isinstance(data, bytes) and call.code == size else bytes(data[: call.code])

    def _read_all(self, at: int, blocking: bool) -> bytes:
        """Read all that a look at the size promises, then on to the end."""
        parts: list[bytes] = []
        stat = self._call("fstat")
        run(stat, blocking)
        size = max(stat.stat.st_size - (self._position() if at < 0 else at), 0) or CHUNK
        while True:
            size = min(size, PIECE)
            part = bytes(max(size, SHORT + 1))
            call = self._call("read", buffer=memoryview(part), offset=at)
            run(call, blocking)
            count = call.code
            if not count:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            parts.append(part if count == len(part) else part[:count])
            at = at if at < 0 else at + count
            size = max(size - count, CHUNK)

    def _position(self) -> int:
        with suppress(OSError):  # a pipe has none
            return os.lseek(self.fileno(), 0, os.SEEK_CUR)
        return 0

    @waits
    def read_into(
        self, buffer: Any, start: int = 0, stop: int | None = None, *, offset: int | None = None, blocking: bool = False
    ) -> int:
        """Read into buffer[start:stop]; return the number of bytes, 0 at the end. Otherwise like `read`.

        buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized before libuv is done
        with it, also after a wait that was ended from outside.
        """
        view = writable(buffer, start, stop)
        return self._transfer("read", view, _offset(offset), blocking)

    @waits
    def write(
        self, data: Bytes, start: int = 0, stop: int | None = None, *, offset: int | None = None, blocking: bool = False
    ) -> int:
        """Write data[start:stop]; return the number of bytes that were written, which may be smaller.

        data: bytes or any contiguous buffer; it must not change during the call. offset: the position to write at;
        None: use, and move, the position of the file. A file opened to append ignores it. A pipe or terminal takes as
        many bytes as it has room for; no thread waits for its reader.
        Raises `UVError`: EBADF (not open for writing), ENOSPC, EFBIG, EPIPE, … Source: uv_fs_write.
        """
        view, _ = readable(data, start, stop)
        return self._transfer("write", view, _offset(offset), blocking)

    @waits
    def write_from(self, source: File, offset: int, count: int, *, blocking: bool = False) -> int:
        """Copy `count` bytes (> 0) of another file, from `offset` on, to the position; return the number of bytes.

        The result is smaller if the other file ends before. Where possible the system copies, without moving the data
        through this process.
        Also raises `UVError`: EBADF, ENOSPC, … Source: uv_fs_sendfile.
        """
        if not isinstance(source, File):
            raise TypeError(f"source must be a File, not {source!r}")
        whole("offset", offset, 0, LARGEST)
        whole("count", count, 1, LARGEST)
        return ToFile(source, self, blocking).move(offset, count)

    # -- the file itself -----------------------------------------------------------------------------------------------

    def resize(self, size: int, *, blocking: bool = False) -> bool:
        """Truncate the file to `size` bytes, or extend it with zeros; return True.

        Raises `UVError`: EINVAL (not open for writing), EFBIG, … Source: uv_fs_ftruncate.
        """
        return self._done("ftruncate", blocking, offset=whole("size", size, 0, LARGEST))

    def flush(self, *, data_only: bool = False, blocking: bool = False) -> bool:
        """Wait until everything written is on the disk; return True.

        data_only: without the times, and other attributes that are not needed to read the data.
        Raises `UVError`: EIO, EINVAL (a kind of file that cannot be flushed), … Source: uv_fs_fsync, uv_fs_fdatasync.
        """
        flag(data_only=data_only)
        return self._done("fdatasync" if data_only else "fsync", blocking)

    def touch(self, *, atime: float | None = None, mtime: float | None = None, blocking: bool = False) -> bool:
        """Set the times of access and modification; return True.

        atime, mtime: seconds since 1970, negative before; None: now. Source: uv_fs_futime, futimens(3).
        """
        return self._done("futime", blocking, atime=moment("atime", atime), mtime=moment("mtime", mtime))

    def own(self, uid: int, gid: int, *, blocking: bool = False) -> bool:
        """Set the owner and the group of the file; return True. uid, gid: numbers; -1: do not change it.

        Raises `UVError`: EPERM. Source: uv_fs_fchown.
        """
        return self._done("fchown", blocking, uid=identity("uid", uid), gid=identity("gid", gid))

    def grant(self, perm: int | str, *, blocking: bool = False) -> bool:
        """Set the permissions, as in `grantfile`; return True. Raises `UVError`: EPERM. Source: uv_fs_fchmod."""
        return self._done("fchmod", blocking, mode=bits(perm))

    @overload
    def info(self, *, blocking: bool = False) -> FileInfo: ...
    @overload
    def info(self, name: Number, /, *, blocking: bool = False) -> int: ...
    @overload
    def info(self, name: Time, /, *, blocking: bool = False) -> float: ...
    @overload
    def info(self, name: Permission, /, *, blocking: bool = False) -> bool: ...
    @overload
    def info(self, name: Literal["type"], /, *, blocking: bool = False) -> str: ...
    @overload
    def info(self, *names: str, blocking: bool = False) -> Any: ...

    @waits
    def info(self, *names: str, blocking: bool = False) -> Any:
        """Return information about the file, as `fileinfo` does, except about its path and its file system.

        Source: uv_fs_fstat.
        """
        requested(names, STAT)
        call = self._call("fstat")
        run(call, blocking)
        return fields(names, of_stat(call.stat))

    # -- through buffers -----------------------------------------------------------------------------------------------

    def buffered(self, size: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedReader | io.BufferedWriter | io.BufferedRandom:
        """Return a buffered binary file object of Python over this file. Closing it closes the file.

        It begins at the position of the file, and keeps its own position. One coroutine at a time may use it: a second
        one gets RuntimeError. A wait inside it that is ended from outside (a timeout, or an explicit resume, which
        makes it raise `OperationCancelled`) leaves it usable; but Python's buffers lose the part of an unfinished line
        or block that they had read. If that matters, save `tell()` before and `seek` there, or use `lines` or `read`.
        """
        return buffered.binary(self, whole("size", size, 1, 2**31 - 1))

    def text(self, encoding: str = "utf-8", errors: str | None = None, newline: str | None = None) -> io.TextIOWrapper:
        """Return a text file object of Python over this file; the arguments are those of `open`. See `buffered`."""
        return buffered.text(self, encoding, errors, newline)

    def lines(self) -> Iterator[bytes]:
        """Return an iterator over the lines from the position on, which does not move. It suspends when it reads."""
        return buffered.lines(self)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, name: str, **values: Any) -> Call:
        call = Call(name, users=(self._descriptor,), fd=self._descriptor.number(), **values)
        if self._waits and name in _DATA and values.get("offset", -1) < 0:
            call.awaits = name == "write"
        return call

    def _done(self, name: str, blocking: bool, **values: Any) -> bool:
        return done(self._call(name, **values), blocking)

    def _transfer(self, name: str, view: memoryview, at: int, blocking: bool) -> int:
        call = self._call(name, buffer=view, offset=at)
        run(call, blocking)
        return call.code


def _offset(offset: int | None) -> int:
    return -1 if offset is None else whole("offset", offset, 0, LARGEST)
