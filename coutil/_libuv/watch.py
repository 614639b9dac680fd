"""Changes of watched files, which C collects."""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from typing import Any

from . import NULL, error, ffi, lib
from .files import Path

__all__ = [
    "CHANGE",
    "ITSELF",
    "OVERFLOW",
    "RENAME",
    "poll_opener",
    "read_changes",
    "read_poll",
    "watch_directory",
    "watch_opener",
    "watched_path",
]

RENAME: int = lib.UV_RENAME
CHANGE: int = lib.UV_CHANGE
ITSELF: int = lib.CO_ITSELF
OVERFLOW: int = lib.CO_OVERFLOW

# Slot and generation of the handle that got the change, kinds, name of the entry
RawChange = tuple[int, int, int, bytes]

_head = Struct("=IIII")  # slot, generation, kinds, size of the name
_PACKED = 1 << 16
_MAX_PATH = 4096  # bytes that most paths fit in


def watch_opener(path: bytes, limit: int, only: bytes | None) -> Callable[[Any, int, int], int]:
    """Return the function that opens a handle which watches `path`.

    limit: the number of changes that it keeps. only: the name of the one entry that it watches; None: all.
    """
    return lambda loop, slot, generation: lib.co_watch_open(
        loop, slot, generation, path, limit, NULL if only is None else only
    )


def poll_opener(path: bytes, milliseconds: int) -> Callable[[Any, int, int], int]:
    """Return the function that opens a handle which polls `path` every `milliseconds`."""
    return lambda loop, slot, generation: lib.co_watch_poll(loop, slot, generation, path, milliseconds)


def watch_directory(loop: Any, slot: int, generation: int, root: int, path: bytes, shown: Path) -> int:
    """Watch a folder below that of the slot `root`; return a number that identifies the folder while it exists.

    Raises `UVError` with `shown` as its filename.
    """
    code: int = lib.co_watch_branch(loop, slot, generation, root, path)
    if code < 0:
        raise error(code, "uv_fs_event_start", shown)
    return code


def read_changes(loop: Any, slot: int, most: int) -> list[RawChange]:
    """Remove up to `most` changes from those that C has collected, and return them.

    Returns [] if there are none, or if the handle is closed.
    """
    packed = ffi.new("char[]", _PACKED)
    size = lib.co_watch_take(loop, slot, packed, _PACKED, most)
    changes = []
    data = ffi.buffer(packed, max(size, 0))[:]
    offset = 0
    while offset < len(data):
        source, generation, kinds, length = _head.unpack_from(data, offset)
        offset += lib.CO_CHANGE + length
        changes.append((source, generation, kinds, data[offset - length : offset]))
    return changes


def read_poll(loop: Any, slot: int) -> tuple[int, Any, Any] | None:
    """Return libuv's code, and the uv_stat_t before and after a change; None if there was none."""
    status, before, after = ffi.new("int *"), ffi.new("uv_stat_t *"), ffi.new("uv_stat_t *")
    if lib.co_watch_stats(loop, slot, status, before, after) != 1:
        return None
    return status[0], before, after


def watched_path(loop: Any, slot: int) -> bytes | int:
    """Return the path that a raw handle watches, or libuv's code."""
    size = _MAX_PATH
    while True:
        path = ffi.new("char[]", size)
        length: int = lib.co_fs_path(loop, slot, path, size)
        if length < 0:
            return length
        if length < size:
            watched: bytes = ffi.buffer(path, length)[:]
            return watched
        size = length + 1
