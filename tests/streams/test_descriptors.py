"""Descriptors that are closed behind the back of their handle: no abort, no other file closed, EBADF where it shows."""

import os
import socket
import threading
from contextlib import contextmanager, suppress
from typing import BinaryIO

import pytest

from coutil import errors, scopes, system, uv
from coutil.system.network.fd_passing import socket_from_fd
from tests.helpers.script import output_of

BIG = bytes(1 << 24)  # more than the system takes at once


def local_end():
    """Return a stream whose peer stays open as an attribute of the test's list."""
    ours, peer = socket.socketpair()
    kept.append(peer)
    return ours


def pipe_of_uv():
    """A pipe handle on a Unix socket."""
    pipe = uv.Pipe()
    pipe.open(local_end())
    return pipe


def tcp_of_uv():
    """A TCP handle that is connected."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        stream = uv.TCP()
        stream.connect(*server.getsockname())
        kept.append(server.accept()[0])
    return stream


def bound(handle):
    """Have a UDP handle make its socket."""
    handle.bind("127.0.0.1", 0)
    return handle


def listener(kind):
    """Return what listens."""
    if kind == "uv":
        server = uv.TCP()
        server.bind("127.0.0.1", 0)
        server.listen()
        return server
    server = system.socket("passive", "ipv4")
    server.bind(system.address("ipv4", "127.0.0.1", 0))
    server.listen(4)
    return server


def terminal():
    """A TTY handle."""
    shown, own = os.openpty()
    kept.append(os.fdopen(shown, "rb"))
    handle = uv.TTY(None, own)
    os.close(own)
    return handle


def datagram():
    """A datagram socket of `system`."""
    made = system.socket("datagram", "ipv4")
    made.bind(system.address("ipv4", "127.0.0.1", 0))
    return made


MAKERS = {
    "system stream": lambda: socket_from_fd(local_end().detach()),
    "system share": lambda: socket_from_fd(local_end().detach(), share=True),
    "system passive": lambda: listener("system"),
    "system datagram": datagram,
    "tcp": tcp_of_uv,
    "pipe": pipe_of_uv,
    "tty": terminal,
    "udp": lambda: bound(uv.UDP()),
    "listening tcp": lambda: listener("uv"),
}
WAITS = {
    "system stream": lambda one: one.receive(),
    "system share": lambda one: one.receive(),
    "system passive": lambda one: one.accept(),
    "system datagram": lambda one: one.receive(),
    "tcp": lambda one: one.read(),
    "pipe": lambda one: one.read(),
    "tty": lambda one: one.read(),
    "udp": lambda one: one.recv(),
    "listening tcp": lambda one: one.accept(),
}
SENDERS = ["system stream", "system share", "tcp", "pipe"]
kept: list[socket.socket | BinaryIO] = []


@pytest.fixture(autouse=True)
def peers():
    """Close the peers that a test has made."""
    yield
    while kept:
        kept.pop().close()


@contextmanager
def made(kind):
    """Yield an object of a kind, which is closed at the end."""
    one = MAKERS[kind]()
    try:
        yield one
    finally:
        getattr(one, "close_soon", one.close)()


def nothing(number):
    """Leave the number free."""


def file_at(number):
    """Give the number to a file."""
    made = os.open(__file__, os.O_RDONLY)
    if made != number:
        os.dup2(made, number)
        os.close(made)


def socket_at(number):
    """Give the number to a socket that can be polled, and has something to read."""
    one, other = socket.socketpair()
    if other.fileno() == number:
        one, other = other, one
    kept.append(other)
    other.send(b"a stranger's")
    made = one.detach()
    if made != number:
        os.dup2(made, number)
        os.close(made)


STRANGERS = [nothing, file_at, socket_at]


def stolen(one, stranger):
    """Close the descriptor of an object, and give the number away; return it, or None if it is free."""
    number = one.fileno()
    os.close(number)
    stranger(number)
    return None if stranger is nothing else number


def gone(number):
    """Close a stranger's descriptor, which must be open still."""
    if number is not None:
        os.fstat(number)
        os.close(number)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("kind", MAKERS)
def test_close_leaves_a_stranger_alone(kind, stranger):
    """The number belongs to another file by now: closing the object does not close that."""
    with made(kind) as one:
        number = stolen(one, stranger)
    system.suspend(0)
    gone(number)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("kind", MAKERS)
def test_wait_that_begins_afterwards(kind, stranger):
    """EBADF, for libuv would abort the process, or read what is a stranger's."""
    with made(kind) as one:
        number = stolen(one, stranger)
        with pytest.raises(errors.UVError, match="EBADF"), scopes.timeout(5):
            WAITS[kind](one)
        with pytest.raises(errors.UVError, match="EBADF"), scopes.timeout(5):
            WAITS[kind](one)
    system.suspend(0)
    gone(number)


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("kind", MAKERS)
def test_wait_that_began_in_the_same_turn(kind, stranger, go):
    """The descriptor is closed after the wait began and before the system was told to poll it."""
    told = []

    def wait(one):
        try:
            WAITS[kind](one)
        except errors.UVError as error:
            told.append(error.name)

    with made(kind) as one:
        go(wait, one)
        number = stolen(one, stranger)
        with scopes.timeout(5):
            while not told:
                system.suspend(0.001)
        assert told == ["EBADF"]
    gone(number)


@pytest.mark.parametrize("kind", MAKERS)
def test_number_that_another_handle_gets(kind, go):
    """The system polls nothing any more, silently; when a handle of ours gets the number, the waiter is told."""
    told = []

    def wait(one):
        try:
            WAITS[kind](one)
        except errors.UVError as error:
            told.append(error.name)

    with made(kind) as one, made("system stream") as spare:
        go(wait, one)
        system.suspend(0.01)
        number = one.fileno()
        os.close(number)
        os.dup2(spare.fileno(), number)
        with uv.Pipe() as other:
            other.open(number)
            assert other.fileno() == number
            with scopes.timeout(5):
                while not told:
                    system.suspend(0.001)
            assert told == ["EBADF"]
            kept[-1].send(b"for the other one")
            with scopes.timeout(5):
                assert other.read() == b"for the other one"


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("kind", SENDERS)
def test_senders_in_libuvs_queue(kind, stranger, go):
    """Everybody who waits for the peer to read is told EBADF as soon as the loss shows."""
    told = []

    def send(one):
        try:
            getattr(one, "send", getattr(one, "write", None))(BIG)
        except errors.UVError as error:
            told.append(error.name)

    with made(kind) as one:
        go(send, one)
        go(send, one)
        number = stolen(one, stranger)
        with pytest.raises(errors.UVError, match="EBADF"), scopes.timeout(5):
            WAITS[kind](one)
        with scopes.timeout(5):
            while len(told) < 2:
                system.suspend(0.001)
        assert told == ["EBADF", "EBADF"]
    gone(number)


@pytest.mark.parametrize("kind", [*SENDERS, "udp", "system datagram"])
def test_calls_on_a_number_that_is_free(kind):
    """Everything raises EBADF, and nothing ends the process."""
    with made(kind) as one:
        os.close(one.fileno())
        for name in ("send", "write"):
            if hasattr(one, name) and "d" not in kind.split()[-1]:
                with pytest.raises(errors.UVError, match="EBADF"):
                    getattr(one, name)(BIG)
        for name in ("shutdown", "getsockname", "getaddress"):
            if hasattr(one, name):
                with suppress(errors.UVError), scopes.timeout(5):
                    getattr(one, name)()
        with pytest.raises(errors.UVError, match="EBADF"), scopes.timeout(5):
            WAITS[kind](one)
        assert repr(one)


def test_end_of_the_loop():
    """A loop that ends with an object open closes what is its own only."""
    assert output_of(
        """
        import os
        from coutil import uv
        for made in (uv.TCP, uv.UDP):
            loop = uv.Loop()
            one = made(loop, "inet")
            number = one.fileno()
            os.close(number)
            other = os.open(os.devnull, os.O_RDONLY)
            assert other == number
            loop.close(force=True)
            os.close(other)
        print("fine")
        """
    ) == ["fine"]


def test_two_handles_of_one_descriptor():
    """EEXIST, of whatever kinds, whether the owner polls or rests, also in another loop and another thread."""
    for kind in MAKERS:
        with made(kind) as one, uv.Pipe() as pipe, uv.TCP() as tcp, uv.UDP() as udp:
            takers = [udp] if kind in ("udp", "system datagram") else [pipe, tcp]
            for taker in takers:
                with pytest.raises(errors.UVError, match="EEXIST"):
                    taker.open(one.fileno())
                with pytest.raises(errors.UVError, match="EEXIST"):
                    taker.open(one)
            found, number = [], one.fileno()
            thread = threading.Thread(target=lambda: found.append(in_a_loop_of_its_own(number)))  # noqa: B023  # joined
            thread.start()
            thread.join()
            assert found == ["EEXIST"]
            os.fstat(one.fileno())


def in_a_loop_of_its_own(number):
    """Return the name of the error with which another loop refuses a descriptor."""
    loop = uv.Loop()
    try:
        for taker in (uv.Pipe(loop), uv.UDP(loop)):
            with taker:
                taker.open(number)
    except errors.UVError as error:
        return error.name
    finally:
        loop.close(force=True)


@pytest.mark.parametrize("kind", MAKERS)
def test_closing_by_number(kind):
    """EBUSY for the descriptor of a handle, whether that polls or rests, with a loop and without."""
    loop = uv.default_loop()
    with made(kind) as one:
        for call in (loop.fs.close, lambda fd: uv.fs_close(None, fd)):
            with pytest.raises(errors.UVError, match="EBUSY"):
                call(one.fileno())
        os.fstat(one.fileno())


def test_poll_and_stream_of_one_descriptor(go):
    """One at a time may poll a descriptor; the second is told EEXIST, and neither is deaf."""
    for kind in SENDERS:
        with made(kind) as one, uv.Poll(None, one.fileno()) as poll:
            peer, told = kept[-1], []
            poll.onpoll = lambda _, error, events, told=told: told.append(events)
            poll.start("r")
            with pytest.raises(errors.UVError, match="EEXIST"):
                WAITS[kind](one)
            with pytest.raises(errors.UVError, match="EEXIST"):
                getattr(one, "send", getattr(one, "write", None))(BIG)
            peer.send(b"x")
            with scopes.timeout(5):
                while not told:
                    system.suspend(0.001)
            poll.stop()
            assert WAITS[kind](one) == b"x"
            poll.start("r")  # the stream rests
            poll.stop()
            with pytest.raises(TimeoutError), scopes.timeout(0.01):
                WAITS[kind](one)
            poll.start("r")  # its reader has left
            poll.stop()
            reader = go(WAITS[kind], one)
            system.suspend(0)
            with pytest.raises(errors.UVError, match="EEXIST"):
                poll.start("r")
            peer.send(b"y")
            with scopes.timeout(5):
                while reader.status != "dead":
                    system.suspend(0.001)


def test_terminal_that_is_polled_still(go):
    """The other descriptor of a terminal keeps it in the system's set: nothing is read from what got the number."""
    shown, own = os.openpty()
    told = []

    def read():
        try:
            told.append(handle.read())
        except errors.UVError as error:
            told.append(error.name)

    with uv.TTY(None, shown) as handle:
        go(read)
        system.suspend(0.01)
        number = stolen(handle, socket_at)
        os.write(own, b"shown")
        with scopes.timeout(5):
            while not told:
                system.suspend(0.001)
    assert told == ["EBADF"]
    os.close(own)
    os.close(shown)
    gone(number)
