"""`system.awaitpath`: one change of a file or folder, told by the system or found by looking."""

import math
import os
import threading
from contextlib import suppress
from weakref import ref

import pytest

from coutil import coroutine, errors, event, spawn, system
from coutil.scopes import timeout
from tests.helpers.pool import full_pool
from tests.helpers.script import output_of

LOOK = 0.01  # seconds between two looks


@pytest.fixture
def path(tmp_path):
    made = tmp_path / "file"
    made.write_text("some text")
    return made


def changing(path, until):
    """Append to a file again and again, until `until` is not empty."""
    while not until:
        with open(path, "a") as file:
            file.write("more")
        system.suspend(LOOK / 2)


def making(path, until):
    """Make a file and remove it again and again, until `until` is not empty."""
    while not until:
        path.touch()
        system.suspend(LOOK / 2)
        path.unlink()


# -- told by the system


def test_file_made_in_a_folder(tmp_path, go):
    """PTH-1: its name, and "rename"."""
    log = []
    waiter = go(lambda: log.append(system.awaitpath(tmp_path)))
    assert (waiter.status, log) == ("suspended", [])
    (tmp_path / "new").touch()
    assert system.run() is False
    assert log == [("new", {"rename"})]
    assert (log[0].name, "rename" in log[0].events) == ("new", True)


def test_file_that_is_written(path, go):
    """PTH-2: "change", and the file's name."""
    log = []
    go(lambda: log.append(system.awaitpath(path)))
    path.write_text("other text")
    assert system.run() is False
    assert log == [("file", {"change"})]


def test_file_that_is_removed(path):
    """PTH-3: "rename", maybe after "change"; after that there is nothing to wait for."""
    spawn.call(lambda: (system.suspend(), path.unlink()))
    found = []
    while not any("rename" in change.events for change in found):
        found.append(system.awaitpath(path))
    assert found[:-1] in ([], [("file", {"change"})])
    assert found[-1].name == "file"
    with pytest.raises(FileNotFoundError) as caught:
        system.awaitpath(path)
    assert (caught.value.filename, caught.value.syscall) == (path, "uv_fs_event_start")


def test_file_that_is_replaced(path, tmp_path):
    """PTH-3: the new one is watched by the next call, although it has the same name and the same coroutine calls."""

    def replace():
        system.suspend()
        (tmp_path / "temporary").write_text("new text")
        (tmp_path / "temporary").rename(path)

    spawn.call(replace)
    while "rename" not in system.awaitpath(path).events:
        pass
    spawn.call(lambda: (system.suspend(), path.write_text("newer")))
    assert system.awaitpath(path) == ("file", {"change"})


def test_missing_path(tmp_path, hub):
    """PTH-4: ENOENT at once, nothing is left, and the same coroutine can wait for something else."""
    log = []

    def wait():
        try:
            system.awaitpath(tmp_path / "missing")
        except FileNotFoundError as error:
            log.append((error.filename, hub.in_flight()))
        log.append(system.suspend())

    before = hub.in_flight()
    assert spawn.call(wait).status == "suspended"
    assert log == [(tmp_path / "missing", before)]
    assert system.run() is False
    assert log[1:] == [True]


def test_changes_that_came_together(tmp_path):
    """They are told one after the other, to the same coroutine, as long as it waits for nothing else."""
    spawn.call(lambda: (system.suspend(), [(tmp_path / str(number)).touch() for number in range(5)]))
    assert [system.awaitpath(tmp_path).name for _ in range(5)] == ["0", "1", "2", "3", "4"]
    spawn.call(lambda: (system.suspend(), (tmp_path / "5").touch(), (tmp_path / "6").touch()))
    assert system.awaitpath(tmp_path).name == "5"
    system.suspend(0.001)  # something else: "6" is forgotten
    spawn.call(lambda: (system.suspend(), (tmp_path / "7").touch()))
    assert system.awaitpath(tmp_path).name == "7"


def test_watch_is_kept_only_for_the_same_arguments(tmp_path, hub):
    """Another path, or another coroutine, begins afresh; the first watch ends with the next wait."""
    (tmp_path / "inner").mkdir()
    names, counts = [], []

    def wait():
        names.append(system.awaitpath(tmp_path).name)
        counts.append(hub.in_flight())
        (tmp_path / "inner" / "unheard").touch()
        names.append(system.awaitpath(tmp_path / "inner").name)

    before = hub.in_flight()
    spawn.call(wait)
    (tmp_path / "first").touch()
    system.run("step")
    assert (names, counts) == (["first"], [before + 1])
    system.run("ready")
    assert hub.in_flight() == before + 1
    (tmp_path / "inner" / "second").touch()
    assert system.run() is False
    assert names == ["first", "second"]


def test_tree(tmp_path):
    """`recursive`: changes below count, under their path from the folder on."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    for name in ("a/b/file", "other"):
        done = []
        spawn.call(making, tmp_path / name, done)
        assert system.awaitpath(tmp_path, recursive=True) == (name, {"rename"})
        done.append(True)
        system.run()
    with pytest.raises(FileNotFoundError):
        system.awaitpath(tmp_path / "missing", recursive=True)
    waiter = spawn.call(lambda: system.awaitpath(tmp_path, recursive=True))
    assert waiter.resume("given") == "given"


def test_bytes(tmp_path):
    """Names are as the path is: bytes, or strings that stand for what is no UTF-8."""
    name = b"\xff\xfe"
    for folder, expected in ((os.fsencode(tmp_path), name), (str(tmp_path), os.fsdecode(name))):
        spawn.call(lambda: (system.suspend(), os.mkdir(os.fsencode(tmp_path) + b"/" + name)))
        assert system.awaitpath(folder) == (expected, {"rename"})
        assert system.suspend(0.001)  # no longer watched
        os.rmdir(os.fsencode(tmp_path) + b"/" + name)


# -- found by looking


def test_poll(path):
    """PTH-5: what was and what is; sizes and times differ."""
    done = []
    spawn.call(changing, path, done)
    before, after = found = system.awaitpath(path, poll=LOOK)
    done.append(True)
    assert found.error is None
    assert (before.type, before.inode) == (after.type, after.inode) == ("file", path.stat().st_ino)
    assert (after.size - before.size) % len("more") == 0
    assert (before.size, before.mtime) < (after.size, after.mtime)
    system.run()


def test_poll_without_a_change(path):
    """PTH-5: nothing is told."""
    with pytest.raises(errors.Timeout), timeout(LOOK * 5):
        system.awaitpath(path, poll=LOOK)
    with pytest.raises(errors.Timeout), timeout(LOOK * 5):
        system.awaitpath(path, poll=1e6)


def test_poll_of_what_is_missing(tmp_path):
    """PTH-6: one error; when it is made, it was nothing before; when it is removed, another error."""
    path = tmp_path / "later"
    before, after = found = system.awaitpath(path, poll=LOOK)
    assert (before.size, before.inode, after) == (0, 0, None)
    assert isinstance(found.error, FileNotFoundError)
    assert found.error.filename == path
    path.write_text("here")
    before, after = found = system.awaitpath(path, poll=LOOK)
    assert (before.size, before.inode, found.error) == (0, 0, None)
    assert (after.size, after.type) == (4, "file")
    path.unlink()
    (before, after) = found = system.awaitpath(path, poll=LOOK)
    assert (before.size, after) == (4, None)
    assert isinstance(found.error, FileNotFoundError)
    with pytest.raises(errors.Timeout), timeout(LOOK * 5):
        system.awaitpath(path, poll=LOOK)


def test_both_ways_in_turn(path, hub):
    """PTH-7: each is closed before, or while, the other one works; both find what happens."""
    before = hub.in_flight()
    for _ in range(3):
        done = []
        writer = spawn.call(changing, path, done)
        assert system.awaitpath(path).events == {"change"}
        assert system.awaitpath(path, poll=LOOK).error is None
        assert system.awaitpath(path).name == "file"
        done.append(True)
        while writer.status != "dead":
            system.run("step")
    system.run()
    assert hub.in_flight() == before


@pytest.mark.parametrize("poll", [None, LOOK], ids=["told", "polled"])
def test_several_coroutines_on_one_path(poll, path, go):
    """PTH-8: all are told; one that is cancelled leaves the others alone."""
    log = []

    def wait(name):
        if system.awaitpath(path, poll=poll) == "cancelled":
            name = "cancelled"
        log.append(name)

    waiters = [go(wait, name) for name in "abc"]
    assert waiters[1].resume("cancelled") is None
    assert log == ["cancelled"]
    go(changing, path, [log] if poll is None else UntilAll(log))
    if poll is None:
        path.write_text("other text")
    assert system.run() is False
    assert sorted(log) == ["a", "c", "cancelled"]


class UntilAll(list):
    """True as soon as all three are done."""

    def __bool__(self):
        return len(self[0]) == 3

    def __init__(self, log):
        super().__init__([log])


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
def test_cancel_while_the_pool_looks(how, path, hub):
    """PTH-9: libuv closes the handle when the look is over, and nothing is left then."""
    log = []
    before = hub.loop.counts()
    with full_pool():
        waiter = spawn.call(lambda: log.append(system.awaitpath(path, poll=LOOK)))
        system.run("ready")
        if how == "resume":
            waiter.resume("given")
        else:
            with suppress(KeyError):
                waiter.throw(KeyError) if how == "throw" else waiter.close()
        assert (waiter.status, log) == ("dead", ["given"] * (how == "resume"))
        system.run("ready")
        counts = hub.loop.counts()
        assert counts["handles_closed"] == counts["handles_freed"] + 1 == before["handles_closed"] + 1
    assert system.run() is False
    counts = hub.loop.counts()
    assert counts["handles_closed"] == counts["handles_freed"]


# -- any wait


@pytest.mark.parametrize("poll", [None, LOOK], ids=["told", "polled"])
def test_patterns_of_cancellation(poll, path, go):
    """G-CS, G-CR, G-RC: explicit resumes bring exactly their values; nothing that happens later does resume."""
    log = []

    def wait():
        log.extend(system.awaitpath(path, poll=poll) for _ in range(3))
        log.append(coroutine.yield_())

    waiter = go(wait)
    assert waiter.resume(True, None, 3) is None
    spawn.call(lambda: (system.suspend(), waiter.resume("x", "y"), waiter.resume()))
    path.write_text("other text")
    assert system.run() is False
    assert log == [(True, None, 3), ("x", "y"), None]
    waiter.resume("end")
    assert log[3:] == ["end"]


def test_patterns_of_waiting(path, tmp_path, go, escaped):
    """G-YV, G-SY, G-RS, G-IE, G-IC: what the call returns, twice in a row, and errors of the one that called."""
    log = []

    def wait(*surplus):
        log.append(system.awaitpath(tmp_path))
        log.append(system.awaitpath(tmp_path))
        raise KeyError("mine")

    waiter = coroutine.create(wait)
    assert waiter.resume("surplus") is None
    (tmp_path / "1").touch()
    assert system.run("step") is True
    assert log == [("1", {"rename"})]
    (tmp_path / "2").touch()
    assert system.run() is False
    assert log[1:] == [("2", {"rename"})]
    assert [type(error) for _, error in escaped] == [KeyError]
    escaped.clear()
    waiter = go(wait)
    with pytest.raises(KeyError, match="mine"):
        waiter.resume(), waiter.resume()


def test_order_of_checks(tmp_path):
    """A caller that cannot wait is told that first; then come the arguments, and nothing is left."""
    found = []
    before = system.get_excepthook()
    system.set_excepthook(lambda who, error: found.append(_raised(system.awaitpath, 3)))
    spawn.call(lambda: (system.suspend(), 1 / 0))
    system.run()
    system.set_excepthook(before)
    assert [type(error) for error in found] == [errors.NotYieldable]
    for arguments, options, error in (
        ((3,), {}, TypeError),
        (("a\0b",), {}, ValueError),
        ((tmp_path,), {"poll": "1"}, TypeError),
        ((tmp_path,), {"poll": True}, TypeError),
        ((tmp_path,), {"poll": 0}, ValueError),
        ((tmp_path,), {"poll": math.nan}, ValueError),
        ((tmp_path,), {"poll": math.inf}, ValueError),
        ((tmp_path,), {"recursive": 1}, TypeError),
        ((tmp_path,), {"recursive": True, "poll": 1}, ValueError),
        (("",), {}, FileNotFoundError),
        (("x" * 5000,), {}, OSError),
    ):
        assert isinstance(_raised(system.awaitpath, *arguments, **options), error), (arguments, options)


def _raised(call, *arguments, **options):
    try:
        return call(*arguments, **options)
    except (errors.CoutilError, OSError, TypeError, ValueError) as error:
        return error.with_traceback(None)


def test_a_waiter_that_everybody_forgot(tmp_path):
    """A-11: the hub keeps it, and resumes it."""
    log = []
    spawn.call(lambda: log.append(system.awaitpath(tmp_path).name))
    event.emitall("anything")
    (tmp_path / "new").touch()
    assert system.run() is False
    assert log == ["new"]


def test_thread_with_a_loop_of_its_own(tmp_path):
    """Each OS thread watches for itself."""
    log, ready = [], threading.Event()

    def body():
        spawn.call(lambda: (system.suspend(), ready.set()))
        log.append(system.awaitpath(tmp_path))

    thread = threading.Thread(target=body)
    thread.start()
    assert ready.wait(10)
    (tmp_path / "new").touch()
    thread.join(10)
    assert log == [("new", {"rename"})]


def test_exit_while_paths_are_watched(tmp_path):
    """A-20: the interpreter ends at once, also while the thread pool looks at a path."""
    script = f"""
        from coutil import spawn, system
        path = {str(tmp_path)!r}
        for poll in (None, 0.001, 1000):
            spawn.call(lambda: print(system.awaitpath(path, poll=poll)))
        tree = system.watch(path, recursive=True)
        spawn.call(lambda: print(next(tree)))
        print("end")
    """
    (tmp_path / "inner").mkdir()
    assert output_of(script) == ["end"]
    assert output_of(script + "    system.run('ready')\n") == ["end"]


@pytest.mark.parametrize("poll", [None, 0.001], ids=["event", "poll"])
def test_forgotten_after_a_wait(poll, tmp_path):
    """A coroutine that waits no more, and that everybody has forgotten, ends: its finally clause runs."""
    log = []

    def body():
        try:
            system.awaitpath(tmp_path if poll is None else tmp_path / "none", poll=poll)
            log.append("woken")
            coroutine.yield_()
        finally:
            log.append("ended")

    one = ref(spawn.call(body))
    system.run("ready")
    (tmp_path / "made").touch()
    while not log:
        system.run("step")
    system.run("ready")
    assert log == ["woken", "ended"]
    assert one() is None
