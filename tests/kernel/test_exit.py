"""The end of a process: whatever is unfinished then, it neither hangs nor crashes, and says nothing that was not asked.

Each case is a program of its own, run in Python's development mode, with an allocator that spoils what it frees.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys

import pytest

from tests.helpers.script import ROOT, run_script

OPTIONS = ("-X", "dev", "-W", "error", "-W", "ignore:unclosed:ResourceWarning")  # leaving things open is the point here

PRELUDE = """
import atexit, gc, os, signal, sys, threading, time
from coutil import coroutine, errors, spawn, system
from tests.helpers.servers import listening

def connecting(server):
    client = system.socket("stream", "ipv4")
    client.connect(server.getaddress())
    return client

def pair():
    server = listening(backlog=8)
    return connecting(server), server.accept()

def say(*words):
    print(*words, flush=True)
"""


@pytest.fixture(autouse=True)
def spoil_freed_memory(monkeypatch):
    """Have the C library overwrite what is freed, so that a use after that shows."""
    monkeypatch.setenv("MALLOC_PERTURB_", "165")


def ends(text, *options):
    """Run the prelude and `text`; return (exit code, lines printed, standard error)."""
    done = run_script(PRELUDE + text, *OPTIONS, *options)
    return done.returncode, done.stdout.splitlines(), done.stderr


# -- what waits does not keep the process, and is not told


UNFINISHED = {
    "timer": "spawn.call(system.suspend, 1000)",
    "timer, started": "spawn.call(system.suspend, 1000); system.suspend(0.001)",
    "ready": "spawn.call(system.suspend); spawn.call(lambda: [system.suspend() for _ in iter(int, 1)])",
    "yielded": "one = coroutine.create(coroutine.yield_); one.resume()",
    "receive": "near, far = pair(); spawn.call(near.receive); spawn.call(far.receive); system.run('ready')",
    "unread data": "near, far = pair(); near.send(b'unread'); system.suspend(0.001)",
    "accept": "server = listening(backlog=8); spawn.call(server.accept); system.run('ready')",
    "connections nobody takes": "server = listening(backlog=8); clients = [connecting(server) for _ in range(3)]",
    "connect": "server = listening(backlog=8); spawn.call(connecting, server)",
    "send": "near, far = pair(); spawn.call(near.send, bytes(1 << 24)); system.run('ready')",
    "send, cancelled": "near, far = pair(); one = spawn.call(near.send, bytes(1 << 24)); one.resume()",
    "shutdown": "near, far = pair(); spawn.call(near.send, bytes(1 << 24)); spawn.call(near.shutdown)",
    "closing": "near, far = pair(); spawn.call(near.receive); far.close()",
    "halted": "spawn.call(lambda: (system.suspend(), system.halt(), system.suspend(1000))); system.run()",
    "many": "for _ in range(5000): spawn.call(system.suspend, 1000)",
    "in a cycle": "near, far = pair(); cycle = [near]; cycle.append(cycle); del near, cycle; spawn.call(far.receive)",
}


@pytest.mark.slow
@pytest.mark.parametrize("what", UNFINISHED)
def test_unfinished(what):
    """A-20, TIM-13, B25: the program ends at once, with its own exit code, whatever is still open or waited for."""
    code, said, errors = ends(
        f"""
{UNFINISHED[what]}
say("end")
sys.exit(3)
"""
    )
    assert (code, said, errors) == (3, ["end"], "")


def test_waiting_coroutines_are_not_resumed():
    """A-20: a coroutine that waits when the process ends is left as it is; its clean-up does not run."""
    code, said, errors = ends(
        """
def patient(wait, *arguments):
    try:
        wait(*arguments)
    finally:
        say("resumed")

near, far = pair()
kept = [spawn.call(patient, wait) for wait in (near.receive, system.suspend, lambda: system.suspend(1000))]
say("end")
"""
    )
    assert (code, said, errors) == (0, ["end"], "")


def test_finally_block_that_waits_again():
    """B25: coroutines that are suspended inside `finally`, and those whose `finally` would wait, end in silence."""
    code, said, errors = ends(
        """
def stubborn(wait):
    try:
        coroutine.yield_() if wait is None else wait()
    finally:
        system.suspend(0.001)
        spawn.call(system.suspend, 1000)
        system.socket("stream", "ipv4").close()
        say("cleaned up")
        system.suspend(1000)

inside = spawn.call(stubborn, lambda: None)          # suspended in its finally block
waiting = spawn.call(stubborn, lambda: system.suspend(1000))
yielded = coroutine.create(stubborn)
yielded.resume(None)
system.suspend(0.01)
say("end")
"""
    )
    assert (code, said, errors) == (0, ["cleaned up", "end"], "")


def test_forgotten_coroutine_is_cleaned_up_before_the_end():
    """B25: one without references runs its `finally` block, in which it cannot wait, long before the end."""
    code, said, errors = ends(
        """
def stubborn():
    try:
        coroutine.yield_()
    finally:
        try:
            system.suspend(0.001)
        except errors.NotYieldable as refused:
            say(type(refused).__name__)

coroutine.create(stubborn).resume()
gc.collect()
say("end")
"""
    )
    assert (code, said, errors) == (0, ["NotYieldable", "end"], "")


# -- atexit


def test_atexit_handlers():
    """B25: handlers that were registered before and after the import may wait, serve and open anything."""
    done = run_script(
        "import atexit\natexit.register(lambda: use('before'))\n"
        + PRELUDE
        + """
def use(when):
    say(when, system.suspend(0.001))
    near, far = pair()
    spawn.call(lambda: far.send(far.receive().upper()))
    near.send(when.encode())
    say(near.receive().decode())
    spawn.call(system.suspend, 1000)

atexit.register(use, "after")
old = spawn.call(system.suspend, 1000)
system.run("ready")
""",
        *OPTIONS,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["after True", "AFTER", "before True", "BEFORE"]
    assert done.returncode == 0


def test_what_the_old_loop_owned_is_closed_in_late_atexit_handlers():
    """B25: a handler that runs after the loop was closed gets `Closed` from the old objects, and can use new ones."""
    done = run_script(
        "import atexit\natexit.register(lambda: late())\n"
        + PRELUDE
        + """
def late():
    for use in (near.receive, lambda: near.send(b"x"), near.fileno, server.accept, lambda: server.getaddress()):
        try:
            use()
        except errors.Closed as refused:
            say(refused)
    say(near.close(), repr(near))
    try:
        reused.resume()
    except errors.Closed as refused:
        say(refused)
    system.suspend(0.001)
    say("new loop")

def twice():
    system.suspend()
    coroutine.yield_()
    system.suspend()

near, far = pair()
server = listening(backlog=8)
spawn.call(near.receive)
reused = spawn.call(twice)
system.run("ready")
""",
        *OPTIONS,
    )
    stream, passive = (f"{kind} ipv4 is closed: its event loop has ended" for kind in ("stream", "passive"))
    assert done.stderr == ""
    assert re.sub(r"( -> | )\S+:\d+", "", done.stdout).splitlines() == [
        *[stream] * 3,
        *[passive] * 2,
        "True <StreamSocket ipv4 closed>",
        "the event loop is closed",
        "new loop",
    ]
    assert done.returncode == 0


# -- threads


def test_daemon_threads():
    """B25: daemon threads that are busy with their hubs when the interpreter goes away do no harm."""
    code, said, errors = ends(
        """
def busy():
    near, far = pair()
    spawn.call(lambda: [system.suspend(0.0005) for _ in iter(int, 1)])
    spawn.call(lambda: [near.send(near.receive()) for _ in iter(int, 1)])
    far.send(b"x")
    ready.release()
    while True:
        far.send(far.receive())

ready = threading.Semaphore(0)
for _ in range(4):
    threading.Thread(target=busy, daemon=True).start()
for _ in range(4):
    ready.acquire()
system.suspend(0.01)
say("end")
sys.exit(4)
"""
    )
    assert (code, said, errors) == (4, ["end"], "")


def test_daemon_thread_that_waits():
    """B25: a daemon thread whose hub is idle in the kernel does not keep the process."""
    code, said, errors = ends(
        """
def idle():
    server = listening(backlog=8)
    ready.set()
    server.accept()

ready = threading.Event()
threading.Thread(target=idle, daemon=True).start()
ready.wait()
time.sleep(0.01)
say("end")
"""
    )
    assert (code, said, errors) == (0, ["end"], "")


def test_other_threads_are_waited_for():
    """B25: threads that are no daemons finish their work after the main program, then their coroutines end."""
    code, said, errors = ends(
        """
def patient():
    try:
        system.suspend(1000)
    finally:
        say("ended")

def work():
    spawn.call(patient)
    main.join()
    system.suspend(0.01)
    say("thread")

main = threading.main_thread()
threading.Thread(target=work).start()
spawn.call(system.suspend, 1000)
system.suspend(0.001)
say("main")
"""
    )
    assert errors == ""
    assert said == ["main", "thread", "ended"]
    assert code == 0


def test_first_use_in_a_thread():
    """B25: a program whose main thread never uses the loop, and that imports it in another thread."""
    done = run_script(
        """
        import signal, threading

        def work():
            from coutil import spawn, system
            spawn.call(system.suspend, 1000)
            print(system.suspend(0.001), signal.getsignal(signal.SIGINT) is signal.default_int_handler)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        """,
        *OPTIONS,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "True True\n", "")


# -- leaving on purpose


LEAVING = {
    "coroutine": "spawn.call(leave); system.run()",
    "coroutine, main waits": "spawn.call(leave); system.suspend(1000)",
    "coroutine, main receives": "near, far = pair(); spawn.call(leave); near.receive()",
    "nested coroutine": "spawn.call(lambda: (system.suspend(), spawn.call(leave), system.suspend(1000))); system.run()",
    "coroutine, step": "spawn.call(leave); [system.run('step') for _ in range(9)]",
    "first run": "spawn.call(sys.exit, 7)",
    "resumed by main": "coroutine.create(sys.exit).resume(7)",
    "excepthook": "system.set_excepthook(lambda *_: sys.exit(7)); spawn.call(fail); system.run()",
    "excepthook, main waits": "system.set_excepthook(lambda *_: sys.exit(7)); spawn.call(fail); system.suspend(1000)",
    "hook": "current_context().hooks = Leaver(); system.suspend(1000)",
    "call from a thread": "current_hub().call_threadsafe(sys.exit, 7); system.suspend(1000)",
    "signal handler": "signal.signal(signal.SIGALRM, Leaver.turn); signal.setitimer(0, 0.01); system.suspend(9)",
    "signal handler, run": "signal.signal(signal.SIGALRM, Leaver.turn); signal.setitimer(0, 0.01); system.run()",
    "os._exit": "spawn.call(lambda: (system.suspend(), os._exit(7))); system.run()",
    "os._exit in a thread": "threading.Thread(target=leave_hard).start(); system.suspend(9)",
    "after halt": "spawn.call(lambda: (system.suspend(), system.halt())); system.run(); sys.exit(7)",
}


@pytest.mark.slow
@pytest.mark.parametrize("where", LEAVING)
def test_leaving(where):
    """B25: `sys.exit` reaches the main program from wherever it is called; the exit code is exact."""
    code, said, errors = ends(
        f"""
from coutil._coroutines.coroutine import current_context
from coutil._coroutines.hooks import Hooks
from coutil._kernel.hub import current_hub

class Leaver(Hooks):
    def turn(self, count):
        sys.exit(7)

def leave():
    system.suspend()
    sys.exit(7)

def leave_hard():
    system.suspend(0.001)
    os._exit(7)

def fail():
    system.suspend()
    raise RuntimeError

left = pair(), spawn.call(system.suspend, 1000)
{LEAVING[where]}
say("not reached")
"""
    )
    assert (code, said, errors) == (7, [], "")


def test_unhandled_exceptions():
    """B25: one of a coroutine is printed and the program goes on; one of the main program ends it, with code 1."""
    code, said, errors = ends(
        """
def fail():
    system.suspend()
    raise RuntimeError("of the coroutine")

spawn.call(system.suspend, 1000)
spawn.call(fail)
system.suspend(0.001)
say("going on")
system.socket("stream", "ipv4").receive()
"""
    )
    assert (code, said) == (1, ["going on"])
    assert errors.startswith("Exception in <Coroutine fail dead>:\nTraceback")
    assert "RuntimeError: of the coroutine\nTraceback" in errors
    assert errors.splitlines()[-1].startswith("coutil.errors.ENOTCONN: ENOTCONN: ")
    assert errors.count("Traceback") == 2


def test_deadlock_ends_the_program():
    """B39, B25: a main program that nothing can wake ends with `Deadlock`, which tells what everybody waits for."""
    code, said, errors = ends(
        """
from coutil._coroutines.coroutine import running
from coutil._coroutines.switching import park

one = coroutine.create(coroutine.yield_, name="sleeper")
one.resume()
listener = listening(backlog=8)  # a connection nobody accepts wakes nobody
system.suspend(0.001)
park(running(), "godot")
"""
    )
    assert (code, said) == (1, [])
    assert "coutil.errors.Deadlock: nothing can wake the 2 coroutines that wait\n" in errors
    assert [line.split()[:4:3] for line in errors.splitlines()[-3:-1]] == [["main", "godot"], ["sleeper", "yield"]]


def test_keyboard_interrupt():
    """B25, B59: KeyboardInterrupt out of a coroutine ends the program as Python always does: killed by SIGINT."""
    code, said, errors = ends(
        """
def interrupted():
    system.suspend()
    raise KeyboardInterrupt

spawn.call(system.suspend, 1000)
spawn.call(interrupted)
system.suspend(1000)
"""
    )
    assert (code, said) == (-signal.SIGINT, [])
    assert errors.startswith("Traceback")
    assert errors.splitlines()[-1] == "KeyboardInterrupt"


# -- modules that are gone


def test_module_dropped():
    """NET-27: sockets go on after `coutil.system` was dropped and collected; what is pending does no harm."""
    code, said, errors = ends(
        """
near, far = pair()
server = listening(backlog=8)
peer = server.getaddress()
late = system.socket("stream", "ipv4")
mail = system.socket("datagram", "ipv4")
mail.bind(system.address("ipv4", "127.0.0.1", 0))

def use():
    say(mail.send(b"to myself", mail.getaddress()))
    say(mail.receive()[0].decode())
    near.send(b"still there")
    say(far.receive().decode())
    late.connect(peer)

def serve():
    say(type(server.accept()).__name__)

sys.modules.pop("coutil").__dict__.pop("system")
for name in [name for name in sys.modules if name.startswith("coutil.system")]:
    del sys.modules[name]
run = system.run
del system
gc.collect()
spawn.call(serve)
spawn.call(use)
run()
other = type(near)("ipv4")
spawn.call(other.connect, peer)  # cancelled by the end of the process
spawn.call(near.receive)
spawn.call(mail.receive)
"""
    )
    assert errors == ""
    assert said == ["True", "to myself", "still there", "StreamSocket"]
    assert code == 0


def test_module_imported_again():
    """NET-27: a program that drops the module and imports it again goes on with the same hub."""
    code, said, errors = ends(
        """
near, far = pair()
spawn.call(lambda: say(near.receive().decode()))
for name in [name for name in sys.modules if name.startswith("coutil.system")]:
    del sys.modules[name]
del system, sys.modules["coutil"].system
gc.collect()
from coutil import system
far.send(b"old stream")
system.run("ready")  # it is there: a timer could be due before libuv polls
say(system.suspend(0.001))
say(isinstance(near, system.StreamSocket))
"""
    )
    assert (code, said, errors) == (0, ["old stream", "True", "False"], "")


@pytest.mark.parametrize("missing", [(0,), (2,), (0, 1, 2)], ids=str)
def test_process_without_standard_streams(missing, tmp_path):
    """A daemon that has closed descriptor 0, 1 or 2: loops and sockets get none of them, and it ends as it should."""
    done = run_script(
        f"""
        import os
        for number in {missing}:
            os.close(number)
        from coutil import system
        with system.socket("passive", "ipv4") as server, system.socket("stream", "ipv4") as client:
            server.bind(system.address("ipv4", "127.0.0.1", 0))
            server.listen(1)
            client.connect(server.getaddress())
            with server.accept() as stream:
                low = [one.fileno() for one in (server, client, stream) if one.fileno() < 3]
        places = [os.readlink(f"/proc/self/fd/{{number}}") for number in {missing}]
        with open({str(tmp_path / "said")!r}, "w") as said:
            said.write(f"{{low}} {{set(places)}}")
        """
    )
    assert done.returncode == 0
    assert (tmp_path / "said").read_text() == "[] {'/dev/null'}"


# -- the thread pool

ENDLESS = {
    "open": "spawn.call(system.openfile, path)",
    "open, given up": "spawn.call(system.openfile, path).close()",
    "read": "spawn.call(File(os.open(path, os.O_RDWR), 'pipe', True, False).read, 1)",
    "look-up": "os.environ['HOSTALIASES'] = path; spawn.call(system.findaddr, 'nowhere', 80)",
    "all threads": "[spawn.call(system.openfile, path) for _ in range(20)]",
}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("what", "thread"),
    [("open", "main"), ("open, given up", "ended"), ("read", "ended"), ("look-up", "main"), ("all threads", "daemon")],
)
def test_calls_that_never_end(what, thread, tmp_path):
    """B20: a call in the thread pool that never ends does not keep the process, if no one can miss what it brings.

    The exit code is exact, handlers have run, and what the program and the C library have to write is written.
    """
    os.mkfifo(tmp_path / "pipe")
    code, said, errors = ends(
        f"""
from coutil.system.files.file import File
path = {str(tmp_path / "pipe")!r}
def begin():
    {ENDLESS[what]}
    system.suspend(0.02)
    begun.set()
    if {thread == "daemon"}:
        system.suspend(1000)
begun = threading.Event()
if {thread == "main"}:
    begin()
else:
    threading.Thread(target=begin, daemon={thread == "daemon"}).start()
begun.wait()
atexit.register(say, "handler")
import ctypes
c = ctypes.CDLL(None)
c.fopen.restype = ctypes.c_void_p
c.fputs(b"by the C library", ctypes.c_void_p(c.fopen({bytes(tmp_path / "file")!r}, b"w")))
sys.exit(7)
"""
    )
    assert (code, said, errors) == (7, ["handler"], "")
    assert (tmp_path / "file").read_text() == "by the C library"


def test_calls_that_change_something_are_waited_for(tmp_path):
    """B20: a write that has begun is completed before the process ends, however long that takes."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    script = f"""
from coutil.system.files.file import File
data = bytes(1 << 18)
file = File(os.open({str(path)!r}, os.O_WRONLY), "pipe", False, True)
spawn.call(file.write, data)
system.suspend(0.02)
say("end")
sys.exit(5)
"""
    command = [sys.executable, *OPTIONS, "-c", PRELUDE + script]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout.readline() == "end\n"
        with pytest.raises(subprocess.TimeoutExpired):
            program.wait(0.4)  # longer than it tries to end the call
        os.set_blocking(reader, True)
        received = 0
        while data := os.read(reader, 1 << 16):
            received += len(data)
        os.close(reader)
        assert (received, program.wait(10)) == (1 << 18, 5)


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["idle", "busy", "used by the child"])
def test_child_of_a_process_that_has_used_the_pool(pool, tmp_path):
    """B61, B25: a child that leaves as programs do has its own exit code, and so has a child of it."""
    os.mkfifo(tmp_path / "pipe")
    code, said, errors = ends(
        f"""
system.random(bytearray(8))
if {pool == "busy"}:
    spawn.call(system.openfile, {str(tmp_path / "pipe")!r})
    system.suspend(0.02)
def child(code, *after):
    if os.fork() == 0:
        if {pool == "used by the child"}:
            say(system.fileinfo("/", "type"))
        if after:
            child(*after)
        sys.exit(code)
    say(os.waitstatus_to_exitcode(os.wait()[1]))
atexit.register(say, "handler")
child(3, 4)
sys.exit(5)
"""
    )
    used = ["directory"] if pool == "used by the child" else []
    assert (code, errors) == (5, "")
    assert said == [*used, *used, "handler", "4", "handler", "3", "handler"]
