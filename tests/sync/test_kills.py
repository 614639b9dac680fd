"""Every call that waits, killed at every moment in every way: afterwards it is as if the call had never been made.

B32, B34, B36: the moments are before its start, alone, first and last in line, after an explicit resume, by the one
who is served before it, at the moment when it is served, and after its end.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext, suppress
from typing import Any

import pytest
from greenlet import GreenletExit, getcurrent

from coutil import errors
from coutil.coroutine import create
from coutil.sync import Barrier, Condition, Lock, Queue, Semaphore
from tests.helpers.coroutines import start
from tests.helpers.values import run_until_quiet


class Case:
    """A primitive that makes `call` wait until `serve` ends that wait for the one who has waited longest."""

    resumes = True  # whether an explicit resume leaves the wait as it is

    def __init__(self) -> None:
        self.log: list[object] = []
        self.prepare()

    def prepare(self) -> None:
        """Make the primitive."""

    def call(self, then: Callable[[], object] = bool) -> None:
        """Wait; do something as soon as it is served; clean up."""
        raise NotImplementedError

    def serve(self) -> None:
        """Serve the one who has waited longest, if anybody waits."""
        if "ting" in self.state():
            self.serve_one()
            run_until_quiet()

    def serve_one(self) -> None:
        """Serve the one who has waited longest."""
        raise NotImplementedError

    def finish(self) -> None:
        """Undo what was prepared, and served to no one."""

    def state(self) -> str:
        """What there is to see; waiting, getting or putting if a coroutine waits."""
        raise NotImplementedError


class Get(Case):
    """An empty queue."""

    resumes = False

    def prepare(self) -> None:
        self.queue: Queue[object] = Queue(1)

    def call(self, then: Callable[[], object] = bool) -> None:
        self.log.append(self.queue.get())
        then()

    def serve_one(self) -> None:
        self.queue.put("item")

    def state(self) -> str:
        return repr(self.queue)


class Next(Get):
    """The same, iterated."""

    def call(self, then: Callable[[], object] = bool) -> None:
        self.log.append(next(self.queue))
        then()


class Put(Get):
    """A full queue."""

    def prepare(self) -> None:
        super().prepare()
        self.queue.put("first")

    def call(self, then: Callable[[], object] = bool) -> None:
        self.log.append(self.queue.put("mine"))
        then()

    def serve_one(self) -> None:
        self.queue.get()

    def finish(self) -> None:
        while len(self.queue):
            self.queue.get()


class Permit(Case):
    """A semaphore without permits."""

    def prepare(self) -> None:
        self.permits: Any = Semaphore(1)
        self.permits.acquire()
        self.taken = True

    def call(self, then: Callable[[], object] = bool) -> None:
        with self.permits:
            self.log.append("in")
            then()

    def serve_one(self) -> None:
        self.finish()

    def finish(self) -> None:
        if self.taken:
            self.taken = False
            self.permits.release()
            run_until_quiet()

    def state(self) -> str:
        return repr(self.permits)


class Locked(Permit):
    """A lock that is taken."""

    def prepare(self) -> None:
        self.permits = Lock()
        self.permits.acquire()
        self.taken = True


class Wait(Case):
    """A condition that no one has notified."""

    resumes = False

    def prepare(self) -> None:
        self.condition = Condition()

    def call(self, then: Callable[[], object] = bool) -> None:
        with self.condition:
            self.log.append(self.condition.wait())
            then()

    def serve_one(self) -> None:
        with self.condition:
            self.condition.notify()

    def state(self) -> str:
        return f"{self.condition._lock} {self.condition}"


class WaitFor(Wait):
    """The same, until something is true."""

    resumes = True

    def prepare(self) -> None:
        super().prepare()
        self.done = 0

    def call(self, then: Callable[[], object] = bool) -> None:
        with self.condition:
            self.condition.wait_for(lambda: self.done)
            self.done -= 1
            self.log.append("done")
            then()

    def serve_one(self) -> None:
        self.done += 1
        super().serve_one()


class Pass(Case):
    """A barrier for two."""

    def prepare(self) -> None:
        self.barrier = Barrier(2)

    def call(self, then: Callable[[], object] = bool) -> None:
        self.log.append(self.barrier.wait())
        then()

    def serve(self) -> None:
        if self.barrier.n_waiting:
            self.barrier.wait()
            run_until_quiet()

    def finish(self) -> None:
        self.barrier.reset()
        run_until_quiet()

    def state(self) -> str:
        return repr(self.barrier)


CASES = [Get, Next, Put, Permit, Locked, Wait, WaitFor, Pass]
LINES = [case for case in CASES if case is not Pass]  # where several can wait at a time, and no one minds if one leaves
main = getcurrent()
ERRORS = [GreenletExit, errors.Timeout, KeyboardInterrupt]


def kill(coroutine: Any, error: type[BaseException]) -> None:
    """Throw; what escapes comes back here."""
    try:
        coroutine.throw(error)
    except error:
        assert error is not GreenletExit
    if getcurrent() is main:
        run_until_quiet()


def as_new(case: Case, kind: type[Case]) -> bool:
    """Whether nothing is left of all that happened; and it still serves."""
    case.finish()
    other = kind()
    other.finish()
    if case.state().split(" at ")[0] != other.state().split(" at ")[0]:
        return False
    case.prepare()
    case.log.clear()
    waiting = start(case.call)
    case.serve()
    case.finish()
    return len(case.log) == 1 and waiting.status == "dead"


each_error = pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
each_case = pytest.mark.parametrize("kind", CASES, ids=lambda kind: kind.__name__)
each_line = pytest.mark.parametrize("kind", LINES, ids=lambda kind: kind.__name__)


@each_error
@each_case
def test_killed_before_the_start(kind: type[Case], error: type[BaseException]) -> None:
    """It never waits."""
    case = kind()
    one = create(case.call)
    kill(one, error)
    assert (one.status, case.log) == ("dead", [])
    assert as_new(case, kind)


@each_error
@each_case
def test_killed_alone(kind: type[Case], error: type[BaseException]) -> None:
    """It ends at once, and is not served later."""
    case = kind()
    one = start(case.call)
    kill(one, error)
    assert (one.status, case.log) == ("dead", [])
    case.serve()
    assert case.log == []
    assert as_new(case, kind)


@pytest.mark.parametrize("place", [0, 1, 2])
@each_error
@each_line
def test_killed_in_line(kind: type[Case], error: type[BaseException], place: int) -> None:
    """The others are served as if it had never been there."""
    case = kind()
    made = [start(case.call) for _ in range(3)]
    kill(made.pop(place), error)
    assert case.log == []
    case.serve()
    assert made[0].status == "dead"
    case.serve()
    assert made[1].status == "dead"
    assert len(case.log) == 2
    assert as_new(case, kind)


@each_error
@each_case
def test_killed_after_an_explicit_resume(kind: type[Case], error: type[BaseException]) -> None:
    """It waits on, or has ended; both can be killed, the second without effect."""
    case = kind()
    one = start(case.call)
    one.resume("given")
    assert one.status == ("suspended" if case.resumes else "dead")
    if case.resumes:
        kill(one, error)
        assert case.log == []
    else:
        with pytest.raises(errors.DeadCoroutine):
            one.throw(error)
    assert one.status == "dead"
    assert as_new(case, kind)


@each_error
@each_line
def test_killed_by_the_one_who_is_served(kind: type[Case], error: type[BaseException]) -> None:
    """The first in line kills the second as soon as it goes on; the third is not held up."""
    case = kind()

    def body(then: Callable[[], object] = bool) -> None:
        with suppress(error):
            case.call(then)

    made = [create(body) for _ in range(3)]
    made[0].resume(lambda: kill(made[1], error))
    made[1].resume()
    made[2].resume()
    case.serve()
    case.serve()
    assert [one.status for one in made] == ["dead"] * 3
    assert len(case.log) == 2
    assert as_new(case, kind)


@each_error
@each_case
def test_killed_by_itself(kind: type[Case], error: type[BaseException]) -> None:
    """No one can throw into who runs, or has resumed another; not even at the moment when it is served."""
    case = kind()

    def suicide() -> None:
        for throw in (one.throw, create(one.throw).resume):
            with pytest.raises(errors.RunningCoroutine):
                throw(error)
        case.log.append("lives")

    one = create(case.call)
    one.resume(suicide)
    case.serve()
    assert case.log[-1] == "lives"
    assert one.status == "dead"
    assert as_new(case, kind)


@each_error
@each_case
def test_killed_after_its_end(kind: type[Case], error: type[BaseException]) -> None:
    """B35: what was got stays got."""
    case = kind()
    one = start(case.call)
    case.serve()
    assert (one.status, len(case.log)) == ("dead", 1)
    with pytest.raises(errors.DeadCoroutine):
        one.throw(error)
    assert one.close() is True
    assert as_new(case, kind)


@each_error
def test_killed_while_it_waits_for_the_lock_of_a_condition(error: type[BaseException], escaped: list[Any]) -> None:
    """It ends when it has had the lock; the next one gets its notification. Its error goes where such errors go."""
    case = Wait()
    made = [start(case.call), start(case.call)]
    with pytest.raises(KeyboardInterrupt) if error is KeyboardInterrupt else nullcontext():
        with case.condition:
            case.condition.notify()
            made[0].throw(error)
            assert made[0].status == "suspended"
        run_until_quiet()
    run_until_quiet()
    assert [(one, type(raised)) for one, raised in escaped] == [(made[0], error)] * (error is errors.Timeout)
    escaped.clear()
    assert [one.status for one in made] == ["dead"] * 2
    assert case.log == [True]
    assert as_new(case, Wait)
