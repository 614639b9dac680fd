"""Handles: what all of them have in common.

Rule 1: a handle and its loop know each other from its creation until libuv's close callback, whoever else has forgotten
it; then every call raises `Closed`.
Rule 2: a handler is an attribute of the handle, or a method of its class, and is looked up when its event comes. The
handle is its first argument either way. Without a handler the event is dropped.
Rule 3: a handle that is stopped, or started anew, gets a new generation: no handler is called for what was under way.
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
    """The kernel's half of a handle, which the loop knows; it keeps the other half until the close callback."""

    __slots__ = ("again", "closers", "public")

    def __init__(self, title: str, hub: Hub) -> None:
        """See the kernel's."""
        self.again = False  # whether `later` was called, and it is not later yet
        self.closers: list[Wake] = []
        self.public: Handle | None = None  # until it is open
        super().__init__(title, hub)

    def call(self, generation: int, result: int, where: int) -> Any:
        """Take a record that is for a handler; return the call. None: the hub has to see to it."""
        if self.waiter is not None or generation != self.generation or result == _CLOSED:
            return None
        public = self.public
        return NOTHING if public is None or self.slot == NOWHERE else public._event(result, where) or NOTHING

    def unawaited(self, result: int, where: int) -> bool | None:
        """Take a record, in the hub: have the handler called, or let everything go if the handle is closed now."""
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
        """Have `_event` called `times` more for the record at hand, with (0, 0), before that for the next record.

        That record is the first still, and is taken out when its own call is known.
        """
        self.hub.records[0] = (self.slot, self.generation, 0, 0)
        self.empty_records(times)

    def empty_records(self, times: int) -> None:
        """Have as many records delivered before the others, for what is kept."""
        self.hub.records.extendleft(repeat((self.slot, self.generation, 0, 0), times))

    def later(self, times: int) -> None:
        """Have `_event` called with (0, 0) in the next turn, so many times, for what is kept."""
        if not self.again:
            self.again = True
            self.hub.ready.append(Again(self, times))

    def lost(self) -> None:
        """The handle, or the whole loop, is gone."""
        super().lost()
        self.public = None

    def renew(self) -> int:
        """Return a new generation, for a call of C that starts or stops something; see `_restart`."""
        hub = self.hub
        hub.generation = self.generation = (hub.generation + 1) & 0xFFFFFFFF
        return self.generation


class Again(Entry):
    """In the ready queue: give a handle an empty record, (0, 0), so many times."""

    __slots__ = ("generation", "own", "times")

    def __init__(self, own: Own, times: int = 1) -> None:
        self.own, self.generation, self.times = own, own.generation, times

    def fire(self) -> None:
        """Deliver them, unless the handle was stopped or closed meanwhile."""
        own = self.own
        own.again = False
        if self.generation == own.generation and not own.closed:
            own.empty_records(self.times)
            own.hub._drain()


class Handle(Unique):
    """Base of all handles. Attributes of your own may be assigned to each."""

    _kind: ClassVar[str] = "unknown"  # libuv's name of its type
    loop: Loop
    _own: Own
    _kernels: ClassVar[type[Own]] = Own  # its class

    def __init__(self, loop: Loop | None, open_: Open, syscall: str) -> None:
        """Make the handle of `loop`; of the one that the caller runs in if it is None."""
        if loop is not None and not isinstance(loop, Loop):
            raise TypeError(f"loop must be a Loop or None, not {loop!r}")
        self.loop = loop or current_loop()
        self.loop._check()
        self._own = self._kernels(self._kind, self.loop._hub)
        self._own.open(open_, syscall)
        self._own.public = self

    def __repr__(self) -> str:
        """Type, state, and of a socket the addresses of both ends, the last known ones if it is closed."""
        own = getattr(self, "_own", None)
        if own is None:
            return f"<{type(self).__name__} not open>"
        state = "closed" if self.closed else "closing" if own.closed else "active" if self.active else "inactive"
        return " ".join(filter(None, (f"<{type(self).__name__} {state}", shown(own.addresses())))) + ">"

    def __enter__(self) -> Self:
        """Return the handle; it is closed at the end of the block, without waiting for that."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. In the child of a fork nothing is done: it is the parent's."""
        with suppress(Forked):
            self.close_soon()

    # -- events -------------------------------------------------------------------------------------------------------

    def _event(self, result: int, where: int) -> Call | None:
        """Return the handler to call for a record, and what with; None if there is none. Each class says which."""
        raise NotImplementedError

    def _call(self, name: str, *arguments: Any) -> Call | None:
        """Return the call of the handler with this name."""
        handler = self.__dict__.get(name)
        if handler is not None:
            return self, handler, (self, *arguments)
        handler = getattr(self, name, None)
        return None if handler is None else (self, handler, arguments)

    def _c(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call C on our handle. Raises what its code means."""
        return call(self._own, function, syscall, *arguments)

    def _restart(self, function: Any, syscall: str, *arguments: Any) -> int:
        """Call C with our loop, slot and a new generation: what was under way is stale. Raises what its code means."""
        own = self._own
        hub = own.hub
        hub.generation = generation = (hub.generation + 1) & 0xFFFFFFFF
        code: int = function(own.pointer, own.slot, generation, *arguments)
        if code >= 0:
            own.generation = generation
            return code
        if code != lib.CO_FOREIGN and not own.closed:  # C has taken it over even so
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
        """Undo what was started for a coroutine that waits no more, for a handle that can."""

    # -- what every handle can ----------------------------------------------------------------------------------------

    @property
    def type(self) -> str:
        """Libuv's name of the handle's type: "timer", "tcp", … Source: uv_handle_get_type, uv_handle_type_name."""
        return self._kind

    @property
    def active(self) -> bool:
        """Whether it is started: libuv says for each type what that means. Source: uv_is_active."""
        return not self._own.closed and bool(self._c(lib.co_handle_flags, "uv_is_active") & 1)

    @property
    def closing(self) -> bool:
        """Whether it is closing or closed. Source: uv_is_closing."""
        return self._own.closed

    @property
    def closed(self) -> bool:
        """Whether libuv has closed it: nothing refers to it any more."""
        return self._own.public is None

    @waits
    def close(self) -> Any:
        """Close the handle and wait until libuv has done so; return True. Suspends. Calling it again waits, too.

        Who waits for the handle is resumed with `Closed`; its requests end with ECANCELED before.
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
        """Close the handle without waiting for that. Twice is no error. Raises `ForeignThread`, `Forked`.

        Source: uv_close.
        """
        self._own.close()

    def ref(self) -> None:
        """Let the handle keep its loop alive while it is active, as from its creation on. Source: uv_ref."""
        self._c(lib.co_handle_ref, "uv_ref", True)

    def unref(self) -> None:
        """Let the handle keep its loop alive no more. Source: uv_unref."""
        self._c(lib.co_handle_ref, "uv_unref", False)

    @property
    def has_ref(self) -> bool:
        """Whether it keeps its loop alive while it is active. Source: uv_has_ref."""
        return not self._own.closed and bool(self._c(lib.co_handle_flags, "uv_has_ref") & 2)

    def send_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's send buffer in bytes, after setting it unless `value` is 0.

        Linux doubles what is set. Raises TypeError, ValueError, `Closed`, `UVError`: EBADF, ENOTSUP, EINVAL.
        Source: uv_send_buffer_size.
        """
        return self._c(lib.co_buffer_size, "uv_send_buffer_size", 0, whole("value", value, 0, 2**31 - 1))

    def recv_buffer_size(self, value: int = 0) -> int:
        """Return the size of the socket's receive buffer; see `send_buffer_size`. Source: uv_recv_buffer_size."""
        return self._c(lib.co_buffer_size, "uv_recv_buffer_size", 1, whole("value", value, 0, 2**31 - 1))

    def fileno(self) -> int:
        """Return the descriptor, which stays the handle's.

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

vars(loops)["Handle"] = Handle  # what its annotations refer to: it cannot import us
