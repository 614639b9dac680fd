"""Structured concurrency: a block that waits for its children, and cancels them when one fails.

A child ends in `_run`, which records its outcome in the `Task`, its failure in the scope, and wakes the waiters. The
host ends in `__exit__`: it waits for the children, removes the block from its chain, and picks one result (`_outcome`).
A signal handler may raise between any two calls of these; so each step can be repeated.
"""

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
# Errors of the wait for the children after which a further wait would not help, or is not wanted
_ABORTS_JOIN = (KeyboardInterrupt, Deadlock, Forked, UVError, MemoryError)
_UNGROUPED = (KeyboardInterrupt, SystemExit, GreenletExit)  # raised as themselves, not in a group


class Task(Generic[T]):
    """A child of a scope. `coroutine`: the coroutine that runs it."""

    __slots__ = ("__weakref__", "_error", "_own_scope", "_state", "_traceback", "_value", "_waiters", "coroutine")

    def __init__(self) -> None:
        """Only `Scope.spawn` makes tasks."""
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._waiters: dict[Coroutine, _JoinReason] = {}
        self._state = "running"
        self._own_scope: _ChildScope | None = None  # the block around the child, if `cancel` was called
        self.coroutine: Any = None

    @property
    def done(self) -> bool:
        """Whether the child has ended."""
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
        return self._value  # type: ignore[no-any-return]  # the result of the function

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
    """The block around one whole child. It exists only if `Task.cancel` was called."""

    def __init__(self, task: Task[Any]) -> None:
        """Insert the block between the scope and the outermost block of the child."""
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
    """A block that ends when its children have ended; see `scope`. `expired` (bool): its deadline has passed."""

    def __init__(self, deadline: float | None, shield: bool, caller: FrameType | None) -> None:
        """See `scope` and `CancelScope`."""
        super().__init__("scope", deadline, shield, caller)
        self._tasks: dict[Task[Any], None] = {}
        self._errors: list[BaseException] = []
        self._join_reason: _JoinReason | None = None  # set while the host waits for the children
        self._starting: Any = None  # the task that `spawn` starts; or the TypeError of its call

    def spawn(self, function: Callable[[*Arguments], T], *arguments: *Arguments, name: str | None = None) -> Task[T]:
        """Run function(*arguments) in a new coroutine up to its first wait; it will have ended before the block does.

        The first exception that escapes from a child cancels the scope, which raises it, in a group, when all have
        ended. Children may also spawn. A scope that has failed, or was cancelled, starts no more children.
        Returns the `Task`. Raises TypeError, also if the arguments do not fit the function; RuntimeError (the block is
        not open), `ForeignThread`, and `errors.Cancelled` (it was cancelled). The block swallows the last one where it
        is left; a coroutine outside the block that spawns into it has to handle it.
        """
        # Check the arguments; a plain function needs no call for that
        if function.__class__ is not FunctionType or function.__code__.co_flags & ASYNC or name is not None:
            check_function(function, name)
        host = self._get_owner()
        if host is None or (self._joining and not self._tasks):
            raise RuntimeError(f"{self!r} is not open: spawn inside its with block")
        # Make the child, and make it known to `cancel` before it can run
        name = name or getattr(function, "__qualname__", None) or type(function).__qualname__
        task: Task[T] = Task()
        task.coroutine = child = Coroutine(self._run, (task, function, arguments), name, 2)
        if child.context is not host.context:
            raise foreign_thread_error(f"{self!r}", host.context.thread)
        child.scope = self
        self._tasks[task] = None
        # Start it. On every way out, a child that did not begin leaves the scope; no call may come before that
        try:
            scope = outermost_cancelled(self)
            if scope is not None:
                raise scope._cancelled_error()
            self._starting = task
            child._launch()
        except BaseException:
            if child._start is not None and task in self._tasks:
                del self._tasks[task]
                task._state = "cancelled"
            raise
        finally:
            refused, self._starting = self._starting, None
            if child._greenlet is None and child._start is None and task in self._tasks:
                del self._tasks[task]  # `_run` cannot do so at the recursion limit
                task._state = "cancelled"
        if isinstance(refused, TypeError):
            raise refused
        return task

    @property
    def children(self) -> tuple[Task[Any], ...]:
        """The children that have not ended, in the order of their start; `len(scope.children)` is their number."""
        return tuple(self._tasks)

    def _run(self, task: Task[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Run a child: record its outcome in the task, and its failure in the scope. Raises if the host has left."""
        outcome: BaseException | None = None
        try:
            task._value = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # raised by `result` and at the end of the block
            error.__context__ = error.__context__ or outcome  # Python 3.12 comes here again, see `_serve` of runners
            outcome = error
        # Record the outcome. A call that could not be entered is an error of `spawn`, not of the child
        try:
            if outcome is not None and self._starting is task and _call_failed(function, outcome):
                self._starting = outcome.with_traceback(None)
                return
            failure = self._record_outcome(task, outcome)
        except BaseException as error:  # noqa: BLE001  # raised by a signal handler: the child has failed with it
            error.__context__ = error.__context__ or outcome
            try:
                failure = self._record_outcome(task, error)
            except BaseException as again:  # noqa: BLE001  # raised by a second one
                failure = self._record_outcome(task, again)
        del function, arguments, task, outcome  # the traceback of its error refers to this frame
        # Cancel the other children
        if failure is not None:
            try:
                self._fail(failure)
            except BaseException as raised:
                # Another error is a signal handler's, perhaps raised before the others were cancelled
                if raised is not failure and not self._exited:
                    self.cancel()
                raise
            finally:
                del failure

    def _record_outcome(self, task: Task[Any], outcome: BaseException | None) -> BaseException | None:
        """Record the outcome of a child, and wake its waiters; return its failure, if any. May be repeated."""
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
        """Cancel the other children. If the host has left without waiting, raise the error: the excepthook gets it."""
        if self._exited:
            raise error
        try:
            self.cancel()
        except BaseException:
            if not self.cancelled:  # a signal handler has raised before it had an effect
                current_context().call_soon(self.cancel)
            raise

    def _add_error(self, error: BaseException, at: int) -> None:
        """Add an error to those that the block raises, unless it is there: `Task.result` may raise one again."""
        if not any(one is error for one in self._errors):
            self._errors.insert(at, error)

    def _is_enclosing_cancel(self, error: BaseException) -> bool:
        """Return whether an error is the `Cancelled` of this block or of one around it, which handles it."""
        scope: CancelScope | None = self
        while scope is not None:
            if belongs_to(error, scope):
                return True
            scope = scope._outer
        return False

    def _wake_waiters(self, task: Task[Any]) -> None:
        """Have the hub resume the waiters of a child that has ended, and the host if it was the last one."""
        waits: list[tuple[Coroutine, object]] = [*task._waiters.items()]
        host = self._get_owner()
        if host is not None and self._joining and not self._tasks:
            waits.append((host, self._join_reason))
        for waiter, what in waits:
            (waiter.context.hub or current_hub()).enqueue(Wakeup(waiter, what))

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait for the children, then raise their failures.

        An exception that a signal handler raises in here counts as an error of the block; the block ends all the same.
        Each step may be repeated. Errors are kept and raised without a call, in which a handler could raise.
        """
        # Wait for the children
        host: Coroutine | None = None
        try:
            host = self._get_owner()
            self._end_children(raised)
        except BaseException as interrupted:  # noqa: BLE001  # an error of the block
            try:
                host = self._get_owner()
                self._end_children(interrupted)
            except BaseException as again:  # noqa: BLE001  # the same
                self._errors += (again,)
        # Remove the block from the chain of the host, which may then be cancelled by a block further out
        try:
            self._exit()
        except RuntimeError as error:  # the block was misused
            if not self._errors:
                raise
            self._errors += (error,)
        except BaseException as interrupted:  # noqa: BLE001  # as above
            self._errors += (interrupted,)
            self._ensure_exit()
        # Pick the result
        try:
            ending = self._outcome(host, raised)
        except BaseException as interrupted:  # noqa: BLE001  # as above
            self._errors += (interrupted,)
            ending = self._outcome(host, raised)
        failed, self._errors = self._errors, []
        if ending is True or ending is False:
            return ending
        # Raise it, with the `__context__` that it had
        context = ending.__context__
        try:
            raise ending
        finally:
            if failed:  # else the error is a new one
                ending.__context__ = context
            del ending, failed, context, raised, host  # the traceback refers to this frame

    def _end_children(self, raised: BaseException | None) -> None:
        """Wait for the children. raised: the exception that left the block, or interrupted this. May be repeated."""
        host = self._get_owner()
        if raised is not None and not self._is_enclosing_cancel(raised):
            self._add_error(raised, 0)
        here = host is not None and getattr(getcurrent(), "coroutine", None) is host  # else the host is being collected
        if raised is not None or not here:
            self.cancel()
        if host is not None and here:
            self._join(host)

    def _join(self, host: Coroutine) -> None:
        """Wait until no child is left. An exception that ends the wait early cancels the children; it is raised later.

        The second error of `_ABORTS_JOIN` ends the wait at once: a user must always be able to get out.
        """
        self._joining, self._join_reason = True, _JoinReason(self)
        while self._tasks:
            host.cancelled_scope = None  # the children have to end first; the wait for them is not refused
            try:
                _park_in_hub(host, self._join_reason)
            except BaseException as error:  # noqa: BLE001  # raised by way of `_outcome`
                self._errors.append(error)
                if isinstance(error, _ABORTS_JOIN) and sum(isinstance(one, _ABORTS_JOIN) for one in self._errors) > 1:
                    break
                self.cancel()
        self._joining, self._join_reason = False, None  # the reason refers to the scope: a cycle

    def _outcome(self, host: Coroutine | None, raised: BaseException | None) -> BaseException | bool:
        """Return the result of the block: an exception to raise, or whether to swallow `raised`. The first row counts.

        errors  block around cancelled  expired  raised               result
        some    any                     any      any                  the combined error: `_combined_error`
        none    yes (and no shield)     any      the `Cancelled` of   False: it passes on
                                                 that block
        none    yes (and no shield)     any      any other, or none   a new `Cancelled` of that block
        none    no                      yes      own `Cancelled`      `Timeout`, caused by it
        none    no                      yes      any other, or none   `Timeout`
        none    no                      no       own `Cancelled`,     True: the block ends without an error
                                                 or none
        none    no                      no       any other            False: it passes on
        """
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
        """Return a group of the errors, or the one of them that is raised as itself; False if that is `raised`.

        KeyboardInterrupt and SystemExit are for the main program, not for a handler of errors; a group of the other
        errors is their cause. GreenletExit only ends the coroutine: it counts if there is no other error.
        """
        failures = [error for error in self._errors if not isinstance(error, GreenletExit)]
        bare = None
        for error in failures or self._errors:
            if isinstance(error, _UNGROUPED):
                bare = error
                break
        if bare is None:
            return self._group(failures)
        others = [error for error in failures if error is not bare]
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
    """The reason of a wait, as reports show it: the result of a task, or the end of all children of a scope."""

    __slots__ = ("subject",)

    def __init__(self, subject: Task[Any] | Scope) -> None:
        self.subject = subject

    @property
    def owner(self) -> Coroutine | None:
        """The coroutine that has to end first, if it is one alone."""
        return self.subject._unfinished if isinstance(self.subject, Task) else None

    def __str__(self) -> str:
        return self.subject._describe_wait()


class _HubRegistration(CompletionHandler):
    """An entry that makes a waiting coroutine known to the hub, which ends it with the thread."""

    __slots__ = ("is_loop_closed", "waiter")

    def __init__(self, waiter: Coroutine) -> None:
        self.waiter = waiter
        self.is_loop_closed = False

    def loop_closed(self) -> None:
        """Note that the hub has freed the slot: the loop was closed."""
        self.is_loop_closed = True


def _call_failed(function: Callable[..., object], error: BaseException) -> bool:
    """Return whether a call in `_run` has failed before the function began, mostly because of its arguments."""
    began = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return error.__class__ is TypeError and not began and is_python(function)


def _park_in_hub(me: Coroutine, what: object) -> None:
    """Suspend the running coroutine until it is resumed; make it known to the hub while it waits."""
    hub, waiting = current_hub(), _HubRegistration(me)
    slot = 0
    try:
        slot = hub.allocate_slot(waiting)
        with suppress(Resumed):
            park(me, what)
    finally:
        if not slot and waiting in hub.handlers:  # a signal handler has raised just after the slot was taken
            slot = hub.handlers.index(waiting)
        if slot and not waiting.is_loop_closed:  # no signal handler can run from here on, as in drop()
            hub.handlers[slot] = NULL_HANDLER
            hub.free_slots += (slot,)


def scope(*, deadline: float | None = None, shield: bool = False) -> Scope:
    """Return a context manager that ends when all coroutines that were spawned in it have ended. Suspends until then.

    If the block or a child fails, the others are cancelled; when they have ended, an ExceptionGroup of the failures,
    one or more, is raised: handle it with `except*`. KeyboardInterrupt and SystemExit are raised as themselves, with
    such a group of the others as their cause. To leave without waiting: `cancel()`, which raises nothing.
    deadline: in seconds of `system.time()`; when it passes, the scope is cancelled and raises `errors.Timeout` at its
    end. shield: no cancellation from outside enters the block. An explicit resume does not end the wait.
    Raises TypeError, ValueError (NaN).
    """
    return Scope(check_time("deadline", deadline), shield, sys._getframe().f_back)
