"""Requests that nobody waited for when they began."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .._kernel.coroutine import running
from .._kernel.entries import Slotted, Wake
from .._kernel.hub import Hub
from .._kernel.switching import SIGNED, park
from .._libuv import error, lib
from .flat import flat

__all__ = ["Request", "cancel"]

_POOLED = ("fs", "getaddrinfo", "getnameinfo", "random", "work")  # what libuv can take back
Start = Callable[[int, int], int]  # called with slot and generation; returns libuv's code


class Request(Slotted):
    """Something that libuv works on. `wait` tells how it ended; whoever does not care may forget the request."""

    __slots__ = ("_code", "_generation", "_hub", "_pins", "_slot", "_syscall", "_type", "_waiters")

    def __init__(self, hub: Hub, type_: str, syscall: str, pins: Any, start: Start | None, failed: Any) -> None:
        """Start a request; None: it has succeeded already. Raises failed(code, syscall) if it does not start."""
        self._hub, self._type, self._syscall, self._pins = hub, type_, syscall, pins
        self._waiters: list[Wake] = []
        self._code = 0 if start is None else None
        self._slot = self._generation = 0
        if start is None:
            return
        self._slot = hub.take(self)
        self._generation = hub.generation
        code = start(self._slot, self._generation)
        if code < 0:
            hub.drop(self._slot)
            raise failed(code, syscall)

    def __repr__(self) -> str:
        """Type and state."""
        code = self._code
        state = "in progress" if code is None else "done" if code >= 0 else f"failed: {error(code).name}"  # type: ignore[attr-defined]
        return f"<Request {self._type} {state}>"

    @property
    def type(self) -> str:
        """Libuv's name of its type: "write", … Source: uv_req_get_type, uv_req_type_name."""
        return self._type

    @property
    def done(self) -> bool:
        """Whether it has ended, well or not."""
        return self._code is not None

    def wait(self) -> Any:
        """Wait until it has ended; return True. Suspends. Any number may wait, and again.

        Raises `UVError` if it failed (ECANCELED: its handle was closed), `ForeignThread`, `NotYieldable`.
        """
        if self._code is None:
            me, what = self._hub.guest(running()), f"the end of {self!r}"
            self._waiters.append(Wake(me, what))
            woken = park(me, what)
            if woken is not SIGNED:
                return woken
        code: Any = self._code
        if code < 0:
            raise error(code, self._syscall)
        return True

    def cancel(self) -> None:
        """Take back a request that the thread pool has not begun; it ends with ECANCELED.

        Raises `UVError`: EBUSY (it has begun, or ended), EINVAL (its type cannot be taken back). Source: uv_cancel.
        """
        if self._type not in _POOLED:
            raise error(lib.UV_EINVAL, "uv_cancel")
        code = lib.UV_EBUSY if self.done else lib.co_cancel(self._hub.loop.pointer, self._slot, self._generation)
        if code < 0:
            raise error(code, "uv_cancel")

    def deliver(self, generation: int, result: int, where: int) -> None:
        """Take its record."""
        if generation == self._generation:
            self._hub.drop(self._slot)
            self._end(result)

    def lost(self) -> None:
        """The loop is gone."""
        self._generation = -1  # pins stay until the hub forgets us: closing the loop still calls back
        self._code = lib.UV_ECANCELED

    def _end(self, code: int) -> None:
        self._code, self._pins = code, None
        waiters, self._waiters = self._waiters, []
        self._hub.ready.extend(waiters)


cancel = flat(Request.cancel)
req_get_type = flat(Request.type)
