"""Async handles: the way into a loop from other threads."""

from __future__ import annotations

from typing import Any

from .._interpreter import RLock
from .._libuv import check, lib
from .._libuv.handles import async_new
from ..errors import Closed
from .flat import flat
from .handle import Handle
from .loop import Call, Loop

__all__ = ["Async", "new_async"]


class Async(Handle):
    """Calls its handler some time after `send`, which any thread may call. Handler: `onasync(async)`.

    It is active from its creation on: as long as it is open and referenced, its loop is alive.
    """

    _kind = "async"
    onasync: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make an async handle of `loop`; see `Timer`. Raises `UVError` EMFILE, too. Source: uv_async_init."""
        self._lock = RLock()  # held while somebody uses the pointer, or closes the handle
        super().__init__(loop, self._open, "uv_async_init")

    def _open(self, pointer: Any, slot: int, generation: int) -> int:
        code, self._pointer = async_new(pointer, slot, generation)
        return code

    def _event(self, result: int, where: int) -> Call | None:
        return self._call("onasync")

    def send(self) -> None:
        """Have the handler called; several sends may become one call. Safe in any thread.

        Raises `Closed`, `Forked`, `UVError`. Source: uv_async_send.
        """
        own = self._own
        with self._lock:
            if own.closed or not own.hub.loop.pointer:
                raise Closed("the async handle is closed")
            own.hub.check()
            check(lib.co_async_send(self._pointer), "uv_async_send")

    def close_soon(self) -> None:
        """See `Handle.close_soon`."""
        with self._lock:
            super().close_soon()


def new_async(loop: Loop | None = None) -> Async:
    """Return a new `Async`. Source: uv_async_init."""
    return Async(loop)


async_send = flat(Async.send)
