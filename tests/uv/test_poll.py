"""Polled descriptors: events, restarting, waiting, and what happens when their owner closes them too early."""

import gc
import os
import select
import socket
from contextlib import closing, nullcontext

import pytest

from coutil import errors, uv
from tests.helpers.loops import begin
from tests.helpers.sockets import failure


@pytest.fixture
def pair():
    """Two connected stream sockets of the caller."""
    near, far = socket.socketpair()
    with near, far:
        yield near, far


def tcp_pair():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        near = socket.create_connection(listener.getsockname())
        return near, listener.accept()[0]


def collect(poll, log, act=lambda poll: poll.stop()):
    """Log each call of the handler, then do something."""

    def onpoll(one, err, events):
        log.append((err, events))
        act(one)

    poll.onpoll = onpoll
    return poll


# -- events


def test_events_and_letters(loop, pair):
    """The handler is told what is true of what was asked for; in letters, or bits; in the method's and flat form."""
    near, far = pair
    log = []
    with collect(uv.Poll(loop, near), log) as poll:
        for events in ("w", 2, "rw", "wr", 3):
            uv.poll_start(poll, events)
            assert poll.active
            assert loop.run() is False
            assert not poll.active
        assert log == [(None, "w")] * 5
        far.send(b"x")
        poll.start()
        loop.run()
        poll.start("rwdp")
        loop.run()
        uv.poll_stop(poll)
        assert log[5:] == [(None, "r"), (None, "rw")]
        assert poll.fileno() == near.fileno()
        assert poll.type == "poll"


def test_told_again_until_it_is_not_true(loop, pair):
    """A handler that does not read is called in every turn; restarting changes what it is called for."""
    near, far = pair
    log = []

    def act(poll):
        if len(log) == 2:
            poll.start("w")
        elif len(log) == 3:
            poll.stop()

    with collect(uv.Poll(loop, near), log, act) as poll:
        far.send(b"x")
        poll.start("r")
        loop.run()
        assert [events for _, events in log] == ["r", "r", "w"]


def test_disconnect(loop):
    """ "d": the other side has shut its half down."""
    near, far = tcp_pair()
    log = []
    with near, far, collect(uv.Poll(loop, near), log) as poll:
        poll.start("d")
        loop.run("nowait")
        assert log == []
        far.shutdown(socket.SHUT_WR)
        loop.run()
        assert log == [(None, "d")]


def test_urgent_data(loop):
    """ "p": something out of band; what comes in order stays where it is."""
    near, far = tcp_pair()
    log = []
    with near, far, collect(uv.Poll(loop, near), log) as poll:
        poll.start("p")
        far.send(b"!", socket.MSG_OOB)
        loop.run()
        assert log == [(None, "p")]
        assert near.recv(1, socket.MSG_OOB) == b"!"


@pytest.mark.parametrize("both_ways", [False, True])
def test_transfer(loop, both_ways):
    """Sockets of the caller, moved by four handlers that read and write as they are told; all of it arrives."""
    total, received, polls = 500_000, {}, []

    def party(sock, sends):
        left, poll = (total if sends else 0), uv.Poll(loop, sock)
        received[sock] = 0

        def onpoll(one, err, events):
            nonlocal left
            assert err is None
            if "r" in events:
                data = sock.recv(65536)
                received[sock] += len(data)
                if not data:
                    one.stop() if not left else one.start("w")
                    return
            if "w" in events and left:
                left -= sock.send(b"x" * min(left, 65536))
                if not left:
                    sock.shutdown(socket.SHUT_WR)
                    one.start("r")

        poll.onpoll = onpoll
        poll.start("rw" if sends else "r")
        if not sends:
            sock.shutdown(socket.SHUT_WR)
        polls.append(poll)

    near, far = tcp_pair()
    with near, far:
        party(near, True)
        party(far, both_ways)
        assert loop.run() is False
        assert received == {near: total if both_ways else 0, far: total}
        for poll in polls:
            poll.close()


def test_two_handles_of_one_descriptor(loop, pair):
    """They exist beside each other; only one can poll: EEXIST for the other, until the first one stops."""
    near, _ = pair
    log = []
    with uv.Poll(loop, near) as first, collect(uv.Poll(loop, near), log) as second:
        first.start("r")
        for call in (lambda: second.start("w"), lambda: second.wait("w")):
            with pytest.raises(FileExistsError) as info:
                call()
            assert info.value.name == "EEXIST"
            assert not second.active
        assert failure(uv.Poll, loop, near).name == "EEXIST"
        first.stop()
        second.start("w")
        assert failure(first.start, "r").name == "EEXIST"
        loop.run()
        assert log == [(None, "w")]


def test_several_loops(pair):
    """Each loop has its own set of descriptors."""
    near, far = pair
    log = []
    with uv.Loop() as one, uv.Loop() as two:
        polls = [collect(uv.Poll(loop, near), log) for loop in (one, two)]
        far.send(b"x")
        for poll in polls:
            poll.start()
            poll.loop.run()
            poll.close()
        assert log == [(None, "r")] * 2


def test_nested_epoll(loop, pair):
    """A set of descriptors is one, too."""
    near, far = pair
    log = []
    with closing(select.epoll()) as inner:
        inner.register(near, select.EPOLLIN)
        with collect(uv.Poll(loop, inner), log) as poll:
            poll.start("r")
            loop.run("nowait")
            assert log == []
            far.send(b"x")
            loop.run()
            assert log == [(None, "r")]


def test_embedded_loop(loop):
    """A loop inside another one: its descriptor tells when it has to be run."""
    log = []
    inner = uv.Loop()
    wake = uv.Async(inner)
    wake.onasync = lambda one: (log.append("inner"), one.close_soon())
    with collect(uv.Poll(loop, inner.backend_fd()), log, lambda poll: (inner.run("nowait"), poll.stop())) as poll:
        inner.run("nowait")  # tells the system what to look for
        poll.start("r")
        wake.send()
        loop.run()
        assert log == [(None, "r"), "inner"]
    inner.run()
    inner.close()


def test_unref(loop, pair):
    """An active handle keeps its loop alive unless it is not referenced."""
    near, _ = pair
    with uv.Poll(loop, near) as poll:
        poll.start("r")
        assert loop.alive
        poll.unref()
        assert loop.run() is False
        assert poll.active


# -- waiting


def test_wait(loop, pair):
    """A coroutine waits in place of a handler; the handle is active only meanwhile."""
    near, far = pair
    log = []
    with collect(uv.new_poll(loop, near), log) as poll:
        assert poll.wait("w") == "w"
        far.send(b"x")
        assert poll.wait() == "r"
        assert uv.poll_wait(poll, "rw") == "rw"
        assert not poll.active
        assert loop.run() is False
        assert log == []


def test_waiter_wins(loop, pair):
    """While a coroutine waits the handler is not called, and then it is for what it had asked for."""
    near, far = pair
    log, got = [], []
    with collect(uv.new_socket_poll(loop, near), log) as poll:
        poll.start("w")
        begin(loop, lambda: got.append(poll.wait("r")))
        poll.start("w")  # comes into effect afterwards
        loop.run("nowait")
        assert log == []
        far.send(b"x")
        loop.run()
        assert got == ["r"]
        assert log == [(None, "w")]


def test_stop_leaves_the_waiter_alone(loop, pair):
    """Also if its event is under way already."""
    near, far = pair
    got = []
    with uv.Poll(loop, near) as poll, uv.Timer(loop) as timer:
        begin(loop, lambda: got.append(poll.wait("r")))
        poll.stop()
        assert poll.active
        timer.ontimeout = lambda _: poll.stop()
        timer.start(0)
        far.send(b"x")
        loop.run()
        assert got == ["r"]
        assert not poll.active


def test_two_waiters(loop, pair):
    """BusyError for the second one, which changes nothing."""
    near, far = pair
    got = []
    with uv.Poll(loop, near) as poll:
        begin(loop, lambda: got.append(poll.wait("r")))
        with pytest.raises(errors.BusyError, match=r"poll .* waits for it"):
            poll.wait("w")
        far.send(b"x")
        loop.run()
        assert got == ["r"]


def test_wait_that_is_given_up(loop, pair):
    """By an explicit resume or an exception: nothing is polled any more, but what the handler asked for."""
    near, _ = pair
    got, log = [], []
    with collect(uv.Poll(loop, near), log) as poll:
        begin(loop, lambda: got.append(poll.wait("r"))).resume("mine")
        assert not poll.active
        begin(loop, lambda: got.append(failure(poll.wait))).throw(KeyError("no"))
        assert got[0] == "mine"
        assert repr(got[1]) == "KeyError('no')"
        assert loop.run() is False
        poll.start("w")
        begin(loop, lambda: got.append(poll.wait("r"))).resume("again")
        loop.run()
        assert log[-1] == (None, "w")
        assert got[2] == "again"


def test_close_tells_the_waiter(loop, pair):
    """Closed, and every later call as well."""
    near, _ = pair
    got = []
    poll = uv.Poll(loop, near)
    begin(loop, lambda: got.append(failure(poll.wait)))
    poll.close()
    assert isinstance(got[0], errors.Closed)
    for call in (poll.start, poll.stop, poll.wait, poll.fileno):
        with pytest.raises(errors.Closed, match="poll "):
            call()
    near.send(b"still the caller's")


# -- descriptors that cannot be polled


@pytest.fixture
def file(tmp_path):
    """A regular file."""
    with open(tmp_path / "file", "w+b") as made:
        yield made


def test_b08_what_cannot_be_polled(loop, file):
    """B08: EPERM for a file, EBADF for what is not open, EINVAL for the loop's own set; no handle is left."""
    closed = socket.socket()
    number = closed.fileno()
    closed.close()
    for fd, name in ((file, "EPERM"), (file.fileno(), "EPERM"), (number, "EBADF"), (10**6, "EBADF")):
        with pytest.raises(errors.UVError) as info:
            uv.Poll(loop, fd)
        assert (info.value.name, info.value.syscall) == (name, "uv_poll_init")
    assert failure(uv.Poll, loop, loop.backend_fd()).name == "EINVAL"
    assert loop.walk() == []


@pytest.mark.parametrize("fd", [-1, "0", 1.0, None, True, 2**31])
def test_what_is_no_descriptor(loop, fd):
    """TypeError or ValueError, which show it; so does a closed socket."""
    with pytest.raises((TypeError, ValueError), match=f"fd .*{fd}"):
        uv.Poll(loop, fd)
    gone = socket.socket()
    gone.close()
    with pytest.raises(ValueError, match=r"\bfd "):
        uv.Poll(loop, gone)
    assert loop.walk() == []


@pytest.mark.parametrize("events", ["", "x", "rx", 0, 16, -1, "R"])
def test_events_that_are_none(loop, pair, events):
    """ValueError; the handle stays as it is."""
    with uv.Poll(loop, pair[0]) as poll:
        for call in (poll.start, poll.wait):
            with pytest.raises(ValueError, match="events"):
                call(events)
        for wrong in (None, 1.0, True, ["r"]):
            with pytest.raises(TypeError, match="events "):
                poll.start(wrong)
        assert not poll.active


@pytest.mark.parametrize("reused", [False, True])
def test_b08_closed_before_the_loop_runs(loop, pair, file, reused):
    """B08: a descriptor that is closed after the start, its number perhaps given to a file: an error, no abort."""
    log = []
    near, _ = pair
    with collect(uv.Poll(loop, near), log, lambda _: None) as poll:
        number = near.fileno()
        poll.start("r")
        near.close()
        if reused:
            assert os.dup2(file.fileno(), number) == number
        loop.run()
        ((err, events),) = log
        assert (err.name, events) == ("EPERM" if reused else "EBADF", "")
        assert not poll.active
        begin(loop, lambda: log.append(failure(poll.wait, "r")))
        loop.run()
        assert log[1].name == err.name
        if reused:
            os.close(number)


def test_b08_closed_while_it_is_polled(loop, pair):
    """B08: the system forgets it silently; stop, start and close work, and a start tells."""
    log = []
    near, far = pair
    with collect(uv.Poll(loop, near), log, lambda _: None) as poll:
        poll.start("r")
        loop.run("nowait")
        near.close()
        far.close()
        loop.run("nowait")
        assert log == []
        poll.stop()
        poll.start("rw")
        loop.run()
        assert [(err.name, events) for err, events in log] == [("EBADF", "")]


def test_object_that_is_forgotten(loop):
    """It is kept, for its finalizer would close what is polled."""

    class Owner:
        def __init__(self, number):
            self.number = number

        def fileno(self):
            return self.number

        def __del__(self):
            os.close(self.number)

    near, far = socket.socketpair()
    with collect(uv.Poll(loop, Owner(near.detach())), log := [], lambda poll: poll.stop()) as poll, far:
        poll.start("r")
        gc.collect()
        loop.run("nowait")
        far.send(b"x")
        loop.run("once")
        assert log == [(None, "r")]


def test_b08_number_of_another_file(loop, pair):
    """A number that was given away while the handle rested is not polled for a stranger."""
    near, _ = pair
    one, other = socket.socketpair()
    with one, other, collect(uv.Poll(loop, near), log := [], lambda _: None) as poll:
        number = near.fileno()
        near.close()
        os.dup2(one.fileno(), number)
        other.send(b"for the stranger")
        poll.start("r")
        loop.run()
        assert [(err.name, events) for err, events in log] == [("EBADF", "")]
        os.close(number)


@pytest.mark.parametrize("how", ["open", "made"])
def test_b08_number_that_another_handle_gets(loop, pair, how):
    """It is closed while polled, and a handle of the loop gets the number: the poll is told, the handle is not deaf."""
    near, far = pair
    server = socket.create_server(("127.0.0.1", 0))
    with server, collect(uv.Poll(loop, near), log := [], lambda _: None) as poll, uv.TCP(loop) as other:
        poll.start("r")
        loop.run("nowait")
        number = near.fileno()
        near.close()
        far.close()
        if how == "open":
            one, peer = socket.socketpair()
            spare = os.dup(one.fileno()) if one.fileno() != number else None
            taken = one.detach() if spare is None else os.dup2(spare, number)
            with socket.socket(fileno=spare) if spare is not None else nullcontext(), one, peer:
                other.open(taken)
                peer.send(b"for the other")
                begin(loop, lambda: log.append(other.read()))
                loop.run()
        else:
            begin(loop, lambda: other.connect(*server.getsockname()))
            loop.run()
            assert other.fileno() == number
            with server.accept()[0] as peer:
                peer.send(b"for the other")
                begin(loop, lambda: log.append(other.read()))
                loop.run()
        told = [one for one in log if isinstance(one, tuple)]
        assert [(err.name, events) for err, events in told] == [("EBADF", "")]
        assert b"for the other" in log


def test_b09_a_copy_keeps_nothing_going(loop, pair):
    """B09: stopped and closed while a copy of the descriptor lives: the loop rests."""
    near, far = pair
    copy = os.dup(near.fileno())
    try:
        far.send(b"x")
        poll, log = uv.Poll(loop, near), []
        collect(poll, log, lambda _: None)
        poll.start("r")
        loop.run("once")
        poll.stop()
        near.close()
        poll.close()
        assert len(log) == 1
        with uv.Timer(loop) as timer:
            timer.start(50)
            before = loop._hub._turns
            while timer.active:
                loop.run("once")
            assert loop._hub._turns - before < 10
    finally:
        os.close(copy)


def pair_at(number):
    """Return connected sockets, the first with this number."""
    near, far = socket.socketpair()
    if near.fileno() != number:
        os.dup2(near.fileno(), number)
        near.close()
        near = socket.socket(fileno=number)
    return near, far


@pytest.mark.parametrize("polled", [True, False])
def test_b10_closed_after_its_number_was_reused(loop, polled):
    """B10: stop A, close its descriptor, poll B under the same number, close A: B goes on."""
    log = []
    near, far = socket.socketpair()
    number = near.fileno()
    first = uv.Poll(loop, near)
    if polled:
        first.start("r")
        loop.run("nowait")
        first.stop()
    near.close()
    far.close()
    near, far = pair_at(number)
    with near, far, collect(uv.Poll(loop, near), log) as second:
        second.start("r")
        loop.run("nowait")
        first.close()
        far.send(b"x")
        loop.run("nowait")
        assert log == [(None, "r")]
        assert second.fileno() == number


def test_b10_number_reused_by_a_handle_of_another_kind(loop):
    """B10: closing a stopped poll does not make a UDP handle deaf that has its number now."""
    log = []
    near, far = socket.socketpair()
    number = near.fileno()
    first = uv.Poll(loop, near)
    first.start("r")
    loop.run("nowait")
    first.stop()
    near.close()
    far.close()
    with uv.UDP(loop, "inet") as udp, uv.UDP(loop) as client:
        if udp.fileno() != number:
            pytest.skip("the system chose another number")
        udp.bind("127.0.0.1", 0)
        udp.onrecv = lambda one, err, data, addr, flags: (log.append(data), one.recv_stop())
        udp.recv_start()
        loop.run("nowait")
        first.close()
        client.send(b"x", *udp.getsockname())
        loop.run()
        assert log == [b"x"]


@pytest.mark.parametrize("act", ["close", "close_soon", "stop"])
def test_b22_close_in_the_handler_when_the_connection_breaks(loop, act):
    """B22: readable and reset in one turn; the handler closes this handle, or another that has events as well."""
    log = []
    pairs = [tcp_pair() for _ in range(4)]
    polls = [uv.Poll(loop, near) for near, _ in pairs]

    def end(mine):
        for poll in polls:
            poll.stop() if act == "stop" else poll.close_soon()
        if act == "close":
            mine.close()

    for poll, (_, far) in zip(polls, pairs, strict=True):
        collect(poll, log, end).start("rwd")
        far.send(b"x")
        far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        far.close()
    loop.run()
    assert len(log) == 1
    for poll in polls:
        poll.close()
    for near, _ in pairs:
        near.close()


def test_not_owned(loop, pair):
    """The descriptor is the caller's before and after; it does not block any more."""
    near, far = pair
    poll = uv.Poll(loop, near)
    assert not os.get_blocking(near.fileno())
    poll.start()
    poll.close()
    del poll
    gc.collect()
    near.send(b"x")
    assert far.recv(1) == b"x"
