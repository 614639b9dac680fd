"""UDP handles: addresses, sending, handlers and coroutines that receive, options. All of it on the loopback."""

import gc
import os
import socket
import threading

import pytest

from coutil import errors, spawn, system, uv
from coutil._libuv import lib
from coutil.uv import udp as module
from tests.helpers.kernel import SLOT_GROWTH
from tests.helpers.loops import begin
from tests.helpers.sockets import failure

HERE = {"inet": "127.0.0.1", "inet6": "::1"}
NONE = frozenset()


@pytest.fixture(params=["inet", "inet6"])
def family(request):
    """Both families; skip if the machine has no IPv6."""
    if request.param == "inet6":
        try:
            with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
                probe.bind(("::1", 0))
        except OSError as error:
            pytest.skip(f"no IPv6 here: {error}")
    return request.param


def bound(loop, family="inet", **options):
    made = uv.UDP(loop)
    made.bind(HERE[family], 0, **options)
    return made


def to(udp):
    """Where to send what `udp` shall receive."""
    return udp.getsockname()[:2]


def collect(udp, log, until):
    """Log what is received, and stop after so many."""

    def onrecv(one, err, data, addr, flags):
        log.append((err, data, addr, flags))
        if len(log) == until:
            one.recv_stop()

    udp.onrecv = onrecv
    return udp


def closed_port():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# -- receiving


def test_send_and_recv(loop, family):
    """The handler gets data, the sender's address and flags; an empty datagram is one, too; the loop ends at stop."""
    log = []
    with collect(bound(loop, family), log, 3) as server, uv.UDP(loop) as client:
        server.recv_start()
        assert server.active
        for data in (b"PING", b"", b"\0" * 1200):
            assert client.send(data, *to(server)) is True
        assert loop.run() is False
        assert not server.active
        assert [(err, data, flags) for err, data, _, flags in log] == [
            (None, b"PING", NONE),
            (None, b"", NONE),
            (None, b"\0" * 1200, NONE),
        ]
        addr = log[0][2]
        assert addr[1] == client.getsockname()[1]
        assert addr == ((HERE[family], addr[1]) if family == "inet" else (HERE[family], addr[1], 0, 0))


def test_flat_form(loop):
    """Each function under libuv's own name."""
    log = []
    server, client = uv.new_udp(loop), uv.new_udp(loop, "inet", 4)
    uv.udp_bind(server, "127.0.0.1", 0)
    server.onrecv = lambda udp, err, data, addr, flags: (log.append(data), uv.udp_recv_stop(udp))
    uv.udp_recv_start(server)
    assert uv.udp_try_send(client, b"first", *uv.udp_getsockname(server)) == 5
    uv.run(loop)
    uv.udp_connect(client, *uv.udp_getsockname(server))
    assert uv.udp_getpeername(client) == uv.udp_getsockname(server)
    assert uv.udp_send(client, b"second") is True
    assert uv.udp_recv(server)[0] == b"second"
    assert uv.udp_try_send2(client, [b"third", b"fourth"]) == 2
    assert (uv.udp_get_send_queue_size(client), uv.udp_get_send_queue_count(client)) == (0, 0)
    assert uv.udp_using_recvmmsg(client) is True
    assert uv.udp_using_recvmmsg(server) is False
    uv.udp_disconnect(client)
    assert failure(uv.udp_getpeername, client).name == "ENOTCONN"
    assert uv.handle_get_type(server) == "udp"
    uv.close(server)
    uv.close(client)
    assert log == [b"first"]


def test_many_in_a_row(loop):
    """What comes at once is told in order, one call for each; libuv reads 32 of them at a time, so do 100 more."""
    log, sent = [], [str(number).encode() for number in range(132)]
    with collect(bound(loop), log, len(sent)) as server, uv.UDP(loop, "inet") as client:
        server.recv_start()
        assert client.try_send_many([(data, *to(server)) for data in sent]) == len(sent)
        loop.run()
        assert [data for _, data, _, _ in log] == sent
        assert {err for err, _, _, _ in log} == {None}


def test_recvmmsg(loop):
    """With `mmsgs` libuv is asked for several at a time, and the flag tells so; 4 of 8 are left after a stop."""
    log = []
    with uv.UDP(loop, mmsgs=4) as server, uv.UDP(loop, "inet") as client:
        server.bind("127.0.0.1", 0)
        assert server.using_recvmmsg is True
        collect(server, log, 4).recv_start()
        client.try_send_many([(b"x%d" % number, *to(server)) for number in range(8)])
        loop.run()
        assert [(data, flags) for _, data, _, flags in log] == [
            (b"x%d" % number, frozenset({"mmsg_chunk"})) for number in range(4)
        ]
        assert [server.recv()[0] for _ in range(4)] == [b"x4", b"x5", b"x6", b"x7"]


def test_stop_and_start_in_the_handler(loop):
    """After stop none is told, though they came together; the next start begins where it ended, without a new one."""
    log = []
    with collect(bound(loop), log, 2) as server, uv.UDP(loop, "inet") as client, uv.Timer(loop) as timer:
        server.recv_start()
        client.try_send_many([(b"%d" % number, *to(server)) for number in range(5)])
        loop.run()
        assert len(log) == 2
        timer.ontimeout = lambda _: server.recv_start()
        collect(server, log, 5)
        timer.start(1)
        loop.run()
        assert [data for _, data, _, _ in log] == [b"0", b"1", b"2", b"3", b"4"]


def test_start_twice_and_stop_twice(loop):
    """EALREADY; stopping what is stopped is no error. A start binds."""
    with uv.UDP(loop) as udp:
        udp.recv_start()
        assert udp.getsockname()[0] == "0.0.0.0"
        with pytest.raises(errors.UVError) as info:
            udp.recv_start()
        assert (info.value.name, info.value.syscall) == ("EALREADY", "uv_udp_recv_start")
        udp.recv_stop()
        udp.recv_stop()
        assert not udp.active
        udp.recv_start()
        assert udp.active


@pytest.mark.parametrize("park", [False, True])
def test_close_in_the_handler(loop, park):
    """Of those that came together, no other is told; the handler may wait for the close."""
    log = []
    with bound(loop) as server, uv.UDP(loop, "inet") as client:

        def onrecv(udp, err, data, addr, flags):
            log.append(data)
            udp.close() if park else udp.close_soon()

        server.onrecv = onrecv
        server.recv_start()
        client.try_send_many([(b"x", *to(server))] * 3)
        loop.run()
        assert log == [b"x"]
        assert server.closed


def test_handlers_wait(loop):
    """Each handler is a coroutine of its own: one that waits holds up no other, and may receive the next itself."""
    log = []
    with bound(loop) as server, uv.UDP(loop) as client:

        def onrecv(udp, err, data, addr, flags):
            log.append((data, udp.recv()[0]))
            if len(log) == 2:
                udp.recv_stop()

        server.onrecv = onrecv
        server.recv_start()
        for data in (b"a", b"b", b"c", b"d"):
            client.try_send(data, *to(server))
        loop.run()
        assert log == [(b"a", b"b"), (b"c", b"d")]


def test_waiter_wins(loop):
    """While a coroutine waits, it gets the datagram; the handler the next one."""
    log, got = [], []
    with collect(bound(loop), log, 1) as server, uv.UDP(loop) as client:
        server.recv_start()
        begin(loop, lambda: got.append(server.recv()[0]))
        client.try_send(b"first", *to(server))
        client.try_send(b"second", *to(server))
        loop.run()
        assert got == [b"first"]
        assert [data for _, data, _, _ in log] == [b"second"]


def test_waiter_takes_the_first_of_several(loop):
    """The others, which came along with it, go to the handler without a further one."""
    log, got = [], []
    with collect(bound(loop), log, 4) as server, uv.UDP(loop, "inet") as client, uv.Timer(loop) as timer:
        server.recv_start()
        client.try_send_many([(b"%d" % number, *to(server)) for number in range(3)])
        loop.run("once")
        loop.run("once")  # it takes more at once from now on
        assert [data for _, data, _, _ in log] == [b"0", b"1", b"2"]
        begin(loop, lambda: got.append(server.recv()[0]))
        client.try_send_many([(data, *to(server)) for data in (b"mine", b"other")])
        timer.start(500)
        timer.unref()
        loop.run()
        assert got == [b"mine"]
        assert log[3][1] == b"other"


def test_recv_needs_no_start(loop):
    """It waits, and the handle is active only meanwhile; the handler is not called."""
    log = []
    with collect(bound(loop), log, 1) as server, uv.UDP(loop) as client:
        client.try_send(b"one", *to(server))
        data, addr, flags = server.recv()
        assert (data, addr, flags) == (b"one", ("127.0.0.1", client.getsockname()[1]), NONE)
        assert not server.active
        assert loop.run() is False
        assert log == []


def test_recv_by_two_coroutines(loop):
    """BusyError for the second one, which disturbs nothing."""
    got = []
    with bound(loop) as server, uv.UDP(loop) as client:
        begin(loop, lambda: got.append(server.recv()[0]))
        for call in (server.recv, lambda: uv.udp_recv(server)):
            with pytest.raises(errors.BusyError, match=r"udp 127.0.0.1:\d+ is in use: .* waits for it"):
                call()
        client.try_send(b"x", *to(server))
        loop.run()
        assert got == [b"x"]


def test_recv_that_is_given_up(loop):
    """Timeouts, resumes and throws: the loop can end, and the datagram goes to the next who waits."""
    got = []
    with bound(loop) as server, uv.UDP(loop) as client:
        waiter = begin(loop, lambda: got.append(server.recv()))
        assert server.active
        waiter.resume("mine")
        assert got == ["mine"]
        assert not server.active
        thrower = begin(loop, lambda: got.append(failure(server.recv)))
        thrower.throw(KeyError("no"))
        assert repr(got[1]) == "KeyError('no')"
        assert loop.run() is False
        client.try_send(b"x", *to(server))
        assert server.recv()[0] == b"x"


def test_datagram_for_a_waiter_that_leaves_in_the_same_turn(loop):
    """It stays for the next `recv`, not for the handler."""
    got, log = [], []
    with collect(bound(loop), log, 1) as server, bound(loop) as other, uv.UDP(loop) as client:
        waiter = begin(loop, lambda: got.append(server.recv()))
        other.onrecv = lambda udp, *_: (udp.recv_stop(), waiter.resume(None))
        other.recv_start()
        loop.run("nowait")
        client.try_send(b"first", *to(other))
        client.try_send(b"x", *to(server))
        loop.run("once")
        assert got == [None]
        assert server.recv()[0] == b"x"
        assert log == []


def test_without_a_handler(loop):
    """What comes stays for `recv`, up to a limit: the system drops what it has no room for, too."""
    with bound(loop) as server, uv.UDP(loop) as client:
        server.recv_start()
        for _ in range(module.MAX_PENDING + 100):
            client.try_send(b"x", *to(server))
            loop.run("nowait")
        server.recv_stop()
        assert module.MAX_PENDING <= len(server._pending) < module.MAX_PENDING + 16
        for _ in range(len(server._pending)):
            assert server.recv()[0] == b"x"
        assert not server._pending


def test_close_while_a_coroutine_waits(loop):
    """It is told, and so is everybody who comes later."""
    got = []
    server = bound(loop)
    begin(loop, lambda: got.append(failure(server.recv)))
    server.close()
    assert isinstance(got[0], errors.Closed)
    assert got[0].interrupted
    for call in (
        server.recv,
        server.recv_start,
        server.recv_stop,
        server.getsockname,
        lambda: server.bind("127.0.0.1", 0),
        lambda: server.send(b"x", "127.0.0.1", 1),
        lambda: server.try_send(b"x", "127.0.0.1", 1),
        lambda: server.try_send_many([]),
        lambda: server.ttl(1),
        lambda: server.send_queue_size,
        lambda: server.using_recvmmsg,
    ):
        with pytest.raises(errors.Closed, match=r"udp( .*)? "):
            call()


def test_full_arena(loop):
    """More sockets have data than a turn has memory for: nothing is lost."""
    log, servers = [], [bound(loop) for _ in range(70)]
    with uv.UDP(loop) as client:
        for number, server in enumerate(servers):
            server.onrecv = lambda udp, err, data, addr, flags, number=number: (log.append(number), udp.recv_stop())
            server.recv_start()
            client.try_send(b"x" * 60_000, *to(server))
        loop.run()
        assert sorted(log) == list(range(70))
    for server in servers:
        server.close_soon()


# -- sending


def test_connected(loop, family):
    """EISCONN, ENOTCONN, EDESTADDRREQ: a peer and an address exclude each other, in send and try_send."""
    with bound(loop, family) as server, uv.UDP(loop) as client:
        there = to(server)
        for call in (client.send, client.try_send):
            assert failure(call, b"x").name == "EDESTADDRREQ"
        assert failure(client.disconnect).name == "ENOTCONN"
        client.connect(*there)
        assert client.getpeername()[:2] == there
        assert failure(client.connect, *there).name == "EISCONN"
        for call in (client.send, client.try_send):
            assert failure(call, b"x", *there).name == "EISCONN"
            call(b"EXIT")
            assert server.recv()[:2] == (b"EXIT", client.getsockname())
        client.disconnect()
        assert failure(client.getpeername).name == "ENOTCONN"
        assert failure(client.send, b"x").name == "EDESTADDRREQ"


def test_no_one_there(loop):
    """A connected socket is told of it: once by what receives, in handler and coroutine, after which it goes on."""
    log = []
    with uv.UDP(loop) as client:
        client.connect("127.0.0.1", closed_port())
        client.send(b"x")
        with pytest.raises(ConnectionRefusedError) as info:
            client.recv()
        assert info.value.syscall == "uv_udp_recv_start"
        collect(client, log, 1)
        client.send(b"x")
        client.recv_start()
        loop.run()
        err, *others = log[0]
        assert isinstance(err, ConnectionRefusedError)
        assert others == [None, None, NONE]


def test_unreachable_with_recverr(loop):
    """With `recverr` an unconnected socket is told, too, and the loop does not spin for it."""
    log = []
    with collect(bound(loop, recverr=True), log, 3) as udp, uv.UDP(loop) as client, uv.Timer(loop) as timer:
        udp.recv_start()
        for _ in range(2):
            udp.send(b"x", "127.0.0.1", closed_port())
            loop.run("once")
        told = len(log)
        assert 1 <= told <= 2
        assert all(isinstance(err, ConnectionRefusedError) for err, _, _, _ in log)
        timer.start(20)
        before = loop._hub._turns
        while timer.active:
            loop.run("once")
        assert loop._hub._turns - before < 10
        collect(udp, log, told + 1)
        client.send(b"still", *to(udp))
        loop.run()
        assert log[-1][1] == b"still"


def test_too_big(loop):
    """EMSGSIZE, at once."""
    with uv.UDP(loop, "inet") as client:
        for call in (client.send, client.try_send):
            assert failure(call, b"x" * 65_508, "127.0.0.1", 9).name == "EMSGSIZE"
        with pytest.raises(errors.UVError, match="EMSGSIZE"):
            client.try_send_many([(b"x" * 65_508, "127.0.0.1", 9)])
        assert client.try_send(b"x" * 65_507, "127.0.0.1", 9) == 65_507


def test_payloads(loop):
    """Anything bytes-like, or a list of such; of nothing else."""
    with bound(loop) as server, uv.UDP(loop) as client:
        there = to(server)
        for data, expected in (
            (bytearray(b"ab"), b"ab"),
            (memoryview(b"abcd")[1:3], b"bc"),
            ([b"a", bytearray(b"b"), memoryview(b"c")], b"abc"),
            ([], b""),
        ):
            client.send(data, *there)
            assert server.recv()[0] == expected
        for wrong in ("text", 7, None, [b"a", "b"], (b"a",)):
            with pytest.raises(TypeError, match="data "):
                client.send(wrong, *there)


def test_try_send_many(loop):
    """One after the other until one fails; what fails first is raised; EBADF before the socket exists."""
    with bound(loop) as server, uv.UDP(loop) as client:
        there = to(server)
        assert failure(client.try_send_many, [(b"x", *there)]).name == "EBADF"
        client.bind("127.0.0.1", 0)
        assert client.try_send_many([]) == 0
        assert client.try_send_many([(b"a", *there), ([b"b", b"c"], *there), b"no peer", (b"d", *there)]) == 2
        assert failure(client.try_send_many, [b"no peer"]).name == "EDESTADDRREQ"
        assert [server.recv()[0] for _ in range(2)] == [b"a", b"bc"]
        client.connect(*there)
        assert client.try_send_many([b"%d" % number for number in range(50)]) == 50
        assert [server.recv()[0] for _ in range(50)] == [b"%d" % number for number in range(50)]
        assert failure(client.try_send_many, [(b"x", *there)]).name == "EISCONN"
        for wrong in ([(b"x", "127.0.0.1")], [(b"x",)]):
            with pytest.raises(TypeError, match="a message "):
                client.try_send_many(wrong)
        with pytest.raises(ValueError, match="port "):
            client.try_send_many([(b"x", "127.0.0.1", 65536)])


@pytest.fixture
def busy(monkeypatch):
    """The system takes no datagram at once: on the loopback it always does."""
    monkeypatch.setattr(module, "_try_send", lambda *_: lib.UV_EAGAIN)


def test_send_that_waits(loop, busy):
    """It goes on when libuv has sent it; try_send says None; meanwhile the queue tells how much waits."""
    queued = []
    with bound(loop) as server, uv.UDP(loop) as client:
        there = to(server)

        def several():
            for data in (b"12345", b"678"):
                spawn.call(client.send, data, *there)
            many = client.try_send_many([(b"x", *there)])  # others are before it
            queued.append((client.send_queue_count, client.send_queue_size, client.active, many))

        assert client.try_send(b"x", *there) is None
        assert client.send(b"abc", *there) is True
        begin(loop, several)
        loop.run()
        assert queued == [(2, 8, True, 0)]
        assert (client.send_queue_count, client.send_queue_size, client.active) == (0, 0, False)
        assert [server.recv()[0] for _ in range(3)] == [b"abc", b"12345", b"678"]


def test_one_failure_does_not_take_the_others_along(loop, busy):
    """Each send gets its own result."""
    got = []
    with bound(loop) as server, uv.UDP(loop) as client:
        there = to(server)

        def send(data):
            got.append((data[:1], getattr(failure(client.send, data, *there), "name", "sent")))

        begin(loop, lambda: [spawn.call(send, data) for data in (b"a", b"x" * 65_508, b"b")])
        loop.run()
        assert sorted(got) == [(b"a", "sent"), (b"b", "sent"), (b"x", "EMSGSIZE")]
        assert [server.recv()[0] for _ in range(2)] == [b"a", b"b"]


def test_send_that_is_given_up(loop, busy):
    """The waiter goes on at once; the data are kept until libuv is done with them."""
    with bound(loop) as server, uv.UDP(loop) as client:
        data = bytearray(b"abc")
        waiter = begin(loop, lambda: client.send(data, *to(server)))
        waiter.resume()
        assert waiter.status == "dead"
        loop.run()
        assert server.recv()[0] == b"abc"
        data.append(1)  # no one but the test holds it


def test_close_with_sends_under_way(loop, busy):
    """Those that libuv has not sent yet end with ECANCELED, before the handle is closed."""
    log = []
    with bound(loop) as server, uv.UDP(loop) as client:
        there = to(server)

        def send():
            log.append(getattr(failure(client.send, b"x", *there), "name", "sent"))

        def several():
            for _ in range(3):
                spawn.call(send)
            client.close()
            log.append("closed")

        begin(loop, several)
        loop.run()
        assert log == ["sent", "ECANCELED", "ECANCELED", "closed"]
        assert server.recv()[0] == b"x"


# -- addresses


def test_bind(loop, family):
    """EINVAL the second time, EADDRINUSE for another one, unless both say so."""
    with bound(loop, family) as first, uv.UDP(loop) as second:
        assert failure(first.bind, HERE[family], 0).name == "EINVAL"
        with pytest.raises(errors.UVError) as info:
            second.bind(*to(first))
        assert (info.value.name, info.value.syscall) == ("EADDRINUSE", "uv_udp_bind")
    with bound(loop, family, reuseaddr=True) as first, uv.UDP(loop) as second:
        second.bind(*to(first), reuseaddr=True)
        assert second.getsockname() == first.getsockname()


def test_reuseport(loop):
    """Sockets of one address that all say so."""
    with bound(loop, reuseport=True) as first, uv.UDP(loop, "inet") as second, uv.UDP(loop) as third:
        second.bind(*to(first), reuseport=True)
        assert failure(third.bind, *to(first)).name == "EADDRINUSE"
        with uv.UDP(loop) as client:
            client.connect(*to(first))
            client.send(b"x")
            first.recv_start()
            second.recv_start()
            while not (first._pending or second._pending):
                loop.run("once")
            assert len(first._pending) + len(second._pending) == 1


def test_ipv6only(loop):
    """With it, a socket for all IPv6 addresses gets nothing from IPv4."""
    try:
        with uv.UDP(loop) as only:
            only.bind("::", 0, ipv6only=True)
            port = only.getsockname()[1]
            with uv.UDP(loop) as other:
                other.bind("0.0.0.0", port)
                assert other.getsockname() == ("0.0.0.0", port)
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize("host", ["", "localhost", "127.0.0", "::1%nope", "127.0.0.1\0", "fe80::1%\0", "é"])
def test_hosts_that_are_none(loop, host):
    """ValueError with the text; no look-up, no abort."""
    with uv.UDP(loop) as udp:
        for call in (lambda: udp.bind(host, 0), lambda: udp.connect(host, 1), lambda: udp.send(b"x", host, 1)):
            with pytest.raises(ValueError, match="host ") as info:
                call()
            assert repr(host) in str(info.value)


def test_arguments(loop):
    """Types and ranges, before anything happens."""
    with uv.UDP(loop) as udp:
        for port in (-1, 65536):
            with pytest.raises(ValueError, match=rf"port .*{port}"):
                udp.bind("127.0.0.1", port)
        for port in ("1", 1.0, None, True):
            with pytest.raises(TypeError, match="port "):
                udp.bind("127.0.0.1", port)
        with pytest.raises(TypeError, match="host "):
            udp.connect(b"127.0.0.1", 1)
        with pytest.raises(TypeError, match="port needs a host"):
            udp.send(b"x", None, 1)
        with pytest.raises(TypeError, match=r"reuseaddr .*1"):
            udp.bind("127.0.0.1", 0, reuseaddr=1)
        assert failure(udp.getsockname).name == "EBADF"
    for wrong, kind in (("ipv4", ValueError), (2, TypeError), ("", ValueError)):
        with pytest.raises(kind, match="family "):
            uv.UDP(loop, wrong)
    with pytest.raises(ValueError, match="mmsgs "):
        uv.UDP(loop, "inet", 0)


def test_open(loop):
    """A Python socket is taken over, a descriptor as well; connected ones stay so."""
    with bound(loop) as server:
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        plain.connect(server.getsockname())
        with uv.UDP(loop) as taken:
            taken.open(plain)
            assert plain.fileno() == -1
            assert taken.fileno() >= 0
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as another:
                assert failure(taken.open, another).name == "EBUSY"
                assert another.fileno() >= 0
            taken.send(b"x")
            assert server.recv()[1] == taken.getsockname()
            assert taken.getpeername() == server.getsockname()


@pytest.fixture
def spare():
    """Descriptors that the test keeps, closed at the end."""
    kept = []
    yield lambda fd: (kept.append(fd), fd)[1]
    for fd in kept:
        os.close(fd)


def test_open_what_is_none(loop, spare, tmp_path):
    """EINVAL, ENOTSOCK, EBADF, EEXIST: the descriptor stays the caller's, and nothing aborts."""
    stream = socket.socket()
    local, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with stream, local, other, bound(loop) as used, uv.UDP(loop) as udp:
        used.recv_start()
        assert failure(udp.open, stream).name == "EINVAL"
        assert failure(udp.open, local).name == "EINVAL"
        assert failure(udp.open, used.fileno()).name == "EEXIST"
        assert failure(udp.open, spare(os.open(tmp_path, os.O_RDONLY))).name == "ENOTSOCK"
        assert failure(udp.open, 9999).name == "EBADF"
        assert stream.fileno() >= 0
        for wrong, kind in ((-1, ValueError), ("1", TypeError), (None, TypeError), (True, TypeError)):
            with pytest.raises(kind, match="fd"):
                udp.open(wrong)
        udp.bind("127.0.0.1", 0)


def test_open_shares_the_address(loop):
    """`open` sets SO_REUSEADDR, `open_ex` what it is asked for."""

    def options(method, **named):
        with uv.UDP(loop) as udp:
            getattr(udp, method)(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), **named)
            with socket.socket(fileno=os.dup(udp.fileno())) as view:
                names = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
                return tuple(bool(view.getsockopt(socket.SOL_SOCKET, name)) for name in names)

    assert options("open") == (True, False)
    assert options("open_ex") == (False, False)
    assert options("open_ex", reuseaddr=True) == (True, False)
    assert options("open_ex", reuseport=True) == (False, True)
    with uv.UDP(loop) as udp, pytest.raises(errors.UVError) as info:
        uv.udp_open_ex(udp, 9999)
    assert (info.value.name, info.value.syscall) == ("EBADF", "uv_udp_open_ex")
    with uv.UDP(loop) as udp:
        uv.udp_open(udp, socket.socket(socket.AF_INET, socket.SOCK_DGRAM))


def test_travels_through_a_pipe(loop):
    """The receiver has another descriptor of the same socket, as a UDP handle."""
    here, there = uv.Pipe(loop, ipc=True), uv.Pipe(loop, ipc=True)
    for pipe, end in zip((here, there), socket.socketpair(), strict=True):
        pipe.open(end)
    with here, there, bound(loop) as server, uv.UDP(loop) as client:
        here.write2(b"take it", server)
        assert there.read() == b"take it"
        assert there.pending_type == "udp"
        with there.accept_pending() as taken:
            assert isinstance(taken, uv.UDP)
            assert taken.getsockname() == server.getsockname()
            assert taken.fileno() != server.fileno()
            server.close()
            client.send(b"x", *to(taken))
            assert taken.recv()[:2] == (b"x", ("127.0.0.1", client.getsockname()[1]))


# -- options


def test_options(loop, family):
    """Those of libuv, each read back from the system; EBADF before there is a socket."""
    with uv.UDP(loop) as none:
        for call, argument in (
            (none.broadcast, True),
            (none.ttl, 1),
            (none.multicast_ttl, 1),
            (none.multicast_loop, True),
        ):
            assert failure(call, argument).name == "EBADF"
    ipv6 = family == "inet6"
    level = socket.IPPROTO_IPV6 if ipv6 else socket.IPPROTO_IP
    with uv.UDP(loop, family) as udp, socket.socket(fileno=os.dup(udp.fileno())) as view:
        uv.udp_set_broadcast(udp, True)
        assert view.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST)
        for ttl in (1, 255):
            uv.udp_set_ttl(udp, ttl)
            assert view.getsockopt(level, socket.IPV6_UNICAST_HOPS if ipv6 else socket.IP_TTL) == ttl
            uv.udp_set_multicast_ttl(udp, ttl)
            assert view.getsockopt(level, socket.IPV6_MULTICAST_HOPS if ipv6 else socket.IP_MULTICAST_TTL) == ttl
        for on in (False, True):
            uv.udp_set_multicast_loop(udp, on)
            assert view.getsockopt(level, socket.IPV6_MULTICAST_LOOP if ipv6 else socket.IP_MULTICAST_LOOP) == on
        for ttl in (0, 256):
            assert failure(udp.ttl, ttl).name == "EINVAL"
        assert failure(udp.multicast_ttl, 256).name == "EINVAL"
        for call in (udp.broadcast, udp.multicast_loop):
            with pytest.raises(TypeError, match=r"\bon "):
                call(1)
        for call in (udp.ttl, udp.multicast_ttl):
            with pytest.raises(TypeError, match=r"\bttl "):
                call("1")
            with pytest.raises(ValueError, match=r"\bttl "):
                call(-1)


def test_buffer_sizes(loop):
    """They can be set and read."""
    with bound(loop) as udp:
        udp.recv_buffer_size(8192)
        assert udp.recv_buffer_size() >= 8192
        uv.send_buffer_size(udp, 8192)
        assert uv.send_buffer_size(udp) >= 8192


def test_multicast(loop):
    """Who has joined a group gets what is sent to it, until it leaves; a source can be chosen."""
    group, port = "239.255.77.9", 0
    with uv.UDP(loop) as server, uv.UDP(loop, "inet") as client:
        server.bind("0.0.0.0", 0)
        port = server.getsockname()[1]
        try:
            uv.udp_set_membership(server, group, "127.0.0.1")
            uv.udp_set_multicast_interface(client, "127.0.0.1")
            client.send(b"x", group, port)
        except OSError as error:
            pytest.skip(f"this machine has no multicast: {error}")
        assert server.recv()[0] == b"x"
        assert failure(server.set_membership, group, "127.0.0.1").name == "EADDRINUSE"
        server.set_membership(group, "127.0.0.1", False)
        assert failure(server.set_membership, group, "127.0.0.1", False).name == "EADDRNOTAVAIL"
        uv.udp_set_source_membership(server, group, "127.0.0.1", "127.0.0.1")
        client.send(b"y", group, port)
        assert server.recv()[:2] == (b"y", ("127.0.0.1", client.getsockname()[1]))
        server.set_source_membership(group, "127.0.0.1", "127.0.0.1", join=False)
        client.multicast_interface(None)


def test_multicast_arguments(loop):
    """EINVAL for what is no literal; TypeError and ValueError for what is none at all. Joining binds."""
    with uv.UDP(loop) as udp:
        assert failure(udp.set_membership, "nonsense").name == "EINVAL"
        assert failure(udp.set_source_membership, "239.255.0.1", None, "nonsense").name in ("EINVAL", "ENOSYS")
        assert failure(udp.multicast_interface, "nonsense").name == "EINVAL"
        for call in (
            lambda: udp.set_membership(7),
            lambda: udp.set_membership("239.255.0.1", 7),
            lambda: udp.set_membership("239.255.0.1", None, 1),
            lambda: udp.set_source_membership("239.255.0.1", None, None),
            lambda: udp.multicast_interface(7),
        ):
            with pytest.raises(TypeError, match=r"must be a (string|bool)"):
                call()
        with pytest.raises(ValueError, match="has a null character"):
            udp.set_membership("239.255.0.1\0")
        try:
            udp.set_membership("239.255.0.1")
        except OSError as error:
            pytest.skip(f"this machine has no multicast: {error}")
        assert udp.getsockname()[0] == "0.0.0.0"


# -- the handle


def test_unref(loop):
    """A handle that receives keeps its loop alive, unless it is not referenced; who waits does so in any case."""
    with bound(loop) as server, uv.UDP(loop) as client:
        server.recv_start()
        assert loop.alive
        server.unref()
        assert not loop.alive
        assert loop.run() is False
        server.recv_stop()
        there = to(server)
        got = []
        begin(loop, lambda: got.append(server.recv()[0]))
        assert loop.alive
        client.try_send(b"x", *there)
        loop.run()
        assert got == [b"x"]


def test_forgotten_handle(loop):
    """It stays the loop's: its handler is called though nothing refers to it."""
    log = []
    with uv.UDP(loop) as client:
        server = collect(bound(loop), log, 1)
        there = to(server)
        server.recv_start()
        del server
        gc.collect()
        client.send(b"x", *there)
        loop.run()
        assert [data for _, data, _, _ in log] == [b"x"]
        (found,) = (handle for handle in loop.walk() if handle is not client)
        found.close()


def test_foreign_thread(loop):
    """Every call raises; nothing happens to the handle."""
    found = []
    with bound(loop) as udp:

        def use():
            calls = (udp.recv, udp.recv_start, udp.recv_stop, udp.getsockname, udp.close_soon)
            found.extend(map(failure, calls))
            found.append(failure(udp.send, b"x", "127.0.0.1", 1))
            found.append(failure(udp.try_send_many, [b"x"]))
            system.run("ready")

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert [type(error) for error in found] == [errors.ForeignThread] * 7
        assert not udp.closed
        udp.recv_start()


def test_memory_is_the_same_after_many(loop):
    """B29: opening, receiving, giving up and closing many times leaves no handle, slot or request."""
    for _ in range(300):
        with bound(loop) as server, uv.UDP(loop) as client:
            client.send(b"x", *to(server))
            server.recv_start()
            loop.run("nowait")
        loop.run("nowait")
    assert loop.walk() == []
    assert loop._hub.in_flight() == 0
    assert len(loop._hub.handlers) == 1 + SLOT_GROWTH, "the table has grown once"
