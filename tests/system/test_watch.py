"""`system.watch`: all changes of a file or folder, one after the other; none is lost between two steps."""

import gc
import os
import threading
from pathlib import Path

import pytest

from coutil import errors, spawn, system
from coutil.scopes import timeout
from tests.helpers.script import output_of

QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
END = "the end"


def names_until_end(changes, folder):
    """Return the names of all changes that have come by now."""
    (folder / END).touch()
    found = []
    while (change := next(changes)).name != END:
        found.append(change.name)
    (folder / END).unlink()
    next(changes)
    return found


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "file"
    made.write_text("some text")
    return made


# -- folders


def test_changes_of_a_folder(tmp_path):
    """What happens comes in order, with its name; what happened before `watch` does not."""
    (tmp_path / "before").touch()
    with system.watch(tmp_path) as changes:
        assert iter(changes) is changes
        (tmp_path / "new").write_text("text")
        (tmp_path / "before").rename(tmp_path / "after")
        (tmp_path / "new").unlink()
        (tmp_path / "folder").mkdir()
        assert next(changes) == ("new", {"rename"})
        found = [next(changes) for _ in range(5)]
        assert found[0] == ("new", {"change"})
        assert [change.name for change in found[1:]] == ["before", "after", "new", "folder"]
        assert {event for change in found[1:] for event in change.events} == {"rename"}


def test_none_is_lost_between_two_steps(tmp_path):
    """Whatever the caller does meanwhile: nothing, suspend, or wait for files."""
    meanwhile = [lambda: None, system.suspend, lambda: system.suspend(0.001), lambda: system.fileinfo(tmp_path)]
    with system.watch(tmp_path) as changes:
        names = iter(range(100_000))
        expected, found = [], []
        for step in range(200):
            for _ in range(1 + step % 3):
                expected.append(str(next(names)))
                os.mkdir(tmp_path / expected[-1])
            meanwhile[step % 4]()
            found.append(next(changes).name)
        found += names_until_end(changes, tmp_path)
    assert found == expected


def test_many_at_once(tmp_path):
    """Many that come while there is no caller are all told, in order."""
    expected = [f"{number:05}" for number in range(1500)]
    with system.watch(tmp_path) as changes:
        for number, name in enumerate(expected):
            os.mkdir(tmp_path / name)
            if number % 100 == 0:
                system.run("ready")
        assert names_until_end(changes, tmp_path) == expected


def test_equal_changes_are_told_once(tmp_path):
    """A file that is written a thousand times is one change, so that it costs no memory."""
    with system.watch(tmp_path) as changes, open(tmp_path / "file", "wb", buffering=0) as file:
        for _ in range(100):
            file.write(b"x")
            system.run("ready")
        assert [next(changes) for _ in range(2)] == [("file", {"rename"}), ("file", {"change"})]
        assert names_until_end(changes, tmp_path) == []
        file.write(b"x")
        assert next(changes) == ("file", {"change"})


def test_more_than_the_limit(tmp_path):
    """What is lost is told, once; as many as `limit` are kept; and it goes on afterwards."""
    with system.watch(tmp_path, limit=10) as changes:
        for number in range(25):
            (tmp_path / f"{number:02}").touch()
        system.run("ready")
        assert next(changes) == (None, {"overflow"})
        assert [next(changes).name for _ in range(10)] == [f"{number:02}" for number in range(10)]
        assert names_until_end(changes, tmp_path) == []
        for number in range(10):
            (tmp_path / f"{number:02}").unlink()
        assert [next(changes).name for _ in range(10)] == [f"{number:02}" for number in range(10)]


@pytest.mark.skipif(QUEUE > 20_000, reason="the kernel keeps too many changes")
def test_more_than_the_system_keeps(tmp_path):
    """Libuv passes over what the kernel says of it; we do not, in any watch there is."""
    (tmp_path / "inner").mkdir()
    with system.watch(tmp_path) as changes, system.watch(tmp_path / "inner") as others:
        paths = [bytes(tmp_path / name) for name in "xy"]
        for path in paths:
            os.mkdir(path)
        for _ in range(QUEUE // 2 + 10):  # two different ones in turn, or the kernel makes them one
            for path in paths:
                os.utime(path)
        assert next(changes) == (None, {"overflow"})
        assert next(others) == (None, {"overflow"})
        assert "overflow" not in names_until_end(changes, tmp_path)
        with pytest.raises(errors.Timeout), timeout(0.01):
            next(others)


def test_the_folder_itself(tmp_path):
    """It has the name "."; when it is removed, that is told, and the iterator ends."""
    folder = tmp_path / "folder"
    (folder / "folder").mkdir(parents=True)
    changes = system.watch(folder)
    folder.chmod(0o700)
    assert next(changes) == (".", {"change"})
    (folder / "folder").rmdir()  # an entry of the same name
    assert next(changes) == ("folder", {"rename"})
    folder.rmdir()
    assert list(changes)[-1] == (".", {"rename"})
    with pytest.raises(StopIteration):
        next(changes)
    assert repr(changes) == f"<Watch {folder!r} over>"
    assert changes.close() is True
    with pytest.raises(errors.Closed):
        next(changes)


def test_folder_that_is_renamed(tmp_path):
    """It ends the same way: what is under the path now is another one."""
    folder = tmp_path / "folder"
    folder.mkdir()
    changes = system.watch(folder)
    spawn.call(lambda: (system.suspend(), (folder / "a").touch(), folder.rename(tmp_path / "other")))
    assert list(changes) == [("a", {"rename"}), (".", {"rename"})]
    assert repr(changes).endswith("over>")


def test_bytes(tmp_path):
    """Names are as the path is."""
    name = b"\xff\xfe"
    with system.watch(bytes(tmp_path)) as changes, system.watch(str(tmp_path)) as others:
        os.mkdir(bytes(tmp_path) + b"/" + name)
        assert next(changes).name == name
        assert next(others).name == os.fsdecode(name)
        tmp_path.chmod(0o700)
        assert next(changes).name == b"."


def test_relative_path(tmp_path, monkeypatch):
    """The folder is the one that the path named at the beginning."""
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    with system.watch("inner", recursive=True) as changes:
        monkeypatch.chdir("/")
        (tmp_path / "inner" / "a").mkdir()
        assert next(changes).name == "a"
        (tmp_path / "inner" / "a" / "b").touch()
        assert next(changes).name == "a/b"


# -- files


def test_changes_of_a_file(file, tmp_path):
    """Only of this one, whatever else happens in its folder."""
    with system.watch(file) as changes:
        (tmp_path / "other").touch()
        (tmp_path / "file2").touch()
        file.write_text("new")
        (tmp_path / "other").rename(tmp_path / "fil")
        assert next(changes) == ("file", {"change"})
        file.unlink()
        assert next(changes).name == "file"
        tmp_path.chmod(0o700)
        file.write_text("again")
        assert [next(changes) for _ in range(2)] == [("file", {"rename"}), ("file", {"change"})]


def save_by_renaming(file):
    """As most programs do: write another file, and give it the name."""
    temporary = file.with_name(".temporary")
    temporary.write_text("new")
    temporary.rename(file)


def save_with_backup(file):
    """As vim does: keep the old file under another name until the new one is written."""
    backup = file.with_name("file~")
    file.rename(backup)
    file.write_text("new")
    backup.unlink()


def save_after_removing(file):
    file.unlink()
    file.write_text("new")


def save_in_place(file):
    file.write_text("new")


@pytest.mark.parametrize("save", [save_by_renaming, save_with_backup, save_after_removing, save_in_place])
def test_how_editors_save(save, file):
    """Each saving is told, and the one that reads the file after the last change finds what was saved."""
    with system.watch(file) as changes:
        for text in ("new", "newer"):
            save(file)
            file.write_text(text)
            assert next(changes).name == "file"
            while file.read_text() != text:
                next(changes)
            system.run("ready")
            while changes._raw_changes or changes._changes:
                assert next(changes).name == "file"


def test_link_to_a_file(file, tmp_path):
    """What it leads to is watched, under its own name."""
    (tmp_path / "inner").mkdir()
    link = tmp_path / "inner" / "link"
    link.symlink_to(file)
    with system.watch(link) as changes:
        file.write_text("new")
        assert next(changes) == ("file", {"change"})


def test_folder_of_a_file_is_removed(tmp_path):
    """The iterator ends, after it has told that the file is gone."""
    file = tmp_path / "folder" / "file"
    file.parent.mkdir()
    file.touch()
    changes = system.watch(file, recursive=True)
    file.unlink()
    file.parent.rmdir()
    found = list(changes)
    assert {change.name for change in found} == {"file"}
    assert found[-1].events == {"rename"}
    assert repr(changes).endswith("over>")


# -- waiting


def test_one_at_a_time(tmp_path):
    """A second coroutine that asks is told who waits; the first is undisturbed; several watches are independent."""
    log = []
    with system.watch(tmp_path) as changes, system.watch(tmp_path) as others:
        spawn.call(lambda: log.append(next(changes).name), name="first")
        with pytest.raises(errors.BusyError, match="first"):
            next(changes)
        (tmp_path / "a").touch()
        assert next(others).name == "a"
        system.run("ready")
        assert log == ["a"]


def test_explicit_resume(tmp_path):
    """It returns its value in place of a change; the change that came at the same time is not lost."""
    log = []
    with system.watch(tmp_path) as changes:
        waiter = spawn.call(lambda: log.extend(next(changes) for _ in range(3)))
        waiter.resume("given")
        (tmp_path / "a").touch()
        spawn.call(lambda: (system.suspend(), waiter.resume("again")))
        while waiter.status != "dead":
            system.run("step")
    assert log[0] == "given"
    assert set(log[1:]) == {"again", ("a", frozenset({"rename"}))}


def test_timeouts(tmp_path):
    """A wait that is cut again and again misses nothing."""
    found = []
    with system.watch(tmp_path) as changes:
        for number in range(20):
            if number % 2:
                os.mkdir(tmp_path / str(number))
            try:
                with timeout(0.001 * (number % 3)):
                    found.append(next(changes).name)
            except errors.Timeout:
                continue
        found += names_until_end(changes, tmp_path)
    assert found == [str(number) for number in range(1, 20, 2)]


def test_close_under_a_waiter(tmp_path, hub):
    """It gets `Closed` before `close` returns; closing twice is no error."""
    log = []

    def wait(changes):
        try:
            next(changes)
        except errors.Closed as error:
            log.append(error.interrupted)

    for recursive in (False, True):
        changes = system.watch(tmp_path, recursive)
        spawn.call(wait, changes)
        assert changes.close() is True
        assert log.pop() is True
        assert changes.close() is True
        with pytest.raises(errors.Closed, match="watch of"):
            next(changes)
    assert system.run() is False
    assert hub.in_flight() == 0


def test_watch_that_is_forgotten(tmp_path, hub):
    """Its handles are closed, whatever OS thread the last one was who referred to it; see the fixture."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    made = [system.watch(tmp_path, recursive=True) for _ in range(2)]
    assert hub.in_flight() == 6
    made.pop()
    gc.collect()
    system.run("ready")
    assert hub.in_flight() == 3
    thread = threading.Thread(target=made.clear)
    thread.start()
    thread.join(10)
    for _ in range(2):
        system.run("ready")
    assert hub.in_flight() == 0


def test_other_threads(tmp_path):
    """They cannot use it."""
    found = []

    def use(changes):
        for call in (lambda: next(changes), changes.close):
            try:
                call()
            except errors.ForeignThread as error:
                found.append(str(error))

    with system.watch(tmp_path) as changes:
        thread = threading.Thread(target=use, args=(changes,))
        thread.start()
        thread.join(10)
        (tmp_path / "a").touch()
        assert next(changes).name == "a"
    assert len(found) == 2
    assert all("watch of" in text for text in found)


def test_child_of_a_fork(tmp_path):
    """A watch belongs to the process that made it; the child makes its own."""
    script = f"""
        import os
        from coutil import errors, system
        changes = system.watch({str(tmp_path)!r}, True)
        if not os.fork():
            try:
                next(changes)
            except errors.Forked:
                pass
            with system.watch({str(tmp_path)!r}) as own:
                os.mkdir({str(tmp_path / "child")!r})
                print("child", next(own).name, flush=True)
            os._exit(0)
        print("parent", next(changes).name, os.wait()[1])
    """
    (tmp_path / "inner").mkdir()
    assert sorted(output_of(script)) == ["child child", "parent child 0"]


# -- errors


def test_what_cannot_be_watched(tmp_path, hub):
    """The error names the path, and nothing is left."""
    (tmp_path / "file").touch()
    before = hub.in_flight()
    for path, error in ((tmp_path / "missing", FileNotFoundError), (tmp_path / "file" / "x", NotADirectoryError)):
        for recursive in (False, True):
            with pytest.raises(error) as caught:
                system.watch(path, recursive)
            assert caught.value.filename == path
    for arguments, error in (((3,), TypeError), (("a\0",), ValueError), ((tmp_path, "yes"), TypeError)):
        with pytest.raises(error):
            system.watch(*arguments)
    with pytest.raises(ValueError, match="limit"):
        system.watch(tmp_path, limit=0)
    assert hub.in_flight() == before


def test_without_descriptors(tmp_path):
    """EMFILE, if the first watch of a process finds none left; later it works."""
    script = f"""
        import os, resource
        from coutil import system
        system.suspend(0.001)
        system.fileinfo("/")
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        free = os.dup(0)
        os.close(free)
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        for call in (system.watch, system.awaitpath):
            try:
                call({str(tmp_path)!r})
            except OSError as error:
                print(error.name)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        changes = system.watch({str(tmp_path)!r})
        os.mkdir({str(tmp_path / "new")!r})
        print(next(changes).name)
        changes.close()
        print(system.run())
    """
    assert output_of(script) == ["EMFILE", "EMFILE", "new", "False"]
