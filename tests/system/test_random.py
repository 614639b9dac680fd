"""`system.random`: the first request of libuv's thread pool."""

from array import array

import pytest

from coutil import coroutine, errors, spawn, system
from coutil.scopes import move_on_after
from tests.helpers.ids import shown

WRONG = ["text", b"bytes", 7, None, memoryview(b"read only"), [1, 2]]


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize("buffer", WRONG, ids=shown)
def test_wrong_buffers_are_refused(buffer, blocking):
    """NET-28: what cannot be written to is a TypeError that names the buffer."""
    with pytest.raises(TypeError, match="buffer"):
        system.random(buffer, blocking=blocking)


def test_other_wrong_arguments():
    """An empty slice, positions that are no integers, and a flag that is none, leave the buffer as it was."""
    buffer = bytearray(8)
    with pytest.raises(ValueError, match="empty"):
        system.random(buffer, 4, 4)
    with pytest.raises(TypeError, match=r"start .*'1'"):
        system.random(buffer, "1")
    with pytest.raises(TypeError, match=r"blocking .*1"):
        system.random(buffer, blocking=1)
    assert buffer == bytes(8)


@pytest.mark.parametrize("blocking", [False, True])
@pytest.mark.parametrize(
    "make", [bytearray, lambda size: array("B", bytes(size)), lambda size: memoryview(bytearray(size))]
)
def test_fills_the_buffer(make, blocking):
    """NET-28: all of the buffer, which is returned; twice the same is next to impossible."""
    buffer = make(64)
    assert system.random(buffer, blocking=blocking) is buffer
    first = bytes(buffer)
    assert len(set(first)) > 8
    system.random(buffer, blocking=blocking)
    assert bytes(buffer) != first


def test_fills_only_the_slice():
    """What is outside of buffer[start:stop] stays."""
    buffer = bytearray(96)
    system.random(buffer, 32, -32)
    assert buffer[:32] == buffer[-32:] == bytes(32)
    assert buffer[32:-32] != bytes(32)


def test_others_run_meanwhile():
    """The caller is suspended, and its buffer cannot be resized, until the bytes are there."""
    buffer, log = bytearray(1 << 20), []

    def fill():
        log.append("begin")
        log.append(system.random(buffer) is buffer)

    filling = spawn.call(fill)
    log.append(filling.status)
    with pytest.raises(BufferError):
        buffer.clear()
    system.run()
    assert log == ["begin", "suspended", True]
    buffer.clear()


def test_many_at_once():
    """More than the pool has threads."""
    buffers = [bytearray(1000) for _ in range(50)]
    for buffer in buffers:
        spawn.call(system.random, buffer)
    system.run()
    assert len({bytes(buffer) for buffer in buffers}) == 50


def test_explicit_resume_ends_the_wait():
    """OPS: the values of the resume are returned; the request runs to its end, and the next call waits for it."""
    log = []

    def fill():
        buffer = bytearray(1 << 20)
        log.append(system.random(buffer))
        log.append(system.random(buffer) is buffer)

    spawn.call(fill).resume("enough")
    assert log == ["enough"]
    system.run()
    assert log == ["enough", True]


@pytest.mark.parametrize("error", [KeyError, errors.Timeout])
def test_throw_ends_the_wait(error, escaped):
    """OPS: so does an exception; nothing is left of the request in the end."""
    filling = spawn.call(system.random, bytearray(1 << 20))
    with pytest.raises(error):
        filling.throw(error)
    assert filling.status == "dead"
    system.run()
    assert escaped == []


def test_deadline_ends_the_wait(clock):
    """The time being up while the request is under way is no exception to that."""
    buffer, log = bytearray(1 << 20), []

    def fill():
        with move_on_after(1) as deadline:
            log.append(system.random(buffer))
        log.append(deadline.expired)
        log.append(system.random(buffer) is buffer)

    filling = spawn.call(fill)
    assert filling.operation.state.name == "Await-request"
    clock.advance(1)
    system.run("ready")
    assert log == [True]
    system.run()
    assert log == [True, True]


def test_cancelled_before_it_began():
    """Requests that still stand in line are taken out of it when their coroutines end with the buffers."""
    waiting = [spawn.call(system.random, bytearray(1 << 16)) for _ in range(40)]
    assert all(one.close() for one in waiting)
    assert system.run() is False


def test_hub_may_only_block(hub, escaped):
    """NET-28: a call from another thread runs in the hub, which cannot wait, but may block."""
    buffer, found = bytearray(8), []

    def call():
        found.append(bytes(system.random(bytearray(8), blocking=True)))
        system.random(buffer)

    hub.call_threadsafe(call)
    system.run("step")
    assert found[0] != bytes(8)
    assert [type(error) for _, error in escaped] == [errors.NotYieldable]
    assert buffer == bytes(8)
    escaped.clear()


def test_coroutine_that_is_collected():
    """A coroutine that began to wait elsewhere while its request runs leaves nothing behind when it is forgotten."""

    def fill():
        system.random(bytearray(1 << 20))
        coroutine.yield_("forgotten")

    filling = spawn.call(fill)
    assert filling.resume() == "forgotten"
    del filling
    system.run()
