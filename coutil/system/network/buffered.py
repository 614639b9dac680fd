"""Buffers and text over a stream, in the form that Python's own have over a file.

Rule 1: what has come stays here until a call returns it. Python's buffers would forget what they have of an unfinished
line when a wait inside of them is ended from outside; so reading is ours, and only what does not wait is theirs.
Rule 2: what was written is sent once: it leaves the buffer in the moment that the system, or libuv, takes it over.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..._coroutines.books import warn_in_finalizer
from ..._coroutines.outcomes import Resumed
from ..._kernel.operation import begun, lucky, operation_in
from ..._kernel.requests import SIZE, run
from ..._libuv import error, lib
from ..._libuv.buffers import readable
from ..files.buffered import Ending

if TYPE_CHECKING:
    from .bytestream import ByteStream

__all__ = ["binary", "text"]

_ENDS = {None: "\n", "": "\r\n?|\n"}  # of lines, where `newline` does not say it itself


def binary(stream: ByteStream, size: int) -> io.BufferedIOBase:
    """See `ByteStream.buffered`."""
    return _Buffered(stream, size)


def text(stream: ByteStream, encoding: str, errors: str | None, newline: str | None) -> io.TextIOWrapper:
    """See `ByteStream.text`."""
    return _Text(_Buffered(stream, io.DEFAULT_BUFFER_SIZE), encoding, errors, newline)


class _Buffered(Ending, io.BufferedIOBase):
    """A buffer for both directions of a stream."""

    def __init__(self, stream: ByteStream, size: int) -> None:
        """size: bytes to ask for at once, and to keep before they are sent."""
        self._stream, self._size = stream, size
        self._came = bytearray()  # and nobody has read it
        self._written = bytearray()  # and not sent

    def __repr__(self) -> str:
        return f"<buffered {self._stream!r}>"

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return os.isatty(self.fileno())

    # -- reading -------------------------------------------------------------------------------------------------------

    def read(self, size: int | None = -1) -> bytes:
        most = _most(size)
        while (missing := most - len(self._came)) > 0 and self._more(missing):
            pass
        return self._take(most)

    def read1(self, size: int = -1) -> bytes:
        if not self._came and size:
            self._more()
        return self._take(_most(size))

    def peek(self, size: int = 0) -> bytes:
        if not self._came:
            self._more()
        return bytes(self._came)

    def readline(self, size: int | None = -1) -> bytes:
        most, seen = _most(size), 0
        while not (end := self._came.find(b"\n", seen) + 1) and (seen := len(self._came)) < most and self._more():
            pass
        return self._take(min(end or sys.maxsize, most))

    def _more(self, missing: int = 0) -> bool:
        """Receive, perhaps more than usually if much is missing; return whether there was anything."""
        try:
            data = self._stream._piece(max(self._size, min(missing, SIZE)))
        except Resumed:
            raise error(lib.UV_ECANCELED, "uv_read_start") from None  # what it brings, nobody expects here
        self._came += data
        return bool(data)

    def _take(self, most: int) -> bytes:
        data = bytes(self._came[:most])
        del self._came[:most]
        return data

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError(f"{self!r} is closed")
        with memoryview(data).cast("B") as view:
            self._written += view
            count = len(view)
        if len(self._written) >= self._size:
            self.flush()
        return count

    def flush(self) -> None:
        if not self._written:
            return
        handle, data = self._stream._handle, bytes(self._written)
        sent = lib.co_try_write(handle.pointer, handle.slot, data, len(data))
        del self._written[: max(sent, 0)]
        if self._in_finalizer():
            self._drop()
        elif sent < 0 and sent != lib.UV_EAGAIN:
            if sent != lib.CO_FOREIGN:
                self._written.clear()  # nobody will ever take it
            raise handle.failed(sent, "uv_write")
        elif not self._written:
            with suppress(Resumed):
                lucky(handle.hub)
        else:
            self._queue(handle, sent > 0)

    def _queue(self, handle: Any, partly: bool) -> None:
        """Have libuv send the rest; from the start of that on it does, also if nobody waits any more."""
        pins: list[Any] = []

        def start(slot: int, generation: int) -> int:
            view, at = readable(bytes(self._written), 0, None)
            code: int = lib.co_write(handle.pointer, handle.slot, slot, generation, at, len(view))
            self._written.clear()
            pins.append(view)
            return code

        own = begun(handle.hub) if partly else operation_in(handle.hub)
        try:
            run(own, handle, "send", start, "uv_write", pins=pins, partly=partly)
        except Resumed:
            raise error(lib.UV_ECANCELED, "uv_write") from None  # as in `_more`

    def _drop(self) -> None:
        """Nobody can wait until the rest of what was written is sent."""
        count = len(self._written)
        self._written.clear()
        if count and sys.flags.dev_mode:
            warn_in_finalizer(f"{count} bytes were written to {self!r} and not flushed", self)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()  # it flushes
            finally:
                self._came.clear()
                if not self._is_forgotten():
                    self._stream.close()


class _Text(io.TextIOWrapper):
    """Text over a buffer. Python encodes and writes it; decoding and reading are ours."""

    def __init__(self, buffer: _Buffered, encoding: str, errors: str | None, newline: str | None) -> None:
        """The arguments are those of `open`, which Python checks."""
        super().__init__(buffer, encoding, errors, newline)  # type: ignore[arg-type]  # it is a binary file, too
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors or "strict")
        self._any = not newline  # any end of a line will do
        plain = newline in ("\n", "\r")  # else "\r" is kept until what follows it has come
        self._decoder = decoder if plain else io.IncrementalNewlineDecoder(decoder, newline is None)
        self._end = re.compile(_ENDS.get(newline) or newline or "")
        self._rest: list[str] = []  # the parts of a line that has no end yet
        self._held = 0  # characters in these
        self._came, self._at = "", 0  # what comes next begins there

    @property
    def newlines(self) -> Any:  # type: ignore[override]  # nobody sets it
        """The ends of lines that were met, if any of them will do; as that of Python."""
        return getattr(self._decoder, "newlines", None) if self._any else None

    def reconfigure(
        self, *, line_buffering: bool | None = None, write_through: bool | None = None, **others: Any
    ) -> None:
        """As that of Python, but for what has to do with reading."""
        if others:
            raise io.UnsupportedOperation(f"{', '.join(others)} cannot be changed: make another text")
        super().reconfigure(line_buffering=line_buffering, write_through=write_through)

    def read(self, size: int | None = -1) -> str:
        most, ended = _most(size), False
        while not ended and (missing := most - self._held - len(self._came) + self._at) > 0:
            data = bytes(self.buffer.read(missing))  # no character takes less than a byte
            text, ended = self._decode(data), not data
            self._join()
            self._came += text
        return self._take(most)

    def readline(self, size: int | None = -1) -> str:  # type: ignore[override]  # None is allowed, as in Python
        most = _most(size)
        while not (end := self._line()) and self._held + len(self._came) - self._at < most and self._more():
            pass
        return self._take(min(end or self._line() or sys.maxsize, most))

    def _line(self) -> int:
        """Return how long the next line is, 0 if its end has not come."""
        found = self._end.search(self._came, self._at)
        return self._held + found.end() - self._at if found else 0

    def _more(self) -> bool:
        """Decode what comes after a part that has no end of a line; return whether there was anything."""
        data = self.buffer.read1(-1)  # type: ignore[attr-defined]  # ours has it
        text = self._decode(data)
        self._rest.append(self._came[self._at :])
        self._held += len(self._rest[-1])
        self._came, self._at = text, 0
        return bool(data)

    def _decode(self, data: bytes) -> str:
        return self._decoder.decode(data, not data)

    def _join(self) -> None:
        """Make one of all parts."""
        self._came, self._at = "".join((*self._rest, self._came[self._at :])), 0
        self._rest.clear()
        self._held = 0

    def _take(self, most: int) -> str:
        if self._rest:
            self._join()
        text = self._came[self._at : self._at + most]
        self._at += len(text)
        return text


def _most(size: int | None) -> int:
    return sys.maxsize if size is None or size < 0 else size
