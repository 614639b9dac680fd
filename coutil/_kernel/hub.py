"""The hub: one per OS thread, a greenlet that turns libuv's loop and resumes the coroutines that waited.

A turn: resume what is ready (first in, first out, each coroutine once), let libuv poll in one call into C, then
drain the records that C wrote meanwhile. Nothing of libuv is on the stack while coroutines run.

Rule 1: what a turn still has to do is kept in attributes, which no exception of a signal handler empties: see
`deliveries`.
Rule 2: the hub never waits. When nothing can wake the main program, or a coroutine raised KeyboardInterrupt or
SystemExit, it raises in whoever drives it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import _host
from .._coroutines.books import Token, foreign
from .._coroutines.coroutine import Coroutine, Home, home, running, stand_in
from .._coroutines.outcomes import Resumed, Thrown
from .._coroutines.runner import Runner, begin_spare
from .._coroutines.switching import Outside, enter_hub, leave_hub, notify_late, park, throw_into
from .._interpreter import Time
from .._libuv import lib
from .._libuv.clock import Clock
from .._libuv.loop import Loop
from .._report import deadlock
from ..errors import AlreadyRunning, Closed, Deadlock, Forked, NotRunning
from .deliveries import LUCK, Deliveries, Record
from .entries import Calls, Entry, Slotted, Wake
from .wakers import Others

__all__ = ["Hub", "hub_of", "this_hub"]

Ready: type[deque[Entry]] = deque  # the ready queue; where it appends decides on the order, and nothing else does
READY_BUDGET = 1000  # coroutines resumed from the ready queue before libuv is polled again
POLL_EVERY = 50_000  # nanoseconds after which coroutines that hand over to each other let libuv be polled
REST_EVERY = 5_000_000  # nanoseconds after which other threads get a chance; see _host.let_threads_run
SPARES = 128  # runners begun at once, at most, for coroutines to come
RELAY = 16  # times that they do so between two looks at the time
_RELAYS = (True,) * (RELAY - 1)  # `any` takes one: an iterator counts faster than integers do
SLEEPLESS = 2  # what `Hub.early` returns if libuv is not to wait in this turn; 1: it has done something; 0: nothing


class Hub(Deliveries):
    """The event loop of one OS thread. Made on demand by `this_hub`."""

    __slots__ = [
        "__weakref__",
        "aside",
        "asked",
        "broken",
        "calls",
        "clock",
        "early",
        "entered",
        "exits",
        "expected",
        "face",
        "forked",
        "halting",
        "home",
        "interrupted",
        "left",
        "lock",
        "loop",
        "mode",
        "others",
        "owed",
        "patience",
        "polling",
        "relay",
        "rested",
        "resuming",
        "spares",
        "turns",
    ]

    def __init__(self, where: Home) -> None:
        """See `hub_of`. The caller makes it known to its home."""
        if where.over:
            raise Closed("the thread is ending, its event loop has ended")
        self.home = where
        self.loop = Loop()
        self.clock = Clock(self.loop)
        super().__init__(Calls(self), where.gate, Ready())  # slot 0 is the wake-up of other threads
        self.aside: tuple[list[Entry], list[Record]] = ([], [])  # see orphan
        self.calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.lock = _host.RLock()  # held while another thread uses, or we free, the loop's memory
        self.exits: list[BaseException] = []
        self.early: Callable[[], int] | None = None  # called before libuv polls; see SLEEPLESS
        self.face: Callable[[], Any] = lambda: None  # what users have of a loop that they made
        self.mode = "loop"
        self.entered = 0  # the turn in which run() was called
        self.halting = self.interrupted = self.forked = False
        self.patience: int = lib.CO_BLOCK  # how co_step shall poll when nothing is ready
        self.spares = 1  # how many runners to begin for coroutines to come, if somebody asks; see new_runner
        self.asked = 0
        self.rested = 0  # when other threads had their last chance, in nanoseconds
        self.resuming = 0  # coroutines that functions which run in the hub are resuming
        self.polling = False  # inside co_step, or between it and taking its records
        self.broken = False  # an exception has interrupted something; see _go_on
        self.turns = self.expected = 0
        self.owed = -1  # how many entries the last one who asked `polled_lately` was promised; -1: nobody in this turn
        self.others = Others(self)
        self.relay: Any = iter(())  # as often coroutines may still enter each other before one asks `polled_lately`
        self.left = 0  # how many of those that were ready at the beginning of this turn have to run in it; nearly
        try:
            _host.install(self)
        except BaseException:
            self.discard()
            raise

    # -- the loop ---------------------------------------------------------------------------------------------------

    def body(self) -> None:
        """Turn for ever, as long as somebody drives; the body of the hub's greenlet.

        If a signal handler raises where the loop goes round, which no `try` covers, the greenlet begins anew here.
        """
        self.home.turning = self
        self.broken = True
        pending = self.home.pending
        while pending:
            self.ready += (pending[0],)  # and not a call: see Rule 1 of `deliveries`
            del pending[0]
        for one in self.home.drivers:
            if one.told is not None:  # while there was no hub
                self.home.call_soon(notify_late, one, one.told)
        while True:
            try:
                if self.broken:
                    self._go_on()
                self._drain()
                if self.exits:
                    self._attend(alive=True, happened=True)
                self._turns()
            except BaseException as error:  # noqa: BLE001  # raised by a signal handler: it belongs to the main program
                self.exits += (error,)
                self.broken = True
            if not self.loop.pointer:
                return

    def _go_on(self) -> None:
        """Put in order what an exception has interrupted; the driver gets that. May be repeated."""
        if self.polling:
            self.records += self.loop.records(self.loop.count())
            self.polling = False
        self.recover()
        if self.home.ended_last is not None:
            self.ended(self.home.ended_last)
        self.tune()
        self.broken = False

    def _turns(self) -> None:
        """Do turns. Everything that is rare is told by `attention`, so that the common turn looks at nothing else."""
        ready, loop, where = self.ready, self.loop, self.home
        step, look = lib.co_step, lib.CO_LOOK
        while True:
            self.turns += 1
            if where.hooks is not None:
                where.tell(where.hooks.turn, self.turns)
                self.tune()  # so that coroutines come back here, instead of entering each other
            self.owed = -1
            done = len(ready)
            self.left = done if done < READY_BUDGET else READY_BUDGET
            while self.left > 0 and ready:  # coroutines that hand over to each other take entries, too
                self.left -= 1
                entry = ready[0]
                if not entry.fire():
                    self._fired(entry)
                entry = self.entering = None  # type: ignore[assignment]  # it keeps nobody alive
            early = 0 if self.early is None or not (done or ready or self.expected or self.alive()) else self.early()
            self.polling = True
            status = step(loop.pointer, 0 if done or ready or early == SLEEPLESS else self.patience)
            where.turned = now = loop.status[0]
            if status > 1:
                self.records += loop.records(status >> 1)
                self.polling = False
                self._drain()
            else:
                self.polling = False
                if status == look:
                    _host.install(self)
                elif status < 0:
                    self.check()
                    status = 1
            if not (done or ready):
                self.rested = now
            elif now - self.rested > REST_EVERY:
                _host.let_threads_run()
                self.rested = now
            if self.attention or not (status & 1 or done or ready):  # a turn that brought records, too, may be the last
                alive = status & 1 or done or (status > 1 and self.alive())
                self._attend(bool(alive), bool(status > 1 or done or early))

    def _attend(self, alive: bool, happened: bool) -> None:
        """See to whatever is not an everyday turn: leave for the driver if this turn was the last one for it."""
        if self.forked:
            self.exits.append(Forked("a coroutine of this loop forked the process: the loop cannot go on in the child"))
        if self.interrupted:
            self.exits.append(KeyboardInterrupt())
            self.interrupted = False
        if self.stranded:
            self.recover()
        if self.asked:
            self.spares, self.asked = min(self.spares * self.asked, SPARES), 0
            while len(self.home.runners) < self.spares:
                begin_spare(self.home)
        alive = bool(alive or self.ready)
        self.others.over(happened)
        if self.exits:
            self._leave()
        elif not alive and not self.halting and self.mode != "ready" and self.clock.advance():
            pass
        elif self.caller is not None:
            self._leave_run(alive, happened)
        elif not alive and not self.alive() and not self.others.wait():
            throw_into(self.home.driver(), Thrown(Deadlock(deadlock(self.home, self.others.missing()))))
        self.tune()

    def _leave(self) -> None:
        """Raise the first of `exits` in the driver."""
        thrown = Thrown(self.exits[0])
        try:
            del self.exits[0]
            throw_into(self.caller or self.home.driver(), thrown)
        except BaseException:
            if not thrown.taken:
                self.exits.insert(0, thrown.take())  # type: ignore[arg-type]  # no class
            raise

    def tune(self) -> None:
        """Derive `attention` and `patience` from everything that is out of the ordinary."""
        gone = self.forked or not self.loop.pointer
        urgent = self.exits or self.interrupted or self.halting or gone or self.mode == "ready"
        special = self.asked or self.resuming or self.stranded or self.home.hooks is not None
        self.attention = bool(urgent or special or self.others.waits or self.mode != "loop")
        self.left -= max(self.owed - self.relay.__length_hint__(), 0)
        self.relay, self.owed = iter(()), 0
        self.patience = 0 if urgent else self.others.waits or (lib.CO_BLOCK_ALWAYS if self.expected else lib.CO_BLOCK)

    def _leave_run(self, alive: bool, happened: bool) -> None:
        """Let run() return if it asked for no more."""
        if self.turns == self.entered and (self.luck > LUCK or self.mode == "ready") and not self.halting:
            return  # the caller came in the middle of this turn: when all, or some, that it had to do was done
        if alive and not self.halting and self.mode != "ready" and not (self.mode == "step" and happened):
            return
        assert self.caller is not None
        leave_hub(self.caller, self.alive())  # it goes on in run(), which has us forget it

    def polled_lately(self) -> bool:
        """Return whether coroutines may go on among themselves before libuv is polled; looks at the time."""
        self.left -= max(self.owed, 0)
        if self.attention or (self.left <= 0 <= self.owed and Time.monotonic_ns() - self.home.turned >= POLL_EVERY):
            return False  # whoever comes next in this turn has to ask, too
        self.relay, self.owed = iter(_RELAYS), RELAY
        return True

    def alive(self) -> bool:
        """Return whether something is ready, or can happen by itself."""
        return bool(len(self.ready) > self.void or self.clock.pending() or lib.co_alive(self.loop.pointer))

    # -- what others ask of it --------------------------------------------------------------------------------------

    def run(self, mode: str) -> bool:
        """See `system.run`."""
        me = self.guest(running())
        if self.caller is not None or self._resumed(me):
            raise AlreadyRunning("run() was called by a coroutine that the loop itself resumed")
        if me.cancelled is not None:
            me.cancelled._refuse_start(me, "the loop")
        _host.install(self)
        watch = me.scope._drive(me) if me.scope is not None else None
        self.caller, self.mode = me, mode
        self.entered, self.luck = self.turns, LUCK + 1  # more than anybody has who is resumed from now on
        self.tune()
        try:
            return bool(enter_hub(me))
        finally:
            self.caller, self.mode, self.halting = None, "loop", False
            try:
                self.tune()
            finally:
                if watch is not None:
                    watch.stop()

    def _resumed(self, coroutine: Coroutine) -> bool:
        """Return whether a hub resumed `coroutine`, directly or through others, and waits for it to come back."""
        link: Any = coroutine.resumer
        while link is not None and link.__class__ is not Outside:
            resumed = getattr(link, "coroutine", None)
            if resumed is None:
                return link.__class__ is Runner
            link = resumed.resumer
        return False

    def guest(self, coroutine: Coroutine) -> Coroutine:
        """Return the running `coroutine`, or what stands for one of another loop, which drives this loop as it waits.

        Raises `ForeignThread`.
        """
        if coroutine.home is self.home:
            return coroutine
        if coroutine.home.thread != self.home.thread:
            raise foreign("the event loop", self.home.thread)
        made = stand_in(coroutine._greenlet, self.home, coroutine.name)
        made.scope, made.cancelled = coroutine.scope, coroutine.cancelled
        return made

    def halt(self) -> None:
        """See `system.halt`."""
        if self.caller is None:
            raise NotRunning("halt() ends system.run(), and that is not running")
        self.halting = True
        self.tune()

    def ended(self, coroutine: Coroutine) -> None:
        """Take the outcome of a coroutine that ended after the hub had resumed it."""
        self.home.ended_last = coroutine  # until its outcome is taken: for `_go_on`
        coroutine.value = None
        error = coroutine._error
        if error is None:
            self.home.ended_last = None
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            self.exits += (error,)  # and not a call
            coroutine._error = self.home.ended_last = None
            self.tune()
        else:
            self.report(coroutine, error)  # it takes the error

    def report(self, coroutine: Coroutine | None, error: BaseException) -> None:
        """Hand an exception that nobody waits for to the excepthook; if that wants to leave, so does the hub."""
        try:
            self.home.report(coroutine, error)
        except (KeyboardInterrupt, SystemExit) as leave:
            self.exit(leave)

    def exit(self, error: BaseException) -> None:
        """Raise `error` in the driver at the end of this turn."""
        self.exits.append(error)
        self.tune()

    def enqueue(self, entry: Any) -> None:
        """Add an `Entry` to the ready queue, at any moment, also just before libuv waits."""
        self.ready.append(entry)
        if self.polling:
            self.rouse()

    def rouse(self) -> None:
        """Have libuv not wait, or end its wait; at any moment."""
        lib.co_wake(self.loop.pointer)

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the hub call `function(*arguments)` in its next turn; safe from any OS thread.

        The function runs in the hub, so it cannot wait; it may resume coroutines. A wait that only such a call can end
        is no deadlock while another thread runs, see `wakers`.
        Raises `Closed` if the loop was closed, `Forked` in the child of a fork.
        """
        call = (function, arguments)
        with self.lock:
            self.check()
            self.calls.append(call)
            lib.co_wake(self.loop.pointer)

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """Within the block the loop counts as alive: another thread is going to use `call_threadsafe`."""
        self.expected += 1
        self.tune()
        try:
            yield
        finally:
            self.expected -= 1
            self.tune()

    def ask_for_spares(self, times: int) -> None:
        """Begin runners at the end of this turn, so many times as many as the last time."""
        self.asked = max(self.asked, times)
        self.tune()

    def driven(self) -> bool:
        """Return whether somebody waits in the loop, so that it turns."""
        return self.caller is not None or bool(self.home.drivers)

    # -- the end ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `Forked` or `Closed` if the loop cannot be used any more."""
        if self.forked:
            raise Forked("the event loop was made before the fork: it belongs to the parent process")
        if not self.loop.pointer:
            raise Closed("the event loop is closed")

    def turn(self) -> None:
        """Have the hub go on until it has done what is ready now; for who ends it."""
        me, what = self.guest(running()), Token("the end of the loop")
        entry = Wake(me, what)
        self.ready.append(entry)
        try:
            with suppress(Resumed):  # an explicit resume ends the wait, too
                park(me, what)
        finally:
            if entry in self.ready:  # a signal handler has raised
                self.ready.remove(entry)

    def waiting(self) -> list[Coroutine]:
        """Return the coroutines that wait for something of this hub."""
        found = dict.fromkeys(one.waiter for one in self._known())
        return [one for one in found if one is not None and one is not self.home.main]

    def _known(self) -> tuple[Slotted | Entry, ...]:
        return (*self.owners, *self.ready)

    def close(self) -> None:
        """Close every handle and free the loop. Nobody is resumed; whoever still waits never will be."""
        for one in self._known():
            one.lost()
        with self.lock:
            if self.loop.pointer and not self.forked:
                self.loop.close(self.owners[1:])
        self.attention = True
        self.relay = iter(())
        _host.uninstall(self)
        self.home.renew()
        self.ready.clear()
        self.records.clear()
        self.calls.clear()
        self.forget_all()

    def discard(self) -> None:
        """Free a hub that its home does not know yet."""
        _host.uninstall(self)
        self.loop.close()

    def orphan(self) -> None:
        """Touch nothing of the loop any more: this is the child of a fork, and the loop is its parent's."""
        if self.loop.pointer:
            lib.co_loop_forked(self.loop.pointer)
        self.lock = _host.RLock()
        self.forked = True
        self.aside = [*self.ready], [*self.records]  # what this turn still had to do; see _host.revive
        self.ready.clear()
        self.records.clear()
        self.tune()


def this_hub() -> Hub:
    """Return the hub of the calling thread, made now if there is none yet."""
    where = home()
    hub: Hub = where.hub or hub_of(where)
    return hub


def hub_of(where: Home) -> Hub:
    """Return the hub of a home, made now if there is none yet.

    A signal handler, or a finalizer, may wait or wake the caller while it is made, and so need one first: then it makes
    the hub of the home, and ours is given up.
    Raises MemoryError, `UVError`, or `Closed` if the thread is ending.
    """
    made = Hub(where) if where.hub is None else None
    if where.hub is None:  # no call from here to the next line: nothing comes between
        where.hub = made
        if where.calls:
            where.hub.call_threadsafe(where.make_calls)
    elif made is not None:
        made.discard()
    hub: Hub = where.hub
    return hub


Home.start_hub = staticmethod(lambda where: hub_of(where).body())
