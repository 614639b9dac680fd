"""Synchronisation of threads: mutexes, read-write locks, semaphores, conditions and barriers.

Rule 1: a wait here blocks the whole thread, with every coroutine and loop in it. Coroutines that wait for each other
use `coutil.sync`, or `coutil.mutex`.
Rule 2: errors for which libuv would abort the process are exceptions: `Deadlock` if a thread would wait for itself,
RuntimeError if it releases a lock that it does not hold. Owners are threads: all coroutines of a thread are one owner.
Rule 3: a wait for another thread cannot be interrupted: signal handlers in Python run when it is over.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from .._interpreter import get_ident
from .._libuv import check, error, lib, threads
from .._libuv.arguments import check_int
from ..errors import Deadlock
from .module_function import module_function

__all__ = ["Barrier", "Cond", "Mutex", "RWLock", "Sem"]

_MAX_COUNT = 2**31 - 1
_MAX_TIMEOUT = 2**62  # nanoseconds, 146 years: the limit of a timeout


class _Primitive:
    """Owner of a primitive in C, which lives as long as the object."""

    __slots__ = ("__weakref__", "_struct")
    _memory: ClassVar[str]
    _destroy: ClassVar[Any]

    def __init__(self, init: Any, *arguments: int) -> None:
        self._struct: Any = None
        memory = threads.new_struct(self._memory)
        name = self._memory.removeprefix("co_")
        check(init(memory, *arguments), f"uv_{name}_init")
        self._struct = memory

    def __del__(self) -> None:
        """Destroy the primitive of the system, unless a thread still holds it."""
        if getattr(self, "_struct", None) is not None:
            self._destroy(self._struct)


class Mutex(_Primitive):
    """A lock that one thread holds at a time and must unlock itself. Also a context manager.

    recursive: a thread may lock it several times, and must unlock it as often.
    """

    __slots__ = ()
    _memory, _destroy = "co_mutex", lib.co_mutex_destroy

    def __init__(self, recursive: bool = False) -> None:
        """Make a mutex. Raises TypeError, `UVError`. Source: uv_mutex_init, uv_mutex_init_recursive."""
        if not isinstance(recursive, bool):
            raise TypeError(f"recursive must be a bool, not {recursive!r}")
        super().__init__(lib.co_mutex_init, recursive)

    def __repr__(self) -> str:
        """State: free, or locked by this or another thread."""
        return (
            f"<Mutex {('free', 'locked by another thread', 'locked by this thread')[lib.co_mutex_state(self._struct)]}>"
        )

    def __enter__(self) -> Self:
        """Lock it."""
        self.lock()
        return self

    def __exit__(self, *_: object) -> None:
        """Unlock it."""
        self.unlock()

    def lock(self) -> None:
        """Lock it when it is free. Blocks the thread. Raises `Deadlock` (locked by itself). Source: uv_mutex_lock."""
        code = lib.co_mutex_lock(self._struct, True)
        if code == lib.UV_EBUSY:
            raise Deadlock("this thread has locked the mutex, which is not recursive")
        check(code, "uv_mutex_lock")

    def trylock(self) -> bool:
        """Lock it if it is free; return whether this thread has it now. Source: uv_mutex_trylock."""
        code = lib.co_mutex_lock(self._struct, False)
        return code != lib.UV_EBUSY and check(code, "uv_mutex_trylock") == 0

    def unlock(self) -> None:
        """Unlock it. Raises RuntimeError if this thread has not locked it. Source: uv_mutex_unlock."""
        if lib.co_mutex_unlock(self._struct):
            raise RuntimeError("the mutex is not locked by this thread")


class RWLock(_Primitive):
    """A lock that several threads hold for reading, or one thread for writing."""

    __slots__ = ("_readers", "_writer")
    _memory, _destroy = "co_rwlock", lib.co_rwlock_destroy

    def __init__(self) -> None:
        """Make a lock. Raises `UVError`. Source: uv_rwlock_init."""
        self._readers: dict[int, int] = {}  # locks of each thread, by its ident
        self._writer: int | None = None
        super().__init__(lib.co_rwlock_init)

    def __repr__(self) -> str:
        """State: free, the number of readers, or written."""
        state = "written" if self._writer is not None else f"{len(self._readers)} readers" if self._readers else "free"
        return f"<RWLock {state}>"

    def rdlock(self) -> None:
        """Lock it for reading when no thread has it for writing. A thread may do so several times.

        Blocks the thread. Raises `Deadlock` (this thread has it for writing). Source: uv_rwlock_rdlock.
        """
        if self._writer == get_ident():
            raise Deadlock("this thread has locked it for writing")
        lib.co_rwlock_read(self._struct)
        self._reads()

    def tryrdlock(self) -> bool:
        """Lock it for reading if no thread has it for writing; return whether. Source: uv_rwlock_tryrdlock."""
        if lib.co_rwlock_try_read(self._struct):
            return False
        self._reads()
        return True

    def _reads(self) -> None:
        me = get_ident()
        self._readers[me] = self._readers.get(me, 0) + 1

    def rdunlock(self) -> None:
        """Unlock it. Raises RuntimeError: this thread has not locked it for reading. Source: uv_rwlock_rdunlock."""
        me = get_ident()
        if me not in self._readers:
            raise RuntimeError("this thread has not locked it for reading")
        self._readers[me] -= 1
        if not self._readers[me]:
            del self._readers[me]
        lib.co_rwlock_end_read(self._struct)

    def wrlock(self) -> None:
        """Lock it for writing when it is free. Blocks the thread. Raises `Deadlock` (this thread has it already).

        Source: uv_rwlock_wrlock.
        """
        me = get_ident()
        if self._writer == me or me in self._readers:
            raise Deadlock("this thread has locked it already")
        lib.co_rwlock_write(self._struct)
        self._writer = me

    def trywrlock(self) -> bool:
        """Lock it for writing if it is free; return whether. Source: uv_rwlock_trywrlock."""
        if lib.co_rwlock_try_write(self._struct):
            return False
        self._writer = get_ident()
        return True

    def wrunlock(self) -> None:
        """Unlock it. Raises RuntimeError: this thread has not locked it for writing. Source: uv_rwlock_wrunlock."""
        if self._writer != get_ident():
            raise RuntimeError("this thread has not locked it for writing")
        self._writer = None
        lib.co_rwlock_end_write(self._struct)


class Sem(_Primitive):
    """A semaphore: a counter that is never less than 0."""

    __slots__ = ()
    _memory, _destroy = "co_sem", lib.co_sem_destroy

    def __init__(self, value: int = 0) -> None:
        """Make a semaphore. Raises TypeError, ValueError, `UVError`. Source: uv_sem_init."""
        super().__init__(lib.co_sem_init, check_int("value", value, 0, _MAX_COUNT))

    def post(self) -> None:
        """Add 1; a thread that waits goes on. Raises `UVError`: EOVERFLOW. Source: uv_sem_post."""
        check(lib.co_sem_post(self._struct), "uv_sem_post")

    def wait(self) -> None:
        """Subtract 1 when the counter is not 0. Blocks the thread. Source: uv_sem_wait."""
        lib.co_sem_wait(self._struct, True)

    def trywait(self) -> bool:
        """Subtract 1 if the counter is not 0; return whether. Source: uv_sem_trywait."""
        return bool(lib.co_sem_wait(self._struct, False) == 0)


class Cond(_Primitive):
    """A condition variable: a thread that waits unlocks a mutex, and locks it again afterwards."""

    __slots__ = ()
    _memory, _destroy = "co_cond", lib.co_cond_destroy

    def __init__(self) -> None:
        """Make a condition. Raises `UVError`. Source: uv_cond_init."""
        super().__init__(lib.co_cond_init)

    def signal(self) -> None:
        """Let one of the threads that wait go on. Source: uv_cond_signal."""
        lib.co_cond_signal(self._struct)

    def broadcast(self) -> None:
        """Let all threads that wait go on. Source: uv_cond_broadcast."""
        lib.co_cond_broadcast(self._struct)

    def wait(self, mutex: Mutex, *, timeout: int | None = None) -> bool:
        """Wait for a signal; return False after a timeout. Spurious wake-ups are possible. Blocks the thread.

        mutex: locked by this thread, once; locked again when this returns. timeout: nanoseconds; None: for ever.
        Raises TypeError, ValueError, RuntimeError (not locked by this thread), `Deadlock` (locked more than once).
        Source: uv_cond_wait, uv_cond_timedwait.
        """
        if not isinstance(mutex, Mutex):
            raise TypeError(f"mutex must be a Mutex, not {mutex!r}")
        limit = 0 if timeout is None else min(check_int("timeout", timeout), _MAX_TIMEOUT)
        code = lib.co_cond_wait(self._struct, mutex._struct, timeout is not None, limit)
        if code == lib.UV_EPERM:
            raise RuntimeError("the mutex is not locked by this thread")
        if code == lib.UV_EBUSY:
            raise Deadlock("the mutex is locked more than once: no other thread could lock it during the wait")
        return code != lib.UV_ETIMEDOUT and check(code, "uv_cond_timedwait") == 0


class Barrier(_Primitive):
    """A point where a number of threads wait for each other. It can be used repeatedly."""

    __slots__ = ()
    _memory, _destroy = "co_barrier", lib.co_barrier_destroy

    def __init__(self, count: int) -> None:
        """Make a barrier for `count` threads. Raises TypeError, ValueError, `UVError`: EINVAL.

        Source: uv_barrier_init.
        """
        if check_int("count", count, 0, _MAX_COUNT) == 0:
            raise error(lib.UV_EINVAL, "uv_barrier_init")
        super().__init__(lib.co_barrier_init, count)

    def wait(self) -> bool:
        """Wait until `count` threads wait; return True in one of them. Blocks the thread. Source: uv_barrier_wait."""
        return check(lib.co_barrier_wait(self._struct), "uv_barrier_wait") > 0


def new_mutex(recursive: bool = False) -> Mutex:
    """Return a new `Mutex`. Source: uv_mutex_init, uv_mutex_init_recursive."""
    return Mutex(recursive)


def new_rwlock() -> RWLock:
    """Return a new `RWLock`. Source: uv_rwlock_init."""
    return RWLock()


def new_sem(value: int = 0) -> Sem:
    """Return a new `Sem`. Source: uv_sem_init."""
    return Sem(value)


def new_cond() -> Cond:
    """Return a new `Cond`. Source: uv_cond_init."""
    return Cond()


def new_barrier(count: int) -> Barrier:
    """Return a new `Barrier`. Source: uv_barrier_init."""
    return Barrier(count)


def cond_timedwait(cond: Cond, mutex: Mutex, timeout: int) -> bool:
    """Wait for a condition for at most `timeout` nanoseconds; see `Cond.wait`. Source: uv_cond_timedwait."""
    return cond_wait(cond, mutex, timeout=check_int("timeout", timeout))


mutex_lock = module_function(Mutex.lock)
mutex_trylock = module_function(Mutex.trylock)
mutex_unlock = module_function(Mutex.unlock)
rwlock_rdlock = module_function(RWLock.rdlock)
rwlock_tryrdlock = module_function(RWLock.tryrdlock)
rwlock_rdunlock = module_function(RWLock.rdunlock)
rwlock_wrlock = module_function(RWLock.wrlock)
rwlock_trywrlock = module_function(RWLock.trywrlock)
rwlock_wrunlock = module_function(RWLock.wrunlock)
sem_post = module_function(Sem.post)
sem_wait = module_function(Sem.wait)
sem_trywait = module_function(Sem.trywait)
cond_signal = module_function(Cond.signal)
cond_broadcast = module_function(Cond.broadcast)
cond_wait = module_function(Cond.wait)
barrier_wait = module_function(Barrier.wait)
