"""User, environment, current directory, title, priority and resources of the process."""

import grp
import os
import pwd
import resource
import subprocess
import sys
import tempfile

import pytest

from coutil import uv
from coutil.uv import environment

STRANGER = 2**31 - 5  # the number of no user, and of no group


@pytest.fixture
def variable():
    """The name of a variable that does not exist before and after the test."""
    name = "COUTIL_TEST_VARIABLE"
    os.unsetenv(name)
    yield name
    os.unsetenv(name)


# -- user


def test_passwd():
    """The user that the process acts for, and any other by number."""
    me = pwd.getpwuid(os.geteuid())
    expected = (me.pw_name, me.pw_uid, me.pw_gid, me.pw_shell, me.pw_dir)
    assert uv.os_get_passwd() == uv.os_get_passwd(os.geteuid()) == expected
    assert uv.os_get_passwd().username == me.pw_name
    assert uv.os_get_passwd(0).homedir == pwd.getpwuid(0).pw_dir


def test_group():
    """A group by number, with its members."""
    for known in grp.getgrall():
        found = uv.os_get_group(known.gr_gid)
        assert (found.groupname, found.gid) == (grp.getgrgid(known.gr_gid).gr_name, known.gr_gid)
        assert found.members == tuple(grp.getgrgid(known.gr_gid).gr_mem)


@pytest.mark.parametrize("function", [uv.os_get_passwd, uv.os_get_group])
def test_no_one(function):
    """Numbers of no one, and what is no number."""
    with pytest.raises(FileNotFoundError, match=f"uv_{function.__name__}"):
        function(STRANGER)
    for wrong in (-1, 2**32):
        with pytest.raises(ValueError, match=rf"\b[ug]id .*{wrong}"):
            function(wrong)
    with pytest.raises(TypeError, match=r"\b[ug]id .*'root'"):
        function("root")


def test_directories(monkeypatch):
    """Home and temporary directory are what the environment says, also if that is long."""
    monkeypatch.setenv("HOME", "/a/home")
    monkeypatch.setenv("TMPDIR", "/a/place/")
    assert uv.os_homedir() == "/a/home"
    assert uv.os_tmpdir() == "/a/place"
    long = "/" + "x" * 100_000
    monkeypatch.setenv("HOME", long)
    monkeypatch.setenv("TMPDIR", long)
    assert uv.os_homedir() == uv.os_tmpdir() == long


# -- environment


@pytest.mark.parametrize("value", ["", "a value", "ünï", "x" * 100_000, "\udcff"])
def test_variables(variable, value):
    """What is set is there for C, also if it is empty, long, or no text; Python's own copy does not notice."""
    assert uv.os_getenv(variable) is None
    uv.os_setenv(variable, value)
    assert uv.os_getenv(variable) == uv.os_environ()[variable] == value
    assert variable not in os.environ
    uv.os_unsetenv(variable)
    assert uv.os_getenv(variable) is None
    assert variable not in uv.os_environ()
    uv.os_unsetenv(variable)


def test_variables_that_python_sets(variable, monkeypatch):
    """They are variables like others."""
    monkeypatch.setenv(variable, "from Python")
    assert uv.os_getenv(variable) == "from Python"
    assert uv.os_environ()[variable] == "from Python"


def test_children_inherit_variables(variable):
    """A child that is started with C's environment has them."""
    uv.os_setenv(variable, "inherited")
    output = subprocess.run(
        [sys.executable, "-c", f"import os; print(os.environ['{variable}'])"],
        env=uv.os_environ(),
        check=True,
        capture_output=True,
        timeout=20,
    ).stdout
    assert output.strip() == b"inherited"


def test_names_of_variables_are_checked():
    """What no variable can be named is refused, before or by the system."""
    for name in ("", "a=b"):
        with pytest.raises(uv.UVError, match=r"EINVAL.*uv_os_setenv"):
            uv.os_setenv(name, "value")
    assert uv.os_getenv("") is None
    for function in (uv.os_getenv, uv.os_unsetenv, lambda name: uv.os_setenv(name, "value")):
        with pytest.raises(ValueError, match="name "):
            function("a\0b")
        with pytest.raises(TypeError, match=r"name .*b'a'"):
            function(b"a")
    with pytest.raises(TypeError, match=r"value .*1"):
        uv.os_setenv("a", 1)


# -- current directory


def test_current_directory(tmp_path, monkeypatch):
    """There and back; the caller's path may be text, bytes or a Path."""
    monkeypatch.chdir(tmp_path)  # and back at the end
    assert uv.cwd() == os.getcwd()
    deep = tmp_path / ("ü" * 20)
    deep.mkdir()
    for path in (deep, str(deep), os.fsencode(deep)):
        uv.chdir(tmp_path)
        uv.chdir(path)
        assert uv.cwd() == os.getcwd() == str(deep)


def test_a_directory_that_is_gone(tmp_path, monkeypatch):
    """It has no path any more."""
    monkeypatch.chdir(tmp_path)
    with tempfile.TemporaryDirectory() as gone:
        uv.chdir(gone)
    with pytest.raises(FileNotFoundError, match="uv_cwd"):
        uv.cwd()
    uv.chdir(tmp_path)


def test_no_such_directory(tmp_path):
    """The error names the path; where we are has not changed."""
    before, file = uv.cwd(), tmp_path / "file"
    file.touch()
    with pytest.raises(NotADirectoryError) as raised:
        uv.chdir(file)
    assert raised.value.filename == file
    with pytest.raises(FileNotFoundError):
        uv.chdir("")
    with pytest.raises(ValueError, match="null character"):
        uv.chdir("a\0b")
    with pytest.raises(TypeError, match="path "):
        uv.chdir(3)
    assert uv.cwd() == before


# -- process


def test_numbers_of_processes():
    """Ours, and our parent's."""
    assert uv.os_getpid() == os.getpid()
    assert uv.os_getppid() == os.getppid()
    assert os.path.samefile(uv.exepath(), os.readlink("/proc/self/exe"))


def test_priorities():
    """Of ourselves and others; a child takes one that is lower."""
    assert uv.os_getpriority() == uv.os_getpriority(os.getpid()) == os.getpriority(os.PRIO_PROCESS, 0)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        uv.os_setpriority(child.pid, 19)
        assert uv.os_getpriority(child.pid) == 19
        child.communicate(b"\n", timeout=20)
    assert uv.os_getpriority() < 19


def test_priorities_are_checked():
    """Out of range, of no one, and no numbers."""
    with pytest.raises(uv.UVError, match="EINVAL"):
        uv.os_setpriority(0, 20)
    with pytest.raises(ProcessLookupError):
        uv.os_getpriority(2**31 - 1)
    with pytest.raises(ProcessLookupError):
        uv.os_setpriority(2**31 - 1, 0)
    for wrong in (2**31, -1):
        with pytest.raises(ValueError, match=r"\bpid "):
            uv.os_getpriority(wrong)
    with pytest.raises(TypeError, match=r"priority .*'low'"):
        uv.os_setpriority(0, "low")


def in_child(script):
    """Return what a script prints that does not share our process."""
    command = [sys.executable, "-c", f"import sys; from coutil import uv\n{script}"]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout.split("\n")[:-1]


def test_title():
    """The first one is the interpreter; what is set is there, and names the thread; long ones are cut."""
    found = in_child(
        "print(uv.get_process_title())\n"
        "uv.set_process_title('a title of ours'); print(uv.get_process_title())\n"
        "print(open('/proc/self/comm').read().strip())\n"
        "uv.set_process_title(''); print(repr(uv.get_process_title()))\n"
        "uv.set_process_title('x' * 100_000); print(len(uv.get_process_title()))\n"
        "uv.set_process_title('über'); print(uv.get_process_title() == 'über')\n"
        "print(open('/proc/self/cmdline').read().split('\\0')[1])"
    )
    assert found == [sys.executable, "a title of ours", "a title of ours", "''", "4095", "True", "-c"]


def test_title_set_first():
    """It may be set before anybody has asked for it, and in several threads at once."""
    found = in_child(
        "threads = [uv.Thread(uv.set_process_title, f'title {n}') for n in range(8)]\n"
        "for thread in threads: thread.join()\n"
        "print(uv.get_process_title()[:6])"
    )
    assert found == ["title "]
    with pytest.raises(ValueError, match="title "):
        uv.set_process_title("a\0b")
    with pytest.raises(TypeError, match=r"title .*None"):
        uv.set_process_title(None)


def test_resources():
    """Time and memory of the process and of the thread: what Python's resource says."""
    assert 0 < uv.resident_set_memory() < uv.get_total_memory()
    known = resource.getrusage(resource.RUSAGE_SELF)
    found, ours = uv.getrusage(), uv.getrusage_thread()
    assert found.utime + found.stime == pytest.approx(known.ru_utime + known.ru_stime, abs=1)
    assert found.maxrss == pytest.approx(known.ru_maxrss, rel=0.1)
    assert found.minflt >= known.ru_minflt > 0
    assert {f"ru_{name}" for name in found._fields} == {name for name in dir(known) if name.startswith("ru_")}
    assert 0 < ours.utime + ours.stime <= found.utime + found.stime + 1


def test_resources_of_a_thread_where_the_system_does_not_tell(monkeypatch):
    """It raises what libuv would."""
    monkeypatch.setattr(environment, "has", lambda name: False)
    monkeypatch.delattr(environment.resource, "RUSAGE_THREAD")
    with pytest.raises(uv.UVError) as raised:
        uv.getrusage_thread()
    assert (raised.value.name, raised.value.syscall) == ("ENOTSUP", "uv_getrusage_thread")


def test_handles_of_the_system():
    """On Unix, descriptors are what the system has."""
    for fd in (0, 7, 2**31 - 1):
        assert uv.get_osfhandle(fd) == uv.open_osfhandle(fd) == fd
    with pytest.raises(TypeError, match=r"\bfd "):
        uv.get_osfhandle("0")
    with pytest.raises(ValueError, match="handle "):
        uv.open_osfhandle(2**31)
