"""Idle, prepare and check handles: when they are called, and what may happen in their handlers."""

import socket
import time
from contextlib import ExitStack

import pytest

from coutil import errors, event, uv

KINDS = [(uv.Idle, "onidle"), (uv.Prepare, "onprepare"), (uv.Check, "oncheck")]
kinds = pytest.mark.parametrize(("kind", "handler"), KINDS)


def test_order_of_a_turn(loop):
    """Idle, prepare, poll, check; a timer that is due comes in the same turn."""
    log = []
    handles = [kind(loop) for kind, _ in reversed(KINDS)]
    for handle in handles:
        setattr(handle, f"on{handle.type}", lambda one: log.append(one.type))
        handle.start()
    assert loop.run("once") is True
    assert log == ["idle", "prepare", "check"]
    for handle in handles:
        handle.close()


@pytest.mark.parametrize(("kind", "handler"), KINDS[:2])
def test_latest_first(loop, kind, handler):
    """Of one kind, the one that was started last comes first, as in libuv."""
    log = []
    handles = [kind(loop) for _ in range(3)]
    for number, handle in enumerate(handles):
        setattr(handle, handler, lambda one, number=number: log.append(number))
        handle.start()
    if kind is uv.Prepare:
        loop.run("nowait")
    else:
        loop.run("once")
    assert log == [2, 1, 0]
    for handle in handles:
        handle.close_soon()


@kinds
def test_stop_in_the_handler(loop, kind, handler):
    """It is called no more, and keeps the loop alive no more."""
    log = []
    with kind(loop) as handle, uv.Idle(loop) as spin:

        def stop(one):
            log.append(one)
            one.stop()
            spin.stop()

        setattr(handle, handler, stop)
        spin.start()
        handle.start()
        handle.start()  # once is enough
        assert handle.active
        assert loop.run() is False
        assert log == [handle]
        assert not handle.active


@kinds
def test_closed_in_the_handler_of_another(loop, kind, handler):
    """A handle that an earlier handler of the turn closes is not called any more."""
    log = []
    first, second = kind(loop), kind(loop)
    for one, other in ((first, second), (second, first)):

        def close(handle, other=other):
            log.append(handle)
            handle.close_soon()
            other.close_soon()

        setattr(one, handler, close)
        one.start()
    with uv.Idle(loop) as spin:
        spin.start()
        loop.run("once")
        loop.run("once")
    assert len(log) == 1
    assert first.closing
    assert second.closing


@kinds
def test_flat_functions(loop, kind, handler):
    """new_x, x_start and x_stop."""
    name = kind.__name__.lower()
    handle = getattr(uv, f"new_{name}")(loop)
    assert type(handle) is kind
    assert uv.handle_get_type(handle) == name
    getattr(uv, f"{name}_start")(handle)
    assert uv.is_active(handle)
    getattr(uv, f"{name}_stop")(handle)
    getattr(uv, f"{name}_stop")(handle)
    assert not uv.is_active(handle)
    uv.close(handle)
    for call in (handle.start, handle.stop):
        with pytest.raises(errors.Closed, match=f"{name} "):
            call()


def test_prepare_does_not_spin(loop):
    """A prepare handle is called once before each wait, and costs no time while the loop waits."""
    log = []
    with uv.Prepare(loop) as prepare, uv.Timer(loop) as timer:
        prepare.onprepare = log.append
        prepare.start()
        timer.ontimeout = lambda one: prepare.stop()
        timer.start(150)
        before = time.process_time()
        loop.run()
        assert time.process_time() - before < 0.1
        assert 1 <= len(log) <= 4


def test_idle_keeps_the_turns_from_waiting(loop):
    """A timer of a minute does not hold up the turns."""
    log = []
    with uv.Timer(loop) as timer, uv.Idle(loop) as idle:
        timer.start(60_000)
        idle.onidle = lambda one: (
            log.append(1),
            one.stop() if len(log) == 50 else None,
            len(log) == 50 and timer.stop(),
        )
        idle.start()
        assert loop.run() is False
        assert len(log) == 50


def test_handlers_may_wait(loop):
    """While one waits, the turns go on and call the handler again."""
    log = []
    with uv.Idle(loop) as idle:

        def onidle(one):
            log.append("in")
            if len(log) == 1:
                event.await_("enough")
                one.stop()
                log.append("out")
            elif len(log) == 5:
                event.emitall("enough")

        idle.onidle = onidle
        idle.start()
        loop.run()
    assert log == ["in"] * 5 + ["out"]


def test_turn_of_an_idle_handle_that_stops_does_not_wait(loop):
    """The handler stops its own handle; the turn goes on to the check handlers at once, also in `once`."""
    log = []
    with uv.Idle(loop) as idle, uv.Check(loop) as check, uv.Timer(loop) as timer:
        idle.onidle = lambda one: (log.append("idle"), one.stop())
        check.oncheck = lambda one: (log.append("check"), one.stop())
        timer.start(60_000)
        for mode in ("once", "default"):
            idle.start()
            check.start()
            if mode == "default":
                check.oncheck = lambda one: (log.append("check"), one.stop(), timer.stop())
            begin = time.monotonic()
            loop.run(mode)
            assert time.monotonic() - begin < 30
        assert log == ["idle", "check"] * 2


def test_due_timers_come_before_what_the_poll_brings(loop):
    """In every way of running, whatever the version of libuv: timer, then check."""
    for mode in ("nowait", "once", "default"):
        log = []
        with uv.Timer(loop) as timer, uv.Check(loop) as check:
            timer.ontimeout = lambda one, log=log: log.append("timer")
            check.oncheck = lambda one, log=log: (log.append("check"), one.stop())
            timer.start(0)
            check.start()
            loop.run(mode)
            assert log == ["timer", "check"], mode


# -- what is not referenced


def always_ready(loop, later):
    ends = socket.socketpair()
    for end in ends:
        later.callback(end.close)
    poll = uv.Poll(loop, ends[0])
    poll.start("w")
    return poll


def check(loop, later):
    made = uv.Check(loop)
    made.start()
    return made


def idle(loop, later):
    made = uv.Idle(loop)
    made.start()
    return made


def prepare(loop, later):
    made = uv.Prepare(loop)
    made.start()
    return made


def due_again_and_again(loop, later):
    made = uv.Timer(loop)
    made.start(0, 1)
    return made


@pytest.mark.parametrize("make", [always_ready, check, idle, prepare, due_again_and_again])
def test_what_happens_in_every_turn_does_not_keep_the_loop(loop, make):
    """A source that is not referenced: `run` returns at once, without a call of its handler."""
    log = []
    with ExitStack() as later, make(loop, later) as handle:
        for handler in ("onpoll", "oncheck", "onidle", "onprepare", "ontimeout"):
            setattr(handle, handler, log.append)
        handle.unref()
        assert loop.run() is False
        assert loop.run("once") is False
        assert log == []
        handle.ref()
        with uv.Timer(loop) as timer:
            timer.ontimeout = lambda _: handle.stop()
            timer.start(5)
            setattr(handle, f"on{'timeout' if handle.type == 'timer' else handle.type}", lambda *_: log.append(1))
            assert loop.run() is False
        assert log, "it was put off, not lost"


@pytest.mark.parametrize("make", [always_ready, check, idle, prepare, due_again_and_again])
def test_deadlock_beside_what_happens_in_every_turn(make):
    """A wait that nothing can end is told, although something that is not referenced goes on."""
    with ExitStack() as later, make(uv.default_loop(), later) as handle:
        handle.unref()
        with pytest.raises(errors.Deadlock):
            event.await_("what nobody emits")


def test_record_of_a_last_turn_that_makes_the_loop_alive(loop):
    """The end is decided after what the records of a turn have started, not before."""
    log = []
    with uv.Timer(loop) as timer:
        timer.ontimeout = lambda _: log.append("timer")
        loop.call_threadsafe(timer.start, 1)
        assert loop.run() is False
        assert log == ["timer"]
