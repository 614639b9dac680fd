"""Keys for events in dictionaries.

Rule 1: numbers (1 and 1.0 are one event), strings and bytes are compared by value, everything else by identity:
including True and False, tuples, and values that cannot be hashed.
Rule 2: comparing keys calls no function of Python, in which a signal handler would run in the middle of a look-up.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from reprlib import Repr
from typing import Any, Self

__all__ = ["BY_VALUE", "key_of", "keys_of", "short_repr"]

_repr = Repr()
_repr.maxstring = _repr.maxother = 60
_hash: Any = object.__hash__  # of classes that are compared by identity anyway
_eq: Any = object.__eq__
BY_VALUE: dict[type, Any] = {str: str.__str__, int: int.__int__, float: float.__float__, bytes: bytes.__bytes__}


def short_repr(value: object) -> str:
    """Return the repr of a value, or the beginning of it."""
    return _repr.repr(value)


def key_of(event: object) -> Hashable:
    """Return the key of an event, which refers to the event: see rule 1. Raises ValueError (None, NaN)."""
    if event is None:
        raise ValueError("None is no event")
    kind = type(event)
    if kind is str or kind is int or (kind.__hash__ is _hash and kind.__eq__ is _eq):
        return event
    for base, exact in BY_VALUE.items():
        if issubclass(kind, base) and kind is not bool:
            value: Hashable = exact(event)
            if value != value:  # noqa: PLR0124  # NaN
                raise ValueError("NaN is no event")
            return value
    return _IdentityKey(event)


def keys_of(events: Iterable[Any]) -> dict[Hashable, None]:
    """Return the keys of the events that are not None, in order, each once. Raises ValueError (NaN)."""
    return dict.fromkeys([key_of(event) for event in events if event is not None])


class _IdentityKey(tuple[int]):
    """Key of a value that is compared by identity although its class compares in another way, or cannot be hashed.

    It is a tuple so that a look-up in a dictionary calls no function of Python: see rule 2.
    """

    value: object  # kept, so that its `id` is not used again

    def __new__(cls, value: object) -> Self:
        """Make the key of `value`. Tuples are wrapped, too, so no other key is a tuple."""
        key = super().__new__(cls, (id(value),))
        key.value = value
        return key

    def __repr__(self) -> str:
        return short_repr(self.value)
