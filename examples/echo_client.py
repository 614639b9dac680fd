"""Load an echo server: a coroutine for each connection sends, waits for the reply and compares it, again and again.

    python examples/echo_client.py --port 7000 --connections 64 --size 1024 --seconds 3

Prints requests per second and percentiles of the latency; the exit code is 1 if a reply was wrong or missing.
"""

import argparse
import os
import sys
from time import perf_counter

from coutil import spawn, system


def client(options, latencies, failures):
    """Exchange messages, each another slice of random noise, until the time is up."""
    noise = os.urandom(2 * options.size)
    reply = bytearray(options.size)
    try:
        with system.socket("stream", "ipv4") as stream:
            stream.connect(system.address("ipv4", options.host, options.port))
            stream.setoption("nodelay", True)
            end = perf_counter() + options.seconds
            while (start := perf_counter()) < end:
                message = noise[len(latencies) % options.size :][: options.size]
                stream.send(message)
                received = 0
                while received < options.size and (count := stream.receive_into(reply, received)):
                    received += count
                if reply[:received] != message:
                    raise ValueError(f"wrong reply: {received} of {options.size} bytes came back")
                latencies.append(perf_counter() - start)
    except (OSError, ValueError) as error:
        failures.append(error)


def main():
    """Run the clients, report, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=7000)
    for name, kind, default in (("connections", int, 64), ("size", int, 1024), ("seconds", float, 3)):
        parser.add_argument(f"--{name}", type=kind, default=default, help=f"default: {default}")
    options = parser.parse_args()
    latencies, failures, start = [], [], perf_counter()
    for _ in range(options.connections):
        spawn.call(client, options, latencies, failures)
    system.run()
    count, seconds = len(latencies), perf_counter() - start
    print(f"{count / seconds:,.0f} requests/s: {count:,} of {options.size:,} bytes, every reply compared")
    latencies.sort()
    percentiles = [(p, 1e3 * latencies[int(count * p / 100)]) for p in (50, 99, 99.9) if count]
    print("latency", ", ".join(f"p{p:g} {value:.3f} ms" for p, value in percentiles))
    return f"{len(failures)} connections failed, the first: {failures[0]}" if failures else 0


if __name__ == "__main__":
    sys.exit(main())
