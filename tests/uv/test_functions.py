"""The table of libuv's functions: complete, true, and what the reference says."""

import importlib.util
import inspect
from pathlib import Path

import pytest

from coutil import uv
from coutil.uv import functions as table
from coutil.uv.functions import BLOCKING_KIND, EXTENSIONS, SECTIONS, functions

DOCS = Path(__file__).parents[2] / "docs"
ROWS = list(functions().values())
EXPOSED = [row for row in ROWS if row.blocking_kind != "X"]
NEWER = [row for row in ROWS if row.since]
NEWER_NAMES = {row.name for row in NEWER}


def resolved(path):
    """Return what a method of the table is: "Timer.start" in its class, "Loop.fs.open" in a loop."""
    name, *rest = path.split(".")
    found = uv.default_loop() if len(rest) > 1 else getattr(uv, name)
    for part in rest:
        attributes = getattr(found, "__annotations__", {})
        found = attributes[part] if part in attributes else getattr(found, part)
    return found


def documented(row):
    """Yield the docstrings of all that a row names."""
    for name in row.function_names.split():
        yield getattr(uv, name).__doc__
    for path in row.methods.split():
        found = resolved(path)
        yield found.__init__.__doc__ if inspect.isclass(found) else found.__doc__


@pytest.fixture(scope="module")
def library():
    """The libuv in use, opened anew; only where it is a library of its own."""
    lines = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    paths = {line.split()[-1] for line in lines if "/libuv.so" in line}
    if not paths:
        pytest.skip("libuv is linked statically")
    with uv.Lib(paths.pop()) as opened:
        yield opened


def test_the_table_is_complete():
    """Every function of libuv 1.52 has one row, 25 of them newer than 1.44.2; a row says how its function behaves."""
    assert len(ROWS) == sum(map(len, SECTIONS.values())) == 318
    assert len(NEWER) == 25
    assert {row.blocking_kind for row in ROWS} == set(BLOCKING_KIND)
    assert {row.since.rpartition(".")[0] for row in NEWER} == {"1.45", "1.46", "1.48", "1.49", "1.50", "1.52"}


def test_what_the_table_says_of_versions_is_true_of_the_library(library):
    """The library has what `has` promises; one that is as old as the headers has nothing else."""
    there = {row.name for row in ROWS if found(library, row)}
    promised = {row.name for row in ROWS if uv.has(row.name)}
    assert promised - there == set()
    assert {row.name for row in ROWS} - promised <= NEWER_NAMES
    if uv.version() == uv.HEADER_VERSION:
        assert there == promised
    assert all(
        tuple(map(int, functions()[name].since.split("."))) <= uv.version_info for name in promised & NEWER_NAMES
    )


def found(library, row):
    """Return whether the library has a function."""
    try:
        return library.sym(f"uv_{row.name}") != 0
    except uv.UVError:
        return False


@pytest.mark.parametrize("row", EXPOSED, ids=lambda row: row.name)
def test_every_exposed_function_is_there(row):
    """Under the names that the table has for it; one of the docstrings names libuv's function as its source."""
    assert row.function_names or row.methods
    for name in row.function_names.split():
        assert name in uv.__all__
        assert callable(getattr(uv, name))
    sources = "".join(documented(row))
    assert not row.function_names or f"uv_{row.name}" in sources


@pytest.mark.parametrize("row", [row for row in ROWS if row.blocking_kind == "X"], ids=lambda row: row.name)
def test_what_is_not_exposed_is_not_there(row):
    """And the table says why."""
    assert (row.function_names, row.methods) == ("", "")
    assert not hasattr(uv, row.name)
    assert row.remark


def test_every_function_of_the_module_is_in_the_table():
    """Flat functions, and classes of handles: there is nothing that the reference does not know."""
    known = {name for row in ROWS for name in row.function_names.split()} | set(EXTENSIONS)
    classes = {path.partition(".")[0] for row in ROWS for path in row.methods.split()}
    flat = {name for name in uv.__all__ if inspect.isfunction(getattr(uv, name))}
    handles = {name for name in uv.__all__ if inspect.isclass(one := getattr(uv, name)) and issubclass(one, uv.Handle)}
    assert flat - known == set()
    assert handles - classes == set()
    assert set(EXTENSIONS) <= flat


def test_has():
    """It knows the version that coutil was built against, and refuses what no libuv has."""
    assert uv.has("run")
    assert uv.has("metrics_info") == (uv.HEADER_VERSION >= 0x012D00)
    for name in ("nonsense", "uv_run", ""):
        with pytest.raises(ValueError, match="libuv has no function"):
            uv.has(name)
    with pytest.raises(TypeError, match=r"name .*None"):
        uv.has(None)


def test_has_goes_by_the_headers(monkeypatch):
    """What came with a later version than theirs is not there, from the patch number on."""

    class Headers:
        UV_VERSION_HEX = 0x013200  # 1.50.0

    monkeypatch.setattr(table, "lib", Headers)
    assert (uv.has("udp_try_send2"), uv.has("thread_setaffinity"), uv.has("udp_open_ex")) == (True, True, False)
    Headers.UV_VERSION_HEX = 0x0131FF
    assert (uv.has("udp_try_send2"), uv.has("utf16_to_wtf8"), uv.has("close")) == (False, True, True)


def test_the_reference_is_up_to_date():
    """docs/uv-reference.md is what the table says: run `make docs` if not."""
    spec = importlib.util.spec_from_file_location("uv_reference", DOCS / "uv_reference.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    text = (DOCS / "uv-reference.md").read_text(encoding="utf-8")
    assert text == script.reference()
    assert text.count("\n| `uv_") == len(ROWS)
    assert "| `uv_udp_try_send2` | same | `UDP.try_send_many` | N | 1.50.0 |" in text
