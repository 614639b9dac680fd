"""A command that the server runs for a client."""

from contextlib import suppress

from frames import frame

from coutil import system
from coutil.scopes import scope


def run(command, stream):
    """Run the command and send its output; return its end. The processes that it has started end with it."""
    process = system.start(*command, stdin=False, stdout="r", stderr="r", detached=True)
    try:
        with scope() as outputs:
            outputs.spawn(forward, process.stdout, b"O", stream)
            outputs.spawn(forward, process.stderr, b"E", stream)
        return process.wait()
    finally:
        process.close()
        with suppress(ProcessLookupError):  # no process of the group is left
            system.emitsig(-process.pid, "kill")


def forward(pipe, kind, stream):
    """Send output to the client as it comes."""
    while data := pipe.receive():
        stream.send(frame(kind, data))


def first(failure):
    """Return the first error of a group, which may consist of groups."""
    return first(failure.exceptions[0]) if isinstance(failure, ExceptionGroup) else failure
