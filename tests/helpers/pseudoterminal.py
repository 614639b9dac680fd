"""Programs on a pseudo-terminal of their own: what a user types, and sees."""

from __future__ import annotations

import fcntl
import os
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from textwrap import dedent
from typing import Any

from tests.helpers.script import ROOT

PROLOGUE = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
from coutil import spawn, system
def say(*values):
    system.stdout.send((" ".join(map(str, values)) + "\\n").encode())
"""


class Screen:
    """The user's side of the terminal that a program runs on."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.master, self.process = master, process
        self.seen = b""

    def type(self, keys: bytes) -> None:
        """Press keys."""
        os.write(self.master, keys)

    def until(self, text: bytes, seconds: float = 15) -> bytes:
        """Read until `text` has been seen; return what came before it."""
        end = time.monotonic() + seconds
        while text not in self.seen:
            assert select.select([self.master], [], [], end - time.monotonic())[0], f"no {text!r}, only {self.seen!r}"
            self.seen += os.read(self.master, 4096)
        before, _, self.seen = self.seen.partition(text)
        return before

    def resize(self, width: int, height: int) -> None:
        """Give the window another size."""
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    def settings(self) -> list[Any]:
        """Return the terminal's settings."""
        return termios.tcgetattr(self.master)


@contextmanager
def on_screen(text: str) -> Iterator[Screen]:
    """Run a script on a terminal that is its controlling one; `say(...)` prints a line by `system.stdout`."""
    master, slave = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROLOGUE + dedent(text)],
        stdin=slave,
        stdout=slave,
        stderr=slave,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    try:
        yield Screen(master, process)
        process.wait(15)
    finally:
        process.kill()
        process.wait()
        os.close(slave)
        os.close(master)
