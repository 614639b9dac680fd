"""Our end of a pipe to a child."""

from __future__ import annotations

from ..._libuv import lib
from ..network.bytestream import ByteStream

__all__ = ["Pipe"]


class Pipe(ByteStream):
    """A stream to or from a child, or both; it receives, sends and shuts down as sockets do."""

    __slots__ = ("_title",)

    def __init__(self, title: str) -> None:
        """Open our end; it is connected when the child is started. Raises `UVError`."""
        self._title = title
        super().__init__(f"pipe {title}", lambda loop, slot, generation: lib.co_child_pipe(loop, slot, generation, 0), "uv_pipe_init")

    def __repr__(self) -> str:
        """Which stream of the child it is, and who waits."""
        waiter = self._handle.waiter
        state = " closed" if self._handle.closed else f" awaited by {waiter.name}" if waiter is not None else ""
        return f"<Pipe {self._title}{state}>"
