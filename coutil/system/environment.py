"""The environment, the current directory and the priority: state of the process as a whole."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Mapping
from typing import Any, overload

from .._libuv import check, error, lib
from .._libuv.arguments import check_int, check_str
from .._libuv.files import Path, encoded
from .._libuv.spawning import current_directory, priority
from .._uv_errors import error_class
from ..errors import UVError
from .signals import check_pid

__all__ = ["PackedEnv", "getdir", "getenv", "getpriority", "packenv", "setdir", "setenv", "setpriority", "unpackenv"]

_PRIORITIES = {"highest": -20, "high": -14, "above": -7, "normal": 0, "below": 10, "low": 19}
_names = {value: name for name, value in _PRIORITIES.items()}


# -- priority ----------------------------------------------------------------------------------------------------------


def getpriority(pid: int) -> tuple[str, int]:
    """Return the scheduling priority of a process: its name and its number, -20 (highest) to 19 (lowest).

    pid: 0 is the calling process. The name is "highest" (-20), "high" (-14), "above" (-7), "normal" (0), "below" (10),
    "low" (19), or "other". Raises TypeError, ValueError, or `UVError`: ESRCH. Source: uv_os_getpriority.
    """
    code, value = priority(check_pid(pid))
    check(code, "uv_os_getpriority")
    return _names.get(value, "other"), value


def setpriority(pid: int, value: str | int) -> bool:
    """Set the scheduling priority of a process; return True.

    pid: 0 is the calling process. value: a name that `getpriority` returns, except "other", or a number, -20 to 19.
    Raises TypeError, ValueError, or `UVError`: ESRCH, EACCES, EPERM. Source: uv_os_setpriority.
    """
    check_pid(pid)
    if isinstance(value, str):
        if value not in _PRIORITIES:
            raise ValueError(f"value must be one of {', '.join(_PRIORITIES)}, or a number, not {value!r}")
        value = _PRIORITIES[value]
    check_int("value", value, -20, 19, "a string or an int")
    check(lib.uv_os_setpriority(pid, value), "uv_os_setpriority")
    return True


# -- current directory -------------------------------------------------------------------------------------------------


def getdir() -> str:
    """Return the path of the current directory. Raises `UVError`: ENOENT (it was removed). Source: uv_cwd."""
    path = current_directory()
    if isinstance(path, int):
        raise error(path, "uv_cwd")
    return os.fsdecode(path)


def setdir(path: Path) -> bool:
    """Change the current directory, for all threads; return True.

    Raises TypeError, ValueError (a NUL), or `UVError`: ENOENT, ENOTDIR, EACCES, ENAMETOOLONG. Source: uv_chdir.
    """
    code = lib.uv_chdir(encoded(path))
    if code < 0:
        raise error(code, "uv_chdir", path)
    return True


# -- environment -------------------------------------------------------------------------------------------------------


@overload
def getenv(name: str) -> str: ...
@overload
def getenv(name: None = None, into: dict[str, str] | None = None) -> dict[str, str]: ...


def getenv(name: str | None = None, into: dict[str, str] | None = None) -> str | dict[str, str]:
    """Return the value of an environment variable, or all of them.

    name: None means all. into: the dictionary to write all of them into, and to return; None: a new dictionary.
    The variables are those of `os.environ`. Raises TypeError, ValueError (a NUL), or `UVError`: ENOENT (there is no
    such variable).
    """
    if name is None:
        return _with_variables(into, os.environ)
    _string("name", name)
    if into is not None:
        raise TypeError("into is for all variables, not for one")
    value = os.environ.get(name)
    if value is None:
        raise _failure("ENOENT", "getenv", name)
    return value


def setenv(name: str, value: str | None) -> bool:
    """Set an environment variable of the process, also in `os.environ`; return True.

    value: None deletes the variable, if it exists. No other thread may read the environment in C at the same time: a
    library that does so may crash.
    Raises TypeError, ValueError (a NUL), or `UVError`: EINVAL (no name, or one with "="). Source: setenv(3).
    """
    _string("name", name)
    if value is not None:
        _string("value", value)
    if not name or "=" in name:
        raise _failure("EINVAL", "setenv", name)
    if value is not None:
        os.environ[name] = value
    else:
        os.environ.pop(name, None)
        os.unsetenv(name)  # C code may have set it, which `os.environ` does not know
    return True


def _string(name: str, value: object) -> bytes:
    return encoded(check_str(name, value), name)


def _failure(name: str, syscall: str, variable: str) -> UVError:
    number = getattr(errno, name)
    exception = error_class(name)(number, f"{os.strerror(number).lower()}: environment variable {variable!r}")
    exception.code, exception.syscall = -number, syscall
    return exception


def _with_variables(into: dict[str, str] | None, variables: Mapping[str, str]) -> dict[str, str]:
    if into is None:
        return dict(variables)
    if not isinstance(into, dict):
        raise TypeError(f"into must be a dictionary or None, not {into!r}")
    into.update(variables)
    return into


class PackedEnv(Mapping[str, str]):
    """Environment variables in the form that a new process takes: an immutable mapping, made by `packenv`.

    Each variable is also an attribute (`env.HOME`), unless a method has that name. The attribute of a variable that
    does not exist is None.
    """

    __slots__ = ("__weakref__", "_lines")
    _lines: tuple[bytes, ...]

    def __init__(self, lines: tuple[bytes, ...]) -> None:
        """Take lines of the form NAME=value, which are checked already. Use `packenv` instead."""
        object.__setattr__(self, "_lines", lines)

    def __getitem__(self, name: str) -> str:
        """Return a value. Raises KeyError."""
        for line in self._lines:
            key, _, value = line.partition(b"=")
            if os.fsdecode(key) == name:
                return os.fsdecode(value)
        raise KeyError(name)

    def __iter__(self) -> Iterator[str]:
        """Yield the names, in their order."""
        for line in self._lines:
            yield os.fsdecode(line.partition(b"=")[0])

    def __hash__(self) -> int:
        """Return the same number for equal environments."""
        return hash(frozenset(self._lines))

    def __getattr__(self, name: str) -> str | None:
        """Return a value, or None."""
        if name.startswith("__"):
            raise AttributeError(name)  # a name that Python itself looks up
        return self.get(name)

    def __setattr__(self, name: str, value: object) -> None:
        """Raise AttributeError."""
        raise AttributeError(f"a packed environment cannot be changed: {name}")

    def __delattr__(self, name: str) -> None:
        """Raise AttributeError."""
        raise AttributeError(f"a packed environment cannot be changed: {name}")

    def __len__(self) -> int:
        """Return the number of variables."""
        return len(self._lines)

    def __repr__(self) -> str:
        """The number of variables, without their values, which may be secret."""
        return f"<PackedEnv of {len(self._lines)} variables>"


def packenv(variables: Mapping[str, str]) -> PackedEnv:
    """Return environment variables, packed once for many calls of `execute` or `start`.

    Raises TypeError (a name or value is not a string), ValueError (a name is empty or contains "=", or there is a NUL).
    """
    return PackedEnv(packed_lines(variables))


def unpackenv(env: PackedEnv, into: dict[str, str] | None = None) -> dict[str, str]:
    """Return the variables in a dictionary: `into`, to which they are added, or a new one. Raises TypeError."""
    if not isinstance(env, PackedEnv):
        raise TypeError(f"env must be a PackedEnv, not {env!r}")
    return _with_variables(into, env)


def packed_lines(variables: Any) -> tuple[bytes, ...]:
    """Return NAME=value for each variable. Raises as `packenv` does."""
    if isinstance(variables, PackedEnv):
        return variables._lines
    if not isinstance(variables, Mapping):
        raise TypeError(f"an environment must be a mapping or a PackedEnv, not {variables!r}")
    lines = []
    for name, value in variables.items():
        line = _string("name of a variable", name) + b"=" + _string(f"value of {name!r}", value)
        if not name or "=" in name:
            raise ValueError(f"invalid name of a variable: {name!r}")
        lines.append(line)
    return tuple(lines)
