"""Echo server: a coroutine for each connection, and a watchdog that ends connections that stay silent.

    python examples/echo_server.py --port 7000 --idle-timeout 30

The first line of the output is the address; port 0 lets the system choose one. Ctrl-C ends the server.
"""

import argparse
from contextlib import contextmanager, suppress
from types import SimpleNamespace

from coutil import coroutine, spawn, system


def echo(stream, idle_timeout):
    """Send everything back until the peer ends the connection, breaks it, or is silent for `idle_timeout` seconds."""
    with stream, suppress(ConnectionError), watched(idle_timeout) as last:
        stream.setoption("nodelay", True)
        while data := stream.receive():
            stream.send(data)
            last.activity = system.time()


@contextmanager
def watched(seconds):
    """End the caller's wait, as if the peer had closed, when `last.activity` of the yielded object gets too old."""
    last = SimpleNamespace(activity=system.time())
    watchdog = spawn.call(watch, coroutine.running(), last, seconds)
    try:
        yield last
    finally:
        if watchdog.status == "suspended":  # otherwise it has just resumed the caller, and ends after it
            watchdog.close()


def watch(worker, last, seconds):
    """Look at the worker only when it may have been silent for `seconds`: its messages cost no timer."""
    while worker.status != "dead":
        remaining = last.activity + seconds - system.time()
        system.suspend(remaining) if remaining > 0 or worker.status != "suspended" else worker.resume(b"")


def main():
    """Accept connections until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    parser.add_argument("--idle-timeout", type=float, default=60, metavar="SECONDS")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), system.socket("passive", "ipv4") as server:
        server.bind(system.address("ipv4", options.host, options.port))
        server.listen(1024)
        print("listening on", server.getaddress(), flush=True)
        while True:
            spawn.call(echo, server.accept(), options.idle_timeout)


if __name__ == "__main__":
    main()
