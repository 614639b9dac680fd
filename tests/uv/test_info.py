"""What the system tells about the machine and its clocks: the same as it tells Python."""

import os
import platform
import socket
import time

import pytest

from coutil import uv


def test_names_of_the_machine():
    """Host, system and hardware."""
    assert uv.os_gethostname() == socket.gethostname()
    found = uv.os_uname()
    assert found == (platform.system(), platform.release(), platform.version(), platform.machine())
    assert (found.sysname, found.machine) == (os.uname().sysname, os.uname().machine)


def test_processors():
    """There is one at least, and each has a model, a clock and times."""
    found = uv.cpu_info()
    assert len(found) >= 1
    assert uv.available_parallelism() >= 1
    for one in found:
        assert isinstance(one.model, str)
        assert min(one.speed, *one[2:]) >= 0
    assert sum(one.user + one.idle for one in found) > 0


def test_cpumask_size():
    """As many processors as a set may have; libuv before 1.45 does not tell."""
    if uv.has("cpumask_size"):
        assert uv.cpumask_size() >= os.cpu_count()
        return
    with pytest.raises(uv.UVError, match=r"ENOSYS.*uv_cpumask_size") as raised:
        uv.cpumask_size()
    assert raised.value.name == "ENOSYS"


def test_interfaces():
    """The loopback interface is there, with the address, mask and hardware address that everybody knows."""
    found = uv.interface_addresses()
    local = next(one for one in found if one.ip == "127.0.0.1")
    assert local.internal is True
    assert (local.family, local.netmask, local.prefix, local.mac) == ("inet", "255.0.0.0", 8, "00:00:00:00:00:00")
    assert {one.name for one in found} <= {name for _, name in socket.if_nameindex()}
    for one in found:
        assert one.family in ("inet", "inet6")
        assert (":" in one.ip) == (one.family == "inet6")
        assert 0 <= one.prefix <= (32 if one.family == "inet" else 128)


def test_memory():
    """What is free is part of all; what is available is not more than the limit, if there is one."""
    total = uv.get_total_memory()
    assert total == os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    assert 0 < uv.get_free_memory() < total
    assert 0 <= uv.get_constrained_memory() <= 2**64 - 1
    assert 0 < uv.get_available_memory() <= (uv.get_constrained_memory() or total)


def test_load_and_uptime():
    """As the system tells Python."""
    assert uv.loadavg() == pytest.approx(os.getloadavg(), abs=1)
    assert len(uv.loadavg()) == 3
    assert uv.uptime() == pytest.approx(time.clock_gettime(time.CLOCK_BOOTTIME), abs=5)


def test_clocks():
    """All of them go, at the same time as Python's."""
    before = time.monotonic_ns()
    assert before <= uv.hrtime() <= time.monotonic_ns()
    seconds, nanoseconds = uv.clock_gettime("monotonic")
    assert before <= seconds * 10**9 + nanoseconds <= time.monotonic_ns()
    assert 0 <= nanoseconds < 10**9
    for seconds, fraction, unit in ((*uv.clock_gettime("realtime"), 1e9), (*uv.gettimeofday(), 1e6)):
        assert seconds + fraction / unit == pytest.approx(time.time(), abs=1)
        assert 0 <= fraction < unit


def test_clocks_are_named():
    """There are two."""
    with pytest.raises(ValueError, match=r"clock .*'utc'"):
        uv.clock_gettime("utc")
    with pytest.raises(TypeError, match=r"clock .*1"):
        uv.clock_gettime(1)


def test_sleep_blocking_stops_everything(loop):
    """No other coroutine runs meanwhile, not even one whose timer is due."""
    fired = []
    with uv.Timer(loop) as timer:
        timer.ontimeout = fired.append
        timer.start(1)
        begin = time.monotonic()
        uv.sleep_blocking(5)
        assert time.monotonic() - begin >= 0.005
        assert fired == []
        loop.run()
        assert fired == [timer]
    loop.run()


@pytest.mark.parametrize("blocking", [False, True])
def test_sleeping_times_are_checked(blocking):
    """Whole milliseconds, as many as C can count."""
    call = uv.sleep_blocking if blocking else uv.default_loop().sleep
    for wrong in (-1, 2**64):
        with pytest.raises(ValueError, match=rf"milliseconds .*{wrong}"):
            call(wrong)
    for wrong in (0.5, "1", None):
        with pytest.raises(TypeError, match="milliseconds "):
            call(wrong)


def test_sleep_of_a_loop_lets_others_run(loop):
    """The main program sleeps in the loop; a timer's handler runs meanwhile, and sleeps too."""
    order = []

    def handler(timer):
        order.append("handler")
        assert loop.sleep(2) is True
        order.append("handler, later")

    with uv.Timer(loop) as timer:
        timer.ontimeout = handler
        timer.start(1)
        begin = time.monotonic()
        assert loop.sleep(10) is True
        assert time.monotonic() - begin >= 0.010
        while len(order) < 2:  # the machine may be busy
            loop.sleep(1)
        assert order == ["handler", "handler, later"]
    loop.run()


def test_sleep_of_a_closed_loop():
    """It raises; no one waits."""
    made = uv.Loop()
    made.close()
    with pytest.raises(uv.Closed):
        made.sleep(1)
    with pytest.raises(uv.Closed):
        made.metrics()


def test_metrics(loop):
    """Turns and events are counted; libuv before 1.45 does not."""
    if not uv.has("metrics_info"):
        with pytest.raises(uv.UVError, match=r"ENOSYS.*uv_metrics_info"):
            loop.metrics()
        with pytest.raises(uv.UVError) as raised:
            uv.metrics_info(loop)
        assert raised.value.name == "ENOSYS"
        return
    before = uv.metrics_info(loop)
    with uv.Async(loop) as waker:
        waker.onasync = uv.close_soon
        waker.send()
        loop.run()
    turns, events, waiting = loop.metrics()
    assert turns > before[0]
    assert events > before[1]
    assert waiting >= 0
