"""The example of look-ups."""

import re
import socket

import pytest

from tests.helpers.examples import run


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 8, 100])
def test_lookups(workers):
    """Every host with its addresses, as the standard library finds them; as many answers as questions."""
    code, output, errors = run("uv_dns.py", "--lookups", "400", "--workers", str(workers))
    assert (code, errors) == (0, "")
    *lines, last = output.splitlines()
    assert last == f"400 look-ups by {workers} coroutines"
    found = {tuple(re.fullmatch(r"(\S+): (\S+) \(\S+\)", line).groups()) for line in lines}
    assert found == {
        (host, where[0])
        for host in ("localhost", "127.0.0.1", "::1")
        for *_, where in socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    }
