"""Versions, and the numbers, names and texts of errors."""

import errno as system
import re

import pytest

from coutil import errors, uv


def test_versions():
    """The same version as a number, a tuple and text; what was built against is not newer than what runs."""
    major, minor, patch = uv.version_info
    assert uv.version() == major << 16 | minor << 8 | patch >= uv.HEADER_VERSION
    assert re.fullmatch(rf"{major}\.{minor}\.{patch}(-dev)?", uv.version_string())
    assert uv.version_info >= (1, 44, 2)


def test_every_error_has_a_negative_number_and_a_name():
    """`errno` has the numbers by name, `errname` the names by number."""
    assert len(uv.errname) == len(vars(uv.errno)) > 75
    assert all(code < 0 for code in uv.errname)
    assert all(getattr(uv.errno, name) == code for code, name in uv.errname.items())
    assert uv.errname[uv.errno.ECONNREFUSED] == "ECONNREFUSED"
    assert (uv.errno.ENOENT, uv.errno.EOF) == (-system.ENOENT, -4095)


@pytest.mark.parametrize("name", ["ECONNREFUSED", "EOF", "EAI_NONAME", "UNKNOWN"])
def test_names_and_texts(name):
    """Libuv's name and text of an error, and of an exception with that number."""
    code = getattr(uv.errno, name)
    assert uv.err_name(code) == name
    assert (
        uv.strerror(code)
        == {
            "ECONNREFUSED": "connection refused",
            "EOF": "end of file",
            "EAI_NONAME": "unknown node or service",
            "UNKNOWN": "unknown error",
        }[name]
    )
    assert getattr(errors, name).name == name


@pytest.mark.parametrize("code", [-12345, 0, 12345, -(2**31), 2**31 - 1])
def test_unknown_errors(code):
    """A number that means nothing has a text that says so."""
    assert uv.strerror(code) == uv.err_name(code) == f"Unknown system error {code}"


@pytest.mark.parametrize("function", [uv.strerror, uv.err_name])
def test_numbers_are_checked(function):
    """Only what C takes for a number gets there."""
    for code in (2**31, -(2**31) - 1):
        with pytest.raises(ValueError, match=rf"code .*{code}"):
            function(code)
    for code in (1.0, "EOF", None, True):
        with pytest.raises(TypeError, match="code "):
            function(code)


def test_translate_sys_error():
    """The system's numbers become libuv's; libuv's stay."""
    assert uv.translate_sys_error(system.EPERM) == uv.errno.EPERM
    assert uv.translate_sys_error(uv.errno.EPERM) == uv.errno.EPERM
    assert uv.translate_sys_error(0) == 0
    with pytest.raises(ValueError, match="number "):
        uv.translate_sys_error(2**31)
    with pytest.raises(TypeError, match="number "):
        uv.translate_sys_error("EPERM")


def test_exceptions_are_those_of_coutil():
    """One family for all modules: the one that uses coutil.uv alone finds it there."""
    for name in (
        "UVError",
        "OperationCancelled",
        "Closed",
        "BusyError",
        "AlreadyRunning",
        "Deadlock",
        "ForeignThread",
        "Forked",
    ):
        assert getattr(uv, name) is getattr(errors, name)
    with pytest.raises(FileNotFoundError) as raised:
        uv.chdir("/nonexistent")
    found = raised.value
    assert isinstance(found, uv.UVError)
    assert (found.name, found.code, found.errno) == ("ENOENT", uv.errno.ENOENT, system.ENOENT)
    assert (found.syscall, found.filename) == ("uv_chdir", "/nonexistent")
