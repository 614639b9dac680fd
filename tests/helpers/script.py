"""Programs of their own: tests that need a fresh interpreter run a short script in one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
QUIET = ("-W", "ignore:This process:DeprecationWarning")  # Python 3.12+ warns of a fork beside threads, as libuv's are


def run_script(text: str, *options: str, timeout: float = 20) -> subprocess.CompletedProcess[str]:
    """Run `text` in a new interpreter, from the project's folder; return its exit code and output."""
    command = [sys.executable, *QUIET, *options, "-c", dedent(text)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    if done.returncode < 0:
        print(done.stderr)  # a crash: the report of the failing test has all of the faulthandler's text then
    return done


def output_of(text: str, *options: str, timeout: float = 20) -> list[str]:
    """Return the lines that `text` prints in a new interpreter; it must succeed and write nothing to stderr."""
    done = run_script(text, *options, timeout=timeout)
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout.splitlines()
