"""Files sent to streams without a copy through this process.

The system call runs in the thread pool, on a duplicate of the stream's descriptor: if the stream is closed in between,
the duplicate stays open until the pool is done with it. When a stream is full, the next piece is read and sent like
other data; after that there is room again. So no thread of the pool waits for the peer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..._kernel import write_remaining
from ..._libuv import lib
from ..._libuv.buffers import readable
from ..._libuv.files import FsCall
from ...errors import UVError
from ..files.call import check_int, run_call
from ..files.descriptor import Descriptor
from ..files.file import MAX_OFFSET, File
from ..files.transfer import Transfer

__all__ = ["send_file"]

_UNSUPPORTED = (lib.UV_EINVAL, lib.UV_ENOSYS)
MAX_CALL_SIZE = 1 << 22  # bytes that the pool sends in one call


def send_file(stream: Any, file: File, offset: int, count: int | None) -> int:
    """Send a file to a stream; see `ByteStream.send_file`."""
    if not isinstance(file, File):
        raise TypeError(f"file must be a File, not {file!r}")
    check_int("offset", offset, 0, MAX_OFFSET)
    if count is not None:
        check_int("count", count, 0, MAX_OFFSET)
    _queue_is_empty(stream._handle)  # raises if nothing can be sent
    with _duplicate(stream) as output:
        return FileToStream(file, stream, output).move(offset, MAX_OFFSET - offset if count is None else count)


def _queue_is_empty(handle: Any) -> bool:
    """Return whether libuv has no unsent data of this stream. Raises `UVError` or `Closed` if nothing can be sent."""
    code: int = lib.co_try_write(handle.pointer, handle.slot, b"", 0)
    if code < 0 and code != lib.UV_EAGAIN:
        raise handle.call_error(code, "uv_write")
    return code == 0


@contextmanager
def _duplicate(stream: Any) -> Iterator[Descriptor]:
    """Hold a duplicate of the stream's descriptor."""
    output = Descriptor(os.dup(stream.fileno()), f"duplicate of {stream._handle}")
    try:
        yield output
    finally:
        output.close_when_unused()


class FileToStream(Transfer):
    """A transfer to the peer of a stream."""

    __slots__ = ("output", "stream", "supported")
    CHUNK = 1 << 16

    def __init__(self, source: File, stream: Any, output: Descriptor) -> None:
        super().__init__(source, False)
        blocks = os.get_blocking(output.number())  # other processes use it, too: the pool would wait for the peer
        self.stream, self.output, self.supported = stream, output, not blocks

    def try_kernel_copy(self, offset: int, size: int) -> int:
        """Have the system send a piece; 0 if the stream is full, or if the system cannot send this file."""
        if not _queue_is_empty(self.stream._handle) or not self.supported:
            return 0
        output, source = self.output, self.source._descriptor
        values: dict[str, Any] = {
            "fd": output.number(),
            "source": source.number(),
            "offset": offset,
            "size": min(size, MAX_CALL_SIZE),
            "in_pieces": False,
        }
        call = FsCall("sendfile", users=(output, source), **values)
        call.own_implementation = True
        try:
            run_call(call, False)
        except UVError:
            if call.code not in (lib.UV_EAGAIN, *_UNSUPPORTED):
                raise
            self.supported = call.code == lib.UV_EAGAIN
            return 0
        return call.code

    def write_all(self, data: memoryview) -> None:
        """Send through libuv's queue, which waits until the stream has room."""
        write_remaining(self.stream._handle, "send", *readable(data, 0, None), 0)
