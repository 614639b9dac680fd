"""What a request brings besides its code: memory that C fills and Python takes, or that is released unseen."""

from __future__ import annotations

from typing import Any

from . import ffi, lib

__all__ = ["out", "take_memory"]


def out() -> Any:
    """Return an empty co_out, for C to fill. Pin it until the callback; what is not taken from it goes with it."""
    return ffi.gc(ffi.new("co_out *", {"fd": -1}), lib.co_out_release)


def take_memory(filled: Any) -> bytes:
    """Return what C wrote into the memory of a co_out; the memory is freed."""
    data: bytes = ffi.buffer(filled.memory, filled.size)[:] if filled.memory else b""
    lib.co_out_release(filled)
    return data
