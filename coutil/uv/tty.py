"""Terminals."""

from __future__ import annotations

import atexit
from typing import Any

from .._libuv import check, lib
from .._libuv.buffers import integers
from .descriptor import descriptor
from .loop import Loop
from .module_function import module_function
from .stream import Stream

__all__ = ["TTY", "guess_handle", "new_tty", "tty_get_vterm_state", "tty_reset_mode", "tty_set_vterm_state"]

_MODES = {"normal": lib.CO_NORMAL, "raw": lib.CO_RAW, "io": lib.CO_BINARY, "raw_vt": lib.CO_RAW}
_KINDS = {lib.UV_TTY: "tty", lib.UV_NAMED_PIPE: "pipe", lib.UV_TCP: "tcp", lib.UV_UDP: "udp", lib.UV_FILE: "file"}
_STATES = ("unsupported", "supported")


class TTY(Stream):
    """A terminal. Handlers: those of `Stream`. `shutdown` is not possible: it raises `UVError`.

    A terminal that cannot be opened again (the other side of a pseudo-terminal, or that of another user) is not made
    non-blocking, because other programs use the same open file description. It is written in small pieces, as it has
    room.
    """

    _kind = "tty"

    def __init__(self, loop: Loop | None, fd: Any, readable: bool = False) -> None:
        """Make a handle of `loop` for the terminal of a descriptor, which the caller keeps.

        fd: a descriptor, or an object with `fileno`. readable: without effect, as in libuv.
        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (no terminal), EBADF. Source: uv_tty_init.
        """
        fileno = descriptor(fd)
        super().__init__(loop, lambda pointer, slot, gen: lib.co_raw_tty_new(pointer, slot, gen, fileno), "uv_tty_init")

    def set_mode(self, mode: str) -> None:
        """Set the mode of the terminal, for all its handles.

        mode: "normal": the original mode. "raw", "raw_vt": each key is read at once, without echo or signals. "io": all
        processing of input and output is off. The close of this handle, and the end of the process, restore the mode.
        Raises TypeError, ValueError, `Closed`, `UVError`: EIO. Source: uv_tty_set_mode.
        """
        if not isinstance(mode, str):
            raise TypeError(f"mode must be a string, not {mode!r}")
        if mode not in _MODES:
            raise ValueError(f'mode must be "normal", "raw", "io" or "raw_vt", not {mode!r}')
        self._call(lib.co_terminal_mode, "uv_tty_set_mode", _MODES[mode])

    @property
    def winsize(self) -> tuple[int, int]:
        """The width and height of the window in characters, (0, 0) if it has none. Source: uv_tty_get_winsize."""
        size = integers(2)
        self._call(lib.co_terminal_size, "uv_tty_get_winsize", size, size + 1)
        return size[0], size[1]

    def shutdown(self) -> bool:
        """Raise `UVError`: ENOTSOCK, or `Closed`: input and output end together, by `close`. Source: uv_shutdown."""
        raise self._core.call_error(lib.UV_ENOTSOCK, "uv_shutdown")


def new_tty(loop: Loop | None, fd: Any, readable: bool = False) -> TTY:
    """Return a new `TTY`. Source: uv_tty_init."""
    return TTY(loop, fd, readable)


def tty_reset_mode() -> None:
    """Restore all terminals. May be called repeatedly, also at exit. Source: uv_tty_reset_mode."""
    lib.co_terminals_restore()


def tty_set_vterm_state(state: str) -> None:
    """Do nothing, except on Windows. state: "supported" or "unsupported". Raises ValueError.

    Source: uv_tty_set_vterm_state.
    """
    if state not in _STATES:
        raise ValueError(f'state must be "supported" or "unsupported", not {state!r}')
    lib.co_vterm_set(state == "supported")


def tty_get_vterm_state() -> str:
    """Return the state on Windows. Raises `UVError`: ENOTSUP (any other system). Source: uv_tty_get_vterm_state."""
    state = integers(1)
    check(lib.co_vterm_state(state), "uv_tty_get_vterm_state")
    return _STATES[state[0]]


def guess_handle(fd: Any) -> str:
    """Return the type of handle for a descriptor: "tty", "pipe", "tcp", "udp", "file" or "unknown".

    fd: a descriptor, or an object with `fileno`. Raises TypeError, ValueError. Source: uv_guess_handle.
    """
    return _KINDS.get(lib.co_guess_handle(descriptor(fd)), "unknown")


atexit.register(lib.co_terminals_restore)

tty_set_mode = module_function(TTY.set_mode)
tty_get_winsize = module_function(TTY.winsize)
