"""Objects that coroutines wait for one at a time: streams and listeners. The states are those of `states.OBJECT`.

A `Handle` is the kernel's half of an object; the half that users hold refers to it, never the other way round, so that
a forgotten object is finalized although the hub knows its handle.

Disarm late: reading stays started when nobody waits. What arrives then is refused by C, which stops reading; the data
stay in the kernel. `want[slot]` tells C how much is wanted (0: nothing), and tells us that reading has stopped (-1).
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from greenlet import getcurrent

from .._asynchronous import alerts, asynchronous
from .._coroutines.books import foreign, warn_in_finalizer
from .._coroutines.coroutine import Coroutine, running
from .._coroutines.outcomes import Thrown
from .._coroutines.states import O_ARMED, O_AWAIT, O_CLOSE, O_FREED, O_READY, OBJECT, State, checked
from .._coroutines.switching import hand_over, interrupt, park, wake
from .._interpreter import get_ident
from .._libuv import NULL, error, lib
from .._libuv.ends import UNKNOWN, Ends, ends, peer_known, shown, texts
from ..errors import BusyError, Closed, Forked, UVError
from .entries import NOBODY, Entry, Slotted
from .hub import Hub, this_hub

__all__ = ["NOWHERE", "Handle"]

NOWHERE = 0xFFFFFFFF  # a slot that C never knows: what a closed handle uses
_CLOSED: int = lib.CO_CLOSED
_NO_WANT = memoryview(b"")


@checked(OBJECT)
class Handle(Slotted):
    """A libuv handle with an identity of its own, and the coroutine that waits for it."""

    __slots__ = [
        "_closing",
        "arena",
        "ends",
        "generation",
        "hub",
        "pointer",
        "result",
        "slot",
        "stash",
        "state",
        "thread",
        "title",
        "waiter",
        "want",
        "where",
    ]

    def __init__(self, title: str, hub: Hub | None = None) -> None:
        """Of `hub`; of the running coroutine's if it is None. Reports call it `title`. It is not open yet: see `open`.

        So there is an object that can close it, whenever a signal handler raises, before there is anything to close.
        """
        self.hub: Hub = hub or this_hub()
        self.title = title
        self.ends: Ends = UNKNOWN  # the addresses of our own end and of the peer's, as last seen
        self.stash: Any = None  # what arrived although nobody waited: data, a negative code, or 0: a connection
        self.waiter: Coroutine | None = None
        self.result = self.where = 0  # of the record that woke the waiter
        self.thread = get_ident()
        self.pointer = self.hub.loop.pointer
        self.want: Any = self.hub.loop.want
        self.arena: Any = self.hub.loop.arena
        self.slot = self._closing = NOWHERE
        self.generation = -1
        self.state: State = O_READY

    def open(self, open_: Callable[[Any, int, int], int], syscall: str) -> None:
        """Open it in libuv; once.

        open_: called with the loop, slot and generation; returns libuv's code.
        Raises `UVError` naming `syscall`; nothing is left then.
        """
        hub = self.hub
        self.slot = self._closing = hub.take(self)
        self.generation = hub.generation
        try:
            code = open_(self.pointer, self.slot, self.generation)
            if code < 0:
                self._give_up()
        except BaseException:
            self._give_up()
            raise
        if code < 0:
            raise error(code, syscall)

    def _give_up(self) -> None:
        """Undo an opening that failed, or that a signal handler has cut short; libuv may have the handle by then.

        May be repeated.
        """
        if self.state is O_READY:
            known = lib.co_close(self.pointer, self.slot) >= 0
            self.slot = NOWHERE  # from here on nothing looks for signals
            self.state = O_CLOSE  # 1
            if not known:
                self.state = O_FREED  # 3
                self.hub.owners[self._closing] = NOBODY
                self.hub.free += (self._closing,)

    def __str__(self) -> str:
        """Title and addresses, for reports and errors."""
        addresses = shown(self.addresses())
        return f"{self.title} {addresses}" if addresses else self.title

    # -- addresses --------------------------------------------------------------------------------------------------

    def remember(self) -> None:
        """Note the addresses of both ends: the system forgets the peer when a connection is reset."""
        self.ends = ends(self.pointer, self.slot)

    def addresses(self) -> Ends:
        """Return the addresses of both ends, the last known ones if the system does not tell them; works anywhere."""
        if not peer_known(self.ends) and (found := ends(self.pointer, self.slot)) is not UNKNOWN:
            self.ends = found
        return self.ends

    def named(self, failure: UVError) -> UVError:
        """Return an error of this handle after it was given the addresses of both ends, unless it names something."""
        if failure.filename is None:
            own, peer = texts(self.addresses())
            failure.filename, failure.filename2 = own or peer, peer if own else None
        return failure

    # -- waiting ----------------------------------------------------------------------------------------------------

    def wait(self, amount: int, start: Callable[[Any, int], int], syscall: str = "uv_read_start") -> None:
        """Wait for the next record, which is in `result` and `where` then. Suspends.

        amount: what C may deliver (bytes, or 1 for a connection). start: called with loop and slot if reading is not
        started; its errors name `syscall`.
        Raises `Closed`, `BusyError`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`.
        """
        me: Any = getcurrent()
        try:
            coroutine = me.coroutine
            home = coroutine.home
        except AttributeError:
            coroutine = running()
            home = coroutine.home
        if home.hub is not self.hub:
            if get_ident() != self.thread or self.hub.forked or not self.hub.loop.pointer:
                raise self._foreign()
            coroutine = self.hub.guest(coroutine)
        state = self.state
        if state is not O_ARMED and state is not O_READY:
            raise self.unusable()
        want, slot = self.want, self.slot
        if want[slot] < 0:
            code = start(self.pointer, slot)
            state = self.state
            if state is not O_ARMED and state is not O_READY:  # since then, by a signal handler or a finalizer
                raise self.unusable()
            if code < 0:
                if not self.hub.on_its_way(self):
                    raise self.failed(code, syscall)
                amount = -1  # reading has ended by an error, which this turn has still to tell
        self.waiter = coroutine
        want[slot] = amount
        self.state = O_AWAIT  # 2, 9
        try:
            hand_over(coroutine, self, self.hub) if state is O_ARMED else park(coroutine, self)
        except BaseException:
            self._leave()
            raise

    def take_stash(self) -> Any:
        """Return what arrived although nobody waited, and forget it. Raises `ForeignThread`, `Forked`."""
        if get_ident() != self.thread or self.hub.forked:
            raise self._foreign()
        stash, self.stash = self.stash, None
        return stash

    def _leave(self) -> None:
        """The waiter was resumed by somebody else. What has arrived by now, or arrives in this turn, is stashed."""
        if self.state is O_AWAIT:  # from here on nothing is called: in a call, a signal handler could close the handle
            want, slot = self.want, self.slot
            if want[slot] > 0:  # noqa: PLR1730  # min() would be a call
                want[slot] = 0
            self.waiter = None
            self.state = O_READY  # 4

    def deliver(self, generation: int, result: int, where: int) -> bool | None:
        """Take a record: wake the waiter, or keep what nobody waits for."""
        waiter = self.arm(generation, result, where)
        if waiter is not None:
            wake(waiter)
            return True
        if generation == self.generation or result == _CLOSED:  # that one comes last, whatever was called before
            return self.unawaited(result, where)
        return None

    def arm(self, generation: int, result: int, where: int) -> Coroutine | None:
        """Take a record that somebody waits for; return who has to be entered now. None: there is nobody."""
        waiter = self.waiter
        if waiter is None or generation != self.generation:
            return None
        hub = self.hub
        waiter.resumer = waiter.gate  # from here on nothing looks for signals: see deliveries.py
        hub.entering = waiter
        del hub.records[0]
        hub.armed = self
        self.waiter = None
        self.result = result
        self.where = where
        self.state = O_ARMED  # 6
        return waiter

    def disarm(self) -> None:
        """The coroutine that was woken waits for something else, or has ended."""
        if self.state is O_ARMED:  # as in _leave()
            want, slot = self.want, self.slot
            if want[slot] > 0:  # noqa: PLR1730  # it is wanted still if the waiter came after its record
                want[slot] = 0
            self.state = O_READY  # 7

    def unawaited(self, result: int, where: int) -> bool | None:
        """Take a record that nobody waits for; see `Slotted.deliver`."""
        if result == _CLOSED:
            if self.state is not O_FREED:
                self.state = O_FREED  # 3
                self.hub.owners[self._closing] = NOBODY
                self.hub.free += (self._closing,)
            self.lost()
        elif self.stash is None and not self.closed:
            self.stash = self.arena[where : where + result] if result > 0 else result
        return None

    # -- closing ----------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` was called, or the loop is gone."""
        return self.state is O_CLOSE or self.state is O_FREED

    def close(self) -> None:
        """Close the handle; a coroutine that waits for it is resumed first, with `Closed`. Twice is no error.

        Raises `ForeignThread`, `Forked`.
        """
        me, here = getcurrent(), get_ident() == self.thread
        switches = me is not self.hub.greenlet and not (alerts and asynchronous())
        if self.closed:
            return
        if not here or self.hub.forked:
            raise self._foreign()
        slot, self.slot = self.slot, NOWHERE  # nothing is called until the state shows it
        if slot == NOWHERE != self._closing:
            return  # we are a finalizer, and interrupt another call of this function
        waiter, self.waiter = self.waiter, None
        parked = switches and waiter is not None and waiter.resumer is None and waiter._greenlet is not me
        if waiter is not None and parked:
            waiter.resumer = me  # so that nobody else resumes it
        self.state = O_CLOSE  # 1, 5, 8
        self.stash = None
        if waiter is None:
            lib.co_close(self.pointer, slot)
        else:
            self._close_under(waiter, slot, parked)

    def _close_under(self, waiter: Coroutine, slot: int, parked: bool) -> None:
        """Close the handle that `waiter` waits for, and tell that; the hub does so unless the waiter is parked.

        A signal handler or a finalizer must not switch, and the waiter may be about to suspend.
        """
        told = None
        try:
            lib.co_close(self.pointer, slot)
            if parked:
                told = Thrown(self.interruption())
        finally:
            if parked:
                waiter.resumer = None
            if told is None:
                self.hub.ready.append(_Interrupt(self, waiter))
        if told is not None:
            interrupt(waiter, told)
        elif self.hub.polling:
            lib.co_wake(self.hub.loop.pointer)

    def interruption(self) -> Closed:
        """Return what the waiter is told when its object is closed."""
        return Closed(f"{self} was closed by another coroutine", interrupted=True)

    def abandon(self) -> None:
        """Close a handle that nobody refers to any more; from its finalizer, in whatever thread that runs."""
        if self.closed or self.hub.forked or self._closing == NOWHERE:  # that one was never opened
            return
        text = f"unclosed {self}" if sys.flags.dev_mode else ""
        if get_ident() == self.thread:
            self.close()
        else:
            with suppress(Closed):  # the thread has just ended
                self.hub.call_threadsafe(self.close)
        if text:
            warn_in_finalizer(text, self)

    def lost(self) -> None:
        """The loop, or our part of it, is gone, and the memory with it."""
        if not self.closed:
            self.state = O_CLOSE
        if self.state is O_CLOSE:
            self.state = O_FREED
        self.slot, self.pointer, self.want, self.arena = NOWHERE, NULL, _NO_WANT, b""
        self.waiter = self.stash = None

    # -- errors -----------------------------------------------------------------------------------------------------

    def unusable(self) -> Exception:
        """Return why nobody can wait: closed, or busy."""
        if self.closed:
            return Closed(f"{self} is closed")
        return BusyError(f"{self} is in use: {self.waiter!r} waits for it")

    def usable(self) -> None:
        """Raise `Closed`, `ForeignThread` or `Forked` if no call is possible."""
        if self.closed or self.hub.forked or self.thread != get_ident():
            raise self._foreign()

    def _foreign(self) -> Exception:
        if self.hub.forked:
            return Forked(f"{self} was made before the fork: it belongs to the parent process")
        if not self.hub.loop.pointer:
            return Closed(f"{self} is closed: its event loop has ended")
        if self.closed:
            return Closed(f"{self} is closed")
        return foreign(str(self), self.thread)

    def failed(self, code: int, syscall: str) -> Exception:
        """Return the exception for a negative `code` of a call on this handle."""
        if code == lib.CO_FOREIGN:
            return self._foreign()
        if self.closed:
            return Closed(f"{self} is closed")
        return self.failure(code, syscall)

    def failure(self, code: int, syscall: str) -> Exception:
        """Return the exception for a negative `code`, whether we are closed by now or not."""
        made = error(code, syscall)
        return self.named(made) if isinstance(made, UVError) else made


class _Interrupt(Entry):
    """Tell a coroutine, which was about to wait for a handle, that it was closed."""

    __slots__ = ("handle", "waiter")

    def __init__(self, handle: Handle, waiter: Coroutine) -> None:
        self.handle, self.waiter = handle, waiter

    def fire(self) -> None:
        """Tell the coroutine, if it did begin to wait."""
        told = Thrown(self.handle.interruption())
        if self.waiter.resumer is None and self.waiter.waiting_on is self.handle:
            interrupt(self.waiter, told)
