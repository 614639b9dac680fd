"""Ends that any number of coroutines wait for: of a request, of a process, of the closing of a handle."""

from __future__ import annotations

from .._coroutines.books import Sentinel
from .._coroutines.coroutine import Coroutine, running
from .._coroutines.switching import park
from .hub import Hub
from .slots import Wakeup

__all__ = ["Completion"]

_NO_WAIT = Sentinel("no wait")


class Completion:
    """The waiters for one end. The hub resumes them in the order in which they began to wait.

    It has no state: the waiters look at that of their object, before they wait and afterwards.
    """

    __slots__ = ("_hub", "_wakeups")

    def __init__(self, hub: Hub) -> None:
        """Make one of `hub`; coroutines of other loops of its thread may wait, too."""
        self._hub = hub
        self._wakeups: list[Wakeup] = []

    def wait(self, what: object) -> None:
        """Wait until `wake_all` is called. Suspends. what: its `str` is for reports.

        Raises `Resumed`, `ForeignThread`, `NotYieldable`.
        """
        me = self._hub.adopt_foreign(running())
        wakeup = Wakeup(me, what)
        self._wakeups.append(wakeup)
        try:
            park(me, what)
        finally:
            wakeup.what = _NO_WAIT  # an entry that is left in the ready queue must not end the next wait
            if wakeup in self._wakeups:
                self._wakeups.remove(wakeup)

    def wake_all(self) -> None:
        """Have the hub resume the waiters in its next turn. May be repeated."""
        self._hub.ready += self._wakeups

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that has waited longest."""
        return next((one.waiter for one in self._wakeups if one.waiter.waiting_on is one.what), None)

    def clear(self) -> None:
        """Forget the waiters: the loop is gone."""
        self._wakeups = []
