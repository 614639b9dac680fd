"""`Queue`."""

from __future__ import annotations

import sys
from collections import deque
from contextlib import suppress
from itertools import repeat
from queue import Empty, Full
from typing import Any, Generic, Self, TypeVar

from greenlet import getcurrent

from .._coroutines.coroutine import home, running
from .._coroutines.outcomes import Resumed
from .._coroutines.switching import rest_in_turn
from .._interpreter import get_ident
from .._kernel.operation import let_poll
from ..errors import Closed
from .turns import Line, Primitive, Rest, Turn, check_number, give_up, serve, wait, within

T = TypeVar("T")
LUCK = 1000  # calls that may succeed at once before others have their turn
_NOTHING: Any = object()  # no item


class _Get(Turn):
    """A call of `get` that waits; `item` is what it was given."""

    __slots__ = ("item",)
    item: Any
    verb = "get"

    __init__ = object.__init__  # one is made for each wait: the caller sets what it needs


class _Put(Turn):
    """A call of `put` that waits; it is done as soon as the `item` is in."""

    __slots__ = ("item",)
    verb = "put"

    def __init__(self, at: Queue[Any], item: Any) -> None:
        super().__init__(at)
        self.item = item


class Queue(Primitive, Generic[T]):
    """Items on their way from coroutines that put them to others that get them, in the order in which they were put.

    maxsize: how many items it takes before `put` waits (int); 0: any number, so that nothing holds producers back.
    Raises TypeError, ValueError (negative).

    Iterating gets one item after the other, and ends when the queue is closed and empty. As a context manager it is
    closed at the end of the block.
    """

    __slots__ = ("_closed", "_getting", "_items", "_limit", "_luck", "_putting")

    def __init__(self, maxsize: int) -> None:
        check_number("maxsize", maxsize, 0)
        super().__init__()
        self._limit = maxsize or sys.maxsize
        self._closed = False
        self._luck = repeat(True, LUCK)
        self._items: deque[T] = deque()
        self._getting: deque[_Get] = deque()  # is empty unless the queue is
        self._putting = Line()  # is empty unless the queue is full

    def put(self, item: T, *, timeout: float | None = None) -> Any:
        """Put an item in; wait as long as the queue is full.

        The item is given to the waiter that came first, if there is one, which the hub resumes.

        Returns True; or what an explicit resume brings, and then the item is not in the queue. Suspends if the queue is
        full, and now and then to let others run. Raises `Closed`, also if the queue is closed meanwhile, `Timeout` and
        `ForeignThread`; the item is not in the queue then. If a coroutine has got the item before the call is cut, the
        item has been put all the same.
        """
        for _ in self._luck:  # takes one, which a call of `any` would take longer for
            break
        else:
            try:
                self._let_others_run()
            except Resumed as resumed:
                return resumed.value
        if self._thread == get_ident() and not self._closed:
            if getting := self._getting:
                try:
                    turn = getting[0]  # as in _hand_over(), which would be one more call
                    del getting[0]
                except IndexError:
                    return self.put(item, timeout=timeout)
                turn.item, turn.done = item, True
                if (home := turn.home) is not None:  # else the waiter has not suspended yet and will look
                    if (hub := home.hub) is not None and not hub.polling:
                        hub.ready.append(turn)  # the last step: nothing looks for signals before it
                    else:
                        ready = home.pending if hub is None else hub.ready
                        ready += (turn,)
                        if hub is not None:
                            hub.rouse()
                return True
            if len(self._items) < self._limit:
                self._items.append(item)
                return True
        return self._put(item, timeout)

    def _hand_over(self, item: Any, done: bool = True) -> bool:
        """End the wait of the `get` that came first, with an item; return whether there is one. As `turns.serve`."""
        getting = self._getting
        try:
            turn = getting[0]
            del getting[0]
        except IndexError:  # a signal handler, or a finalizer, has put an item in since the caller looked
            return False
        turn.item, turn.done = item, done
        if (home := turn.home) is not None:
            hub = home.hub
            ready = home.pending if hub is None else hub.ready
            ready += (turn,)
            if hub is not None and hub.polling:
                hub.rouse()
        return True

    def _let_others_run(self) -> None:
        """Let everything that is ready run. Two coroutines that only serve each other starve nobody.

        The hub cannot wait, and a coroutine that is being collected must not.
        """
        self._check_thread()
        self._luck = repeat(True, LUCK)
        if getattr(getcurrent(), "coroutine", None) is not None:
            let_poll()

    def get(self, *, timeout: float | None = None) -> T:
        """Take the item that was put first; wait until there is one.

        Returns the item; or what an explicit resume brings, and then no item was taken. Suspends if the queue is empty,
        and now and then to let others run. Raises `Closed` if it is empty and closed, or is closed meanwhile, `Timeout`
        and `ForeignThread`.
        """
        for _ in self._luck:
            break
        else:
            try:
                self._let_others_run()
            except Resumed as resumed:
                return resumed.value  # type: ignore[no-any-return]  # as above
        if self._items and self._thread == get_ident():
            try:
                return self._take()
            except IndexError:  # a signal handler has taken the last one
                return self.get(timeout=timeout)
        if self._closed or self._thread != get_ident():
            self._check_open()
        turn = _Get()
        turn.at = self
        turn.item, turn.done, turn.home = _NOTHING, None, None
        try:
            self._getting.append(turn)
            if (self._items or self._closed) and turn.done is None:  # by a signal handler or a finalizer, just now
                self._cut(turn)
                return self.get(timeout=timeout)
            # as in wait(), which would be one more call
            waits = self._waits
            rest_in_turn(turn, waits, running) if timeout is None else within(timeout, wait, turn)
            if turn.item is _NOTHING:
                self._check_open(interrupted=True)
            return turn.item  # type: ignore[no-any-return]  # it was put as a T
        except BaseException as ended:
            try:
                self._cut(turn)
            except BaseException:  # of a second signal handler
                self._cut(turn)
                raise
            if isinstance(ended, Resumed):
                return ended.value  # type: ignore[no-any-return]  # what an explicit resume brought
            raise

    def _cut(self, turn: _Get) -> None:
        """End a wait for an item that was cut; put back what was got. May be repeated."""
        give_up(turn)
        if turn.item is not _NOTHING:
            if not self._hand_over(turn.item):
                item, turn.item = turn.item, _NOTHING
                self._items.appendleft(item)
            turn.item = _NOTHING
        else:
            with suppress(ValueError):  # it is not in the line any more
                self._getting.remove(turn)

    def _take(self) -> T:
        """Return the first item, and admit the one who waits for its place, before: nothing looks for signals then.

        Raises IndexError.
        """
        items = self._items
        if self._putting and len(items) <= self._limit and (turn := serve(self._putting)) is not None:
            items += (turn.item,)
        item = items[0]
        del items[0]
        return item

    def put_nowait(self, item: T) -> None:
        """Put an item in. Never suspends; works anywhere. Raises `queue.Full`, `Closed` and `ForeignThread`."""
        self._check_open()
        if self.full():
            raise Full(f"{self!r} is full")
        if not (self._getting and self._hand_over(item)):
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
            return self._take()
        except IndexError:  # as in get()
            raise Empty(f"{self!r} is empty") from None

    def close(self) -> None:
        """Accept no more items. Those that are in the queue can still be got; who waits gets `Closed`.

        Closing again does nothing. Never suspends. Raises `ForeignThread`.
        """
        self._check_thread()
        if not self._closed:
            if self._getting or self._putting:
                home().enqueue(Rest(self._dismiss))
            self._closed = True  # since the hub knows of it nothing looks for signals
            self._dismiss()

    def _dismiss(self) -> None:
        """End the waits at a closed queue. May be repeated."""
        if self._closed:
            while self._hand_over(_NOTHING, False) or serve(self._putting, False) is not None:
                pass

    def __len__(self) -> int:
        """How many items are in the queue."""
        return len(self._items)

    def __bool__(self) -> bool:
        """True, also if the queue is empty."""
        return True

    def qsize(self) -> int:
        """Return how many items are in the queue."""
        return len(self._items)

    def empty(self) -> bool:
        """Return whether `get` would have to wait."""
        return not self._items

    def full(self) -> bool:
        """Return whether `put` would have to wait."""
        return len(self._items) >= self._limit

    @property
    def maxsize(self) -> int:
        """How many items there may be; 0: any number."""
        return 0 if self._limit == sys.maxsize else self._limit

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def __iter__(self) -> Queue[T]:
        """The queue itself."""
        return self

    def __next__(self) -> T:
        """As `get`, but the end is StopIteration."""
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
        """How many items there are, of how many, and who waits."""
        state = f"{len(self._items)}/{self.maxsize or 'unlimited'}{' closed' * self._closed}"
        if self._putting:
            return self._text(state, self._putting, "putting")
        return self._text(state, self._getting, "getting")

    def _check_open(self, interrupted: bool = False) -> None:
        self._check_thread()
        if self._closed:
            raise Closed(f"{self!r} is closed", interrupted)

    def _put(self, item: T, timeout: float | None) -> Any:
        """Wait until the item is admitted."""
        self._check_open()
        turn = _Put(self, item)
        try:
            self._putting[turn] = None
            if (self._closed or len(self._items) < self._limit) and turn.done is None:  # as in get()
                self._putting.pop(turn, None)
                return self.put(item, timeout=timeout)
            wait(turn) if timeout is None else within(timeout, wait, turn)
            if not turn.done:
                self._check_open(interrupted=True)
        except BaseException as ended:
            try:
                withdrawn = self._withdraw(turn)
            except BaseException:  # of a second signal handler
                self._withdraw(turn)
                raise
            if isinstance(ended, Resumed):
                return ended.value if withdrawn else True
            raise
        return True

    def _withdraw(self, turn: _Put) -> bool:
        """Take back the item of a call that was cut; return whether that was possible: no coroutine has got it.

        May be repeated.
        """
        give_up(turn)
        if turn in self._putting:
            del self._putting[turn]
        elif turn.done and not self._take_back(turn):
            return False
        self._admit()
        return True

    def _take_back(self, turn: _Put) -> bool:
        items = self._items
        try:
            for index in range(len(items) - 1, -1, -1):
                if items[index] is turn.item:  # from here on nothing looks for signals
                    del items[index]
                    turn.done = False
                    return True
        except IndexError:  # a signal handler has taken some
            pass
        return False

    def _admit(self) -> None:
        """Put the items of those who wait in, as long as there is room. May be repeated."""
        while len(self._items) < self._limit and (turn := serve(self._putting)) is not None:
            self._items += (turn.item,)
