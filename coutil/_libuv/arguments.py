"""Checks of plain arguments. Each raises an error that names the argument and its value.

`kind` is the description of the allowed values in the TypeError.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["check_any_int", "check_bool", "check_choice", "check_int", "check_number", "check_str"]


def check_bool(**values: object) -> None:
    """Raise TypeError for the first of the values that is not a bool; the keywords are the arguments' names."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be a bool, not {value!r}")


def check_any_int(name: str, value: object, kind: str = "an int") -> int:
    """Return an integer argument of any size. Raises TypeError."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    return value


def check_int(name: str, value: object, least: int = 0, largest: int = 2**64 - 1, kind: str = "an int") -> int:
    """Return an integer argument; `least` and `largest` are allowed. Raises TypeError, or ValueError (out of range)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    if not least <= value <= largest:
        raise ValueError(f"{name} is out of range ({least} to {largest}): {value}")
    return value


def check_number(name: str, value: object, kind: str = "a number") -> float:
    """Return an int or a float. Raises TypeError, or ValueError (NaN)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    if value != value:  # noqa: PLR0124  # NaN
        raise ValueError(f"{name} must not be NaN")
    return value


def check_str(name: str, value: object, kind: str = "a string") -> str:
    """Return a string argument. Raises TypeError."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be {kind}, not {value!r}")
    return value


def check_choice(name: str, value: object, allowed: Iterable[str], kind: str = "a string") -> str:
    """Return a string argument that is one of `allowed`. Raises TypeError, or ValueError with all of them."""
    word = check_str(name, value, kind)
    words = tuple(allowed)
    if word not in words:
        *first, last = (f'"{each}"' for each in words)
        raise ValueError(f"{name} must be {', '.join(first)}{' or ' * bool(first)}{last}, not {value!r}")
    return word
