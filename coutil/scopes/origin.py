"""Where a block was made: for the texts of its errors, and for the warning that it was not used."""

from __future__ import annotations

import sys
import warnings
from functools import cached_property
from types import CodeType, FrameType
from typing import Any

from .._report import relative

__all__ = ["Origin"]


class Origin:
    """What a block knows of the call that has made it, the innermost one outside coutil.

    A block is made much more often than it is told about: so only what tells its line is kept.
    """

    _name = "scope"  # the function that was called
    _entered = _left = False
    _maker: tuple[CodeType, int, dict[str, Any]] | None = None  # code, instruction and globals of the caller

    def __init__(self, maker: FrameType | None) -> None:
        """maker: the frame of the caller; it is not kept."""
        while maker is not None and str(maker.f_globals.get("__name__")).startswith("coutil."):
            maker = maker.f_back
        if maker is not None:
            self._maker = (maker.f_code, maker.f_lasti, maker.f_globals)

    def __del__(self) -> None:
        """Warn of a block that was made, but not entered: nothing would ever be cut, or waited for."""
        if self._entered or self._left or sys.is_finalizing() or self._maker is None:
            return
        code, step, variables = self._maker
        warnings.warn_explicit(
            f"{self._name} was never entered, so it has done nothing: write `with {self._name}(...):`",
            RuntimeWarning,
            code.co_filename,
            _line(code, step) or 1,
            variables.get("__name__"),
            variables.setdefault("__warningregistry__", {}),
        )

    @cached_property
    def _label(self) -> str:
        """The function that was called, and where."""
        if self._maker is None:
            return self._name
        code, step, _ = self._maker
        return f"{self._name} at {relative(code.co_filename)}:{_line(code, step)}"


def _line(code: CodeType, step: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= step < end), None)
