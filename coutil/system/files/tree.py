"""A tree of folders, each watched by its own handle, for systems that cannot watch trees.

A folder is watched before it is read: an entry that is made in between is reported by the system, found by reading, or
both.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

from ..._kernel.entries import Slotted
from ..._kernel.handle import Handle
from ..._kernel.hub import Hub
from ..._libuv import lib
from ..._libuv.files import Call, Path
from ..._libuv.files import Folder as Opened
from ..._libuv.watch import branch
from ...errors import UVError
from .request import filebits, like, run

__all__ = ["Node", "Root", "Tree"]

GONE = ("ENOENT", "ENOTDIR", "ELOOP")  # errors for a path that is no longer a folder
_FOLDER = ord("0") + lib.UV_DIRENT_DIR
_UNKNOWN = ord("0") + lib.UV_DIRENT_UNKNOWN


class Branch(Slotted):
    """The handle of a folder below the root. A waiter waits on the root, never on a branch."""

    __slots__ = ("generation", "hub", "number", "slot")

    def __init__(self, root: Root) -> None:
        """Make a branch of `root`; `open` starts it."""
        self.hub: Hub = root.hub
        self.slot = self.generation = self.number = -1

    def open(self, root: Root, path: bytes, shown: Path) -> None:
        """Watch a folder. Must be called once only. Raises `UVError`."""
        self.slot = self.hub.take(self)
        self.generation = self.hub.generation
        try:
            self.number = branch(root.pointer, self.slot, self.generation, root.slot, path, shown)
        except BaseException:
            if lib.co_close(self.hub.loop.pointer, self.slot) < 0:  # a signal handler may have raised after libuv began
                self.hub.drop(self.slot)
            raise

    def close(self) -> None:
        """Stop watching. Must be called once only."""
        lib.co_close(self.hub.loop.pointer, self.slot)

    def deliver(self, generation: int, result: int, where: int) -> None:
        """Give the slot back when libuv has closed the handle."""
        if generation == self.generation and result == lib.CO_CLOSED:
            self.hub.drop(self.slot)


class Node:
    """A folder of the tree: its path from the root on, and the folders in it."""

    __slots__ = ("branch", "children", "path")

    def __init__(self, path: bytes, branch: Branch | None) -> None:
        """Make a node. branch: its handle, None for the root."""
        self.path, self.branch = path, branch
        self.children: dict[bytes, Node] = {}


class Root(Handle):
    """The handle of the watched file or folder. The handles of the folders below it are closed together with it."""

    __slots__ = ["nodes"]

    def __init__(self, title: str) -> None:
        """Make a handle that reports call `title`."""
        self.nodes: dict[tuple[int, int], Node] = {}
        super().__init__(title)

    def open(self, open_: Callable[[Any, int, int], int], syscall: str) -> None:
        """Open the handle; see `Handle.open`."""
        super().open(open_, syscall)
        self.nodes[self.slot, self.generation] = Node(b"", None)

    def close(self) -> None:
        """Close all handles; see `Handle.close`."""
        try:
            super().close()
        finally:
            if self.closed and not self.hub.forked and self.hub.loop.pointer:
                nodes, self.nodes = self.nodes, {}
                for node in nodes.values():
                    if node.branch is not None:
                        node.branch.close()


class Tree:
    """The folders below a root. found: paths of entries that existed when a new folder was read."""

    __slots__ = ("_base", "_path", "_root", "_todo", "_top", "found")

    def __init__(self, root: Root, base: bytes, path: Path) -> None:
        """Make a tree. base: the root's absolute path. path: the argument of the user. `read` begins to watch."""
        self._root, self._base, self._path = root, base, path
        (self._top,) = root.nodes.values()
        self._todo: deque[tuple[Node, bool]] = deque([(self._top, False)])
        self.found: list[bytes] = []

    @property
    def unread(self) -> bool:
        """Whether there are folders that have to be read before anything else is done."""
        return bool(self._todo)

    def restart(self) -> None:
        """Drop all folders except the root, because changes were lost."""
        self.drop_children(self._top)
        self._todo.clear()
        self._todo.append((self._top, False))

    def read(self) -> None:
        """Read the next folder, and watch the folders in it. Suspends.

        Raises `UVError` if one cannot be watched, or read.
        """
        node, report = self._todo[0]
        entries: list[tuple[bytes, bool]] = []
        if self._is_watched(node):
            try:
                self._list(node, entries)
            except UVError as error:
                self._todo.popleft()
                if error.name in GONE:
                    return
                raise
        self._todo.popleft()
        # An error does not stop the loop: all other folders are watched before the last error is raised.
        failure: UVError | None = None
        for name, is_folder in entries:
            if report:
                self.found.append(joined(node.path, name))
            if is_folder:
                try:
                    self._adopt(node, name, report)
                except UVError as error:
                    failure = error
        if failure is not None:
            raise failure

    def look(self, node: Node, name: bytes) -> None:
        """Examine an entry that was made, moved or removed; watch it, or drop it from the tree. Suspends."""
        call = Call("lstat", self._full(joined(node.path, name)))
        try:
            run(call, False)
        except UVError as error:
            if error.name not in GONE:
                raise
            is_folder = False
        else:
            is_folder = call.stat.st_mode & filebits.type == filebits.directory
        self._check()
        if is_folder:
            self._adopt(node, name, True)
        elif name in node.children:
            self._drop(node.children.pop(name))

    def _list(self, node: Node, entries: list[tuple[bytes, bool]]) -> None:
        """Add the name of each entry of a folder to `entries`, and whether it is a folder. Suspends."""
        opened = Opened()
        path = self._full(node.path)
        run(Call("opendir", path, folder=opened), False)
        while True:
            run(Call("readdir", folder=opened), False)
            packed = opened.take()
            if not packed:
                break
            while packed:
                entries.extend((entry[1:], self._is_folder(path, entry)) for entry in packed)
                packed = opened.take()
        opened.close()
        self._check()

    def _is_folder(self, path: bytes, entry: bytes) -> bool:
        """Return whether an entry is a folder; for file systems that do not return the type, look it up."""
        if entry[0] == _UNKNOWN:
            full = os.path.join(path, entry[1:])
            return os.path.isdir(full) and not os.path.islink(full)
        return bool(entry[0] == _FOLDER)

    def _adopt(self, parent: Node, name: bytes, report: bool) -> None:
        """Watch a folder, unless it is watched already; do nothing if it no longer exists. Raises `UVError`.

        report: whether the entries that are found in it are reported as changes.
        """
        path = joined(parent.path, name)
        full = self._full(path)
        try:
            branch = Branch(self._root)
            branch.open(self._root, full, like(self._path, full))
        except UVError as error:
            if error.name not in GONE:
                raise
            return
        known = parent.children.get(name)
        if known is not None and known.branch is not None and known.branch.number == branch.number:
            branch.close()
            return
        if known is not None:
            self._drop(known)
        node = parent.children[name] = Node(path, branch)
        self._root.nodes[branch.slot, branch.generation] = node
        self._todo.append((node, report))

    def _drop(self, node: Node) -> None:
        """Stop watching a folder and all folders below it."""
        doomed = [node]
        while doomed:
            node = doomed.pop()
            doomed.extend(node.children.values())
            if node.branch is not None:
                del self._root.nodes[node.branch.slot, node.branch.generation]
                node.branch.close()

    def drop_children(self, node: Node) -> None:
        """Stop watching the folders below this one."""
        for child in node.children.values():
            self._drop(child)
        node.children.clear()

    def _is_watched(self, node: Node) -> bool:
        branch = node.branch
        return branch is None or self._root.nodes.get((branch.slot, branch.generation)) is node

    def _full(self, path: bytes) -> bytes:
        return os.path.join(self._base, path) if path else self._base

    def _check(self) -> None:
        if self._root.closed:
            raise self._root.interruption()


def joined(folder: bytes, name: bytes) -> bytes:
    """Return the path of an entry of a folder, from the root on."""
    return folder + b"/" + name if folder else name
