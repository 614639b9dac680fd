"""Echo server on trio: one task for each connection."""

import sys
from functools import partial
from socket import IPPROTO_TCP, TCP_NODELAY

import trio


async def echo(stream: trio.SocketStream) -> None:
    """Send back what arrives, until the end of the stream."""
    stream.setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    async with stream:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)


async def serve(port: int) -> None:
    """Accept for ever."""
    async with trio.open_nursery() as nursery:
        start = partial(trio.serve_tcp, echo, port, host="127.0.0.1", backlog=1024)
        listeners: list[trio.SocketListener] = await nursery.start(start)
        print(f"listening on 127.0.0.1:{listeners[0].socket.getsockname()[1]}", flush=True)


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]))
