"""What tools may observe: every resumption, every suspension, every turn."""

from __future__ import annotations

import pytest

from coutil import spawn, system
from coutil.coroutine import create, running, yield_
from coutil.errors import NotYieldable
from tests.helpers.kernel import Hooks, current_context


class Recorder(Hooks):
    """Writes down what it is told."""

    def __init__(self):
        self.log = []
        self.turns = []
        self.inside = []

    def resumed(self, coroutine):
        self.log.append(f"+{coroutine.name}")
        self.inside.append(coroutine)

    def parked(self, coroutine):
        self.log.append(f"-{coroutine.name}")
        assert self.inside.pop() is coroutine

    def turn(self, count):
        self.turns.append(count)


@pytest.fixture
def hooks():
    """A recorder, installed."""
    current_context().hooks = recorder = Recorder()
    yield recorder
    current_context().hooks = None


def spin(times):
    """Let others run, `times` times."""
    for _ in range(times):
        system.suspend()


def test_none_by_default():
    """Without a tool there is none to call; the base class does nothing."""
    assert current_context().hooks is None
    current_context().hooks = base = Hooks()
    assert create(lambda: "result").resume() == "result"
    assert (base.resumed(running()), base.parked(running()), base.turn(1)) == (None, None, None)
    current_context().hooks = None


def test_explicit_resumes(hooks):
    """Each resume is told before it runs and after it came back, nested ones inside."""
    inner = create(yield_)
    outer = create(lambda: (inner.resume(), yield_(), inner.resume()))
    inner_name, outer_name = inner.name, outer.name
    outer.resume()
    outer.resume()
    assert hooks.log == [
        f"{sign}{name}"
        for sign, name in (
            ("+", outer_name),
            ("+", inner_name),
            ("-", inner_name),
            ("-", outer_name),
            ("+", outer_name),
            ("+", inner_name),
            ("-", inner_name),
            ("-", outer_name),
        )
    ]
    assert hooks.inside == []
    assert hooks.turns == []


def test_status_while_it_is_told(hooks):
    """A coroutine is about to run when resumed() is called, and suspended or dead when parked() is."""
    seen = []
    hooks.parked = lambda coroutine: seen.append(coroutine.status)
    made = create(yield_)
    made.resume()
    made.resume()
    made = create(yield_)
    made.resume()
    made.close()
    assert seen == ["suspended", "dead", "suspended", "dead"]


def test_resumes_by_the_loop(hooks, clock):
    """Coroutines that the loop wakes, in the order of their waking."""
    spawn.call(lambda: system.suspend(2), name="late")
    spawn.call(lambda: system.suspend(1), name="soon")
    hooks.log.clear()
    assert system.run() is False
    assert hooks.log == ["+soon", "-soon", "+late", "-late"]
    assert hooks.inside == []


def test_resumes_among_ready_coroutines(hooks):
    """None is missed, also where coroutines could enter each other without the hub."""
    for name in "abc":
        spawn.call(spin, 3, name=name)
    hooks.log.clear()
    assert system.run() is False
    assert hooks.log == ["+a", "-a", "+b", "-b", "+c", "-c"] * 3
    assert hooks.inside == []


def test_main_program_is_told_of_too(hooks):
    """It is resumed by the hub when its wait is over; parked is told when the hub runs again."""
    spawn.call(spin, 1, name="other")
    hooks.log.clear()
    system.suspend()
    assert hooks.log == ["+other", "-other", "+main"]
    system.suspend()
    assert hooks.log == ["+other", "-other", "+main", "-main", "+main"]
    system.suspend()
    hooks.inside.clear()


def test_turns(hooks, hub):
    """They are counted, and each is told once, in order; another thread may read the counter."""
    spawn.call(spin, 3)
    before = hub._turns
    for _ in range(3):
        system.run("ready")
    assert hooks.turns == list(range(before + 1, before + 4))
    assert hub._turns == before + 3
    assert system.run("ready") is False


def test_it_may_be_installed_at_any_time(clock):
    """From then on everything is told; afterwards nothing is."""
    recorder = Recorder()

    def installs():
        system.suspend(1)
        current_context().hooks = recorder
        system.suspend(1)
        current_context().hooks = None
        system.suspend(1)

    recorder.parked = lambda coroutine: recorder.log.append(f"-{coroutine.name}")
    spawn.call(installs, name="installer")
    assert system.run() is False
    assert recorder.log == ["-installer", "+installer"]
    assert len(recorder.turns) >= 1


def test_hooks_of_the_hub_cannot_wait(hooks, clock):
    """They run between switches."""
    refused = []

    def resumed(coroutine):
        for wait in (system.suspend, yield_):
            with pytest.raises(NotYieldable):
                wait()
            refused.append(coroutine.name)

    spawn.call(lambda: system.suspend(1), name="woken")
    hooks.resumed, hooks.parked = resumed, lambda coroutine: None
    assert system.run() is False
    assert refused == ["woken", "woken"]


@pytest.mark.parametrize("method", ["resumed", "parked", "turn"])
def test_failing_hook(hooks, method, escaped, clock):
    """What a hook raises goes to the excepthook, which is told of no coroutine; no other one is disturbed."""

    def fails(what):
        raise LookupError(method)

    log = []
    setattr(hooks, method, fails)
    hooks.parked = hooks.parked if method == "parked" else lambda coroutine: None
    made = spawn.call(lambda: log.append(system.suspend(1)))
    other = create(lambda: log.append(yield_()))
    other.resume()
    other.resume("by hand")
    assert system.run() is False
    current_context().hooks = None
    assert (log, made.status, other.status) == (["by hand", True], "dead", "dead")
    assert len(escaped) >= 2
    assert {(who, type(error), error.args) for who, error in escaped} == {(None, LookupError, (method,))}
    escaped.clear()
