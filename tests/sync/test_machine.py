"""Random programs over a lock, a condition, a semaphore and a queue, compared with a model after every step.

R03, R04, B32: kills, explicit resumes and timeouts at every wait, from outside and by those who were just served.
The model has generators in place of coroutines, and a list for each line; it says what happens in which order.
"""

from __future__ import annotations

import random
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from itertools import count
from typing import Any, ClassVar

import hypothesis.strategies as st
import pytest
from greenlet import GreenletExit
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from coutil import coroutine, errors, scopes, spawn, system
from coutil.sync import BoundedSemaphore, Condition, Lock, Queue, Semaphore
from coutil.testing import ManualClock
from tests.helpers.coroutines import Trouble
from tests.helpers.machine import explore
from tests.helpers.values import run_until_quiet

ACTORS = 4
PERMITS = 2
ROOM = 2
SERVED: Any = object()
Command = tuple[Any, ...]
Body = Generator[None, Any, Any]
CAUGHT = (Trouble, RuntimeError, ValueError, errors.Timeout, errors.Closed)


@pytest.fixture(autouse=True, scope="module")
def patient_queues() -> Iterator[None]:
    """The model knows nothing of the loop: here, calls of queues never let others run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("coutil.sync.queue.QUEUE_BUDGET", 10**9)
        yield


def ordinary(done: object) -> str:
    """Return what the log says of a result or error."""
    return type(done).__name__ if isinstance(done, BaseException) else str(done)


class Actor:
    """One who does what `plan` says, in reality or in the model."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.plan: deque[Command] = deque()
        self.busy = False  # with a command
        self.who: Any = None  # the coroutine or generator
        self.at: Wait | None = None  # what it waits for; model only
        self.shielded = False  # nothing around the wait can end it; model only
        self.ended = False


class Reality:
    """The real thing."""

    def __init__(self) -> None:
        self.log: list[tuple[int, str, str]] = []
        self.lock = Lock()
        self.condition = Condition(self.lock)
        self.permits = BoundedSemaphore(PERMITS)
        self.numbers = count()
        self.items = count()
        self.accepted: list[int] = []
        self.got: list[int] = []
        self.cut: list[int] = []  # items of puts that were cut: a coroutine may have got one all the same
        self.renew_queue()
        self.actors = [self.actor() for _ in range(ACTORS)]

    def renew_queue(self) -> None:
        self.queue: Queue[int] = Queue(ROOM)

    def actor(self) -> Actor:
        made = Actor(next(self.numbers))
        made.who = coroutine.create(self.body, name=f"actor {made.number}")
        made.who.resume(made)
        return made

    def body(self, me: Actor) -> None:
        try:
            while True:
                while not me.plan:
                    coroutine.yield_()
                name, *arguments = me.plan.popleft()
                me.busy = True
                try:
                    done = getattr(self, name)(me, *arguments)
                except CAUGHT as error:
                    done = error
                me.busy = False
                self.log.append((me.number, name, ordinary(done)))
        except GreenletExit:
            self.log.append((me.number, name if me.busy else "idle", "exit"))
        finally:
            me.ended = True
            if self.lock.owner is me.who:
                self.lock.release()

    def order(self, actor: Actor) -> None:
        if not actor.busy and actor.who.status == "suspended":
            actor.who.resume()

    def end(self, actor: Actor) -> None:
        actor.who.close()

    def settle(self) -> None:
        run_until_quiet()

    # -- commands

    def acquire(self, me: Actor, timeout: float | None) -> bool:
        return self.lock.acquire(timeout=timeout)

    def release(self, me: Actor) -> None:
        self.lock.release()

    def take(self, me: Actor, timeout: float | None) -> bool:
        return self.permits.acquire(timeout=timeout)

    def give(self, me: Actor, n: int) -> None:
        self.permits.release(n)

    def put(self, me: Actor, timeout: float | None) -> object:
        item = next(self.items)
        self.cut.append(item)
        done = self.queue.put(item, timeout=timeout)
        if done is True:
            self.cut.remove(item)
            self.accepted.append(item)
        return done

    def get(self, me: Actor, timeout: float | None) -> object:
        item = self.queue.get(timeout=timeout)
        if item != "given":
            self.got.append(item)
        return item

    def close(self, me: Actor) -> None:
        self.queue.close()

    def wait(self, me: Actor, timeout: float | None, around: float | None) -> object:
        with scopes.timeout(around):
            return self.condition.wait(timeout=timeout)

    def notify(self, me: Actor, n: int) -> None:
        self.condition.notify(n)

    def notify_all(self, me: Actor) -> None:
        self.condition.notify_all()

    def kill(self, me: Actor | None, slot: int, how: str) -> bool:
        other = self.actors[slot]
        if not other.busy or other.who.status != "suspended":
            return False
        if how == "throw":
            other.who.throw(Trouble())
        elif how == "close":
            other.who.close()
        else:
            other.who.resume("given")
        return True


class Wait:
    """A wait in the model."""

    def __init__(self, actor: Actor, item: Any = None) -> None:
        self.actor = actor
        self.item = item
        self.done = False


class Alarm:
    """A deadline in the model."""

    def __init__(self, due: float, actor: Actor) -> None:
        self.due = due
        self.actor = actor
        self.rings = True
        self.rang = False


class Model:
    """What should happen."""

    def __init__(self) -> None:
        self.log: list[tuple[int, str, str]] = []
        self.owner: Actor | None = None
        self.locking: list[Wait] = []
        self.waiting: list[Wait] = []
        self.value = PERMITS
        self.taking: list[Wait] = []
        self.alarms: list[Alarm] = []
        self.ready: deque[Wait] = deque()
        self.now = 0.0
        self.numbers = count()
        self.items = count()
        self.renew_queue()
        self.actors = [self.actor() for _ in range(ACTORS)]

    def renew_queue(self) -> None:
        self.stored: list[int] = []
        self.getting: list[Wait] = []
        self.putting: list[Wait] = []
        self.closed = False

    def actor(self) -> Actor:
        made = Actor(next(self.numbers))
        made.who = self.body(made)
        next(made.who)
        return made

    def body(self, me: Actor) -> Body:
        try:
            while True:
                while not me.plan:
                    yield
                name, *arguments = me.plan.popleft()
                me.busy = True
                try:
                    done = yield from getattr(self, name)(me, *arguments)
                except CAUGHT as error:
                    done = error
                me.busy = False
                self.log.append((me.number, name, ordinary(done)))
        except GreenletExit:
            self.log.append((me.number, name if me.busy else "idle", "exit"))
        finally:
            me.ended = True
            if self.owner is me:
                self.free_lock()

    def order(self, actor: Actor) -> None:
        if not actor.busy:
            self.resume(actor, None)

    def end(self, actor: Actor) -> None:
        self.throw(actor, GreenletExit())

    # -- waiting

    def resume(self, actor: Actor, value: object) -> None:
        if not actor.who.gi_running:
            with suppress(StopIteration):
                actor.who.send(value)

    def throw(self, actor: Actor, error: BaseException) -> None:
        with suppress(StopIteration):
            actor.who.throw(error)

    def pause(self, wait: Wait, alarms: list[Alarm]) -> Body:
        """Suspend, unless the time of a block around is up; return what the resume brings."""
        if any(timer.rang for timer in alarms):
            raise errors.Timeout
        wait.actor.at = wait
        try:
            return (yield)
        finally:
            wait.actor.at = None

    def wake(self, waits: list[Wait]) -> None:
        """Have those resumed that wait by then."""
        self.ready.extend(waits)

    def settle(self) -> None:
        """Resume those that have not ended meanwhile."""
        while self.ready:
            wait = self.ready.popleft()
            if wait.actor.at is wait:
                self.resume(wait.actor, SERVED)

    def alarm(self, actor: Actor, timeout: float | None) -> list[Alarm]:
        """Begin a deadline."""
        if timeout is None:
            return []
        made = Alarm(self.now + timeout, actor)
        made.rang = timeout == 0
        made.rings = not made.rang
        self.alarms.append(made)
        return [made]

    def silence(self, alarms: list[Alarm]) -> None:
        for timer in alarms:
            timer.rings = False

    def advance(self, seconds: float) -> None:
        self.now += seconds
        due = sorted([timer for timer in self.alarms if timer.rings and timer.due <= self.now], key=lambda one: one.due)
        for alarm in due:
            if alarm.rings:
                alarm.rings, alarm.rang = False, True
                if not alarm.actor.shielded:
                    self.throw(alarm.actor, errors.Timeout())
        self.alarms = [timer for timer in self.alarms if timer.rings]

    def insist(self, wait: Wait, line: list[Wait], timeout: float | None, undo: Callable[[], None]) -> Body:
        line.append(wait)
        alarms = self.alarm(wait.actor, timeout)
        try:
            while not wait.done:
                yield from self.pause(wait, alarms)
        except BaseException:
            if wait.done:
                undo()
            else:
                line.remove(wait)
            raise
        finally:
            self.silence(alarms)
        return True

    # -- commands

    def acquire(self, me: Actor, timeout: float | None) -> Body:
        if self.owner is me:
            raise RuntimeError
        if self.owner is None:
            self.owner = me
            return True
        return (yield from self.insist(Wait(me), self.locking, timeout, self.free_lock))

    def release(self, me: Actor) -> Body:
        self.check_owner(me)
        self.free_lock()
        return
        yield

    def check_owner(self, me: Actor) -> None:
        if self.owner is not me:
            raise RuntimeError

    def free_lock(self) -> None:
        if not self.locking:
            self.owner = None
            return
        wait = self.locking.pop(0)
        wait.done = True
        self.owner = wait.actor
        self.wake([wait])

    def take(self, me: Actor, timeout: float | None) -> Body:
        if self.value:
            self.value -= 1
            return True
        return (yield from self.insist(Wait(me), self.taking, timeout, lambda: self.free_permits(1)))

    def give(self, me: Actor, n: int) -> Body:
        if self.value + n > PERMITS:
            raise ValueError
        self.free_permits(n)
        return
        yield

    def free_permits(self, n: int) -> None:
        waits, self.taking[:n] = self.taking[:n], []
        self.value += n - len(waits)
        for wait in waits:
            wait.done = True
        self.wake(waits)

    def put(self, me: Actor, timeout: float | None) -> Body:
        item = next(self.items)
        if self.closed:
            raise errors.Closed("")
        if self.getting:
            self.hand_over(item)
        elif len(self.stored) < ROOM:
            self.stored.append(item)
        else:
            wait = Wait(me, item)
            return (yield from self.stand(wait, self.putting, timeout, lambda: self.take_back(wait)))
        return True

    def hand_over(self, item: int) -> None:
        wait = self.getting.pop(0)
        wait.item, wait.done = item, True
        self.wake([wait])

    def take_back(self, wait: Wait) -> bool:
        """Remove the item of a put that was cut, if it is still there."""
        if wait.item not in self.stored:
            return False
        self.stored.remove(wait.item)
        self.admit()
        return True

    def put_back(self, wait: Wait) -> bool:
        """Return the item that a get was given which was cut."""
        if self.getting:
            self.hand_over(wait.item)
        else:
            self.stored.insert(0, wait.item)
        return True

    def admit(self) -> None:
        if self.putting:
            wait = self.putting.pop(0)
            wait.done = True
            self.stored.append(wait.item)
            self.wake([wait])

    def get(self, me: Actor, timeout: float | None) -> Body:
        if self.stored:
            item = self.stored.pop(0)
            self.admit()
            return item
        if self.closed:
            raise errors.Closed("")
        wait = Wait(me)
        done = yield from self.stand(wait, self.getting, timeout, lambda: self.put_back(wait))
        return wait.item if done is True else done

    def stand(self, wait: Wait, line: list[Wait], timeout: float | None, undo: Callable[[], bool]) -> Body:
        line.append(wait)
        alarms = self.alarm(wait.actor, timeout)
        try:
            done = yield from self.pause(wait, alarms)
        except BaseException:
            if wait.done:
                undo()
            raise
        finally:
            self.silence(alarms)
            if wait in line:
                line.remove(wait)
        if done is not SERVED:
            return done if not wait.done or undo() else True
        if not wait.done:
            raise errors.Closed("")
        return True

    def close(self, me: Actor) -> Body:
        self.closed = True
        waits = self.getting + self.putting
        self.getting, self.putting = [], []
        self.wake(waits)
        return
        yield

    def wait(self, me: Actor, timeout: float | None, around: float | None) -> Body:
        outer = self.alarm(me, around)
        try:
            self.check_owner(me)
            wait = Wait(me)
            self.waiting.append(wait)
            try:
                try:
                    self.free_lock()
                    done = True if wait.done else (yield from self.wait_once(wait, timeout, outer))
                finally:
                    if wait in self.waiting:
                        self.waiting.remove(wait)
                    yield from self.retake(me)
            except BaseException:
                if wait.done:
                    self.notify_first(1)
                raise
            return wait.done or done
        finally:
            self.silence(outer)

    def wait_once(self, wait: Wait, timeout: float | None, outer: list[Alarm]) -> Body:
        inner = self.alarm(wait.actor, timeout)
        try:
            return (yield from self.pause(wait, inner + outer))
        finally:
            self.silence(inner)

    def retake(self, me: Actor) -> Body:
        """Whatever is thrown is raised when the lock is there."""
        if self.owner is None:
            self.owner = me
            return
        wait = Wait(me)
        self.locking.append(wait)
        thrown: BaseException | None = None
        me.shielded = True
        while not wait.done:
            try:
                yield from self.pause(wait, [])
            except BaseException as error:  # noqa: BLE001  # raised below
                thrown = error
        me.shielded = False
        if thrown is not None:
            raise thrown

    def notify(self, me: Actor, n: int) -> Body:
        self.check_owner(me)
        self.notify_first(n)
        return
        yield

    def notify_all(self, me: Actor) -> Body:
        yield from self.notify(me, len(self.waiting))

    def notify_first(self, n: int) -> None:
        waits, self.waiting[:n] = self.waiting[:n], []
        for wait in waits:
            wait.done = True
        self.wake(waits)

    def kill(self, me: Actor | None, slot: int, how: str) -> Body:
        other = self.actors[slot]
        if not other.busy or other.ended or other.who.gi_running:
            return False
        if how == "throw":
            self.throw(other, Trouble())
        elif how == "close":
            self.throw(other, GreenletExit())
        else:
            self.resume(other, "given")
        return True
        yield


slots = st.integers(0, ACTORS - 1)
timeouts = st.sampled_from([None, None, None, 0, 1, 2])
ways = st.sampled_from(["throw", "close", "resume"])
kills = st.tuples(st.just("kill"), slots, ways)
commands = {
    "lock": st.tuples(st.just("acquire"), timeouts) | st.just(("release",)),
    "condition": st.tuples(st.just("wait"), timeouts, timeouts)
    | st.tuples(st.just("notify"), st.integers(0, 2))
    | st.just(("notify_all",)),
    "semaphore": st.tuples(st.just("take"), timeouts) | st.tuples(st.just("give"), st.integers(1, PERMITS)),
    "queue": st.tuples(st.sampled_from(["put", "get"]), timeouts),
}
locked = st.tuples(st.just(("acquire", None)), commands["condition"], st.just(("release",)))


class SyncMachine(RuleBasedStateMachine):
    """Actors in reality and in the model get the same orders."""

    seen: ClassVar[Counter[tuple[str, str]]] = Counter()  # commands and what came of them

    def __init__(self, clock: ManualClock) -> None:
        super().__init__()
        self.clock = clock
        self.reality, self.model = Reality(), Model()
        self.dropped: list[int] = []

    def order(self, slot: int, *orders: Command) -> None:
        for side in (self.reality, self.model):
            if side.actors[slot].ended:
                side.actors[slot] = side.actor()
            actor = side.actors[slot]
            actor.plan.extend(orders)
            side.order(actor)
            side.settle()

    @rule(slot=slots, orders=st.lists(commands["lock"] | locked, min_size=1, max_size=3))
    def use_lock(self, slot: int, orders: list[Any]) -> None:
        for one in orders:
            self.order(slot, *([one] if isinstance(one[0], str) else one))

    @rule(slot=slots, orders=locked, then=kills)
    def use_condition(self, slot: int, orders: tuple[Command, ...], then: Command) -> None:
        self.order(slot, *orders[:2], then, orders[2])

    @rule(slot=slots, orders=st.lists(commands["semaphore"] | kills, min_size=1, max_size=3))
    def use_semaphore(self, slot: int, orders: list[Command]) -> None:
        self.order(slot, *orders)

    @rule(slot=slots, orders=st.lists(commands["queue"] | kills, min_size=1, max_size=3))
    def use_queue(self, slot: int, orders: list[Command]) -> None:
        self.order(slot, *orders)

    @rule(slot=slots, other=slots, name=st.sampled_from(["put", "get", ""]))
    def close_queue(self, slot: int, other: int, name: str) -> None:
        """One waits meanwhile, if he is not busy with something else."""
        if name:
            self.order(other, *[(name, None)] * (ROOM + 1))
            self.order(slot, ("close",))

    @rule(slot=slots, how=ways)
    def kill(self, slot: int, how: str) -> None:
        killed = self.reality.kill(None, slot, how)
        with pytest.raises(StopIteration) as ended:
            next(self.model.kill(None, slot, how))
        assert ended.value.value is killed
        self.reality.settle()
        self.model.settle()

    @rule(seconds=st.sampled_from([1, 1, 2]))
    def advance(self, seconds: int) -> None:
        self.clock.advance(seconds)
        system.run("ready")
        self.model.advance(seconds)
        self.reality.settle()
        self.model.settle()
        if self.model.closed:
            self.new_queue()

    def new_queue(self) -> None:
        while len(self.reality.queue):
            self.dropped.append(self.reality.queue.get())
        self.reality.renew_queue()
        self.model.renew_queue()

    @invariant()
    def all_is_as_in_the_model(self) -> None:
        real, model = self.reality, self.model
        assert real.log == model.log
        for _, name, done in real.log:
            self.seen[name, "item" if done.isdigit() else done] += 1
        real.log.clear()
        model.log.clear()
        assert [one.busy for one in real.actors] == [one.busy for one in model.actors]
        owner = next((one.number for one in real.actors if real.lock.owner is one.who), None)
        assert owner == (model.owner.number if model.owner is not None else None)
        assert real.permits.value == model.value
        assert len(real.queue) == len(model.stored)
        for line, expected in [
            (real.lock._waiters, model.locking),
            (real.condition._waiters, model.waiting),
            (real.permits._waiters, model.taking),
            (real.queue._getters, model.getting),
            (real.queue._putters, model.putting),
        ]:
            assert len(line) == len(expected)

    def teardown(self) -> None:
        """End everybody: the lock is free, all items that came in came out once, in order."""
        real = self.reality
        for side in (real, self.model):
            for actor in side.actors:
                actor.plan.clear()
            for _ in range(3):
                for actor in side.actors:
                    if not actor.ended:
                        side.end(actor)
                        side.settle()
            assert all(actor.ended for actor in side.actors)
        self.all_is_as_in_the_model()
        assert real.lock.locked() is False
        while len(real.queue):
            self.dropped.append(real.queue.get())
        assert len(set(real.got)) == len(real.got)
        out = real.got + self.dropped
        assert sorted(out) == sorted(real.accepted + [item for item in real.cut if item in out])


OUTCOMES = [
    *[(name, done) for name in ("acquire", "take") for done in ("True", "Timeout", "Trouble", "exit")],
    *[("put", done) for done in ("True", "Timeout", "Trouble", "exit", "given", "Closed")],
    *[("get", done) for done in ("item", "Timeout", "Trouble", "exit", "given", "Closed")],
    *[("wait", done) for done in ("True", "Timeout", "Trouble", "exit", "given", "RuntimeError")],
    *[("notify", done) for done in ("None", "RuntimeError")],
    *[("give", done) for done in ("None", "ValueError")],
    *[("kill", done) for done in ("True", "False")],
]


@pytest.mark.slow
def test_random_programs(clock: ManualClock) -> None:
    """Whatever is called, killed and timed out in whatever order: everybody is served once, in turn."""
    SyncMachine.seen.clear()
    explore(lambda: SyncMachine(clock), (), 400)
    assert [one for one in OUTCOMES if not SyncMachine.seen[one]] == []


@pytest.mark.fuzz
def test_many_random_programs(clock: ManualClock) -> None:
    """The same with many more programs, other ones each time."""
    explore(lambda: SyncMachine(clock), (), 10_000, 50)


# -- many operations --------------------------------------------------------------------------------------------------


class Crowd:
    """Coroutines that use one primitive again and again, while one of them at a time is told to stop waiting."""

    def __init__(self, seed: int, size: int, operations: int) -> None:
        self.random = random.Random(seed)
        self.left = operations
        self.members = [spawn.call(self.body, number) for number in range(size)]

    def body(self, number: int) -> None:
        while self.left > 0:
            self.left -= 1
            with suppress(Trouble):
                self.use(number)
            if self.random.random() < 0.3:
                system.suspend()

    def use(self, number: int) -> None:
        """One operation."""
        raise NotImplementedError

    def run(self) -> None:
        """Kill now and then, until all have ended."""
        while any(one.status != "dead" for one in self.members):
            for _ in range(3):
                one = self.random.choice(self.members)
                if one.status == "suspended" and getattr(one.waiting_on, "primitive", None) is not None:
                    one.throw(Trouble()) if self.random.random() < 0.7 else one.resume("wrong")
            system.suspend()
        assert self.left <= 0


class Users(Crowd):
    """Each has a permit for a moment; how many at a time is checked."""

    def __init__(self, permits: Any, most: int, seed: int, size: int, operations: int) -> None:
        self.permits, self.most, self.inside, self.used = permits, most, 0, 0
        super().__init__(seed, size, operations)

    def use(self, number: int) -> None:
        with self.permits:
            self.inside += 1
            self.used += 1
            assert self.inside <= self.most
            try:
                if self.random.random() < 0.5:
                    system.suspend()
            finally:
                self.inside -= 1


class Traders(Crowd):
    """Half of them put, half of them get. At the end the queue is closed."""

    def __init__(self, queue: Queue[int], seed: int, size: int, operations: int) -> None:
        self.queue, self.numbers = queue, count()
        self.accepted: set[int] = set()
        self.cut: set[int] = set()  # items of puts that were cut: a coroutine may have got one all the same
        self.got: list[int] = []
        super().__init__(seed, size, operations)

    def use(self, number: int) -> None:
        try:
            if number % 2:
                item = next(self.numbers)
                self.cut.add(item)
                if self.queue.put(item) is True:
                    self.accepted.add(item)
                    self.cut.discard(item)
            elif (item := self.queue.get()) != "wrong":  # type: ignore[comparison-overlap]  # what a resume brings
                self.got.append(item)
        except errors.Closed:
            pass
        if self.left <= 0:
            self.queue.close()


@pytest.mark.parametrize(("make", "most"), [(Lock, 1), (lambda: Semaphore(3), 3)], ids=["lock", "semaphore"])
def test_many_permits(make: Callable[[], Any], most: int) -> None:
    """R05: no permit is lost or doubled, and everybody ends."""
    permits = make()
    crowd = Users(permits, most, seed=most, size=20, operations=30_000)
    crowd.run()
    assert crowd.used > 5_000
    assert crowd.inside == 0
    assert permits.locked() is False
    assert getattr(permits, "value", most) == most


def test_many_items() -> None:
    """R05: no item is lost or doubled."""
    queue: Queue[int] = Queue(5)
    crowd = Traders(queue, seed=5, size=20, operations=40_000)
    crowd.run()
    rest = list(queue)
    assert len(crowd.got) > 10_000
    out = crowd.got + rest
    assert len(set(out)) == len(out)
    assert crowd.accepted <= set(out) <= crowd.accepted | crowd.cut
