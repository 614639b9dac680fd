"""Explicit control of the event loop. It is optional: any waiting call runs the loop on demand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from .._coroutines import Coroutine, ExceptHook, ForeignEntry, current_context, print_exception, running, suspend
from .._kernel import current_hub
from .._libuv.arguments import check_choice

__all__ = ["get_excepthook", "halt", "isrunning", "run", "set_excepthook"]


def run(mode: Literal["loop", "step", "ready"] = "loop") -> bool:
    """Run the loop of this thread.

    mode: "loop": until nothing is left that could happen, or `halt`. "step": one turn, which waits until something
    happens. "ready": one turn without waiting.
    Returns whether anything is left. KeyboardInterrupt and SystemExit of a coroutine are raised here. A deadline around
    the caller, or a cancelled scope, ends the run as it ends a wait (`coutil.scopes`); but the deadline alone does not
    keep the run going.
    Raises TypeError, ValueError, `AlreadyRunning` (the loop itself has resumed the caller).
    Source: uv_run.
    """
    check_choice("mode", mode, ("loop", "step", "ready"))
    hub, me = current_hub(), running()
    while hub.run_caller is None and me.hub_greenlet.__class__ is ForeignEntry and me.resumer is not me.hub_greenlet:
        suspend()  # a coroutine has resumed the main program, and runs first
    return hub.run(mode)


def isrunning() -> bool:
    """Return whether `run` is in progress in this thread, also after `halt` until it returns."""
    hub = current_context().hub
    return hub is not None and hub.run_caller is not None


def halt() -> None:
    """Let `run` return after the current turn. Raises `NotRunning` if it is not in progress."""
    current_hub().halt()


def set_excepthook(hook: Callable[[Coroutine | None, BaseException], object] | None) -> None:
    """Set the function that receives an exception which escapes from a coroutine and has no other receiver.

    hook: called with the coroutine and the exception in the code that resumed the coroutine: usually in the hub, where
    the hook cannot wait; for a coroutine that fails before its first wait, in the coroutine that started it. The
    coroutine is None if the exception does not come from a coroutine: it comes from a function in the thread pool
    (`Loop.queue_work`) that no coroutine waits for, or from clean-up that another thread, or the end of one, requested.
    None restores the default, which prints a traceback on standard error. One hook per thread.
    Raises TypeError if it is not callable.
    """
    if hook is not None and not callable(hook):
        raise TypeError(f"hook must be callable or None, not {hook!r}")
    current_context().excepthook = print_exception if hook is None else hook


def get_excepthook() -> ExceptHook:
    """Return the function that receives those exceptions in this thread: the one that was set, or the default."""
    return current_context().excepthook
