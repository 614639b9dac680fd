"""Async handles: sends from other threads."""

import threading

import pytest

from coutil import errors, uv


def test_sends_from_another_thread(loop):
    """The handler runs in the loop's thread; sends that come together may become one call."""
    seen, main = [], threading.get_ident()
    handle = uv.new_async(loop)

    def onasync(one):
        seen.append(threading.get_ident() == main)
        thread.join()
        one.close()

    handle.onasync = onasync
    thread = threading.Thread(target=lambda: [uv.async_send(handle) for _ in range(100)])
    thread.start()
    assert loop.run() is False
    assert seen == [True] or set(seen) == {True}
    assert handle.closed


def test_active_from_its_creation(loop):
    """It keeps the loop alive until it is closed, or unreferenced."""
    with uv.Async(loop) as handle:
        assert handle.active
        assert loop.alive
        assert handle.type == "async"
        handle.unref()
        assert loop.run() is False


def test_send_without_a_handler(loop):
    """Nothing happens; the send is not kept."""
    log = []
    with uv.Async(loop) as handle:
        handle.send()
        loop.run("once")
        handle.onasync = log.append
        loop.run("nowait")
        assert log == []
        handle.send()
        loop.run("nowait")
        assert log == [handle]


def test_send_after_close(loop):
    """It raises Closed as soon as the close began, in every thread."""
    handle, seen = uv.Async(loop), []
    handle.close_soon()

    def send():
        try:
            handle.send()
        except errors.Closed as error:
            seen.append(str(error))

    send()
    thread = threading.Thread(target=send)
    thread.start()
    thread.join()
    loop.run()
    send()
    assert seen == ["the async handle is closed"] * 3


@pytest.mark.parametrize("rounds", [300, pytest.param(1_000_000, marks=pytest.mark.soak)])
def test_send_races_with_close(loop, rounds):
    """Threads that send while the handle closes either send or get Closed; nothing else happens."""
    stop, other = threading.Event(), []
    current = [uv.Async(loop)]

    def sender():
        while not stop.is_set():
            try:
                current[0].send()
            except errors.Closed:
                pass
            except BaseException as error:  # noqa: BLE001  # looked at below
                other.append(error)

    threads = [threading.Thread(target=sender) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        old, current[0] = current[0], uv.Async(loop)
        old.close()
    stop.set()
    for thread in threads:
        thread.join()
    current[0].close()
    assert other == []


def test_closed_loop():
    """A send after the loop was closed by force raises Closed."""
    loop = uv.Loop()
    handle = uv.Async(loop)
    loop.close(force=True)
    with pytest.raises(errors.Closed):
        handle.send()
