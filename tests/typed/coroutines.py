"""Functions are checked against their arguments, and results have types."""

from typing import Any, assert_type

from coutil import coroutine, promise, spawn, sync
from coutil.coroutine import Coroutine
from coutil.promise import Promise
from coutil.scopes import Scope, Task, move_on_after, scope, timeout


def length(text: str, times: int = 1) -> int:
    return len(text) * times


class Account:
    def add(self, amount: float) -> float:
        return amount


def spawning() -> None:
    assert_type(spawn.call(length, "x"), Coroutine)
    spawn.call(length, "x", 2)
    spawn.call(length, "x", 2, name="counted")
    spawn.call(Account().add, 1.5)
    spawn.call(print)
    spawn.call(print, 1, "x")
    spawn.call(lambda: length("x", 3))
    spawn.call(length, 5)  # error: no text
    spawn.call(length)  # error: one is missing
    spawn.call(length, "x", 2, 3)  # error: one too many
    spawn.call(length, "x", name=3)  # error: no name
    spawn.call(Account().add, "much")  # error: no number
    spawn(length, "x")  # error: a module
    spawn.call(5)  # error: no function


def children() -> int:
    with scope() as here:
        assert_type(here, Scope)
        task = here.spawn(length, "x", 2, name="child")
        assert_type(task, Task[int])
        assert_type(here.spawn(Account().add, 1).result(), float)
        here.spawn(length, 5)  # error: no text
        here.spawn(length)  # error: one is missing
        return task.result()
    return 0


def deadlines() -> None:
    with timeout(5) as limit:
        assert_type(limit.expired, bool)
    with move_on_after("5"):  # error: no number
        pass


def promises() -> None:
    ready: Promise[int]
    ready, fulfill = promise.create()
    assert_type(ready(), int)
    assert_type(ready(True), bool)
    assert_type(fulfill(5), bool)
    other, _ = promise.create()
    assert_type(other(), Any)


def queues() -> None:
    items: sync.Queue[int] = sync.Queue(3)
    items.put("x")  # error: no int
    assert_type(items.get(), int)
    with items as same:
        assert_type(same, sync.Queue[int])


def coroutines() -> None:
    made = coroutine.create(length, name="x")
    assert_type(made.name, str)
    assert_type(made.status, str)
    coroutine.create("x")  # error: no function


def in_time() -> int:
    with timeout(5):
        return 1


def perhaps_in_time() -> int:  # error: the block may end before
    with move_on_after(5):
        return 1
