"""`system.listdir`: the entries of folders, small and huge."""

import os
import socket
import tracemalloc
from tempfile import TemporaryDirectory

import pytest

from coutil import coroutine, errors, spawn, system
from tests.helpers.script import output_of, run_script

both_modes = pytest.mark.parametrize("blocking", [False, True], ids=["awaited", "blocking"])
MANY = 3000  # entries: several times as many as are read at once


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A folder with MANY entries, which no one changes."""
    tmp_path = tmp_path_factory.mktemp("many")
    for number in range(MANY):
        os.close(os.open(tmp_path / f"{number:04}", os.O_CREAT | os.O_WRONLY, 0o600))
    return tmp_path


def names(folder):
    return sorted(name for name, _ in folder)


@both_modes
def test_what_is_no_folder(blocking, tmp_path):
    """FIL-1: ENOTDIR for a file, ENOENT for nothing."""
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError) as caught:
        system.listdir(tmp_path / "file", blocking=blocking)
    assert (caught.value.filename, caught.value.syscall) == (tmp_path / "file", "uv_fs_opendir")
    with pytest.raises(FileNotFoundError):
        system.listdir(tmp_path / "missing", blocking=blocking)


@both_modes
def test_names_and_types(blocking, tmp_path):
    """FIL-2: each entry with its type; the folder itself and its parent are no entries of it."""
    (tmp_path / "file").touch()
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as unix:
        unix.bind(os.path.relpath(tmp_path / "socket"))
        found = system.listdir(tmp_path, blocking=blocking)
        assert iter(found) is found
        kinds = ("file", "pipe", "link", "socket")
        assert dict(found) == {"folder": "directory"} | {kind: kind for kind in kinds}
    assert ("null", "character") in set(system.listdir("/dev", blocking=blocking))


@both_modes
def test_same_as_pythons(blocking):
    """FIL-2: the same entries as `os.scandir` finds."""
    for path in (os.path.dirname(os.__file__), "/usr/bin", "/dev"):
        ours = sorted(system.listdir(path, blocking=blocking))
        theirs = sorted(entry.name for entry in os.scandir(path))
        assert [name for name, _ in ours] == theirs
        files = {entry.name for entry in os.scandir(path) if entry.is_file(follow_symlinks=False)}
        assert {name for name, kind in ours if kind == "file"} == files


@both_modes
def test_many_entries(blocking, many):
    """They come in several calls of libuv, each of them once."""
    assert names(system.listdir(many, blocking=blocking)) == [f"{number:04}" for number in range(MANY)]


@both_modes
def test_long_names(blocking, tmp_path):
    """As many entries as are read at once, with the longest names there are."""
    made = sorted(f"{number:03}".ljust(255, "x") for number in range(600))
    for name in made:
        (tmp_path / name).touch()
    assert names(system.listdir(tmp_path, blocking=blocking)) == made


@both_modes
def test_empty_folder(blocking, tmp_path):
    """At the end, an iterator stays at the end, and is closed."""
    folder = system.listdir(tmp_path, blocking=blocking)
    assert repr(folder) == f"<Folder {tmp_path!r} open>"
    assert list(folder) == []
    assert list(folder) == []
    assert next(folder, None) is None
    assert repr(folder) == f"<Folder {tmp_path!r} over>"


@both_modes
def test_closing(blocking, many):
    """FIL-2: after `close`, and after a block, there are no more entries but `Closed`; closing twice is no error."""
    with system.listdir(many, blocking=blocking) as folder:
        assert len(next(folder)) == 2
    closed = system.listdir(many, blocking=blocking)
    assert closed.close() is True
    assert closed.close() is True
    for one in (folder, closed):
        with pytest.raises(errors.Closed):
            next(one)
        assert repr(one) == f"<Folder {many!r} closed>"


def test_forgotten_folders(many):
    """The descriptor and the names that no one took are given back; the fixture checks the former."""
    system.listdir(many)
    folder = system.listdir(many)
    next(folder)
    before = len(os.listdir("/proc/self/fd"))
    del folder
    assert len(os.listdir("/proc/self/fd")) == before - 1


def test_others_run_meanwhile(many):
    """Each reading suspends its coroutine only; several coroutines list the same folder."""
    found = []
    for _ in range(8):
        spawn.call(lambda: found.append(len(list(system.listdir(many)))))
    assert found == []
    system.run()
    assert found == [MANY] * 8


def next_or_suspend(folder):
    """Return the next entry, or what one suspension brings while the pool still reads for a cancelled call."""
    try:
        return next(folder)
    except errors.BusyError:
        return system.suspend()


@pytest.mark.parametrize("how", ["resume", "throw"])
def test_cancelled_reading_loses_nothing(how, many):
    """FIL-40: the wait ends at once; the entries that come nevertheless are the next ones."""
    found, log = [], []

    def work(folder):
        while len(found) < MANY:
            try:
                entry = next_or_suspend(folder)
            except KeyError:
                log.append("thrown")
            else:
                if entry is not True:
                    (log if entry == "given" else found).append(entry)

    folder = system.listdir(many)
    worker = spawn.call(work, folder)
    cancelled = 0
    while worker.status != "dead":
        if worker.status == "suspended" and cancelled < 5:
            worker.throw(KeyError) if how == "throw" else worker.resume("given")
            cancelled += 1
        system.run("step")
    assert log == ["thrown" if how == "throw" else "given"] * 5
    assert names(found) == [f"{number:04}" for number in range(MANY)]
    folder.close()


def test_busy(many):
    """A second coroutine gets `BusyError` at once, naming the first; also while libuv works for a cancelled one."""
    log = []

    def attempt():
        try:
            log.append(next(folder))
        except errors.BusyError as error:
            log.append(str(error))

    folder = system.listdir(many)
    reader = spawn.call(next, folder)
    attempt()
    assert f"{reader!r} waits for it" in log[0]
    reader.resume()
    attempt()
    assert "for a cancelled call" in log[1]
    system.run()
    assert len(list(folder)) == MANY


def test_closed_under_the_reader(many):
    """A coroutine that waits for entries is told when they have come: there are none for it."""
    log = []

    def read():
        try:
            log.append(next(folder))
        except errors.Closed as error:
            log.append(error.interrupted)

    folder = system.listdir(many)
    spawn.call(read)
    folder.close()
    assert log == []
    system.run()
    assert log == [True]


@pytest.mark.parametrize("how", ["resume", "throw", "close"])
def test_cancelled_opening(how, many, escaped):
    """FIL-40: a folder that was opened for no one is closed again; the fixture looks for the descriptor."""
    log = []

    def work():
        log.append(system.listdir(many))
        coroutine.yield_()

    worker = spawn.call(work)
    if how == "resume":
        worker.resume("given")
    elif how == "throw":
        with pytest.raises(KeyError):
            worker.throw(KeyError)
    else:
        worker.close()
    assert log == (["given"] if how == "resume" else [])
    system.run()
    assert escaped == []


def test_memory_stays_small(many):
    """However many entries there are, neither C nor Python has all of them at once."""
    folder = system.listdir(many)
    next(folder)
    tracemalloc.start()
    count = sum(1 for _ in folder)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == MANY - 1
    assert peak < 300_000  # a list of all would take more than 400 KB


def listed(folder, count, timeout=20):
    """Fill a folder with links to one file, and list it in a new process; return how much memory that took (KiB)."""
    script = f"""
        import os, re
        from coutil import system
        first = {str(folder)!r} + "/first"
        open(first, "w").close()
        for number in range({count} - 1):
            os.link(first, {str(folder)!r} + f"/{{number}}")
        def peak():
            with open("/proc/self/status") as status:
                return int(re.search("VmHWM:[^0-9]+([0-9]+)", status.read())[1])
        list(system.listdir("/proc/self"))
        before = peak()
        print(sum(kind == "file" for _, kind in system.listdir({str(folder)!r})), peak() - before)
    """
    found, grown = map(int, output_of(script, timeout=timeout)[0].split())
    assert found == count
    return grown


@pytest.mark.slow
def test_fifty_thousand_entries(tmp_path):
    """Listing takes little more memory than before."""
    assert listed(tmp_path, 50_000) < 2000


@pytest.mark.soak
def test_a_million_entries():
    """Nor do twenty times as many, in C and Python together: their names alone would take 50 MB."""
    fast = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # where a file may have a million names
    with TemporaryDirectory(dir=fast) as folder:
        assert listed(folder, 1_000_000, timeout=300) < 2000


def test_process_ends_while_a_folder_is_open(many):
    """The interpreter's end closes what is open, without a word."""
    script = f"""
        from coutil import system, spawn
        folder = system.listdir({str(many)!r})
        next(folder)
        other = system.listdir({str(many)!r})
        spawn.call(next, other)
        print("end")
    """
    done = run_script(script)
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")
