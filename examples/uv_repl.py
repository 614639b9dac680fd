"""A read-eval-print loop that lets timers, servers and everything else of libuv run while it waits for the next line.

    python examples/uv_repl.py

    >>> timer = uv.new_timer(); timer.ontimeout = lambda timer: print("tick")
    >>> timer.start(1000, 1000)

The main program waits in `read`, which runs the event loop. The end of the input (Ctrl-D) ends it.
"""

import argparse
import code
import traceback

from coutil import uv


def standard_input():
    """Return a stream for the standard input: a terminal or a pipe."""
    if uv.guess_handle(0) == "tty":
        return uv.new_tty(None, 0, True)
    stream = uv.new_pipe()
    uv.pipe_open(stream, 0)
    return stream


def read_line(stream, pending):
    """Return the next line, None at the end. Data that follow the line stay in `pending`, a bytearray."""
    while b"\n" not in pending:
        data = stream.read()
        if not data:
            return None
        pending += data
    line, _, pending[:] = pending.partition(b"\n")
    return line.decode(errors="replace")


def repl(stream):
    """Read lines, and run them when they form a complete statement."""
    interpreter = code.InteractiveInterpreter({"uv": uv, "loop": uv.default_loop()})
    pending, source = bytearray(), []
    while True:
        try:
            print("... " if source else ">>> ", end="", flush=True)
            if (line := read_line(stream, pending)) is None:
                return
            source.append(line)
            if not interpreter.runsource("\n".join(source)):
                source.clear()
        except KeyboardInterrupt:
            source.clear()
            print("\nKeyboardInterrupt")


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    uv.default_loop().onerror = lambda error, handle: traceback.print_exception(error)
    with standard_input() as stream:
        repl(stream)
