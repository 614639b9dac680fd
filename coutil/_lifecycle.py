"""Signals, fork and exit: effects of the operating system and of the interpreter on a hub.

Ctrl-C: a wake-up pipe ends libuv's poll, so that Python's handlers run at once. Unless the program has set its own
handler, SIGINT is handled here: KeyboardInterrupt is raised in the user's code, never in the middle of ours. In the hub
it is kept until the end of the turn, and then raised in the main program.

Exit: when a thread ends, the coroutines that wait in its hub are ended, and its loop is closed. When the process ends,
the loop of the main thread is closed without ending them, because a coroutine that waits must not delay the exit.
Daemon threads whose hubs are at work are blocked where they are: the interpreter would unwind their stacks, which
greenlets do not survive.

Fork: a child process gets copies of the parent's loops. They share the epoll descriptor, the wake-up descriptors and
the open files with the parent: a child that touched them would change the parent's registrations. So in the child each
hub is *orphaned* first: `forked` makes every call raise `Forked`, C marks the loop, the deliveries that the turn had
still to make move to `fork_backup` (the child may have been forked in the middle of a turn, by a coroutine, and the hub
that continues in the child must not make them), and the loop context of the forking thread is free for a new hub. No
memory is freed: the child may still be inside a function that uses it. Then there are two ways. `leak` drops the
references and leaves the memory. `resume_after_fork` revives the loop (`uv_loop_fork`: new descriptors, every handle
registered again), takes the deliveries back from `fork_backup`, and makes the hub that of its thread again, provided
that the thread has not made another one. Hubs of other threads stay orphaned: their threads do not exist in the child.
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

Hub = Any  # of the layer above: this file uses only the methods that it calls
Coroutine = Any
Function = TypeVar("Function", bound=Callable[..., Any])

SHUTDOWN_ROUNDS = 10  # attempts to end a coroutine when its thread ends; and turns for each attempt
DAEMON_STOP_TIMEOUT = 0.2  # seconds that the end of the process may wait for a daemon thread that waits in its hub
BUSY_STOP_TIMEOUT = 0.02  # seconds for one that runs other code now, and may never wait again

_hubs: set[Hub] = set()  # of all threads, until they are closed
_interruptible_codes: set[CodeType] = set()  # our functions that KeyboardInterrupt may leave anywhere
join_codes: set[CodeType] = set()  # functions in which a thread waits for another one's end: see `wakers`
join_all_codes: set[CodeType] = set()  # functions in which a thread waits for the end of all
_thread_local = local()
_state: dict[str, Any] = {"pipe": None, "previous": -1}  # of the main thread, the only one that runs signal handlers
_main_hubs: list[Hub] = []  # the hubs of the main thread
_rescheduled_interrupts: list[Hub | None] = []  # hubs for which _reschedule_interrupt is under way


def attach(hub: Hub) -> None:
    """Have `hub` notice signals (in the main thread), or the end of its thread (in others).

    Repeated when the hub has waited for a while: other libraries may have replaced the wake-up descriptor, or restored
    Python's handler of SIGINT. Raises `UVError`.
    """
    if hub.context.shutting_down:
        return
    # Other threads: notice their end
    _hubs.add(hub)
    if not _is_signal_thread():
        if getattr(_thread_local, "end", None) is None:
            _thread_local.end = _ThreadExit()
        if hub not in _thread_local.end.hubs:
            _thread_local.end.hubs.append(hub)
        return
    # The main thread: have each signal end the poll, and pass it on to the previous wake-up descriptor
    if _state["pipe"] is None:
        _state["pipe"] = _pipe()
    if hub not in _main_hubs:
        check(lib.co_watch_wakeups(hub.loop.pointer, _state["pipe"][0]), "uv_poll_init")
        _main_hubs.append(hub)
    previous = set_wakeup_fd(_state["pipe"][1], warn_on_full_buffer=False)
    if previous != _state["pipe"][1]:
        _state["previous"] = previous
        lib.co_wakeups_next(previous)
    # Handle SIGINT, and know the program's handlers: see `_switch_guard`
    if getsignal(SIGINT) is default_int_handler:
        signal(SIGINT, _on_interrupt)
    set_signal_handlers(_signal_handlers())


def all_hubs() -> list[Hub]:
    """Return the hubs of all threads."""
    return list(_hubs)


def has_signal_handlers() -> bool:
    """Return whether the program has set a signal handler in Python."""
    return next(_signal_handlers(), None) is not None


def _signal_handlers() -> Iterator[Callable[..., object]]:
    """Yield the signal handlers in Python that the program has set."""
    for number in range(1, NSIG):
        handler = signal_handler(number)
        if callable(handler) and handler is not default_int_handler and handler is not _on_interrupt:
            yield handler


def release_gil() -> None:
    """Release the GIL for as long as another thread needs to wake up, if there is one.

    A loop that never blocks releases it at each poll for a microsecond. A thread that waits for it is woken, comes too
    late, and begins its switch interval again; so it might wait for a second.
    """
    if len(sys._current_frames()) > 1 or work.pending() or threads.pending():  # their threads may have no frame yet
        Time.sleep(0.00005)


def os_threads() -> dict[str, bool]:
    """Return the OS threads of the process: for each number whether the thread has run; {} if that is unknown.

    A thread that has not run waits for a processor, and its processor time is 0 in the system's units.
    Source: /proc/self/task, proc(5).
    """
    has_run = {}
    with suppress(OSError):  # there is no /proc, or no descriptor is left
        me = readlink("/proc/thread-self").rpartition("/")[2]
        for number in listdir("/proc/self/task"):
            with suppress(OSError), FileIO(f"/proc/self/task/{number}/stat") as file:  # or it has ended
                fields = file.read().rpartition(b")")[2].split()  # from the third one on, the state
                has_run[number] = (
                    number == me or fields[0] != b"R" or fields[11:13] != [b"0", b"0"]
                )  # user, system time
    return has_run


def _is_signal_thread() -> bool:
    """Return whether this is the thread that runs Python's signal handlers."""
    try:
        signal(SIGINT, None)  # checks the thread before the handler, which is invalid
    except TypeError:
        return True
    except ValueError:
        return False
    return True


def detach(hub: Hub) -> None:
    """Undo `attach`; after the last hub restore the wake-up descriptor and the SIGINT handler."""
    # Remove the hub
    _hubs.discard(hub)
    end = getattr(_thread_local, "end", None)
    if end is not None and hub in end.hubs:
        end.hubs.remove(hub)
    if hub in _main_hubs:
        _main_hubs.remove(hub)
    if hub.interrupted and hub not in _rescheduled_interrupts:  # in its last turn: it can no longer raise
        with suppress(RuntimeError):  # the interpreter ends
            start_new_thread(_reschedule_interrupt, (SIGINT, None))
    if _main_hubs or _state["pipe"] is None:
        return
    # After the last one, restore the descriptor that was set before, or keep one that was set since
    reader, writer = _state["pipe"]
    current = set_wakeup_fd(-1)
    lib.co_wakeups_next(-1)
    _restore_wakeup_fd(_state["previous"] if current == writer else current)
    if getsignal(SIGINT) is _on_interrupt:
        signal(SIGINT, default_int_handler)
    close(reader)
    close(writer)
    _state.update(pipe=None, previous=-1)


def _restore_wakeup_fd(descriptor: int) -> None:
    """Set a wake-up descriptor of other code again, unless it is closed by now."""
    with suppress(OSError, ValueError):
        set_wakeup_fd(descriptor)


def _pipe() -> tuple[int, int]:
    reader, writer = new_pipe()
    set_blocking(reader, False)
    set_blocking(writer, False)
    return reader, writer


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt where it does no harm: in the user's code, or, by the hub, at the end of its turn.

    Inside our code outside of the hub either of them may come first; both are arranged, and the first one counts.
    """
    hub = max(_main_hubs, key=lambda each: each.context.last_poll_ns, default=None)  # the one that runs, or ran last
    in_hub = hub is not None and getcurrent() is hub.greenlet
    harmful = in_hub or (frame is not None and _is_own_code(frame))
    if hub is not None:
        hub.interrupted = harmful
        hub.update_flags()
    if not harmful:
        default_int_handler(number, frame)
    elif not in_hub:
        _rescheduled_interrupts.append(hub)
        start_new_thread(_reschedule_interrupt, (number, hub))  # raising here would raise in our code


def _reschedule_interrupt(number: int, hub: Hub | None) -> None:
    """Send SIGINT again after a moment, from another thread, unless the hub has raised KeyboardInterrupt by then."""
    Time.sleep(0.001)
    if hub in _rescheduled_interrupts:
        _rescheduled_interrupts.remove(hub)
    if hub is None or hub.interrupted:
        if hub is not None:
            hub.interrupted = False
        interrupt_main(Signals(number))


def interruptible(function: Function) -> Function:
    """Decorate a function of ours that blocks the thread; KeyboardInterrupt may be raised anywhere in it."""
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
        """End the hubs, unless a child process or the end of the interpreter clears the storage from another thread."""
        for hub in self.hubs[:]:
            if not sys.is_finalizing() and get_ident() == hub.context.thread:
                shut_down(hub)


def shut_down_thread() -> None:
    """End the hubs of the calling thread now: Python clears the storage of a thread that it did not start much later.

    A thread of the pool continues with the next function, which may make its own hub.
    """
    ending = _thread_local.__dict__.pop("end", None)
    contexts = [hub.context for hub in ending.hubs] if ending is not None else ()
    del ending  # ends the hubs
    for context in contexts:
        context.shutting_down = False


def shut_down(hub: Hub) -> None:
    """End the coroutines that wait in a hub, while their `finally` blocks can still use the loop; then close it.

    Their errors are reported. A coroutine that waits again gets `SHUTDOWN_ROUNDS` turns before the next attempt.
    """
    context, loop = hub.context, hub.public_loop()
    context.shutting_down = True
    # End the coroutines
    if context.main.resumer is not context.main.hub_greenlet:  # a coroutine resumed the main program, and waits for it
        _run_and_report(hub, None, hub.run_pending)
    for left in range(SHUTDOWN_ROUNDS * SHUTDOWN_ROUNDS, 0, -1):
        waiting = hub.waiting()
        if not waiting:
            break
        for coroutine in waiting if left % SHUTDOWN_ROUNDS == 0 else ():
            if coroutine.status == "suspended":
                _run_and_report(hub, coroutine, coroutine.close)
        _run_and_report(hub, None, hub.run_pending)
    # Close the loop
    hub.close()
    context.kill_idle_runners(hub.greenlet)
    context.running_hub = None
    del loop  # kept until now: its finalizer would close the loop before


def _run_and_report(hub: Hub, coroutine: Coroutine | None, function: Callable[[], object]) -> None:
    """Call a function; report its exceptions as errors of `coroutine`, apart from SystemExit."""
    try:
        function()
    except SystemExit:
        pass  # as if it had been raised by the thread's own function
    except BaseException as error:  # noqa: BLE001  # reported
        hub.report(coroutine, error)


def _block_forever(reached: LockType) -> None:
    """Block the calling thread for ever; release `reached` when it no longer needs the interpreter."""
    for_ever = allocate_lock()
    for_ever.acquire()
    reached.release()
    for_ever.acquire()


def _block_other_threads() -> None:
    """Block the other threads that have hubs."""
    frozen, begin = [], Time.monotonic_ns()
    for hub in [each for each in list(_hubs) if each.context.thread != get_ident()]:
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
    """Block the other threads, and close the loops of the calling one."""
    _block_other_threads()
    mine = [hub for hub in _main_hubs if hub.context.thread == get_ident()]
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
    """Orphan the copies of the parent's loops: see fork, above."""
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
    """Revive an orphaned hub: see fork, above. Raises `UVError`, or `BusyError` if its thread has made another hub."""
    context = hub.context
    if context.hub is not None:
        raise BusyError("the event loop cannot continue: its thread has made another one since the fork")
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
    """Drop an orphaned hub, and leak its memory, of which a part may still be in use."""
    for each in (*hub.handlers, *hub.fork_backup[0]):
        each.loop_closed()
    hub.loop.leak()
    hub.fork_backup = [], []
    hub.clear_slots()


atexit.register(_at_exit)
register_at_fork(after_in_child=_after_fork_in_child)
