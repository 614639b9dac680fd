"""Echo server of several processes: this one accepts the connections, and passes each to one of its workers.

    python examples/multiecho/main.py --port 7003 --workers 4

The workers take turns. A worker that dies is replaced at its next turn; that connection is lost. Ctrl-C ends them all.
"""

import argparse
import os
import sys
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from coutil import system
from coutil.scopes import scope
from coutil.sync import Queue

WORKER = Path(__file__).parent / "worker.py"


def employ(connections):
    """Run a worker, and pass it connections until the queue is closed; replace it if it dies."""
    while not connections.closed:
        ours, theirs = pair()
        with theirs:
            worker = system.start(sys.executable, WORKER, stdin=theirs, detached=True)  # Ctrl-C is not for the worker
        with worker, ours, suppress(BrokenPipeError):  # `ours` is closed first: that ends the worker
            for connection in connections:
                with connection:
                    ours.send(b"+", stream=connection)


def pair():
    """Return two connected sockets through which streams can travel."""
    with TemporaryDirectory() as folder, system.socket("passive", "share") as listener:
        listener.bind(Path(folder) / "socket")
        listener.listen(1)
        theirs = system.socket("stream", "share")
        theirs.connect(listener.getaddress())
        return listener.accept(), theirs


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7003)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="default: one for each processor")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), scope() as staff, Queue(1) as connections:
        for number in range(options.workers):
            staff.spawn(employ, connections, name=f"worker {number}")
        with suppress(KeyboardInterrupt), system.socket("passive", "ipv4") as listener:
            listener.bind(system.address("ipv4", "127.0.0.1", options.port))
            listener.listen(1024)
            print("listening on", listener.getaddress(), flush=True)
            while True:
                connections.put(listener.accept())
