"""What send takes and receive_into fills: sizes, slices, kinds of buffers, and how long they are held."""

import array
import ctypes
import mmap
from decimal import Decimal

import pytest

from coutil import system
from coutil.errors import Closed
from coutil.system.network.bytestream import MAX_READ
from tests.helpers.ids import shown
from tests.helpers.script import output_of
from tests.helpers.tcp import BIG, pairs, receive_all, receive_exactly

WRONG_SIZES = [(0, ValueError), (-1, ValueError), (-(2**63), ValueError), (True, TypeError), (1.0, TypeError)]
WRONG_SIZES += [("1", TypeError), (b"1", TypeError), (None, TypeError), (bytearray(3), TypeError)]


@pytest.mark.parametrize(("size", "error"), WRONG_SIZES, ids=shown)
def test_wrong_sizes(size, error):
    """STR-25: a size that is no positive int raises at once and takes no data."""
    with pairs("ipv4") as (near, far):
        far.send(b"kept")
        with pytest.raises(error, match="size "):
            near.receive(size)
        assert near.receive() == b"kept"
        near.close()
        with pytest.raises(error, match="size "):
            near.receive(size)


@pytest.mark.parametrize("size", [1, 4, 5, 65536, MAX_READ, MAX_READ + 1, 2**31, 2**32, 2**63, 2**100], ids=shown)
def test_sizes_limit_what_one_call_takes(size):
    """A call returns at most `size` bytes, however large that is; the rest comes with the next calls."""
    with pairs("ipv4") as (near, far):
        far.send(b"12345")
        first = near.receive(size)
        assert first == b"12345"[:size]
        assert receive_exactly(near, 5 - len(first)) == b"12345"[size:]
        far.close()
        assert near.receive(size) == b""


WRONG_BUFFERS = [
    (b"bytes", "buffer must be writable"),
    (memoryview(b"view"), "buffer must be writable"),
    (memoryview(bytearray(8)).toreadonly(), "buffer must be writable"),
    (memoryview(bytearray(8))[::2], "buffer must be contiguous"),
    ("text", "buffer must be a bytes-like object, not str"),
    (None, "buffer must be a bytes-like object, not NoneType"),
    (64, "buffer must be a bytes-like object, not int"),
    ([0] * 8, "buffer must be a bytes-like object, not list"),
]


@pytest.mark.parametrize(("buffer", "message"), WRONG_BUFFERS, ids=[message for _, message in WRONG_BUFFERS])
def test_wrong_buffers(buffer, message):
    """STR-25: only a contiguous, writable buffer will do; nothing is taken from the stream otherwise."""
    with pairs("ipv4") as (near, far):
        far.send(b"kept")
        with pytest.raises(TypeError, match=message):
            near.receive_into(buffer)
        assert near.receive() == b"kept"
        near.close()
        with pytest.raises(TypeError, match=message):
            near.receive_into(buffer)


@pytest.mark.parametrize("name", ["start", "stop"])
@pytest.mark.parametrize("position", [1.0, True, "1", b"1", (), 1j], ids=shown)
def test_wrong_positions_to_receive(name, position):
    """STR-25: positions are ints, also when a float or a bool would do; the buffer and the stream stay as they are."""
    with pairs("ipv4") as (near, far):
        buffer = bytearray(8)
        far.send(b"kept")
        with pytest.raises(TypeError, match=f"{name} "):
            near.receive_into(buffer, **{name: position})
        assert buffer == bytes(8)
        assert near.receive() == b"kept"


@pytest.mark.parametrize("slice_", [(0, 0), (8,), (9, 20), (5, 3), (-1, -1), (2**100,), (0, -8), (-3, 2)], ids=shown)
def test_empty_slices(slice_):
    """An empty slice cannot receive anything: ValueError; the buffer can be resized and the stream read afterwards."""
    with pairs("ipv4") as (near, far):
        buffer = bytearray(8)
        far.send(b"kept")
        with pytest.raises(ValueError, match=r"buffer\[start:stop\] is empty"):
            near.receive_into(buffer, *slice_)
        buffer.clear()
        with pytest.raises(ValueError, match="is empty"):
            near.receive_into(buffer)
        assert near.receive() == b"kept"


FILLED = [((), 0, 8), ((2,), 2, 8), ((2, 5), 2, 5), ((-3,), 5, 8), ((0, -6), 0, 2), ((-100, 100), 0, 8)]
FILLED += [((None, None), 0, 8), ((3, 2**100), 3, 8)]


@pytest.mark.parametrize(("slice_", "first", "last"), FILLED, ids=shown)
def test_received_slices_follow_python(slice_, first, last):
    """receive_into fills exactly buffer[start:stop], with Python's rules for negative and large positions."""
    with pairs("ipv4") as (near, far):
        buffer = bytearray(8)
        far.send(b"12345678")
        count = near.receive_into(buffer, *slice_)
        assert count == last - first
        assert buffer == bytes(first) + b"12345678"[:count] + bytes(8 - last)
        assert receive_exactly(near, 8 - count) == b"12345678"[count:]


def test_any_writable_buffer_will_do():
    """bytearray, memoryview, array and mmap are filled as bytes, whatever their items are."""
    with pairs("ipv4") as (near, far), mmap.mmap(-1, 4) as mapped:
        integers = array.array("H", [0, 0])
        view = memoryview(bytearray(12)).cast("B", (3, 4))
        for buffer in (bytearray(4), integers, memoryview(bytearray(8))[2:6], mapped, view):
            far.send(b"abcd")
            assert near.receive_into(buffer, 0, 4) == 4
            assert bytes(buffer)[:4] == b"abcd"
        assert integers.tobytes() == b"abcd"


def test_received_buffer_is_held_only_while_it_is_used(go):
    """A bytearray cannot be resized while a coroutine waits with it; after data, cancel, close, it can."""
    with pairs("ipv4", 3) as (near, far, cancelled, _, closed, _):
        buffers = [bytearray(4) for _ in range(3)]
        waiting = [go(end.receive_into, b) for end, b in zip((near, cancelled), buffers[:2], strict=True)]

        def interrupted():
            with pytest.raises(Closed):
                closed.receive_into(buffers[2])

        last = go(interrupted)
        for buffer in buffers:
            with pytest.raises(BufferError):
                buffer.append(0)
        far.send(b"data")
        waiting[1].resume()
        closed.close()
        system.run()
        assert {one.status for one in (*waiting, last)} == {"dead"}
        for buffer in buffers:
            buffer.append(0)
        assert buffers == [b"data\0", bytes(5), bytes(5)]


WRONG_DATA = [
    ("text", "data must be a bytes-like object, not str"),
    ("nul\0", "data must be a bytes-like object, not str"),
    (None, "data must be a bytes-like object, not NoneType"),
    (64, "data must be a bytes-like object, not int"),
    ([b"x"], "data must be a bytes-like object, not list"),
    (memoryview(b"contiguous")[::2], "data must be contiguous"),
]


@pytest.mark.parametrize(("data", "message"), WRONG_DATA, ids=shown)
def test_wrong_data(data, message):
    """STR-35: what is not contiguous bytes is a TypeError, before anything else; nothing is sent."""
    with pairs("ipv4") as (near, far):
        with pytest.raises(TypeError, match="data"):
            near.send()
        with pytest.raises(TypeError, match=message):
            near.send(data)
        near.close()
        with pytest.raises(TypeError, match=message):
            near.send(data)
        assert far.receive() == b""


@pytest.mark.parametrize("name", ["start", "stop"])
@pytest.mark.parametrize("position", [1.1, 2.0, 0.0, True, False, Decimal(0), "1", b"1", (), 1j], ids=shown)
def test_wrong_positions_to_send(name, position):
    """STR-35: positions are ints, also when a float or a bool would do; nothing is sent."""
    with pairs("ipv4") as (near, far):
        with pytest.raises(TypeError, match=f"{name} "):
            near.send(b"some data", **{name: position})
        near.send(b"fine")
        near.close()
        assert receive_all(far) == b"fine"


SENT = [(), (2,), (2, 5), (-3,), (0, -6), (5, 3), (100,), (-100, 100), (None, None), (0, 2**100), (2**100,)]


@pytest.mark.parametrize("slice_", SENT, ids=shown)
@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview], ids=lambda kind: kind.__name__)
def test_sent_slices_follow_python(kind, slice_):
    """Exactly data[start:stop] is sent, with Python's rules for negative and large positions."""
    with pairs("ipv4") as (near, far):
        data = b"12345678"
        assert near.send(kind(data), *slice_) is True
        near.close()
        start, stop = (*slice_, None, None)[:2] if slice_ else (None, None)
        assert receive_all(far) == data[start:stop]


def test_any_contiguous_buffer_can_be_sent():
    """Bytes of arrays, mappings, ctypes and multi-dimensional views are sent as they lie in memory."""

    class Bytes(bytes):
        pass

    with mmap.mmap(-1, 4) as mapped, pairs("ipv4") as (near, far):
        mapped[:] = b"mmap"
        numbers = array.array("I", [1, 2, 3])
        things = [Bytes(b"sub"), numbers, mapped, (ctypes.c_char * 3)(*b"ctp"), memoryview(b"123456").cast("B", (2, 3))]
        for thing in things:
            assert near.send(thing) is True
        near.close()
        assert receive_all(far) == b"sub" + numbers.tobytes() + b"mmapctp123456"


@pytest.mark.parametrize("end", ["done", "cancelled", "closed", "failed"])
def test_sent_data_are_held_only_while_they_are_used(end, go):
    """A bytearray cannot be resized while the system still takes from it, also when there is no waiter any more."""
    data = bytearray(BIG)
    with pairs("ipv4") as (near, far):

        def sender():
            try:
                near.send(data)
            except OSError:
                return

        waiting = go(sender)
        with pytest.raises(BufferError):
            data.append(0)
        if end == "cancelled":
            waiting.resume()
            assert waiting.status == "dead"
            with pytest.raises(BufferError):
                data.append(0)
        if end == "closed":
            near.close()
        elif end == "failed":
            far.close()
        else:
            assert receive_exactly(far, len(data)) == BIG
        assert system.run() is False
        assert waiting.status == "dead"
        data.clear()
        assert data == b""


def test_failed_sends_can_be_collected():
    """An exception that keeps the data of its send, and is part of a cycle, does not crash the collector."""
    lines = output_of(
        """
        import gc
        from coutil import system

        def fails(data, *positions):
            stream = system.socket("stream", "ipv4")
            try:
                stream.send(data, *positions)
            except BrokenPipeError as error:
                kept = error  # its traceback refers to this frame, which refers to it
                return kept.name

        for data in (b"data", bytearray(b"data"), memoryview(b"data"), bytearray(1 << 24)):
            names = {fails(data), fails(data, 1), fails(data, 1, 3)}
            gc.collect()
            print(names)
        """
    )
    assert lines == ["{'EPIPE'}"] * 4
