"""Streams: receive and receive_into, the end of a stream, and what may happen to a coroutine that waits for data."""

import gc
import socket

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import BusyError, Closed
from tests.helpers.servers import listening
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import BIG, GIVEN, all_domains, both_domains, connected, pairs, receive_exactly, reset
from tests.helpers.tcp import with_plain_peer as plain_peer


@all_domains
def test_what_can_go_wrong_in_one_conversation(domain, go):
    """STR-25: wrong arguments, busy, closed under the receiver, and a send that its own socket's close ends."""
    server, log, ends = listening(domain), [], {}

    def acceptor():
        accepted = ends["accepted"] = server.accept()
        with pytest.raises(TypeError, match="buffer"):
            accepted.receive_into()
        with pytest.raises(TypeError, match=r"start .*1\.1"):
            accepted.receive_into(bytearray(64), 1.1)
        with pytest.raises(TypeError, match=r"stop .*2\.2"):
            accepted.receive_into(bytearray(64), 0, 2.2)
        buffer = bytearray(64)
        assert accepted.receive_into(buffer) == 64
        assert buffer == b"a" * 64
        ends["client"].close()
        log.append("closed the client's stream")
        with pytest.raises(OSError, match=r"ECANCELED|EPIPE|ECONNRESET"):
            accepted.send(BIG)
        log.append("send failed")

    def client():
        stream = ends["client"] = connected(server)
        while "accepted" not in ends:
            system.suspend()
        with pytest.raises(BusyError, match="acceptor suspended on stream"):
            ends["accepted"].receive()
        assert stream.send(b"a" * 64) is True
        with pytest.raises(Closed) as caught:
            stream.receive()
        log.append(f"interrupted: {caught.value.interrupted}")
        system.suspend()
        ends["accepted"].close()

    go(acceptor)
    go(client)
    while "accepted" not in ends:
        system.run("step")
    with pytest.raises(BusyError):
        ends["accepted"].receive()
    assert system.run() is False
    assert log == ["interrupted: True", "closed the client's stream", "send failed"]
    server.close()


@all_domains
def test_half_close(domain, go):
    """STR-26: the client ends its sending; the server reads the end again and again, and can still answer."""
    server, log = listening(domain), []

    def serve():
        with server.accept() as stream:
            assert stream.receive() == b"a" * 64
            ends = [stream.receive(), stream.receive_into(bytearray(8)), stream.receive(1)]
            log.append(ends)
            assert stream.send(b"b" * 64) is True

    def client():
        with connected(server) as stream:
            stream.send(b"a" * 64)
            system.suspend()
            assert stream.shutdown() is True
            log.append(receive_exactly(stream, 64))

    go(serve)
    go(client)
    assert log == []
    assert system.run() is False
    assert log == [[b"", 0, b""], b"b" * 64]
    server.close()


@both_domains
def test_end_of_stream_never_stops(domain, go):
    """STR-26: every reader, however often, gets b"" at the end, in the main program and in coroutines."""
    with pairs(domain) as (near, far):
        far.send(b"last words")
        far.close()
        assert near.receive(4) == b"last"
        assert near.receive() == b" words"
        assert [near.receive() for _ in range(100)] == [b""] * 100
        readers = [go(lambda: [near.receive(), near.receive_into(bytearray(1))])]
        assert system.run() is False
        assert readers[0].status == "dead"
        assert near.send(b"the other direction is open") is True


@all_domains
def test_received_in_pieces_into_slices(domain, go):
    """STR-27: what is asked for goes where it is asked for; the rest of the buffer is not touched."""
    server, log = listening(domain), []

    def serve():
        buffer = bytearray(128)
        with server.accept() as stream:
            for start, stop, fill in ((0, 64, 64), (64, 96, 32), (96, None, 32)):
                assert stream.receive_into(buffer, start, stop) == fill
                end = start + fill
                assert buffer[end:] == bytes(128 - end)
                log.append(bytes(buffer[start:end]))

    def client():
        data = b"a" * 64 + b"b" * 32 + b"c" * 32
        with connected(server) as stream:
            assert stream.send(data, 0, 64) is True
            while not log:
                system.suspend()
            assert stream.send(data, 64, 128) is True

    go(serve)
    go(client)
    assert log == []
    assert system.run() is False
    assert log == [b"a" * 64, b"b" * 32, b"c" * 32]
    server.close()


@pytest.mark.parametrize("collect", [False, True], ids=["", "with a collection"])
@all_domains
def test_stream_is_handed_from_one_receiver_to_another(domain, collect, go):
    """STR-28: the second reader takes over from inside the first one's resumption: no byte is lost."""
    log = []
    with pairs(domain) as (near, far):

        def first():
            log.append(near.receive(32))
            if collect:
                gc.collect()
            second_one.resume()

        def second():
            with pytest.raises(BusyError, match=r"stream \w+ .*is in use: <Coroutine .*first suspended on stream"):
                near.receive(32)
            yield_()
            log.append(near.receive(32))

        first_one, second_one = go(first), go(second)
        far.send(b"a" * 32 + b"b" * 32)
        assert log == []
        assert system.run() is False
        assert log == [b"a" * 32, b"b" * 32]
        assert (first_one.status, second_one.status) == ("dead", "dead")


@needs_debug
def test_hand_over_does_not_restart_reading(go):
    """STR-28: from Armed the stream goes straight to Await again, 9, for the same and for another coroutine."""
    with pairs("ipv4") as (near, far), Walked() as walked:

        def first():
            assert near.receive(2) == b"aa"
            assert near.receive(2) == b"bb"
            second_one.resume()

        def second():
            yield_()
            assert near.receive(2) == b"cc"

        first_one, second_one = go(first), go(second)
        far.send(b"aabbcc")
        system.run()
        assert (first_one.status, second_one.status) == ("dead", "dead")
        assert walked.by(near._handle) == "2 6 9 6 9 6 7"


@all_domains
def test_two_servers_that_double_what_they_get(domain, go):
    """STR-29: two listeners, each closed as soon as its connection was accepted; two echoes, two clients."""
    servers, found = [listening(domain), listening(domain)], []

    def echo(stream):
        with stream:
            data = receive_exactly(stream, 32)
            assert stream.send(data + data) is True

    def serve(server):
        spawn.call(echo, server.accept())
        server.close()

    def client(server, data):
        with connected(server) as stream:
            stream.send(data)
            found.append(receive_exactly(stream, 64))
            assert stream.receive() == b""

    for server, byte in zip(servers, (b"1", b"2"), strict=True):
        go(serve, server)
        go(client, server, byte * 32)
    assert found == []
    assert system.run() is False
    assert sorted(found) == [b"1" * 64, b"2" * 64]
    assert all(repr(server).endswith(" closed>") for server in servers)


RECEIVES = [lambda stream: stream.receive(), lambda stream: stream.receive_into(bytearray(64))]
both_receives = pytest.mark.parametrize("receive", RECEIVES, ids=["receive", "receive_into"])


@both_receives
@all_domains
@pytest.mark.parametrize("values", [GIVEN, (b"bytes of somebody else",), (5,)], ids=["several", "bytes", "int"])
def test_cancelled_receive_returns_what_it_was_given(domain, receive, values, go):
    """STR-30: an explicit resume ends the wait with its values, whatever they look like; then the stream closes."""
    log = []
    with pairs(domain) as (near, far):

        def reader():
            log.append(receive(near))
            near.close()
            yield_()
            log.append("never")

        waiting = go(reader)
        assert log == []
        waiting.resume(*values)
        assert log == [values if len(values) > 1 else values[0]]
        assert system.run() is False
        assert len(log) == 1
        assert far.receive() == b""


@all_domains
def test_cancelled_receive_can_be_repeated(domain, go):
    """STR-31: a cancelled receive leaves its buffer alone; the next one of the same coroutine gets the data."""
    log = []
    with pairs(domain) as (near, far):

        def reader():
            buffers = [bytearray(64), bytearray(64)]
            log.append(near.receive_into(buffers[0]))
            log.append(near.receive_into(buffers[1]))
            assert buffers == [bytes(64), b"0123456789" + bytes(54)]

        waiting = go(reader)
        waiting.resume()
        assert log == [None]
        far.send(b"0123456789")
        assert system.run() is False
        assert log == [None, 10]
        assert waiting.status == "dead"


@all_domains
def test_receive_cancelled_twice(domain, go):
    """STR-32: once before the loop runs, once from a coroutine that the loop resumed; the data still come."""
    log = []
    with pairs(domain) as (near, far):

        def reader():
            log.append(near.receive())
            log.append(near.receive())

        def canceller():
            system.suspend()
            waiting.resume(1, 2)
            far.send(b"0123456789")

        waiting = go(reader)
        waiting.resume("first")
        go(canceller)
        assert log == ["first"]
        assert system.run() is False
        assert log == ["first", (1, 2)]
        assert near.receive() == b"0123456789"


@both_receives
@all_domains
def test_error_after_receive_stays_with_its_coroutine(domain, receive, go, escaped):
    """STR-33: what the reader raises later reaches the excepthook; run() neither raises nor stops early."""
    later = []
    with pairs(domain) as (near, far):

        def reader():
            receive(near)
            raise LookupError("oops")

        def other():
            system.suspend(0.001)
            later.append("still running")

        failing = go(reader)
        go(other)
        far.send(b"x")
        assert system.run() is False
        assert later == ["still running"]
        assert [(who, str(error)) for who, error in escaped] == [(failing, "oops")]
        escaped.clear()


@both_receives
@all_domains
def test_error_after_a_cancelled_receive_goes_to_the_resumer(domain, receive, go):
    """STR-34: the one that resumes the reader gets what it raises then; the stream goes on working."""
    with pairs(domain) as (near, far):

        def reader():
            receive(near)
            raise LookupError("oops")

        failing = go(reader)
        with pytest.raises(LookupError, match="oops"):
            failing.resume()
        assert failing.status == "dead"
        assert system.run() is False
        far.send(b"x")
        assert near.receive() == b"x"


@both_receives
def test_exception_thrown_into_receive(receive, go):
    """STR-34: throw ends the wait as well, and no byte is lost."""
    with pairs("ipv4") as (near, far):
        waiting = go(receive, near)
        with pytest.raises(TimeoutError, match="too late"):
            waiting.throw(TimeoutError("too late"))
        assert waiting.status == "dead"
        far.send(b"after")
        assert near.receive() == b"after"


def lose_the_race(ends, go):
    """Let data arrive for two waiting readers in one turn; the first that is served cancels the other.

    Returns the near and far end of the one that was cancelled: its data had left the kernel already.
    """
    nears, losers, waiting = ends[::2], [], []

    def reader(mine):
        if nears[mine].receive(100) is None:
            losers.append(mine)
        else:
            waiting[1 - mine].resume()

    waiting += [go(reader, mine) for mine in (0, 1)]
    for far in ends[1::2]:
        far.send(b"0123456789")
    while not losers:
        system.run("step")
    return ends[2 * losers[0]], ends[2 * losers[0] + 1]


@all_domains
def test_data_on_their_way_to_a_cancelled_reader_are_kept(domain, go):
    """STR-31: bytes that had left the kernel when their reader was resumed come first in the next calls, in order."""
    with pairs(domain, 2) as ends:
        near, far = lose_the_race(ends, go)
        far.send(b"abc")
        buffer = bytearray(4)
        assert near.receive(3) == b"012"
        assert near.receive_into(buffer) == 4
        assert buffer == b"3456"
        assert near.receive(100) == b"789", "what was kept is not mixed with what came later"
        far.close()
        assert [near.receive(), near.receive()] == [b"abc", b""]


@all_domains
def test_reader_that_comes_when_the_data_have_left_the_kernel(domain, go):
    """STR-31: the successor of a cancelled wait in that very turn gets the data; then no wait is left, run() ends."""
    log = []
    with pairs(domain, 2) as ends:
        nears = ends[::2]

        def reader(mine):
            data = nears[mine].receive(100)
            if data is not None:
                waiting[1 - mine].resume()
                log.append((data, nears[1 - mine].receive(100)))

        waiting = [go(reader, mine) for mine in (0, 1)]
        for far in ends[1::2]:
            far.send(b"0123456789")
        while not log:
            system.run("step")
        assert log == [(b"0123456789", b"0123456789")]
        assert system.run("ready") is False, "nobody waits any more"
        assert {one.status for one in waiting} == {"dead"}


def test_data_kept_for_no_one_go_with_the_stream(go):
    """STR-31: closing a stream that keeps such bytes is `Closed` for the next reader."""
    with pairs("ipv4", 2) as ends:
        near, far = lose_the_race(ends, go)
        assert near.close() is True
        with pytest.raises(Closed, match=r"stream ipv4( .*)? "):
            near.receive()
        assert far.receive() == b""


@all_domains
def test_end_on_its_way_to_a_cancelled_reader_is_not_lost(domain, go):
    """STR-31: the end of the stream comes again, also when it had been delivered to a coroutine that left."""
    log = []
    with pairs(domain, 2) as (near, far, other_near, other_far):
        ends = [near, other_near]

        def reader(mine):
            data = ends[mine].receive()
            log.append((mine, data))
            if data is not None:
                waiting[1 - mine].resume()

        waiting = [go(reader, mine) for mine in (0, 1)]
        far.shutdown()
        other_far.shutdown()
        assert system.run() is False
        assert sorted(str(data) for _, data in log) == ["None", "b''"]
        assert [end.receive() for end in ends * 2] == [b""] * 4


@all_domains
def test_receive_in_the_main_program(domain, go):
    """The main program waits for data while coroutines run; a second receiver is told who waits."""
    with pairs(domain) as (near, far):

        def sender():
            system.suspend()
            with pytest.raises(BusyError, match="<Coroutine main suspended on stream"):
                near.receive()
            far.send(b"hello")

        sending = go(sender)
        assert near.receive() == b"hello"
        assert sending.status == "dead"
        assert "main" not in repr(near)


@both_domains
def test_reset_by_the_peer(domain, go):
    """A peer that resets the connection wakes the reader with ECONNRESET; afterwards it is not connected."""
    with plain_peer(domain) as (stream, peer):

        def reader():
            with pytest.raises(ConnectionResetError, match="ECONNRESET: connection reset by peer") as caught:
                stream.receive()
            assert caught.value.syscall == "uv_read"
            with pytest.raises(OSError, match="ENOTCONN"):
                stream.receive()
            with pytest.raises(BrokenPipeError, match="EPIPE"):
                stream.send(b"x")

        reading = go(reader)
        reset(peer)
        assert system.run() is False
        assert reading.status == "dead"
        assert stream.close() is True


@all_domains
def test_fin_then_rst(domain, go):
    """B40: the end of the stream wakes the reader; a reset after it wakes the sender that is still at work."""
    log = []
    with plain_peer(domain) as (stream, peer):

        def reader():
            log.append(stream.receive())

        def sender():
            with pytest.raises((ConnectionResetError, BrokenPipeError)) as caught:
                stream.send(BIG)
            log.append(caught.value.syscall)

        go(reader)
        sending = go(sender)
        peer.shutdown(1)
        system.run("step")
        assert log == [b""]
        assert sending.status == "suspended"
        reset(peer)
        assert system.run() is False
        assert log == [b"", "uv_write"]


@both_domains
def test_unread_data_survive_a_failed_send(domain, go):
    """B40: the peer sends and goes while we send: the send fails, but every byte that came can be received."""
    data = bytes(range(256)) * 128
    with plain_peer(domain) as (stream, peer):

        def sender():
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                stream.send(BIG)

        sending = go(sender)
        assert peer.send(data) == len(data)
        reset(peer)
        assert system.run() is False
        assert sending.status == "dead"
        assert receive_exactly(stream, len(data)) == data
        assert stream.receive() == b""


def test_reset_in_the_same_turn_as_an_explicit_resume():
    """Who was resumed explicitly, and receives again before the loop has told the reset, is told it all the same."""
    log = []

    def reader():
        log.append(stream.receive())
        for _ in range(2):
            try:
                log.append(stream.receive())
            except OSError as error:
                log.append(error.name)

    def acceptor():
        server.accept().close()
        one.resume("resumed")

    with listening("ipv4") as server, plain_peer("ipv4") as (stream, peer):
        one = spawn.call(reader)
        spawn.call(acceptor)
        system.run("ready")  # both are known to the system's poll now
        with socket.create_connection(("127.0.0.1", server.getaddress().port)):
            reset(peer)
            while len(log) < 3:
                system.run("step")
    assert log == ["resumed", "ECONNRESET", "ENOTCONN"]
