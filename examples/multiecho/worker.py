"""Worker of the echo server: receives connections from its standard input, which is a share socket.

    python examples/multiecho/main.py

starts it. It ends when the main process can no longer send connections, and cancels those that are open then.
"""

import argparse
import os
import sys
from contextlib import suppress

from coutil import system
from coutil.scopes import scope


def echo(stream):
    """Send everything back."""
    with stream, suppress(ConnectionError):
        sys.stderr.write(f"worker {os.getpid()} serves {stream.getaddress('peer')}\n")  # in one piece
        while data := stream.receive(8192):
            stream.send(data)


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    with system.stdin as employer, scope() as connections:
        while (arrived := employer.receive_stream()) != (b"", None):
            if arrived[1]:
                connections.spawn(echo, arrived[1])
        connections.cancel()
