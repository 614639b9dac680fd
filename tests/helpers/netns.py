"""Network namespaces: networks of their own on this machine, for programs that are started in them. They need root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.script import QUIET, ROOT

HOSTS = Path("/etc/netns")  # what `ip netns exec` shows as files in /etc
TIMEOUT = 20  # seconds
_numbers = count()


def ip(batch: str, *options: str) -> None:
    """Have the program ip do what the lines tell; skip the test if that is impossible here."""
    try:
        command = ["ip", *options, "-batch", "-"]
        done = subprocess.run(
            command, input=dedent(batch), capture_output=True, text=True, timeout=TIMEOUT, check=False
        )
    except FileNotFoundError:
        pytest.skip("network namespaces need the program ip, of iproute2")
    if done.returncode:
        pytest.skip(f"network namespaces cannot be made here: {done.stderr.strip()}")


class Namespace:
    """A namespace, made and to be removed by `namespaces`."""

    def __init__(self) -> None:
        """It does not exist yet."""
        self.name = f"coutil-{os.getpid()}-{next(_numbers)}"

    def make(self, hosts: str) -> None:
        """Make it. hosts: what stands in its /etc/hosts."""
        ip(f"netns add {self.name}")
        ip("link set lo up", "-n", self.name)
        while not (HOSTS / self.name).exists():
            with suppress(FileNotFoundError):  # another process has just removed the empty parent
                (HOSTS / self.name).mkdir(parents=True)
        (HOSTS / self.name / "hosts").write_text(dedent(hosts))
        (HOSTS / self.name / "resolv.conf").write_text("")

    def start(self, script: str) -> subprocess.Popen[str]:
        """Start a script; its output is a pipe."""
        command = ["ip", "netns", "exec", self.name, sys.executable, *QUIET, "-c", dedent(script)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def output_of(self, script: str) -> list[str]:
        """Return the lines that a script prints; it must succeed."""
        with self.start(script) as program:
            try:
                said = program.communicate(timeout=TIMEOUT)[0]
            finally:
                program.kill()
        assert program.returncode == 0, said
        return said.splitlines()

    def remove(self) -> None:
        """Remove it; with the programs that still run in it, that happens when they end."""
        subprocess.run(["ip", "netns", "del", self.name], capture_output=True, timeout=TIMEOUT, check=False)
        shutil.rmtree(HOSTS / self.name, ignore_errors=True)
        with suppress(OSError):
            HOSTS.rmdir()


@contextmanager
def namespaces(*hosts: str) -> Iterator[list[Namespace]]:
    """Yield a namespace for each text, which stands in its /etc/hosts. Skips the test where that is not allowed."""
    if os.geteuid():
        pytest.skip("network namespaces need root")
    made = [Namespace() for _ in hosts]
    try:
        for one, text in zip(made, hosts, strict=True):
            one.make(text)
        yield made
    finally:
        for one in made:
            one.remove()
