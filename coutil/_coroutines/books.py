"""State that the coroutines of an event loop share, apart from switching: foreign waiters, errors, deferred calls.

Rule: no greenlet and no libuv in this file.
"""

from __future__ import annotations

import sys
import warnings
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from .._diagnostics import thread_name
from .._interpreter import Time, get_ident
from ..errors import Closed, ForeignThread, Forked

if TYPE_CHECKING:
    from .coroutine import Coroutine
    from .hooks import Hooks

ExceptHook = Callable[["Coroutine | None", BaseException], object]


_KERNEL_PACKAGES = (__package__, "coutil._kernel")  # packages whose frames do not help users


class Sentinel:
    """A value that user code can never obtain."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __repr__(self) -> str:
        return self.name


def strip_kernel_frames(error: BaseException) -> None:
    """Drop the kernel's frames from the start of the traceback of `error`, in an `except` clause that raises it again.

    A bare `raise` adds none: the line of a resumer comes right before those of the coroutine that has failed.
    """
    traceback = error.__traceback__
    while traceback is not None and traceback.tb_frame.f_globals.get("__package__") in _KERNEL_PACKAGES:
        traceback = traceback.tb_next
    error.__traceback__ = traceback


class NonCopyable:
    """Mix-in for objects that own a resource: a copy would be a second owner of the same handle."""

    __slots__ = ()

    def __reduce__(self) -> NoReturn:
        """Refuse copies and pickles. Raises TypeError."""
        raise TypeError(f"cannot copy or pickle {self!r}")


class ScheduledCall:
    """A call that the hub makes in its next turn: an entry of its ready queue, see `_kernel.slots.ReadyItem`."""

    __slots__ = ("arguments", "context", "function")
    waiter = None
    cancelled_entries = 1

    def __init__(self, context: LoopContextBase, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self.context, self.function, self.arguments = context, function, arguments

    def run(self) -> None:
        """Make the call. Its exceptions are reported."""
        self.context.call_hook(self.function, *self.arguments)

    def loop_closed(self) -> None:
        """Drop nothing: the call does not use the loop."""


class LoopContextBase:
    """State that the hub and the coroutines of one event loop share."""

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
        """Make the state of a loop of the calling thread; there is no hub yet."""
        self.hub: Any = None
        # Calls for the hub, made by other threads
        self.threadsafe_calls: deque[tuple[Callable[..., object], tuple[Any, ...]]] = deque()
        self.pending_ready: deque[Any] = deque()  # ready items, until there is a hub
        self.running_hub: Any = None  # the hub that runs or ran last; after a fork perhaps the parent's
        self.thread = get_ident()
        self.forked = False  # this process is the child of one that had coroutines here
        self.shutting_down = False  # the thread ends: no new hub is made
        self.hooks: Hooks | None = None
        self.excepthook: ExceptHook = print_exception
        self.foreign_waiters: list[Coroutine] = []  # greenlets that are not ours and wait, the latest last
        self.idle_runners: list[Any] = []  # idle greenlets
        self.started_count = self.finished_count = 0
        self.last_poll_ns = Time.monotonic_ns()
        self.last_finished: Coroutine | None = None  # for the hub, which may get back another coroutine than it resumed

    def interrupt_target(self) -> Coroutine:
        """Return the coroutine that receives errors belonging to no coroutine: the one that runs the hub, else main.

        A coroutine that was explicitly resumed, and waits again since, no longer runs the hub: control went back to
        its resumer.
        """
        return self.foreign_waiters[-1] if self.foreign_waiters else self.main

    def alive_count(self) -> int:
        """Return how many coroutines have started and not ended."""
        return self.started_count - self.finished_count

    def report(self, coroutine: Coroutine | None, error: BaseException) -> None:
        """Pass an exception that has no other recipient to the excepthook; an error of the hook is printed with it.

        The exception counts as delivered once the hook is called: if a signal handler raises before that, the hub
        repeats the report.
        """
        try:
            if coroutine is not None and coroutine is self.last_finished:
                self.last_finished = coroutine._error = None
            self.excepthook(coroutine, error)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as broken:  # noqa: BLE001  # printed with the reported error
            try:
                print_exception(coroutine, error)
            finally:
                print_exception(coroutine, broken)

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the hub call `function(*arguments)`, as soon as there is one; safe from any OS thread.

        Does nothing if the loop's thread has ended, or in the child of a fork that another thread made.
        """
        self.threadsafe_calls.append((function, arguments))
        hub = self.hub  # a hub that is made from now on looks at `threadsafe_calls` itself
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

        The function must not wait; it may resume coroutines. Its exceptions go to the excepthook. Without a hub the
        call stays queued until there is one, that is, until the main program waits.
        """
        self.enqueue(ScheduledCall(self, function, arguments))

    def enqueue(self, entry: Any) -> None:
        """Add an entry to the ready queue of the hub, at any moment."""
        if self.hub is None:
            self.pending_ready.append(entry)
        else:
            self.hub.enqueue(entry)

    def call_hook(self, function: Callable[..., object], *arguments: Any) -> None:
        """Call a hook, or a function for another thread; report its exceptions, which concern no caller here."""
        try:
            function(*arguments)
        except BaseException as error:  # noqa: BLE001  # reported
            self.report_or_raise(error)

    def report_or_raise(self, error: BaseException) -> None:
        """Pass an error to the excepthook; have the hub raise KeyboardInterrupt and SystemExit in its caller.

        Raises these two here if there is no hub.
        """
        if not isinstance(error, KeyboardInterrupt | SystemExit):
            (self.hub or self).report(None, error)
        elif self.hub is None:
            raise error
        else:
            self.hub.raise_in_caller(error)


def print_exception(coroutine: Coroutine | None, error: BaseException) -> None:
    """Print the traceback of an exception that escaped from a coroutine; the default excepthook.

    A report that cannot be written (standard error is closed, its reader has gone, its disk is full) is dropped, as
    Python drops its own: no place to report that is left, and the other coroutines go on.
    """
    try:
        title = str(coroutine or "the hub")
    except Exception as broken:  # noqa: BLE001  # raised by a name or a repr of the user's
        title = f"a coroutine, whose repr raises {type(broken).__name__}"
    with suppress(Exception):
        if sys.stderr is not None:
            print(f"Exception in {title}:", file=sys.stderr)
            sys.__excepthook__(type(error), error, error.__traceback__)


def foreign_thread_error(what: str, owner: int) -> ForeignThread:
    """Return the error for `what`, which belongs to the OS thread `owner` and was used in the calling one."""
    if owner == get_ident():
        return ForeignThread(f"{what} belongs to another event loop of thread {thread_name()}")
    return ForeignThread(f"{what} belongs to thread {thread_name(owner)}, and was used in thread {thread_name()}")


def calling_frame(depth: int) -> FrameType | None:
    """Return the frame `depth` calls outside of our caller (1: its caller); None if C called instead."""
    try:
        return sys._getframe(depth + 1)
    except ValueError:
        return None


def warn_in_finalizer(text: str, source: object) -> None:
    """Issue a ResourceWarning about `source`, at the line of the user's code that dropped the last reference.

    A finalizer calls this last: where warnings are errors this raises, and the interpreter prints that.
    """
    level, frame = 2, calling_frame(1)
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("coutil."):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, ResourceWarning, stacklevel=level, source=source)


def caller_location(frame: FrameType | None) -> str:
    """Return "file:line" of the innermost caller outside coutil, "" if there is none."""
    while frame is not None and str(frame.f_globals.get("__name__", "")).startswith("coutil."):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else ""
