"""Files sent to streams without coming through this process.

The system sends from the thread pool, on a duplicate of the stream's descriptor, so that a stream which is closed
meanwhile keeps its number until the pool is done with it. What a full stream does not take at once is read and sent
like other data; by the time that this is through there is room again. So nothing waits in the pool for the peer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..._kernel.operation import operation
from ..._kernel.states import CLOSE_REQUEST
from ..._kernel.switching import SIGNED
from ..._libuv import lib
from ..._libuv.buffers import readable
from ..._libuv.files import Call
from ..files.descriptor import Descriptor
from ..files.file import LARGEST, File
from ..files.request import filebits, run, whole

__all__ = ["send_file"]

PIECE = 1 << 22  # bytes that the pool sends in one call
CHUNK = 1 << 16  # bytes that are read and sent when the stream is full


def send_file(stream: Any, file: File, offset: int, count: int | None) -> Any:
    """See `StreamSocket.send_file`."""
    if not isinstance(file, File):
        raise TypeError(f"file must be a File, not {file!r}")
    whole("offset", offset, 0, LARGEST)
    if count is not None:
        whole("count", count, 0, LARGEST)
    _queue_is_empty(stream._handle)  # raises if it cannot send
    stat = file._call("fstat")
    if (woken := run(stat, False)) is not SIGNED:
        return woken
    regular = stat.stat.st_mode & filebits.type == filebits.file and stat.stat.st_size > 0
    if count is None:
        count = max(stat.stat.st_size - offset, 0) if regular else LARGEST - offset
    with _duplicate(stream, regular) as output:
        return _Sending(stream, file, output).send(offset, count)


def _queue_is_empty(handle: Any) -> bool:
    """Return whether nothing that was sent before waits in libuv; raise why nothing can be sent."""
    code: int = lib.co_try_write(handle.pointer, handle.slot, b"", 0)
    if code < 0 and code != lib.UV_EAGAIN:
        raise handle.failed(code, "uv_write")
    return code == 0


@contextmanager
def _duplicate(stream: Any, wanted: bool) -> Iterator[Descriptor | None]:
    """Hold a duplicate of the stream's descriptor; None if the system shall not send: it could kill us by SIGPIPE."""
    if not wanted or signal.getsignal(signal.SIGPIPE) == signal.SIG_DFL:
        yield None
        return
    output = Descriptor(os.dup(stream.fileno()), f"duplicate of {stream._handle}")
    try:
        yield output
    finally:
        number = output.give_up()
        if number is not None:
            os.close(number)


class _Sending:
    """One call of `send_file`."""

    __slots__ = ("file", "output", "stream")

    def __init__(self, stream: Any, file: File, output: Descriptor | None) -> None:
        self.stream, self.file, self.output = stream, file, output

    def send(self, offset: int, count: int) -> Any:
        """Send up to `count` bytes; return how many there were, or what an explicit resume brought."""
        left = count
        while left:
            size, woken = self._by_system(offset, left) if self.output is not None else (-1, SIGNED)
            if size < 0 and woken is SIGNED:
                size, woken = self._by_ourselves(offset, min(left, CHUNK))
            if woken is not SIGNED:
                return woken
            if not size:
                break
            offset += size
            left -= size
        return count - left

    def _by_system(self, offset: int, size: int) -> tuple[int, Any]:
        """Return how many bytes the stream has taken, -1 if it is full, and how the wait has ended."""
        handle, output = self.stream._handle, self.output
        assert output is not None
        if not _queue_is_empty(handle):
            return -1, SIGNED
        users, source = (output, self.file._descriptor), self.file.fileno()
        call = Call("sendfile", users=users, fd=output.number(), source=source, offset=offset, size=min(size, PIECE))
        try:
            woken = run(call, False)
        except BlockingIOError:
            return -1, SIGNED
        return call.code, woken

    def _by_ourselves(self, offset: int, size: int) -> tuple[int, Any]:
        data = bytearray(size)
        call = self.file._call("read", buffer=memoryview(data), offset=offset)
        if (woken := run(call, False)) is not SIGNED or not call.code:
            return 0, woken
        woken = self.stream._send_rest(*readable(data, 0, call.code), 0)
        given_up = woken is not True or operation().state is CLOSE_REQUEST
        return call.code, woken if given_up else SIGNED
