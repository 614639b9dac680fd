"""The thread pool: threads that cannot be started, and requests that are cancelled."""

from __future__ import annotations

import os
import time

import pytest

from coutil import errors, uv
from tests.helpers.pool import full_pool
from tests.helpers.script import output_of, run_script

PRELUDE = """
import os, resource, sys
from coutil import errors, system, uv
if os.getuid() == 0:
    os.setuid(60000 + os.getpid() % 5000)  # the limit does not hold for root; this user has no other processes
loop = uv.default_loop()
most = resource.getrlimit(resource.RLIMIT_NPROC)[1]
def limit(number):
    resource.setrlimit(resource.RLIMIT_NPROC, (number, most))
def attempt(call):
    before = len(os.listdir("/proc/self/fd"))
    try:
        found = call()
    except errors.UVError as error:
        found = error.name, error.code == -error.errno, "RLIMIT_NPROC" in str(error)
    return found, len(os.listdir("/proc/self/fd")) - before
"""
REFUSED = str((("EAGAIN", True, True), 0))
CALLS = {
    "fileinfo": 'system.fileinfo("/", "type")',
    "openfile": 'system.openfile("/etc/passwd").closed',
    "findaddr": 'system.findaddr("localhost") and True',
    "fs": 'loop.fs.access("/")',
    "nowait": 'loop.fs.stat_nowait("/").result() and True',
    "getaddrinfo": 'loop.getaddrinfo("127.0.0.1", 80) and True',
    "getnameinfo": 'loop.getnameinfo(("127.0.0.1", 80), 3)',
    "random": "len(loop.random(5))",
    "work": 'loop.queue_work(len, "abc")',
    "fs_poll": 'uv.new_fs_poll(loop).start("/", 1000) is not None',
    "awaitpath": 'system.awaitpath("/", poll=0.01).error',
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [kind for kind in CALLS if kind != "awaitpath"])
def test_no_thread_can_be_started(kind):
    """The first call of a process raises, again and again, leaves nothing, and works when threads can be had."""
    lines = output_of(f"""{PRELUDE}
limit(1)
for _ in range(2):
    print(attempt(lambda: {CALLS[kind]}))
limit(most)
print(attempt(lambda: {CALLS[kind]})[0])
system.run("ready")
""")
    assert lines[:2] == [REFUSED] * 2
    assert lines[2] != REFUSED
    assert "EAGAIN" not in lines[2]


def test_watching_by_looking_begins_not():
    """The waiter gets the error, for the pool would look for it."""
    assert output_of(f"{PRELUDE}\nlimit(1)\nprint(attempt(lambda: {CALLS['awaitpath']}))") == [REFUSED]


@pytest.mark.parametrize("size", ["1", "3", "9"])
def test_as_many_threads_as_the_pool_has(size):
    """Whether there is room for UV_THREADPOOL_SIZE threads is looked at, and those that looked are gone by then."""
    lines = output_of(f"""
import os
os.environ["UV_THREADPOOL_SIZE"] = "{size}"
{PRELUDE}
if os.getuid() < 60000:
    raise SystemExit(print("only root can have a user without other processes"))
limit({size})  # the main thread counts, too
print(attempt(lambda: {CALLS["fileinfo"]}))
limit({size} + 1)
print(attempt(lambda: {CALLS["fileinfo"]}))
print(len(os.listdir("/proc/self/task")))
""")
    if os.getuid() != 0:
        pytest.skip(lines[0])
    assert lines == [REFUSED, "('directory', 0)", str(int(size) + 1)]


def test_no_memory_for_stacks():
    """RLIMIT_AS is a limit of threads, too."""
    lines = output_of(f"""{PRELUDE}
limit(most)
loop.run("nowait")
space = resource.getrlimit(resource.RLIMIT_AS)
used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (6 << 20), space[1]))
print(attempt(lambda: {CALLS["fileinfo"]}))
resource.setrlimit(resource.RLIMIT_AS, space)
print(attempt(lambda: {CALLS["fileinfo"]}))
""")
    assert lines == [REFUSED, "('directory', 0)"]


CHILD = """
pid = os.fork()
if pid == 0:
    try:
        {what}
        sys.stdout.flush()
    finally:
        os._exit(3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_after_a_fork():
    """Libuv starts its threads anew in a child, whatever the parent has used."""
    what = f"system.suspend(); limit(1); print(attempt(lambda: {CALLS['fileinfo']}))"
    assert output_of(f'{PRELUDE}\nsystem.fileinfo("/")\n{CHILD.format(what=what)}') == [REFUSED, "3"]


def test_a_loop_that_goes_on_after_a_fork():
    """What is polled would be looked at by the pool."""
    what = f"limit(1); print(attempt(lambda: loop.fork())); limit(most); loop.fork(); print({CALLS['fileinfo']})"
    poll = 'poll = uv.new_fs_poll(loop); poll.start("/", 10); loop.run("nowait")'
    assert output_of(f"{PRELUDE}\n{poll}\n{CHILD.format(what=what)}\npoll.close()") == [REFUSED, "directory", "3"]


# -- cancelling -------------------------------------------------------------------------------------------------------


def _time_to_cancel(loop, count):
    """CPU seconds to cancel so many requests that stand in line."""
    with full_pool():
        requests = [loop.fs.stat_nowait("/") for _ in range(count)]
        begin = time.thread_time()
        for request in requests:
            request.cancel()
        taken = time.thread_time() - begin
    for request in requests:
        with pytest.raises(errors.UVError) as caught:
            request.result()
        assert caught.value.name == "ECANCELED"
    return taken


def test_many_are_cancelled():
    """One is found at once, however many there are: 16 times as many must not take 256 times as long."""
    loop = uv.default_loop()
    few = min(_time_to_cancel(loop, 1000) for _ in range(3))
    assert _time_to_cancel(loop, 16000) < 64 * few


def test_a_slot_that_is_used_again():
    """The one that cancels late does not meet the next request of the same slot."""
    loop = uv.default_loop()
    first = loop.fs.stat_nowait("/")
    assert first.result()
    second = loop.fs.stat_nowait("/")
    with pytest.raises(errors.UVError) as caught:
        first.cancel()
    assert caught.value.name == "EBUSY"
    assert second.result()


# -- the end of the process -------------------------------------------------------------------------------------------

STUCK = {
    "opening a pipe": 'system.openfile("pipe", write=True, create=True, perm=0o600)',
    "opening a pipe by its flags": 'uv.default_loop().fs.open("pipe", "w")',
    "writing to a full pipe, given up": "cut(lambda: uv.default_loop().fs.write(writer, b'x'))",
    "reading from an empty pipe": "uv.default_loop().fs.read(os.pipe()[0], 1)",
}


@pytest.mark.slow
@pytest.mark.parametrize("call", STUCK.values(), ids=STUCK)
@pytest.mark.parametrize("thread", [False, True], ids=["main", "thread"])
def test_process_ends_with_a_call_that_lasts_for_ever(call, thread, tmp_path):
    """It ends, though a thread of the pool does not; what has to be done to a file is done before."""
    text = f"""
import fcntl, os, sys, threading
from coutil import scopes, spawn, system, uv
os.chdir({str(tmp_path)!r})
os.mkfifo("pipe")
reader, writer = os.pipe()
def cut(wait):
    with scopes.move_on_after(0.02):
        wait()
os.write(writer, bytes(fcntl.fcntl(writer, 1032)))  # F_GETPIPE_SZ
def use():
    for _ in range(2):
        spawn.call(lambda: {call})
    spawn.call(system.openfile("file", write=True, create=True, perm=0o600).write, b"data")
    system.suspend(0.1)
    if {thread}:
        begun.set()
        system.suspend(60)
begun = threading.Event()
if {thread}:
    threading.Thread(target=use, daemon=True).start()
    begun.wait()
else:
    use()
sys.exit(7)
"""
    done = run_script(text)
    assert (done.returncode, done.stdout, done.stderr) == (7, "", "")
    assert (tmp_path / "file").read_bytes() == b"data"


@pytest.mark.slow
def test_process_ends_when_a_file_is_written(tmp_path):
    """Data that the pool writes to a file when the process ends are written to the last byte."""
    done = run_script(f"""
import os
from coutil import spawn, system, uv
os.chdir({str(tmp_path)!r})
os.mkfifo("pipe")
loop = uv.default_loop()
fd = loop.fs.open("file", "w")
kept = [loop.fs.open_nowait("pipe", "r"), loop.fs.write_nowait(fd, [bytes(1 << 20)] * 400)]
while not os.path.getsize("file"):
    system.suspend(0)
""")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (tmp_path / "file").stat().st_size == 400 << 20
    (tmp_path / "file").unlink()
