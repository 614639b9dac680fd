"""How calls of the file system run, and what their arguments may be."""

from __future__ import annotations

import math
import time
from functools import partial

from ..._coroutines.outcomes import waits
from ..._coroutines.states import CLOSE_REQUEST
from ..._host import interruptible
from ..._kernel.operation import Operation, operation
from ..._libuv import lib
from ..._libuv.arguments import flag, whole
from ..._libuv.files import AGAIN, Call, Path, like
from ...errors import UVError

__all__ = ["Path", "bits", "done", "filebits", "flag", "identity", "like", "moment", "run", "whole"]

_NOTHING: int = lib.UV_EAGAIN


class filebits:  # noqa: N801  # a namespace of constants, spelled like a module
    """The bits of a file's mode, as the system numbers them: ints to combine, and to compare with.

    `type` masks those that tell what a file is: `socket`, `link`, `file`, `block`, `directory`, `character` or `pipe`.
    """

    type, socket, link, file = 0o170000, 0o140000, 0o120000, 0o100000
    block, directory, character, pipe = 0o060000, 0o040000, 0o020000, 0o010000
    setuid, setgid, sticky = 0o4000, 0o2000, 0o1000
    ruser, wuser, xuser = 0o400, 0o200, 0o100
    rgroup, wgroup, xgroup = 0o40, 0o20, 0o10
    rother, wother, xother = 0o4, 0o2, 0o1


_LETTERS = dict(zip("UGSrwxRWX421", (1 << shift for shift in range(11, -1, -1)), strict=True))


# -- arguments ---------------------------------------------------------------------------------------------------------


def bits(perm: int | str) -> int:
    """Return permissions as bits. Raises TypeError or ValueError."""
    if isinstance(perm, str):
        for letter in perm:
            if letter not in _LETTERS:
                raise ValueError(f"perm has an invalid character: {letter!r} in {perm!r}")
        return sum({_LETTERS[letter] for letter in perm})
    if isinstance(perm, bool) or not isinstance(perm, int):
        raise TypeError(f"perm must be an int or a str, not {perm!r}")
    if not 0 <= perm <= 0o7777:
        raise ValueError(f"perm is out of range (0 to 0o7777): {perm}")
    return perm


def identity(name: str, value: int) -> int:
    """Return the number of a user or group, -1 for none. Raises TypeError or ValueError."""
    return whole(name, value, -1, 2**32 - 2)


def moment(name: str, value: float | None) -> float:
    """Return a time in seconds since 1970, less than 0 before; now for None. Raises TypeError or ValueError."""
    if value is None:
        return time.time()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number or None, not {value!r}")
    if not math.isfinite(value) or abs(value) >= 2**63:
        raise ValueError(f"{name} must be a time in seconds since 1970, not {value!r}")
    return float(value)


# -- calls -------------------------------------------------------------------------------------------------------------

interruptible(Call.block)  # a signal ends what it calls (EINTR), and has to be heard before that begins anew


def run(call: Call, blocking: bool, own: Operation | None = None) -> None:
    """Run a call to its end. Suspends unless blocking.

    Raises TypeError, `NotYieldable`, or what an error means.
    """
    flag(blocking=blocking)
    if blocking:
        _block(call)
    else:
        own = own or operation()
        try:
            (_request if call.awaits is None else _when_ready)(call, own)
        finally:
            if not call.started:
                call.end()
    call.end()
    call.result()


def _when_ready(call: Call, own: Operation) -> None:
    """Run a call when a thread of the pool need not wait."""
    while True:
        try:
            own.request(partial(call.await_ready, own.hub.loop.pointer), str(call), "epoll_ctl", call)
        except UVError:
            if own.state is CLOSE_REQUEST:  # somebody has thrown it
                raise
            call.awaits = None  # nobody can wait for it, or there is no descriptor left for that
        call.started = False
        _request(call, own)
        if call.code != _NOTHING or call.awaits is None:
            return


def _request(call: Call, own: Operation) -> None:
    begin = partial(call.start, own.hub.loop.pointer)
    own.request(begin, str(call), call.syscall, call)
    while call.code == AGAIN:
        own.request(begin, str(call), call.syscall, call)


@interruptible
def _block(call: Call) -> None:
    call.block()
    while call.code == AGAIN:
        call.block()


@waits
def done(call: Call, blocking: bool, own: Operation | None = None) -> bool:
    """Run a call that brings nothing; return True, or what an explicit resume brought."""
    run(call, blocking, own)
    return True
