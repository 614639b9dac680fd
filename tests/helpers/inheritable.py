"""Descriptors that children would get, and those that they have got."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

LISTING = "for fd in /proc/$$/fd/*; do test -e $fd && echo ${fd##*/}; done"  # for a shell, but that of the listing


def descriptors_of(start: Callable[[IO[bytes]], Any]) -> list[int]:
    """Return the numbers of a child's descriptors above 2.

    start: called with the file that the child has to write LISTING to; waits for its end.
    """
    reader, writer = os.pipe()
    with open(writer, "wb") as file:
        start(file)
    with open(reader, encoding="ascii") as told:
        return sorted(map(int, told.read().split()))[3:]


@contextmanager
def inheritable() -> Iterator[tuple[int, int]]:
    """Have two descriptors here that children would get, a low one and a high one; return them."""
    low = os.open("/dev/null", os.O_RDONLY)
    high = fcntl.fcntl(low, fcntl.F_DUPFD, 300)
    os.set_inheritable(low, True)
    try:
        yield low, high
    finally:
        os.close(low)
        os.close(high)
