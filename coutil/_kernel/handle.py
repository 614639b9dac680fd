"""Objects that coroutines wait for one at a time: streams and listeners. The states are those of `states.OBJECT`.

A `KernelHandle` is the kernel's half of an object. The half that users hold refers to it, never the other way round, so
an object without references is finalized although the hub refers to its handle.

Reading stays started between waits, because the next wait usually follows at once. If data arrive while no coroutine
waits, C refuses them and stops reading; they stay in the system's buffer. `demand[slot]`, shared with C, holds the
amount that is wanted (0: nothing), or -1 once C has stopped reading.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from greenlet import getcurrent

from .._coroutines.books import foreign_thread_error, warn_in_finalizer
from .._coroutines.coroutine import Coroutine, running
from .._coroutines.outcomes import PendingException
from .._coroutines.states import O_ARMED, O_AWAIT, O_CLOSE, O_FREED, O_READY, OBJECT, State, audited
from .._coroutines.switching import park, switch_directly, throw_and_report, wake
from .._interpreter import get_ident
from .._libuv import NULL, error, lib
from .._libuv.endpoints import UNKNOWN, Endpoints, endpoint_texts, endpoints_of, format_endpoints, has_peer
from .._switch_guard import needs_check, switch_forbidden
from ..errors import BusyError, Closed, Forked, UVError
from .hub import Hub, current_hub
from .slots import NULL_HANDLER, CompletionHandler, ReadyItem

__all__ = ["INVALID_SLOT", "KernelHandle"]

INVALID_SLOT = 0xFFFFFFFF  # the slot of a closed handle: C knows no such slot
_CLOSED: int = lib.CO_CLOSED
_NO_DEMAND = memoryview(b"")


@audited(OBJECT)
class KernelHandle(CompletionHandler):
    """A libuv handle with its own identity, and the coroutine that waits for it."""

    __slots__ = [
        "_closing_slot",
        "_endpoints",
        "demand",
        "generation",
        "hub",
        "offset",
        "pending_data",
        "pointer",
        "receive_buffer",
        "result",
        "slot",
        "state",
        "thread",
        "title",
        "waiter",
    ]

    def __init__(self, title: str, hub: Hub | None = None) -> None:
        """Make a handle of `hub` (None: of the running coroutine's) that is not open yet: see `open`.

        title: names it in reports. Made before `open`, so that an object exists which can close the handle whenever a
        signal handler raises.
        """
        self.hub: Hub = hub or current_hub()
        self.title = title
        self._endpoints: Endpoints = UNKNOWN  # the addresses of both ends, as last seen
        self.pending_data: Any = None  # arrived without a waiter: data, a negative code, or 0: a connection
        self.waiter: Coroutine | None = None
        self.result = self.offset = 0  # of the record that woke the waiter
        self.thread = get_ident()
        self.pointer = self.hub.loop.pointer
        self.demand: Any = self.hub.loop.demand
        self.receive_buffer = self.hub.loop.receive_buffer
        self.slot = self._closing_slot = INVALID_SLOT
        self.generation = -1
        self.state: State = O_READY

    def open(self, open_: Callable[[Any, int, int], int], syscall: str) -> None:
        """Open the handle in libuv; called once.

        open_: called with the loop, slot and generation; returns libuv's code.
        Raises `UVError` naming `syscall`; the slot is free then.
        """
        hub = self.hub
        self.slot = self._closing_slot = hub.allocate_slot(self)
        self.generation = hub.generation
        try:
            code = open_(self.pointer, self.slot, self.generation)
            if code < 0:
                self._undo_open()
        except BaseException:
            self._undo_open()
            raise
        if code < 0:
            raise error(code, syscall)

    def _undo_open(self) -> None:
        """Undo an opening that failed, or that a signal handler has interrupted; libuv may have the handle by then.

        May be repeated.
        """
        if self.state is O_READY:
            known = lib.co_close(self.pointer, self.slot) >= 0
            self.slot = INVALID_SLOT  # from here on nothing looks for signals
            self.state = O_CLOSE  # 1
            if not known:
                self.state = O_FREED  # 3
                self.hub.handlers[self._closing_slot] = NULL_HANDLER
                self.hub.free_slots += (self._closing_slot,)

    def __str__(self) -> str:
        """Return title and addresses, for reports and errors."""
        addresses = format_endpoints(self.addresses())
        return f"{self.title} {addresses}" if addresses else self.title

    # -- addresses --------------------------------------------------------------------------------------------------

    def remember_addresses(self) -> None:
        """Store the addresses of both ends: the system forgets the peer when a connection is reset."""
        self._endpoints = endpoints_of(self.pointer, self.slot)

    def addresses(self) -> Endpoints:
        """Return the addresses of both ends, the last known ones if the system does not report them; works anywhere."""
        if not has_peer(self._endpoints) and (current := endpoints_of(self.pointer, self.slot)) is not UNKNOWN:
            self._endpoints = current
        return self._endpoints

    def _add_addresses(self, failure: UVError) -> UVError:
        """Add the addresses of both ends to an error of this handle, unless it names a file; return it."""
        if failure.filename is None:
            own, peer = endpoint_texts(self.addresses())
            failure.filename, failure.filename2 = own or peer, peer if own else None
        return failure

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, amount: int, start: Callable[[Any, int], int], syscall: str = "uv_read_start") -> None:
        """Wait for the next record, whose values are in `result` and `offset` then. Suspends: see `switching.park`.

        amount: the most that C may deliver (bytes, or 1 for a connection). start: called with loop and slot if reading
        is not started; its errors name `syscall`.
        Raises `Closed`, `BusyError`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`.
        """
        # Check that the running coroutine may wait here, and that no other one does
        me: Any = getcurrent()
        try:
            coroutine = me.coroutine
            context = coroutine.context
        except AttributeError:
            coroutine = running()
            context = coroutine.context
        if context.hub is not self.hub:
            if get_ident() != self.thread or self.hub.forked or not self.hub.loop.pointer:
                raise self._access_error()
            coroutine = self.hub.adopt_foreign(coroutine)
        state = self.state
        if state is not O_ARMED and state is not O_READY:
            raise self.use_error()
        # Start reading if C has stopped it
        want, slot = self.demand, self.slot
        if want[slot] < 0:
            code = start(self.pointer, slot)
            state = self.state
            if state is not O_ARMED and state is not O_READY:  # changed by a signal handler or a finalizer
                raise self.use_error()
            if code < 0:
                if not self.hub._has_completion_for(self):
                    raise self.call_error(code, syscall)
                amount = -1  # an error has ended reading: this turn has still to deliver its record
        # Register, and suspend; an Armed handle was just delivered to this coroutine, so the next record may be there
        self.waiter = coroutine
        want[slot] = amount
        self.state = O_AWAIT  # 2, 9
        try:
            switch_directly(coroutine, self, self.hub) if state is O_ARMED else park(coroutine, self)
        except BaseException:
            self._cancel_wait()
            raise

    def pop_pending(self) -> Any:
        """Return the item that arrived without a waiter, and clear it. Raises `ForeignThread`, `Forked`."""
        if get_ident() != self.thread or self.hub.forked:
            raise self._access_error()
        item, self.pending_data = self.pending_data, None
        return item

    def _cancel_wait(self) -> None:
        """Undo a wait that did not end by a record. A record of this turn goes to `pending_data`."""
        if self.state is O_AWAIT:  # from here on nothing is called: in a call, a signal handler could close the handle
            want, slot = self.demand, self.slot
            if want[slot] > 0:  # noqa: PLR1730  # min() would be a call
                want[slot] = 0
            self.waiter = None
            self.state = O_READY  # 4

    def complete(self, generation: int, result: int, context: int) -> bool | None:
        """Take a record: wake the waiter, or store the item for the next wait."""
        waiter = self.claim_waiter(generation, result, context)
        if waiter is not None:
            wake(waiter)
            return True
        if generation == self.generation or result == _CLOSED:  # the close callback: the last record
            return self.complete_unclaimed(result, context)
        return None

    def claim_waiter(self, generation: int, result: int, context: int) -> Coroutine | None:
        """Claim a record for the waiter; return that, which the caller enters now. None: no coroutine waits."""
        waiter = self.waiter
        if waiter is None or generation != self.generation:
            return None
        hub = self.hub
        waiter.resumer = waiter.hub_greenlet  # from here on nothing looks for signals: see dispatcher.py
        hub.switching_to = waiter
        del hub.completions[0]
        hub.current_handler = self
        self.waiter = None
        self.result = result
        self.offset = context
        self.state = O_ARMED  # 6
        return waiter

    def after_completion(self) -> None:
        """Become Ready: the coroutine that was woken has ended, or waits for something else."""
        if self.state is O_ARMED:  # as in _cancel_wait()
            want, slot = self.demand, self.slot
            if want[slot] > 0:  # noqa: PLR1730  # still positive if the waiter came after its record
                want[slot] = 0
            self.state = O_READY  # 7

    def complete_unclaimed(self, result: int, context: int) -> bool | None:
        """Take a record without a waiter; see `CompletionHandler.complete`."""
        if result == _CLOSED:
            self.loop_closed()  # 3; may be repeated
            hub = self.hub  # from here on nothing looks for signals: the record has no other receiver afterwards
            if hub.handlers[self._closing_slot] is self:
                hub.handlers[self._closing_slot] = NULL_HANDLER
                hub.free_slots += (self._closing_slot,)
        elif self.pending_data is None and not self.closed:
            self.pending_data = self.receive_buffer[context : context + result] if result > 0 else result
        return None

    # -- closing ----------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the loop is freed."""
        return self.state is O_CLOSE or self.state is O_FREED

    def close(self) -> None:
        """Close the handle; a coroutine that waits for it gets `Closed` first. Does nothing if it is closed.

        Raises `ForeignThread`, `Forked`.
        """
        # Checks, by calls; then nothing is called until the state shows the close
        me, here = getcurrent(), get_ident() == self.thread
        switches = me is not self.hub.greenlet and not (needs_check and switch_forbidden())
        if self.closed:
            return
        if not here or self.hub.forked:
            raise self._access_error()
        slot, self.slot = self.slot, INVALID_SLOT
        if slot == INVALID_SLOT != self._closing_slot:
            return  # a finalizer that runs in the middle of another call of this method
        # Claim the waiter, so that no other code resumes it, and change the state
        waiter, self.waiter = self.waiter, None
        parked = switches and waiter is not None and waiter.resumer is None and waiter._greenlet is not me
        if waiter is not None and parked:
            waiter.resumer = me
        self.state = O_CLOSE  # 1, 5, 8
        self.pending_data = None
        # Close in libuv, and notify the waiter
        if waiter is None:
            lib.co_close(self.pointer, slot)
        else:
            self._close_with_waiter(waiter, slot, parked)

    def _close_with_waiter(self, waiter: Coroutine, slot: int, parked: bool) -> None:
        """Close the handle that `waiter` waits for, and raise `Closed` in the waiter.

        parked: the waiter has suspended, and the caller may switch to it. Otherwise the hub raises: a signal handler or
        a finalizer must not switch, and the waiter may be about to suspend.
        """
        pending = None
        try:
            lib.co_close(self.pointer, slot)
            if parked:
                pending = PendingException(self.closed_error())
        finally:
            if parked:
                waiter.resumer = None
            if pending is None:
                self.hub.ready.append(_CloseNotice(self, waiter))
        if pending is not None:
            throw_and_report(waiter, pending)
        elif self.hub.polling:
            lib.co_wake(self.hub.loop.pointer)

    def closed_error(self) -> Closed:
        """Return the error for the waiter of a handle that is closed."""
        return Closed(f"{self} was closed by another coroutine", interrupted=True)

    def finalize(self) -> None:
        """Close a handle that has no references left; called by its finalizer, in any thread."""
        if self.closed or self.hub.forked or self._closing_slot == INVALID_SLOT:  # the last: never opened
            return
        text = f"unclosed {self}" if sys.flags.dev_mode else ""
        if get_ident() == self.thread:
            self.close()
        else:
            with suppress(Closed):  # the thread has just ended
                self.hub.call_threadsafe(self.close)
        if text:
            warn_in_finalizer(text, self)

    def loop_closed(self) -> None:
        """Become closed, and drop the pointers: the memory of the loop, or of this handle, is freed."""
        if not self.closed:
            self.state = O_CLOSE
        if self.state is O_CLOSE:
            self.state = O_FREED
        self.slot, self.pointer, self.demand, self.receive_buffer = INVALID_SLOT, NULL, _NO_DEMAND, b""
        self.waiter = self.pending_data = None

    # -- errors -----------------------------------------------------------------------------------------------------

    def use_error(self) -> Exception:
        """Return the error of a wait that is not possible: the handle is closed, or busy."""
        if self.closed:
            return Closed(f"{self} is closed")
        return BusyError(f"{self} is in use: {self.waiter!r} waits for it")

    def check_usable(self) -> None:
        """Raise `Closed`, `ForeignThread` or `Forked` if the handle cannot be used by the caller."""
        if self.closed or self.hub.forked or self.thread != get_ident():
            raise self._access_error()

    def _access_error(self) -> Exception:
        if self.hub.forked:
            return Forked(f"{self} was made before the fork: it belongs to the parent process")
        if not self.hub.loop.pointer:
            return Closed(f"{self} is closed: its event loop has ended")
        if self.closed:
            return Closed(f"{self} is closed")
        return foreign_thread_error(str(self), self.thread)

    def call_error(self, code: int, syscall: str) -> Exception:
        """Return the exception for a negative `code` of a call on this handle."""
        if code == lib.CO_FOREIGN:
            return self._access_error()
        if self.closed:
            return Closed(f"{self} is closed")
        return self.error_of(code, syscall)

    def error_of(self, code: int, syscall: str) -> Exception:
        """Return the exception for a negative `code`, even if the handle is closed by now."""
        failure = error(code, syscall)
        return self._add_addresses(failure) if isinstance(failure, UVError) else failure


class _CloseNotice(ReadyItem):
    """An entry that raises `Closed` in a coroutine that was about to wait for a handle."""

    __slots__ = ("handle", "waiter")

    def __init__(self, handle: KernelHandle, waiter: Coroutine) -> None:
        self.handle, self.waiter = handle, waiter

    def run(self) -> None:
        """Raise in the coroutine if it waits for the handle."""
        pending = PendingException(self.handle.closed_error())
        if self.waiter.resumer is None and self.waiter.waiting_on is self.handle:
            throw_and_report(self.waiter, pending)
