"""What has a slot of its own and is waited for by operations: a signal, the end of a process.

In the table of operations such a wait is that of a handle which is released at once, as timers are.
"""

from __future__ import annotations

from .._coroutines.coroutine import Coroutine
from .._coroutines.states import ARMED, AWAIT_HANDLE, CLOSE_HANDLE, FREED
from .._coroutines.switching import park, wake
from .._kernel.entries import Slotted
from .._kernel.hub import Hub
from .._kernel.operation import Operation

__all__ = ["Awaited"]


class Awaited(Slotted):
    """Base of what operations wait for; the first that came is the first that is woken."""

    __slots__ = ("generation", "hub", "operations", "slot")

    def __init__(self, hub: Hub) -> None:
        """Of `hub`. A subclass takes a slot when it starts, and gives it back."""
        self.hub = hub
        self.operations: list[Operation] = []
        self.slot = self.generation = -1

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that waits longest."""
        return self.operations[0].coroutine if self.operations else None

    def wait(self, own: Operation, what: object) -> None:
        """Wait with `own`, which is Freed or was armed by us."""
        own.slot = 0
        own.state = AWAIT_HANDLE  # 2, 10
        try:
            self.operations.append(own)
            park(own.coroutine, what)
        except BaseException:
            self._leave(own)
            raise

    def _leave(self, own: Operation) -> None:
        """End a wait that was not ended by us. May be repeated."""
        if own in self.operations:
            self.operations.remove(own)
        if own.state is AWAIT_HANDLE:
            own.state = CLOSE_HANDLE  # 5
            own.state = FREED  # 8
        if own.state is FREED and not self.operations:
            self.left()

    def left(self) -> None:
        """A coroutine waits no more although nothing has happened."""

    def wake_first(self, record: bool = False) -> Operation:
        """Resume the coroutine that has waited longest; return its operation, Armed unless it has been used since.

        record: the hub's next record is for it, and has to be taken out.
        """
        own = self.operations[0]
        hub, coroutine = self.hub, own.coroutine
        coroutine.resumer = coroutine.gate  # from here on nothing looks for signals: see deliveries.py
        hub.entering = coroutine
        if record:
            del hub.records[0]
        del self.operations[0]
        own.state = ARMED  # 6
        wake(coroutine)
        return own

    def lost(self) -> None:
        """The loop is gone."""
        operations, self.operations = self.operations, []
        for own in operations:
            own.state = CLOSE_HANDLE  # 5
            own.state = FREED  # 8


def release(own: Operation) -> None:
    """Release an operation that was armed, if nothing else has used it since."""
    if own.state is ARMED:
        own.state = CLOSE_HANDLE  # 9
        own.state = FREED  # 8
