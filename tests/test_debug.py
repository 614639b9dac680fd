"""coutil.debug: tools that show which coroutine runs, and which one runs for too long."""

from __future__ import annotations

import re
import threading
import time

import pytest

from coutil import errors, event, spawn, system
from coutil.coroutine import yield_
from coutil.debug import Blocked, Trace
from tests.helpers.kernel import current_context, wakers
from tests.helpers.script import output_of, run_script

# -- Trace


def test_trace(clock):
    """A line for each start, wait, yield, step and end, with seconds in front."""
    lines = []

    def body():
        system.suspend(1)
        yield_()

    with Trace(lines.append) as trace:
        assert isinstance(trace, Trace)
        made = spawn.call(body, name="one")
        system.run()
        made.resume()
    spawn.call(lambda: None)
    assert [re.fullmatch(r" *\d+\.\d{6} (one .*)", line)[1] for line in lines] == [
        "one starts",
        f"one waits for {lines[1].partition('waits for ')[2]}",
        "one goes on",
        "one yields",
        "one goes on",
        "one ends",
    ]
    assert current_context().hooks is None


def test_trace_on_standard_error(capsys):
    """That is the default."""
    with Trace():
        spawn.call(lambda: None, name="one")
    shown = capsys.readouterr().err.splitlines()
    assert [line.split()[1:] for line in shown] == [["one", "starts"], ["one", "ends"]]


def test_trace_that_cannot_write(escaped):
    """The errors go to the excepthook, the program goes on."""

    def write(line):
        raise OSError(line.split()[-1])

    with Trace(write):
        made = spawn.call(lambda: None, name="one")
    assert made.status == "dead"
    assert [(who, str(error)) for who, error in escaped] == [(None, "starts"), (None, "ends")]
    escaped.clear()


def test_trace_twice():
    """One tool cannot be installed twice; two can."""
    first, second = [], []
    with Trace(first.append) as trace, Trace(second.append):
        with pytest.raises(ValueError, match="already installed"), trace:
            pytest.fail("it began")
        spawn.call(lambda: None)
    assert (len(first), len(second)) == (2, 2)


# -- Blocked


class Reports(list):
    """Collects reports; a coroutine can be busy until one has come."""

    def busy(self):
        count, until = len(self), time.monotonic() + 10
        while len(self) == count:
            assert time.monotonic() < until, "no report"


def test_blocked():
    """The report names the coroutine and the time, and shows where it is, without coutil's own lines; once."""
    reports = Reports()

    def body():
        system.suspend()
        reports.busy()
        time.sleep(0.05)

    with Blocked(0.01, reports.append) as blocked:
        assert isinstance(blocked, Blocked)
        spawn.call(body, name="busy bee")
        system.run()
    (report,) = reports
    title, *lines = report.splitlines()
    assert re.fullmatch(r"busy bee has kept the loop busy for \d+\.\d{3} s", title)
    assert any(line.strip() == "reports.busy()" for line in lines)
    assert any(f'"{__file__}"' in line for line in lines)
    assert not any("_coroutines" in line for line in lines)
    assert current_context().hooks is None


def test_each_stretch_is_reported():
    """A coroutine that waits in between is reported again, and so is one that another has resumed."""
    reports = Reports()

    def inner():
        reports.busy()

    def body():
        system.suspend()
        reports.busy()
        system.suspend()
        spawn.call(inner, name="inner")

    with Blocked(0.01, reports.append):
        spawn.call(body, name="outer")
        system.run()
    assert [report.split()[0] for report in reports] == ["outer", "inner"]


def test_waiting_is_not_busy():
    """Neither in the loop, nor while a coroutine runs the loop itself."""
    reports = []
    with Blocked(0.05, reports.append):
        spawn.call(lambda: [system.suspend(0.002) for _ in range(50)])
        system.run()
        spawn.call(lambda: (system.suspend(), system.suspend(0.15)))
        system.suspend(0.15)
    assert [report for report in reports if "system.suspend" in report] == []


def test_what_keeps_the_interpreter_is_reported_afterwards(monkeypatch):
    """Where the thread could not look, the end of the stretch shows how long it was; there is no stack."""
    reports = []
    monkeypatch.setattr(Blocked, "_watch", lambda self, thread: (self._end.acquire(), self._ended.release()))
    with Blocked(0.01, reports.append):
        spawn.call(lambda: (system.suspend(), time.sleep(0.03)), name="C")
        system.run()
    (report,) = reports
    assert re.fullmatch(r"C has kept the loop busy for 0\.\d{3} s", report)


def test_blocked_that_cannot_write(escaped):
    """The error goes to the excepthook of the loop; the thread and the loop go on."""
    failed = threading.Event()

    def write(text):
        failed.set()
        raise OSError("no space")

    def body():
        system.suspend()
        assert failed.wait(10)

    with Blocked(0.01, write):
        spawn.call(body)
        system.run()
        system.run("ready")  # what the thread has asked for
    assert [(who, str(error)) for who, error in escaped] == [(None, "no space")]
    escaped.clear()


def test_a_deadlock_is_still_noticed():
    """The thread of the tool wakes no coroutine, and nothing is left of it."""
    before = dict(wakers.ignored)
    with Blocked(0.01, print), pytest.raises(errors.Deadlock):
        event.await_("no emission")
    assert wakers.ignored == before


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (float("nan"), ValueError),
        (None, TypeError),
        (True, TypeError),
        ("1", TypeError),
    ],
)
def test_limits(limit, error):
    """Numbers of seconds, more than 0."""
    with pytest.raises(error, match="limit "):
        Blocked(limit)


def test_very_long_limits():
    """They are no error of the thread's."""
    with Blocked(1e300), Blocked(10**9):
        assert system.suspend() is True


def test_blocked_twice():
    """It is refused, and the first block goes on."""
    blocked = Blocked(10)
    with blocked:
        with pytest.raises(ValueError, match="already installed"), blocked:
            pytest.fail("it began")
        assert current_context().hooks is blocked
    with blocked:
        pass
    assert current_context().hooks is None


def test_blocked_in_the_child_of_a_fork():
    """The child has no thread to wait for."""
    assert output_of(
        """
        import os
        from coutil import system
        from coutil.debug import Blocked
        with Blocked(0.01):
            child = os.fork()
        if child:
            print(os.waitpid(child, 0)[1])
        """
    ) == ["0"]


def test_blocked_at_the_end_of_the_process():
    """A program may end in the middle of the block."""
    done = run_script("from coutil.debug import Blocked\nBlocked(0.01).__enter__()\nraise SystemExit(3)")
    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
