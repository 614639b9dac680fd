"""Pipe handles: Unix sockets and pipes, and the transfer of handles between processes through them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, ClassVar

from .._coroutines import waits
from .._libuv import error, lib
from .._libuv.buffers import integers, read_into_buffer, readable
from .descriptor import descriptor, transfer_descriptor
from .handle import Handle
from .loop import Loop
from .module_function import module_function
from .stream import Data, Stream, join_data
from .tcp import TCP, pair_flags

__all__ = ["Pipe", "new_pipe", "pipe"]

Path = str | bytes | os.PathLike[str] | os.PathLike[bytes]
_KINDS = {lib.UV_TCP: "tcp", lib.UV_NAMED_PIPE: "pipe", lib.UV_UDP: "udp"}
_MODES = {"r": (True, False), "w": (False, True), "rw": (True, True), "wr": (True, True)}


class Pipe(Stream):
    """A Unix socket or a pipe. Handlers: those of `Stream`.

    A name is a path, or on Linux an abstract name: bytes or str that begin with a null character. Names are never
    truncated. The close of the handle removes a path that `bind` made.
    """

    _kind = "pipe"
    _makers: ClassVar[dict[str, Callable[[Loop], Handle]]] = {"tcp": TCP}  # for `accept_pending`

    def __init__(self, loop: Loop | None = None, ipc: bool = False) -> None:
        """Make a pipe handle of `loop`; see `Timer`. ipc: handles can be sent through it. Source: uv_pipe_init."""
        share = bool(ipc)
        super().__init__(
            loop, lambda pointer, slot, gen: lib.co_raw_pipe_new(pointer, slot, gen, share), "uv_pipe_init"
        )

    def open(self, file: Any) -> None:
        """Take ownership of a pipe or a Unix socket. file: a descriptor, or an object with `fileno`.

        The descriptor becomes non-blocking for all processes that share its open file description: `print` to such a
        pipe, or a child that has inherited it, may get EAGAIN. Nothing else may use or close the descriptor. A socket
        object is detached. A file object is flushed and closed, and the handle gets a duplicate of its descriptor; data
        in the object's read buffer are lost. An object that does not close its descriptor, such as `sys.stdin`, is left
        as it is. If this raises, the caller keeps the object.
        Raises TypeError, ValueError, `Closed`, the errors of flushing, and `UVError`: EBADF, EEXIST (a handle owns or
        polls it), EBUSY (this handle is open), EINVAL (a regular file). Source: uv_pipe_open.
        """

        def take(number: int) -> None:
            self._call(lib.co_raw_open, "uv_pipe_open", number)

        transfer_descriptor(file, descriptor(file), "uv_pipe_open", take)

    def bind(self, name: Path, no_truncate: bool = True) -> None:
        """Bind to a path that does not exist yet, or to an abstract name; "": Linux chooses an abstract name.

        no_truncate: ignored, names are never truncated. Raises TypeError, ValueError, `Closed`, `UVError`: EADDRINUSE,
        EACCES (also if the folder does not exist), EINVAL (bound already), ENAMETOOLONG.
        Source: uv_pipe_bind, uv_pipe_bind2.
        """
        path = _check_name(name, "uv_pipe_bind")
        core = self._core
        code = lib.co_local_bind(core.pointer, core.slot, path, len(path))
        if code < 0:
            raise self._failed(lib.UV_EACCES if code == lib.UV_ENOENT else code, "uv_pipe_bind", path)

    @waits
    def connect(self, name: Path, no_truncate: bool = True) -> bool:
        """Connect to a name; return True. Suspends. no_truncate: ignored.

        Raises TypeError, ValueError, `Closed`, `UVError`: ENOENT, ECONNREFUSED, EAGAIN (the listener's queue is full),
        EINVAL (""), EISCONN, ENAMETOOLONG, ECANCELED (the handle was closed), … Source: uv_pipe_connect,
        uv_pipe_connect2.
        """
        path = _check_name(name, "uv_pipe_connect")
        if not path:
            raise error(lib.UV_EINVAL, "uv_pipe_connect")

        def failed(code: int, syscall: str) -> Exception:
            return self._failed(code, syscall, path)

        self._request(lib.co_local_connect, "uv_pipe_connect", path, len(path), make_error=failed)
        self._core.remember_addresses()
        return True

    def _failed(self, code: int, syscall: str, name: bytes) -> Exception:
        core = self._core
        if core.closed or code == lib.CO_FOREIGN:
            return core.call_error(code, syscall)
        return error(code, syscall, os.fsdecode(name))

    def getsockname(self) -> str | bytes:
        """Return the name that the handle is bound to: a path, an abstract name as bytes, or "" for no name.

        Raises `Closed`, `UVError`: EBADF (not open). Source: uv_pipe_getsockname.
        """
        return self._name(False, "uv_pipe_getsockname")

    def getpeername(self) -> str | bytes:
        """Return the peer's name; see `getsockname`. Also raises `UVError`: ENOTCONN. Source: uv_pipe_getpeername."""
        return self._name(True, "uv_pipe_getpeername")

    def _name(self, peer: bool, syscall: str) -> str | bytes:
        core = self._core

        def fill(into: Any, size: int) -> int:
            code: int = lib.co_local_name(core.pointer, core.slot, peer, into, size)
            return code

        name = read_into_buffer(fill, lib.CO_SUN_PATH + 1)
        if isinstance(name, int):
            raise core.call_error(name, syscall)
        return name if name.startswith(b"\0") else os.fsdecode(name)

    def chmod(self, mode: str) -> None:
        """Let all users read ("r"), write ("w") or both ("rw") the path of the handle. Blocks for a moment.

        Raises TypeError, ValueError, `Closed`, `UVError`: EBADF (not bound), EPERM. Source: uv_pipe_chmod.
        """
        if not isinstance(mode, str):
            raise TypeError(f"mode must be a string, not {mode!r}")
        if mode not in _MODES:
            raise ValueError(f'mode must be "r", "w" or "rw", not {mode!r}')
        self._call(lib.co_local_permit, "uv_pipe_chmod", *_MODES[mode])

    def pending_instances(self, count: int) -> None:
        """Do nothing: this is an option of Windows. Source: uv_pipe_pending_instances."""
        self._core.check_usable()

    # -- handles that are sent ----------------------------------------------------------------------------------------

    @waits
    def write2(self, data: Data, send_handle: Handle) -> bool:
        """Write `data`, at least one byte, and send a handle with them; return True. Suspends.

        send_handle: a TCP, pipe or UDP handle of the same loop. The receiver gets a duplicate of its descriptor.
        Raises TypeError, ValueError, `Closed`, `UVError`: EINVAL (not an ipc pipe), EBADF (send_handle is not open),
        EPIPE, … Source: uv_write2.
        """
        view, at = self._sendable(data, send_handle)
        passed = send_handle._core.slot
        self._request(lib.co_share_send, "uv_write2", at, len(view), passed, keepalive=(view, send_handle))
        return True

    def try_write2(self, data: Data, send_handle: Handle) -> int:
        """As `write2`, but only the data that the system takes at once; return the number of bytes.

        The handle has been sent unless the result is 0. Never suspends. Raises as `write2`. Source: uv_try_write2.
        """
        view, at = self._sendable(data, send_handle)
        core = self._core
        sent: int = lib.co_try_write2(core.pointer, core.slot, at, len(view), send_handle._core.slot)
        if sent < 0 and sent != lib.UV_EAGAIN:
            raise core.call_error(sent, "uv_try_write2")
        return max(sent, 0)

    def _sendable(self, data: Data, other: Handle) -> tuple[memoryview, Any]:
        core = self._core
        core.check_usable()
        self._same_loop("send_handle", other)
        if other._kind not in _KINDS.values():
            raise TypeError(f"send_handle must be a TCP, pipe or UDP handle, not {other!r}")
        view, at = readable(join_data(data), 0, None)
        if not len(view):
            raise ValueError("data must not be empty: a handle is sent with at least one byte")
        return view, at

    @property
    def pending_count(self) -> int:
        """The number of handles that were received and not accepted yet. Source: uv_pipe_pending_count."""
        return self._pending()[0]

    @property
    def pending_type(self) -> str | None:
        """The type of the next one: "tcp", "pipe" or "udp"; None: there is none. Source: uv_pipe_pending_type."""
        return self._pending()[1]

    def _pending(self) -> tuple[int, str | None]:
        kind = integers(1)
        count = self._call(lib.co_pending, "uv_pipe_pending_count", kind)
        return count, _KINDS.get(kind[0]) if count else None

    def accept_pending(self) -> Handle:
        """Return a new handle for the next one that was received. Never suspends.

        Raises `Closed`, `UVError`: EAGAIN (none was received), EINVAL (of another type). Source: uv_accept.
        """
        count, kind = self._pending()
        maker = self._makers.get(kind or "")
        if maker is None:
            raise error(lib.UV_EINVAL if count else lib.UV_EAGAIN, "uv_accept")
        return self._accepted(maker(self.loop))

    def _new(self) -> Pipe:
        return Pipe(self.loop)


Pipe._makers["pipe"] = Pipe


def _check_name(name: Path, syscall: str) -> bytes:
    """Return the bytes of a name. Raises TypeError, ValueError, `UVError`."""
    if not isinstance(name, str | bytes | os.PathLike):
        raise TypeError(f"name must be a path (str, bytes or os.PathLike), not {name!r}")
    path = os.fsencode(name)
    abstract = path.startswith(b"\0")
    if b"\0" in path and not abstract:
        raise ValueError(f"name must be a path without null characters, not {name!r}")
    if len(path) > lib.CO_SUN_PATH + abstract:
        raise error(lib.UV_ENAMETOOLONG, syscall, os.fsdecode(path))
    return path


def new_pipe(loop: Loop | None = None, ipc: bool = False) -> Pipe:
    """Return a new `Pipe`. Source: uv_pipe_init."""
    return Pipe(loop, ipc)


def pipe(read_flags: int = 0, write_flags: int = 0) -> tuple[int, int]:
    """Return the descriptors of a new pipe, for reading and for writing. The caller owns them.

    read_flags, write_flags: `NONBLOCK_PIPE`, or 0. Raises TypeError, ValueError, `UVError`: EMFILE. Source: uv_pipe.
    """
    ends = integers(2)
    code = lib.co_pipe(ends, pair_flags("read_flags", read_flags), pair_flags("write_flags", write_flags))
    if code < 0:
        raise error(code, "uv_pipe")
    return ends[0], ends[1]


pipe_open = module_function(Pipe.open)
pipe_bind = module_function(Pipe.bind)
pipe_bind2 = module_function(Pipe.bind)
pipe_connect = module_function(Pipe.connect)
pipe_connect2 = module_function(Pipe.connect)
pipe_getsockname = module_function(Pipe.getsockname)
pipe_getpeername = module_function(Pipe.getpeername)
pipe_pending_instances = module_function(Pipe.pending_instances)
pipe_pending_count = module_function(Pipe.pending_count)
pipe_pending_type = module_function(Pipe.pending_type)
pipe_chmod = module_function(Pipe.chmod)
write2 = module_function(Pipe.write2)
try_write2 = module_function(Pipe.try_write2)
