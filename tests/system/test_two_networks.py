"""Two machines, as far as the network is concerned: two namespaces of the system, joined by a virtual cable.

The programs in them are children of the test. Without root, or without ip(8), nothing of this can be tested.
"""

from textwrap import dedent

import pytest

from tests.helpers.netns import ip, namespaces

NEAR = """
    10.77.0.2      both
    fd77::2        both
    10.77.0.2      silent6
    fd77::99       silent6
    10.77.0.99     silent4
    fd77::2        silent4
    10.77.0.2      hole6
    fd77:dead::1   hole6
    127.0.0.1      localhost
    ::1            localhost
"""
SERVER = """
from coutil import spawn, system

def echo(stream):
    with stream:
        while data := stream.receive():
            stream.send(data)

def serve(listener):
    while True:
        spawn.call(echo, listener.accept())

for domain, literal, port in (("ipv4", "10.77.0.2", 7777), ("ipv6", "fd77::2", 7777), ("ipv6", "fe80::2", 7778)):
    listener = system.socket("passive", domain)
    address = system.address(domain, literal, port)
    address.scope = scope if literal.startswith("fe80") else 0
    listener.bind(address)
    listener.listen(16)
    spawn.call(serve, listener)
print("ready", flush=True)
system.run()
"""
PRELUDE = """
import socket, time
from coutil import errors, spawn, system
from coutil.scopes import timeout

def outcome(call, *arguments):
    try:
        return call(*arguments)
    except OSError as error:
        return error.name

def stream(domain, literal, port, scope=0):
    made, to = system.socket("stream", domain), system.address(domain, literal, port)
    to.scope = scope
    made.connect(to)
    return made
"""


def program(text):
    """Return a script that begins with what all of them need."""
    return PRELUDE + dedent(text)


@pytest.fixture(scope="module")
def machines():
    """Two namespaces with addresses of both families, link-local ones included; the second one serves echoes."""
    with namespaces(NEAR, "127.0.0.1 localhost") as (near, far):
        ip(f"link add near netns {near.name} type veth peer name far netns {far.name}")
        for one, device, number in ((near, "near", 1), (far, "far", 2)):
            ip(
                f"""
                link set {device} addrgenmode none up
                addr add 10.77.0.{number}/24 broadcast 10.77.0.255 dev {device}
                addr add fd77::{number}/64 dev {device} nodad
                addr add fe80::{number}/64 dev {device} nodad
                """,
                *("-n", one.name),
            )
        ip(
            """
            route add blackhole fd77:dead::1
            route add unreachable 10.78.0.0/24
            route add prohibit 10.79.0.0/24
            """,
            *("-n", near.name),
        )
        server = far.start("import socket; scope = socket.if_nametoindex('far')\n" + SERVER)
        with server:
            try:
                assert server.stdout.readline() == "ready\n"
                yield near, far
            finally:
                server.kill()


def test_echo_between_two_machines(machines):
    """Megabytes there and back, over both families; each end knows the other's address."""
    near, _ = machines
    lines = near.output_of(
        program("""
        data = bytes(range(256)) * 8192
        def talk(domain, literal):
            with stream(domain, literal, 7777) as to:
                ends = to.getaddress("peer"), to.getaddress().literal
                spawn.call(lambda: (to.send(data), to.shutdown()))
                got = bytearray()
                while part := to.receive():
                    got += part
                print(domain, got == data, *ends)
        for target in (("ipv4", "10.77.0.2"), ("ipv6", "fd77::2")):
            spawn.call(talk, *target)
        system.run()
        """)
    )
    assert sorted(lines) == ["ipv4 True 10.77.0.2:7777 10.77.0.1", "ipv6 True [fd77::2]:7777 fd77::1"]


def test_connect_falls_over(machines):
    """RFC 8305: an address that no one answers at holds `connect` up for a quarter of a second, and no longer.

    IPv6 goes first; one that is refused at once costs no time; nothing is left of an attempt that was overtaken.
    """
    near, _ = machines
    lines = near.output_of(
        program("""
        import os
        def connected(host):
            before, begin = len(os.listdir("/proc/self/fd")), time.monotonic()
            with timeout(5), system.connect(host, 7777) as made:
                took = time.monotonic() - begin
                made.send(b"x")
                assert made.receive() == b"x"
                peer = made.getaddress("peer").literal
            system.run("ready")
            system.run("ready")
            print(host, peer, f"{took:.3f}", len(os.listdir("/proc/self/fd")) - before)
        connected("both")
        for host in ("both", "silent6", "silent4", "hole6"):
            connected(host)
        """)
    )
    found = {host: (peer, float(took), int(left)) for host, peer, took, left in map(str.split, lines)}
    assert {host: peer for host, (peer, _, _) in found.items()} == {
        "both": "fd77::2",
        "silent6": "10.77.0.2",
        "silent4": "fd77::2",
        "hole6": "10.77.0.2",
    }
    assert 0.25 <= found["silent6"][1] < 0.5
    assert max(found[host][1] for host in ("both", "silent4", "hole6")) < 0.25
    assert {left for _, _, left in found.values()} == {0}


def test_what_cannot_be_reached(machines):
    """Each reason has its own name and class: no route, a forbidden one, no such machine, no one who listens."""
    near, _ = machines
    lines = near.output_of(
        program("""
        targets = {"no route": "10.80.0.1", "unreachable": "10.78.0.1"}
        targets |= {"prohibited": "10.79.0.1", "refused": "10.77.0.2"}
        for what, literal in targets.items():
            try:
                stream("ipv4", literal, 9)
            except OSError as error:
                print(what, error.name, isinstance(error, (PermissionError, ConnectionRefusedError)), error.syscall)
        with system.socket("datagram", "ipv4") as made:
            print(*(outcome(made.send, b"x", system.address("ipv4", at, 9)) for at in targets.values()))
        try:
            system.connect("hole6", 9)
        except errors.UVError as error:
            print(error, *error.__notes__, sep="\\n")
        """)
    )
    assert lines[:5] == [
        "no route ENETUNREACH False uv_tcp_connect",
        "unreachable EHOSTUNREACH False uv_tcp_connect",
        "prohibited EACCES True uv_tcp_connect",
        "refused ECONNREFUSED True uv_tcp_connect",
        "ENETUNREACH EHOSTUNREACH EACCES True",
    ]
    assert lines[5:] == [
        "EINVAL: invalid argument (uv_tcp_connect): '[fd77:dead::1]:9'",
        "also tried: ECONNREFUSED: connection refused (uv_tcp_connect): '10.77.0.2:9'",
    ]


def test_datagrams_to_many(machines):
    """Multicast, for members only, and broadcast, if it is allowed, arrive at the other machine, with the sender."""
    near, far = machines
    receiving = program("""
        groups = [("ipv4", 7778, "239.77.1.4", "10.77.0.2"), ("ipv6", 7779, "ff12::4d01:4", "fd77::2%far")]
        def receive(domain, port, group, iface):
            with system.socket("datagram", domain) as made:
                made.bind(system.address(domain, None, port))
                made.setoption("mcastjoin", group, iface)
                joined.append(domain)
                for _ in range(1 + (domain == "ipv4")):
                    data, sender = made.receive()
                    print(domain, data.decode(), sender.literal, flush=True)
        joined = []
        for group in groups:
            spawn.call(receive, *group)
        print(*joined, flush=True)
        system.run()
    """)
    sending = program("""
        groups = [("ipv4", 7778, "239.77.1.4", "10.77.0.1"), ("ipv6", 7779, "ff12::4d01:4", "fd77::1%near")]
        for domain, port, group, iface in groups:
            with system.socket("datagram", domain) as made:
                made.bind(system.address(domain, iface.partition("%")[0], 0))
                made.setoption("mcastiface", iface)
                print(made.send(b"others", system.address(domain, group[:-1] + "5", port)))
                print(made.send(b"members", system.address(domain, group, port)))
        with system.socket("datagram", "ipv4") as made:
            everybody = system.address("ipv4", "10.77.0.255", 7778)
            print(outcome(made.send, b"all", everybody))
            made.setoption("broadcast", True)
            print(outcome(made.send, b"all", everybody))
    """)
    with far.start(receiving) as receiver:
        try:
            assert receiver.stdout.readline() == "ipv4 ipv6\n"
            assert near.output_of(sending) == ["True"] * 4 + ["EACCES", "True"]
            got = [receiver.stdout.readline() for _ in range(3)]
            assert (receiver.stdout.read(), receiver.wait(10)) == ("", 0)
        finally:
            receiver.kill()
    assert sorted(got) == ["ipv4 all 10.77.0.1\n", "ipv4 members 10.77.0.1\n", "ipv6 members fd77::1\n"]


def test_scope_of_link_local_addresses(machines):
    """B68: the zone behind the % of an address, a name or a number, is never lost on the way to the system and back."""
    near, _ = machines
    lines = near.output_of(
        program("""
        index = socket.if_nametoindex("near")
        for zone in ("near", str(index)):
            found = system.findaddr(f"fe80::2%{zone}", 7778, stream=True).getaddress()
            with system.connect(f"fe80::2%{zone}", 7778) as made:
                made.send(b"x")
                peer = made.getaddress("peer")
                print(made.receive(), found == peer, {found.scope, peer.scope, made.getaddress().scope} == {index})
        with stream("ipv6", "fe80::2", 7778, index) as made:
            print(made.getaddress("peer"), system.nameaddr(7778))
        print(outcome(stream, "ipv6", "fe80::2", 7778), outcome(stream, "ipv6", "fe80::2", 7778, index + 99))
        print(outcome(system.connect, "fe80::2%nowhere", 7778))
        with system.socket("datagram", "ipv6") as one, system.socket("datagram", "ipv6") as other:
            mine = system.findaddr("fe80::1%near", 0, datagram=True).getaddress()
            for made in (one, other):
                made.bind(mine)
            print(one.send(b"x", other.getaddress()), other.receive()[1].scope == index)
        """)
    )
    assert lines == [
        "b'x' True True",
        "b'x' True True",
        "[fe80::2]:7778 7778",
        "EINVAL ENETUNREACH",
        "EAI_NONAME",
        "True True",
    ]


def test_machine_without_ipv6():
    """B68: where IPv6 is switched off, names bring IPv4 only, and IPv6 addresses are refused by the system."""
    with namespaces("127.0.0.1 localhost\n::1 localhost") as (lonely,):
        lines = lonely.output_of(
            program("""
            for setting in ("all", "default", "lo"):
                with open(f"/proc/sys/net/ipv6/conf/{setting}/disable_ipv6", "w") as switch:
                    switch.write("1")
            with system.socket("passive", "ipv4") as server:
                server.bind(system.address("ipv4", "127.0.0.1", 0))
                server.listen(1)
                port = server.getaddress().port
                begin = time.monotonic()
                with system.connect("localhost", port) as made:
                    print(made.getdomain(), time.monotonic() - begin < 0.2)
            print({address.type for address, _ in system.findaddr("localhost", 1, ipv4=True)})
            print(outcome(stream, "ipv6", "::1", port))
            print(outcome(lambda: system.socket("passive", "ipv6").bind(system.address("ipv6", "::1", 0))))
            print(outcome(system.connect, "::1", port))
            """)
        )
    assert lines == ["ipv4 True", "{'ipv4'}", "EADDRNOTAVAIL", "EADDRNOTAVAIL", "EADDRNOTAVAIL"]
