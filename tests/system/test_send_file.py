"""`StreamSocket.send_file`: files go to a peer, quick or slow, silent or gone."""

import os
import signal
import socket
import threading
from random import Random

import pytest

from coutil import errors, spawn, system
from coutil.system.files.file import File
from tests.helpers.ids import shown
from tests.helpers.script import run_script
from tests.helpers.tcp import as_plain, fill, pairs, receive_all, receive_exactly, reset, with_plain_peer

DATA = Random(1).randbytes(1 << 20) * 8 + b"the end"


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "file"
    made.write_bytes(DATA)
    return made


def read_all(peer, into):
    """Read a plain socket to its end, in a thread."""
    peer.setblocking(True)
    while data := peer.recv(1 << 16):
        into.extend(data)


def test_whole_file(path):
    """Everything arrives, and the position of the file stays."""
    with system.openfile(path) as file, pairs("ipv4") as (near, far):
        received = []
        spawn.call(lambda: received.append(receive_exactly(far, len(DATA))))
        assert near.send_file(file) == len(DATA)
        system.run()
        assert received == [DATA]
        assert file.read(10) == DATA[:10]


@pytest.mark.parametrize(
    ("offset", "count", "expected"),
    [
        (0, 0, b""),
        (5, 1, DATA[5:6]),
        (100, 70_000, DATA[100:70_100]),
        (len(DATA) - 7, None, b"the end"),
        (len(DATA) - 7, 100, b"the end"),
        (len(DATA), None, b""),
        (len(DATA) + 10**6, 5, b""),
    ],
    ids=shown,
)
def test_pieces(offset, count, expected, path):
    """From an offset, a number of bytes; short at the end of the file."""
    with system.openfile(path) as file, pairs("ipv4") as (near, far):
        assert near.send_file(file, offset, count) == len(expected)
        near.shutdown()
        assert receive_all(far) == expected


def test_slow_peer(path):
    """A peer that reads slowly through small buffers gets everything; the others run meanwhile, the pool is free."""
    with system.openfile(path) as file, with_plain_peer("ipv4") as (near, peer):
        with as_plain(near) as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        received, sent, turns = bytearray(), [], 0
        sender = spawn.call(lambda: sent.append(near.send_file(file, 0, 2_000_000)))
        while len(received) < 2_000_000:
            turns += 1
            assert system.fileinfo(path, "size") == len(DATA)  # goes through the pool
            try:
                received += peer.recv(50_000)
            except BlockingIOError:
                system.run("step")
        system.run()
        assert sender.status == "dead"
        assert sent == [2_000_000]
        assert received == DATA[:2_000_000]
        assert turns > 40


def test_after_other_data(path):
    """What was sent before comes before, also if it still stands in line."""
    with system.openfile(path) as file, with_plain_peer("ipv4") as (near, peer):
        big = bytes(10 << 20)
        spawn.call(near.send, big)
        spawn.call(near.send_file, file)
        received = bytearray()
        reader = threading.Thread(target=read_all, args=(peer, received))
        reader.start()
        system.run()
        near.send(b"last")
        near.shutdown()
        reader.join(20)
        assert len(received) == len(big) + len(DATA) + 4
        assert received == big + DATA + b"last"


def test_files_that_are_none(tmp_path):
    """A pipe, and files without a size, are sent as well."""
    reader, writer = os.pipe()
    with pairs("ipv4") as (near, far):
        with File(reader, "'pipe'", True, False) as file, pytest.raises(errors.UVError, match="ESPIPE"):
            near.send_file(file)
        os.close(writer)
        with system.openfile("/proc/self/status") as file:
            count = near.send_file(file)
        assert count > 100
        near.shutdown()
        assert b"\nPid:\t%d\n" % os.getpid() in receive_all(far)


def test_bad_arguments(path):
    """They are refused before anything is sent."""
    with system.openfile(path) as file, pairs("ipv4") as (near, far):
        for wrong in (path, file.fileno(), None, open):
            with pytest.raises(TypeError, match="file "):
                near.send_file(wrong)
        for name, position in (("offset", (-1,)), ("count", (0, -1)), ("offset", (2**63,))):
            with pytest.raises(ValueError, match=f"{name} "):
                near.send_file(file, *position)
        with pytest.raises(TypeError, match="offset "):
            near.send_file(file, 1.5)
        near.shutdown()
        assert receive_all(far) == b""


def test_closed_and_unconnected(path):
    """A closed stream or file is `Closed`, a stream without a peer ENOTCONN or EPIPE, a file without access EBADF."""
    file = system.openfile(path)
    with system.socket("stream", "ipv4") as lonely, pytest.raises(errors.UVError, match=r"ENOTCONN|EPIPE|EBADF"):
        lonely.send_file(file)
    with pairs("ipv4") as (near, _), system.openfile(path, write=True) as mute:
        with pytest.raises(errors.UVError, match="EBADF"):
            near.send_file(mute)
        near.close()
        with pytest.raises(errors.Closed, match="stream"):
            near.send_file(file)
    file.close()
    with pairs("ipv4") as (near, _), pytest.raises(errors.Closed, match="file"):
        near.send_file(file)


@pytest.mark.parametrize("full", [False, True])
def test_peer_is_gone(full, path):
    """B41: a reset while the file is sent is an error of the call, nothing else."""
    with system.openfile(path) as file, with_plain_peer("ipv4") as (near, peer):
        found = []

        def send():
            try:
                near.send_file(file)
            except errors.UVError as error:
                found.append(error.name)

        spawn.call(send)
        if full:
            system.run("step")
            system.suspend(0.02)
        reset(peer)
        system.run()
        assert found[0] in ("EPIPE", "ECONNRESET")


def test_sigpipe_kills_none(path):
    """B41: also where the program has not asked to be spared by SIGPIPE."""
    script = f"""
        import signal, socket
        from coutil import errors, system
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
        server = system.socket("passive", "ipv4")
        server.bind(system.address("ipv4", "127.0.0.1:0"))
        server.listen(1)
        peer = socket.create_connection(("127.0.0.1", server.getaddress().port))
        stream = server.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\\1\\0\\0\\0\\0\\0\\0\\0")
        peer.close()
        with system.openfile({str(path)!r}) as file:
            for _ in range(3):
                try:
                    stream.send_file(file)
                except errors.UVError as error:
                    print(error.name in ("EPIPE", "ECONNRESET"))
    """
    done = run_script(script)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(done.stdout.split()) == {"True"}
    assert signal.getsignal(signal.SIGPIPE) is signal.SIG_IGN


@pytest.mark.parametrize("what", ["stream", "file"])
def test_closed_meanwhile(what, path):
    """B01: the sender is told; what was opened since with the same number is left alone."""
    file = system.openfile(path)
    with with_plain_peer("ipv4") as (near, peer):
        fill_near(near)
        found = []

        def send():
            try:
                near.send_file(file)
            except errors.UVError as error:
                found.append(type(error).__name__)

        spawn.call(send)
        for _ in range(3):
            system.run("ready")
            system.suspend(0.005)
        (near if what == "stream" else file).close()
        heir, other = os.pipe()
        if what == "file":
            reader = threading.Thread(target=read_all, args=(peer, bytearray()))
            reader.start()
        system.run()
        assert found == ["Closed"] or (what, found) == ("stream", ["OperationCancelled"])
        os.set_blocking(heir, False)
        with pytest.raises(BlockingIOError):
            os.read(heir, 1)
        os.close(heir)
        os.close(other)
        if what == "file":
            near.close()
            reader.join(10)
    file.close()


def fill_near(near):
    """Send until the system takes no more."""
    with as_plain(near) as plain:
        plain.setblocking(False)
        fill(plain)


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
@pytest.mark.parametrize("turns", [0, 1, 2, 5])
def test_told_to_leave(how, turns, path):
    """The sender leaves at once, wherever it is, without a descriptor; when its piece is through, others can send."""
    with system.openfile(path) as file, with_plain_peer("ipv4") as (near, peer):
        log = []
        sender = spawn.call(lambda: log.append(near.send_file(file)))
        for _ in range(turns):
            system.run("ready")
            system.suspend(0.002)
        assert sender.status == "suspended"
        if how == "resume":
            sender.resume(True)
        elif how == "throw":
            with pytest.raises(KeyError):
                sender.throw(KeyError)
        else:
            sender.close()
        assert sender.status == "dead"
        assert log == ([True] if how == "resume" else [])
        received = bytearray()
        reader = threading.Thread(target=read_all, args=(peer, received))
        reader.start()
        system.run()  # a piece may still be on its way
        near.send(b"over")
        near.shutdown()
        reader.join(10)
        assert received.endswith(b"over")
        assert received[:-4] == DATA[: len(received) - 4]


def test_without_descriptors(path):
    """EMFILE is told when there is no descriptor for the duplicate."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with system.openfile(path) as file, pairs("ipv4") as (near, far):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 1, hard))
            with pytest.raises(OSError, match="Too many open files"):
                near.send_file(file, 0, 10)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert near.send_file(file, 0, 10) == 10
        assert far.receive(10) == DATA[:10]


def test_foreign_threads(path):
    """A stream belongs to its thread, a file does not."""
    found = []

    def work():
        with pytest.raises(errors.ForeignThread):
            near.send_file(file)
        with with_plain_peer("ipv4") as (stream, peer):
            found.append(stream.send_file(file, 0, 100))
            peer.setblocking(True)
            found.append(peer.recv(100))

    with system.openfile(path) as file, pairs("ipv4") as (near, _):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join(10)
    assert found == [100, DATA[:100]]
