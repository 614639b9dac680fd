"""Idle, prepare and check handles: when they are called, and what may happen in their handlers."""

import time

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
        with pytest.raises(errors.Closed, match=f"{name} is closed"):
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
