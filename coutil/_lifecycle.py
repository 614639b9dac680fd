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
from ._switch_guard import set_signal_handlers
from .errors import BusyError, Closed, Forked

__all__ = [
    "RLock",
    "all_hubs",
    "attach",
    "detach",
    "get_ident",
    "has_signal_handlers",
    "interruptible",
    "join_all_codes",
    "join_codes",
    "joins_all_threads",
    "joins_thread",
    "leak",
    "os_threads",
    "release_gil",
    "resume_after_fork",
    "shut_down",
    "shut_down_thread",
]

Hub = Any  # they are of the layer above: all that is known of them here are the methods that are called
Coroutine = Any
Function = TypeVar("Function", bound=Callable[..., Any])

SHUTDOWN_ROUNDS = 10  # times that a coroutine is asked to end when its thread ends; turns that it has for it each time
DAEMON_STOP_TIMEOUT = 0.2  # seconds that the end of the process may wait for a daemon thread which waits in its hub
BUSY_STOP_TIMEOUT = 0.02  # and for one which does something else now, and may never wait again

_hubs: set[Hub] = set()  # of all threads, until they are closed
_interruptible_codes: set[CodeType] = set()  # our functions that KeyboardInterrupt may leave anywhere
join_codes: set[CodeType] = set()  # functions of ours in which a thread waits for another one's end: see `wakers`
join_all_codes: set[CodeType] = set()  # and for the end of all
_thread_local = local()
_state: dict[str, Any] = {"pipe": None, "previous": -1}  # of the main thread, which alone gets signals
_main_hubs: list[Hub] = []  # the hubs of the main thread
_rescheduled_interrupts: list[Hub | None] = []  # those for which _reschedule_interrupt is under way


def attach(hub: Hub) -> None:
    """Make `hub` notice signals (in the main thread), and its own thread's end (in others).

    It is repeated when the hub has waited for a while: other libraries may have replaced the wake-up descriptor, or put
    Python's handler of SIGINT back.
    """
    if hub.context.shutting_down:
        return
    _hubs.add(hub)
    if not _is_signal_thread():
        if getattr(_thread_local, "end", None) is None:
            _thread_local.end = _ThreadExit()
        if hub not in _thread_local.end.hubs:
            _thread_local.end.hubs.append(hub)
        return
    if _state["pipe"] is None:
        _state["pipe"] = _pipe()
    if hub not in _main_hubs:
        check(lib.co_watch_wakeups(hub.loop.pointer, _state["pipe"][0]), "uv_poll_init")
        _main_hubs.append(hub)
    previous = set_wakeup_fd(_state["pipe"][1], warn_on_full_buffer=False)
    if previous != _state["pipe"][1]:
        _state["previous"] = previous
        lib.co_wakeups_next(previous)
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _on_interrupt)
    set_signal_handlers(_signal_handlers())


def all_hubs() -> list[Hub]:
    """Return the hubs of all threads."""
    return list(_hubs)


def has_signal_handlers() -> bool:
    """Return whether the program has set a signal handler that is a function of Python's."""
    return next(_signal_handlers(), None) is not None


def _signal_handlers() -> Iterator[Callable[..., object]]:
    """Yield the signal handlers of the program that are functions of Python's."""
    for number in range(1, NSIG):
        handler = signal_handler(number)
        if callable(handler) and handler is not default_int_handler and handler is not _on_interrupt:
            yield handler


def release_gil() -> None:
    """Let go of the GIL for as long as another thread needs to wake up, if there is one.

    A loop that never blocks lets go of it at each poll, for a microsecond: a thread that waits for it is woken, comes
    too late, and counts its switch interval from the beginning. So it might wait for a second.
    """
    if len(sys._current_frames()) > 1 or work.pending() or threads.pending():  # these may have no frame yet
        Time.sleep(0.00005)


def os_threads() -> dict[str, bool]:
    """Return the OS threads of the process, by number, and whether it has run; {} where that cannot be determined.

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


def _is_signal_thread() -> bool:
    """Return whether this is the thread that runs Python's signal handlers."""
    try:
        signal(SIGINT, None)  # the thread is checked before the handler, which is none
    except TypeError:
        return True
    except ValueError:
        return False
    return True


def detach(hub: Hub) -> None:
    """Undo `attach`; after the last hub the wake-up descriptor and the SIGINT handler are as they were found."""
    _hubs.discard(hub)
    end = getattr(_thread_local, "end", None)
    if end is not None and hub in end.hubs:
        end.hubs.remove(hub)
    if hub in _main_hubs:
        _main_hubs.remove(hub)
    if hub.interrupted and hub not in _rescheduled_interrupts:  # in its last turn: it cannot raise any more
        with suppress(RuntimeError):  # the interpreter ends
            start_new_thread(_reschedule_interrupt, (SIGINT, None))
    if _main_hubs or _state["pipe"] is None:
        return
    reader, writer = _state["pipe"]
    found = set_wakeup_fd(-1)
    lib.co_wakeups_next(-1)
    _restore_wakeup_fd(_state["previous"] if found == writer else found)
    if getsignal(SIGINT) is _on_interrupt:
        signal(SIGINT, default_int_handler)
    close(reader)
    close(writer)
    _state.update(pipe=None, previous=-1)


def _restore_wakeup_fd(descriptor: int) -> None:
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
    hub = max(_main_hubs, key=lambda one: one.context.last_poll_ns, default=None)  # the one that turns, or turned last
    in_hub = hub is not None and getcurrent() is hub.greenlet
    harmful = in_hub or (frame is not None and _is_own_code(frame))
    if hub is not None:
        hub.interrupted = harmful
        hub.update_flags()
    if not harmful:
        default_int_handler(number, frame)
    elif not in_hub:
        _rescheduled_interrupts.append(hub)
        start_new_thread(_reschedule_interrupt, (number, hub))  # not from here: this frame is ours, too


def _reschedule_interrupt(number: int, hub: Hub | None) -> None:
    Time.sleep(0.001)
    if hub in _rescheduled_interrupts:
        _rescheduled_interrupts.remove(hub)
    if hub is None or hub.interrupted:
        if hub is not None:
            hub.interrupted = False
        interrupt_main(Signals(number))


def interruptible(function: Function) -> Function:
    """Decorate a function of ours that blocks the thread, and that KeyboardInterrupt may leave at any place."""
    _interruptible_codes.add(function.__code__)
    return function


def _is_own_code(frame: FrameType) -> bool:
    name = str(frame.f_globals.get("__name__", ""))
    return name.startswith("coutil.") and frame.f_code not in _interruptible_codes


def joins_thread(function: Function) -> Function:
    """Decorate a method of a thread that waits for the thread's end, blocking, and whose `self` has an `ident`."""
    join_codes.add(function.__code__)
    return function


def joins_all_threads(function: Function) -> Function:
    """Decorate a function that waits at the end of the process for threads."""
    join_all_codes.add(function.__code__)
    return function


class _ThreadExit:
    """Ends the hubs of a thread when the thread ends: an object in its thread-local storage."""

    def __init__(self) -> None:
        self.hubs: list[Hub] = []

    def __del__(self) -> None:
        """End the hubs; but a child process, or the interpreter's own end, clears the storage from another thread."""
        for hub in self.hubs[:]:
            if not sys.is_finalizing() and get_ident() == hub.context.thread:
                shut_down(hub)


def shut_down_thread() -> None:
    """End the hubs of the calling thread now; Python may clear the storage of a thread it did not start much later.

    A thread of the pool goes on to the next function then, which may have a hub of its own.
    """
    ended = _thread_local.__dict__.pop("end", None)
    homes = [hub.context for hub in ended.hubs] if ended is not None else ()
    del ended
    for context in homes:
        context.shutting_down = False


def shut_down(hub: Hub) -> None:
    """End the coroutines that wait in a hub, while their `finally` blocks can still use the loop; then close it.

    Their errors are reported. Whoever waits again gets a few turns for it before it is asked to end once more.
    """
    context, face = hub.context, hub.public_loop()
    context.shutting_down = True
    if context.main.resumer is not context.main.hub_greenlet:  # somebody resumed the main program, and waits for it
        _run_and_report(hub, None, hub.run_pending)
    for left in range(SHUTDOWN_ROUNDS * SHUTDOWN_ROUNDS, 0, -1):
        waiting = hub.waiting()
        if not waiting:
            break
        for coroutine in waiting if left % SHUTDOWN_ROUNDS == 0 else ():
            if coroutine.status == "suspended":
                _run_and_report(hub, coroutine, coroutine.close)
        _run_and_report(hub, None, hub.run_pending)
    hub.close()
    context.kill_idle_runners(hub.greenlet)
    context.running_hub = None
    del face  # until now, lest its finalizer close the loop as well


def _run_and_report(hub: Hub, coroutine: Coroutine | None, function: Callable[[], object]) -> None:
    try:
        function()
    except SystemExit:
        pass  # as if it had been raised by the thread's own function
    except BaseException as error:  # noqa: BLE001  # reported
        hub.report(coroutine, error)


def _block_forever(reached: LockType) -> None:
    """Stop the calling thread for ever; tell by `reached` that it no longer needs the interpreter."""
    for_ever = allocate_lock()
    for_ever.acquire()
    reached.release()
    for_ever.acquire()


def _block_other_threads() -> None:
    """Stop the other threads that have hubs."""
    frozen, begin = [], Time.monotonic_ns()
    for hub in [one for one in list(_hubs) if one.context.thread != get_ident()]:
        reached = allocate_lock()
        reached.acquire()
        with suppress(Closed, Forked):
            hub.call_threadsafe(_block_forever, reached)
            frozen.append(
                (reached, begin + int(1e9 * (DAEMON_STOP_TIMEOUT if hub.is_running() else BUSY_STOP_TIMEOUT)))
            )
    for reached, limit in frozen:
        reached.acquire(timeout=max(limit - Time.monotonic_ns(), 0) / 1e9)


def _at_exit() -> None:
    _block_other_threads()
    mine = [one for one in _main_hubs if one.context.thread == get_ident()]
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
        hub.after_fork_in_child()
        if hub.context.thread == get_ident():
            hub.context.forked = True
            hub.context.detach_hub()
        _hubs.discard(hub)
    if _state["pipe"] is not None:
        _restore_wakeup_fd(_state["previous"])
        for end in _state["pipe"]:
            close(end)
        lib.co_wakeups_next(-1)
        _state.update(pipe=None, previous=-1)
    _main_hubs.clear()


def resume_after_fork(hub: Hub) -> None:
    """Let an orphaned hub go on. Raises `UVError`, and `BusyError` if its thread has got another one since the fork."""
    context = hub.context
    if context.hub is not None:
        raise BusyError("the event loop cannot go on: its thread has got another one since the fork")
    check(lib.co_loop_revive(hub.loop.pointer), "uv_loop_fork")
    hub.forked = context.forked = False
    context.hub, context.hub_greenlet = hub, hub.greenlet
    ready, records = hub.fork_backup
    hub.fork_backup = [], []
    hub.ready.extend(ready)
    hub.completions.extend(records)
    attach(hub)
    hub.update_flags()


def leak(hub: Hub) -> None:
    """Let go of an orphaned hub: its memory is leaked, for some of it may be in use for ever."""
    for one in (*hub.handlers, *hub.fork_backup[0]):
        one.loop_closed()
    hub.loop.leak()
    hub.fork_backup = [], []
    hub.clear_slots()


atexit.register(_at_exit)
register_at_fork(after_in_child=_after_fork_in_child)
