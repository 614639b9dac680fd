"""Random programs of coroutines that wait for a stream and a listener, compared with a model after every step."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import invariant, rule

from coutil import coroutine, errors, spawn, system
from tests.helpers.coroutines import Trouble
from tests.helpers.kernel import OBJECT, OPERATION, Hub, KernelHandle
from tests.helpers.machine import SLOTS, CoroutineMachine, Wait, Worker, explore
from tests.helpers.state_traces import Reached, Walked, needs_debug

pytestmark = needs_debug

PATTERN = bytes(number * 7 % 251 for number in range(4096))  # what the peer sends, again and again

slots = st.integers(0, SLOTS - 1)
names = st.sampled_from(["stream", "stream", "listener"])
sizes = st.integers(1, 40)
brought = st.lists(st.none() | st.sampled_from("ab"), max_size=3)


class Object:
    """A stream or listener as the model sees it. `opened` is all that keeps it from being collected."""

    def __init__(self, opened: system.Socket) -> None:
        self.opened: Any = opened
        self.handle: KernelHandle = opened._handle
        self.waiting: tuple[Worker, Wait] | None = None


class ObjectMachine(CoroutineMachine):
    """Coroutines that receive and accept; are resumed, close what they or others wait for, and forget it."""

    table = OBJECT + OPERATION

    def __init__(self, hub: Hub, escaped: list[Any]) -> None:
        super().__init__(hub, escaped)
        self.server = socket.create_server(("127.0.0.1", 0))
        self.address = system.address("ipv4", "127.0.0.1", self.server.getsockname()[1])
        self.peer = socket.socket()  # none yet
        self.clients: list[socket.socket] = []
        self.accepted = 0
        self.objects: dict[str, Object] = {}
        self._open_stream()
        self._open_listener()

    def _open_stream(self) -> None:
        self.peer.close()
        stream = system.socket("stream", "ipv4")
        stream.connect(self.address)
        self.peer = self.server.accept()[0]
        self.end = ""  # how the peer has ended: "" or "shutdown" or "reset"
        self.reset_told = False
        self.sent, self.received = bytearray(), bytearray()
        self.objects["stream"] = Object(stream)

    def _open_listener(self) -> None:
        listener = system.socket("passive", "ipv4")
        listener.listen(200)
        self._leave_clients()
        self.objects["listener"] = Object(listener)

    def _leave_clients(self) -> None:
        for client in self.clients:
            client.close()
        self.clients, self.accepted = [], 0

    # -- what the workers wait for ----------------------------------------------------------------------------------

    def prepare(self, worker: Worker, wait: Wait) -> Callable[[], Any] | None:
        if wait.kind == "ready":
            return system.suspend
        model = self.objects["listener" if wait.kind == "accept" else "stream"]
        opened = model.opened
        if opened is None:  # no one can call it any more
            return None
        wait.model, wait.instant = model, self._instantly(model)
        if wait.instant is None:
            model.waiting = worker, wait
        if wait.kind == "accept":
            return opened.accept
        if wait.kind == "receive":
            return lambda: opened.receive(wait.amount)
        return lambda: self._receive_into(opened, wait.amount)

    def _instantly(self, model: Object) -> object:
        """Return what a call is bound to bring without a suspension, None if nothing."""
        if model.handle.closed:
            return errors.Closed
        if model.waiting is not None:
            return errors.BusyError
        told = self.reset_told and model is self.objects["stream"]
        return "there already" if told or model.handle.pending_data is not None else None

    def _receive_into(self, stream: system.StreamSocket, size: int) -> object:
        buffer = bytearray(size + 2)
        count = stream.receive_into(buffer, 1, size + 1)
        assert buffer[:1] + buffer[-1:] == b"\0\0", "written beyond the slice"
        return bytes(buffer[1 : count + 1]) if isinstance(count, int) else count

    def returned(self, worker: Worker, wait: Wait) -> None:
        if wait.instant is None and wait.kind in ("receive", "receive_into", "accept"):
            assert wait.model.waiting == (worker, wait), "woken for somebody else's wait"
            wait.model.waiting = None

    def judge(self, worker: Worker, wait: Wait, result: object) -> bool:
        """The data go on where the last ones ended; the streams accepted are those of the clients, in order."""
        if wait.kind == "ready":
            assert result is True
            return False
        if isinstance(wait.instant, type):
            assert isinstance(result, wait.instant)
            assert not getattr(result, "interrupted", False)
            return True
        if wait.kind == "accept":
            assert isinstance(result, system.StreamSocket)
            with result:
                assert result.getaddress("peer").port == self.clients[self.accepted].getsockname()[1]
            self.accepted += 1
        elif isinstance(result, bytes):
            self._take(result, wait.amount)
        else:
            self._judge_reset(result)
        return wait.instant is not None

    def _judge_reset(self, error: object) -> None:
        """Libuv tells once that the connection was reset; from then on it is not connected."""
        assert isinstance(error, errors.UVError)
        assert error.name == ("ENOTCONN" if self.reset_told else "ECONNRESET")
        assert self.end == "reset"
        self.reset_told = True

    def _take(self, data: bytes, size: int) -> None:
        assert len(data) <= size
        if data:
            self.received += data
            assert self.sent.startswith(self.received)
        else:
            assert self.end
            assert self.end == "reset" or self.received == self.sent

    # -- rules ------------------------------------------------------------------------------------------------------

    @rule(slot=slots, kind=st.sampled_from(["receive", "receive_into", "accept"]), size=sizes)
    def start(self, slot: int, kind: str, size: int) -> None:
        self.follow(slot, Wait(kind, size))

    @rule(slot=slots, sizes=st.lists(sizes, min_size=2, max_size=4), end=st.sampled_from(["yield", "finish", "raise"]))
    def receive_again_and_again(self, slot: int, sizes: list[int], end: str) -> None:
        self.follow(slot, *(Wait("receive", size) for size in sizes), end)

    @rule(slot=slots, kind=st.sampled_from(["receive", "accept"]), other=slots, size=sizes)
    def hand_on(self, slot: int, kind: str, other: int, size: int) -> None:
        """When the wait of one coroutine is over, it has another one wait for the same object."""
        self.follow(slot, Wait(kind, size), lambda: self.follow(other, Wait(kind, size)))

    @rule(slot=slots, kind=st.sampled_from(["receive", "accept", "ready"]), name=names)
    def close_after_a_wait(self, slot: int, kind: str, name: str) -> None:
        """The same coroutine or another one closes the object, from within the resumption by the hub."""
        self.follow(slot, Wait(kind, 9), lambda: self.close_object(name))

    @rule(name=names)
    def close_object(self, name: str) -> None:
        """A waiter for the object has got `Closed` before this returns."""
        model = self.objects[name]
        if model.opened is None:
            return
        waiting = model.waiting
        if waiting is not None:
            waiting[0].given = errors.Closed
            waiting[0].resumer = -1
        assert model.opened.close() is True
        assert model.opened.close() is True
        assert model.handle.closed
        if waiting is not None:
            [outcome] = waiting[1].outcomes
            assert isinstance(outcome, errors.Closed)
            assert outcome.interrupted is True

    @rule(name=names)
    def drop_object(self, name: str) -> None:
        """An object without a waiter and without references is closed; one that a coroutine waits for is not, yet."""
        model = self.objects[name]
        closed = model.handle.closed
        model.opened = None
        assert model.handle.closed is (closed or model.waiting is None)

    @rule()
    def open_again(self) -> None:
        """Replace what was closed or dropped."""
        for name, model in self.objects.items():
            if model.waiting is None and model.handle.closed:
                (self._open_stream if name == "stream" else self._open_listener)()

    @rule(size=st.integers(1, 60))
    def peer_sends(self, size: int) -> None:
        if not self.end:
            data = (PATTERN * 2)[len(self.sent) % 4096 :][:size]
            with suppress(ConnectionError):  # our end may have been closed
                self.peer.sendall(data)
                self.sent += data

    @rule(how=st.sampled_from(["shutdown", "shutdown", "close", "reset"]))
    def peer_ends(self, how: str) -> None:
        if how == "shutdown":
            with suppress(OSError):
                self.peer.shutdown(socket.SHUT_WR)
        elif not self.end:
            if how == "reset":
                self.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.peer.close()
        self.end = self.end or ("reset" if how == "reset" else "shutdown")

    @rule(count=st.integers(1, 3))
    def clients_connect(self, count: int) -> None:
        listener = self.objects["listener"]
        if listener.opened is not None and not listener.handle.closed:
            port = listener.opened.getaddress().port
            self.clients += [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]

    @rule(slot=slots, values=brought)
    def explicit(self, slot: int, values: list[Any]) -> None:
        self.resume(slot, values)

    @rule(slot=slots)
    def throw(self, slot: int) -> None:
        self.resume(slot, [], Trouble())

    @rule(slot=slots, kind=st.sampled_from(["receive", "accept", "ready"]), other=slots, values=brought)
    def explicit_from_inside(self, slot: int, kind: str, other: int, values: list[Any]) -> None:
        self.follow(slot, Wait(kind, 9), lambda: self.resume(other, values))

    @rule(slot=slots)
    def drop_and_collect(self, slot: int) -> None:
        self.drop(slot)

    @rule()
    def turn(self) -> None:
        self._run("ready")

    @rule()
    def step(self) -> None:
        spawn.call(system.suspend)
        self._run("step")

    @rule()
    def hand_over(self) -> None:
        self._run("loop")

    def _run(self, mode: Any) -> None:
        """Run the loop: something is left exactly if a coroutine waits, or if a handle is not closed completely yet."""
        answer = self.loop(2) if mode == "loop" else system.run(mode)
        assert answer is any(state in ("Await", "Close", "Await-handle") for state in self.states.values())

    # -- properties -------------------------------------------------------------------------------------------------

    @invariant()
    def states_are_those_of_the_model(self) -> None:
        for model in self.objects.values():
            state, waiting = model.handle.state.name, model.waiting
            if waiting is not None:
                assert (state, model.handle.waiter) == ("Await", waiting[0].who())
            else:
                assert state in (["Close", "Freed"] if model.handle.closed else ["Ready"])
                assert model.handle.waiter is None

    def drain(self) -> None:
        """Nothing is lost: what no one has received or accepted so far can still be had."""
        for worker in self.workers:
            worker.plan.clear()
        for slot in range(SLOTS):
            self.resume(slot, [])
        for model in self.objects.values():
            if model.waiting is not None:  # of a coroutine that was forgotten
                waiter = model.handle.waiter
                assert waiter is not None
                model.waiting[0].given = None
                waiter.resume()
        self._run("ready")
        stream, listener = self.objects["stream"], self.objects["listener"]
        if stream.opened is not None and not stream.handle.closed:
            self.peer_ends("shutdown")
            try:
                while data := stream.opened.receive():
                    self._take(data, 65536)
            except errors.UVError as error:
                self._judge_reset(error)
            assert self.end == "reset" or self.received == self.sent
        if listener.opened is not None and not listener.handle.closed:
            for client in self.clients[self.accepted :]:
                with listener.opened.accept() as stream:
                    assert stream.getaddress("peer").port == client.getsockname()[1]

    def close(self) -> None:
        for model in self.objects.values():
            model.handle.close()
        self._leave_clients()
        self.server.close()
        self.peer.close()


@pytest.mark.slow
def test_random_programs(hub: Hub, escaped: list[Any]) -> None:
    """However streams and listeners are used, closed and forgotten: no byte and no connection is lost or doubled."""
    explore(lambda: ObjectMachine(hub, escaped), OBJECT, 120)


@pytest.mark.fuzz
def test_many_random_programs(hub: Hub, escaped: list[Any]) -> None:
    """The same with many more programs, other ones each time."""
    explore(lambda: ObjectMachine(hub, escaped), OBJECT, 5000)


def connected(server: socket.socket) -> tuple[system.StreamSocket, socket.socket]:
    """Return a stream and its peer."""
    stream = system.socket("stream", "ipv4")
    stream.connect(system.address("ipv4", "127.0.0.1", server.getsockname()[1]))
    return stream, server.accept()[0]


def test_each_numbered_transition(hub: Hub) -> None:
    """One program that walks the transitions 1 to 9 of an object, in an order that can be read off the table."""
    with socket.create_server(("127.0.0.1", 0)) as server, Walked() as walked, Reached(OBJECT) as reached:
        pairs = [connected(server) for _ in range(3)]
        (first, peer), (second, _), (third, third_peer) = pairs
        log: list[object] = []

        def program() -> None:
            log.append(first.receive(1))  # 2 6
            log.append(first.receive(1))  # 9 6
            coroutine.yield_()  # 7
            log.append(first.receive(1))  # 2 4
            log.append(first.receive(1))  # 2 6
            log.append(first.close())  # 8 3
            with pytest.raises(errors.Closed):
                second.receive()  # 2 5 3
            log.append("told")

        who = spawn.call(program)
        third_peer.send(b"abc")
        while who.waiting_on is not None:  # which it is not in a plain yield
            peer.send(b"x")
            system.run("step")
        who.resume()
        who.resume("explicit")
        peer.send(b"y")
        system.run("step")
        assert log == [b"x", b"x", "explicit", b"y", True]
        assert (second.close(), log[5:]) == (True, ["told"])
        assert third.close() is True  # 1 3
        assert system.run() is False
        assert walked.by(first._handle) == "2 6 9 6 7 2 4 2 6 8 3"
        assert walked.by(second._handle) == "2 5 3"
        assert walked.by(third._handle) == "1 3"
        assert reached.missing() == set()
        for _, each in pairs:
            each.close()


@pytest.mark.parametrize("into", [False, True], ids=["receive", "receive_into"])
def test_data_for_a_larger_wait(into: bool) -> None:
    """What came for a wait that was cancelled in the same turn is not forced on the next one, which wants less."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pairs = [connected(server) for _ in range(2)]
        waiters: list[coroutine.Coroutine] = []
        got: list[list[object]] = [[], []]

        def program(number: int) -> None:
            stream = pairs[number][0]
            got[number].append(stream.receive(12))
            other = 1 - number
            if not got[other]:
                waiters[other].resume("cancelled")  # its data have been read already
                return
            for size in (1, 2, 100):
                buffer = bytearray(size)
                got[number].append(bytes(buffer[: stream.receive_into(buffer)]) if into else stream.receive(size))

        waiters += [spawn.call(program, number) for number in range(2)]
        for _, peer in pairs:
            peer.send(b"0123456789")
        assert system.run() is False
        early, late = sorted(got, key=len)
        assert early == [b"0123456789"]
        assert late == ["cancelled", b"0", b"12", b"3456789"]
        for stream, peer in pairs:
            stream.close()
            peer.close()
