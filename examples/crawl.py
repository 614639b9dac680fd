"""Fifty connections under one deadline: when the time is up, those that have no answer yet are cancelled, all at once.

    python examples/crawl.py --connections 50 --hanging 7 --limit 0.5

The server runs in the same process, and does not answer some. A scope ends when all of its children have ended; a
deadline around it raises at every wait inside it, so that the `with` blocks of the children close their sockets.
"""

import argparse
from itertools import count

from coutil import system
from coutil.scopes import move_on_after, scope


def serve(server, children, hanging):
    """Answer each connection but the first `hanging` ones, each in its own coroutine."""
    for number in count():
        children.spawn(ignore if number < hanging else answer, server.accept())


def answer(stream):
    """Send back the data that arrive first."""
    with stream:
        stream.send(stream.receive())


def ignore(stream):
    """Receive until the client closes the connection."""
    with stream:
        while stream.receive():
            pass


def fetch(address, page, answers):
    """Request a page; the children of a scope need no time limit, because the scope has one."""
    with system.socket("stream", "ipv4") as stream:
        stream.connect(address)
        stream.send(page)
        answers.append(stream.receive())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, kind, default in (("connections", int, 50), ("hanging", int, 7), ("limit", float, 0.5)):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"default: {default}")
    options = parser.parse_args()
    answers = []
    with system.socket("passive", "ipv4") as server, scope() as local:
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(1024)
        local.spawn(serve, server, local, options.hanging)
        with move_on_after(options.limit) as deadline, scope() as crawl:
            for number in range(options.connections):
                crawl.spawn(fetch, server.getaddress(), b"page %d" % number, answers)
        outcome = "the time was up" if deadline.expired else "all in time"
        print(f"{len(answers)} answered, {options.connections - len(answers)} were cut: {outcome}")
        local.cancel()
