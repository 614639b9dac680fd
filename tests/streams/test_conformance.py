"""What every stream does, be it one of coutil.system or of coutil.uv, on TCP or within the machine."""

import errno
import threading

import pytest

from coutil import coroutine, errors, scopes, spawn, system
from tests.helpers.stream_apis import WORLDS, connected, read_all, with_python
from tests.helpers.tcp import BIG

pytestmark = pytest.mark.parametrize("world", [pytest.param(world, id=name) for name, world in WORLDS.items()])
FULL = 1 << 24  # bytes, more than the system keeps for a stream


def failure(kind, call, *arguments):
    """Return the exception of a class that a call raises."""
    with pytest.raises(kind) as info:
        call(*arguments)
    return info.value


def fill(peer):
    """Have a Python socket send until the system takes no more; return how many bytes it took."""
    sent = 0
    try:
        while sent < 2 * FULL:
            sent += peer.send(bytes(1 << 16))
    except BlockingIOError:
        return sent
    raise AssertionError("somebody reads without being asked")


def fill_in_turns(peer):
    """The same after some turns of the loop."""
    for _ in range(20):
        system.suspend(0)
    return fill(peer)


# -- connections


def test_connect_and_accept(world):
    """Both ends can talk at once."""
    with connected(world) as (one, other):
        assert world.write(one, b"ping") is True
        assert world.read(other) == b"ping"
        assert world.write(other, b"pong") is True
        assert world.read(one) == b"pong"


def test_accept_queue(world):
    """Connections that come before anybody accepts wait, in order."""
    with world.listener() as server:
        clients = [world.stream() for _ in range(5)]
        for number, client in enumerate(clients):
            world.connect(client, server)
            world.write(client, b"%d" % number)
        accepted = [server.accept() for _ in clients]
        assert [world.read(one) for one in accepted] == [b"0", b"1", b"2", b"3", b"4"]
        for one in (*clients, *accepted):
            world.close(one)


def test_accept_of_a_client_that_has_gone(world):
    """It is accepted; what it sent can be read, then the end."""
    with world.listener() as server:
        with world.stream() as client:
            world.connect(client, server)
            world.write(client, b"left")
        with server.accept() as stream:
            assert world.read(stream) == b"left"
            assert world.read(stream) == b""


def test_connect_without_a_listener(world):
    """It fails with the system's reason, and the stream can be closed."""
    server = world.listener()
    place = world.place(server)
    with world.stream() as client:
        world.close(server)
        error = failure(OSError, client.connect, *_address(world, client, place))
    assert error.errno == (errno.ENOENT if world.local else errno.ECONNREFUSED)
    assert isinstance(error, errors.UVError)


def _address(world, client, place):
    if world.local:
        return [place]
    return place if hasattr(client, "getsockname") else [system.address("ipv4", *place)]


def test_listener_closed_under_accept(world):
    """The coroutine gets Closed at once, and a client that waits in the queue an end or a reset."""
    server, told = world.listener(), []

    def accept():
        told.append(failure(errors.Closed, server.accept))

    waiter = spawn.call(accept)
    assert waiter.status == "suspended"
    world.close(server)
    assert told[0].interrupted
    assert waiter.status == "dead"
    assert failure(errors.Closed, server.accept).errno == errno.EBADF


def test_accept_by_two(world):
    """The second coroutine gets BusyError, the first one its connection."""
    with world.listener() as server, world.stream() as client:
        accepted = []
        spawn.call(lambda: accepted.append(server.accept()))
        assert isinstance(failure(errors.BusyError, server.accept), RuntimeError)
        world.connect(client, server)
        while not accepted:
            system.suspend(0)
        world.close(accepted[0])


def test_cancelled_accept(world):
    """An explicit resume is returned; the next accept gets the connection."""
    with world.listener() as server, world.stream() as client:
        got = []
        waiter = spawn.call(lambda: got.append(server.accept()))
        waiter.resume("enough")
        assert got == ["enough"]
        world.connect(client, server)
        with server.accept() as stream:
            world.write(client, b"x")
            assert world.read(stream) == b"x"


# -- data


@pytest.mark.parametrize("size", [1, 1024, 65536, 65537, 1_000_003, len(BIG)])
def test_echo(world, size):
    """What is sent comes back, whatever the size."""
    payload = BIG[:size]
    with connected(world) as (client, server):

        def echo():
            while data := world.read(server):
                world.write(server, data)
            server.shutdown()

        spawn.call(echo)
        spawn.call(lambda: (world.write(client, payload), client.shutdown()))
        assert read_all(world, client, size) == payload
        assert world.read(client) == b""


def test_sizes_of_reads(world):
    """A read brings no more than asked for; the rest stays."""
    with connected(world) as (one, other):
        world.write(one, b"abcdefgh")
        assert world.read(other, 3) == b"abc"
        buffer = bytearray(2)
        assert world.read_into(other, buffer) == 2
        assert buffer == b"de"
        assert world.read(other, 1 << 40) == b"fgh"


@pytest.mark.parametrize(
    ("size", "kind"), [(0, ValueError), (-1, ValueError), (True, TypeError), ("4", TypeError), (4.0, TypeError)]
)
def test_sizes_that_are_none(world, size, kind):
    """They are refused before anything is read."""
    with connected(world) as (one, other):
        world.write(one, b"kept")
        failure(kind, world.read, other, size)
        assert world.read(other) == b"kept"


@pytest.mark.parametrize("data", ["text", None, 7, object()])
def test_data_that_are_no_bytes(world, data):
    """TypeError, and nothing is sent."""
    with connected(world) as (one, other):
        failure(TypeError, world.write, one, data)
        world.write(one, memoryview(bytearray(b"bytes")))
        assert world.read(other) == b"bytes"


def test_buffers_to_read_into(world):
    """They must be writable, and have room."""
    with connected(world) as (one, other):
        world.write(one, b"data")
        failure(TypeError, world.read_into, other, b"constant")
        failure(ValueError, world.read_into, other, bytearray())
        buffer = bytearray(10)
        assert world.read_into(other, memoryview(buffer)[2:]) == 4
        assert buffer == b"\0\0data\0\0\0\0"
        buffer.append(1)  # it is not held any more


def test_nothing_is_written(world):
    """An empty write returns at once, and the peer does not notice."""
    with connected(world) as (one, other):
        assert world.write(one, b"") is True
        world.write(one, b"x")
        assert world.read(other) == b"x"


def test_writes_are_in_order(world):
    """Several coroutines write more than the system takes; their data follow one another as they were called."""
    pieces = [bytes([number]) * (FULL // 8) for number in range(8)]
    with connected(world) as (one, other):
        writers = [spawn.call(world.write, one, piece) for piece in pieces]
        assert writers[-1].status == "suspended"
        assert read_all(world, other, FULL) == b"".join(pieces)
        while any(writer.status != "dead" for writer in writers):
            system.suspend(0)


# -- back-pressure


def test_writer_waits_for_a_slow_reader(world):
    """A write that is too large ends when the reader has taken enough."""
    with connected(world) as (one, other):
        writer = spawn.call(world.write, one, BIG)
        for _ in range(50):
            system.suspend(0)
        assert writer.status == "suspended"
        assert read_all(world, other, len(BIG)) == BIG
        while writer.status != "dead":
            system.suspend(0)


def test_unread_data_stay_in_the_system(world):
    """The sender is stopped, also after one read, and after one that was cancelled; nothing is lost."""
    with with_python(world) as (stream, peer):
        sent = fill(peer)
        while more := fill_in_turns(peer):  # what the system had under way it puts into our end's memory, later if busy
            sent += more
            assert sent < 2 * FULL, "the stream reads without being asked"
        first = world.read(stream, 1000)
        more = fill_in_turns(peer)
        assert more <= FULL
        assert len(first) + len(read_all(world, stream, sent + more - len(first))) == sent + more


# -- ends


def test_half_close(world):
    """After shutdown the peer reads the end, and can still send."""
    with connected(world) as (one, other):
        world.write(one, b"question")
        assert one.shutdown() is True
        assert world.read(other) == b"question"
        assert world.read(other) == b""
        world.write(other, b"answer")
        assert world.read(one) == b"answer"
        assert failure(OSError, world.write, one, b"more").errno == errno.EPIPE
        assert failure(OSError, one.shutdown).errno == errno.ENOTCONN


def test_the_end_comes_again_and_again(world):
    """Each read after the end tells it; a handle that was at the end can be closed."""
    with with_python(world) as (stream, peer):
        peer.send(b"last")
        peer.close()
        assert [world.read(stream) for _ in range(4)] == [b"last", b"", b"", b""]
        assert world.read_into(stream, bytearray(3)) == 0


def test_shutdown_waits_for_what_was_written(world):
    """The end comes after all data, those that are queued, too."""
    with connected(world) as (one, other):
        writer = spawn.call(world.write, one, BIG)
        ending = spawn.call(one.shutdown)
        assert ending.status == "suspended"
        assert read_all(world, other, len(BIG) + 1) == BIG
        while writer.status != "dead" or ending.status != "dead":
            system.suspend(0)


def test_reset(world):
    """A peer that closes with data unread resets the connection: reading and writing fail."""
    with with_python(world) as (stream, peer):
        world.write(stream, b"never read")
        while not peer.recv(1, 2):  # MSG_PEEK: it has arrived
            pass
        peer.close()
        assert failure(OSError, world.read, stream).errno == errno.ECONNRESET
        error = failure(OSError, lambda: [world.write(stream, b"more") for _ in range(50)])
        assert error.errno in (errno.EPIPE, errno.ECONNRESET)
        assert isinstance(error, errors.UVError)


def test_write_to_a_peer_that_closes(world):
    """A writer that waits gets EPIPE or ECONNRESET when its peer goes away."""
    with with_python(world) as (stream, peer):
        told = []
        writer = spawn.call(lambda: told.append(failure(OSError, world.write, stream, BIG).errno))
        assert writer.status == "suspended"
        peer.close()
        while not told:
            system.suspend(0)
        assert told[0] in (errno.EPIPE, errno.ECONNRESET)


# -- waits that are cut


def test_two_readers(world):
    """The second one gets BusyError; the first one its data."""
    with connected(world) as (one, other):
        got = []
        spawn.call(lambda: got.append(world.read(other)))
        error = failure(errors.BusyError, world.read, other)
        assert "read" in str(error) or "in use" in str(error)
        world.write(one, b"first")
        while not got:
            system.suspend(0)
        assert got == [b"first"]


def test_cancelled_read(world):
    """An explicit resume, an exception and a time limit all end it; what comes later is read later."""
    with connected(world) as (one, other):
        got = []
        reader = spawn.call(lambda: got.append(world.read(other)))
        reader.resume("given")
        assert got == ["given"]
        reader = spawn.call(lambda: got.append(failure(KeyError, world.read, other)))
        reader.throw(KeyError("thrown"))
        assert isinstance(got[1], KeyError)
        with scopes.move_on_after(0.001):
            world.read(other)
            got.append("not reached")
        assert len(got) == 2
        world.write(one, b"late")
        assert world.read(other) == b"late"


def test_cancelled_read_into(world):
    """The buffer is untouched, and not held."""
    with connected(world) as (one, other):
        buffer, got = bytearray(4), []
        reader = spawn.call(lambda: got.append(world.read_into(other, buffer)))
        reader.resume("given")
        assert got == ["given"]
        buffer.append(0)
        world.write(one, b"late")
        assert world.read_into(other, buffer) == 4
        assert buffer == b"late\0"


def test_cancelled_write(world):
    """What it had not sent is sent in the background, in order; the coroutine may do something else meanwhile."""
    with connected(world) as (one, other):
        got = []

        def write():
            got.append(world.write(one, BIG))
            system.suspend(0)
            got.append(world.write(one, b"after"))

        writer = spawn.call(write)
        writer.resume("given")
        assert got == ["given"]
        assert read_all(world, other, len(BIG) + 5) == BIG + b"after"
        while writer.status != "dead":
            system.suspend(0)
        assert got == ["given", True]


def test_close_under_a_reader(world):
    """It gets Closed at once."""
    with connected(world) as (_, other):
        told = []
        spawn.call(lambda: told.append(failure(errors.Closed, world.read, other)))
        world.close(other)
        assert told[0].interrupted
        assert isinstance(told[0], OSError)


def test_close_under_a_writer(world):
    """All who wait in a write, or shutdown, get ECANCELED."""
    with connected(world) as (one, _):
        told = []
        for call in (lambda: world.write(one, BIG), lambda: world.write(one, b"behind"), one.shutdown):
            spawn.call(lambda call: told.append(failure(errors.OperationCancelled, call).name), call)
        world.close(one)
        while len(told) < 3:
            system.suspend(0)
        assert told == ["ECANCELED"] * 3


def test_everything_after_close(world):
    """Closed, which is EBADF, for everything; closing again is no error."""
    with connected(world) as (one, _):
        world.close(one)
        world.close(one)
        for call in (
            world.read,
            lambda one: world.write(one, b"x"),
            lambda one: one.shutdown(),
            lambda one: one.fileno(),
        ):
            assert failure(errors.Closed, call, one).errno == errno.EBADF


def test_other_threads(world):
    """They get ForeignThread, and the stream is as it was."""
    with connected(world) as (one, other):
        told = []

        def intrude():
            calls = (world.read, lambda one: world.write(one, b"no"), world.close, lambda one: one.shutdown())
            told.extend(failure(errors.ForeignThread, call, one) for call in calls)

        thread = threading.Thread(target=intrude)
        thread.start()
        thread.join()
        assert len(told) == 4
        world.write(one, b"still")
        assert world.read(other) == b"still"


def test_stream_that_is_not_connected(world):
    """It cannot be read, written or shut down."""
    with world.stream() as stream:
        assert failure(OSError, world.read, stream).errno == errno.ENOTCONN
        assert failure(OSError, world.write, stream, b"x").errno in (errno.EPIPE, errno.EBADF, errno.ENOTCONN)
        assert failure(OSError, stream.shutdown).errno == errno.ENOTCONN


# -- fairness


def test_none_starves(world):
    """A coroutine whose reads and writes all succeed at once lets others run."""
    with connected(world) as (one, other):
        turns, pairs = [], 500

        def other_work():
            while True:
                turns.append(1)
                system.suspend(0)

        worker = spawn.call(other_work)
        for _ in range(pairs):
            world.write(one, b"x")
            assert world.read(other) == b"x"
        assert len(turns) > 2
        worker.close()


def test_many_connections(world):
    """Each coroutine gets its own data."""
    count = 40
    with world.listener() as server:
        echoed = []

        def serve():
            while True:
                spawn.call(echo, server.accept())

        def echo(stream):
            with stream:
                while data := world.read(stream):
                    world.write(stream, data)

        def ask(number):
            with world.stream() as stream:
                world.connect(stream, server)
                world.write(stream, b"%d" % number)
                echoed.append(int(world.read(stream)))

        accepting = spawn.call(serve)
        asking = [spawn.call(ask, number) for number in range(count)]
        while any(one.status != "dead" for one in asking):
            system.suspend(0)
        assert sorted(echoed) == list(range(count))
        for _ in range(20):
            system.suspend(0)
        accepting.close()
        assert coroutine.running() is not None
