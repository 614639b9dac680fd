"""The end of threads and of the process while loops are open: exit code, output, no crash, no zombie, no delay."""

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from coutil import uv
from tests.helpers.script import output_of, run_script

BEGIN = """
import atexit, gc, os, signal, sys, threading, time
from coutil import coroutine, errors, event, spawn, system, uv

loop = uv.Loop()

def say(*words):
    os.write(1, (" ".join(map(str, words)) + chr(10)).encode())  # at once, whole lines

def once(handler, delay=0, where=None):
    timer = uv.Timer(where or loop)
    timer.ontimeout = handler
    timer.start(delay)
    return timer
"""


def ends(text, *options, timeout=20):
    """Run a script after BEGIN; return exit code, lines of output and what was written to stderr."""
    body = "\n".join(line[8:] if line.startswith("        ") else line for line in text.splitlines())
    done = run_script(BEGIN + body, *options, timeout=timeout)
    return done.returncode, done.stdout.splitlines(), done.stderr


UNFINISHED = {
    "nothing": "",
    "handles of every kind": """
        made = [uv.Timer(loop), uv.Idle(loop), uv.Prepare(loop), uv.Check(loop), uv.Async(loop), uv.Signal(loop)]
        uv.Async(loop).send()
        once(None).close_soon()
        thread = threading.Thread(target=loop.call_threadsafe, args=(say, "called"))
        thread.start(), thread.join()
        for _ in range(5): uv.Loop().close()
    """,
    "started handles": """
        timer, idle, prepare, check, watcher = uv.Timer(loop), uv.Idle(loop), uv.Prepare(loop), uv.Check(loop), None
        timer.start(0, 1), idle.start(), prepare.start(), check.start()
        watcher = uv.Signal(loop)
        watcher.start("SIGUSR1")
        loop.run("once")
        os.kill(os.getpid(), signal.SIGUSR1)
    """,
    "handlers that wait": """
        once(lambda timer: event.await_("never"))
        once(lambda timer: system.suspend(1000))
        once(lambda timer: [system.fileinfo(".") for _ in iter(int, 1)])
        loop.run("nowait"), loop.run("nowait")
    """,
    "children": """
        running, ended = uv.Process(loop, "sleep", ["0.1"]), uv.Process(loop, "true")
        uv.Process(loop, "sleep", ["0.1"]).close(force=True)
        time.sleep(0.02)
    """,
    "many loops": """
        loops = [uv.Loop() for _ in range(20)]
        timers = [once(None, 1000, one) for one in loops]
        cycle = [uv.Loop()]
        cycle.append(cycle)
        del cycle
        timer = once(lambda timer: None, 1000, uv.default_loop())
        uv.default_loop().run("nowait")
    """,
}


@pytest.mark.slow
@pytest.mark.parametrize("what", UNFINISHED)
def test_unfinished(what):
    """B20, B25: the program ends at once with its own exit code, whatever is open; no handler is called any more."""
    begin = time.monotonic()
    code, said, errors = ends(f"{UNFINISHED[what]}\nsay('end')\nsys.exit(3)\n")
    assert (code, said, errors) == (3, ["end"], "")
    assert time.monotonic() - begin < 5


LEAVING = {
    "sys.exit(5)": (5, ""),
    "os._exit(5)": (5, ""),
    "raise SystemExit('message')": (1, "message\n"),
    "raise KeyboardInterrupt": (-signal.SIGINT, "KeyboardInterrupt"),
    "raise ValueError('mine')": (1, "ValueError: mine"),
    "loop.onerror = lambda error, handle: sys.exit(5); raise ValueError": (5, ""),
    "event.await_('never')": (0, ""),
    "uv.kill(os.getpid(), 'SIGTERM')": (-signal.SIGTERM, ""),
}


@pytest.mark.slow
@pytest.mark.parametrize("statement", LEAVING)
def test_leaving_in_a_handler(statement):
    """Luv's test-loop: a handler may end the process; its exit code is exact, and nothing else is called."""
    expected, text = LEAVING[statement]
    code, said, errors = ends(f"""
def ontimeout(timer):
    say("called")
    {statement}

kept = once(ontimeout), once(lambda timer: say("later"), 50)
stopping = once(lambda timer: loop.stop(), 20)
loop.run()
""")
    assert (code, said) == (expected, ["called"])
    assert text in errors
    assert bool(text) is bool(errors)


@pytest.mark.slow
def test_a_process_that_never_runs_its_loop():
    """Luv's test-loop: a program that only makes things ends well, and so does one that closes everything."""
    code, said, errors = ends("""
        child = uv.Process(loop, "true")
        say("not run")
    """)
    assert (code, said, errors) == (0, ["not run"], "")
    code, said, errors = ends("""
        child = uv.Process(loop, "true")
        child.onexit = lambda child, status, number: say("exit", status, number)
        child.close()
        loop.close()
        say("closed")
    """)
    assert (code, said, errors) == (0, ["exit 0 0", "closed"], "")


def test_signal_after_the_end():
    """Luv's test-sigchld-after-lua_close: a signal that was watched arrives when the loop is gone: nothing crashes."""
    code, said, errors = ends("""
        child = uv.Process(loop, "sleep", ["0.02"])
        watcher = uv.Signal(loop)
        watcher.start("SIGUSR1")
        signal.signal(signal.SIGUSR2, lambda number, frame: say("mine", number))
        other = uv.Signal(loop)
        other.start("SIGUSR2")
        atexit.register(time.sleep, 0.05)  # runs after the loop was closed, if it was registered before
        loop.close(force=True)
        signal.raise_signal(signal.SIGUSR2)
        time.sleep(0.05)
        say("end")
        signal.raise_signal(signal.SIGCHLD)
    """)
    assert (code, said, errors) == (0, ["mine 12", "end"], "")


def test_atexit_handlers_use_the_loop():
    """What is registered after the first use runs before loops are closed: it may run the loop and close everything."""
    code, said, errors = ends("""
        def late():
            timer = once(lambda timer: say("fired"), 1)
            loop.run()
            timer.close()
            loop.close()
            say(loop)

        atexit.register(late)
    """)
    assert (code, said, errors) == (0, ["fired", "<Loop closed>"], "")


def test_calls_after_the_loops_were_closed():
    """B20: what runs later, at the very end, finds every loop closed, and is told so."""
    assert output_of("""
        import atexit

        def late():
            for call in (loop.run, timer.stop, wakeup.send, timer.close, child.wait, lambda: uv.Timer(loop)):
                try:
                    print(call())
                except errors.Closed:
                    print("Closed")

        atexit.register(late)  # before ours: it runs after that
        from coutil import errors, uv

        loop = uv.Loop()
        timer, wakeup, child = uv.Timer(loop), uv.Async(loop), uv.Process(loop, "true")
        timer.start(1000)
    """) == ["Closed", "Closed", "Closed", "True", "Closed", "Closed"]


def test_ends_without_a_zombie():
    """The children of a process that ended are no one's zombies, and those that run are left alone."""
    code, said, errors = ends("""
        child = uv.Process(loop, "sleep", ["0.2"])
        say(child.pid)
    """)
    assert (code, errors) == (0, "")
    os.kill(int(said[0]), 0)
    os.kill(int(said[0]), signal.SIGKILL)


@pytest.mark.slow
@pytest.mark.parametrize("dev", [False, True])
def test_two_loops_in_two_threads(dev):
    """Loops of threads end with their threads, open handles and waiting handlers and all; the main one goes on."""
    options = ("-X", "dev", "-W", "ignore::ResourceWarning") if dev else ()
    code, said, errors = ends(
        """
        def serve(number):
            mine = uv.Loop()
            kept = [uv.Timer(mine), uv.Async(mine), uv.Signal(mine), uv.Process(mine, "true")]
            kept[0].start(1000)
            kept[2].start("SIGUSR1")
            try:
                confused.start(1)
            except errors.ForeignThread as error:
                say("foreign")
            once(lambda timer: event.await_("never"), 0, mine)
            mine.run("nowait"), mine.run("nowait")

        confused = uv.Timer(loop)
        threads = [threading.Thread(target=serve, args=(number,)) for number in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        gc.collect()
        timer = once(lambda timer: say("main"))
        loop.run()
        say("end")
        """,
        *options,
    )
    assert (code, said) == (0, ["foreign", "foreign", "main", "end"])
    assert errors == ""


def test_daemon_threads_in_their_loops():
    """The process ends although daemon threads wait in loops of their own, or call handlers all the time."""
    begin = time.monotonic()
    code, said, errors = ends("""
        def serve(delay):
            mine = uv.Loop()
            timer = uv.Timer(mine)
            timer.ontimeout = lambda timer: None
            timer.start(delay, delay)
            running.release()
            mine.run()

        running = threading.Semaphore(0)
        for delay in (1, 100_000):
            threading.Thread(target=serve, args=(delay,), daemon=True).start()
        running.acquire(), running.acquire()
        time.sleep(0.02)
        say("end")
        sys.exit(4)
    """)
    assert (code, said, errors) == (4, ["end"], "")
    assert time.monotonic() - begin < 5


def test_short_threads_leave_nothing():
    """B13: threads that make loops and leave them open take all descriptors and handles with them."""

    def serve():
        loop = uv.Loop()
        timer = uv.Timer(loop)
        timer.start(1000)
        uv.Signal(loop).start("SIGUSR1")
        loop.run("nowait")

    def run(count):
        for _ in range(count):
            thread = threading.Thread(target=serve)
            thread.start()
            thread.join()
        return len(os.listdir("/proc/self/fd"))

    assert run(1) == run(10) == run(10)


# -- Ctrl-C, and handlers of Python


def test_interrupt_while_the_loop_waits():
    """KeyboardInterrupt leaves `run`, wherever the loop is; it can go on afterwards."""
    assert output_of("""
        import os, signal, threading, time
        from coutil import uv

        loop, log = uv.Loop(), []
        timer = uv.Timer(loop)
        timer.start(60_000)

        def interrupt():
            time.sleep(0.05)
            os.kill(os.getpid(), signal.SIGINT)

        for wait in (loop.run, lambda: loop.run("once"), uv.Process(loop, "sleep", ["1000"]).wait):
            threading.Thread(target=interrupt).start()
            try:
                wait()
            except KeyboardInterrupt:
                print("interrupted", loop.mode, loop.alive)
        timer.ontimeout = lambda timer: (print("fired"), loop.stop())
        timer.start(1)
        print(loop.run())
        [one.kill() for one in loop.walk() if one.type == "process"]
        loop.close(force=True)
    """) == ["interrupted None True"] * 3 + ["fired", "True"]


def test_interrupt_in_a_handler():
    """KeyboardInterrupt amid a handler leaves `run`; the handlers that were due are called when it goes on."""
    assert output_of("""
        import os, signal
        from coutil import uv

        loop, log = uv.Loop(), []

        def ontimeout(timer):
            log.append("begin")
            if len(log) == 1:
                os.kill(os.getpid(), signal.SIGINT)
                for _ in range(10**7): pass
            log.append("end")

        timers = [uv.Timer(loop) for _ in range(3)]
        for timer in timers:
            timer.ontimeout = ontimeout
            timer.start(0)
        try:
            loop.run()
        except KeyboardInterrupt:
            log.append("interrupted")
        print(loop.run())
        print(log.count("begin"), log.count("end"), log.count("interrupted"))
        for timer in timers: timer.close()
        loop.close()
    """) == ["False", "3 2 1"]


def test_interrupt_in_close():
    """KeyboardInterrupt while handles and loops are closed comes once, and all of it can be closed again."""
    assert output_of("""
        import signal
        from coutil import uv

        told = 0
        for number in range(100):
            loop = uv.Loop()
            signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))
            handles = [uv.Timer(loop), uv.Async(loop), uv.Signal(loop)]
            handles[2].start("SIGUSR1")
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.00001 * (number + 1))
                for one in handles: one.close()
                loop.close(force=True)
                while True: pass
            except KeyboardInterrupt:
                told += 1
            loop.close(force=True)
            assert repr(loop) == "<Loop closed>"
            assert all(one.closed for one in handles), handles
        print(told)
    """) == ["100"]


def test_latency_of_python_handlers():
    """A handler of Python runs although the loop waits for a minute: before anything else ends that wait."""
    loop, rung, in_time = uv.Loop(), threading.Event(), []
    before = signal.signal(signal.SIGTERM, lambda number, frame: rung.set())

    def send():
        time.sleep(0.2)  # the loop has looked at its settings, and will not again
        os.kill(os.getpid(), signal.SIGTERM)
        in_time.append(rung.wait(10))
        rung.clear()
        wakeup.send()

    with loop, uv.Timer(loop) as timer, uv.Async(loop) as wakeup:
        timer.start(60_000)
        for _ in range(3):
            thread = threading.Thread(target=send)
            thread.start()
            loop.run("once")
            thread.join()
            loop.run("nowait")
    signal.signal(signal.SIGTERM, before)
    assert in_time == [True] * 3


def test_handler_of_python_that_raises(loop):
    """What a handler of Python raises leaves `run`; nothing that was due is lost."""
    log = []

    def ring(number, frame):
        raise LookupError("rang")

    before = signal.signal(signal.SIGALRM, ring)
    with uv.Timer(loop) as timer, uv.Timer(loop) as other:
        timer.ontimeout = lambda one: signal.raise_signal(signal.SIGALRM)
        other.ontimeout = lambda one: log.append("other")
        timer.start(0)
        other.start(0)
        with pytest.raises(LookupError, match="rang"):
            loop.run()
        assert loop.run() is False
        assert log == ["other"]
    signal.signal(signal.SIGALRM, before)


def test_the_terminal_interrupts_all_at_once():
    """Ctrl-C goes to the whole group: the child ends by it, and the parent gets KeyboardInterrupt, once."""
    script = """
import os, sys
from coutil import uv
loop = uv.Loop()
child = uv.Process(loop, "sleep", ["1000"], stdio=[])
try:
    print("ready", flush=True)
    child.wait()
except KeyboardInterrupt:
    print("interrupted", child.wait(), flush=True)
child.close()
loop.close()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, start_new_session=True, bufsize=1
    )
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=10)
    assert (said, process.returncode) == ("interrupted (0, 2)\n", 0)
