"""Deadlines and structured concurrency for plain blocking code.

    with timeout(5):                      with scope() as s:
        data = stream.receive()               for name in names:
                                                  s.spawn(fetch, name)

Rule 1: cancellation is level-triggered. From the moment a block is cancelled until it is left, every wait inside it
raises; it arrives nowhere else. "Inside" are the coroutine that entered the block, and the children of every `scope`
within it; a coroutine that was started in another way is on its own.
Rule 2: what is raised belongs to one block and passes through all others. Of several cancelled blocks it is the
outermost, so that an inner deadline never hides an outer one.
Rule 3: `Coroutine.scope` is the innermost block around a coroutine, `Coroutine.cancelled` the one whose error its waits
raise. The kernel looks at the second, and knows no more.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from greenlet import GreenletExit, getcurrent

from ._kernel.coroutine import Coroutine, home, running
from ._kernel.hub import Entry, Hub, Slotted, this_hub
from ._kernel.switching import Outside, interrupt, park, wake
from .errors import ForeignThread, ScopeCancelled, TaskCancelled, Timeout

__all__ = ["Deadline", "Scope", "Task", "move_on_after", "scope", "timeout", "timeout_at"]

T = TypeVar("T")
_LATEST = 2.0**33  # seconds; what is later waits that long, 272 years


class _Block:
    """A `with` block that can be cancelled, with at most one timer."""

    shield = False
    _alarm: _Alarm | None = None
    _host: Coroutine | None = None  # who is inside
    _outer: _Block | None = None
    _left = False

    def __init__(self, deadline: float | None) -> None:
        """deadline: in seconds of `system.time()`; None: never."""
        self.deadline = deadline
        self.cancelled = False
        self.expired = False

    def __enter__(self) -> Self:
        """Begin the block. Raises RuntimeError: a block can be entered once."""
        if self._host is not None or self._left:
            raise RuntimeError(f"{self!r} was entered before: make a new one for each block")
        self._host = host = running()
        self._outer = host.scope
        host.scope = self
        try:
            if self.cancelled:
                host.cancelled = _reason(host)
            elif self.deadline is not None:
                self._set_alarm(this_hub(), self.deadline)
        except BaseException:
            self._leave()
            raise
        return self

    def _set_alarm(self, hub: Hub, deadline: float) -> None:
        now = hub.clock.update() if running().gate.__class__ is Outside else hub.clock.now()
        left = math.ceil(deadline * 1e9) - now
        if left <= 0:
            self._expire()
        else:
            self._alarm = _Alarm(hub, self, left)

    def _leave(self) -> None:
        """End the block; others around it may be cancelled still."""
        host, self._host, self._left = self._host, None, True
        if self._alarm is not None:
            self._alarm.stop()
            self._alarm = None
        if host is None or host.scope is not self:
            raise RuntimeError(f"{self!r} was left before a block inside it, or by another coroutine")
        host.scope = self._outer
        host.cancelled = _reason(host)

    def cancel(self) -> None:
        """Raise at every wait inside the block, from now until it is left. Coroutines that wait now are resumed first.

        Nothing happens the second time, or after the block. Does not suspend. Raises `ForeignThread`, and
        KeyboardInterrupt or SystemExit of those who are resumed.
        """
        host = self._host
        if host is not None and host.home is not home():
            raise ForeignThread(f"{self!r} belongs to another thread")
        if self.cancelled or self._left:
            return
        self.cancelled = True
        leaving: BaseException | None = None
        for one in list(self._concerns()):
            one.cancelled = reason = _reason(one)
            if reason is not None and one.resumer is None and one.status == "suspended":
                try:
                    interrupt(one, reason.error())
                except BaseException as error:  # noqa: BLE001  # KeyboardInterrupt, SystemExit: raised below
                    leaving = leaving or error
        if leaving is not None:
            raise leaving

    def _expire(self) -> None:
        self._alarm = None
        if not self.cancelled:
            self.expired = True
            self.cancel()

    def _concerns(self) -> Iterator[Coroutine]:
        """Yield every coroutine that cancelling this block concerns."""
        yield from self._children()
        if self._host is not None:
            yield from _within(self._host, self)

    def _children(self) -> Iterator[Coroutine]:
        """Yield the coroutines that end with the block, and those within blocks of theirs."""
        return iter(())

    def error(self) -> BaseException:
        """Return what a wait raises after the block was cancelled: a new one each time."""
        return ScopeCancelled(f"{self!r} was cancelled", self)

    def _state(self) -> str:
        return "expired" if self.expired else "cancelled" if self.cancelled else "left" if self._left else "open"


def _within(coroutine: Coroutine, outer: _Block) -> Iterator[Coroutine]:
    """Yield a coroutine inside `outer` and the children of its blocks in there, as far as no shield keeps them."""
    inner, block = [], coroutine.scope
    while block is not None and block is not outer:
        inner.append(block)
        block = block._outer
    for block in reversed(inner):
        if block.shield:
            return
        yield from block._children()
    yield coroutine


def _reason(coroutine: Coroutine) -> _Block | None:
    """Return the outermost cancelled block around a coroutine that no shield keeps out."""
    found, block = None, coroutine.scope
    while block is not None:
        if block.cancelled:
            found = block
        block = None if block.shield else block._outer
    return found


class _Alarm(Slotted):
    """A timer of the hub that expires a block."""

    __slots__ = ("block", "generation", "hub", "slot")

    def __init__(self, hub: Hub, block: _Block, nanoseconds: int) -> None:
        self.hub, self.block = hub, block
        self.slot = hub.take(self)
        self.generation = hub.generation
        try:
            hub.clock.start(self.slot, self.generation, nanoseconds)
        except BaseException:
            hub.drop(self.slot)
            hub.check()
            raise

    def deliver(self, generation: int, result: int, where: int) -> None:
        """The time has come."""
        if generation == self.generation:
            self.hub.drop(self.slot)
            self.generation = -1
            self.block._expire()

    def stop(self) -> None:
        """Forget the timer, unless it has fired."""
        if self.generation >= 0:
            self.generation = -1
            self.hub.clock.stop(self.slot)
            self.hub.drop(self.slot)

    def lost(self) -> None:
        """The loop is gone."""
        self.generation = -1


# -- deadlines --------------------------------------------------------------------------------------------------------


class Deadline(_Block):
    """A block that ends in time: `timeout`, `timeout_at`, `move_on_after`.

    `expired` (bool): whether the time was up before the block was left. `deadline`: in seconds of `system.time()`.
    """

    def __init__(self, deadline: float | None, quiet: bool) -> None:
        """quiet: swallow its own expiry."""
        super().__init__(deadline)
        self._quiet = quiet

    def error(self) -> BaseException:
        """Return the `Timeout` that a wait raises."""
        return Timeout("the time is up", self)

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """End the block."""
        self._leave()
        return self._quiet and _is_of(raised, self)

    def __repr__(self) -> str:
        """State and time."""
        return f"<Deadline {self._state()} at={self.deadline}>"


def timeout(seconds: float | None) -> Deadline:
    """Return a context manager in which every wait raises `errors.Timeout` once `seconds` have passed.

    seconds: None is no limit, 0 or less is over at once: the first wait raises. Costs one timer.
    Raises TypeError, ValueError (NaN).
    """
    return Deadline(_from_now(seconds), quiet=False)


def timeout_at(deadline: float | None) -> Deadline:
    """Return what `timeout` does, for a point in time: `deadline` in seconds of `system.time()`.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline(_checked("deadline", deadline), quiet=False)


def move_on_after(seconds: float | None) -> Deadline:
    """Return what `timeout` does, but the time being up only ends the block; `.expired` tells.

    Raises TypeError, ValueError (NaN).
    """
    return Deadline(_from_now(seconds), quiet=True)


def _from_now(seconds: float | None) -> float | None:
    limit = _checked("seconds", seconds)
    return None if limit is None else this_hub().clock.update() / 1e9 + limit


def _checked(name: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if value != value:  # noqa: PLR0124  # NaN
        raise ValueError(f"{name} must not be NaN")
    return None if value == math.inf else max(min(value, _LATEST), -_LATEST)


def _count(kind: type[BaseException], errors: list[BaseException]) -> int:
    return sum(isinstance(one, kind) for one in errors)


def _is_of(error: BaseException | None, block: _Block) -> bool:
    return isinstance(error, Timeout | ScopeCancelled) and error.scope is block


# -- structured concurrency -------------------------------------------------------------------------------------------


class Task(Generic[T]):
    """A child of a scope. `coroutine`: what runs it. `done` (bool): whether it has ended."""

    __slots__ = ("_error", "_value", "_waiters", "coroutine", "done")

    def __init__(self) -> None:
        """Made by `Scope.spawn`."""
        self._value: Any = None
        self._error: BaseException | None = None
        self._waiters: list[Coroutine] = []
        self.coroutine: Any = None
        self.done = False

    @property
    def owner(self) -> Coroutine | None:
        """Who has to end before `result` returns; for reports."""
        return None if self.done else self.coroutine

    def result(self) -> T:
        """Wait until the child has ended; return what it returned, or raise what it raised. Suspends unless it has.

        An explicit resume does not end the wait. Raises `TaskCancelled` if the child was cancelled or closed,
        RuntimeError if it waits for itself, `NotYieldable`, `Deadlock` (main program only).
        """
        me = running()
        if me is self.coroutine:
            raise RuntimeError(f"{self!r} cannot wait for its own result")
        while not self.done:
            self._waiters.append(me)
            try:
                park(me, self)
            finally:
                if me in self._waiters:
                    self._waiters.remove(me)
        if self._error is None:
            return self._value  # type: ignore[no-any-return]
        if isinstance(self._error, GreenletExit) or _is_cancellation(self._error):
            raise TaskCancelled(f"{self!r} was cancelled") from self._error
        raise self._error

    def __str__(self) -> str:
        """What a coroutine waits for, in reports."""
        return f"result of {self.coroutine.name}"

    def __repr__(self) -> str:
        """Name and state."""
        state = "running" if not self.done else "failed" if self._error is not None else "done"
        return f"<Task {self.coroutine.name} {state}>"


def _is_cancellation(error: BaseException) -> bool:
    return isinstance(error, Timeout | ScopeCancelled) and error.scope is not None


class Scope(_Block):
    """A block whose children end with it: `scope`. `expired` (bool): whether its deadline has passed."""

    def __init__(self, deadline: float | None, shield: bool) -> None:
        """See `scope`."""
        super().__init__(deadline)
        self.shield = shield
        self._tasks: dict[Task[Any], None] = {}  # those that have not ended, in the order of their start
        self._errors: list[BaseException] = []
        self._joining = False

    def spawn(self, function: Callable[..., T], *arguments: Any, name: str | None = None) -> Task[T]:
        """Run function(*arguments) in a new coroutine up to its first wait; it will have ended before the block does.

        The first exception that escapes from a child cancels the scope, and is raised when all have ended.
        Children may spawn, too. Returns the `Task`. Raises TypeError, RuntimeError (the block is not open),
        `ForeignThread`.
        """
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        if self._host is None or (self._joining and not self._tasks):
            raise RuntimeError(f"{self!r} is not open: spawn inside its with block")
        task: Task[T] = Task()
        task.coroutine = child = Coroutine(
            self._run, (task, function, arguments), name or getattr(function, "__qualname__", None), 2
        )
        if child.home is not self._host.home:
            raise ForeignThread(f"{self!r} belongs to another thread")
        child.scope = self
        if self.cancelled or self._host.cancelled is not None:
            child.cancelled = _reason(child)
        self._tasks[task] = None
        child.launch()
        return task

    def _run(self, task: Task[T], function: Callable[..., T], arguments: tuple[Any, ...]) -> None:
        """Be a child: whatever happens ends up in its task, and what nobody else is told of, in the scope."""
        try:
            task._value = function(*arguments)
        except BaseException as error:  # noqa: BLE001  # kept for the one who asks; raised at the end of the block
            task._error = error
            if not isinstance(error, GreenletExit) and not self._is_outside(error):
                self._errors.append(error)
        task.coroutine.scope = task.coroutine.cancelled = None
        task.done = True
        del self._tasks[task]
        if self._errors:
            self.cancel()
        if task._waiters or (self._joining and not self._tasks):
            self._wake_waiters(task)

    def _is_outside(self, error: BaseException) -> bool:
        """Return whether an error is the cancellation of this block or one around it, which tells them itself."""
        block: _Block | None = self
        while block is not None:
            if _is_of(error, block):
                return True
            block = block._outer
        return False

    def _wake_waiters(self, task: Task[Any]) -> None:
        """Have the hub resume those who waited for the end of a child, as soon as that has come."""
        hub = this_hub()
        for waiter in task._waiters:
            hub.ready.append(_Wake(waiter, task))
        if self._host is not None and self._joining and not self._tasks:
            hub.ready.append(_Wake(self._host, self))

    def _children(self) -> Iterator[Coroutine]:
        for task in list(self._tasks):
            yield from _within(task.coroutine, self)

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Wait for the children, then raise what failed."""
        host = self._host
        if raised is not None and not self._is_outside(raised):
            self._errors.insert(0, raised)
        if raised is not None:
            self.cancel()
        me: Coroutine | None = getattr(getcurrent(), "coroutine", None)
        if me is not None and me is host:  # else it is being collected
            self._join(me)
        self._leave()
        return self._raise(host, raised)

    def _join(self, host: Coroutine) -> None:
        """Wait until no child is left. Whatever ends the wait early cancels the children, and is raised after them.

        A second KeyboardInterrupt leaves at once: it must always be possible to get out.
        """
        self._joining = True
        while self._tasks:
            host.cancelled = None  # now it is the children who have to end
            try:
                park(host, self)
            except BaseException as error:  # noqa: BLE001  # kept
                if not self._is_outside(error):
                    self._errors.append(error)
                    if isinstance(error, KeyboardInterrupt) and _count(KeyboardInterrupt, self._errors) > 1:
                        break
                self.cancel()

    def _raise(self, host: Coroutine | None, raised: BaseException | None) -> bool:
        """Raise what the block ends with; return whether what it was left with is dealt with."""
        errors, self._errors = self._errors, []
        if len(errors) == 1:
            if errors[0] is raised:
                return False
            raise errors[0]
        if errors:
            group = BaseExceptionGroup(f"{len(errors)} failed in {self!r}", errors)
            leave = next((one for one in errors if isinstance(one, KeyboardInterrupt | SystemExit)), None)
            if leave is not None:
                raise leave from group
            raise group
        if host is not None and host.cancelled is not None:
            if raised is not None and _is_of(raised, host.cancelled):
                return False
            raise host.cancelled.error()
        if self.expired:
            raise Timeout("the time of the scope is up", self)
        return raised is None or _is_of(raised, self)

    def __str__(self) -> str:
        """What the host waits for at the end, in reports."""
        return f"end of {len(self._tasks)} children"

    def __repr__(self) -> str:
        """State and number of children."""
        return f"<Scope {self._state()} children={len(self._tasks)}>"


class _Wake(Entry):
    """Resume a coroutine if it waits for `what` still."""

    __slots__ = ("waiter", "what")

    def __init__(self, waiter: Coroutine, what: object) -> None:
        self.waiter, self.what = waiter, what

    def fire(self) -> None:
        """Resume, signed."""
        waiter = self.waiter
        if waiter.resumer is None and waiter.waiting_on is self.what:
            waiter.resumer = waiter.gate
            waiter.waiting_on = None
            wake(waiter)


def scope(*, deadline: float | None = None, shield: bool = False) -> Scope:
    """Return a context manager that ends when all coroutines which were spawned in it have ended. Suspends until then.

    If the block or a child fails, the others are cancelled and the exception is raised when they have ended; several
    are raised as an exception group. Leave without waiting: `cancel()`, which raises nothing.
    deadline: in seconds of `system.time()`; when it passes, the scope is cancelled and raises `errors.Timeout` at its
    end. shield: no cancellation from outside enters; for clean-up that has to wait. An explicit resume does not end the
    wait. Raises TypeError, ValueError (NaN).
    """
    if not isinstance(shield, bool):
        raise TypeError(f"shield must be a bool, not {shield!r}")
    return Scope(_checked("deadline", deadline), shield)
