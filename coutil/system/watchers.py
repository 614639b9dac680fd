"""Events that have their own slot and that operations wait for: a signal, the end of a process.

In the table of operations such a wait counts as that of a handle which is released at once, as a timer is.
"""

from __future__ import annotations

from .._coroutines import ARMED, AWAIT_HANDLE, CLOSE_HANDLE, FREED, Coroutine, park, wake
from .._kernel import CompletionHandler, Hub, Operation

__all__ = ["SharedWait"]


class SharedWait(CompletionHandler):
    """An event that several operations may wait for. They are woken in the order in which they began to wait."""

    __slots__ = ("generation", "hub", "operations", "slot")

    def __init__(self, hub: Hub) -> None:
        """Make an event of `hub`. A subclass takes a slot when it starts, and gives it back."""
        self.hub = hub
        self.operations: list[Operation] = []
        self.slot = self.generation = -1

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that has waited longest."""
        return self.operations[0].coroutine if self.operations else None

    def wait(self, operation: Operation, what: object) -> None:
        """Wait with `operation`, which is Freed or was armed by this event."""
        operation.slot = 0
        operation.state = AWAIT_HANDLE  # 2, 10
        try:
            self.operations.append(operation)
            park(operation.coroutine, what)
        except BaseException:
            self._cancel_wait(operation)
            raise

    def _cancel_wait(self, operation: Operation) -> None:
        """End a wait that this event has not ended. May be called twice."""
        if operation in self.operations:
            self.operations.remove(operation)
        if operation.state is AWAIT_HANDLE:
            operation.state = CLOSE_HANDLE  # 5
            operation.state = FREED  # 8
        if operation.state is FREED and not self.operations:
            self.no_waiters()

    def no_waiters(self) -> None:
        """Handle that the last waiter left although nothing has happened; here do nothing."""

    def wake_one(self, record: bool = False) -> Operation:
        """Resume the coroutine that has waited longest; return its operation, Armed unless it has been used since.

        record: the hub's next record is for this event, and is removed.
        """
        operation = self.operations[0]
        hub, coroutine = self.hub, operation.coroutine
        coroutine.resumer = coroutine.hub_greenlet  # from here on nothing looks for signals: see dispatcher.py
        hub.switching_to = coroutine
        if record:
            del hub.completions[0]
        del self.operations[0]
        operation.state = ARMED  # 6
        wake(coroutine)
        return operation

    def loop_closed(self) -> None:
        """Free the operations: the loop has ended."""
        operations, self.operations = self.operations, []
        for operation in operations:
            operation.state = CLOSE_HANDLE  # 5
            operation.state = FREED  # 8


def release_operation(operation: Operation) -> None:
    """Release an operation that was armed, if nothing else has used it since."""
    if operation.state is ARMED:
        operation.state = CLOSE_HANDLE  # 9
        operation.state = FREED  # 8
