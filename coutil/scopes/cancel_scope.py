"""A `with` block that can be cancelled: what deadlines and scopes have in common.

Rule 1: `Coroutine.scope` is the innermost block around a coroutine, `Coroutine.cancelled_scope` the one that refuses
its waits. The kernel looks at the second; of the first it knows that it keeps the time of waits in other loops
(`_watch_from`).
Rule 2: inside a block that was cancelled, all that is raised is `Cancelled`, which knows its block and passes through
all others. An error that users handle (`Timeout`) is made where the block is left, and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, Self
from weakref import ref

from greenlet import getcurrent

from .._coroutines import Coroutine, PendingException, current_context, foreign_thread_error, running, throw_and_report
from .._diagnostics import describe_wait
from .._interpreter import get_ident
from .._kernel import Hub, ReadyItem, current_hub
from .._switch_guard import switch_forbidden
from ..errors import Cancelled, Timeout
from .creation_site import CreationSite, call_site
from .deadline_timer import DeadlineTimer

if TYPE_CHECKING:
    from .task_scope import Task

_MAX_SECONDS = 2.0**33  # seconds; what is later waits that long, 272 years
MAX_REFUSALS = 64  # waits of a coroutine that are refused in a row before others run


class CancelScope(CreationSite):
    """A `with` block that can be cancelled, with at most one timer."""

    _shield = False
    _timer: DeadlineTimer | None = None
    _owner: ref[Coroutine] | None = None  # who is inside; weakly, its frames refer to us: it shall be collected
    _outer: CancelScope | None = None
    # Who stands for the host in another loop of the thread, while it waits there
    _foreign_owner: Coroutine | None = None
    _joining = False
    _was_raised = False  # a wait inside was cut by this block
    _interrupted_wait = ""  # what the coroutine inside waited for then
    _seconds = 0.0  # from the beginning of the block to its deadline
    _tasks: Iterable[Task[Any]] = ()  # the children that have not ended, in the order of their start

    def __init__(self, name: str, deadline: float | None, shield: bool, caller: FrameType | None) -> None:
        """name: the function that makes it. deadline: in seconds of `system.time()`; None: never.

        shield: no cancellation from outside enters. caller: the frame of the caller; it is not kept.
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
        """In seconds of `system.time()`; None: never. It is said once."""
        return self._deadline

    def __enter__(self) -> Self:
        """Begin the block. Raises RuntimeError: a block can be entered once."""
        if self._entered or self._exited:
            raise RuntimeError(f"{self!r} was entered before: make a new one for each block")
        self._entered = True
        host = running()
        self._owner = ref(host)
        self._outer = host.scope
        host.scope = self
        try:
            if self.cancelled or host.cancelled_scope is not None:
                host.cancelled_scope = effective_scope(host)  # we may be a shield
            if not self.cancelled and self._deadline is not None:
                self._start_timer(host.context.hub or current_hub(), self._deadline)
        except BaseException:
            try:
                self._exit()
            except BaseException:  # of a second signal handler
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
        """Return who is inside; None if nobody is, or if it is being collected."""
        return self._owner() if self._owner is not None else None

    def _exit(self) -> None:
        """End the block; others around it may be cancelled still. Raises RuntimeError if it was not its turn."""
        try:
            wrong = self._unwind()
        except BaseException:  # of a signal handler
            try:
                self._unwind()
            except BaseException:  # of a second one
                self._unwind()
                raise
            raise
        if wrong:
            raise RuntimeError(f"{self!r} {wrong}")

    def _ensure_exit(self) -> None:
        """End the block after a signal handler has raised where that was about to be done, if it is open still."""
        if self._owner is not None:
            self._exit()

    def _unwind(self) -> str:
        """Take the block out of those around its coroutine; return what is wrong. May be repeated."""
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
        except BaseException:  # perhaps a signal handler's: the hub tells those who are left
            current_context().call_soon(self._cancel_remaining)
            raise

    def _cancel_remaining(self) -> None:
        """Tell those inside who may not know yet that the block was cancelled; the others notice nothing new."""
        if not self._exited:
            try:
                self._cancel_waits()
            except BaseException:
                current_context().call_soon(self._cancel_remaining)
                raise

    def _cancel_waits(self) -> None:
        """Cut the waits inside the block. May be repeated."""
        host = self._get_owner()
        leaving: BaseException | None = None
        for one in self._affected(host):
            try:
                cancel_wait_of(one)
            except BaseException as error:  # noqa: BLE001  # KeyboardInterrupt, SystemExit: raised below
                if leaving is None:
                    leaving = error
                else:
                    one.context.report(one, error)
        if leaving is not None:
            try:
                reraise(leaving)
            finally:
                del leaving  # the traceback refers to this frame

    def _on_timer(self) -> None:
        """The time is up."""
        self._timer = None
        self._on_deadline()

    def _on_deadline(self) -> None:
        if not self.cancelled:
            self.expired = True
            self.cancel()

    def _watch_from(self, guest: Coroutine) -> ForeignDeadline | None:
        """Keep the time while `guest` waits for our host in another loop: the host's own is not turned meanwhile."""
        host = self._get_owner()
        if host is None:
            return None
        if host.context is not guest.context:
            return ForeignDeadline(self, host, guest)
        self._restart_timers(host)
        return None

    def _restart_timers(self, host: Coroutine) -> None:
        """Set the timers again that were left with the loop of the parent process: this is the child of a fork."""
        scope: CancelScope | None = self
        while scope is not None:
            timer, deadline = scope._timer, scope._deadline
            if timer is not None and deadline is not None and timer.hub is not host.context.hub:
                scope._start_timer(current_hub(), deadline)
            scope = scope._outer

    def _while_running_loop(self, me: Coroutine) -> ForeignDeadline | SuspendedDeadlines:
        """Have `me`, our host or who stands for it in another loop, run a loop, which no deadline of it keeps alive."""
        watch = self._watch_from(me)
        if watch is None:
            return SuspendedDeadlines(self)
        watch.set_keepalive(False)
        return watch

    def _affected(self, host: Coroutine | None) -> list[Coroutine]:
        """Return every coroutine inside, also those under a shield: children come before who waits for them."""
        found: list[Coroutine] = []
        todo: list[tuple[Coroutine, CancelScope]] = [(task.coroutine, self) for task in self._tasks]
        if host is not None:
            todo.append((host, self))
        while todo:  # from the last to the first; turned round below
            coroutine, outer = todo.pop()
            inner, block = [], coroutine.scope
            while block is not None and block is not outer:
                inner.append(block)
                block = block._outer
            found.append(coroutine)
            todo += [(task.coroutine, block) for block in reversed(inner) for task in block._tasks]
        return found[::-1]

    # -- what is raised ---------------------------------------------------------------------------------------------

    def _cancelled_error(self) -> Cancelled:
        """Return what a wait raises after the block was cancelled: a new one each time."""
        self._was_raised = True
        return Cancelled(f"the time of {self._label} is up" if self.expired else f"{self._label} was cancelled", self)

    def _refuse(self, waiter: Coroutine, what: object) -> None:
        """Raise `Cancelled` in place of a wait for `what`, which the caller has prepared, and will undo.

        A coroutine that goes on trying would stop the others for ever. So the 64th wait in a row begins, and is cut in
        the next turn of the loop: whatever runs before that may bring what it waits for, as with every wait.
        waiter: the running coroutine, or what stands for it in the loop that it waits in.
        """
        if self._count_refusal(what):
            waiter.context.enqueue(_DeferredCancel(waiter))
        else:
            raise self._cancelled_error()

    def _refuse_start(self, waiter: Coroutine, what: object) -> NoReturn:
        """Raise `Cancelled` in place of a wait for `what` that is not to begin; the 64th in a row after a turn."""
        if self._count_refusal(what):
            me = running()
            me.cancelled_scope = None
            try:
                (waiter.context.hub or current_hub()).run_pending()
            finally:
                me.cancelled_scope = effective_scope(me)
        raise self._cancelled_error()

    def _count_refusal(self, what: object) -> bool:
        """Note what was refused; return whether others must run, as the running coroutine was refused so often."""
        if not self._interrupted_wait and self._becomes_timeout():
            self._interrupted_wait = describe_wait(what)
        me = running()
        count = 1 - min(me.parked_at, 0)  # the time when it suspended means nothing now; its next wait sets it again
        me.parked_at = -count if count < MAX_REFUSALS else 0
        return count == MAX_REFUSALS

    def _becomes_timeout(self) -> bool:
        """Return whether the block, now that it was cancelled, ends with `Timeout`."""
        return self.expired

    def _timeout_error(self) -> Timeout:
        """Return what the block raises at its end, where its waits were cut."""
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


def cancel_wait_of(one: Coroutine) -> None:
    """Cut the wait of a coroutine inside a block that was cancelled just now.

    Raises KeyboardInterrupt and SystemExit.
    """
    inner: CancelScope | None = one.scope
    if inner is not None and inner._joining and inner._get_owner() is one:
        return  # it is its children that have to end; then it is notified
    one.cancelled_scope = scope = effective_scope(one)
    if inner is not None and (guest := inner._foreign_owner) is not None:
        guest.cancelled_scope = scope
        guest.context.hub.ready.append(_DeferredCancel(guest))
    elif one._greenlet is getcurrent() or (one.resumer is None and switch_forbidden()):
        # A signal handler calls: it may be about to wait, or must not be entered here
        one.context.enqueue(_DeferredCancel(one))
    elif scope is not None and one._start is None:  # else its first wait raises
        deliver_cancel(one, scope)


def deliver_cancel(coroutine: Coroutine, scope: CancelScope) -> None:
    """Raise that `block` was cancelled in a coroutine that waits, or that runs its loop.

    Raises KeyboardInterrupt and SystemExit.
    """
    hub = coroutine.context.hub
    if hub is not None and hub.run_caller is coroutine:
        if not hub.pending_errors:  # else it is about to leave anyway
            hub.raise_in_caller(scope._cancelled_error())
    elif coroutine.resumer is None and coroutine.status == "suspended":
        throw_and_report(coroutine, PendingException(scope._cancelled_error()))


def waited_for(coroutine: Coroutine) -> str:
    """Return what a coroutine inside a block waits for; if it is its children, also what the first one waits for."""
    text, inner = _waited_for(coroutine), coroutine.scope
    if inner is not None and inner._joining and inner._get_owner() is coroutine:
        for task in inner._tasks:
            return f"{text}, of which {task.coroutine.name} waits on {_waited_for(task.coroutine)}"
    return text


def _waited_for(coroutine: Coroutine) -> str:
    guest = coroutine.scope._foreign_owner if coroutine.scope is not None else None
    waiter = coroutine if guest is None else guest
    return describe_wait(waiter.waiting_on) if waiter.resumer is None else ""


def remove_scope(scope: CancelScope, coroutine: Coroutine) -> None:
    """Take a block out of those around a coroutine; it is the innermost one, if nothing went wrong."""
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
    found = None
    while scope is not None:
        if scope.cancelled:
            found = scope
        scope = None if scope._shield else scope._outer
    return found


def belongs_to(error: BaseException | None, scope: CancelScope | None) -> bool:
    """Return whether an exception is the cancellation of a block."""
    return scope is not None and isinstance(error, Cancelled) and error.scope is scope


def reraise(error: BaseException) -> NoReturn:
    """Raise an exception again; what it was raised in the context of stays what it was."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context  # the traceback refers to this frame


def check_time(name: str, value: Any) -> float | None:
    """Return a number of seconds, None if it is no limit. Raises TypeError, ValueError (NaN)."""
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
    """Return a bool. Raises TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"shield must be a bool, not {value!r}")
    return value


class ForeignDeadline:
    """The deadline of whichever block around a coroutine comes first, for as long as it waits in another loop."""

    def __init__(self, scope: CancelScope, host: Coroutine, guest: Coroutine) -> None:
        """scope: the innermost one around `host`, for whom `guest` waits."""
        self._scope = scope
        self._timer: DeadlineTimer | None = None
        scope._foreign_owner = guest
        try:
            self._start(scope, host.context.hub, guest.context.hub)
        except BaseException:
            self.stop()
            raise

    def _start(self, scope: CancelScope, own_hub: Hub | None, hub: Hub) -> None:
        first = min(_pending_deadlines(scope), key=lambda one: one._deadline or 0, default=None)
        if first is not None and first._deadline is not None and own_hub is not None:  # its loop may be closed
            left = round(first._deadline * 1e9) - own_hub.clock.update()
            self._timer = DeadlineTimer(hub, first._on_deadline)
            self._timer.start(max(left, 0))

    def set_keepalive(self, hold: bool) -> None:
        """Set whether the loop is alive for this deadline's sake."""
        if self._timer is not None:
            self._timer.set_keepalive(hold)

    def stop(self) -> None:
        """The wait is over."""
        self._scope._foreign_owner = None
        if self._timer is not None:
            self._timer.stop()


class SuspendedDeadlines:
    """The deadlines around a coroutine that runs its own loop: they cut that, but are no reason to go on."""

    def __init__(self, scope: CancelScope) -> None:
        """scope: the innermost one."""
        self._timers: list[DeadlineTimer] = []
        around: CancelScope | None = scope
        while around is not None:
            if around._timer is not None:
                around._timer.set_keepalive(False)
                self._timers.append(around._timer)
            around = around._outer

    def stop(self) -> None:
        """The loop runs no more."""
        for timer in self._timers:
            timer.set_keepalive(True)


class _DeferredCancel(ReadyItem):
    """Cut a wait from the hub: one in another loop, as the coroutine that cancels does not wait for what its host does
    next; one that was about to begin when a signal handler cancelled; or one that was not refused, see
    `CancelScope._refuse`.
    """

    __slots__ = ("coroutine",)

    def __init__(self, guest: Coroutine) -> None:
        self.coroutine = guest

    def run(self) -> None:
        """Do so, if it waits still."""
        if self.coroutine.cancelled_scope is not None and self.coroutine._start is None:
            deliver_cancel(self.coroutine, self.coroutine.cancelled_scope)


def _pending_deadlines(scope: CancelScope | None) -> Iterator[CancelScope]:
    """Yield the blocks, from this one outwards, whose deadline has not come and can cut a wait."""
    while scope is not None:
        if scope._deadline is not None and not scope.cancelled:
            yield scope
        scope = None if scope._shield else scope._outer
