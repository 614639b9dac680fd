"""Every method of every kind of socket, as a call that takes the socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from coutil import system
from tests.helpers.servers import loopback
from tests.helpers.tcp import BIG


def _send_file(made: Any) -> object:
    with system.openfile(__file__, blocking=True) as file:
        return made.send_file(file)


METHODS: dict[str, dict[str, Callable[[Any], object]]] = {
    "stream": {
        "bind": lambda made: made.bind(loopback(made.getdomain())),
        "buffered": lambda made: made.buffered().read(1),
        "connect": lambda made: made.connect(loopback(made.getdomain(), 1)),
        "lines": lambda made: next(made.lines()),
        "text": lambda made: made.text().readline(),
        "fileno": lambda made: made.fileno(),
        "getaddress": lambda made: made.getaddress(),
        "getaddress of the peer": lambda made: made.getaddress("peer"),
        "getaddress into": lambda made: made.getaddress("self", system.address(made.getdomain())),
        "receive": lambda made: made.receive(),
        "receive_into": lambda made: made.receive_into(bytearray(8)),
        "send": lambda made: made.send(b"data"),
        "send a bytearray": lambda made: made.send(bytearray(b"data")),
        "send nothing": lambda made: made.send(b""),
        "send much": lambda made: made.send(BIG),
        "keepalive": lambda made: made.setoption("keepalive", 3),
        "nodelay": lambda made: made.setoption("nodelay", True),
        "send_file": _send_file,
        "shutdown": lambda made: made.shutdown(),
    },
    "passive": {
        "accept": lambda made: made.accept(),
        "bind": lambda made: made.bind(loopback(made.getdomain())),
        "fileno": lambda made: made.fileno(),
        "getaddress": lambda made: made.getaddress(),
        "listen": lambda made: made.listen(3),
    },
    "datagram": {
        "bind": lambda made: made.bind(loopback(made.getdomain())),
        "bind reusing": lambda made: made.bind(loopback(made.getdomain()), reuse=True),
        "connect": lambda made: made.connect(loopback(made.getdomain(), 1)),
        "connect to nobody": lambda made: made.connect(),
        "fileno": lambda made: made.fileno(),
        "getaddress": lambda made: made.getaddress(),
        "getaddress of the peer": lambda made: made.getaddress("peer"),
        "receive": lambda made: made.receive(),
        "receive_into": lambda made: made.receive_into(bytearray(8)),
        "send": lambda made: made.send(b"data", loopback(made.getdomain(), 1)),
        "send a bytearray": lambda made: made.send(bytearray(b"data"), loopback(made.getdomain(), 1)),
        "setoption": lambda made: made.setoption("broadcast", True),
        "setoption ttl": lambda made: made.setoption("ttl", 3),
        "setoption interface": lambda made: made.setoption("mcastiface", None),
        "setoption join": lambda made: made.setoption("mcastjoin", "239.77.1.4"),
    },
}


def failure(call: Callable[..., object], *arguments: object) -> Exception | None:
    """Return the exception that a call raises, None if it raises none."""
    try:
        call(*arguments)
    except Exception as error:  # noqa: BLE001  # for the caller to look at
        return error
    return None
