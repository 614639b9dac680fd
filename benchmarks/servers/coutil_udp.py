"""UDP echo server on coutil: one coroutine answers everybody, blocking style."""

import sys

from coutil import system


def serve(port: int) -> None:
    """Answer for ever."""
    server = system.socket("datagram", "ipv4")
    server.bind(system.address("ipv4", "127.0.0.1", port))
    print(f"listening on 127.0.0.1:{server.getaddress().port}", flush=True)
    while True:
        data, sender = server.receive(65536)
        server.send(data, sender)


if __name__ == "__main__":
    serve(int(sys.argv[1]))
