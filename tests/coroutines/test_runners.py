"""Greenlets are recycled: one coroutine after another runs in the same runner, and none leaves a trace in it."""

from __future__ import annotations

import gc
import sys
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from weakref import ref

import pytest
from greenlet import getcurrent

from coutil import event, spawn, system
from coutil.coroutine import create, isyieldable, running, yield_
from coutil.errors import NotYieldable
from tests.helpers.coroutines import Referent, Trouble
from tests.helpers.kernel import MAX_IDLE_RUNNERS, current_context
from tests.helpers.values import without_collector

COLOUR: ContextVar[str] = ContextVar("COLOUR", default="none")


def from_main(body, *arguments):
    """Run `body` in a coroutine that the main program resumes."""
    create(body).resume(*arguments)


def from_loop(body, *arguments):
    """Run `body` in a coroutine that the loop resumes."""
    create(lambda *values: (system.suspend(), body(*values))).resume(*arguments)
    system.run()


def from_coroutine(body, *arguments):
    """Run `body` in a coroutine that another coroutine resumes."""
    create(lambda: create(body).resume(*arguments)).resume()


@pytest.fixture(params=[from_main, from_loop, from_coroutine])
def run(request):
    """Who resumes the coroutine: runners end in a different way for each."""
    return request.param


def trouble(watched):
    """Raise an exception whose traceback has a frame that refers to a thing."""
    thing = Referent()
    watched.append(ref(thing))
    try:
        raise Trouble("seen")
    except Trouble as error:
        watched.append(ref(error))
        raise


# -- recycling


def test_runners_are_recycled(hub):
    """Coroutines that the main program or the loop resumed leave their runner to the next one."""
    context = current_context()
    create(lambda: None).resume()
    idle = len(context.idle_runners)
    assert idle > 0
    for _ in range(5):
        create(system.suspend).resume()
        assert len(context.idle_runners) == idle - 1
        system.run()
        assert len(context.idle_runners) == idle


def test_not_too_many_are_kept():
    """After a crowd only so many idle runners stay."""
    crowd = [create(yield_) for _ in range(MAX_IDLE_RUNNERS + 50)]
    for one in crowd:
        one.resume()
    for one in crowd:
        one.resume()
    assert {one.status for one in crowd} == {"dead"}
    assert len(current_context().idle_runners) == MAX_IDLE_RUNNERS
    assert current_context().alive_count() == 0


def test_recycled_runner_starts_afresh():
    """Name, operation, status and wait of a coroutine are its own, whatever ran in its runner before."""
    first = create(lambda: (system.suspend(), running())[1], name="first")
    first.resume()
    system.run()
    second = create(lambda: (repr(running()), running().operation, yield_())[:2], name="second")
    assert second.resume() is None
    assert repr(second) == "<Coroutine second suspended>"
    assert second.resume() == ("<Coroutine second running>", None)


# -- nothing stays alive


def test_arguments_and_results_are_released(run):
    """What went in and came out is freed by reference counting, while the runner is idle."""
    watched = []

    def body(argument):
        local, result = Referent(), Referent()
        watched.extend(map(ref, (argument, local, result)))
        return result

    with without_collector():
        run(body, Referent())
        assert [one() for one in watched] == [None, None, None]
    assert len(watched) == 3


def test_yielded_values_are_released():
    """Neither the values of resume() nor those of yield_() outlive the exchange."""
    watched = []

    def body():
        while True:
            thing = yield_(Referent())
            watched.append(ref(thing))
            del thing

    with without_collector():
        made = create(body)
        made.resume()
        watched.extend([ref(made.resume(Referent())) for _ in range(3)])
        assert made.close()
        del made
        assert [one() for one in watched] == [None] * 6


def test_exceptions_are_released(run, escaped):
    """An exception that escaped is gone with its traceback, and the locals in it, once it was dealt with."""
    watched = []
    with without_collector():
        try:
            run(trouble, watched)
        except Trouble:
            pass
        else:
            assert [type(error) for _, error in escaped] == [Trouble]
        escaped.clear()
        assert [one() for one in watched] == [None, None]


def test_kept_exception_keeps_no_runner():
    """The frames of its traceback lead to the frame of a runner that has ended, which refers to no other runner."""
    kept, watched = [], []

    def outer():
        try:
            create(trouble).resume([])
        except Trouble as error:
            kept.append(error)

    def forgotten():
        yield_(ref(thing := Referent()))
        del thing

    with without_collector():
        create(outer).resume()
        made = create(forgotten)  # in the runner of `outer`, the last one that became idle
        watched.append(made.resume())
        del made
        assert [one() for one in watched] == [None]
    assert len(kept) == 1


@pytest.mark.parametrize("wait", [yield_, lambda: system.suspend(60)], ids=["yield", "time"])
def test_exception_thrown_into_a_wait_keeps_no_runner(wait):
    """The frames of the wait no longer refer to the resumer's runner."""
    kept, watched = [], []

    def inner():
        try:
            wait()
        except Trouble as error:
            kept.append(error)

    def outer():
        made = create(inner)
        made.resume()
        made.throw(Trouble("thrown"))

    with without_collector():
        create(outer).resume()
        made = create(lambda thing: yield_(ref(thing)))
        watched.append(made.resume(Referent()))
        del made
        assert [one() for one in watched] == [None]
    assert len(kept) == 1


@pytest.mark.parametrize("fails", [False, True])
def test_kept_exception_keeps_no_collected_coroutine(fails, monkeypatch):
    """The same where the coroutine was being collected when it ended, which lets an exception escape or not."""
    kept, watched = [], []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: kept.append(what.exc_value))

    def body():
        try:
            yield_()
        finally:
            watched.append(ref(getcurrent()))
            try:
                trouble([])
            except Trouble as error:
                kept.append(error)
                if fails:
                    raise

    with without_collector():
        made = create(body)
        made.resume()
        del made
        assert [one() for one in watched] == [None]
    assert len(kept) == 1 + fails


def test_function_is_released(run):
    """What was called is freed with its closure when it has ended, although its coroutine is still there."""
    watched, held = [], []

    def start():
        def body():
            held.append(running())

        watched.append(ref(body))
        run(body)

    with without_collector():
        start()
        assert watched[0]() is None
        assert [one.status for one in held] == ["dead"]
        assert repr(held[0]).endswith("dead>")


def test_never_started_coroutine_is_released():
    """One that was made and forgotten leaves nothing, and its function never runs."""
    watched, ran = [], []

    def start(argument):
        watched.append(ref(argument))
        made = create(lambda: ran.append(argument))
        watched.append(ref(made))

    with without_collector():
        start(Referent())
        assert [one() for one in watched] == [None, None]
    assert ran == []


def test_context_is_released(run):
    """Values of context variables that a coroutine has set go with it."""
    watched, variable = [], ContextVar("variable")

    def body():
        thing = Referent()
        variable.set(thing)
        watched.append(ref(thing))

    run(body)
    gc.collect()
    assert watched[0]() is None
    assert variable.get("unset") == "unset"


def test_ended_coroutine_keeps_nothing(run):
    """Who still holds a coroutine that has ended holds its name and status, not what it did."""
    watched, held = [], []

    def body(argument):
        held.append(running())
        watched.append(ref(argument))
        system.suspend()

    with without_collector():
        run(body, Referent())
        system.run()
        assert [one.status for one in held] == ["dead"]
        assert watched[0]() is None
        assert current_context().alive_count() == 0


# -- contextvars


def test_context_is_that_of_the_creation():
    """A coroutine sees the values of its creator at the time of create(), not of the first resume."""
    seen = []

    def body():
        seen.append(COLOUR.get())
        COLOUR.set("blue")
        yield_()
        seen.append(COLOUR.get())

    def creator():
        COLOUR.set("red")
        made = create(body)
        COLOUR.set("green")
        made.resume()
        seen.append(COLOUR.get())
        made.resume()

    copy_context().run(creator)
    assert seen == ["red", "green", "blue"]
    assert COLOUR.get() == "none"


def test_context_does_not_leak_between_coroutines():
    """The next coroutine of a runner sees nothing of what the one before it has set; nor does the hub."""
    seen = []

    def body(colour):
        seen.append(COLOUR.get())
        COLOUR.set(colour)
        system.suspend()
        seen.append(COLOUR.get())

    for colour in ("red", "green", "blue"):
        spawn.call(body, colour)
        assert COLOUR.get() == "none"
        assert system.run() is False
    assert seen == ["none", "red", "none", "green", "none", "blue"]


def test_child_inherits_the_context():
    """A coroutine made by another starts with a copy of that one's context."""
    seen = []

    def child():
        seen.append(COLOUR.get())
        COLOUR.set("child's")

    def parent():
        COLOUR.set("parent's")
        spawn.call(child)
        seen.append(COLOUR.get())

    spawn.call(parent)
    assert seen == ["parent's", "parent's"]
    assert COLOUR.get() == "none"


def test_reset_token_of_a_coroutine(clock):
    """set() and reset() work across waits: the context stays that of the coroutine."""
    seen = []

    def body(colour):
        token = COLOUR.set(colour)
        system.suspend(1)
        seen.append(COLOUR.get())
        COLOUR.reset(token)
        seen.append(COLOUR.get())

    spawn.call(body, "red")
    spawn.call(body, "blue")
    assert system.run() is False
    assert seen == ["red", "none", "blue", "none"]


# -- forgotten coroutines


def test_forgotten_coroutine_is_collected():
    """One that yielded and that no one can resume is freed at once; its `finally` blocks run."""
    log = []

    def body(thing):
        try:
            yield_(ref(thing))
        except BaseException as exit_:
            log.append(type(exit_).__name__)
            raise
        finally:
            log.append("finally")

    with without_collector():
        made = create(body)
        watched = [made.resume(Referent()), ref(made)]
        assert watched[0]() is not None
        del made
        assert log == ["GreenletExit", "finally"]
        assert [one() for one in watched] == [None, None]
    assert current_context().alive_count() == 0


def test_collected_coroutine_cannot_wait():
    """No one would come back to it: every wait is refused, everything else works."""
    log = []

    def body():
        try:
            yield_()
        finally:
            for wait in (yield_, system.suspend, lambda: system.suspend(1), running):
                with pytest.raises(NotYieldable):
                    wait()
                log.append(isyieldable())
            log.append(create(lambda: "another one").resume())

    made = create(body)
    made.resume()
    del made
    assert log == [False, False, False, False, "another one"]
    assert current_context().alive_count() == 0
    assert system.run() is False


def test_error_of_a_collected_coroutine_is_shown(monkeypatch):
    """It goes to sys.unraisablehook, as that of any finalizer: no one resumed the coroutine."""
    shown = []
    monkeypatch.setattr(sys, "unraisablehook", lambda what: shown.append(repr(what.exc_value)))

    def body():
        try:
            yield_()
        finally:
            raise Trouble("while collected")

    made = create(body)
    made.resume()
    del made
    assert shown == ["Trouble('while collected')"]
    assert current_context().alive_count() == 0
    assert create(lambda: "unharmed").resume() == "unharmed"


def test_chain_of_forgotten_coroutines():
    """One that yielded keeps the one that resumed it last: a chain of forgotten ones lives until one is closed."""
    log, watched = [], []

    def body(depth):
        inner = create(body)
        watched.append(ref(inner))
        try:
            if depth:
                inner.resume(depth - 1)
            yield_()
        finally:
            log.append(depth)

    made = create(body)
    made.resume(3)
    del made
    gc.collect()
    assert log == []
    innermost = [left() for left in watched if left() is not None][-2]
    innermost.close()
    del innermost
    gc.collect()
    for left in watched:
        if left() is not None:
            left().close()
    assert sorted(log) == [0, 1, 2, 3]


def test_coroutine_that_waited_is_no_cycle(clock):
    """One that ended after waits of every kind is freed by reference counting, like one that never waited."""

    def body():
        system.suspend()
        system.suspend(1)
        try:
            system.suspend(2)
        except LookupError:
            yield_()

    with without_collector():
        made = spawn.call(body)
        watched = ref(made)
        system.run("step")
        system.run("step")
        made.throw(LookupError)
        made.resume()
        assert made.status == "dead"
        del made
        assert watched() is None


def test_coroutine_that_waits_for_the_system_is_kept(clock):
    """A-11: dropping every reference cancels nothing: the hub keeps it until its wait is over."""
    log = []

    def body():
        system.suspend(1)
        log.append("woken")

    watched = ref(spawn.call(body))
    gc.collect()
    assert watched() is not None
    assert system.run() is False
    assert log == ["woken"]
    assert watched() is None


# -- depth


def test_a_thousand_nested_resumes():
    """Each coroutine resumes the next one inside itself; all the results come back in order."""

    def nest(depth):
        return [*create(nest).resume(depth - 1), depth] if depth else [0]

    before = current_context().alive_count()
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        assert create(nest).resume(1000) == list(range(1001))
    finally:
        sys.setrecursionlimit(limit)
    assert current_context().alive_count() == before
    assert isyieldable() is False


def test_too_deep_is_an_ordinary_error():
    """The interpreter's recursion limit counts through resumes: RecursionError reaches the outermost resumer."""
    made, before = [], current_context().alive_count()

    def nest():
        made.append(create(nest))
        made[-1].resume()

    def descend(frames):
        if frames:
            descend(frames - 1)
        else:
            nest()

    for offset in range(6):  # so that the limit is met in every function of ours
        with pytest.raises(RecursionError):
            descend(offset)
        assert len(made) > 50
        assert {one.status for one in made[:-1]} == {"dead"}
        assert current_context().alive_count() == before
        made.clear()
    assert create(lambda: "unharmed").resume() == "unharmed"


def at_depth(frames, function):
    """Call `function` below so many frames."""
    return at_depth(frames - 1, function) if frames else function()


def room(frames=0):
    """Return how many calls deeper the recursion limit is."""
    try:
        return room(frames + 1)
    except RecursionError:
        return frames


def test_beginning_deep_takes_no_room_from_later_ones():
    """What was begun deep in the stack is not used again: the next coroutine has the room that is there.

    In a thread of its own, which has no idle runners of other tests.
    """

    def deep_family(generations):
        if generations:
            spawn.call(deep_family, generations - 1)
        system.suspend()

    def program():
        enough = sys.getrecursionlimit() // 2
        for begin in (
            lambda: at_depth(room() - 100, lambda: spawn.call(system.suspend)),
            lambda: deep_family(50),
        ):
            begin()
            system.run()
            assert len(current_context().idle_runners) < 50
            for _ in range(len(current_context().idle_runners) + 2):
                assert create(room).resume() > enough

    with ThreadPoolExecutor(1) as thread:
        thread.submit(program).result()


def test_programs_that_wait_deep_keep_their_runners():
    """What is below the hub itself is below all: it is no reason not to use a runner again."""

    def program():
        for _ in range(20):
            spawn.call(system.suspend)
        system.run()
        return len(current_context().idle_runners)

    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(at_depth, 150, program).result() == 20


@pytest.mark.slow
@pytest.mark.parametrize("chains", [1, 7])
def test_each_may_begin_the_next(chains):
    """An endless chain, each of whose coroutines begins the next and stays, does not go deeper and deeper.

    So do servers in which the acceptor of a connection starts the next acceptor. Each link was resumed
    by the loop, so it has the room that the loop has.
    """
    links, rooms, done = sys.getrecursionlimit(), [], object()

    def link(number):
        system.suspend()
        rooms.append(room())
        if number < links:
            spawn.call(link, number + 1)
        event.await_(done)

    for _ in range(chains):
        spawn.call(link, 1)
    while len(rooms) < chains * links:
        system.suspend()
    assert min(rooms) > min(rooms[:chains]) - 150
    event.emitall(done)
    assert len(current_context().idle_runners) <= MAX_IDLE_RUNNERS


@pytest.mark.parametrize("in_a_coroutine", [False, True], ids=["from main", "from a coroutine"])
@pytest.mark.parametrize("action", ["begin", "resume", "throw"])
def test_no_room_to_enter_is_no_harm(action, in_a_coroutine):
    """Where a coroutine cannot be entered for the recursion limit, it stays what it was, and can be entered later."""

    def body(got):
        while True:
            try:
                got = yield_(got)
            except Trouble as error:
                got = str(error)

    def attempt(one):
        try:
            if action == "throw":
                one.throw(Trouble("thrown"))
            else:
                one.resume("early")
        except RecursionError:
            return False
        return True

    def tries():
        entered = []
        for left in range(30):
            one = create(body)
            if action != "begin":
                one.resume("begun")
            live = current_context().alive_count()
            try:
                entered.append(at_depth(room() - left, lambda one=one: attempt(one)))
            except RecursionError:
                entered.append(False)
            if not entered[-1]:
                assert current_context().alive_count() == live
            if one.status != "dead":  # the limit was met in it
                assert one.status == "suspended"
                assert one.resume("later") == "later"
        return entered

    entered = create(tries).resume() if in_a_coroutine else tries()
    assert entered[0] is False
    assert entered[-1] is True
