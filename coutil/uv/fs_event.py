"""Changes of files, as the system reports them."""

from __future__ import annotations

import os
from collections import deque
from typing import Any, NamedTuple

from .._coroutines import waits
from .._kernel import Callback, spend_budget
from .._libuv import error, lib
from .._libuv.arguments import check_bool
from .._libuv.files import Path, encoded
from .._libuv.watch import CHANGE, ITSELF, OVERFLOW, RENAME, RawChange, read_changes, watched_path
from ..errors import Closed, UVError
from .handle import Handle
from .loop import HandlerCall, Loop
from .module_function import module_function

__all__ = ["FSEvent", "FileEvent", "new_fs_event", "path_of"]

DEFAULT_LIMIT = 16384  # events kept until they are taken: as many as Linux keeps for a process by default
BATCH = 1024  # events taken from C at once
_WORDS = {
    RENAME: frozenset({"rename"}),
    CHANGE: frozenset({"change"}),
    RENAME | CHANGE: frozenset({"rename", "change"}),
}


class FileEvent(NamedTuple):
    """A change of a watched file, or in a watched folder.

    filename: name of the entry, or of the watched file itself; bytes if the path was given as bytes; None: unknown.
    events: "rename" (created, removed, or moved here or away), "change" (of data, times, owner or permissions).
    """

    filename: Any
    events: frozenset[str]


class FSEvent(Handle):
    """A watch of a file or a folder. Handler: `onevent(fs_event, err, filename, events)`; see `FileEvent`.

    Without a handler, `for filename, events in fs_event` waits for one event after the other, until the handle is
    stopped. Up to 16,384 events are kept until they are taken. Further ones are lost: the handler gets the error
    ENOBUFS, with None for filename and events.
    """

    _kind = "fs_event"
    onevent: Any = None

    def __init__(self, loop: Loop | None = None) -> None:
        """Make a handle of `loop`; see `Timer`. Source: uv_fs_event_init."""
        self._pending: deque[RawChange] = deque()
        self._bytes = False
        super().__init__(
            loop,
            lambda pointer, slot, generation: lib.co_fs_event_new(pointer, slot, generation, DEFAULT_LIMIT),
            "uv_fs_event_init",
        )

    def start(self, path: Path, recursive: bool = False) -> None:
        """Start to watch a file, or a folder and its entries.

        recursive: also the folders below, where the system supports that. Linux does not, and ignores it.
        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (started already), ENOENT, EACCES, ENOSPC (the user
        watches too many paths), EMFILE, … Source: uv_fs_event_start.
        """
        check_bool(recursive=recursive)
        name, flags = encoded(path), lib.UV_FS_EVENT_RECURSIVE if recursive else 0
        core = self._core
        core.check_usable()
        if self.active:
            raise error(lib.UV_EINVAL, "uv_fs_event_start", path)
        code = lib.co_fs_event_start(core.pointer, core.slot, core.next_generation(), name, flags)
        if code < 0:
            raise error(code, "uv_fs_event_start", path)
        self._bytes = isinstance(os.fspath(path), bytes)

    def stop(self) -> None:
        """Stop watching, and drop the events that were not taken. An iteration ends. A second call is no error.

        Raises `Closed`, `ForeignThread`, `Forked`. Source: uv_fs_event_stop.
        """
        self._start_or_stop(lib.co_fs_event_stop, "uv_fs_event_stop")
        self._pending.clear()
        if self._core.waiter is not None:
            self._core.hub.enqueue(Callback(self._core.redeliver, self._core.generation, 1))

    @property
    def path(self) -> Any:
        """The path that is watched. Raises `Closed`, `UVError` EINVAL (not started). Source: uv_fs_event_getpath."""
        return path_of(self._core, self._bytes, "uv_fs_event_getpath")

    # -- events -------------------------------------------------------------------------------------------------------

    def _fill(self) -> bool:
        """Take events from C if none are kept here; return whether there are any now."""
        core = self._core
        if not self._pending:
            self._pending.extend(read_changes(core.pointer, core.slot, BATCH))
        return bool(self._pending)

    def _event(self, result: int, offset: int) -> HandlerCall | None:
        new = not self._pending
        if self._handler_call("onevent", None) is None or not self._fill():
            return None
        if new:
            self._core.redeliver_now(len(self._pending))  # for the other events, and to see whether C has more
        event = self._next()
        if isinstance(event, UVError):
            return self._handler_call("onevent", event, None, None)
        return self._handler_call("onevent", None, *event)

    def _next(self) -> FileEvent | UVError:
        """Return the first of the events that are kept here, or the error that reports lost ones."""
        _, _, kinds, name = self._pending.popleft()
        if kinds & OVERFLOW:
            lost = error(lib.UV_ENOBUFS, "uv_fs_event_start")
            assert isinstance(lost, UVError)
            return lost
        filename = None if kinds & ITSELF else name if self._bytes else os.fsdecode(name)
        return FileEvent(filename, _WORDS.get(kinds & (RENAME | CHANGE), frozenset()))

    def __iter__(self) -> FSEvent:
        """Return the handle itself."""
        return self

    @waits
    def __next__(self) -> FileEvent:
        """Return the next `FileEvent`, or the value of an explicit resume. Suspends unless there is an event already.

        Raises `Closed`, `BusyError`, `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: ENOBUFS (events were lost).
        """
        core = self._core
        core.check_usable()
        if core.waiter is not None:
            raise core.use_error()
        while True:
            while not self._fill():
                if core.closed or not self.active:
                    raise self._ended()
                core.wait(1, _noop_start)
            spend_budget(core.hub)
            if self._fill():  # it may have been stopped in between
                event = self._next()
                if self._handler_call("onevent", None) is not None:
                    core.redeliver_later(len(self._pending) + 1)
                if isinstance(event, UVError):
                    raise event
                return event

    def _ended(self) -> Exception:
        return Closed(f"{self._core.title} is closed") if self._core.closed else StopIteration()


def _noop_start(pointer: Any, slot: int) -> int:
    """Start nothing: the handle watches already."""
    return 0


def path_of(core: Any, as_bytes: bool, syscall: str) -> Any:
    """Return the path that a handle watches. Raises the error for libuv's code."""
    path = watched_path(core.pointer, core.slot)
    if isinstance(path, int):
        raise core.call_error(path, syscall)
    return path if as_bytes else os.fsdecode(path)


def new_fs_event(loop: Loop | None = None) -> FSEvent:
    """Return a new `FSEvent`. Source: uv_fs_event_init."""
    return FSEvent(loop)


fs_event_start = module_function(FSEvent.start)
fs_event_stop = module_function(FSEvent.stop)
fs_event_getpath = module_function(FSEvent.path)
