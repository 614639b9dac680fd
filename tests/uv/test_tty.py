"""TTY handles, on pseudo-terminals."""

import fcntl
import os
import struct
import termios
from contextlib import suppress

import pytest

from coutil import errors, uv


@pytest.fixture
def pty():
    """The two descriptors of a pseudo-terminal: the side of the one that shows it, and the terminal."""
    ends = os.openpty()
    yield ends
    for end in ends:
        os.close(end)


def name_of(call, *arguments):
    """Return libuv's name of the error that a call raises."""
    with pytest.raises(errors.UVError) as info:
        call(*arguments)
    return info.value.name


def test_guess_handle(pty, tmp_path):
    """It tells which handle fits."""
    read, write = uv.pipe()
    stream, datagram = uv.socketpair(), uv.socketpair("dgram")
    file = os.open(tmp_path, os.O_RDONLY)
    assert uv.guess_handle(pty[1]) == "tty"
    assert [uv.guess_handle(number) for number in (read, stream[0])] == ["pipe", "pipe"]
    assert uv.guess_handle(datagram[0]) in ("udp", "unknown")
    assert uv.guess_handle(1023) == "unknown"
    with open(__file__, "rb") as source:
        assert uv.guess_handle(source) == "file"
    for number in (read, write, *stream, *datagram, file):
        os.close(number)
    for bad, kind in ((-1, ValueError), ("x", TypeError)):
        with pytest.raises(kind):
            uv.guess_handle(bad)


def test_reading_and_writing(loop, pty):
    """A line at a time; the descriptor stays the caller's."""
    shown, terminal = pty
    with uv.new_tty(loop, terminal) as tty:
        assert tty.type == "tty"
        assert tty.fileno() != terminal
        os.write(shown, b"line\n")
        assert tty.read() == b"line\n"
        tty.write(b"answer\n")
        screen = b""
        while len(screen) < 14:
            screen += os.read(shown, 100)
        assert screen == b"line\r\nanswer\r\n"
        assert tty.write(b"") is True
        log = []
        tty.onread = lambda tty, err, data: log.append(data)
        tty.read_start()
        os.write(shown, b"more\n")
        while not log:
            loop.run("once")
        assert log == [b"more\n"]
        assert name_of(tty.shutdown) == "ENOTSOCK"
        assert name_of(tty.listen) == "EINVAL"
    loop.run()
    assert os.isatty(terminal)


@pytest.mark.parametrize("mode", ["raw", "io", "raw_vt"])
def test_modes(loop, pty, mode):
    """Keys arrive at once in other modes than normal; reset brings the old one back, again and again."""
    shown, terminal = pty
    before = termios.tcgetattr(terminal)
    with uv.TTY(loop, terminal, True) as tty:
        uv.tty_set_mode(tty, mode)
        assert not termios.tcgetattr(terminal)[3] & (termios.ICANON | termios.ECHO)
        os.write(shown, b"\x03k")
        assert tty.read() == b"\x03k"
        tty.set_mode("normal")
        assert termios.tcgetattr(terminal) == before
        tty.set_mode(mode)
        uv.tty_reset_mode()
        uv.tty_reset_mode()
        assert termios.tcgetattr(terminal) == before
        for bad, kind in (("cooked", ValueError), (1, TypeError)):
            with pytest.raises(kind, match="mode "):
                tty.set_mode(bad)
    loop.run()
    assert termios.tcgetattr(terminal) == before


def test_winsize(loop, pty):
    """Columns and rows, as the window has them now."""
    with uv.TTY(loop, pty[1]) as tty:
        assert tty.winsize == (0, 0)
        fcntl.ioctl(pty[1], termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        assert uv.tty_get_winsize(tty) == (80, 24)
        fcntl.ioctl(pty[1], termios.TIOCSWINSZ, struct.pack("HHHH", 25, 132, 0, 0))
        assert tty.winsize == (132, 25)
    with pytest.raises(errors.Closed):
        tty.winsize  # noqa: B018  # it raises


def test_what_is_no_terminal(loop, tmp_path):
    """EINVAL for files, pipes and sockets, EBADF for nothing; nothing is left."""
    read, write = uv.pipe()
    stream = uv.socketpair()
    with open(__file__, "rb") as file:
        assert [name_of(uv.TTY, loop, one) for one in (file, read, stream[0])] == ["EINVAL"] * 3
    assert name_of(uv.TTY, loop, 1023) == "EBADF"
    for number in (read, write, *stream):
        os.close(number)
    assert loop.walk() == []


def test_the_other_side(loop, pty):
    """Who shows a terminal may be a TTY handle, too; its end is an error of the system, or the end."""
    shown, terminal = os.openpty()
    with uv.TTY(loop, shown) as handle:
        os.write(terminal, b"screen")
        assert handle.read() == b"screen"
        os.close(terminal)
        with suppress(errors.EIO):
            assert handle.read() == b""
    os.close(shown)


def test_vterm_state():
    """It is for Windows."""
    uv.tty_set_vterm_state("supported")
    with pytest.raises(ValueError, match="state "):
        uv.tty_set_vterm_state("good")
    assert name_of(uv.tty_get_vterm_state) == "ENOTSUP"
