"""The decision at the end of a turn: each combination of conditions has exactly one row of the table below."""

from __future__ import annotations

from itertools import product

import pytest

from tests.helpers.kernel import Decision, TurnEnd, decide

MODES = ("loop", "step", "ready")
ROWS = [  # conditions that must hold; those left out do not matter
    ({"errors": True}, Decision.RAISE),
    ({"errors": False, "clock": True, "alive": False, "stopping": False, "mode": "loop"}, Decision.ADVANCE_CLOCK),
    ({"errors": False, "clock": True, "alive": False, "stopping": False, "mode": "step"}, Decision.ADVANCE_CLOCK),
    ({"errors": False, "running": True, "stopping": True}, Decision.RETURN),
    ({"errors": False, "running": True, "stopping": False, "mode": "ready", "entered": True}, Decision.CONTINUE),
    ({"errors": False, "running": True, "stopping": False, "mode": "ready", "entered": False}, Decision.RETURN),
    # run() and run("step"), something is alive
    ({"errors": False, "running": True, "stopping": False, "mode": "loop", "alive": True}, Decision.CONTINUE),
    (
        {"errors": False, "running": True, "stopping": False, "mode": "step", "alive": True, "happened": False},
        Decision.CONTINUE,
    ),
    (
        {
            "errors": False,
            "running": True,
            "stopping": False,
            "mode": "step",
            "alive": True,
            "happened": True,
            "entered": True,
        },
        Decision.CONTINUE,
    ),
    (
        {
            "errors": False,
            "running": True,
            "stopping": False,
            "mode": "step",
            "alive": True,
            "happened": True,
            "entered": False,
        },
        Decision.RETURN,
    ),
    # run() and run("step"), nothing is alive, and no clock can be advanced
    *(
        (
            {
                "errors": False,
                "running": True,
                "stopping": False,
                "mode": mode,
                "alive": False,
                "clock": False,
                "entered": entered,
            },
            Decision.CONTINUE if entered else Decision.RETURN,
        )
        for mode in ("loop", "step")
        for entered in (False, True)
    ),
    # a coroutine waits without run()
    ({"errors": False, "running": False, "alive": True}, Decision.CONTINUE),
    ({"errors": False, "running": False, "alive": False, "stopping": True}, Decision.CHECK_DEADLOCK),
    ({"errors": False, "running": False, "alive": False, "stopping": False, "mode": "ready"}, Decision.CHECK_DEADLOCK),
    *(
        (
            {"errors": False, "running": False, "alive": False, "stopping": False, "mode": mode, "clock": False},
            Decision.CHECK_DEADLOCK,
        )
        for mode in ("loop", "step")
    ),
]


@pytest.mark.parametrize("clock", [False, True])
@pytest.mark.parametrize("mode", MODES)
def test_table(mode: str, clock: bool) -> None:
    """Every combination of the other conditions has one row, and the decision is that row's."""
    flags = [name for name in TurnEnd._fields if name != "mode"]
    for values in product((False, True), repeat=len(flags)):
        conditions: dict[str, object] = {**dict(zip(flags, values, strict=True)), "mode": mode, "clock": clock}
        rows = [decision for row, decision in ROWS if row.items() <= conditions.items()]
        assert len(rows) == 1, conditions
        end = TurnEnd(*values[:4], mode, *values[4:])
        assert decide(end, clock) is rows[0], conditions
