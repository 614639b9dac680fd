"""The operation matrix: fifteen orders of waiting, triggering, cancelling and closing, for every kind of wait.

Each sequence runs in two modes. "step" turns the loop step by step, so that every switch goes through the hub. "loop"
keeps another coroutine ready all the time, so that coroutines hand over to each other. Both walk the same transitions.
The traces below are those of the tested coroutine's operation and of the two objects that it waits for, in that order.
"""

from __future__ import annotations

import os
import select
import socket
import termios
import tty
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace
from typing import Any

import pytest

from coutil import coroutine, errors, spawn, system
from coutil._libuv import lib
from coutil.system.files.file import File
from coutil.system.files.watch import _SingleWatch
from coutil.system.network import datagram
from coutil.system.network.fd_passing import socket_from_fd
from coutil.system.stdio import _terminal
from tests.helpers.kernel import Coroutine, Hub, current_hub
from tests.helpers.pipes import child_end, input_end
from tests.helpers.pool import wait_until_it_reads
from tests.helpers.servers import listening
from tests.helpers.state_traces import Walked, needs_debug
from tests.helpers.tcp import needs_ipv6, plain_client, shared

pytestmark = needs_debug

PAYLOAD = bytes(1 << 20)  # more than the kernel takes at once from a stream with a small send buffer
TEXT = b"0123456789"
LONG = 1000.0  # seconds, longer than any test waits
HANDLED = system.Socket | system.Pipe | system.Terminal | system.Watch  # what has a handle as long as it is open


class Bench:
    """The sockets, the coroutine under test, and those that wake it."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=16)
        self.address = system.address("ipv4", "127.0.0.1", self.listener.getsockname()[1])
        self.opened: list[Any] = [self.listener]
        self.poked, self.poker = self.pair()
        self.kind: Any = None
        self.mode = ""
        self.tested: Any = None
        self.stage = 0
        self.paused = False  # the tested coroutine is in a plain yield

    # -- sockets -------------------------------------------------------------------------------------------------------

    def stream(self) -> system.StreamSocket:
        self.opened.append(system.socket("stream", "ipv4"))
        return self.opened[-1]

    def pair(self) -> tuple[system.StreamSocket, socket.socket]:
        """Return a connected stream and its peer, which is a socket of the standard library."""
        stream = self.stream()
        assert stream.connect(self.address) is True
        self.opened.append(self.listener.accept()[0])
        return stream, self.opened[-1]

    def close(self) -> None:
        for each in self.opened:
            each.close()

    # -- what the tested coroutine does --------------------------------------------------------------------------------

    def wait(self, number: int) -> None:
        """Wait for configuration `number` until it happens."""
        self.kind.check(number, self.kind.attempt(number))
        self.stage += 1

    def cancelled(self, number: int, *values: object) -> None:
        """Wait for configuration `number`; the wait has to end with `values` of an explicit resume."""
        assert self.kind.attempt(number, LONG) == (values[0] if len(values) == 1 else values or None)
        self.stage += 1

    def request(self) -> None:
        """Do a request operation of another kind, as a partner."""
        assert self.stream().connect(self.address) is True
        self.stage += 1

    def nap(self, seconds: float = 0, woken: object = True) -> None:
        """Do a handle operation, as a partner."""
        assert system.suspend(seconds) == woken
        self.stage += 1

    def pause(self) -> None:
        """Yield plainly: nothing but an explicit resume wakes the coroutine."""
        self.paused = True
        coroutine.yield_()
        self.paused = False

    # -- what happens to it --------------------------------------------------------------------------------------------

    def start(self, program: Callable[[], object]) -> None:
        self.tested = Coroutine(program)
        assert self.tested.resume() is None
        self.kind.begun()
        assert (self.tested.status, self.stage) == ("suspended", 0)

    def resume(self, *values: object) -> None:
        """Resume explicitly: the coroutine goes one stage on, or out of its plain yield, before this returns."""
        before = self.stage, self.paused
        self.tested.resume(*values)
        self.kind.begun()
        assert (self.stage, self.paused) != before

    def trigger(self, number: int) -> None:
        """Make the awaited thing happen; an object is closed by a coroutine after one suspension instead."""
        if self.kind.closing:
            self.trigger_soon(number)
        else:
            self.kind.trigger(number)

    def trigger_soon(self, number: int) -> None:
        spawn.call(lambda: system.suspend() and self.kind.trigger(number))

    def poke(self, action: Callable[[], object]) -> None:
        """Have a coroutine call `action` that input wakes, in the midst of the results of libuv's poll."""
        spawn.call(lambda: self.poked.receive(1) and action())
        self.poker.send(b"!")
        assert select.select([self.poked.fileno()], [], [], 5)[0]

    def poke_in_time(self, action: Callable[[], object]) -> None:
        """As `poke`, but from ahead in the ready queue if the tested wait may end as early as in that poll."""
        if self.kind.lasting:
            self.poke(action)
        else:
            spawn.call(lambda: system.suspend() and action())

    def run(self) -> None:
        """Run until nothing is left to happen."""
        if self.mode == "loop":
            spawn.call(self._keep_company)
            assert system.run() is False
        else:
            while system.run("step"):
                pass

    def _keep_company(self) -> None:
        while not self.paused and self.tested.status != "dead":
            system.suspend()


# -- the kinds of waits ------------------------------------------------------------------------------------------------


class Kind:
    """How one kind of wait begins, is triggered and is checked. Configurations 0 and 1 wait for different things."""

    family = ""
    refuses = False  # to do the same a second time
    second = 1  # the configuration that a cancelled wait is followed by
    lasting = True  # the wait goes on until something is done about it
    removable = True  # nothing is left of a wait that was given up, or can be ended by closing

    def __init__(self, bench: Bench, closing: bool) -> None:
        self.bench = bench
        self.closing = closing  # the trigger closes what is awaited
        self.objects: list[Any] = []
        self.prepare()

    def prepare(self) -> None:
        """Open the objects."""

    def attempt(self, number: int, seconds: float = 0) -> Any:
        """Wait, and return the result or the exception. `seconds`: how long a timer lasts that will be cancelled."""
        try:
            return self.wait(number, seconds)
        except errors.UVError as error:
            return error

    def wait(self, number: int, seconds: float) -> Any:
        raise NotImplementedError

    def begun(self) -> None:
        """The tested coroutine was resumed: if it waits now, return when that cannot be taken back any more."""

    def trigger(self, number: int) -> None:
        if self.closing:
            self.objects[number].close()
        else:
            self.happen(number)

    def happen(self, number: int) -> None:
        """Make it true."""

    def check(self, number: int, result: Any) -> None:
        if self.closing:
            assert isinstance(result, errors.Closed if self.family == "object" else errors.OperationCancelled)
            assert getattr(result, "interrupted", True) is True
        else:
            self.check_success(number, result)

    def check_success(self, number: int, result: Any) -> None:
        assert result is True

    def check_again(self, result: Any) -> None:
        """Check what a second wait for the same thing brings."""
        if self.closing:
            assert isinstance(result, errors.Closed)
            assert result.interrupted is False
        else:
            self.check_success(0, result)

    def effects(self) -> int:
        """Return how many requests have had their effect."""
        raise NotImplementedError

    def finish(self) -> None:
        """End what goes on although no coroutine waits for it."""


class Ready(Kind):
    family = "ready"
    lasting = False

    def wait(self, number: int, seconds: float) -> Any:
        return system.suspend(0)


class Timer(Kind):
    """libuv's timers and the real time."""

    family = "timer"

    def wait(self, number: int, seconds: float) -> Any:
        return system.suspend(seconds or 0.001 * (number + 1))


class ManualTimer(Timer):
    def wait(self, number: int, seconds: float) -> Any:
        return system.suspend(10 * (number + 1))

    def happen(self, number: int) -> None:
        self.bench.clock.advance(10 * (number + 1))


class Signal(Kind):
    """Two signals that by default do nothing."""

    family = "signal"
    names = ("winresize", "child")

    def wait(self, number: int, seconds: float) -> Any:
        return system.awaitsig(self.names[number])

    def happen(self, number: int) -> None:
        system.emitsig(os.getpid(), self.names[number])

    def check_success(self, number: int, result: Any) -> None:
        assert result == self.names[number]


class Child(Kind):
    """Programs that end when they are killed; each wait is for one of its own."""

    family = "ready"  # it never waits again for the same

    def prepare(self) -> None:
        self.children: list[system.Process] = []
        self.current: dict[int, system.Process] = {}

    def wait(self, number: int, seconds: float) -> Any:
        child = self.current[number] = system.start("sleep", "100")
        self.children.append(child)
        return child.wait()

    def happen(self, number: int) -> None:
        self.current[number].kill("kill")

    def check_success(self, number: int, result: Any) -> None:
        assert result == ("kill", 9)

    def finish(self) -> None:
        for child in self.children:
            with suppress(ProcessLookupError):
                child.kill("kill")
            assert child.wait() == ("kill", 9)
        system.run("ready")


class Connect(Kind):
    family = "request"
    lasting = False

    def prepare(self) -> None:
        self.objects = [self.bench.stream(), self.bench.stream()]
        self.to: Any = self.bench.address

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].connect(self.to)

    def effects(self) -> int:
        shown = repr(self.to) if isinstance(self.to, str) else str(self.to)
        return sum(f" {shown}" in repr(stream) for stream in self.objects)


class ConnectTo(Connect):
    """In other domains."""

    domain = "local"

    def prepare(self) -> None:
        self.objects = [system.socket("stream", self.domain), system.socket("stream", self.domain)]
        server = listening(self.domain, 16)
        self.to = server.getaddress()
        self.bench.opened += [*self.objects, server]

    def finish(self) -> None:
        """The listener takes one connection from the system as soon as that is there."""
        system.run("ready")


class ConnectLocal(ConnectTo):
    refuses = True

    def check_again(self, result: Any) -> None:
        assert result.name == "EISCONN"


class ConnectIPv6(ConnectTo):
    domain = "ipv6"


class OnStreams(Kind):
    """Base of what needs two connected streams."""

    def pair(self) -> tuple[Any, socket.socket]:
        return self.bench.pair()

    def prepare(self) -> None:
        pairs = [self.pair(), self.pair()]
        self.objects = [stream for stream, _ in pairs]
        self.peers = [peer for _, peer in pairs]
        for peer in self.peers:
            peer.setblocking(False)


class Send(OnStreams):
    """More than the system takes at once, so that a write request is queued."""

    family = "request"
    second = 0  # another stream would take a part at once, so that the second send could not wait for its turn

    def prepare(self) -> None:
        super().prepare()
        self.wanted, self.taken = [0, 0], [0, 0]  # bytes
        for stream in self.objects:
            with socket.fromfd(stream.fileno(), socket.AF_INET, socket.SOCK_STREAM) as same:
                same.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65536)

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].send(PAYLOAD)

    def happen(self, number: int) -> None:
        self.wanted[number] += len(PAYLOAD)
        spawn.call(self._take_all, number)

    def _take_all(self, number: int) -> None:
        while self.taken[number] < self.wanted[number]:
            self._take(number)
            system.suspend()

    def _take(self, number: int) -> None:
        with suppress(BlockingIOError):
            while data := self.peers[number].recv(1 << 20):
                self.taken[number] += len(data)

    def effects(self) -> int:
        self._take(0)
        self._take(1)
        assert sum(self.taken) % len(PAYLOAD) == 0, "a part of the data was sent, and the rest was not"
        return sum(self.taken) // len(PAYLOAD)


class Shutdown(OnStreams):
    family = "request"
    refuses = True
    lasting = False

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].shutdown()

    def check_again(self, result: Any) -> None:
        assert result.name == "ENOTCONN"

    def effects(self) -> int:
        return sum(bool(select.select([peer], [], [], 0)[0]) for peer in self.peers)


class FindAddr(Kind):
    """A request of the thread pool."""

    family = "request"
    lasting = False

    def prepare(self) -> None:
        self.before = current_hub().loop.counts()["requests_created"]

    def wait(self, number: int, seconds: float) -> Any:
        return system.findaddr("127.0.0.1", number + 1)

    def check_success(self, number: int, result: Any) -> None:
        assert result.getaddress() == system.address("ipv4", "127.0.0.1", number + 1)

    def effects(self) -> int:
        return current_hub().loop.counts()["requests_created"] - self.before


class NameAddr(FindAddr):
    def wait(self, number: int, seconds: float) -> Any:
        return system.nameaddr((80, 22)[number])

    def check_success(self, number: int, result: Any) -> None:
        assert result == ("http", "ssh")[number]


class Accept(Kind):
    family = "object"
    domain = "ipv4"

    def prepare(self) -> None:
        self.objects = [listening(self.domain, 8), listening(self.domain, 8)]
        self.bench.opened += self.objects

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].accept()

    def happen(self, number: int) -> None:
        self.bench.opened.append(plain_client(self.objects[number].getaddress()))

    def check_success(self, number: int, result: Any) -> None:
        with result as accepted:
            assert accepted.getaddress() == self.objects[number].getaddress()


class AcceptLocal(Accept):
    domain = "local"


class AcceptIPv6(Accept):
    domain = "ipv6"


class Receive(OnStreams):
    family = "object"

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].receive(64)

    def happen(self, number: int) -> None:
        self.peers[number].send(TEXT)

    def check_success(self, number: int, result: Any) -> None:
        assert result == TEXT


class ReceiveInto(Receive):
    def wait(self, number: int, seconds: float) -> Any:
        self.buffer = bytearray(64)
        return self.objects[number].receive_into(self.buffer, 2)

    def check_success(self, number: int, result: Any) -> None:
        assert (result, bytes(self.buffer)) == (10, (b"\0\0" + TEXT).ljust(64, b"\0"))


class OnPipes(OnStreams):
    """Pipes to children in place of connections."""

    def pair(self) -> tuple[Any, socket.socket]:
        ends = child_end("pipe")
        self.bench.opened += ends
        return ends


class SendToChild(OnPipes, Send):
    pass


class ShutdownPipe(OnPipes, Shutdown):
    pass


class ReceiveFromChild(OnPipes, Receive):
    pass


class ShutdownInput(Shutdown):
    """Of a true pipe to a child."""

    def pair(self) -> tuple[Any, Any]:
        ends = input_end()
        self.bench.opened += ends
        return ends


class OnShared(OnStreams):
    """Connections whose open file description blocks, as others use it."""

    def pair(self) -> tuple[Any, socket.socket]:
        ours, peer = super().pair()
        return shared(ours), peer


class SendShared(OnShared, Send):
    pass


class ShutdownShared(OnShared, Shutdown):
    pass


class ReceiveShared(OnShared, Receive):
    pass


class OnLocal(OnStreams):
    """Unix sockets in place of connections."""

    share = False

    def pair(self) -> tuple[Any, socket.socket]:
        near, far = socket.socketpair()
        ours = socket_from_fd(near.detach(), share=self.share)
        self.bench.opened += [ours, far]
        return ours, far


class SendLocal(OnLocal, Send):
    pass


class ShutdownLocal(OnLocal, Shutdown):
    pass


class ReceiveLocal(OnLocal, Receive):
    pass


class OnShare(OnLocal):
    share = True


class ReceiveStream(OnShare, Receive):
    """A stream that comes along with the data."""

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].receive_stream(64)

    def happen(self, number: int) -> None:
        socket.send_fds(self.peers[number], [TEXT], [self.bench.poker.fileno()])

    def check_success(self, number: int, result: Any) -> None:
        data, stream = result
        with stream:
            assert (data, stream.getaddress()) == (TEXT, self.bench.poked.getaddress("peer"))


class SendStream(OnShare):
    family = "request"
    lasting = False

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].send(TEXT, stream=self.bench.poked)

    def effects(self) -> int:
        """Take what the peers have got."""
        came = 0
        for peer in self.peers:
            with suppress(BlockingIOError):
                while True:
                    data, (descriptor,), _, _ = socket.recv_fds(peer, 64, 8)
                    os.close(descriptor)
                    assert data == TEXT
                    came += 1
        return came


class OnTerminals(Kind):
    """Base of what needs two terminals; the peers are descriptors of their other sides."""

    def prepare(self) -> None:
        self.peers = []
        for _ in range(2):
            peer, own = os.openpty()
            self.peers.append(peer)
            self.objects.append(_terminal(own))
            os.close(own)
            self.objects[-1].setmode("binary")
        self.bench.opened += [*self.objects, *(os.fdopen(peer, "wb") for peer in self.peers)]


class ReceiveFromTerminal(OnTerminals, Receive):
    def happen(self, number: int) -> None:
        os.write(self.peers[number], TEXT)


class SendToTerminal(Send):
    """The other sides of terminals, which block: they are written to piece by piece."""

    def prepare(self) -> None:
        self.peers, self.wanted, self.taken = [], [0, 0], [0, 0]
        for _ in range(2):
            own, peer = os.openpty()
            tty.setraw(peer)
            os.set_blocking(peer, False)
            self.peers.append(os.fdopen(peer, "rb", 0))
            self.objects.append(_terminal(own))
            os.close(own)
        self.bench.opened += [*self.objects, *self.peers]

    def _take(self, number: int) -> None:
        while data := self.peers[number].read(1 << 20):  # None: there is nothing now
            self.taken[number] += len(data)


class AwaitWinsize(OnTerminals):
    family = "signal"
    width = 80

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].awaitwinsize()

    def happen(self, number: int) -> None:
        self.width += 1
        termios.tcsetwinsize(self.peers[number], (24, self.width))
        system.emitsig(os.getpid(), "winresize")

    def check_success(self, number: int, result: Any) -> None:
        assert result == (self.width, 24)


class OnDatagrams(Kind):
    """Base of what needs two datagram sockets; the peer is a socket of the standard library."""

    def prepare(self) -> None:
        self.objects = [system.socket("datagram", "ipv4"), system.socket("datagram", "ipv4")]
        self.peer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.peer.bind(("127.0.0.1", 0))
        self.peer.setblocking(False)
        self.bench.opened += [*self.objects, self.peer]
        for ours in self.objects:
            ours.bind(system.address("ipv4", "127.0.0.1:0"))
            ours.connect(system.address("ipv4", *self.peer.getsockname()))


class ReceiveDatagram(OnDatagrams):
    family = "object"

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].receive()

    def happen(self, number: int) -> None:
        address = self.objects[number].getaddress()
        self.peer.sendto(TEXT, (address.literal, address.port))

    def check_success(self, number: int, result: Any) -> None:
        assert result == (TEXT, self.objects[number].getaddress("peer"))


class SendDatagram(OnDatagrams):
    """The system takes none at once, so that a request is queued."""

    family = "request"
    lasting = False
    second = 0  # as for streams

    def prepare(self) -> None:
        super().prepare()
        self.received = 0
        patch = pytest.MonkeyPatch()
        patch.setattr(datagram, "_try_send", lambda *_: lib.UV_EAGAIN)
        self.bench.opened.append(SimpleNamespace(close=patch.undo))

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].send(TEXT)

    def effects(self) -> int:
        with suppress(BlockingIOError):
            while self.peer.recv(64):
                self.received += 1
        return self.received


class ReadFile(Kind):
    """A request for the thread pool: the end of a pipe, as a file. Once begun it stays there until data come."""

    family = "request"
    removable = False

    def prepare(self) -> None:
        self.writers, self.written = [], 0
        self.reading: File | None = None
        for _ in range(2):
            reader, writer = os.pipe()
            self.objects.append(File(reader, "'pipe'", read=True, write=False))
            self.writers.append(writer)
        self.bench.opened += [*self.objects, *(os.fdopen(writer, "wb") for writer in self.writers)]

    def wait(self, number: int, seconds: float) -> Any:
        self.reading = self.objects[number]
        try:
            return self.reading.read(1)
        finally:
            self.reading = None

    def begun(self) -> None:
        if self.reading is not None and not self.bench.tested.operation._waiting_for_free:
            wait_until_it_reads(self.reading.fileno())

    def happen(self, number: int) -> None:
        self.written += os.write(self.writers[number], b"x")

    def check_success(self, number: int, result: Any) -> None:
        assert result == b"x"

    def effects(self) -> int:
        left = sum(len(os.read(file.fileno(), 100)) for file in self.objects if select.select([file], [], [], 0)[0])
        self.written -= left
        return self.written


class InFolders(Kind):
    """Base of what needs two folders, and makes files in them."""

    def prepare(self) -> None:
        folders = [TemporaryDirectory(), TemporaryDirectory()]
        self.folders = [Path(folder.name) for folder in folders]
        self.names: list[str] = []
        self.bench.opened += [SimpleNamespace(close=folder.cleanup) for folder in folders]

    def happen(self, number: int) -> None:
        self.names.append(f"file {len(self.names)}")
        Path(self.folders[number], self.names[-1]).touch()

    def check_success(self, number: int, result: Any) -> None:
        name, events = result
        assert (name in self.names, events) == (True, {"rename"})


class AwaitPath(InFolders):
    family = "path"

    def wait(self, number: int, seconds: float) -> Any:
        return system.awaitpath(self.folders[number])


class PollPath(AwaitPath):
    """What is not there is told at once; then, when it is."""

    lasting = False

    def prepare(self) -> None:
        super().prepare()
        self.missed: set[int] = set()

    def wait(self, number: int, seconds: float) -> Any:
        return system.awaitpath(self.folders[number] / "file", poll=0.001)

    def happen(self, number: int) -> None:
        if number in self.missed:  # else it would be there from the beginning
            Path(self.folders[number], "file").touch()

    def check_success(self, number: int, result: Any) -> None:
        self.missed.add(number)
        assert (result.error.name, result[1]) == ("ENOENT", None)

    def check_again(self, result: Any) -> None:
        assert (result.error, result[1].size) == (None, 0)


class Watch(InFolders):
    family = "object"

    def prepare(self) -> None:
        super().prepare()
        self.objects = [system.watch(folder) for folder in self.folders]
        self.bench.opened += self.objects

    def wait(self, number: int, seconds: float) -> Any:
        return next(self.objects[number])


class Random(FindAddr):
    def wait(self, number: int, seconds: float) -> Any:
        self.buffer = bytearray(64)
        return system.random(self.buffer)

    def check_success(self, number: int, result: Any) -> None:
        assert result is self.buffer
        assert any(result)


class OnPath(InFolders, FindAddr):
    """Base of calls on a path, each of which is one request of the thread pool."""

    def prepare(self) -> None:
        InFolders.prepare(self)
        InFolders.happen(self, 0)
        InFolders.happen(self, 1)
        FindAddr.prepare(self)

    def path(self, number: int) -> Path:
        return self.folders[number] / self.names[number]

    def happen(self, number: int) -> None:
        """It does so by itself."""


class ListDir(OnPath):
    def wait(self, number: int, seconds: float) -> Any:
        return system.listdir(self.folders[number])

    def check_success(self, number: int, result: Any) -> None:
        self.bench.opened.append(result)  # to read and close it would be more requests
        assert str(self.folders[number]) in repr(result)


class InfoOfPath(OnPath):
    def wait(self, number: int, seconds: float) -> Any:
        return system.fileinfo(self.path(number), "size")

    def check_success(self, number: int, result: Any) -> None:
        assert result == 0


class TouchPath(OnPath):
    def wait(self, number: int, seconds: float) -> Any:
        return system.touchfile(self.path(number), mtime=number + 1)

    def check_success(self, number: int, result: Any) -> None:
        assert (result, self.path(number).stat().st_mtime) == (True, number + 1)


class SendFile(OnStreams):
    """A request of the thread pool, on a duplicate of the stream's descriptor."""

    family = "request"
    lasting = False

    def prepare(self) -> None:
        super().prepare()
        self.file = system.openfile(__file__, blocking=True)
        self.bench.opened.append(self.file)
        self.before = current_hub().loop.counts()["requests_created"]

    def wait(self, number: int, seconds: float) -> Any:
        return self.objects[number].send_file(self.file, 0, 100)

    def check_success(self, number: int, result: Any) -> None:
        assert (result, self.peers[number].recv(200)) == (100, Path(__file__).read_bytes()[:100])

    def effects(self) -> int:
        return current_hub().loop.counts()["requests_created"] - self.before


KINDS: dict[str, tuple[type[Kind], bool]] = {
    "ready": (Ready, False),
    "timer": (Timer, False),
    "manual timer": (ManualTimer, False),
    "signal": (Signal, False),
    "child": (Child, False),
    "connect": (Connect, False),
    "connect, closed": (Connect, True),
    "send": (Send, False),
    "send, closed": (Send, True),
    "shutdown": (Shutdown, False),
    "findaddr": (FindAddr, False),
    "nameaddr": (NameAddr, False),
    "file": (ReadFile, False),
    "accept": (Accept, False),
    "accept, closed": (Accept, True),
    "receive": (Receive, False),
    "receive, closed": (Receive, True),
    "receive from a child": (ReceiveFromChild, False),
    "receive from a child, closed": (ReceiveFromChild, True),
    "send to a child": (SendToChild, False),
    "send to a child, closed": (SendToChild, True),
    "shutdown of a pipe": (ShutdownPipe, False),
    "shutdown of a child's input": (ShutdownInput, False),
    "send through a shared socket": (SendShared, False),
    "send through a shared socket, closed": (SendShared, True),
    "shutdown of a shared socket": (ShutdownShared, False),
    "receive from a shared socket": (ReceiveShared, False),
    "receive from a shared socket, closed": (ReceiveShared, True),
    "receive_into": (ReceiveInto, False),
    "receive_into, closed": (ReceiveInto, True),
    "receive a datagram": (ReceiveDatagram, False),
    "receive a datagram, closed": (ReceiveDatagram, True),
    "send a datagram": (SendDatagram, False),
    "connect to ipv6": (ConnectIPv6, False),
    "accept on ipv6": (AcceptIPv6, False),
    "connect to a local socket": (ConnectLocal, False),
    "accept on a local socket": (AcceptLocal, False),
    "accept on a local socket, closed": (AcceptLocal, True),
    "receive from a local socket": (ReceiveLocal, False),
    "receive from a local socket, closed": (ReceiveLocal, True),
    "send to a local socket": (SendLocal, False),
    "send to a local socket, closed": (SendLocal, True),
    "shutdown of a local socket": (ShutdownLocal, False),
    "receive a stream": (ReceiveStream, False),
    "receive a stream, closed": (ReceiveStream, True),
    "send a stream": (SendStream, False),
    "send to a terminal that blocks": (SendToTerminal, False),
    "send to a terminal that blocks, closed": (SendToTerminal, True),
    "receive from a terminal": (ReceiveFromTerminal, False),
    "receive from a terminal, closed": (ReceiveFromTerminal, True),
    "window size": (AwaitWinsize, False),
    "awaitpath": (AwaitPath, False),
    "awaitpath by looking": (PollPath, False),
    "watch": (Watch, False),
    "watch, closed": (Watch, True),
    "random": (Random, False),
    "listdir": (ListDir, False),
    "fileinfo": (InfoOfPath, False),
    "touchfile": (TouchPath, False),
    "send_file": (SendFile, False),
}


def each_kind(names: Iterable[str]) -> pytest.MarkDecorator:
    """Parametrize with the names of kinds."""
    marks = {True: [needs_ipv6], False: []}
    return pytest.mark.parametrize("kind", [pytest.param(name, marks=marks["ipv6" in name]) for name in names])


# -- the sequences -----------------------------------------------------------------------------------------------------


def ops_1(bench: Bench) -> int:
    """OPS-1: await, plain yield."""

    def program() -> None:
        bench.wait(0)
        bench.pause()

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 1


def ops_2(bench: Bench) -> int:
    """OPS-2: await, await the same kind."""

    def program() -> None:
        bench.wait(0)
        bench.trigger_soon(1)
        bench.wait(1)
        bench.pause()

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 2


def ops_3(bench: Bench) -> int:
    """OPS-3: await, yield; resumed by input, await again; resumed; then what was awaited happens."""

    def program() -> None:
        bench.wait(0)
        bench.poke(meddle)
        bench.pause()
        bench.cancelled(1, "cancelled")
        bench.pause()

    def meddle() -> None:
        bench.resume()
        bench.resume("cancelled")
        bench.trigger(1)

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 2


def _yielding_then(bench: Bench, partner: Callable[[], None]) -> int:
    def program() -> None:
        bench.wait(0)
        bench.pause()
        partner()
        bench.pause()

    bench.start(program)
    bench.trigger(0)
    bench.run()
    assert (bench.stage, bench.paused) == (1, True)
    bench.resume("ignored by a plain yield")
    assert (bench.stage, bench.paused) == (1, False)
    bench.run()
    return 2


def ops_4(bench: Bench) -> int:
    """OPS-4: await, yield; explicit resume, then a request operation."""
    return _yielding_then(bench, bench.request)


def ops_5(bench: Bench) -> int:
    """OPS-5: await, yield; explicit resume, then a handle operation."""
    return _yielding_then(bench, bench.nap)


def _cancelling_naps(bench: Bench, count: int) -> int:
    def program() -> None:
        bench.wait(0)
        bench.poke(meddle)
        for number in range(count):
            bench.nap(LONG, ("cancelled", number))
        bench.pause()

    def meddle() -> None:
        for number in range(count):
            bench.resume("cancelled", number)

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 1 + count


def ops_6(bench: Bench) -> int:
    """OPS-6: await, suspend(long), which input cancels."""
    return _cancelling_naps(bench, 1)


def ops_7(bench: Bench) -> int:
    """OPS-7: as OPS-6, cancelled twice in a row."""
    return _cancelling_naps(bench, 2)


def _directly_then(bench: Bench, partner: Callable[[], None]) -> int:
    def program() -> None:
        bench.wait(0)
        partner()
        bench.pause()

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 2


def ops_8(bench: Bench) -> int:
    """OPS-8: await, then a request operation at once."""
    return _directly_then(bench, bench.request)


def ops_9(bench: Bench) -> int:
    """OPS-9: await, then a handle operation at once."""
    return _directly_then(bench, bench.nap)


def ops_10(bench: Bench, trigger: bool = True) -> int:
    """OPS-10: await, trigger, explicit resume before the loop runs, plain yield."""

    def program() -> None:
        bench.cancelled(0, "cancelled", None, 3)
        bench.pause()

    bench.start(program)
    if trigger:
        bench.trigger(0)
    bench.resume("cancelled", None, 3)
    assert bench.paused
    bench.run()
    return 1


def ops_11(bench: Bench, trigger: bool = True) -> int:
    """OPS-11: as OPS-10, but it awaits again, and is cancelled again by input."""

    def program() -> None:
        bench.cancelled(0)
        bench.cancelled(bench.kind.second, "cancelled", "again")
        bench.pause()

    bench.poke_in_time(lambda: bench.resume("cancelled", "again"))
    bench.start(program)
    if trigger:
        bench.trigger(0)
    bench.resume()
    assert (bench.stage, bench.paused) == (1, False)
    assert bench.kind.family != "request" or bench.tested.operation._waiting_for_free is True
    bench.run()
    if bench.kind.family == "request" and trigger and not bench.kind.closing:
        # what was cancelled ends in the background; what had to wait for it has never begun
        assert bench.kind.effects() == 1
    return 2


def _cancelled_then(bench: Bench, partner: Callable[[], None], trigger: bool) -> int:
    def program() -> None:
        bench.cancelled(0, "cancelled")
        partner()
        bench.pause()

    bench.start(program)
    if trigger:
        bench.trigger(0)
    bench.resume("cancelled")
    assert (bench.stage, bench.paused) == (1, False)
    bench.run()
    return 2


def ops_12(bench: Bench, trigger: bool = True) -> int:
    """OPS-12: cancelled, then a request operation."""
    return _cancelled_then(bench, bench.request, trigger)


def ops_13(bench: Bench, trigger: bool = True) -> int:
    """OPS-13: cancelled, then a handle operation."""
    return _cancelled_then(bench, bench.nap, trigger)


def ops_14(bench: Bench) -> int:
    """OPS-14: as OPS-2, with one and the same thing."""

    def program() -> None:
        bench.wait(0)
        if not bench.kind.closing:
            bench.trigger_soon(0)
        bench.kind.check_again(bench.kind.attempt(0))
        bench.stage += 1
        bench.pause()

    bench.start(program)
    bench.trigger(0)
    bench.run()
    return 2


# Operation of the tested coroutine, first object, second object. For "ready", "timer", "request" only the operation:
# the objects of requests are closed, "1 3", where the trigger closes them, and do nothing else. "A-5 waits" leave no
# trace for handles: Close-handle lasts no time, so that the next operation begins at once.
TRACES: dict[Callable[..., int], dict[str, tuple[str, ...]]] = {
    ops_1: {
        "ready": ("2 6 9 8",),
        "timer": ("2 6 9 8",),
        "request": ("1 3",),
        "object": ("", "2 6 7", ""),
        "closed": ("", "2 5 3", ""),
    },
    ops_2: {
        "ready": ("2 6 9 8 2 6 9 8",),
        "timer": ("2 6 10 6 9 8",),
        "request": ("1 3 1 3",),
        "object": ("", "2 6 7", "2 6 7"),
        "closed": ("", "2 5 3", "2 5 3"),
    },
    ops_3: {
        "ready": ("2 6 9 8 2 5 8",),
        "timer": ("2 6 9 8 2 5 8",),
        "request": ("1 3 1 4 7",),
        "object": ("", "2 6 7", "2 4"),
        "closed": ("", "2 5 3", "2 4 1 3"),
    },
    ops_4: {
        "ready": ("2 6 9 8 1 3",),
        "timer": ("2 6 9 8 1 3",),
        "request": ("1 3 1 3",),
        "object": ("1 3", "2 6 7", ""),
        "closed": ("1 3", "2 5 3", ""),
    },
    ops_5: {
        "ready": ("2 6 9 8 2 6 9 8",),
        "timer": ("2 6 9 8 2 6 9 8",),
        "request": ("1 3 2 6 9 8",),
        "object": ("2 6 9 8", "2 6 7", ""),
        "closed": ("2 6 9 8", "2 5 3", ""),
    },
    ops_6: {
        "ready": ("2 6 9 8 2 5 8",),
        "timer": ("2 6 10 5 8",),
        "request": ("1 3 2 5 8",),
        "object": ("2 5 8", "2 6 7", ""),
        "closed": ("2 5 8", "2 5 3", ""),
    },
    ops_7: {
        "ready": ("2 6 9 8 2 5 8 2 5 8",),
        "timer": ("2 6 10 5 8 2 5 8",),
        "request": ("1 3 2 5 8 2 5 8",),
        "object": ("2 5 8 2 5 8", "2 6 7", ""),
        "closed": ("2 5 8 2 5 8", "2 5 3", ""),
    },
    ops_8: {
        "ready": ("2 6 9 8 1 3",),
        "timer": ("2 6 9 8 1 3",),
        "request": ("1 3 1 3",),
        "object": ("1 3", "2 6 7", ""),
        "closed": ("1 3", "2 5 3", ""),
    },
    ops_9: {
        "ready": ("2 6 9 8 2 6 9 8",),
        "timer": ("2 6 9 8 2 6 9 8",),
        "request": ("1 3 2 6 9 8",),
        "object": ("2 6 9 8", "2 6 7", ""),
        "closed": ("2 6 9 8", "2 5 3", ""),
    },
    ops_10: {
        "ready": ("2 5 8",),
        "timer": ("2 5 8",),
        "request": ("1 4 7",),
        "object": ("", "2 4", ""),
        "closed": ("", "2 4 1 3", ""),
    },
    ops_11: {
        "ready": ("2 5 8 2 5 8",),
        "timer": ("2 5 8 2 5 8",),
        "request": ("1 4 7",),
        "object": ("", "2 4", "2 4"),
        "closed": ("", "2 4 1 3", "2 4"),
    },
    ops_12: {
        "ready": ("2 5 8 1 3",),
        "timer": ("2 5 8 1 3",),
        "request": ("1 4 7 1 3",),
        "object": ("1 3", "2 4", ""),
        "closed": ("1 3", "2 4 1 3", ""),
    },
    ops_13: {
        "ready": ("2 5 8 2 6 9 8",),
        "timer": ("2 5 8 2 6 9 8",),
        "request": ("1 4 7 2 6 9 8",),
        "object": ("2 6 9 8", "2 4", ""),
        "closed": ("2 6 9 8", "2 4 1 3", ""),
    },
    ops_14: {
        "ready": ("2 6 9 8 2 6 9 8",),
        "timer": ("2 6 10 6 9 8",),
        "request": ("1 3 1 3",),
        "object": ("", "2 6 9 6 7", ""),
        "closed": ("", "2 5 3", ""),
    },
}


@pytest.fixture
def bench(request: pytest.FixtureRequest) -> Iterator[Bench]:
    """A bench for the kind that the test is parametrized with, on a manual clock where that kind needs one."""
    kind, closing = KINDS[request.getfixturevalue("kind")]
    made = Bench(request.getfixturevalue("clock") if kind is ManualTimer else None)
    made.mode = request.getfixturevalue("mode")
    made.kind = kind(made, closing)
    yield made
    made.tested = None
    made.kind.finish()
    made.close()


def expected(sequence: Callable[..., int], kind: Kind) -> tuple[str, ...]:
    """Return the transitions of the operation and of the two objects."""
    family = "closed" if kind.family == "object" and kind.closing else kind.family
    if sequence is ops_14 and (kind.refuses or (kind.closing and family == "request")):
        return ("1 3", "1 3", "") if kind.closing else ("1 3 1 4 7", "", "")  # the second is refused
    if family == "path":  # each wait has an object, which is closed as soon as its coroutine does not wait for it
        own, *objects = TRACES[sequence]["object"]
        return (own, *(f"{walked} 1 3" if walked else "" for walked in objects))
    if family == "signal":  # it stays armed for itself only; that of the window size is one for all terminals
        again = sequence is ops_14 or (sequence is ops_2 and isinstance(kind, AwaitWinsize))
        family = "timer" if again else "ready"
    trace = TRACES[sequence][family]
    if family != "request" or not kind.closing:
        return (*trace, "", "")[:3]
    return (*trace, "1 3", "1 3" if sequence in (ops_2, ops_3) else "")


def check_result(bench: Bench, walked: Walked, stages: int, traces: tuple[str, ...], hub: Hub) -> None:
    """Check what every sequence has to end with."""
    assert (bench.stage, bench.paused, bench.tested.status) == (stages, True, "suspended")
    assert system.run() is False
    assert bench.tested.operation is None or bench.tested.operation.state.name == "Freed"
    objects = [each._handle for each in bench.kind.objects if isinstance(each, HANDLED)] or walked.owners(_SingleWatch)
    seen = (walked.by(bench.tested.operation), *(walked.by(handle) for handle in objects))
    assert (*seen, "", "")[:3] == traces
    sockets = [each for each in bench.opened if isinstance(each, HANDLED) and not each._handle.closed]
    bench.kind.finish()
    assert hub.in_flight() == len(sockets), "something beside the open sockets is in flight"


@pytest.mark.parametrize("mode", ["step", "loop"])
@each_kind(KINDS)
@pytest.mark.parametrize("sequence", TRACES, ids=lambda sequence: sequence.__doc__.partition(":")[0])
def test_operation(sequence: Callable[[Bench], int], kind: str, mode: str, bench: Bench, hub: Hub) -> None:
    """OPS-1 … OPS-13: whatever is cancelled, triggered or closed when: every wait returns once, with its own result.

    OPS-14 stands for its case of channels, which do not exist yet: the same stream, listener or timer is awaited twice
    in a row, without a start in between (9 for objects, 10 for timers). A second shutdown is refused; a second connect
    is not, because Linux says once more that it has succeeded.
    """
    with Walked() as walked:
        stages = sequence(bench)
        check_result(bench, walked, stages, expected(sequence, bench.kind), hub)


@pytest.mark.parametrize("mode", ["step", "loop"])
@each_kind(name for name, (kind, closing) in KINDS.items() if kind.lasting and kind.removable and not closing)
@pytest.mark.parametrize("sequence", [ops_10, ops_11, ops_12, ops_13], ids=lambda sequence: sequence.__name__)
def test_nothing_happens(sequence: Callable[..., int], kind: str, mode: str, bench: Bench, hub: Hub) -> None:
    """OPS-15: a wait that is cancelled leaves nothing behind although what it waited for never happens.

    Stands for its case of channels, which do not exist yet. A send that is cancelled goes on in the background until
    its stream is closed: that is its end here.
    """
    sends = isinstance(bench.kind, Send)
    if sends:
        spawn.call(lambda: system.suspend() and bench.kind.objects[0].close())
    with Walked() as walked:
        stages = sequence(bench, trigger=False)
        traces = expected(sequence, bench.kind)
        check_result(bench, walked, stages, (traces[0], "1 3", "") if sends else traces, hub)
