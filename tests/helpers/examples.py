"""Running the examples as a user does."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"
LIMIT = 20  # seconds: most of them take less than one


def run(name: str, *arguments: str) -> tuple[int, str, str]:
    """Run an example to its end; return (exit code, output, error output)."""
    ended = subprocess.run(command(name, *arguments), capture_output=True, text=True, timeout=LIMIT, check=False)
    return ended.returncode, ended.stdout, ended.stderr


def command(name: str, *arguments: str) -> list[str]:
    """Return the command line of an example."""
    # -X dev: an unclosed object, a forgotten coroutine or a bad free must not go unnoticed here
    return [sys.executable, "-X", "dev", str(EXAMPLES / name), *arguments]


@contextmanager
def running(name: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run an example while the block runs; yields the process."""
    with subprocess.Popen(
        command(name, *arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def serving(name: str, *arguments: str, errors: str = "") -> Iterator[int]:
    """Run a server while the block runs; yields its port. Ctrl-C has to end it with exit code 0, and silently.

    errors: the line that it has to say as error output before, a regular expression.
    """
    with running(name, "--port", "0", *arguments) as server:
        greeting = server.stdout.readline()
        assert re.fullmatch(r"listening on 127\.0\.0\.1:\d+\n", greeting), (greeting, server.stderr.read())
        yield int(greeting.rpartition(":")[2])
        said = server.stderr.readline() if errors else ""  # Ctrl-C would cut it
        server.send_signal(signal.SIGINT)
        output, more = server.communicate(timeout=LIMIT)
        assert (server.returncode, output, more) == (0, "", ""), said + more
        assert re.fullmatch(errors, said), said
