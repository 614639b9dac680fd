"""Sockets belong to the OS thread that made them: others are told so, and nothing breaks."""

import re
import threading

import pytest

from coutil import system
from coutil.errors import Closed, ForeignThread
from tests.helpers.servers import listening
from tests.helpers.sockets import METHODS, failure
from tests.helpers.tcp import connected, pair, pairs


def in_a_thread(call, *arguments, hub=False):
    """Return the exception that a call raises in an OS thread of its own, which has a hub already if `hub`."""
    found = []

    def body():
        if hub:
            system.suspend(0.001)
        found.append(failure(call, *arguments))

    thread = threading.Thread(target=body)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it hangs"
    return found[0]


CLOSES = {"close": lambda made: made.close(), "with": lambda made: made.__exit__(None, None, None)}
FOREIGN = [(kind, name) for kind in ("stream", "passive") for name in (*METHODS[kind], *CLOSES)]


@pytest.mark.parametrize("has_hub", [False, True], ids=["fresh thread", "thread with a hub"])
@pytest.mark.parametrize(("kind", "name"), FOREIGN, ids=[f"{kind}.{name}" for kind, name in FOREIGN])
def test_other_threads_may_not_use_a_socket(kind, name, has_hub, go):
    """Each method raises `ForeignThread` in another OS thread, whatever the socket is doing; it goes on working."""
    call = {**METHODS[kind], **CLOSES}[name]
    server, (near, far) = listening("ipv4"), pair("ipv4")
    fresh = system.socket("passive", "ipv4")
    made = near if kind == "stream" else fresh if name == "listen" else server
    assert_foreign(call, made, has_hub)
    far.send(b"1")
    assert near.receive() == b"1"
    assert_foreign(call, made, has_hub)  # reading is armed now, and there is no waiter
    log = []
    waiter = go(lambda: log.append(near.receive() if kind == "stream" else server.accept().close()))
    assert_foreign(call, made, has_hub)
    assert (waiter.status, log) == ("suspended", [])
    far.send(b"2")
    client = connected(server)
    system.run("ready")
    assert log == [b"2" if kind == "stream" else True]
    for each in (server, near, far, client, fresh):
        each.close()


def assert_foreign(call, made, has_hub):
    """Check that a call fails in another thread, by the right exception."""
    error = in_a_thread(call, made, hub=has_hub)
    assert type(error) is ForeignThread, repr(error)
    assert "belongs to thread MainThread, and was used in thread" in str(error)


def test_other_threads_cannot_take_what_is_kept(go):
    """Data and connections that arrived for a cancelled waiter stay where they are when another thread asks."""
    servers = [listening("ipv4"), listening("ipv4")]
    with pairs("ipv4", 2) as (near, far, other_near, other_far):
        waits = [near.receive, other_near.receive, servers[0].accept, servers[1].accept]
        log, cancelled, clients = [], [], [system.socket("stream", "ipv4") for _ in servers]

        def waiter(mine):
            result = waits[mine]()
            if result is None:
                cancelled.append(mine)
                return
            log.append(result)
            waiting[mine ^ 1].resume()

        waiting = [go(waiter, mine) for mine in range(4)]
        for client, server in zip(clients, servers, strict=True):
            go(client.connect, server.getaddress())
        far.send(b"data")
        other_far.send(b"data")
        assert system.run() is False
        assert len(log) == len(cancelled) == 2
        for mine in cancelled:
            assert type(in_a_thread(waits[mine])) is ForeignThread
        kept = [waits[mine]() for mine in sorted(cancelled)]
        assert kept[0] == b"data"
        assert kept[1].getaddress("peer") in [client.getaddress() for client in clients]
        for each in (*log, *kept, *clients, *servers):
            if not isinstance(each, bytes):
                each.close()


def test_socket_forgotten_by_another_thread(go):
    """A stream whose last reference another thread drops is closed by the loop that owns it."""
    near, far = pair("ipv4")
    held = [near]
    del near
    assert in_a_thread(held.clear) is None
    assert far.receive() == b""
    assert in_a_thread(repr, far) is None, "a socket may be shown anywhere"
    far.close()


def test_each_thread_has_its_own_sockets():
    """Streams made in another OS thread work there, at the same time as ours; what is left open is closed with it."""
    found = []

    def body():
        with pairs("ipv4") as (near, far):
            near.send(b"there")
            found.append(far.receive())
        found.append(listening("ipv4"))

    with pairs("ipv4") as (near, far):
        assert in_a_thread(body) is None
        near.send(b"here")
        assert far.receive() == b"here"
        assert found[0] == b"there"
        with pytest.raises(Closed):
            found[1].accept()
        assert re.fullmatch(r"<PassiveSocket ipv4( .*)? closed>", repr(found[1]))
