"""Promises, events and mutexes across OS threads: a promise wakes its waiters anywhere, all else refuses."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coutil import errors, event, mutex, promise, queued, spawn, system, uv
from tests.helpers.coroutines import Referent
from tests.helpers.loops import begin
from tests.helpers.script import output_of
from tests.helpers.values import recorder


def in_thread(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a thread of its own, named "other"; return its result, or the exception."""
    found: list[Any] = []

    def call() -> None:
        try:
            found.append(function(*arguments))
        except Exception as error:  # noqa: BLE001  # returned
            found.append(error)

    thread = threading.Thread(target=call, name="other")
    thread.start()
    thread.join()
    return found[0]


def settle(log: list[Any], count: int) -> None:
    """Let the loop turn until so much has happened."""
    while len(log) < count:
        system.suspend(0.001)


class Waiting:
    """A thread with a loop, in which a coroutine has begun to wait for something."""

    def __init__(self, wait: Callable[..., Any], *arguments: Any) -> None:
        self.log: list[Any] = []
        self.started = threading.Event()
        self.stop, self._stop = promise.create()
        self.thread = threading.Thread(target=self.run, args=(wait, *arguments), name="waiter")
        self.thread.start()
        self.started.wait()

    def run(self, wait: Callable[..., Any], *arguments: Any) -> None:
        recorder(self.log, wait, *arguments)
        with uv.Async():
            self.started.set()
            self.stop()

    def end(self) -> list[Any]:
        """Let the thread end; return what the coroutine has got."""
        self._stop()
        self.thread.join()
        return self.log


@pytest.fixture
def waiting() -> Iterator[Callable[..., Waiting]]:
    """Make `Waiting` threads, which end with the test."""
    made: list[Waiting] = []

    def make(wait: Callable[..., Any], *arguments: Any) -> Waiting:
        made.append(Waiting(wait, *arguments))
        return made[-1]

    yield make
    for one in made:
        one.end()


@pytest.mark.parametrize(
    ("wait", "result"),
    [
        (lambda made: made(), 7),
        (lambda made: event.await_(made)[1], 7),
        (lambda made: promise.awaitany(made)(), 7),
        (promise.awaitall, True),
        (lambda made: queued.await_(made)[1], 7),
    ],
    ids=["call", "event.await_", "awaitany", "awaitall", "queued.await_"],
)
def test_fulfilled_by_another_thread(wait, result):
    """Whatever kind of wait it is, the waiter goes on in its own thread."""
    made, fulfill = promise.create()
    log: list[Any] = []
    recorder(log, lambda: (wait(made), threading.get_ident()))
    assert in_thread(fulfill, 7) is True
    assert in_thread(fulfill, 7) is False
    assert log == []  # nothing of this thread runs in the other one
    settle(log, 1)
    assert log == [(result, threading.get_ident())]


def test_the_loop_is_woken(hub):
    """It does not have to wait for something else."""
    made, fulfill = promise.create()
    timer = threading.Timer(0.05, fulfill, (7,))
    timer.start()
    with hub.external_source():
        assert made() == 7
    timer.join()


def test_waiters_in_several_threads(waiting):
    made, fulfill = promise.create()
    others = [waiting(made) for _ in range(3)]
    log: list[Any] = []
    recorder(log, made)
    assert in_thread(fulfill, "x") is True
    settle(log, 1)
    assert [one.end() for one in others] == [["x"]] * 3


def test_fulfilled_here_for_another_thread(waiting):
    """The waiters of the calling thread are resumed at once, as ever."""
    made, fulfill = promise.create()
    other = waiting(made)
    log: list[Any] = []
    recorder(log, made)
    fulfill("x")
    assert log == ["x"]
    assert other.end() == ["x"]


def test_waiter_of_another_loop():
    """The loop that the waiter belongs to is the one that is woken."""
    made, fulfill = promise.create()
    with uv.Loop() as loop:
        log: list[Any] = []
        begin(loop, lambda: log.append(made()))
        thread = threading.Timer(0.05, fulfill, (7,))
        thread.start()
        with uv.Async(loop):
            while not log:
                loop.run("once")
        thread.join()
        assert log == [7]


def test_the_thread_of_the_waiter_has_ended():
    made, fulfill = promise.create()
    in_thread(spawn.call, made)
    assert fulfill(7) is True
    assert made() == 7


def test_no_loop_yet():
    """What a thread is told before it has a loop is not lost."""
    lines = output_of("""
        import threading
        from coutil import promise, spawn, system
        made, fulfill = promise.create()
        spawn.call(lambda: print(made()))
        thread = threading.Thread(target=fulfill, args=(7,))
        thread.start()
        thread.join()
        print("waits")
        system.suspend(0)
        system.suspend(0.01)
    """)
    assert lines == ["waits", "7"]


def test_no_wake_up_is_lost():
    """A thread fulfills while waits begin."""
    made = [promise.create() for _ in range(2000)]
    log: list[Any] = []
    thread = threading.Thread(target=lambda: [fulfill(1) for _, fulfill in made])
    thread.start()
    for wait, _ in made:
        recorder(log, wait)
    thread.join()
    settle(log, len(made))


def test_the_first_call_is_one_thread_s():
    """Of several threads that fulfill a promise one is told that it was the first."""
    for _ in range(50):
        _, fulfill = promise.create()
        barrier, told = threading.Barrier(4), []
        threads = [
            threading.Thread(target=lambda f=fulfill, b=barrier, t=told: (b.wait(), t.append(f()))) for _ in range(4)
        ]
        for one in threads:
            one.start()
        for one in threads:
            one.join()
        assert sorted(told) == [False, False, False, True]


emissions = pytest.mark.parametrize("emit", [event.emitall, event.emitone, queued.emitall, queued.emitone])


@emissions
@pytest.mark.parametrize("make", [Referent, lambda: "name", lambda: 5], ids=["object", "string", "number"])
def test_emission_for_another_thread(emit, make):
    """An emission that can only have been meant for another thread is an error, which names both threads."""
    awaited = make()
    log: list[Any] = []
    recorder(log, event.await_, awaited)
    error = in_thread(emit, awaited)
    assert isinstance(error, errors.ForeignThread)
    assert "belongs to thread MainThread, and was used in thread other" in str(error)
    event.emitall(awaited)
    assert log == [awaited]


@emissions
def test_several_waiters_in_another_thread(emit):
    thing, log = Referent(), []
    recorder(log, event.awaitany, thing, "x")
    recorder(log, event.awaitall, thing)
    assert isinstance(in_thread(emit, thing), errors.ForeignThread)
    event.emitall(thing)
    assert len(log) == 2


def test_a_name_of_a_thread_s_own():
    """Two threads with coroutines may use the same names, and disturb each other in nothing."""
    log: list[Any] = []
    recorder(log, event.await_, "ready")

    def worker() -> list[bool]:
        before = event.emitall("unknown")
        spawn.call(event.await_, "ready")
        return [before, event.emitall("ready"), event.emitall("ready")]

    assert in_thread(worker) == [False, True, False]
    assert log == []
    event.emitall("ready")
    assert log == ["ready"]


def test_unlocking_disturbs_no_other_thread():
    """An object may be a mutex here, and an event there."""
    thing, log = Referent(), []
    recorder(log, event.await_, thing)
    assert in_thread(lambda: (mutex.lock(thing), mutex.unlock(thing))) == (None, False)
    assert log == []
    event.emitall(thing)


def test_mutex_of_another_thread():
    """An object that a coroutine of another thread owns cannot be locked or unlocked; a name is another mutex."""
    thing = Referent()
    for mine in thing, "name":
        mutex.lock(mine)
    for call in mutex.lock, mutex.unlock:
        error = in_thread(call, thing)
        assert isinstance(error, errors.ForeignThread)
        assert "which main owns, belongs to thread MainThread, and was used in thread other" in str(error)
    assert in_thread(lambda: (mutex.islocked("name"), mutex.lock("name"), mutex.unlock("name"))) == (False, None, False)
    for mine in thing, "name":
        mutex.unlock(mine)
    assert in_thread(lambda: (mutex.lock(thing), mutex.unlock(thing))) == (None, False)


def test_emission_without_a_waiter():
    """A thread without coroutines may emit what has no owner."""
    assert in_thread(event.emitall, Referent()) is False
    assert in_thread(event.emitone, "unknown") is False
