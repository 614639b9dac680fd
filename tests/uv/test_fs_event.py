"""Changes of files, told by the system: handlers, iteration, restarting, closing, and what is lost."""

import os
import threading

import pytest

from coutil import errors, uv
from coutil.uv import fs_event as module
from tests.helpers.loops import begin
from tests.helpers.sockets import failure

RENAME, CHANGE = frozenset({"rename"}), frozenset({"change"})


@pytest.fixture
def event(loop):
    """A handle of the loop."""
    with uv.FSEvent(loop) as made:
        yield made


def collect(event, log, until=1):
    """Log each call of the handler, and stop after so many."""

    def onevent(one, err, filename, events):
        log.append((err, filename, events))
        if len(log) >= until:
            one.stop()

    event.onevent = onevent
    return event


def write(path, text="x"):
    with open(path, "a") as file:
        file.write(text)


def test_folder(loop, event, tmp_path):
    """The name of the entry that is made, changed, renamed and removed; the loop ends at stop."""
    log = []
    collect(event, log, 5).start(tmp_path)
    assert event.active
    write(tmp_path / "a")
    os.rename(tmp_path / "a", tmp_path / "b")
    os.remove(tmp_path / "b")
    assert loop.run() is False
    assert not event.active
    assert log == [
        (None, "a", RENAME),
        (None, "a", CHANGE),
        (None, "a", RENAME),
        (None, "b", RENAME),
        (None, "b", RENAME),
    ]


def test_file(loop, event, tmp_path):
    """Its own name, for each change."""
    log = []
    path = tmp_path / "file"
    write(path)
    collect(event, log).start(path)
    loop.run("nowait")
    assert log == []
    write(path)
    loop.run()
    assert log == [(None, "file", CHANGE)]


def test_flat_form(loop, tmp_path):
    """Each function under libuv's own name."""
    log = []
    event = collect(uv.new_fs_event(loop), log, 2)
    uv.fs_event_start(event, tmp_path)
    assert uv.fs_event_getpath(event) == str(tmp_path)
    write(tmp_path / "x")
    uv.run(loop)
    uv.fs_event_stop(event)
    assert [filename for _, filename, _ in log] == ["x", "x"]
    assert uv.handle_get_type(event) == "fs_event"
    uv.close(event)


def test_bytes(loop, event, tmp_path):
    """A path in bytes brings names in bytes; names that are no UTF-8 come back as they went in."""
    log = []
    collect(event, log).start(os.fsencode(tmp_path))
    assert event.path == os.fsencode(tmp_path)
    write(os.fsencode(tmp_path) + b"/\xff")
    loop.run()
    assert log == [(None, b"\xff", RENAME)]
    event.start(tmp_path)
    log.clear()
    os.remove(os.fsencode(tmp_path) + b"/\xff")
    loop.run()
    assert log == [(None, os.fsdecode(b"\xff"), RENAME)]


def test_path_and_start_twice(loop, event, tmp_path):
    """EINVAL: no path before the start and after the stop, no second start; ENOENT with the path; the loop can end."""
    assert failure(lambda: event.path).name == "EINVAL"
    with pytest.raises(FileNotFoundError) as info:
        event.start(tmp_path / "nothing")
    assert (info.value.filename, info.value.syscall) == (tmp_path / "nothing", "uv_fs_event_start")
    assert loop.run() is False
    event.start(tmp_path)
    assert failure(event.start, tmp_path).name == "EINVAL"
    assert event.path == str(tmp_path)
    event.stop()
    event.stop()
    with pytest.raises(errors.UVError) as info:
        uv.fs_event_getpath(event)
    assert (info.value.name, info.value.syscall) == ("EINVAL", "uv_fs_event_getpath")


def test_long_path(event, tmp_path, monkeypatch):
    """A path that does not fit into the room that was made for it is asked for again."""
    monkeypatch.setattr("coutil._libuv.watch._MAX_PATH", 4)
    event.start(tmp_path)
    assert event.path == str(tmp_path)
    assert len(event.path) > 4


def test_arguments(event, tmp_path):
    """Paths with a NUL, of other types; flags."""
    with pytest.raises(ValueError, match="path "):
        event.start(f"{tmp_path}\0")
    for wrong in (None, 7, ["x"]):
        with pytest.raises(TypeError, match=r"path "):
            event.start(wrong)
    with pytest.raises(TypeError, match="recursive "):
        event.start(tmp_path, 1)
    assert not event.active
    event.start(tmp_path, recursive=True)
    assert event.active


def test_two_handles_of_one_file(loop, tmp_path):
    """Both are told, though the system has one watch for them; closing one leaves the other."""
    log = []
    with uv.FSEvent(loop) as first, uv.FSEvent(loop) as second:
        for event in (first, second):
            collect(event, log)
            event.start(tmp_path)
        write(tmp_path / "x")
        loop.run()
        assert log == [(None, "x", RENAME)] * 2
        first.start(tmp_path)
        second.start(tmp_path)
        first.close()
        log.clear()
        os.remove(tmp_path / "x")
        loop.run()
        assert log == [(None, "x", RENAME)]


def test_watched_folder_is_removed(loop, event, tmp_path):
    """It is told, with its own name."""
    log = []
    folder = tmp_path / "folder"
    folder.mkdir()
    collect(event, log).start(folder)
    folder.rmdir()
    loop.run()
    assert log == [(None, "folder", RENAME)]


def test_stop_in_the_handler(loop, event, tmp_path):
    """Of those that came together no other is told, also not after the next start."""
    log = []
    collect(event, log, 1).start(tmp_path)
    for name in "abc":
        write(tmp_path / name)
    loop.run()
    assert log == [(None, "a", RENAME)]
    event.start(tmp_path)
    loop.run("nowait")
    assert len(log) == 1
    collect(event, log, 2)
    write(tmp_path / "new")
    loop.run()
    assert log[1] == (None, "new", RENAME)


@pytest.mark.parametrize("park", [False, True])
def test_close_in_the_handler(loop, event, tmp_path, park):
    """With others pending: none comes any more."""
    log = []

    def onevent(one, err, filename, events):
        log.append(filename)
        one.close() if park else one.close_soon()

    event.onevent = onevent
    event.start(tmp_path)
    for name in "abc":
        write(tmp_path / name)
    loop.run()
    assert log == ["a"]
    assert event.closed


def test_close_with_events_pending(loop, tmp_path):
    """Closed before the loop runs again: the handler is never called, and nothing is left."""
    log = []
    event = collect(uv.FSEvent(loop), log)
    event.start(tmp_path)
    write(tmp_path / "x")
    event.close()
    assert loop.run() is False
    assert log == []
    for call in (lambda: event.start(tmp_path), event.stop, lambda: event.path, lambda: next(event)):
        with pytest.raises(errors.Closed, match="fs_event "):
            call()


def test_handler_that_waits(loop, event, tmp_path):
    """The others are told meanwhile."""
    log = []

    def onevent(one, err, filename, events):
        log.append(filename)
        if len(log) == 1:
            with uv.Timer(loop) as timer:
                timer.close()
            log.append("later")
            one.stop()

    event.onevent = onevent
    event.start(tmp_path)
    write(tmp_path / "a")
    write(tmp_path / "b")
    loop.run()
    assert log == ["a", "a", "b", "b", "later"]


def test_many(loop, event, tmp_path):
    """More than are taken at once, in order."""
    log = []
    count = module.BATCH + 500
    names = [f"{number}" for number in range(count)]
    collect(event, log, count).start(tmp_path)
    for name in names:
        os.mkdir(tmp_path / name)
    loop.run()
    assert [filename for _, filename, _ in log] == names
    assert {events for _, _, events in log} == {RENAME}


def test_iteration(loop, event, tmp_path):
    """One event after the other; nothing is lost between two steps, and `stop` ends it."""
    event.start(tmp_path)
    write(tmp_path / "a")
    assert next(event) == uv.FileEvent("a", RENAME)
    loop.run("nowait")
    os.remove(tmp_path / "a")
    loop.run("nowait")
    found = []
    for filename, events in event:
        found.append((filename, events))
        if len(found) == 2:
            event.stop()
    assert found == [("a", CHANGE), ("a", RENAME)]
    with pytest.raises(StopIteration):
        next(event)


def test_stop_ends_a_waiting_iteration(loop, event, tmp_path):
    """Also if the handle is started again at once; a handle that is not started has nothing to iterate over."""
    got = []
    assert list(event) == []
    event.start(tmp_path)
    begin(loop, lambda: got.append(list(event)))
    event.stop()
    loop.run()
    assert got == [[]]


def test_iteration_wins_over_the_handler(loop, event, tmp_path):
    """While a coroutine waits it gets the event, the handler the next one."""
    log, got = [], []
    collect(event, log, 1).start(tmp_path)
    begin(loop, lambda: got.append(next(event)))
    write(tmp_path / "a")
    loop.run()
    assert got == [("a", RENAME)]
    assert log == [(None, "a", CHANGE)]


def test_iteration_by_two(loop, event, tmp_path):
    """BusyError; the first one goes on."""
    got = []
    event.start(tmp_path)
    begin(loop, lambda: got.append(next(event)))
    with pytest.raises(errors.BusyError, match=r"fs_event .* waits for it"):
        next(event)
    write(tmp_path / "a")
    loop.run("once")
    assert got == [("a", RENAME)]


def test_iteration_that_is_given_up(loop, event, tmp_path):
    """By a resume, an exception, or the close; the event is there for the next."""
    got = []
    event.start(tmp_path)
    begin(loop, lambda: got.append(next(event))).resume("mine")
    begin(loop, lambda: got.append(failure(next, event))).throw(KeyError("no"))
    assert got[0] == "mine"
    assert repr(got[1]) == "KeyError('no')"
    write(tmp_path / "a")
    assert next(event) == ("a", RENAME)
    assert next(event) == ("a", CHANGE)
    begin(loop, lambda: got.append(failure(next, event)))
    event.close()
    assert isinstance(got[2], errors.Closed)


@pytest.fixture
def narrow(monkeypatch):
    """Little room for events."""
    monkeypatch.setattr(module, "DEFAULT_LIMIT", 3)


@pytest.mark.parametrize("pull", [False, True])
def test_overflow(loop, narrow, tmp_path, pull):
    """What does not fit is lost, which is told once: ENOBUFS; it goes on after that."""
    log = []
    with uv.FSEvent(loop) as event:
        event.start(tmp_path)
        for number in range(8):
            os.mkdir(tmp_path / str(number))
        loop.run("nowait")
        if pull:
            assert failure(next, event).name == "ENOBUFS"
            assert [next(event).filename for _ in range(3)] == ["0", "1", "2"]
            os.mkdir(tmp_path / "new")
            assert next(event) == ("new", RENAME)
            return
        collect(event, log, 4)
        os.mkdir(tmp_path / "lost as well")
        loop.run()
        (err, *nothing), *others = log
        assert err.name == "ENOBUFS"
        assert nothing == [None, None]
        assert [filename for _, filename, _ in others] == ["0", "1", "2"]


def test_unref(loop, event, tmp_path):
    """An active handle keeps its loop alive unless it is not referenced."""
    event.start(tmp_path)
    assert loop.alive
    event.unref()
    assert not loop.alive
    assert loop.run() is False
    assert event.active


def test_foreign_thread(event, tmp_path):
    """Every call raises; nothing happens."""
    found = []

    def use():
        found.extend(map(failure, (lambda: event.start(tmp_path), event.stop, lambda: event.path, lambda: next(event))))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert [type(error) for error in found] == [errors.ForeignThread] * 4
    assert not event.active
