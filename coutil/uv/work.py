"""Functions in libuv's thread pool, random bytes, and sleeping.

Rule: at its end the process refuses functions that have not started, and waits for those that run: a thread of the pool
that wanted the interpreter afterwards would hang, and the process with it.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from contextvars import copy_context
from typing import Any, ParamSpec, TypeVar

from .. import _lifecycle
from .._coroutines import waits
from .._interpreter import get_ident
from .._kernel import Hub, current_operation_in
from .._libuv import check, error, lib
from .._libuv.arguments import check_int
from .._libuv.buffers import address_of
from .._libuv.clock import FOREVER
from .._libuv.work import register_job
from ..errors import Closed, Forked
from .request import Job, NoWait, Request, RequestMaker, on_loop

__all__ = ["Work", "has_running_work", "queue_work", "random", "sleep_blocking"]

_MOST_RANDOM = 2**31 - 1

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


class _WorkJob(Job):
    """A call of a Python function in the thread pool."""

    type, syscall = "work", "uv_queue_work"

    def __init__(
        self, hub: Hub, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        self.hub = hub  # no super().__init__: a job of this class is its own call
        self.name = getattr(function, "__qualname__", None) or repr(function)
        self.call: Any = (copy_context(), function, arguments, named)
        self.result: Any = None
        self.failures: list[BaseException] = []  # at most one; the code that pops it raises or reports it
        self.discarded = False

    def __str__(self) -> str:
        return f"{self.name} in the thread pool"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        code: int = lib.co_work(loop, slot, generation, register_job(self))
        return code

    def run(self) -> None:
        """Call the function, in a thread of the pool."""
        (context, function, arguments, named), self.call = self.call, None
        try:
            self.result = context.run(function, *arguments, **named)
        except BaseException as failure:  # noqa: BLE001  # passed to the waiter
            self.failures.append(failure.with_traceback(failure.__traceback__ and failure.__traceback__.tb_next))
        finally:
            del context, function, arguments, named
            _lifecycle.shut_down_thread()  # if it has used a loop
        if self.discarded:
            self.report()

    def value(self, code: int) -> Any:
        if code < 0:
            raise error(code, self.syscall)
        if not self.failures:
            return self.result
        failure = self.failures.pop()
        try:
            raise failure
        finally:
            del failure  # its traceback refers to this frame

    def discard(self) -> None:
        self.discarded = True
        self.report()

    def report(self) -> None:
        """Report an exception that no waiter will take. In any thread, and only once."""
        try:
            failure = self.failures.pop()
        except IndexError:
            return
        failure.add_note(f"raised by {self}, for which no coroutine waits")
        hub = self.hub
        try:
            if get_ident() == hub.context.thread:
                hub.report(None, failure)
            else:
                hub.call_threadsafe(hub.report, None, failure)
        except (Closed, Forked):
            hub.context.report(None, failure)

    def __del__(self) -> None:
        """Report an exception that was not taken."""
        if hasattr(self, "failures"):  # else a signal handler has raised before it was made
            self.report()


def has_running_work(hub: Hub) -> bool:
    """Return whether the thread pool has functions of this loop."""
    return any(
        isinstance(getattr(handler, "keepalive", getattr(handler, "job", None)), _WorkJob) for handler in hub.handlers
    )


class _RandomJob(Job):
    type, syscall = "random", "uv_random"

    def __init__(self, size: int) -> None:
        self.data = bytearray(size)
        self.view = memoryview(self.data)

    def __str__(self) -> str:
        return f"{len(self.data)} random bytes"

    def start(self, loop: Any, slot: int, generation: int) -> int:
        code: int = lib.co_random(loop, slot, generation, address_of(self.view), len(self.view))
        return code

    def block(self) -> int:
        code: int = lib.co_random_block(address_of(self.view), len(self.view))
        return code

    def value(self, code: int) -> bytes:
        check(code, self.syscall)
        return bytes(self.data)


class Work(RequestMaker):
    """The methods of a loop that use the thread pool, and `sleep`."""

    def queue_work(
        self, function: Callable[Arguments, Result], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Result:
        """Call function(*args, **kwargs) in a thread of libuv's pool, and return its result. Suspends.

        The function runs in a copy of the caller's context. It may use loops that it makes, and `Async.send` and
        `call_threadsafe` of other loops, but nothing else of the caller's loop. The pool has 4 threads unless
        UV_THREADPOOL_SIZE is set; requests for files and names share its queue.
        If the caller gives the call up, the function does not start, or its result is dropped and its exception
        reported. The end of the process waits for functions that have started, and refuses others.
        Returns the result of the function, or the value of an explicit resume.
        Raises TypeError, the exception of the function, `Closed`, `ForeignThread`, `Forked`, `NotYieldable`, and
        `OperationCancelled` (the loop is being closed, or the process ends). Source: uv_queue_work.
        """
        result: Result = self._do(_work_job(self._hub, function, args, kwargs))
        return result

    def queue_work_nowait(
        self, function: Callable[Arguments, object], /, *args: Arguments.args, **kwargs: Arguments.kwargs
    ) -> Request:
        """Start `queue_work` and return a `Request`, whose `result()` waits."""
        return NoWait(self)._do(_work_job(self._hub, function, args, kwargs))

    def random(self, size: int) -> bytes:
        """Return `size` random bytes, fit for cryptography, or the value of an explicit resume. Suspends.

        Raises TypeError, ValueError, `Closed`, `ForeignThread`,
        `Forked`, `NotYieldable`, `UVError`: E2BIG (more than 2**31 - 1), EIO, ENOSYS. Source: uv_random.
        """
        data: bytes = self._do(_random_job(size))
        return data

    def random_nowait(self, size: int) -> Request:
        """Start `random` and return a `Request`, whose `result()` waits."""
        return NoWait(self)._do(_random_job(size))

    @waits
    def sleep(self, milliseconds: int) -> bool:
        """Wait until a whole number of milliseconds has passed since the call; return True. Suspends.

        Raises TypeError, ValueError, `Closed`, `ForeignThread`, `Forked`, `NotYieldable`. Source: uv_timer_start.
        """
        check_int("milliseconds", milliseconds)
        self._check()
        current_operation_in(self._hub).sleep(min(milliseconds * 1_000_000, FOREVER))
        return True


def _work_job(hub: Hub, function: Callable[..., Any], arguments: tuple[Any, ...], named: dict[str, Any]) -> _WorkJob:
    if not callable(function):
        raise TypeError(f"function must be callable, not {function!r}")
    return _WorkJob(hub, function, arguments, named)


def _random_job(size: int) -> _RandomJob:
    if check_int("size", size) > _MOST_RANDOM:
        raise error(lib.UV_E2BIG, "uv_random")
    return _RandomJob(size)


def random(size: int) -> bytes:
    """Return `size` random bytes, fit for cryptography. Blocks the thread; see `Loop.random`.

    Raises TypeError, ValueError, `UVError`: E2BIG, EIO, ENOSYS. Source: uv_random.
    """
    job = _random_job(size)
    return job.value(job.block())


def sleep_blocking(milliseconds: int) -> None:
    """Block the thread, with every coroutine in it, for a whole number of milliseconds. `Loop.sleep` suspends.

    Raises TypeError, ValueError. Source: uv_sleep.
    """
    lib.uv_sleep(check_int("milliseconds", milliseconds, 0, 2**32 - 1))


queue_work = on_loop(Work.queue_work)


@_lifecycle.joins_all_threads
@_lifecycle.interruptible
def _at_exit() -> None:
    while lib.co_work_end(100):
        pass


atexit.register(_at_exit)
