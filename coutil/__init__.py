"""coutil: programs that read like blocking code, tens of thousands of them in one thread.

| module | purpose |
|---|---|
| `coutil.spawn` | start a function in a new coroutine |
| `coutil.system` | waits for the operating system: sockets, names, files, processes, signals, terminals, time |
| `coutil.event` | wait for any value until a coroutine emits it |
| `coutil.queued` | the same, with emissions that are stored until a coroutine waits |
| `coutil.mutex` | any value as a lock that one coroutine at a time owns |
| `coutil.promise` | results that will exist some day |
| `coutil.scopes` | deadlines, and coroutines that end together with a block |
| `coutil.sync` | queues, locks, semaphores, conditions and barriers, as Python programmers expect them |
| `coutil.coroutine` | create, resume and yield, as in Lua |
| `coutil.uv` | all of libuv under its own names: loops, handles with handlers, requests that suspend the caller |
| `coutil.errors` | every exception class |
| `coutil.hooks`, `coutil.debug` | tools that watch coroutines: your own; which one runs, which one runs for too long |
| `coutil.testing` | a clock that stands still, for tests |

Layers, each importing only those before it: errors, _coroutines, event and its users; with libuv: _libuv, _host,
_kernel, scopes, the others. Importing this package starts nothing, and imports none of these modules: each is imported
when it is first used, `import coutil; coutil.system.suspend(1)`. The loop of a thread starts when a coroutine of it
first waits. Importing it in a subinterpreter raises ImportError (`_interpreter`).
"""

from importlib import import_module as _import_module
from types import ModuleType as _ModuleType
from typing import TYPE_CHECKING

from . import _interpreter as _interpreter

if TYPE_CHECKING:
    from . import (
        coroutine,
        debug,
        errors,
        event,
        hooks,
        mutex,
        promise,
        queued,
        scopes,
        spawn,
        sync,
        system,
        testing,
        uv,
    )

__version__ = "0.1.0"
__all__ = [
    "coroutine",
    "debug",
    "errors",
    "event",
    "hooks",
    "mutex",
    "promise",
    "queued",
    "scopes",
    "spawn",
    "sync",
    "system",
    "testing",
    "uv",
]


if not TYPE_CHECKING:  # checkers would take it for every name

    def __getattr__(name: str) -> _ModuleType:
        """Import a public module that is used for the first time. Raises AttributeError: there is none of that name."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return _import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    """Return the public modules, too, whether they are imported or not."""
    return sorted({*globals(), *__all__})
