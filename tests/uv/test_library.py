"""Dynamic libraries."""

import ctypes
from pathlib import Path

import pytest

from coutil import _libuv, uv
from coutil._libuv import _lib

OURS = Path(_lib.__file__)  # a library that is certainly there


def test_a_function_of_a_library():
    """Its address is what the system's loader says; it can be called with ctypes."""
    with uv.Lib("libm.so.6") as library:
        address = library.sym("cos")
        assert address == ctypes.cast(ctypes.CDLL("libm.so.6").cos, ctypes.c_void_p).value
        assert ctypes.CFUNCTYPE(ctypes.c_double, ctypes.c_double)(address)(0.0) == 1.0
        assert repr(library) == "<Lib 'libm.so.6'>"


def test_flat_functions():
    """The same with libuv's names; paths may be Path or bytes."""
    for path in (OURS, bytes(OURS)):
        library = uv.dlopen(path)
        assert uv.dlsym(library, "PyInit__lib") > 0
        uv.dlclose(library)
        uv.dlclose(library)  # twice is no error
        with pytest.raises(uv.Closed, match=r"the library .* "):
            uv.dlsym(library, "PyInit__lib")
        assert repr(library) == f"<Lib {path!r} closed>"


def test_no_such_library(tmp_path):
    """The exception has the text of the loader, which has no numbers for its errors."""
    text = tmp_path / "text"
    text.write_text("no library")
    for path, match in (("/nonexistent.so", "/nonexistent.so: cannot open"), (text, "text: ")):
        with pytest.raises(uv.UVError, match=match) as raised:
            uv.Lib(path)
        assert (raised.value.name, raised.value.code) == ("UNKNOWN", uv.errno.UNKNOWN)
        assert raised.value.syscall == "uv_dlopen"


def test_no_such_function():
    """The library can be used afterwards."""
    with uv.Lib(OURS) as library:
        for _ in range(3):
            with pytest.raises(uv.UVError, match="nonexistent") as raised:
                library.sym("nonexistent")
        assert raised.value.syscall == "uv_dlsym"
        assert library.sym("PyInit__lib") > 0


def test_arguments():
    """Types and NULs are refused before C sees them."""
    for wrong in (None, 3):
        with pytest.raises(TypeError, match="path "):
            uv.Lib(wrong)
    with pytest.raises(ValueError, match="path "):
        uv.Lib("a\0b")
    with uv.Lib(OURS) as library:
        with pytest.raises(TypeError, match=r"name .*b'x'"):
            library.sym(b"x")
        with pytest.raises(ValueError, match="name "):
            library.sym("a\0b")
    with pytest.raises(TypeError, match="the first argument "):
        uv.dlsym(_libuv.lib, "x")
