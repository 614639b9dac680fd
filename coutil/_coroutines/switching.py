"""Switching between coroutines. This file and `runner`, below it, are the only ones that switch greenlets.

Rule 1: control returns to the resumer. `resumer` of a coroutine is the greenlet it goes back to; it is None exactly
while the coroutine is suspended.
Rule 2: greenlets are recycled: see `runner`.
Rule 3: a suspended runner does not know its coroutine, and no frame of ours refers to it, unless the hub will wake it:
a coroutine that everybody has forgotten is collected, and its `finally` blocks run.
Rule 4: if a block around the coroutine was cancelled (`cancelled`), that block refuses the wait before it suspends: it
raises. (It does not each time; then it has seen to it that the wait is cut in the next turn of the loop.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from greenlet import error as GreenletError  # noqa: N812  # greenlet's own name is no help to a reader
from greenlet import getcurrent

from .._asynchronous import collector, in_collector
from .._interpreter import Time
from ..errors import NotYieldable
from .books import Token, foreign
from .outcomes import Resumed, Thrown, interrupted, landed
from .runner import ENDED, Runner, depth
from .states import AWAIT_HANDLE, FREED, RELEASED

if TYPE_CHECKING:
    from collections.abc import Callable

    from .coroutine import Coroutine

SIGNED: Any = Token("SIGNED")  # what the hub resumes with; no file above this one knows it
_ZERO: Any = 0  # small integers are single objects: the common call is told by identity
TOLD: Any = Token("TOLD")  # what whoever was about to run the hub gets if there is no need


class Outside:
    """The way from a greenlet that is not ours into the hub: tells the hub who waits, for errors and for the report."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine) -> None:
        self.coroutine = coroutine

    def switch(self, value: object) -> Any:
        """Run the hub until it, or an explicit resume, comes back to the coroutine."""
        home, scope = self.coroutine.home, self.coroutine.scope
        home.turned = Time.monotonic_ns()
        drivers = home.drivers
        watch = None
        try:
            if scope is not None:
                watch = scope._watch(self.coroutine)
            drivers.append(self.coroutine)
            if self.coroutine.told is not None and self.coroutine.waiting_on is None:  # by a signal handler, just now
                return TOLD
            if not home.gate:
                home.gate.below = depth()  # it begins now
            return home.gate.switch(value)
        finally:
            if self.coroutine.resumer is None:  # not resumed: a greenlet that ended too early has gone to its parent
                self.coroutine.resumer = self
            try:
                if self.coroutine in drivers:
                    drivers.remove(self.coroutine)
            finally:
                if watch is not None:
                    watch.stop()


def enter(coroutine: Coroutine, value: Any) -> Any:
    """Switch to a coroutine whose `resumer` is the caller; return what comes back, or what the coroutine ended with."""
    home = coroutine.home
    hooks = home.hooks
    if hooks is not None:
        home.tell(hooks.resumed, coroutine)
    try:
        if coroutine.resumer is home.gate and home.hub is not None:
            got = _enter_from_hub(home.hub, coroutine, value)
        else:
            got = coroutine._greenlet.switch(value)
    except GreenletError:
        coroutine.resumer = None
        raise foreign(f"{coroutine!r}", home.thread) from None
    if hooks is not None:
        home.tell(hooks.parked, coroutine)
    return coroutine._result() if got is ENDED else got


def _enter_from_hub(hub: Any, coroutine: Coroutine, value: Any) -> Any:
    """Do the switch of `enter` for code that runs in the hub: it comes back at once, without a hand-over to others."""
    before = hub.resuming
    try:
        hub.resuming = before + 1
        hub.tune()
        return coroutine._greenlet.switch(value)
    finally:
        hub.resuming = before
        hub.tune()


def park(coroutine: Coroutine, what: object) -> None:
    """Suspend the running `coroutine`, which the hub knows and keeps, until the hub wakes it.

    what: what it waits for; its `str` is shown in reports.
    Returns once the hub has woken it, and only then. An explicit resume raises `Resumed`, a cancellation or `throw`
    raises that exception, a signal handler what it likes: the caller undoes the wait and lets the exception pass.
    """
    if collector.runs:
        check_switchable()
    if coroutine.cancelled is not None:
        coroutine.cancelled._refuse(coroutine, what)
    coroutine.waiting_on = what
    coroutine.since = coroutine.home.turned
    resumer = coroutine.resumer
    coroutine.resumer = None
    try:
        woken = resumer.switch(None)
    except BaseException:
        if coroutine.resumer is None:  # it has not suspended: the recursion limit, or a signal handler
            coroutine.resumer = resumer
        raise
    if woken is not SIGNED:
        del resumer  # a traceback that is kept keeps this frame
        raise interrupted(woken)


def check_switchable() -> None:
    """Raise NotYieldable in a finalizer that the collector runs: see `asynchronous`."""
    if in_collector():
        raise NotYieldable("a finalizer that the garbage collector runs cannot wait")


def hand_over(coroutine: Coroutine, what: object, hub: Any) -> None:
    """Like `park` of a coroutine that the hub resumed, but enter its heir, if there is one, in place of the hub.

    From the moment at which the heir is known nothing looks for signals until it is entered.
    """
    heir: Coroutine | None = hub.heir(coroutine)
    if heir is None:
        park(coroutine, what)
        return
    if heir is coroutine:  # what it waits for has come already
        return
    coroutine.waiting_on = what
    coroutine.since = coroutine.home.turned
    coroutine.resumer = None
    try:
        woken = heir._greenlet.switch(SIGNED)
    except BaseException:
        if coroutine.resumer is None:
            _not_entered(coroutine, heir, hub)
        raise
    if woken is not SIGNED:
        del heir  # as in park()
        raise interrupted(woken)


def _not_entered(coroutine: Coroutine, heir: Coroutine, hub: Any) -> None:
    """Leave to the hub whom the running coroutine could not enter, at the recursion limit. Calls nothing."""
    coroutine.resumer = coroutine.gate
    hub.stranded += (heir,)
    hub.attention = True


class Waiting:
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
        return Waiting.suspend(seconds, blocking)
    me: Any = getcurrent()
    try:
        me = me.coroutine
        own = me.operation
    except AttributeError:  # a greenlet that is not ours, or the hub
        own = None
    if own is None:
        own = Waiting.operation()
        me = own.coroutine
    hub = own.hub
    if own.state is not FREED or me.resumer is not hub.greenlet or me.cancelled is not None or collector.runs:
        return Waiting.suspend()
    for first in hub.relay:  # noqa: B007  # takes one, which a call of `any` would take longer for
        break
    else:
        if not hub.polled_lately():
            return Waiting.suspend()
    if not hub.ready:
        return True
    try:
        hub.ready.append(own)  # from here on nothing looks for signals until the switch
        own.state = AWAIT_HANDLE  # 2
        for first in hub.taking:  # noqa: B007  # takes it out; unlike a call, it does not look for signals
            break
        if first.stale:  # the hub has to fire it
            hub.ready.appendleft(first)
            return own.wait_queued()
        me.waiting_on, me.since, me.resumer = "suspend", 0, None  # in this order; it is about to go on
        heir = first.coroutine  # perhaps the running one, where the order of the queue is another one
        heir.resumer = heir.gate
        first.state = RELEASED  # 6, 9, 8, as in fire()
        woken = heir._greenlet.switch(SIGNED)
        if woken is SIGNED:
            return True
        own.leave_queue()
    except BaseException:
        own.leave_queue()
        if me.resumer is None:
            _not_entered(me, heir, hub)
        raise
    del first, heir  # as in park()
    return landed(woken)


def yield_(value: object) -> Any:
    """Suspend the running coroutine, which nobody else keeps; the resumer gets `value`. See rule 3."""
    me: Any = getcurrent()
    me.coroutine.waiting_on = None
    del me
    return rest(value)


def rest(value: object = None) -> Any:
    """Suspend the running coroutine, which has set `waiting_on` itself; return what the next resume brings.

    Unlike `park`, this keeps nobody alive: whoever is going to wake the coroutine refers to it. See rule 3.
    The main program can rest, too: it runs the hub, and without one gets `Deadlock`.
    """
    me: Any = getcurrent()
    coroutine: Coroutine = me.coroutine
    if collector.runs:
        check_switchable()
    if coroutine.cancelled is not None and coroutine.told is None:
        coroutine.cancelled._refuse(coroutine, coroutine.waiting_on)
    coroutine.since = coroutine.home.turned
    resumer, own = coroutine.resumer, coroutine.operation
    coroutine.resumer = None  # from here on `notify` has the hub look again
    if coroutine.told is not None:
        coroutine.resumer = resumer
        return tell(coroutine)
    if me.__class__ is Runner:
        me.coroutine = None
        if own is not None:
            own.coroutine = None  # a cycle that would have to wait for the collector
    del coroutine, me
    try:
        woken = resumer.switch(value)
        if own is not None:
            own.coroutine = getcurrent().coroutine  # type: ignore[attr-defined]  # the caller has one
    except BaseException:
        if resumer.__class__ is Outside and resumer.coroutine.resumer is None:  # as in park()
            resumer.coroutine.resumer = resumer
        if own is not None:
            own.coroutine = getattr(getcurrent(), "coroutine", None)  # it may be collected
        raise
    if woken is TOLD:
        return tell(getcurrent().coroutine)  # type: ignore[attr-defined]  # the caller has one
    del resumer  # as in park()
    return landed(woken) if woken.__class__ is Thrown else woken


def rest_in_turn(turn: Any, waits: dict[Any, Any], running: Callable[[], Coroutine]) -> None:
    """Register the running coroutine in `waits` and suspend it like `rest`, until the hub wakes it. Raises as `park`.

    Returns at once if `turn` is done.
    running: returns the coroutine; called in a greenlet that is not ours.
    The first coroutine of the ready queue is entered directly, where that is possible: through the hub it would be two
    switches and a poll.
    """
    me: Any = getcurrent()
    try:
        coroutine = me.coroutine
        home = coroutine.home
    except AttributeError:
        coroutine = running()
        home = coroutine.home
    coroutine.told = None
    coroutine.waiting_on = turn
    turn.home = home
    waits[turn] = [turn, coroutine, None]  # a line: see coutil.event
    if turn.done is not None:  # by a signal handler or a finalizer, before it was registered
        waits.pop(turn, None)
        coroutine.waiting_on = None
        return
    hub, heir = home.hub, None
    if hub is not None and coroutine.resumer is hub.greenlet and coroutine.cancelled is None and not collector.runs:
        ready = hub.ready
        for _ in hub.relay if ready else ():
            heir = ready[0].claim()
            break
        else:
            if ready and hub.polled_lately():
                heir = ready[0].claim()
    if heir is None:  # it has to go through the hub
        del me, coroutine
        woken = rest()
        if woken is not SIGNED:
            raise Resumed(woken)
        return
    # From here to the switch nothing is called: no signal handler comes. No reference stays in this frame: see rest().
    own, runner = coroutine.operation, heir._greenlet
    coroutine.since = home.turned
    coroutine.resumer = me.coroutine = None
    if own is not None:
        own.coroutine = None
    del coroutine, me, heir
    try:
        woken = runner.switch(SIGNED)
        if woken is not SIGNED:  # else `claim` has given `own` its coroutine
            raise interrupted(woken)
    except BaseException:
        if own is not None:
            own.coroutine = getattr(getcurrent(), "coroutine", None)  # as in rest()
        raise


def tell(coroutine: Coroutine) -> Any:
    """Return the token that has come before the running coroutine had suspended."""
    token, coroutine.told = coroutine.told, None
    if coroutine.resumer is None:  # it was about to
        coroutine.resumer = coroutine.gate
    return token


def notify(coroutine: Coroutine, token: object) -> None:
    """End the wait of a resting `coroutine` with a private `token`; what escapes from it goes to the excepthook.

    If it has not suspended yet, because a signal handler or a finalizer calls us, it is told as soon as it does.
    KeyboardInterrupt and SystemExit are raised here, and what a signal handler raises here: if it does so before the
    coroutine is entered, the hub enters it; before that, `waiting_on` is as it was, and the call may be repeated.
    """
    me = getcurrent()
    if coroutine.resumer is not None or coroutine._greenlet is me:
        if coroutine.resumer is None:  # it will not look again
            coroutine.home.call_soon(notify_late, coroutine, token)
        coroutine.told = token
        coroutine.waiting_on = None
        return
    coroutine.waiting_on = None  # from here on nothing looks for signals: see _kernel/deliveries.py
    coroutine.resumer = me
    runner = coroutine._greenlet
    runner.coroutine = coroutine
    try:
        if coroutine.home.hooks is not None or me is coroutine.home.gate:
            enter(coroutine, token)
        elif runner.switch(token) is ENDED:
            coroutine._result()
    except (KeyboardInterrupt, SystemExit):
        _after_failure(coroutine, token, me)
        raise
    except BaseException as error:  # reported
        if _after_failure(coroutine, token, me):
            raise
        coroutine.home.report(coroutine, error)


def _after_failure(coroutine: Coroutine, token: object, me: Any) -> bool:
    """Put in order what an exception has interrupted in `notify`; return whether it is not the coroutine's own."""
    if coroutine.resumer is me and coroutine._greenlet is not None:  # it was not entered
        coroutine._greenlet.coroutine = None
        coroutine.told, coroutine.resumer = token, None
        coroutine.home.call_soon(notify_late, coroutine, token)
        return True
    return coroutine._put_in_order()


def notify_late(coroutine: Coroutine, token: object) -> None:
    """Do, from the hub, what `notify` could not, unless the coroutine has gone on since."""
    if coroutine.told is token and coroutine.resumer is None:
        coroutine.told = None
        notify(coroutine, token)


class Overdue:
    """In the ready queue: a coroutine that the hub was about to enter when a signal handler raised.

    It is its `resumer` meanwhile, which the caller sets: nobody else can resume it. The exception may go to it instead,
    and make this void.
    """

    __slots__ = ("armed", "claimed")
    waiter = None
    stale = 1

    def __init__(self, claimed: Coroutine, armed: Any) -> None:
        """armed: the object whose record it is that wakes the coroutine."""
        self.claimed, self.armed = claimed, armed

    def fire(self) -> bool:
        """Enter it, and see to the object then."""
        one = self.claimed
        if one.resumer is self:
            hub = one.home.hub
            one.resumer = one.gate
            hub.entering = one
            hub.armed = self.armed
            del hub.ready[0]
            wake(one)
            self.armed.disarm()
            return True
        self.armed.disarm()
        return False

    def lost(self) -> None:
        """The loop is gone."""


def wake(coroutine: Coroutine) -> None:
    """Resume a parked `coroutine` from the hub, signed.

    The caller has set its `resumer` to its `gate`, before anything else: from then on nobody can resume it, not even a
    signal handler or a finalizer that runs before it is entered.
    """
    home = coroutine.home
    if home.hooks is not None:
        home.tell(home.hooks.resumed, coroutine)
    if coroutine._greenlet.switch(SIGNED) is ENDED:
        home.turning.ended(home.ended_last)
    if home.hooks is not None:
        home.tell(home.hooks.parked, coroutine)


def interrupt(coroutine: Coroutine, thrown: Thrown) -> None:
    """Throw into a suspended coroutine on behalf of somebody who goes on then; what escapes goes to the excepthook.

    KeyboardInterrupt and SystemExit are raised here.
    """
    if coroutine.gate.__class__ is Outside and getcurrent() is coroutine.home.gate:
        return throw_into(coroutine, thrown)
    try:
        coroutine.throw(thrown.take())
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as escaped:
        if coroutine._greenlet is not None:  # it is not the coroutine's: a signal handler has raised here
            raise
        coroutine.home.report(coroutine, escaped)


def throw_into(coroutine: Coroutine, thrown: Thrown) -> None:
    """Raise in a coroutine that drives the hub, from the hub; returns when somebody drives it again."""
    hub = coroutine.home.hub
    if coroutine.resumer is None or coroutine.resumer.__class__ is Overdue:
        coroutine.resumer = coroutine.gate
    elif hub is None or hub.caller is not coroutine:  # it has switched away by itself, and knows nothing of `Thrown`
        coroutine._greenlet.throw(thrown.take())
        return
    coroutine._greenlet.switch(thrown)


def enter_hub(coroutine: Coroutine) -> Any:
    """Let the hub run on behalf of `coroutine`, which does not wait and cannot be resumed; return the hub's answer."""
    check_switchable()
    gate = coroutine.home.gate
    if not gate:
        gate.below = depth()  # it begins now
    return landed(gate.switch(None))


def leave_hub(coroutine: Coroutine, answer: object) -> None:
    """Answer `enter_hub`, from the hub; returns when somebody drives it again."""
    coroutine._greenlet.switch(answer)


def top() -> Any:
    """Return the main greenlet of the calling thread."""
    found: Any = getcurrent()
    while found.parent is not None:
        found = found.parent
    return found
