"""Listeners with handlers: nothing is accepted before a handler is about to be called."""

import os
import socket
from contextlib import ExitStack, contextmanager, suppress

import pytest

from coutil import errors, uv
from tests.helpers.forks import fork_and
from tests.helpers.servers import listening_tcp


@contextmanager
def holder(server):
    """Yield a Python socket that listens at the same queue, as another process would."""
    with socket.socket(fileno=os.dup(server.fileno())) as other:
        other.setblocking(False)
        yield other


def client_of(server):
    """Return a Python socket that is connected to a listener."""
    return socket.create_connection(server.getsockname())


def settle(loop):
    """Let everything happen that can happen now."""
    for _ in range(20):
        loop.run("nowait")


def taken(other):
    """Return how many connections the other holder finds."""
    count = 0
    with suppress(BlockingIOError):
        while True:
            other.accept()[0].close()
            count += 1
    return count


@pytest.mark.parametrize("had_one", [False, True])
def test_listener_without_a_handler_takes_nothing(loop, had_one):
    """Neither before it has one, nor after it had one: closing it leaves the connections to others."""
    server, told = listening_tcp(loop), []
    with holder(server) as other, ExitStack() as later:
        if had_one:
            server.onconnection = lambda server, err: told.append(server.accept(uv.TCP(loop)))
            with client_of(server):
                settle(loop)
            server.onconnection = None
        for _ in range(3):
            later.enter_context(client_of(server))
        settle(loop)
        server.close()
        assert taken(other) == 3
    assert len(told) == had_one
    loop.walk(uv.close_soon)


def test_connection_that_another_process_takes_first(loop):
    """The socket was ready when the loop polled it, and is no more when the handler's turn comes: it is not called."""
    server, told = listening_tcp(loop), []
    server.onconnection = lambda server, err: told.append(server.accept(uv.TCP(loop)))
    near, far = socket.socketpair()
    with holder(server) as other, near, far, uv.Poll(loop, near) as poll:
        stolen = []
        poll.onpoll = lambda poll, err, events: (stolen.append(taken(other)), poll.stop())
        poll.start("r")
        settle(loop)
        far.send(b"x")
        with client_of(server):
            settle(loop)
        assert (stolen, told) == ([1], [])
        with client_of(server):
            settle(loop)
        assert len(told) == 1
    loop.walk(uv.close_soon)


def test_one_that_the_handler_does_not_accept_is_told_once(loop):
    """It is held for the handler, and the ones behind it stay where they are, until it is taken."""
    server, told = listening_tcp(loop), []
    server.onconnection = lambda server, err: told.append(err)
    with holder(server) as other, ExitStack() as later:
        for _ in range(3):
            later.enter_context(client_of(server))
        settle(loop)
        assert told == [None]
        server.onconnection = lambda server, err: told.append(err)
        settle(loop)
        assert told == [None, None], "the new handler is told of it, too"
        assert taken(other) == 2
        server.accept(uv.TCP(loop))
        settle(loop)
        assert told == [None, None]
        with pytest.raises(errors.UVError, match="EAGAIN"):
            server.accept(uv.TCP(loop))
    loop.walk(uv.close_soon)


def test_listener_keeps_its_loop_alive(loop):
    """As libuv's do: from `listen` to the close, unless it is not referenced, whether or not it is watched just now."""
    with uv.TCP(loop) as server:
        server.bind("127.0.0.1", 0)
        assert (server.active, loop.alive) == (False, False)
        server.listen()
        with client_of(server):
            settle(loop)
            assert (server.active, loop.alive, loop.backend_timeout()) == (True, True, -1)
            server.unref()
            server.unref()
            assert (server.active, loop.alive, loop.run()) == (True, False, False)
            server.ref()
            server.ref()
            assert loop.alive
        server.unref()
        assert not loop.alive
        server.ref()
    assert loop.run() is False


def test_waiter_and_handler(loop):
    """A coroutine that waits in `accept` goes before the handler, which has the next one."""
    server, told = listening_tcp(loop), []
    server.onconnection = lambda server, err: told.append(server.accept(uv.TCP(loop)))
    with client_of(server) as first, server.accept() as stream:
        assert stream.getpeername() == first.getsockname()
        assert told == []
        with client_of(server) as second:
            settle(loop)
            assert [one.getpeername() for one in told] == [second.getsockname()]
    loop.walk(uv.close_soon)


def test_child_of_a_fork_takes_what_its_parent_leaves(loop):
    """A loop that goes on in the child listens at the same queue; nothing is lost when either of both closes."""
    server, told = listening_tcp(loop), []

    def take(count):
        while len(told) < count:
            loop.run("once")
        server.close()
        return len(told)

    def child():
        loop.fork()
        return take(2)

    settle(loop)
    server.onconnection = lambda server, err: told.append(server.accept(uv.TCP(loop)))
    with ExitStack() as later:
        clients = [later.enter_context(client_of(server)) for _ in range(2)]
        made = fork_and(child)
        server.close()
        assert made.answer() == 2
        for client in clients:
            assert client.recv(1) == b""
    assert told == []
