"""The examples of coutil.uv run as they say, and end."""

import os
import pty
import re
import select
import signal
import socket
import subprocess
import time

import pytest

from tests.helpers.examples import LIMIT, command, run

TICKS = "t = uv.new_timer(); t.ontimeout = lambda t: print('tick'); t.start(2, 2)\n"


def test_readme():
    """The timer fires once, a second later; the loop ends with it."""
    begin = time.monotonic()
    assert run("uv_readme.py") == (0, "Starting a timer\nTimeout!\n", "")
    assert time.monotonic() - begin >= 1


def answers(text):
    """Return what the loop prints for statements that come through a pipe, without its prompts, and its errors."""
    ended = subprocess.run(
        command("uv_repl.py"), input=text, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return re.sub(r"(>>> |\.\.\. )", "", ended.stdout), ended.stderr


class Session:
    """A read-eval-print loop that runs, on a pipe or in a terminal."""

    def __init__(self, process, write, read):
        self.process, self.write_to, self.read_from, self.said = process, write, read, ""

    def say(self, text):
        """Type something."""
        os.write(self.write_to, text.encode())

    def hear(self, pattern):
        """Wait until it has printed what the pattern matches, which is forgotten then; return the match."""
        end = time.monotonic() + LIMIT
        while not (found := re.search(pattern, self.said, re.DOTALL)):
            assert time.monotonic() < end, self.said
            if select.select([self.read_from], [], [], 1)[0]:
                try:
                    self.said += os.read(self.read_from, 4096).decode()
                except OSError:  # the other side of the terminal is closed
                    raise AssertionError(self.said) from None
        self.said = self.said[found.end() :]
        return found


@pytest.fixture
def on_a_pipe():
    """A session whose input and output are pipes."""
    pipe = subprocess.PIPE
    with subprocess.Popen(command("uv_repl.py"), stdin=pipe, stdout=pipe, stderr=subprocess.STDOUT) as process:
        try:
            yield Session(process, process.stdin.fileno(), process.stdout.fileno())
        finally:
            process.kill()


@pytest.fixture
def in_a_terminal():
    """A session in a terminal of its own."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command("uv_repl.py"), stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    ) as process:
        os.close(theirs)
        try:
            yield Session(process, ours, ours)
        finally:
            process.kill()
            os.close(ours)


@pytest.mark.slow
def test_statements():
    """As in Python: values are printed, blocks go on until an empty line, names stay."""
    text = "x = 20\nx + 1\ndef double(n):\n    return 2 * n\n\ndouble(x) + 2\n'ünï'\n"
    assert answers(text) == ("21\n42\n'ünï'\n", "")
    assert answers("") == ("", "")
    assert answers("1 + 1") == ("", "")  # a line that was never ended


def test_errors():
    """They are printed, and the next line is read."""
    output, errors = answers("1 / 0\nx = (\n)\nfoo bar\n6 * 7\n")
    assert output == "42\n"
    assert errors.count("Traceback") == 1
    assert "ZeroDivisionError" in errors
    assert "SyntaxError" in errors


def test_timers_go_on_while_it_waits_for_a_line(on_a_pipe):
    """That is what it is for."""
    on_a_pipe.say(TICKS)
    on_a_pipe.hear("(tick\n.*){5}")
    on_a_pipe.say("t.stop(); print('stopped', 6 * 7)\n")
    on_a_pipe.hear("stopped 42\n")
    on_a_pipe.process.stdin.close()
    assert on_a_pipe.process.wait(LIMIT) == 0


def test_a_handler_that_fails(on_a_pipe):
    """Its traceback is printed; the loop goes on."""
    on_a_pipe.say("t = uv.new_timer(); t.ontimeout = lambda t: 1 / 0; t.start(1)\n")
    on_a_pipe.hear("Traceback.*ZeroDivisionError")
    on_a_pipe.say("6 * 7\n")
    on_a_pipe.hear("42\n")
    on_a_pipe.say("exit(3)\n")
    assert on_a_pipe.process.wait(LIMIT) == 3


def test_a_server_goes_on_while_it_waits_for_a_line(on_a_pipe):
    """An echo server, typed in."""
    on_a_pipe.say(
        "def serve(server, err):\n"
        "    stream = server.accept()\n"
        "    while data := stream.read(): stream.write(data)\n"
        "    stream.close()\n"
        "\n"
        "server = uv.new_tcp(); server.onconnection = serve; server.bind('127.0.0.1', 0); server.listen()\n"
        "print('port', server.getsockname()[1])\n"
    )
    port = int(on_a_pipe.hear(r"port (\d+)\n")[1])
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port), timeout=LIMIT) as client:
            client.sendall(b"hello")
            assert client.recv(100) == b"hello"
    on_a_pipe.process.stdin.close()
    assert on_a_pipe.process.wait(LIMIT) == 0


def test_in_a_terminal(in_a_terminal):
    """Timers go on; Ctrl-C gives up the statement that was begun, Ctrl-D ends it."""
    in_a_terminal.hear(">>> ")
    in_a_terminal.say(TICKS)
    in_a_terminal.hear("(tick\r\n.*){5}")
    in_a_terminal.say("t.stop(); print('stopped', 6 * 7)\n")
    in_a_terminal.hear("stopped 42\r\n")
    in_a_terminal.say("def unfinished():\n")
    in_a_terminal.hear(r"\.\.\. ")
    in_a_terminal.process.send_signal(signal.SIGINT)
    in_a_terminal.hear("KeyboardInterrupt\r\n>>> ")
    in_a_terminal.say("print(6 * 7)\n")
    in_a_terminal.hear("\n42\r\n>>> ")
    in_a_terminal.say("\x04")
    assert in_a_terminal.process.wait(LIMIT) == 0
