"""The hub as a whole: it costs nothing while it waits, counts what it owns, and can be closed and made again."""

from __future__ import annotations

import os
import socket
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from random import Random

import pytest

from coutil import spawn, sync, system
from coutil._kernel import hub as hub_module
from tests.helpers.kernel import current_hub
from tests.helpers.script import output_of
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, connected, pairs


def duplicate_of_a_closed_stream(near, far, later):
    """A descriptor that is still open somewhere else after its stream was closed, with data coming in."""
    far.send(b"first")
    assert near.receive() == b"first"
    copy = later.enter_context(socket.socket(fileno=os.dup(near.fileno())))
    near.close()
    far.send(b"more")
    return copy


def listener_without_an_acceptor(near, far, later):
    """Connections that are not accepted, on a listener that was accepted on before."""
    server = later.enter_context(listening("ipv4"))
    for _ in range(4):
        later.enter_context(connected(server))
    server.accept().close()


def unread_data(near, far, later):
    """A stream that was read from, and now has more to give, but there is no caller."""
    far.send(b"first")
    assert near.receive() == b"first"
    far.send(b"more")


def unread_end(near, far, later):
    """A stream whose peer is gone, and there is no caller."""
    unread_data(near, far, later)
    far.close()


def sender_without_reader(near, far, later):
    """Data that the kernel does not take, because there is no reader."""
    later.callback(spawn.call(near.send, BIG).close)


SITUATIONS = [
    duplicate_of_a_closed_stream,
    listener_without_an_acceptor,
    unread_data,
    unread_end,
    sender_without_reader,
]


def test_an_idle_wait_costs_nothing(hub):
    """B09, B49: while nothing happens that anybody waits for, a second costs less than 50 ms of CPU, and few turns."""
    with pairs("ipv4", len(SITUATIONS)) as ends, ExitStack() as later:
        for number, make in enumerate(SITUATIONS):
            make(*ends[2 * number : 2 * number + 2], later)
        system.suspend(0.01)
        turns, cpu = hub._turns, time.thread_time()
        assert system.suspend(1) is True
        assert time.thread_time() - cpu < 0.05
        assert hub._turns - turns < 20
        assert ends[2 * SITUATIONS.index(unread_data)].receive() == b"more"
        at_the_end = ends[2 * SITUATIONS.index(unread_end)]
        assert (at_the_end.receive(), at_the_end.receive()) == (b"more", b"")
    system.run()


def test_descriptor_number_of_a_closed_stream():
    """B07, B10: a new stream gets the number of a closed one whose descriptor lives on elsewhere: no mix-up."""
    with listening("ipv4") as server, pairs("ipv4") as (near, far), ExitStack() as later:
        number = near.fileno()
        copy = duplicate_of_a_closed_stream(near, far, later)
        system.suspend(0.001)
        new = later.enter_context(system.socket("stream", "ipv4"))
        assert new.fileno() == number
        new.connect(server.getaddress())
        peer = later.enter_context(server.accept())
        peer.send(b"for the new one")
        assert new.receive() == b"for the new one"
        assert copy.recv(100) == b"more"


def test_counts(hub):
    """R14: the C side counts handles and requests; what is made is closed and freed, each exactly once."""

    def counts():
        return list(hub.loop.counts().values())

    def since(before):
        return [now - then for now, then in zip(counts(), before, strict=True)]

    before = counts()
    streams = [system.socket("stream", "ipv4") for _ in range(3)]
    assert since(before) == [3, 0, 0, 0, 0]
    for stream in streams:
        stream.close()
    assert since(before) == [3, 3, 0, 0, 0]
    system.run("ready")
    assert since(before) == [3, 3, 3, 0, 0]
    spawn.call(system.suspend, 1000).resume()
    assert since(before) == [4, 4, 4, 0, 0]
    with listening("ipv4") as server:
        client = system.socket("stream", "ipv4")
        one = spawn.call(client.connect, server.getaddress())
        assert since(before) == [6, 4, 4, 1, 0]
        one.resume()
        system.run()
        assert since(before) == [6, 4, 4, 1, 1]
        client.close()
    system.run("ready")
    assert since(before) == [6, 6, 6, 1, 1]


@pytest.mark.parametrize("mode", ["ready", "step"])
def test_a_run_is_a_whole_turn(mode, hub):
    """SYS-6: after the main program has waited by itself, the first `run` does a turn, not the rest of the last one."""
    log = []

    def steps():
        for step in range(3):
            system.suspend()
            log.append(step)

    system.suspend(0.0001)
    one = spawn.call(steps)
    turns = hub._turns
    for step in range(3):
        assert system.run(mode) is (step < 2)
        assert log == list(range(step + 1))
        assert hub._turns == turns + step + 1
    assert one.status == "dead"


def test_step_counts_what_the_turn_still_had_to_do(go, clock):
    """SYS-6: what is left of the turn that woke the main program is an event for `run("step")`, which waits no more."""
    log = []
    go(lambda: (system.suspend(0.002), log.append("after main")))
    sleeper = go(system.suspend, 1000)
    go(lambda: (system.suspend(), clock.advance(0.003)))  # both timers fire in one turn
    assert system.suspend(0.001) is True
    assert log == []
    assert system.run("step") is True
    assert log == ["after main"]
    assert sleeper.status == "suspended"
    sleeper.resume()


def test_import_starts_nothing():
    """Importing coutil opens no descriptor, starts no thread, and leaves the signals alone."""
    lines = output_of(
        """
        import os, signal, threading
        before = sorted(os.listdir("/proc/self/fd"))
        from coutil import coroutine, errors, spawn, system
        print(sorted(os.listdir("/proc/self/fd")) == before, threading.active_count())
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler, signal.set_wakeup_fd(-1))
        system.suspend(0)
        """
    )
    assert lines == ["True 1", "True -1"]


def test_hubs_can_be_closed_and_made_again():
    """B19, B13: a hundred hubs, one after the other, closed with one of everything at work: nothing is left of them."""
    lines = output_of(
        """
        import gc, os, signal
        from coutil import coroutine, errors, spawn, system
        from tests.helpers.servers import listening
        from coutil._kernel.hub import Hub, current_hub

        def one_of_everything():
            server = listening(backlog=8)
            client = system.socket("stream", "ipv4")
            client.connect(server.getaddress())
            peer = server.accept()
            waits = [
                (server.accept,), (peer.receive,), (system.suspend, 100), (system.suspend,),
                (client.send, bytes(1 << 22)), (client.shutdown,),
            ]
            coroutines = [spawn.call(*wait) for wait in waits]
            late = system.socket("stream", "ipv4")
            coroutines.append(spawn.call(late.connect, server.getaddress()))
            return coroutines, [server.accept, peer.receive, lambda: client.send(b"x"), late.fileno, server.getaddress]

        def state():
            gc.collect()
            return sorted(os.listdir("/proc/self/fd"))

        before, seen = None, set()
        for _ in range(100):
            coroutines, uses = one_of_everything()
            hub = current_hub()
            hub.close()
            for use in uses:
                try:
                    use()
                except errors.Closed as refused:
                    seen.add(type(refused).__name__)
            seen.update(one.status for one in coroutines)
            for one in coroutines:
                try:
                    one.resume("told")
                except errors.Closed:
                    pass
                seen.add(one.status)
            before = before or state()
        print(sorted(seen))
        print(state() == before or (len(state()) - len(before)))
        print(current_hub() is not hub, hub.in_flight())
        current_hub().close()
        print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        """,
        timeout=30,
    )
    assert lines == ["['Closed', 'dead', 'suspended']", "True", "True 0", "True"]


def test_coroutines_of_a_closed_hub():
    """B19: coroutines that waited in a hub that was closed can be resumed, get `Closed` when they wait, and end."""
    lines = output_of(
        """
        from coutil import errors, spawn, system
        from coutil._kernel.hub import current_hub

        def patient(wait, *arguments):
            try:
                print(wait(*arguments))
                for again in (system.suspend, lambda: system.suspend(1)):
                    try:
                        again()
                    except errors.Closed as refused:
                        print(refused)
            finally:
                print("finally")

        server = system.socket("passive", "ipv4")
        server.listen(1)
        waits = (system.suspend,), (system.suspend, 9), (server.accept,)
        ones = [spawn.call(patient, *wait) for wait in waits]
        current_hub().close()
        for one in ones:
            one.resume("told")
            print(one.status)
        print(system.suspend(0.001))
        """
    )
    each = ["told", "the event loop is closed", "the event loop is closed", "finally", "dead"]
    new = ["told", *["<Coroutine patient running> belongs to an event loop that is closed"] * 2, "finally", "dead"]
    assert lines == [*each * 2, *new, "True"]


def test_no_descriptor_for_a_loop():
    """R20: a loop that cannot be made is an error in the caller, which may try again; nothing is left of it."""
    lines = output_of(
        """
        import os, resource
        from coutil import system

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        for room in range(20):
            before = sorted(os.listdir("/proc/self/fd"))
            resource.setrlimit(resource.RLIMIT_NOFILE, (len(before) - 1 + room, hard))
            try:
                outcome = system.suspend(0.001)
            except (MemoryError, OSError) as failed:
                outcome = type(failed).__name__
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            more = len(os.listdir("/proc/self/fd")) - len(before)
            print(outcome, outcome is True or more <= 2)  # two are the process-wide lock of libuv
            if outcome is True:
                break
        print(system.suspend(0.001))
        """
    )
    assert lines[0] == "MemoryError True"
    assert set(lines[:-2]) <= {"MemoryError True", "OSError True"}
    assert lines[-2:] == ["True True", "True"]


def test_hub_of_the_main_thread_is_one(hub):
    """One hub per OS thread: coroutines, the main program and excepthooks all see the same."""
    seen = []
    before = system.get_excepthook()
    system.set_excepthook(lambda *_: seen.append(current_hub()))
    spawn.call(lambda: seen.append(current_hub()))
    spawn.call(lambda: (system.suspend(), seen.append(current_hub()), 1 / 0))
    system.run()
    system.set_excepthook(before)
    assert seen == [hub] * 3
    assert current_hub() is hub


def test_order_of_the_ready_queue(monkeypatch):
    """Its class alone decides who runs first. Programs that do not count on an order work in any."""
    chance, log = Random(7), []

    class Shuffled(deque):
        def append(self, entry):
            self.insert(chance.randrange(len(self) + 1), entry)

    def runner(number):
        for _ in range(5):
            system.suspend()
        log.append(number)
        system.suspend(0.001)
        return number

    def program():
        queue = sync.Queue(1)
        runners = [spawn.call(lambda number=number: queue.put(runner(number))) for number in range(40)]
        taken = sorted(queue.get() for _ in range(40))
        system.run()
        return taken, {one.status for one in runners}, type(current_hub().ready)

    monkeypatch.setattr(hub_module, "ReadyQueue", Shuffled)
    with ThreadPoolExecutor(1) as thread:
        taken, ends, kind = thread.submit(program).result(20)
    assert (taken, ends, kind) == (list(range(40)), {"dead"}, Shuffled)
    assert sorted(log) == taken != log
