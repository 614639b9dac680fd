"""Streams whose descriptor blocks: only the sender waits, deadlines get through, and what was sent arrives in order."""

import os
import socket
import subprocess
import sys
import tty
from contextlib import contextmanager, suppress
from textwrap import dedent

import pytest

from coutil import errors, scopes, spawn, system, uv
from coutil._libuv import lib
from coutil.system.network.fd_passing import socket_from_fd
from coutil.system.stdio import _terminal
from tests.helpers.script import output_of

DATA = bytes(range(251)) * 4000  # 1 MB: more than the system takes while there is no reader


def uv_pipe(fd):
    """Return a pipe handle that owns a descriptor."""
    pipe = uv.Pipe()
    pipe.open(fd)
    return pipe


def blocking(stream):
    """Have a handle block."""
    stream.set_blocking(True)
    return stream


def pseudo_terminal(maker):
    """A terminal that cannot be opened again, and its other side to read from."""
    near, far = os.openpty()
    tty.setraw(far)
    stream = maker(near)
    os.close(near)
    return stream, far


def tcp_pair():
    """A TCP handle that blocks, and its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        stream = uv.TCP(None, "inet")
        stream.send_buffer_size(65536)
        stream.connect(*server.getsockname())
        return blocking(stream), server.accept()[0].detach()


def socket_pair(maker):
    """Whatever a maker makes of a socket, and its peer."""
    near, far = socket.socketpair()
    return maker(near.detach()), far.detach()


def pipe_pair(maker):
    """Whatever a maker makes of a pipe's end, and the other end."""
    far, near = os.pipe()
    return maker(near), far


def shared(fd):
    """Return a stream of a socket that others use, too."""
    stream = socket_from_fd(fd, share=True)
    stream._call(lib.co_stream_share, "fcntl")
    return stream


def as_others_have_it(fd):
    """Return a stream of a pipe whose mode is not changed."""
    stream = socket_from_fd(fd)
    os.set_blocking(fd, True)
    return stream


def cleared(fd):
    """Return a pipe handle whose flag another one, who shares the open file, has cleared."""
    pipe = uv_pipe(fd)
    os.set_blocking(fd, True)
    return pipe


KINDS = {
    "uv.TTY": lambda: pseudo_terminal(lambda fd: uv.TTY(None, fd)),
    "Terminal": lambda: pseudo_terminal(_terminal),
    "tcp": tcp_pair,
    "local": lambda: socket_pair(lambda fd: blocking(uv_pipe(fd))),
    "pipe": lambda: pipe_pair(lambda fd: blocking(uv_pipe(fd))),
    "cleared": lambda: pipe_pair(cleared),
    "shared socket": lambda: socket_pair(shared),
    "shared pipe": lambda: pipe_pair(as_others_have_it),
}
HALVES = ["tcp", "local", "shared socket"]  # whose sending side can end


@contextmanager
def stream_of(kind):
    """Yield a stream whose descriptor blocks, how to send on it, and a descriptor to read from what it sends."""
    stream, far = KINDS[kind]()
    assert os.get_blocking(stream.fileno())
    try:
        yield stream, getattr(stream, "send", getattr(stream, "write", None)), far
    finally:
        getattr(stream, "close_soon", stream.close)()
        os.close(far)


def drain(far, size):
    """Read so many bytes while others run, or up to the end."""
    os.set_blocking(far, False)
    found = bytearray()
    with scopes.timeout(20):
        while len(found) < size:
            with suppress(BlockingIOError):
                piece = os.read(far, size - len(found))
                if not piece:
                    break
                found += piece
            system.suspend(0)
    return bytes(found)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_deadline_gets_through(kind):
    """The sender alone waits; what it has left unsent goes out in the background, and what comes next behind that."""
    with stream_of(kind) as (stream, send, far):
        ticks, ends = [], []

        def sender():
            with scopes.move_on_after(0.1) as limit:
                send(DATA)
            ends.append(limit.expired)

        ticker = spawn.call(lambda: [ticks.append(system.suspend(0.001)) for _ in range(20)])
        spawn.call(sender)
        system.suspend(0.3)
        assert (ends, len(ticks), ticker.status) == ([True], 20, "dead")
        assert os.get_blocking(stream.fileno())
        later = spawn.call(send, b"the end")
        assert drain(far, len(DATA) + 7) == DATA + b"the end"
        system.suspend(0.01)
        assert later.status == "dead"
        assert send(b"more") is True
        assert drain(far, 4) == b"more"


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_several_senders(kind):
    """Their data follow one another in the order of the calls, each in one piece."""
    with stream_of(kind) as (_, send, far):
        done, parts = [], [bytes([number]) * 100_000 for number in range(1, 6)]
        for part in parts:
            spawn.call(lambda part=part: done.append(send(part)))
        assert drain(far, 500_000) == b"".join(parts)
        system.suspend(0.01)
        assert done == [True] * 5


@pytest.mark.parametrize("kind", KINDS)
def test_closed_under_the_senders(kind):
    """They are told ECANCELED; nothing is left."""
    with stream_of(kind) as (stream, send, _):
        told = []

        def failing():
            try:
                send(DATA)
            except errors.UVError as error:
                told.append(error.name)

        spawn.call(failing)
        spawn.call(failing)
        system.suspend(0)
        getattr(stream, "close_soon", stream.close)()
        system.suspend(0.01)
        assert told == ["ECANCELED", "ECANCELED"]


@pytest.mark.parametrize("kind", KINDS)
def test_lost_under_the_senders(kind):
    """They are told EBADF as soon as the loss of the descriptor shows."""
    with stream_of(kind) as (stream, send, _):
        told = []

        def failing():
            try:
                send(DATA)
            except errors.UVError as error:
                told.append(error.name)

        spawn.call(failing)
        spawn.call(failing)
        number = stream.fileno()
        os.close(number)
        with uv.Pipe() as other:
            near, peer = socket.socketpair()
            if near.fileno() != number:
                os.dup2(near.fileno(), number)
                near.close()
                near = number
            other.open(near)
            with peer, scopes.timeout(5):
                while len(told) < 2:
                    system.suspend(0.001)
        assert told == ["EBADF", "EBADF"]


@pytest.mark.parametrize("kind", KINDS)
def test_reader_that_goes(kind):
    """Every sender is told the error of the system."""
    with stream_of(kind) as (_, send, far):
        told = []

        def failing():
            try:
                send(DATA)
            except errors.UVError as error:
                told.append(error.name)

        spawn.call(failing)
        spawn.call(failing)
        system.suspend(0.01)
        with open(os.devnull, "rb") as other:
            os.dup2(other.fileno(), far)
        with scopes.timeout(5):
            while len(told) < 2:
                system.suspend(0.001)
        assert set(told) <= {"EPIPE", "ECONNRESET", "EIO"}


@pytest.mark.parametrize("kind", HALVES)
def test_end_behind_the_data(kind):
    """The sending side ends after everything that was sent before; nothing can be sent then."""
    with stream_of(kind) as (stream, send, far):
        spawn.call(send, DATA)
        ended = []
        spawn.call(lambda: ended.append(stream.shutdown()))
        assert drain(far, len(DATA) + 1) == DATA
        system.suspend(0.01)
        assert ended == [True]
        with pytest.raises(errors.UVError, match="EPIPE"):
            send(b"too late")


@pytest.mark.parametrize("kind", ["tcp", "local", "pipe"])
def test_what_a_handle_says_meanwhile(kind):
    """The queue has its size, and try_write takes nothing before it is empty."""
    with stream_of(kind) as (stream, _, far):
        taken = stream.try_write(DATA)
        assert 0 < taken < len(DATA)
        assert stream.write_queue_size == 0
        request = stream.write_nowait(DATA[taken:])
        assert 0 < stream.write_queue_size <= len(DATA) - taken
        assert stream.try_write(b"before the others") == 0
        assert drain(far, len(DATA)) == DATA
        assert request.result() is True
        assert stream.write_queue_size == 0
        assert stream.try_write(b"now") == 3


def test_change_of_mode():
    """It is refused while libuv has data that it would wait for; otherwise it counts at once."""
    near, far = socket.socketpair()
    with uv.Pipe() as pipe, far:
        pipe.open(near)
        taken = pipe.try_write(DATA)
        pipe.write_nowait(DATA[taken:])
        with pytest.raises(errors.UVError, match="EBUSY"):
            pipe.set_blocking(True)
        assert drain(far.fileno(), len(DATA)) == DATA
        system.suspend(0.01)
        pipe.set_blocking(True)
        taken = pipe.try_write(DATA)
        pipe.write_nowait(DATA[taken:])
        pipe.set_blocking(False)
        last = pipe.write_nowait(b"last")
        assert drain(far.fileno(), len(DATA) + 4) == DATA + b"last"
        assert last.result() is True


@pytest.mark.parametrize("share", [False, True])
def test_handles_that_travel(share):
    """A descriptor waits with its data in the queue, and arrives with them."""
    near, far = socket.socketpair()
    inner, outer = socket.socketpair()
    with far, outer:
        if share:
            stream, passed = shared(near.detach()), socket_from_fd(inner.detach())
            filled = stream.send
            call = lambda: stream.send(b"take this", stream=passed)  # noqa: E731  # one of two
        else:
            stream, passed = uv.Pipe(ipc=True), uv.Pipe()
            stream.open(near)
            passed.open(inner)
            blocking(stream)
            filled = stream.write
            call = lambda: stream.write2(b"take this", passed)  # noqa: E731  # one of two
        with stream, passed:
            spawn.call(filled, DATA)
            if not share:
                assert stream.try_write2(b"x", passed) == 0
            sender = spawn.call(call)
            assert drain(far.fileno(), len(DATA)) == DATA
            while sender.status != "dead":
                system.suspend(0.001)
            far.setblocking(True)
            data, (fd,), _, _ = socket.recv_fds(far, 99, 1)
            assert data == b"take this"
            with socket.socket(fileno=fd) as arrived:
                arrived.send(b"alive")
            assert outer.recv(99) == b"alive"


@pytest.mark.parametrize("kind", KINDS)
def test_file_for_a_stream_that_blocks(kind, tmp_path):
    """The thread pool is not made to wait for the reader."""
    (tmp_path / "file").write_bytes(DATA)
    with stream_of(kind) as (stream, _, far), system.openfile(tmp_path / "file") as file:
        if not hasattr(stream, "send_file"):
            pytest.skip("handles have no such call")
        sender = spawn.call(stream.send_file, file)
        for _ in range(8):
            assert system.fileinfo(tmp_path / "file").size == len(DATA)
        assert drain(far, len(DATA)) == DATA
        while sender.status != "dead":
            system.suspend(0.001)


def test_end_of_a_loop_with_a_queue():
    """It is given up with the loop."""
    loop = uv.Loop()
    near, far = socket.socketpair()
    with far:
        pipe = uv.Pipe(loop)
        pipe.open(near)
        blocking(pipe)
        pipe.write_nowait(DATA)
        loop.close(force=True)


def test_buffers_that_are_forgotten():
    """What a forgotten file object has not sent goes out as far as it can; the end of the process does not wait."""
    assert output_of(
        """
        import os, sys, tty
        from coutil.system.stdio import _terminal
        near, far = os.openpty()
        tty.setraw(far)
        terminal = _terminal(near)
        text = terminal.buffered(1 << 20)
        text.write(bytes(500_000))
        del text
        text = terminal.text()
        print("fine")
        """
    ) == ["fine"]


def test_pipe_that_cannot_be_opened_again():
    """Without /proc a pipe as standard output is used as it is, and goes on blocking for the others."""
    script = """
        import os
        opened = os.open
        def refuse(path, *arguments, **options):
            if str(path).startswith("/proc/self/fd"):
                raise FileNotFoundError(path)
            return opened(path, *arguments, **options)
        os.open = refuse
        from coutil import spawn, system
        sender = spawn.call(system.stdout.send, bytes(1_000_000))
        system.suspend(0.02)
        assert sender.status == "suspended"
        assert os.get_blocking(1)
        os.write(2, b"read")
        while sender.status != "dead":
            system.suspend(0.001)
    """
    near, far = os.pipe()
    process = subprocess.Popen([sys.executable, "-c", dedent(script)], stdout=far, stderr=subprocess.PIPE)
    os.close(far)
    with process.stderr:
        assert process.stderr.read(4) == b"read"
    found = 0
    while data := os.read(near, 1 << 20):
        found += len(data)
    os.close(near)
    assert process.wait(20) == 0
    assert found == 1_000_000
