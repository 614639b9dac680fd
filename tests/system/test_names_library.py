"""`system.findaddr` and `system.nameaddr` against the standard library: the same results, or the same errors."""

import random
import socket

import pytest

from coutil import errors, system

SOCKTYPE = {socket.SOCK_STREAM: "stream", socket.SOCK_DGRAM: "datagram"}
DOMAIN = {socket.AF_INET: "ipv4", socket.AF_INET6: "ipv6"}
WIDE = "\uff11\uff12\uff17.0.0.1"  # 127 in wide digits
NAMES = ["localhost", "LOCALHOST"]
LITERALS = [None, "*", "127.0.0.1", "127.1", "0x7f.1", "::1", "::ffff:127.0.0.1", "fe80::1%lo", "0", "2130706433", WIDE]
NO_LITERALS = ["127.0.0.256", "1::2::3", "fe80::1%nothing", "127.0.0.1 x", "nosuchhost"]
SERVICES = ["http", "ssh", "domain", "ntp", "tftp", "nosuchservice", "HTTP", 0, 1, 80, 65535, "0", "80", "65535", "007"]
OPTIONS = ["ipv4", "ipv6", "mapped", "datagram", "stream", "numeric"]


def draw(chance):
    """Return (name, service, options) at random; nothing that the network would be asked for."""
    options = {option: True for option in OPTIONS if chance.random() < 0.3}
    names = list(LITERALS)
    if "numeric" in options:
        names += NAMES + NO_LITERALS
    elif "mapped" not in options and ("ipv4" in options or "ipv6" not in options):
        names += NAMES * 4
    return chance.choice(names), chance.choice([None, *SERVICES]), options


def by_us(name, service, options):
    """Return what we find, or the kind of error."""
    try:
        found = system.findaddr(name, service, **options)
    except errors.UVError as error:
        return error.name
    except ValueError:
        return "ValueError"
    return [(one.type, one.literal, one.port, one.scope, kind) for one, kind in found]


def by_the_library(name, service, options):
    """Return what `socket.getaddrinfo` finds, or the kind of error, in the same form."""
    ipv4, ipv6, mapped = (options.get(name, False) for name in ("ipv4", "ipv6", "mapped"))
    if (name in (None, "*") and service is None) or (mapped and ipv4 and not ipv6):
        return "ValueError"
    only = mapped or ipv4 is not ipv6
    family = (socket.AF_INET6 if ipv6 or mapped else socket.AF_INET) if only else socket.AF_UNSPEC
    kinds = [kind for kind, option in SOCKTYPE.items() if options.get(option)]
    flags = 0 if ipv4 or ipv6 or mapped else socket.AI_ADDRCONFIG
    flags |= socket.AI_V4MAPPED if mapped else 0
    flags |= socket.AI_ALL if mapped and ipv4 else 0
    flags |= socket.AI_NUMERICHOST if options.get("numeric") else 0
    flags |= socket.AI_PASSIVE if name == "*" else 0
    flags |= socket.AI_NUMERICSERV if str(service).isdigit() else 0
    kind = kinds[0] if len(kinds) == 1 else 0
    try:
        found = socket.getaddrinfo(None if name == "*" else name, service, family, kind, 0, flags)
    except socket.gaierror as error:
        codes = {getattr(socket, each): each for each in dir(socket) if each.startswith("EAI_")}
        return codes[error.errno]
    usable = [(family, kind, where) for family, kind, _, _, where in found if kind in SOCKTYPE]
    return [
        (DOMAIN[family], *plain(where), "passive" if name == "*" and SOCKTYPE[kind] == "stream" else SOCKTYPE[kind])
        for family, kind, where in usable
    ] or "EAFNOSUPPORT"


def plain(where):
    """Return literal, port and scope of a socket address."""
    return where[0].partition("%")[0], where[1], where[3] if len(where) == 4 else 0


def compare(count, seed):
    """Compare `count` look-ups with arguments drawn at random; return how many found something."""
    chance, successes = random.Random(seed), 0
    for _ in range(count):
        drawn = draw(chance)
        ours = by_us(*drawn)
        assert ours == by_the_library(*drawn), drawn
        successes += isinstance(ours, list)
    return successes


@pytest.mark.parametrize("seed", range(4))
def test_finds_what_the_library_finds(seed):
    """B70: the same addresses in the same order, or the same error."""
    assert 30 < compare(100, seed) < 90


@pytest.mark.fuzz
def test_finds_what_the_library_finds_in_2000_cases():
    """B70: as above, with other arguments each time."""
    seed = random.randrange(1 << 30)
    print("seed", seed)
    assert compare(2000, seed) > 500


@pytest.mark.parametrize("port", [0, 22, 53, 69, 80, 123, 64999])
def test_names_what_the_library_names(port):
    """B70: an address of this machine and some ports."""
    where = system.address("ipv4", "127.0.0.1", port)
    for flags, options in ((0, {}), (socket.NI_DGRAM, {"datagram": True}), (socket.NI_NOFQDN, {"local": True})):
        named = socket.getnameinfo(("127.0.0.1", port), flags)
        assert system.nameaddr(where, **options) == named
        if not flags & socket.NI_NOFQDN:
            assert system.nameaddr(port, **options) == named[1]
