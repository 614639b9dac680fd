"""Streams: connect, and everything that may happen to a coroutine that waits for a connection."""

import errno
import gc
import re
import weakref

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import Closed, OperationCancelled, UVError
from tests.helpers.ids import shown
from tests.helpers.servers import listening, loopback
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import BIG, GIVEN, OTHER, all_domains, both_domains, connected, receive_all


def server_and_client(domain):
    """Return a listener and a stream that is not connected."""
    return listening(domain), system.socket("stream", domain)


@all_domains
def test_stream_lacks_what_only_listeners_have(domain):
    """STR-16: a stream cannot listen or accept."""
    with system.socket("stream", domain) as stream:
        for name in ("accept", "listen"):
            with pytest.raises(AttributeError, match=name):
                getattr(stream, name)
        with pytest.raises(AttributeError):
            stream.anything = 1


@both_domains
@pytest.mark.parametrize("wrong", [None, True, 80, "127.0.0.1:80", b"\0" * 4, ("127.0.0.1", 80), object()], ids=shown)
def test_connect_needs_an_address(domain, wrong, go):
    """STR-16: no address, or something else, is a TypeError at once, also inside the loop; the stream is as before."""
    server, stream = server_and_client(domain)

    def inside():
        system.suspend()
        with pytest.raises(TypeError, match="address"):
            stream.connect()
        with pytest.raises(TypeError, match="address "):
            stream.connect(wrong)
        assert stream.connect(server.getaddress()) is True

    coroutine = go(inside)
    assert system.run() is False
    assert coroutine.status == "dead"
    stream.close()
    server.close()


@both_domains
def test_connect_to_the_other_family(domain):
    """STR-16: an address of the wrong family is a ValueError that names both; the stream is as before."""
    server, stream = server_and_client(domain)
    with pytest.raises(ValueError, match=rf"address .*<Address {OTHER[domain]} .* of {domain}"):
        stream.connect(system.address(OTHER[domain]))
    with pytest.raises(OSError, match="ENOTCONN"):
        stream.getaddress("peer")
    assert stream.connect(server.getaddress()) is True
    stream.close()
    server.close()


@all_domains
def test_both_ends_forgotten(domain, go):
    """STR-17: neither side closes anything: the collector does, and nothing is left in the loop."""
    server, log = listening(domain), []

    def acceptor():
        log.append(weakref.ref(server.accept()))

    def client():
        stream = system.socket("stream", domain)
        log.append(stream.connect(server.getaddress()))

    go(acceptor)
    go(client)
    assert log == []
    assert system.run() is False
    gc.collect()
    assert True in log
    assert [entry() for entry in log if entry is not True] == [None]
    server.close()


@both_domains
def test_refused(domain, go):
    """STR-18: there is no listener: ECONNREFUSED, a ConnectionRefusedError with all details; closing works."""
    log = []
    with system.socket("passive", domain) as bound, system.socket("stream", domain) as stream:
        bound.bind(loopback(domain))

        def client():
            with pytest.raises(ConnectionRefusedError) as caught:
                stream.connect(bound.getaddress())
            log.append(caught.value)

        go(client)
        assert log == []
        assert system.run() is False
        error, address = log[0], bound.getaddress()
        assert (error.name, error.errno, error.syscall) == ("ECONNREFUSED", errno.ECONNREFUSED, "uv_tcp_connect")
        assert str(error) == f"ECONNREFUSED: connection refused (uv_tcp_connect): '{address}'"
        with pytest.raises(BrokenPipeError, match="EPIPE"):
            stream.send(b"x")
        for _ in range(2):
            with pytest.raises(UVError, match="ENOTCONN"):
                stream.receive()
        assert stream.close() is True


@both_domains
def test_receive_while_the_connection_is_refused(domain, go):
    """STR-18: who waits for data meanwhile is told that there is no connection, not that it has ended."""
    log = []
    with system.socket("passive", domain) as bound, system.socket("stream", domain) as stream:
        bound.bind(loopback(domain))

        def reader():
            with pytest.raises(UVError) as caught:
                stream.receive()
            log.append(caught.value.name)

        def client():
            with pytest.raises(ConnectionRefusedError):
                stream.connect(bound.getaddress())
            log.append("refused")

        go(client)
        go(reader)
        assert system.run() is False
    assert sorted(log) == ["ENOTCONN", "refused"]


@both_domains
@pytest.mark.parametrize("cancelled", [False, True])
def test_the_end_of_a_connection(domain, cancelled):
    """It is told as the end, also if nothing was reported that it was made."""
    with listening(domain) as server, system.socket("stream", domain) as stream:
        client = spawn.call(stream.connect, server.getaddress())
        if cancelled:
            client.resume()
        peer = server.accept()
        stream.shutdown()
        assert peer.receive() == b""
        peer.send(b"answer")
        peer.close()
        assert stream.receive() == b"answer"
        system.suspend(0.01)  # nothing is left of the connection then
        for _ in range(2):
            assert stream.receive() == b""


@both_domains
def test_main_program_may_connect(domain):
    """The main program waits for a connection, or for its refusal, with the loop running on demand."""
    server, stream = server_and_client(domain)
    assert stream.connect(server.getaddress()) is True
    assert stream.getaddress("peer") == server.getaddress()
    address = server.getaddress()
    server.close()
    with system.socket("stream", domain) as late, pytest.raises(ConnectionRefusedError):
        late.connect(address)
    stream.close()


@both_domains
def test_stream_that_is_not_connected(domain, go):
    """A stream before its connect: receive and shutdown say ENOTCONN, send says EPIPE; then it connects as ever."""
    server, stream = server_and_client(domain)

    def inside():
        for call, name, builtin in (
            (stream.receive, "ENOTCONN", OSError),
            (lambda: stream.receive_into(bytearray(3)), "ENOTCONN", OSError),
            (stream.shutdown, "ENOTCONN", OSError),
            (lambda: stream.send(b"x"), "EPIPE", BrokenPipeError),
            (lambda: stream.send(b""), "EPIPE", BrokenPipeError),
            (lambda: stream.send(BIG), "EPIPE", BrokenPipeError),
            (lambda: stream.getaddress("peer"), "ENOTCONN", OSError),
        ):
            with pytest.raises(builtin, match=name) as caught:
                call()
            assert caught.value.name == name
        assert stream.connect(server.getaddress()) is True

    inside_one = go(inside)
    assert system.run() is False
    assert inside_one.status == "dead"
    stream.close()
    server.close()


@all_domains
def test_connect_cancelled_then_closed_in_flight(domain, go):
    """STR-19: an explicit resume ends the wait; the coroutine closes the stream while libuv still connects it."""
    server, stream = server_and_client(domain)
    log = []

    def client():
        log.append(stream.connect(server.getaddress()))
        log.append(stream.close())
        yield_()
        log.append("never")

    waiting = go(client)
    assert log == []
    waiting.resume(*GIVEN)
    assert log == [GIVEN, True]
    assert system.run() is False
    assert log == [GIVEN, True]
    assert re.fullmatch(rf"<{type(stream).__name__} {domain}( .*)? closed>", repr(stream))
    server.close()


@all_domains
def test_connect_cancelled_then_forgotten_in_flight(domain, go, hub):
    """STR-20: no one refers to the stream any more while libuv still connects it: it is closed under the request."""
    server, log = listening(domain), []

    def client():
        stream = system.socket("stream", domain)
        log.append(weakref.ref(stream))
        log.append(stream.connect(server.getaddress()))
        del stream
        gc.collect()
        log.append(log[0]())

    waiting = go(client)
    assert waiting.resume(*GIVEN) is None
    assert log[1:] == [GIVEN, None]
    assert hub.in_flight() > 1, "libuv has not given the request back"
    assert system.run() is False
    assert hub.in_flight() == 1, "only the listener is left"
    server.close()


@all_domains
def test_connect_cancelled_and_repeated(domain, go):
    """STR-21: the same coroutine connects again: it waits for libuv first, then gets True or EISCONN."""
    server, stream = server_and_client(domain)
    accepted, log = [], []

    def acceptor():
        while True:
            accepted.append(server.accept())

    def client():
        log.append(stream.connect(server.getaddress()))
        try:
            log.append(stream.connect(server.getaddress()))
        except OSError as error:
            log.append(error.name)

    acceptor_one, waiting = go(acceptor), go(client)
    waiting.resume()
    assert log == [None]
    assert "after the cancelled call before it" in repr(waiting)
    while waiting.status != "dead":
        system.run("step")
    assert log[1] == (True if domain.startswith("ip") else "EISCONN")  # Linux lets TCP know of its success once more
    while not accepted:
        system.run("step")
    system.run("ready")
    assert [one.getaddress("peer") for one in accepted] == [stream.getaddress()]
    acceptor_one.close()
    for each in (stream, server, *accepted):
        each.close()


@all_domains
def test_connect_cancelled_while_it_waits_for_the_one_before(domain, go):
    """STR-22: the second connect, which has not begun, returns what its explicit resume brings and never begins."""
    server, stream = server_and_client(domain)
    absent, log = system.socket("passive", domain), []
    absent.bind(loopback(domain))

    def client():
        log.append(stream.connect(server.getaddress()))
        log.append(stream.connect(absent.getaddress()))
        yield_()
        log.append("never")

    def canceller():
        system.suspend()
        waiting.resume(*GIVEN[1:])

    waiting = go(client)
    waiting.resume()
    go(canceller)
    assert log == [None]
    assert system.run() is False
    assert log == [None, GIVEN[1:]]
    with server.accept() as accepted:
        assert accepted.getaddress("peer") == stream.getaddress(), "the first goes on in the background"
        assert stream.getaddress("peer") == server.getaddress()
    for each in (stream, server, absent):
        each.close()


@needs_debug
def test_cancelled_connect_walks_the_table(go):
    """STR-22: request started, resumed, given back, then the next request: 1 4 7 1 3."""
    server, stream = server_and_client("ipv4")

    def client():
        stream.connect(server.getaddress())
        stream.shutdown()

    with Walked() as walked:
        waiting = go(client)
        waiting.resume()
        system.run()
        assert walked.by(waiting.operation) == "1 4 7 1 3"
    assert waiting.status == "dead"
    stream.close()
    server.close()


@all_domains
def test_error_after_connect_stays_with_its_coroutine(domain, go, escaped):
    """STR-23: what the client raises later reaches the excepthook; the server accepts from another coroutine."""
    server, stream = server_and_client(domain)
    accepted = []

    def client():
        stream.connect(server.getaddress())
        raise LookupError("oops")

    def acceptor():
        system.suspend(0.002)
        with server.accept() as one:
            accepted.append(one.getaddress("peer"))

    failing = go(client)
    go(acceptor)
    assert system.run() is False
    assert accepted == [stream.getaddress()]
    assert [(who, str(error)) for who, error in escaped] == [(failing, "oops")]
    escaped.clear()
    stream.close()
    server.close()


@all_domains
def test_error_after_a_cancelled_connect_goes_to_the_resumer(domain, go):
    """STR-24: the one that resumes the client gets what it raises then; the connection is made all the same."""
    server, stream = server_and_client(domain)

    def client():
        stream.connect(server.getaddress())
        raise LookupError("oops")

    failing = go(client)
    with pytest.raises(LookupError, match="oops"):
        failing.resume()
    assert failing.status == "dead"
    assert system.run() is False
    with server.accept() as accepted:
        assert accepted.getaddress("peer") == stream.getaddress()
    stream.close()
    server.close()


@both_domains
def test_close_during_connect(domain, go):
    """Another coroutine closes the stream: connect raises `OperationCancelled` (ECANCELED) in the loop, not before."""
    server, stream = server_and_client(domain)
    log = []

    def client():
        with pytest.raises(OperationCancelled, match="ECANCELED") as caught:
            stream.connect(server.getaddress())
        log.append(caught.value.syscall)
        with pytest.raises(Closed, match=rf"stream {domain}( .*)? "):
            stream.connect(server.getaddress())

    waiting = go(client)
    assert stream.close() is True
    assert log == []
    assert system.run() is False
    assert log == ["uv_tcp_connect"]
    assert waiting.status == "dead"
    server.close()


@both_domains
def test_two_connects_at_once(domain, go):
    """A second coroutine that connects the same stream gets EALREADY; the first is not disturbed."""
    server, stream = server_and_client(domain)
    log = []
    go(lambda: log.append(stream.connect(server.getaddress())))
    with pytest.raises(BlockingIOError, match="EALREADY"):
        stream.connect(server.getaddress())
    assert log == []
    assert system.run() is False
    assert log == [True]
    stream.close()
    server.close()


@all_domains
def test_second_connect_waiting_when_the_stream_is_closed(domain, go):
    """A connect that waits for a cancelled one before it begins on a stream closed meanwhile: `Closed`."""
    server, stream = server_and_client(domain)
    log = []

    def client():
        log.append(stream.connect(server.getaddress()))
        with pytest.raises(Closed):
            stream.connect(server.getaddress())
        log.append("told")

    waiting = go(client)
    waiting.resume()
    stream.close()
    assert log == [None]
    assert system.run() is False
    assert log == [None, "told"]
    server.close()


def test_ipv6_wildcard_takes_ipv4_clients():
    """A listener on [::] serves both families; the peer of an ipv4 client is its mapped address."""
    with system.socket("passive", "ipv6") as server:
        try:
            server.bind(system.address("ipv6", "::", 0))
        except OSError as error:
            pytest.skip(f"this machine has no ipv6: {error}")
        server.listen(3)
        with system.socket("stream", "ipv4") as client:
            assert client.connect(loopback("ipv4", server.getaddress().port)) is True
            with server.accept() as accepted:
                assert accepted.getdomain() == "ipv6"
                assert accepted.getaddress("peer").literal == "::ffff:127.0.0.1"
                assert client.send(b"hello") is True
                client.close()
                assert receive_all(accepted) == b"hello"


@both_domains
def test_connect_from_a_chosen_address(domain):
    """A stream that was bound first connects from that address; one that is bound to a taken one says EADDRINUSE."""
    server, stream = server_and_client(domain)
    assert stream.bind(loopback(domain)) is True
    chosen = stream.getaddress()
    assert chosen.port > 0
    assert stream.connect(server.getaddress()) is True
    with server.accept() as accepted:
        assert accepted.getaddress("peer") == stream.getaddress() == chosen
    with system.socket("stream", domain) as other:
        assert other.bind(server.getaddress()) is True, "the system tells only when it is asked to connect"
        with pytest.raises(OSError, match="EADDRINUSE"):
            other.connect(server.getaddress())
    assert connected(server).close() is True
    stream.close()
    server.close()
