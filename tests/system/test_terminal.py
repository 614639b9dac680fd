"""Terminals: lines and keys, modes and what restores them, sizes. Each test runs a program on a pseudo-terminal."""

import os
import signal
import termios

import pytest

from coutil import system
from coutil.errors import BusyError, Closed
from coutil.system.stdio import Terminal, _terminal
from tests.helpers.pseudoterminal import on_screen

ECHO, LOCAL, OUTPUT = termios.ECHO, 3, 1


@pytest.fixture
def terminal():
    """A terminal object on one side of a pseudo-terminal, and the descriptor of the other."""
    master, slave = os.openpty()
    made = _terminal(slave)
    os.close(slave)
    yield made, master
    made.close()
    os.close(master)


def shown(master, text):
    """Read what a terminal shows until `text` has come, and compare."""
    found = b""
    while len(found) < len(text):
        found += os.read(master, len(text) - len(found))
    assert found == text
    return True


def test_lines(terminal):
    """TTY-1: a line is received when it is complete; Ctrl-D is an end, after which more can be typed."""
    tty, master = terminal
    os.write(master, b"he")
    os.write(master, b"llo\nrest")
    assert tty.receive() == b"hello\n"
    os.write(master, b"\n")
    assert tty.receive(2) == b"re"
    assert tty.receive() == b"st\n"
    os.write(master, b"\x04")
    assert tty.receive() == b""
    os.write(master, b"again\n")
    buffer = bytearray(9)
    assert (tty.receive_into(buffer, 1), bytes(buffer)) == (6, b"\0again\n\0\0")


def test_reader_waits_alone(terminal, go):
    """TTY-1: who waits for a line lets others run; a second reader is busy; an explicit resume ends the wait."""
    tty, master = terminal
    log = []
    reader = go(lambda: log.extend([tty.receive(), tty.receive()]))
    with pytest.raises(BusyError, match="terminal "):
        tty.receive()
    assert f"awaited by {reader.name}" in repr(tty)
    reader.resume("given")
    os.write(master, b"line\n")
    assert system.run() is False
    assert log == ["given", b"line\n"]


def test_output(terminal, go):
    """TTY-2: what is sent appears, in the order of the calls, also when the terminal takes only part of it at once."""
    tty, master = terminal
    assert tty.send(b"one\n") is True
    assert tty.send(bytearray(b"xtwox"), 1, 4) is True
    assert shown(master, b"one\r\ntwo")
    tty.setmode("binary")
    data = bytes(range(256)) * 1024
    sending = go(lambda: (tty.send(data), tty.send(b"end")))
    assert sending.status == "suspended"
    os.set_blocking(master, False)
    found = b""
    while not found.endswith(b"end"):
        system.suspend()
        try:
            found += os.read(master, 65536)
        except BlockingIOError:
            continue
    assert found == data + b"end"
    assert system.run() is False


def test_modes(terminal):
    """TTY-3: raw has no lines, echo or signals, but line ends; binary changes nothing; normal is as it was found."""
    tty, master = terminal
    before = termios.tcgetattr(master)
    assert tty.setmode("raw") is True
    assert not termios.tcgetattr(master)[LOCAL] & (ECHO | termios.ICANON | termios.ISIG)
    os.write(master, b"\x03\x04k\r")
    assert tty.receive() == b"\x03\x04k\r"
    tty.send(b"\n")
    assert shown(master, b"\r\n")
    assert tty.setmode("binary") is True
    tty.send(b"\n.")
    assert shown(master, b"\n.")
    assert tty.setmode() is True
    assert termios.tcgetattr(master) == before
    assert tty.setmode("normal") is True


def test_mode_belongs_to_the_terminal(terminal):
    """TTY-3: two objects on one terminal see one mode; the settings before the first change come back in the end."""
    tty, master = terminal
    before = termios.tcgetattr(master)
    with _terminal(tty.fileno()) as other:
        tty.setmode("raw")
        raw = termios.tcgetattr(master)
        other.setmode("raw")
        assert termios.tcgetattr(master) == raw != before
        tty.setmode("normal")
        assert termios.tcgetattr(master) == before
        other.setmode("normal")
        assert termios.tcgetattr(master) == before
        other.setmode("binary")
    assert termios.tcgetattr(master) == before, "closing restores"


def test_wrong_arguments_and_closed(terminal):
    """TTY-3, TTY-5: modes are three words; a terminal does not listen; a closed one says so."""
    tty, master = terminal
    before = termios.tcgetattr(master)
    for mode in (None, 1, b"raw", True):
        with pytest.raises(TypeError, match="mode "):
            tty.setmode(mode)
    for mode in ("", "RAW", "raw\0", "io"):
        with pytest.raises(ValueError, match="mode "):
            tty.setmode(mode)
    assert termios.tcgetattr(master) == before
    for name in ("accept", "listen", "bind", "connect", "getaddress"):
        assert not hasattr(tty, name)
    with pytest.raises(OSError, match="ENOTSOCK"):
        tty.shutdown()
    tty.send(b"still here")
    assert shown(master, b"still here")
    assert tty.close() is tty.close() is True
    assert repr(tty) == "<Terminal closed>"
    for call in (tty.winsize, tty.awaitwinsize, tty.setmode, tty.receive, lambda: tty.send(b"x"), tty.fileno):
        with pytest.raises(Closed):
            call()


def test_winsize(terminal):
    """TTY-4: width and height, as they are now."""
    tty, master = terminal
    assert tty.winsize() == (0, 0)
    for width, height in ((80, 24), (65535, 1)):
        termios.tcsetwinsize(master, (height, width))
        assert tty.winsize() == (width, height)


def test_winsize_change_between_two_calls(terminal):
    """TTY-4: a change that came while no one waited is told at once: no resize is lost between two calls."""
    tty, master = terminal
    assert tty.winsize() == (0, 0)
    for width in (10, 20):
        termios.tcsetwinsize(master, (5, width))
        assert tty.awaitwinsize() == (width, 5)
    termios.tcsetwinsize(master, (5, 30))
    assert tty.winsize() == (30, 5)


def test_winsize_changes():
    """TTY-4: the waiter gets the new size; a second one is busy, an explicit resume and close end the wait."""
    script = """
        from coutil.errors import BusyError, Closed
        tty = system.stdin
        say("before", *tty.winsize())
        say("after", *tty.awaitwinsize())
        say("again", *tty.awaitwinsize())
        waiting = spawn.call(lambda: say("given", tty.awaitwinsize()))
        try:
            tty.awaitwinsize()
        except BusyError as error:
            say("busy", type(error).__name__)
        waiting.resume(5)
        def until_closed():
            try:
                tty.awaitwinsize()
            except Closed as error:
                say("closed", error.interrupted)
        spawn.call(until_closed)
        tty.close()
        say("end")
    """
    with on_screen(script) as screen:
        screen.until(b"before 0 0\r\n")
        screen.resize(100, 30)
        assert screen.until(b"after 100 30\r\n") == b""
        screen.resize(100, 31)
        assert screen.until(b"again 100 31\r\n") == b""
        assert screen.until(b"end\r\n") == b"busy BusyError\r\ngiven 5\r\nclosed True\r\n"
    assert screen.process.returncode == 0


def test_winsize_changes_leave_the_signal_alone():
    """TTY-4: a handler of the program for SIGWINCH works again when no one watches the size any more."""
    script = """
        import signal
        seen = []
        signal.signal(signal.SIGWINCH, lambda *_: seen.append(1))
        tty = system.stdin
        waiting = spawn.call(tty.awaitwinsize)
        waiting.close()
        tty.close()
        os.kill(os.getpid(), signal.SIGWINCH)
        say("seen", len(seen))
    """
    with on_screen(script) as screen:
        assert screen.until(b"seen 1\r\n") == b""
    assert screen.process.returncode == 0


ENDS = {
    "the end": "",
    "an exception": "raise RuntimeError('oops')",
    "sys.exit": "sys.exit(3)",
    "an exception of a coroutine": "spawn.call(lambda: system.suspend() and 1 / 0); system.run()",
    "abort": "os.abort()",
    "a crash": "os.kill(os.getpid(), __import__('signal').SIGSEGV)",
    "a crash with faulthandler": "import faulthandler; faulthandler.enable(); faulthandler._sigsegv()",
    "SIGTERM": "os.kill(os.getpid(), __import__('signal').SIGTERM)",
    "SIGHUP": "os.kill(os.getpid(), __import__('signal').SIGHUP)",
    "SIGQUIT": "os.kill(os.getpid(), __import__('signal').SIGQUIT)",
    "SIGINT": "os.kill(os.getpid(), __import__('signal').SIGINT); system.suspend(9)",
    "a thread's end": "import threading; t = threading.Thread(target=lambda: system.stdout.setmode('binary')); "
    "t.start(); t.join()",
}
SIGNALS = {
    "abort": signal.SIGABRT,
    "a crash": signal.SIGSEGV,
    "a crash with faulthandler": signal.SIGSEGV,
    "SIGTERM": signal.SIGTERM,
    "SIGHUP": signal.SIGHUP,
    "SIGQUIT": signal.SIGQUIT,
    "SIGINT": signal.SIGINT,
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS)
def test_mode_is_restored(end):
    """TTY-3: whatever ends the program restores the terminal, and it dies of the same signal as without us."""
    script = f"""
        import resource
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        system.stdin.setmode("raw")
        say("ready")
        system.stdin.receive()
        {ENDS[end]}
    """
    with on_screen(script) as screen:
        before = screen.settings()
        screen.until(b"ready\r\n")
        assert screen.settings() != before
        screen.type(b"k")
        assert screen.process.wait(15) is not None
        assert screen.settings() == before
    code = {"an exception": 1, "sys.exit": 3}.get(end, -SIGNALS.get(end, 0))
    assert screen.process.returncode == code


def test_child_of_a_fork_restores_nothing():
    """TTY-3: a child process that ends, or is killed, leaves the terminal in the mode that its parent has set."""
    script = """
        import signal
        system.stdin.setmode("raw")
        for ending in (lambda: sys.exit(0), lambda: os.kill(os.getpid(), signal.SIGTERM)):
            pid = os.fork()
            if pid == 0:
                ending()
            say("ended", os.waitpid(pid, 0)[1])
        system.stdin.receive()
    """
    with on_screen(script) as screen:
        before = screen.settings()
        assert screen.until(b"ended 0\r\n") == b""
        assert screen.until(b"ended 15\r\n") == b""
        assert screen.settings() != before
        screen.type(b"k")
    assert screen.process.returncode == 0


def test_ignored_and_handled_signals_stay_so():
    """TTY-3: signals that the program ignores or handles do not end it, in raw mode or after it."""
    script = """
        import signal
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, lambda *_: say("handled"))
        for mode in ("raw", "normal"):
            system.stdin.setmode(mode)
            for number in (signal.SIGHUP, signal.SIGTERM):
                os.kill(os.getpid(), number)
        say("alive")
        os.kill(os.getpid(), signal.SIGQUIT)
    """
    with on_screen(script) as screen:
        assert screen.until(b"alive\r\n").split() == [b"handled", b"handled"]
    assert screen.process.returncode == -signal.SIGQUIT


def test_many_terminals():
    """TTY-3: sixteen terminals can be in another mode at a time; one more is an error, and nothing is lost."""
    ends = [os.openpty() for _ in range(17)]
    terminals = [_terminal(slave) for _, slave in ends]
    before = termios.tcgetattr(ends[0][0])
    for one in terminals[:16]:
        assert one.setmode("raw") is True
    with pytest.raises(OSError, match="ENFILE"):
        terminals[16].setmode("raw")
    terminals[0].setmode("normal")
    assert terminals[16].setmode("raw") is True
    for one in terminals:
        one.close()
    assert [termios.tcgetattr(master) for master, _ in ends] == [before] * 17
    for end in ends:
        os.close(end[0])
        os.close(end[1])


def test_master_side():
    """The other side of a pseudo-terminal is a terminal, too; it cannot be opened again, and is used as it is."""
    master, slave = os.openpty()
    with _terminal(master) as tty:
        assert isinstance(tty, Terminal)
        assert tty.send(b"typed\n") is True
        assert os.read(slave, 99) == b"typed\n"
        assert tty.receive() == b"typed\r\n"
        os.write(slave, b"shown")
        assert tty.receive() == b"shown"
    os.close(master)
    os.close(slave)
