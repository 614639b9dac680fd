"""A `with` block that can be cancelled: what deadlines and scopes have in common.

Rule 1: `Coroutine.scope` is the innermost block around a coroutine, `Coroutine.cancelled` the one that refuses its
waits. The kernel looks at the second; of the first it knows that it keeps the time of waits in other loops (`_watch`).
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

from .._asynchronous import asynchronous
from .._coroutines.books import foreign
from .._coroutines.coroutine import Coroutine, home, running
from .._coroutines.outcomes import Thrown
from .._coroutines.switching import interrupt
from .._interpreter import get_ident
from .._kernel.entries import Entry
from .._kernel.hub import Hub, this_hub
from .._report import purpose
from ..errors import Cancelled, Timeout
from .alarm import Alarm
from .origin import Origin, made_in

if TYPE_CHECKING:
    from .children import Task

_LATEST = 2.0**33  # seconds; what is later waits that long, 272 years
REFUSALS = 64  # waits of a coroutine that are refused in a row before others run


class Block(Origin):
    """A `with` block that can be cancelled, with at most one timer."""

    _shield = False
    _alarm: Alarm | None = None
    _host: ref[Coroutine] | None = None  # who is inside; weakly, its frames refer to us: it shall be collected
    _outer: Block | None = None
    _guest: Coroutine | None = None  # who stands for the host in another loop of the thread, while it waits there
    _joining = False
    _refused = False  # a wait inside was cut by this block
    _waited = ""  # what the coroutine inside waited for then
    _seconds = 0.0  # from the beginning of the block to its deadline
    _tasks: Iterable[Task[Any]] = ()  # the children that have not ended, in the order of their start

    def __init__(self, name: str, deadline: float | None, shield: bool, maker: FrameType | None) -> None:
        """name: the function that makes it. deadline: in seconds of `system.time()`; None: never.

        shield: no cancellation from outside enters. maker: the frame of the caller; it is not kept.
        """
        self._name = name
        self._deadline = deadline
        self.cancelled = False
        self.expired = False
        if shield is not False:
            self._shield = checked_shield(shield)
        self._maker = made_in(maker)

    @property
    def deadline(self) -> float | None:
        """In seconds of `system.time()`; None: never. It is said once."""
        return self._deadline

    def __enter__(self) -> Self:
        """Begin the block. Raises RuntimeError: a block can be entered once."""
        if self._entered or self._left:
            raise RuntimeError(f"{self!r} was entered before: make a new one for each block")
        self._entered = True
        host = running()
        self._host = ref(host)
        self._outer = host.scope
        host.scope = self
        try:
            if self.cancelled or host.cancelled is not None:
                host.cancelled = cancelling(host)  # we may be a shield
            if not self.cancelled and self._deadline is not None:
                self._set_alarm(host.home.hub or this_hub(), self._deadline)
        except BaseException:
            try:
                self._leave()
            except BaseException:  # of a second signal handler
                self._surely_leave()
                raise
            raise
        return self

    def _set_alarm(self, hub: Hub, deadline: float) -> None:
        left = round(deadline * 1e9) - hub.clock.update()
        self._seconds = self._seconds or left / 1e9
        if left <= 0:
            self._expire()
        else:
            self._alarm = Alarm(hub, self._expire)
            self._alarm.start(left)

    def _inside(self) -> Coroutine | None:
        """Return who is inside; None if nobody is, or if it is being collected."""
        return self._host() if self._host is not None else None

    def _leave(self) -> None:
        """End the block; others around it may be cancelled still. Raises RuntimeError if it was not its turn."""
        try:
            wrong = self._end()
        except BaseException:  # of a signal handler
            try:
                self._end()
            except BaseException:  # of a second one
                self._end()
                raise
            raise
        if wrong:
            raise RuntimeError(f"{self!r} {wrong}")

    def _surely_leave(self) -> None:
        """End the block after a signal handler has raised where that was about to be done, if it is open still."""
        if self._host is not None:
            self._leave()

    def _end(self) -> str:
        """Take the block out of those around its coroutine; return what is wrong. May be repeated."""
        host, entered = self._inside(), self._host is not None
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        if host is None:
            self._host, self._left = None, True
            return "" if entered else "is not open"
        innermost = host.scope is self
        if innermost:
            host.scope = outer = self._outer
            host.cancelled = outermost(outer) if outer is not None else None
        else:
            unlink(self, host)
            host.cancelled = cancelling(host)
        here = getattr(getcurrent(), "coroutine", None) is host
        self._host, self._left = None, True
        return "" if innermost and here else "was left before a block inside it, or by another coroutine"

    def cancel(self) -> None:
        """Have every wait inside the block raise `Cancelled`, from now until the block is left.

        Coroutines that wait now are resumed before this returns. Nothing happens the second time, or after the block.
        Does not suspend. Raises `ForeignThread`, and KeyboardInterrupt or SystemExit of a coroutine that is resumed.
        """
        host = self._inside()
        if host is not None and host.home.thread != get_ident():
            raise foreign(f"{self!r}", host.home.thread)
        if self.cancelled or self._left:
            return
        self.cancelled = True
        try:
            if host is not None and self._becomes_timeout():
                self._waited = wait_of(host)
            self._cut()
        except BaseException:  # perhaps a signal handler's: the hub tells those who are left
            home().call_soon(self._cut_rest)
            raise

    def _cut_rest(self) -> None:
        """Tell those inside who may not know yet that the block was cancelled; the others are told nothing new."""
        if not self._left:
            try:
                self._cut()
            except BaseException:
                home().call_soon(self._cut_rest)
                raise

    def _cut(self) -> None:
        """Cut the waits inside the block. May be repeated."""
        host = self._inside()
        leaving: BaseException | None = None
        for one in self._concerned(host):
            try:
                tell(one)
            except BaseException as error:  # noqa: BLE001  # KeyboardInterrupt, SystemExit: raised below
                if leaving is None:
                    leaving = error
                else:
                    one.home.report(one, error)
        if leaving is not None:
            try:
                raise_again(leaving)
            finally:
                del leaving  # the traceback refers to this frame

    def _expire(self) -> None:
        """The time is up."""
        self._alarm = None
        self._overdue()

    def _overdue(self) -> None:
        if not self.cancelled:
            self.expired = True
            self.cancel()

    def _watch(self, guest: Coroutine) -> Watch | None:
        """Keep the time while `guest` waits for our host in another loop: the host's own is not turned meanwhile."""
        host = self._inside()
        if host is None:
            return None
        if host.home is not guest.home:
            return Watch(self, host, guest)
        self._renew(host)
        return None

    def _renew(self, host: Coroutine) -> None:
        """Set the timers again that were left with the loop of the parent process: this is the child of a fork."""
        block: Block | None = self
        while block is not None:
            alarm, deadline = block._alarm, block._deadline
            if alarm is not None and deadline is not None and alarm.hub is not host.home.hub:
                block._set_alarm(this_hub(), deadline)
            block = block._outer

    def _drive(self, me: Coroutine) -> Watch | Respite:
        """Have `me`, our host or who stands for it in another loop, run a loop, which no deadline of it keeps alive."""
        watch = self._watch(me)
        if watch is None:
            return Respite(self)
        watch.hold(False)
        return watch

    def _concerned(self, host: Coroutine | None) -> list[Coroutine]:
        """Return every coroutine inside, also those under a shield: children come before who waits for them."""
        found: list[Coroutine] = []
        todo: list[tuple[Coroutine, Block]] = [(task.coroutine, self) for task in self._tasks]
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

    def _error(self) -> Cancelled:
        """Return what a wait raises after the block was cancelled: a new one each time."""
        self._refused = True
        return Cancelled(f"the time of {self._label} is up" if self.expired else f"{self._label} was cancelled", self)

    def _refuse(self, waiter: Coroutine, what: object) -> None:
        """Raise `Cancelled` in place of a wait for `what`, which the caller has prepared, and will undo.

        A coroutine that goes on trying would stop the others for ever. So the 64th wait in a row begins, and is cut in
        the next turn of the loop: whatever runs before that may bring what it waits for, as with every wait.
        waiter: the running coroutine, or what stands for it in the loop that it waits in.
        """
        if self._count(what):
            waiter.home.enqueue(_Cut(waiter))
        else:
            raise self._error()

    def _refuse_start(self, waiter: Coroutine, what: object) -> NoReturn:
        """Raise `Cancelled` in place of a wait for `what` that is not to begin; the 64th in a row after a turn."""
        if self._count(what):
            me = running()
            me.cancelled = None
            try:
                (waiter.home.hub or this_hub()).turn()
            finally:
                me.cancelled = cancelling(me)
        raise self._error()

    def _count(self, what: object) -> bool:
        """Note what was refused; return whether others must run, as the running coroutine was refused so often."""
        if not self._waited and self._becomes_timeout():
            self._waited = purpose(what)
        me = running()
        count = 1 - min(me.since, 0)  # the time when it suspended means nothing now; its next wait sets it again
        me.since = -count if count < REFUSALS else 0
        return count == REFUSALS

    def _becomes_timeout(self) -> bool:
        """Return whether the block, now that it was cancelled, ends with `Timeout`."""
        return self.expired

    def _timeout(self) -> Timeout:
        """Return what the block raises at its end, where its waits were cut."""
        if not self.expired:
            text = "cancelled"
        elif self._seconds > 0:
            text = f"timed out after {round(self._seconds, 3):g} s"
        else:
            text = "timed out at once"
        waited = f", waiting on {self._waited}" if self._waited else ""
        return Timeout(f"{text}{waited} ({self._label})", self)

    def _state(self) -> str:
        return "expired" if self.expired else "cancelled" if self.cancelled else "left" if self._left else "open"


def tell(one: Coroutine) -> None:
    """Cut the wait of a coroutine inside a block that was cancelled just now.

    Raises KeyboardInterrupt and SystemExit.
    """
    inner: Block | None = one.scope
    if inner is not None and inner._joining and inner._inside() is one:
        return  # it is its children that have to end; then it is told
    one.cancelled = block = cancelling(one)
    if inner is not None and (guest := inner._guest) is not None:
        guest.cancelled = block
        guest.home.hub.ready.append(_Cut(guest))
    elif one._greenlet is getcurrent() or (one.resumer is None and asynchronous()):
        one.home.enqueue(_Cut(one))  # a signal handler calls: it may be about to wait, or must not be entered here
    elif block is not None and one._start is None:  # else its first wait raises
        cut(one, block)


def cut(coroutine: Coroutine, block: Block) -> None:
    """Raise that `block` was cancelled in a coroutine that waits, or that runs its loop.

    Raises KeyboardInterrupt and SystemExit.
    """
    hub = coroutine.home.hub
    if hub is not None and hub.caller is coroutine:
        if not hub.exits:  # else it is about to leave anyway
            hub.exit(block._error())
    elif coroutine.resumer is None and coroutine.status == "suspended":
        interrupt(coroutine, Thrown(block._error()))


def wait_of(coroutine: Coroutine) -> str:
    """Return what a coroutine inside a block waits for; if it is its children, also what the first one waits for."""
    text, inner = _wait_of(coroutine), coroutine.scope
    if inner is not None and inner._joining and inner._inside() is coroutine:
        for task in inner._tasks:
            return f"{text}, of which {task.coroutine.name} waits on {_wait_of(task.coroutine)}"
    return text


def _wait_of(coroutine: Coroutine) -> str:
    guest = coroutine.scope._guest if coroutine.scope is not None else None
    waiter = coroutine if guest is None else guest
    return purpose(waiter.waiting_on) if waiter.resumer is None else ""


def unlink(block: Block, coroutine: Coroutine) -> None:
    """Take a block out of those around a coroutine; it is the innermost one, if nothing went wrong."""
    if coroutine.scope is block:
        coroutine.scope = block._outer
        return
    inner: Block | None = coroutine.scope
    while inner is not None and inner._outer is not block:
        inner = inner._outer
    if inner is not None:
        inner._outer = block._outer


def cancelling(coroutine: Coroutine) -> Block | None:
    """Return the outermost cancelled block around a coroutine that no shield keeps out."""
    return outermost(coroutine.scope)


def outermost(block: Block | None) -> Block | None:
    """Return the outermost cancelled block from this one outwards that no shield keeps out."""
    found = None
    while block is not None:
        if block.cancelled:
            found = block
        block = None if block._shield else block._outer
    return found


def is_of(error: BaseException | None, block: Block | None) -> bool:
    """Return whether an exception is the cancellation of a block."""
    return block is not None and isinstance(error, Cancelled) and error.scope is block


def raise_again(error: BaseException) -> NoReturn:
    """Raise an exception again; what it was raised in the context of stays what it was."""
    context = error.__context__
    try:
        raise error
    finally:
        error.__context__ = context
        del error, context  # the traceback refers to this frame


def checked_time(name: str, value: Any) -> float | None:
    """Return a number of seconds, None if it is no limit. Raises TypeError, ValueError (NaN)."""
    if (value.__class__ is int or value.__class__ is float) and -_LATEST < value < _LATEST:
        return value
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if value != value:  # noqa: PLR0124  # NaN
        raise ValueError(f"{name} must not be NaN")
    return None if value == math.inf else max(min(value, _LATEST), -_LATEST)


def checked_shield(value: Any) -> bool:
    """Return a bool. Raises TypeError."""
    if not isinstance(value, bool):
        raise TypeError(f"shield must be a bool, not {value!r}")
    return value


class Watch:
    """The deadline of whichever block around a coroutine comes first, for as long as it waits in another loop."""

    def __init__(self, block: Block, host: Coroutine, guest: Coroutine) -> None:
        """block: the innermost one around `host`, for whom `guest` waits."""
        self._block = block
        self._alarm: Alarm | None = None
        block._guest = guest
        try:
            self._start(block, host.home.hub, guest.home.hub)
        except BaseException:
            self.stop()
            raise

    def _start(self, block: Block, own: Hub | None, hub: Hub) -> None:
        first = min(_running(block), key=lambda one: one._deadline or 0, default=None)
        if first is not None and first._deadline is not None and own is not None:  # its loop may be closed
            left = round(first._deadline * 1e9) - own.clock.update()
            self._alarm = Alarm(hub, first._overdue)
            self._alarm.start(max(left, 0))

    def hold(self, hold: bool) -> None:
        """Set whether the loop is alive for this deadline's sake."""
        if self._alarm is not None:
            self._alarm.hold(hold)

    def stop(self) -> None:
        """The wait is over."""
        self._block._guest = None
        if self._alarm is not None:
            self._alarm.stop()


class Respite:
    """The deadlines around a coroutine that runs its own loop: they cut that, but are no reason to go on."""

    def __init__(self, block: Block) -> None:
        """block: the innermost one."""
        self._alarms: list[Alarm] = []
        around: Block | None = block
        while around is not None:
            if around._alarm is not None:
                around._alarm.hold(False)
                self._alarms.append(around._alarm)
            around = around._outer

    def stop(self) -> None:
        """The loop runs no more."""
        for alarm in self._alarms:
            alarm.hold(True)


class _Cut(Entry):
    """Cut a wait from the hub: one in another loop, as the coroutine that cancels does not wait for what its host does
    next; one that was about to begin when a signal handler cancelled; or one that was not refused, see `Block._refuse`.
    """

    __slots__ = ("guest",)

    def __init__(self, guest: Coroutine) -> None:
        self.guest = guest

    def fire(self) -> None:
        """Do so, if it waits still."""
        if self.guest.cancelled is not None and self.guest._start is None:
            cut(self.guest, self.guest.cancelled)


def _running(block: Block | None) -> Iterator[Block]:
    """Yield the blocks, from this one outwards, whose deadline has not come and can cut a wait."""
    while block is not None:
        if block._deadline is not None and not block.cancelled:
            yield block
        block = None if block._shield else block._outer
