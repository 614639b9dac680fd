"""Children among those of others, in storms of signals, and where the system knows less or forbids more."""

from __future__ import annotations

import gc
import os
import platform
import resource
import signal
import stat
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from coutil import errors, scopes, spawn, system
from tests.helpers.sandbox import PIDFD_OPEN, forbid, needs_pidfds
from tests.helpers.script import output_of
from tests.helpers.tcp import receive_all
from tests.system.test_execute import children
from tests.system.test_process import reaped

CLONE = {"x86_64": 56, "aarch64": 220}.get(platform.machine())


def _sandboxes() -> bool:
    pid = os.fork()
    if not pid:
        os._exit(not forbid(PIDFD_OPEN))
    return os.waitpid(pid, 0)[1] == 0


needs_sandbox = pytest.mark.skipif(not _sandboxes(), reason="system calls cannot be made to fail here (seccomp)")
both_ways = pytest.mark.parametrize(
    "sandbox", ["pass", pytest.param("forbid(PIDFD_OPEN)", marks=needs_sandbox)], ids=["pidfd", "libuv"]
)
SANDBOX = """
    import errno, os, signal, sys
    sys.path.insert(0, os.getcwd())
    from tests.helpers.sandbox import PIDFD_OPEN, forbid, needs_pidfds
    {sandbox}
    from coutil import errors, spawn, system
"""


def in_sandbox(sandbox, text):
    """Return what a script prints that begins in a sandbox."""
    return output_of(SANDBOX.format(sandbox=sandbox) + text)


# -- with children of others


def others(number):
    """Start a child in one of the ways that are not ours; return a function that tells its status, `number`.

    If the system has taken that: what the way promises then. It is 0 for subprocess, and ECHILD for the system's calls.
    """
    way = number % 4
    if way == 0:
        popen = subprocess.Popen(["sh", "-c", f"exit {number}"])
        return popen.wait
    if way == 1:
        pid = os.fork()
        if not pid:
            os._exit(number)
        return lambda: os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if way == 2:
        pid = os.posix_spawn("/bin/sh", ["sh", "-c", f"exit {number}"], os.environ)
        return lambda: os.waitid(os.P_PID, pid, os.WEXITED).si_status
    return lambda: subprocess.run(["sh", "-c", f"exit {number}"], check=False).returncode


def untold(number):
    """Return what is told in place of a status that the system has taken, by the same ways."""
    return 0 if number % 4 in (0, 3) else "ECHILD"


def told(wait):
    """Return what a function of `others` brings."""
    try:
        return wait()
    except ChildProcessError:
        return "ECHILD"


def own_handler(number, frame):
    """Do nothing about SIGCHLD."""


def mixed(rounds):
    """Start ours and others by turns, a few at a time, while the handling of SIGCHLD changes; check each status.

    It is left to the system only while no child runs: Python complains of a signal that it has just taken by then.
    While it is ignored, ours are told of as ever, and so are the others that end while one of ours lives; the system
    takes the statuses of those that end afterwards.
    """
    handlers = [signal.SIG_DFL, own_handler, signal.SIG_IGN, own_handler]
    before = signal.getsignal(signal.SIGCHLD)
    try:
        for at in range(0, rounds, 8):
            mode = handlers[at // 8 % 4]
            signal.signal(signal.SIGCHLD, mode)
            ours, numbers = {}, range(at % 100 + 1, at % 100 + 9)
            for n in numbers:
                spawn.call(lambda n=n, ours=ours: ours.setdefault(n, system.execute("sh", "-c", f"exit {n}")))
            theirs = {n: others(n) for n in numbers}
            if mode is not signal.SIG_IGN:
                signal.signal(signal.SIGCHLD, own_handler)
            assert system.run() is False
            assert ours == {n: ("exit", n) for n in numbers}
            found = {n: told(wait) for n, wait in theirs.items()}
            assert signal.getsignal(signal.SIGCHLD) is (own_handler if mode is not signal.SIG_IGN else mode)
            may_be = {(n, n) for n in numbers}
            if mode is signal.SIG_IGN:
                may_be |= {(n, untold(n)) for n in numbers}
            assert set(found.items()) <= may_be
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert children() == []


def test_mixed_children(hub):
    """B54, R29: each status goes to the starter of the child, whatever is done about SIGCHLD; there are no zombies."""
    mixed(40)
    reaped(hub)


@needs_pidfds
def test_others_while_sigchld_is_ignored(hub):
    """B54, R29: the system takes the statuses of others only while none of ours lives; subprocess says 0 then."""
    numbers = range(1, 5)
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        for _ in range(3):
            assert {n: told(others(n)) for n in numbers} == {n: untold(n) for n in numbers}
            with system.start("cat", stdin="w") as child:
                assert {n: told(others(n)) for n in numbers} == {n: n for n in numbers}
            assert child.wait() == ("exit", 0)
            assert signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGCHLD, before)
    reaped(hub)


@pytest.mark.soak
def test_two_thousand_mixed_children(hub):
    """B54, R29: the same at length: a thousand of ours and a thousand others."""
    mixed(1000)
    reaped(hub)


def test_multiprocessing_beside():
    """B54: a pool of multiprocessing and programs of ours run beside each other, each with its own statuses."""
    lines = output_of(
        """
        import multiprocessing, os
        from coutil import spawn, system

        if __name__ == "__main__":
            log = []
            context = multiprocessing.get_context("fork")
            workers = [context.Process(target=os._exit, args=(n,)) for n in range(5)]
            for n, one in enumerate(workers):
                one.start()
                spawn.call(lambda n=n: log.append(system.execute("sh", "-c", f"exit {n}")))
            system.run()
            for one in workers:
                one.join()
            print(sorted(status for _, status in log), [one.exitcode for one in workers])
        """
    )
    assert lines == ["[0, 1, 2, 3, 4] [0, 1, 2, 3, 4]"]


# -- closed, forgotten, asked


def test_closed_early(hub):
    """B56: a process whose pipes were closed at once is waited for as ever, or is reaped unwaited."""
    for number in range(20):
        child = system.start("sh", "-c", f"exit {number}", stdin="w", stdout="r")
        assert child.close() is True
        if number % 2:
            assert child.wait() == ("exit", number)
    reaped(hub)
    assert child.wait() == ("exit", 19)


def test_forgotten_early(hub):
    """B56: a hundred without references leave no zombie, and no descriptor."""
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(100):
        system.start("true", stdin="w", stdout="r")
    gc.collect()
    reaped(hub)
    assert len(os.listdir("/proc/self/fd")) == before


def test_asked_all_the_time(hub):
    """B56: a caller that asks in a tight loop sees it run until the moment at which those who wait are told."""
    child, log = system.start("sh", "-c", "read x; exit 5", stdin="w"), []
    spawn.call(lambda: log.append(child.wait()))

    def asks():
        while True:
            try:
                child.kill(0)
            except ProcessLookupError:
                return log.append("asked")
            assert "runs" in repr(child)
            assert log == []
            system.suspend()

    spawn.call(asks)
    spawn.call(lambda: (system.suspend(0.001), child.stdin.send(b"go\n")))
    assert system.run() is False
    assert log == [("exit", 5), "asked"]
    child.close()
    reaped(hub)


# -- a grandchild that holds the pipe

HOLDER = ("sh", "-c", "sleep 3; :")


@contextmanager
def within(seconds):
    """The block must be over in that time."""
    begin = time.monotonic()
    yield
    assert time.monotonic() - begin < seconds


def test_grandchild_that_holds_the_pipe(hub):
    """B57: a child is killed after a timeout; that its own child lives, and holds the pipe, delays none."""
    with within(0.5):
        with (
            pytest.raises(errors.Timeout),
            scopes.timeout(0.1),
            system.start(*HOLDER, stdout="r", detached=True) as child,
        ):
            receive_all(child.stdout)
        assert child.wait() == ("kill", 9)
    os.killpg(child.pid, signal.SIGKILL)  # the grandchild, which is not ours
    reaped(hub)


def test_output_of_a_grandchild(hub):
    """B57: who waits for the child alone is told of its end at once; the pipe ends with its last holder."""
    with within(0.5):
        child = system.start("sh", "-c", "sleep 3 & echo words", stdout="r", detached=True)
        assert child.wait() == ("exit", 0)
        assert child.stdout.receive() == b"words\n"
        with pytest.raises(errors.Timeout), scopes.timeout(0.01):
            child.stdout.receive()
        os.killpg(child.pid, signal.SIGKILL)
        assert child.stdout.receive() == b""
    child.close()
    reaped(hub)


def test_execute_with_a_timeout_and_a_grandchild(hub):
    """B57: execute gives up in time, and leaves neither waiter nor zombie when the program is killed then."""
    spec = system.ExecSpec(*HOLDER[:1], HOLDER[1:], stdout="r", detached=True)
    with within(0.5):
        with pytest.raises(errors.Timeout), scopes.timeout(0.1):
            system.execute(spec)
        os.killpg(spec.pid, signal.SIGKILL)
        assert receive_all(spec.stdout) == b""
        spec.stdout.close()
        reaped(hub)


# -- storms of signals

STORM = """
import os, signal, sys, time
signal.signal(signal.SIGUSR1, signal.SIG_IGN)
while True:
    os.kill(int(sys.argv[1]), signal.SIGUSR1)
    time.sleep(0.00005)
"""


@contextmanager
def storm():
    """Get SIGUSR1 about ten thousand times a second, to a handler of Python; yield the list of those that came."""
    seen = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    sender = subprocess.Popen([sys.executable, "-S", "-c", STORM, str(os.getpid())])
    try:
        while not seen:
            time.sleep(0.001)
        yield seen
    finally:
        sender.kill()
        sender.wait()
        signal.signal(signal.SIGUSR1, before)


def through_the_storm(count):
    """Start programs and forks while signals come all the time; return how many signals there were."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    with storm() as seen:
        for number in range(count):
            assert system.execute("sh", "-c", f"exit {number % 256}") == ("exit", number % 256)
            if number % 4 == 0:
                with pytest.raises(FileNotFoundError):
                    system.execute("/coutil/no/such/program")
                pid = os.fork()
                if not pid:
                    os._exit(number % 256)
                assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == number % 256
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask
        return len(seen)


def test_storm(hub):
    """B58: signals that come around forks and starts reach no child, and leave neither mask nor status changed."""
    assert through_the_storm(60) > 60
    reaped(hub)


@pytest.mark.soak
def test_long_storm(hub):
    """B58: the same a thousand times."""
    assert through_the_storm(1000) > 1000
    reaped(hub)


def test_storm_on_the_whole_group():
    """B58: a signal that reaches the child as well, at any moment, kills it at most: our handlers never run there."""
    lines = output_of(
        """
        import os, signal, subprocess, sys
        from coutil import system

        STORM = '''
        import os, signal, time
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        while True:
            os.kill(0, signal.SIGUSR1)
            time.sleep(0.0002)
        '''
        os.setsid()
        seen = []
        signal.signal(signal.SIGUSR1, lambda *_: seen.append(os.getpid()))
        sender = subprocess.Popen([sys.executable, "-S", "-c", STORM.replace("\\n        ", "\\n")])
        while not seen:
            system.suspend(0.001)
        found = {system.execute("true") for _ in range(100)}
        sender.kill()
        sender.wait()
        print(found <= {("exit", 0), ("userdef1", 10)}, set(seen) == {os.getpid()}, system.execute("true"))
        """
    )
    assert lines == ["True True ('exit', 0)"]


@needs_sandbox
@pytest.mark.skipif(CLONE is None, reason="the number of clone(2) is not known here")
@both_ways
def test_no_more_processes(sandbox):
    """B58: where the system makes no more processes, start is EAGAIN; signals and descriptors are as before."""
    lines = in_sandbox(
        sandbox,
        f"""
    with system.start("true", stdin="w", stdout="r"):
        pass
    before = len(os.listdir("/proc/self/fd"))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    forbid({CLONE}, errno.EAGAIN)
    for _ in range(3):
        try:
            system.start("true", stdin="w", stdout="r")
        except BlockingIOError as error:
            print(error.name, error.syscall)
        system.run("ready")
    print(len(os.listdir("/proc/self/fd")) - before, signal.pthread_sigmask(signal.SIG_BLOCK, []) == mask)
    """,
    )
    assert lines == ["EAGAIN uv_spawn"] * 3 + ["0 True"]


# -- the two ways


@needs_sandbox
def test_without_pidfds():
    """B54: on an older kernel, or in a sandbox, libuv's own way is taken: outcomes, pipes and errors are the same."""
    lines = in_sandbox(
        "forbid(PIDFD_OPEN)",
        """
    log = []
    for n in range(10):
        spawn.call(lambda n=n: log.append(system.execute("sh", "-c", f"exit {n}")[1]))
    system.run()
    print(*sorted(log))
    with system.start("cat", stdin="w", stdout="r") as child:
        child.stdin.send(b"words")
        child.stdin.shutdown()
        print(child.stdout.receive())
    for kill in ("kill", "userdef1"):
        child = system.start("sleep", "100")
        child.kill(kill)
        print(*child.wait())
    try:
        system.start("/coutil/no/such/program")
    except FileNotFoundError as error:
        print(error.name)
    print(open(f"/proc/self/task/{os.getpid()}/children").read().split())
    """,
    )
    assert lines == ["0 1 2 3 4 5 6 7 8 9", "b'words'", "kill 9", "userdef1 10", "ENOENT", "[]"]


@needs_pidfds
def test_memory_is_not_copied():
    """A start does not write-protect our memory: what is written to afterwards is no page fault each."""
    size = 64 << 20
    ballast = bytearray(size)
    ballast[::4096] = b"\1" * (size // 4096)
    child = system.start("true")
    before = resource.getrusage(resource.RUSAGE_THREAD).ru_minflt
    ballast[::4096] = b"\2" * (size // 4096)
    assert resource.getrusage(resource.RUSAGE_THREAD).ru_minflt - before < 4000
    assert child.wait() == ("exit", 0)


def test_the_environment_changes_meanwhile():
    """Another thread that sets variables while programs start does not disturb them."""
    over = threading.Event()

    def changes():
        number = 0
        while not over.is_set():
            number += 1
            os.environ[f"COUTIL_{number % 500}"] = "x" * (number % 100)
            os.environ.pop(f"COUTIL_{(number + 250) % 500}", None)

    one = threading.Thread(target=changes)
    one.start()
    try:
        for _ in range(30):
            assert system.execute("sh", "-c", 'test -n "$PATH" && test -n "$HOME"') == ("exit", 0)
    finally:
        over.set()
        one.join()
        for name in [name for name in os.environ if name.startswith("COUTIL_")]:
            del os.environ[name]


# -- what is looked for where


def script(path, text, mode=0o755):
    """Write an executable file."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    path.chmod(mode)
    return path


def test_script_without_an_interpreter(tmp_path):
    """EXE-10: an executable text that names no interpreter is run by the shell, as execvp(3) does."""
    path = script(tmp_path / "bin" / "coutil-script", 'test "$1 $2" = "a b" && test $# = 2 && exit 6')
    assert system.execute(path, "a", "b") == ("exit", 6)
    assert system.execute(path) == ("exit", 1)
    environment = {"PATH": f"/coutil:{path.parent}:/bin"}
    assert system.execute("coutil-script", "a", "b", environment=environment) == ("exit", 6)


@needs_pidfds
def test_where_commands_are_looked_for(tmp_path, monkeypatch):
    """EXE-10: folder by folder; what cannot be executed there is passed over, and told of if there is no other."""
    denied = script(tmp_path / "denied" / "coutil-command", "#!/bin/sh\nexit 1", stat.S_IRUSR)
    found = script(tmp_path / "found" / "coutil-command", "#!/bin/sh\nexit 7")
    file = script(tmp_path / "file", "")
    folders = [file, tmp_path / "missing", denied.parent, "x" * 5000, tmp_path / ("y" * 300), found.parent]

    def run(*parts):
        return system.execute("coutil-command", environment={"PATH": ":".join(map(str, parts))})

    assert run(*folders) == ("exit", 7)
    with pytest.raises(PermissionError):
        run(*folders[:-1])
    for parts in ((file,), (file, "/coutil"), ("/coutil", file), ("/coutil",)):
        with pytest.raises(FileNotFoundError):
            run(*parts)
    monkeypatch.chdir(found.parent)
    for parts in (("",), ("/coutil", ""), ("", "/coutil"), ("/coutil", "", "/coutil")):
        assert run(*parts) == ("exit", 7), "an empty folder is the current one"
    assert system.execute("coutil-command", runpath=denied.parent, environment={"PATH": f".:{found.parent}"}) == (
        "exit",
        7,
    )
    assert system.execute("sh", "-c", "exit 8", environment={}) == ("exit", 8), "without PATH, the system's own"
    with pytest.raises(OSError, match="ENAMETOOLONG"):
        system.execute("x" * 256)


def test_streams_that_change_places():
    """EXE-11: our own three streams may be given in any order, and one for several."""
    lines = output_of(
        """
        import itertools, os, tempfile
        from coutil import system

        class Stream:
            def __init__(self, fd): self.fileno = lambda: fd

        shown = os.dup(1)
        with tempfile.TemporaryDirectory() as folder:
            paths = [f"{folder}/{number}" for number in range(3)]
            for number, path in enumerate(paths):
                os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND), number)
            for order in itertools.product(range(3), repeat=3):
                system.execute(system.ExecSpec(
                    "sh", ["-c", "printf 0 >&0; printf 1 >&1; printf 2 >&2"],
                    **dict(zip(("stdin", "stdout", "stderr"), map(Stream, order))),
                ))
                found = [open(path).read() for path in paths]
                wanted = ["".join(str(i) for i in range(3) if order[i] == file) for file in range(3)]
                os.write(shown, b"." if found == wanted else str((order, found)).encode())
                for number in range(3):
                    os.truncate(number, 0)
        """
    )
    assert lines == ["." * 27]


# -- beside threads that open and close files

FAILURES = [
    (("/coutil/no/such/program",), {}),
    (("true",), {"runpath": "/coutil/no/such/folder"}),
    (("/",), {}),
    (("/coutil/no/such/program",), {"user": 12345}),  # its memory is a copy of ours
    (("true",), {"environment": {"PATH": "/coutil/no/such/folder"}}),
]


@contextmanager
def threads_with_files():
    """Have threads open, read and close files all the time; each number must be its own from open to close.

    Yields a function that waits until they have done so some times more.
    """
    over, wrong, rounds = threading.Event(), [], []

    def body(paths):
        try:
            while not over.is_set():
                numbers = [os.open(path, os.O_RDONLY) for path in paths]
                found = [os.pread(number, 99, 0) for number in numbers]
                for number in numbers:
                    os.close(number)
                if found != list(paths.values()):
                    wrong.append(found)
                rounds.append(True)
        except OSError as error:
            wrong.append(error)

    def go_on():
        until = len(rounds) + 3
        while len(rounds) < until and not wrong:
            system.suspend(0.0001, blocking=True)

    with TemporaryDirectory() as folder:
        paths = {Path(folder, str(number)): b"file %d" % number for number in range(8)}
        for path, text in paths.items():
            path.write_bytes(text)
        threads = [threading.Thread(target=body, args=(paths,)) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            yield go_on
        finally:
            over.set()
            for thread in threads:
                thread.join()
    assert wrong == []


def failing_beside(count):
    """Let programs fail to start `count` times, while threads open and close files all the time."""
    with threads_with_files() as go_on:
        for number in range(count):
            command, options = FAILURES[number % len(FAILURES)]
            with pytest.raises(OSError, match=r"ENOENT|EACCES|EPERM"):
                system.start(*command, stdin="w", stdout="r", stderr="rws", **options)
            system.run("ready")
            go_on()


@pytest.mark.parametrize("count", [100, pytest.param(5000, marks=pytest.mark.soak)])
def test_failing_starts_beside_threads(count, hub):
    """B03: whatever keeps a program from starting, no descriptor is closed twice: the files of threads stay theirs."""
    failing_beside(count)
    reaped(hub)


@needs_sandbox
@pytest.mark.parametrize("count", [30, pytest.param(1000, marks=pytest.mark.soak)])
def test_failing_starts_beside_threads_without_pidfds(count):
    """B03: the same where libuv starts the programs, and is told of errors through a pipe."""
    lines = output_of(
        f"""
        import os, sys
        sys.path.insert(0, os.getcwd())
        from tests.helpers.sandbox import PIDFD_OPEN, forbid
        from tests.system.test_children import failing_beside

        forbid(PIDFD_OPEN)
        failing_beside(1)
        before = len(os.listdir("/proc/self/fd"))
        failing_beside({count})
        print(len(os.listdir("/proc/self/fd")) - before)
        """,
        timeout=600,
    )
    assert lines == ["0"]
