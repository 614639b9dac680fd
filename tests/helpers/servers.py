"""Listeners on the loopback and on Unix paths. Scripts that tests run in other processes import this, too."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from itertools import count
from typing import Any

from coutil import system
from coutil.system import PassiveSocket

__all__ = ["LITERAL", "listening", "listening_tcp", "local_path", "loopback"]

LITERAL = {"ipv4": "127.0.0.1", "ipv6": "::1"}

_numbers = count()


@cache
def _folder() -> str:
    """Return a folder for Unix sockets, which is removed at the end of the process."""
    path = tempfile.mkdtemp(prefix="coutil-")
    atexit.register(shutil.rmtree, path, ignore_errors=True)
    return path


def local_path() -> str:
    """Return a path that no socket has had yet."""
    return f"{_folder()}/{next(_numbers)}"


def loopback(domain: str, port: int = 0) -> Any:
    """Return an address of the loopback; port 0 lets the system choose. For Unix sockets: a new path."""
    return local_path() if domain in ("local", "share") else system.address(domain, LITERAL[domain], port)


def listening(domain: str = "ipv4", backlog: int = 3) -> PassiveSocket:
    """Return a socket of coutil.system that listens on a free port, or at a new path."""
    server = system.socket("passive", domain)
    server.bind(loopback(domain))
    server.listen(backlog)
    return server


def listening_tcp(loop: Any, host: str = "127.0.0.1", **options: Any) -> Any:
    """Return a handle of coutil.uv that listens on a free port. options: those of its `bind`."""
    from coutil import uv  # scripts for coutil.system do without it

    server = uv.TCP(loop)
    server.bind(host, 0, **options)
    server.listen()
    return server
