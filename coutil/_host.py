"""Signals, fork and exit: what the operating system and the interpreter do to a hub.

Ctrl-C: a wake-up pipe ends libuv's poll, so that Python's handlers run at once. While nobody has set a handler of his
own, SIGINT is handled here: KeyboardInterrupt is raised in the user's code, never in the middle of ours. In the hub it
is kept until the end of the turn, and then raised in the main program.

Exit: when a thread ends, so do the coroutines that wait in its hub, and its loop is closed. When the process ends
(which a coroutine that waits must not delay), the loop of the main thread is closed under them. Daemon threads whose
hubs are at work are stopped where they are: the interpreter would unwind their stacks, which greenlets do not survive.
"""

from __future__ import annotations

import atexit
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from io import FileIO
from os import close, listdir, readlink, register_at_fork, set_blocking
from os import pipe as new_pipe
from signal import NSIG, SIGINT, Signals, default_int_handler, getsignal, set_wakeup_fd, signal
from types import CodeType, FrameType
from typing import Any, TypeVar

from greenlet import getcurrent

from ._asynchronous import set_handlers
from ._interpreter import (
    LockType,
    RLock,
    Time,
    allocate_lock,
    get_ident,
    interrupt_main,
    local,
    signal_handler,
    start_new_thread,
)
from ._libuv import check, lib, threads, work
from .errors import BusyError, Closed, Forked

__all__ = [
    "RLock",
    "end",
    "end_thread",
    "forget",
    "get_ident",
    "has_handlers",
    "hubs",
    "install",
    "interruptible",
    "joining",
    "joining_all",
    "joins",
    "joins_all",
    "let_threads_run",
    "revive",
    "tasks",
    "uninstall",
]

Hub = Any  # they are of the layer above: all that is known of them here are the methods that are called
Coroutine = Any
Function = TypeVar("Function", bound=Callable[..., Any])

ENDINGS = 10  # times that a coroutine is told to end when its thread ends; turns that it has for it each time
FREEZING = 0.2  # seconds that the end of the process may wait for a daemon thread which waits in its hub
GRACE = 0.02  # and for one which does something else now, and may never wait again

_hubs: set[Hub] = set()  # of all threads, until they are closed
_interruptible: set[CodeType] = set()  # our functions that KeyboardInterrupt may leave anywhere
joining: set[CodeType] = set()  # functions of ours in which a thread waits for another one's end: see `wakers`
joining_all: set[CodeType] = set()  # and for the end of all
_per_thread = local()
_state: dict[str, Any] = {"pipe": None, "previous": -1}  # of the main thread, which alone gets signals
_main: list[Hub] = []  # the hubs of the main thread
_again: list[Hub | None] = []  # those for which _interrupt_again is under way


def install(hub: Hub) -> None:
    """Make `hub` notice signals (in the main thread), and its own thread's end (in others).

    It is repeated when the hub has waited for a while: other libraries may have replaced the wake-up descriptor, or put
    Python's handler of SIGINT back.
    """
    if hub.home.over:
        return
    _hubs.add(hub)
    if not _gets_signals():
        if getattr(_per_thread, "end", None) is None:
            _per_thread.end = _ThreadEnd()
        if hub not in _per_thread.end.hubs:
            _per_thread.end.hubs.append(hub)
        return
    if _state["pipe"] is None:
        _state["pipe"] = _pipe()
    if hub not in _main:
        check(lib.co_watch_wakeups(hub.loop.pointer, _state["pipe"][0]), "uv_poll_init")
        _main.append(hub)
    previous = set_wakeup_fd(_state["pipe"][1], warn_on_full_buffer=False)
    if previous != _state["pipe"][1]:
        _state["previous"] = previous
        lib.co_wakeups_next(previous)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _on_interrupt)
    set_handlers(_handlers())


def hubs() -> list[Hub]:
    """Return the hubs of all threads."""
    return list(_hubs)


def has_handlers() -> bool:
    """Return whether the program has set a signal handler that is a function of Python's."""
    return next(_handlers(), None) is not None


def _handlers() -> Iterator[Callable[..., object]]:
    """Yield the signal handlers of the program that are functions of Python's."""
    for number in range(1, NSIG):
        handler = signal_handler(number)
        if callable(handler) and handler is not default_int_handler and handler is not _on_interrupt:
            yield handler


def let_threads_run() -> None:
    """Let go of the GIL for as long as another thread needs to wake up, if there is one.

    A loop that never blocks lets go of it at each poll, for a microsecond: a thread that waits for it is woken, comes
    too late, and counts its switch interval from the beginning. So it might wait for a second.
    """
    if len(sys._current_frames()) > 1 or work.pending() or threads.pending():  # these may have no frame yet
        Time.sleep(0.00005)


def tasks() -> dict[str, bool]:
    """Return the OS threads of the process, by number, and whether it has run; {} where that cannot be told.

    One that has not run waits for a processor and has used no time of one, as far as the system counts.
    Source: /proc/self/task, proc(5).
    """
    found = {}
    with suppress(OSError):  # there is no /proc, or no descriptor for it
        me = readlink("/proc/thread-self").rpartition("/")[2]
        for number in listdir("/proc/self/task"):
            with suppress(OSError), FileIO(f"/proc/self/task/{number}/stat") as file:  # or it has ended
                fields = file.read().rpartition(b")")[2].split()  # from the third one on, the state
                found[number] = number == me or fields[0] != b"R" or fields[11:13] != [b"0", b"0"]  # user, system time
    return found


def _gets_signals() -> bool:
    """Return whether this is the thread that runs Python's signal handlers."""
    try:
        signal(SIGINT, None)  # the thread is checked before the handler, which is none
    except TypeError:
        return True
    except ValueError:
        return False
    return True


def uninstall(hub: Hub) -> None:
    """Undo `install`; after the last hub the wake-up descriptor and the SIGINT handler are as they were found."""
    _hubs.discard(hub)
    end = getattr(_per_thread, "end", None)
    if end is not None and hub in end.hubs:
        end.hubs.remove(hub)
    if hub in _main:
        _main.remove(hub)
    if hub.interrupted and hub not in _again:  # in its last turn: it cannot raise any more
        with suppress(RuntimeError):  # the interpreter ends
            start_new_thread(_interrupt_again, (SIGINT, None))
    if _main or _state["pipe"] is None:
        return
    reader, writer = _state["pipe"]
    found = set_wakeup_fd(-1)
    lib.co_wakeups_next(-1)
    _wake(_state["previous"] if found == writer else found)
    if getsignal(SIGINT) is _on_interrupt:
        signal(SIGINT, default_int_handler)
    close(reader)
    close(writer)
    _state.update(pipe=None, previous=-1)


def _wake(descriptor: int) -> None:
    """Have signals written to a descriptor that somebody else has set before; he may have closed it since."""
    with suppress(OSError, ValueError):
        set_wakeup_fd(descriptor)


def _pipe() -> tuple[int, int]:
    reader, writer = new_pipe()
    set_blocking(reader, False)
    set_blocking(writer, False)
    return reader, writer


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt where it can do no harm: in code that is not ours, or by the hub when its turn ends.

    Inside our code nobody knows which of the two comes first.
    """
    hub = max(_main, key=lambda one: one.home.turned, default=None)  # the one that turns, or turned last
    in_hub = hub is not None and getcurrent() is hub.greenlet
    harmful = in_hub or (frame is not None and _is_ours(frame))
    if hub is not None:
        hub.interrupted = harmful
        hub.tune()
    if not harmful:
        default_int_handler(number, frame)
    elif not in_hub:
        _again.append(hub)
        start_new_thread(_interrupt_again, (number, hub))  # not from here: this frame is ours, too


def _interrupt_again(number: int, hub: Hub | None) -> None:
    Time.sleep(0.001)
    if hub in _again:
        _again.remove(hub)
    if hub is None or hub.interrupted:
        if hub is not None:
            hub.interrupted = False
        interrupt_main(Signals(number))


def interruptible(function: Function) -> Function:
    """Decorate a function of ours that blocks the thread, and that KeyboardInterrupt may leave at any place."""
    _interruptible.add(function.__code__)
    return function


def _is_ours(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("coutil.") and frame.f_code not in _interruptible


def joins(function: Function) -> Function:
    """Decorate a method of a thread that waits for the thread's end, blocking, and whose `self` has an `ident`."""
    joining.add(function.__code__)
    return function


def joins_all(function: Function) -> Function:
    """Decorate a function that waits at the end of the process for threads."""
    joining_all.add(function.__code__)
    return function


class _ThreadEnd:
    """Ends the hubs of a thread when the thread ends: an object in its thread-local storage."""

    def __init__(self) -> None:
        self.hubs: list[Hub] = []

    def __del__(self) -> None:
        """End the hubs; but a child process, or the interpreter's own end, clears the storage from another thread."""
        for hub in self.hubs[:]:
            if not sys.is_finalizing() and get_ident() == hub.home.thread:
                end(hub)


def end_thread() -> None:
    """End the hubs of the calling thread now; Python may clear the storage of a thread it did not start much later.

    A thread of the pool goes on to the next function then, which may have a hub of its own.
    """
    ended = _per_thread.__dict__.pop("end", None)
    homes = [hub.home for hub in ended.hubs] if ended is not None else ()
    del ended
    for where in homes:
        where.over = False


def end(hub: Hub) -> None:
    """End the coroutines that wait in a hub, while their `finally` blocks can still use the loop; then close it.

    Their errors are reported. Whoever waits again gets a few turns for it before it is told to end once more.
    """
    where, face = hub.home, hub.face()
    where.over = True
    if where.main.resumer is not where.main.gate:  # somebody resumed the main program, and waits for it
        _attempt(hub, None, hub.turn)
    for left in range(ENDINGS * ENDINGS, 0, -1):
        waiting = hub.waiting()
        if not waiting:
            break
        for coroutine in waiting if left % ENDINGS == 0 else ():
            if coroutine.status == "suspended":
                _attempt(hub, coroutine, coroutine.close)
        _attempt(hub, None, hub.turn)
    hub.close()
    where.retire(hub.greenlet)
    where.turning = None
    del face  # until now, lest its finalizer close the loop as well


def _attempt(hub: Hub, coroutine: Coroutine | None, function: Callable[[], object]) -> None:
    try:
        function()
    except SystemExit:
        pass  # as if it had been raised by the thread's own function
    except BaseException as error:  # noqa: BLE001  # reported
        hub.report(coroutine, error)


def _freeze(reached: LockType) -> None:
    """Stop the calling thread for ever; tell by `reached` that it no longer needs the interpreter."""
    for_ever = allocate_lock()
    for_ever.acquire()
    reached.release()
    for_ever.acquire()


def _freeze_others() -> None:
    """Stop the other threads that have hubs."""
    frozen, begin = [], Time.monotonic_ns()
    for hub in [one for one in list(_hubs) if one.home.thread != get_ident()]:
        reached = allocate_lock()
        reached.acquire()
        with suppress(Closed, Forked):
            hub.call_threadsafe(_freeze, reached)
            frozen.append((reached, begin + int(1e9 * (FREEZING if hub.driven() else GRACE))))
    for reached, limit in frozen:
        reached.acquire(timeout=max(limit - Time.monotonic_ns(), 0) / 1e9)


def _at_exit() -> None:
    _freeze_others()
    mine = [one for one in _main if one.home.thread == get_ident()]
    for hub in mine:
        hub.close()
    if mine and getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _on_interrupt_at_exit)


def _on_interrupt_at_exit(
    number: int, frame: FrameType | None, raise_: Callable[[int, FrameType | None], Any] = default_int_handler
) -> None:
    """Raise KeyboardInterrupt, but not in one of our finalizers.

    The interpreter would print and drop it there; the process ends anyway. Our globals may be gone by now.
    """
    if frame is None or frame.f_code.co_name != "__del__" or "coutil" not in frame.f_code.co_filename:
        raise_(number, frame)


def _after_fork_in_child() -> None:
    """The parent's loops share their descriptors with the child's copies, which must not touch them any more."""
    for hub in list(_hubs):
        hub.orphan()
        if hub.home.thread == get_ident():
            hub.home.forked = True
            hub.home.renew()
        _hubs.discard(hub)
    if _state["pipe"] is not None:
        _wake(_state["previous"])
        for end in _state["pipe"]:
            close(end)
        lib.co_wakeups_next(-1)
        _state.update(pipe=None, previous=-1)
    _main.clear()


def revive(hub: Hub) -> None:
    """Let an orphaned hub go on. Raises `UVError`, and `BusyError` if its thread has got another one since the fork."""
    where = hub.home
    if where.hub is not None:
        raise BusyError("the event loop cannot go on: its thread has got another one since the fork")
    check(lib.co_loop_revive(hub.loop.pointer), "uv_loop_fork")
    hub.forked = where.forked = False
    where.hub, where.gate = hub, hub.greenlet
    ready, records = hub.aside
    hub.aside = [], []
    hub.ready.extend(ready)
    hub.records.extend(records)
    install(hub)
    hub.tune()


def forget(hub: Hub) -> None:
    """Let go of an orphaned hub: its memory is leaked, for some of it may be in use for ever."""
    for one in (*hub.owners, *hub.aside[0]):
        one.lost()
    hub.loop.leak()
    hub.aside = [], []
    hub.forget_all()


atexit.register(_at_exit)
register_at_fork(after_in_child=_after_fork_in_child)
