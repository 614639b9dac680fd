"""Polling descriptors that belong to somebody else."""

from __future__ import annotations

from typing import Any

from .._coroutines.outcomes import waits
from .._libuv import lib
from .._libuv.arguments import whole
from .flat import flat
from .handle import Handle
from .loop import Call, Loop

__all__ = ["Poll", "new_poll", "new_socket_poll"]

_BITS = {"r": lib.UV_READABLE, "w": lib.UV_WRITABLE, "d": lib.UV_DISCONNECT, "p": lib.UV_PRIORITIZED}
_ALL = sum(_BITS.values())


class Poll(Handle):
    """Tells when a descriptor can be read or written. Handler: `onpoll(poll, err, events)`.

    Events are letters: "r", "w", "d" (the peer has closed its half) and "p" (urgent data). A handler that leaves what
    it was told of as it was is called in every turn. err: EBADF, … if the descriptor cannot be polled any more, or
    was another file's at the start; that is stopped then, and events is "".
    The descriptor stays its owner's, who closes it when the handle is stopped or closed, not before.
    """

    _kind = "poll"
    onpoll: Any = None

    def __init__(self, loop: Loop | None, fd: Any) -> None:
        """Make a handle of `loop`; see `Timer`.

        fd: a descriptor, or an object with `fileno`, which is kept as long as the handle is; it does not block from now
        on. A handle may rest while another one polls the same descriptor.
        Raises TypeError, ValueError (negative), and `UVError`: EBADF, EPERM (a file, for which there is nothing to wait
        for), EEXIST (another handle of the loop is polling it, or reading from it). Source: uv_poll_init.
        """
        number = whole("fd", fd if isinstance(fd, int) or not hasattr(fd, "fileno") else fd.fileno(), 0, 2**31 - 1)
        self._file = fd  # or a forgotten one would be closed
        super().__init__(
            loop, lambda pointer, slot, generation: lib.co_poll_new(pointer, slot, generation, number), "uv_poll_init"
        )

    def _event(self, result: int, where: int) -> Call | None:
        if result < 0:
            return self._call("onpoll", self._own.failed(result, "uv_poll_start"), "")
        return self._call("onpoll", None, _letters(result))

    def start(self, events: str | int = "r") -> None:
        """Have the handler called when something of `events` happens; letters, or their bits as libuv has them.

        A handle that is started already looks for these events from now on. While a coroutine waits, what that one
        waits for is looked for, and the handler is called afterwards.
        Raises TypeError, ValueError, `Closed`, `UVError` EEXIST (another handle of the loop is polling it).
        Source: uv_poll_start.
        """
        self._look("uv_poll_start", _mask(events))

    def stop(self) -> None:
        """Have it called no more; twice is no error. Raises `Closed`. Source: uv_poll_stop."""
        self._look("uv_poll_stop", 0)

    def _look(self, syscall: str, mask: int) -> None:
        """Poll for the handler. The generation stays while somebody waits, whose record may be under way."""
        own = self._own
        if own.waiter is None:
            self._restart(lib.co_poll_start, syscall, mask)
        else:
            self._c(lib.co_poll_start, syscall, own.generation, mask)

    @waits
    def wait(self, events: str | int = "r") -> Any:
        """Wait until one or more of `events` happen; return their letters. Suspends.

        The handler is not called meanwhile. An explicit resume ends the wait and is returned.
        Raises TypeError, ValueError, `Closed`, `BusyError`, `NotYieldable`, and `UVError`: EEXIST, EBADF, …
        Source: uv_poll_start, uv_poll_stop.
        """
        own, mask = self._own, _mask(events)
        own.usable()
        if own.waiter is not None:
            raise own.unusable()

        def start(pointer: Any, slot: int) -> Any:
            return lib.co_poll_wait(pointer, slot, own.renew(), mask)

        self._wait(1, start, "uv_poll_start")
        if own.result < 0:
            raise own.failed(own.result, "uv_poll_start")
        return _letters(own.result)

    def _left(self) -> None:
        """Look for the handler's events again."""
        own = self._own
        if not own.closed:
            lib.co_poll_left(own.pointer, own.slot, own.renew())


def _mask(events: str | int) -> int:
    """Return events as bits. Raises TypeError, ValueError."""
    if not isinstance(events, str):
        if isinstance(events, bool) or not isinstance(events, int):
            raise TypeError(f"events must be a string or an int, not {events!r}")
        return whole("events", events, 1, _ALL)
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


poll_start = flat(Poll.start)
poll_stop = flat(Poll.stop)
poll_wait = flat(Poll.wait)
