"""Dynamic libraries, and the names and texts of libuv's errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import UNKNOWN, UVError
from . import CData, ffi, lib

__all__ = ["close", "known_errors", "load", "name_of", "symbol", "text_of"]

_ROOM = 256  # bytes of an error's text


def known_errors() -> Iterator[tuple[int, str]]:
    """Yield number and name of every error that libuv knows."""
    name, index = ffi.new("char **"), 0
    while code := lib.co_known_error(index, name):
        yield code, ffi.string(name[0]).decode()
        index += 1


def text_of(code: int) -> str:
    """Return libuv's text for an error."""
    buffer = ffi.new("char[]", _ROOM)
    return str(ffi.string(lib.uv_strerror_r(code, buffer, _ROOM)).decode("utf-8", "replace"))


def name_of(code: int) -> str:
    """Return libuv's name of an error."""
    buffer = ffi.new("char[]", _ROOM)
    return str(ffi.string(lib.uv_err_name_r(code, buffer, _ROOM)).decode("utf-8", "replace"))


def load(path: bytes) -> CData:
    """Return the handle of a dynamic library. Raises `UVError`."""
    library = ffi.new("uv_lib_t *")
    if lib.uv_dlopen(path, library) < 0:
        failure = _failure(library, "uv_dlopen")
        lib.uv_dlclose(library)  # which frees the text of the error
        raise failure
    return library


def symbol(library: Any, name: bytes) -> int:
    """Return the address of a symbol of a library. Raises `UVError`."""
    address = ffi.new("void **")
    if lib.uv_dlsym(library, name, address) < 0:
        raise _failure(library, "uv_dlsym")
    return int(ffi.cast("uintptr_t", address[0]))


def close(library: Any) -> None:
    """Close a library. Source: uv_dlclose."""
    lib.uv_dlclose(library)


def _failure(library: Any, syscall: str) -> UVError:
    """Return the exception for the error that the library's handle describes; such an error has no number."""
    exception = UNKNOWN(lib.UV_UNKNOWN, ffi.string(lib.uv_dlerror(library)).decode("utf-8", "replace"))
    exception.code, exception.syscall = lib.UV_UNKNOWN, syscall
    return exception
