"""Structured concurrency: children that end with the block."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, FunctionType, TracebackType
from typing import Any, Generic, TypeVar, TypeVarTuple
from weakref import ref

from greenlet import GreenletExit, getcurrent

from .._coroutines.books import foreign
from .._coroutines.coroutine import Coroutine, home, running
from .._coroutines.functions import ASYNC, check_function, is_python
from .._coroutines.outcomes import Resumed
from .._coroutines.switching import park
from .._interpreter import get_ident
from .._kernel.entries import NOBODY, Slotted, Wake
from .._kernel.hub import this_hub
from ..errors import Deadlock, Forked, TaskCancelled, UVError
from .block import Block, checked_time, is_of, outermost, raise_again

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")
_URGENT = (KeyboardInterrupt, Deadlock, Forked, UVError, MemoryError)  # waiting on would not help, or is not wanted
_BARE = (KeyboardInterrupt, SystemExit, GreenletExit)  # what is raised as itself, not in a group


class Task(Generic[T]):
    """A child of a scope. `coroutine`: what runs it."""

    __slots__ = ("__weakref__", "_alone", "_error", "_state", "_traceback", "_value", "_waiters", "coroutine")

    def __init__(self) -> None:
        """Made by `Scope.spawn`."""
        self._value: Any = None
        self._error: BaseException | None = None
        self._traceback: TracebackType | None = None
        self._waiters: dict[Coroutine, _Awaited] = {}
        self._state = "running"
        self._alone: _Alone | None = None  # the block around the child, if `cancel` was called
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
            raise_again(self._error.with_traceback(self._traceback))
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
        if self.coroutine.home.thread != get_ident():
            raise foreign(f"{self!r}", self.coroutine.home.thread)
        if self._alone is None:
            self._alone = _Alone(self)
        self._alone.cancel()

    def _wait(self, me: Coroutine) -> None:
        if me is self.coroutine:
            raise RuntimeError(f"{self!r} cannot wait for its own result")
        if me.home is not self.coroutine.home:
            raise foreign(f"{self!r}", self.coroutine.home.thread)
        self._waiters[me] = what = _Awaited(self)
        try:
            _park(me, what)
        finally:
            self._waiters.pop(me, None)

    def _end(self, state: str, error: BaseException | None) -> None:
        self._state = state
        if error is not None and error is not self._error:
            self._error = error
            self._traceback = error.__traceback__ and error.__traceback__.tb_next  # without the frame of `_run`
            error.__traceback__ = self._traceback

    def _purpose(self) -> str:
        return f"result of {self.coroutine.name}"

    def __repr__(self) -> str:
        """Name and state: running, done, failed or cancelled."""
        return f"<Task {self.coroutine.name} {self._state}>"


class _Alone(Block):
    """The block around all that one child does. It exists only if that child was cancelled alone."""

    def __init__(self, task: Task[Any]) -> None:
        """Put it between the scope and the outermost block of the child."""
        super().__init__(repr(task), None, False, None)
        self._entered = True
        child = task.coroutine
        self._host = ref(child)
        inner, block = None, child.scope
        while task not in block._tasks:
            inner, block = block, block._outer
        self._outer = block
        if inner is None:
            child.scope = self
        else:
            inner._outer = self


class Scope(Block):
    """A block whose children end with it: `scope`. `expired` (bool): whether its deadline has passed."""

    def __init__(self, deadline: float | None, shield: bool, maker: FrameType | None) -> None:
        """See `scope` and `Block`."""
        super().__init__("scope", deadline, shield, maker)
        self._tasks: dict[Task[Any], None] = {}
        self._errors: list[BaseException] = []
        self._awaited: _Awaited | None = None  # while the host waits for the children
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
        host = self._inside()
        if host is None or (self._joining and not self._tasks):
            raise RuntimeError(f"{self!r} is not open: spawn inside its with block")
        name = name or getattr(function, "__qualname__", None) or type(function).__qualname__
        task: Task[T] = Task()
        task.coroutine = child = Coroutine(self._run, (task, function, arguments), name, 2)
        if child.home is not host.home:
            raise foreign(f"{self!r}", host.home.thread)
        child.scope = self
        self._tasks[task] = None  # from here on it is among those that `cancel` tells
        try:
            block = outermost(self)
            if block is not None:
                raise block._error()
            self._starting = task
            child._launch()
        except BaseException:
            if child._start is not None:
                self._forget(task)
            raise
        finally:
            refused, self._starting = self._starting, None
            if child._greenlet is None and child._start is None:
                self._forget(task)
        if isinstance(refused, TypeError):
            raise refused
        return task

    @property
    def children(self) -> tuple[Task[Any], ...]:
        """The children that have not ended, in the order of their start; `len(scope.children)` is their number."""
        return tuple(self._tasks)

    def _forget(self, task: Task[Any]) -> None:
        """Wait no more for a child that has ended, or could not begin. At the recursion limit `_run` cannot say so."""
        if self._tasks.pop(task, self) is None:
            task._end("cancelled", None)

    def _run(self, task: Task[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Be a child: whatever happens ends up in its task, and what nobody else is told of, in the scope."""
        outcome: BaseException | None = None
        try:
            task._value = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # kept for the one who asks; raised at the end of the block
            outcome = error
            if self._starting is task and _was_not_entered(function, error):
                self._starting = error.with_traceback(None)
                return
        del function, arguments
        try:
            failure = self._settle(task, outcome)
        except BaseException as error:  # noqa: BLE001  # a signal handler's: the child has failed with it
            error.__context__ = error.__context__ or outcome
            failure = self._settle(task, error)
        del task, outcome  # the frames of its error's traceback refer to this one
        if failure is not None:
            try:
                self._fail(failure)
            finally:
                del failure

    def _settle(self, task: Task[Any], outcome: BaseException | None) -> BaseException | None:
        """Note what a child has ended with, and wake those who wait for that; return its failure. May be repeated."""
        failure = None
        if outcome is None:
            task._state = "done"
        elif isinstance(outcome, GreenletExit) or self._is_outside(outcome) or is_of(outcome, task._alone):
            task._end("cancelled", outcome)
        else:
            task._end("failed", outcome)
            failure = outcome
            if not self._left:
                self._note(outcome, len(self._errors))
        task.coroutine.scope = task.coroutine.cancelled = None
        self._tasks.pop(task, None)
        if task._waiters or (self._joining and not self._tasks):
            self._wake_waiters(task)
        return failure

    def _fail(self, error: BaseException) -> None:
        """Cut the others: a child has failed. If the host has left without waiting, the excepthook gets the error."""
        if self._left:
            raise error
        try:
            self.cancel()
        except BaseException:
            if not self.cancelled:  # a signal handler has raised before
                home().call_soon(self.cancel)
            raise

    def _note(self, error: BaseException, at: int) -> None:
        """Remember an error that the block ends with; `Task.result` may have raised the same one in several places."""
        if not any(one is error for one in self._errors):
            self._errors.insert(at, error)

    def _is_outside(self, error: BaseException) -> bool:
        """Return whether an error is the cancellation of this block or one around it, which tells them itself."""
        block: Block | None = self
        while block is not None:
            if is_of(error, block):
                return True
            block = block._outer
        return False

    def _wake_waiters(self, task: Task[Any]) -> None:
        """Have the hub resume those who waited for the end of a child, as soon as that has come."""
        waits: list[tuple[Coroutine, object]] = [*task._waiters.items()]
        host = self._inside()
        if host is not None and self._joining and not self._tasks:
            waits.append((host, self._awaited))
        for waiter, what in waits:
            (waiter.home.hub or this_hub()).ready.append(Wake(waiter, what))

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait for the children, then raise what failed."""
        host = self._inside()
        if raised is not None and not self._is_outside(raised):
            self._note(raised, 0)
        here = host is not None and getattr(getcurrent(), "coroutine", None) is host  # else it is being collected
        if raised is not None or not here:
            self.cancel()
        if host is not None and here:
            self._join(host)
        try:
            self._leave()
        except RuntimeError as error:  # the block was used in a wrong way
            if not self._errors:
                raise
            self._errors.append(error)
        return self._finish(host, raised)

    def _join(self, host: Coroutine) -> None:
        """Wait until no child is left. Whatever ends the wait early cancels the children, and is raised after them.

        The second urgent error leaves at once: it must always be possible to get out.
        """
        self._joining, self._awaited = True, _Awaited(self)
        while self._tasks:
            host.cancelled = None  # now it is the children who have to end
            try:
                _park(host, self._awaited)
            except BaseException as error:  # noqa: BLE001  # kept
                self._errors.append(error)
                if isinstance(error, _URGENT) and sum(isinstance(one, _URGENT) for one in self._errors) > 1:
                    break
                self.cancel()
        self._joining, self._awaited = False, None  # it refers to us

    def _finish(self, host: Coroutine | None, raised: BaseException | None) -> bool:
        """Raise what the block ends with; return whether what it was left with is dealt with."""
        errors, self._errors = self._errors, []
        try:
            if errors:
                return self._fail_with(errors, raised)
            if host is not None and host.cancelled is not None and not self._shield:
                if is_of(raised, host.cancelled):
                    return False
                raise host.cancelled._error()
            if self.expired:
                raise self._timeout() from (raised if is_of(raised, self) else None)
            return raised is None or is_of(raised, self)
        finally:
            del errors, raised  # the traceback refers to this frame

    def _fail_with(self, errors: list[BaseException], raised: BaseException | None) -> bool:
        """Raise a group of `errors`, or the one of them that passes bare; return False if that is `raised`.

        KeyboardInterrupt and SystemExit are for the main program, not for a handler of errors; the others are their
        cause. GreenletExit only ends the coroutine: it passes if nothing has failed.
        """
        try:
            failures = [one for one in errors if not isinstance(one, GreenletExit)]
            bare = next((one for one in failures or errors if isinstance(one, _BARE)), None)
            if bare is None:
                raise_again(self._group(failures))
            others = [one for one in failures if one is not bare]
            if others:
                bare.__cause__ = self._group(others)
            if bare is raised:
                return False
            raise_again(bare)
        finally:
            errors.clear()
            del raised
            failures = others = bare = None  # type: ignore[assignment]  # the traceback refers to this frame

    def _group(self, errors: list[BaseException]) -> BaseException:
        return BaseExceptionGroup(f"failed in the {self._label}", errors)

    def _purpose(self) -> str:
        return f"end of {len(self._tasks)} children"

    def __repr__(self) -> str:
        """State and number of children."""
        return f"<Scope {self._state()} children={len(self._tasks)}>"


class _Awaited:
    """What a coroutine waits for, as reports show it: the result of a task, or the end of all children of a scope."""

    __slots__ = ("of",)

    def __init__(self, of: Task[Any] | Scope) -> None:
        self.of = of

    @property
    def owner(self) -> Coroutine | None:
        """Who has to end before, if it is one alone."""
        return self.of._unfinished if isinstance(self.of, Task) else None

    def __str__(self) -> str:
        return self.of._purpose()


class _Waiting(Slotted):
    """Makes a coroutine known to the hub, which ends it with the thread."""

    __slots__ = ("gone", "waiter")

    def __init__(self, waiter: Coroutine) -> None:
        self.waiter = waiter
        self.gone = False

    def lost(self) -> None:
        """The loop is gone."""
        self.gone = True


def _was_not_entered(function: Callable[..., object], error: BaseException) -> bool:
    """Return whether a call of `_run`'s has failed before it began, mostly because of its arguments."""
    began = error.__traceback__ is not None and error.__traceback__.tb_next is not None
    return error.__class__ is TypeError and not began and is_python(function)


def _park(me: Coroutine, what: object) -> None:
    """Suspend the running coroutine until something resumes it."""
    hub, waiting = this_hub(), _Waiting(me)
    slot = 0
    try:
        slot = hub.take(waiting)
        with suppress(Resumed):
            park(me, what)
    finally:
        if not slot and waiting in hub.owners:  # a signal handler has raised just after it was taken
            slot = hub.owners.index(waiting)
        if slot and not waiting.gone:  # from here on nothing looks for signals, as in drop()
            hub.owners[slot] = NOBODY
            hub.free += (slot,)


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
    return Scope(checked_time("deadline", deadline), shield, sys._getframe().f_back)
