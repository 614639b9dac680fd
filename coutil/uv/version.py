"""The version of libuv, and the codes and names of its errors."""

from __future__ import annotations

from types import SimpleNamespace

from .. import _libuv
from .._libuv import lib
from .._libuv.arguments import check_int
from .._libuv.library import known_errors, name_of, text_of

__all__ = [
    "HEADER_VERSION",
    "err_name",
    "errname",
    "errno",
    "strerror",
    "translate_sys_error",
    "version",
    "version_info",
    "version_string",
]

HEADER_VERSION: int = lib.UV_VERSION_HEX  # of the libuv that coutil was built against

errno = SimpleNamespace(**{name: code for code, name in known_errors()})  # errno.ECONNREFUSED: libuv's negative number
errname = {code: name for name, code in vars(errno).items()}  # the names by number

_INT = 2**31


def version() -> int:
    """Return the version of the libuv in use: 0x012c02 for 1.44.2. Source: uv_version."""
    return int(lib.uv_version())


def version_string() -> str:
    """Return the version of the libuv in use as text: "1.44.2". Source: uv_version_string."""
    return _libuv.version()


version_info = (version() >> 16, version() >> 8 & 255, version() & 255)


def strerror(code: int) -> str:
    """Return libuv's text for an error. code: negative, as in `uv.errno`. Raises TypeError, ValueError.

    Source: uv_strerror_r.
    """
    return text_of(check_int("code", code, -_INT, _INT - 1))


def err_name(code: int) -> str:
    """Return libuv's name of an error: "ECONNREFUSED". code: see `strerror`. Source: uv_err_name_r."""
    return name_of(check_int("code", code, -_INT, _INT - 1))


def translate_sys_error(number: int) -> int:
    """Return libuv's code for an errno of the system. Raises TypeError, ValueError.

    Source: uv_translate_sys_error.
    """
    return int(lib.uv_translate_sys_error(check_int("number", number, 1 - _INT, _INT - 1)))
