"""UDP echo server on plain blocking sockets: it can do nothing else meanwhile."""

import socket
import sys


def serve(port: int) -> None:
    """Answer for ever."""
    server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    server.bind(("127.0.0.1", port))
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    while True:
        data, sender = server.recvfrom(65536)
        server.sendto(data, sender)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
