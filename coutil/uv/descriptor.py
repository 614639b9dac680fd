"""Descriptors that a handle takes over: numbers, or objects with `fileno`."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from typing import Any

from .._libuv import error, lib
from .._libuv.arguments import check_int

__all__ = ["descriptor", "transfer_descriptor"]

_LOWEST = 3  # below are the standard streams


def descriptor(source: Any) -> int:
    """Return the descriptor of an int or of an object with `fileno`. Raises TypeError, ValueError."""
    number = source
    if isinstance(source, bool) or not isinstance(source, int):
        fileno = getattr(source, "fileno", None)
        if fileno is None:
            raise TypeError(f"a descriptor, or an object with fileno(), is needed, not {source!r}")
        number = fileno()
    return check_int("descriptor", number, 0, 2**31 - 1)


def transfer_descriptor(source: Any, number: int, syscall: str, take: Callable[[int], object]) -> None:
    """Have `take` open the descriptor of an object, so that nothing else closes it.

    source: a number, or an object whose descriptor is `number`. A socket is detached. A file object cannot give up its
    descriptor: the file is flushed, `take` gets a duplicate, and then the file is closed. A file that does not close
    its descriptor (`closefd=False`, as `sys.stdin`) is left as it is. If this raises, the object is unchanged.
    Raises `UVError` with `syscall`: EEXIST (a handle owns the descriptor), EMFILE; also what `flush` and `take` raise.
    """
    if hasattr(source, "detach") and hasattr(source, "getsockname"):  # `detach` of a file has another meaning
        take(number)
        source.detach()
    elif isinstance(source, int) or not _closes(source):
        take(number)
    else:
        if lib.co_is_owned(number):
            raise error(lib.UV_EEXIST, syscall)
        if hasattr(source, "flush"):
            source.flush()
        try:
            duplicate = fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
        except OSError as failed:
            raise error(-(failed.errno or 0), syscall) from None
        try:
            take(duplicate)
        except BaseException:
            os.close(duplicate)
            raise
        source.close()


def _closes(source: Any) -> bool:
    """Return whether an object closes its descriptor, at the latest when it is finalized."""
    for inner in ("buffer", "raw"):
        source = getattr(source, inner, source)
    return callable(getattr(source, "close", None)) and bool(getattr(source, "closefd", True))
