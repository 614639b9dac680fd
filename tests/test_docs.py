"""What the documentation claims is what the code does."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest

from tests.helpers.kernel import OBJECT, OPERATION, table
from tests.helpers.script import run_script

ROOT = Path(__file__).parents[1]


def example(page, word):
    """Return the first example in Python of a page of docs/ that has a word in it."""
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    return next(code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if word in code)


def test_the_tables_of_the_architecture_are_those_of_the_code():
    """Both state machines are printed in docs/architecture.md, row by row."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert table(OPERATION) in text
    assert table(OBJECT) in text
    assert [arrow.number for arrow in OPERATION] == list(range(1, 11))
    assert [arrow.number for arrow in OBJECT] == list(range(1, 10))


def test_every_path_named_in_the_documents_exists():
    """A reader who follows a path in README.md, CONTRIBUTING.md or docs/ finds it."""
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
    named = {word for page in pages for word in re.findall(r"`([a-z_/]+/[a-z_]*\.?[a-z]*)`", page.read_text("utf-8"))}
    assert "examples/timeout.py" in named
    missing = [name for name in named if not any((base / name).exists() for base in (ROOT, ROOT / "coutil"))]
    assert missing == []


def class_bodies():
    """Map each class name of the package to the sources of all classes of that name and of their bases."""
    own, bases = {}, {}
    for path in (ROOT / "coutil").rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ClassDef):
                own[node.name] = own.get(node.name, "") + (ast.get_source_segment(text, node) or "")
                bases.setdefault(node.name, set()).update(ast.unparse(base).split("[")[0] for base in node.bases)

    def whole(name):
        return own.get(name, "") + "".join(whole(base) for base in bases.get(name, set()) - {name})

    return {name: whole(name) for name in own}


@pytest.mark.parametrize("page", ["architecture.md", "debugging.md"])
def test_every_name_in_the_pages_for_developers_exists(page):
    """A reader finds each private name, each member of a class, and each name of C where the code has it."""
    text = re.sub(r"```.*?```", "", (ROOT / "docs" / page).read_text("utf-8"), flags=re.DOTALL)
    named = re.findall(r"`([^`\n]+)`", text)
    members = {match.groups() for name in named if (match := re.match(r"([A-Z]\w+)\.(\w{3,})(?:\(.*\))?$", name))}
    names = {name for name in named if re.fullmatch(r"_\w+|co_\w+|[A-Z]\w+|[a-z]+_\w*[a-z]", name)}
    assert names
    sources = [path for folder in ("coutil", "tests") for path in (ROOT / folder).rglob("*.*")]
    sources = [path for path in sources if path.suffix in (".py", ".c", ".h")]
    words = set(re.findall(r"\w+", "\n".join(path.read_text("utf-8") for path in sources)))
    words |= {path.stem for path in sources}
    assert names - words - {"epoll_ctl", "epoll_wait"} == set()  # these two are system calls
    classes = class_bodies()
    assert {
        f"{owner}.{name}" for owner, name in members if not re.search(rf"\b{name}\b", classes.get(owner, ""))
    } == set()


def test_every_test_named_in_the_documents_exists():
    """Each test that docs/reliability.md names is a function of that file."""
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[^`:]+)::([^`]+)`", text)
    assert len(named) > 90
    functions = {path: re.findall(r"^def (test_\w+)", (ROOT / path).read_text("utf-8"), re.M) for path, _ in named}
    assert [f"{path}::{name}" for path, name in named if name not in functions[path]] == []


def test_the_rows_of_reliability():
    """Each row has a test, or says that nothing is promised; soak and fuzz are said of such tests alone."""
    text = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if re.match(r"\| R\d\d ", line)]
    numbers = [row[0] for row in rows]
    assert len(numbers) == len(set(numbers)) > 30
    assert [row[0] for row in rows if ("`tests/" in row[2]) == (row[1] == "—")] == []


def test_limits(tmp_path):
    """What docs/limits.md says of locks that ask for the thread, of imports, and of daemons."""
    (tmp_path / "slow.py").write_text("from coutil import system\nsystem.suspend(0.01)\nvalue = 1\n", encoding="utf-8")
    code = f"""
        import os, sys, threading
        from coutil import spawn, system
        sys.path.insert(0, {str(tmp_path)!r})
        lock = threading.RLock()

        def load():
            try:
                import slow
                print(slow.value)
            except AttributeError as error:
                print("circular import" in str(error))

        def locked(name):
            with lock:
                print("in", name)
                system.suspend()
                print("out", name)

        if os.fork() == 0:
            os.closerange(3, 256)
            spawn.call(load)
            spawn.call(load)
            system.suspend(0.05)
            for name in "ab":
                spawn.call(locked, name)
            system.suspend(0.05)
            sys.exit()
        os.wait()
    """
    done = run_script(code)
    assert done.stdout.split("\n")[:-1] == ["True", "1", "in a", "in b", "out a", "out b"]


def test_how_to_read_a_deadlock(tmp_path):
    """The example of docs/debugging.md ends as that page shows, apart from the times."""
    text = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
    shown = re.search(r"  ```\n(  coutil\.errors\.Deadlock.*?)  ```", text, re.DOTALL)[1]
    (tmp_path / "app.py").write_text(dedent(example("debugging.md", "mutex.held")), encoding="utf-8")
    command = [sys.executable, "app.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=20, check=False)

    def timeless(block):
        return [re.sub(r" +", " ", re.sub(r"\d+ ms", "", line)) for line in dedent(block).splitlines()]

    assert timeless(done.stderr)[-6:] == timeless(shown)


def test_the_tools_of_debugging(tmp_path):
    """The other examples of docs/debugging.md run."""
    done = run_script(dedent(example("debugging.md", "Blocked(0.1)")))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    handler = dedent(example("debugging.md", "signal.SIGQUIT"))
    done = run_script(handler + "import os\nsystem.suspend(0)\nos.kill(os.getpid(), signal.SIGQUIT)\n")
    assert done.returncode == 0
    assert "main" in done.stderr


def test_how_a_thread_hands_work_to_a_loop():
    """The example of docs/uv.md runs; without its `Async`, the loop would not have waited for the thread."""
    code = example("uv.md", "call_threadsafe")
    assert run_script(code).stdout == "the thread has found 42\n"
    late = code.replace("lambda: loop", "lambda: over.wait() and loop") + "print('over')\nover.set()\n"
    late = late.replace("more = uv.Async(loop)", "over = threading.Event()")
    assert run_script(late).stdout == "over\n"
