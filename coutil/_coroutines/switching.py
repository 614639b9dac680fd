"""Switching between coroutines. This file and `runner`, below it, are the only ones that switch greenlets.

Rule 1: control returns to the resumer. `resumer` of a coroutine is the greenlet it goes back to; it is None exactly
while the coroutine is suspended.
Rule 2: greenlets are recycled: see `runner`.
Rule 3: a suspended runner does not refer to its coroutine, and neither does a frame of ours, unless the hub will wake
it. So a coroutine without references is collected, and its `finally` blocks run.
Rule 4: if a block around the coroutine was cancelled (`cancelled_scope`), that block refuses the wait before it
suspends, by raising. (Not each time; otherwise it has arranged that the wait is cut in the next turn of the loop.)
Rule 5: every wait has the contract of `park`. `park` is for waits that the hub ends, and keeps the coroutine alive;
`park_unowned` is for waits that another coroutine ends. The others are these two with a shorter way (direct switch).

Pending wake-up. `wake_now` may be called, by a signal handler or a finalizer, after the waiter has registered and
before it has suspended: it cannot be entered then. So `wake_now` leaves the token in `pending_wakeup`. The waiter looks
there in its last step before the switch (`take_pending_wakeup`) and does not suspend. If it has passed that step, but
its greenlet is still current, the hub delivers the token (`wake_deferred`). If the waiter enters the hub itself, its
`ForeignEntry` looks again, and answers `ALREADY_WOKEN`. The first of them clears the token: it has its effect once.

Direct switch: see the head of `_kernel.dispatcher`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import greenlet
from greenlet import getcurrent

from .._interpreter import Time
from .._switch_guard import collector
from .books import Sentinel, foreign_thread_error
from .outcomes import PendingException, Resumed, unwrap, wakeup_exception
from .runner import FINISHED, Runner, check_switchable, current
from .states import AWAIT_HANDLE, FREED, RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .coroutine import Coroutine

HUB_WAKEUP: Any = Sentinel("HUB_WAKEUP")  # the hub resumes with it; private to this file
_ZERO: Any = 0  # small integers are single objects: the common call is recognized by identity
ALREADY_WOKEN: Any = Sentinel("ALREADY_WOKEN")  # returned instead of running the hub: the wake-up has already arrived


class ForeignEntry:
    """The `resumer` of a foreign greenlet's coroutine: enters the hub, and registers the waiter there for errors."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine) -> None:
        self.coroutine = coroutine

    def switch(self, value: object) -> object:
        """Run the hub until it, or an explicit resume, comes back to the coroutine; return the value it brings."""
        # Register the waiter, and have deadlines outside of it noticed
        context, scope = self.coroutine.context, self.coroutine.scope
        context.last_poll_ns = Time.monotonic_ns()
        foreign_waiters = context.foreign_waiters
        watch = None
        try:
            if scope is not None:
                watch = scope._watch_from(self.coroutine)
            foreign_waiters.append(self.coroutine)
            if self.coroutine.pending_wakeup is not None and self.coroutine.waiting_on is None:  # by a signal handler
                return ALREADY_WOKEN
            # Run the hub
            if not context.hub_greenlet:
                context.prepare_hub_greenlet()
            return context.hub_greenlet.switch(value)
        finally:
            # Undo the registration, whatever came
            if self.coroutine.resumer is None:  # not resumed: a greenlet that ended too early has gone to its parent
                self.coroutine.resumer = self
            try:
                if self.coroutine in foreign_waiters:
                    foreign_waiters.remove(self.coroutine)
            finally:
                if watch is not None:
                    watch.stop()


def switch_to(coroutine: Coroutine, value: Any) -> object:
    """Switch to a coroutine whose `resumer` is the caller; return the value it passes, or its result if it has ended.

    Raises the error that it ended with, or `ForeignThread`.
    """
    context = coroutine.context
    hooks = context.hooks
    if hooks is not None:
        context.call_hook(hooks.resumed, coroutine)
    try:
        if coroutine.resumer is context.hub_greenlet and context.hub is not None:
            answer = _switch_from_hub(context.hub, coroutine, value)
        else:
            answer = coroutine._greenlet.switch(value)
    except greenlet.error:
        coroutine.resumer = None
        raise foreign_thread_error(f"{coroutine!r}", context.thread) from None
    if hooks is not None:
        context.call_hook(hooks.parked, coroutine)
    return coroutine._result() if answer is FINISHED else answer


def _switch_from_hub(hub: Any, coroutine: Coroutine, value: Any) -> object:
    """Do the switch of `switch_to` for a caller in the hub: while it waits for the answer there is no direct switch."""
    before = hub._nested_resumes
    try:
        hub._nested_resumes = before + 1
        hub.update_flags()
        return coroutine._greenlet.switch(value)
    finally:
        hub._nested_resumes = before
        hub.update_flags()


def park(coroutine: Coroutine, what: object) -> None:
    """Suspend the running `coroutine`, which the hub refers to, until the hub wakes it.

    The contract of every wait:
    - Before: the caller has registered the coroutine with the source of the wake-up (slot, ready queue, registry).
      what: the reason of the wait; reports show its `str`.
    - Wake-up: only the hub, once, by `wake`, when the source has delivered. The source takes the registration back
      before, and stores the result in the caller's object: a wake-up carries no value. Then `park` returns.
    - Everything else raises: `Resumed` an explicit resume, the exception itself a `throw`, a cancellation, a refusal of
      rule 4, `NotYieldable`, `Deadlock`, or a signal handler. In each case, and only then, the caller undoes the
      registration, at once and in the waiting coroutine. The undo must not wait, must work at the recursion limit, and
      must allow that the source has delivered in between; then the exception passes on. No reference is left.
    """
    if collector.runs:
        check_switchable()
    if coroutine.cancelled_scope is not None:
        coroutine.cancelled_scope._refuse(coroutine, what)
    coroutine.waiting_on = what
    coroutine.parked_at = coroutine.context.last_poll_ns
    resumer = coroutine.resumer
    coroutine.resumer = None
    try:
        woken = resumer.switch(None)
    except BaseException:
        if coroutine.resumer is None:  # it has not suspended: raised at the recursion limit or by a signal handler
            coroutine.resumer = resumer
        raise
    if woken is not HUB_WAKEUP:
        del resumer  # a traceback that the program keeps refers to this frame
        raise wakeup_exception(woken)


def switch_directly(coroutine: Coroutine, what: object, hub: Any) -> None:
    """Do what `park` does, for a coroutine that the hub resumed; enter the next runnable coroutine instead of the hub.

    Contract: see `park`. From the claim of that coroutine to the switch the interpreter does not look for signals.
    """
    target: Coroutine | None = hub._next_runnable(coroutine)
    if target is None:
        park(coroutine, what)
        return
    if target is coroutine:  # its own wake-up has already arrived
        return
    coroutine.waiting_on = what
    coroutine.parked_at = coroutine.context.last_poll_ns
    coroutine.resumer = None
    try:
        woken = target._greenlet.switch(HUB_WAKEUP)
    except BaseException:
        if coroutine.resumer is None:
            _switch_failed(coroutine, target, hub)
        raise
    if woken is not HUB_WAKEUP:
        del target  # as in park()
        raise wakeup_exception(woken)


def _switch_failed(coroutine: Coroutine, target: Coroutine, hub: Any) -> None:
    """Leave `target` to the hub after a switch that failed at the recursion limit. Calls nothing."""
    coroutine.resumer = coroutine.hub_greenlet
    hub._failed_switches += (target,)
    hub._slow_path = True


class SuspendBackend:
    """The parts of `suspend` that need the loop; the layers above set them."""

    operation: Callable[[], Any]  # returns the operation of the running coroutine, a new one if there is none
    suspend: Callable[..., Any]  # does everything that `suspend` does, through the hub


def suspend(seconds: float | None = 0, blocking: bool = False) -> object:  # noqa: PLR0912  # calls would take longer
    """Wait until `seconds` have passed; return True, or the value of an explicit resume.

    seconds: None, 0 or less: only let others run that are ready; `math.inf`: for ever. They count from the call,
    whatever was computed before, and the wait is never shorter.
    blocking: stop the whole thread instead of the calling coroutine; then no other coroutine of it runs.
    Suspends unless blocking. Raises TypeError, ValueError (NaN), `NotYieldable`. Source: uv_timer_start.
    """
    # Only the common call is handled here: by direct switch (head of `_kernel.dispatcher`). The rest goes by the hub
    if seconds is not _ZERO or blocking is not False:
        return SuspendBackend.suspend(seconds, blocking)
    try:
        me = current().coroutine
        operation = me.operation
    except AttributeError:  # a foreign greenlet, or the hub
        operation = None
    if operation is None:
        operation = SuspendBackend.operation()
        me = operation.coroutine
    # Conditions: the hub resumed the caller, its operation is free, nothing refuses the wait, libuv need not be polled
    hub = operation.hub
    if operation.state is not FREED or me.resumer is not hub.greenlet:
        return SuspendBackend.suspend()
    if me.cancelled_scope is not None or collector.runs:
        return SuspendBackend.suspend()
    for _ in hub._clock_countdown:  # takes one; faster than a call of `any`
        break
    else:
        if not hub._may_skip_poll():
            return SuspendBackend.suspend()
    if not hub.ready:
        return True
    # Enter the queue at its end, take out its first entry, and switch to its coroutine
    try:
        hub.ready.append(operation)  # from here on nothing looks for signals until the switch
        operation.state = AWAIT_HANDLE  # 2
        for first in hub._ready_consumer:  # noqa: B007  # takes it out; unlike a call, it does not look for signals
            break
        if first.cancelled_entries:  # the hub has to run it
            hub.ready.appendleft(first)
            return operation._park_queued()
        me.waiting_on, me.parked_at, me.resumer = "suspend", 0, None  # in this order; it is about to go on
        target = first.coroutine  # perhaps the running one, where the order of the queue is another one
        target.resumer = target.hub_greenlet
        first.state = RELEASED  # 6, 9, 8, as in run()
        woken = target._greenlet.switch(HUB_WAKEUP)
        if woken is not HUB_WAKEUP:
            operation._cancel_ready()
    except BaseException:
        operation._cancel_ready()
        if me.resumer is None:
            _switch_failed(me, target, hub)
        raise
    del first, target  # as in park()
    return woken is HUB_WAKEUP or unwrap(woken)


def yield_(value: object) -> object:
    """Suspend the running coroutine until an explicit resume; pass `value` to the resumer. See rule 3."""
    me: Any = getcurrent()
    me.coroutine.waiting_on = None
    del me
    return park_unowned(value)


def park_unowned(value: object = None) -> object:
    """Suspend the running coroutine, which has set `waiting_on` itself; return the token of `wake_now`.

    Unlike `park`, this keeps no reference to the coroutine: the source of the wake-up refers to it. See rule 3. The
    value of an explicit resume is returned, too: the caller knows its tokens. Everything else is as in `park`.
    value: passed to the resumer. The main program, which has none, runs the hub; without a hub it gets `Deadlock`.
    """
    # Refuse the wait, or end it at once by a wake-up that has already arrived
    me: Any = getcurrent()
    coroutine: Coroutine = me.coroutine
    if collector.runs:
        check_switchable()
    if coroutine.cancelled_scope is not None and coroutine.pending_wakeup is None:
        coroutine.cancelled_scope._refuse(coroutine, coroutine.waiting_on)
    coroutine.parked_at = coroutine.context.last_poll_ns
    resumer, operation = coroutine.resumer, coroutine.operation
    coroutine.resumer = None  # from here on `wake_now` leaves the token to the hub
    if coroutine.pending_wakeup is not None:
        coroutine.resumer = resumer
        return take_pending_wakeup(coroutine)
    # Drop every reference to the coroutine: rule 3
    if me.__class__ is Runner:
        me.coroutine = None
        if operation is not None:
            operation.coroutine = None  # a cycle, which only the collector would free
    del coroutine, me
    # Suspend; the resumer has given the runner its coroutine back when this returns
    try:
        woken = resumer.switch(value)
        if operation is not None:
            operation.coroutine = current().coroutine
    except BaseException:
        if resumer.__class__ is ForeignEntry and resumer.coroutine.resumer is None:  # as in park()
            resumer.coroutine.resumer = resumer
        if operation is not None:
            operation.coroutine = getattr(getcurrent(), "coroutine", None)  # it may be collected
        raise
    if woken is ALREADY_WOKEN:
        return take_pending_wakeup(current().coroutine)
    del resumer  # as in park()
    return unwrap(woken) if woken.__class__ is PendingException else woken


def park_registered(waiter: Any, waits: dict[Any, Any], running: Callable[[], Coroutine]) -> None:
    """Register the running coroutine in `waits`; suspend it as `park_unowned` does, until the hub wakes it.

    Contract: see `park`. Returns at once if `waiter` was already granted.
    running: returns the coroutine; called in a foreign greenlet.
    Switches directly where possible: see the head of `_kernel.dispatcher`.
    """
    # Register
    me: Any = getcurrent()
    try:
        coroutine = me.coroutine
        context = coroutine.context
    except AttributeError:
        coroutine = running()
        context = coroutine.context
    coroutine.pending_wakeup, coroutine.waiting_on, waiter.context = None, waiter, context
    waits[waiter] = [waiter, coroutine, None]  # the form of an entry: see coutil.event
    if waiter.granted is not None:  # by a signal handler or a finalizer, before it was registered
        waits.pop(waiter, None)
        coroutine.waiting_on = None
        return
    # Claim a coroutine to switch to, under the conditions of `suspend`
    hub, target = context.hub, None
    was_entered = hub is not None and coroutine.resumer is hub.greenlet  # by the hub
    if was_entered and coroutine.cancelled_scope is None and not collector.runs:
        ready = hub.ready
        for _ in hub._clock_countdown if ready else ():
            target = ready[0].claim_runnable()
            break
        else:
            if ready and hub._may_skip_poll():
                target = ready[0].claim_runnable()
    if target is None:  # it has to go through the hub
        del me, coroutine
        woken = park_unowned()
        if woken is not HUB_WAKEUP:
            raise Resumed(woken)
        return
    # From here to the switch nothing is called: no signal handler comes. No reference stays here: see park_unowned().
    operation, runner = coroutine.operation, target._greenlet
    coroutine.parked_at = context.last_poll_ns
    coroutine.resumer = me.coroutine = None
    if operation is not None:
        operation.coroutine = None
    del coroutine, me, target
    try:
        woken = runner.switch(HUB_WAKEUP)
        if woken is not HUB_WAKEUP:  # else `claim_runnable` has given `operation` its coroutine
            raise wakeup_exception(woken)
    except BaseException:
        if operation is not None:
            operation.coroutine = getattr(getcurrent(), "coroutine", None)  # as in park_unowned()
        raise


def take_pending_wakeup(coroutine: Coroutine) -> object:
    """Return the token of a wake-up that came before the running coroutine had suspended; clear it."""
    token, coroutine.pending_wakeup = coroutine.pending_wakeup, None
    if coroutine.resumer is None:  # it was about to suspend
        coroutine.resumer = coroutine.hub_greenlet
    return token


def wake_now(coroutine: Coroutine, token: object) -> None:
    """End the `park_unowned` of `coroutine`, which returns the private `token`.

    Works at any moment; the head of this file says what happens if the coroutine has not suspended yet. An exception
    that escapes from it goes to the excepthook; KeyboardInterrupt and SystemExit are raised here, and so is the
    exception of a signal handler that runs here. If `waiting_on` is unchanged then, the call may be repeated; if not,
    the hub enters the coroutine.
    """
    # It has not suspended yet
    me = getcurrent()
    if coroutine.resumer is not None or coroutine._greenlet is me:
        if coroutine.resumer is None:  # it has passed the last look at `pending_wakeup`
            coroutine.context.call_soon(wake_deferred, coroutine, token)
        coroutine.pending_wakeup = token
        coroutine.waiting_on = None
        return
    # Enter it
    coroutine.waiting_on = None  # from here on nothing looks for signals: see _kernel/dispatcher.py
    coroutine.resumer = me
    runner = coroutine._greenlet
    runner.coroutine = coroutine
    try:
        if coroutine.context.hooks is not None or me is coroutine.context.hub_greenlet:
            switch_to(coroutine, token)
        elif runner.switch(token) is FINISHED:
            coroutine._result()
    except (KeyboardInterrupt, SystemExit):
        _recover_wakeup(coroutine, token, me)
        raise
    except BaseException as error:  # reported
        if _recover_wakeup(coroutine, token, me):
            raise
        coroutine.context.report(coroutine, error)


def _recover_wakeup(coroutine: Coroutine, token: object, me: Any) -> bool:
    """Repair the state after an exception in `wake_now`; return whether the exception is not the coroutine's own."""
    if coroutine.resumer is me and coroutine._greenlet is not None:  # it was not entered
        coroutine._greenlet.coroutine = None
        coroutine.pending_wakeup, coroutine.resumer = token, None
        coroutine.context.call_soon(wake_deferred, coroutine, token)
        return True
    return coroutine._recover()


def wake_deferred(coroutine: Coroutine, token: object) -> None:
    """Do from the hub what `wake_now` could not do, unless the coroutine has continued since."""
    if coroutine.pending_wakeup is token and coroutine.resumer is None:
        coroutine.pending_wakeup = None
        wake_now(coroutine, token)


class InterruptedSwitch:
    """In the ready queue: a coroutine that the hub was about to enter when a signal handler raised.

    It is the coroutine's `resumer` until then (the caller sets that), so no other code can resume it. If the exception
    is raised in that coroutine, the entry is void.
    """

    __slots__ = ("coroutine", "handler")
    waiter = None
    cancelled_entries = 1

    def __init__(self, coroutine: Coroutine, handler: Any) -> None:
        """handler: the owner of the record that wakes the coroutine."""
        self.coroutine, self.handler = coroutine, handler

    def run(self) -> bool:
        """Enter the coroutine; then finish the delivery to the handler."""
        coroutine = self.coroutine
        if coroutine.resumer is self:
            hub = coroutine.context.hub
            coroutine.resumer = coroutine.hub_greenlet
            hub.switching_to = coroutine
            hub.current_handler = self.handler
            del hub.ready[0]
            wake(coroutine)
            self.handler.after_completion()
            return True
        self.handler.after_completion()
        return False

    def loop_closed(self) -> None:
        """Do nothing: the coroutine is not resumed."""


def wake(coroutine: Coroutine) -> None:
    """Resume a parked `coroutine` from the hub: its `park` returns.

    The caller has set its `resumer` to its `hub_greenlet`, as its first step: from then on no other code can resume the
    coroutine, not even a signal handler or a finalizer that runs before it is entered.
    """
    context = coroutine.context
    if context.hooks is not None:
        context.call_hook(context.hooks.resumed, coroutine)
    if coroutine._greenlet.switch(HUB_WAKEUP) is FINISHED:
        context.running_hub._collect_result(context.last_finished)
    if context.hooks is not None:
        context.call_hook(context.hooks.parked, coroutine)


def throw_and_report(coroutine: Coroutine, thrown: PendingException) -> None:
    """Throw into a suspended coroutine; an exception that escapes from it goes to the excepthook.

    KeyboardInterrupt and SystemExit are raised here.
    """
    if coroutine.hub_greenlet.__class__ is ForeignEntry and getcurrent() is coroutine.context.hub_greenlet:
        return throw_into_caller(coroutine, thrown)
    try:
        coroutine.throw(thrown.pop())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as escaped:
        if coroutine._greenlet is not None:  # not the coroutine's error: a signal handler has raised here
            raise
        coroutine.context.report(coroutine, escaped)


def throw_into_caller(coroutine: Coroutine, thrown: PendingException) -> None:
    """Raise in a coroutine that runs the hub, from the hub; returns when a coroutine runs the hub again."""
    hub = coroutine.context.hub
    if coroutine.resumer is None or coroutine.resumer.__class__ is InterruptedSwitch:
        coroutine.resumer = coroutine.hub_greenlet
    # It has switched to the hub by foreign code, which does not handle a `PendingException`
    elif hub is None or hub.run_caller is not coroutine:
        coroutine._greenlet.throw(thrown.pop())
        return
    coroutine._greenlet.switch(thrown)


def run_hub_for(coroutine: Coroutine) -> object:
    """Run the hub for `coroutine`, which does not wait and cannot be resumed; return the hub's answer."""
    check_switchable()
    context = coroutine.context
    if not context.hub_greenlet:
        context.prepare_hub_greenlet()
    return unwrap(context.hub_greenlet.switch(None))


def return_to_caller(coroutine: Coroutine, answer: object) -> None:
    """Answer `run_hub_for`, from the hub; returns when a coroutine runs the hub again."""
    coroutine._greenlet.switch(answer)
