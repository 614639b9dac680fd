"""The benchmarks run, and their reports say what was measured. Short: nothing here says how fast anything is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import common, echo, jobs, system
from benchmarks.common import Failed, Trials

ROOT = Path(__file__).parents[1]
compiled = pytest.mark.skipif(not shutil.which("cc"), reason="the client is compiled when it is needed")


def run_benchmark(*arguments: str, limit: float = 60.0):
    """Run `python -m benchmarks` to its end."""
    command = [sys.executable, "-m", "benchmarks", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=limit, check=False)


def rows_of(text: str) -> list[str]:
    """Return the first cells of all lines of tables, but for their heads."""
    cells = re.findall(r"^\| (\w+) +\|", text, re.MULTILINE)
    return [cell for cell in cells if cell not in ("server", "contender")]


def measured(tmp_path: Path, *arguments: str, limit: float = 60.0):
    """Run a benchmark that must succeed; return its output and its record."""
    record = tmp_path / "record.json"
    done = run_benchmark(*arguments, "--rounds", "1", "--json", str(record), limit=limit)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, json.loads(record.read_text())


def trials_of(*walls: float) -> Trials[system.Sample]:
    """Return rounds that took so many seconds, half of it CPU."""
    return Trials([{"wall": wall, "cpu": wall / 2} for wall in walls])


# -- whole programs


@pytest.mark.slow
def test_system_measures_each_job_and_leaves_no_file(tmp_path):
    """A small part of each job, by us and by the plain calls, which have nothing that runs at once."""
    text, record = measured(
        tmp_path, "system", "--part", "0.001", "--contenders", "coutil,blocking", "--folder", str(tmp_path)
    )
    assert list(record["jobs"]) == list(jobs.JOBS)
    assert [path.name for path in tmp_path.iterdir()] == ["record.json"]
    for name, job in jobs.JOBS.items():
        ours, plain = (record["jobs"][name][who]["samples"] for who in ("coutil", "blocking"))
        assert ours[0]["wall"] > 0
        assert ours[0]["cpu"] > 0
        assert (plain == [None]) == (job.coroutines > 1)
        assert f"\n{job.title}, median of 1 rounds\n" in text
    assert "\nonly 0.001 of each job is done\n" in text
    assert rows_of(text).count("coutil") == 6
    assert rows_of(text).count("blocking") == 4


@pytest.mark.soak
def test_every_contender_does_every_job(tmp_path):
    """What is installed of our peers knows all that we do."""
    _, record = measured(tmp_path, "system", "--part", "0.001", limit=300.0)
    absent = {
        (name, who)
        for name, results in record["jobs"].items()
        for who, trials in results.items()
        if trials["samples"] == [None]
    }
    assert absent == {("execute-crowd", "blocking"), ("fileinfo-crowd", "blocking")}


@pytest.mark.slow
@compiled
@pytest.mark.parametrize(
    ("option", "noun", "servers"),
    [("--unix", "Unix connections", ["coutil"]), ("--udp", "UDP clients", ["coutil", "c"])],
)
def test_echo_loads_unix_sockets_and_datagrams(tmp_path, option, noun, servers):
    """The client compares every reply, so requests that count were served."""
    settings = ("--seconds", "0.1", "--warmup", "0.05", "--connections", "4", "--size", "64")
    text, record = measured(tmp_path, "echo", option, *settings, "--servers", ",".join(servers))
    assert f"4 {noun} x 64 bytes, median of 1 rounds" in text
    for name in servers:
        sample = record["cases"][0]["servers"][name]["samples"][0]
        assert sample["requests"] > 10
        assert sample["mismatches"] == sample["errors"] == 0
    assert rows_of(text) == servers


@compiled
@pytest.mark.soak
@pytest.mark.parametrize("option", ["--unix", "--seconds=0.2"])
def test_every_server_serves_both_kinds_of_streams(tmp_path, option):
    """All servers that are installed, by Unix sockets and by TCP."""
    settings = ("--seconds", "0.2", "--warmup", "0.05", "--connections", "4")
    _, record = measured(tmp_path, "echo", *settings, option, limit=300.0)
    servers = record["cases"][0]["servers"]
    assert "coutil" in servers
    assert "threads" in servers
    assert all(trials["samples"][0]["requests"] > 10 for trials in servers.values())


def test_options_that_make_no_sense_are_refused():
    """A name that does not exist, two families at once, a program that does not exist."""
    unknown = run_benchmark("system", "--jobs", "sing")
    both = run_benchmark("echo", "--udp", "--unix")
    nothing = run_benchmark("nothing")
    assert "unknown: sing; there are: read-write, copy" in unknown.stderr
    assert "not allowed with argument" in both.stderr
    assert "python -m benchmarks system" in nothing.stderr
    assert 0 not in (unknown.returncode, both.returncode, nothing.returncode)


# -- their parts


def test_peers_that_are_not_installed_are_left_out_with_a_note(capsys, monkeypatch):
    """Ours is never left out: if it cannot run, the table shall show it."""
    modules = {"coutil": "coutil", "peer": "no_such_module", "blocking": "os"}
    assert common.installed(modules) == ["coutil", "blocking"]
    assert capsys.readouterr().out == "not installed: peer\n"
    monkeypatch.setattr(common, "find_spec", lambda name: None)
    assert common.installed(modules) == ["coutil"]
    assert capsys.readouterr().out == "not installed: peer, blocking\n"


def test_a_table_shows_medians_and_how_many_times_our_figures_the_others_are():
    """Twice our time is a ratio of 2: more than 1 says that ours is better."""
    results = {
        "coutil": trials_of(0.002, 0.001, 0.9),
        "gevent": trials_of(0.004),
        "trio": Trials([None]),
        "broken": Trials([], ["fell over"]),
    }
    text = system.report(jobs.JOBS["execute"], results, 3)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    assert cells[0] == ["contender", "µs", "CPU µs", "ratio", "ratio CPU"]
    assert cells[2:] == [
        ["coutil", "2,000.0", "1,000.0", "1.00", "1.00"],
        ["gevent", "4,000.0", "2,000.0", "2.00", "2.00"],
        ["broken", "failed", "-", "-", "-"],
    ]
    assert text.endswith('FAILED: broken, execute("true"), 1 of 3 rounds: fell over')


def test_contenders_take_turns_at_being_first():
    """None always meets the noise that another one left; a failure is noted, and the others go on."""
    order: list[str] = []

    def measure(name: str) -> int:
        order.append(name)
        if name == "b":
            raise Failed("no")
        return len(order)

    trials = common.compare("title", ["a", "b", "c"], 3, measure)
    assert "".join(order) == "abcbcacab"
    assert trials["a"].samples == [1, 6, 8]
    assert trials["b"].failures == ["no"] * 3
    assert trials["c"].failures == []


def test_a_job_that_did_not_do_its_work_has_no_figures(tmp_path):
    """Figures of operations that failed would be worth nothing."""
    with pytest.raises(RuntimeError, match="did not do"):
        jobs.check(False)
    with pytest.raises(Failed, match="ENOENT: no such file or directory"):
        system.measure("copy", 1.0, tmp_path, "coutil")
    assert list(tmp_path.iterdir()) == []


def test_the_time_of_programs_counts_as_cpu():
    """What a job runs is part of what it takes."""
    burn = "x = 0\nfor i in range(1_000_000): x += i"
    figures = jobs.timed(subprocess.check_call, [sys.executable, "-c", burn])
    assert figures.cpu > 0.005
    assert figures.wall > 0.005


def test_a_server_says_where_it_listens(tmp_path):
    """On a port that the system has chosen, or on the path that it was given."""
    path = str(tmp_path / "echo")
    with common.serving(common.SERVERS["threads"], None, path) as (pid, port):
        assert os.path.exists(path)
        assert port == 0
    with common.serving(common.SERVERS["threads"], None) as (other, port):
        assert port > 0
        assert other != pid
    assert {"coutil", "threads", "asyncio-protocol", "uvloop-protocol"} <= echo.servers("unix").keys()
