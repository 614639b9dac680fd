"""Coroutines over greenlets.

A coroutine is not a greenlet: it borrows one (a *runner*) while it is alive. How control moves from one to the other is
the matter of `switching`.

Rule: this file needs no libuv. The kernel, which can wake a waiting main program, registers itself as `home.start_hub`
when it is imported; that is done at the latest when the main program waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from contextvars import Context, copy_context
from importlib import import_module
from types import FrameType
from typing import Any

from greenlet import GreenletExit, getcurrent

from .._asynchronous import alerts, asynchronous
from .._interpreter import get_ident, local
from ..errors import Cancelled, DeadCoroutine, Deadlock, NotYieldable, RunningCoroutine
from .attributes import documented
from .books import Books, Unique, calling_frame, foreign, leave_out_own_frames, site
from .outcomes import Thrown
from .runner import Runner, new_runner, retire
from .states import DEBUG
from .switching import Outside, enter, throw_into, top


class Home(Books):
    """What an event loop and its coroutines own: a main coroutine, idle runners, and the greenlet of the hub.

    The first one of an OS thread is that of its main program, and exists before the loop. Loops that are made besides
    have homes of their own. A coroutine belongs to the home of its creator, and so do the calls that it waits in.
    """

    __slots__ = ("gate",)

    start_hub: Callable[[Home], None] | None = None  # runs in the hub's greenlet, never returns; hub.py sets it

    def __init__(self, top: Any, first: bool = True) -> None:
        """`top` is the main greenlet of the calling thread. first: the thread has no other home."""
        super().__init__()
        self.renew_gate(top)
        self.main = stand_in(top, self, "main")
        if first:
            top.home, top.coroutine = self, self.main
            _per_thread.end = _End(self.pending)
        else:
            self.excepthook, self.over = top.home.excepthook, top.home.over

    def renew_gate(self, top: Any) -> None:
        """Make the greenlet that the hub will run in; it starts when somebody waits."""
        self.gate = Runner(self._hub_body, top)
        self.gate.home, self.gate.coroutine, self.gate.below = self, None, 0

    def renew(self) -> None:
        """Forget the hub; whoever waits next gets a new one."""
        self.hub = self.main.operation = None
        self.renew_gate(self.main._greenlet)
        if self.main.resumer is not None:
            self.main.resumer = self.main.gate  # the old hub, perhaps

    def retire(self, hub: Any) -> None:
        """End the idle runners and the greenlet of the hub."""
        idle, self.runners = self.runners, []
        retire(idle, hub)

    def _hub_body(self, _: object) -> None:
        while True:
            try:
                if self.start_hub is None:
                    with suppress(ImportError):  # there is no libuv
                        import_module("coutil._kernel.hub")  # which sets it
                if self.start_hub is None:
                    if self.pending:
                        self.pending.popleft().fire()
                        continue
                    raise Deadlock("nothing can wake the caller: no event loop is in use")
                return self.start_hub(self)
            except Exception as error:  # noqa: BLE001  # there is no hub, or none can be made now; perhaps next time
                thrown = Thrown(error)
            throw_into(self.driver(), thrown)


class _End:
    """Drops what waits for a hub when the thread ends: there will be none."""

    __slots__ = ("pending",)

    def __init__(self, pending: Any) -> None:
        self.pending = pending

    def __del__(self) -> None:
        self.pending.clear()


_per_thread = local()


def home() -> Home:
    """Return the home of the running coroutine, or hub; outside of both the first one of the calling thread."""
    try:
        found: Home = getcurrent().home  # type: ignore[attr-defined]  # a Runner has it
    except AttributeError:  # a greenlet that is not ours, or what the collector has left of a runner
        main = top()
        found = getattr(main, "home", None) or Home(main)
    return found


def thread_has_home() -> bool:
    """Return whether the calling OS thread has, or had, a coroutine or a loop."""
    return getattr(top(), "home", None) is not None


class Coroutine(Unique):
    """A function that runs until it waits, and goes on when it is resumed.

    `name` (str) is shown in reprs and reports. Attributes other than the documented methods are the kernel's.
    """

    __slots__ = [
        "__weakref__",
        "_error",
        "_greenlet",
        "_name",
        "_start",
        "cancelled",
        "context",
        "gate",
        "home",
        "operation",
        "resumer",
        "scope",
        "since",
        "site",
        "told",
        "value",
        "waiting_on",
    ]

    def __init__(
        self, function: Callable[..., Any], arguments: tuple[Any, ...] = (), name: str | None = None, depth: int = 1
    ) -> None:
        """See `create`. `arguments` are used if the first resume brings none; `depth`: frames up to the creator."""
        me: Any = getcurrent()
        try:
            self.home: Home = me.coroutine.home
        except AttributeError:
            self.home = home()
        self._start: tuple[Callable[..., Any], tuple[Any, ...]] | None = (function, arguments)
        self._greenlet: Any = None
        self._name = name
        self._error: BaseException | None = None
        self.value: Any = None
        self.context: Context | None = copy_context()
        self.gate: Any = self.home.gate
        self.resumer: Any = None
        self.operation: Any = None
        self.waiting_on: Any = None
        self.told: Any = None  # by what it is to be resumed that came before it had suspended
        self.since = 0  # when it suspended, in nanoseconds; nearly. Negative: waits refused in a row, see Block._refuse
        self.scope: Any = None  # the innermost one around it
        self.cancelled: Any = None  # the block that refuses every wait
        self.site = site(calling_frame(depth)) if DEBUG else ""

    @property
    def name(self) -> str:
        """The name given at creation, else the function's."""
        if self._name is None:
            function = self._start[0] if self._start else None
            self._name = getattr(function, "__qualname__", None) or f"coroutine-{id(self):x}"
        return self._name

    @property
    def status(self) -> str:
        """One of "suspended" (also not started), "running", "normal" (it has resumed another one), or "dead"."""
        if self._greenlet is None:
            return "suspended" if self._start else "dead"
        if self.resumer is None:
            return "suspended"
        if self._greenlet.dead:  # one that is not ours
            return "dead"
        return "running" if self._greenlet is getcurrent() else "normal"

    @property
    def frame(self) -> FrameType | None:
        """The innermost frame of a suspended coroutine, else None."""
        return self._greenlet.gr_frame if self._greenlet is not None else None

    def __repr__(self) -> str:
        """Name, status, and what it waits for."""
        status = self.status
        waits = f" on {self.waiting_on}" if status == "suspended" and self.waiting_on is not None else ""
        return f"<Coroutine {self.name} {status}{waits}>"

    def __dir__(self) -> list[str]:
        """What is documented: the slots are the kernel's."""
        return documented(self)

    def resume(self, *values: Any) -> Any:
        """Run the coroutine until it waits, yields or ends; the wait that it is in is cancelled and returns `values`.

        values: arguments of the function at the first resume; later none, one, or several that become None, the
        value, or a tuple.
        In a signal handler, and in a finalizer that the collector runs, the hub does it later; None is returned.
        Returns what the coroutine yields (None if it waits for something else), or at its end its result.
        Raises `RunningCoroutine`, `DeadCoroutine`, `ForeignThread`, or whatever escapes from the coroutine.
        Lua: coroutine.resume.
        """
        if self.resumer is not None:
            raise RunningCoroutine(f"cannot resume {self!r}: it is not suspended")
        if alerts and asynchronous():
            return self._later("resume", *values)
        self.resumer = me = getcurrent()
        value = None
        try:
            if self._start is not None or self._greenlet is None:
                self._begin(values)
            else:
                if self._greenlet is me:
                    raise self._suspending()
                self._greenlet.coroutine = self
                value = values[0] if len(values) == 1 else values or None
            return enter(self, value)
        except RecursionError:
            self.resumer = None  # it has parked or ended, or there was no room to enter it
            self._put_in_order()
            raise
        except BaseException as error:
            self._put_in_order()
            leave_out_own_frames(error)
            raise

    def _put_in_order(self) -> bool:
        """See to what an exception has interrupted that came out of `enter`; return whether it is not our own.

        A coroutine that could not begin is as before: there was no room, or a signal handler has raised. The error of
        one that has ended since goes to the excepthook.
        """
        if self._start is not None:  # from here on nothing looks for signals
            runner, self.resumer, self._greenlet = self._greenlet, None, None
            if runner is not None:
                runner.coroutine = None
                if runner:  # it has begun, and stands idle
                    self.home.runners += (runner,)
            return True
        if self._greenlet is None:
            own, self._error, self.value = self._error, None, None
            if self.home.ended_last is self:
                self.home.ended_last = None
            if own is None:
                return False
            self.home.report(self, own)
        elif self.resumer is getcurrent():  # it was not entered
            self.resumer = None
        return True

    def _launch(self) -> None:
        """Resume a coroutine for the first time; an exception that escapes at once goes to the excepthook.

        Raises the TypeError of a function that could not even be entered, mostly because of its arguments.
        """
        if alerts and asynchronous():
            return self._later("_launch")
        self.resumer = getcurrent()
        try:
            self._begin(())
            enter(self, None)
        except (Exception, Cancelled) as error:  # reported
            if self._put_in_order():  # there was no room to begin, or a signal handler has raised
                raise
            leave_out_own_frames(error)
            if error.__class__ is TypeError and error.__traceback__ is None:
                raise
            self.home.report(self, error)
        except BaseException:
            self._put_in_order()
            raise

    def _later(self, method: str, *arguments: Any) -> None:
        """Have the hub call a method of ours, which must not switch here, between two steps of other code."""
        if self.home.thread != get_ident():
            raise foreign(f"{self!r}", self.home.thread)
        if self.status == "dead":
            raise DeadCoroutine(f"{self!r} has ended")
        self.home.call_soon(self._now, method, arguments)

    def _now(self, method: str, arguments: tuple[Any, ...]) -> None:
        """Do what `_later` was asked for, unless the coroutine has ended since."""
        if self.status == "suspended":
            begun = self._start is None
            try:
                getattr(self, method)(*arguments)
            except BaseException:
                if not begun and self._start is not None:  # a signal handler has raised
                    self.home.call_soon(self._now, method, arguments)
                raise

    def _begin(self, values: tuple[Any, ...]) -> None:
        """Give a coroutine that has not started a runner."""
        if self._start is None:
            self.resumer = None
            raise DeadCoroutine(f"cannot resume {self!r}: it has ended")
        where = self.home
        if where.thread != get_ident():
            self.resumer = None
            raise foreign(f"{self!r}", where.thread)
        if self._name is None:
            self._name = getattr(self._start[0], "__qualname__", None)  # the function itself is let go
        if values:
            self._start = (self._start[0], values)
        runner = where.runners.pop() if where.runners else new_runner(where)
        if runner is self.resumer:  # it is about to be idle: a signal handler that runs in it has called us
            runner = new_runner(where)
            where.runners.append(self.resumer)
        runner.coroutine = self
        runner.gr_context = self.context
        self._greenlet = runner
        self.gate = where.gate  # since its creation, the hub may have been renewed

    def _result(self) -> Any:
        """Take the result out of an ended coroutine, or raise its error."""
        last = self.home.ended_last  # set if the hub's own code has resumed
        if last is not None and last is not self:  # it has handed over to one that has ended
            self.home.turning.ended(last)
            return None
        self.home.ended_last = None
        value, error, self.value, self._error = self.value, self._error, None, None
        if error is None:
            return value
        try:
            raise error
        finally:
            del error  # the traceback refers to this frame

    def throw(self, error: Any) -> Any:
        """Resume the coroutine by raising `error` (an exception or its class) out of the wait that it is in.

        Returns and raises as `resume` does; a coroutine that has not started ends at once with `error`.
        """
        if not isinstance(error, BaseException) and not (isinstance(error, type) and issubclass(error, BaseException)):
            raise TypeError(f"error must be an exception or its class, not {error!r}")
        if self.resumer is not None:
            raise RunningCoroutine(f"cannot throw into {self!r}: it is not suspended")
        if self._start is not None or self._greenlet is None:
            return self._throw_unstarted(error)
        if alerts and asynchronous():
            return self._later("throw", error)
        self.resumer = me = getcurrent()
        try:
            if self._greenlet is me:
                raise self._suspending()
            self._greenlet.coroutine = self
            thrown = Thrown(error)
            del error  # whoever catches it shall be the last who refers to it
            return enter(self, thrown)
        except RecursionError:
            self.resumer = None  # as in resume()
            raise
        except BaseException as escaped:
            self._put_in_order()
            leave_out_own_frames(escaped)
            raise

    def _suspending(self) -> RunningCoroutine:
        """Refuse a finalizer that runs in the coroutine itself, which has begun to suspend but is not gone yet."""
        self.resumer = None
        return RunningCoroutine(f"cannot resume {self.name}: it is about to suspend")

    def _throw_unstarted(self, error: BaseException | type[BaseException]) -> None:
        if self._start is None:
            raise DeadCoroutine(f"cannot throw into {self!r}: it has ended")
        name = self.name
        self._start, self.context, self._name = None, None, name
        if not (error is GreenletExit or isinstance(error, GreenletExit)):
            raise error

    def close(self) -> bool:
        """End the coroutine by raising `GreenletExit` in it; its `finally` blocks run before this returns.

        Returns True if it has ended, False if its clean-up waits for something, or if the hub will do it, as in
        `resume`. Nothing happens to one that has ended.
        Raises `RunningCoroutine`, `ForeignThread`, or whatever else escapes from the coroutine.
        """
        if self.status != "dead":
            self.throw(GreenletExit)
        return self.status == "dead"


def stand_in(outside: Any, where: Home, name: str) -> Coroutine:
    """Make the coroutine that stands for a greenlet which is not of `where`; it is running now."""
    made = Coroutine.__new__(Coroutine)
    made.home, made._greenlet, made._name = where, outside, name
    made._start = made._error = made.value = made.context = made.operation = made.waiting_on = made.told = None
    made.scope = made.cancelled = None
    made.since = 0
    made.gate = made.resumer = Outside(made)
    made.site = ""
    return made


def running() -> Coroutine:
    """Return the coroutine that the caller runs in; greenlets that are not ours are represented by one, too.

    Raises `NotYieldable` in the hub and in a coroutine that is being collected.
    """
    me: Any = getcurrent()
    try:
        coroutine: Coroutine | None = me.coroutine
    except AttributeError:
        coroutine = None  # what the collector has left of a runner
        if me.__class__ is not Runner:
            where = home()
            if me.parent is not None:
                me.coroutine = stand_in(me, where, f"greenlet-{id(me):x}")
            found: Coroutine = me.coroutine
            return found
    if coroutine is None:
        raise NotYieldable("the hub, or a coroutine that is being collected, cannot wait")
    return coroutine


def inside() -> bool:
    """Return whether the caller runs in a coroutine of ours, so that it may yield."""
    coroutine = getattr(getcurrent(), "coroutine", None)
    return coroutine is not None and coroutine.gate.__class__ is Runner
