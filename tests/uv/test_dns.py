"""Names: getaddrinfo and getnameinfo, against the standard library, and after libuv's own tests."""

import os
import random
import socket
import time
from functools import partial

import pytest

from coutil import errors, spawn, uv
from coutil.scopes import timeout
from tests.helpers.script import output_of
from tests.uv.pool import busy_pool

STREAM = socket.SOCK_STREAM
HOSTS = [None, "localhost", "LOCALHOST", "127.0.0.1", "127.1", "0x7f.1", "::1", "::ffff:127.0.0.1", "0", b"localhost"]
BAD_HOSTS = ["127.0.0.256", "1::2::3", "127.0.0.1 x", "nosuchhost", "fe80::1%nothing"]
SERVICES = [None, "http", "ssh", "domain", "tftp", "nosuchservice", "HTTP", 0, 80, 65535, "0", "80", b"80", b"ssh"]
FAMILIES = [0, socket.AF_INET, socket.AF_INET6, socket.AF_UNIX, 77]
KINDS = [0, STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW, 99]
PROTOCOLS = [0, socket.IPPROTO_TCP, socket.IPPROTO_UDP, 200]
FLAGS = [0, socket.AI_PASSIVE, socket.AI_CANONNAME, socket.AI_NUMERICSERV, socket.AI_V4MAPPED, socket.AI_ADDRCONFIG]


@pytest.fixture(params=["method", "flat", "blocking"])
def names(request, loop):
    """Both functions, in each of the ways that they can be called."""
    if request.param == "method":
        return loop.getaddrinfo, loop.getnameinfo
    return tuple(partial(one, loop if request.param == "flat" else None) for one in (uv.getaddrinfo, uv.getnameinfo))


def outcome(function, *arguments):
    """The result, or the kind of error."""
    try:
        return function(*arguments)
    except socket.gaierror as error:
        codes = {getattr(socket, name): name for name in dir(socket) if name.startswith("EAI_")}
        return codes[error.errno] if type(error) is socket.gaierror else error.name


def draw(chance):
    """Arguments at random; nothing that the network would be asked for."""
    flags = chance.choice(FLAGS) | chance.choice(FLAGS)
    host = chance.choice(HOSTS)
    if chance.random() < 0.2:
        host, flags = chance.choice(BAD_HOSTS), flags | socket.AI_NUMERICHOST
    service = chance.choice(SERVICES[host is None :])
    pick = [chance.choice(one) if chance.random() < 0.5 else 0 for one in (FAMILIES, KINDS, PROTOCOLS)]
    return host, service, *pick, flags


def compare(getaddrinfo, count, seed):
    """Compare so many look-ups; return how many found something."""
    chance, found = random.Random(seed), 0
    for _ in range(count):
        drawn = draw(chance)
        ours = outcome(getaddrinfo, *drawn)
        assert ours == outcome(socket.getaddrinfo, *drawn), drawn
        found += isinstance(ours, list)
    return found


# -- getaddrinfo ----------------------------------------------------------------------------------------------------


def test_getaddrinfo_basic(names):
    """getaddrinfo_basic: by host, by service, in the shape of the standard library, types and all."""
    found = names[0]("localhost", 80, 0, STREAM)
    assert found == socket.getaddrinfo("localhost", 80, type=STREAM)
    family, kind, protocol, canonical, address = found[0]
    assert isinstance(family, socket.AddressFamily)
    assert isinstance(kind, socket.SocketKind)
    assert (protocol, canonical, address[1]) == (socket.IPPROTO_TCP, "", 80)
    assert names[0](None, "http") == socket.getaddrinfo(None, "http")
    assert names[0]("127.0.0.1")[0][4] == ("127.0.0.1", 0)
    assert names[0]("127.0.0.1", flags=socket.AI_CANONNAME)[0][3] == "127.0.0.1"


@pytest.mark.parametrize("seed", range(3))
def test_finds_what_the_library_finds(names, seed):
    """B70: the same addresses in the same order, or the same error, for arguments drawn at random."""
    assert 20 < compare(names[0], 100, seed) < 95


@pytest.mark.fuzz
def test_finds_what_the_library_finds_in_10000_cases(loop):
    """B70: as above, with other arguments each time."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    assert compare(loop.getaddrinfo, 10_000, seed) > 2000


def test_getaddrinfo_fail(names):
    """getaddrinfo_fail: the class is the standard library's, and ours; the host is named."""
    with pytest.raises(socket.gaierror, match=r"^EAI_NONAME: .* \(uv_getaddrinfo\): 'xyzzy'$") as caught:
        names[0]("xyzzy", None, flags=socket.AI_NUMERICHOST)
    assert isinstance(caught.value, uv.UVError)
    assert (caught.value.code, caught.value.filename) == (lookup_code("EAI_NONAME"), "xyzzy")
    for arguments in ((None,), (None, None, socket.AF_INET), ("", 80), (b"", None)):
        with pytest.raises(uv.UVError) as caught:
            names[0](*arguments)
        assert caught.value.name == "EINVAL"
        assert not isinstance(caught.value, ValueError)


def lookup_code(name):
    """Libuv's number of an error."""
    return {"EAI_NONAME": -3008}[name]


def test_getaddrinfo_concurrent(loop):
    """getaddrinfo_concurrent: many at once, more than the pool has threads."""
    requests = [loop.getaddrinfo_nowait("localhost", port, type=STREAM) for port in range(1, 51)]
    assert {request.type for request in requests} == {"getaddrinfo"}
    assert [request.result()[0][4][1] for request in requests] == list(range(1, 51))
    assert loop.alive is False


BAD_NAMES = {
    "NUL": "localhost\0.evil.example",
    "NUL in bytes": b"localhost\0.evil.example",
    "long": "a" * 255,
    "long part": "a" * 64 + ".example",
    "256": ".".join(["a" * 63] * 4),
    "very long": "a" * 65536,
    "very long in other letters": "ä" * 65536,
    "empty part": "local..host",
    "surrogate": "local\ud800host",
    "bytes that are no UTF-8": b"local\xffhost",
    "control": "lo\u0085cal",
}


@pytest.mark.parametrize("host", BAD_NAMES.values(), ids=BAD_NAMES)
def test_hosts_that_cannot_be(names, host, loop):
    """B66: NUL, too long, impossible to encode: a ValueError before libuv is called, and quickly."""
    before, begin = loop._hub.loop.counts()["requests_created"], time.process_time()
    with pytest.raises(ValueError, match=r".") as caught:
        names[0](host, 80)
    assert not isinstance(caught.value, OSError)
    assert loop._hub.loop.counts()["requests_created"] == before
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("service", ["a\0b", "a" * 32, "a" * 65536, b"\xff", "ä", "", "65536", 65536, -1, "1" * 5000])
def test_services_that_cannot_be(names, service):
    """B66: the same for services; a port is 0 to 65535, as a number and as text."""
    with pytest.raises(ValueError, match=r"port|ascii|limit"):
        names[0]("127.0.0.1", service)


def test_longest_host(names):
    """B66: 253 characters go to the system as they are: the limit is not too low."""
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    with pytest.raises(socket.gaierror):
        names[0](longest, 80, 0, 0, 0, socket.AI_NUMERICHOST)
    with pytest.raises(ValueError, match="too long"):
        names[0](longest + "b", 80, 0, 0, 0, socket.AI_NUMERICHOST)


def test_names_of_arguments(names):
    """Every argument may be given by the name that it has in the standard library."""
    named = {"family": socket.AF_INET, "type": STREAM, "proto": socket.IPPROTO_TCP, "flags": socket.AI_NUMERICHOST}
    expected = socket.getaddrinfo(host="127.0.0.1", port=80, **named)
    assert names[0](host="127.0.0.1", port=80, **named) == expected
    assert names[0]("127.0.0.1", "http", *named.values()) == expected
    for other in ("service", "socktype", "protocol"):
        with pytest.raises(TypeError, match=other):
            names[0]("127.0.0.1", **{other: 6})


def test_types_of_arguments(names):
    """What is of another type is a TypeError that names the argument, what is out of range a ValueError."""
    for wrong in (1, 1.5, object(), ["localhost"]):
        with pytest.raises(TypeError, match="name "):
            names[0](wrong, 80)
    for wrong in (1.5, True, object()):
        with pytest.raises(TypeError, match="port "):
            names[0]("127.0.0.1", wrong)
    for name in ("family", "type", "proto", "flags"):
        for value, kind in (("1", TypeError), (None, TypeError), (-1, ValueError), (2**31, ValueError)):
            with pytest.raises(kind, match=name):
                names[0]("127.0.0.1", 80, **{name: value})


# -- getnameinfo ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("port", [0, 22, 53, 69, 80, 64999])
@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_getnameinfo(names, host, port):
    """getnameinfo_basic_ip4, getnameinfo_basic_ip6: what the standard library says, with every flag."""
    local = 0 if host == "127.0.0.1" else socket.NI_NUMERICHOST  # the network is not asked for the other's name
    for flags in (local, local | socket.NI_DGRAM, socket.NI_NUMERICHOST, local | socket.NI_NUMERICSERV):
        assert names[1]((host, port), flags) == socket.getnameinfo((host, port), flags)


def test_getnameinfo_of_more(names):
    """Four parts, and a zone by its name or number, as `getaddrinfo` returns them."""
    numeric = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    lo = socket.if_nametoindex("lo")
    for address in (("fe80::1", 7, 0, lo), ("::1", 7, 0, 0), ("::1", 7), ("127.0.0.1", 7)):
        assert names[1](address, numeric) == socket.getnameinfo(address, numeric)
    for address in (("fe80::1%lo", 7), (f"fe80::1%{lo}", 7, 0), ("fe80::1%lo", 7, 0, 0)):
        assert names[1](address, numeric) == ("fe80::1%lo", "7")
    with pytest.raises(socket.gaierror, match="EAI_NONAME"):
        names[1](("0.0.0.1", 7), socket.NI_NAMEREQD)


def test_addresses_that_cannot_be(names):
    """Nothing reaches libuv that it would refuse."""
    for wrong in (None, "127.0.0.1", ("127.0.0.1",), ["127.0.0.1", 80], ("127.0.0.1", 80, 0, 0, 0)):
        with pytest.raises(TypeError, match="address "):
            names[1](wrong)
    for wrong in (
        ("localhost", 80),
        ("", 80),
        ("1.2.3", 80),
        ("127.0.0.1\0", 80),
        ("fe80::1%nothing", 80),
        ("::1", 65536),
    ):
        with pytest.raises(ValueError, match=r"host|port"):
            names[1](wrong)
    with pytest.raises(ValueError, match="scope "):
        names[1](("::1", 80, 0, -1))
    for wrong in ("1", None):
        with pytest.raises(TypeError, match="flags"):
            names[1](("127.0.0.1", 80), wrong)


# -- giving up, fork, import ------------------------------------------------------------------------------------------


def test_deadline(loop):
    """A look-up that stands in line is cut at once, and leaves nothing behind."""
    log = []

    def look_up():
        with pytest.raises(errors.Timeout), timeout(0.001):
            loop.getaddrinfo("localhost", 80)
        log.append("cut")

    with busy_pool(loop):
        loop.call_threadsafe(spawn.call, look_up)
        while not log:
            loop.run("once")
        assert loop.alive
    assert loop.getaddrinfo("127.0.0.1", 80)[0][4] == ("127.0.0.1", 80)


def test_given_up_at_any_time(loop):
    """R40, threadpool_cancel_getaddrinfo: coroutines that are closed at random leave no request and no memory."""
    chance = random.Random(5)

    def handler():
        waiting = [spawn.call(loop.getaddrinfo, "localhost", 80) for _ in range(100)]
        chance.shuffle(waiting)
        for one in waiting:
            if chance.random() < 0.2:
                loop.sleep(0)
            if one.status == "suspended":
                one.close()

    for _ in range(5):
        loop.call_threadsafe(handler)
        loop.run("nowait")
        loop.run()
    counts = loop._hub.loop.counts()
    assert counts["requests_created"] == counts["requests_freed"] >= 500


def test_look_up_after_fork():
    """B61: the child of a fork looks up with a loop of its own, without a loop, and in a thread of the pool."""
    lines = output_of(
        """
        import os, socket
        from coutil import errors, uv
        loop = uv.Loop()
        def look_up(who):
            with uv.Loop() as own:
                print(who, own.getaddrinfo("127.0.0.1", 80)[0][4], own.getnameinfo(("127.0.0.1", 22))[1], flush=True)
                print(uv.getaddrinfo(None, "localhost", 80, socket.AF_INET)[0][4], flush=True)
                print(own.queue_work(own.fs.stat.__name__.upper), len(own.random(3)), flush=True)
        look_up("before")
        if os.fork() == 0:
            try:
                loop.getaddrinfo("127.0.0.1", 80)
            except errors.Forked:
                print("forked")
            look_up("child")
            raise SystemExit
        os.wait()
        look_up("parent")
        loop.close()
        """
    )
    expected = [["%s ('127.0.0.1', 80) ssh", "('127.0.0.1', 80)", "STAT 3"]] * 3
    before, child, parent = ([line.replace("%s", who) for line in expected[0]] for who in ("before", "child", "parent"))
    assert lines == [*before, "forked", *child, *parent]


def test_look_up_while_a_module_is_imported(tmp_path):
    """B63: the codec of names is imported by the thread that holds the import's lock; jobs may import others."""
    (tmp_path / "resolves.py").write_text(
        "from coutil import uv\nfrom socket import AI_NUMERICHOST\n"
        "with uv.Loop() as loop:\n"
        "    try:\n        loop.getaddrinfo('sch\\xf6n', 80, flags=AI_NUMERICHOST)\n"
        "    except OSError as error:\n        print(error.name)\n"
        "    print(loop.queue_work(__import__, 'colorsys').__name__)\n",
        encoding="utf-8",
    )
    lines = output_of(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import resolves")
    assert lines == ["EAI_NONAME", "colorsys"]


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="descriptors cannot be listed")
def test_without_a_loop_nothing_stays_open():
    """A blocking look-up makes a loop for itself, and closes it."""
    before = sorted(os.listdir("/proc/self/fd"))
    for _ in range(20):
        uv.getaddrinfo(None, "127.0.0.1", 80)
        uv.getnameinfo(None, ("127.0.0.1", 80))
    assert sorted(os.listdir("/proc/self/fd")) == before
