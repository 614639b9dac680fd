"""Coroutines over greenlets.

A coroutine is not a greenlet: it borrows one (a *runner*) while it is alive. `switching` moves control between them.

Rule: this file needs no libuv. The kernel, which can wake a waiting main program, registers itself as
`LoopContext.start_hub` when it is imported; that happens at the latest when the main program waits.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from importlib import import_module
from types import FrameType
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._interpreter import get_ident, local
from .._switch_guard import needs_check, switch_forbidden
from ..errors import Cancelled, DeadCoroutine, Deadlock, NotYieldable, RunningCoroutine
from .attributes import public_names
from .books import (
    LoopContextBase,
    NonCopyable,
    caller_location,
    calling_frame,
    foreign_thread_error,
    strip_kernel_frames,
)
from .outcomes import PendingException
from .runner import Runner, current, kill_greenlets, main_greenlet, new_runner, stack_depth
from .states import DEBUG
from .switching import ForeignEntry, switch_to, throw_into_caller


class LoopContext(LoopContextBase):
    """State of an event loop and its coroutines: a main coroutine, idle runners, and the greenlet of the hub.

    The first loop context of an OS thread belongs to its main program, and exists before the loop. Each further loop
    has its own loop context. A coroutine belongs to the loop context of its creator, and so do the calls that it waits
    in.
    """

    __slots__ = ("hub_greenlet",)

    start_hub: Callable[[LoopContext], None] | None = None  # body of the hub's greenlet; hub.py sets it

    def __init__(self, main_greenlet: Any, first: bool = True) -> None:
        """`main_greenlet` is the main greenlet of the calling thread. first: the thread has no other loop context."""
        super().__init__()
        self.reset_hub_greenlet(main_greenlet)
        self.main = foreign_coroutine(main_greenlet, self, "main")
        if first:
            main_greenlet.context, main_greenlet.coroutine = self, self.main
            _thread_local.end = _ThreadExitCleanup(self.pending_ready)
        else:
            self.excepthook, self.shutting_down = main_greenlet.context.excepthook, main_greenlet.context.shutting_down

    def reset_hub_greenlet(self, main_greenlet: Any) -> None:
        """Make the greenlet that the hub will run in; it starts when a coroutine waits."""
        self.hub_greenlet = Runner(self._hub_main, main_greenlet)
        self.hub_greenlet.context, self.hub_greenlet.coroutine, self.hub_greenlet.base_depth = self, None, 0

    def prepare_hub_greenlet(self) -> None:
        """Prepare the greenlet of the hub, which the caller is about to start.

        If it has ended already, a signal handler has raised in its first step, which no `try` covers: it is made anew.
        """
        old = self.hub_greenlet
        if old.dead:
            self.reset_hub_greenlet(self.main._greenlet)
            if self.hub is not None:
                self.hub.greenlet = self.hub_greenlet
            for one in gc.get_referrers(old):
                if one.__class__ is Coroutine and one.hub_greenlet is old:
                    one.hub_greenlet = self.hub_greenlet
        self.hub_greenlet.base_depth = stack_depth()

    def detach_hub(self) -> None:
        """Forget the hub; the next wait gets a new one."""
        self.hub = self.main.operation = None
        self.reset_hub_greenlet(self.main._greenlet)
        if self.main.resumer is not None:
            self.main.resumer = self.main.hub_greenlet  # it may have been the old hub

    def kill_idle_runners(self, hub: Any) -> None:
        """End the idle runners and the greenlet of the hub."""
        idle, self.idle_runners = self.idle_runners, []
        kill_greenlets(idle, hub)

    def _hub_main(self, _: object) -> None:
        while True:
            try:
                if self.start_hub is None:
                    with suppress(ImportError):  # there is no libuv
                        import_module("coutil._kernel.hub")  # which sets it
                if self.start_hub is None:
                    if self.pending_ready:
                        self.pending_ready.popleft().run()
                        continue
                    raise Deadlock("nothing can wake the caller: no event loop is in use")
                return self.start_hub(self)
            except GreenletExit:  # see kill_greenlets()
                raise
            except BaseException as error:  # noqa: BLE001  # raised in the waiter: there is no hub now
                thrown = PendingException(error)
            throw_into_caller(self.interrupt_target(), thrown)


class _ThreadExitCleanup:
    """Drops the entries that wait for a hub when their thread ends: there will be none."""

    __slots__ = ("pending_ready",)

    def __init__(self, pending: Any) -> None:
        self.pending_ready = pending

    def __del__(self) -> None:
        self.pending_ready.clear()


_thread_local = local()


def current_context() -> LoopContext:
    """Return the loop context of the running coroutine or hub; outside of both, the first one of the calling thread."""
    try:
        context: LoopContext = current().context
    except AttributeError:  # a foreign greenlet, or a runner that the collector has cleared
        main = main_greenlet()
        context = getattr(main, "context", None) or LoopContext(main)
    return context


def thread_has_context() -> bool:
    """Return whether the calling OS thread has, or had, a coroutine or a loop."""
    return getattr(main_greenlet(), "context", None) is not None


class Coroutine(NonCopyable):
    """A function that runs until it waits, and continues when it is resumed.

    `name` (str) is shown in reprs and reports. All attributes but the documented ones belong to the kernel.
    """

    __slots__ = [
        "__weakref__",
        "_error",
        "_greenlet",
        "_name",
        "_start",
        "cancelled_scope",
        "context",
        "contextvars",
        "created_at",
        "hub_greenlet",
        "operation",
        "parked_at",
        "pending_wakeup",
        "resumer",
        "scope",
        "value",
        "waiting_on",
    ]

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...] = (), name: str | None = None, depth: int = 1
    ) -> None:
        """See `create`.

        arguments: passed to `function` if the first resume has none. depth: number of frames up to the creator.
        """
        me: Any = getcurrent()
        try:
            self.context: LoopContext = me.coroutine.context
        except AttributeError:
            self.context = current_context()
        self._start: tuple[Callable[..., Any], tuple[Any, ...]] | None = (function, arguments)
        self._greenlet: Any = None
        self._name = name
        self._error: BaseException | None = None
        self.value: Any = None
        self.contextvars: Context | None = copy_context()
        self.hub_greenlet: Any = self.context.hub_greenlet
        self.resumer: Any = None
        self.operation: Any = None
        self.waiting_on: Any = None
        self.pending_wakeup: Any = None  # token of a wake-up that came before it suspended: see `switching`
        # Approximate time of its suspension in nanoseconds. Negative: count of refused waits, see Block._refuse
        self.parked_at = 0
        self.scope: Any = None  # the innermost scope around it
        self.cancelled_scope: Any = None  # the block that refuses every wait
        self.created_at = caller_location(calling_frame(depth)) if DEBUG else ""

    @property
    def name(self) -> str:
        """The name given at creation, else the function's."""
        if self._name is None:
            function = self._start[0] if self._start else None
            self._name = getattr(function, "__qualname__", None) or f"coroutine-{id(self):x}"
        return self._name

    @property
    def status(self) -> str:
        """One of "suspended" (waiting or not started), "running", "normal" (it has resumed another), or "dead"."""
        if self._greenlet is None:
            return "suspended" if self._start else "dead"
        if self.resumer is None:
            return "suspended"
        if self._greenlet.dead:  # a foreign greenlet
            return "dead"
        return "running" if self._greenlet is getcurrent() else "normal"

    @property
    def frame(self) -> FrameType | None:
        """The innermost frame of a suspended coroutine, else None."""
        return self._greenlet.gr_frame if self._greenlet is not None else None

    def __repr__(self) -> str:
        """Return name, status, and the reason of the wait."""
        status = self.status
        waits = f" on {self.waiting_on}" if status == "suspended" and self.waiting_on is not None else ""
        return f"<Coroutine {self.name} {status}{waits}>"

    def __dir__(self) -> list[str]:
        """Return the documented names: the slots belong to the kernel."""
        return public_names(self)

    def resume(self, *values: Any) -> Any:
        """Run the coroutine until it waits, yields or ends; its current wait is cancelled and returns `values`.

        values: arguments of the function at the first resume. Later: none becomes None, one itself, several a tuple.
        In a signal handler, and in a finalizer that the collector runs, the hub makes the call later; this returns
        None then.
        Returns the value that the coroutine yields (None if it waits), or its result if it ends.
        Raises `RunningCoroutine`, `DeadCoroutine`, `ForeignThread`, or the exception that escapes from the coroutine.
        Lua: coroutine.resume.
        """
        if self.resumer is not None:
            raise RunningCoroutine(f"cannot resume {self!r}: it is not suspended")
        if needs_check and switch_forbidden():
            return self._call_from_hub("resume", *values)
        # From here on the coroutine counts as running: a signal handler cannot resume it a second time
        self.resumer = me = getcurrent()
        value = None
        # Bind a runner at the first resume; later give the runner its coroutine back. Then switch
        try:
            if self._start is not None or self._greenlet is None:
                self._bind_runner(values)
            else:
                if self._greenlet is me:
                    raise self._suspending()
                self._greenlet.coroutine = self
                value = values[0] if len(values) == 1 else values or None
            return switch_to(self, value)
        except RecursionError:
            self.resumer = None  # it has parked or ended, or the stack had no room to enter it
            self._recover()
            raise
        except BaseException as error:
            self._recover()
            strip_kernel_frames(error)
            raise

    def _recover(self) -> bool:
        """Repair the state after an exception of `switch_to`; return whether the exception is not the coroutine's own.

        A coroutine that could not begin (the stack had no room, or a signal handler raised) is as before. If the
        coroutine has ended, its own error goes to the excepthook.
        """
        # It could not begin
        if self._start is not None:  # from here on nothing looks for signals
            runner, self.resumer, self._greenlet = self._greenlet, None, None
            if runner is not None:
                runner.coroutine = None
                if runner:  # the greenlet has started: it is idle
                    self.context.idle_runners += (runner,)
            return True
        # It has ended: its own error was raised by `_result`, unless `_error` still holds it
        if self._greenlet is None:
            error, self._error, self.value = self._error, None, None
            if self.context.last_finished is self:
                self.context.last_finished = None
            if error is None:
                return False
            self.context.report(self, error)
        elif self.resumer is getcurrent():  # it was not entered
            self.resumer = None
        return True

    def _launch(self) -> None:
        """Resume the coroutine for the first time; an exception that escapes at once goes to the excepthook.

        Raises the TypeError of a function that could not be entered, usually because of its arguments.
        """
        if needs_check and switch_forbidden():
            return self._call_from_hub("_launch")
        self.resumer = getcurrent()
        try:
            self._bind_runner(())
            switch_to(self, None)
        except (Exception, Cancelled) as error:  # reported
            if self._recover():  # the stack had no room, or a signal handler has raised
                raise
            strip_kernel_frames(error)
            if error.__class__ is TypeError and error.__traceback__ is None:
                raise
            self.context.report(self, error)
        except BaseException:
            self._recover()
            raise

    def _call_from_hub(self, method: str, *arguments: Any) -> None:
        """Have the hub call a method of ours, because the caller must not switch: see `_switch_guard`.

        Raises `ForeignThread`, `DeadCoroutine`.
        """
        if self.context.thread != get_ident():
            raise foreign_thread_error(f"{self!r}", self.context.thread)
        if self.status == "dead":
            raise DeadCoroutine(f"{self!r} has ended")
        self.context.call_soon(self._run_deferred, method, arguments)

    def _run_deferred(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Make the call of `_call_from_hub`, unless the coroutine has ended since."""
        if self.status == "suspended":
            started = self._start is None
            try:
                getattr(self, method)(*arguments)
            except BaseException:
                if not started and self._start is not None:  # a signal handler has raised
                    self.context.call_soon(self._run_deferred, method, arguments)
                raise

    def _bind_runner(self, values: tuple[Any, ...]) -> None:
        """Give a coroutine that has not started a runner. Raises `DeadCoroutine`, `ForeignThread`."""
        # Checks; `resumer` is already set
        if self._start is None:
            self.resumer = None
            raise DeadCoroutine(f"cannot resume {self!r}: it has ended")
        context = self.context
        if context.thread != get_ident():
            self.resumer = None
            raise foreign_thread_error(f"{self!r}", context.thread)
        if self._name is None:
            self._name = getattr(self._start[0], "__qualname__", None)  # the function itself is not kept
        if values:
            self._start = (self._start[0], values)
        # Bind an idle runner, or a new one
        runner = context.idle_runners.pop() if context.idle_runners else new_runner(context)
        if runner is self.resumer:  # it is only about to be idle: a signal handler that runs in it has called us
            runner = new_runner(context)
            context.idle_runners.append(self.resumer)
        runner.coroutine = self
        runner.gr_context = self.contextvars
        self._greenlet = runner
        self.hub_greenlet = context.hub_greenlet  # there may be a new hub since the creation

    def _result(self) -> object:
        """Return the result of an ended coroutine, or raise its error; drop both."""
        last = self.context.last_finished  # set if code in the hub resumed the coroutine
        if last is not None and last is not self:  # this one switched directly to the one that has ended
            self.context.running_hub._collect_result(last)
            return None
        self.context.last_finished = None
        value, error, self.value, self._error = self.value, self._error, None, None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # the traceback refers to this frame

    def throw(self, error: Any) -> Any:
        """Resume the coroutine by raising `error` (an exception or its class) out of its current wait.

        Returns and raises as `resume` does, and TypeError if `error` is neither. A coroutine that has not started ends
        at once with `error`.
        """
        # Check; a coroutine that has not started is ended without a switch
        if not isinstance(error, BaseException) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise TypeError(f"error must be an exception or its class, not {error!r}")
        if self.resumer is not None:
            raise RunningCoroutine(f"cannot throw into {self!r}: it is not suspended")
        if self._start is not None or self._greenlet is None:
            return self._throw_unstarted(error)
        if needs_check and switch_forbidden():
            return self._call_from_hub("throw", error)
        # Switch, as in resume(); the exception is passed like a value
        self.resumer = me = getcurrent()
        try:
            if self._greenlet is me:
                raise self._suspending()
            self._greenlet.coroutine = self
            thrown = PendingException(error)
            del error  # the `except` block that catches it holds the only reference then
            return switch_to(self, thrown)
        except RecursionError:
            self.resumer = None  # as in resume()
            raise
        except BaseException as escaped:
            self._recover()
            strip_kernel_frames(escaped)
            raise

    def _suspending(self) -> RunningCoroutine:
        """Return the error for a finalizer that runs in the coroutine itself, while that is about to suspend."""
        self.resumer = None
        return RunningCoroutine(f"cannot resume {self.name}: it is about to suspend")

    def _throw_unstarted(self, error: BaseException | type[BaseException]) -> None:
        """Do what `throw` does to a coroutine that has not started, or has ended."""
        if self._start is None:
            raise DeadCoroutine(f"cannot throw into {self!r}: it has ended")
        name = self.name
        self._start, self.contextvars, self._name = None, None, name
        if not (error is GreenletExit or isinstance(error, GreenletExit)):
            raise error

    def close(self) -> bool:
        """End the coroutine by raising `GreenletExit` in it; its `finally` blocks run before this returns.

        Does nothing if it has ended. Returns whether it has ended: False if its clean-up waits for something, or if the
        hub will make the call, as in `resume`.
        Raises `RunningCoroutine`, `ForeignThread`, or any other exception that escapes from the coroutine.
        """
        if self.status != "dead":
            self.throw(GreenletExit)
        return self.status == "dead"


def foreign_coroutine(greenlet: Any, context: LoopContext, name: str) -> Coroutine:
    """Make the coroutine that represents a running greenlet which is no runner of `context`."""
    coroutine = Coroutine.__new__(Coroutine)
    coroutine.context, coroutine._greenlet, coroutine._name = context, greenlet, name
    coroutine._start = coroutine._error = coroutine.value = coroutine.contextvars = coroutine.operation = None
    coroutine.waiting_on = coroutine.pending_wakeup = coroutine.scope = coroutine.cancelled_scope = None
    coroutine.parked_at = 0
    coroutine.hub_greenlet = coroutine.resumer = ForeignEntry(coroutine)
    coroutine.created_at = ""
    return coroutine


def running() -> Coroutine:
    """Return the coroutine that the caller runs in; one is made for a foreign greenlet at its first call.

    Raises `NotYieldable` in the hub and in a coroutine that is being collected.
    """
    me: Any = getcurrent()
    try:
        coroutine: Coroutine | None = me.coroutine
    except AttributeError:
        coroutine = None  # a runner that the collector has cleared
        if me.__class__ is not Runner:
            context = current_context()
            if me.parent is not None:
                me.coroutine = foreign_coroutine(me, context, f"greenlet-{id(me):x}")
            foreign: Coroutine = me.coroutine
            return foreign
    if coroutine is None:
        raise NotYieldable("the hub, or a coroutine that is being collected, cannot wait")
    return coroutine


def is_yieldable() -> bool:
    """Return whether the caller runs in a coroutine of ours, so that it may yield."""
    coroutine = getattr(getcurrent(), "coroutine", None)
    return coroutine is not None and coroutine.hub_greenlet.__class__ is Runner
