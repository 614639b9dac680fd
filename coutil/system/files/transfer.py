"""Transfers of the contents of a file: by the system where possible, otherwise through memory of this process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._libuv import lib
from ..._libuv.files import FsCall
from ...errors import UVError
from .call import run_call

if TYPE_CHECKING:
    from .file import File

__all__ = ["FileToFile", "Transfer"]


class Transfer:
    """A transfer of pieces of `source`. Each subclass has another kind of target."""

    __slots__ = ("blocking", "source")
    CHUNK = 1 << 20  # bytes that go through memory at once

    def __init__(self, source: File, blocking: bool) -> None:
        self.source, self.blocking = source, blocking

    def try_kernel_copy(self, offset: int, size: int) -> int:
        """Have the system move a piece; return the number of bytes, 0 if it cannot do so (now)."""
        raise NotImplementedError

    def write_all(self, data: memoryview) -> None:
        """Write all of `data` to the target."""
        raise NotImplementedError

    def move(self, offset: int, count: int) -> int:
        """Move up to `count` bytes; return the number that was moved."""
        left = count
        while left:
            size = self.try_kernel_copy(offset, left)
            if not size:  # the system cannot, or the file ends here; for some files (/proc) it does not know
                size = self._through_memory(offset, min(left, self.CHUNK))
            if not size:
                break
            offset += size
            left -= size
        return count - left

    def _through_memory(self, offset: int, size: int) -> int:
        view = memoryview(bytearray(size))
        call = self.source._call("read", buffer=view, offset=offset)
        run_call(call, self.blocking)
        if call.code:
            self.write_all(view[: call.code])
        return call.code


class FileToFile(Transfer):
    """A transfer to the position of another file."""

    __slots__ = ("supported", "target")

    def __init__(self, source: File, target: File, blocking: bool) -> None:
        super().__init__(source, blocking)
        self.target, self.supported = target, True

    def try_kernel_copy(self, offset: int, size: int) -> int:
        """Have the system move a piece; it refuses some files, for instance those that were opened to append."""
        if not self.supported:
            return 0
        source, target = self.source._descriptor, self.target._descriptor
        call = FsCall(
            "sendfile", users=(target, source), fd=target.number(), source=source.number(), offset=offset, size=size
        )
        try:
            run_call(call, self.blocking)
        except UVError as error:
            if error.code != lib.UV_EBADF or call.code != lib.UV_EBADF:
                raise
            self.supported = False
        return max(call.code, 0)

    def write_all(self, data: memoryview) -> None:
        """Write all of `data`, by several calls if necessary."""
        while data:
            call = self.target._call("write", buffer=data)
            run_call(call, self.blocking)
            data = data[call.code :]
