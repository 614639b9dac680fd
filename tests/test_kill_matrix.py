"""The kill matrix: every call that waits, ended from outside at every moment, in every way; the next user goes first.

A row makes something to wait for. Whatever happens to its first user, `check` is a second user, who must find it as if
the first one had completed its call, or had never made it. To add a row: write a generator function with the decorator
`row` that yields a `Row`, inside whatever `with` blocks it needs. The rows are in `tests/matrix`.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from coutil import coroutine, event, mutex, promise, queued, spawn, sync, system
from coutil.scopes import Task
from coutil.testing import ManualClock
from tests.helpers.kernel import Hub
from tests.matrix import coroutines, datagrams, files, host, streams, terminals  # noqa: F401  # they add their rows
from tests.matrix.row import HOW, MOMENTS, NOTHING, PATIENCE, ROWS, Row, Victim, not_started

# An explicit resume of a coroutine that has not started starts it.
CASES = {
    f"{moment.__name__}-{how}": (moment, how)
    for moment in MOMENTS
    for how in HOW
    if (moment, how) != (not_started, "resume")
}


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "how"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_kill(
    make: Callable[..., Iterator[Row]],
    moment: Callable[[Victim], None],
    how: str,
    clock: ManualClock,
    hub: Hub,
) -> None:
    """R03: permits, handles, waiters and queues are afterwards as if the call had completed, or had not been made."""
    with contextmanager(make)(clock) as given:
        readied = []

        def once() -> None:
            if not readied:
                readied.append(True)
                ready_()

        ready_, given.ready = given.ready, once
        victim = Victim(given, how)
        moment(victim)
        system.run("ready")  # the end of a scope takes a turn
        if victim.resumed and given.insists:
            once()
            until = time.monotonic() + PATIENCE
            while victim.coroutine.status != "dead" and time.monotonic() < until:
                system.run("ready")
        assert victim.coroutine.status == "dead"
        assert (victim.error is None) <= (victim.got is not NOTHING or not victim.begun or victim.resumed)
        once()
        given.check(victim.got, victim.begun)
        assert victim.coroutine.scope is None
        assert coroutine.running().cancelled_scope is None
        del victim
    assert clock._timers.pending() == 0
    system.run("ready")
    assert hub._cancelled_ready == 0


OTHERWISE_NAMED = {"condition_acquire": "lock_acquire", "condition_wait_for": "condition_wait"}


def suspends(call: object) -> bool:
    """Return whether a call says that it suspends, or takes the argument that keeps it from that."""
    return callable(call) and (
        "Suspends" in str(call.__doc__)
        or call is coroutine.yield_
        or (inspect.isfunction(call) and "blocking" in inspect.signature(call).parameters)
    )


def test_the_matrix_is_complete() -> None:
    """Each public call that waits has a row; some are others by another name."""
    modules = [coroutine, event, queued, mutex, promise, system, Task]
    modules += [getattr(sync, name) for name in sync.__all__]
    modules += [found for name in system.__all__ if isinstance(found := getattr(system, name), type)]
    found = {
        f"{module.__name__.rpartition('.')[2].replace('Socket', '').lower()}_{name}".removeprefix("system_").rstrip("_")
        for module in modules
        for name in getattr(module, "__all__", dir(module))
        if not name.startswith("_") and suspends(getattr(module, name, None))  # names of other libraries have none
    }
    assert {"event_await", "localstream_receive_into", "queue_get", "task_result", "suspend", "datagram_send"} < found
    found = {OTHERWISE_NAMED.get(name, name).replace("standardfile", "file") for name in found}
    assert found - set(ROWS) == set()


# -- woken together

EMISSIONS = {name: make for name, make in ROWS.items() if name.startswith(("event", "queued", "promise"))}


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("make", EMISSIONS.values(), ids=EMISSIONS)
def test_killed_by_an_earlier_waiter_of_the_same_emission(
    make: Callable[..., Iterator[Row]], how: str, clock: ManualClock
) -> None:
    """One emission wakes several; the first of them ends the second, which is skipped then, and not the third."""
    with contextmanager(make)(clock) as given:
        victim, log = Victim(given, how), []
        killer = spawn.call(lambda: (given.wait(), log.append("killer"), victim.kill()))
        victim.coroutine.resume()
        third = spawn.call(lambda: (given.wait(), log.append("third")))
        given.ready()
        assert log == ["killer", "third"]
        assert victim.got is NOTHING
        assert victim.resumed if HOW[how] is None else type(victim.error) is HOW[how]
        assert {one.status for one in (killer, victim.coroutine, third)} == {"dead"}
        given.check("e" if "await" in make.__name__ and "promise" not in make.__name__ else NOTHING, True)
