"""The rules of the architecture, read off the sources: layers, private words, sizes, docstrings, suppressions.

Nothing is imported or built here, so these tests also run where the extension does not.
"""

import ast
import io
import re
import tokenize
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "coutil"

# Imports point to the left. A bar separates siblings, which do not import each other.
LAYERS = (
    ("_interpreter",),
    ("_switch_guard",),
    ("coutil",),  # the package itself: its version, nothing else
    ("_uv_errors",),
    ("errors",),
    ("_diagnostics", "_closeable"),
    ("_libuv",),
    ("_lifecycle",),
    ("_coroutines",),
    ("_keys",),
    ("event",),
    ("coroutine", "hooks", "queued", "mutex", "promise", "spawn"),
    ("_kernel",),
    ("scopes",),
    ("sync", "system", "uv"),
    ("threads", "channel", "debug", "testing"),
    ("console", "__main__"),
)
LOOPLESS = {
    "_coroutines",
    "_keys",
    "event",
    "coroutine",
    "hooks",
    "queued",
    "mutex",
    "promise",
    "spawn",
}  # work without libuv
KERNEL = {
    "_interpreter",
    "_switch_guard",
    "coutil",
    "_uv_errors",
    "errors",
    "_diagnostics",
    "_libuv",
    "_lifecycle",
    "_coroutines",
    "_kernel",
}
BUILDER = PACKAGE / "_libuv" / "build.py"  # never imported by the package
SWITCHES = {PACKAGE / "_coroutines" / name for name in ("runner.py", "switching.py")}

C_FILES = sorted((PACKAGE / "_libuv" / "c").glob("*.[ch]"))
PRIVATE_HEADER = PACKAGE / "_libuv" / "c" / "uv_private.h"

# Private fields of libuv's structures, as they are used; and the names that libuv keeps for itself.
PRIVATE_FIELDS = re.compile(
    r"""\buv__\w+ | (?:->|\.)(?:
    io_watcher | watchers | nwatchers | nfds | watcher_queue | pending_queue | pevents | backend_fd | emfile_fd |
    inotify_fd | wd | stop_flag | timer_heap | heap_node | closing_handles | next_closing | wq | wq_mutex | wq_async |
    work_req | retcode | child_watcher | signal_cb | caught_signals | dispatched_signals | async_cb | pending |
    connect_req | shutdown_req | write_queue | write_completed_queue | connection_cb | delayed_error | accepted_fd |
    queued_fds | read_cb | alloc_cb | recv_cb | poll_cb | poll_ctx | timer_cb | internal_fields | active_reqs |
    active_handles )\b""",
    re.VERBOSE,
)

MODULE_LINES = 500  # of C files, too
FUNCTION_CODE_LINES = 45
KERNEL_CODE_LINES = 2677  # of both folders without their doors: a ratchet, lower it when something shrinks

# Folders that are imported as a whole: only their `__init__.py`, the door, by those outside who are not named here.
DOORS = {"_coroutines": {"_kernel"}, "_kernel": set()}

# What layers above the kernel may use of its objects, for each class that defines it; everything else begins with an
# underscore. A method does where it can. Of a hub's attributes, these are read or written in place:
# - `handlers`, `free_slots`, `completions`, `ready`, `switching_to`: a slot is given back, a record or an entry is
#   taken out, and a coroutine woken, by steps between which the interpreter looks for no signals. It does so when a
#   method begins.
# - `coop_budget`: counted down by each `send` that finishes at once; `polling`: looked at by each `put`.
PUBLIC = {
    "CompletionHandler": {"after_completion", "claim_callback", "claim_waiter", "complete", "loop_closed", "waiter"},
    "ReadyItem": {"cancelled_entries", "claim_runnable", "loop_closed", "run", "waiter"},
    "SlotTable": {"allocate_slot", "free_slot", "free_slots", "generation", "handlers", "in_flight"},
    "Dispatcher": {
        "complete_now",
        "completions",
        "coop_budget",
        "current_handler",  # the watcher that has just woken the caller, which may wait for it again
        "greenlet",
        "next_handler_call",
        "ready",
        "run_caller",
        "switching_to",
    },
    "Hub": {
        "adopt_foreign",
        "alive",
        "before_poll",
        "call_threadsafe",
        "check",
        "clock",
        "close",
        "context",
        "enqueue",
        "external_source",
        "forked",
        "halt",
        "interrupt_poll",
        "is_running",
        "lock",
        "loop",
        "mode",
        "pending_errors",
        "polling",
        "public_loop",
        "raise_in_caller",
        "report",
        "run",
        "run_pending",
    },
    "Operation": {
        "coroutine",
        "generation",
        "hub",
        "keepalive",
        "request",
        "reschedule_via_hub",
        "result",
        "sleep",
        "slot",
        "state",
        "wait_until_free",
    },
    "KernelHandle": {
        "addresses",
        "call_error",
        "check_usable",
        "close",
        "closed",
        "closed_error",
        "complete_unclaimed",
        "demand",
        "error_of",
        "finalize",
        "generation",
        "hub",
        "offset",
        "open",
        "pending_data",
        "pointer",
        "pop_pending",
        "receive_buffer",
        "remember_addresses",
        "result",
        "slot",
        "state",
        "thread",
        "title",
        "use_error",
        "wait",
    },
}
# Between the kernel and those below it that are handed a hub: `_lifecycle`, and what it reports.
FOR_LIFECYCLE = {"after_fork_in_child", "clear_slots", "fork_backup", "interrupted", "update_flags", "waiting"}
FOR_THREADS = {"external_source"}  # for a layer that talks with other threads

# What the kernel has no use for: other event loops and schedulers, and what blocks or patches behind its back.
NOT_IN_KERNEL = {"asyncio", "concurrent", "multiprocessing", "sched", "select", "selectors", "subprocess", "threading"}

# What silences a tool. The reason is a comment of its own.
SUPPRESSION = re.compile(
    r"#\s*(?:(?:ruff:\s*)?(?i:noqa)\b(?::[\sA-Z0-9,]*)?|type:\s*ignore\b(?:\[[^]]*\])?|(?:fmt|mypy|pragma|pylint):[^#]*)"
)


# -- reading sources


@cache
def modules():
    """Map the dotted name of each module of the package to its file."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@cache
def tree(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def place(path, line):
    """What a failing test shows and an editor opens."""
    return f"{path.relative_to(PACKAGE.parent)}:{line}"


def nodes(*types):
    """Yield (path, node) for every node of the `types` in the package."""
    for path in modules().values():
        for node in ast.walk(tree(path)):
            if isinstance(node, types):
                yield path, node


@cache
def code_lines(path):
    """Return the numbers of the lines that hold code: no blank ones, no comments, no docstrings."""
    docstrings = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(
            node
        ):
            docstrings.update(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    lines = set()
    for token in tokenize.generate_tokens(io.StringIO(path.read_text(encoding="utf-8")).readline):
        if token.type not in layout:
            lines.update(range(token.start[0], token.end[0] + 1))
    return frozenset(lines - docstrings)


# -- imports


def imports(module, typing=True):
    """Yield (line, dotted name) of all that `module` imports, in functions too; unless `typing`, as at run time."""
    path = modules()[module]
    package = module.split(".")[: None if path.name == "__init__.py" else -1]
    skipped = set() if typing else type_checking(tree(path))
    for node in ast.walk(tree(path)):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) + 1 - node.level] if node.level else []
            base = [*base, node.module] if node.module else base
            yield from ((node.lineno, ".".join([*base, alias.name])) for alias in node.names)


def type_checking(root):
    """Return the nodes that stand under `if TYPE_CHECKING:`."""
    branches = [
        node for node in ast.walk(root) if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
    ]
    return {node for branch in branches for statement in branch.body for node in ast.walk(statement)}


def owner(name):
    """Return the module of ours that the dotted `name` is or comes from; None for a name of another package."""
    while name and name not in modules():
        name = name.rpartition(".")[0]
    return name or None


def unit(module):
    """Return what stands in LAYERS for a module of ours: "system" for coutil.system.network.tcp."""
    return module.split(".")[1] if "." in module else module


def rank(name):
    """Return the number of the layer of a unit. Fails for one that has no place yet."""
    for number, layer in enumerate(LAYERS):
        if name in layer:
            return number
    raise AssertionError(f"{name} has no place in LAYERS")


def allowed(importer, imported):
    """Whether one unit may import another."""
    if importer in LOOPLESS and imported in ("_libuv", "_lifecycle"):
        return False
    return importer == imported or rank(imported) < rank(importer)


def passes_door(importer, name):
    """Whether a module may import the dotted `name`, as far as it comes from a folder with a door."""
    folder = unit(owner(name))
    inside = unit(importer) in {folder, *DOORS.get(folder, ())}
    return folder not in DOORS or inside or owner(name) == f"coutil.{folder}"


@pytest.mark.parametrize(
    ("importer", "imported", "verdict"),
    [
        ("_kernel", "_libuv", True),
        ("_kernel", "_kernel", True),
        ("_libuv", "_kernel", False),
        ("_diagnostics", "_kernel", False),
        ("_kernel", "_coroutines", True),
        ("_coroutines", "_libuv", False),
        ("event", "_coroutines", True),
        ("event", "_kernel", False),
        ("queued", "event", True),
        ("queued", "mutex", False),  # siblings
        ("channel", "system", True),
        ("system", "channel", False),
        ("coutil", "errors", False),
    ],
)
def test_the_rule(importer, imported, verdict):
    assert allowed(importer, imported) is verdict


def test_imports_point_downward():
    wrong = [
        f"{place(path, line)} imports {name}"
        for module, path in modules().items()
        for line, name in imports(module, typing=module != "coutil")  # the package shows its modules to checkers
        if owner(name) and not allowed(unit(module), unit(owner(name)))
    ]
    assert wrong == []


@pytest.mark.parametrize(
    ("importer", "name", "verdict"),
    [
        ("coutil.uv.handle", "coutil._kernel.Hub", True),
        ("coutil.uv.handle", "coutil._kernel.hub.Hub", False),
        ("coutil.uv.handle", "coutil._kernel.hub", False),
        ("coutil.event", "coutil._coroutines.park", True),
        ("coutil.event", "coutil._coroutines.switching.park", False),
        ("coutil._kernel.hub", "coutil._coroutines.switching.park", True),
        ("coutil._kernel.hub", "coutil._kernel.slots.Wakeup", True),
        ("coutil._coroutines.runner", "coutil._coroutines.states.DEBUG", True),
        ("coutil.system.time", "coutil._libuv.arguments.check_int", True),  # has no door
    ],
)
def test_which_imports_pass_a_door(importer, name, verdict):
    assert passes_door(importer, name) is verdict


def test_layers_import_through_the_doors():
    wrong = [
        f"{place(path, line)} imports {name}"
        for module, path in modules().items()
        for line, name in imports(module)
        if owner(name) and not passes_door(module, name)
    ]
    assert wrong == []


@pytest.mark.parametrize("folder", sorted(DOORS))
def test_a_door_leads_to_what_is_used(folder):
    """It exports, with `__all__`, what other modules import, and nothing else."""
    path = modules()[f"coutil.{folder}"]
    (exported,) = (
        ast.literal_eval(node.value)
        for node in tree(path).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__"
    )
    used = {
        name.rpartition(".")[2]
        for module in modules()
        for _, name in imports(module)
        if unit(module) != folder and owner(name) == f"coutil.{folder}"
    }
    assert set(exported) == used


def members(node):
    """Yield the names of the methods and attributes that a class defines."""
    for one in node.body:
        if isinstance(one, ast.FunctionDef):
            yield one.name
        elif isinstance(one, ast.AnnAssign):
            yield one.target.id
        elif isinstance(one, ast.Assign) and ast.unparse(one.targets[0]) == "__slots__":
            yield from ast.literal_eval(one.value)
        elif isinstance(one, ast.Assign):
            yield from (name.id for name in ast.walk(one.targets[0]) if isinstance(name, ast.Name))


@cache
def kernel_classes():
    """Map the names of the classes in PUBLIC to all that they define."""
    return {
        node.name: set(members(node))
        for path, node in nodes(ast.ClassDef)
        if path.parent.name == "_kernel" and node.name in PUBLIC
    }


def attributes_of_others(path):
    """Yield (line, name) of each attribute that a file uses, and that no class in it defines."""
    own = {name for node in ast.walk(tree(path)) if isinstance(node, ast.ClassDef) for name in members(node)} | {
        node.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and ast.unparse(node.value) == "self"
    }
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Attribute) and node.attr not in own:
            yield node.lineno, node.attr


def test_which_attributes_of_the_kernel_are_public():
    """A layer that needs one more adds it to PUBLIC, or better a method that does the same to the kernel."""
    protocols = PUBLIC["CompletionHandler"] | PUBLIC["ReadyItem"]
    for name, defined in kernel_classes().items():
        inherited = protocols if name in ("Operation", "KernelHandle") else set()
        public = {member for member in defined if not member.startswith("_")}
        assert public - inherited - FOR_LIFECYCLE == PUBLIC[name], name


def test_public_attributes_of_the_kernel_are_used():
    above, below = set(), set()
    for path, node in nodes(ast.Attribute):
        folder = path.relative_to(PACKAGE).parts[0]
        if folder not in ("_coroutines", "_kernel"):
            (below if folder in ("_lifecycle.py", "_diagnostics.py") else above).add(node.attr)
    listed = set().union(*(one for name, one in PUBLIC.items() if name not in ("CompletionHandler", "ReadyItem")))
    assert listed - above == FOR_THREADS
    assert below >= FOR_LIFECYCLE


def test_layers_use_public_attributes_of_the_kernel():
    private = {name for defined in kernel_classes().values() for name in defined if re.match("_[a-z]", name)}
    assert {"_slow_path", "_stop_timer", "_endpoints"} <= private
    wrong = [
        f"{place(path, line)} uses {name}"
        for module, path in modules().items()
        if unit(module) not in KERNEL or unit(module) == "_lifecycle"
        for line, name in attributes_of_others(path)
        if name in private
    ]
    assert wrong == []


def test_no_import_cycle():
    graph = {
        module: {owner(name) for _, name in imports(module, typing=False)} - {None, module} for module in modules()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_the_kernel_imports_nothing_that_schedules_or_blocks():
    wrong = [
        f"{place(path, line)} imports {name}"
        for module, path in modules().items()
        for line, name in imports(module)
        if unit(module) in KERNEL and path != BUILDER and name.split(".")[0] in NOT_IN_KERNEL
    ]
    assert wrong == []


def test_the_kernel_takes_functions_by_name():
    """What tests and other libraries replace in these modules is taken out of them once, when we are imported."""
    often_replaced = {"_thread", "os", "signal", "threading", "time"}
    wrong = [
        place(path, node.lineno)
        for module, path in modules().items()
        if unit(module) in KERNEL | LOOPLESS | {"scopes"} and path not in (BUILDER, PACKAGE / "_interpreter.py")
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Import) and {alias.name for alias in node.names} & often_replaced
    ]
    assert wrong == []


def test_threads_and_time_come_from_one_place():
    """Where they are the interpreter's own, even if another one has replaced them."""
    wrong = [
        f"{place(path, line)} imports {name}"
        for module, path in modules().items()
        for line, name in imports(module, typing=False)
        if name.split(".")[0] == "_thread" or name in ("time.sleep", "time.monotonic", "time.monotonic_ns")
        if unit(module) != "_interpreter"
    ]
    assert wrong == []


# -- the tests' own imports


def private_imports(path):
    """Yield (line, package, names) of what a test imports from the kernel's folders, in functions too."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            names = {alias.name for alias in node.names}
            if node.module == "coutil":
                names &= {"_kernel", "_coroutines"}
            if names and re.match(r"coutil(\._kernel\b|\._coroutines\b|$)", node.module):
                yield node.lineno, node.module, names
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if re.match(r"coutil\.(_kernel|_coroutines)\b", alias.name):
                    yield node.lineno, alias.name, set()


def is_patching(path, package, names):
    """Return whether a test of the kernel's folders imports files of them as modules, to replace what is in one."""
    files = {module.rpartition(".")[2] for module in modules() if module.startswith(f"{package}.")}
    return path.parent.name in ("kernel", "coroutines") and bool(names) and names <= files


def test_private_imports_of_tests():
    """Tests import the kernel's private names from helpers/kernel.py: a name that changes is changed there, once."""
    tests = Path(__file__).parent
    found = {
        f"{path.relative_to(tests)}:{line}: {package}"
        for path in tests.rglob("*.py")
        if path.parent != tests / "helpers"
        for line, package, names in private_imports(path)
        if not is_patching(path, package, names)
    }
    assert found == set()


# -- words that belong to one place


def test_only_libuv_spells_ffi():
    wrong = [
        place(path, number)
        for path in modules().values()
        if PACKAGE / "_libuv" not in path.parents
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if re.search(r"\bffi\b", line)
    ]
    assert wrong == []


def test_two_files_switch_greenlets():
    assert all(path.exists() for path in SWITCHES)
    wrong = [
        place(path, node.lineno)
        for path, node in nodes(ast.Attribute)
        if node.attr == "switch" and path not in SWITCHES
    ]
    assert wrong == []


def test_the_same_files_make_greenlets():
    makers = {"greenlet", "greenlet.greenlet", "greenlet.*"}  # not getcurrent, not GreenletExit
    wrong = [
        f"{place(path, line)} imports {name}"
        for module, path in modules().items()
        for line, name in imports(module)
        if name in makers and path not in SWITCHES
    ]
    assert wrong == []


# -- the C files: NAME.h declares what others use of NAME.c


@cache
def c_code(path):
    """Return the text of a C file without comments and strings, with as many lines."""
    text = path.read_text(encoding="ascii")
    text = re.sub(r"/\*.*?\*/", lambda found: "\n" * found[0].count("\n"), text, flags=re.DOTALL)
    return re.sub(r'"(?!\w+\.h")(?:[^"\\\n]|\\.)*"', '""', text)


def c_functions(code, ending):
    """Return (storage, name) of what is declared (ending `;`) or defined (`{`) at the left margin of C code."""
    head = r"^(static |extern |)(?!typedef|else|return)(?:const )?(?:struct )?\w[\w ]*[ *]+(\w+)\([^;{}]*\)\s*"
    return [(found[1].strip(), found[2]) for found in re.finditer(head + re.escape(ending), code, re.MULTILINE)]


def test_c_includes_point_down():
    """A file and its header are one unit. What a file calls above itself is a function of a co_kind."""
    graph = {path.stem.removesuffix(".cdef"): set() for path in C_FILES}
    for path in C_FILES:
        used = {name.removesuffix(".h") for name in re.findall(r'^#include "(.+)"', c_code(path), re.MULTILINE)}
        graph[path.stem.removesuffix(".cdef")] |= used - {path.stem}
    assert all(used <= set(graph) for used in graph.values())
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" <- ".join(error.args[1]))


def test_c_files_declare_in_headers_only():
    wrong = [
        f"{place(path, 1)} declares {name}"
        for path in C_FILES
        if path.suffix == ".c"
        for storage, name in c_functions(c_code(path), ";")
        if storage != "static"
    ]
    assert wrong == []


def test_c_headers_declare_what_their_file_defines():
    by_cffi = {"co_thread_run", "co_work_call"}  # Python's functions
    for path in C_FILES:
        header = path.with_suffix(".h")
        if path.suffix == ".c":
            defined = {name for storage, name in c_functions(c_code(path), "{") if storage != "static"}
            declared = {name for storage, name in c_functions(c_code(header), ";")}
            assert defined == declared - by_cffi, path.name
            assert all(name.startswith("co_") for name in defined), path.name


@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("int fd = stream->io_watcher.fd;", True),
        ("void f(uv__io_t *one);", True),
        ("loop->uv.backend_fd = 1;", True),
        ("uv_backend_fd(&loop->uv);", False),
        ("if (!uv->write_queue_size) return;", False),
        ("loop->child_watchers = one;", False),
    ],
)
def test_what_is_private(code, verdict):
    assert bool(PRIVATE_FIELDS.search(code)) is verdict


def test_private_fields_of_libuv_are_in_one_file():
    wrong = [
        f"{place(path, number)}: {line.strip()}"
        for path in C_FILES
        if path != PRIVATE_HEADER
        for number, line in enumerate(c_code(path).splitlines(), 1)
        if PRIVATE_FIELDS.search(line)
    ]
    assert PRIVATE_FIELDS.search(c_code(PRIVATE_HEADER))
    assert wrong == []


# -- sizes and docstrings


def test_every_module_says_what_it_is():
    assert [place(path, 1) for path in modules().values() if not ast.get_docstring(tree(path))] == []


def test_functions_fit_on_a_screen():
    lengths = {
        place(path, node.lineno): len(code_lines(path) & set(range(node.lineno, node.end_lineno + 1)))
        for path, node in nodes(ast.FunctionDef, ast.AsyncFunctionDef)
    }
    assert {function: length for function, length in lengths.items() if length > FUNCTION_CODE_LINES} == {}


def test_modules_can_be_read_at_once():
    lengths = {place(p, 1): p.read_text(encoding="utf-8").count("\n") for p in modules().values()}
    assert {module: length for module, length in lengths.items() if length > MODULE_LINES} == {}


def test_c_files_can_be_read_at_once():
    lengths = {place(path, 1): path.read_text(encoding="ascii").count("\n") for path in C_FILES}
    assert len(lengths) > 80
    assert {path: length for path, length in lengths.items() if length > MODULE_LINES} == {}


def test_the_kernel_can_be_read_in_one_sitting():
    lengths = {p.name: len(code_lines(p)) for m, p in modules().items() if unit(m) in DOORS and p.name != "__init__.py"}
    assert sum(lengths.values()) <= KERNEL_CODE_LINES, lengths


# -- suppressions


def sources():
    """Yield every Python file of the project."""
    yield PACKAGE.parent / "setup.py"
    for folder in ("coutil", "tests", "benchmarks", "examples", "docs"):
        yield from sorted((PACKAGE.parent / folder).rglob("*.py"))


def unexplained(text):
    """Yield the numbers of the lines on which something is suppressed and no one says why."""
    if not SUPPRESSION.search(text):
        return
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            rest, number = SUPPRESSION.subn("", token.string)
            if number and not re.search(r"#\s*\w", rest):
                yield token.start[0]


@pytest.mark.parametrize(
    ("comment", "verdict"),
    [
        ("# noqa", False),
        ("# noqa: E501", False),
        ("# NOQA:E501, PLR0913 #", False),
        ("# noqa: BLE001  # reported", True),
        ("# NaN  # noqa: PLR0124", True),
        ("# type: ignore", False),
        ("# type: ignore[assignment, misc]  # noqa: PLW0642", False),
        ("# type: ignore[assignment]  # noqa: PLW0642  # why", True),
        ("# ruff: noqa: PT012", False),
        ("# ruff: noqa: PT012  # why", True),
        ("# fmt: skip", False),
        ("# fmt: skip  # why", True),
        ("# pragma: no cover", False),
        ("# mypy: ignore-errors", False),
        ("# noqa: E501 why", False),
        ("# the type: ignored", True),
    ],
)
def test_what_is_a_reason(comment, verdict):
    assert (not list(unexplained(f"def one(): ...  {comment}\n"))) is verdict


def test_every_suppression_has_a_reason():
    wrong = [place(path, line) for path in sources() for line in unexplained(path.read_text(encoding="utf-8"))]
    assert wrong == []
