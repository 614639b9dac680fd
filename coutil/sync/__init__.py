"""Queues, locks, semaphores, conditions and barriers for coroutines, with the names of the standard library.

Rule 1: first in, first out. A lock, permit or item that becomes free is granted to the longest waiter at once, before
that waiter runs; no other coroutine can take it in between. A cancelled wait (by `throw`, `close` or a timeout) either
got what it waited for or leaves the queue; nothing is lost.
Rule 2: a call that grants does not switch. `put`, `put_nowait`, `get`, `release`, `notify`, `close` and the `wait` of a
barrier's last party grant and go on; the hub resumes the waiters in its next turn, in their order. So no other code
runs in the middle of the caller's, and calls that are documented to work anywhere also work in signal handlers and
finalizers. The price is one turn of the loop. `coutil.event`, `queued`, `mutex`, `promise` and `spawn.call` differ:
they resume the waiter at once, as CoUtil does, so other code has run when they return.
Rule 3: an explicit resume ends `Queue.get`, `Queue.put` and `Condition.wait`, which return the value it passes. It does
not end the other waits: they keep their place in the queue.
Rule 4: each object belongs to the OS thread that made it; methods that change it, or may wait, raise `ForeignThread`
in other threads.
Rule 5: `timeout` is in seconds, None means without limit. It is checked only if the call must wait; `errors.Timeout` is
raised when it has passed. Calls that must wait raise `NotYieldable` in the hub, and `Deadlock` in the main program.
"""

from __future__ import annotations

from .barrier import Barrier
from .condition import Condition
from .locks import BoundedSemaphore, Lock, Semaphore
from .queue import Queue

__all__ = ["Barrier", "BoundedSemaphore", "Condition", "Lock", "Queue", "Semaphore"]
