"""The results of stat(2), in libuv's form."""

from __future__ import annotations

from typing import Any, NamedTuple

__all__ = ["Stat", "stat_of"]

Time = tuple[int, int]  # seconds since 1970, and nanoseconds


class Stat(NamedTuple):
    """The fields of uv_stat_t. A time is a pair: seconds since 1970, and nanoseconds."""

    dev: int
    mode: int  # type and permissions
    nlink: int
    uid: int
    gid: int
    rdev: int
    ino: int
    size: int  # bytes
    blksize: int
    blocks: int  # of 512 bytes
    flags: int  # 0 where the system has none, as `gen`
    gen: int
    atim: Time  # last access
    mtim: Time  # last modification of the data
    ctim: Time  # last change of anything
    birthtim: Time  # creation, (0, 0) where the system does not know


def stat_of(stat: Any) -> Stat:
    """Return the fields of a uv_stat_t."""
    return Stat(
        *(stat.st_dev, stat.st_mode, stat.st_nlink, stat.st_uid, stat.st_gid, stat.st_rdev, stat.st_ino, stat.st_size),
        *(stat.st_blksize, stat.st_blocks, stat.st_flags, stat.st_gen),
        *(_time(stat.st_atim), _time(stat.st_mtim), _time(stat.st_ctim), _time(stat.st_birthtim)),
    )


def _time(time: Any) -> Time:
    return time.tv_sec, time.tv_nsec
