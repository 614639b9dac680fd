"""Echo server on coutil.uv: handlers that libuv's events call."""

import sys

from coutil import uv


def onread(stream: uv.TCP, err: Exception | None, data: bytes | None) -> None:
    """Send back what arrives."""
    if data:
        stream.write(data)
    else:
        stream.close_soon()


def onconnection(server: uv.TCP, err: Exception | None) -> None:
    """Begin to read."""
    if err is None:
        stream = uv.TCP(server.loop)
        server.accept(stream)
        stream.nodelay()
        stream.onread = onread
        stream.read_start()


def serve(port: int) -> None:
    """Accept for ever."""
    server = uv.TCP()
    server.bind("127.0.0.1", port)
    server.onconnection = onconnection
    server.listen(1024)
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    server.loop.run()


if __name__ == "__main__":
    serve(int(sys.argv[1]))
