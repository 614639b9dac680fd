"""Python's buffers and text over files, and lines: they work in coroutines, also if one of these is told to leave."""

import gc
import io
import os
from contextlib import suppress

import pytest

from coutil import coroutine, errors, spawn, system
from coutil.scopes import timeout
from coutil.system.files.file import File
from tests.helpers.script import run_script

LINES = [b"line %05d %s\n" % (number, b"x" * (number % 90)) for number in range(5000)]
TEXT = b"".join(LINES)


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "file"
    made.write_bytes(TEXT)
    return made


def new(path, **flags):
    return system.openfile(path, **({"write": True} | flags), create=True, perm=0o600)


# -- reading


def test_lines(path):
    """All lines, with their ends, whatever the buffers cut; the position of the file stays."""
    with system.openfile(path) as file:
        assert file.read(5) == TEXT[:5]
        assert list(file.lines()) == [LINES[0][5:], *LINES[1:]]
        assert file.read(20) == TEXT[5:25]


@pytest.mark.parametrize(
    "data", [b"", b"\n", b"no end", b"a\n\nb", b"\r\n\x0b\x0c\n", b"x" * 200_000 + b"\ny", b"\n" * 100_000], ids=len
)
def test_unusual_lines(data, tmp_path):
    """Empty, without an end, longer than any buffer: as Python's own files see them."""
    (tmp_path / "file").write_bytes(data)
    with system.openfile(tmp_path / "file") as file, open(tmp_path / "file", "rb") as plain:
        lines = file.lines()
        assert list(lines) == plain.readlines()
        assert list(lines) == []
        assert iter(lines) is lines


def test_others_run_between_lines(path):
    """Reading lines suspends only the reader: two readers take turns."""
    log = []

    def read(name):
        with system.openfile(path) as file:
            for _ in file.lines():
                if not log or log[-1] != name:
                    log.append(name)

    spawn.call(read, "a")
    spawn.call(read, "b")
    system.run()
    assert len(log) > 2


@pytest.mark.parametrize("how", ["resume", "throw"])
def test_told_to_leave_between_lines(how, path):
    """A wait that ends from outside loses no line, and no part of one."""
    found, log = [], []

    def work():
        with system.openfile(path) as file:
            lines = file.lines()
            while len(found) < len(LINES):
                try:
                    line = next(lines)
                except KeyError:
                    line = "told"
                (log if line == "told" else found).append(line)

    worker = spawn.call(work)
    told = 0
    while worker.status != "dead":
        if worker.waiting_on is not None and "read" in str(worker.waiting_on) and told < 5:
            worker.throw(KeyError) if how == "throw" else worker.resume("told")
            told += 1
        system.run("step")
    assert (told, log) == (5, ["told"] * 5)
    assert found == LINES


def test_buffered_reader(path):
    """The usual methods of Python's buffered files."""
    with system.openfile(path) as file, file.buffered() as reader:
        assert isinstance(reader, io.BufferedReader)
        assert reader.readline() == LINES[0]
        assert reader.read(5) == LINES[1][:5]
        assert reader.tell() == len(LINES[0]) + 5
        assert reader.seek(-10, io.SEEK_END) == len(TEXT) - 10
        assert reader.read() == TEXT[-10:]
        assert reader.seek(0) == 0
        assert reader.readlines() == LINES
        assert (reader.readable(), reader.writable(), reader.seekable()) == (True, False, True)
        assert reader.fileno() == file.fileno()
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)
    assert file.closed


@pytest.mark.parametrize(("newline", "ends"), [(None, "\n"), ("", "\r\n"), ("\r\n", "\r\n")])
def test_text(newline, ends, tmp_path):
    """Text in any encoding, with the line ends that `open` knows."""
    (tmp_path / "file").write_bytes("ä\r\nö\r\nü".encode("utf-16"))
    with system.openfile(tmp_path / "file").text("utf-16", newline=newline) as text:
        assert list(text) == [f"ä{ends}", f"ö{ends}", "ü"]
        text.seek(0)
        assert text.read(1) == "ä"


def test_undecodable_text(tmp_path):
    """B69: what cannot be decoded is told, unless `errors` says what to do."""
    (tmp_path / "file").write_bytes(b"fine\n\xff\n")
    with system.openfile(tmp_path / "file").text() as text, pytest.raises(UnicodeDecodeError):
        text.read()
    with system.openfile(tmp_path / "file").text(errors="surrogateescape") as text:
        assert text.readlines() == ["fine\n", "\udcff\n"]
    with pytest.raises(LookupError), system.openfile(tmp_path / "file") as file:
        file.text("no such encoding")


def test_text_of_a_pipe():
    """What has no positions is read and written all the same."""
    reader, writer = os.pipe()
    lines = []

    def read():
        with File(reader, "'reader'", True, False).text() as text:
            lines.extend(text)

    spawn.call(read)
    with File(writer, "'writer'", False, True).text() as text:
        assert text.write("one\ntwo") == 7
        assert text.seekable() is False
        with pytest.raises(io.UnsupportedOperation):
            text.seek(0)
    system.run()
    assert lines == ["one\n", "two"]


# -- writing


def test_text_is_written(tmp_path):
    """Text arrives when it is flushed, or at the end."""
    path = tmp_path / "file"
    with new(path).text() as text:
        assert text.write("größer\n") == 7
        assert path.read_bytes() == b""
        text.flush()
        assert path.read_text("utf-8") == "größer\n"
        for number in range(10_000):
            text.write(f"{number}\n")
    assert path.read_text("utf-8") == "größer\n" + "".join(f"{number}\n" for number in range(10_000))


def test_read_and_write(path):
    """A file that is open for both has one position in its buffer."""
    with new(path, read=True).buffered(1000) as both:
        assert isinstance(both, io.BufferedRandom)
        assert both.read(4) == b"line"
        assert both.write(b"****") == 4
        assert both.read(4) == TEXT[8:12]
        assert both.seek(0, io.SEEK_END) == len(TEXT)
        assert both.write(b"end") == 3
        assert both.truncate(len(TEXT) + 2) == len(TEXT) + 2
    assert path.read_bytes() == TEXT[:4] + b"****" + TEXT[8:] + b"en"


def test_appended_text(path):
    """A file opened to append begins at its end."""
    with system.openfile(path, append=True).text() as text:
        assert text.tell() == len(TEXT)
        text.write("more")
        text.flush()
        assert text.tell() == len(TEXT) + 4
    assert path.read_bytes() == TEXT + b"more"


def test_written_once_although_told_to_leave(tmp_path):
    """A flush that was given up is repeated at the same place: nothing is twice in the file, nothing is missing."""
    path = tmp_path / "file"
    data = os.urandom(300_000)

    def work():
        with new(path).buffered() as writer:
            for at in range(0, len(data), 1000):
                writer.write(data[at : at + 1000])
            for _ in range(100):
                with suppress(KeyError):
                    writer.flush()
                    break

    worker = spawn.call(work)
    for _ in range(3):
        while worker.status == "suspended" and "write" not in str(worker.waiting_on):
            system.run("step")
        with suppress(KeyError):
            worker.throw(KeyError)
        if worker.status == "dead":
            break
        system.run("step")
    system.run()
    assert worker.status == "dead"
    assert data.startswith(path.read_bytes())


def test_no_access(path):
    """What the file cannot do, its buffer refuses."""
    with system.openfile(path).buffered() as reader, pytest.raises(io.UnsupportedOperation):
        reader.write(b"x")
    with system.openfile(path, write=True).buffered() as writer, pytest.raises(io.UnsupportedOperation):
        writer.read()
    with system.openfile(path) as file:
        for wrong, kind in ((0, ValueError), (-1, ValueError), ("1", TypeError), (None, TypeError)):
            with pytest.raises(kind, match="size"):
                file.buffered(wrong)


# -- told to leave


@pytest.mark.parametrize("how", ["resume", "throw", "close", "timeout"])
def test_reader_that_is_told_to_leave(how, path, clock):
    """The memory of the buffer is not touched by a call that was given up, and its lock is free: it goes on reading."""
    reader = system.openfile(path).buffered(8192)
    log = []

    def work():
        try:
            with timeout(1):
                log.append(reader.read(100_000))
        except (KeyError, errors.OperationCancelled, errors.Timeout) as error:
            log.append(type(error).__name__)

    worker = spawn.call(work)
    assert worker.status == "suspended"
    if how == "resume":
        worker.resume(77)
    elif how == "throw":
        worker.throw(KeyError)
    elif how == "close":
        assert worker.close() is True
    else:
        clock.advance(2)
        system.run("ready")
    assert log == {"resume": ["OperationCancelled"], "throw": ["KeyError"], "timeout": ["Timeout"], "close": []}[how]
    assert reader.seek(0) == 0
    assert reader.read() == TEXT
    reader.close()


def test_two_coroutines_in_one_buffer(path):
    """The second one is refused by Python while the first waits inside; the first is undisturbed."""
    reader = system.openfile(path).buffered()
    log = []
    spawn.call(lambda: log.append(reader.read(len(TEXT))))
    with pytest.raises(RuntimeError, match="reentrant call"):
        reader.read(1)
    system.run()
    assert log == [TEXT]
    reader.close()


def test_forgotten_writer(path, tmp_path):
    """What is forgotten is flushed and closed at once, without waiting; with -X dev it is told."""
    text = new(tmp_path / "new").text()
    text.write("flushed")
    del text
    assert (tmp_path / "new").read_text("utf-8") == "flushed"
    script = f"""
        from coutil import system
        text = system.openfile({str(path)!r}, truncate=True).text()
        text.write("at the end")
        del text
        with open({str(path)!r}) as plain:
            print(plain.read(), flush=True)
    """
    done = run_script(script, "-X", "dev")
    assert done.stdout == "at the end\n"
    assert "ResourceWarning: unclosed file" in done.stderr
    assert run_script(script).stderr == ""


def test_coroutine_that_is_collected(tmp_path):
    """A coroutine that is forgotten in the middle of a block flushes without waiting."""

    def work():
        with new(tmp_path / "file").text() as text:
            text.write("kept")
            coroutine.yield_()

    worker = spawn.call(work)
    system.run()
    assert (worker.status, (tmp_path / "file").read_bytes()) == ("suspended", b"")
    del worker
    gc.collect()
    assert (tmp_path / "file").read_text("utf-8") == "kept"
