"""How coroutines wait here: each call is a turn, which is its own event and stands in a line of a primitive.

Rule: to serve a turn resumes no coroutine. It puts the turn into the ready queue of the hub, which resumes the waiter
unless the wait has ended in another way by then. So the calls that serve others run no other code, and work anywhere.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from greenlet import getcurrent

from .._coroutines.books import foreign, site
from .._coroutines.coroutine import Coroutine, running
from .._coroutines.switching import SIGNED, rest_in_turn
from .._coroutines.switching import wake as resume
from .._interpreter import get_ident
from .._kernel.deliveries import LUCK
from .._kernel.entries import Entry
from ..event import Wait, here, leave
from ..scopes.deadline import limit


class Turn(Wait, Entry):
    """A call that waits at a primitive. It is its own event, and stands in a line of the primitive.

    `done`: None as long as it waits; whether it has succeeded, once that is decided. A turn does not refer to its
    coroutine, not even in the ready queue: the registry alone does, and forgets it when the thread ends.
    """

    __slots__ = ("at", "done")
    verb = "wait"
    owner: Coroutine | None = None  # who must act first, if anybody in particular

    def __init__(self, at: Primitive) -> None:
        self.at = at
        self.done: bool | None = None

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
        if self not in waits or (waiter := waits[self][1]).resumer is not None:
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


def wait(turn: Turn) -> Any:
    """Suspend the running coroutine; return what it is resumed with: SIGNED, or what an explicit resume brings."""
    try:
        woken = rest_in_turn(turn, turn.at._waits, running)
        if woken is not SIGNED:
            give_up(turn)
    except BaseException:
        give_up(turn)
        raise
    return woken


def give_up(turn: Turn) -> None:
    """End the wait of the running coroutine for `turn`, if it has begun, and was not ended. May be repeated."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None and coroutine.waiting_on is turn:
        leave()


def insist(turn: Turn) -> None:
    """Wait until the turn is done, whatever an explicit resume brings."""
    while turn.done is None:
        wait(turn)


def within(timeout: float | None, wait: Callable[[Turn], Any], turn: Turn) -> Any:
    """Return wait(turn), in time."""
    if timeout is None:
        return wait(turn)
    with limit(timeout):
        return wait(turn)


def stand_in_line(line: Line, turn: Turn, timeout: float | None, undo: Callable[[], object]) -> bool:
    """Wait, in line, for a permit; return True. Calls `undo` if it got one, but is cancelled before it goes on."""
    try:
        within(timeout, insist, turn)
    except BaseException:
        if turn.done:
            undo()
        else:
            line.pop(turn, None)
        raise
    return True


def first_of(line: Line) -> Any:
    """Return the turn that came first into a line; None if there is none. A signal handler may take some meanwhile."""
    while line:
        try:
            return next(iter(line))
        except (RuntimeError, StopIteration):
            continue
    return None


def take_first(line: Line) -> Any:
    """Take the turn that came first out of a line; None if a signal handler has taken the last one just now."""
    try:
        return line.popitem(False)[0]
    except KeyError:
        return None


def wake(turn: Turn) -> None:
    """Have the hub resume the coroutine that waits for `turn`, which has left its line."""
    waits = turn.at._waits
    if turn in waits:  # else the waiter has not suspended yet and will look, or the thread is ending
        home = waits[turn][1].home
        hub = home.hub
        if hub is None or hub.polling:
            home.enqueue(turn)
        else:
            hub.ready.append(turn)


def wake_all(turns: Iterable[Turn]) -> None:
    """Have the hub resume the coroutines that wait for `turns`, which have left their line."""
    for turn in turns:
        wake(turn)


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
