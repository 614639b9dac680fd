"""Signal handlers that raise, at every boundary between two bytecodes of the calls that begin or end a wait."""

from __future__ import annotations

import sys
from contextlib import suppress

from coutil import spawn, system
from tests.helpers.boundaries import at_every_boundary
from tests.helpers.tcp import BIG, with_plain_peer


def test_boundaries_reach_the_caller_the_waiter_and_the_hub():
    """The helper sees frames that began before it traces, and functions of the standard library that ours call."""
    system.suspend()  # there is a hub

    def program():
        spawn.call(system.suspend)
        system.suspend()

    def places(finalizer=False):
        found = at_every_boundary(lambda: (program, lambda: None, lambda boundary: None), finalizer)
        return {place.split(" ")[0] for place in found}

    assert {"suspend", "call", "work", "park", "Outside.switch", "Hub._turns", "Operation.fire", "wake"} <= places()
    assert places() <= places(finalizer=True)


# -- memory that libuv may touch --------------------------------------------------------------------------------------


class Late(Exception):
    """What a signal handler raises here."""


def just_after(name, program):
    """Run a program; a signal handler raises as soon as the function of C has returned. Return whether it did."""

    def profile(frame, event, function):
        if event == "c_return" and getattr(function, "__name__", "") == name:
            sys.setprofile(None)
            raise Late

    sys.setprofile(profile)
    try:
        program()
    except Late:
        return True
    finally:
        sys.setprofile(None)
    return False


def test_a_buffer_stays_where_libuv_writes_to_it():
    """A request that began just before a signal handler raised keeps its memory until libuv has done with it."""
    for _ in range(20):
        assert just_after("co_random", lambda: system.random(bytearray(200_000)))
        fresh = [bytearray(200_000) for _ in range(3)]
        assert system.suspend(0.001) is True
        assert not any(any(one) for one in fresh), "written into the memory of others"


def test_what_is_sent_is_the_data_of_the_call(escaped):
    """The peer of a stream gets what was sent although a signal handler raised, and nothing else."""
    with with_plain_peer("ipv4") as (stream, peer):
        first = spawn.call(stream.send, BIG)
        assert just_after("co_write", lambda: spawn.call(stream.send, bytes(bytearray(b"B" * 50_000)))) is False
        assert [type(error) for _, error in escaped] == [Late]
        escaped.clear()
        others = [bytes(bytearray(b"C" * 50_000)) for _ in range(50)]
        got = bytearray()
        peer.setblocking(False)
        while len(got) < len(BIG) + 50_000:
            system.suspend(0.001)
            with suppress(BlockingIOError):
                got += peer.recv(1 << 20)
        assert got == BIG + b"B" * 50_000
        assert first.status == "dead"
        del others


def test_the_coroutine_can_go_on_after_a_handler_has_raised():
    """A request that was cut short in its start is waited for before the next one of the same coroutine."""
    assert just_after("co_fs_start", lambda: system.fileinfo("/"))
    assert system.fileinfo("/", "type") == "directory"
