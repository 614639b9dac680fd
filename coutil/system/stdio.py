"""The standard streams, and terminals.

The objects have their own descriptors. Other processes, and `print`, use the open files of descriptors 0, 1 and 2, and
expect them to block. So terminals and pipes are opened again for the objects, and stream sockets are used without
non-blocking mode. Listeners and datagram sockets need that mode; it is reset at exit.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import warnings
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Literal

from .._coroutines.coroutine import Coroutine
from .._coroutines.outcomes import Thrown, waits
from .._coroutines.states import ARMED
from .._coroutines.switching import interrupt
from .._interpreter import local
from .._kernel.hub import this_hub
from .._kernel.operation import Operation, operation
from .._kernel.requests import SIZE
from .._libuv import lib
from .._libuv.arguments import choice
from .._libuv.buffers import Bytes, integers, readable
from .._libuv.signal_names import signal_number
from ..errors import BusyError
from .files.descriptor import has_position
from .files.file import File
from .network.bytestream import ByteStream
from .network.handled import Opening, checked_size
from .network.share import Travelling, adopted
from .signals import Watcher

__all__ = ["Standard", "StandardFile", "Terminal", "standard"]

_MODES = {"normal": lib.CO_NORMAL, "raw": lib.CO_RAW, "binary": lib.CO_BINARY}
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
_WINCH = signal_number("signal", "winresize")
_HIGHER = 3  # the first descriptor that is not a standard stream
_here = local()  # of each thread: its hub, and its streams by name
_blocking: dict[int, int] = {}  # descriptors whose mode is restored at exit, and the processes that changed it


class Terminal(ByteStream):
    """A terminal: `receive` reads the input (a line at a time in the normal mode), `send` writes.

    One coroutine at a time may receive; any number may send. `shutdown` raises `UVError`: ENOTSOCK. A terminal that
    cannot be opened again (the other side of a pseudo-terminal, or one of another user) is not made non-blocking,
    because other programs use the same open file; it is written to a few bytes at a time, as there is room.
    """

    __slots__ = ("_told", "_waiting")

    def __init__(self, opening: Opening) -> None:
        """Take over a terminal. Raises `UVError`."""
        self._told: tuple[int, int] | None = None
        self._waiting: Coroutine | None = None  # the one in `awaitwinsize`
        super().__init__("terminal", *opening)

    def __repr__(self) -> str:
        """Name and state."""
        handle = self._handle
        if handle.closed:
            return "<Terminal closed>"
        waiting = f" awaited by {handle.waiter.name}" if handle.waiter is not None else ""
        return f"<Terminal fd={self.fileno()}{waiting}>"

    def close(self) -> bool:
        """Close the terminal, and restore its mode if this object has set it; as `StreamSocket.close`."""
        super().close()
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            interrupt(waiting, Thrown(self._handle.interruption()))
        return True

    def shutdown(self) -> bool:
        """Raise `UVError`: ENOTSOCK, or `Closed`: input and output of a terminal end together, by `close`."""
        raise self._handle.failed(lib.UV_ENOTSOCK, "uv_shutdown")

    def setmode(self, mode: Literal["normal", "raw", "binary"] = "normal") -> bool:
        """Set the mode of the terminal, for input and output alike; return True.

        mode: "normal": the mode that the terminal had at first. "raw": each key is received at once, without echo, and
        no key sends a signal; line ends of the output are still converted. "binary": no byte is converted.
        The mode is restored when this object is closed, at exit, and when a signal ends the process (not SIGKILL).
        Raises TypeError, ValueError, `Closed`, or `UVError`: EIO. Source: POSIX tcsetattr, uv_tty_set_mode.
        """
        self._call(lib.co_terminal_mode, "tcsetattr", _MODES[choice("mode", mode, _MODES)])
        return True

    def winsize(self) -> tuple[int, int]:
        """Return the width and height of the window in characters, (0, 0) if it has none.

        Raises `Closed`, or `UVError`: ENOTTY. Source: uv_tty_get_winsize.
        """
        self._told = size = self._size()
        return size

    @waits
    def awaitwinsize(self) -> tuple[int, int]:
        """Wait until the size of the window differs from the one that was returned last; return it as `winsize` does.

        Only the controlling terminal of the process announces new sizes (SIGWINCH). One coroutine at a time may wait.
        An explicit resume ends the wait, and its value is returned. Suspends.
        Raises `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, `UVError`.
        """
        if self._told is None:
            self._told = self._size()
        if self._waiting is not None:
            raise BusyError(f"the window size is in use: {self._waiting!r} waits for it")
        current = operation()
        self._waiting = current.coroutine
        try:
            return self._await_resize(current)
        finally:
            self._waiting = None

    def _await_resize(self, operation: Operation) -> tuple[int, int]:
        """Begin to watch before reading the size, so that no signal is missed."""
        while True:
            watcher: Any = operation.hub.armed
            if watcher.__class__ is not Watcher or not watcher.waits_again(operation, _WINCH):
                operation.released("window size")
                watcher = Watcher(operation, _WINCH)
            try:
                watcher.begin(operation)
                if self._size() != self._told:
                    return self.winsize()
                watcher.wait(operation, "window size")
            finally:
                if operation.state is not ARMED:
                    watcher.left()

    def _size(self) -> tuple[int, int]:
        size = integers(2)
        self._call(lib.co_terminal_size, "uv_tty_get_winsize", size, size + 1)
        return size[0], size[1]


class StandardFile(File):
    """A file, or a device like /dev/null, as a standard stream: it has the methods of files and those of streams."""

    __slots__ = ()

    def receive(self, size: int = SIZE) -> bytes:
        """Read at most `size` (> 0) bytes from the position on; b"" at the end. As `StreamSocket.receive`."""
        return self.read(checked_size(size))

    def receive_into(self, buffer: Any, start: int = 0, stop: int | None = None) -> int:
        """Read into buffer[start:stop]; return the number of bytes, 0 at the end. As `StreamSocket.receive_into`."""
        return self.read_into(buffer, start, stop)

    @waits
    def send(self, data: Bytes, start: int = 0, stop: int | None = None) -> bool:
        """Write all of data[start:stop] at the position; return True, or the value of an explicit resume. Suspends."""
        view, _ = readable(data, start, stop)
        while len(view):
            view = view[self._transfer("write", view, -1, False) :]
        return True


Standard = Terminal | Travelling | StandardFile


def standard(name: str) -> Standard | None:
    """Return the object for "stdin", "stdout" or "stderr". Each thread makes its own, at the first use.

    Returns None, with a RuntimeWarning, for a descriptor that is closed or of a kind that cannot be waited for.
    """
    hub = this_hub()
    entry = getattr(_here, "streams", None)
    if entry is None or entry[0] is not hub:
        entry = _here.streams = hub, {}
    streams: dict[str, Standard | None] = entry[1]
    if name not in streams:
        streams[name] = _made(_NUMBERS[name], name)
    return streams[name]


def _made(number: int, name: str) -> Standard | None:
    kind = lib.co_kind_of(number)
    maker = _MAKERS.get(kind & ~lib.CO_FD_LISTENS)
    if maker is None:
        warnings.warn(f"{name} is closed, or of a kind that cannot be waited for", RuntimeWarning, stacklevel=4)
        return None
    return maker(number)


def _terminal(number: int) -> Terminal:
    fd = _duplicate(number)
    return Terminal(
        (lambda loop, slot, gen: lib.co_adopt(loop, slot, gen, fd, lib.CO_FD_TERMINAL, False), "uv_tty_init", None)
    )


def _pipe(number: int) -> Travelling | None:
    blocks = os.get_blocking(number)
    stream = adopted(_again(number))
    if blocks and not os.get_blocking(number):  # it could not be opened again
        os.set_blocking(number, True)
    return stream


def _socket(number: int) -> Travelling | None:
    blocks = os.get_blocking(number)
    stream = adopted(_duplicate(number), share=True)
    if isinstance(stream, ByteStream):
        if blocks:
            try:
                stream._call(lib.co_stream_share, "fcntl")
            except OSError:  # out of descriptors
                stream.close()
                os.set_blocking(number, True)
                raise
    elif blocks:
        if not _blocking:
            atexit.register(_restore)
        _blocking[number] = os.getpid()
    return stream


def _file(number: int) -> StandardFile:
    access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    name = f"standard {('input', 'output', 'error')[number]}"
    waits = not has_position(number)
    return StandardFile(_duplicate(number), name, access != os.O_WRONLY, access != os.O_RDONLY, waits)


_MAKERS: dict[int, Callable[[int], Standard | None]] = {
    lib.CO_FD_FILE: _file,
    lib.CO_FD_TERMINAL: _terminal,
    lib.CO_FD_FIFO: _pipe,
    lib.CO_FD_LOCAL: _socket,
    lib.CO_FD_IPV4: _socket,
    lib.CO_FD_IPV6: _socket,
    lib.CO_FD_UDP4: _socket,
    lib.CO_FD_UDP6: _socket,
}


def _duplicate(number: int) -> int:
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _HIGHER)


def _again(number: int) -> int:
    """Return a descriptor of the same pipe with its own mode, if the system can open it again; else a duplicate."""
    access = fcntl.fcntl(number, fcntl.F_GETFL) & os.O_ACCMODE
    with suppress(OSError):
        return os.open(f"/proc/self/fd/{number}", access | os.O_NONBLOCK | os.O_CLOEXEC)
    return _duplicate(number)


def _restore() -> None:
    """Set the listeners and datagram sockets that this process has changed back to blocking mode."""
    for number, process in _blocking.items():
        if process == os.getpid():
            with suppress(OSError):
                os.set_blocking(number, True)


atexit.register(lib.co_terminals_restore)
