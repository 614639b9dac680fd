"""Datagram sockets: send and connect, and everything that may happen to a coroutine that sends.

On loopback the system takes every datagram at once. With the fixture `busy` it takes none, as when the queue of a
network device is full: then a send is a request that libuv works on, and the coroutine waits for it.
"""

import array

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import Closed, OperationCancelled
from coutil.scopes import timeout
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import GIVEN, OTHER, both_domains
from tests.helpers.udp import LARGEST, busy, connected_sockets, drained, plain_peer, sockets

__all__ = ["busy"]
WRONG = ["text", 7, None, object(), [b"x"]]


def address_of(peer, domain):
    return system.address(domain, *peer.getsockname()[:2])


@both_domains
def test_wrong_data(domain):
    """NET-18: no data, and positions that are none, on a connected socket; with an address the same."""
    with sockets(domain) as (ours, other), connected_sockets(domain) as (near, far):
        for sender, to in ((near, None), (ours, other.getaddress())):
            for wrong in WRONG:
                with pytest.raises(TypeError, match="data "):
                    sender.send(wrong, to)
            with pytest.raises(TypeError, match=r"start .*1\.1"):
                sender.send(b"data", to, 1.1)
            with pytest.raises(TypeError, match=r"stop .*2\.2"):
                sender.send(b"data", to, 0, 2.2)
            with pytest.raises(TypeError, match="'data'"):
                sender.send()
        assert (far.send(b"x"), near.receive()[0]) == (True, b"x"), "nothing was sent before"


@both_domains
def test_wrong_addresses(domain):
    """NET-18, S-5: an unconnected socket needs an address of its family, and complains of it before the data."""
    other = system.address(OTHER[domain])
    with sockets(domain, 1) as (ours,):
        for data in (b"data", *WRONG):
            with pytest.raises(TypeError, match=r"address .*<DatagramSocket .*> is not connected"):
                ours.send(data)
            with pytest.raises(TypeError, match=r"address .*'127"):
                ours.send(data, "127.0.0.1:80")
            with pytest.raises(ValueError, match="address "):
                ours.send(data, other)
        assert ours.send(b"me", ours.getaddress()) is True
        assert ours.receive() == (b"me", ours.getaddress())


@both_domains
def test_connected_sockets_look_at_no_address(domain):
    """S-5: what a connected socket sends goes to its peer; after a disconnect it needs an address again."""
    with sockets(domain, 3) as (ours, peer, other):
        ours.connect(peer.getaddress())
        assert ours.getaddress("peer") == peer.getaddress()
        for to in (None, other.getaddress(), peer.getaddress()):
            assert ours.send(b"to the peer", to) is True
            assert peer.receive()[0] == b"to the peer"
        other.send(b"not from the peer", ours.getaddress())
        peer.send(b"from the peer", ours.getaddress())
        assert ours.receive()[0] == b"from the peer"
        assert ours.connect() is True
        with pytest.raises(TypeError, match="address "):
            ours.send(b"whom?")
        assert ours.send(b"to the other", other.getaddress()) is True
        assert other.receive()[0] == b"to the other"


@both_domains
def test_connect_and_disconnect(domain):
    """T-50: connect() disconnects; it does so once, and a connected socket must do so before it connects again."""
    with sockets(domain) as (ours, peer):
        for arguments in ((), (None,)):
            with pytest.raises(OSError, match=r"^ENOTCONN: .*\(uv_udp_connect\)(: .*)?$"):
                ours.connect(*arguments)
            with pytest.raises(OSError, match=r"ENOTCONN.*uv_udp_getpeername"):
                ours.getaddress("peer")
            assert ours.connect(peer.getaddress()) is True
            with pytest.raises(OSError, match=r"^EISCONN: .*\(uv_udp_connect\): '"):
                ours.connect(peer.getaddress())
            assert ours.connect(*arguments) is True
        for wrong in ("127.0.0.1:80", 80, b"", False):
            with pytest.raises(TypeError, match="address "):
                ours.connect(wrong)
        with pytest.raises(ValueError, match="wrong domain"):
            ours.connect(system.address(OTHER[domain]))


@both_domains
def test_kinds_of_data(domain):
    """Any contiguous buffer, any slice of it, and nothing at all."""
    text = b"0123456789"
    with sockets(domain) as (ours, other):
        to = other.getaddress()
        for data in (text, bytearray(text), memoryview(text), array.array("B", text)):
            for start, stop in ((0, None), (3, None), (3, 7), (-2, None), (0, -2), (5, 5), (20, None)):
                assert ours.send(data, to, start, stop) is True
                assert other.receive() == (text[start:stop], ours.getaddress())
        assert ours.send(b"", to) is True
        assert other.receive() == (b"", ours.getaddress())
        assert ours.send(array.array("I", [1, 2]), to) is True
        assert len(other.receive()[0]) == 8


@both_domains
def test_too_large(domain):
    """The largest datagram goes; one byte more is EMSGSIZE, as bytes and as a buffer; the socket works on."""
    size = LARGEST[domain]
    with sockets(domain) as (ours, other):
        to = other.getaddress()
        for data in (bytes(size + 1), bytearray(1 << 17), bytes(1 << 24)):
            with pytest.raises(OSError, match=r"^EMSGSIZE: .*\(uv_udp_send\): .* -> .*$"):
                ours.send(data, to)
        assert ours.send(bytes(size), to) is True
        assert other.receive() == (bytes(size), ours.getaddress())


def test_the_address_is_read_at_once(busy):
    """An address that changes, or a buffer's address object that is dropped, while a send waits does no harm."""
    with sockets("ipv4", 3) as (ours, first, second):
        to = first.getaddress()
        sending = spawn.call(ours.send, b"to the first", to)
        to.port = second.getaddress().port
        assert system.run() is False
        assert sending.status == "dead"
        assert first.receive()[0] == b"to the first"


def test_lucky_senders_let_others_run(go):
    """A coroutine whose sends are all taken at once lets others run from time to time."""
    log = []
    with sockets("ipv4") as (ours, other):
        to = other.getaddress()

        def sender():
            for _ in range(500):
                ours.send(b"x", to)
            log.append("sent")

        go(sender)
        go(lambda: log.append("other"))
        assert system.run() is False
        assert log == ["other", "sent"]


# -- when the system is busy


@both_domains
def test_explicit_resume_before_the_loop_runs(domain, go, busy):
    """NET-19: send returns what the resume brings; the datagram still arrives."""
    log = []
    with sockets(domain) as (ours, other):

        def sender():
            log.append(ours.send(b"x" * 128, other.getaddress()))
            yield_()
            log.append("never")

        waiting = go(sender)
        assert log == []
        waiting.resume(*GIVEN)
        assert log == [GIVEN]
        go(lambda: log.append(other.receive()))
        assert system.run() is False
        assert log == [GIVEN, (b"x" * 128, ours.getaddress())]


@both_domains
def test_cancelled_then_sent(domain, go, busy):
    """NET-20: the cancelled datagram and the next one of the same coroutine both arrive, in order."""
    log = []
    with connected_sockets(domain) as (near, far):

        def sender():
            log.append(near.send(b"a" * 128))
            log.append(near.send(b"b" * 64))

        go(sender).resume()
        assert log == [None]
        go(lambda: log.extend([far.receive()[0], far.receive()[0]]))
        assert system.run() is False
        assert [entry for entry in log if not isinstance(entry, bytes)] == [None, True]
        assert [entry for entry in log if isinstance(entry, bytes)] == [b"a" * 128, b"b" * 64]


@both_domains
def test_cancelled_while_it_waits_for_a_cancelled_one(domain, go, busy):
    """NET-21: the second send has not begun when it is cancelled: only the first datagram ever arrives."""
    log = []
    with sockets(domain, 1) as (ours,), plain_peer(domain) as peer:
        to = address_of(peer, domain)

        def sender():
            log.append(ours.send(b"first", to))
            log.append(ours.send(b"second", to))
            yield_()
            log.append("never")

        waiting = go(sender)
        waiting.resume()
        assert repr(waiting).endswith(f"send to {to}, after the cancelled call before it>")
        waiting.resume(*GIVEN)
        assert log == [None, GIVEN]
        assert system.run() is False
        assert (log, drained(peer)) == ([None, GIVEN], [b"first"])


@both_domains
def test_exceptions_after_a_send(domain, go, busy, escaped):
    """NET-22, NET-23: what a sender raises goes to the excepthook, or to its resumer; the datagram arrives."""
    with sockets(domain) as (ours, other):

        def sender():
            raise LookupError(str(ours.send(b"data", other.getaddress())))

        go(sender)
        assert system.run() is False
        assert [str(error) for _, error in escaped] == ["True"]
        escaped.clear()
        waiting = go(sender)
        with pytest.raises(LookupError, match="given"):
            waiting.resume("given")
        assert system.run() is False
        assert [other.receive()[0], other.receive()[0]] == [b"data", b"data"]


@both_domains
def test_many_wait_to_send(domain, go, busy):
    """Each gets its own result, whatever its fate; datagrams go in the order of the calls."""
    log = []
    with sockets(domain, 1) as (ours,), plain_peer(domain) as peer:
        to = address_of(peer, domain)

        def sender(number):
            try:
                log.append((number, ours.send(b"%d" % number * (70000 if number == 7 else 1), to)))
            except OSError as error:
                log.append((number, error.name, error.syscall))

        for number in range(30):
            go(sender, number)
        assert log == []
        assert system.run() is False
        assert sorted(log, key=lambda entry: entry[0]) == [
            (number, "EMSGSIZE", "uv_udp_send") if number == 7 else (number, True) for number in range(30)
        ]
        assert drained(peer) == [b"%d" % number for number in range(30) if number != 7]


def test_main_program_may_send(busy, go):
    """NET-18: the main program waits, while others run, until its datagram was taken."""
    log = []
    with sockets("ipv4") as (ours, other):
        go(lambda: log.append(other.receive()[0]))
        assert ours.send(b"data", other.getaddress()) is True
        system.run()
        assert log == [b"data"]


def test_buffers_cannot_be_resized_meanwhile(go, busy):
    """A buffer stays as it is from the call until libuv has done with it, also if the sender was resumed before."""
    data = bytearray(b"data")
    with sockets("ipv4") as (ours, other):
        waiting = go(ours.send, data, other.getaddress())
        with pytest.raises(BufferError):
            data.clear()
        waiting.resume()
        assert waiting.status == "dead"
        with pytest.raises(BufferError):
            data.clear()
        assert system.run() is False
        data.clear()
        assert other.receive()[0] == b"data"


def test_close_under_a_sender(go, busy):
    """A sender whose socket closes is told: that the datagram went, or ECANCELED; nothing else can be done with it."""
    log = []
    with sockets("ipv4") as (ours, other):

        def sender():
            try:
                log.append(ours.send(b"data", other.getaddress()))
            except OperationCancelled as error:
                log.append(error.name)
            with pytest.raises(Closed):
                ours.send(b"data", other.getaddress())
            log.append("closed")

        go(sender)
        ours.close()
        assert log == []
        assert system.run() is False
        assert log == [True, "closed"]


def test_close_under_many_senders(go, busy, hub):
    """The first one may have sent already; for all the others the close came first: ECANCELED."""
    log = []
    with sockets("ipv4", 1) as (ours,), plain_peer("ipv4") as peer:
        to = address_of(peer, "ipv4")

        def sender(number):
            try:
                log.append((number, ours.send(b"%d" % number, to)))
            except OperationCancelled as error:
                log.append((number, error.name))

        for number in range(5):
            go(sender, number)
        ours.close()
        assert system.run() is False
        assert log == [(0, True), *((number, "ECANCELED") for number in range(1, 5))]
        assert drained(peer) == [b"0"]
        assert hub.in_flight() == 0


def test_cancelled_block(busy):
    """A send that would have to wait does not begin in a block that was cancelled."""
    with sockets("ipv4", 1) as (ours,), plain_peer("ipv4") as peer:
        to = address_of(peer, "ipv4")
        with pytest.raises(TimeoutError), timeout(0):
            send_at_the_end(ours, to)
        assert system.run() is False
        assert drained(peer) == []


def send_at_the_end(ours, to):
    try:
        while True:
            system.suspend(0.001)
    finally:
        ours.send(b"never", to)


@needs_debug
def test_the_operation_machine(go, busy):
    """NET-20, NET-21: a send is a request: 1 3; cancelled 1 4 7; the next one waits for the release."""
    with sockets("ipv4") as (ours, other), Walked() as walked:
        to = other.getaddress()

        def sender():
            ours.send(b"1", to)
            ours.send(b"2", to)
            ours.send(b"3", to)
            own.append(waiting.operation)

        own = []
        waiting = go(sender)
        waiting.resume()
        assert walked.by(waiting.operation) == "1 4"
        assert system.run() is False
        assert walked.by(own[0]) == "1 4 7 1 3 1 3"
