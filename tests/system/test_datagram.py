"""Datagram sockets: receive and receive_into, and what may happen to a coroutine that waits for a datagram."""

import gc
import weakref

import pytest

from coutil import spawn, system
from coutil.coroutine import yield_
from coutil.errors import BusyError, Closed
from coutil.scopes import timeout
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import GIVEN, both_domains
from tests.helpers.udp import LARGEST, bound, connected_sockets, left_in_the_system, sockets


@both_domains
def test_wrong_arguments(domain):
    """NET-9: no buffer, and positions or sizes that are none, are told before anything is waited for."""
    with sockets(domain, 1) as (ours,):
        with pytest.raises(TypeError, match="buffer"):
            ours.receive_into()
        with pytest.raises(TypeError, match=r"start .*1\.1"):
            ours.receive_into(bytearray(64), 1.1)
        with pytest.raises(TypeError, match=r"stop .*2\.2"):
            ours.receive_into(bytearray(64), 0, 2.2)
        with pytest.raises(ValueError, match="empty"):
            ours.receive_into(bytearray(64), 64)
        for wrong in (b"read only", "text", None):
            with pytest.raises(TypeError, match="buffer "):
                ours.receive_into(wrong)
        for size, error in ((0, ValueError), (-1, ValueError), (True, TypeError), (1.5, TypeError), (None, TypeError)):
            with pytest.raises(error, match="size "):
                ours.receive(size)


@both_domains
def test_two_receivers_and_a_close(domain, go):
    """NET-9: the second one is told that the socket is busy; a close tells the first one; the main program waits."""
    log = []
    with sockets(domain) as (ours, other):

        def first():
            log.append("waits")
            with pytest.raises(Closed) as caught:
                ours.receive()
            log.append(f"interrupted: {caught.value.interrupted}")

        def second():
            with pytest.raises(
                BusyError, match=r"datagram ipv[46] .*is in use: <Coroutine .*first suspended on datagram"
            ):
                ours.receive_into(bytearray(8))
            ours.close()
            log.append("closed")

        go(first)
        with pytest.raises(BusyError):
            ours.receive()
        go(second)
        assert log == ["waits", "interrupted: True", "closed"]
        with pytest.raises(Closed):
            ours.receive()
        spawn.call(lambda: system.suspend() and spawn.call(other.send, b"for the main program", other.getaddress()))
        assert other.receive() == (b"for the main program", other.getaddress())
    assert system.run() is False


@both_domains
def test_slices_and_truncation(domain, go):
    """NET-10: what does not fit is cut off, told, and gone; an empty datagram is one; the rest of the buffer stays."""
    log, buffer = [], bytearray(128)
    with sockets(domain) as (server, client):
        home = client.getaddress()

        def serve():
            log.append(server.receive_into(buffer, 0, 64))
            log.append(server.receive_into(buffer, 64, 96))
            log.append(server.receive_into(buffer, 96))

        go(serve)
        client.send(b"a" * 64, server.getaddress())
        client.send(b"b" * 64, server.getaddress())
        client.send(b"", server.getaddress())
        assert log == []
        assert system.run() is False
        assert log == [(64, home, False), (32, home, True), (0, home, False)]
        assert buffer == b"a" * 64 + b"b" * 32 + bytes(32)
        assert left_in_the_system(server) == []


@both_domains
def test_receive_cuts(domain):
    """S-4: receive(size) returns at most `size` bytes; the next call gets the next datagram, not the rest."""
    with sockets(domain) as (ours, other):
        for size in (0, 9, 10, 11):
            other.send(b"x" * size, ours.getaddress())
        other.send(b"next", ours.getaddress())
        assert [ours.receive(10)[0] for _ in range(5)] == [b"", b"x" * 9, b"x" * 10, b"x" * 10, b"next"]
        other.send(b"x" * 11, ours.getaddress())
        assert ours.receive(11) == (b"x" * 11, other.getaddress())


@both_domains
def test_empty_datagrams_are_data(domain, go):
    """S-4: each one wakes the receiver; none of them is an end."""
    found = []
    with sockets(domain) as (ours, other):
        go(lambda: found.extend(ours.receive() for _ in range(20)))
        for _ in range(20):
            other.send(b"", ours.getaddress())
        assert system.run() is False
        assert found == [(b"", other.getaddress())] * 20


@pytest.mark.parametrize("collect", [False, True], ids=["", "with a collection"])
@both_domains
def test_handed_from_one_receiver_to_another(domain, collect, go):
    """NET-11: the second one takes over from inside the first one's resumption: no datagram is lost."""
    log = []
    with connected_sockets(domain) as (near, far):

        def first():
            log.append(near.receive(32)[0])
            if collect:
                gc.collect()
            second_one.resume()

        def second():
            with pytest.raises(BusyError):
                near.receive(32)
            yield_()
            log.append(near.receive(32)[0])

        first_one, second_one = go(first), go(second)
        far.send(b"a" * 32)
        far.send(b"b" * 32)
        assert log == []
        assert system.run() is False
        assert log == [b"a" * 32, b"b" * 32]
        assert (first_one.status, second_one.status) == ("dead", "dead")


@needs_debug
def test_hand_over_does_not_restart_reading(go):
    """NET-11: from Armed the socket goes straight to Await again, 9, for the same and for another coroutine."""
    with connected_sockets("ipv4") as (near, far), Walked() as walked:

        def first():
            assert near.receive()[0] == b"a"
            far.send(b"b")
            assert near.receive()[0] == b"b"
            far.send(b"c")
            second_one.resume()

        def second():
            yield_()
            assert near.receive()[0] == b"c"

        go(first)
        second_one = go(second)
        far.send(b"a")
        system.run()
        assert second_one.status == "dead"
        assert walked.by(near._handle) == "2 6 9 6 9 6 7"


@both_domains
def test_two_servers_that_double_what_they_get(domain, go):
    """NET-12: each answer goes to whom it is for, and names the server as its sender."""
    found = []
    with sockets(domain, 4) as (one, two, near, far):

        def serve(server):
            buffer = bytearray(64)
            size, sender, cut = server.receive_into(buffer, 0, 32)
            assert (size, cut) == (32, False)
            buffer[32:] = buffer[:32]
            assert server.send(buffer, sender) is True

        def client(mine, server, data):
            mine.send(data, server.getaddress())
            found.append(mine.receive() == (data * 2, server.getaddress()))

        go(serve, one)
        go(serve, two)
        go(client, near, one, b"1" * 32)
        go(client, far, two, b"2" * 32)
        assert found == []
        assert system.run() is False
        assert found == [True, True]


# -- leaving the wait


@both_domains
def test_explicit_resume_before_the_loop_runs(domain, go):
    """NET-13: receive returns what the resume brings; what comes then resumes no one, and stays for the next one."""
    log, buffer = [], bytearray(16)
    with sockets(domain) as (ours, other):

        def receiver():
            log.append(ours.receive_into(buffer))
            yield_()
            log.append("never")

        waiting = go(receiver)
        waiting.resume(*GIVEN)
        assert log == [GIVEN]
        other.send(b"0123456789", ours.getaddress())
        assert system.run() is False
        assert (log, buffer) == ([GIVEN], bytes(16))
        assert ours.receive() == (b"0123456789", other.getaddress())


@both_domains
def test_cancelled_then_received(domain, go):
    """NET-14: a cancelled receive leaves the buffer as it was; the next one of the same coroutine gets the datagram."""
    log, buffer = [], bytearray(16)
    with sockets(domain) as (ours, other):

        def receiver():
            log.append(ours.receive_into(buffer))
            log.append(bytes(buffer))
            log.append(ours.receive_into(buffer))

        go(receiver).resume()
        assert log == [None, bytes(16)]
        other.send(b"0123456789", ours.getaddress())
        assert system.run() is False
        assert log[2:] == [(10, other.getaddress(), False)]
        assert buffer == b"0123456789" + bytes(6)


@both_domains
def test_cancelled_twice(domain, go):
    """NET-15: once before the loop runs, once from inside it; the datagram is still there afterwards."""
    log = []
    with sockets(domain) as (ours, other):

        def receiver():
            log.append(ours.receive())
            log.append(ours.receive())
            yield_()
            log.append("never")

        def canceller():
            system.suspend()
            waiting.resume(*GIVEN)

        waiting = go(receiver)
        waiting.resume()
        go(canceller)
        assert log == [None]
        assert system.run() is False
        assert log == [None, GIVEN]
        other.send(b"late", ours.getaddress())
        assert system.run() is False
        assert len(log) == 2
        assert ours.receive()[0] == b"late"


@both_domains
def test_exceptions_after_a_receive(domain, go, escaped):
    """NET-16, NET-17: what a receiver raises goes to the excepthook, or to its resumer; the loop goes on."""
    with sockets(domain) as (ours, other):

        def receiver():
            raise LookupError(str(ours.receive()))

        go(receiver)
        other.send(b"x", ours.getaddress())
        assert system.run() is False
        assert [type(error) for _, error in escaped] == [LookupError]
        escaped.clear()
        waiting = go(receiver)
        with pytest.raises(LookupError, match="given"):
            waiting.resume("given")
        other.send(b"y", ours.getaddress())
        assert system.run() is False
        assert ours.receive()[0] == b"y"


def test_timeout(clock, go):
    """A block that takes too long ends the wait; the socket goes on working."""
    with sockets("ipv4") as (ours, other):
        go(lambda: system.suspend() and clock.advance(10))
        with pytest.raises(TimeoutError), timeout(10):
            ours.receive()
        other.send(b"later", ours.getaddress())
        with timeout(10):
            assert ours.receive()[0] == b"later"


def test_many_arrive_for_a_waiter_that_leaves_in_the_same_turn(go):
    """What was taken for a cancelled receiver is given to the next ones, in order, cut as they ask for it."""
    with sockets("ipv4", 3) as (first, second, other):
        warm_up(first, other)
        log, taken, sockets_ = [], [], {"first": first, "second": second}

        def receiver(name, rival):
            got = sockets_[name].receive()
            log.append((name, got))
            if got is not None:
                waiting[rival].resume()  # whose datagrams have been taken from the system, too

        warm_up(second, other)
        waiting = {"first": go(receiver, "first", "second"), "second": go(receiver, "second", "first")}
        for ours in (first, second):
            for number in range(10):
                other.send(b"%d" % number * 9, ours.getaddress())
        assert system.run() is False
        assert len(log) == 2
        assert log[1][1] is None
        loser = sockets_[log[1][0]]
        taken = [loser.receive(number + 1)[0] for number in range(10)]
        assert taken == [b"%d" % number * min(9, number + 1) for number in range(10)]
        winner = sockets_[log[0][0]]
        assert [winner.receive()[0] for _ in range(9)] == [b"%d" % number * 9 for number in range(1, 10)]


def warm_up(ours, other):
    """Have coutil expect many datagrams at once."""
    for _ in range(40):
        other.send(b"warm", ours.getaddress())
    assert [ours.receive()[0] for _ in range(40)] == [b"warm"] * 40


# -- many at once


@both_domains
def test_order_sizes_and_senders(domain):
    """Of many that wait, each comes once, in order, complete, and from its own sender."""
    with sockets(domain, 4) as (ours, *others):
        sent = []
        for number in range(90):
            sender = others[number % 3]
            data = number.to_bytes(1, "big") * (number * 7 % 400)
            sender.send(data, ours.getaddress())
            sent.append((data, sender.getaddress()))
        assert [ours.receive() for _ in range(90)] == sent
        assert left_in_the_system(ours) == []


def test_how_many_are_taken_ahead(go):
    """A socket takes at most 16 from the system at once, and none as long as one that it has taken is left."""
    with sockets("ipv4") as (ours, other):
        for number in range(60):
            other.send(b"%d" % number, ours.getaddress())
        assert ours.receive()[0] == b"0"
        assert system.run("ready") is False
        found = [ours.receive()[0] for _ in range(15)]
        assert found == [b"%d" % number for number in range(1, 16)], "1, 2, 4, and 8 and 1 of the next 16"
        assert left_in_the_system(ours) == [b"%d" % number for number in range(31, 60)]
        assert [ours.receive()[0] for _ in range(15)] == [b"%d" % number for number in range(16, 31)]
        other.send(b"last", ours.getaddress())
        assert ours.receive()[0] == b"last"


def test_without_a_waiter(go):
    """Nothing is taken from the system while there is no waiter, and the loop does not go on because of it."""
    with sockets("ipv4") as (ours, other):
        go(ours.receive)
        other.send(b"first", ours.getaddress())
        assert system.run() is False
        for number in range(5):
            other.send(b"%d" % number, ours.getaddress())
            assert system.run("ready") is False
        assert left_in_the_system(ours) == [b"0", b"1", b"2", b"3", b"4"]


def test_others_run_between(go):
    """A coroutine that finds datagrams again and again lets others run: it takes 16 at most without a turn."""
    log = []
    with sockets("ipv4") as (ours, other):

        def reader():
            for _ in range(200):
                ours.receive()
                log.append("r")

        def another():
            while log.count("r") < 200:
                log.append(" ")
                system.suspend()

        for _ in range(200):
            other.send(b"x", ours.getaddress())
        go(reader)
        go(another)
        assert system.run() is False
        runs = "".join(log).split()
        assert (sum(map(len, runs)), max(map(len, runs))) == (200, 16)


@both_domains
def test_the_largest_datagrams(domain):
    """64 KiB arrive complete, several at once, and cut where the buffer is smaller."""
    data = bytes(range(256)) * 256
    with sockets(domain) as (ours, other):
        largest = data[: LARGEST[domain]]
        warm_up(ours, other)
        for start in range(2):
            assert other.send(largest[start:], ours.getaddress()) is True
        assert [ours.receive()[0] for _ in range(2)] == [largest, largest[1:]]
        other.send(largest, ours.getaddress())
        buffer = bytearray(len(largest) - 1)
        assert ours.receive_into(buffer) == (len(buffer), other.getaddress(), True)
        assert buffer == largest[:-1]


def test_more_than_fits_into_one_turn(go):
    """A hundred sockets, each with a 64 KiB datagram: all are delivered, each its own."""
    found = {}
    with sockets("ipv4", 101) as (other, *many):
        for number, ours in enumerate(many):
            go(lambda ours=ours, number=number: found.update({number: ours.receive()[0]}))
            other.send(number.to_bytes(1, "big") * 65000, ours.getaddress())
        assert system.run() is False
        assert found == {number: number.to_bytes(1, "big") * 65000 for number in range(100)}


def test_a_full_arena_starves_none(go):
    """As long as streams or others fill the memory of a turn, a socket that found it full comes first in the next."""
    counts = [0] * 80
    with sockets("ipv4", 81) as (other, *many):

        def echo(number, ours):
            other.send(bytes(60000), ours.getaddress())
            while min(counts) < 5:
                ours.receive()
                counts[number] += 1
                other.send(bytes(60000), ours.getaddress())

        waiting = [go(echo, number, ours) for number, ours in enumerate(many)]
        while min(counts) < 5:
            system.run("step")
        assert max(counts) <= 10, counts
        for each in waiting:
            each.close()


# -- errors, and the end


@both_domains
def test_no_one_is_there(domain):
    """ECONNREFUSED reaches receive, and send, on a connected socket; afterwards the socket works as before."""
    with sockets(domain, 1) as (ours,):
        with sockets(domain, 1) as (gone,):
            absent = gone.getaddress()
        ours.connect(absent)
        assert ours.send(b"anybody?") is True
        with pytest.raises(ConnectionRefusedError, match="ECONNREFUSED") as caught:
            ours.receive()
        assert caught.value.syscall == "uv_udp_recv_start"
        assert ours.send(b"anybody?") is True
        with pytest.raises(ConnectionRefusedError) as caught:
            ours.send(b"hello?")
        assert caught.value.syscall == "uv_udp_send"
        with bound_to(absent) as another:
            ours.send(b"hello")
            assert another.receive() == (b"hello", ours.getaddress())
            another.send(b"yes", ours.getaddress())
            assert ours.receive() == (b"yes", absent)


def bound_to(address):
    made = system.socket("datagram", address.type)
    made.bind(address)
    return made


def test_error_for_a_waiter(go):
    """The error wakes a coroutine that waits; its next receive goes on as if nothing had happened."""
    log = []
    with sockets("ipv4") as (ours, gone):
        absent = gone.getaddress()
        gone.close()

        def receiver():
            for _ in range(3):
                try:
                    log.append(ours.receive()[0])
                except ConnectionRefusedError:
                    log.append("refused")

        ours.connect(absent)
        go(receiver)
        for _ in range(2):
            ours.send(b"anybody?")
            system.run("step")
        assert log == ["refused", "refused"]
        with bound_to(absent) as another:
            another.send(b"yes", ours.getaddress())
        assert system.run() is False
        assert log == ["refused", "refused", b"yes"]


def test_error_without_a_waiter(go):
    """An error that arrives for a receiver which leaves in the same turn is for the next one."""
    with sockets("ipv4", 3) as (first, second, gone):
        for ours in (first, second):
            ours.connect(gone.getaddress())
        gone.close()
        log = []

        def receiver(mine, ours):
            try:
                log.append((mine, ours.receive()))
            except ConnectionRefusedError:
                log.append((mine, "refused"))
                waiting[1 - mine].resume()

        waiting = [go(receiver, mine, ours) for mine, ours in enumerate((first, second))]
        first.send(b"?")
        second.send(b"?")
        assert system.run() is False
        assert [what for _, what in log] == ["refused", None]
        with pytest.raises(ConnectionRefusedError):
            (first, second)[log[1][0]].receive()


def test_closed_with_datagrams_kept():
    """A closed socket gives nothing, although datagrams had been taken from the system."""
    with sockets("ipv4") as (ours, other):
        warm_up(ours, other)
        for _ in range(5):
            other.send(b"kept", ours.getaddress())
        assert ours.receive()[0] == b"kept"
        ours.close()
        with pytest.raises(Closed):
            ours.receive()
        with pytest.raises(Closed):
            ours.receive_into(bytearray(4))


def test_forgotten(go, hub):
    """STR-1: a socket without references is closed, also one that has received."""
    with sockets("ipv4", 1) as (other,):
        before = hub.in_flight()
        ours = bound("ipv4")
        other.send(b"x", ours.getaddress())
        assert ours.receive()[0] == b"x"
        gone = weakref.ref(ours)
        del ours
        gc.collect()
        assert gone() is None
        assert system.run() is False
        assert hub.in_flight() == before


def test_a_waiting_coroutine_keeps_its_socket(go):
    """A-11: dropping every other reference to the socket cancels nothing."""
    log = []
    with sockets("ipv4", 1) as (other,):

        def receiver():
            ours = bound("ipv4")
            address.append(ours.getaddress())
            log.append(ours.receive()[0])
            ours.close()

        address = []
        go(receiver)
        gc.collect()
        other.send(b"for whom nobody knows", address[0])
        assert system.run() is False
        assert log == [b"for whom nobody knows"]
