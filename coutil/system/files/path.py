"""What can be done to files and folders by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ..._coroutines.outcomes import waits
from ..._libuv import lib
from ..._libuv.files import Call, encoded
from .file import File
from .request import Path, bits, done, flag, identity, like, moment, run

__all__ = [
    "copyfile",
    "grantfile",
    "linkfile",
    "makedir",
    "maketemp",
    "movefile",
    "ownfile",
    "removefile",
    "touchfile",
]

LONGEST_PREFIX = 249  # bytes
_CLONE = {None: 0, "try": lib.UV_FS_COPYFILE_FICLONE, "force": lib.UV_FS_COPYFILE_FICLONE_FORCE}


def linkfile(
    path: Path,
    dest: Path,
    *,
    symbolic: bool = False,
    directory: bool = False,
    junction: bool = False,
    blocking: bool = False,
) -> bool:
    """Make `dest` another name of the file `path`; return True.

    symbolic: make a symbolic link, which contains `path` as it is given. directory, junction: the same, of other kinds
    on Windows.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EEXIST, ENOENT (not if
    symbolic), EPERM, EXDEV, … Source: uv_fs_link, uv_fs_symlink.
    """
    flag(symbolic=symbolic, directory=directory, junction=junction)
    flags = lib.UV_FS_SYMLINK_JUNCTION if junction else lib.UV_FS_SYMLINK_DIR if directory else 0
    name = "symlink" if symbolic or directory or junction else "link"
    return _done(Call(name, path, dest, flags=flags), blocking)


def copyfile(
    path: Path,
    dest: Path,
    *,
    exclusive: bool = False,
    clone: Literal["try", "force"] | None = None,
    blocking: bool = False,
) -> bool:
    """Copy a file with its permissions; return True.

    It is copied to its end, whatever size the system tells; a pipe, until its last writer closes it. Copying a file to
    itself does nothing. A copy that fails is removed.
    exclusive: `dest` must not exist; otherwise it is overwritten. clone: let the two share their blocks until one is
    changed, if the file system can; "force": do not copy if it cannot.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EEXIST, EISDIR,
    ENOTSUP (forced), ENXIO (`dest` is a pipe that nobody reads), … If the wait is ended from outside, the copying stops
    and what there is of the copy is removed. Source: uv_fs_copyfile, copy_file_range(2), sendfile(2).
    """
    flag(exclusive=exclusive)
    if not isinstance(clone, str | None):
        raise TypeError(f"clone must be a string or None, not {clone!r}")
    if clone not in _CLONE:
        raise ValueError(f'clone must be "try", "force" or None, not {clone!r}')
    flags = _CLONE[clone] | (lib.UV_FS_COPYFILE_EXCL if exclusive else 0)
    return _done(Call("copyfile", path, dest, flags=flags), blocking)


def movefile(path: Path, dest: Path, *, blocking: bool = False) -> bool:
    """Give a file or folder another name, replacing what has it; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, ENOTDIR, ENOTEMPTY,
    EXDEV (another file system), … Source: uv_fs_rename.
    """
    return _done(Call("rename", path, dest), blocking)


def removefile(path: Path, *, directory: bool = False, blocking: bool = False) -> bool:
    """Remove a file, or with `directory` an empty folder; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EISDIR, ENOTDIR,
    ENOTEMPTY, … Source: uv_fs_unlink, uv_fs_rmdir.
    """
    flag(directory=directory)
    return _done(Call("rmdir" if directory else "unlink", path), blocking)


def makedir(path: Path, perm: int | str, *, blocking: bool = False) -> bool:
    """Make a folder with the permissions `perm` (see `grantfile`), less the process's umask; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EEXIST, ENOENT, … Source:
    uv_fs_mkdir.
    """
    return _done(Call("mkdir", path, mode=bits(perm)), blocking)


@waits
def maketemp(prefix: Path, *, want: str | Iterable[str] = (), blocking: bool = False) -> Any:
    """Make a folder, or a file, whose name is `prefix` (less than 250 bytes) and six random characters.

    want: nothing: make a folder (mode 0o700) and return its path. "path", "file", or several of them: make a file
    (mode 0o600) and return its path, the open `File`, or a tuple.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EACCES, EMFILE, …
    After an explicit resume, what was made stays, but not open. Source: uv_fs_mkdtemp, uv_fs_mkstemp.
    """
    if not isinstance(want, Iterable):
        raise TypeError(f"want must be a string or several of them, not {want!r}")
    wanted = (want,) if isinstance(want, str) else tuple(want)
    for one in wanted:
        if one not in ("path", "file"):
            raise ValueError(f'want must be "path", "file" or several of them, not {want!r}')
    template = encoded(prefix, "prefix")
    if len(template) > LONGEST_PREFIX:
        raise ValueError(f"prefix is longer than {LONGEST_PREFIX} bytes")
    call = Call("mkstemp" if wanted else "mkdtemp", template + b"XXXXXX")
    run(call, blocking)
    path = like(prefix, call.text())
    if not wanted:
        return path
    found = {"path": path}
    if "file" in wanted:
        found["file"] = File(call, repr(path), read=True, write=True)
    return found[wanted[0]] if len(wanted) == 1 else tuple(found[one] for one in wanted)


def touchfile(
    path: Path,
    *,
    atime: float | None = None,
    mtime: float | None = None,
    follow: bool = True,
    blocking: bool = False,
) -> bool:
    """Set the times of access and modification, now unless given (seconds since 1970, less than 0 before); return True.

    follow: those of the file that a symbolic link leads to, not those of the link.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EPERM, … Source:
    uv_fs_utime, uv_fs_lutime, utimensat(2).
    """
    flag(follow=follow)
    name = "utime" if follow else "lutime"
    return _done(Call(name, path, atime=moment("atime", atime), mtime=moment("mtime", mtime)), blocking)


def ownfile(path: Path, uid: int, gid: int, *, follow: bool = True, blocking: bool = False) -> bool:
    """Give a file to a user and a group, -1: leave it; return True.

    follow: the file that a symbolic link leads to, not the link.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EPERM, ENOENT, … Source:
    uv_fs_chown, uv_fs_lchown.
    """
    flag(follow=follow)
    name = "chown" if follow else "lchown"
    return _done(Call(name, path, uid=identity("uid", uid), gid=identity("gid", gid)), blocking)


def grantfile(path: Path, perm: int | str, *, blocking: bool = False) -> bool:
    """Set the permissions of a file; return True.

    perm: bits as in `filebits` (0o640), or letters: "rwx" for the owner, "RWX" for the group, "421" for all others, "U"
    and "G" for setuid and setgid, "S" for sticky ("rwR").
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EPERM, … Source:
    uv_fs_chmod.
    """
    return _done(Call("chmod", path, mode=bits(perm)), blocking)


def _done(call: Call, blocking: bool) -> bool:
    return done(call, blocking)
