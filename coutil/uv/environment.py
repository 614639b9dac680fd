"""State of the whole process: its user, environment, current directory, title, priority and resources."""

from __future__ import annotations

import grp
import os
import pwd
import resource
import sys
from typing import Any, NamedTuple

from .._libuv import check, error, info, lib
from .._libuv.arguments import check_int
from .._libuv.files import Path, encoded
from .._libuv.spawning import current_directory, priority
from .functions import has

__all__ = [
    "Group",
    "Passwd",
    "RUsage",
    "chdir",
    "cwd",
    "exepath",
    "get_osfhandle",
    "get_process_title",
    "getrusage",
    "getrusage_thread",
    "open_osfhandle",
    "os_environ",
    "os_get_group",
    "os_get_passwd",
    "os_getenv",
    "os_getpid",
    "os_getppid",
    "os_getpriority",
    "os_homedir",
    "os_setenv",
    "os_setpriority",
    "os_tmpdir",
    "os_unsetenv",
    "resident_set_memory",
    "set_process_title",
]

_INT = 2**31
_ID = 2**32 - 2  # the largest number that a user or group may have


class Passwd(NamedTuple):
    """A user."""

    username: str
    uid: int
    gid: int
    shell: str
    homedir: str


class Group(NamedTuple):
    """A group of users."""

    groupname: str
    gid: int
    members: tuple[str, ...]


class RUsage(NamedTuple):
    """Resources used: CPU time in seconds, memory in KiB, and counts of events; see getrusage(2)."""

    utime: float
    stime: float
    maxrss: int
    ixrss: int
    idrss: int
    isrss: int
    minflt: int
    majflt: int
    nswap: int
    inblock: int
    oublock: int
    msgsnd: int
    msgrcv: int
    nsignals: int
    nvcsw: int
    nivcsw: int


# -- user -------------------------------------------------------------------------------------------------------------


def os_get_passwd(uid: int | None = None) -> Passwd:
    """Return a user. uid: the number of the user; None: the effective user of the process.

    Raises TypeError, ValueError, `UVError`: ENOENT. Source: uv_os_get_passwd, uv_os_get_passwd2.
    """
    if uid is not None:
        check_int("uid", uid, 0, _ID)
    if uid is None or has("os_get_passwd2"):
        return Passwd._make(info.passwd_of(uid))
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        raise error(lib.UV_ENOENT, "uv_os_get_passwd2") from None
    return Passwd(entry.pw_name, entry.pw_uid, entry.pw_gid, entry.pw_shell, entry.pw_dir)


def os_get_group(gid: int) -> Group:
    """Return a group. Raises TypeError, ValueError, `UVError`: ENOENT. Source: uv_os_get_group."""
    check_int("gid", gid, 0, _ID)
    if has("os_get_group"):
        return Group._make(info.group_of(gid))
    try:
        entry = grp.getgrgid(gid)
    except KeyError:
        raise error(lib.UV_ENOENT, "uv_os_get_group") from None
    return Group(entry.gr_name, entry.gr_gid, tuple(entry.gr_mem))


def os_homedir() -> str:
    """Return the home directory. Raises `UVError`: ENOENT. Source: uv_os_homedir."""
    return info.homedir()


def os_tmpdir() -> str:
    """Return the directory for temporary files. Raises `UVError`. Source: uv_os_tmpdir."""
    return info.tmpdir()


# -- environment ------------------------------------------------------------------------------------------------------


def os_environ() -> dict[str, str]:
    """Return all environment variables, as C programs see them. Raises `UVError`. Source: uv_os_environ."""
    return info.environment()


def os_getenv(name: str) -> str | None:
    """Return an environment variable, or None if it is not set. Raises TypeError, ValueError (a NUL), `UVError`.

    Source: uv_os_getenv.
    """
    return info.variable(_string("name", name))


def os_setenv(name: str, value: str) -> None:
    """Set an environment variable. `os.environ` does not change. No other thread may read the environment in between.

    Raises TypeError, ValueError (a NUL), `UVError`: EINVAL (no name, or a name with "="). Source: uv_os_setenv.
    """
    check(lib.uv_os_setenv(_string("name", name), _string("value", value)), "uv_os_setenv")


def os_unsetenv(name: str) -> None:
    """Delete an environment variable if it is set; see `os_setenv`. Source: uv_os_unsetenv."""
    check(lib.uv_os_unsetenv(_string("name", name)), "uv_os_unsetenv")


def _string(what: str, value: str) -> bytes:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, not {value!r}")
    return encoded(value, what)


# -- current directory ------------------------------------------------------------------------------------------------


def cwd() -> str:
    """Return the path of the current directory. Raises `UVError`: ENOENT (it was removed). Source: uv_cwd."""
    path = current_directory()
    if isinstance(path, int):
        raise error(path, "uv_cwd")
    return os.fsdecode(path)


def chdir(path: Path) -> None:
    """Change the current directory of all threads. Raises TypeError, ValueError (a NUL), `UVError`: ENOENT, ENOTDIR.

    Source: uv_chdir.
    """
    code = lib.uv_chdir(encoded(path))
    if code < 0:
        raise error(code, "uv_chdir", path)


# -- process ----------------------------------------------------------------------------------------------------------


def os_getpid() -> int:
    """Return the number of this process. Source: uv_os_getpid."""
    return int(lib.uv_os_getpid())


def os_getppid() -> int:
    """Return the number of the parent process. Source: uv_os_getppid."""
    return int(lib.uv_os_getppid())


def os_getpriority(pid: int = 0) -> int:
    """Return the scheduling priority of a process, -20 (highest) to 19. pid: 0: the caller.

    Raises TypeError, ValueError, `UVError`: ESRCH. Source: uv_os_getpriority.
    """
    code, value = priority(check_int("pid", pid, 0, _INT - 1))
    check(code, "uv_os_getpriority")
    return value


def os_setpriority(pid: int, priority: int) -> None:
    """Set the scheduling priority of a process; see `os_getpriority`.

    Raises TypeError, ValueError, `UVError`: EINVAL (out of range), ESRCH, EACCES, EPERM. Source: uv_os_setpriority.
    """
    check_int("pid", pid, 0, _INT - 1)
    check_int("priority", priority, -_INT, _INT - 1)
    check(lib.uv_os_setpriority(pid, priority), "uv_os_setpriority")


def exepath() -> str:
    """Return the path of the program of this process. Raises `UVError`. Source: uv_exepath."""
    return info.exepath()


def get_process_title() -> str:
    """Return the title of the process: the one that was set, else the path of the interpreter. Raises `UVError`.

    Source: uv_get_process_title.
    """
    return info.title(_first_title())


def set_process_title(title: str) -> None:
    """Set the title of the process; 4,095 bytes of it are kept.

    The arguments of the interpreter, which `ps` shows, do not change: their memory belongs to the interpreter. Linux
    shows the first 15 bytes as the name of the calling thread. Raises TypeError, ValueError (a NUL), `UVError`.
    Source: uv_set_process_title, uv_setup_args.
    """
    wanted = _string("title", title)
    info.title(_first_title())  # libuv allocates its memory when the title is first read
    check(lib.uv_set_process_title(wanted), "uv_set_process_title")


def _first_title() -> bytes:
    return os.fsencode(sys.executable or "python")[: lib.CO_TITLE // 2]


def resident_set_memory() -> int:
    """Return the resident memory of this process in bytes. Raises `UVError`. Source: uv_resident_set_memory."""
    return info.resident()


def getrusage() -> RUsage:
    """Return the resources that this process has used. Raises `UVError`. Source: uv_getrusage."""
    return _usage(info.usage())


def getrusage_thread() -> RUsage:
    """Return the resources that the calling thread has used. Raises `UVError`: ENOTSUP. Source: uv_getrusage_thread."""
    if has("getrusage_thread"):
        return _usage(info.thread_usage())
    if not hasattr(resource, "RUSAGE_THREAD"):
        raise error(lib.UV_ENOTSUP, "uv_getrusage_thread")
    return RUsage._make(resource.getrusage(resource.RUSAGE_THREAD))


def _usage(usage: Any) -> RUsage:
    seconds = [spent.tv_sec + spent.tv_usec / 1e6 for spent in (usage.ru_utime, usage.ru_stime)]
    return RUsage(*seconds, *(int(getattr(usage, f"ru_{name}")) for name in RUsage._fields[2:]))


# -- descriptors ------------------------------------------------------------------------------------------------------


def get_osfhandle(fd: int) -> int:
    """Return the system's handle of a descriptor of the C library: on Unix itself. Source: uv_get_osfhandle."""
    return int(lib.uv_get_osfhandle(check_int("fd", fd, -1, _INT - 1)))


def open_osfhandle(handle: int) -> int:
    """Return the C library's descriptor of a system handle: on Unix itself. Source: uv_open_osfhandle."""
    return int(lib.uv_open_osfhandle(check_int("handle", handle, -1, _INT - 1)))
