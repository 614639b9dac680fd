"""Echo server on gevent: its StreamServer, one greenlet for each connection, raw recv and sendall."""

import sys
from socket import IPPROTO_TCP, TCP_NODELAY, socket

from gevent.server import StreamServer  # type: ignore[import-untyped]  # has no type information


def echo(connection: socket, _address: object) -> None:
    """Send back what arrives, until the end of the stream; the StreamServer closes the connection."""
    connection.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while data := connection.recv(65536):
        connection.sendall(data)


def serve(port: int) -> None:
    """Accept for ever."""
    server = StreamServer(("127.0.0.1", port), echo, backlog=1024)
    server.start()
    print(f"listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
