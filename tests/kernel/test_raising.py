"""Signal handlers that raise, at every boundary of the calls that wake others, start them, or let something go."""

from __future__ import annotations

import sys
import traceback
from contextlib import nullcontext, suppress
from functools import partial

import pytest

from coutil import coroutine, event, mutex, promise, queued, spawn, sync, system
from coutil.errors import TaskCancelled
from coutil.scopes import scope
from tests.helpers.bytecode_points import at_every_boundary, at_pairs_of_boundaries


class Late(Exception):
    """What the handler raises."""


class Giving:
    """Coroutines wait; then the main program makes one call. Each is woken once, wherever a handler raises in that."""

    def __init__(self, escaped, wait, give, count=3, woken=3):
        """wait, give: called without arguments. woken: how many of the `count` coroutines one call wakes."""
        self.escaped, self.wait, self.give, self.woken = escaped, wait, give, woken
        self.log, self.late = [], []
        self.armed = False
        self.waiters = [spawn.call(self.body, number) for number in range(count)]

    def body(self, number):
        try:
            self.wait()
        except Late as error:
            self.late.append(error)
        self.log.append(number)

    def program(self):
        self.armed = True
        try:
            self.give()
        except Late as error:
            self.late.append(error)
        self.armed = False

    def action(self):
        if self.armed:
            self.armed = False
            self.raised = True
            raise Late

    raised = False

    def check(self, boundary):
        self.armed = False
        for _ in range(3):
            system.suspend()
        if not self.log and self.raised:  # the call has had no effect at all
            self.give()
        for _ in range(3):
            system.suspend()
        assert self.log == list(range(self.woken)), self.log
        assert len(self.late) + len(self.escaped) == self.raised, (self.late, self.escaped)
        self.escaped.clear()
        while len(self.log) < len(self.waiters):
            before = len(self.log)
            self.give()
            for _ in range(3):
                system.suspend()
            assert len(self.log) > before, "a waiter is lost"
        assert self.log == list(range(len(self.waiters))), self.log
        assert all(one.status == "dead" for one in self.waiters)


def emissions():
    return partial(event.await_, "e"), partial(event.emitall, "e", 1), 3, 3


def single():
    return partial(event.await_, "e"), partial(event.emitone, "e", 1), 3, 1


def lonely():
    return partial(event.await_, "e"), partial(event.emitone, "e", 1), 1, 1


def unhashable():
    one = []
    return partial(event.awaitany, one, "f"), partial(event.emitall, one), 3, 3


def stored():
    return partial(queued.await_, "q"), partial(queued.emitone, "q"), 3, 1


def promises():
    made, fulfill = promise.create()
    return made, fulfill, 3, 3


def permits():
    made = sync.Semaphore(0)
    return made.acquire, made.release, 3, 1


def items():
    made = sync.Queue(0)
    return made.get, partial(made.put, 1), 3, 1


GIVING = [emissions, single, lonely, unhashable, stored, promises, permits, items]


@pytest.mark.parametrize("row", GIVING, ids=[row.__name__ for row in GIVING])
def test_each_waiter_is_woken_once(row, escaped):
    """An emission that a handler interrupts reaches every waiter, once; the exception comes out after that."""
    system.suspend()

    def make():
        one = Giving(escaped, *row())
        return one.program, one.action, one.check

    # `Queue.put` calls nothing on its way, `Semaphore.release` one function: they have fewer boundaries than others
    assert len(at_every_boundary(make)) >= {items: 3, permits: 4}.get(row, 5)


class Holding:
    """The main program holds a mutex for a block, while another coroutine waits for it."""

    def __init__(self):
        self.log, self.armed, self.raised = [], False, False

    def program(self):
        self.armed = True
        self.block(lambda: spawn.call(self.block, lambda: self.log.append("body")))
        self.armed = False

    def block(self, start):
        try:
            with mutex.held("m"):
                start()
                system.suspend()
        except Late as error:
            places = [(frame.f_code, line) for frame, line in traceback.walk_tb(error.__traceback__)]
            if any(code.co_name == "__exit__" and line == code.co_firstlineno for code, line in places):
                mutex.unlock("m")  # Python has called the handler before the first line of __exit__: nothing was done

    def action(self):
        if self.armed:
            self.armed = False
            self.raised = True
            raise Late

    def check(self, boundary):
        for _ in range(3):
            system.suspend()
        assert not mutex.islocked("m")
        assert self.log.count("body") <= 1
        with mutex.held("m"):
            assert mutex.ownlock("m")


def test_a_mutex_is_not_left_locked(escaped):
    """Wherever a handler raises in a block that holds the mutex, in any coroutine: the others get it."""
    system.suspend()

    def make():
        escaped.clear()
        one = Holding()
        return one.program, one.action, one.check

    assert len(at_every_boundary(make)) > 4
    escaped.clear()


# -- runners ----------------------------------------------------------------------------------------------------------


class Resuming:
    """A coroutine makes others, each of which fails or returns; it, and not the main program, gets what is raised."""

    def __init__(self, escaped):
        self.escaped = escaped
        self.made, self.told, self.begun, self.raised = [], [], [], False
        self.armed = False
        system.suspend()  # the hub has runners to spare

    def body(self, number):
        self.begun.append(number)
        if number % 2:
            raise KeyError(number)
        return number

    def resumer(self):
        self.armed = True
        for number in range(4):
            self.resume(number)
        self.armed = False

    def resume(self, number):
        try:
            made = coroutine.create(self.body)
            self.made.append(made)
            self.told.append(made.resume(number))
        except (Late, KeyError) as error:
            self.told.append(error)

    def program(self):
        spawn.call(self.resumer)

    def action(self):
        if self.armed:
            self.armed, self.raised = False, True
            raise Late

    def check(self, boundary):
        hooked = [error for _, error in self.escaped]
        errors = [one for one in (*self.told, *hooked) if isinstance(one, Late)]
        assert len(errors) == self.raised, (self.told, hooked)
        failed = [one for one in (*self.told, *hooked, *(one.__context__ for one in errors)) if type(one) is KeyError]
        assert len(failed) >= sum(number % 2 for number in self.begun) - self.raised, (self.told, hooked)
        if self.raised and not self.escaped:  # it came while another coroutine was begun, or ended
            assert len(self.told) == 4, self.told
        self.escaped.clear()
        for one in self.made:
            if one.status == "suspended":  # the handler came before it could begin
                with pytest.raises(KeyError) if self.made.index(one) % 2 else nullcontext():
                    one.resume(self.made.index(one))
            assert one.status == "dead"
        for _ in range(3):
            assert spawn.call(system.suspend).status == "suspended"
        system.suspend()


def test_a_runner_between_two_coroutines(escaped):
    """What a handler raises there goes to the resumer of the coroutine that ends or begins, and nothing is lost."""
    system.suspend()

    def make():
        one = Resuming(escaped)
        return one.program, one.action, one.check

    assert len(at_every_boundary(make)) > 50


class Finishing:
    """Coroutines end, or begin, in the hub."""

    def __init__(self, escaped):
        self.escaped, self.late, self.ended = escaped, [], []
        self.armed = self.raised = False
        self.made = [spawn.call(self.body, number) for number in range(3)]

    def body(self, number):
        try:
            system.suspend()
            spawn.call(self.ended.append, number)
            self.made.append(spawn.call(system.suspend))
        except Late as error:
            self.late.append(error)
        raise KeyError(number)

    def program(self):
        self.armed = True
        try:
            for _ in range(3):
                system.suspend()
        except Late as error:
            self.late.append(error)
        self.armed = False

    def action(self):
        """Raise, but not in the excepthook: that shows what it raises."""
        frame = sys._getframe()
        while frame is not None and frame.f_code.co_name not in ("report", "print_exception"):
            frame = frame.f_back
        if self.armed and frame is None:
            self.armed, self.raised = False, True
            raise Late

    def check(self, boundary):
        self.armed = False
        for _ in range(4):
            system.suspend()
        assert all(one.status == "dead" for one in self.made)
        kinds = [type(error) for _, error in self.escaped]
        self.escaped.clear()
        chained = [error for error in self.late if isinstance(error.__context__, KeyError)]
        assert kinds.count(Late) + len(self.late) == self.raised, kinds
        assert kinds.count(KeyError) + len(chained) >= 3 - self.raised, kinds


@pytest.mark.slow
def test_a_runner_that_the_hub_uses(escaped):
    """Coroutines that end in the hub are told of although a handler raises; the others go on."""
    system.suspend()

    def make():
        one = Finishing(escaped)
        return one.program, one.action, one.check

    assert len(at_every_boundary(make)) > 50


# -- scopes -----------------------------------------------------------------------------------------------------------


class Scoped:
    """A coroutine has a scope with children. A handler raises while that is cancelled, or filled, or while they end."""

    def __init__(self, escaped, step):
        """step: called with the scope, while a handler may raise."""
        self.escaped, self.step = escaped, step
        self.late, self.ended, self.begun = [], [], []
        self.armed = self.raised = False
        self.scope = None
        self.host = spawn.call(self.body)

    def body(self):
        try:
            with scope() as self.scope:
                for number in range(3):
                    self.scope.spawn(self.child, number)
                system.suspend(1000)
        except* Late as group:
            self.late += group.exceptions

    def child(self, number):
        self.begun.append(number)
        try:
            system.suspend(1000)
        finally:
            self.ended.append(number)

    def program(self):
        self.armed = True
        try:
            self.step(self)
        except Late as error:
            self.late.append(error)
        self.armed = False

    def action(self):
        if self.armed:
            self.armed, self.raised = False, True
            raise Late

    def check(self, boundary):
        self.armed = False
        for _ in range(3):
            system.suspend()
        if not self.scope.cancelled:
            self.scope.cancel()
        for _ in range(4):
            system.suspend()
        assert sorted(self.ended) == sorted(self.begun), (self.begun, self.ended)
        assert self.host.status == "dead"
        told = {id(error): error for error in self.late}  # the scope raises what `result` has raised
        assert len(told) + len(self.escaped) == self.raised, (self.late, self.escaped)
        self.escaped.clear()


def cancels(one):
    one.scope.cancel()


def fills(one):
    one.scope.spawn(one.child, 7)


def ends(one):
    task = one.scope.spawn(int, "7")
    assert task.result() == 7 if task.done and not repr(task).endswith("cancelled>") else one.raised


def awaits(one):
    task = one.scope.spawn(system.suspend)
    try:
        assert task.result() is True
    except TaskCancelled:  # the child got what the handler raised, or another one did
        assert one.raised
    except Late as error:
        if error not in one.late:
            raise


@pytest.mark.parametrize("step", [cancels, fills, ends, awaits])
def test_scopes_end(step, escaped):
    """A scope that a handler interrupts cuts all of its children, waits for each that has begun, and for no other."""
    system.suspend()

    def make():
        one = Scoped(escaped, step)
        return one.program, one.action, one.check

    assert len(at_every_boundary(make)) > 15


def test_what_runs_out_of_arguments():
    """The arguments of a child are checked where it is spawned."""
    with scope() as s:
        with pytest.raises(TypeError, match="positional argument"):
            s.spawn(lambda one: one)
        assert s.children == ()
        task = s.spawn(lambda one: one, 1)
    assert task.result() == 1


def test_failures_inside_of_a_child_are_its_own():
    """A TypeError of the function itself is the child's."""

    def body():
        raise TypeError

    with pytest.raises(ExceptionGroup), scope() as s:
        task = s.spawn(body)
    assert repr(task).endswith("failed>")


# -- twice ------------------------------------------------------------------------------------------------------------


class Leave(BaseException):
    """What the handlers raise: no error, as SystemExit is none."""


class Turning:
    """Coroutines wait in the loop, whose greenlet two handlers interrupt."""

    def __init__(self, escaped):
        self.escaped, self.armed, self.late = escaped, False, []
        self.waiting = [spawn.call(self.body) for _ in range(2)]

    @staticmethod
    def body():
        for _ in range(3):
            with suppress(Leave):
                system.suspend()

    def program(self):
        self.armed = True
        for _ in range(3):
            try:
                system.suspend()
            except Leave as error:
                self.late.append(error)
        self.armed = False

    def action(self):
        if self.armed:
            raise Leave

    def check(self, boundary):
        self.armed = False
        for _ in range(8):
            with suppress(Leave):  # the second one, if the program ended before
                assert system.suspend() is True
        assert {one.status for one in self.waiting} == {"dead"}
        self.escaped.clear()


def test_the_loop_outlives_two_handlers(escaped):
    """A second one may raise while the hub goes round its own loop, which no `try` covers."""
    system.suspend()

    def make():
        one = Turning(escaped)
        return one.program, one.action, one.check

    assert at_pairs_of_boundaries(make, lambda place: place.startswith(("Hub.", "Operation.")), 4) > 20
