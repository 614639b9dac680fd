"""Worker processes that share one listener, which the parent sends to them: each connection is served by one of them.

    python examples/uv_cluster.py --port 7000 --workers 2

The first line of the output is the address. A worker sends its process number to each client. Ctrl-C ends them all.
"""

import argparse
import os
import socket
import subprocess
import sys
from contextlib import ExitStack, suppress

from coutil import uv


def work():
    """Take the listener that comes through the pipe, and serve until the parent goes away."""
    with suppress(KeyboardInterrupt), uv.Pipe(ipc=True) as parent:
        parent.open(0)
        parent.read()
        with parent.accept_pending() as server:
            server.onconnection = onconnection
            server.listen(1024)
            parent.write(b"ready")
            parent.read()


def onconnection(server, err):
    """Send the number of this process."""
    if err is None:
        with server.accept(uv.TCP(server.loop)) as stream:
            stream.write(b"served by %d\n" % os.getpid())


def main():
    """Start the workers, and give each of them the listener."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with ExitStack() as stack, uv.TCP() as server, suppress(KeyboardInterrupt):
        server.bind("127.0.0.1", options.port)
        for _ in range(options.workers):
            ours, theirs = socket.socketpair()
            with theirs:
                stack.enter_context(subprocess.Popen([sys.executable, __file__, "worker"], stdin=theirs))
            pipe = stack.enter_context(uv.Pipe(ipc=True))  # closed before we wait for the worker
            pipe.open(ours)
            pipe.write2(b"listen", server)
            pipe.read()
        print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
        pipe.read()


if __name__ == "__main__":
    work() if sys.argv[1:] == ["worker"] else main()
