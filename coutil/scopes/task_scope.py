"""Structured concurrency: children that end with the block."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, FunctionType, TracebackType
from typing import Any, Generic, TypeVar, TypeVarTuple
from weakref import ref

from greenlet import GreenletExit, getcurrent

from .._coroutines import (
    ASYNC,
    Coroutine,
    Resumed,
    check_function,
    current_context,
    foreign_thread_error,
    is_python,
    park,
    running,
)
from .._interpreter import get_ident
from .._kernel import NULL_HANDLER, CompletionHandler, Wakeup, current_hub
from ..errors import Deadlock, Forked, TaskCancelled, UVError
from .cancel_scope import CancelScope, belongs_to, check_time, outermost_cancelled, reraise

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
# Waiting on would not help, or is not wanted
_ABORTS_JOIN = (KeyboardInterrupt, Deadlock, Forked, UVError, MemoryError)
_UNGROUPED = (KeyboardInterrupt, SystemExit, GreenletExit)  # what is raised as itself, not in a group


class Task(Generic[T]):
    """A child of a scope. `coroutine`: what runs it."""

    __slots__ = ("__weakref__", "_error", "_own_scope", "_state", "_traceback", "_value", "_waiters", "coroutine")

    def __init__(self) -> None:
        """Made by `Scope.spawn`."""
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._waiters: dict[Coroutine, _JoinReason] = {}
        self._state = "running"
        self._own_scope: _ChildScope | None = None  # the block around the child, if `cancel` was called
        self.coroutine: Any = None

    @property
    def done(self) -> bool:
        """Whether it has ended."""
        return self._state != "running"

    @property
    def _unfinished(self) -> Coroutine | None:
        """Return the coroutine that has to end before `result` returns; for reports."""
        return None if self.done else self.coroutine

    def result(self) -> T:
        """Wait until the child has ended; return what it returned, or raise what it raised. Suspends unless it has.

        An explicit resume does not end the wait. Raises `TaskCancelled` if the child has ended because it was cancelled
        or closed, RuntimeError if it waits for itself, `ForeignThread`, `NotYieldable`, `Deadlock` (main program only).
        """
        while not self.done:
            self._wait(running())
        if self._state == "cancelled":
            raise TaskCancelled(f"{self!r} was cancelled") from self._error
        if self._error is not None:
            reraise(self._error.with_traceback(self._traceback))
        return self._value  # type: ignore[no-any-return]  # what the function returned

    def cancel(self) -> None:
        """Have every wait of the child, and of all that it has spawned, raise `errors.Cancelled` until it has ended.

        If it waits now it is resumed before this returns. The scope and its other children go on; `result` raises
        `TaskCancelled`, unless the child returns a result nevertheless, or fails. A shield keeps it out. Nothing
        happens the second time, or if the child has ended. Does not suspend. Raises `ForeignThread`, and
        KeyboardInterrupt or SystemExit of a coroutine that is resumed.
        """
        if self.done:
            return
        if self.coroutine.context.thread != get_ident():
            raise foreign_thread_error(f"{self!r}", self.coroutine.context.thread)
        if self._own_scope is None:
            self._own_scope = _ChildScope(self)
        self._own_scope.cancel()

    def _wait(self, me: Coroutine) -> None:
        if me is self.coroutine:
            raise RuntimeError(f"{self!r} cannot wait for its own result")
        if me.context is not self.coroutine.context:
            raise foreign_thread_error(f"{self!r}", self.coroutine.context.thread)
        self._waiters[me] = what = _JoinReason(self)
        try:
            _park_in_hub(me, what)
        finally:
            self._waiters.pop(me, None)

    def _finish(self, state: str, error: BaseException | None) -> None:
        self._state = state
        if error is not None and error is not self._error:
            self._error = error
            self._traceback = error.__traceback__ and error.__traceback__.tb_next  # without the frame of `_run`
            error.__traceback__ = self._traceback

    def _describe_wait(self) -> str:
        return f"result of {self.coroutine.name}"

    def __repr__(self) -> str:
        """Name and state: running, done, failed or cancelled."""
        return f"<Task {self.coroutine.name} {self._state}>"


class _ChildScope(CancelScope):
    """The block around all that one child does. It exists only if that child was cancelled alone."""

    def __init__(self, task: Task[Any]) -> None:
        """Put it between the scope and the outermost block of the child."""
        super().__init__(repr(task), None, False, None)
        self._entered = True
        child = task.coroutine
        self._owner = ref(child)
        inner, block = None, child.scope
        while task not in block._tasks:
            inner, block = block, block._outer
        self._outer = block
        if inner is None:
            child.scope = self
        else:
            inner._outer = self


class Scope(CancelScope):
    """A block whose children end with it: `scope`. `expired` (bool): whether its deadline has passed."""

    def __init__(self, deadline: float | None, shield: bool, caller: FrameType | None) -> None:
        """See `scope` and `CancelScope`."""
        super().__init__("scope", deadline, shield, caller)
        self._tasks: dict[Task[Any], None] = {}
        self._errors: list[BaseException] = []
        self._join_reason: _JoinReason | None = None  # while the host waits for the children
        self._starting: Any = None  # the child that `spawn` starts; or why its function could not be entered

    def spawn(self, function: Callable[[*Arguments], T], *arguments: *Arguments, name: str | None = None) -> Task[T]:
        """Run function(*arguments) in a new coroutine up to its first wait; it will have ended before the block does.

        The first exception that escapes from a child cancels the scope, which raises it, in a group, when all have
        ended. Children may spawn, too. Nothing is started any more in a scope that has failed, or was cancelled.
        Returns the `Task`. Raises TypeError, also if the arguments do not fit the function; RuntimeError (the block is
        not open), `ForeignThread`, and `errors.Cancelled` (it was cancelled): the block swallows that; other coroutines
        that spawn into it must not expect it to.
        """
        if function.__class__ is not FunctionType or function.__code__.co_flags & ASYNC or name is not None:
            check_function(function, name)  # a plain one is fine
        host = self._get_owner()
        if host is None or (self._joining and not self._tasks):
            raise RuntimeError(f"{self!r} is not open: spawn inside its with block")
        name = name or getattr(function, "__qualname__", None) or type(function).__qualname__
        task: Task[T] = Task()
        task.coroutine = child = Coroutine(self._run, (task, function, arguments), name, 2)
        if child.context is not host.context:
            raise foreign_thread_error(f"{self!r}", host.context.thread)
        child.scope = self
        self._tasks[task] = None  # from here on it is among those that `cancel` tells
        try:
            scope = outermost_cancelled(self)
            if scope is not None:
                raise scope._cancelled_error()
            self._starting = task
            child._launch()
        except BaseException:
            if child._start is not None and task in self._tasks:
                del self._tasks[task]  # and not a call, in which a signal handler could raise
                task._state = "cancelled"
            raise
        finally:
            refused, self._starting = self._starting, None
            if child._greenlet is None and child._start is None and task in self._tasks:
                del self._tasks[task]  # at the recursion limit `_run` cannot do so
                task._state = "cancelled"
        if isinstance(refused, TypeError):
            raise refused
        return task

    @property
    def children(self) -> tuple[Task[Any], ...]:
        """The children that have not ended, in the order of their start; `len(scope.children)` is their number."""
        return tuple(self._tasks)

    def _run(self, task: Task[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Be a child: whatever happens ends up in its task, and what nobody else is notified of, in the scope."""
        outcome: BaseException | None = None
        try:
            task._value = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # kept for the one who asks; raised at the end of the block
            outcome = error
        try:
            if outcome is not None and self._starting is task and _call_failed(function, outcome):
                self._starting = outcome.with_traceback(None)
                return
            failure = self._record_outcome(task, outcome)
        except BaseException as error:  # noqa: BLE001  # a signal handler's: the child has failed with it
            error.__context__ = error.__context__ or outcome
            try:
                failure = self._record_outcome(task, error)
            except BaseException as again:  # noqa: BLE001  # a second one's
                failure = self._record_outcome(task, again)
        del function, arguments, task, outcome  # the frames of its error's traceback refer to this one
        if failure is not None:
            try:
                self._fail(failure)
            except BaseException as raised:
                if raised is not failure and not self._exited:  # a signal handler's, perhaps before the others are cut
                    self.cancel()
                raise
            finally:
                del failure

    def _record_outcome(self, task: Task[Any], outcome: BaseException | None) -> BaseException | None:
        """Note what a child has ended with, and wake those who wait for that; return its failure. May be repeated."""
        failure = None
        if outcome is None:
            task._state = "done"
        elif (
            isinstance(outcome, GreenletExit)
            or self._is_enclosing_cancel(outcome)
            or belongs_to(outcome, task._own_scope)
        ):
            task._finish("cancelled", outcome)
        else:
            task._finish("failed", outcome)
            failure = outcome
            if not self._exited:
                self._add_error(outcome, len(self._errors))
        task.coroutine.scope = task.coroutine.cancelled_scope = None
        self._tasks.pop(task, None)
        if task._waiters or (self._joining and not self._tasks):
            self._wake_waiters(task)
        return failure

    def _fail(self, error: BaseException) -> None:
        """Cut the others: a child has failed. If the host has left without waiting, the excepthook gets the error."""
        if self._exited:
            raise error
        try:
            self.cancel()
        except BaseException:
            if not self.cancelled:  # a signal handler has raised before
                current_context().call_soon(self.cancel)
            raise

    def _add_error(self, error: BaseException, at: int) -> None:
        """Remember an error that the block ends with; `Task.result` may have raised the same one in several places."""
        if not any(one is error for one in self._errors):
            self._errors.insert(at, error)

    def _is_enclosing_cancel(self, error: BaseException) -> bool:
        """Return whether an error is the cancellation of this block or one around it, which tells them itself."""
        scope: CancelScope | None = self
        while scope is not None:
            if belongs_to(error, scope):
                return True
            scope = scope._outer
        return False

    def _wake_waiters(self, task: Task[Any]) -> None:
        """Have the hub resume those who waited for the end of a child, as soon as that has come."""
        waits: list[tuple[Coroutine, object]] = [*task._waiters.items()]
        host = self._get_owner()
        if host is not None and self._joining and not self._tasks:
            waits.append((host, self._join_reason))
        for waiter, what in waits:
            (waiter.context.hub or current_hub()).enqueue(Wakeup(waiter, what))

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait for the children, then raise what failed.

        What a signal handler raises in here counts as an error of the block, and does not keep it from its end. Each
        step may be repeated; errors are kept, and raised, without a call, in which a handler could raise.
        """
        host: Coroutine | None = None
        try:
            host = self._get_owner()
            self._end_children(raised)
        except BaseException as interrupted:  # noqa: BLE001  # it is an error of the block
            try:
                host = self._get_owner()
                self._end_children(interrupted)
            except BaseException as again:  # noqa: BLE001  # the same
                self._errors += (again,)
        try:
            self._exit()
        except RuntimeError as error:  # the block was used in a wrong way
            if not self._errors:
                raise
            self._errors += (error,)
        except BaseException as interrupted:  # noqa: BLE001  # as above
            self._errors += (interrupted,)
            self._ensure_exit()
        try:
            ending = self._outcome(host, raised)
        except BaseException as interrupted:  # noqa: BLE001  # as above
            self._errors += (interrupted,)
            ending = self._outcome(host, raised)
        failed, self._errors = self._errors, []
        if ending is True or ending is False:
            return ending
        context = ending.__context__
        try:
            raise ending
        finally:
            if failed:  # else it is a new one
                ending.__context__ = context
            del ending, failed, context, raised, host  # the traceback refers to this frame

    def _end_children(self, raised: BaseException | None) -> None:
        """Wait for the children. raised: what has left the block, or interrupted this. May be repeated."""
        host = self._get_owner()
        if raised is not None and not self._is_enclosing_cancel(raised):
            self._add_error(raised, 0)
        here = host is not None and getattr(getcurrent(), "coroutine", None) is host  # else it is being collected
        if raised is not None or not here:
            self.cancel()
        if host is not None and here:
            self._join(host)

    def _join(self, host: Coroutine) -> None:
        """Wait until no child is left. Whatever ends the wait early cancels the children, and is raised after them.

        The second urgent error leaves at once: it must always be possible to get out.
        """
        self._joining, self._join_reason = True, _JoinReason(self)
        while self._tasks:
            host.cancelled_scope = None  # now it is the children who have to end
            try:
                _park_in_hub(host, self._join_reason)
            except BaseException as error:  # noqa: BLE001  # kept
                self._errors.append(error)
                if isinstance(error, _ABORTS_JOIN) and sum(isinstance(one, _ABORTS_JOIN) for one in self._errors) > 1:
                    break
                self.cancel()
        self._joining, self._join_reason = False, None  # it refers to us

    def _outcome(self, host: Coroutine | None, raised: BaseException | None) -> BaseException | bool:
        """Return what the block ends with: an exception, or whether what it was left with is dealt with."""
        if self._errors:
            return self._combined_error(raised)
        if host is not None and host.cancelled_scope is not None and not self._shield:
            return False if belongs_to(raised, host.cancelled_scope) else host.cancelled_scope._cancelled_error()
        if self.expired:
            timeout = self._timeout_error()
            timeout.__cause__ = raised if belongs_to(raised, self) else None
            return timeout
        return raised is None or belongs_to(raised, self)

    def _combined_error(self, raised: BaseException | None) -> BaseException | bool:
        """Return a group of the errors, or the one of them that passes bare; False if that is `raised`.

        KeyboardInterrupt and SystemExit are for the main program, not for a handler of errors; the others are their
        cause. GreenletExit only ends the coroutine: it passes if nothing has failed.
        """
        failures = [one for one in self._errors if not isinstance(one, GreenletExit)]
        bare = None
        for one in failures or self._errors:
            if isinstance(one, _UNGROUPED):
                bare = one
                break
        if bare is None:
            return self._group(failures)
        others = [one for one in failures if one is not bare]
        if others:
            bare.__cause__ = self._group(others)
        return False if bare is raised else bare

    def _group(self, errors: list[BaseException]) -> BaseException:
        return BaseExceptionGroup(f"failed in the {self._label}", errors)

    def _describe_wait(self) -> str:
        return f"end of {len(self._tasks)} children"

    def __repr__(self) -> str:
        """State and number of children."""
        return f"<Scope {self._state()} children={len(self._tasks)}>"


class _JoinReason:
    """What a coroutine waits for, as reports show it: the result of a task, or the end of all children of a scope."""

    __slots__ = ("subject",)

    def __init__(self, of: Task[Any] | Scope) -> None:
        self.subject = of

    @property
    def owner(self) -> Coroutine | None:
        """Who has to end before, if it is one alone."""
        return self.subject._unfinished if isinstance(self.subject, Task) else None

    def __str__(self) -> str:
        return self.subject._describe_wait()


class _HubRegistration(CompletionHandler):
    """Makes a coroutine known to the hub, which ends it with the thread."""

    __slots__ = ("is_loop_closed", "waiter")

    def __init__(self, waiter: Coroutine) -> None:
        self.waiter = waiter
        self.is_loop_closed = False

    def loop_closed(self) -> None:
        """The loop is gone."""
        self.is_loop_closed = True


def _call_failed(function: Callable[..., object], error: BaseException) -> bool:
    """Return whether a call of `_run`'s has failed before it began, mostly because of its arguments."""
    began = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return error.__class__ is TypeError and not began and is_python(function)


def _park_in_hub(me: Coroutine, what: object) -> None:
    """Suspend the running coroutine until something resumes it."""
    hub, waiting = current_hub(), _HubRegistration(me)
    slot = 0
    try:
        slot = hub.allocate_slot(waiting)
        with suppress(Resumed):
            park(me, what)
    finally:
        if not slot and waiting in hub.handlers:  # a signal handler has raised just after it was taken
            slot = hub.handlers.index(waiting)
        if slot and not waiting.is_loop_closed:  # from here on nothing looks for signals, as in drop()
            hub.handlers[slot] = NULL_HANDLER
            hub.free_slots += (slot,)


def scope(*, deadline: float | None = None, shield: bool = False) -> Scope:
    """Return a context manager that ends when all coroutines which were spawned in it have ended. Suspends until then.

    If the block or a child fails, the others are cancelled, and when they have ended an ExceptionGroup of what has
    failed, of one or more, is raised: handle it with `except*`. KeyboardInterrupt and SystemExit are raised as
    themselves, with such a group of the others as their cause. To leave without waiting: `cancel()`, which raises
    nothing.
    deadline: in seconds of `system.time()`; when it passes, the scope is cancelled and raises `errors.Timeout` at its
    end. shield: no cancellation from outside enters the block. An explicit resume does not end the wait.
    Raises TypeError, ValueError (NaN).
    """
    return Scope(check_time("deadline", deadline), shield, sys._getframe().f_back)
