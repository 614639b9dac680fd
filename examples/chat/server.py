"""Chat server: what one of the members says is told to all.

    python examples/chat/server.py --port 7002

Whoever does not read what the others say misses some of it, and holds nobody up. Ctrl-C ends it.
"""

import argparse
from contextlib import suppress

from text import deliver, lines

from coutil import system
from coutil.scopes import scope
from coutil.sync import Queue

members = {}  # names, and for each one a queue of what has to be delivered


def attend(stream):
    """Let in the one who calls, by the name in the first line, until the connection ends."""
    with stream, Queue(100) as unsaid:
        try:
            name = next(heard := lines(stream), "")
            if not name or members.setdefault(name, unsaid) is not unsaid:
                stream.send(b"* this name is taken\n")
                return
            with scope() as member:
                member.spawn(deliver, unsaid, stream)
                try:
                    tell(f"* {name} is here, with {len(members) - 1} others")
                    for line in heard:
                        tell(f"{name}: {line}")
                finally:
                    del members[name]
                    tell(f"* {name} has gone")
                member.cancel()
        except* ConnectionError:  # here, or where it is delivered to
            pass


def tell(text):
    """Put a line into each queue that has room."""
    for unsaid in members.values():
        if not unsaid.full():
            unsaid.put_nowait(f"{text}\n".encode())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7002)
    with suppress(KeyboardInterrupt), system.socket("passive", "ipv4") as listener, scope() as guests:
        listener.bind(system.address("ipv4", "127.0.0.1", parser.parse_args().port))
        listener.listen(128)
        print("listening on", listener.getaddress(), flush=True)
        while True:
            guests.spawn(attend, listener.accept())
