"""Our end of a pipe to a child."""

from __future__ import annotations

from ..._kernel.handle import Handle
from ..._libuv import lib
from ..network.stream import StreamSocket

__all__ = ["Pipe"]


class Pipe(StreamSocket):
    """A stream to or from a child, or both; it receives, sends and shuts down as sockets do."""

    __slots__ = ("_title",)

    def __init__(self, title: str) -> None:
        """Open our end; it is connected when the child is started. Raises `UVError`."""
        self._title = title
        self._handle = Handle(f"pipe {title}", lib.co_child_pipe, "uv_pipe_init")

    def __repr__(self) -> str:
        """Which stream of the child it is, and who waits."""
        waiter = self._handle.waiter
        state = " closed" if self._handle.closed else f" awaited by {waiter.name}" if waiter is not None else ""
        return f"<Pipe {self._title}{state}>"
