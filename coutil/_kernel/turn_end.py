"""The decision at the end of a turn: what the hub does before the next one.

Rule: this file decides and does nothing. The table, of which the first row that holds counts:

    errors                                             RAISE
    not alive, not stopping, mode not "ready"          ADVANCE_CLOCK, once
    no run()                       alive               CONTINUE, else CHECK_DEADLOCK
    run()    stopping                                  RETURN
    run()    entered in this turn                      CONTINUE
    run()    mode "ready"                              RETURN
    run()    mode "step"           happened            RETURN
    run()                          alive               CONTINUE, else RETURN
"""

from __future__ import annotations

from enum import Enum, auto
from typing import NamedTuple


class Decision(Enum):
    """The next step of a hub."""

    CONTINUE = auto()  # run another turn
    RAISE = auto()  # the first pending error, in the coroutine that runs the hub
    ADVANCE_CLOCK = auto()  # move a manual clock to its next timer; decide again if that is not possible
    RETURN = auto()  # from `run`
    CHECK_DEADLOCK = auto()  # raise `Deadlock` unless something outside of the loop may wake the hub


class TurnEnd(NamedTuple):
    """The state of a hub at the end of a turn."""

    errors: bool  # exceptions are pending
    alive: bool  # an entry is ready, or libuv can bring something
    happened: bool  # the turn has made a delivery
    stopping: bool  # `halt` was called
    mode: str  # of `run`: "loop", "step" or "ready"
    running: bool  # a coroutine has called `run`
    entered: bool  # it did so in this turn, after all or some of its deliveries: the turn does not count for it


def decide(end: TurnEnd, clock: bool = True) -> Decision:
    """Return the next step of the hub. clock: whether a manual clock may still be advanced."""
    if end.errors:
        return Decision.RAISE
    if clock and not (end.alive or end.stopping or end.mode == "ready"):
        return Decision.ADVANCE_CLOCK
    if not end.running:
        return Decision.CONTINUE if end.alive else Decision.CHECK_DEADLOCK
    satisfied = end.mode == "ready" or (end.mode == "step" and end.happened) or not end.alive
    return Decision.RETURN if end.stopping or (satisfied and not end.entered) else Decision.CONTINUE
