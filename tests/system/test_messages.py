"""Errors, reprs and reports tell one connection from another: they show the addresses of both ends."""

import io
import re
import select
import socket
import struct
import traceback

import pytest

from coutil import errors, spawn, system
from coutil.errors import Closed
from tests.helpers.servers import loopback
from tests.helpers.sockets import failure
from tests.helpers.tcp import BIG, all_domains, both_domains, pairs

RESET = struct.pack("ii", 1, 0)  # linger: close by a reset


def reset_pair(domain):
    """Return one of our streams, and its ends as text, after the peer has reset the connection."""
    family = socket.AF_INET6 if domain == "ipv6" else socket.AF_INET
    with system.socket("passive", domain) as server:
        server.bind(loopback(domain))
        server.listen(1)
        to = server.getaddress()
        with socket.socket(family) as peer:
            peer.connect((to.literal, to.port))
            stream = server.accept()
            far = stream.getaddress("peer")
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    select.select([stream], [], [], 20)
    return stream, (str(to), str(far))


def ends(stream):
    """Return the addresses of both ends as errors name them; those of Unix sockets may have none."""
    found = [stream.getaddress(), stream.getaddress("peer")]
    return [str(one) for one in found if one != ""]


@both_domains
@pytest.mark.parametrize("name", ["receive", "send"])
def test_a_reset_connection(domain, name):
    """The system has forgotten the peer by then; the error of each call names it nevertheless."""
    stream, names = reset_pair(domain)
    call = stream.receive if name == "receive" else lambda: [stream.send(BIG), stream.send(BIG)]
    with stream, pytest.raises(ConnectionError) as caught:
        call()
    assert (caught.value.filename, caught.value.filename2) == names
    assert str(caught.value).endswith(f": {names[0]!r} -> {names[1]!r}")


@all_domains
def test_a_broken_pipe(domain):
    """EPIPE at once, and in the wait for the rest of what is sent."""
    with pairs(domain) as (near, far):
        names = ends(near)
        waiting = []
        spawn.call(lambda: waiting.append(failure(near.send, BIG)))
        far.close()
        found = failure(lambda: [near.send(BIG) for _ in range(3)])
        system.run("ready")
        for error in (found, *waiting):
            assert isinstance(error, ConnectionError)
            assert [one for one in (error.filename, error.filename2) if one is not None] == names


@all_domains
def test_closed_and_closing(domain):
    """The last known addresses are shown of a stream that was closed, also under the coroutine that waits for it."""
    with pairs(domain) as (near, _):
        shown = str(near._handle)
        assert all(name in shown for name in ends(near))
        found = []
        spawn.call(lambda: found.append(failure(near.receive)))
        near.close()
        assert str(found[0]) == f"{shown} was closed by another coroutine"
        for call in (near.receive, lambda: near.send(b"x"), near.shutdown, near.getaddress):
            with pytest.raises(Closed, match=f"{re.escape(shown)} "):
                call()
        assert all(name in repr(near) for name in shown.split()[2:])
        assert repr(near).endswith(" closed>")


@both_domains
def test_refused_streams(domain):
    """The address that was connected to, after the one that the stream was bound to."""
    to = loopback(domain, 1)
    with system.socket("stream", domain) as stream, pytest.raises(ConnectionRefusedError) as caught:
        stream.connect(to)
    assert (caught.value.filename, caught.value.filename2) == (str(to), None)
    with system.socket("stream", domain) as stream:
        stream.bind(loopback(domain))
        own = str(stream.getaddress())
        with pytest.raises(ConnectionRefusedError) as caught:
            stream.connect(to)
    assert (caught.value.filename, caught.value.filename2) == (own, str(to))


@both_domains
@pytest.mark.parametrize("name", ["receive", "send"])
def test_refused_datagrams(domain, name):
    """No one received what was sent: the error of the next call names both ends."""
    with system.socket("datagram", domain) as gone:
        gone.bind(loopback(domain))
        to = gone.getaddress()
    with system.socket("datagram", domain) as sender:
        sender.connect(to)
        sender.send(b"x")
        own = str(sender.getaddress())
        select.select([sender], [], [], 20)
        with pytest.raises(ConnectionRefusedError) as caught:
            sender.receive() if name == "receive" else sender.send(b"y")
        assert (caught.value.filename, caught.value.filename2) == (own, str(to))


@both_domains
def test_datagrams_that_are_too_long(domain):
    """Where a datagram would have gone is named without a connection, too."""
    to = loopback(domain, 9)
    with system.socket("datagram", domain) as sender:
        sender.bind(loopback(domain))
        own = str(sender.getaddress())
        for data in (bytes(70_000), bytearray(70_000)):
            with pytest.raises(errors.EMSGSIZE) as caught:
                sender.send(data, to)
            assert (caught.value.filename, caught.value.filename2) == (own, str(to))


def test_unix_names():
    """The address of a Unix listener is named by both ends, and by what fails."""
    path = loopback("local")
    with system.socket("passive", "local") as server, system.socket("stream", "local") as near:
        server.bind(path)
        server.listen(1)
        assert repr(server) == f"<LocalPassiveSocket local {path!r}>"
        near.connect(path)
        far = server.accept()
        assert (repr(near), repr(far)) == (
            f"<LocalStreamSocket local -> {path!r}>",
            f"<LocalStreamSocket local {path!r}>",
        )
        far.close()
        with pytest.raises(BrokenPipeError, match=f"{path!r}$"):
            near.send(b"x")
    with pytest.raises(Closed, match=f"^stream local {path!r} is closed$"):
        far.receive()


@all_domains
def test_reports(domain, escaped):
    """A report says which connection each coroutine waits for, and for what."""
    with pairs(domain) as (near, far):
        spawn.call(near.receive, name="reader")
        spawn.call(far.send, BIG, name="writer")
        text = io.StringIO()
        system.report(text)
        lines = {line.split()[0]: line for line in text.getvalue().splitlines() if line.startswith("  ")}
        assert str(near._handle) in lines["reader"]
        assert f"{far._handle} send" in lines["writer"]
    system.run()
    escaped.clear()  # that the streams were closed


@both_domains
def test_tracebacks_are_short(domain):
    """Between the line that connects and the end of a traceback there is no frame of the kernel."""
    with system.socket("stream", domain) as stream, pytest.raises(ConnectionRefusedError) as caught:
        stream.connect(loopback(domain, 1))
    files = [frame.filename for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert files[0] == __file__
    assert not [name for name in files if "_kernel/operation" in name]
    assert len(files) <= 5  # one is of the decorator of calls that wait


def test_datagrams_that_find_another_peer():
    """Without a connection there is no peer to show any more."""
    with system.socket("datagram", "ipv4") as made:
        assert repr(made) == "<DatagramSocket ipv4>"
        made.bind(loopback("ipv4"))
        own = made.getaddress()
        made.connect(loopback("ipv4", 9))
        assert repr(made) == f"<DatagramSocket ipv4 {own} -> 127.0.0.1:9>"
        made.connect()
        assert repr(made) == "<DatagramSocket ipv4>", "with the peer goes the port that the system had chosen"
