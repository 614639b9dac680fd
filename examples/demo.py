"""The echo server and its load in two processes, from start to clean end; `make demo` runs this.

    python examples/demo.py --connections 64 --size 1024 --seconds 3

Exits with 0 if every reply was right and the server ended cleanly.
"""

import argparse
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main():
    """Start the server, read its port, run the client, stop the server as Ctrl-C would; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name, default in (("connections", "64"), ("size", "1024"), ("seconds", "3")):
        parser.add_argument(f"--{name}", default=default, help=f"default: {default}")
    options = parser.parse_args()

    command = [sys.executable, HERE / "echo_server.py", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            greeting = server.stdout.readline().strip()
            print(f"server (pid {server.pid}): {greeting}", flush=True)
            client = load(greeting.rpartition(":")[2], options)
            server.send_signal(signal.SIGINT)
            stopped = server.wait(timeout=10)
        finally:
            server.kill()  # does nothing if it has ended
    print(f"server stopped with exit code {stopped}, client with {client}")
    return client or stopped


def load(port, options):
    """Run the client against `port`; return its exit code."""
    command = [sys.executable, HERE / "echo_client.py", "--port", port]
    command += [f"--{name}={value}" for name, value in vars(options).items()]
    return subprocess.run(command, check=False, timeout=float(options.seconds) + 60).returncode


if __name__ == "__main__":
    sys.exit(main())
