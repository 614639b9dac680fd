"""Settings of the process, and functions of the interpreter, that other libraries replace under a loop."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from unittest import mock

import pytest

from coutil import spawn, system
from coutil._interpreter import Time
from tests.helpers.script import output_of, run_script

# A signal 150 ms after the wait has begun: `noticed` says whether it came through then, or at the end of the wait.
SIGNALS = """
    import asyncio, os, signal, socket, sys, threading, time
    from coutil import spawn, system
    from coutil._kernel.hub import current_hub

    def send(number, seconds=0.15):
        threading.Timer(seconds, os.kill, (os.getpid(), number)).start()

    def noticed(wait=lambda: system.suspend(20)):
        began = time.monotonic()
        try:
            wait()
        except KeyboardInterrupt:
            pass
        return 0.1 < time.monotonic() - began < 10

    class Told(Exception):
        pass

    def handler(*_):
        raise Told

    async def add_handler():
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, print)

    system.suspend(0.01)
    signal.signal(signal.SIGUSR2, lambda *_: signal.set_wakeup_fd(-1))
"""
THEFTS = {
    "asyncio": "asyncio.run(add_handler())",
    "nothing": "signal.set_wakeup_fd(-1)",
    "a descriptor": "one, other = socket.socketpair(); one.setblocking(False); signal.set_wakeup_fd(one.fileno())",
    "a coroutine": "spawn.call(lambda: (system.suspend(0.02), signal.set_wakeup_fd(-1)))",
    "a signal handler": """send(signal.SIGUSR2, 0.01)""",
}


@pytest.mark.slow
@pytest.mark.parametrize("theft", THEFTS)
def test_the_wakeup_descriptor_is_taken(theft):
    """Ctrl-C comes through all the same."""
    lines = output_of(
        f"""{SIGNALS}
    server = system.socket("passive", "ipv4")
    server.bind(system.address("ipv4", "127.0.0.1:0"))
    server.listen(1)
    for wait in (
        lambda: system.suspend(20), server.accept, lambda: (spawn.call(system.suspend, 20), system.run()),
    ):
        {THEFTS[theft]}
        send(signal.SIGINT)
        print(noticed(wait))
    """
    )
    assert lines == ["True"] * 3


def test_handlers_run_at_once():
    """It is not only Ctrl-C."""
    lines = output_of(
        f"""{SIGNALS}
    signal.signal(signal.SIGTERM, lambda *_: (log.append(waiting.status), waiting.resume()))
    for theft in (lambda: signal.set_wakeup_fd(-1), lambda: asyncio.run(add_handler())):
        log, waiting = [], spawn.call(system.suspend, 20)
        theft()
        send(signal.SIGTERM)
        print(noticed(system.run), log)
    """
    )
    assert lines == ["True ['suspended']"] * 2


def test_interrupts_are_taken_again():
    """Python's handler of SIGINT, put back by another library, would raise in the middle of our code."""
    lines = output_of(
        f"""{SIGNALS}
    handler = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    system.suspend(0.2)
    print(signal.getsignal(signal.SIGINT) is handler)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    system.suspend(0.2)
    print(signal.getsignal(signal.SIGINT) is signal.SIG_IGN)
    """
    )
    assert lines == ["True", "True"]


def test_bytes_are_passed_on():
    """Who has set a descriptor, before the loop began or later, gets the number of each signal."""
    lines = output_of(
        f"""{SIGNALS.replace("system.suspend(0.01)", "")}
    signal.signal(signal.SIGUSR1, lambda *_: None)
    for began in range(2):
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        signal.set_wakeup_fd(writer.fileno())
        system.suspend(0.2)
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGUSR1)
            system.suspend(0.001)
        print(reader.recv(10) == bytes([signal.SIGUSR1] * 3))
    print(signal.set_wakeup_fd(-1) not in (-1, writer.fileno()))
    current_hub().close()
    """
    )
    assert lines == ["True", "True", "True"]


def test_bytes_are_not_passed_on_to_strangers():
    """The number that was set may have been closed, and belong to another file now."""
    lines = output_of(
        f"""{SIGNALS}
    signal.signal(signal.SIGUSR1, lambda *_: None)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer)
    system.suspend(0.2)
    strange, end = os.pipe()
    os.set_blocking(strange, False)
    os.dup2(end, writer)
    os.kill(os.getpid(), signal.SIGUSR1)
    system.suspend(0.01)
    try:
        print(os.read(strange, 10))
    except BlockingIOError:
        print("nothing")
    """
    )
    assert lines == ["nothing"]


def test_an_idle_loop_is_left_alone(hub):
    """The settings are looked at once, not again and again."""
    turns: list[int] = []
    spawn.call(lambda: (system.suspend(0.3), turns.append(hub._turns)))
    turns.append(hub._turns)
    spawn.call(lambda: (system.suspend(1), turns.append(hub._turns)))
    while len(turns) < 3:
        hub.run("step")
    assert turns[2] - turns[1] <= 3  # one for each timer, and one look


# -- functions


@pytest.fixture
def frozen() -> Iterator[None]:
    """Freeze the time as freezegun does: in every module that has a function of `time`, under whatever name."""
    real = {getattr(time, name): getattr(time, name)() for name in ("time", "time_ns", "monotonic", "monotonic_ns")}
    with mock.patch.multiple(time, **{one.__name__: mock.Mock(return_value=value) for one, value in real.items()}):
        patches = []
        for module in list(sys.modules.values()):
            if (getattr(module, "__name__", None) or "").startswith("coutil"):
                for name, value in list(vars(module).items()):
                    if isinstance(value, type(len)) and value in real:
                        patches.append(mock.patch.object(module, name, lambda value=value: real[value]))
        for one in patches:
            one.start()
        yield
        for one in patches:
            one.stop()


@pytest.mark.usefixtures("frozen")
def test_frozen_time():
    """Coroutines that take turns let libuv poll, timers fire, and reports tell how long coroutines have waited."""
    stop: list[bool] = []

    def take_turns() -> None:
        while not stop and Time.monotonic_ns() < until:
            system.suspend(0)

    until = Time.monotonic_ns() + 2_000_000_000
    spawn.call(take_turns)
    spawn.call(take_turns)
    system.suspend(0.05)
    assert Time.monotonic_ns() < until
    stop.append(True)
    system.suspend(0.01)


def test_sleep_is_not_the_module_s():
    """A test that replaces time.sleep sees no call of the loop's own."""
    over = threading.Event()
    threading.Thread(target=over.wait, daemon=True).start()

    def busy() -> None:
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            system.suspend(0)

    with mock.patch("time.sleep") as sleep:
        spawn.call(busy)
        system.suspend(0.03)
        system.suspend(0.001, blocking=True)
        system.run()
    over.set()
    sleep.assert_not_called()


def test_replaced_before_the_import():
    """A process in which each greenlet is a thread for `_thread`, as gevent makes it, and no one sleeps."""
    lines = output_of("""
        import sys, _thread, time, greenlet
        class local:
            def __init__(self):
                self.__dict__["all"] = {}
            def __getattr__(self, name):
                return self.all[id(greenlet.getcurrent()), name]
            def __setattr__(self, name, value):
                self.all[id(greenlet.getcurrent()), name] = value
        _thread.get_ident = lambda: id(greenlet.getcurrent())
        _thread._local = local
        _thread.allocate_lock = lambda make=_thread.allocate_lock: make()
        _thread.RLock = lambda make=_thread.RLock: make()
        _thread.start_new_thread = time.sleep = time.monotonic_ns = None
        from coutil import event, scopes, spawn, sync, system
        got = []
        spawn.call(lambda: got.append(event.await_("x")))
        system.suspend(0.01)
        print(event.emitall("x"), got)
        queue = sync.Queue(1)
        spawn.call(queue.put, 1)
        with scopes.timeout(1):
            print(queue.get())
    """)
    assert lines == ["True ['x']", "1"]


def test_subinterpreters_are_refused():
    """They share the greenlets of a thread, which refer to our objects; signals never reach them."""
    interpreters = pytest.importorskip("_xxsubinterpreters" if sys.version_info < (3, 13) else "_interpreters")
    assert interpreters
    done = run_script(
        """
        import _xxsubinterpreters as interpreters
        for before in False, True:
            other = interpreters.create(isolated=False)
            try:
                interpreters.run_string(other, "import coutil.system")
            except interpreters.RunFailedError as error:
                print(error)
            import coutil
            interpreters.destroy(other)
        """
        if sys.version_info < (3, 13)
        else """
        import _interpreters as interpreters
        for before in False, True:
            other = interpreters.create("legacy")
            print(interpreters.exec(other, "import coutil.system").formatted)
            import coutil
            interpreters.destroy(other)
        """
    )
    assert done.stdout.count("coutil works in the main interpreter only, not in a subinterpreter") == 2
    assert (done.returncode, done.stderr) == (0, "")
