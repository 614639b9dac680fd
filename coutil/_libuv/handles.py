"""Calls on raw handles and loops that return more than a code."""

from __future__ import annotations

from typing import Any

from . import check, ffi, lib

__all__ = ["async_new", "handle_list", "read_number", "timer_times"]


def read_number(function: Any, syscall: str, *arguments: Any, kind: str = "uint64_t *") -> int:
    """Return the number that a C function writes to its last argument. Raises `UVError` if it returns an error."""
    result = ffi.new(kind)
    check(function(*arguments, result), syscall)
    return int(result[0])


def timer_times(loop: Any, slot: int) -> tuple[int, int, int]:
    """Return libuv's code, a timer's repeat interval, and the time until it is due, in milliseconds."""
    times = ffi.new("uint64_t[2]")
    code: int = lib.co_raw_timer_times(loop, slot, times, times + 1)
    return code, times[0], times[1]


def async_new(loop: Any, slot: int, generation: int) -> tuple[int, Any]:
    """Make an async handle; return libuv's code and the pointer for `co_async_send`."""
    handle = ffi.new("co_handle **")
    code: int = lib.co_async_new(loop, slot, generation, handle)
    return code, handle[0]


def handle_list(loop: Any, active: bool) -> str:
    """Return libuv's list of the handles of a loop. Raises MemoryError."""
    text = lib.co_loop_print(loop, active)
    if not text:
        raise MemoryError("no memory for the list of handles")
    try:
        return str(ffi.string(text).decode("utf-8", "replace"))
    finally:
        lib.co_free(text)
