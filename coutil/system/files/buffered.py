"""Python's buffers and text over a `File`; and lines, of files and of streams.

Rule 1: libuv never gets the memory of Python's buffers, which may be freed while an abandoned call still runs.
Rule 2: each wrapper keeps its own position, and moves it only when a call ends normally: a call that was abandoned can
be repeated, and reads, or writes, the same bytes. This does not hold for a file without positions (a pipe), and for
writes to one that was opened to append.
"""

from __future__ import annotations

import fcntl
import io
import os
import sys
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from greenlet import getcurrent

from ..._coroutines import Resumed, Runner, current_context, waits, warn_in_finalizer
from ..._libuv import error, lib
from .call import run_call

if TYPE_CHECKING:
    from .file import File

__all__ = ["FinalizerAware", "LineIterator", "binary", "lines", "text"]

LINE_CHUNK = 65536  # bytes that `LineIterator` reads at once


class FinalizerAware:
    """A mix-in that detects finalizers: a finalizer may run anywhere, so it must not suspend."""

    _is_dropped = False  # the wrapper around this object was collected; it says so before it flushes

    def _in_finalizer(self) -> bool:
        """Return whether the caller cannot wait: this object is being collected, or the coroutine that runs is.

        Python sets `_finalizing` on an object that it collects.
        """
        me = getcurrent()
        collected = (
            isinstance(me, Runner)
            and getattr(me, "coroutine", None) is None
            and me is not current_context().hub_greenlet
        )
        return collected or self._in_deallocation()

    def _in_deallocation(self) -> bool:
        return self._is_dropped or self.__dict__.get("_finalizing", False)

    def _dealloc_warn(self, source: object) -> None:
        """Note that the wrapper around this object is collected without `close`; it flushes and closes after this."""
        self._is_dropped = True


class _RawFile(FinalizerAware, io.RawIOBase):
    """A file with the interface that Python's buffers need; all its public methods belong to that interface."""

    _unclosed = ""  # the warning to print after `close`

    def __init__(self, file: File, at: int | None) -> None:
        """Wrap a file. at: the first position; None: the file has no positions.

        This must not raise: Python would close the half-made object, and with it the file.
        """
        self._file = file
        self._offset = at

    def __repr__(self) -> str:
        return f"<raw {self._file!r}>"

    def _run(self, name: str, data: Any) -> int:
        """Read or write at the position; return the number of bytes."""
        offset = -1 if self._offset is None else self._offset
        call = self._file._call(name, buffer=memoryview(data), offset=offset)
        try:
            run_call(call, self._in_finalizer())
        except Resumed:
            # a buffer cannot return the value
            raise error(lib.UV_ECANCELED, call.syscall) from None
        if self._offset is not None:
            self._offset += call.code
        return call.code

    def _dealloc_warn(self, source: object) -> None:
        super()._dealloc_warn(source)
        self._unclosed = f"unclosed file {source!r}" if sys.flags.dev_mode else ""

    def readable(self) -> bool:
        return self._file._read

    def writable(self) -> bool:
        return self._file._write

    def seekable(self) -> bool:
        return self._offset is not None

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
        if self._offset is None:
            raise io.UnsupportedOperation("the file has no positions")
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._offset}.get(whence)
        if start is None:
            start = self._file.info("size", blocking=self._in_finalizer())
            if not isinstance(start, int):
                raise error(lib.UV_ECANCELED, "uv_fs_fstat")
        if start + offset < 0:
            raise ValueError(f"negative position: {start + offset}")
        self._offset = start + offset
        return self._offset

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
            if self._unclosed:
                warn_in_finalizer(self._unclosed, self)


def _position(number: int) -> int | None:
    """Return the position at which a descriptor reads and writes; None if it has no positions."""
    try:
        offset = os.lseek(number, 0, os.SEEK_CUR)
    except OSError:
        return None
    return os.fstat(number).st_size if fcntl.fcntl(number, fcntl.F_GETFL) & os.O_APPEND else offset


def binary(file: File, size: int) -> io.BufferedReader | io.BufferedWriter | io.BufferedRandom:
    """Return a buffer over a file, for reading, writing, or both."""
    raw = _RawFile(file, _position(file.fileno()))
    if not file._write:
        return io.BufferedReader(raw, size)
    return io.BufferedRandom(raw, size) if file._read else io.BufferedWriter(raw, size)


def text(file: File, encoding: str, errors: str | None, newline: str | None) -> io.TextIOWrapper:
    """Return text over a buffer over a file. Raises what Python's class raises for wrong arguments."""
    io.TextIOWrapper(io.BytesIO(), encoding, errors, newline)  # checks the arguments before a buffer owns the file
    return io.TextIOWrapper(binary(file, io.DEFAULT_BUFFER_SIZE), encoding, errors, newline)


def lines(file: File) -> LineIterator:
    """Return the lines of a file from its position on; that position does not move."""
    return LineIterator(_ChunkReader(file))


class _ChunkReader:
    """A function that reads the next piece of a file, for `LineIterator`."""

    __slots__ = ("_file", "_offset")

    def __init__(self, file: File) -> None:
        """Begin at the position of `file`."""
        self._file = file
        self._offset = _position(file.fileno())

    def __call__(self, size: int) -> bytes:
        data = bytearray(size)
        offset = -1 if self._offset is None else self._offset
        call = self._file._call("read", buffer=memoryview(data), offset=offset)
        run_call(call, False)
        if self._offset is not None:
            self._offset += call.code
        return bytes(data[: call.code])


class LineIterator:
    """An iterator over lines, as bytes. A wait that is ended from outside loses nothing."""

    __slots__ = ("_lines", "_partial", "_read_more")

    def __init__(self, more: Callable[[int], bytes]) -> None:
        """Take the source. more: called with a size; returns at most so many bytes, b"" at the end."""
        self._read_more = more
        self._lines: list[bytes] = []  # in reverse
        self._partial: list[bytes] = []  # the parts of a line that has no end yet

    def __iter__(self) -> Iterator[bytes]:
        """Return the iterator itself."""
        return self

    @waits
    def __next__(self) -> bytes:
        """Return the next line. Suspends when more has to be read."""
        while not self._lines:
            data = self._read_more(LINE_CHUNK)
            if not data:
                return self._final_line()
            self._split(data)
        return self._lines.pop()

    def _split(self, data: bytes) -> None:
        first, *more = data.split(b"\n")
        self._partial.append(first)
        if more:
            last = more.pop()
            self._lines = [line + b"\n" for line in reversed((b"".join(self._partial), *more))]
            self._partial = [last]

    def _final_line(self) -> bytes:
        rest, self._partial = b"".join(self._partial), []
        if not rest:
            raise StopIteration
        return rest
