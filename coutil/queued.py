"""Events that are not lost: an emission without a waiter is stored until a coroutine waits for the event.

Everything else is as in `coutil.event`, including the comparison of events. Stored emissions are taken in the order in
which they were made, one by each call. They refer to the arguments of the emission, but not to the event itself if weak
references to it are possible: when it is collected, its stored emissions are dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from typing import Any
from weakref import ref

from . import event as _event
from ._coroutines import running
from ._interpreter import local
from ._keys import BY_VALUE, key_of, keys_of
from ._switch_guard import needs_check, switch_forbidden
from .event import Emission, Wait, WaitAll, WaitAny, deregister, emit_later, park_waiting, pending, register, result_of

__all__ = ["await_", "awaitall", "awaitany", "emitall", "emitone", "isqueued", "pending"]


class _Stored(deque[tuple[Any, ...]]):
    """The stored emissions of one event: tuples of the event (None if compared by identity) and the arguments."""

    __slots__ = ("event",)
    event: ref[Any]  # only if the event can be collected


class _Registry(local):
    """The stored emissions of this OS thread. An event has an entry only while one is stored."""

    def __init__(self) -> None:
        self.stored: dict[Hashable, _Stored] = {}


_registry = _Registry()


def await_(event: Any) -> Any:
    """Take an emission of `event` that is stored, else wait for one.

    Does not suspend in the first case. Everything else is as in `event.await_`. Lua: queued.await.
    """
    stored = _pop_stored(event)
    if stored is not None:
        return stored
    try:
        register(Wait((key_of(event),)))
        if isqueued(event):  # by a signal handler or a finalizer, just now
            deregister()
            return await_(event)
        del event
        return result_of(park_waiting())
    except BaseException:
        deregister()
        raise


def awaitany(*events: Any) -> Any:
    """Take a stored emission of the first of `events` that has one, else wait for one of them.

    Does not suspend in the first case. Everything else is as in `event.awaitany`. Lua: queued.awaitany.
    """
    keys = keys_of(events)  # raises before anything is taken
    for event in events:
        if event is not None and (stored := _pop_stored(event)) is not None:
            return stored
    if not keys:
        raise ValueError("at least one event is needed that is not None")
    try:
        register(WaitAny(keys))
        if any(isqueued(event) for event in events):  # as in await_()
            deregister()
            return awaitany(*events)
        del events, event, keys, stored
        return result_of(park_waiting())
    except BaseException:
        deregister()
        raise


def awaitall(*events: Any) -> Any:
    """Take a stored emission of each of `events` that has one, and wait until each of the others was emitted.

    Emissions that were taken are not stored again if the wait is cancelled. Everything else is as in `event.awaitall`.
    Lua: queued.awaitall.
    """
    running()  # raises before anything is taken, and so does key_of
    missing = {key_of(event): event for event in events if event is not None}
    while missing := {key: event for key, event in missing.items() if _pop_stored(event) is None}:
        try:
            register(WaitAll(dict.fromkeys(missing)))
            if not any(isqueued(event) for event in missing.values()):
                del events, missing
                woken = park_waiting()
                return True if woken.__class__ is Emission else woken
            deregister()  # as in await_()
        except BaseException:
            deregister()
            raise
    return True


def emitall(event: Any, *arguments: Any) -> bool:
    """Resume all coroutines that wait for `event`, or store the emission if there are none.

    Returns whether a coroutine waited. Everything else is as in `event.emitall`. Lua: queued.emitall.
    """
    if event is not None and needs_check and switch_forbidden():
        return emit_later(emitall, key_of(event), event, arguments) or _store(event, arguments)
    return _event.emitall(event, *arguments) or _store(event, arguments)


def emitone(event: Any, *arguments: Any) -> bool:
    """Resume the coroutine that has waited for `event` longest, or store the emission if there is none.

    Returns whether a coroutine waited. Everything else is as in `event.emitone`. Lua: queued.emitone.
    """
    if event is not None and needs_check and switch_forbidden():
        return emit_later(emitone, key_of(event), event, arguments) or _store(event, arguments)
    return _event.emitone(event, *arguments) or _store(event, arguments)


def isqueued(event: Any) -> bool:
    """Return whether an emission of `event` is stored; False for None. Raises ValueError (NaN).

    Lua: queued.isqueued.
    """
    return event is not None and _storage_key(event) in _registry.stored


def _storage_key(event: Any) -> Hashable:
    """Return the key under which emissions are stored: without a reference to the event, if that is possible."""
    key = key_of(event)
    return (id(event),) if type(event).__weakrefoffset__ and key.__class__ not in BY_VALUE else key


def _pop_stored(event: Any) -> object:
    """Remove the first stored emission; return the result of `await_` for it, None if there is none."""
    key = _storage_key(event)
    emissions = _registry.stored.get(key)
    if emissions is None:
        return None
    stored = _registry.stored
    emitted, *arguments = emissions[0]  # from here on nothing looks for signals, as in popleft()
    del emissions[0]
    if not emissions and key in stored:
        del stored[key]
    first = event if emitted is None else emitted
    return (first, *arguments) if arguments else first


def _store(event: Any, arguments: tuple[Any, ...]) -> bool:
    """Store an emission; return False."""
    if event is not None:
        key, stored = _storage_key(event), _registry.stored
        emissions = stored.get(key)
        emission = (key if key.__class__ in BY_VALUE else None, *arguments)
        if emissions is not None:
            emissions.append(emission)
        else:
            new = _Stored((emission,))
            if key.__class__ is tuple:
                new.event = ref(event, lambda _: stored.pop(key, None))
            if stored.setdefault(key, new) is not new:  # a signal handler has stored one just now
                stored[key].append(emission)
    return False
