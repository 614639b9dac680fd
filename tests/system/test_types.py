"""Results have types that a checker sees: a program that says which they are is checked by mypy, as users do."""

from __future__ import annotations

import subprocess
import sys
from textwrap import dedent

from tests.helpers.script import ROOT

PROGRAM = """
    import signal
    from typing import assert_type
    from coutil import system, uv

    process = system.start("true", stdin="w")
    assert_type(process.wait(), tuple[str, int])
    assert_type(process.wait(timeout=1.5), tuple[str, int])
    assert_type(process.kill("SIGTERM"), bool)
    assert_type(process.pid, int)
    assert_type(process.stdin, system.Pipe | None)
    assert_type(system.execute("true"), tuple[str, int])
    assert_type(system.execute(system.ExecSpec("true")), tuple[str, int])
    assert_type(system.awaitsig("hangup"), str)
    assert_type(system.awaitsig(1), int)
    assert_type(system.awaitsig(signal.SIGHUP), signal.Signals)
    assert_type(uv.Process(None, "true").wait(), tuple[int, int])
    assert_type(uv.Signal().wait(), int)
    assert_type([number for number in uv.Signal()], list[int])
    with system.start("true") as entered:
        assert_type(entered, system.Process)
"""


def test_results_of_processes_and_signals(tmp_path):
    """None of them is Any."""
    (tmp_path / "program.py").write_text(dedent(PROGRAM))
    options = ["--strict", "--no-error-summary", "--cache-dir", str(ROOT / ".mypy_cache")]
    command = [sys.executable, "-m", "mypy", *options, str(tmp_path / "program.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
