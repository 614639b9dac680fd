"""UDP echo server on trio: one task answers everybody."""

import sys

import trio


async def serve(port: int) -> None:
    """Answer for ever."""
    server = trio.socket.socket(trio.socket.AF_INET, trio.socket.SOCK_DGRAM)
    await server.bind(("127.0.0.1", port))
    print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
    while True:
        data, sender = await server.recvfrom(65536)
        await server.sendto(data, sender)


if __name__ == "__main__":
    trio.run(serve, int(sys.argv[1]))
