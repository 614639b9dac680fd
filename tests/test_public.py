"""Public names are a contract: each change of them shows as a change of a file in tests/golden.

    COUTIL_GOLDEN=write make test ARGS=tests/test_public.py

writes these files anew, from `__all__` of each public module and the public members of its classes.
"""

import ast
import importlib
import inspect
import os
from pathlib import Path
from types import MemberDescriptorType

import pytest

from tests.helpers.kernel import AttributeHint

PACKAGE = Path(__file__).parents[1] / "coutil"
GOLDEN = Path(__file__).parent / "golden"
PUBLIC = [
    "errors",
    "coroutine",
    "debug",
    "event",
    "hooks",
    "queued",
    "mutex",
    "promise",
    "spawn",
    "scopes",
    "sync",
    "system",
    "testing",
    "uv",
    "threads",
    "channel",
]
PRESENT = [name for name in PUBLIC if (PACKAGE / f"{name}.py").exists() or (PACKAGE / name / "__init__.py").exists()]


def public_names(module):
    """Yield what `module` promises: "suspend", "Coroutine", "Coroutine.resume", …"""
    for name in sorted(module.__all__):
        yield name
        value = getattr(module, name)
        if inspect.isclass(value):
            yield from (f"{name}.{member}" for member in sorted(members(value)))


def members(cls):
    """Return the public methods, properties and constants of a class; what it keeps in slots is not checked."""
    ours = [vars(base) for base in cls.__mro__ if base.__module__.startswith("coutil")]
    found = {name: value for names in reversed(ours) for name, value in names.items() if not name.startswith("_")}
    return [name for name, value in found.items() if not isinstance(value, MemberDescriptorType | AttributeHint)]


@pytest.mark.parametrize("name", PRESENT)
def test_public_names(name):
    names = "".join(f"{name}\n" for name in public_names(importlib.import_module(f"coutil.{name}")))
    golden = GOLDEN / f"{name}.txt"
    if os.environ.get("COUTIL_GOLDEN") == "write":
        GOLDEN.mkdir(exist_ok=True)
        golden.write_text(names, encoding="utf-8")
    assert golden.exists(), "new module: write its golden file as the first lines of this test file say"
    assert names == golden.read_text(encoding="utf-8")


# A coroutine is ended, as a generator is, and has a status. `FS.close` closes a descriptor.
NEVER_CLOSED = {"coroutine.Coroutine", "uv.FS"}


def test_what_can_be_closed_shows_whether_it_is():
    """Every public class with `close` has a property `closed`."""
    closing = {
        f"{module.__name__.removeprefix('coutil.')}.{name}": getattr(module, name)
        for module in map(importlib.import_module, (f"coutil.{name}" for name in PRESENT))
        for name in module.__all__
        if hasattr(getattr(module, name), "close") and inspect.isclass(getattr(module, name))
    }
    assert len(closing) > 30
    assert set(closing) >= NEVER_CLOSED
    wrong = [name for name, value in closing.items() if not isinstance(getattr(value, "closed", None), property)]
    assert set(wrong) == NEVER_CLOSED


def public_values():
    """Yield "module.name" and value of everything public, members of classes too."""
    for module in PRESENT:
        space = importlib.import_module(f"coutil.{module}")
        for name in space.__all__:
            value = getattr(space, name)
            yield f"{module}.{name}", value
            if inspect.isclass(value):
                yield from ((f"{module}.{name}.{member}", getattr(value, member)) for member in members(value))


# Of libuv these are numbers of milliseconds or nanoseconds that the call is about.
POSITIONAL_TIMES = {"uv.Timer.start", "uv.timer_start", "uv.cond_timedwait"}


def test_a_timeout_is_a_keyword():
    """Of every call that waits: `wait(5)` says too little."""
    kinds = {
        name: inspect.signature(value).parameters["timeout"].kind
        for name, value in public_values()
        if inspect.isroutine(value) and "timeout" in inspect.signature(value).parameters
    }
    assert len(kinds) > 10
    assert {name for name, kind in kinds.items() if kind is not inspect.Parameter.KEYWORD_ONLY} == POSITIONAL_TIMES


def test_a_block_gets_its_object():
    """`with one as name`: the name is the object; only a barrier gives the position, as `asyncio.Barrier` does."""
    returned = {
        name: inspect.signature(value.__enter__).return_annotation
        for name, value in public_values()
        if inspect.isclass(value) and hasattr(value, "__enter__")
    }
    assert len(returned) > 30
    assert {name: kind for name, kind in returned.items() if kind != "Self"} == {"sync.Barrier": "int"}


def test_no_golden_file_without_its_module():
    assert {path.stem for path in GOLDEN.glob("*.txt")} <= set(PRESENT)


def undocumented(path):
    """Yield the public functions, classes and methods of a file that have no docstring."""
    documented = (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    bodies = [ast.parse(path.read_text(encoding="utf-8")).body]
    while bodies:
        for node in bodies.pop():
            if not isinstance(node, documented) or node.name.startswith("_"):
                continue
            if not ast.get_docstring(node) and not again(node):
                yield f"{path.relative_to(PACKAGE.parent)}:{node.lineno} {node.name}"
            if isinstance(node, ast.ClassDef):
                bodies.append(node.body)


def again(node):
    """Whether a definition only adds to another one that bears the docstring: an overload, a setter."""
    return any(ast.unparse(decorator).endswith(("overload", ".setter")) for decorator in node.decorator_list)


def test_public_functions_classes_and_methods_have_docstrings():
    assert [place for path in sorted(PACKAGE.rglob("*.py")) for place in undocumented(path)] == []
