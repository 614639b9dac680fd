"""A `with` block that can be cancelled: the base class of deadlines and scopes.

Rule 1: `Coroutine.scope` is the innermost block around a coroutine, `Coroutine.cancelled_scope` the one that refuses
its waits. The kernel reads the second. Of the first it only calls `_watch_from`, which keeps the deadlines of waits in
other loops.
Rule 2: waits inside a cancelled block raise `Cancelled`, and nothing else. It refers to its block and passes through
all others. An error that users handle (`Timeout`) is made where the block is left, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Self
from weakref import ref

from greenlet import getcurrent

from .._coroutines import Coroutine, PendingException, current_context, foreign_thread_error, running, throw_and_report
from .._diagnostics import describe_wait
from .._interpreter import get_ident
from .._kernel import Callback, Hub, current_hub
from .._switch_guard import switch_forbidden
from ..errors import Cancelled, Timeout
from .creation_site import CreationSite, call_site
from .deadline_timer import DeadlineTimer
from .loop_deadlines import ForeignDeadline, SuspendedDeadlines

if TYPE_CHECKING:
    from .task_scope import Task

_MAX_SECONDS = 2.0**33  # 272 years; later deadlines are replaced by this
MAX_REFUSALS = 64  # waits of a coroutine that are refused in a row before other coroutines run


class Delivery(Enum):
    """The way in which a coroutine inside a cancelled block gets its `Cancelled`: see `choose_delivery`."""

    AFTER_CHILDREN = "it waits for its children: these are cancelled, and the last one that ends resumes it"
    OTHER_LOOP = "it waits in another loop: the hub of that loop raises it in the stand-in"
    FROM_HUB = "it runs, or must not be entered here: the hub raises it in the next turn, if it waits by then"
    NEXT_WAIT = "it has not started, or a shield protects it: its next wait raises it, if any"
    NOW = "it waits: the caller raises it there"


class CancelScope(CreationSite):
    """A `with` block that can be cancelled, with at most one timer."""

    _shield = False
    _timer: DeadlineTimer | None = None
    _owner: ref[Coroutine] | None = None  # the coroutine inside; weak, as its frames refer to the block
    _outer: CancelScope | None = None
    # The stand-in for the host in another loop of the thread, while the host waits there
    _foreign_owner: Coroutine | None = None
    _joining = False
    _was_raised = False  # a wait inside has raised the `Cancelled` of this block
    _interrupted_wait = ""  # a description of that wait, for the text of `Timeout`
    _seconds = 0.0  # from the beginning of the block to its deadline
    _tasks: Iterable[Task[Any]] = ()  # the children that have not ended, in the order of their start

    def __init__(self, name: str, deadline: float | None, shield: bool, caller: FrameType | None) -> None:
        """name: the function that makes the block. deadline: in seconds of `system.time()`; None: never.

        shield: no cancellation from outside enters the block. caller: the frame of the caller; it is not kept.
        """
        self._name = name
        self._deadline = deadline
        self.cancelled = False
        self.expired = False
        if shield is not False:
            self._shield = check_shield(shield)
        self._call_site = call_site(caller)

    @property
    def deadline(self) -> float | None:
        """The deadline in seconds of `system.time()`; None: none. It cannot be changed."""
        return self._deadline

    def __enter__(self) -> Self:
        """Begin the block; return it. Raises RuntimeError: a block can be entered once."""
        if self._entered or self._exited:
            raise RuntimeError(f"{self!r} was entered before: make a new one for each block")
        self._entered = True
        host = running()
        self._owner = ref(host)
        self._outer = host.scope
        host.scope = self
        try:
            if self.cancelled or host.cancelled_scope is not None:
                host.cancelled_scope = effective_scope(host)  # this block may be a shield
            if not self.cancelled and self._deadline is not None:
                self._start_timer(host.context.hub or current_hub(), self._deadline)
        except BaseException:
            try:
                self._exit()
            except BaseException:  # raised by a second signal handler
                self._ensure_exit()
                raise
            raise
        return self

    def _start_timer(self, hub: Hub, deadline: float) -> None:
        left = round(deadline * 1e9) - hub.clock.update()
        self._seconds = self._seconds or left / 1e9
        if left <= 0:
            self._on_timer()
        else:
            self._timer = DeadlineTimer(hub, self._on_timer)
            self._timer.start(left)

    def _get_owner(self) -> Coroutine | None:
        """Return the coroutine inside; None if the block is not open, or the coroutine is being collected."""
        return self._owner() if self._owner is not None else None

    def _exit(self) -> None:
        """End the block. Raises RuntimeError if it is not the innermost one of the running coroutine."""
        try:
            mistake = self._unwind()
        except BaseException:  # raised by a signal handler
            try:
                self._unwind()
            except BaseException:  # raised by a second one
                self._unwind()
                raise
            raise
        if mistake:
            raise RuntimeError(f"{self!r} {mistake}")

    def _ensure_exit(self) -> None:
        """End the block if it is still open: a signal handler has raised just before, or in, its `__exit__`."""
        if self._owner is not None:
            self._exit()

    def _unwind(self) -> str:
        """Remove the block from the chain of its coroutine; return a text if it was misused. May be repeated."""
        host, entered = self._get_owner(), self._owner is not None
        if self._timer is not None:
            self._timer.stop()
            self._timer = None
        if host is None:
            self._owner, self._exited = None, True
            return "" if entered else "is not open"
        innermost = host.scope is self
        if innermost:
            host.scope = outer = self._outer
            host.cancelled_scope = outermost_cancelled(outer) if outer is not None else None
        else:
            remove_scope(self, host)
            host.cancelled_scope = effective_scope(host)
        here = getattr(getcurrent(), "coroutine", None) is host
        self._owner, self._exited = None, True
        return "" if innermost and here else "was left before a block inside it, or by another coroutine"

    def cancel(self) -> None:
        """Have every wait inside the block raise `Cancelled`, from now until the block is left.

        Coroutines that wait now are resumed before this returns. Nothing happens the second time, or after the block.
        Does not suspend. Raises `ForeignThread`, and KeyboardInterrupt or SystemExit of a coroutine that is resumed.
        """
        host = self._get_owner()
        if host is not None and host.context.thread != get_ident():
            raise foreign_thread_error(f"{self!r}", host.context.thread)
        if self.cancelled or self._exited:
            return
        self.cancelled = True
        try:
            if host is not None and self._becomes_timeout():
                self._interrupted_wait = waited_for(host)
            self._cancel_waits()
        except BaseException:  # perhaps raised by a signal handler: the hub cancels the remaining waits
            current_context().call_soon(self._cancel_remaining)
            raise

    def _cancel_remaining(self) -> None:
        """Cancel the waits that `cancel` did not reach. A coroutine that was reached gets no second exception."""
        if not self._exited:
            try:
                self._cancel_waits()
            except BaseException:
                current_context().call_soon(self._cancel_remaining)
                raise

    def _cancel_waits(self) -> None:
        """Deliver the cancellation to every coroutine inside the block. May be repeated.

        The first error (KeyboardInterrupt, SystemExit) is raised after all were reached; the others are reported.
        """
        host = self._get_owner()
        first_error: BaseException | None = None
        for coroutine in self._affected(host):
            try:
                _deliver(coroutine)
            except BaseException as error:  # noqa: BLE001  # raised below
                if first_error is None:
                    first_error = error
                else:
                    coroutine.context.report(coroutine, error)
        if first_error is not None:
            try:
                reraise(first_error)
            finally:
                del first_error  # the traceback refers to this frame

    def _on_timer(self) -> None:
        """Cancel the block, and drop the timer, which has fired."""
        self._timer = None
        self._on_deadline()

    def _on_deadline(self) -> None:
        if not self.cancelled:
            self.expired = True
            self.cancel()

    def _watch_from(self, guest: Coroutine) -> ForeignDeadline | None:
        """Keep the deadlines while `guest` waits in another loop for the host, whose own loop does not turn then."""
        host = self._get_owner()
        if host is None:
            return None
        if host.context is not guest.context:
            return ForeignDeadline(self, host, guest)
        self._restart_timers(host)
        return None

    def _restart_timers(self, host: Coroutine) -> None:
        """Start the timers again in the child of a fork: the old ones belong to the loop of the parent process."""
        scope: CancelScope | None = self
        while scope is not None:
            timer, deadline = scope._timer, scope._deadline
            if timer is not None and deadline is not None and timer.hub is not host.context.hub:
                scope._start_timer(current_hub(), deadline)
            scope = scope._outer

    def _while_running_loop(self, me: Coroutine) -> ForeignDeadline | SuspendedDeadlines:
        """Keep the deadlines while `me`, the host or its stand-in, runs a loop; they do not keep that loop alive."""
        watch = self._watch_from(me)
        if watch is None:
            return SuspendedDeadlines(self)
        watch.set_keepalive(False)
        return watch

    def _affected(self, host: Coroutine | None) -> list[Coroutine]:
        """Return every coroutine inside, also those under a shield, each child before the coroutine that waits for it.

        The search goes from the host inwards and from the last child to the first; the result is its reverse.
        """
        affected: list[Coroutine] = []
        todo: list[tuple[Coroutine, CancelScope]] = [(task.coroutine, self) for task in self._tasks]
        if host is not None:
            todo.append((host, self))
        while todo:
            coroutine, outer = todo.pop()
            inner, block = [], coroutine.scope
            while block is not None and block is not outer:
                inner.append(block)
                block = block._outer
            affected.append(coroutine)
            todo += [(task.coroutine, block) for block in reversed(inner) for task in block._tasks]
        return affected[::-1]

    # -- errors -----------------------------------------------------------------------------------------------------

    def _cancelled_error(self) -> Cancelled:
        """Return a new `Cancelled`, for a wait inside the block to raise."""
        self._was_raised = True
        return Cancelled(f"the time of {self._label} is up" if self.expired else f"{self._label} was cancelled", self)

    def _refuse(self, waiter: Coroutine, what: object) -> None:
        """Raise `Cancelled` in place of a wait for `what`, which the caller has prepared, and will undo.

        A coroutine that tries again for ever would starve the others. So the 64th wait in a row begins, and is
        cancelled in the next turn of the loop. A coroutine that runs before may end that wait, as any other.
        waiter: the running coroutine, or its stand-in in the loop where it waits.
        """
        if self._count_refusal(what):
            waiter.context.enqueue(Callback(_cancel_deferred, waiter))
        else:
            raise self._cancelled_error()

    def _refuse_start(self, waiter: Coroutine, what: object) -> NoReturn:
        """Raise `Cancelled` in place of a wait for `what` that must not begin; the 64th in a row after a turn."""
        if self._count_refusal(what):
            me = running()
            me.cancelled_scope = None
            try:
                (waiter.context.hub or current_hub()).run_pending()
            finally:
                me.cancelled_scope = effective_scope(me)
        raise self._cancelled_error()

    def _count_refusal(self, what: object) -> bool:
        """Count a refused wait of the running coroutine; return whether other coroutines must run first."""
        if not self._interrupted_wait and self._becomes_timeout():
            self._interrupted_wait = describe_wait(what)
        me = running()
        # A coroutine that runs needs no time of suspension: a negative `parked_at` counts, until its next wait sets it
        count = 1 - min(me.parked_at, 0)
        me.parked_at = -count if count < MAX_REFUSALS else 0
        return count == MAX_REFUSALS

    def _becomes_timeout(self) -> bool:
        """Return whether a cancellation now ends the block with `Timeout`."""
        return self.expired

    def _timeout_error(self) -> Timeout:
        """Return the `Timeout` that the block raises at its end."""
        if not self.expired:
            text = "cancelled"
        elif self._seconds > 0:
            text = f"timed out after {round(self._seconds, 3):g} s"
        else:
            text = "timed out at once"
        waited = f", waiting on {self._interrupted_wait}" if self._interrupted_wait else ""
        return Timeout(f"{text}{waited} ({self._label})", self)

    def _state(self) -> str:
        return "expired" if self.expired else "cancelled" if self.cancelled else "left" if self._exited else "open"


def choose_delivery(coroutine: Coroutine) -> Delivery:
    """Return the way in which a coroutine inside a block that was cancelled just now gets its `Cancelled`.

    A pure decision. `FROM_HUB` is for cancellations by a signal handler: the coroutine that it interrupts may be about
    to wait, and no other one may be entered from there.
    """
    innermost: CancelScope | None = coroutine.scope
    if _is_joining(innermost, coroutine):
        return Delivery.AFTER_CHILDREN
    if innermost is not None and innermost._foreign_owner is not None:
        return Delivery.OTHER_LOOP
    if coroutine._greenlet is getcurrent() or (coroutine.resumer is None and switch_forbidden()):
        return Delivery.FROM_HUB
    if coroutine._start is not None or outermost_cancelled(innermost) is None:
        return Delivery.NEXT_WAIT
    return Delivery.NOW


def _deliver(coroutine: Coroutine) -> None:
    """Have a coroutine inside a block that was cancelled just now raise `Cancelled`. May be repeated.

    Raises KeyboardInterrupt and SystemExit of that coroutine.
    """
    delivery = choose_delivery(coroutine)
    if delivery is Delivery.AFTER_CHILDREN:
        return
    coroutine.cancelled_scope = scope = effective_scope(coroutine)
    if delivery is Delivery.OTHER_LOOP:
        guest = _waiter_for(coroutine)
        guest.cancelled_scope = scope
        guest.context.hub.enqueue(Callback(_cancel_deferred, guest))
    elif delivery is Delivery.FROM_HUB:
        coroutine.context.enqueue(Callback(_cancel_deferred, coroutine))
    elif delivery is Delivery.NOW and scope is not None:
        _raise_in(coroutine, scope)


def _raise_in(coroutine: Coroutine, scope: CancelScope) -> None:
    """Raise the `Cancelled` of `scope` in a coroutine that waits, or that runs its loop.

    Raises KeyboardInterrupt and SystemExit of that coroutine.
    """
    hub = coroutine.context.hub
    if hub is not None and hub.run_caller is coroutine:
        if not hub.pending_errors:  # else it leaves its loop with one of these
            hub.raise_in_caller(scope._cancelled_error())
    elif coroutine.resumer is None and coroutine.status == "suspended":
        throw_and_report(coroutine, PendingException(scope._cancelled_error()))


def waited_for(coroutine: Coroutine) -> str:
    """Return a text on the wait of a coroutine inside a block; if it waits for children, also on that of the first."""
    text, innermost = _waited_for(coroutine), coroutine.scope
    if innermost is not None and _is_joining(innermost, coroutine):
        for task in innermost._tasks:
            return f"{text}, of which {task.coroutine.name} waits on {_waited_for(task.coroutine)}"
    return text


def _waited_for(coroutine: Coroutine) -> str:
    waiter = _waiter_for(coroutine)
    return describe_wait(waiter.waiting_on) if waiter.resumer is None else ""


def _is_joining(innermost: CancelScope | None, coroutine: Coroutine) -> bool:
    """Return whether a coroutine waits for the children of the innermost block around it."""
    return innermost is not None and innermost._joining and innermost._get_owner() is coroutine


def _waiter_for(coroutine: Coroutine) -> Coroutine:
    """Return the stand-in of a coroutine that waits in another loop, else the coroutine itself."""
    guest = coroutine.scope._foreign_owner if coroutine.scope is not None else None
    return coroutine if guest is None else guest


def remove_scope(scope: CancelScope, coroutine: Coroutine) -> None:
    """Remove a block from the chain around a coroutine: the innermost one, unless blocks were left out of order."""
    if coroutine.scope is scope:
        coroutine.scope = scope._outer
        return
    inner: CancelScope | None = coroutine.scope
    while inner is not None and inner._outer is not scope:
        inner = inner._outer
    if inner is not None:
        inner._outer = scope._outer


def effective_scope(coroutine: Coroutine) -> CancelScope | None:
    """Return the outermost cancelled block around a coroutine that no shield keeps out."""
    return outermost_cancelled(coroutine.scope)


def outermost_cancelled(scope: CancelScope | None) -> CancelScope | None:
    """Return the outermost cancelled block from this one outwards that no shield keeps out."""
    outermost = None
    while scope is not None:
        if scope.cancelled:
            outermost = scope
        scope = None if scope._shield else scope._outer
    return outermost


def belongs_to(error: BaseException | None, scope: CancelScope | None) -> bool:
    """Return whether an exception is the `Cancelled` of this block."""
    return scope is not None and isinstance(error, Cancelled) and error.scope is scope


def reraise(error: BaseException) -> NoReturn:
    """Raise an exception again, with the `__context__` that it had."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context  # the traceback refers to this frame


def check_time(name: str, value: Any) -> float | None:
    """Return a time in seconds, None for no limit. Raises TypeError, ValueError (NaN)."""
    if (value.__class__ is int or value.__class__ is float) and -_MAX_SECONDS < value < _MAX_SECONDS:
        return value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if value != value:  # noqa: PLR0124  # NaN
        raise ValueError(f"{name} must not be NaN")
    return None if value == math.inf else max(min(value, _MAX_SECONDS), -_MAX_SECONDS)


def check_shield(value: Any) -> bool:
    """Return `value`, which must be a bool. Raises TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"shield must be a bool, not {value!r}")
    return value


def _cancel_deferred(coroutine: Coroutine) -> None:
    """Raise `Cancelled` in a coroutine, from the hub, if it still waits.

    This serves three kinds of waits: one in another loop, whose host must not run inside the call of `cancel`; one that
    was about to begin when a signal handler cancelled; one that was not refused, see `CancelScope._refuse`.
    """
    if coroutine.cancelled_scope is not None and coroutine._start is None:
        _raise_in(coroutine, coroutine.cancelled_scope)
