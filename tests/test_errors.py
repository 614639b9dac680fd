"""Exceptions: one family for libuv's errors, which are also what a Python programmer would catch."""

from __future__ import annotations

import copy
import errno
import os
import pickle
import socket
from importlib import import_module
from inspect import isclass
from pkgutil import walk_packages

import pytest
from greenlet import GreenletExit

import coutil
from coutil import _libuv, errors, spawn, system
from coutil._libuv import check, error
from coutil._libuv.library import known_errors
from coutil._uv_errors import error_class
from coutil.errors import Closed, CoutilError, Forked, OperationCancelled, Timeout, UVError
from coutil.scopes import timeout

EOF, EAI_NONAME, EAI_CANCELED = -4095, -3008, -3003
BUILTINS = {
    "EACCES": PermissionError,
    "EAGAIN": BlockingIOError,
    "EALREADY": BlockingIOError,
    "ECONNABORTED": ConnectionAbortedError,
    "ECONNREFUSED": ConnectionRefusedError,
    "ECONNRESET": ConnectionResetError,
    "EEXIST": FileExistsError,
    "EINTR": InterruptedError,
    "EISDIR": IsADirectoryError,
    "ENOENT": FileNotFoundError,
    "ENOTDIR": NotADirectoryError,
    "EPERM": PermissionError,
    "EPIPE": BrokenPipeError,
    "ESHUTDOWN": BrokenPipeError,
    "ESRCH": ProcessLookupError,
    "ETIMEDOUT": TimeoutError,
}
PLAIN = ["EINVAL", "EBADF", "EMFILE", "EADDRINUSE", "ENOTCONN", "EMSGSIZE"]
LIBUV_ONLY = {"EOF": -4095, "EAI_NONAME": -3008, "EAI_AGAIN": -3001, "EAI_FAMILY": -3005}
FAMILIES = {  # our classes, and the builtin ones that they can be caught as
    errors.AlreadyRunning: RuntimeError,
    errors.BusyError: RuntimeError,
    errors.OperationCancelled: OSError,
    errors.Closed: (OSError, ValueError),
    errors.DeadCoroutine: RuntimeError,
    errors.Deadlock: RuntimeError,
    errors.ForeignThread: RuntimeError,
    errors.Forked: RuntimeError,
    errors.NotRunning: RuntimeError,
    errors.NotYieldable: RuntimeError,
    errors.RunningCoroutine: RuntimeError,
    errors.TaskCancelled: Exception,
    errors.Timeout: (TimeoutError, OSError),
    errors.TransferError: TypeError,
    errors.UVError: OSError,
}


# -- the family


@pytest.mark.parametrize("name", sorted(errors.__all__))
def test_every_class_has_one_base(name):
    """Whatever is public here is a CoutilError with a documentation, and a builtin exception besides.

    Only Cancelled is none: see `test_scope_cancelled`.
    """
    found = getattr(errors, name)
    assert found.__doc__
    assert found.__module__ == "coutil.errors"
    if name == "Cancelled":
        return
    assert issubclass(found, CoutilError)
    if found is not CoutilError:
        builtins = FAMILIES.get(found, OSError)
        assert all(issubclass(found, one) for one in (builtins if isinstance(builtins, tuple) else (builtins,)))


@pytest.mark.parametrize("name", BUILTINS)
def test_builtin_bases(name):
    """The ECONNREFUSED is a ConnectionRefusedError, and so on; always a UVError, with the system's number."""
    number = getattr(errno, name)
    made = error(-number, "uv_something")
    assert isinstance(made, BUILTINS[name])
    assert isinstance(made, UVError)
    assert type(made) is error_class(name)
    assert type(made).__name__ == made.name == name
    assert (made.errno, made.code, made.syscall) == (number, -number, "uv_something")
    with pytest.raises(BUILTINS[name]):
        raise made


@pytest.mark.parametrize("name", PLAIN)
def test_plain_errors(name):
    """Where Python has no class of its own the error is a UVError, hence an OSError."""
    made = error(-getattr(errno, name), "uv_something")
    assert type(made).__mro__[1] is UVError
    assert (made.name, made.errno, made.code) == (name, getattr(errno, name), -getattr(errno, name))
    assert not isinstance(made, ValueError)


@pytest.mark.parametrize(("name", "code"), LIBUV_ONLY.items())
def test_errors_of_libuv_alone(name, code):
    """EOF is an EOFError, failed look-ups are a socket.gaierror; the system has no number for them."""
    made = error(code, "uv_something")
    assert isinstance(made, EOFError if name == "EOF" else socket.gaierror)
    assert isinstance(made, UVError)
    assert (made.name, made.errno, made.code) == (name, code, code)


def test_unknown_code():
    """A number that libuv does not know still makes an error that can be caught and shown."""
    made = error(-12345, "uv_something")
    assert isinstance(made, UVError)
    assert (made.code, made.errno) == (-12345, -12345)
    assert "12345" in str(made)


def test_classes_are_made_once():
    """The same error is the same class, so that it can be caught."""
    for name in (*BUILTINS, *PLAIN, *LIBUV_ONLY, "EXYZ"):
        assert error_class(name) is error_class(name)
        assert error_class(name).__module__ == "coutil.errors"
        assert error_class(name).name == name
    assert error_class("ECANCELED") is OperationCancelled
    assert isinstance(error(-errno.ECANCELED), OperationCancelled)


def test_every_error_of_libuv_is_written_out():
    """So that type checkers and editors know it; each has the name and the text of libuv."""
    names = {name for _, name in known_errors()}
    assert len(names) > 80
    assert names <= set(errors.__all__)
    for name in sorted(names - {"ECANCELED"}):
        assert vars(errors)[name].__name__ == vars(errors)[name].name == name


def test_texts_of_the_classes():
    """Their documentation is the text of the error, so that editors show it."""
    differing = {
        name
        for code, name in known_errors()
        if error(code).strerror.lower() + "." != (vars(errors)[name].__doc__ or "").lower()
    }
    assert differing == {"ECANCELED"}


def test_each_error_is_a_new_object():
    """B27: no instance is raised twice: it would gather tracebacks."""
    first, second = error(-errno.EPIPE), error(-errno.EPIPE)
    assert first is not second
    assert type(first) is type(second)
    assert first.__traceback__ is None


def test_no_module_keeps_an_error():
    """B27: an exception that is kept, to be raised again and again, would gather tracebacks and what they refer to."""
    names = {module.name for module in walk_packages(coutil.__path__, "coutil.")} - {"coutil._libuv.build"}
    assert "coutil.system.network.stream" in names
    for name in sorted(names):
        spaces = [vars(import_module(name))]
        spaces += [vars(value) for value in spaces[0].values() if isclass(value)]
        assert [key for space in spaces for key, value in space.items() if isinstance(value, BaseException)] == []


# -- what they say


def test_message():
    """Name, text, call and files: what a log line needs."""
    assert str(error(-errno.ECONNREFUSED, "uv_tcp_connect")) == "ECONNREFUSED: connection refused (uv_tcp_connect)"
    assert str(error(-errno.EPIPE)) == "EPIPE: broken pipe"
    assert str(error(-errno.ENOENT, "uv_fs_open", "/a b")) == ("ENOENT: no such file or directory (uv_fs_open): '/a b'")
    assert str(error(-errno.EXDEV, "uv_fs_rename", "a", b"b")) == (
        "EXDEV: cross-device link not permitted (uv_fs_rename): 'a' -> b'b'"
    )
    assert str(error(-4095, "uv_read")) == "EOF: end of file (uv_read)"


def test_attributes_of_oserror():
    """strerror, filename and filename2 are those of every OSError."""
    made = error(-errno.ENOENT, "uv_fs_rename", "from", "to")
    assert (made.strerror, made.filename, made.filename2) == ("no such file or directory", "from", "to")
    assert (UVError.name, UVError.code, UVError.syscall) == ("UNKNOWN", 0, "")
    assert os.strerror(made.errno)


def test_error_without_call():
    """A UVError can be made by hand, like an OSError."""
    made = UVError(errno.EIO, "broken")
    assert str(made) == "UNKNOWN: broken"
    assert (made.errno, made.code) == (errno.EIO, 0)
    assert isinstance(Timeout("too late"), TimeoutError)
    assert str(Timeout("too late")) == "too late"
    assert str(Forked("not here")) == "not here"


def test_check():
    """Negative results are raised, everything else is passed on."""
    assert [check(code, "uv_something") for code in (0, 1, 2**31 - 1)] == [0, 1, 2**31 - 1]
    with pytest.raises(ConnectionResetError, match=r"ECONNRESET: connection reset by peer \(uv_something\)"):
        check(-errno.ECONNRESET, "uv_something")
    with pytest.raises(EOFError):
        check(-4095, "uv_something")


def test_foreign_thread_is_no_error_of_libuv():
    """Our own code for a call from the wrong thread becomes the exception for that."""
    made = error(_libuv.lib.CO_FOREIGN, "uv_something")
    assert type(made) is errors.ForeignThread
    assert not isinstance(made, OSError)
    assert "another thread" in str(made)


# -- blocks that end early


def test_cancelled(escaped):
    """No Exception, so that `except Exception` lets it pass; it names its block. One that escapes is reported."""
    block = object()
    made = errors.Cancelled("the scope was cancelled", block)
    assert not isinstance(made, Exception | GreenletExit)
    assert not isinstance(made, CoutilError)
    assert (str(made), made.scope) == ("the scope was cancelled", block)
    ended = spawn.call(raise_, made)
    assert escaped == [(ended, made)]
    escaped.clear()


def raise_(error):
    raise error


def test_task_cancelled():
    """An ordinary error: the one that asked for a result that will never be there can handle it."""
    made = errors.TaskCancelled("no result")
    assert isinstance(made, CoutilError)
    assert not isinstance(made, GreenletExit)
    assert (str(made), made.args) == ("no result", ("no result",))


def test_timeout():
    """A TimeoutError with a message and the block whose time is up, if it was one."""
    block = object()
    assert (str(Timeout()), Timeout().scope) == ("timed out", None)
    made = Timeout("too late", block)
    assert (str(made), made.scope, made.args) == ("too late", block, ("too late",))
    assert isinstance(made, TimeoutError)
    assert made.errno is None


# -- Closed


def test_closed():
    """An OSError (EBADF) and a ValueError, as files have it; only the object is named."""
    made = Closed("the socket is closed")
    assert isinstance(made, UVError)
    assert isinstance(made, ValueError)
    assert (str(made), made.errno, made.code, made.name) == (
        "the socket is closed",
        errno.EBADF,
        -errno.EBADF,
        "EBADF",
    )
    assert (made.interrupted, made.syscall, made.filename) == (False, "", None)
    assert Closed("interrupted", interrupted=True).interrupted is True


def test_closed_object():
    """D6: using an object after close() raises it; closing again does not."""
    made = system.socket("stream", "ipv4")
    assert made.close() is made.close() is True
    for use in (made.fileno, made.getaddress, made.receive, lambda: made.send(b"x"), made.shutdown):
        with pytest.raises(Closed, match=r"stream ipv4( .*)? is closed") as caught:
            use()
        assert caught.value.interrupted is False
        assert caught.value.errno == errno.EBADF


# -- in use


def test_errors_of_real_calls():
    """D7: the same family everywhere: a refused connection can be caught in four ways."""
    with system.socket("passive", "ipv4") as taken:
        taken.bind(system.address("ipv4", "127.0.0.1:0"))
        free = taken.getaddress()
    for kind in (ConnectionRefusedError, OSError, UVError, CoutilError):
        with system.socket("stream", "ipv4") as stream, pytest.raises(kind) as caught:
            stream.connect(free)
        assert (caught.value.name, caught.value.syscall) == ("ECONNREFUSED", "uv_tcp_connect")


def test_cause_and_context():
    """An error raised while another one is handled keeps it, as usual."""

    def fails():
        try:
            raise KeyError("first")
        except KeyError:
            check(-errno.EINVAL, "uv_something")

    with pytest.raises(UVError) as caught:
        fails()
    assert isinstance(caught.value.__context__, KeyError)
    assert caught.value.__cause__ is None
    assert caught.value.name == "EINVAL"


@pytest.mark.parametrize(
    "made",
    [
        errors.Deadlock("text"),
        errors.NotYieldable("text"),
        Timeout("text"),
        Timeout("text", scope=timeout(1)),
        errors.Cancelled("text", timeout(1)),
        Closed("text", interrupted=True),
        error(-errno.ECANCELED, "uv_write"),
        error(-errno.ENOENT, "uv_fs_stat", "/nope"),
        error(-errno.EXDEV, "uv_fs_rename", "one", "other"),
        error(EAI_NONAME, "uv_getaddrinfo"),
        error(EOF),
    ],
    ids=repr,
)
def test_they_can_be_pickled_and_copied(made):
    """They may cross to another process, in a log handler or a pool."""
    for twin in (pickle.loads(pickle.dumps(made)), copy.copy(made)):
        assert type(twin) is type(made)
        assert (twin.args, str(twin)) == (made.args, str(made))
        for name in ("code", "syscall", "filename", "filename2", "interrupted", "errno"):
            assert getattr(twin, name, None) == getattr(made, name, None)


def test_classes_of_libuv_are_found_by_name():
    """They are what tracebacks call them: `except errors.ENOENT`; nothing else is found."""
    with pytest.raises(errors.ENOENT) as caught:
        system.fileinfo("/no/such/file")
    assert type(caught.value) is errors.ENOENT is error_class("ENOENT")
    assert repr(error(-errno.ENOENT)) == "ENOENT(2, 'no such file or directory')"
    assert issubclass(errors.EAI_NONAME, socket.gaierror)
    assert errors.ECANCELED is OperationCancelled
    assert errors.EKEYEXPIRED is error_class("EKEYEXPIRED")  # of the system alone, and rare: made when it is asked for
    assert issubclass(errors.EKEYEXPIRED, UVError)
    for name in ("ENONSENSE", "EAI_NONSENSE", "enoent"):
        with pytest.raises(AttributeError, match=f"module 'coutil.errors' has no attribute '{name}'"):
            getattr(errors, name)


@pytest.mark.parametrize("code", [*(-number for number in errno.errorcode), *range(-3020, -2999), *range(-4095, -4020)])
def test_every_error_of_libuv_has_its_class(code):
    """Whatever libuv calls an error, the module has it under that name."""
    made = error(code)
    assert getattr(errors, type(made).__name__) is type(made)
    assert getattr(errors, made.name if code != EAI_CANCELED else "EAI_CANCELED") is type(made)
