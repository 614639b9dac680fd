"""A signal, or a finalizer, that comes at a boundary of our choice between two bytecodes of the package's own code.

The interpreter runs a signal handler at the next place where it looks for signals: at the beginning of a function,
after a call, and when a loop goes round. So a signal that arrives just before one of these stands for every signal that
has arrived since the place before it, and all boundaries together are all moments at which a signal can arrive.
Finalizers run where something is released, or made, which may start the collector.

`at_every_boundary` has the contract of `moments.at_every_moment`, which looks at calls only.
"""

from __future__ import annotations

import dis
import os
import signal
import sys
from _thread import interrupt_main
from collections import Counter
from collections.abc import Callable
from threading import Thread
from types import CodeType, FrameType
from typing import Any

import greenlet

from coutil import spawn, system

LOOKING = ("CALL", "JUMP_BACKWARD", "RESUME", "FOR_ITER_GEN", "SEND")  # beginnings of the names of bytecodes that look
MAKING = ("CALL", "BUILD", "MAKE", "GET_ITER", "FOR_ITER", "BINARY_OP", "JUMP_BACKWARD")
RELEASING = ("DELETE", "POP_TOP", "RETURN")
SIGNAL = signal.SIGUSR1
_STANDARD = os.path.dirname(os.__file__) + os.sep
_UNSEEN = {"coutil._coroutines.states"}  # checks of the state machines, which programs do without
_offsets: dict[tuple[CodeType, bool], frozenset[int]] = {}
_depth = 40  # frames that began before we trace, and are looked for below one that is switched to

Action = Callable[[], object]
Program = Callable[[], object]
Boundary = tuple[int, int, int]  # identity of the code, offset of the bytecode, how often it came there before
Make = Callable[[], tuple[Program, Action, Callable[[int], object]]]


class _Trip:
    """Makes a signal arrive, by a bytecode after which the interpreter does not look: a subscription."""

    __getitem__ = interrupt_main


class _Garbage:
    """Runs a finalizer when it is forgotten."""

    def __init__(self, action: Action) -> None:
        self.action = action

    def __del__(self) -> None:
        self.action()


class Arrival:
    """A signal that arrives, or a finalizer that runs, at one boundary of a program."""

    def __init__(
        self, action: Action, boundary: Boundary | None = None, finalizer: bool = False, again: int | None = None
    ) -> None:
        """action: done by the handler of the signal or the finalizer. boundary: None: at none, they are only noted.

        again: how many boundaries later a second signal arrives; None: never.
        """
        self.action, self.boundary, self.finalizer, self.again = action, boundary, finalizer, again
        self.left: int | None = None  # boundaries until the second signal, after the first one
        self.seen: dict[Boundary, str] = {}  # the boundaries that the program has come to, and where they are
        self.came = False  # whether the handler, or the finalizer, has begun
        self._times: Counter[tuple[int, int]] = Counter()
        self._events = self._bytecode  # one object, by which frames are known that we trace
        self._finalizing: FrameType | None = None  # what a handler raises in there is ignored by the interpreter
        self._handling = False  # the handler runs: of its calls none is traced
        self._called = False  # the event before this one was a call, whose callee looks in place of it

    # -- tracing

    def _start(self) -> None:
        greenlet.settrace(self._switched)
        _tracing[:] = [self]
        sys.settrace(_traced)
        if sys.version_info[:2] == (3, 12):  # a function can be traced only from its next call on, by any thread
            caller = Thread(target=lambda: (spawn.call(system.suspend), system.suspend()))
            caller.start()
            caller.join()

    @staticmethod
    def _stop() -> None:
        sys.settrace(None)
        greenlet.settrace(None)
        _tracing.clear()

    def _switched(self, event: str, _: object) -> None:
        """Trace the frames that a greenlet has had before; that we are called turns tracing on in it."""
        frame = sys._getframe().f_back  # None if the greenlet is about to begin, or has ended
        for _ in range(_depth):
            if frame is None:
                return
            if frame.f_trace is not self._events and _is_ours(frame):
                self._trace(frame)
            frame = frame.f_back

    def _trace(self, frame: FrameType) -> None:
        frame.f_trace, frame.f_trace_lines, frame.f_trace_opcodes = self._events, False, True

    def _begin(self, frame: FrameType, event: str, _: object) -> Any:
        """A function is called."""
        called, self._called = self._called, False
        if self._finalizing is not None or self._handling:
            return None
        if frame.f_code.co_name == "__del__" and not self.finalizer:
            self._finalizing = frame
            return self._finalized
        if not _is_ours(frame) and not (frame.f_code.co_filename.startswith(_STANDARD) and _is_traced(frame.f_back)):
            return None
        self._trace(frame)
        if called and not self.finalizer:
            return self._events
        return self._boundary(frame)

    def _finalized(self, frame: FrameType, event: str, _: object) -> Any:
        if event == "return":
            self._finalizing = None
        return self._finalized

    def _bytecode(self, frame: FrameType, event: str, _: object) -> Any:
        """A bytecode is about to be executed."""
        if event != "opcode":
            return self._events
        if frame.f_lasti not in _offsets_in(frame.f_code, self.finalizer):
            self._called = False
            return self._events
        self._called = True
        return self._boundary(frame)

    def _boundary(self, frame: FrameType) -> Any:
        code, offset = frame.f_code, frame.f_lasti
        times = self._times[id(code), offset]
        self._times[id(code), offset] = times + 1
        boundary = (id(code), offset, times)
        if boundary not in self.seen:
            self.seen[boundary] = f"{code.co_qualname} in {code.co_filename}:{frame.f_lineno}, time {times + 1}"
        if self.left is not None:
            self.left -= 1
            if self.left >= 0:
                return self._events
        elif boundary != self.boundary:
            return self._events
        elif self.again is not None:
            self.left = self.again  # the handler has the tracing go on
        self._stop()
        if self.finalizer:
            garbage = _Garbage(self._handle)
            del garbage
        else:
            _trip[SIGNAL]  # from here on nothing of ours looks for signals
        return None

    # -- the program

    def _handle(self, *_: object) -> None:
        again = self.left is not None and not self.came
        self.came = self._handling = True
        try:
            self.action()
        finally:
            self._handling = False
            if again:
                self._start()

    def during(self, program: Program) -> bool:
        """Run the program; return whether the boundary has come. What the handler raises comes out of it, mostly."""
        before = signal.signal(SIGNAL, self._handle)
        try:
            self._start()
            program()
        finally:
            self._stop()
            signal.signal(SIGNAL, before)
        return self.came


_trip: Any = _Trip()
_tracing: list[Arrival] = []  # the one whose program runs


def _traced(frame: FrameType, event: str, argument: object) -> Any:
    """Be the trace function, which lives for ever: a greenlet that begins uses it after it has been taken back."""
    return _tracing[0]._begin(frame, event, argument) if _tracing else None


def _is_ours(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module.startswith("coutil.") and module not in _UNSEEN


def _is_traced(frame: FrameType | None) -> bool:
    return frame is not None and frame.f_trace_opcodes


def _offsets_in(code: CodeType, finalizer: bool) -> frozenset[int]:
    """Return the offsets of the bytecodes of `code` that look for signals, or release something."""
    found = _offsets.get((code, finalizer))
    if found is None:
        names = MAKING + RELEASING if finalizer else LOOKING
        steps = [step.offset for step in dis.get_instructions(code) if step.opname.startswith(names)]
        found = _offsets[code, finalizer] = frozenset(steps)
    return found


def at_every_boundary(
    make: Make, finalizer: bool = False, often: int = 1_000_000, skip: Callable[[str], bool] = lambda place: False
) -> list[str]:
    """Run programs, each with a signal or a finalizer at the next boundary; return where the boundaries were.

    make: returns a program, what the handler does, and what checks the outcome, which gets the number of the boundary.
    If the boundary did not come, the action is done after the program, as it is in a first run that only looks where
    the boundaries are. often: how often to try the same bytecode, at which the program comes again and again. skip:
    returns whether not to try a place, given its text without the number of times.
    """
    todo: dict[Boundary | None, str] = {None: "none"}
    done: dict[Boundary | None, str] = {}
    while todo:
        boundary = next(iter(todo))
        place = todo.pop(boundary)
        done[boundary] = place
        program, action, check = make()
        arrival = Arrival(action, boundary, finalizer)
        try:
            if not arrival.during(program):
                action()
            check(len(done))
        except BaseException as failure:
            failure.add_note(f"boundary {len(done)}, before {place}")
            raise
        fresh = {new: place for new, place in arrival.seen.items() if new not in done and new[2] < often}
        todo.update({new: place for new, place in fresh.items() if not skip(place.rpartition(", time ")[0])})
        del program, action, check
    return list(done.values())[1:]


def at_pairs_of_boundaries(make: Make, first: Callable[[str], bool], most: int) -> int:
    """Run programs, each with two signals: at a boundary, and at one of the next `most` boundaries.

    first: returns whether to try a place, given its text, for the first signal. Everything else is as in
    `at_every_boundary`. Returns how many pairs there were.
    """
    program, action, check = make()
    looking = Arrival(action)
    looking.during(program)
    action()
    check(0)
    pairs = 0
    for boundary, place in looking.seen.items():
        if not first(place):
            continue
        for again in range(most):
            program, action, check = make()
            arrival = Arrival(action, boundary, again=again)
            arrival.during(program)
            try:
                check(pairs)
            except BaseException as failure:
                failure.add_note(f"first signal before {place}, second one {again} boundaries later")
                raise
            if arrival.left is not None and arrival.left >= 0:  # there was no second one
                break
            pairs += 1
    return pairs
