"""Signal handlers that raise, at every boundary between two bytecodes of blocks: where they begin, and where they end.

One boundary cannot be covered, in this as in any context manager that is written in Python: that before the first
bytecode of `__exit__`. An exception that a handler raises there leaves the `with` statement as if there were none.
"""

from __future__ import annotations

import time
from contextlib import suppress

import pytest

from coutil import spawn, system
from coutil.errors import Cancelled
from coutil.scopes import Scope, move_on_after, scope, timeout
from coutil.scopes.deadline import Deadline, _MoveOn
from tests.helpers.bytecode_points import at_every_boundary

pytestmark = pytest.mark.filterwarnings("ignore:.* was never entered:RuntimeWarning")  # see creation_site

PATIENCE = 5  # seconds within which all must have ended
EXITS = {
    f"{one.__exit__.__qualname__} in {one.__exit__.__code__.co_filename}:{one.__exit__.__code__.co_firstlineno}"
    for one in (Scope, Deadline, _MoveOn)
}


class Late(BaseException):
    """What the handler raises."""


class Blocks:
    """A coroutine goes through a block. A subclass knows which."""

    def __init__(self, escaped):
        self.escaped = escaped
        self.errors, self.begun, self.ended, self.blocks = [], [], [], []
        self.armed = self.raised = False
        self.fails = 0  # how many errors the program itself has raised

    def program(self):
        self.armed = True
        self.host = None
        self.attempt(self.start)
        for _ in range(3):
            self.attempt(system.suspend)
        self.armed = False

    def start(self):
        self.host = spawn.call(self.body)

    def attempt(self, step):
        try:
            step()
        except BaseException as error:  # noqa: BLE001  # kept for the check
            self.errors.append(error)

    def body(self):
        self.running = True
        self.attempt(self.block)
        while True:
            try:
                assert system.suspend() is True
                assert system.suspend(0.00001) is True
                break
            except Late as error:
                self.errors.append(error)
        self.running = False

    running = False

    def block(self):
        raise NotImplementedError

    def child(self, number):
        self.begun.append(number)
        try:
            system.suspend()
            self.work(number)
        finally:
            self.ended.append(number)

    def work(self, number):
        pass

    def fail(self, *_):
        self.fails += 1
        raise KeyError(self.fails)

    def action(self):
        if self.armed:
            self.armed, self.raised = False, True
            raise Late

    def check(self, boundary):
        until = time.monotonic() + PATIENCE
        while (self.running or len(self.ended) < len(self.begun)) and time.monotonic() < until:
            self.attempt(lambda: system.suspend(0.00005))
        assert not self.running, f"{self.host} is lost, or was not able to wait"
        assert sorted(self.ended) == sorted(self.begun), "a child is lost"
        for block in self.blocks:
            assert block._exited, "a block was not left"
            assert block._timer is None
            assert not getattr(block, "children", ()), "a child was left behind"
        self.errors += [error for _, error in self.escaped]
        self.escaped.clear()
        direct = [leaf for error in self.errors for leaf in direct_leaves(error)]
        assert len({*map(id, direct)}) == len(direct), "an error came out twice"
        leaves = list({id(leaf): leaf for error in self.errors for leaf in leaves_of(error)}.values())
        assert sum(isinstance(leaf, Late) for leaf in leaves) == self.raised, self.errors
        keys = [leaf.args[0] for leaf in leaves if isinstance(leaf, KeyError)]
        assert len(set(keys)) == len(keys), "an error came twice"
        assert sorted(keys) == list(range(1, self.fails + 1)), "an error is lost"
        assert not any(isinstance(leaf, Cancelled) for leaf in leaves), "a cancellation left its block"


def direct_leaves(error):
    """Return an exception, or those in a group."""
    return (
        [leaf for one in error.exceptions for leaf in direct_leaves(one)] if hasattr(error, "exceptions") else [error]
    )


def leaves_of(error):
    """Return an exception, or those in a group, with those that each was raised in the place of."""
    found, todo, seen = [], [error], set()
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        if isinstance(one, BaseExceptionGroup):
            todo += one.exceptions
        elif not isinstance(one, Cancelled) or one is error:
            found.append(one)
        todo += [one.__context__, one.__cause__]
    return found


class Ends(Blocks):
    def block(self):
        with scope() as s:
            self.blocks.append(s)
            for number in range(2):
                s.spawn(self.child, number)


class EndsAtOnce(Blocks):
    def block(self):
        with scope() as s:
            self.blocks.append(s)


class ChildFails(Ends):
    def work(self, number):
        if number:
            self.fail()
        system.suspend(1000)


class AllFail(Ends):
    def work(self, number):
        self.fail()


class BlockFails(Blocks):
    def block(self):
        with scope() as s:
            self.blocks.append(s)
            s.spawn(self.child, 0)
            self.fail()


class IsCancelled(Blocks):
    def work(self, number):
        system.suspend(1000)

    def block(self):
        with scope() as s:
            self.blocks.append(s)
            s.spawn(self.child, 0)
            s.cancel()
            system.suspend(1000)


class IsLate(Blocks):
    def work(self, number):
        system.suspend(1000)

    def block(self):
        with suppress(TimeoutError), scope(deadline=system.time() + 0.0005) as s:
            self.blocks.append(s)
            s.spawn(self.child, 0)


class InTime(Blocks):
    def block(self):
        with timeout(1000) as outer:
            self.blocks.append(outer)
            with move_on_after(1000) as inner:
                self.blocks.append(inner)
                system.suspend()


class TooLate(Blocks):
    def block(self):
        with suppress(TimeoutError), timeout(0.0005) as one:
            self.blocks.append(one)
            system.suspend(1000)


class MovesOn(Blocks):
    def block(self):
        with move_on_after(0.0005) as one:
            self.blocks.append(one)
            system.suspend(1000)


class Nested(Blocks):
    def work(self, number):
        with timeout(1000) as one:
            self.blocks.append(one)
            system.suspend()

    def block(self):
        with timeout(1000) as outer:
            self.blocks.append(outer)
            with scope(shield=True) as s:
                self.blocks.append(s)
                s.spawn(self.child, 0)


KINDS = [
    Ends,
    EndsAtOnce,
    ChildFails,
    AllFail,
    BlockFails,
    IsCancelled,
    IsLate,
    InTime,
    TooLate,
    MovesOn,
    Nested,
]


@pytest.mark.parametrize("kind", KINDS, ids=[kind.__name__ for kind in KINDS])
def test_handlers_that_raise(kind, escaped):
    """Every block is left, with all of its children; each exception comes out once, and its coroutine can wait."""
    system.suspend()

    def make():
        one = kind(escaped)
        return one.program, one.action, one.check

    assert len(at_every_boundary(make, often=1, skip=EXITS.__contains__)) > 20
