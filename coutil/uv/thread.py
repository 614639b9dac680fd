"""Threads.

Rule 1: a thread runs one Python function. The loops and coroutines that it makes end with it.
Rule 2: a `Thread` is kept alive while its function runs. The memory of a thread that has ended is freed with its
object, joined or not. At its end the interpreter waits for the threads that were not detached.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable, Iterable
from typing import Any

from .. import _lifecycle
from .._interpreter import allocate_lock, get_ident, local
from .._libuv import check, error, lib, threads
from .._libuv.arguments import check_int
from .._libuv.files import encoded
from .._lifecycle import interruptible, joins_all_threads, joins_thread
from ..errors import Deadlock, Forked
from .module_function import module_function

__all__ = ["Thread", "new_thread", "thread_getcpu", "thread_self", "thread_setname"]

_MIN_STACK = 1 << 17  # bytes of a stack that the interpreter needs
_MAX_STACK = 1 << 40

_thread_local = local()
_running: dict[int, Thread] = {}  # by id, until their functions have ended
_unjoined: list[Any] = []  # C's structs of threads that dropped the last reference to themselves


class Thread:
    """A thread. Objects of the same thread are equal."""

    __slots__ = ("__weakref__", "_call", "_done", "_pid", "_state", "_struct", "ident")
    ident: int  # as from `threading.get_ident`, set when it runs

    def __init__(self, function: Callable[..., object], *arguments: Any, stack_size: int = 0) -> None:
        """Call function(*arguments) in a new thread.

        An exception that escapes is passed to `threading.excepthook`. stack_size: bytes; 0: the system's default.
        Raises TypeError, ValueError, `UVError`: EAGAIN, ENOMEM. Source: uv_thread_create_ex.
        """
        self._state = "not started"
        if not callable(function):
            raise TypeError(f"function must be callable, not {function!r}")
        if check_int("stack_size", stack_size, 0, _MAX_STACK) and stack_size < _MIN_STACK:
            raise ValueError(f"stack_size must be 0, or {_MIN_STACK} at least, not {stack_size}")

        # Threads that dropped their own last reference could not join themselves.
        while _unjoined:
            lib.co_thread_join(_unjoined.pop())

        # The attributes are set before the start: the new thread uses them at once.
        self._pid = os.getpid()
        self._call = function, arguments
        self._done = allocate_lock()
        self._done.acquire()
        self._struct = threads.new_struct("co_thread")
        self._state = "joinable"
        _running[id(self)] = self
        try:
            threads.start(self._struct, self._run, stack_size)
        except BaseException:
            self._state = "not started"
            _running.pop(id(self), None)
            raise

    @classmethod
    def _of_caller(cls) -> Thread:
        thread = cls.__new__(cls)
        thread._struct, thread._state, thread._pid = threads.current(), "not ours", os.getpid()
        return thread

    def _run(self) -> None:
        threads.reset_struct(self._struct)  # uv_thread_create may not have stored it yet
        _thread_local.thread, self.ident = self, get_ident()
        function, arguments = self._call
        try:
            function(*arguments)
        except SystemExit:
            pass
        except BaseException as failure:  # noqa: BLE001  # passed to the hook
            threading.excepthook(threading.ExceptHookArgs((type(failure), failure, failure.__traceback__, None)))
        finally:
            del function, arguments, self._call, _thread_local.thread
            _lifecycle.shut_down_thread()
            _running.pop(id(self), None)
            self._done.release()

    def __del__(self) -> None:
        """Release C's struct of a thread that has ended."""
        if getattr(self, "_state", "") != "joinable" or self._pid != os.getpid():  # "": its arguments were refused
            return
        if lib.co_thread_equal(self._struct, threads.current()):
            _unjoined.append(self._struct)
        else:
            lib.co_thread_join(self._struct)

    def __repr__(self) -> str:
        """State."""
        running = " running" if id(self) in _running else ""
        return f"<Thread {self._state}{running}>"

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same thread. Source: uv_thread_equal."""
        if not isinstance(other, Thread):
            return NotImplemented
        if self is other or "joined" in (self._state, other._state):
            return self is other  # the system may have given its number to another thread
        return bool(lib.co_thread_equal(self._struct, other._struct))

    def __hash__(self) -> int:
        """Return a hash that is equal for equal threads."""
        return hash(int(lib.co_thread_number(self._struct))) if hasattr(self, "_struct") else id(self)

    @joins_thread
    def join(self) -> bool:
        """Wait until it has ended; return True. Blocks the calling thread; `Loop.queue_work(thread.join)` suspends.

        Raises `Deadlock` (it is the caller itself), `Forked`, `UVError`: EINVAL (joined already, detached, or not
        started by `Thread`). Source: uv_thread_join.
        """
        self._needs("joinable", "uv_thread_join")
        if getattr(_thread_local, "thread", None) is self:
            raise Deadlock("a thread cannot wait for its own end")
        _wait_for(self._done)
        self._needs("joinable", "uv_thread_join")  # another thread may have joined it during the wait
        self._state = "joined"
        check(lib.co_thread_join(self._struct), "uv_thread_join")
        return True

    def detach(self) -> None:
        """Detach it: the system frees it at its end, and the interpreter does not wait for it.

        Raises `Forked`, `UVError`: EINVAL (see `join`), ENOSYS (older than 1.50). Source: uv_thread_detach.
        """
        self._needs("joinable", "uv_thread_detach")
        check(lib.co_thread_detach(self._struct), "uv_thread_detach")
        self._state = "detached"
        _running.pop(id(self), None)

    def _needs(self, state: str, syscall: str) -> None:
        if self._pid != os.getpid():
            raise Forked("the thread belongs to the parent process")
        if self._state != state:
            raise error(lib.UV_EINVAL, syscall)

    def _usable(self, syscall: str) -> Any:
        """Return C's struct of a thread that certainly exists. Raises as `_needs`."""
        if self._state != "not ours" or self != thread_self():
            self._needs("joinable", syscall)
        return self._struct

    @property
    def name(self) -> str:
        """Its name; see `thread_setname`. Raises `Forked`, `UVError`: EINVAL (see `join`), ENOSYS (older than 1.50).

        Source: uv_thread_getname.
        """
        return os.fsdecode(threads.name(self._usable("uv_thread_getname")))

    def get_affinity(self) -> set[int]:
        """Return the processors that it may run on.

        Raises `Forked`, `UVError`: EINVAL (see `join`), ENOSYS (older than 1.45), ENOTSUP.
        Source: uv_thread_getaffinity.
        """
        return threads.affinity(self._usable("uv_thread_getaffinity"))

    def set_affinity(self, cpus: Iterable[int]) -> set[int]:
        """Set the processors that it may run on; return the previous ones. Raises as `get_affinity`, and ValueError.

        Source: uv_thread_setaffinity.
        """
        wanted = {check_int("a processor", cpu, 0, 2**31 - 1) for cpu in cpus}
        return threads.set_affinity(self._usable("uv_thread_setaffinity"), wanted)

    def get_priority(self) -> int:
        """Return its priority. Raises `Forked`, `UVError`: EINVAL (see `join`), ENOSYS (older than 1.48).

        Source: uv_thread_getpriority.
        """
        return threads.priority(self._usable("uv_thread_getpriority"))

    def set_priority(self, priority: int) -> None:
        """Set its priority, -2 (lowest) to 2. Raises TypeError, ValueError, `UVError`: EPERM, also as `get_priority`.

        Source: uv_thread_setpriority.
        """
        check_int("priority", priority, -2, 2)
        check(lib.co_thread_set_priority(self._usable("uv_thread_setpriority"), priority), "uv_thread_setpriority")


@interruptible
def _wait_for(lock: Any) -> None:
    lock.acquire()
    lock.release()


def new_thread(function: Callable[..., object], *arguments: Any, stack_size: int = 0) -> Thread:
    """Return a new `Thread`. Source: uv_thread_create_ex."""
    return Thread(function, *arguments, stack_size=stack_size)


def thread_self() -> Thread:
    """Return the calling thread, made by `Thread` or not. Source: uv_thread_self."""
    thread: Thread | None = getattr(_thread_local, "thread", None)
    if thread is None or thread._pid != os.getpid():
        _thread_local.thread = thread = Thread._of_caller()
    return thread


def thread_equal(one: Thread, other: Thread) -> bool:
    """Return whether two are the same thread. Raises TypeError. Source: uv_thread_equal."""
    for each in (one, other):
        if not isinstance(each, Thread):
            raise TypeError(f"a Thread is needed, not {each!r}")
    return one == other


def thread_getcpu() -> int:
    """Return the processor that the caller runs on. Raises `UVError`: ENOSYS (older than 1.45), ENOTSUP.

    Source: uv_thread_getcpu.
    """
    return check(lib.co_thread_cpu(), "uv_thread_getcpu")


def thread_setname(name: str) -> None:
    """Set the name of the calling thread; Linux keeps 15 bytes.

    Raises TypeError, ValueError (a NUL), `UVError`: ENOSYS (older than 1.50). Source: uv_thread_setname.
    """
    if not isinstance(name, str):
        raise TypeError(f"name must be a string, not {name!r}")
    check(lib.co_thread_set_name(encoded(name, "name")), "uv_thread_setname")


thread_join = module_function(Thread.join)
thread_detach = module_function(Thread.detach)
thread_getname = module_function(Thread.name)
thread_getaffinity = module_function(Thread.get_affinity)
thread_setaffinity = module_function(Thread.set_affinity)
thread_getpriority = module_function(Thread.get_priority)
thread_setpriority = module_function(Thread.set_priority)


@joins_all_threads
def _at_exit() -> None:
    for thread in list(_running.values()):
        _wait_for(thread._done)


def _after_fork() -> None:
    _running.clear()  # they do not exist here
    _unjoined.clear()


atexit.register(_at_exit)
os.register_at_fork(after_in_child=_after_fork)
