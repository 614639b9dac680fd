"""Ten minutes of everything at once; COUTIL_SOAK_SECONDS in the environment changes how long that is."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests.helpers.kernel import MAX_IDLE_RUNNERS
from tests.helpers.script import QUIET, ROOT

SECONDS = float(os.environ.get("COUTIL_SOAK_SECONDS", "600"))
SAME = ("descriptors", "coroutines", "handles", "requests", "threads", "children")  # in all samples of a process
ABOVE = {  # how far the highest sample of the last third may be above that of the middle third
    "memory": 2_000_000,  # bytes: what malloc keeps differs by as much between one sample and the next
    "other greenlets": 8,  # two of each thread of the pool, which come and go with the jobs that wait there
}


@pytest.mark.soak
def test_everything_stays_as_it_is():
    """R17: sockets, files, names, children, threads, deadlines: the last third has no more than the middle one."""
    command = [sys.executable, *QUIET, "-m", "tests.helpers.load", str(SECONDS)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=2 * SECONDS + 120, check=False)
    assert ended.returncode == 0, ended.stderr
    print(ended.stdout, ended.stderr)
    samples = [json.loads(line) for line in ended.stdout.splitlines()]
    third = len(samples) // 3
    middle, last = samples[third : 2 * third], samples[-third:]
    assert len(last) > 10
    assert last[-1]["jobs"] > 100 * SECONDS
    for name in SAME:
        assert {one[name] for one in (*middle, *last)} == {samples[0][name]}, name
    for name, more in ABOVE.items():
        assert max(one[name] for one in last) <= max(one[name] for one in middle) + more, name
    assert max(one["idle runners"] for one in samples) <= MAX_IDLE_RUNNERS
