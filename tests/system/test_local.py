"""Unix sockets: names of all kinds, and what differs from TCP. What all streams have in common is tested with TCP."""

import errno
import itertools
import os
import re
import socket
import threading
from pathlib import Path

import pytest

from coutil import spawn, system
from coutil.errors import Closed, OperationCancelled
from coutil.system import LocalPassiveSocket, LocalStreamSocket, SharePassiveSocket, ShareStreamSocket
from tests.helpers.ids import shown
from tests.helpers.servers import listening, local_path
from tests.helpers.tcp import BIG, connected, pairs, receive_exactly
from tests.helpers.tcp import with_plain_peer as plain_peer

unix_domains = pytest.mark.parametrize("domain", ["local", "share"])
both_kinds = pytest.mark.parametrize("kind", ["stream", "passive"])
CLASSES = {
    ("stream", "local"): LocalStreamSocket,
    ("passive", "local"): LocalPassiveSocket,
    ("stream", "share"): ShareStreamSocket,
    ("passive", "share"): SharePassiveSocket,
}


@unix_domains
@both_kinds
def test_getdomain(kind, domain):
    """PIP-1 (PIP-3 is the suite of TCP, run for all domains): a socket tells its domain, also when it is closed."""
    with system.socket(kind, domain) as made:
        assert type(made) is CLASSES[kind, domain]
        assert made.getdomain() == domain
    assert made.getdomain() == domain
    assert re.fullmatch(rf"<{type(made).__name__} {domain}( .*)? closed>", repr(made))


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder to go to from the current one, which is empty."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


@unix_domains
@both_kinds
@pytest.mark.parametrize("name", ["name", "./name", "../here/name", "low/name"])
def test_relative_path_and_another_folder(kind, domain, name, elsewhere):
    """The file is removed although the process has gone elsewhere; a file there is none of ours."""
    Path("low").mkdir()
    (elsewhere / "name").write_text("of another")
    with system.socket(kind, domain) as made:
        made.bind(name)
        path = Path(name).resolve()
        assert path.is_socket()
        system.setdir(str(elsewhere))
    assert not path.exists()
    assert (elsewhere / "name").read_text() == "of another"


@both_kinds
def test_path_that_belongs_to_another_file(kind, elsewhere):
    """What is not the bound file stays: another file, or a link to ours."""
    for index, replace in enumerate(
        (lambda path: path.write_text("of another"), lambda path: path.symlink_to("moved"))
    ):
        path = Path(f"name{index}")
        with system.socket(kind, "local") as made:
            made.bind(str(path))
            path.rename("moved")
            replace(path)
        assert path.is_symlink() or path.read_text() == "of another"
        Path("moved").unlink()
        path.unlink()


def test_folder_that_is_gone(elsewhere):
    """No one knows where the process is."""
    made = system.socket("passive", "local")
    (elsewhere / "here").rmdir()
    with made, pytest.raises(FileNotFoundError):
        made.bind("name")


@unix_domains
@both_kinds
def test_bind_and_getaddress(kind, domain):
    """PIP-2: bind makes the path; a second bind is EINVAL; there is no peer; close removes the path."""
    path = local_path()
    with system.socket(kind, domain) as made:
        assert made.getaddress() == ""
        assert made.bind(path) is True
        assert Path(path).is_socket()
        assert made.getaddress() == made.getaddress("self") == made.getaddress(None) == path
        with pytest.raises(OSError, match="EINVAL") as caught:
            made.bind(local_path())
        assert (caught.value.syscall, caught.value.filename != path) == ("bind", True)
        with pytest.raises(OSError, match="ENOTCONN"):
            made.getaddress("peer")
        assert repr(path) in repr(made)
    assert not Path(path).exists()


@unix_domains
def test_addresses_of_a_connection(domain):
    """PIP-2: the one that connects without a name of his own has none; the other end knows both."""
    with pairs(domain) as (near, far):
        assert near.getaddress("peer") == far.getaddress() != ""
        assert near.getaddress() == far.getaddress("peer") == ""
        assert (near.getdomain(), far.getdomain()) == (domain, domain)


@pytest.mark.parametrize("form", [str, os.fsencode, Path], ids=["str", "bytes", "Path"])
def test_forms_of_a_path(form):
    """A path may be str, bytes or os.PathLike, and hold bytes that are no text."""
    for path in (local_path(), os.fsdecode(os.fsencode(local_path()) + b"\xff \xc3\xa4")):
        with system.socket("passive", "local") as server, system.socket("stream", "local") as client:
            assert server.bind(form(path)) is True
            server.listen(1)
            assert client.connect(form(path)) is True
            assert server.getaddress() == client.getaddress("peer") == path


@pytest.mark.parametrize("wrong", [None, True, 80, 1.5, object(), ["x"], system.address("ipv4")], ids=shown)
def test_address_must_be_a_path(wrong):
    """Anything else is a TypeError that says so, and nothing is opened."""
    with system.socket("stream", "local") as made:
        for call in (made.bind, made.connect):
            with pytest.raises(TypeError, match="address "):
                call(wrong)
        assert made.getaddress() == ""
        with pytest.raises(OSError, match="EBADF"):
            made.fileno()


@pytest.mark.parametrize("wrong", ["", b"", "a\0b", "a\0", "\udfff"], ids=ascii)
def test_address_that_no_socket_can_bear(wrong):
    """B67: nothing, a null inside a path, and what cannot be encoded are a ValueError before any call."""
    with system.socket("passive", "local") as made:
        with pytest.raises(ValueError, match=r"address|surrogates"):
            made.bind(wrong)
        assert made.getaddress() == ""
    with system.socket("stream", "local") as made, pytest.raises(ValueError, match=r"address|surrogates"):
        made.connect(wrong)


class Named:
    """A path of one's own kind, which is not made shorter as `pathlib` does."""

    def __init__(self, name):
        self.name = name

    def __fspath__(self):
        return self.name


@pytest.mark.parametrize("form", [str, os.fsencode, Named], ids=["str", "bytes", "PathLike"])
@pytest.mark.parametrize(("longest", "lead"), [(107, "./"), (108, "\0")], ids=["path", "abstract"])
def test_longest_name(longest, lead, form, tmp_path, monkeypatch):
    """B67: a name of 107 or 108 bytes is used in full; one or two bytes more are ENAMETOOLONG, nothing is cut off."""
    monkeypatch.chdir(tmp_path)
    name = lead + "x" * (longest - len(lead))
    with system.socket("passive", "local") as server, system.socket("stream", "local") as client:
        for call, more in itertools.product((server.bind, client.connect), ("y", "yy", "\xe4", "y" * 300)):
            with pytest.raises(OSError, match="ENAMETOOLONG") as caught:
                call(form(name + more))
            assert (caught.value.errno, caught.value.filename) == (errno.ENAMETOOLONG, name + more)
        assert os.listdir(tmp_path) == []
        assert server.bind(form(name)) is True
        server.listen(1)
        assert client.connect(form(name)) is True
        assert client.getaddress("peer") == server.getaddress() == name
        assert os.listdir(tmp_path) == ([] if lead == "\0" else [name.removeprefix(lead)])


def test_abstract_names():
    """B67: abstract names leave no file, may hold nulls, differ by each of them, and are free after close."""
    name = f"\0coutil-{os.getpid()}\0\0a"
    for _ in range(2):
        with system.socket("passive", "local") as server, system.socket("passive", "local") as other:
            server.bind(name)
            other.bind((name + "\0").encode())
            server.listen(1)
            assert (server.getaddress(), other.getaddress()) == (name, name + "\0")
            with system.socket("stream", "local") as client:
                assert client.connect(name.encode()) is True
                with server.accept() as far:
                    client.send(b"data")
                    assert far.receive() == b"data"
            with system.socket("passive", "local") as third, pytest.raises(OSError, match="EADDRINUSE"):
                third.bind(name)


def test_bound_stream_connects():
    """A stream may have a name of its own, which its peer sees."""
    with listening("local") as server, system.socket("stream", "local") as client:
        mine = local_path()
        client.bind(mine)
        client.connect(server.getaddress())
        with server.accept() as far:
            assert far.getaddress("peer") == client.getaddress() == mine
            assert client.send(b"data") is True
            assert far.receive() == b"data"
            assert far.send(b"answer") is True
            assert client.receive() == b"answer"
    assert not Path(mine).exists()


def test_path_of_another_is_not_removed():
    """A server that takes over a path keeps it when the one before closes."""
    with system.socket("passive", "local") as second:
        with listening("local") as first:
            path = first.getaddress()
            os.unlink(path)
            second.bind(path)
            second.listen(1)
        assert Path(path).is_socket()
        with system.socket("stream", "local") as client:
            assert client.connect(path) is True
    assert not Path(path).exists()


@unix_domains
def test_bind_and_listen_errors(domain, tmp_path):
    """Taken, missing folder, not bound: each has its error, which tells the path; the socket can be bound after it."""
    taken = tmp_path / "file"
    taken.touch()
    with system.socket("passive", domain) as made:
        with pytest.raises(OSError, match="EINVAL"):
            made.listen(1)
        for path, name in ((taken, "EADDRINUSE"), (tmp_path / "missing" / "x", "ENOENT")):
            with pytest.raises(OSError, match=name) as caught:
                made.bind(path)
            assert (caught.value.filename, caught.value.syscall) == (str(path), "bind")
        assert made.bind(tmp_path / "free") is True
        assert made.listen(1) is True
        with pytest.raises(ValueError, match="already listening"):
            made.listen(1)
    assert os.listdir(tmp_path) == ["file"]


@unix_domains
def test_connect_errors(domain, tmp_path):
    """STR-18: no such path, a file, a listener that is gone: the error names the path, and the stream can be used."""
    (tmp_path / "file").touch()
    with socket.socket(socket.AF_UNIX) as plain:
        plain.bind(str(tmp_path / "left"))
    with listening(domain) as server, system.socket("stream", domain) as stream:
        expected = {"missing": FileNotFoundError, "file": ConnectionRefusedError, "left": ConnectionRefusedError}
        for name, error in expected.items():
            with pytest.raises(error) as caught:
                stream.connect(tmp_path / name)
            assert (caught.value.filename, caught.value.syscall) == (str(tmp_path / name), "connect")
        assert stream.connect(server.getaddress()) is True
        with server.accept() as far:
            assert far.send(b"after three failures") is True
            assert stream.receive() == b"after three failures"
        with pytest.raises(OSError, match="EISCONN"):
            stream.connect(server.getaddress())


@unix_domains
def test_stream_that_is_not_connected(domain):
    """S-9: receive and shutdown say ENOTCONN, send says EPIPE, bound or not; then it connects as ever."""
    with listening(domain) as server, system.socket("stream", domain) as stream:
        for _ in range(2):
            for call, name in (
                (stream.receive, "ENOTCONN"),
                (lambda: stream.receive_into(bytearray(3)), "ENOTCONN"),
                (stream.shutdown, "ENOTCONN"),
                (lambda: stream.send(b"x"), "EPIPE"),
                (lambda: stream.send(BIG), "EPIPE"),
            ):
                with pytest.raises(OSError, match=name):
                    call()
            if not stream.getaddress():
                stream.bind(local_path())
        assert stream.connect(server.getaddress()) is True
        assert stream.send(b"x") is True


def test_listener_without_room(go, clock):
    """A listener whose queue is full is asked again until there is room; an explicit resume ends that."""
    log = []
    with listening("local", 1) as server:
        streams = [connected(server) for _ in range(2)]  # as many as Linux keeps for a backlog of one
        with system.socket("stream", "local") as late, system.socket("stream", "local") as tired:
            waiting = go(lambda: log.append(late.connect(server.getaddress())))
            leaving = go(lambda: log.append(tired.connect(server.getaddress())))
            system.run("ready")
            assert (waiting.status, leaving.status, log) == ("suspended", "suspended", [])
            leaving.resume(True, 7)
            assert log == [(True, 7)]
            streams.append(server.accept())
            assert system.run() is False
            assert log == [(True, 7), True]
        for stream in streams:
            stream.close()


@unix_domains
def test_close_during_connect(domain, go):
    """Another coroutine closes the stream: connect raises `OperationCancelled` in the loop, not before."""
    log = []
    with listening(domain) as server:
        stream = system.socket("stream", domain)

        def client():
            with pytest.raises(OperationCancelled, match="ECANCELED") as caught:
                stream.connect(server.getaddress())
            log.append(caught.value.syscall)
            with pytest.raises(Closed, match=rf"stream {domain}( .*)? "):
                stream.connect(server.getaddress())

        waiting = go(client)
        assert stream.close() is True
        assert (log, waiting.status) == ([], "suspended")
        assert system.run() is False
        assert (log, waiting.status) == (["connect"], "dead")


def test_sends_after_the_peer_is_gone():
    """A closed peer is EPIPE for small and big sends, without SIGPIPE; its last words can be received before."""
    with plain_peer("local") as (stream, peer):
        stream.send(b"never read")
        peer.send(b"last words")
        peer.close()
        assert stream.receive() == b"last words"
        with pytest.raises(BrokenPipeError):
            stream.send(b"x")
        with pytest.raises(BrokenPipeError):
            stream.send(BIG)


@unix_domains
def test_permission(domain):
    """PIP: "permission" lets everybody use the path; bad words are a ValueError, an unbound socket EBADF."""
    with system.socket("passive", domain) as made:
        for name, value in (("permission", ""), ("permission", "x"), ("permission", "rwx"), ("keepalive", "r")):
            with pytest.raises(ValueError, match="must be"):
                made.setoption(name, value)
        for name, value in ((1, "r"), ("permission", None), ("permission", True)):
            with pytest.raises(TypeError, match="must be a string"):
                made.setoption(name, value)
        with pytest.raises(OSError, match="EBADF"):
            made.setoption("permission", "rw")
        path = Path(local_path())
        made.bind(path)
        path.chmod(0o700)
        assert made.setoption("permission", "r") is True
        assert path.stat().st_mode & 0o777 == 0o744
        assert made.setoption("permission", "rw") is True
        assert path.stat().st_mode & 0o777 == 0o766


@unix_domains
def test_attributes_that_only_the_other_kind_has(domain):
    """STR-3, STR-16: a listener cannot connect, send or receive; a stream cannot listen or accept."""
    with system.socket("passive", domain) as server, system.socket("stream", domain) as stream:
        for name in ("connect", "receive", "receive_into", "send", "shutdown"):
            assert not hasattr(server, name)
            assert hasattr(stream, name)
        for name in ("listen", "accept"):
            assert not hasattr(stream, name)
            assert hasattr(server, name)


def test_bytes_arrive_exactly():
    """32 MiB through both directions at once, in odd pieces."""
    with pairs("local") as (near, far):

        def echo():
            while data := far.receive(100_003):
                far.send(data)
            far.close()

        def feed():
            near.send(BIG)
            near.send(BIG)
            near.shutdown()

        spawn.call(echo)
        spawn.call(feed)
        assert receive_exactly(near, 2 * len(BIG)) == BIG + BIG
        assert near.receive() == b""


def test_connecting_again_and_again_starves_none(tmp_path):
    """Connecting is over at once: timers are due all the same, also if another one does nothing else."""
    path, log = str(tmp_path / "socket"), []

    def accepts():
        while connection := server.accept()[0]:
            with connection:
                if not connection.recv(1):
                    continue
            return

    def connects():
        for _ in range(20_000):
            with system.socket("stream", "local") as client:
                client.connect(path)
                if log:
                    return client.send(b"x")
        raise AssertionError("the timer was not due in 20,000 connections")

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(1024)
        thread = threading.Thread(target=accepts)
        thread.start()
        spawn.call(lambda: log.append(system.suspend(0.005)))
        spawn.call(connects)
        system.run()
        thread.join(10)
    assert log == [True]
    assert not thread.is_alive()
