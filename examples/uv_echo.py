"""Echo server in the style of libuv: events call handlers, which may still wait like any coroutine.

    python examples/uv_echo.py --port 7000

The first line of the output is the address; port 0 lets the system choose one. Ctrl-C ends the server.
"""

import argparse
from contextlib import suppress

from coutil import uv


class Connection(uv.TCP):
    """A connection that sends back the data that it receives."""

    def onread(self, err, data):
        """Answer; while the client does not read its answers, the server does not read from it."""
        if not data:
            self.close_soon()
            return
        sent = self.try_write(data)
        if sent < len(data):
            self.read_stop()
            self.write(data[sent:])  # waits, while other handlers run
            self.read_start()


def onconnection(server, err):
    """Accept a connection, and begin to read, which calls `onread`."""
    if err is None:
        stream = server.accept(Connection(server.loop))
        stream.nodelay()
        stream.read_start()


def onerror(error, handle):
    """Close a connection that broke, or that its client closed during a write."""
    print(f"{handle!r}: {error}") if not isinstance(error, ConnectionError) else handle.close_soon()


def main():
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7000)
    port = parser.parse_args().port
    with suppress(KeyboardInterrupt), uv.Loop() as loop:
        loop.onerror = onerror
        server = uv.TCP(loop)
        server.bind("127.0.0.1", port)
        server.onconnection = onconnection
        server.listen(1024)
        print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
        loop.run()


if __name__ == "__main__":
    main()
