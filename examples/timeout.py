"""A timeout made of nothing but two coroutines: one explicitly resumes the other, which ends the wait in `receive`.

    python examples/timeout.py --limit 0.2

An explicit resume cancels the wait of the other coroutine; the wait returns the value that the resumer passed.
"""

import argparse

from coutil import coroutine, spawn, system

NOTHING = object()


def receive_within(seconds, stream):
    """Return what `stream` receives, or `NOTHING` if it stays silent for `seconds`."""
    alarm = spawn.call(ring, coroutine.running(), seconds)
    try:
        return stream.receive()
    finally:
        if alarm.status == "suspended":  # otherwise it has rung
            alarm.close()


def ring(sleeper, seconds):
    """Wait, then make the wait of `sleeper` return `NOTHING`."""
    system.suspend(seconds)
    sleeper.resume(NOTHING)


def hesitate(server, seconds):
    """Accept one connection, and keep it waiting for an answer."""
    with server.accept() as stream:
        system.suspend(seconds)
        stream.send(b"sorry, I was thinking")


def ask(address, limit):
    """Connect, and count the attempts until the answer comes."""
    with system.socket("stream", "ipv4") as stream:
        stream.connect(address)
        for attempt in range(1, 10):
            data = receive_within(limit, stream)
            print(f"attempt {attempt}:", "no answer yet" if data is NOTHING else data.decode())
            if data is not NOTHING:
                break


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--limit", type=float, default=0.2, help="seconds for each attempt (default: 0.2)")
    limit = parser.parse_args().limit
    with system.socket("passive", "ipv4") as server:
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(1)
        spawn.call(hesitate, server, 2.5 * limit)
        spawn.call(ask, server.getaddress(), limit)
        system.run()
