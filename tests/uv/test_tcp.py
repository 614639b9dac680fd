"""TCP handles: addresses, connecting, descriptors that are taken over, options, resets."""

import errno
import os
import resource
import socket
from contextlib import ExitStack, contextmanager, suppress

import pytest

from coutil import errors, scopes, uv
from tests.helpers.servers import listening_tcp
from tests.helpers.tcp import both_domains


def name_of(call, *arguments, **options):
    """Return libuv's name of the error that a call raises."""
    with pytest.raises(errors.UVError) as info:
        call(*arguments, **options)
    return info.value.name


def free_port():
    """Return a port without a listener."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@both_domains
def test_connect_shutdown_close(loop, domain):
    """Both families; names of both ends fit together."""
    server = listening_tcp(loop, {"ipv4": "127.0.0.1", "ipv6": "::1"}[domain])
    client = uv.new_tcp(loop, {"ipv4": "inet", "ipv6": "inet6"}[domain])
    name = uv.tcp_getsockname(server)
    assert uv.tcp_connect(client, *name[:2]) is True
    with server.accept() as stream:
        assert uv.tcp_getpeername(client) == name
        assert stream.getpeername() == client.getsockname()
        assert len(name) == {"ipv4": 2, "ipv6": 4}[domain]
        assert client.shutdown() is True
        assert stream.read() == b""
    assert client.close() is True
    server.close()


@pytest.mark.parametrize(
    "host", ["localhost", "", "127.0.0.1.1", "1.2.3", "::1::", "fe80::1%nowhere", "127.0.0.1%lo", "a\0b"]
)
def test_host_that_is_no_numeric_address(loop, host):
    """ValueError that shows it; nothing is looked up."""
    with uv.TCP(loop) as handle:
        for call in (handle.bind, handle.connect):
            with pytest.raises(ValueError, match="host ") as info:
                call(host, 80)
            assert repr(host) in str(info.value)
        with pytest.raises(TypeError, match="host "):
            handle.connect(b"127.0.0.1", 80)


@pytest.mark.parametrize(
    ("port", "kind"), [(-1, ValueError), (65536, ValueError), ("80", TypeError), (True, TypeError)]
)
def test_port_that_is_none(loop, port, kind):
    """It is checked first."""
    with uv.TCP(loop) as handle:
        with pytest.raises(kind, match=r"port (must be an int|is out of range)"):
            handle.bind("127.0.0.1", port)
        with pytest.raises(kind, match=r"port (must be an int|is out of range)"):
            handle.connect("127.0.0.1", port)


@pytest.mark.parametrize(("family", "kind"), [("ipv4", ValueError), (2, TypeError), ("", ValueError)])
def test_family_that_is_none(loop, family, kind):
    """It must be "inet", "inet6" or None."""
    with pytest.raises(kind, match="family "):
        uv.TCP(loop, family)
    assert loop.walk() == []


def test_socket_that_is_made_early(loop):
    """With a family there is a descriptor at once."""
    with uv.TCP(loop) as late, uv.TCP(loop, "inet") as early:
        assert name_of(late.fileno) == "EBADF"
        assert early.fileno() > 2
        early.bind("127.0.0.1", 0)
        assert early.getsockname()[1] > 0
        assert name_of(late.getsockname) == "EBADF"
        assert name_of(late.close_reset) == "EBADF"
        assert not late.closing


# -- bind and connect


def test_bind_errors(loop):
    """EADDRINUSE comes from listen, the others at once."""
    server, second = listening_tcp(loop), uv.TCP(loop)
    second.bind(*server.getsockname())
    assert name_of(second.listen) == "EADDRINUSE"
    assert name_of(server.bind, "127.0.0.1", 0) == "EINVAL"
    third = uv.TCP(loop)
    assert name_of(third.bind, "192.0.2.1", 0) == "EADDRNOTAVAIL"
    fourth = uv.TCP(loop)
    fourth.bind(*server.getsockname())
    assert name_of(fourth.connect, "127.0.0.1", 1) == "EADDRINUSE"
    loop.walk(uv.close_soon)


def test_ipv6only(loop):
    """It is for IPv6 addresses only, and then IPv4 can have the same port."""
    with uv.TCP(loop) as handle:
        assert name_of(handle.bind, "127.0.0.1", 0, ipv6only=True) == "EINVAL"


def test_reuseport(loop):
    """Several handles listen at one address, and each connection reaches one of them."""
    first = listening_tcp(loop, reuseport=True)
    second = uv.TCP(loop)
    second.bind(*first.getsockname(), reuseport=True)
    second.listen()
    assert second.getsockname() == first.getsockname()
    seen = []
    first.onconnection = second.onconnection = lambda server, err: (seen.append(server), server.accept(uv.TCP(loop)))
    clients = [uv.TCP(loop) for _ in range(20)]
    for client in clients:
        client.connect(*first.getsockname())
    while len(seen) < 20:
        loop.run("once")
    assert set(seen) == {first, second}
    loop.walk(uv.close_soon)


def test_connection_refused(loop):
    """The handle can be closed, or connected elsewhere."""
    with listening_tcp(loop) as server, uv.TCP(loop) as client:
        assert name_of(client.connect, "127.0.0.1", free_port()) == "ECONNREFUSED"
        assert client.closing is False
        assert server.active


def test_connect_to_any(loop):
    """The unspecified address is this machine."""
    with listening_tcp(loop, "0.0.0.0") as server, uv.TCP(loop) as client:
        assert client.connect("0.0.0.0", server.getsockname()[1]) is True
        assert client.getpeername()[0] == "127.0.0.1"


@contextmanager
def silent():
    """Yield an address where connections are neither accepted nor refused: the queue of the listener is full."""
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for _ in range(4):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(server.getsockname())
        yield server.getsockname()


def test_close_while_connecting(loop):
    """Connect ends with ECANCELED, and so do writes that wait for it; close comes last."""
    client, order = uv.TCP(loop), []

    def tell(name, call, *arguments):
        try:
            call(*arguments)
        except errors.OperationCancelled:
            order.append(name)

    with silent() as name:
        loop.call_threadsafe(tell, "connect", client.connect, *name)
        while client._core.hub.loop.counts()["requests_created"] == 0:
            loop.run("nowait")
        assert name_of(client.connect, *name) == "EALREADY"
        loop.call_threadsafe(tell, "write", client.write, b"x")
        while not client.write_queue_size:
            loop.run("nowait")
        assert client.try_write(b"y") == 0
        client.close()
    order.append("closed")
    assert order == ["connect", "write", "closed"]


def test_connect_with_a_time_limit(loop):
    """The caller goes on in time; closing the handle ends the attempt."""
    log = []

    def attempt():
        with scopes.move_on_after(0.01):
            client.connect(*name)
            log.append("not reached")
        log.append("in time")

    with silent() as name, uv.TCP(loop) as client:
        loop.call_threadsafe(attempt)
        while not log:
            loop.run("once")
        assert log == ["in time"]
        assert name_of(client.connect, *name) == "EALREADY"


def test_write_before_the_connection_is_there(loop):
    """It is sent as soon as it is; if that fails the write fails, too."""
    server, client, log = listening_tcp(loop), uv.TCP(loop), []
    loop.call_threadsafe(lambda: log.append(client.connect(*server.getsockname())))
    loop.call_threadsafe(lambda: log.append(client.write(b"early")))
    with server.accept() as stream:
        assert stream.read() == b"early"
    while len(log) < 2:
        loop.run("once")
    assert log == [True, True]
    loop.walk(uv.close_soon)


# -- open


def test_open_takes_a_socket_over(loop):
    """The socket object is detached, its descriptor closed with the handle."""
    one, other = socket.socketpair()
    handle = uv.TCP(loop)
    number = one.fileno()
    handle.open(one)
    assert one.fileno() == -1
    assert handle.fileno() == number
    other.sendall(b"x")
    assert handle.read() == b"x"
    handle.close()
    assert other.recv(1) == b""
    other.close()


def test_open_that_fails(loop):
    """The descriptor is the caller's still; nothing aborts, whatever it is."""
    one, other = socket.socketpair()
    read, write = uv.pipe()
    file = os.open(os.devnull, os.O_RDONLY)
    handle, second = uv.TCP(loop), uv.TCP(loop)
    assert name_of(handle.open, read) == "ENOTSOCK"
    assert name_of(handle.open, file) == "EINVAL"
    assert name_of(handle.open, 1023) == "EBADF"
    uv.tcp_open(handle, one.fileno())
    assert name_of(second.open, one) == "EEXIST"
    assert one.fileno() >= 0
    assert name_of(handle.open, other) == "EBUSY"
    for value, kind in ((-1, ValueError), (True, TypeError), ("3", TypeError), (None, TypeError)):
        with pytest.raises(kind):
            second.open(value)
    one.detach()
    other.close()
    for number in (read, write, file):
        os.close(number)
    loop.walk(uv.close_soon)


def test_open_of_a_listener(loop):
    """A socket that is bound elsewhere listens here."""
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    with uv.TCP(loop) as server, uv.TCP(loop) as client:
        server.open(made)
        server.listen()
        client.connect(*server.getsockname())
        with server.accept() as stream:
            client.write(b"x")
            assert stream.read() == b"x"


def test_socketpair(loop):
    """Two descriptors, ping and pong; flags make an end that does not block."""
    ends = uv.socketpair("stream", 0, uv.NONBLOCK_PIPE, 0)
    assert [os.get_blocking(end) for end in ends] == [False, True]
    with uv.TCP(loop) as one, uv.TCP(loop) as other:
        one.open(ends[0])
        other.open(ends[1])
        one.write(b"ping")
        assert other.read() == b"ping"
        other.write(b"pong")
        assert one.read() == b"pong"
    for number in uv.socketpair("dgram"):
        os.close(number)
    for arguments, kind in ((("seq",), ValueError), (("stream", -1), ValueError), (("stream", 0, 1), ValueError)):
        with pytest.raises(kind):
            uv.socketpair(*arguments)
    assert name_of(uv.socketpair, 77) in ("EINVAL", "EPROTONOSUPPORT", "ESOCKTNOSUPPORT", "UNKNOWN")


def test_out_of_descriptors(loop):
    """EMFILE where a descriptor is made; a listener tells its handler, and takes the client when there is room."""
    server, told = listening_tcp(loop), []
    server.onconnection = lambda server, err: told.append(err.name if err else server.accept(uv.TCP(loop)))
    with socket.socket() as client:
        loop.run("nowait")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = max(int(number) for number in os.listdir("/proc/self/fd"))
        spare = os.open(os.devnull, os.O_RDONLY)
        resource.setrlimit(resource.RLIMIT_NOFILE, (used + 1, hard))
        taken = []
        try:
            while True:
                taken.append(os.dup(spare))
        except OSError:
            pass
        try:
            assert name_of(uv.socketpair) == "EMFILE"
            assert name_of(uv.pipe) == "EMFILE"
            assert name_of(uv.TCP, loop, "inet") == "EMFILE"
            client.connect(server.getsockname())
            loop.run("once")
            for _ in range(20):
                loop.run("nowait")
            assert told == ["EMFILE"], "it rests"
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for number in (*taken, spare):
                os.close(number)
        while told == ["EMFILE"]:
            loop.run("once")
        assert told[1].getpeername() == client.getsockname()
    loop.walk(uv.close_soon)


# -- options


def test_options(loop):
    """They are set on the socket."""
    with uv.TCP(loop, "inet") as handle, socket.socket(fileno=os.dup(handle.fileno())) as look:
        uv.tcp_nodelay(handle, True)
        assert look.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        handle.nodelay(False)
        assert not look.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        uv.tcp_keepalive(handle, True, 33)
        assert look.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert look.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 33
        uv.tcp_keepalive_ex(handle, True, 40, 5, 3)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [look.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [40, 5, 3]
        handle.keepalive(False)
        assert not look.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert name_of(handle.keepalive, True, 0) == "EINVAL"
        uv.tcp_simultaneous_accepts(handle, True)
        handle.simultaneous_accepts(False)
        assert handle.send_buffer_size() > 0
        assert handle.recv_buffer_size(65536) >= 65536
    with pytest.raises(errors.Closed):
        handle.nodelay()


def test_options_without_a_socket(loop):
    """They are kept for later."""
    with uv.TCP(loop) as handle, listening_tcp(loop) as server:
        handle.nodelay()
        handle.keepalive(True, 10, 5, 3)
        handle.connect(*server.getsockname())
        with socket.socket(fileno=os.dup(handle.fileno())) as look:
            assert look.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert alive(look) == (1, 10, 5, 3)
    for bad in ({"idle": -1}, {"interval": 0}, {"count": 0}):
        with pytest.raises(ValueError, match="out of range"):
            handle.keepalive(True, **bad)


def alive(look):
    """Return what keep-alive is set to: whether it is on, the seconds before and between probes, and how many."""
    options = socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT
    return look.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE), *(look.getsockopt(6, one) for one in options)


def opened(handle, server):
    """Have a handle take a socket."""
    handle.open(socket.create_connection(server.getsockname()))


def accepted(handle, server):
    """Have a handle take a connection."""
    with socket.create_connection(server.getsockname()):
        while True:
            with suppress(BlockingIOError):
                server.accept(handle)
                return
            handle.loop.run("once")


MAKERS = {
    "bind": lambda handle, server: handle.bind("127.0.0.1", 0),
    "listen": lambda handle, server: handle.listen(),
    "connect": lambda handle, server: handle.connect(*server.getsockname()),
    "open": opened,
    "accept": accepted,
}


@pytest.mark.parametrize("maker", MAKERS)
def test_keepalive_before_there_is_a_socket(loop, maker):
    """The times that were asked for hold for whatever socket the handle gets; the last call counts."""
    with listening_tcp(loop) as server:
        for last, found in (((True, 10), (1, 10)), ((True, 20, 3, 4), (1, 20, 3, 4)), ((False,), (0,))):
            with uv.TCP(loop) as handle:
                handle.keepalive(True, 30, 31, 32)
                handle.keepalive(*last)
                MAKERS[maker](handle, server)
                with socket.socket(fileno=os.dup(handle.fileno())) as look:
                    assert alive(look)[: len(found)] == found


@pytest.mark.parametrize("times", [(0,), (32768,), (1, 32768), (1, 1, 128)])
def test_keepalive_that_the_system_would_refuse(loop, times):
    """It is refused at once, with a socket and without."""
    with uv.TCP(loop) as early, uv.TCP(loop, "inet") as late:
        assert name_of(early.keepalive, True, *times) == name_of(late.keepalive, True, *times) == "EINVAL"


# -- reset


def test_close_reset(loop):
    """The peer reads ECONNRESET; afterwards the handle is closed."""
    server, client = listening_tcp(loop), uv.TCP(loop)
    client.connect(*server.getsockname())
    stream = server.accept()
    assert uv.tcp_close_reset(client) is True
    assert client.closed
    assert name_of(stream.read) == "ECONNRESET"
    with pytest.raises(errors.Closed):
        client.close_reset()
    assert name_of(stream.shutdown) == "ENOTCONN"
    loop.walk(uv.close_soon)


def test_close_reset_while_a_shutdown_is_in_progress(loop):
    """EINVAL; the handle is open still."""
    one, other = (uv.TCP(loop) for _ in range(2))
    for handle, end in zip((one, other), uv.socketpair(), strict=True):
        handle.open(end)
    loop.call_threadsafe(one.write_nowait, bytes(1 << 24))
    ended = []
    loop.call_threadsafe(lambda: ended.append(name_of(one.shutdown)))
    loop.run("nowait")
    loop.run("nowait")
    assert name_of(one.close_reset) == "EINVAL"
    assert not one.closing
    one.close()
    assert ended == ["ECANCELED"]
    other.close()


def test_peer_that_is_only_half_there(loop):
    """Writes to a peer that has closed end with EPIPE or ECONNRESET, and only once each."""
    server = listening_tcp(loop)
    with socket.create_connection(server.getsockname()) as peer:
        stream = server.accept()
        peer.send(b"x")
        assert stream.read() == b"x"
    assert stream.read() == b""
    found = set()
    for _ in range(20):
        try:
            stream.write(b"data")
        except OSError as error:
            found.add(error.errno)
    assert found
    assert found <= {errno.EPIPE, errno.ECONNRESET}
    loop.walk(uv.close_soon)


def test_urgent_data(loop):
    """A byte out of band does not end the reading."""
    server = listening_tcp(loop)
    with socket.create_connection(server.getsockname()) as peer:
        stream = server.accept()
        peer.send(b"!", socket.MSG_OOB)
        peer.send(b"data")
        assert stream.read() == b"data"
    assert stream.read() == b""
    loop.walk(uv.close_soon)
