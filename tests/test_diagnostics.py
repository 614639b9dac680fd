"""Who waits for what, who holds it, and where: the text of `errors.Deadlock`, and `system.report()`."""

from __future__ import annotations

import gc
import io
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from textwrap import dedent

import pytest
from greenlet import getcurrent

from coutil import errors, event, mutex, promise, spawn, system
from coutil._diagnostics import MAX_CYCLE_MEMBERS, MAX_DEADLOCK_LINES, _duration
from coutil.coroutine import create, running, yield_
from tests.helpers.kernel import Hooks, current_context, park_unowned
from tests.helpers.script import ROOT, output_of
from tests.helpers.servers import listening

HERE = "tests/test_diagnostics.py"
TIME = r"\d[\d.]* m?s"


class Held:
    """Something that coroutines wait on, with an owner."""

    def __init__(self, text, owner=None):
        self.text, self.owner = text, owner

    def __str__(self):
        return self.text


def told():
    """Return what `system.report` writes."""
    text = io.StringIO()
    assert system.report(text) is None
    return text.getvalue()


def test_whole_stacks():
    """On demand, the lines of each coroutine, the innermost first; else one line."""

    def outer():
        inner(20)

    def inner(depth):
        inner(depth - 1) if depth else event.await_("e")

    with suspended(create(outer, name="nested"), create(yield_, name="bare")):
        assert len(re.findall(r" in (inner|outer)\n", told())) == 1
        text = io.StringIO()
        system.report(text, stacks=True)
        lines = text.getvalue().splitlines()
        at = next(number for number, line in enumerate(lines) if line.startswith("  nested"))
        assert [line.split()[-1] for line in lines[at : at + 22]] == ["inner"] * 21 + ["outer"]
        assert lines[at].split()[-3] == lines[at + 20].split()[-3]
        assert not any(line.endswith("...") for line in lines)
    for bad in (1, None, "yes"):
        with pytest.raises(TypeError, match="stacks must be a bool"):
            system.report(io.StringIO(), stacks=bad)


NOTHING_ELSE = "no other thread runs, no signal has a handler in Python, the thread pool is idle: each of these could"


def deadlock(wait, *arguments):
    """Return the message of the `Deadlock` that a wait of the main program ends with, but for its last line."""
    with pytest.raises(errors.Deadlock) as caught:
        wait(*arguments)
    text, _, last = str(caught.value).rpartition("\n")
    assert last == NOTHING_ELSE
    return text


def plain(text):
    """Return the lines of a report: T for a time, N for a line number, no padding, not what the main program runs."""
    lines = [line for line in text.splitlines() if not re.match(r" {6}|  main +runs  ", line)]
    lines = [re.sub(rf"^(  \S.*?)  +{TIME}  ", r"\1  T  ", line) for line in lines]
    return [re.sub(r"(?<=\S) {2,}", "  ", re.sub(r"\.py:\d+", ".py:N", line)) for line in lines]


def line_of(function, number):
    """Return the place of a line of a function, the one after `def` being number 1."""
    return f"{HERE}:{function.__code__.co_firstlineno + number}"


def wait_on(thing):
    """Suspend the running coroutine until it is resumed."""
    running().waiting_on = thing
    return park_unowned()


def move(first, second):
    """Lock two mutexes, one after the other."""
    mutex.lock(first)
    try:
        system.suspend()
        mutex.lock(second)
        mutex.unlock(second)
    finally:
        mutex.unlock(first)


@contextmanager
def suspended(*made):
    """Start coroutines, and end them after the block."""
    try:
        for one in made:
            one.resume()
        yield
    finally:
        for one in made:
            if one.status != "dead":
                one.close()


@contextmanager
def in_circle(*names):
    """Let coroutines wait for each other: each holds the mutex that has its name, and wants the next one's."""
    wanted = (*names[1:], names[0])
    with suspended(*(create(lambda pair=pair: move(*pair), name=pair[0]) for pair in zip(names, wanted, strict=True))):
        system.suspend()
        yield


# -- who waits for whom


def test_two_wait_for_each_other():
    """Name, time, what it waits on, who holds that, the line of the user's code; then the cycle."""
    with in_circle("a", "b"):
        pending, _ = promise.create()
        text = deadlock(pending)
    assert plain(text) == [
        "nothing can wake the 3 coroutines that wait",
        f"  a  T  mutex 'b'  held by b  {HERE}:N in move",
        f"  b  T  mutex 'a'  held by a  {HERE}:N in move",
        f"  main  T  promise <Promise at {HERE}:N pending>  {HERE}:N in deadlock",
        "  cycle: a -> b -> a",
    ]
    assert text.count(line_of(move, 5)) == 2
    assert text.count(line_of(deadlock, 3)) == 1


def test_three_wait_for_each_other():
    """The same in the report on demand, which has another headline and says what runs, too."""
    with in_circle("a", "b", "c"):
        text = told()
    assert plain(text) == [
        "3 coroutines wait",
        f"  a  T  mutex 'b'  held by b  {HERE}:N in move",
        f"  b  T  mutex 'c'  held by c  {HERE}:N in move",
        f"  c  T  mutex 'a'  held by a  {HERE}:N in move",
        "  cycle: a -> b -> c -> a",
    ]
    assert text.endswith("\n")
    assert plain(told()) == ["no coroutine waits"]


def test_one_waits_for_itself():
    """The shortest cycle."""
    text = deadlock(lambda: wait_on(Held("itself", running())))
    assert plain(text) == [
        "nothing can wake the 1 coroutine that waits",
        f"  main  T  itself  held by main  {HERE}:N in wait_on",
        "  cycle: main -> main",
    ]


def test_two_cycles():
    """Those of cycles come first, then the main program, then the others; each cycle has its line."""
    with in_circle("a", "b"), in_circle("x", "y"), suspended(create(lambda: mutex.lock("a"), name="A")):
        lines = plain(deadlock(event.await_, "e"))
    assert lines == [
        "nothing can wake the 6 coroutines that wait",
        f"  a  T  mutex 'b'  held by b  {HERE}:N in move",
        f"  b  T  mutex 'a'  held by a  {HERE}:N in move",
        f"  x  T  mutex 'y'  held by y  {HERE}:N in move",
        f"  y  T  mutex 'x'  held by x  {HERE}:N in move",
        f"  main  T  event 'e'  {HERE}:N in deadlock",
        f"  A  T  mutex 'a'  held by a  {HERE}:N in <lambda>",
        "  cycle: a -> b -> a",
        "  cycle: x -> y -> x",
    ]


def test_long_cycle():
    """Of a cycle of many only the first ones are named."""
    names = [f"m{number:02}" for number in range(MAX_DEADLOCK_LINES + 20)]
    with in_circle(*names):
        *_, left, last = deadlock(event.await_, "e").splitlines()
        *_, all_of_them = told().splitlines()
    assert left == "  ... and 21 more"
    assert last == f"  cycle: {' -> '.join(names[:MAX_CYCLE_MEMBERS])} -> {len(names) - MAX_CYCLE_MEMBERS} more -> m00"
    assert all_of_them == last


def test_owner_that_has_ended():
    """No one will ever unlock that mutex."""
    spawn.call(mutex.lock, "m", name="forgetful")
    with suspended(create(lambda: mutex.lock("m"), name="waiter")):
        assert plain(told())[1:] == [
            f"  waiter  T  mutex 'm'  held by forgetful, which has ended  {HERE}:N in <lambda>"
        ]
    mutex._registry.owners.clear()


def test_owner_that_waits_for_something_else():
    """No cycle: the chain ends where a coroutine waits for what has no owner."""
    holder = create(lambda: (mutex.lock("m"), event.await_("e"), mutex.unlock("m")), name="holder")
    with suspended(holder, create(lambda: (mutex.lock("m"), mutex.unlock("m")), name="waiter")):
        assert plain(told()) == [
            "2 coroutines wait",
            f"  holder  T  event 'e'  {HERE}:N in <lambda>",
            f"  waiter  T  mutex 'm'  held by holder  {HERE}:N in <lambda>",
        ]
        event.emitall("e")
        assert plain(told()) == ["no coroutine waits"]


def test_equal_names():
    """If several have the name of an owner, they are numbered, so that one knows which is meant; others are not."""
    made = [create(yield_, name=name) for name in ("same", "other", "other")]
    waiting = create(lambda: wait_on(Held("thing", made[0])), name="same")
    with suspended(*made, waiting):
        made[0].parked_at, waiting.parked_at = 1, 2
        lines = plain(told())
    assert [line.split("  ")[1] for line in lines[1:]] == ["same #1", "same #2", "other", "other"]
    assert "  thing  held by same #1  " in lines[2]


# -- a line of the report


def test_columns_are_aligned():
    """Whatever their lengths are; what has no owner takes the width of two columns."""
    made = [
        create(lambda: wait_on(Held("short", running())), name="a"),
        create(lambda: wait_on(Held("somewhat longer", running())), name="longest name"),
        create(lambda: wait_on("something else that nobody holds, or needs to"), name="b"),
    ]
    with suspended(*made):
        for one, seconds in zip(made, (5, 200, 0.1), strict=True):
            one.parked_at = time.monotonic_ns() - int(seconds * 1e9)
        lines = told().splitlines()[1:4]
    assert lines[0].startswith("  longest name  3 min 20 s  somewhat longer  held by longest name ")
    assert lines[1].startswith("  a                  5.0 s  short            held by a            ")
    assert re.match(r"  b                 1\d\d ms  something else that nobody holds, or needs to  ", lines[2])
    assert len({line.index(HERE) for line in lines}) == 1


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((0, "0 ms"), (0.0123, "12 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (4.21, "4.2 s"), (59.94, "59.9 s")),
        *((59.96, "1 min 0 s"), (182, "3 min 2 s"), (3599.9, "1 h 0 min"), (18_420, "5 h 7 min"), (183_700, "2 d 3 h")),
    ],
)
def test_times_are_for_people(seconds, text):
    """Two units at most, and no sixty seconds."""
    assert _duration(int(seconds * 1e9)) == text


def test_time_begins_with_the_wait():
    """It starts anew with each wait, and not with the coroutine."""
    with suspended(create(lambda: (event.await_("a"), event.await_("b")), name="one")):
        system.suspend(0.06)
        first = float(re.search(r"(\d+) ms  event 'a'", told())[1])
        event.emitall("a")
        second = float(re.search(r"(\d+) ms  event 'b'", told())[1])
    assert 55 <= first < 500
    assert second < first - 30


def test_unknown_time():
    """Without any known time there is no column for it."""
    one = create(yield_, name="one")
    with suspended(one):
        one.parked_at = 0
        assert told().splitlines()[:2] == ["1 coroutine waits", "  one   yield"]
        one.parked_at = 1
        assert re.fullmatch(r"  one   \d+ (min|h|d) \d+ (s|min|h)  yield", told().splitlines()[1])


def test_names_and_things_fit_in_a_line():
    """What is long is shortened in the middle; what would break the line, or hide in it, is escaped."""
    made = [
        create(lambda: wait_on("x" * 10_000 + "end"), name="n" * 1000 + "end"),
        create(lambda: event.await_({"huge": list(range(100_000))}), name="line\nbreak \x1b[31m\ud800 größer"),
        create(lambda: wait_on(Held("thing\r\n  forged  line", running())), name=""),
    ]
    with suspended(*made):
        lines = told().splitlines()[1:4]
    rows = {line.split("  ")[1]: line for line in lines}
    assert set(rows) == {"", "n" * 20 + "..." + "n" * 14 + "end", r"line\nbreak \x1b[31m\ud800 größer"}
    assert "  " + "x" * 50 + "..." + "x" * 44 + "end  " in rows["n" * 20 + "..." + "n" * 14 + "end"]
    assert r"  thing\r\n  forged  line  held by " in rows[""]
    assert all(len(line) < 300 for line in lines)
    assert "event {'huge': [0, 1, 2, 3, 4, 5, ...]}" in rows[r"line\nbreak \x1b[31m\ud800 größer"]


class Broken:
    """Nothing of it works."""

    def __str__(self):
        raise LookupError("no text")

    __repr__ = __str__

    @property
    def owner(self):
        raise ZeroDivisionError


def test_things_that_cannot_be_shown():
    """A value whose repr raises costs only its own cell; an owner that is no coroutine is none."""
    made = [create(lambda: wait_on(Broken()), name="broken"), create(lambda: event.await_(Broken()), name="event")]
    with suspended(*made, create(lambda: wait_on(Held("held", "by a string")), name="string")):
        lines = plain(told())
        message = plain(deadlock(wait_on, Broken()))
    assert f"  broken  T  <Broken, whose str raises LookupError>  {HERE}:N in wait_on" in lines
    assert any(line.startswith("  event  T  event <Broken instance at 0x") for line in lines)
    assert f"  string  T  held  {HERE}:N in wait_on" in lines
    assert f"  main  T  <Broken, whose str raises LookupError>  {HERE}:N in wait_on" in message


def test_the_line_is_that_of_the_user():
    """The innermost line outside coutil; none if there is no such line."""

    def outer():
        inner()

    def inner():
        event.await_("e")

    with suspended(create(outer, name="nested"), create(yield_, name="bare")), listening("ipv4") as server:
        accepting = spawn.call(server.accept, name="server")
        text = told()
        accepting.close()
    assert re.search(rf"  nested  .*  event 'e'  .*{line_of(inner, 1)} in inner\n", text)
    assert re.search(r"  bare  .*  yield\n", text)
    assert re.search(r"  server  .*  passive ipv4 127.0.0.1:\d+\n", text)


def test_paths_are_relative_to_the_current_directory(tmp_path, monkeypatch):
    """If the file lies below it; else they are as Python knows them, also if the directory is gone."""
    with suspended(create(lambda: event.await_("e"), name="one")):
        monkeypatch.chdir(os.path.dirname(__file__))
        assert re.search(r"  test_diagnostics\.py:\d+ in <lambda>\n", told())
        gone = tmp_path / "gone"
        gone.mkdir()
        monkeypatch.chdir(gone)
        assert f"  {__file__}:" in told()
        gone.rmdir()
        assert f"  {__file__}:" in told()


def test_place_of_a_promise():
    """A promise shows where it was made, and whether it is fulfilled."""
    made, fulfill = promise.create()
    line = line_of(test_place_of_a_promise, 2)
    assert repr(made) == f"<Promise at {line} pending>"
    with suspended(create(made, name="one")):
        assert f"  promise <Promise at {line} pending>\n" in told()
        fulfill()
    assert repr(made) == f"<Promise at {line} fulfilled>"


def test_many_coroutines():
    """The message of a deadlock stops after fifty lines; the report on demand does not."""
    made = [create(lambda: event.await_("e"), name=f"n{number}") for number in range(1000)]
    with suspended(*made):
        message = deadlock(event.await_, "mine").splitlines()
        report = told().splitlines()
    assert message[0] == "nothing can wake the 1001 coroutines that wait"
    assert message[1].startswith("  main  ")  # first, since it is in no cycle and could be missing else
    assert len(message) == 1 + MAX_DEADLOCK_LINES + 1
    assert message[-1] == "  ... and 951 more"
    assert report[0] == "1000 coroutines wait"
    assert {f"n{number}" for number in range(1000)} < {line.split()[0] for line in report}


# -- what does not wait


def test_what_runs():
    """Who waits comes first, then who has resumed another, then the code that runs, the innermost line first."""
    texts = []

    def outer():
        inner()

    def inner():
        texts.append(told())

    resumer = create(lambda: create(outer, name="runner").resume(), name="resumer")
    with suspended(create(lambda: event.await_("e"), name="waiter")):
        resumer.resume()
    lines = texts[0].splitlines()
    assert lines[0] == "1 coroutine waits"
    assert re.match(rf"  waiter   +{TIME}  event 'e' ", lines[1])
    others = sorted(re.sub("  +", "  ", line).split("  ")[1:3] for line in lines[2:4])
    assert others == [["main", "has resumed another"], ["resumer", "has resumed another"]]
    assert re.fullmatch(rf"  runner   +runs   +{line_of(told, 3)} in told", lines[4])
    assert lines[5].strip() == f"{line_of(inner, 1)} in inner"
    assert lines[6].strip() == f"{line_of(outer, 1)} in outer"
    assert len(lines) == 7


def test_deep_code_is_cut():
    """Ten lines of the code that runs are enough."""

    def deep(levels):
        return deep(levels - 1) if levels else told()

    first, second, *lines = [line.strip() for line in deep(100).splitlines()]
    assert first == "no coroutine waits"
    assert re.fullmatch(r"main +runs +.* in told", second)
    assert lines == [f"{line_of(deep, 1)} in deep"] * 9 + ["..."]


def test_in_the_loop(escaped):
    """The main program that runs the loop is shown as such; what has not begun, or has ended, is not shown."""
    unborn, dead = create(yield_, name="unborn"), spawn.call(int, name="dead")
    texts = []
    spawn.call(lambda: (system.suspend(), texts.append(told())), name="reporter")
    system.run()
    lines = texts[0].splitlines()
    assert lines[0] == "no coroutine waits"
    assert re.match(rf"  main      runs the loop  {HERE}:\d+ in test_in_the_loop$", lines[1])
    assert lines[2].startswith("  reporter  runs  ")
    assert not any(one.name in texts[0] for one in (unborn, dead))


class Reporting(Hooks):
    """Reports whenever it is called."""

    def __init__(self):
        self.texts = []

    def turn(self, count):
        self.texts.append(told())

    def resumed(self, coroutine):
        self.texts.append(told())

    parked = resumed


def test_in_hooks(escaped):
    """In the hub and between switches, where nothing could wait."""
    current_context().hooks = hooks = Reporting()
    try:
        spawn.call(lambda: (system.suspend(0.001), 1 / 0), name="one")
        hook = system.get_excepthook()
        system.set_excepthook(lambda coroutine, error: hooks.texts.append(f"{error}: {told()}"))
        system.run()
    finally:
        current_context().hooks = None
        system.set_excepthook(hook)
    assert escaped == []
    assert [text.splitlines()[0] for text in hooks.texts if "division by zero" in text] == [
        "division by zero: no coroutine waits"
    ]
    turns = [text for text in hooks.texts if re.search(r"^  hub +turns the loop$", text, re.MULTILINE)]
    assert re.search(rf"^  one   +{TIME}  suspend  ", turns[0], re.MULTILINE)
    assert re.search(r"^  main  +runs the loop  ", turns[0], re.MULTILINE)


def test_report_does_not_switch():
    """The one that is ready stays so; the caller goes on in the same greenlet and in the same turn."""
    log = []
    spawn.call(lambda: (system.suspend(), log.append("ran")))
    me, turns = getcurrent(), current_context().hub._turns
    text = told()
    assert (getcurrent(), current_context().hub._turns, log) == (me, turns, [])
    assert "  suspend  " in text
    system.run()
    assert log == ["ran"]


# -- where it goes


class Writer:
    """Notes what is written; raises if it shall."""

    def __init__(self, error=None):
        self.error, self.written = error, []

    def write(self, text):
        self.written.append(text)
        if self.error:
            raise self.error


def test_standard_error_is_the_default(capsys, monkeypatch):
    """Nothing is returned, and nothing happens if there is no standard error."""
    assert system.report() is None
    output, errors_ = capsys.readouterr()
    assert output == ""
    assert errors_.startswith("no coroutine waits\n  main  runs  ")
    monkeypatch.setattr(sys, "stderr", None)
    assert system.report() is None
    assert capsys.readouterr() == ("", "")


def test_file():
    """The text is written by one call; its errors are the caller's."""
    writer = Writer()
    system.report(writer)
    (text,) = writer.written
    assert text.endswith("\n")
    broken = Writer(OSError("disk full"))
    with pytest.raises(OSError, match="disk full"):
        system.report(broken)
    assert len(broken.written) == 1
    for wrong in ("name", 3, object()):
        with pytest.raises(TypeError, match=r"file must have a method write\(\), not "):
            system.report(wrong)


def test_nothing_is_kept():
    """A report keeps no coroutine alive that everybody else forgets."""
    log = []

    def body():
        try:
            yield_()
        finally:
            log.append("ended")

    one = create(body)
    one.resume()
    told()
    assert log == []
    del one
    assert log == ["ended"]


def test_values_that_no_other_can_reach():
    """D18: a coroutine that waits for such a value keeps it, and itself, for ever; this is where that shows."""

    def leak():
        event.await_(Held("nobody will emit me"))

    spawn.call(leak)
    gc.collect()
    text = told()
    assert text.startswith("1 coroutine waits\n")
    assert re.search(rf"  test_values\S+leak  +{TIME}  event <.*Held object at .*>  {line_of(leak, 1)} in leak\n", text)
    ((_, coroutine, _),) = event.registry.waits.values()
    coroutine.close()
    assert told().startswith("no coroutine waits\n")


def test_no_lock_is_taken():
    """Signal handlers interrupt the one that holds the locks of the standard library."""
    with threading._active_limbo_lock:
        assert told().startswith("no coroutine waits\n")
        assert "coroutine that waits\n" in deadlock(event.await_, "e")


# -- threads


@contextmanager
def in_thread(function, name="other"):
    """Run a function in an OS thread during the block; what it raised is raised at the end."""
    failures = []

    def body():
        try:
            function()
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    thread = threading.Thread(target=body, name=name)
    thread.start()
    try:
        yield thread
    finally:
        thread.join(20)
    assert not thread.is_alive()
    assert failures == []


def test_from_another_thread_while_the_loop_sleeps(hub):
    """It sees who waits in the main thread, and that nothing runs there; it never waited, so it is not shown itself."""
    texts = []

    def other():
        while not hub.polling:
            time.sleep(0.001)
        texts.append(told())
        hub.call_threadsafe(event.emitall, "go on")

    mutex.lock("m")
    with suspended(create(lambda: mutex.lock("m"), name="waiter")), in_thread(other), hub.external_source():
        event.await_("go on")
    mutex.unlock("m")
    assert plain(texts[0]) == [
        "2 coroutines wait",
        f"  main  T  event 'go on'  {HERE}:N in test_from_another_thread_while_the_loop_sleeps",
        f"  waiter  T  mutex 'm'  held by main  {HERE}:N in <lambda>",
        "  hub  turns the loop",
    ]


def test_from_another_thread_while_a_coroutine_computes():
    """It sees the code that runs, and who waits for that."""
    begun, texts = threading.Event(), []

    def compute():
        begun.set()
        while not texts:
            pass

    with in_thread(lambda: (begun.wait(), texts.append(told()))):
        spawn.call(compute, name="busy")
    lines = texts[0].splitlines()
    assert lines[0] == "no coroutine waits"
    assert re.fullmatch(rf"  main  has resumed another  {HERE}:\d+ in test_from_another_thread_\w+", lines[1])
    possible = "|".join(line_of(compute, number) for number in (1, 2, 3))
    assert re.fullmatch(rf"  busy  runs +({possible}) in compute", lines[2])
    assert len(lines) == 3


def test_several_threads():
    """Each has its own part, with who waits there and what runs."""
    texts = []

    def other():
        mutex.lock("m")
        one = create(lambda: mutex.lock("m"), name="his")
        with suspended(one):
            texts.append(told())
        mutex.unlock("m")

    mutex.lock("m")  # another one, though it has the same name
    mine = [create(lambda: event.await_("m"), name="mine"), create(yield_, name="mine, too")]
    with suspended(*mine), in_thread(other):
        while not texts:
            time.sleep(0.001)
    mutex.unlock("m")
    lines = plain(texts[0])
    assert lines[:4] == [
        "3 coroutines wait, in 2 threads",
        "thread MainThread: 2 coroutines wait",
        f"  mine  T  event 'm'  {HERE}:N in <lambda>",
        "  mine, too  T  yield",
    ]
    assert lines[-2:] == [
        "thread other: 1 coroutine waits",
        f"  his  T  mutex 'm'  held by main  {HERE}:N in <lambda>",
    ]
    assert len(re.findall(r"^  main +runs  ", texts[0], re.MULTILINE)) == 2


def test_thread_that_has_ended():
    """Nothing is told of it, though its coroutines are kept; they can never go on."""
    made = []

    def other():
        made.append(create(yield_, name="left"))
        made[0].resume()

    with in_thread(other):
        pass
    for _ in range(100):
        assert told().startswith("no coroutine waits\n  main  runs")
    made.clear()


def test_reports_while_everything_changes():
    """Reports of another thread go well while coroutines begin, wait, own things, and end as fast as they can."""
    texts, begin = [], time.monotonic()

    def enough():
        held = any("held by w" in text for text in texts)
        return (held and len(texts) >= 10) or time.monotonic() - begin > 20

    def other():
        while not enough():
            texts.append(told())

    def work(number):
        for _ in range(number % 5):
            move(number % 7, number % 7 + 0.5)
            event.emitall(number)
            event.await_(number + 1) if number % 3 == 0 else system.suspend()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        with in_thread(other):
            while not enough():
                made = [create(lambda number=number: work(number), name=f"w{number}") for number in range(100)]
                with suspended(*made):
                    system.suspend()
    finally:
        sys.setswitchinterval(interval)
    headline = r"no coroutine waits|\d+ coroutines? waits?"
    row = re.compile(rf"{headline}|  cycle: \S.* -> \S.*|  \S.*  \S.*|  +\S+:\d+( in .*)?|  +\.{{3}}")
    assert [line for text in texts for line in text.splitlines() if not row.fullmatch(line)] == []
    assert len(texts) >= 10
    assert any("held by w" in text for text in texts)


# -- processes of their own

QUIT = """
    import signal
    from coutil import event, mutex, spawn, system

    signal.signal(signal.SIGQUIT, lambda *_: system.report())
    mutex.lock("m")
    spawn.call(mutex.lock, "m", name="waiter")
"""
IDLE = """
    import threading
    from coutil._kernel.hub import current_hub

    def tell(hub):
        while not hub.polling:
            pass
        print("ready", flush=True)

    threading.Thread(target=tell, args=[current_hub()]).start()
    system.suspend(60)
"""
BUSY = """
    def compute():
        system.suspend()
        print("ready", flush=True)
        while True:
            pass

    spawn.call(compute, name="busy")
    system.run()
"""


def quit_report(script, last):
    """Run a script, send it SIGQUIT twice; return the lines it writes each time, up to one that ends in `last`."""
    command = [sys.executable, "-c", dedent(QUIT) + dedent(script)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    texts = []
    with subprocess.Popen(command, cwd=ROOT, **pipes) as process:
        alarm = threading.Timer(20, process.kill)
        alarm.start()
        try:
            assert process.stdout.readline() == "ready\n"
            for _ in range(2):
                process.send_signal(signal.SIGQUIT)
                texts.append([process.stderr.readline()])
                while texts[-1][-1] and not texts[-1][-1].endswith(last):
                    texts[-1].append(process.stderr.readline())
            assert process.poll() is None
        finally:
            alarm.cancel()
            process.kill()
    return texts


def test_quit_signal_while_the_loop_sleeps():
    """The handler that the documentation of `system.report` shows; the program goes on afterwards."""
    for text in quit_report(IDLE, "turns the loop\n"):
        assert text[0] == "2 coroutines wait\n"
        assert re.fullmatch(rf"  main    +{TIME}  suspend  +<string>:\d+\n", text[1])
        assert re.fullmatch(rf"  waiter  +{TIME}  mutex 'm'  held by main\n", text[2])
        assert re.fullmatch(r"  hub +turns the loop\n", text[3])


def test_quit_signal_while_a_coroutine_computes():
    """It shows the line that keeps all the others waiting, below the handler itself."""
    loop = (dedent(QUIT) + dedent(BUSY)).splitlines().index("    while True:") + 1
    for text in quit_report(BUSY, "in compute\n"):
        assert text[0] == "1 coroutine waits\n"
        assert re.fullmatch(rf"  waiter  +{TIME}  mutex 'm'  held by main\n", text[1])
        assert re.fullmatch(r"  main +runs the loop +<string>:\d+\n", text[2])
        assert re.fullmatch(r"  busy +runs +<string>:\d+ in <lambda>\n", text[3])
        assert re.fullmatch(rf" +<string>:({loop - 1}|{loop}|{loop + 1}) in compute\n", text[-1])


FROZEN = """
    import gc, io
    from coutil import coroutine, errors, event, mutex, spawn, system

    def begin():
        mutex.lock("held")
        coroutine.yield_()

    keep = coroutine.create(begin, name="owner")
    keep.resume()
    spawn.call(mutex.lock, "held", name="for a mutex")
    spawn.call(event.awaitany, "e", "f", name="for events")
    spawn.call(system.suspend, 0.1, name="for time")
    stream = system.socket("passive", "ipv4")
    stream.bind(system.address("ipv4", "127.0.0.1", 0))
    stream.listen(1)
    accept = spawn.call(stream.accept, name="for a connection")
    gc.collect()
    gc.freeze()
    text = io.StringIO()
    system.report(text)
    print(text.getvalue(), end="")
    accept.close()
    try:
        event.await_("main")
    except errors.Deadlock as error:
        print(error)
"""


def test_after_freeze():
    """What the collector does not show is found in the loop, among the events, and by what others wait for."""
    lines = output_of(FROZEN)
    names = [line[2:].split("  ")[0] for line in lines]
    assert (lines[0], lines[7]) == ("5 coroutines wait", "nothing can wake the 4 coroutines that wait")
    assert set(names[1:6]) == {"owner", "for a mutex", "for events", "for time", "for a connection"}
    assert names[6] == names[8] == "main"
    assert set(names[9:-1]) == {"owner", "for a mutex", "for events"}


FOREIGN = """
    import sys, threading
    from coutil import system

    system.report(sys.stdout)
    thread = threading.Thread(target=system.report, args=(sys.stdout,))
    thread.start()
    thread.join()
    system.suspend()
    system.report(sys.stdout)
"""


def test_before_anybody_waited():
    """A program that never waited has no coroutine, and gets none by asking."""
    assert output_of(FOREIGN) == ["no coroutine waits"] * 3 + ["  main  runs  <string>:10"]
