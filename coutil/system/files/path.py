"""Functions on files and folders, which are given by their names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from ..._coroutines import waits
from ..._libuv import lib
from ..._libuv.arguments import check_choice
from ..._libuv.files import FsCall, encoded
from .call import Path, check_bool, mode_bits, owner_id, run_call, run_simple, same_type_as, timestamp
from .file import File

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

MAX_PREFIX = 249  # bytes
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

    symbolic: make a symbolic link, which contains `path` unchanged. directory, junction: the same, with other kinds of
    links on Windows.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EEXIST, ENOENT (not if
    symbolic), EPERM, EXDEV, … Source: uv_fs_link, uv_fs_symlink.
    """
    check_bool(symbolic=symbolic, directory=directory, junction=junction)
    flags = lib.UV_FS_SYMLINK_JUNCTION if junction else lib.UV_FS_SYMLINK_DIR if directory else 0
    name = "symlink" if symbolic or directory or junction else "link"
    return _run_simple(FsCall(name, path, dest, flags=flags), blocking)


def copyfile(
    path: Path,
    dest: Path,
    *,
    exclusive: bool = False,
    clone: Literal["try", "force"] | None = None,
    blocking: bool = False,
) -> bool:
    """Copy a file with its permissions; return True.

    The file is copied to its end, even if the system reports a smaller size; a pipe until its last writer closes it.
    Copying a file to itself does nothing. A copy that fails is removed.
    exclusive: `dest` must not exist; otherwise it is overwritten. clone: let the two files share their blocks until one
    is changed. "try": copy if the file system does not support this; "force": fail then.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EEXIST, EISDIR,
    ENOTSUP (forced), ENXIO (`dest` is a pipe without reader), … If the wait is ended from outside, the copying stops
    and the incomplete copy is removed. Source: uv_fs_copyfile, copy_file_range(2), sendfile(2).
    """
    check_bool(exclusive=exclusive)
    if clone is not None:
        check_choice("clone", clone, ("try", "force"), "a string or None")
    flags = _CLONE[clone] | (lib.UV_FS_COPYFILE_EXCL if exclusive else 0)
    return _run_simple(FsCall("copyfile", path, dest, flags=flags), blocking)


def movefile(path: Path, dest: Path, *, blocking: bool = False) -> bool:
    """Give a file or folder another name, replacing a file that has that name; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, ENOTDIR, ENOTEMPTY,
    EXDEV (another file system), … Source: uv_fs_rename.
    """
    return _run_simple(FsCall("rename", path, dest), blocking)


def removefile(path: Path, *, directory: bool = False, blocking: bool = False) -> bool:
    """Remove a file, or with `directory` an empty folder; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EISDIR, ENOTDIR,
    ENOTEMPTY, … Source: uv_fs_unlink, uv_fs_rmdir.
    """
    check_bool(directory=directory)
    return _run_simple(FsCall("rmdir" if directory else "unlink", path), blocking)


def makedir(path: Path, perm: int | str, *, blocking: bool = False) -> bool:
    """Make a folder with the permissions `perm` (see `grantfile`), without those in the umask; return True.

    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EEXIST, ENOENT, … Source:
    uv_fs_mkdir.
    """
    return _run_simple(FsCall("mkdir", path, mode=mode_bits(perm)), blocking)


@waits
def maketemp(prefix: Path, *, want: str | Iterable[str] = (), blocking: bool = False) -> Any:
    """Make a folder, or a file, whose name is `prefix` (less than 250 bytes) and six random characters.

    want: empty: make a folder (mode 0o700) and return its path. "path", "file", or several of them: make a file (mode
    0o600) and return its path, the open `File`, or a tuple.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EACCES, EMFILE, …
    After an explicit resume, whose value is returned, the file or folder remains, but is not open. Source:
    uv_fs_mkdtemp, uv_fs_mkstemp.
    """
    if not isinstance(want, Iterable):
        raise TypeError(f"want must be a string or several of them, not {want!r}")
    wanted = (want,) if isinstance(want, str) else tuple(want)
    for word in wanted:
        if word not in ("path", "file"):
            raise ValueError(f'want must be "path", "file" or several of them, not {want!r}')
    template = encoded(prefix, "prefix")
    if len(template) > MAX_PREFIX:
        raise ValueError(f"prefix is longer than {MAX_PREFIX} bytes")
    call = FsCall("mkstemp" if wanted else "mkdtemp", template + b"XXXXXX")
    run_call(call, blocking)
    path = same_type_as(prefix, call.text())
    if not wanted:
        return path
    results = {"path": path}
    if "file" in wanted:
        results["file"] = File(call, repr(path), read=True, write=True)
    return results[wanted[0]] if len(wanted) == 1 else tuple(results[word] for word in wanted)


def touchfile(
    path: Path,
    *,
    atime: float | None = None,
    mtime: float | None = None,
    follow: bool = True,
    blocking: bool = False,
) -> bool:
    """Set the times of access and modification of a file; return True.

    atime, mtime: seconds since 1970, negative before; None: now. follow: change the target of a symbolic link, not the
    link.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EPERM, … Source:
    uv_fs_utime, uv_fs_lutime, utimensat(2).
    """
    check_bool(follow=follow)
    name = "utime" if follow else "lutime"
    return _run_simple(FsCall(name, path, atime=timestamp("atime", atime), mtime=timestamp("mtime", mtime)), blocking)


def ownfile(path: Path, uid: int, gid: int, *, follow: bool = True, blocking: bool = False) -> bool:
    """Set the owner and the group of a file; return True.

    uid, gid: numbers; -1: do not change it. follow: change the target of a symbolic link, not the link.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: EPERM, ENOENT, … Source:
    uv_fs_chown, uv_fs_lchown.
    """
    check_bool(follow=follow)
    name = "chown" if follow else "lchown"
    return _run_simple(FsCall(name, path, uid=owner_id("uid", uid), gid=owner_id("gid", gid)), blocking)


def grantfile(path: Path, perm: int | str, *, blocking: bool = False) -> bool:
    """Set the permissions of a file; return True.

    perm: bits as in `filebits` (0o640), or letters ("rwR"): "rwx" for the owner, "RWX" for the group, "421" for all
    others, "U" and "G" for setuid and setgid, "S" for sticky.
    Suspends unless blocking. Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EPERM, … Source:
    uv_fs_chmod.
    """
    return _run_simple(FsCall("chmod", path, mode=mode_bits(perm)), blocking)


def _run_simple(call: FsCall, blocking: bool) -> bool:
    return run_simple(call, blocking)
