"""Echo server on coutil.uv: handlers that libuv's events call."""

import sys

from coutil import uv


def onread(stream: uv.TCP | uv.Pipe, err: Exception | None, data: bytes | None) -> None:
    """Send back what arrives."""
    if data:
        stream.write(data)
    else:
        stream.close_soon()


def onconnection(server: uv.TCP | uv.Pipe, err: Exception | None) -> None:
    """Begin to read."""
    if err is None:
        stream = server.__class__(server.loop)
        server.accept(stream)
        if isinstance(stream, uv.TCP):
            stream.nodelay()
        stream.onread = onread
        stream.read_start()


def serve(where: str) -> None:
    """Accept for ever, on a port or a path."""
    server = uv.TCP() if where.isdecimal() else uv.Pipe()
    if isinstance(server, uv.TCP):
        server.bind("127.0.0.1", int(where))
        where = f"127.0.0.1:{server.getsockname()[1]}"
    else:
        server.bind(where)
    server.onconnection = onconnection
    server.listen(1024)
    print(f"listening on {where}", flush=True)
    server.loop.run()


if __name__ == "__main__":
    serve(sys.argv[1])
