"""Coroutines over greenlets. The only file that switches.

Rule 1: control returns to the resumer. `resumer` of a coroutine is the greenlet it goes back to; it is None exactly
while the coroutine is suspended.
Rule 2: greenlets are recycled: a *runner* executes one coroutine after another, and users never hold one.
Rule 3: a suspended runner does not know its coroutine, and no frame of ours refers to it, unless the hub will wake it:
a coroutine that everybody has forgotten is collected, and its `finally` blocks run.
Rule 4: this file needs no libuv. Whoever can wake a waiting main program registers itself as `home.start_hub`.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Callable
from contextvars import Context, copy_context
from types import FrameType
from typing import Any

from greenlet import GreenletExit, getcurrent, greenlet
from greenlet import error as GreenletError  # noqa: N812  # greenlet's own name is no help to a reader

from ..errors import DeadCoroutine, Deadlock, ForeignThread, NotYieldable, RunningCoroutine
from .books import Books, Token, site
from .states import DEBUG

RUNNERS_KEPT = 256  # idle greenlets kept for reuse, per thread


SIGNED: Any = Token("SIGNED")  # what the hub, and nobody else, resumes with
ENDED: Any = Token("ENDED")  # what a runner hands back when its coroutine has ended


class Runner(greenlet):
    """A greenlet that executes coroutines, one after another."""

    __slots__ = ("coroutine",)
    coroutine: Coroutine | None


class Home(Books):
    """What one OS thread owns: its main coroutine, idle runners, and the greenlet of its hub."""

    __slots__ = ("gate", "runners")

    start_hub: Callable[[Home], None] | None = None  # runs in the hub's greenlet, never returns; hub.py sets it

    def __init__(self, top: greenlet) -> None:
        """`top` is the main greenlet of the calling thread."""
        super().__init__()
        self.runners: list[Runner] = []
        self.renew_gate(top)
        self.main = Coroutine._adopt(top, self, "main")

    def renew_gate(self, top: greenlet) -> None:
        """Make the greenlet that the hub will run in; it starts when somebody waits."""
        self.gate = Runner(self._hub_body, top)
        self.gate.coroutine = None

    def renew(self) -> None:
        """Forget the hub; whoever waits next gets a new one."""
        self.hub = self.main.operation = None
        self.renew_gate(self.main._greenlet)
        if self.main.resumer is not None:
            self.main.resumer = self.main.gate  # the old hub, perhaps

    def retire(self, hub: greenlet) -> None:
        """End the idle runners and the hub's greenlet: the collector takes no greenlet that is suspended."""
        idle, self.runners = self.runners, []
        for one in (*idle, hub):
            one.parent = getcurrent()
            one.throw()

    def _hub_body(self, _: object) -> None:
        while True:
            try:
                if self.start_hub is None:
                    raise Deadlock("nothing can wake the caller: no event loop is in use")
                return self.start_hub(self)
            except Exception as error:  # noqa: BLE001  # there is no hub, or none can be made now; perhaps next time
                throw_into(self.driver(), error)


def home() -> Home:
    """Return the home of the calling thread."""
    top: Any = getcurrent()
    while top.parent is not None:
        top = top.parent
    try:
        found: Home = top.coroutine.home
    except AttributeError:
        found = Home(top)
    return found


class Outside:
    """The way from a greenlet that is not ours into the hub: tells the hub who waits, for errors and for the report."""

    __slots__ = ("coroutine",)

    def __init__(self, coroutine: Coroutine) -> None:
        self.coroutine = coroutine

    def switch(self, value: object) -> Any:
        """Run the hub until it, or an explicit resume, comes back to the coroutine."""
        drivers = self.coroutine.home.drivers
        drivers.append(self.coroutine)
        try:
            return self.coroutine.home.gate.switch(value)
        finally:
            drivers.remove(self.coroutine)


class Coroutine:
    """A function that runs until it waits, and goes on when it is resumed.

    `name` (str) is shown in reprs and reports. Attributes other than the documented methods are the kernel's.
    """

    __slots__ = [
        "__weakref__",
        "_error",
        "_greenlet",
        "_name",
        "_start",
        "context",
        "gate",
        "home",
        "operation",
        "resumer",
        "site",
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
        self.site = site(sys._getframe(depth)) if DEBUG else ""

    @classmethod
    def _adopt(cls, outside: Any, where: Home, name: str) -> Coroutine:
        """Make the coroutine that stands for a greenlet which is not ours; it is running now."""
        self = cls.__new__(cls)
        self.home, self._greenlet, self._name = where, outside, name
        self._start = self._error = self.value = self.context = self.operation = self.waiting_on = None
        self.gate = self.resumer = Outside(self)
        self.site = ""
        outside.coroutine = self
        return self

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

    def resume(self, *values: Any) -> Any:
        """Run the coroutine until it waits, yields or ends; the wait that it is in is cancelled and returns `values`.

        values: arguments of the function at the first resume; later none, one, or several that become None, the
        value, or a tuple.
        Returns what the coroutine yields (None if it waits for something else), or at its end its result.
        Raises `RunningCoroutine`, `DeadCoroutine`, `ForeignThread`, or whatever escapes from the coroutine.
        Lua: coroutine.resume.
        """
        if self.resumer is not None:
            raise RunningCoroutine(f"cannot resume {self!r}: it is not suspended")
        self.resumer = getcurrent()
        if self._greenlet is None:
            self._begin(values)
            value: Any = None
        else:
            self._greenlet.coroutine = self
            value = values[0] if len(values) == 1 else values or None
        return self._switch(value)

    def launch(self) -> None:
        """Resume a coroutine for the first time; an exception that escapes at once goes to the excepthook."""
        self.resumer = getcurrent()
        self._begin(())
        try:
            self._switch(None)
        except Exception as error:  # noqa: BLE001  # reported
            self.home.report(self, error)

    def _begin(self, values: tuple[Any, ...]) -> None:
        """Give a coroutine that has not started a runner."""
        if self._start is None:
            self.resumer = None
            raise DeadCoroutine(f"cannot resume {self!r}: it has ended")
        where = self.home
        if where.thread != get_ident():
            self.resumer = None
            raise ForeignThread(f"cannot resume {self!r}: it belongs to another thread")
        if self._name is None:
            self._name = getattr(self._start[0], "__qualname__", None)  # the function itself is let go
        if values:
            self._start = (self._start[0], values)
        runner = where.runners.pop() if where.runners else Runner(_work, where.main._greenlet)
        runner.coroutine = self
        runner.gr_context = self.context
        self.context = None
        self._greenlet = runner
        self.gate = where.gate  # since its creation, the hub may have been renewed
        where.started += 1

    def _switch(self, value: Any) -> Any:
        """Enter the greenlet; return what comes back, or what the coroutine ended with."""
        hooks = self.home.hooks
        if hooks is not None:
            self.home.tell(hooks.resumed, self)
        try:
            got = self._greenlet.throw(value.error) if value.__class__ is _Thrown else self._greenlet.switch(value)
        except GreenletError:
            self.resumer = None
            raise ForeignThread(f"cannot resume {self!r}: it belongs to another thread") from None
        if hooks is not None:
            self.home.tell(hooks.parked, self)
        return self._result() if got is ENDED else got

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
        if self._greenlet is None:
            return self._throw_unstarted(error)
        self._greenlet.coroutine = self
        self.resumer = getcurrent()
        return self._switch(_Thrown(error))

    def _throw_unstarted(self, error: BaseException | type[BaseException]) -> None:
        if self._start is None:
            raise DeadCoroutine(f"cannot throw into {self!r}: it has ended")
        name = self.name
        self._start, self.context, self._name = None, None, name
        if not (error is GreenletExit or isinstance(error, GreenletExit)):
            raise error

    def close(self) -> bool:
        """End the coroutine by raising `GreenletExit` in it; its `finally` blocks run before this returns.

        Returns True if it has ended, False if its clean-up waits for something. Nothing happens to one that has ended.
        Raises `RunningCoroutine`, `ForeignThread`, or whatever else escapes from the coroutine.
        """
        if self.status != "dead":
            self.throw(GreenletExit)
        return self.status == "dead"


class _Thrown:
    """An exception on its way into a coroutine."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException | type[BaseException]) -> None:
        self.error = error


def _work(_: object) -> object:
    """Body of every runner. Its locals are dropped before each switch: an idle runner keeps nothing alive.

    An idle runner stays in its last switch, which refers to the resumer. So only runners that go back to the hub or to
    the main program are kept; the others end, and go to their parent, which is the resumer then. The end of a coroutine
    calls no function of ours: it must work at the interpreter's recursion limit, too.
    """
    value: object = None
    while True:
        me: Any = getcurrent()
        if me.coroutine is None:  # not resumed, but woken by a greenlet of somebody else that has us as its parent
            _discard(me)
            return value
        function, arguments = me.coroutine._start
        me.coroutine._start = None
        del me
        value = error = None
        try:
            value = function(*arguments)
        except GreenletExit:
            pass
        except BaseException as caught:  # noqa: BLE001  # handed to the resumer
            error = caught.with_traceback(caught.__traceback__ and caught.__traceback__.tb_next)
        del function, arguments
        me = getcurrent()
        coroutine = getattr(me, "coroutine", None)
        if coroutine is None:  # everybody has forgotten the coroutine: it is being collected
            home().ended += 1
            if error is not None:
                raise error
            return None
        where, resumer = coroutine.home, coroutine.resumer
        coroutine.value, coroutine._error, coroutine._greenlet, coroutine.resumer = value, error, None, None
        if coroutine.operation is not None:
            coroutine.operation.coroutine = None  # a cycle that would have to wait for the collector
        where.ended += 1
        if resumer is coroutine.gate:
            where.ended_last = coroutine
        me.coroutine = me.gr_context = coroutine = value = error = None
        if resumer not in (where.gate, where.main._greenlet) or len(where.runners) >= RUNNERS_KEPT:
            me.parent = resumer
            return ENDED
        where.runners.append(me)
        del me, where
        try:
            value = resumer.switch(ENDED)
        except BaseException:
            _discard(getcurrent())
            raise


def _discard(runner: Any) -> None:
    """Forget an idle runner that is about to end."""
    runners = home().runners
    if runner in runners:
        runners.remove(runner)


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
            return me.coroutine if me.parent is None else Coroutine._adopt(me, where, f"greenlet-{id(me):x}")
    if coroutine is None:
        raise NotYieldable("the hub, or a coroutine that is being collected, cannot wait")
    return coroutine


def inside() -> bool:
    """Return whether the caller runs in a coroutine of ours, so that it may yield."""
    coroutine = getattr(getcurrent(), "coroutine", None)
    return coroutine is not None and coroutine.gate.__class__ is Runner


def park(coroutine: Coroutine, what: object) -> Any:
    """Suspend the running `coroutine`, which the hub knows and keeps; return what the next resume brings.

    `what` is what it waits for; its `str` is shown in reports. The caller must undo the wait unless SIGNED came back.
    """
    coroutine.waiting_on = what
    resumer = coroutine.resumer
    coroutine.resumer = None
    return resumer.switch(None)


def hand_over(coroutine: Coroutine, what: object, successor: Coroutine) -> Any:
    """Like `park` of a coroutine that the hub resumed, but enter `successor` in place of the hub, signed."""
    coroutine.waiting_on = what
    coroutine.resumer = None
    successor.resumer = successor.gate
    return successor._greenlet.switch(SIGNED)


def yield_(value: object) -> Any:
    """Suspend the running coroutine, which nobody else keeps; the resumer gets `value`. See rule 3."""
    me: Any = getcurrent()
    me.coroutine.waiting_on = None
    del me
    return rest(value)


def rest(value: object = None) -> Any:
    """Suspend the running coroutine, which has set `waiting_on` itself; return what the next resume brings.

    Unlike `park`, this keeps nobody alive: whoever is going to wake the coroutine refers to it. See rule 3.
    The main program can rest, too: it runs the hub, and without one gets `Deadlock`.
    """
    me: Any = getcurrent()
    coroutine: Coroutine = me.coroutine
    resumer = coroutine.resumer
    coroutine.resumer = None
    if me.__class__ is Runner:
        me.coroutine = None
    del coroutine, me
    return resumer.switch(value)


def notify(coroutine: Coroutine, token: object) -> None:
    """Resume a resting `coroutine` with a private `token`; what escapes from it goes to the excepthook.

    KeyboardInterrupt and SystemExit are raised here.
    """
    coroutine.resumer = getcurrent()
    coroutine._greenlet.coroutine = coroutine
    try:
        coroutine._switch(token)
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # reported
        coroutine.home.report(coroutine, error)


def wake(coroutine: Coroutine) -> None:
    """Resume a parked `coroutine` from the hub, signed."""
    coroutine.resumer = coroutine.gate
    home = coroutine.home
    if home.hooks is not None:
        home.tell(home.hooks.resumed, coroutine)
    if coroutine._greenlet.switch(SIGNED) is ENDED:
        home.turning.ended(home.ended_last)
    if home.hooks is not None:
        home.tell(home.hooks.parked, coroutine)


def throw_into(coroutine: Coroutine, error: BaseException) -> None:
    """Raise `error` in a coroutine that drives the hub, from the hub; returns when somebody drives it again."""
    if coroutine.resumer is None:
        coroutine.resumer = coroutine.gate
    coroutine._greenlet.throw(error)


def enter_hub(coroutine: Coroutine) -> Any:
    """Let the hub run on behalf of `coroutine`, which does not wait and cannot be resumed; return the hub's answer."""
    return coroutine.home.gate.switch(None)


def leave_hub(coroutine: Coroutine, answer: object) -> None:
    """Answer `enter_hub`, from the hub; returns when somebody drives it again."""
    coroutine._greenlet.switch(answer)
