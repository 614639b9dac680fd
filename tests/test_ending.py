"""Coroutines that are ended, or resumed, at every moment of their life: who is told, and what is left."""

from __future__ import annotations

import threading
from contextlib import nullcontext

import pytest
from greenlet import GreenletExit

from coutil import system
from coutil.coroutine import create, running, yield_
from coutil.errors import DeadCoroutine, ForeignThread, RunningCoroutine


class Stop(Exception):
    """What is thrown."""


class Life:
    """A coroutine that can be brought to any moment of its life, and the log of what it met."""

    def __init__(self):
        self.log = []
        self.coroutine = create(self.body, name="it")

    def body(self, wait=yield_):
        try:
            self.log.append(wait())
        except BaseException as error:
            self.log.append(type(error))
            raise
        finally:
            self.log.append("finally")


def not_started(life):
    """Made, never resumed."""


def ready(life):
    """In the ready queue."""
    life.coroutine.resume(system.suspend)


def waiting(life):
    """In a timer's wait."""
    life.coroutine.resume(lambda: system.suspend(1))


def yielded(life):
    """In a plain yield."""
    life.coroutine.resume()


def again(life):
    """In a second wait, inside the resumption by the first."""
    life.coroutine.resume(lambda: (system.suspend(), system.suspend(1))[1])
    system.run("ready")


def dead(life):
    """Ended by itself."""
    life.coroutine.resume(lambda: None)
    life.log.clear()


SUSPENDED = [ready, waiting, yielded, again]


# -- B34: ended at each moment


@pytest.mark.parametrize("moment", [not_started, dead])
def test_close_what_does_not_run(moment):
    """B34: True, and nothing happens; a coroutine that had not started never will."""
    life = Life()
    moment(life)
    assert life.coroutine.close() is True
    assert (life.log, life.coroutine.status) == ([], "dead")
    with pytest.raises(DeadCoroutine):
        life.coroutine.resume()


@pytest.mark.parametrize("moment", SUSPENDED)
def test_close_what_waits(moment, clock, hub):
    """B34: GreenletExit where it waits, clean-up before close() returns, nothing in flight, nothing is reported."""
    life = Life()
    moment(life)
    assert life.coroutine.close() is True
    assert (life.log, life.coroutine.status) == ([GreenletExit, "finally"], "dead")
    assert hub.in_flight() == 0
    assert system.run() is False
    assert len(life.log) == 2


@pytest.mark.parametrize("moment", SUSPENDED)
@pytest.mark.parametrize("error", [Stop, KeyboardInterrupt, SystemExit])
def test_throw_into_what_waits(moment, error, clock, hub):
    """B34: the error comes back to the thrower, and to no other one; nothing is in flight."""
    life = Life()
    moment(life)
    with pytest.raises(error):
        life.coroutine.throw(error)
    assert (life.log, life.coroutine.status) == ([error, "finally"], "dead")
    assert hub.in_flight() == 0
    assert system.run() is False


def test_throw_into_what_does_not_run():
    """B34: one that has not started ends with the error, which the thrower gets; a dead one is an error."""
    life = Life()
    with pytest.raises(Stop):
        life.coroutine.throw(Stop)
    assert (life.log, life.coroutine.status) == ([], "dead")
    with pytest.raises(DeadCoroutine, match="cannot throw into <Coroutine it dead>"):
        life.coroutine.throw(Stop)


def test_exit_thrown_into_what_has_not_started():
    """B34: GreenletExit ends it and is no error, as when it waits."""
    for exit_ in (GreenletExit, GreenletExit("with a reason")):
        life = Life()
        assert life.coroutine.throw(exit_) is None
        assert (life.log, life.coroutine.status) == ([], "dead")


@pytest.mark.parametrize("end", ["close", "throw"])
def test_end_what_runs(end):
    """B34: a coroutine cannot end itself so, nor those that wait for it; all go on."""
    refused = []

    def refuse(target):
        with pytest.raises(RunningCoroutine, match="it is not suspended"):
            target.close() if end == "close" else target.throw(Stop)
        refused.append(target.status)

    def inner():
        for target in (running(), outer, main):
            refuse(target)
        return "goes on"

    main = running()
    outer = create(lambda: create(inner).resume())
    assert outer.resume() == "goes on"
    assert refused == ["running", "normal", "normal"]


@pytest.mark.parametrize("wait", [yield_, system.suspend, lambda: system.suspend(1)], ids=["yield", "ready", "timer"])
def test_end_what_is_ending(wait, clock, hub):
    """B34: a second close ends the clean-up that waits, where it waits."""
    log = []

    def body():
        try:
            yield_()
        finally:
            try:
                wait()
            finally:
                log.append("as far as that")
            log.append("never")

    made = create(body)
    made.resume()
    assert made.close() is False
    assert made.close() is True
    assert (log, made.status) == (["as far as that"], "dead")
    assert hub.in_flight() == 0
    assert system.run() is False


def test_end_what_refuses():
    """B34: a coroutine may catch the end and go on; close() tells that it has not ended."""
    log = []

    def stubborn():
        for _ in range(2):
            try:
                yield_("still here")
            except GreenletExit:
                log.append("refused")

    made = create(stubborn)
    made.resume()
    assert made.close() is False
    assert made.status == "suspended"
    assert made.close() is True
    assert log == ["refused", "refused"]


def test_end_each_other(clock, hub):
    """B34: a coroutine woken in a turn may end those that were to be woken in the same one."""
    log, made = [], []

    def body(number):
        try:
            system.suspend(1)
            log.append(number)
            for other in made[number + 1 :]:
                other.close()
        except GreenletExit:
            log.append((number, "ended"))

    for number in range(3):
        made.append(create(body))
        made[number].resume(number)
    assert system.run() is False
    assert log == [0, (1, "ended"), (2, "ended")]
    assert [one.status for one in made] == ["dead"] * 3
    assert hub.in_flight() == 0


def test_end_by_a_child():
    """B34: a coroutine ended while another one that it has started lives on leaves that one alone."""
    inner = create(lambda: (yield_(), "inner's result")[1])
    outer = create(lambda: (inner.resume(), yield_()))
    outer.resume()
    assert outer.close() is True
    assert (outer.status, inner.status) == ("dead", "suspended")
    assert inner.resume() == "inner's result"


# -- B35: wrong resumes


def test_started_twice():
    """B35: the second resume is no second start: its values go to the wait."""
    got = []
    made = create(lambda *values: got.append((values, yield_())))
    made.resume(1)
    made.resume(2)
    assert got == [((1,), 2)]
    with pytest.raises(DeadCoroutine):
        made.resume(3)
    assert got == [((1,), 2)]


def test_dead_stays_dead(clock):
    """B35: however often it is tried, by whomever; the loop goes on."""
    dead_one, log = create(lambda: None), []
    dead_one.resume()

    def tries():
        for _ in range(3):
            with pytest.raises(DeadCoroutine):
                dead_one.resume()
            log.append(system.suspend(1))

    create(tries).resume()
    assert system.run() is False
    assert log == [True] * 3


@pytest.mark.parametrize("misuse", ["resume", "throw", "close"])
@pytest.mark.parametrize("moment", [waiting, yielded])
def test_other_thread(moment, misuse, clock):
    """B35: a coroutine belongs to its OS thread; who tries from another one is told, and nothing has changed."""
    life, told = Life(), []
    moment(life)

    def intrude():
        try:
            getattr(life.coroutine, misuse)(*[Stop] * (misuse == "throw"))
        except ForeignThread as error:
            told.append(str(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(told) == 1
    assert "belongs to thread MainThread, and was used in thread" in told[0]
    assert (life.log, life.coroutine.status) == ([], "suspended")
    assert life.coroutine.resume("mine") is None
    assert life.log == ["mine", "finally"]


def test_started_in_another_thread():
    """B35: nor can it be started there; its owner still can, with its own values."""
    got, told = [], []
    made = create(lambda *values: got.append(values))

    def intrude():
        try:
            made.resume("theirs")
        except ForeignThread as error:
            told.append(repr(error))

    thread = threading.Thread(target=intrude)
    thread.start()
    thread.join()
    assert len(told) == 1
    assert made.status == "suspended"
    made.resume("mine")
    assert got == [("mine",)]


# -- B16: a wait that was used after it ended


@pytest.mark.parametrize("use", ["resume", "throw", "close"])
@pytest.mark.parametrize("end", ["fired", "cancelled", "closed"])
def test_use_after_the_wait(end, use, clock, hub):
    """B16: a timer that fired, was cancelled, or went with its coroutine is gone; a later use meets the next wait."""
    log = []

    def body():
        log.append(system.suspend(1))
        try:
            log.append(yield_())
        except BaseException as error:
            log.append(type(error))
            raise

    made = create(body)
    made.resume()
    {"fired": system.run, "cancelled": lambda: made.resume("early"), "closed": made.close}[end]()
    assert hub.in_flight() == 0
    status = made.status
    assert status == ("dead" if end == "closed" else "suspended")
    if use == "close":
        assert made.close() is True
    else:
        expected = DeadCoroutine if end == "closed" else Stop
        with pytest.raises(expected) if use == "throw" or end == "closed" else nullcontext():
            made.throw(Stop) if use == "throw" else made.resume("later")
    met = {"resume": "later", "throw": Stop, "close": GreenletExit}[use]
    assert log == {"fired": [True, met], "cancelled": ["early", met], "closed": []}[end]
    assert made.status == "dead"


def test_cancelled_by_one_woken_in_the_same_turn(clock, hub):
    """B16: two timers fire at once; the first one cancels the second wait, whose record is void from then on."""
    log = []

    def first():
        system.suspend(1)
        second.resume("cancelled")

    def waits():
        log.append(system.suspend(1))
        log.append((system.suspend(1), clock.time - begin))

    begin = clock.time
    create(first).resume()
    second = create(waits)
    second.resume()
    assert system.run() is False
    assert log == ["cancelled", (True, 2_000_000_000)]
    assert hub.in_flight() == 0


def test_cancelled_from_its_own_callback(clock):
    """B16: a coroutine that its timer just woke cannot cancel itself; it can wait anew at once."""
    log = []

    def body():
        me = running()
        for _ in range(3):
            log.append(system.suspend(1))
            with pytest.raises(RunningCoroutine):
                me.resume()
            with pytest.raises(RunningCoroutine):
                me.close()

    create(body).resume()
    assert system.run() is False
    assert log == [True] * 3


def test_cancelled_many_times(clock, hub):
    """B16: a wait that begins right after a cancelled one has nothing to do with it, whatever kind they are."""
    log = []

    def body():
        log.extend(system.suspend(seconds) for seconds in (1, 0, 1, 2, 0, 0))

    begin, made = clock.time, create(body)
    made.resume()
    for number in range(5):
        made.resume(number)
    assert hub.in_flight() == 0
    assert system.run() is False
    assert log == [0, 1, 2, 3, 4, True]
    assert clock.time == begin
