"""The parent's end of a pipe to a child."""

from __future__ import annotations

from ..._libuv import lib
from ..network.bytestream import ByteStream
from ..network.fd_passing import FdPassing

__all__ = ["Pipe", "SharePipe"]


class Pipe(ByteStream):
    """A stream to a child, from it, or both; it receives, sends and shuts down as sockets do.

    A stream in one direction is a true pipe, otherwise a pair of sockets; see `start`. If the input of a child is a
    true pipe, `shutdown` closes this end when everything has been sent; then `fileno` raises `UVError`: EBADF.
    """

    __slots__ = ("_title",)
    _shares = False

    def __init__(self, title: str) -> None:
        """Open this end; starting the child connects it. Raises `UVError`."""
        self._title = title
        shares = self._shares
        super().__init__(f"pipe {title}", lambda *place: lib.co_child_pipe(*place, shares), "uv_pipe_init")

    def __repr__(self) -> str:
        """The stream of the child, and the waiting coroutine."""
        waiter = self._handle.waiter
        state = " closed" if self._handle.closed else f" awaited by {waiter.name}" if waiter is not None else ""
        return f"<{type(self).__name__} {self._title}{state}>"


class SharePipe(FdPassing, Pipe):
    """A pipe that passes sockets to the child, or from it, together with data.

    A child that uses coutil has the other end as `system.stdin`, `stdout` or `stderr`, a `ShareStreamSocket`.
    """

    __slots__ = ()
    _shares = True
