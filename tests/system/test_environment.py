"""Priorities, the current directory and the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from coutil import errors, system
from coutil.coroutine import create
from tests.helpers.ids import shown
from tests.helpers.script import output_of

NAMED = {"highest": -20, "high": -14, "above": -7, "normal": 0, "below": 10, "low": 19}
NO_STRINGS = [1, 1.5, True, b"COUTIL_TEST", object(), ["COUTIL_TEST"]]


@pytest.fixture(autouse=True)
def as_before():
    """The environment and the directory are left as they were found."""
    before, path = dict(os.environ), os.getcwd()
    yield
    os.chdir(path)
    assert {k: v for k, v in os.environ.items() if k != "PYTEST_CURRENT_TEST"} == {
        k: v for k, v in before.items() if k != "PYTEST_CURRENT_TEST"
    }


@pytest.fixture
def variable():
    """The name of a variable that does not exist, also not afterwards."""
    assert "COUTIL_TEST" not in os.environ
    yield "COUTIL_TEST"
    system.setenv("COUTIL_TEST", None)


def code_of(function, *arguments):
    """Return libuv's name for the failure of a call."""
    with pytest.raises(errors.UVError) as caught:
        function(*arguments)
    return caught.value.name


# -- priority


@pytest.mark.parametrize("bad", [-21, 20, 2**31, -(2**70), "other", "", "LOW", "normal\0"])
def test_priorities_out_of_range(bad):
    """PRI-1: other numbers and names, "other" among them, are a ValueError; nothing changes."""
    before = system.getpriority(0)
    with pytest.raises(ValueError, match=r"value (is out of range|must be one of)"):
        system.setpriority(0, bad)
    assert system.getpriority(0) == before


@pytest.mark.parametrize("bad", [None, True, 1.0, b"low"])
def test_priority_is_a_name_or_a_number(bad):
    """PRI-1: anything else is a TypeError."""
    before = system.getpriority(0)
    with pytest.raises(TypeError, match="value "):
        system.setpriority(0, bad)
    assert system.getpriority(os.getpid()) == before


def test_priorities():
    """PRI-1, PRI-2: what is set is what is read, of the caller by 0 or by its number; values between have no name."""
    lines = output_of(
        """
        import os
        from coutil import system

        name, value = system.getpriority(os.getpid())
        print(value == os.getpriority(os.PRIO_PROCESS, 0))
        print(system.setpriority(os.getpid(), value + 1), system.getpriority(0) == ("other", value + 1))
        for name in ("below", "low"):
            system.setpriority(0, name)
            print(*system.getpriority(0))
        """
    )
    assert lines == ["True", "True True", "below 10", "low 19"]


@pytest.mark.parametrize("name", ["below", "low"])
def test_priority_of_a_child(name):
    """PRI-3: that of another process is set and read the same way; then it is terminated."""
    child = system.start("sleep", "100")
    try:
        assert system.setpriority(child.pid, name) is True
        assert system.getpriority(child.pid) == (name, NAMED[name])
        assert os.getpriority(os.PRIO_PROCESS, child.pid) == NAMED[name]
    finally:
        system.emitsig(child.pid, "terminate")
    assert child.wait() == ("terminate", 15)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may raise a priority")
def test_higher_priorities():
    """PRI-1: every name has its number."""
    child = system.start("sleep", "100")
    for name, value in NAMED.items():
        assert system.setpriority(child.pid, name) is True
        assert system.getpriority(child.pid) == (name, value)
        assert system.setpriority(child.pid, value) is True
    child.kill("kill")
    assert child.wait() == ("kill", 9)


def test_priority_of_no_one():
    """PRI-1: no such process is ProcessLookupError."""
    assert code_of(system.getpriority, 2**31 - 1) == "ESRCH"
    assert code_of(system.setpriority, 2**31 - 1, 0) == "ESRCH"


# -- directory


def test_directory(tmp_path):
    """DIR-1: it is changed and read, by text, bytes or path; it is the process's."""
    before = system.getdir()
    assert before == os.getcwd()
    home = os.path.realpath(os.path.expanduser("~"))
    assert system.setdir(home) is True
    assert system.getdir() == home == os.getcwd()
    for path in (tmp_path, os.fsencode(tmp_path)):
        system.setdir(before)
        assert system.setdir(path) is True
        assert system.getdir() == str(tmp_path)
    assert system.setdir(before) is True
    assert system.getdir() == before


def test_odd_directories(tmp_path):
    """DIR-1: names that are no UTF-8, and paths far longer than libuv's own buffer."""
    odd = tmp_path / os.fsdecode(b"\xff\xfe \xc3")
    odd.mkdir()
    assert system.setdir(odd) is True
    assert system.getdir() == str(odd)
    for _ in range(40):
        os.mkdir("d" * 200)
        system.setdir("d" * 200)
    assert system.getdir() == str(odd) + ("/" + "d" * 200) * 40


def test_directory_failures(tmp_path):
    """DIR-1: what is no directory; NUL and other types never reach the system."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(FileNotFoundError) as missing:
        system.setdir(tmp_path / "missing")
    assert missing.value.filename == tmp_path / "missing"
    assert code_of(system.setdir, file) == "ENOTDIR"
    assert code_of(system.setdir, "x" * 5000) == "ENAMETOOLONG"
    with pytest.raises(ValueError, match="null character"):
        system.setdir(f"{tmp_path}\0")
    for bad in (None, 1, True, ["/"]):
        with pytest.raises(TypeError, match="path "):
            system.setdir(bad)
    assert system.getdir() == os.getcwd()


def test_removed_directory(tmp_path):
    """DIR-1: the current directory may have been removed."""
    (tmp_path / "gone").mkdir()
    system.setdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    assert code_of(system.getdir) == "ENOENT"
    assert system.setdir(tmp_path) is True


# -- environment


@pytest.mark.parametrize("bad", NO_STRINGS, ids=shown)
def test_names_and_values_are_strings(bad, variable):
    """ENV-1: anything else is a TypeError, also in coroutines; nothing is set."""

    def check():
        for call in (lambda: system.setenv(bad, "x"), lambda: system.setenv(variable, bad), lambda: system.getenv(bad)):
            with pytest.raises(TypeError, match="must be a string"):
                call()
        assert variable not in os.environ

    check()
    create(check).resume()


@pytest.mark.parametrize("bad", ["COUTIL_TEST\0", "\0", "CO\0UTIL=1"])
def test_no_nul(bad, variable):
    """ENV-1: a NUL never reaches the system."""
    for call in (lambda: system.setenv(bad, "x"), lambda: system.setenv(variable, bad), lambda: system.getenv(bad)):
        with pytest.raises(ValueError, match="null character"):
            call()
    assert variable not in os.environ


def test_missing(variable):
    """ENV-2: a missing variable is ENOENT, which is FileNotFoundError, and may be deleted."""
    assert code_of(system.getenv, variable) == "ENOENT"
    with pytest.raises(FileNotFoundError, match="COUTIL_TEST"):
        system.getenv(variable)
    assert system.setenv(variable, None) is True
    assert code_of(system.getenv, variable) == "ENOENT"


@pytest.mark.parametrize("name", ["", "=", "COUTIL_TEST=", "=COUTIL_TEST", "COUTIL_TEST=abc"])
def test_names_with_an_equals_sign(name, variable):
    """ENV-3: they cannot be set (EINVAL) and are not found (ENOENT)."""
    for value in ("def", None):
        assert code_of(system.setenv, name, value) == "EINVAL"
    assert code_of(system.getenv, name) == "ENOENT"
    assert variable not in os.environ


def test_in_step_with_os_environ(variable):
    """ENV-3, T-29: what is set here is there, and the reverse, and children inherit it."""
    assert system.setenv(variable, "abc=def") is True
    assert system.getenv(variable) == os.environ[variable] == "abc=def"
    assert system.execute("sh", "-c", 'test "$COUTIL_TEST" = abc=def') == ("exit", 0)
    os.environ[variable] = "other"
    assert system.getenv(variable) == "other"
    assert system.execute("sh", "-c", 'test "$COUTIL_TEST" = other') == ("exit", 0)
    del os.environ[variable]
    assert code_of(system.getenv, variable) == "ENOENT"


@pytest.mark.parametrize("value", ["", " ", "x" * 1024, "äöü€", os.fsdecode(b"\xff\xfe"), "a\nb", "=" * 9])
def test_values(value, variable):
    """ENV-4: all of them come back: empty, long, of several lines, no UTF-8."""
    assert system.setenv(variable, value) is True
    assert system.getenv(variable) == value
    assert system.getenv()[variable] == value
    assert os.environb[variable.encode()] == os.fsencode(value)


def test_all_variables(variable):
    """ENV-5: a new dictionary, or one that exists: others stay, equal ones are overwritten, the same is returned."""
    system.setenv(variable, "1")
    found = system.getenv()
    assert found == dict(os.environ)
    assert all(system.getenv(name) == value for name, value in found.items())
    into = {"coutil other": "stays", variable: "overwritten"}
    assert system.getenv(None, into) is into
    assert into == found | {"coutil other": "stays"}
    found.clear()
    assert system.getenv(variable) == "1"


def test_into_is_a_dictionary(variable):
    """ENV-5: and for all variables only."""
    for bad in (1, [], "x"):
        with pytest.raises(TypeError, match="into "):
            system.getenv(into=bad)
    with pytest.raises(TypeError, match="into is for all variables"):
        system.getenv("HOME", {})
    assert variable not in system.getenv()


def test_deleted(variable):
    """ENV-6: a variable that was deleted is missing, everywhere, however it was set."""
    system.setenv(variable, "x")
    assert system.setenv(variable, None) is True
    assert code_of(system.getenv, variable) == "ENOENT"
    os.putenv(variable, "behind Python's back")
    assert system.setenv(variable, None) is True
    assert system.execute("sh", "-c", 'test -z "${COUTIL_TEST+set}"') == ("exit", 0)
    assert variable not in os.environ


def test_packed():
    """ENV-7: variables as attributes and items; a missing attribute is None; back into a dictionary."""
    plain = {"A": "1", "AB": "x=y", "EMPTY": "", "NAME": os.fsdecode(b"\xff")}
    env = system.packenv(plain)
    assert (env.A, env["AB"], env.EMPTY, env["NAME"]) == tuple(plain.values())
    assert (env["A"], env.get("AB=x"), env.get("B"), env.MISSING) == ("1", None, None, None)
    assert system.unpackenv(env) == plain
    into = {"other": "stays", "A": "overwritten"}
    assert system.unpackenv(env, into) is into
    assert into == plain | {"other": "stays"}
    assert (len(env), repr(env)) == (4, "<PackedEnv of 4 variables>")


def test_packed_is_a_mapping():
    """It does what a dictionary does, but for changes; equal ones have equal hashes, whatever the order."""
    plain = {"A": "1", "AB": "x=y", "EMPTY": ""}
    env = system.packenv(plain)
    assert isinstance(env, Mapping)
    assert (dict(env), list(env), list(env.items())) == (plain, list(plain), list(plain.items()))
    assert env == plain
    assert [name for name in ("A", "AB", "B", "AB=x", "A=", "", "A\0", "\ud800", 0, None) if name in env] == ["A", "AB"]
    assert (env.get("B"), env.get("B", "2"), env.get(0)) == (None, "2", None)
    for missing in ("B", "AB=x", 0):
        with pytest.raises(KeyError) as caught:
            env[missing]
        assert caught.value.args == (missing,)
    backwards = system.packenv(dict(reversed(plain.items())))
    assert (env, hash(env)) == (backwards, hash(backwards))
    assert env != system.packenv({"A": "1"})
    assert system.packenv(env) == env


def test_packed_is_immutable():
    """ENV-7: attributes can neither be set nor deleted."""
    env = system.packenv({"A": "1"})
    with pytest.raises(AttributeError, match="cannot be changed"):
        env.A = "2"
    with pytest.raises(AttributeError, match="cannot be changed"):
        del env.A
    assert env.A == "1"


@pytest.mark.parametrize(
    ("bad", "kind", "words"),
    [
        ({"=ENV": "1"}, ValueError, "=ENV"),
        ({"A=B": "1"}, ValueError, "A=B"),
        ({"": "1"}, ValueError, "invalid name"),
        ({"A\0": "1"}, ValueError, "null character"),
        ({"A": "1\0"}, ValueError, "null character"),
        ({1: "1"}, TypeError, "must be a string"),
        ({"A": 1}, TypeError, "must be a string"),
        ({"A": None}, TypeError, "must be a string"),
        ([("A", "1")], TypeError, "must be a mapping"),
        (None, TypeError, "must be a mapping"),
    ],
)
def test_what_cannot_be_packed(bad, kind, words):
    """ENV-7, EXE-6, EXE-7: names and values are strings without NUL, names not empty and without "="."""
    with pytest.raises(kind, match=words):
        system.packenv(bad)
    if bad is not None:
        with pytest.raises(kind, match=words):
            system.execute("true", environment=bad)
    with pytest.raises(TypeError, match=r"\benv "):
        system.unpackenv(bad)
