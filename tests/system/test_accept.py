"""Passive sockets: listen, accept, and everything that may happen to a coroutine that waits for a connection."""

import gc
import os
import socket
from contextlib import ExitStack

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import BusyError, Closed
from coutil.system.network.fd_passing import socket_from_fd
from tests.helpers.kernel import current_hub
from tests.helpers.servers import LITERAL, listening, loopback
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import GIVEN, all_domains, as_plain, both_domains, connected, pairs, plain_client


@both_domains
def test_listener_lacks_what_only_streams_have(domain):
    """STR-3: a passive socket has no way to connect, send, receive, shut down, or set TCP options."""
    with system.socket("passive", domain) as server:
        for name in ("connect", "send", "receive", "receive_into", "shutdown", "setoption"):
            with pytest.raises(AttributeError, match=name):
                getattr(server, name)
        with pytest.raises(AttributeError):
            server.anything = 1


@all_domains
def test_accept_needs_listen_first(domain, go):
    """STR-3: accept before listen says "not listening", in the main program and in a coroutine."""
    with system.socket("passive", domain) as server:

        def inside():
            with pytest.raises(ValueError, match="not listening") as caught:
                server.accept()
            return caught

        assert inside().type is ValueError
        assert go(inside).status == "dead"
        server.bind(loopback(domain))
        assert go(inside).status == "dead"
        assert server.listen(3) is True
        with connected(server) as client, server.accept() as accepted:
            assert accepted.getaddress() == client.getaddress("peer")


@pytest.mark.parametrize("backlog", [True, 1.0, "3", b"3", None, (), 3 + 0j], ids=repr)
def test_backlog_must_be_an_int(backlog):
    """STR-3: a backlog of another type is a TypeError that names it; the socket can still listen afterwards."""
    with system.socket("passive", "ipv4") as server:
        with pytest.raises(TypeError, match="backlog "):
            server.listen(backlog)
        with pytest.raises(TypeError, match="backlog"):
            server.listen()
        assert server.getaddress().port == 0, "not bound by the failed call"
        assert server.listen(1) is True


@pytest.mark.parametrize("backlog", [0, -1, -(2**31), 2**31, 2**32 + 1, 2**63, 2**100], ids=repr)
def test_backlog_out_of_range(backlog):
    """STR-3: a backlog that is zero, or no C int, is a ValueError; nothing listens then."""
    with system.socket("passive", "ipv4") as server:
        with pytest.raises(ValueError, match="backlog "):
            server.listen(backlog)
        with pytest.raises(ValueError, match="not listening"):
            server.accept()
        assert server.getaddress().port == 0


@pytest.mark.parametrize("backlog", [1, 2**31 - 1], ids=repr)
def test_extreme_backlogs_work(backlog):
    """STR-3: the ends of the range are fine; a socket that was not bound gets a port of its own."""
    with system.socket("passive", "ipv4") as server:
        assert server.listen(backlog) is True
        port = server.getaddress().port
        assert port > 0
        client = system.socket("stream", "ipv4")
        with client:
            assert client.connect(loopback("ipv4", port)) is True
            with server.accept() as accepted:
                assert accepted.getaddress("peer") == client.getaddress()


@both_domains
def test_listen_twice_and_on_a_taken_address(domain):
    """STR-3: a second listen is a ValueError; a taken address is EADDRINUSE, and that socket does not listen."""
    with listening(domain) as server, system.socket("passive", domain) as second:
        with pytest.raises(ValueError, match="is already listening"):
            server.listen(3)
        assert second.bind(server.getaddress()) is True, "the system tells only when it is asked to listen"
        with pytest.raises(OSError, match=r"^EADDRINUSE: address already in use \(listen\): '") as caught:
            second.listen(3)
        assert (caught.value.name, caught.value.filename) == ("EADDRINUSE", str(server.getaddress()))
        with pytest.raises(ValueError, match="not listening"):
            second.accept()


@all_domains
def test_main_program_may_accept(domain):
    """STR-3: accept in the main program waits, and other coroutines run meanwhile."""
    log = []
    with listening(domain) as server:

        def client():
            system.suspend()
            log.append("connecting")
            with connected(server):
                log.append("connected")

        spawn.call(client)
        with server.accept() as accepted:
            log.append("accepted")
            assert log[0] == "connecting"
            assert accepted.receive() == b""
    assert sorted(log) == ["accepted", "connected", "connecting"]


@all_domains
def test_dropped_and_closed_listeners_free_their_address_at_once(domain):
    """STR-4: a new socket can listen on the address of one that was collected, or closed, without a turn between."""
    server = listening(domain)
    address = server.getaddress()
    del server
    gc.collect()
    for way in ("close", "drop"):
        server = system.socket("passive", domain)
        assert server.bind(address) is True
        assert server.listen(3) is True, way
        assert server.getaddress() == address
        if way == "close":
            server.close()
    del server


@all_domains
def test_listener_out_of_use_does_not_keep_the_loop(domain):
    """STR-4: run() returns False although a socket listens and a connection waits to be accepted."""
    with listening(domain) as server, connected(server) as client:
        assert system.run() is False
        assert system.run("step") is False
        with server.accept() as accepted:
            assert accepted.getaddress() == client.getaddress("peer")
        assert system.run() is False


@all_domains
def test_one_coroutine_accepts_three_times(domain, go):
    """STR-5: an acceptor takes three connections, one after the other."""
    server, accepted, gone = listening(domain), [], []

    def acceptor():
        for _ in range(3):
            with server.accept() as stream:
                accepted.append(stream.getaddress("peer"))

    def client():
        with connected(server) as stream:
            gone.append(stream.getaddress())

    go(acceptor)
    for _ in range(3):
        go(client)
    assert accepted == gone == []
    assert system.run() is False
    assert sorted(map(str, accepted)) == sorted(map(str, gone))
    assert len(accepted) == 3
    assert server.close() is True


@all_domains
def test_accept_is_handed_from_one_coroutine_to_another(domain, go):
    """STR-6: two at once is an error that names the first; later the second may take over from the first."""
    server, log = listening(domain), []

    def first():
        with server.accept():
            log.append("first")
        second_one.resume()

    def second():
        with pytest.raises(BusyError, match=r"passive \w+ .*is in use: <Coroutine .*first suspended on passive"):
            server.accept()
        yield_()
        with server.accept():
            log.append("second")

    first_one, second_one = go(first), go(second)
    for _ in range(2):
        spawn.call(lambda: connected(server).close())
    assert log == []
    assert system.run() is False
    assert log == ["first", "second"]
    assert (first_one.status, second_one.status) == ("dead", "dead")
    server.close()


@needs_debug
def test_hand_over_does_not_rearm_the_listener(go):
    """STR-6: the second coroutine continues where the first left: Armed to Await, transition 9 of objects."""
    server, log = listening("ipv4"), []

    def first():
        server.accept().close()
        second_one.resume()

    def second():
        yield_()
        server.accept().close()
        log.append("second")

    first_one, second_one = go(first), go(second)
    with Walked() as walked:
        for _ in range(2):
            spawn.call(lambda: connected(server).close())
        system.run()
        assert walked.by(server._handle) == "6 9 6 7"
    assert log == ["second"]
    assert first_one.status == "dead"
    server.close()


@all_domains
def test_clients_come_before_the_acceptor(domain, go):
    """STR-7: connections made before anybody accepts are kept; the acceptor closes its own server."""
    server, log = listening(domain), []

    def client():
        with connected(server) as stream:
            log.append("client")
            assert stream.receive() == b""

    def acceptor():
        for _ in range(3):
            server.accept().close()
            log.append("accepted")
        server.close()

    clients = [go(client) for _ in range(3)]
    assert log == []
    go(acceptor)
    assert system.run() is False
    assert sorted(log) == ["accepted"] * 3 + ["client"] * 3
    assert {client.status for client in clients} == {"dead"}


@all_domains
def test_each_connection_starts_the_next_acceptor(domain, go):
    """STR-8: a new coroutine accepts from inside the resumption of the one before; the last closes the server."""
    server, log = listening(domain), []

    def acceptor(left):
        with server.accept():
            log.append(left)
            if left > 1:
                spawn.call(acceptor, left - 1)
            else:
                server.close()

    for _ in range(3):
        spawn.call(lambda: connected(server).close())
    go(acceptor, 3)
    assert log == []
    assert system.run() is False
    assert log == [3, 2, 1]
    with pytest.raises(Closed):
        server.accept()


@all_domains
def test_one_coroutine_accepts_on_two_addresses(domain, go):
    """STR-9: the connection to the second address comes while the coroutine waits at the first, and is kept."""
    one, two, log = listening(domain), listening(domain), []

    def acceptor():
        for server in (one, two):
            with server.accept() as stream:
                log.append(stream.getaddress())

    go(acceptor)
    early = connected(two)
    assert log == []
    with early, connected(one):
        assert system.run() is False
        assert log == [one.getaddress(), two.getaddress()]
    one.close()
    two.close()


@all_domains
def test_close_interrupts_the_acceptor_first(domain, go):
    """STR-10: the acceptor gets `Closed` before close() returns to the coroutine that closes."""
    server, log = listening(domain), []

    def acceptor():
        with pytest.raises(Closed, match="closed by another coroutine") as caught:
            server.accept()
        log.append(("acceptor", caught.value.interrupted))

    def closer():
        system.suspend()
        assert server.close() is True
        log.append("closer")

    waiting = go(acceptor)
    go(closer)
    assert log == []
    assert system.run() is False
    assert log == [("acceptor", True), "closer"]
    assert waiting.status == "dead"


@all_domains
def test_acceptor_may_close_again_when_interrupted(domain, go, escaped):
    """STR-10: the interrupted acceptor closes the server itself and raises: the closer does not notice."""
    server = listening(domain)

    def acceptor():
        try:
            server.accept()
        finally:
            assert server.close() is True
            with pytest.raises(Closed):
                server.accept()

    waiting = go(acceptor)
    assert server.close() is True
    assert waiting.status == "dead"
    assert [type(error) for _, error in escaped] == [Closed]
    assert escaped[0][0] is waiting
    escaped.clear()


@all_domains
def test_cancelled_accept_returns_what_it_was_given(domain, go):
    """STR-11: an explicit resume ends the wait with its values; the server, forgotten, is closed."""
    log = []

    def acceptor():
        log.append(listening(domain).accept())
        yield_()
        log.append("never")

    waiting = go(acceptor)
    assert log == []
    assert waiting.resume(*GIVEN) is None
    assert log == [GIVEN]
    assert system.run() is False
    assert log == [GIVEN]
    assert waiting.status == "suspended"


@all_domains
def test_cancelled_accept_can_be_repeated(domain, go):
    """STR-12: resumed without values accept returns None; the next one gets the client."""
    server, log = listening(domain), []

    def acceptor():
        log.append(server.accept())
        with server.accept() as stream:
            log.append(stream)

    waiting = go(acceptor)
    waiting.resume()
    assert log == [None]
    connected(server).close()
    assert system.run() is False
    assert isinstance(log[1], type(system.socket("stream", domain)))
    assert waiting.status == "dead"
    server.close()


@all_domains
def test_accept_cancelled_twice(domain, go):
    """STR-13: once before the loop runs, once from a coroutine that the loop resumed."""
    server, log = listening(domain), []

    def acceptor():
        log.append(server.accept())
        log.append(server.accept())

    def canceller():
        system.suspend()
        waiting.resume(1, 2)

    waiting = go(acceptor)
    waiting.resume("first")
    go(canceller)
    assert log == ["first"]
    assert system.run() is False
    assert log == ["first", (1, 2)]
    assert waiting.status == "dead"
    server.close()


@all_domains
def test_error_after_accept_stays_with_its_coroutine(domain, go, escaped):
    """STR-14: what the acceptor raises later reaches the excepthook; run() neither raises nor stops early."""
    server, later = listening(domain), []

    def acceptor():
        server.accept().close()
        raise LookupError("oops")

    def other():
        system.suspend(0.001)
        later.append("still running")

    waiting = go(acceptor)
    go(other)
    connected(server).close()
    assert system.run() is False
    assert later == ["still running"]
    assert [(who, str(error)) for who, error in escaped] == [(waiting, "oops")]
    escaped.clear()
    server.close()


@all_domains
def test_error_after_a_cancelled_accept_goes_to_the_resumer(domain, go):
    """STR-15: the one that resumes the acceptor gets what it raises then."""
    server = listening(domain)

    def acceptor():
        server.accept()
        raise LookupError("oops")

    waiting = go(acceptor)
    with pytest.raises(LookupError, match="oops"):
        waiting.resume()
    assert waiting.status == "dead"
    assert system.run() is False
    with connected(server) as client, server.accept() as accepted:
        assert accepted.getaddress("peer") == client.getaddress(), "the server still works"
    server.close()


@all_domains
def test_exception_thrown_into_accept(domain, go):
    """STR-15: throw ends the wait as well; the connection that comes later is not lost."""
    server = listening(domain)
    waiting = go(server.accept)
    with pytest.raises(TimeoutError, match="too late"):
        waiting.throw(TimeoutError("too late"))
    assert waiting.status == "dead"
    client = connected(server)
    assert system.run() is False
    with server.accept() as accepted:
        assert accepted.getaddress("peer") == client.getaddress()
    client.close()
    server.close()


@all_domains
def test_connection_that_arrives_for_a_cancelled_acceptor_is_kept(domain, go):
    """STR-12: a connection that was on its way when its acceptor was resumed goes to the next one."""
    servers, log, waiting = [listening(domain), listening(domain)], [], []

    def acceptor(mine):
        stream = servers[mine].accept()
        if stream is None:
            log.append(("cancelled", mine))
            return
        log.append(("accepted", mine))
        stream.close()
        waiting[1 - mine].resume()

    waiting += [go(acceptor, mine) for mine in (0, 1)]
    clients = [system.socket("stream", domain) for _ in servers]
    for client, server in zip(clients, servers, strict=True):
        go(client.connect, server.getaddress())
    assert system.run() is False
    assert [what for what, _ in log] == ["accepted", "cancelled"]
    loser = log[1][1]
    with servers[loser].accept() as stream:
        assert stream.getaddress("peer") == clients[loser].getaddress()
    for each in (*clients, *servers):
        each.close()


@pytest.mark.parametrize("first", ["data", "connection"])
@both_domains
def test_acceptor_that_comes_in_the_turn_of_the_connection(domain, first, go):
    """STR-9: accept is called while its connection is on the way already; afterwards no one waits, and run() ends."""
    server, log = listening(domain), []
    with pairs(domain) as (near, far):

        def reader():
            near.receive()
            log.append(server.accept())

        reading = go(reader)
        system.run("ready")
        if first == "data":
            far.send(b"x")
        with socket.create_connection((LITERAL[domain], server.getaddress().port)) as client:
            if first != "data":
                far.send(b"x")
            while reading.status != "dead":
                system.run("step")
            assert log[0].getaddress("peer").port == client.getsockname()[1]
            assert system.run("ready") is False, "nobody waits any more"
            log[0].close()
    server.close()


@all_domains
def test_many_clients_are_all_accepted(domain, go):
    """More clients than the backlog holds, from a plain loop: each gets its own stream and its own data."""
    server, found = listening(domain, 128), []

    def acceptor():
        for _ in range(100):
            spawn.call(echo, server.accept())

    def echo(stream):
        with stream:
            stream.send(stream.receive())

    def client(number):
        with connected(server) as stream:
            stream.send(b"%d" % number)
            found.append((number, stream.receive()))

    go(acceptor)
    for number in range(100):
        go(client, number)
    assert system.run() is False
    assert sorted(found) == [(number, b"%d" % number) for number in range(100)]
    server.close()


# -- nothing is accepted ahead


@all_domains
def test_nothing_is_accepted_before_accept(domain, go):
    """Connections stay in the system's queue: another holder of the same socket gets all that this one leaves."""
    server = listening(domain)
    with as_plain(server) as other, connected(server), server.accept(), ExitStack() as later:
        go(server.accept).resume()
        clients = [later.enter_context(connected(server)) for _ in range(3)]
        for _ in range(3):
            system.run("ready")
        server.close()
        other.setblocking(False)
        for client in clients:
            far, _ = other.accept()
            far.sendall(b"x")
            assert client.receive() == b"x"
            far.close()


@all_domains
def test_connection_that_another_process_takes_first(domain, go):
    """The socket was ready, and is no more when the acceptor is resumed: it goes on waiting."""
    log = []
    with listening(domain) as server, as_plain(server) as other, pairs("ipv4") as (near, far):
        waiting = go(lambda: server.accept().close())
        stealing = go(lambda: (near.receive(), other.accept()[0].close(), log.append("stolen")))
        system.run("ready")
        far.send(b"x")
        with plain_client(server.getaddress()):
            system.run("ready")
            assert (log, stealing.status, waiting.status) == (["stolen"], "dead", "suspended")
        with plain_client(server.getaddress()):
            assert system.run() is False
        assert waiting.status == "dead"


@all_domains
def test_acceptor_that_comes_back_late_waits_for_nothing(domain):
    """Connections that came meanwhile are accepted at once, until the budget of lucky calls is used up."""
    with listening(domain, 100) as server, ExitStack() as later:
        for _ in range(80):
            later.enter_context(plain_client(server.getaddress()))
        turns = current_hub()._turns
        for _ in range(80):
            later.enter_context(server.accept())
        assert current_hub()._turns - turns <= 12


@both_domains
def test_inherited_listener(domain):
    """A socket that listens already is listened at again, and what came before is not lost."""
    literal = LITERAL[domain]
    with socket.create_server((literal, 0), family=getattr(socket, f"AF_INET{'6' * (domain == 'ipv6')}")) as plain:
        early = socket.create_connection((literal, plain.getsockname()[1]))
        with early, socket_from_fd(os.dup(plain.fileno())) as server:
            server.listen(5)
            with server.accept() as stream:
                assert stream.getaddress("peer").port == early.getsockname()[1]


@pytest.mark.parametrize("waits", [False, True])
@all_domains
def test_descriptor_of_a_listener_that_is_closed_by_others(domain, waits, go):
    """The acceptor is told when it begins to wait, or by close(); the number's next owner is left alone."""
    server, told = listening(domain), []

    def acceptor():
        with pytest.raises(OSError, match=r"EBADF|closed") as caught:
            server.accept()
        told.append(type(caught.value) is Closed)

    if waits:
        go(acceptor)
        system.run("ready")
    number = server.fileno()
    os.close(number)
    with open(os.devnull, "rb") as file:
        assert file.fileno() == number
        if not waits:
            go(acceptor)
        system.run("ready")
        server.close()
        file.read()
    assert told == [waits]


def test_socket_that_is_shut_down_by_others(go):
    """EINVAL ends the wait, and the loop does not spin."""
    with listening("ipv4") as server, as_plain(server) as other:
        waiting = go(accept_fails, server, "EINVAL")
        other.shutdown(socket.SHUT_RDWR)
        assert system.run() is False
        assert waiting.status == "dead"
        accept_fails(server, "EINVAL")
        turns = current_hub()._turns
        system.suspend(0.05)
        assert current_hub()._turns - turns < 10


def accept_fails(server, name):
    with pytest.raises(OSError, match=name):
        server.accept()
