"""Rows of the kill matrix: paths, files, and changes of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from coutil import spawn, system
from coutil.errors import Closed
from coutil.testing import ManualClock
from tests.helpers.tcp import BIG, with_plain_peer
from tests.matrix.row import NOTHING, Row, row, row_for, rows

# -- paths. What was given up may happen nevertheless, so each call has files of its own


def _copy(path: Path) -> bool:
    return system.copyfile(path, path.with_suffix(".new"))


def _remove(path: Path) -> bool:
    return system.removefile(path)


def _list(path: Path) -> bool:
    entries = system.listdir(path.parent)
    if entries is True:  # an explicit resume
        return True
    kinds = set()
    with entries:
        for entry in entries:
            if entry is True:
                return True
            kinds.add(entry[1])
    return "file" in kinds


def _open(path: Path) -> bool:
    file = system.openfile(path)
    if file is True:  # an explicit resume
        return True
    with file:
        return file.read() in (b"data", True)


def _make(path: Path) -> bool:
    made = system.maketemp(path, want=("path", "file"))
    return made is True or made[1].close()


FILE_CALLS: dict[str, Callable[[Path], Any]] = {
    "copyfile": _copy,
    "fileinfo": lambda path: system.fileinfo(path, "size", "realpath") in (True, (4, os.path.realpath(path))),
    "grantfile": lambda path: system.grantfile(path, 0o600),
    "linkfile": lambda path: system.linkfile(path, path.with_suffix(".new")),
    "listdir": _list,
    "makedir": lambda path: system.makedir(path.with_suffix(".new"), 0o700),
    "maketemp": _make,
    "movefile": lambda path: system.movefile(path, path.with_suffix(".new")),
    "openfile": _open,
    "ownfile": lambda path: system.ownfile(path, -1, -1),
    "removefile": _remove,
    "touchfile": system.touchfile,
}


def _file_row(call: Callable[[Path], Any], clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        paths = (Path(folder, str(number)) for number in range(10))

        def wait() -> Any:
            path = next(paths)
            path.write_bytes(b"data")
            return call(path)

        def check(got: Any, begun: bool) -> None:
            assert got is NOTHING or got is True
            assert wait() is True

        yield Row(wait, check=check)


rows({name: partial(_file_row, call) for name, call in FILE_CALLS.items()})


@row
def copyfile_of_a_pipe(clock: ManualClock) -> Iterator[Row]:
    """A copy that goes on. One that was given up may take something out of its pipe still, so each has its own."""
    with TemporaryDirectory() as folder:
        over: list[str] = []

        def wait(name: str) -> Any:
            return system.copyfile(Path(folder, f"{name} pipe"), Path(folder, name))

        def is_copied(copy: Path) -> bool:
            try:
                return copy.stat().st_size == 4
            except FileNotFoundError:  # not yet, or a copy that was given up has removed it
                return False

        def feed(name: str) -> None:
            """Write, and end the pipe when that is copied, or no one copies it any longer."""
            copy = Path(folder, name)
            writer = os.open(Path(folder, f"{name} pipe"), os.O_RDWR)
            os.write(writer, b"data")
            while name not in over and not is_copied(copy):
                system.suspend()
            os.close(writer)

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, True)
            over.append("first")
            feeder = spawn.call(feed, "second")
            assert wait("second") is True
            assert Path(folder, "second").read_bytes() == b"data"
            while feeder.status != "dead":
                system.run("step")

        for name in ("first", "second"):
            os.mkfifo(Path(folder, f"{name} pipe"))
        yield Row(lambda: wait("first"), lambda: spawn.call(feed, "first"), check)


# -- open files

FILE_METHODS: dict[str, tuple[Callable[[system.File], Any], Any]] = {
    "read": (lambda file: file.read(4, offset=1), b"ATA"),
    "read all": (lambda file: file.read(offset=0), b"DATA"),
    "read_into": (lambda file: file.read_into(bytearray(9), offset=0), 4),
    "write": (lambda file: file.write(b"DATA", offset=0), 4),
    "resize": (lambda file: file.resize(4), True),
    "flush": (lambda file: file.flush(), True),
    "touch": (lambda file: file.touch(mtime=1), True),
    "own": (lambda file: file.own(-1, -1), True),
    "grant": (lambda file: file.grant(0o600), True),
    "info": (lambda file: file.info("size"), 4),
}


def _method_row(call: Callable[[system.File], Any], expected: Any, clock: ManualClock) -> Iterator[Row]:
    """Doing it once more changes nothing, so it does not matter whether what was given up has happened."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        path.write_bytes(b"DATA")
        with system.openfile(path, read=True, write=True) as file:

            def check(got: Any, begun: bool) -> None:
                assert got is NOTHING or got == expected
                assert call(file) == expected
                assert file.read(offset=0) == path.read_bytes() == b"DATA"

            yield Row(lambda: call(file), check=check)


rows({f"file_{name}": partial(_method_row, *given) for name, given in FILE_METHODS.items()})


@row
def file_write_from(clock: ManualClock) -> Iterator[Row]:
    """What was given up has written all, or nothing."""
    with TemporaryDirectory() as folder:
        Path(folder, "source").write_bytes(b"data")
        source = system.openfile(Path(folder, "source"))
        with source, system.openfile(Path(folder, "target"), write=True, create=True, perm=0o600) as target:

            def check(got: Any, begun: bool) -> None:
                assert got in (NOTHING, 4)
                assert target.write_from(source, 0, 4) == 4
                expected = [b"datadata"] if got == 4 else [b"data", b"datadata"][: 1 + begun]
                assert Path(folder, "target").read_bytes() in expected

            yield Row(lambda: target.write_from(source, 0, 4), check=check)


@row
def pipe_read(clock: ManualClock) -> Iterator[Row]:
    """Who was cut has read all, or nothing."""
    with TemporaryDirectory() as folder:
        os.mkfifo(Path(folder, "pipe"))
        with system.openfile(Path(folder, "pipe"), read=True, write=True) as file:

            def check(got: Any, begun: bool) -> None:
                assert got in (NOTHING, b"data")
                assert file.write(b"more") == 4
                expected = [b"more"] if got == b"data" else [b"datamore", b"more"][: 1 + begun]
                assert file.read(8) in expected

            yield Row(lambda: file.read(4), lambda: os.write(file.fileno(), b"data"), check)


@row
def file_send(clock: ManualClock) -> Iterator[Row]:
    """What was given up is written completely or not at all, before the second user's data or behind them."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")
        with system.StandardFile(os.open(path, os.O_CREAT | os.O_RDWR, 0o600), "file", True, True) as file:

            def check(got: Any, begun: bool) -> None:
                assert got in (NOTHING, True)
                assert file.send(b"more") is True
                expected = [b"datamore"] if got is True else [b"more", b"datamore", b"moredata"][: 1 + 2 * begun]
                assert path.read_bytes() in expected

            yield Row(lambda: file.send(b"data"), check=check)


@row
def file_close(clock: ManualClock) -> Iterator[Row]:
    """The one that closes has closed, also if the wait for that is given up."""
    with TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(b"data")
        file = system.openfile(Path(folder, "file"))

        def close() -> Any:
            closes.append(True)
            return file.close()

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, True)
            assert file.closed is bool(closes)
            assert file.close() is True
            with pytest.raises(Closed):
                file.read()

        closes: list[bool] = []
        yield Row(close, check=check)


@row
def file_lines(clock: ManualClock) -> Iterator[Row]:
    """A second user of an iterator gets what the first one did not."""
    with TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(b"one\ntwo\n")
        with system.openfile(Path(folder, "file")) as file:
            lines = file.lines()

            def check(got: Any, begun: bool) -> None:
                found = [] if got is NOTHING else [got]
                assert [*found, *lines] == [b"one\n", b"two\n"]

            yield Row(lambda: next(lines), check=check)


@row_for("ipv4", "local", "share", "pipe", "sharepipe")
def stream_send_file(domain: str, clock: ManualClock) -> Iterator[Row]:
    """What was sent is a part of the file, from its beginning."""
    with TemporaryDirectory() as folder, with_plain_peer(domain) as (stream, peer):
        Path(folder, "file").write_bytes(BIG)
        with system.openfile(Path(folder, "file")) as file:
            received, over = bytearray(), []

            def drain() -> None:
                with suppress(BlockingIOError):
                    while data := peer.recv(1 << 20):
                        received.extend(data)

            def take() -> None:
                while len(received) < len(BIG) and not over:
                    drain()
                    system.suspend()

            def check(got: Any, begun: bool) -> None:
                over.append(True)
                stream.shutdown()
                while system.run("step"):
                    drain()
                peer.settimeout(20)
                drain()  # up to the end, which may be on its way still
                assert BIG.startswith(received)
                assert got is NOTHING or got == len(BIG) == len(received)

            yield Row(lambda: stream.send_file(file), lambda: spawn.call(take), check)


# -- changes


@row
def awaitpath(clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, ("first", {"rename"}))
            spawn.call(lambda: (system.suspend(), Path(folder, "second").touch()))
            assert system.awaitpath(folder) == ("second", {"rename"})

        yield Row(lambda: system.awaitpath(folder), lambda: Path(folder, "first").touch(), check)


@row
def awaitpath_poll(clock: ManualClock) -> Iterator[Row]:
    """The one that looks for what is not there is told at once; then, when it is."""
    with TemporaryDirectory() as folder:
        path = Path(folder, "file")

        def wait() -> Any:
            return system.awaitpath(path, poll=0.001)

        def check(got: Any, begun: bool) -> None:
            for found in (wait(), *([] if got is NOTHING else [got])):
                assert (found.error.name, found[1]) == ("ENOENT", None)
            second = spawn.call(lambda: changes.extend((wait(), path.touch(), wait())))
            while second.status != "dead":
                system.run("step")
            assert (changes[0][1], changes[2].error, changes[2][1].size) == (None, None, 0)

        changes: list[Any] = []
        yield Row(wait, check=check)


@row
def awaitpath_recursive(clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        inner = Path(folder, "inner")
        inner.mkdir()

        def wait() -> Any:
            return system.awaitpath(folder, recursive=True)

        def change(name: str) -> None:
            Path(inner, name).touch()

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, ("inner/first", {"rename"}))
            second = spawn.call(lambda: found.append(wait()))
            number = 0
            while second.status != "dead":  # what happens before it watches is missed
                system.run("ready")
                change(f"file {(number := number + 1)}")
            assert found[0].name.startswith("inner/file")
            assert found[0].events == {"rename"}

        def ready_() -> None:
            """Make what is waited for come, as soon as there is a watcher."""

            def try_again() -> None:
                for _ in range(10_000):
                    if over:
                        return
                    change("first")
                    Path(inner, "first").unlink()
                    system.suspend()

            spawn.call(try_again)

        found: list[Any] = []
        over: list[bool] = []
        yield Row(wait, ready_, lambda got, begun: (over.append(True), check(got, begun)))


@row
def watch(clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:

        def check(got: Any, begun: bool) -> None:
            with system.watch(folder, recursive=True) if got is NOTHING else got as changes:
                Path(folder, "file").touch()
                assert next(changes) == ("file", {"rename"})

        Path(folder, "inner").mkdir()
        yield Row(lambda: system.watch(folder, recursive=True), check=check)


@row
def watch_next(clock: ManualClock) -> Iterator[Row]:
    """No change is lost, and none told twice."""
    with TemporaryDirectory() as folder, system.watch(folder, recursive=True) as changes:

        def check(got: Any, begun: bool) -> None:
            Path(folder, "second").touch()
            found = [] if got is NOTHING else [got]
            while len(found) < 2:
                found.append(next(changes))
            assert found == [("first", {"rename"}), ("second", {"rename"})]
            assert repr(changes).endswith("open>")

        yield Row(lambda: next(changes), lambda: Path(folder, "first").touch(), check)
