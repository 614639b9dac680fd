"""What a thread's coroutines have in common, apart from switching: who waits outside, what is reported to whom.

Rule: no greenlet and no libuv in this file.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any

from .._diagnostics import thread_name
from .._interpreter import Time, get_ident
from ..errors import Closed, ForeignThread, Forked

if TYPE_CHECKING:
    from .coroutine import Coroutine
    from .hooks import Hooks

ExceptHook = Callable[["Coroutine | None", BaseException], object]


_KERNEL_PACKAGES = (__package__, "coutil._kernel")  # packages whose frames tell users nothing


class Sentinel:
    """A value that user code can never obtain."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def strip_kernel_frames(error: BaseException) -> None:
    """Have the traceback of `error` begin behind the frames of the kernel, for an `except` clause that raises it again.

    A bare `raise` adds none: the line of a resumer comes right before those of the coroutine that has failed.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") in _KERNEL_PACKAGES:
        traceback = traceback.tb_next
    error.__traceback__ = traceback


class NonCopyable:
    """What there is one of: a coroutine, or what holds something of the system. A copy would close the original's."""

    __slots__ = ()

    def __reduce__(self) -> Any:
        """Refuse copies and pickles. Raises TypeError."""
        raise TypeError(f"cannot copy or pickle {self!r}")


class ScheduledCall:
    """A call that the hub makes in its next turn: an entry of its ready queue, see `_kernel.slots.Entry`."""

    __slots__ = ("arguments", "context", "function")
    waiter = None
    cancelled_entries = 1

    def __init__(self, context: LoopContextBase, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.context, self.function, self.arguments = context, function, arguments

    def run(self) -> None:
        """Make the call. Report what it raises."""
        self.context.call_hook(self.function, *self.arguments)

    def loop_closed(self) -> None:
        """The loop is gone."""


class LoopContextBase:
    """The state that one OS thread shares among its coroutines and its hub."""

    __slots__ = [
        "excepthook",
        "finished_count",
        "foreign_waiters",
        "forked",
        "hooks",
        "hub",
        "idle_runners",
        "last_finished",
        "last_poll_ns",
        "main",
        "pending_ready",
        "running_hub",
        "shutting_down",
        "started_count",
        "thread",
        "threadsafe_calls",
    ]

    main: Coroutine

    def __init__(self) -> None:
        """The calling thread's; there is no hub yet."""
        self.hub: Any = None
        # For the hub, from other threads
        self.threadsafe_calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.pending_ready: deque[Any] = deque()  # ready items, until there is a hub
        self.running_hub: Any = None  # or ran last; after a fork perhaps the parent's
        self.thread = get_ident()
        self.forked = False  # this process is the child of one that had coroutines here
        self.shutting_down = False  # no new hub
        self.hooks: Hooks | None = None
        self.excepthook: ExceptHook = print_exception
        self.foreign_waiters: list[Coroutine] = []  # greenlets that are not ours, waiting, the latest last
        self.idle_runners: list[Any] = []  # idle greenlets
        self.started_count = self.finished_count = 0
        self.last_poll_ns = Time.monotonic_ns()
        self.last_finished: Coroutine | None = None  # for the hub, which may have resumed another one than it gets back

    def interrupt_target(self) -> Coroutine:
        """Return in whom to raise what belongs to no coroutine: who drives the hub, else the main program.

        Somebody who was resumed explicitly, and waits again since, drives no more: he went back to his resumer.
        """
        return self.foreign_waiters[-1] if self.foreign_waiters else self.main

    def alive_count(self) -> int:
        """Return how many coroutines have started and not ended."""
        return self.started_count - self.finished_count

    def report(self, coroutine: Coroutine | None, error: BaseException) -> None:
        """Hand an exception that nobody waits for to the excepthook; what that raises is shown as well.

        From the call of the hook on it is dealt with: if a signal handler raises before that, the hub tries again.
        """
        try:
            if coroutine is not None and coroutine is self.last_finished:
                self.last_finished = coroutine._error = None
            self.excepthook(coroutine, error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as broken:  # noqa: BLE001  # shown together with what it was called for
            try:
                print_exception(coroutine, error)
            finally:
                print_exception(coroutine, broken)

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the hub call `function(*arguments)`, as soon as there is one; safe from any OS thread.

        Nothing happens if the thread has ended, or if this is the child of a fork that the thread did not make.
        """
        self.threadsafe_calls.append((function, arguments))
        hub = self.hub  # one that is made from now on looks at `threadsafe_calls` itself
        if hub is not None:
            with suppress(Closed, Forked):  # the next hub makes the calls
                hub.call_threadsafe(self.run_threadsafe_calls)

    def run_threadsafe_calls(self) -> None:
        """Make the calls of other threads, from the hub."""
        for _ in range(len(self.threadsafe_calls)):
            function, arguments = self.threadsafe_calls[0]
            del self.threadsafe_calls[0]
            try:  # as in call_hook()
                function(*arguments)
            except BaseException as error:  # noqa: BLE001  # reported
                self.report_or_raise(error)

    def call_soon(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the hub call `function(*arguments)` in its next turn; from this thread, but at any moment.

        The call must not wait. It may resume coroutines. What it raises goes to the excepthook. Without a hub the call
        waits until there is one: until the main program waits.
        """
        self.enqueue(ScheduledCall(self, function, arguments))

    def enqueue(self, entry: Any) -> None:
        """Add an entry to the ready queue of the hub, at any moment."""
        if self.hub is None:
            self.pending_ready.append(entry)
        else:
            self.hub.enqueue(entry)

    def call_hook(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a hook, or for another thread; what that raises is reported, for nobody here has asked for it."""
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001  # reported
            self.report_or_raise(error)

    def report_or_raise(self, error: BaseException) -> None:
        """Report what a function has raised that nobody here has asked for; what wants to leave is the hub's matter."""
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            (self.hub or self).report(None, error)
        elif self.hub is None:
            raise error
        else:
            self.hub.raise_in_caller(error)


def print_exception(coroutine: Coroutine | None, error: BaseException) -> None:
    """Print the traceback of an exception that escaped from a coroutine; the default excepthook.

    A report that cannot be written (standard error is closed, its reader has gone, its disk is full) is dropped, as
    Python drops its own: there is no place left to report that to, and the other coroutines have to go on.
    """
    try:
        title = str(coroutine or "the hub")
    except Exception as broken:  # noqa: BLE001  # of a name or a repr of the user's
        title = f"a coroutine, whose repr raises {type(broken).__name__}"
    with suppress(Exception):
        if sys.stderr is not None:
            print(f"Exception in {title}:", file=sys.stderr)
            sys.__excepthook__(type(error), error, error.__traceback__)


def foreign_thread_error(what: str, owner: int) -> ForeignThread:
    """Return the error for `what`, which belongs to the OS thread `owner`, and was used in the calling one."""
    if owner == get_ident():
        return ForeignThread(f"{what} belongs to another event loop of thread {thread_name()}")
    return ForeignThread(f"{what} belongs to thread {thread_name(owner)}, and was used in thread {thread_name()}")


def calling_frame(depth: int) -> FrameType | None:
    """Return the frame of our caller's caller (1), or of one further out; None if C has called instead."""
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None


def warn_in_finalizer(text: str, source: object) -> None:
    """Issue a ResourceWarning about `source`, at the line of the user's code that has dropped it.

    This is the last thing that a finalizer does: where warnings are errors, the interpreter reports what it raises.
    """
    level, frame = 2, calling_frame(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("coutil."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ResourceWarning, stacklevel=level, source=source)


def caller_location(frame: FrameType | None) -> str:
    """Return file and line of the innermost caller that is not part of coutil, "" if there is none."""
    at = frame
    while at is not None and str(at.f_globals.get("__name__", "")).startswith("coutil."):
        at = at.f_back
    return f"{at.f_code.co_filename}:{at.f_lineno}" if at is not None else ""
