"""Ends that several coroutines wait for: `Completion`."""

import pytest

from coutil import spawn, system
from coutil.coroutine import create
from tests.helpers.kernel import Completion, Resumed, current_hub


class Ended:
    """An object with an end, as a request is."""

    def __init__(self):
        self.completion = Completion(current_hub())
        self.log = []

    def wait(self, name):
        try:
            self.completion.wait(self)
        except Resumed as resumed:
            self.log.append((name, resumed.value))
        else:
            self.log.append(name)


@pytest.fixture
def ended():
    return Ended()


def test_all_are_woken_in_order_by_the_next_turn(ended):
    waiters = [spawn.call(ended.wait, name) for name in "abc"]
    assert ended.completion.waiter is waiters[0]
    ended.completion.wake_all()
    assert ended.log == []
    system.suspend(0)
    assert ended.log == ["a", "b", "c"]
    assert ended.completion.waiter is None


def test_waking_twice_wakes_once(ended):
    spawn.call(ended.wait, "a")
    ended.completion.wake_all()
    ended.completion.wake_all()
    system.suspend(0)
    assert ended.log == ["a"]


def test_an_explicit_resume_ends_one_wait(ended):
    first, second = spawn.call(ended.wait, "a"), spawn.call(ended.wait, "b")
    first.resume(1)
    assert ended.log == [("a", 1)]
    assert ended.completion.waiter is second
    ended.completion.wake_all()
    system.suspend(0)
    assert ended.log == [("a", 1), "b"]


def test_an_entry_in_the_queue_wakes_no_other_wait(ended):
    """The waiter was resumed after `wake_all`, and waits for the same object again."""

    def twice():
        ended.wait("first")
        ended.wait("second")

    waiter = create(twice)
    waiter.resume()
    ended.completion.wake_all()
    waiter.resume(1)
    assert ended.log == [("first", 1)]
    system.suspend(0)
    waiter.resume(2)
    assert ended.log == [("first", 1), ("second", 2)]


def test_whom_a_wait_leaves_out(ended):
    """Those that have begun to wait after it are woken by the next one."""
    ended.completion.wake_all()
    spawn.call(ended.wait, "a")
    system.suspend(0)
    assert ended.log == []
    ended.completion.wake_all()
    system.suspend(0)
    assert ended.log == ["a"]


def test_waiters_are_forgotten_with_the_loop(ended):
    waiter = spawn.call(ended.wait, "a")
    ended.completion.clear()
    ended.completion.wake_all()
    system.suspend(0)
    assert (ended.log, ended.completion.waiter) == ([], None)
    waiter.close()
