"""Addresses: IPv4 and IPv6 values that can be written in four ways, changed, and compared."""

from __future__ import annotations

import errno
import ipaddress
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coutil import system
from coutil.errors import UVError
from coutil.system import Address, address

FORMS = [  # domain, literal, port, URI, bytes
    ("ipv4", "192.168.0.1", 8080, "192.168.0.1:8080", b"\xc0\xa8\x00\x01"),
    ("ipv4", "0.0.0.0", 0, "0.0.0.0:0", bytes(4)),
    ("ipv4", "255.255.255.255", 65535, "255.255.255.255:65535", b"\xff" * 4),
    ("ipv6", "::ffff:192.168.0.1", 8888, "[::ffff:192.168.0.1]:8888", bytes(10) + b"\xff\xff\xc0\xa8\x00\x01"),
    ("ipv6", "::", 0, "[::]:0", bytes(16)),
    ("ipv6", "::1", 65535, "[::1]:65535", bytes(15) + b"\x01"),
]
LITERALS = [  # domain, as it is written, as it is shown, bytes
    ("ipv4", "10.20.30.40", "10.20.30.40", bytes([10, 20, 30, 40])),
    ("ipv4", "127.0.0.1", "127.0.0.1", b"\x7f\x00\x00\x01"),
    ("ipv6", "1::f", "1::f", b"\x00\x01" + bytes(13) + b"\x0f"),
    ("ipv6", "1:203:405:607:809:a0b:c0d:e0f", "1:203:405:607:809:a0b:c0d:e0f", b"\x00" + bytes(range(1, 16))),
    ("ipv6", "0001:0203:0405::0809:0A0B", "1:203:405::809:a0b", bytes([0, 1, 2, 3, 4, 5, *[0] * 6, 8, 9, 10, 11])),
    ("ipv6", "::FFFF:1.2.3.4", "::ffff:1.2.3.4", bytes(10) + b"\xff\xff\x01\x02\x03\x04"),
]
SIZES = {"ipv4": 4, "ipv6": 16}
FAMILIES = {"ipv4": socket.AF_INET, "ipv6": socket.AF_INET6}

domains = st.sampled_from(["ipv4", "ipv6"])
ports = st.integers(0, 65535)


@st.composite
def addresses(draw, domain=None):
    """An address of any kind."""
    domain = domain or draw(domains)
    return address(domain, draw(st.binary(min_size=SIZES[domain], max_size=SIZES[domain])), draw(ports), binary=True)


def assert_shows(made, domain, literal, port, uri, binary):
    assert (made.type, made.literal, made.port, made.binary, str(made)) == (domain, literal, port, binary, uri)
    assert repr(made) == f"<Address {domain} {uri}>"
    assert type(made.binary) is bytes


# -- ADR-1, ADR-2: creation


@pytest.mark.parametrize(("domain", "uri"), [("ipv4", "0.0.0.0:0"), ("ipv6", "[::]:0")])
def test_empty(domain, uri):
    """ADR-1: no data is all zeros, and equal to another empty one."""
    made = address(domain)
    assert_shows(made, domain, uri.rpartition(":")[0].strip("[]"), 0, uri, bytes(SIZES[domain]))
    assert made == address(domain)
    assert address(domain, None, 80).port == 80


@pytest.mark.parametrize(("domain", "literal", "port", "uri", "binary"), FORMS)
def test_forms(domain, literal, port, uri, binary):
    """ADR-2: URI, literal with port, and bytes with port give equal addresses that show the same."""
    made = [
        address(domain, uri),
        address(domain, literal, port),
        address(domain, binary, port, binary=True),
        address(domain, bytearray(binary), port, binary=True),
        address(domain, memoryview(binary), port, binary=True),
        address(type=domain, data=literal, port=port, binary=False),
    ]
    for one in made:
        assert_shows(one, domain, literal, port, uri, binary)
        assert one == made[0]
        assert one != address(domain, "[1::2]:3" if domain == "ipv6" else "1.2.3.4:5")


def test_it_is_a_value():
    """ADR-2: family, bytes and port are compared, nothing else; it is mutable, hence not hashable."""
    made = address("ipv4", "1.2.3.4:5")
    assert made != address("ipv4", "1.2.3.4:6")
    assert made != address("ipv4", "1.2.3.5:5")
    assert address("ipv4") != address("ipv6")
    assert made != "1.2.3.4:5"
    assert made != ("1.2.3.4", 5)
    with pytest.raises(TypeError, match="unhashable"):
        hash(made)


def test_scope_is_not_compared():
    """ADR-2: the interface of a link-local address travels with it, and does not make it another address."""
    first, second = address("ipv6", "fe80::1", 80), address("ipv6", "fe80::1", 80)
    assert first.scope == 0
    first.scope = 2
    assert first == second
    assert str(first) == str(second)


# -- ADR-3, ADR-4: attributes


@pytest.mark.parametrize(("domain", "written", "shown", "binary"), LITERALS)
def test_literal_and_binary_agree(domain, written, shown, binary):
    """ADR-3: each can be changed, the other one follows; everything can be restored."""
    made = address(domain, None, 80)
    made.literal = written
    assert (made.literal, made.binary, made.port) == (shown, binary, 80)
    made.binary = bytes(SIZES[domain])
    assert made == address(domain, None, 80)
    made.binary = bytearray(binary)
    assert (made.literal, made.binary, made.port) == (shown, binary, 80)
    made.literal = shown
    assert made.binary == binary


@pytest.mark.parametrize("domain", ["ipv4", "ipv6"])
def test_port_can_be_changed(domain):
    """ADR-3: and restored."""
    made = address(domain)
    for port in (65535, 1, 54321, 0):
        made.port = port
        assert made.port == port
        assert str(made).endswith(f":{port}")
    assert made == address(domain)


def test_failed_changes_change_nothing():
    """ADR-3: an attribute keeps its value when the new one is refused."""
    made = address("ipv4", "1.2.3.4:5")
    for name, bad, error in (
        ("literal", "1.2.3", UVError),
        ("literal", "::1", UVError),
        ("literal", b"1.2.3.4", TypeError),
        ("literal", None, TypeError),
        ("binary", bytes(16), ValueError),
        ("binary", b"", ValueError),
        ("binary", "abcd", TypeError),
        ("binary", 4, TypeError),
        ("port", -1, ValueError),
        ("port", 65536, ValueError),
        ("port", "80", TypeError),
        ("port", True, TypeError),
        ("port", 80.0, TypeError),
        ("port", None, TypeError),
        ("scope", -1, ValueError),
        ("scope", 2**32, ValueError),
        ("scope", "lo", TypeError),
        ("scope", None, TypeError),
        ("scope", True, TypeError),
    ):
        with pytest.raises(error):
            setattr(made, name, bad)
        assert made == address("ipv4", "1.2.3.4:5")


@pytest.mark.parametrize("name", ["host", "Literal", "address", "family", "uri"])
def test_unknown_attributes(name):
    """ADR-4: reading and writing them is an AttributeError."""
    made = address("ipv4")
    with pytest.raises(AttributeError):
        getattr(made, name)
    with pytest.raises(AttributeError):
        setattr(made, name, "127.0.0.1")
    with pytest.raises(AttributeError):
        made.type = "ipv6"
    assert made == address("ipv4")


# -- ADR-5: what is refused


@pytest.mark.parametrize("bad", ["ip", "", "IPv4", "ipv5", "file"])
def test_bad_type(bad):
    """ADR-5: an unknown family is a ValueError naming both, in every form."""
    for arguments in ((), ("1.2.3.4:5",), ("1.2.3.4", 5), (bytes(4), 5)):
        with pytest.raises(ValueError, match='type must be "ipv4" or "ipv6"'):
            address(bad, *arguments)


@pytest.mark.parametrize("bad", [None, 4, True, b"ipv4", [], address])
def test_type_is_a_string(bad):
    """ADR-5: anything else is a TypeError."""
    for arguments in ((), ("1.2.3.4:5",)):
        with pytest.raises(TypeError, match="type "):
            address(bad, *arguments)


@pytest.mark.parametrize("domain", ["ipv4", "ipv6"])
@pytest.mark.parametrize("bad", [True, 3, 0.5, b"1.2.3.4", b"1.2.3.4:5", [], address])
def test_bad_data(domain, bad):
    """ADR-5: text is text; data of another type are a TypeError, alone and with a port."""
    for arguments in ((bad,), (bad, 80)):
        with pytest.raises(TypeError, match="must be a string"):
            address(domain, *arguments)


@pytest.mark.parametrize("domain", ["ipv4", "ipv6"])
@pytest.mark.parametrize("bad", [True, 3, "abcd", "1.2.3.4", [1, 2, 3, 4]])
def test_bad_binary_data(domain, bad):
    """ADR-5: binary data are bytes; the flag is a bool; they need a port."""
    with pytest.raises(TypeError, match="binary data "):
        address(domain, bad, 80, binary=True)
    with pytest.raises(TypeError, match="binary "):
        address(domain, bytes(SIZES[domain]), 80, binary=1)
    with pytest.raises(ValueError, match="binary data needs a port"):
        address(domain, bytes(SIZES[domain]), binary=True)


@pytest.mark.parametrize(("domain", "sizes"), [("ipv4", (0, 3, 5, 16)), ("ipv6", (0, 4, 15, 17))])
def test_binary_of_wrong_length(domain, sizes):
    """ADR-5: ValueError telling the right length."""
    for size in sizes:
        with pytest.raises(ValueError, match=f"must have {SIZES[domain]} bytes, not {size}"):
            address(domain, bytes(size), 80, binary=True)


@pytest.mark.parametrize("bad", ["80", 80.0, True, b"80", [], address])
def test_port_is_an_int(bad):
    """ADR-5: anything else is a TypeError, whatever the data are."""
    for data, binary in ((None, False), ("1.2.3.4", False), (bytes(4), True)):
        with pytest.raises(TypeError, match="port "):
            address("ipv4", data, bad, binary=binary)


@pytest.mark.parametrize("bad", [-1, 65536, 2**64])
def test_port_out_of_range(bad):
    """ADR-5: ValueError."""
    for data, binary in ((None, False), ("1.2.3.4", False), (bytes(4), True)):
        with pytest.raises(ValueError, match="port "):
            address("ipv4", data, bad, binary=binary)


@pytest.mark.parametrize(
    ("domain", "bad"),
    [
        ("ipv4", "192.168.0.1"),
        ("ipv4", "192.168.0.1:"),
        ("ipv4", ""),
        ("ipv6", "[::1]"),
        ("ipv6", "[::1]:"),
        ("ipv6", "::1:"),
    ],
)
def test_uri_without_port(domain, bad):
    """ADR-5: ValueError."""
    with pytest.raises(ValueError, match="port"):
        address(domain, bad)
    assert address(domain, f"{'[::1]' if domain == 'ipv6' else '127.0.0.1'}:8").port == 8


@pytest.mark.parametrize("bad", ["65536", "-8080", "0x1f90", "+80", " 80", "80 ", "8_0", "٨٠", "99999999999", "1e3"])
@pytest.mark.parametrize(("domain", "host"), [("ipv4", "127.0.0.1"), ("ipv6", "[::1]")])
def test_uri_with_bad_port(domain, host, bad):
    """ADR-5: ValueError; only decimal digits are a port."""
    with pytest.raises(ValueError, match="port"):
        address(domain, f"{host}:{bad}")
    assert address(domain, f"{host}:80").port == 80


@pytest.mark.parametrize(
    ("domain", "bad"),
    [
        ("ipv4", "localhost"),
        ("ipv4", "291.168.0.1"),
        ("ipv4", "1.2.3"),
        ("ipv4", "1.2.3.4.5"),
        ("ipv4", "1.2.3.4 "),
        ("ipv4", "0x7f.0.0.1"),
        ("ipv4", "::1"),
        ("ipv4", "1.2.3.4\0"),
        ("ipv4", "\udc80"),
        ("ipv6", "localhost"),
        ("ipv6", "1.2.3.4"),
        ("ipv6", "::1::"),
        ("ipv6", "12345::"),
        ("ipv6", "[::1]"),
        ("ipv6", "::1\0"),
        ("ipv6", ":" * 1000),
    ],
)
def test_text_that_is_no_address(domain, bad):
    """ADR-5: EINVAL, in both forms: names are looked up elsewhere."""
    uri = f"[{bad}]:80" if domain == "ipv6" else f"{bad}:80"
    for arguments in ((bad, 80), (uri,)):
        with pytest.raises(UVError) as caught:
            address(domain, *arguments)
        assert (caught.value.name, caught.value.errno, caught.value.code) == ("EINVAL", errno.EINVAL, -errno.EINVAL)
        assert f"is not an {domain} address" in str(caught.value)


def test_ipv6_uri_needs_brackets():
    """ADR-5: without them the port would be a matter of taste."""
    for bad in ("::1:80", "[::1:80", "::1]:80", "1.2.3.4:80"):
        with pytest.raises(ValueError, match=r"must look like \[::1\]:80"):
            address("ipv6", bad)
    assert str(address("ipv6", "[::1]:80")) == "[::1]:80"


# -- round trips


@given(addresses())
def test_round_trips(made):
    """ADR-2, ADR-3: text, bytes and URI of any address lead back to it."""
    assert address(made.type, str(made)) == made
    assert address(made.type, made.literal, made.port) == made
    assert address(made.type, made.binary, made.port, binary=True) == made


@given(addresses())
def test_same_text_as_others_show(made):
    """ADR-3: bytes are those of the ipaddress module, the text is that of the C library."""
    assert ipaddress.ip_address(made.literal).packed == made.binary
    assert made.literal == socket.inet_ntop(FAMILIES[made.type], made.binary)
    assert len(made.binary) == SIZES[made.type]


@given(domains.flatmap(lambda domain: st.tuples(addresses(domain), addresses(domain))))
def test_attributes_make_the_address(two):
    """ADR-3: assigning the attributes of one address to another makes them equal, and only then are they."""
    first, second = two
    same = (first.binary, first.port) == (second.binary, second.port)
    assert (first == second) is same
    first.literal, first.port = second.literal, second.port
    assert first == second
    assert str(first) == str(second)


@pytest.mark.slow
@given(st.text(max_size=60), domains)
def test_any_text(text, domain):
    """ADR-5: whatever is written, the answer is an address, a ValueError, or EINVAL."""
    try:
        made = address(domain, text)
    except (ValueError, UVError) as error:
        name = getattr(error, "name", "")
        made = None
    assert name == "EINVAL" if made is None and name else made is None or address(domain, str(made)) == made


# -- sockets take and return them


def test_of_a_socket():
    """ADR-3: what a socket was bound to comes back, into an address of ours if wanted."""
    with system.socket("passive", "ipv4") as passive:
        passive.bind(address("ipv4", "127.0.0.1:0"))
        found = passive.getaddress()
        assert (type(found), found.literal, found.port > 0) == (Address, "127.0.0.1", True)
        mine = address("ipv4")
        assert passive.getaddress("self", mine) is mine
        assert mine == found
        with pytest.raises(ValueError, match="wrong domain"):
            passive.getaddress("self", address("ipv6"))
