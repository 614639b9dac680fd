"""Bytes-like arguments: checks, slices, and addresses that stay valid."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import CData, ffi

__all__ = ["Bytes", "address_of", "integers", "read_into_buffer", "readable", "writable"]

Bytes = bytes | bytearray | memoryview


def _check_position(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} must be an int, not {value!r}")


def _view(name: str, buffer: Any, start: Any, stop: Any) -> memoryview:
    """Return buffer[start:stop] as a flat view of bytes."""
    _check_position("start", start)
    _check_position("stop", stop)
    try:
        view = memoryview(buffer)
    except TypeError:
        raise TypeError(f"{name} must be a bytes-like object, not {type(buffer).__name__}") from None
    if not view.contiguous:
        raise TypeError(f"{name} must be contiguous")
    return view.cast("B")[start:stop]


def readable(data: Any, start: Any, stop: Any) -> tuple[memoryview, Any]:
    """Return data[start:stop] as a view, and the address of its bytes, which stay in place while the view lives.

    Raises TypeError: data are not bytes-like or not contiguous, or a position is not an integer.
    """
    view = _view("data", data, start, stop)
    return view, address_of(view)


def address_of(view: memoryview) -> CData:
    """Return the address of the bytes of a view, which stay in place while the view lives."""
    # The cffi buffer is not kept: CPython crashes when it collects one in a cycle with its view.
    with ffi.from_buffer(view) as buffer:
        return ffi.cast("char *", buffer)


def writable(buffer: Any, start: Any, stop: Any) -> memoryview:
    """Return buffer[start:stop] as a writable view. Raises TypeError, or ValueError if it is empty."""
    view = _view("buffer", buffer, start, stop)
    if view.readonly:
        raise TypeError(f"buffer must be writable, not {type(buffer).__name__}")
    if not len(view):
        raise ValueError("buffer[start:stop] is empty")
    return view


def read_into_buffer(fill: Callable[[Any, int], int], size: int) -> bytes | int:
    """Return the bytes that fill(address, size) writes into memory, or the negative code that it returns.

    fill: returns the number of bytes that it wrote, or a negative code of libuv.
    """
    memory = ffi.new("char[]", size)
    count = fill(memory, size)
    return ffi.buffer(memory, count)[:] if count >= 0 else count


def integers(count: int) -> CData:
    """Return the address of `count` ints, which C fills."""
    return ffi.new("int[]", count)
