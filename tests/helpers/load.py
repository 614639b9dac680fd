"""A program that does something of everything for minutes, and prints at rest, now and then, which resources it has.

    python -m tests.helpers.load SECONDS

A server for TCP, one for Unix sockets, and workers that use them, datagrams, files, names, children, threads and what
synchronises. A quarter of all jobs is cut at a random moment. Each line of the output is a sample in JSON: it is taken
when all workers have stopped, so that its numbers are those of what was left behind.
"""

from __future__ import annotations

import gc
import json
import os
import queue
import random
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from greenlet import greenlet

from coutil import promise, scopes, spawn, sync, system, uv
from tests.helpers.kernel import current_context, current_hub
from tests.helpers.tcp import receive_exactly, resident

WORKERS = 40
SAMPLES = 40  # in the whole time: every 15 s if that is ten minutes
DRAIN = 10  # seconds that the thread pool may need for calls that were given up
LIMIT = 60  # seconds after which a job hangs

chance = random.Random(7)
done: Counter[str] = Counter()


class World:
    """What the jobs share."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        (self.folder / "watched").mkdir()
        self.tcp = system.socket("passive", "ipv4")
        self.tcp.bind(system.address("ipv4", "127.0.0.1", 0))
        self.local = system.socket("passive", "local")
        self.local.bind(str(self.folder / "socket"))
        self.lock, self.queue = sync.Lock(), sync.Queue(4)
        self.numbers = iter(range(sys.maxsize))
        for server in (self.tcp, self.local):
            server.listen(128)
        self.acceptors = [spawn.call(accept, server) for server in (self.tcp, self.local)]

    def close(self) -> None:
        for one in (*self.acceptors, self.tcp, self.local):
            one.close()


def accept(server: Any) -> None:
    while True:
        spawn.call(echo, server.accept())


def echo(stream: Any) -> None:
    with stream, suppress(ConnectionError):  # of a client that was cut
        while data := stream.receive():
            stream.send(data)


# -- jobs -------------------------------------------------------------------------------------------------------------


def talk(domain: str, address: Any) -> None:
    data = chance.randbytes(chance.choice([1, 100, 5000, 70_000]))
    with system.socket("stream", domain) as stream:
        stream.connect(address)
        for _ in range(5):
            with scopes.scope() as both:
                both.spawn(stream.send, data)
                assert receive_exactly(stream, len(data)) == data


def over_tcp(world: World) -> None:
    talk("ipv4", world.tcp.getaddress())


def over_unix_sockets(world: World) -> None:
    talk("local", world.local.getaddress())


def datagrams(world: World) -> None:
    with system.socket("datagram", "ipv4") as one:
        one.bind(system.address("ipv4", "127.0.0.1", 0))
        one.send(b"datagram", one.getaddress())
        assert one.receive()[0] == b"datagram"


def files(world: World) -> None:
    path, data = world.folder / f"file{next(world.numbers)}", chance.randbytes(3000)
    try:
        with system.openfile(path, write=True, create=True, perm=0o600) as file:
            file.write(data)
        with system.openfile(path) as file, file.buffered() as reader:
            assert reader.read() == data
        assert system.fileinfo(path, "size") == len(data)
    finally:
        path.unlink(missing_ok=True)


def folders(world: World) -> None:
    with system.listdir("/etc") as entries:
        assert any(name == "passwd" for name, _ in entries)


def names(world: World) -> None:
    assert list(system.findaddr("localhost", 80, stream=True))


def children(world: World) -> None:
    assert system.execute("sh", "-c", "exit 3") == ("exit", 3)


def piped_children(world: World) -> None:
    with system.start("cat", stdin="w", stdout="r") as child:
        child.stdin.send(b"words")
        child.stdin.shutdown()
        assert receive_exactly(child.stdout, 5) == b"words"
        assert child.stdout.receive() == b""
        assert child.wait() == ("exit", 0)
        child.stdout.close()
        child.stdin.close()


def crowds(world: World) -> None:
    with scopes.scope() as crowd:
        for _ in range(50):
            crowd.spawn(system.suspend, chance.random() / 500)


def deadlines(world: World) -> None:
    with scopes.move_on_after(0.002) as outer, suppress(TimeoutError), scopes.timeout(chance.random() / 250):
        system.suspend(1)
    assert outer.expired in (True, False)


def locks(world: World) -> None:
    with world.lock:
        system.suspend(chance.random() / 1000)


def queues(world: World) -> None:
    with scopes.move_on_after(0.02):
        world.queue.put(1)
        system.suspend()
        world.queue.get()


def promises(world: World) -> None:
    made, fulfill = promise.create()
    thread = threading.Thread(target=fulfill, args=(7,))
    thread.start()
    try:
        assert made() == 7
    finally:
        thread.join()


def threads(world: World) -> None:
    assert uv.default_loop().queue_work(lambda: system.suspend(0.001)) is True


def watches(world: World) -> None:
    folder = world.folder / "watched"
    with system.watch(folder) as changes, scopes.move_on_after(0.02):
        (folder / "new").touch()
        assert next(iter(changes)).name == "new"


JOBS: dict[Callable[[World], None], int] = {
    over_tcp: 8,
    over_unix_sockets: 4,
    datagrams: 4,
    files: 6,
    folders: 1,
    names: 2,
    children: 1,
    piped_children: 1,
    crowds: 2,
    deadlines: 8,
    locks: 6,
    queues: 6,
    promises: 1,
    threads: 1,
    watches: 1,
}


def work(world: World, until: float) -> None:
    """Do jobs, one after the other; some are cut."""
    while system.time("updated") < until:
        (job,) = chance.choices([*JOBS], [*JOBS.values()])
        if chance.random() < 0.25:
            with scopes.move_on_after(chance.random() / 100):
                job(world)
            done["cut or not"] += 1
        else:
            with scopes.timeout(LIMIT):
                job(world)
            done[job.__name__] += 1
        system.suspend()


# -- samples ----------------------------------------------------------------------------------------------------------


def rest(world: World) -> None:
    """Wait until the calls that were given up have ended, and the connections that were cut are closed."""
    with suppress(queue.Empty):
        while True:
            world.queue.get_nowait()
    until = time.monotonic() + DRAIN
    while current_context().alive_count() > 2 or requests(current_hub().loop.counts()):
        system.suspend(0.01)
        gc.collect()
        if time.monotonic() > until:
            return  # the sample shows it
    for _ in range(3):
        system.suspend()
        gc.collect()


def requests(counts: dict[str, int]) -> int:
    return counts["requests_created"] - counts["requests_freed"]


def sample(began: float) -> dict[str, float]:
    """Return what this process has."""
    counts, idle = current_hub().loop.counts(), len(current_context().idle_runners)
    return {
        "seconds": round(time.monotonic() - began),
        "memory": resident(),
        "descriptors": len(os.listdir("/proc/self/fd")) - 1,
        "coroutines": current_context().alive_count(),
        "idle runners": idle,
        "other greenlets": sum(isinstance(one, greenlet) for one in gc.get_objects()) - idle,
        "handles": counts["handles_created"] - counts["handles_freed"],
        "requests": requests(counts),
        "threads": len(os.listdir("/proc/self/task")),
        "children": len(Path(f"/proc/self/task/{os.getpid()}/children").read_text(encoding="ascii").split()),
        "jobs": done.total(),
    }


def main(seconds: float) -> None:
    """Work and rest by turns."""
    escaped: list[object] = []
    system.set_excepthook(lambda coroutine, error: escaped.append((str(coroutine), repr(error))))
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        world = World(folder)
        for number in range(SAMPLES):
            until = system.time("updated") + max(began + seconds * (number + 1) / SAMPLES - time.monotonic(), 0.01)
            with scopes.scope() as workers:
                for _ in range(WORKERS):
                    workers.spawn(work, world, until)
            rest(world)
            print(json.dumps(sample(began)), flush=True)
        world.close()
    rest_of_them = current_hub().loop.counts()
    assert rest_of_them["handles_created"] == rest_of_them["handles_closed"], rest_of_them
    assert escaped == []
    print(dict(done), file=sys.stderr)


if __name__ == "__main__":
    main(float(sys.argv[1]))
