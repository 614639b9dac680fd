"""Children that their parent talks to: streams, signals, waiting, and what becomes of them without a waiter."""

from __future__ import annotations

import errno
import gc
import itertools
import os
import signal
import sys
import threading
from contextlib import ExitStack

import pytest

from coutil import errors, scopes, spawn, system
from coutil.coroutine import create
from tests.helpers.forks import fork_and, outcome
from tests.helpers.sandbox import needs_pidfds
from tests.helpers.script import output_of, run_script
from tests.helpers.tcp import receive_all, receive_exactly
from tests.system.test_adoption import probe
from tests.system.test_execute import children, end

UPPER = "import sys\nfor line in sys.stdin: print(line.upper(), end='', flush=True)"


def reaped(hub, limit=500):
    """Turn the loop until every child of ours has been reaped."""
    for _ in range(limit):
        if not hub.in_flight():
            break
        system.suspend(0.001)
    assert (hub.in_flight(), children()) == (0, [])


@pytest.fixture
def sleeper(hub):
    """A child that sleeps; killed at the end, if it lives still."""
    child = system.start("sleep", "100")
    yield child
    if child.pid in children():
        child.kill("kill")
    child.wait()
    reaped(hub)


# -- talking


def test_conversation():
    """EXE-13: a program is talked to line by line, while other coroutines go on."""
    with system.start(sys.executable, "-c", UPPER, stdin="w", stdout="r") as child:
        for word in (b"one\n", b"two\n", b"three\n"):
            child.stdin.send(word)
            assert receive_exactly(child.stdout, len(word)) == word.upper()
        assert child.stderr is None
        child.stdin.shutdown()
        assert child.stdout.receive() == b""
    assert child.wait() == ("exit", 0)
    assert child.stdin.close() is True


def test_the_ends_of_pipes():
    """EXE-13: shutdown ends the program's input; its end is that of its output; all data come before."""
    with system.start("sh", "-c", "cat; echo done >&2", stdin="w", stdout="r", stderr="r") as child:
        spawn.call(lambda: (child.stdin.send(bytes(1 << 20)), child.stdin.shutdown()))
        assert len(receive_all(child.stdout)) == 1 << 20
        assert child.stdout.receive() == b""
        assert receive_all(child.stderr) == b"done\n"
        assert child.wait(timeout=10) == ("exit", 0)


@needs_pidfds
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_output_that_is_opened_again(name):
    """What a program writes to /dev/stdout or /dev/stderr comes through the pipe, as in any shell."""
    with system.start("sh", "-c", f"echo words > /dev/{name}", **{name: "r"}) as child:
        assert receive_all(getattr(child, name)) == b"words\n"


@needs_pidfds
def test_both_outputs_opened_again():
    """The same where the error output goes where the output goes."""
    script = "echo one > /dev/stdout; echo two > /dev/stderr; echo three >&2"
    with system.start("sh", "-c", script, stdout="r", stderr="stdout") as child:
        assert receive_all(child.stdout) == b"one\ntwo\nthree\n"


@needs_pidfds
def test_a_program_that_writes_for_ever():
    """It is ended by SIGPIPE when there is no reader left, as in a pipeline; an error would only make it complain."""
    with system.start("yes", stdout="r", stderr="r") as child:
        child.stdout.receive()
        child.stdout.close()
        assert receive_all(child.stderr) == b""
        assert child.wait() == ("brokenpipe", signal.SIGPIPE)


def test_output_after_the_end():
    """EXE-13: what a program wrote before it ended can be received after that."""
    child = system.start("echo", "words", stdout="r")
    assert child.wait() == ("exit", 0)
    with child.stdout as stdout:
        assert receive_all(stdout) == b"words\n"
        assert stdout.receive() == b""


def test_a_program_that_does_not_read(hub):
    """B42: 10 MB to a program that reads nothing: the sender waits, and gets EPIPE when the program is killed."""
    log = []

    def sends():
        try:
            child.stdin.send(bytes(10_000_000))
        except errors.UVError as error:
            log.append(error.name)

    with system.start("sleep", "100", stdin="w") as child:
        spawn.call(sends)
        assert system.suspend(0.001) is True
        assert log == []
        child.kill("kill")
        assert child.wait() == ("kill", 9)
        system.run()
        assert log == ["EPIPE"]
        with pytest.raises(BrokenPipeError):
            child.stdin.send(b"more")
    reaped(hub)


@pytest.mark.parametrize("script", ["cat", "cat; echo more"])
def test_what_comes_before_the_end(script):
    """EXE-13: the one that receives what a child wrote last, or learns that no more comes, does so before its end."""
    log = []
    child = system.start("sh", "-c", script, stdin="w", stdout="r")
    spawn.call(lambda: log.append(child.stdout.receive()))
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # so that one turn brings both
    log.append(child.wait())
    child.close()
    assert log == [b"more\n" if "more" in script else b"", ("exit", 0)]


OUT_AND_ERR = ("sh", "-c", "echo one; echo two >&2; echo three")


@pytest.mark.parametrize("letters", ["r", "rs"])
def test_errors_where_the_output_goes(letters):
    """Both come by one pipe, in the order in which they were written, and end together."""
    spec = system.ExecSpec(OUT_AND_ERR[0], OUT_AND_ERR[1:], stdout=letters, stderr="stdout")
    with system.start(spec) as child:
        assert list(child.stdout.lines()) == [b"one\n", b"two\n", b"three\n"]
        assert (child.stdin, child.stderr, spec.stdout, spec.stderr) == (None, None, child.stdout, "stdout")
        assert isinstance(child.stdout, system.SharePipe if "s" in letters else system.Pipe)
        with pytest.raises(BrokenPipeError):
            child.stdout.send(b"nobody reads")
    assert child.wait() == ("exit", 0)


def test_errors_where_the_output_goes_both_ways():
    """A pipe in both directions stays one."""
    with system.start("sh", "-c", "read line <&1; echo $line >&2", stdout="rw", stderr="stdout") as child:
        child.stdout.send(b"there and back\n")
        assert child.stdout.receive() == b"there and back\n"


def test_a_program_that_fails_to_start_leaves_no_pipe(hub):
    """Nor the descriptor that it would have had for both."""
    before = os.listdir("/proc/self/fd")
    with pytest.raises(FileNotFoundError):
        system.start("no such program", stdout="r", stderr="stdout")
    system.run("ready")
    assert os.listdir("/proc/self/fd") == before


def test_pipes_in_words():
    """EXE-13: reprs show which stream it is, who waits, and whether it is closed."""
    child = system.start("cat", stdin="w", stdout="r")
    waiting = spawn.call(child.stdout.receive)
    assert repr(child.stdout) == f"<Pipe stdout awaited by {waiting.name}>"
    assert repr(child) == f"<Process {child.pid} (cat) runs>"
    child.stdin.close()
    assert repr(child.stdin) == "<Pipe stdin closed>"
    assert child.wait() == ("exit", 0)
    assert repr(child) == f"<Process {child.pid} (cat) ended: 0>"
    child.close()


# -- waiting


def test_wait_again_and_again(sleeper):
    """EXE-3: the outcome is the same each time, also long after the end."""
    sleeper.kill()
    assert [sleeper.wait() for _ in range(3)] == [("terminate", 15)] * 3
    create(lambda: sleeper.wait(timeout=0)).resume()
    assert children() == []


def test_several_wait(sleeper, escaped):
    """EXE-3: any number may wait; the one that is resumed first may send others away, or fail."""
    log = []

    def first():
        log.append(sleeper.wait())
        made[2].resume("sent away")
        raise LookupError

    made = [spawn.call(first)]
    made += [spawn.call(lambda: log.append(sleeper.wait())) for _ in range(3)]
    spawn.call(lambda: (system.suspend(), sleeper.kill("kill")))
    assert system.run() is False
    assert log == [("kill", 9), "sent away", ("kill", 9), ("kill", 9)]
    assert [type(error) for _, error in escaped] == [LookupError]
    escaped.clear()


def test_timeout(sleeper):
    """EXE-19: wait(timeout) gives up after that time, and the program runs on; it can be waited for again."""
    begin = system.nanosecs()
    with pytest.raises(errors.Timeout):
        sleeper.wait(timeout=0.01)
    assert system.nanosecs() - begin >= 10_000_000
    assert children() == [sleeper.pid]
    for bad in ("1", True, [1]):
        with pytest.raises(TypeError):
            sleeper.wait(timeout=bad)
    sleeper.kill("kill")
    assert sleeper.wait(timeout=None) == ("kill", 9)
    assert sleeper.wait(timeout=1) == ("kill", 9)


def test_a_wait_keeps_the_loop_running(sleeper):
    """L-5, T-23: a child without a waiter does not; one with a waiter is shown in reports."""
    assert system.run() is False
    made = spawn.call(sleeper.wait)
    assert system.run("ready") is True
    assert str(made.waiting_on) == f"end of process {sleeper.pid} (sleep)"
    assert made.resume() is None
    assert system.run() is False


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
def test_cancelled(how, sleeper):
    """EXE-19: each way out leaves the process as it was; the next wait has its own end."""
    log = []

    def waits():
        try:
            log.append(sleeper.wait())
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    made = spawn.catch(lambda error: None, waits)
    {"resume": lambda: made.resume("given"), "throw": lambda: made.throw(LookupError), "close": made.close}[how]()
    assert log == [{"resume": "given", "throw": "LookupError", "close": "GreenletExit"}[how]]
    assert system.run() is False
    sleeper.kill("kill")
    assert sleeper.wait() == ("kill", 9)


# -- kill


def test_kill(sleeper):
    """EXE-15: by name, by number, or SIGTERM; 0 only asks; after the end it is ESRCH, even if the number is in use."""
    assert sleeper.kill(0) is True
    assert sleeper.kill("pause") is True
    assert sleeper.kill(signal.SIGCONT) is True
    assert sleeper.kill("userdef1") is True
    assert sleeper.wait() == ("userdef1", 10)
    for what in ("terminate", 9, 0):
        with pytest.raises(ProcessLookupError):
            sleeper.kill(what)


def test_kill_before_the_loop_knows(sleeper):
    """EXE-15: between the end of a child and the loop's next turn it is a zombie, whose number is not used again."""
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert sleeper.kill(0) is True
    assert sleeper.wait() == ("kill", 9)


def test_wrong_signals(sleeper):
    """EXE-15: names and numbers that are none."""
    for bad, kind in (
        (None, TypeError),
        (True, TypeError),
        (b"x", TypeError),
        ("TERM", ValueError),
        (-1, ValueError),
    ):
        with pytest.raises(kind):
            sleeper.kill(bad)
    with pytest.raises(errors.UVError) as invalid:
        sleeper.kill(200)
    assert invalid.value.name == "EINVAL"
    assert children() == [sleeper.pid]


# -- the block


def test_end_of_the_block(hub):
    """EXE-13: the pipes are closed and the end is waited for."""
    with system.start("sh", "-c", "read x", stdin="w", stdout="r") as child:
        assert child.stdin.send(b"x\n") is True
    assert child.wait(timeout=0) == ("exit", 0)
    for stream in (child.stdin, child.stdout):
        with pytest.raises(errors.Closed):
            stream.receive()
    reaped(hub)


def test_block_that_fails(hub):
    """T-23: if the block fails, or is cancelled, the program is killed, and reaped when the loop turns."""
    with pytest.raises(LookupError), system.start("sleep", "100", stdin="w") as child:
        raise LookupError
    with pytest.raises(errors.Closed):
        child.stdin.send(b"x")
    with pytest.raises(errors.Timeout), scopes.timeout(0.001), system.start("sleep", "100") as other:
        other.wait()
    assert child.wait() == other.wait() == ("kill", 9)
    with pytest.raises(LookupError), system.start("true") as ended:
        raise LookupError(ended.wait())
    reaped(hub)


def test_forgotten(hub):
    """T-23: a process without references runs on, its pipes are closed, and it leaves no zombie."""
    system.start("cat", stdin="w")  # ends when its input does
    pid = system.start("sleep", "100").pid
    gc.collect()
    assert len(children()) == 2
    while len(children()) > 1:
        system.suspend(0.001)
    assert children() == [pid]
    end([pid], hub)


def test_dev_mode_warns_of_forgotten_pipes():
    """T-23, D14: with -X dev a forgotten pipe is told of, as every other stream."""
    done = run_script("from coutil import system; system.start('cat', stdin='w'); system.suspend(0.01)", "-X", "dev")
    assert done.returncode == 0
    assert done.stderr.count("ResourceWarning: unclosed pipe stdin") == 1


# -- options


def test_detached():
    """EXE-1: a detached program leads a session of its own."""
    child = system.start("sleep", "100", detached=True)
    assert os.getsid(child.pid) == child.pid
    child.kill("kill")
    assert child.wait() == ("kill", 9)
    other = system.start("sleep", "100", detached=False)
    assert os.getsid(other.pid) == os.getsid(0)
    other.kill("kill")
    assert other.wait() == ("kill", 9)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may change its user")
def test_user_and_group():
    """EXE-1: numbers of another user and group, and the other groups are given up."""
    with system.start("sh", "-c", "id -u; id -g; id -G", stdout="r", user=12345, group=54321) as child:
        assert receive_all(child.stdout).split() == [b"12345", b"54321", b"54321"]
    assert child.wait() == ("exit", 0)
    for bad in (-1, 2**32 - 1):
        with pytest.raises(ValueError, match="out of range"):
            system.start("true", user=bad)


def test_a_spec_can_be_used_again():
    """EXE-13: `start` takes an ExecSpec too, and writes the pid and the pipes into it."""
    spec = system.ExecSpec("cat", stdin="w", stdout="r")
    with system.start(spec) as child:
        assert (spec.pid, spec.stdin, spec.stdout, spec.stderr) == (child.pid, child.stdin, child.stdout, None)
        assert spec.stdin is not None
    assert child.wait() == ("exit", 0)


# -- SIGCHLD, threads, fork, the end


@needs_pidfds
@pytest.mark.parametrize("first", ['system.start("sleep", "0.02")', 'uv.Process(uv.default_loop(), "sleep", ["0.02"])'])
def test_sigchld_is_ignored_and_another_child_ends_first(first):
    """B55: the system takes no status of ours, whatever else has watched SIGCHLD, and until when."""
    lines = output_of(
        f"""
        import signal
        from coutil import system, uv

        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        first = {first}
        second = system.start("sh", "-c", "read x; exit 7", stdin="w")
        print(*first.wait())
        first.close()
        second.stdin.send(b"go")
        second.close()
        print(*second.wait())
        print(signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN)
        """
    )
    assert lines == ["exit 0" if "start" in first else "0 0", "exit 7", "True"]


@pytest.mark.slow
@needs_pidfds
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("handler", ["signal.SIG_DFL", "lambda *_: None", "signal.SIG_IGN"])
def test_handlers_of_sigchld(handler, when):
    """B55: whatever the program does about SIGCHLD, wait() ends; where the system reaps by itself, with ECHILD."""
    lines = output_of(
        f"""
        import signal
        from coutil import system

        def own():
            signal.signal(signal.SIGCHLD, {handler})

        if {when == "before"}:
            own()
        for _ in range(3):
            child = system.start("sh", "-c", "read x; exit 3", stdin="w")
            if {when == "after"}:
                own()
            child.stdin.send(b"go")
            child.close()
            try:
                print(*child.wait())
            except ChildProcessError as error:
                print(error.name)
            if {when == "after"}:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        """
    )
    assert lines == (["ECHILD"] if (handler, when) == ("signal.SIG_IGN", "after") else ["exit 3"]) * 3


@needs_pidfds
def test_python_handler_of_sigchld():
    """T-27, B55: a handler of Python for SIGCHLD stays, and is told of our children; but for a wait for "child"."""
    seen = []
    before = signal.signal(signal.SIGCHLD, handler := lambda number, frame: seen.append(number))
    try:
        assert system.execute("true") == ("exit", 0)
        assert seen == [signal.SIGCHLD]
        os.kill(os.getpid(), signal.SIGCHLD)
        assert len(seen) == 2
        assert signal.getsignal(signal.SIGCHLD) is handler
        log = []
        spawn.call(lambda: log.append(system.awaitsig("child")))
        assert system.execute("true") == ("exit", 0)
        assert system.run() is False
        assert (log, len(seen)) == (["child"], 2)
        os.kill(os.getpid(), signal.SIGCHLD)
        assert len(seen) == 3
    finally:
        signal.signal(signal.SIGCHLD, before)


@needs_pidfds
def test_status_taken_elsewhere(hub):
    """B55: if the program itself waits for the child, wait() is ECHILD, which is ChildProcessError, each time."""
    sleeper = system.start("sleep", "100")
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitpid(sleeper.pid, 0)
    for _ in range(2):
        with pytest.raises(ChildProcessError) as taken:
            sleeper.wait()
        assert (taken.value.errno, taken.value.name) == (errno.ECHILD, "ECHILD")
    with pytest.raises(ProcessLookupError):
        sleeper.kill()
    reaped(hub)


def test_children_of_others_are_left_alone(hub):
    """B55: what subprocess or os.fork started is not reaped by the loop."""
    pid = os.posix_spawn("/bin/sh", ["sh", "-c", "exit 9"], os.environ)
    assert system.execute("true") == ("exit", 0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert system.execute("true") == ("exit", 0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 9
    reaped(hub)


def test_other_threads(sleeper):
    """A-17: another OS thread can neither wait for a child nor kill it; it has its own children."""
    found = []

    def thread():
        for call in (sleeper.wait, sleeper.kill, lambda: sleeper.kill(0)):
            try:
                call()
            except errors.ForeignThread as error:
                found.append(str(error))
        found.append(system.execute("sh", "-c", "exit 4"))

    one = threading.Thread(target=thread, name="other")
    one.start()
    one.join(10)
    place = "belongs to thread MainThread, and was used in thread other"
    assert found[:3] == [f"process {sleeper.pid} (sleep) {place}"] * 3
    assert found[3:] == [("exit", 4)]
    assert children() == [sleeper.pid]


def test_threads_that_end_before_their_children():
    """T-23, B13: a child that outlives the thread which started it is reaped at the next start of a program."""
    lines = output_of(
        """
        import os, threading, time
        from coutil import errors, system

        def children():
            return open(f"/proc/self/task/{os.getpid()}/children").read().split()

        def thread():
            found.append(system.start("sleep", "0.02"))

        found = []
        for _ in range(3):
            one = threading.Thread(target=thread)
            one.start()
            one.join()
        try:
            found[0].wait()
        except errors.Closed as error:
            print(str(error).partition(" (")[2])
        time.sleep(0.06)
        print(system.execute("true"), system.execute("true"), children())
        """
    )
    assert lines == ["sleep) cannot be waited for: its event loop has ended", "('exit', 0) ('exit', 0) []"]


def test_fork(sleeper):
    """A-20: a forked child has no part in its parent's children, and starts its own."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        found = []
        for call in (sleeper.wait, sleeper.kill):
            try:
                call()
            except errors.Forked:
                found.append("Forked")
        found.append(str(system.execute("sh", "-c", "exit 6")))
        os.write(writer, " ".join(found).encode())
        os._exit(0)
    os.close(writer)
    with open(reader, encoding="ascii") as file:
        assert file.read() == "Forked Forked ('exit', 6)"
    assert os.waitpid(pid, 0)[1] == 0
    sleeper.kill("kill")
    assert sleeper.wait() == ("kill", 9)


@pytest.mark.parametrize("ending", ["", "sys.exit()", "current_hub().close()", "raise SystemExit(0)"])
def test_end_of_the_program(ending):
    """T-23, A-20: children do not delay the end of the program, and run on; a coroutine may wait for them."""
    done = run_script(
        f"""
        import os, sys
        from coutil import spawn, system
        from coutil._kernel.hub import current_hub

        child = system.start("sleep", "100", stdin=False, stdout=False, stderr=False)
        spawn.call(child.wait)
        system.suspend(0.001)
        print(child.pid, flush=True)
        {ending}
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    os.kill(int(done.stdout), signal.SIGKILL)  # it lives


def test_signal_handler_while_children_end(hub):
    """B59: a handler that raises while the ends of children are told loses none of those who wait."""
    log = []

    def ring(number, frame):
        raise LookupError

    before = signal.signal(signal.SIGUSR1, ring)
    try:
        child = system.start("sleep", "100")

        def first():
            log.append(child.wait())
            os.kill(os.getpid(), signal.SIGUSR1)

        spawn.catch(lambda error: log.append(type(error).__name__), first)
        for _ in range(3):
            spawn.call(lambda: log.append(child.wait()))
        child.kill("kill")
        assert system.run() is False
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert log == [("kill", 9), "LookupError", *[("kill", 9)] * 3]
    reaped(hub)


# -- descriptors of pipes


def cat():
    """Start a program that ends with its input; return the process, and the numbers of our ends of its pipes."""
    child = system.start("cat", stdin="w", stdout="r", stderr="rws")
    return child, [stream.fileno() for stream in (child.stdin, child.stdout, child.stderr)]


def to_the_end(child):
    child.stdin.send(b"words")
    child.stdin.shutdown()
    assert receive_all(child.stdout) == b"words"
    assert child.wait() == ("exit", 0)


def leave_by(error):
    """Return what fails in a process's block."""

    def leave(child):
        with pytest.raises(error), child:
            raise error

    return leave


WAYS = {
    "closed": lambda child: child.close(),
    "read to the end, then closed": lambda child: (to_the_end(child), child.close()),
    "pipes closed one by one": lambda child: [one.close() for one in (child.stderr, child.stdin, child.stdout)],
    "end of the block": lambda child: child.__exit__(None, None, None),
    "block that fails": leave_by(LookupError),
    "block that is cut": leave_by(KeyboardInterrupt),
    "killed, then closed": lambda child: (child.kill("kill"), child.wait(), child.close()),
}


@pytest.mark.parametrize("way", WAYS)
def test_pipes_are_closed_once(way, hub):
    """B04: what has the numbers of a program's pipes next keeps them, however often the process is closed again.

    Not by hand, not at the end of a block, not by the collector, nor when the child's end is told.
    """
    child, numbers = cat()
    pipes = child.stdin, child.stdout, child.stderr
    WAYS[way](child)
    with ExitStack() as probes:
        for number in numbers:
            probes.enter_context(probe(number))
        assert child.close() is True
        for one in pipes:
            assert one.close() is True
        with child:
            pass
        del child, pipes, one
        gc.collect()
        reaped(hub)


@pytest.mark.parametrize("how", ["forgotten", "in a cycle"])
def test_forgotten_pipes_are_closed_once(how, hub):
    """B04: the one that forgets a process gives the numbers of its pipes back, whether the program has ended or not."""
    child, numbers = cat()
    if how == "in a cycle":
        holder = [child, child.stdin]
        holder.append(holder)
        del holder
    del child
    gc.collect()
    with ExitStack() as probes:
        for number in numbers:
            probes.enter_context(probe(number))
        reaped(hub)


def test_pipes_after_a_failed_start(hub):
    """B04: the spec of a program that did not start has no pipe; what gets the numbers next keeps them."""
    child, numbers = cat()
    child.close()
    reaped(hub)
    spec = system.ExecSpec("/coutil/no/such/program", stdin="w", stdout="r", stderr="rws")
    with pytest.raises(FileNotFoundError):
        system.start(spec)
    assert (spec.pid, spec.stdin, spec.stdout, spec.stderr) == (None, "w", "r", "rws")
    with ExitStack() as probes:
        for number in numbers:
            probes.enter_context(probe(number))
        del spec, child
        gc.collect()
        system.run("ready")


@pytest.mark.parametrize("way", ["closed", "forgotten", "pipes closed", "block", "left"])
def test_process_in_the_child_of_a_fork(way, hub):
    """B04: what the child of a fork does with our processes and pipes closes nothing of ours, nor of its own.

    Neither do we close anything of the child's by what we do with them afterwards.
    """
    held = [cat()]

    def in_child():
        child, numbers = held.pop()
        found = []
        if way == "closed":
            found += [outcome(child.close) for _ in range(2)]
        elif way == "pipes closed":
            found += [outcome(one.close) for one in (child.stdin, child.stdout, child.stderr)]
        elif way == "block":
            found.append(outcome(lambda: child.__exit__(None, None, None)))
        if way != "left":
            del child
        gc.collect()
        for number in numbers:  # whatever the child does with the numbers, they are its own
            os.close(number)
        with ExitStack() as probes:
            for number in numbers:
                probes.enter_context(probe(number))
            gc.collect()
            found.append(system.execute("true"))
        return found

    answer = fork_and(in_child).answer()
    refusals = {"closed": ["Forked"] * 2, "pipes closed": ["Forked"] * 3, "block": [None]}.get(way, [])
    assert answer == [*refusals, ("exit", 0)]
    child, numbers = held.pop()
    assert [os.path.exists(f"/proc/self/fd/{number}") for number in numbers] == [True] * 3
    to_the_end(child)
    child.close()
    reaped(hub)


# -- two writers on one pipe


def marked(letter, size=1 << 20):
    """Return more than a pipe takes at once, by which one can see who has sent it."""
    return letter * size


def runs(data):
    """Return (letter, how many) of each run of equal bytes."""
    return [(bytes([letter]), len(list(same))) for letter, same in itertools.groupby(data)]


def writers(stream, log, *letters):
    """Have coroutines send to one stream, each in one call; they note what came of that."""

    def send(letter):
        try:
            log.append((letter, stream.send(marked(letter))))
        except errors.UVError as error:
            log.append((letter, error.name))

    return [spawn.call(send, letter) for letter in letters]


SIZE = len(marked(b"a"))


@pytest.mark.parametrize("letters", ["w", "rw", "ws"])
def test_two_writers_of_a_pipe(letters, hub):
    """B11: what two coroutines send to a program at the same time arrives one behind the other, never mixed."""
    log = []
    with system.start("cat", stdin=letters, stdout="r") as child:
        writers(child.stdin, log, b"a", b"b")
        assert log == []
        found = receive_exactly(child.stdout, 2 * SIZE)
        assert runs(found) == [(b"a", SIZE), (b"b", SIZE)]
        while len(log) < 2:
            system.suspend()
        assert log == [(b"a", True), (b"b", True)]
        child.stdin.shutdown()
        assert child.stdout.receive() == b""
    reaped(hub)


def test_two_writers_of_many_pieces(hub):
    """B11: each of many calls of two writers stays in one piece, and each writer's are in order."""
    sizes = [1, 70_000, 300_000, 17, 65_536, 200_001]
    with system.start("cat", stdin="w", stdout="r") as child:

        def send(letter):
            for number, size in enumerate(sizes):
                child.stdin.send(bytes([letter + number]) * size)

        pair = [spawn.call(send, letter) for letter in (65, 97)]
        found = runs(receive_exactly(child.stdout, 2 * sum(sizes)))
        for first in (65, 97):
            mine = [(letter, count) for letter, count in found if first <= letter[0] < first + len(sizes)]
            assert mine == [(bytes([first + number]), size) for number, size in enumerate(sizes)]
        assert len(found) == 2 * len(sizes)
        while pair[0].status != "dead" or pair[1].status != "dead":
            system.suspend()
    reaped(hub)


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
@pytest.mark.parametrize("which", [0, 1], ids=["first", "second"])
def test_one_of_two_writers_is_ended(which, how, hub):
    """B11: what an ended writer had begun is sent in the background, at its place; the other one is told of its own."""
    log = []
    with system.start("cat", stdin="w", stdout="r") as child:
        pair = writers(child.stdin, log, b"a", b"b")
        if how == "resume":
            pair[which].resume("given")
        elif how == "throw":
            with pytest.raises(LookupError):
                pair[which].throw(LookupError)
        else:
            pair[which].close()
        assert log == ([(b"ab"[which : which + 1], "given")] if how == "resume" else [])
        child_says = receive_exactly(child.stdout, 2 * SIZE)
        assert runs(child_says) == [(b"a", SIZE), (b"b", SIZE)]
        while pair[1 - which].status != "dead":
            system.suspend()
        assert log[-1] == (b"ba"[which : which + 1], True)
        child.stdin.send(b"c")
        assert child.stdout.receive() == b"c"
    reaped(hub)


def test_pipe_is_closed_under_two_writers_and_a_reader(hub):
    """B11: each is told by itself, and the pipe that gets the number next has nothing of theirs, nor they of it."""
    log, read = [], []
    child = system.start("sleep", "100", stdin="rw")
    number = child.stdin.fileno()
    writers(child.stdin, log, b"a", b"b")

    def reads():
        with pytest.raises(errors.Closed) as closed:
            child.stdin.receive()
        read.append(closed.value.interrupted)

    spawn.call(reads)
    child.stdin.close()
    with system.start("cat", stdin="rw", stdout="r") as heir:
        assert heir.stdin.fileno() == number
        news = spawn.call(lambda: read.append(heir.stdin.receive()))
        heir.stdin.send(b"mine")
        assert receive_exactly(heir.stdout, 4) == b"mine"
        while len(log) < 2:
            system.suspend()
        assert (log, read) == ([(b"a", "ECANCELED"), (b"b", "ECANCELED")], [True])
        for late in (child.stdin.receive, lambda: child.stdin.send(b"x"), child.stdin.shutdown):
            with pytest.raises(errors.Closed):
                late()
        assert news.status == "suspended"
        heir.stdin.shutdown()
        assert heir.stdout.receive() == b""
        while news.status != "dead":
            system.run("step")
        assert read == [True, b""]
    child.kill("kill")
    assert child.wait() == ("kill", 9)
    reaped(hub)


def test_the_reader_of_two_writers_ends(hub):
    """B11: both writers get an error as there is no reader left, and each only once; another pipe is not concerned."""
    log = []
    with system.start("cat", stdin="w", stdout="r") as other:
        child = system.start("sleep", "100", stdin="w")
        writers(child.stdin, log, b"a", b"b")
        child.kill("kill")
        assert child.wait() == ("kill", 9)
        while len(log) < 2:
            system.suspend()
        assert log == [(b"a", "EPIPE"), (b"b", "EPIPE")]
        with pytest.raises(BrokenPipeError):
            child.stdin.send(b"more")
        child.close()
        other.stdin.send(b"words")
        assert other.stdout.receive() == b"words"
    reaped(hub)
