"""Signal handlers that emit, put, release, fulfill or cancel, at every moment of a program that waits for that.

Everything that "works anywhere" does so in the middle of a wait's beginning, too: nothing is lost, nobody sleeps on.
"""

from __future__ import annotations

from functools import partial

import pytest

from coutil import event, promise, queued, spawn, sync, system
from coutil.scopes import scope
from tests.helpers.moments import at_every_moment
from tests.helpers.script import output_of


class Waiter:
    """A coroutine that waits again and again until it got "end", and the program that makes it wait."""

    def __init__(self, wait, give, times):
        self.got = []
        self.told = []
        self.wait, self.give, self.times = wait, give, times
        self.coroutine = None

    def body(self):
        while (value := self.wait()) != "end":
            self.got.append(value)

    def program(self):
        self.coroutine = spawn.call(self.body, name="waiter")
        for number in range(self.times):
            system.suspend()
            self.give(number)
        system.suspend()

    def action(self):
        self.told.append(self.give("handler"))

    def end(self):
        if self.coroutine is None:  # the handler came before
            self.program()
        for _ in range(10):
            if self.coroutine.status != "dead":
                self.give("end")
                system.suspend()
        assert self.coroutine.status == "dead"


def events():
    """Emissions are not kept: what was told to somebody must have reached him."""
    waiter = Waiter(lambda: event.await_("e")[1], partial(event.emitall, "e"), 2)

    def check(moment):
        waiter.end()
        assert waiter.got.count("handler") == waiter.told.count(True), moment
        assert waiter.got.count(0) == waiter.got.count(1) == 1, moment

    return waiter.program, waiter.action, check


def kept(wait, give):
    """Nothing that is put is lost, or comes twice."""
    waiter = Waiter(wait, give, 2)

    def check(moment):
        waiter.end()
        assert sorted(map(str, waiter.got)) == ["0", "1", "handler"], moment

    return waiter.program, waiter.action, check


def queues():
    line = sync.Queue(0)
    return kept(line.get, line.put_nowait)


def stored_emissions():
    program, action, check = kept(lambda: queued.await_("q")[1], partial(queued.emitone, "q"))

    def and_empty(moment):
        check(moment)
        while queued.isqueued("q"):  # of "end"
            queued.await_("q")

    return program, action, and_empty


def several_stored_emissions():
    program, action, check = kept(lambda: queued.awaitany("other", "q")[1], partial(queued.emitone, "q"))

    def and_empty(moment):
        check(moment)
        while queued.isqueued("q"):
            queued.await_("q")

    return program, action, and_empty


def semaphores():
    permits = sync.Semaphore(0, bounded=False)
    log = []

    def waiting():
        for number in range(4):
            permits.acquire()
            log.append(number)

    def program():
        spawn.call(waiting)
        for _ in range(2):
            system.suspend()
            permits.release()
        system.suspend()

    def check(moment):
        permits.release()
        system.suspend()
        assert (log, permits.value) == ([0, 1, 2, 3], 0), moment

    return program, permits.release, check


def promises(wait):
    made, fulfill = promise.create()
    log = []

    def program():
        spawn.call(lambda: log.append(wait(made)))
        system.suspend()
        fulfill(1)
        system.suspend()

    def check(moment):
        assert len(log) == 1, moment
        assert made() == 1

    return program, partial(fulfill, 1), check


def scopes():
    """Whoever waits in a scope that is cancelled does not sleep on."""
    made, log = [], []

    def child():
        try:
            system.suspend(1000)
        finally:
            log.append("child")

    def program():
        with scope() as s:
            made.append(s)
            s.spawn(child)
            s.spawn(child)
            system.suspend()
            system.suspend(0.0001)
            s.cancel()
        log.append("end")

    def action():
        if made:
            made[0].cancel()

    def check(moment):
        assert log in (["child"] * count + ["end"] for count in range(3)), moment
        assert system.suspend() is True

    return program, action, check


@pytest.mark.parametrize(
    "make",
    [
        events,
        queues,
        stored_emissions,
        several_stored_emissions,
        semaphores,
        partial(promises, lambda made: made()),
        partial(promises, promise.awaitall),
        partial(promises, promise.awaitany),
        scopes,
    ],
    ids=["event", "queue", "queued", "queued-any", "semaphore", "promise", "promise-all", "promise-any", "scope"],
)
def test_handlers_at_every_moment(make):
    """B15, B20: a handler may do what works anywhere."""
    assert at_every_moment(make) > 20


def test_while_the_hub_is_made():
    """B20: an emission at the moment at which the first wait of a program makes the hub reaches who waits already."""
    lines = output_of(
        """
        from coutil import event, spawn
        from coutil._kernel import hub

        def install(made, install=hub._host.install):
            event.emitall("e")
            install(made)

        def waiter():
            event.await_("e")
            event.emitall("f")

        hub._host.install = install
        spawn.call(waiter)
        print(event.await_("f"))
        """
    )
    assert lines == ["f"]


FIRST_WAIT = """
    import signal
    from coutil import _host, event, system
    from coutil._kernel.hub import this_hub
    from tests.helpers.moments import at_every_moment

    def check(log, moment):
        seen = [system.suspend(0.001), system.suspend(0), len(_host._hubs), this_hub() in _host._hubs]
        assert (log, seen) == (expected, [True, True, 1, True]), (moment, log, seen)

    def make():
        this_hub().close()
        log = []
        return (*begin(log), lambda moment: check(log, moment))
"""


def test_woken_while_the_first_wait_makes_the_hub():
    """B20: whoever is woken then waits again, in the same hub."""
    lines = output_of(
        f"""{FIRST_WAIT}
    def begin(log):
        signal.setitimer(signal.ITIMER_REAL, 0.05)  # after the last moment
        return lambda: log.append(event.await_("x")), lambda: event.emitall("x")

    expected = ["x"]
    signal.signal(signal.SIGALRM, lambda *_: event.emitall("x"))
    system.suspend(0)
    print(at_every_moment(make) > 50)
    """,
        timeout=60,
    )
    assert lines == ["True"]


def test_a_handler_that_waits_while_the_hub_is_made():
    """B20: its hub is that of the thread."""
    lines = output_of(
        f"""{FIRST_WAIT}
    def begin(log):
        return this_hub, lambda: log.append(system.suspend(0.001))

    expected = [True]
    system.suspend(0)
    print(at_every_moment(make) > 15)
    """
    )
    assert lines == ["True"]
