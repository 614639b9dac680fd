"""`system.findaddr`, `system.nameaddr` and `Addresses`. Only names of this machine are looked up here."""

import os
import socket
import time
from collections.abc import Sequence
from weakref import ref

import pytest

from coutil import coroutine, errors, spawn, system
from coutil._libuv import names as calls
from coutil._libuv.result import new_result
from coutil.scopes import timeout
from coutil.system import Address
from coutil.system.network import names
from tests.helpers.ids import shown
from tests.helpers.script import output_of

LITERALS = {"localhost": {"127.0.0.1", "::1"}, None: {"127.0.0.1", "::1"}, "*": {"0.0.0.0", "::"}}
SOCKTYPE = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram"}
WIDE = "\uff11\uff12\uff17.0.0.1"  # 127 in wide digits

# -- Addresses ---------------------------------------------------------------------------------------------------------


def expected(name, service, family=0, kind=0, flags=socket.AI_ADDRCONFIG):
    """Return (literal, port, type of socket) of all that the standard library finds."""
    passive = socket.AI_PASSIVE if name == "*" else 0
    found = socket.getaddrinfo(None if name == "*" else name, service, family, kind, 0, flags | passive)
    return [
        (where[0].partition("%")[0], where[1], "passive" if passive and kind == socket.SOCK_STREAM else SOCKTYPE[kind])
        for _, kind, _, _, where in found
        if kind in SOCKTYPE
    ]


CASES = [
    *(("localhost", service) for service in ("ssh", "http", None, "54321", 54321)),
    *((name, service) for name in (None, "*") for service in ("ssh", "http", "54321", 54321)),
]


@pytest.mark.parametrize("reuse", [False, True])
@pytest.mark.parametrize(("name", "service"), CASES)
def test_walk_twice(name, service, reuse):
    """DNS-1, DNS-2: each address once, with its port and type, in the same order the second time, in any object."""
    found = system.findaddr(name, service)
    walks = []
    for _ in range(2):
        walks.append([])
        while True:
            address = found.getaddress()
            if reuse:
                into = system.address(found.getdomain())
                assert found.getaddress(into) is into
                assert into == address
                with pytest.raises(ValueError, match="wrong domain"):
                    found.getaddress(system.address("ipv6" if into.type == "ipv4" else "ipv4"))
            assert address.type == found.getdomain()
            walks[-1].append((address.literal, address.port, found.getsocktype()))
            if not found.next():
                break
        assert (address, address.type) == (found.getaddress(), found.getdomain())  # the pointer stays at the last
        assert found.reset() is True
    assert walks[0] == walks[1] == expected(name, service)
    assert {literal for literal, _, _ in walks[0]} <= LITERALS[name]
    assert {kind for _, _, kind in walks[0]} <= {"datagram", "passive" if name == "*" else "stream"}


def test_iteration():
    """(address, type of socket) of each, from the first, without moving the pointer; fresh objects each time."""
    found = system.findaddr(None, 80, ipv4=True, ipv6=True)
    while found.next():
        pass
    last = found.getaddress()
    pairs = list(found)
    assert [(address.literal, address.port, kind) for address, kind in pairs] == expected(None, 80, flags=0)
    assert len(found) == len(pairs)
    assert last == pairs[-1][0] == found.getaddress()
    pairs[0][0].port = 1
    assert next(iter(found))[0].port == 80


def test_addresses_are_a_sequence():
    """Of named tuples, counted from 0; the pointer stays where it is."""
    with system.findaddr(None, 80, ipv4=True, ipv6=True) as found:
        rows = list(found)
        assert isinstance(found, Sequence)
        assert {type(row) for row in rows} == {system.FoundAddress}
        assert (found[0], found[-1], found[1:], found[::-1]) == (rows[0], rows[-1], rows[1:], rows[::-1])
        assert list(reversed(found)) == rows[::-1]
        assert (rows[1] in found, found.index(rows[1]), found.count(rows[1])) == (True, 1, 1)
        assert (found[0].address, found[0].socktype) == (found.getaddress(), found.getsocktype())
        found[0].address.port = 1
        assert found[0].address.port == 80
        with pytest.raises(IndexError):
            found[len(rows)]


def test_closed_addresses():
    """Every use of closed addresses is `Closed`; closing twice and leaving the block afterwards is fine."""
    with system.findaddr("127.0.0.1", 80) as found:
        assert repr(found) == "<Addresses 1 of 2: stream 127.0.0.1:80>"
        assert found.closed is False
        assert found.close() is found.close() is found.closed is True
        for use in (found.next, found.reset, found.getaddress, found.getdomain, found.getsocktype, found.__len__):
            with pytest.raises(errors.Closed, match="closed"):
                use()
        with pytest.raises(errors.Closed):
            list(found)
    assert repr(found) == "<Addresses closed>"


def test_into_must_be_an_address():
    """DNS-1: what cannot be written into is a TypeError."""
    with system.findaddr("127.0.0.1", 80) as found, pytest.raises(TypeError, match=r"into .*'::'"):
        found.getaddress("::")


# -- findaddr ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "literals"),
    [
        ({"ipv4": True}, {"127.0.0.1"}),
        ({"ipv6": True}, {"::1"}),
        ({"ipv4": True, "ipv6": True}, {"127.0.0.1", "::1"}),
    ],
    ids=shown,
)
def test_families(options, literals):
    """Those that are asked for."""
    found = list(system.findaddr(None, 7, **options))
    assert {address.literal for address, _ in found} == literals
    assert all(options.get(address.type) for address, _ in found)
    assert len(found) == 2 * len(literals)


@pytest.mark.parametrize("both", [False, True])
def test_mapped(both):
    """IPv4 addresses are written as IPv6 ones; nothing else is returned."""
    found = list(system.findaddr("127.0.0.1", 7, mapped=True, ipv6=both, ipv4=both, stream=True))
    assert [(str(address), kind) for address, kind in found] == [("[::ffff:127.0.0.1]:7", "stream")]
    assert found[0][0].type == "ipv6"


@pytest.mark.parametrize("kind", ["stream", "datagram"])
def test_types_of_sockets(kind):
    """One of them, if one is asked for; both, if both are."""
    assert {found for _, found in system.findaddr("localhost", 7, **{kind: True})} == {kind}
    assert {found for _, found in system.findaddr("localhost", 7, stream=True, datagram=True)} == {"stream", "datagram"}


def test_numeric():
    """Literals only: names are not looked up."""
    assert system.findaddr("127.0.0.1", 7, numeric=True).getaddress() == system.address("ipv4", "127.0.0.1", 7)
    with pytest.raises(socket.gaierror) as caught:
        system.findaddr("localhost", 7, numeric=True)
    assert isinstance(caught.value, errors.UVError)
    assert (caught.value.name, caught.value.syscall) == ("EAI_NONAME", "uv_getaddrinfo")
    assert str(caught.value).endswith("(uv_getaddrinfo): 'localhost'")


@pytest.mark.parametrize("look_up", [system.connect, system.findaddr])
def test_unknown_service(look_up):
    """It is the service that is named, not the host, which is known."""
    with pytest.raises(socket.gaierror, match=r"EAI_SERVICE: .* \(uv_getaddrinfo\): 'nosuchservice'$"):
        look_up("localhost", "nosuchservice")


def test_scope_of_a_link_local_address():
    """What stands behind the % becomes the address's scope."""
    address = system.findaddr("fe80::1%lo", 7, ipv6=True, numeric=True).getaddress()
    assert (address.literal, address.scope) == ("fe80::1", socket.if_nametoindex("lo"))


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        ((), {}),
        (("*",), {}),
        ((b"*",), {}),
        (("localhost", 80), {"mapped": True, "ipv4": True}),
        ((None, ""), {}),
        ((None, 65536), {}),
        ((None, -1), {}),
        *(((None, text), {}) for text in ("65536", "-1", "+80", " 80", "8_0", "٣", "x" * 32, "ssh\0", "sch\xf6n")),
    ],
)
def test_wrong_values(arguments, options):
    """DNS-3: neither name nor service, "*" without service, mapped IPv4, services that cannot be."""
    with pytest.raises(ValueError, match=r"name|mapped|service") as caught:
        system.findaddr(*arguments, **options)
    assert not isinstance(caught.value, OSError)


@pytest.mark.parametrize("wrong", [1.5, True, ["localhost"], bytearray(b"localhost")], ids=repr)
def test_wrong_types(wrong):
    """Names are strings or bytes; services strings or ints; options only those that exist (DNS-3)."""
    with pytest.raises(TypeError, match="name "):
        system.findaddr(wrong, 80)
    with pytest.raises(TypeError, match="service "):
        system.findaddr("localhost", wrong)
    with pytest.raises(TypeError, match="what "):
        system.nameaddr(wrong)
    with pytest.raises(TypeError, match="unexpected keyword"):
        system.findaddr("localhost", unknown=wrong)


@pytest.mark.parametrize(
    ("call", "options"),
    [
        (system.findaddr, ["ipv4", "ipv6", "mapped", "datagram", "stream", "numeric"]),
        (system.nameaddr, ["local", "datagram", "idn", "unassigned", "std3"]),
    ],
)
def test_options_are_bools(call, options):
    """Anything else is a TypeError that names the option."""
    for option in options:
        with pytest.raises(TypeError, match=rf"{option} .*1"):
            call("localhost", **{option: 1})


# What no look-up may ever see: the system would cut it, and find something else.
BAD_NAMES = {
    "NUL": "localhost\0.evil.example",
    "NUL at the end": "localhost\0",
    "only NUL": "\0",
    "bytes with NUL": b"localhost\0.evil.example",
    "empty": "",
    "empty bytes": b"",
    **{f"{size} characters": "a" * 63 + ".a" * ((size - 63) // 2) for size in (255, 257, 1025, 65535)},
    **{f"{size} times the same": "a" * size for size in (64, 254, 255, 256, 257, 65536)},
    "long in other letters": "ä" * 70,
    "much longer in other letters": "ä" * 65536,
    "254 in ASCII": ".".join(["ä" * 30] * 7),
    "empty part": "local..host",
    "only a dot": ".",
    "surrogate": "local\ud800host",
    "escaped byte": os.fsdecode(b"local\xffhost"),
    "bytes that are no UTF-8": b"local\xffhost",
    "Latin 1": "schön".encode("latin-1"),
    "control": "lo\u0085cal",
}


@pytest.mark.parametrize("call", [system.findaddr, system.nameaddr, lambda name: system.connect(name, 80)])
@pytest.mark.parametrize("name", BAD_NAMES.values(), ids=BAD_NAMES)
def test_names_that_cannot_be(name, call, hub):
    """B66: NUL, too long, impossible to encode: a ValueError, before any request is made, and quickly."""
    before, begin = hub.loop.counts()["requests_created"], time.process_time()
    with pytest.raises(ValueError, match=r".") as caught:
        call(name)
    assert not isinstance(caught.value, OSError)
    assert len(str(caught.value)) < 400 or isinstance(caught.value, UnicodeError)
    assert hub.loop.counts()["requests_created"] == before
    assert time.process_time() - begin < 1


def test_longest_names_that_can_be(hub):
    """B66: 253 characters, with parts of 63, go to the system as they are: the limit is not too low."""
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(longest) == 253
    for name in (longest, longest + ".", longest.encode()):
        before = hub.loop.counts()["requests_created"]
        with pytest.raises(socket.gaierror):
            system.findaddr(name, 80, numeric=True)
        assert hub.loop.counts()["requests_created"] == before + 1


def test_other_alphabets():
    """Names are encoded as the standard library does: wide digits are digits, bytes are UTF-8."""
    assert system.findaddr(WIDE, 7).getaddress() == system.address("ipv4", "127.0.0.1", 7)
    assert system.findaddr(WIDE.encode(), 7).getaddress() == system.address("ipv4", "127.0.0.1", 7)
    with pytest.raises(socket.gaierror, match="xn--schn-7qa"):
        system.findaddr("schön", 80, numeric=True)


def test_look_up_while_a_module_is_imported(tmp_path):
    """B63: the encoder of names is imported by the thread that holds the import's lock, so nothing hangs."""
    (tmp_path / "resolves.py").write_text(
        "from coutil import system\n"
        "try:\n    system.findaddr('sch\\xf6n', 80, numeric=True)\n"
        "except OSError as error:\n    print(error.name)\n",
        encoding="utf-8",
    )
    assert output_of(f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import resolves") == ["EAI_NONAME"]


# -- nameaddr ----------------------------------------------------------------------------------------------------------


def test_names_of_ports():
    """DNS-4: a known service, or the number as text; datagrams have their own."""
    assert (system.nameaddr(22), system.nameaddr(80)) == ("ssh", "http")
    assert (system.nameaddr(0), system.nameaddr(64999)) == ("0", "64999")
    assert system.nameaddr(69, datagram=True) == socket.getservbyport(69, "udp")
    for wrong in (-1, 65536, 1 << 40):
        with pytest.raises(ValueError, match="a port "):
            system.nameaddr(wrong)


def test_names_of_addresses():
    """DNS-4: host and service; an address without a name is an error."""
    assert system.nameaddr(system.address("ipv4", "127.0.0.1", 80)) == ("localhost", "http")
    assert system.nameaddr(system.address("ipv4", "127.0.0.1", 64999), local=True) == ("localhost", "64999")
    with pytest.raises(socket.gaierror) as caught:
        system.nameaddr(system.address("ipv4", "0.0.0.0", 80))
    assert caught.value.syscall == "uv_getnameinfo"


def test_canonical_names():
    """DNS-5: of a host whose other names need no network."""
    assert system.nameaddr("localhost") == socket.getaddrinfo("localhost", None, flags=socket.AI_CANONNAME)[0][3]
    assert system.nameaddr("127.0.0.1") == "127.0.0.1"
    assert system.nameaddr(b"LOCALHOST").lower() == "localhost"


def encoded(label):
    """Return a part of a name in its encoded form."""
    return "xn--" + label.encode("punycode").decode()


SCHOEN, UNDERSCORE, NEW = encoded("sch\xf6n"), encoded("\xe4_b"), encoded("\u0221")


@pytest.mark.parametrize(
    ("name", "options", "decoded"),
    [
        (f"{SCHOEN}.example", ["idn"], "sch\xf6n.example"),
        (f"{SCHOEN}.Example".upper(), ["idn"], "sch\xf6n.EXAMPLE"),
        (f"{SCHOEN}.example", ["std3", "unassigned"], None),
        ("plain.example", ["idn"], None),
        ("xn--broken-\xe9.xn--zz--", ["idn"], None),
        (UNDERSCORE, ["idn"], "\xe4_b"),
        (f"{UNDERSCORE}.{SCHOEN}", ["idn", "std3"], f"{UNDERSCORE}.sch\xf6n"),
        (f"{NEW}.{SCHOEN}", ["idn"], f"{NEW}.sch\xf6n"),
        (f"{NEW}.{SCHOEN}", ["idn", "unassigned"], "\u0221.sch\xf6n"),
    ],
)
def test_decoding(name, options, decoded, monkeypatch):
    """`idn` decodes the parts that may be decoded; everything else stays as the system wrote it (None)."""
    monkeypatch.setattr(names, "_find", lambda *_: ([], name))
    monkeypatch.setattr(names, "_name", lambda *_: (name, "http"))
    chosen = dict.fromkeys(options, True)
    assert system.nameaddr("anything", **chosen) == (decoded or name)
    assert system.nameaddr(system.address("ipv4"), **chosen) == (decoded or name, "http")
    assert system.nameaddr(80, **chosen) == "http"


# -- waiting -----------------------------------------------------------------------------------------------------------

CALLS = {
    "findaddr": lambda: system.findaddr("localhost", 80),
    "nameaddr of an address": lambda: system.nameaddr(system.address("ipv4", "127.0.0.1", 80)),
    "nameaddr of a port": lambda: system.nameaddr(80),
    "nameaddr of a name": lambda: system.nameaddr("localhost"),
}
each_call = pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)


@each_call
def test_others_run_meanwhile(call):
    """The caller is suspended, and only the caller; what it waits for is shown."""
    log = []
    looking = spawn.call(lambda: log.append(call()))
    assert (looking.status, log) == ("suspended", [])
    assert "address" in str(looking.waiting_on)
    assert system.run() is False
    assert log[0] == call() or isinstance(log[0], system.Addresses)


@each_call
@pytest.mark.parametrize("given", [None, True, 7, ("a", "b")], ids=repr)
def test_explicit_resume_ends_the_wait(call, given):
    """DNS-6: what the resume brings is returned, even True; the same coroutine can look up again."""
    log = []

    def look_up():
        log.append(call())
        log.append(call())

    spawn.call(look_up).resume(given)
    assert log == [given]
    system.run()
    assert len(log) == 2
    assert log[1] is not given


@each_call
@pytest.mark.parametrize("error", [KeyError, errors.Timeout])
def test_throw_ends_the_wait(call, error):
    """DNS-6: so does an exception; nothing is left of the request in the end."""
    looking = spawn.call(call)
    with pytest.raises(error):
        looking.throw(error)
    assert looking.status == "dead"
    assert system.run() is False


@each_call
def test_deadline_ends_the_wait(call, clock):
    """DNS-6: the time being up is no exception to that."""
    with pytest.raises(errors.Timeout), timeout(-1):
        call()
    assert call()


@each_call
def test_many_without_a_waiter(call, hub):
    """DNS-6: what stands in line is taken out of it; what has begun brings results that are released unseen."""
    before = hub.loop.counts()["requests_created"]
    looking = [spawn.call(call) for _ in range(200)]
    assert all(one.close() for one in looking)
    assert system.run() is False
    assert hub.loop.counts()["requests_created"] == hub.loop.counts()["requests_freed"] == before + 200


@each_call
def test_cancelled_in_the_middle(call):
    """DNS-6: some of them end, some are cancelled in between, none twice."""
    log = []
    looking = [spawn.call(lambda: log.append(call())) for _ in range(50)]
    system.run("step")
    closed = [one for one in looking if one.status == "suspended" and one.close()]
    system.run()
    assert len(log) + len(closed) == 50


def test_waiting_ones_leave_the_line_early(hub):
    """A look-up that was cancelled before it began is over before those that came after it."""
    first = [spawn.call(system.findaddr, "localhost", 80) for _ in range(30)]
    for one in first:
        one.close()
    order = []
    spawn.call(lambda: (system.nameaddr(80), order.append("named")))
    system.run()
    assert order == ["named"]
    assert hub.in_flight() == 0


def test_abandoned_results_are_freed(monkeypatch):
    """DNS-6: a result goes with the last reference to it, whether it was taken or not; no one keeps one."""
    made = []

    def noting():
        filled = new_result()
        made.append(ref(filled))
        return filled

    monkeypatch.setattr(calls, "new_result", noting)
    assert system.findaddr("localhost", 80).next() is True
    assert made[0]() is None
    looking = spawn.call(system.findaddr, "127.0.0.1", 80)
    assert made[1]() is not None
    looking.close()
    assert made[1]() is not None  # libuv may write to it still
    system.run()
    assert made[1]() is None


def test_in_the_hub(hub, escaped):
    """A call from another thread runs in the hub, which cannot wait."""
    for call in CALLS.values():
        hub.call_threadsafe(call)
    system.run("step")
    assert [type(error) for _, error in escaped] == [errors.NotYieldable] * len(CALLS)
    escaped.clear()


def test_coroutine_that_is_collected():
    """One that is forgotten while its cancelled look-up goes on leaves nothing behind."""

    def look_up():
        system.findaddr("localhost", 80)
        coroutine.yield_("forgotten")

    looking = spawn.call(look_up)
    assert looking.resume() == "forgotten"
    del looking
    assert system.run() is False


def test_end_of_a_program_with_look_ups():
    """DNS-6: a program that ends while look-ups are in the pool ends quietly."""
    lines = output_of(
        """
        from coutil import spawn, system
        for _ in range(50):
            spawn.call(system.findaddr, "localhost", 80)
        print("end")
        """,
        "-X",
        "dev",
    )
    assert lines == ["end"]


def test_look_up_after_fork():
    """B61: the child of a fork can look up by itself, and the parent goes on."""
    lines = output_of(
        """
        import os, sys
        from coutil import system
        def look_up(who):
            print(who, system.findaddr("localhost", 80, ipv4=True).getaddress(), system.nameaddr(80), flush=True)
        look_up("before")
        if os.fork() == 0:
            look_up("child")
            os._exit(0)
        os.wait()
        look_up("parent")
        """
    )
    assert lines == [f"{who} 127.0.0.1:80 http" for who in ("before", "child", "parent")]


def test_look_up_after_a_fork_amid_others(tmp_path):
    """B61: so can one that was forked while the pool was busy with look-ups, and has no threads to end them.

    The parent's resolver reads a file of aliases that is a pipe, and waits for another one who writes to it.
    """
    os.mkfifo(tmp_path / "aliases")
    lines = output_of(
        f"""
        import os, signal, time
        from pathlib import Path
        from coutil import errors, spawn, system
        os.environ["HOSTALIASES"] = {str(tmp_path / "aliases")!r}
        def waiting():
            stacks = [task / "wchan" for task in Path("/proc/self/task").iterdir()]
            return sum("partner" in stack.read_text() for stack in stacks)
        def unknown():
            try:
                return system.findaddr("nowhere", 80, numeric=True)
            except errors.UVError as error:
                return error
        def look_up():
            found = system.findaddr("localhost", "http", ipv4=True, stream=True)
            return [*found], unknown(), system.nameaddr(found.getaddress()), system.nameaddr("localhost"), several()
        def several():
            log = []
            looking = [spawn.call(lambda: log.append(len(system.findaddr("127.0.0.1", 1)))) for _ in range(20)]
            looking[-1].resume("given")
            looking[-2].close()
            while any(one.status != "dead" for one in looking):
                system.suspend(0.001)
            return log
        before = look_up()
        for _ in range(2):
            spawn.call(system.findaddr, "nowhere", 80)
        until = time.monotonic() + 5
        while waiting() < 2 and time.monotonic() < until:
            system.suspend(0.005)
        print(waiting(), flush=True)
        if os.fork() == 0:
            signal.alarm(10)
            assert str(look_up()) == str(before), (look_up(), before)
            if os.fork() == 0:
                assert str(look_up()) == str(before)
                os._exit(4)
            os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
        print(os.waitstatus_to_exitcode(os.wait()[1]), before[-1], flush=True)
        os._exit(0)
        """
    )
    if lines[0] == "0":
        pytest.skip("the resolver reads no aliases")
    assert lines == ["2", f"4 {[5, *[2] * 18]}"]


def test_type_of_the_results():
    """What `findaddr` yields can be given to `connect` and `bind`."""
    for address, kind in system.findaddr("localhost", 0, stream=True):
        assert isinstance(address, Address)
        with system.socket(kind, address.type) as made:
            assert made.bind(address) is True
            assert made.getaddress().port > 0
