"""The end of a stream of any kind: all that came before it is read, then the end, or the error that cut it off."""

import os
import socket
import struct
import tty
from contextlib import ExitStack, contextmanager

import pytest

from coutil import errors, system, uv
from coutil.system.network.fd_passing import socket_from_fd
from coutil.system.stdio import _terminal

WHOLE = bytes(range(250)) * 40  # more than a line buffer of a terminal
READERS = ("receive", "read", "onread")  # coutil.system; coutil.uv by waiting, and with a handler


def everything(stream):
    """Read to the end, by waiting; return the pieces as one, and the name of the error or None."""
    read, data = stream.receive if hasattr(stream, "receive") else stream.read, []
    try:
        while piece := read():
            data.append(piece)
    except errors.UVError as error:
        return b"".join(data), error.name
    return b"".join(data), None


def told(stream):
    """The same with a handler."""
    data, ends = [], []

    def onread(_, error, piece):
        data.append(piece or b"")
        if piece is None:
            ends.append(error and error.name)

    stream.onread = onread
    stream.read_start()
    while not ends:
        system.suspend(0.001)
    system.suspend(0.005)  # for a second end, if there were one
    assert len(ends) == 1
    return b"".join(data), ends[0]


def collect(stream, reader):
    """Read to the end in one of the ways."""
    return told(stream) if reader == "onread" else everything(stream)


def again(stream):
    """Read after an error: the system knows no more of that than an end, but the stream is not at its end."""
    if hasattr(stream, "onread"):
        stream.onread = None
    return [everything(stream)[1] for _ in range(3)]


@contextmanager
def tcp(reader):
    """Yield a stream, and a Python socket that is its peer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if reader == "receive":
            stream = system.socket("stream", "ipv4")
            stream.connect(system.address("ipv4", *server.getsockname()))
        else:
            stream = uv.TCP()
            stream.connect(*server.getsockname())
        with stream:
            yield stream, server.accept()[0]


@contextmanager
def local(reader, share=False):
    """The same within the machine."""
    ours, peer = socket.socketpair()
    if reader == "receive":
        stream = socket_from_fd(ours.detach(), share=share)
    else:
        stream = uv.Pipe(ipc=share)
        stream.open(ours)
    with stream:
        yield stream, peer


@pytest.mark.parametrize("reader", READERS)
def test_reset_after_data(reader):
    """The data, then the reset, once: nothing that was cut off looks complete."""
    with tcp(reader) as (stream, peer):
        peer.send(b"a part")
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        system.suspend(0.01)
        assert collect(stream, reader) == (b"a part", "ECONNRESET")
        assert again(stream) == ["ENOTCONN"] * 3


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("share", [False, True])
def test_local_reset_after_data(reader, share):
    """A Unix socket is reset when its peer closes it with something unread."""
    with local(reader, share) as (stream, peer):
        getattr(stream, "send", getattr(stream, "write", None))(b"unread")
        peer.send(b"a part")
        peer.close()
        assert collect(stream, reader) == (b"a part", "ECONNRESET")
        assert again(stream) == ["ENOTCONN"] * 3


TERMINALS = [("receive", "tty"), ("read", "tty"), ("onread", "tty"), ("read", "pipe"), ("onread", "pipe")]


@pytest.mark.parametrize(("reader", "kind"), TERMINALS)
def test_pseudo_terminal(reader, kind):
    """The terminal side has written 10,000 bytes and is closed: the other side reads all of them, then EIO."""
    shown, terminal = os.openpty()
    tty.setraw(terminal)
    assert os.write(terminal, WHOLE) == len(WHOLE)
    os.close(terminal)
    if reader == "receive":
        stream = _terminal(shown)
    elif kind == "tty":
        stream = uv.TTY(None, shown)
    else:
        stream = uv.Pipe()
        stream.open(os.dup(shown))
    os.close(shown)
    with stream:
        assert collect(stream, reader) == (WHOLE, "EIO")
        assert again(stream) == ["ENOTCONN"] * 3


@pytest.mark.parametrize("reader", READERS)
def test_pipe(reader):
    """What a pipe holds when its writer has gone comes before the end."""
    near, far = os.pipe()
    os.write(far, WHOLE)
    os.close(far)
    if reader == "receive":
        stream = socket_from_fd(near)
    else:
        stream = uv.Pipe()
        stream.open(near)
    with stream:
        assert collect(stream, reader) == (WHOLE, None)


@pytest.mark.skipif(uv.version() >= (1 << 16) + (52 << 8), reason="libuv asks for the end in its next turn")
def test_end_comes_with_the_last_data():
    """The end of a pipe whose writer has gone is told in the turn of its last data."""
    near, far = os.pipe()
    os.write(far, b"all")
    os.close(far)
    pipe, log = uv.Pipe(), []
    pipe.open(near)
    pipe.onread = lambda *what: log.append(what[1:])
    pipe.read_start()
    uv.default_loop().run("once")
    assert log == [(None, b"all"), (None, None)]
    pipe.close()


def test_reset_that_finds_the_arena_full(go):
    """A stream for whose data a turn had no room is read first in the next; the kernel tells its error to that read."""
    found, pieces = [], 70  # of 64 KiB: more than fits
    with ExitStack() as later:
        pairs = [later.enter_context(local("receive")) for _ in range(pieces)]
        pairs[-1][0].send(b"unread")
        for stream, peer in pairs:
            go(lambda stream=stream: found.append(everything(stream)))
            peer.sendall(bytes(65536) if stream is not pairs[-1][0] else b"")
            peer.close()
        system.run()
    assert found.count((bytes(65536), None)) == pieces - 1
    assert found.count((b"", "ECONNRESET")) == 1
