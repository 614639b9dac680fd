"""Signal handlers that raise, at every boundary between two bytecodes of the calls of `coutil.sync`.

Each row is a small program: coroutines wait at a primitive, one more joins them, and the main program serves them. The
handler raises once, somewhere in that. Afterwards the books must balance: no item and no permit is lost or made, each
waiter can still be woken, and each coroutine can wait again.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

import pytest

from coutil import coroutine, spawn, sync, system
from coutil.errors import Closed
from tests.helpers.bytecode_points import at_every_boundary, at_pairs_of_boundaries

PATIENCE = 5  # seconds within which all must have ended

pytestmark = pytest.mark.filterwarnings("ignore:timeout was never entered:RuntimeWarning")  # see Origin.__del__


class Late(BaseException):
    """What the handler raises: no error, as a text shows one that its `str` raises."""


class Row:
    """A program that a handler interrupts. A subclass has the primitive, and knows what must balance."""

    soon = 0.001  # seconds

    def __init__(self, escaped):
        self.escaped = escaped
        self.late = 0  # how many exceptions of the handler have come out somewhere
        self.raised = 0
        self.armed = False
        self.coroutines = []
        self.prepare()

    def run(self, function, *arguments):
        """Have a coroutine call a function, and then wait once in every way."""

        def body():
            self.coroutines.append(coroutine.running())
            self.attempt(function, *arguments)
            while not self.attempt(usable):
                pass

        self.attempt(spawn.call, body)

    def attempt(self, function, *arguments):
        """Call a function; return whether it came to its end."""
        try:
            function(*arguments)
        except Late:
            self.late += 1
            return False
        return True

    def program(self):
        self.armed = True
        for step in self.steps():
            self.attempt(step)
        self.armed = False

    def release(self, lock):
        """Release a lock that the caller owns, whatever is raised meanwhile."""
        while not self.attempt(self.release_once, lock):
            pass

    @staticmethod
    def release_once(lock):
        if lock.owner is coroutine.running():
            lock.release()

    def steps(self):
        return [lambda: self.run(self.wait), system.suspend, lambda: self.run(self.serve)] + [system.suspend] * 2

    def action(self):
        if self.armed:
            self.raised += 1
            raise Late

    def check(self, boundary):
        self.armed = False
        until = time.monotonic() + PATIENCE
        while any(one.status != "dead" for one in self.coroutines) and time.monotonic() < until:
            self.attempt(self.help)
            self.attempt(system.suspend, 0.00005)
        lost = [one for one in self.coroutines if one.status != "dead"]
        assert not lost, [(one, one.waiting_on) for one in lost]
        self.late += sum(isinstance(error, Late) for _, error in self.escaped)
        assert len(self.escaped) == sum(isinstance(error, Late) for _, error in self.escaped), self.escaped
        self.escaped.clear()
        assert self.late == self.raised or self.late == self.raised - 1 == 1, (self.late, self.raised)  # or chained
        self.balance()

    # -- of the subclasses

    def prepare(self):
        """Make the primitive, and who waits there already."""

    def wait(self):
        """What the coroutine does that joins."""

    def serve(self):
        """What the main program does."""

    def help(self):
        """What ends the waits that are left."""

    def balance(self):
        """Check that nothing was lost."""


def usable():
    """Wait in every way."""
    assert system.suspend() is True
    assert system.suspend(0.00001) is True


# -- queues -----------------------------------------------------------------------------------------------------------


class Queues(Row):
    size, before, getting, putting, joins, serves = 0, 0, 0, 0, "get", "put"

    def prepare(self):
        self.queue = sync.Queue(self.size)
        self.number = 0
        self.got, self.maybe, self.surely = [], set(), set()
        for _ in range(self.before):
            self.put()
        for _ in range(self.getting):
            self.run(self.get)
        for _ in range(self.putting):
            self.run(self.put)

    def wait(self):
        getattr(self, self.joins)()

    def serve(self):
        getattr(self, self.serves)()

    def put(self, call=None):
        self.number += 1
        item = self.number
        self.maybe.add(item)
        (call or self.queue.put)(item)
        self.surely.add(item)

    def get(self):
        self.got.append(self.queue.get())

    def get_soon(self):
        try:
            self.got.append(self.queue.get(timeout=self.soon))
        except TimeoutError:
            system.suspend()

    def put_soon(self):
        with suppress(TimeoutError):
            self.put(lambda item: self.queue.put(item, timeout=self.soon))

    def put_nowait(self):
        self.put(self.queue.put_nowait)

    def get_nowait(self):
        self.got.append(self.queue.get_nowait())

    def close(self):
        self.queue.close()

    def iterate(self):
        for item in self.queue:
            self.got.append(item)
            break

    def resume(self):
        """Resume the last coroutine explicitly."""
        one = self.coroutines[-1] if self.coroutines else coroutine.running()
        if one.status == "suspended" and one.waiting_on is not None and "queue" in str(one.waiting_on):
            one.resume(0)

    def help(self):
        with suppress(sync.queue.Empty, Closed):
            self.got.append(self.queue.get_nowait())
        with suppress(sync.queue.Full, Closed):
            if len(self.queue) == 0:
                self.put(self.queue.put_nowait)

    def balance(self):
        got = [item for item in self.got if item != 0]
        while len(self.queue):
            got.append(self.queue.get_nowait())
        assert len(set(got)) == len(got), f"an item came twice: {got}"
        assert set(got) <= self.maybe, "an item came from nowhere"
        assert self.surely <= set(got), f"items are lost: {self.surely - set(got)}"
        assert not self.queue._getters, "a call of get is still in the line"
        assert not self.queue._putters, "a call of put is still in the line"


class ClosedQueues(Queues):
    """Who waits gets `Closed`."""

    def attempt(self, function, *arguments):
        try:
            return super().attempt(function, *arguments)
        except Closed:
            return True

    def help(self):
        self.queue.close()


def queue(**attributes):
    return type("Queue", (ClosedQueues if attributes.get("serves") == "close" else Queues,), attributes)


QUEUES = {
    "get, put": queue(),
    "three get, one is put": queue(getting=2),
    "get in time": queue(joins="get_soon"),
    "get too late": queue(joins="get_soon", serves="get_soon"),
    "put_nowait": queue(getting=1, serves="put_nowait"),
    "iterate": queue(joins="iterate"),
    "resumed get": queue(serves="resume"),
    "put, get": queue(size=1, before=1, joins="put", serves="get"),
    "three put, one is got": queue(size=1, before=1, putting=2, joins="put", serves="get"),
    "put in time": queue(size=1, before=1, joins="put_soon", serves="get"),
    "put too late": queue(size=1, before=1, joins="put_soon", serves="put_soon"),
    "get_nowait": queue(size=1, before=1, putting=1, joins="put", serves="get_nowait"),
    "resumed put": queue(size=1, before=1, joins="put", serves="resume"),
    "close, get": queue(getting=2, serves="close"),
    "close, put": queue(size=1, before=1, putting=2, joins="put", serves="close"),
}


# -- permits ----------------------------------------------------------------------------------------------------------


class Semaphores(Row):
    permits, count, timeout = 1, 1, None

    def prepare(self):
        self.semaphore = sync.Semaphore(0)
        self.released = self.least = 0
        self.taken = 0
        for _ in range(2):
            self.run(self.wait)

    def wait(self):
        with suppress(TimeoutError):
            self.semaphore.acquire(timeout=self.timeout)
            self.taken += 1

    def serve(self):
        self.released += self.count
        self.semaphore.release(self.count)
        self.least += self.count

    def help(self):
        self.released += 1
        self.least += 1
        self.semaphore.release()

    def balance(self):
        left = self.taken + self.semaphore.value
        assert self.least <= left <= self.released, (self.least, left, self.released)
        assert left in (self.least, self.released), "a call has released only a part"
        assert not self.semaphore._waiters


class Locks(Row):
    """Two coroutines wait for a lock that the main program has."""

    timeout = None

    def prepare(self):
        self.lock = sync.Lock()
        self.lock.acquire()
        self.inside = self.most = 0
        for _ in range(2):
            self.run(self.wait)

    def wait(self):
        try:
            with suppress(TimeoutError):
                self.lock.acquire(timeout=self.timeout)
                self.inside += 1
                self.most = max(self.most, self.inside)
                system.suspend()
                self.inside -= 1
        except Late:
            self.inside = 0
            raise
        finally:
            self.release(self.lock)

    def steps(self):
        return [lambda: self.run(self.wait), system.suspend, self.lock.release, system.suspend, system.suspend]

    def help(self):
        if self.lock.owner is coroutine.running():
            self.lock.release()

    def balance(self):
        assert self.most <= 1, "two were inside"
        assert self.lock.acquire(False), f"a lock is lost: {self.lock}"
        self.lock.release()
        assert not self.lock._waiters


class Conditions(Row):
    number, timeout = 1, None

    def prepare(self):
        self.condition = sync.Condition()
        for _ in range(2):
            self.run(self.wait)

    def wait(self):
        try:
            self.condition.acquire()
            with suppress(TimeoutError):
                try:
                    self.condition.wait(timeout=self.timeout)
                finally:
                    assert self.condition.owner is coroutine.running(), "the lock is not owned after the wait"
        finally:
            self.release(self.condition)

    def serve(self):
        try:
            self.condition.acquire()
            if self.number is None:
                self.condition.notify_all()
            else:
                self.condition.notify(self.number)
        finally:
            self.release(self.condition)

    def help(self):
        if not self.condition.locked():
            with self.condition:
                self.condition.notify_all()

    def balance(self):
        assert self.condition.acquire(False), f"a lock is lost: {self.condition._lock}"
        self.condition.release()
        assert not self.condition._waiters


class Barriers(Row):
    serves = "wait"

    def prepare(self):
        self.barrier = sync.Barrier(4)
        self.passed = self.broken = self.cut = 0
        for _ in range(2):
            self.run(self.wait)

    def wait(self):
        try:
            self.barrier.wait(timeout=1000)
            self.passed += 1
        except threading.BrokenBarrierError:
            self.broken += 1
        except Late:
            self.cut += 1
            raise

    def serve(self):
        if self.serves == "wait":
            self.wait()
        else:
            getattr(self.barrier, self.serves)()

    def help(self):
        self.barrier.abort()

    def balance(self):
        assert not self.passed or not self.broken or self.cut, "some have passed, some have not"
        self.barrier.reset()
        assert self.barrier.n_waiting == 0


def row(kind, **attributes):
    return type(kind.__name__, (kind,), attributes)


PERMITS = {
    "release": Semaphores,
    "release two": row(Semaphores, count=2),
    "release five": row(Semaphores, count=5),
    "acquire in time": row(Semaphores, timeout=0.001),
    "lock": Locks,
    "lock in time": row(Locks, timeout=0.001),
    "notify": Conditions,
    "notify all": row(Conditions, number=None),
    "notified in time": row(Conditions, timeout=0.001),
    "barrier": Barriers,
    "barrier that is reset": row(Barriers, serves="reset"),
    "barrier that is broken": row(Barriers, serves="abort"),
}

ROWS = QUEUES | PERMITS


@pytest.mark.parametrize("kind", ROWS.values(), ids=ROWS)
def test_handlers_that_raise(kind, escaped):
    """Nothing is lost or made, wherever a handler raises, and every waiter can still be woken."""
    system.suspend()

    def make():
        one = kind(escaped)
        return one.program, one.action, one.check

    assert len(at_every_boundary(make, often=1)) > 20


def in_a_recovery(place):
    """Return whether a signal at a place can interrupt something that has to be undone."""
    return "/sync/" in place or "/scopes/" in place or place.startswith(("rest", "leave "))


PAIRS = {  # the time of none is up
    "get": queue(joins="get_soon", soon=1000),
    "put": queue(size=1, before=1, putting=1, joins="put_soon", soon=1000, serves="get"),
    "close": queue(getting=2, serves="close"),
    "release two": row(Semaphores, count=2, timeout=1000),
    "lock": row(Locks, timeout=1000),
    "notify": row(Conditions, timeout=1000),
    "notify all": row(Conditions, number=None),
    "barrier": Barriers,
}


@pytest.mark.soak
@pytest.mark.parametrize("kind", PAIRS.values(), ids=PAIRS)
def test_handlers_that_raise_twice(kind, escaped):
    """Nor if a second handler raises while that is put in order which a first one has interrupted."""
    system.suspend()

    def make():
        one = kind(escaped)
        return one.program, one.action, one.check

    assert at_pairs_of_boundaries(make, in_a_recovery, 12) > 50
