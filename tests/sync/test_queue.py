"""sync.Queue: items are handed over first come first served, and none is lost or doubled."""

from __future__ import annotations

import gc
import queue
import threading
from weakref import ref

import pytest
from greenlet import greenlet

from coutil import errors, scopes, spawn, system
from coutil.coroutine import running, yield_
from coutil.sync import Queue
from tests.helpers.coroutines import Referent, Trouble, start
from tests.helpers.values import cancel, each_way_out, is_collected, recorder, run_until_quiet


def filled(maxsize, *items):
    """Return a queue with some items in it."""
    made = Queue(maxsize)
    for item in items:
        made.put(item)
    return made


def take_all(taken):
    """Take and return what is in a queue."""
    return [taken.get() for _ in range(len(taken))]


# -- others run, too --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [0, 1, 10])
def test_a_producer_and_its_consumer_starve_none(maxsize):
    """I9, R04: what is ready, and what the loop polls for, has its turn although the two never wait for the loop."""
    items, log = Queue(maxsize), []

    def produce():
        for number in range(10_000):
            items.put(number)
            if len(log) == 2:
                break
        items.close()
        log.append(number)

    def consume():
        for _ in items:
            pass

    spawn.call(consume)
    spawn.call(lambda: log.append(system.suspend(0)))
    spawn.call(lambda: log.append(system.suspend(1e-6)))
    spawn.call(produce)
    system.run()
    assert log[:2] == [True, True]
    assert log[2] < 9000


@pytest.mark.parametrize("call", ["put", "get"])
def test_explicit_resume_while_others_run(call):
    """The call that let others run has done nothing yet: what the resume brings is returned."""
    items, log = Queue(0), []
    calls = {"put": lambda: items.put("item"), "get": items.get}

    def often():
        while len(log) < 2000:
            log.append(calls[call]())

    if call == "get":
        for number in range(2000):
            items.put_nowait(number)
    running_often = spawn.call(often)
    done, there = len(log), len(items)
    assert 0 < done < 2000
    assert running_often.status == "suspended"
    running_often.resume("enough")
    assert log[done] == "enough"
    system.run()
    assert abs(len(items) - there) == 2000 - done - 1


def test_calls_without_waiting_never_let_others_run():
    """put_nowait and get_nowait work anywhere, so they cannot."""
    items, log = Queue(0), []
    spawn.call(lambda: log.append(system.suspend(0)))
    for number in range(5000):
        items.put_nowait(number)
    assert [items.get_nowait() for _ in range(5000)] == list(range(5000))
    assert log == []
    system.run()
    assert log == [True]


# -- without waiting --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("maxsize", [0, 1, 3])
def test_items_come_out_in_the_order_in_which_they_went_in(maxsize):
    """And the queue says how many there are."""
    items = Queue(maxsize)
    assert (len(items), items.empty(), items.full(), items.maxsize) == (0, True, False, maxsize)
    for number in range(maxsize or 100):
        assert items.put(number) is True
    assert len(items) == items.qsize() == (maxsize or 100)
    assert (items.empty(), items.full()) == (False, maxsize > 0)
    assert take_all(items) == list(range(maxsize or 100))
    assert items.empty()


def test_any_value_is_an_item():
    """Also None, tuples, exceptions, and things equal to everything."""
    values = [None, (), (1, 2), Trouble("item"), NotImplemented, ...]
    items = filled(0, *values)
    run_until_quiet()
    assert take_all(items) == values
    log = []
    recorder(log, items.get, times=len(values))
    for value in values:
        items.put(value)
    run_until_quiet()
    assert log == values


@pytest.mark.parametrize(
    ("maxsize", "error"), [(-1, ValueError), (1.0, TypeError), (None, TypeError), (True, TypeError)]
)
def test_maxsize_is_a_number(maxsize, error):
    """A queue without limit has to be asked for."""
    with pytest.raises(error, match="maxsize"):
        Queue(maxsize)
    with pytest.raises(TypeError):
        Queue()


def test_a_queue_is_true_also_if_it_is_empty():
    """So that `queue or Queue(1)` does what it says."""
    assert bool(Queue(1)) is True
    assert len(Queue(1)) == 0


def test_nowait():
    """These never wait: the errors are those of the standard library."""
    items = Queue(1)
    with pytest.raises(queue.Empty, match="Queue 0/1"):
        items.get_nowait()
    items.put_nowait("a")
    with pytest.raises(queue.Full, match="Queue 1/1"):
        items.put_nowait("b")
    run_until_quiet()
    assert items.get_nowait() == "a"
    log = []
    recorder(log, items.get)
    items.put_nowait("handed over")
    run_until_quiet()
    assert log == ["handed over"]
    assert items.empty()


def test_get_nowait_admits_who_waits():
    """An item that another one wants to put is in the queue when get_nowait returns."""
    items, log = filled(1, "a"), []
    recorder(log, items.put, "b")
    assert items.get_nowait() == "a"
    assert (log, items.get_nowait()) == ([], "b")
    run_until_quiet()
    assert log == [True]


# -- waiting ----------------------------------------------------------------------------------------------------------


def test_an_item_is_handed_over_at_once():
    """Nothing else can take the item, although the waiter runs later; the item was never in the queue."""
    items, log = Queue(1), []
    getting = recorder(log, items.get)
    run_until_quiet()
    assert (getting.status, log) == ("suspended", [])
    assert items.put("item") is True
    assert (log, getting.status, len(items)) == ([], "suspended", 0)
    run_until_quiet()
    assert (log, getting.status) == (["item"], "dead")


def test_a_full_queue_makes_producers_wait():
    """Their items come in as soon as there is room, in the order of their calls."""
    items, log = filled(2, 1, 2), []
    for number in (3, 4, 5):
        recorder(log, items.put, number)
    run_until_quiet()
    assert (log, len(items)) == ([], 2)
    assert items.get() == 1
    run_until_quiet()
    assert (log, len(items)) == ([True], 2)
    assert [items.get() for _ in range(4)] == [2, 3, 4, 5]
    run_until_quiet()
    assert log == [True] * 3
    assert items.empty()


def test_consumers_are_served_in_the_order_of_their_calls():
    """B31: also those that come again and again stand at the end of the line each time."""
    items, log = Queue(1), []

    def consumer(name):
        while True:
            log.append((name, items.get()))

    made = [start(consumer, name) for name in "abc"]
    for number in range(7):
        items.put(number)
        run_until_quiet()
    assert log == [("a", 0), ("b", 1), ("c", 2), ("a", 3), ("b", 4), ("c", 5), ("a", 6)]
    for one in made:
        one.close()


def test_no_one_takes_what_others_were_given():
    """B30: a hundred items are put and asked for again in one step; they belong to those who waited."""
    items, log = Queue(0), []
    for _ in range(100):
        recorder(log, items.get)
    for number in range(100):
        items.put(number)
        with pytest.raises(queue.Empty):
            items.get_nowait()
    run_until_quiet()
    assert log == list(range(100))


def test_ping_pong():
    """Two coroutines pass each other one item, within calls of each other."""
    there, back, log = Queue(1), Queue(1), []

    def player(source, target, count):
        for _ in range(count):
            number = source.get()
            log.append(number)
            target.put(number + 1)

    start(player, there, back, 500)
    start(player, back, there, 500)
    there.put(0)
    system.run()  # after some calls they let others run
    assert log == list(range(1000))
    assert take_all(there) == [1000]


def test_the_main_program_waits(clock):
    """The loop runs until the item is there; without anybody who could put it, that is a deadlock."""
    items = Queue(1)
    spawn.call(lambda: (system.suspend(1), items.put("late")))
    assert items.get() == "late"
    with pytest.raises(errors.Deadlock, match=r"main .* queue <Queue 0/1, 1 getting at test_queue.py:\d+> get"):
        items.get()
    items.put("x")
    with pytest.raises(errors.Deadlock, match=r"main .* queue <Queue 1/1, 1 putting at test_queue.py:\d+> put"):
        items.put("y")
    assert take_all(items) == ["x"]


def test_a_greenlet_of_another_waits(hub):
    """It drives the loop, as the main program does."""
    items, log = Queue(1), []
    hub.call_threadsafe(items.put_nowait, "item")
    with hub.external_source():
        greenlet(lambda: log.append(items.get())).switch()
    run_until_quiet()
    assert log == ["item"]
    recorder(log, items.get)
    greenlet(items.put).switch("from outside")
    run_until_quiet()
    assert log == ["item", "from outside"]


def test_the_hub_can_put_but_not_wait(hub):
    """A callback in the hub hands items over; what would have to wait raises."""
    items, log = Queue(1), []

    def in_the_hub():
        items.put("first")
        items.put("second")
        for wait in (lambda: items.put("third"), Queue(1).get):
            with pytest.raises(errors.NotYieldable):
                wait()
        log.append("done")

    recorder(log, items.get)
    hub.call_threadsafe(in_the_hub)
    system.run("step")
    run_until_quiet()
    assert log == ["done", "first"]
    assert repr(items).startswith("<Queue 1/1 at")


# -- the end of waits -------------------------------------------------------------------------------------------------


@each_way_out
def test_a_cancelled_get_takes_no_item(how):
    """An explicit resume ends it, too, and get returns what that brings; the next one in line gets the item."""
    items, log = Queue(1), []

    def body():
        try:
            log.append(items.get())
        except Trouble:
            log.append("trouble")

    waiting = start(body)
    recorder(log, items.get)
    cancel(waiting, how)
    run_until_quiet()
    assert log == {"resume": ["given"], "throw": ["trouble"], "close": []}[how]
    log.clear()
    items.put("item")
    run_until_quiet()
    assert log == ["item"]
    items.put("left")
    run_until_quiet()
    assert take_all(items) == ["left"]


@each_way_out
def test_a_cancelled_put_leaves_no_item(how):
    """An explicit resume ends it, too, and put returns what that brings; the next one in line is admitted."""
    items, log = filled(1, "first"), []

    def body():
        try:
            log.append(items.put("cancelled"))
        except Trouble:
            log.append("trouble")

    waiting = start(body)
    recorder(log, items.put, "next")
    cancel(waiting, how)
    run_until_quiet()
    assert log == {"resume": ["given"], "throw": ["trouble"], "close": []}[how]
    log.clear()
    run_until_quiet()
    assert [items.get(), items.get()] == ["first", "next"]
    run_until_quiet()
    assert (log, items.empty()) == ([True], True)


def test_timeouts(clock):
    """Timeout is raised when the time is up; the item is not put or taken later."""
    items, before = Queue(1), clock.time
    with pytest.raises(errors.Timeout):
        items.get(timeout=3)
    assert clock.time - before == 3e9
    items.put("a", timeout=3)
    with pytest.raises(errors.Timeout):
        items.put("b", timeout=3)
    assert items.get(timeout=0) == "a"
    with pytest.raises(errors.Timeout):
        items.get(timeout=0)
    spawn.call(lambda: (system.suspend(1), items.put("in time")))
    assert items.get(timeout=2) == "in time"
    assert items.empty()


def test_a_deadline_that_passes_later_does_no_harm(clock):
    """The timer of a wait that was served is gone."""
    items, log = Queue(1), []
    spawn.call(lambda: (log.append(items.get(timeout=1)), system.suspend(5), log.append("slept")))
    items.put("item")
    assert clock._timers.pending() == 1
    assert system.run() is False
    assert log == ["item", "slept"]


def test_timeouts_in_one_turn(clock):
    """B36: two deadlines pass in the same turn: the outer one cuts the wait, and only its block raises."""
    items, log = Queue(1), []

    def body():
        try:
            with scopes.timeout(1) as outer:
                try:
                    items.get(timeout=1)
                except errors.Timeout:
                    log.append("the inner one")
        except errors.Timeout as error:
            log.append(error.scope is outer)

    spawn.call(body)
    assert system.run() is False
    assert log == [True]
    assert take_all(items) == []


def test_the_interrupt_of_a_producer(escaped):
    """It reaches the main program; the item that made room for the producer's reaches its caller."""
    items = filled(1, "first")

    def producer():
        items.put("second")
        raise KeyboardInterrupt

    start(producer)
    assert items.get() == "first"
    with pytest.raises(KeyboardInterrupt):
        run_until_quiet()
    assert take_all(items) == ["second"]
    assert escaped == []


def test_the_error_of_a_consumer(escaped):
    """It goes to the excepthook: the one that puts has nothing to do with it."""
    items = Queue(1)

    def consumer():
        items.get()
        raise Trouble

    waiting = start(consumer)
    assert items.put("item") is True
    run_until_quiet()
    assert [(one, type(error)) for one, error in escaped] == [(waiting, Trouble)]
    escaped.clear()


# -- closing ----------------------------------------------------------------------------------------------------------


def test_what_is_in_a_closed_queue_can_be_got():
    """Then get raises Closed, again and again; put does at once."""
    items = filled(2, "a", "b")
    items.close()
    items.close()
    assert items.closed is True
    for put in (items.put, items.put_nowait):
        with pytest.raises(errors.Closed, match="Queue 2/2 closed") as caught:
            put("c")
        assert not caught.value.interrupted
    assert take_all(items) == ["a", "b"]
    for get in (items.get, items.get_nowait, items.get):
        with pytest.raises(ValueError, match="Queue 0/2 closed"):
            get()


def test_closing_ends_those_who_wait_for_items():
    """Closed says that it came in between."""
    items, log = Queue(1), []
    for _ in range(3):
        spawn.catch(log.append, items.get)
    items.close()
    run_until_quiet()
    assert [(type(error), error.interrupted) for error in log] == [(errors.Closed, True)] * 3


def test_closing_ends_those_who_wait_for_room():
    """Their items are not in the queue."""
    items, log = filled(1, "in"), []
    for _ in range(3):
        spawn.catch(log.append, items.put, "out")
    items.close()
    run_until_quiet()
    assert [(type(error), error.interrupted) for error in log] == [(errors.Closed, True)] * 3
    assert list(items) == ["in"]
    assert repr(items).startswith("<Queue 0/1 closed at")


@each_way_out
def test_cancelled_while_the_queue_closes(how):
    """The first who is told cancels the second, who has not been told yet: one end is enough."""
    items, log, made = Queue(1), [], []

    def first():
        with pytest.raises(errors.Closed):
            items.get()
        cancel(made[1], how)
        log.append("first")

    def second():
        try:
            log.append(items.get())
        except Trouble:
            log.append("trouble")

    made += [start(first), start(second)]
    items.close()
    run_until_quiet()
    assert log == {"resume": ["given"], "throw": ["trouble"], "close": []}[how] + ["first"]
    assert {one.status for one in made} == {"dead"}


def test_iteration_ends_with_the_queue():
    """Several consumers share the items; each of them ends when the queue is closed and empty."""
    items, log = Queue(1), []

    def consumer(name):
        log.extend((name, item) for item in items)
        log.append((name, "end"))

    start(consumer, "a")
    start(consumer, "b")
    with items as same:
        assert same is items
        for number in range(3):
            items.put(number)
            run_until_quiet()
        assert log == [("a", 0), ("b", 1), ("a", 2)]
    run_until_quiet()
    assert log[3:] == [("b", "end"), ("a", "end")]
    assert list(items) == []


def test_iteration_gets_what_is_left():
    """A queue that is closed already is like any finite iterable."""
    items = filled(0, 1, 2, 3)
    items.close()
    assert list(items) == [1, 2, 3]
    assert list(items) == []


def test_closed_of_another_queue_does_not_end_an_iteration():
    """Only the end of this queue is the end of the loop."""
    items, log = Queue(1), []

    def body():
        try:
            for _ in items:
                pass
        except errors.Closed as error:
            log.append(str(error))

    start(body).throw(errors.Closed("another"))
    assert log == ["another"]
    assert not items.closed


def test_a_block_that_fails_closes_the_queue():
    """So that consumers do not wait for a producer who has given up."""
    log = []
    items = Queue(1)

    def producer():
        with items:
            raise Trouble

    spawn.catch(log.append, items.get)
    with pytest.raises(Trouble):
        producer()
    run_until_quiet()
    assert items.closed
    assert [type(error) for error in log] == [errors.Closed]


# -- where it belongs -------------------------------------------------------------------------------------------------


def test_another_thread():
    """B33: it gets an error instead of a queue that breaks; nothing happens to the queue."""
    items, log = filled(2, "a"), []
    calls = [items.get, items.get_nowait, items.close, lambda: items.put("b"), lambda: items.put_nowait("b")]
    calls += [lambda: next(items), lambda: items.get(timeout=1), lambda: Queue(1).put("mine")]

    def in_a_thread():
        for call in calls:
            try:
                log.append(call())
            except errors.ForeignThread as error:
                log.append(type(error))
        log.append(repr(items))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert log[:-1] == [errors.ForeignThread] * 7 + [True]
    assert log[-1].startswith("<Queue 1/2 at")
    assert take_all(items) == ["a"]


def test_those_who_wait_are_collected_with_their_thread():
    """A consumer whose thread has ended is not kept by its queue; its `finally` blocks run."""
    log, watched = [], []

    def consumer(items):
        try:
            items.get()
        finally:
            log.append("finally")

    def in_a_thread():
        items = Queue(1)
        watched.append(ref(start(consumer, items)))
        watched.append(ref(items))

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    assert all(map(is_collected, watched))
    assert log == ["finally"]


def test_put_while_the_thread_ends():
    """Who is collected first may still put; the waiter for that is collected as well, and nothing fails."""
    log = []

    def consumer(items, name, other=None):
        try:
            items.get()
        finally:
            if other is not None:
                log.append((name, other.put("last words"), other.qsize()))
            log.append(name)

    def in_a_thread():
        first, second = Queue(1), Queue(1)
        start(consumer, first, "a", second)
        start(consumer, second, "b", first)

    thread = threading.Thread(target=in_a_thread)
    thread.start()
    thread.join()
    gc.collect()
    assert [one for one in log if isinstance(one, str)] == ["a", "b"]
    assert ("a", True, 0) in log


@pytest.mark.parametrize("then", [yield_, system.suspend, lambda: None], ids=["yields", "suspends", "ends"])
def test_items_are_collected(then):
    """A coroutine that has got or put an item does not keep it, and neither does the queue."""
    items = Queue(1)
    things = [Referent(), Referent(), Referent()]
    watched = [*map(ref, things)]

    def consumer():
        items.get()
        then()

    def producer():
        items.put(things.pop())
        then()

    made = [start(consumer)]
    items.put(things.pop())
    items.put(things.pop())
    made.append(start(producer))
    items.get()
    items.get()
    run_until_quiet()
    assert all(map(is_collected, watched))
    for one in made:
        one.close()


def test_a_consumer_that_goes_on_has_forgotten_the_queue():
    """What it waited for is not kept while it runs."""
    log = []

    def consumer(holder):
        log.append(holder.pop().get())
        log.append(running().waiting_on)
        log.append(is_collected(watched))

    holder = [Queue(1)]
    watched = ref(holder[0])
    start(consumer, holder)
    watched().put("item")
    run_until_quiet()
    assert log == ["item", None, False]  # the hub has it
    assert is_collected(watched)


def test_representations():
    """How many items, of how many, who waits, and where it was made."""
    items = Queue(2)
    made = recorder([], items.get)
    assert repr(items).startswith("<Queue 0/2, 1 getting at test_queue.py:")
    assert str(made.waiting_on) == f"queue {items!r} get"
    assert made.waiting_on.owner is None
    assert repr(made) == f"<Coroutine recorder.<locals>.body suspended on queue {items!r} get>"
    items.put("a")
    assert repr(Queue(0)).startswith("<Queue 0/unlimited at test_queue.py:")
    items.close()
    assert repr(items).startswith("<Queue 0/2 closed at test_queue.py:")
