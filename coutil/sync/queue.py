"""`Queue`: items passed from coroutines that put to coroutines that get.

`put` and `get` are the hot path: to save calls, some steps of `waiters.py` are written out in them, each with a note.
At most one of these is not empty: the getters (then there is no item), or the putters (then the queue is full).
"""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from itertools import repeat
from queue import Empty, Full
from typing import Any, Generic, Self, TypeVar

from greenlet import getcurrent

from .._coroutines import Resumed, current_context, park_registered, running
from .._interpreter import get_ident
from .._kernel import Callback, checkpoint
from ..errors import Closed
from .waiters import (
    Primitive,
    Waiter,
    WaitQueue,
    abandon_wait,
    check_integer,
    grant_first,
    wait,
    wait_with_timeout,
)

T = TypeVar("T")
QUEUE_BUDGET = 1000  # calls that may succeed at once before the other coroutines run
_NOTHING: Any = object()  # no item


class _GetWaiter(Waiter):
    """One call of `get` that waits; `item` is the item that was granted to it."""

    __slots__ = ("item",)
    item: Any
    verb = "get"

    __init__ = object.__init__  # one is made per wait: the caller sets the attributes that it needs


class _PutWaiter(Waiter):
    """One call of `put` that waits; it is granted when `item` has entered the queue."""

    __slots__ = ("item",)
    verb = "put"

    def __init__(self, primitive: Queue[Any], item: Any) -> None:
        super().__init__(primitive)
        self.item = item


class Queue(Primitive, Generic[T]):
    """A first-in, first-out queue between coroutines that put items and coroutines that get them.

    maxsize: the number of items at which `put` waits (int); 0: no limit, so nothing slows producers down. Raises
    TypeError, ValueError (negative).

    Iterating gets one item after the other, and ends when the queue is closed and empty. As a context manager it is
    closed at the end of the block.
    """

    __slots__ = ("_closed", "_coop_budget", "_getters", "_items", "_limit", "_putters")

    def __init__(self, maxsize: int) -> None:
        check_integer("maxsize", maxsize, 0)
        super().__init__()
        self._limit = maxsize or sys.maxsize
        self._closed = False
        self._coop_budget = repeat(True, QUEUE_BUDGET)
        self._items: deque[T] = deque()
        self._getters: deque[_GetWaiter] = deque()  # empty unless the queue is empty
        self._putters = WaitQueue()  # empty unless the queue is full

    def put(self, item: T, *, timeout: float | None = None) -> Any:
        """Put an item in; wait as long as the queue is full.

        The item is granted to the longest waiter, if there is one, and the hub resumes that waiter.

        Returns True; or the value of an explicit resume, and then the item is not in the queue. Suspends if the queue
        is full, and after many calls to let other coroutines run. Raises `Closed`, also if the queue is closed during
        the wait, `Timeout` and `ForeignThread`; then the item is not in the queue. If a coroutine has got the item
        before the call is cancelled, the item counts as put.
        """
        for _ in self._coop_budget:  # takes one from the budget, faster than a call of next()
            break
        else:
            try:
                self._checkpoint()
            except Resumed as resumed:
                return resumed.value
        if self._thread == get_ident() and not self._closed:
            if getting := self._getters:
                # _give_to_getter(), written out to save a call
                try:
                    waiter = getting[0]
                    del getting[0]
                except IndexError:
                    return self.put(item, timeout=timeout)
                waiter.item, waiter.granted = item, True
                if (context := waiter.context) is not None:  # else the waiter has not suspended yet and will check
                    if (hub := context.hub) is not None and not hub.polling:
                        hub.ready.append(waiter)  # the last step: no signal handler can run before it
                    else:
                        ready = context.pending_ready if hub is None else hub.ready
                        ready += (waiter,)
                        if hub is not None:
                            hub.interrupt_poll()
                return True
            if len(self._items) < self._limit:
                self._items.append(item)
                return True
        return self._put(item, timeout)

    def _give_to_getter(self, item: Any, done: bool = True) -> bool:
        """Grant an item to the longest waiting `get`; return whether there was one.

        done: False ends the wait without an item. The order of the steps is that of `waiters.grant_first`.
        """
        getting = self._getters
        try:
            waiter = getting[0]
            del getting[0]
        except IndexError:  # a signal handler or a finalizer has put an item in since the caller checked
            return False
        waiter.item, waiter.granted = item, done
        if (context := waiter.context) is not None:
            hub = context.hub
            ready = context.pending_ready if hub is None else hub.ready
            ready += (waiter,)
            if hub is not None and hub.polling:
                hub.interrupt_poll()
        return True

    def _checkpoint(self) -> None:
        """Let all ready coroutines run, so that two that only serve each other do not starve the others.

        The hub cannot wait, and a coroutine that is being collected must not.
        """
        self._check_thread()
        self._coop_budget = repeat(True, QUEUE_BUDGET)
        if getattr(getcurrent(), "coroutine", None) is not None:
            checkpoint()

    def get(self, *, timeout: float | None = None) -> T:
        """Take the item that was put first; wait until there is one.

        Returns the item; or the value of an explicit resume, and then no item was taken. Suspends if the queue is
        empty, and after many calls to let other coroutines run. Raises `Closed` if it is empty and closed, or is closed
        during the wait, `Timeout` and `ForeignThread`.
        """
        for _ in self._coop_budget:
            break
        else:
            try:
                self._checkpoint()
            except Resumed as resumed:
                return resumed.value  # type: ignore[no-any-return]  # the value of an explicit resume
        if self._items and self._thread == get_ident():
            try:
                return self._pop_item()
            except IndexError:  # a signal handler has taken the last one
                return self.get(timeout=timeout)
        if self._closed or self._thread != get_ident():
            self._check_open()
        waiter = _GetWaiter()
        waiter.primitive = self
        waiter.item, waiter.granted, waiter.context = _NOTHING, None, None
        try:
            self._getters.append(waiter)
            # Check again: a signal handler or a finalizer may have put an item in before the waiter was queued
            if (self._items or self._closed) and waiter.granted is None:
                self._cancel_wait(waiter)
                return self.get(timeout=timeout)
            # wait(), written out to save a call
            waits = self._waits
            park_registered(waiter, waits, running) if timeout is None else wait_with_timeout(timeout, wait, waiter)
            if waiter.item is _NOTHING:
                self._check_open(interrupted=True)
            return waiter.item  # type: ignore[no-any-return]  # it was put as a T
        except BaseException as error:
            try:
                self._cancel_wait(waiter)
            except BaseException:  # raised by a second signal handler
                self._cancel_wait(waiter)
                raise
            if isinstance(error, Resumed):
                return error.value  # type: ignore[no-any-return]  # the value of an explicit resume
            raise

    def _cancel_wait(self, waiter: _GetWaiter) -> None:
        """Undo a cancelled wait for an item; put an item that was granted back. May be repeated."""
        abandon_wait(waiter)
        if waiter.item is not _NOTHING:
            if not self._give_to_getter(waiter.item):
                item, waiter.item = waiter.item, _NOTHING
                self._items.appendleft(item)
            waiter.item = _NOTHING
        else:
            with suppress(ValueError):  # it has left the queue already
                self._getters.remove(waiter)

    def _pop_item(self) -> T:
        """Remove and return the first item; before that, admit the longest waiting `put`.

        In this order no signal handler can run between the two. Raises IndexError (there is no item).
        """
        items = self._items
        if self._putters and len(items) <= self._limit and (waiter := grant_first(self._putters)) is not None:
            items += (waiter.item,)
        item = items[0]
        del items[0]
        return item

    def put_nowait(self, item: T) -> None:
        """Put an item in. Never suspends; works anywhere. Raises `queue.Full`, `Closed` and `ForeignThread`."""
        self._check_open()
        if self.full():
            raise Full(f"{self!r} is full")
        if not (self._getters and self._give_to_getter(item)):
            self._items.append(item)

    def get_nowait(self) -> T:
        """Take the item that was put first, and return it. Never suspends; works anywhere.

        Raises `queue.Empty`, `Closed` if the queue is empty and closed, and `ForeignThread`.
        """
        if not self._items:
            self._check_open()
            raise Empty(f"{self!r} is empty")
        self._check_thread()
        try:
            return self._pop_item()
        except IndexError:  # as in get()
            raise Empty(f"{self!r} is empty") from None

    def close(self) -> None:
        """Accept no more items. Those in the queue can still be got; the waiters get `Closed`.

        Closing again does nothing. Never suspends. Raises `ForeignThread`.
        """
        self._check_thread()
        if not self._closed:
            if self._getters or self._putters:
                current_context().enqueue(Callback(self._end_waits))
            self._closed = True  # no signal handler can run between here and the entry in the ready queue
            self._end_waits()

    def _end_waits(self) -> None:
        """End all waits at a closed queue, without an item. May be repeated."""
        if self._closed:
            while self._give_to_getter(_NOTHING, False) or grant_first(self._putters, False) is not None:
                pass

    def __len__(self) -> int:
        """The number of items in the queue."""
        return len(self._items)

    def __bool__(self) -> bool:
        """Return True, also if the queue is empty."""
        return True

    def qsize(self) -> int:
        """Return the number of items in the queue."""
        return len(self._items)

    def empty(self) -> bool:
        """Return whether `get` would have to wait."""
        return not self._items

    def full(self) -> bool:
        """Return whether `put` would have to wait."""
        return len(self._items) >= self._limit

    @property
    def maxsize(self) -> int:
        """The number of items at which `put` waits; 0: no limit."""
        return 0 if self._limit == sys.maxsize else self._limit

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __iter__(self) -> Queue[T]:
        """The queue itself."""
        return self

    def __next__(self) -> T:
        """As `get`, but raise StopIteration when the queue is closed and empty."""
        try:
            return self.get()
        except Closed:
            if self._closed:
                raise StopIteration from None
            raise

    def __enter__(self) -> Self:
        """The queue itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the queue."""
        self.close()

    def __repr__(self) -> str:
        """Number of items, limit, state and number of waiters."""
        state = f"{len(self._items)}/{self.maxsize or 'unlimited'}{' closed' * self._closed}"
        if self._putters:
            return self._format_repr(state, self._putters, "putting")
        return self._format_repr(state, self._getters, "getting")

    def _check_open(self, interrupted: bool = False) -> None:
        self._check_thread()
        if self._closed:
            raise Closed(f"{self!r} is closed", interrupted)

    def _put(self, item: T, timeout: float | None) -> Any:
        """Put an item into a queue that is full, closed or of another thread: wait until it is admitted, or raise."""
        self._check_open()
        waiter = _PutWaiter(self, item)
        try:
            self._putters[waiter] = None
            # Check again, as in get()
            if (self._closed or len(self._items) < self._limit) and waiter.granted is None:
                self._putters.pop(waiter, None)
                return self.put(item, timeout=timeout)
            wait(waiter) if timeout is None else wait_with_timeout(timeout, wait, waiter)
            if not waiter.granted:
                self._check_open(interrupted=True)
        except BaseException as error:
            try:
                withdrawn = self._cancel_put(waiter)
            except BaseException:  # raised by a second signal handler
                self._cancel_put(waiter)
                raise
            if isinstance(error, Resumed):
                return error.value if withdrawn else True
            raise
        return True

    def _cancel_put(self, waiter: _PutWaiter) -> bool:
        """Take back the item of a cancelled `put`; return False if a coroutine has got it already.

        May be repeated.
        """
        abandon_wait(waiter)
        if waiter in self._putters:
            del self._putters[waiter]
        elif waiter.granted and not self._remove_item(waiter):
            return False
        self._complete_put()
        return True

    def _remove_item(self, waiter: _PutWaiter) -> bool:
        items = self._items
        try:
            for index in range(len(items) - 1, -1, -1):
                if items[index] is waiter.item:  # no signal handler can run between here and the return
                    del items[index]
                    waiter.granted = False
                    return True
        except IndexError:  # a signal handler has taken items
            pass
        return False

    def _complete_put(self) -> None:
        """Admit waiting items as long as there is room. May be repeated."""
        while len(self._items) < self._limit and (waiter := grant_first(self._putters)) is not None:
            self._items += (waiter.item,)
