"""Calls and requests on handles of sockets, pipes and terminals, and the data of streams; used by all public classes.

Rule 1: a request that has already taken effect in part (some of its data are sent) is started at once, even if its
coroutine has another request under way; any other request waits for the end of that.
Rule 2: memory that a request uses is kept until libuv's callback, also if the wait for it is cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._coroutines.books import strip_kernel_frames
from .._libuv import lib
from .._libuv.endpoints import endpoint_texts
from ..errors import UVError
from .handle import INVALID_SLOT, KernelHandle
from .operation import (
    ErrorFactory,
    Operation,
    StartFunction,
    continuation_operation,
    current_operation_in,
    spend_budget,
)

__all__ = [
    "DEFAULT_READ_SIZE",
    "MAX_READ",
    "RESOURCE_ERRORS",
    "add_address_to_error",
    "handle_call",
    "handle_request",
    "pop_pending_data",
    "run_request",
    "wait_for_connection",
    "write_remaining",
    "write_starter",
]

DEFAULT_READ_SIZE = 65536  # bytes that one read brings at most unless set otherwise
MAX_READ: int = lib.CO_ARENA // 2  # bytes that one read may ask for; larger sizes are reduced to it
RESOURCE_ERRORS = {lib.UV_EMFILE, lib.UV_ENFILE, lib.UV_ENOBUFS, lib.UV_ENOMEM}  # a listener retries later
_MORE: int = lib.CO_MORE
_listener_start, _take_connection = lib.co_listener_start, lib.co_listener_take


def handle_call(handle: KernelHandle, function: Any, syscall: str, *arguments: Any) -> int:
    """Call C with loop, slot and `arguments`; return its code. Raises the `UVError` of a negative one, or `Closed`."""
    code: int = function(handle.pointer, handle.slot, *arguments)
    if code < 0:
        raise handle.call_error(code, syscall)
    return code


def handle_request(
    handle: KernelHandle,
    what: str,
    function: Any,
    syscall: str,
    *arguments: Any,
    keepalive: Any = None,
    make_error: ErrorFactory | None = None,
) -> None:
    """Run a request on a handle to its end. Suspends.

    what: named by reports. function: called with loop, handle, request, generation and `arguments`. keepalive: kept for
    libuv; None: the arguments. make_error: see `Operation.request`. Raises `Closed`, `ForeignThread`, `Forked`,
    `NotYieldable`, or the `UVError` of the request.
    """
    handle.check_usable()

    def start(slot: int, generation: int) -> int:
        code: int = function(handle.pointer, handle.slot, slot, generation, *arguments)
        return code

    run_request(
        current_operation_in(handle.hub),
        handle,
        what,
        start,
        syscall,
        keepalive=keepalive or arguments,
        make_error=make_error,
    )


def run_request(
    operation: Operation,
    handle: KernelHandle,
    what: str,
    start: StartFunction,
    syscall: str,
    *,
    keepalive: Any,
    make_error: ErrorFactory | None = None,
    already_started: bool = False,
) -> None:
    """Run a request on a handle; see `Operation.request`. Errors name the addresses of both ends."""
    try:
        operation.request(
            start, WaitReason(handle, what), syscall, keepalive, make_error or handle.call_error, already_started
        )
    except UVError as failure:
        if failure.syscall == syscall:
            handle._add_addresses(failure)
        strip_kernel_frames(failure)
        raise


class WaitReason:
    """The reason of a wait for a request; its text is made when a report shows it."""

    __slots__ = ("handle", "what")

    def __init__(self, handle: KernelHandle, what: str) -> None:
        self.handle, self.what = handle, what

    def __str__(self) -> str:
        return f"{self.handle} {self.what}"


@contextmanager
def add_address_to_error(place: object, syscall: str, sender: KernelHandle | None = None) -> Iterator[None]:
    """Name `place`, unless it is None, in an error of `syscall` that leaves the block.

    sender: a handle whose own address is named, too, if `place` is that of a peer.
    """
    own = None if sender is None or place is None else endpoint_texts(sender.addresses())[0]
    try:
        yield
    except UVError as error:
        if error.syscall == syscall and place is not None:
            error.filename, error.filename2 = (str(place), None) if own is None else (own, str(place))
        raise


# -- streams and listeners --------------------------------------------------------------------------------------------


def write_remaining(handle: KernelHandle, what: str, view: memoryview, at: Any, sent: int) -> None:
    """Write the rest of a view at the address `at`, of which `co_try_write` returned `sent`. Suspends."""
    start = write_starter(handle, view, at, sent)
    operation = continuation_operation(handle.hub) if sent > 0 else current_operation_in(handle.hub)
    run_request(operation, handle, what, start, "uv_write", keepalive=view, already_started=sent > 0)


def write_starter(handle: KernelHandle, view: memoryview, at: Any, sent: int) -> Callable[[int, int], int]:
    """Return the function that starts the request of `write_remaining`. Raises the `UVError` if `sent` is one."""
    if sent < 0 and sent != lib.UV_EAGAIN:
        raise handle.call_error(sent, "uv_write")
    skip = max(sent, 0)

    def start(slot: int, generation: int) -> int:
        code: int = lib.co_write(handle.pointer, handle.slot, slot, generation, at + skip, len(view) - skip)
        return code

    return start


def pop_pending_data(handle: KernelHandle, size: int) -> Any:
    """Return the item that came without a waiter: libuv's code, or at most `size` bytes; the rest is kept.

    Raises `ForeignThread`, `Forked`.
    """
    item = handle.pop_pending()
    if item.__class__ is int:
        return item
    if len(item) > size:
        handle.pending_data = item[size:]
    return item[:size]


def wait_for_connection(handle: KernelHandle, syscall: str) -> None:
    """Wait until C has accepted a connection for a listener. Suspends.

    Tries to accept first if a connection is likely to be there. Raises `BusyError`, `Closed`, `ForeignThread`,
    `Forked`, `NotYieldable`, or the `UVError` of `syscall`; not one that concerns only one connection, or a shortage.
    """
    while True:
        # Wait, unless a connection is likely to be there
        slot = handle.slot
        if slot == INVALID_SLOT or (handle.pending_data is None and handle.demand[slot] != _MORE):
            handle.wait(1, _listener_start, syscall)
            if handle.result < 0:
                raise handle.call_error(handle.result, syscall)
        elif handle.waiter is not None:
            raise handle.use_error()
        else:
            spend_budget(handle.hub)
            handle.pending_data = None
        # Accept
        code = _take_connection(handle.pointer, handle.slot)
        if code >= 0:
            return
        if code != lib.UV_EAGAIN and code not in RESOURCE_ERRORS:
            raise handle.call_error(code, syscall)
