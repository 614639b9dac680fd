"""Loops: several in one OS thread, each with the coroutines that its handlers run in.

Rule 1: handlers never run below a libuv frame, and never in the hub. A *worker*, a coroutine, calls one handler after
another; when one of them waits, the hub starts another worker. So a handler may wait for anything.
Rule 2: each wait of a coroutine takes place in the coroutine's own loop. If a coroutine of another loop, or the main
program, waits for something of this loop, it runs this loop until the wait is over.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Self, TextIO
from weakref import ref

from greenlet import getcurrent

from .. import _lifecycle
from .._coroutines import (
    Coroutine,
    LoopContext,
    NonCopyable,
    current_context,
    foreign_thread_error,
    main_greenlet,
    running,
    warn_in_finalizer,
)
from .._interpreter import get_ident
from .._kernel import POLL_WITHOUT_WAITING, Callback, Hub, current_hub, hub_for
from .._libuv import check, error, lib
from .._libuv.handles import handle_list, read_number
from .._libuv.info import metrics
from .._libuv.signal_names import signal_number
from .._switch_guard import in_collector
from ..scopes import timeout
from .fs import FS
from .module_function import module_function
from .names import Names
from .work import Work, has_running_work

if TYPE_CHECKING:
    from .handle import Handle

__all__ = ["Loop", "current_loop", "default_loop", "new_loop"]

HandlerCall = tuple["Handle", Callable[..., object], tuple[Any, ...]]  # the handle, its handler, and the arguments

CLOSE_TURNS = 3  # turns after which all waiters of closed handles and cancelled requests have been woken
_MODES = {"default": "loop", "once": "step", "nowait": "ready"}
_OPTIONS = {"block_signal": lib.UV_LOOP_BLOCK_SIGNAL, "metrics_idle_time": lib.UV_METRICS_IDLE_TIME}


class Loop(NonCopyable, Names, Work):
    """An event loop, bound to the thread that makes it.

    `close` closes it; a loop that is forgotten with open handles stays until its thread ends. `onerror`, if it is set,
    is called with each exception that escapes from a handler, and the handle. Otherwise the exception ends `run`, which
    raises it.
    """

    onerror: Any = None

    def __init__(self) -> None:
        """Make a loop. Raises `UVError` or MemoryError. Source: uv_loop_init."""
        current_context()  # makes the first one of the thread if there is none
        self._set_up(hub_for(LoopContext(main_greenlet(), first=False)))
        self._hub.public_loop = ref(self)

    def _set_up(self, hub: Hub) -> None:
        self._hub = hub
        self._stopped = False
        self._context = copy_context()
        # Idle and prepare handles that are started, in the order of their calls
        self._pre_poll_handles: list[Handle] = []

    @classmethod
    def _of(cls, hub: Hub) -> Loop:
        loop = cls.__new__(cls)
        loop._set_up(hub)
        return loop

    def __repr__(self) -> str:
        """State and number of handles."""
        if not self._hub.loop.pointer:
            return "<Loop closed>"
        state = "running" if self._hub.run_caller is not None else "idle"
        return f"<Loop {state}, {len(self._handles())} handles>"

    def __enter__(self) -> Self:
        """Return the loop. The end of the block closes it by force."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the loop and everything in it."""
        self.close(force=True)

    def __del__(self) -> None:
        """Close a loop that no object refers to, not even one of its handles."""
        hub = getattr(self, "_hub", None)
        if hub is None or not hub.loop.pointer or hub.forked or hub.context.thread != get_ident() or _is_default(hub):
            return
        text = f"unclosed {self!r}"
        if in_collector():  # to end its idle greenlets would switch to them
            current_context().call_soon(_close, hub)
        else:
            _close(hub)
        warn_in_finalizer(text, self)

    def _check(self) -> Any:
        """Return C's pointer to the loop. Raises `Closed`, `Forked`, `ForeignThread`."""
        self._hub.check()
        if self._hub.context.thread != get_ident():
            raise foreign_thread_error(f"{self!r}", self._hub.context.thread)
        return self._hub.loop.pointer

    @property
    def fs(self) -> FS:
        """The functions of the file system: `loop.fs.open(path)`."""
        return FS(self)

    # -- running ------------------------------------------------------------------------------------------------------

    def run(self, mode: str = "default") -> bool:
        """Run the loop.

        mode: "default": until `stop`, or until no referenced handle or request is active. "once": one turn, which waits
        for an event. "nowait": one turn without waiting. Returns whether a referenced handle or request is still
        active. A deadline around the caller, or a cancelled scope, ends it (`coutil.scopes`), but does not keep it
        going. Raises TypeError, ValueError, `AlreadyRunning` (the caller was called by this loop), `ForeignThread`,
        `Closed`, an exception that escaped from a handler, KeyboardInterrupt. Source: uv_run.
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
        """The mode of the `run` that is in progress; None: no `run` is."""
        if self._hub.run_caller is None:
            return None
        return next(name for name, kernel in _MODES.items() if kernel == self._hub.mode)

    def stop(self) -> None:
        """Have `run` return after the current turn, or the next `run` at once. Raises `ForeignThread`, `Closed`.

        From another thread, use `call_threadsafe(loop.stop)`. Source: uv_stop.
        """
        self._check()
        if self._hub.run_caller is None:
            self._stopped = True
        else:
            self._hub.halt()

    @property
    def alive(self) -> bool:
        """Whether a handle is referenced and active, or closing, a request in progress, or a coroutine ready.

        Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_loop_alive.
        """
        self._check()
        return self._hub.alive()

    def call_threadsafe(self, function: Callable[..., object], *arguments: Any) -> None:
        """Have the loop call function(*arguments) in a new coroutine. Never suspends; safe in any thread.

        Calls of one thread are made in their order. Calls by a function in the thread pool are made before `queue_work`
        returns its result. An exception that escapes goes to `onerror`, with None for the handle, else to the
        excepthook (`system.set_excepthook`), and not out of `run`.
        Such a call does not keep the loop alive: an `Async` does. Raises TypeError, `Closed`, `Forked`.
        """
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        self._hub.call_threadsafe(self._start_worker, None, function, arguments)

    # -- handlers -----------------------------------------------------------------------------------------------------

    def _start_worker(self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Start a worker, from the hub."""
        self._new_worker(handle, handler, arguments)._launch()

    def _new_worker(
        self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]
    ) -> Coroutine:
        worker = Coroutine(self._run_worker, (handle, handler, arguments), "call" if handle is None else handle._kind)
        worker.contextvars = self._context.copy()
        return worker

    def _start_for_completion(self, handle: Handle, handler: Callable[..., object], arguments: tuple[Any, ...]) -> bool:
        """Take out the hub's next record and start a worker for it, which takes the following records as well."""
        worker, hub = self._new_worker(handle, handler, arguments), self._hub
        del hub.completions[0]
        try:
            worker._launch()
        except BaseException:  # raised by a signal handler
            hub.ready.appendleft(Callback(_start_deferred, worker))
            raise
        return True

    def _run_worker(self, handle: Handle | None, handler: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        """Call a handler, and those of the following records. No frame here refers to the coroutine, as it may wait."""
        context = getcurrent().gr_context
        while True:
            try:
                handler(*arguments)
            except Exception as failure:  # noqa: BLE001  # passed to the hook
                self._failed(failure, handle)
            me: Any = getcurrent()
            following: HandlerCall | None = self._hub.next_handler_call(me.coroutine)
            if following is None:
                return
            handle, handler, arguments = following
            if context != self._context:  # the previous handler has set a context variable
                me.gr_context = context = self._context.copy()
            del me

    def _failed(self, failure: Exception, handle: Handle | None) -> None:
        """Pass an exception of a handler to `onerror`, else to the code that runs the loop, or the excepthook."""
        hook = self.onerror
        if hook is not None:
            try:
                hook(failure, handle)
            except Exception as second:  # noqa: BLE001  # reported in place of the first, its context
                failure = second
            else:
                return
        if handle is None:  # a call of another thread, which the caller of `run` did not request
            self._hub.report(running(), failure)
        else:
            self._hub.raise_in_caller(failure)

    def _set_pre_poll(self, handles: list[Handle]) -> None:
        """Have the handlers of `handles` called in this order in every turn, before libuv polls."""
        self._pre_poll_handles = handles
        self._hub.before_poll = self._run_pre_poll if handles else None

    def _run_pre_poll(self) -> int:
        """Call the handlers. As in libuv, a turn with idle handles does not wait, even if their handlers stop them."""
        handles = self._pre_poll_handles[:]
        sleepless = any(handle._kind == "idle" for handle in handles)
        for handle in handles:
            if handle in self._pre_poll_handles and (call := handle._event(0, 0)) is not None:
                self._start_worker(*call)
        return POLL_WITHOUT_WAITING if sleepless else 1

    # -- information -------------------------------------------------------------------------------------------------

    def _handles(self) -> list[Handle]:
        return [handle for handler in self._hub.handlers if (handle := getattr(handler, "owner", None)) is not None]

    def walk(self, function: Callable[[Handle], object] | None = None) -> list[Handle]:
        """Return the handles that are not closed yet. function: if given, called with each of them first.

        Raises TypeError, `ForeignThread`, `Closed`, and what `function` raises. Source: uv_walk.
        """
        self._check()
        if function is not None and not callable(function):
            raise TypeError(f"function must be callable or None, not {function!r}")
        handles = self._handles()
        if function is not None:
            for handle in handles:
                function(handle)
        return handles

    def now(self) -> int:
        """Return the cached time in milliseconds, from an arbitrary origin. Source: uv_now."""
        return read_number(lib.co_loop_now, "uv_now", self._check())

    def update_time(self) -> None:
        """Refresh the cached time. Source: uv_update_time."""
        lib.co_update(self._check())

    def backend_fd(self) -> int | None:
        """Return the descriptor that libuv polls with; None: the platform has none. Source: uv_backend_fd."""
        fd: int = lib.co_loop_backend_fd(self._check())
        return fd if fd >= 0 else None

    def backend_timeout(self) -> int:
        """Return how long a turn would wait, in milliseconds; -1: until an event.

        Source: uv_backend_timeout.
        """
        pointer = self._check()
        if self._hub.ready or self._stopped:
            return 0
        return read_number(lib.co_loop_backend_timeout, "uv_backend_timeout", pointer, kind="int *")

    def configure(self, option: str, *arguments: int | str) -> None:
        """Set an option, before the first `run`.

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
        """Return how long the loop has waited, in nanoseconds, if it was configured to count. Safe in any thread.

        Source: uv_metrics_idle_time.
        """
        with self._hub.lock:
            self._hub.check()
            return int(lib.co_loop_idle_time(self._hub.loop.pointer))

    def metrics(self) -> tuple[int, int, int]:
        """Return the numbers of turns, of events, and of events that were already waiting when libuv polled.

        Raises `ForeignThread`, `Closed`, `UVError` ENOSYS (libuv is older than 1.45). Source: uv_metrics_info.
        """
        return metrics(self._check())

    def print_all_handles(self, file: TextIO | None = None) -> None:
        """Print libuv's list of the loop's handles, including internal ones. Source: uv_print_all_handles."""
        (file or sys.stderr).write(handle_list(self._check(), False))

    def print_active_handles(self, file: TextIO | None = None) -> None:
        """Print libuv's list of the active handles. Source: uv_print_active_handles."""
        (file or sys.stderr).write(handle_list(self._check(), True))

    def fork(self) -> None:
        """Make the loop usable in the child of a fork: until then calls on it and its handles raise `Forked` there.

        Call it in the thread that called `os.fork()`, in its main program or in the handler that forked. Timers,
        streams, signals and waiting coroutines go on. Requests that the thread pool had not finished end with
        ECANCELED. Data of a shared descriptor go to the process that reads first. Child processes remain the parent's:
        here `onexit` gets the status `-errno.ECHILD`. In the process that made the loop nothing happens.
        Raises `Closed`, `ForeignThread`, `BusyError` (it was the thread's default loop, which has been replaced since),
        `UVError`: the loop can only be closed then. Source: uv_loop_fork.
        """
        hub = self._hub
        if not hub.forked or not hub.loop.pointer or hub.context.thread != get_ident():
            self._check()
        else:
            _lifecycle.resume_after_fork(hub)

    # -- closing ------------------------------------------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether the loop was closed, by `close` or by the end of its thread."""
        return not self._hub.loop.pointer

    def close(self, force: bool = False) -> None:
        """Close the loop. A second call is no error. Suspends if `force` has to wait.

        force: close all handles first; cancel the requests, so that their callers get an error; wait for the Python
        functions that the thread pool has started; then end the coroutines that still wait in the loop.
        In the child of a fork, without `fork`, nothing is closed: the loop and its handles become unusable.
        Raises `ForeignThread`, and `UVError` EBUSY: a handle is not closed, a request is in progress, or the loop runs.
        Source: uv_loop_close.
        """
        hub = self._hub
        if not hub.loop.pointer:
            return
        if hub.forked:
            _lifecycle.leak(hub)
            return
        self._check()

        # A loop that a coroutine runs, also the caller through a handler, cannot end below that coroutine.
        if hub.is_running() or running().hub_greenlet is hub.greenlet:
            raise error(lib.UV_EBUSY, "uv_loop_close")

        # Close callbacks and cancelled requests arrive in the next turns. Their waiters run while the loop exists.
        if force:
            for handle in self._handles():
                handle.close_soon()
            lib.co_cancel_all(hub.loop.pointer)
            with timeout(None, shield=True):  # also inside a block that was cancelled
                for _ in range(CLOSE_TURNS):
                    hub.run_pending()
                while has_running_work(hub):
                    self.sleep(1)
        elif hub.in_flight():
            raise error(lib.UV_EBUSY, "uv_loop_close")

        # Coroutines that still wait are ended; a thread whose default loop was closed gets a new one on demand.
        default = _is_default(hub)
        _lifecycle.shut_down(hub)
        hub.context.shutting_down = not default


def _close(hub: Hub) -> None:
    """Close the hub of a forgotten loop, and end its idle greenlets."""
    hub.close()
    hub.context.kill_idle_runners(hub.greenlet)


def _start_deferred(worker: Coroutine) -> None:
    """Start a worker which a signal handler kept from starting, unless it has started since."""
    if worker._start is not None and worker.resumer is None:
        worker._launch()


def _is_default(hub: Hub) -> bool:
    return getattr(main_greenlet(), "context", None) is hub.context


def default_loop() -> Loop:
    """Return the loop that `coutil.system` uses in the calling thread. libuv's own default loop is never used.

    Raises `UVError` or MemoryError. Source: uv_default_loop.
    """
    current_context()
    context = main_greenlet().context
    return _public_loop(context.hub or hub_for(context))


def current_loop() -> Loop:
    """Return the loop that the caller runs in: that of the handler, in the main program `default_loop()`."""
    return _public_loop(current_hub())


def _public_loop(hub: Hub) -> Loop:
    loop: Loop | None = hub.public_loop()
    if loop is None:
        loop = Loop._of(hub)
        hub.public_loop = lambda: loop
    return loop


def new_loop() -> Loop:
    """Return a new loop. Raises `UVError` or MemoryError. Source: uv_loop_init."""
    return Loop()


run = module_function(Loop.run)
stop = module_function(Loop.stop)
loop_close = module_function(Loop.close)
loop_alive = module_function(Loop.alive)
loop_mode = module_function(Loop.mode)
loop_configure = module_function(Loop.configure)
loop_fork = module_function(Loop.fork)
walk = module_function(Loop.walk)
now = module_function(Loop.now)
update_time = module_function(Loop.update_time)
backend_fd = module_function(Loop.backend_fd)
backend_timeout = module_function(Loop.backend_timeout)
metrics_info = module_function(Loop.metrics)
metrics_idle_time = module_function(Loop.metrics_idle_time)
print_all_handles = module_function(Loop.print_all_handles)
print_active_handles = module_function(Loop.print_active_handles)
