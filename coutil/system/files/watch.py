"""Changes of files and folders: one change (`awaitpath`), or all of them, one after the other (`watch`)."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Callable
from typing import Any, AnyStr, Generic, NamedTuple, Self, overload

from ..._closeable import Closeable
from ..._coroutines import O_ARMED, O_READY, NonCopyable, waits
from ..._kernel import INVALID_SLOT, KernelHandle, current_operation, spend_budget
from ..._libuv import error
from ..._libuv.arguments import check_number
from ..._libuv.files import FsCall, encoded
from ..._libuv.watch import ITSELF, OVERFLOW, RENAME, RawChange, poll_opener, read_changes, read_poll, watch_opener
from ...errors import BusyError, Closed, UVError
from .call import Path, check_bool, check_int, filebits, run_call, same_type_as
from .info import FileInfo, of_stat
from .watch_tree import DirNode, RootHandle, WatchTree, join_path

__all__ = ["Change", "PolledChange", "Watch", "awaitpath", "watch"]

DEFAULT_LIMIT = 16384  # changes kept for an iterator; by default Linux keeps as many for a process
BATCH = 1024  # changes that are taken from C at once
MAX_POLL_MS = 2**32 - 1  # milliseconds, the longest interval of polling
_EVENTS = [frozenset(), frozenset({"rename"}), frozenset({"change"}), frozenset({"rename", "change"})]
_LOST = frozenset({"overflow"})


class Change(NamedTuple, Generic[AnyStr]):
    """A change of a watched file, or in a watched folder.

    name: the name of the entry, bytes if the path consists of bytes; "." for the folder itself; None: not a single one.
    events: "rename" (it was made, removed, or moved here or away), "change" (of its data, times, owner or permissions),
    "overflow" (changes were lost).
    """

    name: AnyStr | None
    events: frozenset[str]


class PolledChange(tuple[FileInfo, FileInfo | None]):
    """A change that `awaitpath` found by polling: the pair (before, after).

    after: None if `error` is set, the reason why there is no information. All fields of `before` are 0 if there was no
    file.
    """

    error: Exception | None = None


# -- one change --------------------------------------------------------------------------------------------------------


def awaitpath(path: Path, *, poll: float | None = None, recursive: bool = False) -> Any:
    """Wait until a file, or an entry of a folder, changes; return a `Change`. Suspends.

    poll: examine the file every so many seconds, without notification by the system; return a `PolledChange`, the pair
    of the results of `fileinfo` before and after. An error is also returned, once until another one occurs.
    recursive: changes in folders below count, too; each call visits the whole tree.
    Changes between two calls are missed, unless the same coroutine calls again with the same arguments and has waited
    for nothing else in between (and not `recursive`); see `watch`. An explicit resume ends the watching, and its value
    is returned.
    Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT (unless `poll`), EACCES, ENOSPC (the user watches
    too many paths), EMFILE, … Source: uv_fs_event_start, uv_fs_poll_start.
    """
    current = current_operation()
    check_bool(recursive=recursive)
    key = (encoded(path), _milliseconds(poll))
    if recursive:
        return _await_in_tree(path, poll)
    handle: Any = current.hub.current_handler
    if not isinstance(handle, _SingleWatch) or not handle.is_rearm(current, key):
        handle = (_SingleWatch if poll is None else _SinglePoll)(current, path, *key)
    handle.path = path  # names will be bytes or strings as in this call
    try:
        handle.begin()
        return handle.wait_once()
    except BaseException:
        if handle.slot != INVALID_SLOT:
            handle.close()
        raise


def _await_in_tree(path: Path, poll: float | None) -> Change[Any]:
    if poll is not None:
        raise ValueError("poll cannot be recursive")
    changes: Any = watch(path, recursive=True)
    change: Change[Any] = changes  # the value of an explicit resume
    if changes.__class__ is Watch:
        with changes:
            change = next(changes)
    return change


def _milliseconds(poll: object) -> int:
    if poll is None:
        return 0
    seconds = check_number("poll", poll, "a number of seconds or None")
    if not 0 < seconds <= MAX_POLL_MS / 1000:
        raise ValueError(f"poll must be more than 0 and at most {MAX_POLL_MS / 1000} seconds, not {poll!r}")
    return math.ceil(seconds * 1000)


class _SingleWatch(KernelHandle):
    """A path that one coroutine watches. It is closed as soon as that coroutine does anything but wait for it again."""

    __slots__ = ["key", "operation", "path"]

    def __init__(self, operation: Any, path: Path, name: bytes, milliseconds: int) -> None:
        """Make a handle for `operation`; `begin` opens it."""
        self.operation, self.path, self.key = operation, path, (name, milliseconds)
        super().__init__(f"path {path!r}")

    def begin(self) -> None:
        """Begin to watch, unless it has started. Raises `UVError`."""
        if self.slot == INVALID_SLOT:
            name, milliseconds = self.key
            opener = poll_opener(name, milliseconds) if milliseconds else watch_opener(name, DEFAULT_LIMIT, None)
            _call_naming_path(self.path, self.open, opener, f"uv_fs_{'poll' if milliseconds else 'event'}_start")

    def is_rearm(self, operation: Any, key: tuple[bytes, int]) -> bool:
        """Return whether this handle has just resumed `operation`, which is to wait for the same path."""
        return self.operation is operation and self.key == key and self.state is O_ARMED

    @waits
    def wait_once(self) -> Change[Any] | PolledChange:
        """Return the next change, or the value of an explicit resume. Suspends unless there is one."""
        try:
            while (change := self.next_change()) is None:
                self.wait(1, _noop_start)
        except BaseException:
            self.close()
            raise
        return change

    def next_change(self) -> Change[Any] | PolledChange | None:
        """Return a change that C has collected; None if there is none."""
        for _, _, kinds, entry in read_changes(self.pointer, self.slot, 1):
            name = entry or os.path.basename(self.key[0].rstrip(b"/"))
            if kinds & ITSELF and kinds & RENAME:
                self.close()  # no more changes will come
            return _change(self.path, name, kinds)
        return None

    def after_completion(self) -> None:
        """Close the handle: the coroutine that was resumed waits for something else, or has ended."""
        super().after_completion()
        if self.state is O_READY:
            self.close()


class _SinglePoll(_SingleWatch):
    """A path that one coroutine watches by polling."""

    __slots__ = ()

    def next_change(self) -> PolledChange | None:
        """Return a change that C has found; None if there is none."""
        stats = read_poll(self.pointer, self.slot)
        if stats is None:
            return None
        status, before, after = stats
        change = PolledChange((of_stat(before), of_stat(after) if status >= 0 else None))
        if status < 0:
            change.error = error(status, "uv_fs_stat", self.path)
        return change


def _noop_start(loop: Any, slot: int) -> int:
    """Do nothing: the handle watches as long as it is open."""
    return 0


def _call_naming_path(path: Path, call: Callable[..., None], *arguments: object) -> None:
    """Call a function; a `UVError` that it raises names the path."""
    try:
        call(*arguments)
    except UVError as error:
        error.filename = path
        raise


def _change(path: Path, name: bytes, kinds: int) -> Change[Any]:
    if kinds & OVERFLOW:
        return Change(None, _LOST)
    return Change(same_type_as(path, name) if name else None, _EVENTS[kinds & 3])


# -- all changes -------------------------------------------------------------------------------------------------------


@overload
def watch(path: str | os.PathLike[str], recursive: bool = False, *, limit: int = DEFAULT_LIMIT) -> Watch[str]: ...
@overload
def watch(path: bytes | os.PathLike[bytes], recursive: bool = False, *, limit: int = DEFAULT_LIMIT) -> Watch[bytes]: ...


@waits
def watch(path: Path, recursive: bool = False, *, limit: int = DEFAULT_LIMIT) -> Watch[Any]:
    """Watch a file, or a folder and its entries, from now on; return an iterator of all the `Change`s. Suspends.

    A file is watched under its name: it may be written, removed, made again or replaced by another one, as editors do.
    A symbolic link is followed once, at the call. Consecutive equal changes are reported once.
    recursive: also watch all folders below. Entries that appear in a folder which is made, or moved here, are reported,
    perhaps twice; links are not followed.
    limit: the number of changes to keep until the iterator is asked for them. When there are more, or more than the
    system keeps, one change with the event "overflow" stands for those that are lost: examine the folder then.
    Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EACCES, ENOSPC (the user watches too many
    paths), EMFILE, … Source: uv_fs_event_start.
    """
    check_bool(recursive=recursive)
    check_int("limit", limit, 1, 2**31 - 1)
    call = FsCall("realpath", path)
    run_call(call, False)
    real = call.text()
    call = FsCall("stat", real)
    _call_naming_path(path, run_call, call, False)
    is_folder = call.stat.st_mode & filebits.type == filebits.directory
    base, only = (real, None) if is_folder else os.path.split(real)
    changes: Watch[Any] = Watch(path, base, only, limit, recursive and is_folder)
    changes._read_tree()
    return changes


class Watch(Closeable, NonCopyable, Generic[AnyStr]):
    """An iterator of the changes of a file or folder. Made by `watch`.

    It reports the removal or renaming of the watched folder, or of the folder that contains the watched file, and ends.
    It is closed then, by `close`, at the end of a `with` block, or when it is collected. No change is lost between two
    steps, or by a step that is ended from outside; an explicit resume returns its value in place of a change.
    """

    __slots__ = (
        "__weakref__",
        "_changes",
        "_file",
        "_finished",
        "_handle",
        "_lost",
        "_path",
        "_raw_changes",
        "_tree",
        "_waiter",
    )

    def __init__(self, path: Path, base: bytes, only: bytes | None, limit: int, recursive: bool) -> None:
        """Watch the folder `base`, or its entry `only`; `_read_tree` watches the folders below it. Raises `UVError`."""
        self._path, self._file = path, only
        self._handle = RootHandle(f"watch of {path!r}")
        _call_naming_path(path, self._handle.open, watch_opener(base, limit, only), "uv_fs_event_start")
        self._tree = WatchTree(self._handle, base, path) if recursive else None
        # Changes in C's form; whether it is the last rename of the entry
        self._raw_changes: deque[tuple[RawChange, bool]] = deque()
        self._changes: deque[Change[Any]] = deque()  # changes to return
        self._finished = self._lost = False
        self._waiter: Any = None

    def __del__(self) -> None:
        """Close the handle when the last reference is gone; safe in any thread."""
        handle = getattr(self, "_handle", None)
        if handle is not None:
            handle.finalize()

    def __repr__(self) -> str:
        """Path and state."""
        state = "over" if self._finished else "closed" if self._handle.closed else "open"
        return f"<Watch {self._path!r} {state}>"

    @property
    def closed(self) -> bool:
        """Whether it no longer watches: after `close`, after its end, or when the loop has ended."""
        return self._handle.closed

    def close(self) -> bool:
        """Stop watching, and drop the changes that were not returned; return True. Closing twice is no error.

        A coroutine that waits for a change is resumed first, with `Closed`. Raises `ForeignThread`, `Forked`.
        """
        self._handle.close()
        self._raw_changes.clear()
        self._changes.clear()
        self._finished = False
        return True

    def __iter__(self) -> Self:
        """Return the iterator itself."""
        return self

    @waits
    def __next__(self) -> Change[AnyStr]:
        """Return the next change. Suspends unless one is there already.

        Raises `Closed`, `BusyError` (another coroutine waits here), `ForeignThread`, `Forked`, `NotYieldable`, or, if
        `recursive` and a new folder cannot be watched, `UVError`: EACCES, ENOSPC, … The iteration may go on after that.
        """
        handle = self._handle
        handle.pop_pending()  # a mere notification: the changes are in C
        if self._waiter is not None:
            raise BusyError(f"{self!r} is in use: {self._waiter!r} waits for it")
        if handle.closed and not self._finished:
            raise handle.use_error()
        self._waiter = current_operation().coroutine
        try:
            while not self._changes:
                if self._finished:
                    raise StopIteration
                self._produce()
            spend_budget(handle.hub)
            if not self._changes:
                raise handle.closed_error()  # it was closed during the wait
            return self._changes.popleft()
        finally:
            self._waiter = None

    def _read_tree(self) -> None:
        """Watch all folders below; close the iterator if that fails."""
        try:
            while self._tree is not None and self._tree.unread:
                self._tree.read()
        except BaseException:
            self.close()
            raise

    def _produce(self) -> None:
        """Take one step towards the next change: read a folder, convert a change, take changes from C, or wait."""
        handle, tree = self._handle, self._tree
        if tree is not None and tree.unread:
            self._read(tree)
        elif self._lost:
            self._lost = False
            self._changes.append(Change(None, _LOST))
        elif self._raw_changes:
            self._process(*self._raw_changes[0])
        elif raw := read_changes(handle.pointer, handle.slot, BATCH):
            self._raw_changes.extend(_mark_last_rename(raw))
        else:
            handle.wait(1, _noop_start)

    def _read(self, tree: WatchTree) -> None:
        try:
            tree.read()
        finally:
            names, tree.found = tree.found, []
            self._changes.extend(Change(same_type_as(self._path, name), _EVENTS[RENAME]) for name in names)

    def _process(self, raw: RawChange, is_last: bool) -> None:
        """Convert the first of the raw changes, and update the tree."""
        slot, generation, kinds, name = raw
        node = self._handle.nodes.get((slot, generation))
        if kinds & OVERFLOW:
            self._lost = True
            if self._tree is not None:
                self._tree.restart()
        elif node is None or (kinds & ITSELF and node.handle is not None):
            pass  # no longer watched; or a folder below itself, which its parent folder reports, too
        elif kinds & ITSELF:
            self._process_root(kinds)
        else:
            self._process_entry(node, name, kinds, is_last)
        self._raw_changes.popleft()

    def _process_root(self, kinds: int) -> None:
        self._changes.append(Change(same_type_as(self._path, self._file or b"."), _EVENTS[kinds & 3]))
        if kinds & RENAME:
            self._finished = True
            self._handle.close()

    def _process_entry(self, node: DirNode, name: bytes, kinds: int, is_last: bool) -> None:
        try:
            if self._tree is not None and kinds & RENAME and is_last:
                self._tree.recheck(node, name)
        except Closed:
            raise
        except UVError:
            self._emit(node, name, kinds)
            self._raw_changes.popleft()
            raise
        self._emit(node, name, kinds)

    def _emit(self, node: DirNode, name: bytes, kinds: int) -> None:
        self._changes.append(Change(same_type_as(self._path, join_path(node.path, name)), _EVENTS[kinds & 3]))


def _mark_last_rename(raw: list[RawChange]) -> list[tuple[RawChange, bool]]:
    """Return the changes, each with whether no later one renames the entry: it is examined only for the last rename."""
    seen: set[tuple[int, int, bytes]] = set()
    changes = []
    for change in reversed(raw):
        slot, generation, kinds, name = change
        key = (slot, generation, name)
        changes.append((change, key not in seen))
        if kinds & RENAME:
            seen.add(key)
    changes.reverse()
    return changes
