"""Runners: the greenlets that execute coroutines, one after another.

Rule 1: users never hold a greenlet. A coroutine borrows a runner from its first resume to its end.
Rule 2: a thread keeps idle runners for reuse, because a new greenlet costs ten times as much.

Recycling and recursion depth. A greenlet begins on top of the stack of the code that starts it, and for as long as it
lives the interpreter counts the calls below it against the recursion limit of whatever it executes. A runner started
deep in a recursion would therefore shorten the stack of every later coroutine that it executes, and coroutines that
start one another would begin deeper each time, until none can begin. Three measures prevent that:

- A runner records the depth at which it began (`base_depth`, found by `stack_depth` with a binary search over
  `sys._getframe`), and is kept for reuse only if that is at most `MAX_DEPTH`.
- A runner that is needed deeper than `DEEP_MARGIN` calls below the hub asks the hub to start runners itself at the end
  of the turn (`prestart_runner`). The hub stands near the bottom of the stack; coroutines to come find shallow runners.
- A runner is kept only if it goes back to the hub or to the main program. An idle greenlet stays in its last switch,
  which refers to the resumer: kept after any other resumer, it would keep that one's greenlet alive.

Since an idle runner lives on, and the traceback of an exception that the program keeps leads to its frame, each local
is dropped before each switch, and also when the runner ends: what a coroutine referred to must not outlive it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from greenlet import GreenletExit, getcurrent, greenlet

from .._switch_guard import collector, in_collector
from ..errors import NotYieldable
from .books import Sentinel, strip_kernel_frames

if TYPE_CHECKING:
    from collections.abc import Callable

    from .coroutine import Coroutine, LoopContext

current: Callable[[], Any] = getcurrent  # with the attributes of a Runner
MAX_IDLE_RUNNERS = 1024  # idle greenlets kept for reuse, per thread
MAX_DEPTH = 256  # a runner with more calls below it is not reused: they count against each coroutine's recursion limit
DEEP_MARGIN = 64  # a runner begins deep if it has more than so many calls below it than the hub has


FINISHED: Any = Sentinel("FINISHED")  # a runner passes it to the resumer when its coroutine has ended


class Runner(greenlet):
    """A greenlet that executes coroutines, one after another."""

    __slots__ = ("base_depth", "context", "coroutine")
    base_depth: int  # calls below it, which count against the recursion limit for as long as it lives; an upper bound
    coroutine: Coroutine | None
    context: Any

    def __del__(self) -> None:
        """Have the hub end a suspended coroutine that has no references left, if the collector found it.

        Otherwise the greenlet would run the `finally` blocks now, on the stack of the collector: see `_switch_guard`.
        """
        if collector.runs and in_collector() and self:
            self.context.call_soon(_kill_forgotten, self)


def new_runner(context: LoopContext) -> Runner:
    """Make a runner that begins at the caller's stack depth. An error before it has started is raised in the caller.

    Deep callers have the hub start runners for the coroutines to come; twice as many as the last time if the caller's
    own runner began deep too, that is, if the runners of the last time were not enough.
    """
    me = getcurrent()
    runner = Runner(runner_main, me)
    runner.context, runner.coroutine, runner.base_depth = context, None, stack_depth()
    deep = context.hub_greenlet.base_depth + DEEP_MARGIN
    if runner.base_depth > deep and context.hub is not None:
        context.hub._request_prestart(2 if getattr(me, "base_depth", 0) > deep else 1)
    return runner


def main_greenlet() -> Any:
    """Return the main greenlet of the calling thread."""
    main = current()
    while main.parent is not None:
        main = main.parent
    return main


def check_switchable() -> None:
    """Raise `NotYieldable` in a finalizer that the collector runs: see `_switch_guard`."""
    if in_collector():
        raise NotYieldable("a finalizer that the garbage collector runs cannot wait")


def _kill_forgotten(forgotten: Runner) -> None:
    """Run the `finally` blocks of a forgotten coroutine, from the hub. Raises the exception that escapes from them."""
    forgotten.parent = getcurrent()
    forgotten.throw()


def stack_depth() -> int:
    """Return an upper bound, at most 16 too high, of the calls that would be below a greenlet started by the caller."""
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
    """Start a runner for a coroutine to come; called by the hub."""
    new_runner(context).switch(context.hub_greenlet)


def runner_main(resumer: Any) -> object:
    """Run the body of every runner.

    resumer: None, or the hub, to which a pre-started runner goes back before its first coroutine.
    An exception that a signal handler raises between two coroutines becomes the error of the one that has ended, or is
    about to begin. In the first line it goes to the creator of the runner.
    """
    me: Any = getcurrent()
    me.parent = me.context.main._greenlet  # no longer the creator
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
    """Execute coroutines, one per round: deliver the outcome of the last one, wait for the next one, call its function.

    ran: whether a coroutine has ended and its resumer is not notified yet; it has failed if `errors` has an item.
    Returns the value for the parent, which is the resumer, when the runner ends; the head of this file says when it
    does, and why locals are dropped. The end of a coroutine calls no function of ours: it must work at the
    interpreter's recursion limit, too. Between two coroutines the interpreter looks for signals only at calls and at
    the end of the loop; each step may be repeated there (see `_kernel.dispatcher`).
    """
    context, value = current().context, None
    try:
        while True:
            me: Any = getcurrent()
            # Deliver the outcome of the coroutine that has ended: the resumer reads `value` and `_error`
            if ran:
                full = len(context.idle_runners) >= MAX_IDLE_RUNNERS
                coroutine = getattr(me, "coroutine", None)
                context.finished_count += 1
                if coroutine is None:  # it has no references left: it is being collected
                    raise errors.pop() if errors else GreenletExit
                resumer, coroutine.resumer = coroutine.resumer, None
                # `waiting_on` too: an emission may still compare it with the wait that is over
                coroutine.value, coroutine._greenlet, coroutine.waiting_on = value, None, None
                if errors:
                    coroutine._error, errors[:] = errors[0], ()
                if coroutine.operation is not None:
                    coroutine.operation.coroutine = None  # a cycle that would have to wait for the collector
                if resumer is coroutine.hub_greenlet:
                    context.last_finished = coroutine
                # Drop every reference before the switch; end instead of being reused if that would cost others
                me.coroutine = me.gr_context = coroutine = function = given = value = None
                ran, idle = False, resumer is context.hub_greenlet or resumer is context.main._greenlet
                if full or me.base_depth > MAX_DEPTH or not idle:
                    me.parent = resumer
                    return FINISHED
            # Be idle until the next coroutine is bound to this runner
            if resumer is not None:
                context.idle_runners += (me,)  # no call: a signal handler in it would find a runner that still runs
                del me, context
                value = resumer.switch(FINISHED)
                me, resumer = getcurrent(), None
            if me.coroutine is None:  # not resumed: a foreign greenlet, whose parent this is, has ended
                remove_idle(me)
                return value
            # Take the function, and call it
            context, (function, given) = me.context, me.coroutine._start
            context.started_count += 1
            me.coroutine._start = me.coroutine.contextvars = me = value = None
            ran = True
            try:
                # a call without a tuple to unpack takes less of the C stack, which each switch copies
                value = function() if not given else function(*given) if len(given) > 1 else function(given[0])
            except BaseException as caught:  # noqa: BLE001  # handed to the resumer
                if GreenletExit not in caught.__class__.__mro__:
                    caught.__traceback__ = caught.__traceback__ and caught.__traceback__.tb_next
                    # a signal handler may raise a second one: Python 3.12 leaves the `try` behind the jump to its end
                    caught.__context__ = caught.__context__ or (errors or (None,))[0]
                    errors[:] = (caught,)
    finally:
        me = context = resumer = coroutine = function = given = value = None


def _assign_error(raised: BaseException, errors: list[BaseException]) -> bool:
    """Make the exception of a signal handler the error of the coroutine that has ended or was about to begin.

    errors: the error of that coroutine so far, if any; replaced. Returns whether there is such a coroutine.
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
    """Take a runner that is about to end out of the idle ones."""
    context = getattr(runner, "context", None)
    if context is not None and runner in context.idle_runners:
        context.idle_runners.remove(runner)


def kill_greenlets(idle: list[Runner], hub: greenlet) -> None:
    """End the idle runners of a loop and its hub's greenlet: the collector frees no suspended greenlet."""
    for runner in (*idle, hub):
        runner.parent = getcurrent()
        runner.throw()
