"""Deadlines: every wait inside is cut when the time is up; they nest, and leave nothing behind."""

# ruff: noqa: PT012  # what blocks raise at their end is the matter here

from __future__ import annotations

import math
from fractions import Fraction

import pytest

from coutil import coroutine, errors, event, mutex, scopes, spawn, system
from coutil.scopes import move_on_after, scope, timeout, timeout_at
from tests.helpers.children import sleeper
from tests.helpers.coroutines import Trouble
from tests.helpers.tcp import pairs

FAR = (None, 10**400, -(10**400))
EACH = {
    "timeout": timeout,
    "timeout_at": lambda seconds: timeout_at(seconds if seconds in FAR else system.time() + seconds),
    "move_on_after": move_on_after,
}
each = pytest.mark.parametrize("make", EACH.values(), ids=EACH)


@pytest.fixture(params=["main", "coroutine"])
def run(request, clock):
    """Call a function in the main program, or in a coroutine that the loop drives."""

    def in_coroutine(function):
        found = []
        spawn.trap(lambda *outcome: found.append(outcome), function)
        system.run()
        (good, *rest), *_ = found
        if not good:
            raise rest[0]
        return rest[0] if rest else None

    return in_coroutine if request.param == "coroutine" else lambda function: function()


def cut(limit, wait=system.suspend, *arguments):
    """Wait inside a deadline; return what that ended with."""
    try:
        with limit:
            wait(*arguments)
    except errors.Timeout as error:
        return error
    return None


def refused(wait=system.suspend, *arguments):
    """Wait inside a block that was cancelled; return what the wait was cut with."""
    with pytest.raises(errors.Cancelled) as caught:
        wait(*arguments)
    return caught.value


def test_timeout(run, clock):
    """The block raises Timeout, a TimeoutError that knows it, when the time is up and not before."""

    def program():
        begun = system.time()
        limit = timeout(2)
        error = cut(limit, system.suspend, 5)
        assert isinstance(error, TimeoutError)
        assert error.scope is limit
        assert isinstance(error.__cause__, errors.Cancelled)
        assert error.__cause__.scope is limit
        assert system.time() - begun == pytest.approx(2)
        assert limit.expired is True

    run(program)
    assert clock._timers.pending() == 0


def test_in_time(run, clock):
    """Nothing happens to those who are fast enough; the one timer is gone with the block."""

    def program():
        with timeout(2) as limit:
            assert clock._timers.pending() == 1
            assert system.suspend(1) is True
        assert (limit.expired, limit.cancelled, clock._timers.pending()) == (False, False, 0)
        assert system.suspend(5) is True

    run(program)


def test_move_on_after(run, clock):
    """Its own expiry only ends the block; `expired` tells. Anything else passes through."""

    def program():
        log = []
        with move_on_after(1) as limit:
            sleeper(log)
            log.append("never")
        assert (log, limit.expired) == (["Cancelled"], True)
        with move_on_after(3) as limit:
            sleeper(log, 1)
        assert (log[1:], limit.expired) == (["slept"], False)
        with pytest.raises(Trouble), move_on_after(1) as limit:
            raise Trouble
        with pytest.raises(errors.Timeout), move_on_after(1):
            raise errors.Timeout("somebody else's")

    run(program)
    assert clock._timers.pending() == 0


@each
@pytest.mark.parametrize("seconds", [0, 0.0, -0.0, -1, -1e300, -math.inf, -(10**400)])
def test_over_at_once(make, seconds, clock):
    """Zero and negative limits: the first wait raises, without a timer; what does not wait goes on."""
    log = []
    with make(seconds) as limit:
        log.append("entered")
        assert (limit.expired, clock._timers.pending()) == (True, 0)
    again = make(seconds)
    error = cut(again, sleeper, log)
    assert (error is None) is (make is move_on_after)
    assert (log, again.expired, clock._timers.pending()) == (["entered", "Cancelled"], True, 0)


@each
@pytest.mark.parametrize("seconds", [None, math.inf])
def test_no_limit(make, seconds, clock):
    """None and infinity: no timer at all."""
    with make(seconds) as limit:
        assert clock._timers.pending() == 0
        system.suspend(1e6)
    assert (limit.expired, limit.deadline) == (False, None)


@each
@pytest.mark.parametrize("seconds", [1e9, 1e18, 1e300, 10**400, 2**63])
def test_huge_limits(make, seconds, clock, hub):
    """B64: whatever does not fit is very late; real timers take it, too."""
    with make(seconds) as limit:
        assert clock._timers.pending() == (seconds == 1e9), "more than 136 years never pass"
        system.suspend(1e6)
        assert clock.advance(10.0**8) is False
    assert (limit.expired, clock._timers.pending()) == (False, 0)


def test_huge_limits_in_real_time(hub):
    """Libuv's timers take them."""
    for seconds in (1e-9, 1e9, 1e300, 2**63):
        with move_on_after(seconds) as limit:
            system.suspend(1e-9)
            system.suspend(0.003) if seconds == 1e-9 else system.suspend()
        assert limit.expired is (seconds == 1e-9)
    assert hub.in_flight() == 0


@each
@pytest.mark.parametrize(
    ("seconds", "kind"),
    [(math.nan, ValueError), ("1", TypeError), (True, TypeError), (1j, TypeError), (Fraction(1), TypeError)],
)
def test_wrong_limits(make, seconds, kind):
    """What is no number of seconds is refused at once, with its name."""
    made = {EACH["timeout"]: timeout, EACH["move_on_after"]: move_on_after}.get(make, timeout_at)
    with pytest.raises(kind, match="deadline" if made is timeout_at else "seconds"):
        made(seconds)


def test_expiry_exactly_when_the_wait_ends(clock):
    """The timer that was made first decides; the wait that has been cut does not come again."""
    log = []
    with move_on_after(1) as limit:
        sleeper(log, 1)
    assert (log, limit.expired, clock._timers.pending()) == (["Cancelled"], True, 0)

    def early():
        spawn.call(lambda: (system.suspend(1), event.emitall("e")))
        with move_on_after(1) as limit:
            log.append(event.await_("e"))
        log.append(limit.expired)
        log.append(system.suspend(1))

    early()
    assert log[1:] == ["e", False, True]


def test_due_but_left_in_the_same_turn(clock):
    """A deadline whose block was left in the very turn in which it is due does nothing."""
    log = []

    def program():
        with move_on_after(5) as limit:
            event.await_("go")
        log.append(limit.expired)
        sleeper(log, 1)

    spawn.call(lambda: (system.suspend(5), event.emitall("go")))
    spawn.call(program)
    clock.advance(5)
    system.run()
    assert log == [False, "slept"]
    assert clock._timers.pending() == 0


# -- nesting


@pytest.mark.parametrize(("outer", "inner", "first"), [(1, 2, "outer"), (2, 1, "inner"), (1, 1, "outer")])
def test_nested(outer, inner, first, run, clock):
    """B36: each block catches its own expiry and no other; the outer one goes first if both are due together."""

    def program():
        log = []
        with move_on_after(outer) as one:
            with move_on_after(inner) as two:
                sleeper(log)
            log.append("between")
        assert log == (["Cancelled", "between"] if first == "inner" else ["Cancelled"])
        assert (one.expired, two.expired) == (first == "outer", first == "inner")

    run(program)
    assert clock._timers.pending() == 0


def test_outer_expiry_passes_the_inner_one(clock):
    """Also if the inner one has expired before and its error was forgiven: from now on it is the outer one's."""
    found = []
    with move_on_after(2) as outer:
        with move_on_after(1) as inner:
            found.append(refused(system.suspend, 5))
            found.append(refused())
            with timeout(None, shield=True):
                system.suspend(2)
            found.append(refused())
            system.suspend()
        found.append("between")
    assert [error.scope for error in found] == [inner, inner, outer]
    assert (outer.expired, inner.expired, clock._timers.pending()) == (True, True, 0)


def test_both_expired_before_the_wait(clock):
    """Two limits are over when the wait begins: it is the outer one's, and ends as that."""
    for make in (timeout, move_on_after):
        with pytest.raises(errors.Timeout) as caught, timeout(0) as outer:
            with make(-1) as inner:
                assert refused().scope is outer
                system.suspend()
            pytest.fail("the inner block has taken what is the outer one's")
        assert caught.value.scope is outer
        assert inner.expired is True


def test_many_levels(clock):
    """A hundred nested limits: one timer each, the one that is due cuts through those within."""
    limits = [timeout(0.5 if seconds == 50 else seconds) for seconds in range(100, 0, -1)]

    def nest(level):
        if level == len(limits):
            assert clock._timers.pending() == len(limits)
            system.suspend(1000)
        with limits[level] if level < len(limits) else timeout(None):
            nest(level + 1)

    with pytest.raises(errors.Timeout) as caught:
        nest(0)
    assert caught.value.scope is limits[50]
    assert [limit.expired for limit in limits].count(True) == 1
    assert (clock._timers.pending(), coroutine.running().scope) == (0, None)


def test_level_triggered(run, clock):
    """After the expiry every wait raises until the block is left, also the shortest; then none does."""

    def program():
        found = []
        with pytest.raises(errors.Timeout) as caught, timeout(1):
            try:
                system.suspend(5)
            finally:
                waits = (system.suspend, lambda: system.suspend(0.1), lambda: event.await_("e"))
                found += [refused(wait) for wait in waits]
        assert [error.scope for error in found] == [caught.value.scope] * 3
        assert len({id(error) for error in (*found, caught.value.__cause__)}) == 4
        assert system.suspend() is True
        assert system.suspend(1) is True

    run(program)


def test_cancelled_by_hand(clock):
    """A deadline has `cancel`, too: as if it were over now, only that `expired` stays False."""
    log = []
    with move_on_after(5) as limit:
        spawn.call(lambda: (system.suspend(1), limit.cancel()))
        sleeper(log)
    assert (log, limit.expired, limit.cancelled, clock._timers.pending()) == (["Cancelled"], False, True, 0)
    with pytest.raises(errors.Timeout, match=r"^cancelled, waiting on suspend "), timeout(5) as limit:
        limit.cancel()
        system.suspend()


@pytest.mark.parametrize("make", [*EACH.values(), lambda at: scope(deadline=at)], ids=[*EACH, "scope"])
def test_a_deadline_cannot_be_set(make):
    """It would change nothing: it is refused before, inside and after the block."""
    limit = make(system.time() + 1000)
    for place in (limit, None):
        with place or move_on_after(None):
            before = limit.deadline
            with pytest.raises(AttributeError, match="deadline"):
                limit.deadline = 7
            assert limit.deadline == before


def test_it_is_counted_from_the_call(clock):
    """A limit that is made earlier than it is entered runs since it was made."""
    limit, at = timeout(3), timeout_at(system.time() + 3)
    assert limit.deadline == at.deadline == pytest.approx(system.time() + 3)
    system.suspend(2)
    begun = system.time()
    for each_one in (limit, at):
        assert cut(each_one, system.suspend, 9).scope is each_one
        assert system.time() - begun == pytest.approx(1)
    assert clock._timers.pending() == 0


def test_used_once(clock):
    """A deadline is for one block."""
    with timeout(1) as limit, pytest.raises(RuntimeError, match="entered before"):
        limit.__enter__()
    with pytest.raises(RuntimeError, match="entered before"), limit:
        pass
    with pytest.raises(RuntimeError, match="not open"):
        timeout(1).__exit__(None, None, None)
    assert (clock._timers.pending(), coroutine.running().scope) == (0, None)


def test_reprs(clock):
    """They tell the state and the time."""
    at = system.time() + 1
    limit = timeout_at(at)
    assert repr(limit) == f"<Deadline open at={at}>"
    cut(limit, system.suspend, 5)
    assert repr(limit) == f"<Deadline expired at={at}>"
    with timeout(None) as unlimited:
        assert repr(unlimited) == "<Deadline open at=None>"
    assert isinstance(limit, scopes.Deadline)


def test_context_of_the_error(clock):
    """Clean-up that waits while an error is on its way: what cut it keeps that error, and is the Timeout's cause."""
    with pytest.raises(errors.Timeout) as caught, timeout(0):
        try:
            raise Trouble
        finally:
            system.suspend()
    assert isinstance(caught.value.__cause__, errors.Cancelled)
    assert isinstance(caught.value.__cause__.__context__, Trouble)
    assert caught.traceback[0].name == "test_context_of_the_error"


# -- who is inside


def test_coroutines_started_inside_are_on_their_own(clock):
    """Only scopes have children: what `spawn.call` starts is not cut."""
    log = []
    with move_on_after(1):
        spawn.call(sleeper, log, 5, "on its own")
        sleeper(log)
    assert log == ["Cancelled"]
    system.run()
    assert log == ["Cancelled", "on its own"]


def test_explicit_resume_across_blocks(go, clock):
    """A limit belongs to the coroutine that entered it, not to the one that resumes that."""
    log = []

    def inside():
        with move_on_after(1) as limit:
            log.append(coroutine.yield_("first"))
            sleeper(log)
        log.append(limit.expired)
        log.append(coroutine.yield_())

    def outside():
        with move_on_after(0):
            who.resume("given")
        log.append("not cut")

    who = coroutine.create(inside)
    assert who.resume() == "first"
    go(outside)
    system.suspend(3)
    assert log == ["given", "not cut", "Cancelled", True]
    who.resume("end")
    assert (log[4:], who.status) == (["end"], "dead")


def test_yield_is_a_wait(clock, escaped):
    """A coroutine that yields inside a limit is resumed with Timeout; no other one gets it than the excepthook."""

    def generator():
        with timeout(1):
            coroutine.yield_("value")

    who = coroutine.create(generator)
    assert who.resume() == "value"
    system.suspend(3)
    assert who.status == "dead"
    assert [(one, type(error)) for one, error in escaped] == [(who, errors.Timeout)]
    escaped.clear()


def test_a_coroutine_that_runs_is_not_disturbed(clock):
    """Its host has resumed another one just then: the next wait raises."""
    log = []

    def host():
        with move_on_after(1):
            other.resume()
            log.append("came back")
            sleeper(log)
        log.append("left")

    def meddler():
        limit = who[0].scope
        limit.cancel()
        log.append("cancelled")

    who = [coroutine.create(host)]
    other = coroutine.create(meddler)
    who[0].resume()
    assert log == ["cancelled", "came back", "Cancelled", "left"]
    assert (who[0].status, clock._timers.pending()) == ("dead", 0)


def test_raw_greenlets_can_have_limits(clock):
    """A greenlet that is not ours waits like the main program."""
    from greenlet import greenlet

    log = []

    def raw():
        with move_on_after(1) as limit:
            system.suspend(5)
        log.append(limit.expired)
        with move_on_after(1) as limit, pytest.raises(errors.Deadlock):
            limit._timer.stop()
            event.await_("never")
        log.append("deadlock")

    greenlet(raw).switch()
    assert log == [True, "deadlock"]
    assert system.suspend(1) is True
    assert clock._timers.pending() == 0


def test_deadlock_inside(clock):
    """A limit is something that can still happen: there is no deadlock before it has passed."""
    error = cut(timeout(5), event.await_, "never")
    assert isinstance(error, errors.Timeout)
    with pytest.raises(errors.Deadlock), timeout(None):
        event.await_("never")
    assert coroutine.running().scope is None


def test_a_request_is_not_begun_in_vain():
    """A connection, once the time is up, is not even attempted: the socket is as before."""
    from tests.helpers.servers import listening

    with listening("ipv4") as server, system.socket("stream", "ipv4") as stream:
        with move_on_after(0):
            stream.connect(server.getaddress())
        assert stream.connect(server.getaddress()) is True
        with server.accept() as far, move_on_after(0):
            stream.shutdown()
        assert far.close() is True
    with pairs("ipv4") as (near, far):
        with move_on_after(0):
            near.shutdown()
        near.send(b"still open")
        assert far.receive() == b"still open"


def test_owned_mutexes_are_the_owners_business(clock):
    """A mutex that was got before the time was up stays locked, one that was waited for does not."""
    mutex.lock("m")
    log = []

    def other():
        with move_on_after(1):
            mutex.lock("m")
            log.append("never")
        log.append("given up")

    spawn.call(other)
    system.suspend(2)
    assert log == ["given up"]
    assert mutex.ownlock("m")
    assert mutex.unlock("m") is False


def test_a_limit_for_a_scope_of_many(clock, hub):
    """One timer, however many children wait inside."""
    with move_on_after(1) as limit, scope() as s:
        for number in range(50):
            s.spawn(event.await_, number)
        assert clock._timers.pending() == 1
        assert hub.in_flight() == 1
    assert limit.expired is True
    assert not any(event.pending(number) for number in range(50))
