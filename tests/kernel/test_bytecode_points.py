"""Signal handlers that raise, at every boundary between two bytecodes of the calls that begin or end a wait."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import time
from contextlib import contextmanager, nullcontext, suppress

import pytest

from coutil import coroutine, spawn, sync, system, uv
from coutil._libuv.loop import NativeLoop
from tests.helpers.bytecode_points import Arrival, at_every_boundary
from tests.helpers.kernel import current_hub
from tests.helpers.script import output_of
from tests.helpers.tcp import BIG, pairs, with_plain_peer


def test_boundaries_reach_the_caller_the_waiter_and_the_hub():
    """The helper sees frames that began before it traces, and functions of the standard library that ours call."""
    system.suspend()  # there is a hub

    def program():
        spawn.call(system.suspend)
        system.suspend()

    def places(finalizer=False):
        found = at_every_boundary(lambda: (program, lambda: None, lambda boundary: None), finalizer)
        return {place.split(" ")[0] for place in found}

    ours = {
        "suspend",
        "call",
        "_run_coroutines",
        "park",
        "ForeignEntry.switch",
        "Hub._run_turns",
        "Operation.run",
        "wake",
    }
    assert ours <= places()
    assert ours <= places(finalizer=True)


# -- memory that libuv may touch --------------------------------------------------------------------------------------


class Late(Exception):
    """What a signal handler raises here."""


def just_after(name, program):
    """Run a program; a signal handler raises as soon as the function of C has returned. Return whether it did."""

    def profile(frame, event, function):
        if event == "c_return" and getattr(function, "__name__", "") == name:
            sys.setprofile(None)
            raise Late

    sys.setprofile(profile)
    try:
        program()
    except Late:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_a_buffer_stays_where_libuv_writes_to_it():
    """A request that began just before a signal handler raised keeps its memory until libuv has done with it."""
    for _ in range(20):
        assert just_after("co_random", lambda: system.random(bytearray(200_000)))
        fresh = [bytearray(200_000) for _ in range(3)]
        assert system.suspend(0.001) is True
        assert not any(any(one) for one in fresh), "written into the memory of others"


def test_what_is_sent_is_the_data_of_the_call(escaped):
    """The peer of a stream gets what was sent although a signal handler raised, and nothing else."""
    with with_plain_peer("ipv4") as (stream, peer):
        first = spawn.call(stream.send, BIG)
        assert just_after("co_write", lambda: spawn.call(stream.send, bytes(bytearray(b"B" * 50_000)))) is False
        assert [type(error) for _, error in escaped] == [Late]
        escaped.clear()
        others = [bytes(bytearray(b"C" * 50_000)) for _ in range(50)]
        got = bytearray()
        peer.setblocking(False)
        while len(got) < len(BIG) + 50_000:
            system.suspend(0.001)
            with suppress(BlockingIOError):
                got += peer.recv(1 << 20)
        assert got == BIG + b"B" * 50_000
        assert first.status == "dead"
        del others


def test_the_coroutine_can_go_on_after_a_handler_has_raised():
    """A request that was cut short in its start is waited for before the next one of the same coroutine."""
    assert just_after("co_fs_start", lambda: system.fileinfo("/"))
    assert system.fileinfo("/", "type") == "directory"


@pytest.mark.parametrize("blocking", [False, True])
def test_a_descriptor_is_closed_once(blocking, tmp_path):
    """Wherever a signal handler raises, a file that is opened and closed leaves nothing, and closes nothing else."""
    path = tmp_path / "file"
    path.touch()
    system.suspend()
    before = descriptors()

    running = []

    def program():
        running.append(True)
        with suppress(Late):
            system.openfile(path, blocking=blocking).close(blocking=blocking)
        running.clear()

    def late():
        if running:
            raise Late

    def check(boundary):
        strangers = [os.open(path, os.O_RDONLY) for _ in range(2)]  # they get the numbers that are free
        system.fileinfo(path)  # what was asked of the pool before is over
        gc.collect()
        system.suspend(0.001)
        for stranger in strangers:
            os.close(stranger)  # EBADF if it was closed already
        assert descriptors() == before

    assert len(at_every_boundary(lambda: (program, late, check), often=1)) > 20


def descriptors():
    """Return the descriptors of this process."""
    return set(os.listdir("/proc/self/fd"))


def test_two_handlers_that_raise_in_one_turn(monkeypatch, escaped):
    """What libuv has told in a turn is not lost if a second handler raises while the hub recovers from a first one."""
    records, failures, running = NativeLoop.records, [], []

    def interrupted(loop, count):
        if failures:
            raise failures.pop()
        return records(loop, count)

    monkeypatch.setattr(NativeLoop, "records", interrupted)
    waiters = []

    def program():
        waiters.append(spawn.call(system.fileinfo, "/"))
        failures.append(Late())
        running.append(True)
        while running and waiters[-1].status != "dead":
            with suppress(Late):
                system.suspend(0.0005)
                running.clear()
        for _ in range(3):
            with suppress(Late):  # the first one's, if the second one's came first
                system.suspend()

    def late():
        if running:
            raise Late

    looking = Arrival(late)
    looking.during(program)
    there = [one for one, place in looking.seen.items() if place.startswith(("Hub._main ", "Hub._recover_step "))]
    assert len(there) > 3
    for boundary in there:
        assert Arrival(late, boundary).during(program)
        Interrupted.ends(waiters[-1])
        assert {type(error) for _, error in escaped} <= {Late}
        escaped.clear()


def test_a_handler_raises_while_the_ring_moves():
    """The view of what libuv tells is made anew the next time, if a signal handler has kept it from being made."""
    system.suspend()
    loop, running = current_hub().loop, []

    def program():
        loop.ring, loop.room = None, 0  # as before the first turn; it moves when there is more to tell
        running.append(True)
        for _ in range(2):
            with suppress(Late):
                system.suspend(0.0001)
        running.clear()

    def late():
        if running:
            raise Late

    def check(boundary):
        assert system.fileinfo("/", "type") == "directory"
        assert len(loop.ring) == loop.room * 16

    places = at_every_boundary(lambda: (program, late, check), often=1)
    assert any(place.startswith("NativeLoop.records ") for place in places)


# -- handlers that raise, everywhere ----------------------------------------------------------------------------------


class Interrupted:
    """A coroutine waits, another one takes turns. Wherever a handler raises, it is told once, and all go on."""

    def __init__(self, row, escaped):
        self.row, self.escaped = row, escaped
        self.told = []  # by name: where the exception of the handler came out
        self.running = self.raised = self.over = False
        self.victim = self.bystander = None
        self.got = []

    def wait(self):
        """The victim: waits for the row, and then in every way once."""
        self.victim = coroutine.running()
        self._try("victim", lambda: self.got.append(self.row.wait()))
        while not self._try("victim", usable):
            pass

    def turn(self):
        """The bystander."""
        while not self.over:
            self._try("bystander", system.suspend)

    def _try(self, name, step):
        try:
            step()
        except Late:
            self.told.append(name)
            return False
        return True

    def start(self):
        spawn.call(self.wait, name="victim")

    def program(self):
        self.bystander = spawn.call(self.turn, name="bystander")
        self.running = True
        for step in (self.start, system.suspend, self.row.ready, system.suspend):
            self._try("main", step)
        self.running = False

    def action(self):
        if self.running:
            self.raised = True
            raise Late

    def check(self, boundary):
        self.running = False
        self.row.ready()
        self.ends(self.victim)
        self.over = True
        self.ends(self.bystander)
        usable()
        self.told += [type(error).__name__ for _, error in self.escaped]
        self.escaped.clear()
        assert len(self.told) == self.raised, self.told
        if self.victim is not None and self.told in ([], ["main"], ["bystander"]):
            self.row.check(self.got)

    @staticmethod
    def ends(one):
        """Turn the loop until a coroutine has ended."""
        until = time.monotonic() + 5
        while one is not None and one.status != "dead":
            assert time.monotonic() < until, f"{one} is lost"
            system.suspend(0.0005)


def usable():
    """Wait in every way."""
    assert system.suspend() is True
    assert system.suspend(0.00001) is True
    assert any(system.random(bytearray(64)))


class Row:
    """Something to wait for; `ready` makes it come, and may be called again."""

    def __init__(self, wait, ready=lambda: None, result=None):
        self.wait, self.ready = wait, ready
        self.result = result

    def check(self, got):
        assert got == [self.result], got


@contextmanager
def receiving():
    with with_plain_peer("ipv4") as (stream, peer):
        yield Row(lambda: stream.receive(1), lambda: peer.send(b"x"), b"x")


@contextmanager
def datagrams():
    with system.socket("datagram", "ipv4") as ours, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain:
        ours.bind(system.address("ipv4", "127.0.0.1", 0))
        there = ("127.0.0.1", ours.getaddress().port)
        yield Row(lambda: ours.receive(1)[0], lambda: plain.sendto(b"x", there), b"x")


@contextmanager
def sending():
    with pairs("ipv4") as (near, _):
        yield Row(lambda: near.send(b"x"), result=True)


@contextmanager
def queues():
    items = sync.Queue(0)
    yield Row(items.get, lambda: items.put(1), 1)


@contextmanager
def semaphores():
    permits = sync.Semaphore(0)
    yield Row(permits.acquire, permits.release, True)


def opened():
    with system.openfile("/etc/passwd") as file:
        return len(file.read(1))


def closed():
    system.socket("stream", "ipv4").close()
    return True


def looked_up():
    with system.findaddr("127.0.0.1", 80, stream=True) as found:
        return len(list(found))


def later():
    return len(uv.default_loop().random_nowait(8).result())


def signalled():
    os.kill(os.getpid(), signal.SIGWINCH)


def simply(*arguments):
    """Return a row that needs no set-up."""
    return lambda: nullcontext(Row(*arguments))


ROWS = {
    "turn": simply(system.suspend, lambda: None, True),
    "timer": simply(lambda: system.suspend(0.0001), lambda: system.suspend(0.0002), True),
    "stat": simply(lambda: system.fileinfo("/", "type"), lambda: None, "directory"),
    "file": simply(opened, lambda: None, 1),
    "names": simply(looked_up, lambda: None, 1),
    "work": simply(lambda: uv.queue_work(uv.default_loop(), int, "7"), lambda: None, 7),
    "request": simply(later, lambda: None, 8),
    "sleep": simply(lambda: uv.default_loop().sleep(0), lambda: None, True),
    "socket": simply(closed, lambda: None, True),
    "stream": receiving,
    "datagrams": datagrams,
    "sending": sending,
    "signal": simply(lambda: system.awaitsig("winresize"), signalled, "winresize"),
    "child": simply(lambda: system.execute("true"), lambda: None, ("exit", 0)),
    "queue": queues,
    "semaphore": semaphores,
}


def interrupt_everywhere(make, escaped, often):
    """Return how many boundaries there are in a row."""
    with make() as row:

        def interrupted():
            one = Interrupted(row, escaped)
            return one.program, one.action, one.check

        return len(at_every_boundary(interrupted, often=often))


@pytest.mark.slow
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_handlers_that_raise(make, escaped):
    """No wake-up is lost, none comes twice, and no coroutine becomes useless, wherever a signal handler raises."""
    assert interrupt_everywhere(make, escaped, often=1) > 50


@pytest.mark.soak
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_handlers_that_raise_at_any_time(make, escaped):
    """The same each time that a program comes to a place."""
    assert interrupt_everywhere(make, escaped, often=50) > 50


def test_handlers_that_raise_while_the_first_wait_makes_the_hub():
    """What is no `Exception` does not end the greenlet of the hub, either: the main program gets it, and can wait."""
    lines = output_of(
        """
        import signal
        from coutil import event, system
        from coutil._kernel.hub import current_hub
        from tests.helpers.bytecode_points import at_every_boundary

        class Late(BaseException):
            pass

        running, late = [], []
        system.set_excepthook(lambda *_: None)  # what a handler raises in one that emits comes out there

        def program():
            running.append(True)
            signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)
            try:
                event.await_("x")
            except Late as error:
                late.append(error)
            running.clear()

        def action():
            if running:
                raise Late

        def make():
            current_hub().close()
            late.clear()
            return program, action, check

        def check(boundary):
            signal.setitimer(signal.ITIMER_REAL, 0)
            for wait in (system.suspend, lambda: system.suspend(0.0001)):
                assert wait() is True, boundary
            assert len(late) <= 1

        signal.signal(signal.SIGALRM, lambda *_: event.emitall("x"))
        system.suspend(0)
        print(len(at_every_boundary(make, often=1)) > 50)
        """,
        timeout=90,
    )
    assert lines == ["True"]


@pytest.mark.parametrize("streams", [{}, {"stdout": "r", "stdin": "w"}], ids=["alone", "pipes"])
def test_a_program_whose_start_is_interrupted(streams):
    """Wherever a handler raises in `start`, there is a `Process` for the caller, or no program."""
    system.suspend()
    before = descriptors()
    running, started = [], []

    def program():
        running.append(True)
        with suppress(Late):
            started.append(system.start("sleep", "1000", **streams))
        running.clear()

    def late():
        if running:
            raise Late

    def check(boundary):
        for one in started:
            one.kill("kill")
            one.close()
            assert one.wait() == ("kill", 9)
        started.clear()
        until = time.monotonic() + 5
        while (here := children()) and time.monotonic() < until:
            system.suspend(0.001)
        assert here == [], "a program runs on"
        gc.collect()
        system.suspend(0.0001)
        assert descriptors() == before

    assert len(at_every_boundary(lambda: (program, late, check), often=1)) > 30


def children():
    """Return the numbers of the children of this process."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return file.read().split()
