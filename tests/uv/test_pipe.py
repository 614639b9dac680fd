"""Pipe handles: names, Unix sockets and pipes, handles that travel between loops and processes."""

import gc
import io
import os
import socket
import stat
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection

import pytest

from coutil import errors, uv
from tests.helpers.script import output_of
from tests.helpers.servers import local_path


def name_of(call, *arguments, **options):
    """Return libuv's name of the error that a call raises."""
    with pytest.raises(errors.UVError) as info:
        call(*arguments, **options)
    return info.value.name


def listening_pipe(loop, name=None):
    """Return a handle that listens at a path."""
    server = uv.Pipe(loop)
    server.bind(name or local_path())
    server.listen()
    return server


def channel(loop, ipc=True):
    """Return two ipc pipes that are connected."""
    made = uv.Pipe(loop, ipc), uv.Pipe(loop, ipc)
    for handle, end in zip(made, uv.socketpair(), strict=True):
        handle.open(end)
    return made


# -- names


@pytest.mark.parametrize("name", ["path", "long path", "abstract", "long abstract", b"abstract"])
def test_names(loop, name):
    """They are told as they are, abstract ones as bytes; a path is removed with the handle."""
    path = local_path()
    bound = {
        "path": path,
        "long path": path + "x" * (107 - len(path)),
        "abstract": f"\0coutil-{os.getpid()}",
        "long abstract": "\0" + f"coutil-{os.getpid()}".ljust(107, "x"),
        b"abstract": b"\0coutil\0" + str(os.getpid()).encode(),
    }[name]
    server = uv.new_pipe(loop)
    uv.pipe_bind(server, bound)
    told = uv.pipe_getsockname(server)
    assert told == (os.fsencode(bound) if "abstract" in os.fsdecode(name) else bound)
    server.listen()
    client = uv.new_pipe(loop, False)
    assert uv.pipe_connect(client, told) is True
    assert uv.pipe_getpeername(client) == told
    assert client.getsockname() == ""
    with server.accept() as stream:
        assert stream.getsockname() == told
        stream.write(b"x")
        assert client.read() == b"x"
    client.close()
    server.close()
    assert not os.path.exists(path)


def test_name_that_linux_chooses(loop):
    """It is abstract, and others can connect to it."""
    with uv.Pipe(loop) as server, uv.Pipe(loop) as client:
        uv.pipe_bind2(server, "")
        found = server.getsockname()
        assert found.startswith(b"\0")
        assert len(found) == 6
        server.listen()
        assert uv.pipe_connect2(client, found) is True
        assert client.getpeername() == found


def test_bind_errors(loop):
    """The path is named in the message; libuv's habit of EACCES for a missing folder is kept."""
    server, second = listening_pipe(loop), uv.Pipe(loop)
    path = server.getsockname()
    with pytest.raises(errors.UVError) as info:
        second.bind(path)
    assert info.value.name == "EADDRINUSE"
    assert info.value.filename == path
    assert name_of(second.bind, "/nowhere/at/all") == "EACCES"
    assert name_of(server.bind, local_path()) == "EINVAL"
    assert name_of(second.bind, "x" * 108) == "ENAMETOOLONG"
    assert name_of(second.listen) == "EINVAL"
    assert name_of(uv.Pipe(loop).listen) == "EINVAL"
    for bad, kind in (("a\0b", ValueError), (None, TypeError), (3, TypeError)):
        with pytest.raises(kind, match="name "):
            second.bind(bad)
        with pytest.raises(kind, match="name "):
            second.connect(bad)
    loop.walk(uv.close_soon)


def test_connect_errors(loop):
    """They come from the call; the handle can be used afterwards."""
    path, client = local_path(), uv.Pipe(loop)
    assert name_of(client.connect, path) == "ENOENT"
    assert name_of(client.connect, __file__) == "ECONNREFUSED"
    assert name_of(client.connect, "") == "EINVAL"
    assert name_of(client.connect, "x" * 200) == "ENAMETOOLONG"
    assert name_of(client.getsockname) == "EBADF"
    assert name_of(client.getpeername) == "EBADF"
    with listening_pipe(loop, path) as server:
        assert client.connect(path) is True
        assert name_of(server.getpeername) == "ENOTCONN"
        assert name_of(client.connect, path) == "EISCONN"
    client.close()
    with pytest.raises(errors.Closed):
        client.connect(path)


def test_listener_that_has_no_room(loop):
    """EAGAIN, as the system says."""
    with uv.Pipe(loop) as server:
        server.bind(local_path())
        server.listen(0)
        clients = [uv.Pipe(loop) for _ in range(6)]
        server.onconnection = lambda server, err: None
        names = []
        for client in clients:
            try:
                client.connect(server.getsockname())
            except errors.UVError as error:
                names.append(error.name)
        assert set(names) == {"EAGAIN"}
        assert len(names) < 6
    loop.walk(uv.close_soon)


def test_chmod(loop):
    """Everybody may then read, write or both; other words are refused."""
    with uv.Pipe(loop) as server:
        assert name_of(server.chmod, "rw") == "EBADF"
        path = local_path()
        server.bind(path)
        before = stat.S_IMODE(os.stat(path).st_mode)
        uv.pipe_chmod(server, "rw")
        assert stat.S_IMODE(os.stat(path).st_mode) == before | 0o666
        for mode, kind in (("x", ValueError), ("", ValueError), (3, TypeError)):
            with pytest.raises(kind, match="mode "):
                server.chmod(mode)
        uv.pipe_pending_instances(server, 3)
        server.pending_instances(1)


# -- descriptors


def test_pipe_of_two_descriptors(loop):
    """Ping and pong over two of them; open owns the descriptor."""
    read, write = uv.pipe(uv.NONBLOCK_PIPE, 0)
    assert [os.get_blocking(end) for end in (read, write)] == [False, True]
    reader, writer = uv.Pipe(loop), uv.Pipe(loop)
    uv.pipe_open(reader, read)
    writer.open(write)
    assert (reader.readable, reader.writable) == (True, False)
    assert (writer.readable, writer.writable) == (False, True)
    assert not os.get_blocking(write)
    writer.write(b"ping")
    assert reader.read() == b"ping"
    assert name_of(reader.write, b"x") in ("EBADF", "EPIPE")
    writer.close()
    assert reader.read() == b""
    reader.close()
    for number in (read, write):
        with pytest.raises(OSError, match="Bad file"):
            os.fstat(number)
    with pytest.raises(ValueError, match="read_flags"):
        uv.pipe(1)


def test_reader_that_goes_away(loop):
    """The writer gets EPIPE, not a signal."""
    read, write = uv.pipe()
    writer = uv.Pipe(loop)
    writer.open(write)
    request = writer.write_nowait(bytes(1 << 20))
    os.close(read)
    with pytest.raises(BrokenPipeError):
        request.result()
    with pytest.raises(BrokenPipeError):
        writer.write(b"x")
    writer.close()


def test_open_of_files(loop, tmp_path):
    """What libuv cannot poll is refused; the descriptor is the caller's still."""
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with uv.Pipe(loop) as handle, open(path, "rb") as file, open(os.devnull, "rb") as null:
        assert name_of(handle.open, file) == "EINVAL"
        assert name_of(handle.open, null.fileno()) == "EINVAL"
        assert file.read() == b"x"
        assert name_of(handle.open, 1023) == "EBADF"


def test_stop_before_the_end(loop):
    """The end that comes while reading is stopped is told when it starts again."""
    one, other = channel(loop, ipc=False)
    log = []
    other.onread = lambda stream, err, data: (log.append(data), stream.read_stop())
    other.read_start()
    one.write(b"x")
    while not log:
        loop.run("once")
    one.close()
    loop.run("nowait")
    assert log == [b"x"]
    other.read_start()
    while len(log) < 2:
        loop.run("once")
    assert log == [b"x", None]
    other.close()


# -- handles that travel


@pytest.mark.parametrize("try_", [False, True])
def test_sending_a_connection(loop, try_):
    """The receiver has another descriptor of it: both ends go on when the sender closes its own."""
    here, there = channel(loop)
    server = uv.TCP(loop)
    server.bind("127.0.0.1", 0)
    server.listen()
    with socket.create_connection(server.getsockname()) as peer:
        stream = server.accept()
        if try_:
            assert uv.try_write2(here, b"take it", stream) == 7
        else:
            assert uv.write2(here, b"take it", stream) is True
        stream.close()
        assert there.read() == b"take it"
        assert (uv.pipe_pending_count(there), uv.pipe_pending_type(there)) == (1, "tcp")
        taken = there.accept_pending()
        assert isinstance(taken, uv.TCP)
        assert (there.pending_count, there.pending_type) == (0, None)
        taken.write(b"hello")
        assert peer.recv(10) == b"hello"
        assert name_of(there.accept_pending) == "EAGAIN"
    loop.walk(uv.close_soon)


def test_several_handles_wait(loop):
    """Each comes out in order, with uv.accept as well; those that are not taken are closed with the pipe."""
    here, there = channel(loop)
    sent = [uv.TCP(loop, "inet"), *channel(loop, ipc=False), uv.TCP(loop, "inet")]
    for number, handle in enumerate(sent):
        here.write2(b"%d" % number, handle)
    data = b""
    while len(data) < 4:
        data += there.read()
    assert data == b"0123"
    assert there.pending_count == 4
    with uv.Pipe(loop) as wrong:
        assert name_of(uv.accept, there, wrong) == "EINVAL"
    first = uv.accept(there, uv.TCP(loop))
    assert first.fileno() != sent[0].fileno()
    assert there.pending_type == "pipe"
    second = there.accept_pending()
    sent[2].write(b"through")
    assert second.read() == b"through"
    assert there.pending_count == 2
    loop.walk(uv.close_soon)
    loop.run("nowait")


def test_handler_of_an_ipc_pipe(loop):
    """It finds the handle pending when the data come, and the pipe does not spin afterwards."""
    here, there = channel(loop)
    seen = []

    def onread(pipe, err, data):
        while pipe.pending_count:
            seen.append(pipe.accept_pending().type)
        seen.append(data)

    there.onread = onread
    there.read_start()
    carried = uv.TCP(loop, "inet")
    here.write2(b"x", carried)
    while len(seen) < 2:
        loop.run("once")
    assert seen == ["tcp", b"x"]
    there.read_stop()
    here.write(b"not read")
    assert loop.run() is False
    loop.walk(uv.close_soon)


def test_sending_what_cannot_travel(loop):
    """Each mistake has its error, and the pipe still works."""
    here, there = channel(loop)
    plain, _ = channel(loop, ipc=False)
    fresh, carried, timer = uv.TCP(loop), uv.TCP(loop, "inet"), uv.Timer(loop)
    for call in (plain.write2, plain.try_write2):
        assert name_of(call, b"x", carried) == "EINVAL"
    for call in (here.write2, here.try_write2):
        assert name_of(call, b"x", fresh) == "EBADF"
        with pytest.raises(ValueError, match="data "):
            call(b"", carried)
        with pytest.raises(TypeError, match="send_handle "):
            call(b"x", timer)
        with pytest.raises(TypeError, match="send_handle "):
            call(b"x", 3)
        with uv.Loop() as other, uv.TCP(other, "inet") as foreign, pytest.raises(ValueError, match="another loop"):
            call(b"x", foreign)
    carried.close()
    with pytest.raises(errors.Closed):
        here.write2(b"x", carried)
    with pytest.raises(TypeError, match="must be a Pipe"):
        uv.write2(fresh, b"x", fresh)
    here.write(b"fine")
    assert there.read() == b"fine"
    assert name_of(uv.Pipe(loop, True).listen) == "EINVAL"
    loop.walk(uv.close_soon)


def test_both_sides_write_much(loop):
    """No one waits for ever: each reads while its writes are queued."""
    here, there = channel(loop)
    total, seen = 3 << 20, {}

    def onread(pipe, err, data):
        seen[pipe] = seen.get(pipe, 0) + len(data)

    requests = []
    for pipe in (here, there):
        pipe.onread = onread
        pipe.read_start()
        requests += [pipe.write_nowait(bytes(1 << 20)) for _ in range(3)]
    while seen.get(here, 0) < total or seen.get(there, 0) < total:
        loop.run("once")
    assert all(request.result() for request in requests)
    assert seen == {here: total, there: total}
    loop.walk(uv.close_soon)


CHILD = """
from coutil import uv
parent = uv.Pipe(None, True)
parent.open(0)
assert parent.read() == b"listen"
server = parent.accept_pending()
server.listen()
parent.write(b"ready")
with server.accept() as stream:
    stream.write(b"from the child: " + stream.read())
    assert stream.read() == b""
server.close()
parent.close()
"""


def test_listener_for_another_process(loop):
    """A child gets a socket that is bound here, before anybody listens, and serves it."""
    ours, theirs = uv.socketpair()
    with uv.Pipe(loop, True) as pipe, uv.TCP(loop) as server:
        pipe.open(ours)
        server.bind("127.0.0.1", 0)
        with subprocess.Popen([sys.executable, "-c", CHILD], stdin=theirs) as child:
            os.close(theirs)
            pipe.write2(b"listen", server)
            assert pipe.read() == b"ready"
            with uv.TCP(loop) as client:
                client.connect(*server.getsockname())
                client.write(b"hello")
                assert client.read() == b"from the child: hello"
            assert child.wait(10) == 0


def test_a_write_that_blocks_stops_no_other_thread():
    """A queued write to a descriptor that blocks keeps the loop in write(2); the thread that reads goes on."""
    lines = output_of(
        """
        import os, threading
        from coutil import spawn, system, uv

        source, sink = os.pipe()
        other, size, found = os.dup(sink), 1_000_000, []
        pipe = uv.Pipe()
        pipe.open(sink)
        spawn.call(lambda: pipe.write(bytes(size)))
        os.set_blocking(other, True)  # as a child that has inherited it may do

        def read():
            while sum(found) < size:
                found.append(len(os.read(source, 65536)))

        thread = threading.Thread(target=read)
        thread.start()
        while thread.is_alive():
            system.suspend()
        print(sum(found))
        """
    )
    assert lines == ["1000000"]


# -- objects whose descriptor is taken over


WRAPPERS = {
    "raw": io.FileIO,
    "buffered": lambda fd: io.BufferedReader(io.FileIO(fd)),
    "text": lambda fd: io.TextIOWrapper(io.BufferedReader(io.FileIO(fd)), encoding="utf-8"),
    "connection": lambda fd: Connection(fd, writable=False),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_open_takes_a_file_over(loop, wrapper):
    """A file object is closed, so that its finalizer closes nothing that is the handle's, or a stranger's, by then."""
    near, far = os.pipe()
    file = WRAPPERS[wrapper](near)
    with uv.Pipe(loop) as pipe:
        pipe.open(file)
        assert file.closed
        del file
        gc.collect()
        os.write(far, b"data")
        assert pipe.read() == b"data"
    loop.run()
    with pytest.raises(BrokenPipeError):
        os.write(far, b"nobody reads")
    os.close(far)


def test_open_flushes_first(loop):
    """What a file object has in its buffer comes before what the handle writes."""
    near, far = os.pipe()
    file = io.TextIOWrapper(io.BufferedWriter(io.FileIO(far, "w")), encoding="utf-8")
    file.write("first ")
    with uv.Pipe(loop) as pipe:
        pipe.open(file)
        assert pipe.try_write(b"then") == 4
        assert os.read(near, 99) == b"first then"
    os.close(near)


def test_open_that_fails_leaves_the_file(loop, tmp_path):
    """The object is as it was, with its descriptor; nothing is left open."""
    with uv.Pipe(loop) as pipe, open(tmp_path / "file", "wb") as file:
        file.write(b"x")
        assert name_of(pipe.open, file) == "EINVAL"
        file.write(b"y")
    assert (tmp_path / "file").read_bytes() == b"xy"
    near, far = os.pipe()
    os.close(near)
    with uv.Pipe(loop) as pipe, suppress(BrokenPipeError), open(far, "wb") as file:
        file.write(b"nobody reads")
        with pytest.raises(BrokenPipeError):
            pipe.open(file)
        assert not file.closed
        assert name_of(pipe.fileno) == "EBADF"


def test_open_of_what_does_not_close_its_descriptor(loop):
    """It stays as it is, and the handle has the number."""
    near, far = os.pipe()
    file = io.BufferedReader(io.FileIO(near, closefd=False))
    with uv.Pipe(loop) as pipe:
        pipe.open(file)
        assert pipe.fileno() == near
        assert not file.closed
    os.close(far)
