"""What all TCP sockets have in common: making, closing, addresses, options, other threads, and how they look."""

import gc
import os
import re
import socket
import sys
import weakref

import pytest

from coutil import spawn, system
from coutil.errors import Closed
from coutil.system import DatagramSocket, PassiveSocket, StreamSocket
from tests.helpers.ids import shown
from tests.helpers.servers import LITERAL, listening, loopback
from tests.helpers.sockets import METHODS, failure
from tests.helpers.tcp import BIG, OTHER, as_plain, both_domains, pair, pairs, receive_all

KINDS = {"stream": StreamSocket, "passive": PassiveSocket}
both_kinds = pytest.mark.parametrize("kind", KINDS)
PROBES = [False, True, 1, 0, -1, 0.0123, None, b"stream", [], sys, print, object(), ("ipv4",)]
WORDS = ["", "3.12", "\0", "STREAM", "stream ", "stream\0", "ipv4\0", "IPv4", "4", "tcp"]


@pytest.mark.parametrize("probe", PROBES, ids=shown)
def test_type_and_domain_must_be_strings(probe, hub):
    """NET-1: anything that is no string is a TypeError that names the argument; nothing is opened."""
    before = hub.in_flight()
    for arguments, name in ((("stream", probe), "domain"), ((probe, "ipv4"), "type"), ((probe, probe), "type")):
        with pytest.raises(TypeError, match=f"{name} "):
            system.socket(*arguments)
    with pytest.raises(TypeError):
        system.socket(probe)
    assert hub.in_flight() == before


@pytest.mark.parametrize("word", WORDS, ids=shown)
def test_type_and_domain_must_be_known(word, hub):
    """NET-1: other words, also with NUL or in capitals, are a ValueError that names the argument."""
    before = hub.in_flight()
    with pytest.raises(ValueError, match="type "):
        system.socket(word, "ipv4")
    with pytest.raises(ValueError, match="domain "):
        system.socket("stream", word)
    with pytest.raises(ValueError, match="must be"):
        system.socket(word, word)
    assert hub.in_flight() == before


@both_kinds
@both_domains
def test_getdomain(kind, domain):
    """NET-2: a socket tells its domain, also when it is closed; accepted streams have that of their listener."""
    with system.socket(kind, domain) as made:
        assert type(made) is KINDS[kind]
        assert made.getdomain() == domain
    assert made.getdomain() == domain
    near, far = pair(domain)
    assert (near.getdomain(), far.getdomain()) == (domain, domain)
    near.close()
    far.close()


@both_kinds
@both_domains
def test_bind_and_getaddress(kind, domain):
    """NET-3: bind to an address of the family; getaddress gives it back, into the same object if one is given."""
    other = system.address(OTHER[domain])
    with system.socket(kind, domain) as made:
        assert made.getaddress() == system.address(domain), "not bound: all zero"
        with pytest.raises(
            ValueError, match=re.escape(f"address has the wrong domain: {other!r} for a socket of {domain}")
        ):
            made.bind(other)
        assert made.bind(loopback(domain)) is True
        bound = made.getaddress()
        assert (bound.literal, bound.port > 0) == (LITERAL[domain], True)
        assert made.getaddress("self") == bound
        into = system.address(domain)
        for site in ("self", None):
            into.port = 0
            assert made.getaddress(site, into) is into
            assert into == bound
        with pytest.raises(OSError, match=rf"^ENOTCONN: .* \(uv_tcp_getpeername\): {re.escape(repr(str(bound)))}$"):
            made.getaddress("peer")


@both_domains
def test_peer_addresses(domain):
    """NET-3: what one end calls itself is what the other calls its peer."""
    with pairs(domain) as (near, far):
        into = system.address(domain)
        assert near.getaddress("peer") == far.getaddress()
        assert far.getaddress("peer", into) is into
        assert into == near.getaddress("self")


@both_kinds
@both_domains
def test_bind_twice(kind, domain):
    """NET-3: a second bind is EINVAL and changes nothing."""
    with system.socket(kind, domain) as made:
        made.bind(loopback(domain))
        bound = made.getaddress()
        with pytest.raises(OSError, match="EINVAL") as caught:
            made.bind(loopback(domain))
        assert (caught.value.name, caught.value.syscall) == ("EINVAL", "uv_tcp_bind")
        assert caught.value.filename == str(loopback(domain))
        assert made.getaddress() == bound


@both_kinds
@pytest.mark.parametrize("wrong", [None, True, 80, "127.0.0.1:80", b"\0" * 4, ("127.0.0.1", 80), object()], ids=shown)
def test_bind_needs_an_address(kind, wrong):
    """NET-3: anything but an Address is a TypeError, for `into` of getaddress, too; the socket is as before."""
    with system.socket(kind, "ipv4") as made:
        with pytest.raises(TypeError, match="address "):
            made.bind(wrong)
        with pytest.raises(TypeError, match="address"):
            made.bind()
        if wrong is not None:
            with pytest.raises(TypeError, match="into "):
                made.getaddress("self", wrong)
        assert made.getaddress().port == 0


@both_kinds
@both_domains
def test_getaddress_arguments(kind, domain):
    """NET-3: a bad site is a TypeError or ValueError; `into` of the other family is a ValueError and stays as it is."""
    with system.socket(kind, domain) as made:
        for site in (True, 1, b"self", ["self"]):
            with pytest.raises(TypeError, match="site "):
                made.getaddress(site)
        for site in ("", "this", "Self", "self\0", "peer "):
            with pytest.raises(ValueError, match='site must be "self" or "peer", not'):
                made.getaddress(site)
        into = system.address(OTHER[domain], None, 7)
        with pytest.raises(ValueError, match="into "):
            made.getaddress("self", into)
        assert into == system.address(OTHER[domain], None, 7)


@both_kinds
@both_domains
def test_address_that_is_not_ours(kind, domain):
    """NET-3: binding to an address that no interface has is EADDRNOTAVAIL."""
    foreign = {"ipv4": "192.0.2.1", "ipv6": "2001:db8::1"}[domain]
    with system.socket(kind, domain) as made:
        error = failure(made.bind, system.address(domain, foreign, 0))
        if error is None:  # the system may tell only when the address is used
            error = failure(made.listen, 1) if kind == "passive" else failure(made.connect, loopback(domain, 1))
        assert isinstance(error, OSError)
        assert error.name == "EADDRNOTAVAIL"
        assert made.close() is True


def test_ports_are_checked_by_their_addresses():
    """NET-3: no address with a port that does not exist can be made, or becomes one by assignment."""
    place = system.address("ipv4", "127.0.0.1", 80)
    for port, error in (
        (-1, ValueError),
        (65536, ValueError),
        (2**40, ValueError),
        (True, TypeError),
        (80.0, TypeError),
    ):
        with pytest.raises(error, match=r"port (must be|is out of range)"):
            system.address("ipv4", "127.0.0.1", port)
        with pytest.raises(error, match=r"port (must be|is out of range)"):
            place.port = port
        assert place.port == 80


@both_domains
def test_wrong_options(domain):
    """NET-24: missing, unknown, miswritten names and missing values are told by name; nothing is set."""
    with system.socket("stream", domain) as stream, as_plain(stream) as plain:
        with pytest.raises(TypeError, match="name"):
            stream.setoption()
        for name in (None, True, 1, b"nodelay"):
            with pytest.raises(TypeError, match="name "):
                stream.setoption(name, True)
        for name in ("", "KeepAlive", "NODELAY", "nodelay\0", "nodelay ", "broadcast", "mcastttl"):
            with pytest.raises(ValueError, match='name must be "keepalive" or "nodelay", not'):
                stream.setoption(name, True)
        for name in ("keepalive", "nodelay"):
            with pytest.raises(TypeError, match="value"):
                stream.setoption(name)
        assert options(plain) == (0, False)


def options(plain):
    """Return what the system knows: seconds of keepalive (0: off), and nodelay."""
    on = plain.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    seconds = plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
    return seconds if on else 0, bool(plain.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))


@both_domains
def test_nodelay(domain):
    """NET-25: nodelay can be switched on and off; only a bool will do."""
    with system.socket("stream", domain) as stream, as_plain(stream) as plain:
        for value in (True, False, True, True):
            assert stream.setoption("nodelay", value) is True
            assert options(plain) == (0, value)
        for value in (1, 0, None, "yes", 1.0):
            with pytest.raises(TypeError, match="value of nodelay "):
                stream.setoption("nodelay", value)
        assert options(plain) == (0, True)


@both_domains
def test_keepalive(domain):
    """NET-26: seconds switch it on, False or None off; anything else is told and changes nothing."""
    with system.socket("stream", domain) as stream, as_plain(stream) as plain:
        for seconds in (1, 2, 3, 123, 128, 255, 32767):
            assert stream.setoption("keepalive", seconds) is True
            assert options(plain) == (seconds, False)
        for off in (False, None):
            stream.setoption("keepalive", 7)
            assert stream.setoption("keepalive", off) is True
            assert options(plain) == (0, False)
        for wrong in (-1, 0, 32768, 2**31, 2**32, 2**100):
            with pytest.raises(ValueError, match="value of keepalive "):
                stream.setoption("keepalive", wrong)
        for wrong in (True, 1.0, "1", b"1"):
            with pytest.raises(TypeError, match="value of keepalive "):
                stream.setoption("keepalive", wrong)
        assert options(plain) == (0, False)


@both_kinds
@both_domains
def test_forgotten_sockets_are_collected(kind, domain, hub):
    """STR-1: a socket that was made and dropped is closed; nothing is left in the loop."""
    made = system.socket(kind, domain)
    gone, number = weakref.ref(made), made.fileno()
    del made
    gc.collect()
    assert gone() is None
    again = system.socket(kind, domain)
    assert again.fileno() == number, "the descriptor was free again at once"
    assert system.run() is False
    again.close()
    assert system.run() is False
    assert hub.in_flight() == 0


CLASSES = {**KINDS, "datagram": DatagramSocket}
QUIET = {"close", "getdomain"}  # fine on a closed socket
CALLS = [(kind, name) for kind, calls in METHODS.items() for name in calls]


@pytest.mark.parametrize("kind", CLASSES)
def test_every_method_is_in_the_table(kind):
    """The table above is complete: no public method is missing from the tests that use it."""
    cls = CLASSES[kind]
    public = {name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))}
    named = {name.split(" ")[0] for name in METHODS[kind]}
    assert public - QUIET - {"setoption"} == named - {"keepalive", "nodelay", "setoption"}
    assert {name for name in QUIET if not callable(getattr(CLASSES[kind], name))} == set()


@pytest.mark.parametrize("turns", [0, 2], ids=["closing", "closed"])
@pytest.mark.parametrize(("kind", "name"), CALLS, ids=[f"{kind}.{name}" for kind, name in CALLS])
@both_domains
def test_closed_sockets(domain, kind, name, turns, go, capfd):
    """STR-2, B53: each method of a closed socket raises `Closed`, an OSError and a ValueError, and prints nothing."""
    used = listening(domain) if kind == "passive" else system.socket(kind, domain)
    for made in (used, system.socket(kind, domain)):
        assert made.close() is True
        for _ in range(turns):
            system.run("ready")
        told = []
        go(lambda made=made, told=told: told.append(failure(METHODS[kind][name], made)))
        error = failure(METHODS[kind][name], made)
        assert isinstance(error, OSError)
        assert isinstance(error, ValueError)
        assert [type(told[0]), str(told[0])] == [Closed, str(error)], "the same in a coroutine, at once"
        assert (error.name, error.interrupted) == ("EBADF", False)
        assert re.fullmatch(rf"{kind} {domain}( \S+:\d+)? is closed", str(error)), error
        assert made.close() is True
        assert made.getdomain() == domain
    assert system.run() is False
    assert capfd.readouterr() == ("", "")


@both_domains
def test_close_in_a_with_block(domain):
    """STR-2: a socket is its own context manager; leaving the block closes it, whatever happened inside."""
    with system.socket("stream", domain) as stream:
        assert stream.getdomain() == domain
    with pytest.raises(LookupError, match="oops"), stream:
        raise LookupError("oops")
    with system.socket("passive", domain) as server:
        assert server.close() is True
    assert (repr(stream), repr(server)) == (f"<StreamSocket {domain} closed>", f"<PassiveSocket {domain} closed>")


@both_domains
def test_close_reaches_the_peer_and_frees_the_descriptor_at_once(domain):
    """STR-2: after close() the peer reads the end, and the number is free for the next descriptor, without a turn."""
    with pairs(domain) as (near, far):
        number = near.fileno()
        assert os.fstat(number)
        near.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(number)
        assert far.receive() == b""
        with pytest.raises(Closed):
            near.fileno()


@both_domains
def test_close_by_the_coroutine_just_resumed(domain, go):
    """A reader may close its stream, and others may, from inside the resumption by the hub."""
    log = []
    with pairs(domain, 2) as (near, far, other_near, _):

        def reader():
            log.append(near.receive())
            near.close()
            other_near.close()
            with pytest.raises(Closed):
                near.receive()

        def other():
            with pytest.raises(Closed) as caught:
                other_near.receive()
            log.append(caught.value.interrupted)

        reading = [go(reader), go(other)]
        far.send(b"go")
        assert system.run() is False
        assert log == [b"go", True]
        assert {one.status for one in reading} == {"dead"}


@pytest.mark.parametrize("waits", ["receive", "receive_into", "accept", "send", "connect"])
@both_domains
def test_closed_under_a_waiter_whose_number_is_used_again(domain, waits, go):
    """B07: the waiter is told; a new socket with the same descriptor number gets its own data, not the old waits."""
    server, helper = listening(domain), listening(domain)
    near, far = pair(domain)
    fresh_one = system.socket("stream", domain)
    old, call = {
        "receive": (near, near.receive),
        "receive_into": (near, lambda: near.receive_into(bytearray(8))),
        "accept": (helper, helper.accept),
        "send": (near, lambda: near.send(BIG)),
        "connect": (fresh_one, lambda: fresh_one.connect(helper.getaddress())),
    }[waits]
    told = []
    waiter = go(lambda: told.append(failure(call)))
    number = old.fileno()
    assert waiter.status == "suspended"
    old.close()
    new = system.socket("stream", domain)
    assert new.fileno() == number
    assert new.connect(server.getaddress()) is True
    with server.accept() as peer:
        assert peer.send(b"for the new one") is True
        assert new.receive() == b"for the new one"
        assert new.send(b"from the new one") is True
        assert peer.receive() == b"from the new one"
    assert [type(error).__name__ for error in told] == [
        "OperationCancelled" if waits in ("send", "connect") else "Closed"
    ]
    assert waiter.status == "dead"
    for each in (server, helper, near, far, fresh_one, new):
        each.close()


@both_domains
def test_how_streams_look(domain):
    """A repr shows kind, family, both addresses, and who waits."""
    with system.socket("stream", domain) as unbound:
        assert repr(unbound) == f"<StreamSocket {domain}>"
    with pairs(domain) as (near, far):
        plain = f"{domain} {near.getaddress()} -> {far.getaddress()}"
        assert repr(near) == f"<StreamSocket {plain}>"
        waiting = spawn.call(near.receive, name="worker-3")
        assert repr(near) == f"<StreamSocket {plain} awaited by worker-3>"
        assert repr(waiting) == f"<Coroutine worker-3 suspended on stream {plain}>"
        far.close()
        system.run()
        assert repr(near) == f"<StreamSocket {plain}>"
        near.close()
        assert repr(near) == f"<StreamSocket {plain} closed>", "the last known ones"


@both_domains
def test_how_listeners_look(domain):
    """A repr shows the address that is listened on, and who waits for a connection."""
    with listening(domain) as server:
        plain = f"{domain} {server.getaddress()}"
        assert repr(server) == f"<PassiveSocket {plain}>"
        waiting = spawn.call(server.accept, name="front door")
        assert repr(server) == f"<PassiveSocket {plain} awaited by front door>"
        assert repr(waiting) == f"<Coroutine front door suspended on passive {plain}>"
        waiting.resume()
        assert repr(server) == f"<PassiveSocket {plain}>"


@both_domains
def test_what_the_waiting_are_said_to_wait_for(domain, go):
    """A coroutine that connects, sends, or shuts down says so."""
    server, stream = listening(domain), system.socket("stream", domain)
    connecting = go(stream.connect, server.getaddress())
    assert repr(connecting).endswith(f" connect to {server.getaddress()}>")
    system.run()
    peer = server.accept()
    ends = f"{stream.getaddress()} -> {server.getaddress()}"
    sending, ending = go(stream.send, BIG), go(stream.shutdown)
    assert repr(sending).endswith(f"suspended on stream {domain} {ends} send>")
    assert repr(ending).endswith(f"suspended on stream {domain} {ends} shutdown>")
    assert receive_all(peer) == BIG
    for each in (server, stream, peer):
        each.close()
