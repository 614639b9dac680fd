"""coutil.uv beside the other modules: whatever a handler calls waits in the handler's loop."""

import threading

import pytest

from coutil import errors, event, mutex, promise, spawn, sync, system, uv
from coutil.scopes import scope, timeout


def called(loop, function):
    """Have function() called by a handler, and run the loop until nothing is left."""
    timer = uv.Timer(loop)

    def ontimeout(one):
        one.close_soon()
        function()

    timer.ontimeout = ontimeout
    timer.start(0)
    assert loop.run() is False


def test_sockets_belong_to_the_loop_of_their_maker(loop):
    """An echo over TCP, all of it inside handlers of one loop."""
    log = []

    def serve(server):
        with server, server.accept() as stream:
            stream.send(stream.receive())

    def handler():
        server = system.socket("passive", "ipv4")
        server.bind(system.address("ipv4", "127.0.0.1", 0))
        server.listen(1)
        spawn.call(serve, server)
        with system.socket("stream", "ipv4") as stream:
            stream.connect(server.getaddress())
            stream.send(b"hello")
            log.append(stream.receive())

    called(loop, handler)
    assert log == [b"hello"]


def test_socket_of_another_loop(loop):
    """A handler that waits for a socket of the main program's loop drives that loop meanwhile."""
    log = []
    reader, writer = system.socket("passive", "ipv4"), system.socket("stream", "ipv4")
    reader.bind(system.address("ipv4", "127.0.0.1", 0))
    reader.listen(1)

    def main():
        writer.connect(reader.getaddress())
        writer.send(b"from the main loop")

    def handler():
        spawn.call(lambda: None)
        stream = reader.accept()
        with stream:
            log.append(stream.receive())

    spawn.call(main)
    called(loop, handler)
    reader.close()
    writer.close()
    system.run("ready")
    assert log == [b"from the main loop"]


def test_deadlines(loop):
    """A deadline inside a handler runs by the handler's loop."""
    log = []

    def handler():
        with pytest.raises(errors.Timeout), timeout(0.002):
            system.suspend(60)
        log.append("cut")
        with scope() as children:
            task = children.spawn(system.suspend, 0.001)
        log.append(task.result())

    called(loop, handler)
    assert log == ["cut", True]


def test_locks_queues_and_promises_between_loops(loop):
    """They know no loops: coroutines of several may share them within a thread."""
    log, queue, lock = [], sync.Queue(1), sync.Lock()
    done, fulfill = promise.create()

    def consumer():
        log.append(queue.get())
        with lock:
            log.append("lock")
        fulfill("kept")

    spawn.call(consumer)

    def handler():
        mutex.lock("m")
        queue.put("item")
        log.append(done())
        mutex.unlock("m")

    called(loop, handler)
    system.run("ready")
    called(loop, lambda: None)
    assert sorted(map(str, log)) == ["item", "kept", "lock"]


def test_deadlock_in_a_loop(loop):
    """Who waits for what nothing can bring is told, in the loop that he drives."""
    with uv.Async(loop) as handle:
        handle.unref()
        waiter = uv.Timer(loop)
        spawn.call(waiter.close)
        assert waiter.closed
        with pytest.raises(errors.Deadlock, match="event 'never'"):
            event.await_("never")


def test_sleep_of_a_thread_with_several_loops():
    """Loops of different threads do not know each other."""
    log = []

    def body():
        with uv.Loop() as first, uv.Loop() as second:
            for number, one in enumerate((first, second)):
                called(one, lambda number=number: (system.suspend(0.001), log.append(number)))
            system.suspend(0.001)
            log.append("default")

    threads = [threading.Thread(target=body) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, log)) == ["0"] * 3 + ["1"] * 3 + ["default"] * 3
