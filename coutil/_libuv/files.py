"""Calls of libuv's file system functions: arguments, start, and results.

Ownership: C may touch a call's memory from `start` until `end`, also when the coroutine that waited has been resumed by
something else. So the call owns all of it: the struct, the paths, the buffers, and a descriptor that was opened and not
taken. The request keeps the call in its pins until libuv is done.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from os import PathLike, fsdecode, fsencode, fspath
from typing import Any

from . import NULL, CData, error, ffi, lib
from .buffers import address_of

__all__ = ["ENTRIES_READY", "INTERRUPTED", "DirStream", "FsCall", "encoded", "same_type_as"]

Path = str | bytes | PathLike[str] | PathLike[bytes]

ENTRIES_READY: int = lib.UV_EALREADY  # code of a "readdir" that need not start: an earlier one has read entries
INTERRUPTED: int = lib.UV_EINTR  # code of a call that a signal has interrupted: it has to begin anew
_TIMES = ("utime", "futime", "lutime")
_CANCELLABLE = ("copyfile", "sendfile") if lib.CO_PIECES else ()  # calls that can be stopped after they have started
KINDS = {name[6:].lower(): getattr(lib, name) for name in dir(lib) if name.startswith("UV_FS_")}


def encoded(path: Path, name: str = "path") -> bytes:
    """Return `path` in the encoding of the system. Raises TypeError, or ValueError (a NUL, or it cannot be encoded)."""
    try:
        data = fsencode(path)
    except TypeError:
        raise TypeError(f"{name} must be a str, bytes or os.PathLike, not {path!r}") from None
    if b"\0" in data:
        raise ValueError(f"{name} has a null character: {path!r}")
    return data


def same_type_as(path: Path, text: bytes) -> Any:
    """Return `text` as bytes if `path` consists of bytes, else as a str."""
    return text if isinstance(fspath(path), bytes) else fsdecode(text)


class DirStream:
    """An open folder. A reference keeps it open: that of a reader, or of a call in progress."""

    __slots__ = ("pointer",)

    def __init__(self, limit: int = 0) -> None:
        """Make one for a call of "opendir". limit: entries to read at once; 0: as many as there is room for."""
        self.pointer = ffi.gc(ffi.new("co_folder *", {"limit": limit}), lib.co_folder_release)

    @property
    def busy(self) -> bool:
        """Whether libuv is reading it."""
        return bool(self.pointer.busy)

    def pop_entries(self) -> list[bytes]:
        """Return some of the entries that were read, each a digit for its type and its name; [] if there are none."""
        packed = ffi.new("char[]", lib.CO_PACKED)
        size = lib.co_folder_take(self.pointer, packed)
        entries: list[bytes] = ffi.buffer(packed, size)[:].split(b"\0")[:-1]
        return entries

    def close(self) -> None:
        """Close it now; not while it is busy."""
        ffi.release(self.pointer)


class FsCall:
    """One call of a function of libuv. It owns the result (a descriptor, text) until the caller takes it."""

    __slots__ = (
        "_buffers",
        "_encoded",
        "awaits_writable",
        "buffer",
        "dir_stream",
        "name",
        "own_implementation",
        "paths",
        "started",
        "struct",
        "users",
    )

    def __init__(
        self,
        name: str,
        *paths: Path,
        users: tuple[Any, ...] = (),
        buffer: memoryview | Sequence[memoryview] | None = None,
        dir_stream: DirStream | None = None,
        **fields: Any,
    ) -> None:
        """Prepare a call of the function `name` ("open") with its paths, and other fields of co_fs.

        users: objects that the call uses; their methods begin(struct) and end(struct) are called now, and when libuv
        no longer needs them. buffer, dir_stream: the memory, or the folder, that it reads or fills; there may be
        several buffers.
        Raises TypeError or ValueError for a path, and what `begin` raises.
        """
        self.users: tuple[Any, ...] = ()
        self.started = False
        # It must not begin before the descriptor can be read (False) or written (True)
        self.awaits_writable: bool | None = None
        # Done by a C function of this package: "sendfile" to a stream that must not block, "utime"
        self.own_implementation = False
        self._encoded = (*map(encoded, paths, ("path", "dest")), NULL, NULL)
        self.name, self.paths, self.buffer, self.dir_stream = name, paths, buffer, dir_stream
        values = {"kind": KINDS[name], "fd": -1, "offset": -1, "opened": -1, "busy": True}
        values |= {"in_pieces": name in _CANCELLABLE, **fields}
        if dir_stream is not None:
            values["folder"] = dir_stream.pointer
        # One buffer is described in the struct itself, several by an array beside it.
        self._buffers: Any = None
        if isinstance(buffer, memoryview):
            values["data"], values["size"] = address_of(buffer), len(buffer)
        elif buffer is not None:
            self._buffers = ffi.new("co_piece[]", [(address_of(view), len(view)) for view in buffer])
            values["pieces"], values["count"] = self._buffers, len(buffer)
        # Calls that this package carries out itself find their paths in the struct; libuv gets them as arguments.
        if name in _TIMES:
            self.own_implementation = True
            values = {"flags": lib.CO_GIVEN | lib.CO_GIVEN << 2, **values}
        if (self.own_implementation or values["in_pieces"]) and paths:
            for field, path in zip(("path", "dest")[: len(paths)], self._encoded, strict=False):
                values[field] = address_of(memoryview(path))
        # A user is kept only when its `begin` has returned: `end` is called exactly for those.
        self.struct = ffi.gc(ffi.new("co_fs *", values), lib.co_fs_release)
        for user in users:
            user.begin(self.struct)
            self.users += (user,)

    def __del__(self, ending: Callable[[], bool] = sys.is_finalizing) -> None:
        """Release the users of a call that was abandoned, and has ended since."""
        if not ending() and hasattr(self, "users"):  # without users a signal handler has raised in `__init__`
            self.end()

    def end(self) -> None:
        """Release the users: libuv no longer needs them. Calling it twice is no error."""
        users, self.users = self.users, ()
        for user in users:
            user.end(self.struct)

    def await_ready(self, loop: Any, slot: int, generation: int) -> int:
        """Begin to wait until the descriptor is ready; return libuv's code."""
        self.started = True  # before libuv may use it, whatever a signal handler raises
        code: int = lib.co_ready_start(loop, slot, generation, self.struct.fd, self.awaits_writable)
        self.started = code >= 0
        return code

    def start(self, loop: Any, slot: int, generation: int) -> int:
        """Queue it for the thread pool; return libuv's code."""
        self.started = True  # as in await_ready()
        if self.own_implementation or self.struct.in_pieces or self.awaits_writable is not None:
            code: int = lib.co_fs_own(loop, slot, generation, self.struct)
        else:
            code = lib.co_fs_start(loop, slot, generation, self.struct, self._encoded[0], self._encoded[1])
        self.started = code >= 0
        return code

    def shares_with(self, other: object) -> bool:
        """Return whether `other` is a call that uses the same descriptor or folder: their order matters."""
        if not isinstance(other, FsCall):
            return False
        same_stream = self.dir_stream is not None and self.dir_stream is other.dir_stream
        return same_stream or any(user in other.users for user in self.users)

    def release_buffers(self) -> None:
        """Forget the buffers of a call that is over."""
        self.buffer = None

    def block(self) -> None:
        """Run it now, in the calling thread."""
        if self.own_implementation and self.name in _TIMES:
            lib.co_fs_times(self.struct)
        else:
            lib.co_fs_block(self.struct, self._encoded[0], self._encoded[1])

    def __str__(self) -> str:
        """The name of the call and what it is about, for reports."""
        return " ".join((self.name, *(str(user) for user in self.users), *(repr(path) for path in self.paths)))

    @property
    def syscall(self) -> str:
        """The name of the C function."""
        return f"uv_fs_{self.name}"

    @property
    def code(self) -> int:
        """The result: negative for an error."""
        return int(self.struct.result)

    def result(self) -> int:
        """Return the result. Raises `UVError` if it is negative."""
        code: int = self.struct.result
        if code < 0:
            raise error(code, self.syscall, *self.paths)
        return code

    def adopt_descriptor(self, held: list[int]) -> None:
        """Take the descriptor out of `held`.

        It is closed when the call runs, or else by `close_descriptor` or the finalizer.
        """
        struct = self.struct  # from here on nothing looks for signals
        if held:
            struct.fd = struct.opened = held[0]
            del held[0]

    def yield_descriptor(self, held: list[int]) -> None:
        """Move the descriptor that it opened into `held`."""
        struct = self.struct  # as in adopt_descriptor()
        held += (struct.opened,)
        struct.opened = -1

    @property
    def owns_descriptor(self) -> bool:
        """Whether it owns a descriptor."""
        return bool(self.struct.opened >= 0)

    def close_descriptor(self) -> None:
        """Close the descriptor that it still owns, if any. Must not be called while it runs."""
        lib.co_fs_release(self.struct)

    def take_descriptor(self) -> int:
        """Return the descriptor that it opened; from now on the caller owns it."""
        struct = self.struct  # from here on nothing looks for signals
        number: int = struct.opened
        struct.opened = -1
        return number

    def text(self) -> bytes:
        """Return the text that it read."""
        text: bytes = ffi.string(self.struct.text)
        return text

    def entries(self) -> list[bytes]:
        """Return the entries that "scandir" read, each a digit for its type and its name."""
        struct = self.struct
        return ffi.buffer(struct.text, struct.length)[:].split(b"\0")[:-1] if struct.text else []

    @property
    def stat(self) -> CData:
        """The uv_stat_t that it filled."""
        return self.struct.stat

    @property
    def statfs(self) -> CData:
        """The uv_statfs_t that it filled."""
        return self.struct.statfs

    @property
    def fragment(self) -> int | None:
        """The size of a fragment in bytes, from statfs(2); None if libuv is older than 1.52."""
        return lib.co_fs_fragment(self.struct) or None
