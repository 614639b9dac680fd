"""Calls of the file system: how they run, and the checks of their arguments.

A call takes one of three ways. A blocking call runs in the calling thread. Usually the thread pool runs it, and the
coroutine waits for the pool. A read or write on a pipe or device, which could occupy a thread of the pool without end,
first waits until the descriptor is ready, and goes to the pool then.
"""

from __future__ import annotations

import time
from functools import partial

from ..._coroutines import CLOSE_REQUEST, waits
from ..._kernel import Operation, current_operation
from ..._libuv import lib
from ..._libuv.arguments import check_any_int, check_bool, check_int, check_number
from ..._libuv.files import INTERRUPTED, FsCall, Path, same_type_as
from ..._lifecycle import interruptible
from ...errors import UVError

__all__ = [
    "Path",
    "check_bool",
    "check_int",
    "filebits",
    "mode_bits",
    "owner_id",
    "run_call",
    "run_simple",
    "same_type_as",
    "timestamp",
]

_WOULD_BLOCK: int = lib.UV_EAGAIN


class filebits:  # noqa: N801  # a namespace of constants, spelled like a module
    """The bits of a file's mode, as the system numbers them: ints to combine, and to compare with.

    `type` masks the bits of the type: `socket`, `link`, `file`, `block`, `directory`, `character` or `pipe`.
    """

    type, socket, link, file = 0o170000, 0o140000, 0o120000, 0o100000
    block, directory, character, pipe = 0o060000, 0o040000, 0o020000, 0o010000
    setuid, setgid, sticky = 0o4000, 0o2000, 0o1000
    ruser, wuser, xuser = 0o400, 0o200, 0o100
    rgroup, wgroup, xgroup = 0o40, 0o20, 0o10
    rother, wother, xother = 0o4, 0o2, 0o1


_LETTERS = dict(zip("UGSrwxRWX421", (1 << shift for shift in range(11, -1, -1)), strict=True))


# -- arguments ---------------------------------------------------------------------------------------------------------


def mode_bits(perm: int | str) -> int:
    """Return permissions as bits. Raises TypeError or ValueError."""
    if isinstance(perm, str):
        for letter in perm:
            if letter not in _LETTERS:
                raise ValueError(f"perm has an invalid character: {letter!r} in {perm!r}")
        return sum({_LETTERS[letter] for letter in perm})
    if not 0 <= check_any_int("perm", perm, "an int or a str") <= 0o7777:
        raise ValueError(f"perm is out of range (0 to 0o7777): {perm}")
    return perm


def owner_id(name: str, value: int) -> int:
    """Return the number of a user or group; -1 means no change. Raises TypeError or ValueError."""
    return check_int(name, value, -1, 2**32 - 2)


def timestamp(name: str, value: float | None) -> float:
    """Return a time in seconds since 1970, negative before; now for None. Raises TypeError or ValueError."""
    if value is None:
        return time.time()
    if abs(check_number(name, value, "a number or None")) >= 2**63:
        raise ValueError(f"{name} must be a time in seconds since 1970, not {value!r}")
    return float(value)


# -- calls -------------------------------------------------------------------------------------------------------------

interruptible(FsCall.block)  # a signal ends the system call (EINTR); its handler has to run before the call is repeated


def run_call(call: FsCall, blocking: bool, current: Operation | None = None) -> None:
    """Run a call to its end. Suspends unless blocking.

    Raises TypeError, `NotYieldable`, or the `UVError` of the call.
    """
    check_bool(blocking=blocking)
    if blocking:
        _block(call)
    else:
        current = current or current_operation()
        if current.state is CLOSE_REQUEST and call.shares_with(current.keepalive):
            # Data that the cancelled call still writes come first; entries that it still reads are the next ones
            current.wait_until_free(call, detach=False)
        try:
            (_request if call.awaits_writable is None else _request_when_ready)(call, current)
        finally:
            if not call.started:
                call.end()
    call.end()
    call.result()


def _request_when_ready(call: FsCall, operation: Operation) -> None:
    """Run a call once the descriptor is ready, so that a thread of the pool need not wait."""
    while True:
        try:
            operation.request(partial(call.await_ready, operation.hub.loop.pointer), str(call), "epoll_ctl", call)
        except UVError:
            if operation.state is CLOSE_REQUEST:  # it was thrown into the coroutine from outside
                raise
            call.awaits_writable = None  # the descriptor cannot be polled, or the process is out of descriptors
        call.started = False
        _request(call, operation)
        if call.code != _WOULD_BLOCK or call.awaits_writable is None:
            return


def _request(call: FsCall, operation: Operation) -> None:
    begin = partial(call.start, operation.hub.loop.pointer)
    operation.request(begin, str(call), call.syscall, call)
    while call.code == INTERRUPTED:
        operation.request(begin, str(call), call.syscall, call)


@interruptible
def _block(call: FsCall) -> None:
    call.block()
    while call.code == INTERRUPTED:
        call.block()


@waits
def run_simple(call: FsCall, blocking: bool, operation: Operation | None = None) -> bool:
    """Run a call that has no result; return True, or the value of an explicit resume."""
    run_call(call, blocking, operation)
    return True
