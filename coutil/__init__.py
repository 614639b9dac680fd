"""coutil: programs that read like blocking code, tens of thousands of them in one thread.

| module | what it is for |
|---|---|
| `coutil.spawn` | start a function in a new coroutine |
| `coutil.system` | what waits for the operating system: sockets, names, files, processes, signals, terminals, time |
| `coutil.event` | wait for any value until somebody emits it |
| `coutil.queued` | the same, with emissions that are stored until somebody waits |
| `coutil.mutex` | any value as a lock that one coroutine at a time owns |
| `coutil.promise` | results that will exist some day |
| `coutil.scopes` | deadlines, and coroutines that end together with a block |
| `coutil.sync` | queues, locks, semaphores, conditions and barriers, as Python programmers expect them |
| `coutil.coroutine` | create, resume and yield, as in Lua |
| `coutil.uv` | all of libuv under its own names: loops, handles with handlers, requests that suspend the caller |
| `coutil.errors` | every exception class |
| `coutil.testing` | a clock that stands still, for tests |

Layers, each importing only those before it: errors, _coroutines, event and what rests on it; with libuv: _libuv, _host,
_kernel, scopes, the others. Importing this package starts nothing; the loop of a thread starts when something in it
first waits. What it refuses is a subinterpreter (`_interpreter`).
"""

from . import _interpreter as _interpreter

__version__ = "0.1.0"
__all__ = [
    "coroutine",
    "errors",
    "event",
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
