"""Signals.

While a signal handle is started, in whatever loop and thread, its signal is libuv's: no handler of Python runs for it,
and SIGINT raises no KeyboardInterrupt. When the last one has stopped, what was set for the signal before holds again,
be it a handler of Python or the system's default. A handler that somebody sets meanwhile, by `signal.signal`, takes the
signal from the handles.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .._coroutines.outcomes import waits
from .._kernel.entries import Entry
from .._libuv import error, lib
from .._libuv.signal_names import signal_number
from ..errors import OperationCancelled
from .flat import flat
from .handle import Handle, Own
from .loop import Call, Loop

__all__ = ["Signal", "new_signal"]


class Signal(Handle):
    """Calls its handler whenever the process gets a signal. Handler: `onsignal(signal, signum)`.

    Every handle that is started gets the signal, in all loops of all threads; signals that come in one turn of the loop
    count as one. In place of the handler a coroutine may `wait`, or iterate over the handle. Without a handler, one
    signal that comes when nobody waits is kept for the next wait.
    """

    _kind = "signal"
    onsignal: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a signal handle of `loop`; see `Timer`. Source: uv_signal_init."""
        super().__init__(loop, lib.co_raw_signal_new, "uv_signal_init")

    def _event(self, result: int, where: int) -> Call | None:
        call = self._call("onsignal", result)
        if call is None:
            self._own.stash = result
        return call

    def start(self, signum: int | str) -> None:
        """Have the handler called whenever the process gets the signal; another one is watched no more.

        signum: a number, a name ("SIGINT") or a word of `system.awaitsig` ("interrupt").
        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `UVError` EINVAL: nothing can watch it (0,
        SIGKILL, SIGSTOP, one that the system does not have).
        Source: uv_signal_start.
        """
        self._begin(signum, False, "uv_signal_start")

    def start_oneshot(self, signum: int | str) -> None:
        """Like `start`, but stop at the first signal. Source: uv_signal_start_oneshot."""
        self._begin(signum, True, "uv_signal_start_oneshot")

    def _begin(self, signum: int | str, once: bool, syscall: str) -> None:
        number = signal_number("signum", signum)
        self._restart(lib.co_raw_signal_start, syscall, number, once)
        self._own.stash = None

    def stop(self) -> None:
        """Watch no more; a signal that nobody was told of yet is dropped. Who waits gets `UVError` ECANCELED.

        Twice is no error. Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_signal_stop.
        """
        own = self._own
        self._restart(lib.co_raw_signal_stop, "uv_signal_stop")
        own.stash = None
        if own.waiter is not None:
            own.hub.ready.append(_Stopped(own))

    @waits
    def wait(self) -> int:
        """Wait for the next signal; return its number, or what an explicit resume brings. Suspends.

        Raises `Closed`, `BusyError`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: EINVAL (not started),
        ECANCELED (stopped meanwhile).
        """
        own = self._own
        own.usable()
        if (kept := own.take_stash()) is not None:
            return kept  # type: ignore[no-any-return]  # a number
        if not self.active:
            raise error(lib.UV_EINVAL, "uv_signal_start")
        own.wait(1, _started)
        if own.result < 0:
            raise error(own.result, "uv_signal_stop")
        return own.result

    def __iter__(self) -> Iterator[int]:
        """Return the handle: each item is the number of a signal, until it is stopped."""
        return self

    def __next__(self) -> int:
        """Wait for the next signal. Raises as `wait` does, except when the handle is stopped, or was before."""
        own = self._own
        own.usable()
        if own.stash is None and not self.active:
            raise StopIteration
        try:
            return self.wait()
        except OperationCancelled:
            raise StopIteration from None


class _Stopped(Entry):
    """Tell who waits for a signal handle that it was stopped, unless it is started again by then."""

    __slots__ = ("generation", "own")

    def __init__(self, own: Own) -> None:
        self.own, self.generation = own, own.generation

    def fire(self) -> None:
        """Tell, like a record of libuv; nobody else can have come to wait since."""
        own = self.own
        if own.waiter is not None and not own.closed:
            own.hub.deliver(own.slot, self.generation, lib.UV_ECANCELED)


def _started(pointer: Any, slot: int) -> int:
    return 0


def new_signal(loop: Loop | None = None) -> Signal:
    """Return a new `Signal`. Source: uv_signal_init."""
    return Signal(loop)


signal_start = flat(Signal.start)
signal_start_oneshot = flat(Signal.start_oneshot)
signal_stop = flat(Signal.stop)
