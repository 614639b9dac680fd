"""sync.Barrier: no one passes before all have come; if one gives up, everybody is told."""

from __future__ import annotations

import threading
from threading import BrokenBarrierError

import pytest

from coutil import errors, scopes, spawn, system
from coutil.sync import Barrier
from tests.helpers.coroutines import Trouble, start
from tests.helpers.values import cancel, run_until_quiet


def party(log, barrier, name, rounds=1):
    """A body that passes some times, and says at which place it came."""
    for _ in range(rounds):
        try:
            log.append((name, barrier.wait()))
        except (BrokenBarrierError, Trouble, errors.Timeout) as error:
            log.append((name, type(error)))


def test_all_pass_together():
    """Each gets the number of those who came before; they go on in the order in which they came."""
    barrier, log = Barrier(3), []
    start(party, log, barrier, "a")
    start(party, log, barrier, "b")
    assert (log, barrier.n_waiting, barrier.parties) == ([], 2, 3)
    start(party, log, barrier, "c")
    assert log == [("c", 2)]
    run_until_quiet()
    assert log == [("c", 2), ("a", 0), ("b", 1)]
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_many_rounds():
    """The one that is let go may come again at once: that is the next round."""
    barrier, log = Barrier(3), []
    made = [start(party, log, barrier, name, 100) for name in "abc"]
    run_until_quiet()
    assert {one.status for one in made} == {"dead"}
    rounds = [log[first : first + 3] for first in range(0, 300, 3)]
    assert [sorted(place for _, place in each) for each in rounds] == [[0, 1, 2]] * 100
    assert [sorted(name for name, _ in each) for each in rounds] == [["a", "b", "c"]] * 100
    assert barrier.n_waiting == 0


def test_a_barrier_for_one():
    """It never waits, so it works in the hub as well."""
    barrier = Barrier(1)
    assert [barrier.wait() for _ in range(3)] == [0, 0, 0]
    with barrier as place:
        assert place == 0
    assert not barrier.broken


def test_the_main_program_waits(clock):
    """As a context manager it waits at the beginning of the block."""
    barrier, log = Barrier(2), []
    spawn.call(lambda: (system.suspend(1), party(log, barrier, "a")))
    with barrier as place:
        log.append(("main", place))
    assert log == [("a", 1), ("main", 0)]
    assert system.run() is False
    with pytest.raises(errors.Deadlock, match=r"main .* barrier <Barrier 1/2 at test_barrier.py:\d+> wait"):
        barrier.wait()
    assert barrier.broken


def test_explicit_resume_does_not_pass():
    """T-45: who is resumed waits on, at his place."""
    barrier, log = Barrier(2), []
    waiting = start(party, log, barrier, "a")
    waiting.resume("pass")
    waiting.resume()
    assert (log, barrier.n_waiting) == ([], 1)
    assert barrier.wait() == 1
    run_until_quiet()
    assert log == [("a", 0)]


@pytest.mark.parametrize("how", ["throw", "close"])
def test_who_gives_up_breaks_the_barrier(how):
    """The others would wait for ever: they are told, and so is the one that comes later."""
    barrier, log = Barrier(3), []
    waiting = start(party, log, barrier, "a")
    start(party, log, barrier, "b")
    cancel(waiting, how)
    run_until_quiet()
    assert log == [("a", Trouble)] * (how == "throw") + [("b", BrokenBarrierError)]
    assert (barrier.broken, barrier.n_waiting) == (True, 0)
    with pytest.raises(BrokenBarrierError, match=r"Barrier 0/3 broken"):
        barrier.wait()
    barrier.reset()
    assert not barrier.broken
    for name in "xyz":
        start(party, log, barrier, name)
    run_until_quiet()
    assert log[-3:] == [("z", 2), ("x", 0), ("y", 1)]


def test_timeouts(clock):
    """They break it, too."""
    barrier, log = Barrier(3), []
    spawn.call(party, log, barrier, "a")
    with pytest.raises(errors.Timeout):
        barrier.wait(timeout=2)
    run_until_quiet()
    assert log == [("a", BrokenBarrierError)]
    assert barrier.broken
    barrier.reset()
    with scopes.move_on_after(1):
        barrier.wait()
    assert barrier.broken


@pytest.mark.parametrize("end", ["abort", "reset"])
def test_abort_and_reset(end):
    """Those who wait are told; after a reset it is as new."""
    barrier, log = Barrier(3), []
    start(party, log, barrier, "a")
    start(party, log, barrier, "b")
    getattr(barrier, end)()
    run_until_quiet()
    assert log == [("a", BrokenBarrierError), ("b", BrokenBarrierError)]
    assert (barrier.broken, barrier.n_waiting) == (end == "abort", 0)
    barrier.reset()
    start(party, log, barrier, "c")
    assert (log[2:], barrier.n_waiting) == ([], 1)
    barrier.abort()
    run_until_quiet()
    assert log[2:] == [("c", BrokenBarrierError)]


@pytest.mark.parametrize("how", ["throw", "close", "resume"])
def test_cancelled_between_pass_and_run(how):
    """The first who goes on cancels the second, who has not run yet: the round was complete, nothing is broken."""
    barrier, log, made = Barrier(3), [], []

    def first():
        log.append(("first", barrier.wait()))
        cancel(made[1], how)

    made += [start(first), start(party, log, barrier, "second")]
    assert barrier.wait() == 2
    run_until_quiet()
    second = {"throw": [("second", Trouble)], "close": [], "resume": [("second", 1)]}[how]
    assert log == [("first", 0), *second]
    assert (barrier.broken, barrier.n_waiting) == (False, 0)


def test_cancelled_while_it_breaks():
    """Who is cancelled before he is told that the barrier is broken gets the cancellation, and only that."""
    barrier, log, made = Barrier(3), [], []

    def first():
        with pytest.raises(BrokenBarrierError):
            barrier.wait()
        cancel(made[1], "throw")

    made += [start(first), start(party, log, barrier, "second")]
    barrier.abort()
    run_until_quiet()
    assert log == [("second", Trouble)]
    assert {one.status for one in made} == {"dead"}


def test_an_interrupt(escaped):
    """It reaches the main program, and the others are let go all the same."""
    barrier, log = Barrier(3), []

    def body():
        barrier.wait()
        raise KeyboardInterrupt

    start(body)
    start(party, log, barrier, "b")
    assert barrier.wait() == 2
    with pytest.raises(KeyboardInterrupt):
        run_until_quiet()
    run_until_quiet()
    assert log == [("b", 1)]
    assert (barrier.broken, escaped) == (False, [])


@pytest.mark.parametrize(("parties", "error"), [(0, ValueError), (-1, ValueError), (2.0, TypeError), (True, TypeError)])
def test_arguments(parties, error):
    """A barrier needs at least one party."""
    with pytest.raises(error, match="parties"):
        Barrier(parties)
    assert Barrier(10).parties == 10


def test_another_thread():
    """B33: it gets an error; nothing happens to the barrier."""
    barrier, log = Barrier(2), []

    def in_a_thread():
        for call in (barrier.wait, barrier.abort, barrier.reset, barrier.__enter__):
            try:
                call()
            except errors.ForeignThread as error:
                log.append(type(error))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert log == [errors.ForeignThread] * 4
    assert (barrier.n_waiting, barrier.broken) == (0, False)


def test_representations():
    """How many have come, and where it was made."""
    barrier = Barrier(2)
    waiting = start(party, [], barrier, "a")
    assert repr(barrier).startswith("<Barrier 1/2 at test_barrier.py:")
    assert str(waiting.waiting_on) == f"barrier {barrier!r} wait"
    waiting.close()
    assert repr(barrier).startswith("<Barrier 0/2 broken at test_barrier.py:")
