"""B15: handles that are started, stopped, closed and forgotten in every order, amid events: no abort, nothing left."""

import gc
import os
import random
import socket
from contextlib import suppress

import pytest

from coutil import uv
from coutil.errors import Closed, UVError
from tests.helpers.sockets import failure

STEPS = 120


class Udp:
    """A handle that sends to itself."""

    def __init__(self, loop, folder):
        self.made = uv.UDP(loop)
        self.made.bind("127.0.0.1", 0)
        self.made.onrecv = lambda *_: None
        self.where = self.made.getsockname()

    def start(self):
        self.made.recv_start()

    def stop(self):
        self.made.recv_stop()

    def trouble(self):
        self.made.send(b"x", *self.where)

    def end(self):
        """Nothing else is open."""


class Poll:
    """A handle of a socket that is always readable."""

    def __init__(self, loop, folder):
        self.near, self.far = socket.socketpair()
        self.far.send(b"x")
        try:
            self.made = uv.Poll(loop, self.near)
        except FileExistsError:  # the number was one that is polled still, though it was closed
            self.end()
            raise
        self.made.onpoll = lambda *_: None

    def start(self):
        self.made.start(random.choice(["r", "w", "rwdp"]))

    def stop(self):
        self.made.stop()

    def trouble(self):
        self.near.close()

    def end(self):
        self.near.close()
        self.far.close()


class Event:
    """A handle of a folder in which things happen."""

    kind, handler, arguments = uv.FSEvent, "onevent", ()

    def __init__(self, loop, folder):
        self.folder = folder
        self.made = self.kind(loop)
        setattr(self.made, self.handler, lambda *_: None)

    def start(self):
        self.made.start(self.folder, *self.arguments)

    def stop(self):
        self.made.stop()

    def trouble(self):
        os.utime(self.folder)

    def end(self):
        """Nothing else is open."""


class PolledPath(Event):
    """A handle of the same folder, which looks often."""

    kind, handler, arguments = uv.FSPoll, "onpoll", (1,)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("kind", [Udp, Poll, Event, PolledPath])
def test_b15_any_order(loop, tmp_path, kind, seed):
    """B15: open, start, stop, close, close again, collect and run, at random; errors are the documented ones."""
    rng, parties, ended = random.Random(seed), [], []
    for _ in range(STEPS):
        act = rng.choice(["open", "start", "start", "stop", "close", "trouble", "run", "collect", "forget"])
        party = rng.choice(parties) if parties else None
        if act == "run":
            loop.run("nowait")
        elif act == "collect":
            gc.collect(0)
        elif act == "open" or party is None:
            with suppress(UVError):
                parties.append(kind(loop, tmp_path))
        elif act == "close":
            party.made.close_soon()
            assert party.made.closing
        elif act == "forget":
            party.made.close_soon()
            parties.remove(party)
            party.end()
            ended.append(party.made)
        else:
            closing = party.made.closing
            error = failure(getattr(party, act))
            assert error is None or isinstance(error, OSError)
            assert not closing or act == "trouble" or isinstance(error, Closed)
    for party in parties:
        party.made.close_soon()
        party.end()
    loop.run()
    assert loop.walk() == []
    assert all(made.closed for made in ended)
    counts = loop._hub.loop.counts()
    assert counts["handles_created"] == counts["handles_freed"] >= len(ended)
