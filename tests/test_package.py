"""`import coutil`: it is quick, starts nothing, and imports a public module when that is first used."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import coutil
from tests.helpers.script import output_of

LONGEST = 60  # milliseconds


def test_modules_are_attributes():
    """Each is found without an import statement of its own, in a new interpreter."""
    script = """
        import sys, coutil
        before = set(sys.modules)
        print(sorted(name for name in before if name.startswith("coutil")))
        print(all(getattr(coutil, name).__name__ == "coutil." + name for name in coutil.__all__))
        print({"coutil." + name for name in coutil.__all__} <= set(sys.modules))
    """
    assert output_of(script) == ["['coutil', 'coutil._interpreter']", "True", "True"]


def test_one_at_a_time():
    """The use of one imports no other but those that it rests on."""
    script = """
        import sys, coutil
        coutil.mutex.islocked("m")
        print(*(name for name in coutil.__all__ if "coutil." + name in sys.modules))
        print(coutil.system.time() > 0)
    """
    assert output_of(script) == ["errors event mutex", "True"]


def test_it_starts_nothing():
    """No loop, no thread, no descriptor, no signal handler, no child."""
    script = """
        import os, signal, sys, threading
        look = lambda: (os.listdir("/proc/self/fd"), len(os.listdir("/proc/self/task")), threading.active_count(),
                        [signal.getsignal(one) for one in signal.valid_signals()], signal.set_wakeup_fd(-1))
        before = look()
        import coutil
        print(look() == before, "greenlet" in sys.modules, "cffi" in sys.modules)
    """
    assert output_of(script) == ["True False False"]


def test_it_is_quick():
    """The processor time of the import itself; the quickest of five, as other programs run, too."""
    script = "from time import process_time as now; begin = now(); import coutil; print((now() - begin) * 1000)"
    taken = [float(subprocess.check_output([sys.executable, "-c", script], timeout=20)) for _ in range(5)]
    assert min(taken) < LONGEST


def test_names():
    """`dir` shows all modules; a misspelt one is an AttributeError, or an ImportError, as in any package."""
    assert set(coutil.__all__) | {"__version__"} <= set(dir(coutil))
    with pytest.raises(AttributeError, match="module 'coutil' has no attribute 'sytem'"):
        _ = coutil.sytem
    with pytest.raises(ImportError):
        exec("from coutil import sytem")
    assert all(getattr(coutil, name) is import_module(f"coutil.{name}") for name in coutil.__all__)
