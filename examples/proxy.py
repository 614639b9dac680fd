"""TCP proxy: connects each client to another address, and passes the data on in both directions.

    python examples/proxy.py --port 7001 --to localhost:7000

Each direction ends by itself: a peer that has sent everything (shutdown) still receives the rest of the answer. Nothing
is stored: a slow reader slows the sender down. If one direction breaks, the scope cancels the other. Ctrl-C ends it.
"""

import argparse
import sys
from contextlib import suppress

from coutil import system
from coutil.scopes import scope


def relay(client, host, port, limit):
    """Connect `client` with the target; print the reason if that breaks."""
    try:
        with client, system.connect(host, port, timeout=limit) as server, scope() as directions:
            directions.spawn(pump, client, server)
            directions.spawn(pump, server, client)
    except* OSError as failure:  # of one direction, or of both at once
        print("broken:", *failure.exceptions, file=sys.stderr, flush=True)


def pump(source, sink):
    """Pass on the data that arrive, and finally the end of the stream."""
    while data := source.receive():
        sink.send(data)
    sink.shutdown()


def target(text):
    """Return host and port of a target in the form HOST:PORT."""
    host, _, port = text.rpartition(":")
    return host.strip("[]"), int(port)


def main():
    """Accept connections until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7001)
    parser.add_argument("--to", type=target, default=("localhost", 7000), metavar="HOST:PORT")
    parser.add_argument("--timeout", type=float, default=10, metavar="SECONDS", help="to connect in (default: 10)")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), system.socket("passive", "ipv4") as listener, scope() as relays:
        listener.bind(system.address("ipv4", "127.0.0.1", options.port))
        listener.listen(1024)
        print("listening on", listener.getaddress(), flush=True)
        while True:
            relays.spawn(relay, listener.accept(), *options.to, options.timeout)


if __name__ == "__main__":
    main()
