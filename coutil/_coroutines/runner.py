"""Runners: the greenlets that execute coroutines, one after another.

Rule 1: users never hold a greenlet. A coroutine borrows a runner from its first resume to its end.
Rule 2: a thread keeps idle runners for reuse, because a new greenlet costs ten times as much.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._asynchronous import collector, in_collector
from .books import Token, leave_out_own_frames

if TYPE_CHECKING:
    from .coroutine import Coroutine, Home

KEPT = 1024  # idle greenlets kept for reuse, per thread
SHALLOW = 256  # calls below a runner with which it is kept: those that it has there, it lacks wherever it is used again
DEEP = 64  # calls more than below the hub with which a runner begins deep


ENDED: Any = Token("ENDED")  # what a runner hands back when its coroutine has ended


class Runner(greenlet):
    """A greenlet that executes coroutines, one after another."""

    __slots__ = ("below", "coroutine", "home")
    below: int  # calls that count against the recursion limit for as long as it lives; about, and at least
    coroutine: Coroutine | None
    home: Any

    def __del__(self) -> None:
        """End a suspended coroutine that was forgotten: from the hub, if the collector has found it.

        Its greenlet would run its `finally` blocks now, on the stack of the collector: see `asynchronous`.
        """
        if collector.runs and in_collector() and self:
            self.home.call_soon(_end, self)


def new_runner(home: Home) -> Runner:
    """Make a runner that begins where the caller is. What goes wrong before it has begun goes to the caller.

    Coroutines that begin one another would begin deeper each time, although the hub resumes each of them: so the hub is
    asked to begin runners itself for the next ones, and for more if the last ones went to others.
    """
    me = getcurrent()
    made = Runner(work, me)
    made.home, made.coroutine, made.below = home, None, depth()
    deep = home.gate.below + DEEP
    if made.below > deep and home.hub is not None:
        home.hub.ask_for_spares(2 if getattr(me, "below", 0) > deep else 1)
    return made


def _end(forgotten: Runner) -> None:
    """Run the `finally` blocks of a forgotten coroutine, from the hub. Raises what escapes from them."""
    forgotten.parent = getcurrent()
    forgotten.throw()


def depth() -> int:
    """Return how many calls would be below a greenlet that the caller begins; at least, and at most 16 more."""
    low, high = 0, 16
    while _reaches(high):
        low, high = high, high * 2
    while high - low > 16:
        middle = (low + high) // 2
        low, high = (middle, high) if _reaches(middle) else (low, middle)
    return high + getattr(getcurrent(), "below", 0)


def _reaches(frames: int) -> bool:
    try:
        return sys._getframe(frames) is not None
    except ValueError:  # the stack is not that deep
        return False


def begin_spare(home: Home) -> None:
    """Begin a runner for a coroutine to come; from the hub."""
    new_runner(home).switch(home.gate)


def work(resumer: Any) -> object:
    """Body of every runner.

    resumer: None, or the hub, which a spare runner goes back to before its first coroutine.
    What a signal handler raises between two coroutines is the error of the one that has ended, or is about to begin; in
    the first line it goes to the creator of the runner.
    """
    me: Any = getcurrent()
    me.parent = me.home.main._greenlet  # no more the creator
    del me
    errors: list[BaseException] = []
    ran = False
    while True:
        try:
            return _serve(resumer, ran, errors)
        except BaseException as raised:
            if not _between(raised, errors):
                raise
            ran = True


def _serve(resumer: Any, ran: bool, errors: list[BaseException]) -> object:
    """Execute coroutines. The locals are dropped before each switch: an idle runner keeps nothing alive.

    An idle runner stays in its last switch, which refers to the resumer. So only runners that go back to the hub or to
    the main program, and that were not begun deep in the stack, are kept; the others end, and go to their parent, which
    is the resumer then. The end of a coroutine calls no function of ours: it must work at the interpreter's recursion
    limit, too.
    ran: whether a coroutine has ended, and its resumer is not told yet; it has failed if there is one of `errors`.
    Between two coroutines nothing looks for signals but calls and the end of the loop: each step may be repeated there.
    The locals are also dropped when a runner ends. An exception that the program keeps leads to this frame, by its
    traceback; a runner that has ended refers to its parent, and that executes other coroutines.
    """
    where, value = getcurrent().home, None  # type: ignore[attr-defined]  # a Runner has it
    try:
        while True:
            me: Any = getcurrent()
            if ran:
                full = len(where.runners) >= KEPT
                coroutine = getattr(me, "coroutine", None)
                where.ended += 1
                if coroutine is None:  # everybody has forgotten the coroutine: it is being collected
                    raise errors.pop() if errors else GreenletExit
                resumer, coroutine.resumer = coroutine.resumer, None
                # it may still be looked for in what it waited for
                coroutine.value, coroutine._greenlet, coroutine.waiting_on = value, None, None
                if errors:
                    coroutine._error, errors[:] = errors[0], ()
                if coroutine.operation is not None:
                    coroutine.operation.coroutine = None  # a cycle that would have to wait for the collector
                if resumer is coroutine.gate:
                    where.ended_last = coroutine
                me.coroutine = me.gr_context = coroutine = function = given = value = None
                if full or me.below > SHALLOW or (resumer is not where.gate and resumer is not where.main._greenlet):
                    me.parent = resumer
                    return ENDED
                ran = False
            if resumer is not None:
                where.runners += (me,)  # and not a call: a signal handler would find it there while it runs
                del me, where
                value = resumer.switch(ENDED)
                me, resumer = getcurrent(), None
            if me.coroutine is None:  # not resumed, but woken by a greenlet of somebody else that has us as its parent
                _discard(me)
                return value
            where, (function, given) = me.home, me.coroutine._start
            where.started += 1
            me.coroutine._start = me.coroutine.context = me = value = None
            ran = True
            try:
                # without a tuple to unpack, a call takes less of the C stack, which each switch copies
                value = function() if not given else function(*given) if len(given) > 1 else function(given[0])
            except BaseException as caught:  # noqa: BLE001  # handed to the resumer
                if GreenletExit not in caught.__class__.__mro__:
                    caught.__traceback__ = caught.__traceback__ and caught.__traceback__.tb_next
                    # a signal handler's may come second: Python 3.12 leaves the `try` only behind the jump to its end
                    caught.__context__ = caught.__context__ or (errors or (None,))[0]
                    errors[:] = (caught,)
    finally:
        me = where = resumer = coroutine = function = given = value = None


def _between(raised: BaseException, errors: list[BaseException]) -> bool:
    """Have a coroutine that has ended, or was about to begin, fail with what a signal handler has raised.

    Returns whether there is one. errors: what it has failed with before.
    """
    me: Any = getcurrent()
    coroutine = getattr(me, "coroutine", None)
    if coroutine is None or isinstance(raised, GreenletExit):
        _discard(me)
        return False
    if coroutine._start is not None:
        me.home.started += 1
        coroutine._start = coroutine.context = None
    if errors and raised.__context__ is None:
        raised.__context__ = errors[0]
    leave_out_own_frames(raised)
    errors[:] = (raised,)
    return True


def _discard(runner: Any) -> None:
    """Forget an idle runner that is about to end."""
    where = getattr(runner, "home", None)
    if where is not None and runner in where.runners:
        where.runners.remove(runner)


def retire(idle: list[Runner], hub: greenlet) -> None:
    """End the idle runners of a thread, and its hub's greenlet: the collector takes no greenlet that is suspended."""
    for one in (*idle, hub):
        one.parent = getcurrent()
        one.throw()
