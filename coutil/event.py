"""Events: coroutines wait for a value, any value but None, until somebody emits it.

Rule 1: an emission resumes the waiters at once, one after the other, first come, first served; it returns when each of
them waits again or has ended. What escapes from a waiter goes to the excepthook and stops nothing. KeyboardInterrupt
and SystemExit are raised by the emission, after all of its waiters were resumed.
Rule 2: an emission works on a detached list. Whoever waits again while it goes on enters a new list.
Rule 3: numbers (1 and 1.0 are one event), strings and bytes are compared by value, everything else by identity: also
True and False, tuples, and what cannot be hashed.
Rule 4: in a signal handler, and in a finalizer that the collector runs, an emission only schedules: the hub makes it in
its next turn.
Rule 5: events belong to an OS thread. A registry entry, which keeps the value, exists only while somebody waits.
Rule 6: an emission reaches the waiters of its own thread. One that could only have been for those of another thread
raises `ForeignThread`: an object that is compared by identity is the same for all threads; and of a thread that has no
coroutines, no event can be its own. Numbers, strings and bytes of a thread with coroutines are names of its own, and
reach nobody elsewhere. A promise is the exception: fulfilling it wakes its waiters in every thread.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Iterable
from functools import partial
from typing import Any
from weakref import ref

from greenlet import getcurrent

from ._asynchronous import alerts, asynchronous
from ._coroutines.books import foreign
from ._coroutines.coroutine import Coroutine, home, running, thread_has_home
from ._coroutines.switching import notify, rest
from ._interpreter import local
from ._keys import BY_VALUE, key_of, keys_of, short
from ._report import Known

__all__ = ["await_", "awaitall", "awaitany", "emitall", "emitone", "pending"]


class _End:
    """Forgets the waits of a thread when the thread ends, although primitives of `coutil.sync` still refer to them."""

    __slots__ = ("waits",)

    def __init__(self, waits: dict[Hashable, Any]) -> None:
        self.waits = waits

    def __del__(self) -> None:
        self.waits.clear()


class _Registry(local):
    """The waits of this OS thread. `waits` maps the key of an event to its line: see `_line_up`."""

    def __init__(self) -> None:
        self.waits: dict[Hashable, Any] = {}
        self.end = _End(self.waits)
        self.known = Known(partial(_coroutines, self.waits))
        self.waits_here = ThreadWaits(self.waits)


class ThreadWaits:
    """The waits of one OS thread, for the other ones. Kept by the thread's registry, and gone with it."""

    __slots__ = ("__weakref__", "waits")

    def __init__(self, waits: dict[Hashable, Any]) -> None:
        self.waits = waits
        _threads.add(ref(self, _threads.discard))


_threads: set[ref[ThreadWaits]] = set()


def _coroutines(waits: dict[Hashable, Any]) -> list[Coroutine]:
    """Return who waits, for reports, which may be made in another thread: each step here is one for the interpreter."""
    found: list[Coroutine] = []
    for line in tuple(waits.values()):
        found += _of_line(line)
    return found


def _of_line(line: list[Any]) -> list[Coroutine]:
    """Return the coroutines of a line: see `_line_up`."""
    _, first, others = line
    return [first] * (first is not None) + (list(others.values()) if others is not None else [])


here = _Registry()
Line = OrderedDict["Wait", Coroutine]


def await_(event: Any) -> Any:
    """Wait until `event` (any value but None) is emitted.

    Returns the event that was passed to the emission, or a tuple of it and the emission's further arguments; or what an
    explicit resume brings. Suspends. Raises ValueError (None, NaN), `NotYieldable`, `Deadlock` (main program only).
    Lua: event.await.
    """
    try:
        enter(Wait((key_of(event),)))
        del event
        return outcome(suspend())
    except BaseException:
        leave()
        raise


def awaitany(*events: Any) -> Any:
    """Wait until one of `events` is emitted; None and repetitions are ignored.

    Returns, suspends and raises as `await_`; ValueError also if nothing is left to wait for. Lua: event.awaitany.
    """
    keys = keys_of(events)
    if not keys:
        raise ValueError("at least one event is needed that is not None")
    try:
        enter(WaitAny(keys))
        del events, keys
        return outcome(suspend())
    except BaseException:
        leave()
        raise


def awaitall(*events: Any) -> Any:
    """Wait until each of `events` was emitted once; None and repetitions are ignored.

    Returns True, at once if nothing is left to wait for; or what an explicit resume brings. Suspends.
    Raises ValueError (NaN), `NotYieldable`, `Deadlock` (main program only). Lua: event.awaitall.
    """
    keys = keys_of(events)
    if not keys:
        return running() is not None
    try:
        enter(WaitAll(keys))
        del events, keys
        woken = suspend()
    except BaseException:
        leave()
        raise
    return True if woken.__class__ is Emission else woken


def emitall(event: Any, *arguments: Any) -> bool:
    """Resume everybody who waits for `event`; their calls return it, with the `arguments` if there are any.

    Returns whether a coroutine waited; False for None. Works anywhere and never suspends: see rule 4.
    Raises ValueError (NaN), `ForeignThread` (the waiters belong to another thread: see rule 6; to wake them, use
    `uv.Loop.call_threadsafe`, or a promise), and KeyboardInterrupt or SystemExit of a waiter: see rule 1.
    Lua: event.emitall.
    """
    if event is None:
        return False
    key = key_of(event)
    if alerts and asynchronous():
        return schedule(emitall, key, event, arguments)
    waits = here.waits
    if key in waits:
        return _emit_to_line(waits, key, Emission((event, *arguments)))
    if len(_threads) > 1:
        refuse_waiters_elsewhere(event, key)
    return False


def emitone(event: Any, *arguments: Any) -> bool:
    """Resume the one who has waited for `event` longest. Everything else is as in `emitall`. Lua: event.emitone."""
    if event is None:
        return False
    key = key_of(event)
    if alerts and asynchronous():
        return schedule(emitone, key, event, arguments)
    emission = Emission((event, *arguments))
    while (first := _take_first(key)) is not None:
        try:
            if deliver((first,), key, emission):
                return True
        except BaseException:
            _deliver_later((first,), key, emission)
            raise
    if len(_threads) > 1:
        refuse_waiters_elsewhere(event, key)
    return False


def _emit_to_line(waits: dict[Hashable, Any], key: Hashable, emission: Emission) -> bool:
    """Detach the line of an event, if there is one still, and resume its waiters; return whether there are any."""
    if key not in waits:  # a signal handler has emitted since the caller looked
        return False
    line = waits[key]
    del waits[key]  # since the look nothing looks for signals: a handler that raises does so below
    try:
        return deliver(((line[0], line[1]),) if line[2] is None else _detached(line), key, emission)
    except BaseException:
        _deliver_later(_detached(line), key, emission)
        raise


def _detached(line: list[Any]) -> tuple[Any, ...]:
    """Return the pairs of wait and coroutine in a line."""
    return ((line[0], line[1]), *(line[2] or {}).items())


def _deliver_later(detached: tuple[Any, ...], key: Hashable, emission: Emission) -> None:
    """Have the hub finish a delivery that an exception of a signal handler has interrupted."""
    if any(coroutine is not None and coroutine.waiting_on is wait for wait, coroutine in detached):
        home().call_soon(_finish, detached, key, emission)


def _finish(detached: tuple[Any, ...], key: Hashable, emission: Emission) -> None:
    try:
        deliver(detached, key, emission)
    except BaseException:
        _deliver_later(detached, key, emission)
        raise


def schedule(emit: Callable[..., bool], key: Hashable, event: Any, arguments: tuple[Any, ...]) -> bool:
    """Have the hub call `emit` if a coroutine waits; return whether one does."""
    if key not in here.waits:
        return False
    home().call_soon(emit, event, *arguments)
    return True


def pending(event: Any) -> bool:
    """Return whether anybody waits for `event`; False for None. Raises ValueError (NaN). Lua: event.pending."""
    return event is not None and key_of(event) in here.waits


# -- other threads ----------------------------------------------------------------------------------------------------


def waiting_elsewhere(key: Hashable) -> list[Coroutine]:
    """Return the coroutines of other OS threads that wait for the event which has `key`.

    Those threads go on meanwhile. So each step here is one for the interpreter, as in `_coroutines`.
    """
    mine = here.waits_here
    found: list[Coroutine] = []
    for thread in [one() for one in tuple(_threads)]:
        if thread is not None and thread is not mine and (line := thread.waits.get(key)) is not None:
            found += _of_line(line)
    return found


def refuse_waiters_elsewhere(event: object, key: Hashable) -> None:
    """Raise `ForeignThread` if the emission of an event was meant for another OS thread: see rule 6."""
    waiting = waiting_elsewhere(key)
    if waiting and (key.__class__ not in BY_VALUE or not thread_has_home()):
        raise foreign(f"{waiting[0].name}, which waits for event {short(event)},", waiting[0].home.thread)


def emit_in_every_thread(event: Any, *arguments: Any) -> None:
    """Emit an event here at once, and in the hubs of all coroutines of other OS threads that wait for it.

    Those hubs are woken; a thread that has no hub yet emits as soon as it has one.
    """
    key, mine = key_of(event), here.waits_here  # made now, if it is this thread's first use
    if _threads != {ref(mine)}:
        for home in dict.fromkeys(one.home for one in waiting_elsewhere(key)):
            home.call_threadsafe(_emit_here, event, *arguments)
    _emit_here(event, *arguments)


def _emit_here(event: Any, *arguments: Any) -> bool:
    """Do what `emitall` does, but do not look at other threads: the waiters here may have gone on meanwhile."""
    key = key_of(event)
    if alerts and asynchronous():
        return schedule(_emit_here, key, event, arguments)
    return _emit_to_line(here.waits, key, Emission((event, *arguments)))


# -- waiting: `enter`, drop what the frame refers to, `suspend` --------------------------------------------------------


class Emission(tuple[Any, ...]):
    """What an emission, and nobody else, resumes with: the event and the further arguments."""

    __slots__ = ()


class Wait:
    """A call that waits for one event, as reports show it.

    It is over as soon as the coroutine's `waiting_on` is something else; detached lists may refer to it for longer.
    It does not know its coroutine: when a thread ends, its registry is the only one who does, and both are collected.
    """

    __slots__ = ("keys",)
    kind = "event"  # for several keys

    def __init__(self, keys: Collection[Hashable]) -> None:
        """`keys` are those of the events."""
        self.keys: Any = keys

    def over(self, key: Hashable) -> bool:
        """Return whether the emission of the event that has `key` ends the wait."""
        return True

    def __str__(self) -> str:
        """What the coroutine waits for."""
        return f"{self.kind if len(self.keys) > 1 else 'event'} {self.names()}"

    def names(self) -> str:
        """Return the short reprs of the events."""
        return ", ".join(map(short, self.keys))


class WaitAny(Wait):
    """A call that waits for one of several events."""

    __slots__ = ()
    kind = "any of the events"

    def over(self, key: Hashable) -> bool:
        """Leave the lists of the other events; return True."""
        _withdraw(self)
        return True


class WaitAll(Wait):
    """A call that waits for several events; those that were emitted are no longer among its `keys`."""

    __slots__ = ()
    kind = "all of the events"

    def over(self, key: Hashable) -> bool:
        """Return whether the event was the last one."""
        self.keys.pop(key, None)
        return not self.keys


def enter(wait: Wait) -> None:
    """Put the running coroutine at the end of the lists of the events of `wait`. Raises `NotYieldable`."""
    me = running()
    me.told = None
    me.waiting_on = wait
    waits = here.waits
    for key in tuple(wait.keys):
        made = [wait, me, None]
        line = waits.setdefault(key, made)
        if line is not made:
            _line_up(key, line, made)
    if me.waiting_on is not wait:  # it is over: a signal handler, or a finalizer, has emitted
        _withdraw(wait)


# A line is [wait, coroutine, further waits with their coroutines in the order of their arrival]. The first two are None
# after the first wait has left, the third one as long as there was one wait at a time: an OrderedDict is slow to make.
# A signal handler may emit, and other coroutines may come and go, at each step of the functions below. So a line is
# never replaced by another one: each step that changes the registry is one for the interpreter.


def _line_up(key: Hashable, line: list[Any], made: list[Any]) -> None:
    """Put the wait of a line that was `made` at the end of the line of an event, which others wait for.

    If an emission has detached that line too early, do so once more.
    """
    waits, wait, coroutine = here.waits, made[0], made[1]
    while line is not made:
        others: Line = OrderedDict()
        if line[2] is None:
            line[2] = others
        line[2][wait] = coroutine
        if waits.get(key) is line or not _waits(wait, coroutine, key):
            return
        line = waits.setdefault(key, made)


def _take_first(key: Hashable) -> tuple[Wait, Coroutine] | None:
    """Take the wait that is first in the line of an event. A signal handler that raises takes none."""
    waits = here.waits
    while key in waits:  # from here on nothing looks for signals
        line = waits[key]
        if line[2] is None:
            wait, coroutine = line[0], line[1]
            line[0] = line[1] = None
            del waits[key]
        else:
            wait, coroutine = _take_first_of(key, line)
        if wait is not None:
            return wait, coroutine
    return None


def _take_first_of(key: Hashable, line: list[Any]) -> tuple[Any, Any]:
    """Take the wait that is first in a line which has had several; None twice if a signal handler has taken it."""
    waits, others = here.waits, line[2]
    second = next(iter(others), None)  # from here on nothing looks for signals
    wait, coroutine = line[0], line[1]
    if wait is not None:
        line[0] = line[1] = None
    elif second is not None and second in others:
        wait, coroutine = second, others[second]
        del others[second]
    if not others and key in waits and waits[key] is line:
        del waits[key]
    return wait, coroutine


def _drop_if_empty(key: Hashable, line: list[Any]) -> None:
    """Take a line out of the registry unless a wait is in it. From its first step on nothing looks for signals."""
    waits = here.waits
    if line[0] is None and not line[2] and key in waits and waits[key] is line:
        del waits[key]


def _waits(wait: Wait, coroutine: Coroutine, key: Hashable) -> bool:
    """Return whether a wait goes on, and waits for the event that has `key`."""
    return coroutine.waiting_on is wait and key in wait.keys


def suspend() -> Any:
    """Suspend the running coroutine, which has entered a wait; return an `Emission`, or what an explicit resume brings.

    The wait is in no list any more when this returns or raises. No frame here keeps the coroutine or the event.
    """
    try:
        woken = rest()
    except BaseException:
        leave()
        raise
    if woken.__class__ is not Emission:
        leave()
    return woken


def leave() -> None:
    """End the wait of the running coroutine, which was resumed by something else than an emission."""
    coroutine: Coroutine | None = getattr(getcurrent(), "coroutine", None)
    if coroutine is not None:  # else it is being collected: the thread has ended, and with it the registry
        wait = coroutine.waiting_on
        if isinstance(wait, Wait):  # else it was emitted just now, by a signal handler or a finalizer
            _withdraw(wait)
        coroutine.waiting_on = coroutine.told = None


def _withdraw(wait: Wait) -> None:
    """Remove a wait from the lists that it is in; not from detached ones, whose emission skips it."""
    waits = here.waits
    for key in wait.keys:
        line = waits.get(key)
        if line is not None:
            if line[0] is wait:
                line[0] = line[1] = None
            elif line[2] is not None:
                line[2].pop(wait, None)
            _drop_if_empty(key, line)


def deliver(detached: Iterable[Any], key: Hashable, emission: Emission) -> bool:
    """Resume those whose wait was not ended by something else meanwhile, and does not go on with further events.

    detached: waits with their coroutines; None is ignored. Returns whether the emission has reached any of them. See
    rule 1 for what escapes from the coroutines. An exception of a signal handler ends it early; it can be repeated.
    """
    leaving: BaseException | None = None
    reached = False
    try:
        for wait, coroutine in detached:
            if wait is None or coroutine.waiting_on is not wait:
                continue
            reached = True
            if wait.__class__ is Wait or wait.over(key):
                try:
                    notify(coroutine, emission)
                except BaseException as error:  # KeyboardInterrupt, SystemExit: raised below
                    if coroutine.waiting_on is wait or coroutine.told is emission:
                        raise  # a signal handler has raised before the coroutine was entered
                    if leaving is not None:
                        coroutine.home.report(coroutine, error)
                    else:
                        leaving = error
    except BaseException:
        if leaving is not None:
            home().told(leaving)
        raise
    if leaving is not None:
        try:
            raise leaving
        finally:
            del leaving  # the traceback refers to this frame
    return reached


def outcome(woken: Any) -> Any:
    """Return what `await_` does for what `suspend` returned."""
    if woken.__class__ is not Emission:
        return woken
    return woken[0] if len(woken) == 1 else tuple(woken)
