"""Loops: several in one OS thread, each with the coroutines that its handlers run in.

Rule 1: handlers never run below a libuv frame, and never in the hub. A *worker*, a coroutine, calls one handler after
another; as soon as one of them waits, the hub starts another worker. So a handler may wait for whatever it likes.
Rule 2: whatever the running coroutine waits for is waited for in the loop that it belongs to. A coroutine of another
loop, or the main program, which waits for something of this one drives it meanwhile.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self, TextIO
from weakref import ref

from greenlet import getcurrent

from .. import _host
from .._asynchronous import in_collector
from .._coroutines.books import Unique, foreign, warn_in_finalizer
from .._coroutines.coroutine import Coroutine, Home, home, running
from .._coroutines.switching import top
from .._interpreter import get_ident
from .._kernel.entries import Entry
from .._kernel.hub import SLEEPLESS, Hub, hub_of, this_hub
from .._libuv import check, error, lib
from .._libuv.handles import number, printed
from .._libuv.info import metrics
from .._libuv.signal_names import signal_number
from ..scopes import timeout
from .flat import flat
from .fs import FS
from .names import Names
from .work import Work, at_work

if TYPE_CHECKING:
    from .handle import Handle

__all__ = ["Loop", "current_loop", "default_loop", "new_loop"]

Call = tuple["Handle", Callable[..., object], tuple[Any, ...]]  # whose handler, the handler, and its arguments

TELLING = 3  # turns in which closed handles and cancelled requests tell who waits for them
_MODES = {"default": "loop", "once": "step", "nowait": "ready"}
_OPTIONS = {"block_signal": lib.UV_LOOP_BLOCK_SIGNAL, "metrics_idle_time": lib.UV_METRICS_IDLE_TIME}


class Loop(Unique, Names, Work):
    """An event loop, bound to the thread that makes it.

    A loop is closed by `close`; one that was forgotten with open handles stays until its thread ends. `onerror`, if it
    is set, is called with each exception that escapes from a handler, and the handle; otherwise the exception ends
    `run` and is raised there.
    """

    onerror: Any = None

    def __init__(self) -> None:
        """Make a loop. Raises `UVError` or MemoryError. Source: uv_loop_init."""
        home()  # the thread's first, which is made now if there is none
        self._set_up(hub_of(Home(top(), first=False)))
        self._hub.face = ref(self)

    def _set_up(self, hub: Hub) -> None:
        self._hub = hub
        self._stopped = False
        self._context = copy_context()
        self._early: list[Handle] = []  # idle and prepare handles that are started, in the order of their calls

    @classmethod
    def _of(cls, hub: Hub) -> Loop:
        made = cls.__new__(cls)
        made._set_up(hub)
        return made

    def __repr__(self) -> str:
        """State and number of handles."""
        if not self._hub.loop.pointer:
            return "<Loop closed>"
        state = "running" if self._hub.caller is not None else "idle"
        return f"<Loop {state}, {len(self._handles())} handles>"

    def __enter__(self) -> Self:
        """Return the loop; it is closed by force at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it, and everything in it."""
        self.close(force=True)

    def __del__(self) -> None:
        """Close a loop that nobody refers to any more, not even a handle of its own."""
        hub = getattr(self, "_hub", None)
        if hub is None or not hub.loop.pointer or hub.forked or hub.home.thread != get_ident() or _is_default(hub):
            return
        text = f"unclosed {self!r}"
        if in_collector():  # to end its idle greenlets would switch to them
            home().call_soon(_close, hub)
        else:
            _close(hub)
        warn_in_finalizer(text, self)

    def _check(self) -> Any:
        """Return what C knows the loop by. Raises `Closed`, `Forked`, `ForeignThread`."""
        self._hub.check()
        if self._hub.home.thread != get_ident():
            raise foreign(f"{self!r}", self._hub.home.thread)
        return self._hub.loop.pointer

    @property
    def fs(self) -> FS:
        """The functions of the file system: `loop.fs.open(path)`."""
        return FS(self)

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, mode: str = "default") -> bool:
        """Run the loop.

        mode: "default": until nothing referenced is active, or `stop`. "once": one turn, which waits until something
        happens. "nowait": one turn without waiting. Returns whether anything referenced is still active. A deadline
        around the caller, or a cancelled scope, cuts it (`coutil.scopes`), but is nothing that it waits for.
        Raises TypeError, ValueError, `AlreadyRunning` (called by something that this loop itself called),
        `ForeignThread`, `Closed`, what escaped from a handler, and KeyboardInterrupt. Source: uv_run.
        """
        if not isinstance(mode, str):
            raise TypeError(f"mode must be a string, not {mode!r}")
        if mode not in _MODES:
            raise ValueError(f'mode must be "default", "once" or "nowait", not {mode!r}')
        self._check()
        if self._stopped:
            self._stopped = False
            return self.alive
        return self._hub.run(_MODES[mode])

    @property
    def mode(self) -> str | None:
        """How `run` was called, while it is in progress; else None."""
        if self._hub.caller is None:
            return None
        return next(name for name, kernel in _MODES.items() if kernel == self._hub.mode)

    def stop(self) -> None:
        """Let `run` return after the current turn; or the next one at once. Raises `ForeignThread`, `Closed`.

        From another thread, use `call_threadsafe(loop.stop)`. Source: uv_stop.
        """
        self._check()
        if self._hub.caller is None:
            self._stopped = True
        else:
            self._hub.halt()

    @property
    def alive(self) -> bool:
        """Whether anything referenced is active, closing or ready. Source: uv_loop_alive."""
        self._check()
        return self._hub.alive()

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call function(*arguments) in a new coroutine; safe in any thread.

        Calls of one thread are made in their order; those that a function makes in the thread pool, before its result
        is returned by `queue_work`. An exception that escapes from one goes to `onerror`, with None for the handle, or
        to the excepthook (`system.set_excepthook`): whoever runs the loop has not asked for it.
        Such a call does not keep the loop alive: an `Async` does. Raises TypeError, `Closed`, `Forked`.
        """
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        self._hub.call_threadsafe(self._begin, None, function, arguments)

    # -- handlers -----------------------------------------------------------------------------------------------------

    def _begin(self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Start a worker, from the hub."""
        self._worker(handle, handler, arguments)._launch()

    def _worker(self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]) -> Coroutine:
        worker = Coroutine(self._work, (handle, handler, arguments), "call" if handle is None else handle._kind)
        worker.context = self._context.copy()
        return worker

    def _begin_for_record(self, handle: Handle, handler: Callable[..., object], arguments: tuple[Any, ...]) -> bool:
        """Start a worker for the hub's next record, which is taken out: the worker takes those that follow."""
        worker, hub = self._worker(handle, handler, arguments), self._hub
        del hub.records[0]
        try:
            worker._launch()
        except BaseException:  # raised by a signal handler
            hub.ready.appendleft(_Start(worker))
            raise
        return True

    def _work(self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Call a handler, and those of the records that follow. No frame here refers to the coroutine: it may wait."""
        context = getcurrent().gr_context
        while True:
            try:
                handler(*arguments)
            except Exception as escaped:  # noqa: BLE001  # handed over
                self._failed(escaped, handle)
            me: Any = getcurrent()
            following: Call | None = self._hub.next_call(me.coroutine)
            if following is None:
                return
            handle, handler, arguments = following
            if context != self._context:  # the handler before has set something
                me.gr_context = context = self._context.copy()
            del me

    def _failed(self, escaped: Exception, handle: Handle | None) -> None:
        hook = self.onerror
        if hook is not None:
            try:
                hook(escaped, handle)
            except Exception as broken:  # noqa: BLE001  # handed over
                escaped = broken
            else:
                return
        if handle is None:  # a call of another thread, which nobody here has asked for
            self._hub.report(running(), escaped)
        else:
            self._hub.exit(escaped)

    def _turn_early(self, handles: list[Handle]) -> None:
        """Have the handlers of `handles`, in this order, called in every turn before libuv polls."""
        self._early = handles
        self._hub.early = self._call_early if handles else None

    def _call_early(self) -> int:
        """Call the handlers; as in libuv, a turn in which there are idle handles does not wait, even if they stop."""
        handles = self._early[:]
        sleepless = any(handle._kind == "idle" for handle in handles)
        for handle in handles:
            if handle in self._early and (call := handle._event(0, 0)) is not None:
                self._begin(*call)
        return SLEEPLESS if sleepless else 1

    # -- what it tells ------------------------------------------------------------------------------------------------

    def _handles(self) -> list[Handle]:
        return [one for own in self._hub.owners if (one := getattr(own, "public", None)) is not None]

    def walk(self, function: Callable[[Handle], object] | None = None) -> list[Handle]:
        """Return the handles that are not closed yet, after calling function(handle) for each if it is given.

        Raises TypeError, `ForeignThread`, `Closed`, and what escapes from the function. Source: uv_walk.
        """
        self._check()
        if function is not None and not callable(function):
            raise TypeError(f"function must be callable or None, not {function!r}")
        found = self._handles()
        if function is not None:
            for handle in found:
                function(handle)
        return found

    def now(self) -> int:
        """Return the cached time in milliseconds, of an arbitrary origin. Source: uv_now."""
        return number(lib.co_loop_now, "uv_now", self._check())

    def update_time(self) -> None:
        """Refresh the cached time. Source: uv_update_time."""
        lib.co_update(self._check())

    def backend_fd(self) -> int | None:
        """Return the descriptor that libuv polls with, None if the platform has none. Source: uv_backend_fd."""
        found: int = lib.co_loop_backend_fd(self._check())
        return found if found >= 0 else None

    def backend_timeout(self) -> int:
        """Return for how many milliseconds a turn would wait; -1: until something happens.

        Source: uv_backend_timeout.
        """
        pointer = self._check()
        if self._hub.ready or self._stopped:
            return 0
        return number(lib.co_loop_backend_timeout, "uv_backend_timeout", pointer, kind="int *")

    def configure(self, option: str, *arguments: int | str) -> None:
        """Set an option, before the loop runs first.

        option: "block_signal" (with a signal as `Signal.start` takes it: SIGPROF only) or "metrics_idle_time".
        Raises TypeError, ValueError, `UVError`: EINVAL, ENOSYS. Source: uv_loop_configure.
        """
        if option not in _OPTIONS:
            raise ValueError(f"option must be one of {', '.join(_OPTIONS)}, not {option!r}")
        if len(arguments) != (option == "block_signal"):
            raise TypeError(f"{option} takes {int(option == 'block_signal')} arguments, not {len(arguments)}")
        blocked = signal_number("signal", arguments[0]) if arguments else 0
        check(lib.co_loop_configure(self._check(), _OPTIONS[option], blocked), "uv_loop_configure")

    def metrics_idle_time(self) -> int:
        """Return for how many nanoseconds the loop has waited, if it was configured to count; safe in any thread.

        Source: uv_metrics_idle_time.
        """
        with self._hub.lock:
            self._hub.check()
            return int(lib.co_loop_idle_time(self._hub.loop.pointer))

    def metrics(self) -> tuple[int, int, int]:
        """Return how many turns there were, how many events, and how many of these waited in the kernel.

        Raises `ForeignThread`, `Closed`, `UVError` ENOSYS (libuv is older than 1.45). Source: uv_metrics_info.
        """
        return metrics(self._check())

    def print_all_handles(self, file: TextIO | None = None) -> None:
        """Print libuv's list of the loop's handles, its own internal ones included. Source: uv_print_all_handles."""
        (file or sys.stderr).write(printed(self._check(), False))

    def print_active_handles(self, file: TextIO | None = None) -> None:
        """Print libuv's list of those handles that are active. Source: uv_print_active_handles."""
        (file or sys.stderr).write(printed(self._check(), True))

    def fork(self) -> None:
        """Let the loop go on in the child of a fork, where every other call on it, and on what it has, raises `Forked`.

        To be called in the thread that called `os.fork()`, by its main program or by the handler that forked. Timers,
        streams, signals and waiting coroutines go on; what the thread pool had not finished ends with ECANCELED. What
        comes to a descriptor is taken by the parent or by the child, whoever is first. Child processes are the
        parent's: here their `onexit` is told that nobody knows how they ended. Nothing happens where the loop was made.
        Raises `Closed`, `ForeignThread`, `BusyError` (the loop is the default one, and the thread has got another one
        since), `UVError`: the loop can only be closed then. Source: uv_loop_fork.
        """
        hub = self._hub
        if not hub.forked or not hub.loop.pointer or hub.home.thread != get_ident():
            self._check()
        else:
            _host.revive(hub)

    # -- closing ------------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the loop is closed, by `close` or by the end of its thread."""
        return not self._hub.loop.pointer

    def close(self, force: bool = False) -> None:
        """Close the loop. Twice is no error.

        force: close all handles first and cancel the requests, whose callers are told; wait for Python functions that
        the thread pool has begun; then end the coroutines that still wait in it.
        In the child of a fork, without `fork`, nothing is closed: the loop and its handles only become unusable.
        Raises `ForeignThread`, and `UVError` EBUSY: it has handles that are not closed, or requests in progress, or it
        is running. Source: uv_loop_close.
        """
        hub = self._hub
        if not hub.loop.pointer:
            return
        if hub.forked:
            _host.forget(hub)
            return
        self._check()
        if hub.driven() or running().gate is hub.greenlet:
            raise error(lib.UV_EBUSY, "uv_loop_close")
        if force:
            for handle in self._handles():
                handle.close_soon()
            lib.co_cancel_all(hub.loop.pointer)
            with timeout(None, shield=True):  # in a block that was cancelled it is closed as well
                for _ in range(TELLING):
                    hub.turn()
                while at_work(hub):
                    self.sleep(1)
        elif hub.in_flight():
            raise error(lib.UV_EBUSY, "uv_loop_close")
        default = _is_default(hub)
        _host.end(hub)
        hub.home.over = not default  # the thread goes on, and gets a new one when it needs it


def _close(hub: Hub) -> None:
    """Close the hub of a forgotten loop, and end its idle greenlets."""
    hub.close()
    hub.home.retire(hub.greenlet)


class _Start(Entry):
    """Start a worker whose start was interrupted, if it did not begin."""

    __slots__ = ("worker",)

    def __init__(self, worker: Coroutine) -> None:
        self.worker = worker

    def fire(self) -> None:
        """Start it."""
        if self.worker._start is not None and self.worker.resumer is None:
            self.worker._launch()


def _is_default(hub: Hub) -> bool:
    return getattr(top(), "home", None) is hub.home


def default_loop() -> Loop:
    """Return the loop of the calling thread that `coutil.system` uses, too. libuv's own default loop is never touched.

    Raises `UVError` or MemoryError. Source: uv_default_loop.
    """
    home()
    where = top().home
    return _face(where.hub or hub_of(where))


def current_loop() -> Loop:
    """Return the loop that the caller runs in: in a handler its loop, in the main program `default_loop()`."""
    return _face(this_hub())


def _face(hub: Hub) -> Loop:
    found: Loop | None = hub.face()
    if found is None:
        found = Loop._of(hub)
        hub.face = lambda: found
    return found


def new_loop() -> Loop:
    """Return a new loop. Raises `UVError` or MemoryError. Source: uv_loop_init."""
    return Loop()


run = flat(Loop.run)
stop = flat(Loop.stop)
loop_close = flat(Loop.close)
loop_alive = flat(Loop.alive)
loop_mode = flat(Loop.mode)
loop_configure = flat(Loop.configure)
loop_fork = flat(Loop.fork)
walk = flat(Loop.walk)
now = flat(Loop.now)
update_time = flat(Loop.update_time)
backend_fd = flat(Loop.backend_fd)
backend_timeout = flat(Loop.backend_timeout)
metrics_info = flat(Loop.metrics)
metrics_idle_time = flat(Loop.metrics_idle_time)
print_all_handles = flat(Loop.print_all_handles)
print_active_handles = flat(Loop.print_active_handles)
