"""Requests: calls that libuv works on while other coroutines run.

Rule 1: a call suspends the coroutine that makes it; `…_nowait` returns a `Request` instead; without a loop the call
blocks the thread. One `Job` describes all three.
Rule 2: a job keeps its buffers until libuv's callback, and releases a result that no coroutine takes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, wraps
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

from .._coroutines import FREED, Coroutine, waits
from .._kernel import NULL_HANDLER, Completion, CompletionHandler, Hub, current_operation_in
from .._libuv import check, error, lib
from .._lifecycle import interruptible
from ..errors import Closed, UVError
from .module_function import module_function

__all__ = ["Job", "Request", "RequestMaker", "begin", "cancel", "nowait", "on_loop", "req_get_type"]

Function = TypeVar("Function", bound=Callable[..., Any])
Arguments = ParamSpec("Arguments")
Self = TypeVar("Self")


class Job:
    """The work of a request: its start, and the conversion of its result."""

    type: ClassVar[str] = "unknown"  # libuv's name of the request's type
    pooled: ClassVar[bool] = True  # done by the thread pool: it can be cancelled until a thread starts it
    completed_inline: bool = False  # already done, without libuv

    def __init__(self, call: Any) -> None:
        """call: an object with `start` and `block` as here, `syscall`, and a `str` for reports."""
        self.call = call
        self.syscall: str = call.syscall

    def __str__(self) -> str:
        """The call, for reports."""
        return str(self.call)

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Pass it to libuv; return libuv's code."""
        code: int = self.call.start(loop, slot, generation)
        return code

    def block(self) -> int:
        """Do it now; return libuv's code."""
        code: int = self.call.block()
        return code

    def must_retry(self) -> bool:
        """Return whether it has to be repeated, because a signal has interrupted it."""
        return False

    def value(self, code: int) -> Any:
        """Return the result; called once. code: libuv's. Raises the error for a negative code."""
        raise NotImplementedError

    def code(self, result: int) -> int:
        """Return the code of the call. result: the code that the callback got."""
        return result

    def release_buffers(self) -> None:
        """Release the memory that libuv has used: it no longer needs that."""

    def discard(self) -> None:
        """Discard the result: no coroutine will take it."""


# -- three ways to do it ----------------------------------------------------------------------------------------------


@waits
def wait(hub: Hub, job: Job) -> Any:
    """Run a job and return its value, or that of an explicit resume. Suspends."""
    operation = current_operation_in(hub)
    start = partial(job.start, hub.loop.pointer)
    while True:
        try:
            operation.request(start, str(job), job.syscall, job)
        except UVError as failure:
            if operation.state is not FREED or failure.code != operation.result:  # it has not ended, or has not started
                job.discard()
                raise
        except BaseException:
            job.discard()
            raise
        if not job.must_retry():
            return job.value(operation.result)


def begin(hub: Hub, job: Job) -> Request:
    """Start a job and return its request. Raises `UVError` if it cannot start."""
    request = Request(_PendingRequest(hub, job))
    request._pending.begin()
    return request


@interruptible
def block(job: Job) -> Any:
    """Run a job now and return its value. Blocks the thread."""
    code = job.block()
    while job.must_retry():
        code = job.block()
    return job.value(code)


class RequestMaker:
    """Base of objects that make requests: `_do` runs a job and suspends the caller."""

    _hub: Hub

    def _check(self) -> Any:
        raise NotImplementedError

    def _do(self, job: Job) -> Any:
        self._check()
        return wait(self._hub, job)


class NoWait:
    """A stand-in for a loop whose `_do` starts a job and does not wait."""

    __slots__ = ("_loop",)

    def __init__(self, loop: RequestMaker) -> None:
        self._loop = loop

    def _do(self, job: Job) -> Request:
        self._loop._check()
        return begin(self._loop._hub, job)


class Blocking:
    """A stand-in for a loop whose `_do` blocks the thread."""

    __slots__ = ()
    _loop = None

    def _do(self, job: Job) -> Any:
        return block(job)


# -- requests ---------------------------------------------------------------------------------------------------------


class _PendingRequest(CompletionHandler):
    """A request in progress that no coroutine owns. The slot table keeps it until libuv's callback."""

    __slots__ = ("code", "completion", "done", "failure", "generation", "hub", "job", "slot", "value")

    def __init__(self, hub: Hub, job: Job) -> None:
        """See `begin`."""
        self.hub, self.job = hub, job
        self.code = 0
        self.done: Any = None  # None until the end; then a function that returns the value, or raises
        self.completion = Completion(hub)
        self.value: Any = None
        self.failure: BaseException | None = None
        self.slot = self.generation = -1

    def begin(self) -> None:
        """Start the job. Raises the error if it cannot start."""
        if self.job.completed_inline:
            self._end(0)
            return
        code = self._begin()
        if code < 0:
            self.hub.check()
            self.job.value(code)

    def _begin(self) -> int:
        hub = self.hub
        self.slot = hub.allocate_slot(self)
        self.generation = hub.generation
        try:
            code = self.job.start(hub.loop.pointer, self.slot, self.generation)
            if code < 0:
                self._undo_start()
        except BaseException:
            self._undo_start()
            raise
        return code

    def _undo_start(self) -> None:
        """Undo a start that failed, or that a signal handler interrupted, unless libuv has started. May be repeated."""
        if self.generation >= 0 and lib.co_under_way(self.hub.loop.pointer, self.slot, self.generation) <= 0:
            self._free_slot()

    def _free_slot(self) -> None:
        if self.generation >= 0:  # from here on nothing looks for signals
            self.generation = -1
            self.hub.handlers[self.slot] = NULL_HANDLER
            self.hub.free_slots += (self.slot,)

    def __str__(self) -> str:
        """The call, for reports."""
        return str(self.job)

    def complete(self, generation: int, result: int, offset: int) -> None:
        """Take the record of the callback."""
        if generation != self.generation:
            return
        if not result and self.job.must_retry():
            try:
                self._free_slot()
                result = self._begin()
            except BaseException:  # raised by a signal handler
                if self.generation < 0:
                    self._end(lib.UV_ECANCELED)
                raise
            if result >= 0:
                return
        self._end(result)
        self._free_slot()

    def _end(self, result: int) -> None:
        code, done = self.job.code(result), partial(self.job.value, result)
        self.code, self.done = code, done
        self.completion.wake_all()
        self.job.release_buffers()

    @property
    def waiter(self) -> Coroutine | None:
        """One of the coroutines that wait for it."""
        return self.completion.waiter

    def loop_closed(self) -> None:
        """Forget libuv: the loop is gone. No waiter is resumed."""
        self.generation = -1
        self.done = self.done or self._closed
        self.completion.clear()

    def _closed(self) -> Any:
        raise Closed(f"the event loop was closed during {self.job}")

    def result(self) -> Any:
        """Return the value or raise the error, the same each time."""
        done, self.done = self.done, self._outcome
        if done != self._outcome:
            try:
                self.value = done()
            except BaseException as failure:  # noqa: BLE001  # kept for all callers
                self.failure = failure
        return self._outcome()

    def _outcome(self) -> Any:
        if self.failure is None:
            return self.value
        try:
            raise self.failure
        finally:
            self = None  # type: ignore[assignment]  # noqa: PLW0642  # the traceback refers to this frame


class Request:
    """A call in progress, made by a method `…_nowait`. It may be forgotten: a result that is not taken is released.

    While it is in progress it keeps its loop alive.
    """

    __slots__ = ("__weakref__", "_pending")

    def __init__(self, flight: Any) -> None:
        """Made by the methods `…_nowait`."""
        self._pending: _PendingRequest = flight

    def __del__(self) -> None:
        """Discard the result: no reference to the request is left."""
        if hasattr(self, "_pending"):  # else a signal handler has raised before it was made
            self._pending.job.discard()

    def __repr__(self) -> str:
        """The call, and its state."""
        code = self._pending.code
        state = "in progress" if not self.done else "done" if code >= 0 else f"failed: {_name(code)}"
        return f"<Request {self._pending.job} {state}>"

    @property
    def type(self) -> str:
        """Libuv's name of its type: "fs", "getaddrinfo", "work", "write", … Source: uv_req_get_type."""
        return self._pending.job.type

    @property
    def done(self) -> bool:
        """Whether it has ended, with a result or an error."""
        return self._pending.done is not None

    def cancel(self) -> None:
        """Cancel it if the thread pool has not started it; its result then raises `OperationCancelled` (ECANCELED).

        `fs.copyfile` and `fs.sendfile` also stop after their start.
        Raises `Closed`, `ForeignThread`, `Forked`, `UVError`: EBUSY (it runs, has ended, or closes a descriptor, which
        must be completed), EINVAL (its type cannot be cancelled: close the stream). Source: uv_cancel.
        """
        flight = self._pending
        flight.hub.check()
        if not flight.job.pooled:
            raise error(lib.UV_EINVAL, "uv_cancel")
        if self.done:
            raise error(lib.UV_EBUSY, "uv_cancel")
        check(lib.co_cancel(flight.hub.loop.pointer, flight.slot, flight.generation), "uv_cancel")

    @waits
    def result(self) -> Any:
        """Return the result of the call, the same each time. Suspends until the call has ended.

        Any number of coroutines may wait. A deadline or an explicit resume ends the wait, not the request.
        Raises the errors of the call, `ForeignThread`, `Forked`, `NotYieldable`, and `Closed` (the loop was closed).
        """
        flight = self._pending
        if flight.done is None:
            flight.hub.check()
            flight.completion.wait(flight)
        return flight.result()


def _name(code: int) -> str:
    name: str = error(code).name  # type: ignore[attr-defined]  # it is a UVError
    return name


# -- decorators that make the methods ---------------------------------------------------------------------------------


def nowait(method: Callable[Concatenate[Self, Arguments], Any]) -> Callable[Concatenate[Self, Arguments], Request]:
    """Return the method that starts the call of `method` and does not wait."""

    @wraps(method)
    def call(self: Any, *arguments: Any, **named: Any) -> Any:
        return method(self._nowait(), *arguments, **named)

    name = method.__name__
    call.__name__, call.__qualname__ = f"{name}_nowait", f"{method.__qualname__}_nowait"
    call.__doc__ = f"Start `{name}` and return a `Request`, whose `result()` waits."
    return cast("Callable[Concatenate[Self, Arguments], Request]", call)


def on_loop(method: Function, of: Callable[[Any], Any] | None = None, blocking: bool = False) -> Function:
    """Return the flat function of a method of a loop, or of the object of(loop).

    blocking: without a loop (None) the function blocks the thread. It raises TypeError for any other first argument.
    """
    name = method.__name__

    @wraps(method)
    def call(loop: Any, *arguments: Any, **named: Any) -> Any:
        if loop is None and blocking:
            return cast("Any", method)(Blocking(), *arguments, **named)
        if not isinstance(loop, RequestMaker):
            raise TypeError(f"the first argument must be a Loop{' or None' * blocking}, not {loop!r}")
        return getattr(loop if of is None else of(loop), name)(*arguments, **named)

    call.__name__ = call.__qualname__ = name
    return cast("Function", call)


cancel = module_function(Request.cancel)
req_get_type = module_function(Request.type)
