"""The kill matrix: every call that waits, ended from outside at every moment, in every way; the next user goes first.

A row makes something to wait for. Whatever happens to its first user, `check` is a second user, who must find it as if
the first one had completed its call, or had never made it. To add a row: write a generator function with the decorator
`row` that yields a `Row`, inside whatever `with` blocks it needs.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from greenlet import GreenletExit

from coutil import coroutine, errors, event, mutex, promise, queued, spawn, sync, system
from coutil._kernel.coroutine import Coroutine
from coutil._kernel.hub import Hub
from coutil.scopes import Deadline, Task, scope, timeout
from coutil.testing import ManualClock
from tests.helpers.tcp import BIG, as_plain, connected, listening, pairs, receive_exactly, with_plain_peer

NOTHING: Any = object()
ROWS: dict[str, Callable[..., Iterator[Row]]] = {}
HOW = {"GreenletExit": GreenletExit, "Timeout": errors.Timeout, "KeyboardInterrupt": KeyboardInterrupt}


@dataclass
class Row:
    """Something to wait for.

    wait: the call. ready: makes what it waits for come. check: called with what the call returned (NOTHING if it was
    cut) after `ready` was called, by one or the other; begun: whether the call was made at all. done: what the user
    does afterwards, if the call has returned.
    """

    wait: Callable[[], Any]
    ready: Callable[[], Any] = lambda: None
    check: Callable[[Any, bool], None] = lambda got, begun: None
    done: Callable[[], Any] = lambda: None


def row(make: Callable[..., Iterator[Row]]) -> Callable[..., Iterator[Row]]:
    """Add a row to the matrix."""
    ROWS[make.__name__] = make
    return make


class Victim:
    """The first user, in a coroutine of its own."""

    def __init__(self, row: Row, how: str) -> None:
        self.row, self.how = row, how
        self.limit: Deadline = timeout(None)
        self.begun = False
        self.got: Any = NOTHING
        self.error: BaseException | None = None
        self.lingers = False
        self.coroutine: Coroutine = coroutine.create(self.body)

    def body(self) -> None:
        try:
            with self.limit:
                self.begun = self.limit.cancelled is False
                self.got = self.row.wait()
                try:
                    if self.lingers:
                        event.await_("linger")
                finally:
                    self.row.done()
        except BaseException as error:
            self.error = error.with_traceback(None)
            if not isinstance(error, HOW[self.how]):
                raise

    def kill(self) -> None:
        """End what the coroutine waits for, if it does."""
        if self.coroutine.status == "dead":
            return
        if self.how == "Timeout":
            self.limit.cancel()
        else:
            with suppress(HOW[self.how]):  # that of one that has not started
                self.coroutine.throw(HOW[self.how])


# -- moments: each is given a victim that has not started; `ready` may be called once


def not_started(victim: Victim) -> None:
    """The call is made after the block was cancelled, or never."""
    victim.kill()
    if victim.how == "Timeout":
        victim.coroutine.resume()


def waiting(victim: Victim) -> None:
    victim.coroutine.resume()
    victim.kill()


def ready(victim: Victim) -> None:
    """What it waits for has come, but nobody has noticed."""
    victim.coroutine.resume()
    victim.row.ready()
    victim.kill()


def same_turn_by_one_that_is_ready(victim: Victim) -> None:
    """The killer stands in the ready queue while the victim's record may be on its way."""
    victim.coroutine.resume()
    spawn.call(lambda: (system.suspend(), victim.kill()))
    victim.row.ready()
    system.run("ready")


def same_turn_by_one_with_a_record(victim: Victim) -> None:
    """Killer and victim are woken by records of one poll, in the one or the other order."""
    with with_plain_peer("ipv4") as (stream, peer):
        victim.coroutine.resume()
        killer = spawn.call(lambda: (stream.receive(), victim.kill()))
        peer.send(b"kill")
        victim.row.ready()
        while killer.status != "dead":
            system.run("step")


def finishing(victim: Victim) -> None:
    """The call has returned; the victim holds what it got, and waits for something else."""
    victim.lingers = True
    victim.coroutine.resume()
    victim.row.ready()
    for _ in range(1000):
        if event.pending("linger"):
            break
        system.run("ready")
        system.suspend(0.0001, blocking=True)  # the thread pool needs time
    assert event.pending("linger")
    victim.kill()


MOMENTS = [not_started, waiting, ready, same_turn_by_one_that_is_ready, same_turn_by_one_with_a_record, finishing]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.__name__)
@pytest.mark.parametrize("make", ROWS.values(), ids=ROWS)
def test_kill(
    make: Callable[..., Iterator[Row]],
    moment: Callable[[Victim], None],
    how: str,
    clock: ManualClock,
    hub: Hub,
) -> None:
    """R03: permits, handles, waiters and queues are afterwards as if the call had completed, or had not been made."""
    with contextmanager(make)(clock) as given:
        readied = []

        def once() -> None:
            if not readied:
                readied.append(True)
                ready_()

        ready_, given.ready = given.ready, once
        victim = Victim(given, how)
        moment(victim)
        system.run("ready")  # the end of a scope takes a turn
        assert victim.coroutine.status == "dead"
        assert (victim.error is None) <= (victim.got is not NOTHING or not victim.begun)
        once()
        given.check(victim.got, victim.begun)
        assert victim.coroutine.scope is None
        assert coroutine.running().cancelled is None
        del victim
    assert clock.pending() == 0
    system.run("ready")
    assert hub.void == 0


def test_the_matrix_is_complete() -> None:
    """Each public call that says that it suspends has a row; some are others by another name."""
    same = {"condition_acquire": "lock_acquire", "condition_wait_for": "condition_wait"}
    modules = [coroutine, event, queued, mutex, promise, system, system.StreamSocket, system.PassiveSocket, Task]
    modules += [system.Process, system.File]
    modules += [getattr(sync, name) for name in sync.__all__]
    found = {
        f"{module.__name__.rpartition('.')[2].replace('Socket', '').lower()}_{name}".removeprefix("system_").rstrip("_")
        for module in modules
        for name in getattr(module, "__all__", dir(module))
        if ("Suspends" in str(getattr(module, name).__doc__) and not name.startswith("__")) or name == "yield_"
    }
    assert {"event_await", "stream_receive_into", "queue_get", "task_result", "suspend"} < found
    assert {same.get(name, name) for name in found} <= set(ROWS)


# -- rows: time


@row
def suspend_0(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, True)
        assert system.suspend() is True

    yield Row(system.suspend, check=check)


@row
def suspend(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        before = system.time()
        assert system.suspend(1) is True
        assert system.time() - before == pytest.approx(1)

    yield Row(lambda: system.suspend(5), lambda: clock.advance(5), check)


# -- rows: requests


@row
def random(clock: ManualClock) -> Iterator[Row]:
    buffer = bytearray(8)

    def check(got: Any, begun: bool) -> None:
        assert got is NOTHING or got is buffer
        fresh = bytearray(64)
        assert any(system.random(fresh))

    yield Row(lambda: system.random(buffer), check=check)


# -- rows: files. What was given up may happen nevertheless, so each call has files of its own


def _copy(path: Path) -> bool:
    return system.copyfile(path, path.with_suffix(".new"))


def _remove(path: Path) -> bool:
    return system.removefile(path)


def _list(path: Path) -> bool:
    with system.listdir(path.parent) as found:
        return "file" in {kind for _, kind in found}


def _open(path: Path) -> bool:
    with system.openfile(path) as file:
        return file.read() == b"data"


FILE_CALLS: dict[str, Callable[[Path], Any]] = {
    "copyfile": _copy,
    "fileinfo": lambda path: system.fileinfo(path, "size", "realpath") == (4, os.path.realpath(path)),
    "grantfile": lambda path: system.grantfile(path, 0o600),
    "linkfile": lambda path: system.linkfile(path, path.with_suffix(".new")),
    "listdir": _list,
    "makedir": lambda path: system.makedir(path.with_suffix(".new"), 0o700),
    "maketemp": lambda path: system.maketemp(path, want=("path", "file"))[1].close(),
    "movefile": lambda path: system.movefile(path, path.with_suffix(".new")),
    "openfile": _open,
    "ownfile": lambda path: system.ownfile(path, -1, -1),
    "removefile": _remove,
    "touchfile": system.touchfile,
}


def _file_row(call: Callable[[Path], Any]) -> Iterator[Row]:
    with TemporaryDirectory() as folder:
        paths = (Path(folder, str(number)) for number in range(10))

        def wait() -> Any:
            path = next(paths)
            path.write_bytes(b"data")
            return call(path)

        def check(got: Any, begun: bool) -> None:
            assert got is NOTHING or got is True
            assert wait() is True

        yield Row(wait, check=check)


def _add_file_row(name: str) -> None:
    def make(clock: ManualClock) -> Iterator[Row]:
        yield from _file_row(FILE_CALLS[name])

    make.__name__ = name
    row(make)


for _name in FILE_CALLS:
    _add_file_row(_name)


@row
def file_lines(clock: ManualClock) -> Iterator[Row]:
    """A second user of an iterator gets what the first one did not."""
    with TemporaryDirectory() as folder:
        Path(folder, "file").write_bytes(b"one\ntwo\n")
        with system.openfile(Path(folder, "file")) as file:
            lines = file.lines()

            def check(got: Any, begun: bool) -> None:
                found = [] if got is NOTHING else [got]
                assert [*found, *lines] == [b"one\n", b"two\n"]

            yield Row(lambda: next(lines), check=check)


@row
def stream_send_file(clock: ManualClock) -> Iterator[Row]:
    """What was sent is a part of the file, from its beginning."""
    with TemporaryDirectory() as folder, with_plain_peer("ipv4") as (stream, peer):
        Path(folder, "file").write_bytes(BIG)
        with system.openfile(Path(folder, "file")) as file:
            received, over = bytearray(), []

            def drain() -> None:
                with suppress(BlockingIOError):
                    while data := peer.recv(1 << 20):
                        received.extend(data)

            def take() -> None:
                while len(received) < len(BIG) and not over:
                    drain()
                    system.suspend()

            def check(got: Any, begun: bool) -> None:
                over.append(True)
                stream.shutdown()
                while system.run("step"):
                    drain()
                drain()
                assert BIG.startswith(received)
                assert got is NOTHING or got == len(BIG) == len(received)

            yield Row(lambda: stream.send_file(file), lambda: spawn.call(take), check)


# -- rows: sockets


@row
def stream_receive(clock: ManualClock) -> Iterator[Row]:
    with with_plain_peer("ipv4") as (stream, peer):

        def check(got: Any, begun: bool) -> None:
            peer.send(b", and more")
            found = b"" if got is NOTHING else got
            assert found + receive_exactly(stream, 14 - len(found)) == b"data, and more"

        yield Row(stream.receive, lambda: peer.send(b"data"), check)


@row
def stream_receive_into(clock: ManualClock) -> Iterator[Row]:
    with with_plain_peer("ipv4") as (stream, peer):
        buffer = bytearray(64)

        def check(got: Any, begun: bool) -> None:
            peer.send(b", and more")
            found = b"" if got is NOTHING else bytes(buffer[:got])
            assert found + receive_exactly(stream, 14 - len(found)) == b"data, and more"
            buffer.append(0)  # nobody holds it any more

        yield Row(lambda: stream.receive_into(buffer), lambda: peer.send(b"data"), check)


@row
def stream_send(clock: ManualClock) -> Iterator[Row]:
    """What has begun goes on in the background, so that the peer never reads half of it."""
    with pairs("ipv4") as (near, far):
        taken, sends, readers = bytearray(), [], []

        def send() -> Any:
            sends.append(BIG)
            return near.send(BIG)

        def read() -> None:
            while len(taken) < len(BIG):
                taken.extend(far.receive())

        def ready() -> None:
            """Take what the kernel has; a coroutine goes on with it."""
            with as_plain(far) as plain, suppress(BlockingIOError):
                while sends:
                    taken.extend(plain.recv(1 << 20))
            if sends:
                readers.append(spawn.call(read))

        def check(got: Any, begun: bool) -> None:
            while readers and readers[0].status != "dead":
                system.run("step")
            near.send(b"end")
            expected = b"".join((*sends, b"end"))
            taken.extend(receive_exactly(far, len(expected) - len(taken)))
            assert taken == expected

        yield Row(send, ready, check)


@row
def stream_connect(clock: ManualClock) -> Iterator[Row]:
    with listening("ipv4") as server, system.socket("stream", "ipv4") as stream:

        def check(got: Any, begun: bool) -> None:
            if not begun:
                assert stream.connect(server.getaddress()) is True
            server.accept().close()
            with connected(server) as next_one, server.accept() as far:
                assert next_one.getaddress() == far.getaddress("peer")

        yield Row(lambda: stream.connect(server.getaddress()), check=check)


@row
def passive_accept(clock: ManualClock) -> Iterator[Row]:
    with listening("ipv4") as server, system.socket("stream", "ipv4") as client:

        def check(got: Any, begun: bool) -> None:
            with server.accept() if got is NOTHING else got as far:
                assert client.getaddress() == far.getaddress("peer")
            with connected(server) as next_one, server.accept() as far:
                assert next_one.getaddress() == far.getaddress("peer")

        yield Row(server.accept, lambda: client.connect(server.getaddress()), check)


@row
def stream_shutdown(clock: ManualClock) -> Iterator[Row]:
    with pairs("ipv4") as (near, far):

        def check(got: Any, begun: bool) -> None:
            if not begun:
                near.send(b"still open")
                assert far.receive() == b"still open"
                near.shutdown()
            assert far.receive() == b""
            far.send(b"the other way")
            assert near.receive() == b"the other way"

        yield Row(near.shutdown, check=check)


# -- rows: watching files


@row
def awaitpath(clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, ("first", {"rename"}))
            spawn.call(lambda: (system.suspend(), Path(folder, "second").touch()))
            assert system.awaitpath(folder) == ("second", {"rename"})

        yield Row(lambda: system.awaitpath(folder), lambda: Path(folder, "first").touch(), check)


@row
def watch(clock: ManualClock) -> Iterator[Row]:
    with TemporaryDirectory() as folder:

        def check(got: Any, begun: bool) -> None:
            with system.watch(folder, recursive=True) if got is NOTHING else got as changes:
                Path(folder, "file").touch()
                assert next(changes) == ("file", {"rename"})

        Path(folder, "inner").mkdir()
        yield Row(lambda: system.watch(folder, recursive=True), check=check)


@row
def watch_next(clock: ManualClock) -> Iterator[Row]:
    """No change is lost, and none told twice."""
    with TemporaryDirectory() as folder, system.watch(folder, recursive=True) as changes:

        def check(got: Any, begun: bool) -> None:
            Path(folder, "second").touch()
            found = [] if got is NOTHING else [got]
            while len(found) < 2:
                found.append(next(changes))
            assert found == [("first", {"rename"}), ("second", {"rename"})]
            assert repr(changes).endswith("open>")

        yield Row(lambda: next(changes), lambda: Path(folder, "first").touch(), check)


# -- rows: events, promises, mutexes, coroutines


def _emitted(name: Any, module: Any, taken: bool) -> None:
    """Check that an event has no waiters, that a stored emission is there exactly if nobody took it, and both work."""
    assert not event.pending(name)
    assert queued.isqueued(name) is (module is queued and not taken)
    if not queued.isqueued(name):
        spawn.call(lambda: (system.suspend(), module.emitall(name)))
    assert module.await_(name) == name
    assert not queued.isqueued(name)


def _event_row(module: Any) -> Iterator[Row]:
    yield Row(
        lambda: module.await_("e"),
        lambda: module.emitall("e"),
        lambda got, begun: _emitted("e", module, got is not NOTHING),
    )


def _any_row(module: Any) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "e")
        _emitted("e", module, got is not NOTHING)
        assert not event.pending("f")
        assert not queued.isqueued("f")

    yield Row(lambda: module.awaitany("f", "e"), lambda: module.emitall("e"), check)


def _all_row(module: Any) -> Iterator[Row]:
    """Emissions that a cancelled `awaitall` has taken stay taken."""

    def check(got: Any, begun: bool) -> None:
        assert not event.pending("e")
        assert not event.pending("f")
        for name in ("e", "f"):
            if queued.isqueued(name):
                queued.await_(name)
        spawn.call(lambda: (system.suspend(), module.emitall("e"), module.emitall("f")))
        assert module.awaitall("e", "f") is True

    yield Row(lambda: module.awaitall("e", "f"), lambda: (module.emitall("e"), module.emitall("f")), check)


@row
def event_await(clock: ManualClock) -> Iterator[Row]:
    yield from _event_row(event)


@row
def event_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _any_row(event)


@row
def event_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _all_row(event)


@row
def queued_await(clock: ManualClock) -> Iterator[Row]:
    yield from _event_row(queued)


@row
def queued_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _any_row(queued)


@row
def queued_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _all_row(queued)


def _promise_row(wait: Callable[[Any], Any], result: Any = None) -> Iterator[Row]:
    made, fulfill = promise.create()

    def check(got: Any, begun: bool) -> None:
        assert not event.pending(made)
        assert got is NOTHING or got == result or got is made
        assert made(True) is True
        assert made() == 7

    yield Row(lambda: wait(made), lambda: fulfill(7), check)


@row
def promise_call(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(lambda made: made(), 7)


@row
def promise_awaitall(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(promise.awaitall, True)


@row
def promise_awaitany(clock: ManualClock) -> Iterator[Row]:
    yield from _promise_row(promise.awaitany)


@row
def mutex_lock(clock: ManualClock) -> Iterator[Row]:
    mutex.lock("m")

    def check(got: Any, begun: bool) -> None:
        assert not mutex.islocked("m")
        assert not event.pending("m")
        mutex.lock("m")
        assert mutex.unlock("m") is False

    yield Row(lambda: mutex.lock("m"), lambda: mutex.unlock("m"), check, lambda: mutex.unlock("m"))


@row
def coroutine_yield(clock: ManualClock) -> Iterator[Row]:
    found = []

    def wait() -> Any:
        found.append(coroutine.running())
        return coroutine.yield_()

    def resume() -> None:
        if found and found[0].status == "suspended" and not event.pending("linger"):
            found[0].resume("value")

    yield Row(wait, resume, lambda got, begun: found.clear())


# -- rows: scopes


@row
def task_result(clock: ManualClock) -> Iterator[Row]:
    with scope() as s:
        task = s.spawn(event.await_, "e")

        def check(got: Any, begun: bool) -> None:
            assert task._waiters == {}
            assert got in (NOTHING, "e")
            assert task.result() == "e"

        yield Row(task.result, lambda: event.emitall("e"), check)


@row
def scope_end(clock: ManualClock) -> Iterator[Row]:
    tasks = []

    def wait() -> None:
        with scope() as s:
            tasks.append(s.spawn(event.await_, "e"))

    def check(got: Any, begun: bool) -> None:
        assert not event.pending("e")
        assert all(task.done for task in tasks)
        assert len(tasks) == begun or not begun

    yield Row(wait, lambda: event.emitall("e"), check)


# -- rows: what every Python programmer expects


@row
def queue_get(clock: ManualClock) -> Iterator[Row]:
    items: sync.Queue = sync.Queue(2)

    def check(got: Any, begun: bool) -> None:
        items.put(2)
        found = [] if got is NOTHING else [got]
        while not items.empty():
            found.append(items.get())
        assert found == [1, 2]
        assert "getting" not in repr(items)

    yield Row(items.get, lambda: items.put(1), check)


@row
def queue_put(clock: ManualClock) -> Iterator[Row]:
    items: sync.Queue = sync.Queue(1)
    items.put(0)
    taken = []

    def check(got: Any, begun: bool) -> None:
        while not items.empty():
            taken.append(items.get())
        assert taken == ([0] if got is NOTHING else [0, 1])
        items.put(2)
        assert items.get() == 2
        assert "putting" not in repr(items)

    yield Row(lambda: items.put(1), lambda: taken.append(items.get()), check)


@row
def semaphore_acquire(clock: ManualClock) -> Iterator[Row]:
    permits = sync.Semaphore(1)
    permits.acquire()

    def check(got: Any, begun: bool) -> None:
        assert permits.acquire(blocking=False)
        assert not permits.acquire(blocking=False)
        permits.release()

    yield Row(permits.acquire, permits.release, check, permits.release)


@row
def lock_acquire(clock: ManualClock) -> Iterator[Row]:
    lock = sync.Lock()
    lock.acquire()

    def check(got: Any, begun: bool) -> None:
        assert not lock.locked()
        with lock:
            assert lock.locked()

    yield Row(lock.acquire, lock.release, check, lock.release)


@row
def condition_wait(clock: ManualClock) -> Iterator[Row]:
    condition = sync.Condition()

    def wait() -> Any:
        with condition:
            return condition.wait()

    def tell() -> None:
        with condition:
            condition.notify()

    def check(got: Any, begun: bool) -> None:
        with condition:
            spawn.call(lambda: (system.suspend(), tell()))
            assert condition.wait() is True

    yield Row(wait, tell, check)


@row
def barrier_wait(clock: ManualClock) -> Iterator[Row]:
    barrier = sync.Barrier(2)

    def arrive() -> None:
        if barrier.n_waiting:
            barrier.wait()

    def check(got: Any, begun: bool) -> None:
        if barrier.broken:
            barrier.reset()
        assert barrier.n_waiting == 0
        spawn.call(barrier.wait)
        assert barrier.wait() in (0, 1)

    yield Row(barrier.wait, arrive, check)


# -- woken together


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("make", [ROWS[name] for name in ROWS if name.startswith(("event", "queued", "promise"))])
def test_killed_by_an_earlier_waiter_of_the_same_emission(
    make: Callable[..., Iterator[Row]], how: str, clock: ManualClock
) -> None:
    """One emission wakes several; the first of them ends the second, which is skipped then, and not the third."""
    with contextmanager(make)(clock) as given:
        victim, log = Victim(given, how), []
        killer = spawn.call(lambda: (given.wait(), log.append("killer"), victim.kill()))
        victim.coroutine.resume()
        third = spawn.call(lambda: (given.wait(), log.append("third")))
        given.ready()
        assert log == ["killer", "third"]
        assert (victim.got, type(victim.error)) == (NOTHING, HOW[how])
        assert {one.status for one in (killer, victim.coroutine, third)} == {"dead"}
        given.check("e" if "await" in make.__name__ and "promise" not in make.__name__ else NOTHING, True)


# -- rows: signals and processes


@row
def awaitsig(clock: ManualClock) -> Iterator[Row]:
    def send() -> None:
        system.emitsig(os.getpid(), "winresize")

    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, "winresize")
        second = spawn.call(lambda: found.append(system.awaitsig("winresize")))
        send()
        while second.status != "dead":
            system.run("ready")
        assert found == ["winresize"]

    found: list[str] = []
    yield Row(lambda: system.awaitsig("winresize"), send, check)


def kill_child(pid: int) -> None:
    """Kill a child; return when the system knows of its end, and the loop does not."""
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)


@row
def execute(clock: ManualClock) -> Iterator[Row]:
    def ready_() -> None:
        if spec.pid is not None:
            kill_child(spec.pid)

    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, ("TERMINATE", 9))
        assert (spec.pid is not None) == begun
        assert system.execute("true") == ("exit", 0)
        system.run("ready")
        if begun:
            with pytest.raises(ChildProcessError):  # no zombie
                os.waitpid(spec.pid, os.WNOHANG)

    spec = system.ExecSpec("sleep", ["100"])
    yield Row(lambda: system.execute(spec), ready_, check)


@row
def process_wait(clock: ManualClock) -> Iterator[Row]:
    def check(got: Any, begun: bool) -> None:
        assert got in (NOTHING, ("TERMINATE", 9))
        assert child.wait() == ("TERMINATE", 9)
        system.run("ready")

    child = system.start("sleep", "100")
    yield Row(child.wait, lambda: kill_child(child.pid), check)
