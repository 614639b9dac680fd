"""The attributes that objects show, and those that are looked for in vain."""

from __future__ import annotations

from types import MemberDescriptorType
from typing import NoReturn

__all__ = ["AttributeHint", "public_names"]


class AttributeHint:
    """A name that other libraries have for a call: there is no such attribute, and the error says our name.

    To be assigned in a class, out of sight of type checkers. Costs nothing, unlike a `__getattr__`.
    """

    __slots__ = ("_name", "_suggestion")

    def __init__(self, suggestion: str) -> None:
        """suggestion: what to write in place of it."""
        self._suggestion = suggestion

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, one: object, kind: type) -> NoReturn:
        """Raise AttributeError."""
        raise AttributeError(f"{kind.__name__!r} object has no attribute {self._name!r}: write {self._suggestion}")


def public_names(one: object) -> list[str]:
    """Return the names for `dir` of an object: neither those of its slots, nor those that are elsewhere."""
    hidden = {
        name
        for base in type(one).__mro__
        for name, value in vars(base).items()
        if isinstance(value, MemberDescriptorType | AttributeHint)
    }
    return [name for name in object.__dir__(one) if name not in hidden]
