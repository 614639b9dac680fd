"""Python's buffers and text over a `File`, and lines.

Rule 1: libuv never sees the memory of a buffer: the buffer would not wait for a call that was given up.
Rule 2: the position is ours, and moves only when a call was not given up: whoever repeats it reads, or writes, the same
bytes. A file without positions (a pipe) or one opened to append has no such luck.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ..._coroutines.coroutine import home
from ..._coroutines.switching import SIGNED, Runner
from ..._libuv import error, lib
from ..._libuv.files import Call
from .request import run

if TYPE_CHECKING:
    from .file import File

__all__ = ["Lines", "binary"]

CHUNK = 65536  # bytes that `Lines` reads at once


class _Raw(io.RawIOBase):
    """A file in the form that Python's buffers want. It has no public methods of its own."""

    def __init__(self, file: File) -> None:
        """Begin at the position of `file`."""
        self._file = file
        self._blocking = False  # in a finalizer, which may run anywhere
        self._at = _position(file.fileno())

    def __repr__(self) -> str:
        return f"<raw {self._file!r}>"

    def _run(self, name: str, data: Any) -> int:
        """Read or write at our position; return how many bytes."""
        at = -1 if self._at is None else self._at
        call = self._file._call(name, buffer=memoryview(data), offset=at)
        if run(call, self._in_finalizer()) is not SIGNED:
            raise error(lib.UV_ECANCELED, call.syscall)  # a buffer cannot return what an explicit resume brought
        if self._at is not None:
            self._at += call.code
        return call.code

    def _in_finalizer(self) -> bool:
        """Return whether nobody can wait: we are collected (Python sets `_finalizing`), or the coroutine is."""
        me = getcurrent()
        collected = isinstance(me, Runner) and getattr(me, "coroutine", None) is None and me is not home().gate
        return collected or self._blocking or self.__dict__.get("_finalizing", False)

    def _dealloc_warn(self, source: object) -> None:
        """Python calls this if the buffer was not closed, before it flushes and closes it."""
        self._blocking = True
        if sys.flags.dev_mode:
            warnings.warn(f"unclosed file {source!r}", ResourceWarning, stacklevel=2, source=source)

    def readable(self) -> bool:
        return self._file._read

    def writable(self) -> bool:
        return self._file._write

    def seekable(self) -> bool:
        return self._at is not None

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        data = bytearray(len(buffer))
        count = self._run("read", data)
        buffer[:count] = data[:count]
        return count

    def write(self, data: Any) -> int:
        return self._run("write", bytes(data))

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if self._at is None:
            raise io.UnsupportedOperation("the file has no positions")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at}.get(whence)
        if start is None:
            start = self._file.info("size", blocking=self._in_finalizer())
            if not isinstance(start, int):
                raise error(lib.UV_ECANCELED, "uv_fs_fstat")
        if start + offset < 0:
            raise ValueError(f"negative position: {start + offset}")
        self._at = start + offset
        return self._at

    def truncate(self, size: int | None = None) -> int:
        size = self.tell() if size is None else size
        self._file.resize(size, blocking=self._in_finalizer())
        return size

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()
            finally:
                self._file.close(blocking=self._in_finalizer())


def _position(number: int) -> int | None:
    """Return where a descriptor reads and writes; None if it has no positions."""
    try:
        at = os.lseek(number, 0, os.SEEK_CUR)
    except OSError:
        return None
    return os.fstat(number).st_size if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND else at


def binary(file: File, size: int) -> io.BufferedReader | io.BufferedWriter | io.BufferedRandom:
    """Return a buffer over a file, for reading, writing, or both."""
    kinds = {(True, False): io.BufferedReader, (False, True): io.BufferedWriter, (True, True): io.BufferedRandom}
    raw: Any = _Raw(file)
    made: Any = kinds[file._read, file._write](raw, size)
    return made  # type: ignore[no-any-return]


class Lines:
    """An iterator over the lines of a file, as bytes. A wait that is ended from outside loses nothing."""

    __slots__ = ("_at", "_file", "_lines", "_rest")

    def __init__(self, file: File) -> None:
        """Begin at the position of `file`, which stays."""
        self._file = file
        self._at = _position(file.fileno())
        self._lines: list[bytes] = []  # in reverse
        self._rest: list[bytes] = []  # the parts of a line that has no end yet

    def __iter__(self) -> Iterator[bytes]:
        """Return the iterator itself."""
        return self

    def __next__(self) -> bytes:
        """Return the next line. Suspends when more has to be read."""
        while not self._lines:
            call, data = self._read()
            if (woken := run(call, False)) is not SIGNED:
                return woken  # type: ignore[no-any-return]  # what an explicit resume brought
            if self._at is not None:
                self._at += call.code
            if not call.code:
                return self._last()
            self._split(bytes(data[: call.code]))
        return self._lines.pop()

    def _read(self) -> tuple[Call, bytearray]:
        data = bytearray(CHUNK)
        at = -1 if self._at is None else self._at
        return self._file._call("read", buffer=memoryview(data), offset=at), data

    def _split(self, data: bytes) -> None:
        first, *more = data.split(b"\n")
        self._rest.append(first)
        if more:
            last = more.pop()
            self._lines = [line + b"\n" for line in reversed((b"".join(self._rest), *more))]
            self._rest = [last]

    def _last(self) -> bytes:
        rest, self._rest = b"".join(self._rest), []
        if not rest:
            raise StopIteration
        return rest
