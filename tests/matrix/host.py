"""Rows of the kill matrix: time, the thread pool, signals and processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from coutil import spawn, system
from coutil.testing import ManualClock
from tests.matrix.row import NOTHING, Row, row

# -- rows: time


@row
def suspend_0(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, True)
        assert system.suspend() is True

    yield Row(system.suspend, check=check)


@row
def suspend(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        before = system.time()
        assert system.suspend(1) is True
        assert system.time() - before == pytest.approx(1)

    yield Row(lambda: system.suspend(5), lambda: clock.advance(5), check)


# -- rows: requests


@row
def random(clock: ManualClock) -> Iterator[Row]:
    buffer = bytearray(8)

    def check(got: Any, begun: bool) -> None:
        assert got is NOTHING or got is buffer
        fresh = bytearray(64)
        assert any(system.random(fresh))

    yield Row(lambda: system.random(buffer), check=check)


@row
def findaddr(clock: ManualClock) -> Iterator[Row]:
    expected = ("127.0.0.1", 80, "stream")

    def find() -> Any:
        addresses = system.findaddr("127.0.0.1", 80, stream=True)
        if addresses is True:  # an explicit resume
            return True
        with addresses as found:
            return [(address.literal, address.port, kind) for address, kind in found]

    def check(got: Any, begun: bool) -> None:
        assert got is NOTHING or got == [expected]
        assert find() == [expected]

    yield Row(find, check=check)


@row
def nameaddr(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "54321")
        assert system.nameaddr(54322) == "54322"

    yield Row(lambda: system.nameaddr(54321), check=check)


@row
def nameaddr_address(clock: ManualClock) -> Iterator[Row]:
    def name(port: int) -> Any:
        return system.nameaddr(system.address("ipv4", "127.0.0.1", port))

    def check(got: Any, begun: bool) -> None:
        host, port = name(54322)
        assert got in (NOTHING, (host, "54321"))
        assert (bool(host), port) == (True, "54322")

    yield Row(lambda: name(54321), check=check)


@row
def nameaddr_name(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "127.0.0.1")
        assert system.nameaddr("127.0.0.2") == "127.0.0.2"

    yield Row(lambda: system.nameaddr("127.0.0.1"), check=check)


# -- rows: signals and processes


@row
def awaitsig(clock: ManualClock) -> Iterator[Row]:
    def send() -> None:
        system.emitsig(os.getpid(), "winresize")

    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "winresize")
        second = spawn.call(lambda: found.append(system.awaitsig("winresize")))
        send()
        while second.status != "dead":
            system.run("ready")
        assert found == ["winresize"]

    found: list[str] = []
    yield Row(lambda: system.awaitsig("winresize"), send, check)


def kill_child(pid: int) -> None:
    """Kill a child; return when the system knows of its end, and the loop does not."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@row
def execute(clock: ManualClock) -> Iterator[Row]:
    def ready_() -> None:
        if spec.pid is not None:
            kill_child(spec.pid)

    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, ("kill", 9))
        assert (spec.pid is not None) == begun
        assert system.execute("true") == ("exit", 0)
        system.run("ready")
        if begun:
            with pytest.raises(ChildProcessError):  # no zombie
                os.waitpid(spec.pid, os.WNOHANG)

    spec = system.ExecSpec("sleep", ["100"])
    yield Row(lambda: system.execute(spec), ready_, check)


@row
def process_wait(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, ("kill", 9))
        assert child.wait() == ("kill", 9)
        system.run("ready")

    child = system.start("sleep", "100")
    yield Row(child.wait, lambda: kill_child(child.pid), check)
