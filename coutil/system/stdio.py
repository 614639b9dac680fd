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

from .._coroutines import ARMED, Coroutine, PendingException, throw_and_report, waits
from .._interpreter import local
from .._kernel import DEFAULT_READ_SIZE, Operation, current_hub, current_operation
from .._libuv import lib
from .._libuv.arguments import check_choice
from .._libuv.buffers import Bytes, integers, readable
from .._libuv.signal_names import signal_number
from ..errors import BusyError
from .files.descriptor import is_seekable
from .files.file import File
from .network.base import OpenSpec, check_size
from .network.bytestream import ByteStream
from .network.fd_passing import PassableSocket, socket_from_fd
from .signals import SignalWatcher

__all__ = ["Standard", "StandardFile", "Terminal", "standard"]

_MODES = {"normal": lib.CO_NORMAL, "raw": lib.CO_RAW, "binary": lib.CO_BINARY}
_NUMBERS = {"stdin": 0, "stdout": 1, "stderr": 2}
_WINCH = signal_number("signal", "winresize")
_FIRST_OTHER_FD = 3  # the first descriptor that is not a standard stream
_thread_local = local()  # of each thread: its hub, and its streams by name
_blocking: dict[int, int] = {}  # descriptors whose mode is restored at exit, and the processes that changed it


class Terminal(ByteStream):
    """A terminal: `receive` reads the input (a line at a time in the normal mode), `send` writes.

    One coroutine at a time may receive; any number may send. `shutdown` raises `UVError`: ENOTSOCK. A terminal that
    cannot be opened again (the other side of a pseudo-terminal, or one of another user) is not made non-blocking,
    because other programs use the same open file; it is written to a few bytes at a time, as there is room.
    """

    __slots__ = ("_last_size", "_waiting")

    def __init__(self, opening: OpenSpec) -> None:
        """Take over a terminal. Raises `UVError`."""
        self._last_size: tuple[int, int] | None = None
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
            throw_and_report(waiting, PendingException(self._handle.closed_error()))
        return True

    def shutdown(self) -> bool:
        """Raise `UVError`: ENOTSOCK, or `Closed`: input and output of a terminal end together, by `close`."""
        raise self._handle.call_error(lib.UV_ENOTSOCK, "uv_shutdown")

    def setmode(self, mode: Literal["normal", "raw", "binary"] = "normal") -> bool:
        """Set the mode of the terminal, for input and output alike; return True.

        mode: "normal": the mode that the terminal had at first. "raw": each key is received at once, without echo, and
        no key sends a signal; line ends of the output are still converted. "binary": no byte is converted.
        The mode is restored when this object is closed, at exit, and when a signal ends the process (not SIGKILL).
        Raises TypeError, ValueError, `Closed`, or `UVError`: EIO. Source: POSIX tcsetattr, uv_tty_set_mode.
        """
        self._call(lib.co_terminal_mode, "tcsetattr", _MODES[check_choice("mode", mode, _MODES)])
        return True

    def winsize(self) -> tuple[int, int]:
        """Return the width and height of the window in characters, (0, 0) if it has none.

        Raises `Closed`, or `UVError`: ENOTTY. Source: uv_tty_get_winsize.
        """
        self._last_size = size = self._size()
        return size

    @waits
    def awaitwinsize(self) -> tuple[int, int]:
        """Wait until the size of the window differs from the one that was returned last; return it as `winsize` does.

        Only the controlling terminal of the process announces new sizes (SIGWINCH). One coroutine at a time may wait.
        An explicit resume ends the wait, and its value is returned. Suspends.
        Raises `Closed`, `BusyError`, `ForeignThread`, `NotYieldable`, `UVError`.
        """
        if self._last_size is None:
            self._last_size = self._size()
        if self._waiting is not None:
            raise BusyError(f"the window size is in use: {self._waiting!r} waits for it")
        current = current_operation()
        self._waiting = current.coroutine
        try:
            return self._await_resize(current)
        finally:
            self._waiting = None

    def _await_resize(self, operation: Operation) -> tuple[int, int]:
        """Begin to watch before reading the size, so that no signal is missed."""
        while True:
            watcher: Any = operation.hub.current_handler
            if watcher.__class__ is not SignalWatcher or not watcher.is_rearm(operation, _WINCH):
                operation.wait_until_free("window size")
                watcher = SignalWatcher(operation, _WINCH)
            try:
                watcher.begin(operation)
                if self._size() != self._last_size:
                    return self.winsize()
                watcher.wait(operation, "window size")
            finally:
                if operation.state is not ARMED:
                    watcher.no_waiters()

    def _size(self) -> tuple[int, int]:
        size = integers(2)
        self._call(lib.co_terminal_size, "uv_tty_get_winsize", size, size + 1)
        return size[0], size[1]


class StandardFile(File):
    """A file, or a device like /dev/null, as a standard stream: it has the methods of files and those of streams."""

    __slots__ = ()

    def receive(self, size: int = DEFAULT_READ_SIZE) -> bytes:
        """Read at most `size` (> 0) bytes from the position on; b"" at the end. As `StreamSocket.receive`."""
        return self.read(check_size(size))

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


Standard = Terminal | PassableSocket | StandardFile


def standard(name: str) -> Standard | None:
    """Return the object for "stdin", "stdout" or "stderr". Each thread makes its own, at the first use.

    Returns None, with a RuntimeWarning, for a descriptor that is closed or of a kind that cannot be waited for.
    """
    hub = current_hub()
    entry = getattr(_thread_local, "streams", None)
    if entry is None or entry[0] is not hub:
        entry = _thread_local.streams = hub, {}
    streams: dict[str, Standard | None] = entry[1]
    if name not in streams:
        streams[name] = _make(_NUMBERS[name], name)
    return streams[name]


def _make(number: int, name: str) -> Standard | None:
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


def _pipe(number: int) -> PassableSocket | None:
    blocks = os.get_blocking(number)
    stream = socket_from_fd(_reopen(number))
    if blocks and not os.get_blocking(number):  # it could not be opened again
        os.set_blocking(number, True)
    return stream


def _socket(number: int) -> PassableSocket | None:
    blocks = os.get_blocking(number)
    stream = socket_from_fd(_duplicate(number), share=True)
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
    waits = not is_seekable(number)
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
    return fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, _FIRST_OTHER_FD)


def _reopen(number: int) -> int:
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
