"""`system.connect`: the addresses of a host are tried as RFC 8305 says, and one connected stream is the result."""

import socket
from contextlib import contextmanager

import pytest

from coutil import coroutine, errors, spawn, system
from coutil.scopes import move_on_after, scope
from coutil.system.network import connect as module
from tests.helpers.servers import listening
from tests.helpers.tcp import both_domains

NEVER = 1e6  # seconds


def failure(name):
    """Return an error of libuv."""
    return getattr(errors, name)(1, name.lower())


class Stream:
    """Stands for a connected stream."""

    def __init__(self, to):
        self.to = to
        self.closed = False

    def close(self):
        self.closed = True


class Net:
    """Hosts and names that answer when the manual clock says so. `log` has what was done, at which millisecond.

    answers: domain -> (seconds, host names of that domain, or the name of an error). hosts: name -> (seconds, whether
    it accepts); the name of an IPv6 host is a letter, that of an IPv4 host a digit.
    """

    def __init__(self, answers, hosts):
        self.answers, self.hosts = answers, hosts
        self.log, self.streams = [], []
        self.begin = system.time("updated")

    def note(self, what):
        self.log.append((round((system.time() - self.begin) * 1000), what))

    def findaddr(self, host, service, *, ipv4, ipv6, stream):
        assert (host, service, stream) == ("host", "80", True)
        domain = "ipv6" if ipv6 else "ipv4"
        assert ipv4 is not ipv6
        seconds, found = self.answers[domain]
        with self.noting_the_end(f"{domain} given up"):
            system.suspend(seconds)
        if found.startswith("E"):
            raise failure(found)
        return [(self.address(name), "stream") for name in found]

    def address(self, name):
        if name.isdigit():
            return system.address("ipv4", f"10.0.0.{name}", 80)
        return system.address("ipv6", f"fd00::{name}", 80)

    def connected(self, to):
        name = to.literal[-1]
        self.note(name)
        seconds, accepts = self.hosts[name]
        with self.noting_the_end(f"{name} given up"):
            system.suspend(seconds)
        if not accepts:
            raise failure("ECONNREFUSED" if name.isdigit() else "ENETUNREACH")
        self.streams.append(Stream(name))
        return self.streams[-1]

    @contextmanager
    def noting_the_end(self, what):
        try:
            yield
        except BaseException:
            self.note(what)
            raise


@pytest.fixture
def net(clock, monkeypatch):
    """Return a function that puts a `Net` in the place of the real one."""

    def put(answers, hosts):
        made = Net(answers, hosts)
        monkeypatch.setattr(module, "findaddr", made.findaddr)
        monkeypatch.setattr(module, "_connected", made.connected)
        return made

    return put


AT_ONCE = {"ipv6": (0, "abc"), "ipv4": (0, "123")}
SILENT = dict.fromkeys("abc123", (NEVER, False))
REFUSING = dict.fromkeys("abc123", (0, False))


def try_to_connect(net, **options):
    """Return the host that the connection leads to, or the error; everything else must have been closed."""
    try:
        stream = system.connect("host", 80, **options)
    except errors.CoutilError as error:
        assert all(one.closed for one in net.streams)
        return error
    assert [one for one in net.streams if not one.closed] == [stream]
    return stream.to


# -- the order of the attempts -----------------------------------------------------------------------------------------

ORDERS = {
    "the families take turns, IPv6 first": (AT_ONCE, REFUSING, [(0, "a"), (0, "1"), (0, "b"), (0, "2"), (0, "c")]),
    "each attempt has a quarter of a second": (AT_ONCE, SILENT, [(0, "a"), (250, "1"), (500, "b"), (750, "2")]),
    "a failure lets the next one begin": (
        AT_ONCE,
        {**SILENT, "a": (0.1, False), "1": (0.2, False)},
        [(0, "a"), (100, "1"), (300, "b"), (550, "2")],
    ),
    "but not that of an older attempt": (
        AT_ONCE,
        {**SILENT, "a": (0.3, False)},
        [(0, "a"), (250, "1"), (500, "b"), (750, "2")],
    ),
    "IPv4 waits for IPv6": (
        {"ipv6": (0.03, "a"), "ipv4": (0, "1")},
        SILENT,
        [(30, "a"), (280, "1")],
    ),
    "but not for long": (
        {"ipv6": (0.2, "ab"), "ipv4": (0, "12")},
        SILENT,
        [(50, "1"), (300, "a"), (550, "2"), (800, "b")],
    ),
    "nor if there is none": (
        {"ipv6": (0.02, "EAI_NONAME"), "ipv4": (0, "12")},
        SILENT,
        [(20, "1"), (270, "2")],
    ),
    "IPv6 waits for nobody": (
        {"ipv6": (0.01, "ab"), "ipv4": (0.4, "12")},
        SILENT,
        [(10, "a"), (260, "b"), (510, "1"), (760, "2")],
    ),
    "who comes late takes turns": (
        {"ipv6": (0, "abc"), "ipv4": (0.1, "1")},
        SILENT,
        [(0, "a"), (250, "1"), (500, "b"), (750, "c")],
    ),
    "an answer in a pause begins at once": (
        {"ipv6": (0, "a"), "ipv4": (2, "1")},
        {**SILENT, "a": (1, False)},
        [(0, "a"), (2000, "1")],
    ),
    "and after a quarter of a second": (
        {"ipv6": (0, "a"), "ipv4": (2, "1")},
        SILENT,
        [(0, "a"), (2000, "1")],
    ),
}


@pytest.mark.parametrize(("answers", "hosts", "expected"), ORDERS.values(), ids=ORDERS)
def test_order_of_the_attempts(answers, hosts, expected, net):
    """Who is tried, and when, in milliseconds; all are given up in the end."""
    made = net(answers, hosts)
    outcome = try_to_connect(made, timeout=10)
    attempts = [(at, what) for at, what in made.log if "given" not in what]
    assert attempts[: len(expected)] == expected
    silent = hosts is not REFUSING
    assert isinstance(outcome, errors.Timeout if silent else errors.ENETUNREACH)
    tried = [what for _, what in attempts]
    assert len(set(tried)) == len(tried) == sum(len(found) for _, found in answers.values() if found[0] != "E")
    still = [what for what in tried if hosts[what][0] == NEVER]
    assert [at for at, what in made.log if "given" in what] == [10000] * len(still)


# -- how it ends -------------------------------------------------------------------------------------------------------


def test_first_connection_wins(net):
    """A later attempt may overtake an earlier one; all others are given up at that moment."""
    made = net(AT_ONCE, {**SILENT, "a": (0.9, True), "1": (0.6, True), "b": (0.1, True)})
    assert try_to_connect(made) == "b"
    assert made.log == [(0, "a"), (250, "1"), (500, "b"), (600, "a given up"), (600, "1 given up")]


def test_no_attempt_after_the_winner(net):
    """What is looked up still is given up, too."""
    made = net({"ipv6": (0, "a"), "ipv4": (5, "1")}, {"a": (0.2, True)})
    assert try_to_connect(made) == "a"
    assert made.log == [(0, "a"), (200, "ipv4 given up")]
    assert system.time() - made.begin == pytest.approx(0.2)


def test_two_at_the_same_moment(net):
    """The one that was begun first is returned, the other one closed."""
    made = net(AT_ONCE, {**SILENT, "a": (0.5, True), "1": (0.25, True)})
    assert try_to_connect(made) == "a"
    assert made.log[:2] == [(0, "a"), (250, "1")]
    assert sum(not one.closed for one in made.streams) == 1


def test_all_fail(net):
    """The first error is raised, with its address; the others are notes, in their order."""
    made = net({"ipv6": (0, "a"), "ipv4": (0, "12")}, REFUSING)
    error = try_to_connect(made)
    assert str(error) == "ENETUNREACH: enetunreach: '[fd00::a]:80'"
    assert error.__notes__ == [f"also tried: ECONNREFUSED: econnrefused: '10.0.0.{name}:80'" for name in "12"]
    assert isinstance(error, OSError)


@pytest.mark.parametrize("slow", ["ipv4", "ipv6"])
def test_no_address(net, slow):
    """The error of the look-up is raised when both families have answered."""
    answers = {"ipv4": (0, "EAI_NONAME"), "ipv6": (0, "EAI_NODATA")}
    made = net({**answers, slow: (3, answers[slow][1])}, {})
    error = try_to_connect(made)
    assert (error.name, isinstance(error, socket.gaierror)) == ("EAI_NONAME", True)
    assert made.log == []
    assert system.time() - made.begin == pytest.approx(3)


@pytest.mark.parametrize("domain", ["ipv4", "ipv6"])
def test_one_family_only(net, domain):
    """An error in the look-up of one family is none if the other one has an address that accepts."""
    name = {"ipv4": "1", "ipv6": "a"}[domain]
    made = net({"ipv4": (0, "EAI_NONAME"), "ipv6": (0, "EAI_NODATA"), domain: (0.3, name)}, {name: (0.1, True)})
    assert try_to_connect(made) == name
    assert made.log == [(300, name)]


@pytest.mark.parametrize(
    ("answers", "limit", "given_up"),
    [
        ({"ipv6": (NEVER, "a"), "ipv4": (NEVER, "1")}, 2, ["ipv6 given up", "ipv4 given up"]),
        ({"ipv6": (NEVER, "a"), "ipv4": (0, "1")}, 2, ["ipv6 given up", "1 given up"]),
        (AT_ONCE, 0.3, ["a given up", "1 given up"]),
        (AT_ONCE, 0, []),
    ],
)
def test_timeout(net, answers, limit, given_up):
    """The look-up and all attempts together may take so long, and no longer."""
    made = net(answers, SILENT)
    error = try_to_connect(made, timeout=limit)
    assert isinstance(error, TimeoutError)
    assert isinstance(error, errors.Timeout)
    assert [what for _, what in made.log if "given" in what] == given_up
    assert system.time() - made.begin == pytest.approx(limit)


# -- what ends the wait from outside -----------------------------------------------------------------------------------

PHASES = {
    "looking up": ({"ipv6": (9, "a"), "ipv4": (9, "1")}, SILENT, ["ipv6 given up", "ipv4 given up"]),
    "waiting for IPv6": ({"ipv6": (9, "a"), "ipv4": (0.99, "1")}, SILENT, ["ipv6 given up"]),
    "the first attempt": ({"ipv6": (0.9, "ab"), "ipv4": (0, "EAI_NONAME")}, SILENT, ["a", "a given up"]),
    "two attempts": ({"ipv6": (0.6, "a"), "ipv4": (0.6, "1")}, SILENT, ["a", "1", "a given up", "1 given up"]),
}
each_phase = pytest.mark.parametrize(("answers", "hosts", "log"), PHASES.values(), ids=PHASES)


def waiting(made, log, clock):
    """Return a coroutine that has been connecting for a second; what comes of it is appended to `log`."""
    one = coroutine.create(lambda: log.append(system.connect("host", 80)))
    one.resume()
    for _ in range(100):
        clock.advance(0.01)
        system.run("ready")
        system.run("ready")
    return one


@each_phase
@pytest.mark.parametrize("given", [None, True, "enough", ("a", "tuple")], ids=repr)
def test_explicit_resume(net, clock, answers, hosts, log, given):
    """It is returned, and nothing is left of the look-ups and attempts."""
    made, results = net(answers, hosts), []
    one = waiting(made, results, clock)
    assert "connection to host 80" in str(one.waiting_on)
    one.resume(given)
    assert results == [given]
    assert [what for _, what in made.log] == log
    assert (one.status, system.run()) == ("dead", False)


@each_phase
def test_throw(net, clock, answers, hosts, log):
    """So does an exception."""
    made = net(answers, hosts)
    one = waiting(made, [], clock)
    with pytest.raises(KeyError):
        one.throw(KeyError)
    assert [what for _, what in made.log] == log
    assert (one.status, system.run()) == ("dead", False)


@each_phase
def test_close_of_the_coroutine(net, clock, answers, hosts, log):
    """And its end."""
    made = net(answers, hosts)
    one = waiting(made, [], clock)
    assert one.close() is True
    assert [what for _, what in made.log] == log
    assert system.run() is False


@each_phase
def test_cancelled_from_outside(net, answers, hosts, log):
    """A deadline around the call passes through it, whatever its own timeout."""
    made = net(answers, hosts)
    with move_on_after(1) as block:
        system.connect("host", 80, timeout=5)
    assert block.expired
    assert [what for _, what in made.log] == log
    assert system.time() - made.begin == pytest.approx(1)


def test_connecting_in_a_cancelled_block(net):
    """Nothing is tried."""
    made = net(AT_ONCE, SILENT)
    with scope() as block:
        block.cancel()
        system.connect("host", 80)
    assert all("given up" in what for _, what in made.log)
    assert made.streams == []


def test_thrown_while_the_winner_is_on_its_way(net):
    """The stream that no one gets is closed."""
    made = net({"ipv6": (0, "a"), "ipv4": (0, "EAI_NONAME")}, {"a": (1, True)})
    results = []

    def caller():
        try:
            results.append(system.connect("host", 80))
        except KeyError as error:
            results.append(error)

    one = spawn.call(caller)
    spawn.call(lambda: system.suspend(0) and system.suspend(1) and one.status == "suspended" and one.throw(KeyError))
    system.run()
    assert len(results) == len(made.streams) == 1
    assert made.streams[0].closed is isinstance(results[0], KeyError)


# -- arguments, and the real network -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "options", "kind"),
    [
        (("*", 80), {}, ValueError),
        ((b"*", 80), {}, ValueError),
        (("", 80), {}, ValueError),
        (("localhost\0", 80), {}, ValueError),
        (("localhost", 65536), {}, ValueError),
        (("localhost", "ssh\0"), {}, ValueError),
        (("localhost", 80), {"timeout": float("nan")}, ValueError),
        ((None, 80), {}, TypeError),
        (("localhost", None), {}, TypeError),
        (("localhost", True), {}, TypeError),
        (("localhost", 80), {"timeout": "1"}, TypeError),
        (("localhost", 80, 1), {}, TypeError),
    ],
    ids=repr,
)
def test_wrong_arguments(arguments, options, kind, hub):
    """B66: refused before anything is looked up or opened."""
    before = hub.loop.counts()
    with pytest.raises(kind):
        system.connect(*arguments, **options)
    after = hub.loop.counts()
    assert after["requests_created"] == before["requests_created"]
    assert after["handles_created"] == before["handles_created"]


@both_domains
def test_literal_addresses(domain, hub):
    """With a port they need no look-up, so that a busy thread pool is no obstacle."""
    with listening(domain) as server:
        address = server.getaddress()
        before = hub.loop.counts()["requests_created"]
        with system.connect(address.literal, address.port, timeout=5) as stream:
            assert stream.getaddress("peer") == address
            assert hub.loop.counts()["requests_created"] == before + 1  # the connect
            with server.accept() as peer:
                stream.send(b"hello")
                assert peer.receive() == b"hello"


@pytest.mark.parametrize("kind", [str, bytes])
def test_names(kind):
    """The name of this machine, and a port as text."""
    with listening("ipv4") as server:
        address = server.getaddress()
        host = "localhost" if kind is str else b"localhost"
        with system.connect(host, str(address.port), timeout=20) as stream:
            assert stream.getaddress("peer") == address
            assert stream.getdomain() == "ipv4"


def test_refused():
    """The error says by whom."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectionRefusedError) as caught:
            system.connect("127.0.0.1", port)
    assert caught.value.filename == f"127.0.0.1:{port}"
    assert caught.value.syscall == "uv_tcp_connect"


@contextmanager
def silent(literal):
    """Yield the address of a listener whose queue is full, so that the system answers no one."""
    opened = [socket.create_server((literal, 0), backlog=0)]
    try:
        for _ in range(4):
            opened.append(socket.socket())
            opened[-1].setblocking(False)
            opened[-1].connect_ex(opened[0].getsockname())
        yield system.address("ipv4", *opened[0].getsockname())
    finally:
        for one in opened:
            one.close()


def test_real_hosts_that_refuse_or_never_answer(monkeypatch):
    """127.0.0.1 refuses, 127.0.0.2 is silent, 127.0.0.3 accepts: its stream is returned, all others are closed."""
    monkeypatch.setattr(module, "ATTEMPT_DELAY", 0.02)
    with silent("127.0.0.2") as mute, system.socket("passive", "ipv4") as server:
        server.bind(system.address("ipv4", "127.0.0.3", 0))
        server.listen(3)
        hosts = [system.address("ipv4", "127.0.0.1", 1), mute, server.getaddress()]
        found = {"ipv4": [(host, "stream") for host in hosts], "ipv6": []}
        monkeypatch.setattr(module, "findaddr", lambda *_, ipv4, **__: found["ipv4" if ipv4 else "ipv6"])
        with system.connect("host", "http", timeout=20) as stream:
            assert stream.getaddress("peer") == server.getaddress()
            with server.accept() as peer:
                peer.send(b"welcome")
                assert stream.receive() == b"welcome"


def test_real_timeout():
    """A host that never answers ends with the time being up; its attempt leaves nothing behind."""
    with silent("127.0.0.2") as mute:
        with pytest.raises(errors.Timeout):
            system.connect(mute.literal, mute.port, timeout=0.05)
        one = spawn.call(system.connect, mute.literal, mute.port)
        one.resume("enough")
        assert one.status == "dead"
        assert system.run() is False


def test_in_the_hub(hub, escaped):
    """A call from another thread runs in the hub, which cannot wait."""
    hub.call_threadsafe(system.connect, "127.0.0.1", 1)
    system.run("step")
    assert [type(error) for _, error in escaped] == [errors.NotYieldable]
    escaped.clear()
