"""Echo server on asyncio: streams, one task for each connection."""

import asyncio
import sys
from socket import IPPROTO_TCP, TCP_NODELAY


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send back what arrives, until the end of the stream."""
    writer.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


async def serve(port: int) -> None:
    """Accept for ever."""
    server = await asyncio.start_server(echo, "127.0.0.1", port, backlog=1024)
    print(f"listening on 127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1])))
