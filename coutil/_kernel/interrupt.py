"""Signals, fork and exit: what the operating system and the interpreter do to a hub.

Ctrl-C: a wake-up pipe ends libuv's poll, so that Python's handlers run at once. While nobody has set a handler of his
own, SIGINT is handled here: KeyboardInterrupt is raised in the user's code, never in the middle of ours. In the hub it
is kept until the end of the turn, and then raised in the main program.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from _thread import _local, allocate_lock, get_ident, interrupt_main
from types import FrameType
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from greenlet import getcurrent

from .._libuv import check, lib

if TYPE_CHECKING:
    from .hub import Hub

__all__ = ["allocate_lock", "install", "uninstall"]

_hubs: WeakSet[Hub] = WeakSet()  # of all threads
_main_thread = get_ident()
_per_thread = _local()
_state: dict[str, Any] = {"hub": None, "pipe": None, "previous": -1}  # of the main thread, which alone gets signals


def install(hub: Hub) -> None:
    """Make `hub` notice signals (in the main thread), and its own thread's end (in others). May be repeated."""
    _hubs.add(hub)
    if get_ident() != _main_thread:
        if getattr(_per_thread, "end", None) is None or _per_thread.end.hub is not hub:
            _per_thread.end = _ThreadEnd(hub)
        return
    if _state["pipe"] is None:
        _state["pipe"] = _pipe()
    if _state["hub"] is not hub:
        check(lib.co_watch_wakeups(hub.loop.pointer, _state["pipe"][0]), "uv_poll_init")
        _state["hub"] = hub
    previous = signal.set_wakeup_fd(_state["pipe"][1], warn_on_full_buffer=False)
    if previous != _state["pipe"][1]:
        _state["previous"] = previous
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _on_interrupt)


def uninstall(hub: Hub) -> None:
    """Undo `install`: the wake-up descriptor and the SIGINT handler are as they were found."""
    _hubs.discard(hub)
    if _state["hub"] is not hub:
        return
    reader, writer = _state["pipe"]
    found = signal.set_wakeup_fd(-1)
    if found == writer:
        found = _state["previous"]
    if found != -1:
        signal.set_wakeup_fd(found)
    if signal.getsignal(signal.SIGINT) is _on_interrupt:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.close(reader)
    os.close(writer)
    _state.update(hub=None, pipe=None, previous=-1)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


def _on_interrupt(number: int, frame: FrameType | None) -> None:
    """Raise KeyboardInterrupt where it can do no harm; from inside the kernel, try again a moment later."""
    hub = _state["hub"]
    if hub is not None and getcurrent() is hub.greenlet:
        hub.interrupted = True
        hub.tune()
    elif frame is not None and str(frame.f_globals.get("__name__", "")).startswith("coutil."):
        interrupt_main()
    else:
        signal.default_int_handler(number, frame)


class _ThreadEnd:
    """Closes the hub of a thread when the thread ends: an object in its thread-local storage."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub

    def __del__(self) -> None:
        if not sys.is_finalizing():
            self.hub.close()


def _at_exit() -> None:
    if _state["hub"] is not None:
        _state["hub"].close()


def _after_fork_in_child() -> None:
    """The parent's loops share their descriptors with the child's copies, which must not touch them any more."""
    global _main_thread  # noqa: PLW0603  # the thread that forked is the child's main thread
    _main_thread = get_ident()
    for hub in list(_hubs):
        lib.co_loop_forked(hub.loop.pointer)
        hub.forked = True
        hub.tune()
        hub.home.hub = hub.home.main.operation = None
        hub.home.renew_gate(hub.home.main._greenlet)
        _hubs.discard(hub)
    if _state["pipe"] is not None:
        signal.set_wakeup_fd(-1)
        for end in _state["pipe"]:
            os.close(end)
        _state.update(hub=None, pipe=None, previous=-1)


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork_in_child)
