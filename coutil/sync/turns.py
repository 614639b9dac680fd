"""How coroutines wait here: each call is a turn, which is its own event and stands in a line of a primitive."""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Any

from greenlet import getcurrent

from .._coroutines.books import foreign, site
from .._coroutines.coroutine import Coroutine, running
from .._coroutines.switching import notify, rest
from .._interpreter import get_ident
from ..event import Emission, Wait, deliver, here, leave
from ..scopes.deadline import limit

SERVED = Emission(("served",))  # what waiters are resumed with


class Turn(Wait):
    """A call that waits at a primitive. It is its own event, and stands in a line of the primitive.

    `done`: None as long as it waits; whether it has succeeded, once that is decided.
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

    def __str__(self) -> str:
        return f"{type(self.at).__name__.lower()} {self.at._label()} {self.verb}"


Line = OrderedDict[Any, None]  # who waits, first come first


def wait(turn: Turn) -> Any:
    """Suspend the running coroutine; return what it is resumed with: `SERVED`, or what an explicit resume brings."""
    try:
        me: Coroutine = getcurrent().coroutine or running()  # type: ignore[attr-defined]  # a Runner has it
    except AttributeError:
        me = running()
    me.told = None
    me.waiting_on = turn
    here.waits[turn] = (turn, me)
    del me
    if turn.done is not None:  # by a signal handler or a finalizer, before we were registered
        leave()
        return SERVED
    try:
        woken = rest()
    except BaseException:
        leave()
        raise
    if woken is not SERVED:
        leave()
    return woken


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


def wake(turn: Turn) -> None:
    """Resume the one who waits for `turn`, which has left its line."""
    entry = here.waits.pop(turn, None)
    if entry is not None:  # else the thread is ending
        coroutine = entry[1]
        coroutine.waiting_on = None
        notify(coroutine, SERVED)


def wake_all(turns: Iterable[Turn]) -> None:
    """Resume everybody who waits for one of `turns`, which have left their line, as `event.emitall` does."""
    waits = here.waits
    deliver([waits.pop(turn) for turn in turns if turn in waits], None, SERVED)


class Primitive:
    """Whatever coroutines wait at here."""

    __slots__ = ("__weakref__", "_site", "_thread")

    def __init__(self) -> None:
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
