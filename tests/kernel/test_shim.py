"""The C side by itself: wrong slots, wrong states, wrong threads and loops that are gone give codes, never a crash."""

from __future__ import annotations

import errno
import gc
import os
import socket
import threading
import time
from contextlib import contextmanager

import pytest

from coutil._libuv import NULL, ffi, lib
from coutil._libuv.loop import NativeLoop
from coutil._libuv.sockaddr import IPAddress, new_sockaddr, pack, unpack
from tests.conftest import descriptors
from tests.helpers.script import output_of

EBADF, EAGAIN, EINVAL = -errno.EBADF, lib.UV_EAGAIN, lib.UV_EINVAL
NOWHERE = 0xFFFFFFFF
LOCAL = IPAddress(b"\x7f\0\0\1", 0, 0)
CLOSED_SLOT, TIMER, IDLE, LISTENER, NEAR, FAR = range(1, 7)  # the slots of the bench
FREE = 100


class Bench:
    """A loop with one of everything: see the slots above."""

    def __init__(self):
        self.loop = NativeLoop()
        self.pointer = self.loop.pointer
        self.generation = 0
        for slot in (CLOSED_SLOT, IDLE, LISTENER, NEAR):
            assert self.call("tcp_new", slot, self.next(), 0) == 0
        self.call("close", CLOSED_SLOT)
        self.call("timer_start", TIMER, self.next(), 10**12)
        self.call("bind", LISTENER, pack(LOCAL))
        self.call("listen", LISTENER, 5)
        self.peer = new_sockaddr()
        self.call("name", LISTENER, 0, self.peer)
        self.call("listener_start", LISTENER)
        self.loop.demand[LISTENER] = 1
        self.call("connect", NEAR, FREE, self.next(), self.peer)
        while (LISTENER, 0) not in [(slot, result) for slot, _, result, _ in self.step()]:
            pass
        assert self.call("listener_take", LISTENER) == 1
        assert self.call("accept", LISTENER, FAR, self.next(), 0) == 0

    def next(self):
        """Return a new generation."""
        self.generation += 1
        return self.generation

    def call(self, name, *arguments):
        """Call co_`name` on the loop."""
        return getattr(lib, f"co_{name}")(self.pointer, *arguments)

    def step(self, block=0):
        """Do one turn; return its records."""
        lib.co_step(self.pointer, block)
        return list(self.loop.records(self.loop.count()))

    def close(self):
        """Close the loop; it must not have lost anything."""
        if self.loop.pointer:
            self.loop.close()


@pytest.fixture
def bench():
    made = Bench()
    yield made
    made.close()


def with_slot(name, address):
    """Return the arguments of co_`name` that come after the slot."""
    buffer = ffi.from_buffer(b"data")
    return {
        "bind": (address,),
        "listen": (5,),
        "listener_start": (),
        "listener_take": (),
        "listener_push": (1,),
        "accept": (FREE + 1, 1, 0),
        "name": (0, new_sockaddr()),
        "nodelay": (1,),
        "keepalive": (1, 5),
        "fileno": (),
        "read_start": (),
        "try_write": (buffer, 4),
        "write": (FREE + 1, 1, buffer, 4),
        "connect": (FREE + 1, 1, address),
        "shutdown": (FREE + 1, 1),
        "close": (),
    }[name]


STREAM_CALLS = [
    *(
        "bind",
        "listen",
        "listener_start",
        "listener_take",
        "listener_push",
        "accept",
        "name",
        "nodelay",
        "keepalive",
        "fileno",
        "read_start",
    ),
    *("try_write", "write", "connect", "shutdown", "close"),
]


@pytest.mark.parametrize("name", STREAM_CALLS)
def test_wrong_slots(name, bench):
    """B15, B53: a slot that is free, out of range, closed or a timer's is EBADF for each call on streams."""
    arguments = with_slot(name, pack(LOCAL))
    before = bench.loop.counts()
    for slot in (0, CLOSED_SLOT, TIMER, FREE, 10**6, lib.CO_SLOTS, NOWHERE):
        assert bench.call(name, slot, *arguments) == EBADF
    bench.step()
    assert bench.call(name, CLOSED_SLOT, *arguments) == EBADF
    after = bench.loop.counts()
    assert after["handles_created"] == before["handles_created"]
    assert after["requests_created"] == after["requests_freed"]


@pytest.mark.parametrize("name", [*STREAM_CALLS, "timer_start", "timer_stop", "step", "tcp_new", "watch_wakeups"])
def test_no_loop_and_wrong_thread(name, bench):
    """B37, A-17: every call with no loop, a forked loop, or from another thread is CO_FOREIGN and changes nothing."""
    arguments = {
        "timer_start": (FREE, 1, 0),
        "timer_stop": (TIMER,),
        "step": (lib.CO_BLOCK,),
        "tcp_new": (FREE, 1, 0),
        "watch_wakeups": (0,),
    }.get(name) or (NEAR, *with_slot(name, pack(LOCAL)))
    function, codes = getattr(lib, f"co_{name}"), []
    before = bench.loop.counts()
    codes.append(function(NULL, *arguments))
    thread = threading.Thread(target=lambda: codes.append(function(bench.pointer, *arguments)))
    thread.start()
    thread.join()
    assert codes == [lib.CO_FOREIGN] * 2
    assert bench.loop.counts() == before
    bench.close()
    assert function(bench.pointer, *arguments) == lib.CO_FOREIGN  # the loop is gone, what the pointer shows is not


def test_no_loop_at_all():
    """B19: calls that return no code accept a loop that is not there, too."""
    assert lib.co_alive(NULL) == 0
    assert lib.co_loop_close(NULL) == lib.CO_FOREIGN
    assert [function(NULL) for function in (lib.co_update, lib.co_wake, lib.co_loop_forked, lib.co_loop_delete)] == [
        None
    ] * 4


def test_forked_loop():
    """R28: a loop that is told it belongs to the parent is foreign to every call from then on."""
    lines = output_of(
        """
        from coutil._libuv import lib
        from coutil._libuv.loop import NativeLoop
        loop = NativeLoop()
        print(lib.co_tcp_new(loop.pointer, 1, 1, 0))
        lib.co_loop_forked(loop.pointer)
        codes = {lib.co_step(loop.pointer, 0), lib.co_close(loop.pointer, 1), lib.co_loop_close(loop.pointer)}
        print(codes == {lib.CO_FOREIGN}, lib.co_alive(loop.pointer))
        lib.co_wake(loop.pointer)
        """
    )
    assert lines == ["0", "True 0"]


def test_slots_in_use(bench):
    """B10: a slot that is in use cannot be taken a second time, and one that does not exist not at all."""
    with socket.create_connection(("127.0.0.1", unpack(bench.peer).port)):
        assert bench.call("listener_take", LISTENER) == 1
    for slot in (TIMER, IDLE, LISTENER, NEAR, FAR):
        assert bench.call("tcp_new", slot, 1, 0) == -errno.EBUSY
        assert bench.call("timer_start", slot, 1, 0) == -errno.EBUSY
        assert bench.call("accept", LISTENER, slot, 1, 0) == -errno.EBUSY, "the connection is kept"
    for slot in (lib.CO_SLOTS, NOWHERE):
        assert bench.call("tcp_new", slot, 1, 0) == lib.UV_ENOMEM
        assert bench.call("timer_start", slot, 1, 0) == lib.UV_ENOMEM
    assert bench.call("timer_stop", NEAR) == 0  # no timer: it has fired, for all that C knows
    assert bench.call("fileno", NEAR) > 0
    counts = bench.loop.counts()
    assert counts["handles_created"] - counts["handles_closed"] == 5


WRONG_STATES = {
    "accept, nobody there": ("accept", LISTENER, EAGAIN),
    "accept on a stream": ("accept", NEAR, EINVAL),
    "bind twice": ("bind", LISTENER, EINVAL),
    "connect a listener": ("connect", LISTENER, -errno.EISCONN),
    "listen, connected": ("listen", NEAR, EINVAL),
    "peer of nobody": ("name", IDLE, 0),
    "read, not connected": ("read_start", IDLE, -errno.ENOTCONN),
    "read from a listener": ("read_start", LISTENER, -errno.ENOTCONN),
    "shut down, not connected": ("shutdown", IDLE, -errno.ENOTCONN),
    "shut down a listener": ("shutdown", LISTENER, -errno.ENOTCONN),
    "write, not connected": ("write", IDLE, -errno.EPIPE),
    "write to a listener": ("write", LISTENER, -errno.EPIPE),
    "write at once, not connected": ("try_write", IDLE, -errno.EPIPE),
    "write at once to a listener": ("try_write", LISTENER, -errno.EPIPE),
}


@pytest.mark.parametrize("case", WRONG_STATES)
def test_wrong_states(case, bench):
    """B53: what a stream cannot do in its state is an error code or a failed request; nothing is left of it."""
    name, slot, code = WRONG_STATES[case]
    got = bench.call(name, slot, *with_slot(name, bench.peer))
    if name in {"connect", "bind", "listen"} and got == 0:  # libuv tells later
        results = [result for at, _, result, _ in bench.step() if at == FREE + 1]
        got = results[0] if name == "connect" else code
    assert got == code
    bench.step()
    counts = bench.loop.counts()
    assert counts["requests_created"] == counts["requests_freed"]
    assert counts["handles_created"] - counts["handles_freed"] == 5


def test_unknown_addresses(bench):
    """An address of no family is EINVAL to bind and connect, and None to the reader."""
    assert unpack(new_sockaddr()) is None
    assert bench.call("bind", IDLE, new_sockaddr()) == EINVAL
    assert bench.call("connect", IDLE, FREE, 1, new_sockaddr()) == EINVAL
    six = IPAddress(bytes(15) + b"\1", 80, 7)
    assert unpack(pack(six)) == six


def test_wakeups_are_watched_once(bench):
    """B08: a second descriptor, or one that cannot be polled, is refused; the first goes on to be watched."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with open(__file__, "rb") as regular:
        assert bench.call("watch_wakeups", regular.fileno()) < 0
        assert bench.call("watch_wakeups", 9999) < 0
    assert bench.call("watch_wakeups", reader) == 0
    assert bench.call("watch_wakeups", reader) < 0
    os.write(writer, b"x")
    begin = time.monotonic()
    lib.co_step(bench.pointer, lib.CO_BLOCK_ALWAYS)
    assert time.monotonic() - begin < 1
    with pytest.raises(BlockingIOError):
        os.read(reader, 1)  # it was drained
    bench.close()
    os.close(reader)
    os.close(writer)


def test_stale_generations_are_told(bench):
    """B16: records carry the generation of their start, so that a slot can be used again at once."""
    assert bench.call("timer_start", FREE, 11, 0) == 0
    assert bench.call("timer_stop", FREE) == 0
    assert bench.call("timer_start", FREE, 12, 0) == 0
    assert bench.step(lib.CO_BLOCK) == [(FREE, 12, 0, 0)]
    assert bench.call("timer_start", FREE, 13, 0) == 0
    assert bench.step(lib.CO_BLOCK) == [(FREE, 13, 0, 0)]


def test_everything_is_closed_with_the_loop():
    """B19: closing a loop with one of everything, and requests on their way, frees it all; again and again."""
    opened = descriptors()
    for _ in range(50):
        bench = Bench()
        data = ffi.from_buffer(bytes(1 << 22))
        assert bench.call("write", NEAR, FREE, bench.next(), data, len(data)) == 0
        assert bench.call("shutdown", NEAR, FREE + 1, bench.next()) == 0
        assert bench.call("connect", IDLE, FREE + 2, bench.next(), bench.peer) == 0
        assert bench.call("read_start", FAR) == 0
        bench.call("close", FAR)
        pointer = bench.pointer
        bench.close()
        counts = {name: getattr(pointer, name) for name in ("handles_created", "handles_freed", "requests_created")}
        assert counts["handles_created"] - counts["handles_freed"] == 1  # the timer, which is not counted at the end
        assert pointer.requests_freed == counts["requests_created"] == 4
    assert descriptors() == opened


@contextmanager
def calling(pointer, count):
    """Have threads use the loop all the time while the block runs; yields the codes that they get."""
    codes, over = set(), threading.Event()

    def caller():
        while not over.is_set():
            codes.add(lib.co_try_write(pointer, NEAR, b"x", 1))
            codes.add(lib.co_step(pointer, 0))
            codes.add(lib.co_fileno(pointer, NEAR))

    threads = [threading.Thread(target=caller) for _ in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield codes
    finally:
        over.set()
        for thread in threads:
            thread.join()


def test_foreign_threads_while_a_loop_is_closed():
    """B19, B37: threads that use the streams of a loop while it is closed, and afterwards, are refused throughout."""
    for _ in range(20):
        bench = Bench()
        with calling(bench.pointer, 2) as codes:
            time.sleep(0.001)
            bench.close()
            gc.collect()
        assert codes == {lib.CO_FOREIGN}
        assert bench.call("step", 0) == lib.CO_FOREIGN
        assert lib.co_alive(bench.pointer) == 0
