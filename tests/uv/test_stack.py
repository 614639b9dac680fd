"""B18: handlers never run below a libuv frame: whatever they switch to may stop and close what libuv is about to call.

libuv keeps its place in lists and arrays on the C stack while it calls back; a switch in the midst of that would move
the stack. Both scripts below went wrong, in plain bindings, with 1.44 and with newer versions.
"""

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from coutil import event, spawn, system, uv
from tests.helpers.handles import KINDS

COUNT = 4


@pytest.fixture(params=KINDS, ids=[kind.name for kind in KINDS])
def kind(request):
    """Each kind of handle."""
    return request.param


@pytest.fixture
def peers(kind, loop):
    """Some handles of a kind, started; closed at the end."""
    made = [kind.make(loop) for _ in range(COUNT)]
    for one in made:
        kind.start(one)
    yield made
    for one in made:
        one.close_soon()
    loop.run("nowait")
    getattr(kind, "close_ends", lambda handles: None)(made)


def handled(kind, peers, handler):
    """Set the handler of all peers: handler(handle)."""
    for one in peers:
        setattr(one, kind.handler, lambda handle, *event: handler(handle))


@pytest.mark.parametrize("how", ["stop", "close"])
@pytest.mark.parametrize("parks", [False, True])
def test_peers_are_stopped_by_an_older_coroutine(kind, loop, peers, how, parks):
    """The first handler resumes an older coroutine, which stops or closes the others: none of them is called."""
    log = []

    def older():
        event.await_("go")
        for one in peers:
            if one is not log[0]:
                kind.stop(one) if how == "stop" else one.close_soon()
        event.await_("never")

    def handler(handle):
        log.append(handle)
        if len(log) == 1:
            event.emitall("go")
        if parks:
            system.suspend(0)
            system.suspend(0.001)
        kind.stop(handle)

    handled(kind, peers, handler)
    waiting = spawn.call(older)
    kind.trigger(peers)
    for _ in range(5):
        loop.run("nowait")
    first = log[0]
    assert set(log) == {first}
    assert [one.active for one in peers if one is not first] == [False] * (COUNT - 1)
    loop.run()
    assert set(log) == {first}
    waiting.close()


def test_a_parked_handler_closes_the_others_later(kind, loop, peers):
    """A handler parks; resumed by the handler of another event, it closes its peers, which are due in that turn."""
    log = []
    wakeup = uv.Async(loop)

    def handler(handle):
        log.append("called")
        if log == ["called"]:
            event.await_("later")
            for one in peers:
                one.close_soon()
            log.append("closed")

    def onasync(handle):
        event.emitall("later")
        system.suspend(0.001)
        wakeup.close()
        log.append("done")

    handled(kind, peers, handler)
    wakeup.onasync = onasync
    kind.trigger(peers)
    loop.run("nowait")
    loop.run("nowait")
    assert 1 <= log.count("called") <= COUNT * 2 + 2
    if kind.again:
        kind.trigger([one for one in peers if not one.closing])
    wakeup.send()
    loop.run()
    assert log[-1] == "done"
    assert "called" not in log[log.index("closed") :]
    assert all(one.closed for one in peers)


def test_everybody_closes_everybody(kind, loop, peers):
    """Each handler parks in `close` of its neighbour, which may be parked itself: all end, each is closed once."""
    log = []

    def handler(handle):
        log.append(peers[(peers.index(handle) + 1) % COUNT].close())
        log.append(handle.close())

    handled(kind, peers, handler)
    kind.trigger(peers)
    for _ in range(6):
        loop.run("nowait")
    if not all(one.closed for one in peers):  # those that were closed first were not called
        peers[0].close()
        [one.close() for one in peers]
    assert log
    assert set(log) == {True}
    assert loop.run() is False


def test_walk_with_a_function_that_waits(kind, loop, peers):
    """The function that `walk` calls may wait, and close what it has not come to yet."""
    log = []

    def visit(one):
        log.append(one)
        for other in peers:
            other.close_soon()
        system.suspend(0.001)

    def ontimeout(timer):
        assert timer in timer.loop.walk(visit)
        timer.close()

    handled(kind, peers, lambda handle: None)
    timer = uv.Timer(loop)
    timer.ontimeout = ontimeout
    timer.start(0)
    loop.run()
    assert set(log) >= {timer, *peers}
    assert all(one.closed for one in (timer, *peers))


def test_deep_and_shallow_stacks(loop):
    """Handlers that park at different depths, and are resumed in another order, find their frames as they were."""
    log, count = [], 8
    timers = [uv.Timer(loop) for _ in range(count)]

    def deep(depth, number):
        if depth:
            return deep(depth - 1, number) + 1
        event.await_(number)
        return 0

    for number, timer in enumerate(timers):
        timer.ontimeout = lambda one, number=number: log.append((number, deep(number * 20, number)))
        timer.start(0)
    loop.run()
    for number in (3, 7, 0, 5, 1, 6, 2, 4):
        event.emitall(number)
    assert log == [(number, number * 20) for number in (3, 7, 0, 5, 1, 6, 2, 4)]
    for timer in timers:
        timer.close()


def test_collector_in_every_handler(kind, loop, peers):
    """A garbage collection in each handler, while others are parked, takes nothing that is needed."""
    log = []

    def handler(handle):
        gc.collect()
        log.append(handle)
        system.suspend(0)
        gc.collect()
        kind.stop(handle)

    handled(kind, peers, handler)
    kind.trigger(peers)
    for _ in range(4):
        loop.run("nowait")
    assert set(log) == set(peers)


@pytest.mark.slow
@pytest.mark.skipif("COUTIL_INNER" in os.environ, reason="this is the inner run")
def test_all_of_it_with_checked_memory():
    """The same tests while Python fills freed memory and checks what is written around its blocks."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", __file__],
        cwd=root,
        env=os.environ | {"PYTHONMALLOC": "debug", "MALLOC_PERTURB_": "165", "COUTIL_INNER": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
