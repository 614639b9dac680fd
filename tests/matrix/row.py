"""What the kill matrix is made of: rows, victims, and the moments at which they are ended."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

from greenlet import GreenletExit

from coutil import coroutine, errors, event, spawn, system
from coutil.scopes import Deadline, timeout
from tests.helpers.kernel import Coroutine
from tests.helpers.tcp import with_plain_peer

NOTHING: Any = object()
ROWS: dict[str, Callable[..., Iterator[Row]]] = {}
PATIENCE = 20  # seconds that a thread pool may be busy
HOW = {
    "GreenletExit": GreenletExit,
    "Timeout": errors.Timeout,
    "KeyboardInterrupt": KeyboardInterrupt,
    "resume": None,  # explicitly, with True, which many calls return after their own wait as well
}


@dataclass
class Row:
    """Something to wait for.

    wait: the call. ready: makes what it waits for come. check: called with what the call returned (NOTHING if it was
    cut) after `ready` was called, by one or the other; begun: whether the call was made at all. done: what the user
    does afterwards, if the call has returned.
    """

    wait: Callable[[], Any]
    ready: Callable[[], Any] = lambda: None
    check: Callable[[Any, bool], None] = lambda got, begun: None
    done: Callable[[], Any] = lambda: None
    insists: bool = False  # an explicit resume does not end the wait


def row(make: Callable[..., Iterator[Row]]) -> Callable[..., Iterator[Row]]:
    """Add a row to the matrix, which is called with the clock."""
    ROWS[make.__name__] = make
    return make


def rows(made: dict[str, Callable[..., Iterator[Row]]]) -> None:
    """Add rows by name."""
    ROWS.update(made)


def row_for(*domains: str) -> Callable[[Callable[..., Iterator[Row]]], Callable[..., Iterator[Row]]]:
    """Add a row for sockets of each domain, or ends of each kind of pipe, which is called with that and the clock."""

    def add(make: Callable[..., Iterator[Row]]) -> Callable[..., Iterator[Row]]:
        for domain in domains:
            name = make.__name__
            name = name.replace("stream", domain, 1) if domain.endswith("pipe") else domain.removesuffix("ipv4") + name
            ROWS[name] = partial(make, domain)
        return make

    return add


class Victim:
    """The first user, in a coroutine of its own."""

    def __init__(self, row: Row, how: str) -> None:
        self.row, self.how = row, how
        self.limit: Deadline | None = None  # around the call, once it has begun
        self.cancelled = False  # before it has begun
        self.begun = False
        self.got: Any = NOTHING
        self.error: BaseException | None = None
        self.lingers = False
        self.waits = self.resumed = False  # in the call; explicitly, while it was in the call
        self.coroutine: Coroutine = coroutine.create(self.body)

    def body(self) -> None:
        try:
            with timeout(None) as self.limit:
                if self.cancelled:
                    self.limit.cancel()
                self.begun = self.limit.cancelled is False
                self.waits = True
                self.got = self.row.wait()
                self.waits = False
                if self.resumed and not self.row.insists:
                    assert self.got is True
                    self.got = NOTHING
                    return
                try:
                    if self.lingers:
                        event.await_("linger")
                finally:
                    self.row.done()
        except BaseException as error:
            self.error = error.with_traceback(None)
            if self.how == "resume" or not isinstance(error, HOW[self.how]):
                raise

    def kill(self) -> None:
        """End what the coroutine waits for, if it does."""
        if self.coroutine.status == "dead":
            return
        if self.how == "Timeout":
            self.cancelled = True
            if self.limit is not None:
                self.limit.cancel()
        elif self.how == "resume":
            if self.coroutine.status == "suspended" and self.begun:
                self.resumed = self.waits
                self.coroutine.resume(True)
        else:
            with suppress(HOW[self.how]):  # that of one that has not started
                self.coroutine.throw(HOW[self.how])


# -- moments: each is given a victim that has not started; `ready` may be called once


def not_started(victim: Victim) -> None:
    """The call is made after the block was cancelled, or never."""
    victim.kill()
    if victim.how == "Timeout":
        victim.coroutine.resume()


def waiting(victim: Victim) -> None:
    victim.coroutine.resume()
    victim.kill()


def ready(victim: Victim) -> None:
    """What it waits for has come, but no one has noticed."""
    victim.coroutine.resume()
    victim.row.ready()
    victim.kill()


def same_turn_by_one_that_is_ready(victim: Victim) -> None:
    """The killer stands in the ready queue while the victim's record may be on its way."""
    victim.coroutine.resume()
    spawn.call(lambda: (system.suspend(), victim.kill()))
    victim.row.ready()
    system.run("ready")


def same_turn_by_one_with_a_record(victim: Victim) -> None:
    """Killer and victim are woken by records of one poll, in the one or the other order."""
    with with_plain_peer("ipv4") as (stream, peer):
        victim.coroutine.resume()
        killer = spawn.call(lambda: (stream.receive(), victim.kill()))
        peer.send(b"kill")
        victim.row.ready()
        while killer.status != "dead":
            system.run("step")


def finishing(victim: Victim) -> None:
    """The call has returned; the victim holds what it got, and waits for something else."""
    victim.lingers = True
    victim.coroutine.resume()
    victim.row.ready()
    until = time.monotonic() + PATIENCE
    while not event.pending("linger") and time.monotonic() < until:
        system.run("ready")
    assert event.pending("linger")
    victim.kill()


MOMENTS = [not_started, waiting, ready, same_turn_by_one_that_is_ready, same_turn_by_one_with_a_record, finishing]
