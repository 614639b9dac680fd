"""What a Timeout tells, and the warning of a block that was made but not entered."""

# ruff: noqa: SIM117  # what blocks raise at their end is the matter here

from __future__ import annotations

import gc
import os
import pickle
import re
import warnings
from contextlib import ExitStack, suppress
from functools import partial

import pytest
from greenlet import greenlet

from coutil import coroutine, errors, event, scopes, spawn, sync, system, uv
from coutil.scopes import move_on_after, scope, timeout, timeout_at
from tests.helpers.children import wait_for
from tests.helpers.script import run_script
from tests.helpers.tcp import pairs


def said(make, wait):
    """Return the text of the Timeout that a block or a call ends with."""
    with pytest.raises(errors.Timeout) as caught, make():
        wait()
    return re.sub(r"at [^ )]*test_texts.py:", "at test_texts.py:", str(caught.value))


def place(function):
    """Return the place of a function of one line, as texts name it."""
    return f"test_texts.py:{function.__code__.co_firstlineno}"


# -- blocks


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda: timeout(0.05), "timed out after 0.05 s"),
        (lambda: timeout(3600), "timed out after 3600 s"),
        (lambda: timeout(0), "timed out at once"),
        (lambda: timeout(-1), "timed out at once"),
        (lambda: timeout_at(system.time() + 2), "timed out after 2 s"),
        (lambda: timeout_at(0), "timed out at once"),
        (lambda: scope(deadline=system.time() + 2.5), "timed out after 2.5 s"),
    ],
)
def test_seconds_and_place(make, start, clock):
    """How long the block was given, and the line that has made it."""
    name = next(name for name in make.__code__.co_names if name in scopes.__all__)
    assert said(make, partial(event.await_, "e")) == f"{start}, waiting on event 'e' ({name} at {place(make)})"


def test_what_was_waited_for(clock):
    """As reports show it; that of the coroutine inside the block, cut in the wait or before it."""
    make, late = partial(timeout, 1), partial(timeout, 0)
    assert said(make, partial(system.suspend, 5)).startswith("timed out after 1 s, waiting on suspend (")
    assert said(late, system.suspend).startswith("timed out at once, waiting on suspend (")
    assert said(late, partial(system.execute, "true")).startswith("timed out at once, waiting on execute (")
    assert said(late, system.run).startswith("timed out at once, waiting on the loop (")

    def yields():
        assert said(late, coroutine.yield_).startswith("timed out at once, waiting on yield (")

    assert spawn.call(yields).status == "dead"
    with pytest.raises(errors.Timeout, match=r"^timed out after 1 s, waiting on result of wait_for "):
        with timeout(1), scope() as s:
            s.spawn(wait_for, "never").result()


def test_the_object_that_was_waited_for():
    """It is named as reports do, with its address if it shows one."""
    with pairs("ipv4") as (near, _):
        text = said(partial(timeout, 0.01), near.receive)
        assert text.startswith(f"timed out after 0.01 s, waiting on {near._handle} (")


def test_children_that_are_waited_for(clock):
    """At the end of a scope it is its children; the first of them is named, with what it waits for."""

    def program():
        with scope() as s:
            s.spawn(wait_for, "never", name="Otto")
            s.spawn(system.suspend, 9)

    text = "timed out after 1 s, waiting on end of 2 children, of which Otto waits on event 'never'"
    assert said(partial(timeout, 1), program).startswith(f"{text} (timeout at ")
    with pytest.raises(
        errors.Timeout, match=r"^timed out after 1 s, waiting on end of 1 children, of which Otto waits"
    ):
        with scope(deadline=system.time() + 1) as s:
            s.spawn(wait_for, "never", name="Otto")


def test_waits_in_another_loop():
    """What stands for the coroutine there knows it."""
    far, near = os.pipe()
    with uv.Loop() as loop, uv.Pipe(loop) as pipe:
        pipe.open(far)
        text = said(partial(timeout, 0.01), pipe.read)
        assert text.startswith("timed out after 0.01 s, waiting on pipe"), text
    os.close(near)


def test_an_object_that_cannot_be_shown(clock):
    """Its text is its own business: the Timeout comes nevertheless."""

    class Broken:
        def __repr__(self):
            raise ValueError

    assert "<Broken instance at" in said(partial(timeout, 1), partial(event.await_, Broken()))


def test_cancelled_by_hand(clock):
    """No time was up."""
    made = []

    def make():
        made.append(timeout(5))
        return made[-1]

    text = said(make, lambda: (made[-1].cancel(), system.suspend()))
    assert text.startswith("cancelled, waiting on suspend (timeout at test_texts.py:")


def test_what_cuts_the_waits_names_the_block(clock):
    """The text of Cancelled: which block, where it was made, and why."""
    found = []
    for make, end in ((partial(move_on_after, 0), "is up"), (scope, "was cancelled"), (timeout, "was cancelled")):
        with suppress(errors.Timeout), make(*[None] * (make is timeout)) as block:
            block.cancel()
            with pytest.raises(errors.Cancelled) as caught:
                system.suspend()
        found.append(caught.value)
        assert caught.value.scope is block
        assert re.fullmatch(rf"(the time of )?{block._name} at .*test_texts.py:\d+ {end}", str(caught.value))
    copied = pickle.loads(pickle.dumps(found[0]))
    assert (str(copied), copied.scope) == (str(found[0]), None)


# -- calls with a timeout


def locked():
    """Return a lock that another coroutine has."""
    lock = sync.Lock()
    spawn.call(lock.acquire)
    return lock


def notified(condition):
    """Wait for a condition, whose lock is free afterwards."""
    with condition:
        condition.wait(timeout=0.5)


def full():
    """Return a queue that takes no more."""
    queue = sync.Queue(1)
    queue.put(1)
    return queue


CALLS = {
    "lock": (locked, lambda lock: lock.acquire(timeout=0.5), r"lock <Lock \w+.*> acquire"),
    "semaphore": (lambda: sync.Semaphore(0), lambda one: one.acquire(timeout=0.5), "semaphore <Semaphore 0.*> acquire"),
    "get": (lambda: sync.Queue(0), lambda queue: queue.get(timeout=0.5), "queue <Queue 0/unlimited.*> get"),
    "put": (full, lambda queue: queue.put(2, timeout=0.5), "queue <Queue 1/1.*> put"),
    "barrier": (lambda: sync.Barrier(2), lambda barrier: barrier.wait(timeout=0.5), "barrier <Barrier 1/2.*> wait"),
    "condition": (sync.Condition, notified, "condition <Condition.*> wait"),
}


@pytest.mark.parametrize(("make", "call", "what"), CALLS.values(), ids=CALLS)
def test_calls_with_a_timeout(make, call, what, clock):
    """The text names the wait, and the line of the caller, not one of ours."""
    thing = make()
    with pytest.raises(errors.Timeout) as caught:
        call(thing)
    line = call.__code__.co_firstlineno + 3 * (call is notified)
    text = rf"timed out after 0.5 s, waiting on {what} \(timeout at .*test_texts.py:{line}\)"
    assert re.fullmatch(text, str(caught.value)), str(caught.value)


def test_processes():
    """The same for the end of a program."""
    with system.start("sleep", "60") as process:
        with pytest.raises(errors.Timeout, match=r"^timed out after 0.01 s, waiting on end of process \d+ \(sleep\) "):
            process.wait(timeout=0.01)
        process.kill("kill")


# -- blocks that are not entered

MAKERS = {
    "timeout": lambda: timeout(5),
    "timeout_at": lambda: timeout_at(5),
    "move_on_after": lambda: move_on_after(5),
    "scope": lambda: scope(shield=False),
}


@pytest.mark.parametrize(("name", "make"), MAKERS.items(), ids=MAKERS)
def test_a_block_without_with_warns(name, make):
    """It does nothing at all, which is never what is meant. The warning is about the line that has made it."""
    with pytest.warns(
        RuntimeWarning, match=rf"^{name} was never entered, so it has done nothing: write `with {name}\("
    ) as found:
        make()
    assert [(one.filename, one.lineno) for one in found] == [(__file__, make.__code__.co_firstlineno)]


@pytest.mark.parametrize(("name", "make"), MAKERS.items(), ids=MAKERS)
def test_blocks_that_are_used_do_not_warn(name, make):
    """In whatever way they are entered, and however that ends."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with make():
            pass
        with ExitStack() as stack:
            stack.enter_context(make())
        with pytest.raises(RuntimeError, match="not open"):
            make().__exit__(None, None, None)
        with pytest.raises(TypeError):
            {"scope": scope, "timeout_at": timeout_at}.get(name, timeout)("5" if name != "scope" else 5)
        with pytest.raises(TypeError, match="shield must be a bool"):
            {"scope": scope}.get(name, partial(timeout, 5))(shield=1)


def test_each_line_warns_once():
    """As other warnings: by default once for a place, not each time that it is passed."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            timeout(5)
        timeout(5)
    assert len({one.lineno for one in found}) == len(found) == 2


def test_warnings_as_errors():
    """A finalizer cannot raise: the error is shown, and nothing is left undone."""
    done = run_script(
        """
        import warnings
        warnings.simplefilter("error")
        from coutil import system
        from coutil.scopes import move_on_after, timeout

        timeout(5)
        with move_on_after(0.001) as limit:
            system.suspend(5)
        print(limit.expired)
        """
    )
    assert (done.stdout, done.returncode) == ("True\n", 0)
    assert "RuntimeWarning: timeout was never entered" in done.stderr


def test_without_a_caller():
    """Called by C, as the function of a greenlet, there is no line; everything else works."""
    block = greenlet(partial(timeout, 0)).switch()
    with pytest.raises(errors.Timeout, match="waiting on suspend"), block:
        system.suspend()
    greenlet(partial(timeout, 0)).switch()
    gc.collect()


def test_the_end_of_the_interpreter():
    """Blocks that are left over then are no news."""
    done = run_script("from coutil.scopes import scope, timeout\nkept = [timeout(5), scope()]\nkept.append(kept)")
    assert (done.stderr, done.returncode) == ("", 0)
