"""The memory that C and the hub share.

A `NativeLoop` owns one `co_loop`. Its views are made once; only the ring of records may move, when it grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from struct import Struct
from typing import Any, Protocol

from . import CData, error, ffi, lib

__all__ = ["Arena", "NativeLoop"]

_record = Struct("=IIii")  # slot, generation, result, where
_CLOCK, _RING_SIZE = 0, 1


class Arena(Protocol):
    """Memory that C reads into."""

    def __getitem__(self, part: slice, /) -> bytes:
        """Return a copy of a part."""


class NativeLoop:
    """libuv's loop of one OS thread, with its completion ring, receive arena and want table."""

    __slots__ = ("demand", "pointer", "receive_buffer", "ring", "room", "status")

    def __init__(self) -> None:
        """Make the loop, bound to the calling thread. Raises MemoryError or `UVError`."""
        pointer = lib.co_loop_new()
        if not pointer:
            raise MemoryError("no memory or no descriptor for an event loop")
        self.pointer: Any = ffi.gc(pointer, lib.co_loop_delete)
        self.receive_buffer: Arena = ffi.buffer(self.pointer.arena, lib.CO_ARENA)
        self.demand = memoryview(ffi.buffer(self.pointer.demand, lib.CO_SLOTS * 4)).cast("i")
        self.status = memoryview(ffi.buffer(self.pointer.status, 16)).cast("Q")
        self.room = 0
        self.ring: Any = None

    def records(self, count: int) -> Iterator[tuple[int, int, int, int]]:
        """Yield the `count` records of the last step: (slot, generation, result, where).

        They are copied first: the ring may move while they are delivered.
        """
        room = self.status[_RING_SIZE]
        if self.room != room:
            self.ring = memoryview(ffi.buffer(self.pointer.records, room * lib.CO_RECORD))
            self.room = room  # not before: a signal handler that raises in between would leave memory that was freed
        return _record.iter_unpack(self.ring[: count * 16].tobytes())

    def count(self) -> int:
        """Return the number of records that the last step left."""
        return int(self.pointer.count)

    def now(self) -> int:
        """Return the cached time in nanoseconds (monotonic, arbitrary origin)."""
        return self.status[_CLOCK]

    def close(self, users: Iterable[Any] = ()) -> None:
        """Close every handle and free the loop; nothing of it may be used afterwards.

        users: the objects in its slots. They are kept for the rest of the process if the thread pool is in a call that
        may still write to their memory; such a loop is never freed.
        Raises `UVError`.
        """
        code = lib.co_loop_close(self.leak())
        if code == lib.UV_EBUSY:
            _leak_objects(users)
        elif code:
            raise error(code, "uv_loop_close")

    def leak(self) -> CData:
        """Detach from the loop in C, and return its pointer."""
        pointer, self.pointer = self.pointer, ffi.NULL
        self.receive_buffer, self.demand, self.ring = b"", memoryview(b""), memoryview(b"")
        self.status = memoryview(bytes(16)).cast("Q")
        return pointer

    def counts(self) -> dict[str, int]:
        """Return the numbers of handles created, closed and freed, and of requests created and freed."""
        names = ("handles_created", "handles_closed", "handles_freed", "requests_created", "requests_freed")
        return {name: getattr(self.pointer, name) for name in names}


def _leak_objects(users: Iterable[Any]) -> None:
    """Keep objects beyond the end of the interpreter, which clears its modules while the thread pool still runs."""
    from ctypes import py_object, pythonapi  # noqa: PLC0415  # few processes need it, and it takes long to load

    pythonapi.Py_IncRef(py_object([*users]))
