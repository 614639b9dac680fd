"""Functions of the standard library that the kernel needs, in the interpreter's own version.

Rule 1: the layers up to the kernel import them from here, by name. Tests and other libraries replace functions in
`time`, `_thread` and `threading`; functions that our threads and hubs rely on must not be replaced.
Rule 2: this file is imported first, but gevent or eventlet may have replaced functions before. A builtin module that
lacks one of its own functions is loaded a second time, which costs nothing and changes nothing for other code.
Rule 3: functions of `time` are attributes of a class. Libraries that freeze the time replace those that are names of a
module, in every module.
Rule 4: subinterpreters are refused. All interpreters of a thread share its greenlets, which refer to our objects, and
signals reach the main interpreter only.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from importlib.machinery import BuiltinImporter
from importlib.util import module_from_spec
from types import BuiltinFunctionType, ModuleType
from typing import TYPE_CHECKING, Any

__all__ = [
    "LockType",
    "RLock",
    "Time",
    "allocate_lock",
    "get_ident",
    "interrupt_main",
    "local",
    "signal_handler",
    "start_new_thread",
]


def in_main_interpreter() -> bool:
    """Return whether this is the process's first interpreter; True if the interpreter does not report it."""
    for name in ("_interpreters", "_xxsubinterpreters"):
        try:
            interpreters: Any = import_module(name)
        except ImportError:
            continue
        return bool(interpreters.get_current() == interpreters.get_main())
    return True


def builtin(name: str, *functions: str) -> ModuleType:
    """Return a builtin module that has its own `functions`: the one that is imported, or a new one.

    Raises ImportError if there is neither.
    """
    module = sys.modules.get(name) or import_module(name)
    if all(_is_own(module, function) for function in functions):
        return module
    spec = BuiltinImporter.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"coutil needs the functions of {name}, which have been replaced: import coutil before that")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _is_own(module: ModuleType, function: str) -> bool:
    value = getattr(module, function)
    return isinstance(value, BuiltinFunctionType | type) and value.__module__ == module.__name__


if not in_main_interpreter():
    raise ImportError("coutil works in the main interpreter only, not in a subinterpreter")

if TYPE_CHECKING:
    import time as _time
    from _thread import LockType, RLock, allocate_lock, get_ident, interrupt_main, start_new_thread
    from _thread import _local as local
else:
    _time = builtin("time", "monotonic_ns", "sleep")
    _names = ("LockType", "RLock", "allocate_lock", "get_ident", "interrupt_main", "_local", "start_new_thread")
    LockType, RLock, allocate_lock, get_ident, interrupt_main, local, start_new_thread = map(
        builtin("_thread", *_names).__getattribute__, _names
    )


_signal: Any = import_module("_signal")
signal_handler: Callable[[int], Any] = _signal.getsignal  # without the conversion to an enumeration of `signal`


class Time:
    """Functions of `time`: see rule 3."""

    monotonic_ns = _time.monotonic_ns
    sleep = _time.sleep


del _time
