"""Deadlines and structured concurrency for plain blocking code.

    with timeout(5):                      with scope() as s:
        data = stream.receive()               for name in names:
                                                  s.spawn(fetch, name)

Rule 1: cancellation is level-triggered. From the moment a block is cancelled, by its deadline or by a call, until it is
left, every wait inside it raises `errors.Cancelled`; nothing but a wait raises it. "Inside" are the coroutine that
entered the block, and the children of every `scope` within it, but no coroutine that was started in another way.
`system.run` is a wait in this respect. Clean-up that has to wait needs a shield: `with timeout(1, shield=True):`.
Rule 2: `Cancelled` is a BaseException, not an error: code that handles errors, and tries again, lets it pass. It
belongs to one block and passes through all others. Of several cancelled blocks it is the outermost one's, so an inner
deadline never hides an outer one. Where that block is left, and only there, it becomes `errors.Timeout`, an error for
the code outside, or is swallowed.
Rule 3: code that swallows it (`except BaseException`) gets it again from the next wait, and cannot change the result of
the block. A coroutine whose waits are refused 64 times in a row lets all others run before the next.
"""

from __future__ import annotations

from .deadline import Deadline, move_on_after, timeout, timeout_at
from .task_scope import Scope, Task, scope

__all__ = ["Deadline", "Scope", "Task", "move_on_after", "scope", "timeout", "timeout_at"]
