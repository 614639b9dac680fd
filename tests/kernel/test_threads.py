"""One hub per OS thread: what a thread owns ends with it, and other threads reach it by `call_threadsafe` only."""

from __future__ import annotations

import gc
import socket
import threading
import time
from contextlib import contextmanager

import pytest
from greenlet import GreenletExit, getcurrent, greenlet

from coutil import coroutine, errors, spawn, system
from coutil._lifecycle import SHUTDOWN_ROUNDS
from tests.conftest import descriptors
from tests.helpers.kernel import current_context, current_hub, park, running
from tests.helpers.script import output_of
from tests.helpers.servers import listening
from tests.helpers.tcp import pair, pairs, resident

LIMIT = 10  # seconds that a thread may take


def in_thread(function, *arguments):
    """Run the function in a thread of its own, to the end of the thread; return its result, or raise its error."""
    outcome = []

    def body():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:  # noqa: BLE001  # raised below
            outcome.append((None, error))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(LIMIT)
    assert not thread.is_alive(), "the thread hangs"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


@contextmanager
def other_thread():
    """Run a thread whose hub turns while the block does; yields its hub."""
    begun, hubs = threading.Event(), []

    def body():
        hubs.append(current_hub())
        with hubs[0].external_source():
            begun.set()
            park(running(), "the end of the test")

    thread = threading.Thread(target=body)
    thread.start()
    assert begun.wait(LIMIT)
    try:
        yield hubs[0]
    finally:
        hubs[0].call_threadsafe(hubs[0].context.main.resume)
        thread.join(LIMIT)
        assert not thread.is_alive(), "the thread hangs"


def within(hub, function, *arguments):
    """Have the hub of another thread call the function; return its result, or raise its error."""
    done, outcome = threading.Event(), []

    def call():
        try:
            outcome.append((function(*arguments), None))
        except BaseException as error:  # noqa: BLE001  # raised below
            outcome.append((None, error))
        done.set()

    hub.call_threadsafe(call)
    assert done.wait(LIMIT), "nobody called"
    result, error = outcome[0]
    if error is not None:
        raise error
    return result


# -- the end of a thread


class Waiter:
    """Waits in a coroutine, and tells what became of it."""

    def __init__(self, log, wait):
        self.log, self.wait = log, wait

    def __call__(self):
        try:
            self.wait()
        except BaseException as error:
            self.log.append(type(error))
            raise
        finally:
            system.suspend()  # the loop is there still
            self.log.append("finally")

    def __del__(self):
        self.log.append("del")


def wait_for_time():
    system.suspend(1000)


def wait_in_queue():
    system.suspend()


def wait_for_data():
    with pairs("ipv4") as (near, _):
        near.receive()


def wait_for_connection():
    with listening("ipv4") as server:
        server.accept()


def wait_for_reader():
    with pairs("ipv4") as (near, _):
        near.send(bytes(1 << 24))


@pytest.mark.parametrize("wait", [wait_for_time, wait_in_queue, wait_for_data, wait_for_connection, wait_for_reader])
def test_waiting_coroutines_end_with_their_thread(wait):
    """B26: at the end of a thread GreenletExit ends each coroutine that waits in its hub; clean-up may use the loop."""
    log, opened = [], descriptors()

    def body():
        waiters = [spawn.call(Waiter(log, wait)) for _ in range(3)]
        if wait is not wait_in_queue:
            system.suspend(0.001)
        return [one.status for one in waiters]

    assert in_thread(body) == ["suspended"] * 3
    gc.collect()
    assert [log.count(what) for what in (GreenletExit, "finally", "del")] == [3, 3, 3]
    assert len(log) == 9
    assert descriptors() == opened


def test_clean_up_that_waits_again():
    """B26: what a `finally` block waits for gets one turn; a wait that takes longer is ended as well, and so on."""
    log = []

    def polite():
        try:
            system.suspend(1000)
        finally:
            near.send(b"bye")
            log.append(far.receive())
            system.suspend()
            log.append("ready")
            try:
                system.suspend(1000)
            finally:
                log.append("timer")

    def body():
        nonlocal near, far
        near, far = pair("ipv4")
        spawn.call(polite)
        system.suspend(0.001)

    near = far = None
    in_thread(body)
    assert log == [b"bye", "ready", "timer"]
    assert "closed" in repr(near)


def test_coroutine_that_refuses_to_end(recwarn):
    """B26: a thread ends although one of its coroutines will not; the loop is closed under it."""
    told = []

    def stubborn():
        while True:
            try:
                system.suspend(1000)
            except GreenletExit:
                told.append(len(told))

    hub, one = in_thread(lambda: (current_hub(), spawn.call(stubborn)))
    assert told == list(range(SHUTDOWN_ROUNDS))
    assert one.status == "suspended"
    with pytest.raises(errors.ForeignThread):
        one.resume()
    with pytest.raises(errors.Closed, match="the event loop "):
        hub.call_threadsafe(print)
    assert hub.in_flight() == 0


def test_errors_of_clean_up_are_reported():
    """B26: what escapes at the end of a thread goes to that thread's excepthook; SystemExit is ignored."""
    found = []

    def fails(error):
        try:
            system.suspend(1000)
        finally:
            raise error

    def body():
        system.set_excepthook(lambda one, error: found.append((one.name, error.args)))
        for number, kind in enumerate([ValueError, KeyboardInterrupt, SystemExit, OSError]):
            spawn.call(fails, kind(number), name=kind.__name__)
        spawn.call(Waiter([], wait_for_time))

    in_thread(body)
    assert found == [("ValueError", (0,)), ("KeyboardInterrupt", (1,)), ("OSError", (3,))]


def test_raw_greenlet_ends_with_its_thread():
    """B26, C-5: also a greenlet that is not ours, and that waits in the hub, is ended."""
    log = []

    def raw():
        try:
            system.suspend(1000)
        finally:
            log.append(coroutine.running().name.partition("-")[0])

    def body():
        top = getcurrent()
        spawn.call(lambda: (system.suspend(), top.switch("back")))
        return greenlet(raw).switch()

    assert in_thread(body) == "back"
    assert log == ["greenlet"]


def test_what_survives_a_thread():
    """L-4, A-17: streams, coroutines and the hub of a thread that has ended raise errors, and can be closed."""

    def body():
        near = pair("ipv4")[0]
        closed = pair("ipv4")[0]
        closed.close()
        system.run("ready")
        kept = [coroutine.create(coroutine.yield_) for _ in range(2)]
        kept[0].resume()
        return near, closed, kept, current_hub()

    near, closed, kept, hub = in_thread(body)
    for use in (near.receive, near.fileno, near.shutdown, closed.receive, lambda: closed.send(b"x"), near.getaddress):
        with pytest.raises(errors.Closed, match=r"stream ipv4( .*)? "):
            use()
    assert near.close() is True
    for one in kept:
        with pytest.raises(errors.ForeignThread):
            one.resume()
    with pytest.raises(errors.Closed):
        hub.call_threadsafe(print)


@pytest.mark.slow
def test_many_threads_leave_nothing():
    """B26, B13: 1,000 threads, each with 10 coroutines that wait: memory, descriptors and objects come back."""
    lines = output_of(
        """
        import gc, os, threading
        from pathlib import Path
        from greenlet import greenlet
        from coutil import spawn, system
        from coutil._coroutines.coroutine import Coroutine, LoopContext
        from coutil._kernel.hub import Hub

        class Thing:
            def __del__(self):
                ended.append("del")

        def waiter(number):
            thing = Thing()
            try:
                if number % 2:
                    system.suspend(1000)
                server = system.socket("passive", "ipv4")
                server.listen(1)
                server.accept()
            finally:
                ended.append("finally")

        def body():
            for number in range(10):
                spawn.call(waiter, number)
            system.suspend(0.001)

        def threads(count):
            made = [threading.Thread(target=body) for _ in range(count)]
            for thread in made:
                thread.start()
            for thread in made:
                thread.join()
            gc.collect()

        def state():
            pages = int(Path("/proc/self/statm").read_text().split()[1])
            return pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir("/proc/self/fd"))

        ended = []
        for _ in range(10):
            threads(20)
        resident, opened = state()
        for _ in range(40):
            threads(20)
        after, still_opened = state()
        print(ended.count("finally"), ended.count("del"), still_opened - opened)
        kinds = Hub, LoopContext, Coroutine, greenlet  # greenlet lets go of the last threads a little later
        while sum(isinstance(one, greenlet) for one in gc.get_objects()) > 3:
            threads(1)
        print([sum(isinstance(one, kind) for one in gc.get_objects()) <= (kind is not Hub) * 3 for kind in kinds])
        print((after - resident) // 1_000_000)
        """,
        timeout=60,
    )
    assert lines[:2] == ["10000 10000 0", "[True, True, True, True]"]
    assert int(lines[2]) < 5


def test_short_threads_do_not_keep_descriptors():
    """B13: threads that waited once each leave no descriptor, one after the other."""
    opened = descriptors()
    for _ in range(100):
        assert in_thread(system.suspend, 0.0001) is True
    assert descriptors() == opened


@pytest.mark.soak
def test_ten_thousand_short_threads():
    """B13: nor do ten thousand, fifty at a time, which wait, read and look something up: nor memory."""

    def body():
        system.suspend(0)
        with pairs("ipv4") as (near, far):
            near.send(b"data")
            found.append(far.receive() == b"data" and system.random(bytearray(8)) != bytes(8))

    def batches(count):
        for _ in range(count):
            threads = [threading.Thread(target=body) for _ in range(50)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        gc.collect()
        return len(descriptors()), resident()

    found = []
    opened, memory = batches(20)
    still_opened, after = batches(200)
    assert found == [True] * 11_000
    assert still_opened == opened
    assert after - memory < 5_000_000


# -- one hub per thread


def test_threads_have_their_own_hub():
    """Each thread runs its own loop, excepthook and coroutines; what one does is no business of the others."""
    barrier = threading.Barrier(4)
    hubs, found = [], {}

    def body(number):
        system.set_excepthook(lambda _, error: found.setdefault(number, []).append(str(error)))
        hubs.append(current_hub())
        order = []
        with pairs("ipv4") as (near, far):
            spawn.call(lambda: order.append(far.receive()))
            spawn.call(lambda: (system.suspend(), 1 / 0))
            barrier.wait(LIMIT)
            near.send(b"%d" % number)
            assert system.run() is False
        order.append(system.isrunning())
        return order

    results = {}
    threads = [threading.Thread(target=lambda number=n: results.update({number: body(number)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert results == {number: [b"%d" % number, False] for number in range(4)}
    assert found == {number: ["division by zero"] for number in range(4)}
    assert len({id(hub) for hub in hubs}) == 4


def test_foreign_objects_are_refused():
    """A-17: each call on a stream, listener or coroutine of another thread raises ForeignThread, changes nothing."""
    with pairs("ipv4") as (near, far), listening("ipv4") as server:
        idle = system.socket("stream", "ipv4")
        fresh, begun = coroutine.create(lambda *values: values), coroutine.create(coroutine.yield_)
        begun.resume()
        uses = [
            near.receive,
            lambda: near.receive_into(bytearray(3)),
            lambda: near.send(b"x"),
            lambda: near.send(bytes(1 << 24)),
            near.shutdown,
            near.close,
            near.fileno,
            near.getaddress,
            lambda: near.setoption("nodelay", True),
            lambda: idle.connect(server.getaddress()),
            lambda: idle.bind(system.address("ipv4", "127.0.0.1", 0)),
            lambda: idle.getaddress("self"),
            server.accept,
            server.close,
            fresh.resume,
            begun.resume,
            begun.close,
            lambda: begun.throw(ValueError),
        ]

        def foreigner():
            for number, use in enumerate(uses):
                with pytest.raises(errors.ForeignThread):
                    use()
                assert system.suspend(0) is True, number
            return len(uses)

        idle_peer = server.getaddress()
        uses[9] = lambda: idle.connect(idle_peer)
        assert in_thread(foreigner) == len(uses)
        assert (fresh.resume("still", "new"), begun.resume(7)) == (("still", "new"), 7)
        far.send(b"ours")
        assert near.receive() == b"ours"
        assert idle.connect(idle_peer) is True
        server.accept().close()
        idle.close()


def test_waiters_are_not_disturbed_by_foreigners(go):
    """A-17: a thread that tries to take over a wait fails, and the waiter gets what it waits for."""
    with pairs("ipv4") as (near, far):
        got = []
        reader = go(lambda: got.append(near.receive()))
        for use in (near.receive, reader.resume, reader.close, near.close):
            with pytest.raises(errors.ForeignThread):
                in_thread(use)
        assert (reader.status, got) == ("suspended", [])
        far.send(b"for the reader")
        system.run()
        assert got == [b"for the reader"]


def test_stream_forgotten_in_another_thread():
    """L-3: the last reference may go in any thread; the stream is closed by its own."""
    with listening("ipv4") as server:
        client = socket.create_connection(("127.0.0.1", server.getaddress().port))
        box = [server.accept()]
        in_thread(box.clear)
        client.settimeout(LIMIT)
        system.run("ready")
        assert client.recv(1) == b""
        client.close()


# -- call_threadsafe


def test_calls_of_one_thread_keep_their_order(hub):
    """Calls of one thread are made in order, all in the hub's thread, none is lost."""
    made, here = [], threading.get_ident()
    with hub.external_source():
        me = running()

        def call(number, last):
            made.append((number, threading.get_ident()))
            if last:
                me.resume("done")

        def body():
            for number in range(2000):
                hub.call_threadsafe(call, number, number == 1999)

        thread = threading.Thread(target=body)
        thread.start()
        assert park(me, "calls") == "done"
        thread.join()
    assert made == [(number, here) for number in range(2000)]


def test_calls_of_many_threads(hub):
    """B33: eight threads call at once: nothing is lost, and each thread's calls stay in order."""
    made, me, count, each = [], running(), 8, 500

    def call(thread, number):
        made.append((thread, number))
        if len(made) == count * each:
            me.resume("all")

    def body(thread):
        for number in range(each):
            hub.call_threadsafe(call, thread, number)

    threads = [threading.Thread(target=body, args=(number,)) for number in range(count)]
    with hub.external_source():
        for thread in threads:
            thread.start()
        assert park(me, "calls") == "all"
    for thread in threads:
        thread.join()
    assert {thread: [number for one, number in made if one == thread] for thread in range(count)} == {
        thread: list(range(each)) for thread in range(count)
    }


def test_errors_of_calls(hub, escaped):
    """What a call raises is reported, and the calls behind it are made; SystemExit leaves the loop."""
    made = []

    def body():
        hub.call_threadsafe(lambda: 1 / 0)
        hub.call_threadsafe(made.append, 1)
        hub.call_threadsafe(system.suspend, 1)  # the hub cannot wait
        hub.call_threadsafe(lambda: exec("raise SystemExit(3)"))
        hub.call_threadsafe(made.append, 2)

    in_thread(body)
    with pytest.raises(SystemExit, match="3"):
        system.suspend(LIMIT)
    assert made == [1, 2]
    assert [(one, type(error)) for one, error in escaped] == [(None, ZeroDivisionError), (None, errors.NotYieldable)]
    escaped.clear()
    assert system.suspend(0.0001) is True


def test_call_wakes_an_idle_loop():
    """A loop that is asleep in the kernel, with nothing else to come, is woken at once."""
    with other_thread() as hub:
        for _ in range(20):
            time.sleep(0.001)
            turns = hub._turns
            # And no other turn, which could look for it
            assert within(hub, lambda turns=turns: hub._turns - turns) <= 1
        assert within(hub, threading.get_ident) == hub.context.thread != threading.get_ident()


def test_calls_may_start_coroutines():
    """A call may spawn; what it spawns waits in the called thread, and ends with it."""
    log = []

    def work():
        try:
            log.append((system.suspend(0.001), threading.get_ident()))
            system.suspend(1000)
        finally:
            log.append("end")

    with other_thread() as hub:
        within(hub, spawn.call, work)
        begin = time.monotonic()
        while not log and time.monotonic() < begin + LIMIT:
            time.sleep(0.001)
        assert log == [(True, hub.context.thread)]
    assert log[1:] == ["end"]


def race_the_end(count):
    """Have `count` threads call a hub until it refuses; return what was called, and the errors."""
    hubs, made, refused, begun = [], [], [], threading.Event()

    def body():
        hubs.append(current_hub())
        begun.set()
        system.suspend(0.002)

    def caller():
        try:
            for number in range(1_000_000):
                hubs[0].call_threadsafe(made.append, number)
        except Exception as error:  # noqa: BLE001  # what the test is about
            refused.append(error)

    threads = [threading.Thread(target=body), *(threading.Thread(target=caller) for _ in range(count))]
    threads[0].start()
    assert begun.wait(LIMIT)
    for thread in threads[1:]:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    return made, refused


def test_calls_while_the_loop_is_closed():
    """B19, B37: threads that call a thread which ends get `Closed` sooner or later, nothing else, and never hang."""
    rounds = [race_the_end(2) for _ in range(20)]
    assert [[type(error) for error in refused] for _, refused in rounds] == [[errors.Closed] * 2] * 20
    assert sum(len(made) for made, _ in rounds) > 20
    assert all(made == sorted(made) or len(set(made)) < len(made) for made, _ in rounds)


def test_finalizer_while_calling():
    """B23: a collection inside `call_threadsafe` may finalize streams of the same loop: nothing hangs."""
    with other_thread() as hub:
        made = []

        def litter():
            for _ in range(50):
                stream = system.socket("stream", "ipv4")
                cycle = [stream]
                cycle.append(cycle)

        within(hub, litter)
        before = gc.get_threshold()
        gc.set_threshold(1)
        try:
            for number in range(50):
                hub.call_threadsafe(made.append, number)
        finally:
            gc.set_threshold(*before)
        gc.collect()
        within(hub, made.append, 50)
        assert made == list(range(51))
        counts = within(hub, hub.loop.counts)
        assert counts["handles_closed"] == counts["handles_created"] >= 50


# -- deadlocks


def test_no_deadlock_while_another_thread_is_expected(hub):
    """B39: within `external_source()` the main program waits for a thread, however long nothing else can wake it."""
    me = running()
    thread = threading.Timer(0.05, hub.call_threadsafe, (me.resume, "from the thread"))
    thread.start()
    with hub.external_source():
        assert park(me, "a thread") == "from the thread"
    thread.join()
    with pytest.raises(
        errors.Deadlock, match=r"nothing can wake the 1 coroutine that waits\n  main  [\d.]+ m?s  a thread"
    ):
        park(me, "a thread")


def test_run_goes_on_while_another_thread_is_expected(hub):
    """B39: `system.run()` counts an expected thread as something that can happen, until the block ends."""
    log = []

    def worker():
        with hub.external_source():
            me = running()
            threading.Timer(0.02, hub.call_threadsafe, (me.resume, "called")).start()
            log.append(park(me, "a thread"))

    spawn.call(worker)
    assert system.run() is False
    assert log == ["called"]
    assert hub._external_sources == 0


def test_expecting_may_nest_and_fail(hub):
    """B39: blocks may be nested and left by exceptions; only the last one's end makes a deadlock possible."""
    me = running()
    with hub.external_source():
        with pytest.raises(ValueError, match="inner"), hub.external_source():
            raise ValueError("inner")
        threading.Timer(0.01, hub.call_threadsafe, (me.resume, 1)).start()
        assert park(me, "the outer block") == 1
    with pytest.raises(errors.Deadlock):
        park(me, "nobody")
    assert system.suspend(0.0001) is True


def test_deadlock_in_a_thread():
    """B39: a thread's deadlock is found in that thread, and names only its own coroutines."""
    mine = coroutine.create(coroutine.yield_, name="of the main thread")
    mine.resume()

    def body():
        his = coroutine.create(coroutine.yield_, name="of the thread")
        his.resume()
        try:
            park(running(), "godot")
        except errors.Deadlock as found:
            return str(found)

    found = []
    thread = threading.Thread(target=lambda: found.append(body()), name="mine")
    thread.start()
    thread.join()  # with a limit the main program could wake it afterwards
    (told,) = found
    assert told.endswith("could\n  thread MainThread waits, too")
    assert "of the thread" in told
    assert "godot" in told
    assert "of the main thread" not in told
    mine.resume()


def test_a_call_that_was_made_before_the_wait_is_no_deadlock(hub):
    """B39: who was called before it waits needs no `external_source()`."""
    me = running()
    in_thread(hub.call_threadsafe, me.resume, "early")
    assert park(me, "a thread") == "early"
    assert current_context().hub is hub
    assert hub.in_flight() == 0
