"""Functions in the thread pool, random bytes, waiting for nothing. After libuv's and luv's own tests."""

import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from textwrap import dedent
from weakref import ref

import pytest

from coutil import errors, promise, scopes, spawn, system, uv
from coutil.scopes import move_on_after, timeout
from tests.helpers.script import ROOT, output_of, run_script
from tests.helpers.values import recorder
from tests.uv.pool import POOL, busy_pool

several = pytest.mark.skipif(POOL < 2, reason="a job waits for another: with one thread it would wait for ever")


def run_in(loop, function, *arguments):
    """Have a coroutine of the loop call a function, and run the loop to its end; return the function's result."""
    results = []
    loop.call_threadsafe(spawn.call, lambda: results.append(function(*arguments)))
    loop.run("nowait")
    while not results:
        loop.run("once")
    loop.run()
    return results[0]


# -- queue_work -------------------------------------------------------------------------------------------------------


def test_work_simple(loop):
    """threadpool_queue_work_simple: in another thread, with arguments; the result comes back as it is."""
    here, given = threading.get_ident(), object()
    assert uv.queue_work(loop, threading.get_ident) != here
    assert loop.queue_work(lambda *args, **kwargs: (args, kwargs), given, 2, key=3) == ((given, 2), {"key": 3})
    assert loop.queue_work(lambda: given) is given
    assert loop.alive is False


def test_what_is_no_function(loop):
    """threadpool_queue_work_einval."""
    for wrong in (None, 3, "f"):
        with pytest.raises(TypeError, match="function "):
            loop.queue_work(wrong)
    with pytest.raises(TypeError, match=r"the first argument .*None"):
        uv.queue_work(None, print)
    with pytest.raises(TypeError, match="argument"):
        loop.queue_work(lambda: 0, 1)


def fails():
    """Raise something."""
    raise KeyError("from the pool")


def test_exceptions_travel(loop):
    """A waiter gets the exception itself, with the lines of the thread in its traceback."""
    with pytest.raises(KeyError, match="from the pool") as caught:
        loop.queue_work(fails)
    frames = [frame.name for frame in traceback.extract_tb(caught.value.__traceback__)]
    assert frames[-1] == "fails"
    assert "test_exceptions_travel" in frames
    assert "run" not in frames
    for kind in (SystemExit, KeyboardInterrupt, GeneratorExit):
        with pytest.raises(kind):
            loop.queue_work(kind_raiser, kind)


def kind_raiser(kind):
    """Raise an exception of a class."""
    raise kind


def test_nothing_is_kept(loop):
    """Function, arguments, result and exception go with their last user, without the collector."""

    class Thing:
        pass

    gc.collect()
    gc.disable()
    try:
        for function in (lambda thing: None, lambda thing: thing, lambda thing: [][thing is None]):
            thing = Thing()
            watch = ref(thing)
            try:
                loop.queue_work(function, thing)
            except IndexError as error:
                error.__traceback__ = None
            del thing
            assert watch() is None
    finally:
        gc.enable()


def test_context(loop):
    """The function sees the caller's context variables, and cannot change them."""
    variable = contextvars.ContextVar("variable", default=0)
    variable.set(5)

    def job():
        seen = variable.get()
        variable.set(6)
        return seen

    assert loop.queue_work(job) == 5
    assert variable.get() == 5


def test_thousand_jobs(loop):
    """One after the other, and all at once: every result comes once."""
    assert run_in(loop, lambda: sum(loop.queue_work(int, number) for number in range(1000))) == 499_500
    requests = [loop.queue_work_nowait(pow, number, 2) for number in range(300)]
    assert [request.result() for request in requests] == [number**2 for number in range(300)]


def test_other_coroutines_go_on(loop):
    """A call suspends only its coroutine."""
    order, end = [], threading.Event()

    def slow():
        order.append(loop.queue_work(end.wait, 10))

    def fast():
        loop.sleep(1)
        order.append("fast")
        end.set()

    for function in (slow, fast):
        loop.call_threadsafe(spawn.call, function)
    loop.run("nowait")
    loop.run()
    assert order == ["fast", True]


@several
def test_loops_in_the_pool(loop):
    """A job may wait in loops of its own thread, which end with the job; the caller's loop is another thread's."""

    def job():
        system.suspend(0.001)
        with uv.Loop() as own:
            found = own.queue_work(os.getpid), own.fs.stat("/").ino
        forgotten = uv.default_loop()
        with pytest.raises(errors.ForeignThread):
            loop.now()
        return found, forgotten

    found, forgotten = loop.queue_work(job)
    assert found == (os.getpid(), os.stat("/").st_ino)
    with pytest.raises(errors.Closed):
        forgotten.run()


def test_loops_in_the_pool_one_after_the_other(loop):
    """Each job has loops of its own, also in a thread of the pool in which an earlier job's have ended."""

    def job():
        with scopes.scope() as scope:
            scope.spawn(system.suspend, 0.0001)
        own = uv.default_loop()
        return system.suspend(0.0001), own.queue_work(int, "7") if POOL > 1 else 7, threading.get_ident()

    found = [loop.queue_work(job) for _ in range(5 * POOL)]
    assert [one[:2] for one in found] == [(True, 7)] * (5 * POOL)
    assert len({thread for _, _, thread in found}) <= POOL


def test_async_from_a_job(loop):
    """A job may send to a handle, and have functions called in the loop."""
    log = []
    with uv.Async(loop) as handle:
        handle.onasync = lambda one: (log.append("async"), one.close_soon())

        def job():
            handle.send()
            loop.call_threadsafe(log.append, "called")

        assert loop.queue_work(job) is None
        loop.run()
    assert sorted(log) == ["async", "called"]


def test_calls_come_before_the_result(loop):
    """What a job has the loop call is called before the job's result is returned, in its order."""
    for _ in range(300):
        log = []

        def job(log=log):
            for number in range(3):
                loop.call_threadsafe(log.append, number)

        loop.queue_work(job)
        assert log == [0, 1, 2]


def test_promises_come_before_the_result():
    """The waiters of a promise that a job fulfills go on before the job's own."""
    for _ in range(100):
        made, fulfill = promise.create()
        log = []
        recorder(log, made)
        uv.default_loop().queue_work(fulfill, "kept")
        assert log == ["kept"]


def test_calls_come_before_results_of_many():
    """So they do if several jobs end in one turn."""
    log, loop = [], uv.default_loop()

    def wait(number):
        def job():
            for part in range(3):
                loop.call_threadsafe(log.append, (number, part))
            return "result"

        log.append((number, loop.queue_work(job)))

    for number in range(100):
        recorder([], wait, number)
    system.run()
    for number in range(100):
        assert [part for one, part in log if one == number] == [0, 1, 2, "result"]


def test_a_call_that_fails(loop, escaped):
    """It is reported: the main program, which waits for something else, has not made it."""
    with scopes.scope() as scope:
        scope.spawn(system.suspend, 0.01)
        loop.queue_work(loop.call_threadsafe, int, "x")
    (coroutine, error), *rest = escaped
    assert (coroutine.name, type(error), rest) == ("call", ValueError, [])
    escaped.clear()
    loop.onerror = lambda error, handle: escaped.append((handle, str(error)))
    loop.queue_work(loop.call_threadsafe, int, "x")
    assert escaped == [(None, "invalid literal for int() with base 10: 'x'")]
    escaped.clear()
    loop.onerror = lambda error, handle: 1 / 0
    loop.queue_work(loop.call_threadsafe, int, "x")
    assert [type(error) for _, error in escaped] == [ZeroDivisionError]
    escaped.clear()


# -- giving up --------------------------------------------------------------------------------------------------------


def test_given_up_before_it_begins(loop):
    """threadpool_cancel_work: the function is never called."""
    called, log = [], []

    def wait():
        with pytest.raises(errors.Timeout), timeout(0.001):
            loop.queue_work(called.append, 1)
        log.append("cut")

    with busy_pool(loop):
        loop.call_threadsafe(spawn.call, wait)
        while not log:
            loop.run("once")
    loop.run()
    assert called == []


@pytest.mark.parametrize("fails_too", [False, True])
def test_given_up_while_it_runs(loop, fails_too, escaped):
    """The wait is over at once; the result is dropped later, an exception reported, with a note which job it was."""
    end, log = threading.Event(), []
    block = move_on_after(10)

    def job():
        loop.call_threadsafe(block.cancel)
        end.wait(10)
        if fails_too:
            fails()
        return ["dropped"]

    def wait():
        with block:
            loop.queue_work(job)
        log.append(block.expired)

    loop.call_threadsafe(spawn.call, wait)
    while not log:
        loop.run("once")
    assert (log, loop.alive) == ([False], True)
    end.set()
    loop.run()
    assert [(of, type(error)) for of, error in escaped] == [(None, KeyError)] * fails_too
    if fails_too:
        assert "job in the thread pool, for which no coroutine waits" in escaped[0][1].__notes__[0]
    escaped.clear()


def test_explicit_resume(loop):
    """The call returns what the resume brings."""
    end, log = threading.Event(), []

    def handler():
        waiting = spawn.call(lambda: log.append(loop.queue_work(end.wait, 10)))
        waiting.resume("brought")
        end.set()

    loop.call_threadsafe(handler)
    loop.run("nowait")
    loop.run()
    assert log == ["brought"]


def test_request_that_is_forgotten(loop, escaped):
    """The exception of a job that was not asked for is reported; a result is dropped."""
    loop.queue_work_nowait(fails)
    loop.queue_work_nowait(int)
    loop.run()
    gc.collect()
    assert [type(error) for _, error in escaped] == [KeyError]
    escaped.clear()


def test_close_by_force(loop):
    """Jobs that have begun are waited for, others are cancelled, and the waiter is told."""
    log, begun = [], threading.Semaphore(0)

    def job(seconds):
        begun.release()
        time.sleep(seconds)
        log.append("job")

    def wait():
        try:
            own.queue_work(log.append, "never")
        except errors.OperationCancelled as error:
            log.append(error.name)

    own = uv.Loop()
    requests = [own.queue_work_nowait(job, 0.3) for _ in range(POOL)]
    for _ in range(POOL):
        begun.acquire(timeout=10)
    own.call_threadsafe(spawn.call, wait)
    own.run("nowait")
    with pytest.raises(uv.UVError) as caught:
        own.close()
    assert caught.value.name == "EBUSY"
    own.close(force=True)
    assert log == ["ECANCELED"] + ["job"] * POOL
    assert [request.result() for request in requests] == [None] * POOL


# -- the end of the process -------------------------------------------------------------------------------------------


def test_exit_with_a_job_that_runs():
    """The process waits for it; what stands in line is never called; nothing is written to stderr."""
    lines = output_of(
        """
        import os, sys, time
        from coutil import uv
        loop = uv.Loop()
        def job(number):
            os.write(1, b"begin\\n")
            time.sleep(0.2)
            os.write(1, b"end\\n")
        for number in range(4 * int(os.environ.get("UV_THREADPOOL_SIZE", "4"))):
            loop.queue_work_nowait(job, number)
        time.sleep(0.1)
        print("exit", flush=True)
        """
    )
    assert lines == ["begin"] * POOL + ["exit"] + ["end"] * POOL


@pytest.mark.slow
def test_exit_in_every_way():
    """sys.exit, an exception, and a loop that waits in a coroutine for its job: the exit code stays."""
    for ending, code in (("sys.exit(5)", 5), ("1/0", 1), ("loop.queue_work(sys.exit, 7)", 7)):
        done = run_script(
            f"""
            import sys, time
            from coutil import spawn, uv
            loop = uv.default_loop()
            spawn.call(loop.queue_work, time.sleep, 0.1)
            loop.queue_work_nowait(time.sleep, 0.1)
            {ending}
            """
        )
        assert (done.returncode, done.stdout) == (code, "")
        assert ("Traceback" in done.stderr) == (code == 1)


def test_work_after_the_end():
    """What is asked for when the process ends is refused."""
    lines = output_of(
        """
        import atexit
        def late():
            try:
                uv.Loop().queue_work(print, "never")
            except errors.OperationCancelled as error:
                print(error.name, error.syscall)
        atexit.register(late)  # runs after the handlers that are registered later
        from coutil import errors, uv
        """,
        "-W",
        "ignore::ResourceWarning",
    )
    assert lines == ["ECANCELED uv_queue_work"]


@several
def test_fork_with_jobs():
    """B61: forks while jobs run, and inside a job: the child uses the pool, files and names, and ends by itself."""
    lines = output_of(
        """
        import os, sys, threading, time
        from coutil import uv
        loop, begun, end = uv.Loop(), threading.Event(), threading.Event()
        def use(who):
            with uv.Loop() as own:
                found = own.queue_work(len, "abc"), own.fs.access("/"), own.getaddrinfo("127.0.0.1", 80)[0][4]
            print(who, *found, uv.fs_access(None, "/"), flush=True)
        def job():
            begun.set()
            end.wait()
            return "done"
        def forks():
            pid = os.fork()
            if pid == 0:
                use("forked in a job")
                os._exit(3)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        request = loop.queue_work_nowait(job)
        begun.wait()
        pid = os.fork()
        if pid == 0:
            use("forked while a job runs")
            sys.exit(4)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
        print(loop.queue_work(forks), flush=True)
        end.set()
        print(request.result())
        loop.close()
        """
    )
    found = "3 True ('127.0.0.1', 80) True"
    assert lines == [f"forked while a job runs {found}", "4", f"forked in a job {found}", "3", "done"]


def test_interrupt_while_a_job_runs():
    """Ctrl-C ends the wait of the main program at once; the job ends before the process does."""
    program = """
        import time
        from coutil import uv
        loop = uv.Loop()
        def job():
            print("begin", flush=True)
            time.sleep(0.5)
            print("end", flush=True)
        try:
            loop.queue_work(job)
        except KeyboardInterrupt:
            print("interrupted", flush=True)
        """
    command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", dedent(program)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "begin\n"
        process.send_signal(signal.SIGINT)
        output, said = process.communicate(timeout=20)
    assert (output, said, process.returncode) == ("interrupted\nend\n", "", 0)


# -- random -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 42, 100_000])
def test_random(loop, size):
    """random_async, random_sync: so many bytes, others each time."""
    for call in (loop.random, uv.random, lambda size: loop.random_nowait(size).result()):
        first, second = call(size), call(size)
        assert isinstance(first, bytes)
        assert len(first) == len(second) == size
        assert first != second or size < 2


def test_random_sizes(loop):
    """What is no size; more than 2**31 - 1 is E2BIG, and takes no memory."""
    for call in (loop.random, uv.random, loop.random_nowait):
        with pytest.raises(ValueError, match="size "):
            call(-1)
        for wrong in (None, "1", 1.5, True):
            with pytest.raises(TypeError, match="size "):
                call(wrong)
        with pytest.raises(uv.UVError) as caught:
            call(2**31)
        assert (caught.value.name, caught.value.syscall) == ("E2BIG", "uv_random")


# -- sleep ------------------------------------------------------------------------------------------------------------


def test_sleep(loop):
    """Waits in the loop, so that handlers are called meanwhile; in the main program too."""
    log = []
    with uv.Timer(loop) as timer:
        timer.ontimeout = lambda one: log.append("timer")
        timer.start(1)
        begin = time.monotonic()
        assert loop.sleep(20) is True
        assert time.monotonic() - begin >= 0.02
        assert log == ["timer"]
    assert run_in(loop, loop.sleep, 0) is True
    for wrong, kind in ((-1, ValueError), (2**64, ValueError), (0.5, TypeError), (None, TypeError)):
        with pytest.raises(kind, match="milliseconds"):
            loop.sleep(wrong)
    loop.run()


def test_sleep_blocking(loop):
    """Stops everything: no handler is called meanwhile."""
    log = []
    with uv.Timer(loop) as timer:
        timer.ontimeout = log.append
        timer.start(1)
        begin = time.monotonic()
        assert uv.sleep_blocking(10) is None
        assert time.monotonic() - begin >= 0.01
        assert log == []
    for wrong, kind in ((-1, ValueError), (2**32, ValueError), (0.5, TypeError)):
        with pytest.raises(kind, match="milliseconds"):
            uv.sleep_blocking(wrong)
    loop.run()
