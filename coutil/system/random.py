"""Random bytes from the operating system."""

from __future__ import annotations

from typing import TypeVar

from .._coroutines import waits
from .._kernel import current_operation
from .._libuv import check, lib
from .._libuv.arguments import check_bool
from .._libuv.buffers import address_of, writable

__all__ = ["random"]

Buffer = TypeVar("Buffer")


@waits
def random(buffer: Buffer, start: int = 0, stop: int | None = None, *, blocking: bool = False) -> Buffer:
    """Fill buffer[start:stop] with random bytes fit for cryptography.

    buffer: writable and contiguous (bytearray, memoryview, array, …); it cannot be resized until the call is over, not
    even if an explicit resume ended the wait before that.
    blocking: stop the whole thread instead of the calling coroutine.
    Returns `buffer`, or the value of an explicit resume. Suspends unless blocking.
    Raises TypeError, ValueError (an empty slice), `NotYieldable`, or `UVError`: E2BIG (more than 2**31 - 1 bytes),
    EIO, … Source: uv_random.
    """
    check_bool(blocking=blocking)
    view = writable(buffer, start, stop)
    address = address_of(view)
    if blocking:
        check(lib.co_random_block(address, len(view)), "uv_random")
        return buffer
    current = current_operation()
    pointer = current.hub.loop.pointer

    def begin(slot: int, generation: int) -> int:
        code: int = lib.co_random(pointer, slot, generation, address, len(view))
        return code

    current.request(begin, "random", "uv_random", view)
    return buffer
