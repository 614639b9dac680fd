"""Handles whose handlers are called in every turn of the loop: before libuv polls, and after that.

libuv's callbacks of idle and prepare handles do nothing here: a record that they wrote would be seen only after the
poll, which may never end. The hub calls the handlers before libuv polls: idle ones first, and of each type the handle
that was started last first, as libuv does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .._libuv import lib
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["Check", "Idle", "Prepare", "new_check", "new_idle", "new_prepare"]


class _Phase(Handle):
    """Base of the three types."""

    _run: ClassVar[Any]
    _handler: ClassVar[str]

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        return self._handler_call(self._handler)

    def start(self) -> None:
        """Have the handler called in every turn. A handle that is started already goes on.

        Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_prepare_start, uv_check_start, uv_idle_start.
        """
        self._core.check_usable()
        if not self.active:
            self._start_or_stop(self._run, f"uv_{self._kind}_start", True)
            self._register(True)

    def stop(self) -> None:
        """Stop calling the handler; a second call is no error. Raises `Closed`, `ForeignThread`, `Forked`.

        Source: uv_prepare_stop, uv_check_stop, uv_idle_stop.
        """
        self._start_or_stop(self._run, f"uv_{self._kind}_stop", False)
        self._register(False)

    def close_soon(self) -> None:
        """See `Handle.close_soon`."""
        super().close_soon()
        self._register(False)

    def _register(self, on: bool) -> None:
        """Add the handle to the list of those called before the poll, or remove it. Does nothing here."""


class _PrePollHandle(_Phase):
    """Base of idle and prepare handles."""

    def _register(self, on: bool) -> None:
        handles = [handle for handle in self.loop._pre_poll_handles if handle is not self]
        if on:
            place = next((i for i, handle in enumerate(handles) if handle._kind == self._kind), None)
            if place is None:
                place = 0 if self._kind == "idle" else len(handles)
            handles.insert(place, self)
        self.loop._set_pre_poll(handles)


class Idle(_PrePollHandle):
    """A handle whose handler is called in every turn, and which keeps turns from waiting. Handler: `onidle(idle)`."""

    _kind, _handler, _run = "idle", "onidle", lib.co_idle_run
    onidle: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make an idle handle of `loop`; see `Timer`. Source: uv_idle_init."""
        super().__init__(loop, lib.co_idle_new, "uv_idle_init")


class Prepare(_PrePollHandle):
    """A handle whose handler is called in every turn before the loop waits. Handler: `onprepare(prepare)`."""

    _kind, _handler, _run = "prepare", "onprepare", lib.co_prepare_run
    onprepare: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a prepare handle of `loop`; see `Timer`. Source: uv_prepare_init."""
        super().__init__(loop, lib.co_prepare_new, "uv_prepare_init")


class Check(_Phase):
    """A handle whose handler is called in every turn after the loop has waited. Handler: `oncheck(check)`."""

    _kind, _handler, _run = "check", "oncheck", lib.co_check_run
    oncheck: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a check handle of `loop`; see `Timer`. Source: uv_check_init."""
        super().__init__(loop, lib.co_check_new, "uv_check_init")


def new_idle(loop: Loop | None = None) -> Idle:
    """Return a new `Idle`. Source: uv_idle_init."""
    return Idle(loop)


def new_prepare(loop: Loop | None = None) -> Prepare:
    """Return a new `Prepare`. Source: uv_prepare_init."""
    return Prepare(loop)


def new_check(loop: Loop | None = None) -> Check:
    """Return a new `Check`. Source: uv_check_init."""
    return Check(loop)


idle_start = module_function(Idle.start)
idle_stop = module_function(Idle.stop)
prepare_start = module_function(Prepare.start)
prepare_stop = module_function(Prepare.stop)
check_start = module_function(Check.start)
check_stop = module_function(Check.stop)
