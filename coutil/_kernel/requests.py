"""What sockets, pipes and terminals do with their handle, whoever wraps it: calls, requests, and the data of streams.

Rule 1: a request that has taken effect in part already (some of its data are sent) is started at once, whatever else
its coroutine has under way; any other waits for its turn.
Rule 2: what a request uses is kept until libuv's callback, also if the wait for it is given up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from .._coroutines.books import leave_out_own_frames
from .._libuv import lib
from .._libuv.ends import texts
from ..errors import UVError
from .handle import NOWHERE, Handle
from .operation import Failed, Operation, Start, begun, lucky, operation_in

__all__ = [
    "LARGEST",
    "SHORTAGE",
    "SIZE",
    "call",
    "connection",
    "naming",
    "queued",
    "request",
    "run",
    "take",
    "write_rest",
]

SIZE = 65536  # bytes that one read brings at most unless told otherwise
LARGEST: int = lib.CO_ARENA // 2  # bytes that one read may ask for; more is cut to it
SHORTAGE = {lib.UV_EMFILE, lib.UV_ENFILE, lib.UV_ENOBUFS, lib.UV_ENOMEM}  # why a listener rests for a while
_MORE: int = lib.CO_MORE
_listener_start, _listener_take = lib.co_listener_start, lib.co_listener_take


def call(handle: Handle, function: Any, syscall: str, *arguments: Any) -> int:
    """Call C with loop, slot and `arguments`; return what it does. Raises what a negative code means."""
    code: int = function(handle.pointer, handle.slot, *arguments)
    if code < 0:
        raise handle.failed(code, syscall)
    return code


def request(
    handle: Handle,
    what: str,
    function: Any,
    syscall: str,
    *arguments: Any,
    pins: Any = None,
    failed: Failed | None = None,
) -> None:
    """Run a request on a handle to its end. Suspends.

    what: for reports. function: called with loop, handle, request, generation and `arguments`. pins: kept for libuv,
    the arguments if it is None. failed: see `Operation.request`. Raises `Closed`, `ForeignThread`, `Forked`,
    `NotYieldable`, or the `UVError` that it fails with.
    """
    handle.usable()

    def start(slot: int, generation: int) -> int:
        code: int = function(handle.pointer, handle.slot, slot, generation, *arguments)
        return code

    run(operation_in(handle.hub), handle, what, start, syscall, pins=pins or arguments, failed=failed)


def run(
    own: Operation,
    handle: Handle,
    what: str,
    start: Start,
    syscall: str,
    *,
    pins: Any,
    failed: Failed | None = None,
    partly: bool = False,
) -> None:
    """Run a request on a handle; see `Operation.request`. Errors name the addresses of both ends."""
    try:
        own.request(start, Purpose(handle, what), syscall, pins, failed or handle.failed, partly)
    except UVError as failure:
        if failure.syscall == syscall:
            handle.named(failure)
        leave_out_own_frames(failure)
        raise


class Purpose:
    """The reason for which a coroutine waits in a request, for reports: made text when it is shown."""

    __slots__ = ("handle", "what")

    def __init__(self, handle: Handle, what: str) -> None:
        self.handle, self.what = handle, what

    def __str__(self) -> str:
        return f"{self.handle} {self.what}"


@contextmanager
def naming(place: object, syscall: str, sender: Handle | None = None) -> Iterator[None]:
    """Have what `syscall` fails with in the block name the address that it was about, unless that is None.

    sender: its own address is named as well, if the address is that of a peer.
    """
    own = None if sender is None or place is None else texts(sender.addresses())[0]
    try:
        yield
    except UVError as error:
        if error.syscall == syscall and place is not None:
            error.filename, error.filename2 = (str(place), None) if own is None else (own, str(place))
        raise


# -- streams and listeners --------------------------------------------------------------------------------------------


def write_rest(handle: Handle, what: str, view: memoryview, at: Any, sent: int) -> None:
    """Write what `co_try_write` left of a view at the address `at`, of which it said `sent`; see `request`."""
    start = queued(handle, view, at, sent)
    own = begun(handle.hub) if sent > 0 else operation_in(handle.hub)
    run(own, handle, what, start, "uv_write", pins=view, partly=sent > 0)


def queued(handle: Handle, view: memoryview, at: Any, sent: int) -> Callable[[int, int], int]:
    """Return what starts the request of `write_rest`. Raises if `sent` is an error."""
    if sent < 0 and sent != lib.UV_EAGAIN:
        raise handle.failed(sent, "uv_write")
    skip = max(sent, 0)

    def start(slot: int, generation: int) -> int:
        code: int = lib.co_write(handle.pointer, handle.slot, slot, generation, at + skip, len(view) - skip)
        return code

    return start


def take(handle: Handle, size: int) -> Any:
    """Return what came while nobody waited: libuv's code, or at most `size` bytes; more of them are kept.

    Raises `ForeignThread`, `Forked`.
    """
    stash = handle.take_stash()
    if stash.__class__ is int:
        return stash
    if len(stash) > size:
        handle.stash = stash[size:]
    return stash[:size]


def connection(handle: Handle, syscall: str) -> None:
    """Wait until C has accepted a connection for a listener. Suspends.

    One that is likely to be there is tried first. Raises `BusyError`, `Closed`, `ForeignThread`, `Forked`,
    `NotYieldable`, or the `UVError` of `syscall`, unless it is of one connection or passes with a shortage.
    """
    while True:
        slot = handle.slot
        if slot == NOWHERE or (handle.stash is None and handle.want[slot] != _MORE):
            handle.wait(1, _listener_start, syscall)
            if handle.result < 0:
                raise handle.failed(handle.result, syscall)
        elif handle.waiter is not None:
            raise handle.unusable()
        else:
            lucky(handle.hub)
            handle.stash = None
        code = _listener_take(handle.pointer, handle.slot)
        if code >= 0:
            return
        if code != lib.UV_EAGAIN and code not in SHORTAGE:
            raise handle.failed(code, syscall)
