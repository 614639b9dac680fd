"""The interpreter's recursion limit, met in every function of ours: what waits afterwards waits as before."""

from __future__ import annotations

import gc
import threading

import pytest

from coutil import event, mutex, spawn, sync, system
from coutil.scopes import scope
from tests.coroutines.test_runners import at_depth, room


def locked():
    mutex.lock("m")
    mutex.unlock("m")


def directly(function):
    function()


def in_a_coroutine(function):
    one = spawn.call(function)
    system.run()
    assert one.status == "dead"


@pytest.mark.parametrize("around", [directly, in_a_coroutine])
@pytest.mark.parametrize(
    "wait",
    [system.suspend, lambda: system.suspend(0.0001), locked],
    ids=["suspend", "sleep", "mutex"],
)
def test_waits_at_the_recursion_limit(wait, around, escaped):
    """RecursionError is raised by the wait; the next one, where there is room, knows nothing of it."""

    def attempts():
        for left in range(60):
            try:
                at_depth(max(room() - left, 1), wait)
            except RecursionError:
                escaped.clear()  # of coroutines that ended at the limit
            if mutex.ownlock("m"):
                mutex.unlock("m")
        assert system.suspend() is True
        assert system.suspend(0.0001) is True

    around(attempts)


def test_children_that_cannot_begin(escaped):
    """A scope waits for no child that had no room to begin, and says so where it was to be spawned."""
    log = []

    def host(left):
        with scope() as s:
            try:
                at_depth(room() - left, lambda: s.spawn(log.append, left))
            except RecursionError:
                log.append("no room")

    for left in range(60):
        one = spawn.call(host, left)
        assert system.run() is False
        assert one.status == "dead"
        escaped.clear()
    assert "no room" in log
    assert 59 in log


def test_forgotten_waits_of_a_thread():
    """Who waits for what no other one knows is ended with its thread, also if it has waited in the loop before."""
    log = []

    def waiter(name, wait):
        try:
            system.suspend(0.0001)
            wait()
        finally:
            log.append(name)

    def body():
        spawn.call(waiter, "event", lambda: event.await_("nobody"))
        spawn.call(waiter, "queue", lambda: sync.Queue(0).get())
        system.suspend(0.01)
        assert log == []

    gc.collect()
    gc.disable()
    try:
        thread = threading.Thread(target=body)
        thread.start()
        thread.join()
        assert sorted(log) == ["event", "queue"]
    finally:
        gc.enable()
