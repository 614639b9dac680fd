"""Conversion between UTF-16 that may have unpaired surrogates, as on Windows, and WTF-8, its generalised UTF-8.

Python's codecs do the work of libuv's functions, with every libuv. UTF-16 is in the byte order of the machine.
"""

from __future__ import annotations

import sys

from .._libuv import error, lib

__all__ = ["utf16_length_as_wtf8", "utf16_to_wtf8", "wtf8_length_as_utf16", "wtf8_to_utf16"]

_UTF16 = f"utf-16-{sys.byteorder[0]}e"
Data = bytes | bytearray | memoryview


def utf16_to_wtf8(utf16: Data) -> bytes:
    """Return UTF-16 as WTF-8. Raises TypeError, ValueError (an odd number of bytes). Source: uv_utf16_to_wtf8."""
    data = _bytes("utf16", utf16)
    if len(data) % 2:
        raise ValueError(f"utf16 must have an even number of bytes, not {len(data)}")
    return data.decode(_UTF16, "surrogatepass").encode("utf-8", "surrogatepass")


def wtf8_to_utf16(wtf8: Data) -> bytes:
    """Return WTF-8 as UTF-16. Raises TypeError, `UVError`: EINVAL. Source: uv_wtf8_to_utf16."""
    return _decoded(wtf8, "uv_wtf8_to_utf16")


def utf16_length_as_wtf8(utf16: Data) -> int:
    """Return the length of the result of `utf16_to_wtf8` in bytes; raises as that. Source: uv_utf16_length_as_wtf8."""
    return len(utf16_to_wtf8(utf16))


def wtf8_length_as_utf16(wtf8: Data) -> int:
    """Return the length of the result of `wtf8_to_utf16` in units of two bytes; raises as that.

    Source: uv_wtf8_length_as_utf16.
    """
    return len(_decoded(wtf8, "uv_wtf8_length_as_utf16")) // 2


def _bytes(name: str, value: Data) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise TypeError(f"{name} must be bytes, not {value!r}")
    return bytes(value)


def _decoded(wtf8: Data, syscall: str) -> bytes:
    try:
        return _bytes("wtf8", wtf8).decode("utf-8", "surrogatepass").encode(_UTF16, "surrogatepass")
    except UnicodeDecodeError:
        raise error(lib.UV_EINVAL, syscall) from None
