"""Exceptions that are raised in one coroutine and arrive in another: where they come from, and who keeps them."""

from __future__ import annotations

import signal
import threading
import traceback
from contextlib import suppress
from itertools import product
from weakref import ref

import pytest

from coutil import coroutine, errors, event, spawn, system, uv
from coutil.scopes import scope, timeout
from tests.helpers.coroutines import Referent, Trouble
from tests.helpers.script import output_of
from tests.helpers.values import without_collector


def inner():
    raise Trouble("from inner")


def frames(error):
    """Return the names of the functions in the traceback of an exception."""
    return [frame.name for frame in traceback.extract_tb(error.__traceback__)]


# -- where they come from


def in_a_handler():
    timer = uv.Timer()
    timer.ontimeout = lambda timer: inner()
    timer.start(1)
    try:
        uv.default_loop().run()
    finally:
        timer.close()


def in_a_signal_handler():
    before = signal.signal(signal.SIGALRM, lambda *_: inner())
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.001)
        system.suspend(10)
    finally:
        signal.signal(signal.SIGALRM, before)


def in_who_throws():
    try:
        inner()
    except Trouble as error:
        one = coroutine.create(coroutine.yield_)
        one.resume()
        one.throw(error)


@pytest.mark.parametrize("where", [in_a_handler, in_a_signal_handler, in_who_throws])
def test_tracebacks_are_whole(where):
    """The one that gets an exception that was raised elsewhere sees where: the traceback ends there."""
    with pytest.raises(Trouble) as caught:
        where()
    assert frames(caught.value)[-1] == "inner"


def test_traceback_of_a_call_of_a_thread(escaped):
    """It is reported, as the waiter has not made it."""
    uv.default_loop().call_threadsafe(inner)
    system.suspend(0.01)
    assert [frames(error)[-1] for _, error in escaped] == ["inner"]
    escaped.clear()


def test_traceback_of_a_coroutine_that_was_interrupted():
    """Ctrl-C, or SystemExit, shows what the coroutine was doing that it ended."""
    script = """
        import _thread, sys, traceback
        from coutil import spawn, system

        def spin():
            _thread.interrupt_main()
            while True:
                pass

        def leave():
            sys.exit(3)

        for what in (spin, leave):
            spawn.call(lambda: (system.suspend(), what()))
            try:
                system.suspend(0.01)
            except (KeyboardInterrupt, SystemExit) as error:
                names = [frame.name for frame in traceback.extract_tb(error.__traceback__)]
                print(type(error).__name__, what.__name__ in names)
    """
    assert output_of(script) == ["KeyboardInterrupt True", "SystemExit True"]


# -- who keeps them


def by_timeout():
    with timeout(0.001):
        system.suspend(10)


def by_close():
    server = system.socket("passive", "ipv4")
    server.bind(system.address("ipv4", "127.0.0.1", 0))
    server.listen(1)
    spawn.call(lambda: (system.suspend(0.001), server.close()))
    server.accept()


def by_deadlock():
    event.await_("nobody emits this")


def by_throw():
    own = coroutine.running()
    spawn.call(lambda: (system.suspend(), own.throw(errors.Timeout())))
    system.suspend(10)


def by_cancelling():
    with scope() as outer:
        spawn.call(lambda: (system.suspend(), outer.cancel()))
        system.suspend(10)


def directly(function):
    function()


def in_a_coroutine(function):
    spawn.call(function)
    system.run()


@pytest.mark.parametrize(
    ("around", "cut"),
    [
        *product((directly, in_a_coroutine), (by_timeout, by_close, by_throw, by_cancelling)),
        (directly, by_deadlock),  # only who drives the loop is told
    ],
)
def test_no_frame_keeps_an_exception_that_was_handled(cut, around):
    """What the frames of a wait that was cut refer to is freed when the exception was handled, as in plain Python."""
    watched = []

    def waiting():
        thing = Referent()
        watched.append(ref(thing))
        cut()

    def program():
        with suppress(errors.Timeout, errors.Closed, errors.Deadlock):
            waiting()
        watched.append(watched[0]() is None)

    with without_collector():
        around(program)
    assert watched[1:] == [True]


@pytest.mark.parametrize("around", [directly, in_a_coroutine])
@pytest.mark.parametrize("seconds", [None, 0.001], ids=["at once", "later"])
def test_no_frame_keeps_what_a_failed_child_had(seconds, around):
    """Nor the task, nor what the frames of the child refer to, when its error was handled."""
    watched = []

    def child(thing):
        if seconds is not None:
            system.suspend(seconds)
        raise Trouble(thing)

    def program():
        thing = Referent()
        watched.append(ref(thing))
        with pytest.raises(ExceptionGroup), scope() as s:
            s.spawn(child, thing)

    with without_collector():
        around(program)
        assert watched[0]() is None


@pytest.mark.parametrize("around", [directly, in_a_coroutine])
def test_block_in_a_generator_that_was_given_up(around, clock):
    """A block that is open in a generator ends with it, when the exception that came through was handled.

    What it cuts in the code outside is no error there, so it is not for a generator to yield out of a block.
    """
    log = []

    def lines():
        with timeout(5):
            yield 1
            yield 2

    def consume():
        generator = lines()
        next(generator)
        system.suspend(10)

    def program():
        with pytest.raises(errors.Cancelled):
            consume()
        log.append(system.suspend(10))

    with without_collector():
        around(program)
    assert log == [True]


# -- the end of a thread


def test_thread_that_ends_after_a_deadline(monkeypatch):
    """Its loop is still where it raised the deadline's exception, when it is ended; nothing is reported of that."""
    told = []
    monkeypatch.setattr(threading, "excepthook", told.append)

    def body():
        system.set_excepthook(lambda *what: told.append(what))
        with pytest.raises(errors.Timeout):
            by_timeout()

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()
    assert told == []
