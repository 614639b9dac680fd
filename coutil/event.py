"""Events: coroutines wait for a value, any value but None, until another coroutine emits it.

Rule 1: an emission resumes the waiters at once, one after the other, first come, first served; it returns when each of
them waits again or has ended. An exception that escapes from a waiter goes to the excepthook; the emission continues.
KeyboardInterrupt and SystemExit are raised by the emission, after all of its waiters were resumed.
Rule 2: an emission works on a detached list. A coroutine that waits again during the emission enters a new list.
Rule 3: numbers (1 and 1.0 are one event), strings and bytes are compared by value, everything else by identity:
including True and False, tuples, and values that cannot be hashed.
Rule 4: in a signal handler, and in a finalizer that the collector runs, an emission is only scheduled: the hub makes it
in its next turn.
Rule 5: events belong to an OS thread. A registry entry, which refers to the value, exists only while a coroutine waits.
Rule 6: an emission reaches the waiters of its own thread. If its waiters can only be those of another thread, it raises
`ForeignThread`: an object that is compared by identity is the same for all threads, and a thread without coroutines has
no events. Numbers, strings and bytes of a thread with coroutines are names within that thread: they reach no waiter in
another one. A promise is the exception: fulfilling it wakes its waiters in every thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable
from functools import partial
from typing import Any
from weakref import ref

from greenlet import getcurrent

from ._coroutines import (
    Coroutine,
    current_context,
    foreign_thread_error,
    park_unowned,
    running,
    thread_has_context,
    wake_now,
)
from ._diagnostics import WaitRegistry
from ._interpreter import local
from ._keys import BY_VALUE, key_of, keys_of, short_repr
from ._switch_guard import needs_check, switch_forbidden

__all__ = ["await_", "awaitall", "awaitany", "emitall", "emitone", "pending"]


class _ThreadExitCleanup:
    """Clears the waits of a thread when the thread ends, although primitives of `coutil.sync` still refer to them."""

    __slots__ = ("waits",)

    def __init__(self, waits: dict[Hashable, Any]) -> None:
        self.waits = waits

    def __del__(self) -> None:
        self.waits.clear()


class _Registry(local):
    """The waits of this OS thread. `waits` maps the key of an event to its list: see `_append_waiter`."""

    def __init__(self) -> None:
        self.waits: dict[Hashable, Any] = {}
        self.end = _ThreadExitCleanup(self.waits)
        self.known = WaitRegistry(partial(_coroutines, self.waits))
        self.thread_waits = ThreadWaits(self.waits)


class ThreadWaits:
    """The waits of one OS thread, for other threads. Kept alive by the thread's registry."""

    __slots__ = ("__weakref__", "waits")

    def __init__(self, waits: dict[Hashable, Any]) -> None:
        self.waits = waits
        _thread_registries.add(ref(self, _thread_registries.discard))


_thread_registries: set[ref[ThreadWaits]] = set()


def _coroutines(waits: dict[Hashable, Any]) -> list[Coroutine]:
    """Return the waiters, for reports. These may be made in another thread: each step here is atomic."""
    waiters: list[Coroutine] = []
    for line in tuple(waits.values()):
        waiters += _coroutines_in(line)
    return waiters


def _coroutines_in(line: list[Any]) -> list[Coroutine]:
    """Return the coroutines in the list of an event: see `_append_waiter`."""
    _, first, others = line
    return [first] * (first is not None) + (list(others.values()) if others is not None else [])


registry = _Registry()
Line = OrderedDict["Wait", Coroutine]


def await_(event: Any) -> Any:
    """Wait until `event` (any value but None) is emitted.

    Returns the emitted event, or a tuple of it and the further arguments of the emission; or the value of an explicit
    resume. Suspends. Raises ValueError (None, NaN), `NotYieldable`, `Deadlock` (main program only). Lua: event.await.
    """
    try:
        register(Wait((key_of(event),)))
        del event
        return result_of(park_waiting())
    except BaseException:
        deregister()
        raise


def awaitany(*events: Any) -> Any:
    """Wait until one of `events` is emitted; None and repetitions are ignored.

    Returns, suspends and raises as `await_`; ValueError also if nothing is left to wait for. Lua: event.awaitany.
    """
    keys = keys_of(events)
    if not keys:
        raise ValueError("at least one event is needed that is not None")
    try:
        register(WaitAny(keys))
        del events, keys
        return result_of(park_waiting())
    except BaseException:
        deregister()
        raise


def awaitall(*events: Any) -> Any:
    """Wait until each of `events` was emitted once; None and repetitions are ignored.

    Returns True, at once if nothing is left to wait for; or the value of an explicit resume. Suspends.
    Raises ValueError (NaN), `NotYieldable`, `Deadlock` (main program only). Lua: event.awaitall.
    """
    keys = keys_of(events)
    if not keys:
        return running() is not None
    try:
        register(WaitAll(keys))
        del events, keys
        woken = park_waiting()
    except BaseException:
        deregister()
        raise
    return True if woken.__class__ is Emission else woken


def emitall(event: Any, *arguments: Any) -> bool:
    """Resume all coroutines that wait for `event`; their calls return it, with the `arguments` if there are any.

    Returns whether a coroutine waited; False for None. Works anywhere and never suspends: see rule 4.
    Raises ValueError (NaN), `ForeignThread` (the waiters belong to another thread: see rule 6; to wake them, use
    `uv.Loop.call_threadsafe`, or a promise), and KeyboardInterrupt or SystemExit of a waiter: see rule 1.
    Lua: event.emitall.
    """
    if event is None:
        return False
    key = key_of(event)
    if needs_check and switch_forbidden():
        return emit_later(emitall, key, event, arguments)
    waits = registry.waits
    if key in waits:
        return _emit_to_queue(waits, key, Emission((event, *arguments)))
    if len(_thread_registries) > 1:
        check_other_threads(event, key)
    return False


def emitone(event: Any, *arguments: Any) -> bool:
    """Resume the coroutine that has waited for `event` longest. The rest is as in `emitall`. Lua: event.emitone."""
    if event is None:
        return False
    key = key_of(event)
    if needs_check and switch_forbidden():
        return emit_later(emitone, key, event, arguments)
    emission = Emission((event, *arguments))
    while (first := _pop_first_waiter(key)) is not None:
        try:
            if resume_waiters((first,), key, emission):
                return True
        except BaseException:
            _finish_later((first,), key, emission)
            raise
    if len(_thread_registries) > 1:
        check_other_threads(event, key)
    return False


def _emit_to_queue(waits: dict[Hashable, Any], key: Hashable, emission: Emission) -> bool:
    """Detach the list of an event, if there still is one, and resume its waiters; return whether there are any."""
    if key not in waits:  # a signal handler has emitted since the caller looked
        return False
    line = waits[key]
    del waits[key]  # no look for signals between the test and this: a handler can only raise below
    try:
        return resume_waiters(((line[0], line[1]),) if line[2] is None else _waiters_in(line), key, emission)
    except BaseException:
        _finish_later(_waiters_in(line), key, emission)
        raise


def _waiters_in(line: list[Any]) -> tuple[Any, ...]:
    """Return the pairs of wait and coroutine in a list."""
    return ((line[0], line[1]), *(line[2] or {}).items())


def _finish_later(detached: tuple[Any, ...], key: Hashable, emission: Emission) -> None:
    """Have the hub finish an emission that an exception of a signal handler has interrupted."""
    if any(coroutine is not None and coroutine.waiting_on is wait for wait, coroutine in detached):
        current_context().call_soon(_finish, detached, key, emission)


def _finish(detached: tuple[Any, ...], key: Hashable, emission: Emission) -> None:
    try:
        resume_waiters(detached, key, emission)
    except BaseException:
        _finish_later(detached, key, emission)
        raise


def emit_later(emit: Callable[..., bool], key: Hashable, event: Any, arguments: tuple[Any, ...]) -> bool:
    """Have the hub call `emit` if a coroutine waits; return whether one does."""
    if key not in registry.waits:
        return False
    current_context().call_soon(emit, event, *arguments)
    return True


def pending(event: Any) -> bool:
    """Return whether a coroutine waits for `event`; False for None. Raises ValueError (NaN). Lua: event.pending."""
    return event is not None and key_of(event) in registry.waits


# -- other threads ----------------------------------------------------------------------------------------------------


def waiters_in_other_threads(key: Hashable) -> list[Coroutine]:
    """Return the coroutines of other OS threads that wait for the event which has `key`.

    Those threads continue to run: each step here is atomic, as in `_coroutines`.
    """
    mine = registry.thread_waits
    waiters: list[Coroutine] = []
    for thread in [each() for each in tuple(_thread_registries)]:
        if thread is not None and thread is not mine and (line := thread.waits.get(key)) is not None:
            waiters += _coroutines_in(line)
    return waiters


def check_other_threads(event: object, key: Hashable) -> None:
    """Raise `ForeignThread` if the emission of an event was meant for another OS thread: see rule 6."""
    waiting = waiters_in_other_threads(key)
    if waiting and (key.__class__ not in BY_VALUE or not thread_has_context()):
        raise foreign_thread_error(
            f"{waiting[0].name}, which waits for event {short_repr(event)},", waiting[0].context.thread
        )


def emit_in_every_thread(event: Any, *arguments: Any) -> None:
    """Emit an event here at once, and in the hubs of all coroutines of other OS threads that wait for it.

    Those hubs are woken; a thread that has no hub yet emits as soon as it has one.
    """
    key, mine = key_of(event), registry.thread_waits  # made now, if it is this thread's first use
    if _thread_registries != {ref(mine)}:
        for context in dict.fromkeys(waiter.context for waiter in waiters_in_other_threads(key)):
            context.call_threadsafe(_emit_in_this_thread, event, *arguments)
    _emit_in_this_thread(event, *arguments)


def _emit_in_this_thread(event: Any, *arguments: Any) -> bool:
    """Do what `emitall` does, without `check_other_threads`: the waiters here may have continued since."""
    key = key_of(event)
    if needs_check and switch_forbidden():
        return emit_later(_emit_in_this_thread, key, event, arguments)
    return _emit_to_queue(registry.waits, key, Emission((event, *arguments)))


# -- waiting: `register`, drop the references of the frame, `park_waiting` --------------------------------------------


class Emission(tuple[Any, ...]):
    """The token of an emission, by which its waiters recognize it: the event and the further arguments."""

    __slots__ = ()


class Wait:
    """A call that waits for one event, as reports show it.

    It is over as soon as the coroutine's `waiting_on` is another object; detached lists may refer to it for longer.
    It does not refer to its coroutine: when a thread ends, only its registry does, and both are collected.
    """

    __slots__ = ("keys",)
    kind = "event"  # the text before several keys

    def __init__(self, keys: Collection[Hashable]) -> None:
        """`keys` are those of the events."""
        self.keys: Any = keys

    def matches(self, key: Hashable) -> bool:
        """Return whether the emission of the event that has `key` ends the wait."""
        return True

    def __str__(self) -> str:
        """Return the reason of the wait."""
        return f"{self.kind if len(self.keys) > 1 else 'event'} {self.names()}"

    def names(self) -> str:
        """Return the short reprs of the events."""
        return ", ".join(map(short_repr, self.keys))


class WaitAny(Wait):
    """A call that waits for one of several events."""

    __slots__ = ()
    kind = "any of the events"

    def matches(self, key: Hashable) -> bool:
        """Leave the lists of the other events; return True."""
        _remove_wait(self)
        return True


class WaitAll(Wait):
    """A call that waits for several events; its `keys` are those of the events that were not emitted yet."""

    __slots__ = ()
    kind = "all of the events"

    def matches(self, key: Hashable) -> bool:
        """Return whether the event was the last one."""
        self.keys.pop(key, None)
        return not self.keys


def register(wait: Wait) -> None:
    """Put the running coroutine at the end of the lists of the events of `wait`. Raises `NotYieldable`."""
    me = running()
    me.pending_wakeup = None
    me.waiting_on = wait
    waits = registry.waits
    for key in tuple(wait.keys):
        new = [wait, me, None]
        line = waits.setdefault(key, new)
        if line is not new:
            _append_waiter(key, line, new)
    if me.waiting_on is not wait:  # it is over: a signal handler, or a finalizer, has emitted
        _remove_wait(wait)


# The list of an event (`line`) is [wait, coroutine, further waits with their coroutines in the order of their arrival].
# The first two are None after the first wait has left; the third is None until there are two waits at a time, because
# an OrderedDict is slow to make. At each step of the functions below a signal handler may emit, and further waits may
# begin or end. So a list is never replaced by another one, and each step that changes the registry is atomic.


def _append_waiter(key: Hashable, line: list[Any], new: list[Any]) -> None:
    """Put the wait of the list `new` at the end of `line`, the list of an event that other coroutines wait for.

    Repeats that if an emission has detached `line` before.
    """
    waits, wait, coroutine = registry.waits, new[0], new[1]
    while line is not new:
        others: Line = OrderedDict()
        if line[2] is None:
            line[2] = others
        line[2][wait] = coroutine
        if waits.get(key) is line or not _still_waits(wait, coroutine, key):
            return
        line = waits.setdefault(key, new)


def _pop_first_waiter(key: Hashable) -> tuple[Wait, Coroutine] | None:
    """Take the first wait out of the list of an event; None if there is none. If this raises, no wait is lost."""
    waits = registry.waits
    while key in waits:  # from here on nothing looks for signals
        line = waits[key]
        if line[2] is None:
            wait, coroutine = line[0], line[1]
            line[0] = line[1] = None
            del waits[key]
        else:
            wait, coroutine = _pop_first_of(key, line)
        if wait is not None:
            return wait, coroutine
    return None


def _pop_first_of(key: Hashable, line: list[Any]) -> tuple[Any, Any]:
    """Take the first wait out of a list that has had several; (None, None) if a signal handler has taken it."""
    waits, others = registry.waits, line[2]
    second = next(iter(others), None)  # from here on nothing looks for signals
    wait, coroutine = line[0], line[1]
    if wait is not None:
        line[0] = line[1] = None
    elif second is not None and second in others:
        wait, coroutine = second, others[second]
        del others[second]
    if not others and key in waits and waits[key] is line:
        del waits[key]
    return wait, coroutine


def _remove_if_empty(key: Hashable, line: list[Any]) -> None:
    """Remove a list from the registry if it is empty. From its first step on nothing looks for signals."""
    waits = registry.waits
    if line[0] is None and not line[2] and key in waits and waits[key] is line:
        del waits[key]


def _still_waits(wait: Wait, coroutine: Coroutine, key: Hashable) -> bool:
    """Return whether a wait is not over, and waits for the event that has `key`."""
    return coroutine.waiting_on is wait and key in wait.keys


def park_waiting() -> object:
    """Suspend the running coroutine, which has registered; return an `Emission`, or the value of an explicit resume.

    Contract: see `switching.park_unowned`. The wait is in no list when this returns or raises. No frame here refers to
    the coroutine or the event.
    """
    try:
        woken = park_unowned()
    except BaseException:
        deregister()
        raise
    if woken.__class__ is not Emission:
        deregister()
    return woken


def deregister() -> None:
    """End the wait of the running coroutine, which was not resumed by an emission."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None:  # else it is being collected: its thread and registry have ended
        wait = coroutine.waiting_on
        if isinstance(wait, Wait):  # else a signal handler or a finalizer has emitted just now
            _remove_wait(wait)
        coroutine.waiting_on = coroutine.pending_wakeup = None


def _remove_wait(wait: Wait) -> None:
    """Remove a wait from the lists that it is in; not from detached ones, whose emission skips it."""
    waits = registry.waits
    for key in wait.keys:
        line = waits.get(key)
        if line is not None:
            if line[0] is wait:
                line[0] = line[1] = None
            elif line[2] is not None:
                line[2].pop(wait, None)
            _remove_if_empty(key, line)


def resume_waiters(detached: Iterable[Any], key: Hashable, emission: Emission) -> bool:
    """Resume the coroutines whose waits are not over, and are ended by this event.

    detached: waits (None is skipped) with their coroutines. Returns whether the emission has reached a wait.
    Exceptions of the coroutines: see rule 1. An exception of a signal handler ends this early; it can be repeated.
    """
    leaving: BaseException | None = None
    reached = False
    # Skip waits that have ended since the list was detached; end the others, unless they are for further events, too
    try:
        for wait, coroutine in detached:
            if wait is None or coroutine.waiting_on is not wait:
                continue
            reached = True
            if wait.__class__ is Wait or wait.matches(key):
                try:
                    wake_now(coroutine, emission)
                except BaseException as error:  # KeyboardInterrupt, SystemExit: raised below
                    if coroutine.waiting_on is wait or coroutine.pending_wakeup is emission:
                        raise  # a signal handler has raised before the coroutine was entered
                    if leaving is not None:
                        coroutine.context.report(coroutine, error)
                    else:
                        leaving = error
    except BaseException:
        if leaving is not None:
            current_context().report_or_raise(leaving)
        raise
    # All are resumed: raise the first KeyboardInterrupt or SystemExit
    if leaving is not None:
        try:
            raise leaving
        finally:
            del leaving  # the traceback refers to this frame
    return reached


def result_of(woken: Any) -> Any:
    """Return the result of `await_` for that of `park_waiting`."""
    if woken.__class__ is not Emission:
        return woken
    return woken[0] if len(woken) == 1 else tuple(woken)
