"""Signals: Python's handlers run at once although the loop sleeps in the kernel; Ctrl-C does no harm anywhere.

No test measures a delay that the machine could cause. An idle loop looks at its settings `LOOK` after Python code has
run, and does not leave the system call again before its wait ends, which is after `LONG`. So a signal that comes later
than `LOOK`, and is handled before `STALL`, has ended the wait itself.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from contextlib import contextmanager
from textwrap import dedent

import pytest

from coutil import spawn, system
from coutil.scopes import timeout
from tests.helpers.kernel import raw_park as park
from tests.helpers.kernel import running
from tests.helpers.script import ROOT, output_of, run_script
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, pairs

LOOK = 0.1  # seconds, CO_LOOK_MS of wakeups.c
LONG = 20  # seconds that no test waits to the end
STALL = 10  # seconds that a loaded machine may need for what takes microseconds


class Rang(Exception):
    """What a handler raises."""


@contextmanager
def alarm(handler, delay=0.02):
    """Have `handler` called by SIGALRM after `delay` seconds; yields when that is, in time.monotonic()."""
    before = signal.signal(signal.SIGALRM, handler)
    due = time.monotonic() + delay
    try:
        signal.setitimer(signal.ITIMER_REAL, delay)
        yield due
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def ring(number, frame):
    raise Rang


# -- handlers of the user


def wait_for_time():
    system.suspend(LONG)


def wait_for_data():
    with pairs("ipv4") as (near, _):
        near.receive()


def wait_for_connection():
    with listening("ipv4") as server:
        server.accept()


def wait_for_reader():
    with pairs("ipv4") as (near, _):
        near.send(BIG)


def run_the_loop():
    sleeper = spawn.call(system.suspend, LONG)
    try:
        system.run()
    finally:
        sleeper.resume()


def run_a_step():
    sleeper = spawn.call(system.suspend, LONG)
    try:
        system.run("step")
    finally:
        sleeper.resume()


def wait_for_a_thread(hub):
    with hub.external_source():
        park(running(), "a thread")


IDLE = [wait_for_time, wait_for_data, wait_for_connection, wait_for_reader, run_the_loop, run_a_step]


@pytest.mark.parametrize("wait", IDLE)
def test_handler_runs_while_the_loop_is_idle(wait):
    """B59, T-28: the signal ends the loop's sleep, whatever is waited for; what its handler raises ends the wait."""
    rung = []

    def handler(number, frame):
        rung.append(time.monotonic())
        raise Rang

    with alarm(handler, LOOK * 1.5) as due, pytest.raises(Rang):
        wait()
    assert len(rung) == 1
    assert rung[0] - due >= -0.001
    assert time.monotonic() - due < STALL
    assert system.suspend(0.0001) is True


def test_handler_that_returns(hub):
    """B59: a handler that raises nothing ends the loop's sleep, several times; the wait goes on until it is over."""
    begun, rung = [], []

    def handler(number, frame):
        begun.append(len(rung))
        if len(begun) < 3:
            signal.setitimer(signal.ITIMER_REAL, LOOK * 1.5)
        else:
            waiting.resume("over")

    waiting = spawn.call(lambda: rung.append(system.suspend(LONG)))
    with alarm(handler, LOOK * 1.5) as due:
        assert system.run() is False
    assert (begun, rung) == ([0, 0, 0], ["over"])
    assert time.monotonic() - due < STALL
    assert hub.pending_errors == []


def test_nothing_is_lost_by_a_handler_that_raises(go):
    """B59: waits of coroutines and of the main program go on after a handler has raised in the hub, again and again."""
    got = []
    with pairs("ipv4", 3) as ends:
        for near in ends[::2]:
            go(lambda near=near: [got.append(near.receive()) for _ in range(5)])
        go(lambda: (system.suspend(0.05), got.append("timer")))
        for number in range(5):
            with alarm(ring, 0.002), pytest.raises(Rang):
                system.suspend(LONG)
            for far in ends[1::2]:
                far.send(b"%d" % number)
        system.run()
    assert sorted(got[:-1]) == sorted([b"0", b"1", b"2", b"3", b"4"] * 3)
    assert got[-1] == "timer"


def test_handler_that_raises_in_a_coroutine(escaped):
    """A-12, B59: what a handler raises in a coroutine's own code is that coroutine's error, like any other."""
    done = []

    def compute():
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        end = time.monotonic() + LONG
        while time.monotonic() < end:
            pass

    spawn.call(lambda: (system.suspend(), compute()), name="busy")
    spawn.call(lambda: (system.suspend(0.001), done.append(1)))
    with alarm(ring, LONG):
        assert system.run() is False
    assert [(one.name, type(error)) for one, error in escaped] == [("busy", Rang)]
    assert done == [1]
    escaped.clear()


def test_flood_of_signals(hub):
    """B60: more signals than the wake-up pipe holds do not block, warn or stop anything; the last one is handled."""
    seen = []
    with alarm(lambda number, frame: seen.append(number), LONG):
        for _ in range(100_000):
            os.kill(os.getpid(), signal.SIGALRM)
        before = len(seen)
        last = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGALRM))
        last.start()
        with timeout(LONG):
            while last.is_alive():
                system.suspend(0.01)
    assert before > 0
    assert len(seen) == before + 1
    assert hub.pending_errors == []


def test_exceptions_meant_for_main_come_one_by_one():
    """A-12: KeyboardInterrupt and SystemExit of several coroutines in one turn all reach the main program, in order."""

    def leave(error):
        system.suspend()
        raise error

    for number, kind in enumerate([KeyboardInterrupt, SystemExit, KeyboardInterrupt]):
        spawn.call(leave, kind(number))
    reached = []
    for _ in range(3):
        try:
            system.suspend(LONG)
        except (KeyboardInterrupt, SystemExit) as error:
            reached.append((type(error), error.args))
    assert reached == [(KeyboardInterrupt, (0,)), (SystemExit, (1,)), (KeyboardInterrupt, (2,))]
    assert system.suspend(0.001) is True


@pytest.mark.parametrize("wait", [system.run, lambda: system.suspend(LONG), lambda: system.run("step")])
def test_keyboard_interrupt_of_a_coroutine(wait):
    """A-12: KeyboardInterrupt that escapes from a coroutine, or from one that it resumed, reaches the main program."""

    def leave():
        system.suspend()
        raise KeyboardInterrupt

    def outer():
        system.suspend()
        spawn.call(leave)
        system.suspend(0.001)
        done.append(1)

    done = []
    spawn.call(outer)
    with pytest.raises(KeyboardInterrupt):
        deque(iter(wait, None), 0)  # until it raises
    assert system.run() is False
    assert done == [1]


# -- Ctrl-C


INTERRUPTS = """
import os, signal, threading, time
from coutil import errors, spawn, system
from tests.helpers.servers import listening

def pair():
    server = listening(backlog=8)
    client = system.socket("stream", "ipv4")
    client.connect(server.getaddress())
    return client, server.accept()

def compute():
    system.suspend()
    while True:
        pass

def spin():
    while True:
        system.suspend()

def interrupted(wait):
    sent = []
    now = lambda: (time.monotonic(), time.process_time())
    timer = threading.Timer(0.15, lambda: (sent.extend(now()), os.kill(os.getpid(), signal.SIGINT)))
    try:
        timer.start()  # the signal may come before this returns
        wait()
    except KeyboardInterrupt:
        return [after - before for after, before in zip(now(), sent)]
"""

STATES = {
    "idle": "system.suspend(20)",
    "receive": "near.receive()",
    "accept": "server.accept()",
    "send, nobody reads": "near.send(bytes(1 << 24))",
    "run": "(spawn.call(system.suspend, 20), system.run())",
    "computing coroutine": "(spawn.call(compute), system.run())",
    "computing coroutine, main waits": "(spawn.call(compute), system.suspend(20))",
    "spinning coroutines": "([spawn.call(spin) for _ in range(3)], system.suspend(20))",
    "spinning main": "spin()",
    "blocking": "system.suspend(20, blocking=True)",
    "hook": "(system.set_excepthook(lambda *_: time.sleep(0.05)), spawn.call(lambda: 1 / 0), system.suspend(20))",
}


@pytest.mark.slow
@pytest.mark.parametrize("state", STATES)
def test_interrupt(state):
    """B59, R07: Ctrl-C raises KeyboardInterrupt in the main program; after that everything still works.

    What computes is interrupted before it has used 50 ms of a processor, what waits is long before its end.
    """
    lines = output_of(
        INTERRUPTS
        + f"""
near, far = pair()
server = listening(backlog=8)
lag, work = interrupted(lambda: {STATES[state]})
print((lag < {STALL} and work < 0.05) or (lag, work))
spawn.call(lambda: print(far.receive().strip(bytes(1)).decode()))
near.close() if {state.startswith("send")} else near.send(b"hello")
print(system.suspend(0.01))
"""
    )
    assert lines == ["True", "" if state.startswith("send") else "hello", "True"]


def test_interrupt_from_outside():
    """B59: SIGINT to an idle program ends it as Python always does: with a traceback, killed by SIGINT, at once."""
    script = "from coutil import system; print(1, flush=True); system.suspend(99)"
    command = [sys.executable, "-X", "dev", "-c", script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "1\n"
        time.sleep(2 * LOOK)
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=LONG)
    assert (process.returncode, output) == (-signal.SIGINT, "")
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
    assert errors.count("Traceback") == 1


@pytest.mark.slow
def test_sixty_interrupts_under_load():
    """R07, B59: Ctrl-C at 60 random moments under echo load: KeyboardInterrupt in the main program, nothing else.

    Each time a fresh process is interrupted. Afterwards its loop still turns, and every connection whose two coroutines
    were not hit themselves goes on: no wake-up is lost, wherever the signal struck.
    """
    script = INTERRUPTS + dedent(
        """
        import random, sys

        def client(number, stream):
            with stream:
                while True:
                    stream.send(b"x" * 100)
                    if not stream.receive():
                        return
                    counts[number] += 1

        def server(stream):
            with stream:
                while data := stream.receive():
                    stream.send(data)

        def child(ready):
            both = []
            for number in range(4):
                near, far = pair()
                both.append((spawn.call(server, far), spawn.call(client, number, near)))
            spawn.call(spin)
            try:
                while min(counts) < 3:
                    system.suspend(0.0001)
                os.write(ready, b"1")
                while True:
                    system.suspend(0.0003)
            except KeyboardInterrupt:
                pass
            end = time.monotonic() + 5
            before = counts.copy()
            untouched = [n for n, pair in enumerate(both) if all(one.status == "suspended" for one in pair)]
            while any(counts[n] < before[n] + 3 and both[n][1].status != "dead" for n in untouched):
                system.suspend(0.0001)
                if time.monotonic() > end:
                    os._exit(3)
            os._exit(0 if len(untouched) >= 2 else 4)

        counts = [0] * 4
        random.seed(1)
        outcomes = []
        signal.alarm(40)
        for _ in range(60):
            reader, writer = os.pipe()
            pid = os.fork()
            if not pid:
                child(writer)
            os.read(reader, 1)
            time.sleep(random.uniform(0, 0.003))
            os.kill(pid, signal.SIGINT)
            outcomes.append(os.waitpid(pid, 0)[1])
            os.close(reader)
            os.close(writer)
        print(len(outcomes), set(outcomes))
        """
    )
    done = run_script(script, timeout=45)
    assert done.stdout == "60 {0}\n"
    assert done.stderr == ""
    assert done.returncode == 0


# -- whose handler it is


def test_handler_and_wakeup_descriptor_are_restored():
    """B12, T-27: when the hub is closed, SIGINT and the wake-up descriptor are as they were found."""
    lines = output_of(
        """
        import os, signal, socket
        from coutil import system
        from coutil._kernel.hub import current_hub

        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        signal.set_wakeup_fd(ours.fileno())
        system.suspend(0.001)
        hub = current_hub()
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        hub.close()
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        print(signal.set_wakeup_fd(-1) == ours.fileno())
        system.suspend(0.001)  # a new hub
        print(current_hub() is hub, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        current_hub().close()
        print(signal.set_wakeup_fd(-1), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """
    )
    assert lines == ["False", "True", "True", "False False", "-1 True"]


@pytest.mark.parametrize("first", [True, False])
def test_own_handler_is_respected(first):
    """B59: a handler that the program has set for SIGINT, before or after the loop began, stays, and runs at once."""
    lines = output_of(
        INTERRUPTS
        + f"""
from coutil import promise, scopes

def own(number, frame):
    fulfill(number)

handled, fulfill = promise.create()
for begin in (lambda: signal.signal(signal.SIGINT, own), lambda: system.suspend(0.001))[:: {1 if first else -1}]:
    begin()
threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
with scopes.timeout({LONG}):
    print(int(handled()))
print(system.suspend(0.001))
print(signal.getsignal(signal.SIGINT) is own)
from coutil._kernel.hub import current_hub
current_hub().close()
print(signal.getsignal(signal.SIGINT) is own)
"""
    )
    assert lines == ["2", "True", "True", "True"]


def test_ignored_interrupt():
    """B59: SIGINT that the program ignores is ignored; with the system's default action it kills."""
    done = run_script(
        INTERRUPTS
        + """
signal.signal(signal.SIGINT, signal.SIG_IGN)
system.suspend(0.001)
os.kill(os.getpid(), signal.SIGINT)
print(system.suspend(0.001), flush=True)
signal.signal(signal.SIGINT, signal.SIG_DFL)
system.suspend(0.001)
os.kill(os.getpid(), signal.SIGINT)
system.suspend(1)
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "True\n", "")
