"""Addresses between text and bytes: the same as Python's socket module has."""

import socket
import struct

import pytest

from coutil import uv

IPV4 = ["0.0.0.0", "127.0.0.1", "255.255.255.255", "1.2.3.4"]
IPV6 = ["::", "::1", "fe80::1", "1:2:3:4:5:6:7:8", "::ffff:1.2.3.4"]
NO_ADDRESS = ["", "localhost", "1.2.3", "1.2.3.256", "1.2.3.4.5", "::1::", "x" * 1000, "127.0.0.1:80", "ü"]


@pytest.mark.parametrize("ip", IPV4)
def test_ipv4(ip):
    """A sockaddr_in, and back."""
    packed = uv.ip4_addr(ip, 8080)
    assert packed == struct.pack("=H", socket.AF_INET) + struct.pack(">H4s8x", 8080, socket.inet_aton(ip))
    assert uv.ip_name(packed) == ip
    assert uv.inet_pton("inet", ip) == uv.inet_pton(socket.AF_INET, ip) == socket.inet_aton(ip)
    assert uv.inet_ntop("inet", socket.inet_aton(ip)) == uv.inet_ntop(socket.AF_INET, socket.inet_aton(ip)) == ip


@pytest.mark.parametrize("ip", IPV6)
def test_ipv6(ip):
    """A sockaddr_in6, and back."""
    binary = socket.inet_pton(socket.AF_INET6, ip)
    packed = uv.ip6_addr(ip, 1)
    assert packed == struct.pack("=H", socket.AF_INET6) + struct.pack(">HI16s", 1, 0, binary) + bytes(4)
    assert uv.ip_name(packed) == uv.ip_name(bytearray(packed)) == ip
    assert uv.inet_pton("inet6", ip) == uv.inet_pton(socket.AF_INET6, ip) == binary
    assert uv.inet_ntop("inet6", memoryview(binary)) == uv.inet_ntop(socket.AF_INET6, binary) == ip


def test_zones():
    """A zone is the name of an interface; its number is at the end of the structure."""
    index, name = socket.if_nameindex()[0]
    packed = uv.ip6_addr(f"fe80::1%{name}", 80)
    assert struct.unpack("=I", packed[24:]) == (index,)
    assert uv.ip_name(packed) == "fe80::1"
    assert uv.inet_pton("inet6", f"fe80::1%{name}") == socket.inet_pton(socket.AF_INET6, "fe80::1")


@pytest.mark.parametrize("text", NO_ADDRESS)
def test_no_addresses(text):
    """They raise EINVAL, in either family."""
    for function in (lambda ip: uv.ip4_addr(ip, 0), lambda ip: uv.ip6_addr(ip, 0)):
        with pytest.raises(uv.UVError, match=r"EINVAL.*uv_ip[46]_addr"):
            function(text)
    for family in ("inet", "inet6"):
        with pytest.raises(uv.UVError, match=r"EINVAL.*uv_inet_pton"):
            uv.inet_pton(family, text)


def test_arguments():
    """Types, ranges and NULs are refused before C sees them."""
    for function in (uv.ip4_addr, uv.ip6_addr):
        with pytest.raises(ValueError, match=r"port .*65536"):
            function("::1", 65536)
        with pytest.raises(TypeError, match=r"port .*'80'"):
            function("::1", "80")
        with pytest.raises(ValueError, match=r"\bip "):
            function("::1\0", 80)
        with pytest.raises(TypeError, match=r"\bip .*b'::1'"):
            function(b"::1", 80)
    with pytest.raises(ValueError, match="text "):
        uv.inet_pton("inet", "1.2.3.4\0")


def test_families():
    """There are two, by word or number."""
    for call in (lambda family: uv.inet_ntop(family, bytes(4)), lambda family: uv.inet_pton(family, "::1")):
        with pytest.raises(ValueError, match='family must be "inet", "inet6" or a number, not \'ipv4\''):
            call("ipv4")
        with pytest.raises(uv.UVError, match="EAFNOSUPPORT"):
            call(socket.AF_UNIX)
        with pytest.raises(TypeError, match=r"family .*None"):
            call(None)


def test_structures_that_are_too_short():
    """C never reads behind the bytes that it was given."""
    for whole in (uv.ip4_addr("1.2.3.4", 5), uv.ip6_addr("::1", 5)):
        for size in range(len(whole)):
            with pytest.raises(uv.UVError, match=r"EINVAL.*uv_ip_name"):
                uv.ip_name(whole[:size])
    with pytest.raises(uv.UVError, match="EINVAL"):
        uv.ip_name(bytes(1000))
    with pytest.raises(uv.UVError, match="EAFNOSUPPORT"):
        uv.ip_name(bytes(16))
    with pytest.raises(TypeError, match=r"address .*'::1'"):
        uv.ip_name("::1")
    for family, size in (("inet", 4), ("inet6", 16)):
        for wrong in (0, size - 1, size + 1):
            with pytest.raises(ValueError, match=rf"data .*{wrong}"):
                uv.inet_ntop(family, bytes(wrong))


def test_interfaces():
    """Their names by number."""
    for index, name in socket.if_nameindex():
        assert uv.if_indextoname(index) == uv.if_indextoiid(index) == name
    for function in (uv.if_indextoname, uv.if_indextoiid):
        with pytest.raises(uv.UVError, match="ENXIO"):
            function(2**31)
        with pytest.raises(ValueError, match="index "):
            function(2**32)
        with pytest.raises(TypeError, match="index "):
            function("lo")
