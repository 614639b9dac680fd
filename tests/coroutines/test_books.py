"""What a thread's coroutines have in common: reports that cannot be written, and callers that are not Python."""

from __future__ import annotations

import os

import pytest

from tests.helpers.script import output_of

# A standard error that cannot be written to.
BROKEN = {
    "closed": "io.StringIO(); sys.stderr.close()",
    "pipe": "os.fdopen(ends[1], 'w', buffering=1)",
    "full": "open('/dev/full', 'w', buffering=1)",
    "none": "None",
    "no file": "object()",
}
# Everything that reports an exception which has no waiter.
REPORTS = """
    import io, os, sys, threading, time
    from coutil import event, spawn, system, uv
    from coutil._coroutines import coroutine, hooks
    from coutil._kernel.hub import current_hub
    ends = os.pipe()
    os.close(ends[0])
    sys.stderr = {broken}

    def bad():
        system.suspend(0.001)
        raise ValueError("a bug")

    def late():
        time.sleep(0.02)
        raise ValueError("a bug")

    class Broken(hooks.Hooks):
        def resumed(self, coroutine):
            raise ValueError("a bug")

    def last():
        try:
            system.suspend(100)
        finally:
            raise ValueError("a bug")

    def thread(function, *arguments):
        one = threading.Thread(target=function, args=arguments)
        one.start()
        one.join()

    def goes_on(what):
        system.suspend(0.05)
        os.write(1, what + b"\\n")

    spawn.call(bad)
    goes_on(b"the hub")
    system.report()
    goes_on(b"a report on demand")
    spawn.call(int, "x")
    goes_on(b"the first run")
    spawn.call(lambda: int(event.await_("x")))
    event.emitall("x")
    goes_on(b"an emission")
    spawn.catch(int, bad)
    goes_on(b"a failing handler")
    coroutine.current_context().hooks = Broken()
    spawn.call(int)
    coroutine.current_context().hooks = None
    goes_on(b"a hook")
    thread(current_hub().call_threadsafe, int, "x")
    goes_on(b"a call")
    thread(spawn.call, last)
    goes_on(b"the end of a thread")
    request = uv.default_loop().queue_work_nowait(late)
    system.suspend(0.01)
    del request
    goes_on(b"the pool")
    system.set_excepthook(int)
    spawn.call(bad)
    goes_on(b"the excepthook")
    os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.parametrize("broken", BROKEN)
def test_report_that_cannot_be_written(broken):
    """It is dropped: the main program, and all other coroutines, go on."""
    lines = output_of(REPORTS.format(broken=BROKEN[broken]))
    assert lines == [line.split('"')[1] for line in REPORTS.splitlines() if 'goes_on(b"' in line]


def test_a_repr_that_fails():
    """The report comes all the same."""
    lines = output_of("""
        import sys
        from coutil import spawn
        class Name(str):
            def __format__(self, _):
                raise RuntimeError
        sys.stderr = sys.stdout
        spawn.call(int, "x", name=Name("bad"))
    """)
    assert lines[0] == "Exception in a coroutine, whose repr raises RuntimeError:"
    assert lines[-1].startswith("ValueError: invalid literal")


CALLERS = {
    "atexit": "atexit.register(*call)",
    "thread": "_thread.start_new_thread(call[0], call[1:]); time.sleep(0.02)",
    "greenlet": "greenlet.greenlet(call[0]).switch(*call[1:])",
}


@pytest.mark.slow
@pytest.mark.parametrize("debug", ["", "1"])
@pytest.mark.parametrize("caller", CALLERS)
def test_called_by_c(debug, caller, monkeypatch):
    """No Python frame is below: what is only noted for reports cannot fail."""
    monkeypatch.setitem(os.environ, "COUTIL_DEBUG", debug)
    lines = output_of(f"""
        import _thread, atexit, greenlet, sys, time
        from coutil import coroutine, promise, scopes, spawn, sync
        sys.unraisablehook = print
        for call in (
            (promise.create,), (spawn.call, int), (spawn.catch, print, int), (spawn.trap, slice, int), (sync.Lock,),
            (coroutine.create, int), (coroutine.wrap, int), (sync.Queue, 1), (scopes.scope,), (scopes.timeout, 1),
        ):
            {CALLERS[caller]}
    """)
    assert lines == []


def test_promise_made_by_c():
    """It has no place to show."""
    lines = output_of("""
        import greenlet
        from coutil import promise
        print(greenlet.greenlet(promise.create).switch()[0])
    """)
    assert lines == ["<Promise pending>"]
