"""What the benchmarks share: cores, the life of processes, echo servers, rounds, tables, options, versions.

Rule: a process is ended by the Popen object that started it, and never outlives the block that needs it.
"""

import json
import os
import platform
import resource
import select
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import IO, Generic, TypeVar

T = TypeVar("T")

HERE = Path(__file__).resolve().parent
OURS = "coutil"
START_LIMIT = 20.0  # seconds a server may take until it listens
END_LIMIT = 5.0  # seconds a process may take to end when asked to


class Failed(Exception):
    """Something could not be measured; the text says why."""


# -- Cores


def cores() -> tuple[int | None, int | None]:
    """Return a core for what is measured and another for what loads it; None twice where there are not two."""
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep this process on one core during the block; processes started there stay on it."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, before if core is None else {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


# -- Processes


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return ours with `extra`, the package beside this folder importable even if not installed, and no debugging."""
    path = os.pathsep.join(filter(None, [str(HERE.parent), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "COUTIL_DEBUG": "", **extra}


def last_line(text: str) -> str:
    """Return the last line that says something: of a traceback, the exception; of a group, the last one in it."""
    lines = [said for line in text.splitlines() if (said := line.strip(" |")).strip("+-")]
    return lines[-1] if lines else "no message"


def end(child: subprocess.Popen[str]) -> None:
    """Ask a process to end, insist if it does not, and reap it."""
    child.terminate()
    try:
        child.wait(END_LIMIT)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def complaint(child: subprocess.Popen[str], errors: IO[str], patience: float = 0.0) -> Failed | None:
    """Return what is wrong with a process: it is gone within `patience` seconds, or it wrote to its standard error."""
    with suppress(subprocess.TimeoutExpired):
        child.wait(patience)
    errors.seek(0)
    text = errors.read()
    if child.returncode is None and not text:
        return None
    fate = "complained" if child.returncode is None else f"ended with status {child.returncode}"
    return Failed(f"{fate}: {last_line(text)}")


@contextmanager
def process(arguments: Sequence[str], core: int | None, extra: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a Python program during the block. Raises Failed, with its last words, if it has any or ends too early."""
    with TemporaryFile("w+") as errors:
        command = [sys.executable, *arguments]
        with pinned(core):
            child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment(extra))
        try:
            yield child
            failure = complaint(child, errors)
        except Failed as reason:
            failure = complaint(child, errors, patience=0.5) or reason
        finally:
            end(child)
            if child.stdout:
                child.stdout.close()
        if failure:
            raise failure


def run(command: Sequence[str], core: int | None, limit: float) -> str:
    """Run a program to its end and return its last line. Raises Failed if it fails or takes over `limit` seconds."""
    try:
        with pinned(core):
            program = partial(subprocess.run, capture_output=True, text=True, check=False, env=environment({}))
            done = program(command, timeout=limit)
    except subprocess.TimeoutExpired:
        raise Failed(f"took over {limit:.0f} s") from None
    if done.returncode:
        raise Failed(f"ended with status {done.returncode}: {last_line(done.stderr or done.stdout)}")
    return last_line(done.stdout)


def compiled(source: Path) -> Path:
    """Return a C program, compiled anew if its source is newer; another process may do that, too."""
    program = HERE / "build" / source.stem
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        program.parent.mkdir(exist_ok=True)
        with TemporaryDirectory(dir=program.parent) as folder:
            made = Path(folder, program.name)
            subprocess.run(["cc", "-O2", "-Wall", "-o", made, source], check=True)
            made.replace(program)
    return program


def allow_descriptors(count: int) -> int:
    """Raise our limit of descriptors, and that of processes started later, to `count` if we may; return what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def resident(pid: int | str = "self") -> int:
    """Return how many bytes of a process are in memory."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


# -- Echo servers


@dataclass(frozen=True)
class Server:
    """One file of the folder `servers`, and the module without which it cannot run."""

    file: str
    module: str
    extra: Mapping[str, str] = field(default_factory=dict)


SERVERS = {
    OURS: Server("coutil_.py", OURS),
    "coutil-uv": Server("coutil_uv.py", OURS),
    "gevent": Server("gevent_.py", "gevent"),
    "gevent-libuv": Server("gevent_.py", "gevent", {"GEVENT_LOOP": "libuv-cffi"}),
    "uvloop-protocol": Server("asyncio_protocol.py", "uvloop", {"ECHO_LOOP": "uvloop"}),
    "uvloop-streams": Server("uvloop_streams.py", "uvloop"),
    "asyncio-protocol": Server("asyncio_protocol.py", "asyncio"),
    "asyncio-streams": Server("asyncio_streams.py", "asyncio"),
    "trio": Server("trio_.py", "trio"),
    "threads": Server("threads.py", "threading"),
}

DATAGRAM_SERVERS = {
    OURS: Server("coutil_udp.py", OURS),
    "gevent": Server("gevent_udp.py", "gevent"),
    "asyncio-protocol": Server("asyncio_udp.py", "asyncio"),
    "uvloop-protocol": Server("asyncio_udp.py", "uvloop", {"ECHO_LOOP": "uvloop"}),
    "trio": Server("trio_udp.py", "trio"),
    "blocking": Server("blocking_udp.py", "socket"),
    "c": Server("c_udp.py", "os"),
}


@contextmanager
def serving(server: Server, core: int | None, where: str = "0") -> Iterator[tuple[int, int]]:
    """Run a server on a port, 0 for any, or a path, during the block, which gets its process number, and its port or 0.

    Raises Failed if it crashes.
    """
    with process([str(HERE / "servers" / server.file), where], core, server.extra) as child:
        place = listening(child)
        yield child.pid, 0 if place == where else int(place.rpartition(":")[2])


def listening(child: subprocess.Popen[str]) -> str:
    """Wait for the line `listening on HOST:PORT`, or a path; return where. Raises Failed if another or none comes."""
    assert child.stdout
    ready, _, _ = select.select([child.stdout], [], [], START_LIMIT)
    line = child.stdout.readline() if ready else ""
    if not line.startswith("listening on "):
        raise Failed(f"did not listen, but wrote {line.strip()!r}")
    return line.removeprefix("listening on ").strip()


# -- Rounds


@dataclass
class Trials(Generic[T]):
    """What the rounds told about one contender, and why the others did not."""

    samples: list[T] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def add(self, measure: Callable[[], T]) -> None:
        """Measure once more."""
        try:
            self.samples.append(measure())
        except Failed as failure:
            self.failures.append(str(failure))


def compare(title: str, names: Sequence[str], rounds: int, measure: Callable[[str], T]) -> dict[str, Trials[T]]:
    """Measure each name once a round, from another first one each time, so that none always meets the same noise."""
    trials: dict[str, Trials[T]] = {name: Trials() for name in names}
    for turn in range(rounds):
        for name in rotated(names, turn):
            progress(f"{title}, round {turn + 1} of {rounds}: {name}")
            trials[name].add(partial(measure, name))
    progress("")
    return trials


def rotated(names: Sequence[str], turn: int) -> list[str]:
    """Return the names in order, beginning with the one whose turn it is."""
    first = turn % max(1, len(names))
    return [*names[first:], *names[:first]]


def progress(text: str) -> None:
    """Show what is going on to whoever watches a terminal."""
    if sys.stderr.isatty():
        print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)


def complaints(title: str, trials: Mapping[str, Trials[T]], rounds: int) -> list[str]:
    """Return one line for each contender that failed at least once."""
    failed = {name: trial.failures for name, trial in trials.items() if trial.failures}
    return [f"FAILED: {name}, {title}, {len(why)} of {rounds} rounds: {why[-1]}" for name, why in failed.items()]


# -- Tables


def ratio(theirs: float | None, ours: float | None) -> float | None:
    """Return `theirs / ours`; None unless both are known."""
    return theirs / ours if theirs and ours else None


def number(value: float | None, digits: int = 2) -> str:
    """Return a cell of a table."""
    return "-" if value is None else f"{value:,.{digits}f}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return an aligned Markdown table: the first column to the left, the others to the right."""
    lines = [list(head), *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines.insert(1, rule)
    return "\n".join(table_line(line, widths) for line in lines)


def table_line(cells: Sequence[str], widths: Sequence[int]) -> str:
    """Return one line of a table."""
    first = cells[0].ljust(widths[0])
    rest = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return f"| {' | '.join([first, *rest])} |"


# -- Options


def words(text: str) -> list[str]:
    """Split an option that may be comma separated."""
    return [word for word in text.split(",") if word]


def numbers(text: str) -> list[int]:
    """Split an option of numbers that may be comma separated."""
    return [int(word) for word in words(text)]


def given(lists: Iterable[list[T]] | None, default: Iterable[T]) -> list[T]:
    """Join the values of an option that may be repeated."""
    return list(chain.from_iterable(lists) if lists else default)


def chosen(lists: Iterable[list[str]] | None, known: Iterable[str]) -> list[str]:
    """Return the names an option chose, all if it is not there. Raises SystemExit for one that does not exist."""
    names, known = given(lists, known), list(known)
    if unknown := set(names) - set(known):
        raise SystemExit(f"unknown: {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    return names


def installed(modules: Mapping[str, str]) -> list[str]:
    """Return the contenders whose module is installed, and say which are not. Ours is never left out: if it cannot
    run, the table shall show it.
    """
    absent = [name for name, module in modules.items() if module != OURS and not find_spec(module)]
    if absent:
        print(f"not installed: {', '.join(absent)}")
    return [name for name in modules if name not in absent]


def write_json(path: Path | None, content: object) -> None:
    """Write the figures to a file, if one was asked for."""
    if path:
        path.write_text(json.dumps(content, indent=1) + "\n")


# -- Versions


def libuv_version() -> str | None:
    """Return the version of the libuv that our package is linked with; None while it does not tell."""
    try:
        return str(import_module("coutil._libuv").version())
    except (ImportError, AttributeError):
        return None


def package_version(name: str) -> str | None:
    """Return the version of an installed package."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def versions() -> dict[str, str]:
    """Return what a figure depends on, by name; what is not installed is left out."""
    packages = {name: package_version(name) for name in ("coutil", "greenlet", "gevent", "uvloop", "trio", "curio")}
    known = {"python": platform.python_version(), "libuv": libuv_version(), **packages, "kernel": platform.release()}
    named = {name: value for name, value in known.items() if value}
    return {**named, "CPU": f"{os.cpu_count()} x {cpu_model()}"}


def print_versions() -> dict[str, str]:
    """Print the first line of a report, and return what is in it."""
    known = versions()
    print(", ".join(f"{name} {value}" for name, value in known.items()), flush=True)
    return known
