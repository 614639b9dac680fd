"""Streams with handlers: reading, writing, connections, and what the two styles of reading owe each other."""

import contextvars
import gc
import socket
import threading
from contextlib import suppress

import pytest

from coutil import errors, uv
from tests.helpers.servers import listening_tcp

PATIENCE = 10_000  # turns


def turn(loop, until=lambda: False, turns=PATIENCE):
    """Turn the loop until something is so."""
    for _ in range(turns):
        if until():
            return
        loop.run("nowait")
    assert turns != PATIENCE, "it did not happen"


def settle(loop):
    """Let everything happen that can happen now."""
    turn(loop, turns=30)


def pair(loop):
    """Return two connected TCP handles."""
    made = uv.TCP(loop), uv.TCP(loop)
    for handle, end in zip(made, uv.socketpair(), strict=True):
        handle.open(end)
    return made


def closed(*handles):
    """Close handles, all of them before any handler can run."""
    for handle in handles:
        handle.close_soon()


class Log(list):
    """Handlers that write down what they are called with."""

    def onread(self, stream, err, data):
        """See Stream."""
        self.append(err.name if err else data)

    def onconnection(self, server, err):
        """See Stream."""
        self.append((server, err))


@pytest.fixture
def log():
    """What the handlers were called with."""
    return Log()


# -- handlers


def test_echo_in_method_and_flat_form(loop, log):
    """A handler is an attribute, or a method of a class; both get the stream."""

    class Echo(uv.TCP):
        def onread(self, err, data):
            assert err is None
            if data:
                self.write(data)
            else:
                self.close()

    def onconnection(server, err):
        assert err is None
        stream = Echo(loop)
        assert uv.accept(server, stream) is stream
        uv.read_start(stream)
        server.close()

    server = uv.new_tcp(loop)
    uv.tcp_bind(server, "127.0.0.1", 0)
    server.onconnection = onconnection
    uv.listen(server, 128)
    client = uv.new_tcp(loop)

    def onread(stream, err, data):
        log.onread(stream, err, data)
        if data:
            uv.shutdown(stream)
        else:
            uv.close(stream)

    client.onread = onread
    assert uv.tcp_connect(client, *uv.tcp_getsockname(server)) is True
    uv.read_start(client)
    assert uv.write(client, [b"PI", bytearray(b"NG")]) is True
    assert uv.run(loop) is False
    assert log == [b"PING", None]


def test_handlers_may_wait(loop, log):
    """A handler that waits keeps no other one from being called."""
    one, other = pair(loop)
    slow, quick = pair(loop)
    order = []

    def onread(stream, err, data):
        order.append("asks")
        stream.write(b"?")
        order.append(slow.read())

    other.onread = onread
    other.read_start()
    quick.onread = lambda stream, err, data: (order.append(data), stream.write(b"answer"))
    quick.read_start()
    one.write(b"go")
    turn(loop, lambda: "asks" in order)
    slow.write(b"question")
    turn(loop, lambda: len(order) == 3)
    assert order == ["asks", b"question", b"answer"]
    closed(one, other, slow, quick)


def test_the_end_and_errors(loop, log):
    """Both end the reading: the first with no data, the others with an exception that is not raised."""
    one, other = pair(loop)
    other.onread = log.onread
    other.read_start()
    assert other.active
    one.write(b"x")
    one.close()
    turn(loop, lambda: len(log) == 2)
    assert log == [b"x", None]
    assert not other.active
    assert loop.run() is False
    other.close()
    server, client = listening_tcp(loop), uv.TCP(loop)
    client.connect(*server.getsockname())
    stream = server.accept()
    stream.onread = log.onread
    stream.read_start()
    client.close_reset()
    turn(loop, lambda: len(log) == 3)
    assert log[2] == "ECONNRESET"
    assert not stream.readable
    assert not stream.writable
    closed(stream, server)


def test_exception_in_a_handler(loop):
    """It leaves run, or goes to onerror; the stream reads on."""
    one, other = pair(loop)
    seen = []

    def onread(stream, err, data):
        seen.append(data)
        raise KeyError(data)

    other.onread = onread
    other.read_start()
    one.write(b"a")
    with pytest.raises(KeyError, match="a"):
        turn(loop, lambda: False)
    loop.onerror = lambda error, handle: seen.append((error.args, handle))
    one.write(b"b")
    turn(loop, lambda: len(seen) == 3)
    assert seen == [b"a", b"b", ((b"b",), other)]
    closed(one, other)


# -- read_start and read_stop


def test_read_start_twice(loop):
    """EALREADY, as in libuv; read_stop twice is no error."""
    one, other = pair(loop)
    other.read_start()
    with pytest.raises(errors.UVError) as info:
        other.read_start()
    assert info.value.name == "EALREADY"
    other.read_stop()
    uv.read_stop(other)
    assert not other.active
    other.read_start()
    assert other.active
    closed(one, other)


def test_read_start_of_what_is_not_connected(loop):
    """ENOTCONN, and for a closed one Closed."""
    stream = uv.TCP(loop)
    with pytest.raises(errors.UVError) as info:
        stream.read_start()
    assert info.value.name == "ENOTCONN"
    assert info.value.syscall == "uv_read_start"
    stream.close()
    for call in (stream.read_start, stream.read_stop, stream.listen):
        with pytest.raises(errors.Closed):
            call()


def test_stop_and_start(loop, log):
    """What comes while reading is stopped comes when it is started again, in order; so does the end."""
    one, other = pair(loop)
    other.onread = lambda stream, err, data: (log.append(data), stream.read_stop())
    other.read_start()
    one.write(b"1")
    turn(loop, lambda: log)
    one.write(b"2")
    settle(loop)
    assert log == [b"1"]
    other.read_start()
    turn(loop, lambda: len(log) == 2)
    one.close()
    settle(loop)
    assert log == [b"1", b"2"]
    other.read_start()
    turn(loop, lambda: len(log) == 3)
    assert log == [b"1", b"2", None]
    closed(other)


@pytest.mark.parametrize("again", ["read_start", "read"])
def test_stopped_by_another_handler_of_the_same_turn(loop, log, again):
    """The chunk that was under way does not reach the handler; who reads next gets it, before anything newer."""
    ends = [pair(loop), pair(loop)]
    readers = [other for _, other in ends]

    def onread(stream, err, data):
        log.append(data)
        for one in readers:
            if one is not stream:
                one.read_stop()

    for one, other in ends:
        other.onread = onread
        other.read_start()
        one.write(b"early ")
    turn(loop, lambda: log)
    settle(loop)
    assert log == [b"early "]
    stopped = next(one for one in readers if not one.active)
    sender = next(one for one, other in ends if other is stopped)
    sender.write(b"late")
    settle(loop)
    assert len(log) == 1
    if again == "read":
        assert stopped.read(5) == b"early"
        assert stopped.read() + stopped.read() == b" late"
    else:
        stopped.read_start()
        turn(loop, lambda: len(log) == 3)
        assert log[1:] == [b"early ", b"late"]
    closed(*ends[0], *ends[1])


def test_handler_that_comes_late(loop, log):
    """It gets what came since read_start; before, one chunk at most is kept and the sender is stopped."""
    one, other = pair(loop)
    other.read_start()
    sent = one.try_write(bytes(1 << 24))
    assert 0 < sent < 1 << 23
    settle(loop)
    more = one.try_write(bytes(1 << 24))
    settle(loop)
    assert more <= 1 << 17
    assert one.try_write(bytes(1 << 24)) == 0
    other.onread = log.onread
    assert log == []
    turn(loop, lambda: sum(map(len, log)) == sent + more)
    one.close()
    turn(loop, lambda: log[-1] is None)
    closed(other)


def test_end_before_the_handler(loop, log):
    """It is told of that, too: data and end which came in one turn both arrive."""
    one, other = pair(loop)
    other.read_start()
    one.write(b"x")
    one.close()
    settle(loop)
    other.onread = log.onread
    turn(loop, lambda: len(log) == 2)
    assert log == [b"x", None]
    closed(other)


def test_who_waits_gets_the_data_instead(loop, log):
    """While a coroutine reads, the handler gets nothing; afterwards it does again."""
    one, other = pair(loop)
    other.onread = log.onread
    other.read_start()
    one.write(b"for the reader")
    assert other.read(7) == b"for the"
    turn(loop, lambda: log)
    one.write(b"for the handler")
    turn(loop, lambda: len(log) == 2)
    assert log == [b" reader", b"for the handler"]
    assert other.active
    closed(one, other)


def test_pull_style_keeps_no_loop_alive(loop):
    """A stream that is not read from is not active, also right after a read, or one that was given up."""
    one, other = pair(loop)
    one.write(b"data")
    assert other.read() == b"data"
    assert not other.active
    assert loop.run() is False
    got = []
    timer = uv.Timer(loop)
    timer.ontimeout = lambda timer: got.append(other.read())
    timer.start(1)
    turn(loop, lambda: other._core.waiter is not None)
    waiter = other._core.waiter
    assert other.active
    waiter.resume(b"enough")
    assert got == [b"enough"]
    assert not other.active
    closed(one, other, timer)


def test_unreferenced(loop, log):
    """Reading does not keep the loop alive then."""
    one, other = pair(loop)
    other.onread = log.onread
    other.read_start()
    other.unref()
    assert other.active
    assert loop.run() is False
    one.write(b"x")
    loop.run()
    turn(loop, lambda: log)
    assert log == [b"x"]
    closed(one, other)


# -- writing


def test_try_write(loop):
    """It returns how much was taken: 0 if nothing, and while something is queued."""
    one, other = pair(loop)
    big = bytes(1 << 24)
    taken = uv.try_write(one, big)
    assert 0 < taken < len(big)
    assert one.try_write([b"more"]) == 0
    request = one.write_nowait(b"queued")
    assert one.try_write(b"behind") == 0
    assert uv.stream_get_write_queue_size(one) == one.write_queue_size == 6
    assert not request.done
    left = taken + 6
    while left:
        left -= len(other.read())
    assert request.result() is True
    assert one.write_queue_size == 0
    other.close()
    with pytest.raises(errors.UVError) as info:
        [one.try_write(b"nobody") for _ in range(100)]
    assert info.value.name in ("EPIPE", "ECONNRESET")
    closed(one)


def test_write_nowait(loop):
    """The request tells when it is done; its type cannot be cancelled."""
    one, other = pair(loop)
    request = one.write_nowait(b"at once")
    assert isinstance(request, uv.Request)
    assert (uv.req_get_type(request), request.done) == ("write", True)
    assert request.result() is True
    queued = one.write_nowait([bytes(1 << 24)])
    assert repr(queued) == "<Request tcp write in progress>"
    with pytest.raises(errors.UVError) as info:
        uv.cancel(queued)
    assert info.value.name == "EINVAL"
    behind = one.write_nowait(b"behind")
    one.close()
    for request in (queued, behind):
        with pytest.raises(errors.OperationCancelled):
            request.result()
        assert repr(request) == "<Request tcp write failed: ECANCELED>"
    closed(other)


def test_requests_end_before_the_close(loop):
    """Writes, shutdown and connect of a handle that closes end with ECANCELED, in order, then close returns."""
    one, other = pair(loop)
    order = []

    def run(name, call):
        try:
            call()
        except errors.OperationCancelled:
            order.append(name)

    loop.call_threadsafe(run, "write 1", lambda: one.write(bytes(1 << 24)))
    loop.call_threadsafe(run, "write 2", lambda: one.write(b"x"))
    loop.call_threadsafe(run, "shutdown", one.shutdown)
    turn(loop, lambda: one.write_queue_size > 1)
    settle(loop)
    one.close()
    order.append("closed")
    assert order == ["write 1", "write 2", "shutdown", "closed"]
    closed(other)


def test_data_that_are_dropped_at_once(loop):
    """What is written is kept until it is sent, no matter which one forgets it."""
    one, other = pair(loop)
    requests = [one.write_nowait(bytearray([number]) * 300_000) for number in range(20)]
    gc.collect()
    found = bytearray()
    while len(found) < 6_000_000:
        found += other.read()
    assert found == b"".join(bytes([number]) * 300_000 for number in range(20))
    assert all(request.result() for request in requests)
    closed(one, other)


def test_blocking(loop):
    """Writes wait in the system call then."""
    one, other = pair(loop)
    uv.stream_set_blocking(one, True)
    found = []
    with socket.socket(fileno=socket.dup(other.fileno())) as reader:
        reader.setblocking(True)
        thread = threading.Thread(target=lambda: found.append(len(reader.recv(1 << 22, socket.MSG_WAITALL))))
        thread.start()
        assert one.write_nowait(bytes(1 << 22)).result() is True
        thread.join()
    assert found == [1 << 22]
    one.set_blocking(False)
    closed(one, other)
    with pytest.raises(errors.Closed):
        one.set_blocking(True)


def test_readable_and_writable(loop):
    """As the handle's state is: nothing before it is connected, nor after its end."""
    one, other = pair(loop)
    fresh = uv.TCP(loop)
    assert [(uv.is_readable(s), uv.is_writable(s)) for s in (fresh, one)] == [(False, False), (True, True)]
    one.shutdown()
    assert one.readable
    assert not one.writable
    closed(one, other, fresh)
    assert (one.readable, one.writable) == (False, False)


def test_shutdown_after_write(loop):
    """Twice is ENOTCONN, also at the same time."""
    one, other = pair(loop)
    one.write(b"x")
    assert one.shutdown() is True
    with pytest.raises(errors.UVError) as info:
        one.shutdown()
    assert info.value.name == "ENOTCONN"
    assert (other.read(), other.read()) == (b"x", b"")
    closed(one, other)


# -- connections


def test_onconnection_that_comes_late(loop, log):
    """It is told of a connection that waits already."""
    server, client = listening_tcp(loop), uv.TCP(loop)
    client.connect(*server.getsockname())
    settle(loop)
    server.onconnection = log.onconnection
    turn(loop, lambda: log)
    assert log == [(server, None)]
    closed(client, server)


def test_delayed_accept(loop, log):
    """A connection may be accepted long after the handler was called; the next one is told of then."""
    server = listening_tcp(loop)
    server.onconnection = log.onconnection
    clients = [uv.TCP(loop) for _ in range(3)]
    for number, client in enumerate(clients):
        client.connect(*server.getsockname())
        client.write(b"%d" % number)
    settle(loop)
    assert log == [(server, None)]
    accepted = []
    for number in range(3):
        accepted.append(server.accept(uv.TCP(loop)))
        settle(loop)
        assert len(log) == min(number + 2, 3)
    assert [one.read() for one in accepted] == [b"0", b"1", b"2"]
    with pytest.raises(errors.UVError) as info:
        server.accept(uv.TCP(loop))
    assert info.value.name == "EAGAIN"
    loop.walk(uv.close_soon)


def test_accept_into_the_wrong_handle(loop):
    """Nothing is lost: the connection waits for the right one."""
    server, client = listening_tcp(loop), uv.TCP(loop)
    client.connect(*server.getsockname())
    settle(loop)
    handles = uv.Pipe(loop), client, uv.Timer(loop)
    names = []
    for handle in handles:
        with pytest.raises(errors.UVError) as info:
            uv.accept(server, handle)
        names.append(info.value.name)
    assert names == ["EINVAL", "EBUSY", "EBADF"]
    with uv.Loop() as other, uv.TCP(other) as foreign, pytest.raises(ValueError, match="another loop"):
        server.accept(foreign)
    with pytest.raises(TypeError, match="client "):
        server.accept(3)
    with server.accept() as stream:
        client.write(b"x")
        assert stream.read() == b"x"
    loop.walk(uv.close_soon)


def test_accept_of_what_does_not_listen(loop):
    """EINVAL instead of a wait that never ends."""
    with uv.TCP(loop) as stream:
        with pytest.raises(errors.UVError) as info:
            stream.accept()
        assert info.value.name == "EINVAL"
        with pytest.raises(errors.UVError) as info:
            stream.accept(uv.TCP(loop))
        assert info.value.name == "EAGAIN"
    loop.walk(uv.close_soon)


def test_close_of_a_server_with_clients_in_its_queue(loop):
    """They are reset, those that it holds already, too."""
    server = listening_tcp(loop)
    clients = [uv.TCP(loop) for _ in range(3)]
    for client in clients:
        client.connect(*server.getsockname())
    settle(loop)
    server.close()
    for client in clients:
        with suppress(ConnectionResetError):
            assert client.read() == b""
        client.close()
    assert loop.walk() == []


@pytest.mark.parametrize(
    ("backlog", "kind"), [(-1, ValueError), (2**31, ValueError), ("1", TypeError), (True, TypeError)]
)
def test_backlog(loop, backlog, kind):
    """It is checked before libuv is called."""
    with uv.TCP(loop) as server:
        with pytest.raises(kind, match="backlog"):
            server.listen(backlog)
        assert not server.active


def test_listen_twice(loop):
    """It is no error, and both backlogs work."""
    server, client = listening_tcp(loop), uv.TCP(loop)
    server.listen(1)
    client.connect(*server.getsockname())
    with server.accept() as stream:
        assert stream.getpeername() == client.getsockname()
    closed(client, server)


def test_base_functions_refuse_other_handles(loop):
    """The flat functions of streams take streams only."""
    with uv.Timer(loop) as timer:
        for function in (uv.read_start, uv.read_stop, uv.listen, uv.shutdown, uv.is_readable):
            with pytest.raises(TypeError, match="must be a Stream"):
                function(timer)


# -- memory, and who keeps whom


def test_more_data_than_a_turn_has_room_for(loop):
    """Streams that find no room in one turn come in the next; nothing is lost, or out of order."""
    ends, seen, piece = [pair(loop) for _ in range(100)], {}, bytes(range(256)) * 400

    def onread(stream, err, data):
        seen[stream] = seen.get(stream, b"") + data

    for one, other in ends:
        one.write(piece)
        other.onread = onread
    for _, other in ends:
        other.read_start()
    turn(loop, lambda: sum(map(len, seen.values())) == len(piece) * 100)
    assert set(seen.values()) == {piece}
    for one, other in ends:
        closed(one, other)


def test_nothing_refers_to_a_stream(loop):
    """It stays, with its handler, until it is closed."""
    seen = []

    def serve():
        server = listening_tcp(loop)
        server.onconnection = lambda server, err: begin(server.accept(uv.TCP(server.loop)))
        return server.getsockname()

    def begin(stream):
        stream.onread = lambda stream, err, data: (gc.collect(), seen.append(data))
        stream.read_start()

    name = serve()
    gc.collect()
    with socket.create_connection(name) as client:
        client.sendall(b"x")
        turn(loop, lambda: seen)
    turn(loop, lambda: len(seen) == 2)
    assert seen == [b"x", None]
    assert len(loop.walk()) == 2
    loop.walk(uv.close_soon)


def test_two_close_the_same_stream(loop):
    """A handler waits in close; another coroutine closes the same handle meanwhile, and both go on."""
    one, other = pair(loop)
    order = []

    def onread(stream, err, data):
        loop.call_threadsafe(lambda: order.append(("second", stream.close())))
        order.append(("first", stream.close()))

    other.onread = onread
    other.read_start()
    one.write(b"x")
    turn(loop, lambda: len(order) == 2)
    assert sorted(order) == [("first", True), ("second", True)]
    assert other.closed
    closed(one)


def test_close_under_all_who_wait(loop):
    """The reader gets Closed, writers ECANCELED; a handler that closes its own stream is not called again."""
    one, other = pair(loop)
    told = []

    def tell(call, *arguments):
        try:
            call(*arguments)
        except errors.UVError as error:
            told.append("closed" if isinstance(error, errors.Closed) else error.name)

    loop.call_threadsafe(tell, one.read)
    for _ in range(2):
        loop.call_threadsafe(tell, one.write, bytes(1 << 24))
    turn(loop, lambda: one._core.waiter is not None)
    settle(loop)
    assert told == []
    one.close()
    assert told == ["closed", "ECANCELED", "ECANCELED"]
    closed(other)


def test_a_handler_closes_its_stream(loop, log):
    """What came behind is not told."""
    one, other = pair(loop)
    other.onread = lambda stream, err, data: (log.append(data), stream.close_soon())
    other.read_start()
    one.write(b"x" * 200_000)
    turn(loop, lambda: other.closed)
    assert len(log) == 1
    assert len(log[0]) <= 65536
    closed(one)


def test_context_of_a_handler(loop):
    """What a handler sets in its context no other one sees."""
    variable, seen = contextvars.ContextVar("variable", default="unset"), []
    ends = [pair(loop) for _ in range(3)]

    def onread(stream, err, data):
        seen.append(variable.get())
        variable.set(data)

    for one, other in ends:
        other.onread = onread
        other.read_start()
        one.write(b"x")
    turn(loop, lambda: len(seen) == 3)
    assert seen == ["unset"] * 3
    for one, other in ends:
        closed(one, other)
