"""The examples that need more than TCP (terminals, sockets that travel, other programs) run as they say, and end."""

import fcntl
import os
import re
import signal
import socket
import struct
import subprocess
import termios
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.helpers.examples import EXAMPLES, LIMIT, command, run, running, serving
from tests.helpers.pseudoterminal import Screen

FOLDERS = sorted(path.relative_to(EXAMPLES) for path in EXAMPLES.glob("*/*.py"))
PROGRAMS = [path for path in FOLDERS if "__main__" in (EXAMPLES / path).read_text(encoding="utf-8")]


def connection(port):
    """Connect with a socket of the standard library: what we test is not its own judge."""
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


def reset(stream):
    """Close in such a way that the peer gets a reset."""
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.close()


@contextmanager
def plain_listener():
    """Listen; yields the socket and HOST:PORT."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(LIMIT)
        yield server, f"127.0.0.1:{server.getsockname()[1]}"


@contextmanager
def refused():
    """Yield HOST:PORT of a port that is taken, so that no other one gets it, and without a listener."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{holder.getsockname()[1]}"


def accepted(server):
    """Accept a connection."""
    stream = server.accept()[0]
    stream.settimeout(LIMIT)
    return stream


def read_all(stream):
    """Return what arrives until the end."""
    with stream.makefile("rb") as file:
        return file.read()


@pytest.mark.parametrize("path", FOLDERS, ids=str)
def test_each_file_is_short_and_each_program_says_how_to_run_it(path):
    text = (EXAMPLES / path).read_text(encoding="utf-8")
    assert text.count("\n") < 60
    assert re.match(r'"""[A-Z]', text)
    if path in PROGRAMS:
        assert f"\n    python examples/{path.parent}/" in text.partition('"""\n')[0]


@pytest.mark.slow
@pytest.mark.parametrize("path", PROGRAMS, ids=str)
def test_help(path):
    code, output, errors = run(path, "--help")
    assert (code, errors) == (0, "")
    assert output.startswith("usage:")


def wait_for_end_of(*pids):
    """Wait until none of these processes runs; a zombie has ended."""
    end = time.monotonic() + LIMIT
    while any(map(alive, pids)):
        assert time.monotonic() < end
        time.sleep(0.01)


def alive(pid):
    """Return whether a process runs."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


# -- proxy ------------------------------------------------------------------------------------------------------------


def test_proxy_passes_on_half_of_a_connection():
    """The answer comes after the end of the question, through both halves."""
    with plain_listener() as (server, to), serving("proxy.py", "--to", to) as port, connection(port) as client:
        with accepted(server) as behind:
            client.sendall(b"question")
            client.shutdown(socket.SHUT_WR)
            assert read_all(behind) == b"question"
            behind.sendall(b"a long answer")
        assert read_all(client) == b"a long answer"


def test_proxy_with_much_to_do_in_both_directions():
    """Megabytes go both ways at once, unchanged."""
    with serving("echo_server.py") as target, serving("proxy.py", "--to", f"localhost:{target}") as port:
        payload = os.urandom(3_000_000)
        with connection(port) as client, client.makefile("rb") as replies:
            for at in range(0, len(payload), 100_000):
                client.sendall(payload[at : at + 100_000])
                assert replies.read(100_000) == payload[at : at + 100_000]
            client.shutdown(socket.SHUT_WR)
            assert replies.read() == b""


def test_proxy_holds_back_the_sender_to_a_slow_reader():
    """What is not read stays with the sender, whose sends block before long."""
    with plain_listener() as (server, to), serving("proxy.py", "--to", to) as port, connection(port) as client:
        with accepted(server) as behind:
            client.settimeout(0.3)
            sent = 0
            with suppress(TimeoutError):
                while sent < 100_000_000:
                    sent += client.send(bytes(100_000))
            assert 100_000 < sent < 100_000_000
            client.settimeout(LIMIT)
            client.shutdown(socket.SHUT_WR)
            assert len(read_all(behind)) == sent
        assert read_all(client) == b""


def test_proxy_cuts_one_side_when_the_other_breaks_and_goes_on():
    """A reset ends the connection behind the proxy, too; the next one works."""
    with (
        plain_listener() as (server, to),
        serving("proxy.py", "--to", to, errors=r"broken: ECONNRESET.*\n") as port,
    ):
        client = connection(port)
        with accepted(server) as behind:
            behind.sendall(b"hello")
            assert client.recv(100) == b"hello"
            reset(client)
            assert read_all(behind) == b""
        with connection(port) as another, accepted(server) as behind:
            another.sendall(b"still there?")
            assert behind.recv(100) == b"still there?"


def test_proxy_without_a_listener():
    """A client whose connection cannot be passed on finds it closed."""
    with (
        refused() as to,
        serving("proxy.py", "--to", to, errors=r"broken: ECONNREFUSED.*\n") as port,
        connection(port) as client,
    ):
        assert read_all(client) == b""


@pytest.mark.parametrize("attempt", range(2))
def test_proxy_is_interrupted_with_connections_open(attempt):
    with plain_listener() as (server, to), ExitStack() as stack:
        with serving("proxy.py", "--to", to) as port:
            client = stack.enter_context(connection(port))
            behind = stack.enter_context(accepted(server))
            client.sendall(b"x")
            assert behind.recv(1) == b"x"
        assert client.recv(1) == behind.recv(1) == b""


# -- chat -------------------------------------------------------------------------------------------------------------


class Member:
    """One who chats without a terminal."""

    def __init__(self, stack, port, name):
        self.stream = stack.enter_context(connection(port))
        self.file = stack.enter_context(self.stream.makefile("rb"))
        self.say(name)

    def say(self, text):
        """Send a line."""
        self.stream.sendall(f"{text}\n".encode())

    def hear(self):
        """Return the next line, "" at the end."""
        return self.file.readline().decode().rstrip("\n")


def test_chat_tells_everybody():
    """All hear who comes, what is said, and who goes."""
    with serving("chat/server.py") as port, ExitStack() as stack:
        ada, alan = Member(stack, port, "ada"), None
        assert ada.hear() == "* ada is here, with 0 others"
        alan = Member(stack, port, "alan")
        assert ada.hear() == alan.hear() == "* alan is here, with 1 others"
        alan.say("hello\x1b[2J, \u00e9")
        assert ada.hear() == alan.hear() == "alan: hello[2J, \u00e9"
        alan.stream.shutdown(socket.SHUT_WR)
        assert alan.hear() == ""
        assert ada.hear() == "* alan has gone"


def test_chat_wants_other_names():
    with serving("chat/server.py") as port, ExitStack() as stack:
        ada = Member(stack, port, "ada")
        assert ada.hear() == "* ada is here, with 0 others"
        for name in ("ada", "", "\x07"):
            other = Member(stack, port, name)
            assert [other.hear(), other.hear()] == ["* this name is taken", ""]
        ada.say("alone")
        assert ada.hear() == "ada: alone"


@pytest.mark.slow
def test_chat_does_not_wait_for_those_who_do_not_read():
    """A member who is silent and deaf misses something, and may break the connection; the others are not held up."""
    with serving("chat/server.py") as port, ExitStack() as stack:
        deaf, ada = Member(stack, port, "deaf"), None
        assert deaf.hear() == "* deaf is here, with 0 others"
        ada = Member(stack, port, "ada")
        assert ada.hear() == "* ada is here, with 1 others"
        for number in range(6_000):
            ada.say(f"{number} {'x' * 900}")
            assert ada.hear().startswith(f"ada: {number} x")
        reset(deaf.stream)
        deaf.file.close()
        ada.say("bye")
        assert {ada.hear(), ada.hear()} == {"ada: bye", "* deaf has gone"}


def test_chat_ends_a_connection_whose_line_has_no_end():
    with serving("chat/server.py") as port, ExitStack() as stack:
        endless = Member(stack, port, "endless")
        assert endless.hear() == "* endless is here, with 0 others"
        endless.stream.sendall(b"x" * 1001)
        assert endless.hear() == ""


@contextmanager
def chatting(port, name, width=80):
    """Run the client on a terminal of its own while the block runs, which has to end it; yields the screen."""
    master, slave = os.openpty()
    fcntl.ioctl(master, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
    before = termios.tcgetattr(slave)
    client = command("chat/client.py", name, "--port", str(port))
    with subprocess.Popen(client, stdin=slave, stdout=slave, stderr=slave, start_new_session=True) as process:
        try:
            yield Screen(master, process)
            assert process.wait(LIMIT) == 0
            assert termios.tcgetattr(slave) == before
        finally:
            process.kill()
            os.close(slave)
            os.close(master)


DRAWN = b"\r\x1b[K"


@pytest.mark.slow
@pytest.mark.parametrize("leave", [b"\x03", b"\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_chat_client_keeps_the_line_whole(leave):
    """What another one says appears above the line that is being typed, which is drawn again."""
    with serving("chat/server.py") as port, ExitStack() as stack:
        alan = Member(stack, port, "alan")
        assert alan.hear() == "* alan is here, with 0 others"
        with chatting(port, "ada") as screen:
            screen.until(DRAWN + b"* ada is here, with 1 others\r\n> ")
            assert alan.hear() == "* ada is here, with 1 others"
            screen.type("h\u00e9lp".encode())
            screen.until(DRAWN + "> h\u00e9lp".encode())
            alan.say("are you there?")
            screen.until(DRAWN + "alan: are you there?\r\n> h\u00e9lp".encode())
            assert alan.hear() == "alan: are you there?"
            screen.type(b"\x7flo\r")
            assert alan.hear() == "ada: h\u00e9llo"
            screen.until("ada: h\u00e9llo\r\n> ".encode())
            screen.type(b"\x1b[A")
            screen.type(b"nothing\x15x\r")
            assert alan.hear() == "ada: x"
            screen.type(leave)
        assert alan.hear() == "* ada has gone"


def test_chat_client_shows_as_much_as_there_is_room_for():
    with serving("chat/server.py") as port, chatting(port, "ada", width=13) as screen:
        screen.until(b"* ada is here, with 0 others\r\n> ")
        screen.type(b"abcdefghijklmnop")
        screen.until(DRAWN + b"> ghijklmnop")
        screen.type(b"\x03")


def test_chat_client_ends_with_the_server():
    with ExitStack() as stack:
        with serving("chat/server.py") as port:
            screen = stack.enter_context(chatting(port, "ada"))
            screen.until(b"* ada is here, with 0 others\r\n> ")
        assert screen.until(b"\r\n") == b""


def test_chat_client_needs_a_terminal():
    client = command("chat/client.py", "ada")
    ended = subprocess.run(client, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.endswith("error: this needs a terminal\n")


# -- multiecho --------------------------------------------------------------------------------------------------------


@contextmanager
def multiecho(workers):
    """Run the server while the block runs; yields it and its port."""
    with running("multiecho/main.py", "--port", "0", "--workers", str(workers)) as server:
        yield server, int(server.stdout.readline().rpartition(":")[2])


def children(pid):
    """Return the numbers of a process's children."""
    return [int(number) for number in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()]


def echoed(stream, data):
    """Send something; return what comes back."""
    stream.sendall(data)
    with stream.makefile("rb") as replies:
        return replies.read(len(data))


def test_multiecho_lets_the_workers_take_turns():
    """Six connections at once, two for each of three processes; all of them end with the server."""
    with ExitStack() as stack, multiecho(3) as (server, port):
        streams = [stack.enter_context(connection(port)) for _ in range(6)]
        assert all(echoed(stream, b"hello") == b"hello" for stream in streams)
        payload = os.urandom(100_000)
        assert echoed(streams[0], payload) == payload
        server.send_signal(signal.SIGINT)
        output, errors = server.communicate(timeout=LIMIT)
        assert (server.returncode, output) == (0, "")
        assert all(stream.recv(1) == b"" for stream in streams)
    workers = re.findall(r"^worker (\d+) serves 127\.0\.0\.1:\d+$", errors, re.MULTILINE)
    assert len(errors.splitlines()) == len(workers) == 6
    assert sorted(map(workers.count, set(workers))) == [2, 2, 2]
    assert str(server.pid) not in workers


@pytest.mark.slow
def test_multiecho_replaces_a_worker_that_has_died():
    """The connection that a dead worker should have is lost; the ones after it are served by a new one."""
    with multiecho(1) as (server, port):
        with connection(port) as first:
            assert echoed(first, b"x") == b"x"
            (worker,) = children(server.pid)
            os.kill(worker, signal.SIGKILL)
            assert first.recv(1) == b""
            wait_for_end_of(worker)
        with connection(port) as lost:
            assert read_all(lost) == b""
        with connection(port) as third:
            assert echoed(third, b"y") == b"y"
            assert children(server.pid) != [worker]
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=LIMIT)
        assert (server.returncode, errors.count("serves")) == (0, 2)


def test_multiecho_workers_end_when_the_server_is_killed():
    with multiecho(2) as (server, port), connection(port) as stream:
        assert echoed(stream, b"x") == b"x"
        server.kill()
        assert stream.recv(1) == b""
        server.communicate(timeout=LIMIT)  # the end of its error output: none is left that could write


# -- remoteexec -------------------------------------------------------------------------------------------------------


@contextmanager
def executing(*arguments):
    """Run the server while the block runs; yields a function that runs the client to its end."""
    with serving("remoteexec/server.py", *arguments) as port:
        yield lambda *words: run("remoteexec/client.py", "--port", str(port), "--", *words)


@pytest.mark.slow
def test_remoteexec_returns_output_and_status():
    with executing() as client:
        assert client("sh", "-c", "echo hello; echo trouble >&2; exit 3") == (3, "hello\n", "trouble\n")
        assert client("printf", "%s|", "a b", "", "\u00e9") == (0, "a b||\u00e9|", "")
        assert client("sh", "-c", "kill -TERM $$") == (128 + 15, "", "")
        assert client("cat") == (0, "", "")


def test_remoteexec_with_much_output():
    with executing() as client:
        code, output, errors = client("sh", "-c", "seq 200000; seq 100000 >&2")
        assert code == 0
        assert output == "".join(f"{number}\n" for number in range(1, 200_001))
        assert errors == "".join(f"{number}\n" for number in range(1, 100_001))


@pytest.mark.slow
def test_remoteexec_of_what_cannot_be_run():
    """The client is told why, and the server goes on."""
    with executing() as client:
        for word, why in [
            ("no-such-program", "ENOENT: .*'no-such-program'"),
            ("/", "EACCES: .*"),
            ("", "command must not be empty"),
        ]:
            code, output, errors = client(word)
            assert (code, output) == (255, "")
            assert re.fullmatch(f"{why}\n", errors)
        assert client("true") == (0, "", "")


@pytest.mark.slow
def test_remoteexec_kills_what_takes_too_long(tmp_path):
    """When the time is up the command ends, and what it has started, too."""
    with executing("--limit", "0.5") as client:
        script = f"sleep 1000 & echo $$ $! > {tmp_path}/pids; echo begun; wait"
        code, output, errors = client("sh", "-c", script)
        assert (code, output) == (255, "begun\n")
        assert re.fullmatch(r"timed out after 0.5 s, waiting on end of 2 children, .*\n", errors)
    assert_gone(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("which", ["client", "server"])
def test_remoteexec_interrupted(tmp_path, which):
    """Ctrl-C of either side ends the command, and what it has started."""
    script = f"sleep 1000 & echo $$ $! > {tmp_path}/pids; echo begun; wait"
    with ExitStack() as stack:
        with serving("remoteexec/server.py") as port:
            words = ["--port", str(port), "--", "sh", "-c", script]
            client = stack.enter_context(running("remoteexec/client.py", *words))
            assert client.stdout.readline() == "begun\n"
            if which == "client":
                client.send_signal(signal.SIGINT)
                assert client.communicate(timeout=LIMIT) == ("", "")
                assert client.returncode == 130
                assert_gone(tmp_path)
        if which == "server":
            assert client.communicate(timeout=LIMIT) == ("", "the server has gone\n")
            assert client.returncode == 255
            assert_gone(tmp_path)


def assert_gone(folder):
    """Wait for the end of the processes whose numbers are in a file."""
    pids = [int(number) for number in (folder / "pids").read_text(encoding="ascii").split()]
    assert len(pids) == 2
    wait_for_end_of(*pids)


def test_remoteexec_refuses_what_is_no_request():
    """A frame that is too large ends the connection; so does a client that leaves at once."""
    with serving("remoteexec/server.py") as port:
        with connection(port) as client:
            client.sendall(struct.pack(">cI", b"C", 1 << 30))
            assert read_all(client) == b""
        with connection(port) as client:
            client.shutdown(socket.SHUT_WR)
            assert read_all(client)[:1] == b"X"


def test_remoteexec_without_a_server():
    with refused() as to:
        code, output, errors = run("remoteexec/client.py", "--port", to.rpartition(":")[2], "true")
    assert (code, output) == (255, "")
    assert errors.startswith("ECONNREFUSED")
