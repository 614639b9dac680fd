"""Echo servers under load: requests per second, latency and CPU time per request, ours against its peers.

    python -m benchmarks echo --rounds 5 --seconds 2 --connections 1,64,1000 --size 64,1024 --size 65536
    python -m benchmarks echo --udp
    python -m benchmarks echo --unix

Every round measures each server once, in a fresh process, beginning with another server each time. The server has one
core, the C client (load.c, compiled when needed) another one. The table shows medians; in its ratios, more than 1 says
that ours is better. `busy` is the share of its core that the server had: well below 100 %, other programs or the client
were the limit, and only the CPU time per request compares servers. By UDP, a server in C (udp.c) shows what the system
takes if there is no Python at all.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks import common
from benchmarks.common import Failed, Trials

Sample = Mapping[str, float]

PATIENCE = 60.0  # seconds the client may take for what is not measured: connecting, and the last echoes
COLUMNS = {  # figure and digits behind the point
    "requests/s": ("rps", 0),
    "p50 µs": ("p50_us", 1),
    "p99 µs": ("p99_us", 1),
    "CPU µs/req": ("cpu_us", 2),
    "user µs/req": ("user_us", 2),
    "busy %": ("busy", 0),
}
FAMILIES = {"tcp": "connections", "udp": "UDP clients", "unix": "Unix connections"}
SWITCH = {"tcp": [], "udp": ["-u"], "unix": ["-x"]}  # of the client
HEAD = ("server", *COLUMNS, "ratio req/s", "ratio CPU")


@dataclass(frozen=True)
class Case:
    """One load: how many connections, or clients by UDP, each with messages of how many bytes."""

    connections: int
    size: int
    family: str

    def __str__(self) -> str:
        """Name the case in reports."""
        return f"{self.connections} {FAMILIES[self.family]} x {self.size} bytes"


def servers(family: str) -> Mapping[str, common.Server]:
    """Return what can be measured."""
    return common.DATAGRAM_SERVERS if family == "udp" else common.SERVERS


def measure(case: Case, seconds: float, warmup: float, name: str) -> Sample:
    """Run one server and load it. Raises Failed if either fails or any echo is missing."""
    server_core, client_core = common.cores()
    with ExitStack() as stack:
        path = f"{stack.enter_context(TemporaryDirectory())}/echo"
        where, host = (path, path) if case.family == "unix" else ("0", "127.0.0.1")
        pid, port = stack.enter_context(common.serving(servers(case.family)[name], server_core, where))
        settings = (port, case.connections, case.size, seconds, warmup, pid)
        command = [str(common.compiled(common.HERE / "load.c")), *SWITCH[case.family], host, *map(str, settings)]
        sample: Sample = json.loads(common.run(command, client_core, seconds + warmup + PATIENCE))
        if sample["errors"] or not sample["requests"]:
            raise Failed(f"{sample['errors']:.0f} connections failed, {sample['requests']:.0f} requests succeeded")
    return derived(sample)


def derived(sample: Sample) -> Sample:
    """Add the figures per request."""
    per_request = 1e6 / sample["requests"]
    return {
        **sample,
        "cpu_us": sample["server_cpu_s"] * per_request,
        "user_us": sample["server_user_s"] * per_request,
        "busy": 100 * sample["server_cpu_s"] / sample["seconds"],
    }


def middle(trials: Trials[Sample] | None, figure: str) -> float | None:
    """Return the median of a figure; None if there is none."""
    return median(sample[figure] for sample in trials.samples) if trials and trials.samples else None


def row(name: str, trials: Trials[Sample], ours: Trials[Sample] | None) -> list[str]:
    """Return one line of the table."""
    if not trials.samples:
        return [name, "failed", *["-"] * (len(HEAD) - 2)]
    cells = [common.number(middle(trials, figure), digits) for figure, digits in COLUMNS.values()]
    rate = common.ratio(middle(ours, "rps"), middle(trials, "rps"))
    cpu = common.ratio(middle(trials, "cpu_us"), middle(ours, "cpu_us"))
    return [name, *cells, common.number(rate), common.number(cpu)]


def report(case: Case, results: Mapping[str, Trials[Sample]], rounds: int) -> str:
    """Return the table of one case, and below it what failed."""
    rows = [row(name, trials, results.get(common.OURS)) for name, trials in results.items()]
    title = f"\n{case}, median of {rounds} rounds\n"
    return "\n".join([title, common.table(HEAD, rows), *common.complaints(str(case), results, rounds)])


def parsed(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser("benchmarks echo", description="Compare echo servers under load.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="measured time of each server in each round")
    parser.add_argument("--warmup", type=float, default=0.5, help="seconds of load before that")
    parser.add_argument("--connections", type=common.numbers, action="append", metavar="N,...", help="repeatable")
    parser.add_argument(
        "--size", type=common.numbers, action="append", metavar="N,...", help="message bytes; repeatable"
    )
    known = ", ".join({**common.SERVERS, **common.DATAGRAM_SERVERS})
    parser.add_argument("--servers", type=common.words, action="append", metavar="NAME,...", help=known)
    family = parser.add_mutually_exclusive_group()
    family.add_argument("--udp", action="store_const", const="udp", dest="family", help="a message must fit into one")
    family.add_argument("--unix", action="store_const", const="unix", dest="family", help="Unix sockets")
    parser.set_defaults(family="tcp")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all samples to a file")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure each case, print its table, and return 1 if anything failed."""
    options = parsed(arguments)
    those = servers(options.family)
    names = common.chosen(options.servers, those)
    known = common.print_versions()
    names = common.installed({name: those[name].module for name in names})
    record = []
    for pair in product(common.given(options.connections, [64]), common.given(options.size, [1024])):
        case = Case(*pair, options.family)
        results = common.compare(
            str(case), names, options.rounds, partial(measure, case, options.seconds, options.warmup)
        )
        print(report(case, results, options.rounds), flush=True)
        record.append({**asdict(case), "servers": {name: asdict(trials) for name, trials in results.items()}})
    common.write_json(options.json, {"versions": known, "seconds": options.seconds, "cases": record})
    return int(any(trials["failures"] for case in record for trials in case["servers"].values()))
