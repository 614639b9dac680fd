"""Switching between coroutines. This file and `runner`, below it, are the only ones that switch greenlets.

Rule 1: control returns to the resumer. `resumer` of a coroutine is the greenlet it goes back to; it is None exactly
while the coroutine is suspended.
Rule 2: greenlets are recycled: see `runner`.
Rule 3: a suspended runner does not know its coroutine, and no frame of ours refers to it, unless the hub will wake it:
a coroutine that everybody has forgotten is collected, and its `finally` blocks run.
Rule 4: if a block around the coroutine was cancelled (`cancelled_scope`), that block refuses the wait before it
suspends: it raises. (It does not each time; then it has seen to it that the wait is cut in the next turn of the loop.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import error as GreenletError  # noqa: N812  # greenlet's own name is no help to a reader
from greenlet import getcurrent

from .._interpreter import Time
from .._switch_guard import collector, in_collector
from ..errors import NotYieldable
from .books import Sentinel, foreign_thread_error
from .outcomes import PendingException, Resumed, unwrap, wakeup_exception
from .runner import FINISHED, Runner
from .states import AWAIT_HANDLE, FREED, RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .coroutine import Coroutine

HUB_WAKEUP: Any = Sentinel("HUB_WAKEUP")  # what the hub resumes with; no file above this one knows it
_ZERO: Any = 0  # small integers are single objects: the common call is recognized by identity
current: Callable[[], Any] = getcurrent  # whose greenlets have attributes of ours
ALREADY_WOKEN: Any = Sentinel("ALREADY_WOKEN")  # what whoever was about to run the hub gets if there is no need


class ForeignEntry:
    """The way from a greenlet that is not ours into the hub: tells the hub who waits, for errors and for the report."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine) -> None:
        self.coroutine = coroutine

    def switch(self, value: object) -> Any:
        """Run the hub until it, or an explicit resume, comes back to the coroutine."""
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
            if not context.hub_greenlet:
                context.prepare_hub_greenlet()
            return context.hub_greenlet.switch(value)
        finally:
            if self.coroutine.resumer is None:  # not resumed: a greenlet that ended too early has gone to its parent
                self.coroutine.resumer = self
            try:
                if self.coroutine in foreign_waiters:
                    foreign_waiters.remove(self.coroutine)
            finally:
                if watch is not None:
                    watch.stop()


def switch_to(coroutine: Coroutine, value: Any) -> Any:
    """Switch to a coroutine whose `resumer` is the caller; return what comes back, or what the coroutine ended with."""
    context = coroutine.context
    hooks = context.hooks
    if hooks is not None:
        context.call_hook(hooks.resumed, coroutine)
    try:
        if coroutine.resumer is context.hub_greenlet and context.hub is not None:
            got = _switch_from_hub(context.hub, coroutine, value)
        else:
            got = coroutine._greenlet.switch(value)
    except GreenletError:
        coroutine.resumer = None
        raise foreign_thread_error(f"{coroutine!r}", context.thread) from None
    if hooks is not None:
        context.call_hook(hooks.parked, coroutine)
    return coroutine._result() if got is FINISHED else got


def _switch_from_hub(hub: Any, coroutine: Coroutine, value: Any) -> Any:
    """Do the switch of `switch_to` for code that runs in the hub: it comes back at once."""
    before = hub._nested_resumes
    try:
        hub._nested_resumes = before + 1
        hub.update_flags()
        return coroutine._greenlet.switch(value)
    finally:
        hub._nested_resumes = before
        hub.update_flags()


def park(coroutine: Coroutine, what: object) -> None:
    """Suspend the running `coroutine`, which the hub knows and keeps, until the hub wakes it.

    what: what it waits for; its `str` is shown in reports.
    Returns once the hub has woken it, and only then. An explicit resume raises `Resumed`, a cancellation or `throw`
    raises that exception, a signal handler what it likes: the caller undoes the wait and lets the exception pass.
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
        if coroutine.resumer is None:  # it has not suspended: the recursion limit, or a signal handler
            coroutine.resumer = resumer
        raise
    if woken is not HUB_WAKEUP:
        del resumer  # a traceback that is kept keeps this frame
        raise wakeup_exception(woken)


def check_switchable() -> None:
    """Raise NotYieldable in a finalizer that the collector runs: see `switch_forbidden`."""
    if in_collector():
        raise NotYieldable("a finalizer that the garbage collector runs cannot wait")


def switch_directly(coroutine: Coroutine, what: object, hub: Any) -> None:
    """Park a coroutine that the hub resumed; enter the next runnable coroutine, if there is one, in place of the hub.

    From the moment at which that coroutine is known nothing looks for signals until it is entered.
    """
    target: Coroutine | None = hub._next_runnable(coroutine)
    if target is None:
        park(coroutine, what)
        return
    if target is coroutine:  # what it waits for has come already
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
    """Leave to the hub whom the running coroutine could not enter, at the recursion limit. Calls nothing."""
    coroutine.resumer = coroutine.hub_greenlet
    hub._failed_switches += (target,)
    hub._slow_path = True


class SuspendBackend:
    """The parts of `suspend` that need the loop, which the layers above set."""

    operation: Callable[[], Any]  # returns the operation of the running coroutine, made if there is none yet
    suspend: Callable[..., Any]  # does all that `suspend` does, through the hub


def suspend(seconds: float | None = 0, blocking: bool = False) -> Any:  # noqa: PLR0912  # a call would take longer
    """Wait until `seconds` have passed; return True, or what an explicit resume brings.

    seconds: None, 0 or less: only let others run that are ready; `math.inf`: for ever. They count from the call,
    whatever was computed before, and the wait is never shorter.
    blocking: stop the whole thread instead of the calling coroutine; then no other coroutine of it runs.
    Suspends unless blocking. Raises TypeError, ValueError (NaN), `NotYieldable`. Source: uv_timer_start.
    """
    # As long as libuv need not be polled, the first coroutine of the ready queue is entered directly: through the hub
    # it would be two switches. Anything that is out of the ordinary goes through the hub.
    if seconds is not _ZERO or blocking is not False:
        return SuspendBackend.suspend(seconds, blocking)
    try:
        me = current().coroutine
        operation = me.operation
    except AttributeError:  # a greenlet that is not ours, or the hub
        operation = None
    if operation is None:
        operation = SuspendBackend.operation()
        me = operation.coroutine
    hub = operation.hub
    if operation.state is not FREED or me.resumer is not hub.greenlet:
        return SuspendBackend.suspend()
    if me.cancelled_scope is not None or collector.runs:
        return SuspendBackend.suspend()
    for first in hub._clock_countdown:  # noqa: B007  # takes one, which a call of `any` would take longer for
        break
    else:
        if not hub._may_skip_poll():
            return SuspendBackend.suspend()
    if not hub.ready:
        return True
    try:
        hub.ready.append(operation)  # from here on nothing looks for signals until the switch
        operation.state = AWAIT_HANDLE  # 2
        for first in hub._ready_consumer:  # noqa: B007  # takes it out; unlike a call, it does not look for signals
            break
        if first.cancelled_entries:  # the hub has to fire it
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


def yield_(value: object) -> Any:
    """Suspend the running coroutine, which nobody else keeps; the resumer gets `value`. See rule 3."""
    me: Any = getcurrent()
    me.coroutine.waiting_on = None
    del me
    return park_unowned(value)


def park_unowned(value: object = None) -> Any:
    """Suspend the running coroutine, which has set `waiting_on` itself; return what the next resume brings.

    Unlike `park`, this keeps nobody alive: whoever is going to wake the coroutine refers to it. See rule 3.
    The main program can rest, too: it runs the hub, and without one gets `Deadlock`.
    """
    me: Any = getcurrent()
    coroutine: Coroutine = me.coroutine
    if collector.runs:
        check_switchable()
    if coroutine.cancelled_scope is not None and coroutine.pending_wakeup is None:
        coroutine.cancelled_scope._refuse(coroutine, coroutine.waiting_on)
    coroutine.parked_at = coroutine.context.last_poll_ns
    resumer, operation = coroutine.resumer, coroutine.operation
    coroutine.resumer = None  # from here on `wake_now` has the hub look again
    if coroutine.pending_wakeup is not None:
        coroutine.resumer = resumer
        return take_pending_wakeup(coroutine)
    if me.__class__ is Runner:
        me.coroutine = None
        if operation is not None:
            operation.coroutine = None  # a cycle that would have to wait for the collector
    del coroutine, me
    try:
        woken = resumer.switch(value)
        if operation is not None:
            operation.coroutine = getcurrent().coroutine  # type: ignore[attr-defined]  # the caller has one
    except BaseException:
        if resumer.__class__ is ForeignEntry and resumer.coroutine.resumer is None:  # as in park()
            resumer.coroutine.resumer = resumer
        if operation is not None:
            operation.coroutine = getattr(getcurrent(), "coroutine", None)  # it may be collected
        raise
    if woken is ALREADY_WOKEN:
        return take_pending_wakeup(getcurrent().coroutine)  # type: ignore[attr-defined]  # the caller has one
    del resumer  # as in park()
    return unwrap(woken) if woken.__class__ is PendingException else woken


def park_registered(waiter: Any, waits: dict[Any, Any], running: Callable[[], Coroutine]) -> None:
    """Register the running coroutine in `waits` and suspend it like `park_unowned`, until the hub wakes it. Raises as
    `park`.

    Returns at once if `waiter` is done.
    running: returns the coroutine; called in a greenlet that is not ours.
    The first coroutine of the ready queue is entered directly, where that is possible: through the hub it would be two
    switches and a poll.
    """
    me: Any = getcurrent()
    try:
        coroutine = me.coroutine
        context = coroutine.context
    except AttributeError:
        coroutine = running()
        context = coroutine.context
    coroutine.pending_wakeup, coroutine.waiting_on, waiter.context = None, waiter, context
    waits[waiter] = [waiter, coroutine, None]  # a line: see coutil.event
    if waiter.granted is not None:  # by a signal handler or a finalizer, before it was registered
        waits.pop(waiter, None)
        coroutine.waiting_on = None
        return
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


def take_pending_wakeup(coroutine: Coroutine) -> Any:
    """Return the token that has come before the running coroutine had suspended."""
    token, coroutine.pending_wakeup = coroutine.pending_wakeup, None
    if coroutine.resumer is None:  # it was about to
        coroutine.resumer = coroutine.hub_greenlet
    return token


def wake_now(coroutine: Coroutine, token: object) -> None:
    """End the wait of a resting `coroutine` with a private `token`; what escapes from it goes to the excepthook.

    If it has not suspended yet, because a signal handler or a finalizer calls us, it is notified as soon as it does.
    KeyboardInterrupt and SystemExit are raised here, and what a signal handler raises here: if it does so before the
    coroutine is entered, the hub enters it; before that, `waiting_on` is as it was, and the call may be repeated.
    """
    me = getcurrent()
    if coroutine.resumer is not None or coroutine._greenlet is me:
        if coroutine.resumer is None:  # it will not look again
            coroutine.context.call_soon(wake_deferred, coroutine, token)
        coroutine.pending_wakeup = token
        coroutine.waiting_on = None
        return
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
    """Put in order what an exception has interrupted in `wake_now`; return whether it is not the coroutine's own."""
    if coroutine.resumer is me and coroutine._greenlet is not None:  # it was not entered
        coroutine._greenlet.coroutine = None
        coroutine.pending_wakeup, coroutine.resumer = token, None
        coroutine.context.call_soon(wake_deferred, coroutine, token)
        return True
    return coroutine._recover()


def wake_deferred(coroutine: Coroutine, token: object) -> None:
    """Do, from the hub, what `wake_now` could not, unless the coroutine has gone on since."""
    if coroutine.pending_wakeup is token and coroutine.resumer is None:
        coroutine.pending_wakeup = None
        wake_now(coroutine, token)


class InterruptedSwitch:
    """In the ready queue: a coroutine that the hub was about to enter when a signal handler raised.

    It is its `resumer` meanwhile, which the caller sets: nobody else can resume it. The exception may go to it instead,
    and make this void.
    """

    __slots__ = ("coroutine", "handler")
    waiter = None
    cancelled_entries = 1

    def __init__(self, coroutine: Coroutine, handler: Any) -> None:
        """handler: the object whose record it is that wakes the coroutine."""
        self.coroutine, self.handler = coroutine, handler

    def run(self) -> bool:
        """Enter it, and see to the object then."""
        one = self.coroutine
        if one.resumer is self:
            hub = one.context.hub
            one.resumer = one.hub_greenlet
            hub.switching_to = one
            hub.current_handler = self.handler
            del hub.ready[0]
            wake(one)
            self.handler.after_completion()
            return True
        self.handler.after_completion()
        return False

    def loop_closed(self) -> None:
        """The loop is gone."""


def wake(coroutine: Coroutine) -> None:
    """Resume a parked `coroutine` from the hub, signed.

    The caller has set its `resumer` to its `hub_greenlet`, before anything else: from then on nobody can resume it, not
    even a signal handler or a finalizer that runs before it is entered.
    """
    context = coroutine.context
    if context.hooks is not None:
        context.call_hook(context.hooks.resumed, coroutine)
    if coroutine._greenlet.switch(HUB_WAKEUP) is FINISHED:
        context.running_hub._collect_result(context.last_finished)
    if context.hooks is not None:
        context.call_hook(context.hooks.parked, coroutine)


def throw_and_report(coroutine: Coroutine, thrown: PendingException) -> None:
    """Throw into a suspended coroutine on behalf of somebody who goes on then; what escapes goes to the excepthook.

    KeyboardInterrupt and SystemExit are raised here.
    """
    if coroutine.hub_greenlet.__class__ is ForeignEntry and getcurrent() is coroutine.context.hub_greenlet:
        return throw_into_caller(coroutine, thrown)
    try:
        coroutine.throw(thrown.pop())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as escaped:
        if coroutine._greenlet is not None:  # it is not the coroutine's: a signal handler has raised here
            raise
        coroutine.context.report(coroutine, escaped)


def throw_into_caller(coroutine: Coroutine, thrown: PendingException) -> None:
    """Raise in a coroutine that drives the hub, from the hub; returns when somebody drives it again."""
    hub = coroutine.context.hub
    if coroutine.resumer is None or coroutine.resumer.__class__ is InterruptedSwitch:
        coroutine.resumer = coroutine.hub_greenlet
    # It has switched away by itself, and knows nothing of `PendingException`
    elif hub is None or hub.run_caller is not coroutine:
        coroutine._greenlet.throw(thrown.pop())
        return
    coroutine._greenlet.switch(thrown)


def run_hub_for(coroutine: Coroutine) -> Any:
    """Let the hub run on behalf of `coroutine`, which does not wait and cannot be resumed; return the hub's answer."""
    check_switchable()
    context = coroutine.context
    if not context.hub_greenlet:
        context.prepare_hub_greenlet()
    return unwrap(context.hub_greenlet.switch(None))


def return_to_caller(coroutine: Coroutine, answer: object) -> None:
    """Answer `run_hub_for`, from the hub; returns when somebody drives it again."""
    coroutine._greenlet.switch(answer)


def main_greenlet() -> Any:
    """Return the main greenlet of the calling thread."""
    found: Any = getcurrent()
    while found.parent is not None:
        found = found.parent
    return found
