"""Descriptors that our objects take over: one object owns one number, and closes it once.

The probe is a pipe that gets the number as soon as it is free, as the next file of any program would. It must outlive
whatever is done with the object afterwards.
"""

import fcntl
import gc
import os
import socket
import threading
from contextlib import contextmanager, nullcontext, suppress
from functools import partial

import pytest

from coutil import coroutine, errors, spawn, system, uv
from coutil.system.files.file import File
from coutil.system.network.fd_passing import socket_from_fd
from tests.helpers.pipes import child_end
from tests.helpers.script import ROOT, run_script
from tests.helpers.stream_apis import WORLDS
from tests.helpers.tcp import BIG
from tests.system.test_file_endings import end


def pipe():
    """Return (our object, what keeps the other end)."""
    reader, writer = os.pipe()
    return socket_from_fd(reader), os.fdopen(writer, "wb", buffering=0)


def tcp():
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        return socket_from_fd(server.accept()[0].detach()), other


def local():
    near, far = socket.socketpair()
    return socket_from_fd(near.detach()), far


def listener():
    made = socket_from_fd(socket.create_server(("127.0.0.1", 0)).detach())
    made.listen(8)
    return made, None


def udp():
    made = socket.socket(type=socket.SOCK_DGRAM)
    made.bind(("127.0.0.1", 0))
    return socket_from_fd(made.detach()), None


def file():
    reader, writer = os.pipe()
    return File(reader, "'pipe'", True, False, waits=True), os.fdopen(writer, "wb", buffering=0)


KINDS = {"pipe": pipe, "tcp": tcp, "local": local, "listener": listener, "udp": udp, "file": file}
KINDS |= {"pipe to a child": partial(child_end, "pipe"), "share pipe": partial(child_end, "sharepipe")}
each_kind = pytest.mark.parametrize("make", KINDS.values(), ids=KINDS)


@contextmanager
def probe(number):
    """Open a pipe whose reading end has `number`, which must be free; at the end it must work."""
    assert not os.path.exists(f"/proc/self/fd/{number}"), "nobody has closed it"
    reader, low = os.pipe()
    writer = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, 200)
    os.close(low)
    if reader != number:
        os.dup2(reader, number, inheritable=False)
        os.close(reader)
    try:
        before = os.readlink(f"/proc/self/fd/{number}")
        yield
        gc.collect()
        system.run("ready")
        assert os.readlink(f"/proc/self/fd/{number}") == before
        os.write(writer, b"probe")
        assert os.read(number, 10) == b"probe"
    finally:
        os.close(number)
        os.close(writer)


def end_other(other):
    if other is not None:
        other.close()


@each_kind
def test_closed_then_forgotten(make):
    """B02: what was closed by hand is not closed once more: not by hand, not at the end of a block, not by the GC."""
    made, other = make()
    number = made.fileno()
    assert made.close() is True
    with probe(number):
        assert made.close() is True
        with made:
            pass
        del made
    end_other(other)


@each_kind
@pytest.mark.parametrize("how", ["forgotten", "in a cycle"])
def test_forgotten(make, how):
    """B02: the one that forgets the object gives the number back, and the loop does not touch it any more."""
    made, other = make()
    number = made.fileno()
    if how == "in a cycle":
        holder = [made]
        holder.append(holder)
        del holder
    del made
    gc.collect()
    with probe(number):
        system.run("ready")
    end_other(other)


@each_kind
def test_closed_by_the_end_of_its_loop(make):
    """B02: the loop of a thread that ends closes what it has; a file belongs to no loop, and stays open."""
    kept = []

    def work():
        kept.extend(make())
        kept.append(kept[0].fileno())
        system.suspend(0.0001)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(10)
    made, other, number = kept
    del kept[:]
    if make is file:
        made.close()
        return end_other(other)
    assert made._handle.closed
    with probe(number):
        assert made.close() is True
        del made
    return end_other(other)


@each_kind
def test_closed_under_a_waiter(make):
    """B02: the number is free once, and the wait that is over does not come back to it."""
    made, other = make()
    number, log = made.fileno(), []

    def wait():
        call = getattr(made, "accept", None) or getattr(made, "receive", None) or partial(made.read, 9)
        try:
            log.append(call())
        except OSError as error:
            log.append(error.name)

    waiter = spawn.call(wait)
    system.run("ready")
    made.close()
    if make is file:  # what has begun goes on, on the same descriptor
        assert os.readlink(f"/proc/self/fd/{number}").startswith("pipe:")
        other.write(b"last")
        other.close()
        while waiter.status != "dead":
            system.run("step")
    with probe(number):
        assert waiter.status == "dead"
        made = None
    assert log == ([b"last"] if make is file else ["EBADF"])
    end_other(other)


def test_refused_is_closed_too():
    """B02: a descriptor of a kind that cannot be waited for is closed by the one that refuses it, once."""
    number = os.open(ROOT, os.O_RDONLY)
    assert socket_from_fd(number) is None
    with probe(number):
        pass


def test_standard_streams_have_numbers_of_their_own():
    """B02: neither Python's objects for the standard streams nor ours close the other's descriptors."""
    done = run_script(
        """
        import gc, os, subprocess, sys
        child = '''
        import gc, os, sys
        from coutil import system
        stdin, stdout = system.stdin, system.stdout
        assert 0 != stdin.fileno() > 2 < stdout.fileno()
        assert stdin.receive(1) == b"a"
        sys.stdin.close()
        os.close(0)
        reader, writer = os.pipe()       # the probe
        assert reader == 0
        assert stdin.receive(1) == b"b"
        stdin.close()
        stdout.send(b"ours ")
        stdout.close()
        del stdin, stdout
        gc.collect()
        system.run("ready")
        os.write(writer, b"probe")
        print(os.read(0, 9).decode())
        '''
        from textwrap import dedent
        command = [sys.executable, "-c", dedent(child)]
        done = subprocess.run(command, input=b"abc", capture_output=True, timeout=10)
        print(done.returncode, done.stdout, done.stderr)
        """
    )
    assert (done.stdout, done.stderr) == ("0 b'ours probe\\n' b''\n", "")


# -- Python sockets that a coroutine takes over, which is ended at each step


def plain_tcp():
    """Return both ends of a connection, Python sockets."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        other = socket.create_connection(server.getsockname())
        return server.accept()[0], other


def taken_by_uv(plain):
    made = (uv.TCP if plain.family == socket.AF_INET else uv.Pipe)()
    made.open(plain)
    return made


def taken_by_system(plain):
    return socket_from_fd(plain.detach())


TAKERS = {
    "system-ipv4": (plain_tcp, taken_by_system),
    "system-local": (socket.socketpair, taken_by_system),
    "uv-tcp": (plain_tcp, taken_by_uv),
    "uv-pipe": (socket.socketpair, taken_by_uv),
}


def send_this_file(world, made):
    with system.openfile(__file__, blocking=True) as source:
        made.send_file(source)


STEPS = {  # what the coroutine does: the last call is ended, those before go on in the background
    "nothing": [lambda world, made: coroutine.yield_()],
    "reading": [lambda world, made: world.read(made)],
    "reading into": [lambda world, made: world.read_into(made, bytearray(9))],
    "reading what has come": [lambda world, made: world.read(made)],
    "writing": [lambda world, made: world.write(made, BIG)],
    "writing more": [lambda world, made: world.write(made, BIG), lambda world, made: world.write(made, b"x")],
    "shutting down": [lambda world, made: world.write(made, BIG), lambda world, made: made.shutdown()],
    "sending a file": [send_this_file],
}


def use(world, plain, take, calls, in_block):
    """Take a Python socket over and make some calls; then close what took it, or forget it."""
    made = take(plain)
    with made if in_block else nullcontext():
        for call in calls:
            call(world, made)


def up_to_the_end(peer):
    """Read what comes; it ends only if no other one has the connection any more."""
    peer.settimeout(10)
    with peer, suppress(ConnectionResetError):
        while peer.recv(1 << 20):
            pass


each_taker = pytest.mark.parametrize("name", TAKERS)
each_step = pytest.mark.parametrize(
    ("name", "step"),
    [(name, step) for name in TAKERS for step in STEPS if step != "sending a file" or name.startswith("system")],
)


@each_step
@pytest.mark.parametrize("how", ["resume", "throw", "close"])
def test_user_of_a_python_socket_is_ended(name, step, how):
    """B01: the Python socket has no number any more, and the descriptor is closed once, where its user's block ends.

    Handles of `uv` last until they are closed; ours also end when they are forgotten.
    """
    world, (make, take), calls = WORLDS[name], TAKERS[name], STEPS[step]
    for in_block in (True, False) if name.startswith("system") else (True,):
        plain, peer = make()
        number = plain.fileno()
        user = coroutine.create(use)
        user.resume(world, plain, take, calls, in_block)
        assert plain.fileno() == -1
        for _ in calls[1:]:
            user.resume()
        assert user.status == "suspended"
        if step == "reading what has come":
            peer.send(b"data")
        end(user, how)
        assert user.status == "dead"
        with probe(number):
            del user
            plain.close()
            del plain
            system.run()
        up_to_the_end(peer)


@each_taker
def test_user_of_a_python_socket_is_ended_before(name):
    """B01: a coroutine that has not begun has taken nothing: the socket is Python's, works, and is closed by it."""
    make, take = TAKERS[name]
    for how in ("throw", "close"):
        plain, peer = make()
        user = coroutine.create(partial(use, WORLDS[name], plain, take, [], True))
        end(user, how)
        assert user.status == "dead"
        del user
        gc.collect()
        peer.send(b"data")
        assert plain.recv(9) == b"data"
        number = plain.fileno()
        plain.close()
        with probe(number):
            system.run("ready")
        up_to_the_end(peer)


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
@pytest.mark.parametrize("make", [listener, udp], ids=["listener", "udp"])
def test_user_of_a_listener_or_datagram_socket_is_ended(make, how):
    """B01: the same for what connections or datagrams come in at."""

    def wait(made):
        with made:
            (made.accept if isinstance(made, system.PassiveSocket) else made.receive)()

    made, _ = make()
    number = made.fileno()
    user = spawn.call(wait, made)
    end(user, how)
    with probe(number):
        del user, made
        system.run()


@pytest.mark.parametrize("name", ["uv-tcp", "uv-pipe"])
def test_python_socket_that_is_refused(name):
    """B01: a handle that cannot take a socket has not touched it: it is handed back, and only Python closes it."""
    make, take = TAKERS[name]
    (plain, peer), (second, other) = make(), make()
    with take(plain) as made:
        with pytest.raises(errors.UVError, match="EBUSY"):
            made.open(second)
        number = made.fileno()
    with probe(number):
        other.send(b"data")
        assert second.recv(9) == b"data"
        number = second.fileno()
        second.close()
        with probe(number):
            del made, second
            system.run()
    up_to_the_end(peer)
    up_to_the_end(other)
