"""fork: a loop is unusable in the child until `Loop.fork`, and goes on then; the parent's goes on undisturbed."""

import errno
import os
import signal
import socket
import threading
import time
from contextlib import nullcontext, suppress

import pytest

from coutil import errors, spawn, system, uv
from tests.helpers.forks import fork_and, outcome
from tests.helpers.pool import full_pool
from tests.helpers.script import output_of
from tests.helpers.tcp import pairs

USR1 = signal.SIGUSR1


def collect(handle, log):
    """Have the events of a handle written to a list."""
    handle.ontimeout = handle.onasync = handle.onsignal = lambda *event: log.append(event[1:])
    return handle


def turns(loop, log, count=1):
    """Turn the loop until the list is as long as that; return it. Gives up after some seconds."""
    with uv.Timer(loop) as limit:
        limit.start(5000)
        while len(log) < count and limit.active:
            loop.run("once")
    return log


# -- libuv's own cases


def test_timer(loop):
    """Libuv's fork_timer: a timer that was started before the fork fires in the child, and in the parent, too."""
    log = []
    with collect(uv.Timer(loop), log) as timer:
        timer.start(5)

        def child():
            loop.fork()
            return loop.run(), len(log), timer.active

        running = fork_and(child)
        loop.run()
        assert running.answer() == (False, 1, False)
        assert len(log) == 1


@pytest.mark.parametrize("started", [False, True])
def test_socket_pair(started):
    """Libuv's fork_socketpair(_started): a socket, reading or not, receives in the child what is sent there."""
    loop = uv.default_loop()
    with pairs("ipv4") as (near, far):
        if started:
            far.send(b"before")
            assert near.receive() == b"before"  # reading stays armed

        def child():
            loop.fork()
            far.send(b"from the child")
            return near.receive()

        assert fork_and(child).answer() == b"from the child"
        far.send(b"from the parent")
        assert near.receive() == b"from the parent"


@pytest.mark.parametrize("revived", [False, True])
def test_owners_of_descriptors(revived):
    """In the child a descriptor of the parent's handle may be opened, unless that handle lives on there."""
    with uv.Pipe() as near:
        ours, peer = socket.socketpair()
        near.open(ours)
        number, loop = near.fileno(), uv.default_loop()

        def child():
            if revived:
                loop.fork()
                names = []
                for call in (lambda: uv.Pipe().open(number), lambda: uv.fs_close(None, number)):
                    with suppress(OSError):
                        call()
                        names.append("done")
                return names
            mine = uv.Pipe(uv.Loop())
            mine.open(number)
            return mine.try_write(b"from the child")

        assert fork_and(child).answer() == ([] if revived else len(b"from the child"))
        peer.close()


@pytest.mark.parametrize("started", [False, True])
def test_socket_pair_with_handlers(loop, started):
    """Libuv's fork_socketpair(_started) as libuv has it: handles of a loop, whose handler is called in the child."""
    log = []
    with uv.Pipe(loop) as near, uv.Pipe(loop) as far:
        for handle, end in zip((near, far), socket.socketpair(), strict=True):
            handle.open(end.detach())
        near.onread = lambda one, err, data: log.append(data)
        if started:
            near.read_start()
            loop.run("nowait")

        def child():
            loop.fork()
            if not started:
                near.read_start()
            far.write(b"from the child")
            return turns(loop, log), far.close()

        assert fork_and(child).answer() == ([b"from the child"], True)
        if not started:
            near.read_start()
        far.write(b"from the parent")
        assert turns(loop, log) == [b"from the parent"]


def test_signal_to_the_child(loop):
    """Libuv's fork_signal_to_child: a signal reaches the loop of the process that it is sent to, and no other one."""
    log = []
    reader, writer = os.pipe()
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)

        def child():
            loop.fork()
            os.write(writer, b"x")
            return turns(loop, log), handle.active

        running = fork_and(child)
        os.read(reader, 1)
        os.kill(running.pid, USR1)
        assert running.answer() == ([(USR1,)], True)
        loop.run("nowait")
        assert log == []
        os.kill(os.getpid(), USR1)
        assert turns(loop, log) == [(USR1,)]
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize("revived", [False, True])
def test_signal_to_the_child_that_has_closed_its_loop(loop, revived):
    """Libuv's fork_signal_to_child_closed, fork_close_signal_in_child: then it is Python's, and the parent's stays."""
    log, mine = [], []
    before = signal.signal(USR1, lambda number, frame: mine.append(number))
    with collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)

        def child():
            if revived:
                loop.fork()
            loop.close(force=True)
            os.kill(os.getpid(), USR1)
            return mine, log, repr(loop), outcome(loop.run), outcome(handle.stop)

        assert fork_and(child).answer() == ([USR1], [], "<Loop closed>", *["Closed" if revived else "Forked"] * 2)
        loop.run("nowait")
        os.kill(os.getpid(), USR1)
        assert turns(loop, log) == [(USR1,)]
    assert mine == []
    signal.signal(USR1, before)


@pytest.mark.parametrize("what", ["file", "directory"])
def test_file_events_in_the_child(tmp_path, what):
    """Libuv's fork_fs_events_child(_dir): what was watched before the fork is watched in the child."""
    loop, path = uv.default_loop(), tmp_path / "file"
    path.touch()
    with system.watch(path if what == "file" else tmp_path) as watch:

        def child():
            loop.fork()
            path.write_text("changed")
            return next(watch).events

        assert fork_and(child).answer() == {"change"}
        assert next(watch) is not None


@pytest.mark.parametrize("what", ["file", "directory"])
def test_file_events_with_handlers(loop, tmp_path, what):
    """Libuv's fork_fs_events_child(_dir) as libuv has it: the handler is called in the child, and in the parent."""
    log, path = [], tmp_path / "file"
    path.touch()
    with uv.FSEvent(loop) as handle:
        handle.onevent = lambda one, err, filename, *events: log.append((err, filename))
        handle.start(path if what == "file" else tmp_path)

        def child():
            loop.fork()
            path.write_text("changed")
            return turns(loop, log)[0], handle.active

        assert fork_and(child).answer() == ((None, "file"), True)
        assert turns(loop, log)[0] == (None, "file")


def test_file_events_in_both(tmp_path):
    """Libuv's fork_fs_events_file_parent_child: each has a watch of its own, which the other's end does not touch."""
    loop = uv.default_loop()
    with system.watch(tmp_path) as watch:

        def child():
            loop.fork()
            watch.close()
            with system.watch(tmp_path) as other:
                (tmp_path / "child").touch()
                return next(other) is not None

        assert fork_and(child).answer() is True
        assert next(watch) is not None
        (tmp_path / "parent").touch()
        assert next(watch) is not None


def test_thread_pool(tmp_path):
    """Libuv's fork_threadpool_queue_work_simple: the pool works in the child, with threads of its own."""
    loop = uv.default_loop()
    (tmp_path / "file").write_text("text")

    def size():
        return system.fileinfo(tmp_path / "file").size

    def child():
        loop.fork()
        return size(), [spawn.call(size).status for _ in range(8)], system.run(), size()

    assert size() == 4
    assert fork_and(child).answer() == (4, ["suspended"] * 8, False, 4)
    assert size() == 4


# -- what else there is


def test_requests_of_the_pool_are_cancelled(tmp_path):
    """What the pool had not finished ends with ECANCELED in the child, running or queued; new requests work."""
    loop, log = uv.default_loop(), []
    (tmp_path / "file").write_text("text")

    def ask():
        try:
            log.append(system.fileinfo(tmp_path / "file").size)
        except errors.OperationCancelled as error:
            log.append(error.name)

    def look_up():
        try:
            log.append(system.findaddr("127.0.0.1").getaddress() is not None)
        except OSError as error:
            log.append(error.name)

    with full_pool():
        for _ in range(3):
            spawn.call(ask)
        spawn.call(look_up)
        system.run("ready")

        def child():
            escaped = []
            system.set_excepthook(lambda coroutine, error: escaped.append(error.name))
            loop.fork()
            while len(log) < 4 or len(escaped) < 4:
                system.run("step")
            ask()
            return sorted(log, key=str), escaped, system.run()

        ended, escaped, alive = fork_and(child).answer()
        assert ended in ([4, *["ECANCELED"] * 4], [4, "EAI_CANCELED", *["ECANCELED"] * 3])
        assert (escaped, alive) == (["ECANCELED"] * 4, False)
        assert log == []
    system.run()
    assert sorted(map(str, log)) == ["4", "4", "4", "True"]


def test_requests_of_a_loop_of_its_own(loop, tmp_path):
    """Functions and file requests that the pool had begun, or not, end with ECANCELED; the pool takes new ones."""
    begun, go_on = threading.Event(), threading.Event()

    def work():
        begun.set()
        go_on.wait()
        return "parent"

    running = [loop.queue_work_nowait(work) for _ in range(4)]
    queued = loop.fs.stat_nowait(tmp_path)
    begun.wait()

    def child():
        loop.fork()
        told = [outcome(request.result) for request in (*running, queued)]
        return told, loop.queue_work(os.getpid) == os.getpid(), loop.fs.stat(tmp_path).mode > 0, loop.run()

    answer = fork_and(child)
    go_on.set()
    assert answer.answer() == (["OperationCancelled"] * 5, True, True, False)
    assert [request.result() for request in running] == ["parent"] * 4
    assert queued.result().mode > 0


@pytest.mark.parametrize("begun", ["just begun", "turned", "in the pool"])
def test_polled_files(tmp_path, begun):
    """A file that is looked at every few milliseconds is looked at in the child, whatever the pool was doing."""
    loop, log, path = uv.default_loop(), [], tmp_path / "file"
    path.touch()

    def wait():
        log.append(system.awaitpath(path, poll=0.002) is not None)

    def child():
        system.set_excepthook(lambda coroutine, error: None)  # who filled the pool is told
        loop.fork()
        path.write_text("changed by the child")
        system.run()
        return log, outcome(loop.close)

    with full_pool() if begun == "in the pool" else nullcontext():
        spawn.call(wait)
        if begun != "just begun":
            system.run("ready")
        if begun == "turned":
            system.suspend(0.01)
        assert fork_and(child).answer() == ([True], None)
    path.write_text("changed by the parent, to something else")
    system.run()
    assert log == [True]


def test_requests_that_have_ended_already(tmp_path):
    """What the pool had finished before the fork, but which was not reported, is told in the child."""
    loop, log = uv.default_loop(), []
    (tmp_path / "file").write_text("text")
    spawn.call(lambda: log.append(system.fileinfo(tmp_path / "file").size))
    time.sleep(0.05)  # the loop does not turn

    def child():
        loop.fork()
        system.run()
        return log

    assert fork_and(child).answer() == [4]
    system.run()
    assert log == [4]


def test_calls_before_it_is_revived(loop):
    """Every call on the loop and on what it has raises Forked; so does waiting; `fork` ends that."""
    handles = [uv.Timer(loop), uv.Idle(loop), uv.Check(loop), uv.Async(loop), uv.Signal(loop)]
    timer, idle, _, wakeup, watcher = handles
    wakeup.unref()
    calls = [
        *(loop.run, loop.walk, loop.now, loop.stop, loop.backend_fd, lambda: loop.alive, lambda: uv.Timer(loop)),
        *(lambda: timer.start(1), idle.start, wakeup.send, lambda: watcher.start(USR1), watcher.wait),
        *(lambda: uv.Process(loop, "true"), lambda: loop.call_threadsafe(print)),
        *(call for handle in handles for call in (handle.close, handle.close_soon, handle.ref)),
    ]

    def child():
        refused = [outcome(call) for call in calls]
        uv.loop_fork(loop)
        return refused, loop.run(), [outcome(handle.close) for handle in handles], outcome(loop.close)

    refused, ran, closed, ended = fork_and(child).answer()
    assert refused == ["Forked"] * len(calls)
    assert (ran, closed, ended) == (False, [True] * 5, None)
    assert [handle.close() for handle in handles] == [True] * 5


def test_where_the_loop_was_made(loop):
    """In the parent `fork` does nothing; on a closed loop, or in another thread, it raises."""
    told = []
    assert loop.fork() is None
    assert loop.run() is False
    thread = threading.Thread(target=lambda: told.append(outcome(loop.fork)))
    thread.start()
    thread.join()
    assert told == ["ForeignThread"]
    closed = uv.Loop()
    closed.close()
    with pytest.raises(errors.Closed):
        closed.fork()


def test_sends_and_calls_on_their_way(loop):
    """Async handles and calls of other threads that were on their way at the fork are told in both processes."""
    log = []
    with collect(uv.Async(loop), log) as wakeup:
        wakeup.send()
        loop.call_threadsafe(log.append, ("called",))

        def child():
            loop.fork()
            first = sorted(turns(loop, log, 2))
            log.clear()
            wakeup.send()
            return first, turns(loop, log)

        assert fork_and(child).answer() == ([(), ("called",)], [()])
        assert sorted(turns(loop, log, 2)) == [(), ("called",)]


def test_handler_that_forks(loop):
    """The handler that forked may let the loop go on: what this turn still had to do is done in both processes."""
    log, answers = [], []
    first, second, third = (uv.Timer(loop) for _ in range(3))

    def ontimeout(timer):
        if timer is not first:
            log.append(("fired", timer is second))
            return
        spawn.call(lambda: log.append(("suspended", system.suspend(0))))

        def child():
            refused = outcome(loop.run)
            loop.fork()
            log.append(("waited", system.suspend(0.001)))
            return refused, sorted(log)

        answers.append(fork_and(child))

    for timer in (first, second, third):
        timer.ontimeout = ontimeout
        timer.start(0)
    loop.run()
    done = [("fired", False), ("fired", True), ("suspended", True)]
    assert answers[0].answer() == ("Forked", [*done, ("waited", True)])
    assert sorted(log) == done
    for timer in (first, second, third):
        timer.close()


def test_handler_whose_main_program_goes_on(loop):
    """When the handler has returned, `run` goes on in the main program of the child, too."""
    reader, writer = os.pipe()
    pids, log = [], []

    def ontimeout(timer):
        pids.append(os.fork())
        if not pids[0]:
            signal.alarm(10)
            loop.fork()

    with uv.Timer(loop) as forking, collect(uv.Timer(loop), log) as later:
        forking.ontimeout = ontimeout
        forking.start(0)
        later.start(3)
        ended = False
        try:
            ended = loop.run() is False and len(log) == 1
        finally:
            if pids == [0]:
                os.write(writer, b"well" if ended else b"ill")
                os._exit(0)
        assert ended
    os.waitpid(pids[0], 0)
    assert os.read(reader, 10) == b"well"
    os.close(reader)
    os.close(writer)


def test_coroutines_that_wait_go_on():
    """A waiter in the loop is resumed in the child as well: timers, sockets, the ready queue, signals."""
    loop, log = uv.default_loop(), []
    with pairs("ipv4") as (near, far):
        spawn.call(lambda: log.append(("slept", system.suspend(0.005))))
        spawn.call(lambda: log.append(("turn", system.suspend(0))))
        spawn.call(lambda: log.append(("received", near.receive())))
        spawn.call(lambda: log.append(("signal", system.awaitsig("userdef1"))))

        def child():
            loop.fork()
            far.send(b"x")
            os.kill(os.getpid(), USR1)
            return system.run(), sorted(log)

        told = [("received", b"x"), ("signal", "userdef1"), ("slept", True), ("turn", True)]
        assert fork_and(child).answer() == (False, told)
        far.send(b"x")
        os.kill(os.getpid(), USR1)
        system.run()
        assert sorted(log) == told


def test_fork_of_a_fork(loop):
    """A loop that goes on in a child goes on in a grandchild as well."""
    log = []
    with collect(uv.Timer(loop), log) as timer, collect(uv.Signal(loop), log) as handle:
        handle.start(USR1)
        handle.unref()

        def child():
            loop.fork()
            timer.start(3)
            running = fork_and(grandchild)
            loop.run()
            return log, running.answer()

        def grandchild():
            refused = outcome(loop.run)
            loop.fork()
            os.kill(os.getpid(), USR1)
            loop.run("nowait")
            loop.run()
            return refused, sorted(log)

        assert fork_and(child).answer() == ([()], ("Forked", [(), (USR1,)]))
        assert log == []


def test_children_of_the_parent(loop):
    """The children of the parent are not the child's: it is told that no one knows, and cannot kill them."""
    log = []
    process = uv.Process(loop, "sleep", ["0.1"])
    process.onexit = lambda one, status, number: log.append((status, number))

    def child():
        loop.fork()
        other = uv.Process(loop, "sh", ["-c", "exit 3"])
        waited = other.wait()
        loop.run()
        return waited, log, outcome(process.wait), outcome(process.kill), other.close(), outcome(process.close)

    told = fork_and(child).answer()
    assert told == ((3, 0), [(-errno.ECHILD, 0)], "ECHILD", "ESRCH", True, True)
    loop.run()
    assert log == [(0, 0)]
    process.close()


def test_default_loop_that_was_replaced():
    """The thread may have begun afresh since the fork: then the old loop cannot go on, and says so."""
    loop = uv.default_loop()

    def child():
        slept = system.suspend(0.001)
        return slept, outcome(loop.fork), outcome(loop.run), uv.default_loop() is loop, outcome(loop.close)

    assert fork_and(child).answer() == (True, "BusyError", "Forked", False, None)
    assert uv.default_loop() is loop


def test_default_loop_goes_on():
    """The default loop stays the one that `coutil.system` uses if it goes on before anybody needs another."""
    loop = uv.default_loop()

    def child():
        loop.fork()
        return system.suspend(0.001), uv.default_loop() is loop

    assert fork_and(child).answer() == (True, True)


def test_loops_of_other_threads():
    """The loop of a thread that does not exist in the child can be closed there, but not go on."""
    made, over = [], threading.Event()

    def serve():
        with uv.Loop() as loop:
            made.append(loop)
            over.wait()

    thread = threading.Thread(target=serve)
    thread.start()
    while not made:
        time.sleep(0.001)

    def child():
        return outcome(made[0].run), outcome(made[0].fork), outcome(made[0].close), repr(made[0])

    answer = fork_and(child).answer()
    over.set()
    thread.join()
    assert answer == ("Forked", "Forked", None, "<Loop closed>")


@pytest.mark.parametrize("revived", [False, True])
def test_exit_of_the_child(revived):
    """A child that ends as programs do, with the parent's loop open, with and without `fork`: exit code, no noise."""
    assert output_of(f"""
        import os, sys
        from coutil import system, uv

        loop = uv.Loop()
        timer, handle = uv.Timer(loop), uv.Signal(loop)
        timer.ontimeout = lambda one: None
        timer.start(5)
        handle.start("SIGUSR1")
        system.fileinfo(".")  # the thread pool has begun
        pid = os.fork()
        if not pid:
            if {revived}:
                loop.fork()
                timer.start(60_000)
            sys.exit(7)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
        handle.close()
        print(loop.run())
        timer.close()
        loop.close()
    """) == ["7", "False"]


def test_interrupt_in_the_child(loop):
    """Ctrl-C reaches the main program of the child when its loop goes on, and the loop stays usable."""
    log = []
    with collect(uv.Timer(loop), log) as timer:

        def child():
            loop.fork()
            timer.ontimeout = lambda one: os.kill(os.getpid(), signal.SIGINT)
            timer.start(1)
            keeping = uv.Timer(loop)
            keeping.start(5000)
            try:
                loop.run()
            except KeyboardInterrupt:
                log.append("interrupted")
            keeping.close()
            return log, loop.run()

        assert fork_and(child).answer() == (["interrupted"], False)
