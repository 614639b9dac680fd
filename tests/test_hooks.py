"""coutil.hooks: tools that watch an event loop, installed and removed, one or several."""

from __future__ import annotations

import threading

import pytest

from coutil import hooks, spawn, system, uv
from tests.helpers.kernel import current_context


class Log(hooks.Hooks):
    """Writes down which coroutines are resumed, under a name."""

    def __init__(self, name, log):
        self.name, self.log = name, log

    def resumed(self, coroutine):
        self.log.append((self.name, "resumed", coroutine.name))

    def parked(self, coroutine):
        self.log.append((self.name, "parked", coroutine.name))

    def turn(self, count):
        self.log.append((self.name, "turn", type(count)))


def test_install_and_uninstall():
    """The methods are called from then on, and then no longer."""
    log = []
    tool = Log("a", log)
    hooks.install(tool)
    spawn.call(system.suspend, name="x")
    assert log == [("a", "resumed", "x"), ("a", "parked", "x")]
    system.run()
    assert log[2:5] == [("a", "turn", int), ("a", "resumed", "x"), ("a", "parked", "x")]
    hooks.uninstall(tool)
    log.clear()
    spawn.call(system.suspend)
    system.run()
    assert log == []
    assert current_context().hooks is None


def test_several():
    """They are called in the order of their installation, and removed one by one."""
    log = []
    first, second, third = (Log(name, log) for name in "abc")
    for one in (first, second, third):
        hooks.install(one)
    spawn.call(lambda: None, name="x")
    assert log == [(name, what, "x") for what in ("resumed", "parked") for name in "abc"]
    log.clear()
    hooks.uninstall(second)
    spawn.call(lambda: None, name="x")
    assert [name for name, _, _ in log] == ["a", "c", "a", "c"]
    log.clear()
    hooks.uninstall(first)
    spawn.call(lambda: None, name="x")
    system.run("ready")
    assert [entry[:2] for entry in log] == [("c", "resumed"), ("c", "parked"), ("c", "turn")]
    hooks.uninstall(third)
    assert current_context().hooks is None


def test_misuse():
    """What is no tool, is there already, or is not there."""
    tool = hooks.Hooks()
    with pytest.raises(TypeError, match=r"hooks .*5"):
        hooks.install(5)
    with pytest.raises(ValueError, match="is not installed in this event loop"):
        hooks.uninstall(tool)
    hooks.install(tool)
    with pytest.raises(ValueError, match="is already installed"):
        hooks.install(tool)
    hooks.uninstall(tool)
    with pytest.raises(ValueError, match="is not installed in this event loop"):
        hooks.uninstall(tool)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_hook_that_fails(count, escaped):
    """Its errors go to the excepthook; the other hooks and the program go on."""

    class Failing(hooks.Hooks):
        def resumed(self, coroutine):
            raise LookupError("resumed")

        def parked(self, coroutine):
            raise LookupError("parked")

    log = []
    tools = [Failing(), Log("a", log), Log("b", log)][:count]
    for one in tools:
        hooks.install(one)
    made = spawn.call(lambda: "result", name="x")
    for one in tools:
        hooks.uninstall(one)
    assert made.status == "dead"
    assert [(who, str(error)) for who, error in escaped] == [(None, "resumed"), (None, "parked")]
    assert len(log) == 2 * (count - 1)
    escaped.clear()


def test_other_loops():
    """Another thread, and another loop of this one, have hooks of their own."""
    log, others = [], []
    tool = Log("a", log)
    hooks.install(tool)

    def other():
        with pytest.raises(ValueError, match="is not installed"):
            hooks.uninstall(tool)
        inner = Log("b", others)
        hooks.install(inner)
        spawn.call(system.suspend, name="theirs")
        system.run()
        hooks.uninstall(inner)

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    assert log == []
    assert ("b", "resumed", "theirs") in others
    with uv.Loop() as loop:
        timer = uv.Timer(loop)
        timer.ontimeout = lambda _: None
        timer.start(0)
        loop.run()
        assert log == []
    hooks.uninstall(tool)


def test_the_example():
    """That of the module's first lines counts switches."""
    text = "\n".join(line[4:] for line in hooks.__doc__.splitlines() if line.startswith("    "))
    names = {"hooks": hooks}
    exec(text, names)
    spawn.call(system.suspend)
    system.run()
    hooks.uninstall(names["count"])
    assert names["count"].switches == 2
