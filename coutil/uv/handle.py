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

from .._coroutines.books import Unique
from .._coroutines.coroutine import running
from .._coroutines.outcomes import waits
from .._coroutines.switching import park
from .._kernel import handle as kernel
from .._kernel.entries import Entry, Wake
from .._kernel.hub import Hub
from .._kernel.requests import call
from .._libuv import lib
from .._libuv.arguments import whole
from .._libuv.ends import shown
from ..errors import Forked
from . import loop as loops
from .flat import flat
from .loop import Call, Loop, current_loop

__all__ = ["Again", "Handle", "Own"]

_CLOSED: int = lib.CO_CLOSED
NOWHERE: int = kernel.NOWHERE
NOTHING: Any = (None, lambda: None, ())  # the call for an event without a handler
Open = Callable[[Any, int, int], int]  # called with the loop, a slot and a generation; returns libuv's code


class Own(kernel.Handle):
    """The kernel's half of a handle. The slot table refers to it; it keeps the public half until the close callback."""

    __slots__ = ("again", "closers", "public")

    def __init__(self, title: str, hub: Hub) -> None:
        """See the kernel's."""
        self.again = False  # an entry that `later` made is in the ready queue
        self.closers: list[Wake] = []
        self.public: Handle | None = None  # until it is open
        super().__init__(title, hub)

    def call(self, generation: int, result: int, where: int) -> Any:
        """Take a record that is for a handler; return the call. None: the hub has to deliver the record."""
        if self.waiter is not None or generation != self.generation or result == _CLOSED:
            return None
        public = self.public
        return NOTHING if public is None or self.slot == NOWHERE else public._event(result, where) or NOTHING

    def unawaited(self, result: int, where: int) -> bool | None:
        """Take a record, in the hub: start the handler, or release everything if this is the close callback."""
        public = self.public
        if result != _CLOSED:
            if public is not None and not self.closed and (call := public._event(result, where)) is not None:
                return public.loop._begin_for_record(*call)
            return None
        super().unawaited(result, where)
        self.hub.ready += self.closers
        self.closers = []
        return None

    def repeat(self, times: int) -> None:
        """Have `_event` called `times` more often for the current record, with (0, 0), before the next record.

        The current record is still the first of the queue; the hub removes it when its own call is known.
        """
        self.hub.records[0] = (self.slot, self.generation, 0, 0)
        self.empty_records(times)

    def empty_records(self, times: int) -> None:
        """Have `times` records delivered before all others, for items that are kept."""
        self.hub.records.extendleft(repeat((self.slot, self.generation, 0, 0), times))

    def later(self, times: int) -> None:
        """Have `_event` called `times` times with (0, 0) in the next turn, for items that are kept."""
        if not self.again:
            self.again = True
            self.hub.ready.append(Again(self, times))

    def lost(self) -> None:
        """The handle, or the whole loop, is gone."""
        super().lost()
        self.public = None

    def renew(self) -> int:
        """Return a new generation, for a call of C that starts or stops the handle; see `_restart`."""
        hub = self.hub
        hub.generation = self.generation = (hub.generation + 1) & 0xFFFFFFFF
        return self.generation


class Again(Entry):
    """An entry of the ready queue that delivers empty records, (0, 0), to a handle."""

    __slots__ = ("generation", "own", "times")

    def __init__(self, own: Own, times: int = 1) -> None:
        self.own, self.generation, self.times = own, own.generation, times

    def fire(self) -> None:
        """Deliver them, unless the handle was stopped or closed since."""
        own = self.own
        own.again = False
        if self.generation == own.generation and not own.closed:
            own.empty_records(self.times)
            own.hub._drain()


class Handle(Unique):
    """Base of all handles. A program may assign further attributes to a handle."""

    _kind: ClassVar[str] = "unknown"  # libuv's name of its type
    loop: Loop
    _own: Own
    _kernels: ClassVar[type[Own]] = Own  # the class of `_own`

    def __init__(self, loop: Loop | None, open_: Open, syscall: str) -> None:
        """Make a handle of `loop`; None: of the loop that the caller runs in."""
        if loop is not None and not isinstance(loop, Loop):
            raise TypeError(f"loop must be a Loop or None, not {loop!r}")
        self.loop = loop or current_loop()
        self.loop._check()
        self._own = self._kernels(self._kind, self.loop._hub)
        self._own.open(open_, syscall)
        self._own.public = self

    def __repr__(self) -> str:
        """Type, state, and of a socket the addresses of both ends (if closed: the last known ones)."""
        own = getattr(self, "_own", None)
        if own is None:
            return f"<{type(self).__name__} not open>"
        state = "closed" if self.closed else "closing" if own.closed else "active" if self.active else "inactive"
        return " ".join(filter(None, (f"<{type(self).__name__} {state}", shown(own.addresses())))) + ">"

    def __enter__(self) -> Self:
        """Return the handle. The end of the block closes it, without a wait."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. Does nothing in the child of a fork: the handle is the parent's."""
        with suppress(Forked):
            self.close_soon()

    # -- events -------------------------------------------------------------------------------------------------------

    def _event(self, result: int, where: int) -> Call | None:
        """Return the call of the handler for a record; None without a handler. Each class defines its own."""
        raise NotImplementedError

    def _call(self, name: str, *arguments: Any) -> Call | None:
        """Return the call of the handler with this name."""
        handler = self.__dict__.get(name)
        if handler is not None:
            return self, handler, (self, *arguments)
        handler = getattr(self, name, None)
        return None if handler is None else (self, handler, arguments)

    def _c(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function with this handle. Raises the error for its code."""
        return call(self._own, function, syscall, *arguments)

    def _restart(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call a C function with this handle and a new generation: earlier records are stale. Raises as `_c`."""
        own = self._own
        hub = own.hub
        hub.generation = generation = (hub.generation + 1) & 0xFFFFFFFF
        code: int = function(own.pointer, own.slot, generation, *arguments)
        if code >= 0:
            own.generation = generation
            return code
        if code != lib.CO_FOREIGN and not own.closed:  # C has stored the new generation nevertheless
            own.generation = generation
        raise own.failed(code, syscall)

    def _wait(self, amount: int, start: Callable[[Any, int], int], syscall: str) -> None:
        """Wait for the next record, in place of the handler. Suspends.

        See the kernel's `Handle.wait`, which raises.
        """
        try:
            self._own.wait(amount, start, syscall)
        except BaseException:
            self._left()
            raise

    def _left(self) -> None:
        """Undo the start that was made for a coroutine which no longer waits. Classes override it."""

    # -- common to all handles ----------------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        """Libuv's name of the handle's type: "timer", "tcp", … Source: uv_handle_get_type, uv_handle_type_name."""
        return self._kind

    @property
    def active(self) -> bool:
        """Whether it is started; libuv defines for each type what that means. Source: uv_is_active."""
        return not self._own.closed and bool(self._c(lib.co_handle_flags, "uv_is_active") & 1)

    @property
    def closing(self) -> bool:
        """Whether it is closing or closed. Source: uv_is_closing."""
        return self._own.closed

    @property
    def closed(self) -> bool:
        """Whether libuv has called its close callback."""
        return self._own.public is None

    @waits
    def close(self) -> Any:
        """Close the handle and wait for libuv's close callback; return True. Suspends. A second call also waits.

        Waiters of the handle are resumed with `Closed`; its requests end with ECANCELED before that.
        Raises `ForeignThread`, `Forked`, `NotYieldable`. Source: uv_close.
        """
        own = self._own
        if self.closed:
            return True
        me = own.hub.guest(running())
        self.close_soon()
        what = f"close of {own.title}"
        own.closers.append(Wake(me, what))
        park(me, what)
        return True

    def close_soon(self) -> None:
        """Close the handle without waiting. A second call is no error. Raises `ForeignThread`, `Forked`.

        Source: uv_close.
        """
        self._own.close()

    def ref(self) -> None:
        """Have the handle keep its loop alive while it is active, which is the default. Source: uv_ref."""
        self._c(lib.co_handle_ref, "uv_ref", True)

    def unref(self) -> None:
        """Have the handle no longer keep its loop alive. Source: uv_unref."""
        self._c(lib.co_handle_ref, "uv_unref", False)

    @property
    def has_ref(self) -> bool:
        """Whether it keeps its loop alive while it is active. Source: uv_has_ref."""
        return not self._own.closed and bool(self._c(lib.co_handle_flags, "uv_has_ref") & 2)

    def send_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's send buffer in bytes, after setting it unless `value` is 0.

        Linux doubles the value. Raises TypeError, ValueError, `Closed`, `UVError`: EBADF, ENOTSUP, EINVAL.
        Source: uv_send_buffer_size.
        """
        return self._c(lib.co_buffer_size, "uv_send_buffer_size", 0, whole("value", value, 0, 2**31 - 1))

    def recv_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's receive buffer; see `send_buffer_size`. Source: uv_recv_buffer_size."""
        return self._c(lib.co_buffer_size, "uv_recv_buffer_size", 1, whole("value", value, 0, 2**31 - 1))

    def fileno(self) -> int:
        """Return the descriptor. The handle remains its owner.

        Raises `Closed`, `UVError`: EBADF (it has none yet), EINVAL (its type has none). Source: uv_fileno.
        """
        return self._c(lib.co_fileno, "uv_fileno")


close = flat(Handle.close)
close_soon = flat(Handle.close_soon)
ref = flat(Handle.ref)
unref = flat(Handle.unref)
has_ref = flat(Handle.has_ref)
is_active = flat(Handle.active)
is_closing = flat(Handle.closing)
handle_get_type = flat(Handle.type)
send_buffer_size = flat(Handle.send_buffer_size)
recv_buffer_size = flat(Handle.recv_buffer_size)
fileno = flat(Handle.fileno)

vars(loops)["Handle"] = Handle  # for the annotations of `loop`, which cannot import this module
