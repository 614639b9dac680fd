"""Functions on paths: each of them waiting for the thread pool, and blocking."""

import os
import stat
import time
from contextlib import contextmanager, nullcontext

import pytest

from coutil import errors, spawn, system
from coutil.system import filebits

both_modes = pytest.mark.parametrize("blocking", [False, True], ids=["awaited", "blocking"])
ROOT = os.getuid() == 0 if hasattr(os, "getuid") else False

# Every function with arguments that are right, but for the path(s).
ON_ONE_PATH = {
    "removefile": system.removefile,
    "makedir": lambda path, **more: system.makedir(path, 0o700, **more),
    "maketemp": system.maketemp,
    "listdir": system.listdir,
    "touchfile": system.touchfile,
    "ownfile": lambda path, **more: system.ownfile(path, -1, -1, **more),
    "grantfile": lambda path, **more: system.grantfile(path, 0o600, **more),
    "fileinfo": lambda path, **more: system.fileinfo(path, "size", **more),
    "openfile": system.openfile,
}
ON_TWO_PATHS = {
    "linkfile": system.linkfile,
    "copyfile": system.copyfile,
    "movefile": system.movefile,
}


def text(path):
    return path.read_text("utf-8")


# -- arguments


@both_modes
@pytest.mark.parametrize("path", ["a\0b", b"\0", "\udfff lone", 7, None, True, ["x"], bytearray(b"x")], ids=repr)
@pytest.mark.parametrize("name", ON_ONE_PATH)
def test_bad_paths(name, path, blocking, hub):
    """B66, B69: a NUL or what cannot be encoded is a ValueError, what is no path a TypeError; nothing is asked for."""
    before = hub.loop.counts()["requests_created"]
    wrong = ValueError if isinstance(path, str | bytes) else TypeError
    with pytest.raises(wrong, match=r"path|prefix|surrogates"):
        ON_ONE_PATH[name](path, blocking=blocking)
    assert hub.loop.counts()["requests_created"] == before


@both_modes
@pytest.mark.parametrize("name", ON_TWO_PATHS)
def test_bad_second_paths(name, blocking, tmp_path):
    """B66: the same for both; the message says which of them it is."""
    with pytest.raises(ValueError, match="dest has a null"):
        ON_TWO_PATHS[name](tmp_path / "a", "b\0c", blocking=blocking)
    with pytest.raises(TypeError, match="path "):
        ON_TWO_PATHS[name](None, tmp_path / "a", blocking=blocking)
    with pytest.raises(TypeError, match="dest "):
        ON_TWO_PATHS[name](tmp_path / "a", 3, blocking=blocking)
    assert os.listdir(tmp_path) == []


@both_modes
@pytest.mark.parametrize("name", [*ON_ONE_PATH, *ON_TWO_PATHS])
def test_missing_paths(name, blocking, tmp_path):
    """The error is Python's own class, and names the call and the paths."""
    missing = tmp_path / "missing" / "file"
    paths = [missing] if name in ON_ONE_PATH else [missing, tmp_path / "dest"]
    with pytest.raises(FileNotFoundError) as caught:
        (ON_ONE_PATH | ON_TWO_PATHS)[name](*paths, blocking=blocking)
    error = caught.value
    assert isinstance(error, errors.UVError)
    assert (error.name, error.syscall[:6], error.filename2) == (
        "ENOENT",
        "uv_fs_",
        paths[1] if len(paths) > 1 else None,
    )
    assert str(missing) in str(error)


@both_modes
@pytest.mark.parametrize("size", [255, 256, 4096, 65536])
def test_long_paths(size, blocking, tmp_path):
    """B66, B67: a name is never cut: one of 255 bytes is a file, a longer one an error of the system."""
    name = tmp_path / ("x" * size)
    if size > 255:
        with pytest.raises(errors.UVError, match="ENAMETOOLONG"):
            system.openfile(name, write=True, create=True, perm=0o600, blocking=blocking)
    else:
        system.openfile(name, write=True, create=True, perm=0o600, blocking=blocking).close()
    assert [len(found) for found in os.listdir(tmp_path)] == [size][: size <= 255]


@both_modes
@pytest.mark.parametrize("name", [b"\xff\xfe", b"new\nline", "gr\u00fcn \U0001f40d", b" ", b"-"], ids=repr)
def test_names_of_any_bytes(name, blocking, tmp_path):
    """B69: names that are no text come as `os` gives them: bytes for bytes, surrogates in a str."""
    folder = os.fsencode(tmp_path)
    path = os.path.join(folder, os.fsencode(name))
    system.openfile(path, write=True, create=True, perm=0o600, blocking=blocking).close()
    assert [found for found, _ in system.listdir(folder, blocking=blocking)] == [os.fsencode(name)]
    assert [found for found, _ in system.listdir(tmp_path, blocking=blocking)] == [os.fsdecode(name)]
    assert system.fileinfo(path, "realpath", blocking=blocking) == os.path.realpath(path)
    assert system.fileinfo(os.fsdecode(path), "realpath", blocking=blocking) == os.path.realpath(os.fsdecode(path))
    assert system.removefile(os.fsdecode(path), blocking=blocking) is True


@pytest.mark.parametrize("blocking", [1, None, "yes"])
@pytest.mark.parametrize("name", [*ON_ONE_PATH, *ON_TWO_PATHS])
def test_bad_mode(name, blocking, tmp_path):
    """FIL-18: `blocking` is a bool or a TypeError, before anything happens; so is a keyword that no one knows."""
    paths = [tmp_path / "x"] if name in ON_ONE_PATH else [tmp_path / "x", tmp_path / "y"]
    with pytest.raises(TypeError, match="blocking "):
        (ON_ONE_PATH | ON_TWO_PATHS)[name](*paths, blocking=blocking)
    with pytest.raises(TypeError, match="unexpected keyword"):
        (ON_ONE_PATH | ON_TWO_PATHS)[name](*paths, nonsense=True)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("name", ON_ONE_PATH)
def test_the_hub_may_only_block(name, hub, escaped, tmp_path):
    """FIL-30, FIL-38: what runs in the hub cannot wait (it is told before anything happens), but may block."""
    (tmp_path / "x").touch()
    call = ON_ONE_PATH[name]
    path = tmp_path / ("x" if name not in ("makedir", "listdir") else "")
    if name == "makedir":
        path = tmp_path / "new"
    before = sorted(os.listdir(tmp_path))
    hub.call_threadsafe(lambda: call(path))
    system.run("step")
    assert [type(error) for _, error in escaped] == [errors.NotYieldable]
    assert sorted(os.listdir(tmp_path)) == before
    escaped.clear()
    results = []
    hub.call_threadsafe(lambda: results.append(call(path, blocking=True)))
    system.run("step")
    assert len(results) == 1
    if name in ("openfile", "listdir"):
        results.pop().close()


# -- folders and temporary files


@both_modes
def test_make_and_remove_a_folder(blocking, tmp_path):
    """FIL-3, FIL-4: mode and type are as asked for; what exists is an error."""
    path = tmp_path / "made"
    assert system.makedir(path, 0o750, blocking=blocking) is True
    assert system.fileinfo(path, "type", blocking=blocking) == "directory"
    assert stat.S_IMODE(path.stat().st_mode) == 0o750
    with pytest.raises(FileExistsError):
        system.makedir(path, 0o750, blocking=blocking)
    assert system.removefile(path, directory=True, blocking=blocking) is True
    assert not path.exists()


@both_modes
def test_long_prefix(blocking, tmp_path):
    """FIL-5: a prefix of 250 bytes is too long, one of 249 is the system's matter."""
    with pytest.raises(ValueError, match="longer than 249 bytes"):
        system.maketemp("x" * 250, blocking=blocking)
    with pytest.raises(ValueError, match="longer than 249 bytes"):
        system.maketemp("\u00fc" * 125, want="path", blocking=blocking)
    prefix = str(tmp_path / "x").ljust(249, "x")
    path = system.maketemp(prefix, blocking=blocking)
    assert (len(path), path[:249], os.path.isdir(path)) == (255, prefix, True)


@both_modes
def test_temporary_folder(blocking, tmp_path):
    """FIL-6: without wants, a folder for the owner alone."""
    path = system.maketemp(tmp_path / "t-", blocking=blocking)
    assert isinstance(path, str)
    assert path.startswith(str(tmp_path / "t-"))
    assert len(path) == len(str(tmp_path / "t-")) + 6
    assert (stat.S_IMODE(os.stat(path).st_mode), os.path.isdir(path)) == (0o700, True)
    assert system.removefile(path, directory=True, blocking=blocking) is True


@both_modes
@pytest.mark.parametrize(
    "want", ["path", "file", ("path",), ("path", "file"), ["file", "path"], ("path", "file", "file", "path")], ids=str
)
def test_temporary_file(want, blocking, tmp_path):
    """FIL-6: the wanted values in the order of the wants, the same objects for the same want; a file for the owner."""
    found = system.maketemp(os.fsencode(tmp_path / "t"), want=want, blocking=blocking)
    wants = (want,) if isinstance(want, str) else tuple(want)
    values = found if len(wants) > 1 else (found,)
    assert len(values) == len(wants)
    by_name = dict(zip(wants, values, strict=False))
    assert all(by_name[name] is value for name, value in zip(wants, values, strict=True))
    (path,) = tmp_path.iterdir()
    assert by_name.get("path", os.fsencode(path)) == os.fsencode(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    if "file" in by_name:
        with by_name["file"] as file:
            assert file.write(b"temporary", blocking=blocking) == 9
            assert not os.get_inheritable(file.fileno())
        assert text(path) == "temporary"
    assert system.removefile(path, blocking=blocking) is True


def test_bad_wants(tmp_path):
    """FIL-6: other wants are refused, and nothing is made."""
    for want in ("folder", ("path", 3), "fo"):
        with pytest.raises(ValueError, match="want"):
            system.maketemp(tmp_path / "t", want=want)
    with pytest.raises(TypeError, match=r"want .*3"):
        system.maketemp(tmp_path / "t", want=3)
    assert os.listdir(tmp_path) == []


# -- links, moving, copying, removing


@both_modes
def test_hard_links(blocking, tmp_path):
    """FIL-7, FIL-8: two names of one file until one is removed; it is no symbolic link."""
    old, new = tmp_path / "old", tmp_path / "new"
    with pytest.raises(FileNotFoundError):
        system.linkfile(old, new, blocking=blocking)
    old.write_text("data")
    assert system.linkfile(old, new, blocking=blocking) is True
    for path in (old, new):
        assert system.fileinfo(path, "links", "target", "type", blocking=blocking) == (2, None, "file")
    assert old.samefile(new)
    assert system.removefile(old, blocking=blocking) is True
    assert system.fileinfo(new, "links", blocking=blocking) == 1
    assert text(new) == "data"


@both_modes
@pytest.mark.parametrize("symbolic", [False, True])
def test_links_do_not_replace(symbolic, blocking, tmp_path):
    """FIL-7: a link onto what exists is an error."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("old")
    new.write_text("new")
    with pytest.raises(FileExistsError) as caught:
        system.linkfile(old, new, symbolic=symbolic, blocking=blocking)
    assert (caught.value.filename, caught.value.filename2) == (old, new)
    assert text(new) == "new"


@both_modes
@pytest.mark.parametrize("flags", [{"symbolic": True}, {"directory": True}, {"junction": True}], ids=str)
@pytest.mark.parametrize("kind", ["file", "directory"])
def test_symbolic_links(kind, flags, blocking, tmp_path):
    """FIL-9, FIL-10: the link is one itself, leads to the file or folder, and contains the path as it was given."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.mkdir() if kind == "directory" else target.write_text("there")
    assert system.linkfile("target", link, **flags, blocking=blocking) is True
    assert system.fileinfo(link, "type", follow=False, blocking=blocking) == "link"
    assert system.fileinfo(link, "type", "target", blocking=blocking) == (kind, "target")
    assert system.fileinfo(link, "realpath", blocking=blocking) == os.path.realpath(target)
    assert link.is_symlink()
    assert system.removefile(link, blocking=blocking) is True
    assert target.exists()


@both_modes
def test_dangling_links(blocking, tmp_path):
    """FIL-9: a symbolic link may lead nowhere."""
    link = tmp_path / "link"
    assert system.linkfile("nowhere", link, symbolic=True, blocking=blocking) is True
    assert system.fileinfo(link, "target", blocking=blocking) == "nowhere"
    with pytest.raises(FileNotFoundError):
        system.fileinfo(link, "type", blocking=blocking)


@both_modes
def test_bad_moves(blocking, tmp_path):
    """FIL-11: what is missing cannot be moved, nor a folder onto a file."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("here")
    with pytest.raises(FileNotFoundError):
        system.movefile(tmp_path / "missing", tmp_path / "new", blocking=blocking)
    with pytest.raises(NotADirectoryError):
        system.movefile(tmp_path / "folder", tmp_path / "file", blocking=blocking)
    assert text(tmp_path / "file") == "here"
    assert (tmp_path / "folder").is_dir()


@both_modes
def test_moves(blocking, tmp_path):
    """FIL-12: a file and a folder move there and back."""
    folder, file = tmp_path / "folder", tmp_path / "file"
    folder.mkdir()
    file.write_text("here")
    assert system.movefile(file, folder / "new", blocking=blocking) is True
    assert text(folder / "new") == "here"
    assert system.movefile(folder, tmp_path / "other", blocking=blocking) is True
    assert sorted(os.listdir(tmp_path)) == ["other"]
    assert system.movefile(tmp_path / "other", folder, blocking=blocking) is True
    assert system.movefile(folder / "new", file, blocking=blocking) is True
    assert text(file) == "here"
    assert os.listdir(folder) == []


@both_modes
def test_bad_copies(blocking, tmp_path):
    """FIL-13: missing, there already (exclusive), a folder; the flags are checked before."""
    old, new = tmp_path / "old", tmp_path / "new"
    with pytest.raises(FileNotFoundError):
        system.copyfile(old, new, blocking=blocking)
    old.write_text("old")
    new.write_text("new")
    with pytest.raises(FileExistsError):
        system.copyfile(old, new, exclusive=True, blocking=blocking)
    assert text(new) == "new"
    with pytest.raises(IsADirectoryError):
        system.copyfile(old, tmp_path, blocking=blocking)
    with pytest.raises(TypeError, match=r"clone .*\[\]"):
        system.copyfile(old, new, clone=[], blocking=blocking)
    with pytest.raises(ValueError, match="clone "):
        system.copyfile(old, new, clone="maybe", blocking=blocking)
    with pytest.raises(TypeError, match="exclusive "):
        system.copyfile(old, new, exclusive=1, blocking=blocking)
    assert text(new) == "new"


@contextmanager
def refusal_of_clones():
    """Most file systems cannot share blocks."""
    try:
        yield
    except errors.UVError as error:
        if error.name not in ("ENOTSUP", "ENOSYS", "ENOTTY", "EXDEV", "EINVAL"):
            raise


@both_modes
@pytest.mark.parametrize("clone", [None, "try", "force"])
def test_copies(clone, blocking, tmp_path):
    """FIL-14: a copy, then another one over it; "force" works where blocks can be shared, and else copies nothing."""
    old, new = tmp_path / "old", tmp_path / "new"
    for data in (os.urandom(300_000), b"short"):
        old.write_bytes(data)
        with refusal_of_clones() if clone == "force" else nullcontext():
            assert system.copyfile(old, new, clone=clone, blocking=blocking) is True
            assert new.read_bytes() == data
            assert old.stat().st_mode == new.stat().st_mode


@both_modes
def test_bad_removals(blocking, tmp_path):
    """FIL-15: missing, of the other kind, or not empty."""
    (tmp_path / "folder" / "inner").mkdir(parents=True)
    for directory in (False, True):
        with pytest.raises(FileNotFoundError):
            system.removefile(tmp_path / "missing", directory=directory, blocking=blocking)
    with pytest.raises((IsADirectoryError, PermissionError)):
        system.removefile(tmp_path / "folder", blocking=blocking)
    with pytest.raises(errors.UVError, match=r"ENOTEMPTY|EEXIST"):
        system.removefile(tmp_path / "folder", directory=True, blocking=blocking)
    assert (tmp_path / "folder" / "inner").is_dir()


@both_modes
def test_create_and_remove(blocking, tmp_path):
    """FIL-16: there and away again."""
    path = tmp_path / "file"
    system.openfile(path, write=True, create=True, perm=0o600, blocking=blocking).close()
    assert path.exists()
    assert system.removefile(path, blocking=blocking) is True
    assert not path.exists()
    with pytest.raises(TypeError, match="directory "):
        system.removefile(path, directory=None, blocking=blocking)


# -- times, owners, permissions


@pytest.mark.parametrize("wrong", ["now", True, [1], b"1"], ids=repr)
@pytest.mark.parametrize("name", ["atime", "mtime"])
def test_bad_times(name, wrong, tmp_path):
    """FIL-34: times are finite numbers; nothing is changed by what is refused."""
    path = tmp_path / "file"
    path.touch()
    os.utime(path, (1000, 2000))
    with system.openfile(path) as file:
        for touch in (lambda **times: system.touchfile(path, **times), file.touch):
            with pytest.raises(TypeError, match=f"{name} "):
                touch(**{name: wrong})
            for bad in (float("nan"), float("inf"), -float("inf"), 1e300):
                with pytest.raises(ValueError, match=f"{name} must (not be NaN|be a time in seconds since 1970)"):
                    touch(**{name: bad})
            with pytest.raises(TypeError, match="unexpected keyword"):
                touch(ctime=1)
    assert (path.stat().st_atime, path.stat().st_mtime) == (1000, 2000)


def by_path(path, **more):
    return system.touchfile(path, **more)


def by_link(path, **more):
    return system.touchfile(path, follow=False, **more)


def by_file(path, **more):
    with system.openfile(path, blocking=True) as file:
        return file.touch(**more)


@both_modes
@pytest.mark.parametrize("touch", [by_path, by_link, by_file])
@pytest.mark.parametrize("when", [-1, -1.5, -14182940.25, -1e-12, 0, 0.5, 1234567890.123456789, 2159345162.531])
def test_times_come_back(when, touch, blocking, tmp_path):
    """What `fileinfo` tells can be set again, before 1970 and after 2038 too, and is the same then."""
    path, other = tmp_path / "file", tmp_path / "other"
    for one in (path, other):
        one.touch()
        touch(one, atime=when, mtime=when, blocking=blocking)
        info = system.fileinfo(one, blocking=blocking)
        assert (info.atime, info.mtime) == (pytest.approx(when, abs=1e-6),) * 2
        when = info.mtime
    assert os.stat(path).st_mtime_ns == os.stat(other).st_mtime_ns


@both_modes
@pytest.mark.parametrize("touch", [by_path, by_link, by_file])
def test_touch(touch, blocking, tmp_path):
    """FIL-35: a missing time is now; given ones are exact to the microsecond, of the link itself too."""
    target, path = tmp_path / "target", tmp_path / "file"
    target.touch()
    os.utime(target, (1000, 2000))
    path.symlink_to(target) if touch is by_link else path.touch()

    def times():
        found = os.lstat(path)
        return found.st_atime, found.st_mtime

    def is_now(moment):
        return begin - 1 <= moment <= time.time() + 1

    begin = time.time()
    os.utime(path, (1000, 2000), follow_symlinks=False)
    assert touch(path, blocking=blocking) is True
    assert [*map(is_now, times())] == [True, True]
    assert touch(path, atime=3000.5, blocking=blocking) is True
    assert (times()[0], is_now(times()[1])) == (3000.5, True)
    assert touch(path, mtime=4000, blocking=blocking) is True
    assert (is_now(times()[0]), times()[1]) == (True, 4000)
    assert touch(path, atime=1234567890.123456, mtime=1034567890.654321, blocking=blocking) is True
    assert times() == (pytest.approx(1234567890.123456, abs=1e-6), pytest.approx(1034567890.654321, abs=1e-6))
    assert (target.stat().st_atime, target.stat().st_mtime) == (1000, 2000)


@both_modes
def test_bad_owners(blocking, tmp_path):
    """FIL-36: both ids must be given, and be ids."""
    path = tmp_path / "file"
    path.touch()
    with system.openfile(path) as file:
        for own in (lambda *ids, **more: system.ownfile(path, *ids, **more), file.own):
            for few in ((), (-1,)):
                with pytest.raises(TypeError, match="missing"):
                    own(*few, blocking=blocking)
            with pytest.raises(TypeError, match=r"\buid "):
                own("root", -1, blocking=blocking)
            with pytest.raises(TypeError, match=r"\bgid "):
                own(-1, None, blocking=blocking)
            for bad in (-2, 2**32 - 1, 2**64):
                with pytest.raises(ValueError, match=r"\buid "):
                    own(bad, -1, blocking=blocking)


@both_modes
def test_owners(blocking, tmp_path):
    """FIL-37: to root and back by halves; or EPERM, and nothing changes."""
    path, link = tmp_path / "file", tmp_path / "link"
    path.touch()
    link.symlink_to(path)
    uid, gid = path.stat().st_uid, path.stat().st_gid

    def owners(of=path):
        found = os.lstat(of)
        return found.st_uid, found.st_gid

    assert system.ownfile(path, -1, -1, blocking=blocking) is True
    assert owners() == (uid, gid)
    with system.openfile(path) as file:
        if not ROOT:
            for own in (lambda *ids: system.ownfile(path, *ids, blocking=blocking), file.own):
                with pytest.raises(PermissionError):
                    own(0, 0)
            return
        for own in (lambda *ids: system.ownfile(path, *ids, blocking=blocking), file.own):
            assert own(12, 34) is True
            assert owners() == (12, 34)
            assert own(0, -1) is True
            assert owners() == (0, 34)
            assert own(-1, 0) is True
            assert owners() == (0, 0)
    assert system.ownfile(link, 5, 6, follow=False, blocking=blocking) is True
    assert (owners(link), owners()) == ((5, 6), (0, 0))
    assert system.ownfile(link, 7, 8, blocking=blocking) is True
    assert (owners(link), owners()) == ((5, 6), (7, 8))


@both_modes
@pytest.mark.parametrize("wrong", [None, True, 1.5, b"r"], ids=repr)
def test_bad_permissions(wrong, blocking, tmp_path):
    """FIL-38: permissions are bits or letters, and have to be given; nothing changes else."""
    path = tmp_path / "file"
    path.touch(0o640)
    with system.openfile(path) as file:
        for grant in (lambda *perm, **more: system.grantfile(path, *perm, **more), file.grant):
            with pytest.raises(TypeError, match="perm "):
                grant(wrong, blocking=blocking)
            with pytest.raises(TypeError, match="missing"):
                grant(blocking=blocking)
            for bad in (-1, 0o10000, 2**70):
                with pytest.raises(ValueError, match="perm "):
                    grant(bad, blocking=blocking)
            for letter in map(chr, range(256)):
                if letter not in "UGSrwxRWX421":
                    with pytest.raises(ValueError, match="invalid character"):
                        grant("r" + letter, blocking=blocking)
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


@both_modes
@pytest.mark.parametrize("on", ["path", "file"])
def test_permissions(on, blocking, tmp_path):
    """FIL-39: 0444 and back; letters mean the same as bits, in any order, and more than once."""
    path = tmp_path / "file"
    path.touch(0o640)
    with system.openfile(path) as file:

        def grant(perm):
            done = file.grant(perm, blocking=blocking) if on == "file" else None
            done = done or system.grantfile(path, perm, blocking=blocking)
            return done, stat.S_IMODE(path.stat().st_mode)

        assert grant(0o444) == (True, 0o444)
        assert grant("wrR") == (True, 0o640)
        assert grant("") == (True, 0)
        assert grant("rwxRWX421") == (True, 0o777)
        assert grant("rrSUG") == (True, 0o7400)
        assert grant(filebits.ruser | filebits.wuser) == (True, 0o600)


def test_filebits():
    """The constants are those of the system."""
    assert filebits.type == stat.S_IFMT(0o177777)
    kinds = ("socket", "link", "file", "block", "directory", "character", "pipe")
    ours = [getattr(filebits, name) for name in kinds]
    assert ours == [stat.S_IFSOCK, stat.S_IFLNK, stat.S_IFREG, stat.S_IFBLK, stat.S_IFDIR, stat.S_IFCHR, stat.S_IFIFO]
    names = ("setuid", "setgid", "sticky", *(f"{bit}{who}" for who in ("user", "group", "other") for bit in "rwx"))
    assert [getattr(filebits, name) for name in names] == [1 << shift for shift in range(11, -1, -1)]


# -- several at once


def test_others_run_meanwhile(tmp_path):
    """Each call suspends its coroutine only; there may be more calls than the pool has threads."""
    made = [spawn.call(system.makedir, tmp_path / str(number), 0o700) for number in range(40)]
    assert {one.status for one in made} == {"suspended"}
    system.run()
    assert len(os.listdir(tmp_path)) == 40


def test_explicit_resume_of_a_change(tmp_path):
    """OPS: what an explicit resume brings is returned, true values also; what has begun goes on."""
    log = []
    for number, value in enumerate((True, None, ("two", "values"), "x")):
        one = spawn.call(lambda number=number: log.append(system.makedir(tmp_path / str(number), 0o700)))
        one.resume(*value) if isinstance(value, tuple) else one.resume(value)
    assert log == [True, None, ("two", "values"), "x"]
    system.run()
    assert set(os.listdir(tmp_path)) <= {"0", "1", "2", "3"}


def test_next_call_waits_for_a_cancelled_one(tmp_path):
    """OPS: the coroutine's next call begins when libuv is done with the cancelled one."""
    log = []

    def work():
        log.append(system.makedir(tmp_path / "a", 0o700))
        log.append(system.makedir(tmp_path / "b", 0o700))

    worker = spawn.call(work)
    worker.resume("enough")
    assert (log, worker.status) == (["enough"], "suspended")
    assert "after the cancelled call" in repr(worker)
    system.run()
    assert log == ["enough", True]
    assert (tmp_path / "b").is_dir()
