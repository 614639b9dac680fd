"""Rows of the kill matrix: datagrams."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from coutil._libuv import lib
from coutil.system.network import datagram
from coutil.testing import ManualClock
from tests.helpers.udp import bound, drained, plain_peer
from tests.matrix.row import NOTHING, Row, row


def _receive_row(receive: Callable[[datagram.DatagramSocket], Any]) -> Iterator[Row]:
    """Each datagram comes once, in the order they were sent. receive: returns data and sender."""
    with bound("ipv4") as ours, plain_peer("ipv4") as peer:
        to = ours.getaddress()

        def send(data: bytes) -> None:
            peer.sendto(data, (to.literal, to.port))

        def check(got: Any, begun: bool) -> None:
            send(b"2")
            send(b"3")
            found = [] if got is NOTHING else [got]
            while len(found) < 3:
                found.append(receive(ours))
            assert [data for data, _ in found] == [b"1", b"2", b"3"]
            assert {(sender.literal, sender.port) for _, sender in found} == {peer.getsockname()}

        yield Row(lambda: receive(ours), lambda: send(b"1"), check)


@row
def datagram_receive(clock: ManualClock) -> Iterator[Row]:
    yield from _receive_row(lambda ours: ours.receive())


@row
def datagram_receive_into(clock: ManualClock) -> Iterator[Row]:
    buffer = bytearray(8)

    def receive(ours: datagram.DatagramSocket) -> Any:
        received = ours.receive_into(buffer)
        if received is True:  # an explicit resume
            return True
        size, sender, cut = received
        assert cut is False
        return bytes(buffer[:size]), sender

    yield from _receive_row(receive)
    buffer.append(0)  # no one but the test holds it


@row
def datagram_send(clock: ManualClock) -> Iterator[Row]:
    """What has begun is sent, once. The system is busy, or no one would have to wait."""
    with (
        bound("ipv4") as ours,
        bound("ipv4") as other,
        plain_peer("ipv4") as peer,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setattr(datagram, "_try_send", lambda *_: lib.UV_EAGAIN)
        ours.connect(datagram.Address("ipv4", other.getaddress().binary, peer.getsockname()[1]))

        def check(got: Any, begun: bool) -> None:
            assert got in (NOTHING, True)
            assert ours.send(b"and more") is True
            assert drained(peer) == [b"data"] * begun + [b"and more"]

        yield Row(lambda: ours.send(b"data"), check=check)
