"""Rows of the kill matrix: terminals."""

from __future__ import annotations

import os
import signal
import termios
import tty
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from coutil import spawn, system
from coutil.system.stdio import _terminal
from coutil.testing import ManualClock
from tests.matrix.row import NOTHING, Row, row

MUCH = bytes(range(256)) * 1024  # more than a terminal takes while no one looks


@contextmanager
def _screen() -> Iterator[tuple[system.Terminal, int]]:
    """Yield a terminal without echo, and the descriptor of its other side; close both at the end."""
    other, own = os.openpty()
    os.set_blocking(other, False)
    terminal = _terminal(own)
    os.close(own)
    terminal.setmode("binary")
    try:
        yield terminal, other
    finally:
        terminal.close()
        os.close(other)


@contextmanager
def _other_side() -> Iterator[tuple[system.Terminal, int]]:
    """The same with the sides changed: a terminal that cannot be opened again, so that it blocks others."""
    own, other = os.openpty()
    os.set_blocking(other, False)
    tty.setraw(other)
    terminal = _terminal(own)
    try:
        yield terminal, other
    finally:
        terminal.close()
        os.close(own)
        os.close(other)


@row
def terminal_receive(clock: ManualClock) -> Iterator[Row]:
    with _screen() as (terminal, other):

        def check(got: Any, begun: bool) -> None:
            os.write(other, b", and more")
            found = b"" if got is NOTHING else got
            while len(found) < 14:
                found += terminal.receive(14 - len(found))
            assert found == b"data, and more"

        yield Row(terminal.receive, lambda: os.write(other, b"data"), check)


@row
def terminal_receive_into(clock: ManualClock) -> Iterator[Row]:
    with _screen() as (terminal, other):
        buffer = bytearray(64)

        def check(got: Any, begun: bool) -> None:
            os.write(other, b", and more")
            at = 0 if got is NOTHING else got
            while at < 14:
                at += terminal.receive_into(buffer, at, 14)
            assert buffer[:at] == b"data, and more"
            buffer.append(0)  # no one but the test holds it

        yield Row(lambda: terminal.receive_into(buffer), lambda: os.write(other, b"data"), check)


@row
def terminal_send(clock: ManualClock) -> Iterator[Row]:
    return _send(_screen)


@row
def terminal_send_by_morsels(clock: ManualClock) -> Iterator[Row]:
    return _send(_other_side)


def _send(screen: Callable[[], AbstractContextManager[tuple[system.Terminal, int]]]) -> Iterator[Row]:
    """What has begun goes on in the background, so that no one sees half of it."""
    with screen() as (terminal, other):
        shown, sends = bytearray(), []

        def send() -> Any:
            sends.append(MUCH)
            return terminal.send(MUCH)

        def look() -> None:
            while len(shown) < len(MUCH):
                with suppress(BlockingIOError):
                    shown.extend(os.read(other, 65536))
                system.suspend()

        def ready() -> None:
            if sends:
                lookers.append(spawn.call(look))

        def check(got: Any, begun: bool) -> None:
            while lookers and lookers[0].status != "dead":
                system.run("ready")
            assert terminal.send(b"end") is True
            while len(shown) < len(MUCH) * len(sends) + 3:
                shown.extend(os.read(other, 65536))
            assert shown == b"".join(sends) + b"end"

        lookers: list[Any] = []
        yield Row(send, ready, check)


@row
def terminal_send_file(clock: ManualClock) -> Iterator[Row]:
    """What was shown is a part of the file, from its beginning."""
    with _screen() as (terminal, other), TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(b"data")
        with system.openfile(Path(folder, "file")) as file:

            def check(got: Any, begun: bool) -> None:
                assert got in (NOTHING, 4)
                assert terminal.send_file(file) == 4
                assert terminal.send(b"end") is True
                shown = b""
                while not shown.endswith(b"end"):  # the system hands over what was written piece by piece
                    shown += os.read(other, 64)
                assert shown in ([b"datadataend"] if got == 4 else [b"dataend", b"datadataend"])

            yield Row(lambda: terminal.send_file(file), check=check)


@row
def terminal_awaitwinsize(clock: ManualClock) -> Iterator[Row]:
    """The second user learns what the first did not."""
    with _screen() as (terminal, other):

        def resize(width: int) -> None:
            termios.tcsetwinsize(other, (24, width))
            os.kill(os.getpid(), signal.SIGWINCH)

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, (80, 24))
            if got is NOTHING:
                assert terminal.awaitwinsize() == (80, 24)
            second = spawn.call(lambda: found.append(terminal.awaitwinsize()))
            resize(132)
            while second.status != "dead":
                system.run("step")
            assert found == [(132, 24)]

        found: list[Any] = []
        assert terminal.winsize() == (0, 0)
        yield Row(terminal.awaitwinsize, lambda: resize(80), check)
