"""What becomes of a scope whose host is closed, thrown into, resumed, forgotten, or stuck."""

# ruff: noqa: PT012  # what blocks raise at their end is the matter here

from __future__ import annotations

import gc
import signal
import threading
from weakref import ref

import pytest
from greenlet import GreenletExit

from coutil import coroutine, errors, event, spawn, system
from coutil.scopes import move_on_after, scope, timeout
from tests.helpers.children import fail, sleeper, wait_for
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import current_context
from tests.helpers.script import output_of, run_script
from tests.helpers.values import is_collected


class Host:
    """A coroutine in a scope with two children, waiting in the block or at its end."""

    def __init__(self, at_the_end, **options):
        self.log = []
        self.at_the_end = at_the_end
        self.scope = scope(**options)
        self.coroutine = coroutine.create(self.body, name="host")
        self.coroutine.resume()

    def body(self):
        with self.scope as s:
            for number in (1, 2):
                s.spawn(self.child, number)
            if not self.at_the_end:
                sleeper(self.log, 9, "body")
        self.log.append("left")

    def child(self, number):
        try:
            event.await_("go")
            self.log.append(number)
        except BaseException as error:
            self.log.append(f"{number} {type(error).__name__}")
            raise


where = pytest.mark.parametrize("at_the_end", [False, True], ids=["in the block", "at its end"])


@where
def test_closed(at_the_end, clock):
    """`close` ends the children first, then the host; it has ended when `close` returns."""
    host = Host(at_the_end)
    assert host.coroutine.close() is True
    assert host.log == ["GreenletExit"] * (not at_the_end) + ["1 Cancelled", "2 Cancelled"]
    assert (host.coroutine.status, event.pending("go"), clock._timers.pending()) == ("dead", False, 0)


@where
def test_thrown_into(at_the_end, clock):
    """The children are cancelled, and the host ends with what was thrown: the coroutine that threw it gets it back."""
    host = Host(at_the_end)
    error = Trouble("thrown")
    with pytest.raises(ExceptionGroup) as caught:
        host.coroutine.throw(error)
    assert caught.value.exceptions == (error,)
    assert host.log[-2:] == ["1 Cancelled", "2 Cancelled"]
    assert host.coroutine.status == "dead"


@where
def test_resumed(at_the_end, clock):
    """An explicit resume ends a wait in the block, not the wait for the children."""
    host = Host(at_the_end)
    host.coroutine.resume("given")
    assert host.log == (["body"] if not at_the_end else [])
    host.coroutine.resume("again")
    assert "end of 2 children" in repr(host.coroutine)
    event.emitall("go")
    assert "left" not in host.log
    system.run()
    assert host.log[-3:] == [1, 2, "left"]


@where
def test_a_timeout_at_the_host(at_the_end, clock):
    """A deadline around the scope ends the children, and the host goes on after it."""
    log = []

    def program():
        with move_on_after(1) as limit, scope() as s:
            s.spawn(sleeper, log)
            if not at_the_end:
                sleeper(log)
        log.append(limit.expired)

    spawn.call(program)
    system.run()
    assert log == ["Cancelled"] * (1 if at_the_end else 2) + [True]
    assert clock._timers.pending() == 0


def test_closed_while_children_need_time(clock):
    """`close` returns False if a child's clean-up waits under a shield; the host ends after that child."""
    log = []

    def child():
        try:
            event.await_("never")
        finally:
            with scope(shield=True):
                sleeper(log, 1, "clean")

    def program():
        with scope() as s:
            s.spawn(child)
        log.append("never")

    host = spawn.call(program)
    assert [host.close(), host.close()] == [False, False]
    assert (log, host.status) == ([], "suspended")
    system.run()
    assert (log, host.status) == (["clean"], "dead")


def test_closed_and_a_child_fails(clock):
    """The error of a clean-up is not lost because the host was told to end: the one that closes it gets it."""

    def child():
        try:
            event.await_("never")
        finally:
            raise Trouble

    def program():
        with scope() as s:
            s.spawn(child)

    host = spawn.call(program)
    with pytest.RaisesGroup(Trouble):
        host.close()
    assert host.status == "dead"
    assert event.pending("never") is False


def test_a_forgotten_host_is_collected(clock):
    """A host that yields, and that no one knows any more, ends as soon as no child refers to its resumer, which it is.

    Children that are left are cancelled then.
    """
    log = []

    def program():
        try:
            with scope() as s:
                s.spawn(sleeper, log, 1, "first")
                s.spawn(child)
                coroutine.yield_()
        finally:
            log.append("host ended")

    def child():
        system.suspend(2)
        try:
            event.await_("never")
        finally:
            log.append("child ended")

    live = current_context().alive_count()
    host = coroutine.create(program)
    host.resume()
    assert current_context().alive_count() == live + 3
    watch = ref(host)
    del host
    assert is_collected(watch)
    assert log == []
    system.suspend(3)
    gc.collect()
    assert log == ["first", "host ended", "child ended"]
    assert (current_context().alive_count(), event.pending("never")) == (live, False)


def test_a_forgotten_host_inside_deadlines(clock):
    """Neither a deadline nor an empty scope keeps its host alive; the timer goes with it."""

    def program():
        with timeout(100), scope(), timeout(None):
            coroutine.yield_()

    host = coroutine.create(program)
    host.resume()
    assert clock._timers.pending() == 1
    watch = ref(host)
    del host
    assert is_collected(watch)
    assert clock._timers.pending() == 0


def test_a_host_that_ends_the_scope_by_hand(go):
    """A child may close or throw into its own host: it ends when the child waits next, or ends."""
    log = []

    def program():
        with scope() as s:
            s.spawn(child)
        log.append("never")

    def child():
        system.suspend()
        assert host.close() is False
        log.append("closed")
        sleeper(log)

    host = go(program)
    system.run()
    assert log == ["closed", "Cancelled"]
    assert host.status == "dead"


def test_the_host_goes_on_after_the_failed_child_has_ended(clock):
    """The block is not left in the middle of the end of a child: its coroutine is dead by then."""
    tasks = []

    def program():
        with pytest.RaisesGroup(Trouble), scope() as s:
            tasks.append(s.spawn(sleeper, [], 5))
            tasks.append(s.spawn(fail, Trouble(), 1))
        return [task.coroutine.status for task in tasks]

    found = []
    spawn.trap(lambda *outcome: found.append(outcome), program)
    system.run()
    assert found == [(True, ["dead", "dead"])]
    assert program() == ["dead", "dead", "dead", "dead"]


def test_a_child_spawned_during_the_cancellation(clock):
    """It is not started: the caller gets Cancelled, of the block that was cancelled, whichever that is."""
    log = []

    def child():
        try:
            system.suspend(9)
        finally:
            with pytest.raises(errors.Cancelled) as caught:
                s.spawn(sleeper, log)
            log.append(caught.value.scope)

    with move_on_after(1) as limit, scope() as s:
        s.spawn(child)
    assert log == [limit]
    with scope() as s:
        s.spawn(child)
        s.cancel()
    assert log == [limit, s]
    assert limit.expired is True


@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_the_host_leaves_the_program_while_it_is_cancelled(kind, clock):
    """A failing child cancels its host, which exits: that reaches the main program, and no one hangs."""
    log = []

    def program():
        with scope() as s:
            tasks.append(s.spawn(fail, Trouble(), 1))
            try:
                system.suspend(9)
            finally:
                raise kind("stop")

    def stranger():
        with pytest.raises(Trouble):
            tasks[0].result()
        log.append("told")

    tasks = []
    spawn.call(program)
    spawn.call(stranger)
    with pytest.raises(kind) as caught:
        system.run()
    assert caught.value.args == ("stop",)
    assert [type(one) for one in caught.value.__cause__.exceptions] == [Trouble]
    assert system.run() is False
    assert log == ["told"]


# -- nothing can happen any more


def test_deadlock_at_the_end():
    """The main program waits for children that nothing can wake: Deadlock, and the children are cancelled."""
    with pytest.RaisesGroup(errors.Deadlock) as caught, scope() as s:
        s.spawn(wait_for, "never", name="Otto")
    text = str(caught.value.exceptions[0])
    assert "end of 1 children" in text
    assert "Otto" in text
    assert s.cancelled is True
    assert event.pending("never") is False


def test_deadlock_in_the_block():
    """The same if it waits in the block itself, or for a result."""
    with pytest.RaisesGroup(pytest.RaisesExc(errors.Deadlock, match="result of Otto")), scope() as s:
        s.spawn(wait_for, "never", name="Otto").result()
    assert s.cancelled is True
    assert event.pending("never") is False


def test_deadlock_with_children_that_do_not_end(escaped):
    """A second Deadlock leaves the scope behind; what its children raise later goes to the excepthook."""

    def stubborn():
        with scope(shield=True):
            event.await_("later")
        raise Trouble("late")

    with pytest.raises(ExceptionGroup) as caught, scope() as s:
        task = s.spawn(stubborn)
    assert [type(error) for error in caught.value.exceptions] == [errors.Deadlock, errors.Deadlock]
    assert (task.done, coroutine.running().scope) == (False, None)
    with pytest.raises(RuntimeError, match="not open"):
        s.spawn(len, "")
    event.emitall("later")
    assert [(one, error.args) for one, error in escaped] == [(task.coroutine, ("late",))]
    with pytest.raises(Trouble):
        task.result()
    escaped.clear()


# -- Ctrl-C


def interrupt_later(hub, seconds):
    """Have SIGINT arrive in the hub, so that the main program is told."""
    spawn.call(lambda: (system.suspend(seconds), hub.call_threadsafe(signal.raise_signal, signal.SIGINT)))


def test_interrupt_at_the_end(clock, hub):
    """Ctrl-C cancels the children and is raised when they have ended."""
    log = []
    interrupt_later(hub, 1)
    with pytest.raises(KeyboardInterrupt) as caught, scope() as s:
        s.spawn(sleeper, log)
        s.spawn(sleeper, log)
    assert caught.value.__cause__ is None
    assert log == ["Cancelled", "Cancelled"]
    assert coroutine.running().scope is None
    assert clock._timers.pending() == 0


def test_a_second_interrupt_gets_out(clock, hub):
    """Children that do not end hold the scope only up to the next Ctrl-C."""
    log = []

    def stubborn():
        with scope(shield=True):
            sleeper(log, 3, "ended at last")

    interrupt_later(hub, 1)
    interrupt_later(hub, 2)
    with pytest.raises(KeyboardInterrupt) as caught, scope() as s:
        s.spawn(sleeper, log)
        s.spawn(stubborn)
    assert [type(one) for one in caught.value.__cause__.exceptions] == [KeyboardInterrupt]
    assert log == ["Cancelled"]
    assert "children=1" in repr(s)
    system.run()
    assert log == ["Cancelled", "ended at last"]


def test_interrupt_of_a_program():
    """A script in a scope, stopped by one Ctrl-C: clean-up runs, the exit code is that of an interrupt."""
    done = run_script(
        """
        import os, signal, threading
        from coutil import system
        from coutil.scopes import scope

        def child():
            try:
                system.suspend(60)
            finally:
                print("cleaned up")

        with scope() as s:
            s.spawn(child)
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT)).start()
        """
    )
    assert done.stdout == "cleaned up\n"
    assert done.returncode == -signal.SIGINT
    assert done.stderr.count("Traceback") == 1
    assert done.stderr.rstrip().endswith("KeyboardInterrupt")


# -- the ends of threads and processes


def test_the_end_of_a_thread():
    """Coroutines that wait in scopes when their thread ends are closed: children and hosts, all clean-up runs."""
    log = []

    def thread():
        def child(number):
            try:
                event.await_("never") if number else system.suspend(1000)
            finally:
                log.append(number)

        def host():
            try:
                with scope() as s:
                    s.spawn(child, 0)
                    s.spawn(child, 1)
            finally:
                log.append("host")

        spawn.call(host)
        system.run("ready")

    worker = threading.Thread(target=thread)
    worker.start()
    worker.join(10)
    assert sorted(map(str, log)) == ["0", "1", "host"]
    assert log[-1] == "host"


def test_the_end_of_a_process():
    """The interpreter ends under open scopes without a word."""
    assert output_of(
        """
        from coutil import spawn, system
        from coutil.scopes import scope, timeout

        def host():
            with timeout(60), scope() as s:
                s.spawn(system.suspend, 60)

        spawn.call(host)
        s = scope(deadline=system.time() + 60)
        s.__enter__()
        s.spawn(system.suspend, 60)
        system.run("ready")
        print("end")
        """
    ) == ["end"]


def test_deeply_nested_scopes(clock):
    """Cancelling reaches everybody, however deep; errors come up all the way."""
    depth, log = 100, []

    def nest(level):
        with scope() as inner:
            if level:
                inner.spawn(nest, level - 1)
            try:
                system.suspend(level and 9)
                raise Trouble
            except errors.Timeout:
                log.append(level)

    with move_on_after(0.5) as limit, pytest.raises(ExceptionGroup) as caught, scope() as s:
        s.spawn(nest, depth)
    assert (limit.expired, log) == (False, [])
    error, levels = caught.value, 0
    while isinstance(error, ExceptionGroup):
        (error,), levels = error.exceptions, levels + 1
    assert (type(error), levels) == (Trouble, depth + 2)

    def wait(level):
        with scope() as inner:
            if level:
                inner.spawn(wait, level - 1)
            sleeper(log)

    with move_on_after(1) as limit, scope() as s:
        s.spawn(wait, depth)
    assert (limit.expired, log) == (True, ["Cancelled"] * (depth + 1))
    assert clock._timers.pending() == 0


def test_exit_in_a_child_is_quiet(clock):
    """A host in the middle of its clean-up is not disturbed by the end of its children."""
    log = []
    with scope() as s:
        s.spawn(fail, GreenletExit(), 1)
        sleeper(log, 2, "body")
    assert log == ["body"]
    assert s.cancelled is False
    assert clock._timers.pending() == 0
