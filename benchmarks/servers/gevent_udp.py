"""UDP echo server on gevent: one greenlet answers everybody, with the socket that gevent gives."""

import socket
import sys

from gevent import socket as cooperative  # type: ignore[import-untyped]  # has no type information


def serve(port: int) -> None:
    """Answer for ever."""
    server = cooperative.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    while True:
        data, sender = server.recvfrom(65536)
        server.sendto(data, sender)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
