"""Changes of files, found by looking again and again: slower than `FSEvent`, but it works on every file system."""

from __future__ import annotations

import os
from typing import Any

from .._libuv import error, lib
from .._libuv.arguments import whole
from .._libuv.files import Path, encoded
from .._libuv.stat import Stat, stat_of
from .._libuv.watch import polled
from .flat import flat
from .fs_event import path_of
from .handle import Handle
from .loop import Call, Loop

__all__ = ["FSPoll", "Stat", "new_fs_poll"]


class FSPoll(Handle):
    """Looks at a file again and again. Handler: `onpoll(fs_poll, err, prev, curr)`, called when something is different.

    prev, curr: a `Stat`. err: why there is nothing (ENOENT, …), told once until it is another one; all of `curr` is 0
    then. Several changes that nobody was told of yet become one.
    """

    _kind = "fs_poll"
    onpoll: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a handle of `loop`; see `Timer`. Source: uv_fs_poll_init."""
        self._path: Any = ""
        self._bytes = False
        super().__init__(loop, lib.co_fs_poll_new, "uv_fs_poll_init")

    def start(self, path: Path, interval: int) -> None:
        """Begin to look at a file, every `interval` milliseconds. Nothing happens to one that is started already.

        The thread pool looks: a slow file system holds nobody up but that.
        Raises TypeError, ValueError, `Closed`, `UVError` ENOMEM. Source: uv_fs_poll_start.
        """
        name = encoded(path)
        whole("interval", interval, 0, 2**32 - 1)
        self._own.usable()
        if not self.active:
            self._restart(lib.co_fs_poll_start, "uv_fs_poll_start", name, interval)
            self._path, self._bytes = path, isinstance(os.fspath(path), bytes)

    def stop(self) -> None:
        """Look no more; twice is no error. Raises `Closed`. Source: uv_fs_poll_stop."""
        self._restart(lib.co_fs_poll_stop, "uv_fs_poll_stop")

    @property
    def path(self) -> Any:
        """The path that is looked at. Raises `Closed`, `UVError` EINVAL (not started). Source: uv_fs_poll_getpath."""
        return path_of(self._own, self._bytes, "uv_fs_poll_getpath")

    def _event(self, result: int, where: int) -> Call | None:
        own = self._own
        found = polled(own.pointer, own.slot)
        if found is None:
            return None
        code, before, after = found
        err = error(code, "uv_fs_poll_start", self._path) if code < 0 else None
        return self._call("onpoll", err, stat_of(before), stat_of(after))


def new_fs_poll(loop: Loop | None = None) -> FSPoll:
    """Return a new `FSPoll`. Source: uv_fs_poll_init."""
    return FSPoll(loop)


fs_poll_start = flat(FSPoll.start)
fs_poll_stop = flat(FSPoll.stop)
fs_poll_getpath = flat(FSPoll.path)
