"""Information about files: numbers, times, permissions, and the file system that they are on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple, overload

from ..._coroutines import waits
from ..._libuv.files import FsCall
from ...errors import UVError
from .call import Path, check_bool, filebits, run_call, same_type_as

__all__ = ["ALL", "STAT", "FileInfo", "check_names", "fields", "fileinfo", "of_stat"]

TYPES = {
    filebits.file: "file",
    filebits.directory: "directory",
    filebits.link: "link",
    filebits.pipe: "pipe",
    filebits.socket: "socket",
    filebits.character: "character",
    filebits.block: "block",
}
PERMISSIONS = (
    *("setuid", "setgid", "sticky", "ruser", "wuser", "xuser", "rgroup", "wgroup", "xgroup"),
    *("rother", "wother", "xother"),
)
SYSTEMS = {  # statfs(2)
    0x0187: "autofs",
    0x1021994: "tmpfs",
    0x1CD1: "devpts",
    0x27E0EB: "cgroup",
    0x2FC12FC1: "zfs",
    0x3434: "nilfs",
    0x4D44: "msdos",
    0x517B: "smb",
    0x58465342: "xfs",
    0x5346544E: "ntfs",
    0x62656572: "sysfs",
    0x63677270: "cgroup2",
    0x6969: "nfs",
    0x65735546: "fuse",
    0x73717368: "squashfs",
    0x794C7630: "overlayfs",
    0x858458F6: "ramfs",
    0x9123683E: "btrfs",
    0x9660: "iso9660",
    0x9FA0: "proc",
    0xEF53: "ext",
    0xF2F52010: "f2fs",
    0xFE534D42: "smb2",
    0xFF534D42: "cifs",
}


class FileInfo(NamedTuple):
    """The results of stat(2) for a file. Times are seconds since 1970."""

    type: str  # "file", "directory", "link", "pipe", "socket", "character", "block" or "unknown"
    mode: int  # type and permissions, as in `filebits`
    uid: int
    gid: int
    inode: int
    device: int
    rdev: int
    links: int
    size: int  # bytes
    blocks: int  # of 512 bytes
    blocksize: int
    flags: int  # set by the user; 0 where the system has none
    version: int
    atime: float  # last access
    mtime: float  # last modification of the data
    ctime: float  # last change of anything
    birthtime: float  # creation, 0 where the system does not know


STAT = frozenset((*FileInfo._fields, *PERMISSIONS))
_STATFS: dict[str, Callable[[Any], Any]] = {
    "fstype": lambda statfs: SYSTEMS.get(statfs.f_type, "unknown"),
    "fsid": lambda statfs: int(statfs.f_type),
    "fsblocksize": lambda statfs: int(statfs.f_bsize),
    "fsblocks": lambda statfs: int(statfs.f_blocks),
    "fsfree": lambda statfs: int(statfs.f_bfree),
    "fsavailable": lambda statfs: int(statfs.f_bavail),
    "fsinodes": lambda statfs: int(statfs.f_files),
    "fsinodesfree": lambda statfs: int(statfs.f_ffree),
}
ALL = STAT | frozenset(_STATFS) | {"realpath", "target"}


# The names that `fileinfo` and `File.info` take, by the types of their values.
Number = Literal[
    "mode", "uid", "gid", "inode", "device", "rdev", "links", "size", "blocks", "blocksize", "flags", "version"
]
Time = Literal["atime", "mtime", "ctime", "birthtime"]
Permission = Literal[
    "setuid", "setgid", "sticky", "ruser", "wuser", "xuser", "rgroup", "wgroup", "xgroup", "rother", "wother", "xother"
]
SystemNumber = Literal["fsid", "fsblocksize", "fsblocks", "fsfree", "fsavailable", "fsinodes", "fsinodesfree"]


def check_names(names: tuple[str, ...], known: Collection[str]) -> None:
    """Raise TypeError or ValueError unless all names are known."""
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f"names must be strings, not {name!r}")
        if name not in known:
            raise ValueError(f"{name!r} is not one of the names {', '.join(sorted(known))}")


def fields(names: tuple[str, ...], info: FileInfo) -> Any:
    """Return the fields of `info` that `names` select: all of it, one value, or a tuple."""
    return chosen(names, values_of(info)) if names else info


def chosen(names: tuple[str, ...], values: dict[str, Any]) -> Any:
    """Return the value of one name, or a tuple for several."""
    return values[names[0]] if len(names) == 1 else tuple(values[name] for name in names)


def values_of(info: FileInfo) -> dict[str, Any]:
    """Return all values that `info` contains, by name."""
    return info._asdict() | {name: bool(info.mode & getattr(filebits, name)) for name in PERMISSIONS}


def of_stat(stat: Any) -> FileInfo:
    """Return the fields of a uv_stat_t."""
    mode = stat.st_mode
    return FileInfo(
        TYPES.get(mode & filebits.type, "unknown"),
        mode,
        *(stat.st_uid, stat.st_gid, stat.st_ino, stat.st_dev, stat.st_rdev, stat.st_nlink, stat.st_size),
        *(stat.st_blocks, stat.st_blksize, stat.st_flags, stat.st_gen),
        *(_seconds(stat.st_atim), _seconds(stat.st_mtim), _seconds(stat.st_ctim), _seconds(stat.st_birthtim)),
    )


def _seconds(time: Any) -> float:
    seconds: float = time.tv_sec + time.tv_nsec / 1e9
    return seconds


@overload
def fileinfo(path: Path, *, follow: bool = True, blocking: bool = False) -> FileInfo: ...
@overload
def fileinfo(path: Path, name: Number | SystemNumber, /, *, follow: bool = True, blocking: bool = False) -> int: ...
@overload
def fileinfo(path: Path, name: Time, /, *, follow: bool = True, blocking: bool = False) -> float: ...
@overload
def fileinfo(path: Path, name: Permission, /, *, follow: bool = True, blocking: bool = False) -> bool: ...
@overload
def fileinfo(path: Path, name: Literal["type", "fstype"], /, *, follow: bool = True, blocking: bool = False) -> str: ...
@overload
def fileinfo(
    path: str | os.PathLike[str], name: Literal["realpath"], /, *, follow: bool = True, blocking: bool = False
) -> str: ...
@overload
def fileinfo(
    path: str | os.PathLike[str], name: Literal["target"], /, *, follow: bool = True, blocking: bool = False
) -> str | None: ...
@overload
def fileinfo(path: Path, *names: str, follow: bool = True, blocking: bool = False) -> Any: ...


@waits
def fileinfo(path: Path, *names: str, follow: bool = True, blocking: bool = False) -> Any:
    """Return information about a file: a `FileInfo`; if `names` are given, one value, or a tuple of several.

    names: the fields of `FileInfo`; permissions like "wgroup", named as in `filebits`, which are bools; "realpath": the
    absolute path without links; "target": the path in a symbolic link, otherwise None; and about the file system
    "fstype" ("ext", "tmpfs", …, "unknown"), "fsid", "fsblocksize", "fsblocks", "fsfree", "fsavailable" (to users
    without privileges), "fsinodes", "fsinodesfree".
    follow: examine the target of a symbolic link, not the link.
    blocking: stop the whole thread instead of the calling coroutine. Suspends unless blocking, once for each system
    call that is needed.
    Raises TypeError, ValueError, `NotYieldable`, or `UVError`: ENOENT, EACCES, ELOOP, ENOTDIR, …
    Source: uv_fs_stat, uv_fs_lstat, uv_fs_statfs, uv_fs_realpath, uv_fs_readlink.
    """
    check_bool(follow=follow, blocking=blocking)
    check_names(names, ALL)
    # Each of the system calls is made only if a name needs it.
    wanted, values = set(names), {}
    if not names or wanted & STAT:
        call = FsCall("stat" if follow else "lstat", path)
        run_call(call, blocking)
        info = of_stat(call.stat)
        if not names:
            return info
        values = values_of(info)
    if wanted & _STATFS.keys():
        call = FsCall("statfs", path)
        run_call(call, blocking)
        values |= {name: get(call.statfs) for name, get in _STATFS.items()}
    for name, kind in (("realpath", "realpath"), ("target", "readlink")):
        if name in wanted:
            call = FsCall(kind, path)
            _run_link(call, blocking)
            values[name] = same_type_as(path, call.text()) if call.code >= 0 else None
    return chosen(names, values)


def _run_link(call: FsCall, blocking: bool) -> None:
    try:
        run_call(call, blocking)
    except UVError as error:
        if not (call.name == "readlink" and error.name == "EINVAL" and error.code == call.code):  # it is no link
            raise
