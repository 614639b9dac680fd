"""Runners: the greenlets that execute coroutines, one after another.

Rule 1: users never hold a greenlet. A coroutine borrows a runner from its first resume to its end.
Rule 2: a thread keeps idle runners for reuse, because a new greenlet costs ten times as much.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._switch_guard import collector, in_collector
from .books import Sentinel, strip_kernel_frames

if TYPE_CHECKING:
    from .coroutine import Coroutine, LoopContext

MAX_IDLE_RUNNERS = 1024  # idle greenlets kept for reuse, per thread
# Calls below a runner with which it is kept: those that it has there, it lacks wherever it is used again
MAX_DEPTH = 256
DEEP_MARGIN = 64  # calls more than below the hub with which a runner begins deep


FINISHED: Any = Sentinel("FINISHED")  # what a runner hands back when its coroutine has ended


class Runner(greenlet):
    """A greenlet that executes coroutines, one after another."""

    __slots__ = ("base_depth", "context", "coroutine")
    base_depth: int  # calls that count against the recursion limit for as long as it lives; about, and at least
    coroutine: Coroutine | None
    context: Any

    def __del__(self) -> None:
        """End a suspended coroutine that was forgotten: from the hub, if the collector has found it.

        Its greenlet would run its `finally` blocks now, on the stack of the collector: see `switch_forbidden`.
        """
        if collector.runs and in_collector() and self:
            self.context.call_soon(_kill_forgotten, self)


def new_runner(context: LoopContext) -> Runner:
    """Make a runner that begins where the caller is. What goes wrong before it has started goes to the caller.

    Coroutines that begin one another would begin deeper each time, although the hub resumes each of them: so the hub is
    asked to begin runners itself for the next ones, and for more if the last ones went to others.
    """
    me = getcurrent()
    made = Runner(runner_main, me)
    made.context, made.coroutine, made.base_depth = context, None, stack_depth()
    deep = context.hub_greenlet.base_depth + DEEP_MARGIN
    if made.base_depth > deep and context.hub is not None:
        context.hub._request_prestart(2 if getattr(me, "base_depth", 0) > deep else 1)
    return made


def _kill_forgotten(forgotten: Runner) -> None:
    """Run the `finally` blocks of a forgotten coroutine, from the hub. Raises what escapes from them."""
    forgotten.parent = getcurrent()
    forgotten.throw()


def stack_depth() -> int:
    """Return how many calls would be below a greenlet that the caller begins; at least, and at most 16 more."""
    low, high = 0, 16
    while _stack_has(high):
        low, high = high, high * 2
    while high - low > 16:
        middle = (low + high) // 2
        low, high = (middle, high) if _stack_has(middle) else (low, middle)
    return high + getattr(getcurrent(), "base_depth", 0)


def _stack_has(frames: int) -> bool:
    try:
        return sys._getframe(frames) is not None
    except ValueError:  # the stack is not that deep
        return False


def prestart_runner(context: LoopContext) -> None:
    """Begin a runner for a coroutine to come; from the hub."""
    new_runner(context).switch(context.hub_greenlet)


def runner_main(resumer: Any) -> object:
    """Body of every runner.

    resumer: None, or the hub, which a spare runner goes back to before its first coroutine.
    What a signal handler raises between two coroutines is the error of the one that has ended, or is about to begin; in
    the first line it goes to the creator of the runner.
    """
    me: Any = getcurrent()
    me.parent = me.context.main._greenlet  # no more the creator
    del me
    errors: list[BaseException] = []
    ran = False
    while True:
        try:
            return _run_coroutines(resumer, ran, errors)
        except BaseException as raised:
            if not _assign_error(raised, errors):
                raise
            ran = True


def _run_coroutines(resumer: Any, ran: bool, errors: list[BaseException]) -> object:
    """Execute coroutines. The locals are dropped before each switch: an idle runner keeps nothing alive.

    An idle runner stays in its last switch, which refers to the resumer. So only runners that go back to the hub or to
    the main program, and that were not started deep in the stack, are kept; the others end, and go to their parent,
    which is the resumer then. The end of a coroutine calls no function of ours: it must work at the interpreter's
    recursion limit, too.
    ran: whether a coroutine has ended, and its resumer is not notified yet; it has failed if there is one of `errors`.
    Between two coroutines nothing looks for signals but calls and the end of the loop: each step may be repeated there.
    The locals are also dropped when a runner ends. An exception that the program keeps leads to this frame, by its
    traceback; a runner that has ended refers to its parent, and that executes other coroutines.
    """
    context, value = getcurrent().context, None  # type: ignore[attr-defined]  # a Runner has it
    try:
        while True:
            me: Any = getcurrent()
            if ran:
                full = len(context.idle_runners) >= MAX_IDLE_RUNNERS
                coroutine = getattr(me, "coroutine", None)
                context.finished_count += 1
                if coroutine is None:  # everybody has forgotten the coroutine: it is being collected
                    raise errors.pop() if errors else GreenletExit
                resumer, coroutine.resumer = coroutine.resumer, None
                # it may still be looked for in what it waited for
                coroutine.value, coroutine._greenlet, coroutine.waiting_on = value, None, None
                if errors:
                    coroutine._error, errors[:] = errors[0], ()
                if coroutine.operation is not None:
                    coroutine.operation.coroutine = None  # a cycle that would have to wait for the collector
                if resumer is coroutine.hub_greenlet:
                    context.last_finished = coroutine
                me.coroutine = me.gr_context = coroutine = function = given = value = None
                ran, idle = False, resumer is context.hub_greenlet or resumer is context.main._greenlet
                if full or me.base_depth > MAX_DEPTH or not idle:
                    me.parent = resumer
                    return FINISHED
            if resumer is not None:
                context.idle_runners += (me,)  # and not a call: a signal handler would find it there while it runs
                del me, context
                value = resumer.switch(FINISHED)
                me, resumer = getcurrent(), None
            if me.coroutine is None:  # not resumed, but woken by a greenlet of somebody else that has us as its parent
                remove_idle(me)
                return value
            context, (function, given) = me.context, me.coroutine._start
            context.started_count += 1
            me.coroutine._start = me.coroutine.contextvars = me = value = None
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
        me = context = resumer = coroutine = function = given = value = None


def _assign_error(raised: BaseException, errors: list[BaseException]) -> bool:
    """Have a coroutine that has ended, or was about to begin, fail with what a signal handler has raised.

    Returns whether there is one. errors: what it has failed with before.
    """
    me: Any = getcurrent()
    coroutine = getattr(me, "coroutine", None)
    if coroutine is None or isinstance(raised, GreenletExit):
        remove_idle(me)
        return False
    if coroutine._start is not None:
        me.context.started_count += 1
        coroutine._start = coroutine.contextvars = None
    if errors and raised.__context__ is None:
        raised.__context__ = errors[0]
    strip_kernel_frames(raised)
    errors[:] = (raised,)
    return True


def remove_idle(runner: Any) -> None:
    """Forget an idle runner that is about to end."""
    context = getattr(runner, "context", None)
    if context is not None and runner in context.idle_runners:
        context.idle_runners.remove(runner)


def kill_greenlets(idle: list[Runner], hub: greenlet) -> None:
    """End the idle runners of a thread, and its hub's greenlet: the collector takes no greenlet that is suspended."""
    for one in (*idle, hub):
        one.parent = getcurrent()
        one.throw()
