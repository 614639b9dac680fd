"""`system.watch(path, recursive=True)`: whole trees of folders, which change while they are watched."""

import os
import random
import shutil
import threading

import pytest

from coutil import errors, spawn, system
from coutil._libuv import error, lib
from coutil.scopes import timeout
from coutil.system.files import watch_tree

END = "the end"


def until_end(changes, folder):
    """Return the names of all changes that have come by now."""
    (folder / END).touch()
    found = []
    while (change := next(changes)).name != END:
        found.append(change.name)
    (folder / END).unlink()
    assert next(changes).name == END
    return found


def watched(changes):
    """Return the folders that have a handle."""
    return sorted(os.fsdecode(node.path) for node in changes._handle.nodes.values())


def folders(root):
    """Return the folders that there are."""
    return sorted(os.path.relpath(path, root).removeprefix(".") for path, _, _ in os.walk(root))


def test_what_is_there_already(tmp_path):
    """Nothing is told of it, but each folder is watched."""
    for path in ("a/b/c", "d"):
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "file").touch()
    with system.watch(tmp_path, recursive=True) as changes:
        assert watched(changes) == folders(tmp_path) == ["", "a", "a/b", "a/b/c", "d"]
        assert until_end(changes, tmp_path) == []
        (tmp_path / "a/b/c/file").write_text("text")
        (tmp_path / "d").chmod(0o700)
        assert next(changes) == ("a/b/c/file", {"change"})
        assert next(changes) == ("d", {"change"})


def test_folders_made_between_calls(tmp_path):
    """What was made in a new folder before it could be watched is found, and told."""
    with system.watch(tmp_path, recursive=True) as changes:
        (tmp_path / "a/b/c").mkdir(parents=True)
        (tmp_path / "a/file").touch()
        (tmp_path / "a/b/c/file").touch()
        found = until_end(changes, tmp_path)
        assert set(found) == {"a", "a/file", "a/b", "a/b/c", "a/b/c/file"}
        assert len(found) == 5
        assert watched(changes) == folders(tmp_path)


def test_folders_made_at_the_same_time(tmp_path):
    """A thread makes folders in folders as fast as it can: all of them, and their files, are told."""
    made = []

    def make():
        for number in range(40):
            folder = tmp_path / str(number % 5)
            for depth in range(6):
                folder = folder / f"{number}-{depth}"
            folder.mkdir(parents=True)
            (folder / "file").touch()
            made.append(str((folder / "file").relative_to(tmp_path)))

    with system.watch(tmp_path, recursive=True) as changes:
        thread = threading.Thread(target=make)
        thread.start()
        found = {next(changes).name for _ in range(40)}
        thread.join(20)
        found |= set(until_end(changes, tmp_path))
        assert len(made) == 40
        assert set(made) <= found
        assert set(folders(tmp_path)) - {""} <= found
        assert watched(changes) == folders(tmp_path)


def test_folders_that_come_go_and_move(tmp_path):
    """What is moved here is told; what is moved away is watched no more; what is renamed has its new name."""
    outside, root = tmp_path / "outside", tmp_path / "root"
    (outside / "in" / "deep").mkdir(parents=True)
    (outside / "in" / "deep" / "file").touch()
    root.mkdir()
    with system.watch(root, recursive=True) as changes:
        (outside / "in").rename(root / "in")
        assert until_end(changes, root) == ["in", "in/deep", "in/deep/file"]
        (root / "in").rename(root / "new")
        found = until_end(changes, root)
        assert set(found) >= {"in", "new", "new/deep", "new/deep/file"}
        assert watched(changes) == ["", "new", "new/deep"]
        (root / "new" / "deep" / "file").unlink()
        assert next(changes).name == "new/deep/file"
        (root / "new" / "deep").rename(outside / "deep")
        assert until_end(changes, root) == ["new/deep"]
        (outside / "deep" / "unheard").touch()
        assert until_end(changes, root) == []
        assert watched(changes) == ["", "new"]


def test_folder_that_is_made_again(tmp_path):
    """The new one of the same name is watched, also if no one has noticed that the old one had gone."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    with system.watch(tmp_path, recursive=True) as changes:
        for number in range(3):
            shutil.rmtree(tmp_path / "a")
            (tmp_path / "a" / "b").mkdir(parents=True)
            (tmp_path / "a" / "b" / f"file{number}").touch()
            assert f"a/b/file{number}" in until_end(changes, tmp_path)
            assert watched(changes) == ["", "a", "a/b"]


def test_links_are_not_followed(tmp_path):
    """Neither those that are there at the beginning, nor new ones; a circle does no harm."""
    (tmp_path / "outside").mkdir()
    root = tmp_path / "root"
    root.mkdir()
    (root / "circle").symlink_to(root)
    with system.watch(root, recursive=True) as changes:
        (root / "link").symlink_to(tmp_path / "outside")
        assert until_end(changes, root) == ["link"]
        (tmp_path / "outside" / "unheard").touch()
        assert until_end(changes, root) == []
        assert watched(changes) == [""]


def test_overflow(tmp_path):
    """When changes were lost, all folders that there are now are watched before that is told."""
    (tmp_path / "gone" / "inner").mkdir(parents=True)
    with system.watch(tmp_path, recursive=True, limit=5) as changes:
        shutil.rmtree(tmp_path / "gone")
        for number in range(10):
            (tmp_path / f"new{number}" / "inner").mkdir(parents=True)
        assert next(changes) == (None, {"overflow"})
        assert watched(changes) == folders(tmp_path)
        until_end(changes, tmp_path)
        (tmp_path / "new9" / "inner" / "file").touch()
        assert next(changes).name == "new9/inner/file"


@pytest.mark.parametrize("seed", range(8))
def test_random_changes(seed, tmp_path):
    """After whatever has happened, exactly the folders that there are are watched, and every new file is told."""
    dice = random.Random(seed)
    root, outside = tmp_path / "root", tmp_path / "outside"
    root.mkdir()
    outside.mkdir()

    def one_step():
        there = [path for path, _, _ in os.walk(root)]
        name = str(dice.randrange(4))
        at = os.path.join(dice.choice(there), name)
        what = dice.choice(["make", "make", "make", "touch", "remove", "move", "away", "back"])
        if what == "make" and len(there) < 20 and not os.path.exists(at):
            os.makedirs(os.path.join(at, *(str(dice.randrange(4)) for _ in range(dice.randrange(3)))))
        elif what == "touch" and not os.path.exists(at):
            open(at, "w").close()
        elif what == "remove" and os.path.isdir(at):
            shutil.rmtree(at)
        elif what in ("move", "away") and os.path.isdir(at):
            to = os.path.join(outside if what == "away" else dice.choice(there), str(dice.randrange(4)))
            if not os.path.exists(to) and not (to + "/").startswith(at + "/"):
                os.rename(at, to)
        elif what == "back" and os.path.isdir(outside / name) and not os.path.exists(at):
            os.rename(outside / name, at)

    with system.watch(root, recursive=True) as changes:
        for _ in range(40):
            for _ in range(dice.randrange(8)):
                one_step()
            for _ in range(dice.randrange(4)):
                with_limit(changes)
        until_end(changes, root)
        assert watched(changes) == folders(root)
        fresh = {os.path.relpath(os.path.join(path, "fresh"), root) for path, _, _ in os.walk(root)}
        for name in fresh:
            (root / name).touch()
        assert sorted(until_end(changes, root)) == sorted(fresh)


def with_limit(changes):
    """Take a change if there is one; the wait may be cut at any moment."""
    try:
        with timeout(random.choice([0, 0.0001, 0.001])):
            next(changes)
    except errors.Timeout:
        return


def test_close_while_a_folder_is_read(tmp_path, hub):
    """Nothing is watched afterwards that was found after the closing."""
    log = []
    changes = system.watch(tmp_path, recursive=True)

    def read():
        try:
            while True:
                next(changes)
        except errors.Closed as caught:
            log.append(caught.interrupted)

    reader = spawn.call(read)
    (tmp_path / "a" / "b").mkdir(parents=True)
    while not changes._tree.unread and not changes._raw_changes:
        system.run("step")
    assert reader.status == "suspended"
    changes.close()
    assert system.run() is False
    assert (reader.status, log) == ("dead", [True])
    assert hub.in_flight() == 0


# -- folders that cannot be watched


def failing(monkeypatch, name, code):
    """Let the system refuse to watch folders of this name."""
    real = watch_tree.watch_directory

    def branch(loop, slot, generation, root, path, shown):
        if os.path.basename(path) == name:
            raise error(code, "uv_fs_event_start", shown)
        return real(loop, slot, generation, root, path, shown)

    monkeypatch.setattr(watch_tree, "watch_directory", branch)


@pytest.mark.parametrize("code", ["UV_ENOSPC", "UV_EACCES"])
def test_folder_that_cannot_be_watched(code, tmp_path, monkeypatch, hub):
    """At the beginning nothing is watched then; later the step raises, and the iterator goes on without that folder."""
    failing(monkeypatch, b"bad", getattr(lib, code))
    (tmp_path / "bad").mkdir()
    (tmp_path / "good").mkdir()
    with pytest.raises(errors.UVError) as caught:
        system.watch(tmp_path, recursive=True)
    assert (caught.value.name, caught.value.filename) == (code[3:], str(tmp_path / "bad"))
    assert system.run() is False
    assert hub.in_flight() == 0
    (tmp_path / "bad").rmdir()
    with system.watch(tmp_path, recursive=True) as changes:
        (tmp_path / "bad").mkdir()
        with pytest.raises(errors.UVError):
            next(changes)
        assert until_end(changes, tmp_path) == ["bad"]
        (tmp_path / "good" / "inner" / "bad").mkdir(parents=True)
        (tmp_path / "good" / "inner" / "file").touch()
        with pytest.raises(errors.UVError) as caught:
            until_end(changes, tmp_path)
        assert caught.value.filename == str(tmp_path / "good" / "inner" / "bad")
        assert set(until_end(changes, tmp_path)) <= {"good/inner", "good/inner/bad", "good/inner/file", END}
        assert watched(changes) == ["", "good", "good/inner"]
