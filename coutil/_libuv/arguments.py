"""Checks of plain arguments."""

from __future__ import annotations

__all__ = ["flag", "whole"]


def flag(**values: object) -> None:
    """Raise TypeError for the first of the values that is not a bool; the keywords are the arguments' names."""
    for name, value in values.items():
        if not isinstance(value, bool):
            raise TypeError(f"{name} must be a bool, not {value!r}")


def whole(name: str, value: int, least: int = 0, largest: int = 2**64 - 1) -> int:
    """Return an integer argument; `least` and `largest` are allowed. Raises TypeError, or ValueError (out of range)."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an int, not {value!r}")
    if not least <= value <= largest:
        raise ValueError(f"{name} is out of range ({least} to {largest}): {value}")
    return value
