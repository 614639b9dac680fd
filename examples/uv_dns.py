"""Thousands of look-ups, a few at a time: names of this machine to addresses, and addresses back to names.

    python examples/uv_dns.py --lookups 2000 --workers 8
    python examples/uv_dns.py localhost example.org --lookups 2

Each worker is a coroutine that takes the next question from an iterator, so the number of workers limits the requests
in libuv's thread pool, which has four threads. A look-up suspends its worker only.
"""

import argparse
import socket
from collections import defaultdict
from itertools import cycle, islice

from coutil import spawn, uv


def work(loop, questions, answers):
    """Answer questions until there are no more."""
    for host in questions:
        try:
            found = uv.getaddrinfo(loop, host, type=socket.SOCK_STREAM)
            names = {address[0]: uv.getnameinfo(loop, address, reverse(address))[0] for *_, address in found}
        except socket.gaierror as error:
            names = {error.name: error.strerror}
        answers[host].append(names)


def reverse(address):
    """Return the flags for an address: names are looked up for IPv4 only, as some systems have none for IPv6."""
    return 0 if len(address) == 2 else socket.NI_NUMERICHOST


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("hosts", nargs="*", default=["localhost", "127.0.0.1", "::1"], help="what to look up")
    parser.add_argument("--lookups", type=int, default=1000, help="how many in all; default: 1000")
    parser.add_argument("--workers", type=int, default=8, help="how many at a time; default: 8")
    options = parser.parse_args()
    loop, answers = uv.default_loop(), defaultdict(list)
    questions = islice(cycle(options.hosts), options.lookups)
    for _ in range(options.workers):
        spawn.call(work, loop, questions, answers)
    uv.run(loop)
    for host, found in answers.items():
        for address, name in found[0].items():
            print(f"{host}: {address} ({name})")
    print(f"{sum(map(len, answers.values()))} look-ups by {options.workers} coroutines")
