"""The loop in the program's own hands: run, isrunning, halt; who gets what escapes; and what no one can wake."""

from __future__ import annotations

import os
import re
import signal
import socket as stdlib
import sys
import threading
from pathlib import Path

import pytest

from coutil import _lifecycle, spawn, system
from coutil.coroutine import create, running, yield_
from coutil.errors import AlreadyRunning, Deadlock, NotRunning
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import raw_park, waits
from tests.helpers.kernel import running as kernel_running

MODES = ["loop", "step", "ready"]


def fail(*values):
    raise Trouble(*values)


def spin(times, log, name):
    """Let others run, `times` times, and log each return."""
    for number in range(times):
        system.suspend()
        log.append((name, number))


@waits
def wait_for_nothing(what="godot"):
    """Wait in a way that the loop cannot end."""
    raw_park(kernel_running(), what)


def listener():
    """Return a listening socket and its port."""
    made = system.socket("passive", "ipv4")
    made.bind(system.address("ipv4", "127.0.0.1:0"))
    made.listen(8)
    return made, made.getaddress().port


# -- SYS-1, SYS-2, SYS-8, SYS-9: running and halted


def test_isrunning(go):
    """SYS-1: true while run() executes; not in a coroutine that starts before, not when the main program waits."""
    seen = []

    def body():
        seen.append(system.isrunning())
        system.suspend()
        seen.append(system.isrunning())

    go(body)
    assert system.isrunning() is False
    assert system.run() is False
    assert system.isrunning() is False
    go(body)
    system.suspend(0.001)
    assert seen == [False, True, False, False]


def test_halt(go):
    """SYS-2: run() returns True after the turn, also if the halter waits again; the next run() goes on."""
    log = []

    def halter():
        system.suspend()
        system.halt()
        log.append(system.isrunning())
        system.suspend()
        log.append("again")

    go(halter)
    assert system.run() is True
    assert (log, system.isrunning()) == ([True], False)
    assert system.run() is False
    assert log == [True, "again"]


@pytest.mark.parametrize("mode", MODES)
def test_rest_of_the_turn_after_halt(go, mode):
    """SYS-2: the one that was ready in the same turn still runs; True only if something is left."""
    log = []
    go(lambda: (system.suspend(), system.halt(), log.append("halter")))
    go(spin, 1, log, "neighbour")
    assert system.run(mode) is False
    assert log == ["halter", ("neighbour", 0)]
    go(lambda: (system.suspend(), system.halt()))
    go(spin, 2, log, "late")
    assert system.run(mode) is True
    assert log[2:] == [("late", 0)]
    assert system.run() is False


def test_halt_needs_run(go):
    """SYS-8: NotRunning before, after, and when the main program just waits."""
    refused = []

    def halts():
        with pytest.raises(NotRunning, match=r"halt\(\) ends system.run\(\)") as caught:
            system.halt()
        refused.append(isinstance(caught.value, RuntimeError))

    halts()
    assert system.run() is False
    halts()
    go(lambda: (system.suspend(), halts()))
    assert system.suspend(0.001) is True
    assert refused == [True] * 3


def test_halt_with_a_sleeper(clock, go):
    """SYS-9: a wait of 1000 s is left; after its explicit resume nothing is."""
    log = []
    sleeper = go(lambda: log.append(system.suspend(1000)))
    go(lambda: (system.suspend(), system.halt()))
    begin = clock.time
    assert system.run() is True
    assert (log, clock.time) == ([], begin)
    sleeper.resume("woken")
    assert log == ["woken"]
    assert system.run() is False


def test_halt_by_a_timer(clock, go):
    """SYS-9: a halt in the last event before another timer keeps that one for the next run()."""
    log = []
    go(lambda: (system.suspend(1), system.halt()))
    go(lambda: (system.suspend(2), log.append("late")))
    assert system.run() is True
    assert log == []
    assert system.run() is False
    assert log == ["late"]


# -- SYS-3, SYS-5: misuse


@pytest.mark.parametrize("bad", ["none", "", "Loop", "loop "])
def test_unknown_mode(bad):
    """SYS-3: ValueError naming the three modes."""
    with pytest.raises(ValueError, match='mode must be "loop", "step" or "ready"'):
        system.run(bad)
    assert system.isrunning() is False


@pytest.mark.parametrize("bad", [None, 0, True, b"loop", create(print)])
def test_mode_is_a_string(bad):
    """SYS-3: TypeError for anything else, a coroutine included."""
    with pytest.raises(TypeError, match="mode "):
        system.run(bad)
    assert system.isrunning() is False


@pytest.mark.parametrize("mode", MODES)
def test_run_inside_run(go, mode):
    """SYS-5: AlreadyRunning in any coroutine that the loop resumes, directly or through others; that one goes on."""
    log = []

    def nested():
        with pytest.raises(AlreadyRunning, match="the loop itself resumed"):
            system.run(mode)
        log.append(system.isrunning())

    def body():
        system.suspend()
        nested()
        create(nested).resume()
        system.suspend()
        log.append("goes on")

    go(body)
    assert system.run() is False
    assert log == [True, True, "goes on"]


def test_run_inside_a_wait_of_the_main_program(go):
    """SYS-5: the loop is busy then, too; isrunning() is false all the same."""
    log = []

    def body():
        system.suspend()
        with pytest.raises(AlreadyRunning):
            system.run()
        log.append(system.isrunning())

    go(body)
    assert system.suspend(0.001) is True
    assert log == [False]


def test_run_in_a_coroutine():
    """A-19: legal while the loop is not in use; it returns to that coroutine."""
    log = []

    def runs():
        spawn.call(spin, 2, log, "spinner")
        log.append(system.run())
        return "result"

    assert create(runs).resume() == "result"
    assert log == [("spinner", 0), ("spinner", 1), False]
    assert system.run() is False


# -- SYS-4, SYS-6, SYS-7: the modes, and the table of what they return


@pytest.mark.parametrize("mode", MODES)
def test_nothing_pending(mode, hub, monkeypatch):
    """SYS-4: False at once, again and again.

    `run` looks at the signal handlers when it begins. The hub does so too, 100 ms after Python code has run, and that
    is a turn more.
    """
    looks, install = [], _lifecycle.attach
    monkeypatch.setattr(_lifecycle, "attach", lambda hub: looks.append(install(hub)))
    turns = hub._turns
    assert [system.run(mode) for _ in range(3)] == [False] * 3
    assert len(looks) >= 3
    assert hub._turns - turns <= len(looks)
    assert hub.in_flight() == 0


@pytest.mark.parametrize("mode", ["step", "ready"])
def test_one_step_each(go, mode):
    """SYS-6: the k-th run advances every live coroutine by exactly one step."""
    log = []
    for number in (1, 2, 3):
        go(spin, number, log, f"c{number}")
    expected = [
        (True, [("c1", 0), ("c2", 0), ("c3", 0)]),
        (True, [("c2", 1), ("c3", 1)]),
        (False, [("c3", 2)]),
        (False, []),
    ]
    for left, steps in expected:
        assert system.run(mode) is left
        assert log == steps
        log.clear()


@pytest.mark.parametrize("arguments", [(), ("loop",)])
def test_all_steps(go, arguments):
    """SYS-7: "loop", the default, runs until nothing is left."""
    log = []
    for number in (1, 2, 3):
        go(spin, number, log, f"c{number}")
    assert system.run(*arguments) is False
    assert sorted(log) == [("c1", 0), ("c2", 0), ("c2", 1), ("c3", 0), ("c3", 1), ("c3", 2)]
    assert [step for step in log if step[0] == "c3"] == [("c3", 0), ("c3", 1), ("c3", 2)]


def test_many_take_turns(go):
    """SYS-7: first in, first out, each once before anyone twice, also for more than one turn resumes."""
    log = []
    for name in range(2500):
        go(spin, 2, log, name)
    assert system.run() is False
    assert log[:2500] == [(name, 0) for name in range(2500)]
    assert log[2500:] == [(name, 1) for name in range(2500)]


@pytest.mark.parametrize(
    ("mode", "expected"), [("ready", (True, [])), ("step", (False, ["woken"])), ("loop", (False, ["woken"]))]
)
@pytest.mark.parametrize("manual", [True, False])
def test_timer_not_yet_due(request, go, mode, expected, manual):
    """SYS-4: "ready" leaves it alone; "step" and "loop" wait for it. It is gone when it has fired, so that is all."""
    if manual:
        request.getfixturevalue("clock")
    log = []
    sleeper = go(lambda: (system.suspend(0.02), log.append("woken")))
    assert (system.run(mode), log) == expected
    if log:
        assert sleeper.status == "dead"
    else:
        sleeper.resume()
    assert system.run("ready") is False
    assert log == ["woken"]


def test_step_returns_after_the_first_event(clock, go):
    """SYS-6: with two timers "step" waits for the first one only."""
    log = []
    for seconds in (1, 2):
        go(lambda wait=seconds: (system.suspend(wait), log.append(wait)))
    assert system.run("step") is True
    assert log == [1]
    assert system.run("step") is False
    assert log == [1, 2]


@pytest.mark.parametrize("mode", MODES)
def test_listener_without_a_waiter(mode):
    """SYS-4: it does not count, whatever arrives; the connection is kept for the one that accepts later."""
    passive, port = listener()
    with passive:
        assert system.run(mode) is False
        with stdlib.create_connection(("127.0.0.1", port)) as client:
            assert system.run(mode) is False
            with passive.accept() as accepted:
                assert accepted.getaddress("peer").port == client.getsockname()[1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("seconds", [0, 1000])
def test_cancelled_wait(go, mode, seconds, hub):
    """SYS-4: it is over at once, and does not count."""
    log = []
    waiting = go(lambda: log.append(system.suspend(seconds)))
    assert hub.alive() is True
    waiting.resume("early")
    assert log == ["early"]
    assert system.run(mode) is False
    assert (log, hub.in_flight()) == (["early"], 0)


def test_cancelled_request(go, hub):
    """SYS-7: one that is still libuv's counts until its callback, and is then gone without resuming anybody."""
    log = []
    passive, _ = listener()
    with passive, system.socket("stream", "ipv4") as stream:
        idle = hub.in_flight()
        waiting = go(lambda: log.append(stream.connect(passive.getaddress())))
        waiting.resume("early")
        assert (log, waiting.status) == (["early"], "dead")
        assert hub.in_flight() == idle + 1
        assert hub.alive() is True
        assert system.run() is False
        assert hub.in_flight() == idle
        assert log == ["early"]


@pytest.mark.parametrize("mode", MODES)
def test_plain_yields_do_not_count(go, mode):
    """SYS-4: the loop cannot end them."""
    waiting = go(yield_)
    assert system.run(mode) is False
    assert waiting.status == "suspended"
    assert waiting.close() is True


# -- D1: the main program waits


def test_main_program_waits(go):
    """TIM-3: the loop runs on demand, until that one wait is over, and everybody else gets on meanwhile."""
    log = []
    go(spin, 3, log, "spinner")
    assert system.suspend(0.001) is True
    assert log == [("spinner", 0), ("spinner", 1), ("spinner", 2)]
    sleeper = go(lambda: (system.suspend(1000), log.append("never")))
    assert system.suspend(0.001) is True
    assert len(log) == 3
    assert sleeper.close() is True


def test_main_program_takes_turns(go):
    """D3: it is in the ready queue like everybody else: first in, first out."""
    log = []
    for name in "ab":
        go(spin, 3, log, name)
    for number in range(3):
        system.suspend()
        log.append(("main", number))
    assert log == [(name, number) for number in range(3) for name in ("a", "b", "main")]
    assert system.run() is False


# -- excepthook


def test_excepthook_gets_what_escapes(escaped):
    """The coroutine and the exception; the others and the loop go on."""
    log = []
    first = spawn.call(lambda: (system.suspend(), fail("first")))
    spawn.call(spin, 2, log, "spinner")
    second = spawn.call(lambda: (system.suspend(), system.suspend(), fail("second")))
    assert system.run() is False
    assert [(who, str(error)) for who, error in escaped] == [(first, "first"), (second, "second")]
    assert log == [("spinner", 0), ("spinner", 1)]
    escaped.clear()


def test_excepthook_is_set_and_restored():
    """The getter returns what was set; None sets the default hook, which is a callable, too."""
    before = system.get_excepthook()
    assert system.set_excepthook(print) is None
    assert system.get_excepthook() is print
    system.set_excepthook(None)
    default = system.get_excepthook()
    system.set_excepthook(before)
    assert callable(default)
    assert default not in (before, print)
    for bad in (1, "print", ()):
        with pytest.raises(TypeError, match="hook "):
            system.set_excepthook(bad)
    assert system.get_excepthook() is before


def test_default_excepthook(capsys):
    """It names the coroutine and prints the traceback on standard error."""
    before = system.get_excepthook()
    system.set_excepthook(None)
    spawn.call(lambda: (system.suspend(), fail("to be seen")), name="unlucky")
    assert system.run() is False
    system.set_excepthook(before)
    shown = capsys.readouterr().err
    assert shown.startswith("Exception in <Coroutine unlucky dead>:\nTraceback (most recent call last):\n")
    assert shown.endswith("Trouble: to be seen\n")
    assert "in fail\n" in shown


def test_default_excepthook_without_stderr(monkeypatch):
    """Where there is no standard error, as in a daemon, nothing is shown and nothing fails."""
    before = system.get_excepthook()
    system.set_excepthook(None)
    monkeypatch.setattr(sys, "stderr", None)
    made = spawn.call(lambda: (system.suspend(), fail()))
    assert system.run() is False
    assert made.status == "dead"
    assert system.get_excepthook() is not before
    system.set_excepthook(before)


def test_excepthook_that_fails(capsys):
    """What it raises is shown together with what it was called for; the loop goes on."""
    log = []
    before = system.get_excepthook()
    system.set_excepthook(lambda coroutine, error: fail("in the hook"))
    spawn.call(lambda: (system.suspend(), fail("in the coroutine")))
    spawn.call(spin, 2, log, "spinner")
    assert system.run() is False
    system.set_excepthook(before)
    shown = capsys.readouterr().err
    assert "Trouble: in the coroutine\n" in shown
    assert "Trouble: in the hook\n" in shown
    assert log == [("spinner", 0), ("spinner", 1)]


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_excepthook_that_leaves(leave):
    """KeyboardInterrupt and SystemExit raised in the hook leave run(), as if the coroutine had raised them."""
    log = []

    def hook(coroutine, error):
        log.append(str(error))
        raise leave

    before = system.get_excepthook()
    system.set_excepthook(hook)
    spawn.call(lambda: (system.suspend(), fail("seen")))
    with pytest.raises(leave):
        system.run()
    system.set_excepthook(before)
    assert log == ["seen"]
    assert system.run() is False


def test_hook_belongs_to_the_thread(escaped):
    """Another OS thread has a hook and a loop of its own."""
    seen = []

    def other():
        system.set_excepthook(lambda coroutine, error: seen.append(str(error)))
        spawn.call(lambda: (system.suspend(), fail("theirs")))
        seen.append(system.run())

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert seen == ["theirs", False]
    assert escaped == []
    assert system.isrunning() is False


def test_call_of_another_thread_that_fails(escaped, hub):
    """A call handed in from outside has no coroutine: the hook gets None."""
    hub.call_threadsafe(fail, "handed in")
    assert system.suspend(0.001) is True
    assert [(who, str(error)) for who, error in escaped] == [(None, "handed in")]
    escaped.clear()


# -- KeyboardInterrupt and SystemExit


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_leaving_run(go, leave, escaped):
    """I8: they go to the caller of run(), after the turn; everything else can go on in another run()."""
    log = []

    def leaves():
        system.suspend()
        raise leave("bye")

    go(leaves)
    go(spin, 3, log, "spinner")
    with pytest.raises(leave, match="bye"):
        system.run()
    assert (log, system.isrunning(), escaped) == ([("spinner", 0)], False, [])
    assert system.run() is False
    assert len(log) == 3


@pytest.mark.parametrize("leave", [KeyboardInterrupt, SystemExit])
def test_leaving_a_wait(go, leave):
    """I8: they reach the main program out of its wait, which is cancelled."""

    def leaves():
        system.suspend()
        raise leave

    go(leaves)
    with pytest.raises(leave):
        system.suspend(1000)
    assert system.run() is False
    assert system.suspend(0.001) is True


def test_leaving_twice(go):
    """I8: two at once are raised one after the other: none is lost."""

    def leaves(error):
        system.suspend()
        raise error

    go(leaves, KeyboardInterrupt("first"))
    go(leaves, SystemExit("second"))
    with pytest.raises(KeyboardInterrupt, match="first"):
        system.run()
    with pytest.raises(SystemExit, match="second"):
        system.run()
    assert system.run() is False


# -- B39: dead-locks, true and false


def test_deadlock_text(go):
    """B39: the message lists every coroutine that waits, what for, and where."""

    def worker():
        wait_for_nothing("a lock")

    def generator():
        yield_()

    made = [spawn.call(worker, name="worker 1"), spawn.call(generator, name="generator")]
    with pytest.raises(Deadlock) as caught:
        wait_for_nothing("godot")
    assert all(one.close() for one in made)
    first, *lines = str(caught.value).splitlines()
    assert first == "nothing can wake the 3 coroutines that wait"
    place = rf"{re.escape(str(Path(__file__).relative_to(Path.cwd())))}:\d+ in"
    for pattern in (
        rf"  main       +[\d.]+ m?s  godot   {place} wait_for_nothing",
        rf"  worker 1   +[\d.]+ m?s  a lock  {place} wait_for_nothing",
        rf"  generator  +[\d.]+ m?s  yield   {place} generator",
    ):
        assert [line for line in lines if re.fullmatch(pattern, line)], lines
    assert isinstance(caught.value, RuntimeError)


def test_deadlock_of_one():
    """B39: the main program alone; it can wait again, also for the same."""
    for _ in range(2):
        with pytest.raises(
            Deadlock, match=r"nothing can wake the 1 coroutine that waits\n  main  [\d.]+ m?s  godot  .*test_run.py"
        ):
            wait_for_nothing()
    assert system.suspend(0.001) is True
    assert running().status == "running"


def test_deadlock_after_others_have_ended(clock, go):
    """B39: it is found as soon as nothing is left, not before."""
    log = []
    go(lambda: (system.suspend(5), log.append("done")))
    with pytest.raises(Deadlock):
        wait_for_nothing()
    assert log == ["done"]
    assert system.run() is False


def test_deadlock_after_main_was_resumed(clock, go):
    """B39: it reaches the main program also when that waits below the coroutine that resumed it."""
    main = running()
    made = go(lambda: (system.suspend(1), main.resume("woken")))
    assert wait_for_nothing() == "woken"
    with pytest.raises(Deadlock):
        wait_for_nothing()
    assert made.status == "dead"
    assert system.run() is False


def test_no_deadlock_while_a_thread_can_wake(clock, go):
    """B39: a coroutine that is going to resume the main program is reason enough to wait."""
    main, log = running(), []
    go(lambda: (system.suspend(1), log.append("wakes"), main.resume("woken")))
    assert wait_for_nothing() == "woken"
    assert log == ["wakes"]
    assert system.suspend() is True


def test_no_deadlock_while_a_thread_may_call(hub):
    """B39: nothing but another OS thread can wake the main program; that was announced, so the loop waits."""
    main = running()
    asleep = threading.Event()

    def other():
        asleep.wait(10)
        hub.call_threadsafe(main.resume, "from the thread")

    thread = threading.Thread(target=other)
    thread.start()
    with hub.external_source():
        hub.call_threadsafe(asleep.set)
        assert wait_for_nothing() == "from the thread"
        assert system.suspend() is True  # lets the call return
    thread.join()
    with pytest.raises(Deadlock):
        wait_for_nothing()


def test_no_deadlock_while_a_stranger_may_connect():
    """B39: who accepts may wait for another process; a connection ends it."""
    passive, port = listener()
    clients = []

    def connect():
        clients.append(stdlib.create_connection(("127.0.0.1", port)))

    thread = threading.Thread(target=connect)
    with passive:
        spawn.call(lambda: (system.suspend(0.01), thread.start()))
        with passive.accept() as accepted:
            assert accepted.getaddress().port == port
    thread.join()
    assert len(clients) == 1
    clients[0].close()


def test_signal_handler_runs_while_the_loop_waits(go):
    """B39: Python's own handlers run at once, and may resume coroutines."""
    log = []
    sleeper = go(lambda: log.append(system.suspend(1000)))
    before = signal.signal(signal.SIGUSR1, lambda number, frame: sleeper.resume("by a signal"))
    thread = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    thread.start()
    try:
        assert system.run() is False
        assert log == ["by a signal"]
    finally:
        thread.join()
        assert signal.signal(signal.SIGUSR1, before) is not before
