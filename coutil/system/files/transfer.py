"""Moving the contents of a file elsewhere: by the system where it can, else through our memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..._libuv import lib
from ..._libuv.files import Call
from ...errors import UVError
from .request import run

if TYPE_CHECKING:
    from .file import File

__all__ = ["ToFile", "Transfer"]


class Transfer:
    """Moves pieces of `source`. Subclasses know where to."""

    __slots__ = ("blocking", "source")
    CHUNK = 1 << 20  # bytes that go through our memory at once

    def __init__(self, source: File, blocking: bool) -> None:
        self.source, self.blocking = source, blocking

    def by_system(self, offset: int, size: int) -> int:
        """Return how many bytes the system has moved, 0 if it cannot (now)."""
        raise NotImplementedError

    def deliver(self, data: memoryview) -> None:
        """Write all of `data`."""
        raise NotImplementedError

    def move(self, offset: int, count: int) -> int:
        """Move up to `count` bytes; return how many there were."""
        left = count
        while left:
            size = self.by_system(offset, left)
            if not size:  # not so, or nothing is left: some files do not tell the system
                size = self._through_memory(offset, min(left, self.CHUNK))
            if not size:
                break
            offset += size
            left -= size
        return count - left

    def _through_memory(self, offset: int, size: int) -> int:
        view = memoryview(bytearray(size))
        call = self.source._call("read", buffer=view, offset=offset)
        run(call, self.blocking)
        if call.code:
            self.deliver(view[: call.code])
        return call.code


class ToFile(Transfer):
    """To the position of another file."""

    __slots__ = ("able", "target")

    def __init__(self, source: File, target: File, blocking: bool) -> None:
        super().__init__(source, blocking)
        self.target, self.able = target, True

    def by_system(self, offset: int, size: int) -> int:
        """The system refuses files that are opened to append, for instance."""
        if not self.able:
            return 0
        source, target = self.source._descriptor, self.target._descriptor
        call = Call(
            "sendfile", users=(target, source), fd=target.number(), source=source.number(), offset=offset, size=size
        )
        try:
            run(call, self.blocking)
        except UVError as error:
            if error.code != lib.UV_EBADF or call.code != lib.UV_EBADF:
                raise
            self.able = False
        return max(call.code, 0)

    def deliver(self, data: memoryview) -> None:
        """Several writes, if need be."""
        while data:
            call = self.target._call("write", buffer=data)
            run(call, self.blocking)
            data = data[call.code :]
