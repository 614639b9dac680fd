"""All public classes and functions: weak references, annotations, and what `dir` shows."""

import importlib
import inspect
import typing
from contextlib import suppress
from functools import cache

import pytest

from coutil import coroutine, system
from tests.helpers.kernel import AttributeHint
from tests.test_public import PRESENT

TUPLES = (tuple, int)  # whose subtypes have no room for weak references


@cache
def public():
    """Return all public classes and functions, by name."""
    found = {}
    for module in PRESENT:
        names = vars(importlib.import_module(f"coutil.{module}"))
        found.update({f"{module}.{name}": names[name] for name in names.get("__all__", ()) if name in names})
    return found


def functions(cls):
    """Yield the functions that the attributes of a class call, by name."""
    for base in cls.__mro__:
        if base.__module__.startswith("coutil"):
            for name, attribute in vars(base).items():
                value = getattr(attribute, "fget", None) or getattr(attribute, "__func__", attribute)
                if inspect.isfunction(value) and not (name == "__new__" and issubclass(cls, tuple)):
                    yield f"{base.__name__}.{name}", value


CLASSES = {name: value for name, value in public().items() if inspect.isclass(value)}
FUNCTIONS = {name: value for name, value in public().items() if inspect.isroutine(value)}


@pytest.mark.parametrize("name", CLASSES)
def test_weak_references(name):
    """A program can keep track of whatever it makes, in a WeakSet or a WeakKeyDictionary."""
    cls = CLASSES[name]
    if issubclass(cls, TUPLES):
        assert cls.__weakrefoffset__ == 0
    else:
        assert cls.__weakrefoffset__, f"{name} has no slot for weak references"


@pytest.mark.parametrize("name", CLASSES)
def test_finalizers_of_what_was_never_made(name, monkeypatch):
    """Refused arguments, or a signal handler that raises, leave an object without attributes; its end is no error."""
    said = []
    monkeypatch.setattr("sys.unraisablehook", lambda one: said.append(one.exc_value))
    cls = CLASSES[name]
    with suppress(TypeError):  # of abstract classes
        cls.__new__(cls)
    assert said == []


@pytest.mark.parametrize("name", CLASSES)
def test_annotations_of_methods(name):
    """Every annotation means something when the program runs, too: `typing.get_type_hints` works."""
    for where, function in functions(CLASSES[name]):
        assert isinstance(typing.get_type_hints(function), dict), where


@pytest.mark.parametrize("name", FUNCTIONS)
def test_annotations_of_functions(name):
    """As for methods."""
    if inspect.isfunction(FUNCTIONS[name]):
        assert "return" in typing.get_type_hints(FUNCTIONS[name])


def test_what_coroutines_show():
    """Names that are documented, and none of the kernel's."""
    made = coroutine.create(print)
    assert {name for name in dir(made) if not name.startswith("_")} == {
        "close",
        "frame",
        "name",
        "resume",
        "status",
        "throw",
    }
    assert "__weakref__" in dir(made) or "__repr__" in dir(made)


NAMES = {
    ("stream", "recv"): "receive()",
    ("stream", "read"): "receive()",
    ("stream", "sendall"): "send()",
    ("stream", "write"): "send()",
    ("stream", "settimeout"): "with coutil.scopes.timeout(seconds)",
    ("stream", "makefile"): "buffered() or text()",
    ("datagram", "recvfrom"): "receive()",
    ("datagram", "sendto"): "send(data, address)",
    ("passive", "getsockname"): "getaddress()",
}


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=".".join)
def test_names_of_other_libraries(kind, name):
    """They are no attributes; the error says what to write, and `dir` does not show them."""
    with system.socket(kind, "ipv4") as made:
        with pytest.raises(AttributeError) as caught:
            getattr(made, name)
        ours = NAMES[kind, name]
        assert str(caught.value) == f"{type(made).__name__!r} object has no attribute {name!r}: write {ours}"
        assert not hasattr(made, name)
        assert name not in dir(made)
        assert "close" in dir(made)


def test_every_such_name_leads_somewhere():
    """What is to be written is there."""
    for cls in set(CLASSES.values()) - {system.Socket}:  # whose subclasses have the methods
        for name, value in inspect.getmembers_static(cls, lambda one: isinstance(one, AttributeHint)):
            ours = value._suggestion.removeprefix("with coutil.").split("(")[0].split(".")[0]
            assert hasattr(cls, ours) or ours == "scopes", name
