"""Open files."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, Literal, overload

from ..._closeable import Closeable
from ..._coroutines import NonCopyable, waits, warn_in_finalizer
from ..._kernel import continuation_operation
from ..._libuv.buffers import Bytes, readable, writable
from ..._libuv.files import FsCall
from . import buffered
from .call import Path, check_bool, check_int, mode_bits, owner_id, run_call, run_simple, timestamp
from .descriptor import Descriptor, is_seekable
from .info import STAT, FileInfo, Number, Permission, Time, check_names, fields, of_stat
from .transfer import FileToFile

__all__ = ["File", "openfile"]

MAX_OFFSET = 2**63 - 1
COPY_BELOW = 64  # bytes: reads of at most this size are copied; CPython shares bytes objects of length 1
MAX_READ = 2**30  # bytes that one call reads at most
FIRST_READ = 65536  # bytes to ask for where the number is not known
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
    check_bool(
        write=write, append=append, truncate=truncate, sync=sync, create=create, exclusive=exclusive, cloexec=cloexec
    )
    write = write or append or truncate or sync
    if read is None:
        read = not write
    check_bool(read=read)
    if not (read or write):
        raise ValueError("a file that is neither read nor written cannot be opened")
    create = create or exclusive
    if create and perm is None:
        raise TypeError("perm is needed to create a file")
    chosen = (append, os.O_APPEND), (truncate, os.O_TRUNC), (sync, os.O_SYNC), (create, os.O_CREAT)
    flags = _ACCESS[read, write] | (os.O_EXCL if exclusive else 0) | sum(value for wanted, value in chosen if wanted)
    call = FsCall("open", path, flags=flags, mode=mode_bits(perm) if create and perm is not None else 0)
    run_call(call, blocking)
    file = File(call, repr(path), read, write)
    file._waits = not is_seekable(file.fileno())
    if not cloexec:
        os.set_inheritable(file.fileno(), True)
    return file


class File(Closeable, NonCopyable):
    """An open file. Made by `openfile` and `maketemp`; closed at the end of a `with` block, or when it is collected.

    It belongs to no event loop: any thread may use it, and a child process its copy. Many coroutines may use it at the
    same time; they share its position. A call after `close` raises `Closed`; a call that has started before goes on.

    All methods except `fileno`, `buffered`, `text` and `lines` suspend, unless `blocking` is true: then they stop the
    whole thread. They raise TypeError, ValueError, `Closed`, `NotYieldable`, and `UVError` with the errors of the
    system. An explicit resume ends the wait, and its value is returned; the call may still take effect.

    On Linux a call on a pipe or device that may have to wait for data waits outside the thread pool. If another process
    takes the data first, a thread of the pool may still have to wait. Opening a pipe occupies a thread of the pool
    until its other end is opened.
    """

    __slots__ = ("__weakref__", "_descriptor", "_read", "_waits", "_write")

    def __init__(self, number: int | FsCall, name: str, read: bool, write: bool, waits: bool = False) -> None:
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
        check_bool(blocking=blocking)
        # Not behind a cancelled call
        operation = None if blocking or self._descriptor.closed else continuation_operation()
        call = FsCall("close")
        if not self._descriptor.detach(call):
            return True
        try:
            return run_simple(call, blocking, operation)
        finally:
            call.close_descriptor()  # unless it has started

    # -- data ----------------------------------------------------------------------------------------------------------

    @waits
    def read(self, size: int = -1, *, offset: int | None = None, blocking: bool = False) -> bytes:
        """Return at most `size` bytes, or all up to the end if it is negative; b"" at the end.

        offset: the position to read at; None: use, and move, the position of the file.
        Raises `UVError`: EBADF (not open for reading), EISDIR, … Source: uv_fs_read.
        """
        check_int("size", size, -MAX_OFFSET, MAX_OFFSET)
        position = _offset(offset)
        if size < 0:
            return self._read_all(position, blocking)
        return self._read_once(size, position, blocking)

    def _read_once(self, size: int, position: int, blocking: bool) -> bytes:
        """Have libuv write into the bytes object that is returned: data are copied only if fewer bytes were read."""
        size = min(size, MAX_READ)
        data = bytes(size) if size > COPY_BELOW else bytearray(size)
        call = self._call("read", buffer=memoryview(data), offset=position)
        run_call(call, blocking)
        return data if isinstance(data, bytes) and call.code == size else bytes(data[: call.code])

    def _read_all(self, position: int, blocking: bool) -> bytes:
        """Read all that a look at the size promises, then on to the end."""
        parts: list[bytes] = []
        stat = self._call("fstat")
        run_call(stat, blocking)
        size = max(stat.stat.st_size - (self._position() if position < 0 else position), 0) or FIRST_READ
        while True:
            size = min(size, MAX_READ)
            part = bytes(max(size, COPY_BELOW + 1))
            call = self._call("read", buffer=memoryview(part), offset=position)
            run_call(call, blocking)
            count = call.code
            if not count:
                return parts[0] if len(parts) == 1 else b"".join(parts)
            parts.append(part if count == len(part) else part[:count])
            position = position if position < 0 else position + count
            size = max(size - count, FIRST_READ)

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
        check_int("offset", offset, 0, MAX_OFFSET)
        check_int("count", count, 1, MAX_OFFSET)
        return FileToFile(source, self, blocking).move(offset, count)

    # -- the file itself -----------------------------------------------------------------------------------------------

    def resize(self, size: int, *, blocking: bool = False) -> bool:
        """Truncate the file to `size` bytes, or extend it with zeros; return True.

        Raises `UVError`: EINVAL (not open for writing), EFBIG, … Source: uv_fs_ftruncate.
        """
        return self._run_simple("ftruncate", blocking, offset=check_int("size", size, 0, MAX_OFFSET))

    def flush(self, *, data_only: bool = False, blocking: bool = False) -> bool:
        """Wait until everything written is on the disk; return True.

        data_only: without the times, and other attributes that are not needed to read the data.
        Raises `UVError`: EIO, EINVAL (a kind of file that cannot be flushed), … Source: uv_fs_fsync, uv_fs_fdatasync.
        """
        check_bool(data_only=data_only)
        return self._run_simple("fdatasync" if data_only else "fsync", blocking)

    def touch(self, *, atime: float | None = None, mtime: float | None = None, blocking: bool = False) -> bool:
        """Set the times of access and modification; return True.

        atime, mtime: seconds since 1970, negative before; None: now. Source: uv_fs_futime, futimens(3).
        """
        return self._run_simple("futime", blocking, atime=timestamp("atime", atime), mtime=timestamp("mtime", mtime))

    def own(self, uid: int, gid: int, *, blocking: bool = False) -> bool:
        """Set the owner and the group of the file; return True. uid, gid: numbers; -1: do not change it.

        Raises `UVError`: EPERM. Source: uv_fs_fchown.
        """
        return self._run_simple("fchown", blocking, uid=owner_id("uid", uid), gid=owner_id("gid", gid))

    def grant(self, perm: int | str, *, blocking: bool = False) -> bool:
        """Set the permissions, as in `grantfile`; return True. Raises `UVError`: EPERM. Source: uv_fs_fchmod."""
        return self._run_simple("fchmod", blocking, mode=mode_bits(perm))

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
        check_names(names, STAT)
        call = self._call("fstat")
        run_call(call, blocking)
        return fields(names, of_stat(call.stat))

    # -- through buffers -----------------------------------------------------------------------------------------------

    def buffered(self, size: int = io.DEFAULT_BUFFER_SIZE) -> io.BufferedReader | io.BufferedWriter | io.BufferedRandom:
        """Return a buffered binary file object of Python over this file. Closing it closes the file.

        It begins at the position of the file, and keeps its own position. One coroutine at a time may use it: a second
        one gets RuntimeError. A wait inside it that is ended from outside (a timeout, or an explicit resume, which
        makes it raise `OperationCancelled`) leaves it usable; but Python's buffers lose the part of an unfinished line
        or block that they had read. If that matters, save `tell()` before and `seek` there, or use `lines` or `read`.
        """
        return buffered.binary(self, check_int("size", size, 1, 2**31 - 1))

    def text(self, encoding: str = "utf-8", errors: str | None = None, newline: str | None = None) -> io.TextIOWrapper:
        """Return a text file object of Python over this file; the arguments are those of `open`. See `buffered`."""
        return buffered.text(self, encoding, errors, newline)

    def lines(self) -> Iterator[bytes]:
        """Return an iterator over the lines from the position on, which does not move. It suspends when it reads."""
        return buffered.lines(self)

    # -- calls ---------------------------------------------------------------------------------------------------------

    def _call(self, name: str, **values: Any) -> FsCall:
        call = FsCall(name, users=(self._descriptor,), fd=self._descriptor.number(), **values)
        if self._waits and name in _DATA and values.get("offset", -1) < 0:
            call.awaits_writable = name == "write"
        return call

    def _run_simple(self, name: str, blocking: bool, **values: Any) -> bool:
        return run_simple(self._call(name, **values), blocking)

    def _transfer(self, name: str, view: memoryview, position: int, blocking: bool) -> int:
        call = self._call(name, buffer=view, offset=position)
        run_call(call, blocking)
        return call.code


def _offset(offset: int | None) -> int:
    return -1 if offset is None else check_int("offset", offset, 0, MAX_OFFSET)
