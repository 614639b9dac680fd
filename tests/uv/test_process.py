"""Process handles: starting programs, what they get, how their end is told, and that no zombie stays."""

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from coutil import coroutine, errors, system, uv
from coutil._libuv import lib
from tests.helpers.inheritable import LISTING, descriptors_of, inheritable
from tests.helpers.script import output_of

ROOT = os.geteuid() == 0


class OurEnd(uv.Pipe):
    """A pipe that is read to its end."""

    def read_all(self):
        """Return all that comes."""
        found = b""
        while data := self.read():
            found += data
        return found


@pytest.fixture
def pipe(loop):
    """A pipe of the loop that is not open."""
    with OurEnd(loop) as made:
        yield made


def shell(loop, script, *arguments, **options):
    """Start a shell with a script."""
    return uv.Process(loop, "sh", ["-c", script, "sh", *arguments], **options)


def end_of(process):
    """Wait for the end and close the handle; return how it ended."""
    how = process.wait()
    process.close()
    return how


def written(loop, file, *arguments, **options):
    """Return how a program ends, and what it writes to a pipe."""
    with OurEnd(loop) as pipe:
        process = uv.Process(loop, file, arguments, stdio=[None, pipe, 2], **options)
        found = pipe.read_all()
        return end_of(process), found


def state(pid):
    """Return the letter for the state of a process, "" if there is none."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def gone(loop, pid):
    """Turn the loop until the process is reaped; return whether it is."""
    until = time.monotonic() + 10
    while state(pid) and time.monotonic() < until:
        with uv.Timer(loop) as timer:
            timer.start(1)
            loop.run("once")
    return not state(pid)


# ---- the end ----


@pytest.mark.parametrize(
    ("script", "how"), [("exit 0", (0, 0)), ("exit 7", (7, 0)), ("exit 255", (255, 0)), ("kill -9 $$", (0, 9))]
)
def test_how_it_ends(loop, script, how):
    """Libuv's spawn_exit_code: the handler gets status and signal, once; the waiter gets the same, also later."""
    log = []
    process = shell(loop, script)
    process.onexit = lambda one, status, number: log.append((one, status, number))
    assert process.active
    assert process.type == "process"
    assert f"pid {process.pid}" in repr(process)
    assert loop.run() is False
    assert log == [(process, *how)]
    assert not process.active
    assert process.wait() == how
    process.close()
    assert process.wait() == how
    assert process.closed


@pytest.mark.parametrize("script", ["cat", "cat; echo more"])
def test_what_comes_before_the_end(loop, pipe, script):
    """Libuv tells of a child's end behind all else of the same turn, so what it wrote last is there already.

    The end of its output needs one more read, which libuv before 1.52 saves.
    """
    log = []
    with uv.Pipe(loop) as stdin:
        process = uv.Process(loop, "sh", ["-c", script], stdio=[stdin, pipe, 2])
    process.onexit = lambda one, status, number: log.append(status)
    pipe.onread = lambda one, error, data: log.append(data)
    pipe.read_start()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # so that one turn brings both
    loop.run()
    process.close()
    if "more" in script:
        assert log.pop(0) == b"more\n"
        log.sort(key=lambda one: one is not None)
    assert log == [None, 0]


def test_flat_functions(loop):
    """`spawn` returns the handle and the number; the number stays when the handle is closed."""
    process, pid = uv.spawn(loop, "sh", {"args": ["-c", "exit 3"], "stdio": []})
    assert isinstance(process, uv.Process)
    assert process.loop is loop
    assert uv.process_get_pid(process) == pid == process.pid
    assert process.wait() == (3, 0)
    uv.close(process)
    assert uv.process_get_pid(process) == pid
    with pytest.raises(TypeError, match=r"options .*\['-l'\]"):
        uv.spawn(loop, "ls", ["-l"])
    with pytest.raises(TypeError, match=r"unknown options: 'arguments'; options are args, env, "):
        uv.spawn(loop, "true", {"arguments": []})


def test_handler_of_a_subclass_and_waiting_inside(loop):
    """The handler may be a method, may wait, and may close its own handle."""
    log = []

    class Mine(uv.Process):
        def onexit(self, status, number):
            log.append((status, number))
            assert self.wait() == (4, 0)
            assert self.close() is True
            log.append("closed")

    Mine(loop, "sh", ["-c", "exit 4"])
    assert loop.run() is False
    assert log == [(4, 0), "closed"]


def test_many_wait_for_one(loop):
    """Any number of coroutines wait for the same end, beside the handler."""
    log = []
    process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
    process.onexit = lambda one, status, number: log.append("handler")
    timers = [uv.Timer(loop) for _ in range(3)]
    for timer in timers:
        timer.ontimeout = lambda one: log.append(process.wait())
        timer.start(0)
    loop.run("nowait")
    assert log == []
    pipe.close()
    loop.run()
    assert sorted(map(str, log)) == ["(0, 0)"] * 3 + ["handler"]
    for handle in (*timers, process):
        handle.close()


def test_unreferenced_process(loop):
    """Libuv's spawn_auto_unref: an unreferenced child does not keep the loop; someone who waits for it does."""
    process = uv.Process(loop, "sleep", ["0.05"])
    assert loop.alive
    process.unref()
    assert not process.has_ref
    assert loop.run() is False
    assert process.active
    assert process.wait() == (0, 0)
    assert loop.run() is False
    process.close()


def test_end_that_another_has_taken(loop):
    """No one knows how it ended: the handler gets -ECHILD, who waits ChildProcessError; nothing hangs."""
    log = []
    process = shell(loop, "exit 3")
    process.onexit = lambda one, status, number: log.append((status, number))
    assert os.waitpid(process.pid, 0)[0] == process.pid
    loop.run()
    assert log == [(-errno.ECHILD, 0)]
    assert not process.active
    with pytest.raises(ChildProcessError, match="other code has taken the status of process"):
        process.wait()
    with pytest.raises(ProcessLookupError):
        process.kill()
    assert loop.run() is False
    process.close()


@pytest.mark.parametrize("handler", [signal.SIG_IGN, signal.SIG_DFL, lambda number, frame: None])
@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_whatever_is_set_for_sigchld(loop, handler, when):
    """Libuv's sigchld issue: the end is noticed whatever anybody sets for SIGCHLD, and that holds again afterwards."""
    before = signal.signal(signal.SIGCHLD, handler if when == "before" else signal.SIG_DFL)
    try:
        process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
        if when == "meanwhile":
            signal.signal(signal.SIGCHLD, handler)
        pipe.close()
        if when == "meanwhile" and handler is signal.SIG_IGN:  # then the system keeps no status
            with pytest.raises(ChildProcessError):
                process.wait()
        else:
            assert process.wait() == (0, 0)
        process.close()
        assert signal.getsignal(signal.SIGCHLD) == handler
        noticed = []
        if callable(handler):
            signal.signal(signal.SIGCHLD, lambda number, frame: noticed.append(number))
            os.kill(os.getpid(), signal.SIGCHLD)
            assert noticed == [signal.SIGCHLD]
    finally:
        signal.signal(signal.SIGCHLD, before)


def test_children_of_others(loop):
    """The children of subprocess, of os.fork and of the system module are left to those who wait for them."""
    other = subprocess.Popen(["sh", "-c", "exit 5"])
    if not (forked := os.fork()):
        os._exit(6)
    ours = [shell(loop, f"exit {number}") for number in range(3)]
    assert system.execute("sh", "-c", "exit 8") == ("exit", 8)
    assert [end_of(one) for one in ours] == [(0, 0), (1, 0), (2, 0)]
    assert other.wait() == 5
    assert os.waitstatus_to_exitcode(os.waitpid(forked, 0)[1]) == 6


def test_signal_handle_for_sigchld(loop):
    """A signal handle for SIGCHLD and the handles of children do not disturb each other."""
    log = []
    with uv.Signal(loop) as handle:
        handle.onsignal = lambda one, number: log.append(number)
        handle.start("SIGCHLD")
        assert end_of(shell(loop, "exit 1")) == (1, 0)
        assert log
        assert set(log) == {signal.SIGCHLD}
        process = shell(loop, "exit 2")
        handle.stop()
        assert end_of(process) == (2, 0)


# ---- closing ----


def test_close_waits_for_the_end(loop):
    """Closing a handle waits until the child has ended; others see it."""
    log = []
    process = uv.Process(loop, "sleep", ["0.03"])
    process.onexit = lambda one, status, number: log.append((status, number))
    assert process.close() is True
    assert log == [(0, 0)]
    assert process.closed
    assert process.wait() == (0, 0)
    assert process.close() is True
    with pytest.raises(errors.Closed, match=r"process \d+ \(sleep\) is closed"):
        process.kill()


@pytest.mark.parametrize("way", ["force", "soon", "with"])
def test_close_by_force_leaves_no_zombie(loop, way):
    """A handle closed before the end of its child brings no exit; the child runs on, and is reaped when it ends."""
    log = []
    process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
    process.onexit = lambda one, status, number: log.append(status)
    if way == "force":
        assert process.close(force=True) is True
    elif way == "soon":
        process.close_soon()
    else:
        with process:
            pass
    loop.run()
    assert process.closed
    assert state(process.pid) in ("S", "R", "D")
    with pytest.raises(errors.Closed):
        process.wait()
    pipe.close()
    assert gone(loop, process.pid)
    assert log == []


def test_closed_under_those_who_wait(loop):
    """Who waits for the end, or for the close, of a child whose handle is closed by force is told."""
    log = []
    process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
    waiting, closing = uv.Timer(loop), uv.Timer(loop)

    def wait(timer):
        try:
            process.wait()
        except errors.Closed:
            log.append("Closed")

    waiting.ontimeout = wait
    closing.ontimeout = lambda timer: log.append(process.close())
    waiting.start(0)
    closing.start(0)
    loop.run("nowait")
    assert process.close(force=True) is True
    loop.run()
    assert sorted(map(str, log)) == ["Closed", "True"]
    for handle in (waiting, closing, pipe):
        handle.close()
    assert gone(loop, process.pid)


def test_explicit_resume_of_who_waits(loop):
    """A coroutine that is resumed by others gets what they give, from `wait` and from `close`."""
    log, waiters = [], []
    process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
    with uv.Timer(loop) as timer:

        def ontimeout(timer):
            waiters.append(coroutine.running())
            log.append(process.wait())
            log.append(process.close())

        timer.ontimeout = ontimeout
        timer.start(0)
        loop.run("nowait")
        waiters[0].resume("first")
        waiters[0].resume("second")
        assert log == ["first", "second"]
        assert process.active
    process.unref()
    assert loop.run() is False  # there is no waiter left
    pipe.close()
    process.close()


def test_loop_closed_before_its_children():
    """The children of a loop that is closed run on; the one that starts the next program takes their status."""
    loop = uv.Loop()
    process = uv.Process(loop, "cat", stdio=[(pipe := OurEnd(loop), "r")])
    left = uv.Process(loop, "sh", ["-c", "exit 3"])
    left.close_soon()
    loop.close(force=True)
    assert process.closed
    assert pipe.closed
    until = time.monotonic() + 10
    while state(process.pid) not in ("Z", "") and time.monotonic() < until:
        time.sleep(0.002)
    with uv.Loop() as other:
        end_of(uv.Process(other, "true"))
        end_of(uv.Process(other, "true"))
    assert state(process.pid) == state(left.pid) == ""


# ---- signals ----


@pytest.mark.parametrize(("how", "number"), [("pid", 2), ("handle", 15), ("name", 9), ("default", 15)])
def test_kill(loop, how, number):
    """Luv's test-process, libuv's spawn_and_kill: by number or by handle; ESRCH once the end is known."""
    process = uv.Process(loop, "sleep", ["30"])
    assert process.kill(0) is None
    if how == "pid":
        uv.kill(process.pid, number)
    elif how == "handle":
        uv.process_kill(process, number)
    elif how == "name":
        process.kill("sigkill")
    else:
        process.kill()
    assert process.wait() == (0, number)
    for call in (process.kill, lambda: process.kill(0)):
        with pytest.raises(ProcessLookupError) as info:
            call()
        assert info.value.name == "ESRCH"
        assert info.value.syscall == "uv_process_kill"
    process.close()
    with pytest.raises(ProcessLookupError):
        uv.kill(process.pid, 0)


def test_kill_arguments(loop):
    """The message names argument and value; nothing is sent."""
    uv.kill(os.getpid(), 0)
    with uv.Process(loop, "sleep", ["30"]) as process:
        for call in (process.kill, lambda signum: uv.kill(process.pid, signum)):
            with pytest.raises(ValueError, match="invalid signum: 'x'; accepted are"):
                call("x")
            with pytest.raises(TypeError, match=r"signum .*1\.5"):
                call(1.5)
            with pytest.raises(errors.UVError) as info:
                call(255)
            assert info.value.name == "EINVAL"
        with pytest.raises(TypeError, match=r"\bpid .*'x'"):
            uv.kill("x", 0)
        with pytest.raises(ValueError, match=rf"\bpid .*{2**31}"):
            uv.kill(2**31, 0)
        process.kill("SIGKILL")
        assert process.wait() == (0, 9)


# ---- what a program gets ----


def test_stdout_and_stdin(loop, pipe):
    """Luv's test-process, libuv's spawn_stdin and spawn_stdout: what is written to cat comes back."""
    with OurEnd(loop) as back:
        process = uv.Process(loop, "cat", stdio=[pipe, back])
        pipe.write(b"hello")
        pipe.close()
        assert back.read_all() == b"hello"
        assert end_of(process) == (0, 0)


def test_one_way_is_a_true_pipe(loop, pipe):
    """A child can open it again; libuv's own, pairs of sockets, it cannot. Both ways, and beside handles, it is one."""
    script = "cat /dev/stdin; for fd in 0 1 3 4; do test -p /dev/fd/$fd && echo $fd > /dev/stdout; done; true"
    with OurEnd(loop) as stdin, uv.Pipe(loop) as both, uv.Pipe(loop, ipc=True) as ipc:
        process = shell(loop, script, stdio=[stdin, pipe, 2, both, (ipc, "r")])
        stdin.write(b"words\n")
        stdin.shutdown()
        assert pipe.read_all() == b"words\n0\n1\n"
        assert end_of(process) == (0, 0)


def test_shutdown_closes_the_input(loop, pipe):
    """As in `system`: the descriptor is closed when all is written. The handle may serve another child then."""
    size = 1 << 17
    with OurEnd(loop) as stdin:
        process = uv.Process(loop, "cat", stdio=[stdin, pipe])
        request = stdin.write_nowait(bytes(size))
        got = 0
        while got < size:
            got += len(pipe.read())
        assert stdin.shutdown() is True
        assert request.done
        assert (pipe.read(), end_of(process)) == (b"", (0, 0))
        assert (stdin.writable, stdin.readable) == (False, False)
        for call, name in (
            (stdin.shutdown, "ENOTCONN"),
            (lambda: stdin.write(b"x"), "EPIPE"),
            (lambda: stdin.try_write(b"x"), "EPIPE"),
            (lambda: stdin.write_nowait(b"x"), "EPIPE"),
            (stdin.fileno, "EBADF"),
            (stdin.read, "ENOTCONN"),
        ):
            with pytest.raises(errors.UVError) as ended:
                call()
            assert ended.value.name == name
        process = uv.Process(loop, "cat", stdio=[stdin])
        assert (stdin.writable, stdin.readable) == (True, False)
        stdin.shutdown()
        assert end_of(process) == (0, 0)


def test_pipe_in_both_directions(loop, pipe):
    """One pipe may serve the child in both directions, at any descriptor."""
    process = shell(loop, "read line <&4; echo $line, back >&4", stdio=[None, None, 2, None, pipe])
    pipe.write(b"there\n")
    assert pipe.read_all() == b"there, back\n"
    assert end_of(process) == (0, 0)
    process = shell(loop, "echo more; cat <&3", stdio=[None, (one := OurEnd(loop), "w"), 2, (two := OurEnd(loop), "r")])
    two.close()
    assert (one.read_all(), end_of(process)) == (b"more\n", (0, 0))
    one.close()


def test_more_than_three_descriptors(loop):
    """Libuv's spawn_stdio_greater_than_3: any number of descriptors; those that are left out are not open."""
    pipes = [OurEnd(loop) for _ in range(9)]
    script = "for i in 3 4 5 6 7 8 9; do echo $i >&$i; done; ls /proc/self/fd | tr '\\n' ' '"
    process = shell(loop, script, stdio=[*pipes, None, None])
    pipes[0].close()
    told = [b"", *(pipe.read_all() for pipe in pipes[1:])]
    assert told[3:] == [b"%d\n" % number for number in range(3, 9)]
    seen = {int(number) for number in told[1].split()}
    assert seen >= set(range(9))
    assert len(seen - set(range(9))) == 1  # the listing itself
    assert end_of(process) == (0, 0)
    assert told[2] != b""  # nothing has 9
    for pipe in pipes:
        pipe.close()


def test_inheritable_descriptors(loop):
    """The same for those that libuv starts; what is given, under whatever number, the program gets."""
    with inheritable() as (low, high):

        def start(file, *more):
            end_of(uv.Process(loop, "sh", ["-c", LISTING], stdio=[None, file, None, *more]))

        assert descriptors_of(start) == []
        assert descriptors_of(lambda file: start(file, None, high)) == [4]
        assert descriptors_of(lambda file: start(file, *[None] * (low - 3), low)) == [low]
        assert os.get_inheritable(low)
        assert os.get_inheritable(high)


def test_ignored_descriptors(loop):
    """Libuv's spawn_ignored_stdio: what is not given is the null device; the child sees no descriptor of ours."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    how, found = written(loop, "sh", "-c", "readlink /proc/self/fd/0; cat; exit 5")
    assert (how, found) == ((5, 0), b"/dev/null\n")
    process = shell(loop, "test ! -e /proc/self/fd/2 || readlink /proc/self/fd/2 >&1", stdio=[None, writer])
    assert end_of(process) == (0, 0)
    os.close(writer)
    assert os.read(reader, 100) == b"/dev/null\n"
    os.close(reader)


@pytest.mark.parametrize("way", ["one file", "file object", "same", "swap"])
def test_output_to_files(loop, tmp_path, way):
    """Libuv's spawn_stdout_to_file and its kin: files, one for both, and descriptors that change places."""
    script = "echo out; echo err >&2"
    with open(tmp_path / "first", "wb") as first, open(tmp_path / "second", "wb") as second:
        if way == "swap":  # the child's 3 is our second file and its 4 the first one, whatever their numbers are here
            script += "; echo three >&3; echo four >&4"
            stdio = [None, first, second, second.fileno(), first.fileno()]
        else:
            stdio = {"one file": [None, first.fileno()], "file object": [None, first], "same": [None, first, first]}[
                way
            ]
        assert end_of(shell(loop, script, stdio=stdio)) == (0, 0)
    texts = [(tmp_path / name).read_text().split() for name in ("first", "second")]
    expected = {"same": [["out", "err"], []], "swap": [["out", "four"], ["err", "three"]]}
    assert texts == expected.get(way, [["out"], []])


def test_standard_streams_change_places():
    """Libuv's swap case: our 1 becomes the child's 2 and the other way round, without either being lost."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from coutil import uv\nloop = uv.Loop()\n"
            "p = uv.Process(loop, 'sh', ['-c', 'echo out; echo err >&2'], stdio=[0, 2, 1])\n"
            "assert p.wait() == (0, 0)\nloop.close(force=True)",
        ],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "err\n", "out\n")


def test_streams_and_sockets_to_inherit(loop, pipe):
    """Libuv's spawn_inherit_streams and spawn_tcp_server: what has a descriptor is given to the child as it is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        process = shell(loop, "echo to the socket >&3; read line <&3; echo $line >&3", stdio=[None, None, 2, theirs])
        ours.sendall(b"and back\n")
        assert end_of(process) == (0, 0)
        assert ours.recv(100) == b"to the socket\nand back\n"
    first = shell(loop, "cat", stdio=[(feeding := OurEnd(loop), "r"), pipe])
    second = shell(loop, "echo via the first", stdio=[None, feeding])  # it is open now: the child inherits it
    assert end_of(second) == (0, 0)
    feeding.close()
    assert pipe.read_all() == b"via the first\n"
    assert end_of(first) == (0, 0)


def test_tcp_handle_to_inherit(loop):
    """Libuv's spawn_tcp_server: a TCP handle is given as it is; the child talks to the peer, and so may we."""
    ours, theirs = (uv.TCP(loop) for _ in range(2))
    for handle, end in zip((ours, theirs), socket.socketpair(), strict=True):
        handle.open(end.detach())
    with ours, theirs:
        ours.write(b"hello\n")  # before: the handle does not block, and neither does what the child gets
        process = shell(loop, "read line <&3; echo child: $line >&3", stdio=[None, None, 2, theirs])
        assert end_of(process) == (0, 0)
        assert ours.read() == b"child: hello\n"
        theirs.write(b"parent")
        assert ours.read() == b"parent"


@pytest.mark.parametrize("form", ["mapping", "strings", "bytes"])
def test_environment(loop, form):
    """Libuv's spawn_empty_env and preserve_env: ours unless another one is given, which is all that there is then."""
    path = os.environ["PATH"]
    given = {
        "mapping": {"PATH": path, "MINE": "a=b"},
        "strings": [f"PATH={path}", "MINE=a=b"],
        "bytes": [b"PATH=" + os.fsencode(path), b"MINE=a=b"],
    }[form]
    os.environ["COUTIL_OURS"] = "yes"
    try:
        script = "echo $MINE:$COUTIL_OURS"
        assert written(loop, "sh", "-c", script)[1] == b":yes\n"
        assert written(loop, "sh", "-c", script, env=given)[1] == b"a=b:\n"
        assert written(loop, "/usr/bin/env", env={}) == ((0, 0), b"")
    finally:
        del os.environ["COUTIL_OURS"]


def test_paths_and_directories(loop, tmp_path):
    """Libuv's relative, quoted and child-path cases: how the program is found, where it starts, what it is called."""
    program = tmp_path / "my program"
    program.write_text('#!/bin/sh\necho "$0|$1|$2|$(pwd)"\n')
    program.chmod(0o755)
    here = os.fsencode(os.path.realpath(tmp_path))
    assert written(loop, program, "a b", b'"')[1].split(b"|")[1:3] == [b"a b", b'"']
    assert written(loop, "./my program", "", "x", cwd=tmp_path)[1] == b"./my program||x|" + here + b"\n"
    found = written(loop, "my program", env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}, cwd=b"/")[1]
    assert found == os.fsencode(program) + b"|||/\n"
    with pytest.raises(FileNotFoundError):
        uv.Process(loop, "my program")


def test_detached(loop):
    """Libuv's spawn_detached: the child leads a session of its own."""
    for detached in (False, True):
        with OurEnd(loop) as feeding:
            process = uv.Process(loop, "cat", stdio=[feeding], detached=detached)
            assert (os.getsid(process.pid) == process.pid) is detached
            feeding.close()
            assert end_of(process) == (0, 0)


@pytest.mark.skipif(not ROOT, reason="only root may change to others")
def test_user_and_group(loop):
    """Libuv's spawn_setuid_setgid: root starts programs as others."""
    found = written(loop, "sh", "-c", "id -u; id -g; id -G", uid=65534, gid=65533)
    assert found == ((0, 0), b"65534\n65533\n65533\n")
    assert written(loop, "sh", "-c", "id -u; id -g", gid=1)[1] == b"0\n1\n"


def test_user_that_we_cannot_be(loop):
    """Libuv's spawn_setuid_fails and spawn_setgid_fails: EPERM, and nothing stays."""
    script = """
        import os, sys
        from coutil import uv
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(65534)
            os.setuid(65534)
        loop = uv.Loop()
        for who in ({"uid": 0}, {"gid": 0}):
            try:
                uv.Process(loop, "true", **who)
            except PermissionError as error:
                print(error.name, error.syscall)
        print(loop.walk(), loop.run())
        loop.close()
    """
    assert output_of(script) == ["EPERM uv_spawn"] * 2 + ["[] False"]


# ---- what cannot be started ----


@pytest.mark.parametrize(
    ("file", "options", "name"),
    [
        ("program-that-does-not-exist", {}, "ENOENT"),
        ("/", {}, "EACCES"),
        ("/dev/null", {}, "EACCES"),
        ("", {}, "ENOENT"),
        ("true", {"cwd": "/nowhere"}, "ENOENT"),
        ("true", {"cwd": "/dev/null"}, "ENOTDIR"),
        ("true", {"args": ["x" * (1 << 18)]}, "E2BIG"),
        ("true", {"stdio": [None, 1000]}, "EBADF"),
    ],
)
def test_failing_starts(loop, file, options, name):
    """Libuv's spawn_fails: the error says which program or directory; no handle, no handler call, no zombie."""
    with pytest.raises(errors.UVError) as info:
        uv.Process(loop, file, **options)
    assert (info.value.name, info.value.syscall, info.value.filename) == (name, "uv_spawn", options.get("cwd", file))
    assert loop.walk() == []
    assert loop.run() is False
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_pipe_of_a_failed_start(loop, pipe):
    """A pipe for a program that cannot be started is as before, and serves the next one; so do both its directions."""
    before = os.listdir("/proc/self/fd")
    with OurEnd(loop) as both:
        for _ in range(3):
            with pytest.raises(FileNotFoundError):
                uv.Process(loop, "program-that-does-not-exist", stdio=[(both, "rw"), pipe])
            assert os.listdir("/proc/self/fd") == before
            for one in (both, pipe):
                for call in (one.fileno, one.read, lambda one=one: one.write(b"x")):
                    with pytest.raises(errors.UVError) as unused:
                        call()
                    assert unused.value.name in ("EBADF", "ENOTCONN")
        process = uv.Process(loop, "cat", stdio=[(both, "rw"), pipe])
        both.write(b"words")
        both.shutdown()
        assert pipe.read_all() == b"words"
        assert end_of(process) == (0, 0)


@pytest.mark.slow
def test_many_failing_starts(loop):
    """B14: failed starts keep neither descriptors nor handles, nor a pipe's other end."""
    fail_often(loop, 60)


@pytest.mark.soak
def test_ten_thousand_failing_starts(loop):
    """B14: the same, for long."""
    fail_often(loop, 5_000)


def fail_often(loop, times):
    """Start what does not exist; what is open must be the same afterwards."""
    for _ in range(2):
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(times):
            with OurEnd(loop) as pipe, pytest.raises(FileNotFoundError):
                uv.Process(loop, "program-that-does-not-exist", stdio=[pipe])
        loop.run()
        assert loop.walk() == []
    assert len(os.listdir("/proc/self/fd")) == before
    counts = loop._hub.loop.counts()
    assert counts["handles_created"] == counts["handles_closed"] == counts["handles_freed"]


def arguments_refused(pipe, other, opened):
    """Yield options that are refused, with the class and the text of the error."""
    yield {"args": "one"}, TypeError, "args must be a sequence of strings, not 'one'"
    yield {"args": [1]}, TypeError, r"args\[0\] must be a str, bytes or os.PathLike, not 1"
    yield {"args": ["a", "b\0"]}, ValueError, r"args\[1\] has a null character: 'b\\x00'"
    yield {"cwd": "\0"}, ValueError, "cwd has a null character"
    yield {"cwd": 3}, TypeError, "cwd must be a str"
    yield {"env": "A=b"}, TypeError, "env must be a sequence of strings"
    yield {"env": ["A"]}, ValueError, "env must consist of NAME=value, not b'A'"
    yield {"env": {"": "x"}}, ValueError, "env has a variable with a bad name: b''"
    yield {"env": {"a=b": "x"}}, ValueError, "bad name: b'a=b'"
    yield {"env": {"A": "\0"}}, ValueError, r"env\['A'\] has a null character"
    yield {"uid": -1}, ValueError, "uid is out of range"
    yield {"uid": 2**32 - 1}, ValueError, "uid is out of range"
    yield {"gid": "root"}, TypeError, "gid must be an int, not 'root'"
    yield {"flags": 1 << 10}, ValueError, "flags has unknown bits: 0x400"
    yield {"flags": lib.UV_PROCESS_SETUID}, ValueError, "flags has unknown bits"
    yield {"stdio": [-1]}, ValueError, r"stdio\[0\] is out of range"
    yield {"stdio": [None, True]}, TypeError, r"stdio\[1\] must be an int, not True"
    yield {"stdio": ["r"]}, TypeError, r"stdio\[0\] must be an int, not 'r'"
    yield {"stdio": [(pipe, "x")]}, ValueError, r'stdio\[0\] must be \(pipe, "r"\)'
    yield {"stdio": [(1, "r")]}, ValueError, r'stdio\[0\] must be \(pipe, "r"\)'
    yield {"stdio": [pipe, pipe]}, ValueError, "stdio has the same pipe twice"
    yield {"stdio": [other]}, ValueError, r"stdio\[0\] must be a pipe of <Loop .*, not <OurEnd inactive>"
    yield {"stdio": [(opened, "w")]}, ValueError, r"stdio\[0\] is open already"


def test_refused_arguments(loop, pipe):
    """Nothing is started: each message names the argument and its value."""
    with uv.Loop() as other, OurEnd(other) as foreign, OurEnd(loop) as opened, uv.Timer(loop) as timer:
        assert end_of(uv.Process(loop, "true", stdio=[opened])) == (0, 0)
        for options, error, text in arguments_refused(pipe, foreign, opened):
            with pytest.raises(error, match=text):
                uv.Process(loop, "true", **options)
        with pytest.raises(ValueError, match=r"stdio\[0\] "):
            uv.Process(loop, "true", stdio=[timer])
        for file, error in (("a\0b", ValueError), (None, TypeError), (1, TypeError)):
            with pytest.raises(error, match="file "):
                uv.Process(loop, file)
        with pytest.raises(TypeError, match=r"loop .*5"):
            uv.Process(5, "true")
        assert [one for one in loop.walk() if one.type == "process"] == []
        gone_pipe = OurEnd(loop)
        gone_pipe.close()
        with pytest.raises(errors.Closed, match=r"pipe( .*)? "):
            uv.Process(loop, "true", stdio=[gone_pipe])


def test_closed_loop():
    """A loop that is closed starts nothing."""
    loop = uv.Loop()
    loop.close()
    with pytest.raises(errors.Closed):
        uv.Process(loop, "true")


def test_no_descriptors(loop):
    """EMFILE is told, and leaves nothing; later starts work."""
    assert output_of("""
        import os, resource
        from coutil import uv

        loop = uv.Loop()
        assert uv.Process(loop, "true").close()
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        try:
            uv.Process(loop, "true")
        except OSError as error:
            print(error.name)
        os.close(held.pop()), os.close(held.pop())
        process = uv.Process(loop, "true")  # without a pidfd, perhaps
        print(process.wait(), process.close())
        loop.close()
    """) == ["EMFILE", "(0, 0) True"]


def test_disable_stdio_inheritance():
    """What is open when it is called is inherited by no program any more."""
    assert output_of("""
        import os
        from coutil import uv

        reader, writer = os.pipe()
        os.set_inheritable(writer, True)
        uv.disable_stdio_inheritance()
        print(os.get_inheritable(writer), os.get_inheritable(1))
        loop = uv.Loop()
        process = uv.Process(loop, "sh", ["-c", f"test -e /proc/self/fd/{writer}; echo $?"], stdio=[None, 1])
        print(process.wait())
        loop.close(force=True)
    """) == ["False False", "1", "(0, 0)"]


@pytest.mark.slow
def test_many_children(loop):
    """Fifty children that end at once are all told, each once, and none stays."""
    log = []
    processes = [shell(loop, f"exit {number}") for number in range(50)]
    for number, process in enumerate(processes):
        process.onexit = lambda one, status, signum, number=number: log.append((number, status, signum))
    loop.run()
    assert sorted(log) == [(number, number, 0) for number in range(50)]
    assert all(state(process.pid) == "" for process in processes)
    for process in processes:
        process.close_soon()


def test_children_in_several_loops(loop):
    """Each loop learns of its own children, although one handler serves SIGCHLD for all."""
    with uv.Loop() as other:
        here = [shell(loop, "exit 1") for _ in range(3)]
        there = [shell(other, "exit 2") for _ in range(3)]
        assert {end_of(one) for one in there} == {(2, 0)}
        assert {end_of(one) for one in here} == {(1, 0)}
        assert other.walk() == loop.walk() == []
