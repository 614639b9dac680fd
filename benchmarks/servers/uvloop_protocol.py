"""Echo server on uvloop: a protocol, whose callbacks answer without any task."""

import asyncio
import sys
from socket import IPPROTO_TCP, TCP_NODELAY
from typing import cast

import uvloop


class Echo(asyncio.Protocol):
    """Send back what arrives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast(asyncio.Transport, transport)
        transport.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)

    def data_received(self, data: bytes) -> None:
        """Answer at once."""
        self.transport.write(data)


async def serve(port: int) -> None:
    """Accept for ever."""
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", port, backlog=1024)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
