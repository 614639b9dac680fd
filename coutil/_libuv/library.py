"""Dynamic libraries, and what libuv says about its errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import UNKNOWN, UVError
from . import ffi, lib

__all__ = ["close", "known_errors", "load", "name_of", "symbol", "text_of"]

_ROOM = 256  # bytes of an error's text


def known_errors() -> Iterator[tuple[int, str]]:
    """Yield number and name of every error that libuv knows."""
    name, at = ffi.new("char **"), 0
    while code := lib.co_known_error(at, name):
        yield code, ffi.string(name[0]).decode()
        at += 1


def text_of(code: int) -> str:
    """Return libuv's text for an error."""
    buffer = ffi.new("char[]", _ROOM)
    return str(ffi.string(lib.uv_strerror_r(code, buffer, _ROOM)).decode("utf-8", "replace"))


def name_of(code: int) -> str:
    """Return libuv's name of an error."""
    buffer = ffi.new("char[]", _ROOM)
    return str(ffi.string(lib.uv_err_name_r(code, buffer, _ROOM)).decode("utf-8", "replace"))


def load(path: bytes) -> Any:
    """Return the handle of a dynamic library. Raises `UVError`."""
    library = ffi.new("uv_lib_t *")
    if lib.uv_dlopen(path, library) < 0:
        failed = _failure(library, "uv_dlopen")
        lib.uv_dlclose(library)  # the text of the error goes with it
        raise failed
    return library


def symbol(library: Any, name: bytes) -> int:
    """Return the address of what has a name in a library. Raises `UVError`."""
    address = ffi.new("void **")
    if lib.uv_dlsym(library, name, address) < 0:
        raise _failure(library, "uv_dlsym")
    return int(ffi.cast("uintptr_t", address[0]))


def close(library: Any) -> None:
    """Give a library up."""
    lib.uv_dlclose(library)


def _failure(library: Any, syscall: str) -> UVError:
    """Return the exception for the error that the library's handle describes: there is no number for it."""
    made = UNKNOWN(lib.UV_UNKNOWN, ffi.string(lib.uv_dlerror(library)).decode("utf-8", "replace"))
    made.code, made.syscall = lib.UV_UNKNOWN, syscall
    return made
