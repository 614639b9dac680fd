"""The micro benchmarks by name, and how a function becomes a figure.

A contender (a file in the folder `contenders`) implements a benchmark by decorating a function with it:

    @suite.SPAWN
    def spawn_to_end(count: int) -> None: ...

The function does `count` operations. The figure is what the benchmark's meter gained meanwhile, divided by `count`.
What the function returns stays alive until the meter is read. A new benchmark is one definition here, and one function
in each contender that knows such a thing.
"""

import gc
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from time import perf_counter, process_time
from typing import Any, TypeVar

from benchmarks.common import resident

Meter = Callable[[], float]
Function = TypeVar("Function", bound=Callable[[int], Any])

CONTENDERS = ("coutil", "gevent", "asyncio", "uvloop", "trio", "curio")  # each a module, and a file in `contenders`
FEW = 4  # coroutines that want the same lock
MANY = 1000  # coroutines that take turns, that make a crowd, or that are the children of one scope
FOREVER = 1000.0  # seconds that a parked coroutine means to sleep
LONGEST = 0.1  # seconds that a timer runs at most
SETTLE = 1.0  # seconds in which all coroutines that were started come to rest
STEP = 10 * MANY  # operations: the first guess, and what counts are multiples of
TARGET = 0.5  # seconds that a benchmark without fixed count shall take


@dataclass(eq=False)
class Benchmark:
    """One thing to measure, in `unit`s per operation, which are the meter's gain times `scale`."""

    name: str
    title: str
    unit: str = "µs"
    scale: float = 1e6
    meter: Meter = perf_counter
    count: int | None = None  # how many operations; None: as many as fill TARGET
    crowd: bool = False  # what 0 operations cost, for they need the crowd, too, is no part of the figure
    function: Callable[[int], Any] | None = None

    def __call__(self, function: Function) -> Function:
        """Let a contender's function implement this benchmark."""
        self.function = function
        return function


# Each contender looks its function up once, before the loop: it is the call that is measured, not the module.
# With nobody else ready a contender may return at once. Ours does, mostly: no switch, no poll. Its peers do a turn of
# their loop. So this is what a program pays, and no round trip; PAIR is the smallest case in which all must switch.
SUSPEND = Benchmark("suspend", "suspend() with nobody else ready")
PAIR = Benchmark("pair", "suspend(), 2 coroutines in turn")
TURNS = Benchmark("turns", f"suspend(), {MANY:,} coroutines in turn")
SPAWN = Benchmark("spawn", "spawn to end")
RESUME = Benchmark("resume", "explicit resume and yield")

# One waits again and again, for an event or for something that is not lost if nobody waits for it; another one emits.
# Ours runs the waiter until it waits again, and comes back. With the others it is only scheduled, so that the emitter
# has to give way after each emission: else it would resume the waiter once for all of them.
EMIT = Benchmark("emit", "event, emit to resume")
EMIT_CROWD = Benchmark("emit-crowd", f"event, while {MANY:,} wait for others", crowd=True)
QUEUED = Benchmark("queued", "queued, emit to resume")
QUEUED_CROWD = Benchmark("queued-crowd", f"queued, while {MANY:,} wait for others", crowd=True)

# Each locks, suspends, unlocks and suspends. Without the first one nobody would ever find the lock taken; without the
# second one gevent's lock would never change hands, since it goes to whoever comes first, and not to who waits.
MUTEX = Benchmark("mutex", f"lock, unlock and 2 suspend(), {FEW} in turn")

QUEUE = Benchmark("queue", "ping-pong over 2 queues of size 1, a hop")

# Ours runs a child up to its first suspension at once, the others through their scheduler: so it has no switch to the
# hub in the first case, and one for each child in the second.
SCOPE = Benchmark("scope", f"scope of {MANY:,}, a child that ends at once")
SCOPE_SUSPEND = Benchmark("scope-suspend", f"scope of {MANY:,}, a child that suspends")

TIMERS = Benchmark("timers", "start and end of a sleeping coroutine, CPU", meter=process_time, count=100_000)

# coutil.uv beside call_later. Ours makes each timer once, as libuv has it, and starts it again and again; call_later
# makes a new one each time.
HANDLER = Benchmark("handler", "handler timer, start and fire, CPU", meter=process_time, count=100_000)
HANDLER_STOP = Benchmark("handler-stop", "handler timer, start and stop, CPU", meter=process_time, count=100_000)

PARKED = Benchmark("parked", "memory per parked coroutine", "KiB", 1 / 1024, resident, 10_000)
IDLE = Benchmark("idle", "memory per idle connection", "KiB", 1 / 1024, count=10_000)  # implemented in idle.py

BENCHMARKS = {each.name: each for each in list(globals().values()) if isinstance(each, Benchmark)}


def delays(count: int) -> list[float]:
    """Return short random times, the same for each contender."""
    random = Random(count).random
    return [LONGEST * random() for _ in range(count)]


def metered(meter: Meter, function: Callable[[int], Any], count: int) -> float:
    """Return what the meter gains while `function` does `count` operations. Blocking contenders use this one."""
    gc.collect()
    before = meter()
    kept = function(count)
    gain = meter() - before
    del kept
    return gain


async def awaited(meter: Meter, function: Callable[[int], Awaitable[object]], count: int) -> float:
    """Do what `metered` does, inside an event loop, whose own life is not measured."""
    gc.collect()
    before = meter()
    kept = await function(count)
    gain = meter() - before
    del kept
    return gain


def calibrated(gain: Callable[[int], float]) -> int:
    """Return how many operations fill TARGET, by trying ever more of them."""
    count = STEP
    while (seconds := gain(count)) < TARGET / 10:
        count *= 4
    return max(1, round(count * TARGET / seconds / STEP)) * STEP
