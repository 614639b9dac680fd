"""Deadlines and structured concurrency for plain blocking code.

    with timeout(5):                      with scope() as s:
        data = stream.receive()               for name in names:
                                                  s.spawn(fetch, name)

Rule 1: cancellation is level-triggered. From the moment a block is cancelled, by its deadline or by hand, until it is
left, every wait inside it raises `errors.Cancelled`; it arrives nowhere else. "Inside" are the coroutine that entered
the block, and the children of every `scope` within it; a coroutine that was started in another way is on its own.
`system.run` is a wait in this respect, too. Clean-up that has to wait needs a shield: `with timeout(1, shield=True):`.
Rule 2: `Cancelled` is no `Exception` and no error: code that handles errors, and tries again, lets it pass. It belongs
to one block and passes through all others. Of several cancelled blocks it is the outermost one's, so that an inner
deadline never hides an outer one. Only where that block is left it becomes `errors.Timeout`, an error for the code
outside, or nothing.
Rule 3: code that swallows it (`except BaseException`) gets it again from the next wait, and cannot keep the block from
ending as it must. A coroutine whose waits are refused 64 times in a row lets everything else run before the next.
"""

from __future__ import annotations

from .deadline import Deadline, move_on_after, timeout, timeout_at
from .task_scope import Scope, Task, scope

__all__ = ["Deadline", "Scope", "Task", "move_on_after", "scope", "timeout", "timeout_at"]
