"""What type checkers say about programs: the files in tests/typed, where each line with an error is marked.

A line that ends in `# error: why` must be refused, all others must pass; `assert_type` tells what a call returns.
"""

import json
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted((ROOT / "tests" / "typed").glob("*.py"))


def marked():
    """Return the lines that are marked: file and number."""
    return {
        (path.name, number)
        for path in PROGRAMS
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if "  # error: " in line
    }


def run(*command):
    """Run a checker over all programs; return what it writes."""
    done = subprocess.run(
        [sys.executable, "-m", *command, *map(str, PROGRAMS)], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_mypy():
    """With all that is strict."""
    written = run("mypy", "--strict", "--no-error-summary", "--config-file=", "--follow-imports=silent")
    found = re.findall(r"(\w+\.py):(\d+): error: (.*)", written)
    assert {(name, int(number)) for name, number, _ in found} == marked(), written


@pytest.mark.skipif(find_spec("pyright") is None, reason="pyright is not installed: pip install 'coutil[typing]'")
def test_pyright():
    """The same with another one."""
    written = run("pyright", "--outputjson", "--pythonpath", sys.executable)
    found = [one for one in json.loads(written)["generalDiagnostics"] if one["severity"] == "error"]
    places = {(Path(one["file"]).name, one["range"]["start"]["line"] + 1) for one in found}
    assert places == marked(), [one["message"] for one in found]
