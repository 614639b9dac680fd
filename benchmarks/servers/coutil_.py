"""Echo server on coutil: one coroutine for each connection, blocking style."""

import sys

from coutil import spawn, system


def echo(stream: system.StreamSocket) -> None:
    """Send back what arrives, until the end of the stream."""
    with stream:
        stream.setoption("nodelay", True)
        while data := stream.receive(65536):
            stream.send(data)


def serve(port: int) -> None:
    """Accept for ever."""
    server = system.socket("passive", "ipv4")
    server.bind(system.address("ipv4", "127.0.0.1", port))
    server.listen(1024)
    print(f"listening on 127.0.0.1:{server.getaddress().port}", flush=True)
    while True:
        spawn.call(echo, server.accept())


if __name__ == "__main__":
    serve(int(sys.argv[1]))
