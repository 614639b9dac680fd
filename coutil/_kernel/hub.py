"""The hub: one per event loop, a greenlet that turns libuv's loop and resumes the coroutines that waited.

A turn: run the ready queue (first in, first out, each coroutine once), let libuv poll in one call into C, then deliver
the completion records that C has written. No frame of libuv is on the stack while coroutines run.

Rule 1: the deliveries that a turn has still to make are kept in attributes, which no exception of a signal handler
empties: see `dispatcher`, also for direct switches and the counting of them.
Rule 2: the hub never waits. If nothing can wake the main program, or a coroutine raised KeyboardInterrupt or
SystemExit, it raises in the coroutine that runs the hub.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from .. import _lifecycle
from .._coroutines.books import Sentinel, foreign_thread_error
from .._coroutines.coroutine import Coroutine, LoopContext, current_context, foreign_coroutine, running
from .._coroutines.outcomes import PendingException, Resumed
from .._coroutines.runner import Runner, prestart_runner
from .._coroutines.switching import ForeignEntry, park, return_to_caller, run_hub_for, throw_into_caller, wake_deferred
from .._diagnostics import deadlock_message
from .._interpreter import Time
from .._libuv import lib
from .._libuv.clock import Clock
from .._libuv.loop import NativeLoop
from ..errors import AlreadyRunning, Closed, Deadlock, Forked, NotRunning
from .dispatcher import COOP_BUDGET, CompletionRecord, Dispatcher
from .slots import CompletionHandler, ReadyItem, ThreadsafeCalls, Wakeup
from .turn_end import Decision, TurnEnd, decide
from .wakers import ExternalWakers

__all__ = ["Hub", "current_hub", "hub_for"]

# The type of the ready queue; only its methods decide on the order of the coroutines
ReadyQueue: type[deque[ReadyItem]] = deque
READY_BUDGET = 1000  # coroutines resumed from the ready queue before libuv is polled again
POLL_INTERVAL_NS = 50_000  # nanoseconds after which coroutines that switch directly let libuv be polled
GIL_RELEASE_INTERVAL_NS = 5_000_000  # nanoseconds after which other threads get a chance; see _lifecycle.release_gil
MAX_PRESTART = 128  # runners started at once, at most, for coroutines to come
CLOCK_CHECK_EVERY = 16  # direct switches between two looks at the time
_COUNTDOWN = (True,) * (CLOCK_CHECK_EVERY - 1)  # an iterator over it counts: see `dispatcher`
# Result of `Hub.before_poll` if libuv must not wait in this turn. 1: it has done something; 0: nothing
POLL_WITHOUT_WAITING = 2


class Hub(Dispatcher):
    """The event loop of one OS thread. Made on demand by `current_hub`.

    Names with an underscore are the kernel's. Attributes are flat, not grouped: each turn or switch uses most of them.
    """

    __slots__ = [
        "__weakref__",
        "_clock_countdown",
        "_external_sources",
        "_gil_released_at",
        "_needs_recovery",
        "_nested_resumes",
        "_poll_mode",
        "_prestart_count",
        "_prestart_factor",
        "_promised_switches",
        "_run_turn",
        "_stop_requested",
        "_threadsafe_calls",
        "_turn_budget",
        "_turns",
        "_wakers",
        "before_poll",
        "clock",
        "context",
        "fork_backup",
        "forked",
        "interrupted",
        "lock",
        "loop",
        "mode",
        "pending_errors",
        "polling",
        "public_loop",
    ]

    def __init__(self, context: LoopContext) -> None:
        """See `hub_for`, which registers it in the loop context."""
        if context.shutting_down:
            raise Closed("the thread is ending, its event loop has ended")
        self.context = context
        self.loop = NativeLoop()
        self.clock = Clock(self.loop)
        super().__init__(ThreadsafeCalls(self), context.hub_greenlet, ReadyQueue())
        self._wakers = ExternalWakers(self)
        self.lock = _lifecycle.RLock()  # held while another thread uses the loop's memory, or it is freed
        self.fork_backup: tuple[list[ReadyItem], list[CompletionRecord]] = ([], [])  # see after_fork_in_child
        self.before_poll: Callable[[], int] | None = None  # see POLL_WITHOUT_WAITING
        self.public_loop: Callable[[], Any] = lambda: None
        # Requests to the hub, which are met at the end of a turn
        self._threadsafe_calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.pending_errors: list[BaseException | type[BaseException]] = []
        self._stop_requested = self.interrupted = self.forked = False
        self._needs_recovery = False  # an exception has interrupted something; see _recover_step
        self.mode, self._run_turn = "loop", 0  # of run(): its mode, and the turn in which it was called
        self._prestart_count, self._prestart_factor = 1, 0  # runners started last time; see new_runner
        # The turn, and the poll in it
        self._turns = self._external_sources = self._gil_released_at = 0  # the last in nanoseconds
        self._poll_mode: int = lib.CO_BLOCK
        self.polling = False  # inside co_step, or before its records are taken
        # Direct switches: see `dispatcher`
        self._nested_resumes = 0  # resumes by functions that run in the hub, now under way
        self._clock_countdown: Any = iter(())  # one item per direct switch
        self._promised_switches = -1  # direct switches that the last `_may_skip_poll` allowed; -1: none
        self._turn_budget = 0  # ready entries left for this turn; approximately
        try:
            _lifecycle.attach(self)
        except BaseException:
            self._discard()
            raise

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        """Run turns until the loop is closed; the body of the hub's greenlet.

        If a signal handler raises at the jump of the loop below, which no `try` covers, the greenlet begins again here.
        """
        # Take over the entries and wake-ups that came while there was no hub
        self.context.running_hub = self
        self._needs_recovery = True
        pending = self.context.pending_ready
        while pending:
            self.ready += (pending[0],)  # no call: see `dispatcher`
            del pending[0]
        for waiter in self.context.foreign_waiters:
            if waiter.pending_wakeup is not None:
                self.context.call_soon(wake_deferred, waiter, waiter.pending_wakeup)
        # Run turns; after an exception of a signal handler repair the state first, and finish the turn
        while True:
            try:
                if self._needs_recovery:
                    self._recover_step()
                self._dispatch()
                if self.pending_errors:
                    self._end_turn(alive=True, happened=True)
                self._run_turns()
            except BaseException as error:  # noqa: BLE001  # raised by a signal handler: it belongs to the main program
                self.pending_errors += (error,)
                self._needs_recovery = True
            if not self.loop.pointer:
                return

    def _recover_step(self) -> None:
        """Repair the state after an exception, which is in `pending_errors`. May be repeated."""
        if self.polling:
            self.completions += self.loop.records(self.loop.count())
            self.polling = False
        self._recover()
        if self.context.last_finished is not None:
            self._collect_result(self.context.last_finished)
        self.update_flags()
        self._needs_recovery = False

    def _run_turns(self) -> None:
        """Run turns. The common turn tests only `_slow_path`, which stands for everything that is rare."""
        ready, loop, context = self.ready, self.loop, self.context
        step, look = lib.co_step, lib.CO_LOOK
        entry: ReadyItem | None
        while True:
            self._turns += 1
            if context.hooks is not None:
                context.call_hook(context.hooks.turn, self._turns)
                self.update_flags()  # no direct switches
            # Run the ready queue: as many entries as there are now; direct switches take entries, too
            self._promised_switches = -1
            done = len(ready)
            self._turn_budget = done if done < READY_BUDGET else READY_BUDGET
            while self._turn_budget > 0 and ready:
                self._turn_budget -= 1
                entry = ready[0]
                if not entry.run():
                    self._remove_ready(entry)
                entry = self.switching_to = None  # drop the reference to the coroutine
            # Poll. libuv waits only if the ready queue was, and is, empty
            early = 0
            if self.before_poll is not None and (done or ready or self._external_sources or self.alive()):
                early = self.before_poll()
            self.polling = True
            status = step(loop.pointer, 0 if done or ready or early == POLL_WITHOUT_WAITING else self._poll_mode)
            context.last_poll_ns = now = loop.status[0]
            # Deliver the records; `status` is their count times 2, plus 1 if the loop is alive
            if status > 1:
                self.completions += loop.records(status >> 1)
                self.polling = False
                self._dispatch()
            else:
                self.polling = False
                if status == look:
                    _lifecycle.attach(self)
                elif status < 0:
                    self.check()
                    status = 1
            # Let other threads run: a poll that does not wait releases the GIL for too short a time
            if not (done or ready):
                self._gil_released_at = now
            elif now - self._gil_released_at > GIL_RELEASE_INTERVAL_NS:
                _lifecycle.release_gil()
                self._gil_released_at = now
            # End the turn, in the rare case: see _end_turn(). A turn with records may be the last one, too
            if self._slow_path or not (status & 1 or done or ready):
                alive = status & 1 or done or (status > 1 and self.alive())
                self._end_turn(bool(alive), bool(status > 1 or done or early))

    def _end_turn(self, alive: bool, happened: bool) -> None:
        """Do the rare work at the end of a turn; return to the coroutine that runs the hub if it has to go on.

        alive: something is ready or can happen. happened: this turn has made a delivery.
        """
        # Collect errors, and finish interrupted work
        if self.forked:
            error = Forked("a coroutine of this loop forked the process: the loop cannot go on in the child")
            self.pending_errors.append(error)
        if self.interrupted:
            self.pending_errors.append(KeyboardInterrupt())
            self.interrupted = False
        if self._failed_switches:
            self._recover()
        if self._prestart_factor:
            self._prestart_count = min(self._prestart_count * self._prestart_factor, MAX_PRESTART)
            self._prestart_factor = 0
            while len(self.context.idle_runners) < self._prestart_count:
                prestart_runner(self.context)
        # Decide: see `turn_end`
        self._wakers.step_finished(happened)
        entered = self._turns == self._run_turn and (self.coop_budget > COOP_BUDGET or self.mode == "ready")
        errors, alive, running = bool(self.pending_errors), bool(alive or self.ready), self.run_caller is not None
        end = TurnEnd(errors, alive, happened, self._stop_requested, self.mode, running, entered)
        decision = decide(end)
        if decision is Decision.ADVANCE_CLOCK and not self.clock.advance():
            decision = decide(end, clock=False)
        if decision is Decision.RAISE:
            self._raise_pending()
        elif decision is Decision.RETURN and self.run_caller is not None:
            return_to_caller(self.run_caller, self.alive())  # it continues in run(), which clears `run_caller`
        elif decision is Decision.CHECK_DEADLOCK and not self.alive() and not self._wakers.prepare_wait():
            throw_into_caller(
                self.context.interrupt_target(),
                PendingException(Deadlock(deadlock_message(self.context, self._wakers.explain()))),
            )
        self.update_flags()

    def _raise_pending(self) -> None:
        """Raise the first of `pending_errors` in the coroutine that runs the hub."""
        thrown = PendingException(self.pending_errors[0])
        try:
            del self.pending_errors[0]
            throw_into_caller(self.run_caller or self.context.interrupt_target(), thrown)
        except BaseException:
            if not thrown.is_popped:
                self.pending_errors.insert(0, thrown.pop())
            raise

    def update_flags(self) -> None:
        """Derive `_slow_path` and `_poll_mode` from all rare conditions; end the run of direct switches."""
        gone = self.forked or not self.loop.pointer
        urgent = self.pending_errors or self.interrupted or self._stop_requested or gone or self.mode == "ready"
        watched = self.context.hooks is not None
        special = self._prestart_factor or self._nested_resumes or self._failed_switches or watched
        self._slow_path = bool(urgent or special or self._wakers.wait_ms or self.mode != "loop")
        self._turn_budget -= max(self._promised_switches - self._clock_countdown.__length_hint__(), 0)
        self._clock_countdown, self._promised_switches = iter(()), 0
        block = lib.CO_BLOCK_ALWAYS if self._external_sources else lib.CO_BLOCK
        self._poll_mode = 0 if urgent else self._wakers.wait_ms or block

    def _may_skip_poll(self) -> bool:
        """Return whether coroutines may switch directly before libuv is polled; looks at the time: see `dispatcher`."""
        self._turn_budget -= max(self._promised_switches, 0)
        if self._slow_path or (
            self._turn_budget <= 0 <= self._promised_switches
            and Time.monotonic_ns() - self.context.last_poll_ns >= POLL_INTERVAL_NS
        ):
            return False  # the next coroutine in this turn has to ask, too
        self._clock_countdown, self._promised_switches = iter(_COUNTDOWN), CLOCK_CHECK_EVERY
        return True

    def alive(self) -> bool:
        """Return whether an entry is ready, or libuv or a timer can bring something."""
        return bool(len(self.ready) > self._cancelled_ready or self.clock.pending() or lib.co_alive(self.loop.pointer))

    # -- calls of other code ----------------------------------------------------------------------------------------

    def run(self, mode: str) -> bool:
        """See `system.run`."""
        me = self.adopt_foreign(running())
        if self.run_caller is not None or self._is_resumed_by_hub(me):
            raise AlreadyRunning("run() was called by a coroutine that the loop itself resumed")
        if me.cancelled_scope is not None:
            me.cancelled_scope._refuse_start(me, "the loop")
        _lifecycle.attach(self)
        watch = me.scope._while_running_loop(me) if me.scope is not None else None
        self.run_caller, self.mode = me, mode
        # A budget that no coroutine resumed from now on has: `_end_turn` recognizes the same turn by it
        self._run_turn, self.coop_budget = self._turns, COOP_BUDGET + 1
        self.update_flags()
        try:
            return bool(run_hub_for(me))
        finally:
            self.run_caller, self.mode, self._stop_requested = None, "loop", False
            try:
                self.update_flags()
            finally:
                if watch is not None:
                    watch.stop()

    def _is_resumed_by_hub(self, coroutine: Coroutine) -> bool:
        """Return whether a hub resumed `coroutine`, directly or through others, and waits for it to come back."""
        link: Any = coroutine.resumer
        while link is not None and link.__class__ is not ForeignEntry:
            resumer = getattr(link, "coroutine", None)
            if resumer is None:
                return link.__class__ is Runner
            link = resumer.resumer
        return False

    def adopt_foreign(self, coroutine: Coroutine) -> Coroutine:
        """Return the running `coroutine`, or, for one of another loop, a representative, which runs this loop.

        Raises `ForeignThread`.
        """
        if coroutine.context is self.context:
            return coroutine
        if coroutine.context.thread != self.context.thread:
            raise foreign_thread_error("the event loop", self.context.thread)
        foreign = foreign_coroutine(coroutine._greenlet, self.context, coroutine.name)
        foreign.scope, foreign.cancelled_scope = coroutine.scope, coroutine.cancelled_scope
        return foreign

    def halt(self) -> None:
        """See `system.halt`."""
        if self.run_caller is None:
            raise NotRunning("halt() ends system.run(), which is not running")
        self._stop_requested = True
        self.update_flags()

    def _collect_result(self, coroutine: Coroutine) -> None:
        """Take the result or error of a coroutine that ended and has the hub as its resumer."""
        self.context.last_finished = coroutine  # until its error is taken: for `_recover_step`
        coroutine.value = None
        error = coroutine._error
        if error is None:
            self.context.last_finished = None
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            self.pending_errors += (error,)  # no call: see `dispatcher`
            coroutine._error = self.context.last_finished = None
            self.update_flags()
        else:
            self.report(coroutine, error)  # clears both

    def report(self, coroutine: Coroutine | None, error: BaseException) -> None:
        """Pass an exception without another recipient to the excepthook; raise its KeyboardInterrupt in the caller."""
        try:
            self.context.report(coroutine, error)
        except (KeyboardInterrupt, SystemExit) as leave:
            self.raise_in_caller(leave)

    def raise_in_caller(self, error: BaseException) -> None:
        """Raise `error` at the end of this turn in the coroutine that runs the hub."""
        self.pending_errors.append(error)
        self.update_flags()

    def enqueue(self, entry: Any) -> None:
        """Add a `ReadyItem` to the ready queue, at any moment, also just before libuv waits."""
        self.ready.append(entry)
        if self.polling:
            self.interrupt_poll()

    def interrupt_poll(self) -> None:
        """End the wait of libuv, or prevent it; at any moment."""
        lib.co_wake(self.loop.pointer)

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the hub call `function(*arguments)` in its next turn; safe from any OS thread.

        The function runs in the hub: it cannot wait, but may resume coroutines. A wait that only such a call can end is
        no deadlock while another thread runs: see `wakers`. Raises `Closed`, or `Forked` in the child of a fork.
        """
        call = (function, arguments)
        with self.lock:
            self.check()
            self._threadsafe_calls.append(call)
            lib.co_wake(self.loop.pointer)

    @contextmanager
    def external_source(self) -> Iterator[None]:
        """Count the loop as alive during the block: another thread is going to use `call_threadsafe`."""
        self._external_sources += 1
        self.update_flags()
        try:
            yield
        finally:
            self._external_sources -= 1
            self.update_flags()

    def _request_prestart(self, times: int) -> None:
        """Start runners at the end of this turn, `times` as many as the last time: see `new_runner`."""
        self._prestart_factor = max(self._prestart_factor, times)
        self.update_flags()

    def is_running(self) -> bool:
        """Return whether a coroutine runs the hub."""
        return self.run_caller is not None or bool(self.context.foreign_waiters)

    # -- the end ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `Forked` or `Closed` if the loop can no longer be used."""
        if self.forked:
            raise Forked("the event loop was made before the fork: it belongs to the parent process")
        if not self.loop.pointer:
            raise Closed("the event loop is closed")

    def run_pending(self) -> None:
        """Wait until the hub has run everything that is ready now; for the code that ends the loop."""
        me, what = self.adopt_foreign(running()), Sentinel("the end of the loop")
        entry = Wakeup(me, what)
        self.ready.append(entry)
        try:
            with suppress(Resumed):  # an explicit resume ends the wait, too
                park(me, what)
        finally:
            if entry in self.ready:  # a signal handler has raised
                self.ready.remove(entry)

    def waiting(self) -> list[Coroutine]:
        """Return the coroutines that wait for something of this hub."""
        waiters = dict.fromkeys(each.waiter for each in self._waitables())
        return [waiter for waiter in waiters if waiter is not None and waiter is not self.context.main]

    def _waitables(self) -> tuple[CompletionHandler | ReadyItem, ...]:
        return (*self.handlers, *self.ready)

    def close(self) -> None:
        """Close every handle and free the loop. Coroutines that still wait are never resumed."""
        for each in self._waitables():
            each.loop_closed()
        with self.lock:
            if self.loop.pointer and not self.forked:
                self.loop.close(self.handlers[1:])
        self._slow_path = True
        self._clock_countdown = iter(())
        _lifecycle.detach(self)
        self.context.detach_hub()
        self.ready.clear()
        self.completions.clear()
        self._threadsafe_calls.clear()
        self.clear_slots()

    def _discard(self) -> None:
        """Free a hub that is not registered in its loop context yet."""
        _lifecycle.detach(self)
        self.loop.close()

    def after_fork_in_child(self) -> None:
        """Stop using the loop in the child of a fork: it belongs to the parent. See `_lifecycle`, fork."""
        if self.loop.pointer:
            lib.co_loop_forked(self.loop.pointer)
        self.lock = _lifecycle.RLock()
        self.forked = True
        self.fork_backup = [*self.ready], [*self.completions]  # the deliveries that were still to make
        self.ready.clear()
        self.completions.clear()
        self.update_flags()


def current_hub() -> Hub:
    """Return the hub of the calling thread, made now if there is none yet."""
    context = current_context()
    hub: Hub = context.hub or hub_for(context)
    return hub


def hub_for(context: LoopContext) -> Hub:
    """Return the hub of a loop context, made now if there is none yet.

    A signal handler or finalizer that runs meanwhile may make the hub first: ours is discarded then.
    Raises MemoryError, `UVError`, or `Closed` if the thread is ending.
    """
    created = Hub(context) if context.hub is None else None
    if context.hub is None:  # no call from here to the next line: no signal handler runs in between
        context.hub = created
        if context.threadsafe_calls:
            context.hub.call_threadsafe(context.run_threadsafe_calls)
    elif created is not None:
        created._discard()
    hub: Hub = context.hub
    return hub


LoopContext.start_hub = staticmethod(lambda context: hub_for(context)._main())
