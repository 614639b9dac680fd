"""Echo server on threads: one for each connection."""

import socket
import sys
from threading import Thread


def echo(connection: socket.socket) -> None:
    """Send back what arrives, until the end of the stream."""
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(65536):
            connection.sendall(data)


def serve(port: int) -> None:
    """Accept for ever."""
    server = socket.create_server(("127.0.0.1", port), backlog=1024)
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    while True:
        connection, _ = server.accept()
        Thread(target=echo, args=(connection,), daemon=True).start()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
