"""The texts of `errors.Deadlock` and `system.report`: the waiters, their objects, the holders, and the lines of code.

Rule 1: this file knows nothing of the layers above. It uses these attributes of coroutines: `name`, `status`,
`waiting_on`, `frame`, `resumer` (None exactly while suspended), `context` and `parked_at`; the object that a coroutine
waits on may have an `owner`.
Rule 2: it runs anywhere: in a signal handler, or in an OS thread while the coroutines of another thread run. So it does
not switch, takes no lock, imports nothing when called, and shows the type of an exception in place of a bad `str`.
Rule 3: running programs pay nothing for it. Coroutines are found through the collector, which does not list objects
older than a `gc.freeze()`. Of those, the ones that wait for a hub or in a registry are found there, and owners through
their waiters; one that called `yield_` before the freeze is missing.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from os import getcwd
from os.path import join
from types import FrameType
from typing import Any, NamedTuple
from weakref import ref

from ._interpreter import Time, get_ident

__all__ = ["WaitRegistry", "deadlock_message", "describe_wait", "full_report", "relative_path", "thread_name"]

MAX_DEADLOCK_LINES = 50  # coroutines that a deadlock lists; `system.report` lists all
MAX_CYCLE_MEMBERS = 10  # members of a cycle that are named
MAX_STACK_LINES = 10  # lines of the code of a running coroutine
MAX_NAME, MAX_PURPOSE = 40, 100  # characters of a name, and of the reason of a wait
MAX_COLUMN = 72  # no column is padded to more

Coroutine = Any  # see rule 1
_ActiveRow = tuple[Coroutine | None, str, list[str]]  # the one that runs (None: the hub), its activity, lines of code
# With the attributes `thread`, `main`, and `hub`, of which it uses `run_caller` and `waiting()`
LoopContext = Any

_registries: set[ref[WaitRegistry]] = set()


class WaitRegistry:
    """The coroutines that a registry knows, returned by `waiting`. Kept by the registry, one for each thread."""

    __slots__ = ("__weakref__", "waiting")

    def __init__(self, waiting: Callable[[], Iterable[Coroutine]]) -> None:
        self.waiting = waiting
        _registries.add(ref(self, _registries.discard))


class _Row(NamedTuple):
    """A line of the report, cell by cell."""

    name: str
    time: str
    what: str
    owner: str
    location: str


def deadlock_message(context: LoopContext, missing: Iterable[str]) -> str:
    """Return the message of `errors.Deadlock` for a thread: a line for each coroutine that waits, and each cycle.

    Members of cycles come first, then the main program, then the longest waits; at most `MAX_DEADLOCK_LINES` lines.
    missing: lines about the sources that might have woken a coroutine, for the end.
    """
    coroutines = _all_coroutines(type(context.main), [context])
    waiting = [each for each in coroutines if _suspended(each) and each.context is context]
    plural = "s that wait" if len(waiting) != 1 else " that waits"
    return "\n".join(
        [f"nothing can wake the {len(waiting)} coroutine{plural}", *_lines(waiting, limit=MAX_DEADLOCK_LINES), *missing]
    )


def full_report(kind: type, homes: Iterable[LoopContext], stacks: bool = False) -> str:
    """Return the text of `system.report`: the coroutines of every thread that wait or run. It ends in a newline.

    kind: the class of coroutines. homes: loop contexts that the caller knows, in case the collector does not list them.
    stacks: all lines of each coroutine, not only the innermost one.
    """
    # Find the coroutines, and make their lines while no frame can be lost
    frames = sys._current_frames()
    try:
        threads: dict[LoopContext, list[Coroutine]] = {}
        for coroutine in _all_coroutines(kind, homes):
            home: LoopContext = getattr(coroutine, "context", None)
            if getattr(home, "thread", None) in frames and home.main.status != "dead":
                threads.setdefault(home, []).append(coroutine)
        parts = [
            (
                thread_name(context.thread),
                sum(map(_suspended, coroutines)),
                list(_thread(context, coroutines, frames[context.thread], stacks)),
            )
            for context, coroutines in threads.items()
        ]
    finally:
        frames.clear()  # the frame of this function is among them
    # Put them together; the main thread comes first
    total = _count_text(sum(count for _, count, _ in parts))
    if len(parts) < 2:
        text = [total, *chain(*(lines for _, _, lines in parts))]
    else:
        text = [f"{total}, in {len(parts)} threads"]
        for name, count, lines in sorted(parts, key=lambda part: (part[0] != "MainThread", part[0])):
            text += [f"thread {name}: {_count_text(count)}", *lines]
    return "\n".join(text) + "\n"


def _thread(context: LoopContext, coroutines: list[Coroutine], frame: FrameType, stacks: bool) -> Iterator[str]:
    """Yield the lines of one thread; `frame` is its innermost one."""
    hub = context.hub
    active: list[_ActiveRow] = []
    running: list[_ActiveRow] = []
    for coroutine in coroutines:
        if getattr(coroutine, "status", "") not in ("running", "normal"):
            continue
        if (innermost := getattr(coroutine, "frame", None)) is None:
            lines = list(_stack_lines(frame, None if stacks else MAX_STACK_LINES))
            running.append((coroutine, "runs", lines or [""]))
        else:
            activity = "runs the loop" if hub is not None and hub.run_caller is coroutine else "has resumed another"
            active.append((coroutine, activity, _locations(innermost, stacks)))
    if not running and hub is not None:
        running.append((None, "turns the loop", [""]))
    return _lines([each for each in coroutines if _suspended(each)], active + running, stacks=stacks)


# -- finding ----------------------------------------------------------------------------------------------------------


def _all_coroutines(kind: type, homes: Iterable[LoopContext]) -> list[Coroutine]:
    """Return all coroutines that can be found, including those that another thread is making or ending."""
    kinds = (kind, *kind.__subclasses__())
    found = dict.fromkeys(one for one in gc.get_referrers(*kinds) if type(one) in kinds)
    for context in homes:
        found[context.main] = None
        if context.hub is not None:
            found.update(dict.fromkeys(context.hub.waiting()))
    for known in [one() for one in tuple(_registries)]:
        if known is not None:
            found.update(dict.fromkeys(known.waiting()))
    for coroutine in tuple(found):
        owner = _owner(coroutine)
        while owner is not None and owner not in found:
            found[owner] = None
            owner = _owner(owner)
    return list(found)


def _suspended(one: Coroutine) -> bool:
    return getattr(one, "resumer", one) is None and getattr(one, "frame", None) is not None


def _owner(one: Coroutine) -> Coroutine | None:
    """Return the coroutine that owns the object which a coroutine waits on, or None."""
    try:
        owner = one.waiting_on.owner
    except Exception:  # noqa: BLE001  # it has none, or fails
        return None
    return owner if hasattr(owner, "waiting_on") else None


def _cycles(owners: dict[Coroutine, Coroutine | None]) -> Iterator[list[Coroutine]]:
    """Yield the cycles of coroutines that wait for each other, each in the order of waiting."""
    seen: set[Coroutine] = set()
    for start in owners:
        path: list[Coroutine] = []
        one: Coroutine | None = start
        while one is not None and one not in seen:
            seen.add(one)
            path.append(one)
            one = owners.get(one)
        if one in path:
            yield path[path.index(one) :]


# -- text -------------------------------------------------------------------------------------------------------------


def _lines(
    waiting: list[Coroutine], active: Iterable[_ActiveRow] = (), limit: int | None = None, stacks: bool = False
) -> Iterator[str]:
    """Yield a line for each of `waiting`, up to `limit`, for each active coroutine, and for each cycle."""
    # Order: members of cycles, the main program, the longest waits
    waiting.sort(key=lambda one: (getattr(one, "parked_at", 0) or sys.maxsize, _name(one)))
    owners = {one: _owner(one) for one in waiting}
    cycles = list(_cycles(owners))
    rank = {one: number for number, one in enumerate(chain(*cycles))}
    waiting.sort(key=lambda one: (rank.get(one, len(rank)), one is not one.context.main))
    # Names: numbered where two are equal
    shown = waiting[:limit]
    cycles = [cycle for cycle in cycles if rank[cycle[0]] < len(shown)]
    named = chain(shown, (one for one, _, _ in active), *(cycle[:MAX_CYCLE_MEMBERS] for cycle in cycles))
    names = _names(named, [owners[one] for one in shown])
    # Rows
    now = Time.monotonic_ns()
    rows: list[_Row] = []
    for one in shown:
        place, *places = _locations(getattr(one, "frame", None), stacks)
        rows += [_row(one, names, owners[one], now, place), *map(_caller_row, places)]
    for one, activity, (place, *places) in active:
        rows += [_Row(names[one], "", activity, "", place), *map(_caller_row, places)]
    yield from _format_rows(rows)
    if len(shown) < len(waiting):
        yield f"  ... and {len(waiting) - len(shown)} more"
    for cycle in cycles:
        left = len(cycle) - MAX_CYCLE_MEMBERS
        middle = [f"{left} more"] if left > 0 else []
        yield "  cycle: " + " -> ".join([*(names[one] for one in cycle[:MAX_CYCLE_MEMBERS]), *middle, names[cycle[0]]])


def _row(one: Coroutine, names: dict[Coroutine, str], owner: Coroutine | None, now: int, place: str) -> _Row:
    since = getattr(one, "parked_at", 0)
    waiting_on = getattr(one, "waiting_on", None)
    held = f"held by {names[owner]}" if owner is not None else ""
    if owner is not None and getattr(owner, "status", "") == "dead":
        held += ", which has ended"
    what = describe_wait(waiting_on)
    time = _duration(max(now - since, 0)) if since else ""
    return _Row(names[one], time, what, held, place)


def _caller_row(place: str) -> _Row:
    """Return the line for a caller of the line above."""
    return _Row("", "", "", "", place)


def _format_rows(rows: list[_Row]) -> Iterator[str]:
    """Yield the rows as lines. The reason of a wait and its owner share one column if there are no owners."""
    name, time, what = (
        min(MAX_COLUMN, max(map(len, cells), default=0))
        for cells in (
            [row.name for row in rows],
            [row.time for row in rows],
            [row.what for row in rows if row.owner],
        )
    )
    middle = [f"{row.what:{what}}  {row.owner}" if row.owner else row.what for row in rows]
    width = min(MAX_COLUMN, max(map(len, middle), default=0))
    for row, text in zip(rows, middle, strict=True):
        yield (
            f"  {row.name:{name}}  " + f"{row.time:>{time}}  " * bool(time) + f"{text:{width}}  {row.location}".rstrip()
        )


def _names(listed: Iterable[Coroutine | None], owners: Iterable[Coroutine | None]) -> dict[Coroutine, str]:
    """Return the names of coroutines (None: the hub). If several have the name of an owner, they are numbered."""
    holders = [one for one in owners if one is not None]
    names = {one: _name(one) for one in [*listed, *holders]}
    shared = {names[one] for one in holders} & {name for name, count in Counter(names.values()).items() if count > 1}
    number: Counter[str] = Counter()
    for one, name in names.items():
        if name in shared:
            number[name] += 1
            names[one] = f"{name} #{number[name]}"
    return names


def describe_wait(waiting_on: Any) -> str:
    """Return the reason of a wait as one printable line; None: the coroutine has yielded."""
    return "yield" if waiting_on is None else _printable(waiting_on, MAX_PURPOSE)


def _count_text(count: int) -> str:
    return f"{count or 'no'} coroutine{' waits' if count < 2 else 's wait'}"


def _printable(thing: Any, limit: int) -> str:
    """Return the `str` of a thing as one printable line of about `limit` characters."""
    try:
        text = str(thing)
    except Exception as error:  # noqa: BLE001  # shown
        text = f"<{type(thing).__name__}, whose str raises {type(error).__name__}>"
    if len(text) > limit:
        text = f"{text[: limit // 2]}...{text[3 - limit // 2 :]}"
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else each.encode("unicode_escape").decode() for each in text)


def _name(one: Coroutine | None) -> str:
    """Return the name of a coroutine, "hub" for None."""
    try:
        return "hub" if one is None else _printable(one.name, MAX_NAME)
    except Exception:  # noqa: BLE001  # it has just started, or ended, in another thread
        return "?"


def _duration(nanoseconds: int) -> str:
    """Return a readable duration, of two units at most: 350 ms, 4.2 s, 3 min 2 s, 5 h 7 min, 2 d 3 h."""
    if nanoseconds < 999_500_000:
        return f"{nanoseconds / 1e6:.0f} ms"
    if nanoseconds < 59_950_000_000:
        return f"{nanoseconds / 1e9:.1f} s"
    minutes, seconds = divmod(round(nanoseconds / 1e9), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {seconds} s"


def relative_path(filename: str) -> str:
    """Return the path of a source file, relative if it lies below the current directory."""
    try:
        here = join(getcwd(), "")
    except OSError:  # it has been removed
        return filename
    return filename.removeprefix(here)


def _stack_lines(frame: FrameType | None, limit: int | None = MAX_STACK_LINES) -> Iterator[str]:
    """Yield the lines of the user's code (outside coutil), the innermost first, up to `limit`."""
    count = 0
    while frame is not None:
        name = frame.f_globals.get("__name__")
        if not (isinstance(name, str) and name.startswith("coutil.")):
            count += 1
            if limit is not None and count > limit:
                yield "..."
                return
            function = frame.f_code.co_name
            inside = "" if function == "<module>" else f" in {_printable(function, MAX_PURPOSE)}"
            yield f"{_printable(relative_path(frame.f_code.co_filename), MAX_PURPOSE)}:{frame.f_lineno}{inside}"
        frame = frame.f_back


def _locations(frame: FrameType | None, stacks: bool) -> list[str]:
    """Return the innermost line of the user's code (outside coutil); if `stacks`, all lines, this one first."""
    return [*_stack_lines(frame, None)] or [""] if stacks else [next(_stack_lines(frame), "")]


def thread_name(ident: int | None = None) -> str:
    """Return the name of a thread (None: the calling one), or its number; `threading.enumerate` would take a lock."""
    threads: dict[int, Any] = getattr(sys.modules.get("threading"), "_active", {})
    ident = get_ident() if ident is None else ident
    thread = threads.get(ident)
    return _printable(thread.name, MAX_NAME) if thread is not None else str(ident)
