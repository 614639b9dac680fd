"""The entries of a folder, a few hundred at a time."""

from __future__ import annotations

from typing import Any

from ..._closeable import Closeable
from ..._coroutines import NonCopyable, waits
from ..._kernel import current_operation
from ..._libuv.files import ENTRIES_READY, FsCall
from ..._libuv.files import DirStream as Opened
from ...errors import BusyError, Closed, UVError
from .call import Path, check_bool, run_call, same_type_as

__all__ = ["Folder", "listdir"]

TYPES = {
    ord("0") + number: name
    for number, name in enumerate(("unknown", "file", "directory", "link", "pipe", "socket", "character", "block"))
}


@waits
def listdir(path: Path, *, blocking: bool = False) -> Folder:
    """Open a folder and return an iterator over its entries: pairs of name and type, in no particular order.

    type: "file", "directory", "link", "pipe", "socket", "character", "block", or "unknown" (some file systems do not
    return it: see `fileinfo`). "." and ".." are left out. Names are bytes if `path` consists of bytes, else strings as
    from `os.fsdecode`.
    Entries are read as they are needed, so a folder may have millions: at most 256 are held at once, and the block that
    the C library reads ahead.
    blocking: stop the whole thread instead of the calling coroutine, also when the iterator needs more entries.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, ENOTDIR, EACCES, …
    Source: uv_fs_opendir, uv_fs_readdir.
    """
    check_bool(blocking=blocking)
    opened = Opened()
    run_call(FsCall("opendir", path, dir_stream=opened), blocking)
    return Folder(path, opened, blocking)


class Folder(Closeable, NonCopyable):
    """An iterator over the entries of a folder. Made by `listdir`.

    It is closed at its end, by `close`, at the end of a `with` block, or when it is collected. A wait that ends from
    outside loses no entry; an explicit resume returns its value in place of one.
    """

    __slots__ = ("__weakref__", "_blocking", "_entries", "_finished", "_opened", "_path", "_waiter")

    def __init__(self, path: Path, opened: Opened, blocking: bool) -> None:
        """Take over an open folder."""
        self._path, self._blocking = path, blocking
        self._opened: Opened | None = opened
        self._entries: list[tuple[Any, str]] = []  # in reverse
        self._finished = False
        self._waiter: Any = None

    def __repr__(self) -> str:
        """Path and state."""
        return (
            f"<Folder {self._path!r} {'open' if self._opened is not None else 'over' if self._finished else 'closed'}>"
        )

    @property
    def closed(self) -> bool:
        """Whether it is closed, by `close` or by its end."""
        return self._opened is None

    def close(self) -> bool:
        """Close it; return True. Closing twice is no error. Never suspends. Source: uv_fs_closedir."""
        opened, self._opened, self._entries = self._opened, None, []
        self._finished = False
        _close(opened)
        return True

    def __iter__(self) -> Folder:
        """Return the iterator itself."""
        return self

    @waits
    def __next__(self) -> tuple[Any, str]:
        """Return the next entry. Suspends when more have to be read, unless blocking.

        Raises `Closed`, `BusyError` (another coroutine waits here, or libuv still reads for a call that was cancelled),
        `NotYieldable`, or `UVError`: EIO, …
        """
        if not self._entries:
            self._fill()
        return self._entries.pop()

    def _fill(self) -> None:
        if self._finished:
            raise StopIteration
        opened = self._opened
        if opened is None:
            raise Closed(f"the list of {self._path!r} is closed")
        if self._waiter is not None:
            raise BusyError(f"the list of {self._path!r} is in use: {self._waiter!r} waits for it")
        self._read(opened)
        if self._opened is None:
            raise Closed(f"the list of {self._path!r} was closed by another coroutine", interrupted=True)
        self._entries = [(same_type_as(self._path, entry[1:]), TYPES[entry[0]]) for entry in opened.pop_entries()]
        self._entries.reverse()
        if not self._entries:
            self._opened, self._finished = None, True
            _close(opened)
            raise StopIteration

    def _read(self, opened: Opened) -> None:
        """Have libuv read entries, unless an abandoned call has left some."""
        self._waiter = "a thread" if self._blocking else current_operation().coroutine
        try:
            run_call(FsCall("readdir", dir_stream=opened), self._blocking)
        except UVError as error:
            if error.code == ENTRIES_READY:
                return
            if error.name == "EBUSY":
                raise BusyError(
                    f"the list of {self._path!r} is in use: libuv still reads for a cancelled call"
                ) from None
            raise
        finally:
            self._waiter = None


def _close(opened: Opened | None) -> None:
    """Close a folder now; if libuv is reading it, its last reference closes it later."""
    if opened is not None and not opened.busy:
        opened.close()
