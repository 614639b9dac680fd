"""Threads, and the memory of the objects that synchronise them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import CData, check, error, ffi, lib

__all__ = ["affinity", "current", "name", "new_struct", "pending", "priority", "reset_struct", "set_affinity", "start"]

_starting: dict[int, Callable[[], None]] = {}  # by token, until the thread runs
_MAX_NAME = 256


def new_struct(kind: str) -> CData:
    """Return zeroed memory for a C structure: "co_mutex", …"""
    return ffi.new(f"{kind} *")


def start(thread: Any, function: Callable[[], None], stack_size: int) -> None:
    """Call a function, which must not raise, in a new thread. Raises `UVError`.

    thread: memory for C's thread; the function may use it after it has called `reset_struct` with it.
    """
    token = id(function)
    _starting[token] = function
    code = lib.co_thread_start(thread, stack_size, token)
    if code < 0:
        del _starting[token]
        raise error(code, "uv_thread_create_ex")


def pending() -> bool:
    """Return whether there are threads that have not started to run."""
    return bool(_starting)


@ffi.def_extern()  # type: ignore[untyped-decorator]  # cffi has no types
def co_thread_run(token: Any) -> None:
    """Run the function that `start` was called with; called by C, in the new thread."""
    _starting.pop(int(ffi.cast("uintptr_t", token)))()


def reset_struct(thread: CData) -> CData:
    """Store the calling thread in C's thread; return it."""
    lib.co_thread_self(thread)
    return thread


def current() -> CData:
    """Return C's thread for the calling thread."""
    return reset_struct(new_struct("co_thread"))


def name(thread: Any) -> bytes:
    """Return the name of a thread. Raises `UVError`."""
    buffer = ffi.new("char[]", _MAX_NAME)
    check(lib.co_thread_get_name(thread, buffer, _MAX_NAME), "uv_thread_getname")
    return bytes(ffi.string(buffer))


def priority(thread: Any) -> int:
    """Return the priority of a thread. Raises `UVError`."""
    value = ffi.new("int *")
    check(lib.co_thread_get_priority(thread, value), "uv_thread_getpriority")
    return int(value[0])


def _size() -> int:
    return check(lib.co_cpumask_size(), "uv_cpumask_size")


def _processors(mask: Any) -> set[int]:
    return {number for number, chosen in enumerate(ffi.buffer(mask)[:]) if chosen}


def affinity(thread: Any) -> set[int]:
    """Return the processors that a thread may run on. Raises `UVError`."""
    size = _size()
    mask = ffi.new("char[]", size)
    check(lib.co_thread_get_affinity(thread, mask, size), "uv_thread_getaffinity")
    return _processors(mask)


def set_affinity(thread: Any, processors: set[int]) -> set[int]:
    """Set the processors that a thread may run on; return the previous ones. Raises `UVError`."""
    size = _size()
    mask, previous = ffi.new("char[]", size), ffi.new("char[]", size)
    for number in processors:
        if number >= size:
            raise error(lib.UV_EINVAL, "uv_thread_setaffinity")
        mask[number] = b"\1"
    check(lib.co_thread_set_affinity(thread, mask, previous, size), "uv_thread_setaffinity")
    return _processors(previous)
