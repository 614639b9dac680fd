"""fork: the child may not touch what the parent's loop owns, begins afresh, and the parent notices nothing."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time

import pytest

from coutil import coroutine, errors, spawn, system, uv
from coutil.scopes import timeout
from tests.conftest import descriptors
from tests.helpers.forks import Child, fork_and, leave_with, outcome
from tests.helpers.kernel import current_context, current_hub, park, running
from tests.helpers.script import output_of, run_script
from tests.helpers.servers import listening
from tests.helpers.tcp import BIG, connected, pairs

LIST_DESCRIPTORS = """
import os
with os.scandir("/proc/self/fd") as listing:
    for entry in listing:
        print(os.readlink(entry.path))
"""


def use_afresh():
    """Use everything there is, on new objects; return what came of it."""
    slept = []
    with pairs("ipv4") as (near, far):
        near.send(b"afresh")
        spawn.call(lambda: slept.append(system.suspend(0.001)))
        return far.receive(), system.suspend(0.0001), system.run(), slept


AFRESH = (b"afresh", True, False, [True])


# -- from the main program


def test_child_begins_afresh(go):
    """R28: the child of the main program has a loop of its own as soon as it waits; so has its own child."""
    old = go(system.suspend, 0.001)

    def child():
        return use_afresh(), current_hub() is not before, fork_and(use_afresh).answer(), old.status

    before = current_hub()
    assert fork_and(child).answer() == (AFRESH, True, AFRESH, "suspended")
    assert system.run() is False
    assert old.status == "dead"
    assert current_hub() is before


def test_old_objects_are_refused_in_the_child(go):
    """A-17: in the child every call on what the parent's loop owns raises Forked; nothing of it reaches the parent."""
    with pairs("ipv4") as (near, far), listening("ipv4") as server:
        idle, hub = system.socket("stream", "ipv4"), current_hub()
        peer = server.getaddress()
        uses = [
            far.receive,
            lambda: near.send(b"x"),
            lambda: near.send(BIG),
            near.shutdown,
            near.fileno,
            near.close,
            near.getaddress,
            server.accept,
            lambda: idle.connect(peer),
            lambda: hub.call_threadsafe(print),
        ]

        def child():
            first = [outcome(use) for use in uses]
            system.suspend(0.0001)  # the same with a loop of its own
            return first, [outcome(use) for use in uses]

        refused = ["Forked"] * len(uses)
        assert fork_and(child).answer() == (refused, refused)
        near.send(b"undisturbed")
        assert far.receive() == b"undisturbed"
        idle.close()


@pytest.mark.parametrize("inner", [None, 60], ids=["one block", "within another one"])
@pytest.mark.parametrize("late", [False, True], ids=["in time", "too late"])
def test_deadlines_hold_in_the_child(late, inner):
    """A deadline that the main program was in holds in the child, too, which has no timer of the parent's."""

    def child():
        if late:
            time.sleep(0.35)
        for seconds in (60, 0):
            with pytest.raises(errors.Cancelled) as caught:
                system.suspend(seconds)
            assert caught.value.scope is limit
        return True

    with timeout(0.3) as limit, timeout(inner):
        system.suspend(0.0001)
        answer = fork_and(child)
        assert answer.answer() is True
        limit.cancel()


@pytest.mark.parametrize(
    "make",
    [
        lambda: system.socket("stream", "ipv4"),
        lambda: system.socket("passive", "local"),
        lambda: system.socket("datagram", "ipv6"),
        lambda: system.openfile(os.devnull),
        lambda: system.watch("/"),
        lambda: system.listdir("/"),
        lambda: system.start("cat", stdin="w"),
        uv.Loop,
        uv.Timer,
        lambda: uv.default_loop().fs.opendir("/"),
    ],
)
@pytest.mark.parametrize("way", [SystemExit(7), None], ids=["by an exception", "at its end"])
def test_blocks_that_the_child_leaves(make, way):
    """The child that leaves the parent's `with` block, perhaps by sys.exit, leaves it as it likes."""

    def leave():
        try:
            with made:
                if way is not None:
                    raise way
        except BaseException as left:  # noqa: BLE001  # sent to the parent
            return repr(left)

    with make() as made:
        assert fork_and(leave).answer() == (way and repr(way))
    system.run("ready")


def test_old_coroutines_are_refused_in_the_child(go):
    """A-17: coroutines of the parent can be resumed in the child, but they cannot wait any more, for anything."""
    log = []

    def patient(first, *second):
        try:
            log.append(first())
            log.extend(outcome(wait) for wait in second)
        finally:
            log.append("finally")

    with pairs("ipv4") as (near, far):
        waits = [near.receive, lambda: system.suspend(1), system.suspend, lambda: far.send(BIG)]
        ones = [go(patient, wait, *waits) for wait in (*waits[:3], coroutine.yield_)]

        def child():
            for one in ones:
                one.resume("resumed")
            return log, [one.status for one in ones]

        each = ["resumed", "Forked", "Forked", "Forked", "Forked", "finally"]
        assert fork_and(child).answer() == (each * 4, ["dead"] * 4)
        assert log == []
        assert [one.status for one in ones] == ["suspended"] * 4
        for one in ones:
            one.close()


def test_forgotten_in_the_child():
    """B54, L-3: the child may drop, collect and close what it inherited: the parent's connections stay open."""
    ends = []

    def child():
        while ends:
            ends.pop()
        gc.collect()
        return use_afresh()

    with pairs("ipv4", 2) as opened:
        ends += opened
        del opened[:]
        assert fork_and(child).answer() == AFRESH
        near, far, *_ = ends
        near.send(b"still open")
        assert far.receive() == b"still open"
        for end in ends:
            end.close()


@pytest.mark.slow
def test_parent_goes_on_while_it_forks(go):
    """R28, B58: fifty forks under echo load: every byte arrives, every child has a loop that works."""
    counts = [0] * 4

    def client(number, stream):
        while counts[number] < 200:
            stream.send(b"%d" % counts[number])
            assert stream.receive() == b"%d" % counts[number]
            counts[number] += 1
        stream.shutdown()

    def server(stream):
        while data := stream.receive():
            stream.send(data)

    with pairs("ipv4", 4) as ends:
        for number in range(4):
            go(client, number, ends[2 * number])
            go(server, ends[2 * number + 1])
        answers = []
        for _ in range(50):
            answers.append(fork_and(system.suspend, 0.0001).answer())
            system.suspend(0.0001)
        system.run()
    assert answers == [True] * 50
    assert counts == [200] * 4


def test_child_that_ends_as_programs_do():
    """B61, B25: a child that leaves by `sys.exit` runs its exit handlers, with its own exit code, and says nothing."""
    done = run_script(
        """
        import atexit, os, sys
        from coutil import spawn, system
        from tests.helpers.servers import listening

        server = listening(backlog=8)
        client = system.socket("stream", "ipv4")
        client.connect(server.getaddress())
        peer = server.accept()
        atexit.register(lambda: print("exit", system.suspend(0.001), flush=True))
        waiting = [spawn.call(system.suspend, 1000), spawn.call(peer.receive)]
        for code in (3, 4):
            pid = os.fork()
            if not pid:
                if code == 4:
                    waiting.append(spawn.call(system.suspend, 1000))
                    system.suspend(0.001)
                sys.exit(code)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        client.send(b"x")
        print(system.suspend(0.001), waiting[1].status, flush=True)
        """,
        "-X",
        "dev",
        "-W",
        "ignore:unclosed:ResourceWarning",
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["exit True", "3", "exit True", "4", "True dead", "exit True"]
    assert done.returncode == 0


def test_interrupt_in_the_child():
    """B59: Ctrl-C works in the child before and after it begins a loop; the parent's wake-ups are not written to."""

    def interrupted(begin):
        begin()
        signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        try:
            system.suspend(10)
        except KeyboardInterrupt:
            return system.suspend(0.0001), signal.getsignal(signal.SIGINT).__name__
        return None

    turns = current_hub()._turns
    assert fork_and(interrupted, lambda: None).answer() == (True, "_on_interrupt")
    assert fork_and(interrupted, lambda: system.suspend(0.0001)).answer() == (True, "_on_interrupt")
    assert system.suspend(0.01) is True
    assert current_hub()._turns - turns < 10


# -- from a coroutine


def test_fork_in_a_coroutine(go):
    """R28: a coroutine that forks cannot wait in the child; its main program gets Forked and may begin afresh."""
    log, children = [], []
    parent = os.getpid()

    def forks():
        system.suspend()
        children.append(os.fork())
        if os.getpid() != parent:
            log.append([outcome(system.suspend), outcome(system.suspend, 0.001), outcome(system.run)])

    def bystander():
        system.suspend()  # in the same turn
        log.append("bystander")

    go(forks)
    go(bystander)
    reader, writer = os.pipe()
    try:
        system.run()
    except errors.Forked as error:
        log.append(str(error))
    finally:
        if os.getpid() != parent:
            leave_with(writer, lambda: [*log, use_afresh()])
    os.close(writer)
    told = Child(children[0], reader).answer()
    assert told[0] == ["Forked", "Forked", "AlreadyRunning"]
    assert "before the fork" in told[1]
    assert told[2:] == [AFRESH]
    assert log == ["bystander"]


@pytest.mark.parametrize("leave", [lambda: os._exit(5), lambda: sys.exit(5)], ids=["_exit", "exit"])
def test_coroutine_that_forks_and_leaves(leave, go):
    """R28: a coroutine may fork for a child that leaves at once; the exit code is exact, the parent waits on."""
    statuses, parent = [], os.getpid()

    def forks():
        for _ in range(3):
            system.suspend(0.0001)
            pid = os.fork()
            if not pid:
                leave()
            statuses.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    go(forks)
    try:
        while len(statuses) < 3:
            assert system.suspend(0.001) is True
    except SystemExit as left:
        if os.getpid() != parent:
            os._exit(left.code)
        raise
    assert statuses == [5, 5, 5]


def test_fork_while_main_is_resumed_from_the_loop(hub):
    """R28: the main program may have been resumed by a call of the hub when it forks: the child begins afresh."""
    me = running()
    hub.call_threadsafe(me.resume, "resumed")
    with hub.external_source():
        assert park(me, "a call") == "resumed"
    assert fork_and(use_afresh).answer() == AFRESH
    assert system.suspend(0.0001) is True
    assert hub.in_flight() == 0


# -- threads


def test_fork_with_threads():
    """B61: other threads with loops do not exist in the child of any fork; both processes go on, and print nothing."""
    lines = output_of(
        """
        import os, sys, threading, time, warnings
        from coutil import spawn, system
        from tests.helpers.servers import listening
        from coutil._kernel.hub import current_hub
        warnings.simplefilter("ignore", DeprecationWarning)

        def echo(server):
            with server.accept() as stream:
                while data := stream.receive():
                    stream.send(data)

        def connect(port):
            client = system.socket("stream", "ipv4")
            client.connect(system.address("ipv4", "127.0.0.1", port))
            return client

        def serve():
            server = listening(backlog=8)
            hubs.append(current_hub())
            local.stream = system.socket("stream", "ipv4")  # finalized with the thread, also in the child
            ports.append(server.getaddress().port)
            spawn.call(echo, server)
            begun.release()
            system.run()

        def child(code):
            print("child", system.suspend(0.001), flush=True)
            try:
                hubs[0].call_threadsafe(print)
            except Exception as error:
                print(type(error).__name__, flush=True)
            sys.exit(code)

        def fork(code):
            pid = os.fork()
            if not pid:
                child(code)
            print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)

        def forker():
            try:
                system.suspend(0.001)
                fork(6)
                print("thread", system.suspend(0.001), flush=True)
            except SystemExit as left:
                os._exit(left.code)

        hubs, ports, begun, local = [], [], threading.Semaphore(0), threading.local()
        threads = [threading.Thread(target=serve) for _ in range(2)]
        for thread in threads:
            thread.start()
            begun.acquire()
        fork(5)  # without a loop of its own
        clients = [connect(port) for port in ports]
        fork(5)
        forking = threading.Thread(target=forker)
        forking.start()
        forking.join()
        for client in clients:
            client.send(b"served")
            print(client.receive().decode(), flush=True)
            client.close()
        for thread in threads:
            thread.join()
        """
    )
    child = ["child True", "Forked"]
    assert lines == [*child, "5", *child, "5", *child, "6", "thread True", "served", "served"]


# -- other ways to make a process


def test_subprocesses():
    """B58, R44: programs that are started by `subprocess` inherit nothing of ours and disturb nothing."""
    with pairs("ipv4") as (near, far):
        found = []
        spawn.call(lambda: found.append(far.receive()))
        opened = descriptors()
        ours = {opened[str(end.fileno())] for end in (near, far)} | {"anon_inode:[eventpoll]", "anon_inode:[eventfd]"}
        assert ours <= set(opened.values())
        command = [sys.executable, "-c", LIST_DESCRIPTORS]
        told = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, close_fds=False)
        assert len(told.stdout.splitlines()) >= 3
        assert not set(told.stdout.splitlines()) & ours
        assert os.system(f"exec {sys.executable} -c pass") == 0
        near.send(b"after")
        system.run()
    assert found == [b"after"]


def test_multiprocessing_forks():
    """B54, B61: `multiprocessing` may fork workers, from the main program and from a coroutine, that use coutil."""
    lines = output_of(
        """
        import multiprocessing, warnings
        from coutil import spawn, system
        warnings.simplefilter("ignore", DeprecationWarning)

        def work(number):
            results = []
            spawn.call(lambda: results.append(system.suspend(0.001)))
            system.run()
            return number * 2, results

        def through_pool():
            with multiprocessing.get_context("fork").Pool(2) as pool:
                return pool.map(work, range(3))

        def child(queue):
            queue.put(work(21))

        spawn.call(lambda: (system.suspend(0.05), print("parent")))
        system.suspend(0.001)
        print(through_pool())
        context = multiprocessing.get_context("fork")
        queue = context.SimpleQueue()
        process = context.Process(target=child, args=(queue,))
        process.start()
        print(queue.get())
        process.join()
        print(process.exitcode)
        system.run()
        """
    )
    assert lines[0] == "[(0, [True]), (2, [True]), (4, [True])]"
    assert lines[1:] == ["(42, [True])", "0", "parent"]


# -- descriptors


def test_descriptors_are_closed_by_exec():
    """R44, B12: every descriptor that we open is marked close-on-exec; those of others stay as they were."""
    lines = output_of(
        """
        import os
        from coutil import system

        def state():
            with os.scandir("/proc/self/fd") as listing:
                numbers = [entry.name for entry in listing]
            own = str(max(map(int, numbers)))  # of the listing: the highest, for nothing was closed before
            return {number: os.get_inheritable(int(number)) for number in numbers if number != own}

        kept = os.open("/dev/null", os.O_RDONLY)
        os.set_inheritable(kept, True)
        before = state()
        server = system.socket("passive", "ipv4")
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(8)
        client = system.socket("stream", "ipv4")
        client.connect(server.getaddress())
        peer = server.accept()
        waiting = system.socket("stream", "ipv4")
        waiting.connect(server.getaddress())
        system.suspend(0.001)  # libuv takes the connection, nobody accepts it
        after = state()
        print(all(after[number] == before[number] for number in before))
        ours = sorted(set(after) - set(before), key=int)
        print(len(ours) >= 8, [number for number in ours if after[number]])
        """
    )
    assert lines == ["True", "True []"]


def test_home_in_the_child_is_the_same_thread(go):
    """R28: coroutines that have not started are inherited; they work in the child as they do in the parent."""
    fresh = coroutine.create(lambda: 1 / 0)

    def child():
        found = []
        system.set_excepthook(lambda _, error: found.append(type(error).__name__))
        spawn.call(lambda: (system.suspend(), fresh.resume()))
        system.run()
        return found, fresh.status, current_context().alive_count() >= 0

    assert fork_and(child).answer() == (["ZeroDivisionError"], "dead", True)
    assert fresh.status == "suspended"
    with pytest.raises(ZeroDivisionError):
        fresh.resume()


def test_connections_of_the_parent_end_with_the_parent():
    """B07: what a child inherited keeps no connection open once it has ended; the peer sees the stream's end."""
    with listening("ipv4") as server:
        near = connected(server)
        far = server.accept()
        begin = time.monotonic()
        child = fork_and(system.suspend, 0.05)
        near.close()
        assert far.receive() == b""
        assert time.monotonic() - begin >= 0.04
        far.close()
        assert child.answer() is True
