"""What the servers of the standard library's kind listen on: a TCP port of this machine, or the path of a Unix socket."""

from socket import AF_INET, AF_UNIX, IPPROTO_TCP, TCP_NODELAY, socket

BACKLOG = 1024


def listening(where: str) -> socket:
    """Return a socket that listens, having said so: on a port, 0 for any, or on a path, which begins with a slash."""
    local = where.startswith("/")
    listener = socket(AF_UNIX if local else AF_INET)
    listener.bind(where if local else ("127.0.0.1", int(where)))
    listener.listen(BACKLOG)
    print(f"listening on {where}" if local else "listening on {}:{}".format(*listener.getsockname()), flush=True)
    return listener


def at_once(connection: socket) -> None:
    """Have small messages sent at once, by TCP; Unix sockets do that anyway."""
    if connection.family == AF_INET:
        connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
