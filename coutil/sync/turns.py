"""How coroutines wait here: each call is a turn, which is its own event and stands in a line of a primitive.

Rule 1: to serve a turn resumes no coroutine. It puts the turn into the ready queue of the hub, which resumes the waiter
unless the wait has ended in another way by then. So the calls that serve others run no other code, and work anywhere.

Rule 2: a signal handler may raise where a function begins, after a call, and where a loop goes round. So a turn leaves
its line, is given what it waits for, and enters the ready queue without any of these in between; the call that puts it
there is the last step. What raises has therefore had its whole effect, or none. `serve` is the pattern; where more than
a turn is moved, it is written out. What undoes a wait can be repeated, and is, if a second handler raises in there.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection
from typing import Any

from greenlet import getcurrent

from .._coroutines.books import foreign, site
from .._coroutines.coroutine import Coroutine, home, running
from .._coroutines.outcomes import Resumed
from .._coroutines.switching import rest_in_turn
from .._coroutines.switching import wake as resume
from .._interpreter import get_ident
from .._kernel.deliveries import LUCK
from .._kernel.entries import Entry
from ..event import Wait, here, leave
from ..scopes.deadline import in_time


class Turn(Wait, Entry):
    """A call that waits at a primitive. It is its own event, and stands in a line of the primitive.

    `done`: None as long as it waits; whether it has succeeded, once that is decided. A turn does not refer to its
    coroutine, not even in the ready queue: the registry alone does, and forgets it when the thread ends.
    """

    __slots__ = ("at", "done", "home")
    verb = "wait"
    owner: Coroutine | None = None  # who must act first, if anybody in particular

    def __init__(self, at: Primitive) -> None:
        self.at = at
        self.done: bool | None = None
        self.home: Any = None  # the waiter's, once it is registered

    @property
    def keys(self) -> tuple[Turn]:  # an attribute would make a cycle
        """What the wait is registered under."""
        return (self,)

    def fire(self) -> bool:
        """Resume the waiter, from the ready queue, unless its wait has ended in another way."""
        waiter = self.claim()
        if waiter is None:
            return False
        resume(waiter)
        return True

    def claim(self) -> Coroutine | None:
        """Take itself out and return the waiter, which the caller enters. None: its wait has ended in another way."""
        waits = self.at._waits
        try:
            waiter = waits[self][1]
        except KeyError:
            return None
        if waiter.resumer is not None:
            return None
        hub = waiter.home.hub
        del waits[self]  # from here on nothing looks for signals: see _kernel/deliveries.py
        waiter.waiting_on = None
        waiter.resumer = waiter.gate
        waiter._greenlet.coroutine = waiter
        if (own := waiter.operation) is not None:
            own.coroutine = waiter
        hub.entering = waiter
        del hub.ready[0]
        hub.luck = LUCK
        return waiter  # type: ignore[no-any-return]  # it is one

    @property
    def waiter(self) -> Coroutine | None:
        """The coroutine that waits."""
        entry = self.at._waits.get(self)
        return entry[1] if entry is not None else None

    def __str__(self) -> str:
        return f"{type(self.at).__name__.lower()} {self.at._label()} {self.verb}"


Line = OrderedDict[Any, None]  # who waits, first come first


def wait(turn: Turn) -> None:
    """Suspend the running coroutine until `turn` is done. Raises `Resumed` after an explicit resume."""
    try:
        rest_in_turn(turn, turn.at._waits, running)
    except BaseException:
        give_up(turn)
        raise


def give_up(turn: Turn) -> None:
    """End the wait of the running coroutine for `turn`, if it has begun, and was not ended. May be repeated."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None and coroutine.waiting_on is turn:
        leave()


def insist(turn: Turn) -> None:
    """Wait until the turn is done, whatever an explicit resume brings."""
    while turn.done is None:
        try:
            wait(turn)
        except Resumed:
            continue


def within(timeout: float | None, wait: Callable[[Turn], object], turn: Turn) -> None:
    """Call wait(turn), in time."""
    wait(turn) if timeout is None else in_time(timeout, wait, turn)


def leave_line(line: Line, turn: Turn, undo: Callable[[], object]) -> None:
    """End a wait that was cut: leave the line, or give back by `undo` what was got. May be repeated if it raises."""
    give_up(turn)
    if turn in line:
        del line[turn]
    elif turn.done:
        undo()


def serve(line: Line, done: bool = True) -> Any:
    """Have the hub resume the waiter that came first into a line, and take it out; return it, None if there is none.

    done: what its wait ends with. See Rule 2.
    """
    for turn in line:  # noqa: B007  # unlike calls, this does not look for signals
        break
    else:
        return None
    del line[turn]
    turn.done = done
    if (home := turn.home) is not None:  # else the waiter has not suspended yet and will look
        hub = home.hub
        ready = home.pending if hub is None else hub.ready
        ready += (turn,)  # and not a call
        if hub is not None and hub.polling:
            hub.rouse()
    return turn


def disband(at: Any, done: bool) -> None:
    """Serve all that wait in the line of a primitive, which gets an empty one. What raises has served all, or none."""
    if len(at._line) < 2:
        serve(at._line, done)
        return
    leaving, fresh = _Leaving(done), Line()
    home().enqueue(Rest(leaving))
    leaving.line, at._line = at._line, fresh
    leaving()


class _Leaving:
    """Those who are served together. May be called again."""

    __slots__ = ("done", "line")

    def __init__(self, done: bool) -> None:
        self.done = done
        self.line = Line()

    def __call__(self) -> None:
        """Serve those who are left."""
        while serve(self.line, self.done) is not None:
            pass


class Rest(Entry):
    """In the ready queue: what is left of several steps if a signal handler raises between them."""

    __slots__ = ("steps",)

    def __init__(self, steps: Callable[[], object]) -> None:
        """steps: does what is left to do, perhaps nothing; may be called again."""
        self.steps = steps

    def fire(self) -> bool:
        """Do them."""
        self.steps()
        return False


class Primitive:
    """Whatever coroutines wait at here."""

    __slots__ = ("__weakref__", "_site", "_thread", "_waits")

    def __init__(self) -> None:
        self._waits = here.waits
        self._thread = get_ident()
        self._site = site(sys._getframe())

    def _check_thread(self) -> None:
        if self._thread != get_ident():
            raise foreign(f"{self!r}", self._thread)

    def _text(self, state: str, line: Collection[Any], doing: str = "waiting") -> str:
        """Return a repr."""
        waiting = f", {len(line)} {doing}" if line else ""
        return f"<{f'{type(self).__name__} {state}'.rstrip()}{waiting} at {self._site.rpartition('/')[2]}>"

    def _label(self) -> str:
        """Return what reports show; they name the owner themselves."""
        return repr(self)


def check_number(name: str, value: Any, least: int) -> None:
    """Raise TypeError unless `value` is an integer, ValueError if it is too small."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an integer, not {value!r}")
    if value < least:
        raise ValueError(f"{name} must be at least {least}, not {value}")
