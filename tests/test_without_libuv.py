"""Coroutines need no event loop: everything that does not wait for the system works where libuv cannot be loaded."""

from __future__ import annotations

import pytest

from tests.helpers.script import output_of, run_script

# What each script begins with: importing the binding fails, as on a machine without the library.
WITHOUT = """
    import sys
    sys.modules["coutil._libuv"] = None
"""


def test_libuv_is_impossible():
    """The test's own footing: the modules that do wait for the system cannot be imported."""
    lines = output_of(
        WITHOUT
        + """
    for name in ("coutil._libuv", "coutil._kernel.hub", "coutil.system"):
        try:
            __import__(name)
        except ImportError:
            print(name, "cannot be imported")
    """
    )
    assert lines == [f"{name} cannot be imported" for name in ("coutil._libuv", "coutil._kernel.hub", "coutil.system")]


@pytest.mark.parametrize(
    "module", ["coutil", "coutil.errors", "coutil.coroutine", "coutil.spawn", "coutil._coroutines.states"]
)
def test_import(module):
    """These never ask for libuv, nor for the C extension."""
    lines = output_of(
        WITHOUT
        + f"""
    import {module}
    print(sorted(name for name in sys.modules if name.startswith(("coutil._libuv.", "_cffi_backend"))))
    """
    )
    assert lines == ["[]"]


def test_coroutines():
    """create, resume, yield_, throw, close and the statuses are all there."""
    lines = output_of(
        WITHOUT
        + """
    from coutil.coroutine import create, isyieldable, running, wrap, yield_
    from coutil.errors import DeadCoroutine

    def body(first):
        try:
            print(first, yield_("yielded"), running().status, isyieldable())
            yield_()
        finally:
            print("finally")

    made = create(body)
    print(made.status, made.resume("first"), made.resume("second"), made.status)
    print(made.close(), made.status)
    try:
        made.resume()
    except DeadCoroutine as error:
        print(error)
    print(wrap(lambda: 42)(), isyieldable(), running().name)
    """
    )
    assert lines == [
        "first second running True",
        "suspended yielded None suspended",
        "finally",
        "True dead",
        "cannot resume <Coroutine body dead>: it has ended",
        "42 False main",
    ]


def test_spawn():
    """call, catch and trap; what escapes goes to the default excepthook."""
    done = run_script(
        WITHOUT
        + """
    from coutil import spawn
    from coutil.coroutine import yield_

    spawn.catch(lambda error: print("caught", error), lambda: {}["key"])
    spawn.trap(print, lambda: (1, 2))
    made = spawn.call(yield_)
    print(made.status, made.resume("end"), made.status)
    spawn.call(lambda: 1 / 0, name="unlucky")
    print("goes on")
    """
    )
    assert done.returncode == 0
    assert done.stdout.splitlines() == ["caught 'key'", "True 1 2", "suspended end dead", "goes on"]
    assert done.stderr.startswith("Exception in <Coroutine unlucky dead>:\nTraceback")
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_deadlock():
    """A main program that waits, with nothing to wake it, is told so, each time; a coroutine can still wake it."""
    lines = output_of(
        WITHOUT
        + """
    from coutil import spawn
    from coutil._coroutines.coroutine import running
    from coutil._coroutines.switching import park
    from coutil.errors import Deadlock

    for _ in range(2):
        try:
            park(running(), "godot")
        except Deadlock as error:
            print("Deadlock:", error)
    print(running().status, spawn.call(print, "still works").status)
    """
    )
    assert lines == [
        *["Deadlock: nothing can wake the caller: no event loop is in use"] * 2,
        "still works",
        "running dead",
    ]


def test_deadlock_ends_the_program():
    """No one catches it: a traceback, exit code 1, and no hang."""
    done = run_script(
        WITHOUT
        + """
    from coutil._coroutines.coroutine import running
    from coutil._coroutines.switching import park
    park(running(), "godot")
    """
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("Traceback")
    assert done.stderr.endswith("coutil.errors.Deadlock: nothing can wake the caller: no event loop is in use\n")


def test_main_program():
    """It has a coroutine of its own, which is normal while another one runs, and cannot yield."""
    lines = output_of(
        WITHOUT
        + """
    from coutil.coroutine import create, running, yield_
    from coutil.errors import NotYieldable, RunningCoroutine

    main = running()
    made = create(lambda: (yield_(main.status), main.resume())[0])
    print(made.resume(), main.status)
    for wrong in (made.resume, yield_):
        try:
            wrong()
        except (NotYieldable, RunningCoroutine) as error:
            print(type(error).__name__)
    """
    )
    assert lines == ["normal running", "RunningCoroutine", "NotYieldable"]


def test_libuv_comes_later():
    """A program may begin without a loop and use it afterwards: coroutines made before wait like all others."""
    lines = output_of(
        """
    import sys
    from coutil import spawn
    from coutil.coroutine import create, running, yield_
    made = spawn.call(lambda: (yield_(), system.suspend(0.001), print("woken"))[0])
    print("coutil._libuv" in sys.modules, running().name)
    from coutil import system
    made.resume()
    print(system.run(), made.status, system.suspend(0.001))
    """
    )
    assert lines == ["False main", "woken", "False dead True"]
