"""Async handles: wake-ups of a loop by other threads."""

from __future__ import annotations

from typing import Any

from .._interpreter import RLock
from .._libuv import check, lib
from .._libuv.handles import async_new
from ..errors import Closed
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["Async", "new_async"]


class Async(Handle):
    """A handle that calls its handler some time after `send`, which any thread may call. Handler: `onasync(async)`.

    It is active from its creation. While it is open and referenced, its loop is alive.
    """

    _kind = "async"
    onasync: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make an async handle of `loop`; see `Timer`. Also raises `UVError`: EMFILE. Source: uv_async_init."""
        self._lock = RLock()  # held while a thread uses the pointer or closes the handle
        super().__init__(loop, self._open, "uv_async_init")

    def _open(self, pointer: Any, slot: int, generation: int) -> int:
        code, self._pointer = async_new(pointer, slot, generation)
        return code

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        return self._handler_call("onasync")

    def send(self) -> None:
        """Have the handler called; several sends may become one call. Never suspends. Safe in any thread.

        Raises `Closed`, `Forked`, `UVError`. Source: uv_async_send.
        """
        core = self._core
        with self._lock:
            if core.closed or not core.hub.loop.pointer:
                raise Closed("the async handle is closed")
            core.hub.check()
            check(lib.co_async_send(self._pointer), "uv_async_send")

    def close_soon(self) -> None:
        """See `Handle.close_soon`."""
        with self._lock:
            super().close_soon()


def new_async(loop: Loop | None = None) -> Async:
    """Return a new `Async`. Source: uv_async_init."""
    return Async(loop)


async_send = module_function(Async.send)
