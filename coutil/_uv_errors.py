"""The errors of libuv and of the system, each a class named after it. Public as `coutil.errors`.

Rule 1: this file imports nothing of ours.
Rule 2: each is written out, so that type checkers and editors know it: all those of libuv (UV_ERRNO_MAP), and those of
the system that libuv has no name for, but that calls end with now and then. Others are made by `error_class`.
"""

from __future__ import annotations

from socket import gaierror

__all__ = [
    "E2BIG", "EACCES", "EADDRINUSE", "EADDRNOTAVAIL", "EAFNOSUPPORT", "EAGAIN", "EAI_ADDRFAMILY", "EAI_AGAIN",
    "EAI_BADFLAGS", "EAI_BADHINTS", "EAI_CANCELED", "EAI_FAIL", "EAI_FAMILY", "EAI_MEMORY", "EAI_NODATA",
    "EAI_NONAME", "EAI_OVERFLOW", "EAI_PROTOCOL", "EAI_SERVICE", "EAI_SOCKTYPE", "EALREADY", "EBADF", "EBADMSG",
    "EBUSY", "ECANCELED", "ECHARSET", "ECHILD", "ECONNABORTED", "ECONNREFUSED", "ECONNRESET", "EDEADLK",
    "EDESTADDRREQ", "EDOM", "EDQUOT", "EEXIST", "EFAULT", "EFBIG", "EFTYPE", "EHOSTDOWN", "EHOSTUNREACH", "EIDRM",
    "EILSEQ", "EINTR", "EINVAL", "EIO", "EISCONN", "EISDIR", "ELOOP", "EMFILE", "EMLINK", "EMSGSIZE", "EMULTIHOP",
    "ENAMETOOLONG", "ENETDOWN", "ENETUNREACH", "ENFILE", "ENOBUFS", "ENODATA", "ENODEV", "ENOENT", "ENOEXEC",
    "ENOLCK", "ENOLINK", "ENOMEM", "ENOMSG", "ENONET", "ENOPROTOOPT", "ENOSPC", "ENOSYS", "ENOTCONN", "ENOTDIR",
    "ENOTEMPTY", "ENOTSOCK", "ENOTSUP", "ENOTTY", "ENXIO", "EOF", "EOVERFLOW", "EPERM", "EPFNOSUPPORT", "EPIPE",
    "EPROTO", "EPROTONOSUPPORT", "EPROTOTYPE", "ERANGE", "EREMOTEIO", "EROFS", "ESHUTDOWN", "ESOCKTNOSUPPORT",
    "ESPIPE", "ESRCH", "ESTALE", "ETIME", "ETIMEDOUT", "ETXTBSY", "EUCLEAN", "EUNATCH", "EUSERS", "EXDEV", "UNKNOWN",
    "CoutilError", "OperationCancelled", "UVError",
]  # fmt: skip  # one line for each name would double the file


class CoutilError(Exception):
    """Base of every class of this module but `Cancelled`."""


class UVError(CoutilError, OSError):
    """A call of libuv failed.

    `name`: libuv's name of the error ("ECONNREFUSED"). `code`: libuv's negative number.
    `errno`: the positive number of the system, or `code` where the system has none (EOF, EAI_*).
    `syscall`: the C function that failed. `filename`, `filename2`: as in `OSError`; for sockets the local address and
    the peer's, or the only one that is known: of `connect` and `bind` the address that they were given.
    """

    name = "UNKNOWN"
    code = 0
    syscall = ""

    def __str__(self) -> str:
        """Name, text, call and files: what a log line needs."""
        files = " -> ".join(repr(name) for name in (self.filename, self.filename2) if name is not None)
        return f"{self.name}: {self.strerror}" + f" ({self.syscall})" * bool(self.syscall) + f": {files}" * bool(files)


class OperationCancelled(UVError):
    """libuv gave the operation up (ECANCELED; look-ups: EAI_CANCELED), for instance because its stream was closed."""

    name = "ECANCELED"


class E2BIG(UVError):
    """Argument list too long."""


class EACCES(UVError, PermissionError):
    """Permission denied."""


class EADDRINUSE(UVError):
    """Address already in use."""


class EADDRNOTAVAIL(UVError):
    """Address not available."""


class EAFNOSUPPORT(UVError):
    """Address family not supported."""


class EAGAIN(UVError, BlockingIOError):
    """Resource temporarily unavailable."""


class EAI_ADDRFAMILY(UVError, gaierror):
    """Address family not supported."""


class EAI_AGAIN(UVError, gaierror):
    """Temporary failure."""


class EAI_BADFLAGS(UVError, gaierror):
    """Bad ai_flags value."""


class EAI_BADHINTS(UVError, gaierror):
    """Invalid value for hints."""


class EAI_CANCELED(OperationCancelled, gaierror):
    """Request canceled."""


class EAI_FAIL(UVError, gaierror):
    """Permanent failure."""


class EAI_FAMILY(UVError, gaierror):
    """ai_family not supported."""


class EAI_MEMORY(UVError, gaierror):
    """Out of memory."""


class EAI_NODATA(UVError, gaierror):
    """No address."""


class EAI_NONAME(UVError, gaierror):
    """Unknown node or service."""


class EAI_OVERFLOW(UVError, gaierror):
    """Argument buffer overflow."""


class EAI_PROTOCOL(UVError, gaierror):
    """Resolved protocol is unknown."""


class EAI_SERVICE(UVError, gaierror):
    """Service not available for socket type."""


class EAI_SOCKTYPE(UVError, gaierror):
    """Socket type not supported."""


class EALREADY(UVError, BlockingIOError):
    """Connection already in progress."""


class EBADF(UVError):
    """Bad file descriptor."""


class EBADMSG(UVError):
    """Bad message."""


class EBUSY(UVError):
    """Resource busy or locked."""


ECANCELED = OperationCancelled


class ECHARSET(UVError):
    """Invalid Unicode character."""


class ECHILD(UVError, ChildProcessError):
    """No child processes."""


class ECONNABORTED(UVError, ConnectionAbortedError):
    """Software caused connection abort."""


class ECONNREFUSED(UVError, ConnectionRefusedError):
    """Connection refused."""


class ECONNRESET(UVError, ConnectionResetError):
    """Connection reset by peer."""


class EDEADLK(UVError):
    """Resource deadlock avoided."""


class EDESTADDRREQ(UVError):
    """Destination address required."""


class EDOM(UVError):
    """Numerical argument out of domain."""


class EDQUOT(UVError):
    """Disk quota exceeded."""


class EEXIST(UVError, FileExistsError):
    """File already exists."""


class EFAULT(UVError):
    """Bad address in system call argument."""


class EFBIG(UVError):
    """File too large."""


class EFTYPE(UVError):
    """Inappropriate file type or format."""


class EHOSTDOWN(UVError):
    """Host is down."""


class EHOSTUNREACH(UVError):
    """Host is unreachable."""


class EIDRM(UVError):
    """Identifier removed."""


class EILSEQ(UVError):
    """Illegal byte sequence."""


class EINTR(UVError, InterruptedError):
    """Interrupted system call."""


class EINVAL(UVError):
    """Invalid argument."""


class EIO(UVError):
    """I/O error."""


class EISCONN(UVError):
    """Socket is already connected."""


class EISDIR(UVError, IsADirectoryError):
    """Illegal operation on a directory."""


class ELOOP(UVError):
    """Too many symbolic links encountered."""


class EMFILE(UVError):
    """Too many open files."""


class EMLINK(UVError):
    """Too many links."""


class EMSGSIZE(UVError):
    """Message too long."""


class EMULTIHOP(UVError):
    """Multihop attempted."""


class ENAMETOOLONG(UVError):
    """Name too long."""


class ENETDOWN(UVError):
    """Network is down."""


class ENETUNREACH(UVError):
    """Network is unreachable."""


class ENFILE(UVError):
    """File table overflow."""


class ENOBUFS(UVError):
    """No buffer space available."""


class ENODATA(UVError):
    """No data available."""


class ENODEV(UVError):
    """No such device."""


class ENOENT(UVError, FileNotFoundError):
    """No such file or directory."""


class ENOEXEC(UVError):
    """Exec format error."""


class ENOLCK(UVError):
    """No locks available."""


class ENOLINK(UVError):
    """Link has been severed."""


class ENOMEM(UVError):
    """Not enough memory."""


class ENOMSG(UVError):
    """No message of desired type."""


class ENONET(UVError):
    """Machine is not on the network."""


class ENOPROTOOPT(UVError):
    """Protocol not available."""


class ENOSPC(UVError):
    """No space left on device."""


class ENOSYS(UVError):
    """Function not implemented."""


class ENOTCONN(UVError):
    """Socket is not connected."""


class ENOTDIR(UVError, NotADirectoryError):
    """Not a directory."""


class ENOTEMPTY(UVError):
    """Directory not empty."""


class ENOTSOCK(UVError):
    """Socket operation on non-socket."""


class ENOTSUP(UVError):
    """Operation not supported on socket."""


class ENOTTY(UVError):
    """Inappropriate ioctl for device."""


class ENXIO(UVError):
    """No such device or address."""


class EOF(UVError, EOFError):
    """End of file."""


class EOVERFLOW(UVError):
    """Value too large for defined data type."""


class EPERM(UVError, PermissionError):
    """Operation not permitted."""


class EPFNOSUPPORT(UVError):
    """Protocol family not supported."""


class EPIPE(UVError, BrokenPipeError):
    """Broken pipe."""


class EPROTO(UVError):
    """Protocol error."""


class EPROTONOSUPPORT(UVError):
    """Protocol not supported."""


class EPROTOTYPE(UVError):
    """Protocol wrong type for socket."""


class ERANGE(UVError):
    """Result too large."""


class EREMOTEIO(UVError):
    """Remote I/O error."""


class EROFS(UVError):
    """Read-only file system."""


class ESHUTDOWN(UVError, BrokenPipeError):
    """Cannot send after transport endpoint shutdown."""


class ESOCKTNOSUPPORT(UVError):
    """Socket type not supported."""


class ESPIPE(UVError):
    """Invalid seek."""


class ESRCH(UVError, ProcessLookupError):
    """No such process."""


class ESTALE(UVError):
    """Stale file handle."""


class ETIME(UVError):
    """Timer expired."""


class ETIMEDOUT(UVError, TimeoutError):
    """Connection timed out."""


class ETXTBSY(UVError):
    """Text file is busy."""


class EUCLEAN(UVError):
    """Structure needs cleaning."""


class EUNATCH(UVError):
    """Protocol driver not attached."""


class EUSERS(UVError):
    """Too many users."""


class EXDEV(UVError):
    """Cross-device link not permitted."""


class UNKNOWN(UVError):
    """Unknown error."""


def error_class(name: str) -> type[UVError]:
    """Return the class of the error `name` (str, "ECONNREFUSED"), the same each time, named after the error."""
    found = _classes.get(name)
    if found is None:
        found = _classes[name] = type(name, (UVError,), {"__doc__": f"The system's {name}."})
        _complete(name, found)
    return found


def _complete(name: str, made: type[UVError]) -> None:
    """Have an error show its name, and be found by pickle where it is public."""
    made.name, made.__module__ = name, "coutil.errors"


_classes = {name: value for name, value in globals().items() if isinstance(value, type) and issubclass(value, UVError)}
for _name, _class in _classes.items():
    if _name.isupper():
        _complete(_name, _class)
CoutilError.__module__ = UVError.__module__ = OperationCancelled.__module__ = "coutil.errors"
