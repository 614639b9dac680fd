"""Every example runs as its first lines say, with small parameters, and ends cleanly."""

import os
import re
import select
import signal
import socket
import struct
import subprocess
import sys
from contextlib import contextmanager

import pytest

from tests.helpers.examples import EXAMPLES, LIMIT, command, run, running, serving


def echo_server(*arguments):
    """Run the server while the block runs; yields its port."""
    return serving("echo_server.py", *arguments)


def connection(port):
    """Connect with a socket of the standard library: what we test is not its own judge."""
    return socket.create_connection(("127.0.0.1", port), timeout=LIMIT)


@contextmanager
def liar():
    """Listen, and reply to each message with something else; yields the port."""
    script = (
        "import socket\n"
        "server = socket.create_server(('127.0.0.1', 0))\n"
        "print(server.getsockname()[1], flush=True)\n"
        "stream = server.accept()[0]\n"
        "while data := stream.recv(65536): stream.sendall(bytes(len(data)))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process.stdout.readline().strip()
        finally:
            process.kill()


def test_each_example_is_short_and_says_what_it_shows_and_how_to_run_it():
    examples = sorted(EXAMPLES.glob("*.py"))
    assert len(examples) >= 5
    for example in examples:
        text = example.read_text(encoding="utf-8")
        assert text.count("\n") < 60, example.name
        assert re.match(r'"""[A-Z]', text), example.name
        assert f"\n    python examples/{example.name}" in text.partition('"""\n')[0], example.name


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(path.name for path in EXAMPLES.glob("*.py")))
def test_help(name):
    code, output, errors = run(name, "--help")
    assert (code, errors) == (0, "")
    assert output.startswith("usage:")


def test_echo_server_returns_what_it_was_sent():
    with echo_server() as port:
        payload = os.urandom(300_000)
        with connection(port) as stream:
            stream.sendall(payload[:1000])
            with stream.makefile("rb") as replies:
                assert replies.read(1000) == payload[:1000]
                stream.sendall(payload)
                stream.shutdown(socket.SHUT_WR)
                assert replies.read() == payload


def test_echo_server_survives_a_reset_and_stops_with_connections_open():
    with socket.socket() as stream:
        with echo_server() as port:
            with connection(port) as broken:
                broken.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close() sends a reset
            stream.connect(("127.0.0.1", port))
            stream.sendall(b"still there?")
            assert stream.recv(100) == b"still there?"
        assert stream.recv(100) == b""


def test_echo_server_has_no_patience():
    """`--idle-timeout 0` ends a connection as soon as it has to be waited for."""
    with echo_server("--idle-timeout", "0") as port:
        for _ in range(3):
            with connection(port) as silent:
                assert silent.recv(1) == b""


def test_echo_server_closes_silent_connections_only():
    with echo_server("--idle-timeout", "0.5") as port, connection(port) as silent, connection(port) as busy:
        silent.settimeout(0.05)
        for _ in range(200):
            busy.sendall(b"x")
            assert busy.recv(1) == b"x"
            try:
                assert silent.recv(1) == b""
                break
            except TimeoutError:
                pass
        else:
            pytest.fail("the silent connection was left open")
        busy.sendall(b"y")
        assert busy.recv(1) == b"y"
        assert busy.recv(1) == b""  # its turn


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(8))
def test_echo_server_is_interrupted_while_a_connection_ends(attempt):
    with echo_server() as port, connection(port) as stream:
        stream.sendall(b"x")
        assert stream.recv(1) == b"x"


def test_echo_client_measures():
    with echo_server() as port:
        code, output, errors = run(
            "echo_client.py", "--port", str(port), "--connections", "8", "--size", "3000", "--seconds", "0.3"
        )
    assert (code, errors) == (0, "")
    assert re.match(r"[\d,]+ requests/s: [\d,]+ of 3,000 bytes, every reply compared\n", output)
    assert re.search(r"^latency p50 [\d.]+ ms, p99 [\d.]+ ms, p99\.9 [\d.]+ ms$", output, re.MULTILINE)


def test_echo_client_notices_a_wrong_reply():
    with liar() as port:
        code, _, errors = run("echo_client.py", "--port", port, "--connections", "1", "--seconds", "5")
    assert code == 1
    assert errors == "1 connections failed, the first: wrong reply: 1024 of 1024 bytes came back\n"


def test_echo_client_without_a_server():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        code, _, errors = run("echo_client.py", "--port", str(unused.getsockname()[1]), "--connections", "2")
    assert code == 1
    assert errors.startswith("2 connections failed, the first: ECONNREFUSED")


def test_sleepers():
    code, output, errors = run("sleepers.py", "--coroutines", "2000", "--seconds", "0.3")
    assert (code, errors) == (0, "")
    assert "2,000 woke up" in output
    assert float(re.search(r"the latest ([\d.]+) ms", output)[1]) < 1000


def test_timeout():
    code, output, errors = run("timeout.py", "--limit", "0.1")
    assert (code, errors) == (0, "")
    *early, answer = output.splitlines()
    assert early[:2] == ["attempt 1: no answer yet", "attempt 2: no answer yet"]
    assert answer.endswith(": sorry, I was thinking")


PROMISES = {
    "dgabcef": """
complete d
one: pending
first: ready
first: result of d
every: 3 pending
complete g
complete a
one: result of a
complete b
complete c
complete e
complete f
every: result of e, result of f, result of g
""",
    "agefcbd": """
complete a
one: ready
one: result of a
first: pending
every: 3 pending
complete g
complete e
complete f
every: result of e, result of f, result of g
complete c
first: result of c
complete b
complete d
""",
}


@pytest.mark.parametrize("order", PROMISES)
def test_promise(order):
    assert run("promise.py", "--order", order) == (0, PROMISES[order].lstrip(), "")


def test_promise_needs_a_complete_order():
    code, output, errors = run("promise.py", "--order", "abc")
    assert (code, output) == (2, "")
    assert errors.endswith("promise.py: error: the order must contain each of abcdefg once\n")


SPAWNED = """
A: started
B: started
C: started
D: started
A: step 1
B: step 1
C: step 1
D: step 1
A: step 2
caught: unsupported operand type(s) for +=: 'int' and 'NoneType'
C: step 2
trapped: the error is: unsupported operand type(s) for +=: 'int' and 'NoneType'
A: step 3
A: ended
C: step 3
C: ended
trapped: the sum is 6
"""


def test_spawn():
    code, output, errors = run("spawn.py")
    assert (code, output) == (0, SPAWNED.lstrip())
    first, *_, last = errors.splitlines()
    assert first == "Traceback (most recent call last):"
    assert last == "TypeError: unsupported operand type(s) for +=: 'int' and 'NoneType'"
    assert errors.count("Traceback") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "outcome"),
    [
        (["--limit", "5"], "43 answered, 7 were cut: the time was up"),
        (["--connections", "20", "--hanging", "20", "--limit", "0.1"], "0 answered, 20 were cut: the time was up"),
        (["--hanging", "0", "--limit", "1000"], "50 answered, 0 were cut: all in time"),
    ],
)
def test_crawl(arguments, outcome):
    """The limits are so long, or so short, that the speed of the machine does not matter."""
    assert run("crawl.py", *arguments) == (0, f"{outcome}\n", "")


def test_sysinfo_in_plain_text():
    code, output, errors = run("sysinfo.py", "--plain", "--host", "127.0.0.1")
    assert (code, errors) == (0, "")
    titles = [line for line in output.splitlines() if not line.startswith(" ")]
    assert titles == ["Process", "Processors", "Network", "Names"]
    assert re.search(rf"^  uid +{os.geteuid()}$", output, re.MULTILINE)
    assert re.search(r"^  1 +\S.* [\d,]+ MHz$", output, re.MULTILINE)
    assert re.search(r"^  \S+ +127\.0\.0\.1/8 +00:00:00:00:00:00$", output, re.MULTILINE)
    assert re.search(r"^  addresses of 127\.0\.0\.1 +127\.0\.0\.1:80$", output, re.MULTILINE)
    assert re.search(r"^  port 22 +ssh$", output, re.MULTILINE)
    assert re.search(r"^  127\.0\.0\.1:80 +\('localhost', 'http'\)$", output, re.MULTILINE)


@pytest.mark.parametrize(("host", "why"), [("a..b", "name has an empty part"), ("fe80::1%", "EAI_NONAME: ")])
def test_sysinfo_with_a_wrong_name(host, why):
    code, output, errors = run("sysinfo.py", "--plain", "--host", host)
    assert (code, errors) == (0, "")
    assert f"  addresses of {host}  {why}" in output
    assert "\n  port 22  " in output


def test_sysinfo_in_tables():
    pytest.importorskip("rich", reason="rich draws the tables")
    code, output, errors = run("sysinfo.py")
    assert (code, errors) == (0, "")
    for word in ("Process", "Processors", "Network", "Names", "MHz", "127.0.0.1/8", "localhost"):
        assert word in output


def test_fileinfo(tmp_path):
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "folder" / "inner" / "large").write_bytes(bytes(2000))
    (tmp_path / "small").write_bytes(bytes(10))
    (tmp_path / "link").symlink_to("small")
    code, output, errors = run("fileinfo.py", str(tmp_path), "--coroutines", "3")
    assert (code, errors) == (0, "")
    lines = [line.split(maxsplit=1) for line in output.splitlines()]
    assert lines[:4] == [["2", "directory"], ["2", "file"], ["1", "link"], ["2,010", "bytes"]]
    assert lines[4:] == [["2,000", str(tmp_path / "folder" / "inner" / "large")], ["10", str(tmp_path / "small")]]


def test_fileinfo_of_nothing(tmp_path):
    code, output, errors = run("fileinfo.py", str(tmp_path / "missing"))
    assert (code, output.split()) == (0, ["0", "bytes"])
    assert errors.startswith("ENOENT: no such file or directory (uv_fs_opendir)")


@pytest.mark.slow
def test_demo():
    code, output, errors = run("demo.py", "--connections", "8", "--seconds", "0.3")
    assert (code, errors) == (0, "")
    assert "requests/s" in output
    assert "p99.9" in output
    assert output.endswith("server stopped with exit code 0, client with 0\n")


@pytest.mark.soak
def test_demo_for_two_minutes():
    ended = subprocess.run(command("demo.py", "--connections", "200", "--seconds", "120"), timeout=300, check=False)
    assert ended.returncode == 0


PHILOSOPHERS = r"""
coutil\.errors\.Deadlock: nothing can wake the 6 coroutines that wait
  Aristotle +\d+ ms  mutex 'fork 1'  held by Hypatia    .*examples/philosophers\.py:21 in dine
  Hypatia   +\d+ ms  mutex 'fork 2'  held by Kant       .*examples/philosophers\.py:21 in dine
  Kant      +\d+ ms  mutex 'fork 3'  held by Plato      .*examples/philosophers\.py:21 in dine
  Plato     +\d+ ms  mutex 'fork 4'  held by Spinoza    .*examples/philosophers\.py:21 in dine
  Spinoza   +\d+ ms  mutex 'fork 0'  held by Aristotle  .*examples/philosophers\.py:21 in dine
  main      +\d+ ms  all of the events 'Aristotle', 'Hypatia', 'Kant', 'Plato', 'Spinoza'  .*:\d+ in main
  cycle: Aristotle -> Hypatia -> Kant -> Plato -> Spinoza -> Aristotle
no other thread runs, no signal has a handler in Python, the thread pool is idle: each of these could
"""


def test_philosophers():
    code, output, errors = run("philosophers.py")
    assert (code, errors) == (0, "")
    assert re.fullmatch(PHILOSOPHERS.lstrip(), output)


def test_philosophers_who_take_their_forks_in_order():
    code, output, errors = run("philosophers.py", "--ordered")
    assert (code, errors) == (0, "")
    *eaters, last = output.splitlines()
    names = ["Aristotle", "Hypatia", "Kant", "Plato", "Spinoza"]
    assert sorted(line.partition(" eats with fork ")[0] for line in eaters) == names
    assert last == "everybody has eaten"


def test_tail(tmp_path):
    """Lines that are added, after a truncation too, and those of a file that takes the place of another one."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    with running("tail.py", *touched(one, two)) as tail:
        for path in (one, two):
            append(path, "start\n")
            while not select.select([tail.stdout], [], [], 0.05)[0]:  # until it watches
                append(path, "start\n")
            expect(tail, path, "start\n")
        for path, text in ((one, "added\n"), (two, "more\n"), (one, "again\n")):
            append(path, text)
            expect(tail, path, text)
        for piece in (b"in pieces: \xc3", b"\xa4, ", b"whole"):
            append(two, piece)
            assert not select.select([tail.stdout], [], [], 0.01)[0]
        append(two, "\n")
        expect(tail, two, "in pieces: ä, whole\n")
        one.rename(tmp_path / "one.log.1")
        one.write_text("rotated\n")
        expect(tail, one, "rotated\n")
        one.write_text("x\n")
        expect(tail, one, "x\n")
        tail.send_signal(signal.SIGINT)
        output, errors = tail.communicate(timeout=LIMIT)
        assert (tail.returncode, output, errors) == (0, "", "")


def touched(*paths):
    for path in paths:
        path.touch()
    return paths


def append(path, text):
    with open(path, "ab") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def expect(tail, path, text):
    """Read lines until this one comes; only repetitions of the start may come before it."""
    lines = list(iter(tail.stdout.readline, f"{path}: {text}"))
    assert {line.rpartition(" ")[2] for line in lines} <= {"start\n"}
