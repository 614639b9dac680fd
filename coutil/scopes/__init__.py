"""Deadlines and structured concurrency for plain blocking code.

    with timeout(5):                      with scope() as s:
        data = stream.receive()               for name in names:
                                                  s.spawn(fetch, name)

Rule 1: cancellation is level-triggered. From the moment a block is cancelled until it is left, every wait inside it
raises; it arrives nowhere else. "Inside" are the coroutine that entered the block, and the children of every `scope`
within it; a coroutine that was started in another way is on its own. `system.run` is a wait in this respect, too.
Rule 2: what is raised belongs to one block and passes through all others. Of several cancelled blocks it is the
outermost, so that an inner deadline never hides an outer one.
"""

from __future__ import annotations

from .children import Scope, Task, scope
from .deadline import Deadline, move_on_after, timeout, timeout_at

__all__ = ["Deadline", "Scope", "Task", "move_on_after", "scope", "timeout", "timeout_at"]
