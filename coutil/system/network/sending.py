"""Files sent to streams without coming through this process.

The system sends from the thread pool, on a duplicate of the stream's descriptor, so that a stream which is closed
meanwhile keeps its number until the pool is done with it. What a full stream does not take at once is read and sent
like other data; by the time that this is through there is room again. So nothing waits in the pool for the peer.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ..._kernel.requests import write_rest
from ..._libuv import lib
from ..._libuv.buffers import readable
from ..._libuv.files import Call
from ...errors import UVError
from ..files.descriptor import Descriptor
from ..files.file import LARGEST, File
from ..files.request import run, whole
from ..files.transfer import Transfer

__all__ = ["send_file"]

_UNABLE = (lib.UV_EINVAL, lib.UV_ENOSYS)
PIECE = 1 << 22  # bytes that the pool sends in one call


def send_file(stream: Any, file: File, offset: int, count: int | None) -> int:
    """See `ByteStream.send_file`."""
    if not isinstance(file, File):
        raise TypeError(f"file must be a File, not {file!r}")
    whole("offset", offset, 0, LARGEST)
    if count is not None:
        whole("count", count, 0, LARGEST)
    _queue_is_empty(stream._handle)  # raises if it cannot send
    with _duplicate(stream) as output:
        return _ToStream(file, stream, output).move(offset, LARGEST - offset if count is None else count)


def _queue_is_empty(handle: Any) -> bool:
    """Return whether nothing that was sent before waits in libuv; raise why nothing can be sent."""
    code: int = lib.co_try_write(handle.pointer, handle.slot, b"", 0)
    if code < 0 and code != lib.UV_EAGAIN:
        raise handle.failed(code, "uv_write")
    return code == 0


@contextmanager
def _duplicate(stream: Any) -> Iterator[Descriptor]:
    """Hold a duplicate of the stream's descriptor."""
    output = Descriptor(os.dup(stream.fileno()), f"duplicate of {stream._handle}")
    try:
        yield output
    finally:
        output.close_unused()


class _ToStream(Transfer):
    """To the peer of a stream."""

    __slots__ = ("able", "output", "stream")
    CHUNK = 1 << 16

    def __init__(self, source: File, stream: Any, output: Descriptor) -> None:
        super().__init__(source, False)
        blocks = os.get_blocking(output.number())  # others use it, too: the pool would wait for the peer
        self.stream, self.output, self.able = stream, output, not blocks

    def by_system(self, offset: int, size: int) -> int:
        """Nothing, if the stream is full, or if this is no file that the system sends."""
        if not _queue_is_empty(self.stream._handle) or not self.able:
            return 0
        output, source = self.output, self.source._descriptor
        values: dict[str, Any] = {
            "fd": output.number(),
            "source": source.number(),
            "offset": offset,
            "size": min(size, PIECE),
            "in_pieces": False,
        }
        call = Call("sendfile", users=(output, source), **values)
        call.ours = True
        try:
            run(call, False)
        except UVError:
            if call.code not in (lib.UV_EAGAIN, *_UNABLE):
                raise
            self.able = call.code == lib.UV_EAGAIN
            return 0
        return call.code

    def deliver(self, data: memoryview) -> None:
        """Through libuv's queue, which waits for the stream."""
        write_rest(self.stream._handle, "send", *readable(data, 0, None), 0)
