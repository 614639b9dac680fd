"""Client of the remote execution server: has a command run there, prints its output, and exits with its exit code.

    python examples/remoteexec/client.py --port 7004 -- sh -c "echo hello; exit 3"

The exit code is 128 plus the number of the signal if one has killed the command, and 255 if the server could not run it
to its end. Ctrl-C kills the command.
"""

import argparse
import os
import sys

from frames import frame, frames

from coutil import system


def run(port, command):
    """Run the command; return its end: "exit 3", "kill 9" or "error: …"."""
    with system.connect("127.0.0.1", port) as server:
        server.send(frame(b"C", b"\0".join(map(os.fsencode, command))))
        for kind, data in frames(server):
            if kind == b"X":
                return data.decode()
            output = sys.stdout if kind == b"O" else sys.stderr
            output.buffer.write(data)
            output.flush()
    return "error: the server has gone"


def main():
    """Return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=7004)
    parser.add_argument("command", nargs="+")
    options = parser.parse_args()
    try:
        how, _, number = run(options.port, options.command).partition(" ")
    except KeyboardInterrupt:
        return 130
    except OSError as error:
        how, number = "error:", error
    if how == "error:":
        print(number, file=sys.stderr)
        return 255
    return int(number) + (0 if how == "exit" else 128)


if __name__ == "__main__":
    sys.exit(main())
