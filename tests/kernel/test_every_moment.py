"""Signal handlers that raise, at every boundary between two bytecodes of the calls that begin or end a wait."""

from __future__ import annotations

from coutil import spawn, system
from tests.helpers.boundaries import at_every_boundary


def test_boundaries_reach_the_caller_the_waiter_and_the_hub():
    """The helper sees frames that began before it traces, and functions of the standard library that ours call."""
    system.suspend()  # there is a hub

    def program():
        spawn.call(system.suspend)
        system.suspend()

    def places(finalizer=False):
        found = at_every_boundary(lambda: (program, lambda: None, lambda boundary: None), finalizer)
        return {place.split(" ")[0] for place in found}

    assert {"suspend", "call", "work", "park", "Outside.switch", "Hub._turns", "Operation.fire", "wake"} <= places()
    assert places() <= places(finalizer=True)
