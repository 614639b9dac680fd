"""How much data wait where: senders suspend, unread data stay in the kernel, and every byte arrives in its place."""

import random
import socket
from itertools import pairwise

import pytest

from coutil import system
from coutil.system.network.bytestream import DEFAULT_READ_SIZE, MAX_READ
from tests.helpers.servers import listening
from tests.helpers.tcp import (
    all_domains,
    as_plain,
    both_domains,
    connected,
    fill,
    pairs,
    receive_exactly,
    resident,
    with_plain_peer,
)

MEBI = 1 << 20
RANDOM = random.Random(5).randbytes(6 * MEBI)
SIZES = [1, 2, 4095, 4096, 4097, 65535, 65536, 65537, MEBI - 1, MAX_READ - 1, MAX_READ, MAX_READ + 1, 5 * MEBI + 3]


@pytest.mark.parametrize("size", SIZES)
@all_domains
def test_transfers_are_exact(domain, size, go):
    """One send of any size arrives byte for byte, in pieces no larger than asked for; then the stream ends."""
    data, pieces = RANDOM[:size], []
    with pairs(domain) as (near, far):

        def sender():
            assert near.send(data) is True
            assert near.shutdown() is True

        sending = go(sender)
        while piece := far.receive():
            pieces.append(piece)
        assert system.run() is False
        assert sending.status == "dead"
        assert b"".join(pieces) == data
        assert max(map(len, pieces)) <= DEFAULT_READ_SIZE


@pytest.mark.parametrize("asked", [1, 4095, 4096, 4097, 65535, 65536, 65537, MAX_READ + 1])
def test_any_size_of_pieces(asked, go):
    """What is received is the same whatever each call asks for, as bytes and in a buffer."""
    size = min(asked * 5 + 3, len(RANDOM))
    data, found = RANDOM[:size], bytearray()
    with pairs("ipv4") as (near, far):

        def sender():
            for start, stop in pairwise([0, 1, size // 3, size // 2, size]):
                assert near.send(data, start, stop) is True
            near.shutdown()

        buffer = bytearray(asked)
        sending = go(sender)
        while piece := far.receive(asked):
            assert len(piece) <= asked
            found += piece
            count = far.receive_into(buffer)
            found += buffer[:count]
        assert sending.status == "dead"
        assert found == data
        assert [far.receive(asked), far.receive_into(buffer)] == [b"", 0]


@all_domains
def test_tiny_kernel_buffers(domain, go):
    """With the smallest buffers that the kernel allows, a long transfer in both directions at once is exact."""
    size, found = 200_000, {}
    with listening(domain) as server, as_plain(server) as plain:
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        ends = [connected(server), server.accept()]
    with ends[0], ends[1]:

        def sender(mine):
            assert ends[mine].send(RANDOM, mine, size + mine) is True

        def reader(mine):
            found[mine] = receive_exactly(ends[mine], size)

        running = [go(body, mine) for mine in (0, 1) for body in (sender, reader)]
        assert found == {}
        assert system.run() is False
        assert {one.status for one in running} == {"dead"}
        assert found == {0: RANDOM[1 : size + 1], 1: RANDOM[:size]}


@all_domains
def test_slow_reader_suspends_the_sender(domain, go):
    """While there is no reader, a sender gets no further than the kernel's buffers: its own memory does not grow."""
    piece, sent = RANDOM[:MEBI], []
    with pairs(domain) as (near, far):

        def sender():
            for _ in range(200):
                near.send(piece)
                sent.append(len(piece))

        sending = go(sender)
        for _ in range(5):
            system.run("ready")
        stopped, memory = len(sent), resident()
        assert sending.status == "suspended"
        assert stopped < 50, "the kernel takes some MiB, no more"
        for _ in range(20):
            system.run("ready")
        assert len(sent) == stopped
        assert resident() - memory < 4 * MEBI
        for _ in range(200):
            assert receive_exactly(far, len(piece)) == piece
        system.run("ready")
        assert sending.status == "dead"
        assert resident() - memory < 30 * MEBI


@all_domains
def test_each_blocked_sender_waits_with_its_own_data_only(domain, go):
    """A hundred senders on one stream hold their messages and nothing else; all arrive in the order of the calls."""
    piece = RANDOM[:MEBI]
    with pairs(domain) as (near, far):
        go(near.send, RANDOM)
        memory = resident()
        senders = [go(near.send, piece) for _ in range(100)]
        assert {one.status for one in senders[20:]} == {"suspended"}
        assert resident() - memory < 8 * MEBI, "the bytes are shared, not copied"
        assert receive_exactly(far, len(RANDOM)) == RANDOM
        for _ in senders:
            assert receive_exactly(far, len(piece)) == piece
        system.run("ready")
        assert {one.status for one in senders} == {"dead"}


@pytest.mark.parametrize("armed", [False, True], ids=["never read", "read before"])
@all_domains
def test_fast_peer_is_stopped_by_the_kernel(domain, armed):
    """What no one asks for stays in the kernel: the peer is blocked, our memory does not grow, no byte is lost."""
    with with_plain_peer(domain) as (stream, peer):
        if armed:
            peer.send(b"first")
            assert stream.receive() == b"first"
        memory = resident()
        sent = fill(peer)
        for _ in range(10):
            system.run("ready")
        sent += fill(peer)
        assert sent > 0
        for _ in range(20):
            assert system.run("ready") is False
            assert fill(peer) == 0, "nobody has read, so there is no more room"
        assert resident() - memory < 4 * MEBI
        assert receive_exactly(stream, sent) == bytes(sent)
        assert fill(peer) > 0


@all_domains
def test_reader_that_takes_little_takes_no_more(domain):
    """Each receive takes what it asked for out of the kernel, and the rest stays there."""
    with with_plain_peer(domain) as (stream, peer), as_plain(stream) as plain:
        peer.send(RANDOM[:10_000])
        for start in range(0, 5000, 100):
            assert stream.receive(100) == RANDOM[start : start + 100]
            system.run("ready")
        assert plain.recv(10_000, socket.MSG_PEEK | socket.MSG_DONTWAIT) == RANDOM[5000:10_000]
        assert stream.receive(10_000) == RANDOM[5000:10_000]


@all_domains
def test_slow_consumer_keeps_the_peer_waiting(domain, go):
    """A coroutine that reads a little and then works for long stops its peer, and gets everything in the end."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            for number in range(40):
                near.send(RANDOM[:MEBI])
                log.append(number)
            near.shutdown()

        go(sender)
        assert receive_exactly(far, 1000) == RANDOM[:1000]
        for _ in range(20):
            system.suspend()
        ahead = len(log)
        assert ahead < 30
        for _ in range(20):
            system.suspend()
        assert len(log) == ahead
        assert receive_exactly(far, MEBI - 1000) == RANDOM[1000:MEBI]
        assert receive_exactly(far, 39 * MEBI) == RANDOM[:MEBI] * 39
        assert far.receive() == b""
        assert log == list(range(40))


def test_many_readers_in_one_turn_share_the_arena(go):
    """More data arrive in one turn than fit into what the hub reads at once: none loses or mixes anything."""
    count, size = 12, MAX_READ // 2
    found = {}
    with pairs("ipv4", count) as ends:
        nears, fars = ends[::2], ends[1::2]

        def reader(mine):
            found[mine] = receive_large(fars[mine], size)

        def receive_large(stream, size):
            parts = bytearray()
            while len(parts) < size:
                parts += stream.receive(size - len(parts))
            return parts

        for mine in range(count):
            go(nears[mine].send, RANDOM, mine, mine + size)
        for mine in range(count):
            go(reader, mine)
        assert found == {}
        assert system.run() is False
        assert found == {mine: RANDOM[mine : mine + size] for mine in range(count)}


@both_domains
def test_lucky_sender_lets_others_run(domain, go):
    """A coroutine whose sends always succeed at once does not keep the others from running."""
    log = []
    with pairs(domain) as (near, far):

        def sender():
            for number in range(1000):
                near.send(b"x")
                log.append(number)

        def other():
            for _ in range(3):
                system.suspend()
                log.append("other")

        go(other)
        sending = go(sender)
        assert sending.status == "suspended", "its luck has ended"
        assert system.run() is False
        assert log.index("other") < 200
        assert [entry for entry in log if entry != "other"] == list(range(1000))
        assert receive_exactly(far, 1000) == b"x" * 1000


@all_domains
def test_echo_of_everything(domain, go):
    """Both directions at once, with sends and receives of odd sizes: what comes back is what was sent."""
    with pairs(domain) as (near, far):
        back = []

        def echo():
            while data := far.receive(10_007):
                far.send(data)
            far.shutdown()

        def sender():
            sizes = random.Random(7)
            start = 0
            while start < len(RANDOM):
                stop = start + sizes.choice([1, 99, 4096, 65537, 300_000])
                near.send(RANDOM, start, stop)
                start = stop
            near.shutdown()

        def reader():
            found = bytearray()
            while data := near.receive():
                found += data
            back.append(found)

        running = [go(body) for body in (echo, sender, reader)]
        assert system.run() is False
        assert {one.status for one in running} == {"dead"}
        assert back == [RANDOM]
