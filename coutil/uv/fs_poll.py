"""Changes of files, found by regular calls of stat(2): slower than `FSEvent`, but it works on every file system."""

from __future__ import annotations

import os
from typing import Any

from .._libuv import error, lib
from .._libuv.arguments import check_int
from .._libuv.files import Path, encoded
from .._libuv.stat import Stat, stat_of
from .._libuv.watch import read_poll
from .fs_event import path_of
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["FSPoll", "Stat", "new_fs_poll"]


class FSPoll(Handle):
    """A watch by regular stat(2). Handler: `onpoll(fs_poll, err, prev, curr)`, called when the result has changed.

    prev, curr: a `Stat`. err: the reason why stat(2) failed (ENOENT, …), reported once until the reason changes; all
    fields of `curr` are 0 then. Several changes before the handler is called become one.
    """

    _kind = "fs_poll"
    onpoll: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a handle of `loop`; see `Timer`. Source: uv_fs_poll_init."""
        self._path: Any = ""
        self._bytes = False
        super().__init__(loop, lib.co_fs_poll_new, "uv_fs_poll_init")

    def start(self, path: Path, interval: int) -> None:
        """Start to call stat(2) on a file, every `interval` milliseconds. A handle that is started already goes on.

        The thread pool makes the calls: a slow file system delays only other users of the pool.
        Raises TypeError, ValueError, `Closed`, `UVError` ENOMEM. Source: uv_fs_poll_start.
        """
        name = encoded(path)
        check_int("interval", interval, 0, 2**32 - 1)
        self._core.check_usable()
        if not self.active:
            self._start_or_stop(lib.co_fs_poll_start, "uv_fs_poll_start", name, interval)
            self._path, self._bytes = path, isinstance(os.fspath(path), bytes)

    def stop(self) -> None:
        """Stop; a second call is no error. Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_fs_poll_stop."""
        self._start_or_stop(lib.co_fs_poll_stop, "uv_fs_poll_stop")

    @property
    def path(self) -> Any:
        """The path that is watched. Raises `Closed`, `UVError` EINVAL (not started). Source: uv_fs_poll_getpath."""
        return path_of(self._core, self._bytes, "uv_fs_poll_getpath")

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        core = self._core
        change = read_poll(core.pointer, core.slot)
        if change is None:
            return None
        code, before, after = change
        err = error(code, "uv_fs_poll_start", self._path) if code < 0 else None
        return self._handler_call("onpoll", err, stat_of(before), stat_of(after))


def new_fs_poll(loop: Loop | None = None) -> FSPoll:
    """Return a new `FSPoll`. Source: uv_fs_poll_init."""
    return FSPoll(loop)


fs_poll_start = module_function(FSPoll.start)
fs_poll_stop = module_function(FSPoll.stop)
fs_poll_getpath = module_function(FSPoll.path)
