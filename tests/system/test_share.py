"""Share sockets: streams and listeners that travel between processes, together with data."""

import array
import os
import socket
import subprocess
import sys

import pytest

from coutil import system
from coutil.errors import BusyError, Closed
from coutil.system import DatagramSocket, LocalPassiveSocket, LocalStreamSocket, PassiveSocket, StreamSocket
from tests.helpers.script import ROOT
from tests.helpers.servers import listening, local_path, loopback
from tests.helpers.tcp import BIG, all_domains, as_plain, both_domains, pair, pairs, receive_exactly
from tests.helpers.tcp import with_plain_peer as plain_peer
from tests.helpers.udp import connected_sockets, sockets

STREAMS = {"ipv4": StreamSocket, "ipv6": StreamSocket, "local": LocalStreamSocket, "share": LocalStreamSocket}
PASSIVE = {"ipv4": PassiveSocket, "ipv6": PassiveSocket, "local": LocalPassiveSocket, "share": LocalPassiveSocket}


def send_descriptors(peer, data, descriptors):
    """Send data and descriptors on a Python socket."""
    peer.sendmsg([data], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))])


@all_domains
def test_stream_travels(domain):
    """S-11: the receiver gets a stream of the same connection; the sender may close its own as soon as it was sent."""
    with pairs("share") as (near, far):
        inner, outer = pair(domain)
        peer = inner.getaddress("peer")
        assert near.send(b"parent", stream=inner) is True
        inner.close()
        data, arrived = far.receive_stream()
        with outer, arrived:
            assert (data, type(arrived)) == (b"parent", STREAMS[domain])
            assert arrived.getdomain() == ("local" if domain == "share" else domain)
            assert arrived.getaddress("peer") == peer
            assert arrived.send(b"child") is True
            assert outer.receive() == b"child"
            assert outer.send(b"back") is True
            assert arrived.receive() == b"back"


@all_domains
def test_listener_travels(domain):
    """T-55: a listener arrives as a passive socket, which accepts after its own listen; both ends may accept."""
    with pairs("share") as (near, far), listening(domain) as server:
        assert near.send(b"x", stream=server) is True
        data, arrived = far.receive_stream()
        with arrived:
            assert (data, type(arrived)) == (b"x", PASSIVE[domain])
            arrived_at = arrived.getaddress()
            assert arrived_at == server.getaddress()
            with pytest.raises(ValueError, match="is not listening"):
                arrived.accept()
            assert arrived.listen(3) is True
            server.close()
            with system.socket("stream", server.getdomain()) as client:
                client.connect(arrived.getaddress())
                with arrived.accept() as taken:
                    assert client.send(b"hello") is True
                    assert taken.receive() == b"hello"
        if domain in ("local", "share"):
            os.unlink(arrived_at)


@all_domains
def test_who_does_not_listen_yet_stays(domain):
    """It would arrive as a stream; one that arrives listens, and travels on although no one has called its `listen`."""
    with pairs("share") as (near, far), system.socket("passive", domain) as server:
        server.bind(loopback(domain))
        address = server.getaddress()
        with pytest.raises(ValueError, match=r"PassiveSocket .* is not listening: it would arrive as a stream"):
            near.send(b"x", stream=server)
        server.listen(3)
        near.send(b"x", stream=server)
        _, arrived = far.receive_stream()
        with arrived:
            assert far.send(b"y", stream=arrived) is True
        _, returned = near.receive_stream()
        with returned:
            assert type(returned) is PASSIVE[domain]
    if domain in ("local", "share"):
        os.unlink(address)


def test_socket_passed_to_another_process(go):
    """PIP-4: the parent accepts a client and hands it to a child process, which talks to it."""
    child = """
        import sys
        from coutil import system
        link = system.socket("stream", "share")
        link.connect(sys.argv[1])
        data, stream = link.receive_stream(6)
        assert data == b"parent", data
        stream.send(b"child of " + data)
        stream.close()
    """
    with listening("share") as shared, listening("local") as server, system.socket("stream", "local") as client:
        command = [sys.executable, "-c", "\n".join(line.strip() for line in child.splitlines()), shared.getaddress()]
        with subprocess.Popen(command, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}) as process:
            link = shared.accept()
            client.connect(server.getaddress())
            with server.accept() as stream:
                assert link.send(b"parent", stream=stream) is True
            assert receive_exactly(client, 15) == b"child of parent"
            assert client.receive() == b""
            assert link.receive_stream() == (b"", None)
            assert process.wait(20) == 0
        link.close()


def test_stream_closed_while_it_is_queued(go):
    """The descriptor was duplicated: a stream may be closed before its message leaves."""
    with pairs("share") as (near, far):
        inner, outer = pair("ipv4")
        first = go(lambda: near.send(BIG))
        second = go(lambda: near.send(b"late", stream=inner))
        assert (first.status, second.status) == ("suspended", "suspended")
        inner.close()
        received = receive_exactly(far, len(BIG))
        data, arrived = far.receive_stream()
        assert (received, data) == (BIG, b"late")
        assert system.run() is False
        with outer, arrived:
            assert arrived.send(b"alive") is True
            assert outer.receive() == b"alive"


def test_cancelled_send_still_takes_the_stream_along(go):
    """The one that is resumed explicitly gets that; the message leaves in the background, with its stream."""
    with pairs("share") as (near, far):
        inner, outer = pair("local")
        sending = go(lambda: near.send(b"x", stream=inner))
        sending.resume()
        assert sending.status == "dead"
        inner.close()
        data, arrived = far.receive_stream()
        with outer, arrived:
            assert (data, arrived.getdomain()) == (b"x", "local")
            assert arrived.send(b"y") is True
            assert outer.receive() == b"y"


def test_link_closed_under_a_send(go):
    """The link closes while the message waits: ECANCELED, and the duplicate is closed, too."""
    log = []
    with pairs("share") as (near, _):
        inner, outer = pair("local")

        def sender():
            with pytest.raises(OSError, match="ECANCELED") as caught:
                near.send(b"x", stream=inner)
            log.append(caught.value.syscall)

        def fill():
            with pytest.raises(OSError, match="ECANCELED"):
                near.send(BIG)

        filling = go(fill)
        go(sender)
        near.close()
        inner.close()
        assert system.run() is False
        assert (log, filling.status) == (["uv_write2"], "dead")
        assert outer.receive() == b"", "nobody else holds the other end"
        outer.close()


@both_domains
def test_datagram_socket_travels(domain):
    """T-55: a UDP socket arrives as one, bound where it was; each datagram goes to the one that of both takes it."""
    with pairs("share") as (near, far), sockets(domain) as (ours, peer):
        assert near.send(b"parent", stream=ours) is True
        data, arrived = far.receive_stream()
        with arrived:
            assert (data, type(arrived), arrived.getdomain()) == (b"parent", DatagramSocket, domain)
            assert arrived.getaddress() == ours.getaddress()
            peer.send(b"first", ours.getaddress())
            assert arrived.receive() == (b"first", peer.getaddress())
            with pytest.raises(TypeError, match="address "):
                arrived.send(b"x")
            assert arrived.send(b"second", peer.getaddress()) is True
            assert peer.receive() == (b"second", ours.getaddress())
            ours.close()
            peer.send(b"third", arrived.getaddress())
            assert arrived.receive_into(bytearray(3)) == (3, peer.getaddress(), True)
            assert arrived.setoption("ttl", 3) is arrived.setoption("mcastloop", False) is True


@both_domains
def test_connected_datagram_socket_travels(domain):
    """A UDP socket that is connected arrives connected, and can be disconnected; one that has no name yet gets it."""
    with pairs("share") as (near, far), connected_sockets(domain) as (ours, peer):
        near.send(b"x", stream=ours)
        with far.receive_stream()[1] as arrived:
            assert arrived.send(b"no address") is True
            assert peer.receive() == (b"no address", ours.getaddress())
            assert arrived.getaddress("peer") == peer.getaddress()
            with pytest.raises(OSError, match="EISCONN"):
                arrived.connect(peer.getaddress())
            assert arrived.connect(None) is True
        with system.socket("datagram", domain) as fresh:
            near.send(b"x", stream=fresh)
            with far.receive_stream()[1] as arrived:
                assert arrived.bind(loopback(domain)) is True
                assert fresh.getaddress() == arrived.getaddress() != loopback(domain)


def test_a_received_datagram_socket_keeps_its_address():
    """No one else can bind to the address of a UDP socket because it has travelled; if they could before, they can."""
    options = (socket.SO_REUSEADDR, socket.SO_REUSEPORT)
    for shared in (0, 1):
        with plain_peer("share") as (stream, peer), socket.socket(type=socket.SOCK_DGRAM) as theirs:
            for option in options:
                theirs.setsockopt(socket.SOL_SOCKET, option, shared)
            theirs.bind(("127.0.0.1", 0))
            send_descriptors(peer, b"x", [theirs.fileno()])
            with stream.receive_stream()[1] as arrived, system.socket("datagram", "ipv4") as other:
                assert [theirs.getsockopt(socket.SOL_SOCKET, option) for option in options] == [shared, shared]
                if not shared:
                    with pytest.raises(OSError, match="EADDRINUSE"):
                        other.bind(arrived.getaddress(), reuse=True)


def test_several_streams_at_once():
    """T-55: what came with the same data is handed out one by one; then more data are waited for."""
    with plain_peer("share") as (stream, peer):
        ends = [socket.socketpair() for _ in range(5)]
        send_descriptors(peer, b"five", [ours.fileno() for ours, _ in ends])
        arrived = [stream.receive_stream() for _ in ends]
        assert [data for data, _ in arrived] == [b"five", b"", b"", b"", b""]
        for number, ((_, taken), (ours, theirs)) in enumerate(zip(arrived, ends, strict=True)):
            ours.close()
            taken.send(bytes([number]))
            assert theirs.recv(9) == bytes([number])
            theirs.close()
            taken.close()
        peer.send(b"more")
        assert stream.receive_stream() == (b"more", None)


def test_what_is_no_stream_is_closed(tmp_path):
    """Files, pipes and Unix datagram sockets from another sender: pipes are streams, the others are closed at once."""
    read_end, write_end = os.pipe()
    with (
        plain_peer("share") as (stream, peer),
        (tmp_path / "file").open("w") as file,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as datagram,
    ):
        send_descriptors(peer, b"x", [file.fileno(), datagram.fileno(), read_end])
        os.close(read_end)
        data, taken = stream.receive_stream()
        assert (data, taken.getdomain()) == (b"x", "local")
        os.write(write_end, b"through the pipe")
        assert taken.receive() == b"through the pipe"
        taken.close()
        with pytest.raises(BrokenPipeError):
            os.write(write_end, b"nobody has the other end")
        peer.close()
        assert stream.receive_stream() == (b"", None)
    os.close(write_end)


@pytest.mark.parametrize("domain", ["local", "share"])
def test_messages_before_the_end(domain):
    """What the peer sent before it closed comes before the end, although descriptors cut it into messages."""
    with plain_peer(domain) as (stream, peer):
        ends = [socket.socketpair() for _ in range(4)]
        for number, (ours, _) in enumerate(ends):
            send_descriptors(peer, bytes([number]), [ours.fileno()])
            ours.close()
        peer.close()
        assert receive_exactly(stream, 9) == b"\0\1\2\3"
        assert stream.receive() == stream.receive() == b""
        stream.close()
        for _, theirs in ends:
            assert theirs.recv(1) == b""
            theirs.close()


def test_messages_with_streams_before_the_end():
    """So do the streams, each with its data; the end is told only then, and again and again."""
    with plain_peer("share") as (stream, peer):
        for number in range(4):
            with socket.socket(socket.AF_UNIX) as one:
                send_descriptors(peer, bytes([number]), [one.fileno()])
        peer.close()
        for number in range(4):
            data, taken = stream.receive_stream()
            assert (data, taken.close()) == (bytes([number]), True)
        assert stream.receive_stream() == stream.receive_stream() == (b"", None)


def test_plain_receive_keeps_few():
    """What `receive` is not asked for waits for `receive_stream`; of more than 64 the oldest are closed."""
    with plain_peer("share") as (stream, peer):
        for number in range(70):
            ours, theirs = socket.socketpair()
            theirs.send(bytes([number]))
            theirs.close()
            send_descriptors(peer, b"x", [ours.fileno()])
            ours.close()
            assert (stream.receive() if number % 2 else stream.receive_into(bytearray(9))) in (b"x", 1)
        peer.close()
        found = []
        while (came := stream.receive_stream())[1] is not None:
            with came[1] as taken:
                found.append(taken.receive()[0])
        assert found == list(range(6, 70))
        assert came == (b"", None)


def test_streams_left_over_are_closed():
    """Closing the link closes what came along."""
    with plain_peer("share") as (stream, peer):
        ends = [socket.socketpair() for _ in range(3)]
        send_descriptors(peer, b"data", [ours.fileno() for ours, _ in ends])
        for ours, _ in ends:
            ours.close()
        assert stream.receive() == b"data"
        stream.close()
        for _, theirs in ends:
            assert theirs.recv(1) == b""
            theirs.close()


def test_data_and_stream_for_a_reader_that_has_left(go):
    """A reader is resumed explicitly in the turn in which data and stream arrive: the next one gets both."""
    with plain_peer("share") as (stream, peer), pairs("local") as (near, far):
        log = []
        reader = go(lambda: log.append(stream.receive_stream()))

        def rival():
            near.receive()
            reader.resume("left")

        go(rival)
        system.run("ready")
        ours, theirs = socket.socketpair()
        far.send(b"go")
        send_descriptors(peer, b"both", [ours.fileno()])
        ours.close()
        system.run("step")
        assert log == ["left"]
        assert stream._handle.pending_data == b"both"
        data, taken = stream.receive_stream()
        with taken:
            assert data == b"both"
            taken.send(b"!")
            assert theirs.recv(1) == b"!"
        theirs.close()


def test_arguments_of_send(go):
    """No stream, no data, wrong types, closed and unconnected ones: each is refused before anything is sent."""
    with pairs("share") as (near, far), system.socket("stream", "local") as idle:
        for wrong in (True, 1, "x", object(), sys.stdout, socket):
            with pytest.raises(TypeError, match="stream "):
                near.send(b"x", stream=wrong)
        for data, arguments in ((b"", ()), (b"abc", (2, 2))):
            with pytest.raises(ValueError, match="is empty"):
                near.send(data, *arguments, stream=far)
        with pytest.raises(TypeError, match="data"):
            near.send("text", stream=far)
        with pytest.raises(OSError, match="EBADF"):
            near.send(b"x", stream=idle)
        gone = system.socket("stream", "ipv4")
        gone.close()
        with pytest.raises(Closed, match=r"stream ipv4( .*)? "):
            near.send(b"x", stream=gone)
        with system.socket("stream", "share") as unconnected, pytest.raises(BrokenPipeError):
            unconnected.send(b"x", stream=far)
        assert near.send(b"all is well") is True
        assert far.receive_stream() == (b"all is well", None)


def test_receive_stream_waits_like_receive(go):
    """A second reader is busy; wrong sizes are refused; explicit resumes return what they bring, bytes, too."""
    log = []
    with pairs("share") as (near, far):
        for size, error in ((0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError)):
            with pytest.raises(error, match="size"):
                far.receive_stream(size)
        reader = go(lambda: log.append(far.receive_stream()))
        with pytest.raises(BusyError, match=r"stream share.* "):
            far.receive_stream()
        reader.resume(b"given")
        assert log == [b"given"]
        near.send(b"12345")
        assert far.receive_stream(2) == (b"12", None)
        assert far.receive_stream() == (b"345", None)
    with pytest.raises(Closed):
        far.receive_stream()


def test_idle_link_with_waiting_streams_does_not_spin(go):
    """Taking the last descriptor while there is no reader does not make the loop turn for nothing."""
    with plain_peer("share") as (stream, peer), pairs("local") as (near, far):
        ends = [socket.socketpair() for _ in range(2)]
        send_descriptors(peer, b"data", [ours.fileno() for ours, _ in ends])
        assert stream.receive() == b"data"
        peer.send(b"unread")
        far.send(b"x")
        assert near.receive() == b"x"
        taken = [stream.receive_stream()[1] for _ in range(2)]
        turns = stream._handle.hub._turns
        waiting = go(near.receive)
        system.suspend(0.05)
        assert stream._handle.hub._turns - turns < 10
        waiting.resume()
        assert stream.receive() == b"unread"
        for end in (*taken, *(one for both in ends for one in both)):
            end.close()


def test_received_streams_never_block_and_are_not_inherited():
    """A blocking socket that another one sends is non-blocking here, and closed in programs that we execute."""
    with plain_peer("share") as (stream, peer):
        ours, theirs = socket.socketpair()
        send_descriptors(peer, b"x", [ours.fileno()])
        ours.close()
        with stream.receive_stream()[1] as taken, as_plain(taken) as plain:
            assert os.get_inheritable(taken.fileno()) is False
            assert os.get_blocking(taken.fileno()) is False
            assert plain.family == socket.AF_UNIX
        theirs.close()


def test_addresses_of_both_kinds_are_their_own():
    """A share listener takes a path like a local one, and a local stream may connect to it."""
    path = local_path()
    with system.socket("passive", "share") as server, system.socket("stream", "local") as client:
        server.bind(path)
        server.listen(1)
        assert client.connect(path) is True
        with server.accept() as far:
            assert far.getdomain() == "share"
            client.send(b"x")
            assert far.receive_stream() == (b"x", None)
        with pytest.raises(TypeError, match="address "):
            client.connect(loopback("ipv4"))
