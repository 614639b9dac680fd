"""Where a block was made: for the texts of its errors, and for the warning that it was not used."""

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
    """What a block knows of the call that has made it, the innermost one outside coutil.

    A block is made much more often than it is reported: so only what tells its line is kept, and no function of ours
    is called for it that could be written out.
    """

    _name = "scope"  # the function that was called
    _entered = _exited = False
    _call_site: CallSite | None = None

    def __del__(self) -> None:
        """Warn of a block that was made, but not entered: nothing would ever be cut, or waited for.

        That is so, too, if a signal handler raises between the call that makes a block and its `with`: a finalizer
        cannot know of an exception that is on its way.
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
        """The function that was called, and where."""
        if self._call_site is None:
            return self._name
        code, step, _ = self._call_site
        return f"{self._name} at {relative_path(code.co_filename)}:{_line_number(code, step)}"


def call_site(frame: FrameType | None) -> CallSite | None:
    """Return what is kept of a frame, or of the innermost one outside coutil that has called it."""
    while frame is not None:
        try:
            ours = frame.f_globals["__name__"][:7] == "coutil."
        except (KeyError, TypeError):  # code without a module, or with a strange one
            ours = False
        if not ours:
            return frame.f_code, frame.f_lasti, frame.f_globals
        frame = frame.f_back
    return None


def _line_number(code: CodeType, step: int) -> int | None:
    return next((line for start, end, line in code.co_lines() if start <= step < end), None)
