"""Buffers and text over a stream, with the interface of Python's own over a file.

Rule 1: received data stay in the buffer until a call returns them. Python's buffers would lose the part of an
unfinished line that they have when a wait inside them is ended from outside. So this module reads itself, and leaves to
Python only the work that does not wait.
Rule 2: written data are sent once: they leave the buffer at the moment when the system, or libuv, takes them over.
"""

from __future__ import annotations

import codecs
import io
import os
import re
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from ..._coroutines import Resumed, warn_in_finalizer
from ..._kernel import DEFAULT_READ_SIZE, continuation_operation, current_operation_in, run_request, spend_budget
from ..._libuv import error, lib
from ..._libuv.buffers import readable
from ..files.buffered import FinalizerAware

if TYPE_CHECKING:
    from .bytestream import ByteStream

__all__ = ["binary", "text"]

_ENDS = {None: "\n", "": "\r\n?|\n"}  # patterns for line ends, where `newline` is not one itself


def binary(stream: ByteStream, size: int) -> io.BufferedIOBase:
    """Return a buffer over a stream; see `ByteStream.buffered`."""
    return _Buffered(stream, size)


def text(stream: ByteStream, encoding: str, errors: str | None, newline: str | None) -> io.TextIOWrapper:
    """Return text over a stream; see `ByteStream.text`."""
    return _Text(_Buffered(stream, io.DEFAULT_BUFFER_SIZE), encoding, errors, newline)


class _Buffered(FinalizerAware, io.BufferedIOBase):
    """A buffer for both directions of a stream."""

    def __init__(self, stream: ByteStream, size: int) -> None:
        """Buffer a stream. size: bytes to ask for at once, and to keep before they are sent."""
        self._stream, self._size = stream, size
        self._received = bytearray()  # received, and not read by the user
        self._unsent = bytearray()  # written by the user, and not sent

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
        while (missing := most - len(self._received)) > 0 and self._receive_more(missing):
            pass
        return self._take(most)

    def read1(self, size: int = -1) -> bytes:
        if not self._received and size:
            self._receive_more()
        return self._take(_most(size))

    def peek(self, size: int = 0) -> bytes:
        if not self._received:
            self._receive_more()
        return bytes(self._received)

    def readline(self, size: int | None = -1) -> bytes:
        most, seen = _most(size), 0
        while (
            not (end := self._received.find(b"\n", seen) + 1)
            and (seen := len(self._received)) < most
            and self._receive_more()
        ):
            pass
        return self._take(min(end or sys.maxsize, most))

    def _receive_more(self, missing: int = 0) -> bool:
        """Receive data, more than the usual amount if much is missing; return False at the end of the stream."""
        try:
            data = self._stream._receive_chunk(max(self._size, min(missing, DEFAULT_READ_SIZE)))
        except Resumed:
            raise error(lib.UV_ECANCELED, "uv_read_start") from None  # a file object cannot return the value
        self._received += data
        return bool(data)

    def _take(self, most: int) -> bytes:
        data = bytes(self._received[:most])
        del self._received[:most]
        return data

    # -- writing -------------------------------------------------------------------------------------------------------

    def write(self, data: Any) -> int:
        if self.closed:
            raise ValueError(f"{self!r} is closed")
        with memoryview(data).cast("B") as view:
            self._unsent += view
            count = len(view)
        if len(self._unsent) >= self._size:
            self.flush()
        return count

    def flush(self) -> None:
        if not self._unsent:
            return
        handle, data = self._stream._handle, bytes(self._unsent)
        sent = lib.co_try_write(handle.pointer, handle.slot, data, len(data))
        del self._unsent[: max(sent, 0)]
        if self._in_finalizer():
            self._warn_unflushed()
        elif sent < 0 and sent != lib.UV_EAGAIN:
            if sent != lib.CO_FOREIGN:
                self._unsent.clear()  # the connection is broken: it cannot be sent
            raise handle.call_error(sent, "uv_write")
        elif not self._unsent:
            with suppress(Resumed):
                spend_budget(handle.hub)
        else:
            self._queue(handle, sent > 0)

    def _queue(self, handle: Any, already_started: bool) -> None:
        """Have libuv send the rest. Once this has started libuv sends it also if the wait is ended from outside."""
        keepalive: list[Any] = []

        def start(slot: int, generation: int) -> int:
            view, address = readable(bytes(self._unsent), 0, None)
            code: int = lib.co_write(handle.pointer, handle.slot, slot, generation, address, len(view))
            self._unsent.clear()
            keepalive.append(view)
            return code

        operation = continuation_operation(handle.hub) if already_started else current_operation_in(handle.hub)
        try:
            run_request(
                operation, handle, "send", start, "uv_write", keepalive=keepalive, already_started=already_started
            )
        except Resumed:
            raise error(lib.UV_ECANCELED, "uv_write") from None  # as in `_more`

    def _warn_unflushed(self) -> None:
        """Discard the rest of the written data: a finalizer cannot wait until they are sent."""
        count = len(self._unsent)
        self._unsent.clear()
        if count and sys.flags.dev_mode:
            warn_in_finalizer(f"{count} bytes were written to {self!r} and not flushed", self)

    # -- closing -------------------------------------------------------------------------------------------------------

    def close(self) -> None:
        if not self.closed:
            try:
                super().close()  # which flushes
            finally:
                self._received.clear()
                if not self._in_deallocation():
                    self._stream.close()


class _Text(io.TextIOWrapper):
    """Text over a buffer. Python's class encodes and writes; this one reads and decodes."""

    def __init__(self, buffer: _Buffered, encoding: str, errors: str | None, newline: str | None) -> None:
        """Wrap a buffer; the other arguments are those of `open`, which Python's class checks."""
        super().__init__(cast("BinaryIO", buffer), encoding, errors, newline)
        decoder = codecs.getincrementaldecoder(self.encoding)(self.errors or "strict")
        self._any = not newline  # any line end is accepted
        plain = newline in ("\n", "\r")  # otherwise a "\r" is held until the next character has come
        self._decoder = decoder if plain else io.IncrementalNewlineDecoder(decoder, newline is None)
        self._end = re.compile(_ENDS.get(newline) or newline or "")
        # The text that was decoded and not returned: the parts in `_partial`, which contain no line end, then
        # `_received` from `_offset` on. So a long line is joined once, not at each receive.
        self._partial: list[str] = []
        self._partial_size = 0  # characters in `_partial`
        self._received, self._offset = "", 0

    @property
    def newlines(self) -> str | tuple[str, ...] | None:  # type: ignore[override]  # it is read-only
        """The line ends that were met, if any line end is accepted; as the attribute of Python's class."""
        return getattr(self._decoder, "newlines", None) if self._any else None

    def reconfigure(
        self, *, line_buffering: bool | None = None, write_through: bool | None = None, **others: Any
    ) -> None:
        """Change options for writing, as the method of Python's class. Options for reading cannot be changed."""
        if others:
            raise io.UnsupportedOperation(f"{', '.join(others)} cannot be changed: make another text")
        super().reconfigure(line_buffering=line_buffering, write_through=write_through)

    def read(self, size: int | None = -1) -> str:
        most, ended = _most(size), False
        while not ended and (missing := most - self._partial_size - len(self._received) + self._offset) > 0:
            data = bytes(self.buffer.read(missing))  # each character takes at least one byte
            text, ended = self._decode(data), not data
            self._join()
            self._received += text
        return self._take(most)

    def readline(self, size: int | None = -1, /) -> str:  # type: ignore[override]  # None is allowed, as in Python
        most = _most(size)
        while (
            not (end := self._line())
            and self._partial_size + len(self._received) - self._offset < most
            and self._decode_more()
        ):
            pass
        return self._take(min(end or self._line() or sys.maxsize, most))

    def _line(self) -> int:
        """Return the length of the next line, 0 if its end has not come."""
        match = self._end.search(self._received, self._offset)
        return self._partial_size + match.end() - self._offset if match else 0

    def _decode_more(self) -> bool:
        """Keep a part without line end, and decode more data; return False at the end of the stream."""
        data = cast("_Buffered", self.buffer).read1(-1)
        text = self._decode(data)
        self._partial.append(self._received[self._offset :])
        self._partial_size += len(self._partial[-1])
        self._received, self._offset = text, 0
        return bool(data)

    def _decode(self, data: bytes) -> str:
        return self._decoder.decode(data, not data)

    def _join(self) -> None:
        """Join all parts."""
        self._received, self._offset = "".join((*self._partial, self._received[self._offset :])), 0
        self._partial.clear()
        self._partial_size = 0

    def _take(self, most: int) -> str:
        if self._partial:
            self._join()
        text = self._received[self._offset : self._offset + most]
        self._offset += len(text)
        return text


def _most(size: int | None) -> int:
    return sys.maxsize if size is None or size < 0 else size
