"""An explicit resume ends every wait of coutil.uv, which returns its value: True, too, which many calls return."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from coutil import uv
from tests.helpers.loops import begin
from tests.uv.pool import busy_pool

Wait = Iterator[tuple[Callable[[], Any], Callable[[], Any]]]  # a call that waits; makes what it waits for come

WAITS: dict[str, Callable[[uv.Loop, Any], Wait]] = {}


def wait(make: Callable[[uv.Loop, Any], Wait]) -> Callable[[uv.Loop, Any], Wait]:
    """Add a generator function that is given a loop and a folder, and yields a call that waits."""
    WAITS[make.__name__] = make
    return make


@contextmanager
def streams(loop: uv.Loop) -> Iterator[tuple[uv.TCP, socket.socket]]:
    """A connected stream and its peer, of which the system takes little at once."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        with uv.TCP(loop) as stream:
            stream.connect(*listener.getsockname())
            peer = listener.accept()[0]
            with peer:
                yield stream, peer


@wait
def read(loop, folder):
    with streams(loop) as (stream, peer):
        yield stream.read, lambda: peer.send(b"x")
        assert stream.read() == b"x"


@wait
def read_into(loop, folder):
    buffer = bytearray(1)
    with streams(loop) as (stream, peer):
        yield lambda: stream.read_into(buffer), lambda: peer.send(b"x")
        assert stream.read_into(buffer) == 1
        assert buffer == b"x"


@wait
def write(loop, folder):
    data = bytes(1 << 22)
    with streams(loop) as (stream, _peer):
        yield lambda: stream.write(data), lambda: None
        assert stream.write_queue_size > 0


@wait
def shutdown(loop, folder):
    with streams(loop) as (stream, _peer):
        stream.write_nowait(bytes(1 << 22))
        yield stream.shutdown, lambda: None
        assert stream.write_queue_size > 0


@wait
def accept(loop, folder):
    with uv.TCP(loop) as listener:
        listener.bind("127.0.0.1", 0)
        listener.listen(1)
        clients = [socket.socket()]
        yield listener.accept, lambda: clients[0].connect(listener.getsockname())
        with clients[0], listener.accept() as accepted:
            assert accepted.getpeername() == clients[0].getsockname()


@wait
def connect(loop, folder):
    with socket.create_server(("127.0.0.1", 0)) as listener, uv.TCP(loop) as stream:
        yield lambda: stream.connect(*listener.getsockname()), lambda: None


@wait
def pipe_connect(loop, folder):
    with socket.socket(socket.AF_UNIX) as listener, uv.Pipe(loop) as pipe:
        name = str(folder / "socket")
        listener.bind(name)
        listener.listen(1)
        yield lambda: pipe.connect(name), lambda: None


@wait
def udp_recv(loop, folder):
    with uv.UDP(loop) as ours, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
        ours.bind("127.0.0.1", 0)
        yield ours.recv, lambda: peer.sendto(b"x", ours.getsockname())
        assert ours.recv()[0] == b"x"


@wait
def poll(loop, folder):
    near, far = socket.socketpair()
    with near, far, uv.Poll(loop, near) as handle:
        yield handle.wait, lambda: far.send(b"x")
        assert handle.wait() == "r"


@wait
def signal_wait(loop, folder):
    with uv.Signal(loop) as handle:
        handle.start(signal.SIGUSR1)
        yield handle.wait, lambda: os.kill(os.getpid(), signal.SIGUSR1)
        assert handle.wait() == signal.SIGUSR1


@wait
def signal_next(loop, folder):
    with uv.Signal(loop) as handle:
        handle.start(signal.SIGUSR1)
        yield handle.__next__, lambda: os.kill(os.getpid(), signal.SIGUSR1)
        assert next(handle) == signal.SIGUSR1


@wait
def fs_event_next(loop, folder):
    with uv.FSEvent(loop) as handle:
        handle.start(str(folder))
        yield handle.__next__, (folder / "new").touch
        assert next(handle).filename == "new"


@wait
def process_wait(loop, folder):
    child = uv.Process(loop, "sleep", ["1000"])
    yield child.wait, lambda: child.kill("sigterm")
    assert child.wait() == (0, signal.SIGTERM)
    child.close()


@wait
def process_close(loop, folder):
    child = uv.Process(loop, "sleep", ["1000"])
    yield child.close, lambda: child.kill("sigterm")
    assert child.close() is True


@wait
def handle_close(loop, folder):
    timer = uv.Timer(loop)
    yield timer.close, lambda: None
    assert timer.close() is True


@wait
def sleep(loop, folder):
    yield lambda: loop.sleep(1_000_000), lambda: None


@wait
def random(loop, folder):
    with busy_pool(loop):
        yield lambda: loop.random(8), lambda: None


@wait
def queue_work(loop, folder):
    ran = []
    with busy_pool(loop):
        yield lambda: loop.queue_work(ran.append, 1), lambda: None
    assert ran == []


@wait
def getaddrinfo(loop, folder):
    with busy_pool(loop):
        yield lambda: loop.getaddrinfo("127.0.0.1", 80), lambda: None


@wait
def getnameinfo(loop, folder):
    with busy_pool(loop):
        yield lambda: loop.getnameinfo(("127.0.0.1", 80)), lambda: None


@wait
def request_result(loop, folder):
    with busy_pool(loop):
        request = loop.queue_work_nowait(int)
        yield request.result, lambda: None
    assert request.result() == 0


@wait
def fs_stat(loop, folder):
    with busy_pool(loop):
        yield lambda: loop.fs.stat(str(folder)), lambda: None


@wait
def dir_read(loop, folder):
    (folder / "entry").touch()
    directory = loop.fs.opendir(str(folder))
    with busy_pool(loop):
        yield directory.read, lambda: None
    assert [name for name, _ in directory.read()] == ["entry"]
    directory.close()


@pytest.mark.parametrize("make", WAITS.values(), ids=WAITS)
def test_true_is_returned(loop, tmp_path, make):
    """Also if what the call waits for has come by then; the next call gets that."""
    with contextmanager(make)(loop, tmp_path) as (call, come):
        got: list[Any] = []
        waiting = begin(loop, lambda: got.append(call()))
        assert waiting.status == "suspended"
        come()
        waiting.resume(True)
        assert got == [True]
        assert got[0] is True
        assert waiting.status == "dead"
