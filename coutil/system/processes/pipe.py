"""Our end of a pipe to a child."""

from __future__ import annotations

import os
from io import FileIO
from socket import SHUT_RD, SHUT_WR, socket, socketpair
from typing import Self

from ..._libuv import lib
from ..network.bytestream import ByteStream
from ..network.handled import Opener
from ..network.share import Sharing

__all__ = ["Pipe", "SharePipe"]


class Pipe(ByteStream):
    """A stream to or from a child, or both; it receives, sends and shuts down as sockets do."""

    __slots__ = ("_title",)
    _shares = False

    def __init__(self, title: str, open_: Opener | None = None) -> None:
        """Open our end; unless it is by `open_`, it is connected when the child is started. Raises `UVError`."""
        self._title = title
        shares = self._shares
        super().__init__(
            f"pipe {title}",
            open_ or (lambda loop, slot, generation: lib.co_child_pipe(loop, slot, generation, shares)),
            "uv_pipe_init",
        )

    @classmethod
    def _with_end(cls, title: str, reads: bool, writes: bool) -> tuple[Self, socket | FileIO]:
        """Return our end, and the child's as a descriptor, for a child that gets it more than once.

        reads, writes: what the child does with it. Raises OSError.
        """
        ours, theirs, kind = _ends(reads, writes, cls._shares)
        try:
            with ours:
                return cls(title, lambda *where: lib.co_adopt(*where, os.dup(ours.fileno()), kind, cls._shares)), theirs
        except BaseException:
            theirs.close()
            raise

    def __repr__(self) -> str:
        """Which stream of the child it is, and who waits."""
        waiter = self._handle.waiter
        state = " closed" if self._handle.closed else f" awaited by {waiter.name}" if waiter is not None else ""
        return f"<{type(self).__name__} {self._title}{state}>"


class SharePipe(Sharing, Pipe):
    """A pipe through which sockets travel to the child, or from it, together with data.

    A child that uses coutil has the other end as `system.stdin`, `stdout` or `stderr`, a `ShareStreamSocket`.
    """

    __slots__ = ()
    _shares = True


def _ends(reads: bool, writes: bool, shares: bool) -> tuple[socket | FileIO, socket | FileIO, int]:
    """Return our end, the child's, and of which kind they are: as `pair` in C, which makes most of them."""
    if writes and not reads and not shares:
        ours, theirs = os.pipe()
        return FileIO(ours, "r"), FileIO(theirs, "w"), lib.CO_FD_FIFO
    one, other = socketpair()
    if not reads:
        one.shutdown(SHUT_WR)
    if not writes:
        one.shutdown(SHUT_RD)
    return one, other, lib.CO_FD_LOCAL
