"""Memory per idle connection: the echo servers again, of which only the server's memory is measured.

The client ends live in this process. Each connection has one echo, so that its coroutine is known to have come round to
its next receive(), and is then left alone.
"""

from contextlib import ExitStack
from socket import create_connection

from benchmarks import suite
from benchmarks.common import SERVERS, Failed, Server, allow_descriptors, cores, resident, serving

SERVER_OF = {  # contender: name of its echo server, of the kind that is written like blocking code; curio has none
    "coutil": "coutil",
    "gevent": "gevent",
    "asyncio": "asyncio-streams",
    "uvloop": "uvloop-streams",
    "trio": "trio",
}
SOURCES = 8  # loopback addresses to connect from: ports of one might not be enough
SPARE = 100  # descriptors for everything else
WARM = 100  # connections before the first look
PATIENCE = 10.0  # seconds to wait for an echo


def connect(stack: ExitStack, port: int, count: int) -> None:
    """Open connections that the stack will close, and see each echo a byte."""
    for i in range(count):
        source = (f"127.0.0.{1 + i % SOURCES}", 0)
        client = stack.enter_context(create_connection(("127.0.0.1", port), PATIENCE, source))
        client.sendall(b"?")
        if client.recv(1) != b"?":
            raise Failed(f"closed connection {i + 1} of {count}")


def growth(server: Server, count: int) -> float:
    """Return by how many bytes per connection the server grows. Raises Failed if it does not serve them."""
    core, _ = cores()
    count = min(count, allow_descriptors(count + WARM + SPARE) - WARM - SPARE)
    with serving(server, core) as (pid, port), ExitStack() as stack:
        try:
            connect(stack, port, WARM)
            before = resident(pid)
            connect(stack, port, count)
            return (resident(pid) - before) / count
        except OSError as error:
            raise Failed(f"with {count} connections: {error}") from error


def figure(contender: str, benchmark: suite.Benchmark) -> float | None:
    """Measure the contender's server; return units per connection, None if there is no server."""
    if contender not in SERVER_OF:
        return None
    return growth(SERVERS[SERVER_OF[contender]], benchmark.count or suite.MANY) * benchmark.scale
