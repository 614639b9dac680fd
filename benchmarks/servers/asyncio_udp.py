"""UDP echo server on asyncio, or on uvloop (ECHO_LOOP=uvloop): a protocol, whose callbacks answer without any task."""

import asyncio
import os
import sys
from typing import cast


class Echo(asyncio.DatagramProtocol):
    """Send back what arrives."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport to write to."""
        self.transport = cast(asyncio.DatagramTransport, transport)

    def datagram_received(self, data: bytes, sender: tuple[str, int]) -> None:
        """Answer at once."""
        self.transport.sendto(data, sender)


async def serve(port: int) -> None:
    """Answer for ever."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(Echo, local_addr=("127.0.0.1", port))
    print(f"listening on 127.0.0.1:{transport.get_extra_info('sockname')[1]}", flush=True)
    await loop.create_future()


if __name__ == "__main__":
    if os.environ.get("ECHO_LOOP") == "uvloop":
        import uvloop

        uvloop.run(serve(int(sys.argv[1])))
    else:
        asyncio.run(serve(int(sys.argv[1])))
