"""Handles: the base class of all of them.

Rule 1: a handle and its loop refer to each other from its creation until libuv's close callback, whether or not the
program keeps a reference. Afterwards every call raises `Closed`.
Rule 2: a handler is an attribute of the handle, or a method of its class. It is looked up when its event is dispatched
and gets the handle as its first argument. Without a handler the event is dropped.
Rule 3: a handle that is stopped or started again gets a new generation: records of the old one call no handler.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import repeat
from typing import Any, ClassVar, Self

from .._coroutines import NonCopyable, running, waits
from .._kernel import INVALID_SLOT, Callback, Completion, Hub, KernelHandle, handle_call
from .._libuv import lib
from .._libuv.arguments import check_int
from .._libuv.endpoints import format_endpoints
from ..errors import Forked
from . import loop as loops
from .loop import HandlerCall, Loop, current_loop
from .module_function import module_function

__all__ = ["Handle", "HandleCore"]

_CLOSED: int = lib.CO_CLOSED
NO_CALL: Any = (None, lambda: None, ())  # the call for an event without a handler
OpenFunction = Callable[[Any, int, int], int]  # called with the loop, a slot and a generation; returns libuv's code


class HandleCore(KernelHandle):
    """The kernel's half of a handle. The slot table refers to it; it keeps the public half until the close callback."""

    __slots__ = ("close_completion", "owner", "redelivery_pending")

    def __init__(self, title: str, hub: Hub) -> None:
        """See the kernel's."""
        self.redelivery_pending = False  # an entry that `redeliver_later` made is in the ready queue
        self.owner: Handle | None = None  # until it is open
        super().__init__(title, hub)
        self.close_completion = Completion(self.hub)

    def claim_callback(self, generation: int, result: int, offset: int) -> Any:
        """Take a record that is for a handler; return the call. None: the hub has to deliver the record."""
        if self.waiter is not None or generation != self.generation or result == _CLOSED:
            return None
        public = self.owner
        return NO_CALL if public is None or self.slot == INVALID_SLOT else public._event(result, offset) or NO_CALL

    def complete_unclaimed(self, result: int, offset: int) -> bool | None:
        """Take a record, in the hub: start the handler, or release everything if this is the close callback."""
        public = self.owner
        if result != _CLOSED:
            if public is not None and not self.closed and (call := public._event(result, offset)) is not None:
                return public.loop._start_for_completion(*call)
            return None
        self.close_completion.wake_all()
        return super().complete_unclaimed(result, offset)

    def redeliver_now(self, times: int) -> None:
        """Have `_event` called `times` more often for the current record, with (0, 0), before the next record.

        The current record is still the first of the queue; the hub removes it when its own call is known.
        """
        self.hub.completions[0] = (self.slot, self.generation, 0, 0)
        self.hub.completions.extendleft(repeat((self.slot, self.generation, 0, 0), times))

    def redeliver_later(self, times: int) -> None:
        """Have `_event` called `times` times with (0, 0) in the next turn, for items that are kept."""
        if not self.redelivery_pending:
            self.redelivery_pending = True
            self.hub.enqueue(Callback(self.redeliver, self.generation, times))

    def loop_closed(self) -> None:
        """The handle, or the whole loop, is gone."""
        super().loop_closed()
        self.owner = None

    def redeliver(self, generation: int, times: int) -> None:
        """Deliver `times` empty records, (0, 0), from the hub, unless the handle was stopped or closed since."""
        self.redelivery_pending = False
        if generation == self.generation and not self.closed:
            self.hub.complete_now(self.slot, generation, 0, times)

    def next_generation(self) -> int:
        """Return a new generation, for a call of C that starts or stops the handle; see `_start_or_stop`."""
        hub = self.hub
        hub.generation = self.generation = (hub.generation + 1) & 0xFFFFFFFF
        return self.generation


class Handle(NonCopyable):
    """Base of all handles. A program may assign further attributes to a handle."""

    _kind: ClassVar[str] = "unknown"  # libuv's name of its type
    loop: Loop
    _core: HandleCore
    _core_class: ClassVar[type[HandleCore]] = HandleCore  # the class of `_core`

    def __init__(self, loop: Loop | None, open_: OpenFunction, syscall: str) -> None:
        """Make a handle of `loop`; None: of the loop that the caller runs in."""
        if loop is not None and not isinstance(loop, Loop):
            raise TypeError(f"loop must be a Loop or None, not {loop!r}")
        self.loop = loop or current_loop()
        self.loop._check()
        self._core = self._core_class(self._kind, self.loop._hub)
        self._core.open(open_, syscall)
        self._core.owner = self

    def __repr__(self) -> str:
        """Type, state, and of a socket the addresses of both ends (if closed: the last known ones)."""
        core = getattr(self, "_core", None)
        if core is None:
            return f"<{type(self).__name__} not open>"
        state = "closed" if self.closed else "closing" if core.closed else "active" if self.active else "inactive"
        return " ".join(filter(None, (f"<{type(self).__name__} {state}", format_endpoints(core.addresses())))) + ">"

    def __enter__(self) -> Self:
        """Return the handle. The end of the block closes it, without a wait."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. Does nothing in the child of a fork: the handle is the parent's."""
        with suppress(Forked):
            self.close_soon()

    # -- events -------------------------------------------------------------------------------------------------------

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        """Return the call of the handler for a record; None without a handler. Each class defines its own."""
        raise NotImplementedError

    def _handler_call(self, name: str, *arguments: Any) -> HandlerCall | None:
        """Return the call of the handler with this name."""
        handler = self.__dict__.get(name)
        if handler is not None:
            return self, handler, (self, *arguments)
        handler = getattr(self, name, None)
        return None if handler is None else (self, handler, arguments)

    def _call(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function with this handle. Raises the error for its code."""
        return handle_call(self._core, function, syscall, *arguments)

    def _start_or_stop(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function with this handle and a new generation: earlier records are stale. Raises as `_call`."""
        core = self._core
        hub = core.hub
        hub.generation = generation = (hub.generation + 1) & 0xFFFFFFFF
        code: int = function(core.pointer, core.slot, generation, *arguments)
        if code >= 0:
            core.generation = generation
            return code
        if code != lib.CO_FOREIGN and not core.closed:  # C has stored the new generation nevertheless
            core.generation = generation
        raise core.call_error(code, syscall)

    def _wait(self, amount: int, start: Callable[[Any, int], int], syscall: str) -> None:
        """Wait for the next record, in place of the handler. Suspends.

        See the kernel's `Handle.wait`, which raises.
        """
        try:
            self._core.wait(amount, start, syscall)
        except BaseException:
            self._undo_wait()
            raise

    def _undo_wait(self) -> None:
        """Undo the start that was made for a coroutine which no longer waits. Classes override it."""

    # -- common to all handles ----------------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        """Libuv's name of the handle's type: "timer", "tcp", … Source: uv_handle_get_type, uv_handle_type_name."""
        return self._kind

    @property
    def active(self) -> bool:
        """Whether it is started; libuv defines for each type what that means. Source: uv_is_active."""
        return not self._core.closed and bool(self._call(lib.co_handle_flags, "uv_is_active") & 1)

    @property
    def closing(self) -> bool:
        """Whether it is closing or closed. Source: uv_is_closing."""
        return self._core.closed

    @property
    def closed(self) -> bool:
        """Whether libuv has called its close callback."""
        return self._core.owner is None

    @waits
    def close(self) -> bool:
        """Close the handle and wait for libuv's close callback; return True. Suspends. A second call also waits.

        Waiters of the handle are resumed with `Closed`; its requests end with ECANCELED before that.
        Raises `ForeignThread`, `Forked`, `NotYieldable`. Source: uv_close.
        """
        core = self._core
        if self.closed:
            return True
        core.hub.adopt_foreign(running())  # raises what forbids the caller to wait, before the handle is closed
        self.close_soon()
        core.close_completion.wait(f"close of {core.title}")
        return True

    def close_soon(self) -> None:
        """Close the handle without waiting. A second call is no error. Raises `ForeignThread`, `Forked`.

        Source: uv_close.
        """
        self._core.close()

    def ref(self) -> None:
        """Have the handle keep its loop alive while it is active, which is the default. Source: uv_ref."""
        self._call(lib.co_handle_ref, "uv_ref", True)

    def unref(self) -> None:
        """Have the handle no longer keep its loop alive. Source: uv_unref."""
        self._call(lib.co_handle_ref, "uv_unref", False)

    @property
    def has_ref(self) -> bool:
        """Whether it keeps its loop alive while it is active. Source: uv_has_ref."""
        return not self._core.closed and bool(self._call(lib.co_handle_flags, "uv_has_ref") & 2)

    def send_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's send buffer in bytes, after setting it unless `value` is 0.

        Linux doubles the value. Raises TypeError, ValueError, `Closed`, `UVError`: EBADF, ENOTSUP, EINVAL.
        Source: uv_send_buffer_size.
        """
        return self._call(lib.co_buffer_size, "uv_send_buffer_size", 0, check_int("value", value, 0, 2**31 - 1))

    def recv_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's receive buffer; see `send_buffer_size`. Source: uv_recv_buffer_size."""
        return self._call(lib.co_buffer_size, "uv_recv_buffer_size", 1, check_int("value", value, 0, 2**31 - 1))

    def fileno(self) -> int:
        """Return the descriptor. The handle remains its owner.

        Raises `Closed`, `UVError`: EBADF (it has none yet), EINVAL (its type has none). Source: uv_fileno.
        """
        return self._call(lib.co_fileno, "uv_fileno")


close = module_function(Handle.close)
close_soon = module_function(Handle.close_soon)
ref = module_function(Handle.ref)
unref = module_function(Handle.unref)
has_ref = module_function(Handle.has_ref)
is_active = module_function(Handle.active)
is_closing = module_function(Handle.closing)
handle_get_type = module_function(Handle.type)
send_buffer_size = module_function(Handle.send_buffer_size)
recv_buffer_size = module_function(Handle.recv_buffer_size)
fileno = module_function(Handle.fileno)

vars(loops)["Handle"] = Handle  # for the annotations of `loop`, which cannot import this module
