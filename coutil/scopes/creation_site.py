"""The place where a block was made: for the texts of its errors, and for the warning that it was never entered."""

from __future__ import annotations

import sys
import warnings
from functools import cached_property
from types import CodeType, FrameType
from typing import Any

from .._diagnostics import relative_path

__all__ = ["CallSite", "CreationSite", "call_site"]

CallSite = tuple[CodeType, int, dict[str, Any]]  # code, instruction and globals of the caller


class CreationSite:
    """The call that made a block: the innermost one outside coutil.

    Blocks are made much more often than they are reported. So only the code object, the instruction and the globals are
    kept; the line number is computed when it is needed.
    """

    _name = "scope"  # the function that was called
    _entered = _exited = False
    _call_site: CallSite | None = None

    def __del__(self) -> None:
        """Warn of a block that was made, but not entered: it would never cancel anything, or wait for a child.

        The warning also appears if a signal handler raises between the call that makes a block and its `with`: a
        finalizer cannot see an exception that is being raised.
        """
        if self._entered or self._exited or sys.is_finalizing() or self._call_site is None:
            return
        code, step, variables = self._call_site
        warnings.warn_explicit(
            f"{self._name} was never entered, so it has done nothing: write `with {self._name}(...):`",
            RuntimeWarning,
            code.co_filename,
            _line_number(code, step) or 1,
            variables.get("__name__"),
            variables.setdefault("__warningregistry__", {}),
        )

    @cached_property
    def _label(self) -> str:
        """The function that made the block, with file and line of the call."""
        if self._call_site is None:
            return self._name
        code, step, _ = self._call_site
        return f"{self._name} at {relative_path(code.co_filename)}:{_line_number(code, step)}"


def call_site(frame: FrameType | None) -> CallSite | None:
    """Return the call site of a frame: of the innermost one outside coutil, from `frame` outwards."""
    while frame is not None:
        try:
            internal = frame.f_globals["__name__"][:7] == "coutil."
        except (KeyError, TypeError):  # code without a module name, or with one that is not a string
            internal = False
        if not internal:
            return frame.f_code, frame.f_lasti, frame.f_globals
        frame = frame.f_back
    return None


def _line_number(code: CodeType, step: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= step < end), None)
