"""Echo server on threads: one for each connection."""

import sys
from socket import socket
from threading import Thread

from listening import at_once, listening  # type: ignore[import-not-found]  # beside this script


def echo(connection: socket) -> None:
    """Send back what arrives, until the end of the stream."""
    with connection:
        at_once(connection)
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(where: str) -> None:
    """Accept for ever."""
    server = listening(where)
    while True:
        connection, _ = server.accept()
        Thread(target=echo, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    serve(sys.argv[1])
