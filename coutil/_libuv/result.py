"""Results of a request beyond its code: memory that C fills, and that Python takes or releases unread."""

from __future__ import annotations

from . import CData, ffi, lib

__all__ = ["new_result", "take_result_memory"]


def new_result() -> CData:
    """Return an empty co_out, which C fills. Pin it until the callback; it frees the memory that was not taken."""
    return ffi.gc(ffi.new("co_out *", {"fd": -1}), lib.co_out_release)


def take_result_memory(filled: CData) -> bytes:
    """Return the bytes that C wrote into the memory of a co_out, and free the memory."""
    data: bytes = ffi.buffer(filled.memory, filled.size)[:] if filled.memory else b""
    lib.co_out_release(filled)
    return data
