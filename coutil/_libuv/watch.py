"""What C keeps of the changes of watched files, as Python sees it."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from . import NULL, error, ffi, lib
from .files import Path

__all__ = ["CHANGE", "ITSELF", "OVERFLOW", "RENAME", "branch", "polled", "polling", "take", "watched_path", "watching"]

RENAME: int = lib.UV_RENAME
CHANGE: int = lib.UV_CHANGE
ITSELF: int = lib.CO_ITSELF
OVERFLOW: int = lib.CO_OVERFLOW

Raw = tuple[int, int, int, bytes]  # slot and generation of the handle that was told, kinds, name of the entry

_head = Struct("=IIII")  # slot, generation, kinds, size of the name
_PACKED = 1 << 16
_LONGEST = 4096  # what a path is expected to fit in


def watching(path: bytes, limit: int, only: bytes | None) -> Callable[[Any, int, int], int]:
    """Return what opens a handle: it watches `path`, keeps `limit` changes, those of one entry if `only` is given."""
    return lambda loop, slot, generation: lib.co_watch_open(
        loop, slot, generation, path, limit, NULL if only is None else only
    )


def polling(path: bytes, milliseconds: int) -> Callable[[Any, int, int], int]:
    """Return what opens a handle that looks at `path` again and again."""
    return lambda loop, slot, generation: lib.co_watch_poll(loop, slot, generation, path, milliseconds)


def branch(loop: Any, slot: int, generation: int, root: int, path: bytes, shown: Path) -> int:
    """Watch a folder below that of the slot `root`; return a number that stands for this folder as long as it exists.

    Raises `UVError` with `shown` as its filename.
    """
    code: int = lib.co_watch_branch(loop, slot, generation, root, path)
    if code < 0:
        raise error(code, "uv_fs_event_start", shown)
    return code


def take(loop: Any, slot: int, most: int) -> list[Raw]:
    """Return up to `most` changes that nobody took; [] if there are none, or the handle is closed."""
    packed = ffi.new("char[]", _PACKED)
    size = lib.co_watch_take(loop, slot, packed, _PACKED, most)
    found = []
    data = ffi.buffer(packed, max(size, 0))[:]
    at = 0
    while at < len(data):
        of, generation, kinds, length = _head.unpack_from(data, at)
        at += lib.CO_CHANGE + length
        found.append((of, generation, kinds, data[at - length : at]))
    return found


def polled(loop: Any, slot: int) -> tuple[int, Any, Any] | None:
    """Return a code, and the uv_stat_t before and after a change; None if there was none."""
    status, before, after = ffi.new("int *"), ffi.new("uv_stat_t *"), ffi.new("uv_stat_t *")
    if lib.co_watch_stats(loop, slot, status, before, after) != 1:
        return None
    return status[0], before, after


def watched_path(loop: Any, slot: int) -> bytes | int:
    """Return the path that a raw handle watches, or libuv's code."""
    size = _LONGEST
    while True:
        path = ffi.new("char[]", size)
        found: int = lib.co_fs_path(loop, slot, path, size)
        if found < 0:
            return found
        if found < size:
            watched: bytes = ffi.buffer(path, found)[:]
            return watched
        size = found + 1
