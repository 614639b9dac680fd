"""Promises: results that do not exist yet. Calling a promise waits for the results and returns them.

A promise is also an event (see `coutil.event`): fulfilling it emits it, with the results as arguments. Any other
emission of it ends the current waits, with its own arguments, and does not fulfill the promise.

Any OS thread may fulfill a promise, and coroutines of several threads may wait for it: so a thread passes a result to
coroutines of another one.
"""

from __future__ import annotations

from collections.abc import Callable
from types import FrameType
from typing import Any, Generic, Literal, TypeVar, overload

from . import event as _event
from ._coroutines import calling_frame, running
from ._diagnostics import relative_path
from ._keys import key_of, keys_of
from .event import Emission, Wait, WaitAll, WaitAny, deregister, park_waiting, register

__all__ = ["awaitall", "awaitany", "create", "onlypending", "pickready"]

T = TypeVar("T")


class Promise(Generic[T]):
    """Results that will be set once. Made by `create`; call it to wait for them."""

    __slots__ = ("__weakref__", "_code", "_results", "_step")

    def __init__(self, frame: FrameType | None) -> None:
        """Make a pending promise. frame: the creator's, None if that is C; `repr` determines the line."""
        self._results: tuple[Any, ...] | None = None
        self._code = frame and frame.f_code
        self._step = frame.f_lasti if frame is not None else 0

    @overload
    def __call__(self, probe: Literal[False] = False) -> T: ...
    @overload
    def __call__(self, probe: Literal[True]) -> bool: ...
    @overload
    def __call__(self, probe: object) -> Any: ...

    def __call__(self, probe: object = False) -> Any:
        """Return the results; wait until there are some.

        probe: true: return at once whether there are results.
        No result becomes None, one itself, several a tuple; an explicit resume ends the wait in the same way.
        Suspends only if there are none. Raises `NotYieldable`, `Deadlock` (main program only).
        """
        results = self._results
        if probe:
            return results is not None
        if results is None:
            try:
                register(_Result((key_of(self),)))
                if self._results is not None:  # by a signal handler or a finalizer, just now
                    deregister()
                    return self()
                del self
                woken: Any = park_waiting()
            except BaseException:
                deregister()
                raise
            if woken.__class__ is not Emission:
                return woken
            results = woken[1:]
        return results[0] if len(results) == 1 else results or None

    def __repr__(self) -> str:
        """Return the place where it was made, and whether it is fulfilled."""
        place = ""
        if self._code is not None:
            lines = (line for start, end, line in self._code.co_lines() if start <= self._step < end)
            place = f" at {relative_path(self._code.co_filename)}:{next(lines, None)}"
        return f"<Promise{place} {'pending' if self._results is None else 'fulfilled'}>"

    def _fulfill(self, *results: Any) -> bool:
        """Set the results and resume all coroutines that wait for them; later calls only replace the results.

        Returns whether this was the first call. Never suspends; works in any OS thread. Waiters of other threads are
        resumed by their hubs, which are woken.
        Raises KeyboardInterrupt or SystemExit of a waiter of this thread, as `event.emitall` does.
        """
        first = self._results is None  # no call from here to the next line: another thread could run in it
        self._results = results
        if first:
            try:
                _event.emit_in_every_thread(self, *results)
            except BaseException:
                _event.emit_in_every_thread(self, *results)  # for the rest, if a signal handler has raised
                raise
        return first


class _Result(Wait):
    """A call of a promise that waits."""

    __slots__ = ()

    def __str__(self) -> str:
        return f"promise {self.names()}"


def create() -> tuple[Promise[Any], Callable[..., bool]]:
    """Return a promise and the function that fulfills it.

    An annotation gives type checkers the type of the result: `ready: Promise[int]`.
    Call promise() to wait for the results, promise(True) to ask whether there are some. Call fulfill(*results) to set
    them and to resume the waiters: it returns True the first time; later it only replaces the results, and returns
    False.
    Lua: promise.create.
    """
    promise: Promise[Any] = Promise(calling_frame(1))
    return promise, promise._fulfill


def awaitall(*promises: Promise[Any] | None) -> Any:
    """Wait until each of `promises` is fulfilled; None is ignored.

    Returns True, at once if none is pending; or the value of an explicit resume. Suspends.
    Raises TypeError, `NotYieldable`, `Deadlock` (main program only). Lua: promise.awaitall.
    """
    keys = keys_of(onlypending(*promises))
    if not keys:
        return running() is not None
    try:
        register(WaitAll(keys.copy()))
        if len(onlypending(*promises)) < len(keys):  # as in Promise.__call__()
            deregister()
            return awaitall(*promises)
        del promises, keys
        woken = park_waiting()
    except BaseException:
        deregister()
        raise
    return True if woken.__class__ is Emission else woken


def awaitany(*promises: Promise[Any] | None) -> Any:
    """Wait until one of `promises` is fulfilled; None is ignored.

    Returns that promise, at once the first that is already fulfilled; or the value of an explicit resume. Suspends.
    Raises TypeError, ValueError (no promise), `NotYieldable`, `Deadlock` (main program only). Lua: promise.awaitany.
    """
    ready = pickready(*promises)
    if ready is not None:
        return ready
    keys = keys_of(promises)
    if not keys:
        raise ValueError("at least one promise is needed")
    try:
        register(WaitAny(keys))
        ready = pickready(*promises)
        if ready is not None:  # as in Promise.__call__()
            deregister()
            return ready
        del promises, keys, ready
        woken = park_waiting()
    except BaseException:
        deregister()
        raise
    return woken[0] if woken.__class__ is Emission else woken


def onlypending(*promises: Promise[Any] | None) -> tuple[Promise[Any], ...]:
    """Return those of `promises` that are not fulfilled; None is ignored. Raises TypeError.

    Lua: promise.onlypending.
    """
    return tuple(promise for promise in _check_promises(promises) if promise._results is None)


def pickready(*promises: Promise[Any] | None) -> Promise[Any] | None:
    """Return the first of `promises` that is fulfilled, None if all are pending. Raises TypeError.

    Lua: promise.pickready.
    """
    return next((promise for promise in _check_promises(promises) if promise._results is not None), None)


def _check_promises(promises: tuple[Promise[Any] | None, ...]) -> list[Promise[Any]]:
    for promise in promises:
        if promise is not None and not isinstance(promise, Promise):
            raise TypeError(f"a promise is needed, not {promise!r}")
    return [promise for promise in promises if promise is not None]
