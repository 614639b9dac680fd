"""Polling of descriptors that other code owns."""

from __future__ import annotations

from typing import Any

from .._coroutines import waits
from .._libuv import lib
from .._libuv.arguments import check_int
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["Poll", "new_poll", "new_socket_poll"]

_BITS = {"r": lib.UV_READABLE, "w": lib.UV_WRITABLE, "d": lib.UV_DISCONNECT, "p": lib.UV_PRIORITIZED}
_ALL = sum(_BITS.values())


class Poll(Handle):
    """A handle that reports when a descriptor is ready. Handler: `onpoll(poll, err, events)`.

    Events are letters: "r" (readable), "w" (writable), "d" (the peer has closed its half) and "p" (urgent data).
    Polling is level-triggered: while the descriptor stays ready, the handler is called in every turn. err: EBADF, … if
    the descriptor can no longer be polled, or belonged to another file at the start; the handle is stopped then, and
    events is "".
    The owner of the descriptor closes it after the handle was stopped or closed, not before.
    """

    _kind = "poll"
    onpoll: Any = None

    def __init__(self, loop: Loop | None, fd: Any) -> None:
        """Make a handle of `loop`; see `Timer`.

        fd: a descriptor, or an object with `fileno`, which the handle keeps alive. The descriptor becomes non-blocking.
        Several handles may have one descriptor, if only one is started at a time.
        Raises TypeError, ValueError (negative), and `UVError`: EBADF, EPERM (a regular file, which is always ready),
        EEXIST (another handle of the loop is polling it, or reading from it). Source: uv_poll_init.
        """
        number = check_int("fd", fd if isinstance(fd, int) or not hasattr(fd, "fileno") else fd.fileno(), 0, 2**31 - 1)
        self._file = fd  # an object that is forgotten would close its descriptor
        super().__init__(
            loop, lambda pointer, slot, generation: lib.co_poll_new(pointer, slot, generation, number), "uv_poll_init"
        )

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        if result < 0:
            return self._handler_call("onpoll", self._core.call_error(result, "uv_poll_start"), "")
        return self._handler_call("onpoll", None, _letters(result))

    def start(self, events: str | int = "r") -> None:
        """Have the handler called when one of `events` occurs: letters, or libuv's bits (UV_READABLE, …).

        A handle that is started already polls for these events from now on. While a coroutine is in `wait`, its events
        are polled for; those of the handler again afterwards.
        Raises TypeError, ValueError, `Closed`, `UVError`: EEXIST (another handle of the loop is polling it).
        Source: uv_poll_start.
        """
        self._look("uv_poll_start", _mask(events))

    def stop(self) -> None:
        """Stop calling the handler; a second call is no error. Raises `Closed`. Source: uv_poll_stop."""
        self._look("uv_poll_stop", 0)

    def _look(self, syscall: str, mask: int) -> None:
        """Poll for the handler. While a coroutine waits the generation is kept: its record may be in the queue."""
        core = self._core
        if core.waiter is None:
            self._start_or_stop(lib.co_poll_start, syscall, mask)
        else:
            self._call(lib.co_poll_start, syscall, core.generation, mask)

    @waits
    def wait(self, events: str | int = "r") -> str:
        """Wait until one or more of `events` occur; return their letters. Suspends.

        The handler is not called during the wait. An explicit resume ends the wait; its value is returned.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `NotYieldable`, and `UVError`: EEXIST, EBADF, …
        Source: uv_poll_start, uv_poll_stop.
        """
        core, mask = self._core, _mask(events)
        core.check_usable()
        if core.waiter is not None:
            raise core.use_error()

        def start(pointer: Any, slot: int) -> int:
            code: int = lib.co_poll_wait(pointer, slot, core.next_generation(), mask)
            return code

        self._wait(1, start, "uv_poll_start")
        if core.result < 0:
            raise core.call_error(core.result, "uv_poll_start")
        return _letters(core.result)

    def _undo_wait(self) -> None:
        """Poll for the handler's events again."""
        core = self._core
        if not core.closed:
            lib.co_poll_left(core.pointer, core.slot, core.next_generation())


def _mask(events: str | int) -> int:
    """Return events as bits. Raises TypeError, ValueError."""
    if not isinstance(events, str):
        if isinstance(events, bool) or not isinstance(events, int):
            raise TypeError(f"events must be a string or an int, not {events!r}")
        return check_int("events", events, 1, _ALL)
    if not events or not _BITS.keys() >= set(events):
        raise ValueError(f"events must be letters of {''.join(_BITS)!r}, not {events!r}")
    return sum(_BITS[letter] for letter in set(events))


def _letters(bits: int) -> str:
    return "".join(letter for letter, bit in _BITS.items() if bits & bit)


def new_poll(loop: Loop | None, fd: Any) -> Poll:
    """Return a new `Poll`. Source: uv_poll_init."""
    return Poll(loop, fd)


def new_socket_poll(loop: Loop | None, sock: Any) -> Poll:
    """Return a new `Poll` of a socket. Source: uv_poll_init_socket."""
    return Poll(loop, sock)


poll_start = module_function(Poll.start)
poll_stop = module_function(Poll.stop)
poll_wait = module_function(Poll.wait)
