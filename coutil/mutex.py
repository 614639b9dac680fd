"""Mutual exclusion: any value but None is a mutex, which one coroutine at a time owns.

Values are compared as in `coutil.event`. Mutexes belong to an OS thread: they do not exclude other threads. Locking or
unlocking an object that a coroutine of another thread owns raises `ForeignThread`; numbers, strings and bytes are names
within a thread. An entry, which refers to the value and its owner, exists only while the mutex is locked.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Self
from weakref import WeakValueDictionary, ref

from greenlet import getcurrent

from ._coroutines import Coroutine, current_context, foreign_thread_error, running
from ._interpreter import local
from ._keys import BY_VALUE, key_of
from .event import Wait, deregister, emitone, park_waiting, register, registry

__all__ = ["held", "islocked", "lock", "ownlock", "unlock"]


class _Owners(dict[Hashable, Coroutine]):
    """The owners of mutexes. Waits and other threads refer to it weakly, so that it is freed with its thread."""

    __slots__ = ("__weakref__",)

    def __init__(self) -> None:
        super().__init__()
        _thread_registries[id(self)] = self


_thread_registries: WeakValueDictionary[int, _Owners] = WeakValueDictionary()


class _Registry(local):
    """The owners of mutexes of this OS thread."""

    def __init__(self) -> None:
        self.owners = _Owners()


_registry = _Registry()


class _Waiter(Wait):
    """A call of `lock` that waits."""

    __slots__ = ("owners",)

    def __init__(self, key: Hashable, owners: _Owners) -> None:
        """`owners` are those of the waiter's thread: reports may be made in another one."""
        self.keys = (key,)
        self.owners = ref(owners)

    @property
    def owner(self) -> Coroutine | None:
        """The coroutine that owns the mutex now, or None."""
        (key,) = self.keys
        owners = self.owners()
        return owners.get(key) if owners is not None else None

    def __str__(self) -> str:
        return f"mutex {self.names()}"


def lock(mutex: Any) -> None:
    """Make the running coroutine the owner of `mutex` (any value but None) as soon as it has none.

    First come, first served; but a call that finds the mutex free takes it at once. Suspends only if it is locked. An
    explicit resume does not end the wait: it moves the coroutine to the end of the queue; `throw` ends it.
    Raises RuntimeError (the caller is the owner), ValueError (None, NaN), `ForeignThread`, `NotYieldable`, `Deadlock`
    (main program only). Lua: mutex.lock.
    """
    key = key_of(mutex)
    owners = _registry.owners
    if owners.get(key) is running():
        raise RuntimeError(f"nested lock: {running().name} already owns mutex {mutex!r}")
    if len(_thread_registries) > 1:
        _check_other_threads(mutex, key)
    try:
        while key in owners:
            register(_Waiter(key, owners))
            if key in owners:
                park_waiting()
            else:  # a signal handler or a finalizer has freed it between the two steps
                deregister()
        me = running()
        owners[key] = me
    except BaseException:
        deregister()
        _wake_next_waiter(mutex, key)
        raise


def unlock(mutex: Any) -> bool:
    """Free `mutex`, which the running coroutine must own, and resume the coroutine that has waited for it longest.

    Returns whether a coroutine waited; by then that waits again, or has ended. Never suspends.
    Raises RuntimeError (the caller is not the owner), `ForeignThread`, ValueError (None, NaN), and KeyboardInterrupt or
    SystemExit of the waiter. Lua: mutex.unlock.
    """
    key = key_of(mutex)
    if not _owns(key):
        if len(_thread_registries) > 1:
            _check_other_threads(mutex, key)
        raise RuntimeError(f"lock not owned: mutex {mutex!r} is {_held(key)}")
    del _registry.owners[key]
    try:
        return key in registry.waits and emitone(mutex)
    except BaseException:
        _wake_next_waiter(mutex, key)
        raise


def held(mutex: Any) -> _Held:
    """Return a context manager: the running coroutine owns `mutex` (any value but None) during its block.

    It begins as `lock` does: suspends if the mutex is locked. It ends as `unlock` does: the coroutine that has waited
    longest runs first. An exception that leaves the block is passed on, also if the block no longer owns the mutex.
    Raises the errors of `lock` at its beginning, those of `unlock` at its end.
    """
    return _Held(mutex)


class _Held:
    """A block that owns a mutex."""

    __slots__ = ("_mutex",)

    def __init__(self, mutex: Any) -> None:
        self._mutex = mutex

    def __enter__(self) -> Self:
        """Lock the mutex."""
        lock(self._mutex)
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        """Unlock the mutex, also if an exception of a signal handler interrupts that."""
        mutex = self._mutex
        try:
            if kind is None or ownlock(mutex):
                unlock(mutex)
        except BaseException:
            if ownlock(mutex):
                unlock(mutex)
            raise

    def __repr__(self) -> str:
        """Return a text that names the mutex."""
        return f"<mutex.held({self._mutex!r})>"


def _wake_next_waiter(mutex: Any, key: Hashable) -> None:
    """Have the hub resume the next waiter if an exception has kept the mutex from getting an owner."""
    if key in registry.waits and key not in _registry.owners:
        current_context().call_soon(emitone, mutex)


def islocked(mutex: Any) -> bool:
    """Return whether a coroutine owns `mutex`; False for None. Raises ValueError (NaN). Lua: mutex.islocked."""
    return mutex is not None and key_of(mutex) in _registry.owners


def ownlock(mutex: Any) -> bool:
    """Return whether the running coroutine owns `mutex`; False for None. Raises ValueError (NaN).

    Lua: mutex.ownlock.
    """
    return mutex is not None and _owns(key_of(mutex))


def _check_other_threads(mutex: object, key: Hashable) -> None:
    """Raise `ForeignThread` if a coroutine of another thread owns an object that is the same for all threads."""
    if key.__class__ in BY_VALUE:
        return
    for owners in [each() for each in _thread_registries.valuerefs()]:
        owner = owners.get(key) if owners is not None and owners is not _registry.owners else None
        if owner is not None:
            raise foreign_thread_error(f"mutex {mutex!r}, which {owner.name} owns,", owner.context.thread)


def _owns(key: Hashable) -> bool:
    """Return whether the caller owns a mutex; False in the hub, which owns none."""
    owner = _registry.owners.get(key)
    return owner is not None and owner is getattr(getcurrent(), "coroutine", None)


def _held(key: Hashable) -> str:
    """Return the text of an error about the owner of a mutex."""
    owner = _registry.owners.get(key)
    if owner is None:
        return "free"
    return f"held by {owner.name}" + (", which has ended" if owner.status == "dead" else "")
