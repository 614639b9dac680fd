"""L0: libuv through cffi. The only place that spells `ffi`; the layers above see integers, bytes and `Loop` calls."""

from __future__ import annotations

import errno
from os import O_CLOEXEC, O_RDONLY, close, strerror
from os import open as open_file
from typing import Any

from .._uv_errors import error_class
from ..errors import ForeignThread, UVError
from ._lib import ffi, lib

__all__ = ["NULL", "CData", "check", "error", "ffi", "lib", "version"]

CData = Any  # a pointer or structure of C: cffi has no static types for them
NULL: CData = ffi.NULL
_OUT_OF_PROCESSES = "cannot be started: out of processes (RLIMIT_NPROC, pids cgroup) or memory"
_LIMITS = {  # errors whose usual text names another limit than the one that was reached
    (
        "uv_fs_event_start",
        lib.UV_EMFILE,
    ): "the user has too many inotify instances (sysctl fs.inotify.max_user_instances)",
    ("uv_fs_event_start", lib.UV_ENOSPC): "the user watches too many paths (sysctl fs.inotify.max_user_watches)",
    ("uv_spawn", lib.UV_EAGAIN): f"the process {_OUT_OF_PROCESSES}",
    ("uv_thread_create_ex", lib.UV_EAGAIN): f"the thread {_OUT_OF_PROCESSES}",
}

if lib.uv_version() < lib.UV_VERSION_HEX:
    raise ImportError(
        f"coutil was built against libuv {lib.UV_VERSION_HEX:#x}, the library found now is older: {lib.uv_version():#x}"
    )


def version() -> str:
    """Return the version of the libuv in use ("1.44.2"; uv_version_string)."""
    return str(ffi.string(lib.uv_version_string()).decode())


def error(code: int, syscall: str = "", filename: object = None, filename2: object = None) -> Exception:
    """Return the exception for libuv's negative `code`; `syscall` is the C function that returned it."""
    if code == lib.CO_FOREIGN:
        return ForeignThread("the object belongs to the hub of another thread")
    text = ""
    if code == lib.CO_NO_THREADS:
        code, text = lib.UV_EAGAIN, f"the threads of the pool {_OUT_OF_PROCESSES}"
    name = ffi.string(lib.uv_err_name(code)).decode()
    text = text or _limit(code, syscall) or ffi.string(lib.uv_strerror(code)).decode()
    if " " in name:  # libuv does not know the code: it returns a sentence in place of a name
        name, text = errno.errorcode.get(-code, "UNKNOWN"), strerror(-code)
    number = -code if code > -3000 else code  # libuv's own codes (EOF, EAI_*) have no errno
    files = () if filename is None else (filename, None, filename2)
    exception: UVError = error_class(name)(number, text, *files)
    exception.code = code
    exception.syscall = syscall
    return exception


def _limit(code: int, syscall: str) -> str:
    """Return a text that names the limit that was reached; "" if the usual text names it."""
    text = _LIMITS.get((syscall, code), "")
    if text and code == lib.UV_EMFILE:  # the usual text is right if the process is out of descriptors
        try:
            close(open_file("/dev/null", O_RDONLY | O_CLOEXEC))
        except OSError:
            return ""
    return text


def check(code: int, syscall: str) -> int:
    """Return `code` unless it is negative; then raise `error(code, syscall)`."""
    if code < 0:
        raise error(code, syscall)
    return code
