"""Requests that libuv cannot cancel: their coroutine goes on without them, and they leave nothing."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress

import pytest

from coutil import spawn, system, uv
from coutil.scopes import move_on_after, timeout
from tests.helpers.forks import fork_and
from tests.helpers.kernel import MAX_DETACHED, current_hub, current_operation
from tests.helpers.pool import full_pool
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, all_domains, pairs, receive_exactly, with_plain_peer, with_plain_peers

AT_ONCE = 5  # seconds; nothing here needs more than a few turns of the loop


def cut(call, *arguments):
    """Call, and give that up as soon as it waits."""
    with move_on_after(0.001) as block:
        call(*arguments)
    assert block.expired


def goes_on():
    """Wait in several ways, none of which needs what was cut."""
    before = time.monotonic()
    assert system.suspend(0.001) is True
    assert system.suspend() is True
    assert system.fileinfo("/", "type") == "directory"
    assert time.monotonic() - before < AT_ONCE


def drain(peer, size):
    """Read what has come to a Python socket, until it is `size` bytes."""
    got = bytearray()
    while len(got) < size:
        with suppress(BlockingIOError):
            got += peer.recv(1 << 20)
        system.suspend(0.0005)
    return bytes(got)


@all_domains
def test_after_a_cut_send_the_coroutine_goes_on(domain):
    """A send to a peer that does not read delays no other wait; its data go out in full, before later ones."""
    with pairs(domain) as (near, far):
        cut(near.send, BIG)
        goes_on()
        assert current_operation()._detached == 1
        later = spawn.call(near.send, b"later")
        assert receive_exactly(far, len(BIG) + 5) == BIG + b"later"
        system.suspend()
        assert later.status == "dead"
        assert current_operation()._detached == 0


def test_the_time_of_the_next_block_holds():
    """A deadline is kept although the call before it goes on."""
    with with_plain_peer("ipv4") as (stream, peer):
        cut(stream.send, BIG)
        with timeout(AT_ONCE):
            assert system.suspend(0.001) is True
        with timeout(AT_ONCE), with_plain_peer("ipv4") as (other, far):
            far.send(b"x")
            assert other.receive(1) == b"x"
        assert drain(peer, len(BIG)) == BIG


def test_after_a_send_that_was_resumed_or_thrown_into():
    """An explicit resume and `throw` are the same to a send as a deadline."""
    with with_plain_peer("ipv4") as (stream, peer):
        log = []

        def sender():
            log.append(stream.send(BIG))
            with suppress(KeyError):
                stream.send(b"y")
            goes_on()
            log.append("went on")

        one = spawn.call(sender)
        one.resume("enough")
        one.throw(KeyError)
        while one.status != "dead":
            system.suspend(0.0005)
        assert log == ["enough", "went on"]
        assert drain(peer, len(BIG)) == BIG


def test_after_a_cut_open_of_a_fifo(tmp_path):
    """The opening of a FIFO that no one writes to ends when another one does; the descriptor is closed then."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    before = os.listdir("/proc/self/fd")
    until = time.monotonic() + AT_ONCE
    while not current_operation()._detached and time.monotonic() < until:  # or else the pool had not begun it
        cut(system.openfile, path)
        goes_on()
    assert current_operation()._detached == 1
    writer = os.open(path, os.O_WRONLY)
    until = time.monotonic() + AT_ONCE
    while current_operation()._detached and time.monotonic() < until:
        system.suspend(0.001)
    os.close(writer)
    assert current_operation()._detached == 0
    assert os.listdir("/proc/self/fd") == before


def test_after_a_cut_call_that_runs_in_the_pool():
    """A call that a thread of the pool has begun is left to it."""
    gate, entered = threading.Event(), threading.Event()

    def work():
        entered.set()
        gate.wait(30)

    def program():
        uv.queue_work(uv.default_loop(), work)

    one = spawn.call(program)
    while not entered.is_set():
        system.suspend(0.001)
    log = []
    one.resume("enough")
    assert one.status == "dead"
    two = spawn.call(lambda: (uv.queue_work(uv.default_loop(), gate.wait, 30), goes_on(), log.append("went on")))
    system.suspend(0.01)
    two.resume("enough")
    while two.status != "dead":
        system.suspend(0.001)
    assert log == ["went on"]
    gate.set()


def test_what_stands_in_line_for_the_pool_is_waited_for():
    """Libuv cancels what no thread has begun: it is released in the next turn, and nothing is detached."""
    with full_pool():
        for call in (lambda: system.findaddr("localhost"), lambda: system.fileinfo("/")):
            cut(call)
            assert system.suspend() is True
            assert current_operation()._detached == 0


def test_a_coroutine_leaves_only_so_many_behind():
    """One that goes on cutting its calls waits for the end of the last, and says so."""
    with with_plain_peers(MAX_DETACHED + 2) as ends:
        done = []

        def sender():
            for stream, _ in ends[: MAX_DETACHED + 1]:
                cut(stream.send, BIG)
                done.append(stream)
                system.suspend()
            done.append(None)

        one = spawn.call(sender)
        until = time.monotonic() + AT_ONCE
        while len(done) <= MAX_DETACHED and time.monotonic() < until:
            system.suspend(0.001)
        system.suspend(0.05)
        assert len(done) == MAX_DETACHED + 1
        assert "after the cancelled call before it" in repr(one)
        assert one.operation._detached == MAX_DETACHED
        last = ends[MAX_DETACHED][1]
        last.setblocking(False)
        assert drain(last, len(BIG)) == BIG
        system.suspend(0.001)
        assert one.status == "dead"
        for _, peer in ends[:MAX_DETACHED]:
            peer.close()


def test_a_stream_is_closed_with_cut_sends():
    """`close` ends what was left to libuv: the peer gets a part, and then the end."""
    with with_plain_peer("ipv4") as (stream, peer):
        for _ in range(3):
            cut(stream.send, BIG)
            system.suspend()
        assert current_operation()._detached == 3
        stream.close()
        system.suspend(0.001)
        assert current_operation()._detached == 0
        peer.setblocking(True)
        got = 0
        with suppress(ConnectionResetError):
            while data := peer.recv(1 << 20):
                got += len(data)
        assert got < len(BIG)


def test_the_coroutine_may_be_gone():
    """What is left to libuv does not keep its coroutine, which may have ended or be forgotten."""
    with with_plain_peer("ipv4") as (stream, peer):

        def sender():
            cut(stream.send, BIG)
            system.suspend()

        one = spawn.call(sender)
        while one.status != "dead":
            system.suspend(0.001)
        del one
        assert drain(peer, len(BIG)) == BIG


def test_a_loop_ends_with_cut_sends():
    """A thread ends, and with it its loop: what libuv still had is freed."""
    ends = [socket.create_server(("127.0.0.1", 0))]
    left = []

    def program():
        stream = system.socket("stream", "ipv4")
        stream.connect(system.address("ipv4", "127.0.0.1", ends[0].getsockname()[1]))
        for _ in range(2):
            cut(stream.send, BIG)
            system.suspend()
        left.append(current_operation()._detached)
        left.append(current_hub().loop)

    thread = threading.Thread(target=program)
    thread.start()
    thread.join(AT_ONCE)
    ends[0].close()
    assert left[0] == 2
    assert not left[1].pointer


def test_a_child_of_a_fork_has_none_of_them():
    """The child of a fork does not touch what its parent has left to libuv, and the parent goes on."""
    with with_plain_peer("ipv4") as (stream, peer):
        cut(stream.send, BIG)
        system.suspend()
        assert current_operation()._detached == 1
        assert fork_and(lambda: system.suspend(0.001)).answer() is True
        assert drain(peer, len(BIG)) == BIG
        system.suspend()
        assert current_operation()._detached == 0


@pytest.mark.parametrize("turns", range(4))
def test_released_while_it_is_waited_for(turns):
    """Whether the cancelled request ends before or after it is detached, the next wait ends once."""
    with with_plain_peer("ipv4") as (stream, peer):
        log = []

        def sender():
            stream.send(BIG)
            log.append(system.suspend())
            log.append(system.suspend(0.001))

        one = spawn.call(sender)
        one.resume()
        peer.close()  # the send fails in the next turn
        for _ in range(turns):
            system.suspend()
        stream.close()
        while one.status != "dead":
            system.suspend(0.0005)
        assert log == [True, True]


def test_what_waited_behind_a_cut_call_leaves_nothing_to_run():
    """It is resumed in the turn in which libuv ends the call: the loop has nothing to do after that turn."""
    with listening("ipv4") as server:
        streams = [system.socket("stream", "ipv4") for _ in range(2)]

        def waits():
            log.append(streams[1].connect(server.getaddress()))
            log.append(system.suspend())

        log = []
        spawn.call(lambda: (streams[0].connect(server.getaddress()), waiting.resume("early")))
        waiting = spawn.call(waits)
        waiting.resume("cut")
        assert log == ["cut"]
        assert system.run("step") is False
        assert log == ["cut", "early"]
        assert [system.run("step"), current_hub()._cancelled_ready, *current_hub().ready] == [False, 0]
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("attempt", range(10))
def test_a_file_keeps_the_order_of_its_writes(tmp_path, attempt):
    """A cut write that a thread is at is waited for by the next one of its coroutine to the same file."""
    path, detached = tmp_path / "file", []

    def write() -> None:
        with suppress(KeyError):
            file.write(bytes(1 << 24))
        file.write(b"end")
        detached.append(current_operation()._detached)

    with system.openfile(path, write=True, create=True, append=True, perm=0o600) as file:
        worker = spawn.call(write)
        time.sleep(0.001 * (attempt % 3))  # the thread may have begun, or not
        worker.throw(KeyError)
        system.run()
    assert detached == [0]
    assert path.read_bytes().lstrip(b"\0") == b"end"
