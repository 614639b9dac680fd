"""A tree of folders, each watched by its own handle, for systems that cannot watch trees.

A folder is watched before it is read: an entry that is made in between is reported by the system, found by reading, or
both.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from ..._kernel import CompletionHandler, Hub, KernelHandle
from ..._libuv import lib
from ..._libuv.files import DirStream as Opened
from ..._libuv.files import FsCall, Path
from ..._libuv.watch import watch_directory
from ...errors import UVError
from .call import filebits, run_call, same_type_as

__all__ = ["DirNode", "RootHandle", "WatchTree"]

NO_DIRECTORY = ("ENOENT", "ENOTDIR", "ELOOP")  # errors for a path that is no longer a folder
_DIRECTORY = ord("0") + lib.UV_DIRENT_DIR
_UNKNOWN = ord("0") + lib.UV_DIRENT_UNKNOWN


class DirHandle(CompletionHandler):
    """The handle of a folder below the root. A waiter waits on the root, never on a branch."""

    __slots__ = ("generation", "hub", "slot", "watch_id")

    def __init__(self, root: RootHandle) -> None:
        """Make a branch of `root`; `open` starts it."""
        self.hub: Hub = root.hub
        self.slot = self.generation = self.watch_id = -1

    def open(self, root: RootHandle, path: bytes, shown: Path) -> None:
        """Watch a folder. Must be called once only. Raises `UVError`."""
        self.slot = self.hub.allocate_slot(self)
        self.generation = self.hub.generation
        try:
            self.watch_id = watch_directory(root.pointer, self.slot, self.generation, root.slot, path, shown)
        except BaseException:
            if lib.co_close(self.hub.loop.pointer, self.slot) < 0:  # a signal handler may have raised after libuv began
                self.hub.free_slot(self.slot)
            raise

    def close(self) -> None:
        """Stop watching. Must be called once only."""
        lib.co_close(self.hub.loop.pointer, self.slot)

    def complete(self, generation: int, result: int, offset: int) -> None:
        """Give the slot back when libuv has closed the handle."""
        if generation == self.generation and result == lib.CO_CLOSED:
            self.hub.free_slot(self.slot)


class DirNode:
    """A folder of the tree: its path from the root on, and the folders in it."""

    __slots__ = ("children", "handle", "path")

    def __init__(self, path: bytes, branch: DirHandle | None) -> None:
        """Make a node. branch: its handle, None for the root."""
        self.path, self.handle = path, branch
        self.children: dict[bytes, DirNode] = {}


class RootHandle(KernelHandle):
    """The handle of the watched file or folder. The handles of the folders below it are closed together with it."""

    __slots__ = ["nodes"]

    def __init__(self, title: str) -> None:
        """Make a handle that reports call `title`."""
        self.nodes: dict[tuple[int, int], DirNode] = {}
        super().__init__(title)

    def open(self, open_: Callable[[Any, int, int], int], syscall: str) -> None:
        """Open the handle; see `KernelHandle.open`."""
        super().open(open_, syscall)
        self.nodes[self.slot, self.generation] = DirNode(b"", None)

    def close(self) -> None:
        """Close all handles; see `KernelHandle.close`."""
        try:
            super().close()
        finally:
            if self.closed and not self.hub.forked and self.hub.loop.pointer:
                nodes, self.nodes = self.nodes, {}
                for node in nodes.values():
                    if node.handle is not None:
                        node.handle.close()


class WatchTree:
    """The folders below a root. found: paths of entries that existed when a new folder was read."""

    __slots__ = ("_base", "_path", "_root", "_top", "_unread", "found")

    def __init__(self, root: RootHandle, base: bytes, path: Path) -> None:
        """Make a tree. base: the root's absolute path. path: the argument of the user. `read` begins to watch."""
        self._root, self._base, self._path = root, base, path
        (self._top,) = root.nodes.values()
        self._unread: deque[tuple[DirNode, bool]] = deque([(self._top, False)])
        self.found: list[bytes] = []

    @property
    def unread(self) -> bool:
        """Whether there are folders that have to be read before anything else is done."""
        return bool(self._unread)

    def restart(self) -> None:
        """Drop all folders except the root, because changes were lost."""
        self.drop_children(self._top)
        self._unread.clear()
        self._unread.append((self._top, False))

    def read(self) -> None:
        """Read the next folder, and watch the folders in it. Suspends.

        Raises `UVError` if one cannot be watched, or read.
        """
        node, report = self._unread[0]
        entries: list[tuple[bytes, bool]] = []
        if self._is_watched(node):
            try:
                self._list(node, entries)
            except UVError as error:
                self._unread.popleft()
                if error.name in NO_DIRECTORY:
                    return
                raise
        self._unread.popleft()
        # An error does not stop the loop: all other folders are watched before the last error is raised.
        failure: UVError | None = None
        for name, is_folder in entries:
            if report:
                self.found.append(join_path(node.path, name))
            if is_folder:
                try:
                    self._add_directory(node, name, report)
                except UVError as error:
                    failure = error
        if failure is not None:
            raise failure

    def recheck(self, node: DirNode, name: bytes) -> None:
        """Examine an entry that was made, moved or removed; watch it, or drop it from the tree. Suspends."""
        call = FsCall("lstat", self._full_path(join_path(node.path, name)))
        try:
            run_call(call, False)
        except UVError as error:
            if error.name not in NO_DIRECTORY:
                raise
            is_folder = False
        else:
            is_folder = call.stat.st_mode & filebits.type == filebits.directory
        self._check()
        if is_folder:
            self._add_directory(node, name, True)
        elif name in node.children:
            self._drop(node.children.pop(name))

    def _list(self, node: DirNode, entries: list[tuple[bytes, bool]]) -> None:
        """Add the name of each entry of a folder to `entries`, and whether it is a folder. Suspends."""
        opened = Opened()
        path = self._full_path(node.path)
        run_call(FsCall("opendir", path, dir_stream=opened), False)
        while True:
            run_call(FsCall("readdir", dir_stream=opened), False)
            packed = opened.pop_entries()
            if not packed:
                break
            while packed:
                entries.extend((entry[1:], self._is_directory(path, entry)) for entry in packed)
                packed = opened.pop_entries()
        opened.close()
        self._check()

    def _is_directory(self, path: bytes, entry: bytes) -> bool:
        """Return whether an entry is a folder; for file systems that do not return the type, look it up."""
        if entry[0] == _UNKNOWN:
            full = os.path.join(path, entry[1:])
            return os.path.isdir(full) and not os.path.islink(full)
        return bool(entry[0] == _DIRECTORY)

    def _add_directory(self, parent: DirNode, name: bytes, report: bool) -> None:
        """Watch a folder, unless it is watched already; do nothing if it no longer exists. Raises `UVError`.

        report: whether the entries that are found in it are reported as changes.
        """
        path = join_path(parent.path, name)
        full = self._full_path(path)
        try:
            branch = DirHandle(self._root)
            branch.open(self._root, full, same_type_as(self._path, full))
        except UVError as error:
            if error.name not in NO_DIRECTORY:
                raise
            return
        known = parent.children.get(name)
        if known is not None and known.handle is not None and known.handle.watch_id == branch.watch_id:
            branch.close()
            return
        if known is not None:
            self._drop(known)
        node = parent.children[name] = DirNode(path, branch)
        self._root.nodes[branch.slot, branch.generation] = node
        self._unread.append((node, report))

    def _drop(self, node: DirNode) -> None:
        """Stop watching a folder and all folders below it."""
        doomed = [node]
        while doomed:
            node = doomed.pop()
            doomed.extend(node.children.values())
            if node.handle is not None:
                del self._root.nodes[node.handle.slot, node.handle.generation]
                node.handle.close()

    def drop_children(self, node: DirNode) -> None:
        """Stop watching the folders below this one."""
        for child in node.children.values():
            self._drop(child)
        node.children.clear()

    def _is_watched(self, node: DirNode) -> bool:
        branch = node.handle
        return branch is None or self._root.nodes.get((branch.slot, branch.generation)) is node

    def _full_path(self, path: bytes) -> bytes:
        return os.path.join(self._base, path) if path else self._base

    def _check(self) -> None:
        if self._root.closed:
            raise self._root.closed_error()


def join_path(folder: bytes, name: bytes) -> bytes:
    """Return the path of an entry of a folder, from the root on."""
    return folder + b"/" + name if folder else name
