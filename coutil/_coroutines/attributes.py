"""Attributes that objects list for `dir`, and names that other libraries use for the same calls."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import NoReturn

__all__ = ["AttributeHint", "public_names"]


class AttributeHint:
    """A name that other libraries use for a call: reading it raises AttributeError, which names our call.

    Assigned in a class, hidden from type checkers. Costs nothing until it is read, unlike a `__getattr__`.
    """

    __slots__ = ("_name", "_suggestion")

    def __init__(self, suggestion: str) -> None:
        """suggestion: the expression to write instead."""
        self._suggestion = suggestion

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, one: object, kind: type) -> NoReturn:
        """Raise AttributeError."""
        raise AttributeError(f"{kind.__name__!r} object has no attribute {self._name!r}: write {self._suggestion}")


def public_names(one: object) -> list[str]:
    """Return the names for `dir` of an object: its attributes without its slots and its hints."""
    hidden = {
        name
        for base in type(one).__mro__
        for name, value in vars(base).items()
        if isinstance(value, MemberDescriptorType | AttributeHint)
    }
    return [name for name in object.__dir__(one) if name not in hidden]
