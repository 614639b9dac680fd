"""The hub: one per OS thread, a greenlet that turns libuv's loop and resumes the coroutines that waited.

A turn: resume what is ready (first in, first out, each coroutine once), let libuv poll in one call into C, then
drain the records that C wrote meanwhile. Nothing of libuv is on the stack while coroutines run.

Rule 1: what a turn still has to do is kept in attributes, which no exception of a signal handler empties: see
`dispatcher`.
Rule 2: the hub never waits. When nothing can wake the main program, or a coroutine raised KeyboardInterrupt or
SystemExit, it raises in whoever drives it.
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
from .wakers import ExternalWakers

__all__ = ["Hub", "current_hub", "hub_for"]

# The ready queue; where it appends decides on the order, and nothing else does
ReadyQueue: type[deque[ReadyItem]] = deque
READY_BUDGET = 1000  # coroutines resumed from the ready queue before libuv is polled again
POLL_INTERVAL_NS = 50_000  # nanoseconds after which coroutines that hand over to each other let libuv be polled
GIL_RELEASE_INTERVAL_NS = 5_000_000  # nanoseconds after which other threads get a chance; see _lifecycle.release_gil
MAX_PRESTART = 128  # runners started at once, at most, for coroutines to come
CLOCK_CHECK_EVERY = 16  # times that they do so between two looks at the time
_COUNTDOWN = (True,) * (CLOCK_CHECK_EVERY - 1)  # `any` takes one: an iterator counts faster than integers do
# What `Hub.before_poll` returns if libuv is not to wait in this turn; 1: it has done something; 0: nothing
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
        """See `hub_for`. The caller makes it known to its loop context."""
        if context.shutting_down:
            raise Closed("the thread is ending, its event loop has ended")
        self.context = context
        self.loop = NativeLoop()
        self.clock = Clock(self.loop)
        super().__init__(ThreadsafeCalls(self), context.hub_greenlet, ReadyQueue())
        self.fork_backup: tuple[list[ReadyItem], list[CompletionRecord]] = ([], [])  # see after_fork_in_child
        self._threadsafe_calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.lock = _lifecycle.RLock()  # held while another thread uses, or we free, the loop's memory
        self.pending_errors: list[BaseException] = []
        self.before_poll: Callable[[], int] | None = None  # see POLL_WITHOUT_WAITING
        self.public_loop: Callable[[], Any] = lambda: None
        self.mode = "loop"
        self._run_turn = 0
        self._stop_requested = self.interrupted = self.forked = False
        self._poll_mode: int = lib.CO_BLOCK
        self._prestart_count = 1  # runners; see new_runner
        self._prestart_factor = 0
        self._gil_released_at = 0  # nanoseconds
        self._nested_resumes = 0  # of functions that run in the hub
        self.polling = False  # inside co_step, or between it and taking its records
        self._needs_recovery = False  # an exception has interrupted something; see _recover_step
        self._turns = self._external_sources = 0
        self._promised_switches = -1  # of the last `_may_skip_poll`; -1: none
        self._wakers = ExternalWakers(self)
        self._clock_countdown: Any = iter(())  # an item a direct switch
        self._turn_budget = 0  # ready items left; about
        try:
            _lifecycle.attach(self)
        except BaseException:
            self._discard()
            raise

    # -- the loop ---------------------------------------------------------------------------------------------------

    def _main(self) -> None:
        """Turn for ever, as long as somebody drives; the body of the hub's greenlet.

        If a signal handler raises where the loop goes round, which no `try` covers, the greenlet begins anew here.
        """
        self.context.running_hub = self
        self._needs_recovery = True
        pending = self.context.pending_ready
        while pending:
            self.ready += (pending[0],)  # and not a call: see Rule 1 of `dispatcher`
            del pending[0]
        for one in self.context.foreign_waiters:
            if one.pending_wakeup is not None:  # while there was no hub
                self.context.call_soon(wake_deferred, one, one.pending_wakeup)
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
        """Put in order what an exception has interrupted; the driver gets that. May be repeated."""
        if self.polling:
            self.completions += self.loop.records(self.loop.count())
            self.polling = False
        self._recover()
        if self.context.last_finished is not None:
            self._collect_result(self.context.last_finished)
        self.update_flags()
        self._needs_recovery = False

    def _run_turns(self) -> None:
        """Run turns. `_slow_path` reports everything that is rare: the common turn looks at nothing else."""
        ready, loop, context = self.ready, self.loop, self.context
        step, look = lib.co_step, lib.CO_LOOK
        while True:
            self._turns += 1
            if context.hooks is not None:
                context.call_hook(context.hooks.turn, self._turns)
                self.update_flags()  # so that coroutines come back here, instead of entering each other
            self._promised_switches = -1
            done = len(ready)
            self._turn_budget = done if done < READY_BUDGET else READY_BUDGET
            while self._turn_budget > 0 and ready:  # coroutines that hand over to each other take entries, too
                self._turn_budget -= 1
                entry = ready[0]
                if not entry.run():
                    self._remove_ready(entry)
                entry = self.switching_to = None  # type: ignore[assignment]  # it keeps nobody alive
            early = 0
            if self.before_poll is not None and (done or ready or self._external_sources or self.alive()):
                early = self.before_poll()
            self.polling = True
            status = step(loop.pointer, 0 if done or ready or early == POLL_WITHOUT_WAITING else self._poll_mode)
            context.last_poll_ns = now = loop.status[0]
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
            if not (done or ready):
                self._gil_released_at = now
            elif now - self._gil_released_at > GIL_RELEASE_INTERVAL_NS:
                _lifecycle.release_gil()
                self._gil_released_at = now
            # A turn that brought records, too, may be the last
            if self._slow_path or not (status & 1 or done or ready):
                alive = status & 1 or done or (status > 1 and self.alive())
                self._end_turn(bool(alive), bool(status > 1 or done or early))

    def _end_turn(self, alive: bool, happened: bool) -> None:
        """See to whatever is not an everyday turn: leave for the driver if this turn was the last one for it."""
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
        alive = bool(alive or self.ready)
        self._wakers.step_finished(happened)
        if self.pending_errors:
            self._raise_pending()
        elif not alive and not self._stop_requested and self.mode != "ready" and self.clock.advance():
            pass
        elif self.run_caller is not None:
            self._return_from_run(alive, happened)
        elif not alive and not self.alive() and not self._wakers.prepare_wait():
            throw_into_caller(
                self.context.interrupt_target(),
                PendingException(Deadlock(deadlock_message(self.context, self._wakers.explain()))),
            )
        self.update_flags()

    def _raise_pending(self) -> None:
        """Raise the first of `pending_errors` in the driver."""
        thrown = PendingException(self.pending_errors[0])
        try:
            del self.pending_errors[0]
            throw_into_caller(self.run_caller or self.context.interrupt_target(), thrown)
        except BaseException:
            if not thrown.is_popped:
                self.pending_errors.insert(0, thrown.pop())  # type: ignore[arg-type]  # no class
            raise

    def update_flags(self) -> None:
        """Derive `_slow_path` and `_poll_mode` from everything that is out of the ordinary."""
        gone = self.forked or not self.loop.pointer
        urgent = self.pending_errors or self.interrupted or self._stop_requested or gone or self.mode == "ready"
        watched = self.context.hooks is not None
        special = self._prestart_factor or self._nested_resumes or self._failed_switches or watched
        self._slow_path = bool(urgent or special or self._wakers.wait_ms or self.mode != "loop")
        self._turn_budget -= max(self._promised_switches - self._clock_countdown.__length_hint__(), 0)
        self._clock_countdown, self._promised_switches = iter(()), 0
        self._poll_mode = (
            0 if urgent else self._wakers.wait_ms or (lib.CO_BLOCK_ALWAYS if self._external_sources else lib.CO_BLOCK)
        )

    def _return_from_run(self, alive: bool, happened: bool) -> None:
        """Let run() return if it asked for no more."""
        if (
            self._turns == self._run_turn
            and (self.coop_budget > COOP_BUDGET or self.mode == "ready")
            and not self._stop_requested
        ):
            return  # the caller came in the middle of this turn: when all, or some, that it had to do was done
        if alive and not self._stop_requested and self.mode != "ready" and not (self.mode == "step" and happened):
            return
        assert self.run_caller is not None
        return_to_caller(self.run_caller, self.alive())  # it goes on in run(), which has us forget it

    def _may_skip_poll(self) -> bool:
        """Return whether coroutines may go on among themselves before libuv is polled; looks at the time."""
        self._turn_budget -= max(self._promised_switches, 0)
        if self._slow_path or (
            self._turn_budget <= 0 <= self._promised_switches
            and Time.monotonic_ns() - self.context.last_poll_ns >= POLL_INTERVAL_NS
        ):
            return False  # whoever comes next in this turn has to ask, too
        self._clock_countdown, self._promised_switches = iter(_COUNTDOWN), CLOCK_CHECK_EVERY
        return True

    def alive(self) -> bool:
        """Return whether something is ready, or can happen by itself."""
        return bool(len(self.ready) > self._cancelled_ready or self.clock.pending() or lib.co_alive(self.loop.pointer))

    # -- what others ask of it --------------------------------------------------------------------------------------

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
        # More than anybody has who is resumed from now on
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
            resumed = getattr(link, "coroutine", None)
            if resumed is None:
                return link.__class__ is Runner
            link = resumed.resumer
        return False

    def adopt_foreign(self, coroutine: Coroutine) -> Coroutine:
        """Return the running `coroutine`, or what stands for one of another loop, which drives this loop as it waits.

        Raises `ForeignThread`.
        """
        if coroutine.context is self.context:
            return coroutine
        if coroutine.context.thread != self.context.thread:
            raise foreign_thread_error("the event loop", self.context.thread)
        made = foreign_coroutine(coroutine._greenlet, self.context, coroutine.name)
        made.scope, made.cancelled_scope = coroutine.scope, coroutine.cancelled_scope
        return made

    def halt(self) -> None:
        """See `system.halt`."""
        if self.run_caller is None:
            raise NotRunning("halt() ends system.run(), and that is not running")
        self._stop_requested = True
        self.update_flags()

    def _collect_result(self, coroutine: Coroutine) -> None:
        """Take the outcome of a coroutine that ended after the hub had resumed it."""
        self.context.last_finished = coroutine  # until its outcome is taken: for `_recover_step`
        coroutine.value = None
        error = coroutine._error
        if error is None:
            self.context.last_finished = None
        elif isinstance(error, KeyboardInterrupt | SystemExit):
            self.pending_errors += (error,)  # and not a call
            coroutine._error = self.context.last_finished = None
            self.update_flags()
        else:
            self.report(coroutine, error)  # it takes the error

    def report(self, coroutine: Coroutine | None, error: BaseException) -> None:
        """Hand an exception that nobody waits for to the excepthook; if that wants to leave, so does the hub."""
        try:
            self.context.report(coroutine, error)
        except (KeyboardInterrupt, SystemExit) as leave:
            self.raise_in_caller(leave)

    def raise_in_caller(self, error: BaseException) -> None:
        """Raise `error` in the driver at the end of this turn."""
        self.pending_errors.append(error)
        self.update_flags()

    def enqueue(self, entry: Any) -> None:
        """Add an `ReadyItem` to the ready queue, at any moment, also just before libuv waits."""
        self.ready.append(entry)
        if self.polling:
            self.interrupt_poll()

    def interrupt_poll(self) -> None:
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
            self._threadsafe_calls.append(call)
            lib.co_wake(self.loop.pointer)

    @contextmanager
    def external_source(self) -> Iterator[None]:
        """Within the block the loop counts as alive: another thread is going to use `call_threadsafe`."""
        self._external_sources += 1
        self.update_flags()
        try:
            yield
        finally:
            self._external_sources -= 1
            self.update_flags()

    def _request_prestart(self, times: int) -> None:
        """Begin runners at the end of this turn, so many times as many as the last time."""
        self._prestart_factor = max(self._prestart_factor, times)
        self.update_flags()

    def is_running(self) -> bool:
        """Return whether somebody waits in the loop, so that it turns."""
        return self.run_caller is not None or bool(self.context.foreign_waiters)

    # -- the end ----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise `Forked` or `Closed` if the loop cannot be used any more."""
        if self.forked:
            raise Forked("the event loop was made before the fork: it belongs to the parent process")
        if not self.loop.pointer:
            raise Closed("the event loop is closed")

    def run_pending(self) -> None:
        """Have the hub go on until it has done what is ready now; for who ends it."""
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
        found = dict.fromkeys(one.waiter for one in self._waitables())
        return [one for one in found if one is not None and one is not self.context.main]

    def _waitables(self) -> tuple[CompletionHandler | ReadyItem, ...]:
        return (*self.handlers, *self.ready)

    def close(self) -> None:
        """Close every handle and free the loop. Nobody is resumed; whoever still waits never will be."""
        for one in self._waitables():
            one.loop_closed()
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
        """Free a hub that its loop context does not know yet."""
        _lifecycle.detach(self)
        self.loop.close()

    def after_fork_in_child(self) -> None:
        """Touch nothing of the loop any more: this is the child of a fork, and the loop is its parent's."""
        if self.loop.pointer:
            lib.co_loop_forked(self.loop.pointer)
        self.lock = _lifecycle.RLock()
        self.forked = True
        self.fork_backup = [*self.ready], [*self.completions]  # what this turn still had to do; see _lifecycle.revive
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

    A signal handler, or a finalizer, may wait or wake the caller while it is made, and so need one first: then it makes
    the hub of the loop context, and ours is given up.
    Raises MemoryError, `UVError`, or `Closed` if the thread is ending.
    """
    made = Hub(context) if context.hub is None else None
    if context.hub is None:  # no call from here to the next line: nothing comes between
        context.hub = made
        if context.threadsafe_calls:
            context.hub.call_threadsafe(context.run_threadsafe_calls)
    elif made is not None:
        made._discard()
    hub: Hub = context.hub
    return hub


LoopContext.start_hub = staticmethod(lambda where: hub_for(where)._main())
