"""Bytes-like arguments: checked, sliced, and held in place."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from . import ffi

__all__ = ["Bytes", "address_of", "filled", "integers", "readable", "writable"]

Bytes = bytes | bytearray | memoryview


def _position(name: str, value: Any) -> None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int)):
        raise TypeError(f"{name} must be an int, not {value!r}")


def _view(name: str, buffer: Any, start: Any, stop: Any) -> memoryview:
    """Return buffer[start:stop] as a flat view of bytes."""
    _position("start", start)
    _position("stop", stop)
    try:
        view = memoryview(buffer)
    except TypeError:
        raise TypeError(f"{name} must be a bytes-like object, not {type(buffer).__name__}") from None
    if not view.contiguous:
        raise TypeError(f"{name} must be contiguous")
    return view.cast("B")[start:stop]


def readable(data: Any, start: Any, stop: Any) -> tuple[memoryview, Any]:
    """Return data[start:stop] as a view, and the address of its bytes, which stay in place while the view lives.

    Raises TypeError for what is not bytes-like, contiguous, or positions that are no integers.
    """
    view = _view("data", data, start, stop)
    return view, address_of(view)


def address_of(view: memoryview) -> Any:
    """Return the address of the bytes of a view, which stay in place while the view lives."""
    with ffi.from_buffer(view) as held:  # not kept: CPython crashes when it collects it in a cycle with its view
        return ffi.cast("char *", held)


def writable(buffer: Any, start: Any, stop: Any) -> memoryview:
    """Return buffer[start:stop] as a writable view. Raises TypeError, or ValueError if it is empty."""
    view = _view("buffer", buffer, start, stop)
    if view.readonly:
        raise TypeError(f"buffer must be writable, not {type(buffer).__name__}")
    if not len(view):
        raise ValueError("buffer[start:stop] is empty")
    return view


def filled(fill: Callable[[Any, int], int], size: int) -> bytes | int:
    """Return what fill(address, size) writes into memory; it returns how many bytes, or a negative code to return."""
    into = ffi.new("char[]", size)
    count = fill(into, size)
    return ffi.buffer(into, count)[:] if count >= 0 else count


def integers(count: int) -> Any:
    """Return the address of `count` ints for C to fill."""
    return ffi.new("int[]", count)
