"""What every Python programmer expects: queues, locks, semaphores, conditions and barriers, for coroutines.

Rule 1: first come, first served. What is freed goes to the one who has waited longest, before that one runs; nobody can
take it meanwhile. A wait that is cancelled (by `throw`, `close` or a timeout) has got what it waited for, or has not
and leaves the line; nothing is lost.
Rule 2: to serve a coroutine runs none. `put`, `put_nowait`, `get`, `release_operation`, `wake_now`, `close` and the
`wait` of a barrier's last party give to the waiters what they wait for, and go on; the hub resumes the waiters in its
next turn, in their order. So no other code runs in the middle of yours, and what is documented to work anywhere does so
in signal handlers and finalizers, too. The price is one turn of the loop. `coutil.event`, `write_starter`, `mutex`,
`promise` and `spawn.call` are different: they hand over at once, as CoUtil does, and other code has run when they
return.
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
from .locks import BoundedSemaphore, Lock, Semaphore
from .queue import Queue

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Lock", "Queue", "Semaphore"]
