"""Echo server on trio: one task for each connection."""

import sys

import trio
from listening import at_once, listening  # type: ignore[import-not-found]  # beside this script


async def echo(stream: trio.SocketStream) -> None:
    """Send back what arrives, until the end of the stream."""
    at_once(stream.socket)
    async with stream:
        while data := await stream.receive_some(65536):
            await stream.send_all(data)


async def serve(where: str) -> None:
    """Accept for ever."""
    listener = listening(where)
    listener.setblocking(False)
    await trio.serve_listeners(echo, [trio.SocketListener(trio.socket.from_stdlib_socket(listener))])


if __name__ == "__main__":
    trio.run(serve, sys.argv[1])
