"""Forks: what a child process finds out is asked in the parent."""

from __future__ import annotations

import os
import pickle
import signal
import traceback


class Child:
    """What a child process found out: made by `fork_and`, to be asked in the parent."""

    def __init__(self, pid, reader):
        self.pid, self.reader = pid, reader

    def answer(self):
        """Wait for the end of the child; return what its function returned. It must have ended well."""
        with os.fdopen(self.reader, "rb") as pipe:
            told = pipe.read()
        status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        assert (status, bool(told)) == (0, True), "the child failed"
        return pickle.loads(told)


def fork_and(function, *arguments):
    """Fork; in the child call the function and leave at once; in the parent return the `Child`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        leave_with(writer, function, *arguments)
    os.close(writer)
    return Child(pid, reader)


def leave_with(writer, function, *arguments):
    """Call the function, and end this process; its result goes to the parent through the pipe."""
    status = 1
    try:
        signal.alarm(10)  # a child that hangs shall not outlive the test
        os.write(writer, pickle.dumps(function(*arguments)))
        status = 0
    except BaseException:  # noqa: BLE001  # shown, together with the parent's
        traceback.print_exc()
    finally:
        os._exit(status)


def outcome(function, *arguments):
    """Return the name of the exception that the function raises, or its result."""
    try:
        return function(*arguments)
    except Exception as error:  # noqa: BLE001  # its name is the result
        return type(error).__name__
