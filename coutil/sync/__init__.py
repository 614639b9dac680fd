"""What every Python programmer expects: queues, locks, semaphores, conditions and barriers, for coroutines.

Rule 1: first come, first served. What is freed goes to the one who has waited longest, before that one runs; nobody can
take it meanwhile. A wait that is cancelled (by `throw`, `close` or a timeout) has got what it waited for, or has not
and leaves the line; nothing is lost.
Rule 2: whoever is served runs at once, as with `coutil.event`: `put`, `get`, `release`, `notify`, `wait` of the last
party and `close` return when it waits again or has ended. What escapes from it goes to the excepthook, but they raise
its KeyboardInterrupt or SystemExit. Coroutines that only serve each other by locks do not let the loop turn, but
`system.suspend` does; a `Queue` sees to it itself, now and then, in `put` and `get`.
Rule 3: an explicit resume ends `Queue.get`, `Queue.put` and `Condition.wait`, which return what it brings. It does not
end the others: they stay in the line, at their place.
Rule 4: everything here belongs to the OS thread that made it; what changes it, or may wait, raises `ForeignThread`
in others.
Rule 5: `timeout` is in seconds, None means for ever. It is looked at only if the call must wait; `errors.Timeout` is
raised when it has passed. Calls that must wait raise `NotYieldable` in the hub, and `Deadlock` in the main program.
"""

from __future__ import annotations

from .barrier import Barrier
from .condition import Condition
from .locks import Lock, Semaphore
from .queue import Queue

__all__ = ["Barrier", "Condition", "Lock", "Queue", "Semaphore"]
