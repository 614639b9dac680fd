"""Datagram sockets: making them, their addresses, how they look, and the options, multicast and broadcast included."""

import socket
import threading

import pytest

from coutil import spawn, system
from coutil.errors import Closed, ForeignThread
from tests.helpers.script import output_of
from tests.helpers.servers import LITERAL, loopback
from tests.helpers.sockets import METHODS, failure
from tests.helpers.tcp import OTHER, as_plain, both_domains
from tests.helpers.udp import bound, drained, plain_peer, sockets

GROUP = {"ipv4": "239.77.1.4", "ipv6": "ff12::4d01:4"}
SOURCES = {"ipv4": ("127.0.0.1", "127.0.0.2"), "ipv6": ("::1", "fe80::7")}


def multicast(domain):
    """Return the interface for multicast tests, None if the system has to choose; skip if there is none."""
    iface = "127.0.0.1" if domain == "ipv4" else None
    with system.socket("datagram", domain) as probe:
        try:
            probe.setoption("mcastjoin", GROUP[domain], iface)
            probe.setoption("mcastleave", GROUP[domain], iface)
            probe.setoption("mcastjoin", GROUP[domain])
        except OSError as error:
            pytest.skip(f"this machine has no multicast for {domain}: {error}")
    return iface


@pytest.mark.parametrize("domain", ["local", "share"])
def test_no_datagrams_of_other_domains(domain):
    """NET-1: "datagram" of a domain that is no IP is EAI_SOCKTYPE; other words are a ValueError, others a TypeError."""
    with pytest.raises(socket.gaierror, match="EAI_SOCKTYPE") as caught:
        system.socket("datagram", domain)
    assert (caught.value.name, caught.value.code) == ("EAI_SOCKTYPE", -3011)
    for wrong, error in (("", ValueError), ("IPv4", ValueError), ("ipv4\0", ValueError), (None, TypeError)):
        with pytest.raises(error, match="domain "):
            system.socket("datagram", wrong)
    with pytest.raises(ValueError, match='type must be "stream", "passive" or "datagram", not \'datagrams\''):
        system.socket("datagrams", "ipv4")


@both_domains
def test_bind_and_getaddress(domain):
    """NET-2, NET-3: bind to an address of the family; getaddress gives it back, into the same object if asked to."""
    other = system.address(OTHER[domain])
    with system.socket("datagram", domain) as made:
        assert made.getdomain() == domain
        assert made.getaddress() == system.address(domain), "not bound: all zero"
        with pytest.raises(ValueError, match="address "):
            made.bind(other)
        with pytest.raises(TypeError, match="address "):
            made.bind("127.0.0.1:80")
        assert made.bind(loopback(domain)) is True
        mine = made.getaddress()
        assert (mine.literal, mine.port > 0) == (LITERAL[domain], True)
        into = system.address(domain)
        for site in ("self", None):
            into.port = 0
            assert made.getaddress(site, into) is into
            assert into == mine
        with pytest.raises(ValueError, match="into "):
            made.getaddress("self", other)
        with pytest.raises(OSError, match=r"^ENOTCONN: .*\(uv_udp_getpeername\)(: .*)?$"):
            made.getaddress("peer", into)
        with pytest.raises(OSError, match=r"^EINVAL: .*\(uv_udp_bind\): '"):
            made.bind(loopback(domain))
        assert made.getaddress() == mine


@both_domains
def test_two_sockets_for_one_address(domain):
    """NET-3: EADDRINUSE comes at once, unless both want to share the address."""
    with sockets(domain, 1) as (ours,):
        for reuse in (False, True):
            with system.socket("datagram", domain) as late, pytest.raises(OSError, match=r"EADDRINUSE.*uv_udp_bind"):
                late.bind(ours.getaddress(), reuse=reuse)
            with system.socket("datagram", domain) as late, pytest.raises(OSError, match=str(ours.getaddress().port)):
                late.bind(ours.getaddress(), reuse=reuse)
        for wrong in (1, "yes", None):
            with pytest.raises(TypeError, match="reuse "):
                ours.bind(loopback(domain), reuse=wrong)
    with system.socket("datagram", domain) as one, system.socket("datagram", domain) as two:
        assert one.bind(loopback(domain), reuse=True) is True
        assert two.bind(one.getaddress(), reuse=True) is True
        assert one.getaddress() == two.getaddress()


@both_domains
def test_how_datagram_sockets_look(domain):
    """A repr shows kind, family, addresses, and who waits."""
    with sockets(domain) as (ours, other):
        assert repr(ours) == f"<DatagramSocket {domain} {ours.getaddress()}>"
        ours.connect(other.getaddress())
        plain = f"{domain} {ours.getaddress()} -> {other.getaddress()}"
        waiting = spawn.call(ours.receive, name="worker-3")
        assert repr(ours) == f"<DatagramSocket {plain} awaited by worker-3>"
        assert repr(waiting) == f"<Coroutine worker-3 suspended on datagram {plain}>"
        waiting.resume()
        assert repr(ours) == f"<DatagramSocket {plain}>"
        ours.close()
        assert repr(ours) == f"<DatagramSocket {plain} closed>"


def test_other_threads_cannot_take_what_is_kept(go):
    """Datagrams that were taken ahead stay where they are when another thread asks for them."""
    failures = []
    with sockets("ipv4") as (ours, other):

        def thread():
            for call in (ours.receive, lambda: ours.receive_into(bytearray(8)), lambda: ours.send(b"x", address)):
                try:
                    failures.append(call())
                except Exception as error:  # noqa: BLE001  # looked at below
                    failures.append(type(error).__name__)

        address = other.getaddress()
        for number in range(8):
            other.send(b"%d" % number, ours.getaddress())
        assert [ours.receive()[0] for _ in range(6)] == [b"0", b"1", b"2", b"3", b"4", b"5"]
        running = threading.Thread(target=thread)
        running.start()
        running.join(10)
        assert failures == ["ForeignThread"] * 3
        assert [ours.receive()[0] for _ in range(2)] == [b"6", b"7"]


# -- options


def test_wrong_options():
    """NET-4: no name, no value, other words, other case, and values of other types."""
    with system.socket("datagram", "ipv4") as made:
        for arguments in ((), ("mcastttl",), ("broadcast",), ("mcastjoin",)):
            with pytest.raises(TypeError, match="setoption"):
                made.setoption(*arguments)
        for name in (None, 1, b"ttl", []):
            with pytest.raises(TypeError, match="name "):
                made.setoption(name, True)
        for name in ("", "TTL", "MCastTTL", "Broadcast", "mcastttl ", "keepalive", "nodelay", "ttl\0"):
            with pytest.raises(
                ValueError, match='name must be "broadcast", "mcastloop", "ttl", "mcastttl", "mcastiface"'
            ):
                made.setoption(name, True)
        for name in ("broadcast", "mcastloop"):
            for value in (1, 0, None, "on"):
                with pytest.raises(TypeError, match=f"value of {name} "):
                    made.setoption(name, value)
        for name in ("broadcast", "mcastloop", "ttl", "mcastttl", "mcastiface"):
            with pytest.raises(TypeError, match=f"'{name}' takes neither iface nor source"):
                made.setoption(name, True, "127.0.0.1")
        for arguments in (("mcastiface", 1), ("mcastjoin", None), ("mcastjoin", "239.1.1.1", 1, None)):
            with pytest.raises(TypeError, match="must be a string"):
                made.setoption(*arguments)
        for arguments in (("mcastiface", "127.0.0.1\0"), ("mcastjoin", "239.1.1.1", None, "\0")):
            with pytest.raises(ValueError, match="has a null character"):
                made.setoption(*arguments)


def asked(made, domain, name4, name6):
    """Return what the system says of an option."""
    with as_plain(made) as plain:
        if domain == "ipv6":
            return plain.getsockopt(socket.IPPROTO_IPV6, name6)
        return plain.getsockopt(socket.IPPROTO_IP, name4)


@pytest.mark.parametrize("is_bound", [False, True], ids=["", "bound"])
@both_domains
def test_switches(domain, is_bound):
    """NET-5: broadcast and mcastloop go on and off, before and after the bind."""
    with bound(domain) if is_bound else system.socket("datagram", domain) as made:
        for value in (True, False, True):
            assert made.setoption("broadcast", value) is True
            assert made.setoption("mcastloop", value) is True
            with as_plain(made) as plain:
                assert plain.getsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST) == value
            assert asked(made, domain, socket.IP_MULTICAST_LOOP, socket.IPV6_MULTICAST_LOOP) == value


@pytest.mark.parametrize("is_bound", [False, True], ids=["", "bound"])
@pytest.mark.parametrize("name", ["ttl", "mcastttl"])
@both_domains
def test_distances(domain, name, is_bound):
    """NET-6: 1 to 255 hops, before and after the bind; others are a ValueError or TypeError and change nothing."""
    options = {
        "ttl": (socket.IP_TTL, socket.IPV6_UNICAST_HOPS),
        "mcastttl": (socket.IP_MULTICAST_TTL, socket.IPV6_MULTICAST_HOPS),
    }
    with bound(domain) if is_bound else system.socket("datagram", domain) as made:
        for hops in (1, 2, 3, 123, 128, 255):
            assert made.setoption(name, hops) is True
            assert asked(made, domain, *options[name]) == hops
        for hops in (-1, 0, 256, 257, 1 << 31, 1 << 64):
            with pytest.raises(ValueError, match=f"value of {name} "):
                made.setoption(name, hops)
        for hops in (True, 1.0, "1", None):
            with pytest.raises(TypeError, match=f"value of {name} "):
                made.setoption(name, hops)
        assert asked(made, domain, *options[name]) == 255


def test_interface():
    """NET-7: a literal is taken, anything else is EINVAL, None leaves the choice to the system again."""
    with system.socket("datagram", "ipv4") as made:
        for literal, told in (("127.0.0.1", "127.0.0.1"), (None, "0.0.0.0")):
            assert made.setoption("mcastiface", literal) is True
            with as_plain(made) as plain:
                raw = plain.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4)
            assert socket.inet_ntoa(raw) == told
        for wrong in ("localhost", "", "127.0.0", "127.0.0.1:80", "1270.0.0.1", "ü", "lo", "1" * 1000):
            with pytest.raises(OSError, match=r"^EINVAL: .*\(uv_udp_set_multicast_interface\)$"):
                made.setoption("mcastiface", wrong)
        with pytest.raises(OSError, match="EADDRNOTAVAIL"):
            made.setoption("mcastiface", "203.0.113.77")


@both_domains
def test_interface_of_ipv6(domain):
    """NET-7: an IPv6 interface is known by its zone; an IPv6 socket takes an IPv4 literal, too; None resets both."""
    if domain == "ipv4":
        with system.socket("datagram", "ipv4") as made, pytest.raises(OSError, match=r"ENOPROTOOPT|EINVAL"):
            made.setoption("mcastiface", "::1%lo")
        return
    number = socket.if_nametoindex("lo")
    with system.socket("datagram", "ipv6") as made:
        for literal, told in (("::1%lo", number), (None, 0), ("::1%lo", number), ("::1", 0)):
            assert made.setoption("mcastiface", literal) is True
            with as_plain(made) as plain:
                assert plain.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF) == told
        assert made.setoption("mcastiface", "127.0.0.1") is True
        assert made.setoption("mcastiface", None) is True
        with as_plain(made) as plain:
            assert plain.getsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, 4) == bytes(4)


@both_domains
def test_join_and_leave(domain):
    """NET-8: leaving before joining fails; then joins and leaves of all kinds go in pairs."""
    iface, group, (one, two) = multicast(domain), GROUP[domain], SOURCES[domain]
    with system.socket("datagram", domain) as made:
        with pytest.raises(OSError, match=r"EADDRNOTAVAIL.*uv_udp_set_membership"):
            made.setoption("mcastleave", group)
        with pytest.raises(OSError, match=r"(EINVAL|EADDRNOTAVAIL).*uv_udp_set_source_membership"):
            made.setoption("mcastleave", group, iface, one)
        assert made.setoption("mcastjoin", group, iface, one) is True
        assert made.setoption("mcastjoin", group, iface, two) is True
        assert made.setoption("mcastleave", group, iface, two) is True
        assert made.setoption("mcastleave", group, iface, one) is True
        for arguments in ((group, iface), (group,)):
            assert made.setoption("mcastjoin", *arguments) is True
            with pytest.raises(OSError, match="EADDRINUSE"):
                made.setoption("mcastjoin", *arguments)
            assert made.setoption("mcastleave", *arguments) is True
            with pytest.raises(OSError, match="EADDRNOTAVAIL"):
                made.setoption("mcastleave", *arguments)


@both_domains
def test_wrong_groups(domain):
    """NET-8: a host name as group, interface or source is EINVAL; so is an address of the other family."""
    group, (source, _) = GROUP[domain], SOURCES[domain]
    cases = [("localhost",), ("",), ("1" * 1000,), (group, "localhost"), (group, None, "localhost"), ("ü",)]
    if domain == "ipv4":
        cases += [(group, "::1"), (group, None, "::1"), (group, "127.0.0.1", "::1")]
    else:
        cases += [(group, "127.0.0.1"), (group, "127.0.0.1", source)]
    with system.socket("datagram", domain) as made:
        for name in ("mcastjoin", "mcastleave"):
            for arguments in cases:
                with pytest.raises(OSError, match=r"^EINVAL: .*membership\)$"):
                    made.setoption(name, *arguments)
            with pytest.raises(OSError, match=r"EINVAL|EADDRNOTAVAIL|ENODEV"):
                made.setoption(name, LITERAL[domain])


@both_domains
def test_groups_of_the_other_family(domain):
    """NET-8: an IPv4 socket says ENOPROTOOPT to an IPv6 group; an IPv6 socket takes IPv4 groups, too."""
    with system.socket("datagram", domain) as made:
        if domain == "ipv4":
            with pytest.raises(OSError, match="ENOPROTOOPT"):
                made.setoption("mcastjoin", GROUP["ipv6"])
            with pytest.raises(OSError, match="ENOPROTOOPT"):
                made.setoption("mcastjoin", GROUP["ipv6"], None, "::1")
        else:
            multicast("ipv4")
            assert made.setoption("mcastjoin", GROUP["ipv4"], "127.0.0.1") is True
            assert made.setoption("mcastleave", GROUP["ipv4"], "127.0.0.1") is True


def test_multicast_arrives(go):
    """Two sockets share a port and join a group: both get what is sent to it; who stays goes on to get it."""
    iface = multicast("ipv4")
    with (
        system.socket("datagram", "ipv4") as one,
        system.socket("datagram", "ipv4") as two,
        system.socket("datagram", "ipv4") as sender,
    ):
        one.bind(system.address("ipv4"), reuse=True)
        port = one.getaddress().port
        two.bind(system.address("ipv4", "0.0.0.0", port), reuse=True)
        to = system.address("ipv4", GROUP["ipv4"], port)
        found = []
        for each in (one, two):
            each.setoption("mcastjoin", to.literal, iface)
            go(lambda each=each: found.append((each, *each.receive())))
        sender.setoption("mcastiface", iface)
        sender.send(b"to all", to)
        assert system.run() is False
        assert {each for each, _, _ in found} == {one, two}
        assert {(data, address.literal) for _, data, address in found} == {(b"to all", "127.0.0.1")}
        two.setoption("mcastleave", to.literal, iface)
        sender.send(b"to one", to)
        assert one.receive()[0] == b"to one"


def test_one_source_only():
    """A group that is joined for one source brings nothing from others."""
    iface = multicast("ipv4")
    with bound_anywhere() as ours, bound("ipv4") as sender, system.socket("datagram", "ipv4") as other:
        other.bind(system.address("ipv4", "127.0.0.2", 0))
        ours.setoption("mcastjoin", GROUP["ipv4"], iface, "127.0.0.2")
        to = system.address("ipv4", GROUP["ipv4"], ours.getaddress().port)
        for each in (sender, other, sender, other):
            each.setoption("mcastiface", iface)
            each.send(str(each.getaddress()).encode(), to)
        assert [ours.receive()[1] for _ in range(2)] == [other.getaddress()] * 2


def bound_anywhere():
    made = system.socket("datagram", "ipv4")
    made.bind(system.address("ipv4"))
    return made


def test_broadcast():
    """NET-5: a broadcast needs the option, EACCES tells; it reaches a socket that is bound to all addresses."""
    with bound_anywhere() as ours, system.socket("datagram", "ipv4") as sender:
        to = system.address("ipv4", "127.255.255.255", ours.getaddress().port)
        with pytest.raises(PermissionError, match=r"EACCES.*uv_udp_send"):
            sender.send(b"to all", to)
        sender.setoption("broadcast", True)
        assert sender.send(b"to all", to) is True
        assert ours.receive()[0] == b"to all"
        sender.setoption("broadcast", False)
        with pytest.raises(PermissionError):
            sender.send(b"to all", to)


def test_both_families_on_one_socket():
    """An IPv6 socket that is bound to all addresses gets what is sent by IPv4, from a mapped address, and answers."""
    try:
        ours = system.socket("datagram", "ipv6")
        ours.bind(system.address("ipv6"))
    except OSError:
        pytest.skip("this machine has no ipv6")
    with ours, plain_peer("ipv4") as peer:
        peer.sendto(b"by IPv4", ("127.0.0.1", ours.getaddress().port))
        data, sender = ours.receive()
        assert (data, sender.literal) == (b"by IPv4", "::ffff:127.0.0.1")
        assert ours.send(b"answer", sender) is True
        assert drained(peer) == [b"answer"]


def test_zone_of_a_link_local_sender():
    """The sender's address tells its interface, so that it can be answered."""
    literal = link_local()
    with system.socket("datagram", "ipv6") as ours, system.socket("datagram", "ipv6") as other:
        for each in (ours, other):
            address = system.address("ipv6", literal.partition("%")[0], 0)
            address.scope = socket.if_nametoindex(literal.partition("%")[2])
            each.bind(address)
        other.send(b"x", ours.getaddress())
        data, sender = ours.receive()
        assert (data, sender, sender.scope > 0) == (b"x", other.getaddress(), True)
        assert ours.send(b"y", sender) is True
        assert other.receive()[0] == b"y"


def link_local():
    """Return a link-local address of this machine with its interface; skip if there is none."""
    try:
        with open("/proc/net/if_inet6", encoding="ascii") as table:
            rows = [line.split() for line in table]
    except OSError:
        rows = []
    for binary, _, _, _, flags, name in rows:
        if binary.startswith("fe80") and not int(flags, 16) & 0x40:  # not tentative
            return f"{socket.inet_ntop(socket.AF_INET6, bytes.fromhex(binary))}%{name}"
    pytest.skip("this machine has no link-local address")
    return None


def test_closed_sockets_set_no_options():
    """STR-2: every option of a closed socket is `Closed`; wrong arguments are told first."""
    with system.socket("datagram", "ipv4") as made:
        pass
    for name, value in (("broadcast", True), ("mcastloop", True), ("ttl", 1), ("mcastttl", 1), ("mcastiface", None)):
        with pytest.raises(Closed, match=r"datagram ipv4( .*)? "):
            made.setoption(name, value)
    for name in ("mcastjoin", "mcastleave"):
        with pytest.raises(Closed):
            made.setoption(name, GROUP["ipv4"])
    with pytest.raises(ValueError, match="1 to 255"):
        made.setoption("ttl", 0)


@pytest.mark.parametrize("name", METHODS["datagram"])
def test_other_threads_may_not_use_a_socket(name, go):
    """Each method raises `ForeignThread` in another OS thread, while a coroutine waits; the socket goes on."""
    log, told = [], []
    with sockets("ipv4") as (ours, other):
        go(lambda: log.append(ours.receive()[0]))
        thread = threading.Thread(target=lambda: told.append(failure(METHODS["datagram"][name], ours)))
        thread.start()
        thread.join(10)
        assert [type(error) for error in told] == [ForeignThread]
        other.send(b"x", ours.getaddress())
        assert system.run() is False
        assert log == [b"x"]


def test_the_child_of_a_fork():
    """The child may use the socket for nothing, also not to get what was taken ahead; the parent goes on."""
    told = output_of(
        """
        import os
        from coutil import system

        def name(call, *arguments):
            try:
                return str(call(*arguments))
            except Exception as error:
                return type(error).__name__

        ours, other = system.socket("datagram", "ipv4"), system.socket("datagram", "ipv4")
        for each in (ours, other):
            each.bind(system.address("ipv4", "127.0.0.1", 0))
        to = ours.getaddress()
        for number in range(8):
            other.send(b"%d" % number, to)
        for number in range(6):
            ours.receive()
        if not os.fork():
            calls = [(ours.receive,), (ours.receive_into, bytearray(8)), (other.receive,), (other.send, b"x", to)]
            print(*(name(*call) for call in calls), flush=True)
            os._exit(0)
        os.wait()
        print(ours.receive()[0].decode(), ours.receive()[0].decode(), flush=True)
        """
    )
    assert told == ["Forked Forked Forked Forked", "6 7"]
