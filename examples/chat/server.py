"""Chat server: passes each line of a member to all members.

    python examples/chat/server.py --port 7002

A member who does not read misses lines, and does not delay the others. Ctrl-C ends the server.
"""

import argparse
from contextlib import suppress

from text import deliver, lines

from coutil import system
from coutil.scopes import scope
from coutil.sync import Queue

members = {}  # names, and for each one a queue of lines to deliver


def attend(stream):
    """Serve a member, whose name is the first line, until the connection ends."""
    with stream, Queue(100) as unsaid:
        try:
            name = next(heard := lines(stream), "")
            if not name or members.setdefault(name, unsaid) is not unsaid:
                stream.send(b"* this name is taken\n")
                return
            with scope() as member:
                member.spawn(deliver, unsaid, stream)
                try:
                    broadcast(f"* {name} is here, with {len(members) - 1} others")
                    for line in heard:
                        broadcast(f"{name}: {line}")
                finally:
                    del members[name]
                    broadcast(f"* {name} has gone")
                member.cancel()
        except* ConnectionError:  # of this coroutine, or of the one that delivers
            pass


def broadcast(text):
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
