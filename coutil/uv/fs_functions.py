"""The functions of the file system under libuv's names. The first argument is a loop, or None to block the thread."""

from __future__ import annotations

from .fs import FS
from .request import on_loop

__all__ = [
    "fs_access",
    "fs_chmod",
    "fs_chown",
    "fs_close",
    "fs_copyfile",
    "fs_fchmod",
    "fs_fchown",
    "fs_fdatasync",
    "fs_fstat",
    "fs_fsync",
    "fs_ftruncate",
    "fs_futime",
    "fs_lchown",
    "fs_link",
    "fs_lstat",
    "fs_lutime",
    "fs_mkdir",
    "fs_mkdtemp",
    "fs_mkstemp",
    "fs_open",
    "fs_opendir",
    "fs_read",
    "fs_readinto",
    "fs_readlink",
    "fs_realpath",
    "fs_rename",
    "fs_rmdir",
    "fs_scandir",
    "fs_sendfile",
    "fs_stat",
    "fs_statfs",
    "fs_symlink",
    "fs_unlink",
    "fs_utime",
    "fs_write",
]


fs_access = on_loop(FS.access, FS, blocking=True)
fs_chmod = on_loop(FS.chmod, FS, blocking=True)
fs_chown = on_loop(FS.chown, FS, blocking=True)
fs_close = on_loop(FS.close, FS, blocking=True)
fs_copyfile = on_loop(FS.copyfile, FS, blocking=True)
fs_fchmod = on_loop(FS.fchmod, FS, blocking=True)
fs_fchown = on_loop(FS.fchown, FS, blocking=True)
fs_fdatasync = on_loop(FS.fdatasync, FS, blocking=True)
fs_fstat = on_loop(FS.fstat, FS, blocking=True)
fs_fsync = on_loop(FS.fsync, FS, blocking=True)
fs_ftruncate = on_loop(FS.ftruncate, FS, blocking=True)
fs_futime = on_loop(FS.futime, FS, blocking=True)
fs_lchown = on_loop(FS.lchown, FS, blocking=True)
fs_link = on_loop(FS.link, FS, blocking=True)
fs_lstat = on_loop(FS.lstat, FS, blocking=True)
fs_lutime = on_loop(FS.lutime, FS, blocking=True)
fs_mkdir = on_loop(FS.mkdir, FS, blocking=True)
fs_mkdtemp = on_loop(FS.mkdtemp, FS, blocking=True)
fs_mkstemp = on_loop(FS.mkstemp, FS, blocking=True)
fs_open = on_loop(FS.open, FS, blocking=True)
fs_opendir = on_loop(FS.opendir, FS, blocking=True)
fs_read = on_loop(FS.read, FS, blocking=True)
fs_readinto = on_loop(FS.readinto, FS, blocking=True)
fs_readlink = on_loop(FS.readlink, FS, blocking=True)
fs_realpath = on_loop(FS.realpath, FS, blocking=True)
fs_rename = on_loop(FS.rename, FS, blocking=True)
fs_rmdir = on_loop(FS.rmdir, FS, blocking=True)
fs_scandir = on_loop(FS.scandir, FS, blocking=True)
fs_sendfile = on_loop(FS.sendfile, FS, blocking=True)
fs_stat = on_loop(FS.stat, FS, blocking=True)
fs_statfs = on_loop(FS.statfs, FS, blocking=True)
fs_symlink = on_loop(FS.symlink, FS, blocking=True)
fs_unlink = on_loop(FS.unlink, FS, blocking=True)
fs_utime = on_loop(FS.utime, FS, blocking=True)
fs_write = on_loop(FS.write, FS, blocking=True)
