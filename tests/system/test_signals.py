"""Signals: waited for by name, sent, and handed back to the one that handled them before."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from coutil import errors, scopes, spawn, system, uv
from coutil.coroutine import create, yield_
from tests.helpers.script import output_of, run_script

ME = os.getpid()
NAMES = {
    "interrupt": signal.SIGINT,
    "terminate": signal.SIGTERM,
    "stop": signal.SIGTSTP,
    "continue": signal.SIGCONT,
    "hangup": signal.SIGHUP,
    "stdinoff": signal.SIGTTIN,
    "stdoutoff": signal.SIGTTOU,
    "winresize": signal.SIGWINCH,
    "quit": signal.SIGQUIT,
    "child": signal.SIGCHLD,
    "abort": signal.SIGABRT,
    "brokenpipe": signal.SIGPIPE,
    "urgentsock": signal.SIGURG,
    "userdef1": signal.SIGUSR1,
    "userdef2": signal.SIGUSR2,
    "trap": signal.SIGTRAP,
    "filelimit": signal.SIGXFSZ,
    "clocktime": signal.SIGALRM,
    "cpulimit": signal.SIGXCPU,
    "cputotal": signal.SIGPROF,
    "cputime": signal.SIGVTALRM,
    "polling": signal.SIGPOLL,
    "sysargerr": signal.SIGSYS,
}
NO_SIGNALS = ["", "SIGNOTHING", "USERDEF1", "TERMINATE", "USR1", "userdef3", "user1", "userdef1\0"]
GIVEN = (True, None, 3)


def sends(name, suspensions=1):
    """Start a coroutine that suspends some times and then sends a signal to this process."""

    def body():
        for _ in range(suspensions):
            system.suspend()
        assert system.emitsig(ME, name) is True

    return spawn.call(body)


def disposition(number):
    """Return what the kernel does about a signal: "default", "ignored" or "caught"."""
    status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    found = [
        word for word, key in (("ignored", "SigIgn"), ("caught", "SigCgt")) if int(status[key], 16) >> number - 1 & 1
    ]
    return found[0] if found else "default"


# -- SIG-1: arguments


@pytest.mark.parametrize("bad", NO_SIGNALS)
def test_unknown_names(bad, hub):
    """SIG-1: a name that is none is a ValueError, in coroutines and in the main program; nothing begins."""

    def check():
        with pytest.raises(ValueError, match="invalid signal"):
            system.awaitsig(bad)
        with pytest.raises(ValueError, match="invalid signal"):
            system.emitsig(ME, bad)
        assert hub.in_flight() == 0

    check()
    create(check).resume()


@pytest.mark.parametrize("bad", ["kill", "pause", "SIGKILL", "sigstop", signal.SIGKILL, 19, 0])
def test_what_no_one_can_wait_for(bad, hub):
    """SIG-1: signals that no process is notified of can only be sent: a ValueError."""
    with pytest.raises(ValueError, match=r"invalid signal: no process is notified of"):
        system.awaitsig(bad)
    assert hub.in_flight() == 0
    assert system.emitsig(ME, 0) is True


@pytest.mark.parametrize("bad", [None, True, 1.0, b"userdef1", ["userdef1"]])
def test_neither_name_nor_number(bad, hub):
    """SIG-1: anything else is a TypeError; a number out of range is a ValueError, and one of no signal EINVAL."""
    for call in (system.awaitsig, lambda signal: system.emitsig(ME, signal)):
        with pytest.raises(TypeError, match="signal "):
            call(bad)
        for number in (-1, 256):
            with pytest.raises(ValueError, match=rf"signal .*{number}"):
                call(number)
        with pytest.raises(errors.UVError) as unknown:
            call(200)
        assert unknown.value.name == "EINVAL"
    assert hub.in_flight() == 0


def test_the_error_says_what_is_accepted():
    """SIG-1: words, names and numbers, in one line."""
    with pytest.raises(ValueError, match="invalid signal: 'term'") as bad:
        system.emitsig(ME, "term")
    for word in ("terminate", "kill", "pause", "winresize", "SIGTERM"):
        assert f'"{word}"' in str(bad.value)
    assert str(bad.value).endswith("and numbers")


SPELLINGS = ["userdef1", "SIGUSR1", "sigusr1", signal.SIGUSR1, int(signal.SIGUSR1)]


@pytest.fixture
def loop_of_ours():
    """A loop of coutil.uv."""
    with uv.Loop() as made:
        yield made


@pytest.mark.parametrize("spelling", SPELLINGS, ids=map(repr, SPELLINGS))
def test_every_spelling_in_every_place(spelling, loop_of_ours):
    """Words, names in any case, numbers and members of `signal.Signals` are taken wherever a signal is."""
    log = []
    spawn.call(lambda: log.append(system.awaitsig(spelling)))
    spawn.call(lambda: (system.suspend(), system.emitsig(ME, spelling)))
    assert system.run() is False
    assert log == [spelling]
    assert type(log[0]) is type(spelling)
    child = system.start("sleep", "100")
    assert child.kill(spelling) is True
    assert child.wait() == ("userdef1", signal.SIGUSR1)
    with uv.Signal(loop_of_ours) as handle:
        for start in (handle.start, handle.start_oneshot, lambda signum: uv.signal_start(handle, signum)):
            start(spelling)
            uv.kill(ME, spelling)
            assert handle.wait() == signal.SIGUSR1
    for kill in (uv.Process.kill, uv.process_kill, lambda one, signum: uv.kill(one.pid, signum)):
        process = uv.Process(loop_of_ours, "sleep", ["100"])
        kill(process, spelling)
        assert process.wait() == (0, signal.SIGUSR1)
        process.close()


def test_where_it_can_be_called(escaped):
    """SIG-1: the main program waits, with the loop running; the hub cannot, and nothing is left of its attempt."""
    refused = []

    def hook(coroutine, error):
        with pytest.raises(errors.NotYieldable):
            system.awaitsig("userdef1")
        refused.append(disposition(signal.SIGUSR1))

    sends("userdef1")
    assert system.awaitsig("userdef1") == "userdef1"
    system.set_excepthook(hook)
    spawn.call(lambda: (system.suspend(), 1 / 0))
    assert system.suspend(0.001) is True
    assert refused == ["default"]


@pytest.mark.parametrize("name", NAMES)
def test_every_name(name):
    """SIG-2: each name is that of the signal which POSIX calls so, for waiting and for sending."""
    log = []
    spawn.call(lambda: log.append(system.awaitsig(name)))
    assert disposition(NAMES[name]) == "caught"
    os.kill(ME, NAMES[name])
    assert system.run() is False
    spawn.call(lambda: log.append(system.awaitsig(name)))
    sends(name)
    assert system.run() is False
    assert log == [name, name]


# -- SIG-2 … SIG-11: the ways to be woken


def test_returns_the_name():
    """SIG-2: it yields nothing to the resumer and returns the name; surplus values of the first resume do no harm."""
    log = []
    made = create(lambda *surplus: log.append((surplus, system.awaitsig("userdef1"))))
    assert made.resume(1, 2, 3) is None
    sends("userdef1")
    assert log == []
    assert system.run() is False
    assert log == [((1, 2, 3), "userdef1")]


def test_plain_yield_afterwards():
    """SIG-3: after the wait it may yield plainly; the loop resumes it never again, and watches no more."""
    log = []
    made = spawn.call(lambda: (log.append(system.awaitsig("userdef1")), yield_(), log.append("resumed")))
    sends("userdef1")
    for _ in range(2):
        assert system.run() is False
        assert (log, made.status) == (["userdef1"], "suspended")
    assert disposition(signal.SIGUSR1) == "default"
    made.resume()
    assert log == ["userdef1", "resumed"]


@pytest.mark.parametrize("second", ["userdef1", "userdef2"])
def test_twice(second):
    """SIG-4, SIG-5: the second wait, for the same signal or another one, begins when the first is over."""
    log = []
    made = spawn.call(lambda: [log.append(system.awaitsig(name)) for name in ("userdef1", second)])
    os.kill(ME, signal.SIGUSR1)
    assert system.run("step") is True
    assert (log, made.status) == (["userdef1"], "suspended")
    sends(second, 2)
    assert system.run() is False
    assert (log, made.status) == (["userdef1", second], "dead")


def test_explicit_resume(hub):
    """SIG-6: the wait returns the values given; what was set for the signal before holds again at once."""
    log = []
    made = spawn.call(lambda: (log.append(system.awaitsig("userdef1")), yield_(), log.append("resumed")))
    assert disposition(signal.SIGUSR1) == "caught"
    made.resume(*GIVEN)
    assert (log, hub.in_flight(), disposition(signal.SIGUSR1)) == ([GIVEN], 0, "default")
    assert system.run() is False
    assert (log, made.close()) == ([GIVEN], True)


def test_explicit_resume_then_again():
    """SIG-7: the same coroutine may wait anew at once, and that wait is ended by the signal, once."""
    log = []
    made = spawn.call(lambda: log.extend([system.awaitsig("userdef1"), system.awaitsig("userdef1")]))
    made.resume()
    assert (log, made.status) == ([], "suspended")
    sends("userdef1", 2)
    assert system.run() is False
    assert log == [None, "userdef1"]


def test_explicit_resume_from_the_loop(hub):
    """SIG-8: cancelled from outside, and again by a coroutine in the loop: each wait returns its own values."""
    log = []
    made = spawn.call(
        lambda: (log.append(system.awaitsig("userdef1")), log.append(system.awaitsig("userdef1")), yield_())
    )
    made.resume()
    spawn.call(lambda: (system.suspend(), made.resume(".", "..")))
    assert system.run() is False
    assert (log, hub.in_flight(), disposition(signal.SIGUSR1)) == ([None, (".", "..")], 0, "default")
    assert made.close() is True


def test_error_after_the_wait(escaped):
    """SIG-9: it ends that coroutine only, and the excepthook is told."""

    def fails():
        system.awaitsig("userdef1")
        raise LookupError("told")

    made = spawn.call(fails)
    sends("userdef1")
    assert system.run() is False
    assert [(who, error.args) for who, error in escaped] == [(made, ("told",))]
    assert disposition(signal.SIGUSR1) == "default"
    escaped.clear()


def test_error_after_an_explicit_resume(hub):
    """SIG-10: it belongs to the resumer; nothing is left in the loop."""

    def fails():
        system.awaitsig("userdef1")
        raise LookupError("for the resumer")

    made = spawn.call(fails)
    with pytest.raises(LookupError, match="for the resumer"):
        made.resume()
    assert (made.status, hub.in_flight()) == ("dead", 0)
    assert system.run() is False


@pytest.mark.parametrize("gone", [None, 0, 1, 2])
def test_all_waiters_get_it(gone):
    """SIG-11: one signal resumes everybody who waits for it, in order of arrival, but not who has left since."""
    log = []
    made = [spawn.call(lambda n=n: log.append((n, system.awaitsig("userdef1")))) for n in range(3)]
    if gone is not None:
        made[gone].resume("left")
        assert log == [(gone, "left")]
        log.clear()
    assert disposition(signal.SIGUSR1) == "caught"
    sends("userdef1")
    assert system.run() is False
    assert log == [(n, "userdef1") for n in range(3) if n != gone]


def test_a_waiter_that_sends_others_away():
    """SIG-11: the one that is resumed first may cancel the others, although the signal is on its way to them."""
    log = []

    def first():
        log.append(system.awaitsig("userdef1"))
        for one in others:
            one.resume("sent away")

    spawn.call(first)
    others = [spawn.call(lambda: log.append(system.awaitsig("userdef1"))) for _ in range(2)]
    sends("userdef1")
    assert system.run() is False
    assert log == ["userdef1", "sent away", "sent away"]


@pytest.mark.parametrize("how", ["timeout", "throw", "close"])
def test_ways_out(how, hub, clock):
    """SIG-6: a deadline, an exception and close() end the wait, and leave no watcher."""
    log = []

    def waits():
        try:
            with scopes.timeout(1 if how == "timeout" else None):
                system.awaitsig("userdef1")
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
    assert (hub.in_flight(), disposition(signal.SIGUSR1)) == (0, "default")


def test_wait_for_something_else_in_between():
    """SIG-5: a wait for anything else ends the watch: then it is as if no one waited."""
    log = []

    def waits():
        system.awaitsig("userdef1")
        system.suspend(0.001)
        log.append(disposition(signal.SIGUSR1))
        system.awaitsig("userdef1")
        system.suspend()
        log.append(disposition(signal.SIGUSR1))

    spawn.call(waits)
    sends("userdef1")
    assert system.run("step") is True
    spawn.call(lambda: (system.suspend(0.005), system.emitsig(ME, "userdef1")))
    assert system.run() is False
    assert log == ["default", "default"]


def test_reports_say_what_is_awaited():
    """SIG-2: in a deadlock of others, the waiter for a signal is shown with its name."""
    made = spawn.call(system.awaitsig, "hangup")
    assert str(made.waiting_on) == "signal hangup"
    assert system.run("ready") is True  # a signal can always come
    assert made.close() is True


# -- T-27: handlers of Python and dispositions


def test_python_handler_works_again():
    """T-27: a handler of Python is not called while a coroutine waits, and works again when no one does."""
    seen, log = [], []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    try:
        for count in (1, 2):
            spawn.call(lambda: log.append(system.awaitsig("userdef1")))
            os.kill(ME, signal.SIGUSR1)
            assert system.run() is False
            assert (len(log), len(seen)) == (count, count - 1)
            os.kill(ME, signal.SIGUSR1)
            assert len(seen) == count
        assert callable(signal.getsignal(signal.SIGUSR1))
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_ignored_signals_are_ignored_again():
    """T-27: after awaitsig("brokenpipe") writing to a broken pipe still raises BrokenPipeError and kills none."""
    assert disposition(signal.SIGPIPE) == "ignored"
    spawn.call(system.awaitsig, "brokenpipe")
    assert disposition(signal.SIGPIPE) == "caught"
    os.kill(ME, signal.SIGPIPE)
    assert system.run() is False
    assert disposition(signal.SIGPIPE) == "ignored"
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(BrokenPipeError):
        os.write(writer, b"x")
    os.close(writer)


@pytest.mark.parametrize("when", ["while it is watched", "afterwards"])
def test_handler_that_is_set_since(when):
    """T-27: signal.signal() has its effect, whether it is called while a coroutine waits or later."""
    seen = []
    before = signal.getsignal(signal.SIGUSR1)
    try:
        made = spawn.call(system.awaitsig, "userdef1")
        if when == "afterwards":
            made.close()
        signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
        os.kill(ME, signal.SIGUSR1)
        assert seen == [signal.SIGUSR1]
        made.close()
        os.kill(ME, signal.SIGUSR1)
        assert len(seen) == 2
        again = spawn.call(system.awaitsig, "userdef1")  # watched again, and given back again
        os.kill(ME, signal.SIGUSR1)
        assert system.run() is False
        assert (again.status, len(seen)) == ("dead", 2)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert disposition(signal.SIGUSR1) == "default"


def test_the_last_watcher_decides():
    """T-27: as long as one of several waits, the signal is watched."""
    made = [spawn.call(system.awaitsig, "userdef1") for _ in range(3)]
    for one in made:
        assert disposition(signal.SIGUSR1) == "caught"
        one.close()
    assert disposition(signal.SIGUSR1) == "default"


def test_interrupt_is_the_users_again():
    """T-27, T-28: "interrupt" is waited for without KeyboardInterrupt; after that Ctrl-C works as ever."""
    lines = output_of(
        """
        import os, signal, threading
        from coutil import spawn, system

        for _ in range(2):
            spawn.call(lambda: (system.suspend(0.001), os.kill(os.getpid(), signal.SIGINT)))
            print(system.awaitsig("interrupt"))
            try:
                threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGINT)).start()
                system.suspend(20)
            except KeyboardInterrupt:
                print("KeyboardInterrupt")
        """
    )
    assert lines == ["interrupt", "KeyboardInterrupt"] * 2


def test_closed_loop_gives_signals_back():
    """T-27: the end of the loop gives back what its coroutines still waited for, and the end of a thread too."""
    lines = output_of(
        """
        import os, signal, threading
        from coutil import spawn, system
        from coutil._kernel.hub import current_hub

        signal.signal(signal.SIGUSR1, lambda *_: print("handled", flush=True))
        waiting = spawn.call(system.awaitsig, "userdef1")
        current_hub().close()
        os.kill(os.getpid(), signal.SIGUSR1)

        def thread():
            spawn.call(system.awaitsig, "userdef1")
            system.suspend(0.001)

        one = threading.Thread(target=thread)
        one.start()
        one.join()
        os.kill(os.getpid(), signal.SIGUSR1)
        spawn.call(lambda: (system.suspend(0.001), os.kill(os.getpid(), signal.SIGUSR1)))
        print(system.awaitsig("userdef1"))
        system.suspend()
        os.kill(os.getpid(), signal.SIGUSR1)
        """
    )
    assert lines == ["handled", "handled", "userdef1", "handled"]


# -- threads, fork, floods


def test_threads():
    """SIG-11, A-17: a signal is for those who wait in other OS threads, too; each thread gives up its own watch."""
    log, ready = [], threading.Barrier(3)

    def thread():
        spawn.call(lambda: (system.suspend(), ready.wait(10)))
        log.append(system.awaitsig("userdef1"))

    threads = [threading.Thread(target=thread) for _ in range(2)]
    for one in threads:
        one.start()
    made = spawn.call(lambda: log.append(system.awaitsig("userdef1")))
    ready.wait(10)
    os.kill(ME, signal.SIGUSR1)
    assert system.run() is False
    for one in threads:
        one.join(10)
    assert log == ["userdef1"] * 3
    assert (made.status, disposition(signal.SIGUSR1)) == ("dead", "default")


def test_fork():
    """T-27, A-20: a forked child has its own signals: what it gets does not wake its parent, nor the reverse."""
    lines = output_of(
        """
        import os, signal
        from coutil import spawn, system

        signal.signal(signal.SIGUSR1, lambda *_: os.write(1, b"handled by the child\\n"))
        log = []
        spawn.call(lambda: log.append(system.awaitsig("userdef1")))
        pid = os.fork()
        if not pid:
            os.kill(os.getpid(), signal.SIGUSR1)
            spawn.call(lambda: (system.suspend(0.001), os.kill(os.getpid(), signal.SIGUSR1)))
            os.write(1, b"child " + system.awaitsig("userdef1").encode() + b"\\n")
            system.suspend()
            os.kill(os.getpid(), signal.SIGUSR1)
            os._exit(0)
        os.waitpid(pid, 0)
        print(system.suspend(0.005), log, flush=True)
        os.kill(os.getpid(), signal.SIGUSR1)
        print(system.run(), log)
        """
    )
    assert lines == ["handled by the child", "child userdef1", "handled by the child", "True []", "False ['userdef1']"]


def test_no_moment_without_a_watch():
    """T-27: the waiter in a loop is watched without a gap: signals that would kill come at any moment, none does."""
    done = run_script(
        """
        import os, signal
        from coutil import spawn, system

        ours, count, ended = {signal.SIGUSR1, signal.SIGHUP}, 0, []
        signal.pthread_sigmask(signal.SIG_BLOCK, ours)  # until both are watched
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:  # sends as fast as it can, until the pipe is closed
            os.close(writer)
            os.set_blocking(reader, False)
            while True:
                os.kill(os.getppid(), signal.SIGUSR1)
                try:
                    os.read(reader, 1)
                    break
                except BlockingIOError:
                    continue
            os.kill(os.getppid(), signal.SIGHUP)
            os._exit(0)

        def counts():
            global count
            while system.awaitsig("userdef1"):
                count += 1
                if count == 100:
                    os.close(writer)

        waiting = spawn.call(counts)
        spawn.call(lambda: ended.append(system.awaitsig("hangup")))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ours)
        while not ended:
            system.run("step")
        print(*ended, count >= 100)
        waiting.close()
        print(os.waitpid(pid, 0)[1])
        """
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["hangup True", "0"]


def test_cancelled_at_any_moment():
    """T-27: while watches come and go, a signal is either waited for or goes to the handler of Python."""
    seen, log = [], []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: seen.append(number))
    stop = threading.Event()

    def fire():
        while not stop.is_set():
            os.kill(ME, signal.SIGUSR1)

    sender = threading.Thread(target=fire)
    sender.start()
    try:
        for _ in range(300):
            made = spawn.call(lambda: log.append(system.awaitsig("userdef1")))
            made.resume(None)
            if len(log) % 10 == 0:
                log.append(system.awaitsig("userdef1"))
    finally:
        stop.set()
        sender.join()
        system.run()
        signal.signal(signal.SIGUSR1, before)
    assert log.count(None) == 300
    assert log.count("userdef1") > 0
    assert seen


# -- sending


def test_emitsig_reaches_handlers():
    """SIG-2: names, numbers, and a group; a number need not have a name."""
    seen = []
    before = {n: signal.signal(n, lambda number, frame: seen.append(number)) for n in (10, 12, 40)}
    try:
        assert system.emitsig(ME, "userdef1") is True
        assert system.emitsig(ME, 12) is True
        assert system.emitsig(ME, 40) is True
        assert system.emitsig(ME, 0) is True
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert seen == [10, 12, 40]


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (None, TypeError),
        ("1", TypeError),
        (True, TypeError),
        (1.0, TypeError),
        (2**31, ValueError),
        (-(2**40), ValueError),
    ],
)
def test_emitsig_pid(bad, kind):
    """SIG-1: a process is named by an int of the system's size."""
    for function in (
        lambda: system.emitsig(bad, 0),
        lambda: system.getpriority(bad),
        lambda: system.setpriority(bad, 0),
    ):
        with pytest.raises(kind, match="pid"):
            function()


def test_emitsig_failures():
    """SIG-1: no such process is ProcessLookupError; no such signal EINVAL, or out of range."""
    with pytest.raises(ProcessLookupError) as gone:
        system.emitsig(2**31 - 1, 0)
    assert (gone.value.name, gone.value.syscall) == ("ESRCH", "uv_kill")
    with pytest.raises(errors.UVError) as invalid:
        system.emitsig(ME, 200)
    assert invalid.value.name == "EINVAL"
    for number in (-1, 256, 2**40):
        with pytest.raises(ValueError, match="out of range"):
            system.emitsig(ME, number)
