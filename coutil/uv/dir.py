"""Calls of the file system, and folders that are read in parts."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, Self, TypeVar

from .._libuv import error
from .._libuv.files import ENTRIES_READY, INTERRUPTED, DirStream, FsCall, Path, same_type_as
from .._lifecycle import interruptible
from ..errors import BusyError, Closed, Forked
from .module_function import module_function
from .request import Job

__all__ = ["Dir", "Entry", "FSJob", "Value", "entries_of", "fs_closedir", "fs_readdir"]

interruptible(FsCall.block)  # a signal ends its system call (EINTR), and its handler runs before the call is repeated

Entry = tuple[Any, str]  # name and type
Value = TypeVar("Value")

TYPES = {
    ord("0") + number: name
    for number, name in enumerate(("unknown", "file", "directory", "link", "fifo", "socket", "char", "block"))
}


def entries_of(path: Path, packed: list[bytes]) -> list[Entry]:
    """Return the entries that C has packed, as pairs of name and type."""
    return [(same_type_as(path, entry[1:]), TYPES[entry[0]]) for entry in packed]


class FSJob(Job, Generic[Value]):
    """A call of the file system."""

    type = "fs"
    call: FsCall

    def __init__(self, call: FsCall, finish: Callable[[FsCall], Value], tolerated: tuple[str, ...] = ()) -> None:
        """finish: makes the value of the ended call. tolerated: names of errors that are not raised."""
        super().__init__(call)
        self.finish, self.tolerated = finish, tolerated
        self.is_taken = False

    def block(self) -> int:
        """See `Job`."""
        self.call.block()
        return 0

    def must_retry(self) -> bool:
        """See `Job`."""
        return self.call.code == INTERRUPTED and self.call.name != "close"

    def code(self, result: int) -> int:
        """See `Job`."""
        return min(result, self.call.code)

    def release_buffers(self) -> None:
        """See `Job`."""
        self.call.release_buffers()

    def value(self, code: int) -> Value:
        """See `Job`."""
        self.is_taken = True
        call = self.call
        failed = self.code(code)
        if failed < 0:
            failure: Any = error(failed, call.syscall, *call.paths)
            if failure.name not in self.tolerated:
                raise failure
        return self.finish(call)


class _RequestMaker(Protocol):
    def _do(self, job: FSJob[Value]) -> Value: ...


class Dir:
    """An open folder, made by `fs.opendir`. Iterating yields its entries one by one: pairs of name and type.

    It is closed by `close`, at the end of a `with` block, or when it is forgotten.
    """

    __slots__ = ("__weakref__", "_dir_stream", "_entries", "_fs", "_path", "_reading")

    def __init__(self, fs: _RequestMaker, path: Path, dir_stream: DirStream) -> None:
        """Made by `fs.opendir`."""
        self._fs, self._path = fs, path
        self._dir_stream: DirStream | None = dir_stream
        self._entries: list[Entry] = []  # in reverse
        self._reading = False  # a coroutine waits in `read`

    def __repr__(self) -> str:
        """Path and state."""
        return f"<Dir {self._path!r} {'closed' if self._dir_stream is None else 'open'}>"

    def __enter__(self) -> Self:
        """Return the folder; it is closed at the end of the block."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it. Suspends. Does nothing in the child of a fork: the folder is the parent's."""
        with suppress(Forked):
            self.close()

    def __iter__(self) -> Dir:
        """Return the folder itself."""
        return self

    def __next__(self) -> Entry:
        """Return the next entry, or the value of an explicit resume. Suspends if more entries have to be read."""
        if not self._entries:
            over, brought = self._read()
            if not over:
                value: Entry = brought  # whatever an explicit resume has passed
                return value
            if not brought:
                raise StopIteration
            self._entries = brought[::-1]
        return self._entries.pop()

    def read(self) -> list[Entry]:
        """Return the next entries, at least one, or [] at the end; see `FS.opendir` and `FS.scandir`. Suspends.

        If the caller gives the call up, no entry is lost: the next call returns them. An explicit resume ends the wait;
        its value is returned. Raises `Closed`, `BusyError` (another coroutine reads, or the thread pool works for a
        call that was given up), `ForeignThread`, `Forked`, `NotYieldable`, `UVError`: EIO. Source: uv_fs_readdir.
        """
        if self._entries:
            entries, self._entries = self._entries[::-1], []
            return entries
        brought: list[Entry] = self._read()[1]  # or whatever an explicit resume has passed
        return brought

    def _read(self) -> tuple[bool, Any]:
        """Return (True, the entries), or (False, the value of an explicit resume)."""
        dir_stream = self._open()
        job: FSJob[Any] = FSJob(FsCall("readdir", dir_stream=dir_stream), lambda _: None)
        self._reading = True
        try:
            brought = self._fs._do(job)
        except OSError as failure:
            if getattr(failure, "code", 0) != ENTRIES_READY:
                raise
            job.is_taken = True  # a call that was given up has read some
        finally:
            self._reading = False
        if not job.is_taken:
            return False, brought
        entries: list[Entry] = []
        while packed := dir_stream.pop_entries():
            entries += entries_of(self._path, packed)
        return True, entries

    def _open(self) -> DirStream:
        dir_stream = self._dir_stream
        if dir_stream is None:
            raise Closed(f"{self!r} is closed")
        if self._reading or dir_stream.busy:
            raise BusyError(f"{self!r} is being read")
        return dir_stream

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._dir_stream is None

    def close(self) -> bool:
        """Close the folder; return True. A second call is no error. Suspends.

        If the caller gives the call up, the folder is closed nevertheless. Raises `BusyError` (a coroutine waits in
        `read`), `ForeignThread`, `Forked`, `NotYieldable`.
        Source: uv_fs_closedir.
        """
        dir_stream = self._dir_stream
        if dir_stream is None:
            return True
        if self._reading:
            raise BusyError(f"{self!r} is being read")
        self._dir_stream, self._entries = None, []
        if dir_stream.busy:  # with a call that was given up: its end closes the folder
            return True
        return self._fs._do(FSJob(FsCall("closedir", dir_stream=dir_stream), lambda _: True))


fs_readdir = module_function(Dir.read)
fs_closedir = module_function(Dir.close)
