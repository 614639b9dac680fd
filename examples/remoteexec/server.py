"""Remote execution server: runs commands for clients, and sends them the output. A demo, without authentication!

    python examples/remoteexec/server.py --port 7004 --limit 30

Every user of this machine gets the rights of the user who started the server; so it listens on 127.0.0.1 only.
A command is killed, with all it has started, when the time is up or the client has gone. Ctrl-C ends the server.
"""

import argparse
from contextlib import suppress

from command import first, run
from frames import frame, frames

from coutil import system
from coutil.scopes import scope, timeout


def serve(stream, limit):
    """Run the command of a client, and send its end."""
    with stream:
        try:
            stream.send(frame(b"X", ending(stream, limit).encode()))
        except* ConnectionError:  # in one or in several coroutines
            pass


def ending(stream, limit):
    """Run the command that arrives; return its end: "exit 3", "kill 9" or "error: …"."""
    try:
        with timeout(limit), scope() as session:
            _, command = next(frames(stream), (None, b""))
            session.spawn(watch, stream)
            end = "{} {}".format(*run(command.split(b"\0"), stream))
            session.cancel()
    except* ConnectionError:
        raise
    except* (OSError, ValueError) as failure:  # it cannot be started, or has taken too long
        end = f"error: {first(failure)}"
    return end


def watch(stream):
    """Wait until the client, which sends nothing more, has gone; then raise, which cancels the session."""
    stream.receive()
    raise ConnectionAbortedError("the client has gone")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7004)
    parser.add_argument("--limit", type=float, default=30, metavar="SECONDS", help="for a command (default: 30)")
    options = parser.parse_args()
    with suppress(KeyboardInterrupt), system.socket("passive", "ipv4") as listener, scope() as sessions:
        listener.bind(system.address("ipv4", "127.0.0.1", options.port))
        listener.listen(128)
        print("listening on", listener.getaddress(), flush=True)
        while True:
            sessions.spawn(serve, listener.accept(), options.limit)
