"""Lines, buffers and text over streams: what comes in pieces, waits that end in the middle of a line, and the ends."""

import gc
import io
import os
import threading
from contextlib import suppress

import pytest

from coutil import coroutine, errors, spawn, system
from coutil.scopes import timeout
from coutil.system.stdio import _terminal
from tests.helpers.script import run_script
from tests.helpers.tcp import BIG, pairs, receive_all, reset, with_plain_peer

all_streams = pytest.mark.parametrize("domain", ["ipv4", "local", "share", "pipe", "sharepipe"])
READERS = {
    "lines": (lambda stream: stream.lines(), next),
    "buffered": (lambda stream: stream.buffered(), lambda reader: reader.readline()),
    "text": (lambda stream: stream.text(), lambda reader: reader.readline().encode()),
}
all_readers = pytest.mark.parametrize(("make", "read"), READERS.values(), ids=READERS)


# -- reading


@all_streams
def test_lines(domain):
    """Lines with their ends, whatever pieces they come in; the last one may lack it."""
    with pairs(domain) as (near, far):
        found = []
        spawn.call(lambda: found.extend(far.lines()))
        for piece in (b"on", b"e\ntw", b"o\n\nthr", b"ee"):
            near.send(piece)
            system.run("ready")
        near.shutdown()
        system.run()
        assert found == [b"one\n", b"two\n", b"\n", b"three"]
        assert list(far.lines()) == []


@all_streams
def test_text_both_ways(domain):
    """One text object reads and writes; what is written goes when it is flushed."""
    with pairs(domain) as (near, far), near.text() as one, far.text() as other:
        assert isinstance(one, io.TextIOWrapper)
        assert (one.readable(), one.writable(), one.seekable()) == (True, True, False)
        print("größer", file=one, flush=True)
        assert other.readline() == "größer\n"
        other.write("ja\nnein\n")
        other.flush()
        assert [next(one), next(one)] == ["ja\n", "nein\n"]


@pytest.mark.parametrize("newline", [None, "", "\n", "\r", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "shift_jis"])
def test_text_is_what_python_makes_of_it(newline, encoding):
    """Ends of lines and encodings are those of `open`, also where every byte comes by itself."""
    data = "eins\rzwei\r\ndrei\n\n日本\n\rende\r".encode(encoding)
    plain = io.TextIOWrapper(io.BytesIO(data), encoding, newline=newline)
    with pairs("ipv4") as (near, far), far.text(encoding, newline=newline) as text:
        found = []
        spawn.call(lambda: found.extend(text))
        for at in range(len(data)):
            near.send(data[at : at + 1])
            system.run("ready")
        near.shutdown()
        system.run()
        assert found == list(plain)
        assert text.newlines == plain.newlines
        assert (text.readline(), text.read()) == ("", "")


def test_written_ends_of_lines():
    with pairs("ipv4") as (near, far):
        with near.text(newline="\r\n") as text:
            text.write("one\ntwo\n")
        assert receive_all(far) == b"one\r\ntwo\r\n"


def test_sizes():
    """`read` waits for as much as was asked for, `readline` for no more; `read1` and `peek` take what has come."""
    with pairs("ipv4") as (near, far):
        reader = far.buffered(4)
        near.send(b"0123456789\nabc")
        assert reader.peek() == b"0123"
        assert reader.read(6) == b"012345"
        assert reader.read1() == b"67"
        assert reader.readline(1) == b"8"
        assert reader.readline() == b"9\n"
        near.shutdown()
        buffer = bytearray(8)
        assert (reader.read(0), reader.read1(0), reader.readinto(buffer)) == (b"", b"", 3)
        assert (reader.read(), reader.readline(), reader.peek()) == (b"", b"", b"")
        reader.close()
    with pairs("ipv4") as (near, far), far.text() as text:
        near.send("äöü\nxy".encode())
        assert (text.read(1), text.readline(1), text.readline(), text.read(2)) == ("ä", "ö", "ü\n", "xy")
        near.shutdown()
        assert text.read(7) == text.read() == ""


@pytest.mark.slow
def test_much():
    """More than the system keeps for a stream, in both directions at once."""
    data = BIG.decode("latin-1").translate({0: "\n"})
    with pairs("ipv4") as (near, far):
        found = []

        def write(text):
            text.write(data)
            text.flush()

        with near.text("latin-1", newline="") as one, far.text("latin-1", newline="") as other:
            spawn.call(write, one)
            spawn.call(write, other)
            for text in (one, other):
                spawn.call(lambda text=text: found.append(text.read(len(data))))
            system.run()
        assert found == [data, data]


def test_a_very_long_line():
    """Its parts are put together once."""
    with pairs("ipv4") as (near, far), far.text("latin-1") as text:
        spawn.call(near.send, b"x" * len(BIG) + b"\nnext\n")
        assert text.readline() == "x" * len(BIG) + "\n"
        assert text.readline() == "next\n"


def test_undecodable_text():
    with pairs("ipv4") as (near, far), far.text("ascii", "replace") as text:
        near.send(b"\xff\n")
        assert text.readline() == "\ufffd\n"
    with pairs("ipv4") as (near, far), far.text() as text:
        near.send(b"\xff\n")
        with pytest.raises(UnicodeDecodeError):
            text.readline()


def test_arguments():
    """What `open` would refuse is refused, and leaves the stream as it was."""
    with pairs("ipv4") as (near, far):
        for wrong, kind in ((0, ValueError), (-1, ValueError), ("1", TypeError), (None, TypeError)):
            with pytest.raises(kind, match="size"):
                far.buffered(wrong)
        with pytest.raises(LookupError):
            far.text("no such encoding")
        with pytest.raises(ValueError, match="newline"):
            far.text(newline="x")
        near.send(b"fine")
        assert far.receive() == b"fine"
        with far.text() as text:
            for change in ({"encoding": "ascii"}, {"newline": ""}, {"errors": "ignore"}):
                with pytest.raises(io.UnsupportedOperation, match=next(iter(change))):
                    text.reconfigure(**change)
            text.reconfigure(line_buffering=True)
            text.write("at once\n")
            assert near.receive() == b"at once\n"
            with pytest.raises(io.UnsupportedOperation):
                text.seek(0)


# -- told to leave


@all_readers
@pytest.mark.parametrize("how", ["resume", "throw", "timeout"])
def test_told_to_leave_in_the_middle_of_a_line(make, read, how, clock):
    """The next reader gets the whole line."""
    with pairs("ipv4") as (near, far):
        reader, log = make(far), []

        def work():
            try:
                with timeout(1):
                    log.append(read(reader))
            except (KeyError, errors.OperationCancelled, errors.Timeout) as error:
                log.append(type(error).__name__)

        near.send(b"first\nsec")
        assert read(reader) == b"first\n"
        for piece in (b"on", b"d"):
            worker = spawn.call(work)
            near.send(piece)
            system.run("ready")
            assert worker.status == "suspended"
            if how == "resume":
                worker.resume(77)
            elif how == "throw":
                worker.throw(KeyError)
            else:
                clock.advance(2)
                system.run("ready")
            assert worker.status == "dead"
        told = {
            "resume": 77 if make is READERS["lines"][0] else "OperationCancelled",
            "throw": "KeyError",
            "timeout": "Timeout",
        }
        assert log == [told[how]] * 2
        near.send(b"\nthird\n")
        assert (read(reader), read(reader)) == (b"second\n", b"third\n")
        getattr(reader, "close", far.close)()


@all_readers
def test_one_reader_at_a_time(make, read):
    """The second one is told who reads; the first is undisturbed."""
    with pairs("ipv4") as (near, far):
        reader, log = make(far), []
        spawn.call(lambda: log.append(read(reader)), name="first")
        with pytest.raises(errors.BusyError, match="first"):
            read(reader)
        near.send(b"line\n")
        system.run()
        assert log == [b"line\n"]
        getattr(reader, "close", far.close)()


def test_flushed_once_although_told_to_leave():
    """What libuv has begun to send goes on in the background; the next flush sends only what was written since."""
    with pairs("ipv4") as (near, far):
        writer, found, ends = near.buffered(), [], []

        def work():
            with suppress(KeyError):
                writer.write(BIG)
            writer.write(b"end")
            ends.append(writer.close())

        worker = spawn.call(work)
        assert worker.status == "suspended"
        worker.throw(KeyError)
        spawn.call(lambda: found.append(receive_all(far)))
        system.run()
        assert (found, ends) == ([BIG + b"end"], [None])


def test_not_begun_is_kept():
    """A flush that is cut before anything could be sent leaves what was written for the next one."""
    with pairs("ipv4") as (near, far):
        writer, log = near.buffered(), []

        def work():
            with suppress(errors.Timeout), timeout(0):
                near.send(BIG)  # the system is full, and the wait is cut
            writer.write(b"kept")
            with suppress(errors.Timeout), timeout(0):
                writer.flush()
            log.append("cut")
            writer.flush()
            writer.close()

        spawn.call(near.send, BIG)  # the system is full
        spawn.call(work)
        assert log == ["cut"]
        spawn.call(lambda: log.append(receive_all(far).removeprefix(BIG)))
        system.run()
        assert log == ["cut", b"kept"]


def test_other_threads():
    """They are refused; what was written waits for a flush of its own thread."""
    with pairs("ipv4") as (near, far), near.buffered() as writer:
        told = []

        def flush():
            with pytest.raises(errors.ForeignThread):
                writer.flush()
            told.append(True)

        writer.write(b"kept")
        thread = threading.Thread(target=flush)
        thread.start()
        thread.join()
        writer.flush()
        assert (told, far.receive()) == ([True], b"kept")


# -- ends


@pytest.mark.parametrize("kind", ["buffered", "text"])
def test_closing_closes_the_stream(kind):
    """After everything has been sent; reading and writing raise from then on, closing again does not."""
    with pairs("ipv4") as (near, far):
        wrapper, data = getattr(near, kind)(), "last" if kind == "text" else b"last"
        with wrapper:
            wrapper.write(data)
        assert receive_all(far) == b"last"
        with pytest.raises(errors.Closed):
            near.receive()
        for call in (wrapper.readline, lambda: wrapper.write(data)):
            with pytest.raises(ValueError, match="closed"):
                call()
        wrapper.close()


def test_closed_under_a_reader():
    with pairs("ipv4") as (_, far):
        text, log = far.text(), []

        def read():
            with pytest.raises(errors.Closed) as info:
                text.readline()
            log.append(info.value.interrupted)

        spawn.call(read)
        text.close()
        assert log == [True]


def test_lost_connection():
    """It is told once: what no one will take any more does not keep the stream from being closed."""
    with with_plain_peer("ipv4") as (stream, peer), stream.text() as text:
        reset(peer)
        with pytest.raises(ConnectionResetError):
            text.readline()
        text.write("nobody takes this")
        with pytest.raises(BrokenPipeError):
            text.flush()


def test_forgotten():
    """What is forgotten sends what the system takes at once, and leaves the stream to who has it."""
    with pairs("ipv4") as (near, far):
        text = near.text()
        text.write("as much as possible")
        del text
        near.send(b", and more")
        near.shutdown()
        assert receive_all(far) == b"as much as possible, and more"


@pytest.mark.slow
def test_forgotten_with_more_than_the_system_takes():
    """With -X dev it is told."""
    script = """
        from coutil import spawn
        from tests.helpers.tcp import BIG, pair
        near, far = pair("ipv4")
        spawn.call(near.send, BIG)
        text = near.text()
        text.write("too much")
        del text
        near.close()
        far.close()
    """
    told = run_script(script, "-X", "dev").stderr
    assert "ResourceWarning: 8 bytes were written to <buffered <StreamSocket ipv4" in told
    assert "unclosed" not in told
    assert run_script(script).stderr == ""


def test_coroutine_that_is_collected():
    """A coroutine that is forgotten in the middle of a block sends without waiting."""
    with pairs("ipv4") as (near, far):

        def work():
            with near.text() as text:
                text.write("sent")
                coroutine.yield_()

        worker = spawn.call(work)
        system.run("ready")
        del worker
        gc.collect()
        assert receive_all(far) == b"sent"


def test_output_of_a_child():
    """The usual loop over the lines of a program."""
    with system.start("printf", "%s\n", "one", "two", stdout="r") as child:
        assert list(child.stdout.text()) == ["one\n", "two\n"]


def test_text_on_a_terminal():
    """A line of it is an end if Ctrl-D comes alone; more can be typed then."""
    master, slave = os.openpty()
    terminal = _terminal(slave)
    os.close(slave)
    with terminal.text() as text:
        os.write(master, "größer\n\x04again\n".encode())
        assert (text.isatty(), list(text), next(text)) == (True, ["größer\n"], "again\n")
    with pytest.raises(errors.Closed):
        terminal.fileno()
    os.close(master)


def test_sockets_that_travel_among_lines():
    """They wait for `receive_stream`; those that no one asks for do not pile up."""
    before = len(os.listdir("/proc/self/fd"))
    with pairs("share") as (near, far), pairs("ipv4") as (one, _):
        lines = far.lines()
        for _ in range(70):
            near.send(b"line\n", stream=one)
            assert next(lines) == b"line\n"
        assert len(os.listdir("/proc/self/fd")) <= before + 6 + 64
