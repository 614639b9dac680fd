"""Programs run to their end in one call: arguments, environment, standard streams, outcomes."""

from __future__ import annotations

import os
import signal
import socket
import sys
from contextlib import contextmanager

import pytest

from coutil import errors, scopes, spawn, system
from coutil.coroutine import create, yield_
from coutil.system import ExecSpec
from tests.helpers.kernel import COOP_BUDGET
from tests.helpers.tcp import both_domains, pairs, receive_all, receive_exactly

PRINT = "import sys; sys.stdout.write('\\n'.join(sys.argv[1:]))"
SLEEP = ("sleep", "100")
GIVEN = (True, None, 3)
KILLERS = {"kill": 9, "terminate": 15, "interrupt": 2, "quit": 3, "userdef1": 10, "userdef2": 12}


def by_arguments(command, *arguments, **options):
    """Call execute with everything as an argument."""
    return system.execute(command, *arguments, **options)


def by_spec(command, *arguments, **options):
    """Call execute with an ExecSpec; the number of the process must be there afterwards."""
    spec = ExecSpec(command, arguments, **options)
    outcome = system.execute(spec)
    assert spec.pid > 0
    return outcome


both_ways = pytest.mark.parametrize("run", [by_arguments, by_spec])


@contextmanager
def captured(path):
    """Yield a file to write to, and a function that returns what was written."""
    with path.open("wb") as file:
        yield file, path.read_bytes


def output(run, path, command, *arguments, **options):
    """Return what a program writes to its standard output, a file; it must succeed."""
    with captured(path / "output") as (file, written):
        assert run(command, *arguments, stdout=file, **options) == ("exit", 0)
        return written()


def children():
    """Return the numbers of our children, zombies included."""
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
        return [int(word) for word in file.read().split()]


def end(pids, hub):
    """Kill children without a waiter, and let the loop reap them."""
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    while hub.in_flight():
        system.run("ready")
    assert children() == []


# -- EXE-1, EXE-2: arguments


@pytest.mark.parametrize(
    "bad", [(), (None,), (print,), (1,), ("true", None), ("true", 1), ("true", print), ("true", ["x"])]
)
def test_wrong_arguments(bad, hub):
    """EXE-1: no command, or what is no string, bytes or path, is a TypeError, also in coroutines; nothing starts."""

    def check():
        with pytest.raises(TypeError):
            system.execute(*bad)
        assert (hub.in_flight(), children()) == (0, [])

    check()
    create(check).resume()


@pytest.mark.parametrize(
    "bad",
    [
        {"arguments": "abc"},
        {"arguments": 1},
        {"arguments": [1]},
        {"detached": 1},
        {"user": "root"},
        {"group": True},
        {"runpath": 1},
        {"environment": ["A=1"]},
    ],
)
def test_wrong_specs(bad):
    """EXE-1: so is a field of the wrong type."""
    with pytest.raises(TypeError):
        system.execute(ExecSpec("true", **bad))
    with pytest.raises(TypeError):
        system.start(ExecSpec("true", **bad))
    assert children() == []


def test_a_spec_says_everything():
    """EXE-1: arguments and options beside a spec are a mistake."""
    for arguments, options in ((("x",), {}), ((), {"runpath": "/"}), ((), {"stdin": False})):
        with pytest.raises(TypeError, match="is complete"):
            system.execute(ExecSpec("true"), *arguments, **options)
    assert children() == []


def test_where_it_can_be_called(escaped):
    """EXE-1: the main program waits; the hub cannot, and starts nothing."""
    refused = []

    def hook(coroutine, error):
        with pytest.raises(errors.NotYieldable):
            system.execute("true")
        refused.append(children())

    assert system.execute("true") == ("exit", 0)
    system.set_excepthook(hook)
    spawn.call(lambda: (system.suspend(), 1 / 0))
    assert system.suspend(0.001) is True
    assert refused == [[]]


@both_ways
@pytest.mark.parametrize(
    "given", [["f1"], ["f1", "f2", "f3"], ["f 1  2"], ['"f1"', "'f2',f3", "\\", ""], ["äöü€", "$HOME"]]
)
def test_argument_vectors(run, given, tmp_path):
    """EXE-2: arguments arrive as they are: no shell looks at them."""
    assert output(run, tmp_path, sys.executable, "-c", PRINT, *given).decode() == "\n".join(given)


@both_ways
def test_bytes_and_paths(run, tmp_path):
    """EXE-2: arguments may be bytes, UTF-8 or not, and paths; so may the command."""
    arguments = [b"\xff\xfe", tmp_path, os.fsdecode(b"\xc3(")]
    found = output(run, tmp_path, b"printf", "%s|", *arguments)
    assert found == b"\xff\xfe|" + bytes(tmp_path) + b"|\xc3(|"


@both_ways
@pytest.mark.parametrize("given", [["f1\0f2"], ["f1", "\0"], [b"f1\0"]])
def test_no_nul(run, given):
    """EXE-2, EXE-6: a NUL is a ValueError: the system would cut the string there."""
    for call in (
        lambda: run("true", *given),
        lambda: run(given[0] + given[0][-1:] if "\0" in str(given[0]) else "tr\0ue"),
        lambda: run("true", runpath="/\0"),
        lambda: run("true", environment={"A\0": "1"}),
    ):
        with pytest.raises(ValueError, match="null character"):
            call()
    assert children() == []


# -- EXE-3 … EXE-10: outcomes and surroundings


@both_ways
@pytest.mark.parametrize("status", [0, 1, 2, 3, 127, 128, 255])
def test_exit_status(run, status):
    """EXE-3: the status is what the program ended with."""
    assert run("sh", "-c", f"exit {status}") == ("exit", status)
    assert children() == []


@both_ways
def test_inherited_environment(run, tmp_path):
    """EXE-4: without another environment the program has ours."""
    assert output(run, tmp_path, "sh", "-c", 'printf %s "$HOME"').decode() == os.environ["HOME"]
    assert output(run, tmp_path, "env").count(b"=") >= len(os.environ)


@both_ways
@pytest.mark.parametrize("pack", [dict, system.packenv])
def test_given_environment(run, pack, tmp_path):
    """EXE-5, EXE-8: the program has the variables that are given, and no others."""
    given = {"COUTIL_A": "1", "COUTIL_B": "x=y", "COUTIL_C": "", "PATH": os.environ["PATH"], "LANG": "other"}
    found = output(run, tmp_path, "env", environment=pack(given)).decode().splitlines()
    assert sorted(found) == sorted(f"{name}={value}" for name, value in given.items())
    assert output(run, tmp_path, "/usr/bin/env", environment=pack({})) == b""


@both_ways
def test_path_of_the_given_environment(run, tmp_path):
    """EXE-5: the command is looked for in the PATH that the program will have."""
    program = tmp_path / "coutil-program"
    program.write_text("#!/bin/sh\nexit 7\n", encoding="ascii")
    program.chmod(0o755)
    assert run("coutil-program", environment={"PATH": f"/bin:{tmp_path}"}) == ("exit", 7)
    with pytest.raises(FileNotFoundError):
        run("coutil-program")


@both_ways
@pytest.mark.parametrize("name", ["=ENV", "A=B", ""])
def test_bad_names_of_variables(run, name):
    """EXE-7: a name with "=", or none, is a ValueError that names it."""
    with pytest.raises(ValueError, match=f"invalid name of a variable: '{name}'"):
        run("true", environment={"A": "1", name: "2"})
    assert children() == []


@both_ways
def test_run_path(run, tmp_path, monkeypatch):
    """EXE-9: the program starts in another directory, named from the root or from ours; ours stays."""
    (tmp_path / "below").mkdir()
    monkeypatch.chdir(tmp_path)
    assert output(run, tmp_path, "pwd", runpath=str(tmp_path / "below")).decode() == f"{tmp_path}/below\n"
    assert output(run, tmp_path, "pwd", runpath="below").decode() == f"{tmp_path}/below\n"
    with pytest.raises(FileNotFoundError):
        run("pwd", runpath=tmp_path / "missing")
    assert system.getdir() == str(tmp_path)


@both_ways
def test_missing_program(run, hub):
    """EXE-10, T-24: it is ENOENT with the program's name, at once; the same coroutine can execute another one then."""
    for _ in range(3):
        with pytest.raises(FileNotFoundError) as missing:
            run("coutil-no-such-program")
        assert (missing.value.name, missing.value.syscall) == ("ENOENT", "uv_spawn")
        assert missing.value.filename == "coutil-no-such-program"
        assert run("true") == ("exit", 0)
    assert (hub.loop.demand.tolist().count(1), children()) == (0, [])


def test_failing_ones_in_a_row(hub):
    """A-7: the pipes of those that could not be started are closed in time, although there is no waiter."""
    open_ones = []

    def handles():
        counts = hub.loop.counts()
        return counts["handles_created"] - counts["handles_freed"]

    before = handles()
    for _ in range(500):
        with pytest.raises(FileNotFoundError):
            system.execute(ExecSpec("coutil-no-such-program", stdin="w", stdout="r", stderr="r"))
        open_ones.append(handles() - before)
    assert max(open_ones) <= 3 * 2 * COOP_BUDGET  # pipes of two turns: they are closed in one, and freed in the next


@both_ways
@pytest.mark.parametrize(("place", "error"), [("gone", FileNotFoundError), ("file", NotADirectoryError)])
def test_missing_directory(run, place, error, tmp_path):
    """EXE-10: what cannot be found is the directory to start in, and the error says so."""
    (tmp_path / "file").touch()
    with pytest.raises(error) as missing:
        run("true", runpath=tmp_path / place)
    assert missing.value.filename == str(tmp_path / place)
    with pytest.raises(FileNotFoundError) as missing:
        run("coutil-no-such-program", runpath=tmp_path)
    assert missing.value.filename == "coutil-no-such-program"
    assert children() == []


def test_no_program(tmp_path):
    """EXE-10: what may not be executed is EACCES; the empty name a ValueError; too much E2BIG."""
    with pytest.raises(PermissionError):
        system.execute(tmp_path)
    with pytest.raises(ValueError, match="must not be empty"):
        system.execute("")
    with pytest.raises(errors.UVError) as big:
        system.execute("true", "x" * 10_000_000)
    assert big.value.name == "E2BIG"
    assert children() == []


# -- EXE-11 … EXE-14: standard streams


@both_ways
@pytest.mark.parametrize("data", [b"text", b"\0\1\2\3", b"one\ntwo\n\n"])
def test_files(run, data, tmp_path):
    """EXE-11: files as standard streams, one at a time and all at once, to the byte."""
    source = tmp_path / "source"
    source.write_bytes(data)
    copy = "import sys; d = sys.stdin.buffer.read(); sys.stdout.buffer.write(d); sys.stderr.buffer.write(d + b'!')"
    with (
        source.open("rb") as stdin,
        captured(tmp_path / "o") as (out, written),
        captured(tmp_path / "e") as (err, told),
    ):
        assert run(sys.executable, "-c", copy, stdin=stdin, stdout=out, stderr=err) == ("exit", 0)
        assert (written(), told()) == (data, data + b"!")
        stdin.seek(0)
        assert run("cat", stdin=stdin, stdout=out) == ("exit", 0)
        assert written() == data + data
        assert run("sh", "-c", "printf more >&2", stderr=err) == ("exit", 0)
        assert told() == data + b"!more"


@both_ways
@both_domains
def test_one_socket_as_all_three(run, domain):
    """EXE-12: a stream of ours goes to the program, whose peer then talks to it."""
    with pairs(domain) as (near, far):
        log = []
        spawn.call(
            lambda: log.append(
                run("sh", "-c", 'read x; printf "$x"out; printf stderr >&2', stdin=near, stdout=near, stderr=near)
            )
        )
        near.close()
        far.send(b"std\n")
        far.shutdown()
        assert receive_all(far) == b"stdoutstderr"
        assert system.run() is False
        assert log == [("exit", 0)]


def test_a_socket_of_python():
    """EXE-12: a Unix socket is one more thing with fileno()."""
    near, far = socket.socketpair()
    with near, far:
        far.sendall(b"x\n")
        far.shutdown(socket.SHUT_WR)
        assert system.execute("cat", stdin=near, stdout=near) == ("exit", 0)
        assert far.recv(100) == b"x\n"


def test_created_pipes():
    """EXE-13: strings in a spec make pipes, which are there before execute suspends, as is the pid."""
    log = []
    spec = ExecSpec("sh", ["-c", "cat; printf stderr >&2"], stdin="w", stdout="r", stderr="r")
    spawn.call(lambda: log.append(system.execute(spec)))
    assert children() == [spec.pid]
    assert spec.stdin.send(b"stdout") is True
    assert spec.stdin.shutdown() is True
    assert receive_exactly(spec.stdout, 6) == b"stdout"
    assert receive_exactly(spec.stderr, 6) == b"stderr"
    assert spec.stdout.receive() == spec.stderr.receive() == b""
    assert system.run() is False
    assert log == [("exit", 0)]


def test_pipe_in_both_directions():
    """EXE-13: "rw" is one pipe for both; the program may use it as its input and its output."""
    log = []
    spec = ExecSpec("sh", ["-c", "cat <&1"], stdin=False, stdout="rw")
    spawn.call(lambda: log.append(system.execute(spec)))
    spec.stdout.send(b"echo")
    spec.stdout.shutdown()
    assert receive_all(spec.stdout) == b"echo"
    assert system.run() is False
    assert (log, spec.stdin) == ([("exit", 0)], False)


@both_ways
def test_null_device(run):
    """EXE-14: with False the input is at its end, and output goes nowhere, however much it is."""
    script = "import sys; sys.stdout.write('x' * 9216); sys.stderr.write('y' * 9216); sys.exit(bool(sys.stdin.read()))"
    assert run(sys.executable, "-c", script, stdin=False, stdout=False, stderr=False) == ("exit", 0)
    assert children() == []


class Odd:
    """Something whose descriptor is strange."""

    def __init__(self, fd):
        self.fd = fd

    def fileno(self):
        return self.fd


@pytest.mark.parametrize("stream", ["stdin", "stdout", "stderr"])
@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        *((bad, TypeError) for bad in (True, 0, 1, 1.5, b"r", [], object(), Odd("1"), Odd(None), Odd(True))),
        *((bad, ValueError) for bad in ("", "x", "rx", "R", "s", "r\0", Odd(-1), Odd(2**31))),
    ],
)
def test_wrong_streams(stream, bad, kind, hub):
    """EXE-13, EXE-14: anything else is a TypeError, unknown letters and descriptors that are none a ValueError."""
    with pytest.raises(kind):
        system.execute(ExecSpec("true", **{stream: bad}))
    with pytest.raises(kind):
        system.start("true", **{stream: bad})
    assert (hub.in_flight(), children()) == (0, [])


def test_closed_streams(tmp_path):
    """EXE-11, EXE-12: closed files and sockets are errors of their own; a descriptor that does not exist is EBADF."""
    with (tmp_path / "file").open("w") as file:
        pass
    with pytest.raises(ValueError, match="closed file"):
        system.execute("true", stdout=file)
    with system.socket("stream", "ipv4") as stream:
        pass
    with pytest.raises(errors.Closed):
        system.execute("true", stdout=stream)
    with pytest.raises(errors.UVError) as bad:
        system.execute("true", stdout=Odd(9999))
    assert bad.value.name == "EBADF"
    assert children() == []


@both_ways
def test_errors_where_the_output_goes(run, tmp_path):
    """Into the same file; to the null device; where ours goes."""
    script = "echo one; echo two >&2; echo three"
    assert output(run, tmp_path, "sh", "-c", script, stderr="stdout") == b"one\ntwo\nthree\n"
    same = 'test "$(readlink /proc/$$/fd/2)" = "$(readlink /proc/$$/fd/1)"'
    for stdout in (False, None):
        assert run("sh", "-c", same, stdout=stdout, stderr="stdout") == ("exit", 0)
    for wrong in ({"stdin": "stdout"}, {"stdout": "stdout"}, {"stderr": "stdin"}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} "):
            system.start("true", **wrong)


def test_pipes_that_no_one_could_use():
    """EXE-13: a pipe without a spec is a ValueError that says what to do."""
    for name in ("stdin", "stdout", "stderr"):
        with pytest.raises(ValueError, match=r"start\(\)"):
            system.execute("true", **{name: "r"})
    assert children() == []


def test_flags_of_our_descriptors():
    """B12: what a child inherits is as it was in the parent; no other descriptor reaches the child."""
    reader, writer = os.pipe()
    os.set_inheritable(writer, False)
    found = ExecSpec("ls", ["/proc/self/fd"], stdout="r")
    try:
        assert system.execute("true", stdout=Odd(writer)) == ("exit", 0)
        assert os.get_inheritable(writer) is False
        assert os.get_blocking(writer) is True
        assert system.execute(found) == ("exit", 0)
        assert len(receive_all(found.stdout).split()) == 4  # the last is that of the listing
    finally:
        os.close(reader)
        os.close(writer)


# -- EXE-15: signals


@both_ways
@pytest.mark.parametrize("name", KILLERS)
def test_killed(run, name):
    """EXE-15: whom a signal kills ends with its name and number; also the program itself may send it."""
    assert run("sh", "-c", f"kill -{KILLERS[name]} $$") == (name, KILLERS[name])
    log = []
    spec = ExecSpec(*SLEEP[:1], SLEEP[1:])
    spawn.call(lambda: log.append(system.execute(spec)))
    assert system.emitsig(spec.pid, name) is True
    assert system.run() is False
    assert log == [(name, KILLERS[name])]


def test_signal_without_a_name():
    """EXE-15: its name is "signal"."""
    spec, log = ExecSpec("sleep", ["100"]), []
    spawn.call(lambda: log.append(system.execute(spec)))
    os.kill(spec.pid, 40)
    assert system.run() is False
    assert log == [("signal", 40)]


def test_signals_of_the_child_are_not_ours():
    """EXE-15, T-27: what is ignored or watched here has the system's default action there."""
    waiting = spawn.call(system.awaitsig, "userdef1")
    for name, number in (("brokenpipe", 13), ("userdef1", 10)):
        assert system.execute("sh", "-c", f"kill -{number} $$; exit 3") == (name, number)
    assert waiting.close() is True


# -- EXE-16 … EXE-23: the ways to be woken


def test_yields_nothing():
    """EXE-16: it yields nothing to the resumer and returns the outcome."""
    log = []
    made = create(lambda *surplus: log.append((surplus, system.execute("true"))))
    assert made.resume(1, 2) is None
    assert log == []
    assert system.run() is False
    assert log == [((1, 2), ("exit", 0))]


def test_plain_yield_afterwards():
    """EXE-17: after the wait it may yield plainly; the loop resumes it never again."""
    log = []
    made = spawn.call(lambda: (log.append(system.execute("true")), yield_(), log.append("resumed")))
    for _ in range(2):
        assert system.run() is False
        assert (log, made.status) == ([("exit", 0)], "suspended")
    made.resume()
    assert log[1:] == ["resumed"]


def test_twice():
    """EXE-18, A-7: the second program starts when the first has ended."""
    log = []
    made = spawn.call(lambda: [log.append(system.execute("sh", "-c", f"exit {n}")) for n in range(2)])
    while not log:
        assert system.run("step") is True
    assert (log, made.status) == ([("exit", 0)], "suspended")
    assert system.run() is False
    assert log == [("exit", 0), ("exit", 1)]


def test_explicit_resume(hub):
    """EXE-19, T-23: the wait returns the values given; the program runs on, holds no loop, is no zombie later."""
    log, spec = [], ExecSpec("sleep", ["100"])
    made = spawn.call(lambda: (log.append(system.execute(spec)), yield_(), log.append("resumed")))
    made.resume(*GIVEN)
    assert log == [GIVEN]
    assert system.run() is False
    assert children() == [spec.pid]
    end([spec.pid], hub)
    assert (log, made.status) == ([GIVEN], "suspended")
    assert made.close() is True


def test_explicit_resume_then_again(hub):
    """EXE-20: the same coroutine may execute another program at once."""
    log, spec = [], ExecSpec("sleep", ["100"])
    made = spawn.call(lambda: log.extend([system.execute(spec), system.execute("sh", "-c", "exit 5")]))
    made.resume()
    assert (log, made.status) == ([], "suspended")
    assert system.run() is False
    assert log == [None, ("exit", 5)]
    end([spec.pid], hub)


def test_explicit_resume_from_the_loop(hub):
    """EXE-21: cancelled from outside, and again by a coroutine in the loop: each wait returns its own values."""
    log, specs = [], [ExecSpec("sleep", ["100"]) for _ in range(2)]
    made = spawn.call(lambda: (log.extend([system.execute(spec) for spec in specs]), yield_()))
    made.resume("first")
    spawn.call(lambda: (system.suspend(), made.resume(".", "..")))
    assert system.run() is False
    assert (log, made.close()) == (["first", (".", "..")], True)
    end([spec.pid for spec in specs], hub)


def test_error_after_the_wait(escaped):
    """EXE-22: it ends that coroutine only, and the excepthook is told."""

    def fails():
        system.execute("true")
        raise LookupError("told")

    made = spawn.call(fails)
    assert system.run() is False
    assert [(who, error.args) for who, error in escaped] == [(made, ("told",))]
    assert children() == []
    escaped.clear()


def test_error_after_an_explicit_resume(hub):
    """EXE-23: it belongs to the resumer; the program runs on."""
    spec = ExecSpec("sleep", ["100"])

    def fails():
        system.execute(spec)
        raise LookupError("for the resumer")

    made = spawn.call(fails)
    with pytest.raises(LookupError, match="for the resumer"):
        made.resume()
    assert (made.status, children(), system.run()) == ("dead", [spec.pid], False)
    end([spec.pid], hub)


@pytest.mark.parametrize("how", ["timeout", "throw", "close"])
def test_ways_out(how, hub, clock):
    """EXE-19, T-23: a deadline, an exception and close() end the wait, not the program."""
    log, spec = [], ExecSpec("sleep", ["100"])

    def waits():
        try:
            with scopes.timeout(1 if how == "timeout" else None):
                system.execute(spec)
        except BaseException as error:
            log.append(type(error).__name__)
            raise

    made = spawn.catch(lambda error: None, waits)
    if how == "throw":
        made.throw(LookupError)
    elif how == "close":
        made.close()
    else:
        clock.advance(1)
    assert system.run() is False
    assert log == [{"timeout": "Timeout", "throw": "LookupError", "close": "GreenletExit"}[how]]
    end([spec.pid], hub)


def test_nothing_starts_in_a_cancelled_block():
    """EXE-19: where every wait is cut, no program is started either."""
    with scopes.scope() as scope:
        scope.cancel()
        with pytest.raises(errors.Cancelled):
            system.execute("true")
        assert children() == []


def test_after_a_cancelled_request():
    """A-5: a coroutine whose cancelled request is libuv's still starts the program when that is over, or never."""
    log = []

    def waits():
        log.append(system.random(bytearray(1 << 20)))
        log.append(system.execute("sh", "-c", "exit 3"))

    made = [spawn.call(waits) for _ in range(2)]
    for one in made:
        one.resume("cancelled")
    assert children() == []
    made[1].resume("cancelled again")
    assert system.run() is False
    assert log == ["cancelled", "cancelled", "cancelled again", ("exit", 3)]


# -- many


def test_many_at_once():
    """EXE-3: programs that run beside each other all end with their own status."""
    log = {}
    for number in range(50):
        spawn.call(lambda n=number: log.__setitem__(n, system.execute("sh", "-c", f"exit {n}")))
    assert len(children()) == 50
    assert system.run() is False
    assert log == {n: ("exit", n) for n in range(50)}
    assert children() == []


def failing(count):
    """Start a missing program `count` times, with pipes; return how many descriptors there are then."""
    for _ in range(count):
        with pytest.raises(FileNotFoundError):
            system.start("/coutil/no/such/program", stdin="w", stdout="r", stderr="r")
        system.run("ready")
    return len(os.listdir("/proc/self/fd"))


def test_failing_spawns(hub):
    """B14: programs that cannot be started leave no descriptor, no handle and no child."""
    before = failing(1)
    counts = hub.loop.counts()
    assert failing(100) == before
    after = hub.loop.counts()
    assert after["handles_created"] - counts["handles_created"] == 100 * 4
    assert after["handles_created"] == after["handles_freed"]
    assert (hub.in_flight(), children()) == (0, [])


@pytest.mark.soak
def test_ten_thousand_failing_spawns(hub):
    """B14: nor memory."""
    from tests.helpers.tcp import resident

    failing(1000)
    before, memory = len(os.listdir("/proc/self/fd")), resident()
    assert failing(10_000) == before
    assert resident() - memory < 1 << 20
    assert (hub.in_flight(), children()) == (0, [])


def test_no_descriptors_left(hub):
    """B14: without descriptors for its pipes a program is not started: EMFILE, and everything works afterwards."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    refused = []
    try:
        for room in range(free, free + 12):
            resource.setrlimit(resource.RLIMIT_NOFILE, (room, limits[1]))
            try:
                with system.start("true", stdin="w", stdout="r", stderr="r") as child:
                    pass
                assert child.wait() == ("exit", 0)
            except errors.UVError as error:
                refused.append(error.name)
            system.run("ready")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert set(refused) == {"EMFILE"}
    assert system.execute("true") == ("exit", 0)
    system.run("ready")
    assert (hub.in_flight(), children()) == (0, [])
