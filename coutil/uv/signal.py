"""Signals.

While a signal handle is started, in any loop and thread, libuv handles its signal: no handler in Python runs for it,
and SIGINT raises no KeyboardInterrupt. When the last handle has stopped, the previous disposition is restored, be it a
handler in Python or the system's default. A handler that is set in between, by `signal.signal`, takes the signal from
the handles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._coroutines import waits
from .._kernel import Callback
from .._libuv import error, lib
from .._libuv.signal_names import signal_number
from ..errors import OperationCancelled
from .handle import Handle, HandleCore
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["Signal", "new_signal"]


class Signal(Handle):
    """A watch of a signal. Handler: `onsignal(signal, signum)`, called when the process gets the signal.

    Every handle that is started gets the signal, in all loops of all threads. Signals within one turn of the loop count
    as one. Without a handler, a coroutine may `wait`, or iterate over the handle; one signal that arrives while no
    coroutine waits is kept for the next wait.
    """

    _kind = "signal"
    onsignal: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a signal handle of `loop`; see `Timer`. Source: uv_signal_init."""
        super().__init__(loop, lib.co_raw_signal_new, "uv_signal_init")

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        call = self._handler_call("onsignal", result)
        if call is None:
            self._core.pending_data = result
        return call

    def start(self, signum: int | str) -> None:
        """Have the handler called when the process gets the signal, in place of one watched before.

        signum: a number, a name ("SIGINT") or a word of `system.awaitsig` ("interrupt").
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `UVError`: EINVAL (0, SIGKILL, SIGSTOP,
        or a signal that the system does not have).
        Source: uv_signal_start.
        """
        self._begin(signum, False, "uv_signal_start")

    def start_oneshot(self, signum: int | str) -> None:
        """As `start`, but stop at the first signal. Source: uv_signal_start_oneshot."""
        self._begin(signum, True, "uv_signal_start_oneshot")

    def _begin(self, signum: int | str, once: bool, syscall: str) -> None:
        number = signal_number("signum", signum)
        self._start_or_stop(lib.co_raw_signal_start, syscall, number, once)
        self._core.pending_data = None

    def stop(self) -> None:
        """Stop watching, and drop a signal that was not delivered yet. A waiter gets `UVError`: ECANCELED.

        A second call is no error. Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_signal_stop.
        """
        core = self._core
        self._start_or_stop(lib.co_raw_signal_stop, "uv_signal_stop")
        core.pending_data = None
        if core.waiter is not None:
            core.hub.enqueue(Callback(_end_wait, core, core.generation))

    @waits
    def wait(self) -> int:
        """Wait for the next signal; return its number, or the value of an explicit resume. Suspends.

        Raises `Closed`, `BusyError`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: EINVAL (not started),
        ECANCELED (stopped during the wait).
        """
        core = self._core
        core.check_usable()
        kept: int | None = core.pop_pending()
        if kept is not None:
            return kept
        if not self.active:
            raise error(lib.UV_EINVAL, "uv_signal_start")
        core.wait(1, _noop_start)
        if core.result < 0:
            raise error(core.result, "uv_signal_stop")
        return core.result

    def __iter__(self) -> Iterator[int]:
        """Return the handle: each item is the number of a signal, until it is stopped."""
        return self

    def __next__(self) -> int:
        """Wait for the next signal. Suspends. Raises as `wait`; the iteration ends when the handle is stopped."""
        core = self._core
        core.check_usable()
        if core.pending_data is None and not self.active:
            raise StopIteration
        try:
            return self.wait()
        except OperationCancelled:
            raise StopIteration from None


def _end_wait(core: HandleCore, generation: int) -> None:
    """End the wait for a handle, from the hub, that was stopped and not started again since: deliver ECANCELED.

    The waiter is still the one that the stop was meant for.
    """
    if core.waiter is not None and not core.closed:
        core.hub.complete_now(core.slot, generation, lib.UV_ECANCELED)


def _noop_start(pointer: Any, slot: int) -> int:
    return 0


def new_signal(loop: Loop | None = None) -> Signal:
    """Return a new `Signal`. Source: uv_signal_init."""
    return Signal(loop)


signal_start = module_function(Signal.start)
signal_start_oneshot = module_function(Signal.start_oneshot)
signal_stop = module_function(Signal.stop)
