"""Streams: send and shutdown, and everything that may happen to a coroutine that sends."""

import socket

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import Closed, OperationCancelled
from tests.helpers.script import output_of
from tests.helpers.servers import listening
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import (
    BIG,
    GIVEN,
    all_domains,
    as_plain,
    connected,
    pairs,
    receive_all,
    receive_exactly,
    reset,
    with_plain_peer,
)


@all_domains
def test_sending_nothing(domain, go):
    """An empty send is True at once, in the main program, too, and in its turn behind data that wait."""
    log = []
    with pairs(domain) as (near, far):
        assert near.send(b"") is True
        assert near.send(b"data", 4) is True
        go(lambda: log.append(("big", near.send(BIG))))
        go(lambda: log.append(("nothing", near.send(b""))))
        assert log == []
        reader = spawn.call(lambda: log.append(receive_exactly(far, len(BIG)) == BIG))
        assert system.run() is False
        assert reader.status == "dead"
        assert [entry for entry in log if entry is not True] == [("big", True), ("nothing", True)]
        near.close()
        assert far.receive() == b""


@all_domains
def test_peer_goes_while_we_send(domain, go):
    """STR-35: the peer closes while a large send is at work: ECONNRESET or EPIPE; the next send says EPIPE."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            with pytest.raises((ConnectionResetError, BrokenPipeError)) as caught:
                near.send(BIG)
            log.append(caught.value.syscall)
            for data in (b"x", BIG):
                with pytest.raises(BrokenPipeError, match="EPIPE"):
                    near.send(data)

        def closer():
            system.suspend()
            far.close()

        sending = go(sender)
        go(closer)
        assert log == []
        assert system.run() is False
        assert log == ["uv_write"]
        assert sending.status == "dead"


@all_domains
def test_main_program_may_send(domain, go):
    """STR-35: a send in the main program waits until the kernel has taken everything, while others run."""
    with pairs(domain) as (near, far):
        received = []

        def reader():
            system.suspend()
            received.append(receive_exactly(far, len(BIG)))

        reading = go(reader)
        assert near.send(BIG) is True
        system.run()
        assert reading.status == "dead"
        assert received == [BIG]


@all_domains
def test_cancelled_send_goes_on_until_the_close(domain, go):
    """STR-36: an explicit resume ends the wait; the stream closes; the peer got the beginning, in order."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            log.append(near.send(BIG))
            near.close()
            yield_()
            log.append("never")

        def reader():
            log.append(receive_all(far))

        waiting = go(sender)
        assert log == []
        waiting.resume(*GIVEN)
        assert log == [GIVEN]
        go(reader)
        assert system.run() is False
        assert len(log) == 2
        assert 0 < len(log[1]) < len(BIG)
        assert BIG.startswith(log[1])


@all_domains
def test_cancelled_send_is_completed_in_the_background(domain, go):
    """STR-37: the same coroutine sends again: after the cancelled data, of which the peer gets every byte."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            log.append(near.send(BIG))
            log.append(near.send(b"z" * 64))
            near.shutdown()

        waiting = go(sender)
        waiting.resume()
        assert log == [None]
        assert "after the cancelled call before it" in repr(waiting)
        go(lambda: log.append(receive_all(far)))
        assert system.run() is False
        assert log[1] is True
        assert log[2] == BIG + b"z" * 64


@all_domains
def test_two_sends_cancelled(domain, go):
    """STR-38: the second, cancelled while it waits for the first, is never sent; then the stream closes."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            log.append(near.send(BIG))
            log.append(near.send(b"never sent"))
            log.append(near.shutdown())

        def canceller():
            system.suspend()
            waiting.resume(1, 2)

        waiting = go(sender)
        waiting.resume("first")
        go(canceller)
        go(lambda: log.append(receive_all(far) == BIG))
        assert log == ["first"]
        assert system.run() is False
        assert log[:2] == ["first", (1, 2)]
        assert log[2:] == [True, True]
        assert waiting.status == "dead"


@needs_debug
def test_cancelled_sends_walk_the_table(go):
    """STR-38: started, resumed, still at work when the next one waits, given back, the next: 1 4 7 1 3."""
    with pairs("ipv4") as (near, far), Walked() as walked:

        def sender():
            near.send(BIG)
            near.send(b"second")
            near.send(BIG)

        waiting = go(sender)
        waiting.resume()
        waiting.resume()
        assert walked.by(waiting.operation) == "1 4"
        go(receive_exactly, far, 2 * len(BIG))
        system.run()
        assert walked.by(waiting.operation) == "1 4 7 1 3"
        assert waiting.status == "dead"


@all_domains
def test_error_after_send_stays_with_its_coroutine(domain, go, escaped):
    """STR-39: what the sender raises later reaches the excepthook; the peer still gets the bytes."""
    with pairs(domain) as (near, far):

        def sender():
            system.suspend()
            near.send(b"0123456789")
            raise LookupError("oops")

        failing = go(sender)
        assert far.receive() == b"0123456789"
        assert system.run() is False
        assert [(who, str(error)) for who, error in escaped] == [(failing, "oops")]
        escaped.clear()


@all_domains
def test_error_after_a_cancelled_send_goes_to_the_resumer(domain, go):
    """STR-40: the one that resumes the sender gets what it raises then; the peer closes, and no one dies of SIGPIPE."""
    with pairs(domain) as (near, far):

        def sender():
            near.send(BIG)
            raise LookupError("oops")

        failing = go(sender)
        with pytest.raises(LookupError, match="oops"):
            failing.resume()
        assert failing.status == "dead"
        far.close()
        assert system.run() is False
        with pytest.raises(BrokenPipeError):
            near.send(b"x")


def test_default_sigpipe_does_not_kill():
    """STR-40, B41: with SIGPIPE at its default, sends that fail raise, small or large; the handler is left alone."""
    lines = output_of(
        """
        import signal
        from coutil import spawn, system
        from tests.helpers.tcp import BIG, pairs

        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        for data in (b"x", BIG):
            with pairs("ipv4") as (near, far):
                far.close()
                system.run("ready")
                try:
                    while True:
                        near.send(data)
                except (BrokenPipeError, ConnectionResetError) as error:
                    print(error.name in ("EPIPE", "ECONNRESET"))
        with pairs("ipv4") as (near, far):
            sender = spawn.catch(lambda error: print(error.errno in (32, 104)), near.send, BIG)
            far.close()
            system.run()
            print(sender.status)
        print(signal.getsignal(signal.SIGPIPE) is signal.SIG_DFL, signal.pthread_sigmask(signal.SIG_BLOCK, ()))
        """
    )
    assert lines == ["True", "True", "True", "dead", "True set()"]


@all_domains
def test_close_during_send(domain, go):
    """Another coroutine closes the stream: `OperationCancelled` (ECANCELED) in the loop; queued senders get it, too."""
    log = []
    with pairs(domain) as (near, _):

        def sender(name):
            with pytest.raises(OperationCancelled, match="ECANCELED: operation canceled") as caught:
                near.send(BIG)
            log.append((name, caught.value.syscall))

        go(sender, "first")
        go(sender, "second")
        assert near.close() is True
        assert log == []
        assert system.run() is False
        assert log == [("first", "uv_write"), ("second", "uv_write")]


@all_domains
def test_send_waiting_for_a_cancelled_one_when_the_stream_closes(domain, go):
    """A send that has not begun on a stream that was closed meanwhile: `Closed`, as for any closed stream."""
    log = []
    with pairs(domain) as (near, _):

        def sender():
            near.send(BIG)
            with pytest.raises(Closed, match=rf"stream {domain}( .*)? "):
                near.send(b"x")
            log.append("told")

        waiting = go(sender)
        waiting.resume()
        near.close()
        assert log == []
        assert system.run() is False
        assert log == ["told"]


@all_domains
def test_senders_do_not_mix(domain, go):
    """Any number of coroutines may send on one stream: their data follow one another in the order of the calls."""
    messages = [BIG, b"1" * (1 << 21), b"small", bytearray(b"X" * (1 << 21)), b"", b"end"]
    with pairs(domain) as (near, far):
        log = []
        for number, message in enumerate(messages):
            go(lambda number=number, message=message: (near.send(message), log.append(number)))
        assert log == []
        received = receive_exactly(far, sum(map(len, messages)))
        system.run()
        assert received == b"".join(messages)
        assert log == list(range(len(messages)))


def test_send_that_began_is_not_split_by_a_cancelled_call_elsewhere(go):
    """A send which the kernel took in part goes on at once, although an earlier call of its coroutine is not over."""
    with pairs("ipv4", 2) as (blocked, _, near, far):
        log, text = [], b"a" * (1 << 23)

        def sender():
            blocked.send(BIG)
            log.append(near.send(text))

        waiting = go(sender)
        waiting.resume()
        begin = receive_exactly(far, 1 << 21)
        other = go(lambda: log.append(near.send(b"b")))
        assert begin + receive_exactly(far, len(text) + 1 - len(begin)) == text + b"b"
        system.run("ready")
        assert log == [True, True]
        assert (waiting.status, other.status) == ("dead", "dead")


def test_send_cancelled_after_it_began_is_completed(go):
    """The same, given up halfway: the peer gets all of it; a message is never cut."""
    with pairs("ipv4", 2) as (blocked, _, near, far):
        log, text = [], b"a" * (1 << 23)

        def sender():
            blocked.send(BIG)
            log.append(near.send(text))
            near.send(b"b")

        waiting = go(sender)
        waiting.resume()
        waiting.resume("gave up")
        assert log == ["gave up"]
        assert receive_exactly(far, len(text) + 1) == text + b"b"
        system.run("ready")
        assert waiting.status == "dead"


@pytest.mark.slow
@all_domains
def test_small_send_buffer_and_a_reader_of_single_bytes(domain, go):
    """B43: with a tiny SO_SNDBUF a send takes many rounds, and still ends only when the kernel has everything."""
    data = bytes(range(256)) * 128
    with listening(domain) as server, as_plain(server) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        near, far = connected(server), server.accept()
    with near, far, as_plain(near) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        done, found = [], bytearray()

        def send():
            assert near.send(data) is True
            done.append(len(found))

        go(send)
        assert done == []
        while len(found) < len(data):
            byte = far.receive(1)
            assert len(byte) == 1
            found += byte
        assert found == data
        assert len(done) == 1
        assert done[0] > 0, "send came back before the reader had made room"


@all_domains
def test_errors_end_a_loop_of_sends(domain):
    """B43: the one that sends until it fails gets an exception soon, on a stream not connected, reset, or shut down."""
    with system.socket("stream", domain) as unconnected, with_plain_peer(domain) as (stream, peer):
        with pytest.raises(BrokenPipeError):
            unconnected.send(b"x")
        reset(peer)
        system.run("ready")
        for _ in range(3):
            with pytest.raises((ConnectionResetError, BrokenPipeError)):
                stream.send(b"x")
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            stream.send(BIG)


@all_domains
def test_small_sends_reach_the_kernel_at_once(domain):
    """B45: what send returned True for can be read by the peer without another turn of our loop."""
    with with_plain_peer(domain) as (stream, peer):
        assert stream.send(b"hello") is True
        assert peer.recv(100) == b"hello"
        assert stream.send(b"") is True
        with pytest.raises(BlockingIOError):
            peer.recv(100)


@all_domains
def test_shutdown_comes_after_everything_sent(domain, go):
    """The end of the stream follows the data of all senders; afterwards sends say EPIPE, shutdown ENOTCONN."""
    log = []
    with pairs(domain) as (near, far):
        go(lambda: log.append(("sent", near.send(BIG))))
        go(lambda: log.append(("shutdown", near.shutdown())))
        assert log == []
        assert receive_all(far) == BIG
        assert system.run() is False
        assert log == [("sent", True), ("shutdown", True)]
        for data in (b"x", BIG):
            with pytest.raises(BrokenPipeError, match="EPIPE"):
                near.send(data)
        with pytest.raises(OSError, match="ENOTCONN"):
            near.shutdown()
        far.send(b"answer")
        assert near.receive() == b"answer"


@all_domains
def test_cancelled_shutdown_happens_all_the_same(domain, go):
    """An explicit resume ends the wait for a shutdown; the peer reads the end of the stream after the data."""
    log = []
    with pairs(domain) as (near, far):
        go(near.send, BIG)
        waiting = go(lambda: log.append(near.shutdown()))
        waiting.resume(*GIVEN)
        assert log == [GIVEN]
        assert receive_all(far) == BIG
        assert system.run() is False
        assert log == [GIVEN]


@all_domains
def test_close_during_shutdown(domain, go):
    """A shutdown that waits for data when the stream is closed raises `OperationCancelled`."""
    log = []
    with pairs(domain) as (near, _):

        def ender():
            with pytest.raises(OperationCancelled, match="ECANCELED"):
                near.shutdown()
            log.append("told")

        blocked = spawn.catch(lambda error: log.append(type(error)), near.send, BIG)
        go(ender)
        near.close()
        assert log == []
        assert system.run() is False
        assert sorted(map(str, log)) == [str(OperationCancelled), "told"]
        assert blocked.status == "dead"


def test_send_after_the_peers_end_is_fine():
    """The peer's end of stream says nothing about our direction: sends go through."""
    with with_plain_peer("ipv4") as (stream, peer):
        peer.shutdown(socket.SHUT_WR)
        assert stream.receive() == b""
        assert stream.send(b"still here") is True
        assert peer.recv(100) == b"still here"
