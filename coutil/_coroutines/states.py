"""The two state machines of coutil, as tables.

Rule 1: a state changes only by assignment to the attribute `state` of an owner; while DEBUG, `audited` checks that the
arrow of every such assignment is in the table.
Rule 2: no libuv and no greenlet in this file; its tests need neither.
Rule 3: the numbers are those of CoUtil's developer notes; tests and documentation refer to them.

An *operation* belongs to a coroutine: a request that libuv works on, or a handle (timer, ready queue) that exists only
for one wait. An *object* (socket, listener) has its own identity, and coroutines wait for it one at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from os import environ
from typing import Any, NamedTuple

__all__ = ["DEBUG", "OBJECT", "OPERATION", "Arrow", "State", "arrow", "audited", "observers", "table"]

DEBUG = environ.get("COUTIL_DEBUG", "") not in ("", "0")


class State:
    """A node of a table; compared by identity."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        """`name` is shown in diagrams and reprs."""
        self.name = name

    def __repr__(self) -> str:
        """Return the name."""
        return self.name


class Arrow(NamedTuple):
    """A numbered transition. `scope` is "T" (caller's code), "U" (the hub) or "TU"."""

    number: int
    source: State
    target: State
    scope: str
    event: str


FREED = State("Freed")
AWAIT_REQUEST = State("Await-request")
AWAIT_HANDLE = State("Await-handle")
ARMED = State("Armed")
CLOSE_REQUEST = State("Close-request")
CLOSE_HANDLE = State("Close-handle")
# A handle that leaves Await-handle and cannot stay armed is released at once: transitions 6, 9, 8, in one assignment.
RELEASED = State("Freed, by way of Armed and Close-handle") if DEBUG else FREED

OPERATION = (
    Arrow(1, FREED, AWAIT_REQUEST, "TU", "request started"),
    Arrow(2, FREED, AWAIT_HANDLE, "TU", "handle started"),
    Arrow(3, AWAIT_REQUEST, FREED, "U", "request callback"),
    Arrow(4, AWAIT_REQUEST, CLOSE_REQUEST, "T", "explicit resume or start failed"),
    Arrow(5, AWAIT_HANDLE, CLOSE_HANDLE, "T", "start failed or explicit resume"),
    Arrow(6, AWAIT_HANDLE, ARMED, "U", "handle callback"),
    Arrow(7, CLOSE_REQUEST, FREED, "U", "request callback, result disposed of; at once if start failed or detached"),
    Arrow(8, CLOSE_HANDLE, FREED, "TU", "handle released"),
    Arrow(9, ARMED, CLOSE_HANDLE, "TU", "coroutine suspended, ended, or began another operation"),
    Arrow(10, ARMED, AWAIT_HANDLE, "T", "same kind of handle again"),
)

O_READY = State("Ready")
O_AWAIT = State("Await")
O_ARMED = State("Armed")
O_CLOSE = State("Close")
O_FREED = State("Freed")

OBJECT = (
    Arrow(1, O_READY, O_CLOSE, "T", "close or finalizer"),
    Arrow(2, O_READY, O_AWAIT, "T", "wait"),
    Arrow(3, O_CLOSE, O_FREED, "U", "close callback"),
    Arrow(4, O_AWAIT, O_READY, "T", "explicit resume of the waiter"),
    Arrow(5, O_AWAIT, O_CLOSE, "T", "close under the waiter"),
    Arrow(6, O_AWAIT, O_ARMED, "U", "callback"),
    Arrow(7, O_ARMED, O_READY, "U", "coroutine suspended or ended"),
    Arrow(8, O_ARMED, O_CLOSE, "T", "close by the code just resumed"),
    Arrow(9, O_ARMED, O_AWAIT, "T", "wait again, by the same or another coroutine"),
)

Observer = Callable[[Any, Arrow], None]
observers: list[Observer] = []  # called with (owner, arrow) at every transition while DEBUG; tests add theirs


def arrow(table: tuple[Arrow, ...], source: State, target: State) -> Arrow:
    """Return the arrow of `table` from `source` to `target`. Raises AssertionError if there is none."""
    for candidate in table:
        if candidate.source is source and candidate.target is target:
            return candidate
    raise AssertionError(f"no transition leads from {source} to {target}")


def audited(table: tuple[Arrow, ...]) -> Callable[[type], type]:
    """Decorate a class with a slot `state`: while DEBUG, assigning to it must follow an arrow of `table`.

    Neither reading nor assigning allocates memory: no finalizer runs where none could run without DEBUG.
    """
    arrows: dict[State, dict[State, Arrow]] = {}
    for transition in table:
        arrows.setdefault(transition.source, {})[transition.target] = transition

    def decorate(cls: type) -> type:
        if not DEBUG:
            return cls

        def get(owner: Any) -> State:
            value: State = owner._state
            return value

        def set_(owner: Any, target: State) -> None:
            # A release stands for three arrows
            if target is RELEASED:
                set_(owner, ARMED)
                set_(owner, CLOSE_HANDLE)
                target = FREED
            # The first assignment, in a constructor, has no arrow
            try:
                source = owner._state
            except AttributeError:
                source = None
            owner._state = target  # at once: a signal handler in between could change it, too
            if source is None:
                return
            # The check
            if target not in arrows.get(source, ()):
                arrow(table, source, target)  # raises
            if observers:
                for observer in observers:
                    observer(owner, arrows[source][target])

        cls._state = cls.__dict__["state"]  # type: ignore[attr-defined]  # the slot
        cls.state = property(get, set_)  # type: ignore[attr-defined]  # in front of it
        return cls

    return decorate


def table(arrows: tuple[Arrow, ...]) -> str:
    """Return the rows of a Markdown table: number, from, to, event."""
    return "\n".join(f"| {one.number} | {one.source} | {one.target} | {one.event} |" for one in arrows)
