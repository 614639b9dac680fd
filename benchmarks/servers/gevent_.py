"""Echo server on gevent: its StreamServer, one greenlet for each connection, raw recv and sendall."""

import sys
from socket import socket

from gevent import socket as cooperative  # type: ignore[import-untyped]  # has no type information
from gevent.server import StreamServer  # type: ignore[import-untyped]  # has no type information
from listening import at_once, listening  # type: ignore[import-not-found]  # beside this script


def echo(connection: socket, _address: object) -> None:
    """Send back what arrives, until the end of the stream; the StreamServer closes the connection."""
    at_once(connection)
    while data := connection.recv(65536):
        connection.sendall(data)


if __name__ == "__main__":
    listener = cooperative.socket(fileno=listening(sys.argv[1]).detach())
    StreamServer(listener, echo).serve_forever()
