"""Unix sockets."""

from __future__ import annotations

import os
from typing import Any, Literal

from ..._coroutines import waits
from ..._kernel import KernelHandle, current_operation
from ..._libuv import error, lib
from ..._libuv.arguments import check_choice
from ..._libuv.buffers import read_into_buffer
from ..._libuv.endpoints import endpoint_texts
from ..._libuv.files import Path
from ...errors import UVError
from .base import OpenSpec
from .bytestream import ByteStream, Listener, accept_spec
from .socket import Socket, check_site

__all__ = ["LocalDomain", "LocalPassiveSocket", "LocalSocket", "LocalStreamSocket"]

LocalDomain = Literal["local", "share"]

_PAUSES = (1_000_000, 50_000_000)  # nanoseconds between attempts to connect to a full listener: first, longest


class LocalSocket(Socket):
    """The base of Unix sockets.

    An address is a path (str, bytes or os.PathLike), or on Linux an abstract name, which begins with a null character
    and may contain more of them.
    """

    __slots__ = ()
    _domain: LocalDomain

    def getdomain(self) -> LocalDomain:
        """Return "local" or "share"."""
        return self._domain

    def bind(self, address: Path) -> bool:
        """Bind to a path or an abstract name; return True. A path must not exist; closing the socket removes it.

        Raises TypeError, ValueError (empty, or a path with a null character), `Closed`, or `UVError`: ENAMETOOLONG
        (more than 107 bytes on Linux), EADDRINUSE, EACCES, ENOENT, EINVAL (bound already). Source: bind(2).
        """
        name, handle = _check_address(address, "bind"), self._handle
        code = lib.co_local_bind(handle.pointer, handle.slot, name, len(name))
        if code < 0:
            raise _error_with_name(handle, code, "bind", name)
        return True

    def getaddress(self, site: Literal["self", "peer"] | None = "self") -> str:
        """Return the local address, or the peer's; "" if it has none, as usually on the side that has connected.

        Raises TypeError, ValueError (bad site), `Closed`, or `UVError`: ENOTCONN. Source: getsockname(2).
        """
        peer = check_site(site) == "peer"
        name = self._bytes(peer)
        if not isinstance(name, bytes):
            raise self._handle.call_error(name, "getpeername" if peer else "getsockname")
        return os.fsdecode(name)

    def setoption(self, name: Literal["permission"], value: Literal["r", "w", "rw"]) -> bool:
        """Set an option; return True.

        "permission": let all users read ("r"), write ("w") or both ("rw") the path that the socket is bound to.
        Raises TypeError, ValueError, `Closed`, or `UVError`: EBADF (not bound), EPERM. Source: uv_pipe_chmod.
        """
        check_choice("name", name, ("permission",))
        check_choice("value of permission", value, ("r", "w", "rw", "wr"))
        self._call(lib.co_local_permit, "uv_pipe_chmod", "r" in value, "w" in value)
        return True

    def _name(self, site: str) -> str | None:
        name = self._bytes(site == "peer")
        return os.fsdecode(name) if isinstance(name, bytes) else None

    def _bytes(self, peer: bool) -> bytes | int:
        """Return a name, or libuv's code."""
        handle = self._handle

        def fill(memory: Any, size: int) -> int:
            code: int = lib.co_local_name(handle.pointer, handle.slot, peer, memory, size)
            return code

        return read_into_buffer(fill, lib.CO_SUN_PATH + 1)


class LocalStreamSocket(LocalSocket, ByteStream):
    """One end of a connection within the machine.

    One coroutine at a time may receive; any number may send, their data follow one another in the order of the calls.
    """

    __slots__ = ()
    _kind = "stream"

    def __init__(self, domain: LocalDomain, opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        super().__init__(domain, *(opening or _new(domain)))
        if opening is not None:
            self._handle.remember_addresses()

    @waits
    def connect(self, address: Path) -> bool:
        """Connect to `address`; return True, or the value of an explicit resume. Suspends.

        While the queue of the listener is full the call tries again, first after 1 ms, finally every 50 ms.
        Raises TypeError, ValueError, `Closed`, or `UVError`: ENAMETOOLONG, ENOENT, ECONNREFUSED, EACCES, EISCONN,
        ECANCELED (closed during the wait), … Source: connect(2).
        """
        name, handle = _check_address(address, "connect"), self._handle
        what = f"connect to {os.fsdecode(name)!r}"

        def failed(code: int, syscall: str) -> Exception:
            return _error_with_name(handle, code, syscall, name)

        pause, longest = _PAUSES
        while True:
            try:
                self._request(what, lib.co_local_connect, "connect", name, len(name), make_error=failed)
                self._handle.remember_addresses()
                return True
            except UVError as error:
                if error.code != lib.UV_EAGAIN:
                    raise
            current_operation().sleep(pause)
            pause = min(pause * 2, longest)


class LocalPassiveSocket(LocalSocket, Listener):
    """A socket that listens for connections within the machine."""

    __slots__ = ("_listening",)
    _kind = "passive"

    def __init__(self, domain: LocalDomain, opening: OpenSpec | None = None) -> None:
        """Open a socket, or take over one that exists. Raises `UVError`."""
        self._listening = False
        super().__init__(domain, *(opening or _new("local")))  # libuv's share handles cannot listen

    @waits
    def accept(self) -> LocalStreamSocket:
        """Wait for a connection and return it. Suspends unless one is there already.

        While the process is out of descriptors or memory, the caller waits, and connections wait in the system's
        queue; accepting is retried every 100 ms. An error of a single connection is ignored.
        Raises `Closed`, ValueError (not listening), `BusyError`, `ForeignThread`, `NotYieldable`, or `UVError`: EINVAL
        (the socket was shut down), EBADF (its descriptor was closed by other code). Source: accept4(2).
        """
        self._accept()
        return LocalStreamSocket(self._domain, accept_spec(self._handle))


def _new(domain: LocalDomain) -> OpenSpec:
    share = domain == "share"
    return lambda loop, slot, generation: lib.co_local_new(loop, slot, generation, share), "uv_pipe_init", None


def _check_address(address: Path, syscall: str) -> bytes:
    """Return the bytes of a path or abstract name. Raises TypeError, ValueError, or `UVError`: ENAMETOOLONG."""
    if not isinstance(address, str | bytes | os.PathLike):
        raise TypeError(f"address must be a path (str, bytes or os.PathLike), not {address!r}")
    name = os.fsencode(address)
    abstract = name.startswith(b"\0")
    if not name:
        raise ValueError("address must not be empty")
    if b"\0" in name and not abstract:
        raise ValueError(f"address has a null character inside a path: {address!r}")
    if len(name) > lib.CO_SUN_PATH + abstract:
        raise error(lib.UV_ENAMETOOLONG, syscall, os.fsdecode(name))
    return name


def _error_with_name(handle: KernelHandle, code: int, syscall: str, name: bytes) -> Exception:
    """Return the exception for `code` of a call about the address `name`; it also names the local one, if any."""
    if code == lib.CO_FOREIGN or handle.closed:
        return handle.call_error(code, syscall)
    local = endpoint_texts(handle.addresses())[0] if syscall == "connect" else None
    return error(code, syscall, *((os.fsdecode(name),) if local is None else (local, os.fsdecode(name))))
